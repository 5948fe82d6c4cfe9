//! What the authority is to be asked for: identifiers without a mapping to which tenants and tasks of this node send, or
//! for which they ask. What becomes of packets is the same as without an authority; questions are kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ilagate::config::Config;
use ilagate::ila::{Identifier, Locator};
use ilagate::mapping::{
    Batch, Change, LocatorChoice, MappingRecord, MappingTarget, Origin, Presence, Tunnels,
};
use ilagate::net::ndp::{self, Envelope};
use ilagate::net::{Mac, ethernet};
use ilagate::node::rib::Rib;
use ilagate::path::{Ctx, Limiter, Miss, Missed, Packet, Pipeline, Verdict, triangle};
use ilagate::table::{AttachmentKey, DomainId, PortId, Tables};
use support::packets::*;
use support::tenants::*;
use support::*;

const FABRIC: PortId = PortId(0);
const ACCESS: PortId = PortId(1);
const CACHE: &str = "nva: {endpoints: ['unix:/run/nva.sock'], mode: cache}";
const TASK_OF_NOBODY: &str = "2001:db8:dddd:0:2000::77";

/// A host, what workers look up there, and one of them.
struct Host {
    rib: Rib,
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
        let (tables, pipeline) = (rib.compile(), Pipeline::new(Limiter::new(1_000, 1_000)));
        Host { rib, tables, pipeline, now_ms: 1 }
    }

    fn apply(&mut self, change: Change) {
        self.rib.apply(Batch { origin: Origin::File, changes: vec![change], complete: false }).unwrap();
        self.tables = self.rib.compile();
    }

    /// Verdict and bytes of a frame, and what is to be asked for.
    fn pass(&mut self, frame: &[u8]) -> (Verdict, Vec<u8>, Vec<Miss>) {
        let mut room = vec![0; 2048];
        room[128..128 + frame.len()].copy_from_slice(frame);
        let mut burst = [Packet::new(&mut room, 128, 128 + frame.len() as u16, ACCESS)];
        self.pipeline.run(&mut burst, &Ctx { tables: &self.tables, now_ms: self.now_ms });
        (burst[0].verdict, burst[0].frame().to_vec(), self.pipeline.take_misses().told.to_vec())
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
            let is_right = if is_question { matches!(alone, Verdict::Drop(_)) } else { alone == verdict };
            assert!(missed.is_empty() && is_right, "{alone:?}");
        }
    }
}

#[test]
fn what_goes_to_who_is_expected_here_is_held_and_asked_for_and_then_goes_where_that_is_still() {
    let vm5 = "  - {name: vm5, port: access0, vlan: 5, mac: \"02:00:00:00:01:05\", network: red, addresses: [10.0.0.5]}\n";
    let at = AttachmentKey { port: ACCESS, vlan: 5, mac: Mac([2, 0, 0, 0, 1, 5]) };
    let frame = ipv4_frame(ANYCAST, VM1, &ipv4_packet([10, 0, 0, 1], [10, 0, 0, 5], 64, b"query"));
    let identifier = Identifier::tenant_ipv4(100, 0x0a00_0005);
    for more in ["", CACHE] {
        let mut host = Host::new(L1, &Rules { more, attachments: vm5, ..Rules::default() });
        host.rib
            .set_presence(at, Presence::Expected(Tunnels { to: 1, from: Vec::new(), copies: false }))
            .unwrap();
        host.tables = host.rib.compile();
        let (verdict, missed) = host.receive(ACCESS, &frame);
        assert!(matches!(verdict, Verdict::Hold(_)), "{verdict:?}");
        assert_eq!(missed, if more == CACHE { miss(identifier) } else { Vec::new() });
        // The authority answers: it is at the other host still.
        let choice = LocatorChoice { locator: Locator(0xfd00_0001_0000_0002), priority: 0, weight: 1 };
        let target = MappingTarget::Locators(vec![choice]);
        host.apply(Change::Upsert(MappingRecord { domain: 0, identifier, target }));
        assert_eq!(host.receive(ACCESS, &frame), (Verdict::Forward(FABRIC), Vec::new()));
        // And once it is here, and what was held has left, it is delivered here.
        host.rib.set_presence(at, Presence::default()).unwrap();
        host.rib.end_releases(true);
        host.tables = host.rib.compile();
        assert_eq!(host.receive(ACCESS, &frame), (Verdict::Forward(ACCESS), Vec::new()));
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

#[test]
fn who_uses_a_mapping_that_is_about_to_expire_is_told_of_and_served_as_before() {
    let tenants = caching();
    let of_ipv4 = Identifier::tenant_ipv4(100, 0x0a00_0002);
    let of_ipv6 = Identifier::tenant_ipv6(100, 2);
    let of_task = Identifier::of_address(address(TASK_OF_NOBODY));
    let datagram4 = ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, b"query");
    for (locator, frame, identifier) in [
        (L1, ipv4_frame(ANYCAST, VM1, &datagram4), of_ipv4),
        (L1, frame(ANYCAST, VM1, &datagram("2001:db8:a::1", "2001:db8:a::2")), of_ipv6),
        (L2, tagged(TASK_ROUTER, TASK, 9, &datagram(SERVICE, TASK_OF_NOBODY)), of_task),
    ] {
        for locators in [&[0xfd00_0001_0000_0005][..], &[0xfd00_0001_0000_0005, 0xfd00_0001_0000_0006]] {
            let (text, mapped) = written(locator, &tenants);
            let mut host = Host::of(&text, &mapped);
            let choice = |prefix: &u64| LocatorChoice { locator: Locator(*prefix), priority: 0, weight: 1 };
            let target = MappingTarget::Locators(locators.iter().map(choice).collect());
            let mapping = Change::Upsert(MappingRecord { domain: 0, identifier, target });
            host.apply(mapping.clone());
            let before = host.pass(&frame);
            assert_eq!((before.0, before.2.len()), (Verdict::Forward(FABRIC), 0));
            host.apply(Change::Expiring { domain: 0, identifier });
            let (verdict, bytes, told) = host.pass(&frame);
            assert_eq!((verdict, &bytes, told), (before.0, &before.1, miss(identifier)));
            // Once a second, however many packets there are.
            assert_eq!(host.pass(&frame), before);
            host.now_ms += 1_000;
            assert_eq!(host.pass(&frame).2, miss(identifier));
            host.apply(mapping);
            host.now_ms += 1_000;
            assert_eq!(host.pass(&frame), before);
        }
    }
}

#[test]
fn packets_make_no_query_where_routers_tell_of_them_and_questions_do() {
    let rules =
        Rules { more: "nva: {endpoints: ['unix:/run/nva.sock'], mode: redirect}", ..Rules::default() };
    let mut host = Host::new(L1, &rules);
    let unknown = ipv4_frame(ANYCAST, VM1, &ipv4_packet([10, 0, 0, 1], [10, 0, 0, 77], 64, b"query"));
    assert_eq!(host.receive(ACCESS, &unknown).1, Vec::new());
    let question = arp_frame(&asks(VM1, 0x0a00_0001, 0x0a00_004d), 0);
    let identifier = Identifier::tenant_ipv4(100, 0x0a00_004d);
    assert_eq!(host.receive(ACCESS, &question), (Verdict::Punt, miss(identifier)));
    // And what is about to expire is told of.
    let known = Identifier::tenant_ipv4(100, 0x0a00_0002);
    host.apply(Change::Expiring { domain: 0, identifier: known });
    let packet = ipv4_frame(ANYCAST, VM1, &ipv4_packet([10, 0, 0, 1], [10, 0, 0, 2], 64, b"query"));
    assert_eq!(host.receive(ACCESS, &packet), (Verdict::Forward(FABRIC), miss(known)));
}

#[test]
fn a_packet_between_other_nodes_is_triangular_at_the_router() {
    let text = format!(
        r#"
node: {{name: gw}}
dpdk: {{workers: [1]}}
sir_domains:
  - {{name: tasks, prefix: "2001:db8:dddd::/64"}}
  - {{name: others, prefix: "2001:db8:eeee::/64"}}
locators: [{{prefix: "fd00:1:0:9::/64", domain: tasks}}]
virtual_networks:
  - {{name: red, vnid: 100, domain: tasks, ipv6: {{prefix: "2001:db8:a::/96"}}, ipv4: [{{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}}]}}
ports:
  - {{name: fabric0, device: net_null_a0, role: fabric, mac: "{NVE_FABRIC}", addresses: ["fd00:ffff::1/64"]}}
  - {{name: access0, device: net_null_b0, role: access, mac: "{NVE_ACCESS}"}}
attachments: [{{port: access0, vlan: 9, mac: "{TASK}", identifiers: ["2001:db8:dddd:0:2000::9"]}}]
"#
    );
    let mapped = [
        ("2001:db8:dddd:0:2000::1", L1),
        ("2001:db8:dddd:0:2000::2", L2),
        ("2001:db8:dddd:0:4000:64:a00:1", L1),
        ("2001:db8:dddd:0:4000:64:a00:2", L2),
        ("2001:db8:dddd:0:6000:64:0:1", L1),
        ("2001:db8:dddd:0:6000:64:0:2", L2),
    ];
    let mapped: Vec<_> = mapped.map(|(sir, locator)| (sir.to_owned(), locator)).into();
    let host = Host::of(&text, &mapped);
    let seen =
        |port, from, to| triangular(&host, port, &frame(NVE_FABRIC, GATEWAY_FABRIC, &datagram(from, to)));
    let identifiers = |source, destination| Some((Identifier(source), Identifier(destination)));
    let (task1, task2) = ("2001:db8:dddd:0:2000::1", "2001:db8:dddd:0:2000::2");
    assert_eq!(seen(FABRIC, task1, task2), identifiers(1 << 61 | 1, 1 << 61 | 2));
    let ipv4 = |last: u32| Identifier::tenant_ipv4(100, 0x0a00_0000 | last).0;
    let (vm1, vm2) = ("2001:db8:dddd:0:4000:64:a00:1", "2001:db8:dddd:0:4000:64:a00:2");
    assert_eq!(seen(FABRIC, vm1, vm2), identifiers(ipv4(1), ipv4(2)));
    let ipv6 = |last: u32| Identifier::tenant_ipv6(100, last).0;
    assert_eq!(seen(FABRIC, "2001:db8:a::1", "2001:db8:a::2"), identifiers(ipv6(1), ipv6(2)));
    for (port, from, to, what) in [
        (ACCESS, task1, task2, "from no fabric port"),
        (FABRIC, task1, "2001:db8:dddd:0:2000::7", "to nobody"),
        (FABRIC, "2001:db8:dddd:0:2000::7", task1, "from nobody"),
        (FABRIC, task1, "2001:db8:dddd:0:2000::9", "to a task here"),
        (FABRIC, "2001:db8:dddd:0:2000::9", task1, "from a task here"),
        (FABRIC, "2001:db8:1::1", task1, "from the Internet"),
        (FABRIC, task1, "2001:db8:1::1", "to the Internet"),
        (FABRIC, task1, "2001:db8:dddd:0:3000::2", "with the C-bit"),
        (FABRIC, task1, "fd00:1:0:2:2000::2", "in ILA form"),
    ] {
        assert_eq!(seen(port, from, to), None, "{what}");
    }
    assert_eq!(triangular(&host, FABRIC, &[0; 20]), None);
}

/// Source and destination of a triangular frame.
fn triangular(host: &Host, port: PortId, frame: &[u8]) -> Option<(Identifier, Identifier)> {
    triangle(frame, port, &host.tables).map(|seen| (seen.source, seen.destination))
}
