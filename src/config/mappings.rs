//! The mapping file: which locators the identifiers of other nodes have.
//!
//! Programs write such files, of up to millions of lines. Lines in the plainest shape are read directly
//! (`plain`). At the first line of any other shape, and at anything that is wrong, the whole file goes
//! through the YAML parser instead (`judge`): it knows places and says what is wrong. A test holds the two
//! against each other.

mod judge;
mod location;
mod plain;
mod raw;
mod single;
mod written;

pub use single::{Rules, Written};
pub use written::WrittenMapping;

use super::check::{Check, KeyPath};
use super::error::ConfigErrors;
use super::file::{self, Fingerprint};
use super::model::{Config, MappingFile};
use super::yaml;
use crate::mapping::MappingRecord;
use raw::{RawFile, choice};
use std::path::Path;

/// Reads and judges a mapping file against the configuration that names it. Gives its mappings and the state in
/// which the file was read.
///
/// # Errors
/// Every broken rule with its place (the first 1000 of them), YAML that cannot be read, or a file that cannot
/// be read: no regular file, more than [`MappingFile::max_bytes`], or a file system that does not answer.
pub fn read(
    path: impl AsRef<Path>,
    config: &Config,
) -> Result<(Vec<MappingRecord>, Fingerprint), ConfigErrors> {
    let path = path.as_ref();
    let max_bytes = config.mappings.as_ref().map_or(MappingFile::MAX_BYTES, |file| file.max_bytes);
    let (text, seen) = file::read(path, max_bytes, "raise mappings.max_bytes")?;
    Ok((parse(&text, &path.display().to_string(), config)?, seen))
}

/// Reads and judges a mapping file as [`read`] does, for who does not watch it.
///
/// # Errors
/// Those of [`read`].
pub fn load(path: impl AsRef<Path>, config: &Config) -> Result<Vec<MappingRecord>, ConfigErrors> {
    read(path, config).map(|(records, _)| records)
}

/// Judges mappings that are already text; `file_name` stands in the errors.
///
/// # Errors
/// Every broken rule with its place (the first 1000 of them), or YAML that cannot be read.
pub fn parse(text: &str, file_name: &str, config: &Config) -> Result<Vec<MappingRecord>, ConfigErrors> {
    match plain::read(text, config) {
        Some(records) => Ok(records),
        None => judge::through_yaml(text, file_name, config),
    }
}

/// Reads a mapping file without a configuration: a node will judge what it says.
///
/// # Errors
/// Unknown keys, values that are no locator or number, YAML that cannot be read, or a file that cannot be
/// opened. The rules of a configuration are not judged.
pub fn written(path: impl AsRef<Path>) -> Result<Vec<WrittenMapping>, ConfigErrors> {
    let path = path.as_ref();
    let file = path.display().to_string();
    // An operator waits for this one, who may as well give a pipe.
    let text = std::fs::read_to_string(path).map_err(|why| ConfigErrors::unreadable(&file, &why))?;
    if let Some(list) = plain::written(&text) {
        return Ok(list);
    }
    let raw: RawFile = yaml::read(&text, &file)?;
    let mut check = Check::new(&file);
    let mut list = Vec::new();
    for (n, entry) in raw.mappings.iter().flatten().enumerate() {
        let raw = &entry.value;
        let mut s = check.scope(KeyPath::Mapping(n), entry.referenced);
        if let Some(text) = raw.network.as_ref().or(raw.address.as_ref()) {
            let message = "networks are known to a node's configuration only; write sir in place of \
                network and address";
            s.error("", text.referenced, message);
            continue;
        }
        let sir = s.required("sir", &raw.sir, "\"2001:db8:dddd:0:2000::1\"");
        let blackhole = s.flag("blackhole", &raw.blackhole, false);
        let mut locators = Vec::new();
        for (m, entry) in raw.locators.iter().flat_map(|list| &list.value).enumerate() {
            let mut s = check.scope(KeyPath::Locator(n, m), entry.referenced);
            locators.extend(choice(&mut s, entry).map(|(choice, _)| choice));
        }
        list.extend(sir.map(|sir| WrittenMapping { sir: sir.value.clone(), locators, blackhole }));
    }
    check.finish()?;
    Ok(list)
}
