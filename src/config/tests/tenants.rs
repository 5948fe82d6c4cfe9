//! Attachments of tenants: addresses in a virtual network.

use super::{refused, text};
use crate::config::{Config, LocalIdentifier, TenantAddress, mappings};
use crate::ila::Identifier;
use crate::net::Mac;

/// Two networks with the same IPv4 subnet; `red` has a /31, a large subnet and IPv6 as well.
const NETWORKS: &str = "virtual_networks: [\
    {name: red, vnid: 100, domain: tasks, ipv6: {prefix: '2001:db8:a::/96', gateway: '2001:db8:a::1'}, ipv4: [\
    {prefix: 10.0.0.0/24, gateway: 10.0.0.1}, {prefix: 10.0.1.0/31, gateway: 10.0.1.0}, \
    {prefix: 172.16.0.0/12, gateway: 172.16.0.1}]}, \
    {name: blue, vnid: 7, domain: tasks, ipv4: [{prefix: 10.0.0.0/24, gateway: 10.0.0.1}]}]\n";

/// The file with these attachments in line 7, one per line from there.
fn attached(list: &[String]) -> String {
    text("attachments", &format!("attachments: [{}]", list.join(",\n "))) + NETWORKS
}

/// An attachment with these keys.
fn with(mac: u8, keys: &str) -> String {
    format!("{{port: a, mac: '02:00:00:00:00:{mac:02x}', {keys}}}")
}

/// A tenant in a network.
fn tenant(mac: u8, network: &str, addresses: &str) -> String {
    with(mac, &format!("network: {network}, addresses: [{addresses}]"))
}

/// Asserts the errors of the file with these attachments.
fn wrong(list: &[String], expected: &str) {
    assert_eq!(refused(&attached(list)).to_string(), expected);
}

/// The message at the only address of a tenant.
fn at_address(network: &str, address: &str) -> String {
    let errors = refused(&attached(&[tenant(10, network, &format!("'{address}'"))]));
    assert_eq!(errors.errors().len(), 1, "{errors}");
    let error = &errors.errors()[0];
    assert_eq!((error.path.as_str(), error.line), ("attachments[0].addresses[0]", 7));
    error.message.clone()
}

fn accepted(list: &[String]) -> Config {
    Config::parse(&attached(list), "t.yaml").unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn every_address_becomes_an_identifier() {
    let config = accepted(&[
        tenant(10, "red", "10.0.0.5, '2001:db8:a::5', 10.0.1.1"),
        with(11, "vlan: 5, identifiers: ['2001:db8:dddd:0:2000::1']"),
    ]);
    assert_eq!(config.attachments.len(), 2);
    let (first, task) = (&config.attachments[0], &config.attachments[1]);
    assert_eq!((first.network, task.network), (Some(0), None));
    assert_eq!(
        first.addresses,
        [
            TenantAddress::V4(0x0a00_0005),
            TenantAddress::V6(0x2001_0db8_000a << 80 | 5),
            TenantAddress::V4(0x0a00_0101)
        ]
    );
    let identifiers = [
        Identifier::tenant_ipv4(100, 0x0a00_0005),
        Identifier::tenant_ipv6(100, 5),
        Identifier::tenant_ipv4(100, 0x0a00_0101),
    ];
    assert_eq!(first.identifiers, identifiers.map(|identifier| LocalIdentifier { domain: 0, identifier }));
    assert_eq!((task.addresses.len(), task.identifiers.len()), (0, 1));
}

#[test]
fn an_attachment_is_a_task_or_a_tenant() {
    let message = "a task has identifiers, a tenant has network and addresses; remove one of the two";
    for list in ["['2001:db8:dddd:0:2000::1']", "[]"] {
        wrong(
            &[with(10, &format!("network: red, addresses: [10.0.0.5], identifiers: {list}"))],
            &format!("t.yaml:7:101: attachments[0].identifiers: {message}"),
        );
    }
}

#[test]
fn a_tenant_has_network_and_addresses() {
    let missing = "missing; name at least one address of the tenant, for example \"10.0.0.5\"";
    wrong(&[with(10, "network: red")], &format!("t.yaml:7:15: attachments[0].addresses: {missing}"));
    wrong(&[tenant(10, "red", "")], &format!("t.yaml:7:76: attachments[0].addresses: {missing}"));
    wrong(
        &[with(10, "addresses: [10.0.0.5]")],
        "t.yaml:7:15: attachments[0].network: missing; write for example `network: red`",
    );
    wrong(
        &[tenant(10, "x", "10.0.0.5")],
        "t.yaml:7:60: attachments[0].network: `x` is not the name of a virtual network; add it to virtual_networks",
    );
}

#[test]
fn what_is_wrong_with_a_network_is_not_said_of_its_tenants() {
    let file = attached(&[tenant(10, "red", "10.0.9.9, nonsense")]).replace("10.0.0.0/24", "10.0.0.1/24");
    let errors = refused(&file).to_string();
    assert!(!errors.contains("attachments"), "{errors}");
}

#[test]
fn an_ipv4_address_is_a_host_of_a_subnet() {
    assert_eq!(
        at_address("red", "10.0.2.5"),
        "10.0.2.5 lies in no IPv4 subnet of network red; correct it, or add its subnet there"
    );
    assert_eq!(
        at_address("blue", "172.16.0.9"),
        "172.16.0.9 lies in no IPv4 subnet of network blue; correct it, or add its subnet there"
    );
    let rule = "use one between its first and its last";
    assert_eq!(
        at_address("red", "10.0.0.0"),
        format!("10.0.0.0 is the address of the network 10.0.0.0/24; {rule}")
    );
    assert_eq!(
        at_address("red", "10.0.0.255"),
        format!("10.0.0.255 is the broadcast address of 10.0.0.0/24; {rule}")
    );
    assert_eq!(
        at_address("red", "10.0.0.1"),
        "10.0.0.1 is the gateway of 10.0.0.0/24; write the tenant's own"
    );
    assert_eq!(
        at_address("red", "10.0.1.0"),
        "10.0.1.0 is the gateway of 10.0.1.0/31; write the tenant's own"
    );
    assert_eq!(
        at_address("red", "10.0.0.05"),
        "`10.0.0.05` is not an address; write for example 10.0.0.5 or 2001:db8:a::5"
    );
}

#[test]
fn an_ipv6_address_lies_under_the_prefix() {
    assert_eq!(
        at_address("red", "2001:db8:a:0:0:1::5"),
        "2001:db8:a::1:0:5 does not lie under 2001:db8:a::/96 of network red; use one that does"
    );
    assert_eq!(
        at_address("blue", "2001:db8:a::5"),
        "2001:db8:a::5 is IPv6, which network blue has not; add ipv6 there"
    );
    assert_eq!(
        at_address("red", "2001:db8:a::1"),
        "2001:db8:a::1 is the gateway of 2001:db8:a::/96; write the tenant's own"
    );
}

#[test]
fn an_address_of_a_network_has_one_attachment() {
    wrong(
        &[tenant(10, "red", "10.0.0.5, '2001:db8:a::5'"), tenant(11, "red", "'2001:db8:a:0::5', 10.0.0.5")],
        "t.yaml:8:64: attachments[1].addresses[0]: `2001:db8:a:0::5` is already attachments[0].addresses[1] (line 7); \
         an address has one attachment\n\
         t.yaml:8:83: attachments[1].addresses[1]: `10.0.0.5` is already attachments[0].addresses[0] (line 7); \
         an address has one attachment",
    );
    let config = accepted(&[tenant(10, "red", "10.0.0.5"), tenant(11, "blue", "10.0.0.5")]);
    assert_eq!(config.attachments[0].addresses, config.attachments[1].addresses);
    assert_ne!(config.attachments[0].identifiers, config.attachments[1].identifiers);
}

#[test]
fn addresses_have_zero_aliases_where_neutral_mapping_makes_them_one() {
    let both = [tenant(10, "red", "172.17.0.0"), tenant(11, "red", "172.17.255.255")];
    wrong(
        &both,
        "t.yaml:8:64: attachments[1].addresses[0]: `172.17.255.255` is the twin of attachments[0].addresses[0] \
         (line 7): neutral mapping cannot tell them apart; use another address",
    );
    let plain = attached(&both).replace("dddd::/64'}", "dddd::/64', checksum: no-action}");
    assert_eq!(Config::parse(&plain, "t.yaml").unwrap().attachments.len(), 2);
    accepted(&[tenant(10, "red", "172.17.0.0"), tenant(11, "red", "172.18.255.255")]);
}

#[test]
fn a_tenant_needs_a_locator_of_ours_in_the_domain_of_its_network() {
    let file = attached(&[tenant(10, "red", "10.0.0.5")])
        .replace("[{prefix: 'fd00:1:0:1::/64', domain: tasks}]", "[]");
    assert_eq!(
        refused(&file).to_string(),
        "t.yaml:7:77: attachments[0].addresses[0]: `10.0.0.5` is in domain tasks, where this node has no locator; add \
         one to locators"
    );
}

#[test]
fn a_tenant_has_another_mac_address_than_its_gateway() {
    let same = tenant(10, "red", "10.0.0.5").replace("02:00:00:00:00:0a", "02:00:5e:00:00:01");
    wrong(
        std::slice::from_ref(&same),
        "t.yaml:7:30: attachments[0].mac: 02:00:5e:00:00:01 is that of the gateway of network red; write the tenant's \
         own",
    );
    let task = "identifiers: ['2001:db8:dddd:0:2000::1']";
    wrong(
        &[same.replace("network: red, addresses: [10.0.0.5]", task)],
        "t.yaml:7:30: attachments[0].mac: 02:00:5e:00:00:01 is router_mac of domain tasks; write the task's own",
    );
}

#[test]
fn tasks_and_tenants_do_not_share_a_link() {
    let task = |vlan: &str| with(11, &format!("{vlan}identifiers: ['2001:db8:dddd:0:2000::1']"));
    let vm = |vlan: &str| with(10, &format!("{vlan}network: red, addresses: [10.0.0.5]"));
    let why = "tasks and tenants are on this port and vlan, and only tenants may send where some are; use another \
               vlan or port for the one or the other";
    for vlan in ["", "vlan: 7, "] {
        wrong(&[vm(vlan), task(vlan)], &format!("t.yaml:8:9: attachments[1].port: {why}"));
        wrong(&[task(vlan), vm(vlan)], &format!("t.yaml:8:9: attachments[1].port: {why}"));
        accepted(&[vm(vlan), task("vlan: 8, ")]);
    }
}

#[test]
fn tasks_of_one_port_see_one_router() {
    let domains = |mac: &str| {
        format!(
            "sir_domains: [{{name: tasks, prefix: '2001:db8:dddd::/64'}},\n  \
             {{name: more, prefix: '2001:db8:eeee::/64', router_mac: '{mac}'}}]\n\
             locators: [{{prefix: 'fd00:1:0:1::/64', domain: tasks}}, \
             {{prefix: 'fd00:1:0:2::/64', domain: more}}]\n"
        )
    };
    let tasks = "attachments:\n\
         - {port: access0, vlan: 10, mac: '02:00:00:00:00:0a', identifiers: ['2001:db8:dddd:0:2000::1']}\n\
         - {port: access0, vlan: 11, mac: '02:00:00:00:00:0b', identifiers: ['2001:db8:eeee:0:2000::1']}\n";
    let text = |mac: &str| format!("{}{PORTS}{tasks}", domains(mac));
    let same =
        Config::parse(&text("02:00:5e:00:00:01"), "t.yaml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(same.task_router_mac(0), Some(Mac([2, 0, 0x5e, 0, 0, 1])));
    let errors = Config::parse(&text("02:00:5e:00:00:02"), "t.yaml").unwrap_err().to_string();
    assert!(
        errors.contains(
            "attachments[1].identifiers[0]: its domain more has router_mac 02:00:5e:00:00:02, and domain tasks of \
             other tasks on the port has 02:00:5e:00:00:01; write the same router_mac, or use another port"
        ),
        "{errors}"
    );
    // On a port of its own.
    let apart = text("02:00:5e:00:00:02").replace("access0, vlan: 11", "access1");
    let config = Config::parse(&apart, "t.yaml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.task_router_mac(1), Some(Mac([2, 0, 0x5e, 0, 0, 2])));
    assert_eq!(config.task_router_mac(2), None, "a fabric port has no tasks");
    let group = Config::parse(&text("01:00:5e:00:00:01"), "t.yaml").unwrap_err();
    assert!(
        group.to_string().contains("sir_domains[1].router_mac: 01:00:5e:00:00:01 is a group address"),
        "{group}"
    );
}

/// Two access ports and a fabric port.
const PORTS: &str = "node: {name: n}\ndpdk: {workers: [1]}\nports: [{name: access0, device: net_null_a0, role: access}, \
                     {name: access1, device: net_null_b0, role: access}, {name: f, device: net_null_c0, role: fabric}]\n";

/// Reads mappings of the networks' addresses.
fn mapped(list: &str) -> Result<Vec<crate::mapping::MappingRecord>, String> {
    mappings::parse(&format!("mappings: [{list}]"), "m.yaml", &accepted(&[]))
        .map_err(|errors| errors.to_string())
}

#[test]
fn a_mapping_may_name_network_and_address() {
    let target = "locators: ['fd00:9::/64']";
    let named = mapped(&format!(
        "{{network: red, address: 10.0.0.7, {target}}}, {{network: red, address: '2001:db8:a::7', {target}}}, \
         {{network: blue, address: 10.0.0.7, blackhole: true}}"
    ));
    let as_sir = mapped(&format!(
        "{{sir: '2001:db8:dddd:0:4000:64:a00:7', {target}}}, {{sir: '2001:db8:dddd:0:6000:64:0:7', {target}}}, \
         {{sir: '2001:db8:dddd:0:4000:7:a00:7', blackhole: true}}"
    ));
    assert_eq!(named.unwrap(), as_sir.unwrap());
}

#[test]
fn a_mapping_of_an_address_obeys_the_rules_of_tenants() {
    let wrong = |entry: &str, expected: &str| {
        let errors = mapped(&format!("{{blackhole: true, {entry}}}")).unwrap_err();
        assert_eq!(errors, format!("m.yaml:1:{expected}"));
    };
    wrong("network: red", "12: mappings[0].address: missing; write for example `address: \"10.0.0.7\"`");
    wrong("address: 10.0.0.7", "12: mappings[0].network: missing; write for example `network: red`");
    wrong(
        "network: red, address: 10.0.0.7, sir: '2001:db8:dddd:0:2000::1'",
        "12: mappings[0]: says twice what it maps; write sir, or network and address",
    );
    wrong(
        "network: x, address: 10.0.0.7",
        "39: mappings[0].network: `x` is not the name of a virtual network; add it to virtual_networks",
    );
    wrong(
        "network: red, address: 10.0.0.1",
        "53: mappings[0].address: 10.0.0.1 is the gateway of 10.0.0.0/24; write the tenant's own",
    );
    let same = "{network: red, address: 10.0.0.7, blackhole: true}, \
                {sir: '2001:db8:dddd:0:4000:64:a00:7', blackhole: true}";
    assert_eq!(
        mapped(same).unwrap_err(),
        "m.yaml:1:70: mappings[1].sir: `2001:db8:dddd:0:4000:64:a00:7` is already mappings[0].address (line 1); an \
         identifier has one mapping"
    );
}

#[test]
fn without_a_configuration_a_network_cannot_be_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("m.yaml");
    std::fs::write(&file, "mappings: [{network: red, address: 10.0.0.7, blackhole: true}]").unwrap();
    let message = mappings::written(&file).unwrap_err().to_string();
    assert!(
        message.ends_with(
            ":1:22: mappings[0]: networks are known to a node's configuration only; write sir in place of network and \
             address"
        ),
        "{message}"
    );
}

#[test]
fn a_mapping_beside_a_tenant_names_its_address() {
    let config = accepted(&[tenant(10, "red", "10.0.0.5, 172.17.0.0")]);
    let line = "mappings: [{sir: '2001:db8:dddd:0:4000:64:ac11:ffff', locators: ['fd00:9::/64']}]";
    assert_eq!(
        mappings::parse(line, "m.yaml", &config).unwrap_err().to_string(),
        "m.yaml:1:18: mappings[0].sir: `2001:db8:dddd:0:4000:64:ac11:ffff` is the twin of attachments[0].addresses[1] \
         of the configuration: neutral mapping cannot tell them apart; use another identifier"
    );
}
