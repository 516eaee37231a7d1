//! What a failed call means for the session (protocol section 5, last column).

use std::{error::Error as _, time::Duration};

use sorcha_proto::metadata;
use tonic::{Code, Status};

use crate::machine::event::{Fault, Loss};

/// What a status says about the session it came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The connection or the node is gone: fail over.
    Lost(Loss),
    /// The node does not know the session: connect again.
    Rejected,
    /// Only this call failed.
    Call(Fault),
}

pub(super) fn meaning(status: &Status) -> Meaning {
    if let Some(loss) = transport_loss(status) {
        return Meaning::Lost(loss);
    }
    match status.code() {
        Code::Unavailable => Meaning::Lost(Loss::Unavailable),
        Code::NotFound | Code::FailedPrecondition => Meaning::Rejected,
        code => Meaning::Call(fault(code)),
    }
}

/// Codes that the same call will meet again are fatal: they are for an administrator.
pub(super) const fn fault(code: Code) -> Fault {
    match code {
        Code::InvalidArgument
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unauthenticated
        | Code::Unimplemented => Fault::Fatal,
        _ => Fault::Passing,
    }
}

/// A status that was made on this side of a broken connection has the transport's error as its source.
fn transport_loss(status: &Status) -> Option<Loss> {
    let mut error = status.source()?;
    loop {
        let text = error.to_string();
        if text.contains("keep-alive") || text.contains("KeepAlive") {
            return Some(Loss::Keepalive);
        }
        match error.source() {
            Some(source) => error = source,
            None => return Some(Loss::Closed),
        }
    }
}

/// The standard gRPC hint of when to come back, milliseconds in the trailers.
pub(crate) fn retry_after(status: &Status) -> Option<Duration> {
    let millis = status.metadata().get(metadata::RETRY_PUSHBACK)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_the_contract_says() {
        assert_eq!(meaning(&Status::unavailable("")), Meaning::Lost(Loss::Unavailable));
        assert_eq!(meaning(&Status::not_found("")), Meaning::Rejected);
        assert_eq!(meaning(&Status::failed_precondition("")), Meaning::Rejected);
        assert_eq!(meaning(&Status::resource_exhausted("")), Meaning::Call(Fault::Passing));
        assert_eq!(meaning(&Status::invalid_argument("")), Meaning::Call(Fault::Fatal));
    }

    #[test]
    fn retry_hints_are_read_or_ignored() {
        let mut status = Status::resource_exhausted("");
        assert_eq!(retry_after(&status), None);
        status.metadata_mut().insert(metadata::RETRY_PUSHBACK, "1500".parse().unwrap());
        assert_eq!(retry_after(&status), Some(Duration::from_millis(1500)));
        status.metadata_mut().insert(metadata::RETRY_PUSHBACK, "-1".parse().unwrap());
        assert_eq!(retry_after(&status), None);
    }
}
