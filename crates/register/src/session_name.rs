//! What logs and answers call a session by. Who knows a session's id can speak for it where connections prove nothing, so the
//! id itself is told to its peer and to no one else.

use sha2::{Digest as _, Sha256};

/// Bytes of the hash that are told: enough to tell sessions apart, and nothing to find the id by.
const BYTES: usize = 6;

/// The name of the session with an id.
#[must_use]
pub fn session_name(id: &str) -> String {
    hex::encode(&Sha256::digest(id)[..BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_sessions_apart_and_shows_no_part_of_the_id() {
        let (first, second) = ("0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdee");
        assert_eq!(session_name(first), session_name(first));
        assert_ne!(session_name(first), session_name(second));
        assert!(!first.contains(&session_name(first)[..4]));
    }
}
