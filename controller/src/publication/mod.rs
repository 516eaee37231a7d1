//! Publishing through the central nodes' HTTP API, as any other publisher does.
//!
//! `decide` is pure: what the register holds and what is wanted give one step. [`register`] makes that step at one
//! central node, [`token`] gets what it is authorised with, [`memory`] saves calls, [`publisher`] puts them together.
//! Deliberately absent: any way to the register other than HTTP, and any knowledge of custom resources.

pub mod http;
pub(crate) mod tls;
pub mod document;
mod rounded;
pub(crate) mod decide;
pub mod register;
pub mod token;
pub mod memory;
pub(crate) mod lanes;
pub mod publisher;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;
use sorcha_crds::{conditions::MESSAGE_CHARS, text::cut};

/// Longest name of a publisher that a register takes, characters.
const PUBLISHER_CHARS: usize = 255;

/// A blueprint as the register holds it, without its document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// Register-wide version of its newest state.
    pub version: i64,
    /// Checksum of its document.
    pub checksum: String,
    /// False once deprecated.
    pub is_active: bool,
    /// When it was published.
    pub published_at: Time,
    /// Who published it; the answer to a publication does not tell.
    #[serde(default)]
    pub published_by: Option<String>,
}

impl Entry {
    /// An entry as a central node answers, which may be any program: nothing in it is longer than a register has it.
    ///
    /// # Errors
    /// What no register has.
    fn checked(mut self) -> Result<Self, &'static str> {
        let digits =
            self.checksum.strip_prefix("sha256:").ok_or("its checksum is not sha256: and 64 hex digits")?;
        let is_hash = digits.len() == 64 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hash {
            return Err("its checksum is not sha256: and 64 hex digits");
        }
        if self.version < 0 {
            return Err("its version is negative");
        }
        self.published_by = self.published_by.map(|by| cut(&by, PUBLISHER_CHARS));
        Ok(self)
    }
}

/// Why the register is not brought to what is wanted, though a central node answered. The text tells the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The id is taken.
    #[error(
        "the id is published already, at version {version} by {by}, with another document: its checksum is {theirs}, this \
         one's is {ours}; nothing was changed: publish under another id, as a new resource"
    )]
    Conflict {
        /// Checksum wanted.
        ours: String,
        /// Checksum published.
        theirs: String,
        /// Version of what is published.
        version: i64,
        /// Who published it.
        by: String,
    },
    /// The id was taken a moment ago.
    #[error("{message}; the checksum of this resource's document is {ours}; nothing was changed")]
    Taken {
        /// Checksum wanted.
        ours: String,
        /// What the central node says, which names the published one's.
        message: String,
    },
    /// The document is not the one that was published.
    #[error(
        "the document is not the one that was published: its checksum is {now}, the published one's is {pinned}; nothing was \
         changed: restore it, or publish the new one under another id, as a new resource"
    )]
    Changed {
        /// Checksum now.
        now: String,
        /// Checksum published.
        pinned: String,
    },
    /// Another resource has the id.
    #[error("id {id} is also that of SorchaBlueprint {other}, which was there first: delete one of them")]
    Duplicate {
        /// The id.
        id: String,
        /// The other resource.
        other: String,
    },
    /// There is no document.
    #[error(transparent)]
    Document(#[from] document::Missing),
    /// A central node does not take the document.
    #[error("{central} refuses the document: {message}")]
    Rejected {
        /// The central node.
        central: String,
        /// What it says.
        message: String,
    },
    /// A central node does not prove that it is the one that the resource describes.
    #[error("{central} does not prove that it is this central node, and gets no token: {message}")]
    Unproven {
        /// The central node.
        central: String,
        /// Why, and the remedy.
        message: String,
    },
    /// A central node takes nothing from this controller.
    #[error("{central} takes no publication from this controller: {message}")]
    NotAllowed {
        /// The central node.
        central: String,
        /// What it says.
        message: String,
    },
}

impl Refusal {
    /// Whether it is one central node's own matter: another one may do it, or the same one later.
    #[must_use]
    pub(crate) const fn is_ones_own(&self) -> bool {
        matches!(self, Self::NotAllowed { .. } | Self::Unproven { .. })
    }

    /// Reason of the condition and of the Event, label of the measurement.
    #[must_use]
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Conflict { .. } | Self::Taken { .. } | Self::Duplicate { .. } => "Conflict",
            Self::Changed { .. } => "DocumentChanged",
            Self::Document(missing) => missing.reason(),
            Self::Rejected { .. } => "Rejected",
            Self::Unproven { .. } => "CentralNodeUnproven",
            Self::NotAllowed { .. } => "NotAllowed",
        }
    }
}

/// What came of a look at a blueprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The register holds it as wanted.
    InRegister {
        /// The blueprint.
        entry: Entry,
        /// Central node that was asked.
        central: String,
    },
    /// The register is left as it is.
    Refused(Refusal),
    /// No central node could be asked, or none could do it; the text says why.
    Waiting(String),
}

impl Outcome {
    /// Waiting, for reasons that central nodes give in words of their own.
    #[must_use]
    pub(crate) fn waiting(why: &str) -> Self {
        Self::Waiting(cut(why, MESSAGE_CHARS))
    }

    /// Whether other central nodes than those that were ready might change it.
    #[must_use]
    pub(crate) const fn depends_on_nodes(&self) -> bool {
        match self {
            Self::Waiting(_) => true,
            Self::Refused(refusal) => refusal.is_ones_own(),
            Self::InRegister { .. } => false,
        }
    }

    /// Label of the measurement.
    #[must_use]
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::InRegister { .. } => "ok",
            Self::Refused(refusal) => refusal.reason(),
            Self::Waiting(_) => "Waiting",
        }
    }
}
