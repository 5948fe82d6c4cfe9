//! First pass over a burst: parse, classify by destination, and start every lookup before any is waited for.

use super::guard::Guard;
use super::lane::{Class, Lane, Lanes, Todo};
use super::packet::Packet;
use super::verdict::{DropReason, Verdict};
use super::{Ctx, ahead, classify, parse};
use crate::table::Port;

/// Parses and classifies every packet that is still undecided.
#[inline]
pub(super) fn run(burst: &mut [Packet<'_>], lanes: &mut Lanes, guard: &mut Guard, ctx: &Ctx<'_>) -> Todo {
    ahead::run(burst, ctx.tables);
    let mut todo = Todo::default();
    let mut memo = classify::Memo::default();
    // Bursts come from one port but for packets that waited.
    let mut port: Option<(u16, &Port)> = None;
    for (packet, lane) in burst.iter_mut().zip(lanes.iter_mut()) {
        *lane = Lane::default();
        if packet.verdict != Verdict::Continue {
            continue;
        }
        if port.is_none_or(|(index, _)| index != packet.port.0) {
            port = ctx.tables.ports.get(usize::from(packet.port.0)).map(|port| (packet.port.0, port));
        }
        let parsed = match port {
            Some((_, port)) => parse::parse(packet, lane, port, guard, ctx),
            None => Err(DropReason::NoPort),
        };
        if packet.verdict != Verdict::Continue {
            // Answered on the spot.
            if let Some(who) = lane.watched {
                guard.note(who, &packet.verdict);
            }
            continue;
        }
        let classified = parsed.and_then(|()| match lane.class {
            Class::None => classify::class_of(lane, &mut memo, ctx.tables),
            class => Ok(class),
        });
        classify::note(classified, packet, lane, &mut todo);
        if let Some(who) = lane.watched {
            guard.note(who, &packet.verdict);
        }
    }
    todo
}

/// Classifies the packets that this node has made out of others.
pub(super) fn again(burst: &mut [Packet<'_>], lanes: &mut Lanes, ctx: &Ctx<'_>) -> Todo {
    let mut todo = Todo::default();
    let mut memo = classify::Memo::default();
    for (packet, lane) in burst.iter_mut().zip(lanes.iter_mut()) {
        if packet.verdict == Verdict::Continue {
            let classified = classify::class_of(lane, &mut memo, ctx.tables);
            classify::note(classified, packet, lane, &mut todo);
        }
    }
    todo
}
