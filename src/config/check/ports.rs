//! Rules of ports: devices, addresses, sizes and router advertisements.

use super::super::device::{is_known, shares_memory};
use super::super::model::{
    Dpdk, External, FRAME_OVERHEAD_BYTES, HEADROOM_BYTES, Mbufs, Port, PortAddress, Promiscuous, Role,
    RouterAdvertisement,
};
use super::super::raw::{RawAdvertisement, RawConfig, RawPort, Text};
use super::edges::external;
use super::rules::{Domains, Locators};
use super::scope::{Check, Scope, Seen, WORD, entries, unicast_mac};
use crate::ila::{Identifier, IdentifierType, SirPrefix};
use crate::net::Ipv6Prefix;
use crate::net::ipv6::{is_ipv4_in_ipv6, is_link_local, is_multicast};
use std::net::Ipv6Addr;

/// Most ports of a node.
const MAX_PORTS: usize = 64;

/// The ports of the file, in its order; a port with errors is there with stand-ins.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(super) list: Vec<Port>,
    /// Whether every name could be read and is unique. Otherwise a name that is not found may be one with an
    /// error.
    names: bool,
    /// Whether all roles could be read.
    pub(super) roles: bool,
    /// Whether all addresses could be read, so that what is not on-link is wrong.
    pub(super) addresses: bool,
}

impl Ports {
    /// Ports with these names and nothing against them: an authority knows no more of those of a node.
    pub(in crate::config) fn named_only(names: impl IntoIterator<Item = String>) -> Self {
        let port = |name| Port {
            name,
            device: String::new(),
            role: Role::Access,
            mac: None,
            queues: 1,
            descriptors: 0,
            mtu: u16::MAX,
            addresses: Vec::new(),
            promiscuous: Promiscuous::Auto,
            vlan: None,
            router_advertisement: None,
            external: External::default(),
        };
        let list = names.into_iter().map(port).collect();
        Ports { list, names: true, roles: true, addresses: true }
    }

    /// Finds the port that a required key names; reports a name that is not there.
    pub(super) fn named(&self, s: &mut Scope<'_>, key: &str, field: &Option<Text>) -> Option<(u16, &Port)> {
        let text = s.required(key, field, "fabric0")?;
        match self.list.iter().enumerate().find(|(_, port)| port.name == text.value) {
            Some((n, port)) => Some((n as u16, port)),
            None => {
                if self.names {
                    s.error(
                        key,
                        text.referenced,
                        format!("`{}` is not the name of a port; add it to ports", text.value),
                    );
                }
                None
            }
        }
    }

    /// The name of the port that has `address` as its own.
    pub(super) fn own(&self, address: u128) -> Option<&str> {
        let has = |port: &&Port| port.addresses.iter().any(|own| own.address == address);
        self.list.iter().find(has).map(|port| port.name.as_str())
    }
}

pub(super) fn ports(check: &mut Check, raw: &RawConfig, domains: &Domains, locators: &Locators) -> Ports {
    let mut ports = Ports { list: Vec::new(), names: true, roles: true, addresses: true };
    let (mut names, mut devices, mut addresses) = (Seen::new(), Seen::new(), Seen::new());
    let mut macs = Seen::new();
    if raw.ports.as_ref().is_none_or(|list| list.value.is_empty()) {
        let at = raw.ports.as_ref().map_or(serde_saphyr::Location::UNKNOWN, |list| list.referenced);
        check.error(at, "ports".into(), "missing; a node needs at least one port".into());
        ports.names = false;
    }
    for (n, entry) in entries(&raw.ports) {
        let port = &entry.value;
        let mut s = check.scope(format!("ports[{n}]"), entry.referenced);
        if n == MAX_PORTS {
            s.error_here("", format!("more than {MAX_PORTS} ports; a node has at most {MAX_PORTS}"));
            ports.names = false;
            break;
        }
        let name = s.name("name", &port.name, "fabric0", WORD);
        if let (Some(name), Some(text)) = (&name, &port.name)
            && let Some(before) = names.before(name.clone(), &s.key("name"), text.referenced)
        {
            s.error("name", text.referenced, format!("`{name}` is already {before}; names are unique"));
            ports.names = false;
        }
        ports.names &= name.is_some();
        let device = device(&mut s, port, &mut devices);
        let roles = [("fabric", Role::Fabric), ("external", Role::External), ("access", Role::Access)];
        let errors = s.count();
        s.required("role", &port.role, "fabric");
        let role = s.choice("role", &port.role, &roles, Role::Fabric);
        let role_known = s.count() == errors;
        ports.roles &= role_known;
        let errors = s.count();
        let addresses = own_addresses(&mut s, port, &mut addresses, domains, locators);
        ports.addresses &= s.count() == errors;
        let descriptors: u16 = s.number("descriptors", &port.descriptors, 64..=32768, 512);
        if let Some(text) = port.descriptors.as_ref().filter(|_| !descriptors.is_multiple_of(32)) {
            let message = format!("{descriptors} is not a multiple of 32, as devices want it; round it up");
            s.error("descriptors", text.referenced, message);
        }
        let words = [("auto", Promiscuous::Auto), ("on", Promiscuous::On), ("off", Promiscuous::Off)];
        let vlan = port.vlan.as_ref().and_then(|text| s.within("vlan", text, 1..=4094));
        if let Some(text) = port.vlan.as_ref().filter(|_| role_known && role == Role::Access) {
            let message =
                format!("`{}` on an access port, which its attachments split; write vlan there", text.value);
            s.error("vlan", text.referenced, message);
        }
        let router_advertisement = port.router_advertisement.as_ref().map(|entry| {
            if role_known && role != Role::Access {
                let message = "routers are advertised to tasks only; set role: access or remove it";
                s.error("router_advertisement", entry.referenced, message);
            }
            advertisement(&mut s.below("router_advertisement", entry.referenced), &entry.value, domains)
        });
        let mac = port.mac.as_ref().and_then(|_| unicast_mac(&mut s, "mac", &port.mac));
        if let (Some(mac), Some(text)) = (mac, &port.mac)
            && let Some(before) = macs.before(mac, &s.key("mac"), text.referenced)
        {
            let message = format!("{mac} is already {before}; give each port its own");
            s.error("mac", text.referenced, message);
        }
        ports.list.push(Port {
            name: name.unwrap_or_default(),
            device,
            role,
            mac,
            queues: s.number("queues", &port.queues, 1..=64, 1),
            descriptors,
            mtu: s.number("mtu", &port.mtu, 1280..=9600, 1500),
            addresses,
            promiscuous: s.choice("promiscuous", &port.promiscuous, &words, Promiscuous::Auto),
            vlan,
            router_advertisement,
            external: external(&mut s, port, role_known.then_some(role)),
        });
    }
    ports
}

/// The device; the same device or network interface twice would fight over packets.
fn device(s: &mut Scope<'_>, port: &RawPort, seen: &mut Seen<String>) -> String {
    let Some(text) = s.required("device", &port.device, "\"0000:3b:00.0\"") else { return String::new() };
    let device = &text.value;
    if device.is_empty()
        || device.starts_with(',')
        || device.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        let message =
            format!("`{device}` is not a device; write a PCI address or vdev,arguments without blanks");
        s.error("device", text.referenced, message);
        return String::new();
    }
    let mut parts = device.split(',');
    let written = parts.next().unwrap_or_default();
    let name = canonical(written);
    if name != written {
        let message =
            format!("`{written}` is not how DPDK and the kernel name this PCI device; write {name}");
        s.error("device", text.referenced, message);
    } else if !is_known(device) {
        let message = format!(
            "`{written}` is neither a PCI address nor a virtual device of DPDK; write for example 0000:3b:00.0, or \
             net_af_packet0,iface={written} for an interface of the kernel"
        );
        s.error("device", text.referenced, message);
    }
    if shares_memory(device) {
        let message = "zero-copy=yes cannot be used: when such a port closes, the driver of DPDK 22.11 closes files that \
                       are not its own, and the node aborts; remove it";
        s.error("device", text.referenced, message.to_owned());
    }
    let interfaces =
        parts.filter_map(|part| part.strip_prefix("iface=")).map(|iface| format!("iface={iface}"));
    for part in std::iter::once(name).chain(interfaces) {
        if let Some(before) = seen.before(part.clone(), &s.key("device"), text.referenced) {
            let message = format!("`{part}` is already used by {before}; give each port its own device");
            s.error("device", text.referenced, message);
        }
    }
    device.clone()
}

/// A device name in the one spelling that compares: PCI addresses in lower case with their domain.
fn canonical(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let bytes = lower.as_bytes();
    match bytes {
        [a, b, b':', c, d, b'.', e] if [a, b, c, d, e].iter().all(|c| c.is_ascii_hexdigit()) => {
            format!("0000:{lower}")
        }
        [_, _, _, _, b':', _, _, b':', _, _, b'.', _] => lower,
        _ => name.to_owned(),
    }
}

/// Our addresses on a port.
fn own_addresses(
    s: &mut Scope<'_>,
    port: &RawPort,
    seen: &mut Seen<u128>,
    domains: &Domains,
    locators: &Locators,
) -> Vec<PortAddress> {
    let mut addresses = Vec::new();
    for (n, text) in entries(&port.addresses) {
        let key = format!("addresses[{n}]");
        let result = port_address(&text.value, domains, locators).and_then(|own| {
            match seen.before(own.address, &s.key(&key), text.referenced) {
                Some(before) => Err(format!("`{}` is already {before}; addresses are unique", text.value)),
                None => Ok(own),
            }
        });
        match result {
            Ok(own) => addresses.push(own),
            Err(message) => s.error(&key, text.referenced, message),
        }
    }
    addresses
}

/// Judges one address with its prefix length.
fn port_address(text: &str, domains: &Domains, locators: &Locators) -> Result<PortAddress, String> {
    let parts = text.split_once('/').and_then(|(address, length)| {
        let digits = length.bytes().all(|c| c.is_ascii_digit());
        let length = length.parse::<u8>().ok().filter(|length| digits && (1..=128).contains(length))?;
        Some((u128::from(address.parse::<Ipv6Addr>().ok()?), length))
    });
    let Some((address, length)) = parts else {
        return Err(format!("`{text}` is not address/length; write for example fd00:1:0:1::1/64"));
    };
    let kind = match address {
        0 => Some("the unspecified address"),
        1 => Some("the loopback address"),
        _ if is_multicast(address) => Some("a multicast address"),
        _ if is_link_local(address) => Some("link-local, which every port has by itself"),
        // Nobody could reach it: packets to such addresses are martians.
        _ if is_ipv4_in_ipv6(address) => Some("an IPv4 address in an IPv6 one"),
        _ => None,
    };
    if let Some(kind) = kind {
        return Err(format!("`{text}` is {kind}; write a global or unique local unicast address"));
    }
    // Elsewhere the type bits mean nothing: an EUI-64 on an external link is none of ILA's business.
    let half = (address >> 64) as u64;
    let identifier = Identifier::of_address(address);
    let ila = domains.of(address).is_some() || locators.list.iter().any(|own| own.prefix.0 == half);
    if ila && (identifier.kind() != IdentifierType::Interface || identifier.neutral()) {
        let kind = identifier.kind().bits();
        return Err(format!(
            "`{text}` has identifier type {kind} under a SIR prefix or locator; use an interface \
             identifier (type 0), for example ::1"
        ));
    }
    Ok(PortAddress { address, prefix: Ipv6Prefix::covering(address, length) })
}

/// Router advertisements of a port (RFC 4861 §6.2.1).
fn advertisement(s: &mut Scope<'_>, raw: &RawAdvertisement, domains: &Domains) -> RouterAdvertisement {
    let interval_s = s.number("interval_s", &raw.interval_s, 4..=1800, 200);
    let lifetime_s = s.number("lifetime_s", &raw.lifetime_s, 0..=9000, 1800);
    if lifetime_s != 0 && lifetime_s < interval_s {
        let message = format!(
            "{lifetime_s} s end before the next advertisement after {interval_s} s; write 0, or \
             {interval_s} to 9000"
        );
        match &raw.lifetime_s {
            Some(text) => s.error("lifetime_s", text.referenced, message),
            None => s.error_here("lifetime_s", message),
        }
    }
    let prefix: Option<SirPrefix> = raw.prefix.as_ref().and_then(|text| {
        let prefix = s.parse("prefix", text)?;
        if domains.complete && !domains.list.iter().any(|domain| domain.prefix == prefix) {
            let message = format!("{prefix} is not a SIR prefix; add it to sir_domains or correct it");
            s.error("prefix", text.referenced, message);
        }
        Some(prefix)
    });
    let mut flag = |key: &str, field: &Option<Text>| {
        let set = s.flag(key, field, false);
        if let Some(text) = field.as_ref().filter(|_| set && raw.prefix.is_none()) {
            s.error(key, text.referenced, "`true` says something of a prefix that is not there; add prefix");
        }
        set
    };
    let on_link = flag("on_link", &raw.on_link);
    let autonomous = flag("autonomous", &raw.autonomous);
    RouterAdvertisement { lifetime_s, prefix, on_link, autonomous, interval_s }
}

/// Rules between ports, workers and packet buffers.
pub(super) fn against_node(check: &mut Check, raw: &RawConfig, ports: &Ports, dpdk: &Dpdk, mbufs: &Mbufs) {
    let mut held = 0u64;
    for ((n, entry), port) in entries(&raw.ports).zip(&ports.list) {
        held += u64::from(port.queues) * u64::from(port.descriptors);
        let mut s = check.scope(format!("ports[{n}]"), entry.referenced);
        let needed = u32::from(port.mtu) + FRAME_OVERHEAD_BYTES + HEADROOM_BYTES;
        if needed > u32::from(mbufs.data_bytes) {
            let message = format!(
                "{} does not fit an mbuf of {} bytes; raise mbufs.data_bytes to {needed}",
                port.mtu, mbufs.data_bytes
            );
            at_or_here(&mut s, "mtu", &entry.value.mtu, message);
        }
        if !dpdk.workers.is_empty() && usize::from(port.queues) > dpdk.workers.len() {
            let message = format!(
                "{} is more than the {} of dpdk.workers, a queue without a worker; lower it or add workers",
                port.queues,
                dpdk.workers.len()
            );
            at_or_here(&mut s, "queues", &entry.value.queues, message);
        }
    }
    let most = ports.list.iter().map(|port| usize::from(port.queues)).max().unwrap_or(0);
    let workers = raw.dpdk.as_ref().map_or(&None, |section| &section.value.workers);
    // Queue q of every port is worker q's.
    let right = most > 0 && entries(workers).count() == dpdk.workers.len();
    if let Some((n, text)) = entries(workers).nth(most).filter(|_| right) {
        let message = format!(
            "core {} would have no packet to work on, because no port has more than {most} queues; raise \
             `queues` of \
             a port, or remove this worker",
            text.value
        );
        check.error(text.referenced, format!("dpdk.workers[{n}]"), message);
    }
    if held >= u64::from(mbufs.count) {
        let section = raw.mbufs.as_ref();
        let text = section.and_then(|section| section.value.count.as_ref());
        let at = text.map(|text| text.referenced).or_else(|| section.map(|section| section.referenced));
        let message = format!(
            "{} buffers are all held by the ports' receive rings, which take {held}; raise it above that",
            mbufs.count
        );
        check.error(at.unwrap_or(serde_saphyr::Location::UNKNOWN), "mbufs.count".into(), message);
    }
}

/// Notes an error at a value, or at its mapping when the value is the default.
fn at_or_here(s: &mut Scope<'_>, key: &str, field: &Option<Text>, message: String) {
    match field {
        Some(text) => s.error(key, text.referenced, message),
        None => s.error_here(key, message),
    }
}
