//! IGMP versions 1 (RFC 1112), 2 (RFC 2236) and 3 (RFC 3376): parse what a snooping switch needs (RFC 4541), and write
//! queries.
//!
//! Reports become joins and leaves ([`Changes`]). Sources are counted, not filtered. Data that follows the message
//! within its packet is covered by the checksum and otherwise ignored (RFC 3376 §4.2.11). The module keeps no
//! membership state.

use super::membership::{self, Group, Interest, code_of_8, value_of_8};
use super::{Mac, checksum, ethernet};

/// One change of interest in a group.
pub type Change = membership::Change<u32>;
/// Iterates over the joins and leaves of one message, in its order.
///
/// The all-systems group 224.0.0.1 is never reported (RFC 3376 §6) and is skipped.
pub type Changes<'a> = membership::Changes<'a, u32>;

/// All systems on the link, 224.0.0.1: the destination of a general query.
pub const ALL_SYSTEMS: u32 = 0xe000_0001;
/// The protocol number of IGMP in an IPv4 header.
pub const PROTOCOL: u8 = 2;
/// The longest frame that [`query`] writes, in bytes. Frames are padded to the minimum of IEEE 802.3: 60 bytes, or 64
/// with a tag.
pub const MAX_FRAME: usize = ethernet::TAGGED_HEADER + PADDED;

/// Message types (RFC 3376 §4).
mod kind {
    pub(super) const QUERY: u8 = 0x11;
    pub(super) const REPORT_1: u8 = 0x12;
    pub(super) const REPORT_2: u8 = 0x16;
    pub(super) const LEAVE: u8 = 0x17;
    pub(super) const REPORT_3: u8 = 0x22;
}

/// Time to live of every message.
const TIME_TO_LIVE: u8 = 1;
/// Bytes of an IPv4 header without options.
const IPV4_HEADER: usize = 20;
/// Bytes of a message of version 1 or 2.
const LENGTH_2: usize = 8;
/// Bytes of a version 3 query before its sources.
const QUERY_3: usize = 12;
/// The option router alert with value 0 (RFC 2113).
const ROUTER_ALERT: [u8; 4] = [148, 4, 0, 0];
/// Shortest payload of an Ethernet frame in bytes.
const PADDED: usize = 46;
/// Type of service of queries: internetwork control (RFC 3376 §4).
const TYPE_OF_SERVICE: u8 = 0xc0;

impl Group for u32 {
    const BYTES: usize = 4;

    fn read(bytes: &[u8]) -> Option<u32> {
        bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    fn is_group(self) -> bool {
        self >> 28 == 0xe
    }

    fn is_reported(self) -> bool {
        self != ALL_SYSTEMS
    }
}

/// The protocol's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// RFC 1112.
    V1,
    /// RFC 2236.
    V2,
    /// RFC 3376.
    V3,
}

/// A query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// Its version, told by length and code (RFC 3376 §7.1).
    pub version: Version,
    /// The querier's address. The lowest on a link wins the election (RFC 3376 §6.6.2), except 0.0.0.0
    /// (RFC 4541 §2.1.1).
    pub querier: u32,
    /// The group asked about; `None` in a general query.
    pub group: Option<u32>,
    /// Maximum response time in tenths of a second. The largest encodable value is 255 in version 2, 31744 in version
    /// 3.
    pub max_response_ds: u32,
    /// Number of sources asked about; 0 before version 3.
    pub sources: u16,
    /// Version 3, S flag: other routers do not update their timers (RFC 3376 §4.1.5).
    pub suppress: bool,
    /// Version 3: the querier's robustness variable, 0 to 7.
    pub robustness: u8,
    /// Version 3: the querier's interval in seconds, up to 31744.
    pub interval_s: u32,
}

/// A valid message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// A membership query.
    Query(Query),
    /// A membership report of any version, or a leave.
    Report(Changes<'a>),
}

/// Why a message must be discarded silently (RFC 2236 §2, RFC 3376 §4, RFC 3376 §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// Shorter than its headers or its type say, or a query of a length that no version has.
    Length,
    /// The IPv4 header's checksum is wrong.
    HeaderChecksum,
    /// The packet is a fragment.
    Fragment,
    /// Time to live is not 1.
    TimeToLive,
    /// No router alert (RFC 2113), which all messages but those of version 1 carry.
    RouterAlert,
    /// The message's checksum is wrong.
    Checksum,
    /// A group that is not a multicast address, or a record that runs past the end.
    Group,
    /// Not IGMP, or an unknown message type.
    Type,
}

/// Parses the message of `packet`, which starts at its IPv4 header. Bytes beyond the total length are ignored.
///
/// Every source is accepted: a host without an address reports from 0.0.0.0 (RFC 3376 §4.2.13, RFC 4541 §2.1.1).
///
/// # Errors
/// [`Invalid::Length`] and [`Invalid::Type`] for packets that are not whole IGMP messages; [`Invalid::HeaderChecksum`],
/// [`Invalid::Fragment`], [`Invalid::TimeToLive`] and [`Invalid::RouterAlert`] for the IPv4 header;
/// [`Invalid::Checksum`] and [`Invalid::Group`] for the message.
pub fn parse(packet: &[u8]) -> Result<Message<'_>, Invalid> {
    let head = packet.first_chunk::<IPV4_HEADER>().ok_or(Invalid::Length)?;
    let start = usize::from(head[0] & 0xf) * 4;
    let end = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if head[0] >> 4 != 4 || head[9] != PROTOCOL {
        return Err(Invalid::Type);
    }
    let options = packet.get(IPV4_HEADER..start).ok_or(Invalid::Length)?;
    let message = packet.get(start..end).ok_or(Invalid::Length)?;
    if packet.get(..start).is_none_or(|header| !checksum::sum_of_bytes(header) != 0) {
        return Err(Invalid::HeaderChecksum);
    }
    // More fragments follow, or the offset is not 0.
    if u16::from_be_bytes([head[6], head[7]]) & 0x3fff != 0 {
        return Err(Invalid::Fragment);
    }
    if head[8] != TIME_TO_LIVE {
        return Err(Invalid::TimeToLive);
    }
    let querier = u32::from_be_bytes([head[12], head[13], head[14], head[15]]);
    let &[kind, code, _, _, _, _, high, low] = message.first_chunk::<8>().ok_or(Invalid::Length)?;
    let version_1 = kind == kind::REPORT_1 || (kind == kind::QUERY && message.len() == LENGTH_2 && code == 0);
    if !version_1 && !has_router_alert(options) {
        return Err(Invalid::RouterAlert);
    }
    if !checksum::sum_of_bytes(message) != 0 {
        return Err(Invalid::Checksum);
    }
    let group = message.get(4..).and_then(u32::read).ok_or(Invalid::Length)?;
    let changes = match kind {
        kind::QUERY => return heard(message, querier, code, group).map(Message::Query),
        kind::REPORT_1 | kind::REPORT_2 => Changes::one(group, Interest::Join),
        kind::LEAVE => Changes::one(group, Interest::Leave),
        kind::REPORT_3 => Changes::of(u16::from_be_bytes([high, low]), message.get(8..).unwrap_or_default()),
        _ => return Err(Invalid::Type),
    };
    changes.map(Message::Report).ok_or(Invalid::Group)
}

/// Whether `options`, those of an IPv4 header, hold a router alert (RFC 2113).
fn has_router_alert(mut options: &[u8]) -> bool {
    loop {
        options = match *options {
            [a, b, c, d, ..] if [a, b, c, d] == ROUTER_ALERT => return true,
            // No operation.
            [1, ref rest @ ..] => rest,
            // End of the list, or no room for a length.
            [] | [0, ..] | [_] => return false,
            [_, length, ..] => match options.get(usize::from(length)..) {
                Some(rest) if length >= 2 => rest,
                _ => return false,
            },
        };
    }
}

/// Reads a query. Its length and its code tell its version (RFC 3376 §7.1).
fn heard(message: &[u8], querier: u32, code: u8, group: u32) -> Result<Query, Invalid> {
    let group = match group {
        0 => None,
        group if group.is_group() => Some(group),
        _ => return Err(Invalid::Group),
    };
    if message.len() == LENGTH_2 {
        return Ok(Query {
            version: if code == 0 { Version::V1 } else { Version::V2 },
            querier,
            // Version 1 does not use the group field of a query (RFC 1112 appendix I).
            group: if code == 0 { None } else { group },
            // The maximum response time of version 1 is ten seconds (RFC 2236 §4).
            max_response_ds: if code == 0 { 100 } else { code.into() },
            sources: 0,
            suppress: false,
            robustness: 0,
            interval_s: 0,
        });
    }
    let &[flags, interval, high, low] =
        message.get(LENGTH_2..).and_then(|rest| rest.first_chunk()).ok_or(Invalid::Length)?;
    let sources = u16::from_be_bytes([high, low]);
    if message.len() < QUERY_3 + 4 * usize::from(sources) {
        return Err(Invalid::Length);
    }
    Ok(Query {
        version: Version::V3,
        querier,
        group,
        max_response_ds: value_of_8(code),
        sources,
        suppress: flags & 8 != 0,
        robustness: flags & 7,
        interval_s: value_of_8(interval),
    })
}

/// Writes the frame of a query without sources; returns its length, 60 or 64 bytes.
///
/// The querier's MAC address is `mac`. A general query goes to all systems, a group-specific one to its group
/// (RFC 3376 §4.1.12). A time that has no code is rounded down. `vlan` is 0 for an untagged frame. A query of version 1
/// carries neither group nor times.
pub fn query(frame: &mut [u8; MAX_FRAME], mac: Mac, vlan: u16, query: &Query) -> usize {
    let (length, code, group) = match query.version {
        Version::V1 => (LENGTH_2, 0, None),
        // A query with code 0 is of version 1 (RFC 3376 §7.1).
        Version::V2 => (LENGTH_2, query.max_response_ds.clamp(1, 255) as u8, query.group),
        Version::V3 => (QUERY_3, code_of_8(query.max_response_ds), query.group),
    };
    let destination = group.unwrap_or(ALL_SYSTEMS);
    let mut message = [0; QUERY_3];
    message[0] = kind::QUERY;
    message[1] = code;
    message[4..8].copy_from_slice(&group.unwrap_or(0).to_be_bytes());
    message[8] = if query.suppress { 8 } else { 0 } | query.robustness.min(7);
    message[9] = code_of_8(query.interval_s);
    let sum = !checksum::sum_of_bytes(&message[..length]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut header = [0; IPV4_HEADER + ROUTER_ALERT.len()];
    let total = (header.len() + length) as u16;
    header[..2].copy_from_slice(&[0x46, TYPE_OF_SERVICE]);
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[8..10].copy_from_slice(&[TIME_TO_LIVE, PROTOCOL]);
    header[12..16].copy_from_slice(&query.querier.to_be_bytes());
    header[16..20].copy_from_slice(&destination.to_be_bytes());
    header[20..].copy_from_slice(&ROUTER_ALERT);
    let sum = !checksum::sum_of_bytes(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());

    let to = Mac::of_ipv4_multicast(destination);
    let (link, start) = ethernet::header_of(to, mac, vlan, ethernet::IPV4);
    frame.fill(0);
    frame[..start].copy_from_slice(&link[..start]);
    let (into_header, rest) = frame[start..].split_at_mut(header.len());
    into_header.copy_from_slice(&header);
    rest[..length].copy_from_slice(&message[..length]);
    start + PADDED
}

#[cfg(test)]
mod tests;
