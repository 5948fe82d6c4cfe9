//! Admits a tenant's IPv4: checks the header, answers what is for the gateway, and has the rest translated to IPv6
//! (RFC 7915, ILA draft §4.3.2, §5.12.2). Every later stage sees an IPv6 packet from and to SIR addresses of type 2.

use super::group;
use super::source::Sender;
use crate::net::ipv4::{self, Ipv4};
use crate::net::{fragment, igmp, ipv6};
use crate::path::Ctx;
use crate::path::meta::PacketMeta;
use crate::path::packet::Packet;
use crate::path::policer::{Policed, Policer};
use crate::path::proxy::{echo, membership};
use crate::path::rewrite::siit;
use crate::path::verdict::DropReason;

/// Takes an IPv4 packet from a tenant: what follows sees the IPv6 packet that it becomes. In a group frame only packets
/// to groups are welcome.
///
/// # Errors
/// The reason to drop it.
pub(in crate::path) fn enter(
    packet: &mut Packet<'_>,
    meta: &mut PacketMeta,
    from: &Sender<'_>,
    group_frame: bool,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) -> Result<(), DropReason> {
    let l3 = packet.l3();
    let header = Ipv4::of(l3).ok_or(DropReason::Ipv4Invalid)?;
    let (source, destination) = (header.source(), header.destination());
    let total = usize::from(header.total_length());
    meta.splits = !header.dont_fragment();
    let whole = ipv4::header(l3).ok_or(DropReason::Ipv4Invalid)?;
    if header.version() != 4 || !ipv4::is_intact(whole) || total < whole.len() || total > l3.len() {
        return Err(DropReason::Ipv4Invalid);
    }
    let is_report = header.protocol() == igmp::PROTOCOL && destination >> 28 == 0xe;
    // Ethernet padding does not travel on.
    let _ = packet.resize(usize::from(packet.l3) + total);
    // A host without an address may report its groups (RFC 3376 §4.2.13).
    if !(from.tenant.ipv4.contains(&source) || is_report && source == 0) {
        return Err(DropReason::SpoofedSource);
    }
    if is_report {
        packet.verdict = membership::decide_igmp(packet, Policed::of(from.tenant), policer, ctx);
        return Ok(());
    }
    let group = group::ipv4_group(destination, from.network)?;
    if group_frame && group.is_none() {
        return Err(DropReason::Multicast);
    }
    if let Some(group) = group {
        group::begin(meta, from, group, ctx)?;
    }
    if from.network.subnet_of(destination).is_some_and(|subnet| subnet.gateway == destination) {
        policer.heed(Policed::of(from.tenant))?;
        packet.verdict = echo::reply_ipv4(packet, from);
        return Ok(());
    }
    siit::to_ipv6(packet, meta, from, (source, destination), group, ctx)?;
    if total > usize::from(from.network.mtu) {
        // The tenant is told in the terms of IPv4: the difference of the headers goes off again.
        let in_fragment = packet.l3().get(6) == Some(&ipv6::next::FRAGMENT);
        let checksum_delta_ipv4 =
            ipv6::HEADER - ipv4::HEADER + if in_fragment { fragment::HEADER } else { 0 };
        meta.mtu = from.network.mtu + checksum_delta_ipv4 as u16;
        return Err(DropReason::PacketTooBig);
    }
    Ok(())
}
