//! Names of sessions in logs and answers. On plaintext connections a session's id is a credential, so only its peer learns it;
//! everything else shows a hash.

use sha2::{Digest as _, Sha256};

/// Bytes of the hash in a name: enough to tell sessions apart, too few to find the id.
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
