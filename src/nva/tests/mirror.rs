//! The file that a node keeps: one state, whatever happens to the process, and no crash whatever happens to the file.

use super::*;
use crate::config::Entry;
use crate::nva::client::{Objects, Seen};
use crate::nva::message::Told;
use crate::nva::mirror::{Content, Mirror, OpenError, Opened, Update};
use crate::nva::model::{Known, MAX_LOCATORS};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn told(number: u64, nve: u64, sequence: u64) -> Told {
    Told { key: key(number), choices: at(nve), sequence }
}

fn gone(number: u64, sequence: u64) -> Told {
    Told { choices: Vec::new(), ..told(number, 1, sequence) }
}

fn known(epoch: u8, revision: u64) -> Known {
    Known { epoch: vec![epoch; 16], revision }
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new").join("nve1.nva.redb");
    (directory, path)
}

fn content(path: &Path) -> Content {
    let opened = Mirror::open(path).unwrap();
    assert_eq!(opened.set_aside, None);
    opened.content
}

/// A file with two mappings, closed.
fn filled(path: &Path) -> Content {
    let mut mirror = Mirror::open(path).unwrap().mirror;
    let mut update = Update::applied(true, vec![told(2, 2, 5), told(1, 1, 4)], known(1, 7));
    update.merge(Update::live(1_000));
    assert_eq!(mirror.write(&update), Ok(2));
    Content {
        known: known(1, 7),
        live_s: 1_000,
        mappings: vec![told(1, 1, 4), told(2, 2, 5)],
        ..Content::default()
    }
}

#[test]
fn what_was_written_is_there_after_a_restart_in_the_order_of_keys() {
    let (_directory, path) = place();
    assert_eq!(content(&path), Content::default());
    let expected = filled(&path);
    assert_eq!(content(&path), expected);
    // With the most locators, and priority and weight of each.
    let choice = |n: u64| Choice { locator: locator(n, 0), priority: n as u8, weight: 1 + n as u16 };
    let choices = (0..MAX_LOCATORS as u64).map(choice).collect();
    let widest = Told { key: key(9), choices, sequence: u64::MAX };
    let mut mirror = Mirror::open(&path).unwrap().mirror;
    mirror.write(&Update::applied(false, vec![widest.clone(), gone(1, 8)], known(1, 8))).unwrap();
    drop(mirror);
    let expected = Content {
        known: known(1, 8),
        live_s: 1_000,
        mappings: vec![told(2, 2, 5), widest],
        ..Content::default()
    };
    assert_eq!(content(&path), expected);
}

#[test]
fn a_snapshot_replaces_all_and_writes_only_what_is_not_there_as_it_is() {
    let (_directory, path) = place();
    filled(&path);
    let mut mirror = Mirror::open(&path).unwrap().mirror;
    let equal = Update::applied(true, vec![told(1, 1, 4), told(2, 2, 5)], known(1, 7));
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(mirror.write(&equal), Ok(0));
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), before);
    // One is gone, one has another sequence only, one is new. The epoch may be another one.
    let next = Update::applied(true, vec![told(2, 2, 6), told(3, 3, 1)], known(2, 1));
    assert_eq!(mirror.write(&next), Ok(3));
    drop(mirror);
    let expected = Content {
        known: known(2, 1),
        live_s: 1_000,
        mappings: vec![told(2, 2, 6), told(3, 3, 1)],
        ..Content::default()
    };
    assert_eq!(content(&path), expected);
}

#[test]
fn changes_that_do_not_follow_what_the_file_shows_are_refused() {
    let (_directory, path) = place();
    let expected = filled(&path);
    let mut mirror = Mirror::open(&path).unwrap().mirror;
    let why = mirror.write(&Update::applied(false, vec![told(3, 3, 1)], known(2, 8))).unwrap_err();
    assert!(why.contains("do not follow"), "{why}");
    drop(mirror);
    assert_eq!(content(&path), expected);
}

#[test]
fn updates_that_wait_are_merged_as_if_one_was_written_after_the_other() {
    let updates = [
        Update::applied(false, vec![told(3, 3, 8), gone(1, 8)], known(1, 8)),
        Update::live(2_000),
        Update::applied(false, vec![told(3, 2, 9)], known(1, 9)),
        Update::applied(true, vec![told(4, 1, 1), told(5, 1, 1)], known(2, 3)),
        Update::applied(false, vec![gone(5, 2), told(6, 1, 1)], known(2, 4)),
    ];
    for end in 1..=updates.len() {
        let (_directory, path) = place();
        filled(&path);
        let (_directory, other) = place();
        filled(&other);
        let mut mirror = Mirror::open(&path).unwrap().mirror;
        let mut merged = Update::default();
        assert!(merged.is_empty());
        for update in &updates[..end] {
            mirror.write(update).unwrap();
            merged.merge(update.clone());
        }
        drop(mirror);
        Mirror::open(&other).unwrap().mirror.write(&merged).unwrap();
        assert_eq!(content(&path), content(&other), "{end} updates");
    }
}

#[test]
fn a_process_that_is_killed_leaves_the_state_before_or_after_a_transaction() {
    let (_directory, path) = place();
    let (_other_directory, killed) = place();
    let before = filled(&path);
    let mut mirror = Mirror::open(&path).unwrap().mirror;
    // The file as it is while another process would have it open: as after kill -9.
    std::fs::create_dir_all(killed.parent().unwrap()).unwrap();
    std::fs::copy(&path, &killed).unwrap();
    assert_eq!(content(&killed), before);
    mirror.write(&Update::applied(false, vec![told(3, 3, 1)], known(1, 8))).unwrap();
    std::fs::copy(&path, &killed).unwrap();
    let mappings = vec![told(1, 1, 4), told(2, 2, 5), told(3, 3, 1)];
    assert_eq!(
        content(&killed),
        Content { known: known(1, 8), live_s: 1_000, mappings, ..Content::default() }
    );
}

#[test]
fn one_process_at_a_time_has_the_file_and_the_other_one_is_told() {
    let (_directory, path) = place();
    let _held = Mirror::open(&path).unwrap();
    let why = Mirror::open(&path).map(|_| ()).unwrap_err();
    assert!(matches!(why, OpenError::Held(_)));
    assert!(why.to_string().contains("nve1.nva.redb: another process has this file; stop it"), "{why}");
}

#[test]
fn a_damaged_file_is_set_aside_as_it_is_and_only_so_many_are_kept() {
    let (_directory, path) = place();
    filled(&path);
    let whole = std::fs::read(&path).unwrap();
    let mut damaged = vec![b"not a database".to_vec(), vec![0; 8192], whole[..whole.len() / 2].to_vec()];
    // A byte that is another one, wherever it is, is told of or changes nothing.
    for at in (0..whole.len()).step_by(9_973) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        damaged.push(bytes);
    }
    let mut set_aside = 0;
    for bytes in damaged {
        std::fs::write(&path, &bytes).unwrap();
        let Opened { mirror, content: found, set_aside: aside } = Mirror::open(&path).unwrap();
        drop(mirror);
        match aside {
            None => assert_eq!(found.mappings, vec![told(1, 1, 4), told(2, 2, 5)]),
            Some(aside) => {
                set_aside += 1;
                assert_eq!(found, Content::default());
                let name = format!("nve1.nva.redb.damaged-{}", set_aside.min(3));
                assert_eq!(aside.to.file_name().unwrap().to_str().unwrap(), name, "{}", aside.why);
                assert_eq!(content(&path), Content::default());
            }
        }
    }
    assert!(set_aside > 4, "{set_aside}");
    let kept = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(kept, 4, "the file and three damaged ones");
}

#[test]
fn a_file_of_another_release_is_set_aside_and_one_of_something_else_is_left_alone() {
    use redb::{Database, ReadableDatabase, TableDefinition};
    let (_directory, path) = place();
    filled(&path);
    let meta = TableDefinition::<&str, &[u8]>::new("meta");
    let database = Database::create(&path).unwrap();
    let begun = database.begin_write().unwrap();
    begun.open_table(meta).unwrap().insert("form", &[2u8][..]).unwrap();
    begun.commit().unwrap();
    drop(database);
    let opened = Mirror::open(&path).unwrap();
    let aside = opened.set_aside.clone().unwrap();
    assert!(aside.to.ends_with("nve1.nva.redb.form-2") && aside.why.contains("form 2"), "{aside:?}");
    assert_eq!(opened.content, Content::default());
    drop(opened);

    // The store of an authority.
    let other = path.with_file_name("other.redb");
    drop(crate::nva::store::Embedded::open(&other, [7; 16]).unwrap());
    let why = Mirror::open(&other).map(|_| ()).unwrap_err();
    assert!(matches!(why, OpenError::Foreign(_)), "{why}");
    let begun = Database::open(&other).unwrap().begin_read().unwrap();
    begun.open_table(TableDefinition::<[u8; 16], &[u8]>::new("records")).unwrap();
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let why = Mirror::open(&file.join("nve1.nva.redb")).map(|_| ()).unwrap_err();
    assert!(matches!(why, OpenError::Failed { .. }));
    assert!(why.to_string().contains("file/nve1.nva.redb: "), "{why}");
}

#[test]
fn the_file_is_for_its_user_only() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, path) = place();
    filled(&path);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_operators_want_is_kept_and_replaced_as_a_whole() {
    let (_directory, path) = place();
    let expected = filled(&path);
    let seen = |entry: Entry, sequence| Seen {
        name: entry.name().clone(),
        sequence,
        sir_prefix: SIR,
        entry: Arc::new(entry),
    };
    let objects = |revision, all: Vec<Seen>| {
        let all = all.into_iter().map(|seen| (seen.name.clone(), seen)).collect();
        Arc::new(Objects { known: known(1, revision), all: Arc::new(all) })
    };
    let red = |vnid: u32| Entry::network(&format!("{{name: red, vnid: {vnid}, domain: tasks}}")).unwrap();
    let vm1 = Entry::attachment("{name: vm1, port: a, network: red, addresses: [10.0.0.5]}").unwrap();
    let both = objects(8, vec![seen(red(1), 3), seen(vm1, 4)]);
    let one = objects(9, vec![seen(red(2), 9)]);
    for (written, known) in [(both, 8), (one, 9)] {
        let mut mirror = Mirror::open(&path).unwrap().mirror;
        let mut update = Update { objects: Some(objects(7, Vec::new())), ..Update::default() };
        update.merge(Update { objects: Some(written.clone()), ..Update::default() });
        assert!(!update.is_empty());
        mirror.write(&update).unwrap();
        drop(mirror);
        let content = content(&path);
        assert_eq!((&content.objects, content.objects.known.revision), (&*written, known));
        assert_eq!(content.mappings, expected.mappings);
    }
}

#[test]
fn the_part_in_moves_is_there_after_a_restart_and_without_tokens() {
    use crate::nva::message::{InFlight, Mode, MoveId, MoveState, MoveTold, Place, Role, Sign, Token};
    use crate::nva::mirror::KeptMove;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("n.nva.redb");
    let text = "{name: vm1, port: a, mac: '02:00:00:00:00:01', identifiers: ['2001:db8:dddd:0:2000::1']}";
    let entry = Arc::new(Entry::attachment(text).unwrap());
    let told = |id, role, has_entry: bool| MoveTold {
        id: MoveId(id),
        sequence: id + 3,
        state: MoveState::Detached,
        role,
        attachment: "vm1".to_owned(),
        entry: has_entry.then(|| entry.clone()),
        keys: vec![key(1), key(2)],
        peer: "nve2".to_owned(),
        peer_locators: vec![Place { sir_prefix: SIR, locator: locator(2, 0) }],
        peer_vtep: Some("2001:db8::2".parse().unwrap()),
        vtep: Some("2001:db8::1".parse().unwrap()),
        peer_done: true,
        mode: Mode::Hot,
        in_flight: InFlight::Retranslate,
        token: None,
        left_ms: Some(17),
        overdue: true,
        idle_ms: 2_000,
    };
    let kept = |id, role, has_entry, arrived, flags: (bool, bool)| KeptMove {
        told: told(id, role, has_entry),
        entry: Some(entry.clone()),
        since_ms: 1_700_000_000_000 + id,
        until_ms: 1_700_000_600_000 + id,
        arrived,
        alone: flags.0,
        left: flags.1,
    };
    let all = vec![
        kept(7, Role::New, true, Some(Sign::UnsolicitedNa), (true, false)),
        kept(8, Role::Old, false, None, (false, true)),
        KeptMove { entry: None, ..kept(9, Role::Old, false, None, (false, false)) },
    ];
    let mut opened = Mirror::open(&path).unwrap();
    assert_eq!(opened.content.moves, []);
    let update = |moves: &[KeptMove]| Update { moves: Some(Arc::new(moves.to_vec())), ..Update::default() };
    let mut with_token = all.clone();
    with_token[0].told.token = Some(Token([0x5a; 16]));
    opened.mirror.write(&update(&with_token)).unwrap();
    drop(opened);
    assert!(!std::fs::read(&path).unwrap().windows(16).any(|bytes| bytes == [0x5a; 16]));
    let mut opened = Mirror::open(&path).unwrap();
    assert_eq!(opened.content.moves, all);
    opened.mirror.write(&update(&all[1..2])).unwrap();
    drop(opened);
    assert_eq!(Mirror::open(&path).unwrap().content.moves, all[1..2]);
}
