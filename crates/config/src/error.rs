//! Why a configuration is refused.

use std::path::PathBuf;

use sorcha_register::names::InvalidField;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message names each field")]
pub enum ConfigError {
    /// A layer can't be read or has an unknown key or a wrong type.
    #[error("{0}")]
    Layer(Box<figment::Error>),
    /// A value is outside its range, or two settings contradict each other.
    #[error("{setting}: {problem}")]
    Invalid { setting: &'static str, problem: String },
    /// A variable of the environment is no setting, or holds something else than its setting takes.
    #[error("{variable}: {problem}")]
    Environment { variable: String, problem: String },
    /// A file named by a setting can't be read.
    #[error("{setting}: read {path}: {source}")]
    File { setting: &'static str, path: PathBuf, source: std::io::Error },
}

impl ConfigError {
    pub(super) fn field(setting: &'static str, error: &InvalidField) -> Self {
        Self::Invalid { setting, problem: error.to_string() }
    }
}
