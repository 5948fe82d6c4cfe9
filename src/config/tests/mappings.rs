//! The mapping file.

use super::text;
use crate::config::{Config, mappings};
use crate::ila::{Identifier, Locator};
use crate::mapping::{LocatorChoice, MappingRecord, MappingTarget};

/// Two domains, two locators of ours, one local identifier that ends in 0000.
fn config() -> Config {
    let text = text(
        "attachments",
        "attachments: [{port: a, mac: '02:00:00:00:00:01', identifiers: ['2001:db8:dddd:0:2000:0:1:0']}]",
    )
    .replace("dddd::/64'}]", "dddd::/64'}, {name: other, prefix: '2001:db8:eeee::/64', checksum: no-action}]")
    .replace("domain: tasks}]", "domain: tasks}, {prefix: 'fd00:1:0:e::/64', domain: other}]");
    Config::parse(&text, "t.yaml").unwrap()
}

fn load(entries: &str) -> Result<Vec<MappingRecord>, String> {
    mappings::parse(&format!("mappings:\n{entries}"), "m.yaml", &config())
        .map_err(|errors| errors.to_string())
}

fn wrong(entries: &str, expected: &str) {
    assert_eq!(load(entries).unwrap_err(), expected);
}

/// A line in the plain shape.
fn plain(sir: &str, locators: &[&str]) -> String {
    let list: Vec<String> = locators.iter().map(|locator| format!("\"{locator}\"")).collect();
    format!("  - {{sir: \"{sir}\", locators: [{}]}}\n", list.join(", "))
}

const ID: &str = "2001:db8:dddd:0:2000::1";

#[test]
fn every_shape_of_a_mapping() {
    let text = "- {sir: '2001:db8:dddd:0:2000::1', locators: ['fd00:9::/64']}\n\
                - sir: 2001:db8:eeee:0:2000::1\n  locators: [{locator: 'fd00:8::/64', priority: 2, weight: 30}, fd00:7::/64]\n\
                - {sir: '2001:db8:dddd:0:2000::2', blackhole: true}\n";
    let choice = |half, priority, weight| LocatorChoice { locator: Locator(half), priority, weight };
    let record = |domain, low: u64, target| MappingRecord {
        domain,
        identifier: Identifier(0x2000 << 48 | low),
        target,
    };
    assert_eq!(
        load(text).unwrap(),
        [
            record(0, 1, MappingTarget::Locators(vec![choice(0xfd00_0009 << 32, 0, 1)])),
            record(
                1,
                1,
                MappingTarget::Locators(vec![
                    choice(0xfd00_0008 << 32, 2, 30),
                    choice(0xfd00_0007 << 32, 0, 1)
                ])
            ),
            record(0, 2, MappingTarget::Blackhole),
        ]
    );
    assert_eq!(load("").unwrap(), []);
    assert_eq!(load("  []").unwrap(), []);
}

#[test]
fn the_plain_shape_and_yaml_agree() {
    let mut text = String::from("# made by a program\n");
    for n in 1..500 {
        let locators = [format!("fd00:2:0:{n:x}::/64"), format!("fd00:3:0:{n:x}::/64")];
        let list: Vec<&str> = locators.iter().map(String::as_str).take(1 + n % 2).collect();
        text += &plain(&format!("2001:db8:dddd:0:2000::{n:x}"), &list);
    }
    text += "  - {sir: \"2001:db8:eeee:0:2000::1\", blackhole: true}\n";
    let direct = load(&text).unwrap();
    assert_eq!(direct.len(), 500);
    // A document end is nothing to YAML and unknown to the plain shape.
    assert_eq!(load(&format!("{text}...\n")).unwrap(), direct);
}

#[test]
fn identifiers_obey_the_rules_of_attachments() {
    wrong(
        &plain("2001:db8:dddd:0:3000::1", &["fd00:9::/64"]),
        "m.yaml:2:11: mappings[0].sir: 2001:db8:dddd:0:3000::1 has the C-bit set, which is always 0 in a SIR address; \
         write 2001:db8:dddd:0:2000::1",
    );
    wrong(
        &plain("2001:db8:ffff:0:2000::1", &["fd00:9::/64"]),
        "m.yaml:2:11: mappings[0].sir: 2001:db8:ffff:0:2000::1 lies under no SIR prefix; add its /64 to sir_domains or \
         correct it",
    );
    wrong(
        "  - {blackhole: true}",
        "m.yaml:2:5: mappings[0].sir: missing; write for example `sir: \"2001:db8:dddd:0:2000::1\"`",
    );
}

#[test]
fn addresses_of_tenants_are_mapped_by_their_sir_address() {
    let (ipv4, ipv6) = ("2001:db8:dddd:0:4000:64:a00:7", "2001:db8:dddd:0:6000:64:0:7");
    let lines = plain(ipv4, &["fd00:9::/64"]) + &plain(ipv6, &["fd00:9::/64"]);
    let records = load(&lines).unwrap();
    assert_eq!(
        records.iter().map(|record| record.identifier).collect::<Vec<_>>(),
        [Identifier::tenant_ipv4(100, 0x0a00_0007), Identifier::tenant_ipv6(100, 7)]
    );
    assert_eq!(load(&format!("{lines}...\n")).unwrap(), records);
    let config = config();
    let rules = mappings::Rules::of(&config);
    for (record, sir) in records.iter().zip([ipv4, ipv6]) {
        assert_eq!(rules.identifier(sir).map(|local| local.identifier), Ok(record.identifier));
    }
}

#[test]
fn addresses_of_tenants_are_in_a_network_and_unicast() {
    for (group, kind) in [("4000", "a00:7"), ("6000", "0:7")] {
        let sir = format!("2001:db8:dddd:0:{group}:0:{kind}");
        let shown: std::net::Ipv6Addr = sir.parse().unwrap();
        wrong(
            &plain(&sir, &["fd00:9::/64"]),
            &format!(
                "m.yaml:2:11: mappings[0].sir: {shown} has VNID 0, which no virtual network has; write 1 to 268435455"
            ),
        );
    }
    wrong(
        &plain("2001:db8:dddd:0:5000:64:a00:7", &["fd00:9::/64"]),
        "m.yaml:2:11: mappings[0].sir: 2001:db8:dddd:0:5000:64:a00:7 has the C-bit set, which is always 0 in a SIR \
         address; write 2001:db8:dddd:0:4000:64:a00:7",
    );
}

#[test]
fn a_group_is_one_that_leaves_its_link_and_is_not_like_another_on_the_wire() {
    for (sir, why) in [
        ("8000:64:2000:7", "is a group of scope 2, which never leaves its link; write 3 to e"),
        ("8000:64:f000:7", "is a group of scope f, which never leaves its link; write 3 to e"),
        ("8000:64:5000:ffff", "ends in ffff, which neutral mapping cannot tell from 0000; use another group"),
        ("4000:64:ef01:ffff", "ends in ffff, which neutral mapping cannot tell from 0000; use another group"),
        (
            "4000:64:e000:fb",
            "is an IPv4 address that never leaves its link, or nobody's; write a group from 224.0.1.0 to \
             239.255.255.255, or 255.255.255.255",
        ),
        (
            "4000:64:f000:1",
            "is an IPv4 address that never leaves its link, or nobody's; write a group from 224.0.1.0 to \
             239.255.255.255, or 255.255.255.255",
        ),
    ] {
        let sir = format!("2001:db8:dddd:0:{sir}");
        wrong(&plain(&sir, &["fd00:9::/64"]), &format!("m.yaml:2:11: mappings[0].sir: {sir} {why}"));
    }
}

#[test]
fn a_group_has_many_locators_and_none_of_them_is_chosen() {
    let locators: Vec<String> = (0..257).map(|n| format!("fd00:9:0:{n:x}::/64")).collect();
    let list = |count| locators[..count].iter().map(String::as_str).collect::<Vec<_>>();
    let group = "2001:db8:dddd:0:8000:64:5000:1234";
    assert_eq!(load(&plain(group, &list(256))).unwrap().len(), 1);
    wrong(&plain(group, &list(257)), "m.yaml:2:58: mappings[0].locators: 257 locators; write 1 to 256");
    wrong(
        &format!("  - {{sir: \"{group}\", locators: [{{locator: \"fd00:9::/64\", weight: 2}}]}}\n"),
        "m.yaml:2:58: mappings[0].locators: fd00:9::/64 has priority or weight, but every locator of a group gets a \
         copy; leave them out",
    );
}

#[test]
fn an_identifier_has_one_mapping_and_both_lines_are_named() {
    wrong(
        &(plain(ID, &["fd00:9::/64"]) + &plain("2001:db8:dddd:0:2000:0:0:1", &["fd00:9::/64"])),
        "m.yaml:3:11: mappings[1].sir: `2001:db8:dddd:0:2000:0:0:1` is already mappings[0].sir (line 2); an identifier \
         has one mapping",
    );
}

#[test]
fn zero_aliases_are_refused_in_the_file_and_against_attachments() {
    wrong(
        &(plain("2001:db8:dddd:0:2000::", &["fd00:9::/64"])
            + &plain("2001:db8:dddd:0:2000::ffff", &["fd00:9::/64"])),
        "m.yaml:3:11: mappings[1].sir: `2001:db8:dddd:0:2000::ffff` is the twin of mappings[0].sir (line 2): neutral \
         mapping cannot tell them apart; use another identifier",
    );
    wrong(
        &plain("2001:db8:dddd:0:2000:0:1:ffff", &["fd00:9::/64"]),
        "m.yaml:2:11: mappings[0].sir: `2001:db8:dddd:0:2000:0:1:ffff` is the twin of attachments[0].identifiers[0] of \
         the configuration: neutral mapping cannot tell them apart; use another identifier",
    );
    let harmless = plain("2001:db8:eeee:0:2000::", &["fd00:9::/64"])
        + &plain("2001:db8:eeee:0:2000::ffff", &["fd00:9::/64"]);
    assert_eq!(load(&harmless).unwrap().len(), 2);
}

#[test]
fn a_file_for_every_node_may_name_our_own_identifiers() {
    assert_eq!(load(&plain("2001:db8:dddd:0:2000:0:1:0", &["fd00:1:0:1::/64"])).unwrap().len(), 1);
}

#[test]
fn a_locator_is_in_one_domain() {
    wrong(
        &(plain(ID, &["fd00:9::/64"]) + &plain("2001:db8:eeee:0:2000::1", &["fd00:9::/64"])),
        "m.yaml:3:49: mappings[1].locators[0]: fd00:9::/64 is already used in another SIR domain (line 2); a locator \
         belongs to exactly one",
    );
    wrong(
        &plain(ID, &["fd00:1:0:e::/64"]),
        "m.yaml:2:49: mappings[0].locators[0]: fd00:1:0:e::/64 is our own locator of another domain; a locator belongs \
         to exactly one SIR domain",
    );
    wrong(
        &plain(ID, &["2001:db8:eeee::/64"]),
        "m.yaml:2:49: mappings[0].locators[0]: 2001:db8:eeee::/64 is the SIR prefix of domain other; a locator must \
         not be a SIR prefix",
    );
}

#[test]
fn a_locator_of_the_configuration_is_in_its_domain_only() {
    let networks = "virtual_networks:\n\
        \x20 - {name: red, vnid: 1, domain: other, ipv6: {prefix: '2001:db8:a::/96'}, replicate_to: ['fd00:9::/64']}\n\
        \x20 - {name: blue, vnid: 2, domain: other, ipv6: {prefix: '2001:db8:b::/96'}}\n\
        policies: [{from: red, to: blue, via: 'fd00:a::/64'}]\n";
    let text = text("virtual_networks", networks).replace(
        "dddd::/64'}]",
        "dddd::/64'}, {name: other, prefix: '2001:db8:eeee::/64', checksum: no-action}]",
    );
    let config = Config::parse(&text, "t.yaml").unwrap();
    let load = |entry: &str| mappings::parse(&format!("mappings:\n{entry}"), "m.yaml", &config);
    for locator in ["fd00:9::/64", "fd00:a::/64"] {
        let why = load(&plain(ID, &[locator])).unwrap_err().to_string();
        let rule = "stands in the configuration for another SIR domain, as replicate_to of a network or via of a policy";
        assert!(why.starts_with(&format!("m.yaml:2:49: mappings[0].locators[0]: {locator} {rule}")), "{why}");
        assert_eq!(load(&plain("2001:db8:eeee:0:2000::1", &[locator])).unwrap().len(), 1);
    }
}

#[test]
fn an_empty_file_is_a_mistake_and_no_mapping_must_be_said() {
    for text in ["", "\n", "# nothing\n"] {
        let why = mappings::parse(text, "m.yaml", &config()).unwrap_err().to_string();
        assert!(why.contains("is empty") && why.contains("`mappings: []`"), "{text:?}: {why}");
    }
    for text in ["mappings: []\n", "mappings:\n"] {
        assert_eq!(mappings::parse(text, "m.yaml", &config()).unwrap(), []);
    }
}

#[test]
fn locators_are_few_and_distinct() {
    wrong(
        &plain(ID, &[]).replace("[]", "[ ]"),
        "m.yaml:2:48: mappings[0].locators: 0 locators; write 1 to 16",
    );
    let many: Vec<String> = (0..17).map(|n| format!("fd00:{n:x}::/64")).collect();
    let list: Vec<&str> = many.iter().map(String::as_str).collect();
    wrong(&plain(ID, &list), "m.yaml:2:48: mappings[0].locators: 17 locators; write 1 to 16");
    assert_eq!(load(&plain(ID, &list[..16])).unwrap().len(), 1);
    wrong(
        &plain(ID, &["fd00:9::/64", "fd00:9::/64"]),
        "m.yaml:2:64: mappings[0].locators[1]: fd00:9::/64 stands in this mapping twice; write its share \
         as weight",
    );
}

#[test]
fn a_mapping_has_exactly_one_target() {
    wrong(
        &format!("  - {{sir: '{ID}'}}"),
        "m.yaml:2:5: mappings[0]: leads nowhere; write locators, or blackhole: true",
    );
    wrong(
        &format!("  - {{sir: '{ID}', blackhole: true, locators: ['fd00:9::/64']}}"),
        "m.yaml:2:5: mappings[0]: has locators and is a blackhole; remove one of the two",
    );
}

#[test]
fn priority_and_weight_have_limits() {
    wrong(
        &format!("  - {{sir: '{ID}', locators: [{{locator: 'fd00::/63', priority: 256, weight: 1001}}]}}"),
        "m.yaml:2:59: mappings[0].locators[0].locator: `fd00::/63` has length 63; a locator has 64 bits\n\
         m.yaml:2:82: mappings[0].locators[0].priority: `256` is not a number from 0 to 255; choose one\n\
         m.yaml:2:95: mappings[0].locators[0].weight: `1001` is not a number from 1 to 1000; choose one",
    );
}

#[test]
fn unknown_keys_and_wrong_shapes_are_errors() {
    wrong(
        &format!("  - {{sir: '{ID}', locator: x}}"),
        "m.yaml:2:38: mappings[0].locator: unknown key `locator`; known here: sir, network, address, locators, blackhole",
    );
    wrong(
        &format!("  - {{sir: '{ID}', locators: [{{prefix: x}}]}}"),
        "m.yaml:2:50: mappings[0].locators[0].prefix: unknown key `prefix`; known here: locator, priority, weight",
    );
    let message = load(&format!("  - {{sir: '{ID}', locators: [7]}}")).unwrap_err();
    assert!(message.starts_with("m.yaml:2:49: mappings[0].locators[0]: "), "{message}");
}

#[test]
fn a_file_is_read_alike_without_a_configuration_in_either_shape() {
    let directory = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        let file = directory.path().join("m.yaml");
        std::fs::write(&file, text).unwrap();
        mappings::written(&file)
    };
    let blackhole = "  - {sir: \"2001:db8:dddd:0:2000::9\", blackhole: true}\n";
    let text = format!("mappings:\n{}{blackhole}", plain(ID, &["fd00:9::/64", "fd00:9:0:1::/64"]));
    let list = read(&text).unwrap();
    assert_eq!((list[0].sir.as_str(), list[0].locators.len(), list[1].blackhole), (ID, 2, true));
    assert_eq!(read(&text.replace("mappings:", "mappings: # not plain")).unwrap(), list);
    // What only YAML understands is left to it.
    assert_eq!(read(&text.replace("2000::9", "2000::\\x39")).unwrap(), list);
    let message = read(&text.replace("fd00:9:0:1::/64", "fd00:9:0:1::/63")).unwrap_err().to_string();
    assert!(message.contains(":2:64: mappings[0].locators[1]: `fd00:9:0:1::/63` has"), "{message}");
}
