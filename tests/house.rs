//! Files of a layer import one another without circles. The arrows are the paths of `use` lines and of the
//! code; a name that a module only hands on leads to the file that defines it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

/// Layers whose files are looked at.
const LAYERS: &[&str] = &["api", "config", "ctl", "mapping", "nva", "path"];

/// Circles that stay: their files, and the sentence that defends them at the top of one of these.
const DEFENDED: &[(&[&str], &str)] = &[];

/// One source file, without comments and tests.
struct File {
    /// As below `src`, for example `config/check/mod.rs`.
    name: String,
    /// The module that it is, for example `config`, `check`.
    module: Vec<String>,
    /// The text at the top, `//!` lines joined.
    head: String,
    code: String,
    /// Names that `use` lines bind, with their paths; a glob binds `*`.
    uses: Vec<(String, Vec<String>)>,
    /// Names of items at the left margin.
    items: BTreeSet<String>,
}

const KINDS: &[&str] = &["fn", "struct", "enum", "trait", "type", "const", "static", "union"];

impl File {
    fn read(name: &str, text: &str) -> File {
        let mut module: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        let heads = text.lines().map_while(|line| line.strip_prefix("//!"));
        let head = heads.map(str::trim).collect::<Vec<_>>().join(" ");
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
        let lines: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or("")).collect();
        let mut items = BTreeSet::new();
        for line in &lines {
            let mut words =
                line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
            if line.starts_with(|c: char| c.is_lowercase())
                && words.by_ref().take(5).any(|word| KINDS.contains(&word))
                && let Some(item) = words.find(|word| !KINDS.contains(word))
            {
                items.insert(item.to_owned());
            }
        }
        let (mut uses, mut code, mut rest) = (Vec::new(), String::new(), lines.join("\n"));
        while let Some(at) = next_use(&rest) {
            let end = rest[at..].find(';').map_or(rest.len(), |end| at + end);
            let start = at + rest[at..].find("use ").unwrap_or(0) + "use ".len();
            flatten(&[], &rest[start..end], &mut uses);
            code.push_str(&rest[..at]);
            rest = rest[end..].to_owned();
        }
        code.push_str(&rest);
        File { name: name.to_owned(), module, head, code, uses, items }
    }
}

/// Where the next `use` line begins.
fn next_use(text: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_start();
        let bare = bare.strip_prefix("pub ").unwrap_or(bare);
        let bare = match bare.strip_prefix("pub(") {
            Some(scoped) => scoped.split_once(") ").map_or(bare, |(_, rest)| rest),
            None => bare,
        };
        if bare.starts_with("use ") {
            return Some(at);
        }
        at += line.len();
    }
    None
}

/// The paths of one `use` tree, each with the name that it binds.
fn flatten(before: &[String], tree: &str, into: &mut Vec<(String, Vec<String>)>) {
    let tree = tree.trim();
    if let Some((path, group)) = tree.split_once('{') {
        let mut before = before.to_vec();
        before.extend(path.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned));
        let group = group.trim_end().strip_suffix('}').unwrap_or(group);
        let (mut depth, mut start) = (0, 0);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    flatten(&before, &group[start..at], into);
                    start = at + 1;
                }
                _ => {}
            }
        }
        return flatten(&before, &group[start..], into);
    }
    if tree.is_empty() {
        return;
    }
    let (path, alias) =
        tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias.trim())));
    let mut parts = before.to_vec();
    parts.extend(path.trim().split("::").map(|part| part.trim().to_owned()));
    if !before.is_empty() && parts.last().is_some_and(|last| last == "self") {
        parts.pop();
    }
    let name = alias.map(str::to_owned).or_else(|| parts.last().cloned()).unwrap_or_default();
    into.push((name, parts));
}

/// The files of one layer.
struct Layer {
    files: Vec<File>,
    modules: BTreeMap<Vec<String>, usize>,
}

impl Layer {
    fn new(files: Vec<File>) -> Layer {
        let modules = files.iter().enumerate().map(|(n, file)| (file.module.clone(), n)).collect();
        Layer { files, modules }
    }

    /// The file that a path leads to from the module `from`; none for one that leaves the layer.
    fn resolve(&self, from: &[String], path: &[String], depth: usize) -> Option<usize> {
        let mut at = from.to_vec();
        let mut path: VecDeque<&str> = path.iter().map(String::as_str).collect();
        match *path.front()? {
            "crate" => {
                path.pop_front();
                at.clear();
            }
            "self" => {
                path.pop_front();
            }
            "super" => {
                while path.front() == Some(&"super") {
                    path.pop_front();
                    at.pop();
                }
            }
            first => {
                let mut child = at.clone();
                child.push(first.to_owned());
                if !self.modules.contains_key(&child) {
                    return None;
                }
            }
        }
        while let Some(part) = path.pop_front() {
            at.push(part.to_owned());
            if self.modules.contains_key(&at) {
                continue;
            }
            at.pop();
            let file = *self.modules.get(&at)?;
            return Some(self.defines(file, part, depth).unwrap_or(file));
        }
        self.modules.get(&at).copied()
    }

    /// The file that defines what `file` calls `name`; none if it comes from outside, or if nobody is known
    /// to.
    fn defines(&self, file: usize, name: &str, depth: usize) -> Option<usize> {
        let found = &self.files[file];
        if found.items.contains(name) {
            return Some(file);
        }
        // Globs may lead in a circle themselves.
        if depth > 8 || name == "*" {
            return None;
        }
        if let Some((_, path)) = found.uses.iter().find(|(bound, _)| bound == name) {
            return self.resolve(&found.module, path, depth + 1);
        }
        let globs = found.uses.iter().filter(|(bound, _)| bound == "*");
        globs
            .filter_map(|(_, path)| self.resolve(&found.module, &path[..path.len() - 1], depth + 1))
            .find_map(|module| {
                let by = self.defines(module, name, depth + 1)?;
                self.files[by].items.contains(name).then_some(by)
            })
    }

    /// The files that each file imports from.
    fn arrows(&self) -> Vec<BTreeSet<usize>> {
        let all = self.files.iter().enumerate().map(|(n, file)| {
            let mut to: BTreeSet<usize> =
                file.uses.iter().filter_map(|(_, path)| self.resolve(&file.module, path, 0)).collect();
            to.extend(paths(&file.code).iter().filter_map(|path| self.resolve(&file.module, path, 0)));
            to.remove(&n);
            to
        });
        all.collect()
    }

    /// The circles: sets of files that all reach each other.
    fn circles(&self, arrows: &[BTreeSet<usize>]) -> Vec<BTreeSet<&str>> {
        let reach: Vec<BTreeSet<usize>> = (0..arrows.len())
            .map(|from| {
                let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
                while let Some(n) = next.pop() {
                    next.extend(arrows[n].iter().copied().filter(|to| seen.insert(*to)));
                }
                seen
            })
            .collect();
        let mut circles = BTreeSet::new();
        for from in 0..arrows.len() {
            let circle = reach[from].iter().filter(|to| reach[**to].contains(&from));
            let circle: BTreeSet<&str> = circle.map(|n| self.files[*n].name.as_str()).collect();
            if !circle.is_empty() {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }
}

/// All paths of several parts in a text, each once. How far an item is visible is no import.
fn paths(code: &str) -> BTreeSet<Vec<String>> {
    let mut parts = code.split("pub(in ");
    let first = parts.next().unwrap_or("");
    let code: String =
        [first].into_iter().chain(parts.filter_map(|part| Some(part.split_once(')')?.1))).collect();
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(|c: char| !word(c)).filter(|word| word.contains("::"));
    let parts = |word: &str| word.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
    words.map(parts).collect()
}

/// What is wrong with the circles of some files.
fn judge(files: Vec<File>, defended: &[(&[&str], &str)]) -> Vec<String> {
    let layer = Layer::new(files);
    let arrows = layer.arrows();
    let circles = layer.circles(&arrows);
    let mut wrong = Vec::new();
    let within = |circle: &BTreeSet<&str>, files: &[&str]| circle.iter().all(|file| files.contains(file));
    for circle in &circles {
        if !defended.iter().any(|(files, _)| within(circle, files)) {
            let mut lines = vec![format!("{} files import one another in a circle:", circle.len())];
            for (n, file) in
                layer.files.iter().enumerate().filter(|(_, file)| circle.contains(file.name.as_str()))
            {
                let to = arrows[n].iter().map(|to| layer.files[*to].name.as_str());
                let to: Vec<&str> = to.filter(|to| circle.contains(to)).collect();
                lines.push(format!("  {} from {}", file.name, to.join(", ")));
            }
            wrong.push(lines.join("\n"));
        }
    }
    for (files, _) in defended {
        if !circles.iter().any(|circle| within(circle, files)) {
            wrong.push(format!("no circle among {} any more; remove the entry", files.join(", ")));
        }
    }
    for (files, sentence) in defended {
        let heads = layer.files.iter().filter(|file| files.contains(&file.name.as_str()));
        if !heads.into_iter().any(|file| file.head.contains(sentence)) {
            wrong.push(format!("none of {} says at its top: {sentence}", files.join(", ")));
        }
    }
    wrong
}

fn sources(root: &Path, folder: &Path, into: &mut Vec<File>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            sources(root, &path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            into.push(File::read(&name, &std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn no_files_of_a_layer_import_one_another_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for layer in LAYERS {
        let before = files.len();
        sources(&root, &root.join(layer), &mut files);
        assert!(files.len() > before, "{layer} has no files");
    }
    let wrong = judge(files, DEFENDED);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn planted(files: &[(&str, &str)]) -> Vec<File> {
    files.iter().map(|(name, text)| File::read(name, text)).collect()
}

#[test]
fn a_planted_circle_is_found_through_use_lines_groups_globs_and_code() {
    let back = [
        "use super::a::A;\npub struct B;\n",
        "use crate::x::{\n    a::{A as Other},\n};\npub struct B;\n",
        "use super::A;\npub struct B;\n",
        "use super::*;\npub struct B(A);\n",
        "pub struct B;\nfn f() -> super::a::A { crate::x::a::A }\n",
    ];
    for (n, back) in back.iter().enumerate() {
        let hub = "mod a;\nmod b;\npub use a::*;\npub use b::B;\n";
        // A glob leads to the hub, which is then part of the circle.
        let files =
            planted(&[("x/mod.rs", hub), ("x/a.rs", "use super::b::B;\npub struct A;\n"), ("x/b.rs", back)]);
        let wrong = judge(files, &[]);
        assert_eq!(wrong.len(), 1, "case {n}: {wrong:?}");
        assert!(
            wrong[0].contains("x/a.rs from") && wrong[0].contains("x/b.rs from"),
            "case {n}: {}",
            wrong[0]
        );
    }
}

#[test]
fn a_module_that_hands_names_on_makes_no_circle_and_one_that_defines_them_does() {
    let leaf = "use super::A;\npub struct B(A);\n";
    let other = ("x/a.rs", "pub struct A;\n");
    let handed =
        planted(&[("x/mod.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B;\n"), other, ("x/b.rs", leaf)]);
    assert_eq!(judge(handed, &[]), Vec::<String>::new());
    let defined = planted(&[("x/mod.rs", "mod b;\npub use b::B;\npub struct A;\n"), ("x/b.rs", leaf)]);
    assert_eq!(judge(defined, &[]).len(), 1);
}

#[test]
fn comments_tests_and_other_layers_are_no_arrows() {
    let a = "//! See `super::b`.\nuse crate::net::Mac;\nuse std::fmt;\npub struct A; // super::b::B\n\
             #[cfg(test)]\nmod tests {\n    use super::super::b::B;\n}\n";
    let files = planted(&[("x/mod.rs", "mod a;\nmod b;\n"), ("x/a.rs", a), ("x/b.rs", "use super::a::A;\n")]);
    assert_eq!(judge(files, &[]), Vec::<String>::new());
}

#[test]
fn a_circle_stays_only_with_its_sentence_and_no_entry_outlives_its_circle() {
    let circle = || {
        planted(&[
            ("x/a.rs", "//! Needs b\n//! for a reason.\nuse super::b::B;\npub struct A;\n"),
            ("x/b.rs", "use super::a::A;\npub struct B;\n"),
        ])
    };
    let both: &[&str] = &["x/a.rs", "x/b.rs"];
    assert_eq!(judge(circle(), &[(both, "Needs b for a reason.")]), Vec::<String>::new());
    assert_eq!(judge(circle(), &[(both, "Another.")]).len(), 1);
    assert_eq!(judge(circle(), &[(&["x/a.rs"], "Needs b for a reason.")]).len(), 2);
    assert_eq!(
        judge(planted(&[("x/a.rs", "//! Another.\npub struct A;\n")]), &[(both, "Another.")]).len(),
        1
    );
}
