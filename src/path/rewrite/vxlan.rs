//! Puts a frame into a VXLAN tunnel over IPv6 and takes it out again (RFC 7348).
//!
//! Nothing is written to a packet before every check that could stop it has passed.

use crate::net::ipv6::{self, Ipv6, next};
use crate::net::{ethernet, udp, vxlan};
use crate::path::packet::Packet;
use crate::path::verdict::{DropReason, Verdict};
use crate::table::{Hop, Local, Tunnel};

/// Hop limit of tunnelled packets (RFC 1700).
const HOP_LIMIT: u8 = 64;

/// Bytes by which a packet grows from its own network header to that of the tunnel.
pub(in crate::path) const GROWTH: usize = vxlan::OVERHEAD + ethernet::HEADER;

/// Puts the frame into the tunnel, for the flow with this hash, and sends it through `hop`. The caller has checked the
/// hop.
///
/// The UDP checksum is right: receivers may verify it, and IPv6 without one needs both ends to agree (RFC 6935 §5).
pub(in crate::path) fn encapsulate(
    packet: &mut Packet<'_>,
    tunnel: &Tunnel,
    flow: u32,
    hop: &Hop,
) -> Verdict {
    let link = hop.link();
    if !packet.prepend((link.len() + vxlan::OVERHEAD) as u16) {
        return Verdict::Drop(DropReason::BufferShape);
    }
    packet.l3 = link.len() as u8;
    if let Some(front) = packet.frame_mut().get_mut(..link.len()) {
        front.copy_from_slice(link);
    }
    let l3 = packet.l3_mut();
    let payload = l3.len().saturating_sub(ipv6::HEADER) as u16;
    if let Some(mut header) = Ipv6::of_mut(l3) {
        header.write(payload, next::UDP, HOP_LIMIT, tunnel.from, tunnel.to);
    }
    if let Some(header) = l3.get_mut(udp::HEADERS..vxlan::OVERHEAD) {
        header.copy_from_slice(&vxlan::header(tunnel.vni));
    }
    if let Some(datagram) = l3.get_mut(ipv6::HEADER..) {
        udp::seal_ipv6(datagram, tunnel.from, tunnel.to, (vxlan::source_port(flow), vxlan::PORT));
    }
    Verdict::Forward(hop.port)
}

/// Takes out the frame that lies `at` bytes into the packet and ends `end` bytes into it, and delivers it. Its link
/// header is replaced by that of the attachment. The caller has checked the frame and the attachment's link.
pub(in crate::path) fn deliver(
    packet: &mut Packet<'_>,
    (at, end): (usize, usize),
    ethertype: u16,
    local: &Local,
) -> Verdict {
    let _ = packet.resize(end);
    if !packet.strip(at as u16) {
        return Verdict::Drop(DropReason::BufferShape);
    }
    packet.l3 = ethernet::HEADER as u8;
    if !packet.relink(local.hop.link()) {
        return Verdict::Drop(DropReason::BufferShape);
    }
    packet.set_ethertype(ethertype);
    Verdict::Forward(local.hop.port)
}
