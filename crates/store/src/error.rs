//! Errors of stores.

use sorcha_register::names::{BlueprintId, Checksum, InvalidField, Lineage, Version};

/// Why a store failed or refused.
#[derive(Clone, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message names each field")]
pub enum StoreError {
    /// The database can't be reached, does not answer in time or refuses this node's user; nothing is known to be stored. Try
    /// again later.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// No space is left; nothing was stored.
    #[error("the store is full: {0}")]
    Full(String),
    /// The id is published with other content (ADR 28: an id is published once).
    #[error("blueprint {id} is already published with other content ({checksum}); publish it under a new id")]
    Conflict { id: BlueprintId, checksum: Checksum },
    /// No such blueprint.
    #[error("no blueprint {0} is published")]
    NotFound(BlueprintId),
    /// A field breaks its limit.
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    /// This kind of store can't keep the document.
    #[error("{0}")]
    Unstorable(String),
    /// The stored register failed its integrity check; it takes no publication until it is restored.
    #[error(
        "the register failed its integrity check ({0}); run `sorcha-node register restore` or `register reseed`"
    )]
    Damaged(String),
    /// The database holds another register than the one that this process serves, or none.
    #[error(transparent)]
    Exchanged(Exchange),
    /// The database belongs to another node.
    #[error("{0}")]
    Owned(String),
    /// Any other fault.
    #[error("the store failed: {0}")]
    Internal(String),
}

/// A database that was dropped, restored or exchanged under a running node (ADR 26).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "MongoDB holds another register than the one that this node serves: {found} instead of {}. The database was dropped, \
     restored or exchanged under the running node; nothing is written to it, and nothing of it is served. Bring the right one \
     back, or restart the node to serve what is there now",
    .ours.map_or_else(|| "the one that was there".to_owned(), |lineage| format!("lineage {}", lineage.short()))
)]
pub struct Exchange {
    /// Lineage of the register served, if known.
    pub ours: Option<Lineage>,
    /// What is stored there.
    pub found: InItsPlace,
}

/// Content of a database in place of the register served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message names each field")]
pub enum InItsPlace {
    /// No register.
    #[error("no genesis record")]
    Nothing,
    /// A genesis record that does not verify.
    #[error("an unreadable genesis record")]
    Unreadable,
    /// The register of another lineage.
    #[error("lineage {}", .0.short())]
    Another(Lineage),
    /// An older state of the register.
    #[error("a register that ends at version {head}, though version {seen} was there,")]
    Older { head: Version, seen: Version },
}

impl Exchange {
    /// Reason of conditions and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.found {
            InItsPlace::Nothing => "RegisterLost",
            InItsPlace::Unreadable | InItsPlace::Another(_) => "RegisterExchanged",
            InItsPlace::Older { .. } => "RegisterRolledBack",
        }
    }
}
