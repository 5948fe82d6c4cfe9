//! Imports point one way. Every path `crate::…` of every source file is held against the layers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::Path;

/// Which layers each layer may see, besides itself. `nva::client` lets a layer see that module of `nva` and
/// no other.
const LAYERS: &[(&str, &[&str])] = &[
    ("net", &[]),
    // Collections that snapshots share.
    ("shared", &[]),
    ("ila", &["net"]),
    ("siit", &["net", "ila"]),
    ("mapping", &["net", "ila"]),
    ("table", &["net", "ila", "siit", "mapping", "shared"]),
    ("path", &["net", "ila", "siit", "mapping", "shared", "table"]),
    ("dpdk", &["net", "table", "path"]),
    ("config", &["net", "ila", "mapping", "shared"]),
    // What `ilactl` and integrators see of a node.
    ("api", &["net", "ila", "mapping", "config"]),
    // Who a peer is; reads the files that the configuration names.
    ("tls", &["config"]),
    // What Prometheus and probes read.
    ("telemetry", &[]),
    // The authority never sees a table or a packet.
    ("nva", &["net", "ila", "mapping", "shared", "config", "api", "tls", "telemetry"]),
    (
        "node",
        &[
            "net",
            "ila",
            "siit",
            "mapping",
            "shared",
            "table",
            "path",
            "dpdk",
            "config",
            "api",
            "tls",
            "telemetry",
            "nva::client",
            "nva::codec",
            "nva::message",
            "nva::mirror",
            "nva::model",
            // For an authority inside a node.
            "nva::serve",
            "nva::v1",
        ],
    ),
    // What `ilactl` is made of: speaks the admin API, never touches node or data plane.
    ("ctl", &["net", "ila", "mapping", "config", "api", "tls"]),
];

/// The first two parts of every path that a text reaches through `crate::`, in `use` lines, groups and inline
/// paths; comments do not count.
fn reached(text: &str) -> BTreeSet<String> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        parts("", &code[at + "crate::".len()..], &mut found);
    }
    found
}

/// Notes the path at the beginning of `rest`, or those of the group there; `before` is the part in front of
/// it.
fn parts(before: &str, rest: &str, into: &mut BTreeSet<String>) {
    let rest = rest.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        // The beginning of each entry at depth 1.
        let (mut depth, mut entry) = (1, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => entry = true,
                c if entry && (c.is_alphabetic() || c == '*') => {
                    parts(before, &group[at..], into);
                    entry = false;
                }
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
        return;
    }
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    match (before.is_empty(), name.as_str()) {
        (false, "" | "self") => _ = into.insert(before.to_owned()),
        (false, _) => _ = into.insert(format!("{before}::{name}")),
        (true, "") => {}
        (true, _) => match rest[name.len()..].strip_prefix("::") {
            Some(rest) => parts(&name, rest, into),
            None => _ = into.insert(name),
        },
    }
}

/// What a text of `layer` reaches and must not see.
fn unseen(layer: &str, text: &str, layers: &[(&str, &[&str])]) -> Vec<String> {
    let below = layers.iter().find(|(name, _)| *name == layer).map_or(&[][..], |(_, below)| *below);
    let first = |path: &str| path.split("::").next().unwrap_or_default().to_owned();
    let may_see = |path: &String| {
        let first = first(path);
        first == layer || below.contains(&first.as_str()) || below.contains(&path.as_str())
    };
    reached(text).into_iter().filter(|path| !may_see(path)).collect()
}

fn sources(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn imports_point_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (layer, _) in LAYERS {
        let mut files = Vec::new();
        if root.join(layer).is_dir() {
            sources(&root.join(layer), &mut files);
        }
        for (file, text) in files {
            seen += 1;
            let paths = unseen(layer, &text, LAYERS);
            wrong.extend(paths.iter().map(|path| format!("{file}: {layer} must not see {path}")));
        }
    }
    assert!(seen > 40, "{seen} files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let known = ["lib", "bin"].contains(&name.as_str()) || LAYERS.iter().any(|(layer, _)| *layer == name);
        assert!(known, "{} has no place among the layers", path.display());
    }
}

#[test]
fn paths_are_found_in_use_lines_groups_and_code() {
    let text = "use crate::net::Mac;\nuse crate::{ila::{self, Locator, group::scope}, table};\n\
                let x = crate::path::BURST; // crate::node\nuse crate::net::{*, udp};\n";
    let wanted = ["ila", "ila::Locator", "ila::group", "net", "net::Mac", "net::udp", "path::BURST", "table"];
    assert_eq!(reached(text).iter().map(String::as_str).collect::<Vec<_>>(), wanted);
}

#[test]
fn a_layer_sees_what_its_row_names_and_of_a_path_of_two_parts_nothing_else() {
    let layers: &[(&str, &[&str])] = &[("net", &[]), ("node", &["net", "nva::client"])];
    let of = |layer, text| unseen(layer, text, layers);
    let none: [&str; 0] = [];
    assert_eq!(
        of("node", "use crate::net::Mac; use crate::nva::client::Session; use crate::node::run;"),
        none
    );
    assert_eq!(of("node", "use crate::nva::{client, store};"), ["nva::store"]);
    assert_eq!(of("node", "use crate::nva;"), ["nva"]);
    assert_eq!(of("net", "use crate::nva::client::Session;"), ["nva::client"]);
    assert_eq!(of("net", "fn f() -> crate::ctl::Args;"), ["ctl::Args"]);
}

/// Files and folders that only turn inputs into outputs: who calls them owns clocks, sockets, threads and
/// files.
const SANS_IO: &[&str] = &[
    "net",
    "ila",
    "siit",
    "mapping",
    "table",
    "path",
    "node/announce.rs",
    "node/control",
    "node/membership.rs",
    "node/membership",
    "node/neighbour.rs",
    "node/neighbour",
    "node/quarantine.rs",
    "node/rib",
    "node/waiting.rs",
    "nva/authority",
    "nva/authority.rs",
    "nva/bucket.rs",
    "nva/cache.rs",
    "nva/client",
    "nva/client.rs",
    "nva/codec.rs",
    "nva/commits.rs",
    "nva/convergence.rs",
    "nva/event.rs",
    "nva/follower.rs",
    "nva/interest.rs",
    "nva/log.rs",
    "nva/message.rs",
    "nva/model.rs",
    "nva/registry.rs",
    "nva/session.rs",
    "nva/throttle.rs",
];

/// What a sans-io file must not name.
const FORBIDDEN: &[&str] = &[
    "tokio",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixListener",
    "UnixStream",
    "UnixDatagram",
    "Instant",
    "SystemTime",
    ".elapsed()",
    "std::thread",
    "std::fs",
    "rand::",
    "RandomState",
    "std::process",
];

/// Forbidden words that a text holds, with their lines; comments do not count.
fn forbidden(text: &str) -> Vec<String> {
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.split("//").next().unwrap_or("")));
    lines
        .flat_map(|(n, line)| {
            let found = FORBIDDEN.iter().filter(move |word| holds(line, word));
            found.map(move |word| format!("{n}: {word}"))
        })
        .collect()
}

/// Whether a line holds `word` as a whole: `Instant` is not in `Instantiate`, nor `tokio` in `tokio_like`.
fn holds(line: &str, word: &str) -> bool {
    let named = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
        let (first, last) = (word.chars().next(), word.chars().next_back());
        !(named(before) && named(first) || named(after) && named(last))
    })
}

#[test]
fn sans_io_files_name_no_clock_socket_thread_file_or_chance() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for place in SANS_IO {
        let path = root.join(place);
        let mut files = Vec::new();
        if path.is_dir() {
            sources(&path, &mut files);
        } else {
            files.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
        assert!(!files.is_empty(), "{place} holds no source");
        // Tests write the files that a reload reads.
        for (file, text) in files.into_iter().filter(|(file, _)| !file.contains("/tests")) {
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
            wrong.extend(forbidden(code).into_iter().map(|found| format!("{file}:{found}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn forbidden_names_are_found_in_code_and_not_in_comments() {
    let planted = "use std::time::Instant; // tokio\nlet now = std::time::SystemTime::now();\nuse tokio::sync::mpsc;\n\
                   let n = rand::random(); std::fs::read(p)\nInstantiate(tokio_like, operand::x) /* */\n";
    let found = ["1: Instant", "2: SystemTime", "3: tokio", "4: std::fs", "4: rand::"];
    assert_eq!(forbidden(planted), found);
    for word in FORBIDDEN {
        assert_eq!(forbidden(&format!("let x = {word};")).len(), 1, "{word}");
    }
}
