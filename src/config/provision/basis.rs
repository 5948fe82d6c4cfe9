//! One change of what an authority added to a configuration, judged by itself: its cost does not grow with the number of
//! attachments.
//!
//! It is for changes of attachments and policies that break no rule. Everything else is for [`super::settle`], which
//! judges all entries together.

use super::super::check::{Appended, Check, Scope, Standing};
use super::super::model::{Attachment, Config, Policy};
use super::entry::{Entry, ObjectName, Raw};
use serde_saphyr::Location;
use std::collections::HashMap;
use std::sync::Arc;

/// A configuration without an error, ready for the next change of what an authority added to it.
#[derive(Debug)]
pub struct Basis {
    file: String,
    standing: Standing,
    /// Places in `attachments` of those of the authority, by their names.
    places: HashMap<String, usize>,
}

/// What a change came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Attachments that went, or were other ones before.
    pub gone: Vec<Attachment>,
    /// Attachments that came, or are other ones now.
    pub new: Vec<Attachment>,
    /// Attachments that are as before at another place.
    pub moved: Vec<Attachment>,
    /// Policies that came or went.
    pub policies: Vec<Policy>,
}

impl Basis {
    pub(in super::super) fn new(file: &str, config: &Config, standing: Standing) -> Self {
        let own = config.attachments.iter().enumerate().skip(config.provisioned.attachments.start);
        let places = own.filter_map(|(place, attachment)| Some((attachment.name.clone()?, place)));
        Basis { file: file.to_owned(), standing, places: places.collect() }
    }

    /// Changes entries of the authority: each from what it is to what it becomes. `config` is the configuration that this
    /// is the basis of, with nothing else added to it.
    ///
    /// `None`: a network changes, or a rule is broken. Then this basis is of no use any more.
    pub fn step(
        &mut self,
        config: &Config,
        changes: &[(&ObjectName, Option<&Entry>, Option<&Entry>)],
    ) -> Option<(Config, Step)> {
        let (mut config, mut step) = (config.clone(), Step::default());
        let mut free = HashMap::new();
        // What goes makes room for what comes.
        for (name, before, _) in changes {
            match name {
                ObjectName::Network(_) => return None,
                ObjectName::Policy { from, to } if before.is_some() => {
                    let policy = self.standing.policy(from, to)?;
                    self.forbid(policy, &mut config, &mut step)?;
                }
                ObjectName::Attachment(name) if before.is_some() => {
                    let place = *self.places.get(name)?;
                    let attachment = config.attachments.get(place)?;
                    self.standing.detach(attachment);
                    step.gone.push(attachment.clone());
                    free.insert(name.as_str(), place);
                }
                ObjectName::Policy { .. } | ObjectName::Attachment(_) => {}
            }
        }
        for (_, _, entry) in changes {
            match entry.map(|entry| &entry.raw) {
                None => {}
                Some(Raw::Network(_)) => return None,
                Some(Raw::Policy(raw)) => {
                    let others = config.policies.clone();
                    let policy = self.judge(*entry, |standing, s| standing.permit(s, raw, &others))?;
                    drop(others);
                    Arc::make_mut(&mut config.policies).push(policy);
                    config.provisioned.policies.end += 1;
                    step.policies.push(policy);
                }
                Some(Raw::Attachment(raw)) => {
                    let attachment = self.judge(*entry, |standing, s| standing.attach(s, &raw.value))?;
                    step.new.push(attachment.clone());
                    let name = attachment.name.clone()?;
                    match free.remove(name.as_str()) {
                        Some(place) => *config.attachments.get_mut(place)? = attachment,
                        None => {
                            self.places.insert(name, config.attachments.len());
                            config.attachments.push(attachment);
                            config.provisioned.attachments.end += 1;
                        }
                    }
                }
            }
        }
        self.close_gaps(free, &mut config, &mut step)?;
        Some((config, step))
    }

    fn forbid(&mut self, policy: Policy, config: &mut Config, step: &mut Step) -> Option<()> {
        let own = config.provisioned.policies.clone();
        let place = own
            .clone()
            .find(|place| config.policies.get(*place).is_some_and(|other| other.straight() == policy))?;
        self.standing.forbid(policy);
        step.policies.push(Arc::make_mut(&mut config.policies).swap_remove(place));
        config.provisioned.policies.end -= 1;
        Some(())
    }

    /// The last attachments take the places of those that went: the later places first, so that none of those moves.
    fn close_gaps(&mut self, free: HashMap<&str, usize>, config: &mut Config, step: &mut Step) -> Option<()> {
        let mut free: Vec<(usize, &str)> = free.into_iter().map(|(name, place)| (place, name)).collect();
        free.sort_unstable();
        for (place, name) in free.into_iter().rev() {
            self.places.remove(name);
            config.attachments.swap_remove(place)?;
            config.provisioned.attachments.end -= 1;
            if let Some(moved) = config.attachments.get(place) {
                self.places.insert(moved.name.clone()?, place);
                step.moved.push(moved.clone());
            }
        }
        // One that moved may be new, or have moved again.
        let names: std::collections::BTreeSet<_> = step.new.iter().map(|new| new.name.clone()).collect();
        step.moved.retain(|moved| !names.contains(&moved.name));
        Some(())
    }

    /// Judges an entry by itself beside what stands. `None`: it breaks a rule.
    fn judge<T>(
        &mut self,
        entry: Option<&Entry>,
        judge: impl FnOnce(&mut Standing, &mut Scope<'_>) -> Option<T>,
    ) -> Option<T> {
        let name = entry?.name();
        let only = Appended { from: 0, entries: vec![(0, name.within())] };
        let mut check = Check::with(&self.file, HashMap::from([(name.section(), only)]));
        let judged = judge(&mut self.standing, &mut check.entry(name.section(), 0, Location::UNKNOWN));
        judged.filter(|_| check.errors().is_empty())
    }
}
