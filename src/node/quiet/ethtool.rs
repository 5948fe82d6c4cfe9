//! Reads and switches offloads of interfaces by the generic netlink family `ethtool`
//! (`Documentation/networking/ethtool-netlink.rst` in the Linux source).

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// `linux/netlink.h` and `linux/genetlink.h`.
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// Without the bits that mark nested attributes and byte order.
const NLA_TYPE_MASK: u16 = 0x3fff;
const NLA_F_NESTED: u16 = 0x8000;
/// `linux/ethtool_netlink.h`.
const FEATURES_GET: u8 = 11;
const FEATURES_SET: u8 = 12;
const FEATURES_HEADER: u16 = 1;
const FEATURES_HW: u16 = 2;
const FEATURES_WANTED: u16 = 3;
const FEATURES_ACTIVE: u16 = 4;
const HEADER_DEV_INDEX: u16 = 1;
const HEADER_FLAGS: u16 = 3;
const FLAG_OMIT_REPLY: u32 = 2;
const BITSET_BITS: u16 = 3;
const BITS_BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;
/// Netlink header and generic netlink header, in bytes.
const HEADERS: usize = 16 + 4;
/// The longest answer, with all names of offloads twice, is about a quarter of this.
const LONGEST: usize = 32 << 10;

/// A socket to the kernel's `ethtool` family.
pub(super) struct Ethtool {
    socket: OwnedFd,
    family: u16,
    /// Number of the last request, so that an answer that comes too late is not taken for the next one's.
    last: Cell<u32>,
}

impl Ethtool {
    /// Connects. The kernel has the family from Linux 5.6 on.
    ///
    /// # Errors
    /// The kernel refuses the socket, or has no such family (`ENOENT`).
    pub(super) fn open() -> io::Result<Self> {
        let kind =
            (AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkGeneric);
        let socket = socket(kind.0, kind.1, kind.2, kind.3)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(5, 0))?;
        let mut ethtool = Ethtool { socket, family: GENL_ID_CTRL, last: Cell::new(0) };
        let answer = ethtool.ask(CTRL_CMD_GETFAMILY, &attribute(CTRL_ATTR_FAMILY_NAME, b"ethtool\0"))?;
        let id = attributes(&answer).find(|(kind, _)| *kind == CTRL_ATTR_FAMILY_ID);
        let id = id.and_then(|(_, value)| value.get(..2)?.try_into().ok()).map(u16::from_ne_bytes);
        ethtool.family = id.ok_or_else(|| io::Error::from_raw_os_error(libc::EPROTO))?;
        Ok(ethtool)
    }

    /// The offloads of an interface that are on and that can be switched, by their names.
    pub(super) fn switchable(&self, index: u32) -> io::Result<BTreeSet<String>> {
        let answer = self.ask(FEATURES_GET, &header(index, 0))?;
        let set = |wanted| {
            attributes(&answer).filter(move |(kind, _)| *kind == wanted).flat_map(|(_, set)| names(set))
        };
        let active: BTreeSet<String> = set(FEATURES_ACTIVE).collect();
        Ok(set(FEATURES_HW).filter(|name| active.contains(name)).collect())
    }

    /// Switches one offload.
    pub(super) fn switch(&self, index: u32, name: &str, on: bool) -> io::Result<()> {
        let mut bit = attribute(BIT_NAME, format!("{name}\0").as_bytes());
        if on {
            bit.extend(attribute(BIT_VALUE, &[]));
        }
        let bits = nested(BITSET_BITS, &nested(BITS_BIT, &bit));
        let mut body = header(index, FLAG_OMIT_REPLY);
        body.extend(nested(FEATURES_WANTED, &bits));
        self.ask(FEATURES_SET, &body).map(drop)
    }

    /// Sends one request; the attributes of the answer, or nothing if there is only an acknowledgement.
    fn ask(&self, command: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
        let len = (HEADERS + attributes.len()) as u32;
        let mut message = Vec::with_capacity(HEADERS + attributes.len());
        message.extend(len.to_ne_bytes());
        message.extend(self.family.to_ne_bytes());
        message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        let number = self.last.get().wrapping_add(1);
        self.last.set(number);
        message.extend(number.to_ne_bytes());
        message.extend([0; 4]);
        message.extend([command, 1, 0, 0]);
        message.extend(attributes);
        let fd = self.socket.as_raw_fd();
        sendto(fd, &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut answer = Vec::new();
        let mut room = vec![0; LONGEST];
        loop {
            let len = recv(fd, &mut room, MsgFlags::empty())?;
            let answers = messages(&room[..len.min(LONGEST)]).filter(|(_, to, _)| *to == number);
            for (kind, _, body) in answers {
                if kind != NLMSG_ERROR {
                    answer = body.get(4..).unwrap_or_default().to_vec();
                    continue;
                }
                let code = body.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
                return if code == 0 { Ok(answer) } else { Err(io::Error::from_raw_os_error(-code)) };
            }
        }
    }
}

/// The header of a request: which interface, and flags.
fn header(index: u32, flags: u32) -> Vec<u8> {
    let mut header = attribute(HEADER_DEV_INDEX, &index.to_ne_bytes());
    header.extend(attribute(HEADER_FLAGS, &flags.to_ne_bytes()));
    nested(FEATURES_HEADER, &header)
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = 4 + value.len();
    let mut bytes = Vec::with_capacity(len.next_multiple_of(4));
    bytes.extend((len as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(len.next_multiple_of(4), 0);
    bytes
}

fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, value)
}

/// The messages of one datagram: type, number of the request, and what follows the netlink header.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    std::iter::from_fn(move || {
        let len = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let number = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
        let body = bytes.get(16..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, number, body))
    })
}

/// The attributes of a run of them: type, and value.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & NLA_TYPE_MASK;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The names of a set of offloads.
fn names(set: &[u8]) -> impl Iterator<Item = String> {
    let inside = |wanted| move |(kind, value)| (kind == wanted).then_some(value);
    let bits =
        attributes(set).filter_map(inside(BITSET_BITS)).flat_map(attributes).filter_map(inside(BITS_BIT));
    bits.filter_map(move |bit| {
        let name = attributes(bit).find_map(inside(BIT_NAME))?;
        Some(String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_a_set_of_bits() {
        let bit = |name: &str| nested(BITS_BIT, &attribute(BIT_NAME, format!("{name}\0").as_bytes()));
        let set = nested(BITSET_BITS, &[bit("rx-gro"), bit("tx-checksum-ip-generic")].concat());
        assert_eq!(names(&set).collect::<Vec<_>>(), ["rx-gro", "tx-checksum-ip-generic"]);
    }

    #[test]
    fn what_the_kernel_did_not_finish_ends_the_reading_and_never_panics() {
        let set = nested(BITSET_BITS, &nested(BITS_BIT, &attribute(BIT_NAME, b"rx-gro\0")));
        for end in 0..set.len() {
            assert!(names(&set[..end]).count() <= 1, "{end}");
            assert!(messages(&set[..end]).count() <= 1, "{end}");
        }
        // Lengths of zero do not loop.
        assert_eq!(attributes(&[0; 8]).count(), 0);
        assert_eq!(messages(&[0; 32]).count(), 0);
    }
}
