//! Newtypes of identifiers and versions, each valid by construction.

mod field;
mod hash;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use self::field::check_identifier;
pub use self::{
    field::{InvalidField, check_length, check_visible},
    hash::{Checksum, Leaf, Lineage, RegisterDigest},
};
use super::limits;

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

#[cfg(test)]
mod tests;
