//! Reads of an interface what `/sys` does not tell: whether the other end of a pair is in another network namespace.
//! An interface of that number may be in this one all the same (rtnetlink(7), `linux/if_link.h` in the Linux source).

use super::netlink::{Netlink, attributes};
use nix::sys::socket::SockProtocol;
use std::io;

const RTM_GETLINK: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
/// Bytes of `struct ifinfomsg`.
const HEADER: usize = 16;

/// Whether the interface that this one is linked to is in another network namespace.
///
/// # Errors
/// There is no interface of this number, or the kernel does not tell of it.
pub(super) fn leads_elsewhere(index: u32) -> io::Result<bool> {
    let mut request = [0; HEADER];
    request[4..8].copy_from_slice(&index.to_ne_bytes());
    let answer = Netlink::open(SockProtocol::NetlinkRoute)?.ask(RTM_GETLINK, &request)?;
    let answer = answer.get(HEADER..).ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(attributes(answer).any(|(kind, _)| kind == IFLA_LINK_NETNSID))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_linked_to_none_leads_nowhere_and_one_that_is_not_there_is_an_error() {
        assert!(!leads_elsewhere(1).unwrap(), "the loopback interface has number 1 everywhere");
        assert!(leads_elsewhere(u32::MAX >> 1).is_err());
    }
}
