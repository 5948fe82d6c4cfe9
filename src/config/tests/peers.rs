//! Mapped IPv4 peers of virtual networks.

use super::{refused, text};
use crate::config::{Config, LocalIdentifier, NetworkPeer, PeerTarget, TenantAddress};
use crate::ila::Identifier;

/// The file with these peers of the network `red` in line 10.
fn with(peers: &str) -> String {
    text(
        "virtual_networks",
        &format!(
            "virtual_networks: [{{name: red, vnid: 100, domain: tasks, ipv4: [{{prefix: 10.0.0.0/24, gateway: 10.0.0.1}}], peers: [\n\
             {peers}]}}, \
             {{name: blue, vnid: 7, domain: tasks, ipv6: {{prefix: '2001:db8:b::/96', gateway: '2001:db8:b::1'}}, \
             ipv4: [{{prefix: 10.0.0.0/24, gateway: 10.0.0.1}}]}}]"
        ),
    )
}

fn wrong(peers: &str, expected: &str) {
    assert_eq!(refused(&with(peers)).to_string(), expected);
}

/// The only error of a peer with these keys.
fn at(peer: &str, path: &str) -> String {
    let errors = refused(&with(peer));
    assert_eq!(errors.errors().len(), 1, "{errors}");
    let error = &errors.errors()[0];
    assert_eq!(
        (error.path.as_str(), error.line),
        (format!("virtual_networks[0].peers[0]{path}").as_str(), 10)
    );
    error.message.clone()
}

fn at_address(address: &str) -> String {
    at(&format!("{{address: '{address}', to: '2001:db8:dddd:0:2000::4'}}"), ".address")
}

fn at_to(to: &str) -> String {
    at(&format!("{{address: 10.0.0.200, to: {to}}}"), ".to")
}

fn at_tenant(network: &str, address: &str, key: &str) -> String {
    let to = format!("{{network: {network}, address: '{address}'}}");
    at(&format!("{{address: 10.0.0.200, to: {to}}}"), &format!(".to.{key}"))
}

#[test]
fn peers_are_tasks_and_tenants_of_other_networks() {
    let peers = "{address: 10.0.0.200, to: '2001:db8:dddd:0:2000::4'}, {address: 192.0.2.1, to: {network: blue, \
                 address: 10.0.0.5}}, {address: 10.0.0.201, to: {network: blue, address: '2001:db8:b::3'}}";
    let config = Config::parse(&with(peers), "t.yaml").unwrap_or_else(|errors| panic!("{errors}"));
    let task = LocalIdentifier { domain: 0, identifier: Identifier(0x2000_0000_0000_0004) };
    let tenant = |address| PeerTarget::Tenant { network: 1, address };
    assert_eq!(
        config.virtual_networks[0].peers,
        [
            NetworkPeer { address: 0x0a00_00c8, to: PeerTarget::Task(task) },
            NetworkPeer { address: 0xc000_0201, to: tenant(TenantAddress::V4(0x0a00_0005)) },
            NetworkPeer { address: 0x0a00_00c9, to: tenant(TenantAddress::V6(0x2001_0db8_000b << 80 | 3)) },
        ]
    );
    assert_eq!(config.virtual_networks[1].peers, []);
}

#[test]
fn a_peer_has_address_and_target() {
    wrong(
        "{}",
        "t.yaml:10:1: virtual_networks[0].peers[0].address: missing; write for example `address: \"10.0.0.200\"`\n\
         t.yaml:10:1: virtual_networks[0].peers[0].to: missing; write for example `to: \"2001:db8:dddd:0:2000::4\"`",
    );
    wrong(
        "{address: 10.0.0.200, to: {}}",
        "t.yaml:10:27: virtual_networks[0].peers[0].to.network: missing; write for example `network: blue`\n\
         t.yaml:10:27: virtual_networks[0].peers[0].to.address: missing; write for example `address: \"10.0.0.5\"`",
    );
    wrong(
        "{address: 10.0.0.200, to: {name: blue}}",
        "t.yaml:10:28: virtual_networks[0].peers[0].to.name: unknown key `name`; known here: network, address",
    );
}

#[test]
fn the_address_of_a_peer_can_be_a_hosts() {
    let rule = "use one between its first and its last";
    for (address, message) in [
        ("10.0.0.0", format!("10.0.0.0 is the address of the network 10.0.0.0/24; {rule}")),
        ("10.0.0.255", format!("10.0.0.255 is the broadcast address of 10.0.0.0/24; {rule}")),
        ("10.0.0.1", "10.0.0.1 is the gateway of 10.0.0.0/24; use an address of its own".to_owned()),
        ("x", "`x` is not an IPv4 address; write for example 10.0.0.200".to_owned()),
        ("::1", "`::1` is not an IPv4 address; write for example 10.0.0.200".to_owned()),
        ("127.0.0.1", "127.0.0.1 lies in 127.0.0.0/8 (loopback); use a unicast address".to_owned()),
        ("224.0.0.1", "224.0.0.1 lies in 224.0.0.0/4 (multicast); use a unicast address".to_owned()),
        ("240.0.0.1", "240.0.0.1 lies in 240.0.0.0/4 (reserved); use a unicast address".to_owned()),
    ] {
        assert_eq!(at_address(address), message);
    }
}

#[test]
fn a_peer_has_one_address_and_an_address_one_peer() {
    wrong(
        "{address: 10.0.0.200, to: '2001:db8:dddd:0:2000::4'},\n{address: 10.0.0.200, to: '2001:db8:dddd::2000:0:0:4'}",
        "t.yaml:11:11: virtual_networks[0].peers[1].address: 10.0.0.200 is already virtual_networks[0].peers[0].address \
         (line 10); an address has one peer\n\
         t.yaml:11:27: virtual_networks[0].peers[1].to: the same as virtual_networks[0].peers[0].to (line 10); a peer \
         has one address in a network",
    );
}

#[test]
fn a_service_is_named_by_its_sir_address() {
    assert_eq!(at_to("5"), "`5` is not an IPv6 address; write the SIR address of the identifier");
    assert_eq!(
        at_to("'fd00::2000:0:0:4'"),
        "fd00::2000:0:0:4 lies under no SIR prefix; add its /64 to sir_domains or correct it"
    );
    assert_eq!(
        at_to("'2001:db8:dddd:0:4000:7:a00:5'"),
        "2001:db8:dddd:0:4000:7:a00:5 has identifier type 2, which is a tenant's address; write its network and \
         address, for example {network: blue, address: 10.0.0.5}"
    );
}

#[test]
fn a_tenant_is_named_by_another_network_and_its_address_there() {
    assert_eq!(
        at_tenant("green", "10.0.0.5", "network"),
        "`green` is not the name of a virtual network; add it to virtual_networks"
    );
    assert_eq!(at_tenant("red", "10.0.0.5", "network"), "`red` is the peer's own network; name another one");
    assert_eq!(
        at_tenant("blue", "10.0.1.5", "address"),
        "10.0.1.5 lies in no IPv4 subnet of network blue; correct it, or add its subnet there"
    );
    assert_eq!(
        at_tenant("blue", "2001:db8:b::1", "address"),
        "2001:db8:b::1 is the gateway of 2001:db8:b::/96; write the tenant's own"
    );
}

#[test]
fn the_address_of_a_peer_is_no_tenants() {
    let attached = |network: &str| {
        let tenant =
            format!("[{{port: a, mac: '02:00:00:00:00:0a', network: {network}, addresses: [10.0.0.200]}}]");
        with("{address: 10.0.0.200, to: '2001:db8:dddd:0:2000::4'}")
            .replace("attachments: []", &format!("attachments: {tenant}"))
    };
    assert_eq!(
        refused(&attached("red")).to_string(),
        "t.yaml:7:77: attachments[0].addresses[0]: `10.0.0.200` is already virtual_networks[0].peers[0].address (line \
         10); a peer's address is nobody else's"
    );
    assert!(Config::parse(&attached("blue"), "t.yaml").is_ok());
}

#[test]
fn peers_are_counted() {
    let peers = |count: u32| {
        let peer =
            |n| format!("{{address: 192.168.{}.{}, to: '2001:db8:dddd:0:2000::{n:x}'}}", n >> 8, n & 255);
        with(&(0..count).map(peer).collect::<Vec<_>>().join(", "))
    };
    assert_eq!(Config::parse(&peers(4096), "t.yaml").unwrap().virtual_networks[0].peers.len(), 4096);
    let errors = refused(&peers(4097));
    assert_eq!(errors.errors().len(), 1, "{errors}");
    assert_eq!(
        (errors.errors()[0].path.as_str(), errors.errors()[0].message.as_str()),
        ("virtual_networks[0].peers", "4097 peers; a network has at most 4096")
    );
}
