//! Policies between networks.

use super::{refused, right, text};
use crate::config::{Beyond, Config, LocalIdentifier, Policy};
use crate::ila::Identifier;

const NETWORKS: &str =
    "virtual_networks: [{name: red, vnid: 1, domain: tasks}, {name: blue, vnid: 2, domain: tasks}]";

/// The file with these policies in line 9.
fn with(policies: &str) -> String {
    text("policies", &format!("policies: [{policies}]\n{NETWORKS}"))
}

fn wrong(policies: &str, expected: &str) {
    assert_eq!(refused(&with(policies)).to_string(), expected);
}

#[test]
fn a_policy_has_a_direction() {
    let config = Config::parse(&with("{from: red, to: blue}, {from: blue, to: red}"), "t.yaml").unwrap();
    assert_eq!(
        *config.policies,
        [Policy::Between { from: 0, to: 1, via: None }, Policy::Between { from: 1, to: 0, via: None }]
    );
    assert!(right("mbufs: {}").policies.is_empty());
}

#[test]
fn a_policy_names_two_networks() {
    wrong(
        "{}",
        "t.yaml:9:12: policies[0].from: missing; write for example `from: red`\n\
         t.yaml:9:12: policies[0].to: missing; write for example `to: blue`",
    );
    wrong(
        "{from: green, to: 7}",
        "t.yaml:9:19: policies[0].from: `green` is not the name of a virtual network; add it to virtual_networks\n\
         t.yaml:9:30: policies[0].to: `7` is not the name of a virtual network; add it to virtual_networks",
    );
    wrong(
        "{from: red, to: red}",
        "t.yaml:9:28: policies[0].to: `red` is from as well; within a network no policy is needed",
    );
}

#[test]
fn a_policy_may_name_tasks_and_the_outside() {
    let task = LocalIdentifier { domain: 0, identifier: Identifier(0x2000 << 48 | 4) };
    let list = r#"{from: red, to: outside}, {from: "2001:db8:dddd::/64", to: red},
        {from: red, to: "2001:db8:dddd:0:2000::4"}"#;
    let policies = Config::parse(&with(list), "t.yaml").unwrap().policies;
    assert_eq!(
        *policies,
        [
            Policy::Out { from: 0, to: Beyond::Outside },
            Policy::In { from: Beyond::Tasks(0), to: 0 },
            Policy::Out { from: 0, to: Beyond::Task(task) },
        ]
    );
}

#[test]
fn a_policy_that_names_nobody_or_no_network_is_refused() {
    for (policy, expected) in [
        (
            r#"{from: red, to: "2001:db8:eeee::/64"}"#,
            "9:28: policies[0].to: 2001:db8:eeee::/64 is no SIR prefix; add it to sir_domains or correct it",
        ),
        (
            r#"{from: red, to: "2001:db8:dddd::/65"}"#,
            "9:28: policies[0].to: `2001:db8:dddd::/65` has length 65; a SIR prefix has 64 bits",
        ),
        (
            r#"{from: red, to: "2001:db8:eeee:0:2000::4"}"#,
            "9:28: policies[0].to: 2001:db8:eeee:0:2000::4 lies under no SIR prefix; add its /64 to sir_domains or correct it",
        ),
        (
            r#"{from: "2001:db8:dddd:0:4000:1:a00:2", to: red}"#,
            "9:19: policies[0].from: 2001:db8:dddd:0:4000:1:a00:2 has identifier type 2, which is a tenant's address; \
             policies name whole networks, for example red",
        ),
        (
            r#"{from: "2001:db8:dddd::/64", to: outside}"#,
            "9:45: policies[0].to: `outside` is no virtual network, and neither is from; policies are for tenants, name \
             a network",
        ),
        (
            r#"{from: red, to: outside}, {from: red, to: outside}"#,
            "9:38: policies[1]: the same as policies[0] (line 9); remove one of the two",
        ),
    ] {
        wrong(policy, &format!("t.yaml:{expected}"));
    }
}

#[test]
fn a_policy_stands_once() {
    wrong(
        "{from: red, to: blue}, {from: red, to: blue}",
        "t.yaml:9:35: policies[1]: the same as policies[0] (line 9); remove one of the two",
    );
}

#[test]
fn policies_are_counted() {
    let list = vec!["{from: red, to: blue}"; 65537].join(", ");
    let errors = refused(&with(&list)).to_string();
    // Errors are counted, too: the repetitions come first.
    assert!(errors.contains("policies[1]: the same as policies[0] (line 9)"));
    let names: Vec<String> = (0..257).map(|n| format!("n{n}")).collect();
    let networks: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(n, name)| format!("{{name: {name}, vnid: {}, domain: tasks}}", n + 1))
        .collect();
    let pairs: Vec<String> = names
        .iter()
        .flat_map(|from| names.iter().map(move |to| (from, to)))
        .filter(|(from, to)| from != to)
        .map(|(from, to)| format!("{{from: {from}, to: {to}}}"))
        .collect();
    let file = |count: usize| {
        let (policies, networks) = (pairs[..count].join(", "), networks.join(", "));
        text("policies", &format!("policies: [{policies}]\nvirtual_networks: [{networks}]"))
    };
    assert_eq!(Config::parse(&file(65536), "t.yaml").unwrap().policies.len(), 65536);
    let errors = refused(&file(65537));
    assert_eq!(errors.errors().len(), 1);
    assert_eq!(
        (errors.errors()[0].path.as_str(), errors.errors()[0].message.as_str()),
        ("policies[65536]", "more than 65536 policies; a node has at most 65536")
    );
}

/// Two networks in two domains, a locator of ours in each; the policies stand in line 9.
fn with_domains(policies: &str) -> String {
    format!(
        "node: {{name: nve1}}\ndpdk: {{workers: [1]}}\nsir_domains:\n  - {{name: tasks, prefix: \"2001:db8:dddd::/64\"}}\n  \
         - {{name: other, prefix: \"2001:db8:eeee::/64\"}}\nports: [{{name: a, device: net_null_a, role: fabric, addresses: [\"fd00:f::1/64\"]}}]\nlocators:\n  [{{prefix: \"fd00:1::/64\", domain: tasks}}, {{prefix: \"fd00:2::/64\", domain: other}}]\n\
         policies: [{policies}]\nvirtual_networks: [{{name: red, vnid: 1, domain: tasks}}, {{name: blue, vnid: 2, domain: tasks}}, \
         {{name: green, vnid: 3, domain: other, replicate_to: [\"fd00:7::/64\"]}}]"
    )
}

#[test]
fn a_policy_between_networks_may_name_a_gateway() {
    let list = r#"{from: red, to: blue, via: "fd00:9::/64"}, {from: blue, to: red, via: "fd00:1::/64"}"#;
    let config = Config::parse(&with_domains(list), "t.yaml").unwrap_or_else(|errors| panic!("{errors}"));
    let via = |bits: u64| Some(crate::ila::Locator(bits));
    assert_eq!(
        *config.policies,
        [
            Policy::Between { from: 0, to: 1, via: via(0xfd00_0009 << 32) },
            Policy::Between { from: 1, to: 0, via: via(0xfd00_0001 << 32) },
        ]
    );
    let words = config.policy_words(config.policies[0]);
    assert_eq!((words.from.as_str(), words.via.as_deref()), ("red", Some("fd00:9::/64")));
    let gateways: Vec<_> =
        config.gateways().into_iter().map(|(locator, domain)| (locator.0 >> 32, domain)).collect();
    assert_eq!(gateways, [(0xfd00_0001, 0), (0xfd00_0009, 0)]);
}

#[test]
fn a_gateway_is_a_locator_of_the_domain_that_it_serves_between_two_networks() {
    for (list, expected) in [
        (
            r#"{from: red, to: blue, via: "fd00:9::/65"}"#,
            "9:39: policies[0].via: `fd00:9::/65` has length 65; a locator has 64 bits",
        ),
        (
            r#"{from: red, to: outside, via: "fd00:9::/64"}"#,
            "9:42: policies[0].via: a gateway is between two virtual networks; leave via out",
        ),
        (
            r#"{from: "2001:db8:dddd::/64", to: red, via: "fd00:9::/64"}"#,
            "9:55: policies[0].via: a gateway is between two virtual networks; leave via out",
        ),
        (
            r#"{from: red, to: blue, via: "2001:db8:dddd::/64"}"#,
            "9:39: policies[0].via: 2001:db8:dddd::/64 is the SIR prefix of domain tasks; a locator must not be a SIR prefix",
        ),
        (
            r#"{from: red, to: blue, via: "fd00:2::/64"}"#,
            "9:39: policies[0].via: fd00:2::/64 is our own locator of another domain; a locator belongs to exactly one SIR \
             domain",
        ),
        (
            r#"{from: red, to: blue, via: "fd00:7::/64"}"#,
            "9:39: policies[0].via: fd00:7::/64 is already used in another SIR domain; a locator belongs to exactly one SIR \
             domain",
        ),
        (
            r#"{from: red, to: blue, via: "fd00:9::/64"}, {from: red, to: green, via: "fd00:9::/64"}"#,
            "9:83: policies[1].via: fd00:9::/64 is already used in another SIR domain; a locator belongs to exactly one SIR \
             domain",
        ),
        (
            r#"{from: red, to: blue, via: "fd00:9::/64"}, {from: red, to: blue}"#,
            "9:55: policies[1]: the same as policies[0] (line 9); remove one of the two",
        ),
    ] {
        assert_eq!(refused(&with_domains(list)).to_string(), format!("t.yaml:{expected}"));
    }
}
