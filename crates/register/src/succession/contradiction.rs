//! Contradictions: reasons for which entries may not follow what is held.

use super::super::names::{BlueprintId, Lineage, RegisterDigest, Version};

/// What is sent contradicts what is held or what the sender states, or is larger than the limit. No document is quoted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message names each field")]
pub enum Contradiction {
    /// A blueprint with another content, or in another state at the same version.
    #[error("blueprint {id} at version {version} has another {field} than at version {held}, which is held")]
    Rewritten { id: BlueprintId, field: &'static str, held: Version, version: Version },
    /// A second blueprint at one version.
    #[error("blueprint {id} is sent at version {version}, which is held as blueprint {owner}'s")]
    Taken { version: Version, owner: BlueprintId, id: BlueprintId },
    /// A version that was passed already without this entry.
    #[error("blueprint {id} is sent at version {version}, after version {after}; versions rise")]
    OutOfOrder { id: BlueprintId, version: Version, after: Version },
    /// An older state than the one held.
    #[error("blueprint {id} is sent at version {version}, but is held at {held}")]
    RolledBack { id: BlueprintId, held: Version, version: Version },
    /// A new version without a change.
    #[error(
        "blueprint {id} is sent at version {version} as it is held at version {held}; a new version changes its state"
    )]
    Unchanged { id: BlueprintId, held: Version, version: Version },
    /// A version beyond the head that the sender states.
    #[error("blueprint {id} is sent at version {version}, beyond {head}, the head of what is sent")]
    BeyondHead { id: BlueprintId, version: Version, head: Version },
    /// A whole register that ends below what is held.
    #[error("a register with the head version {head} is sent, but version {held} is held")]
    HeadFell { head: Version, held: Version },
    /// A blueprint that is held, and was not sent.
    #[error("blueprint {id}, held at version {held}, is not in what is sent, nor was it deprecated")]
    Missing { id: BlueprintId, held: Version },
    /// A node that states a lineage states no digest.
    #[error("it states a lineage, but not the head version and digest of what it sends")]
    NoDigest,
    /// What is sent is not what was stated.
    #[error("what is sent up to version {head} does not have the digest {} that is stated for it", stated.short())]
    Digest { head: Version, stated: RegisterDigest },
    /// More than may be held.
    #[error(
        "{memory} bytes would be held with it, and sync.max_memory allows {most}; what this peer holds stays as it is. If the register really is that large, give the peer more memory or raise sync.max_memory"
    )]
    TooLarge { memory: u64, most: u64 },
    /// A node without a lineage, for a register that has one.
    #[error("it states no lineage, but a register of lineage {} is held", held.short())]
    NoLineage { held: Lineage },
    /// Another register.
    #[error("it sends lineage {}, but lineage {} is held", stated.short(), held.short())]
    OtherLineage { held: Lineage, stated: Lineage },
}

impl Contradiction {
    /// All labels of metrics.
    pub const LABELS: [&'static str; 13] = [
        "rewritten",
        "version_taken",
        "out_of_order",
        "rolled_back",
        "unchanged",
        "beyond_head",
        "head_fell",
        "missing",
        "no_digest",
        "digest",
        "no_lineage",
        "other_lineage",
        "too_large",
    ];

    /// Label of metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Rewritten { .. } => Self::LABELS[0],
            Self::Taken { .. } => Self::LABELS[1],
            Self::OutOfOrder { .. } => Self::LABELS[2],
            Self::RolledBack { .. } => Self::LABELS[3],
            Self::Unchanged { .. } => Self::LABELS[4],
            Self::BeyondHead { .. } => Self::LABELS[5],
            Self::HeadFell { .. } => Self::LABELS[6],
            Self::Missing { .. } => Self::LABELS[7],
            Self::NoDigest => Self::LABELS[8],
            Self::Digest { .. } => Self::LABELS[9],
            Self::NoLineage { .. } => Self::LABELS[10],
            Self::OtherLineage { .. } => Self::LABELS[11],
            Self::TooLarge { .. } => Self::LABELS[12],
        }
    }

    /// The blueprint, if it concerns one.
    #[must_use]
    pub const fn blueprint_id(&self) -> Option<&BlueprintId> {
        match self {
            Self::Rewritten { id, .. }
            | Self::Taken { id, .. }
            | Self::OutOfOrder { id, .. }
            | Self::RolledBack { id, .. }
            | Self::Unchanged { id, .. }
            | Self::BeyondHead { id, .. }
            | Self::Missing { id, .. } => Some(id),
            _ => None,
        }
    }

    /// The version, if it concerns one.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        match self {
            Self::Rewritten { version, .. }
            | Self::Taken { version, .. }
            | Self::OutOfOrder { version, .. }
            | Self::RolledBack { version, .. }
            | Self::Unchanged { version, .. }
            | Self::BeyondHead { version, .. } => Some(*version),
            Self::HeadFell { head, .. } | Self::Digest { head, .. } => Some(*head),
            Self::Missing { held, .. } => Some(*held),
            _ => None,
        }
    }
}
