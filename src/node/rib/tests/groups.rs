//! Groups: all locators of a mapping, the network's own, and members.

use super::*;
use crate::config::TenantAddress;
use crate::table::{AttachmentKey, NetworkId, PortId};

const VM: Mac = Mac([2, 0, 0, 0, 0, 0x0b]);

/// With a network, in this domain and with these locators to copy to, and its tenant.
fn networked(domain: &str, replicate_to: &str) -> Config {
    let network = format!(
        "virtual_networks: [{{name: red, vnid: 100, domain: {domain}, ipv6: {{prefix: '2001:db8:a::/96'}}, \
         ipv4: [{{prefix: 10.0.0.0/24, gateway: 10.0.0.1}}], replicate_to: [{replicate_to}]}}]\n"
    );
    let tenant = "  - {port: access0, vlan: 11, mac: '02:00:00:00:00:0b', network: red, addresses: [10.0.0.5]}\nroutes:";
    let more = "locators:\n  - {prefix: 'fd00:1:0:e::/64', domain: plain}";
    let text = CONFIG.replace("routes:", tenant).replace("locators:", more) + &network;
    Config::parse(&text, "test.yaml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn group(locators: &[u64]) -> Change {
    let choice = |n: &u64| LocatorChoice { locator: locator(*n), priority: 0, weight: 1 };
    let target = MappingTarget::Locators(locators.iter().map(choice).collect());
    Change::Upsert(MappingRecord { domain: 0, identifier: GROUP, target })
}

const GROUP: Identifier = Identifier::tenant_multicast(100, 5, 0x1234);

/// Where copies of a group go.
fn copies(rib: &mut Rib, identifier: Identifier) -> Vec<Locator> {
    let tables = rib.compile();
    let network = tables.networks.get(NetworkId(0)).unwrap();
    let ids = tables.replicas(network, identifier).unwrap();
    let locator = |id: &ActionId| match tables.resolve(*id, || 7) {
        Some(Action::Remote(remote)) => remote.locator(),
        other => panic!("{other:?}"),
    };
    ids.iter().map(locator).collect()
}

#[test]
fn a_groups_mapping_wins_over_its_networks_locators_and_our_own_gets_no_copy() {
    let mut rib = Rib::new(&networked("tasks", "'fd00:1:0:1::/64', 'fd00:1:0:3::/64'"), &MACS, 1);
    assert_eq!(copies(&mut rib, GROUP), [locator(3)]);
    // The locators are known, as those of mappings are.
    assert!(rib.compile().prefixes.of(locator(3).0).is_some_and(|prefix_info| prefix_info.remote.is_some()));
    file(&mut rib, vec![group(&[5, 1, 2])]).unwrap();
    assert_eq!(copies(&mut rib, GROUP), [locator(2), locator(5)]);
    assert_eq!(copies(&mut rib, Identifier::tenant_multicast(100, 5, 1)), [locator(3)]);
    let view = rib.mapping_get(rib.sir(0, GROUP)).unwrap();
    assert_eq!((view.kind.as_str(), view.locators.len()), ("group", 3));
    // As it is seen on the wire: see tests/multicast.rs for the sum.
    let wire = u128::from(view.locators[1].ila);
    let adjustment = crate::ila::Adjustment::of(crate::ila::SirPrefix(0x2001_0db8_dddd_0000), locator(2));
    let tables = rib.compile();
    let checksum_delta = tables.vnet_of(crate::table::DomainId(0), GROUP).unwrap().checksum_delta_of(GROUP);
    let mode = crate::ila::ChecksumMode::NeutralMap;
    assert_eq!(wire as u64, crate::ila::neutral::there(GROUP, adjustment.with(checksum_delta), mode).0);
    // With the mapping gone the network's count again.
    let delete = Change::Delete { domain: 0, identifier: GROUP };
    file(&mut rib, vec![delete]).unwrap();
    assert_eq!(copies(&mut rib, GROUP), [locator(3)]);
}

#[test]
fn a_reload_replaces_a_networks_locators() {
    let mut rib = Rib::new(&networked("tasks", "'fd00:1:0:3::/64'"), &MACS, 1);
    for (list, expected) in [
        ("'fd00:1:0:4::/64', 'fd00:1:0:2::/64'", vec![locator(2), locator(4)]),
        ("", vec![]),
        ("'fd00:1:0:3::/64'", vec![locator(3)]),
    ] {
        let staged = rib.reconfigure(&networked("tasks", list)).unwrap();
        let _ = rib.commit(staged);
        assert_eq!(copies(&mut rib, GROUP), expected);
        rib.release();
    }
}

#[test]
fn a_locator_that_copies_go_to_belongs_to_one_domain() {
    let mut rib = Rib::new(&networked("tasks", "'fd00:1:0:3::/64'"), &MACS, 1);
    let why = file(&mut rib, vec![in_domain(1, 1, &[(3, 0, 1)])]).unwrap_err().why;
    assert!(why.contains("is a locator of domain tasks"), "{why}");
    file(&mut rib, vec![to(9, &[(3, 0, 1)])]).unwrap();
    // Nor may the network move to another one while a mapping is in the first.
    let why = rib.reconfigure(&networked("plain", "'fd00:1:0:3::/64'")).unwrap_err().why;
    assert!(why.contains("is a locator of domain tasks"), "{why}");
    file(&mut rib, vec![delete(9)]).unwrap();
    let staged = rib.reconfigure(&networked("plain", "'fd00:1:0:3::/64'")).unwrap();
    let _ = rib.commit(staged);
    file(&mut rib, vec![in_domain(1, 1, &[(3, 0, 1)])]).unwrap();
}

#[test]
fn members_are_those_that_joined_and_everybody_with_ipv4_for_broadcast() {
    let mut rib = Rib::new(&networked("tasks", ""), &MACS, 1);
    let members = |rib: &mut Rib, identifier| rib.compile().networks.members(NetworkId(0), identifier).len();
    let (red, key) = (NetworkId(0), AttachmentKey { port: PortId(2), vlan: 11, mac: VM });
    assert_eq!((members(&mut rib, GROUP), members(&mut rib, Identifier::tenant_ipv4(100, u32::MAX))), (0, 1));
    let address = TenantAddress::V6((0xff05 << 112) | 0x1234);
    rib.set_member(key, address, true);
    assert!(rib.needs_snapshot());
    let tables = rib.compile();
    assert_eq!(tables.networks.members(red, GROUP)[0].hop.port, PortId(2));
    // What changes nothing needs no snapshot.
    rib.set_member(key, address, true);
    rib.set_member(key, TenantAddress::V4(0xef01_0203), false);
    assert!(!rib.needs_snapshot());
    rib.set_member(key, address, false);
    assert_eq!(members(&mut rib, GROUP), 0);
    // Somebody who is not attached is no member.
    rib.set_member(AttachmentKey { port: PortId(2), vlan: 12, mac: VM }, address, true);
    assert_eq!(members(&mut rib, GROUP), 0);
}

#[test]
fn networks_are_made_anew_only_when_something_about_them_changed() {
    let mut rib = Rib::new(&networked("tasks", ""), &MACS, 1);
    let key = AttachmentKey { port: PortId(2), vlan: 11, mac: VM };
    let first = rib.compile().networks;
    // What changes the way of packets, and nothing about networks.
    assert!(rib.set_neighbour(PortId(0), VIA, NeighbourState::Reachable(NEXT)));
    file(&mut rib, vec![to(1, &[(3, 0, 1)])]).unwrap();
    assert!(Arc::ptr_eq(&first, &rib.compile().networks));
    // What does change them, and then does not any more.
    let slot = rib.tenants().next().unwrap().handle.slot;
    let group = TenantAddress::V4(0xef01_0203);
    let steps: [&dyn Fn(&mut Rib); 5] = [
        &|rib| rib.set_member(key, group, true),
        &|rib| rib.set_quarantine(slot, crate::table::Quarantine::All),
        &|rib| rib.set_link(PortId(2), false),
        &|rib| drop(rib.reconfigure(&networked("tasks", "'fd00:1:0:3::/64'"))),
        &|rib| rib.set_member(key, group, false),
    ];
    let mut before = first;
    for (n, step) in steps.iter().enumerate() {
        step(&mut rib);
        let after = rib.compile().networks;
        assert!(!Arc::ptr_eq(&before, &after), "{n}");
        step(&mut rib);
        before = rib.compile().networks;
        assert!(Arc::ptr_eq(&before, &after) || n == 3, "{n}");
    }
}
