//! Identifiers of tasks that this node makes from the blocks that its authority leases to it (ILA draft appendix A.2).

use crate::ila::Identifier;
use crate::ila::generate::{Block, Registrar, TICK_MS};
use crate::nva::client::OwnBlock;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Identifiers that one call makes at most.
pub const AT_ONCE: u32 = 1_000;
/// What was not drawn in so long may be drawn at once.
const BACK: Duration = Duration::from_millis(AT_ONCE as u64 * TICK_MS);

/// A block and how far it was drawn.
#[derive(Debug)]
struct Own {
    registrar: Registrar,
    block: Block,
    until: Instant,
}

/// The blocks of this node, by SIR prefix.
#[derive(Debug, Default)]
pub struct Identifiers(Mutex<BTreeMap<u64, Own>>);

impl Identifiers {
    /// These blocks may be used from now on, and no others. The client's clock began at `began`; `now` is the time since 1970.
    pub fn lease(&self, blocks: &[OwnBlock], began: Instant, now: Duration) {
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        own.retain(|sir_prefix, own| {
            let is_it = |it: &&OwnBlock| (it.sir_prefix, it.block) == (*sir_prefix, own.registrar);
            blocks.iter().any(|it| is_it(&it))
        });
        for OwnBlock { sir_prefix, block: registrar, reached, until_ms } in blocks {
            let until = began + Duration::from_millis(*until_ms);
            // What an earlier run of this node drew and nobody registered yet has a stamp before now.
            let fresh = || Own { registrar: *registrar, block: Block::resume(*registrar, now), until };
            let own = own.entry(*sir_prefix).or_insert_with(fresh);
            own.until = until;
            let known = Block::after(*registrar, Identifier(*reached), now);
            if *reached > 0 && known.busy_until() > own.block.busy_until() {
                own.block = known;
            }
        }
    }

    /// Makes identifiers of a SIR domain. `since_1970` is the time of the clock.
    ///
    /// # Errors
    /// There is no block, its lease is over, or it gives no more now.
    pub fn make(
        &self,
        sir_prefix: u64,
        count: u32,
        now: Instant,
        since_1970: Duration,
    ) -> Result<(Registrar, Vec<Identifier>), String> {
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(own) = own.get_mut(&sir_prefix).filter(|own| now < own.until) else {
            return Err(
                "the authority leases this node no block in that domain: name it in nva.blocks, and look at \
                        the log for why"
                    .to_owned(),
            );
        };
        let mut block = own.block.clone();
        let drawn: Vec<_> = (0..count).map_while(|_| block.draw_past(since_1970, BACK)).collect();
        if drawn.len() < count as usize {
            let ahead = own.block.busy_until().saturating_sub(since_1970);
            return Err(match ahead > BACK {
                true => format!(
                    "the clock of this machine is {} s behind the last identifier that was made; set it right",
                    ahead.as_secs()
                ),
                false => format!(
                    "{} are left for now, and 100 come each second; ask for fewer, or again later",
                    drawn.len()
                ),
            });
        }
        own.block = block;
        Ok((own.registrar, drawn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn own(number: u32, reached: u64, until_ms: u64) -> OwnBlock {
        OwnBlock { sir_prefix: 7, block: Registrar::new(number).unwrap(), reached, until_ms }
    }

    #[test]
    fn identifiers_are_made_once_while_the_lease_lasts_and_over_restarts() {
        let (identifiers, began) = (Identifiers::default(), Instant::now());
        let later = |ms| (began + Duration::from_millis(ms), NOW + Duration::from_millis(ms));
        let make = |identifiers: &Identifiers, count, ms| {
            let (now, clock) = later(ms);
            identifiers.make(7, count, now, clock)
        };
        assert!(make(&identifiers, 1, 0).unwrap_err().contains("no block"));
        identifiers.lease(&[own(5, 0, 60_000)], began, NOW);
        assert!(make(&identifiers, 1, 0).unwrap_err().contains("0 are left"));
        let (block, mut all) = make(&identifiers, 50, 1_000).unwrap();
        assert!(make(&identifiers, 51, 1_000).unwrap_err().contains("50 are left"));
        all.extend(make(&identifiers, 50, 1_000).unwrap().1);
        // A renewal goes on where it was.
        identifiers.lease(&[own(5, 0, 90_000)], began, later(2_000).1);
        all.extend(make(&identifiers, 100, 2_000).unwrap().1);
        // So does a node that starts anew, although nothing was registered.
        let again = Identifiers::default();
        again.lease(&[own(5, 0, 90_000)], began, later(2_000).1);
        all.extend(make(&again, 100, 3_000).unwrap().1);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 300);
        assert!(all.iter().all(|it| Registrar::of(*it) == Some(block)));
        // And one whose clock went back.
        let reached = all.iter().map(|it| it.0).max().unwrap();
        let wrong = Identifiers::default();
        wrong.lease(&[own(5, reached, 90_000)], began, NOW - Duration::from_secs(3_600));
        let refused = wrong.make(7, 1, began, NOW - Duration::from_secs(3_590)).unwrap_err();
        assert!(refused.contains("3593 s behind") || refused.contains("3592 s behind"), "{refused}");
        // The lease is over, or the block is another node's.
        assert!(make(&identifiers, 1, 90_000).is_err());
        identifiers.lease(&[], began, NOW);
        assert!(make(&identifiers, 1, 3_000).is_err());
    }
}
