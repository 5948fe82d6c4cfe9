//! The RA and DHCP guard: drops what only the node may send to tenants. The node is their router, querier and DHCP
//! server.
//!
//! Extension headers and fragments do not hide such packets (RFC 6980, RFC 7113): a first fragment must hold all
//! headers up to the upper layer (RFC 7112).

use super::chain;
use crate::net::icmp6::kind;
use crate::net::ipv4::{self, Ipv4};
use crate::net::ipv6::{self, next};
use crate::path::verdict::DropReason;

/// UDP ports of DHCP servers and relays (RFC 2131 §4.1, RFC 8415 §7.2). Both are refused in both families, because
/// translation turns one family into the other.
const DHCP_SERVERS: [u16; 2] = [67, 547];

/// Whether a packet with this protocol and source port is a DHCP server's. No tenant is one.
#[inline(always)]
pub(in crate::path) const fn is_dhcp_server(protocol: u8, source_port: u16) -> bool {
    protocol == next::UDP && (source_port == DHCP_SERVERS[0] || source_port == DHCP_SERVERS[1])
}

/// IP protocol number and message type of an IGMP membership query (RFC 3376 §4.1).
const IGMP: u8 = 2;
const IGMP_QUERY: u8 = 0x11;

/// Checks an IPv6 packet, from its header on.
///
/// # Errors
/// * [`DropReason::ExtensionHeaders`] from [`chain::upper`], and if nothing follows the headers.
/// * [`DropReason::TenantDhcp`] for a DHCP server's message.
/// * [`DropReason::TenantRouter`] for a Router Advertisement or a Redirect.
/// * [`DropReason::TenantQuery`] for a multicast listener query.
/// * [`DropReason::NdFragment`] for fragmented Neighbour Discovery.
#[inline]
pub(in crate::path) fn ipv6(packet: &[u8]) -> Result<(), DropReason> {
    match packet.get(6) {
        Some(&next::TCP) => Ok(()),
        Some(&next::UDP) => datagram(packet.get(ipv6::HEADER..).unwrap_or(&[])),
        _ => unusual(packet),
    }
}

/// Checks an IPv6 packet that is not plain TCP or UDP.
fn unusual(packet: &[u8]) -> Result<(), DropReason> {
    let upper = chain::upper(packet)?;
    if upper.later_fragment || upper.protocol == next::NONE {
        return Ok(());
    }
    let message = packet.get(upper.offset..).unwrap_or(&[]);
    match (upper.protocol, message.first()) {
        (_, None) => Err(DropReason::ExtensionHeaders),
        (next::UDP, _) => datagram(message),
        (next::ICMP6, Some(&(kind::ROUTER_ADVERTISEMENT | kind::REDIRECT))) => Err(DropReason::TenantRouter),
        (next::ICMP6, Some(&kind::LISTENER_QUERY)) => Err(DropReason::TenantQuery),
        (next::ICMP6, Some(kind::ROUTER_SOLICITATION..=kind::NEIGHBOUR_ADVERTISEMENT)) if upper.fragment => {
            Err(DropReason::NdFragment)
        }
        _ => Ok(()),
    }
}

/// Checks an IPv4 packet, from its header on. An invalid header passes: [`super::ipv4`] drops it.
///
/// # Errors
/// * [`DropReason::TenantDhcp`] for a DHCP server's message.
/// * [`DropReason::TenantQuery`] for an IGMP query.
#[inline]
pub(in crate::path) fn ipv4(packet: &[u8]) -> Result<(), DropReason> {
    let (Some(header), Some(view)) = (ipv4::header(packet), Ipv4::of(packet)) else { return Ok(()) };
    let message = packet.get(header.len()..).unwrap_or(&[]);
    match view.protocol() {
        next::UDP if view.fragment_offset() == 0 => datagram(message),
        IGMP if message.first() == Some(&IGMP_QUERY) && view.fragment_offset() == 0 => {
            Err(DropReason::TenantQuery)
        }
        _ => Ok(()),
    }
}

/// Checks the source port of a UDP datagram.
fn datagram(datagram: &[u8]) -> Result<(), DropReason> {
    match datagram.first_chunk() {
        Some(port) if is_dhcp_server(next::UDP, u16::from_be_bytes(*port)) => Err(DropReason::TenantDhcp),
        _ => Ok(()),
    }
}
