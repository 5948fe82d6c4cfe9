//! Reads the configuration and its mapping file for a reload.

use crate::config::{Config, mappings};
use crate::node::control::{Loaded, load_difference};
use std::path::Path;
use std::sync::Arc;

/// Reads configuration and mappings, and compares the configuration with `old`.
///
/// # Errors
/// The text of what is wrong with a file, or of what only a restart applies.
pub fn load(path: &Path, old: &Config) -> Result<Loaded, String> {
    let config = Config::load(path).map_err(|errors| errors.to_string())?;
    let changes = load_difference(old, &config)?;
    let (records, seen) = match &config.mappings {
        Some(file) => {
            let (records, seen) = mappings::read(&file.file, &config).map_err(|errors| errors.to_string())?;
            (Some(records), Some(seen))
        }
        None => (old.mappings.as_ref().map(|_| Vec::new()), None),
    };
    Ok(Loaded { config: Arc::new(config), changes, records, seen })
}
