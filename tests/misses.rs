//! What the authority is to be asked for: identifiers without a mapping to which tenants and tasks of this node send, or
//! for which they ask. What becomes of packets is the same as without an authority; questions are kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::config::Config;
use ilagate::ila::Identifier;
use ilagate::mapping::{Batch, Change, Origin};
use ilagate::net::ndp::{self, Envelope};
use ilagate::net::{Mac, ethernet};
use ilagate::node::rib::Rib;
use ilagate::path::{Ctx, Limiter, Miss, Missed, Packet, Pipeline, Verdict};
use ilagate::table::{DomainId, PortId, Tables};
use support::packets::*;
use support::tenants::*;
use support::*;

const FABRIC: PortId = PortId(0);
const ACCESS: PortId = PortId(1);
const CACHE: &str = "nva: {endpoints: ['unix:/run/nva.sock'], mode: cache}";
const TASK_OF_NOBODY: &str = "2001:db8:dddd:0:2000::77";

/// A host, what workers look up there, and one of them.
struct Host {
    tables: Tables,
    pipeline: Pipeline,
    now_ms: u64,
}

impl Host {
    fn new(locator: &str, rules: &Rules<'_>) -> Self {
        Host::of(&written(locator, rules).0, &written(locator, rules).1)
    }

    fn of(text: &str, mapped: &[(String, &str)]) -> Self {
        let config = Config::parse(text, "test.yaml").unwrap_or_else(|errors| panic!("{errors}"));
        let mut rib = Rib::new(&config, &[NVE_FABRIC, NVE_ACCESS], 1);
        let changes = records(&config, mapped).into_iter().map(Change::Upsert).collect();
        rib.apply(Batch { origin: Origin::File, changes, complete: true }).unwrap();
        Host { tables: rib.compile(), pipeline: Pipeline::new(Limiter::new(1_000, 1_000)), now_ms: 1 }
    }

    /// The verdict of a frame, and what is to be asked for.
    fn receive(&mut self, port: PortId, frame: &[u8]) -> (Verdict, Vec<Miss>) {
        let mut room = vec![0; 2048];
        room[128..128 + frame.len()].copy_from_slice(frame);
        let mut burst = [Packet::new(&mut room, 128, 128 + frame.len() as u16, port)];
        self.pipeline.run(&mut burst, &Ctx { tables: &self.tables, now_ms: self.now_ms });
        let is_something = self.pipeline.has_notices();
        let Missed { told, suppressed, lost } = self.pipeline.take_misses();
        assert!(is_something || told.is_empty() && (suppressed, lost) == (0, 0));
        (burst[0].verdict, told.to_vec())
    }
}

fn caching() -> Rules<'static> {
    Rules { more: CACHE, ..Rules::default() }
}

fn miss(identifier: Identifier) -> Vec<Miss> {
    vec![Miss { domain: DomainId(0), identifier }]
}

fn datagram(from: &str, to: &str) -> Vec<u8> {
    let (from, to) = (address(from), address(to));
    ipv6(from, to, 17, &udp(from, to, b"query"))
}

fn solicitation(from_mac: Mac, vlan: u16, from: u128, target: u128) -> Vec<u8> {
    let destination = 0xff02_0000_0000_0000_0000_0001_ff00_0000 | target & 0xff_ffff;
    let to_mac = Mac::of_ipv6_multicast(destination);
    let mut frame = [0; ndp::MAX_FRAME];
    let envelope = Envelope { to_mac, from_mac, vlan, source: from, destination };
    let length = ndp::solicitation(&mut frame, envelope, target);
    frame[..length].to_vec()
}

#[test]
fn what_tenants_send_to_and_ask_for_is_told_once() {
    let arp = arp_frame(&asks(VM1, 0x0a00_0001, 0x0a00_004d), 0);
    let own6 = address("2001:db8:a::1");
    let (of_ipv4, of_ipv6) = (Identifier::tenant_ipv4(100, 0x0a00_004d), Identifier::tenant_ipv6(100, 0x4d));
    for (frame, identifier, is_question) in [
        (ipv4_frame(ANYCAST, VM1, &ipv4_packet([10, 0, 0, 1], [10, 0, 0, 77], 64, b"query")), of_ipv4, false),
        (frame(ANYCAST, VM1, &datagram("2001:db8:a::1", "2001:db8:a::4d")), of_ipv6, false),
        (arp, of_ipv4, true),
        (solicitation(VM1, 0, own6, address("2001:db8:a::4d")), of_ipv6, true),
    ] {
        let mut host = Host::new(L1, &caching());
        let (verdict, missed) = host.receive(ACCESS, &frame);
        assert_eq!((verdict == Verdict::Punt, missed), (is_question, miss(identifier)));
        host.now_ms += 999;
        assert_eq!(host.receive(ACCESS, &frame), (verdict, Vec::new()));
        host.now_ms += 1;
        assert_eq!(host.receive(ACCESS, &frame).1, miss(identifier));
        // Without an authority to ask, a packet fares the same, and a question is nobody's.
        for more in ["", "nva: {endpoints: ['unix:/run/nva.sock']}"] {
            let mut host = Host::new(L1, &Rules { more, ..Rules::default() });
            let (alone, missed) = host.receive(ACCESS, &frame);
            assert!(missed.is_empty() && matches!(alone, Verdict::Drop(_)), "{alone:?}");
            assert!(is_question || alone == verdict);
        }
    }
}

#[test]
fn what_is_known_or_forbidden_is_not_told() {
    let mut host = Host::new(L1, &caching());
    let to = |to| ipv4_frame(ANYCAST, VM1, &ipv4_packet([10, 0, 0, 1], to, 64, b"query"));
    assert_eq!(host.receive(ACCESS, &to([10, 0, 0, 2])), (Verdict::Forward(FABRIC), Vec::new()));
    let own = address("2001:db8:a::1");
    for (frame, why) in [
        (arp_frame(&asks(VM1, 0x0a00_0001, 0x0a00_0002), 0), "a known address"),
        (arp_frame(&asks(VM1, 0x0a00_0001, 0x0a00_00fe), 0), "the gateway"),
        (arp_frame(&asks(VM1, 0x0a00_0001, 0xc000_0201), 0), "no address of the network"),
        (arp_frame(&asks(VM1, 0x0a00_0009, 0x0a00_004d), 0), "a foreign sender"),
        (solicitation(VM1, 0, own, address("2001:db8:a::2")), "a known address"),
        (solicitation(VM1, 0, own, address("2001:db8:b::4d")), "an address of another network"),
        (solicitation(VM1, 0, own, address(TASK_OF_NOBODY)), "a task, without a policy"),
        (frame(ANYCAST, VM1, &datagram("2001:db8:a::1", TASK_OF_NOBODY)), "a task, without a policy"),
        (frame(ANYCAST, VM1, &datagram("2001:db8:a::1", "2001:db8:b::4d")), "another network"),
        (frame(ANYCAST, VM1, &datagram("2001:db8:a::9", "2001:db8:a::4d")), "a foreign sender"),
        (frame(ANYCAST, VM1, &datagram("2001:db8:a::1", "2001:db8:1::1")), "the Internet"),
    ] {
        assert_eq!(host.receive(ACCESS, &frame).1, Vec::new(), "{why}");
    }
    // What comes from elsewhere is another node's to ask for.
    let frame = frame(NVE_FABRIC, GATEWAY_FABRIC, &datagram("2001:db8:1::1", TASK_OF_NOBODY));
    assert_eq!(host.receive(FABRIC, &frame).1, Vec::new());
}

#[test]
fn what_tasks_send_to_is_told_whether_it_is_dropped_or_sent_on() {
    let identifier = Identifier::of_address(address(TASK_OF_NOBODY));
    let task = address(SERVICE);
    let packet = tagged(TASK_ROUTER, TASK, 9, &datagram(SERVICE, TASK_OF_NOBODY));
    let (text, mapped) = written(L2, &caching());
    let routed = text.replace("router_mac:", "on_miss: route, router_mac:");
    for (text, is_sent_on) in [(&text, false), (&routed, true)] {
        let mut host = Host::of(text, &mapped);
        let (verdict, missed) = host.receive(ACCESS, &packet);
        assert_eq!((verdict == Verdict::Forward(FABRIC), missed), (is_sent_on, miss(identifier)));
    }
    // A question for a task that is not known is kept until the authority answers.
    let mut host = Host::of(&text, &mapped);
    let frame = solicitation(TASK, 9, task, address(TASK_OF_NOBODY));
    assert_eq!(host.receive(ACCESS, &frame), (Verdict::Punt, miss(identifier)));
    assert_eq!(ethernet::source(&frame), Some(TASK));
}
