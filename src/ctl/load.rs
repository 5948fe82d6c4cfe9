//! `ilactl mapping load FILE`: a file in the format of mapping files, sent in batches.

use super::client::Client;
use super::error::CtlError;
use super::output::Output;
use crate::api::wire::Wire;
use crate::api::{MAX_BATCH, v1};
use crate::config::mappings::{WrittenMapping, written};
use crate::mapping::Applied;
use std::path::Path;

/// Sends the mappings of a file. Each batch applies as a whole; those before a refused one stay.
pub(super) async fn load(client: &mut Client, out: &mut Output<'_>, file: &Path) -> Result<(), CtlError> {
    let mappings = written(file)?;
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
            Err(error) => {
                let why = format!("{error} ({sent} of {count} mappings were applied before)");
                return Err(CtlError::File { file: file.to_owned(), why });
            }
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

fn change(mapping: WrittenMapping) -> v1::MappingChange {
    let WrittenMapping { sir, locators, blackhole } = mapping;
    let locators = locators.iter().map(|choice| v1::LocatorChoice {
        locator: choice.locator.to_string(),
        priority: choice.priority.into(),
        weight: Some(choice.weight.into()),
    });
    v1::MappingChange { sir, locators: locators.collect(), blackhole }
}
