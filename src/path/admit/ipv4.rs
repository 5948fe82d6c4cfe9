//! Admission of a tenant's IPv4: checks header and source, answers packets to the gateway, and has the rest translated
//! to IPv6 (RFC 7915, ILA draft §4.3.2, ILA draft §5.12.2).
//!
//! Every later stage sees an IPv6 packet between SIR addresses of type 2.

use super::group;
use super::source::Sender;
use crate::net::igmp;
use crate::net::ipv4::{self, Ipv4};
use crate::path::ctx::Ctx;
use crate::path::meta::PacketMeta;
use crate::path::meta::Policed;
use crate::path::original::Original;
use crate::path::packet::Packet;
use crate::path::policer::Policer;
use crate::path::proxy::{echo, membership};
use crate::path::rewrite::siit;
use crate::path::verdict::{DropReason, Verdict};
use crate::siit::check_options;

/// Admits an IPv4 packet of a tenant: later stages see the IPv6 packet that it becomes. `group_frame` says that the
/// frame went to a group MAC address; then only packets to groups are admitted. IGMP and packets to the gateway get
/// their verdict here. `original` keeps what an ICMP error about the packet quotes.
///
/// # Errors
/// The reason to drop the packet:
/// * `Ipv4Invalid` for a header that RFC 791 or RFC 1122 tells to discard
/// * `SpoofedSource` for a source that is not the tenant's
/// * `Multicast` for a group of link-local scope, a reserved address, or unicast in a group frame
/// * `GroupUnmappable` for a group whose zero alias is another group
/// * `Quarantined` for a packet to the gateway of a tenant under quarantine
/// * `Ipv4NoRoute` for a destination that the network does not know
/// * `NotServed`, `FragmentForUs` and `Checksum` for a packet to the gateway that it does not answer
/// * `Untranslatable` if RFC 7915 gives no translation, and for wrong options and source routes to the gateway
/// * `PacketTooBig` for more than the network's MTU
pub(in crate::path) fn enter(
    packet: &mut Packet<'_>,
    (meta, original): (&mut PacketMeta, &mut Original),
    from: &Sender<'_>,
    group_frame: bool,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) -> Result<(), DropReason> {
    let l3 = packet.l3();
    let header = Ipv4::of(l3).ok_or(DropReason::Ipv4Invalid)?;
    let (source, destination) = (header.source(), header.destination());
    let total = usize::from(header.total_length());
    // Fragments of ICMP are not translated (RFC 7915 §1.2).
    meta.splits = !header.dont_fragment() && header.protocol() != ipv4::protocol::ICMP;
    let whole = ipv4::header(l3).ok_or(DropReason::Ipv4Invalid)?;
    if header.version() != 4 || !ipv4::is_intact(whole) || total < whole.len() || total > l3.len() {
        return Err(DropReason::Ipv4Invalid);
    }
    let is_report = header.protocol() == igmp::PROTOCOL && destination >> 28 == 0xe;
    // Ethernet padding is not forwarded.
    let _ = packet.resize(usize::from(packet.l3) + total);
    // RFC 3376 §4.2.13: a host without an address may report its groups.
    if !(from.tenant.ipv4.contains(&source) || is_report && source == 0) {
        return Err(DropReason::SpoofedSource);
    }
    if is_report {
        packet.verdict = membership::decide_igmp(packet, Policed::of(from.tenant), policer, ctx);
        return Ok(());
    }
    original.keep(packet.l3());
    meta.came_as_ipv4 = true;
    let group = group::ipv4_group(destination, from.network)?;
    if group_frame && group.is_none() {
        return Err(DropReason::Multicast);
    }
    if let Some(group) = group {
        group::begin(meta, from, group, ctx)?;
    }
    if from.network.subnet_of(destination).is_some_and(|subnet| subnet.gateway == destination) {
        policer.heed(Policed::of(from.tenant))?;
        // The gateway forwards no source route, and its reply would carry it on.
        let header = ipv4::header(packet.l3()).ok_or(DropReason::Ipv4Invalid)?;
        check_options(header).map_err(|refused| siit::refuse(meta, refused))?;
        packet.verdict = match echo::reply_ipv4(packet, from) {
            Verdict::Drop(reason) => return Err(reason),
            verdict => verdict,
        };
        return Ok(());
    }
    if total > usize::from(from.network.mtu) {
        meta.mtu = from.network.mtu;
        return Err(DropReason::PacketTooBig);
    }
    siit::to_ipv6(packet, meta, from, (source, destination), group, ctx)
}
