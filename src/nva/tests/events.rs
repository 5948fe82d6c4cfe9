//! What operators are told of what happens, and how long it takes until NVEs have it.

use super::*;
use crate::mapping::Scopes;
use crate::nva::authority::{Authority, Effect, Input, LIMITS, SessionId, Ticket};
use crate::nva::event::{By, Event, Kind};
use crate::nva::message::Up;
use crate::nva::model::{Record, Transaction};
use crate::nva::registry::Registry;

/// An authority whose store answers at once, and what operators are told.
struct Bench {
    authority: Authority,
    now_ms: u64,
    events: Vec<Event>,
}

impl Bench {
    fn new() -> Self {
        let registry = Registry::new(nves(3), Vec::new(), 0, (0, 0));
        Bench { authority: Authority::new(settings(1, LIMITS), registry), now_ms: 0, events: Vec::new() }
    }

    fn step(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in self.authority.step(self.now_ms, input) {
                match effect {
                    Effect::Event(event) => self.events.push(event),
                    Effect::Commit(_) => inputs.push(Input::Committed(Ok(()))),
                    Effect::Down(id, down) => inputs.push(Input::Ready(id, down.weight())),
                    Effect::Close(..) | Effect::Released(..) | Effect::Left(_) | Effect::Applied(_) => {}
                }
            }
        }
    }

    fn up(&mut self, session: u64, up: Up) {
        self.step(Input::Up(SessionId(session), up));
    }

    fn hello(&mut self, nve: u64) {
        self.step(Input::Opened(SessionId(nve), None));
        self.up(
            nve,
            Up::Hello {
                versions: vec![1],
                nve: name(nve),
                boot: 1,
                asks: false,
                digests: false,
                moves: Modes::default(),
                groups: false,
            },
        );
    }

    fn register(&mut self, nve: u64, number: u64) {
        self.up(nve, Up::Register { id: number, key: key(number), choices: at(nve), known: 0, mac: None });
    }

    /// What operators were told since the last call: kind, NVE, who, identifier, how many.
    fn told(&mut self) -> Vec<(Kind, String, String, u64, u64)> {
        let one = |event: Event| {
            let by = match event.by {
                By::Authority => String::new(),
                By::Session(id, nve) => format!("{}:{}", id.0, nve.as_deref().unwrap_or("?")),
                By::Operator(ticket) => format!("operator {}", ticket.0),
                By::Author(..) => panic!("{event:?}"),
            };
            let nve = event.nve.as_deref().unwrap_or_default().to_owned();
            (event.kind, nve, by, event.key.map_or(0, |key| key.identifier & 0xffff), event.count)
        };
        std::mem::take(&mut self.events).into_iter().map(one).collect()
    }
}

#[test]
fn what_changes_is_told_once_with_who_did_it() {
    let mut bench = Bench::new();
    let of = |kind, nve: &str, by: &str, key| (kind, nve.to_owned(), by.to_owned(), key, 0);
    bench.hello(1);
    bench.register(1, 7);
    assert_eq!(
        bench.told(),
        [of(Kind::SessionOpened, "nve1", "1:nve1", 0), of(Kind::Registered, "nve1", "1:nve1", 7)]
    );
    // Nothing changes.
    bench.register(1, 7);
    assert_eq!(bench.told(), []);
    bench.hello(2);
    bench.register(2, 7);
    bench.step(Input::Release(Ticket(1), key(7)));
    assert_eq!(
        bench.told(),
        [
            of(Kind::SessionOpened, "nve2", "2:nve2", 0),
            of(Kind::Refused, "nve2", "2:nve2", 7),
            of(Kind::ChangeRefused, "", "operator 1", 7),
        ]
    );
    bench.up(1, Up::Unregister { id: 9, key: key(7) });
    bench.register(1, 8);
    bench.step(Input::Closed(SessionId(1)));
    bench.step(Input::Release(Ticket(2), key(8)));
    assert_eq!(
        bench.told(),
        [
            of(Kind::Released, "nve1", "1:nve1", 7),
            of(Kind::Registered, "nve1", "1:nve1", 8),
            of(Kind::SessionClosed, "nve1", "1:nve1", 0),
            of(Kind::Released, "nve1", "operator 2", 8),
        ]
    );
    // Another authority of the store.
    let record = Record { choices: at(3), owner: name(3).into(), sequence: 5, mac: None, since: 5 };
    let transaction = Transaction { writes: vec![(key(9), record)], ..Transaction::default() };
    bench.step(Input::Others(transaction, Vec::new()));
    assert_eq!(bench.told(), [of(Kind::Registered, "nve3", "", 9)]);
}

#[test]
fn the_end_of_a_session_is_told_with_its_kind() {
    let mut bench = Bench::new();
    bench.hello(1);
    bench.told();
    let kinds = |bench: &mut Bench| bench.told().into_iter().map(|told| (told.0, told.2)).collect::<Vec<_>>();
    // Somebody who is not known here, and one who says nothing.
    bench.step(Input::Opened(SessionId(8), None));
    bench.up(
        8,
        Up::Hello {
            versions: vec![1],
            nve: "<b>".to_owned(),
            boot: 1,
            asks: false,
            digests: false,
            moves: Modes::default(),
            groups: false,
        },
    );
    bench.step(Input::Opened(SessionId(9), None));
    bench.step(Input::Closed(SessionId(9)));
    assert_eq!(kinds(&mut bench), [(Kind::SessionRefused, "8:?".to_owned())]);
    bench.up(
        1,
        Up::Hello {
            versions: vec![1],
            nve: name(1),
            boot: 1,
            asks: false,
            digests: false,
            moves: Modes::default(),
            groups: false,
        },
    );
    assert_eq!(kinds(&mut bench), [(Kind::SessionEnded, "1:nve1".to_owned())]);
    assert_eq!(bench.authority.away_ms().len(), 3);
    bench.hello(1);
    assert_eq!(bench.authority.away_ms().keys().copied().collect::<Vec<_>>(), ["nve2", "nve3"]);
    bench.now_ms = 60_000;
    bench.step(Input::Tick);
    assert_eq!(kinds(&mut bench).last().unwrap(), &(Kind::SessionStale, "1:nve1".to_owned()));
    bench.now_ms = 61_500;
    bench.step(Input::Tick);
    assert_eq!(bench.authority.away_ms()["nve1"], 1_500);
    assert_eq!(bench.authority.away_ms()["nve2"], 61_500);
}

#[test]
fn a_flood_of_registrations_is_some_events_and_a_number() {
    let mut bench = Bench::new();
    bench.hello(1);
    bench.told();
    let register = |bench: &mut Bench, number, at: u64| {
        let choices = vec![Choice { locator: locator(1, at), priority: 0, weight: 1 }];
        bench.up(1, Up::Register { id: number, key: key(number), choices, known: 0, mac: None });
    };
    // They come and move.
    (0..750).for_each(|number| register(&mut bench, number, 0));
    (0..750).for_each(|number| register(&mut bench, number, 1));
    assert_eq!(bench.told().len(), 1_000);
    bench.now_ms = 1_000;
    bench.step(Input::Tick);
    let rest = bench.told();
    assert_eq!((rest[0].0, &rest[0].1[..], rest[0].4, rest.len()), (Kind::MoreRegistered, "nve1", 500, 1));
}

#[test]
fn the_time_until_it_is_in_force_counts_from_when_it_is_durable_for_those_who_are_subscribed() {
    let mut bench = Bench::new();
    let count = |bench: &Bench| bench.authority.convergence().buckets.iter().sum::<u64>();
    bench.hello(1);
    bench.register(1, 1);
    bench.now_ms = 1_000;
    bench.hello(2);
    bench.up(2, Up::Subscribe(None, Scopes::default()));
    bench.up(2, Up::Applied(1));
    // What was there before says nothing of how long that took.
    assert_eq!(count(&bench), 0);
    bench.register(1, 2);
    bench.register(1, 3);
    bench.now_ms = 1_007;
    bench.up(2, Up::Applied(2));
    assert_eq!((count(&bench), bench.authority.convergence().sum_ms), (1, 7));
    // Who follows nothing, as the first one, is not behind.
    assert_eq!(bench.authority.lag(), 1);
    bench.now_ms = 1_020;
    // The same again, and a revision that is not there yet.
    bench.up(2, Up::Applied(2));
    bench.up(2, Up::Applied(99));
    assert_eq!((count(&bench), bench.authority.convergence().sum_ms), (2, 27));
    assert_eq!(bench.authority.convergence().buckets[3..5], [1, 1]);
    assert_eq!(bench.authority.lag(), 0);
}
