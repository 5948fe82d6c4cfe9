//! ARP (RFC 826) and RARP (RFC 903) for IPv4 over Ethernet: parse with the validity rules, classify, and build.
//!
//! Probes and announcements are those of RFC 5227. An IPv4 address is a `u32` whose highest byte is the first on the
//! wire. The module keeps no state. It does not judge whether the sender owns the address; the caller does.

use super::{Mac, ethernet};

/// Length of every message in bytes.
pub const LENGTH: usize = 28;
/// The longest frame that the builders write, in bytes.
///
/// Frames are padded with zeros to 60 bytes, or 64 with a tag. The frame then has the minimum length of IEEE 802.3 even
/// if the device does not pad, and also after a switch has removed the tag.
pub const MAX_FRAME: usize = ethernet::TAGGED_HEADER + PADDED;

/// Shortest payload of an Ethernet frame in bytes.
const PADDED: usize = 46;
/// The first 6 bytes of every message: hardware type Ethernet, protocol type IPv4, and the lengths of their addresses.
const BEGIN: u64 = 0x0001_0800_0604;

/// The operation of a message (RFC 826, RFC 903), with its value on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Operation {
    /// Asks for the MAC address of an IPv4 address.
    Request = 1,
    /// Tells the MAC address of an IPv4 address.
    Reply = 2,
    /// Asks for the IPv4 address of a MAC address (RARP).
    ReverseRequest = 3,
    /// Tells the IPv4 address of a MAC address (RARP).
    ReverseReply = 4,
}

impl Operation {
    /// The ethertype of the frame: [`ethernet::ARP`], or [`ethernet::RARP`] for the reverse operations (RFC 903).
    #[must_use]
    pub const fn ethertype(self) -> u16 {
        match self {
            Operation::Request | Operation::Reply => ethernet::ARP,
            Operation::ReverseRequest | Operation::ReverseReply => ethernet::RARP,
        }
    }
}

/// The meaning of a valid message to its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request from a host that has an address.
    Request,
    /// A reply to a request or a probe.
    Reply,
    /// A request or reply with the same sender and target address: the sender announces its own address
    /// (RFC 5227 §2.3, RFC 5944 §4.6).
    Gratuitous,
    /// A request from 0.0.0.0: the sender asks whether another host uses the address (RFC 5227 §2.1). Receivers must
    /// not update their caches from it.
    Probe,
    /// A request for the IPv4 address of the target MAC address, which is usually the sender's own (RFC 903).
    ReverseRequest,
    /// A server's answer to a reverse request (RFC 903).
    ReverseReply,
}

/// Why a message must be discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// The frame is neither ARP nor RARP.
    Ethertype,
    /// Shorter than 28 bytes.
    Length,
    /// The hardware is not Ethernet.
    HardwareType,
    /// The protocol is not IPv4.
    ProtocolType,
    /// Addresses are not 6 and 4 bytes long.
    AddressLength,
    /// The operation is unknown, or belongs to the other ethertype.
    Operation,
    /// The sender's MAC address is zero, multicast or broadcast. A router must not believe such a message
    /// (RFC 1812 §3.3.2).
    SenderMac,
    /// The sender's IPv4 address is not a host address ([`is_host`]).
    Sender,
    /// The target's IPv4 address is not a host address ([`is_host`]).
    Target,
}

/// A valid message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// The operation.
    pub operation: Operation,
    /// Sender's MAC address. It may differ from the source of the frame.
    pub sender_mac: Mac,
    /// Sender's IPv4 address; 0 in a probe, undefined in a reverse request.
    pub sender: u32,
    /// Target's MAC address; meaningless in a request.
    pub target_mac: Mac,
    /// Target's IPv4 address; undefined in a reverse request, the address that was asked for in a reverse reply.
    pub target: u32,
}

/// Whether `address` can belong to a host: it is not multicast or reserved (224.0.0.0/3), not loopback (127.0.0.0/8)
/// and not in 0.0.0.0/8.
#[must_use]
pub const fn is_host(address: u32) -> bool {
    address >> 29 != 0b111 && address >> 24 != 127 && address >> 24 != 0
}

impl Arp {
    /// Classifies the message.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.operation {
            Operation::ReverseRequest => Kind::ReverseRequest,
            Operation::ReverseReply => Kind::ReverseReply,
            Operation::Request if self.sender == 0 => Kind::Probe,
            Operation::Request | Operation::Reply if self.sender == self.target => Kind::Gratuitous,
            Operation::Request => Kind::Request,
            Operation::Reply => Kind::Reply,
        }
    }
}

/// Parses the message in `payload`, which follows the link header of a frame with this ethertype. Padding after the
/// message is ignored.
///
/// # Errors
/// The first variant of [`Invalid`], in the order of its declaration, whose rule the message breaks.
#[inline]
pub fn parse(ethertype: u16, payload: &[u8]) -> Result<Arp, Invalid> {
    if ethertype != ethernet::ARP && ethertype != ethernet::RARP {
        return Err(Invalid::Ethertype);
    }
    let bytes = payload.first_chunk::<LENGTH>().ok_or(Invalid::Length)?;
    let begin = u64::from_be_bytes(chunk(bytes, 0));
    if begin >> 16 != BEGIN {
        return Err(wrong_begin(begin));
    }
    let operation = match (begin as u16, ethertype) {
        (1, ethernet::ARP) => Operation::Request,
        (2, ethernet::ARP) => Operation::Reply,
        (3, ethernet::RARP) => Operation::ReverseRequest,
        (4, ethernet::RARP) => Operation::ReverseReply,
        _ => return Err(Invalid::Operation),
    };
    let mac = |at| Mac(chunk(bytes, at));
    let address = |at| u32::from_be_bytes(chunk(bytes, at));
    let message =
        Arp { operation, sender_mac: mac(8), sender: address(14), target_mac: mac(18), target: address(24) };
    if message.sender_mac.is_multicast() || message.sender_mac == Mac::ZERO {
        return Err(Invalid::SenderMac);
    }
    let (sender_fits, target_fits) = match operation {
        // The sender of a reply has an address. The target of a reply to a probe is 0.0.0.0 (RFC 5227 §2.1.1).
        Operation::Request => (message.sender == 0 || is_host(message.sender), is_host(message.target)),
        Operation::Reply => (is_host(message.sender), message.target == 0 || is_host(message.target)),
        // RFC 903: both addresses of a request are undefined.
        Operation::ReverseRequest => (true, true),
        Operation::ReverseReply => (is_host(message.sender), is_host(message.target)),
    };
    match (sender_fits, target_fits) {
        (false, _) => Err(Invalid::Sender),
        (true, false) => Err(Invalid::Target),
        (true, true) => Ok(message),
    }
}

/// The `N` bytes of a message from `at` on.
#[inline(always)]
fn chunk<const N: usize>(bytes: &[u8; LENGTH], at: usize) -> [u8; N] {
    bytes[at..].first_chunk().copied().unwrap_or([0; N])
}

/// What is wrong with the first 6 of the 8 bytes `begin`.
#[cold]
const fn wrong_begin(begin: u64) -> Invalid {
    match begin >> 16 ^ BEGIN {
        wrong if wrong >> 32 != 0 => Invalid::HardwareType,
        wrong if wrong >> 16 != 0 => Invalid::ProtocolType,
        _ => Invalid::AddressLength,
    }
}

/// Writes the frame of `message`; returns its length, 60 or 64 bytes.
///
/// The frame goes to `to`. Its source is the sender's MAC address. `vlan` is 0 for an untagged frame.
pub fn write(frame: &mut [u8; MAX_FRAME], to: Mac, vlan: u16, message: &Arp) -> usize {
    frame.fill(0);
    let ethertype = message.operation.ethertype();
    let start = frame
        .first_chunk_mut()
        .map_or(0, |front| ethernet::write_header(front, to, message.sender_mac, vlan, ethertype));
    let body = &mut frame[start..];
    body[0..8].copy_from_slice(&(BEGIN << 16 | message.operation as u64).to_be_bytes());
    body[8..14].copy_from_slice(&message.sender_mac.0);
    body[14..18].copy_from_slice(&message.sender.to_be_bytes());
    body[18..24].copy_from_slice(&message.target_mac.0);
    body[24..28].copy_from_slice(&message.target.to_be_bytes());
    start + PADDED
}

/// Writes the reply to `request`: the target of the request has the MAC address `mac` (RFC 826).
///
/// Sender and target are swapped. The frame goes to the MAC address of the request's sender. The reply to a probe is
/// built alike; its target address is 0.0.0.0.
pub fn reply(frame: &mut [u8; MAX_FRAME], request: &Arp, mac: Mac, vlan: u16) -> usize {
    let message = Arp {
        operation: Operation::Reply,
        sender_mac: mac,
        sender: request.target,
        target_mac: request.sender_mac,
        target: request.sender,
    };
    write(frame, request.sender_mac, vlan, &message)
}

/// Writes a request for `target` from the host (`mac`, `address`).
///
/// The frame goes to the broadcast address, or to `to` for a unicast poll, which checks that a cached MAC address is
/// still valid (RFC 1122 §2.3.2.1). With `address` 0 the request is a probe (RFC 5227 §2.1.1).
pub fn request(
    frame: &mut [u8; MAX_FRAME],
    (mac, address): (Mac, u32),
    vlan: u16,
    target: u32,
    to: Option<Mac>,
) -> usize {
    let message = Arp {
        operation: Operation::Request,
        sender_mac: mac,
        sender: address,
        target_mac: Mac::ZERO,
        target,
    };
    write(frame, to.unwrap_or(Mac::BROADCAST), vlan, &message)
}

/// Writes the announcement that `address` is at `mac`: a broadcast request for the sender's own address
/// (RFC 5227 §2.3).
pub fn gratuitous(frame: &mut [u8; MAX_FRAME], mac: Mac, address: u32, vlan: u16) -> usize {
    request(frame, (mac, address), vlan, address, None)
}

/// Writes the reply of the server (`mac`, `address`) to a reverse request: the target MAC address has the IPv4 address
/// `answer`.
///
/// The frame goes to the sender of the request, which may differ from its target (RFC 903).
pub fn reverse_reply(
    frame: &mut [u8; MAX_FRAME],
    request: &Arp,
    (mac, address): (Mac, u32),
    vlan: u16,
    answer: u32,
) -> usize {
    let message = Arp {
        operation: Operation::ReverseReply,
        sender_mac: mac,
        sender: address,
        target_mac: request.target_mac,
        target: answer,
    };
    write(frame, request.sender_mac, vlan, &message)
}

#[cfg(test)]
mod tests;
