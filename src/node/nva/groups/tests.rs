//! Laws of the node's part in groups.

use super::*;
use crate::config::Entry;
use crate::ila::Identifier;
use crate::nva::model::Known;

const CONFIG: &str = "
node: {name: nve2}
dpdk: {workers: [1]}
sir_domains: [{name: tasks, prefix: '2001:db8:dddd::/64'}]
locators: [{prefix: 'fd00:1:0:2::/64', domain: tasks}]
ports:
  - {name: fabric0, device: 'net_null0', role: fabric, addresses: ['fd00:1:0:2::1/64']}
  - {name: access0, device: 'net_null1', role: access}
";
const NETWORK: &str =
    "{name: red, vnid: 7, domain: tasks, ipv4: [{prefix: 10.0.0.0/24, gateway: 10.0.0.254}]}";
const VM: &str =
    "{name: vm1, port: access0, vlan: 11, mac: '02:00:00:00:00:05', network: red, addresses: [10.0.0.5]}";

fn seen(entry: Entry, name: ObjectName) -> (ObjectName, Seen) {
    (name.clone(), Seen { name, sequence: 1, sir_prefix: 0, entry: Arc::new(entry) })
}

fn red() -> (ObjectName, Seen) {
    seen(Entry::network(NETWORK).unwrap(), ObjectName::Network("red".to_owned()))
}

fn vm() -> (ObjectName, Seen) {
    seen(Entry::attachment(VM).unwrap(), ObjectName::Attachment("vm1".to_owned()))
}

fn objects(all: impl IntoIterator<Item = (ObjectName, Seen)>) -> Arc<Objects> {
    Arc::new(Objects { known: Known::default(), all: Arc::new(all.into_iter().collect()) })
}

fn key() -> Key {
    Key { sir_prefix: 0x2001_0db8_dddd_0000, identifier: Identifier::tenant_ipv4(7, 0x0a00_0005).0 }
}

fn told(part: GroupPart) -> Input {
    let one = GroupTold {
        name: "db".to_owned(),
        sequence: 3,
        part,
        attachment: "vm1".to_owned(),
        entry: Some(Arc::new(Entry::attachment(VM).unwrap())),
        keys: vec![key()],
    };
    Input::Told(Arc::new(NodeGroups::from([("db".to_owned(), one)])))
}

fn names(effects: &[Effect]) -> Option<Vec<String>> {
    effects.iter().rev().find_map(|effect| match effect {
        Effect::Objects(objects) => Some(objects.all.iter().map(|(name, _)| name.to_string()).collect()),
        Effect::Presence(..) => None,
    })
}

fn presence(effects: &[Effect]) -> Option<(AttachmentKey, Presence)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Presence(at, presence) => Some((*at, presence.clone())),
        Effect::Objects(_) => None,
    })
}

fn members(wanted: Arc<Objects>) -> Members {
    let config = Config::parse(CONFIG, "nve2.yaml").unwrap_or_else(|errors| panic!("{errors}"));
    let mut members = Members::new(wanted);
    assert_eq!(members.step(Input::Config(Arc::new(config))), []);
    members
}

fn sorted(names: Option<Vec<String>>) -> Vec<String> {
    let mut names = names.unwrap();
    names.sort();
    names
}

#[test]
fn a_standby_is_in_force_once_the_tables_know_that_it_is_elsewhere_and_its_network_is_there() {
    let mut members = members(objects([]));
    let effects = members.step(told(GroupPart::Standby));
    let (at, is) = presence(&effects).unwrap();
    assert_eq!((is, names(&effects)), (standby(), None));
    // Nothing of it before, and nothing without its network.
    assert_eq!(members.step(Input::InForce(at)), []);
    let effects = members.step(Input::Wanted(objects([red()])));
    assert_eq!(
        (presence(&effects), sorted(names(&effects))),
        (None, vec!["attachment vm1".to_owned(), "network red".to_owned()])
    );
    assert_eq!(members.not_here(), BTreeSet::from([key()]));
    // It has it: served at once, before operators' word of it comes, which changes nothing then.
    assert_eq!(members.step(told(GroupPart::Active)), [Effect::Presence(at, Presence::default())]);
    assert!(members.not_here().is_empty());
    let effects = members.step(Input::Wanted(objects([red(), vm()])));
    assert_eq!((presence(&effects), names(&effects).unwrap().len()), (None, 2));
}

#[test]
fn who_had_it_and_is_a_standby_now_never_has_it_for_a_moment_more() {
    let mut members = members(objects([red(), vm()]));
    assert_eq!(members.step(told(GroupPart::Active)), []);
    let effects = members.step(told(GroupPart::Standby));
    let (at, is) = presence(&effects).unwrap();
    assert_eq!(is, standby());
    // Operators want it elsewhere: the entry stays, for the tables know.
    let effects = members.step(Input::Wanted(objects([red()])));
    assert_eq!(sorted(names(&effects)), ["attachment vm1", "network red"]);
    // The group is over: the entry goes, and then what the tables knew of it.
    let config = members.config.clone().unwrap();
    let effects = members.step(Input::Told(Arc::default()));
    assert_eq!(sorted(names(&effects)), ["network red"]);
    assert_eq!(members.step(Input::Config(config)), []);
    assert_eq!(presence(&effects), Some((at, Presence::default())));
}

#[test]
fn what_is_of_a_group_is_not_kept_over_a_restart() {
    let wanted = objects([red(), vm()]);
    let mut members = members(wanted.clone());
    assert!(Arc::ptr_eq(&members.kept(&wanted), &wanted));
    let _ = members.step(told(GroupPart::Active));
    let kept: Vec<String> = members.kept(&wanted).all.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(kept, ["network red"]);
}
