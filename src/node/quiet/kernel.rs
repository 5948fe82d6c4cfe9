//! Reads what an interface does for the host, and sets what it is told, in `/proc`, `/sys` and by netlink.
//!
//! All of it concerns the network namespace of this process.

use super::ethtool::Ethtool;
use super::link;
use super::plan::{Change, Facts, Peer, SYSCTLS, Setting};
use nix::ifaddrs::getifaddrs;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The longest name of an interface, in bytes (`IFNAMSIZ` less the zero byte).
const LONGEST_NAME: usize = 15;

/// A way to the kernel's settings of interfaces.
pub(super) struct Kernel {
    /// `None` where the kernel has no `ethtool` family: it is older than Linux 5.6.
    ethtool: Option<Ethtool>,
}

impl Kernel {
    pub(super) fn open() -> Self {
        let ethtool = Ethtool::open().inspect_err(|why| {
            tracing::warn!(%why, "offloads of interfaces cannot be read; see ethtool -k");
        });
        Kernel { ethtool: ethtool.ok() }
    }

    /// Looks at an interface.
    ///
    /// # Errors
    /// There is no such interface, or the kernel does not tell of it.
    pub(super) fn facts(&self, interface: &str) -> io::Result<Facts> {
        let dir = directory(interface)?;
        let index = number(&dir, "ifindex")?;
        let linked = |prefix: &str| -> Vec<String> {
            let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            names.filter_map(|name| name.strip_prefix(prefix).map(str::to_owned)).collect()
        };
        let master = fs::read_link(dir.join("master")).ok();
        let master = master.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        let mut sysctls = BTreeMap::new();
        for (key, _) in SYSCTLS {
            if let Some(value) = told(&sysctl(interface, key), key.starts_with("ipv6/"))? {
                sysctls.insert(key.to_owned(), value.trim().to_owned());
            }
        }
        let table = |file: &str, may_miss| told(Path::new(file), may_miss).map(Option::unwrap_or_default);
        let mut routes = routes_v4(&table("/proc/net/route", false)?, interface);
        routes.extend(routes_v6(&table("/proc/net/ipv6_route", true)?, interface));
        Ok(Facts {
            interface: interface.to_owned(),
            index,
            inode: fs::metadata(&dir)?.ino(),
            addresses: addresses(interface)?,
            routes,
            master,
            uppers: linked("upper_"),
            sysctls,
            offloads: self.offloads(index),
            peer: if linked("lower_").is_empty() { self.peer(&dir, index) } else { Peer::None },
        })
    }

    /// The change, by the name that its interface has now; `None` if that is gone, whatever has its name.
    pub(super) fn today(&self, change: &Change) -> Option<Change> {
        let interface = match change.inode {
            0 => Some(change.interface.clone()),
            inode => name_where(|dir| fs::metadata(dir).is_ok_and(|meta| meta.ino() == inode)),
        }?;
        let index = directory(&interface).and_then(|dir| number(&dir, "ifindex")).ok()?;
        (index == change.index).then(|| Change { interface, ..change.clone() })
    }

    /// The current value of the setting that a change of [`Kernel::today`] makes.
    pub(super) fn current(&self, change: &Change) -> Option<String> {
        match &change.setting {
            Setting::Sysctl(key) => {
                Some(fs::read_to_string(sysctl(&change.interface, key)).ok()?.trim().to_owned())
            }
            Setting::Offload(name) => {
                let on = self.ethtool.as_ref()?.switchable(change.index).ok()?.contains(name);
                Some(if on { "on" } else { "off" }.to_owned())
            }
        }
    }

    /// Sets `value`, which is one of the two of the change.
    pub(super) fn set(&self, change: &Change, value: &str) -> io::Result<()> {
        match (&change.setting, &self.ethtool) {
            (Setting::Sysctl(key), _) => fs::write(sysctl(&change.interface, key), value),
            (Setting::Offload(name), Some(ethtool)) => ethtool.switch(change.index, name, value == "on"),
            (Setting::Offload(_), None) => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        }
    }

    fn offloads(&self, index: u32) -> BTreeSet<String> {
        self.ethtool.as_ref().and_then(|ethtool| ethtool.switchable(index).ok()).unwrap_or_default()
    }

    /// The other end of a pair: the interface that the kernel links it to.
    fn peer(&self, dir: &Path, index: u32) -> Peer {
        let Ok(link) = number(dir, "iflink") else { return Peer::None };
        if link == index || link == 0 {
            return Peer::None;
        }
        if link::leads_elsewhere(index).unwrap_or(true) {
            return Peer::OtherNamespace;
        }
        let others = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
        let linked = |dir: &Path| {
            number(dir, "ifindex").is_ok_and(|other| other == link)
                && number(dir, "iflink").is_ok_and(|back| back == index)
        };
        match others.map(|entry| entry.path()).find(|path| linked(path)) {
            Some(path) => Peer::Here {
                interface: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                index: link,
                inode: fs::metadata(&path).map_or(0, |meta| meta.ino()),
                offloads: self.offloads(link),
            },
            None => Peer::OtherNamespace,
        }
    }
}

/// The name of the interface with this number.
pub(super) fn named(index: u32) -> Option<String> {
    name_where(|dir| number(dir, "ifindex").is_ok_and(|number| number == index))
}

fn name_where(is_it: impl Fn(&Path) -> bool) -> Option<String> {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let dir = entries.map(|entry| entry.path()).find(|dir| is_it(dir))?;
    Some(dir.file_name()?.to_str()?.to_owned())
}

/// What tells this network namespace from others that exist at the same time.
pub(super) fn namespace() -> io::Result<u64> {
    Ok(fs::metadata("/proc/self/ns/net")?.ino())
}

/// Where the kernel shows an interface. A name that leads elsewhere is none.
fn directory(interface: &str) -> io::Result<PathBuf> {
    let all = Path::new("/sys/class/net");
    if !all.exists() {
        return Err(io::Error::other("/sys/class/net is not there; mount -t sysfs sysfs /sys"));
    }
    if interface.len() > LONGEST_NAME {
        return Err(io::Error::other(format!("its name has {} bytes, the kernel takes 15", interface.len())));
    }
    let dir = all.join(interface);
    let plain = !interface.is_empty() && !interface.contains('/') && interface != "." && interface != "..";
    if plain && dir.exists() { Ok(dir) } else { Err(io::Error::from_raw_os_error(libc::ENODEV)) }
}

fn number(dir: &Path, file: &str) -> io::Result<u32> {
    let text = fs::read_to_string(dir.join(file))?;
    text.trim().parse().map_err(|_| io::Error::from_raw_os_error(libc::EPROTO))
}

fn sysctl(interface: &str, key: &str) -> PathBuf {
    let (family, key) = key.split_once('/').unwrap_or((key, ""));
    Path::new("/proc/sys/net").join(family).join("conf").join(interface).join(key)
}

fn addresses(interface: &str) -> io::Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    // An IPv4 address may have a label behind the interface's name.
    let ours = |name: &str| name.split(':').next() == Some(interface);
    for entry in getifaddrs()?.filter(|entry| ours(&entry.interface_name)) {
        let Some(address) = entry.address else { continue };
        addresses.extend(address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip())));
        addresses.extend(address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())));
    }
    Ok(addresses)
}

/// Destinations of the lines of `/proc/net/route` that lead through the interface: the main table.
fn routes_v4(table: &str, interface: &str) -> Vec<String> {
    let route = |line: &str| {
        let mut fields = line.split_whitespace();
        let (name, destination) = (fields.next()?, fields.next()?);
        let mask = u32::from_str_radix(fields.nth(5)?, 16).ok()?;
        let destination = u32::from_str_radix(destination, 16).ok()?;
        let address = std::net::Ipv4Addr::from(destination.to_ne_bytes());
        let text = if mask == 0 { "default".into() } else { format!("{address}/{}", mask.count_ones()) };
        (name == interface).then_some(text)
    };
    table.lines().skip(1).filter_map(route).collect()
}

/// The same for `/proc/net/ipv6_route`, without what belongs to every interface.
fn routes_v6(table: &str, interface: &str) -> Vec<String> {
    /// Flags of a route for an address of the host itself, or one that refuses (`linux/ipv6_route.h`).
    const LOCAL_OR_REJECT: u32 = 0x8000_0000 | 0x0200;
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (destination, len, flags, name) =
            (fields.first()?, fields.get(1)?, fields.get(8)?, fields.get(9)?);
        let address = Ipv6Addr::from(u128::from_str_radix(destination, 16).ok()?);
        let len = u8::from_str_radix(len, 16).ok()?;
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let everybodys =
            address.is_unicast_link_local() || address.is_multicast() || flags & LOCAL_OR_REJECT != 0;
        let text = if len == 0 { "default".into() } else { format!("{address}/{len}") };
        (*name == interface && !everybodys).then_some(text)
    };
    table.lines().filter_map(route).collect()
}

/// What the kernel tells in a file; `None` if it has no such file and `may_miss`. Whoever takes an error for nothing to
/// tell silences the interface of somebody else, or leaves the kernel talking.
fn told(path: &Path, may_miss: bool) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(why) if may_miss && why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(io::Error::new(why.kind(), format!("{}: {why}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_one_interface_are_read_from_the_kernels_tables() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                  eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                  eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                  fab0\t000000E0\t00000000\t0001\t0\t0\t0\t000000F0\t0\t0\t0\n";
        assert_eq!(routes_v4(v4, "eth0"), ["default", "192.168.1.0/24"]);
        assert_eq!(routes_v4(v4, "eth"), [""; 0]);
        let line = |address: &str, len: &str, flags: &str, name: &str| {
            let zero = "0".repeat(32);
            format!("{address:0<32} {len} {zero} 00 {zero} 00000400 00000001 00000000 {flags} {name}\n")
        };
        let v6 = [
            line("fe80", "40", "00000001", "fab0"),
            line("fe80000000000000c867d5fffe079f6c", "80", "80200001", "fab0"),
            line("ff", "08", "00000001", "fab0"),
            line("", "00", "00450003", "fab0"),
            line("20010db8", "20", "00000003", "fab0"),
            line("20010db9", "20", "00000003", "fab1"),
        ];
        assert_eq!(routes_v6(&v6.concat(), "fab0"), ["default", "2001:db8::/32"]);
        assert_eq!(routes_v6(&v6.concat(), "fab"), [""; 0]);
    }

    #[test]
    fn the_loopback_interface_serves_the_host() {
        let facts = Kernel { ethtool: None }.facts("lo").unwrap();
        assert!(super::super::plan::occupied(&facts).is_some(), "{facts:?}");
        for wrong in ["", ".", "..", "../net/lo", "no-such-interface"] {
            assert!(Kernel { ethtool: None }.facts(wrong).is_err(), "{wrong}");
        }
    }
}
