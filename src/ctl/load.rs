//! `ilactl mapping load FILE`: a file in the format of mapping files, sent in batches.

use super::client::Client;
use super::error::CtlError;
use super::output::Output;
use crate::node::admin::wire::Wire;
use crate::node::admin::{MAX_BATCH, v1};
use crate::node::source::Applied;
use serde::Deserialize;
use std::path::Path;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mappings {
    #[serde(default)]
    mappings: Vec<Mapping>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mapping {
    sir: String,
    #[serde(default)]
    locators: Vec<Choice>,
    #[serde(default)]
    blackhole: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Choice {
    Alone(String),
    Weighted(Weighted),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weighted {
    locator: String,
    #[serde(default)]
    priority: u32,
    weight: Option<u32>,
}

impl From<Choice> for v1::LocatorChoice {
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::Alone(locator) => v1::LocatorChoice { locator, priority: 0, weight: None },
            Choice::Weighted(Weighted { locator, priority, weight }) => {
                v1::LocatorChoice { locator, priority, weight }
            }
        }
    }
}

/// Sends the mappings of a file. Each batch applies as a whole; those before a refused one stay.
pub(super) async fn load(client: &mut Client, out: &mut Output<'_>, file: &Path) -> Result<(), CtlError> {
    let mappings = read(file)?;
    let count = mappings.len();
    if count == 0 {
        let why = "no mappings; write `mappings:` and a list of them".to_owned();
        return Err(CtlError::File { file: file.to_owned(), why });
    }
    let mut sum = Applied { revision: 0, created: 0, changed: 0, deleted: 0 };
    let mut mappings = mappings.into_iter();
    let mut sent = 0;
    while sent < count {
        let batch: Vec<v1::MappingChange> = mappings.by_ref().take(MAX_BATCH).map(change).collect();
        let size = batch.len();
        let applied: Applied = match client.upsert(batch).await {
            Ok(applied) => Wire::read(applied)?,
            Err(CtlError::Refused(why)) => {
                let why = format!("{why} ({sent} of {count} mappings were applied before)");
                return Err(CtlError::File { file: file.to_owned(), why });
            }
            Err(error) => return Err(error),
        };
        sent += size;
        sum.revision = applied.revision;
        sum.created += applied.created;
        sum.changed += applied.changed;
        sum.deleted += applied.deleted;
    }
    if out.json() {
        return out.value(&sum);
    }
    let Applied { revision, created, changed, .. } = sum;
    out.line(&format!("{count} mappings: {created} created, {changed} changed, revision {revision}"))
}

fn change(mapping: Mapping) -> v1::MappingChange {
    let Mapping { sir, locators, blackhole } = mapping;
    v1::MappingChange { sir, locators: locators.into_iter().map(Into::into).collect(), blackhole }
}

fn read(file: &Path) -> Result<Vec<Mapping>, CtlError> {
    let failed = |why: String| CtlError::File { file: file.to_owned(), why };
    let text = std::fs::read_to_string(file)
        .map_err(|why| failed(format!("cannot be read: {why}; check the path and its permissions")))?;
    let mut options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    // Millions of mappings are honest work.
    options.budget = None;
    let mappings: Mappings = serde_saphyr::from_str_with_options(&text, options)
        .map_err(|why| failed(format!("{why}; correct the YAML there")))?;
    Ok(mappings.mappings)
}
