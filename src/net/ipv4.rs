//! The IPv4 header and a bounded walk over its options (RFC 791, RFC 1071).

use super::checksum;

/// Length of the header without options in bytes.
pub const HEADER: usize = 20;
/// Length of the longest header in bytes.
pub const MAX_HEADER: usize = 60;
/// The largest packet that every host accepts, in bytes (RFC 791 §3.1). ICMP errors are not longer either
/// (RFC 1812 §4.3.2.3).
pub const MIN_REASSEMBLY: usize = 576;
/// Smallest MTU of a link in bytes (RFC 791 §3.2).
pub const MIN_MTU: u16 = 68;

/// Protocol numbers that IPv6 does not share.
pub mod protocol {
    #![allow(missing_docs)]
    pub const ICMP: u8 = 1;
    pub const IGMP: u8 = 2;
}

/// Option types.
pub mod option {
    #![allow(missing_docs)]
    pub const END: u8 = 0;
    pub const NO_OPERATION: u8 = 1;
    pub const LOOSE_SOURCE_ROUTE: u8 = 131;
    pub const STRICT_SOURCE_ROUTE: u8 = 137;
    /// The copied flag of an option type: every fragment carries the option (RFC 791 §3.1).
    pub const COPIED: u8 = 0x80;
}

/// DF in the word of flags and fragment offset.
pub const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// A view of the fixed part of an IPv4 header.
#[derive(Clone, Copy)]
pub struct Ipv4<B>(B);

impl<'a> Ipv4<&'a [u8; HEADER]> {
    /// The view of the first 20 bytes, `None` when cut short.
    #[inline]
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        bytes.first_chunk().map(Ipv4)
    }
}

impl<'a> Ipv4<&'a mut [u8; HEADER]> {
    /// The mutable view of the first 20 bytes, `None` when cut short.
    #[inline]
    #[must_use]
    pub fn of_mut(bytes: &'a mut [u8]) -> Option<Self> {
        bytes.first_chunk_mut().map(Ipv4)
    }
}

impl<B: std::ops::Deref<Target = [u8; HEADER]>> Ipv4<B> {
    #[inline]
    fn word<const AT: usize>(&self) -> u16 {
        u16::from_be_bytes([self.0[AT], self.0[AT + 1]])
    }

    #[inline]
    fn address<const AT: usize>(&self) -> u32 {
        u32::from_be_bytes([self.0[AT], self.0[AT + 1], self.0[AT + 2], self.0[AT + 3]])
    }

    /// IP version.
    #[inline]
    #[must_use]
    pub fn version(&self) -> u8 {
        self.0[0] >> 4
    }

    /// Length in bytes of the header with its options, by its IHL field: 0 to 60. Below 20 the header is malformed.
    #[inline]
    #[must_use]
    pub fn header_length(&self) -> usize {
        usize::from(self.0[0] & 0xf) * 4
    }

    /// Type of service: DSCP and ECN.
    #[inline]
    #[must_use]
    pub fn tos(&self) -> u8 {
        self.0[1]
    }

    /// Bytes of the packet from the header on.
    #[inline]
    #[must_use]
    pub fn total_length(&self) -> u16 {
        self.word::<2>()
    }

    /// Identification of the datagram that fragments belong to.
    #[inline]
    #[must_use]
    pub fn identification(&self) -> u16 {
        self.word::<4>()
    }

    /// DF flag.
    #[inline]
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        self.word::<6>() & DONT_FRAGMENT != 0
    }

    /// MF flag.
    #[inline]
    #[must_use]
    pub fn more_fragments(&self) -> bool {
        self.word::<6>() & MORE_FRAGMENTS != 0
    }

    /// Fragment offset in units of 8 bytes.
    #[inline]
    #[must_use]
    pub fn fragment_offset(&self) -> u16 {
        self.word::<6>() & OFFSET
    }

    /// Time to live.
    #[inline]
    #[must_use]
    pub fn ttl(&self) -> u8 {
        self.0[8]
    }

    /// Upper-layer protocol.
    #[inline]
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.0[9]
    }

    /// The checksum field.
    #[inline]
    #[must_use]
    pub fn checksum(&self) -> u16 {
        self.word::<10>()
    }

    /// Source address.
    #[inline]
    #[must_use]
    pub fn source(&self) -> u32 {
        self.address::<12>()
    }

    /// Destination address.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> u32 {
        self.address::<16>()
    }
}

impl<B: std::ops::DerefMut<Target = [u8; HEADER]>> Ipv4<B> {
    /// Writes a header without options: version 4, TOS 0, identification 0, no fragment, and the rest as given.
    ///
    /// The checksum field is left 0; [`seal`] computes it.
    pub fn write(&mut self, total_length: u16, protocol: u8, ttl: u8, source: u32, destination: u32) {
        self.0.fill(0);
        self.0[0] = 0x45;
        self.set_total_length(total_length);
        self.0[8] = ttl;
        self.0[9] = protocol;
        self.0[12..16].copy_from_slice(&source.to_be_bytes());
        self.0[16..20].copy_from_slice(&destination.to_be_bytes());
    }

    /// Sets the length of the header, in bytes: a multiple of 4 up to 60.
    pub fn set_header_length(&mut self, bytes: usize) {
        self.0[0] = self.0[0] & 0xf0 | (bytes / 4) as u8 & 0xf;
    }

    /// Sets the type of service.
    pub fn set_tos(&mut self, tos: u8) {
        self.0[1] = tos;
    }

    /// Sets the total length.
    pub fn set_total_length(&mut self, length: u16) {
        self.0[2..4].copy_from_slice(&length.to_be_bytes());
    }

    /// Sets the identification.
    pub fn set_identification(&mut self, identification: u16) {
        self.0[4..6].copy_from_slice(&identification.to_be_bytes());
    }

    /// Sets DF, MF and the fragment offset in units of 8 bytes, of which 13 bits count.
    pub fn set_fragment(&mut self, dont_fragment: bool, more_fragments: bool, offset: u16) {
        let word = if dont_fragment { DONT_FRAGMENT } else { 0 }
            | if more_fragments { MORE_FRAGMENTS } else { 0 }
            | offset & OFFSET;
        self.0[6..8].copy_from_slice(&word.to_be_bytes());
    }

    /// Sets the time to live.
    #[inline]
    pub fn set_ttl(&mut self, ttl: u8) {
        self.0[8] = ttl;
    }

    /// Sets the checksum field.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        self.0[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The header of `packet` with its options; `None` when it is cut short or claims fewer than 20 bytes.
#[must_use]
pub fn header(packet: &[u8]) -> Option<&[u8]> {
    let length = Ipv4::of(packet)?.header_length();
    packet.get(..length).filter(|header| header.len() >= HEADER)
}

/// Whether the checksum of `header`, options included, is right (RFC 1071 §1).
#[must_use]
pub fn is_intact(header: &[u8]) -> bool {
    checksum::sum_of_bytes(header) == 0xffff
}

/// Whether the checksum of a header without options is right. The fast path calls it for every tenant IPv4 packet.
#[inline(always)]
#[must_use]
pub fn is_plain_intact(header: &[u8; HEADER]) -> bool {
    // Two words at a time, in the machine's byte order: see `checksum::sum_of_bytes`.
    let (words, _) = header.as_chunks::<4>();
    let sum = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    checksum::fold(sum) == 0xffff
}

/// Computes and sets the checksum of `header`, options included. A header shorter than 20 bytes is left unchanged.
pub fn seal(header: &mut [u8]) {
    if let Some(mut view) = Ipv4::of_mut(header) {
        view.set_checksum(0);
    }
    let sum = !checksum::sum_of_bytes(header);
    if let Some(mut view) = Ipv4::of_mut(header) {
        view.set_checksum(sum);
    }
}

/// An option of more than one byte, or a single byte of padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opt<'a> {
    /// Where it starts, in bytes from the start of the header.
    pub at: usize,
    /// The option with its type and length bytes: at least one byte.
    pub bytes: &'a [u8],
}

impl Opt<'_> {
    /// Option type.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.bytes.first().copied().unwrap_or(option::END)
    }

    /// Whether this is a source route with hops left: its pointer lies within the option (RFC 791 §3.1).
    #[must_use]
    pub fn is_unexpired_source_route(&self) -> bool {
        let routes = matches!(self.kind(), option::LOOSE_SOURCE_ROUTE | option::STRICT_SOURCE_ROUTE);
        routes && self.bytes.get(2).is_some_and(|pointer| usize::from(*pointer) <= self.bytes.len())
    }
}

/// A malformed option. The number is the pointer for a Parameter Problem: the offset in bytes, from the start of the
/// header, of the option's length byte, or of its type byte when the header ends there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadOption(pub u8);

/// Iterates over the options of `header`. It ends at the end-of-list option, at the end of the header, or after the
/// first malformed option, which it yields as [`BadOption`].
pub fn options(header: &[u8]) -> impl Iterator<Item = Result<Opt<'_>, BadOption>> {
    let header = &header[..header.len().min(MAX_HEADER)];
    let mut at = HEADER;
    std::iter::from_fn(move || {
        let rest = header.get(at..)?;
        let start = at;
        let length = match *rest.first()? {
            option::END => return None,
            option::NO_OPERATION => 1,
            _ => rest.get(1).map_or(0, |length| usize::from(*length)),
        };
        let single = rest.first() == Some(&option::NO_OPERATION);
        if (length < 2 && !single) || length > rest.len() {
            at = header.len();
            return Some(Err(BadOption((start + 1).min(header.len() - 1) as u8)));
        }
        at += length;
        Some(Ok(Opt { at: start, bytes: &rest[..length] }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_options(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        let mut view = Ipv4::of_mut(&mut bytes).unwrap();
        view.write((HEADER + options.len()) as u16, 17, 64, 0xc000_0201, 0xc633_6401);
        view.set_header_length(HEADER + options.len());
        bytes.extend_from_slice(options);
        seal(&mut bytes);
        bytes
    }

    #[test]
    fn fields_written_are_fields_read() {
        let mut bytes = [0xff; 24];
        let mut view = Ipv4::of_mut(&mut bytes).unwrap();
        view.write(1500, 6, 63, 1, 2);
        view.set_tos(0xb9);
        view.set_identification(0x1234);
        view.set_fragment(false, true, 185);
        let view = Ipv4::of(&bytes).unwrap();
        assert_eq!((view.version(), view.header_length(), view.total_length()), (4, 20, 1500));
        assert_eq!((view.tos(), view.ttl(), view.protocol(), view.identification()), (0xb9, 63, 6, 0x1234));
        assert_eq!((view.source(), view.destination(), view.fragment_offset()), (1, 2, 185));
        assert!(view.more_fragments() && !view.dont_fragment());
        Ipv4::of_mut(&mut bytes).unwrap().set_fragment(true, false, 0);
        assert!(Ipv4::of(&bytes).unwrap().dont_fragment());
        assert!(Ipv4::of(&bytes[..19]).is_none());
    }

    #[test]
    fn a_sealed_header_is_intact_and_one_flipped_bit_breaks_it() {
        let mut bytes = with_options(&[1, 1, 1, 0]);
        assert!(is_intact(&bytes));
        // etherparse computes the same checksum.
        let theirs = etherparse::Ipv4Header::from_slice(&bytes).unwrap().0;
        assert_eq!(theirs.header_checksum, theirs.calc_header_checksum());
        bytes[8] ^= 1;
        assert!(!is_intact(&bytes));
        seal(&mut [0; 3]);
    }

    #[test]
    fn the_header_ends_where_it_says_or_is_none() {
        assert_eq!(header(&with_options(&[1, 1, 1, 0])).unwrap().len(), 24);
        assert_eq!(header(&with_options(&[1, 1, 1, 0])[..23]), None);
        let mut short = with_options(&[]);
        short[0] = 0x44;
        assert_eq!(header(&short), None);
    }

    #[test]
    fn the_walk_ends_at_the_end_of_list() {
        let bytes = with_options(&[1, 7, 3, 4, 0, 9, 9, 9]);
        let found: Vec<_> =
            options(&bytes).map(Result::unwrap).map(|option| (option.at, option.kind())).collect();
        assert_eq!(found, [(20, 1), (21, 7)]);
    }

    #[test]
    fn a_bad_option_length_is_pointed_at() {
        for bad in [&[1, 7, 1, 0][..], &[1, 7, 0, 0], &[1, 7, 200, 0]] {
            assert_eq!(options(&with_options(bad)).last(), Some(Err(BadOption(22))), "{bad:?}");
        }
        assert_eq!(options(&with_options(&[1, 1, 1, 7])).last(), Some(Err(BadOption(23))));
    }

    // RFC 791 §3.1
    #[test]
    fn rfc_791_a_source_route_is_expired_when_its_pointer_is_past_its_end() {
        let route = |kind, pointer| {
            let bytes = with_options(&[kind, 7, pointer, 192, 0, 2, 9, 0]);
            options(&bytes).any(|option| option.unwrap().is_unexpired_source_route())
        };
        assert!(route(option::LOOSE_SOURCE_ROUTE, 4) && route(option::STRICT_SOURCE_ROUTE, 4));
        assert!(!route(option::LOOSE_SOURCE_ROUTE, 8) && !route(option::STRICT_SOURCE_ROUTE, 8));
        assert!(!route(7, 4));
    }
}
