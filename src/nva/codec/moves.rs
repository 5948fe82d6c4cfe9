//! Moves on the wire.

use super::fields::{MAX_OBJECT_NAME, MAX_WHY, read_key, shortened, write_key};
use crate::config::{Entry, ObjectName};
use crate::ila::Locator;
use crate::nva::malformed::{MAX_NAME, Malformed, malformed};
use crate::nva::message::{
    InFlight, Mode, Modes, MoveId, MoveReport, MoveState, MoveTold, MoveWhat, MovesPart, Place, Role, Sign,
    Token,
};
use crate::nva::model::Key;
use crate::nva::v1::{self, MoveSign, move_report::What};
use prost::Message;
use std::net::IpAddr;
use std::sync::Arc;

/// Words of the wire and those of the cores, both ways. What a later release says otherwise is the first one.
macro_rules! both_ways {
    ($(#[doc = $about:literal] $read:ident, $write:ident: $wire:ident::$unknown:ident => $core:ident {
        $($theirs:ident = $ours:ident,)+
    })+) => { $(
        #[doc = $about]
        fn $read(number: i32) -> Option<$core> {
            match v1::$wire::try_from(number).unwrap_or(v1::$wire::$unknown) {
                $(v1::$wire::$theirs => Some($core::$ours),)+
                v1::$wire::$unknown => None,
            }
        }

        fn $write(one: $core) -> i32 {
            match one { $($core::$ours => v1::$wire::$theirs.into(),)+ }
        }
    )+ };
}

both_ways! {
    /// How an attachment moves.
    read_mode, write_mode: MoveMode::Unspecified => Mode { Hot = Hot, Warm = Warm, Cold = Cold, }
    /// What becomes of packets in flight.
    read_in_flight, write_in_flight: MoveInFlight::Unspecified => InFlight {
        Auto = Auto, Tunnel = Tunnel, Retranslate = Retranslate, Drop = Drop,
    }
    /// How far a move is.
    read_state, write_state: MoveState::Unspecified => MoveState {
        Preparing = Preparing,
        Prepared = Prepared,
        Detached = Detached,
        Spreading = Spreading,
        Draining = Draining,
        Aborting = Aborting,
    }
}

fn read_sign(number: i32) -> Sign {
    match MoveSign::try_from(number).unwrap_or_default() {
        MoveSign::Unspecified => Sign::Other,
        MoveSign::GratuitousArp => Sign::GratuitousArp,
        MoveSign::UnsolicitedNa => Sign::UnsolicitedNa,
        MoveSign::Rarp => Sign::Rarp,
        MoveSign::Frame => Sign::Frame,
        MoveSign::Probe => Sign::Probe,
        MoveSign::Carrier => Sign::Carrier,
        MoveSign::Silence => Sign::Silence,
    }
}

fn write_sign(sign: Sign) -> i32 {
    let sign = match sign {
        Sign::Other => MoveSign::Unspecified,
        Sign::GratuitousArp => MoveSign::GratuitousArp,
        Sign::UnsolicitedNa => MoveSign::UnsolicitedNa,
        Sign::Rarp => MoveSign::Rarp,
        Sign::Frame => MoveSign::Frame,
        Sign::Probe => MoveSign::Probe,
        Sign::Carrier => MoveSign::Carrier,
        Sign::Silence => MoveSign::Silence,
    };
    sign.into()
}

/// The modes that an NVE names, as far as this release knows them.
pub(super) fn read_modes(modes: &[i32]) -> Modes {
    modes.iter().filter_map(|number| read_mode(*number)).collect()
}

pub(super) fn write_modes(modes: Modes) -> Vec<i32> {
    modes.iter().map(write_mode).collect()
}

fn read_token(bytes: &[u8]) -> Result<Token, Malformed> {
    match bytes.try_into() {
        Ok(bytes) => Ok(Token(bytes)),
        // What it is stays secret also if it is wrong.
        Err(_) => malformed(format!("a token of {} bytes", bytes.len())),
    }
}

pub(super) fn read_report(report: v1::MoveReport) -> Result<MoveReport, Malformed> {
    let v1::MoveReport { id, what, state } = report;
    let what = match what {
        None => return malformed("MoveReport: nothing said"),
        Some(What::Ready(v1::MoveReady {})) => MoveWhat::Ready,
        Some(What::Failed(v1::MoveFailed { why })) if why.len() > MAX_WHY => {
            let length = why.len();
            return malformed(format!("MoveReport: {length} bytes of a reason; write at most {MAX_WHY}"));
        }
        // It is shown on terminals.
        Some(What::Failed(v1::MoveFailed { why })) => MoveWhat::Failed(why.replace(char::is_control, " ")),
        Some(What::Detached(v1::MoveDetached { sign })) => MoveWhat::Detached(read_sign(sign)),
        Some(What::Arrived(v1::MoveArrived { token, sign })) => {
            MoveWhat::Arrived(read_token(&token)?, read_sign(sign))
        }
        Some(What::Drained(v1::MoveDrained {})) => MoveWhat::Drained,
    };
    Ok(MoveReport { id: MoveId(id), what, state: read_state(state) })
}

pub(super) fn write_report(MoveReport { id, what, state }: MoveReport) -> v1::MoveReport {
    let what = match what {
        MoveWhat::Ready => What::Ready(v1::MoveReady {}),
        MoveWhat::Failed(why) => What::Failed(v1::MoveFailed { why: shortened(why, MAX_WHY) }),
        MoveWhat::Detached(sign) => What::Detached(v1::MoveDetached { sign: write_sign(sign) }),
        MoveWhat::Arrived(token, sign) => {
            What::Arrived(v1::MoveArrived { token: token.0.to_vec().into(), sign: write_sign(sign) })
        }
        MoveWhat::Drained => What::Drained(v1::MoveDrained {}),
    };
    v1::MoveReport { id: id.0, what: Some(what), state: state.map(write_state).unwrap_or_default() }
}

pub(super) fn read_part(v1::Moves { whole, last, moves, over }: v1::Moves) -> Result<MovesPart, Malformed> {
    // What a later release has otherwise is not for this one.
    let moves = moves.into_iter().filter_map(|one| read_move(one).transpose());
    let moves = moves.collect::<Result<_, _>>()?;
    Ok(MovesPart { whole, last, moves, over: over.into_iter().map(MoveId).collect() })
}

fn read_move(one: v1::Move) -> Result<Option<MoveTold>, Malformed> {
    let (Some(state), Some(mode)) = (read_state(one.state), read_mode(one.mode)) else { return Ok(None) };
    for (name, most) in [(&one.attachment, MAX_OBJECT_NAME), (&one.peer, MAX_NAME)] {
        if name.is_empty() || name.len() > most {
            return malformed(format!("Moves: a name of {} bytes; 1 to {most}", name.len()));
        }
    }
    let (peer_vtep, vtep) = (read_address(&one.peer_vtep)?, read_address(&one.vtep)?);
    let place = |one: v1::MovePlace| Place { sir_prefix: one.sir_prefix, locator: Locator(one.locator) };
    let entry = match one.document.as_str() {
        "" => None,
        document => {
            Entry::named(&ObjectName::Attachment(one.attachment.clone()), document).ok().map(Arc::new)
        }
    };
    Ok(Some(MoveTold {
        id: MoveId(one.id),
        sequence: one.sequence,
        state,
        role: if one.to_here { Role::New } else { Role::Old },
        attachment: one.attachment,
        entry,
        keys: one.keys.into_iter().map(|key| read_key(Some(key))).collect::<Result<Vec<Key>, _>>()?,
        peer: one.peer,
        peer_locators: one.peer_locators.into_iter().map(place).collect(),
        peer_vtep,
        vtep,
        peer_done: one.peer_done,
        mode,
        in_flight: read_in_flight(one.in_flight).unwrap_or(InFlight::Auto),
        token: if one.token.is_empty() { None } else { Some(read_token(&one.token)?) },
        left_ms: one.left_ms.map(u64::from),
        overdue: one.overdue,
        idle_ms: one.idle_ms.into(),
    }))
}

pub(super) fn write_part(MovesPart { whole, last, moves, over }: MovesPart) -> v1::Moves {
    let moves = moves.into_iter().map(write_move).collect();
    v1::Moves { whole, last, moves, over: over.into_iter().map(|id| id.0).collect() }
}

fn write_move(one: MoveTold) -> v1::Move {
    let ms = |ms: u64| u32::try_from(ms).unwrap_or(u32::MAX);
    let place = |one: Place| v1::MovePlace { sir_prefix: one.sir_prefix, locator: one.locator.0 };
    v1::Move {
        id: one.id.0,
        sequence: one.sequence,
        state: write_state(one.state),
        to_here: one.role == Role::New,
        attachment: one.attachment,
        document: one.entry.as_ref().map(|entry| entry.written().to_owned()).unwrap_or_default(),
        keys: one.keys.into_iter().filter_map(write_key).collect(),
        peer: one.peer,
        peer_locators: one.peer_locators.into_iter().map(place).collect(),
        peer_vtep: write_address(one.peer_vtep),
        mode: write_mode(one.mode),
        in_flight: write_in_flight(one.in_flight),
        token: one.token.map(|token| token.0.to_vec()).unwrap_or_default().into(),
        left_ms: one.left_ms.map(ms),
        overdue: one.overdue,
        idle_ms: ms(one.idle_ms),
        vtep: write_address(one.vtep),
        peer_done: one.peer_done,
    }
}

/// A move as a node keeps it.
pub(in crate::nva) fn write_kept_move(one: MoveTold) -> Vec<u8> {
    write_move(one).encode_to_vec()
}

/// What [`write_kept_move`] wrote; `None` for what this release does not understand.
pub(in crate::nva) fn read_kept_move(bytes: &[u8]) -> Option<MoveTold> {
    read_move(v1::Move::decode(bytes).ok()?).ok()?
}

fn read_address(bytes: &[u8]) -> Result<Option<IpAddr>, Malformed> {
    match (bytes, <[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        ([], ..) => Ok(None),
        (_, Ok(bytes), _) => Ok(Some(IpAddr::from(bytes))),
        (_, _, Ok(bytes)) => Ok(Some(IpAddr::from(bytes))),
        _ => malformed(format!("Moves: an address of {} bytes; 4 or 16", bytes.len())),
    }
}

fn write_address(address: Option<IpAddr>) -> prost::bytes::Bytes {
    match address {
        None => Vec::new(),
        Some(IpAddr::V4(address)) => address.octets().to_vec(),
        Some(IpAddr::V6(address)) => address.octets().to_vec(),
    }
    .into()
}
