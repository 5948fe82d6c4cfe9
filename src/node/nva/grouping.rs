//! The way between the session, the node's part in groups, and the control thread.

use super::{Session, groups, moves};
use crate::nva::client::Input;
use crate::nva::mirror::Update;
use std::collections::VecDeque;

impl Session {
    /// The node's part in groups learns something. Gives what the client is to learn.
    pub(super) fn grouped(&mut self, input: groups::Input) -> VecDeque<Input> {
        let mut inputs = VecDeque::new();
        for effect in self.groups.step(input) {
            match effect {
                // The receiver lives as long as this thread.
                groups::Effect::Presence(at, presence) => _ = self.presences.send((at, presence)),
                groups::Effect::Objects(objects) => inputs.extend(self.moved(moves::Input::Wanted(objects))),
            }
        }
        inputs
    }

    /// The same, and has the client learn it.
    pub(super) fn group_on(&mut self, input: groups::Input) {
        let inputs = self.grouped(input);
        if !inputs.is_empty() {
            self.steps(inputs);
        }
    }

    /// Keeps what operators want over a restart, but for what is of groups.
    pub(super) fn keep_objects(&mut self) {
        let kept = self.groups.kept(&self.wanted_objects);
        if *kept == *self.kept_objects {
            return;
        }
        self.kept_objects = kept.clone();
        if let Some(notes) = &self.notes {
            notes.note(Update { objects: Some(kept), ..Update::default() });
        }
    }
}
