//! Rules of an NVE that asks, and of what the authority answers it.

mod redirects;

use super::*;
use crate::mapping::Scopes;
use crate::nva::authority::{self, Authority, LIMITS, SessionId, Settings};
use crate::nva::cache::Cache;
use crate::nva::client::{Client, Counts, Effect, Input, Status};
use crate::nva::codec::{read_down, read_up, write_down, write_up};
use crate::nva::event::{By, Kind};
use crate::nva::message::{Down, Extent, INTERESTS, QUERIES, QUERY_KEYS, Told, Triangle, Up};
use crate::nva::model::Record;
use crate::nva::registry::Registry;
use std::collections::{BTreeMap, BTreeSet};

const LIFETIME_MS: u64 = 300_000;
const NEGATIVE_MS: u64 = 2_000;

/// An authority that has the identifiers 1 to `held` of nve1, and nve2, which asks for them.
struct Bench {
    authority: Authority,
    client: Client,
    now_ms: u64,
    session: u64,
    table: BTreeMap<Key, Vec<Choice>>,
    /// What workers tell of when it is used.
    marked: BTreeSet<Key>,
    /// The identifiers of each query since the last look.
    queries: Vec<Vec<Key>>,
    /// Identifiers that deltas told of.
    told: BTreeSet<Key>,
    ended: bool,
    /// What the audit says of redirects.
    redirected: Vec<u64>,
    /// Whether no stream opens.
    cut_off: bool,
}

impl Bench {
    fn new(held: u64) -> Self {
        let record = || Record { choices: at(1), owner: name(1).into(), sequence: 1, mac: None, since: 1 };
        let stored: Vec<(Key, Record)> = (1..=held).map(|n| (key(n), record())).collect();
        let registry = Registry::new(nves(3), stored, held, (0, 0));
        let settings = with_sessions(settings(1, LIMITS), |sessions| sessions.lease_ms = 10_000_000);
        let mut bench = Bench {
            authority: Authority::new(settings, registry),
            client: Client::new(name(2), 1, 1, 1, None).caching(),
            now_ms: 0,
            session: 0,
            table: BTreeMap::new(),
            marked: BTreeSet::new(),
            queries: Vec::new(),
            told: BTreeSet::new(),
            ended: false,
            redirected: Vec::new(),
            cut_off: false,
        };
        bench.hello(1);
        bench.client(Input::Tick);
        bench
    }

    /// A session of another NVE, which registers.
    fn hello(&mut self, nve: u64) {
        self.authority(authority::Input::Opened(SessionId(1_000 + nve), None));
        self.other(
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

    fn other(&mut self, nve: u64, up: Up) {
        self.authority(authority::Input::Up(SessionId(1_000 + nve), up));
    }

    /// Time passes in steps that keep the session.
    fn wait(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.now_ms = end.min(self.now_ms + 1_000);
            self.client(Input::Tick);
            self.authority(authority::Input::Tick);
        }
    }

    fn misses(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.client(Input::Misses(numbers.into_iter().map(key).collect()));
    }

    fn client(&mut self, input: Input) {
        for effect in self.client.step(self.now_ms, input) {
            match effect {
                Effect::Open(_) if self.cut_off => self.client(Input::Closed("refused".to_owned())),
                Effect::Open(_) => {
                    self.session += 1;
                    self.ended = false;
                    self.authority(authority::Input::Opened(SessionId(self.session), None));
                    self.client(Input::Opened);
                }
                Effect::Up(up) => {
                    if let Up::Query { keys, .. } = &up {
                        assert!((1..=QUERY_KEYS).contains(&keys.len()));
                        self.queries.push(keys.clone());
                    }
                    // As it goes over the wire.
                    let up = read_up(write_up(up)).unwrap();
                    self.authority(authority::Input::Up(SessionId(self.session), up));
                }
                Effect::Apply { extent, mappings, expiring, .. } => {
                    if extent == Extent::All {
                        self.table.clear();
                        self.marked.clear();
                    }
                    for told in mappings {
                        self.marked.remove(&told.key);
                        match told.choices.is_empty() {
                            true => _ = self.table.remove(&told.key),
                            false => _ = self.table.insert(told.key, told.choices),
                        }
                    }
                    for key in expiring {
                        assert!(self.table.contains_key(&key) && self.marked.insert(key), "{key}");
                    }
                    self.client(Input::Applied);
                }
                Effect::Close => self.ended = true,
                Effect::Compare
                | Effect::Tell(_)
                | Effect::Provision(_)
                | Effect::Found(..)
                | Effect::Blocks(_)
                | Effect::Own(..)
                | Effect::Moves(_)
                | Effect::Groups(_) => {}
            }
        }
    }

    fn authority(&mut self, input: authority::Input) {
        for effect in self.authority.step(self.now_ms, input) {
            match effect {
                authority::Effect::Down(id, down) => {
                    self.authority(authority::Input::Ready(id, down.weight()));
                    let down = read_down(write_down(down)).unwrap();
                    if id == SessionId(self.session) {
                        if let Down::Delta(_, mappings) = &down {
                            self.told.extend(mappings.iter().map(|told| told.key));
                        }
                        self.client(Input::Down(down));
                    }
                }
                authority::Effect::Close(id, why) => {
                    if id == SessionId(self.session) {
                        self.client(Input::Closed(why));
                    }
                }
                authority::Effect::Commit(..) => {
                    self.authority(authority::Input::Committed(Ok(())));
                }
                authority::Effect::Released(..)
                | authority::Effect::Left(..)
                | authority::Effect::Applied(_) => {}
                authority::Effect::Event(event) if event.kind == Kind::Redirected => {
                    let By::Session(_, router) = event.by else { panic!("{event:?}") };
                    assert_eq!([router, event.nve].map(|it| it.unwrap().to_string()), [name(1), name(2)]);
                    self.redirected.push(event.key.unwrap().identifier & 0xffff);
                }
                authority::Effect::Event(_) => {}
            }
        }
    }

    fn counts(&self) -> Counts {
        let Status { cache, .. } = self.client.status();
        cache
    }

    fn knows(&self) -> Vec<u64> {
        self.table.keys().map(|key| key.identifier & 0xffff).collect()
    }
}

#[test]
fn what_packets_need_is_asked_for_once_and_known_from_then_on() {
    let mut bench = Bench::new(100);
    assert!(bench.knows().is_empty() && bench.queries.is_empty());
    bench.misses([1, 2, 1]);
    assert_eq!((bench.knows(), bench.queries.len()), (vec![1, 2], 1));
    bench.misses([1, 2]);
    assert_eq!(bench.queries.len(), 1);
    let counts = Counts { asked: 2, suppressed: 3, mappings: 2, ..Counts::default() };
    assert_eq!(bench.counts(), counts);
}

#[test]
fn what_nobody_has_is_not_asked_again_before_its_time_is_over() {
    let mut bench = Bench::new(1);
    bench.misses([7]);
    assert_eq!((bench.queries.len(), bench.counts().negative), (1, 1));
    bench.now_ms += NEGATIVE_MS - 1;
    bench.misses([7]);
    assert_eq!((bench.queries.len(), bench.counts().suppressed), (1, 1));
    bench.now_ms += 1;
    bench.misses([7]);
    assert_eq!((bench.queries.len(), bench.counts().negative), (2, 2));
    // And what never can have a mapping is not asked for at all.
    let interface = Key { sir_prefix: SIR, identifier: 7 };
    bench.client(Input::Misses(vec![interface]));
    assert_eq!(bench.queries.len(), 2);
}

#[test]
fn what_was_asked_for_changes_with_the_registry_and_nothing_else_is_told() {
    let mut bench = Bench::new(10);
    bench.misses([1, 2]);
    for number in [1, 3] {
        bench.other(1, Up::Unregister { id: number, key: key(number) });
    }
    assert_eq!(bench.knows(), [2]);
    let choices = vec![Choice { locator: locator(1, 1), priority: 0, weight: 1 }];
    for number in [2, 4] {
        bench.other(
            1,
            Up::Register { id: number, key: key(number), choices: choices.clone(), known: 0, mac: None },
        );
    }
    assert_eq!(bench.table[&key(2)], choices);
    assert_eq!(bench.told, BTreeSet::from([key(1), key(2)]));
    // What comes back is asked for again.
    bench.hello(3);
    bench.other(1, Up::Register { id: 9, key: key(1), choices: at(1), known: 0, mac: None });
    assert_eq!(bench.knows(), [2]);
    bench.misses([1]);
    assert_eq!(bench.knows(), [1, 2]);
}

#[test]
fn a_mapping_goes_when_its_time_is_over_unless_the_authority_is_away() {
    let mut bench = Bench::new(10);
    bench.misses([1]);
    bench.wait(LIFETIME_MS - 1_000);
    assert_eq!(bench.knows(), [1]);
    bench.wait(2_000);
    assert!(bench.knows().is_empty());
    // The next packet asks for it again.
    bench.misses([1]);
    assert_eq!(bench.knows(), [1]);
    // Without a session it is used for two lifetimes more.
    bench.wait(LIFETIME_MS / 2);
    bench.client(Input::Closed("broken".to_owned()));
    bench.authority(authority::Input::Closed(SessionId(1)));
    bench.cut_off = true;
    bench.wait(2 * LIFETIME_MS - 1_000);
    assert_eq!(bench.knows(), [1]);
    bench.wait(1_000);
    assert!(bench.knows().is_empty());
}

#[test]
fn what_is_used_is_asked_for_again_before_its_time_is_over_and_what_is_not_used_is_not() {
    let mut bench = Bench::new(100);
    bench.misses(1..=60);
    bench.queries.clear();
    bench.wait(LIFETIME_MS / 100 * 79);
    assert!(bench.marked.is_empty());
    // A miss of what is not marked is one of before its answer.
    bench.misses([1]);
    bench.wait(LIFETIME_MS / 100 * 6);
    let half = bench.marked.len();
    assert!((10..50).contains(&half), "{half} of 60 are marked in the middle");
    bench.wait(LIFETIME_MS / 100 * 6);
    assert_eq!((bench.marked.len(), bench.queries.len()), (60, 0));
    // Packets use some of them, and are many.
    bench.misses([1, 2, 1]);
    bench.misses([2]);
    assert_eq!(bench.queries, [vec![key(1), key(2)]]);
    assert_eq!((bench.marked.len(), bench.counts().refreshed), (58, 2));
    bench.wait(LIFETIME_MS / 10);
    assert_eq!((bench.knows(), bench.marked.len()), (vec![1, 2], 0));
    // They have a whole lifetime more, are marked again, and follow the registry.
    bench.wait(LIFETIME_MS / 100 * 79);
    assert_eq!(bench.knows(), [1, 2]);
    bench.other(1, Up::Unregister { id: 1, key: key(1) });
    assert_eq!(bench.knows(), [2]);
}

#[test]
fn a_mark_stays_when_the_mapping_changes_and_goes_with_the_session() {
    let mut bench = Bench::new(10);
    bench.misses([1]);
    bench.wait(LIFETIME_MS / 100 * 91);
    assert_eq!(bench.marked.len(), 1);
    let choices = vec![Choice { locator: locator(1, 1), priority: 0, weight: 1 }];
    bench.other(1, Up::Register { id: 1, key: key(1), choices: choices.clone(), known: 0, mac: None });
    bench.wait(1_000);
    assert_eq!((&bench.table[&key(1)], bench.marked.len()), (&choices, 1));
    bench.cut_off = true;
    bench.client(Input::Closed("broken".to_owned()));
    assert_eq!((bench.table.len(), bench.marked.len()), (1, 0));
}

#[test]
fn what_a_node_without_a_session_may_use_is_given_to_nobody_else() {
    let mut bench = Bench::new(10);
    bench.hello(3);
    // What it had before the authority started it has asked for again by then.
    bench.wait(120_000);
    bench.misses([1, 2]);
    bench.client(Input::Closed("broken".to_owned()));
    bench.cut_off = true;
    bench.authority(authority::Input::Closed(SessionId(1)));
    for number in [1, 3] {
        bench.other(1, Up::Unregister { id: number, key: key(number) });
    }
    let claim = |bench: &mut Bench| {
        bench.now_ms += 1;
        for number in [1, 3] {
            bench
                .other(3, Up::Register { id: number, key: key(number), choices: at(3), known: 0, mac: None });
        }
        [1, 3].map(|number| bench.authority.registry().record(key(number)).unwrap().owner.to_string())
    };
    assert_eq!(claim(&mut bench), [name(1), name(3)]);
    bench.wait(2 * LIFETIME_MS);
    assert_eq!((bench.table.len(), claim(&mut bench)), (0, [name(1), name(3)]));
    bench.wait(30_000);
    assert_eq!(claim(&mut bench), [name(3), name(3)]);
}

#[test]
fn what_a_node_had_before_a_short_session_is_given_to_nobody_else_either() {
    let mut bench = Bench::new(10);
    bench.hello(3);
    bench.misses([1]);
    bench.client(Input::Closed("broken".to_owned()));
    bench.authority(authority::Input::Closed(SessionId(1)));
    // A session that ends before anything was asked for.
    bench.authority(authority::Input::Opened(SessionId(900), None));
    let hello = Up::Hello {
        versions: vec![1],
        nve: name(2),
        boot: 1,
        asks: true,
        digests: false,
        moves: Modes::default(),
        groups: false,
    };
    bench.authority(authority::Input::Up(SessionId(900), hello));
    bench.authority(authority::Input::Closed(SessionId(900)));
    bench.other(1, Up::Unregister { id: 1, key: key(1) });
    bench.now_ms += 1;
    bench.other(3, Up::Register { id: 1, key: key(1), choices: at(3), known: 0, mac: None });
    assert_eq!(bench.authority.registry().record(key(1)).unwrap().owner, name(1));
}

#[test]
fn a_node_uses_what_a_short_session_did_not_confirm_no_longer_for_it() {
    let mut cache = Cache::new(1);
    cache.begin(0);
    [1, 2].into_iter().for_each(|number| cache.miss(key(number), 0));
    let answer = |cache: &mut Cache, numbers: &[u64], now_ms| {
        let (id, _) = cache.next_query().unwrap();
        let told = |number: &u64| Told { key: key(*number), choices: at(1), sequence: 1 };
        let mappings = numbers.iter().map(told).collect();
        let lifetime_ms = LIFETIME_MS as u32;
        let answer = Down::Answer { id, revision: 1, mappings, lifetime_ms, negative_lifetime_ms: 0 };
        cache.receive(answer, now_ms).unwrap();
    };
    answer(&mut cache, &[1, 2], 0);
    cache.end(1_000);
    let over_ms = 1_000 + 2 * LIFETIME_MS;
    for round in 1..=9 {
        cache.begin(round * 10_000);
        cache.end(round * 10_000 + 1);
    }
    cache.begin(over_ms - 1_000);
    answer(&mut cache, &[2], over_ms - 900);
    // Not before it could be asked for again.
    cache.expire(over_ms);
    assert_eq!(cache.counts().mappings, 2);
    cache.end(over_ms + 1);
    cache.expire(over_ms + 1);
    assert_eq!(cache.counts().mappings, 1);
    cache.expire(over_ms + 2 * LIFETIME_MS);
    assert_eq!(cache.counts().mappings, 1);
    cache.expire(over_ms + 2 * LIFETIME_MS + 1);
    assert_eq!(cache.counts().mappings, 0);
}

#[test]
fn a_node_that_comes_and_goes_keeps_nothing_from_others_for_ever() {
    let mut bench = Bench::new(10);
    let registry = Registry::new(
        nves(3),
        [(key(1), Record { choices: at(1), owner: name(1).into(), sequence: 1, mac: None, since: 1 })],
        1,
        (0, 0),
    );
    let used_ms = authority::used_ms(LIFETIME_MS as u32);
    let settings =
        with_sessions(Settings { answered_before_ms: used_ms, ..settings(1, LIMITS) }, |sessions| {
            sessions.lease_ms = 10_000_000
        });
    bench.authority = Authority::new(settings, registry);
    bench.hello(1);
    bench.hello(3);
    bench.other(1, Up::Unregister { id: 1, key: key(1) });
    let mut given_ms = None;
    for round in 1..=100 {
        bench.now_ms = round * 10_000;
        let id = SessionId(10_000 + round);
        bench.authority(authority::Input::Opened(id, None));
        let hello = Up::Hello {
            versions: vec![1],
            nve: name(2),
            boot: 1,
            asks: true,
            digests: false,
            moves: Modes::default(),
            groups: false,
        };
        bench.authority(authority::Input::Up(id, hello));
        bench.authority(authority::Input::Closed(id));
        bench.other(3, Up::Register { id: round, key: key(1), choices: at(3), known: 0, mac: None });
        let record = bench.authority.registry().record(key(1)).unwrap();
        if record.is_held() {
            given_ms.get_or_insert(bench.now_ms);
        }
    }
    assert_eq!(given_ms, Some(used_ms.next_multiple_of(10_000)));
}

#[test]
fn a_node_that_is_back_is_told_and_holds_nobody_up() {
    let mut bench = Bench::new(10);
    bench.hello(3);
    bench.misses([1]);
    bench.client(Input::Closed("broken".to_owned()));
    bench.authority(authority::Input::Closed(SessionId(1)));
    bench.other(1, Up::Unregister { id: 1, key: key(1) });
    bench.wait(10_000);
    assert!(bench.knows().is_empty());
    bench.other(3, Up::Register { id: 1, key: key(1), choices: at(3), known: 0, mac: None });
    assert_eq!(bench.authority.registry().record(key(1)).unwrap().owner, name(3));
}

#[test]
fn what_was_known_before_a_session_is_confirmed_or_deleted_by_it() {
    let mut bench = Bench::new(200);
    bench.misses(1..=150);
    bench.client(Input::Closed("broken".to_owned()));
    bench.authority(authority::Input::Closed(SessionId(1)));
    bench.other(1, Up::Unregister { id: 1, key: key(7) });
    bench.other(1, Up::Unregister { id: 2, key: key(160) });
    assert_eq!(bench.table.len(), 150);
    bench.queries.clear();
    bench.wait(10_000);
    assert!(bench.client.status().live);
    let asked: Vec<usize> = bench.queries.iter().map(Vec::len).collect();
    assert_eq!((asked, bench.table.len()), (vec![64, 64, 22], 149));
    assert!(!bench.table.contains_key(&key(7)));
    // And is followed from then on.
    bench.other(1, Up::Unregister { id: 3, key: key(8) });
    assert!(!bench.table.contains_key(&key(8)));
}

#[test]
fn misses_without_a_session_are_bounded_and_no_query_is_sent() {
    let mut bench = Bench::new(1);
    bench.client(Input::Closed("broken".to_owned()));
    bench.misses(1..=10_000);
    assert!(bench.queries.is_empty());
    let Counts { lost, suppressed, .. } = bench.counts();
    assert_eq!((lost, suppressed), (10_000 - 4_096, 0));
}

#[test]
fn queries_in_flight_are_bounded() {
    let mut client = Client::new(name(2), 1, 1, 1, None).caching();
    let _ = client.step(0, Input::Tick);
    let _ = client.step(0, Input::Opened);
    let welcome = Down::Welcome {
        version: 1,
        epoch: vec![1],
        revision: 0,
        lease_ms: 60_000,
        router: false,
        blocks: true,
        bindings: false,
        addresses: false,
    };
    let _ = client.step(0, Input::Down(welcome));
    let effects = client.step(0, Input::Misses((1..=3_000).map(key).collect()));
    let queries: Vec<&Effect> =
        effects.iter().filter(|effect| matches!(effect, Effect::Up(Up::Query { .. }))).collect();
    assert_eq!(queries.len(), QUERIES);
    // An answer makes room for another one; one that was not asked for ends the session.
    let answer =
        |id| Down::Answer { id, revision: 0, mappings: Vec::new(), lifetime_ms: 0, negative_lifetime_ms: 0 };
    let effects = client.step(0, Input::Down(answer(3)));
    assert!(matches!(effects[..], [Effect::Up(Up::Query { id: 17, .. })]), "{effects:?}");
    let effects = client.step(0, Input::Down(answer(3)));
    assert!(effects.contains(&Effect::Close), "{effects:?}");
}

#[test]
fn a_node_that_cannot_take_what_was_told_begins_anew() {
    let mut bench = Bench::new(10);
    bench.misses([1, 2]);
    bench.client(Input::Unusable("it is damaged".to_owned()));
    assert!(bench.ended && bench.table.is_empty() && bench.counts().mappings == 0);
    bench.authority(authority::Input::Closed(SessionId(1)));
    bench.wait(10_000);
    bench.misses([2]);
    assert_eq!(bench.knows(), [2]);
}

/// nve2 has an identifier, and nve1, the router, sees packets from it to some destinations.
/// An authority and what it sent to a session that asks.
struct Asked(Authority, Vec<Down<crate::nva::message::Encoded>>, Vec<String>);

impl Asked {
    fn new(held: u64) -> Self {
        let mut asked = Asked(Bench::new(held).authority, Vec::new(), Vec::new());
        asked.step(0, authority::Input::Opened(SessionId(5), None));
        asked.up(
            0,
            Up::Hello {
                versions: vec![1],
                nve: name(2),
                boot: 1,
                asks: false,
                digests: false,
                moves: Modes::default(),
                groups: false,
            },
        );
        asked
    }

    fn step(&mut self, now_ms: u64, input: authority::Input) {
        for effect in self.0.step(now_ms, input) {
            match effect {
                authority::Effect::Down(SessionId(5), down) => {
                    let weight = down.weight();
                    self.1.push(down);
                    self.step(now_ms, authority::Input::Ready(SessionId(5), weight));
                }
                authority::Effect::Close(SessionId(5), why) => self.2.push(why),
                authority::Effect::Commit(..) => self.step(now_ms, authority::Input::Committed(Ok(()))),
                _ => {}
            }
        }
    }

    fn up(&mut self, now_ms: u64, up: Up) {
        self.step(now_ms, authority::Input::Up(SessionId(5), up));
    }

    fn query(&mut self, now_ms: u64, id: u64, numbers: std::ops::Range<u64>) {
        self.up(now_ms, Up::Query { id, keys: numbers.map(key).collect() });
    }

    fn answers(&mut self) -> usize {
        self.1.drain(..).filter(|down| matches!(down, Down::Answer { .. })).count()
    }
}

#[test]
fn queries_beyond_the_rate_wait_and_too_many_of_them_end_the_session() {
    let mut asked = Asked::new(1);
    for id in 0..2_010 {
        asked.query(0, id, 1..2);
    }
    assert_eq!(asked.answers(), 2_000);
    asked.step(4, authority::Input::Tick);
    assert_eq!(asked.answers(), 4);
    for id in 0..11 {
        assert!(asked.2.is_empty(), "{id}");
        asked.query(4, 3_000 + id, 1..2);
    }
    assert!(asked.2[0].contains("more than may wait"), "{:?}", asked.2);
}

#[test]
fn who_follows_everything_does_not_ask_and_who_asks_does_not_follow() {
    for asks_first in [false, true] {
        let mut asked = Asked::new(1);
        let mut ups = vec![Up::Subscribe(None, Scopes::default()), Up::Query { id: 1, keys: vec![key(1)] }];
        if asks_first {
            ups.reverse();
        }
        ups.into_iter().for_each(|up| asked.up(0, up));
        assert_eq!(asked.2.len(), 1, "{:?}", asked.2);
    }
}

#[test]
fn a_session_follows_so_many_identifiers_and_the_oldest_leave() {
    let held = INTERESTS as u64 + 100;
    let mut asked = Asked::new(held);
    for (id, first) in (1..=held).step_by(QUERY_KEYS).enumerate() {
        asked.query(id as u64 * 10, id as u64, first..(first + QUERY_KEYS as u64).min(held + 1));
    }
    let now_ms = held;
    asked.1.clear();
    asked.step(now_ms, authority::Input::Opened(SessionId(6), None));
    let hello = Up::Hello {
        versions: vec![1],
        nve: name(1),
        boot: 1,
        asks: false,
        digests: false,
        moves: Modes::default(),
        groups: false,
    };
    asked.step(now_ms, authority::Input::Up(SessionId(6), hello));
    let mut told = |number: u64| {
        let release = Up::Unregister { id: number, key: key(number) };
        asked.step(now_ms, authority::Input::Up(SessionId(6), release));
        asked.1.drain(..).filter(|down| matches!(down, Down::Delta(..))).count()
    };
    assert_eq!([1, 100, 101, held - 1, held].map(&mut told), [0, 0, 1, 1, 1]);
}
