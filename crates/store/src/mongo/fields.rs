//! Strict reader of a document's fields: each has the type that nodes write, and no other field exists.

use std::collections::BTreeMap;

use mongodb::bson::{RawArray, RawBsonRef, RawDocument, spec::BinarySubtype};
use sorcha_register::{clock::Timestamp, integrity::Fault, names::Version};

use super::document::{NotCanonical, unescape_key};

/// The fields of a document, each taken once.
pub(super) struct Fields<'a>(BTreeMap<&'a str, RawBsonRef<'a>>);

impl<'a> Fields<'a> {
    pub(super) fn read(raw: &'a RawDocument) -> Result<Self, Fault> {
        let mut fields = BTreeMap::new();
        for field in raw {
            let (key, value) =
                field.map_err(|error| Fault::Damaged(format!("not readable as BSON: {error}")))?;
            if fields.insert(key.as_str(), value).is_some() {
                return Err(Fault::Damaged(format!("it has the field {:?} twice", key.as_str())));
            }
        }
        Ok(Self(fields))
    }

    fn take<T>(&mut self, key: &str, read: impl FnOnce(RawBsonRef<'a>) -> Option<T>) -> Result<T, Fault> {
        let value =
            self.0.remove(key).ok_or_else(|| Fault::Damaged(format!("its field {key:?} is missing")))?;
        read(value)
            .ok_or_else(|| Fault::Damaged(format!("its field {key:?} is of type {:?}", value.element_type())))
    }

    pub(super) fn text(&mut self, key: &str) -> Result<&'a str, Fault> {
        self.take(key, |value| value.as_str())
    }

    pub(super) fn object(&mut self, key: &str) -> Result<&'a RawDocument, Fault> {
        self.take(key, |value| value.as_document())
    }

    pub(super) fn int64(&mut self, key: &str) -> Result<i64, Fault> {
        self.take(key, |value| value.as_i64())
    }

    pub(super) fn boolean(&mut self, key: &str) -> Result<bool, Fault> {
        self.take(key, |value| value.as_bool())
    }

    pub(super) fn date(&mut self, key: &str) -> Result<Timestamp, Fault> {
        self.take(key, |value| value.as_datetime())
            .map(|date| Timestamp::from_millis(date.timestamp_millis()))
    }

    pub(super) fn bytes(&mut self, key: &str) -> Result<&'a [u8], Fault> {
        self.take(key, |value| {
            value.as_binary().filter(|b| b.subtype == BinarySubtype::Generic).map(|b| b.bytes)
        })
    }

    pub(super) fn optional_text(&mut self, key: &str) -> Result<String, Fault> {
        if !self.0.contains_key(key) {
            return Ok(String::new());
        }
        match self.text(key)? {
            "" => Err(present_but_empty(key)),
            text => Ok(text.to_owned()),
        }
    }

    pub(super) fn metadata(&mut self) -> Result<BTreeMap<String, String>, Fault> {
        const KEY: &str = "metadata";
        let mut pairs = BTreeMap::new();
        if !self.0.contains_key(KEY) {
            return Ok(pairs);
        }
        for pair in self.object(KEY)? {
            let (key, value) = pair.map_err(|error| damaged(KEY, &error.into()))?;
            let (Some(key), Some(value)) = (unescape_key(key.as_str()), value.as_str()) else {
                return Err(damaged(KEY, &NotCanonical::new(format!("its pair {:?}", key.as_str()))));
            };
            if pairs.last_key_value().is_some_and(|(last, _): (&String, _)| **last >= *key) {
                return Err(damaged(KEY, &NotCanonical::new(format!("the key {key:?} is out of order"))));
            }
            pairs.insert(key.into_owned(), value.to_owned());
        }
        if pairs.is_empty() { Err(present_but_empty(KEY)) } else { Ok(pairs) }
    }

    /// The list of versions, which ends with the entry's own; returns those before.
    pub(super) fn versions_before(&mut self, own: Version) -> Result<Vec<Version>, Fault> {
        const KEY: &str = "versions";
        let array = self.take(KEY, |value| value.as_array())?;
        let mut versions = decode_versions(array).map_err(|why| damaged(KEY, &why))?;
        if versions.pop() != Some(own) || !versions.iter().chain([&own]).is_sorted_by(|a, b| a < b) {
            return Err(damaged(KEY, &NotCanonical::new("it does not ascend to the entry's own")));
        }
        Ok(versions)
    }

    pub(super) fn expect_no_others(&self) -> Result<(), Fault> {
        match self.0.keys().next() {
            Some(key) => Err(Fault::Damaged(format!("it has a field {key:?}, which no node writes"))),
            None => Ok(()),
        }
    }
}

fn present_but_empty(key: &str) -> Fault {
    Fault::Damaged(format!("its field {key:?} is empty; a node would have left it out"))
}

/// A field of the right type with a value that no node writes.
pub(super) fn damaged(field: &str, why: &NotCanonical) -> Fault {
    Fault::Damaged(format!("its field {field:?} is not what a node writes: {why}"))
}

/// A list of versions.
///
/// # Errors
/// When it is not one of 64-bit integers from 0.
pub(super) fn decode_versions(array: &RawArray) -> Result<Vec<Version>, NotCanonical> {
    let items = RawDocument::from_bytes(array.as_bytes())?;
    let mut versions = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let (key, value) = item?;
        match value {
            RawBsonRef::Int64(number) if key.as_str() == at.to_string() => versions.push(
                Version::new("versions", number).map_err(|error| NotCanonical::new(error.to_string()))?,
            ),
            other => return Err(NotCanonical::new(format!("element {} is {other:?}", key.as_str()))),
        }
    }
    Ok(versions)
}
