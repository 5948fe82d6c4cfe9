//! Writes frames of Neighbour Discovery: Neighbour Solicitations, Neighbour Advertisements and Router Solicitations
//! (RFC 4861 §4.1, RFC 4861 §4.3, RFC 4861 §4.4).

use super::{HOP_LIMIT, OVERRIDE, ROUTER, SOLICITED, SOURCE_LINK_LAYER, TARGET_LINK_LAYER};
use crate::net::{Mac, checksum, ethernet, icmp6::kind, ipv6};

/// The longest frame that the builders with a buffer of fixed length write, in bytes: a tagged Router Advertisement
/// with one prefix.
pub const MAX_FRAME: usize = 18 + 40 + 16 + 8 + 8 + 32;

/// The addresses of a frame.
#[derive(Debug, Clone, Copy)]
pub struct Envelope {
    /// Destination MAC address.
    pub to_mac: Mac,
    /// Source MAC address.
    pub from_mac: Mac,
    /// VLAN identifier, 0 for untagged.
    pub vlan: u16,
    /// Source address.
    pub source: u128,
    /// Destination address.
    pub destination: u128,
}

/// The content of a Neighbour Advertisement (RFC 4861 §4.4).
///
/// A proxy advertises the address of another node. It clears the O flag (RFC 4861 §7.2.8) and sets the R flag if that
/// node is a router. It answers a solicitation from the unspecified address with an unsolicited advertisement to all
/// nodes (RFC 4861 §7.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The address that is advertised.
    pub target: u128,
    /// The target link-layer address option. Only an answer to a unicast solicitation may omit it.
    pub target_mac: Option<Mac>,
    /// R flag: the target is a router.
    pub router: bool,
    /// S flag: this answers a solicitation.
    pub solicited: bool,
    /// O flag: the receiver replaces a different cached MAC address.
    pub override_flag: bool,
}

/// Writes a frame with the ICMPv6 message `message`, whose checksum bytes must be zero; returns its length in bytes, or
/// `None` when `frame` is too short.
#[inline]
pub(super) fn seal(frame: &mut [u8], to: Envelope, message: &[u8]) -> Option<usize> {
    let front = frame.first_chunk_mut()?;
    let link_length = ethernet::write_header(front, to.to_mac, to.from_mac, to.vlan, ethernet::IPV6);
    let length = link_length + ipv6::HEADER + message.len();
    let frame = frame.get_mut(..length)?;
    let mut header = ipv6::Ipv6::of_mut(&mut frame[link_length..])?;
    header.write(message.len() as u16, ipv6::next::ICMP6, HOP_LIMIT, to.source, to.destination);
    let body = &mut frame[link_length + ipv6::HEADER..];
    body.copy_from_slice(message);
    let sum = checksum::transport(to.source, to.destination, ipv6::next::ICMP6, body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    Some(length)
}

/// [`seal`] for messages that fit [`MAX_FRAME`]: the longest is a Router Advertisement with one prefix.
#[inline]
pub(super) fn seal_short(frame: &mut [u8; MAX_FRAME], to: Envelope, message: &[u8]) -> usize {
    seal(frame, to, message).unwrap_or_default()
}

/// Writes the frame of a Neighbour Solicitation for `target`; returns its length in bytes.
///
/// The message carries the sender's MAC address unless the source is unspecified (RFC 4861 §4.3).
pub fn solicitation(frame: &mut [u8; MAX_FRAME], to: Envelope, target: u128) -> usize {
    let mut message = [0u8; 32];
    message[0] = kind::NEIGHBOUR_SOLICITATION;
    message[8..24].copy_from_slice(&target.to_be_bytes());
    message[24..26].copy_from_slice(&[SOURCE_LINK_LAYER, 1]);
    message[26..32].copy_from_slice(&to.from_mac.0);
    seal_short(frame, to, if to.source == 0 { &message[..24] } else { &message })
}

/// Writes the frame of a router's Neighbour Advertisement for its own address `target`, with its MAC address; returns
/// the length in bytes.
pub fn advertisement(
    frame: &mut [u8; MAX_FRAME],
    to: Envelope,
    target: u128,
    solicited: bool,
    override_flag: bool,
) -> usize {
    let told = Told { target, target_mac: Some(to.from_mac), router: true, solicited, override_flag };
    neighbour_advertisement(frame, to, &told)
}

/// Writes the frame of the Neighbour Advertisement `told`; returns its length in bytes.
pub fn neighbour_advertisement(frame: &mut [u8; MAX_FRAME], to: Envelope, told: &Told) -> usize {
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let flags =
        flag(told.router, ROUTER) | flag(told.solicited, SOLICITED) | flag(told.override_flag, OVERRIDE);
    // The message is assembled from words of 8 bytes. The checksum reads it back at once, and a read of 8 bytes would
    // stall on narrower stores. A busy proxy runs this code for every solicitation.
    let head = [kind::NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    let target = [(told.target >> 64) as u64, told.target as u64].map(u64::to_be_bytes);
    match told.target_mac {
        Some(Mac([a, b, c, d, e, f])) => {
            let option = [TARGET_LINK_LAYER, 1, a, b, c, d, e, f];
            seal_short(frame, to, [head, target[0], target[1], option].as_flattened())
        }
        None => seal_short(frame, to, [head, target[0], target[1]].as_flattened()),
    }
}

/// Writes the frame of a Router Solicitation; returns its length in bytes.
///
/// The message carries the sender's MAC address unless the source is unspecified (RFC 4861 §4.1).
pub fn router_solicitation(frame: &mut [u8; MAX_FRAME], to: Envelope) -> usize {
    let mut message = [0u8; 16];
    message[0] = kind::ROUTER_SOLICITATION;
    message[8..10].copy_from_slice(&[SOURCE_LINK_LAYER, 1]);
    message[10..16].copy_from_slice(&to.from_mac.0);
    seal_short(frame, to, if to.source == 0 { &message[..8] } else { &message })
}
