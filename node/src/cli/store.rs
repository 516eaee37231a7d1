//! The store of a node that is stopped, as the register tools reach it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use clap::Args;
use sorcha_config as config;
use sorcha_config::Config;
use sorcha_host::embedded_options;
use sorcha_register::clock::Timestamp;
use sorcha_store::{
    Store, StoreError,
    journal::{self, JournalStore, OsFiles},
};

use super::{
    node::{NodeSettings, utf8_path},
    overrides::Overrides,
};

/// Flags that say where the register lies.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Where the register is stored")]
pub struct StoreArgs {
    /// The node's data directory; the register is register.journal in it, or replica.journal on a peer [default: ./data]
    #[arg(long, global = true, value_name = "DIR", value_parser = utf8_path)]
    pub data_dir: Option<PathBuf>,
    /// File with the MongoDB connection string, when the register is in MongoDB
    #[arg(long, global = true, value_name = "FILE", value_parser = utf8_path, conflicts_with = "mongodb_uri")]
    pub mongodb_uri_file: Option<PathBuf>,
    /// The MongoDB connection string; other users of this machine can see it, so prefer --mongodb-uri-file
    #[arg(long, global = true, value_name = "URI")]
    pub mongodb_uri: Option<String>,
}

impl NodeSettings for StoreArgs {
    fn add_to(&self, overrides: &mut Overrides) {
        overrides.set_path("store.data_dir", self.data_dir.as_deref());
        if let Some(file) = &self.mongodb_uri_file {
            overrides.clear("store.mongodb.uri");
            overrides.set_path("store.mongodb.uri_file", Some(file));
        }
        if let Some(uri) = &self.mongodb_uri {
            overrides.set("store.mongodb.uri", Some(uri));
        }
    }
}

/// Where the configuration puts the register.
enum Place {
    File(PathBuf),
    MongoDb { uri: String },
}

impl Place {
    fn of(config: &Config) -> anyhow::Result<Self> {
        Ok(match config.mongodb_uri()? {
            Some(uri) => Self::MongoDb { uri },
            None => {
                let file = |name| config.store.data_dir.join(name);
                let replica = file(journal::REPLICA_FILE);
                // A peer has one of its own as soon as it has run.
                Self::File(if exists(&replica)? { replica } else { file(journal::REGISTER_FILE) })
            }
        })
    }

    /// The file, where it is one.
    fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::MongoDb { .. } => None,
        }
    }
}

/// Where the register lies, for people; without the connection string, which may hold a password.
#[must_use]
pub(crate) fn describe(config: &Config) -> String {
    match Place::of(config).as_ref().map(Place::file) {
        Ok(Some(path)) => path.display().to_string(),
        _ => format!("MongoDB, database {}", config.store.mongodb.database),
    }
}

/// Whether the register is a file that only a peer has.
///
/// # Errors
/// When the configuration or the file system does not tell.
pub(crate) fn is_replica_file(config: &Config) -> anyhow::Result<bool> {
    let place = Place::of(config)?;
    Ok(place.file().and_then(Path::file_name).is_some_and(|name| name == journal::REPLICA_FILE))
}

/// Opens the store; an embedded one is made when there is none.
///
/// # Errors
/// When it is in use, damaged beyond reading, or can't be reached: with the remedy.
pub(crate) async fn open(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    match Place::of(config)? {
        Place::MongoDb { uri } => connect(&uri, &config.store.mongodb).await,
        Place::File(path) => opened(JournalStore::open(&path, embedded_options(config)).await, &path),
    }
}

fn opened(store: Result<JournalStore, StoreError>, path: &Path) -> anyhow::Result<Arc<dyn Store>> {
    match store {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(explained(error)).with_context(|| format!("open {}", path.display())),
    }
}

/// Opens the store, but makes none: a mistyped directory must not look like an empty register.
///
/// # Errors
/// As [`open`], and when there is none.
pub(crate) async fn open_existing(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    if let Some(path) = Place::of(config)?.file()
        && !exists(path)?
    {
        anyhow::bail!(
            "there is no register at {}; name the node's data directory with --data-dir",
            path.display()
        );
    }
    open(config).await
}

/// Opens the store to put another register into it. A file that can't be read is set aside, not destroyed.
///
/// # Errors
/// As [`open`], but for a file that can't be read.
pub(crate) async fn open_for_replacement(config: &Config, now: Timestamp) -> anyhow::Result<Arc<dyn Store>> {
    match Place::of(config)? {
        Place::MongoDb { .. } => open(config).await,
        Place::File(path) => {
            let (files, options) = (Arc::new(OsFiles), embedded_options(config));
            let store = JournalStore::open_or_set_aside(files, &path, options, now.as_millis()).await;
            opened(store, &path)
        }
    }
}

/// What lies where the configuration puts the register.
pub(crate) enum Present {
    /// Nothing yet; only a file can be missing.
    Nothing,
    /// A file that is no journal any more.
    Unreadable(String),
    /// A store, which may be empty.
    Store(Arc<dyn Store>),
}

/// Looks what is there, without making anything.
pub(crate) async fn look(config: &Config) -> anyhow::Result<Present> {
    if let Some(path) = Place::of(config)?.file()
        && !exists(path)?
    {
        return Ok(Present::Nothing);
    }
    match open(config).await {
        Ok(store) => Ok(Present::Store(store)),
        Err(error) => match error.downcast_ref::<StoreError>() {
            Some(StoreError::Damaged(why)) => Ok(Present::Unreadable(why.clone())),
            _ => Err(error),
        },
    }
}

fn exists(path: &Path) -> anyhow::Result<bool> {
    path.try_exists().with_context(|| format!("look for {}", path.display()))
}

/// Only one process can have the file open: say what to do about the other one.
fn explained(error: StoreError) -> anyhow::Error {
    let in_use = matches!(error, StoreError::Unavailable(_));
    let error = anyhow::Error::new(error);
    if in_use { error.context("stop the node that uses it first, then run this again") } else { error }
}

async fn connect(uri: &str, mongodb: &config::MongoDb) -> anyhow::Result<Arc<dyn Store>> {
    Ok(Arc::new(sorcha_store::mongo::MongoStore::connect(uri, mongodb).await?))
}
