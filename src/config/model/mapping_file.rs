//! Where the mappings of remote identifiers come from.

use std::path::PathBuf;

/// `mappings`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingFile {
    /// The file; a relative path counts from the directory of the configuration file.
    pub file: PathBuf,
    /// Whether changes to the file are applied as they happen.
    pub watch: bool,
    /// The most bytes that the file may have.
    pub max_bytes: u64,
}

impl MappingFile {
    /// Default of [`Self::max_bytes`]: 256 MiB, about three million mappings of one locator.
    pub const MAX_BYTES: u64 = 256 << 20;
}
