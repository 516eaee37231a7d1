//! Lossless codec of blueprint documents as queryable BSON (ADR 29).
//!
//! Canonical JSON -> BSON: objects and arrays keep their order; integers within ±(2^53 - 1) become Int32 where
//! they fit, else Int64; all other numbers become Double. There is exactly one BSON form of a canonical document,
//! and reading accepts no other: a changed type, order or key in the database never goes unnoticed.
//!
//! Keys that MongoDB 4.4 refuses or that queries can't address are written with the full-width forms that
//! MongoDB's own manual recommends: a leading `$` as U+FF04, every `.` as U+FF0E. Those two characters, and the
//! escape character U+FF3C itself, are written after a U+FF3C where they occur in a key; U+0000, which metadata
//! keys may hold and BSON keys may not, as U+FF3C `0`.

use std::{borrow::Cow, fmt};

use mongodb::bson::{RawArrayBuf, RawBson, RawBsonRef, RawDocument, RawDocumentBuf, raw::CString};
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
};

/// Integers up to this one are exact as IEEE 754 doubles, the numbers of RFC 8785.
const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;
/// Deepest nesting read from the database. The JSON parser takes 128 levels and MongoDB 180.
const MAX_DEPTH: usize = 200;

const DOLLAR: char = '\u{ff04}';
const DOT: char = '\u{ff0e}';
const ESCAPE: char = '\u{ff3c}';

/// Why a value from the database is not the BSON form of a canonical document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotCanonical(String);

impl NotCanonical {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

fn not_canonical<T>(why: impl Into<String>) -> Result<T, NotCanonical> {
    Err(NotCanonical::new(why))
}

impl From<mongodb::bson::error::Error> for NotCanonical {
    fn from(error: mongodb::bson::error::Error) -> Self {
        Self(error.to_string())
    }
}

/// The BSON form of a JSON object.
///
/// # Errors
/// When the text is not one JSON object.
pub(super) fn to_bson(json: &[u8]) -> Result<RawDocumentBuf, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let value = ToBson.deserialize(&mut reader)?;
    reader.end()?;
    match value {
        RawBson::Document(document) => Ok(document),
        _ => Err(serde_json::Error::custom("it is not a JSON object")),
    }
}

struct ToBson;

impl<'de> DeserializeSeed<'de> for ToBson {
    type Value = RawBson;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawBson, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ToBson {
    type Value = RawBson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<RawBson, E> {
        Ok(RawBson::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawBson, E> {
        Ok(RawBson::Boolean(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<RawBson, E> {
        Ok(match i32::try_from(number) {
            Ok(small) => RawBson::Int32(small),
            Err(_) if number.abs() <= MAX_SAFE_INTEGER => RawBson::Int64(number),
            // Canonical JSON holds only such integers that a double keeps.
            Err(_) => RawBson::Double(number as f64),
        })
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<RawBson, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => Ok(RawBson::Double(number as f64)),
        }
    }

    fn visit_f64<E>(self, number: f64) -> Result<RawBson, E> {
        Ok(RawBson::Double(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<RawBson, E> {
        Ok(RawBson::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawBson, A::Error> {
        let mut array = RawArrayBuf::new();
        while let Some(item) = items.next_element_seed(Self)? {
            array.push(item);
        }
        Ok(RawBson::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<RawBson, A::Error> {
        let mut document = RawDocumentBuf::new();
        while let Some(Key(key)) = members.next_key()? {
            let value = members.next_value_seed(Self)?;
            document.append(escape_key(&key).map_err(A::Error::custom)?, value);
        }
        Ok(RawBson::Document(document))
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The canonical JSON that a document from the database is the form of.
///
/// # Errors
/// [`NotCanonical`] when it holds something that [`to_bson`] does not write. The checksum shows other differences, such as the
/// order of keys.
pub(super) fn to_json(document: &RawDocument) -> Result<Vec<u8>, NotCanonical> {
    let mut out = Vec::with_capacity(document.as_bytes().len());
    write_object(&mut out, document, 0)?;
    Ok(out)
}

fn write_value(out: &mut Vec<u8>, value: RawBsonRef<'_>, depth: usize) -> Result<(), NotCanonical> {
    match value {
        RawBsonRef::Null => out.extend_from_slice(b"null"),
        RawBsonRef::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        RawBsonRef::Int32(number) => out.extend_from_slice(number.to_string().as_bytes()),
        RawBsonRef::Int64(number) => write_int64(out, number)?,
        RawBsonRef::Double(number) => write_double(out, number)?,
        RawBsonRef::String(text) => write_text(out, text)?,
        RawBsonRef::Array(items) => {
            // As a document: an array's iterator would not show its keys, which must be 0, 1, 2 and so on.
            write_array(out, RawDocument::from_bytes(items.as_bytes())?, depth + 1)?;
        }
        RawBsonRef::Document(members) => write_object(out, members, depth + 1)?,
        other => return not_canonical(format!("it holds a value of type {:?}", other.element_type())),
    }
    Ok(())
}

fn write_object(out: &mut Vec<u8>, document: &RawDocument, depth: usize) -> Result<(), NotCanonical> {
    check_depth(depth)?;
    out.push(b'{');
    for (at, member) in document.iter().enumerate() {
        let (key, value) = member?;
        let Some(key) = unescape_key(key.as_str()) else {
            return not_canonical(format!("it holds the key {:?}", key.as_str()));
        };
        if at > 0 {
            out.push(b',');
        }
        write_text(out, &key)?;
        out.push(b':');
        write_value(out, value, depth)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_array(out: &mut Vec<u8>, items: &RawDocument, depth: usize) -> Result<(), NotCanonical> {
    check_depth(depth)?;
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        let (key, value) = item?;
        if key.as_str() != at.to_string() {
            return not_canonical(format!("element {at} of an array has the key {:?}", key.as_str()));
        }
        if at > 0 {
            out.push(b',');
        }
        write_value(out, value, depth)?;
    }
    out.push(b']');
    Ok(())
}

fn check_depth(depth: usize) -> Result<(), NotCanonical> {
    if depth > MAX_DEPTH {
        not_canonical(format!("it is nested deeper than {MAX_DEPTH} levels"))
    } else {
        Ok(())
    }
}

fn write_int64(out: &mut Vec<u8>, number: i64) -> Result<(), NotCanonical> {
    if i32::try_from(number).is_ok() || number.abs() > MAX_SAFE_INTEGER {
        return not_canonical(format!("it holds {number} as a 64-bit integer"));
    }
    out.extend_from_slice(number.to_string().as_bytes());
    Ok(())
}

fn write_double(out: &mut Vec<u8>, number: f64) -> Result<(), NotCanonical> {
    let is_integer = number.trunc() == number && number.abs() <= MAX_SAFE_INTEGER as f64;
    match serde_json_canonicalizer::to_string(&number) {
        Ok(text) if !is_integer && number.is_finite() => out.extend_from_slice(text.as_bytes()),
        _ => return not_canonical(format!("it holds {number} as a double")),
    }
    Ok(())
}

fn write_text(out: &mut Vec<u8>, text: &str) -> Result<(), NotCanonical> {
    // serde_json escapes exactly what RFC 8785 section 3.2.2.2 asks for.
    serde_json::to_writer(out, text).map_err(|error| NotCanonical(error.to_string()))
}

/// A JSON key as MongoDB takes it.
///
/// # Errors
/// Never: no escaped key holds U+0000.
pub(super) fn escape_key(key: &str) -> Result<CString, mongodb::bson::error::Error> {
    if !key.contains([DOLLAR, DOT, ESCAPE, '.', '\0']) && !key.starts_with('$') {
        return CString::try_from(key);
    }
    let mut escaped = String::with_capacity(key.len() + 8);
    for (at, c) in key.char_indices() {
        match c {
            '$' if at == 0 => escaped.push(DOLLAR),
            '.' => escaped.push(DOT),
            '\0' => escaped.extend([ESCAPE, '0']),
            DOLLAR | DOT | ESCAPE => escaped.extend([ESCAPE, c]),
            other => escaped.push(other),
        }
    }
    CString::try_from(escaped)
}

/// The JSON key of a key in the database; `None` for one that [`escape_key`] does not write.
pub(super) fn unescape_key(key: &str) -> Option<Cow<'_, str>> {
    if !key.contains([DOLLAR, DOT, ESCAPE, '.']) && !key.starts_with('$') {
        return Some(Cow::Borrowed(key));
    }
    let mut plain = String::with_capacity(key.len());
    let mut chars = key.char_indices();
    while let Some((at, c)) = chars.next() {
        plain.push(match c {
            DOLLAR if at == 0 => '$',
            DOT => '.',
            ESCAPE => match chars.next()?.1 {
                '0' => '\0',
                literal @ (DOLLAR | DOT | ESCAPE) => literal,
                _ => return None,
            },
            '.' | DOLLAR => return None,
            '$' if at == 0 => return None,
            other => other,
        });
    }
    Some(Cow::Owned(plain))
}

#[cfg(test)]
mod tests;
