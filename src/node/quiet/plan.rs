//! What must change at an interface so that the kernel leaves it to the node, given what is there.
//!
//! Pure decisions: this file reads and writes nothing. The settings of IPv4 are those of
//! `Documentation/networking/ip-sysctl.rst` in the Linux source.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Who must find these settings, in this order, so that the kernel does not answer.
///
/// Without IPv6 the kernel takes and sends no IPv6 packet there. IPv4 cannot be switched off: on an interface without
/// an IPv4 address `rp_filter` finds no source to be right and drops every packet that could be answered. `arp_ignore`
/// answers no ARP request.
pub(super) const SYSCTLS: [(&str, &str); 4] =
    [("ipv6/disable_ipv6", "1"), ("ipv4/forwarding", "0"), ("ipv4/rp_filter", "1"), ("ipv4/arp_ignore", "8")];

/// Receive offloads that join frames of the wire to longer ones.
const JOINING: [&str; 5] = ["rx-gro", "rx-lro", "rx-gro-hw", "rx-gro-list", "rx-udp-gro-forwarding"];

/// Something of an interface that can be set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Setting {
    /// A key below `/proc/sys/net` with its family, without the interface: `ipv4/forwarding`.
    Sysctl(String),
    /// An offload by its name in the kernel: `rx-gro`. It is `on` or `off`.
    Offload(String),
}

/// One setting of one interface, from what it was to what it has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    pub(super) interface: String,
    /// The kernel's number of the interface.
    pub(super) index: u32,
    /// Its inode in `/sys`, whatever its name: see [`Facts`]. 0 if an earlier version wrote the record.
    #[serde(default)]
    pub(super) inode: u64,
    pub(super) setting: Setting,
    pub(super) before: String,
    pub(super) after: String,
}

impl Change {
    /// The change that takes this one back.
    pub(super) fn reversed(&self) -> Change {
        Change { before: self.after.clone(), after: self.before.clone(), ..self.clone() }
    }
}

impl fmt::Display for Change {
    /// The command that makes this change.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.setting {
            Setting::Sysctl(key) => {
                let (family, key) = key.split_once('/').unwrap_or(("", key));
                // An interface may have a dot in its name, which sysctl takes for a slash.
                write!(f, "sysctl -w net/{family}/conf/{}/{key}={}", self.interface, self.after)
            }
            Setting::Offload(name) => write!(f, "ethtool -K {} {name} {}", self.interface, self.after),
        }
    }
}

/// The other end of an interface that is one of a pair (veth).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Peer {
    /// It is no pair.
    #[default]
    None,
    /// The other end is in this network namespace.
    Here { interface: String, index: u32, inode: u64, offloads: BTreeSet<String> },
    /// The other end is in another network namespace.
    OtherNamespace,
}

/// What an interface shows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facts {
    pub(super) interface: String,
    pub(super) index: u32,
    /// The inode of its directory in `/sys`: an interface keeps it when it is renamed, and a new one has another.
    pub(super) inode: u64,
    /// Its addresses with their prefix lengths, where the kernel tells these.
    pub(super) addresses: Vec<IpAddr>,
    /// Destinations of routes through it, in words, without those of link-local and multicast addresses.
    pub(super) routes: Vec<String>,
    /// The bridge, bond or VRF that it belongs to.
    pub(super) master: Option<String>,
    /// Interfaces on top of it: VLANs, macvlans.
    pub(super) uppers: Vec<String>,
    /// Current values by the keys of [`SYSCTLS`]; those that this kernel does not have are missing.
    pub(super) sysctls: BTreeMap<String, String>,
    /// Offloads that are on and can be switched off.
    pub(super) offloads: BTreeSet<String>,
    pub(super) peer: Peer,
}

/// What an interface does for the host, so that it is no port; nothing if it may be one. A sentence with a way out.
///
/// An interface with more than its automatic link-local address may be the operator's way to this host: it is never
/// silenced. And what the kernel did not make itself does not come back with IPv6: a link-local address like fe80::1.
pub(super) fn occupied(facts: &Facts) -> Option<String> {
    let name = &facts.interface;
    // The kernel makes one, of a MAC address with ff:fe in the middle, or of random bits.
    let made = |v6: &Ipv6Addr| v6.is_unicast_link_local() && v6.to_bits() as u64 >> 32 != 0;
    let mut one = true;
    let mut automatic =
        |address: &IpAddr| matches!(address, IpAddr::V6(v6) if made(v6)) && std::mem::take(&mut one);
    let own: Vec<_> =
        facts.addresses.iter().filter(|address| !automatic(address)).map(ToString::to_string).collect();
    // What a router advertises comes again, also between the end of a node and its next start, unless IPv6 is off.
    let no_ipv6 = format!("sysctl -w net/ipv6/conf/{name}/disable_ipv6=1");
    if !own.is_empty() {
        return Some(format!(
            "has addresses of this host ({}); name an interface of its own for the port, or give it up for good: \
             {no_ipv6}; ip addr flush dev {name}",
            own.join(", ")
        ));
    }
    if !facts.routes.is_empty() {
        return Some(format!(
            "has routes of this host ({}); name an interface of its own for the port, or give it up for good: \
             {no_ipv6}; ip route flush dev {name}",
            facts.routes.join(", ")
        ));
    }
    if let Some(master) = &facts.master {
        return Some(format!(
            "belongs to {master} of this host; name an interface of its own for the port, or take it out: \
             ip link set {name} nomaster"
        ));
    }
    if let Some(upper) = facts.uppers.first() {
        return Some(format!(
            "carries {} of this host; name an interface of its own for the port, or remove that: ip link del {upper}",
            facts.uppers.join(", ")
        ));
    }
    None
}

/// The changes that keep the kernel away, in the order in which they are made.
pub(super) fn changes(facts: &Facts) -> Vec<Change> {
    let own = (facts.interface.as_str(), facts.index, facts.inode);
    let change = |(interface, index, inode): (&str, u32, u64), setting, before: &str, after: &str| Change {
        interface: interface.to_owned(),
        index,
        inode,
        setting,
        before: before.to_owned(),
        after: after.to_owned(),
    };
    let mut changes = Vec::new();
    for (key, after) in SYSCTLS {
        if let Some(before) = facts.sysctls.get(key).filter(|before| *before != after) {
            let setting = Setting::Sysctl(key.to_owned());
            changes.push(change(own, setting, before, after));
        }
    }
    let off = |whose, name: &String| change(whose, Setting::Offload(name.clone()), "on", "off");
    let joining = facts.offloads.iter().filter(|name| JOINING.contains(&name.as_str()));
    changes.extend(joining.map(|name| off(own, name)));
    if let Peer::Here { interface, index, inode, offloads } = &facts.peer {
        let unfinished = offloads.iter().filter(|name| leaves_unfinished(name));
        changes.extend(unfinished.map(|name| off((interface, *index, *inode), name)));
    }
    changes
}

/// Whether a transmit offload leaves checksums or segments to the device, which a pair does not finish.
fn leaves_unfinished(offload: &str) -> bool {
    let segments = offload.ends_with("-segmentation") && offload != "tx-generic-segmentation";
    offload.starts_with("tx-")
        && (offload.starts_with("tx-checksum-") || segments || offload == "tx-gso-list")
}

/// Joins what an earlier run changed and did not restore with what is to change now: what was before the first of them
/// is what comes back in the end.
pub(super) fn merge(earlier: Vec<Change>, now: Vec<Change>) -> Vec<Change> {
    let same = |a: &Change, b: &Change| {
        let one = if a.inode == 0 { a.interface == b.interface } else { a.inode == b.inode };
        one && a.index == b.index && a.setting == b.setting
    };
    let mut merged = earlier;
    for change in now {
        // The operator set it meanwhile: that is what it was before.
        merged.retain(|old| !same(old, &change));
        merged.push(change);
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let sysctls = [
            ("ipv6/disable_ipv6", "0"),
            ("ipv4/forwarding", "1"),
            ("ipv4/rp_filter", "2"),
            ("ipv4/arp_ignore", "0"),
        ];
        Facts {
            interface: "fab0".into(),
            index: 7,
            inode: 17,
            addresses: vec!["fe80::c867:d5ff:fe07:9f6c".parse().unwrap()],
            sysctls: sysctls.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ..Facts::default()
        }
    }

    fn commands(facts: &Facts) -> Vec<String> {
        changes(facts).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_interface_with_only_its_automatic_address_is_silenced() {
        assert_eq!(occupied(&facts()), None);
        let wanted = [
            "sysctl -w net/ipv6/conf/fab0/disable_ipv6=1",
            "sysctl -w net/ipv4/conf/fab0/forwarding=0",
            "sysctl -w net/ipv4/conf/fab0/rp_filter=1",
            "sysctl -w net/ipv4/conf/fab0/arp_ignore=8",
        ];
        assert_eq!(commands(&facts()), wanted);
    }

    #[test]
    fn what_is_as_it_has_to_be_is_not_touched() {
        let mut quiet = facts();
        quiet.sysctls = SYSCTLS.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        quiet.sysctls.remove("ipv6/disable_ipv6");
        assert!(changes(&quiet).is_empty(), "a kernel without IPv6 has nothing to switch off");
    }

    #[test]
    fn an_interface_that_serves_the_host_is_refused_with_a_way_out() {
        let refused = |change: &dyn Fn(&mut Facts)| {
            let mut facts = facts();
            change(&mut facts);
            occupied(&facts).unwrap()
        };
        for address in ["192.0.2.1", "169.254.1.1", "127.0.0.1", "2001:db8::1", "fd00::1", "::1", "fe80::1"] {
            let text = refused(&|facts| facts.addresses.push(address.parse().unwrap()));
            assert!(text.contains(address) && text.ends_with("ip addr flush dev fab0"), "{text}");
            assert!(!text.contains("fe80::c867"), "the automatic address is no reason: {text}");
            // Or the next advertisement of a router gives it one again.
            assert!(text.contains("sysctl -w net/ipv6/conf/fab0/disable_ipv6=1"), "{text}");
        }
        let text = refused(&|facts| facts.addresses.push("fe80::ff:fe00:1".parse().unwrap()));
        assert!(text.contains("(fe80::ff:fe00:1)"), "the kernel makes one: {text}");
        let text = refused(&|facts| facts.routes.push("default".into()));
        assert!(text.contains("routes of this host (default)") && text.ends_with("ip route flush dev fab0"));
        let text = refused(&|facts| facts.master = Some("br0".into()));
        assert!(text.contains("br0") && text.ends_with("ip link set fab0 nomaster"), "{text}");
        let text = refused(&|facts| facts.uppers.push("fab0.10".into()));
        assert!(text.contains("carries fab0.10") && text.ends_with("ip link del fab0.10"), "{text}");
    }

    #[test]
    fn frames_are_neither_joined_on_arrival_nor_left_unfinished_at_the_other_end() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let mut facts = facts();
        facts.sysctls.clear();
        facts.offloads =
            names(&["rx-gro", "rx-checksum", "tx-checksum-ip-generic", "tx-generic-segmentation"]);
        assert_eq!(commands(&facts), ["ethtool -K fab0 rx-gro off"]);
        let peer = [
            "rx-gro",
            "tx-checksum-ip-generic",
            "tx-generic-segmentation",
            "tx-tcp6-segmentation",
            "tx-vlan-hw-insert",
        ];
        facts.peer = Peer::Here { interface: "sw0".into(), index: 8, inode: 18, offloads: names(&peer) };
        let wanted = [
            "ethtool -K fab0 rx-gro off",
            "ethtool -K sw0 tx-checksum-ip-generic off",
            "ethtool -K sw0 tx-tcp6-segmentation off",
        ];
        assert_eq!(commands(&facts), wanted);
        facts.peer = Peer::OtherNamespace;
        assert_eq!(commands(&facts).len(), 1);
    }

    #[test]
    fn what_was_there_before_the_first_of_two_runs_comes_back() {
        let first = changes(&facts());
        // The second run finds everything as the first one left it.
        assert_eq!(merge(first.clone(), Vec::new()), first);
        // An operator who changed something meanwhile gets that back.
        let mut again = first[2].clone();
        again.before = "0".into();
        let merged = merge(first.clone(), vec![again.clone()]);
        assert_eq!((merged.len(), merged.last()), (first.len(), Some(&again)));
        // A new interface of the same name is another one, also with the same number. A new name makes no new one.
        let other = |change: &Change| Change { inode: 99, ..change.clone() };
        assert_eq!(merge(first.clone(), vec![other(&first[0])]).len(), first.len() + 1);
        let renamed = Change { interface: "fab9".into(), ..first[0].clone() };
        assert_eq!(merge(first.clone(), vec![renamed.clone()]).len(), first.len());
        // Of a record without inodes the name tells.
        let old = |change: &Change| Change { inode: 0, ..change.clone() };
        assert_eq!(merge(vec![old(&first[0])], vec![first[0].clone()]).len(), 1);
        assert_eq!(merge(vec![old(&first[0])], vec![renamed]).len(), 2);
    }
}
