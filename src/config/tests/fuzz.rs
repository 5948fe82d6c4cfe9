//! No bytes panic, and what is accepted is whole.

use super::{LINES, right};
use crate::config::{Config, mappings};
use proptest::prelude::*;

/// A valid text with some characters replaced.
fn damaged(base: &'static str) -> impl Strategy<Value = String> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), "[ -~\n\t\u{e9}\u{0}]{0,3}"), 1..6);
    edits.prop_map(move |edits| {
        let mut text: Vec<char> = base.chars().collect();
        for (at, with) in edits {
            let at = at.index(text.len());
            text.splice(at..at + 1, with.chars());
            text.push('\n');
        }
        text.into_iter().collect()
    })
}

const MAPPINGS: &str = "mappings:\n  - {sir: \"2001:db8:dddd:0:2000::1\", locators: [\"fd00:1:0:2::/64\"]}\n  - {sir: \"2001:db8:dddd:0:2000::2\", blackhole: true}\n  - sir: '2001:db8:dddd:0:2000::3'\n    locators: [{locator: 'fd00:1:0:2::/64', weight: 3}]\n";

/// Every error of every outcome can be shown and has a place.
fn shown<T>(outcome: Result<T, crate::config::ConfigErrors>) {
    if let Err(errors) = outcome {
        assert!(!errors.errors().is_empty());
        for error in errors.errors() {
            assert!(error.line > 0 && error.column > 0 && !error.message.is_empty());
            assert!(!error.to_string().contains('\n'));
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        shown(Config::parse(&text, "f"));
        shown(mappings::parse(&text, "f", &right(LINES[0].1)));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes);
        shown(Config::parse(&text, "f"));
        shown(mappings::parse(&text, "f", &right(LINES[0].1)));
    }

    #[test]
    fn a_damaged_reference_never_panics(text in damaged(include_str!("../../../dpdk-config/reference.yaml"))) {
        shown(Config::parse(&text, "f"));
    }

    #[test]
    fn damaged_mappings_never_panic(text in damaged(MAPPINGS)) {
        shown(mappings::parse(&text, "f", &right(LINES[0].1)));
    }
}

#[test]
fn deep_nesting_and_alias_bombs_are_refused() {
    let mut bomb = String::from("a: &a [x]\n");
    for c in b'b'..=b'k' {
        let (this, last) = (char::from(c), char::from(c - 1));
        bomb += &format!("{this}: &{this} [{}]\n", vec![format!("*{last}"); 9].join(", "));
    }
    for text in [
        "[".repeat(100_000),
        format!("ports: {}", "[".repeat(100_000)),
        format!("mappings: {}", "[".repeat(100_000)),
        format!("mappings: [{{locators: {}", "{locator: ".repeat(100_000)),
        "? ".repeat(100_000),
        "- ".repeat(100_000),
        format!("mappings:\n{bomb}"),
        bomb,
    ] {
        assert!(Config::parse(&text, "f").is_err());
        assert!(mappings::parse(&text, "f", &right(LINES[0].1)).is_err());
        shown(Config::parse(&text, "f"));
    }
}
