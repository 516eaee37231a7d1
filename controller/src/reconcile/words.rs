//! What the API server's answers mean, in words that may be passed on.

use sorcha_crds::text::{SAID, cut};

use crate::feed::object::form;

/// What went wrong, without any answer's text: what the library says of an answer that it can't read quotes it.
#[must_use]
pub fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.reason == "Failed to parse error data" => {
            format!("the API server answers {} and does not say why", status.code)
        }
        kube::Error::Api(status) => {
            format!("the API server answers {} {}: {}", status.code, status.reason, said(status))
        }
        kube::Error::SerdeError(error) => format!("the API server's answer {}", form(error)),
        kube::Error::FromUtf8(_) => "the API server's answer is not UTF-8".to_owned(),
        other => other.to_string(),
    }
}

/// What the API server says, shortened: it quotes the values that it refuses.
pub(crate) fn said(status: &kube::core::Status) -> String {
    cut(&status.message, SAID)
}

/// The same for the log, where nothing is quoted.
#[must_use]
pub(crate) fn logged(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if matches!(status.code, 400 | 422) => {
            format!("the API server answers {} {}", status.code, status.reason)
        }
        other => told(other),
    }
}
