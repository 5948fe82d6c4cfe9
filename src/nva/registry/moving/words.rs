//! Which move somebody means who names its attachment. A word that may be of two moves is of none: said late, it would hit
//! the next move, or that of another attachment of the same name.

use super::{Judging, Which};
use crate::nva::mobility::{Fact, Move, MoveId};
use crate::nva::registry::Registry;

/// Moves that are named at most when it is not clear which one is meant.
const NAMED: usize = 8;

impl Registry {
    /// The move that is meant.
    ///
    /// # Errors
    /// There is none, or it may be one of several; with their names.
    pub(in crate::nva) fn find(&self, steps: &Judging, which: &Which, fact: &Fact) -> Result<MoveId, String> {
        let nothing = |what: String| format!("{what}; `ilactl vm list --moves` shows what moves");
        let (attachment, nve) = match which {
            Which::Id(id) => {
                return match steps.seen(&self.moves, *id) {
                    Some(one) => Ok(one.id),
                    None => Err(nothing(format!("there is no move {}, or it is over", id.0))),
                };
            }
            Which::Of(attachment, nve) => (attachment, nve.as_deref()),
        };
        let of_name = self.moves.named(attachment).filter_map(|one| steps.seen(&self.moves, one.id));
        let mut found: Vec<&Move> = of_name.filter(|one| may_be_meant(one, nve, fact)).collect();
        // Where it is told to stay, or to wait on, it is.
        if let (Some(nve), 2..) = (nve, found.len()) {
            found.retain(|one| *fact == Fact::ToldArrived || one.from == nve);
        }
        match found[..] {
            [] => Err(nothing(match (nve, fact) {
                (Some(nve), Fact::ToldArrived) => format!("attachment {attachment} does not move to {nve}"),
                (Some(nve), _) => format!("attachment {attachment} does not move from {nve}"),
                (None, _) => format!("attachment {attachment} does not move"),
            })),
            [one] => match self.elsewhere(one).filter(|_| nve.is_none()) {
                None => Ok(one.id),
                Some(other) => Err(format!(
                    "there is an attachment {attachment} at {other}, too, and {}; name an NVE of it (--nve), or the move \
                     (--id)",
                    named(one)
                )),
            },
            ref all => {
                let names: Vec<String> = all.iter().take(NAMED).map(|one| named(one)).collect();
                Err(format!(
                    "{} moves are of attachments {attachment}: {}; name one of them (--id), or the NVE at which it is (--nve)",
                    all.len(),
                    names.join(", ")
                ))
            }
        }
    }

    /// Another NVE at which there is an attachment of the same name as one that moves.
    fn elsewhere(&self, one: &Move) -> Option<&str> {
        let mut nves = self.catalogue.nves_with(&one.attachment);
        nves.find(|nve| one.role(nve).is_none())
    }
}

/// Whether a word may be of a move: it came to the NVE that is named, or left it, or it has another part in it.
fn may_be_meant(one: &Move, nve: Option<&str>, fact: &Fact) -> bool {
    match (nve, fact) {
        (None, _) => true,
        (Some(nve), Fact::ToldArrived) => one.to == nve,
        (Some(nve), Fact::ToldDetached) => one.from == nve,
        (Some(nve), _) => one.role(nve).is_some(),
    }
}

fn named(Move { id, from, to, state, .. }: &Move) -> String {
    format!("move {} from {from} to {to} is {}", id.0, state.word())
}
