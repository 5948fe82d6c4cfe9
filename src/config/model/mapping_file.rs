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
    /// Share of its mappings that a change of the file may delete without an operator's confirmation, in percent.
    pub max_deletions_percent: u8,
}

impl MappingFile {
    /// Default of [`Self::max_bytes`]: 256 MiB, about three million mappings of one locator.
    pub const MAX_BYTES: u64 = 256 << 20;
    /// Deletions that no share is too small for: short files change by large shares.
    pub const FREE_DELETIONS: u64 = 10;

    /// Whether a change may delete so many of the `held` mappings of the file without a confirmation.
    #[must_use]
    pub fn allows(&self, deleted: u64, held: u64) -> bool {
        let share = u128::from(held) * u128::from(self.max_deletions_percent);
        deleted <= Self::FREE_DELETIONS || u128::from(deleted) * 100 <= share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_needs_a_confirmation_and_a_few_never_do() {
        let file = |max_deletions_percent| MappingFile {
            file: PathBuf::new(),
            watch: true,
            max_bytes: MappingFile::MAX_BYTES,
            max_deletions_percent,
        };
        for (percent, deleted, held, allowed) in [
            (20, 1, 3, true),
            (20, 10, 10, true),
            (20, 11, 11, false),
            (20, 20, 100, true),
            (20, 21, 100, false),
            (0, 10, 1000, true),
            (0, 11, 1000, false),
            (100, 1000, 1000, true),
            (20, u64::MAX, u64::MAX, false),
            (100, u64::MAX, u64::MAX, true),
        ] {
            assert_eq!(file(percent).allows(deleted, held), allowed, "{deleted} of {held} by {percent} %");
        }
    }
}
