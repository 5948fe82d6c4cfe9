//! Those who watch what happens: the recent events once for all of them, the log, and how far each watcher is.
//!
//! A watcher holds a number and nothing else. One that is slower than events come loses the oldest and is told how many;
//! nobody waits for it.

use super::event::{By, Event, Kind};
use crate::config::ObjectName;
use crate::ila::Identifier;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::Level;

/// Events that are kept for those who watch.
const KEPT: usize = 8_192;
/// Events that a watcher is given at once.
const PAGE: usize = 256;
/// Watchers at the same time, and of one identity: nobody keeps all others out.
pub(super) const WATCHERS: usize = 64;
pub(super) const WATCHERS_EACH: usize = 16;
/// Characters of a reason, which may quote what a stranger said.
const MAX_WHY: usize = 512;
/// Characters of a name. Names that are right are shorter.
const MAX_NAME: usize = 64;
/// Networks of an event.
const MAX_NETWORKS: usize = 64;

/// An event, and who, from where and when.
#[derive(Debug)]
pub(super) struct Told {
    /// Rises with each event, over restarts as well.
    pub(super) number: u64,
    /// Milliseconds since 1970.
    pub(super) time_ms: u64,
    /// Who did it: an NVE's name, or an operator. Empty: the authority by itself.
    pub(super) who: String,
    /// Where that is.
    pub(super) from: Arc<str>,
    pub(super) event: Event,
}

impl Told {
    /// The VNID of the tenant that it concerns.
    pub(super) fn vnid(&self) -> Option<u32> {
        Identifier(self.event.key?.identifier).vnid()
    }
}

#[derive(Debug)]
struct Ring {
    kept: VecDeque<Arc<Told>>,
    /// Number of the event before the first one.
    begin: u64,
    /// Number of the last one.
    last: u64,
    counts: BTreeMap<Kind, u64>,
}

impl Ring {
    /// Number of the last event that is kept no longer.
    fn oldest(&self) -> u64 {
        self.last - self.kept.len() as u64
    }
}

/// The events, and those who watch.
#[derive(Debug)]
pub(super) struct Hub {
    ring: Mutex<Ring>,
    last: watch::Sender<u64>,
    places: Arc<Semaphore>,
    /// How many each identity has.
    of: Mutex<HashMap<String, usize>>,
    missed: AtomicU64,
}

/// Milliseconds since 1970.
pub(super) fn unix_ms() -> u64 {
    // A clock before 1970 is at 1970.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl Hub {
    /// One without events.
    pub(super) fn new() -> Arc<Self> {
        // No process makes a thousand events in each millisecond of its life: a later one begins above it.
        Self::from(unix_ms() * 1_000)
    }

    fn from(begin: u64) -> Arc<Self> {
        let ring = Ring { kept: VecDeque::new(), begin, last: begin, counts: BTreeMap::new() };
        Arc::new(Hub {
            ring: Mutex::new(ring),
            last: watch::Sender::new(begin),
            places: Arc::new(Semaphore::new(WATCHERS)),
            of: Mutex::default(),
            missed: AtomicU64::new(0),
        })
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of an event: who did it, and from where.
    pub(super) fn tell(&self, who: String, from: Arc<str>, mut event: Event) {
        bound(&mut event);
        let mut ring = self.ring();
        ring.last += 1;
        let told = Arc::new(Told { number: ring.last, time_ms: unix_ms(), who, from, event });
        log(&told);
        *ring.counts.entry(told.event.kind).or_default() += 1;
        if ring.kept.len() == KEPT {
            ring.kept.pop_front();
        }
        ring.kept.push_back(told);
        self.last.send_replace(ring.last);
    }

    /// A place of an identity. None: too many watch.
    fn place(self: &Arc<Self>, who: &str) -> Option<Place> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        match of.get_mut(who) {
            Some(count) if *count >= WATCHERS_EACH => return None,
            Some(count) => *count += 1,
            None => _ = of.insert(who.to_owned(), 1),
        }
        Some(Place { hub: self.clone(), who: who.to_owned(), _of_all: place })
    }

    /// Somebody who watches what comes after an event of this number, or from now on. None: too many watch.
    pub(super) fn watch(self: &Arc<Self>, who: &str, after: Option<u64>) -> Option<Watcher> {
        let place = self.place(who)?;
        let last = self.last.subscribe();
        let now = *last.borrow();
        // A number that is still to come is of a time when the clock was ahead.
        let after = after.map_or(now, |after| if after > now { 0 } else { after });
        // Who wants all that is kept misses nothing.
        let after = if after == 0 { self.ring().oldest() } else { after };
        Some(Watcher { place, after, last })
    }

    /// One who watches from some events ago on.
    pub(super) fn watch_recent(self: &Arc<Self>, who: &str, count: u64) -> Option<Watcher> {
        let last = self.ring().last;
        self.watch(who, Some(last.saturating_sub(count)))
    }

    /// How many events there were of each kind.
    pub(super) fn counts(&self) -> BTreeMap<Kind, u64> {
        let ring = self.ring();
        Kind::ALL.iter().map(|kind| (*kind, ring.counts.get(kind).copied().unwrap_or(0))).collect()
    }

    /// How many watch, and how many events they missed.
    pub(super) fn watchers(&self) -> (usize, u64) {
        (WATCHERS - self.places.available_permits(), self.missed.load(Ordering::Relaxed))
    }
}

/// The place of one who watches.
#[derive(Debug)]
struct Place {
    hub: Arc<Hub>,
    who: String,
    _of_all: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of = self.hub.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = of.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                of.remove(&self.who);
            }
        }
    }
}

/// One who watches.
#[derive(Debug)]
pub(super) struct Watcher {
    place: Place,
    /// Number of the last event that it was given, or missed.
    after: u64,
    last: watch::Receiver<u64>,
}

impl Watcher {
    /// The next events, at most [`PAGE`], and how many before them are kept no longer. Waits until there is one.
    pub(super) async fn next(&mut self) -> (Vec<Arc<Told>>, u64) {
        loop {
            let (events, missed) = self.take();
            if missed > 0 || !events.is_empty() {
                return (events, missed);
            }
            if self.last.changed().await.is_err() {
                // It is in the hub, which is here.
                std::future::pending::<()>().await;
            }
        }
    }

    fn take(&mut self) -> (Vec<Arc<Told>>, u64) {
        self.last.mark_unchanged();
        let hub = &self.place.hub;
        let ring = hub.ring();
        let oldest = ring.oldest();
        let known = self.after.max(ring.begin);
        let missed = oldest.saturating_sub(known);
        let from = usize::try_from(known.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let events: Vec<Arc<Told>> = ring.kept.iter().skip(from).take(PAGE).cloned().collect();
        self.after = known.max(oldest) + events.len() as u64;
        hub.missed.fetch_add(missed, Ordering::Relaxed);
        (events, missed)
    }
}

/// Cuts what somebody may have written at any length.
fn bound(event: &mut Event) {
    let cut = |text: &mut String, most| {
        if let Some((end, _)) = text.char_indices().nth(most) {
            text.truncate(end);
        }
        text.shrink_to_fit();
    };
    cut(&mut event.why, MAX_WHY);
    event.networks.retain(|name| name.len() <= MAX_NAME);
    event.networks.truncate(MAX_NETWORKS);
    if let Some(object) = &mut event.object {
        cut(&mut object.nve, MAX_NAME);
        match &mut object.name {
            ObjectName::Network(name) | ObjectName::Attachment(name) => cut(name, MAX_NAME),
            ObjectName::Policy { from, to } => [from, to].into_iter().for_each(|name| cut(name, MAX_NAME)),
        }
    }
}

/// Writes an event into the log.
fn log(told: &Told) {
    let Told { who, from, event, .. } = told;
    let Event { kind, by, nve, key, object, count, sequence, revision, why, .. } = event;
    let level = match (kind, by) {
        (Kind::Registered | Kind::Released | Kind::MoreRegistered, By::Session(..) | By::Authority) => {
            Level::DEBUG
        }
        (_, By::Operator(_)) => Level::WARN,
        (kind, _) if kind.is_notable() => Level::WARN,
        _ => Level::INFO,
    };
    let what = kind.sentence();
    let some = |number: u64| (number > 0).then_some(number);
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    macro_rules! line {
        ($level:expr) => {
            tracing::event!(
                $level,
                nve = nve.as_deref(),
                identifier = key.map(|key| key.to_string()),
                object = object.as_ref().map(ToString::to_string),
                count = some(*count),
                sequence = some(*sequence),
                revision = some(*revision),
                why = text(why),
                who = text(who),
                from = text(from),
                "{what}"
            )
        };
    }
    match level {
        Level::DEBUG => line!(Level::DEBUG),
        Level::WARN => line!(Level::WARN),
        _ => line!(Level::INFO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nva::model::ObjectKey;
    use std::time::Duration;

    fn tell(hub: &Hub, count: u64) {
        let event = || Event { count, ..Event::new(Kind::Registered, By::Authority) };
        hub.tell(String::new(), "".into(), event());
    }

    async fn next(watcher: &mut Watcher) -> Option<(Vec<u64>, u64)> {
        let (events, missed) = tokio::time::timeout(Duration::from_millis(10), watcher.next()).await.ok()?;
        Some((events.iter().map(|told| told.event.count).collect(), missed))
    }

    #[tokio::test]
    async fn who_watches_is_told_what_comes_in_its_order_and_once() {
        let hub = Hub::from(1_000);
        tell(&hub, 1);
        let (mut now, mut all) = (hub.watch("alice", None).unwrap(), hub.watch("alice", Some(0)).unwrap());
        let mut first = hub.watch("alice", Some(1_001)).unwrap();
        assert_eq!((next(&mut now).await, next(&mut all).await), (None, Some((vec![1], 0))));
        (2..=3).for_each(|n| tell(&hub, n));
        for watcher in [&mut now, &mut all, &mut first] {
            assert_eq!((next(watcher).await, next(watcher).await), (Some((vec![2, 3], 0)), None));
        }
        // A number of a clock that was ahead: everything.
        assert_eq!(next(&mut hub.watch("alice", Some(9_999)).unwrap()).await, Some((vec![1, 2, 3], 0)));
    }

    #[tokio::test]
    async fn a_slow_watcher_is_told_how_many_it_missed_and_nothing_is_kept_for_it() {
        let hub = Hub::from(0);
        let mut slow = hub.watch("alice", None).unwrap();
        (0..KEPT as u64 + 10).for_each(|n| tell(&hub, n));
        let (events, missed) = next(&mut slow).await.unwrap();
        assert_eq!((events.first(), events.len(), missed), (Some(&10), PAGE, 10));
        let mut count = events.len();
        while let Some((events, 0)) = next(&mut slow).await {
            count += events.len();
        }
        assert_eq!((count, hub.watchers()), (KEPT, (1, 10)));
        drop(slow);
        assert_eq!((hub.watchers().0, hub.counts()[&Kind::Registered]), (0, KEPT as u64 + 10));
    }

    #[tokio::test]
    async fn so_many_watch_and_no_more_and_one_identity_does_not_take_all_places() {
        let hub = Hub::from(0);
        let mut all: Vec<_> = (0..WATCHERS_EACH).map(|_| hub.watch("alice", None).unwrap()).collect();
        // One identity leaves room for others.
        assert!(hub.watch("alice", None).is_none());
        let others = ["bob", "carol", "dave"].into_iter().flat_map(|who| [who; WATCHERS_EACH]);
        all.extend(others.map(|who| hub.watch(who, None).unwrap()));
        assert_eq!((hub.watchers().0, hub.watch("eve", None).is_none()), (WATCHERS, true));
        all.remove(0);
        assert!(hub.watch("bob", None).is_none());
        all.push(hub.watch("alice", None).unwrap());
        drop(all);
        assert!(hub.watch("alice", None).is_some() && hub.of.lock().unwrap().is_empty());
    }

    #[test]
    fn what_somebody_writes_is_kept_in_part_only() {
        let hub = Hub::from(0);
        let why = "é".repeat(2_000);
        let object = |name| Some(ObjectKey { nve: why.clone(), name });
        let networks = vec!["red".to_owned(), why.clone()];
        for name in
            [ObjectName::Attachment(why.clone()), ObjectName::Policy { from: why.clone(), to: why.clone() }]
        {
            let event = Event::new(Kind::ChangeRefused, By::Authority);
            let (why, networks) = (why.clone(), networks.clone());
            hub.tell(String::new(), "".into(), Event { why, networks, object: object(name), ..event });
        }
        for told in &hub.ring().kept {
            let Event { why, networks, object, .. } = &told.event;
            assert_eq!((why.chars().count(), &networks[..]), (MAX_WHY, &["red".to_owned()][..]));
            assert!(object.as_ref().unwrap().to_string().chars().count() < 4 * MAX_NAME);
        }
    }
}
