//! One named test per rule: the text, and the error that it must give, place included.

mod attachments;
mod domains;
mod files;
mod fuzz;
mod groups;
mod limits;
mod mappings;
mod networks;
mod peers;
mod policies;
mod ports;
mod provision;
mod reload;
mod routes;
mod syntax;
mod system;
mod tenants;

use super::{Config, ConfigErrors};

/// A small valid file, one section per line so that each can be replaced.
const LINES: [(&str, &str); 8] = [
    ("node", "node: {name: nve1}"),
    ("dpdk", "dpdk: {workers: [1]}"),
    ("mbufs", "mbufs: {}"),
    ("sir_domains", "sir_domains: [{name: tasks, prefix: '2001:db8:dddd::/64'}]"),
    ("locators", "locators: [{prefix: 'fd00:1:0:1::/64', domain: tasks}]"),
    (
        "ports",
        "ports: [{name: f, device: net_null_d0, role: fabric, addresses: ['fd00:1:0:1::1/64']}, {name: a, device: net_null_d1, role: access}]",
    ),
    ("attachments", "attachments: []"),
    ("routes", "routes: []"),
];

/// The valid file with `section` on one line, or at the end if it is none of the usual ones; its line is the
/// section's place in the list, from 1.
fn text(section: &str, line: &str) -> String {
    let mut known = false;
    let mut text = String::new();
    for (name, usual) in LINES {
        known |= name == section;
        text.push_str(if name == section { line } else { usual });
        text.push('\n');
    }
    if !known {
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn refused(text: &str) -> ConfigErrors {
    match Config::parse(text, "t.yaml") {
        Ok(config) => panic!("{text} was accepted as {config:?}"),
        Err(errors) => errors,
    }
}

/// Asserts the errors of the valid file with one other line, one per line.
fn wrong(line: &str, expected: &str) {
    let section = line.split(':').next().unwrap();
    assert_eq!(refused(&text(section, line)).to_string(), expected);
}

/// The valid file with one other line.
fn right(line: &str) -> Config {
    let section = line.split(':').next().unwrap();
    match Config::parse(&text(section, line), "t.yaml") {
        Ok(config) => config,
        Err(errors) => panic!("{line}: {errors}"),
    }
}
