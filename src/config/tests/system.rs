//! Node, cores, memory, files, sockets and timers.

use super::{refused, right, text, wrong};
use crate::config::{DpdkLogLevel, Idle, LogFormat, LogLevel};

#[test]
fn a_node_has_a_plain_name() {
    let rule = "is not a name; use 1 to 32 characters of a-z, 0-9 and -";
    wrong("node: {name: Nve}", &format!("t.yaml:1:14: node.name: `Nve` {rule}"));
    wrong("node: {name: ''}", &format!("t.yaml:1:14: node.name: `` {rule}"));
    let long = "n".repeat(33);
    wrong(&format!("node: {{name: {long}}}"), &format!("t.yaml:1:14: node.name: `{long}` {rule}"));
    wrong(
        "node: {name: '-a'}",
        "t.yaml:1:14: node.name: `-a` looks like an option; begin with a letter or digit",
    );
    wrong("node: {}", "t.yaml:1:7: node.name: missing; write for example `name: nve1`");
}

#[test]
fn paths_of_a_daemon_are_absolute() {
    wrong(
        "admin: {socket: x.sock}",
        "t.yaml:9:17: admin.socket: `x.sock` is not an absolute path; start it with /",
    );
    for path in ["state", "''"] {
        wrong(
            &format!("node: {{name: n, state_dir: {path}}}"),
            &format!(
                "t.yaml:1:28: node.state_dir: `{}` is not an absolute path; start it with /",
                path.trim_matches('\'')
            ),
        );
    }
    let state_dir = |text| right(text).node.state_dir;
    assert_eq!(state_dir("node: {name: n, state_dir: /x}"), Some("/x".into()));
    assert_eq!(state_dir("node: {name: n}"), None);
}

#[test]
fn a_socket_path_fits_a_socket() {
    let path = format!("/{}", "x".repeat(107));
    wrong(
        &format!("admin: {{socket: {path}}}"),
        "t.yaml:9:17: admin.socket: 108 bytes are too long for a socket's path; use 107 at most",
    );
    assert_eq!(right("node: {name: n7}").admin.socket.to_str(), Some("/run/ilagate/n7.sock"));
}

#[test]
fn workers_have_a_core_each() {
    let missing = "missing; name at least one core, for example `workers: [1]`";
    wrong("dpdk: {workers: []}", &format!("t.yaml:2:17: dpdk.workers: {missing}"));
    wrong("dpdk: {}", &format!("t.yaml:2:7: dpdk.workers: {missing}"));
    wrong(
        "dpdk: {workers: [1, 2, 1]}",
        "t.yaml:2:24: dpdk.workers[2]: core 1 is already that of dpdk.workers[0] (line 2); a core runs one worker",
    );
    wrong(
        "dpdk: {workers: [1024]}",
        "t.yaml:2:18: dpdk.workers[0]: `1024` is not a number from 0 to 1023; choose one",
    );
    wrong(
        "dpdk: {workers: [1], control_core: 1}",
        "t.yaml:2:36: dpdk.control_core: core 1 is already that of dpdk.workers[0] (line 2); give the control thread its own core",
    );
}

#[test]
fn words_and_numbers_are_checked() {
    wrong(
        "dpdk: {workers: [1], idle: sleep}",
        "t.yaml:2:28: dpdk.idle: `sleep` is not known; write one of poll, backoff",
    );
    wrong(
        "dpdk: {workers: [1], huge: yes}",
        "t.yaml:2:28: dpdk.huge: `yes` is not known; write one of true, false",
    );
    wrong(
        "dpdk: {workers: [1], memory_mib: -1}",
        "t.yaml:2:34: dpdk.memory_mib: `-1` is not a number from 64 to 1048576; choose one",
    );
    wrong(
        "dpdk: {workers: [1], log_level: loud}",
        "t.yaml:2:33: dpdk.log_level: `loud` is not known; write one of error, warning, notice, info, debug",
    );
    wrong(
        "dpdk: {workers: [1], extra_args: ['']}",
        "t.yaml:2:35: dpdk.extra_args[0]: `` is not an argument; write one word of the EAL per entry",
    );
    wrong(
        "log: {level: all}",
        "t.yaml:9:14: log.level: `all` is not known; write one of error, warn, info, debug, trace",
    );
    wrong("log: {format: xml}", "t.yaml:9:15: log.format: `xml` is not known; write one of text, json");
    wrong(
        "neighbour_discovery: {hold_packets: 65}",
        "t.yaml:9:37: neighbour_discovery.hold_packets: `65` is not a number from 1 to 64; choose one",
    );
    wrong(
        "translation: {lowest_ipv6_mtu: 1279}",
        "t.yaml:9:32: translation.lowest_ipv6_mtu: `1279` is not a number from 1280 to 9600; choose one",
    );
    wrong(
        "translation: {missing_udp_checksum: zero}",
        "t.yaml:9:37: translation.missing_udp_checksum: `zero` is not known; write one of compute, drop",
    );
    wrong("icmp: {burst: 0}", "t.yaml:9:15: icmp.burst: `0` is not a number from 1 to 1000000; choose one");
}

#[test]
fn numbers_are_plain_decimals() {
    for number in ["+5", "0x10", "1_0", "1.5", "1e3", "99999999999999999999"] {
        wrong(
            &format!("icmp: {{burst: {number}}}"),
            &format!("t.yaml:9:15: icmp.burst: `{number}` is not a number from 1 to 1000000; choose one"),
        );
    }
}

#[test]
fn the_mbuf_cache_is_at_most_two_thirds_of_the_pool() {
    wrong(
        "mbufs: {count: 600, cache: 401}",
        "t.yaml:3:16: mbufs.count: 600 buffers are all held by the ports' receive rings, which take 1024; raise it \
         above that\n\
         t.yaml:3:28: mbufs.cache: 401 is more than two thirds of 600 buffers; raise mbufs.count",
    );
    right("mbufs: {count: 1200, cache: 400}");
}

#[test]
fn metrics_need_an_address_and_port() {
    for listen in ["localhost", "127.0.0.1", "127.0.0.1:0", "::1:9464"] {
        wrong(
            &format!("metrics: {{listen: '{listen}'}}"),
            &format!(
                "t.yaml:9:19: metrics.listen: `{listen}` is not address:port; write for example 127.0.0.1:9464 or [::1]:9464"
            ),
        );
    }
    wrong(
        "metrics: {listen: '127.0.0.1:9464', networks: 4097}",
        "t.yaml:9:47: metrics.networks: `4097` is not a number from 0 to 4096; choose one",
    );
    assert_eq!(right("metrics: {listen: '127.0.0.1:9464', networks: 9}").counted_networks(), 9);
    assert_eq!(right("mbufs: {}").counted_networks(), 256);
    wrong(
        "metrics: {}",
        "t.yaml:9:10: metrics.listen: missing; write for example `listen: \"127.0.0.1:9464\"`",
    );
}

#[test]
fn the_mapping_file_counts_from_the_directory_of_the_configuration() {
    use crate::config::Config;
    let line = text("mappings", "mappings: {file: m.yaml}");
    let file = |name: &str| Config::parse(&line, name).unwrap().mappings.unwrap().file;
    assert_eq!(file("/etc/ilagate/n.yaml").to_str(), Some("/etc/ilagate/m.yaml"));
    assert_eq!(file("n.yaml").to_str(), Some("m.yaml"));
    wrong("mappings: {}", "t.yaml:9:11: mappings.file: missing; write for example `file: mappings.yaml`");
    wrong(
        "mappings: {file: ''}",
        "t.yaml:9:18: mappings.file: `` is not a file; write its path or remove `mappings`",
    );
}

#[test]
fn values_arrive_as_they_were_written() {
    let config = right("dpdk: {workers: [3], control_core: 0, idle: backoff, huge: false, log_level: debug}");
    assert_eq!((config.dpdk.workers.as_slice(), config.dpdk.control_core), (&[3][..], Some(0)));
    assert_eq!(
        (config.dpdk.idle, config.dpdk.huge, config.dpdk.log_level),
        (Idle::Backoff, false, DpdkLogLevel::Debug)
    );
    let config = right("log: {level: trace, format: json}");
    assert_eq!((config.log.level, config.log.format), (LogLevel::Trace, LogFormat::Json));
}

#[test]
fn a_node_without_ports_is_refused() {
    let message = "missing; a node needs at least one port";
    assert_eq!(refused(&text("ports", "ports: []")).to_string(), format!("t.yaml:6:8: ports: {message}"));
}

#[test]
fn a_node_follows_domains_networks_and_parts_of_domains() {
    let with = |scopes: &str| format!("nva: {{endpoints: [\"unix:/a\"], scopes: [{scopes}]}}");
    let scopes = |text: &str| {
        let config = right(&with(text));
        config.nva.unwrap().scopes.list().iter().map(|scope| (scope.first, scope.last)).collect::<Vec<_>>()
    };
    assert_eq!(scopes("{domain: tasks}"), [(0, u64::MAX)]);
    assert_eq!(
        scopes("{prefix: \"2001:db8:dddd:0:2000::/68\"}, {prefix: \"2001:db8:dddd::7/128\"}"),
        [(7, 7), (0x2000 << 48, 0x2fff_ffff_ffff_ffff)]
    );
    assert_eq!(
        scopes("{domain: tasks, vnid: 100}"),
        [(0x4000_0064 << 32, 0x4000_0064_ffff_ffff), (0x6000_0064 << 32, 0x6000_0064_ffff_ffff)]
    );
    let text_of = |scopes: &str| text("nva", &with(scopes));
    let too_many = vec!["{domain: tasks}"; 65].join(", ");
    for (scopes, message) in [
        ("", "nva.scopes: 0 entries; name 1 to 64, or leave this out"),
        (&too_many[..], "nva.scopes: 65 entries"),
        ("{}", "nva.scopes[0].domain: missing"),
        ("{domain: other}", "nva.scopes[0].domain: `other` is not the name of a SIR domain"),
        ("{domain: tasks, vnid: 0}", "nva.scopes[0].vnid: `0` is not a number from 1 to 268435455"),
        (
            "{domain: tasks, prefix: \"2001:db8:dddd::/64\"}",
            "nva.scopes[0].prefix: there is a domain or vnid, too",
        ),
        ("{prefix: \"2001:db8:dddd::/63\"}", "nva.scopes[0].prefix"),
        ("{prefix: \"2001:db8:eeee::/64\"}", "is not within a prefix of sir_domains"),
        ("{prefix: \"2001:db8::/32\"}", "is not within a prefix of sir_domains"),
    ] {
        let errors = refused(&text_of(scopes)).to_string();
        assert!(errors.contains(message), "{scopes}: {errors}");
    }
    let asks = "nva: {endpoints: [\"unix:/a\"], mode: cache, scopes: [{domain: tasks}]}";
    let asks = refused(&text("nva", asks)).to_string();
    assert!(asks.contains("nva.scopes: a node that asks follows nothing"), "{asks}");
}
