//! The metrics: what is exported, and the dashboard that is made of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use ilagate::api::views::TableView;
use ilagate::node::metrics::{FAMILIES, Kind, render};
use ilagate::node::stats::{Census, DeviceCounters, NetworkCensus, PortCensus, PortFacts, Stats};
use ilagate::path::verdict::DropReason;
use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

fn stats() -> Stats {
    let port = |name: &str, role| PortFacts { name: name.into(), device: format!("net_null,{name}"), role };
    // The last worker has no queue.
    let stats =
        Stats::new("nve1".into(), vec![port("fabric0", "fabric"), port("access0", "access")], &[4, 5, 6], 2);
    for (n, worker) in stats.workers.iter().take(2).enumerate() {
        worker.polls.snapshot.add(3);
        worker.polls.bursts.add(10);
        worker.polls.packets.add(45);
        worker.polls.empty_polls.add(90);
        let counters = &worker.received[0];
        counters.received.add(100);
        counters.received_bytes.add(9000);
        counters.forwarded.add(90);
        counters.copied.add(4);
        counters.copies_lost[DropReason::CopyRoom as usize].add(1);
        counters.replied.add(3);
        counters.dropped[DropReason::Blackhole as usize].add(2 + n as u64);
        counters.answered[DropReason::HopLimit as usize].add(3);
        counters.waiting.add(1);
        counters.tunnelled.add(5);
        counters.retranslated.add(6);
        counters.held.add(7);
        counters.decapsulated.add(8);
        worker.sent[1].sent.add(96);
        worker.sent[1].sent_bytes.add(8000);
        worker.sent[1].unsent.add(1);
        let red = worker.networks.slot(1).unwrap();
        red.from_tenants.add(7);
        red.from_tenants_bytes.add(700);
        red.to_tenants.add(8);
        red.to_tenants_bytes.add(800);
        red.dropped.add(1);
        worker.networks.slot(0).unwrap().from_tenants.add(2);
    }
    for us in [40, 60, 1200, 5_000_000] {
        stats.update_latency.record(us);
    }
    stats.log_lines_lost.store(6, Ordering::Relaxed);
    stats.updates_applied.store(21, Ordering::Relaxed);
    stats.updates_refused.store(22, Ordering::Relaxed);
    stats.updates_withheld.store(23, Ordering::Relaxed);
    stats.mappings_shadowed.store(24, Ordering::Relaxed);
    stats.nva.stale(26);
    stats.nva.grace_over.store(1, Ordering::Relaxed);
    stats.nva.state_failed();
    stats.nva.missed(4, 7);
    stats.nva.cached.store(27, Ordering::Relaxed);
    stats.nva.refreshed.store(28, Ordering::Relaxed);
    stats.nva.redirected.store(29, Ordering::Relaxed);
    stats.nva.sought_macs.store(36, Ordering::Relaxed);
    stats.nva.found_macs.store(37, Ordering::Relaxed);
    stats.nva.triangular.store(30, Ordering::Relaxed);
    stats.nva.digests.store(31, Ordering::Relaxed);
    stats.nva.drifted_parts.store(32, Ordering::Relaxed);
    stats.nva.drifted_objects.store(33, Ordering::Relaxed);
    stats.nva.lag.store(34, Ordering::Relaxed);
    stats.nva.snapshots.store(35, Ordering::Relaxed);
    stats.nva.apply_latency.record(1200);
    stats.set_census(Census {
        revision: 12,
        deletions_withheld: 25,
        snapshot: 3,
        tables: vec![TableView {
            domain: "tasks".into(),
            sir_prefix: "2001:db8:dddd::/64".into(),
            checksum: "neutral-map".into(),
            mappings: 1_000_000,
            capacity: 2_000_000,
            memory_bytes: 24_000_000,
        }],
        networks: [("red", 1), ("blue", 0), ("green", 0)]
            .map(|(name, slot)| NetworkCensus { name: name.into(), slot, attachments: 3, mappings: 40 })
            .into(),
        group_members: 11,
        joins_refused: 2,
        joins_unmappable: 4,
        neighbours: [0, 5, 0, 0, 1, 0],
        ports: vec![
            PortCensus {
                up: true,
                // Up or down is one thing, and right another.
                problem: "the mtu of its interface is lower".into(),
                speed_mbps: 25_000,
                rss: "active".into(),
                device: DeviceCounters { rx_packets: 1000, rx_missed: 7, ..DeviceCounters::default() },
                xstats: vec![("rx_good".into(), 9), ("rx_q0_\"odd\"\nname".into(), 6)],
                ..PortCensus::default()
            },
            PortCensus::default(),
        ],
        mbufs: 8192,
        mbufs_in_use: 192,
        ..Census::default()
    });
    stats
}

/// Every sample: name with sorted labels, and value.
fn samples(text: &str) -> HashMap<String, f64> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let series = match series.split_once('{') {
                None => series.to_owned(),
                Some((name, labels)) => {
                    let mut labels: Vec<&str> = labels.trim_end_matches('}').split("\",").collect();
                    labels.iter_mut().for_each(|label| *label = label.trim_end_matches('"'));
                    labels.sort_unstable();
                    format!("{name}{{{}}}", labels.join(","))
                }
            };
            (series.replace('"', ""), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn the_numbers_are_those_of_the_node() {
    let samples = samples(&render(&stats()));
    for (series, value) in [
        ("ilagate_received_packets_total{port=fabric0,worker=0}", 100.0),
        ("ilagate_received_bytes_total{port=fabric0,worker=1}", 9000.0),
        ("ilagate_received_packets_total{port=access0,worker=1}", 0.0),
        ("ilagate_packets_total{fate=forwarded,port=fabric0,worker=0}", 90.0),
        ("ilagate_packets_total{fate=replied,port=fabric0,worker=0}", 3.0),
        ("ilagate_packets_total{fate=dropped,port=fabric0,worker=1}", 3.0),
        ("ilagate_waiting_packets{port=fabric0,worker=1}", 1.0),
        ("ilagate_moves_packets_total{done=tunnelled,port=fabric0,worker=0}", 5.0),
        ("ilagate_moves_packets_total{done=retranslated,port=fabric0,worker=0}", 6.0),
        ("ilagate_moves_packets_total{done=held,port=fabric0,worker=0}", 7.0),
        ("ilagate_moves_packets_total{done=decapsulated,port=fabric0,worker=1}", 8.0),
        ("ilagate_dropped_packets_total{port=fabric0,reason=blackhole}", 5.0),
        ("ilagate_icmp_errors_total{port=fabric0,reason=hop_limit}", 6.0),
        ("ilagate_copied_packets_total{port=fabric0,worker=1}", 4.0),
        ("ilagate_lost_copies_total{port=fabric0,reason=copy_room}", 2.0),
        ("ilagate_sent_packets_total{port=access0,worker=0}", 96.0),
        ("ilagate_sent_bytes_total{port=access0,worker=0}", 8000.0),
        ("ilagate_unsent_packets_total{port=access0,worker=0}", 1.0),
        ("ilagate_vn_packets_total{direction=from_tenants,vn=red}", 14.0),
        ("ilagate_vn_packets_total{direction=to_tenants,vn=red}", 16.0),
        ("ilagate_vn_bytes_total{direction=from_tenants,vn=red}", 1400.0),
        ("ilagate_vn_bytes_total{direction=to_tenants,vn=red}", 1600.0),
        ("ilagate_vn_dropped_packets_total{vn=red}", 2.0),
        ("ilagate_vn_packets_total{direction=from_tenants,vn=other}", 4.0),
        ("ilagate_vn_attachments{vn=red}", 3.0),
        ("ilagate_vn_attachments{vn=other}", 6.0),
        ("ilagate_vn_mappings{vn=other}", 80.0),
        ("ilagate_worker_polls_total{result=packets,worker=0}", 10.0),
        ("ilagate_worker_polls_total{result=empty,worker=0}", 90.0),
        ("ilagate_worker_core{worker=1}", 5.0),
        ("ilagate_burst_packets_sum{worker=0}", 45.0),
        ("ilagate_burst_packets_count{worker=0}", 10.0),
        ("ilagate_mappings{domain=tasks}", 1e6),
        ("ilagate_mapping_table_capacity{domain=tasks}", 2e6),
        ("ilagate_mapping_table_bytes{domain=tasks}", 24e6),
        ("ilagate_mapping_revision", 12.0),
        ("ilagate_log_lines_lost_total", 6.0),
        ("ilagate_updates_total{result=applied}", 21.0),
        ("ilagate_updates_total{result=refused}", 22.0),
        ("ilagate_updates_total{result=withheld}", 23.0),
        ("ilagate_mapping_entries_shadowed_total", 24.0),
        ("ilagate_mapping_deletions_withheld", 25.0),
        ("ilagate_nva_stale_seconds", 26.0),
        ("ilagate_nva_grace_over", 1.0),
        ("ilagate_nva_state_failures_total", 1.0),
        ("ilagate_nva_cached_mappings", 27.0),
        ("ilagate_nva_refreshed_mappings_total", 28.0),
        ("ilagate_nva_redirected_mappings_total", 29.0),
        ("ilagate_nva_triangular_reports_total", 30.0),
        ("ilagate_nva_sought_macs_total", 36.0),
        ("ilagate_nva_found_macs_total", 37.0),
        ("ilagate_nva_digests_total", 31.0),
        ("ilagate_nva_drift_total{what=mappings}", 32.0),
        ("ilagate_nva_drift_total{what=objects}", 33.0),
        ("ilagate_nva_lag_transactions", 34.0),
        ("ilagate_nva_snapshots_total", 35.0),
        ("ilagate_nva_apply_seconds_count", 1.0),
        ("ilagate_nva_unasked_misses_total{reason=suppressed}", 4.0),
        ("ilagate_nva_unasked_misses_total{reason=lost}", 7.0),
        ("ilagate_group_members", 11.0),
        ("ilagate_group_joins_refused_total{reason=limit}", 2.0),
        ("ilagate_group_joins_refused_total{reason=unmappable}", 4.0),
        ("ilagate_neighbours{state=reachable}", 5.0),
        ("ilagate_neighbours{state=failed}", 1.0),
        ("ilagate_mbufs{state=free}", 8000.0),
        ("ilagate_port_up{port=fabric0}", 1.0),
        ("ilagate_port_up{port=access0}", 0.0),
        ("ilagate_port_impaired{port=fabric0}", 1.0),
        ("ilagate_port_impaired{port=access0}", 0.0),
        ("ilagate_port_speed_bytes_per_second{port=fabric0}", 3.125e9),
        ("ilagate_device_received_packets_total{port=fabric0}", 1000.0),
        ("ilagate_device_lost_packets_total{cause=missed,port=fabric0}", 7.0),
        ("ilagate_device_xstat_total{name=rx_good,port=fabric0}", 9.0),
        ("ilagate_update_seconds_bucket{le=0.00005}", 1.0),
        ("ilagate_update_seconds_bucket{le=0.0001}", 2.0),
        ("ilagate_update_seconds_bucket{le=0.0015}", 3.0),
        ("ilagate_update_seconds_bucket{le=1}", 3.0),
        ("ilagate_update_seconds_bucket{le=+Inf}", 4.0),
        ("ilagate_update_seconds_count", 4.0),
        ("ilagate_update_seconds_sum", 5.0013),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
    assert!(!samples.keys().any(|series| series.contains("vn=blue") || series.contains("vn=green")));
    let build = format!("ilagate_build_info{{node=nve1,version={}}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(samples.get(&build), Some(&1.0));
}

#[test]
fn every_reason_is_there_from_the_start_and_every_family_has_help_and_type() {
    let text = render(&stats());
    for reason in DropReason::ALL {
        for port in ["fabric0", "access0"] {
            let label = format!("reason=\"{}\"", reason.label());
            let port = format!("port=\"{port}\"");
            let of = |name: &str| {
                text.lines().any(|l| l.starts_with(name) && l.contains(&label) && l.contains(&port))
            };
            assert!(of("ilagate_dropped_packets_total{"), "{label}");
            assert_eq!(of("ilagate_icmp_errors_total{"), reason.icmp().is_some(), "{label}");
        }
    }
    let mut names = HashSet::new();
    for family in FAMILIES {
        assert!(names.insert(family.name));
        assert_eq!(family.kind == Kind::Counter, family.name.ends_with("_total"), "{}", family.name);
        let kind = format!("{:?}", family.kind).to_lowercase();
        assert!(text.contains(&format!("# HELP {} {}\n", family.name, family.help)), "{}", family.name);
        assert!(text.contains(&format!("# TYPE {} {kind}\n", family.name)), "{}", family.name);
    }
    assert_eq!(text.matches("# TYPE ").count(), FAMILIES.len());
}

#[test]
fn a_scrape_leaves_nothing_behind_for_the_next() {
    let stats = stats();
    assert!(render(&stats).contains("rss=\"active\""));
    let mut census = (*stats.census()).clone();
    census.ports[0].rss = "not supported".into();
    stats.set_census(census);
    let text = render(&stats);
    assert!(text.contains("rss=\"not supported\"") && !text.contains("rss=\"active\""));
}

#[test]
fn promtool_has_nothing_to_say() {
    let Ok(mut child) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        eprintln!("promtool is not installed: skipped");
        return;
    };
    child.stdin.take().unwrap().write_all(render(&stats()).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Has promtool, where it is installed, parse every expression as a rule.
fn promtool_parses(expressions: &[String]) {
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    for (n, expression) in expressions.iter().enumerate().filter(|(_, e)| !e.starts_with("label_values")) {
        let expression = expression.replace("$__rate_interval", "1m");
        rules += &format!("  - record: e{n}\n    expr: {}\n", serde_json::to_string(&expression).unwrap());
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.yaml");
    std::fs::write(&file, rules).unwrap();
    let Ok(output) = Command::new("promtool").args(["check", "rules"]).arg(&file).output() else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Names of metrics in a PromQL expression.
fn metric_names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("ilagate_"))
}

fn collect(value: &serde_json::Value, wanted: &[&str], found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                if let (true, Some(text)) = (wanted.contains(&key.as_str()), value.as_str()) {
                    found.push(text.to_owned());
                }
                collect(value, wanted, found);
            }
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| collect(value, wanted, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_shows_what_is_exported() {
    let text = std::fs::read_to_string("dpdk-config/grafana-dashboard.json").unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut expressions = Vec::new();
    collect(&dashboard, &["expr", "query", "definition"], &mut expressions);
    let exported: HashSet<String> = FAMILIES
        .iter()
        .chain(ilagate::nva::metrics::FAMILIES)
        .flat_map(|family| {
            let parts: &[&str] = match family.kind {
                Kind::Histogram => &["_bucket", "_sum", "_count"],
                Kind::Summary => &["_sum", "_count"],
                _ => &[""],
            };
            parts.iter().map(|part| format!("{}{part}", family.name))
        })
        .collect();
    let mut used = 0;
    for expression in &expressions {
        for name in metric_names(expression) {
            assert!(exported.contains(name), "{name} in {expression} is not exported");
            used += 1;
        }
    }
    assert!(used > 30, "{used}");
    promtool_parses(&expressions);
    let mut ids = HashSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "panel ids are unique");
    }
}
