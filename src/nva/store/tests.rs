//! One suite of laws for every store.

use super::*;
use crate::ila::Locator;
use crate::nva::model::{Choice, Key, Record, Transaction};

fn record(sequence: u64, locators: u64) -> Record {
    let choice = |n| Choice { locator: Locator(0xfd00 << 48 | n), priority: n as u8, weight: 1 + n as u16 };
    Record { choices: (0..locators).map(choice).collect(), owner: format!("nve{sequence}"), sequence }
}

fn key(n: u64) -> Key {
    Key { sir_prefix: n << 32, identifier: !n }
}

/// Writes, overwrites and releases, and gives what must be there then.
fn fill(store: &mut dyn Store) -> Vec<(Key, Record)> {
    let write = |writes: Vec<(Key, Record)>| Transaction { writes };
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
fn the_embedded_store_keeps_records_and_epoch_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nva.redb");
    let expected = fill(&mut Embedded::open(&path, [7; EPOCH]).unwrap());
    // The epoch of the second opening is for a store that is not there.
    let stored = Embedded::open(&path, [8; EPOCH]).unwrap().load().unwrap();
    assert_eq!(stored, Stored { epoch: [7; EPOCH], revision: 2, records: expected });
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
