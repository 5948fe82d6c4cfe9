//! Reads an IPv4 or IPv6 header and writes the corresponding header of the other family (RFC 7915 §4.1, RFC 7915 §5.1).

use super::{Options, Refused, To4, To6};
use crate::net::extension;
use crate::net::fragment::{self, Fragment};
use crate::net::ipv4::{self, Ipv4, protocol};
use crate::net::ipv6::{self, Ipv6, next};

/// The longest IPv4 packet in bytes that leaves the translator with DF clear: 1280 less the difference of the headers
/// (RFC 7915 §5.1).
pub const WITHOUT_DF: usize = ipv6::MIN_MTU as usize - (ipv6::HEADER - ipv4::HEADER);

/// Checks the options of an IPv4 header.
///
/// # Errors
/// [`Refused::Option`], and [`Refused::SourceRoute`] for a packet that has not reached its last destination.
pub fn check_options(header: &[u8]) -> Result<(), Refused> {
    for option in ipv4::options(header) {
        let option = option.map_err(|bad| Refused::Option { pointer: bad.0 })?;
        if option.is_unexpired_source_route() {
            return Err(Refused::SourceRoute);
        }
    }
    Ok(())
}

/// The headers of a packet before its upper layer. `A` is the address type of the family in which it was received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<A> {
    pub(super) source: A,
    pub(super) destination: A,
    /// Type of service or traffic class to be written.
    pub(super) class: u8,
    /// TTL or hop limit.
    pub(super) hops: u8,
    /// Upper-layer protocol, by the numbers of the family in which the packet was received.
    pub(super) protocol: u8,
    /// Length in bytes of all headers before the upper layer, options and extension headers included.
    pub(super) length: usize,
    /// Length in bytes of the upper layer according to the header. A quoted packet often has fewer bytes.
    pub(super) payload: usize,
    /// Fragment fields, when the packet has or will have a fragment header.
    pub(super) fragment: Option<Fragment>,
}

impl<A> Head<A> {
    /// Whether this is one of several fragments.
    pub(super) fn is_piece(&self) -> bool {
        self.fragment.is_some_and(|fragment| !fragment.is_atomic())
    }

    /// Whether this is a fragment other than the first, which has no upper-layer header.
    pub(super) fn is_later(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset != 0)
    }

    fn check_fragment(&self, icmp: u8) -> Result<(), Refused> {
        let Some(fragment) = self.fragment else { return Ok(()) };
        if !fragment.is_sound(self.payload) {
            return Err(Refused::Fragment);
        }
        if self.protocol == icmp && self.is_piece() {
            return Err(Refused::FragmentedIcmp);
        }
        Ok(())
    }
}

impl Head<u32> {
    /// Reads and checks the header of a whole IPv4 packet that is to be translated.
    pub(super) fn accept(packet: &[u8], options: &Options) -> Result<Self, Refused> {
        let head = Self::read(packet, options)?;
        let header = ipv4::header(packet).ok_or(Refused::Truncated)?;
        if !ipv4::is_intact(header) {
            return Err(Refused::HeaderChecksum);
        }
        check_options(header)?;
        if head.length + head.payload > packet.len() {
            return Err(Refused::Truncated);
        }
        head.check_fragment(protocol::ICMP)?;
        Ok(head)
    }

    /// Reads the header of an IPv4 packet, of which a quote may hold nothing else. Options are skipped.
    pub(super) fn read(packet: &[u8], options: &Options) -> Result<Self, Refused> {
        let view = Ipv4::of(packet).ok_or(Refused::Truncated)?;
        if view.version() != 4 || view.header_length() < ipv4::HEADER {
            return Err(Refused::Version);
        }
        let length = ipv4::header(packet).ok_or(Refused::Truncated)?.len();
        let payload = usize::from(view.total_length()).checked_sub(length).ok_or(Refused::Truncated)?;
        if forges(view.protocol()) || view.protocol() == protocol::IGMP {
            return Err(Refused::Protocol);
        }
        let (offset, more) = (view.fragment_offset(), view.more_fragments());
        // A packet with DF clear is fragmented later if it is long enough. The fragment header keeps its identification
        // (RFC 7915 §4.1). Fragments of ICMP are not translated, so that a whole message never gets one.
        let may_be_split = !view.dont_fragment()
            && view.protocol() != protocol::ICMP
            && ipv6::HEADER + payload > usize::from(options.lowest_mtu6);
        let identification = u32::from(view.identification());
        Ok(Head {
            source: view.source(),
            destination: view.destination(),
            class: if options.copies_class { view.tos() } else { 0 },
            hops: view.ttl(),
            protocol: view.protocol(),
            length,
            payload,
            fragment: (offset != 0 || more || may_be_split).then_some(Fragment {
                offset,
                more,
                identification,
            }),
        })
    }

    /// Length in bytes of the IPv6 header, with its fragment header if there is one.
    pub(super) fn length6(&self) -> usize {
        ipv6::HEADER + if self.fragment.is_some() { fragment::HEADER } else { 0 }
    }

    /// Writes the IPv6 header into the [`Self::length6`] bytes of `header`.
    pub(super) fn write6(&self, header: &mut [u8], to: &To6) {
        let protocol = if self.protocol == protocol::ICMP { next::ICMP6 } else { self.protocol };
        let first = if self.fragment.is_some() { next::FRAGMENT } else { protocol };
        // An IPv4 payload has at most 65515 bytes, so that it fits with a fragment header.
        let payload = (self.length6() - ipv6::HEADER + self.payload) as u16;
        if let Some(mut view) = Ipv6::of_mut(header) {
            view.write(payload, first, self.hops, to.source, to.destination);
            view.set_traffic_class(self.class);
        }
        let rest = header.get_mut(ipv6::HEADER..).and_then(|rest| rest.first_chunk_mut());
        if let (Some(fragment), Some(rest)) = (self.fragment, rest) {
            fragment.write(rest, protocol);
        }
    }
}

impl Head<u128> {
    /// Reads and checks the headers of a whole IPv6 packet that is to be translated.
    pub(super) fn accept(packet: &[u8], options: &Options) -> Result<Self, Refused> {
        let view = Ipv6::of(packet).ok_or(Refused::Truncated)?;
        if view.version() != 6 {
            return Err(Refused::Version);
        }
        // Extension headers must lie within the payload length, not in padding of the link.
        let whole = ipv6::HEADER + usize::from(view.payload_length());
        let head = Self::read(packet.get(..whole).ok_or(Refused::Truncated)?, options)?;
        if head.payload + ipv4::HEADER > usize::from(u16::MAX) {
            return Err(Refused::TooLong);
        }
        head.check_fragment(next::ICMP6)?;
        Ok(head)
    }

    /// Reads the headers of an IPv6 packet, of which a quote may hold nothing else.
    ///
    /// Hop-by-hop options, destination options and routing headers with no segments left are skipped. AH is refused: it
    /// covers the addresses, and the protocol that it names would be read in the other family.
    pub(super) fn read(packet: &[u8], options: &Options) -> Result<Self, Refused> {
        let view = Ipv6::of(packet).ok_or(Refused::Truncated)?;
        if view.version() != 6 {
            return Err(Refused::Version);
        }
        let mut head = Head {
            source: view.source(),
            destination: view.destination(),
            class: if options.copies_class { view.traffic_class() } else { 0 },
            hops: view.hop_limit(),
            protocol: view.next_header(),
            length: ipv6::HEADER,
            payload: 0,
            fragment: None,
        };
        for walked in 0.. {
            if !extension::is_walked(head.protocol) {
                break;
            }
            if walked == ipv6::MAX_EXTENSIONS {
                return Err(Refused::TooManyExtensions);
            }
            let header: &[u8; 8] =
                packet.get(head.length..).and_then(|rest| rest.first_chunk()).ok_or(Refused::Truncated)?;
            if head.protocol == next::ROUTING && header[3] != 0 {
                return Err(Refused::Routing { pointer: head.length as u16 + 3 });
            }
            if head.protocol == next::AH {
                return Err(Refused::Protocol);
            }
            if head.protocol == next::FRAGMENT {
                let (protocol, fragment) = Fragment::read(header);
                if is_extension(protocol) {
                    return Err(Refused::FragmentedExtension);
                }
                (head.protocol, head.fragment) = (protocol, Some(fragment));
                head.length += fragment::HEADER;
                break;
            }
            head.length += extension::length(head.protocol, header);
            head.protocol = header[0];
        }
        if matches!(head.protocol, protocol::ICMP | protocol::IGMP) {
            return Err(Refused::Protocol);
        }
        let whole = ipv6::HEADER + usize::from(view.payload_length());
        head.payload = whole.checked_sub(head.length).ok_or(Refused::Truncated)?;
        Ok(head)
    }

    /// Writes the IPv4 header into the 20 bytes of `header`.
    pub(super) fn write4(&self, header: &mut [u8], to: &To4) {
        let protocol = if self.protocol == next::ICMP6 { protocol::ICMP } else { self.protocol };
        // Only the header of a quoted packet can claim more than fits: `accept` refuses a whole packet that does.
        let total = (ipv4::HEADER + self.payload).min(usize::from(u16::MAX));
        if let Some(mut view) = Ipv4::of_mut(header) {
            view.write(total as u16, protocol, self.hops, to.source, to.destination);
            view.set_tos(self.class);
            match self.fragment {
                Some(fragment) => {
                    view.set_identification(fragment.identification as u16);
                    view.set_fragment(false, fragment.more, fragment.offset);
                }
                None => {
                    view.set_identification(to.identification);
                    view.set_fragment(total > WITHOUT_DF, false, 0);
                }
            }
        }
        ipv4::seal(header);
    }
}

/// Whether IPv6 would read protocol number `protocol` of IPv4 as ICMPv6, or as an extension header.
const fn forges(protocol: u8) -> bool {
    protocol == next::ICMP6 || is_extension(protocol)
}

/// Whether `protocol` is an extension header, which the protocol that it names follows. HIP is a protocol of its own in
/// both families (RFC 7401 §5.1), whole and in fragments.
const fn is_extension(protocol: u8) -> bool {
    protocol != next::HIP && extension::is_known(protocol)
}
