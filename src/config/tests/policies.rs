//! Policies between networks.

use super::{refused, right, text};
use crate::config::{Config, Policy};

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
    assert_eq!(config.policies, [Policy { from: 0, to: 1 }, Policy { from: 1, to: 0 }]);
    assert_eq!(right("mbufs: {}").policies, []);
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
