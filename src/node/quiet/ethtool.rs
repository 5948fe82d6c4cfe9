//! Reads and switches offloads of interfaces by the generic netlink family `ethtool`
//! (`Documentation/networking/ethtool-netlink.rst` in the Linux source).

use super::netlink::{Netlink, attribute, attributes, nested};
use nix::sys::socket::SockProtocol;
use std::collections::BTreeSet;
use std::io;

/// `linux/genetlink.h`.
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
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
/// Bytes of the generic netlink header.
const HEADER: usize = 4;

/// A socket to the kernel's `ethtool` family.
pub(super) struct Ethtool {
    netlink: Netlink,
    family: u16,
}

impl Ethtool {
    /// Connects. The kernel has the family from Linux 5.6 on.
    ///
    /// # Errors
    /// The kernel refuses the socket, or has no such family (`ENOENT`).
    pub(super) fn open() -> io::Result<Self> {
        let netlink = Netlink::open(SockProtocol::NetlinkGeneric)?;
        let mut ethtool = Ethtool { netlink, family: GENL_ID_CTRL };
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
        let body = [&[command, 1, 0, 0], attributes].concat();
        let answer = self.netlink.ask(self.family, &body)?;
        Ok(answer.get(HEADER..).unwrap_or_default().to_vec())
    }
}

/// The header of a request: which interface, and flags.
fn header(index: u32, flags: u32) -> Vec<u8> {
    let mut header = attribute(HEADER_DEV_INDEX, &index.to_ne_bytes());
    header.extend(attribute(HEADER_FLAGS, &flags.to_ne_bytes()));
    nested(FEATURES_HEADER, &header)
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
        }
    }
}
