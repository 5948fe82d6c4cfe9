//! Rules of sessions: what an NVE is told, in which order, and what one may take from the others.

mod restored;

use super::*;
use crate::mapping::Scopes;
use crate::nva::authority::{
    Authority, Commit, Effect, Input, LIMITS, Released, SessionId, Settings, Ticket,
};
use crate::nva::codec::{read_down, write_down};
use crate::nva::commits::CommitRules;
use crate::nva::log::Limits;
use crate::nva::message::{Down, Encoded, Up};
use crate::nva::model::{Known, Record, Transaction};
use crate::nva::registry::Registry;
use crate::nva::store::Stored;

const EPOCH: u8 = 7;

/// An authority whose store never fails, and what it sent.
pub(super) struct Bench {
    pub(super) authority: Authority,
    pub(super) now_ms: u64,
    sent: Vec<(SessionId, Down<Encoded>)>,
    pub(super) closed: Vec<(SessionId, String)>,
    pub(super) commits: Vec<Transaction>,
    released: Vec<(Ticket, Released)>,
    /// Whether commits are answered at once.
    commits_at_once: bool,
}

impl Bench {
    /// With `held` identifiers of nve1, 1 to `held`, at revision `held`.
    pub(super) fn new(limits: Limits, held: u64) -> Self {
        let record = || Record { choices: at(1), owner: name(1).into(), sequence: 1, mac: None, since: 1 };
        let stored: Vec<(Key, Record)> = (1..=held).map(|n| (key(n), record())).collect();
        let registry = Registry::new(nves(3), stored, held, (0, 0));
        let settings = settings(EPOCH, limits);
        let (sent, closed, commits, released) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let authority = Authority::new(settings, registry);
        Bench { authority, now_ms: 0, sent, closed, commits, released, commits_at_once: true }
    }

    pub(super) fn step(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in self.authority.step(self.now_ms, input) {
                match effect {
                    Effect::Down(id, down) => self.sent.push((id, down)),
                    Effect::Close(id, why) => self.closed.push((id, why)),
                    Effect::Released(ticket, released) => self.released.push((ticket, released)),
                    // Others are told of the end of a session.
                    Effect::Event(_) | Effect::Left(_) | Effect::Applied(_) => {}
                    Effect::Commit(Commit { transaction, .. }) => {
                        self.commits.push(transaction);
                        if self.commits_at_once {
                            inputs.push(Input::Committed(Ok(())));
                        }
                    }
                }
            }
        }
    }

    pub(super) fn up(&mut self, session: u64, up: Up) {
        self.step(Input::Up(SessionId(session), up));
    }

    /// A session of the NVE with the same number, with what it has.
    fn follows(&mut self, nve: u64, known: Option<(u8, u64)>) {
        self.hello(nve);
        let known = known.map(|(epoch, revision)| Known { epoch: vec![epoch], revision });
        self.up(nve, Up::Subscribe(known, Scopes::default()));
    }

    fn hello(&mut self, nve: u64) {
        self.says_hello(nve, false);
    }

    pub(super) fn says_hello(&mut self, nve: u64, digests: bool) {
        self.step(Input::Opened(SessionId(nve), None));
        self.up(
            nve,
            Up::Hello {
                versions: vec![1],
                nve: name(nve),
                boot: 1,
                asks: false,
                digests,
                moves: Modes::default(),
                groups: false,
            },
        );
    }

    /// A revision of the registry.
    pub(super) fn known(&self, revision: u64) -> Known {
        Known { epoch: vec![EPOCH], revision }
    }

    pub(super) fn register(&mut self, nve: u64, number: u64) {
        self.up(nve, Up::Register { id: number, key: key(number), choices: at(nve), known: 0, mac: None });
    }

    /// What was sent to a session since the last call, in words, and its weight. Answers are left out.
    fn told(&mut self, session: u64) -> (Vec<String>, usize) {
        let (own, others) = std::mem::take(&mut self.sent).into_iter().partition(|(id, _)| id.0 == session);
        self.sent = others;
        let own: Vec<(SessionId, Down<Encoded>)> = own;
        let weight = own.iter().map(|(_, down)| down.weight()).sum();
        (own.into_iter().filter_map(|(_, down)| word(down)).collect(), weight)
    }

    /// What a session is told when everything leaves at once.
    pub(super) fn told_all(&mut self, session: u64) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let (told, weight) = self.told(session);
            all.extend(told);
            if weight == 0 {
                return all;
            }
            self.step(Input::Ready(SessionId(session), weight));
        }
    }
}

fn word(down: Down<Encoded>) -> Option<String> {
    let numbers = |mappings: Vec<crate::nva::message::Told>| {
        let number = |told: crate::nva::message::Told| {
            let sign = if told.choices.is_empty() { "-" } else { "" };
            format!(" {sign}{}", told.key.identifier & 0xffff)
        };
        mappings.into_iter().map(number).collect::<String>()
    };
    match read_down(write_down(down)).unwrap() {
        Down::Welcome { .. } | Down::Registered { .. } | Down::Refused { .. } => None,
        Down::BlockLeased { block, .. } => Some(format!("block {block}")),
        Down::Page(mappings) => Some(format!("page{}", numbers(mappings))),
        Down::Delta(revision, mappings) => Some(format!("delta {revision}:{}", numbers(mappings))),
        Down::SnapshotEnd(revision) => Some(format!("end {revision}")),
        Down::Resumed(revision) => Some(format!("resumed {revision}")),
        Down::Progress(revision) => Some(format!("progress {revision}")),
        Down::Resync(why) => Some(format!("resync: {why}")),
        Down::Digest { revision, .. } => Some(format!("digest {revision}")),
        Down::Moves(part) => Some(format!("{} moves", part.moves.len())),
        Down::Groups(part) => Some(format!("{} groups", part.groups.len())),
        Down::Repair(parts) => Some(format!("repair of {}", parts.len())),
        Down::Error(why) => Some(why),
        Down::FoundMacs { id, found, why, .. } => {
            Some(format!("found {id}: {} {}", found.len(), why.unwrap_or_default()))
        }
        Down::Provision(part) => Some(format!("provision {}", part.revision)),
        Down::Answer { id, revision, mappings, .. } => {
            Some(format!("answer {id} at {revision}:{}", numbers(mappings)))
        }
        Down::Redirect { revision, mappings, .. } => {
            Some(format!("redirect at {revision}:{}", numbers(mappings)))
        }
    }
}

/// Room for one message at a time.
const ONE: Limits = Limits { window: 1, page: 2, ..LIMITS };

#[test]
fn a_snapshot_of_moving_data_shows_its_last_revision() {
    let mut bench = Bench::new(ONE, 5);
    bench.follows(2, None);
    bench.hello(1);
    let next = |bench: &mut Bench| {
        let weight = bench.told(2).1;
        bench.step(Input::Ready(SessionId(2), weight));
        bench.sent.iter().filter(|(id, _)| id.0 == 2).filter_map(|(_, down)| word(down.clone())).next()
    };
    assert_eq!(next(&mut bench).unwrap(), "resync: the NVE has nothing yet");
    assert_eq!(next(&mut bench).unwrap(), "page 1 2");
    // One goes that was told, one comes behind, and one comes where the pages were already.
    bench.up(1, Up::Unregister { id: 90, key: key(1) });
    bench.register(1, 6);
    assert_eq!(next(&mut bench).unwrap(), "page 3 4");
    assert_eq!(next(&mut bench).unwrap(), "page 5 6");
    assert_eq!(next(&mut bench).unwrap(), "page -1 6");
    bench.up(1, Up::Unregister { id: 91, key: key(6) });
    assert_eq!(next(&mut bench).unwrap(), "page -6");
    assert_eq!(next(&mut bench).unwrap(), "end 8");
    bench.register(1, 7);
    assert_eq!(next(&mut bench).unwrap(), "delta 9: 7");
    assert_eq!(next(&mut bench), None);
}

#[test]
fn many_sessions_are_told_together_what_comes_fast_and_few_at_once() {
    // One message a millisecond: two who follow are told each second millisecond.
    let mut bench = Bench::new(Limits { news_per_ms: 1, ..LIMITS }, 1);
    bench.hello(1);
    bench.follows(2, Some((EPOCH, 1)));
    bench.follows(3, Some((EPOCH, 1)));
    assert_eq!((bench.told_all(2), bench.told_all(3)), (vec!["resumed 1".into()], vec!["resumed 1".into()]));
    let mut told: Vec<String> = Vec::new();
    for number in 2..=7 {
        bench.register(1, number);
        told.extend(bench.told(2).0);
        bench.now_ms += 1;
    }
    assert_eq!(told, ["delta 2: 2", "delta 3: 3", "delta 5: 4 5"]);
    assert_eq!((bench.authority.due_ms(), bench.now_ms), (Some(6), 6));
    bench.step(Input::Due);
    assert_eq!((bench.told(2).0, bench.told(3).0.len()), (vec!["delta 7: 6 7".to_owned()], 4));
    assert_eq!(bench.authority.due_ms(), None);
    // Nothing comes for a while: the next one leaves at once.
    bench.now_ms = 100;
    bench.register(1, 8);
    assert_eq!(bench.told(2).0, ["delta 8: 8"]);
}

#[test]
fn a_session_resumes_from_what_is_in_force_if_the_log_holds_the_rest() {
    let limits = Limits { transactions: 3, ..LIMITS };
    let mut bench = Bench::new(limits, 2);
    bench.hello(1);
    for number in 3..=6 {
        bench.register(1, number);
    }
    let session = |bench: &mut Bench, known| {
        bench.follows(2, Some(known));
        let told = bench.told_all(2);
        bench.step(Input::Closed(SessionId(2)));
        told
    };
    assert_eq!(session(&mut bench, (EPOCH, 3)), ["resumed 3", "delta 6: 4 5 6"]);
    assert_eq!(session(&mut bench, (EPOCH, 6)), ["resumed 6"]);
    for (known, why) in [
        ((EPOCH, 2), "the NVE has revision 2, this authority 6, and the transactions between"),
        ((EPOCH, 7), "the NVE has revision 7, and this authority 6"),
        ((EPOCH + 1, 6), "another history"),
    ] {
        let told = session(&mut bench, known);
        assert!(told[0].starts_with("resync") && told[0].contains(why), "{told:?}");
        assert_eq!(told[1..], ["page 1 2 3 4 5 6", "end 6"]);
    }
}

#[test]
fn a_slow_nve_gets_whole_transactions_together_and_no_more_than_it_reads() {
    let mut bench = Bench::new(Limits { window: 1, message_records: 3, ..LIMITS }, 1);
    bench.follows(2, Some((EPOCH, 1)));
    let (_, weight) = bench.told(2);
    bench.hello(1);
    bench.commits_at_once = false;
    bench.register(1, 2);
    // These two are one transaction.
    bench.register(1, 3);
    bench.register(1, 4);
    bench.step(Input::Committed(Ok(())));
    bench.step(Input::Committed(Ok(())));
    bench.commits_at_once = true;
    bench.register(1, 5);
    assert_eq!(bench.told(2).0, Vec::<String>::new());
    bench.step(Input::Ready(SessionId(2), weight));
    // Resumed was sent with the Welcome still on its way, so it comes first.
    assert_eq!(bench.told_all(2), ["resumed 1", "delta 3: 2 3 4", "delta 4: 5"]);
}

#[test]
fn an_nve_that_reads_nothing_keeps_its_session_and_is_resynchronised_when_it_reads() {
    let mut bench = Bench::new(Limits { window: 200, transactions: 4, page: 100, ..LIMITS }, 1);
    bench.follows(2, None);
    bench.follows(3, None);
    bench.hello(1);
    assert_eq!(bench.told_all(3), ["resync: the NVE has nothing yet", "page 1", "end 1"]);
    let mut unread = 0;
    for number in 2..=40 {
        bench.now_ms += 1_000;
        for nve in 1..=3 {
            bench.up(nve, Up::Beat);
        }
        bench.register(1, number);
        bench.step(Input::Tick);
        // The other one is told of each at once.
        let told = bench.told_all(3);
        assert!(told.contains(&format!("delta {number}: {number}")), "{told:?}");
        unread += bench.told(2).1;
    }
    assert!(bench.closed.is_empty() && unread < 400, "{unread} {:?}", bench.closed);
    bench.step(Input::Ready(SessionId(2), unread));
    let told = bench.told_all(2);
    assert!(told.iter().any(|word| word.contains("are not kept any more")), "{told:?}");
    assert!(told[told.len() - 1] == "end 40", "{told:?}");
}

#[test]
fn what_is_told_is_encoded_once_for_all_sessions() {
    let mut bench = Bench::new(Limits { window: 1 << 20, ..LIMITS }, 3_000);
    bench.follows(1, None);
    bench.follows(2, None);
    bench.register(2, 4_000);
    let encoded = |session: u64| {
        let own = bench.sent.iter().filter(move |(id, _)| id.0 == session);
        own.filter_map(|(_, down)| match down {
            Down::Page(mappings) | Down::Delta(_, mappings) => Some(mappings.as_ptr()),
            _ => None,
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(encoded(1).len(), 4);
    assert_eq!(encoded(1), encoded(2));
}

#[test]
fn an_nve_that_asks_for_snapshots_again_and_again_waits() {
    let mut bench = Bench::new(LIMITS, 1);
    let snapshots = |bench: &mut Bench| {
        let told = bench.told_all(1);
        told.iter().filter(|word| word.starts_with("end")).count()
    };
    let mut taken = 0;
    for _ in 0..15 {
        bench.follows(1, None);
        taken += snapshots(&mut bench);
    }
    assert_eq!(taken, 10);
    // Another one is not kept back by it, and it gets one later.
    bench.follows(2, None);
    assert!(bench.told_all(2).contains(&"end 1".to_owned()));
    for (now_ms, taken) in [(5_999, 0), (6_000, 1)] {
        bench.now_ms = now_ms;
        bench.up(1, Up::Beat);
        bench.step(Input::Tick);
        assert_eq!(snapshots(&mut bench), taken, "at {now_ms} ms");
    }
}

#[test]
fn sessions_take_turns_and_a_flood_keeps_nobody_back() {
    let mut bench = Bench::new(LIMITS, 0);
    bench.hello(1);
    bench.hello(2);
    bench.commits_at_once = false;
    for number in 1..=5_000 {
        bench.register(1, number);
    }
    bench.register(2, 6_000);
    // The first commit began with the first request; the next one has a part of all that waits.
    bench.step(Input::Committed(Ok(())));
    let writes = &bench.commits[1].writes;
    assert!(writes.iter().any(|(key, _)| key.identifier & 0xffff == 6_000), "{}", writes.len());
}

#[test]
fn requests_beyond_the_rate_wait_for_the_next_tick() {
    let mut bench = Bench::new(LIMITS, 0);
    bench.hello(1);
    for number in 1..=12_000 {
        // Releases of what is nobody's are answered at once.
        bench.up(1, Up::Unregister { id: number, key: key(number) });
    }
    let answered = |bench: &mut Bench| {
        let weight = bench.sent.iter().map(|(_, down)| down.weight()).sum();
        let count = bench.sent.drain(..).filter(|(_, down)| matches!(down, Down::Registered { .. })).count();
        (count, weight)
    };
    let all = |bench: &mut Bench| {
        let mut all = 0;
        loop {
            let (count, weight) = answered(bench);
            if weight == 0 {
                return all;
            }
            all += count;
            bench.step(Input::Ready(SessionId(1), weight));
        }
    };
    assert_eq!(all(&mut bench), 10_000);
    bench.now_ms = 100;
    bench.step(Input::Tick);
    assert_eq!(all(&mut bench), 1_000);
    assert!(bench.closed.is_empty());
}

#[test]
fn what_an_nve_has_no_more_is_released_though_the_store_fails_at_first() {
    let mut bench = Bench::new(LIMITS, 2);
    bench.hello(1);
    bench.register(1, 1);
    bench.commits_at_once = false;
    bench.up(1, Up::Complete);
    assert_eq!(bench.commits.len(), 1);
    bench.step(Input::Committed(Err("the disk is full".to_owned())));
    // Not at once again: the store may need a while.
    assert_eq!(bench.commits.len(), 1);
    bench.step(Input::Tick);
    assert_eq!(bench.commits.len(), 2);
    bench.step(Input::Committed(Ok(())));
    assert_eq!(bench.authority.registry().held_by("nve1").collect::<Vec<_>>(), [key(1)]);
}

#[test]
fn what_was_asked_for_before_and_is_durable_later_is_released_too() {
    let mut bench = Bench::new(LIMITS, 1);
    bench.commits_at_once = false;
    bench.hello(1);
    bench.register(1, 2);
    // It starts anew while that is on its way to the disk, and has nothing.
    bench.step(Input::Opened(SessionId(9), None));
    bench.up(
        9,
        Up::Hello {
            versions: vec![1],
            nve: name(1),
            boot: 2,
            asks: false,
            digests: false,
            moves: Modes::default(),
            groups: false,
        },
    );
    bench.up(9, Up::Complete);
    bench.step(Input::Committed(Ok(())));
    bench.step(Input::Committed(Ok(())));
    assert_eq!(bench.authority.registry().held_by("nve1").count(), 0);
}

#[test]
fn what_is_attached_again_right_after_the_end_of_the_list_stays() {
    let mut bench = Bench::new(LIMITS, 3);
    bench.hello(2);
    bench.commits_at_once = false;
    bench.register(2, 9);
    bench.hello(1);
    bench.up(1, Up::Complete);
    bench.register(1, 2);
    bench.commits_at_once = true;
    bench.step(Input::Committed(Ok(())));
    assert_eq!(bench.authority.registry().held_by("nve1").collect::<Vec<_>>(), [key(2)]);
}

#[test]
fn what_is_refused_is_not_kept_in_mind_unless_the_nve_has_it() {
    let mut bench = Bench::new(LIMITS, 2);
    bench.hello(1);
    // At a locator that is not its own.
    let elsewhere = |n| Up::Register { id: n, key: key(n), choices: at(2), known: 0, mac: None };
    (2..=100).for_each(|n| bench.up(1, elsewhere(n)));
    assert_eq!(bench.authority.claimed(SessionId(1)), [key(2)]);
    bench.up(1, Up::Complete);
    assert_eq!(bench.authority.registry().held_by("nve1").collect::<Vec<_>>(), [key(2)]);
}

#[test]
fn progress_names_what_was_sent_and_applied_counts_up_to_what_there_is() {
    let mut bench = Bench::new(LIMITS, 3);
    bench.follows(1, Some((EPOCH, 3)));
    bench.up(1, Up::Applied(9));
    bench.up(1, Up::Beat);
    assert_eq!(bench.told_all(1), ["resumed 3", "progress 3"]);
    assert_eq!(bench.authority.nves().map(|nve| nve.applied).collect::<Vec<_>>(), [3]);
    bench.up(1, Up::Subscribe(None, Scopes::default()));
    assert_eq!(bench.closed, [(SessionId(1), "a second Subscribe".to_owned())]);
}

#[test]
fn an_operator_releases_what_belongs_to_nobody_alive_once_it_is_durable() {
    let mut bench = Bench::new(LIMITS, 3);
    bench.commits_at_once = false;
    bench.follows(2, None);
    // Its owner is away.
    bench.step(Input::Release(Ticket(1), key(1)));
    assert!(bench.released.is_empty(), "told before it is durable");
    bench.step(Input::Committed(Err("full".to_owned())));
    assert!(matches!(&bench.released[..], [(Ticket(1), Err(why))] if why.contains("full")));
    bench.step(Input::Release(Ticket(2), key(1)));
    bench.step(Input::Committed(Ok(())));
    assert_eq!(bench.released.pop(), Some((Ticket(2), Ok((4, 4)))));
    assert!(bench.told_all(2).contains(&"delta 4: -1".to_owned()));
    // Nobody has it any more, or ever had it.
    for nobody in [1, 99] {
        bench.step(Input::Release(Ticket(3), key(nobody)));
        assert!(
            matches!(bench.released.pop(), Some((Ticket(3), Err(why))) if why.contains("is not registered"))
        );
    }
    // Its owner lives, and would go on using it.
    bench.hello(1);
    bench.step(Input::Release(Ticket(4), key(2)));
    assert!(
        matches!(bench.released.pop(), Some((Ticket(4), Err(why))) if why.contains("nve1, which has a session"))
    );
    assert_eq!(bench.commits.len(), 2);
}

#[test]
fn what_an_operator_wants_released_stays_if_its_owner_came_back_before_it_is_judged() {
    let mut bench = Bench::new(LIMITS, 3);
    bench.hello(2);
    bench.commits_at_once = false;
    bench.register(2, 9);
    // The owner is away, and a commit is under way.
    bench.step(Input::Release(Ticket(1), key(1)));
    bench.hello(1);
    bench.register(1, 1);
    bench.commits_at_once = true;
    bench.step(Input::Committed(Ok(())));
    assert!(
        matches!(&bench.released[..], [(Ticket(1), Err(why))] if why.contains("nve1, which has a session")),
        "{:?}",
        bench.released
    );
    assert!(bench.authority.registry().record(key(1)).unwrap().is_held());
}

#[test]
fn released_identifiers_are_deleted_when_nobody_waits() {
    let mut bench = Bench::new(LIMITS, 3);
    bench.follows(2, Some((EPOCH, 3)));
    bench.hello(1);
    bench.up(1, Up::Unregister { id: 1, key: key(1) });
    assert_eq!(bench.authority.registry().counts(), (2, 1));
    bench.now_ms = 1;
    bench.step(Input::Tick);
    assert_eq!(bench.commits[1], Transaction { deletes: vec![key(1)], ..Transaction::default() });
    assert_eq!(bench.authority.registry().counts(), (2, 0));
    // Revisions follow one another; of the identifier nothing is told.
    assert_eq!(bench.told_all(2), ["resumed 3", "delta 4: -1", "delta 5:"]);
    bench.register(1, 1);
    assert_eq!(bench.authority.registry().record(key(1)).unwrap().sequence, 6);
}

#[test]
fn released_identifiers_are_deleted_though_requests_never_end() {
    let mut bench = Bench::new(LIMITS, 3);
    bench.hello(1);
    bench.commits_at_once = false;
    bench.up(1, Up::Unregister { id: 1, key: key(1) });
    for round in 1..=5 {
        bench.now_ms += 200;
        bench.register(1, 10 + round);
        bench.step(Input::Tick);
        assert!(bench.commits.iter().all(|it| it.deletes.is_empty()), "{round}: what waits comes first");
        bench.step(Input::Committed(Ok(())));
    }
    let last = bench.commits.pop().unwrap();
    assert_eq!((last.deletes, last.writes.len()), (vec![key(1)], 0));
}

#[test]
fn who_asked_is_told_of_a_release_though_it_is_deleted_before_there_is_room() {
    let mut bench = Bench::new(Limits { window: 1, ..LIMITS }, 1);
    bench.hello(2);
    let (_, mut weight) = bench.told(2);
    bench.up(2, Up::Query { id: 1, keys: vec![key(1)] });
    bench.step(Input::Ready(SessionId(2), weight));
    assert_eq!((bench.sent.len(), bench.told(2).0), (1, vec!["answer 1 at 1: 1".to_owned()]));
    weight = 200;
    bench.hello(1);
    bench.up(1, Up::Unregister { id: 1, key: key(1) });
    bench.now_ms = 1;
    bench.step(Input::Tick);
    assert_eq!(bench.authority.registry().record(key(1)), None);
    bench.step(Input::Ready(SessionId(2), weight));
    assert_eq!(bench.told(2).0, ["delta 3: -1"]);
}

#[test]
fn everything_of_an_nve_that_is_gone_is_released_in_parts() {
    let mut bench = Bench::new(LIMITS, 5_000);
    bench.hello(1);
    bench.step(Input::ReleaseAll(Ticket(1), name(1)));
    assert!(matches!(bench.released.pop(), Some((Ticket(1), Err(why))) if why.contains("nve1 is in nves")));
    bench.step(Input::ReleaseAll(Ticket(2), name(9)));
    assert!(
        matches!(bench.released.pop(), Some((Ticket(2), Err(why))) if why.contains("has nothing registered"))
    );
    let mut others = nves(3);
    others.remove("nve1");
    bench.step(Input::Reconfigured(configured(others, sessions(10_000, 10_000))));
    let why = "`nve1` is no NVE of this authority any more".to_owned();
    assert_eq!(bench.closed, [(SessionId(1), why)]);
    bench.commits_at_once = false;
    bench.step(Input::ReleaseAll(Ticket(3), name(1)));
    bench.step(Input::Committed(Ok(())));
    assert!(bench.released.is_empty(), "told before all is released");
    bench.step(Input::Committed(Err("full".to_owned())));
    let told = "the store does not answer: full; 2048 identifiers were released; try again";
    assert_eq!(bench.released.pop(), Some((Ticket(3), Err(told.to_owned()))));
    bench.commits_at_once = true;
    bench.step(Input::ReleaseAll(Ticket(4), name(1)));
    assert_eq!(bench.released.pop(), Some((Ticket(4), Ok((2_952, 5_003)))));
    assert!(bench.commits.iter().all(|transaction| transaction.writes.len() <= 2_048));
    assert_eq!(bench.authority.registry().counts(), (0, 5_000));
}

#[test]
fn a_session_keeps_the_lease_that_it_was_told() {
    let mut bench = Bench::new(LIMITS, 1);
    bench.hello(1);
    bench.step(Input::Reconfigured(configured(nves(3), sessions(1_000, 10_000))));
    bench.hello(2);
    bench.now_ms = 5_000;
    bench.step(Input::Tick);
    assert_eq!(bench.closed, [(SessionId(2), "nothing came for 1000 ms".to_owned())]);
}

/// A bench whose registry was restored.
#[test]
fn who_stood_still_heard_nobody_and_ends_no_session() {
    let mut bench = Bench::new(LIMITS, 0);
    bench.hello(1);
    let lease_ms = u64::from(settings(EPOCH, LIMITS).sessions.lease_ms);
    let tick = |bench: &mut Bench, passed_ms| {
        bench.now_ms += passed_ms;
        bench.step(Input::Tick);
        bench.closed.len()
    };
    tick(&mut bench, 200);
    assert_eq!(tick(&mut bench, 10 * lease_ms), 0);
    let ends = (0..).find(|_| tick(&mut bench, 200) > 0).unwrap();
    assert!((ends + 1) * 200 + 400 >= lease_ms && ends * 200 <= lease_ms + 400, "after {ends} ticks");
}
