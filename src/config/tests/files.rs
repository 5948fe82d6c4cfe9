//! The files that are shipped, and the promises of the reference.

use crate::config::raw::{RawAuthority, RawConfig, Schema};
use crate::config::{AuthorityConfig, AuthorityFreeze, Config, StoreConfig, mappings};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dpdk-config").join(name)
}

#[test]
fn the_shipped_files_load_with_their_mappings() {
    for (name, identifiers, source, mapped) in [
        ("reference.yaml", 2, "mappings.yaml", 5),
        ("router.yaml", 0, "mappings.yaml", 5),
        ("nve.yaml", 2, "mappings.yaml", 5),
        ("nve-tenants.yaml", 5, "mappings-tenants.yaml", 4),
    ] {
        let config = Config::load(file(name)).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config.attachments.iter().map(|a| a.identifiers.len()).sum::<usize>(), identifiers);
        assert_eq!(config.mappings.as_ref().unwrap().file, file(source));
        let records = mappings::load(file(source), &config).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(records.len(), mapped);
    }
}

#[test]
fn the_shipped_file_of_the_authority_has_every_key() {
    let text = std::fs::read_to_string(file("ila-nva.yaml")).unwrap();
    AuthorityConfig::load(file("ila-nva.yaml")).unwrap_or_else(|errors| panic!("{errors}"));
    // What stands there as a comment is the other store.
    let both = text.replace("\n#   ", "\n  ");
    let mut known = Vec::new();
    RawAuthority::leaves("", &mut known);
    let listed: BTreeSet<String> = leaves(&both).into_iter().flatten().collect();
    assert_eq!(listed, known.into_iter().collect());
    let parse = |text: &str| AuthorityConfig::parse(text, "ila-nva.yaml");
    let errors = parse(&both).unwrap_err().to_string();
    assert!(errors.contains("store.etcd: there is a path, too"), "{errors}");
    let path = text.lines().find(|line| line.starts_with("  path:")).unwrap();
    let config = parse(&both.replace(path, ""));
    if cfg!(feature = "etcd") {
        let StoreConfig::Etcd(etcd) = config.unwrap().store else { panic!("no etcd") };
        assert_eq!((etcd.endpoints.len(), &etcd.prefix[..]), (1, "/ilagate/lab"));
        assert!(etcd.tls.is_some());
    } else {
        assert!(config.unwrap_err().to_string().contains("built without etcd"));
    }
}

#[test]
#[cfg(feature = "etcd")]
fn an_etcd_is_reached_by_tls_or_on_this_machine() {
    let parse = |etcd: &str| {
        let text = format!(
            "nva: {{name: nva1}}\nlisten: [\"unix:/run/nva.sock\"]\nstore: {{etcd: {{{etcd}}}}}\nnves: [{{name: nve1}}]\n"
        );
        AuthorityConfig::parse(&text, "nva.yaml")
    };
    let files = "certificate: /a, key: /b, authorities: /c";
    for good in [
        "prefix: /x, endpoints: [\"http://127.0.0.1:2379\", \"http://[::1]:2379\"]".to_owned(),
        format!(
            "prefix: /x/y.z, {files}, endpoints: [\"https://etcd1.example:2379\", \"https://[fd00::1]:2379\"]"
        ),
    ] {
        parse(&good).unwrap_or_else(|errors| panic!("{errors}"));
    }
    let one = "endpoints: [\"http://127.0.0.1:2379\"]";
    for (bad, place, why) in [
        ("prefix: /x".to_owned(), "store.etcd.endpoints", "missing"),
        (one.to_owned(), "store.etcd.prefix", "missing"),
        (format!("{one}, prefix: x"), "store.etcd.prefix", "`x` is no prefix"),
        (format!("{one}, prefix: /x/"), "store.etcd.prefix", "is no prefix"),
        (format!("{one}, prefix: /"), "store.etcd.prefix", "is no prefix"),
        (format!("{one}, prefix: /x, {files}"), "store.etcd.certificate", "no endpoint is https"),
        (
            "prefix: /x, endpoints: [\"http://10.0.0.1:2379\"]".to_owned(),
            "store.etcd.endpoints[0]",
            "in the clear",
        ),
        (
            "prefix: /x, endpoints: [\"https://etcd1\"]".to_owned(),
            "store.etcd.endpoints[0]",
            "https://HOST:PORT",
        ),
        (
            "prefix: /x, endpoints: [\"https://a/b:1\"]".to_owned(),
            "store.etcd.endpoints[0]",
            "https://HOST:PORT",
        ),
        ("prefix: /x, endpoints: [\"https://a:1\"]".to_owned(), "store.etcd.certificate", "missing"),
        (
            "prefix: /x, endpoints: [\"http://127.0.0.1:1\", \"http://127.0.0.1:1\"]".to_owned(),
            "store.etcd.endpoints[1]",
            "twice",
        ),
        (
            format!("prefix: /x, {files}, endpoints: [\"https://a:1\", \"http://127.0.0.1:1\"]"),
            "store.etcd.endpoints",
            "of one kind",
        ),
    ] {
        let errors = parse(&bad).unwrap_err().to_string();
        assert!(errors.contains(place) && errors.contains(why), "{bad}: {errors}");
    }
}

#[test]
fn the_limits_of_nves_have_defaults_and_bounds() {
    let parse = |sessions: &str, nve: &str| {
        let text = format!(
            "nva: {{name: nva1}}\nlisten: [\"unix:/run/nva.sock\"]\nstore: {{path: /var/nva.redb}}\n\
             sessions: {{{sessions}}}\nnves: [{{name: nve1{nve}}}]\n"
        );
        AuthorityConfig::parse(&text, "nva.yaml")
    };
    let limits = |config: AuthorityConfig| {
        let AuthorityConfig { requests_per_second, cache_lifetime_s, digest_s, nves, .. } = config;
        (requests_per_second, cache_lifetime_s, digest_s, nves["nve1"].max_identifiers)
    };
    assert_eq!(limits(parse("", "").unwrap()), (20_000, 300, 60, 100_000));
    let set = parse("requests_per_second: 5, cache_lifetime_s: 5, digest_s: 0", ", max_identifiers: 0");
    assert_eq!(limits(set.unwrap()), (5, 5, 0, 0));
    let is_router = |nve: &str| parse("", nve).unwrap().nves["nve1"].router;
    assert_eq!(["", ", router: false", ", router: true"].map(is_router), [false, false, true]);
    for (sessions, nve, place) in [
        ("requests_per_second: 0", "", "sessions.requests_per_second"),
        ("requests_per_second: 1000001", "", "sessions.requests_per_second"),
        ("cache_lifetime_s: 4", "", "sessions.cache_lifetime_s"),
        ("cache_lifetime_s: 3601", "", "sessions.cache_lifetime_s"),
        ("digest_s: 3601", "", "sessions.digest_s"),
        ("", ", max_identifiers: 8000001", "nves[0].max_identifiers"),
    ] {
        let errors = parse(sessions, nve).unwrap_err().to_string();
        assert!(errors.contains(place), "{errors}");
    }
}

#[test]
fn a_page_in_the_clear_stays_on_its_machine_and_viewers_and_operators_may_be_of_some_networks() {
    let parse = |more: &str| {
        let text = format!(
            "nva: {{name: nva1}}\nlisten: [\"unix:/run/nva.sock\"]\nstore: {{path: /var/nva.redb}}\n\
             nves: [{{name: nve1}}]\n{more}"
        );
        AuthorityConfig::parse(&text, "nva.yaml")
    };
    assert!(parse("").unwrap().page.is_none());
    for listen in ["unix:/run/page.sock", "http://127.0.0.1:9466", "http://[::1]:9466"] {
        let page =
            parse(&format!("page: {{listen: \"{listen}\", hosts: [nva1.example]}}")).unwrap().page.unwrap();
        assert!(!page.listen.is_tls() && page.hosts.contains("nva1.example"));
    }
    let operators = |list: &str| parse(&format!("operators: [{list}]")).map(|config| config.operators);
    let all =
        operators("{name: a}, {name: b, networks: [red, blue]}, {name: c, role: operator, networks: []}");
    let all = all.unwrap();
    let seen = |name: &str| all[name].networks.as_ref().map(BTreeSet::len);
    assert_eq!(["a", "b", "c"].map(seen), [None, Some(2), Some(0)]);
    for (more, place, why) in [
        ("page: {}", "page.listen", "missing"),
        ("page: {listen: \"http://192.0.2.1:80\"}", "page.listen", "in the clear"),
        ("page: {listen: \"https://192.0.2.1:443\"}", "tls", "there is an https address"),
        ("page: {listen: \"http://127.0.0.1:9\", hosts: [\"a:1\"]}", "page.hosts[0]", "without a port"),
        ("page: {listen: \"http://127.0.0.1:9\", hosts: [\"A\"]}", "page.hosts[0]", "a-z"),
        (
            "operators: [{name: a, role: admin, networks: [red]}]",
            "operators[0].networks",
            "role viewer or operator",
        ),
    ] {
        let errors = parse(more).unwrap_err().to_string();
        assert!(errors.contains(place) && errors.contains(why), "{more}: {errors}");
    }
    let change = |old: &str, new: &str| parse(old).unwrap().changes(&parse(new).unwrap());
    let page = "page: {listen: \"http://127.0.0.1:9466\"}";
    assert!(matches!(&change("", page)[..], [change] if change.path == "page" && !change.reload));
}

#[test]
fn when_identifiers_are_frozen_has_defaults_and_bounds() {
    let parse = |freeze: &str| {
        let text = format!(
            "nva: {{name: nva1}}\nlisten: [\"unix:/run/nva.sock\"]\nstore: {{path: /var/nva.redb}}\n{freeze}\n"
        );
        AuthorityConfig::parse(&text, "nva.yaml")
    };
    let rules = |freeze: &str| {
        let AuthorityFreeze { changes, within_s, for_s } = parse(freeze).unwrap().freeze;
        (changes, within_s, for_s)
    };
    assert_eq!(rules(""), (5, 180, 3600));
    assert_eq!(rules("freeze: {changes: 0, within_s: 1, for_s: 86400}"), (0, 1, 86_400));
    for (freeze, place) in
        [("changes: 101", "changes"), ("within_s: 0", "within_s"), ("for_s: 86401", "for_s")]
    {
        let errors = parse(&format!("freeze: {{{freeze}}}")).unwrap_err().to_string();
        assert!(errors.contains(&format!("freeze.{place}")), "{errors}");
    }
}

#[test]
fn when_nodes_count_as_lost_has_defaults_and_bounds() {
    let parse = |more: &str| {
        let text = format!(
            "nva: {{name: nva1}}\nlisten: [\"unix:/run/nva.sock\"]\nstore: {{path: /var/nva.redb}}\n{more}\n"
        );
        AuthorityConfig::parse(&text, "nva.yaml")
    };
    let it = parse("").unwrap().failover;
    assert_eq!((it.grace_s, it.brake_nodes, it.brake_percent, it.brake_within_s), (30, 2, 15, 10));
    assert_eq!((it.per_nve, parse("failover: {per_nve: 16384}").unwrap().failover.per_nve), (4_096, 16_384));
    for wrong in ["grace_s: 0", "brake_nodes: 0", "brake_percent: 101", "brake_within_s: 601", "per_nve: 0"] {
        let errors = parse(&format!("failover: {{{wrong}}}")).unwrap_err().to_string();
        let key = wrong.split(':').next().unwrap();
        assert!(errors.contains(&format!("failover.{key}")), "{errors}");
    }
    let change = parse("").unwrap().changes(&parse("failover: {grace_s: 6}").unwrap());
    assert!(matches!(&change[..], [change] if change.path == "failover" && change.reload));
}

#[test]
fn states_of_moves_and_ends_of_tunnels_have_defaults_and_bounds() {
    let parse = |more: &str| {
        let text = format!(
            "nva: {{name: nva1}}\nlisten: [\"unix:/run/nva.sock\"]\nstore: {{path: /var/nva.redb}}\n{more}\n"
        );
        AuthorityConfig::parse(&text, "nva.yaml")
    };
    let moves = parse("").unwrap().moves;
    assert_eq!((moves.prepare_s, moves.prepared_s, moves.detached_s), (5, 3600, 30));
    assert_eq!((moves.spread_s, moves.drain_idle_s, moves.drain_s, moves.abort_s), (5, 2, 60, 5));
    assert_eq!((moves.per_nve, parse("moves: {per_nve: 4096}").unwrap().moves.per_nve), (256, 4_096));
    for wrong in ["prepare_s: 0", "prepared_s: 86401", "detached_s: 601", "spread_s: 61", "drain_idle_s: 0"]
        .iter()
        .chain(&["drain_s: 601", "abort_s: 0", "per_nve: 0"])
    {
        let errors = parse(&format!("moves: {{{wrong}}}")).unwrap_err().to_string();
        let key = wrong.split(':').next().unwrap();
        assert!(errors.contains(&format!("moves.{key}")), "{errors}");
    }
    let vtep = |address: &str| parse(&format!("nves: [{{name: n, vtep: \"{address}\"}}]"));
    for good in ["192.0.2.1", "fd00:1::1"] {
        assert_eq!(vtep(good).unwrap().nves["n"].vtep, good.parse().ok());
    }
    for wrong in ["nve1", "::", "ff02::1", "127.0.0.1", "192.0.2.1/24"] {
        let errors = vtep(wrong).unwrap_err().to_string();
        assert!(errors.contains("nves[0].vtep: `") && errors.contains("of one host"), "{errors}");
    }
    let change = parse("").unwrap().changes(&parse("moves: {abort_s: 6}").unwrap());
    assert!(matches!(&change[..], [change] if change.path == "moves" && change.reload));
}

#[test]
fn quotas_are_of_networks_of_known_domains_and_one_for_each() {
    let parse = |quotas: &str| {
        let text = format!(
            "nva: {{name: nva1}}\nlisten: [\"unix:/run/nva.sock\"]\nstore: {{path: /var/nva.redb}}\n\
             sir_domains: [{{name: tasks, prefix: \"2001:db8:dddd::/64\"}}]\nquotas: [{quotas}]\n"
        );
        AuthorityConfig::parse(&text, "nva.yaml")
    };
    let both = "{domain: tasks, max_identifiers: 5}, {domain: tasks, vnid: 7, max_identifiers: 0}";
    let quotas = parse(both).unwrap().quotas;
    let limits: Vec<_> = quotas.iter().map(|quota| (quota.vnid, quota.max_identifiers)).collect();
    assert_eq!(limits, [(None, 5), (Some(7), 0)]);
    assert!(parse("").unwrap().quotas.is_empty());
    for (quotas, place, why) in [
        ("{domain: other, max_identifiers: 5}", "quotas[0].domain", "sir_domains"),
        ("{max_identifiers: 5}", "quotas[0].domain", "missing"),
        ("{domain: tasks}", "quotas[0].max_identifiers", "missing"),
        ("{domain: tasks, vnid: 0, max_identifiers: 5}", "quotas[0].vnid", "268435455"),
        ("{domain: tasks, vnid: 268435456, max_identifiers: 5}", "quotas[0].vnid", "268435455"),
        ("{domain: tasks, max_identifiers: 8000001}", "quotas[0].max_identifiers", "8000000"),
        ("{domain: tasks, max_identifiers: 1}, {domain: tasks, max_identifiers: 2}", "quotas[1]", "the same"),
    ] {
        let errors = parse(quotas).unwrap_err().to_string();
        assert!(errors.contains(place) && errors.contains(why), "{quotas}: {errors}");
    }
}

/// Path of the leaf on each line of the reference, by indentation; `None` for lines without a leaf.
fn leaves(text: &str) -> Vec<Option<String>> {
    let mut open: Vec<(usize, String)> = Vec::new();
    text.lines()
        .map(|line| {
            let content = line.split_once(" #").map_or(line, |(content, _)| content).trim_end();
            if content.is_empty() || content.starts_with('#') {
                return None;
            }
            let (mut indent, mut rest) = (content.len() - content.trim_start().len(), content.trim_start());
            open.retain(|(depth, _)| *depth < indent);
            if let Some(entry) = rest.strip_prefix("- ") {
                open.push((indent, "[]".to_owned()));
                (indent, rest) = (indent + 2, entry);
            }
            let path = |open: &[(usize, String)]| {
                open.iter()
                    .map(|(_, part)| part.as_str())
                    .collect::<String>()
                    .trim_start_matches('.')
                    .to_owned()
            };
            match rest.split_once(':') {
                Some((key, value)) if !key.contains('"') => {
                    open.push((indent, format!(".{key}")));
                    (!value.is_empty()).then(|| path(&open))
                }
                _ => Some(path(&open)),
            }
        })
        .collect()
}

#[test]
fn the_reference_has_every_key_and_says_what_leaving_it_out_means() {
    let text = std::fs::read_to_string(file("reference.yaml")).unwrap();
    // What stands there as a comment is in place of other keys.
    let text = text.replace("\n#   ", "\n  ");
    let errors = Config::parse(&text, "reference.yaml").unwrap_err().to_string();
    assert!(errors.contains("nva.endpoints: a node with an embedded authority"), "{errors}");
    assert!(errors.contains("nva.tls: a node with an embedded authority"), "{errors}");
    let mut known = Vec::new();
    RawConfig::leaves("", &mut known);
    let known: BTreeSet<String> = known.into_iter().collect();
    let listed = leaves(&text);
    assert_eq!(listed.iter().flatten().cloned().collect::<BTreeSet<_>>(), known);
    for (line, leaf) in text.lines().zip(listed) {
        if let Some(leaf) = leaf {
            let comment = line.split_once(" # ").map_or("", |(_, comment)| comment);
            let says = ["required", "default ", "optional"].iter().any(|word| comment.starts_with(word));
            assert!(says, "{leaf}: {line}");
        }
    }
}

/// The reference without line `n`.
fn without(text: &str, n: usize) -> String {
    text.lines().enumerate().filter(|(m, _)| *m != n).map(|(_, line)| format!("{line}\n")).collect()
}

#[test]
fn leaving_a_key_out_gives_the_default_of_the_reference() {
    let path = file("reference.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let name = path.to_str().unwrap();
    let whole = Config::parse(&text, name).unwrap();
    let mut tried = 0;
    for (n, line) in text.lines().enumerate() {
        let Some((content, comment)) = line.split_once(" # ") else { continue };
        let Some(default) = comment.strip_prefix("default ") else { continue };
        let default = default.split_once(". ").unwrap().0;
        assert_eq!(content.split_once(": ").unwrap().1.trim(), default, "{line}");
        let config =
            Config::parse(&without(&text, n), name).unwrap_or_else(|errors| panic!("{line}: {errors}"));
        assert_eq!(config, whole, "{line}");
        tried += 1;
    }
    assert_eq!(tried, 90);
}

/// The range that a comment of the reference names first.
fn range(comment: &str) -> Option<(i64, i64)> {
    let words: Vec<&str> = comment.split([' ', ',', '.', ';']).collect();
    words.windows(3).find_map(|three| match three {
        [low, "to", high] => Some((low.parse().ok()?, high.parse().ok()?)),
        _ => None,
    })
}

#[test]
fn numbers_are_what_the_reference_says_at_both_ends_and_nothing_beyond() {
    let path = file("reference.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut tried = 0;
    for line in text.lines() {
        let Some((content, comment)) = line.split_once(" # ") else { continue };
        let Some((key, value)) = content.split_once(": ") else { continue };
        let (Ok(_), Some((low, high))) = (value.trim().parse::<i64>(), range(comment)) else { continue };
        let key = key.trim_start_matches([' ', '-']);
        let with = |number: i64| {
            let text = text.replacen(line, &format!("{}{number}", content.replace(value, "")), 1);
            Config::parse(&text, path.to_str().unwrap())
                .map_or_else(|errors| errors.to_string(), |_| String::new())
        };
        let rule = |number: i64| format!("{key}: `{number}` is not a number from {low} to {high}");
        for number in [low, high] {
            assert!(!with(number).contains("is not a number from"), "{line}: {}", with(number));
        }
        for number in [low - 1, high + 1] {
            assert!(with(number).contains(&rule(number)), "{line} with {number}: {}", with(number));
        }
        tried += 1;
    }
    assert_eq!(tried, 68);
}

#[test]
fn what_the_reference_calls_required_is_missed() {
    let text = std::fs::read_to_string(file("reference.yaml")).unwrap();
    let mut tried = 0;
    for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let Some((content, _)) = line.split_once(" # required") else { continue };
        let entry = content.trim_start();
        let key = entry.trim_start_matches("- ").split(':').next().unwrap();
        // A list entry's dash stays when its first key goes; the list of workers has words of its own, and an
        // empty `metrics:` is none.
        let less = match (entry.starts_with("- "), content.contains(": ")) {
            (true, true) => text.replacen(line, &content.replace(entry, "-"), 1),
            _ if key.starts_with("1 ") || key == "listen" => continue,
            _ => without(&text, n),
        };
        let errors = Config::parse(&less, "t.yaml").expect_err(line).to_string();
        let named = [&format!(".{key}"), "identifiers", "addresses", "endpoints"]
            .iter()
            .any(|path| errors.contains(&format!("{path}: missing")));
        assert!(named, "{line}: {errors}");
        tried += 1;
    }
    assert_eq!(tried, 58);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let message = Config::load("/nowhere/x.yaml").unwrap_err().to_string();
    assert!(message.starts_with("/nowhere/x.yaml: cannot be read: "), "{message}");
}
