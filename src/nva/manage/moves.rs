//! Moves in the operator's API.

use crate::api::manage::{self as v1, MoveInFlight, MoveMode, MoveWord};
use crate::nva::authority::Authority;
use crate::nva::mobility::{Fact, InFlight, Mode, Moment, Move, MoveId, MoveState, TOKEN_BYTES, Token};
use crate::nva::registry::moving::{MoveCommand, MoveRequest, Which};
use crate::nva::scope::Sight;
use tonic::Status;

/// Longest name of an NVE, an attachment or a port in bytes.
const MAX_NAME: usize = 64;
const MAX_VLAN: u32 = 4_094;

/// Reads what an operator wants moved, and draws its token.
pub(super) fn read_start(request: v1::MoveStartRequest) -> Result<MoveRequest, Status> {
    let mode = match request.mode() {
        MoveMode::Unspecified => return wrong("no mode; write hot, warm or cold".to_owned()),
        MoveMode::Hot => Mode::Hot,
        MoveMode::Warm => Mode::Warm,
        MoveMode::Cold => Mode::Cold,
    };
    let in_flight = match request.in_flight() {
        MoveInFlight::Unspecified => None,
        MoveInFlight::Auto => Some(InFlight::Auto),
        MoveInFlight::Tunnel => Some(InFlight::Tunnel),
        MoveInFlight::Retranslate => Some(InFlight::Retranslate),
        MoveInFlight::Drop => Some(InFlight::Drop),
    };
    let v1::MoveStartRequest { attachment, from, to, port, vlan, .. } = request;
    for (what, name) in [("attachment", &attachment), ("from", &from), ("to", &to), ("port", &port)] {
        if name.is_empty() || name.len() > MAX_NAME {
            return wrong(format!("{what}: a name of {} bytes; write 1 to {MAX_NAME}", name.len()));
        }
    }
    let vlan = match vlan {
        Some(vlan) if !(1..=MAX_VLAN).contains(&vlan) => {
            return wrong(format!("vlan: {vlan}; write 1 to {MAX_VLAN}, or leave it out"));
        }
        vlan => vlan.map(|vlan| vlan as u16),
    };
    let mut token = [0; TOKEN_BYTES];
    rand::fill(&mut token[..]);
    Ok(MoveRequest { attachment, from, to, port, vlan, mode, in_flight, token: Token(token) })
}

/// Reads what an operator says of a move.
pub(super) fn read_say(request: v1::MoveSayRequest) -> Result<MoveCommand, Status> {
    let fact = match request.word() {
        MoveWord::Unspecified => {
            return wrong("no word; write detached, arrived, abort or renew".to_owned());
        }
        MoveWord::Detached => Fact::ToldDetached,
        MoveWord::Arrived => Fact::ToldArrived,
        MoveWord::Abort => Fact::Abort,
        MoveWord::Renew => Fact::Renew,
    };
    let v1::MoveSayRequest { id, attachment, nve, .. } = request;
    for (what, name) in [("attachment", &attachment), ("nve", &nve)] {
        if name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return wrong(format!("{what}: a name of {} bytes; write at most {MAX_NAME}", name.len()));
        }
    }
    let which = match (id, attachment.is_empty()) {
        (Some(id), _) => Which::Id(MoveId(id)),
        (None, false) => Which::Of(attachment, (!nve.is_empty()).then_some(nve)),
        (None, true) => return wrong("no move; name it, or the attachment".to_owned()),
    };
    Ok(MoveCommand { which, fact })
}

/// The moves that are asked for and may be seen.
pub(in crate::nva) fn list(
    authority: &Authority,
    request: &v1::MoveListRequest,
    sight: &Sight,
) -> Vec<v1::Move> {
    let v1::MoveListRequest { id, attachment, nve, ended } = request;
    let is_it = |one: &&Move| {
        id.is_none_or(|id| one.id.0 == id)
            && (attachment.is_empty() || *attachment == one.attachment)
            && (nve.is_empty() || one.role(nve).is_some())
            && (sight.is_all() || one.networks.iter().any(|network| sight.of_network(network)))
    };
    let moves = authority.moves();
    let ended = moves.ended().filter(|_| *ended).filter(is_it).map(|one| {
        let state = if one.state.is_before_commit() { "aborted" } else { "done" };
        show(authority, one, state)
    });
    moves.iter().filter(is_it).map(|one| show(authority, one, one.state.word())).chain(ended).collect()
}

fn show(authority: &Authority, one: &Move, state: &str) -> v1::Move {
    let moment = |Moment { at_ms, what, by, how }: &Moment| v1::MoveMoment {
        time_ms: *at_ms,
        what: what.clone(),
        who: by.clone(),
        how: how.clone(),
    };
    v1::Move {
        id: one.id.0,
        attachment: one.attachment.clone(),
        from: one.from.clone(),
        to: one.to.clone(),
        mode: one.mode.word().to_owned(),
        in_flight: one.in_flight.word().to_owned(),
        state: state.to_owned(),
        overdue: one.overdue,
        sirs: one.keys.iter().map(ToString::to_string).collect(),
        networks: one.networks.clone(),
        left_ms: authority.left_ms(one.id),
        seeded_s: one.seeded_ms.map(|at_ms| authority.unix_ms().saturating_sub(at_ms) / 1_000),
        timeline: one.timeline.iter().map(moment).collect(),
        sends_on: one.state == MoveState::Detached && one.said.old,
    }
}

fn wrong<T>(why: String) -> Result<T, Status> {
    Err(Status::invalid_argument(why))
}
