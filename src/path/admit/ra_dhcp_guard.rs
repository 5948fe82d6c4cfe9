//! What no tenant may say, whoever hears it: only the node is its router, asks for groups and hands out addresses.
//!
//! Neither extension headers nor fragments hide it (RFC 6980, RFC 7113): a first fragment must show its upper layer.

use crate::net::icmp6::kind;
use crate::net::ipv4::{self, Ipv4};
use crate::net::ipv6::{self, next};
use crate::path::verdict::DropReason;

/// UDP ports of DHCP servers and relays (RFC 2131 §4.1, RFC 8415 §7.2). Either is refused in both families: what comes
/// as one may leave as the other.
const DHCP_SERVERS: [u16; 2] = [67, 547];

/// Whether a packet with this protocol and source port is a DHCP server's, which no tenant is.
#[inline(always)]
pub(in crate::path) const fn is_dhcp_server(protocol: u8, source_port: u16) -> bool {
    protocol == next::UDP && (source_port == DHCP_SERVERS[0] || source_port == DHCP_SERVERS[1])
}

/// Protocol and type of a membership query (RFC 3376 §4.1).
const IGMP: u8 = 2;
const IGMP_QUERY: u8 = 0x11;

/// Judges an IPv6 packet, from its header on.
///
/// # Errors
/// The reason to drop it.
#[inline]
pub(in crate::path) fn ipv6(packet: &[u8]) -> Result<(), DropReason> {
    match packet.get(6) {
        Some(&next::TCP) => Ok(()),
        Some(&next::UDP) => datagram(packet.get(ipv6::HEADER..).unwrap_or(&[])),
        _ => unusual(packet),
    }
}

fn unusual(packet: &[u8]) -> Result<(), DropReason> {
    let upper = ipv6::upper(packet).map_err(|_| DropReason::ExtensionHeaders)?;
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

/// Judges an IPv4 packet, from its header on; one that cannot be read is left to others.
///
/// # Errors
/// The reason to drop it.
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

fn datagram(datagram: &[u8]) -> Result<(), DropReason> {
    match datagram.first_chunk() {
        Some(port) if is_dhcp_server(next::UDP, u16::from_be_bytes(*port)) => Err(DropReason::TenantDhcp),
        _ => Ok(()),
    }
}
