//! The mapping file: what deletes much waits for an operator, and what is refused or covered is told.

use super::*;
use crate::config::mappings;

/// A mapping file with these lines.
fn file(lines: impl IntoIterator<Item = String>) -> String {
    let lines: String = lines.into_iter().map(|line| format!("  - {line}\n")).collect();
    if lines.is_empty() { "mappings: []\n".to_owned() } else { format!("mappings:\n{lines}") }
}

fn line(n: u64) -> String {
    line_to(n, 2)
}

fn line_to(n: u64, host: u64) -> String {
    format!("{{sir: \"2001:db8:dddd:0:2000::{n:x}\", locators: [\"fd00:1:0:{host}::/64\"]}}")
}

/// A node with a mapping file of these lines in force.
fn bench_with(lines: impl IntoIterator<Item = String>) -> Bench {
    let mut bench = Bench::new();
    let path = bench.control.path.with_file_name("mappings.yaml");
    std::fs::write(path, file(lines)).unwrap();
    bench.reload(&with_file("")).unwrap();
    bench
}

fn with_file(keys: &str) -> String {
    format!("{CONFIG}mappings: {{file: mappings.yaml{keys}}}\n")
}

impl Bench {
    /// The watch has read a file of these lines.
    fn read(&mut self, lines: impl IntoIterator<Item = String>) {
        let news = mappings::parse(&file(lines), "m.yaml", &self.control.config);
        self.input(20, Input::MappingFile(self.control.watch_number, news));
    }

    fn turns(&mut self) {
        (20..30).for_each(|now| self.turn(now));
    }

    fn confirm(&mut self, deletions: u64) -> Result<Applied, String> {
        let id = self.request(Request::Confirm(deletions));
        self.turns();
        match self.answers.remove(&id).unwrap() {
            Answer::Confirm(confirmed) => confirmed,
            other => panic!("{other:?}"),
        }
    }

    fn held(&self) -> usize {
        self.control.rib.mappings(&Default::default()).unwrap().len()
    }

    fn counted(&self) -> [u64; 2] {
        let stats = &self.control.stats;
        [&stats.updates_refused, &stats.updates_withheld].map(|count| count.load(Ordering::Relaxed))
    }
}

#[test]
fn a_file_that_deletes_a_large_share_waits_for_an_operator_who_knows_how_many() {
    let mut bench = bench_with((1..=100).map(line));
    bench.read((22..=100).map(line).chain([line(500)]));
    bench.turns();
    assert_eq!((bench.held(), bench.counted()), (100, [0, 1]));
    let warnings = bench.control.warnings();
    assert!(warnings[0].contains("would delete 21 of its 100 mappings"), "{warnings:?}");
    assert!(warnings[0].contains("ilactl mapping confirm 21"), "{warnings:?}");
    bench.turn(5_000);
    assert_eq!(bench.control.stats.census().deletions_withheld, 21);
    for wrong in [0, 20, 100] {
        assert!(bench.confirm(wrong).unwrap_err().contains("delete 21 mappings"), "{wrong}");
    }
    let applied = bench.confirm(21).unwrap();
    assert_eq!((applied.deleted, applied.created, bench.held()), (21, 1, 80));
    assert!(bench.control.warnings().is_empty(), "{:?}", bench.control.warnings());
    bench.turn(10_000);
    assert_eq!(bench.control.stats.census().deletions_withheld, 0);
    assert!(bench.confirm(21).unwrap_err().contains("no change"));
}

#[test]
fn small_shares_and_a_few_mappings_go_without_a_question() {
    for (before, after, held) in [(100, 80, 80), (100, 79, 100), (3, 2, 2), (10, 0, 0), (11, 0, 11)] {
        let mut bench = bench_with((1..=before).map(line));
        bench.read((1..=after).map(line));
        bench.turns();
        assert_eq!(bench.held(), held, "{before} to {after}");
    }
}

#[test]
fn what_operators_and_attachments_cover_counts_as_well_and_what_is_not_the_files_does_not() {
    let mut bench = bench_with((1..=20).map(line));
    // Two entries are covered, and two mappings are only an operator's.
    for n in [1, 2, 101, 102] {
        bench.apply(n, 0xfd00_0001_0000_0003);
    }
    bench.turns();
    bench.read(std::iter::empty());
    bench.turns();
    let warnings = bench.control.warnings();
    assert!(warnings.iter().any(|why| why.contains("delete 20 of its 20 mappings")), "{warnings:?}");
    assert_eq!(bench.confirm(20).unwrap().deleted, 18);
    assert_eq!(bench.held(), 4);
}

#[test]
fn a_limit_of_a_hundred_percent_is_none_and_one_of_zero_lets_only_a_few_go() {
    for (percent, after, held) in [(100, 0, 0), (0, 190, 190), (0, 189, 200)] {
        let mut bench = bench_with((1..=200).map(line));
        bench.reload(&with_file(&format!(", max_deletions_percent: {percent}"))).unwrap();
        bench.read((1..=after).map(line));
        bench.turns();
        assert_eq!(bench.held(), held as usize, "{percent} % to {after}");
    }
}

#[test]
fn a_reload_holds_the_file_to_the_same_limit_and_says_so() {
    let mut bench = bench_with((1..=100).map(line));
    std::fs::write(bench.control.path.with_file_name("mappings.yaml"), file([line(1)])).unwrap();
    let why = bench.reload(&with_file(", watch: false")).unwrap_err();
    assert!(
        why.contains("is in force, and its mappings are not") && why.contains("mapping confirm 99"),
        "{why}"
    );
    assert!(bench.watch.is_none() && bench.held() == 100);
    assert_eq!((bench.counted(), bench.control.warnings().len()), ([0, 1], 1));
    assert_eq!(bench.confirm(99).unwrap().deleted, 99);
    // Who takes the file out of the configuration means it.
    let mut bench = bench_with((1..=100).map(line));
    assert_eq!(bench.reload(CONFIG).unwrap().mappings.unwrap().deleted, 100);
}

#[test]
fn a_file_that_is_read_anew_takes_the_place_of_the_one_that_waits() {
    let mut bench = bench_with((1..=100).map(line));
    bench.read([line(1)]);
    bench.turns();
    assert_eq!(bench.control.file_status.withheld(), 99);
    bench.read((1..=99).map(line));
    bench.turns();
    assert_eq!((bench.held(), bench.control.file_status.withheld()), (99, 0));
    assert!(bench.confirm(99).is_err());
    // Also when it was confirmed already and has not been applied.
    bench.read([line(1)]);
    bench.turns();
    let id = bench.request(Request::Confirm(98));
    bench.read((1..=98).map(line));
    bench.turns();
    let answer = bench.answers.remove(&id);
    assert!(matches!(&answer, Some(Answer::Confirm(Err(why))) if why.contains("read anew")), "{answer:?}");
    assert_eq!(bench.held(), 98);
}

#[test]
fn refused_files_and_reloads_are_counted_once_and_told_until_one_is_in_force() {
    let mut bench = bench_with([line(1)]);
    assert_eq!((bench.counted(), bench.control.warnings().len()), ([0, 0], 0));
    // Wrong by itself, and wrong beside what is in force.
    bench.read(["{sir: nonsense}".to_owned(), "{sir: more}".to_owned()]);
    let warnings = bench.control.warnings();
    assert!(warnings[0].contains("m.yaml:2:5") && warnings[0].contains("more; see the log"), "{warnings:?}");
    bench.apply(0xffff, 0xfd00_0001_0000_0002);
    bench.turns();
    let zero = "{sir: \"2001:db8:dddd:0:2000::\", blackhole: true}".to_owned();
    bench.read([zero.clone()]);
    bench.turns();
    let warnings = bench.control.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("twin"), "{warnings:?}");
    assert_eq!(bench.counted(), [2, 0]);
    bench.read([line(1), line(2)]);
    bench.turns();
    assert_eq!((bench.held(), bench.control.warnings().len()), (3, 0));

    bench.reload("nonsense: true\n").unwrap_err();
    bench.reload(&with_file("").replace("role: fabric", "role: fabric, mtu: 1400")).unwrap_err();
    let warnings = bench.control.warnings();
    assert!(
        warnings.len() == 1 && warnings[0].contains("reload") && warnings[0].contains("mtu"),
        "{warnings:?}"
    );
    assert_eq!(bench.counted(), [4, 0]);
    std::fs::write(bench.control.path.with_file_name("mappings.yaml"), file([zero])).unwrap();
    bench.reload(&with_file("")).unwrap_err();
    assert_eq!(bench.counted(), [5, 0]);
    std::fs::write(bench.control.path.with_file_name("mappings.yaml"), file([line(1)])).unwrap();
    bench.reload(&with_file("")).unwrap();
    assert_eq!((bench.counted(), bench.control.warnings().len()), ([5, 0], 0));
}

#[test]
fn an_entry_that_changes_beneath_an_operators_mapping_is_told() {
    let mut bench = bench_with([line(1), line(2), line(3)]);
    bench.apply(1, 0xfd00_0001_0000_0009);
    bench.turns();
    for (lines, entries) in [
        // Nothing changed, only others did, it did, it went, it came.
        (vec![line(1), line(2), line(3)], 0),
        (vec![line(1), line_to(2, 4), line(3)], 0),
        (vec![line_to(1, 5), line(2)], 1),
        (vec![line(2)], 1),
        (vec![line(1), line(2)], 1),
    ] {
        let before = bench.control.stats.mappings_shadowed.load(Ordering::Relaxed);
        bench.read(lines);
        bench.turns();
        let told = bench.control.stats.mappings_shadowed.load(Ordering::Relaxed) - before;
        let warnings = bench.control.warnings();
        let named = warnings.iter().any(|why| why.contains("ilactl mapping del 2001:db8:dddd:0:2000::1 "));
        assert_eq!((told, warnings.len(), named), (entries, entries as usize, entries > 0), "{warnings:?}");
    }
}
