//! Why a configuration is refused.

use std::path::PathBuf;

use sorcha_register::names::InvalidField;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A layer can't be read or has an unknown key or a wrong type.
    #[error("{0}")]
    Layer(Box<figment::Error>),
    /// A value is outside its range, or two settings contradict each other.
    #[error("{setting}: {problem}")]
    Invalid {
        /// The setting as written in the file.
        setting: &'static str,
        /// What is wrong and what to change.
        problem: String,
    },
    /// A variable of the environment is no setting, or holds something else than its setting takes.
    #[error("{variable}: {problem}")]
    Environment {
        /// Its name.
        variable: String,
        /// What is wrong and what is expected.
        problem: String,
    },
    /// A file named by a setting can't be read.
    #[error("{setting}: read {path}: {source}")]
    File {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl ConfigError {
    pub(super) fn field(setting: &'static str, error: &InvalidField) -> Self {
        Self::Invalid { setting, problem: error.to_string() }
    }
}
