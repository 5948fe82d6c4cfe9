//! Makes a copy of `src/table/rcu.rs` that takes its `Arc`, `Mutex` and atomics from this package instead of `std`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

const FILE: &str = "../../src/table/rcu.rs";
/// What is put in place of what; each stands in the file once.
const IMPORTS: [(&str, &str); 2] = [
    ("use std::sync::atomic::{AtomicU64, Ordering};", "use crate::sync::{AtomicU64, Ordering};"),
    ("use std::sync::{Arc, Mutex, PoisonError};", "use crate::sync::{Arc, Mutex, PoisonError};"),
];

fn main() {
    println!("cargo::rerun-if-changed={FILE}");
    let text = std::fs::read_to_string(FILE).expect("src/table/rcu.rs");
    // A file that is included may not begin with `//!`.
    let mut text = text.replace("\n//!", "\n//").replacen("//!", "//", 1);
    for (from, to) in IMPORTS {
        assert_eq!(text.matches(from).count(), 1, "{FILE} imports what no model replaces: {from}");
        text = text.replace(from, to);
    }
    assert_eq!(text.matches("std::sync").count(), 0, "{FILE} uses more of std::sync than the model replaces");
    let folder = std::env::var("OUT_DIR").expect("set by cargo");
    std::fs::write(Path::new(&folder).join("rcu.rs"), text).expect("a file in OUT_DIR");
}
