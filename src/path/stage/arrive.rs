//! First pass over a burst: parses, admits and classifies each packet, and prefetches for all lookups before any of
//! them reads a bucket.

use super::{classify, parse};
use crate::net::ethernet;
use crate::path::admit::{ipv4, presence, ra_dhcp_guard, source};
use crate::path::ctx::Ctx;
use crate::path::meta::{BURST, BurstMeta, Class, PacketMeta, PendingWork};
use crate::path::original::Originals;
use crate::path::packet::Packet;
use crate::path::policer::Policer;
use crate::path::proxy::{arp, prefetch};
use crate::path::verdict::{DropReason, Verdict};
use crate::table::Port;

/// Parses, admits and classifies every undecided packet, resets the metadata of all, and returns which stages the burst
/// needs.
#[inline]
pub(in crate::path) fn run(
    burst: &mut [Packet<'_>],
    metas: &mut BurstMeta,
    originals: &mut Originals,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) -> PendingWork {
    prefetch::run(burst, ctx.tables);
    let mut pending = PendingWork::default();
    let mut memo = classify::Memo::default();
    // All packets of a received burst have one port. Only packets that waited for a neighbour may have several.
    let mut port: Option<(u16, &Port)> = None;
    for (index, (packet, meta)) in burst.iter_mut().zip(metas.iter_mut()).enumerate() {
        *meta = PacketMeta::default();
        if !packet.verdict.is_undecided() {
            continue;
        }
        if port.is_none_or(|(index, _)| index != packet.port.0) {
            port = ctx.tables.ports.get(usize::from(packet.port.0)).map(|port| (packet.port.0, port));
        }
        let stranger = presence::stranger(packet, ctx);
        let admitted = match port {
            Some((_, port)) => admit(packet, meta, (originals, index), port, policer, ctx),
            None => Err(DropReason::NoPort),
        };
        if let Some(stranger) = stranger.filter(|_| admitted.is_ok()) {
            stranger.decide(packet, meta.class, policer, ctx);
        }
        // The proxies have decided some packets: ARP, for example.
        if packet.verdict.is_undecided() {
            let classified = admitted.and_then(|()| match meta.class {
                Class::None => classify::class_of(meta, &mut memo, ctx.tables),
                class => Ok(class),
            });
            classify::note(classified, packet, meta, &mut pending);
        } else if matches!(packet.verdict, Verdict::Punt) && !policer.may_punt(packet, meta.policed, ctx) {
            packet.verdict = Verdict::Drop(DropReason::PuntRate);
        }
        if let Some(sender) = meta.policed {
            policer.note(sender, &packet.verdict);
        }
    }
    pending
}

/// Parses a packet and applies the source checks of its port. Later stages see only valid IPv6 that its sender may
/// send. ARP, RARP, IGMP and IPv4 for the gateway get their verdict here.
///
/// # Errors
/// The reason to drop the packet:
/// * of [`parse::link`] and [`parse::ipv6`]: `ShortFrame`, `SourceMacGroup`, `NotOurMac`, `UnknownVlan`,
///   `UnknownEthertype`, `Ipv6Truncated`, `Ipv6Version`, `Ipv6Length`, `ExtensionHeaders`
/// * of [`source`]: `UnknownTenant`, `Quarantined`, `SpoofedSource`, and all that no tenant may send
/// * of [`ra_dhcp_guard`]: `TenantRouter`, `TenantQuery`, `TenantDhcp`, `NdFragment`
/// * of [`ipv4::enter`]: `Ipv4Invalid`, `Ipv4NoRoute`, `Untranslatable`, `Multicast`, `PacketTooBig`
/// * of [`classify::special`]: `MartianSource`, `MartianDestination`, `LinkLocal`, `PacketTooBig`, `GroupUnmappable`
fn admit(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    (originals, index): (&mut Originals, usize),
    port: &Port,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) -> Result<(), DropReason> {
    let link = parse::link(packet, port)?;
    let sender = source::admit(packet, meta, &link, port, policer, ctx)?;
    if let Some(sender) = &sender {
        match link.ethertype {
            ethernet::ARP | ethernet::RARP => {
                packet.verdict = arp::decide(packet, sender, link.ethertype, link.bytes, policer, ctx);
                return Ok(());
            }
            ethernet::IPV4 => {
                ra_dhcp_guard::ipv4(packet.frame().get(link.bytes..).unwrap_or(&[]))?;
                packet.l3 = link.bytes as u8;
                let group_frame = link.destination.is_multicast();
                let original = &mut originals[index % BURST];
                return ipv4::enter(packet, (meta, original), sender, group_frame, policer, ctx);
            }
            _ => {}
        }
    }
    let header = parse::ipv6(packet, &link)?;
    source::admit_ipv6(packet, meta, sender.as_ref(), &link, &header, port, ctx)?;
    parse::note(packet, meta, &link, &header);
    classify::special(packet, meta, sender.as_ref(), &link, &header, port, ctx)
}

/// Classifies the undecided packets that this node made: answers and ICMPv6 errors. Returns which stages they need.
pub(in crate::path) fn again(burst: &mut [Packet<'_>], metas: &mut BurstMeta, ctx: &Ctx<'_>) -> PendingWork {
    let mut pending = PendingWork::default();
    let mut memo = classify::Memo::default();
    for (packet, meta) in burst.iter_mut().zip(metas.iter_mut()) {
        if packet.verdict.is_undecided() {
            let classified = classify::class_of(meta, &mut memo, ctx.tables);
            classify::note(classified, packet, meta, &mut pending);
        }
    }
    pending
}
