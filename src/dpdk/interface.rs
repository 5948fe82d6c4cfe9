//! The MAC address of an interface of the kernel, for devices whose driver does not set it.

#![allow(unsafe_code)]

use crate::net::Mac;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::{fs, io};

/// Gives an interface this MAC address, unless it has it.
pub(super) fn set_mac(interface: &str, mac: Mac) -> io::Result<()> {
    let path = Path::new("/sys/class/net").join(interface).join("address");
    if fs::read_to_string(path)?.trim() == mac.to_string() {
        return Ok(());
    }
    // SAFETY: all bytes zero are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero: a name that was cut is none of the kernel's.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name.iter_mut().take(room).zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    let mut address = libc::sockaddr { sa_family: libc::ARPHRD_ETHER, sa_data: [0; 14] };
    for (to, from) in address.sa_data.iter_mut().zip(mac.0) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_hwaddr = address;
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: the socket is open, and `request` is an `ifreq` with a name and an address, as this request takes it.
    let code = unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCSIFHWADDR, &request) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_has_the_address_is_left_alone_and_one_that_is_not_there_is_an_error() {
        assert_eq!(set_mac("lo", Mac([0; 6])).map_err(|why| why.to_string()), Ok(()));
        assert!(set_mac("no-such-if", Mac([2, 0, 0, 0, 0, 1])).is_err());
    }
}
