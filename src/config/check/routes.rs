//! Rules of routes and static neighbours.

use super::super::model::{NextHop, Port, Route, RouteTarget, StaticNeighbour};
use super::super::raw::{RawConfig, RawNextHop, RawRoute, Text};
use super::ports::Ports;
use super::scope::{Check, Scope, Seen, entries, unicast_mac};
use crate::net::Ipv6Prefix;
use crate::net::ipv6::{is_link_local, is_multicast};
use std::net::Ipv6Addr;

/// Most next hops of a route.
const MAX_NEXT_HOPS: usize = 64;

pub(super) fn routes(check: &mut Check, raw: &RawConfig, ports: &Ports) -> Vec<Route> {
    let mut list = Vec::new();
    let mut seen = Seen::new();
    for (n, entry) in entries(&raw.routes) {
        let mut s = check.scope(format!("routes[{n}]"), entry.referenced);
        let prefix = destination(&mut s, &entry.value, &mut seen);
        let target = target(&mut s, &entry.value, ports);
        if let (Some(prefix), Some(target)) = (prefix, target) {
            list.push(Route { prefix, target });
        }
    }
    list
}

/// The prefix of a route.
fn destination(s: &mut Scope<'_>, raw: &RawRoute, seen: &mut Seen<Ipv6Prefix>) -> Option<Ipv6Prefix> {
    let prefix: Ipv6Prefix = s.value("prefix", &raw.prefix, "\"fd00:1::/32\"")?;
    let text = raw.prefix.as_ref()?;
    let bits = prefix.bits();
    let kind = match prefix.length() {
        8.. if is_multicast(bits) => Some("multicast"),
        10.. if is_link_local(bits) => Some("link-local"),
        _ => None,
    };
    if let Some(kind) = kind {
        s.error("prefix", text.referenced, format!("{prefix} is {kind}, which is not routed; write unicast"));
        return None;
    }
    if let Some(before) = seen.before(prefix, &s.key("prefix"), text.referenced) {
        let message = format!("{prefix} is already {before}; write several ways as next_hops of one route");
        s.error("prefix", text.referenced, message);
    }
    Some(prefix)
}

/// Where a route leads: exactly one of its four forms.
fn target(s: &mut Scope<'_>, raw: &RawRoute, ports: &Ports) -> Option<RouteTarget> {
    const FORMS: &str = "write port, via and port, next_hops, or blackhole: true";
    let blackhole = s.flag("blackhole", &raw.blackhole, false);
    let single = raw.via.is_some() || raw.port.is_some();
    match (blackhole, single, &raw.next_hops) {
        (true, false, None) => Some(RouteTarget::Blackhole),
        (false, true, None) => {
            let (port, link) = ports.named(s, "port", &raw.port)?;
            match &raw.via {
                None => Some(RouteTarget::OnLink { port }),
                Some(text) => {
                    let via = neighbour(s, "via", text, link, ports)?;
                    Some(RouteTarget::Via(vec![NextHop { via, port, weight: 1 }]))
                }
            }
        }
        (false, false, Some(hops)) => {
            if !(1..=MAX_NEXT_HOPS).contains(&hops.value.len()) {
                let count = hops.value.len();
                let message = format!("{count} next hops; write 1 to {MAX_NEXT_HOPS}");
                s.error("next_hops", hops.referenced, message);
                return None;
            }
            let mut seen = Seen::new();
            let mut list = Vec::new();
            for (m, hop) in hops.value.iter().enumerate() {
                let s = s.below(&format!("next_hops[{m}]"), hop.referenced);
                list.extend(next_hop(s, &hop.value, &mut seen, ports));
            }
            Some(RouteTarget::Via(list))
        }
        (false, false, None) => {
            s.error_here("", format!("leads nowhere; {FORMS}"));
            None
        }
        _ => {
            s.error_here("", format!("says more than one thing; {FORMS}"));
            None
        }
    }
}

/// One of several next hops.
fn next_hop(
    mut s: Scope<'_>,
    raw: &RawNextHop,
    seen: &mut Seen<(u128, u16)>,
    ports: &Ports,
) -> Option<NextHop> {
    let weight = s.number("weight", &raw.weight, 1..=1000, 1);
    let text = s.required("via", &raw.via, "\"fd00:1:0:1::ff\"");
    let (port, link) = ports.named(&mut s, "port", &raw.port)?;
    let text = text?;
    let via = neighbour(&mut s, "via", text, link, ports)?;
    if let Some(before) = seen.before((via, port), &s.key("via"), text.referenced) {
        let message = format!("`{}` is already {before}; write its share as weight", text.value);
        s.error("via", text.referenced, message);
    }
    Some(NextHop { via, port, weight })
}

/// An address of somebody else that can be a neighbour on `link`.
fn neighbour(s: &mut Scope<'_>, key: &str, text: &Text, link: &Port, ports: &Ports) -> Option<u128> {
    let Ok(address) = text.value.parse::<Ipv6Addr>() else {
        let message = format!("`{}` is not an IPv6 address; write for example fd00:1:0:1::ff", text.value);
        s.error(key, text.referenced, message);
        return None;
    };
    let bits = u128::from(address);
    let on_link = || link.addresses.iter().any(|own| own.prefix.contains(bits));
    let message = if bits <= 1 || is_multicast(bits) {
        format!("{address} is not a unicast address of a neighbour; write one")
    } else if let Some(port) = ports.own(bits) {
        format!("{address} is our own address on port {port}; write the neighbour's")
    } else if ports.addresses && !is_link_local(bits) && !on_link() {
        let name = &link.name;
        format!(
            "{address} is not on-link at port {name}; use an address under its addresses or a link-local one"
        )
    } else {
        return Some(bits);
    };
    s.error(key, text.referenced, message);
    None
}

pub(super) fn neighbours(check: &mut Check, raw: &RawConfig, ports: &Ports) -> Vec<StaticNeighbour> {
    let mut list = Vec::new();
    let mut seen = Seen::new();
    let Some(section) = &raw.neighbours else { return list };
    for (n, entry) in entries(&section.value.r#static) {
        let raw = &entry.value;
        let mut s = check.scope(format!("neighbours.static[{n}]"), entry.referenced);
        let mac = unicast_mac(&mut s, "mac", &raw.mac);
        let text = s.required("address", &raw.address, "\"fd00:1:0:1::ff\"");
        let Some((port, link)) = ports.named(&mut s, "port", &raw.port) else { continue };
        let Some(text) = text else { continue };
        let Some(address) = neighbour(&mut s, "address", text, link, ports) else { continue };
        if let Some(before) = seen.before((port, address), &s.key("address"), text.referenced) {
            let message = format!("`{}` is already {before}; a neighbour has one MAC address", text.value);
            s.error("address", text.referenced, message);
        }
        if let Some(mac) = mac {
            list.push(StaticNeighbour { port, address, mac });
        }
    }
    list
}
