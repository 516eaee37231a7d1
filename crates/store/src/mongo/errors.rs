//! Classifies the driver's errors for callers.
//!
//! The driver reports one fault in different shapes, depending on the command: a duplicate key is a write error after an
//! insert, a list of them after `insert_many` and a command error after `find_and_modify`.

use std::time::Duration;

use mongodb::error::{Error, ErrorKind, WriteFailure};
use sorcha_register::integrity::Finding;

use crate::StoreError;

/// Why an operation on the database failed.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// A unique index holds the key already; nothing was stored.
    Duplicate,
    /// The reply was larger than a message may be; fewer documents at a time will do.
    Oversize(String),
    /// An index with the same name or keys has other options.
    IndexConflict(String),
    /// It may succeed later, and the write may have happened or still happen. The error is the answer if all retries fail.
    Retry(StoreError),
    /// A retry at once does not help.
    Final(StoreError),
}

pub(super) type Outcome<T> = Result<T, Failure>;

/// `IndexOptionsConflict` and `IndexKeySpecsConflict`.
const INDEX_CONFLICT: [i32; 2] = [85, 86];
/// `AuthenticationFailed` and `Unauthorized`.
const REFUSED: [i32; 2] = [18, 13];
const OUT_OF_DISK_SPACE: i32 = 14031;
const DUPLICATE_KEY: [i32; 3] = [11000, 11001, 12582];
/// Codes of MongoDB's `error_codes.yml` that mean "not now" or "not this server".
const AWAY: [i32; 23] = [
    6,     // HostUnreachable
    7,     // HostNotFound
    24,    // LockTimeout
    43,    // CursorNotFound
    50,    // MaxTimeMSExpired
    64,    // WriteConcernTimeout: written, but not on a majority in time
    89,    // NetworkTimeout
    91,    // ShutdownInProgress
    100,   // UnsatisfiableWriteConcern
    112,   // WriteConflict
    134,   // ReadConcernMajorityNotAvailableYet
    175,   // QueryPlanKilled: the collection was replaced while it was read
    189,   // PrimarySteppedDown
    202,   // NetworkInterfaceExceededTimeLimit
    262,   // ExceededTimeLimit
    9001,  // SocketException
    10058, // LegacyNotPrimary
    10107, // NotWritablePrimary
    11600, // InterruptedAtShutdown
    11602, // InterruptedDueToReplStateChange
    13388, // StaleConfig
    13435, // NotPrimaryNoSecondaryOk
    13436, // NotPrimaryOrSecondary
];
const FULL: [&str; 4] = ["OutOfDiskSpace", "No space left on device", "space quota", "not enough disk space"];
const OVER_MAXIMUM: &str = "over maximum";

impl Failure {
    /// No answer within the time limit.
    pub(super) fn timed_out(after: Duration) -> Self {
        Self::Retry(StoreError::Unavailable(format!(
            "no answer from MongoDB within {}",
            humantime::format_duration(after)
        )))
    }

    /// The error for the caller after the last attempt.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Retry(error) | Self::Final(error) => error,
            Self::Oversize(why) | Self::IndexConflict(why) => StoreError::Internal(why),
            Self::Duplicate => {
                StoreError::Internal("MongoDB reports a duplicate key where none can be".to_owned())
            }
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        failure.into_error()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Final(error)
    }
}

impl From<Finding> for Failure {
    fn from(finding: Finding) -> Self {
        Self::Final(StoreError::Damaged(finding.to_string()))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        // Not the error's own text, which repeats the server's whole reply as hex digits.
        let text = text(&error.kind);
        let unavailable = || Self::Retry(StoreError::Unavailable(text.clone()));
        match *error.kind {
            ErrorKind::Io(_)
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::DnsResolve { .. } => unavailable(),
            ErrorKind::Authentication { .. } => refused(&text),
            ErrorKind::InvalidResponse { ref message, .. } if message.contains(OVER_MAXIMUM) => {
                Self::Oversize(text)
            }
            _ if error.contains_label("RetryableWriteError") => unavailable(),
            ref kind => match server_error(kind) {
                Some((code, _)) => by_code(code, text),
                None => Self::Final(StoreError::Internal(text)),
            },
        }
    }
}

fn by_code(code: i32, text: String) -> Failure {
    if DUPLICATE_KEY.contains(&code) {
        return Failure::Duplicate;
    }
    if INDEX_CONFLICT.contains(&code) {
        return Failure::IndexConflict(text);
    }
    if REFUSED.contains(&code) {
        return refused(&text);
    }
    if code == OUT_OF_DISK_SPACE || FULL.iter().any(|words| text.contains(words)) {
        return Failure::Final(StoreError::Full(text));
    }
    if AWAY.contains(&code) {
        return Failure::Retry(StoreError::Unavailable(text));
    }
    Failure::Final(StoreError::Internal(text))
}

/// A password that was rotated is an outage until somebody acts; a second try at once can't succeed.
fn refused(text: &str) -> Failure {
    Failure::Final(StoreError::Unavailable(format!(
        "MongoDB refuses this node's user: {text}; check the user and password in the connection string, its \
         authSource, and that the user has the role readWrite on the database; a node that runs already uses a changed \
         connection string after its restart"
    )))
}

fn text(kind: &ErrorKind) -> String {
    match server_error(kind) {
        Some((code, message)) => format!("MongoDB says {message:?} (code {code})"),
        None => kind.to_string(),
    }
}

/// The server's code and message, wherever the driver put them. Of many write errors the first that is no
/// duplicate key counts.
fn server_error(kind: &ErrorKind) -> Option<(i32, &str)> {
    match kind {
        ErrorKind::Command(error) => Some((error.code, &error.message)),
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some((error.code, &error.message)),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => Some((error.code, &error.message)),
        ErrorKind::InsertMany(failed) => {
            let errors = || failed.write_errors.iter().flatten().map(|error| (error.code, &*error.message));
            let concern = || failed.write_concern_error.as_ref().map(|error| (error.code, &*error.message));
            errors()
                .find(|(code, _)| !DUPLICATE_KEY.contains(code))
                .or_else(concern)
                .or_else(|| errors().next())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(code: i32, text: &str) -> StoreError {
        by_code(code, text.to_owned()).into_error()
    }

    #[test]
    fn codes_lead_to_what_a_caller_can_do() {
        assert!(matches!(by_code(11000, String::new()), Failure::Duplicate));
        assert!(matches!(sorted(14031, ""), StoreError::Full(_)));
        assert!(matches!(
            sorted(8000, "you are over your space quota, using 513 MB of 512 MB"),
            StoreError::Full(_)
        ));
        assert!(matches!(sorted(10107, "not primary"), StoreError::Unavailable(_)));
        assert!(matches!(sorted(64, "waiting for replication timed out"), StoreError::Unavailable(_)));
        assert!(matches!(sorted(2, "BadValue"), StoreError::Internal(_)));
    }

    #[test]
    fn a_refused_user_is_an_outage_that_no_retry_at_once_ends() {
        for code in REFUSED {
            let failure = by_code(code, "Authentication failed.".to_owned());
            let Failure::Final(StoreError::Unavailable(text)) = failure else {
                panic!("{code}: {failure:?}")
            };
            assert!(text.contains("check the user and password") && text.contains("restart"), "{text}");
        }
    }

    #[test]
    fn a_driver_error_without_a_code_is_sorted_by_its_kind() {
        let io = Error::from(ErrorKind::Io(std::sync::Arc::new(std::io::ErrorKind::UnexpectedEof.into())));
        assert!(matches!(Failure::from(io), Failure::Retry(StoreError::Unavailable(_))));
        assert!(matches!(Failure::from(Error::custom("x")), Failure::Final(StoreError::Internal(_))));
    }
}
