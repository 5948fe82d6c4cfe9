//! From a file, or a text, to a [`Config`].

use super::error::ConfigErrors;
use super::model::Config;
use super::{check, file, yaml};
use std::path::Path;

impl Config {
    /// Reads and judges a configuration file.
    ///
    /// # Errors
    /// Every broken rule with its place (the first 1000 of them), YAML that cannot be read, or a file that
    /// cannot be read: no regular file, more than 64 MiB, or a file system that does not answer.
    pub fn load(path: impl AsRef<Path>) -> Result<Config, ConfigErrors> {
        let path = path.as_ref();
        let (text, _) =
            file::read(path, file::CONFIG_BYTES, "no configuration is that long; name another file")?;
        let directory = path.parent().unwrap_or(Path::new(""));
        Self::judge(&text, &path.display().to_string(), directory)
    }

    /// Judges a configuration that is already text. `file_name` stands in the errors. A relative path of a
    /// mapping file counts from the directory of `file_name`.
    ///
    /// # Errors
    /// Every broken rule with its place (the first 1000 of them), or YAML that cannot be read.
    pub fn parse(text: &str, file_name: &str) -> Result<Config, ConfigErrors> {
        let directory = Path::new(file_name).parent().unwrap_or(Path::new(""));
        Self::judge(text, file_name, directory)
    }

    fn judge(text: &str, file: &str, directory: &Path) -> Result<Config, ConfigErrors> {
        check::config(&yaml::read(text, file)?, file, directory)
    }
}
