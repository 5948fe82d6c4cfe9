//! Events of tenants: a bounded list with sequence numbers.
//!
//! The control thread writes the list, and any number of [`Feed`]s follow it. A follower that is too slow
//! misses events, and learns how many.

use crate::api::views::EventView;
use crate::net::Mac;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::watch;

/// Events kept.
pub const KEPT: usize = 4096;
/// Events that a follower gets at once.
const AT_ONCE: usize = 256;

/// Something that happened to a tenant of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Number in the order of events, from 1 when the node starts; without gaps.
    pub seq: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// Name of the attachment, or its index.
    pub attachment: String,
    /// Name of its network.
    pub network: String,
    /// Virtual network identifier.
    pub vnid: u32,
    /// What happened.
    pub kind: EventKind,
}

/// An event of a tenant, without number and time: the list of events gives it both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// Name of the attachment, or its index.
    pub attachment: String,
    /// Name of its network.
    pub network: String,
    /// Virtual network identifier.
    pub vnid: u32,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// The tenant announced an address of its own, or itself by RARP: then it is its first one.
    Learnt {
        /// The address.
        address: IpAddr,
        /// Where it is.
        mac: Mac,
    },
    /// The tenant wants an address that another node or tenant has.
    Conflict {
        /// The address.
        address: IpAddr,
    },
    /// The tenant sent packets in the name of others or of the node. At most one event a second.
    Spoofed {
        /// Packets since the event before.
        packets: u64,
    },
    /// The tenant abused the node for too long.
    Quarantined {
        /// How long its quarantine lasts, in seconds.
        seconds: u64,
    },
    /// Its quarantine is over.
    Released,
    /// It was asked for an address of its own, and did not answer.
    Silent {
        /// The address.
        address: IpAddr,
    },
    /// It answers again.
    Answers {
        /// The address.
        address: IpAddr,
    },
}

impl EventKind {
    /// Labels of all kinds, in the order of [`Events::counts`].
    pub const LABELS: [&'static str; 7] =
        ["learnt", "conflict", "spoofed", "quarantined", "released", "silent", "answers"];

    const fn index(&self) -> usize {
        match self {
            EventKind::Learnt { .. } => 0,
            EventKind::Conflict { .. } => 1,
            EventKind::Spoofed { .. } => 2,
            EventKind::Quarantined { .. } => 3,
            EventKind::Released => 4,
            EventKind::Silent { .. } => 5,
            EventKind::Answers { .. } => 6,
        }
    }

    /// The label in metrics and output.
    #[must_use]
    pub fn label(&self) -> &'static str {
        Self::LABELS.get(self.index()).copied().unwrap_or("?")
    }
}

impl Event {
    /// For operators.
    #[must_use]
    pub fn view(&self) -> EventView {
        let (address, mac) = match self.kind {
            EventKind::Learnt { address, mac } => (Some(address), Some(mac)),
            EventKind::Conflict { address }
            | EventKind::Silent { address }
            | EventKind::Answers { address } => (Some(address), None),
            _ => (None, None),
        };
        let (packets, seconds) = match self.kind {
            EventKind::Spoofed { packets } => (Some(packets), None),
            EventKind::Quarantined { seconds } => (None, Some(seconds)),
            _ => (None, None),
        };
        EventView {
            seq: self.seq,
            time_ms: self.time_ms,
            attachment: self.attachment.clone(),
            network: self.network.clone(),
            vnid: self.vnid,
            kind: self.kind.label().to_owned(),
            address: address.map(|address| address.to_string()),
            mac: mac.map(|mac| mac.to_string()),
            packets,
            seconds,
        }
    }
}

/// The events of a node.
#[derive(Debug)]
pub struct Events {
    kept: Mutex<VecDeque<Event>>,
    /// Sequence number of the newest event.
    newest: watch::Sender<u64>,
    counts: [AtomicU64; EventKind::LABELS.len()],
    suppressed: AtomicU64,
}

impl Default for Events {
    fn default() -> Self {
        Events {
            kept: Mutex::default(),
            newest: watch::Sender::new(0),
            counts: Default::default(),
            suppressed: AtomicU64::new(0),
        }
    }
}

impl Events {
    /// Adds an event with the next number and the present time; for the control thread only.
    pub fn record(&self, event: EventRecord) {
        let EventRecord { attachment, network, vnid, kind } = event;
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get(kind.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let mut kept = self.kept();
        let seq = *self.newest.borrow() + 1;
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Event { seq, time_ms, attachment, network, vnid, kind });
        self.newest.send_replace(seq);
    }

    /// Counts events that were not recorded, because a tenant causes too many of them or a queue was full.
    pub fn suppress(&self, events: u64) {
        self.suppressed.fetch_add(events, Ordering::Relaxed);
    }

    /// Events recorded since the start, by the label of their kind.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        EventKind::LABELS.into_iter().zip(&self.counts).map(|(kind, n)| (kind, n.load(Ordering::Relaxed)))
    }

    /// Events that were not recorded.
    #[must_use]
    pub fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Event>> {
        // The list holds whole events even when a thread panicked with the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events from one on.
#[derive(Debug)]
pub struct Feed {
    events: Arc<Events>,
    after: u64,
    newest: watch::Receiver<u64>,
}

/// What a follower gets at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Events before these that are no longer kept.
    pub missed: u64,
    /// Events in order; empty when there are no others yet.
    pub events: Vec<Event>,
}

impl Feed {
    /// Events after the one with number `after`, as far as they are kept. A number that was not given yet
    /// comes from before a restart of the node: the feed then begins with all events.
    #[must_use]
    pub fn new(events: Arc<Events>, after: u64) -> Self {
        let newest = events.newest.subscribe();
        let after = if after > *newest.borrow() { 0 } else { after };
        Feed { events, after, newest }
    }

    /// The next events, at most 256.
    pub fn heard(&mut self) -> Heard {
        let kept = self.events.kept();
        let first = kept.front().map_or(self.after + 1, |event| event.seq);
        let missed = first.saturating_sub(self.after + 1);
        let skip = usize::try_from((self.after + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let events: Vec<Event> = kept.iter().skip(skip).take(AT_ONCE).cloned().collect();
        self.after = events.last().map_or(self.after, |event| event.seq);
        Heard { missed, events }
    }

    /// Waits until there are further events.
    pub async fn ready(&mut self) {
        let after = self.after;
        // The sender lives as long as this feed, which holds the events.
        let _ = self.newest.wait_for(|newest| *newest > after).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(events: &Events, count: u64) {
        for packets in 0..count {
            let kind = EventKind::Spoofed { packets };
            events.record(EventRecord { attachment: "vm1".into(), network: "red".into(), vnid: 100, kind });
        }
    }

    fn numbers(heard: &Heard) -> Vec<u64> {
        heard.events.iter().map(|event| event.seq).collect()
    }

    #[test]
    fn who_follows_hears_every_event_once_and_in_order() {
        let events = Arc::new(Events::default());
        record(&events, 3);
        let mut feed = Feed::new(events.clone(), 1);
        assert_eq!(numbers(&feed.heard()), [2, 3]);
        assert_eq!(feed.heard(), Heard::default());
        record(&events, 1);
        assert_eq!(numbers(&feed.heard()), [4]);
    }

    #[test]
    fn who_is_too_slow_is_told_how_many_it_missed() {
        let events = Arc::new(Events::default());
        let mut feed = Feed::new(events.clone(), 0);
        record(&events, KEPT as u64 + 10);
        let heard = feed.heard();
        assert_eq!((heard.missed, heard.events[0].seq, heard.events.len()), (10, 11, AT_ONCE));
        assert_eq!((feed.heard().missed, feed.after), (0, 10 + 2 * AT_ONCE as u64));
        assert_eq!(events.counts().map(|(_, count)| count).sum::<u64>(), KEPT as u64 + 10);
    }

    #[test]
    fn a_number_from_before_a_restart_means_from_the_start() {
        let events = Arc::new(Events::default());
        record(&events, 2);
        assert_eq!(numbers(&Feed::new(events, 500).heard()), [1, 2]);
    }

    #[tokio::test]
    async fn a_follower_waits_for_what_comes() {
        let events = Arc::new(Events::default());
        let mut feed = Feed::new(events.clone(), 0);
        let follower = tokio::spawn(async move {
            feed.ready().await;
            numbers(&feed.heard())
        });
        tokio::task::yield_now().await;
        record(&events, 1);
        assert_eq!(follower.await.unwrap(), [1]);
    }
}
