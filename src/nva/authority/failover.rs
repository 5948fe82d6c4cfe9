//! Groups for hot failover: which NVEs are lost, the brake, and what operators want.

use super::{Authority, Effect};
use crate::nva::event::{By, Event, Kind};
use crate::nva::failover::{
    BrakeTurn as Turn, Braked, Cause, Group, GroupCounts, GroupWish, Groups, Vanished,
};
use crate::nva::message::Ticket;
use crate::nva::model::Transaction;
use std::sync::Arc;

impl Authority {
    /// All groups.
    #[must_use]
    pub fn groups(&self) -> &Groups {
        self.registry.groups()
    }

    /// What became of them.
    #[must_use]
    pub fn group_counts(&self) -> &GroupCounts {
        self.commits.group_counts()
    }

    /// Why nobody fails over, if that is so, and how often it was.
    #[must_use]
    pub fn brake(&self) -> (Option<&Braked>, u64) {
        (self.sessions.brake.braked(), self.sessions.brake.count())
    }

    /// Whether an NVE has a session, here or at another authority.
    #[must_use]
    pub fn has_session(&self, nve: &str) -> bool {
        self.sessions.of(nve).is_some() || self.elsewhere.nves().contains_key(nve)
    }

    /// Why an NVE refuses an attachment.
    #[must_use]
    pub fn refuses(&self, nve: &str, attachment: &str) -> Option<&str> {
        self.sessions.refuses(nve, attachment)
    }

    /// An operator wants something of groups.
    pub(super) fn wish_of_group(&mut self, ticket: Ticket, who: String, wish: GroupWish) {
        self.commits.wish(ticket, who, wish);
    }

    /// An operator says that those that vanished are lost.
    pub(super) fn release_brake(&mut self, ticket: Ticket, now_ms: u64) {
        let released = self.sessions.brake.release().map(|count| (count as u64, self.registry.revision()));
        if let Ok((count, _)) = released {
            let event = Event::new(Kind::FailoverUnbraked, By::Operator(ticket));
            self.sessions.events.push(Event { count, ..event });
        }
        self.effects.push(Effect::Released(ticket, released));
        self.fail_over(now_ms);
    }

    /// When the next NVE counts as lost that is a member of a group.
    pub(super) fn failover_due_ms(&self) -> Option<u64> {
        let groups = self.registry.groups();
        if groups.is_empty() { None } else { self.sessions.silence.next_due_ms(groups.nves(), self.now_ms) }
    }

    /// Has the groups fail over whose members are lost, unless too many NVEs are.
    pub(super) fn fail_over(&mut self, now_ms: u64) {
        // A registry that was restored may lack who has what.
        if self.registry.groups().is_empty() || self.registry.restoration().is_some() {
            return;
        }
        let lost = self.lost(now_ms);
        self.judge_brake(&lost, now_ms);
        if lost.is_empty() || self.sessions.brake.braked().is_some() {
            return;
        }
        let is_lost = |nve: &str| lost.iter().any(|(lost, _)| **lost == *nve);
        let takes = |nve: &str, attachment: &str| {
            self.sessions.takes_group(nve, attachment) || self.elsewhere.nves().contains_key(nve)
        };
        for (nve, _) in &lost {
            let cause = self.sessions.silence.cause(nve).unwrap_or(Cause::Lease);
            let groups = self.registry.groups().of(nve).filter(|group| group.is_active(nve));
            let groups = groups.filter(|group| self.registry.may_fail_over(group, &is_lost, &takes));
            groups.for_each(|group| self.commits.fail_over(&group.name, cause));
        }
    }

    /// The members of groups whose lease is over, and when they were heard last.
    fn lost(&self, now_ms: u64) -> Vec<Vanished> {
        let silence = &self.sessions.silence;
        let is_lost = |nve: &&str| silence.is_lost(nve, now_ms) && !self.elsewhere.nves().contains_key(*nve);
        let lost = self.registry.groups().nves().filter(is_lost);
        lost.filter_map(|nve| Some((Arc::from(nve), silence.heard_ms(nve)?))).collect()
    }

    fn judge_brake(&mut self, lost: &[Vanished], now_ms: u64) {
        // One that was never there did not vanish.
        let (registry, silence) = (&self.registry, &self.sessions.silence);
        let was_there = |nve: &str| {
            silence.cause(nve) == Some(Cause::Lease)
                || registry.count_of(nve) > 0
                || registry.groups().count_of(nve) > 0
        };
        let away = silence.iter().filter(|(nve, _)| was_there(nve));
        let mut vanished: Vec<Vanished> = away.map(|(nve, heard_ms)| (nve.clone(), heard_ms)).collect();
        vanished.extend(self.sessions.silent(now_ms));
        let nves = self.sessions.count() + silence.iter().filter(|(nve, _)| was_there(nve)).count();
        let rules = self.registry.groups().rules().brake;
        let turn = self.sessions.brake.judge(&rules, lost, &vanished, nves, now_ms);
        let event = match turn {
            None => return,
            Some(Turn::On(count, limit)) => {
                let named: Vec<&str> = vanished.iter().map(|(nve, _)| &**nve).take(10).collect();
                let why = format!(
                    "{count} NVEs vanished within {} ms, and {limit} may: {}",
                    rules.within_ms,
                    named.join(", ")
                );
                let event = Event::new(Kind::FailoverBraked, By::Authority);
                Event { count: count as u64, why, ..event }
            }
            Some(Turn::Off) => {
                let why = "enough of those that vanished are back".to_owned();
                Event { why, ..Event::new(Kind::FailoverUnbraked, By::Authority) }
            }
        };
        self.sessions.events.push(event);
    }

    /// Tells operators what a transaction does to groups. It is not applied yet.
    pub(super) fn tell_groups(&mut self, transaction: &Transaction, by: &By) {
        for (name, now) in &transaction.groups {
            let before = self.registry.groups().get(name);
            let Some((kind, group, why)) = what_happened(before, now.as_ref()) else { continue };
            let revision = self.registry.revision() + 1;
            let nve = Some(Arc::from(group.owner()));
            let (why, networks) = (format!("group {name}: {why}"), group.networks.clone());
            self.sessions.events.push(Event { nve, networks, revision, why, ..Event::new(kind, by.clone()) });
        }
    }

    /// Notes what a transaction did to groups. It is applied; `before` is what they were.
    pub(super) fn note_groups(&mut self, transaction: &Transaction, before: &[Group]) {
        let now = transaction.groups.iter().filter_map(|(_, group)| group.as_ref());
        self.sessions.note_groups(now.chain(before));
    }
}

/// What operators are told of a group.
fn what_happened<'g>(before: Option<&'g Group>, now: Option<&'g Group>) -> Option<(Kind, &'g Group, String)> {
    let last = |group: &Group| group.timeline.last().map(|moment| moment.how.clone()).unwrap_or_default();
    match (before, now) {
        (None, None) => None,
        (None, Some(now)) => Some((Kind::GroupDeclared, now, last(now))),
        (Some(before), None) => Some((Kind::GroupDeleted, before, format!("it is at {}", before.owner()))),
        (Some(before), Some(now)) if now.failovers > before.failovers => {
            Some((Kind::FailedOver, now, last(now)))
        }
        (Some(_), Some(now)) => Some((Kind::GroupReturned, now, last(now))),
    }
}
