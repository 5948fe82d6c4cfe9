//! Attachments and their identifiers.

use super::{refused, right, text, wrong};
use crate::config::Config;

/// An attachment with these identifiers.
fn task(mac: u8, identifiers: &str) -> String {
    format!("{{port: a, mac: '02:00:00:00:00:{mac:02x}', identifiers: [{identifiers}]}}")
}

/// The message at the only identifier of an attachment.
fn at_identifier(identifier: &str) -> String {
    let line = format!("attachments: [{}]", task(1, &format!("'{identifier}'")));
    let errors = refused(&text("attachments", &line));
    assert_eq!(
        (errors.errors().len(), errors.errors()[0].path.as_str()),
        (1, "attachments[0].identifiers[0]"),
        "{errors}"
    );
    assert_eq!((errors.errors()[0].line, errors.errors()[0].column), (7, 65));
    errors.errors()[0].message.clone()
}

#[test]
fn a_task_has_another_mac_address_than_its_port() {
    let ports = "ports: [{name: a, device: net_null_d, role: access, mac: '02:00:00:00:00:0a'}]";
    let attached =
        "attachments: [{port: a, mac: '02:00:00:00:00:0a', identifiers: ['2001:db8:dddd:0:2000::1']}]";
    assert_eq!(
        super::refused(&super::text("ports", ports).replace("attachments: []", attached)).to_string(),
        "t.yaml:7:30: attachments[0].mac: 02:00:00:00:00:0a is that of port a; write the task's own"
    );
}

#[test]
fn what_an_attachment_needs() {
    wrong(
        "attachments: [{}]",
        "t.yaml:7:15: attachments[0].port: missing; write for example `port: fabric0`\n\
         t.yaml:7:15: attachments[0].mac: missing; write for example `mac: \"02:00:00:00:00:0a\"`\n\
         t.yaml:7:15: attachments[0].identifiers: missing; name at least one SIR address, for example \
         \"2001:db8:dddd:0:2000::1\", or network and addresses of a tenant",
    );
    wrong(
        "attachments: [{port: a, mac: '02:00:00:00:00:01', identifiers: []}]",
        "t.yaml:7:64: attachments[0].identifiers: missing; name at least one SIR address, for example \
         \"2001:db8:dddd:0:2000::1\", or network and addresses of a tenant",
    );
}

#[test]
fn an_attachment_is_on_an_access_port_that_exists() {
    let line = |port: &str, rest: &str| {
        format!(
            "attachments: [{{port: {port}, mac: '02:00:00:00:00:01', identifiers: ['2001:db8:dddd:0:2000::1']{rest}}}]"
        )
    };
    wrong(&line("x", ""), "t.yaml:7:22: attachments[0].port: `x` is not the name of a port; add it to ports");
    wrong(
        &line("f", ""),
        "t.yaml:7:22: attachments[0].port: port `f` does not have role access; attach to one that has",
    );
    wrong(
        &line("a", ", vlan: 0"),
        "t.yaml:7:99: attachments[0].vlan: `0` is not a number from 1 to 4094; choose one",
    );
}

#[test]
fn a_mac_is_unicast_and_somebody_s() {
    let line = |mac: &str| {
        format!("attachments: [{{mac: '{mac}', port: a, identifiers: ['2001:db8:dddd:0:2000::1']}}]")
    };
    let rule = "write the unicast address of the interface";
    wrong(
        &line("01:00:00:00:00:01"),
        &format!("t.yaml:7:21: attachments[0].mac: 01:00:00:00:00:01 is a group address; {rule}"),
    );
    wrong(
        &line("00:00:00:00:00:00"),
        &format!("t.yaml:7:21: attachments[0].mac: 00:00:00:00:00:00 is no address; {rule}"),
    );
    wrong(
        &line("x"),
        "t.yaml:7:21: attachments[0].mac: `x` is not a MAC address; write six hexadecimal bytes, for example 02:00:00:00:00:0a",
    );
}

#[test]
fn a_mac_stands_once_on_a_port_and_vlan() {
    let two =
        |second: &str| format!("attachments:\n- {}\n- {second}\n", task(1, "'2001:db8:dddd:0:2000::1'"));
    let same = two(&task(1, "'2001:db8:dddd:0:2000::2'"));
    assert_eq!(
        refused(&text("attachments", &same)).to_string(),
        "t.yaml:9:18: attachments[1].mac: 02:00:00:00:00:01 is already attachments[0].mac (line 8) on this port and \
         vlan; MAC addresses are unique there"
    );
    for other in [
        task(2, "'2001:db8:dddd:0:2000::2'"),
        task(1, "'2001:db8:dddd:0:2000::2'").replace("port: a", "port: a, vlan: 7"),
    ] {
        let config = Config::parse(&text("attachments", &two(&other)), "t.yaml").unwrap();
        assert_eq!(config.attachments.len(), 2);
    }
}

#[test]
fn names_of_attachments_are_unique() {
    let named =
        |mac, id| task(mac, &format!("'2001:db8:dddd:0:2000::{id}'")).replace("{port", "{name: web, port");
    let line = format!("attachments: [{}, {}]", named(1, 1), named(2, 2));
    let message = refused(&text("attachments", &line)).to_string();
    assert!(
        message.ends_with(
            "attachments[1].name: `web` is already attachments[0].name (line 7); names are unique"
        )
    );
}

#[test]
fn an_identifier_is_an_address_under_a_sir_prefix() {
    assert_eq!(at_identifier("x"), "`x` is not an IPv6 address; write the SIR address of the identifier");
    assert_eq!(
        at_identifier("2001:db8:eeee:0:2000::1"),
        "2001:db8:eeee:0:2000::1 lies under no SIR prefix; add its /64 to sir_domains or correct it"
    );
}

#[test]
fn the_identifier_of_a_task_has_type_1() {
    let rule = "use type 1, for example 2000:0:0:1";
    assert_eq!(
        at_identifier("2001:db8:dddd::1"),
        format!("2001:db8:dddd::1 has identifier type 0, which is never translated; {rule}")
    );
    for (group, kind) in [("4000", 2), ("6000", 3), ("8000", 4)] {
        assert_eq!(
            at_identifier(&format!("2001:db8:dddd:0:{group}:1:5a00:5")),
            format!(
                "2001:db8:dddd:0:{group}:1:5a00:5 has identifier type {kind}, which is a tenant's address; write \
                 network and addresses in place of identifiers"
            )
        );
    }
    for (group, kind) in [("a000", 5), ("c000", 6), ("e000", 7)] {
        assert_eq!(
            at_identifier(&format!("2001:db8:dddd:0:{group}::1")),
            format!("2001:db8:dddd:0:{group}::1 has identifier type {kind}, which is reserved; {rule}")
        );
    }
}

#[test]
fn a_sir_address_has_the_c_bit_clear() {
    assert_eq!(
        at_identifier("2001:db8:dddd:0:3000::1"),
        "2001:db8:dddd:0:3000::1 has the C-bit set, which is always 0 in a SIR address; write 2001:db8:dddd:0:2000::1"
    );
}

#[test]
fn an_identifier_has_one_attachment_and_both_lines_are_named() {
    let list = format!(
        "attachments:\n- {}\n- {}\n",
        task(1, "'2001:db8:dddd:0:2000::1'"),
        task(2, "'2001:db8:dddd:0:2000:0:0:1'")
    );
    assert_eq!(
        refused(&text("attachments", &list)).to_string(),
        "t.yaml:9:53: attachments[1].identifiers[0]: `2001:db8:dddd:0:2000:0:0:1` is already \
         attachments[0].identifiers[0] (line 8); an identifier has one attachment"
    );
}

/// A file with two zero aliases in a domain of this checksum mode.
fn zero_aliases(mode: &str) -> String {
    let list = task(1, "'2001:db8:dddd:0:2000::', '2001:db8:dddd:0:2000::ffff'");
    text("attachments", &format!("attachments: [{list}]")).replace(
        "prefix: '2001:db8:dddd::/64'}",
        &format!("prefix: '2001:db8:dddd::/64', checksum: {mode}}}"),
    )
}

#[test]
fn zero_aliases_are_refused_where_neutral_mapping_makes_them_one() {
    for mode in ["neutral-map", "neutral-map-auto"] {
        assert_eq!(
            refused(&zero_aliases(mode)).to_string(),
            "t.yaml:7:91: attachments[0].identifiers[1]: `2001:db8:dddd:0:2000::ffff` is the twin of \
             attachments[0].identifiers[0] (line 7): neutral mapping cannot tell them apart; use another identifier"
        );
    }
    for mode in ["adj-transport", "no-action"] {
        assert_eq!(Config::parse(&zero_aliases(mode), "t.yaml").unwrap().attachments[0].identifiers.len(), 2);
    }
}

#[test]
fn a_local_identifier_needs_a_locator_of_ours() {
    let line = format!("attachments: [{}]", task(1, "'2001:db8:dddd:0:2000::1'"));
    let text = text("attachments", &line).replace("[{prefix: 'fd00:1:0:1::/64', domain: tasks}]", "[]");
    assert_eq!(
        refused(&text).to_string(),
        "t.yaml:7:65: attachments[0].identifiers[0]: `2001:db8:dddd:0:2000::1` is in domain tasks, where this node has \
         no locator; add one to locators"
    );
    assert_eq!(right(&line).attachments[0].port, 1);
}

#[test]
fn a_task_may_send_from_further_prefixes_that_are_nobody_elses() {
    let with = |prefixes: &str| {
        format!(
            "attachments: [{{port: a, mac: '02:00:00:00:00:01', identifiers: ['2001:db8:dddd:0:2000::1'], prefixes: [{prefixes}]}}]"
        )
    };
    assert_eq!(right(&with("'2001:db8:88::/48', '2001:db8:99::1/128'")).attachments[0].prefixes.len(), 2);
    let message = |prefixes: &str, more: &str| {
        let errors = refused(&format!("{}{more}", text("attachments", &with(prefixes))));
        assert_eq!(errors.errors().len(), 1, "{errors}");
        assert_eq!(errors.errors()[0].path, "attachments[0].prefixes[0]");
        errors.errors()[0].message.clone()
    };
    let only = "a task speaks there only by its identifiers";
    assert_eq!(
        message("'2001:db8::/32'", ""),
        format!("2001:db8::/32 overlaps the SIR prefix of domain tasks; {only}")
    );
    assert_eq!(
        message("'fd00:1:0:1::/96'", ""),
        format!("fd00:1:0:1::/96 overlaps locator fd00:1:0:1::/64; {only}")
    );
    let network = "virtual_networks: [{name: red, vnid: 1, domain: tasks, mac: '02:00:5e:00:00:01', ipv6: {prefix: '2001:db8:a::/96'}}]\n";
    assert_eq!(
        message("'2001:db8:a::5/128'", network),
        format!("2001:db8:a::5/128 overlaps the prefix of network red; {only}")
    );
    assert_eq!(
        message("'fd00:f:1::/48'", "infrastructure: ['fd00:f::/32']\n"),
        format!("fd00:f:1::/48 overlaps infrastructure fd00:f::/32; {only}")
    );
    assert_eq!(message("'ff00::/8'", ""), "ff00::/8 is never routed; remove it");
    let tenant = "attachments: [{port: a, mac: '02:00:00:00:00:01', network: red, addresses: ['2001:db8:a::1'], prefixes: ['2001:db8:88::/48']}]";
    let errors = refused(&format!("{}{network}", text("attachments", tenant)));
    assert_eq!(errors.errors()[0].message, "a tenant sends only from its addresses; remove them");
}
