//! Translates ICMP errors and the packet that they quote (RFC 7915 §4.3, RFC 7915 §5.3, RFC 4884).
//!
//! An error that quotes an ICMP error is refused, so that the translation recurses only once.

use super::head::Head;
use super::message::{self, Message};
use super::{Options, Refused, To4, To6, transport};
use crate::net::checksum::{add, pseudo_header, sum_of_bytes, update};
use crate::net::{icmp4, icmp6, ipv4, ipv6};
use std::ops::Range;

/// Length in bytes of an error before the quoted packet, in both families.
const HEADER: usize = icmp4::HEADER;
/// Least length in bytes of the quoted packet before extension objects (RFC 4884 §3).
const QUOTE_BEFORE_EXTENSION: usize = 128;
/// Units in bytes of the length field, in ICMP and in ICMPv6 (RFC 4884 §4.1, RFC 4884 §4.4).
const UNIT4: usize = 4;
const UNIT6: usize = 8;

/// Where the parts of a translated error lie in the buffer, in bytes.
struct Layout {
    /// Offset of the quoted packet's upper layer.
    body: usize,
    /// Length of the part of it that is kept.
    kept: usize,
    /// Zero bytes after it, before the extension objects.
    padding: usize,
    /// End of the message.
    end: usize,
    /// Length of quote and padding when extension objects follow, otherwise 0.
    quote: usize,
}

/// The limits of a translated error, in bytes.
struct Form {
    /// Length of the quoted packet's new header.
    header: usize,
    /// The most bytes of the ICMP message, without the outer IP header.
    space: usize,
    /// Unit of the length field.
    unit: usize,
}

impl Layout {
    /// Lays out an error. The upper layer of its quoted packet is at `body`; its extension objects, if any, are at
    /// `extension` and stay in place.
    ///
    /// A quote that is too long is truncated. Extension objects are omitted when they leave less than 128 bytes for the
    /// quote.
    fn of(body: Range<usize>, extension: Option<Range<usize>>, form: &Form) -> Option<Self> {
        let plain = Layout {
            body: body.start,
            kept: body.len().min(form.space.checked_sub(HEADER + form.header)?),
            padding: 0,
            end: 0,
            quote: 0,
        };
        let plain = Layout { end: plain.body + plain.kept, ..plain };
        let Some(extension) = extension else { return Some(plain) };
        let most = form.space.saturating_sub(HEADER + extension.len()) / form.unit * form.unit;
        if most < QUOTE_BEFORE_EXTENSION {
            return Some(plain);
        }
        let quote =
            (form.header + body.len()).next_multiple_of(form.unit).max(QUOTE_BEFORE_EXTENSION).min(most);
        let kept = body.len().min(quote - form.header);
        Some(Layout {
            body: extension.start.checked_sub(quote - form.header)?,
            kept,
            padding: quote - form.header - kept,
            end: extension.end,
            quote,
        })
    }
}

/// Length in bytes of the quote in `message` when extension objects follow it, otherwise `None`. `words` is the length
/// field.
fn quote_before_extension(message: &[u8], words: u32, unit: usize) -> Option<usize> {
    let quote = words as usize * unit;
    (quote >= QUOTE_BEFORE_EXTENSION && HEADER + quote < message.len()).then_some(quote)
}

/// The ranges of the quoted packet and of the extension objects in the message at `at`. `quote` is the length of the
/// quote, if the message tells it. `keeps_extension` tells whether the translated message can carry extension objects.
fn split(
    at: &Range<usize>,
    quote: Option<usize>,
    keeps_extension: bool,
) -> (Range<usize>, Option<Range<usize>>) {
    let start = at.start + HEADER;
    let end = quote.map_or(at.end, |quote| start + quote);
    (start..end, (quote.is_some() && keeps_extension).then_some(end..at.end))
}

/// The sum of an ICMP message without its checksum.
fn sum(message: &[u8]) -> u16 {
    let (head, rest) = message.split_at_checked(2).unwrap_or((message, &[]));
    add(sum_of_bytes(head), sum_of_bytes(rest.get(2..).unwrap_or(&[])))
}

/// Writes the first eight bytes `told` and the checksum of the message at `at`. A checksum that was wrong before stays
/// wrong.
///
/// `field` and `old` are the checksum field and the sum of the original message; `pseudo` is the sum of the new pseudo
/// header.
fn seal(room: &mut [u8], at: Range<usize>, told: Message, field: u16, old: u16, pseudo: u16) {
    let Some(message) = room.get_mut(at) else { return };
    if let Some(header) = message.first_chunk_mut() {
        told.write(header);
    }
    let new = add(pseudo, sum(message));
    if let Some(checksum) = message.get_mut(2..).and_then(|rest| rest.first_chunk_mut()) {
        *checksum = update(field, old, new).to_be_bytes();
    }
}

/// Moves the kept part of the quoted packet's upper layer to its new offset and pads it with zeros.
fn arrange(room: &mut [u8], body: Range<usize>, layout: &Layout) {
    let end = layout.body + layout.kept;
    if layout.body != body.start {
        room.copy_within(body.start..body.start + layout.kept, layout.body);
    }
    room[end..end + layout.padding].fill(0);
}

/// Translates the ICMP error at `at`, which follows the IPv4 header `head`.
pub(super) fn to_v6(
    room: &mut [u8],
    head: &Head<u32>,
    at: Range<usize>,
    to: &To6,
    addresses: impl Fn(u32, u32) -> Option<(u128, u128)>,
    options: &Options,
) -> Result<Range<usize>, Refused> {
    let message = room.get(at.clone()).ok_or(Refused::Truncated)?;
    let from = Message::read(message).ok_or(Refused::Truncated)?;
    let quote = match from.kind {
        icmp4::kind::UNREACHABLE | icmp4::kind::TIME_EXCEEDED | icmp4::kind::PARAMETER_PROBLEM => {
            quote_before_extension(message, from.word >> 16 & 0xff, UNIT4)
        }
        _ => None,
    };
    let total = message.get(HEADER..).and_then(ipv4::Ipv4::of).ok_or(Refused::Truncated)?.total_length();
    let mut told = message::error_to_6(from, total, options)?;
    let extensible = matches!(told.kind, icmp6::kind::UNREACHABLE | icmp6::kind::TIME_EXCEEDED);
    let (quote, extension) = split(&at, quote, extensible);
    let quoted = room.get(quote.clone()).ok_or(Refused::Truncated)?;
    let inner = Head::<u32>::read(quoted, options).map_err(|_| Refused::Quote)?;
    let (source, destination) = addresses(inner.source, inner.destination).ok_or(Refused::QuotedAddress)?;
    let inner_to = To6 { source, destination };
    let upper = quoted.get(inner.length..).ok_or(Refused::Quote)?;
    let patch = transport::quoted_to_6(upper, &inner, &inner_to)?;

    let body = quote.start + inner.length..quote.end;
    let space = usize::from(ipv6::MIN_MTU) - ipv6::HEADER;
    let form = Form { header: inner.length6(), space, unit: UNIT6 };
    let layout = Layout::of(body.clone(), extension, &form).ok_or(Refused::Headroom)?;
    let start = layout
        .body
        .checked_sub(form.header + HEADER)
        .filter(|start| *start >= ipv6::HEADER)
        .ok_or(Refused::Headroom)?;
    let (field, old) = (u16::from_be_bytes([message[2], message[3]]), sum(message));

    arrange(room, body, &layout);
    inner.write6(&mut room[start + HEADER..layout.body], &inner_to);
    patch.apply(&mut room[layout.body..layout.body + layout.kept]);
    let length = layout.end - start;
    // The error is at most 1280 bytes long. Like all ICMP that is translated it has no fragment header.
    let outer = Head { payload: length, ..*head };
    outer.write6(&mut room[start - ipv6::HEADER..start], to);
    told.word |= ((layout.quote / UNIT6) as u32) << 24;
    let pseudo = pseudo_header(to.source, to.destination, length as u32, ipv6::next::ICMP6);
    seal(room, start..layout.end, told, field, old, pseudo);
    Ok(start - ipv6::HEADER..layout.end)
}

/// Translates the ICMPv6 error at `at`, which follows the IPv6 headers `head`.
pub(super) fn to_v4(
    room: &mut [u8],
    head: &Head<u128>,
    at: Range<usize>,
    to: &To4,
    addresses: impl Fn(u128, u128) -> Option<(u32, u32)>,
    options: &Options,
) -> Result<Range<usize>, Refused> {
    let message = room.get(at.clone()).ok_or(Refused::Truncated)?;
    let from = Message::read(message).ok_or(Refused::Truncated)?;
    let quote = match from.kind {
        icmp6::kind::UNREACHABLE | icmp6::kind::TIME_EXCEEDED => {
            quote_before_extension(message, from.word >> 24, UNIT6)
        }
        _ => None,
    };
    // Both message types that can carry extension objects become types that can, too.
    let (quote, extension) = split(&at, quote, true);
    let quoted = room.get(quote.clone()).ok_or(Refused::Truncated)?;
    let inner = Head::<u128>::read(quoted, options).map_err(|_| Refused::Quote);
    let mut told = message::error_to_4(from, inner.is_ok_and(|inner| inner.fragment.is_some()), options)?;
    let inner = inner?;
    let (source, destination) = addresses(inner.source, inner.destination).ok_or(Refused::QuotedAddress)?;
    // The IPv6 packet did not keep the identification of its IPv4 packet. 0 stands for it.
    let inner_to = To4 { source, destination, identification: 0 };
    let upper = quoted.get(inner.length..).ok_or(Refused::Quote)?;
    let patch = transport::quoted_to_4(upper, &inner, &inner_to)?;

    let body = quote.start + inner.length..quote.end;
    let form = Form { header: ipv4::HEADER, space: ipv4::MIN_REASSEMBLY - ipv4::HEADER, unit: UNIT4 };
    let layout = Layout::of(body.clone(), extension, &form).ok_or(Refused::Headroom)?;
    let start = layout
        .body
        .checked_sub(form.header + HEADER)
        .filter(|start| *start >= ipv4::HEADER)
        .ok_or(Refused::Headroom)?;
    let (field, old) = (u16::from_be_bytes([message[2], message[3]]), sum(message));
    let old_pseudo = pseudo_header(head.source, head.destination, message.len() as u32, ipv6::next::ICMP6);

    arrange(room, body, &layout);
    inner.write4(&mut room[start + HEADER..layout.body], &inner_to);
    patch.apply(&mut room[layout.body..layout.body + layout.kept]);
    let outer = Head { payload: layout.end - start, ..*head };
    outer.write4(&mut room[start - ipv4::HEADER..start], to);
    told.word |= ((layout.quote / UNIT4) as u32) << 16;
    seal(room, start..layout.end, told, field, add(old, old_pseudo), 0);
    Ok(start - ipv4::HEADER..layout.end)
}
