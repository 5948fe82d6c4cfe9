//! What an authority adds to a file: judged by the rules of the file, and left out where it breaks one.

use super::text;
use crate::config::{Claim, Config, Entry, ObjectName, PolicyWords, ProvisionRules, RefusedEntry, Source};

const RED: &str = "{name: red, vnid: 100, domain: tasks, ipv6: {prefix: '2001:db8:a::/96', gateway: '2001:db8:a::1'}, \
                   ipv4: [{prefix: 10.0.0.0/24, gateway: 10.0.0.1}]}";
const VM1: &str =
    "{name: vm1, port: a, vlan: 11, mac: '02:00:00:00:00:0b', network: red, addresses: [10.0.0.5]}";

fn network(name: &str, vnid: u32) -> Entry {
    Entry::network(&format!("{{name: {name}, vnid: {vnid}, domain: tasks}}")).unwrap()
}

fn policy(from: &str, to: &str) -> Entry {
    Entry::of_policy(&PolicyWords { from: from.into(), to: to.into(), via: None }).unwrap()
}

/// The usual file with one other line, and entries of an authority.
fn with(line: &str, entries: &[Entry]) -> (Config, Vec<RefusedEntry>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.yaml");
    std::fs::write(&path, text(line.split(':').next().unwrap(), line)).unwrap();
    let (source, _) = Source::load(&path).unwrap();
    let (config, _, refused) = source.with(&entries.iter().collect::<Vec<_>>()).unwrap();
    (config, refused)
}

fn why(refused: &[RefusedEntry], name: &str) -> String {
    let found = refused.iter().find(|refused| refused.name.to_string() == name);
    found.unwrap_or_else(|| panic!("{name} is not among {refused:?}")).why.clone()
}

#[test]
fn file_and_entries_are_one_configuration() {
    let entries = [Entry::network(RED).unwrap(), policy("red", "outside"), Entry::attachment(VM1).unwrap()];
    let line = "virtual_networks: [{name: own, vnid: 1, domain: tasks}]";
    let (config, refused) = with(line, &entries);
    assert_eq!(refused, []);
    let names: Vec<&str> = config.virtual_networks.iter().map(|network| network.name.as_str()).collect();
    assert_eq!(names, ["own", "red"]);
    assert_eq!(config.provisioned.networks, 1..2);
    assert_eq!(config.provisioned.policies, 0..1);
    assert_eq!(config.provisioned.attachments, 0..1);
    // As if the file said all of it.
    let whole = format!(
        "{}virtual_networks: [{{name: own, vnid: 1, domain: tasks}}, {RED}]\npolicies: [{{from: red, to: outside}}]\n",
        text("attachments", &format!("attachments: [{VM1}]"))
    );
    let whole = Config::parse(&whole, "t.yaml").unwrap();
    assert_eq!(Config { provisioned: whole.provisioned.clone(), ..config }, whole);
}

#[test]
fn the_file_wins_and_the_rest_goes_on() {
    let line = "virtual_networks: [{name: red, vnid: 1, domain: tasks}]";
    let vm2 =
        "{name: vm2, port: a, vlan: 12, mac: '02:00:00:00:00:0c', network: blue, addresses: [10.1.0.5]}";
    let blue = "{name: blue, vnid: 2, domain: tasks, ipv4: [{prefix: 10.1.0.0/24, gateway: 10.1.0.1}]}";
    let entries = [
        Entry::network(RED).unwrap(),
        Entry::network(blue).unwrap(),
        network("green", 1),
        Entry::attachment(VM1).unwrap(),
        Entry::attachment(vm2).unwrap(),
    ];
    let (config, refused) = with(line, &entries);
    assert_eq!(
        why(&refused, "network red"),
        "virtual_networks[red].name: `red` is already virtual_networks[0].name (line 9); names are unique"
    );
    assert_eq!(
        why(&refused, "network green"),
        "virtual_networks[green].vnid: 1 is already virtual_networks[0].vnid (line 9); give each network its own"
    );
    assert_eq!(why(&refused, "attachment vm1"), "it refers to network red, which is refused");
    assert_eq!(refused.len(), 3);
    assert_eq!(config.virtual_networks.len(), 2);
    assert_eq!(config.attachments[0].name.as_deref(), Some("vm2"));
}

#[test]
fn what_breaks_a_rule_of_the_file_itself_is_found() {
    let entries = [network("blue", 2), Entry::network(RED).unwrap(), network("green", 3)];
    let (config, refused) = with("infrastructure: ['2001:db8:a::/64']", &entries);
    assert_eq!(refused.len(), 1);
    assert!(why(&refused, "network red").contains("overlaps the prefix of network red"), "{refused:?}");
    assert_eq!(config.virtual_networks.len(), 2);
}

#[test]
fn an_entry_must_be_named_and_well_formed() {
    let errors = [
        (Entry::network("{vnid: 1}"), "name: missing"),
        (Entry::network("{name: 'a b'}"), "name: `a b` is not a name"),
        (Entry::network("{name: red, vnidd: 1}"), "network:1:13: vnidd: unknown key `vnidd`"),
        (Entry::network("- 1"), "network:1:1"),
        (Entry::attachment("{port: a}"), "name: missing"),
        (Entry::policy("{from: red}"), "to: missing"),
        (Entry::policy("{from: 'r d', to: blue}"), "from: `r d` is neither a name nor an address"),
        (Entry::network(&format!("{{name: {}}}", "x".repeat(300_000))), "an entry has 262144 at most"),
    ];
    for (entry, expected) in errors {
        let why = entry.unwrap_err();
        assert!(why.contains(expected), "{why}");
    }
    let red = ObjectName::Network("red".into());
    assert!(
        Entry::named(&red, "{name: blue}").unwrap_err().contains("it is network blue, and not network red")
    );
}

#[test]
fn an_entry_is_written_as_it_is_read() {
    let text = "name: red   # a comment\nvnid: 100\ndomain: tasks\npeers:\n  - {address: 10.0.0.9, to: {network: blue, address: 10.1.0.5}}\n\
                \x20 - {address: 10.0.0.8, to: '2001:db8:dddd:0:2000::4'}\nreplicate_to: ['fd00:1::/64']\n";
    let entry = Entry::network(text).unwrap();
    assert_eq!(entry.networks(), ["blue"]);
    let again = Entry::named(entry.name(), entry.written()).unwrap();
    assert_eq!(again, entry);
    assert!(!entry.written().contains('\n'));
    let outside = entry.from_outside().unwrap().in_domain("other").unwrap();
    assert_eq!(outside.written(), r#"{"name":"red","vnid":"100","domain":"other"}"#);
    let vm1 = Entry::attachment(VM1).unwrap();
    assert_eq!(vm1.claims(), [Claim::Tenant("red".into(), "10.0.0.5".parse().unwrap())]);
    assert_eq!(
        (policy("red", "blue").networks(), policy("outside", "red").networks()),
        (vec!["red", "blue"], vec!["red"])
    );
}

#[test]
fn an_authority_judges_by_the_same_rules() {
    let rules = ProvisionRules::new([("tasks".to_owned(), "2001:db8:dddd::/64".parse().unwrap())]);
    let locators = [("fd00:1::/64".parse().unwrap(), 0x2001_0db8_dddd_0000)];
    let judge = |entries: &[Entry]| {
        let locators = locators.iter().map(|(locator, sir)| (locator, sir));
        rules.judge(locators, &entries.iter().collect::<Vec<_>>()).0
    };
    let (red, vm1) = (Entry::network(RED).unwrap(), Entry::attachment(VM1).unwrap());
    assert_eq!(judge(&[red.clone(), vm1.clone(), policy("red", "outside")]), []);
    let twice = Entry::attachment(&VM1.replace("vm1", "vm2")).unwrap();
    let refused = judge(&[red.clone(), vm1, twice]);
    assert!(
        why(&refused, "attachment vm2").contains("is already attachments[vm1].mac (line 1) on this port"),
        "{refused:?}"
    );
    let other = Entry::network(&RED.replace("tasks", "others")).unwrap();
    assert!(why(&judge(&[other]), "network red").contains("`others` is not the name of a SIR domain"));
    let under = Entry::network(&RED.replace("2001:db8:a::", "fd00:1::")).unwrap();
    assert!(why(&judge(&[under]), "network red").contains("lies under our locator"));
}

#[test]
fn tenants_of_an_exclusive_network_share_a_node_with_nobody() {
    let exclusive = Entry::network(&RED.replace("vnid: 100", "vnid: 100, exclusive: true")).unwrap();
    let blue = "{name: blue, vnid: 2, domain: tasks, ipv4: [{prefix: 10.1.0.0/24, gateway: 10.1.0.1}]}";
    let vm2 =
        "{name: vm2, port: a, vlan: 12, mac: '02:00:00:00:00:0c', network: blue, addresses: [10.1.0.5]}";
    let [blue, vm1, vm2] =
        [Entry::network(blue), Entry::attachment(VM1), Entry::attachment(vm2)].map(Result::unwrap);
    let (_, refused) = with("icmp: {}", &[exclusive.clone(), blue.clone(), vm1.clone(), vm2.clone()]);
    assert_eq!(
        why(&refused, "attachment vm2"),
        "attachments[vm2].network: the node is not free for network blue: an exclusive network has tenants there; place \
         it on another node"
    );
    let (_, refused) = with("icmp: {}", &[exclusive, blue, vm2, vm1]);
    assert_eq!(
        why(&refused, "attachment vm1"),
        "attachments[vm1].network: network red is exclusive, and the node has tenants of others; place it on another node"
    );
    assert_eq!(refused.len(), 1);
}

#[test]
fn an_entry_is_measured_with_its_aliases_in_full() {
    let long = "x".repeat(5_000);
    let aliases = "*x, ".repeat(60);
    let text = format!("{{name: red, domain: &x {long}, replicate_to: [{aliases}'fd00:1::/64']}}");
    assert!(text.len() < 6_000);
    let why = Entry::network(&text).unwrap_err();
    assert!(why.starts_with("network red: 30") && why.contains("an entry has 262144 at most"), "{why}");
}

#[test]
fn only_an_authority_gives_addresses_to_who_asks_by_rarp() {
    let vm1 = VM1.replace("10.0.0.5", "on-rarp");
    let entries = [Entry::network(RED).unwrap(), Entry::attachment(&vm1).unwrap()];
    let (config, refused) = with("policies: []", &entries);
    assert_eq!(refused, []);
    let attachment = &config.attachments[0];
    assert!(attachment.on_rarp && attachment.addresses.is_empty() && attachment.identifiers.is_empty());
    // With what it was allocated it is as others are.
    let again = Entry::attachment(&vm1).unwrap().with_addresses(&["10.0.0.7".parse().unwrap()]).unwrap();
    let (config, refused) = with("policies: []", &[Entry::network(RED).unwrap(), again]);
    assert_eq!(refused, []);
    assert_eq!((config.attachments[0].on_rarp, config.attachments[0].identifiers.len()), (true, 1));
    let file =
        format!("{}virtual_networks: [{RED}]\n", text("attachments", &format!("attachments: [{vm1}]")));
    let why = Config::parse(&file, "t.yaml").unwrap_err().to_string();
    assert!(why.contains("only an authority allocates addresses"), "{why}");
}
