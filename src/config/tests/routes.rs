//! Routes and static neighbours.

use super::{refused, right, text, wrong};
use crate::config::{NextHop, RouteTarget};

const FORMS: &str = "write port, via and port, next_hops, or blackhole: true";

#[test]
fn the_four_forms_of_a_route() {
    let config = right(
        "routes: [{prefix: '::/0', via: 'fe80::1', port: f}, {prefix: 'fd00:2::/32', port: f}, \
         {prefix: 'fd00:3::/32', blackhole: true}, \
         {prefix: 'fd00:4::/32', next_hops: [{via: 'fd00:1:0:1::a', port: f, weight: 3}]}]",
    );
    let targets: Vec<_> = config.routes.iter().map(|route| route.target.clone()).collect();
    let via = |via: &str, weight| {
        let via = via.parse::<std::net::Ipv6Addr>().unwrap().into();
        RouteTarget::Via(vec![NextHop { via, port: 0, weight }])
    };
    assert_eq!(
        targets,
        [via("fe80::1", 1), RouteTarget::OnLink { port: 0 }, RouteTarget::Blackhole, via("fd00:1:0:1::a", 3)]
    );
}

#[test]
fn a_route_has_exactly_one_form() {
    wrong("routes: [{prefix: '::/0'}]", &format!("t.yaml:8:10: routes[0]: leads nowhere; {FORMS}"));
    wrong(
        "routes: [{prefix: '::/0', blackhole: false}]",
        &format!("t.yaml:8:10: routes[0]: leads nowhere; {FORMS}"),
    );
    for rest in ["port: f, blackhole: true", "port: f, next_hops: [{via: 'fe80::1', port: f}]"] {
        wrong(
            &format!("routes: [{{prefix: '::/0', {rest}}}]"),
            &format!("t.yaml:8:10: routes[0]: says more than one thing; {FORMS}"),
        );
    }
    wrong(
        "routes: [{prefix: '::/0', via: 'fe80::1'}]",
        "t.yaml:8:10: routes[0].port: missing; write for example `port: fabric0`",
    );
}

#[test]
fn a_destination_is_unicast_and_stands_once() {
    let line = |prefix: &str| format!("routes: [{{prefix: '{prefix}', port: f}}]");
    for (prefix, kind) in [
        ("ff00::/8", "multicast"),
        ("ff02::1/128", "multicast"),
        ("fe80::/10", "link-local"),
        ("fe80::/64", "link-local"),
    ] {
        wrong(
            &line(prefix),
            &format!("t.yaml:8:19: routes[0].prefix: {prefix} is {kind}, which is not routed; write unicast"),
        );
    }
    wrong(
        &line("::1/64"),
        "t.yaml:8:19: routes[0].prefix: `::1/64` has bits set beyond its length; write ::/64",
    );
    right(&line("fe00::/7"));
    wrong(
        "routes: [{prefix: '::/0', port: f}, {prefix: '0::/0', port: f}]",
        "t.yaml:8:46: routes[1].prefix: ::/0 is already routes[0].prefix (line 8); write several ways as next_hops of one route",
    );
}

#[test]
fn a_next_hop_is_a_neighbour() {
    let line = |via: &str| format!("routes: [{{via: '{via}', prefix: '::/0', port: f}}]");
    wrong(
        &line("fd00:1:0:2::1"),
        "t.yaml:8:16: routes[0].via: fd00:1:0:2::1 is not on-link at port f; use an address under its addresses or a \
         link-local one",
    );
    wrong(
        &line("fd00:1:0:1::1"),
        "t.yaml:8:16: routes[0].via: fd00:1:0:1::1 is our own address on port f; write the neighbour's",
    );
    for address in ["::", "::1", "ff02::1"] {
        wrong(
            &line(address),
            &format!(
                "t.yaml:8:16: routes[0].via: {address} is not a unicast address of a neighbour; write one"
            ),
        );
    }
    wrong(
        &line("x"),
        "t.yaml:8:16: routes[0].via: `x` is not an IPv6 address; write for example fd00:1:0:1::ff",
    );
    wrong(
        "routes: [{prefix: '::/0', port: x}]",
        "t.yaml:8:33: routes[0].port: `x` is not the name of a port; add it to ports",
    );
}

#[test]
fn next_hops_are_few_distinct_and_weighted() {
    wrong(
        "routes: [{prefix: '::/0', next_hops: []}]",
        "t.yaml:8:38: routes[0].next_hops: 0 next hops; write 1 to 64",
    );
    let many = "{via: 'fe80::1', port: f}, ".repeat(65);
    wrong(
        &format!("routes: [{{prefix: '::/0', next_hops: [{many}]}}]"),
        "t.yaml:8:38: routes[0].next_hops: 65 next hops; write 1 to 64",
    );
    wrong(
        "routes: [{prefix: '::/0', next_hops: [{via: 'fe80::1', port: f}, {via: 'fe80::1', port: f, weight: 0}]}]",
        "t.yaml:8:72: routes[0].next_hops[1].via: `fe80::1` is already routes[0].next_hops[0].via (line 8); write its \
         share as weight\n\
         t.yaml:8:100: routes[0].next_hops[1].weight: `0` is not a number from 1 to 1000; choose one",
    );
}

#[test]
fn what_refers_to_a_port_with_wrong_addresses_is_not_reported_again() {
    let text = text("routes", "routes: [{prefix: '::/0', via: 'fd00:1:0:1::ff', port: f}]")
        .replace("::1/64'", "::1/640'");
    assert_eq!(refused(&text).errors().len(), 1);
}

#[test]
fn a_static_neighbour_is_on_link_and_stands_once() {
    let line = |list: &str| format!("neighbours: {{static: [{list}]}}");
    let good = "{port: f, address: 'fd00:1:0:1::a', mac: '02:00:00:00:00:01'}";
    assert_eq!(right(&line(good)).neighbours.len(), 1);
    wrong(
        &line(&format!("{good}, {good}")),
        "t.yaml:9:105: neighbours.static[1].address: `fd00:1:0:1::a` is already neighbours.static[0].address (line 9); \
         a neighbour has one MAC address",
    );
    wrong(
        &line("{address: 'fd00::a', port: f, mac: '01:00:00:00:00:01'}"),
        "t.yaml:9:33: neighbours.static[0].address: fd00::a is not on-link at port f; use an address under its \
         addresses or a link-local one\n\
         t.yaml:9:58: neighbours.static[0].mac: 01:00:00:00:00:01 is a group address; write the unicast address of \
         the interface",
    );
}
