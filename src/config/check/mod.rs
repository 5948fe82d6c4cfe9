//! From raw structs to [`Config`]: every rule, each with its message.
//!
//! A bad value is reported and replaced by a stand-in, so that the rest of the file is judged as well. No
//! stand-in leaves this module, because one error refuses the whole file. A reference to something wrong is
//! not reported again.

mod attachments;
mod domains;
mod edges;
mod groups;
mod identifier_rules;
mod limits;
mod networks;
mod nva;
mod peers;
mod policies;
mod ports;
mod routes;
mod rules;
mod scope;
mod system;

pub(super) use networks::Networks;
pub(super) use nva::{NO_TLS, absolute, locator_prefix, nva_endpoint, tls_files};
pub(super) use peers::{
    MAX_PEERS, judge_address as judge_peer, task as judge_peer_task, tenant_of as judge_peer_tenant,
    too_many as too_many_peers,
};
pub(super) use policies::{
    End, MAX_POLICIES, judge_end, judge_ends, judge_via, too_many as too_many_policies,
};
pub(super) use rules::{
    Domains, OUTSIDE, judge_address, judge_group, judge_identifier, judge_remote_locator,
};
pub(super) use scope::{Check, Path as KeyPath, STRICT, Scope, WORD};

use super::error::ConfigErrors;
use super::model::Config;
use super::raw::RawConfig;
use std::path::Path;

/// Judges a whole file; relative paths count from `directory`.
pub(super) fn config(raw: &RawConfig, file: &str, directory: &Path) -> Result<Config, ConfigErrors> {
    let mut check = Check::new(file);
    let node = system::node(&mut check, raw);
    let dpdk = system::dpdk(&mut check, raw);
    let mbufs = system::mbufs(&mut check, raw);
    let domains = domains::domains(&mut check, raw);
    let locators = domains::locators(&mut check, raw, &domains);
    let ports = ports::ports(&mut check, raw, &domains, &locators);
    ports::against_node(&mut check, raw, &ports, &dpdk, &mbufs);
    let mut networks = networks::networks(&mut check, raw, &domains, &locators, &ports);
    let peers = peers::peers(&mut check, raw, &domains, &mut networks);
    let policies = policies::policies(&mut check, raw, (&domains, &locators), &networks);
    let identifier_rules = identifier_rules::IdentifierRules::new(&domains, &locators, &networks, &peers);
    let infrastructure = limits::infrastructure(&mut check, raw, &domains, &networks.list);
    let inside = edges::Inside {
        domains: &domains,
        locators: &locators,
        networks: &networks.list,
        infrastructure: &infrastructure,
    };
    let attachments = attachments::attachments(&mut check, raw, &ports, identifier_rules, &inside);
    let routes = routes::routes(&mut check, raw, &ports);
    let neighbours = routes::neighbours(&mut check, raw, &ports);
    let mappings = system::mappings(&mut check, raw, directory);
    let quarantine = limits::quarantine(&mut check, raw);
    let icmp = system::icmp(&mut check, raw);
    let translation = system::translation(&mut check, raw);
    let neighbour_discovery = system::discovery(&mut check, raw);
    let multicast = system::multicast(&mut check, raw);
    let nva = nva::nva(&mut check, raw);
    let metrics = system::metrics(&mut check, raw);
    let admin = system::admin(&mut check, raw, &node.name);
    let log = system::log(&mut check, raw);
    check.finish()?;
    Ok(Config {
        node,
        dpdk,
        mbufs,
        sir_domains: domains.list,
        locators: locators.list,
        ports: ports.list,
        virtual_networks: networks.list,
        policies,
        attachments,
        routes,
        neighbours,
        mappings,
        nva,
        infrastructure,
        quarantine,
        icmp,
        translation,
        neighbour_discovery,
        multicast,
        metrics,
        admin,
        log,
    })
}
