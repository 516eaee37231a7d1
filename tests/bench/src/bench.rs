//! What every measure needs: the programs, a place to work in, and how large everything is.

use std::path::PathBuf;

use anyhow::Result;
use tempfile::TempDir;

use crate::scale::Scale;

/// The programs that are run as servers.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) node: PathBuf,
    /// Absent where it is not built; it is then left out.
    pub(crate) nats: Option<PathBuf>,
    pub(crate) etcd: Option<PathBuf>,
    pub(crate) nginx: Option<PathBuf>,
    /// A server of MongoDB's protocol.
    pub(crate) mongo: Option<PathBuf>,
}

/// One run of the benchmarks.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    pub(crate) programs: Programs,
    /// On the disk that is measured.
    pub(crate) work: PathBuf,
    pub(crate) scale: Scale,
}

impl Bench {
    /// An empty folder that is gone when it is dropped.
    pub(crate) fn folder(&self) -> Result<TempDir> {
        Ok(tempfile::tempdir_in(&self.work)?)
    }
}

/// Tells whoever waits how far things are.
pub(crate) fn say(what: &str) {
    eprintln!("bench: {what}");
}
