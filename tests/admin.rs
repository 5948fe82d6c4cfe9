//! The admin API and `ilactl` over a real Unix socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/fake_node.rs"]
mod support;

use ilagate::api::v1;
use ilagate::api::v1::admin_client::AdminClient;
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use support::{Fake, Node};
use tonic::Code;

const SIR: &str = "2001:db8:dddd:0:2000::1";

#[test]
fn a_mapping_from_add_to_del() {
    let node = Node::start();
    assert_eq!(node.text(&["mapping", "list"]), "SIR  DOMAIN  ORIGIN  TARGET  STATE\n");
    assert_eq!(node.json(&["mapping", "list"]), json!([]));

    let added = node.text(&["mapping", "add", SIR, "--locator", "fd00:1:0:2::/64"]);
    assert_eq!(added, format!("{SIR}: created, revision 1\n"));
    let two = ["--locator", "fd00:1:0:2::/64,priority=1", "--locator", "fd00:1:0:3::/64,weight=7,priority=2"];
    let changed = node.text(&[&["mapping", "add", SIR], &two[..]].concat());
    assert_eq!(changed, format!("{SIR}: changed, revision 2\n"));
    let again = node.json(&[&["mapping", "add", SIR], &two[..]].concat());
    assert_eq!(again, json!({"revision": 3, "created": 0, "changed": 0, "deleted": 0}));

    let expected = json!({
        "sir": SIR, "domain": "tasks", "identifier": "2000:0:0:1", "kind": "locators",
        "locators": [
            {"locator": "fd00:1:0:2::/64", "priority": 1, "weight": 1, "ila": "fd00:1:0:2:2000::1", "state": "ready"},
            {"locator": "fd00:1:0:3::/64", "priority": 2, "weight": 7, "ila": "fd00:1:0:3:2000::1", "state": "ready"},
        ],
        "attachment": null, "origin": "admin", "covers": [], "confidence": 254,
    });
    assert_eq!(node.json(&["mapping", "get", SIR]), expected);
    assert_eq!(node.json(&["mapping", "list"]), json!([expected]));
    let text = node.text(&["mapping", "get", SIR]);
    assert!(
        text.contains("identifier  2000:0:0:1\n") && text.contains("fd00:1:0:3::/64         2       7"),
        "{text}"
    );
    let text = node.text(&["mapping", "list"]);
    assert!(
        text.contains("fd00:1:0:2::/64,priority=1,weight=1 fd00:1:0:3::/64,priority=2,weight=7  ready"),
        "{text}"
    );

    assert_eq!(node.text(&["mapping", "del", SIR]), format!("{SIR}: deleted, revision 4\n"));
    for command in ["get", "del"] {
        let error = node.error(&["mapping", command, SIR]);
        assert!(error.contains(SIR) && error.contains("has no mapping; `ilactl mapping list`"), "{error}");
    }
}

#[test]
fn a_deleted_mapping_says_what_it_shadowed() {
    let node = Node::start();
    let sir = "2001:db8:dddd:0:2000::f";
    node.text(&["mapping", "add", sir, "--locator", "fd00:1:0:2::/64"]);
    assert!(node.text(&["mapping", "get", sir]).contains("origin      admin\ncovers      file\n"));
    let text = node.text(&["mapping", "del", sir]);
    assert_eq!(text, format!("{sir}: deleted, what it covered is in force again, revision 2\n"));
}

#[test]
fn lists_are_filtered_by_the_node() {
    let node = Node::start();
    node.text(&["mapping", "add", SIR, "--locator", "fd00:1:0:2::/64"]);
    node.text(&["mapping", "add", "2001:db8:dddd:0:2000::2", "--locator", "fd00:1:0:3::/64"]);
    node.text(&["mapping", "add", "2001:db8:eeee:0:2000::1", "--blackhole"]);
    let count =
        |arguments: &[&str]| node.json(&[&["mapping", "list"], arguments].concat()).as_array().unwrap().len();
    assert_eq!(count(&[]), 3);
    assert_eq!(count(&["--domain", "tasks"]), 2);
    assert_eq!(count(&["--domain", "tasks", "--limit", "1"]), 1);
    assert_eq!(count(&["--locator", "fd00:1:0:3::/64"]), 1);
    assert_eq!(count(&["--origin", "file"]), 0);
    assert_eq!(count(&["--origin", "admin"]), 3);
    let text = node.text(&["mapping", "list", "--domain", "other"]);
    assert!(text.contains("2001:db8:eeee:0:2000::1  other   admin   blackhole  -\n"), "{text}");

    let error = node.error(&["mapping", "list", "--domain", "nowhere"]);
    assert!(error.contains("`nowhere` is no SIR domain; choose one of tasks, other"), "{error}");
    let error = node.error(&["mapping", "list", "--origin", "heaven"]);
    assert!(error.contains("choose one of attachment, file, cache, nva, admin"), "{error}");
    let error = node.error(&["mapping", "list", "--locator", "fd00::1"]);
    assert!(error.contains("is not an IPv6 prefix; write address/length"), "{error}");
}

#[test]
fn long_lists_come_in_pages_and_may_be_cut_by_the_reader() {
    let mut mappings = String::from("mappings:\n");
    for n in 0..54_321 {
        mappings +=
            &format!("  - {{sir: \"2001:db8:dddd:0:2000::{n:x}\", locators: [\"fd00:1:0:2::/64\"]}}\n");
    }
    let node = Node::start();
    let file = node.directory.path().join("mappings.yaml");
    std::fs::write(&file, mappings).unwrap();
    let text = node.text(&["mapping", "load", file.to_str().unwrap()]);
    assert_eq!(text, "54321 mappings: 54321 created, 0 changed, revision 6\n");

    let listed = node.json(&["mapping", "list"]);
    let sirs: Vec<&str> =
        listed.as_array().unwrap().iter().map(|view| view["sir"].as_str().unwrap()).collect();
    assert_eq!(sirs.len(), 54_321);
    let addresses: Vec<std::net::Ipv6Addr> = sirs.iter().map(|sir| sir.parse().unwrap()).collect();
    assert!(addresses.is_sorted_by(|a, b| a < b));
    assert_eq!(node.json(&["mapping", "list", "--limit", "50001"]).as_array().unwrap().len(), 50_001);
    assert_eq!(node.text(&["mapping", "list"]).lines().count(), 54_322);

    // As in `ilactl mapping list | head -1`.
    for arguments in [&["mapping", "list"][..], &["mapping", "list", "--json"]] {
        let mut child =
            node.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn files_of_mappings_are_loaded_or_refused_with_a_reason() {
    let node = Node::start();
    let file = node.directory.path().join("m.yaml");
    let path = file.to_str().unwrap();
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write(&format!(
        "mappings:\n  - sir: {SIR}\n    locators: [\"fd00:1:0:2::/64\", {{locator: \"fd00:1:0:3::/64\", priority: 3}}]\n  - {{sir: \"2001:db8:dddd:0:2000::2\", blackhole: true}}\n"
    ));
    assert_eq!(node.json(&["mapping", "load", path])["created"], 2);
    assert_eq!(node.json(&["mapping", "get", SIR])["locators"][1]["priority"], 3);

    for (text, message) in [
        ("mappings: []\n", "no mappings; write `mappings:`"),
        ("mappings: {}\n", "correct the YAML here"),
        ("mappings: [{sir: 5, locator: x}]\n", ":1:21: mappings[0].locator: unknown key `locator`"),
        (
            "mappings: [{sir: 5, locators: [{locator: x, wight: 3}]}]\n",
            "mappings[0].locators[0].wight: unknown key",
        ),
        (
            "mappings: [{sir: 5, locators: [\"fd00::/64\", {locator: \"fd00:1::/64\", weight: 9999}]}]\n",
            "from 1 to 1000; choose one",
        ),
        ("mappings: [{blackhole: true}]\n", "mappings[0].sir: missing; write for example"),
        ("mappings: [{sir: \"2001:db8:dddd:0:2000::5\"}]\n", "leads nowhere; give it locators"),
    ] {
        write(text);
        let error = node.error(&["mapping", "load", path]);
        assert!(error.contains(path) && error.contains(message), "{error}");
    }
    let error = node.error(&["mapping", "load", "/no/such/file"]);
    assert!(error.contains("/no/such/file: cannot be read") && error.contains("check path"), "{error}");
}

#[test]
fn the_node_and_its_reload() {
    let node = Node::start();
    let text = node.text(&["node", "show"]);
    assert!(text.contains("node         nve1 (ilagate 0.1.0)\nup           1h 2m 5s\n"), "{text}");
    assert!(
        text.contains("tasks   2001:db8:dddd::/64  neutral-map         0      1024  24.0 KiB\n"),
        "{text}"
    );
    assert!(text.contains("75.0%"), "{text}");
    let view = node.json(&["node", "show"]);
    assert_eq!((&view["tables"][0]["capacity"], &view["workers"][1]["core"]), (&json!(1024), &json!(2)));
    assert!(text.contains("\nwarning      the mapping file would delete 30 of its 40 mappings\n"), "{text}");
    assert!(view["warnings"][0].as_str().unwrap().contains("30 of its 40"));
    let away = "no session for 1m 15s, longer than nva.grace_s, revision 41 applied, 1 identifiers refused: see the log, \
         3 mappings left out";
    assert!(text.contains(&format!("\nauthority    {away}")), "{text}");
    assert_eq!((&view["authority"]["session"], &view["authority"]["stale_s"]), (&json!(false), &json!(75)));
    let error = node.error(&["mapping", "confirm", "29"]);
    assert!(error.contains("would delete 30 mappings, not 29"), "{error}");
    let text = node.text(&["mapping", "confirm", "30"]);
    assert_eq!(text, "1 created, 2 changed, 30 deleted, revision 10\n");
    assert_eq!(node.json(&["mapping", "confirm", "30"])["deleted"], 30);

    let error = node.error(&["node", "reload"]);
    assert!(error.contains("ports[0].mtu: 9 is too small; use 1280 or more"), "{error}");
    node.text(&["mapping", "add", SIR, "--blackhole"]);
    let text = node.text(&["node", "reload"]);
    assert_eq!(text, "applied routes[0]\nmappings: 1 created, 2 changed, 3 deleted, revision 9\n");
    assert_eq!(node.json(&["node", "reload"])["mappings"]["deleted"], 3);
}

#[test]
fn ports_neighbours_and_routes() {
    let node = Node::start();
    let text = node.text(&["port", "list"]);
    assert!(text.contains("fabric0  fabric  up    25.0G  1500       2  active"), "{text}");
    assert!(text.contains("fd00:1:0:1::1/64 fe80::1\n") && !text.contains("rx_good_packets"), "{text}");
    let text = node.text(&["port", "list", "--xstats"]);
    assert!(text.contains("rx_good_packets   1000\n"), "{text}");
    assert_eq!(node.json(&["port", "list", "--xstats"])[0]["xstats"], json!([["rx_good_packets", 1000]]));

    let text = node.text(&["neigh", "list"]);
    assert!(text.contains("fabric0  fe80::2  -    incomplete  1m 1s  next hop\n"), "{text}");
    assert_eq!(node.json(&["neigh", "list"])[0]["mac"], json!(null));

    let text = node.text(&["route", "list"]);
    assert!(text.contains("fd00:1::/32    via        fe80::2  fabric0       1  ready\n"), "{text}");
    assert!(text.contains("\n                          fe80::3  fabric0       1  ready\n"), "{text}");
    assert!(text.contains("2001:db8::/32  blackhole  -"), "{text}");
    assert_eq!(node.json(&["route", "list"])[0]["next_hops"][1]["via"], "fe80::3");
}

#[test]
fn losses_with_their_sentences() {
    let node = Node::start();
    let text = node.text(&["drops"]);
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains("hop_limit        0         2            0  Hop limit ran out.\n"), "{text}");
    // Nothing but copies were lost for this one.
    assert!(text.contains("no_route         0         0            3  "), "{text}");
    assert!(node.text(&["drops", "--all"]).contains("no_mapping"));
    let view = node.json(&["drops"]);
    assert_eq!(
        view[1],
        json!({"reason": "blackhole", "sentence": "Mapping says: discard.", "dropped": 4, "answered": 0, "lost_copies": 0})
    );
    let all = node.json(&["drops", "--all"]);
    assert_eq!(all.as_array().unwrap().len(), ilagate::path::verdict::DropReason::ALL.len());
}

#[test]
fn totals_and_rates() {
    let node = Node::start();
    let text = node.text(&["stats"]);
    assert!(text.contains("WORKER  CORE  RECEIVED") && text.contains("fabric0"), "{text}");
    let view = node.json(&["stats"]);
    assert_eq!(view["workers"][0]["fates"]["punted"], 1);
    assert_eq!(view["ports"][0]["counters"]["lost_copies"], 3);
    assert!(text.contains("COPIED  LOST COPIES"), "{text}");

    let mut child =
        node.command(&["stats", "--watch", "0.1", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let rates: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        // The fake counts 3000 packets from one sample to the next.
        let interval = rates["interval_s"].as_f64().unwrap();
        let received = rates["ports"][0]["received_pps"].as_f64().unwrap();
        assert!((received * interval - 3000.0).abs() < 1e-6, "{rates}");
    }
    drop(lines);
    assert!(child.wait().unwrap().success());

    let mut child = node.command(&["stats", "--watch", "0.1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut text = [0; 200];
    child.stdout.as_mut().unwrap().read_exact(&mut text).unwrap();
    assert!(String::from_utf8_lossy(&text).contains("RX PPS"));
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_watcher_does_not_keep_a_stopping_node() {
    let mut node = Node::start();
    let mut child = node
        .command(&["stats", "--watch", "3600"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let begun = std::time::Instant::now();
    node.stop();
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    assert!(!node.socket.exists());
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(error.starts_with("ilactl: the node hung up") && error.lines().count() == 1, "{error}");
}

#[test]
fn nobody_at_the_socket() {
    let mut node = Node::start();
    node.stop();
    let error = node.error(&["node", "show"]);
    assert!(error.contains("nve1.sock") && error.contains("is ilagate running?"), "{error}");
    // A socket that a dead node left.
    drop(std::os::unix::net::UnixListener::bind(&node.socket).unwrap());
    let error = node.error(&["node", "show"]);
    assert!(error.contains("refused") && error.contains("is ilagate running?"), "{error}");
    // Something that speaks another language.
    std::fs::remove_file(&node.socket).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(&node.socket).unwrap();
    let stranger = std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 mail.example.net ESMTP\r\n").unwrap();
        let _ = stream.read(&mut [0; 64]);
    });
    let error = node.error(&["node", "show"]);
    assert!(error.contains("hung up"), "{error}");
    stranger.join().unwrap();
}

#[test]
fn a_node_that_does_not_answer_is_not_waited_for_for_ever() {
    let mut node = Node::start();
    node.stop();
    // Whoever connects is let in, as the kernel does for a process that is stopped.
    let _listener = std::os::unix::net::UnixListener::bind(&node.socket).unwrap();
    let begun = std::time::Instant::now();
    for command in
        [&["node", "show"][..], &["mapping", "list"], &["stats", "--watch"], &["events", "--follow"]]
    {
        let error = node.error(&[&["--timeout", "0.2"], command].concat());
        assert!(error.contains("the node does not answer"), "{error}");
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    // Nor is a stream cut short that has begun.
    let node = Node::start();
    let mut child = node
        .command(&["--timeout", "0.1", "stats", "--watch", "0.3"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!((0..8).all(|_| lines.next().is_some()));
    drop(lines);
    child.wait().unwrap();
}

#[test]
fn a_node_that_is_shutting_down_says_so() {
    let node = Node::with(Fake { gone: true, ..Fake::default() });
    for arguments in
        [&["node", "show"][..], &["mapping", "list"], &["drops"], &["stats"], &["node", "reload"]]
    {
        let error = node.error(arguments);
        assert!(error.contains("the node is shutting down; ask again"), "{error}");
    }
}

#[test]
fn command_lines_that_are_wrong() {
    for arguments in [
        &["mapping", "add", SIR][..],
        &["mapping", "add", SIR, "--locator", "fd00:1::/64", "--blackhole"],
        &["mapping", "add", SIR, "--locator", "fd00:1::/64,wait=1"],
        &["mapping", "list", "--limit", "0"],
        &["stats", "--watch", "0"],
        &["fly"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ilactl")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
    for shell in ["bash", "zsh", "fish"] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_ilactl")).args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains("ilactl"), "{shell}");
    }
}

#[test]
fn addresses_of_tenants_are_mapped_as_sir_addresses() {
    let node = Node::start();
    for (sir, identifier) in
        [("2001:db8:dddd:0:4000:64:a00:7", "4000:64:a00:7"), ("2001:db8:dddd:0:6000:64:0:7", "6000:64:0:7")]
    {
        node.text(&["mapping", "add", sir, "--locator", "fd00:1:0:2::/64"]);
        assert_eq!(node.json(&["mapping", "get", sir])["identifier"], identifier);
    }
    assert_eq!(node.json(&["mapping", "list"]).as_array().map(Vec::len), Some(2));
}

#[test]
fn a_group_is_mapped_to_all_its_locators() {
    let node = Node::start();
    let group = "2001:db8:dddd:0:8000:64:5000:1234";
    let list: Vec<String> = (0x20..0x40).map(|n| format!("fd00:1:0:{n:x}::/64")).collect();
    let mut arguments = vec!["mapping", "add", group];
    arguments.extend(list.iter().flat_map(|locator| ["--locator", locator.as_str()]));
    node.text(&arguments);
    let view = node.json(&["mapping", "get", group]);
    assert_eq!(view["locators"].as_array().unwrap().len(), 32);
    let error = node.error(&["mapping", "add", group, "--locator", "fd00:1:0:20::/64,weight=2"]);
    assert!(error.contains("every locator of a group gets a copy; leave them out"), "{error}");
}

#[test]
fn mappings_that_cannot_be() {
    let node = Node::start();
    let locator = "fd00:1:0:2::/64";
    let long = "2".repeat(100_000);
    for (sir, locators, message) in [
        ("banana", &[locator][..], "`banana` is not an IPv6 address"),
        ("", &[locator], "`` is not an IPv6 address"),
        (&long, &[locator], "100000 bytes are too long for a SIR address"),
        ("2001:db8:aaaa:0:2000::1", &[locator], "lies under no SIR prefix"),
        (
            "2001:db8:dddd:0:3000::1",
            &[locator],
            "C-bit set, which is always 0 in a SIR address; write 2001:db8:dddd:0:2000::1",
        ),
        ("2001:db8:dddd::1", &[locator], "identifier type 0, which is never translated; use type 1"),
        ("2001:db8:dddd:0:4000::1", &[locator], "has VNID 0, which no virtual network has"),
        ("2001:db8:dddd:0:8000:1:2000:1", &[locator], "is a group of scope 2, which never leaves its link"),
        ("2001:db8:dddd:0:e000::1", &[locator], "identifier type 7, which is reserved"),
        (SIR, &["fd00:1:0:2::/63"], "has length 63"),
        (SIR, &["fe80::/64"], "is not global unicast"),
        (SIR, &["2001:db8:eeee::/64"], "is the SIR prefix of domain other"),
        (SIR, &["fd00:1:0:2::/64,weight=0"], "weight 0 of fd00:1:0:2::/64 is not 1 to 1000"),
        (SIR, &["fd00:1:0:2::/64,weight=1001"], "weight 1001"),
        (SIR, &["fd00:1:0:2::/64,priority=256"], "priority 256 of fd00:1:0:2::/64 is not 0 to 255"),
        (SIR, &[locator, locator], "has fd00:1:0:2::/64 twice"),
        (SIR, &[&long], "100000 bytes are too long for a locator"),
        ("2001:db8:eeee:0:2000::1", &["fd00:1:0:1::/64"], "our own locator of another domain"),
        (
            "2001:db8:dddd:0:2000::ffff",
            &[locator],
            "2001:db8:dddd:0:2000::ffff: is the twin of another mapping",
        ),
    ] {
        let mut arguments = vec!["mapping", "add", sir];
        arguments.extend(locators.iter().flat_map(|locator| ["--locator", locator]));
        let error = node.error(&arguments);
        assert!(error.contains(message) && error.len() < 400, "{error}");
    }
    let seventeen: Vec<String> = (0..17).map(|n| format!("fd00:1:0:{n:x}::/64")).collect();
    let mut arguments = vec!["mapping", "add", SIR];
    arguments.extend(seventeen.iter().flat_map(|locator| ["--locator", locator.as_str()]));
    assert!(node.error(&arguments).contains("has 17 locators; give it 1 to 16"));
    assert_eq!(node.json(&["mapping", "list"]), json!([]));
}

/// A client that does what `ilactl` never would.
async fn client(node: &Node) -> AdminClient<tonic::transport::Channel> {
    let path = node.socket.clone();
    let channel = tonic::transport::Endpoint::from_static("http://x")
        .connect_with_connector(tower::service_fn(move |_: tonic::transport::Uri| {
            let path = path.clone();
            async move { tokio::net::UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
        }))
        .await
        .unwrap();
    AdminClient::new(channel)
}

#[tokio::test]
async fn codes_tell_whose_fault_it_is() {
    let node = Node::start();
    let mut client = client(&node).await;
    let change = |sir: &str| v1::MappingChange { sir: sir.into(), locators: vec![], blackhole: true };
    let upsert = |mappings| v1::MappingUpsertRequest { mappings };

    let status = client.mapping_upsert(upsert(vec![])).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "no mappings given; name 1 to 10000")
    );
    let status = client.mapping_upsert(upsert(vec![change(SIR); 10_001])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("10001 mappings in one batch; send 10000 at most"), "{status}");
    // One that is wrong spoils the batch.
    let status = client.mapping_upsert(upsert(vec![change(SIR), change("x")])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let status = client.mapping_upsert(upsert(vec![change(SIR), change("2001:db8:dddd:0:2000::ffff")])).await;
    assert_eq!(status.unwrap_err().code(), Code::FailedPrecondition);
    let status = client.mapping_get(v1::MappingGetRequest { sir: SIR.into() }).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);

    let both = v1::MappingChange {
        locators: vec![v1::LocatorChoice { locator: "fd00:1:0:2::/64".into(), priority: 0, weight: None }],
        ..change(SIR)
    };
    let status = client.mapping_upsert(upsert(vec![both])).await.unwrap_err();
    assert!(status.message().contains("has locators and is a blackhole"), "{status}");

    let done = client.mapping_upsert(upsert(vec![change(SIR), change("2001:db8:dddd:0:2000::2")])).await;
    assert_eq!(done.unwrap().into_inner().created, 2);
    // Of several, those that are not there are no fault.
    let sirs = vec![SIR.to_owned(), "2001:db8:dddd:0:2000::9".to_owned()];
    let done = client.mapping_delete(v1::MappingDeleteRequest { sirs }).await.unwrap().into_inner();
    assert_eq!(done.deleted, 1);
    let status = client.mapping_delete(v1::MappingDeleteRequest { sirs: vec![] }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);

    for interval_ms in [0, 99, 3_600_001] {
        let status = client.stats(v1::StatsRequest { interval_ms: Some(interval_ms) }).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{interval_ms}");
    }
    let huge = "x".repeat(3 << 20);
    let filter = v1::MappingListRequest { domain: Some(huge), ..v1::MappingListRequest::default() };
    let status = client.mapping_list(filter).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().len() < 200, "{status}");
}

#[tokio::test]
async fn full_batches_fit_and_what_is_larger_does_no_harm() {
    let node = Node::start();
    let mut client = client(&node).await;
    let locators: Vec<v1::LocatorChoice> = (0..16)
        .map(|n| v1::LocatorChoice {
            locator: format!("fd00:1111:2222:{:x}::/64", 0x3330 + n),
            priority: 255,
            weight: Some(1000),
        })
        .collect();
    let mappings = (0..10_000u32)
        .map(|n| v1::MappingChange {
            sir: format!("2001:db8:dddd:0:2fff:ffff:ffff:{n:x}"),
            locators: locators.clone(),
            blackhole: false,
        })
        .collect();
    let done = client.mapping_upsert(v1::MappingUpsertRequest { mappings }).await.unwrap().into_inner();
    assert_eq!(done.created, 10_000);

    let sir = "f".repeat(40 << 20);
    let status = client.mapping_get(v1::MappingGetRequest { sir }).await.unwrap_err();
    assert!(
        matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted | Code::Unavailable),
        "{status}"
    );
    assert!(node.text(&["node", "show"]).contains("nve1"));
}

#[test]
fn events_so_far_and_behind_a_number() {
    let node = Node::start();
    let text = node.text(&["events"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5);
    for (line, ends) in lines.iter().zip([
        "  red/vm1  learnt  10.0.0.5 is at 02:00:00:00:01:01",
        "  red/vm2  conflict  10.0.0.5 is somebody else's",
        "  red/vm2  spoofed  7 packets",
        "  red/vm2  quarantined  for 60 s",
        "  red/vm2  released",
    ]) {
        assert!(line.ends_with(ends), "{line}");
    }
    let text = node.text(&["events", "--since", "3", "--json"]);
    let events: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (events.len(), &events[0]["kind"], &events[0]["seconds"]),
        (2, &json!("quarantined"), &json!(60))
    );
    assert_eq!(
        (&events[1]["seq"], &events[1]["vnid"], &events[1]["address"]),
        (&json!(5), &json!(100), &json!(null))
    );
    // A node that started anew has not given that number yet.
    assert_eq!(node.text(&["events", "--since", "70"]).lines().count(), 5);
}

#[test]
fn following_events_ends_when_the_caller_hangs_up() {
    let node = Node::start();
    let mut child = node.command(&["events", "--follow", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let kinds: Vec<String> = (0..5)
        .map(|_| {
            let event: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            event["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kinds, ["learnt", "conflict", "spoofed", "quarantined", "released"]);
    // It waits for more.
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}
