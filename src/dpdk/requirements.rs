//! What a virtual device needs of the machine, looked at before DPDK opens it: drivers often give no reason.
//!
//! Safe code: it reads `/proc` and `/sys`, and changes nothing.

use super::preflight::Refusal;
use crate::net::Mac;
use nix::sys::resource::{Resource, getrlimit};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Bits of `CapEff` in `/proc/self/status` (`linux/capability.h`).
const NET_ADMIN: (u32, &str) = (12, "CAP_NET_ADMIN");
const NET_RAW: (u32, &str) = (13, "CAP_NET_RAW");
const SYS_ADMIN: (u32, &str) = (21, "CAP_SYS_ADMIN");
const BPF: (u32, &str) = (39, "CAP_BPF");
/// The longest name of an interface, in bytes (`IFNAMSIZ` less the zero byte).
const LONGEST_INTERFACE: usize = 15;
/// The longest path of a Unix socket, in bytes.
const LONGEST_SOCKET: usize = 107;

/// Checks what the device needs.
///
/// # Errors
/// The first thing that is missing, with a way out.
pub(super) fn check(device: &str) -> Result<(), Refusal> {
    interface(device)?;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    capabilities(device, &status)?;
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
    let open = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    files(device, open, limit)?;
    if is(device, "net_tap") {
        let path = PathBuf::from("/dev/net/tun");
        if let Err(why) = fs::File::options().read(true).write(true).open(&path) {
            let way_out = "modprobe tun, and let the container or service have the file";
            return Err(Refusal::File { device: device.to_owned(), path, why: why.to_string(), way_out });
        }
    }
    socket(device)
}

/// What helps when a driver refuses: `said` is DPDK's log of it.
pub(super) fn probe_way_out(name: &str, said: &str) -> String {
    if !name.starts_with("net_") && !name.starts_with("eth_") {
        return "list its pci address with those that dpdk may use, and bind it with dpdk-devbind.py --bind=vfio-pci"
            .into();
    }
    // No bus takes the name of a virtual device without a driver.
    if said.contains("failed to parse device") || said.contains("no driver found") {
        return "its driver is not installed: apt install librte-meta-all".into();
    }
    format!(
        "see what dpdk says, and the arguments that {} takes",
        name.trim_end_matches(|c: char| c.is_ascii_digit())
    )
}

/// Whether a device of this kind can be taken away from workers and be opened again.
pub(super) fn can_reopen(device: &str) -> bool {
    let always = ["net_af_packet", "net_af_xdp", "net_memif", "net_tap"];
    always.iter().any(|driver| is(device, driver)) || connects_to(device).is_some()
}

/// The socket of the peer to which a device connects when it is opened, and never again.
pub(super) fn connects_to(device: &str) -> Option<&Path> {
    let path = Path::new(argument(device, "path=").filter(|_| is(device, "net_virtio_user"))?);
    // The kernel's own vhost is a character device.
    (argument(device, "server=") != Some("1") && !path.starts_with("/dev")).then_some(path)
}

/// The device string that gives the device this MAC address, where a string does.
pub(super) fn with_mac(device: &str, mac: Mac) -> String {
    match connects_to(device) {
        Some(_) if argument(device, "mac=").is_none() => format!("{device},mac={mac}"),
        _ => device.to_owned(),
    }
}

/// The MAC address that a device string gives.
pub(super) fn given_mac(device: &str) -> Option<Mac> {
    argument(device, "mac=")?.parse().ok()
}

/// Whether the device starts only when its peer is there.
pub(super) fn waits_for_peer(device: &str) -> bool {
    is(device, "net_memif") && !matches!(argument(device, "role="), Some("server" | "master"))
}

/// What gives a device a MAC address if its driver cannot set one.
pub(super) fn mac_way_out(device: &str, mac: Mac) -> String {
    if let Some(interface) = kernel_interface(device) {
        return format!(
            "leave `mac` out, and before the start type: ip link set dev {interface} address {mac}"
        );
    }
    if is(device, "net_memif") || is(device, "net_virtio_user") {
        return format!("leave `mac` out, and write it in the device: {device},mac={mac}");
    }
    "leave `mac` out: this driver has an address that cannot be set; those of NICs, net_af_packet and net_tap can".into()
}

/// Name and MTU in bytes of the kernel interface of a virtual device.
pub(super) fn interface_mtu(device: &str) -> Option<(String, u32)> {
    let interface = kernel_interface(device)?;
    let text = fs::read_to_string(Path::new("/sys/class/net").join(interface).join("mtu")).ok()?;
    Some((interface.to_owned(), text.trim().parse().ok()?))
}

/// Gives the interface of the kernel under a device this MAC address, where there is one.
pub(super) fn set_interface_mac(device: &str, mac: Mac) -> io::Result<()> {
    let Some(interface) = kernel_interface(device) else { return Ok(()) };
    super::interface::set_mac(interface, mac)
}

/// The kernel interface that a virtual device uses; `None` for a device that uses none or creates its own.
fn kernel_interface(device: &str) -> Option<&str> {
    argument(device, "iface=").filter(|_| is(device, "net_af_packet") || is(device, "net_af_xdp"))
}

fn argument<'a>(device: &'a str, key: &str) -> Option<&'a str> {
    device.split(',').skip(1).find_map(|argument| argument.strip_prefix(key))
}

fn is(device: &str, driver: &str) -> bool {
    let bare = |name: &str| name.get(4..).unwrap_or_default().to_owned();
    device.starts_with(driver) || (device.starts_with("eth_") && bare(device).starts_with(&bare(driver)))
}

fn interface(device: &str) -> Result<(), Refusal> {
    let named =
        argument(device, "iface=").filter(|_| is(device, "net_tap")).or_else(|| kernel_interface(device));
    let Some(interface) = named else { return Ok(()) };
    let (interface, device_string) = (interface.to_owned(), device.to_owned());
    if interface.is_empty() || interface.len() > LONGEST_INTERFACE {
        return Err(Refusal::InterfaceName { interface, device: device_string });
    }
    if kernel_interface(device).is_none() {
        return Ok(());
    }
    let interfaces = Path::new("/sys/class/net");
    if !interfaces.exists() {
        return Err(Refusal::NoSysfs);
    }
    if !interfaces.join(&interface).exists() {
        return Err(Refusal::NoInterface { interface, device: device_string });
    }
    Ok(())
}

/// Holds the effective capabilities in the text of `/proc/self/status` against what the device needs.
fn capabilities(device: &str, status: &str) -> Result<(), Refusal> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(effective) = line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()) else {
        return Ok(());
    };
    let has = |(bit, _): (u32, &str)| effective >> bit & 1 == 1;
    let needed: &[(u32, &'static str)] = match () {
        () if is(device, "net_af_packet") => &[NET_RAW],
        () if is(device, "net_tap") => &[NET_ADMIN],
        () if is(device, "net_af_xdp") && has(SYS_ADMIN) => &[NET_ADMIN, NET_RAW],
        () if is(device, "net_af_xdp") => &[NET_ADMIN, NET_RAW, BPF],
        () => &[],
    };
    match needed.iter().find(|capability| !has(**capability)) {
        Some((_, capability)) => Err(Refusal::Capability { device: device.to_owned(), capability }),
        None => Ok(()),
    }
}

/// Whether the device may open as many files as it does.
fn files(device: &str, open: u64, limit: u64) -> Result<(), Refusal> {
    let number = |key| argument(device, key).and_then(|text| text.parse::<u64>().ok()).unwrap_or(1);
    // A socket for each queue, and a few for ioctls and netlink.
    let needed = match () {
        () if is(device, "net_af_packet") => number("qpairs=") + 2,
        () if is(device, "net_af_xdp") => 4 * number("queue_count=") + 8,
        () if is(device, "net_tap") || is(device, "net_memif") || is(device, "net_vhost") => 8,
        () => 0,
    };
    if open + needed <= limit {
        return Ok(());
    }
    Err(Refusal::Files { device: device.to_owned(), needed, open, limit })
}

/// Whether there can be the socket by which a device meets its peer.
fn socket(device: &str) -> Result<(), Refusal> {
    let path = match () {
        // Others of its sockets are abstract, and in no directory.
        () if is(device, "net_memif") && argument(device, "socket-abstract=") == Some("no") => {
            argument(device, "socket=")
        }
        () if is(device, "net_vhost") => argument(device, "iface="),
        () if is(device, "net_virtio_user") => argument(device, "path="),
        () => None,
    };
    // A name that begins with @ is in no directory.
    let Some(path) = path.filter(|path| !path.starts_with('@')).map(PathBuf::from) else { return Ok(()) };
    if path.as_os_str().len() > LONGEST_SOCKET {
        return Err(Refusal::SocketPath { device: device.to_owned(), path });
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => Err(Refusal::File {
            device: device.to_owned(),
            path: parent.to_owned(),
            why: "no such directory".into(),
            way_out: "make it before the node starts",
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(result: Result<(), Refusal>) -> String {
        result.map_or_else(|refusal| refusal.to_string(), |()| String::new())
    }

    #[test]
    fn an_interface_must_exist_under_a_name_that_the_kernel_takes() {
        assert_eq!(text(interface("net_af_packet0,iface=lo")), "");
        assert!(text(interface("net_af_packet0,iface=no-such-if")).contains("no-such-if"));
        assert!(text(interface("eth_af_packet0,iface=no-such-if")).contains("no-such-if"));
        assert_eq!(text(interface("net_tap0,iface=no-such-if")), "");
        for device in
            ["net_tap0,iface=abcdefghijklmnop", "net_af_packet0,iface=abcdefghijklmnop", "net_tap0,iface="]
        {
            assert!(text(interface(device)).contains("the kernel takes 1 to 15"), "{device}");
        }
    }

    #[test]
    fn a_capability_that_is_missing_is_named() {
        let status =
            |bits: &[u32]| format!("Name:\tx\nCapEff:\t{:016x}\n", bits.iter().fold(0u64, |s, b| s | 1 << b));
        for (device, bits, missing) in [
            ("net_af_packet0,iface=lo", &[12, 21][..], "CAP_NET_RAW"),
            ("net_tap0", &[13, 21], "CAP_NET_ADMIN"),
            ("net_af_xdp0,iface=lo", &[12, 13], "CAP_BPF"),
            ("net_af_xdp0,iface=lo", &[21], "CAP_NET_ADMIN"),
        ] {
            let text = text(capabilities(device, &status(bits)));
            assert!(text.contains(&format!("needs {missing}, which this process lacks")), "{device}: {text}");
        }
        for (device, bits) in
            [("net_af_packet0,iface=lo", &[13][..]), ("net_tap0", &[12]), ("net_null0", &[])]
        {
            assert_eq!(capabilities(device, &status(bits)), Ok(()), "{device}");
        }
        assert_eq!(capabilities("net_af_xdp0", &status(&[12, 13, 21])), Ok(()));
        assert_eq!(capabilities("net_tap0", "no such line"), Ok(()));
    }

    #[test]
    fn a_limit_of_open_files_is_named_with_one_that_suffices() {
        let text = text(files("net_af_packet0,qpairs=8,iface=lo", 60, 64));
        assert!(text.contains("has 60 of 64: ulimit -n 134"), "{text}");
        assert_eq!(files("net_af_packet0,iface=lo", 60, 64), Ok(()));
        assert_eq!(files("net_null0", 64, 64), Ok(()));
    }

    #[test]
    fn a_socket_needs_its_directory_and_a_path_that_fits() {
        let memif = "net_memif0,socket=/no-such-dir/m,socket-abstract=no";
        assert!(text(socket(memif)).contains("/no-such-dir: no such directory"));
        let long = format!("net_vhost0,iface=/{}", "x".repeat(107));
        assert!(text(socket(&long)).contains("has 108 bytes"), "{}", text(socket(&long)));
        for right in [
            "net_memif0,socket=/tmp/m,socket-abstract=no",
            "net_memif0,socket=/no/dir/m",
            "net_memif0,socket=@/no/dir",
            "net_memif0",
            "net_tap0,iface=x",
        ] {
            assert_eq!(text(socket(right)), "", "{right}");
        }
    }

    #[test]
    fn only_a_virtio_user_client_connects_when_it_is_opened_and_keeps_its_address_by_its_string() {
        let client = "net_virtio_user0,path=/run/v.sock,queues=1";
        assert_eq!(connects_to(client), Some(Path::new("/run/v.sock")));
        for other in [
            "net_virtio_user0,path=/run/v.sock,server=1",
            "net_virtio_user0,path=/dev/vhost-net,iface=tap0",
            "net_virtio_user0",
            "net_vhost0,iface=/run/v.sock",
            "net_memif0,path=/run/v.sock",
        ] {
            assert_eq!(connects_to(other), None, "{other}");
            assert_eq!(with_mac(other, Mac([2, 0, 0, 0, 0, 1])), other);
        }
        let with = with_mac(client, Mac([2, 0, 0, 0, 0, 1]));
        assert_eq!(with, format!("{client},mac=02:00:00:00:00:01"));
        assert_eq!((given_mac(client), given_mac(&with)), (None, Some(Mac([2, 0, 0, 0, 0, 1]))));
        assert_eq!(with_mac(&with, Mac([2, 0, 0, 0, 0, 9])), with, "what the configuration says counts");
        assert!(
            can_reopen(client) && can_reopen("eth_af_packet0,iface=x") && !can_reopen("net_vhost0,iface=/s")
        );
    }

    #[test]
    fn where_a_driver_sets_no_mac_address_something_else_does_or_nothing() {
        let of = |device| mac_way_out(device, Mac([2, 0, 0, 0, 0, 1]));
        assert!(of("net_af_xdp0,iface=fab0").ends_with("ip link set dev fab0 address 02:00:00:00:00:01"));
        assert!(of("net_memif0,id=1").ends_with("net_memif0,id=1,mac=02:00:00:00:00:01"));
        assert!(of("net_ring0").contains("cannot be set"));
    }

    #[test]
    fn a_missing_driver_is_suggested_only_where_there_is_none() {
        let missing = "; DPDK says: EAL: failed to parse device \"net_memif0\"";
        assert!(probe_way_out("net_memif0", missing).contains("apt install librte-meta-all"));
        let refused = "; DPDK says: memif: something else";
        assert_eq!(
            probe_way_out("net_memif0", refused),
            "see what dpdk says, and the arguments that net_memif takes"
        );
        assert!(probe_way_out("0000:3b:00.1", "").contains("dpdk-devbind.py"));
    }
}
