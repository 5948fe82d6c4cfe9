//! Warnings about configurations that are valid and probably not meant: `ilagate check` prints them.

use super::{Beyond, Config, NvaMode, OnMiss, Policy, Role, RouteTarget};
use crate::ila::Locator;
use crate::mapping::{MappingRecord, MappingTarget};
use crate::net::Ipv6Prefix;
use std::collections::BTreeSet;

/// What is probably not meant in a configuration and the records of its mapping file, one sentence each.
#[must_use]
pub fn warnings(config: &Config, records: &[MappingRecord]) -> Vec<String> {
    let locators: BTreeSet<Locator> = records
        .iter()
        .filter_map(|record| match &record.target {
            MappingTarget::Locators(choices) => Some(choices.iter().map(|choice| choice.locator)),
            _ => None,
        })
        .flatten()
        .chain(config.locators_in_use().into_keys())
        .collect();
    let leaks = locators.into_iter().filter(|locator| is_unique_local(locator.prefix()));
    let leaks = leaks.filter_map(|locator| Some((locator, config.external_port_towards(locator.prefix())?)));
    let leaks = leaks.map(|(locator, port)| {
        format!(
            "locator {locator} leaves by external port {port}, and unique local addresses are not routed outside \
             (RFC 4193 section 4.1); add a route for it through a fabric port"
        )
    });
    let rest =
        config.private_networks().chain(config.peers_that_overlap()).chain(config.subnets_with_tasks());
    leaks.chain(rest).chain(config.misses_of_a_cache()).collect()
}

/// Whether addresses under a prefix are unique local ones (RFC 4193 §3.1).
const fn is_unique_local(prefix: Ipv6Prefix) -> bool {
    prefix.bits() >> 121 == 0xfc >> 1
}

impl Config {
    /// What a node in cache mode loses of what it does not know yet.
    fn misses_of_a_cache(&self) -> impl Iterator<Item = String> + '_ {
        let mode = self.nva.as_ref().map(|nva| nva.mode).filter(|mode| mode.asks());
        let name = mode.map_or("", NvaMode::name);
        let domains = self.sir_domains.iter().filter(|domain| domain.on_miss == OnMiss::Drop);
        let drops = domains.map(move |domain| {
            format!(
                "SIR domain {}: in nva.mode {name} the first packets to an identifier are dropped; write on_miss: route, \
                 and let a node in mode full serve its prefix",
                domain.name
            )
        });
        let external = self.ports.iter().find(|port| port.role == Role::External).map(|port| {
            format!(
                "port {}: in nva.mode {name} nothing is asked for packets from outside; write mode: full",
                port.name
            )
        });
        drops.chain(external).filter(move |_| mode.is_some())
    }

    /// The name of the external port that packets to a prefix leave by, if they do.
    fn external_port_towards(&self, prefix: Ipv6Prefix) -> Option<&str> {
        let connected = self
            .ports
            .iter()
            .enumerate()
            .flat_map(|(n, port)| port.addresses.iter().map(move |own| (own.prefix, vec![n as u16])));
        let routes = self.routes.iter().map(|route| {
            let ports = match &route.target {
                RouteTarget::Via(hops) => hops.iter().map(|hop| hop.port).collect(),
                RouteTarget::OnLink { port } => vec![*port],
                RouteTarget::Blackhole => Vec::new(),
            };
            (route.prefix, ports)
        });
        let covering = connected.chain(routes).filter(|(covering, _)| covering.contains(prefix.bits()));
        let (_, ports) = covering.max_by_key(|(covering, _)| covering.length())?;
        let external =
            |port: &u16| self.ports.get(usize::from(*port)).filter(|port| port.role == Role::External);
        ports.iter().find_map(external).map(|port| port.name.as_str())
    }

    /// Networks whose unique local addresses would leave to the outside.
    fn private_networks(&self) -> impl Iterator<Item = String> + '_ {
        let out: BTreeSet<u16> = self
            .policies
            .iter()
            .filter_map(|policy| match policy {
                Policy::Out { from, to: Beyond::Outside } => Some(*from),
                _ => None,
            })
            .collect();
        out.into_iter().filter_map(|network| self.virtual_networks.get(usize::from(network))).filter_map(
            |network| {
                let prefix = network.ipv6?.prefix;
                is_unique_local(prefix).then(|| {
                    format!(
                        "network {} may send to outside from {prefix}, and nobody there can answer unique local \
                         addresses (RFC 4193 section 4.1); give it a global prefix or remove the policy",
                        network.name
                    )
                })
            },
        )
    }

    /// Subnets of fabric and external ports that overlap a SIR prefix.
    fn subnets_with_tasks(&self) -> impl Iterator<Item = String> + '_ {
        self.ports.iter().flat_map(move |port| {
            let what = match port.role {
                Role::Fabric => Some("nothing comes in from outside to what lies in both"),
                Role::External => Some("no host there can send from what lies in both"),
                // Tasks are on the links of access ports.
                Role::Access => None,
            };
            let pairs = port.addresses.iter().flat_map(|own| self.sir_domains.iter().map(move |to| (own, to)));
            pairs.filter_map(move |(own, domain)| {
                let (what, sir) = (what?, domain.prefix.prefix());
                own.prefix.overlaps(sir).then(|| {
                    format!(
                        "port {}: its subnet {} overlaps the SIR prefix {sir} of domain {}, so that {what}; give \
                         the port a subnet of its own",
                        port.name, own.prefix, domain.name
                    )
                })
            })
        })
    }

    /// Addresses of peers that lie in a subnet of their network, where a tenant may get the same one.
    fn peers_that_overlap(&self) -> impl Iterator<Item = String> + '_ {
        self.virtual_networks.iter().flat_map(|network| {
            network.peers.iter().filter_map(|peer| {
                let subnet = network.ipv4.iter().find(|subnet| subnet.prefix.contains(peer.address))?;
                Some(format!(
                    "network {}: peer {} lies in its subnet {}, so no tenant can have that address; leave it out of \
                     what tenants are given, or choose one outside",
                    network.name,
                    std::net::Ipv4Addr::from(peer.address),
                    subnet.prefix
                ))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = r#"
node: {name: gw}
dpdk: {workers: [1]}
sir_domains: [{name: tasks, prefix: "2001:db8:dddd::/64"}]
locators: [{prefix: "fd00:1:0:1::/64", domain: tasks}]
ports:
  - {name: f, device: net_null_a0, role: fabric, addresses: ["fd00:f::1/64"]}
  - {name: x, device: net_null_b0, role: external, addresses: ["2001:db8:ff::1/64"]}
"#;

    fn warned(more: &str, mapped: &str) -> Vec<String> {
        let config = Config::parse(&format!("{NODE}{more}"), "t.yaml").unwrap_or_else(|why| panic!("{why}"));
        let file = format!("mappings:\n  - {{sir: \"2001:db8:dddd:0:2000::3\", locators: [{mapped}]}}\n");
        let records = super::super::mappings::parse(&file, "m.yaml", &config).unwrap();
        warnings(&config, &records)
    }

    #[test]
    fn a_unique_local_locator_that_leaves_by_an_external_port_is_told_of() {
        let default = "routes: [{prefix: '::/0', via: '2001:db8:ff::ff', port: x}]";
        let leak = warned(default, "\"fd00:1:0:3::/64\"");
        assert_eq!(leak.len(), 1);
        assert!(leak[0].starts_with("locator fd00:1:0:3::/64 leaves by external port x"), "{leak:?}");
        // A global one may, and a more specific route through the fabric mends it.
        assert_eq!(warned(default, "\"2001:db8:3::/64\""), Vec::<String>::new());
        let mended = "routes: [{prefix: '::/0', via: '2001:db8:ff::ff', port: x}, {prefix: 'fd00:1::/32', via: 'fd00:f::2', port: f}]";
        assert_eq!(warned(mended, "\"fd00:1:0:3::/64\""), Vec::<String>::new());
        // One of several next hops is enough to leak.
        let some = "routes: [{prefix: 'fd00:1::/32', next_hops: [{via: 'fd00:f::2', port: f}, {via: '2001:db8:ff::ff', port: x}]}]";
        assert_eq!(warned(some, "\"2001:db8:3::/64\", \"fd00:1:0:3::/64\"").len(), 1);
    }

    #[test]
    fn a_network_with_unique_local_addresses_that_may_send_outside_is_told_of() {
        let network = |prefix: &str, policies: &str| {
            format!(
                "virtual_networks: [{{name: red, vnid: 1, domain: tasks, ipv6: {{prefix: '{prefix}'}}}}]\npolicies: [{policies}]\n"
            )
        };
        let out = "{from: red, to: outside}";
        let told = warned(&network("fd00:a::/96", out), "\"2001:db8:3::/64\"");
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("network red may send to outside from fd00:a::/96"), "{told:?}");
        for (prefix, policies) in
            [("fd00:a::/96", ""), ("2001:db8:a::/96", out), ("fd00:a::/96", "{from: outside, to: red}")]
        {
            assert_eq!(warned(&network(prefix, policies), "\"2001:db8:3::/64\""), Vec::<String>::new());
        }
    }

    #[test]
    fn a_subnet_of_a_fabric_or_external_port_that_overlaps_a_sir_prefix_is_told_of() {
        let with = |role: &str, addresses: &str| {
            let port =
                format!("  - {{name: p, device: net_null_c0, role: {role}, addresses: [{addresses}]}}\n");
            warned(&port, "\"2001:db8:3::/64\"")
        };
        for (role, what) in
            [("fabric", "nothing comes in from outside"), ("external", "no host there can send")]
        {
            for (own, subnet) in [
                ("2001:db8:dddd::7/64", "2001:db8:dddd::/64"),
                ("2001:db8:dddd::7/48", "2001:db8:dddd::/48"),
                ("2001:db8:dddd::7/126", "2001:db8:dddd::4/126"),
                ("2001:db8:5::7/32", "2001:db8::/32"),
            ] {
                let told = with(role, &format!("'{own}'"));
                let begin = format!(
                    "port p: its subnet {subnet} overlaps the SIR prefix 2001:db8:dddd::/64 of domain tasks"
                );
                assert!(told.iter().any(|line| line.starts_with(&begin) && line.contains(what)), "{told:?}");
            }
            // Each subnet of its own, and no other.
            assert_eq!(with(role, "'2001:db8:dddd::7/64', '2001:db8:7::7/64'").len(), 1);
            assert_eq!(with(role, "'2001:db8:dddc::7/64', '2001:db8:ddde::7/64'"), Vec::<String>::new());
        }
        assert_eq!(with("access", "'2001:db8:dddd::7/64'"), Vec::<String>::new());
    }

    #[test]
    fn what_a_node_in_cache_mode_loses_is_told_of() {
        let nva = |mode: &str| format!("nva: {{endpoints: ['unix:/run/nva.sock']{mode}}}\n");
        let told = warned(&nva(", mode: cache"), "\"2001:db8:3::/64\"");
        assert!(told.len() == 2 && told[0].starts_with("SIR domain tasks: in nva.mode cache"), "{told:?}");
        assert!(told[1].starts_with("port x: in nva.mode cache nothing is asked"), "{told:?}");
        for mode in ["", ", mode: full"] {
            assert_eq!(warned(&nva(mode), "\"2001:db8:3::/64\""), Vec::<String>::new());
        }
    }

    #[test]
    fn a_peer_in_a_subnet_of_its_network_is_told_of() {
        let peer = |address: &str| {
            format!(
                "virtual_networks: [{{name: red, vnid: 1, domain: tasks, ipv4: [{{prefix: 10.0.0.0/24, gateway: 10.0.0.254}}], peers: [{{address: {address}, to: '2001:db8:dddd:0:2000::4'}}]}}]\n"
            )
        };
        let told = warned(&peer("10.0.0.200"), "\"2001:db8:3::/64\"");
        assert!(
            told.len() == 1
                && told[0].starts_with("network red: peer 10.0.0.200 lies in its subnet 10.0.0.0/24"),
            "{told:?}"
        );
        assert_eq!(warned(&peer("192.0.2.4"), "\"2001:db8:3::/64\""), Vec::<String>::new());
    }
}
