//! Two hosts with tenants of two networks, IPv4 packets, and etherparse as the judge of them.

use super::packets::*;
use super::*;
use ilagate::net::{arp, ethernet, ipv4};

pub const L1: &str = "fd00:1:0:1::/64";
pub const L2: &str = "fd00:1:0:2::/64";
/// The gateway's MAC address of every network here.
pub const ANYCAST: Mac = Mac([2, 0, 0x5e, 0, 0, 1]);
pub const VM1: Mac = Mac([2, 0, 0, 0, 1, 1]);
pub const VM2: Mac = Mac([2, 0, 0, 0, 1, 2]);
pub const VM3: Mac = Mac([2, 0, 0, 0, 1, 3]);
pub const SERVICE: &str = "2001:db8:dddd:0:2000::4";
/// Red and all tasks, red and the Internet, in both directions.
pub const TASKS: &str = r#"{from: red, to: "2001:db8:dddd::/64"}, {from: "2001:db8:dddd::/64", to: red}"#;
pub const INTERNET_TOO: &str = "{from: red, to: outside}, {from: outside, to: red}";

pub const RED_TO_BLUE: &str = "{from: red, to: blue}";
pub const BLUE_TO_RED: &str = "{from: blue, to: red}";
pub const BOTH: &str = "{from: red, to: blue}, {from: blue, to: red}";
/// Red and the service, each direction.
pub const TO_SERVICE: &str = r#"{from: red, to: "2001:db8:dddd:0:2000::4"}"#;
pub const FROM_SERVICE: &str = r#"{from: "2001:db8:dddd:0:2000::4", to: red}"#;
pub const BLUE_TO_SERVICE: &str = r#"{from: blue, to: "2001:db8:dddd:0:2000::4"}"#;
/// VA4 of the draft is VM3's in blue (VNI2), VA1 is VM2's in red (VNI1): both are 10.0.0.2. ADDR4 lies in red's subnet,
/// and outside of blue's.
pub const RED_PEERS: &str = r#"{address: "10.0.0.200", to: "2001:db8:dddd:0:2000::4"},
    {address: "10.0.0.104", to: {network: blue, address: "10.0.0.2"}},
    {address: "10.0.0.103", to: {network: blue, address: "2001:db8:b::3"}}"#;
pub const BLUE_PEERS: &str = r#"{address: "192.0.2.4", to: "2001:db8:dddd:0:2000::4"},
    {address: "10.0.0.101", to: {network: red, address: "10.0.0.2"}},
    {address: "10.0.0.102", to: {network: red, address: "2001:db8:a::2"}},
    {address: "10.0.0.111", to: {network: red, address: "10.0.0.1"}}"#;
/// SIR:(VNI2:VA4).
pub const VM3_SIR: &str = "2001:db8:dddd:0:4000:c8:a00:2";

/// VM1 and VM2 are in network red (VNID 100), VM3 in blue (VNID 200), which has the same IPv4 addresses. VM1 and VM3 are
/// on the host with locator L1, VM2 on L2, where the service task is, too.
pub fn host(locator: &str) -> Node {
    host_with(locator, &Rules::default())
}

/// What joins the networks with each other and with the service.
#[derive(Clone, Copy, Default)]
pub struct Rules<'t> {
    pub red_peers: &'t str,
    pub blue_peers: &'t str,
    pub policies: &'t str,
    /// Further keys of network red.
    pub red: &'t str,
    /// Further keys of VM1.
    pub vm1: &'t str,
    /// Further attachments, one per line.
    pub attachments: &'t str,
    /// Further sections of the configuration.
    pub more: &'t str,
    /// Further keys of the access port, a comma before each.
    pub access: &'t str,
}

/// The same with policies.
pub fn host_where(locator: &str, policies: &str) -> Node {
    host_with(locator, &Rules { policies, ..Rules::default() })
}

/// The same with a further section of the configuration.
pub fn host_limited(locator: &str, more: &str) -> Node {
    host_with(locator, &Rules { more, ..Rules::default() })
}

/// The same with policies and peers.
pub fn host_with(locator: &str, rules: &Rules<'_>) -> Node {
    let (text, mapped) = written(locator, rules);
    Node::new(&text, &mapped)
}

/// The same where these policies hold, and all peers are known.
pub fn peered(locator: &str, policies: &str) -> Node {
    host_with(locator, &Rules { red_peers: RED_PEERS, blue_peers: BLUE_PEERS, policies, ..Rules::default() })
}

/// A gateway that knows both networks and has no tenants; one mapping per (SIR address, locator).
pub fn network_gateway(policies: &str, mapped: &[(&str, &'static str)]) -> Node {
    let networks = format!(
        r#"virtual_networks:
  - {{name: red, vnid: 100, domain: tasks, ipv6: {{prefix: "2001:db8:a::/96"}}, ipv4: [{{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}}]}}
  - {{name: blue, vnid: 200, domain: tasks, ipv6: {{prefix: "2001:db8:b::/96"}}, ipv4: [{{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}}]}}
policies: [{policies}]"#
    );
    let mapped: Vec<_> = mapped.iter().map(|(sir, locator)| ((*sir).to_owned(), *locator)).collect();
    gateway(ChecksumMode::NeutralMap, &networks, &mapped)
}

/// Its configuration, and its mappings.
pub fn written(locator: &str, rules: &Rules<'_>) -> (String, Vec<(String, &'static str)>) {
    let Rules { red_peers, blue_peers, policies, red, vm1, attachments: others, more, access } = rules;
    let (attachments, mapped) = if locator == L1 {
        (
            format!(
                "  - {{name: vm1, port: access0, mac: \"{VM1}\", network: red, addresses: [\"10.0.0.1\", \"2001:db8:a::1\"]{vm1}}}\n\
                 \x20 - {{name: vm3, port: access0, vlan: 7, mac: \"{VM3}\", network: blue, addresses: [\"10.0.0.2\", \"2001:db8:b::3\"]}}\n"
            ),
            vec![("2001:db8:dddd:0:4000:64:a00:2", L2), ("2001:db8:dddd:0:6000:64:0:2", L2), (SERVICE, L2)],
        )
    } else {
        (
            format!(
                "  - {{name: vm2, port: access0, mac: \"{VM2}\", network: red, addresses: [\"10.0.0.2\", \"2001:db8:a::2\"]}}\n\
                 \x20 - {{name: service, port: access0, vlan: 9, mac: \"{TASK}\", identifiers: [\"{SERVICE}\"]}}\n"
            ),
            vec![
                ("2001:db8:dddd:0:4000:64:a00:1", L1),
                ("2001:db8:dddd:0:6000:64:0:1", L1),
                ("2001:db8:dddd:0:4000:c8:a00:2", L1),
                ("2001:db8:dddd:0:6000:c8:0:3", L1),
            ],
        )
    };
    let text = format!(
        r#"
node: {{name: nve}}
dpdk: {{workers: [1]}}
sir_domains:
  - {{name: tasks, prefix: "2001:db8:dddd::/64", router_mac: "{TASK_ROUTER}"}}
locators:
  - {{prefix: "{locator}", domain: tasks}}
virtual_networks:
  - name: red
    vnid: 100
    domain: tasks
    mac: "{ANYCAST}"
    ipv6: {{prefix: "2001:db8:a::/96", gateway: "2001:db8:a::ffff:fffe"}}
    ipv4: [{{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}}]
    peers: [{red_peers}]
    {red}
  - name: blue
    vnid: 200
    domain: tasks
    mac: "{ANYCAST}"
    ipv6: {{prefix: "2001:db8:b::/96", gateway: "2001:db8:b::ffff:fffe"}}
    ipv4: [{{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}}]
    peers: [{blue_peers}]
policies: [{policies}]
ports:
  - {{name: fabric0, device: net_null_a0, role: fabric, mac: "{NVE_FABRIC}", addresses: ["fd00:ffff::1/64"]}}
  - {{name: access0, device: net_null_b0, role: access, mac: "{NVE_ACCESS}"{access}}}
attachments:
{attachments}{others}
routes:
  - {{prefix: "::/0", via: "fd00:ffff::ff", port: fabric0}}
neighbours:
  static:
    - {{port: fabric0, address: "fd00:ffff::ff", mac: "{GATEWAY_FABRIC}"}}
{more}
"#
    );
    (text, mapped.into_iter().map(|(sir, locator)| (sir.to_owned(), locator)).collect())
}

/// What left through the fabric, as it comes in at another host.
pub fn carried(on_wire: &[u8]) -> Vec<u8> {
    frame(NVE_FABRIC, GATEWAY_FABRIC, &on_wire[14..])
}

/// A whole frame with an IPv4 packet.
pub fn ipv4_frame(to: Mac, from: Mac, packet: &[u8]) -> Vec<u8> {
    ipv4_tagged(to, from, 0, packet)
}

/// The same with an 802.1Q tag, unless `vlan` is 0.
pub fn ipv4_tagged(to: Mac, from: Mac, vlan: u16, packet: &[u8]) -> Vec<u8> {
    let (link, length) = ethernet::header_of(to, from, vlan, ethernet::IPV4);
    [&link[..length], packet].concat()
}

pub fn ipv4_packet(from: [u8; 4], to: [u8; 4], ttl: u8, payload: &[u8]) -> Vec<u8> {
    use etherparse::PacketBuilder;
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(from, to, ttl).udp(4000, 53).write(&mut bytes, payload).unwrap();
    bytes
}

pub fn ipv4_line(packet: &[u8]) -> String {
    let header = ipv4::Ipv4::of(packet).unwrap();
    let text = |address: u32| std::net::Ipv4Addr::from(address).to_string();
    format!("{},{}", text(header.source()), text(header.destination()))
}

pub fn ipv4_checksums_ok(packet: &[u8]) -> bool {
    let parsed = etherparse::SlicedPacket::from_ip(packet).unwrap();
    let Some(etherparse::NetSlice::Ipv4(ip)) = &parsed.net else { panic!("not IPv4") };
    let header = ip.header().to_header();
    let transport = match &parsed.transport {
        Some(etherparse::TransportSlice::Udp(udp)) => {
            udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap() == udp.checksum()
        }
        Some(etherparse::TransportSlice::Icmpv4(icmp)) => {
            icmp.icmp_type().calc_checksum(icmp.payload()) == icmp.checksum()
        }
        other => panic!("{other:?}"),
    };
    header.calc_header_checksum() == header.header_checksum && transport
}

pub fn arp_frame(message: &arp::Arp, vlan: u16) -> Vec<u8> {
    let mut frame = [0; arp::MAX_FRAME];
    let length = arp::write(&mut frame, Mac::BROADCAST, vlan, message);
    frame[..length].to_vec()
}

pub fn asks(sender_mac: Mac, sender: u32, target: u32) -> arp::Arp {
    arp::Arp { operation: arp::Operation::Request, sender_mac, sender, target_mac: Mac::ZERO, target }
}

/// An IPv4 packet of VM3.
pub fn of_vm3(to: [u8; 4]) -> Vec<u8> {
    ipv4_tagged(ANYCAST, VM3, 7, &ipv4_packet([10, 0, 0, 2], to, 64, b"query"))
}

/// An IPv6 packet of VM3.
pub fn of_vm3_ipv6(to: &str) -> Vec<u8> {
    let (from, to) = (address("2001:db8:b::3"), address(to));
    tagged(ANYCAST, VM3, 7, &ipv6(from, to, 6, &tcp(from, to, b"hello")))
}

/// What no policy allows, and its sender is told so.
pub fn refused() -> Fate {
    Fate::Replied(Some(DropReason::NoPolicy))
}
