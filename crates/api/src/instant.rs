//! Instants as the API shows them (protocol D14: ISO 8601).

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sorcha_register::clock::Timestamp;

/// An instant: ISO 8601, UTC, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub Timestamp);

impl From<Timestamp> for Instant {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
        Ok(Self(Timestamp::from_millis(at.as_millisecond())))
    }
}

#[cfg(feature = "openapi")]
mod schema {
    use std::borrow::Cow;

    use utoipa::{
        PartialSchema, ToSchema,
        openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, schema::Type},
    };

    use super::Instant;

    impl PartialSchema for Instant {
        fn schema() -> RefOr<Schema> {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
                .description(Some("ISO 8601, UTC, to the millisecond."))
                .examples(["2026-11-22T09:30:00.000Z"])
                .into()
        }
    }

    impl ToSchema for Instant {
        fn name() -> Cow<'static, str> {
            "Instant".into()
        }
    }
}
