use super::*;
use crate::net::{checksum, ipv4, ipv6};

const VM1: Mac = Mac([2, 0, 0, 0, 1, 1]);
const VM2: Mac = Mac([2, 0, 0, 0, 1, 2]);
const GATEWAY: Mac = Mac([2, 0, 0x5e, 0, 0, 1]);
const ACCESS: PortId = PortId(0);
const G4: u32 = 0xef01_0203;
const G6: u128 = (0xff05 << 112) | 0x1234;

fn config(tenants: &str, multicast: &str) -> Config {
    parsed(&config_text(tenants, multicast))
}

fn parsed(text: &str) -> Config {
    Config::parse(text, "t.yaml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn config_text(tenants: &str, multicast: &str) -> String {
    format!(
        r#"
node: {{name: n}}
dpdk: {{workers: [1]}}
sir_domains: [{{name: tasks, prefix: "2001:db8:dddd::/64"}}]
locators: [{{prefix: "fd00:1:0:1::/64", domain: tasks}}]
ports: [{{name: a, device: net_null_d, role: access}}]
virtual_networks:
  - {{name: red, vnid: 100, domain: tasks, ipv6: {{prefix: "2001:db8:a::/96"}}, ipv4: [{{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}}]}}
  - {{name: four, vnid: 101, domain: tasks, ipv4: [{{prefix: "10.0.0.0/24", gateway: "10.0.0.254"}}]}}
attachments: [{tenants}]
multicast: {{{multicast}}}
"#
    )
}

fn tenant(mac: Mac, vlan: u16, network: &str, number: u8) -> String {
    format!("{{port: a, vlan: {vlan}, mac: \"{mac}\", network: {network}, addresses: [\"10.0.0.{number}\"]}}")
}

fn both() -> String {
    format!("{}, {}", tenant(VM1, 1, "red", 1), tenant(VM2, 2, "four", 2))
}

/// A report by IGMPv3 with these records: type and group.
fn igmp3(mac: Mac, vlan: u16, records: &[(u8, u32, &[u32])]) -> Vec<u8> {
    let mut message = vec![0x22, 0, 0, 0, 0, 0, 0, records.len() as u8];
    for (kind, group, sources) in records {
        message.extend([*kind, 0, 0, sources.len() as u8]);
        message.extend(group.to_be_bytes());
        sources.iter().for_each(|source| message.extend(source.to_be_bytes()));
    }
    igmp_frame(mac, vlan, 0xe000_0016, message)
}

fn igmp_frame(mac: Mac, vlan: u16, to: u32, mut message: Vec<u8>) -> Vec<u8> {
    let sum = !checksum::sum_of_bytes(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut header = vec![0x46, 0, 0, 24 + message.len() as u8, 0, 0, 0, 0, 1, 2, 0, 0, 10, 0, 0, 1];
    header.extend(to.to_be_bytes());
    header.extend([148, 4, 0, 0]);
    ipv4::seal(&mut header);
    let (link, length) = ethernet::header_of(Mac::of_ipv4_multicast(to), mac, vlan, ethernet::IPV4);
    [&link[..length], &header, &message].concat()
}

/// A message of MLDv1 about a group: 131 to join, 132 to leave.
fn mld1(mac: Mac, vlan: u16, kind: u8, group: u128) -> Vec<u8> {
    let from = mac.link_local();
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend(group.to_be_bytes());
    let sum = checksum::transport(from, group, ipv6::next::ICMP6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![0; ipv6::HEADER];
    ipv6::Ipv6::of_mut(&mut packet).unwrap().write(32, ipv6::next::HOP_BY_HOP, 1, from, group);
    let (link, length) = ethernet::header(Mac::of_ipv6_multicast(group), mac, vlan);
    [&link[..length], &packet, &[58, 0, 5, 2, 0, 0, 1, 0], &message].concat()
}

/// The joins and leaves, and how many queries.
fn said(effects: &mut Vec<Effect>) -> (Vec<(Mac, TenantAddress, bool)>, usize) {
    let mut queries = 0;
    let changes = effects.drain(..).filter_map(|effect| match effect {
        Effect::Joined(key, group) => Some((key.mac, group, true)),
        Effect::Left(key, group) => Some((key.mac, group, false)),
        Effect::Query(_) => {
            queries += 1;
            None
        }
    });
    (changes.collect(), queries)
}

struct Bench {
    memberships: Memberships,
    effects: Vec<Effect>,
}

impl Bench {
    fn new(tenants: &str, multicast: &str) -> Self {
        Bench { memberships: Memberships::new(&config(tenants, multicast)), effects: Vec::new() }
    }

    fn receive(&mut self, frame: &[u8], now_ms: u64) -> Vec<(Mac, TenantAddress, bool)> {
        self.memberships.receive(ACCESS, frame, now_ms, &mut self.effects);
        said(&mut self.effects).0
    }

    fn tick(&mut self, now_ms: u64) -> (Vec<(Mac, TenantAddress, bool)>, usize) {
        self.memberships.tick(now_ms, &mut self.effects);
        said(&mut self.effects)
    }
}

#[test]
fn a_report_joins_once_and_a_leave_leaves_at_once() {
    let mut bench = Bench::new(&both(), "");
    let group = TenantAddress::V4(G4);
    // Exclude nothing is to join, include nothing to leave (RFC 3376 §4.2.12).
    assert_eq!(bench.receive(&igmp3(VM1, 1, &[(4, G4, &[])]), 0), [(VM1, group, true)]);
    assert_eq!(bench.receive(&igmp3(VM1, 1, &[(2, G4, &[])]), 1), []);
    assert_eq!(bench.receive(&igmp3(VM2, 2, &[(3, G4, &[])]), 2), []);
    assert_eq!((bench.memberships.joined(), bench.memberships.refused()), (1, 0));
    assert_eq!(bench.receive(&igmp3(VM1, 1, &[(3, G4, &[])]), 3), [(VM1, group, false)]);
    // Version 2, and MLD of version 1.
    let [a, b, c, d] = G4.to_be_bytes();
    assert_eq!(
        bench.receive(&igmp_frame(VM1, 1, G4, vec![0x16, 0, 0, 0, a, b, c, d]), 4),
        [(VM1, group, true)]
    );
    assert_eq!(
        bench.receive(&igmp_frame(VM1, 1, 0xe000_0002, vec![0x17, 0, 0, 0, a, b, c, d]), 5),
        [(VM1, group, false)]
    );
    let group = TenantAddress::V6(G6);
    assert_eq!(bench.receive(&mld1(VM1, 1, 131, G6), 6), [(VM1, group, true)]);
    assert_eq!(bench.receive(&mld1(VM1, 1, 132, G6), 7), [(VM1, group, false)]);
    assert_eq!(bench.memberships.joined(), 0);
}

#[test]
fn who_wants_a_group_from_some_sources_gets_it_and_is_asked_when_it_wants_fewer() {
    let mut bench = Bench::new(&both(), "");
    let group = TenantAddress::V4(G4);
    bench.tick(0);
    assert_eq!(bench.receive(&igmp3(VM1, 1, &[(3, G4, &[7, 8])]), 0), [(VM1, group, true)]);
    bench.memberships.receive(ACCESS, &igmp3(VM1, 1, &[(6, G4, &[7])]), 1000, &mut bench.effects);
    let Some(Effect::Query(frame)) = bench.effects.pop() else { panic!("no query") };
    let link = ethernet::parse(&frame.bytes).unwrap();
    assert_eq!((link.vlan, ethernet::destination(&frame.bytes)), (1, Some(Mac::of_ipv4_multicast(G4))));
    let Ok(igmp::Message::Query(query)) = igmp::parse(&frame.bytes[link.header..]) else {
        panic!("no query")
    };
    assert_eq!((query.group, query.querier, query.max_response_ds), (Some(G4), 0x0a00_00fe, 10));
    // It still wants the other source; another time it says nothing.
    assert_eq!(bench.receive(&igmp3(VM1, 1, &[(1, G4, &[8])]), 2000), []);
    assert_eq!(bench.tick(4000).0, []);
    bench.receive(&igmp3(VM1, 1, &[(6, G4, &[8])]), 5000);
    assert_eq!(bench.tick(6900).0, []);
    assert_eq!(bench.tick(7300).0, [(VM1, group, false)]);
}

#[test]
fn a_tenant_cannot_make_the_node_ask_about_a_group_more_than_once_a_second() {
    let mut bench = Bench::new(&both(), "");
    bench.tick(0);
    bench.receive(&igmp3(VM1, 1, &[(4, G4, &[])]), 0);
    // Wants it, wants fewer, and so on: in one report, and in many.
    let records: Vec<(u8, u32, &[u32])> =
        (0..10).map(|n| (if n % 2 == 0 { 6 } else { 5 }, G4, &[7][..])).collect();
    for now_ms in [1000, 1001, 1999, 2000] {
        bench.memberships.receive(ACCESS, &igmp3(VM1, 1, &records), now_ms, &mut bench.effects);
    }
    assert_eq!(bench.effects.iter().filter(|effect| matches!(effect, Effect::Query(_))).count(), 2);
}

#[test]
fn who_does_not_answer_is_no_member_any_more_and_who_does_stays() {
    let mut bench = Bench::new(&both(), "query_interval_s: 20");
    bench.receive(&igmp3(VM1, 1, &[(4, G4, &[])]), 0);
    bench.receive(&igmp3(VM2, 2, &[(4, G4, &[])]), 0);
    bench.receive(&igmp3(VM2, 2, &[(2, G4, &[])]), 20_000);
    // Twice the interval and the time to respond.
    assert_eq!(bench.tick(49_990).0, []);
    assert_eq!(bench.tick(50_250).0, [(VM1, TenantAddress::V4(G4), false)]);
    assert_eq!(bench.tick(69_990).0, []);
    assert_eq!(bench.tick(70_250).0, [(VM2, TenantAddress::V4(G4), false)]);
}

#[test]
fn the_gateway_asks_every_link_in_the_families_of_its_network() {
    let mut bench = Bench::new(&both(), "query_interval_s: 100");
    let mut asked = |now_ms| {
        bench.memberships.tick(now_ms, &mut bench.effects);
        let frames = bench.effects.drain(..).map(|effect| match effect {
            Effect::Query(frame) => {
                let link = ethernet::parse(&frame.bytes).unwrap();
                let packet = &frame.bytes[link.header..];
                assert_eq!(ethernet::source(&frame.bytes), Some(GATEWAY));
                let family = if link.ethertype == ethernet::IPV4 {
                    let Ok(igmp::Message::Query(query)) = igmp::parse(packet) else { panic!("no query") };
                    assert_eq!((query.group, query.querier, query.interval_s), (None, 0x0a00_00fe, 100));
                    4
                } else {
                    let Ok(mld::Message::Query(query)) = mld::parse(packet) else { panic!("no query") };
                    assert_eq!((query.group, query.querier), (None, GATEWAY.link_local()));
                    assert_eq!((query.max_response_ms, query.robustness), (10_000, 2));
                    6
                };
                (link.vlan, family)
            }
            other => panic!("{other:?}"),
        });
        frames.collect::<Vec<_>>()
    };
    let all = [(1, 6), (1, 4), (2, 4)];
    assert_eq!(asked(0), all);
    // Once more soon, and then at the interval.
    assert_eq!(asked(24_000), []);
    assert_eq!(asked(25_000), all);
    assert_eq!(asked(124_000), []);
    assert_eq!(asked(125_000), all);
}

#[test]
fn one_tenant_and_one_network_join_so_many_groups_and_no_more() {
    let tenants = format!("{}, {}", tenant(VM1, 1, "red", 1), tenant(VM2, 2, "red", 2));
    let mut bench = Bench::new(&tenants, "groups_per_tenant: 2, groups_per_network: 3");
    let three: Vec<(u8, u32, &[u32])> = (0..3).map(|n| (4, G4 + n, &[][..])).collect();
    assert_eq!(bench.receive(&igmp3(VM1, 1, &three), 0).len(), 2);
    assert_eq!(bench.receive(&igmp3(VM2, 2, &three), 0).len(), 1);
    assert_eq!((bench.memberships.joined(), bench.memberships.refused()), (3, 3));
    // Room that one leaves is another's.
    assert_eq!(bench.receive(&igmp3(VM1, 1, &[(3, G4, &[])]), 0).len(), 1);
    assert_eq!(bench.receive(&igmp3(VM2, 2, &three), 0).len(), 1);
    assert_eq!(bench.memberships.joined(), 3);
}

#[test]
fn groups_that_never_come_from_elsewhere_take_no_room() {
    let mut bench = Bench::new(&both(), "groups_per_tenant: 1");
    for group in [0xe000_00fb, 0xef01_ffff] {
        assert_eq!(bench.receive(&igmp3(VM1, 1, &[(4, group, &[])]), 0), []);
    }
    for group in [(0xff02 << 112) | 0xfb, (0xff15 << 112) | 1, (0xff05 << 112) | 0xffff] {
        assert_eq!(bench.receive(&mld1(VM1, 1, 131, group), 0), []);
    }
    // A network without IPv6.
    assert_eq!(bench.receive(&mld1(VM2, 2, 131, G6), 0), []);
    assert_eq!((bench.memberships.joined(), bench.memberships.refused()), (0, 0));
    // What no link keeps is missed: 239.1.255.255, ff15::1 and ff05::ffff.
    assert_eq!(bench.memberships.unmappable(), 3);
    bench.receive(&igmp3(VM1, 1, &[(3, 0xef01_ffff, &[]), (4, G4, &[])]), 0);
    assert_eq!((bench.memberships.joined(), bench.memberships.unmappable()), (1, 3));
    // Who is not attached, and who sits elsewhere.
    assert_eq!(bench.receive(&igmp3(GATEWAY, 1, &[(4, G4, &[])]), 0), []);
    assert_eq!(bench.receive(&igmp3(VM1, 2, &[(4, G4, &[])]), 0), []);
}

#[test]
fn nobody_leaves_because_the_networks_stand_in_another_order() {
    let text = config_text(&both(), "");
    let Some((start, end)) = text.find("  - {name: red").zip(text.find("attachments:")) else {
        panic!("{text}")
    };
    let lines: Vec<&str> = text[start..end].lines().rev().collect();
    let turned = format!("{}{}\n{}", &text[..start], lines.join("\n"), &text[end..]);
    let mut bench = Bench::new(&both(), "");
    bench.tick(0);
    bench.receive(&igmp3(VM1, 1, &[(4, G4, &[])]), 0);
    bench.receive(&igmp3(VM2, 2, &[(4, G4, &[])]), 0);
    bench.memberships.configure(&parsed(&turned), 1000, &mut bench.effects);
    assert_eq!(said(&mut bench.effects).0, []);
    assert_eq!(bench.memberships.joined(), 2);
    // And they are where they were: their networks count them.
    bench.memberships.configure(&config("", ""), 2000, &mut bench.effects);
    assert_eq!(said(&mut bench.effects).0.len(), 2);
}

#[test]
fn who_is_not_attached_any_more_has_left_and_the_others_stay() {
    let mut bench = Bench::new(&both(), "");
    bench.tick(0);
    bench.receive(&igmp3(VM1, 1, &[(4, G4, &[])]), 0);
    bench.receive(&igmp3(VM2, 2, &[(4, G4, &[])]), 0);
    // The first one changes its network, too.
    let after = format!("{}, {}", tenant(VM1, 1, "four", 1), tenant(VM2, 2, "four", 2));
    bench.memberships.configure(&config(&after, ""), 1000, &mut bench.effects);
    assert_eq!(said(&mut bench.effects).0, [(VM1, TenantAddress::V4(G4), false)]);
    assert_eq!(bench.memberships.joined(), 1);
    bench.memberships.configure(&config(&tenant(VM1, 1, "four", 1), ""), 2000, &mut bench.effects);
    assert_eq!(said(&mut bench.effects).0, [(VM2, TenantAddress::V4(G4), false)]);
    assert_eq!(bench.memberships.joined(), 0);
    // Those who came are asked at once.
    assert_eq!(bench.tick(2000).1, 1);
}
