//! What a reviewer of tokens says.

use std::time::Duration;

use async_trait::async_trait;
use sorcha_register::clock::Timestamp;

/// Knows bearer tokens and who may publish.
#[async_trait]
pub trait Reviewer: Send + Sync {
    /// Who a token's bearer is, and whether it may write.
    ///
    /// # Errors
    /// [`ReviewError`] when there is no answer.
    async fn review(&self, token: &str) -> Result<Review, ReviewError>;

    /// How a caller gets a token that is taken here, in one line.
    fn how_to_get_one(&self) -> &str;
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// What it is.
    pub verdict: Verdict,
    /// It does not hold beyond this instant: the token's end.
    pub until: Option<Timestamp>,
}

/// Who a token's bearer is, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may write.
    MayWrite {
        /// The bearer.
        name: String,
    },
    /// The token is nobody's: expired, made for something else, or no token at all.
    Unknown {
        /// Why.
        why: String,
    },
    /// The bearer is known and may not write.
    MayNot {
        /// The bearer.
        name: String,
        /// What it needs, and how it is granted.
        why: String,
    },
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// The API server does not answer, or not in time.
    #[error(
        "the Kubernetes API server does not say whose token this is: {0}; tokens of http.token_file are still accepted"
    )]
    Away(String),
    /// This node may not ask.
    #[error(
        "this node may not ask the Kubernetes API server whose token this is: {0}; its ServiceAccount needs the verb create on \
         tokenreviews, which the chart's ClusterRoleBinding for central nodes gives, and on localsubjectaccessreviews in its \
         namespace, which its own Role gives"
    )]
    NotAllowed(String),
}

impl ReviewError {
    /// When to ask again.
    pub(super) const fn retry_after(&self) -> Duration {
        match self {
            Self::Away(_) => Duration::from_secs(5),
            Self::NotAllowed(_) => Duration::from_secs(30),
        }
    }
}
