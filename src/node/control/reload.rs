//! Reload: the configuration read again, judged as a whole, and taken over as a difference.

use super::updates::Reply;
use super::{Control, Effect, RequestId, WatchOrder, settings};
use crate::config::{Amendment, Config, Fingerprint};
use crate::mapping::MappingRecord;
use crate::node::provision::Provision;
use std::sync::Arc;

/// A configuration that can be taken over, and the mappings that it names.
#[derive(Debug)]
pub struct Loaded {
    /// What the file says.
    pub file: Arc<Config>,
    /// The same with what operators want beside it.
    pub config: Arc<Config>,
    /// Both, at a node that takes something of an authority.
    pub provision: Option<Provision>,
    /// Whether the files were read. Otherwise only what operators want has changed.
    pub reread: bool,
    /// Paths that differ.
    pub changes: Vec<String>,
    /// What the mapping file holds; empty when it is no longer named; `None` when there never was one.
    pub records: Option<Vec<MappingRecord>>,
    /// The state in which the mapping file was read.
    pub seen: Option<Fingerprint>,
}

impl Control {
    /// Has the files read.
    pub(super) fn begin_reload(&mut self, asked_by: Option<RequestId>) {
        if self.reloading && (asked_by.is_none() || self.composing && self.reload_asked_next.is_none()) {
            // What nobody here asked for keeps nobody waiting for long.
            self.reload_again = true;
            self.reload_asked_next = self.reload_asked_next.or(asked_by);
            return;
        }
        if self.reloading {
            let reply = Reply { asked_by, ..Reply::default() };
            let why = "a reload is under way; wait until it has ended".to_owned();
            return self.end_reply(reply, Err(why));
        }
        tracing::info!(config = %self.path.display(), "reload");
        self.reload_asked_by = asked_by;
        self.load(true, Vec::new());
    }

    pub(super) fn end_reload(&mut self, loaded: Result<Box<Loaded>, String>) {
        let (asked_by, composed) = (self.reload_asked_by.take(), self.composing);
        let reply = Reply { asked_by, composed, ..Reply::default() };
        match loaded {
            Ok(loaded) => self.accept_reload(loaded, reply),
            Err(why) => self.refuse_reload(reply, why),
        }
    }

    /// Takes over what the tables do not hold, after they took over the amended configuration. Gives the
    /// mappings that come next.
    pub(super) fn take_over(
        &mut self,
        loaded: Loaded,
        (config, amendments): (Arc<Config>, Vec<Amendment>),
        reply: &mut Reply,
    ) -> Option<Vec<MappingRecord>> {
        let Loaded { file, changes, records, seen, provision, reread, .. } = loaded;
        reply.applied = changes;
        self.take_provision(provision);
        (self.file, self.amendments) = (file, amendments);
        let old = std::mem::replace(&mut self.config, config.clone());
        self.unpublished = true;
        let advertised = |config: &Config, n: usize| {
            config.ports.get(n).and_then(|port| port.router_advertisement).is_some()
        };
        let router_changes = |n: usize| old.task_router_mac(n as u16) != config.task_router_mac(n as u16);
        // From the snapshot before: the next one has no advertisement for these ports, or another router.
        self.stop_advertising(|n| advertised(&old, n) && (!advertised(&config, n) || router_changes(n)));
        self.effects.push(Effect::Config(config.clone()));
        self.check_tenants(self.now_ms());
        self.configure_groups(self.now_ms());
        self.scan_configured();
        self.solicit_new_neighbours();
        // Before the next snapshot is published: workers read their settings when they take it.
        self.effects.push(Effect::Settings(settings(&config, self.workers)));
        if old.log.level != config.log.level {
            self.effects.push(Effect::LogLevel(config.log.level));
        }
        self.advertise_soon();
        for (n, ((link, before), new)) in self.links.iter_mut().zip(&old.ports).zip(&config.ports).enumerate()
        {
            link.unannounced |= before.addresses != new.addresses || router_changes(n);
        }
        if reread {
            // The watch before may have read an older file than the reload did. The new watch starts from what
            // that read.
            self.forget_files();
            self.watch_mappings(seen);
        }
        records
    }

    /// Has the mapping file watched, if the configuration wants that.
    pub(super) fn watch_mappings(&mut self, seen: Option<Fingerprint>) {
        let file = self.config.mappings.as_ref().filter(|file| file.watch).cloned();
        let order = file.map(|file| {
            self.watch_number += 1;
            // By the file alone: what operators want may go again.
            WatchOrder { number: self.watch_number, file, seen, config: self.file.clone() }
        });
        self.effects.push(Effect::Watch(order));
    }
}

/// Paths of the configuration that differ from `old`.
///
/// # Errors
/// Paths that only a restart applies, with the way out.
pub fn load_difference(old: &Config, new: &Config) -> Result<Vec<String>, String> {
    let changes = old.diff_class(new);
    let fixed: Vec<String> =
        changes.iter().filter(|change| !change.reload).map(|change| change.path.clone()).collect();
    if !fixed.is_empty() {
        let paths = fixed.join(", ");
        return Err(format!("{paths}: only a restart applies this; restart the node, or undo the change"));
    }
    Ok(changes.into_iter().map(|change| change.path).collect())
}
