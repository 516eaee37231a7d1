//! Why an object is not as desired, with the remedy where a user has one.

/// Why an object is not as desired.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// An object of others has the name.
    #[error("{kind} {name} exists and belongs to {owner}: delete it, or give this resource another name")]
    Taken {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// Whose it is.
        owner: String,
    },
    /// The API server refuses the object as it follows from the spec.
    #[error("{kind} {name} is refused: {message}")]
    Rejected {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// What the API server says.
        message: String,
    },
    /// Others write the object all the time.
    #[error("{kind} {name} is being written by others; trying again")]
    Contended {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The API server does not answer, or not to us.
    #[error("{kind} {name}: {}", crate::reconcile::told(source))]
    Api {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// What went wrong.
        source: Box<kube::Error>,
    },
}

impl ApplyError {
    /// Reason of the condition and label of the measurement.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "NameTaken",
            Self::Rejected { .. } => "InvalidSpec",
            Self::Contended { .. } => "Contended",
            Self::Api { .. } => "ApplyFailed",
        }
    }

    pub(crate) fn of(kind: &str, name: &str, error: kube::Error) -> Self {
        let (kind, name) = (kind.to_owned(), name.to_owned());
        match &error {
            kube::Error::Api(status) if status.code == 409 => Self::Contended { kind, name },
            kube::Error::Api(status) if matches!(status.code, 400 | 422) => {
                Self::Rejected { kind, name, message: crate::reconcile::said(status) }
            }
            _ => Self::Api { kind, name, source: Box::new(error) },
        }
    }
}

/// Whether an answer says that the object is not, or not any more, as it was looked at.
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}
