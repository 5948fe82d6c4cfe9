//! One suite of laws for every store.

mod torn;

use super::embedded::Moved;
use super::*;
use crate::config::ObjectName;
use crate::ila::Locator;
use crate::net::Mac;
use crate::nva::mobility::{InFlight, Mode, Moment, Move, MoveId, MoveState, Said, Token};
use crate::nva::model::{Choice, Key, Object, ObjectKey, Record, Transaction};
use std::path::{Path, PathBuf};

const NOW_S: u64 = 1_800_000_000;

fn backup(stored: &Stored, to: &Path) -> Result<Summary, StoreError> {
    super::backup::backup(stored, to, &mut |_, _, _| ())
}

fn verify(path: &Path) -> Result<Summary, StoreError> {
    super::backup::verify(path, &mut |_, _, _| ())
}

fn restore(from: &Path, to: &Path, epoch: u8, now_s: u64) -> Result<(Summary, Option<PathBuf>), StoreError> {
    super::backup::restore(from, to, [epoch; EPOCH], now_s, &mut |_, _, _| ())
}

fn record(sequence: u64, locators: u64) -> Record {
    let choice = |n| Choice { locator: Locator(0xfd00 << 48 | n), priority: n as u8, weight: 1 + n as u16 };
    let mac = sequence.is_multiple_of(2).then_some(Mac([2, 0, 0, 0, 0, sequence as u8]));
    // Some were written again after they came to have their MAC address.
    let since = if sequence.is_multiple_of(4) { sequence / 2 } else { sequence };
    let owner = format!("nve{sequence}").into();
    Record { choices: (0..locators).map(choice).collect(), owner, sequence, mac, since }
}

fn key(n: u64) -> Key {
    Key { sir_prefix: n << 32, identifier: !n }
}

/// Writes, overwrites and releases, and gives what must be there then.
fn fill(store: &mut dyn Store) -> Vec<(Key, Record)> {
    let write = |writes: Vec<(Key, Record)>| Transaction { writes, ..Transaction::default() };
    store.commit(1, &write(vec![(key(1), record(1, 1)), (key(2), record(2, 16))])).unwrap();
    store.commit(2, &write(vec![(key(1), record(3, 2)), (key(3), record(4, 0))])).unwrap();
    vec![(key(1), record(3, 2)), (key(2), record(2, 16)), (key(3), record(4, 0))]
}

#[test]
fn what_was_committed_is_there_in_the_order_of_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nva.redb");
    let stores: [Box<dyn Store>; 2] =
        [Box::new(Memory::default()), Box::new(Embedded::open(&path, [7; EPOCH]).unwrap())];
    for mut store in stores {
        assert_eq!(store.load().unwrap().revision, 0);
        let expected = fill(store.as_mut());
        let stored = store.load().unwrap();
        assert_eq!((stored.revision, stored.records), (2, expected));
    }
}

#[test]
fn what_was_deleted_is_gone_and_a_key_may_come_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nva.redb");
    let stores: [Box<dyn Store>; 2] =
        [Box::new(Memory::default()), Box::new(Embedded::open(&path, [7; EPOCH]).unwrap())];
    for mut store in stores {
        let mut expected = fill(store.as_mut());
        // Also one that is not there.
        store.commit(3, &Transaction { deletes: vec![key(3), key(9)], ..Transaction::default() }).unwrap();
        expected.pop();
        let stored = store.load().unwrap();
        assert_eq!((stored.revision, &stored.records), (3, &expected));
        store
            .commit(4, &Transaction { writes: vec![(key(3), record(4, 1))], ..Transaction::default() })
            .unwrap();
        expected.push((key(3), record(4, 1)));
        assert_eq!(store.load().unwrap().records, expected);
    }
}

#[test]
fn the_embedded_store_keeps_records_and_epoch_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nva.redb");
    let expected = fill(&mut Embedded::open(&path, [7; EPOCH]).unwrap());
    // The epoch of the second opening is for a store that is not there.
    let stored = Embedded::open(&path, [8; EPOCH]).unwrap().load().unwrap();
    let stored_before = Stored { epoch: [7; EPOCH], revision: 2, records: expected, ..Stored::default() };
    assert_eq!(stored, stored_before);
}

#[test]
fn one_process_at_a_time_has_the_embedded_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nva.redb");
    let _held = Embedded::open(&path, [7; EPOCH]).unwrap();
    let why = Embedded::open(&path, [7; EPOCH]).map(|_| ()).unwrap_err().to_string();
    assert!(why.contains("nva.redb"), "{why}");
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nva.redb");
    for damaged in [&b"not a database"[..], &[0; 4096]] {
        std::fs::write(&path, damaged).unwrap();
        let opened = Embedded::open(&path, [7; EPOCH]).and_then(|mut store| store.load());
        assert!(opened.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), damaged);
    }
}

#[test]
fn a_revision_that_does_not_follow_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let stores: [Box<dyn Store>; 2] = [
        Box::new(Memory::default()),
        Box::new(Embedded::open(&directory.path().join("nva.redb"), [7; EPOCH]).unwrap()),
    ];
    for mut store in stores {
        fill(store.as_mut());
        for wrong in [0, 2, 4] {
            let transaction = Transaction {
                writes: vec![(key(9), record(9, 1))],
                deletes: vec![key(1)],
                ..Transaction::default()
            };
            assert!(store.commit(wrong, &transaction).is_err());
        }
        let stored = store.load().unwrap();
        assert_eq!((stored.revision, stored.records.len()), (2, 3));
    }
}

#[test]
fn a_backup_holds_everything_and_is_restored_as_a_new_history() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy] = ["nva.redb", "copy.redb"].map(|name| directory.path().join(name));
    let mut store = Embedded::open(&path, [7; EPOCH]).unwrap();
    let expected = fill(&mut store);
    let summary = Summary { revision: 2, held: 2, released: 1, objects: 0 };
    assert_eq!(backup(&store.load().unwrap(), &copy), Ok(summary));
    // What is there is never overwritten.
    let again = backup(&store.load().unwrap(), &copy).unwrap_err().to_string();
    assert!(again.contains("copy.redb: is there already"), "{again}");
    assert_eq!(verify(&copy), Ok(summary));
    // A store in use is neither verified nor replaced.
    for refused in [verify(&path).map(|_| ()), restore(&copy, &path, 9, NOW_S).map(|_| ())] {
        assert!(refused.unwrap_err().to_string().contains("stop it first"));
    }
    let later = Transaction { writes: vec![(key(5), record(50, 1))], ..Transaction::default() };
    store.commit(3, &later).unwrap();
    drop(store);
    let (restored, aside) = restore(&copy, &path, 9, NOW_S).unwrap();
    assert_eq!((restored.held, restored.released), (2, 1));
    let stored = Embedded::open(&path, [1; EPOCH]).unwrap().load().unwrap();
    assert_eq!(stored.epoch, [9; EPOCH]);
    assert!(stored.revision > 3 && stored.records.iter().all(|(_, record)| record.sequence > 50));
    assert!(stored.restored, "who has what may not be known");
    let plain = |(key, record): (Key, Record)| (key, record.choices, record.owner);
    let records = stored.records.clone();
    assert!(records.into_iter().map(plain).eq(expected.into_iter().map(plain)));
    // What was replaced is set aside, whole.
    assert_eq!(verify(&aside.unwrap()), Ok(Summary { revision: 3, held: 3, released: 1, objects: 0 }));
    // Once more: above what was given out meanwhile.
    let mut store = Embedded::open(&path, [1; EPOCH]).unwrap();
    let sequence = stored.revision + 1;
    let writes = vec![(key(1), record(sequence, 1))];
    store.commit(sequence, &Transaction { writes, ..Transaction::default() }).unwrap();
    drop(store);
    restore(&copy, &path, 8, NOW_S + 1).unwrap();
    let again = Embedded::open(&path, [1; EPOCH]).unwrap().load().unwrap();
    assert!(again.revision > sequence && again.records.iter().all(|(_, record)| record.sequence > sequence));
    // And once more, with a clock that goes wrong by an hour.
    restore(&copy, &path, 6, NOW_S - 3_600).unwrap();
    let late = Embedded::open(&path, [1; EPOCH]).unwrap().load().unwrap();
    assert!(late.records.iter().all(|(_, record)| record.sequence > again.revision));
}

#[test]
fn a_database_of_something_else_is_no_registry_and_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let [path, other] = ["nva.redb", "other.redb"].map(|name| directory.path().join(name));
    let database = redb::Database::create(&other).unwrap();
    let begun = database.begin_write().unwrap();
    begun.open_table(redb::TableDefinition::<u64, u64>::new("other")).unwrap();
    begun.commit().unwrap();
    drop(database);
    let told = |result: Result<(), StoreError>| result.unwrap_err().to_string();
    assert!(told(Embedded::open(&other, [7; EPOCH]).map(|_| ())).contains("something else"));
    assert!(told(verify(&other).map(|_| ())).contains("no registry"));
    assert!(told(restore(&other, &path, 7, NOW_S).map(|_| ())).contains("no registry"));
    assert!(!path.exists());
}

#[test]
fn a_damaged_store_is_set_aside_by_a_restoration_and_a_damaged_backup_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy] = ["nva.redb", "copy.redb"].map(|name| directory.path().join(name));
    backup(
        &Stored {
            epoch: [7; EPOCH],
            revision: 1,
            records: vec![(key(1), record(1, 1))],
            ..Stored::default()
        },
        &copy,
    )
    .unwrap();
    std::fs::write(&path, [0; 4096]).unwrap();
    assert!(verify(&path).unwrap_err().to_string().contains("damaged"));
    let (_, aside) = restore(&copy, &path, 9, NOW_S).unwrap();
    assert_eq!(std::fs::read(aside.unwrap()).unwrap(), [0; 4096]);
    let good = std::fs::read(&path).unwrap();
    let cut = &std::fs::read(&copy).unwrap()[..10_000];
    std::fs::write(&copy, cut).unwrap();
    let missing = directory.path().join("missing");
    for bad in [copy, missing.clone()] {
        assert!(restore(&bad, &path, 8, NOW_S).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), good);
    }
    assert!(!missing.exists());
}

#[test]
fn a_restoration_is_remembered_until_a_transaction_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy] = ["nva.redb", "copy.redb"].map(|name| directory.path().join(name));
    backup(&Stored { revision: 1, ..Stored::default() }, &copy).unwrap();
    restore(&copy, &path, 9, NOW_S).unwrap();
    let open = || Embedded::open(&path, [1; EPOCH]).unwrap();
    let stored = open().load().unwrap();
    for mut store in [Box::new(open()) as Box<dyn Store>, Box::new(Memory::from(stored.clone()))] {
        let revision = stored.revision + 1;
        let write = Transaction { writes: vec![(key(1), record(1, 1))], ..Transaction::default() };
        store.commit(revision, &write).unwrap();
        assert!(store.load().unwrap().restored);
        store
            .commit(revision + 1, &Transaction { ends_restoration: true, ..Transaction::default() })
            .unwrap();
        assert!(!store.load().unwrap().restored);
        store.commit(revision + 2, &write).unwrap();
        assert!(!store.load().unwrap().restored);
    }
    assert!(!open().load().unwrap().restored);
}

#[test]
fn what_operators_want_is_kept_beside_the_records_and_is_in_backups() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nva.redb");
    let object = |document: &str, sequence| Object { document: document.to_owned(), sequence };
    let name = |nve: &str, name| ObjectKey { nve: nve.to_owned(), name };
    let red = name("", ObjectName::Network("red".into()));
    let policy = name("", ObjectName::Policy { from: "red".into(), to: "2001:db8::/64".into() });
    let vm1 = name("nve1", ObjectName::Attachment("vm1".into()));
    let stores: [Box<dyn Store>; 2] =
        [Box::new(Memory::default()), Box::new(Embedded::open(&path, [7; EPOCH]).unwrap())];
    for mut store in stores {
        let write = |objects| Transaction { objects, ..Transaction::default() };
        let made = [&red, &policy, &vm1].map(|key| (key.clone(), Some(object("{name: red} # é", 1))));
        store.commit(1, &write(made.to_vec())).unwrap();
        store.commit(2, &write(vec![(policy.clone(), None), (red.clone(), Some(object("{}", 2)))])).unwrap();
        let stored = store.load().unwrap();
        let expected = [(red.clone(), object("{}", 2)), (vm1.clone(), object("{name: red} # é", 1))];
        assert_eq!(stored.objects, expected);
        assert_eq!((stored.revision, stored.records.len()), (2, 0));
        let copy = directory.path().join("copy.redb");
        let _ = std::fs::remove_file(&copy);
        assert_eq!(backup(&stored, &copy).unwrap().objects, 2);
        assert_eq!(Embedded::open(&copy, [1; EPOCH]).unwrap().load().unwrap().objects, expected);
    }
}

/// A move in which nothing is as it is by default.
fn one_move(id: u64, state: MoveState) -> (MoveId, Move) {
    let text = |text: &str| text.to_owned();
    let moment = Moment { at_ms: 7, what: text("preparing"), by: text("alice"), how: text("hot \"é\"") };
    let one = Move {
        id: MoveId(id),
        attachment: text("vm1"),
        from: text("nve1"),
        to: text("nve2"),
        document: text("{name: vm1}"),
        networks: vec![text("red")],
        keys: vec![key(1), key(u64::MAX)],
        mode: Mode::Warm,
        in_flight: InFlight::Retranslate,
        token: Token([0xab; 16]),
        state,
        since_ms: 5,
        said: Said { old: true, new: false },
        overdue: true,
        sequence: 9,
        committed: 8,
        seeded_ms: Some(6),
        timeline: vec![moment],
    };
    (MoveId(id), one)
}

#[test]
fn moves_are_kept_until_they_are_over_and_are_in_no_backup() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nva.redb");
    let stores: [Box<dyn Store>; 2] =
        [Box::new(Memory::default()), Box::new(Embedded::open(&path, [7; EPOCH]).unwrap())];
    for mut store in stores {
        assert!(store.load().unwrap().moves.is_empty());
        let mut all: Vec<(MoveId, Move)> =
            MoveState::ALL.iter().zip(1..).map(|(state, id)| one_move(id, *state)).collect();
        let write = |moves| Transaction { moves, ..Transaction::default() };
        store.commit(1, &write(all.iter().cloned().map(|(id, one)| (id, Some(one))).collect())).unwrap();
        assert_eq!(store.load().unwrap().moves, all);
        // Over, in the same transaction as another one that goes on; and one that was over already.
        let (gone, _) = all.remove(0);
        all[0].1.state = MoveState::Draining;
        let moves = vec![(gone, None), (MoveId(99), None), (all[0].0, Some(all[0].1.clone()))];
        store.commit(2, &write(moves)).unwrap();
        let stored = store.load().unwrap();
        assert_eq!((stored.revision, &stored.moves), (2, &all));
        let copy = directory.path().join("copy.redb");
        let _ = std::fs::remove_file(&copy);
        backup(&stored, &copy).unwrap();
        assert!(Embedded::open(&copy, [1; EPOCH]).unwrap().load().unwrap().moves.is_empty());
        assert!(!std::fs::read(&copy).unwrap().windows(8).any(|bytes| bytes == b"abababab"));
    }
    // What was kept is read again.
    assert_eq!(Embedded::open(&path, [1; EPOCH]).unwrap().load().unwrap().moves.len(), 5);
}

#[test]
fn work_that_takes_long_tells_how_far_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy.redb");
    let records = (0..25_000).map(|n| (key(n), record(1, 1))).collect();
    let stored = Stored { revision: 1, records, ..Stored::default() };
    let mut told = Vec::new();
    super::backup::backup(&stored, &copy, &mut |what, done, all| told.push((what, done, all))).unwrap();
    let portions = [0, 10_000, 20_000, 25_000].map(|done| ("writing", done, 25_000));
    assert_eq!(told, portions);
    told.clear();
    super::backup::verify(&copy, &mut |what, done, all| told.push((what, done, all))).unwrap();
    assert_eq!((told.first(), told.last()), (Some(&("checking", 0, 0)), Some(&("reading", 25_000, 25_000))));
    assert!(told.len() > 20 && told.is_sorted_by_key(|(_, done, _)| *done));
}

#[test]
fn no_authority_goes_on_with_a_store_whose_registry_moved_and_what_it_was_is_read_still() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy] = ["nva.redb", "copy.redb"].map(|name| directory.path().join(name));
    let mut store = Embedded::open(&path, [7; EPOCH]).unwrap();
    let expected = fill(&mut store);
    assert_eq!(store.moved(), Ok(None));
    let moved = Moved { epoch: [9; EPOCH], to: "etcd http://127.0.0.1:2379 /ilagate/lab".to_owned() };
    store.fence(&moved).unwrap();
    drop(store);
    for _ in 0..2 {
        let why = Embedded::open(&path, [7; EPOCH]).map(|_| ()).unwrap_err().to_string();
        assert!(
            why.contains("nva.redb: its registry moved to etcd http://127.0.0.1:2379 /ilagate/lab"),
            "{why}"
        );
        assert!(why.contains("set store.etcd in the place of store.path"), "{why}");
    }
    let store = Embedded::open_anyway(&path, [7; EPOCH]).unwrap();
    assert_eq!(store.moved(), Ok(Some(moved)));
    let stored = store.read(&mut |_, _, _| ()).unwrap();
    assert_eq!((stored.epoch, stored.revision, &stored.records), ([7; EPOCH], 2, &expected));
    drop(store);
    assert_eq!(verify(&path).unwrap().revision, 2);
    // A release that knows nothing of moves finds no epoch there, and refuses the file.
    {
        let database = redb::Database::open(&path).unwrap();
        let table = redb::TableDefinition::<&str, &[u8]>::new("meta");
        let begun = redb::ReadableDatabase::begin_read(&database).unwrap();
        let meta = begun.open_table(table).unwrap();
        assert_ne!(meta.get("epoch").unwrap().unwrap().value().len(), EPOCH);
    }
    // The way back: what a backup of it holds is a registry again, also in its own place.
    backup(&stored, &copy).unwrap();
    restore(&copy, &path, 8, NOW_S).unwrap();
    assert_eq!(Embedded::open(&path, [1; EPOCH]).unwrap().load().unwrap().epoch, [8; EPOCH]);
}
