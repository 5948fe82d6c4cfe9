//! Whose an identifier is by what operators want.

use super::provision::{attachment, network, office};
use super::*;
use crate::config::Entry;
use crate::ila::Identifier;
use crate::net::Mac;
use crate::nva::catalogue::Change;
use crate::nva::registry::Draft;

fn tenant(vnid: u32, address: [u8; 4]) -> Key {
    Key { sir_prefix: SIR, identifier: Identifier::tenant_ipv4(vnid, u32::from_be_bytes(address)).0 }
}

#[test]
fn a_tenant_of_an_operators_network_is_where_the_operator_wants_it_and_nowhere_else() {
    let mut office = office();
    office.does(network("six", 6, ", ipv6: {prefix: '2001:db8:6::/96'}")).unwrap();
    let task =
        "{name: t, port: a, vlan: 40, mac: '02:00:00:00:00:0a', identifiers: ['2001:db8:dddd:0:2000::77']}";
    office.does(super::provision::add("nve1", Entry::attachment(task))).unwrap();
    office.does(attachment("nve2", "vm6", 16, "six", "2001:db8:6::7")).unwrap();
    let six = |low| Key { sir_prefix: SIR, identifier: Identifier::tenant_ipv6(6, low).0 };
    let judged = |nve: u64, key| {
        let judged = office.0.register(&mut Draft::default(), &name(nve), claim(key, at(nve)), 0);
        judged.map_err(|refusal| refusal.why)
    };
    for (nve, key, why) in [
        (1, tenant(1, [10, 1, 0, 5]), None),
        (2, tenant(1, [10, 1, 0, 5]), Some("is that of attachment vm1 at nve1")),
        // Nobody placed anybody of the network there.
        (
            2,
            tenant(1, [10, 1, 0, 6]),
            Some("network red (VNID 1) was made by an operator, who placed nobody of it at nve2"),
        ),
        (1, tenant(1, [10, 1, 0, 6]), None),
        // What stands for a peer is nobody's.
        (2, tenant(2, [10, 2, 0, 9]), Some("10.2.0.9 stands for a peer in network blue")),
        (2, six(7), None),
        (1, six(7), Some("is that of attachment vm6 at nve2")),
        (1, six(8), Some("placed nobody of it at nve1")),
        (1, Key { sir_prefix: SIR, identifier: Identifier::tenant_ipv6(1, 8).0 }, Some("has no IPv6 prefix")),
        // A task, and networks of files.
        (1, Key { sir_prefix: SIR, identifier: 0x2000_0000_0000_0077 }, None),
        (
            2,
            Key { sir_prefix: SIR, identifier: 0x2000_0000_0000_0077 },
            Some("is that of attachment t at nve1"),
        ),
        (2, tenant(77, [10, 1, 0, 5]), None),
        (2, key(9), None),
    ] {
        match (judged(nve, key), why) {
            (Ok(_), None) => {}
            (Err(told), Some(why)) => assert!(told.contains(why), "{key}: {told}"),
            (judged, why) => panic!("{key} at nve{nve}: {judged:?}, and not {why:?}"),
        }
    }
}

#[test]
fn a_network_that_an_operator_deletes_is_one_of_files_again() {
    let mut office = office();
    let register = |office: &super::provision::Office| {
        office.0.register(&mut Draft::default(), &name(3), claim(tenant(3, [10, 3, 0, 5]), at(3)), 0).is_ok()
    };
    assert!(register(&office));
    office.does(network("green", 3, "")).unwrap();
    assert!(!register(&office));
    office.does(super::provision::delete(network("green", 3, ""), None)).unwrap();
    assert!(register(&office));
}

#[test]
fn what_an_nve_had_before_an_operator_made_its_network_it_keeps() {
    let mut office = office();
    let key = tenant(3, [10, 3, 0, 5]);
    let mut draft = Draft::default();
    office.0.register(&mut draft, &name(3), claim(key, at(3)), 0).unwrap();
    office.0.apply(&draft.finish().unwrap(), 0);
    office.does(network("green", 3, "")).unwrap();
    office.does(attachment("nve1", "vm3", 33, "green", "10.3.0.5")).unwrap();
    assert!(office.0.register(&mut Draft::default(), &name(3), claim(key, at(3)), 0).is_ok());
    assert!(
        office
            .0
            .register(&mut Draft::default(), &name(3), claim(tenant(3, [10, 3, 0, 6]), at(3)), 0)
            .is_err()
    );
}

/// An attachment with a MAC address of its own.
fn with_mac(
    nve: &str,
    name: &str,
    vlan: u32,
    network: &str,
    n: u8,
) -> (crate::nva::model::ObjectKey, Change) {
    let text = format!(
        "{{name: {name}, port: a, vlan: {vlan}, mac: '02:00:00:00:01:{n:02x}', network: {network}, addresses: [10.1.0.{n}]}}"
    );
    super::provision::add(nve, Entry::attachment(&text))
}

fn of_mac(n: u8, key: Key, nve: u64) -> Claim {
    Claim { mac: Some(Mac([2, 0, 0, 0, 1, n])), ..claim(key, at(nve)) }
}

#[test]
fn a_mac_address_that_an_operator_placed_at_an_nve_no_other_one_registers() {
    let mut office = office();
    office.does(with_mac("nve1", "vm7", 17, "red", 0x17)).unwrap();
    office.does(with_mac("nve2", "vm8", 18, "red", 0x18)).unwrap();
    let judged = |office: &super::provision::Office, nve: u64, n, key| {
        let judged = office.0.register(&mut Draft::default(), &name(nve), of_mac(n, key, nve), 0);
        judged.map(|_| ()).map_err(|refusal| refusal.why)
    };
    // The one who has it, and who claims it for an address of its own tenant.
    assert_eq!(judged(&office, 1, 0x17, tenant(1, [10, 1, 0, 0x17])), Ok(()));
    let why = judged(&office, 2, 0x17, tenant(1, [10, 1, 0, 0x18])).unwrap_err();
    for part in ["02:00:00:00:01:17 in VNID 1 is that of attachment vm7 at nve1", "take another MAC address"]
    {
        assert!(why.contains(part), "{why}");
    }
    // In another network, or what nobody placed, it is free.
    assert_eq!(judged(&office, 2, 0x17, tenant(2, [10, 2, 0, 5])), Ok(()));
    assert_eq!(judged(&office, 2, 0x19, tenant(1, [10, 1, 0, 0x18])), Ok(()));
    // Once it is placed there as well, or not at all any more.
    office.does(super::provision::delete(with_mac("nve1", "vm7", 17, "red", 0x17), None)).unwrap();
    assert_eq!(judged(&office, 2, 0x17, tenant(1, [10, 1, 0, 0x18])), Ok(()));
}

#[test]
fn who_asks_for_mac_addresses_of_an_operators_network_has_an_attachment_of_it() {
    let mut office = office();
    let red = (SIR, 1);
    let asks = |office: &super::provision::Office| [1, 2, 3].map(|nve| office.0.may_ask_of(&name(nve), red));
    // The third one is told of all networks.
    assert_eq!(asks(&office), [true, false, true]);
    office.does(with_mac("nve2", "vm8", 18, "red", 0x18)).unwrap();
    assert_eq!(asks(&office), [true, true, true]);
    office.does(super::provision::delete(with_mac("nve2", "vm8", 18, "red", 0x18), None)).unwrap();
    assert_eq!(asks(&office), [true, false, true]);
}
