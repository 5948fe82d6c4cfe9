//! Router Advertisements: read and write (RFC 4861 §4.2, RFC 4861 §4.6.2, RFC 4861 §4.6.4).

use super::build::{Envelope, MAX_FRAME, seal, seal_short};
use super::{Invalid, SOURCE_LINK_LAYER, checked, first_option, link_layer_address};
use crate::net::{Ipv6Prefix, Mac, icmp6::kind, ipv6};

/// The largest number of prefixes that [`write_router_advert`] puts into one message.
pub const MAX_PREFIXES: usize = 8;
/// The longest frame that [`write_router_advert`] writes, in bytes.
pub const MAX_ROUTER_FRAME: usize = 18 + 40 + MESSAGE;

/// Bytes of the message before its options.
const HEADER: usize = 16;
/// Bytes of a prefix information option.
const PREFIX: usize = 32;
/// Bytes of the longest message that is written.
const MESSAGE: usize = HEADER + 8 + 8 + MAX_PREFIXES * PREFIX;
/// Option types.
const PREFIX_INFORMATION: u8 = 3;
const MTU: u8 = 5;
/// Flags of the message.
const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;
/// Flags of a prefix.
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;

/// The fields of a short Router Advertisement. The others have fixed values: hop limit 64, flags M and O clear,
/// timers 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advert {
    /// Router lifetime in seconds; 0 means that the sender is not a default router.
    pub lifetime_s: u16,
    /// MTU of the link in bytes.
    pub mtu: u16,
    /// A prefix for the prefix information option: bits, length, on-link, autonomous.
    pub prefix: Option<(u128, u8, bool, bool)>,
}

/// The fields and options of a Router Advertisement, without its prefixes (RFC 4861 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouterAdvert {
    /// Hop limit that hosts put into their packets; 0 means unspecified.
    pub hop_limit: u8,
    /// M flag: addresses come from DHCPv6.
    pub managed: bool,
    /// O flag: other configuration comes from DHCPv6.
    pub other: bool,
    /// Router lifetime in seconds; 0 means that the sender is not a default router.
    pub lifetime_s: u16,
    /// Reachable time in milliseconds: how long a neighbour counts as reachable; 0 means unspecified.
    pub reachable_ms: u32,
    /// Retransmission timer in milliseconds: the time between solicitations of a neighbour; 0 means unspecified.
    pub retransmit_ms: u32,
    /// The source link-layer address option.
    pub source_mac: Option<Mac>,
    /// The MTU option in bytes.
    pub mtu: Option<u32>,
}

/// A prefix information option (RFC 4861 §4.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixInformation {
    /// The prefix.
    pub prefix: Ipv6Prefix,
    /// L flag: its addresses are on the link.
    pub on_link: bool,
    /// A flag: hosts may form addresses from it.
    pub autonomous: bool,
    /// Valid lifetime in seconds; `u32::MAX` means infinity.
    pub valid_s: u32,
    /// Preferred lifetime in seconds, not above the valid one; `u32::MAX` means infinity.
    pub preferred_s: u32,
}

impl PrefixInformation {
    /// A prefix with the default lifetimes: valid for 30 days, preferred for 7 (RFC 4861 §6.2.1).
    #[must_use]
    pub const fn new(prefix: Ipv6Prefix, on_link: bool, autonomous: bool) -> Self {
        PrefixInformation { prefix, on_link, autonomous, valid_s: 2_592_000, preferred_s: 604_800 }
    }
}

/// Iterates over the prefixes of a valid Router Advertisement, in the order of the message.
#[derive(Debug, Clone, Copy)]
pub struct Prefixes<'a> {
    options: &'a [u8],
}

impl Iterator for Prefixes<'_> {
    type Item = PrefixInformation;

    /// Skips an option whose length is not 32 bytes, whose prefix is longer than 128 bits, or whose preferred
    /// lifetime is above the valid one (RFC 4862 §5.5.3).
    fn next(&mut self) -> Option<PrefixInformation> {
        while let Ok((kind, option, rest)) = first_option(self.options) {
            self.options = rest;
            if kind != PREFIX_INFORMATION || option.len() != PREFIX {
                continue;
            }
            let word =
                |at: usize| u32::from_be_bytes([option[at], option[at + 1], option[at + 2], option[at + 3]]);
            let bits = option.last_chunk().map_or(0, |bits| u128::from_be_bytes(*bits));
            let (length, valid_s, preferred_s) = (option[2], word(4), word(8));
            if length > 128 || preferred_s > valid_s {
                continue;
            }
            return Some(PrefixInformation {
                // The receiver ignores bits beyond the prefix length (RFC 4861 §4.6.2).
                prefix: Ipv6Prefix::covering(bits, length),
                on_link: option[3] & ON_LINK != 0,
                autonomous: option[3] & AUTONOMOUS != 0,
                valid_s,
                preferred_s,
            });
        }
        None
    }
}

/// Reads the Router Advertisement of `packet`, which starts at its IPv6 header and ends with its payload.
///
/// # Errors
/// [`Invalid::Type`] for another message; [`Invalid::Source`], [`Invalid::HopLimit`], [`Invalid::Checksum`],
/// [`Invalid::Code`], [`Invalid::Length`] and [`Invalid::Option`] by RFC 4861 §6.1.2.
pub fn router_advert(packet: &[u8]) -> Result<(RouterAdvert, Prefixes<'_>), Invalid> {
    let (header, message, head) = checked(packet)?;
    if head[0] != kind::ROUTER_ADVERTISEMENT {
        return Err(Invalid::Type);
    }
    read(header.source(), message)
}

/// Reads a message that [`checked`] has accepted.
pub(super) fn read(source: u128, message: &[u8]) -> Result<(RouterAdvert, Prefixes<'_>), Invalid> {
    if !ipv6::is_link_local(source) {
        return Err(Invalid::Source);
    }
    let (head, options) = message.split_first_chunk::<HEADER>().ok_or(Invalid::Length)?;
    let mut advert = RouterAdvert {
        hop_limit: head[4],
        managed: head[5] & MANAGED != 0,
        other: head[5] & OTHER != 0,
        lifetime_s: u16::from_be_bytes([head[6], head[7]]),
        reachable_ms: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
        retransmit_ms: u32::from_be_bytes([head[12], head[13], head[14], head[15]]),
        source_mac: None,
        mtu: None,
    };
    let mut left = options;
    while !left.is_empty() {
        let (kind, option, rest) = first_option(left)?;
        match kind {
            SOURCE_LINK_LAYER => advert.source_mac = link_layer_address(option),
            MTU => {
                advert.mtu =
                    option.get(4..).and_then(|rest| rest.first_chunk()).map(|mtu| u32::from_be_bytes(*mtu));
            }
            _ => {}
        }
        left = rest;
    }
    Ok((advert, Prefixes { options }))
}

/// Assembles the message; returns its length in bytes, or `None` when there are more than [`MAX_PREFIXES`] prefixes.
fn assemble(
    message: &mut [u8; MESSAGE],
    advert: &RouterAdvert,
    prefixes: &[PrefixInformation],
) -> Option<usize> {
    if prefixes.len() > MAX_PREFIXES {
        return None;
    }
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    message[0] = kind::ROUTER_ADVERTISEMENT;
    message[4] = advert.hop_limit;
    message[5] = flag(advert.managed, MANAGED) | flag(advert.other, OTHER);
    message[6..8].copy_from_slice(&advert.lifetime_s.to_be_bytes());
    message[8..12].copy_from_slice(&advert.reachable_ms.to_be_bytes());
    message[12..16].copy_from_slice(&advert.retransmit_ms.to_be_bytes());
    let mut at = HEADER;
    if let Some(mac) = advert.source_mac {
        message[at..at + 2].copy_from_slice(&[SOURCE_LINK_LAYER, 1]);
        message[at + 2..at + 8].copy_from_slice(&mac.0);
        at += 8;
    }
    if let Some(mtu) = advert.mtu {
        message[at..at + 2].copy_from_slice(&[MTU, 1]);
        message[at + 4..at + 8].copy_from_slice(&mtu.to_be_bytes());
        at += 8;
    }
    for information in prefixes {
        let option = message.get_mut(at..at + PREFIX)?;
        let flags = flag(information.on_link, ON_LINK) | flag(information.autonomous, AUTONOMOUS);
        option[..4].copy_from_slice(&[PREFIX_INFORMATION, 4, information.prefix.length(), flags]);
        option[4..8].copy_from_slice(&information.valid_s.to_be_bytes());
        let preferred_s = information.preferred_s.min(information.valid_s);
        option[8..12].copy_from_slice(&preferred_s.to_be_bytes());
        option[16..32].copy_from_slice(&information.prefix.bits().to_be_bytes());
        at += PREFIX;
    }
    Some(at)
}

/// Writes the frame of a Router Advertisement; returns its length in bytes.
///
/// Returns `None` when there are more than [`MAX_PREFIXES`] prefixes or `frame` is too short; [`MAX_ROUTER_FRAME`]
/// bytes always suffice. A preferred lifetime above the valid one is lowered to it (RFC 4861 §4.6.2).
pub fn write_router_advert(
    frame: &mut [u8],
    to: Envelope,
    advert: &RouterAdvert,
    prefixes: &[PrefixInformation],
) -> Option<usize> {
    let mut message = [0; MESSAGE];
    let length = assemble(&mut message, advert, prefixes)?;
    seal(frame, to, message.get(..length)?)
}

/// Writes the frame of a short Router Advertisement that carries the sender's MAC address; returns its length in bytes.
pub fn router_advertisement(frame: &mut [u8; MAX_FRAME], to: Envelope, advert: Advert) -> usize {
    let all = RouterAdvert {
        hop_limit: 64,
        managed: false,
        other: false,
        lifetime_s: advert.lifetime_s,
        reachable_ms: 0,
        retransmit_ms: 0,
        source_mac: Some(to.from_mac),
        mtu: Some(advert.mtu.into()),
    };
    let prefix = advert.prefix.map(|(bits, length, on_link, autonomous)| {
        PrefixInformation::new(Ipv6Prefix::covering(bits, length), on_link, autonomous)
    });
    let mut message = [0; MESSAGE];
    let length = assemble(&mut message, &all, prefix.as_slice()).unwrap_or_default();
    seal_short(frame, to, &message[..length])
}
