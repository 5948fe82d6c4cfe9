//! MLD and IGMP of tenants (RFC 3810, RFC 3376): reports go to the control thread, within the tenant's limits.
//!
//! Only this node queries, and a report is never forwarded.

use crate::ila::group::{leaves_link, scope};
use crate::net::icmp6::kind;
use crate::net::ipv6::{self, next};
use crate::net::{igmp, mld};
use crate::path::ctx::Ctx;
use crate::path::meta::Policed;
use crate::path::packet::Packet;
use crate::path::policer::Policer;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::LimitKind;

/// Whether a tenant's packet to an IPv6 group is copied to the group's members. Packets to groups of link-local scope
/// and MLD messages are not.
pub(in crate::path) fn is_copied(packet: &[u8], destination: u128) -> bool {
    leaves_link(scope(destination)) && !is_membership(packet)
}

/// Whether a packet is an MLD message, which has a router alert option. Version 1 sends reports to the group itself
/// (RFC 2710 §4).
fn is_membership(packet: &[u8]) -> bool {
    let alerted = packet.get(6) == Some(&next::HOP_BY_HOP);
    alerted
        && ipv6::upper(packet).is_ok_and(|upper| {
            let kind = packet.get(upper.offset);
            upper.protocol == next::ICMP6 && !upper.later_fragment && kind.is_some_and(|kind| is_mld(*kind))
        })
}

/// Whether an ICMPv6 type is one of MLD.
pub(in crate::path) const fn is_mld(kind: u8) -> bool {
    matches!(kind, kind::LISTENER_QUERY..=kind::LISTENER_DONE | kind::LISTENER_REPORT_2)
}

/// Decides a tenant's MLD message. Reports go to the control thread, limited as Neighbour Discovery is. All else is
/// dropped as `MembershipInvalid`: only the gateway queries.
pub(in crate::path) fn decide_mld(
    packet: &Packet<'_>,
    who: Policed,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) -> Verdict {
    match mld::parse(packet.l3()) {
        Ok(mld::Message::Report(_)) => heard(policer.pass(who, LimitKind::Nd, ctx)),
        Ok(mld::Message::Query(_)) | Err(_) => Verdict::Drop(DropReason::MembershipInvalid),
    }
}

/// Decides a tenant's IGMP message. Reports go to the control thread, limited as ARP is. All else is dropped as
/// `MembershipInvalid`: only the gateway queries.
pub(in crate::path) fn decide_igmp(
    packet: &Packet<'_>,
    who: Policed,
    policer: &mut Policer,
    ctx: &Ctx<'_>,
) -> Verdict {
    match igmp::parse(packet.l3()) {
        Ok(igmp::Message::Report(_)) => heard(policer.pass(who, LimitKind::Arp, ctx)),
        Ok(igmp::Message::Query(_)) | Err(_) => Verdict::Drop(DropReason::MembershipInvalid),
    }
}

/// Punts the report, or drops it for the limit that it exceeds.
fn heard(passed: Result<(), DropReason>) -> Verdict {
    passed.map_or_else(Verdict::Drop, |()| Verdict::Punt)
}
