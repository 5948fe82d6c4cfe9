//! Which NVE has a session at which authority, as one authority of several sees it. The last session that an NVE opened
//! counts; the order is that of the store.

use super::running::Report;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Who says that it has the session of an NVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// Name of the authority.
    pub(super) authority: String,
    /// Which run of it.
    pub(super) instance: String,
}

/// Sessions here and elsewhere.
#[derive(Debug)]
pub(super) struct Presence {
    instance: String,
    /// NVEs with a session here, and whether the store told of it.
    here: BTreeMap<Arc<str>, bool>,
    elsewhere: BTreeSet<String>,
    /// NVEs of which the store is to be told.
    untold: BTreeSet<Arc<str>>,
}

impl Presence {
    /// Of an authority without sessions.
    #[must_use]
    pub(super) fn new(instance: String) -> Self {
        Presence { instance, here: BTreeMap::new(), elsewhere: BTreeSet::new(), untold: BTreeSet::new() }
    }

    /// An NVE has a session here now, or none any more.
    pub(super) fn here(&mut self, nve: Arc<str>, is_here: bool) {
        if is_here {
            self.here.insert(nve.clone(), false);
            self.elsewhere.remove(&*nve);
        } else {
            self.here.remove(&nve);
        }
        self.untold.insert(nve);
    }

    /// The store forgot everything that this authority told it.
    pub(super) fn forgotten(&mut self) {
        for (nve, is_told) in &mut self.here {
            *is_told = false;
            self.untold.insert(nve.clone());
        }
    }

    /// What the store is to be told next: at most so many NVEs that have a session here, or one that has none any more.
    pub(super) fn next(&mut self, most: usize) -> Option<(Vec<Arc<str>>, bool)> {
        let first = self.untold.pop_first()?;
        if !self.here.contains_key(&first) {
            return Some((vec![first], false));
        }
        let mut batch = vec![first];
        let more: Vec<_> = self.untold.iter().filter(|nve| self.here.contains_key(*nve)).cloned().collect();
        for nve in more.into_iter().take(most - 1) {
            self.untold.remove(&nve);
            batch.push(nve);
        }
        Some((batch, true))
    }

    /// The store could not be told.
    pub(super) fn again(&mut self, batch: Vec<Arc<str>>) {
        self.untold.extend(batch);
    }

    /// The store tells of a session, or that there is none.
    pub(super) fn seen(&mut self, nve: String, claim: Option<Claim>) -> Option<Report> {
        let own = self.here.get_mut(&*nve);
        match claim {
            Some(claim) if claim.instance == self.instance => {
                if let Some(is_told) = own {
                    *is_told = true;
                }
                self.elsewhere.remove(&nve).then(|| Report::Elsewhere(nve, None))
            }
            // The session here is newer: the store will tell of it.
            _ if own.as_ref().is_some_and(|is_told| !**is_told) => None,
            Some(claim) => {
                self.elsewhere.insert(nve.clone());
                Some(Report::Elsewhere(nve, Some(claim.authority)))
            }
            None => {
                // The lease ended, and the session here goes on.
                if let Some(is_told) = own {
                    *is_told = false;
                    self.untold.insert(nve.as_str().into());
                }
                self.elsewhere.remove(&nve).then(|| Report::Elsewhere(nve, None))
            }
        }
    }

    /// The store was read anew, and these are all that it tells.
    pub(super) fn replaced(&mut self, claims: Vec<(String, Claim)>) -> Vec<Report> {
        let told: BTreeSet<&String> = claims.iter().map(|(nve, _)| nve).collect();
        let gone: Vec<String> = self.elsewhere.iter().filter(|nve| !told.contains(nve)).cloned().collect();
        let gone = gone.into_iter().map(|nve| (nve, None));
        let claims = claims.into_iter().map(|(nve, claim)| (nve, Some(claim)));
        gone.chain(claims)
            .collect::<Vec<_>>()
            .into_iter()
            .filter_map(|(nve, claim)| self.seen(nve, claim))
            .collect()
    }
}
