//! The rules of the state, one test each.

mod batches;
mod digest;
mod groups;
mod paths;
mod reloads;

use super::*;
use crate::ila::{Adjustment, Identifier, Locator};
use crate::mapping::{
    Applied, Batch, Change, HeldTarget, LocatorChoice, MappingRecord, MappingTarget, Origin, Refusal,
};
use crate::node::handle::MappingFilter;
use crate::table::{Action, DomainId, HopState, PortId, Tables};

const MACS: [Mac; 3] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]), Mac([2, 0, 0, 0, 0, 3])];
const NEXT: Mac = Mac([2, 0, 0, 0, 1, 0xff]);
const VIA: u128 = 0xfd00_0001_0000_0001_0000_0000_0000_00ff;

const CONFIG: &str = r#"
node: {name: n1}
dpdk: {workers: [1]}
sir_domains:
  - {name: tasks, prefix: "2001:db8:dddd::/64"}
  - {name: plain, prefix: "2001:db8:eeee::/64", checksum: no-action}
locators:
  - {prefix: "fd00:1:0:1::/64", domain: tasks}
ports:
  - {name: fabric0, device: net_null0, role: fabric, addresses: ["fd00:1:0:1::1/64"]}
  - {name: fabric1, device: net_null1, role: fabric, vlan: 7, mtu: 1400, addresses: ["fd00:1:0:f::1/64"]}
  - {name: access0, device: net_null2, role: access}
attachments:
  - {name: t1, port: access0, vlan: 10, mac: "02:00:00:00:00:0a", identifiers: ["2001:db8:dddd:0:2000::1"]}
routes:
  - {prefix: "fd00:1::/32", via: "fd00:1:0:1::ff", port: fabric0}
  - prefix: "fd00:1:0:5::/64"
    next_hops:
      - {via: "fd00:1:0:1::ff", port: fabric0, weight: 1}
      - {via: "fd00:1:0:f::ff", port: fabric1, weight: 3}
  - {prefix: "fd00:1:0:6::/64", via: "fd00:1:0:f::ff", port: fabric1}
  - {prefix: "fd00:1:0:7::/64", blackhole: true}
"#;

fn config() -> Config {
    Config::parse(CONFIG, "test.yaml").unwrap()
}

fn rib() -> Rib {
    let mut rib = Rib::new(&config(), &MACS, 1);
    rib.set_neighbour(PortId(0), VIA, NeighbourState::Reachable(NEXT));
    rib
}

fn id(low: u64) -> Identifier {
    Identifier(0x2000_0000_0000_0000 | low)
}

fn locator(n: u64) -> Locator {
    Locator(0xfd00_0001_0000_0000 | n)
}

fn to(low: u64, locators: &[(u64, u8, u16)]) -> Change {
    in_domain(0, low, locators)
}

fn in_domain(domain: u8, low: u64, locators: &[(u64, u8, u16)]) -> Change {
    let choices = locators
        .iter()
        .map(|(n, priority, weight)| LocatorChoice {
            locator: locator(*n),
            priority: *priority,
            weight: *weight,
        })
        .collect();
    Change::Upsert(MappingRecord { domain, identifier: id(low), target: MappingTarget::Locators(choices) })
}

fn delete(low: u64) -> Change {
    Change::Delete { domain: 0, identifier: id(low) }
}

fn batch(origin: Origin, changes: Vec<Change>) -> Batch {
    Batch { origin, changes, complete: false }
}

fn file(rib: &mut Rib, changes: Vec<Change>) -> Result<Applied, Refusal> {
    rib.apply(batch(Origin::File, changes))
}

fn counts(applied: &Applied) -> (u64, u64, u64) {
    (applied.created, applied.changed, applied.deleted)
}

fn action(tables: &Tables, low: u64) -> Option<Action> {
    tables.domains[0].mappings.lookup(id(low).0).and_then(|id| tables.action(id)).copied()
}

fn hop_of(tables: &Tables, low: u64) -> crate::table::Hop {
    match action(tables, low) {
        Some(Action::Remote(remote)) => remote.hop,
        other => panic!("{other:?}"),
    }
}
