//! Questions to the kernel by netlink (RFC 3549), and the attributes of its answers.

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// `linux/netlink.h`.
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
/// Without the bits that mark nested attributes and byte order.
const NLA_TYPE_MASK: u16 = 0x3fff;
const NLA_F_NESTED: u16 = 0x8000;
/// Netlink header, in bytes.
const HEADER: usize = 16;
/// The longest answer, with all names of offloads twice, is about a quarter of this.
const LONGEST: usize = 32 << 10;

/// A socket to one family of netlink.
pub(super) struct Netlink {
    socket: OwnedFd,
    /// Number of the last request, so that an answer that comes too late is not taken for the next one's.
    last: Cell<u32>,
}

impl Netlink {
    pub(super) fn open(family: SockProtocol) -> io::Result<Self> {
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, family)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(5, 0))?;
        Ok(Netlink { socket, last: Cell::new(0) })
    }

    /// Sends one request; what the answer says behind the netlink header, or nothing if there is only an
    /// acknowledgement.
    pub(super) fn ask(&self, kind: u16, body: &[u8]) -> io::Result<Vec<u8>> {
        let len = HEADER + body.len();
        let mut message = Vec::with_capacity(len);
        message.extend((len as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        let number = self.last.get().wrapping_add(1);
        self.last.set(number);
        message.extend(number.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        let fd = self.socket.as_raw_fd();
        sendto(fd, &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut answer = Vec::new();
        let mut room = vec![0; LONGEST];
        loop {
            let len = recv(fd, &mut room, MsgFlags::empty())?;
            let answers = messages(&room[..len.min(LONGEST)]).filter(|(_, to, _)| *to == number);
            for (kind, _, body) in answers {
                if kind != NLMSG_ERROR {
                    answer = body.to_vec();
                    continue;
                }
                let code = body.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
                return if code == 0 { Ok(answer) } else { Err(io::Error::from_raw_os_error(-code)) };
            }
        }
    }
}

pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = 4 + value.len();
    let mut bytes = Vec::with_capacity(len.next_multiple_of(4));
    bytes.extend((len as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(len.next_multiple_of(4), 0);
    bytes
}

pub(super) fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, value)
}

/// The attributes of a run of them: type, and value.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & NLA_TYPE_MASK;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The messages of one datagram: type, number of the request, and what follows the netlink header.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    std::iter::from_fn(move || {
        let len = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let number = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
        let body = bytes.get(HEADER..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, number, body))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_did_not_finish_ends_the_reading_and_never_panics() {
        let set = nested(3, &nested(1, &attribute(2, b"rx-gro\0")));
        for end in 0..set.len() {
            assert!(attributes(&set[..end]).count() <= 1, "{end}");
            assert!(messages(&set[..end]).count() <= 1, "{end}");
        }
        // Lengths of zero do not loop.
        assert_eq!(attributes(&[0; 8]).count(), 0);
        assert_eq!(messages(&[0; 32]).count(), 0);
    }
}
