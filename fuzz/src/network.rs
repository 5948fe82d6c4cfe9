//! The small network that every target works in: four domains, one per checksum mode, every kind of action, and tenants
//! of a virtual network in each domain.

use ilagate::config::{Config, mappings};
use ilagate::ila::Locator;
use ilagate::mapping::{Batch, Change, Departure, InFlight, Origin, Presence, TunnelEnds, Tunnels};
use ilagate::net::Mac;
use ilagate::node::replay::mac_of;
use ilagate::node::rib::Rib;
use ilagate::table::{AttachmentKey, PortId, Tables};
use std::sync::OnceLock;

/// The node.
pub(crate) const CONFIG: &str = r#"
node: {name: n}
dpdk: {workers: [1]}
sir_domains:
  - {name: a, prefix: "2001:db8:a::/64", checksum: neutral-map, router_mac: "02:00:5e:00:00:09", skip_unchecked: true}
  - {name: b, prefix: "2001:db8:b::/64", checksum: adj-transport, router_mac: "02:00:5e:00:00:09", on_miss: route}
  - {name: c, prefix: "2001:db8:c::/64", checksum: neutral-map-auto, router_mac: "02:00:5e:00:00:09"}
  - {name: d, prefix: "2001:db8:d::/64", checksum: no-action, router_mac: "02:00:5e:00:00:09"}
locators:
  - {prefix: "fd00:1:0:a::/64", domain: a}
  - {prefix: "fd00:1:0:b::/64", domain: b}
  - {prefix: "fd00:1:0:c::/64", domain: c}
  - {prefix: "fd00:1:0:d::/64", domain: d}
virtual_networks:
  - {name: na, vnid: 10, domain: a, mac: "02:00:5e:00:00:01", ipv6: {prefix: "2001:db8:aa::/96", gateway: "2001:db8:aa::fffe"}, ipv4: [{prefix: "10.0.0.0/16", gateway: "10.0.0.254"}], peers: [{address: "10.0.0.200", to: "2001:db8:a:0:2000::2"}], replicate_to: ["fd00:2:0:a::/64"]}
  - {name: nb, vnid: 11, domain: b, mac: "02:00:5e:00:00:01", ipv6: {prefix: "2001:db8:ab::/96"}, ipv4: [{prefix: "10.0.0.0/16", gateway: "10.0.0.254"}]}
  - {name: nc, vnid: 12, domain: c, mac: "02:00:5e:00:00:01", mtu: 1280, ipv6: {prefix: "2001:db8:ac::/96"}, ipv4: [{prefix: "10.0.0.0/16", gateway: "10.0.0.254"}]}
  - {name: nd, vnid: 13, domain: d, mac: "02:00:5e:00:00:02", ipv6: {prefix: "2001:db8:ad::/96"}, ipv4: [{prefix: "10.0.0.0/16", gateway: "10.0.0.254"}]}
policies: [{from: na, to: nc}, {from: na, to: "2001:db8:a:0:2000::2"}, {from: outside, to: na}]
ports:
  - {name: f0, device: net_null_a0, role: fabric, addresses: ["fd00:1:0:a::1/64"]}
  - {name: f1, device: net_null_b0, role: fabric, vlan: 7, mtu: 1280, addresses: ["fd00:1:0:f::1/64"]}
  - {name: x0, device: net_null_c0, role: access, router_advertisement: {}}
  - {name: t0, device: net_null_d0, role: access}
attachments:
  - {port: t0, mac: "02:00:00:00:00:1a", network: na, addresses: ["10.0.0.1", "2001:db8:aa::1", "10.0.1.0", "2001:db8:aa::1:0"]}
  - {port: t0, mac: "02:00:00:00:00:1b", network: na, addresses: ["10.0.0.2", "2001:db8:aa::2"]}
  - {port: t0, mac: "02:00:00:00:00:1c", network: nb, addresses: ["10.0.0.1", "2001:db8:ab::1"]}
  - {port: t0, mac: "02:00:00:00:00:1d", network: nc, addresses: ["10.0.0.1", "2001:db8:ac::1"]}
  - {port: t0, mac: "02:00:00:00:00:1e", network: nd, addresses: ["10.0.0.1", "2001:db8:ad::1"]}
  - {port: t0, vlan: 9, mac: "02:00:00:00:00:1f", network: nd, addresses: ["10.0.0.3", "2001:db8:ad::3"]}
  - {port: x0, mac: "02:00:00:00:00:0a", identifiers: ["2001:db8:a:0:2000::1", "2001:db8:b:0:2000::1"]}
  - {port: t0, mac: "02:00:00:00:00:20", network: na, addresses: ["10.0.0.20", "2001:db8:aa::20"]}
  - {port: t0, mac: "02:00:00:00:00:21", network: na, addresses: ["10.0.0.21", "2001:db8:aa::21"]}
  - {port: x0, mac: "02:00:00:00:00:0c", identifiers: ["2001:db8:a:0:2000::20"]}
  - {port: x0, vlan: 9, mac: "02:00:00:00:00:0b", identifiers: ["2001:db8:c:0:2000::1", "2001:db8:d:0:2000:0:1:0"]}
routes:
  - {prefix: "fd00:2::/32", via: "fd00:1:0:a::ff", port: f0}
  - {prefix: "fd00:3::/32", via: "fd00:1:0:f::ff", port: f1}
  - {prefix: "fd00:4::/32", via: "fd00:1:0:f::99", port: f1}
  - {prefix: "2001:db8:1::/48", next_hops: [{via: "fd00:1:0:a::ff", port: f0}, {via: "fd00:1:0:f::ff", port: f1}]}
  - {prefix: "2001:db8:2::/48", blackhole: true}
  - {prefix: "2001:db8:b::/64", via: "fd00:1:0:a::ff", port: f0}
neighbours:
  static:
    - {port: f0, address: "fd00:1:0:a::ff", mac: "02:00:00:00:00:f0"}
    - {port: f1, address: "fd00:1:0:f::ff", mac: "02:00:00:00:00:f1"}
"#;

/// What it knows of other nodes.
pub(crate) const MAPPINGS: &str = r#"mappings:
  - {sir: "2001:db8:a:0:2000::2", locators: ["fd00:2:0:a::/64"]}
  - {sir: "2001:db8:a:0:2000::3", locators: ["fd00:2:0:a::/64", "fd00:3:0:a::/64"]}
  - {sir: "2001:db8:a:0:2000::4", locators: ["fd00:4:0:a::/64"]}
  - {sir: "2001:db8:a:0:2000::5", blackhole: true}
  - {sir: "2001:db8:a:0:2000::6", locators: ["fd00:9:0:a::/64"]}
  - {sir: "2001:db8:b:0:2000::2", locators: ["fd00:2:0:b::/64"]}
  - {sir: "2001:db8:c:0:2000::2", locators: ["fd00:3:0:c::/64"]}
  - {sir: "2001:db8:d:0:2000::2", locators: ["fd00:2:0:d::/64"]}
  - {network: na, address: "10.0.0.9", locators: ["fd00:2:0:a::/64"]}
  - {network: na, address: "2001:db8:aa::9", locators: ["fd00:2:0:a::/64", "fd00:3:0:a::/64"]}
  - {network: na, address: "10.0.2.0", locators: ["fd00:2:0:a::/64"]}
  - {network: na, address: "2001:db8:aa::2:ffff", locators: ["fd00:3:0:a::/64"]}
  - {network: nb, address: "10.0.0.9", locators: ["fd00:2:0:b::/64"]}
  - {network: nb, address: "2001:db8:ab::9", locators: ["fd00:2:0:b::/64"]}
  - {network: nc, address: "10.0.0.9", locators: ["fd00:3:0:c::/64"]}
  - {network: nc, address: "2001:db8:ac::9", locators: ["fd00:2:0:c::/64"]}
  - {network: nd, address: "10.0.0.9", locators: ["fd00:2:0:d::/64"]}
  - {network: nd, address: "2001:db8:ad::9", blackhole: true}
"#;

/// The configuration, judged once.
pub(crate) fn config() -> &'static Config {
    static CONFIGURED: OnceLock<Config> = OnceLock::new();
    CONFIGURED.get_or_init(|| Config::parse(CONFIG, "network.yaml").expect("the network's configuration"))
}

/// MAC addresses that frames for its ports go to: of the router that tasks see, or else of the device.
pub(crate) fn macs() -> Vec<Mac> {
    let of = |port: usize| config().task_router_mac(port as u16).unwrap_or(mac_of(config(), port));
    (0..config().ports.len()).map(of).collect()
}

/// The node before any mapping.
pub(crate) fn rib() -> Rib {
    Rib::new(config(), &macs(), 11)
}

/// Its tables, compiled once.
pub(crate) fn tables() -> &'static Tables {
    static COMPILED: OnceLock<Tables> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let mut rib = rib();
        let records = mappings::parse(MAPPINGS, "mappings.yaml", config()).expect("the network's mappings");
        let changes = records.into_iter().map(Change::Upsert).collect();
        rib.apply(Batch { origin: Origin::File, changes, complete: true }).expect("mappings that fit");
        move_some(&mut rib);
        rib.compile()
    })
}

/// The node's address that tunnels lead to, and the one that they come from and go to.
pub(crate) const TUNNEL: [&str; 2] = ["fd00:1:0:a::1", "fd00:1:0:a::ff"];

/// One tenant and one task have left, and another tenant is expected.
fn move_some(rib: &mut Rib) {
    let [own, other] = TUNNEL.map(|text| u128::from(text.parse::<std::net::Ipv6Addr>().expect("an address")));
    let departed = |tunnel, in_flight| {
        Presence::Departed(Departure {
            locators: vec![(0, Locator(0xfd00_0002_0000_000a))],
            tunnel,
            in_flight: Some(in_flight),
            until_ms: u64::MAX,
            may_send: tunnel.is_some(),
        })
    };
    let tunnel = Some(TunnelEnds { from: own, to: other });
    for (port, mac, presence) in [
        (3, 0x20, departed(tunnel, InFlight::Auto)),
        (3, 0x21, Presence::Expected(Tunnels { to: own, from: vec![other], copies: false })),
        (2, 0x0c, departed(None, InFlight::Retranslate)),
    ] {
        let at = AttachmentKey { port: PortId(port), vlan: 0, mac: Mac([2, 0, 0, 0, 0, mac]) };
        rib.set_presence(at, presence).expect("a presence");
    }
}
