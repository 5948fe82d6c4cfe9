//! Groups for hot failover (VMM draft §8): what an operator may declare, and the one transaction by which the identifiers
//! of a group go to another member. It needs nothing of the one that had them.

use super::{Draft, Record, Refusal, Registry};
use crate::config::ObjectName;
use crate::nva::failover::{
    Cause, Group, GroupKind, GroupRequest, GroupRules, GroupWish, Groups, Member, MemberRequest, MemberState,
};
use crate::nva::mobility::Moment;
use crate::nva::model::{Choice, Key, MAX_LOCATORS, Object, ObjectKey, Transaction};
use std::collections::BTreeSet;

/// Names of groups that fail over, and why.
pub(in crate::nva) type Failovers = Vec<(String, Cause)>;

/// Identifiers of an attachment with a group, at most: they go to another member in one transaction.
const MAX_KEYS: usize = 64;
/// Members of a group, at most: each may have a locator in a mapping.
const MAX_MEMBERS: usize = MAX_LOCATORS;
/// What a change of one group writes at most.
const GROUP_WRITES: usize = MAX_KEYS + MAX_MEMBERS + 1;

/// Whether an NVE has a session, here or at another authority, takes groups, and does not refuse this attachment.
pub(in crate::nva) type Takes<'p> = &'p dyn Fn(&str, &str) -> bool;
/// Whether an NVE is lost.
pub(in crate::nva) type IsLost<'p> = &'p dyn Fn(&str) -> bool;

/// What a group becomes: records, objects and the group.
#[derive(Debug, Default)]
struct Changed {
    draft: Draft,
    objects: Vec<(ObjectKey, Option<Object>)>,
    groups: Vec<(String, Option<Group>)>,
}

impl Changed {
    fn len(&self) -> usize {
        self.draft.len() + self.objects.len() + self.groups.len()
    }

    fn finish(self) -> Transaction {
        let Changed { draft, objects, groups } = self;
        Transaction { objects, groups, ..draft.finish().unwrap_or_default() }
    }
}

impl Registry {
    /// The same with the groups of a store.
    #[must_use]
    pub fn with_groups(mut self, rules: GroupRules, stored: Vec<Group>) -> Self {
        self.groups = Groups::new(rules, stored);
        let places: Vec<_> = self.groups.iter().map(Group::clone).collect();
        places.iter().for_each(|group| self.expect_group(group));
        self
    }

    /// All groups.
    #[must_use]
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Whether an operator may change what is wanted at an NVE.
    pub(super) fn is_of_no_group(&self, key: &ObjectKey) -> Result<(), String> {
        let ObjectName::Attachment(name) = &key.name else { return Ok(()) };
        match self.groups.of_attachment(&key.nve, name) {
            Some(Group { name, .. }) => Err(format!(
                "{key} is that of group {name}; delete that first: ilactl nva group delete {name}"
            )),
            None => Ok(()),
        }
    }

    /// Whether an operator may release an identifier by itself.
    pub(super) fn is_released_alone(&self, key: Key) -> Result<(), Refusal> {
        let Some(Group { name, .. }) = self.groups.of_key(key) else { return Ok(()) };
        let why = format!("{key} is that of group {name}; delete that first: ilactl nva group delete {name}");
        Err(Refusal { owner: None, sequence: 0, why, temporary: false })
    }

    /// The NVEs whose view changes with these groups.
    pub(super) fn members_of(&self, groups: &[(String, Option<Group>)]) -> BTreeSet<String> {
        let all = groups.iter().flat_map(|(name, group)| group.iter().chain(self.groups.get(name)));
        all.flat_map(|group| &group.members).map(|member| member.nve.clone()).collect()
    }

    /// The sequence of an identifier that an NVE shares with others: what it registers of it changes nothing.
    pub(super) fn shared(&self, draft: &Draft, nve: &str, key: Key) -> Option<u64> {
        self.groups.shares(nve, key)?;
        self.seen(draft, key).filter(|record| record.is_held()).map(|record| record.sequence)
    }

    /// Whether an identifier is that of a group that an NVE is a member of.
    pub(super) fn is_grouped(&self, nve: &str, key: Key) -> bool {
        self.groups.of_key(key).is_some_and(|group| group.member(nve).is_some())
    }

    /// Takes over groups that are durable. Gives their identifiers: they do not go to and fro by themselves.
    pub(super) fn apply_groups(&mut self, groups: &[(String, Option<Group>)]) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        for (name, now) in groups {
            let before = self.groups.apply(name, now.as_ref());
            for group in before.iter() {
                keys.extend(&group.keys);
                let places = group.members.iter().map(|member| place(&member.nve, &group.attachment));
                places.for_each(|place| self.catalogue.expects_no_more(&place));
            }
            for group in now.iter() {
                keys.extend(&group.keys);
                self.expect_group(group);
            }
        }
        keys
    }

    /// The places of standbys are taken, and the addresses are those of all that have them.
    fn expect_group(&mut self, group: &Group) {
        for member in &group.members {
            let place = place(&member.nve, &group.attachment);
            match member.state {
                MemberState::Standby => self.catalogue.expect(place, &member.document),
                MemberState::Active => self.catalogue.claim_again(&place),
            }
        }
    }

    /// Judges what an operator wants of groups. Gives the sequence of the group afterwards, and the transaction.
    ///
    /// # Errors
    /// It cannot be, with the way out.
    pub(in crate::nva) fn judge_group(
        &mut self,
        wish: &GroupWish,
        (who, unix_ms): (&str, u64),
        takes: Takes<'_>,
    ) -> Result<(u64, Transaction), String> {
        let mut changed = Changed::default();
        let moment = |what: &str, how: String| Moment {
            at_ms: unix_ms,
            what: what.to_owned(),
            by: who.to_owned(),
            how,
        };
        match wish {
            GroupWish::Add(request) => {
                let mut group = self.declared(request, unix_ms, takes)?;
                let members: Vec<&str> = group.members.iter().map(|member| member.nve.as_str()).collect();
                let how = format!("{} at {}", group.kind.word(), members.join(", "));
                group.note(moment("declared", how));
                let before: BTreeSet<String> =
                    group.members.iter().take(1).map(|it| it.nve.clone()).collect();
                match group.kind {
                    GroupKind::Primary => changed.groups.push((group.name.clone(), Some(group))),
                    GroupKind::Shared => self.regroup(&mut changed, &before, group)?,
                }
            }
            GroupWish::Delete(name) => {
                let group = self.group(name)?;
                let before: BTreeSet<String> = group.active().map(|member| member.nve.clone()).collect();
                if before.len() > 1 {
                    // It stays at one NVE, as any other attachment.
                    let mut last = group.clone();
                    let owner = group.owner().to_owned();
                    last.members.retain(|member| member.nve == owner);
                    last.kind = GroupKind::Primary;
                    let gone = before.iter().filter(|nve| **nve != owner);
                    changed.objects.extend(gone.map(|nve| (place(nve, &group.attachment), None)));
                    self.regroup(&mut changed, &BTreeSet::from([owner]), last)?;
                    changed.groups.clear();
                }
                changed.groups.push((name.clone(), None));
            }
            GroupWish::Return(name, member) => {
                let group = self.group(name)?;
                let before: BTreeSet<String> = group.active().map(|member| member.nve.clone()).collect();
                let (next, how) = returned(group, member.as_deref(), takes)?;
                let mut next = next;
                next.note(moment("returned", how));
                next.since_ms = unix_ms;
                self.regroup(&mut changed, &before, next)?;
            }
        }
        Ok((self.revision + 1, changed.finish()))
    }

    fn group(&self, name: &str) -> Result<&Group, String> {
        self.groups.get(name).ok_or_else(|| {
            let name: String = name.chars().take(64).collect();
            format!("there is no group `{}`; `ilactl nva group list` shows what is", name.escape_debug())
        })
    }

    /// What an operator declares.
    fn declared(&mut self, request: &GroupRequest, unix_ms: u64, takes: Takes<'_>) -> Result<Group, String> {
        let GroupRequest { name, attachment, kind, members } = request;
        if self.restoration.is_some() {
            return Err("the registry was restored from a backup and may lack who has what; wait: `ilactl nva status` \
                        tells for whom"
                .to_owned());
        }
        if self.groups.get(name).is_some() {
            return Err(format!("there is a group {name} already; delete it first, or take another name"));
        }
        let Some(first) = members.first().filter(|_| (2..=MAX_MEMBERS).contains(&members.len())) else {
            return Err(format!("{} members; name 2 to {MAX_MEMBERS} NVEs", members.len()));
        };
        let source = place(&first.nve, attachment);
        let Some(entry) = self.catalogue.entry(&source).cloned() else {
            return Err(format!(
                "no {source} is wanted; the attachment stands at the first member: `ilactl nva attachment list` shows what is"
            ));
        };
        let moves = self.moves.of(&first.nve).any(|one| one.attachment == *attachment);
        if moves {
            return Err(format!("{source} moves; wait until that is over: ilactl vm show {attachment}"));
        }
        let keys = self.catalogue.keys_of(&entry)?;
        if keys.is_empty() || keys.len() > MAX_KEYS {
            let count = keys.len();
            return Err(format!("{source} has {count} identifiers; one with a group has 1 to {MAX_KEYS}"));
        }
        for key in &keys {
            let owner = self.records.get(key).filter(|record| record.is_held()).map(|record| &record.owner);
            if owner.is_none_or(|owner| *owner != first.nve) {
                return Err(format!(
                    "{key} is not registered by {} yet; wait until it is attached there",
                    first.nve
                ));
            }
        }
        let mut all = Vec::new();
        for (n, MemberRequest { nve, port, vlan, weight }) in members.iter().enumerate() {
            self.judge_member(request, n, &keys, takes)?;
            let document = match (n, port) {
                (0, _) => entry.written().to_owned(),
                (_, port) => {
                    let summary = entry.summary();
                    let own_vlan = summary.vlan.as_ref().and_then(|vlan| vlan.parse().ok());
                    let vlan = if port.is_some() { *vlan } else { vlan.or(own_vlan) };
                    let placed = entry.placed(port.as_deref().unwrap_or(&summary.port), vlan)?;
                    let target = place(nve, attachment);
                    self.catalogue.judge_target(&self.nves, (&source, &target), &placed, self.revision)?;
                    placed.written().to_owned()
                }
            };
            let state = match (kind, n) {
                (GroupKind::Shared, _) | (GroupKind::Primary, 0) => MemberState::Active,
                (GroupKind::Primary, _) => MemberState::Standby,
            };
            all.push(Member { nve: nve.clone(), document, weight: *weight, state });
        }
        Ok(Group {
            name: name.clone(),
            attachment: attachment.clone(),
            kind: *kind,
            members: all,
            networks: entry.networks().into_iter().map(str::to_owned).collect(),
            keys,
            sequence: self.revision + 1,
            since_ms: unix_ms,
            failovers: 0,
            timeline: Vec::new(),
        })
    }

    /// Whether an NVE may be the `n`th member.
    fn judge_member(
        &self,
        GroupRequest { attachment, members, .. }: &GroupRequest,
        n: usize,
        keys: &[Key],
        takes: Takes<'_>,
    ) -> Result<(), String> {
        let Some(MemberRequest { nve, .. }) = members.get(n) else { return Ok(()) };
        let Some(known) = self.nves.get(nve) else {
            let nve: String = nve.chars().take(64).collect();
            return Err(format!("`{}` is no NVE of this authority; add it to nves", nve.escape_debug()));
        };
        if members.iter().take(n).any(|other| other.nve == *nve) {
            return Err(format!("{nve} is named twice; each NVE is one member"));
        }
        if let Some(other) = self.groups.of_attachment(nve, attachment) {
            return Err(format!(
                "{attachment} at {nve} is that of group {} already; delete it first",
                other.name
            ));
        }
        let most = self.groups.rules().per_nve;
        if self.groups.count_of(nve) >= most {
            return Err(format!("{nve} is a member of {most} groups; delete some, or raise groups.per_nve"));
        }
        if !takes(nve, attachment) {
            return Err(format!(
                "{nve} has no session, or is of a release without groups; wait until it comes back, or update it"
            ));
        }
        for key in keys {
            if self.locators_in(nve, key.sir_prefix).next().is_none() {
                return Err(format!(
                    "{nve} has no locator in the SIR domain of {key}; add one to nves[].locators, or have one allocated: ilactl nva locator add {nve}"
                ));
            }
        }
        // What standbys may get has its place there.
        let coming = self.groups.of(nve).filter(|group| !group.is_active(nve));
        let coming: usize = coming.map(|group| group.keys.len()).sum();
        let more = if n == 0 { 0 } else { keys.len() };
        if self.count_of(nve) + coming + more > known.max_identifiers {
            return Err(format!(
                "{nve} might have more than the {} identifiers that it may have; raise nves[].max_identifiers",
                known.max_identifiers
            ));
        }
        Ok(())
    }

    /// Judges the failover of these groups, as many as become durable together. Gives the transaction, which of them fail
    /// over, and those that were not judged.
    pub(in crate::nva) fn judge_failovers(
        &self,
        wanted: Failovers,
        (is_lost, takes): (IsLost<'_>, Takes<'_>),
        most: usize,
        unix_ms: u64,
    ) -> (Transaction, Failovers, Failovers) {
        let (mut changed, mut done, mut rest) = (Changed::default(), Vec::new(), Vec::new());
        for (name, cause) in wanted {
            if changed.len() > 0 && changed.len() + GROUP_WRITES > most {
                rest.push((name, cause));
                continue;
            }
            let Some(group) = self.groups.get(&name) else { continue };
            let Some((mut next, how)) = without_lost(group, is_lost, takes) else { continue };
            let before: BTreeSet<String> = group.active().map(|member| member.nve.clone()).collect();
            next.failovers += 1;
            next.since_ms = unix_ms;
            let how = format!("{}: {how}", cause.word());
            next.note(Moment { at_ms: unix_ms, what: "failed over".to_owned(), by: String::new(), how });
            if self.regroup(&mut changed, &before, next).is_ok() {
                done.push((name, cause));
            }
        }
        (changed.finish(), done, rest)
    }

    /// Whether a group would fail over now.
    pub(in crate::nva) fn may_fail_over(&self, group: &Group, is_lost: IsLost<'_>, takes: Takes<'_>) -> bool {
        without_lost(group, is_lost, takes).is_some()
    }

    /// Gives the identifiers of a group to those of its members that are to have them; `before` had them.
    fn regroup(
        &self,
        changed: &mut Changed,
        before: &BTreeSet<String>,
        mut next: Group,
    ) -> Result<(), String> {
        let mut records = Vec::new();
        for key in &next.keys {
            let record = self.seen(&changed.draft, *key);
            let mut choices = Vec::new();
            for member in next.active() {
                let locators = self.locators_in(&member.nve, key.sir_prefix);
                let choice = |locator| Choice { locator, priority: 0, weight: member.weight };
                match next.kind {
                    GroupKind::Primary => {
                        choices.extend(locators.map(|it| Choice { weight: 1, ..choice(it) }))
                    }
                    GroupKind::Shared => choices.extend(locators.min().map(choice)),
                }
            }
            choices.sort_unstable();
            choices.truncate(MAX_LOCATORS);
            if choices.is_empty() {
                return Err(format!("{} has no locator in the SIR domain of {key} any more", next.owner()));
            }
            let (mac, held) = (record.and_then(|it| it.mac), record.filter(|it| it.is_held()));
            let owner = next.owner().into();
            let had = held.map(|it| it.owner.clone());
            let sequence = self.next_sequence(*key);
            let since = record.map_or(sequence, |record| record.since);
            records.push((had, *key, Record { choices, owner, sequence, mac, since }));
        }
        for (had, key, record) in records {
            had.iter().for_each(|had| changed.draft.count(had, key, -1));
            changed.draft.count(&record.owner, key, 1);
            changed.draft.writes.insert(key, record);
        }
        // It leaves before it comes: an address has one attachment, unless it is shared.
        for member in &next.members {
            let place = place(&member.nve, &next.attachment);
            match (before.contains(&member.nve), member.state) {
                (true, MemberState::Standby) => changed.objects.push((place, None)),
                (false, MemberState::Active) => {
                    let (document, sequence) = (member.document.clone(), self.revision + 1);
                    changed.objects.push((place, Some(Object { document, sequence })));
                }
                (true, MemberState::Active) | (false, MemberState::Standby) => {}
            }
        }
        next.sequence = self.revision + 1;
        changed.groups.push((next.name.clone(), Some(next)));
        Ok(())
    }
}

/// A group without its lost members, if somebody is there who has the identifiers then; and what happens.
fn without_lost(group: &Group, is_lost: IsLost<'_>, takes: Takes<'_>) -> Option<(Group, String)> {
    let lost: Vec<String> =
        group.active().filter(|member| is_lost(&member.nve)).map(|member| member.nve.clone()).collect();
    if lost.is_empty() {
        return None;
    }
    let mut next = group.clone();
    for member in next.members.iter_mut().filter(|member| lost.contains(&member.nve)) {
        member.state = MemberState::Standby;
    }
    // What is shared stays with those that are left; without any, a standby has it.
    if next.active().next().is_none() {
        let is_next = |member: &&mut Member| {
            !lost.contains(&member.nve) && !is_lost(&member.nve) && takes(&member.nve, &group.attachment)
        };
        next.members.iter_mut().find(is_next)?.state = MemberState::Active;
    }
    let now: Vec<&str> = next.active().map(|member| member.nve.as_str()).collect();
    let how = (!now.is_empty()).then(|| format!("{} is lost; {} has it", lost.join(", "), now.join(", ")))?;
    Some((next, how))
}

/// A group with its identifiers back where they were declared to be, or also at this member; and what happens.
fn returned(group: &Group, to: Option<&str>, takes: Takes<'_>) -> Result<(Group, String), String> {
    let name = &group.name;
    if let Some(to) = to
        && group.member(to).is_none()
    {
        return Err(format!(
            "{to} is no member of group {name}; `ilactl nva group show {name}` shows who is"
        ));
    }
    let first = group.members.first().map_or("", |member| member.nve.as_str());
    let wanted: Vec<&str> = match (group.kind, to) {
        (_, Some(to)) => vec![to],
        (GroupKind::Primary, None) => vec![first],
        (GroupKind::Shared, None) => group.members.iter().map(|member| member.nve.as_str()).collect(),
    };
    let coming: Vec<&str> = wanted
        .into_iter()
        .filter(|nve| !group.is_active(nve))
        .filter(|nve| to.is_some() || takes(nve, &group.attachment))
        .collect();
    if let Some(away) = coming.iter().find(|nve| !takes(nve, &group.attachment)) {
        return Err(format!(
            "{away} has no session, or refuses it; wait until it comes back, or see `ilactl nva nves`"
        ));
    }
    if coming.is_empty() {
        let why = if group.is_as_declared() || to.is_some() { "is there already" } else { "has no session" };
        return Err(format!("nothing of group {name} returns: {} {why}", to.unwrap_or(first)));
    }
    let mut next = group.clone();
    for member in &mut next.members {
        if coming.contains(&member.nve.as_str()) {
            member.state = MemberState::Active;
        } else if group.kind == GroupKind::Primary {
            member.state = MemberState::Standby;
        }
    }
    Ok((next, format!("to {}", coming.join(", "))))
}

/// An attachment at an NVE.
fn place(nve: &str, attachment: &str) -> ObjectKey {
    ObjectKey { nve: nve.to_owned(), name: ObjectName::Attachment(attachment.to_owned()) }
}
