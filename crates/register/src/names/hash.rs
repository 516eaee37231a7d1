//! SHA-256 digests, a type for each use.

use std::fmt;

use serde::{Deserialize, Serialize};

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

            /// The first 12 hex digits, for logs.
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

    /// The SHA-256 of a document.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
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

/// A checksum as text, without an allocation: entries are read by the hundred thousand.
#[derive(Clone, Copy)]
pub(crate) struct ChecksumText([u8; ChecksumText::LENGTH]);

impl ChecksumText {
    const LENGTH: usize = Checksum::PREFIX.len() + 64;

    pub(crate) fn as_str(&self) -> &str {
        // Prefix and digits are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Checksum {
    /// The text of this checksum.
    pub(crate) fn text(&self) -> ChecksumText {
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
