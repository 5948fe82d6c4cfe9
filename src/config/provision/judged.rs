//! The attachments of one NVE as an authority judged them, so that the next one is judged by itself.

use super::super::check::{Appended, Check, Standing};
use super::super::model::Attachment;
use super::entry::{Entry, ObjectName, Raw};
use crate::shared::List;
use serde_saphyr::Location;
use std::collections::HashMap;

/// Attachments without an error, and all that others are judged by.
#[derive(Debug)]
pub struct Judged {
    standing: Standing,
    /// By name.
    attachments: HashMap<ObjectName, Attachment>,
}

impl Judged {
    pub(super) fn new(attachments: &List<Attachment>, standing: Standing) -> Self {
        let named = |it: &Attachment| Some((ObjectName::Attachment(it.name.clone()?), it.clone()));
        Judged { standing, attachments: attachments.iter().filter_map(named).collect() }
    }

    /// How many attachments there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.attachments.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attachments.is_empty()
    }

    /// Puts an attachment in the place of the one of its name, or takes that out.
    ///
    /// `false`: it breaks a rule, or is none. Then this is of no use any more.
    #[must_use]
    pub fn set(&mut self, name: &ObjectName, entry: Option<&Entry>) -> bool {
        if let Some(before) = self.attachments.remove(name) {
            self.standing.detach(&before);
        }
        let Some(entry) = entry else { return true };
        let Raw::Attachment(raw) = &entry.raw else { return false };
        let only = Appended { from: 0, entries: vec![(0, name.within())] };
        let mut check = Check::with("", HashMap::from([(name.section(), only)]));
        let judged = self.standing.attach(&mut check.entry(name.section(), 0, Location::UNKNOWN), &raw.value);
        match judged.filter(|_| check.errors().is_empty()) {
            Some(attachment) => self.attachments.insert(name.clone(), attachment).is_none(),
            None => false,
        }
    }
}
