//! Neighbour Discovery messages (RFC 4861): parse with the validity rules, and build.
//!
//! Redirects are not read: a router must not update its routes from one (RFC 4861 §8.2). The module keeps no neighbour
//! cache and no timers.

mod build;
mod router;

pub use build::{
    Envelope, MAX_FRAME, Told, advertisement, neighbour_advertisement, router_solicitation, solicitation,
};
pub use router::{
    Advert, MAX_PREFIXES, MAX_ROUTER_FRAME, PrefixInformation, Prefixes, RouterAdvert, router_advert,
    router_advertisement, write_router_advert,
};

use super::ipv6::{self, Ipv6};
use super::{Mac, checksum, icmp6::kind};

/// A valid Neighbour Discovery message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Neighbour Solicitation.
    Solicitation {
        /// The address whose MAC address is asked for.
        target: u128,
        /// The source link-layer address option.
        source_mac: Option<Mac>,
    },
    /// Neighbour Advertisement.
    Advertisement {
        /// The address that is advertised.
        target: u128,
        /// The target link-layer address option.
        target_mac: Option<Mac>,
        /// R flag.
        router: bool,
        /// S flag.
        solicited: bool,
        /// O flag.
        override_flag: bool,
    },
    /// Router Solicitation.
    RouterSolicitation {
        /// The source link-layer address option.
        source_mac: Option<Mac>,
    },
    /// Router Advertisement; [`router_advert`] reads its fields.
    RouterAdvertisement,
}

/// Why a message must be discarded silently (RFC 4861 §6.1, RFC 4861 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// Hop limit is not 255: a router may have forwarded the packet.
    HopLimit,
    /// The ICMPv6 checksum is wrong.
    Checksum,
    /// ICMP code is not 0.
    Code,
    /// Shorter than the message's fixed part.
    Length,
    /// An option of length 0, or one that runs past the end.
    Option,
    /// The target is a multicast address.
    MulticastTarget,
    /// A solicitation from the unspecified address that carries a source link-layer option, or (for a neighbour) whose
    /// destination is not the solicited-node group of the target.
    UnspecifiedSource,
    /// A router advertisement that is not from a link-local address.
    Source,
    /// A solicited advertisement to a multicast destination.
    SolicitedMulticast,
    /// Not a Neighbour Discovery type this node reads.
    Type,
}

/// Option types.
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

/// Flags of a Neighbour Advertisement.
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// Hop limit of every Neighbour Discovery message.
pub const HOP_LIMIT: u8 = 255;

/// Parses the ICMPv6 message of `packet`, which starts at its IPv6 header and ends with its payload.
///
/// No extension header may precede the message. Reserved fields and unknown flags and options are ignored.
///
/// # Errors
/// [`Invalid::Length`], [`Invalid::HopLimit`], [`Invalid::Checksum`], [`Invalid::Code`] and [`Invalid::Option`] for any
/// message; [`Invalid::UnspecifiedSource`] for solicitations (RFC 4861 §6.1.1, RFC 4861 §7.1.1);
/// [`Invalid::MulticastTarget`] for neighbour messages; [`Invalid::SolicitedMulticast`] for neighbour advertisements
/// (RFC 4861 §7.1.2); [`Invalid::Source`] for router advertisements (RFC 4861 §6.1.2); [`Invalid::Type`] for others.
#[inline]
pub fn parse(packet: &[u8]) -> Result<Message, Invalid> {
    let (header, message, head) = checked(packet)?;
    let (source, destination) = (header.source(), header.destination());
    let target = || -> Result<u128, Invalid> {
        let bytes = message.get(8..).and_then(|rest| rest.first_chunk::<16>()).ok_or(Invalid::Length)?;
        let target = u128::from_be_bytes(*bytes);
        if ipv6::is_multicast(target) { Err(Invalid::MulticastTarget) } else { Ok(target) }
    };
    match head[0] {
        kind::NEIGHBOUR_SOLICITATION => {
            let target = target()?;
            let source_mac = link_layer_option(message, 24, SOURCE_LINK_LAYER)?;
            let to_group = destination == ipv6::solicited_node(target);
            if source == 0 && (source_mac.is_some() || !to_group) {
                return Err(Invalid::UnspecifiedSource);
            }
            Ok(Message::Solicitation { target, source_mac })
        }
        kind::NEIGHBOUR_ADVERTISEMENT => {
            let target = target()?;
            let target_mac = link_layer_option(message, 24, TARGET_LINK_LAYER)?;
            let flags = head[4];
            let solicited = flags & SOLICITED != 0;
            if solicited && ipv6::is_multicast(destination) {
                return Err(Invalid::SolicitedMulticast);
            }
            Ok(Message::Advertisement {
                target,
                target_mac,
                router: flags & ROUTER != 0,
                solicited,
                override_flag: flags & OVERRIDE != 0,
            })
        }
        kind::ROUTER_SOLICITATION => {
            let source_mac = link_layer_option(message, 8, SOURCE_LINK_LAYER)?;
            if source == 0 && source_mac.is_some() {
                return Err(Invalid::UnspecifiedSource);
            }
            Ok(Message::RouterSolicitation { source_mac })
        }
        kind::ROUTER_ADVERTISEMENT => router::read(source, message).map(|_| Message::RouterAdvertisement),
        _ => Err(Invalid::Type),
    }
}

/// The IPv6 header, the message, and the first 8 bytes of the message.
type Checked<'a> = (Ipv6<&'a [u8; ipv6::HEADER]>, &'a [u8], &'a [u8; 8]);

/// Checks the rules that all messages share (hop limit, checksum, length, code) and splits the packet.
fn checked(packet: &[u8]) -> Result<Checked<'_>, Invalid> {
    let header = Ipv6::of(packet).ok_or(Invalid::Length)?;
    let message = packet.get(ipv6::HEADER..).ok_or(Invalid::Length)?;
    if header.hop_limit() != HOP_LIMIT {
        return Err(Invalid::HopLimit);
    }
    if checksum::transport(header.source(), header.destination(), ipv6::next::ICMP6, message) != 0 {
        return Err(Invalid::Checksum);
    }
    let head = message.first_chunk::<8>().ok_or(Invalid::Length)?;
    if head[1] != 0 {
        return Err(Invalid::Code);
    }
    Ok((header, message, head))
}

/// Type and bytes of the first of `options`, and the rest. The length field of an option counts units of 8 bytes
/// (RFC 4861 §4.6).
fn first_option(options: &[u8]) -> Result<(u8, &[u8], &[u8]), Invalid> {
    match *options {
        [kind, units, ..] if units > 0 => {
            let (option, rest) = options.split_at_checked(8 * usize::from(units)).ok_or(Invalid::Option)?;
            Ok((kind, option, rest))
        }
        _ => Err(Invalid::Option),
    }
}

/// The MAC address in a link-layer address option.
fn link_layer_address(option: &[u8]) -> Option<Mac> {
    option.get(2..).and_then(|rest| rest.first_chunk()).map(|mac| Mac(*mac))
}

/// The MAC address in the last link-layer address option of type `wanted`. Checks all options, which start at `at`.
fn link_layer_option(message: &[u8], at: usize, wanted: u8) -> Result<Option<Mac>, Invalid> {
    let mut found = None;
    let mut options = message.get(at..).ok_or(Invalid::Length)?;
    while !options.is_empty() {
        let (kind, option, rest) = first_option(options)?;
        if kind == wanted {
            found = link_layer_address(option);
        }
        options = rest;
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
