//! From a file, or a text, to a [`Config`]: alone, or with what an authority adds to it.

use super::error::ConfigErrors;
use super::model::Config;
use super::provision::{Basis, Entry, RefusedEntry, append, settle};
use super::raw::RawConfig;
use super::{check, file, yaml};
use std::path::{Path, PathBuf};

/// A configuration file as it was read, to be judged again with other entries of an authority.
#[derive(Debug)]
pub struct Source {
    raw: RawConfig,
    file: String,
    directory: PathBuf,
}

impl Source {
    /// Reads and judges a configuration file.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(path: impl AsRef<Path>) -> Result<(Source, Config), ConfigErrors> {
        let path = path.as_ref();
        let (text, _) =
            file::read(path, file::CONFIG_BYTES, "no configuration is that long; name another file")?;
        let directory = path.parent().unwrap_or(Path::new(""));
        Self::judge(&text, &path.display().to_string(), directory)
    }

    fn judge(text: &str, file: &str, directory: &Path) -> Result<(Source, Config), ConfigErrors> {
        let raw = yaml::read(text, file)?;
        let config = check::config(&raw, file, directory)?;
        Ok((Source { raw, file: file.to_owned(), directory: directory.to_owned() }, config))
    }

    /// The file with the entries of an authority, by the same rules as the file. An entry that breaks one is left out:
    /// the file comes first, then the entries in their order. The basis is for the next change of entries.
    ///
    /// # Errors
    /// What is wrong with the file alone.
    pub fn with(&self, entries: &[&Entry]) -> Result<(Config, Basis, Vec<RefusedEntry>), ConfigErrors> {
        let ((config, basis), refused) = settle(entries, |entries| {
            let (raw, appended, provisioned) = append(&self.raw, entries);
            let mut check = check::Check::with(&self.file, appended);
            let (config, standing) = check::judge(&mut check, &raw, &self.directory);
            let errors = check.errors();
            if !errors.is_empty() {
                return Err(errors);
            }
            let config = Config { provisioned, ..config };
            let basis = Basis::new(&self.file, &config, standing);
            Ok((config, basis))
        })?;
        Ok((config, basis, refused))
    }
}

impl Config {
    /// Reads and judges a configuration file.
    ///
    /// # Errors
    /// Every broken rule with its place (the first 1000 of them), YAML that cannot be read, or a file that
    /// cannot be read: no regular file, more than 64 MiB, or a file system that does not answer.
    pub fn load(path: impl AsRef<Path>) -> Result<Config, ConfigErrors> {
        Source::load(path).map(|(_, config)| config)
    }

    /// Judges a configuration that is already text. `file_name` stands in the errors. A relative path of a
    /// mapping file counts from the directory of `file_name`.
    ///
    /// # Errors
    /// Every broken rule with its place (the first 1000 of them), or YAML that cannot be read.
    pub fn parse(text: &str, file_name: &str) -> Result<Config, ConfigErrors> {
        let directory = Path::new(file_name).parent().unwrap_or(Path::new(""));
        Source::judge(text, file_name, directory).map(|(_, config)| config)
    }
}
