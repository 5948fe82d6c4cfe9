//! What the text of `ports[].device` says: a PCI address or a virtual device of DPDK, with arguments.

/// Virtual devices of DPDK 22.11 that carry packets, and the older names that DPDK takes as well. A device is one of
/// these with anything behind it: `net_tap0`.
const VIRTUAL: [&str; 24] = [
    "net_af_packet",
    "net_af_xdp",
    "net_bonding",
    "net_enetfec",
    "net_failsafe",
    "net_kni",
    "net_memif",
    "net_mvneta",
    "net_mvpp2",
    "net_null",
    "net_pcap",
    "net_pfe",
    "net_ring",
    "net_softnic",
    "net_tap",
    "net_tun",
    "net_vdev_netvsc",
    "net_vhost",
    "net_virtio_user",
    "eth_af_packet",
    "eth_null",
    "eth_pcap",
    "eth_ring",
    "eth_vhost",
];

/// The beginnings of names on other buses of DPDK: Scalable Functions, NXP's DPAA2 and DPAA.
const OTHER_BUSES: [&str; 3] = ["auxiliary:", "dpni.", "fm"];

/// The name of a device: what stands before its arguments.
#[must_use]
pub fn name(device: &str) -> &str {
    device.split(',').next().unwrap_or(device)
}

/// The value of an argument of a device; `None` if it is not there.
#[must_use]
pub fn argument<'a>(device: &'a str, key: &str) -> Option<&'a str> {
    arguments(device, key).next()
}

fn arguments<'a>(device: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    device.split(',').skip(1).filter_map(move |part| part.strip_prefix(key)?.strip_prefix('='))
}

/// The PCI address that a device begins with, in full as `0000:3b:00.1`, if it does.
#[must_use]
pub fn pci_address(device: &str) -> Option<&str> {
    let name = name(device);
    let digits = |text: &str, len: usize| text.len() == len && text.bytes().all(|c| c.is_ascii_hexdigit());
    let [domain, bus, slot] = name.split(':').collect::<Vec<_>>().try_into().ok()?;
    let (slot, function) = slot.split_once('.')?;
    (digits(domain, 4) && digits(bus, 2) && digits(slot, 2) && digits(function, 1)).then_some(name)
}

/// The driver of a virtual device, by the name that it has today.
#[must_use]
pub fn driver(device: &str) -> Option<&'static str> {
    let name = name(device);
    let driver =
        VIRTUAL.iter().filter(|driver| name.starts_with(**driver)).max_by_key(|driver| driver.len())?;
    let today = |old: &&str| VIRTUAL.iter().find(|new| new.strip_prefix("net_") == old.strip_prefix("eth_"));
    Some(if driver.starts_with("eth_") { today(driver).unwrap_or(driver) } else { driver })
}

/// Whether DPDK could have a device of this name.
#[must_use]
pub fn is_known(device: &str) -> bool {
    let other = |bus: &str| name(device).strip_prefix(bus).is_some_and(|rest| !rest.is_empty());
    pci_address(device).is_some() || driver(device).is_some() || OTHER_BUSES.iter().any(|bus| other(bus))
}

/// The interfaces of the kernel that a virtual device works on; none for one that has none or makes its own.
#[must_use]
pub fn kernel_interfaces(device: &str) -> Vec<&str> {
    let keys: &[&str] = match driver(device) {
        Some("net_af_packet" | "net_af_xdp") => &["iface"],
        Some("net_pcap") => &["iface", "rx_iface", "rx_iface_in", "tx_iface"],
        Some("net_tap") => &["remote"],
        _ => &[],
    };
    let mut interfaces: Vec<&str> = keys.iter().flat_map(|key| arguments(device, key)).collect();
    interfaces.sort_unstable();
    interfaces.dedup();
    interfaces
}

/// Whether the device lets its peer map the memory of buffers, so that nothing is copied.
#[must_use]
pub fn shares_memory(device: &str) -> bool {
    driver(device) == Some("net_memif") && argument(device, "zero-copy") == Some("yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memif_shares_memory_only_where_it_is_told_to() {
        assert!(shares_memory("net_memif0,role=client,zero-copy=yes"));
        for other in ["net_memif0", "net_memif0,zero-copy=no", "net_tap0,zero-copy=yes"] {
            assert!(!shares_memory(other), "{other}");
        }
    }

    #[test]
    fn pci_addresses_are_told_from_virtual_devices() {
        assert_eq!(pci_address("0000:3b:00.1"), Some("0000:3b:00.1"));
        assert_eq!(pci_address("0000:3b:00.1,arg=1"), Some("0000:3b:00.1"));
        for other in ["net_af_packet0,iface=fab0", "3b:00.1", "0000:3b:00", "net_x:1:2.3"] {
            assert_eq!(pci_address(other), None, "{other}");
        }
    }

    #[test]
    fn a_device_has_its_driver_by_the_beginning_of_its_name() {
        assert_eq!(driver("net_af_packet0,iface=fab0"), Some("net_af_packet"));
        assert_eq!(driver("eth_pcap0,iface=fab0"), Some("net_pcap"));
        assert_eq!(driver("net_af_xdp_fabric"), Some("net_af_xdp"));
        for none in ["acc0", "0000:3b:00.1", "net_afpacket0", "", ",net_tap0"] {
            assert_eq!(driver(none), None, "{none}");
        }
    }

    #[test]
    fn names_that_dpdk_cannot_have_are_unknown() {
        for known in
            ["0000:3b:00.1,x=1", "net_tap0", "auxiliary:mlx5_core.sf.3", "dpni.1", "fm1-mac3", "eth_ring0"]
        {
            assert!(is_known(known), "{known}");
        }
        for unknown in ["acc0", "eth0", "tap0", "net_afpacket0,iface=x", "3b:00.1", "dpni.", "iface=acc0"] {
            assert!(!is_known(unknown), "{unknown}");
        }
    }

    #[test]
    fn interfaces_of_the_kernel_are_those_that_a_device_reads_or_writes() {
        assert_eq!(kernel_interfaces("net_af_packet0,qpairs=2,iface=fab0"), ["fab0"]);
        assert_eq!(kernel_interfaces("net_af_xdp0,iface=fab0,start_queue=0"), ["fab0"]);
        assert_eq!(kernel_interfaces("net_pcap0,rx_iface=a,tx_iface=b,tx_iface=a"), ["a", "b"]);
        assert_eq!(kernel_interfaces("net_tap0,iface=tap0,remote=eth1"), ["eth1"]);
        for none in
            ["net_tap0,iface=tap0", "net_memif0,iface=x", "0000:3b:00.1,iface=x", "net_pcap0,rx_pcap=f"]
        {
            assert_eq!(kernel_interfaces(none), [""; 0], "{none}");
        }
    }
}
