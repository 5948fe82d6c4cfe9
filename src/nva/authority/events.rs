//! What the authority tells operators of what happens.

use super::{Authority, Effect};
use crate::config::{Entry, ObjectName};
use crate::ila::Identifier;
use crate::nva::commits::Authors;
use crate::nva::event::{By, Event, Kind};
use crate::nva::message::SessionId;
use crate::nva::model::{Key, ObjectKey, Transaction};
use crate::nva::provision::Provisioning;
use std::sync::Arc;

impl Authority {
    /// Notes that the peer of a session did something, or that something was done to the session.
    pub(super) fn note_session(&mut self, kind: Kind, id: SessionId, why: &str) {
        let Some(session) = self.sessions.all.get(&id) else { return };
        let nve = session.nve.clone();
        let event = Event::new(kind, By::Session(id, nve.clone()));
        self.sessions.events.push(Event { nve, why: why.to_owned(), ..event });
    }

    /// Notes that an NVE is told where an identifier is, because a router said so.
    pub(super) fn note_redirect(&mut self, router: SessionId, nve: Arc<str>, key: Key) {
        let name = self.sessions.all.get(&router).and_then(|session| session.nve.clone());
        let event = Event::new(Kind::Redirected, By::Session(router, name));
        self.sessions.events.push(Event { nve: Some(nve), key: Some(key), ..event });
    }

    /// Notes that an NVE refuses other objects than before.
    pub(super) fn note_refused_objects(&mut self, id: SessionId, now_ms: u64) {
        let Some(session) = self.sessions.all.get_mut(&id) else { return };
        if !session.refusals.is_told(now_ms) {
            return;
        }
        let Some(Provisioning { refused, .. }) = session.provisioning.as_deref() else { return };
        let Some(first) = refused.first() else { return };
        let nve = session.nve.clone();
        let of = if matches!(first.name, ObjectName::Attachment(_)) { nve.as_deref() } else { None };
        let object = ObjectKey { nve: of.unwrap_or_default().to_owned(), name: first.name.clone() };
        let (count, why) = (refused.len() as u64, first.why.clone());
        let networks = self.networks_of(&object);
        let event = Event::new(Kind::ObjectsRefused, By::Session(id, nve.clone()));
        self.sessions.events.push(Event { nve, object: Some(object), networks, count, why, ..event });
    }

    /// Notes what a transaction changes. It is not applied yet.
    pub(super) fn note_transaction(&mut self, transaction: &Transaction, authors: &Authors, now_ms: u64) {
        let revision = self.registry.revision() + 1;
        for (key, record) in &transaction.writes {
            let by = authors.of(*key);
            let kind = if record.is_held() { Kind::Registered } else { Kind::Released };
            let session = match &by {
                By::Session(id, _) => self.sessions.all.get_mut(id),
                By::Authority | By::Operator(_) | By::Author(..) => None,
            };
            let (nve, throttle) = match session {
                Some(session) => (session.nve.clone(), &mut session.registrations),
                // It ended meanwhile, or is at another authority.
                None => (Some(Arc::from(&*record.owner)), &mut self.untold),
            };
            let catalogue = self.registry.catalogue();
            let network = || {
                let vnid = Identifier(key.identifier).vnid()?;
                catalogue.name_of(key.sir_prefix, vnid).map(str::to_owned)
            };
            if throttle.is_told_of(now_ms, network) {
                let event = Event { nve, key: Some(*key), revision, ..Event::new(kind, by) };
                let (choices, sequence) = (record.choices.clone(), record.sequence);
                self.sessions.events.push(Event { choices, sequence, ..event });
            }
        }
        for (object, new) in &transaction.objects {
            let by = authors.rest();
            let kind = match (self.registry.catalogue().entry(object), new) {
                (None, Some(_)) => Kind::Added,
                // An NVE changes nothing but this.
                (Some(_), Some(_)) if matches!(by, By::Session(..)) => Kind::Allocated,
                (Some(_), Some(_)) => Kind::Replaced,
                (_, None) => Kind::Deleted,
            };
            let entry = new.as_ref().filter(|_| kind == Kind::Allocated);
            let entry = entry.and_then(|new| Entry::named(&object.name, &new.document).ok());
            let why = entry.map_or_else(String::new, |entry| entry.summary().addresses.join(" "));
            let nve = (!object.nve.is_empty()).then(|| Arc::from(&*object.nve));
            let (sequence, networks) = (new.as_ref().map_or(0, |it| it.sequence), self.networks_of(object));
            let object = Some(object.clone());
            let event = Event { nve, object, networks, why, ..Event::new(kind, by) };
            self.sessions.events.push(Event { sequence, revision, ..event });
        }
        for (key, allocation) in &transaction.allocations {
            let before = self.registry.allocations().get(*key);
            // A renewal is no news.
            let (kind, of) = match (before, allocation) {
                (None, Some(new)) => (Kind::Allocated, new),
                (Some(before), None) => (Kind::Freed, before),
                (Some(_), Some(_)) | (None, None) => continue,
            };
            let nve = Some(Arc::from(&*of.owner));
            let event = Event { nve, revision, why: key.to_string(), ..Event::new(kind, authors.rest()) };
            self.sessions.events.push(Event { sequence: of.sequence, ..event });
        }
        if transaction.ends_restoration {
            let event = Event::new(Kind::RestorationEnded, authors.rest());
            self.sessions.events.push(Event { revision, ..event });
        }
    }

    /// Notes what was not told one by one.
    pub(super) fn note_rest(&mut self, now_ms: u64) {
        self.sessions.note_rest(now_ms);
        for (network, count) in self.untold.rest(now_ms) {
            let event = Event::new(Kind::MoreRegistered, By::Authority);
            let networks = network.into_iter().collect();
            self.sessions.events.push(Event { networks, count, ..event });
        }
    }

    /// What operators are to be told, before what else is to be done.
    pub(super) fn with_events(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        if self.sessions.events.is_empty() {
            return effects;
        }
        let mut events = std::mem::take(&mut self.sessions.events);
        for event in &mut events {
            match (event.key, &event.object) {
                (Some(key), _) => event.networks = self.network_of(key).into_iter().collect(),
                // What it concerns now, besides what it concerned before.
                (None, Some(object)) => {
                    let now = self.networks_of(object).into_iter();
                    let new: Vec<String> = now.filter(|name| !event.networks.contains(name)).collect();
                    event.networks.extend(new);
                }
                (None, _) => {}
            }
        }
        events.into_iter().map(Effect::Event).chain(effects).collect()
    }

    /// The name of the network that a tenant's identifier belongs to, if operators gave it one.
    fn network_of(&self, key: Key) -> Option<String> {
        let vnid = Identifier(key.identifier).vnid()?;
        self.registry.catalogue().name_of(key.sir_prefix, vnid).map(str::to_owned)
    }

    /// The networks that an object concerns.
    fn networks_of(&self, object: &ObjectKey) -> Vec<String> {
        let entry = self.registry.catalogue().entry(object);
        let own = match &object.name {
            ObjectName::Network(name) => Some(name.clone()),
            ObjectName::Policy { .. } | ObjectName::Attachment(_) => None,
        };
        let named = entry.into_iter().flat_map(|entry| entry.networks()).map(str::to_owned);
        own.into_iter().chain(named).collect()
    }
}
