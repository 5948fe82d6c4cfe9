//! Measures an authority: a real `ila-nva` process with its embedded store, and sessions by mutual TLS from this one.
//!
//! `authority --case NAME [--mappings N] [--sessions N] [--seconds S]` prints one JSON object. Server and clients share
//! the processors of the machine: figures are floors.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "authority/lab.rs"]
mod lab;
#[path = "authority/moves.rs"]
mod moves;
#[path = "authority/session.rs"]
mod session;

use ilagate::nva::v1::{down, up};
use lab::{Lab, until};
use serde_json::{Value, json};
use session::{Nve, Session};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// NVEs that register at the same time, and requests of each that wait for an answer: 64 in all.
const REGISTERING: (usize, u64) = (4, 16);
/// Time between two signs of life.
const BEAT: Duration = Duration::from_secs(3);
/// Time between two `Applied` of a session, as the protocol allows.
const APPLIED: Duration = Duration::from_millis(50);
/// Longest time for anything.
const LIMIT: Duration = Duration::from_secs(120);
/// First and longest pause before a session is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// Transactions in a second, for those that follow.
const TRANSACTIONS: u64 = 100;

struct Arguments {
    case: String,
    mappings: Option<u64>,
    sessions: usize,
    seconds: u64,
}

fn arguments() -> Option<Arguments> {
    let mut given = Arguments { case: String::new(), mappings: None, sessions: 1_000, seconds: 5 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().expect("a value");
        match word.as_str() {
            "--case" => given.case = value(),
            "--mappings" => given.mappings = Some(value().parse().expect("a number")),
            "--sessions" => given.sessions = value().parse().expect("a number"),
            "--seconds" => given.seconds = value().parse().expect("a number"),
            _ => {}
        }
    }
    (!given.case.is_empty()).then_some(given)
}

fn main() {
    let Some(given) = arguments() else {
        println!("authority: run by scripts/bench --authority (--case NAME)");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let result = runtime.block_on(async {
        match given.case.as_str() {
            "registrations" => registrations(&given).await,
            "push" => push(&given).await,
            "snapshot" => snapshot(&given).await,
            "fan_out" => fan_out(&given).await,
            "moves" => moves::moves(&given).await,
            "reconnect" => reconnect(&given).await,
            "stopped" => stopped(&given).await,
            other => {
                panic!("no case {other}: registrations, push, snapshot, fan_out, moves, reconnect or stopped")
            }
        }
    });
    println!("{result}");
}

/// Registrations that are acknowledged as durable, 64 in flight.
async fn registrations(given: &Arguments) -> Value {
    let lab = Lab::new(REGISTERING.0, given.mappings.unwrap_or(0));
    let end = Instant::now() + Duration::from_secs(given.seconds);
    let mut tasks = JoinSet::new();
    let busy = lab.busy();
    for nve in 0..REGISTERING.0 {
        let own = Nve::of(&lab, nve);
        tasks.spawn(async move {
            let mut session = own.open().await.expect("a session");
            let first = (nve as u64 + 1) << 40;
            let mut asked = 0;
            while asked < REGISTERING.1 {
                session.register(asked, (first + asked) << 4).await;
                asked += 1;
            }
            let mut answered = 0;
            let mut revision = 0;
            while Instant::now() < end {
                match session.next().await.expect("an answer") {
                    down::Message::Registered(told) => revision = told.revision,
                    other => panic!("{other:?}"),
                }
                answered += 1;
                session.register(asked, (first + asked) << 4).await;
                asked += 1;
            }
            (answered, revision)
        });
    }
    let done = tasks.join_all().await;
    let answered: u64 = done.iter().map(|(answered, _)| answered).sum();
    let revision = done.iter().map(|(_, revision)| *revision).max().unwrap_or(0);
    let seconds = given.seconds as f64;
    json!({
        "case": "registrations", "per_second": answered as f64 / seconds,
        "commits_per_second": revision as f64 / seconds,
        "cpu_us_each": (lab.busy() - busy).as_secs_f64() * 1e6 / answered as f64,
    })
}

/// A session that follows everything: it is told from which revision on, notes when it heard of each, and says that it
/// applied it.
async fn follow(mut session: Session, heard: impl Fn(u64)) -> Result<(), String> {
    let mut beat = tokio::time::interval(BEAT);
    let mut tell = tokio::time::interval(APPLIED);
    tell.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut applied, mut told) = (session.revision, session.revision);
    loop {
        tokio::select! {
            message = session.next() => match message? {
                down::Message::Delta(delta) => {
                    applied = delta.revision;
                    heard(applied);
                }
                down::Message::SnapshotEnd(end) => {
                    applied = end.revision;
                    heard(applied);
                }
                down::Message::Error(why) => return Err(why.why),
                _ => {}
            },
            _ = beat.tick() => session.beat().await,
            _ = tell.tick(), if applied > told => {
                told = applied;
                session.applied(applied).await;
            }
        }
    }
}

/// When each revision was acknowledged to the NVE that registered it.
#[derive(Default)]
struct Acknowledged {
    revisions: Mutex<HashMap<u64, Instant>>,
    /// Identifiers so far.
    used: AtomicU64,
}

impl Acknowledged {
    /// Registers as many identifiers a second, each by itself, and notes what is acknowledged.
    async fn register(&self, session: &mut Session, rate: u64, seconds: u64) -> u64 {
        let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
        let mut beat = tokio::time::interval(BEAT);
        let all = rate * seconds;
        let first = (1 << 40) + self.used.fetch_add(all, Ordering::Relaxed);
        let (mut asked, mut answered) = (0, 0);
        while answered < all {
            tokio::select! {
                _ = tick.tick(), if asked < all => {
                    session.register(asked, (first + asked) << 4).await;
                    asked += 1;
                }
                _ = beat.tick() => session.beat().await,
                message = session.next() => if let down::Message::Registered(told) = message.expect("an answer") {
                    answered += 1;
                    self.revisions.lock().unwrap().entry(told.revision).or_insert_with(Instant::now);
                },
            }
        }
        self.revisions.lock().unwrap().keys().copied().max().unwrap_or(0)
    }
}

/// Times in which something was heard.
#[derive(Default)]
struct Delays(Vec<f64>);

impl Delays {
    fn of(acknowledged: &Acknowledged, heard: &[(u64, Instant)]) -> Self {
        let acknowledged = acknowledged.revisions.lock().unwrap();
        let mut delays = Vec::new();
        let mut before = heard.first().map_or(0, |(revision, _)| revision.saturating_sub(1));
        for (revision, at) in heard {
            for each in before + 1..=*revision {
                if let Some(known) = acknowledged.get(&each) {
                    delays.push(at.saturating_duration_since(*known).as_secs_f64() * 1000.0);
                }
            }
            before = *revision;
        }
        Delays(delays)
    }

    fn show(mut self) -> Value {
        self.0.sort_by(f64::total_cmp);
        let at =
            |share: f64| self.0.get(((self.0.len() as f64 - 1.0) * share) as usize).copied().unwrap_or(0.0);
        json!({"count": self.0.len(), "p50": at(0.5), "p99": at(0.99), "max": at(1.0)})
    }
}

/// What is heard by one session, with the time.
type Heard = Arc<Mutex<Vec<(u64, Instant)>>>;

/// How long after its acknowledgement a registration is heard of, at a thousand a second beside many mappings.
async fn push(given: &Arguments) -> Value {
    let lab = Lab::new(2, given.mappings.unwrap_or(1_000_000));
    let heard = Heard::default();
    let session = Nve::of(&lab, 1).open().await.expect("a session");
    let first = session.revision;
    session.subscribe(Some(first)).await;
    let note = heard.clone();
    tokio::spawn(follow(session, move |revision| note.lock().unwrap().push((revision, Instant::now()))));
    let acknowledged = Acknowledged::default();
    let mut session = Nve::of(&lab, 0).open().await.expect("a session");
    let last = acknowledged.register(&mut session, 1_000, given.seconds).await;
    let is_there = || heard.lock().unwrap().last().is_some_and(|(revision, _)| *revision >= last);
    until("the last transaction", LIMIT, is_there).await;
    let heard = heard.lock().unwrap();
    json!({"case": "push", "ms": Delays::of(&acknowledged, &heard).show(), "transactions": last - first})
}

/// A snapshot to one session, from Subscribe to its end.
async fn snapshot(given: &Arguments) -> Value {
    let mappings = given.mappings.unwrap_or(1_000_000);
    let lab = Lab::new(1, mappings);
    let before = lab.resident();
    let session = Nve::of(&lab, 0).open().await.expect("a session");
    let began = Instant::now();
    session.subscribe(None).await;
    let (tell, told) = tokio::sync::oneshot::channel();
    let tell = Mutex::new(Some(tell));
    tokio::spawn(follow(session, move |_| {
        tell.lock().unwrap().take().map(|tell| tell.send(began.elapsed()));
    }));
    let took = told.await.expect("the end of the snapshot");
    json!({
        "case": "snapshot", "mappings": mappings, "s": took.as_secs_f64(),
        "resident_bytes_each": before as f64 / mappings.max(1) as f64,
    })
}

/// Sessions that follow from the present revision on, and what each hears.
async fn followers(lab: &Lab, count: usize) -> Vec<Heard> {
    let mut opening = JoinSet::new();
    // Connections of a machine that starts come in no order and not all at once.
    let gate = Arc::new(tokio::sync::Semaphore::new(32));
    for nve in 1..=count {
        let (own, gate) = (Nve::of(lab, nve), gate.clone());
        opening.spawn(async move {
            let _turn = gate.acquire_owned().await;
            let session = own.open().await.expect("a session");
            session.subscribe(Some(session.revision)).await;
            let heard = Heard::default();
            let note = heard.clone();
            tokio::spawn(follow(session, move |revision| {
                note.lock().unwrap().push((revision, Instant::now()))
            }));
            heard
        });
    }
    opening.join_all().await
}

/// Many sessions hear of each of a hundred transactions a second.
async fn fan_out(given: &Arguments) -> Value {
    let lab = Lab::new(given.sessions + 1, given.mappings.unwrap_or(0));
    let before = lab.resident();
    let all = followers(&lab, given.sessions).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = lab.resident().saturating_sub(before) / given.sessions.max(1) as u64;
    let acknowledged = Acknowledged::default();
    let mut session = Nve::of(&lab, 0).open().await.expect("a session");
    let busy = lab.busy();
    let last = acknowledged.register(&mut session, TRANSACTIONS, given.seconds).await;
    let is_there = || {
        all.iter().all(|heard| heard.lock().unwrap().last().is_some_and(|(revision, _)| *revision >= last))
    };
    until("the last transaction", LIMIT, is_there).await;
    let busy = lab.busy() - busy;
    let mut delays = Delays::default();
    let mut messages = 0;
    for heard in &all {
        let heard = heard.lock().unwrap();
        messages += heard.len();
        delays.0.extend(Delays::of(&acknowledged, &heard).0);
    }
    let delivered = delays.0.len();
    json!({
        "case": "fan_out", "sessions": given.sessions, "transactions_per_second": TRANSACTIONS,
        "ms": delays.show(), "messages": messages,
        "idle_session_bytes": idle, "cpu_us_an_update": busy.as_secs_f64() * 1e6 / delivered.max(1) as f64,
    })
}

/// The authority is killed and started again: how long until every session follows again, and nothing is missing.
async fn reconnect(given: &Arguments) -> Value {
    let mut lab = Lab::new(given.sessions + 1, given.mappings.unwrap_or(0));
    let live = Arc::new(AtomicUsize::new(0));
    let lost = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    for nve in 1..=given.sessions {
        let (own, live, lost, stop) = (Nve::of(&lab, nve), live.clone(), lost.clone(), stop.clone());
        tokio::spawn(async move {
            let applied = Arc::new(AtomicU64::new(0));
            let mut pause = PAUSE.0;
            while !stop.load(Ordering::Relaxed) {
                if let Ok(mut session) = own.open().await {
                    let known = applied.load(Ordering::Relaxed);
                    let known = if known == 0 { session.revision } else { known };
                    session.subscribe(Some(known)).await;
                    match session.next().await {
                        Ok(down::Message::Resumed(from)) if from.revision == known => {}
                        Ok(_) => _ = lost.fetch_add(1, Ordering::Relaxed),
                        Err(_) => continue,
                    }
                    live.fetch_add(1, Ordering::Relaxed);
                    applied.store(session.revision.max(known), Ordering::Relaxed);
                    let note = applied.clone();
                    let _ = follow(session, move |revision| note.store(revision, Ordering::Relaxed)).await;
                    live.fetch_sub(1, Ordering::Relaxed);
                    pause = PAUSE.0;
                }
                tokio::time::sleep(pause.mul_f64(rand::random())).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        });
    }
    let all = given.sessions;
    until("all sessions", LIMIT, || live.load(Ordering::Relaxed) == all).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = lab.resident();
    lab.kill();
    until("the end of all sessions", LIMIT, || live.load(Ordering::Relaxed) == 0).await;
    lab.start();
    let took = until("all sessions again", LIMIT, || live.load(Ordering::Relaxed) == all).await;
    stop.store(true, Ordering::Relaxed);
    json!({
        "case": "reconnect", "sessions": all, "s": took.as_secs_f64(),
        "snapshots": lost.load(Ordering::Relaxed), "peak_share": lab.peak() as f64 / before as f64,
    })
}

/// One of many sessions reads nothing: what waits for it must not grow.
async fn stopped(given: &Arguments) -> Value {
    let lab = Lab::new(given.sessions + 2, given.mappings.unwrap_or(0));
    let all = followers(&lab, given.sessions).await;
    let silent = Nve::of(&lab, given.sessions + 1).open().await.expect("a session");
    silent.subscribe(Some(silent.revision)).await;
    let (beating, lives) = (silent.up.clone(), Duration::from_secs(1));
    tokio::spawn(async move {
        let beat = ilagate::nva::v1::Up { message: Some(up::Message::Beat(ilagate::nva::v1::Beat {})) };
        while beating.send(beat.clone()).await.is_ok() {
            tokio::time::sleep(lives).await;
        }
    });
    let acknowledged = Acknowledged::default();
    let mut session = Nve::of(&lab, 0).open().await.expect("a session");
    acknowledged.register(&mut session, TRANSACTIONS, given.seconds.div_ceil(2)).await;
    let middle = lab.resident();
    let last = acknowledged.register(&mut session, TRANSACTIONS, given.seconds.div_ceil(2)).await;
    let is_there = || {
        all.iter().all(|heard| heard.lock().unwrap().last().is_some_and(|(revision, _)| *revision >= last))
    };
    until("the last transaction", LIMIT, is_there).await;
    json!({
        "case": "stopped", "sessions": given.sessions,
        "growth_bytes": lab.resident().saturating_sub(middle),
    })
}
