//! From text to raw structs, and from the parser's refusals to our errors.

use super::error::{ConfigError, ConfigErrors};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Error, Location, MessageFormatter, Options, Spanned, UserMessageFormatter};
use std::fmt;

/// Deepest nesting of a file; ours need half of it, and deeper recursion could exhaust the stack.
const MAX_DEPTH: usize = 16;

/// Most nodes that aliases may repeat.
const MAX_REPLAYED: usize = 100_000;

/// Options of the parser: `on` is a word, not a truth value; excerpts are left to the caller.
///
/// A long list is honest work, so only what grows without being written (depth, aliases, merges) keeps its
/// limits.
fn options() -> Options {
    let mut options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        emit_comments: false,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
    };
    if let Some(budget) = options.budget.as_mut() {
        budget.max_depth = MAX_DEPTH;
        budget.flow_nesting_limit = MAX_DEPTH;
        budget.max_events = usize::MAX;
        budget.max_nodes = usize::MAX;
        budget.max_total_scalar_bytes = usize::MAX;
    }
    options
}

/// Reads `text` as `T`; an error carries place, path and way out.
pub(super) fn read<'t, T: Deserialize<'t>>(text: &'t str, file: &str) -> Result<T, ConfigErrors> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| refusal(text, file, &error))
}

/// Our words for what the parser refuses.
fn refusal(text: &str, file: &str, error: &Error) -> ConfigErrors {
    let mut inner = error;
    while let Error::AliasError { error, .. } | Error::WithSnippet { error, .. } = inner {
        inner = error;
    }
    let (line, column) = error.location().map_or((1, 1), |at| (at.line().max(1), at.column().max(1)));
    let message = match inner {
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("unknown key `{field}`; known here: {}", expected.join(", "))
        }
        Error::DuplicateMappingKey { .. } => "the key stands here twice; remove one".to_owned(),
        Error::NullIntoString { .. } => "an empty value; write one or remove the entry".to_owned(),
        other => format!("{}; correct the YAML here", UserMessageFormatter.format_message(other)),
    };
    let path = path_at(text, line, column).unwrap_or_default();
    ConfigErrors::one(ConfigError { file: file.to_owned(), line, column, path, message })
}

/// A document as a tree of places; only built to say where an error is.
enum Tree {
    Leaf,
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Places;

        /// A scalar of any kind is a leaf.
        macro_rules! leaves {
            ($($visit:ident: $type:ty),*) => { $(
                fn $visit<E>(self, _: $type) -> Result<Tree, E> { Ok(Tree::Leaf) }
            )* };
        }

        impl<'de> Visitor<'de> for Places {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            leaves!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128,
                    visit_f64: f64, visit_str: &str, visit_bytes: &[u8]);

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_none<E>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Tree, D::Error> {
                Tree::deserialize(inner)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
                let mut list = Vec::new();
                while let Some(entry) = entries.next_element()? {
                    list.push(entry);
                }
                Ok(Tree::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Tree::Map(map))
            }
        }

        deserializer.deserialize_any(Places)
    }
}

/// The path of what stands at a line and column; `None` if the text is no YAML or nothing starts there.
fn path_at(text: &str, line: u64, column: u64) -> Option<String> {
    let mut options = options();
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    let root: Spanned<Tree> = serde_saphyr::from_str_with_options(text, options).ok()?;
    let mut path = String::new();
    find(&root, line, column, &mut path).then_some(path)
}

/// Whether the node or one below it starts at the place; then `path` leads to it.
fn find(node: &Spanned<Tree>, line: u64, column: u64, path: &mut String) -> bool {
    let here = |at: Location| at.line() == line && at.column() == column;
    let length = path.len();
    match &node.value {
        Tree::Leaf => {}
        Tree::List(list) => {
            for (n, entry) in list.iter().enumerate() {
                path.push_str(&format!("[{n}]"));
                if find(entry, line, column, path) {
                    return true;
                }
                path.truncate(length);
            }
        }
        Tree::Map(map) => {
            for (key, entry) in map {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(&key.value);
                if here(key.referenced) || find(entry, line, column, path) {
                    return true;
                }
                path.truncate(length);
            }
        }
    }
    here(node.referenced)
}
