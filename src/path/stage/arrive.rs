//! First pass over a burst: parse, classify by destination, and start every lookup before any is waited for.

use crate::path::Ctx;
use crate::path::meta::{BurstMeta, Class, PacketMeta, PendingWork};
use crate::path::packet::Packet;
use crate::path::policer::Policer;
use crate::path::proxy::prefetch;
use crate::path::stage::classify;
use crate::path::stage::parse;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::Port;

/// Parses and classifies every packet that is still undecided.
#[inline]
pub(in crate::path) fn run(
    burst: &mut [Packet<'_>],
    metas: &mut BurstMeta,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) -> PendingWork {
    prefetch::run(burst, ctx.tables);
    let mut pending = PendingWork::default();
    let mut memo = classify::Memo::default();
    // Bursts come from one port but for packets that waited.
    let mut port: Option<(u16, &Port)> = None;
    for (packet, meta) in burst.iter_mut().zip(metas.iter_mut()) {
        *meta = PacketMeta::default();
        if packet.verdict != Verdict::Continue {
            continue;
        }
        if port.is_none_or(|(index, _)| index != packet.port.0) {
            port = ctx.tables.ports.get(usize::from(packet.port.0)).map(|port| (packet.port.0, port));
        }
        let parsed = match port {
            Some((_, port)) => parse::parse(packet, meta, port, policer, ctx),
            None => Err(DropReason::NoPort),
        };
        if packet.verdict != Verdict::Continue {
            // Answered on the spot.
            if let Some(who) = meta.policed {
                policer.note(who, &packet.verdict);
            }
            continue;
        }
        let classified = parsed.and_then(|()| match meta.class {
            Class::None => classify::class_of(meta, &mut memo, ctx.tables),
            class => Ok(class),
        });
        classify::note(classified, packet, meta, &mut pending);
        if let Some(who) = meta.policed {
            policer.note(who, &packet.verdict);
        }
    }
    pending
}

/// Classifies the packets that this node has made out of others.
pub(in crate::path) fn again(burst: &mut [Packet<'_>], metas: &mut BurstMeta, ctx: &Ctx<'_>) -> PendingWork {
    let mut pending = PendingWork::default();
    let mut memo = classify::Memo::default();
    for (packet, meta) in burst.iter_mut().zip(metas.iter_mut()) {
        if packet.verdict == Verdict::Continue {
            let classified = classify::class_of(meta, &mut memo, ctx.tables);
            classify::note(classified, packet, meta, &mut pending);
        }
    }
    pending
}
