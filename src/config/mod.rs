//! YAML to a [`Config`] that cannot be wrong (`dpdk-config/reference.yaml` lists every key).
//!
//! Text becomes raw structs whose scalars know their place (`raw`), these are judged by every rule (`check`), and only
//! a file without errors becomes a [`Config`]. All errors of a file are reported together, each with file, line,
//! column, path, value and the way out. Nothing here opens devices or sockets; [`mappings`] reads the second file.

mod amend;
mod check;
mod diff;
pub mod error;
pub mod mappings;
pub mod model;
mod raw;
mod yaml;

#[cfg(test)]
mod tests;

pub use amend::{Amendment, AmendmentRules, PeerWords, PolicyWords};
pub use diff::{Change, ChangeKind};
pub use error::{ConfigError, ConfigErrors};
pub use mappings::{LocatorChoice, MappingRecord, MappingTarget};
pub use model::*;

use std::path::Path;

impl Config {
    /// Reads and judges a configuration file.
    ///
    /// # Errors
    /// All that is wrong with the file, or why it cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Config, ConfigErrors> {
        let path = path.as_ref();
        let text = read_text(path)?;
        let directory = path.parent().unwrap_or(Path::new(""));
        Self::judge(&text, &path.display().to_string(), directory)
    }

    /// Judges a configuration that is already text; `file_name` stands in the errors, and a relative mapping file
    /// counts from its directory.
    ///
    /// # Errors
    /// All that is wrong with the text.
    pub fn parse(text: &str, file_name: &str) -> Result<Config, ConfigErrors> {
        let directory = Path::new(file_name).parent().unwrap_or(Path::new(""));
        Self::judge(text, file_name, directory)
    }

    fn judge(text: &str, file: &str, directory: &Path) -> Result<Config, ConfigErrors> {
        check::config(&yaml::read(text, file)?, file, directory)
    }

    /// Index of the domain whose SIR prefix covers `address`.
    #[must_use]
    pub fn domain_of(&self, address: u128) -> Option<u8> {
        let half = (address >> 64) as u64;
        self.sir_domains.iter().position(|domain| domain.prefix.0 == half).map(|index| index as u8)
    }

    /// How many virtual networks are counted each for itself.
    #[must_use]
    pub fn counted_networks(&self) -> u16 {
        self.metrics.map_or(model::COUNTED_NETWORKS, |metrics| metrics.networks)
    }

    /// Index of the port named `name`.
    #[must_use]
    pub fn port_named(&self, name: &str) -> Option<u16> {
        self.ports.iter().position(|port| port.name == name).map(|index| index as u16)
    }
}

/// A file as text.
fn read_text(path: &Path) -> Result<String, ConfigErrors> {
    std::fs::read_to_string(path).map_err(|why| ConfigErrors::unreadable(&path.display().to_string(), &why))
}
