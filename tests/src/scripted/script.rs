//! What a scripted central node sends, and where it is silent.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use sorcha_proto::EncodedEntry;
use tonic::Status;

use super::Streamed;

/// What is sent in the place of one stream.
#[derive(Clone, Debug)]
pub struct Script {
    /// The messages, as they are.
    pub entries: Vec<Bytes>,
    /// How the stream ends; `None` for its clean end.
    pub end: Option<Status>,
    /// What a pull is said to be a snapshot of.
    pub stated: Stated,
}

/// What is said of a stream of entries.
#[derive(Clone, Debug, Default)]
pub enum Stated {
    /// What the node in front of which this one stands says.
    #[default]
    Truth,
    /// Nothing, as a node of the original contract.
    Nothing,
    /// The lineage, but this head and digest.
    As(String, String),
}

impl Script {
    /// These messages under a true description.
    #[must_use]
    pub const fn of(entries: Vec<Bytes>) -> Self {
        Self { entries, end: None, stated: Stated::Truth }
    }
}

/// In what a central node lets its peers wait for ever.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silence {
    /// A push stream gets no answer.
    pub push: bool,
    /// A pull gets no answer.
    pub pull: bool,
    /// A pull stops after so many entries.
    pub pull_after: Option<usize>,
    /// Entries of a pull come one by one, after a pause each.
    pub pull_pause: Option<Duration>,
    /// Nothing after the first message of a push stream is read.
    pub acknowledgements: bool,
}

impl Script {
    pub(super) fn stream(self) -> Streamed<EncodedEntry> {
        let entries = self.entries.into_iter().map(|bytes| Ok(EncodedEntry(bytes)));
        Box::pin(stream::iter(entries.chain(self.end.map(Err)).collect::<Vec<_>>()))
    }
}
