//! What is wrong with a configuration, where, and the way out.
//!
//! Every error knows its file, line and column and the path of the key, so that an operator can go straight
//! to it.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Name of the file as it was given.
    pub file: String,
    /// Line, from 1; 0 if the file as a whole is meant.
    pub line: u64,
    /// Column in characters, from 1; 0 if the file as a whole is meant.
    pub column: u64,
    /// Path of the key, for example `ports[1].mtu`; empty if the text cannot be read that far.
    pub path: String,
    /// The value, what is wrong with it and the way out.
    pub message: String,
}

/// Writes text so that it stays on one line.
fn one_line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            write!(f, "{}", c.escape_debug())?;
        } else {
            fmt::Write::write_char(f, c)?;
        }
    }
    Ok(())
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        one_line(f, &self.file)?;
        if self.line != 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        f.write_str(": ")?;
        if !self.path.is_empty() {
            one_line(f, &self.path)?;
            f.write_str(": ")?;
        }
        one_line(f, &self.message)
    }
}

impl std::error::Error for ConfigError {}

/// All that is wrong with one file, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Sorts the errors by place; none gives `Ok`.
    pub(super) fn check(mut errors: Vec<ConfigError>) -> Result<(), ConfigErrors> {
        if errors.is_empty() {
            return Ok(());
        }
        errors.sort_by_key(|error| (error.line, error.column));
        Err(ConfigErrors(errors))
    }

    /// A file that cannot be read at all.
    pub(super) fn unreadable(file: &str, why: &std::io::Error) -> Self {
        // Our own refusals have their way out.
        let check = match why.kind() {
            std::io::ErrorKind::Other => "",
            _ => "; check path, permissions and that it is UTF-8 text",
        };
        let message = format!("cannot be read: {why}{check}");
        Self::one(ConfigError { file: file.to_owned(), line: 0, column: 0, path: String::new(), message })
    }

    /// A single error.
    pub(super) fn one(error: ConfigError) -> Self {
        ConfigErrors(vec![error])
    }

    /// The errors, first line first.
    #[must_use]
    pub fn errors(&self) -> &[ConfigError] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    /// One error per line, without a final newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
