//! Newtypes for the identifiers that must not be mixed up, each valid by construction.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::limits;

/// Why a value is not a valid identifier or field: names the field, the limit and what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidField {
    /// A required field is empty.
    #[error("{field} is empty; it needs 1 to {max} characters")]
    Empty {
        /// Name of the field as in the contract.
        field: &'static str,
        /// The limit.
        max: usize,
    },
    /// A field is longer than its limit.
    #[error("{field} has {actual} {unit}; the limit is {max}")]
    TooLong {
        /// Name of the field as in the contract.
        field: &'static str,
        /// What was found.
        actual: usize,
        /// The limit.
        max: usize,
        /// `characters` or `bytes`.
        unit: &'static str,
    },
    /// A field has a character outside its pattern.
    #[error(
        "{field} has the character {found:?} at position {position}; allowed are a-z, A-Z, 0-9, '-' and '_'"
    )]
    Pattern {
        /// Name of the field as in the contract.
        field: &'static str,
        /// The first offending character.
        found: char,
        /// Its position, in characters from 0.
        position: usize,
    },
    /// A field has a character that it may not have, whatever its place.
    #[error("{field} has the control character {found:?} at position {position}; leave it out")]
    Control {
        /// Name of the field as in the contract.
        field: &'static str,
        /// The first of them.
        found: char,
        /// Its position, in characters from 0.
        position: usize,
    },
    /// A number is outside its range.
    #[error("{field} is {actual}; it must be {expected}")]
    Range {
        /// Name of the field as in the contract.
        field: &'static str,
        /// What was found.
        actual: String,
        /// The range, in words.
        expected: &'static str,
    },
}

/// Checks that a text has no control characters: nobody sees them, and not every store keeps them.
///
/// # Errors
/// [`InvalidField::Control`] naming the field.
pub fn check_visible(field: &'static str, value: &str) -> Result<(), InvalidField> {
    match value.chars().enumerate().find(|(_, found)| found.is_control()) {
        Some((position, found)) => Err(InvalidField::Control { field, found, position }),
        None => Ok(()),
    }
}

/// Checks the length of a text field in characters.
///
/// # Errors
/// [`InvalidField::TooLong`] when it has more than `max` characters.
pub fn check_length(field: &'static str, value: &str, max: usize) -> Result<(), InvalidField> {
    // A byte length within the limit settles it without counting.
    if value.len() <= max {
        return Ok(());
    }
    match value.chars().count() {
        actual if actual > max => Err(InvalidField::TooLong { field, actual, max, unit: "characters" }),
        _ => Ok(()),
    }
}

fn check_identifier(field: &'static str, value: &str, max: usize) -> Result<(), InvalidField> {
    if value.is_empty() {
        return Err(InvalidField::Empty { field, max });
    }
    check_length(field, value, max)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match value.chars().enumerate().find(|(_, c)| !allowed(*c)) {
        Some((position, found)) => Err(InvalidField::Pattern { field, found, position }),
        None => Ok(()),
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $field:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Validates and wraps.
            ///
            /// # Errors
            /// [`InvalidField`] when empty, too long, or outside `^[a-zA-Z0-9\-_]+$`.
            pub fn new(value: impl AsRef<str>) -> Result<Self, InvalidField> {
                check_identifier($field, value.as_ref(), $max)?;
                Ok(Self(value.as_ref().into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidField;
            fn from_str(value: &str) -> Result<Self, InvalidField> {
                Self::new(value)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidField;
            fn try_from(value: String) -> Result<Self, InvalidField> {
                Self::new(value)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.as_ref().to_owned()
            }
        }
    };
}

identifier!(
    /// Identity of a peer: 1-64 characters of `^[a-zA-Z0-9\-_]+$` (protocol section 3.1).
    PeerId, "peer_id", limits::PEER_ID_CHARS
);
identifier!(
    /// Key of a blueprint: 1-255 characters of `^[a-zA-Z0-9\-_]+$` (protocol section 3.3).
    BlueprintId, "blueprint_id", limits::BLUEPRINT_ID_CHARS
);

/// A position in the register-wide version counter: 0 for the empty register, else 1 or more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Version(i64);

impl Version {
    /// The empty register.
    pub const ZERO: Self = Self(0);
    /// What a new register begins with.
    pub const FIRST: Self = Self(1);
    /// The greatest version that there can be.
    pub const MAX: Self = Self(i64::MAX);

    /// Validates a number from the wire or a store.
    ///
    /// # Errors
    /// [`InvalidField::Range`] when negative; `field` is the name the error gives.
    pub fn new(field: &'static str, value: i64) -> Result<Self, InvalidField> {
        if value < 0 {
            return Err(InvalidField::Range { field, actual: value.to_string(), expected: "0 or more" });
        }
        Ok(Self(value))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The version after this one; none after [`Version::MAX`].
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(next) => Some(Self(next)),
            None => None,
        }
    }

    /// This many versions later, at most [`Version::MAX`].
    #[must_use]
    pub const fn plus(self, versions: u32) -> Self {
        Self(self.0.saturating_add(versions as i64))
    }

    /// The version before this one; zero stays zero.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(if self.0 > 0 { self.0 - 1 } else { 0 })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl TryFrom<i64> for Version {
    type Error = InvalidField;
    fn try_from(value: i64) -> Result<Self, InvalidField> {
        Self::new("version", value)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(i64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

macro_rules! hash32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// From the 32 bytes of a SHA-256.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// From a slice; `None` unless it has 32 bytes.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// From 64 hex digits.
            #[must_use]
            pub fn from_hex(text: &str) -> Option<Self> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).ok()?;
                Some(Self(bytes))
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first 12 hex digits, for people.
            #[must_use]
            pub fn short(&self) -> String {
                hex::encode(&self.0[..6])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("expected 64 hex digits"))
            }
        }
    };
}

hash32!(
    /// Identity of a register's history: SHA-256 of its genesis record (ADR 26).
    Lineage
);
hash32!(
    /// Digest of a register at one version: equal digests at equal versions mean equal replicas (ADR 2).
    RegisterDigest
);
hash32!(
    /// Digest of one entry: every field and, through the checksum, every byte of the document.
    Leaf
);

/// SHA-256 of a document's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Checksum([u8; 32]);

impl Checksum {
    const PREFIX: &'static str = "sha256:";

    /// Hashes a document.
    #[must_use]
    pub fn of(document: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(document).into())
    }

    /// Parses `sha256:` and 64 lower-case hex digits (protocol D11).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(Self::PREFIX)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

/// A checksum as it stands on the wire, without an allocation: entries are read by the hundred thousand.
#[derive(Clone, Copy)]
pub(super) struct ChecksumText([u8; ChecksumText::LENGTH]);

impl ChecksumText {
    const LENGTH: usize = Checksum::PREFIX.len() + 64;

    pub(super) fn as_str(&self) -> &str {
        // Prefix and digits are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Checksum {
    /// The text of this checksum.
    pub(super) fn text(&self) -> ChecksumText {
        let mut text = [0; ChecksumText::LENGTH];
        let (prefix, digits) = text.split_at_mut(Self::PREFIX.len());
        prefix.copy_from_slice(Self::PREFIX.as_bytes());
        // Two digits a byte: they fit.
        let _fits = hex::encode_to_slice(self.0, digits);
        ChecksumText(text)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_name_the_limit_and_what_was_found() {
        assert!(PeerId::new("edge-0_A").is_ok());
        assert!(PeerId::new("a".repeat(64)).is_ok());
        let long = PeerId::new("a".repeat(65)).unwrap_err().to_string();
        assert_eq!(long, "peer_id has 65 characters; the limit is 64");
        assert!(PeerId::new("").unwrap_err().to_string().contains("empty"));
        let pattern = BlueprintId::new("a.b").unwrap_err().to_string();
        assert!(pattern.contains("'.'") && pattern.contains("position 1"), "{pattern}");
    }

    #[test]
    fn lengths_count_characters_not_bytes() {
        assert!(check_length("published_by", &"é".repeat(255), 255).is_ok());
        assert!(check_length("published_by", &"é".repeat(256), 255).is_err());
    }

    #[test]
    fn versions_refuse_negative_numbers_from_everywhere() {
        assert!(Version::new("last_known_version", -1).is_err());
        assert_eq!(Version::new("head", i64::MAX), Ok(Version::MAX));
        let negative = Version::new("head", -5).unwrap_err().to_string();
        assert_eq!(negative, "head is -5; it must be 0 or more");
        assert_eq!((Version::ZERO.next(), Version::MAX.next()), (Some(Version(1)), None));
        assert!(serde_json::from_str::<Version>("-1").is_err());
        assert_eq!(Version::ZERO.previous(), Version::ZERO);
    }

    #[test]
    fn checksum_text_round_trips() {
        let sum = Checksum::of(b"{}");
        assert_eq!(Checksum::parse(&sum.to_string()), Some(sum));
        assert_eq!(Checksum::parse("sha256:00"), None);
        assert_eq!(Checksum::parse(&hex::encode([0; 32])), None);
    }
}
