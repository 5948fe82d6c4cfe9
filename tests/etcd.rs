//! The laws of the store on a real etcd, which each test starts for itself on loopback. `ILAGATE_ETCD` names a directory
//! with another `etcd` and `etcdctl` than the machine's.
#![cfg(feature = "etcd")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/etcd_store.rs"]
mod store;
#[path = "support/etcd.rs"]
mod support;

use ilagate::config::ObjectName;
use ilagate::nva::mobility::{InFlight, Mode, Move, MoveId, MoveState, Token};
use ilagate::nva::model::{Object, ObjectKey, Transaction};
use ilagate::nva::store::{EPOCH, Order, Report, Stored};
use proxy::Proxy;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use store::{Store, key, record, writes};
use support::{Etcd, TIMEOUT};

#[test]
fn what_was_committed_is_there_in_the_order_of_keys_after_a_restart() {
    let Some(mut etcd) = Etcd::start(&[]) else { return };
    let mut store = Store::open("nva1", etcd.client);
    assert_eq!((store.running.stored.epoch, store.running.stored.revision), ([7; EPOCH], 0));
    store.commit(writes([1, 2], 1));
    assert_eq!(store.next(), Report::Durable);
    let mut transaction = writes([], 0);
    transaction.writes = vec![(key(2), record(3, 0)), (key(3), record(4, 16))];
    store.commit(transaction);
    assert_eq!(store.next(), Report::Durable);
    store.end();
    etcd.kill();
    etcd.again();
    let stored = Store::open("nva1", etcd.client).running.stored;
    assert_eq!((stored.epoch, stored.revision), ([7; EPOCH], 2));
    assert_eq!(stored.records, [(key(1), record(1, 2)), (key(2), record(3, 0)), (key(3), record(4, 16))]);
}

#[test]
fn many_records_are_read_as_they_were_written() {
    let Some(etcd) = Etcd::start(&[]) else { return };
    let mut store = Store::open("nva1", etcd.client);
    // More than a page of one shard: keys that differ in two equal bytes are in the same one.
    for batch in 0..60_u64 {
        let keys = (0..120).map(|n| batch << 8 | n).map(|n| n << 16 | n);
        store.commit(writes(keys, batch + 1));
        assert_eq!(store.next(), Report::Durable);
    }
    let stored = Store::open("nva2", etcd.client).running.stored;
    assert_eq!((stored.revision, stored.records.len()), (60, 60 * 120));
    assert!(stored.records.is_sorted_by(|a, b| a.0 < b.0));
}

#[test]
fn each_authority_hears_of_the_others_and_one_of_two_wins() {
    let Some(etcd) = Etcd::start(&[]) else { return };
    let (mut first, mut second) = (Store::open("nva1", etcd.client), Store::open("nva2", etcd.client));
    first.commit(writes([1], 1));
    assert_eq!(first.next(), Report::Durable);
    assert_eq!(second.next(), Report::Others(writes([1], 1), Vec::new()));
    // Both at once, many times: one of them wins, and the other one hears of that.
    for n in 2..30 {
        first.commit(writes([n], n));
        second.commit(writes([n], 100 + n));
        let told = [first.next(), second.next()];
        let expected = |mine: u64| match mine {
            0 => [Report::Durable, Report::Others(writes([n], n), Vec::new())],
            _ => [Report::Others(writes([n], 100 + n), Vec::new()), Report::Durable],
        };
        assert!(told == expected(0) || told == expected(1), "{told:?}");
    }
    // An offer that follows what is known no longer is void.
    first.commit_as(first.revision, writes([99], 1), &[]);
    assert_eq!(first.within(Duration::from_millis(300)), None);
    assert_eq!(second.within(Duration::ZERO), None);
    let records = Store::open("nva3", etcd.client).running.stored.records;
    assert_eq!(records.len(), 29);
}

#[test]
fn what_an_authority_knows_is_confirmed_only_if_it_is_so() {
    let Some(etcd) = Etcd::start(&[]) else { return };
    let (mut first, mut second) = (Store::open("nva1", etcd.client), Store::open("nva2", etcd.client));
    let before = etcd.revision().unwrap();
    first.commit(Transaction::default());
    assert_eq!(first.next(), Report::Current);
    assert_eq!(etcd.revision().unwrap(), before, "a question is no transaction");
    second.commit(writes([1], 1));
    first.commit_as(1, Transaction::default(), &[]);
    assert_eq!(second.next(), Report::Durable);
    // Before or after the transaction; if after, the authority is told of that and of nothing else.
    if first.next() == Report::Current {
        assert_eq!(first.next(), Report::Others(writes([1], 1), Vec::new()));
    }
    assert_eq!(first.within(Duration::from_millis(300)), None);
}

#[test]
fn sessions_are_told_with_the_transaction_that_opens_them_and_end_with_their_authority() {
    let Some(etcd) = Etcd::start(&[]) else { return };
    let (first, mut second) = (Store::open("nva1", etcd.client), Store::open("nva2", etcd.client));
    let opened = vec![("nve1".to_owned(), "nva1".to_owned()), ("nve2".to_owned(), "nva1".to_owned())];
    first.commit_as(1, writes([1], 1), &["nve1", "nve2"]);
    assert_eq!(second.next(), Report::Others(writes([1], 1), opened.clone()));
    // One that comes later is told of them.
    let mut third = Store::open("nva3", etcd.client);
    third.within(Duration::from_millis(300));
    assert_eq!(third.sessions, [Report::AtOthers(opened)]);
    first.running.orders.send(Order::Left("nve2".into())).unwrap();
    let gone = |nve: &str| Report::Nowhere(nve.to_owned());
    let hears = |store: &mut Store, expected: Report| {
        let began = Instant::now();
        while !store.sessions.contains(&expected) && began.elapsed() < TIMEOUT {
            assert_eq!(store.within(Duration::from_millis(50)), None);
        }
        assert!(store.sessions.contains(&expected), "{:?}", store.sessions);
    };
    hears(&mut second, gone("nve2"));
    assert!(!second.sessions.contains(&gone("nve1")));
    // An end that comes after a later beginning changes nothing.
    second.commit_as(2, Transaction::default(), &["nve1"]);
    assert_eq!(second.next(), Report::Durable);
    first.running.orders.send(Order::Left("nve1".into())).unwrap();
    let _ = third.next();
    assert_eq!(third.within(Duration::from_millis(500)), None);
    assert!(!third.sessions.contains(&gone("nve1")));
    first.end();
    second.end();
    hears(&mut third, gone("nve1"));
}

#[test]
fn what_is_applied_at_an_authority_is_told_to_the_others_and_ends_with_it() {
    let Some(etcd) = Etcd::start(&[]) else { return };
    let (first, mut second) = (Store::open("nva1", etcd.client), Store::open("nva2", etcd.client));
    let says = |revision| Report::AppliedAt("nva1".to_owned(), revision);
    let hears = |store: &mut Store, expected: Report| {
        let began = Instant::now();
        while !store.sessions.contains(&expected) && began.elapsed() < TIMEOUT {
            assert_eq!(store.within(Duration::from_millis(20)), None);
        }
        assert!(store.sessions.contains(&expected), "{:?}", store.sessions);
    };
    // However often: the last one counts, and it is no transaction.
    (1..=500).for_each(|revision| first.running.orders.send(Order::Applied(revision)).unwrap());
    hears(&mut second, says(Some(500)));
    assert!(second.sessions.len() < 50, "{:?}", second.sessions);
    second.commit(writes([1], 1));
    assert_eq!(second.next(), Report::Durable);
    first.end();
    hears(&mut second, says(None));
}

#[test]
fn an_attachment_comes_to_its_new_nve_only_from_the_old_one_and_only_once() {
    let Some(etcd) = Etcd::start(&[]) else { return };
    let mut store = Store::open("nva1", etcd.client);
    let key = |nve: &str| ObjectKey { nve: nve.to_owned(), name: ObjectName::Attachment("vm1".to_owned()) };
    let object = |sequence| Object { document: "{}".to_owned(), sequence };
    let commits = |revision| Transaction {
        objects: vec![(key("nve1"), None), (key("nve2"), Some(object(revision)))],
        moves: vec![(MoveId(9), Some(moved(revision)))],
        ..Transaction::default()
    };
    // It is not at the old one.
    store.commit(commits(1));
    assert!(matches!(store.next(), Report::Refused(why) if why.contains("not at the NVE that it leaves")));
    let there = |nve| Transaction { objects: vec![(key(nve), Some(object(1)))], ..Transaction::default() };
    store.commit(there("nve1"));
    assert_eq!(store.next(), Report::Durable);
    store.commit(there("nve2"));
    assert_eq!(store.next(), Report::Durable);
    // It is at the new one already.
    store.commit(commits(3));
    assert!(matches!(store.next(), Report::Refused(why) if why.contains("comes to already")));
    store.commit(Transaction { objects: vec![(key("nve2"), None)], ..Transaction::default() });
    assert_eq!(store.next(), Report::Durable);
    store.commit(commits(4));
    assert_eq!(store.next(), Report::Durable);
    store.end();
    let stored = Store::open("nva1", etcd.client).running.stored;
    let at: Vec<&str> = stored.objects.iter().map(|(key, _)| key.nve.as_str()).collect();
    assert_eq!((at, stored.moves.len()), (vec!["nve2"], 1));
}

/// A move whose commit is this revision.
fn moved(committed: u64) -> Move {
    Move {
        id: MoveId(9),
        attachment: "vm1".to_owned(),
        from: "nve1".to_owned(),
        to: "nve2".to_owned(),
        document: "{}".to_owned(),
        networks: Vec::new(),
        keys: Vec::new(),
        mode: Mode::Hot,
        in_flight: InFlight::Auto,
        token: Token([1; 16]),
        state: MoveState::Spreading,
        since_ms: 0,
        said: Default::default(),
        overdue: false,
        sequence: committed,
        committed,
        seeded_ms: None,
        timeline: Vec::new(),
    }
}

#[test]
fn a_session_that_ends_before_it_is_opened_leaves_nothing() {
    let Some(etcd) = Etcd::start(&[]) else { return };
    let mut store = Store::open("nva1", etcd.client);
    // Nothing is offered before there is a lease.
    store.commit_as(1, Transaction::default(), &["nve1"]);
    store.running.orders.send(Order::Left("nve1".into())).unwrap();
    assert_eq!(store.next(), Report::Durable);
    let began = Instant::now();
    while !etcd.ctl(&["get", "/ilagate/lab/s/nve1"]).unwrap().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(5), "it has a session still");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn large_objects_are_read_as_they_were_written() {
    let Some(etcd) = Etcd::start(&[]) else { return };
    let mut store = Store::open("nva1", etcd.client);
    let mut objects = Vec::new();
    for n in 0..20 {
        let object = Object { document: "x".repeat(256 << 10), sequence: n + 1 };
        let key = ObjectKey { nve: String::new(), name: ObjectName::Network(format!("net{n:02}")) };
        objects.push((key.clone(), object.clone()));
        store.commit(Transaction { objects: vec![(key, Some(object))], ..Transaction::default() });
        assert_eq!(store.next(), Report::Durable);
    }
    assert_eq!(Store::open("nva2", etcd.client).running.stored.objects, objects);
}

#[test]
fn an_older_copy_of_etcd_is_of_no_use() {
    let Some(etcd) = Etcd::start(&[]) else { return };
    let mut store = Store::open("nva1", etcd.client);
    let before = etcd.ctl(&["get", "--print-value-only", "/ilagate/lab/head"]).unwrap();
    store.commit(writes([1], 1));
    assert_eq!(store.next(), Report::Durable);
    etcd.ctl(&["put", "/ilagate/lab/head", before.trim()]).unwrap();
    assert!(matches!(store.next(), Report::Broken(why) if why.contains("older copy")));
}

#[test]
fn what_was_sent_before_a_cut_is_settled_and_never_done_twice() {
    let Some(etcd) = Etcd::start(&[]) else { return };
    let proxy = Proxy::before(etcd.client);
    let mut other = Store::open("nva2", etcd.client);
    let mut store = Store::open("nva1", proxy.address);
    store.commit(writes([50], 50));
    assert_eq!(store.next(), Report::Durable);
    assert_eq!(other.next(), Report::Others(writes([50], 50), Vec::new()));
    for n in 1..=5_u64 {
        let revision = store.revision;
        // Etcd gets it, and its answer is lost.
        proxy.is_deaf.store(true, Ordering::SeqCst);
        let passed = proxy.passed.load(Ordering::SeqCst);
        store.commit(writes([n], n));
        let began = Instant::now();
        while proxy.passed.load(Ordering::SeqCst) == passed {
            assert!(began.elapsed() < TIMEOUT);
        }
        assert_eq!(other.next(), Report::Others(writes([n], n), Vec::new()));
        proxy.is_closed.store(true, Ordering::SeqCst);
        proxy.cut();
        // Nothing is said while nothing is known.
        assert!(!matches!(
            store.within(Duration::from_millis(300)),
            Some(Report::Durable | Report::Refused(_))
        ));
        proxy.is_deaf.store(false, Ordering::SeqCst);
        proxy.is_closed.store(false, Ordering::SeqCst);
        while store.next() != Report::Durable {}
        assert_eq!(store.revision, revision + 1);
    }
    // Another authority comes first while nothing is known: that is told, and no more.
    proxy.is_closed.store(true, Ordering::SeqCst);
    proxy.cut();
    store.commit(writes([9], 9));
    other.commit(writes([8], 8));
    assert_eq!(other.next(), Report::Durable);
    std::thread::sleep(Duration::from_millis(300));
    proxy.is_closed.store(false, Ordering::SeqCst);
    let told = loop {
        match store.next() {
            Report::Away(_) => {}
            told => break told,
        }
    };
    assert_eq!(told, Report::Others(writes([8], 8), Vec::new()));
    let stored = Store::open("nva3", etcd.client).running.stored;
    assert_eq!((stored.revision, stored.records.len()), (7, 7));
}

#[test]
fn an_etcd_that_is_away_is_told_of_and_what_waits_is_done_when_it_is_back() {
    let Some(mut etcd) = Etcd::start(&[]) else { return };
    let mut store = Store::open("nva1", etcd.client);
    store.commit(writes([1], 1));
    assert_eq!(store.next(), Report::Durable);
    etcd.kill();
    store.commit(writes([2], 2));
    assert!(matches!(store.next(), Report::Away(Some(_))));
    assert_eq!(store.within(Duration::from_secs(1)), None);
    etcd.again();
    let mut told = vec![store.next(), store.next()];
    told.sort_by_key(|report| *report == Report::Durable);
    assert_eq!(told, [Report::Away(None), Report::Durable]);
}

#[test]
fn what_etcd_forgot_is_read_anew() {
    let Some(etcd) = Etcd::start(&[]) else { return };
    let proxy = Proxy::before(etcd.client);
    let mut store = Store::open("nva1", proxy.address);
    let mut other = Store::open("nva2", etcd.client);
    store.commit(writes([1], 1));
    assert_eq!(store.next(), Report::Durable);
    assert_eq!(other.next(), Report::Others(writes([1], 1), Vec::new()));
    proxy.is_closed.store(true, Ordering::SeqCst);
    proxy.cut();
    store.commit(writes([100], 9));
    for n in 2..5 {
        other.commit(writes([n], n));
        assert_eq!(other.next(), Report::Durable);
    }
    etcd.ctl(&["compact", &etcd.revision().unwrap().to_string()]).unwrap();
    proxy.is_closed.store(false, Ordering::SeqCst);
    let told = loop {
        match store.next() {
            Report::Away(_) => {}
            told => break told,
        }
    };
    let records = (1..5).map(|n| (key(n), record(n, 2))).collect();
    let stored = Stored { epoch: [7; EPOCH], revision: 4, records, ..Stored::default() };
    assert_eq!(told, Report::Replaced(stored));
    store.revision = 4;
    store.commit(writes([5], 5));
    assert_eq!(store.next(), Report::Durable);
    assert_eq!(other.next(), Report::Others(writes([5], 5), Vec::new()));
}

#[test]
fn a_full_etcd_refuses_in_its_own_words_and_goes_on_when_it_has_room() {
    let Some(etcd) = Etcd::start(&["--quota-backend-bytes", "1048576"]) else { return };
    let mut store = Store::open("nva1", etcd.client);
    let mut n = 0;
    let why = loop {
        n += 1;
        store.commit(writes(n * 200..n * 200 + 120, n));
        match store.next() {
            Report::Durable => assert!(n < 1_000, "it is never full"),
            Report::Refused(why) => break why,
            other => panic!("{other:?}"),
        }
    };
    assert!(why.contains("database space exceeded"), "{why}");
    // What is there is read still.
    assert_eq!(Store::open("nva2", etcd.client).running.stored.revision, n - 1);
    etcd.ctl(&["compact", &etcd.revision().unwrap().to_string()]).unwrap();
    etcd.ctl(&["defrag"]).unwrap();
    etcd.ctl(&["del", "--prefix", "/ilagate/other"]).unwrap();
    etcd.ctl(&["alarm", "disarm"]).unwrap();
    store.commit(writes([1], 1));
    let told = store.next();
    assert!(matches!(&told, Report::Durable | Report::Refused(_)), "{told:?}");
}

#[test]
fn a_registry_that_others_wrote_into_is_of_no_use() {
    let Some(etcd) = Etcd::start(&[]) else { return };
    let mut store = Store::open("nva1", etcd.client);
    etcd.ctl(&["del", "/ilagate/lab/head"]).unwrap();
    assert!(matches!(store.next(), Report::Broken(why) if why.contains("the head was deleted")));
    etcd.ctl(&["put", "/ilagate/lab/head", "something else"]).unwrap();
    let why = Store::try_open("nva1", etcd.client).map(|_| ()).unwrap_err();
    assert!(why.contains("`something else`, which this release cannot read"), "{why}");
}

#[test]
fn who_is_far_from_etcd_has_its_turn_beside_one_that_commits_without_pause() {
    let Some(etcd) = Etcd::start(&[]) else { return };
    let proxy = Proxy::far_from(etcd.client, Duration::from_millis(50));
    let (mut near, mut far) = (Store::open("nva1", etcd.client), Store::open("nva2", proxy.address));
    let done = Arc::new(AtomicBool::new(false));
    let until = done.clone();
    let busy = std::thread::spawn(move || {
        let mut committed = 0_u64;
        while !until.load(Ordering::SeqCst) {
            near.commit(writes([near.revision % 100], near.revision + 1));
            // One that lost is made again after what came first.
            committed += u64::from(near.next() == Report::Durable);
        }
        committed
    });
    for n in 0..2 {
        let mut lost = 0;
        far.commit(writes([1_000 + n], n + 1));
        while far.next() != Report::Durable {
            // It is judged again by what came first.
            lost += 1;
            far.commit(writes([1_000 + n], n + 1));
            assert!(lost < 1_000, "it loses again and again");
        }
    }
    done.store(true, Ordering::SeqCst);
    let committed = busy.join().unwrap();
    assert!(committed > 5, "the other one committed {committed} times and hardly went on");
}

/// Prints what a transaction costs beside one of etcd itself: `ILAGATE_TRANSACTIONS=500 cargo test --release --test etcd
/// a_commit_is -- --nocapture`.
#[test]
fn a_commit_is_one_transaction_of_etcd() {
    const ROUNDS: u64 = 5;
    let transactions = std::env::var("ILAGATE_TRANSACTIONS").map_or(2, |text| text.parse().unwrap());
    let Some(etcd) = Etcd::start(&[]) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let endpoint = format!("http://{}", etcd.client);
    let mut raw = runtime.block_on(etcd_client::Client::connect([endpoint], None)).unwrap();
    let mut store = Store::open("nva1", etcd.client);
    store.commit(writes([1], 1));
    assert_eq!(store.running.reports.blocking_recv(), Some(Report::AtOthers(Vec::new())));
    assert_eq!(store.next(), Report::Durable);
    for records in [1_u64, 64, 120] {
        let before = etcd.revision().unwrap();
        let (mut by_store, mut by_itself) = (Duration::ZERO, Duration::ZERO);
        for round in 0..ROUNDS {
            let keys =
                |n: u64| (0..records).map(move |m| (round * transactions + n) << 16 | m << 8 | records);
            let began = Instant::now();
            for n in 0..transactions {
                store.commit(writes(keys(n), 1));
                assert_eq!(store.running.reports.blocking_recv(), Some(Report::Durable));
                store.revision += 1;
            }
            by_store += began.elapsed();
            let began = Instant::now();
            for n in 0..transactions {
                let puts = keys(n).map(|key| {
                    let value = vec![7; 37];
                    etcd_client::TxnOp::put(format!("/raw/r/00/{key:032x}"), value, None)
                });
                let head = etcd_client::TxnOp::put("/raw/head", vec![b'0'; 80], None);
                let transaction = etcd_client::Txn::new().and_then(puts.chain([head]).collect::<Vec<_>>());
                runtime.block_on(raw.txn(transaction)).unwrap();
            }
            by_itself += began.elapsed();
        }
        // As many by the store as by itself.
        assert_eq!(etcd.revision().unwrap() - before, (2 * ROUNDS * transactions) as i64);
        let rate = |took: Duration| (ROUNDS * transactions * records) as f64 / took.as_secs_f64();
        let (store_rate, raw_rate) = (rate(by_store), rate(by_itself));
        let part = store_rate / raw_rate;
        println!(
            "{records} records a transaction: {store_rate:.0}/s, by itself {raw_rate:.0}/s, {part:.2} of it"
        );
    }
}
