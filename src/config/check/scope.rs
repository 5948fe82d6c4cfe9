//! Reading scalars within one mapping of the file, with errors that know place and path.

use super::super::error::{ConfigError, ConfigErrors};
use super::super::raw::{List, Text};
use crate::net::Mac;
use serde_saphyr::{Location, Spanned};
use std::collections::HashMap;
use std::fmt::{self, Display};
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Most errors kept of one file.
const MAX_ERRORS: usize = 1000;

/// An error, and the place in the list of the authority's entries of the one that it stands in.
pub(crate) type Blamed = (Option<usize>, ConfigError);

/// Entries of an authority behind those of a section of the file.
#[derive(Default)]
pub(crate) struct Appended {
    /// How many entries the file has there.
    pub(crate) from: usize,
    /// Place in the list of all entries of the authority, and name.
    pub(crate) entries: Vec<(usize, String)>,
}

/// The errors of one file as they are found.
pub(crate) struct Check {
    file: String,
    errors: Vec<Blamed>,
    /// Entries beyond a limit of how many there may be.
    beyond: Vec<Blamed>,
    /// By section.
    appended: HashMap<&'static str, Appended>,
}

impl Check {
    pub(crate) fn new(file: &str) -> Self {
        Self::with(file, HashMap::new())
    }

    /// For a file with entries of an authority behind its own.
    pub(crate) fn with(file: &str, appended: HashMap<&'static str, Appended>) -> Self {
        Check { file: file.to_owned(), errors: Vec::new(), beyond: Vec::new(), appended }
    }

    /// Notes an error.
    pub(crate) fn error(&mut self, at: Location, path: String, message: String) {
        self.blame(None, at, path, message);
    }

    fn blame(&mut self, object: Option<usize>, at: Location, path: String, message: String) {
        if self.errors.len() < MAX_ERRORS {
            let (line, column) = (at.line().max(1), at.column().max(1));
            self.errors.push((object, ConfigError { file: self.file.clone(), line, column, path, message }));
        }
    }

    /// Reads the mapping at `path`, which starts at `at`.
    pub(crate) fn scope(&mut self, path: impl Into<Path>, at: Location) -> Scope<'_> {
        Scope { check: self, path: path.into(), at, object: None }
    }

    /// Reads entry `n` of a section to which an authority may add.
    pub(crate) fn entry(&mut self, section: &'static str, n: usize, at: Location) -> Scope<'_> {
        let appended = self.appended.get(section);
        let appended = appended.and_then(|list| list.entries.get(n.checked_sub(list.from)?));
        let (object, path) = match appended {
            Some((object, name)) => (Some(*object), format!("{section}[{name}]")),
            None => (None, format!("{section}[{n}]")),
        };
        Scope { check: self, path: Path::Text(path), at, object }
    }

    /// `Ok` if nothing was wrong.
    pub(crate) fn finish(self) -> Result<(), ConfigErrors> {
        ConfigErrors::check(self.errors.into_iter().chain(self.beyond).map(|(_, error)| error).collect())
    }

    /// What was wrong. Nothing is beyond a limit for the sake of entries that are wrong themselves: those go first.
    pub(crate) fn errors(self) -> Vec<Blamed> {
        if self.errors.is_empty() { self.beyond } else { self.errors }
    }
}

/// The path of a mapping of the file; those that come by the million are written out only for an error.
pub(crate) enum Path {
    Text(String),
    /// `mappings[n]`
    Mapping(usize),
    /// `mappings[n].locators[m]`
    Locator(usize, usize),
}

impl From<&str> for Path {
    fn from(text: &str) -> Self {
        Path::Text(text.to_owned())
    }
}

impl From<String> for Path {
    fn from(text: String) -> Self {
        Path::Text(text)
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Text(text) => f.write_str(text),
            Path::Mapping(n) => write!(f, "mappings[{n}]"),
            Path::Locator(n, m) => write!(f, "mappings[{n}].locators[{m}]"),
        }
    }
}

/// One mapping of the file.
pub(crate) struct Scope<'c> {
    check: &'c mut Check,
    path: Path,
    at: Location,
    /// Place in the list of the authority's entries, if it is one.
    object: Option<usize>,
}

impl Scope<'_> {
    /// The path of a key of this mapping; a list entry is `identifiers[0]`, the mapping itself the empty key.
    pub(crate) fn key(&self, key: &str) -> String {
        if key.is_empty() { self.path.to_string() } else { format!("{}.{key}", self.path) }
    }

    /// Whether an authority added this entry to the file.
    pub(crate) fn is_appended(&self) -> bool {
        self.object.is_some()
    }

    /// Notes an error at a value.
    pub(crate) fn error(&mut self, key: &str, at: Location, message: impl Into<String>) {
        let path = self.key(key);
        self.check.blame(self.object, at, path, message.into());
    }

    /// Notes an error at the mapping itself.
    pub(crate) fn error_here(&mut self, key: &str, message: impl Into<String>) {
        self.error(key, self.at, message);
    }

    /// Notes that this entry of a list is beyond the limit of how many there may be. Of a file's own the first one is
    /// told, of an authority's each: all of those are left out at once.
    pub(crate) fn beyond(&mut self, message: impl Into<String>) {
        let Scope { check, path, at, object } = self;
        if object.is_some() || check.beyond.is_empty() {
            let (line, column) = (at.line().max(1), at.column().max(1));
            let (file, path, message) = (check.file.clone(), path.to_string(), message.into());
            check.beyond.push((*object, ConfigError { file, line, column, path, message }));
        }
    }

    /// Reads the mapping under a key of this one.
    pub(crate) fn below(&mut self, key: &str, at: Location) -> Scope<'_> {
        let path = Path::Text(self.key(key));
        Scope { check: &mut *self.check, path, at, object: self.object }
    }

    /// How many errors the file has so far.
    pub(crate) fn count(&self) -> usize {
        self.check.errors.len()
    }

    /// A key that must be there.
    pub(crate) fn required<'r>(
        &mut self,
        key: &str,
        field: &'r Option<Text>,
        example: &str,
    ) -> Option<&'r Text> {
        if field.is_none() {
            self.error_here(key, format!("missing; write for example `{key}: {example}`"));
        }
        field.as_ref()
    }

    /// A required value of a type that can say what is wrong with a text.
    pub(crate) fn value<T: FromStr<Err: Display>>(
        &mut self,
        key: &str,
        field: &Option<Text>,
        example: &str,
    ) -> Option<T> {
        let text = self.required(key, field, example)?;
        self.parse(key, text)
    }

    /// A value of a type that can say what is wrong with a text.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&mut self, key: &str, text: &Text) -> Option<T> {
        match text.value.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.error(key, text.referenced, format!("{error}"));
                None
            }
        }
    }

    /// A decimal number within limits, or its default.
    pub(crate) fn number<T>(
        &mut self,
        key: &str,
        field: &Option<Text>,
        limits: RangeInclusive<T>,
        default: T,
    ) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        field.as_ref().and_then(|text| self.within(key, text, limits)).unwrap_or(default)
    }

    /// A decimal number within limits.
    pub(crate) fn within<T>(&mut self, key: &str, text: &Text, limits: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let digits = text.value.bytes().all(|c| c.is_ascii_digit());
        // YAML 1.1 reads 0100 as 64 and YAML 1.2 as 100: whoever wrote it may mean either.
        if digits && text.value.len() > 1 && text.value.starts_with('0') {
            let decimal = text.value.trim_start_matches('0');
            let decimal = if decimal.is_empty() { "0" } else { decimal };
            let message =
                format!("`{}` begins with 0 and may be octal; write {decimal} if it is decimal", text.value);
            self.error(key, text.referenced, message);
            return None;
        }
        let number = text.value.parse().ok().filter(|number| digits && limits.contains(number));
        if number.is_none() {
            let (low, high) = limits.into_inner();
            let message = format!("`{}` is not a number from {low} to {high}; choose one", text.value);
            self.error(key, text.referenced, message);
        }
        number
    }

    /// `true` or `false`, or the default.
    pub(crate) fn flag(&mut self, key: &str, field: &Option<Text>, default: bool) -> bool {
        self.choice(key, field, &[("true", true), ("false", false)], default)
    }

    /// One of several words, or the default.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        key: &str,
        field: &Option<Text>,
        words: &[(&str, T)],
        default: T,
    ) -> T {
        let Some(text) = field else { return default };
        match words.iter().find(|(word, _)| *word == text.value) {
            Some((_, value)) => *value,
            None => {
                let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                let message = format!("`{}` is not known; write one of {}", text.value, known.join(", "));
                self.error(key, text.referenced, message);
                default
            }
        }
    }

    /// A required name of 1 to 32 characters that pass `allowed`, which `wording` describes.
    pub(crate) fn name(
        &mut self,
        key: &str,
        field: &Option<Text>,
        example: &str,
        (allowed, wording): (fn(u8) -> bool, &str),
    ) -> Option<String> {
        let text = self.required(key, field, example)?;
        let name = &text.value;
        if !(1..=32).contains(&name.len()) || !name.bytes().all(allowed) {
            let message = format!("`{name}` is not a name; use 1 to 32 characters of {wording}");
            self.error(key, text.referenced, message);
            return None;
        }
        Some(name.clone())
    }
}

/// The entries of a list, none if the list is not there.
pub(super) fn entries<T>(list: &List<T>) -> impl Iterator<Item = (usize, &Spanned<T>)> {
    list.iter().flat_map(|list| list.value.iter()).enumerate()
}

/// A required MAC address of one interface: neither a group's nor zero.
pub(super) fn unicast_mac(s: &mut Scope<'_>, key: &str, field: &Option<Text>) -> Option<Mac> {
    let mac: Mac = s.value(key, field, "\"02:00:00:00:00:0a\"")?;
    let text = field.as_ref()?;
    let kind = if mac.is_multicast() { "a group address" } else { "no address" };
    if mac.is_multicast() || mac == Mac::ZERO {
        let message = format!("{mac} is {kind}; write the unicast address of the interface");
        s.error(key, text.referenced, message);
        return None;
    }
    Some(mac)
}

/// The rule of names of nodes.
pub(crate) const STRICT: (fn(u8) -> bool, &str) =
    (|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-', "a-z, 0-9 and -");
/// The rule of all other names.
pub(crate) const WORD: (fn(u8) -> bool, &str) =
    (|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'), "a-z, A-Z, 0-9, -, _ and .");

/// What was seen before, and where.
#[derive(Debug)]
pub(crate) struct Seen<K>(HashMap<K, (String, u64)>);

impl<K> Default for Seen<K> {
    fn default() -> Self {
        Seen(HashMap::new())
    }
}

impl<K: Hash + Eq> Seen<K> {
    pub(crate) fn new() -> Self {
        Seen(HashMap::new())
    }

    /// Where `key` was seen before, as `ports[0].name (line 3)`; notes it if it is new.
    pub(crate) fn before(&mut self, key: K, path: &str, at: Location) -> Option<String> {
        if let Some(before) = self.place(&key) {
            return Some(before);
        }
        self.0.insert(key, (path.to_owned(), at.line()));
        None
    }

    /// `key` is there no longer.
    pub(crate) fn forget(&mut self, key: &K) {
        self.0.remove(key);
    }

    /// Where `key` was seen.
    pub(crate) fn place(&self, key: &K) -> Option<String> {
        self.0.get(key).map(|(path, line)| format!("{path} (line {line})"))
    }
}
