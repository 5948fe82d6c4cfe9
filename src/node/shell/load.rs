//! Reads the configuration and its mapping file for a reload.

use crate::config::{Source, mappings};
use crate::node::control::{LoadOrder, Loaded, load_difference};
use crate::node::provision::Provision;
use std::path::Path;
use std::sync::Arc;

/// Reads configuration and mappings, compares the configuration with the one before, and judges it together with what
/// operators want at the node; or judges what was read before, if only that has changed.
///
/// # Errors
/// The text of what is wrong with a file, or of what only a restart applies.
pub fn load(path: &Path, order: LoadOrder) -> Result<Loaded, String> {
    let LoadOrder { old, reread, provision, excluded } = order;
    if !reread {
        let Some(Provision { source, file, objects, .. }) = provision else {
            return Err("nothing is to be read".to_owned());
        };
        let (config, provision) = Provision::compose(source, file.clone(), objects, excluded)?;
        let (provision, changes) = (Some(provision), Vec::new());
        return Ok(Loaded { file, config, provision, reread, changes, records: None, seen: None });
    }
    let (source, file) = Source::load(path).map_err(|errors| errors.to_string())?;
    let changes = load_difference(&old, &file)?;
    let (records, seen) = match &file.mappings {
        Some(named) => {
            let (records, seen) = mappings::read(&named.file, &file).map_err(|errors| errors.to_string())?;
            (Some(records), Some(seen))
        }
        None => (old.mappings.as_ref().map(|_| Vec::new()), None),
    };
    let file = Arc::new(file);
    let (config, provision) = match provision {
        None => (file.clone(), None),
        Some(Provision { objects, .. }) => {
            let (config, provision) = Provision::compose(Arc::new(source), file.clone(), objects, excluded)?;
            (config, Some(provision))
        }
    };
    Ok(Loaded { file, config, provision, reread, changes, records, seen })
}
