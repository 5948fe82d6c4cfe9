//! What operators want at this node, by the word of the authority: judged together with the file, and left out where it
//! contradicts it.

use crate::config::{Basis, Config, Entry, ObjectName, RefusedEntry, Source, Step};
use crate::nva::client::{Objects, Seen, Wishes};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

/// Changes that are judged and taken over one by one. More are judged together, away from the control thread.
const MOST: usize = 256;

/// A node's file and what operators want beside it.
#[derive(Debug)]
pub struct Provision {
    /// The file as it was read.
    pub source: Arc<Source>,
    /// What it says.
    pub file: Arc<Config>,
    /// What operators want.
    pub objects: Arc<Objects>,
    /// What of that the node cannot take over.
    pub refused: Vec<RefusedEntry>,
    /// For the next change, as long as nothing is refused.
    basis: Option<(Arc<Wishes>, Box<Basis>)>,
}

impl Provision {
    /// A file, and objects that are not judged yet.
    #[must_use]
    pub fn new(source: Arc<Source>, file: Arc<Config>, objects: Arc<Objects>) -> Self {
        Provision { source, file, objects, refused: Vec::new(), basis: None }
    }

    /// The same, to be judged as a whole.
    #[must_use]
    pub fn to_judge(&self) -> Self {
        let refused = self.refused.clone();
        Provision { refused, ..Self::new(self.source.clone(), self.file.clone(), self.objects.clone()) }
    }

    /// Whether the next change may be taken over by itself.
    #[must_use]
    pub fn may_step(&self) -> bool {
        self.basis.is_some()
    }

    /// The next change is judged with all that there is.
    pub fn judge_whole(&mut self) {
        self.basis = None;
    }

    /// Takes over what operators want now in place of what they wanted when `config` was made of it, with nothing else
    /// added.
    ///
    /// `None`: all is to be judged together. A network changes, something breaks a rule, or something is refused already.
    pub fn step(&mut self, config: &Config) -> Option<(Config, Step)> {
        // Whatever comes of it: after a failure the basis is of no use.
        let (before, mut basis) = self.basis.take()?;
        let now = self.objects.all.clone();
        let entry = |all: &Wishes, name: &ObjectName| all.get(name).map(|seen| seen.entry.clone());
        let names: Vec<&ObjectName> = now.changed(&before).take(MOST + 1).collect();
        if names.len() > MOST {
            return None;
        }
        let ends: Vec<_> = names.iter().map(|name| (entry(&before, name), entry(&now, name))).collect();
        let changes: Vec<_> = names
            .iter()
            .zip(&ends)
            .map(|(name, (before, now))| (*name, before.as_deref(), now.as_deref()))
            .collect();
        let step = basis.step(config, &changes)?;
        self.basis = Some((now, basis));
        Some(step)
    }

    /// File and objects together. `excluded` is refused already.
    ///
    /// # Errors
    /// What is wrong with the file alone.
    pub fn compose(
        source: Arc<Source>,
        file: Arc<Config>,
        objects: Arc<Objects>,
        excluded: Vec<RefusedEntry>,
    ) -> Result<(Arc<Config>, Self), String> {
        let mut refused = excluded;
        let is_taken =
            |name: &ObjectName, refused: &[RefusedEntry]| !refused.iter().any(|it| it.name == *name);
        let mut wanted: Vec<_> =
            objects.all.iter().map(|(_, seen)| seen).filter(|seen| is_taken(&seen.name, &refused)).collect();
        wanted.sort_by_key(|seen| seen.sequence);
        // What refers to a network that is out is out, too.
        let in_domains = |seen: &&Seen| in_own_words(&file, &seen.entry, seen.sir_prefix).err();
        refused.extend(
            wanted
                .iter()
                .filter_map(|seen| Some(RefusedEntry { name: seen.name.clone(), why: in_domains(seen)? })),
        );
        wanted.retain(|seen| is_taken(&seen.name, &refused));
        let out: HashSet<String> = refused.iter().filter_map(|it| network(&it.name)).collect();
        let mut entries: Vec<Cow<'_, Entry>> = Vec::with_capacity(wanted.len());
        for seen in wanted {
            let gone = seen.entry.networks().into_iter().find(|name| out.contains(*name));
            if let Some(gone) = gone {
                let why = format!("it refers to network {gone}, which is refused");
                refused.push(RefusedEntry { name: seen.name.clone(), why });
                continue;
            }
            entries.extend(in_own_words(&file, &seen.entry, seen.sir_prefix));
        }
        let all: Vec<&Entry> = entries.iter().map(|entry| &**entry).collect();
        let (config, basis) = if all.is_empty() {
            (file.clone(), None)
        } else {
            let (config, basis, more) = source.with(&all).map_err(|errors| errors.to_string())?;
            refused.extend(more);
            (Arc::new(config), refused.is_empty().then(|| (objects.all.clone(), Box::new(basis))))
        };
        drop(entries);
        Ok((config, Provision { source, file, objects, refused, basis }))
    }

    /// Tells the operator of this node what is refused and was not before.
    pub fn tell_refused(&self, before: &[RefusedEntry]) {
        for refused in self.refused.iter().filter(|refused| !before.contains(refused)) {
            let RefusedEntry { name, why } = refused;
            tracing::error!(object = %name, why, "what operators want at this node is refused");
        }
    }
}

fn network(name: &ObjectName) -> Option<String> {
    match name {
        ObjectName::Network(name) => Some(name.clone()),
        ObjectName::Policy { .. } | ObjectName::Attachment(_) => None,
    }
}

/// A network with the name that its SIR domain has at this node.
fn in_own_words<'e>(file: &Config, entry: &'e Entry, sir_prefix: u64) -> Result<Cow<'e, Entry>, String> {
    let Some(domain) = entry.domain() else { return Ok(Cow::Borrowed(entry)) };
    let Some(own) = file.sir_domains.iter().find(|own| own.prefix.0 == sir_prefix) else {
        let prefix = crate::ila::SirPrefix(sir_prefix);
        return Err(format!(
            "its domain {domain} has the SIR prefix {prefix}, which no domain here has; add it to sir_domains"
        ));
    };
    if own.name == domain { Ok(Cow::Borrowed(entry)) } else { entry.in_domain(&own.name).map(Cow::Owned) }
}
