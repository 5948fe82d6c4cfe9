//! What routers on the path of a tunnel say of its MTU (RFC 8201): ICMPv6 packet too big about a packet of a tunnel that
//! this node sends through.
//!
//! Whoever sends one quotes the packet (RFC 4443 §5.2). Nothing is believed that names no tunnel of this node, or that
//! its packet would have fitted.

use crate::net::ipv6::{self, Ipv6, next};
use crate::net::udp::Udp;
use crate::net::{checksum, icmp6, vxlan};
use crate::table::{InFlight, Moves, Then, Tunnel};

/// The largest packet that the path of a tunnel takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathMtu {
    /// The address of this node.
    pub from: u128,
    /// The address of the other node.
    pub to: u128,
    /// In bytes, from the IPv6 header on; at least 1280.
    pub mtu: u16,
}

/// What an ICMPv6 message, in an IPv6 packet to this node, says of the path of a tunnel.
#[must_use]
pub fn path_mtu(packet: &[u8], moves: &Moves) -> Option<PathMtu> {
    let header = Ipv6::of(packet)?;
    let upper = ipv6::upper(packet).ok().filter(|upper| upper.protocol == next::ICMP6 && !upper.piece)?;
    let end = ipv6::HEADER + usize::from(header.payload_length());
    let message = packet.get(upper.offset..end)?;
    let (front, quoted) = message.split_first_chunk::<{ icmp6::ERROR_HEADER }>()?;
    if front[0] != icmp6::kind::PACKET_TOO_BIG
        || checksum::transport(header.source(), header.destination(), next::ICMP6, message) != 0
    {
        return None;
    }
    let mtu = u32::from_be_bytes([front[4], front[5], front[6], front[7]]);
    // RFC 8201 §4: no link is smaller, and one that is larger than any packet says nothing.
    let mtu = u16::try_from(mtu).ok().filter(|mtu| *mtu >= ipv6::MIN_MTU)?;
    let outer = Ipv6::of(quoted).filter(|outer| outer.version() == 6 && outer.next_header() == next::UDP)?;
    let datagram = quoted.get(ipv6::HEADER..)?;
    let ports = Udp::of(datagram)?;
    let is_vxlan = ports.destination() == vxlan::PORT && ports.source() >= vxlan::source_port(0);
    let vni = vxlan::vni(datagram.get(crate::net::udp::HEADER..)?)?;
    let (from, to) = (outer.source(), outer.destination());
    let did_not_fit = ipv6::HEADER + usize::from(outer.payload_length()) > usize::from(mtu);
    let is_ours = from == header.destination()
        && tunnels(moves).any(|tunnel| (tunnel.from, tunnel.to, tunnel.vni) == (from, to, vni));
    (is_vxlan && did_not_fit && is_ours).then_some(PathMtu { from, to, mtu })
}

/// The tunnels that this node sends through.
fn tunnels(moves: &Moves) -> impl Iterator<Item = &Tunnel> {
    let onward = moves.moving.iter().filter_map(|moving| match &moving.in_flight {
        InFlight::Onward { tunnel, .. } => tunnel.as_ref(),
        InFlight::Hold(_) | InFlight::Deliver | InFlight::Follow | InFlight::Drop => None,
    });
    let copies = moves.absent.iter().filter_map(|absent| Some(&absent.copies.as_ref()?.1));
    let back = moves.ends.iter().filter_map(|end| match &end.then {
        Then::Left(tunnel) => tunnel.as_ref(),
        Then::Hold(_) | Then::Deliver(_) => None,
    });
    onward.chain(copies).chain(back)
}
