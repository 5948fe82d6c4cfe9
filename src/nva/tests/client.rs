//! Rules of the NVE's half: where it goes on, and when it says what is in force.

use super::*;
use crate::mapping::{Scope, Scopes};
use crate::nva::client::{Client, Effect, Grace, Input, News};
use crate::nva::message::{Down, Extent, Told, Up};
use crate::nva::model::Known;
use std::collections::BTreeMap;

/// A node and what its client wants of it.
struct Bench {
    client: Client,
    now_ms: u64,
    ups: Vec<Up>,
    applies: Vec<(bool, Vec<u64>)>,
}

impl Bench {
    fn new(known: Option<Known>) -> Self {
        Bench {
            client: Client::new(name(1), 1, 1, 1, known),
            now_ms: 0,
            ups: Vec::new(),
            applies: Vec::new(),
        }
    }

    fn step(&mut self, input: Input) {
        for effect in self.client.step(self.now_ms, input) {
            match effect {
                Effect::Up(up) => self.ups.push(up),
                Effect::Apply { extent, mappings, .. } => {
                    let whole = extent == Extent::All;
                    self.applies.push((whole, mappings.iter().map(|told| told.sequence).collect()));
                }
                Effect::Open(_)
                | Effect::Close
                | Effect::Compare
                | Effect::Tell(_)
                | Effect::Found(..)
                | Effect::Provision(_)
                | Effect::Blocks(_)
                | Effect::Own(..)
                | Effect::Moves(_)
                | Effect::Groups(_) => {}
            }
        }
    }

    fn down(&mut self, down: Down) {
        self.step(Input::Down(down));
    }

    /// Opens a session. Gives what the client says that it has.
    fn open(&mut self, epoch: u8) -> Option<Known> {
        self.now_ms += 20_000;
        self.step(Input::Tick);
        self.step(Input::Opened);
        self.ups.clear();
        self.down(Down::Welcome {
            version: 1,
            epoch: vec![epoch],
            revision: 9,
            lease_ms: 60_000,
            router: false,
            blocks: true,
            bindings: false,
            addresses: false,
        });
        let subscribed = self.ups.drain(..).find_map(|up| match up {
            Up::Subscribe(known, _) => Some(known),
            _ => None,
        });
        subscribed.unwrap()
    }

    /// Answers what the client asks for, until it asks for nothing more. Gives how much it registered and released.
    fn answer_all(&mut self, answer: impl Fn(u64) -> Down) -> (usize, usize) {
        let mut asked = (0, 0);
        loop {
            self.step(Input::Tick);
            assert!(self.ups.len() < 1_000, "{} messages at once", self.ups.len());
            let ups: Vec<Up> = self.ups.drain(..).collect();
            let before = asked;
            for up in ups {
                match up {
                    Up::Register { id, .. } => {
                        asked.0 += 1;
                        self.down(answer(id));
                    }
                    Up::Unregister { id, .. } => {
                        asked.1 += 1;
                        self.down(answer(id));
                    }
                    _ => {}
                }
            }
            if asked == before {
                return asked;
            }
        }
    }

    fn close(&mut self) {
        self.step(Input::Closed("broken".to_owned()));
    }

    fn snapshot(&mut self, told: Vec<Told>, revision: u64) {
        self.down(Down::Resync("a test".to_owned()));
        self.down(Down::Page(told));
        self.down(Down::SnapshotEnd(revision));
    }

    fn said_applied(&mut self) -> Vec<u64> {
        let applied = |up| match up {
            Up::Applied(revision) => Some(revision),
            _ => None,
        };
        self.ups.drain(..).filter_map(applied).collect()
    }
}

fn known(epoch: u8, revision: u64) -> Option<Known> {
    Some(Known { epoch: vec![epoch], revision })
}

fn told(number: u64, sequence: u64) -> Told {
    Told { key: key(number), choices: at(2), sequence }
}

fn released(number: u64, sequence: u64) -> Told {
    Told { choices: Vec::new(), ..told(number, sequence) }
}

#[test]
fn a_client_goes_on_from_what_is_in_force_and_not_from_what_it_received() {
    let mut bench = Bench::new(None);
    assert_eq!(bench.open(1), None);
    bench.snapshot(vec![told(1, 1)], 1);
    bench.step(Input::Applied);
    bench.down(Down::Delta(2, vec![told(1, 2)]));
    bench.down(Down::Delta(4, vec![told(1, 4)]));
    bench.close();
    // 2 is being applied, and 4 waits.
    assert_eq!(bench.open(1), known(1, 1));
    bench.down(Down::Resumed(1));
    bench.step(Input::Applied);
    // What comes again is in force already, and what is forgotten comes again.
    bench.down(Down::Delta(2, vec![told(1, 2)]));
    bench.down(Down::Delta(4, vec![told(1, 4)]));
    bench.step(Input::Applied);
    assert_eq!(bench.applies, [(true, vec![1]), (false, vec![2]), (false, vec![4])]);
    assert_eq!(bench.client.known(), known(1, 4).as_ref());
    // A node that starts with what its disk holds says so.
    assert_eq!(Bench::new(known(3, 7)).open(4), known(3, 7));
}

#[test]
fn a_snapshot_is_in_force_as_a_whole_with_the_last_of_what_was_told() {
    let mut bench = Bench::new(known(1, 5));
    bench.open(2);
    bench.down(Down::Resync("another epoch".to_owned()));
    bench.down(Down::Page(vec![told(8, 80)]));
    // It begins anew.
    bench.down(Down::Resync("too slow".to_owned()));
    bench.down(Down::Page(vec![told(1, 10), told(2, 20)]));
    bench.down(Down::Page(vec![told(3, 30), released(1, 11), told(2, 21)]));
    bench.down(Down::Page(vec![told(1, 12), released(3, 31)]));
    assert!(bench.applies.is_empty());
    // Of a lagging registry, so it is behind what was in force.
    bench.down(Down::SnapshotEnd(3));
    assert_eq!(bench.applies, [(true, vec![12, 21])]);
    bench.down(Down::Delta(4, vec![told(1, 13), told(1, 14)]));
    bench.step(Input::Applied);
    assert_eq!(bench.applies[1], (false, vec![14]));
}

#[test]
fn applied_is_said_at_most_twenty_times_a_second_and_the_last_one_always() {
    let mut bench = Bench::new(None);
    bench.open(1);
    bench.snapshot(Vec::new(), 1);
    let mut said = Vec::new();
    let began = bench.now_ms;
    for revision in 2..=1_000 {
        bench.step(Input::Applied);
        bench.down(Down::Delta(revision, vec![told(1, revision)]));
        bench.now_ms = began + revision;
        bench.step(Input::Tick);
        said.extend(bench.said_applied());
    }
    assert!((19..=21).contains(&said.len()) && said.is_sorted(), "{said:?}");
    bench.step(Input::Applied);
    bench.now_ms += 50;
    bench.step(Input::Tick);
    assert_eq!(bench.said_applied(), [1_000]);
    assert_eq!(bench.client.status().applied, 1_000);
}

#[test]
fn what_cannot_be_applied_is_asked_for_anew() {
    let mut bench = Bench::new(known(1, 5));
    bench.open(1);
    bench.down(Down::Resumed(5));
    bench.down(Down::Delta(6, vec![told(1, 6)]));
    bench.step(Input::Unusable("it is damaged".to_owned()));
    assert_eq!(bench.open(1), None);
    bench.snapshot(vec![told(1, 7)], 7);
    assert_eq!(bench.applies, [(false, vec![6]), (true, vec![7])]);
}

#[test]
fn a_session_that_was_not_asked_for_is_out_of_turn() {
    for (known, downs) in [
        (None, vec![Down::Resumed(0)]),
        (None, vec![Down::Delta(1, Vec::new())]),
        (None, vec![Down::Resync(String::new()), Down::Delta(1, Vec::new())]),
        (known(1, 5), vec![Down::Resumed(5), Down::Page(Vec::new())]),
        (known(1, 5), vec![Down::SnapshotEnd(6)]),
    ] {
        let mut bench = Bench::new(known);
        bench.open(1);
        downs.into_iter().for_each(|down| bench.down(down));
        assert!(!bench.client.status().live);
    }
}

#[test]
fn requests_wait_for_answers_and_a_stream_is_never_asked_to_hold_all_of_them() {
    let mut bench = Bench::new(None);
    let all: BTreeMap<Key, crate::nva::model::Binding> =
        (1..=5_000).map(|n| (key(n), at(1).into())).collect();
    bench.step(Input::Attached(all));
    bench.open(1);
    assert_eq!(bench.answer_all(|id| Down::Registered { id, sequence: 1, revision: 1 }), (5_000, 0));
    bench.step(Input::Attached(BTreeMap::new()));
    assert_eq!(bench.answer_all(|id| Down::Registered { id, sequence: 2, revision: 2 }), (0, 5_000));
    assert!(bench.ups.is_empty());
}

#[test]
fn a_release_that_the_store_refuses_is_asked_for_again() {
    let mut bench = Bench::new(None);
    bench.step(Input::Attached(BTreeMap::from([(key(1), at(1).into())])));
    bench.open(1);
    bench.answer_all(|id| Down::Registered { id, sequence: 1, revision: 1 });
    bench.step(Input::Attached(BTreeMap::new()));
    let refused = |temporary| {
        move |id| Down::Refused {
            id,
            owner: None,
            sequence: 1,
            why: "the disk is full".to_owned(),
            temporary,
        }
    };
    assert_eq!(bench.answer_all(refused(true)), (0, 1));
    assert_eq!(bench.answer_all(refused(true)), (0, 0));
    bench.now_ms += 1_000;
    assert_eq!(bench.answer_all(refused(false)), (0, 1));
    bench.now_ms += 30_000;
    assert_eq!(bench.answer_all(refused(false)), (0, 0));
}

#[test]
fn after_the_grace_period_it_is_told_once_and_the_mappings_go_if_they_are_to() {
    let known = Known { epoch: vec![1], revision: 5 };
    for forgets in [false, true] {
        let mut bench = Bench::new(Some(known.clone()));
        // The last session ended four seconds before the start.
        bench.client = bench.client.graced(Grace { period_ms: 10_000, forgets }, 4_000);
        let tick = |bench: &mut Bench, now_ms: u64| {
            bench.now_ms = now_ms;
            let effects = bench.client.step(now_ms, Input::Tick);
            let empty = |effect: &&Effect| matches!(effect, Effect::Apply { extent: Extent::All, mappings, .. } if mappings.is_empty());
            let told = effects.iter().filter(|it| **it == Effect::Tell(News::GraceOver { forgets })).count();
            (told, effects.iter().filter(empty).count())
        };
        assert_eq!(tick(&mut bench, 5_999), (0, 0));
        assert!(!bench.client.status().grace_over);
        assert_eq!(tick(&mut bench, 6_000), (1, usize::from(forgets)));
        assert_eq!(tick(&mut bench, 7_000), (0, 0));
        let status = bench.client.status();
        assert_eq!((status.grace_over, status.forgot), (true, forgets));
        // A session that begins before it is in force asks for everything, too.
        assert_eq!(bench.client.known(), (!forgets).then_some(&known));
        bench.step(Input::Applied);
        bench.step(Input::Closed("nobody is there".into()));
        assert_eq!(bench.open(1), (!forgets).then(|| known.clone()));
        // Nor does a session count before it told everything.
        assert_eq!((bench.client.status().grace_over, bench.client.status().forgot), (true, forgets));
        bench.down(Down::Resync("new".into()));
        bench.down(Down::SnapshotEnd(7));
        bench.step(Input::Applied);
        assert!(!bench.client.status().grace_over && !bench.client.status().forgot);
        assert_eq!(bench.client.known().map(|known| known.revision), Some(7));
        // The period begins anew with the end of a session.
        let ended_ms = bench.now_ms;
        bench.step(Input::Closed("gone".into()));
        assert_eq!(tick(&mut bench, ended_ms + 9_999), (0, 0));
        assert_eq!(tick(&mut bench, ended_ms + 10_000), (1, usize::from(forgets)));
    }
}

#[test]
fn what_is_applied_while_the_grace_period_ends_goes_next_unless_a_session_comes_first() {
    for is_back in [false, true] {
        let mut bench = Bench::new(None);
        bench.client = bench.client.graced(Grace { period_ms: 60_000, forgets: true }, 0);
        bench.open(1);
        bench.down(Down::Resync("new".into()));
        bench.down(Down::SnapshotEnd(7));
        bench.step(Input::Closed("gone".into()));
        bench.now_ms += 60_000;
        bench.step(Input::Tick);
        assert_eq!(bench.applies, [(true, vec![])]);
        bench.step(Input::Closed("nobody is there".into()));
        if is_back {
            bench.open(1);
        }
        bench.step(Input::Applied);
        assert_eq!(bench.applies.len(), if is_back { 1 } else { 2 });
        bench.step(Input::Applied);
        assert_eq!(bench.client.known().is_some(), is_back);
    }
}

#[test]
fn sequences_that_are_kept_with_no_mapping_are_those_of_what_is_not_followed() {
    let own = BTreeMap::from([(key(1), 7), (key(9), 8)]);
    let scope = Scope { sir_prefix: SIR, first: key(0).identifier, last: key(5).identifier };
    let of = |client: Client| client.knowing(own.clone()).own().collect::<Vec<_>>();
    assert_eq!(of(Client::new(name(1), 1, 1, 7, None)), []);
    let following = Client::new(name(1), 1, 1, 7, None).following(Scopes::new(vec![scope]));
    assert_eq!(of(following), [(key(9), 8)]);
}
