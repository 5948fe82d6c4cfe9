//! One session as the authority sees it, and what it is told next. It holds no mapping: a slow NVE costs a key or a
//! revision, and what it is not told yet is read from the registry and the log when it has room.

mod finds;
mod groups;

use super::bucket::Bucket;
use super::drift::{Drift, REPAIRED};
use super::event::{By, Event, Kind};
use super::failover::Grouping;
use super::interest::{Asked, Interests, NEGATIVE_LIFETIME_MS, Watchers};
use super::log::{Log, Pages};
use super::message::{Down, Encoded, Modes, QUERIES, SessionId};
use super::mobility::Moving;
use super::model::{Key, Known, Network};
use super::provision::Provisioning;
use super::registry::{Claim, Registry};
use super::throttle::Throttle;
use crate::ila::generate::Registrar;
use crate::mapping::{Parts, Scopes};
use crate::net::Mac;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// What one NVE may take, over all its sessions.
#[derive(Debug)]
pub(super) struct Allowance {
    pub(super) snapshots: Bucket,
    pub(super) requests: Bucket,
    pub(super) queries: Bucket,
    pub(super) triangles: Bucket,
    pub(super) moves: Bucket,
    pub(super) reports: Bucket,
}

/// What an NVE asks for.
#[derive(Debug)]
pub(super) enum Request {
    Register(Claim),
    Unregister(Key),
    /// Everything that it has was registered before.
    Complete,
    /// A block of identifiers in a SIR domain, and the one that it had.
    LeaseBlock(u64, Option<Registrar>),
    /// Its block in a SIR domain is taken back.
    ReturnBlock(u64),
    /// Addresses of an attachment, by its name, whose tenant asked by RARP.
    Address(String),
}

/// How far an NVE follows the registry.
#[derive(Debug)]
enum Following {
    /// It did not subscribe.
    Nothing,
    /// It goes on from what it has.
    Resuming,
    /// A snapshot is to begin, for this reason.
    Due(String),
    /// It was told of the keys up to this one, and of nothing that came after revision `since`.
    Pages { after: Option<Key>, since: u64, parts: Option<Arc<Parts>> },
    /// It was told of all keys, and of nothing that came after this revision.
    Rest(u64),
    /// It has everything up to the revision that was sent.
    Live,
    /// It follows what it asked for, and nothing else.
    Asked(Box<Interests>),
}

/// What all sessions share.
pub(super) struct Shared<'a> {
    pub(super) registry: &'a Registry,
    pub(super) log: &'a Log,
    pub(super) pages: &'a mut Pages,
    pub(super) watchers: &'a mut Watchers,
    pub(super) asked: &'a mut Asked,
    pub(super) lifetime_ms: u32,
    /// Whether a page of some parts was made in this step: it looks at many keys, and the next one waits until the one
    /// before has left.
    pub(super) has_looked: bool,
}

/// A question by MAC address.
#[derive(Debug)]
struct Find {
    id: u64,
    network: Network,
    macs: Vec<Mac>,
    /// Why it is told nothing.
    why: Option<String>,
}

#[derive(Debug)]
pub(super) struct Session {
    /// The name that a certificate proves.
    pub(super) proved: Option<String>,
    /// Once it said who it is.
    pub(super) nve: Option<Arc<str>>,
    pub(super) heard_ms: u64,
    /// It ends when nothing comes for so long: what it was told, whatever is configured since.
    pub(super) lease_ms: u32,
    /// Everything up to this revision is in force there.
    pub(super) applied: u64,
    /// Requests that were not judged, each with what the answer repeats; none if nobody waits for one.
    pub(super) asked: VecDeque<(Option<u64>, Request)>,
    /// Requests whose answer was not sent.
    pub(super) waiting: usize,
    /// What it has and registered in this session, until it said that this is all.
    pub(super) claimed: Option<BTreeSet<Key>>,
    /// The SIR prefixes in which it leased a block.
    pub(super) leased: BTreeSet<u64>,
    /// Whether it said so.
    pub(super) complete: bool,
    answers: VecDeque<Down<Encoded>>,
    beat: bool,
    /// Whether an answer is next, if both an answer and news could be sent.
    answer_next: bool,
    following: Following,
    scopes: Scopes,
    takes_redirects: bool,
    /// Once it said that it takes what operators want.
    pub(super) provisioning: Option<Box<Provisioning>>,
    /// If it takes digests.
    pub(super) drift: Option<Box<Drift>>,
    /// If it takes moves.
    pub(super) moving: Option<Box<Moving>>,
    /// If it takes groups.
    pub(super) grouping: Option<Box<Grouping>>,
    /// Those that it takes.
    pub(super) modes: Modes,
    /// Everything up to this revision was sent.
    sent: u64,
    in_flight: usize,
    /// The revision of the registry when it subscribed.
    pub(super) subscribed_at: Option<u64>,
    /// Questions by MAC address that wait for their answers.
    finds: VecDeque<Find>,
    /// How much of it operators are told.
    pub(super) refusals: Throttle,
    pub(super) registrations: Throttle,
}

impl Session {
    pub(super) fn new(proved: Option<String>, lease_ms: u32, now_ms: u64) -> Self {
        Session {
            proved,
            nve: None,
            heard_ms: now_ms,
            lease_ms,
            applied: 0,
            asked: VecDeque::new(),
            waiting: 0,
            claimed: Some(BTreeSet::new()),
            leased: BTreeSet::new(),
            complete: false,
            answers: VecDeque::new(),
            beat: false,
            answer_next: true,
            following: Following::Nothing,
            scopes: Scopes::default(),
            takes_redirects: false,
            provisioning: None,
            drift: None,
            moving: None,
            grouping: None,
            modes: Modes::default(),
            sent: 0,
            in_flight: 0,
            subscribed_at: None,
            finds: VecDeque::new(),
            refusals: Throttle::of_refusals(),
            registrations: Throttle::of_registrations(),
        }
    }

    /// Notes what the NVE has and wants.
    ///
    /// # Errors
    /// It said so before; or it has more than this authority, of several that share a store: it must not go back in time,
    /// and waits until this one has read on, or goes to another one.
    pub(super) fn subscribe(
        &mut self,
        known: Option<Known>,
        scopes: Scopes,
        epoch: &[u8],
        log: &Log,
        is_shared: bool,
    ) -> Result<(), String> {
        if !matches!(self.following, Following::Nothing) {
            return Err("a second Subscribe".to_owned());
        }
        self.scopes = scopes;
        let now = log.revision();
        self.subscribed_at = Some(now);
        self.following = match known {
            None => Following::Due("the NVE has nothing yet".to_owned()),
            Some(known) if known.epoch != epoch => {
                Following::Due("the NVE has mappings of another history of the registry".to_owned())
            }
            Some(Known { revision, .. }) if revision > now && is_shared => {
                return Err(format!(
                    "this authority is behind: it has revision {now}, and the NVE {revision}"
                ));
            }
            Some(Known { revision, .. }) if revision > now => {
                Following::Due(format!("the NVE has revision {revision}, and this authority {now}"))
            }
            Some(Known { revision, .. }) if !log.holds_after(revision) => {
                Following::Due(beyond(revision, now))
            }
            Some(Known { revision, .. }) => {
                (self.sent, self.applied) = (revision, revision);
                Following::Resuming
            }
        };
        Ok(())
    }

    /// What it did that operators were not told one by one, if it is time to say so, or its end.
    pub(super) fn untold(
        &mut self,
        id: SessionId,
        now_ms: Option<u64>,
    ) -> impl Iterator<Item = Event> + use<> {
        let by = By::Session(id, self.nve.clone());
        let nve = self.nve.clone();
        let throttles =
            [(Kind::MoreRefused, &mut self.refusals), (Kind::MoreRegistered, &mut self.registrations)];
        let rest = throttles.map(|(kind, throttle)| {
            let untold = match now_ms {
                Some(now_ms) => throttle.rest(now_ms),
                None => throttle.all(),
            };
            (kind, untold)
        });
        let all = rest.into_iter().flat_map(|(kind, untold)| untold.into_iter().map(move |it| (kind, it)));
        all.map(move |(kind, (network, count))| {
            let networks = network.into_iter().collect();
            Event { nve: nve.clone(), networks, count, ..Event::new(kind, by.clone()) }
        })
    }

    /// What it asked for, if it asks.
    pub(super) fn interests_mut(&mut self) -> Option<&mut Interests> {
        match &mut self.following {
            Following::Asked(interests) => Some(interests),
            _ => None,
        }
    }

    /// The NVE will ask, and takes redirects.
    pub(super) fn will_ask(&mut self) {
        self.following = Following::Asked(Box::default());
        self.takes_redirects = true;
    }

    /// Notes that the NVE sends to an identifier by an ILA router. Gives whether it will be told where that is.
    pub(super) fn redirect(&mut self, key: Key, lifetime_ms: u32, now_ms: u64) -> bool {
        match &mut self.following {
            Following::Asked(interests) if self.takes_redirects => {
                interests.redirect(key, lifetime_ms, now_ms)
            }
            _ => false,
        }
    }

    /// Notes what the NVE asks for. Gives whether it may.
    pub(super) fn ask(&mut self, id: u64, keys: Vec<Key>) -> bool {
        if matches!(self.following, Following::Nothing) {
            self.following = Following::Asked(Box::default());
        }
        match &mut self.following {
            Following::Asked(interests) => interests.ask(id, keys),
            _ => false,
        }
    }

    /// Whether it asks, and does not follow everything.
    pub(super) fn asks(&self) -> bool {
        matches!(self.following, Following::Asked(_))
    }

    /// Whether it waits for the answer to a query.
    pub(super) fn is_asking(&self) -> bool {
        matches!(&self.following, Following::Asked(interests) if interests.is_asking())
    }

    /// It is to be told that the authority is alive.
    pub(super) fn beat(&mut self) {
        self.beat = true;
    }

    /// A request is answered by this.
    pub(super) fn answer(&mut self, answer: Down<Encoded>) {
        self.answers.push_back(answer);
    }

    /// So much of what was sent has left.
    pub(super) fn ready(&mut self, weight: usize) {
        self.in_flight = self.in_flight.saturating_sub(weight);
    }

    /// Notes a message that is sent whether there is room or not.
    pub(super) fn sent(&mut self, down: &Down<Encoded>) {
        self.in_flight += down.weight();
    }

    /// Whether it is told of every transaction at once.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.following, Following::Live)
    }

    /// Whether there is something to send as time passes: a snapshot that waits until the NVE may have another one, the
    /// answer to a query, or a digest.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        let drift = self.drift.as_ref();
        self.is_asking()
            || !self.finds.is_empty()
            || matches!(self.following, Following::Due(_) | Following::Pages { parts: Some(_), .. })
            || drift.is_some_and(|drift| drift.asked.is_some() || drift.is_due(now_ms))
    }

    /// Parts of what is in force there differ. Gives whether it was told a digest that could say so.
    pub(super) fn repair(&mut self, parts: Parts) -> bool {
        let Some(drift) = &mut self.drift else { return false };
        // Whoever is told a snapshot anyway needs no other one.
        if matches!(self.following, Following::Live) && parts.len() > REPAIRED {
            self.following = Following::Due(format!("{} parts of what it has differ", parts.len()));
        } else if matches!(self.following, Following::Live) && !parts.is_empty() {
            drift.asked = Some(Arc::new(parts));
        }
        true
    }

    /// What the NVE has once everything before is in force, if that is to be told.
    fn next_digest(&mut self, registry: &Registry, now_ms: u64) -> Option<Down<Encoded>> {
        let drift = self.drift.as_mut().filter(|drift| drift.is_due(now_ms) && drift.asked.is_none())?;
        drift.tell(now_ms);
        let mappings = match self.following {
            Following::Live => registry.digests(&self.scopes),
            _ => None,
        };
        let objects = self.provisioning.as_ref().map(|provisioning| provisioning.word());
        let is_some = mappings.is_some() || objects.is_some();
        is_some.then(|| Down::Digest { revision: registry.revision(), mappings, objects })
    }

    /// Whether it is told a snapshot, or waits for one.
    pub(super) fn is_in_snapshot(&self) -> bool {
        matches!(self.following, Following::Due(_) | Following::Pages { .. } | Following::Rest(_))
    }

    /// The next message, if there is one and room for it.
    pub(super) fn next(
        &mut self,
        id: SessionId,
        shared: &mut Shared<'_>,
        allowance: &mut Allowance,
        now_ms: u64,
    ) -> Option<Down<Encoded>> {
        if self.in_flight >= shared.log.limits().window {
            return None;
        }
        let down = if std::mem::take(&mut self.beat) {
            Down::Progress(self.sent)
        } else {
            // In turn: neither a flood of requests nor one of transactions keeps the other one back.
            let answer = if self.answer_next { self.next_answer() } else { None };
            self.answer_next = answer.is_none();
            match answer {
                Some(answer) => answer,
                None => self.next_news(id, shared, allowance, now_ms).or_else(|| self.next_answer())?,
            }
        };
        self.sent(&down);
        Some(down)
    }

    fn next_answer(&mut self) -> Option<Down<Encoded>> {
        let answer = self.answers.pop_front()?;
        self.waiting = self.waiting.saturating_sub(1);
        Some(answer)
    }

    fn next_news(
        &mut self,
        id: SessionId,
        Shared { registry, log, pages, watchers, asked, lifetime_ms, has_looked }: &mut Shared<'_>,
        allowance: &mut Allowance,
        now_ms: u64,
    ) -> Option<Down<Encoded>> {
        // Before what operators want: who has it no more hears that first.
        if let (Some(grouping), Some(nve)) = (&mut self.grouping, &self.nve)
            && let Some(part) = grouping.next(nve, registry.groups())
        {
            return Some(part);
        }
        if let (Some(provisioning), Some(nve)) = (&mut self.provisioning, &self.nve)
            && let Some(part) = provisioning.next(nve, registry)
        {
            return Some(part);
        }
        // After the networks that it needs for what it expects.
        if let (Some(moving), Some(nve)) = (&mut self.moving, &self.nve)
            && let Some(part) = moving.next(nve, registry, now_ms)
        {
            return Some(part);
        }
        // Each MAC address is looked for by itself.
        let macs = self.finds.front().map(|find| find.macs.len() as u64);
        if macs.is_some_and(|macs| allowance.queries.take_many(macs, now_ms)) {
            return self.next_found(registry, asked);
        }
        // Who reads more slowly than the log moves on begins anew, as often as the bucket allows.
        let has = match self.following {
            Following::Pages { since, .. } | Following::Rest(since) => Some(since),
            Following::Live => Some(self.sent),
            Following::Nothing | Following::Resuming | Following::Due(_) | Following::Asked(_) => None,
        };
        if let Some(has) = has.filter(|has| !log.holds_after(*has)) {
            self.following = Following::Due(beyond(has, log.revision()));
        }
        let news = match &mut self.following {
            Following::Nothing => None,
            Following::Resuming => {
                self.following = Following::Live;
                Some(Down::Resumed(self.sent))
            }
            Following::Due(why) => {
                if !allowance.snapshots.take(now_ms) {
                    return None;
                }
                let why = std::mem::take(why);
                self.following = Following::Pages { after: None, since: log.revision(), parts: None };
                Some(Down::Resync(why))
            }
            Following::Pages { after, since, parts } => {
                let page = match parts {
                    None => pages.after(*after, registry, log, &self.scopes),
                    Some(_) if *has_looked => return None,
                    Some(parts) => {
                        *has_looked = true;
                        Pages::of_parts(parts, *after, (registry, log), &self.scopes)
                    }
                };
                match page {
                    Some(page) => {
                        *after = Some(page.last);
                        *since = page.revision.min(*since);
                        Some(Down::Page(page.encoded))
                    }
                    None => {
                        let since = *since;
                        self.following = Following::Rest(since);
                        Some(self.next_rest(since, log))
                    }
                }
            }
            Following::Rest(since) => {
                let since = *since;
                Some(self.next_rest(since, log))
            }
            Following::Live => match (log.after(self.sent, &self.scopes), &mut self.drift) {
                (Some((revision, mappings)), _) => {
                    self.sent = revision;
                    Some(Down::Delta(revision, mappings))
                }
                (None, Some(drift)) if drift.asked.is_some() && allowance.snapshots.take(now_ms) => {
                    let parts = drift.asked.take().unwrap_or_default();
                    let since = log.revision();
                    self.following = Following::Pages { after: None, since, parts: Some(parts.clone()) };
                    Some(Down::Repair(Parts::clone(&parts)))
                }
                (None, _) => None,
            },
            Following::Asked(interests) => {
                // What changed before an answer is told before it.
                let most = log.limits().message_records;
                let news = interests.news(registry, most);
                let news = news
                    .or_else(|| interests.redirected(id, (registry, watchers), (*lifetime_ms, most), now_ms));
                // A question by MAC address that waits for its part of the rate is not overtaken for ever.
                let waits = news.is_some() || !interests.is_asking() || !self.finds.is_empty();
                match waits || !allowance.queries.take(now_ms) {
                    true => news,
                    false => interests.answer(id, (registry, watchers, asked), *lifetime_ms, now_ms),
                }
            }
        };
        news.or_else(|| self.next_digest(registry, now_ms))
    }

    /// What changed while the pages were sent, and then the end of the snapshot.
    fn next_rest(&mut self, since: u64, log: &Log) -> Down<Encoded> {
        match log.after(since, &self.scopes) {
            Some((revision, mappings)) => {
                self.following = Following::Rest(revision);
                Down::Page(mappings)
            }
            None => {
                self.following = Following::Live;
                self.sent = since;
                Down::SnapshotEnd(since)
            }
        }
    }
}

fn beyond(revision: u64, now: u64) -> String {
    format!(
        "the NVE has revision {revision}, this authority {now}, and the transactions between are not kept any more"
    )
}
