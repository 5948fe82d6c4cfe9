//! Neighbour Discovery messages (RFC 4861): parse with the validity rules, and build.

use super::{Mac, checksum, ethernet, icmp6::kind, ipv6};

/// A valid Neighbour Discovery message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Neighbour Solicitation.
    Solicitation {
        /// The address that is asked for.
        target: u128,
        /// The source link-layer address option.
        source_mac: Option<Mac>,
    },
    /// Neighbour Advertisement.
    Advertisement {
        /// The address that is told of.
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
    /// Router Advertisement (its content is not used: we are a router).
    RouterAdvertisement,
}

/// Why a message must be discarded silently (RFC 4861 §6.1, §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// Hop limit is not 255: it may have been forwarded by a router.
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
    /// From the unspecified address with a link-layer option, or not to a solicited-node group.
    UnspecifiedSource,
    /// A solicited advertisement to a multicast destination.
    SolicitedMulticast,
    /// Not a Neighbour Discovery type this node reads.
    Type,
}

/// Option types.
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
const PREFIX_INFORMATION: u8 = 3;
const MTU: u8 = 5;

/// Hop limit of every Neighbour Discovery message.
pub const HOP_LIMIT: u8 = 255;

/// Parses the ICMPv6 message of `packet`, which starts at its IPv6 header and ends with its payload.
///
/// # Errors
/// [`Invalid`] by the rules of RFC 4861 §6.1.1, §6.1.2, §7.1.1 and §7.1.2.
pub fn parse(packet: &[u8]) -> Result<Message, Invalid> {
    let header = ipv6::Ipv6::of(packet).ok_or(Invalid::Length)?;
    let message = packet.get(ipv6::HEADER..).ok_or(Invalid::Length)?;
    let (source, destination) = (header.source(), header.destination());
    if header.hop_limit() != HOP_LIMIT {
        return Err(Invalid::HopLimit);
    }
    if checksum::transport(source, destination, ipv6::next::ICMP6, message) != 0 {
        return Err(Invalid::Checksum);
    }
    let head = message.first_chunk::<8>().ok_or(Invalid::Length)?;
    if head[1] != 0 {
        return Err(Invalid::Code);
    }
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
            let solicited = flags & 0x40 != 0;
            if solicited && ipv6::is_multicast(destination) {
                return Err(Invalid::SolicitedMulticast);
            }
            Ok(Message::Advertisement {
                target,
                target_mac,
                router: flags & 0x80 != 0,
                solicited,
                override_flag: flags & 0x20 != 0,
            })
        }
        kind::ROUTER_SOLICITATION => {
            let source_mac = link_layer_option(message, 8, SOURCE_LINK_LAYER)?;
            if source == 0 && source_mac.is_some() {
                return Err(Invalid::UnspecifiedSource);
            }
            Ok(Message::RouterSolicitation { source_mac })
        }
        kind::ROUTER_ADVERTISEMENT => {
            if message.len() < 16 {
                return Err(Invalid::Length);
            }
            Ok(Message::RouterAdvertisement)
        }
        _ => Err(Invalid::Type),
    }
}

/// Finds the link-layer option of type `wanted` among the options that start at `at`.
fn link_layer_option(message: &[u8], mut at: usize, wanted: u8) -> Result<Option<Mac>, Invalid> {
    let mut found = None;
    while at < message.len() {
        let (kind, units) = match message.get(at..) {
            Some([kind, units, ..]) => (*kind, usize::from(*units)),
            _ => return Err(Invalid::Option),
        };
        let option = message.get(at..at + 8 * units).ok_or(Invalid::Option)?;
        if units == 0 {
            return Err(Invalid::Option);
        }
        if kind == wanted {
            found = option.get(2..).and_then(|rest| rest.first_chunk::<6>()).map(|mac| Mac(*mac));
        }
        at += 8 * units;
    }
    Ok(found)
}

/// What a Router Advertisement says (RFC 4861 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advert {
    /// Router lifetime in seconds; 0 says that this is not a default router.
    pub lifetime_s: u16,
    /// MTU of the link in bytes.
    pub mtu: u16,
    /// A prefix for the prefix information option: bits, length, on-link, autonomous.
    pub prefix: Option<(u128, u8, bool, bool)>,
}

/// The longest frame that the builders below write, in bytes.
pub const MAX_FRAME: usize = 18 + 40 + 16 + 8 + 8 + 32;

/// Who sends a frame to whom.
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

/// Writes a frame with an ICMPv6 `message` whose checksum bytes are zero; returns its length.
fn seal(frame: &mut [u8; MAX_FRAME], to: Envelope, message: &[u8]) -> usize {
    let (link, link_length) = ethernet::header(to.to_mac, to.from_mac, to.vlan);
    let length = link_length + ipv6::HEADER + message.len();
    frame[..link_length].copy_from_slice(&link[..link_length]);
    if let Some(mut header) = ipv6::Ipv6::of_mut(&mut frame[link_length..]) {
        header.write(message.len() as u16, ipv6::next::ICMP6, HOP_LIMIT, to.source, to.destination);
    }
    let body = &mut frame[link_length + ipv6::HEADER..length];
    body.copy_from_slice(message);
    let sum = checksum::transport(to.source, to.destination, ipv6::next::ICMP6, body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    length
}

/// Writes a Neighbour Solicitation for `target` with our link-layer address, unless the source is unspecified.
pub fn solicitation(frame: &mut [u8; MAX_FRAME], to: Envelope, target: u128) -> usize {
    let mut message = [0u8; 32];
    message[0] = kind::NEIGHBOUR_SOLICITATION;
    message[8..24].copy_from_slice(&target.to_be_bytes());
    message[24..26].copy_from_slice(&[SOURCE_LINK_LAYER, 1]);
    message[26..32].copy_from_slice(&to.from_mac.0);
    seal(frame, to, if to.source == 0 { &message[..24] } else { &message })
}

/// Writes a Neighbour Advertisement of `target` as a router, with our link-layer address.
pub fn advertisement(
    frame: &mut [u8; MAX_FRAME],
    to: Envelope,
    target: u128,
    solicited: bool,
    override_flag: bool,
) -> usize {
    let mut message = [0u8; 32];
    message[0] = kind::NEIGHBOUR_ADVERTISEMENT;
    message[4] = 0x80 | if solicited { 0x40 } else { 0 } | if override_flag { 0x20 } else { 0 };
    message[8..24].copy_from_slice(&target.to_be_bytes());
    message[24..26].copy_from_slice(&[TARGET_LINK_LAYER, 1]);
    message[26..32].copy_from_slice(&to.from_mac.0);
    seal(frame, to, &message)
}

/// Writes a Router Advertisement.
pub fn router_advertisement(frame: &mut [u8; MAX_FRAME], to: Envelope, advert: Advert) -> usize {
    let mut message = [0u8; 64];
    message[0] = kind::ROUTER_ADVERTISEMENT;
    message[4] = 64;
    message[6..8].copy_from_slice(&advert.lifetime_s.to_be_bytes());
    message[16..18].copy_from_slice(&[SOURCE_LINK_LAYER, 1]);
    message[18..24].copy_from_slice(&to.from_mac.0);
    message[24..26].copy_from_slice(&[MTU, 1]);
    message[28..32].copy_from_slice(&u32::from(advert.mtu).to_be_bytes());
    let mut length = 32;
    if let Some((bits, prefix_length, on_link, autonomous)) = advert.prefix {
        message[32..36].copy_from_slice(&[
            PREFIX_INFORMATION,
            4,
            prefix_length,
            if on_link { 0x80 } else { 0 } | if autonomous { 0x40 } else { 0 },
        ]);
        // Valid 30 days, preferred 7 days: the defaults of RFC 4861 §6.2.1.
        message[36..40].copy_from_slice(&2_592_000u32.to_be_bytes());
        message[40..44].copy_from_slice(&604_800u32.to_be_bytes());
        message[48..64].copy_from_slice(&bits.to_be_bytes());
        length = 64;
    }
    seal(frame, to, &message[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC_A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const MAC_B: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const A: u128 = 0xfe80_0000_0000_0000_0000_0000_0000_0001;
    const B: u128 = 0xfe80_0000_0000_0000_0000_0000_0000_0002;

    fn envelope() -> Envelope {
        Envelope { to_mac: MAC_B, from_mac: MAC_A, vlan: 0, source: A, destination: B }
    }

    fn solicit() -> Vec<u8> {
        let mut frame = [0; MAX_FRAME];
        let length = solicitation(&mut frame, envelope(), B);
        frame[14..length].to_vec()
    }

    /// Applies `edit` to a valid solicitation and mends its checksum.
    fn edited(edit: impl Fn(&mut Vec<u8>)) -> Result<Message, Invalid> {
        let mut packet = solicit();
        edit(&mut packet);
        packet[42..44].fill(0);
        let header = ipv6::Ipv6::of(&packet).unwrap();
        let sum = checksum::transport(header.source(), header.destination(), 58, &packet[40..]);
        packet[42..44].copy_from_slice(&sum.to_be_bytes());
        parse(&packet)
    }

    #[test]
    fn what_is_built_is_what_is_parsed() {
        assert_eq!(parse(&solicit()), Ok(Message::Solicitation { target: B, source_mac: Some(MAC_A) }));
        let mut frame = [0; MAX_FRAME];
        let length = advertisement(&mut frame, envelope(), A, true, true);
        assert_eq!(
            parse(&frame[14..length]),
            Ok(Message::Advertisement {
                target: A,
                target_mac: Some(MAC_A),
                router: true,
                solicited: true,
                override_flag: true
            })
        );
        let advert = Advert { lifetime_s: 1800, mtu: 1500, prefix: Some((A, 64, true, true)) };
        let length = router_advertisement(&mut frame, envelope(), advert);
        assert_eq!(parse(&frame[14..length]), Ok(Message::RouterAdvertisement));
    }

    #[test]
    fn hop_limit_other_than_255_is_discarded() {
        assert_eq!(edited(|p| p[7] = 254), Err(Invalid::HopLimit));
    }

    #[test]
    fn a_wrong_checksum_is_discarded() {
        let mut packet = solicit();
        packet[50] ^= 1;
        assert_eq!(parse(&packet), Err(Invalid::Checksum));
    }

    #[test]
    fn a_code_other_than_0_is_discarded() {
        assert_eq!(edited(|p| p[41] = 1), Err(Invalid::Code));
    }

    #[test]
    fn a_short_message_is_discarded() {
        assert_eq!(edited(|p| p.truncate(40 + 20)), Err(Invalid::Length));
    }

    #[test]
    fn an_option_of_length_0_is_discarded() {
        assert_eq!(edited(|p| p[65] = 0), Err(Invalid::Option));
    }

    #[test]
    fn an_option_past_the_end_is_discarded() {
        assert_eq!(edited(|p| p[65] = 2), Err(Invalid::Option));
    }

    #[test]
    fn a_multicast_target_is_discarded() {
        assert_eq!(edited(|p| p[48] = 0xff), Err(Invalid::MulticastTarget));
    }

    #[test]
    fn an_unspecified_source_with_a_link_layer_option_is_discarded() {
        assert_eq!(edited(|p| p[8..24].fill(0)), Err(Invalid::UnspecifiedSource));
    }

    #[test]
    fn an_unspecified_source_must_ask_the_solicited_node_group() {
        let mut frame = [0; MAX_FRAME];
        let length = solicitation(&mut frame, Envelope { source: 0, ..envelope() }, B);
        assert_eq!(parse(&frame[14..length]), Err(Invalid::UnspecifiedSource));
        let group = ipv6::solicited_node(B);
        let length = solicitation(&mut frame, Envelope { source: 0, destination: group, ..envelope() }, B);
        assert_eq!(parse(&frame[14..length]), Ok(Message::Solicitation { target: B, source_mac: None }));
    }

    #[test]
    fn a_solicited_advertisement_to_a_group_is_discarded() {
        let mut frame = [0; MAX_FRAME];
        let all_nodes = (0xff02u128 << 112) | 1;
        let length =
            advertisement(&mut frame, Envelope { destination: all_nodes, ..envelope() }, A, true, true);
        assert_eq!(parse(&frame[14..length]), Err(Invalid::SolicitedMulticast));
    }
}
