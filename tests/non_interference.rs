//! Non-interference: no byte of a network, a task or the outside reaches another one without a policy, errors and copies
//! included (ILA draft §6, VMM draft §10).
//!
//! Everybody marks what it sends, and sends what it likes: any source, any destination, errors about packets that were
//! never sent, fragments, groups, IPv4. Two hosts and a gateway carry it. Who receives somebody's mark must be one that a
//! policy lets it send to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::net::{Mac, checksum, ethernet, ipv4};
use proptest::prelude::*;
use support::packets::*;
use support::tenants::*;
use support::*;

/// Who sends and receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Red,
    Blue,
    Service,
    Outside,
}

impl Owner {
    fn mark(self) -> &'static [u8; 8] {
        match self {
            Owner::Red => b"mark:red",
            Owner::Blue => b"mark:blu",
            Owner::Service => b"mark:svc",
            Owner::Outside => b"mark:out",
        }
    }

    const ALL: [Owner; 4] = [Owner::Red, Owner::Blue, Owner::Service, Owner::Outside];
}

/// From whom to whom.
type Directions = &'static [(Owner, Owner)];

/// Policies, and the directions that they allow.
const POLICIES: &[(&str, Directions)] = &[
    ("", &[]),
    (TO_SERVICE, &[(Owner::Red, Owner::Service)]),
    (FROM_SERVICE, &[(Owner::Service, Owner::Red)]),
    (TASKS, &[(Owner::Red, Owner::Service), (Owner::Service, Owner::Red)]),
    (INTERNET_TOO, &[(Owner::Red, Owner::Outside), (Owner::Outside, Owner::Red)]),
    ("{from: red, to: outside}", &[(Owner::Red, Owner::Outside)]),
    ("{from: outside, to: blue}", &[(Owner::Outside, Owner::Blue)]),
    (BLUE_TO_RED, &[(Owner::Blue, Owner::Red)]),
    (BOTH, &[(Owner::Red, Owner::Blue), (Owner::Blue, Owner::Red)]),
];

/// Whether a frame that `to` receives may carry a mark of `from`.
fn may_reach(from: Owner, to: Owner, allowed: &[(Owner, Owner)], is_error: bool) -> bool {
    let free = |owner: Owner| matches!(owner, Owner::Service | Owner::Outside);
    from == to
        || free(from) && free(to)
        || allowed.contains(&(from, to))
        // Routers outside report what happened to packets that may leave.
        || is_error && from == Owner::Outside && allowed.contains(&(to, from))
}

const ADDRESSES: &[&str] = &[
    "2001:db8:a::1",
    "2001:db8:a::2",
    "2001:db8:a::9",
    "2001:db8:a::ffff:fffe",
    "2001:db8:b::3",
    "2001:db8:b::ffff:fffe",
    SERVICE,
    "2001:db8:dddd:0:2000::5",
    "2001:db8:dddd:0:4000:64:a00:1",
    "2001:db8:dddd:0:4000:64:a00:2",
    "2001:db8:dddd:0:4000:c8:a00:2",
    "2001:db8:dddd:0:4000:64:a00:ff",
    "2001:db8:dddd:0:6000:64:0:1",
    "2001:db8:dddd:0:6000:c8:0:3",
    "fd00:1:0:1:4000:64:a00:1",
    "fd00:1:0:1:5000:c8:a00:fe95",
    "fd00:1:0:1:6000:64:0:1",
    "fd00:1:0:1:6000:c8:0:3",
    "fd00:1:0:1:7000:c8:0:3",
    "fd00:1:0:1:5000:64:ffff:ffff",
    "fd00:1:0:2:2000::4",
    "fd00:1:0:2:6000:64:0:2",
    "fd00:1:0:2:7000:64:0:c05c",
    "fd00:1:0:2:8064:5:0:1",
    "2001:db8:9::9",
    "2001:db8:ff::1",
    "2001:db8:ff::ff",
    "fd00:1:0:fe::1",
    "fd00:ffff::1",
    "fd00:ffff::99",
    "fe80::1",
    "ff02::1",
    "ff05::5",
    "ff0e::5",
    "::",
];

const ADDRESSES4: &[[u8; 4]] = &[
    [10, 0, 0, 1],
    [10, 0, 0, 2],
    [10, 0, 0, 9],
    [10, 0, 0, 101],
    [10, 0, 0, 102],
    [10, 0, 0, 103],
    [10, 0, 0, 104],
    [10, 0, 0, 111],
    [10, 0, 0, 200],
    [10, 0, 0, 254],
    [10, 0, 0, 255],
    [192, 0, 2, 4],
    [224, 0, 0, 5],
    [239, 1, 1, 1],
    [255, 255, 255, 255],
    [0, 0, 0, 0],
];

/// What somebody sends: places in the lists, and how it is dressed.
#[derive(Debug, Clone)]
struct Sent {
    from: usize,
    is_ipv4: bool,
    source: usize,
    destination: usize,
    quoted: (usize, usize),
    kind: u8,
    message: u8,
    hops: u8,
    dressed: u8,
    group_frame: bool,
}

fn sent() -> impl Strategy<Value = Sent> {
    let places =
        (0usize..5, 0..ADDRESSES.len(), 0..ADDRESSES.len(), (0..ADDRESSES.len(), 0..ADDRESSES.len()));
    let dress =
        (any::<bool>(), 0u8..5, 0u8..8, prop::sample::select(vec![1u8, 2, 3, 64]), 0u8..6, any::<bool>());
    (places, dress).prop_map(
        |((from, source, destination, quoted), (is_ipv4, kind, message, hops, dressed, group_frame))| Sent {
            from,
            is_ipv4,
            source,
            destination,
            quoted,
            kind,
            message,
            hops,
            dressed,
            group_frame,
        },
    )
}

/// Somebody who sends.
struct Sender {
    /// Host 0 or 1, or the gateway: 2.
    node: usize,
    port: &'static str,
    mac: Mac,
    vlan: u16,
    owner: Owner,
    ipv6: &'static str,
    ipv4: [u8; 4],
}

const SENDERS: [Sender; 5] = [
    Sender {
        node: 0,
        port: "access0",
        mac: VM1,
        vlan: 0,
        owner: Owner::Red,
        ipv6: "2001:db8:a::1",
        ipv4: [10, 0, 0, 1],
    },
    Sender {
        node: 1,
        port: "access0",
        mac: VM2,
        vlan: 0,
        owner: Owner::Red,
        ipv6: "2001:db8:a::2",
        ipv4: [10, 0, 0, 2],
    },
    Sender {
        node: 0,
        port: "access0",
        mac: VM3,
        vlan: 7,
        owner: Owner::Blue,
        ipv6: "2001:db8:b::3",
        ipv4: [10, 0, 0, 2],
    },
    Sender {
        node: 1,
        port: "access0",
        mac: TASK,
        vlan: 9,
        owner: Owner::Service,
        ipv6: SERVICE,
        ipv4: [10, 0, 0, 1],
    },
    Sender {
        node: 2,
        port: "ext0",
        mac: INTERNET,
        vlan: 0,
        owner: Owner::Outside,
        ipv6: "2001:db8:9::9",
        ipv4: [192, 0, 2, 1],
    },
];

fn marked(owner: Owner) -> Vec<u8> {
    owner.mark().repeat(3)
}

/// The IPv6 packet.
fn packet6(sent: &Sent, owner: Owner, own: &str) -> Vec<u8> {
    // Half of all packets have an honest source: the others hardly get anywhere.
    let source = if sent.dressed.is_multiple_of(2) { own } else { ADDRESSES[sent.source] };
    let (from, to) = (address(source), address(ADDRESSES[sent.destination]));
    let (next, payload) = match sent.kind {
        0 => (17, udp(from, to, &marked(owner))),
        1 => (6, tcp(from, to, &marked(owner))),
        2 => (58, icmp6(from, to, 128, 0, &[&[0, 1, 0, 2][..], &marked(owner)].concat())),
        3 => (58, icmp6(from, to, 129, 0, &[&[0, 1, 0, 2][..], &marked(owner)].concat())),
        _ => {
            let (by, at) = (address(ADDRESSES[sent.quoted.0]), address(ADDRESSES[sent.quoted.1]));
            let quote = ipv6(by, at, 17, &udp(by, at, &marked(owner)));
            let error = icmp6_error(from, to, sent.message, 0, 1280, &quote);
            (58, error[40..].to_vec())
        }
    };
    let mut packet = match sent.dressed {
        2 => ipv6(from, to, 44, &[&[next, 0, 0, 1, 0, 0, 0, 7][..], &payload].concat()),
        3 => ipv6(from, to, 60, &[&[next, 0, 1, 4, 0, 0, 0, 0][..], &payload].concat()),
        4 => ipv6(from, to, 51, &[&[next, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &payload].concat()),
        _ => ipv6(from, to, next, &payload),
    };
    packet[7] = sent.hops;
    packet
}

/// The IPv4 packet.
fn packet4(sent: &Sent, owner: Owner, own: [u8; 4]) -> Vec<u8> {
    let at = |place: usize| ADDRESSES4[place % ADDRESSES4.len()];
    let source = if sent.dressed.is_multiple_of(2) { own } else { at(sent.source) };
    let to = at(sent.destination);
    let icmp = |kind: u8, rest: &[u8]| {
        let mut message = [&[kind, 0, 0, 0, 0, 1, 0, 2][..], rest].concat();
        let sum = !checksum::sum_of_bytes(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut packet = ipv4_packet(source, to, sent.hops, &message);
        // The UDP header of the builder goes.
        packet.drain(20..28);
        let length = packet.len() as u16;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet[9] = 1;
        packet
    };
    let mut packet = match sent.kind {
        0 | 1 => ipv4_packet(source, to, sent.hops, &marked(owner)),
        2 => icmp(8, &marked(owner)),
        3 => icmp(0, &marked(owner)),
        _ => {
            let quote = ipv4_packet(at(sent.quoted.0), at(sent.quoted.1), 64, &marked(owner));
            icmp([3, 4, 5, 11, 12, 8, 0, 3][usize::from(sent.message)], &quote)
        }
    };
    if sent.dressed == 2 {
        packet[6] = 0x20;
    }
    ipv4::seal(&mut packet[..20]);
    packet
}

/// Who receives a frame that leaves through a port.
fn receiver(port: &str, frame: &[u8]) -> Vec<Owner> {
    if port == "ext0" {
        return vec![Owner::Outside];
    }
    let to = ethernet::destination(frame).unwrap();
    let vlan = (frame[12..14] == [0x81, 0]).then(|| u16::from_be_bytes([frame[14], frame[15]]) & 0xfff);
    // A group frame is heard by all on its VLAN.
    match vlan {
        Some(7) => vec![Owner::Blue],
        Some(9) => vec![Owner::Service],
        _ if to == VM1 || to == VM2 || to.is_multicast() => vec![Owner::Red],
        _ => panic!("a frame to {to} on {vlan:?}"),
    }
}

/// Whether a frame is an ICMP or ICMPv6 error.
fn is_error(frame: &[u8]) -> bool {
    let start = if frame[12..14] == [0x81, 0] { 18 } else { 14 };
    let l3 = &frame[start..];
    match l3[0] >> 4 {
        6 => ilagate::net::ipv6::upper(l3).is_ok_and(|upper| upper.protocol == 58 && l3[upper.offset] < 128),
        4 => l3[9] == 1 && [3, 4, 5, 11, 12].contains(&l3[usize::from(l3[0] & 15) * 4]),
        _ => false,
    }
}

fn has(frame: &[u8], mark: &[u8]) -> bool {
    frame.windows(mark.len()).any(|bytes| bytes == mark)
}

/// Two hosts and a gateway.
struct Fabric {
    nodes: [Node; 3],
    allowed: Directions,
    delivered: usize,
}

impl Fabric {
    fn new(place: usize) -> Fabric {
        let (policies, allowed) = POLICIES[place];
        let mapped = [
            ("2001:db8:dddd:0:4000:64:a00:1", L1),
            ("2001:db8:dddd:0:6000:64:0:1", L1),
            ("2001:db8:dddd:0:4000:c8:a00:2", L1),
            ("2001:db8:dddd:0:6000:c8:0:3", L1),
            ("2001:db8:dddd:0:4000:64:a00:2", L2),
            ("2001:db8:dddd:0:6000:64:0:2", L2),
            (SERVICE, L2),
        ];
        let nodes = [peered(L1, policies), peered(L2, policies), network_gateway(policies, &mapped)];
        Fabric { nodes, allowed, delivered: 0 }
    }

    /// Sends a frame into a port of a node, and carries what leaves until nothing is left.
    fn carry(&mut self, node: usize, port: &str, frame: Vec<u8>, hops: usize) {
        self.nodes[node].wait_ms(50);
        let (_, out) = self.nodes[node].receive_copies(port, &frame);
        for (port, mut frame) in out {
            if port != "fabric0" {
                self.judge(&port, &frame);
                continue;
            }
            let high = (destination(&frame[14..]) >> 64) as u64;
            let next = match high {
                0xfd00_0001_0000_0001 => 0,
                0xfd00_0001_0000_0002 => 1,
                _ => 2,
            };
            if next != node && hops > 0 {
                let to = if next == 2 { GATEWAY_FABRIC } else { NVE_FABRIC };
                frame[..6].copy_from_slice(&to.0);
                self.carry(next, "fabric0", frame, hops - 1);
            }
        }
    }

    fn judge(&mut self, port: &str, frame: &[u8]) {
        for to in receiver(port, frame) {
            for from in Owner::ALL.into_iter().filter(|from| has(frame, from.mark())) {
                self.delivered += usize::from(from != to);
                let fine = may_reach(from, to, self.allowed, is_error(frame));
                assert!(fine, "a byte of {from:?} reached {to:?}: {frame:02x?}");
            }
        }
    }

    fn send(&mut self, sent: &Sent) {
        let Sender { node, port, mac, vlan, owner, ipv6: own6, ipv4: own4 } = SENDERS[sent.from];
        let is_ipv4 = sent.is_ipv4 && owner != Owner::Outside;
        let packet = if is_ipv4 { packet4(sent, owner, own4) } else { packet6(sent, owner, own6) };
        let to = match (owner, sent.group_frame) {
            (_, true) if sent.dressed == 5 => Mac([0x33, 0x33, 0, 0, 0, 1]),
            (Owner::Red | Owner::Blue, _) => ANYCAST,
            (Owner::Service, _) => TASK_ROUTER,
            (Owner::Outside, _) => GATEWAY_EXTERNAL,
        };
        let frame = match (is_ipv4, vlan) {
            (true, vlan) => ipv4_tagged(to, mac, vlan, &packet),
            (false, 0) => frame(to, mac, &packet),
            (false, vlan) => tagged(to, mac, vlan, &packet),
        };
        self.carry(node, port, frame, 6);
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn no_byte_crosses_without_a_policy(policies in 0..POLICIES.len(), all in prop::collection::vec(sent(), 1..60)) {
        let mut fabric = Fabric::new(policies);
        all.iter().for_each(|sent| fabric.send(sent));
    }
}

/// The law sees something: where a policy allows it, marks do cross.
#[test]
fn with_a_policy_bytes_do_cross() {
    for (place, (_, allowed)) in POLICIES.iter().enumerate() {
        let mut fabric = Fabric::new(place);
        let mut crossed = 0;
        for from in 0..5 {
            for destination in 0..ADDRESSES.len() {
                let plain = Sent {
                    from,
                    is_ipv4: false,
                    source: 0,
                    destination,
                    quoted: (0, 0),
                    kind: 0,
                    message: 1,
                    hops: 64,
                    dressed: 0,
                    group_frame: false,
                };
                fabric.send(&plain);
                fabric.send(&Sent { is_ipv4: true, ..plain });
            }
        }
        crossed += fabric.delivered;
        assert!(crossed > allowed.len(), "{place}: {crossed}");
    }
}
