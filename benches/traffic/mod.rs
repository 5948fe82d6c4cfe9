//! The cases of the forwarding bench: a configuration, mappings and a file of packets for each.

use ilagate::config::Config;
use ilagate::ila::{Adjustment, ChecksumMode, Identifier, Locator, SirPrefix, neutral};
use ilagate::mapping::{
    Batch, Change, Departure, InFlight, LocatorChoice, MappingRecord, MappingTarget, Origin, Presence,
    TunnelEnds, Tunnels,
};
use ilagate::net::ndp::{self, Envelope};
use ilagate::net::{Mac, arp, checksum, ethernet, ipv4, ipv6, udp, vxlan};
use ilagate::node::rib::Rib;
use ilagate::table::network::Vnet;
use ilagate::table::{AttachmentKey, PortId};
use pcap_file::pcap::{PcapPacket, PcapWriter};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const NEXT: Mac = Mac([2, 0, 0, 0, 0, 2]);
const GATEWAY: Mac = Mac([2, 0, 0x5e, 0, 0, 1]);
const SIR: SirPrefix = SirPrefix(0x2001_0db8_dddd_0000);
const OWN: Locator = Locator(0xfd00_0001_0000_0001);
/// The virtual network.
const VNID: u32 = 0x00ab_cdef;
const VNET: u128 = 0x2001_0db8_000a_0000_0000_0000_0000_0000;
/// Its IPv4 subnet, /8.
const SUBNET: u32 = 10 << 24;
/// Number of tenants that send.
const SENDERS: u64 = 256;
/// The lower bits of the first sender's address; those of the others follow.
const FIRST_SENDER: u32 = 0x00f0_0001;
/// The ends of tunnels: this node, and the one that tenants move to or come from.
const VTEP: u128 = 0xfd00_0001_0000_0001 << 64 | 1;
const OTHER_VTEP: u128 = 0xfd00_0001_0000_0002 << 64 | 1;
/// The port that tenants are attached to.
const OUT: PortId = PortId(1);
/// Mappings per batch while the tables are filled.
const CHUNK: u64 = 65_536;
const UDP: u8 = 17;

/// The kind of identifiers and packets of a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Identifiers of type 1.
    Task,
    /// No identifiers: packets are routed.
    Routed,
    /// Identifiers of type 3; tenants send and receive IPv6 packets.
    Tenant6,
    /// Identifiers of type 2; tenants send and receive IPv4 packets.
    Tenant4,
    /// Identifiers of type 2; the packets are ARP requests.
    Arp,
    /// Identifiers of type 3; the packets are Neighbour Solicitations.
    Solicitation,
}

/// Whether the tenants of a case move.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moves {
    No,
    /// All have left: packets for them go on through tunnels.
    Left,
    /// All have come: packets for them come out of tunnels.
    Came,
}

pub(crate) struct Case {
    kind: Kind,
    pub(crate) mappings: u64,
    routes: u64,
    pub(crate) packets: u64,
    /// Whether the mapped identifiers are attached to this node and packets reach them from the fabric.
    local: bool,
    moves: Moves,
    pub(crate) churn: bool,
}

impl Case {
    pub(crate) fn named(name: &str) -> Case {
        let million = Case {
            kind: Kind::Task,
            mappings: 1_000_000,
            routes: 0,
            packets: 200_000,
            local: false,
            moves: Moves::No,
            churn: false,
        };
        match name {
            "sir2ila_1k" | "two_workers" => Case { mappings: 1000, packets: 2048, ..million },
            "sir2ila_1m" => million,
            "sir2ila_10m" => Case { mappings: 10_000_000, ..million },
            "ila2sir_1k" => Case { mappings: 1000, packets: 2048, local: true, ..million },
            "ila2sir_1m" => Case { local: true, ..million },
            "route6_100k" => Case { kind: Kind::Routed, mappings: 0, routes: 100_000, ..million },
            "sir2ila_1m_churn" => Case { churn: true, ..million },
            "tenant6_out_1m" => Case { kind: Kind::Tenant6, ..million },
            "tenant6_in_1m" => Case { kind: Kind::Tenant6, local: true, ..million },
            "tenant4_out_1m" => Case { kind: Kind::Tenant4, ..million },
            "tenant4_in_1m" => Case { kind: Kind::Tenant4, local: true, ..million },
            "tunnel6_1m" => Case { kind: Kind::Tenant6, local: true, moves: Moves::Left, ..million },
            "decap6_1m" => Case { kind: Kind::Tenant6, local: true, moves: Moves::Came, ..million },
            "arp_1m" => Case { kind: Kind::Arp, ..million },
            "ns_1m" => Case { kind: Kind::Solicitation, ..million },
            other => panic!("no case `{other}`"),
        }
    }

    fn tenants(&self) -> bool {
        !matches!(self.kind, Kind::Task | Kind::Routed)
    }

    /// The identifier of a mapping. It never has a zero alias.
    fn identifier(&self, index: u64) -> Identifier {
        match self.kind {
            Kind::Task | Kind::Routed => {
                let mixed = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                Identifier((1 << 61) | (mixed >> 4 & 0x0fff_ffff_ffff_0000) | (1 + index % 0xfffe))
            }
            Kind::Tenant6 | Kind::Solicitation => Identifier::tenant_ipv6(VNID, tenant(index)),
            Kind::Tenant4 | Kind::Arp => Identifier::tenant_ipv4(VNID, SUBNET | tenant(index)),
        }
    }

    /// The mapping of a packet's destination: uniform over all mappings, in an order that a hardware prefetcher cannot
    /// guess.
    fn mapping_of(&self, packet: u64) -> u64 {
        let mixed = packet.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((u128::from(mixed) * u128::from(self.mappings)) >> 64) as u64
    }

    fn configuration(&self, cores: &[u16]) -> String {
        let role = if self.tenants() && !self.local { "access" } else { "fabric" };
        let mut text = format!(
            "node: {{name: bench}}\ndpdk: {{workers: {cores:?}}}\n\
             sir_domains:\n  - {{name: tasks, prefix: \"{SIR}\", expected_mappings: {}}}\n\
             locators:\n  - {{prefix: \"{OWN}\", domain: tasks}}\n\
             ports:\n  - {{name: in, device: net_pcap0, queues: {queues}, role: {role}, mac: \"{OURS}\", addresses: [\"fd00:1:0:1::1/64\"]}}\n\
             \x20 - {{name: out, device: net_null0, role: access}}\n\
             \x20 - {{name: out6, device: net_null1, role: external, addresses: [\"fd00:2::1/64\"]}}\n\
             neighbours:\n  static:\n    - {{port: out6, address: \"fd00:2::2\", mac: \"{NEXT}\"}}\n",
            self.mappings.max(1024),
            queues = cores.len(),
        );
        if self.tenants() {
            let _ = write!(
                text,
                "virtual_networks:\n  - {{name: red, vnid: {VNID}, domain: tasks, mac: \"{GATEWAY}\", \
                 ipv6: {{prefix: \"{}/96\"}}, ipv4: [{{prefix: \"{}/8\", gateway: \"10.255.255.254\"}}], \
                 limits: {{arp: {{per_second: 10000000, burst: 1000000}}, nd: {{per_second: 10000000, burst: 1000000}}}}}}\n",
                std::net::Ipv6Addr::from(VNET),
                std::net::Ipv4Addr::from(SUBNET),
            );
        }
        if self.local || self.tenants() {
            text.push_str("attachments:\n");
        }
        if self.local {
            self.attach(&mut text);
        } else if self.tenants() {
            for n in 0..SENDERS {
                let (four, six) = (ipv4_address(sender(n)), ipv6_address(sender(n)));
                let mac = sender_mac(n);
                let _ = writeln!(
                    text,
                    "  - {{port: in, mac: \"{mac}\", network: red, addresses: [\"{four}\", \"{six}\"]}}"
                );
            }
        }
        text.push_str("routes:\n  - {prefix: \"fd00:1::/32\", via: \"fd00:2::2\", port: out6}\n");
        for index in 0..self.routes {
            let length = if index % 4 == 0 { 56 } else { 48 };
            let prefix = ilagate::net::Ipv6Prefix::covering(u128::from(route(index)) << 64, length);
            let _ = writeln!(text, "  - {{prefix: \"{prefix}\", via: \"fd00:2::2\", port: out6}}");
        }
        text
    }

    /// Number of attachments with mapped identifiers.
    fn attached(&self) -> u64 {
        self.mappings.min(1000)
    }

    /// Spreads the mapped identifiers over 1000 attachments; with a million mappings each has a thousand.
    fn attach(&self, text: &mut String) {
        for n in 0..self.attached() {
            let list = if self.tenants() { "network: red, addresses" } else { "identifiers" };
            let _ = write!(text, "  - {{port: out, mac: \"{}\", {list}: [", attached_mac(n));
            let mut index = n;
            while index < self.mappings {
                let comma = if index == n { "" } else { ", " };
                let _ = match self.kind {
                    Kind::Tenant6 => write!(text, "{comma}\"{}\"", ipv6_address(tenant(index))),
                    Kind::Tenant4 => write!(text, "{comma}\"{}\"", ipv4_address(tenant(index))),
                    _ => {
                        let sir = std::net::Ipv6Addr::from(SIR.with(self.identifier(index)));
                        write!(text, "{comma}\"{sir}\"")
                    }
                };
                index += 1000;
            }
            text.push_str("]}\n");
        }
    }

    /// The frame with number `index`. It has 62 bytes, and 70 more in a tunnel; an ARP request or a solicitation has its
    /// own length.
    fn frame(&self, index: u64) -> Vec<u8> {
        let mapping = self.mapping_of(index);
        let from = sender(index % SENDERS);
        let mac = if self.tenants() && !self.local { sender_mac(index % SENDERS) } else { NEXT };
        let source = 0x2001_0db8_0000_0000_0000_0000_0000_0000 + u128::from(index);
        match (self.kind, self.local) {
            (Kind::Routed, _) => {
                let to = u128::from(route(index % self.routes)) << 64 | u128::from(index);
                udp6(OURS, mac, source, to, to)
            }
            (Kind::Task, false) => udp6(OURS, mac, source, SIR.with(self.identifier(mapping)), 0),
            (Kind::Task, true) => udp6(
                OURS,
                mac,
                source,
                on_wire(self.identifier(mapping), 0),
                SIR.with(self.identifier(mapping)),
            ),
            (Kind::Tenant6, false) => {
                let to = VNET | u128::from(tenant(mapping));
                udp6(GATEWAY, mac, VNET | u128::from(from), to, to)
            }
            (Kind::Tenant6, true) if self.moves == Moves::Came => {
                let to = VNET | u128::from(tenant(mapping));
                let inner = udp6(attached_mac(mapping % 1000), GATEWAY, VNET | u128::from(from), to, to);
                in_tunnel(&inner, index)
            }
            (Kind::Tenant6, true) => {
                let vnet = Vnet::new(VNET, None, VNID, SIR);
                let wire = on_wire(self.identifier(mapping), vnet.checksum_delta);
                udp6(OURS, mac, VNET | u128::from(from), wire, VNET | u128::from(tenant(mapping)))
            }
            (Kind::Tenant4, true) => {
                let source = SIR.with(Identifier::tenant_ipv4(VNID, SUBNET | from));
                udp6(
                    OURS,
                    mac,
                    source,
                    on_wire(self.identifier(mapping), 0),
                    SIR.with(self.identifier(mapping)),
                )
            }
            (Kind::Tenant4, false) => udp4(GATEWAY, mac, SUBNET | from, SUBNET | tenant(mapping)),
            (Kind::Arp, _) => {
                let mut frame = [0; arp::MAX_FRAME];
                let length =
                    arp::request(&mut frame, (mac, SUBNET | from), 0, SUBNET | tenant(mapping), None);
                frame[..length].to_vec()
            }
            (Kind::Solicitation, _) => {
                let mut frame = [0; ndp::MAX_FRAME];
                let to = VNET | u128::from(tenant(mapping));
                let group = ipv6::solicited_node(to);
                let envelope = Envelope {
                    to_mac: Mac::of_ipv6_multicast(group),
                    from_mac: mac,
                    vlan: 0,
                    source: VNET | u128::from(from),
                    destination: group,
                };
                let length = ndp::solicitation(&mut frame, envelope, to);
                frame[..length].to_vec()
            }
        }
    }

    pub(crate) fn write_pcap(&self, path: &Path) {
        let file = std::io::BufWriter::new(std::fs::File::create(path).expect("a file"));
        let mut writer = PcapWriter::new(file).expect("a capture");
        for index in 0..self.packets {
            let frame = self.frame(index);
            let packet = PcapPacket::new(Duration::ZERO, frame.len() as u32, &frame);
            writer.write_packet(&packet).expect("written");
        }
    }

    /// Number of hosts: each has sixteen mappings in a small case, a thousand in a large one.
    pub(crate) fn hosts(&self) -> u64 {
        (self.mappings / 16).clamp(1, 1000).max(self.mappings / 1000)
    }

    pub(crate) fn record(&self, index: u64, shift: u64) -> Change {
        self.upsert(index, Locator(0xfd00_0001_0001_0000 + (index + shift) % self.hosts()))
    }

    pub(crate) fn upsert(&self, index: u64, locator: Locator) -> Change {
        Change::Upsert(MappingRecord {
            domain: 0,
            identifier: self.identifier(index),
            target: MappingTarget::Locators(vec![LocatorChoice { locator, priority: 0, weight: 1 }]),
        })
    }

    /// Where every tenant is that moves.
    fn presence(&self) -> Presence {
        match self.moves {
            Moves::Left => Presence::Departed(Departure {
                locators: vec![],
                tunnel: Some(TunnelEnds { from: VTEP, to: OTHER_VTEP }),
                in_flight: Some(InFlight::Tunnel),
                until_ms: u64::MAX,
                may_send: false,
            }),
            Moves::Came | Moves::No => {
                Presence::Here(Tunnels { to: VTEP, from: vec![OTHER_VTEP], copies: false })
            }
        }
    }

    pub(crate) fn filled(&self, cores: &[u16]) -> Rib {
        let config = Config::parse(&self.configuration(cores), "bench.yaml")
            .unwrap_or_else(|errors| panic!("{errors}"));
        let mut rib = Rib::new(&config, &[OURS, OURS, OURS], 42);
        for n in 0..if self.moves == Moves::No { 0 } else { self.attached() } {
            let at = AttachmentKey { port: OUT, vlan: 0, mac: attached_mac(n) };
            rib.set_presence(at, self.presence()).unwrap_or_else(|why| panic!("{why}"));
        }
        if !self.local {
            let mut from = 0;
            while from < self.mappings {
                let to = (from + CHUNK).min(self.mappings);
                rib.apply(batch((from..to).map(|index| self.record(index, 0)).collect())).expect("mappings");
                from = to;
            }
        }
        rib
    }
}

pub(crate) fn batch(changes: Vec<Change>) -> Batch {
    Batch { origin: Origin::Admin, changes, complete: false }
}

/// The lower bits of a tenant's address.
fn tenant(index: u64) -> u32 {
    ((index / 0xfffe) << 16) as u32 | (1 + index % 0xfffe) as u32
}

fn sender(n: u64) -> u32 {
    FIRST_SENDER + n as u32
}

fn sender_mac(n: u64) -> Mac {
    Mac([2, 0, 0, 2, (n >> 8) as u8, n as u8])
}

fn attached_mac(n: u64) -> Mac {
    Mac([2, 0, 0, 1, (n >> 8) as u8, n as u8])
}

fn ipv6_address(low: u32) -> std::net::Ipv6Addr {
    std::net::Ipv6Addr::from(VNET | u128::from(low))
}

fn ipv4_address(low: u32) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::from(SUBNET | low)
}

fn route(index: u64) -> u64 {
    // Distinct /48 and /56 prefixes spread over 2400::/8.
    let mixed = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    (0x24 << 56) | (mixed << 32 & 0x00ff_ffff_0000_0000) | (index & 0xffff) << 16
}

fn on_wire(identifier: Identifier, checksum_delta: u16) -> u128 {
    let identifier = Identifier(neutral::add_low(identifier.0, checksum_delta));
    OWN.with(neutral::there(identifier, Adjustment::of(SIR, OWN), ChecksumMode::NeutralMap))
}

/// A frame with UDP over IPv6. The checksum covers `known_as` as the destination, or `destination` if that is 0.
fn udp6(to: Mac, from: Mac, source: u128, destination: u128, known_as: u128) -> Vec<u8> {
    let mut frame = vec![0u8; 62];
    frame[..14].copy_from_slice(&ethernet::header(to, from, 0).0[..14]);
    ipv6::Ipv6::of_mut(&mut frame[14..]).expect("room").write(8, UDP, 64, source, destination);
    frame[54..60].copy_from_slice(&[0x80, 1, 0, 9, 0, 8]);
    let known_as = if known_as == 0 { destination } else { known_as };
    let sum = checksum::transport(source, known_as, UDP, &frame[54..]);
    frame[60..].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// A frame that comes through a tunnel: VXLAN over IPv6, with a UDP checksum.
fn in_tunnel(inner: &[u8], flow: u64) -> Vec<u8> {
    let mut frame = vec![0u8; ethernet::HEADER + vxlan::OVERHEAD];
    frame[..ethernet::HEADER].copy_from_slice(&ethernet::header(OURS, NEXT, 0).0[..ethernet::HEADER]);
    let payload = (udp::HEADER + vxlan::HEADER + inner.len()) as u16;
    ipv6::Ipv6::of_mut(&mut frame[14..]).expect("room").write(payload, UDP, 64, OTHER_VTEP, VTEP);
    frame[14 + udp::HEADERS..].copy_from_slice(&vxlan::header(VNID));
    frame.extend_from_slice(inner);
    let ports = (vxlan::source_port(flow as u32), vxlan::PORT);
    udp::seal_ipv6(&mut frame[14 + ipv6::HEADER..], OTHER_VTEP, VTEP, ports);
    frame
}

/// A frame with UDP over IPv4.
fn udp4(to: Mac, from: Mac, source: u32, destination: u32) -> Vec<u8> {
    let mut frame = vec![0u8; 62];
    frame[..14].copy_from_slice(&ethernet::header(to, from, 0).0[..14]);
    frame[12..14].copy_from_slice(&ethernet::IPV4.to_be_bytes());
    ipv4::Ipv4::of_mut(&mut frame[14..]).expect("room").write(48, UDP, 64, source, destination);
    ipv4::seal(&mut frame[14..34]);
    frame[34..40].copy_from_slice(&[0x80, 1, 0, 9, 0, 28]);
    // The pseudo headers of IPv4 and IPv6 have the same sum, although their fields differ in width (RFC 768,
    // RFC 8200 §8.1).
    let sum = checksum::transport(u128::from(source), u128::from(destination), UDP, &frame[34..]);
    frame[40..42].copy_from_slice(&sum.to_be_bytes());
    frame
}
