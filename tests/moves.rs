//! A registry moves into etcd, and a backup is put there: by `ila-nva` itself, which is killed on the way.
#![cfg(feature = "etcd")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/etcd_store.rs"]
mod store;
#[path = "support/etcd.rs"]
mod support;

use ilagate::config::ObjectName;
use ilagate::nva::model::{Key, Object, ObjectKey, Record, Transaction};
use ilagate::nva::store::backup::backup;
use ilagate::nva::store::{EPOCH, Embedded, Report, Store as _, Stored, etcd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use store::{Store, config, key, record, writes};
use support::Etcd;

/// A registry in a file, and the configuration of an authority before an etcd.
struct Move {
    etcd: Etcd,
    directory: tempfile::TempDir,
    stored: Stored,
}

impl Move {
    fn new(records: u64) -> Option<Move> {
        let (etcd, directory) = (Etcd::start(&[])?, tempfile::tempdir().unwrap());
        let mut store = Embedded::open(&directory.path().join("nva.redb"), [7; EPOCH]).unwrap();
        // The last one was released.
        let mut transaction = writes(0..records, 1);
        transaction.writes.push((key(records), record(1, 0)));
        store.commit(1, &transaction).unwrap();
        let document = "x".repeat(200 << 10);
        let object = |n: u64| {
            let key = ObjectKey { nve: String::new(), name: ObjectName::Network(format!("net{n}")) };
            (key, Some(Object { document: document.clone(), sequence: n }))
        };
        let objects = (1..10).map(object).collect();
        store.commit(2, &Transaction { objects, ..Transaction::default() }).unwrap();
        let stored = store.load().unwrap();
        let made = Move { etcd, directory, stored };
        std::fs::write(
            made.path("nva.yaml"),
            format!(
                "nva: {{name: nva1}}\nlisten: [\"unix:{}\"]\n\
                 store: {{etcd: {{endpoints: [\"http://{}\"], prefix: /ilagate/lab}}}}\n",
                made.path("nva.sock").display(),
                made.etcd.client
            ),
        )
        .unwrap();
        Some(made)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, what: &str, from: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ila-nva"));
        command.args([what, "--config"]).arg(self.path("nva.yaml")).arg("--from").arg(self.path(from));
        command
    }

    /// Whether it succeeds, and what it says.
    fn run(&self, what: &str, from: &str) -> (bool, String) {
        let done = self.command(what, from).output().unwrap();
        let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        (done.status.success(), text)
    }

    /// What an authority that starts on the file has, or why none does.
    fn file(&self) -> Result<Stored, String> {
        let opened = Embedded::open(&self.path("nva.redb"), [1; EPOCH]);
        opened.and_then(|mut store| store.load()).map_err(|why| why.0)
    }

    /// The same of etcd.
    fn etcd(&self) -> Result<Stored, String> {
        // A busy machine may not answer in time.
        let begin = Instant::now();
        loop {
            match etcd::read(&config(self.etcd.client), &mut |_, _, _| ()) {
                Err(why) if why.0.contains("no answer") && begin.elapsed() < Duration::from_secs(30) => {}
                read => return read.map_err(|why| why.0),
            }
        }
    }

    /// It holds all that the file held, as a new history.
    fn is_new_history(&self, stored: &Stored) {
        assert_ne!(stored.epoch, self.stored.epoch);
        assert!(stored.restored && stored.completed.is_empty(), "who has what may not be known");
        let plain = |(key, record): &(Key, Record)| (*key, record.choices.clone(), record.owner.clone());
        assert!(stored.records.iter().map(plain).eq(self.stored.records.iter().map(plain)));
        assert_eq!(stored.objects, self.stored.objects);
        // Sequences never go back, and none is above the revision.
        let highest = self.stored.records.iter().map(|(_, record)| record.sequence).max().unwrap();
        assert!(stored.records.iter().all(|(_, it)| it.sequence > highest && it.sequence <= stored.revision));
        assert!(stored.revision > self.stored.revision);
    }
}

#[test]
fn a_registry_moves_into_etcd_as_a_new_history_and_no_authority_goes_on_with_its_file() {
    let Some(case) = Move::new(1_000) else { return };
    let (done, told) = case.run("migrate", "nva.redb");
    assert!(done && told.lines().count() == 1, "{told}");
    assert!(told.ends_with(", 1000 identifiers, 1 released, 9 objects\n"), "{told}");
    let stored = case.etcd().unwrap();
    case.is_new_history(&stored);
    let why = case.file().unwrap_err();
    assert!(
        why.contains(&format!("its registry moved to etcd http://{} /ilagate/lab", case.etcd.client)),
        "{why}"
    );
    // The same says an authority that is told to run on it.
    let text = std::fs::read_to_string(case.path("nva.yaml")).unwrap();
    let (head, _) = text.split_once("store:").unwrap();
    std::fs::write(
        case.path("old.yaml"),
        format!("{head}store: {{path: {}}}\n", case.path("nva.redb").display()),
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ila-nva"));
    let ended = command.args(["run", "--config"]).arg(case.path("old.yaml")).output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success() && told.contains("set store.etcd in the place of store.path"), "{told}");
    // Once more is no harm, and nothing is there twice.
    let (done, told) = case.run("migrate", "nva.redb");
    assert!(done && told.contains("moved to etcd"), "{told}");
    assert_eq!(case.etcd().unwrap(), stored);
    // An authority goes on there, and sequences above all that were.
    let mut store = Store::open("nva1", case.etcd.client);
    assert_eq!(store.running.stored, stored);
    store.commit(writes([1], store.revision + 1));
    assert_eq!(store.next(), Report::Durable);
    store.end();
    let (done, told) = case.run("migrate", "nva.redb");
    assert!(done && told.contains("moved to etcd"), "{told}");
}

#[test]
fn what_is_in_use_is_neither_filled_nor_moved() {
    let Some(case) = Move::new(10) else { return };
    let held = Embedded::open(&case.path("nva.redb"), [1; EPOCH]).unwrap();
    let (done, told) = case.run("migrate", "nva.redb");
    assert!(!done && told.contains("a process has it open; stop it first"), "{told}");
    drop(held);
    backup(&case.stored, &case.path("copy.redb"), &mut |_, _, _| ()).unwrap();
    // A registry, and anything else.
    Store::open("nva1", case.etcd.client).end();
    for (found, way_out) in [("a registry at revision 0", "del"), ("something", "put")] {
        for (what, from) in [("migrate", "nva.redb"), ("restore", "copy.redb")] {
            let (done, told) = case.run(what, from);
            assert!(
                !done && told.contains(&format!("there is {found} below /ilagate/lab/ already")),
                "{told}"
            );
            assert!(told.contains("etcdctl del --prefix /ilagate/lab/"), "{told}");
        }
        let (head, other) = ("/ilagate/lab/head", "/ilagate/lab/other");
        case.etcd.ctl(&["del", head]).unwrap();
        if way_out == "del" {
            case.etcd.ctl(&["put", other, "x"]).unwrap();
        }
    }
    assert_eq!(case.file().unwrap(), case.stored, "nothing moved");
    // A neighbour is no matter.
    case.etcd.ctl(&["del", "--prefix", "/ilagate/lab/"]).unwrap();
    case.etcd.ctl(&["put", "/ilagate/lab2/head", "x"]).unwrap();
    let (done, told) = case.run("restore", "copy.redb");
    assert!(done && told.ends_with(", 10 identifiers, 1 released, 9 objects\n"), "{told}");
    case.is_new_history(&case.etcd().unwrap());
    let (done, told) = case.run("restore", "copy.redb");
    assert!(!done && told.contains("a registry at revision"), "{told}");
    assert_eq!(case.file().unwrap(), case.stored);
}

#[test]
fn a_move_that_is_killed_leaves_one_registry_or_none_and_goes_on_when_it_is_run_again() {
    let Some(case) = Move::new(4_000) else { return };
    let (mut killed, mut wait) = (0, Duration::from_millis(5));
    let mut seen = [0; 3];
    loop {
        let mut command = case.command("migrate", "nva.redb");
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(wait);
        let _ = process.kill();
        let ended = process.wait().unwrap().success();
        let (file, etcd) = (case.file(), case.etcd());
        match (&file, &etcd) {
            (Ok(stored), Err(why)) => {
                assert_eq!(*stored, case.stored);
                assert!(
                    why.contains("did not end: make it again") || why.contains("there is no registry"),
                    "{why}"
                );
                seen[0] += 1;
                if why.contains("did not end") {
                    // Nor does an authority begin one there.
                    let why = Store::try_open("nva1", case.etcd.client).map(|_| ()).unwrap_err();
                    assert!(why.contains("nva.redb into /ilagate/lab/ did not end"), "{why}");
                }
            }
            (Err(why), Err(_)) => {
                assert!(why.contains("If the move did not end, run `ila-nva migrate` again"), "{why}");
                seen[1] += 1;
            }
            (Err(_), Ok(stored)) => {
                case.is_new_history(stored);
                seen[2] += 1;
            }
            (Ok(_), Ok(_)) => panic!("both are registries"),
        }
        if ended {
            break;
        }
        killed += 1;
        wait += wait / 2;
    }
    assert!(killed > 3 && seen[0] > 0 && seen[2] > 0, "killed {killed} times: {seen:?}");
    case.is_new_history(&case.etcd().unwrap());
}

#[test]
fn a_move_that_was_fenced_and_did_not_end_ends_when_it_is_run_again() {
    let Some(case) = Move::new(100) else { return };
    assert!(case.run("migrate", "nva.redb").0);
    let whole = case.etcd().unwrap();
    // As if it had been killed between the fence and the head: the mark is there still, and another one's is not taken.
    let epoch = u128::from_be_bytes(whole.epoch);
    let mark = |source: u8| {
        let source = u128::from_be_bytes([source; EPOCH]);
        case.etcd
            .ctl(&[
                "put",
                "/ilagate/lab/head",
                &format!("filling {source:032x} {epoch:032x} {source:032x} /nva.redb"),
            ])
            .unwrap();
    };
    mark(9);
    let (done, told) = case.run("migrate", "nva.redb");
    assert!(!done && told.contains("a copy of /nva.redb that did not end"), "{told}");
    mark(7);
    // What that copy wrote and the file does not have is deleted.
    case.etcd.ctl(&["put", "/ilagate/lab/r/00/junk", "x"]).unwrap();
    assert!(case.file().is_err() && case.etcd().is_err());
    let (done, told) = case.run("migrate", "nva.redb");
    assert!(done && told.contains("100 identifiers"), "{told}");
    let stored = case.etcd().unwrap();
    assert_eq!(stored.epoch, whole.epoch);
    case.is_new_history(&stored);
    assert_eq!(case.etcd.ctl(&["get", "/ilagate/lab/r/00/junk"]).unwrap(), "");
    // It is bound for there, and for nowhere else: not for an etcd that has nothing of it, either.
    case.etcd.ctl(&["del", "--prefix", "/ilagate/lab/"]).unwrap();
    let (done, told) = case.run("migrate", "nva.redb");
    assert!(!done && told.contains("nothing of it is there"), "{told}");
    assert!(case.etcd().is_err());
    let text = std::fs::read_to_string(case.path("nva.yaml")).unwrap();
    std::fs::write(case.path("nva.yaml"), text.replace("/ilagate/lab", "/ilagate/other")).unwrap();
    let (done, told) = case.run("migrate", "nva.redb");
    assert!(!done && told.contains("and not to etcd") && told.contains("restore it here"), "{told}");
}

#[test]
fn authorities_before_a_restored_etcd_wait_together_for_what_nves_have() {
    let Some(case) = Move::new(10) else { return };
    assert!(case.run("migrate", "nva.redb").0);
    let (mut first, mut second) =
        (Store::open("nva1", case.etcd.client), Store::open("nva2", case.etcd.client));
    assert!(first.running.stored.restored && first.running.stored.completed.is_empty());
    let completed = Transaction { completed: vec!["nve1".into()], ..Transaction::default() };
    first.commit(completed.clone());
    assert_eq!(first.next(), Report::Durable);
    assert_eq!(second.next(), Report::Others(completed, Vec::new()));
    // One that starts later knows it.
    let third = Store::open("nva3", case.etcd.client);
    assert_eq!(third.running.stored.completed, ["nve1".into()]);
    let over = Transaction { ends_restoration: true, ..Transaction::default() };
    second.commit(over.clone());
    assert_eq!(second.next(), Report::Durable);
    assert_eq!(first.next(), Report::Others(over, Vec::new()));
    let stored = Store::open("nva4", case.etcd.client).running.stored;
    assert!(!stored.restored && stored.completed.is_empty());
}
