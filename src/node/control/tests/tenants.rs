//! What the control thread makes of what workers hand over of tenants.

use super::*;
use crate::net::{Mac, arp, checksum, ethernet, ipv6};
use crate::node::source::{EventKind, follow};
use crate::path::meta::Policed;
use crate::path::policer::Policer;
use crate::path::{Ctx, Notice};
use crate::table::{AttachmentKey, LimitKind, Quarantine, TenantHandle};
use std::net::IpAddr;

const VM1: Mac = Mac([2, 0, 0, 0, 1, 1]);
const TENANTS: &str = r#"
node: {name: n}
dpdk: {workers: [1]}
sir_domains: [{name: tasks, prefix: "2001:db8:dddd::/64"}]
locators: [{prefix: "fd00:1:0:1::/64", domain: tasks}]
ports:
  - {name: f, device: net_null0, role: fabric, addresses: ["fd00:f::1/64"]}
  - {name: a, device: net_null1, role: access}
virtual_networks:
  - {name: red, vnid: 100, domain: tasks, ipv6: {prefix: "2001:db8:a::/96"}, ipv4: [{prefix: 10.0.0.0/24, gateway: 10.0.0.1}], limits: {arp: {per_second: 1, burst: 1}}}
attachments:
  - {name: vm1, port: a, mac: "02:00:00:00:01:01", network: red, addresses: [10.0.0.5, "2001:db8:a::5"]}
  - {port: a, vlan: 7, mac: "02:00:00:00:01:02", network: red, addresses: [10.0.0.6]}
quarantine: {drops_per_second: 10, seconds: 2, duration_s: 5}
"#;

/// Attachment and kind of every event so far.
fn events(bench: &Bench) -> Vec<(String, EventKind)> {
    let heard = follow(&bench.control.stats.events, 0).heard();
    heard.events.into_iter().map(|event| (event.attachment, event.kind)).collect()
}

/// The tenant that has slot 0 now.
fn tenant(bench: &Bench) -> TenantHandle {
    TenantHandle { slot: 0, generation: bench.control.publisher.current().networks.generation(0) }
}

/// Lets the worker refuse so many ARP messages of the tenant in this slot.
fn violate(bench: &Bench, slot: u16, count: usize) {
    let mut policer = Policer::new(bench.control.stats.workers[0].tenants.clone());
    let tables = bench.control.publisher.current().clone();
    let who = Policed { slot, quarantined: false };
    let ctx = Ctx { tables: &tables, now_ms: 0 };
    // The first one passes.
    let refused = (0..=count).filter(|_| policer.pass(who, LimitKind::Arp, &ctx).is_err());
    assert_eq!(refused.count(), count);
}

fn quarantine(bench: &Bench) -> Quarantine {
    let tables = bench.control.publisher.current();
    tables.networks.tenant(ACCESS, 0, VM1).unwrap().quarantine
}

/// Kinds and counts of what was refused of each attachment, zeros left out, and who is under quarantine.
fn refused(bench: &Bench) -> Vec<(Vec<(String, u64)>, bool)> {
    let views = bench.control.attachment_views().into_iter();
    let of = |view: crate::api::views::AttachmentView| {
        assert_eq!(view.refused.len(), crate::path::violations::VIOLATIONS);
        let kinds = view.refused.into_iter().filter(|refused| refused.packets > 0);
        (kinds.map(|refused| (refused.kind, refused.packets)).collect(), view.quarantined)
    };
    views.map(of).collect()
}

fn announcement(mac: Mac, vlan: u16, address: u32) -> Frame {
    let mut frame = [0; arp::MAX_FRAME];
    let length = arp::gratuitous(&mut frame, mac, address, vlan);
    Frame::new(ACCESS, &frame[..length]).unwrap()
}

#[test]
fn an_announcement_is_told_with_address_and_place() {
    let mut bench = Bench::with(TENANTS);
    bench.turn(1000);
    bench.exchange.punted.push(announcement(VM1, 0, 0x0a00_0005)).unwrap();
    let mut frame = [0; ndp::MAX_FRAME];
    let address = 0x2001_0db8_000a << 80 | 5;
    let envelope = Envelope {
        to_mac: Mac::of_ipv6_multicast((0xff02 << 112) | 1),
        from_mac: VM1,
        vlan: 0,
        source: address,
        destination: (0xff02 << 112) | 1,
    };
    let length = ndp::advertisement(&mut frame, envelope, address, false, true);
    bench.exchange.punted.push(Frame::new(ACCESS, &frame[..length]).unwrap()).unwrap();
    bench.turn(1010);
    let learnt = |address: &str| EventKind::Learnt { address: address.parse().unwrap(), mac: VM1 };
    assert_eq!(events(&bench), [("vm1".into(), learnt("10.0.0.5")), ("vm1".into(), learnt("2001:db8:a::5"))]);
    // It made no neighbour of the fabric's.
    assert!(bench.control.rib.neighbours().of(Key { port: ACCESS, address }).is_none());
}

#[test]
fn who_is_announced_by_rarp_is_learnt_by_its_first_address() {
    let mut bench = Bench::with(TENANTS);
    bench.turn(1000);
    let at = AttachmentKey { port: ACCESS, vlan: 0, mac: VM1 };
    // A hypervisor says it several times after a move.
    for now in [1_010, 1_020, 1_060] {
        bench.exchange.notices.push(Notice::Arrival { at }).unwrap();
        bench.turn(now);
    }
    let learnt = EventKind::Learnt { address: "10.0.0.5".parse().unwrap(), mac: VM1 };
    assert_eq!(events(&bench), [("vm1".into(), learnt)]);
    let nobody = AttachmentKey { mac: Mac([2, 0, 0, 0, 1, 0x77]), ..at };
    bench.exchange.notices.push(Notice::Arrival { at: nobody }).unwrap();
    bench.turn(1_100);
    assert_eq!(events(&bench).len(), 1);
}

#[test]
fn a_notice_becomes_an_event_and_a_flood_of_them_a_few() {
    let mut bench = Bench::with(TENANTS);
    bench.turn(1000);
    let address = IpAddr::from([10, 0, 0, 0]);
    for n in 0..200 {
        let address = IpAddr::from([10, 0, 0, n]);
        bench
            .exchange
            .notices
            .push(Notice::Conflict { tenant: TenantHandle { slot: 1, generation: 2 }, address })
            .unwrap();
    }
    bench.turn(1010);
    let told = events(&bench);
    // Nameless, it goes by its index.
    assert_eq!(told[0], ("1".into(), EventKind::Conflict { address }));
    assert_eq!((told.len(), bench.control.stats.events.suppressed()), (50, 150));
    bench
        .exchange
        .notices
        .push(Notice::Conflict { tenant: TenantHandle { slot: 9, generation: 10 }, address })
        .unwrap();
    bench.turn(1020);
    assert_eq!(events(&bench).len(), 50);
}

#[test]
fn what_a_tenant_did_is_not_told_of_the_one_that_took_its_place() {
    let mut bench = Bench::with(TENANTS);
    bench.turn(1000);
    let address = IpAddr::from([10, 0, 0, 9]);
    let said = Notice::Conflict { tenant: tenant(&bench), address };
    let others = TENANTS.replace("02:00:00:00:01:01", "02:00:00:00:01:03").replace("name: vm1", "name: vm3");
    bench.reload(&others).unwrap();
    bench.exchange.notices.push(said).unwrap();
    bench.turn(1010);
    assert_eq!(events(&bench), []);
    let tenant = tenant(&bench);
    bench.exchange.notices.push(Notice::Conflict { tenant, address }).unwrap();
    bench.turn(1020);
    assert_eq!(events(&bench), [("vm3".into(), EventKind::Conflict { address })]);
}

#[test]
fn a_reload_that_turns_the_order_round_leaves_each_tenant_its_events() {
    let mut bench = Bench::with(TENANTS);
    bench.turn(1000);
    let tenant = tenant(&bench);
    let lines: Vec<&str> = TENANTS.lines().filter(|line| line.contains("mac: \"02:00:00:00:01:0")).collect();
    let [first, second] = lines[..] else { panic!("{lines:?}") };
    let turned = TENANTS.replace(first, "X").replace(second, first).replace('X', second);
    bench.reload(&turned).unwrap();
    let address = IpAddr::from([10, 0, 0, 9]);
    bench.exchange.notices.push(Notice::Conflict { tenant, address }).unwrap();
    bench.turn(1010);
    assert_eq!(events(&bench), [("vm1".into(), EventKind::Conflict { address })]);
}

#[test]
fn what_is_said_three_times_is_told_once() {
    let mut bench = Bench::with(TENANTS);
    bench.turn(1000);
    let mut told = Vec::new();
    for now_ms in [1010, 1200, 1500, 2010] {
        bench.exchange.punted.push(announcement(VM1, 0, 0x0a00_0005)).unwrap();
        bench.turn(now_ms);
        told.push(events(&bench).len());
    }
    assert_eq!((told, bench.control.stats.events.suppressed()), (vec![1, 1, 1, 2], 2));
}

#[test]
fn abuse_for_too_long_is_quarantine_in_the_workers_tables_until_it_ends() {
    let mut bench = Bench::with(TENANTS);
    bench.turn(1000);
    violate(&bench, 0, 100);
    bench.turn(2000);
    assert_eq!((quarantine(&bench), events(&bench).len()), (Quarantine::None, 0));
    violate(&bench, 0, 100);
    bench.turn(3000);
    assert_eq!(quarantine(&bench), Quarantine::Control);
    assert_eq!(refused(&bench), [(vec![("arp_rate".to_owned(), 200)], true), (vec![], false)]);
    assert_eq!(events(&bench), [("vm1".into(), EventKind::Quarantined { seconds: 5 })]);
    for second in 4..8 {
        bench.turn(second * 1000);
        assert_eq!(quarantine(&bench), Quarantine::Control);
    }
    bench.turn(8000);
    assert_eq!(quarantine(&bench), Quarantine::None);
    assert_eq!(events(&bench)[1..], [("vm1".into(), EventKind::Released)]);
}

#[test]
fn who_takes_a_tenants_place_inherits_nothing_of_it() {
    let mut bench = Bench::with(TENANTS);
    bench.turn(1000);
    for second in 2..4 {
        violate(&bench, 0, 100);
        bench.turn(second * 1000);
    }
    assert_eq!(quarantine(&bench), Quarantine::Control);
    let others = TENANTS.replace("02:00:00:00:01:01", "02:00:00:00:01:03").replace("name: vm1", "name: vm3");
    let config = Config::parse(&others, "t.yaml").unwrap();
    let staged = bench.control.rib.reconfigure(&config).unwrap();
    bench.control.rib.commit(staged);
    bench.control.config = Arc::new(config);
    assert_eq!(refused(&bench), [(vec![], false), (vec![], false)]);
    bench.turn(4000);
    violate(&bench, 0, 7);
    assert_eq!(refused(&bench), [(vec![("arp_rate".to_owned(), 7)], false), (vec![], false)]);
    bench.turn(5000);
    let tables = bench.control.publisher.current();
    let tenant = tables.networks.tenant(ACCESS, 0, Mac([2, 0, 0, 0, 1, 3])).unwrap();
    assert_eq!((tenant.handle.slot, tenant.quarantine), (0, Quarantine::None));
    // The one beside it stayed where it was remembered.
    assert_eq!(tables.networks.tenant(ACCESS, 7, Mac([2, 0, 0, 0, 1, 2])).unwrap().handle.slot, 1);
    assert_eq!(events(&bench), [("vm1".into(), EventKind::Quarantined { seconds: 5 })]);
}

#[test]
fn workers_share_what_a_tenant_may_ask() {
    let config = TENANTS
        .replace("workers: [1]", "workers: [1, 2, 3, 4]")
        .replace("device: net_null1,", "device: net_null1, queues: 4,");
    let rates = |config: &str| {
        let mut rib = Rib::new(&Config::parse(config, "t.yaml").unwrap(), &[VM1; 2], 1);
        rib.compile().networks.rates(0).unwrap()[LimitKind::Nd as usize]
    };
    assert_eq!(rates(&config), crate::table::Rate::new(25, 75));
    assert_eq!(rates(TENANTS), crate::table::Rate::new(100, 300));
}

#[test]
fn a_reload_cannot_give_a_peer_an_address_that_has_a_mapping() {
    let with_peer = |address: &str| {
        let peer =
            format!("domain: tasks, peers: [{{address: {address}, to: '2001:db8:dddd:0:2000::4'}}], ipv6");
        Config::parse(&TENANTS.replace("domain: tasks, ipv6", &peer), "t.yaml").unwrap()
    };
    let mut rib = Rib::new(&Config::parse(TENANTS, "t.yaml").unwrap(), &[VM1; 2], 1);
    let identifier = Identifier::tenant_ipv4(100, 0x0a00_0009);
    let record = MappingRecord { domain: 0, identifier, target: MappingTarget::Blackhole };
    let changes = vec![Change::Upsert(record)];
    rib.apply(Batch { origin: Origin::Admin, changes, complete: false }).unwrap();
    let refusal = rib.reconfigure(&with_peer("10.0.0.9")).err().unwrap().to_string();
    assert_eq!(
        refusal,
        "2001:db8:dddd:0:4000:64:a00:9: has a mapping, so that its address cannot stand for a peer; delete it first"
    );
    assert!(rib.reconfigure(&with_peer("10.0.0.8")).is_ok());
}

#[test]
fn what_another_node_registered_stops_no_configuration_here() {
    let choice = LocatorChoice { locator: Locator(0xfd00_0009_0000_0000), priority: 0, weight: 1 };
    let peer = "domain: tasks, peers: [{address: 10.0.0.9, to: '2001:db8:dddd:0:2000::4'}], ipv6";
    let tenant = "  - {name: vm9, port: a, vlan: 9, mac: \"02:00:00:00:01:09\", network: red, addresses: [\"2001:db8:a::ffff\"]}";
    let with_peer = TENANTS.replace("domain: tasks, ipv6", peer);
    let with_tenant = TENANTS.replace("attachments:\n", &format!("attachments:\n{tenant}\n"));
    for origin in [Origin::Nva, Origin::Cache] {
        for (identifier, text) in [
            (Identifier::tenant_ipv4(100, 0x0a00_0009), &with_peer),
            // The zero alias of what is to be attached.
            (Identifier::tenant_ipv6(100, 0), &with_tenant),
        ] {
            let mut rib = Rib::new(&Config::parse(TENANTS, "t.yaml").unwrap(), &[VM1; 2], 1);
            let target = MappingTarget::Locators(vec![choice]);
            let changes = vec![Change::Upsert(MappingRecord { domain: 0, identifier, target })];
            rib.apply(Batch { origin, changes, complete: false }).unwrap();
            let staged = rib.reconfigure(&Config::parse(text, "t.yaml").unwrap());
            assert!(staged.is_ok(), "{origin:?} {identifier}: {}", staged.err().unwrap());
            rib.commit(staged.ok().unwrap());
        }
    }
}

/// vm1 joins ff05::1234 by MLD.
fn joins() -> Frame {
    let (from, group) = (VM1.link_local(), 0xff05 << 112 | 0x1234);
    let mut message = vec![131, 0, 0, 0, 0, 0, 0, 0];
    message.extend(u128::to_be_bytes(group));
    let sum = checksum::transport(from, group, ipv6::next::ICMP6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![0; ipv6::HEADER];
    ipv6::Ipv6::of_mut(&mut packet).unwrap().write(32, ipv6::next::HOP_BY_HOP, 1, from, group);
    let (link, length) = ethernet::header(Mac::of_ipv6_multicast(group), VM1, 0);
    Frame::new(ACCESS, &[&link[..length], &packet, &[58, 0, 5, 2, 0, 0, 1, 0], &message].concat()).unwrap()
}

#[test]
fn groups_are_shown_with_their_members_and_where_copies_go() {
    let text = TENANTS
        .replace("limits: {arp", "replicate_to: [\"fd00:1:0:1::/64\", \"fd00:1:0:2::/64\"], limits: {arp")
        .replace(
            "network: red, addresses: [10.0.0.5",
            "network: red, groups: [239.1.2.3], addresses: [10.0.0.5",
        );
    let mut bench = Bench::with(&text);
    bench.turn(1000);
    let shown = |bench: &Bench| -> Vec<(String, Option<String>, Option<String>, bool)> {
        let views = bench.control.group_views().into_iter();
        views.map(|view| (view.kind, view.group, view.attachment, view.expires_s.is_some())).collect()
    };
    let copies = ("copies".to_owned(), None, None, false);
    let group = |kind: &str, group: &str, joined| {
        (kind.to_owned(), Some(group.to_owned()), Some("vm1".to_owned()), joined)
    };
    assert_eq!(shown(&bench), [copies.clone(), group("static", "239.1.2.3", false)]);
    // Our own locator gets no copy.
    assert_eq!(bench.control.group_views()[0].locators, ["fd00:1:0:2::/64"]);
    bench.exchange.punted.push(joins()).unwrap();
    bench.turn(1010);
    assert_eq!(
        shown(&bench),
        [copies.clone(), group("static", "239.1.2.3", false), group("joined", "ff05::1234", true)]
    );
    let expires_s = bench.control.group_views()[2].expires_s.unwrap();
    assert!((200..=262).contains(&expires_s), "{expires_s}");
    // It says no more.
    bench.turn(400_000);
    assert_eq!(shown(&bench), [copies, group("static", "239.1.2.3", false)]);
}

#[test]
fn nobody_gets_a_neighbour_on_its_link_locked_out() {
    let neighbour = |vlan: &str| {
        let other = format!(
            "  - {{port: a{vlan}, mac: \"02:00:00:00:01:03\", network: red, addresses: [10.0.0.7]}}\nquarantine:"
        );
        TENANTS.replace("quarantine:", &other)
    };
    for (text, expected) in [
        (TENANTS.to_owned(), Quarantine::Control),
        (neighbour(", vlan: 8"), Quarantine::Control),
        (neighbour(""), Quarantine::None),
    ] {
        let mut bench = Bench::with(&text);
        bench.turn(1000);
        for second in 1..5 {
            violate(&bench, tenant(&bench).slot, 50);
            bench.turn(1000 + second * 1000);
        }
        assert_eq!(quarantine(&bench), expected);
        // What was refused is told all the same.
        assert_eq!(refused(&bench)[0].0, [("arp_rate".to_owned(), 200)]);
    }
}
