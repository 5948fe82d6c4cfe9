//! Imports point one way. Every path `crate::…` of every source file is held against the layers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::Path;

/// Which layers each layer may see, besides itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("net", &[]),
    ("ila", &["net"]),
    ("siit", &["net", "ila"]),
    ("table", &["net", "ila", "siit"]),
    ("path", &["net", "ila", "siit", "table"]),
    ("dpdk", &["net", "table", "path"]),
    ("config", &["net", "ila"]),
    ("node", &["net", "ila", "siit", "table", "path", "dpdk", "config"]),
    // What `ilactl` is made of: speaks the admin API, never touches the data plane.
    ("ctl", &["net", "ila", "config", "node"]),
];

/// Names that a text reaches through `crate::`, in `use` lines, groups and inline paths; comments do not count.
fn reached(text: &str) -> BTreeSet<String> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
    let name = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = code[at + "crate::".len()..].trim_start();
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(name(rest));
            continue;
        };
        // A group: the first name of each entry at depth 1.
        let (mut depth, mut entry) = (1, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => entry = true,
                c if entry && c.is_alphabetic() => {
                    found.insert(name(&group[at..]));
                    entry = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found.remove("");
    found
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
    for (layer, below) in LAYERS {
        let mut files = Vec::new();
        if root.join(layer).is_dir() {
            sources(&root.join(layer), &mut files);
        }
        for (file, text) in files {
            seen += 1;
            for name in reached(&text) {
                let layered = LAYERS.iter().any(|(other, _)| *other == name);
                if name != *layer && (!layered || !below.contains(&name.as_str())) {
                    wrong.push(format!("{file}: {layer} must not see {name}"));
                }
            }
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
    let text = "use crate::net::Mac;\nuse crate::{ila::{self, Locator}, table};\nlet x = crate::path::BURST; // crate::node\n";
    let wanted: Vec<&str> = vec!["ila", "net", "path", "table"];
    assert_eq!(reached(text).iter().map(String::as_str).collect::<Vec<_>>(), wanted);
}

/// Files and folders that only turn inputs into outputs: who calls them owns clocks, sockets, threads and files.
const SANS_IO: &[&str] = &[
    "net",
    "ila",
    "siit",
    "node/announce.rs",
    "node/control",
    "node/membership.rs",
    "node/membership",
    "node/neighbour.rs",
    "node/neighbour",
    "node/quarantine.rs",
    "node/rib",
    "node/waiting.rs",
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
        !(named(before) && named(first)) && !(named(after) && named(last))
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
