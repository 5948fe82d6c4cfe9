//! Multicast Listener Discovery versions 1 (RFC 2710) and 2 (RFC 3810): parse what a snooping switch needs (RFC 4541),
//! and write queries.
//!
//! Reports become joins and leaves ([`Changes`]). Sources are counted, not filtered. The code field is ignored
//! (RFC 3810 §5.1.1, RFC 3810 §5.2.1), as is data that follows the message within its packet. The module keeps no
//! membership state.

use super::icmp6::kind;
use super::ipv6::{self, Ipv6, next};
use super::membership::{self, Group, Interest, code_of_8, code_of_16, value_of_8, value_of_16};
use super::{Mac, checksum, ethernet};

/// One change of interest in a group.
pub type Change = membership::Change<u128>;
/// Iterates over the joins and leaves of one message, in its order.
///
/// The all-nodes group and the groups of scope 0 and 1 are never reported (RFC 2710 §5) and are skipped.
pub type Changes<'a> = membership::Changes<'a, u128>;

/// All nodes on the link: the destination of a general query.
pub use crate::net::ipv6::ALL_NODES;
/// All MLDv2-capable routers on the link: the destination of version 2 reports (RFC 3810 §5.2.14).
pub const ALL_MLD2_ROUTERS: u128 = (0xff02 << 112) | 0x16;
/// The longest frame that [`query`] writes, in bytes.
pub const MAX_FRAME: usize = ethernet::TAGGED_HEADER + ipv6::HEADER + HOP_BY_HOP.len() + QUERY_2;

/// Hop limit of every message.
const HOP_LIMIT: u8 = 1;
/// Bytes of a version 1 message.
const LENGTH_1: usize = 24;
/// Bytes of a version 2 query before its sources.
const QUERY_2: usize = 28;
/// The hop-by-hop header of every message: next header ICMPv6, router alert 0 for MLD (RFC 2711), two bytes of padding.
const HOP_BY_HOP: [u8; 8] = [next::ICMP6, 0, ROUTER_ALERT, 2, 0, 0, PAD_N, 0];
const ROUTER_ALERT: u8 = 5;
const PAD_1: u8 = 0;
const PAD_N: u8 = 1;

impl Group for u128 {
    const BYTES: usize = 16;

    fn read(bytes: &[u8]) -> Option<u128> {
        bytes.first_chunk().map(|bytes| u128::from_be_bytes(*bytes))
    }

    fn is_group(self) -> bool {
        ipv6::is_multicast(self)
    }

    fn is_reported(self) -> bool {
        self != ALL_NODES && (self >> 112) & 0xf > 1
    }
}

/// The protocol's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// RFC 2710.
    V1,
    /// RFC 3810.
    V2,
}

/// A query: who wants what, and how soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// Its version, told by its length (RFC 3810 §8.1).
    pub version: Version,
    /// The querier's address. The lowest on a link wins the election (RFC 3810 §7.6.2).
    pub querier: u128,
    /// The group asked about; `None` in a general query.
    pub group: Option<u128>,
    /// Maximum response delay in milliseconds. The largest encodable value is 65535 in version 1, 8387584 in version 2.
    pub max_response_ms: u32,
    /// Number of sources asked about; 0 in version 1.
    pub sources: u16,
    /// Version 2, S flag: other routers do not update their timers (RFC 3810 §5.1.7).
    pub suppress: bool,
    /// Version 2: the querier's robustness variable, 0 to 7.
    pub robustness: u8,
    /// Version 2: the querier's interval in seconds, up to 31744.
    pub interval_s: u32,
}

/// A valid message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// A listener query.
    Query(Query),
    /// A listener report of either version, or a done message.
    Report(Changes<'a>),
}

/// Why a message must be discarded silently (RFC 2710 §3, RFC 3810 §5.1.14, RFC 3810 §6.2, RFC 3810 §7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// Shorter than its headers or its type say, or a query of a length that no version has.
    Length,
    /// Hop limit is not 1.
    HopLimit,
    /// No hop-by-hop header with the router alert for MLD (RFC 2711) before it.
    RouterAlert,
    /// The source is not link-local; only a report may come from the unspecified address.
    Source,
    /// The ICMPv6 checksum is wrong.
    Checksum,
    /// A group that is not a multicast address, or a record that runs past the end.
    Group,
    /// Not a message type of MLD.
    Type,
}

/// Parses the message of `packet`, which starts at its IPv6 header. Bytes beyond the payload length are ignored.
///
/// A report from the unspecified address is valid: a host without an address joins its solicited-node groups, and a
/// snooping switch must not discard its report (RFC 3590 §4, RFC 4541 §3).
///
/// # Errors
/// [`Invalid::Length`] and [`Invalid::Type`] for packets that are not whole MLD messages; [`Invalid::RouterAlert`],
/// [`Invalid::HopLimit`] and [`Invalid::Source`] for the IPv6 headers; [`Invalid::Checksum`] and [`Invalid::Group`] for
/// the message.
pub fn parse(packet: &[u8]) -> Result<Message<'_>, Invalid> {
    let header = Ipv6::of(packet).ok_or(Invalid::Length)?;
    let (source, destination) = (header.source(), header.destination());
    let end = ipv6::HEADER + usize::from(header.payload_length());
    let payload = packet.get(ipv6::HEADER..end).ok_or(Invalid::Length)?;
    let message = match header.next_header() {
        next::HOP_BY_HOP => alerted(payload)?,
        _ => return Err(Invalid::RouterAlert),
    };
    if header.hop_limit() != HOP_LIMIT {
        return Err(Invalid::HopLimit);
    }
    let head = message.first_chunk::<8>().ok_or(Invalid::Length)?;
    let reports = match head[0] {
        kind::LISTENER_QUERY => false,
        kind::LISTENER_REPORT | kind::LISTENER_DONE | kind::LISTENER_REPORT_2 => true,
        _ => return Err(Invalid::Type),
    };
    let fits = ipv6::is_link_local(source) || (reports && source == 0);
    if !fits {
        return Err(Invalid::Source);
    }
    if checksum::transport(source, destination, next::ICMP6, message) != 0 {
        return Err(Invalid::Checksum);
    }
    if head[0] == kind::LISTENER_REPORT_2 {
        let records = message.get(8..).ok_or(Invalid::Length)?;
        let changes = Changes::of(u16::from_be_bytes([head[6], head[7]]), records);
        return changes.map(Message::Report).ok_or(Invalid::Group);
    }
    let group = message.get(8..).and_then(u128::read).ok_or(Invalid::Length)?;
    match head[0] {
        kind::LISTENER_QUERY => {
            heard(message, source, u16::from_be_bytes([head[4], head[5]]), group).map(Message::Query)
        }
        kind::LISTENER_REPORT => {
            Changes::one(group, Interest::Join).map(Message::Report).ok_or(Invalid::Group)
        }
        _ => Changes::one(group, Interest::Leave).map(Message::Report).ok_or(Invalid::Group),
    }
}

/// The ICMPv6 message that follows the hop-by-hop header at the start of `payload`.
///
/// # Errors
/// [`Invalid::Length`] when the header is cut short; [`Invalid::Type`] when another protocol follows it;
/// [`Invalid::RouterAlert`] when it has no router alert for MLD (RFC 2711).
fn alerted(payload: &[u8]) -> Result<&[u8], Invalid> {
    let head = payload.first_chunk::<8>().ok_or(Invalid::Length)?;
    let end = 8 + 8 * usize::from(head[1]);
    let mut options = payload.get(2..end).ok_or(Invalid::Length)?;
    let message = payload.get(end..).ok_or(Invalid::Length)?;
    if head[0] != next::ICMP6 {
        return Err(Invalid::Type);
    }
    loop {
        options = match *options {
            [ROUTER_ALERT, 2, 0, 0, ..] => return Ok(message),
            [PAD_1, ref rest @ ..] => rest,
            [_, length, ref rest @ ..] => rest.get(usize::from(length)..).ok_or(Invalid::RouterAlert)?,
            _ => return Err(Invalid::RouterAlert),
        };
    }
}

/// Reads a query. Its length tells its version (RFC 3810 §8.1).
fn heard(message: &[u8], querier: u128, code: u16, group: u128) -> Result<Query, Invalid> {
    let group = match group {
        0 => None,
        group if ipv6::is_multicast(group) => Some(group),
        _ => return Err(Invalid::Group),
    };
    if message.len() == LENGTH_1 {
        return Ok(Query {
            version: Version::V1,
            querier,
            group,
            max_response_ms: code.into(),
            sources: 0,
            suppress: false,
            robustness: 0,
            interval_s: 0,
        });
    }
    let &[flags, interval, high, low] =
        message.get(LENGTH_1..).and_then(|rest| rest.first_chunk()).ok_or(Invalid::Length)?;
    let sources = u16::from_be_bytes([high, low]);
    if message.len() < QUERY_2 + 16 * usize::from(sources) {
        return Err(Invalid::Length);
    }
    Ok(Query {
        version: Version::V2,
        querier,
        group,
        max_response_ms: value_of_16(code),
        sources,
        suppress: flags & 8 != 0,
        robustness: flags & 7,
        interval_s: value_of_8(interval),
    })
}

/// Writes the frame of a query without sources; returns its length in bytes.
///
/// The querier's MAC address is `mac`. Hosts discard the query unless the querier's address is link-local
/// (RFC 3810 §5.1.14). A general query goes to all nodes, an address-specific one to its group (RFC 3810 §5.1.15). A
/// time that has no code is rounded down. `vlan` is 0 for an untagged frame.
pub fn query(frame: &mut [u8; MAX_FRAME], mac: Mac, vlan: u16, query: &Query) -> usize {
    let destination = query.group.unwrap_or(ALL_NODES);
    let (link, start) = ethernet::header(Mac::of_ipv6_multicast(destination), mac, vlan);
    let (length, code) = match query.version {
        Version::V1 => (LENGTH_1, query.max_response_ms.min(0xffff) as u16),
        Version::V2 => (QUERY_2, code_of_16(query.max_response_ms)),
    };
    let mut message = [0; QUERY_2];
    message[0] = kind::LISTENER_QUERY;
    message[4..6].copy_from_slice(&code.to_be_bytes());
    message[8..24].copy_from_slice(&query.group.unwrap_or(0).to_be_bytes());
    message[24] = if query.suppress { 8 } else { 0 } | query.robustness.min(7);
    message[25] = code_of_8(query.interval_s);
    let sum = checksum::transport(query.querier, destination, next::ICMP6, &message[..length]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    frame[..start].copy_from_slice(&link[..start]);
    let payload = HOP_BY_HOP.len() + length;
    if let Some(mut header) = Ipv6::of_mut(&mut frame[start..]) {
        header.write(payload as u16, next::HOP_BY_HOP, HOP_LIMIT, query.querier, destination);
    }
    let at = start + ipv6::HEADER;
    frame[at..at + HOP_BY_HOP.len()].copy_from_slice(&HOP_BY_HOP);
    frame[at + HOP_BY_HOP.len()..at + payload].copy_from_slice(&message[..length]);
    at + payload
}

#[cfg(test)]
mod tests;
