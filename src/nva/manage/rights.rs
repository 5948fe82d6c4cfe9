//! What an operator of some virtual networks may change: attachments of their tenants, policies between them, moves of these
//! attachments, and what their tenants registered. The networks themselves, NVEs and tasks are for operators of everything.

use crate::config::{Entry, ObjectName};
use crate::nva::authority::Authority;
use crate::nva::catalogue::Change;
use crate::nva::mobility::Move;
use crate::nva::model::{Key, ObjectKey};
use crate::nva::registry::moving::{Judging, MoveCommand, MoveRequest, Which};
use crate::nva::scope::Sight;

/// Why an operator of some networks may not do what concerns others.
fn denied<T>(what: impl std::fmt::Display) -> Result<T, String> {
    Err(format!("{what}: an operator of some networks changes nothing of others; ask one of all"))
}

/// Whether somebody may do what concerns everything.
///
/// # Errors
/// It is an operator of some networks.
pub(super) fn of_all(sight: &Sight, what: &str) -> Result<(), String> {
    if sight.is_all() { Ok(()) } else { denied(what) }
}

/// Whether somebody may change what is known of an identifier.
///
/// # Errors
/// It is no tenant's of networks of its own.
pub(super) fn of_key(authority: &Authority, sight: &Sight, key: Key) -> Result<(), String> {
    if sight.of_key(authority.registry().catalogue(), key) { Ok(()) } else { denied(key) }
}

/// A change of an object, if somebody may do that. What an operator of some networks changes is what was looked at now:
/// somebody else may make it another network's meanwhile.
///
/// # Errors
/// It is a network, or concerns others than its own, before or afterwards.
pub(super) fn of_change(
    authority: &Authority,
    sight: &Sight,
    key: &ObjectKey,
    change: Change,
) -> Result<Change, String> {
    if sight.is_all() {
        return Ok(change);
    }
    let catalogue = authority.registry().catalogue();
    // Whose an entry of a later release is, this one cannot tell.
    let is_unread = catalogue.unread().any(|(unread, _)| unread == key);
    if matches!(key.name, ObjectName::Network(_)) || is_unread {
        return denied(key);
    }
    let before = catalogue.wanted(key);
    let new = match &change {
        Change::Add(entry, _) | Change::Set(entry, ..) => Some(entry),
        Change::Delete(_) => None,
    };
    let is_own = |entry: &Entry| match &key.name {
        ObjectName::Network(_) => false,
        // Both ends are networks, and none is outside or a task.
        ObjectName::Policy { .. } => entry.networks().len() == 2 && sight.of_all(&entry.networks()),
        ObjectName::Attachment(_) => sight.of_all(&entry.networks()),
    };
    if !new.into_iter().chain(before.map(|(entry, _)| entry)).all(is_own) {
        return denied(key);
    }
    // What is not there yet may be made by somebody else before this is judged.
    Ok(match (change, before.map(|(_, sequence)| sequence)) {
        (Change::Set(entry, text, expected), Some(seen)) => Change::Set(entry, text, expected.or(Some(seen))),
        (Change::Set(entry, text, None), None) => Change::Add(entry, text),
        (Change::Delete(expected), Some(seen)) => Change::Delete(expected.or(Some(seen))),
        (Change::Delete(_), None) => return Err(format!("there is no {key}")),
        (change @ (Change::Add(..) | Change::Set(..)), _) => change,
    })
}

/// Whether somebody may move an attachment.
///
/// # Errors
/// It is one of others.
pub(super) fn of_move(authority: &Authority, sight: &Sight, request: &MoveRequest) -> Result<(), String> {
    let MoveRequest { attachment, from, .. } = request;
    let key = ObjectKey { nve: from.clone(), name: ObjectName::Attachment(attachment.clone()) };
    let entry = authority.registry().catalogue().entry(&key);
    let is_own = entry.is_some_and(|entry| sight.of_all(&entry.networks()));
    if sight.is_all() || is_own { Ok(()) } else { denied(key) }
}

/// What somebody says of a move, if somebody may say that. An operator of some networks says it of the one that was looked
/// at now, and not of one that others begin meanwhile.
///
/// # Errors
/// It may be one of others, or there is none.
pub(super) fn of_word(
    authority: &Authority,
    sight: &Sight,
    mut said: MoveCommand,
) -> Result<MoveCommand, String> {
    if sight.is_all() {
        return Ok(said);
    }
    let is_own = |one: &Move| sight.of_all(&one.networks.iter().map(String::as_str).collect::<Vec<_>>());
    match authority.registry().find(&Judging::default(), &said.which, &said.fact) {
        Ok(id) => match authority.moves().get(id) {
            Some(one) if is_own(one) => said.which = Which::Id(id),
            Some(_) | None => return denied(format!("move {}", id.0)),
        },
        // The reason may name moves of others.
        Err(why) => {
            let is_named = |one: &&Move| match &said.which {
                Which::Id(id) => one.id == *id,
                Which::Of(attachment, _) => one.attachment == *attachment,
            };
            return if authority.moves().iter().filter(is_named).all(is_own) {
                Err(why)
            } else {
                denied("this move")
            };
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PolicyWords, ProvisionRules};
    use crate::ila::{Identifier, SirPrefix};
    use crate::nva::authority::{LIMITS, SessionLimits, Settings};
    use crate::nva::catalogue::Catalogue;
    use crate::nva::model::Object;
    use crate::nva::registry::Registry;
    use std::collections::{BTreeSet, HashMap};
    use std::sync::Arc;

    const SIR: u64 = 0x2001_0db8_dddd_0000;

    fn network(name: &str, vnid: u32) -> Entry {
        Entry::network(&format!("{{name: {name}, vnid: {vnid}, domain: tasks}}")).unwrap()
    }

    fn attachment(name: &str, network: &str) -> Entry {
        let text = format!(
            "{{name: {name}, port: a, mac: '02:00:00:00:00:0a', network: {network}, addresses: [10.0.0.5]}}"
        );
        Entry::attachment(&text).unwrap()
    }

    fn policy(from: &str, to: &str) -> Entry {
        Entry::of_policy(&PolicyWords { from: from.into(), to: to.into(), via: None }).unwrap()
    }

    fn key(entry: &Entry) -> ObjectKey {
        let nve = if matches!(entry.name(), ObjectName::Attachment(_)) { "nve1" } else { "" };
        ObjectKey { nve: nve.to_owned(), name: entry.name().clone() }
    }

    /// Networks red, blue and green, with vm1 in red and vm2 in green.
    fn authority() -> Authority {
        let entries = [
            network("red", 1),
            network("blue", 2),
            network("green", 3),
            attachment("vm1", "red"),
            attachment("vm2", "green"),
        ];
        let stored = entries
            .iter()
            .zip(5..)
            .map(|(entry, sequence)| (key(entry), Object { document: entry.written().to_owned(), sequence }));
        let rules = ProvisionRules::new([("tasks".to_owned(), SirPrefix(SIR))]);
        let registry = Registry::new(HashMap::new(), [], 9, (0, 0));
        let registry = registry.with_catalogue(Catalogue::new(rules, stored.collect::<Vec<_>>()));
        let settings = Settings {
            epoch: vec![1],
            sessions: SessionLimits::default(),
            limits: LIMITS,
            commits: crate::nva::authority::CommitRules::OWN,
            answered_before_ms: 0,
            began_unix_ms: 0,
        };
        Authority::new(settings, registry)
    }

    fn red_and_blue() -> Sight {
        let networks = ["red", "blue"].map(str::to_owned);
        Sight { networks: Some(Arc::new(BTreeSet::from(networks))) }
    }

    #[test]
    fn an_operator_of_networks_changes_their_attachments_and_policies_and_nothing_else() {
        let (authority, own, all) = (authority(), red_and_blue(), Sight::default());
        let text = |entry: &Entry| entry.written().to_owned();
        for (entry, may) in [
            (attachment("vm1", "red"), true),
            (attachment("vm1", "blue"), true),
            (attachment("vm9", "red"), true),
            (policy("red", "blue"), true),
            // What is another's, was another's, or opens a network to others.
            (attachment("vm1", "green"), false),
            (attachment("vm2", "red"), false),
            (attachment("vm9", "green"), false),
            (policy("red", "green"), false),
            (policy("red", "outside"), false),
            (policy("2001:db8:dddd:0:2000::1", "red"), false),
            (network("red", 1), false),
        ] {
            for change in
                [Change::Add(entry.clone(), text(&entry)), Change::Set(entry.clone(), text(&entry), None)]
            {
                let key = key(&entry);
                assert_eq!(of_change(&authority, &own, &key, change.clone()).is_ok(), may, "{change:?}");
                assert_eq!(of_change(&authority, &all, &key, change.clone()), Ok(change));
            }
        }
        let task = Entry::attachment(
            "{name: t, port: a, mac: '02:00:00:00:00:0b', identifiers: ['2001:db8:dddd:0:2000::1']}",
        );
        let task = task.unwrap();
        assert!(of_change(&authority, &own, &key(&task), Change::Add(task.clone(), text(&task))).is_err());
    }

    #[test]
    fn what_such_an_operator_replaces_or_deletes_is_what_was_its_own_when_that_was_judged() {
        let (authority, own) = (authority(), red_and_blue());
        let vm1 = attachment("vm1", "red");
        let delete = |expected| of_change(&authority, &own, &key(&vm1), Change::Delete(expected)).unwrap();
        assert_eq!((delete(None), delete(Some(3))), (Change::Delete(Some(8)), Change::Delete(Some(3))));
        for other in
            [attachment("vm2", "green"), attachment("vm9", "red"), network("green", 3), network("x", 9)]
        {
            assert!(of_change(&authority, &own, &key(&other), Change::Delete(None)).is_err());
        }
        // What somebody else makes meanwhile is not replaced.
        let new = attachment("vm9", "red");
        let set = Change::Set(new.clone(), new.written().to_owned(), None);
        let add = Change::Add(new.clone(), new.written().to_owned());
        assert_eq!(of_change(&authority, &own, &key(&new), set), Ok(add));
    }

    #[test]
    fn identifiers_and_what_concerns_everything_are_for_those_whose_they_are() {
        let (authority, own, all) = (authority(), red_and_blue(), Sight::default());
        let tenant = |vnid| Key { sir_prefix: SIR, identifier: Identifier::tenant_ipv4(vnid, 5).0 };
        let may = |sight: &Sight, key| of_key(&authority, sight, key).is_ok();
        let task = Key { sir_prefix: SIR, identifier: 1 << 61 | 1 };
        assert_eq!(
            [tenant(1), tenant(3), tenant(9), task].map(|key| may(&own, key)),
            [true, false, false, false]
        );
        assert!([tenant(1), tenant(9), task].into_iter().all(|key| may(&all, key)));
        assert!(of_all(&all, "resume").is_ok() && of_all(&own, "resume").is_err());
    }
}
