//! The way between the session, the node's part in moves, and the control thread.

use super::{Event, Session, keeper, moves};
use crate::mapping::Presence;
use crate::node::handle::{ControlHandle, Request};
use crate::nva::client::Input;
use crate::nva::mirror::Update;
use crate::table::AttachmentKey;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;

impl Session {
    /// The node's part in moves learns something.
    pub(super) fn move_on(&mut self, input: moves::Input) {
        let inputs = self.moved(input);
        if !inputs.is_empty() {
            self.steps(inputs);
        }
    }

    /// Has a VM or task asked whether it is there.
    fn probe(&self, at: AttachmentKey) {
        let (handle, events) = (self.handle.clone(), self.events.0.clone());
        tokio::spawn(async move {
            // Otherwise the node is too busy, or shutting down.
            let is_sent = handle.ask(|answer| Request::Probe(at, answer)).await.unwrap_or(false);
            let _ = events.send(Event::Asked(at, is_sent)).await;
        });
    }

    /// The same; gives what the client is to learn.
    pub(super) fn moved(&mut self, input: moves::Input) -> VecDeque<Input> {
        let now_ms = self.stats.started.elapsed().as_millis() as u64;
        let mut inputs = VecDeque::new();
        for effect in self.moves.step(now_ms, input) {
            match effect {
                // The receiver lives as long as this thread.
                moves::Effect::Presence(at, presence) => _ = self.presences.send((at, presence)),
                moves::Effect::Probe(at) => self.probe(at),
                moves::Effect::Objects(objects) => _ = self.objects.send_replace(objects),
                moves::Effect::Say(id, sight) => inputs.push_back(Input::Move(id, sight)),
            }
        }
        self.keep_moves(now_ms);
        inputs
    }
}

impl Session {
    /// Keeps the node's part in moves over its own restart.
    fn keep_moves(&mut self, now_ms: u64) {
        let Some(notes) = &self.notes else { return };
        if let Some(kept) = self.moves.take_kept(keeper::now_ms().saturating_sub(now_ms)) {
            notes.note(Update { moves: Some(Arc::new(kept)), ..Update::default() });
        }
    }
}

/// Tells the control thread where VMs and tasks are, one after the other.
pub(super) async fn tell_presences(
    mut presences: mpsc::UnboundedReceiver<(AttachmentKey, Presence)>,
    handle: ControlHandle,
    events: mpsc::Sender<Event>,
) {
    while let Some((at, presence)) = presences.recv().await {
        // Otherwise the node is shutting down.
        let Ok(told) = handle.ask(|answer| Request::Presence(at, presence, answer)).await else { return };
        let _ = events.send(Event::Presence(at, told.map_err(|why| why.to_string()))).await;
    }
}
