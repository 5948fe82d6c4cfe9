//! Many mappings: what a snapshot and a slow NVE cost. Figures of a million, alone in its process:
//! `ILAGATE_MAPPINGS=1000000 cargo test --release --lib scale -- --nocapture`.

use super::*;
use crate::mapping::Scopes;
use crate::nva::authority::{Authority, Effect, Input, LIMITS, SessionId};
use crate::nva::message::{Down, Up};
use crate::nva::model::Record;
use crate::nva::registry::Registry;
use std::time::Instant;

const MAPPINGS: u64 = 50_000;

/// Memory of this process in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

fn hello(authority: &mut Authority, id: SessionId) {
    let _ = authority.step(0, Input::Opened(id, None));
    let _ = authority.step(
        0,
        Input::Up(
            id,
            Up::Hello {
                versions: vec![1],
                nve: name(id.0),
                boot: 1,
                asks: false,
                digests: false,
                moves: Modes::default(),
                groups: false,
            },
        ),
    );
}

/// One session from Subscribe to SnapshotEnd. Gives messages and bytes.
fn snapshot(authority: &mut Authority, id: SessionId) -> (usize, usize) {
    hello(authority, id);
    let (mut messages, mut bytes) = (0, 0);
    let mut effects = authority.step(0, Input::Up(id, Up::Subscribe(None, Scopes::default())));
    loop {
        let mut weight = 0;
        for effect in effects {
            let Effect::Down(_, down) = effect else { continue };
            weight += down.weight();
            messages += 1;
            if matches!(down, Down::SnapshotEnd(_)) {
                return (messages, bytes + weight);
            }
        }
        bytes += weight;
        effects = authority.step(0, Input::Ready(id, weight));
    }
}

#[test]
fn many_mappings_are_encoded_once_for_all_and_nobody_waits_for_a_slow_nve() {
    let mappings = std::env::var("ILAGATE_MAPPINGS").map_or(MAPPINGS, |text| text.parse().unwrap());
    let before = resident();
    // Of two hundred NVEs, in the order in which a store reads them.
    let record = |n: u64| Record {
        choices: at(n % 200 + 1),
        owner: name(n % 200 + 1).into(),
        sequence: 1,
        mac: None,
        since: 1,
    };
    let registry = Registry::new(nves(200), (0..mappings).map(|n| (key(n << 16), record(n))), 1, (0, 0));
    let held = resident().saturating_sub(before);
    println!("registry: {} bytes a mapping", held / mappings as usize);
    let settings = with_sessions(settings(1, LIMITS), |sessions| sessions.requests_per_second = 1_000_000);
    let mut authority = Authority::new(settings, registry);
    let snapshots = [1, 2].map(|id| {
        let began = Instant::now();
        let (messages, bytes) = snapshot(&mut authority, SessionId(id));
        println!("snapshot: {messages} messages, {bytes} bytes, {} ms", began.elapsed().as_millis());
        (messages, bytes)
    });
    assert_eq!(snapshots[0], snapshots[1]);
    let (messages, bytes) = snapshots[0];
    assert!(messages as u64 <= mappings / 1_000 + 10 && bytes as u64 <= 48 * mappings, "{messages} {bytes}");
    println!(
        "with two sessions: {} bytes a mapping",
        (resident().saturating_sub(before)) / mappings as usize
    );
    // A third one subscribes and reads nothing, while transactions go on that the others read.
    let slow = SessionId(3);
    hello(&mut authority, slow);
    let mut unread = 0;
    let now_ms = std::cell::Cell::new(0);
    let mut step = |authority: &mut Authority, input| {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in authority.step(now_ms.get(), input) {
                match effect {
                    Effect::Down(id, down) if id == slow => unread += down.weight(),
                    Effect::Down(id, down) => inputs.push(Input::Ready(id, down.weight())),
                    Effect::Released(..) | Effect::Event(_) | Effect::Left(..) | Effect::Applied(_) => {}
                    Effect::Commit(..) => inputs.push(Input::Committed(Ok(()))),
                    Effect::Close(id, why) => panic!("{id:?}: {why}"),
                }
            }
        }
    };
    step(&mut authority, Input::Up(slow, Up::Subscribe(None, Scopes::default())));
    let (began, first) = (Instant::now(), authority.registry().revision());
    for round in 0..20 {
        // Every mapping of the first NVE, each in a transaction of its own.
        // No identifier changes more often than it may.
        now_ms.set(round * 1_000);
        for n in 0..mappings / 200 {
            let request = Up::Register {
                id: n,
                key: key((n * 200) << 16),
                choices: vec![choice(round)],
                known: 0,
                mac: None,
            };
            step(&mut authority, Input::Up(SessionId(1), request));
        }
        if round % 5 == 4 {
            let transactions = authority.registry().revision() - first;
            println!("{transactions} transactions: {} MiB in all", resident() >> 20);
        }
    }
    assert_eq!(authority.registry().revision() - first, 20 * (mappings / 200));
    println!("in {} ms; {unread} bytes wait for the slow one", began.elapsed().as_millis());
    assert!(unread < 2 * LIMITS.window);
}

fn choice(round: u64) -> Choice {
    Choice { locator: locator(1, 0), priority: 1 + round as u8, weight: 1 }
}
