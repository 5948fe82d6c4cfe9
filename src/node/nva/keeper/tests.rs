use super::*;
use crate::ila::Locator;
use crate::nva::model::{Choice, Key};
use std::sync::atomic::Ordering;

fn config(directory: &Path, rest: &str) -> Config {
    let text = format!(
        r#"
node: {{name: nve1, state_dir: "{}"}}
dpdk: {{workers: [1]}}
sir_domains: [{{name: tasks, prefix: "2001:db8:dddd::/64"}}]
ports:
  - {{name: f, device: net_null0, role: fabric, addresses: ["fd00:f::1/64"]}}
  - {{name: a, device: net_null1, role: access}}
{rest}
"#,
        directory.display()
    );
    Config::parse(&text, "t.yaml").unwrap()
}

const NVA: &str = "nva: {endpoints: [\"unix:/run/nva.sock\"]}";

fn told(number: u64) -> Told {
    let key = Key { sir_prefix: 0x2001_0db8_dddd_0000, identifier: 1 << 61 | number };
    let choices = vec![Choice { locator: Locator(0xfd00_0001_0000_0001), priority: 0, weight: 1 }];
    Told { key, choices, sequence: number }
}

fn known(revision: u64) -> Known {
    Known { epoch: vec![1; 16], revision }
}

fn stats() -> Arc<Stats> {
    Arc::new(Stats::new("nve1".into(), Vec::new(), &[], 0))
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_waits_at_the_end_is_written_and_is_what_the_next_start_begins_with() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), NVA);
    let mut before = Before::read(&config).unwrap();
    assert_eq!((before.known.clone(), before.stale_s, before.mappings.len()), (Known::default(), 0, 0));
    let keeper = before.keep(stats()).unwrap().unwrap();
    keeper.notes().note(Update::applied(true, vec![told(1), told(2)], known(5)));
    keeper.notes().note(Update::applied(false, vec![told(3)], known(6)));
    keeper.notes().note(Update::live(now_s() - 100));
    keeper.stop();
    let mut after = Before::read(&config).unwrap();
    assert_eq!((after.known.clone(), after.mappings.clone()), (known(6), vec![told(1), told(2), told(3)]));
    assert!((100..160).contains(&after.stale_s), "{}", after.stale_s);
    let stats = stats();
    assert_eq!(after.changes(&config, &stats).len(), 3);
    after.keep_own(&config);
    assert_eq!(stats.nva.state_failures.load(Ordering::Relaxed), 0);
}

#[test]
fn staleness_goes_on_over_a_restart_and_ends_with_a_session() {
    let stats = stats();
    let stale_s = || stats.nva.stale_s.load(Ordering::Relaxed);
    let mut last = LastLive::ago(100);
    last.see(false, &stats, None);
    assert!((100..160).contains(&stale_s()), "{}", stale_s());
    last.see(true, &stats, None);
    assert_eq!(stale_s(), 0);
    last.see(false, &stats, None);
    assert!(stale_s() < 60, "{}", stale_s());
    LastLive::ago(u64::MAX).see(false, &stats, None);
    assert_eq!(stale_s(), u64::MAX);
}

#[test]
fn a_clock_that_was_set_back_makes_nothing_negative() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), NVA);
    let keeper = Before::read(&config).unwrap().keep(stats()).unwrap().unwrap();
    keeper.notes().note(Update::live(u64::MAX));
    keeper.stop();
    assert_eq!(Before::read(&config).unwrap().stale_s, 0);
}

#[test]
fn nothing_is_kept_without_an_authority_or_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let with = |text: &str| Config::parse(text, "t.yaml").unwrap();
    let place =
        "node: {name: n}\ndpdk: {workers: [1]}\nports: [{name: f, device: net_null0, role: fabric}]\n";
    for config in [config(directory.path(), ""), with(&format!("{place}{NVA}\n"))] {
        assert!(Before::read(&config).unwrap().keep(stats()).unwrap().is_none());
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_another_process_has_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), NVA);
    let _held = Before::read(&config).unwrap();
    assert!(matches!(Before::read(&config), Err(OpenError::Held(_))));
}

#[test]
fn a_file_that_cannot_be_written_is_counted_and_tried_again_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("state");
    std::fs::write(&place, "a file, where a directory is to be").unwrap();
    let config = config(&place, NVA);
    let stats = stats();
    let mut before = Before::read(&config).unwrap();
    let keeper = before.keep(stats.clone()).unwrap().unwrap();
    keeper.notes().note(Update::applied(true, vec![told(1)], known(5)));
    // One for the start, and one for an attempt at least.
    until("failures to be counted", || stats.nva.state_failures.load(Ordering::Relaxed) > 1);
    keeper.notes().note(Update::applied(false, vec![told(2)], known(6)));
    std::fs::remove_file(&place).unwrap();
    until("the file to be there", || place.join("nve1.nva.redb").exists());
    keeper.stop();
    let after = Before::read(&config).unwrap();
    assert_eq!((after.known, after.mappings), (known(6), vec![told(1), told(2)]));
}

#[test]
fn a_damaged_file_is_counted_and_the_node_begins_with_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), NVA);
    std::fs::write(directory.path().join("nve1.nva.redb"), "damaged").unwrap();
    let stats = stats();
    let mut before = Before::read(&config).unwrap();
    assert!(before.mappings.is_empty());
    before.keep(stats.clone()).unwrap().unwrap().stop();
    assert_eq!(stats.nva.state_failures.load(Ordering::Relaxed), 1);
    assert!(directory.path().join("nve1.nva.redb.damaged-1").exists());
}

#[test]
fn a_file_that_must_be_begun_anew_while_the_node_runs_is_told_everything_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nve1.nva.redb");
    let notes = Notes(Arc::default());
    let known = Known { epoch: vec![1], revision: 5 };
    let mut writer = Writer {
        path: path.clone(),
        mirror: None,
        scopes: Scopes::default(),
        notes: notes.clone(),
        failing: false,
    };
    writer.write(&Update::applied(true, Vec::new(), known.clone())).unwrap();
    assert!(!notes.take_anew());
    writer.mirror = None;
    std::fs::write(&path, "damaged").unwrap();
    // It holds nothing that this could follow.
    let later = Update::applied(false, Vec::new(), Known { revision: 6, ..known.clone() });
    assert!(writer.write(&later).unwrap_err().contains("waits for a whole snapshot"));
    assert!(notes.take_anew() && !notes.take_anew());
    let own = (told(1).key, 7);
    notes.note_anew(Arc::default(), [own].into_iter());
    notes.note(Update::applied(true, Vec::new(), known));
    writer.write(&notes.take().0).unwrap();
    assert!(!notes.take_anew());
    drop(writer);
    // What it kept of itself alone is there again.
    assert_eq!(Mirror::open(&path).unwrap().content.own, BTreeMap::from([own]));
}

#[test]
fn what_is_older_than_the_grace_period_is_not_begun_with_if_it_is_to_go_then() {
    let directory = tempfile::tempdir().unwrap();
    for (grace, count) in [
        ("", 2),
        (", grace_s: 90", 2),
        (", after_grace: forget", 2),
        (", grace_s: 90, after_grace: forget", 0),
    ] {
        let nva = NVA.replace('}', &format!("{grace}}}"));
        let config = config(directory.path(), &nva);
        let keeper = Before::read(&config).unwrap().keep(stats()).unwrap().unwrap();
        keeper.notes().note(Update::applied(true, vec![told(1), told(2)], known(5)));
        keeper.notes().note(Update::live(now_s() - 100));
        keeper.stop();
        let mut before = Before::read(&config).unwrap();
        assert_eq!(before.changes(&config, &stats()).len(), count, "{grace}");
        // And the session asks for everything.
        assert_eq!(before.known == Known::default(), count == 0, "{grace}");
    }
}

#[test]
fn a_clock_that_was_set_while_the_machine_runs_makes_nothing_stale() {
    let uptime = |boot: &str, seconds| Uptime { boot: boot.to_owned(), seconds };
    let content = |live_s, uptime| Content { live_s, uptime, ..Content::default() };
    let year_s = 365 * 24 * 3_600;
    for now_s in [0, 1_000, 1_000 + year_s] {
        let then = content(1_000, Some(uptime("a", 50)));
        assert_eq!(stale_s(&then, now_s, Some(&uptime("a", 57))), 7, "at {now_s}");
    }
    // After its restart, or where nobody knows, the wall clock counts.
    for (then, now) in [
        (Some(uptime("a", 50)), Some(uptime("b", 3))),
        (None, Some(uptime("a", 57))),
        (Some(uptime("a", 50)), None),
    ] {
        assert_eq!(stale_s(&content(1_000, then.clone()), 1_060, now.as_ref()), 60);
        assert_eq!(stale_s(&content(1_000, then), 900, now.as_ref()), 0);
    }
    assert_eq!(stale_s(&content(0, Some(uptime("a", 50))), year_s, Some(&uptime("b", 57))), 0);
    assert!(super::uptime().is_some_and(|now| now.seconds > 0 && !now.boot.is_empty()));
}

#[test]
fn what_is_attached_and_followed_by_nobody_here_is_known_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let scopes =
        "nva: {endpoints: [\"unix:/run/nva.sock\"], scopes: [{prefix: \"2001:db8:dddd:0:2fff::/80\"}]}";
    let attached = r#"
  - {port: a, mac: "02:00:00:00:01:01", identifiers: ["2001:db8:dddd:0:2000::1", "2001:db8:dddd:0:2000::2"]}"#;
    let text = |more: &str| {
        format!("{scopes}\nlocators: [{{prefix: \"fd00:1:0:1::/64\", domain: tasks}}]\nattachments:{more}")
    };
    let with = |more: &str| {
        let config = config(directory.path(), &text(more));
        let mut before = Before::read(&config).unwrap();
        before.keep_own(&config);
        (config, before)
    };
    let key = |n| told(n).key;
    let (_, mut before) = with(attached);
    assert!(before.own.is_empty());
    let keeper = before.keep(stats()).unwrap().unwrap();
    for (n, sequence) in [(1, Some(7)), (2, Some(8)), (3, Some(9)), (2, None)] {
        keeper.notes().note(Update::own(key(n), sequence));
    }
    keeper.stop();
    // One that is attached no longer is not had any more, and forgotten.
    let (_, mut before) = with(attached);
    assert_eq!((&before.own, &before.gone), (&BTreeMap::from([(key(1), 7)]), &vec![key(3)]));
    before.keep(stats()).unwrap().unwrap().stop();
    let (_, before) = with(attached);
    assert_eq!((before.own.len(), before.gone.len()), (1, 0));
}
