//! Reloads, and mapping files that are read meanwhile.

use super::*;

#[test]
fn a_reload_applies_what_it_can_and_refuses_the_whole_file_otherwise() {
    let mut bench = Bench::new();
    bench.turn(1);
    let more =
        CONFIG.replace("routes: [", r#"routes: [{prefix: "fd00:2::/32", via: "fd00:f::3", port: f}, "#);
    let view = bench.reload(&more).unwrap();
    assert_eq!((view.applied.as_slice(), view.mappings), (["routes[0]".to_owned()].as_slice(), None));
    assert!(bench.solicited(0xfd00_000f << 96 | 3));
    assert!(bench.reader.snapshot().routes.lookup(0xfd00_0002 << 96 | 5).is_some());
    let why = bench.reload(&more.replace("role: fabric", "role: fabric, mtu: 1400")).unwrap_err();
    assert!(why.contains("ports[0].mtu"), "{why}");
    let why = bench.reload("node: {}").unwrap_err();
    assert!(why.contains("dpdk.workers"), "{why}");
    assert_eq!(bench.control.config.routes.len(), 2);
}

#[test]
fn a_reload_whose_mappings_clash_with_an_operators_changes_nothing() {
    let mut bench = Bench::new();
    let id = bench.apply(0x1_0000, 0xfd00_0001_0000_0002);
    (1..5).for_each(|now| bench.turn(now));
    assert!(bench.applied(id).unwrap().is_ok());
    let with = CONFIG.replace("dddd::/64\"}]", "dddd::/64\"}, {name: new, prefix: \"2001:db8:eeee::/64\"}]");
    let with = format!("{with}mappings: {{file: mappings.yaml}}\n");
    let file = bench.control.path.with_file_name("mappings.yaml");
    for (line, words) in [
        (r#"{sir: "2001:db8:dddd:0:2000::1:ffff", locators: ["fd00:1:0:3::/64"]}"#, "twin"),
        (r#"{sir: "2001:db8:eeee:0:2000::1", locators: ["fd00:1:0:2::/64"]}"#, "locator of domain tasks"),
    ] {
        std::fs::write(&file, format!("mappings:\n  - {line}\n")).unwrap();
        let why = bench.reload(&with).unwrap_err();
        assert!(why.contains(words) && !why.contains("in force"), "{why}");
        assert_eq!((bench.control.config.sir_domains.len(), bench.watch.is_some()), (1, false));
    }
}

#[test]
fn a_reload_whose_mappings_clash_with_an_operators_gateway_changes_nothing() {
    let networks = r#"
locators: [{prefix: "fd00:1:0:1::/64", domain: tasks}]
virtual_networks:
  - {name: red, vnid: 1, domain: tasks, ipv6: {prefix: "2001:db8:a::/96"}}
  - {name: blue, vnid: 2, domain: tasks, ipv6: {prefix: "2001:db8:b::/96"}}
"#;
    let mut bench = Bench::with(&format!("{CONFIG}{networks}"));
    let (from, to, via) = ("red".to_owned(), "blue".to_owned(), Some("fd00:1:0:3::/64".to_owned()));
    let policy = crate::config::Amendment::Policy(crate::config::PolicyWords { from, to, via });
    let id = bench.request(Request::Amend(crate::node::handle::Amend::Add(policy)));
    (1..5).for_each(|now| bench.turn(now));
    bench.amended(id).unwrap().unwrap();
    let with = CONFIG.replace("dddd::/64\"}]", "dddd::/64\"}, {name: new, prefix: \"2001:db8:eeee::/64\"}]");
    let with = format!("{with}{networks}mappings: {{file: mappings.yaml}}\n");
    let line = r#"{sir: "2001:db8:eeee:0:2000::1", locators: ["fd00:1:0:3::/64"]}"#;
    std::fs::write(bench.control.path.with_file_name("mappings.yaml"), format!("mappings:\n  - {line}\n"))
        .unwrap();
    let why = bench.reload(&with).unwrap_err();
    assert!(why.contains("locator of domain tasks") && !why.contains("in force"), "{why}");
    assert_eq!(bench.control.config.sir_domains.len(), 1);
}

#[test]
fn a_signal_during_a_reload_is_remembered() {
    let mut bench = Bench::new();
    bench.turn(1);
    bench.input(1, Input::Reload);
    let loaded = bench.load();
    // The file that was read is old by the time that the second signal comes.
    let more =
        CONFIG.replace("routes: [", r#"routes: [{prefix: "fd00:2::/32", via: "fd00:f::3", port: f}, "#);
    std::fs::write(&bench.control.path, more).unwrap();
    bench.input(1, Input::Reload);
    bench.input(1, Input::Reload);
    bench.input(1, loaded);
    (2..6).for_each(|now| bench.turn(now));
    assert!(bench.control.reloading);
    let loaded = bench.load();
    bench.input(6, loaded);
    (6..10).for_each(|now| bench.turn(now));
    assert_eq!((bench.control.reloading, bench.control.config.routes.len()), (false, 2));
    // Who asks by ilactl is told, and asks again.
    bench.input(10, Input::Reload);
    let id = bench.request(Request::Reload);
    assert!(bench.reloaded(id).unwrap().unwrap_err().contains("under way"));
}

#[test]
fn a_reload_moves_an_own_locator_to_another_domain_together_with_its_mappings() {
    let config = |domain: &str| {
        let domains = "dddd::/64\"}, {name: new, prefix: \"2001:db8:eeee::/64\"}]\n";
        let locators = format!("locators: [{{prefix: \"fd00:1:0:1::/64\", domain: {domain}}}]\n");
        let config = CONFIG.replace("dddd::/64\"}]\n", &format!("{domains}{locators}"));
        format!("{config}mappings: {{file: mappings.yaml, watch: false}}\n")
    };
    let mut bench = Bench::new();
    let file = bench.control.path.with_file_name("mappings.yaml");
    for (domain, prefix) in [("tasks", "2001:db8:dddd"), ("new", "2001:db8:eeee"), ("tasks", "2001:db8:dddd")]
    {
        let line = format!("{{sir: \"{prefix}:0:2000::1\", locators: [\"fd00:1:0:1::/64\"]}}");
        std::fs::write(&file, format!("mappings:\n  - {line}\n")).unwrap();
        bench.reload(&config(domain)).unwrap();
        let held = bench.control.rib.mappings(&Default::default()).unwrap();
        assert_eq!(held.iter().map(|view| view.domain.as_str()).collect::<Vec<_>>(), [domain]);
    }
}

#[test]
fn of_files_that_wait_only_the_last_is_applied() {
    let mut bench = Bench::new();
    let mut file = |text: &str| {
        let records = crate::config::mappings::parse(text, "m.yaml", &bench.control.config).unwrap();
        bench.input(0, Input::MappingFile(bench.control.watch_number, Ok(records)));
        bench.control.updates.len()
    };
    let line =
        |n: u64| format!("  - {{sir: \"2001:db8:dddd:0:2000::{n}\", locators: [\"fd00:1:0:2::/64\"]}}\n");
    let waiting: Vec<usize> = (1..=9).map(|n| file(&format!("mappings:\n{}", line(n)))).collect();
    assert_eq!(waiting, [1; 9]);
    (1..5).for_each(|now| bench.turn(now));
    let held = bench.control.rib.mappings(&Default::default()).unwrap();
    assert_eq!(held.iter().map(|view| view.sir.segments()[7]).collect::<Vec<_>>(), [9]);
}

#[test]
fn a_mapping_file_that_was_read_before_a_reload_does_not_win_over_it() {
    let with = format!("{CONFIG}mappings: {{file: mappings.yaml}}\n");
    let mapping = |n: u64| {
        format!("mappings:\n  - {{sir: \"2001:db8:dddd:0:2000::{n}\", locators: [\"fd00:1:0:2::/64\"]}}\n")
    };
    let mut bench = Bench::new();
    let file = bench.control.path.with_file_name("mappings.yaml");
    std::fs::write(&file, mapping(1)).unwrap();
    bench.reload(&with).unwrap();
    let old = crate::config::mappings::parse(&mapping(1), "m.yaml", &bench.control.config).unwrap();
    std::fs::write(&file, mapping(2)).unwrap();
    bench.input(10, Input::Reload);
    let loaded = bench.load();
    bench.input(20, loaded);
    bench.input(20, Input::MappingFile(bench.control.watch_number, Ok(old)));
    (20..30).for_each(|now| bench.turn(now));
    let held = bench.control.rib.mappings(&Default::default()).unwrap();
    assert_eq!(held.iter().map(|view| view.sir.segments()[7]).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_reload_takes_the_mappings_along_and_lets_them_go() {
    let mut bench = Bench::new();
    bench.turn(1);
    let directory = bench.control.path.parent().map(Path::to_owned).unwrap();
    let mapping = "mappings:\n  - {sir: \"2001:db8:dddd:0:2000::1\", locators: [\"fd00:1:0:2::/64\"]}\n";
    std::fs::write(directory.join("mappings.yaml"), mapping).unwrap();
    let with = format!("{CONFIG}mappings: {{file: mappings.yaml}}\n");
    let view = bench.reload(&with).unwrap();
    assert_eq!(view.mappings.map(|applied| applied.created), Some(1));
    assert!(bench.watch.is_some());
    let view = bench.reload(CONFIG).unwrap();
    assert_eq!(view.mappings.map(|applied| applied.deleted), Some(1));
    assert!(bench.watch.is_none());
}
