//! Reload: the configuration read again, judged as a whole, and taken over as a difference.

use super::updates::Reply;
use super::{Control, ControlError, Event, settings};
use crate::config::{Amendment, Config, MappingRecord, mappings};
use crate::node::handle::ReloadView;
use crate::node::watch::{self, Fingerprint};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A configuration that can be taken over, and the mappings that it names.
pub(super) struct Loaded {
    pub(super) config: Arc<Config>,
    /// Paths that differ.
    pub(super) changes: Vec<String>,
    /// What the mapping file holds; empty when it is no longer named; `None` when there never was one.
    pub(super) records: Option<Vec<MappingRecord>>,
    pub(super) seen: Option<Fingerprint>,
}

impl Control {
    /// Reads the files on a thread of its own.
    pub(super) fn begin_reload(&mut self, answer: Option<oneshot::Sender<Result<ReloadView, String>>>) {
        if self.reloading && answer.is_none() {
            self.reload_again = true;
            return;
        }
        let reply = Reply { answer, applied: Vec::new() };
        if self.reloading {
            return reply.end(Err("a reload is under way; wait until it has ended".to_owned()));
        }
        tracing::info!(config = %self.path.display(), "reload");
        let (path, old, tell) = (self.path.clone(), self.file.clone(), self.tell.clone());
        let read = move || {
            // Nobody listens any more when the node stops.
            let _ = tell.send(Event::Loaded(load(&path, &old).map(Box::new), reply.answer));
        };
        match std::thread::Builder::new().name("ilagate-reload".into()).spawn(read) {
            Ok(_) => self.reloading = true,
            Err(why) => tracing::error!(%why, "reload refused: no thread can be started"),
        }
    }

    pub(super) fn end_reload(
        &mut self,
        loaded: Result<Box<Loaded>, String>,
        answer: Option<oneshot::Sender<Result<ReloadView, String>>>,
    ) {
        let reply = Reply { answer, applied: Vec::new() };
        match loaded {
            Ok(loaded) => self.accept_reload(loaded, reply),
            Err(why) => self.reloaded(reply, Err(why)),
        }
    }

    /// All of a reload that is not the tables', after these took over its amended configuration; gives the mappings that come next.
    pub(super) fn take_over(
        &mut self,
        loaded: Loaded,
        (config, amendments): (Arc<Config>, Vec<Amendment>),
        reply: &mut Reply,
    ) -> Option<Vec<MappingRecord>> {
        let Loaded { config: file, changes, records, seen } = loaded;
        reply.applied = changes;
        (self.file, self.amendments) = (file, amendments);
        let old = std::mem::replace(&mut self.config, config.clone());
        let advertised = |config: &Config, n: usize| {
            config.ports.get(n).and_then(|port| port.router_advertisement).is_some()
        };
        // Of the snapshot before: the next one has nothing to say of these.
        self.stop_advertising(|n| advertised(&old, n) && !advertised(&config, n));
        self.config_told.send_replace(config.clone());
        self.look_at_each_tenant(self.now_ms());
        self.configure_neighbours();
        self.configure_groups(self.now_ms());
        self.apply_effects();
        let settings = settings(&config, self.exchanges.len());
        for exchange in &self.exchanges {
            exchange.settings.force_push(settings);
        }
        if old.log.level != config.log.level {
            (self.set_level)(config.log.level);
        }
        self.advertise_soon();
        for ((link, old), new) in self.links.iter_mut().zip(&old.ports).zip(&config.ports) {
            link.untold |= old.addresses != new.addresses;
        }
        // What the watch before has read may be older than what the reload did; the new one knows what that saw.
        self.updates.forget_files();
        if let Err(why) = self.watch_mappings(seen) {
            tracing::error!(%why, "mapping file is not watched");
        }
        records
    }

    /// Watches the mapping file, if the configuration wants that.
    pub(super) fn watch_mappings(&mut self, seen: Option<Fingerprint>) -> Result<(), ControlError> {
        self.watch = None;
        let Some(file) = self.config.mappings.as_ref().filter(|file| file.watch) else { return Ok(()) };
        self.watch_number += 1;
        let (tell, number) = (self.tell.clone(), self.watch_number);
        let tell = move |news| tell.send(Event::Mappings(number, news)).is_ok();
        let watch = watch::start(file, seen, self.config.clone(), tell);
        self.watch = Some(watch.map_err(|why| ControlError::System("watch the mapping file", why))?);
        Ok(())
    }
}

/// Reads configuration and mappings.
fn load(path: &Path, old: &Config) -> Result<Loaded, String> {
    let config = Config::load(path).map_err(|errors| errors.to_string())?;
    let changes = old.diff_class(&config);
    let fixed: Vec<String> =
        changes.iter().filter(|change| !change.reload).map(|change| change.path.clone()).collect();
    if !fixed.is_empty() {
        let paths = fixed.join(", ");
        return Err(format!("{paths}: only a restart applies this; restart the node, or undo the change"));
    }
    let changes = changes.into_iter().map(|change| change.path).collect();
    let (records, seen) = match &config.mappings {
        Some(file) => {
            let seen = Fingerprint::of(&file.file);
            let records = mappings::load(&file.file, &config).map_err(|errors| errors.to_string())?;
            (Some(records), seen)
        }
        None => (old.mappings.as_ref().map(|_| Vec::new()), None),
    };
    Ok(Loaded { config: Arc::new(config), changes, records, seen })
}
