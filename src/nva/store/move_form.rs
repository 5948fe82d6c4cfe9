//! The form in which stores write moves: JSON, with the number of the form. It has the token, so that an authority that
//! starts again knows it: what reads a store reads that too.

use super::bytes::{read_key, write_key};
use crate::nva::mobility::{InFlight, Mode, Moment, Move, MoveId, MoveState, Said, TOKEN_BYTES, Token};
use serde::{Deserialize, Serialize};

/// The form; another release may write another one.
const FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Written {
    form: u32,
    attachment: String,
    from: String,
    to: String,
    document: String,
    networks: Vec<String>,
    keys: Vec<String>,
    mode: String,
    in_flight: String,
    token: String,
    state: String,
    since_ms: u64,
    said: (bool, bool),
    overdue: bool,
    sequence: u64,
    committed: u64,
    seeded_ms: Option<u64>,
    timeline: Vec<(u64, String, String, String)>,
}

/// Writes a move. Its name is its key.
pub(super) fn write_move(one: &Move) -> Vec<u8> {
    let hex = |bytes: &[u8; 16]| format!("{:032x}", u128::from_be_bytes(*bytes));
    let moment = |Moment { at_ms, what, by, how }: &Moment| (*at_ms, what.clone(), by.clone(), how.clone());
    let written = Written {
        form: FORM,
        attachment: one.attachment.clone(),
        from: one.from.clone(),
        to: one.to.clone(),
        document: one.document.clone(),
        networks: one.networks.clone(),
        keys: one.keys.iter().map(|key| hex(&write_key(*key))).collect(),
        mode: one.mode.word().to_owned(),
        in_flight: one.in_flight.word().to_owned(),
        token: hex(&one.token.0),
        state: one.state.word().to_owned(),
        since_ms: one.since_ms,
        said: (one.said.old, one.said.new),
        overdue: one.overdue,
        sequence: one.sequence,
        committed: one.committed,
        seeded_ms: one.seeded_ms,
        timeline: one.timeline.iter().map(moment).collect(),
    };
    // Text and numbers can always be written.
    serde_json::to_vec(&written).unwrap_or_default()
}

/// What [`write_move`] wrote; `None` for anything else.
pub(super) fn read_move(id: MoveId, bytes: &[u8]) -> Option<Move> {
    let written: Written = serde_json::from_slice(bytes).ok()?;
    if written.form != FORM {
        return None;
    }
    let bytes = |hex: &str| -> Option<[u8; TOKEN_BYTES]> {
        (hex.len() == 2 * TOKEN_BYTES).then(|| u128::from_str_radix(hex, 16).ok().map(u128::to_be_bytes))?
    };
    let moment = |(at_ms, what, by, how)| Moment { at_ms, what, by, how };
    Some(Move {
        id,
        attachment: written.attachment,
        from: written.from,
        to: written.to,
        document: written.document,
        networks: written.networks,
        keys: written.keys.iter().map(|hex| bytes(hex).map(read_key)).collect::<Option<_>>()?,
        mode: Mode::of_word(&written.mode)?,
        in_flight: InFlight::of_word(&written.in_flight)?,
        token: Token(bytes(&written.token)?),
        state: MoveState::of_word(&written.state)?,
        since_ms: written.since_ms,
        said: Said { old: written.said.0, new: written.said.1 },
        overdue: written.overdue,
        sequence: written.sequence,
        committed: written.committed,
        seeded_ms: written.seeded_ms,
        timeline: written.timeline.into_iter().map(moment).collect(),
    })
}
