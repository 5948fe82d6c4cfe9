//! The configuration file of `ila-nva` (`dpdk-config/ila-nva.yaml` lists every key).

use super::check::{Check, NO_TLS, Scope, absolute, locator_prefix, nva_endpoint, tls_files};
use super::diff::{Change, ChangeKind};
use super::endpoint::NvaEndpoint;
use super::error::ConfigErrors;
use super::model::{LogLevel, TlsFiles};
use super::raw::{RawAuthority, RawAuthorityTls, RawQuota, Text};
use super::store::{StoreConfig, store};
use super::{file, yaml};
use crate::ila::identifier::MAX_VNID;
use crate::ila::{Locator, SirPrefix};
use crate::net::Ipv6Prefix;
use serde_saphyr::Spanned;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// A configuration of `ila-nva` that cannot be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityConfig {
    /// Name of this authority.
    pub name: String,
    /// Where NVEs reach it.
    pub listen: Vec<NvaEndpoint>,
    /// Its certificate; there is one when it listens for TLS.
    pub tls: Option<TlsFiles>,
    /// The list of those who are trusted no longer.
    pub revoked: Option<PathBuf>,
    /// Where the registry is durable.
    pub store: StoreConfig,
    /// An NVE that says nothing for so long loses its session.
    pub lease_s: u16,
    /// A released identifier is kept for its last owner for so long.
    pub hold_down_s: u16,
    /// After a restoration, new identifiers wait so long at most for NVEs to register what they have.
    pub restore_wait_s: u16,
    /// A mapping that an NVE asked for is used for so long, and for twice as long after its session.
    pub cache_lifetime_s: u16,
    /// Requests of one NVE that are judged in a second; the others wait.
    pub requests_per_second: u32,
    /// NVEs compare what they have with the registry about so often; 0: never.
    pub digest_s: u16,
    /// An NVE makes identifiers from a block for so long after it asked for it.
    pub block_lease_s: u32,
    /// Prefixes of which locators are allocated, each with the SIR prefix of its domain.
    pub locator_pools: Vec<(Ipv6Prefix, SirPrefix)>,
    /// When identifiers that go to and fro are frozen.
    pub freeze: AuthorityFreeze,
    /// How long states of moves last.
    pub moves: AuthorityMoves,
    /// When nodes count as lost, and their groups fail over.
    pub failover: AuthorityFailover,
    /// What virtual networks may have.
    pub quotas: Vec<AuthorityQuota>,
    /// The NVEs by name.
    pub nves: BTreeMap<String, AuthorityNve>,
    /// SIR prefixes by the name of their domain.
    pub sir_domains: BTreeMap<String, SirPrefix>,
    /// What operators may do, by the name that their certificates prove.
    pub operators: BTreeMap<String, OperatorRights>,
    /// Where Prometheus scrapes.
    pub metrics: Option<SocketAddr>,
    /// The page in the browser.
    pub page: Option<PageConfig>,
    /// What is logged.
    pub log_level: LogLevel,
}

/// `page` of `ila-nva`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageConfig {
    /// Where browsers reach it.
    pub listen: NvaEndpoint,
    /// Names by which they call it, besides its addresses.
    pub hosts: BTreeSet<String>,
}

/// What an operator may do, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorRights {
    /// The role.
    pub role: OperatorRole,
    /// Only of these networks; none: of everything.
    pub networks: Option<BTreeSet<String>>,
}

/// What an operator may do. Each may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperatorRole {
    /// See everything.
    Viewer,
    /// Change what is registered.
    Operator,
    /// Everything, also backups.
    Admin,
}

impl OperatorRole {
    /// The name in configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            OperatorRole::Viewer => "viewer",
            OperatorRole::Operator => "operator",
            OperatorRole::Admin => "admin",
        }
    }
}

/// `nves[]` of `ila-nva`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityNve {
    /// Its locators, each with the SIR prefix of its domain.
    pub locators: Vec<(Locator, SirPrefix)>,
    /// Identifiers that it may have at a time.
    pub max_identifiers: u32,
    /// Whether it is an ILA router.
    pub router: bool,
    /// Whether it is told of all networks and policies, as a gateway between them needs; or else of those of its tenants.
    pub all_networks: bool,
    /// Where its end of tunnels is, if it has one.
    pub vtep: Option<IpAddr>,
}

/// `moves` of `ila-nva`: how long states of moves last at most, in seconds, and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthorityMoves {
    /// Until both NVEs are ready.
    pub prepare_s: u32,
    /// Until the attachment leaves.
    pub prepared_s: u32,
    /// Until it arrives.
    pub detached_s: u32,
    /// Until everybody knows.
    pub spread_s: u32,
    /// Until the old NVE forgets it, once no packet comes for it.
    pub drain_idle_s: u32,
    /// Until the old NVE forgets it.
    pub drain_s: u32,
    /// Until what was done for one that is aborted is undone.
    pub abort_s: u32,
    /// Moves of one NVE at a time.
    pub per_nve: u32,
}

/// `failover` of `ila-nva`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthorityFailover {
    /// How long nodes may take to come back after the start of an authority.
    pub grace_s: u32,
    /// So many nodes may vanish at once in any case.
    pub brake_nodes: u32,
    /// Or so many of a hundred.
    pub brake_percent: u32,
    /// What at once means.
    pub brake_within_s: u32,
    /// Groups that one node is a member of.
    pub per_nve: u32,
}

/// `freeze` of `ila-nva`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthorityFreeze {
    /// After so many changes of the owner; 0: never.
    pub changes: u32,
    /// Within so long.
    pub within_s: u16,
    /// For so long.
    pub for_s: u32,
}

/// `quotas[]` of `ila-nva`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthorityQuota {
    /// The domain.
    pub sir: SirPrefix,
    /// The network; none: each that is not named.
    pub vnid: Option<u32>,
    /// Identifiers that it may have at a time.
    pub max_identifiers: u32,
}

impl AuthorityConfig {
    /// Reads and judges a configuration file of `ila-nva`.
    ///
    /// # Errors
    /// Every broken rule with its place, YAML that cannot be read, or a file that cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigErrors> {
        let path = path.as_ref();
        let (text, _) =
            file::read(path, file::CONFIG_BYTES, "no configuration is that long; name another file")?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Judges a configuration that is already text. `file_name` stands in the errors.
    ///
    /// # Errors
    /// Every broken rule with its place, or YAML that cannot be read.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ConfigErrors> {
        let raw: RawAuthority = yaml::read(text, file_name)?;
        let mut check = Check::new(file_name);
        let config = judge(&mut check, &raw);
        check.finish()?;
        Ok(config)
    }

    /// Keys that `new` has otherwise, and whether a reload applies each.
    #[must_use]
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        // Of a domain that was there, mappings and networks are in force.
        let only_more =
            self.sir_domains.iter().all(|(name, prefix)| new.sir_domains.get(name) == Some(prefix));
        let keys = [
            ("nva.name", self.name != new.name, false),
            ("listen", self.listen != new.listen, false),
            ("tls", self.tls != new.tls || self.revoked != new.revoked, false),
            ("store", self.store != new.store, false),
            ("sessions.lease_s", self.lease_s != new.lease_s, true),
            ("sessions.hold_down_s", self.hold_down_s != new.hold_down_s, true),
            ("sessions.restore_wait_s", self.restore_wait_s != new.restore_wait_s, true),
            ("sessions.cache_lifetime_s", self.cache_lifetime_s != new.cache_lifetime_s, false),
            ("sessions.requests_per_second", self.requests_per_second != new.requests_per_second, true),
            ("sessions.digest_s", self.digest_s != new.digest_s, true),
            ("sessions.block_lease_s", self.block_lease_s != new.block_lease_s, true),
            ("locator_pools", self.locator_pools != new.locator_pools, true),
            ("sir_domains", self.sir_domains != new.sir_domains, only_more),
            ("nves", self.nves != new.nves, true),
            ("freeze", self.freeze != new.freeze, true),
            ("moves", self.moves != new.moves, true),
            ("failover", self.failover != new.failover, true),
            ("quotas", self.quotas != new.quotas, true),
            ("operators", self.operators != new.operators, true),
            ("page", self.page != new.page, false),
            ("metrics.listen", self.metrics != new.metrics, false),
            ("log.level", self.log_level != new.log_level, true),
        ];
        let change = |(path, _, reload): (&str, bool, bool)| Change {
            path: path.to_owned(),
            kind: ChangeKind::Changed,
            reload,
        };
        keys.into_iter().filter(|(_, differs, _)| *differs).map(change).collect()
    }
}

fn judge(check: &mut Check, raw: &RawAuthority) -> AuthorityConfig {
    let place = |section: serde_saphyr::Location| section;
    let top = serde_saphyr::Location::UNKNOWN;
    let nva = raw.nva.as_ref();
    let mut s = check.scope("nva", nva.map_or(top, |nva| place(nva.referenced)));
    let name = s.name("name", nva.map_or(&None, |nva| &nva.value.name), "nva1", super::check::STRICT);
    let mut listen = Vec::new();
    match raw.listen.as_ref().filter(|list| !list.value.is_empty()) {
        None => {
            let at = raw.listen.as_ref().map_or(top, |list| list.referenced);
            let message = "missing; write for example `listen: [\"unix:/run/ilagate/nva.sock\"]`";
            check.error(at, "listen".to_owned(), message.to_owned());
        }
        Some(list) => {
            for (n, text) in list.value.iter().enumerate() {
                let mut s = check.scope("listen", text.referenced);
                listen.extend(nva_endpoint(&mut s, &format!("[{n}]"), text));
            }
        }
    }
    let (tls, revoked) = match &raw.tls {
        Some(tls) => {
            let RawAuthorityTls { certificate, key, authorities, revoked } = &tls.value;
            let mut s = check.scope("tls", tls.referenced);
            let files = tls_files(&mut s, [certificate, key, authorities]);
            (files, revoked.as_ref().and_then(|text| absolute(&mut s, "revoked", text)))
        }
        None => {
            if listen.iter().any(NvaEndpoint::is_tls) {
                let at = raw.listen.as_ref().map_or(top, |list| list.referenced);
                check.error(at, "tls".to_owned(), NO_TLS.to_owned());
            }
            (None, None)
        }
    };
    let mut s = check.scope("store", raw.store.as_ref().map_or(top, |at| at.referenced));
    let store = store(&mut s, raw.store.as_ref().map(|store| &store.value));
    let (lease_s, hold_down_s, restore_wait_s, cache_lifetime_s, requests_per_second, digest_s) = {
        let mut s = check.scope("sessions", raw.sessions.as_ref().map_or(top, |at| at.referenced));
        let sessions = raw.sessions.as_ref().map(|at| &at.value);
        (
            s.number("lease_s", sessions.map_or(&None, |it| &it.lease_s), 1..=60, 10),
            s.number("hold_down_s", sessions.map_or(&None, |it| &it.hold_down_s), 0..=3600, 60),
            s.number("restore_wait_s", sessions.map_or(&None, |it| &it.restore_wait_s), 0..=3600, 60),
            s.number("cache_lifetime_s", sessions.map_or(&None, |it| &it.cache_lifetime_s), 5..=3600, 300),
            s.number(
                "requests_per_second",
                sessions.map_or(&None, |it| &it.requests_per_second),
                1..=1_000_000,
                20_000,
            ),
            s.number("digest_s", sessions.map_or(&None, |it| &it.digest_s), 0..=3600, 60),
        )
    };
    let block_lease_s = {
        let mut s = check.scope("sessions", raw.sessions.as_ref().map_or(top, |at| at.referenced));
        let text = raw.sessions.as_ref().map_or(&None, |at| &at.value.block_lease_s);
        s.number("block_lease_s", text, 10..=2_592_000, 3600)
    };
    let domains = domains(check, raw);
    let locator_pools = locator_pools(check, raw, &domains);
    let nves = nves(check, raw, &domains);
    let quotas = quotas(check, raw, &domains);
    let (freeze, moves, failover) = (freeze(check, raw), moves(check, raw), failover(check, raw));
    let operators = operators(check, raw);
    let metrics = raw.metrics.as_ref().and_then(|metrics| {
        let mut s = check.scope("metrics", metrics.referenced);
        s.value("listen", &metrics.value.listen, "\"127.0.0.1:9465\"")
    });
    let page = page(check, raw, tls.is_some());
    let mut s = check.scope("log", raw.log.as_ref().map_or(top, |at| at.referenced));
    use LogLevel::{Debug, Error, Info, Trace, Warn};
    let levels = [Error, Warn, Info, Debug, Trace].map(|level| (level.name(), level));
    let log_level = s.choice("level", raw.log.as_ref().map_or(&None, |log| &log.value.level), &levels, Info);
    AuthorityConfig {
        name: name.unwrap_or_default(),
        listen,
        tls,
        revoked,
        store: store.unwrap_or(StoreConfig::Embedded(PathBuf::new())),
        lease_s,
        hold_down_s,
        restore_wait_s,
        cache_lifetime_s,
        requests_per_second,
        digest_s,
        block_lease_s,
        locator_pools,
        freeze,
        moves,
        failover,
        quotas,
        nves,
        sir_domains: domains,
        operators,
        metrics,
        page,
        log_level,
    }
}

/// The page in the browser.
fn page(check: &mut Check, raw: &RawAuthority, has_tls: bool) -> Option<PageConfig> {
    let page = raw.page.as_ref()?;
    let mut s = check.scope("page", page.referenced);
    let text = s.required("listen", &page.value.listen, "\"http://127.0.0.1:9466\"")?;
    let listen = nva_endpoint(&mut s, "listen", text);
    let mut hosts = BTreeSet::new();
    for (n, host) in page.value.hosts.iter().flat_map(|list| &list.value).enumerate() {
        let is_good = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.');
        if (1..=253).contains(&host.value.len()) && host.value.bytes().all(is_good) {
            hosts.insert(host.value.clone());
        } else {
            let message = format!(
                "`{}` is no name of a host; write 1 to 253 characters of a-z, 0-9, - and ., without a port",
                host.value
            );
            s.error(&format!("hosts[{n}]"), host.referenced, message);
        }
    }
    if listen.as_ref().is_some_and(NvaEndpoint::is_tls) && !has_tls {
        check.error(text.referenced, "tls".to_owned(), NO_TLS.to_owned());
    }
    Some(PageConfig { listen: listen?, hosts })
}

/// Operators by name.
fn operators(check: &mut Check, raw: &RawAuthority) -> BTreeMap<String, OperatorRights> {
    use OperatorRole::{Admin, Operator, Viewer};
    let mut operators = BTreeMap::new();
    for (n, entry) in raw.operators.iter().flat_map(|list| &list.value).enumerate() {
        let mut s = check.scope(format!("operators[{n}]"), entry.referenced);
        let name = s.name("name", &entry.value.name, "alice", super::check::WORD);
        let roles = [Viewer, Operator, Admin].map(|role| (role.name(), role));
        let role = s.choice("role", &entry.value.role, &roles, Viewer);
        let list = entry.value.networks.as_ref();
        let networks: Option<BTreeSet<String>> =
            list.map(|list| list.value.iter().map(|network| network.value.clone()).collect());
        if networks.is_some() && role == Admin {
            let message =
                "an admin of some networks cannot be; take role viewer or operator, or leave networks out";
            s.error_here("networks", message);
        }
        let Some(name) = name else { continue };
        if operators.insert(name.clone(), OperatorRights { role, networks }).is_some() {
            s.error_here("name", format!("`{name}` stands here twice; names are unique"));
        }
    }
    operators
}

/// SIR prefixes by the name of their domain.
fn domains(check: &mut Check, raw: &RawAuthority) -> BTreeMap<String, SirPrefix> {
    let mut domains = BTreeMap::new();
    for (n, entry) in raw.sir_domains.iter().flat_map(|list| &list.value).enumerate() {
        let mut s = check.scope(format!("sir_domains[{n}]"), entry.referenced);
        let name = s.name("name", &entry.value.name, "tasks", super::check::WORD);
        let prefix: Option<SirPrefix> = s.value("prefix", &entry.value.prefix, "\"2001:db8:dddd::/64\"");
        let (Some(name), Some(prefix)) = (name, prefix) else { continue };
        if domains.values().any(|known| *known == prefix) || domains.contains_key(&name) {
            s.error_here("", format!("domain {name} or {prefix} stands here twice; each is unique"));
        }
        domains.insert(name, prefix);
    }
    domains
}

/// The SIR prefix of a domain that is named.
fn domain(
    s: &mut Scope<'_>,
    name: &Option<Text>,
    domains: &BTreeMap<String, SirPrefix>,
) -> Option<SirPrefix> {
    let text = s.required("domain", name, "tasks")?;
    let sir = domains.get(&text.value).copied();
    if sir.is_none() {
        let message = format!("`{}` is not the name of a SIR domain; add it to sir_domains", text.value);
        s.error("domain", text.referenced, message);
    }
    sir
}

fn freeze(check: &mut Check, raw: &RawAuthority) -> AuthorityFreeze {
    let at = raw.freeze.as_ref();
    let mut s = check.scope("freeze", at.map_or(serde_saphyr::Location::UNKNOWN, |at| at.referenced));
    let freeze = at.map(|at| &at.value);
    AuthorityFreeze {
        changes: s.number("changes", freeze.map_or(&None, |it| &it.changes), 0..=100, 5),
        within_s: s.number("within_s", freeze.map_or(&None, |it| &it.within_s), 1..=3600, 180),
        for_s: s.number("for_s", freeze.map_or(&None, |it| &it.for_s), 1..=86_400, 3600),
    }
}

fn moves(check: &mut Check, raw: &RawAuthority) -> AuthorityMoves {
    let at = raw.moves.as_ref();
    let mut s = check.scope("moves", at.map_or(serde_saphyr::Location::UNKNOWN, |at| at.referenced));
    let moves = at.map(|at| &at.value);
    AuthorityMoves {
        prepare_s: s.number("prepare_s", moves.map_or(&None, |it| &it.prepare_s), 1..=60, 5),
        prepared_s: s.number("prepared_s", moves.map_or(&None, |it| &it.prepared_s), 1..=86_400, 3600),
        detached_s: s.number("detached_s", moves.map_or(&None, |it| &it.detached_s), 1..=600, 30),
        spread_s: s.number("spread_s", moves.map_or(&None, |it| &it.spread_s), 1..=60, 5),
        drain_idle_s: s.number("drain_idle_s", moves.map_or(&None, |it| &it.drain_idle_s), 1..=60, 2),
        drain_s: s.number("drain_s", moves.map_or(&None, |it| &it.drain_s), 1..=600, 60),
        abort_s: s.number("abort_s", moves.map_or(&None, |it| &it.abort_s), 1..=60, 5),
        per_nve: s.number("per_nve", moves.map_or(&None, |it| &it.per_nve), 1..=4096, 256),
    }
}

fn failover(check: &mut Check, raw: &RawAuthority) -> AuthorityFailover {
    let at = raw.failover.as_ref();
    let mut s = check.scope("failover", at.map_or(serde_saphyr::Location::UNKNOWN, |at| at.referenced));
    let it = at.map(|at| &at.value);
    AuthorityFailover {
        grace_s: s.number("grace_s", it.map_or(&None, |it| &it.grace_s), 1..=600, 30),
        brake_nodes: s.number("brake_nodes", it.map_or(&None, |it| &it.brake_nodes), 1..=1_000, 2),
        brake_percent: s.number("brake_percent", it.map_or(&None, |it| &it.brake_percent), 0..=100, 15),
        brake_within_s: s.number("brake_within_s", it.map_or(&None, |it| &it.brake_within_s), 1..=600, 10),
        per_nve: s.number("per_nve", it.map_or(&None, |it| &it.per_nve), 1..=16_384, 4_096),
    }
}

fn quotas(
    check: &mut Check,
    raw: &RawAuthority,
    domains: &BTreeMap<String, SirPrefix>,
) -> Vec<AuthorityQuota> {
    let mut quotas: Vec<AuthorityQuota> = Vec::new();
    for (n, entry) in raw.quotas.iter().flat_map(|list| &list.value).enumerate() {
        let mut s = check.scope(format!("quotas[{n}]"), entry.referenced);
        let RawQuota { domain: name, vnid, max_identifiers } = &entry.value;
        let sir = domain(&mut s, name, domains);
        let vnid = vnid.is_some().then(|| s.number("vnid", vnid, 1..=MAX_VNID, 1));
        let _ = s.required("max_identifiers", max_identifiers, "1000");
        let max_identifiers = s.number("max_identifiers", max_identifiers, 0..=8_000_000, 0);
        let Some(sir) = sir else { continue };
        if quotas.iter().any(|other| (other.sir, other.vnid) == (sir, vnid)) {
            s.error_here("", "another entry has the same domain and vnid; write one".to_owned());
        }
        quotas.push(AuthorityQuota { sir, vnid, max_identifiers });
    }
    quotas
}

/// Where locators are allocated from.
fn locator_pools(
    check: &mut Check,
    raw: &RawAuthority,
    domains: &BTreeMap<String, SirPrefix>,
) -> Vec<(Ipv6Prefix, SirPrefix)> {
    let mut pools: Vec<(Ipv6Prefix, SirPrefix)> = Vec::new();
    for (n, entry) in raw.locator_pools.iter().flat_map(|list| &list.value).enumerate() {
        let mut s = check.scope(format!("locator_pools[{n}]"), entry.referenced);
        let sir = domain(&mut s, &entry.value.domain, domains);
        let prefix: Option<Ipv6Prefix> = s.value("prefix", &entry.value.prefix, "\"fd00:1::/48\"");
        let (Some(sir), Some(prefix)) = (sir, prefix) else { continue };
        let first = (prefix.bits() >> 64) as u64;
        let is_unicast = first >> 61 == 0b001 || first >> 57 == 0xfc >> 1;
        if !(16..=64).contains(&prefix.length()) || !is_unicast {
            let message = format!("{prefix} has no locators; write 16 to 64 bits of 2000::/3 or fc00::/7");
            s.error_here("prefix", message);
        } else if let Some((other, _)) = pools.iter().find(|(other, _)| other.overlaps(prefix)) {
            s.error_here("prefix", format!("{prefix} overlaps {other}; a locator belongs to one pool"));
        } else if domains.values().any(|sir| prefix.overlaps(sir.prefix())) {
            s.error_here("prefix", format!("{prefix} overlaps a prefix of sir_domains; name another one"));
        } else {
            pools.push((prefix, sir));
        }
    }
    pools
}

/// The address of an NVE's end of tunnels.
fn end_of_tunnels(s: &mut Scope<'_>, text: &Text) -> Option<IpAddr> {
    let address = text.value.parse().ok();
    let address =
        address.filter(|it: &IpAddr| !(it.is_unspecified() || it.is_multicast() || it.is_loopback()));
    if address.is_none() {
        let shown = text.value.escape_debug();
        let message =
            format!("`{shown}` is no IPv4 or IPv6 address of one host; write for example \"fd00:1:0:1::1\"");
        s.error("vtep", text.referenced, message);
    }
    address
}

fn nves(
    check: &mut Check,
    raw: &RawAuthority,
    domains: &BTreeMap<String, SirPrefix>,
) -> BTreeMap<String, AuthorityNve> {
    let mut nves = BTreeMap::new();
    let mut taken: BTreeMap<Locator, String> = BTreeMap::new();
    for (n, entry) in raw.nves.iter().flat_map(|list| &list.value).enumerate() {
        let mut s = check.scope(format!("nves[{n}]"), entry.referenced);
        let Some(name) = s.name("name", &entry.value.name, "nve1", super::check::STRICT) else { continue };
        let mut locators = Vec::new();
        let empty = Vec::new();
        let list: &[Spanned<_>] = entry.value.locators.as_ref().map_or(&empty, |list| &list.value);
        for (m, locator) in list.iter().enumerate() {
            let mut s = s.below(&format!("locators[{m}]"), locator.referenced);
            let prefix = locator_prefix(&mut s, &locator.value.prefix);
            let sir = domain(&mut s, &locator.value.domain, domains);
            let (Some(prefix), Some(sir)) = (prefix, sir) else { continue };
            match taken.insert(prefix, name.clone()) {
                None => locators.push((prefix, sir)),
                Some(other) => {
                    let message = format!("{prefix} is that of {other}; a locator belongs to one NVE");
                    s.error_here("prefix", message);
                }
            }
        }
        let max_identifiers =
            s.number("max_identifiers", &entry.value.max_identifiers, 0..=8_000_000, 100_000);
        let router = s.flag("router", &entry.value.router, false);
        let words = [("its", false), ("all", true)];
        let all_networks = s.choice("networks", &entry.value.networks, &words, false);
        let vtep = entry.value.vtep.as_ref().and_then(|text| end_of_tunnels(&mut s, text));
        let nve = AuthorityNve { locators, max_identifiers, router, all_networks, vtep };
        if nves.insert(name.clone(), nve).is_some() {
            s.error_here("name", format!("`{name}` stands here twice; names are unique"));
        }
    }
    nves
}
