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
mod standing;
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
pub(super) use ports::Ports;
pub(super) use rules::{
    Domains, Locators, OUTSIDE, ROUTER_MAC, judge_address, judge_group, judge_identifier,
    judge_remote_locator,
};
pub(super) use scope::{Appended, Blamed, Check, Path as KeyPath, STRICT, Scope, WORD};
pub(crate) use standing::Standing;

use super::error::ConfigErrors;
use super::model::{Attachment, Config, Policy, Provisioned};
use super::raw::RawConfig;
use crate::shared::List;
use std::path::Path;
use std::sync::Arc;

/// Judges a whole file; relative paths count from `directory`.
pub(super) fn config(raw: &RawConfig, file: &str, directory: &Path) -> Result<Config, ConfigErrors> {
    let mut check = Check::new(file);
    let (config, _) = judge(&mut check, raw, directory);
    check.finish()?;
    Ok(config)
}

/// Judges a whole file into `check`. What it gives is of use only without errors.
pub(super) fn judge(check: &mut Check, raw: &RawConfig, directory: &Path) -> (Config, Standing) {
    let node = system::node(check, raw);
    let dpdk = system::dpdk(check, raw);
    let mbufs = system::mbufs(check, raw);
    let domains = domains::domains(check, raw);
    let locators = domains::locators(check, raw, &domains);
    let ports = ports::ports(check, raw, &domains, &locators);
    ports::against_node(check, raw, &ports, &dpdk, &mbufs);
    let Tenancy { policies, attachments, standing } = tenancy(check, raw, domains, locators, ports);
    let routes = routes::routes(check, raw, standing.ports());
    let neighbours = routes::neighbours(check, raw, standing.ports());
    let mappings = system::mappings(check, raw, directory);
    let quarantine = limits::quarantine(check, raw);
    let icmp = system::icmp(check, raw);
    let translation = system::translation(check, raw);
    let neighbour_discovery = system::discovery(check, raw);
    let multicast = system::multicast(check, raw);
    let moves = system::moves(check, raw);
    let nva = nva::nva(check, raw, standing.domains());
    let metrics = system::metrics(check, raw);
    let admin = system::admin(check, raw, &node.name);
    let log = system::log(check, raw);
    let config = Config {
        node,
        dpdk,
        mbufs,
        sir_domains: standing.domains().list.clone(),
        locators: standing.locators().list.clone(),
        ports: standing.ports().list.clone(),
        virtual_networks: standing.networks().clone(),
        policies: Arc::new(policies),
        attachments,
        provisioned: Provisioned::default(),
        routes: Arc::new(routes),
        neighbours,
        mappings,
        nva,
        infrastructure: standing.infrastructure().to_vec(),
        quarantine,
        icmp,
        translation,
        neighbour_discovery,
        multicast,
        moves,
        metrics,
        admin,
        log,
    };
    (config, standing)
}

/// Who has which addresses, and who may send to whom.
pub(super) struct Tenancy {
    pub(super) policies: Vec<Policy>,
    pub(super) attachments: List<Attachment>,
    pub(super) standing: Standing,
}

/// Judges what an authority can add to.
pub(super) fn tenancy(
    check: &mut Check,
    raw: &RawConfig,
    domains: Domains,
    locators: Locators,
    ports: Ports,
) -> Tenancy {
    let mut networks = networks::networks(check, raw, &domains, &locators, &ports);
    let peers = peers::peers(check, raw, &domains, &mut networks);
    let infrastructure = limits::infrastructure(check, raw, &domains, &networks.list);
    let mut standing = Standing::new(domains, locators, ports, networks, peers, infrastructure);
    let (policies, attachments) = standing.judge_all(check, raw);
    Tenancy { policies, attachments, standing }
}
