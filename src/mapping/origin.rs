//! Who stands behind a mapping, and who takes precedence.

use serde::Serialize;

/// Who stands behind a mapping, lowest precedence first.
///
/// An origin replaces and deletes only its own mappings. Of several mappings of one identifier that of the
/// highest origin is in force; it shadows the others. When it goes, the next one comes into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The mapping file.
    File,
    /// The network virtualization authority, asked for this one.
    Cache,
    /// The network virtualization authority, which tells all of them.
    Nva,
    /// An operator, through the admin API.
    Admin,
    /// An attachment of this node, from the configuration.
    Attachment,
}

impl Origin {
    /// All origins, in the order in which operators read them.
    pub const ALL: [Origin; 5] =
        [Origin::Attachment, Origin::File, Origin::Cache, Origin::Nva, Origin::Admin];
    /// The one that every other shadows.
    pub const LOWEST: Origin = Origin::File;
    /// The one that shadows every other.
    pub const HIGHEST: Origin = Origin::Attachment;

    /// The name in output and in filters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Origin::Attachment => "attachment",
            Origin::File => "file",
            Origin::Cache => "cache",
            Origin::Nva => "nva",
            Origin::Admin => "admin",
        }
    }

    /// The origin with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Origin> {
        Origin::ALL.into_iter().find(|origin| origin.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_origin_is_found_by_its_name_and_lies_between_lowest_and_highest() {
        for origin in Origin::ALL {
            assert_eq!(Origin::named(origin.name()), Some(origin));
            assert!((Origin::LOWEST..=Origin::HIGHEST).contains(&origin));
        }
        assert_eq!(Origin::named("heaven"), None);
    }
}
