//! What a hostile central node says and sends.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use sorcha_proto::{EncodedEntry, v1::ReplicaComparison};
use sorcha_register::{
    entry::Entry,
    lineage::Genesis,
    names::{BlueprintId, RegisterDigest, Version},
    view::RegisterView,
};
use tonic::Status;

/// A head version and the digest of the register at it, as stated.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) version: i64,
    pub(super) digest: RegisterDigest,
}

impl Head {
    /// The true one of a register.
    pub(super) fn of(view: &RegisterView) -> Self {
        Self { version: view.head().get(), digest: view.digest() }
    }

    /// One that no register has.
    pub(super) fn invented(version: i64) -> Self {
        Self { version, digest: RegisterDigest::from_bytes([7; 32]) }
    }
}

/// The messages of a stream.
#[derive(Clone)]
pub(super) enum Messages {
    /// These, then the stream's clean end.
    Listed(Vec<Bytes>),
    /// These, then nothing, and the stream stays open.
    Open(Vec<Bytes>),
    /// These again and again, as fast as they are taken.
    Forever(Vec<Bytes>),
    /// These, then blueprints like this one at every version from its own on, as fast as they are taken.
    Rising(Vec<Bytes>, Box<Entry>),
}

/// A pull: what it is said to be a snapshot of, and what is sent.
#[derive(Clone)]
pub(super) struct Pull {
    pub(super) stated: Option<Head>,
    pub(super) messages: Messages,
}

/// A call that is never answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Silent {
    Connect,
    Heartbeat,
}

/// All of it.
#[derive(Clone)]
pub(super) struct Lies {
    /// The genesis and lineage stated; none by a node of the original contract.
    pub(super) genesis: Option<(Bytes, Bytes)>,
    /// Stated when a session is opened and at each heartbeat.
    pub(super) head: Head,
    /// What heartbeats say of the peer's replica.
    pub(super) comparison: ReplicaComparison,
    pub(super) full: Pull,
    pub(super) incremental: Pull,
    /// What is pushed; none by a node of the original contract, which sends notices.
    pub(super) push: Option<Messages>,
    pub(super) silent: Option<Silent>,
}

/// Genesis and lineage as a node states them.
pub(super) fn stated(genesis: &Genesis) -> (Bytes, Bytes) {
    (genesis.bytes().clone(), Bytes::copy_from_slice(genesis.lineage().as_bytes()))
}

/// The messages of all entries after a version; of a full sync, of the active ones.
pub(super) fn messages(view: &RegisterView, after: i64, is_full: bool) -> Vec<Bytes> {
    let after = Version::new("version", after).unwrap_or_default();
    let wanted = view.after(after).filter(|sealed| !is_full || sealed.entry().is_active);
    wanted.flat_map(|sealed| sealed.checked()).collect()
}

impl Lies {
    /// No lie yet: this register, to a peer that holds everything up to `held`.
    pub(super) fn of(view: &RegisterView, held: i64) -> Self {
        let head = Head::of(view);
        let pull = |messages| Pull { stated: Some(head), messages: Messages::Listed(messages) };
        Self {
            genesis: view.genesis().map(|genesis| stated(genesis)),
            head,
            comparison: ReplicaComparison::Unknown,
            full: pull(messages(view, 0, true)),
            incremental: pull(messages(view, held, false)),
            push: Some(Messages::Open(Vec::new())),
            silent: None,
        }
    }

    /// The same as a node of the original contract says it.
    pub(super) fn original(view: &RegisterView, held: i64) -> Self {
        let mut lies = Self { genesis: None, push: None, ..Self::of(view, held) };
        (lies.full.stated, lies.incremental.stated) = (None, None);
        lies
    }
}

impl Messages {
    /// The stream of them.
    pub(super) fn stream(self) -> Streamed<EncodedEntry> {
        let sent = |bytes: &Bytes| Ok(EncodedEntry(bytes.clone()));
        match self {
            Self::Listed(messages) => Box::pin(stream::iter(messages.iter().map(sent).collect::<Vec<_>>())),
            Self::Open(messages) => {
                let messages = messages.iter().map(sent).collect::<Vec<_>>();
                Box::pin(stream::iter(messages).chain(stream::pending()))
            }
            Self::Forever(messages) => {
                let messages: Arc<[Bytes]> = messages.into();
                Box::pin(stream::iter((0usize..).map(move |at| sent(&messages[at % messages.len()]))))
            }
            Self::Rising(messages, like) => {
                let messages = messages.iter().map(sent).collect::<Vec<_>>();
                let new = (like.version.get()..).filter_map(move |number| numbered(&like, number));
                Box::pin(stream::iter(messages.into_iter().chain(new.map(|bytes| Ok(EncodedEntry(bytes))))))
            }
        }
    }
}

/// Another blueprint like one, at a version.
fn numbered(like: &Entry, number: i64) -> Option<Bytes> {
    let version = Version::new("version", number).ok()?;
    let blueprint_id = BlueprintId::new(format!("new-{number}")).ok()?;
    Entry { blueprint_id, version, ..like.clone() }.seal().checked().ok()
}

/// Longer than any peer waits.
pub(super) const FOREVER: Duration = Duration::from_secs(3600);

pub(super) type Streamed<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
