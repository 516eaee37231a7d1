//! The configuration's file.

use std::path::{Path, PathBuf};

use figment::{
    Metadata, Profile, Provider,
    providers::{Format as _, Toml},
    value::{Dict, Map},
};
use sorcha_os::read;

use super::ConfigError;

/// Largest configuration file.
const FILE_BYTES: u64 = 4 * 1024 * 1024;

pub(super) struct TomlFile {
    path: PathBuf,
    text: String,
}

impl TomlFile {
    /// Reads a file, whose setting is named in errors.
    pub(super) fn read(setting: &'static str, path: &Path) -> Result<Self, ConfigError> {
        Ok(Self { path: path.to_owned(), text: text_by(setting, path, read::text_once)? })
    }
}

impl Provider for TomlFile {
    fn metadata(&self) -> Metadata {
        Metadata::from("TOML file", &*self.path)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Toml::string(&self.text).data()
    }
}

/// The text of a file that a setting names.
///
/// # Errors
/// [`ConfigError::File`] naming both.
pub(super) fn text(setting: &'static str, path: &Path) -> Result<String, ConfigError> {
    text_by(setting, path, read::text)
}

type Read = fn(&Path, u64) -> Result<String, read::Unreadable>;

fn text_by(setting: &'static str, path: &Path, read: Read) -> Result<String, ConfigError> {
    read(path, FILE_BYTES).map_err(|error| ConfigError::File {
        setting,
        path: path.to_owned(),
        source: error.into_io(),
    })
}
