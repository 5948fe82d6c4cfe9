//! What differs between two configurations, and what of it a running node can take over.

use super::model::Config;
use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new; the path counts in the new file.
    Added,
    /// It is gone; the path counts in the old file.
    Removed,
    /// It has another value.
    Changed,
}

/// One key that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Path of the key, for example `ports[0].device`.
    pub path: String,
    /// What happened to it.
    pub kind: ChangeKind,
    /// Whether a reload applies it; otherwise the node must be restarted.
    pub reload: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
            ChangeKind::Changed => "changed",
        };
        let how = if self.reload { "applied by a reload" } else { "needs a restart" };
        write!(f, "{}: {kind}, {how}", self.path)
    }
}

/// The changes found so far.
struct Changes(Vec<Change>);

impl Changes {
    fn note(&mut self, path: String, kind: ChangeKind, reload: bool) {
        self.0.push(Change { path, kind, reload });
    }

    /// A key with one value.
    fn key<T: PartialEq>(&mut self, path: impl Into<String>, old: &T, new: &T, reload: bool) {
        if old != new {
            self.note(path.into(), ChangeKind::Changed, reload);
        }
    }

    /// A section that may be absent.
    fn section<T: PartialEq>(&mut self, path: &str, old: Option<&T>, new: Option<&T>, reload: bool) {
        match (old, new) {
            (None, Some(_)) => self.note(path.to_owned(), ChangeKind::Added, reload),
            (Some(_), None) => self.note(path.to_owned(), ChangeKind::Removed, reload),
            (old, new) => self.key(path, &old, &new, reload),
        }
    }

    /// A list whose order means nothing: what came and what went.
    fn set<'c, T: Eq + Hash + 'c>(
        &mut self,
        path: &str,
        old: impl IntoIterator<Item = &'c T> + Copy,
        new: impl IntoIterator<Item = &'c T> + Copy,
    ) {
        let (was, is): (HashSet<&T>, HashSet<&T>) = (old.into_iter().collect(), new.into_iter().collect());
        for (n, _) in old.into_iter().enumerate().filter(|(_, entry)| !is.contains(entry)) {
            self.note(format!("{path}[{n}]"), ChangeKind::Removed, true);
        }
        for (n, _) in new.into_iter().enumerate().filter(|(_, entry)| !was.contains(entry)) {
            self.note(format!("{path}[{n}]"), ChangeKind::Added, true);
        }
    }
}

/// Compares fields of two values under one path.
macro_rules! fields {
    ($changes:expr, $path:expr, $old:expr, $new:expr, $reload:expr, [$($field:ident),*]) => {{ $(
        $changes.key(format!("{}.{}", $path, stringify!($field)), &$old.$field, &$new.$field, $reload);
    )* }};
}

impl Config {
    /// Which keys differ in `new`, and whether a reload can apply each; empty if nothing differs.
    ///
    /// Ports, SIR domains and virtual networks are compared by place, because everything refers to them by
    /// place. Of domains only those added at the end of the list can be taken over by a reload; networks all
    /// can, because attachments are taken over together with them.
    #[must_use]
    pub fn diff_class(&self, new: &Config) -> Vec<Change> {
        let mut changes = Changes(Vec::new());
        let c = &mut changes;
        fields!(c, "node", self.node, new.node, false, [name, state_dir]);
        fields!(
            c,
            "dpdk",
            self.dpdk,
            new.dpdk,
            false,
            [workers, control_core, idle, huge, memory_mib, log_level, extra_args]
        );
        fields!(c, "mbufs", self.mbufs, new.mbufs, false, [count, data_bytes, cache]);
        self.diff_domains(new, c);
        self.diff_ports(new, c);
        c.set("locators", &self.locators, &new.locators);
        self.diff_networks(new, c);
        c.set("policies", &*self.policies, &*new.policies);
        c.set("attachments", &self.attachments, &new.attachments);
        c.set("routes", &*self.routes, &*new.routes);
        c.set("neighbours.static", &self.neighbours, &new.neighbours);
        match (&self.mappings, &new.mappings) {
            (Some(old), Some(new)) => {
                fields!(c, "mappings", old, new, true, [file, watch, max_bytes, max_deletions_percent])
            }
            (old, new) => c.section("mappings", old.as_ref(), new.as_ref(), true),
        }
        c.set("infrastructure", &self.infrastructure, &new.infrastructure);
        match (&self.quarantine, &new.quarantine) {
            (Some(old), Some(new)) => {
                fields!(c, "quarantine", old, new, true, [drops_per_second, seconds, duration_s, mode]);
            }
            (old, new) => c.section("quarantine", old.as_ref(), new.as_ref(), true),
        }
        fields!(c, "icmp", self.icmp, new.icmp, true, [errors_per_second, burst]);
        let (old, other) = (&self.translation, &new.translation);
        fields!(c, "translation", old, other, true, [lowest_ipv6_mtu, missing_udp_checksum]);
        fields!(
            c,
            "neighbour_discovery",
            self.neighbour_discovery,
            new.neighbour_discovery,
            true,
            [reachable_ms, retransmit_ms, probes, hold_packets]
        );
        fields!(
            c,
            "multicast",
            self.multicast,
            new.multicast,
            true,
            [query_interval_s, groups_per_tenant, groups_per_network]
        );
        let (old, other) = (&self.moves, &new.moves);
        fields!(
            c,
            "moves",
            old,
            other,
            true,
            [
                in_flight,
                hold_packets,
                hold_bytes,
                hold_ms,
                release_per_second,
                departed,
                scan_per_second,
                scan_interval_s,
                silence_questions
            ]
        );
        match (&self.nva, &new.nva) {
            (Some(old), Some(new)) => {
                fields!(c, "nva", old, new, false, [endpoints, embedded, tls, mode, provision, scopes, grace])
            }
            (old, new) => c.section("nva", old.as_ref(), new.as_ref(), false),
        }
        match (&self.metrics, &new.metrics) {
            (Some(old), Some(new)) => fields!(c, "metrics", old, new, false, [listen, networks]),
            (old, new) => c.section("metrics", old.as_ref(), new.as_ref(), false),
        }
        fields!(c, "admin", self.admin, new.admin, false, [socket]);
        fields!(c, "log", self.log, new.log, true, [level]);
        fields!(c, "log", self.log, new.log, false, [format]);
        changes.0
    }

    fn diff_domains(&self, new: &Config, c: &mut Changes) {
        for n in 0..self.sir_domains.len().max(new.sir_domains.len()) {
            let path = format!("sir_domains[{n}]");
            match (self.sir_domains.get(n), new.sir_domains.get(n)) {
                (Some(old), Some(new)) => {
                    fields!(
                        c,
                        path,
                        old,
                        new,
                        false,
                        [name, prefix, checksum, on_miss, skip_unchecked, expected_mappings]
                    );
                    fields!(c, path, old, new, true, [router_mac, vni]);
                }
                (None, _) => c.note(path, ChangeKind::Added, true),
                (_, None) => c.note(path, ChangeKind::Removed, false),
            }
        }
    }

    fn diff_networks(&self, new: &Config, c: &mut Changes) {
        for n in 0..self.virtual_networks.len().max(new.virtual_networks.len()) {
            let path = format!("virtual_networks[{n}]");
            match (self.virtual_networks.get(n), new.virtual_networks.get(n)) {
                (Some(old), Some(new)) => {
                    fields!(
                        c,
                        path,
                        old,
                        new,
                        true,
                        [
                            name,
                            vnid,
                            domain,
                            mac,
                            mtu,
                            ipv6,
                            ipv4,
                            peers,
                            limits,
                            received_copies,
                            replicate_to,
                            exclusive
                        ]
                    );
                }
                (None, _) => c.note(path, ChangeKind::Added, true),
                (_, None) => c.note(path, ChangeKind::Removed, true),
            }
        }
    }

    fn diff_ports(&self, new: &Config, c: &mut Changes) {
        for n in 0..self.ports.len().max(new.ports.len()) {
            let path = format!("ports[{n}]");
            match (self.ports.get(n), new.ports.get(n)) {
                (Some(old), Some(new)) => {
                    fields!(
                        c,
                        path,
                        old,
                        new,
                        false,
                        [name, device, role, mac, queues, descriptors, mtu, promiscuous, vlan]
                    );
                    fields!(c, path, old, new, true, [addresses, router_advertisement, external]);
                }
                (None, _) => c.note(path, ChangeKind::Added, false),
                (_, None) => c.note(path, ChangeKind::Removed, false),
            }
        }
    }
}
