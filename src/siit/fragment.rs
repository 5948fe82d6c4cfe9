//! Fragments a translated packet so that it fits a link (RFC 7915 §4.1, RFC 7915 §5.1.1, RFC 8200 §4.5, RFC 791 §3.2).
//!
//! A packet that is a fragment itself becomes smaller fragments of the same datagram. Nothing is reassembled here.

use crate::net::fragment::{self, Fragment, UNIT};
use crate::net::ipv4::{self, Ipv4, option};
use crate::net::ipv6::{self, Ipv6, next};

/// Why a packet cannot be fragmented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unsplittable {
    /// The packet is malformed, or not as long as its header says.
    Malformed,
    /// The IPv4 packet is longer than the MTU and has DF set.
    DontFragment,
    /// The MTU has no room for eight bytes of data after the headers that every fragment carries, or for the headers
    /// that the first fragment of an IPv6 packet must carry.
    Mtu,
}

/// One fragment, or the whole packet when it fits. [`Piece::write`] writes its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    packet: &'a [u8],
    /// Start and end of the part of `packet` that this fragment carries.
    data: (usize, usize),
    form: Form,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    /// The packet as it is.
    Whole,
    /// An IPv6 fragment: the first `shared` bytes of headers, then a fragment header. `named` is the offset of the Next
    /// Header field of the last shared header.
    V6 { shared: usize, named: usize, next_header: u8, place: Fragment },
    /// An IPv4 fragment: a header of `length` bytes. Fragments other than the first carry only the copied options.
    V4 { length: usize, first: bool, place: Fragment },
}

impl Piece<'_> {
    /// Length in bytes of the fragment with its headers.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // A piece is never empty.
    pub fn len(&self) -> usize {
        let data = self.data.1 - self.data.0;
        match self.form {
            Form::Whole => self.packet.len(),
            Form::V6 { shared, .. } => shared + fragment::HEADER + data,
            Form::V4 { length, .. } => length + data,
        }
    }

    /// Writes the fragment to the start of `buffer`; returns its length in bytes, or `None` when it does not fit.
    #[must_use]
    pub fn write(&self, buffer: &mut [u8]) -> Option<usize> {
        let buffer = buffer.get_mut(..self.len())?;
        let data = self.packet.get(self.data.0..self.data.1)?;
        match self.form {
            Form::Whole => buffer.copy_from_slice(self.packet),
            Form::V6 { shared, named, next_header, place } => {
                let (headers, rest) = buffer.split_at_mut_checked(shared)?;
                headers.copy_from_slice(self.packet.get(..shared)?);
                *headers.get_mut(named)? = next::FRAGMENT;
                Ipv6::of_mut(headers)?.set_payload_length((self.len() - ipv6::HEADER) as u16);
                place.write(rest.first_chunk_mut()?, next_header);
                rest.get_mut(fragment::HEADER..)?.copy_from_slice(data);
            }
            Form::V4 { length, first, place } => {
                let (header, rest) = buffer.split_at_mut_checked(length)?;
                let original = ipv4::header(self.packet)?;
                if first {
                    header.copy_from_slice(original);
                } else {
                    header.fill(option::END);
                    header.get_mut(..ipv4::HEADER)?.copy_from_slice(original.get(..ipv4::HEADER)?);
                    let mut at = ipv4::HEADER;
                    for copied in copied_options(original) {
                        header.get_mut(at..at + copied.len())?.copy_from_slice(copied);
                        at += copied.len();
                    }
                }
                let mut view = Ipv4::of_mut(header)?;
                view.set_header_length(length);
                view.set_total_length(self.len() as u16);
                view.set_fragment(false, place.more, place.offset);
                ipv4::seal(header);
                rest.copy_from_slice(data);
            }
        }
        Some(self.len())
    }
}

/// The options that every fragment carries: those with the copied flag (RFC 791 §3.1).
fn copied_options(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    ipv4::options(header)
        .filter_map(Result::ok)
        .filter(|found| found.kind() & option::COPIED != 0)
        .map(|found| found.bytes)
}

/// Cuts `from..to` into one part of `first` bytes and further parts of `rest` bytes. The last part may be shorter.
fn cut(from: usize, to: usize, first: usize, rest: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = from;
    std::iter::from_fn(move || {
        let most = if at == from { first } else { rest };
        let part = (at, to.min(at + most));
        (at < to && most != 0).then(|| {
            at = part.1;
            part
        })
    })
}

/// The fragment fields of `part`, a range of the packet's data, which lies at `start..end`. `whole` are the fragment
/// fields of the packet itself.
const fn place(whole: Fragment, part: (usize, usize), start: usize, end: usize) -> Fragment {
    Fragment {
        offset: whole.offset + ((part.0 - start) / UNIT) as u16,
        more: whole.more || part.1 < end,
        ..whole
    }
}

/// Fragments the IPv6 packet `packet`: yields fragments of at most `mtu` bytes, in order (RFC 8200 §4.5).
///
/// A packet that fits is yielded unchanged. `identification` is used unless the packet has a fragment header, which
/// [`super::to_v6`] adds to packets that may have to be fragmented.
///
/// # Errors
/// [`Unsplittable::Malformed`] when the headers are wrong or the packet is not as long as its header says;
/// [`Unsplittable::Mtu`] when `mtu` has no room for the headers and eight bytes of data.
pub fn v6(
    packet: &[u8],
    mtu: u16,
    identification: u32,
) -> Result<impl Iterator<Item = Piece<'_>>, Unsplittable> {
    let header = Ipv6::of(packet).filter(|header| header.version() == 6).ok_or(Unsplittable::Malformed)?;
    if ipv6::HEADER + usize::from(header.payload_length()) != packet.len() {
        return Err(Unsplittable::Malformed);
    }
    let whole = packet.len() <= usize::from(mtu);
    let split = if whole { Split6::default() } else { Split6::of(packet, mtu, identification)? };
    let parts = cut(split.start, packet.len(), split.most, split.most);
    let pieces = parts.map(move |data| Piece {
        packet,
        data,
        form: Form::V6 {
            shared: split.shared,
            named: split.named,
            next_header: split.next_header,
            place: place(split.fragment, data, split.start, packet.len()),
        },
    });
    Ok(untouched(packet, whole).into_iter().chain(pieces))
}

/// The unchanged packet as its only piece, if it is `whole`.
fn untouched(packet: &[u8], whole: bool) -> Option<Piece<'_>> {
    whole.then_some(Piece { packet, data: (0, packet.len()), form: Form::Whole })
}

/// How an IPv6 packet is fragmented; `most` is 0 when it fits.
#[derive(Clone, Copy)]
struct Split6 {
    /// Length in bytes of the headers that every fragment carries.
    shared: usize,
    /// Offset of the Next Header field of the last of them.
    named: usize,
    next_header: u8,
    /// Offset of the data that is fragmented.
    start: usize,
    /// The most bytes of data in a fragment.
    most: usize,
    fragment: Fragment,
}

impl Default for Split6 {
    fn default() -> Self {
        let fragment = Fragment { offset: 0, more: false, identification: 0 };
        Split6 { shared: 0, named: 0, next_header: 0, start: 0, most: 0, fragment }
    }
}

impl Split6 {
    fn of(packet: &[u8], mtu: u16, identification: u32) -> Result<Self, Unsplittable> {
        let mut split = Self::per_fragment(packet, identification)?;
        let upper = ipv6::upper(packet).map_err(|_| Unsplittable::Malformed)?;
        split.most = usize::from(mtu).saturating_sub(split.shared + fragment::HEADER) / UNIT * UNIT;
        // RFC 8200 §4.5: the first fragment carries all headers up to the upper-layer header. A later fragment has
        // none.
        let headers = upper.offset.saturating_sub(split.start);
        if split.most == 0 || headers > split.most {
            return Err(Unsplittable::Mtu);
        }
        if !split.fragment.is_sound(packet.len() - split.start) {
            return Err(Unsplittable::Malformed);
        }
        Ok(split)
    }

    /// Finds the headers that every fragment carries (RFC 8200 §4.5): those before an existing fragment header,
    /// otherwise those up to the routing header, or else up to the hop-by-hop options.
    fn per_fragment(packet: &[u8], identification: u32) -> Result<Self, Unsplittable> {
        let mut split = Split6 {
            shared: ipv6::HEADER,
            named: 6,
            next_header: *packet.get(6).ok_or(Unsplittable::Malformed)?,
            start: ipv6::HEADER,
            most: 0,
            fragment: Fragment { offset: 0, more: false, identification },
        };
        let (mut at, mut named, mut kind) = (split.shared, split.named, split.next_header);
        for _ in 0..ipv6::MAX_EXTENSIONS {
            if !matches!(kind, next::HOP_BY_HOP | next::DESTINATION | next::ROUTING | next::FRAGMENT) {
                return Ok(split);
            }
            let header: &[u8; 8] =
                packet.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Unsplittable::Malformed)?;
            if kind == next::FRAGMENT {
                let (next_header, fragment) = Fragment::read(header);
                let start = at + fragment::HEADER;
                return Ok(Split6 { shared: at, named, next_header, start, most: 0, fragment });
            }
            let shared = kind != next::DESTINATION;
            (named, kind) = (at, header[0]);
            at += 8 + 8 * usize::from(header[1]);
            if at > packet.len() {
                return Err(Unsplittable::Malformed);
            }
            if shared {
                split = Split6 { shared: at, named, next_header: kind, start: at, ..split };
            }
        }
        Err(Unsplittable::Malformed)
    }
}

/// Fragments the IPv4 packet `packet`: yields fragments of at most `mtu` bytes, in order (RFC 791 §3.2).
///
/// A packet that fits is yielded unchanged. The first fragment carries all options, later ones those with the copied
/// flag (RFC 791 §3.1).
///
/// # Errors
/// [`Unsplittable::Malformed`] when the header is wrong or the packet is not as long as it says;
/// [`Unsplittable::DontFragment`] when the packet does not fit and has DF set; [`Unsplittable::Mtu`] when `mtu` has
/// no room for the header and eight bytes of data.
pub fn v4(packet: &[u8], mtu: u16) -> Result<impl Iterator<Item = Piece<'_>>, Unsplittable> {
    let header = ipv4::header(packet).ok_or(Unsplittable::Malformed)?;
    let view = Ipv4::of(packet).filter(|view| view.version() == 4).ok_or(Unsplittable::Malformed)?;
    if usize::from(view.total_length()) != packet.len() || packet.len() < header.len() {
        return Err(Unsplittable::Malformed);
    }
    let (mtu, length) = (usize::from(mtu), header.len());
    let copied: usize = copied_options(header).map(<[u8]>::len).sum();
    let later = (ipv4::HEADER + copied).next_multiple_of(4);
    let whole = packet.len() <= mtu;
    let most = |header: usize| if whole { 0 } else { mtu.saturating_sub(header) / UNIT * UNIT };
    let fragment = Fragment {
        offset: view.fragment_offset(),
        more: view.more_fragments(),
        identification: u32::from(view.identification()),
    };
    if !whole {
        if view.dont_fragment() {
            return Err(Unsplittable::DontFragment);
        }
        if most(length) == 0 {
            return Err(Unsplittable::Mtu);
        }
        if !fragment.is_sound(packet.len() - length) {
            return Err(Unsplittable::Malformed);
        }
    }
    let pieces = cut(length, packet.len(), most(length), most(later)).map(move |data| {
        let first = data.0 == length;
        Piece {
            packet,
            data,
            form: Form::V4 {
                length: if first { length } else { later },
                first,
                place: place(fragment, data, length, packet.len()),
            },
        }
    });
    Ok(untouched(packet, whole).into_iter().chain(pieces))
}
