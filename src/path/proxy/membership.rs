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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ipv6::Ipv6;

    const GROUP: u128 = 0xff05 << 112 | 0x77;

    /// A packet to a group of site-local scope.
    fn packet(next_header: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; ipv6::HEADER];
        Ipv6::of_mut(&mut bytes).unwrap().write(rest.len() as u16, next_header, 1, 1, GROUP);
        [bytes, rest.to_vec()].concat()
    }

    // RFC 2710 §3
    #[test]
    fn only_mld_with_its_router_alert_is_not_copied() {
        let alert = |next_header| [next_header, 0, 5, 2, 0, 0, 1, 0];
        for kind in 0..=255u8 {
            let message = [kind, 0, 0, 0, 0, 0, 0, 0];
            let alerted = packet(next::HOP_BY_HOP, &[alert(next::ICMP6), message].concat());
            assert_eq!(is_copied(&alerted, GROUP), !(130..=132).contains(&kind) && kind != 143, "{kind}");
            assert!(is_copied(&packet(next::ICMP6, &message), GROUP), "{kind} without the option");
            let other = packet(next::HOP_BY_HOP, &[alert(next::UDP), message].concat());
            assert!(is_copied(&other, GROUP), "{kind} in UDP");
            // Of a later fragment nobody knows what it begins with.
            let later = [alert(next::FRAGMENT), [next::ICMP6, 0, 0, 8, 0, 0, 0, 9], message].concat();
            assert!(is_copied(&packet(next::HOP_BY_HOP, &later), GROUP), "{kind} in a later fragment");
        }
        let udp = packet(next::UDP, &[0; 8]);
        assert!(is_copied(&udp, GROUP) && !is_copied(&udp, 0xff02 << 112 | 0x77));
    }
}
