//! Why a reconcile failed, in words for the status, for the log and for the next attempt.

use std::time::Duration;

use super::words::{logged, told};
use crate::{apply, feed::call::CallFault, network::Contradiction, publication::decide::retry};

/// Shortest wait before something that only a change of a resource can mend is looked at again.
const RETRY_INVALID: Duration = Duration::from_secs(30);

/// Why a resource is not as its spec wants it. The text tells the remedy where a user has one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The spec contradicts an older resource's.
    #[error(transparent)]
    Invalid(#[from] Contradiction),
    /// A Secret is missing.
    #[error("Secret {name} has no key {key}, or does not exist: create it in namespace {namespace}")]
    SecretMissing {
        /// The Secret.
        name: String,
        /// The key.
        key: String,
        /// Where it is looked for.
        namespace: String,
    },
    /// There is no certificate that the nodes could use.
    #[error("{message}")]
    Certificate {
        /// Reason of the conditions.
        reason: &'static str,
        /// What is missing, and the remedy.
        message: String,
    },
    /// An owned object can't be applied.
    #[error(transparent)]
    Apply(#[from] apply::ApplyError),
    /// Reading failed.
    #[error("read cluster state: {}", told(.0))]
    Read(#[source] kube::Error),
    /// The status, or a finalizer, can't be written.
    #[error("write status: {0}")]
    Status(#[source] CallFault),
}

impl Error {
    /// Reason of the condition, of the Event and label of the measurement.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(contradiction) => contradiction.reason(),
            Self::SecretMissing { .. } => "SecretNotFound",
            Self::Certificate { reason, .. } => reason,
            Self::Apply(error) => error.reason(),
            Self::Read(_) => "ReadFailed",
            Self::Status(_) => "StatusFailed",
        }
    }

    /// What may be logged. What speaks of a resource's values or of a Secret stands in the status alone.
    pub(super) fn logged(&self) -> Option<String> {
        match self {
            Self::Read(error) => Some(logged(error)),
            Self::Apply(apply::ApplyError::Api { source, .. }) => Some(logged(source)),
            Self::Status(fault) => Some(fault.logged()),
            Self::Invalid(_) | Self::SecretMissing { .. } | Self::Certificate { .. } | Self::Apply(_) => None,
        }
    }

    /// Wait before the next attempt, after so many failures in a row.
    pub(super) fn retry(&self, failures: u32) -> Duration {
        let wait = retry(failures, rand::random());
        match self {
            Self::Invalid(_)
            | Self::Apply(apply::ApplyError::Rejected { .. } | apply::ApplyError::Taken { .. }) => {
                wait.max(RETRY_INVALID)
            }
            _ => wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The API server quotes what it refuses.
    #[test]
    fn no_value_of_a_resource_is_logged_and_messages_are_short() {
        let status = |code: u16| {
            let status =
                json!({"status": "Failure", "code": code, "reason": "R", "message": "V".repeat(60_000)});
            kube::Error::Api(Box::new(serde_json::from_value(status).expect("a status")))
        };
        for code in [400, 422] {
            let refused = Error::Apply(apply::ApplyError::of("Service", "n0", status(code)));
            assert_eq!((refused.reason(), refused.logged()), ("InvalidSpec", None));
            assert!(refused.to_string().len() < 1_000);
            assert!(!Error::Read(status(code)).logged().expect("a text").contains('V'));
        }
        assert!(Error::Read(status(403)).logged().expect("a text").contains("VVV"));
        let certificate = Error::Certificate { reason: "TrustUnusable", message: "V".to_owned() };
        assert_eq!(certificate.logged(), None);
    }

    #[test]
    fn one_that_keeps_failing_is_tried_ever_less_often() {
        let missing =
            Error::SecretMissing { name: "a".to_owned(), key: "b".to_owned(), namespace: "c".to_owned() };
        let seconds = |failures| missing.retry(failures).as_secs();
        assert!((5..8).contains(&seconds(1)) && (120..181).contains(&seconds(20)));
        let invalid = Error::Invalid(Contradiction::TooMany { network: "a".to_owned() });
        assert!(invalid.retry(1) == RETRY_INVALID && invalid.retry(20).as_secs() >= 120);
    }
}
