//! Blueprint documents as BSON that people can query, and back to the very same bytes (ADR 29).
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
/// Nesting accepted from the database. The JSON parser takes 128 levels and MongoDB 180.
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
/// [`NotCanonical`] when it holds something that [`to_bson`] does not write. What it can't tell, such as the order
/// of keys, shows in the checksum of the bytes.
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
mod tests {
    use mongodb::bson::{Bson, Document as Bdoc, doc};
    use proptest::prelude::*;

    use super::*;
    use sorcha_register::canonical::Document;

    fn stored(json: &str) -> Bdoc {
        Bdoc::try_from(to_bson(json.as_bytes()).unwrap()).unwrap()
    }

    fn refused(document: Bdoc) -> String {
        to_json(&RawDocumentBuf::try_from(document).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn people_can_query_what_is_stored() {
        let bson = stored(
            r#"{"$schema":"s","a.b":[1,2.5,12345678901,1e300],"name":"x","nested":{"$id":null,"cost$":true}}"#,
        );
        let expected = doc! {
            "\u{ff04}schema": "s", "a\u{ff0e}b": [1, 2.5, 12_345_678_901_i64, 1e300], "name": "x",
            "nested": { "\u{ff04}id": Bson::Null, "cost$": true },
        };
        assert_eq!(bson, expected);
    }

    #[test]
    fn keys_with_the_escapes_own_characters_stay_apart() {
        let keys = [
            "$a", "＄a", "＼＄a", "＼$a", "a.b", "a．b", "a＼．b", "＼", "＼＼", "＼0", "\0", "", "$", "a$",
            "a＄",
        ];
        let mut seen = std::collections::HashSet::new();
        for key in keys {
            let escaped = escape_key(key).unwrap().into_string();
            assert_eq!(unescape_key(&escaped).as_deref(), Some(key));
            assert!(!escaped.starts_with('$') && !escaped.contains(['.', '\0']), "{escaped}");
            assert!(seen.insert(escaped), "{key:?} is not told from another");
        }
        for never_written in ["$a", "a.b", "a＄", "＼", "＼x"] {
            assert_eq!(unescape_key(never_written), None, "{never_written}");
        }
    }

    #[test]
    fn only_the_one_form_of_a_value_is_read() {
        assert!(refused(doc! { "a": 5_i64 }).contains("5 as a 64-bit integer"));
        assert!(refused(doc! { "a": 5.0 }).contains("5 as a double"));
        assert!(refused(doc! { "a": -0.0 }).contains("as a double"));
        assert!(refused(doc! { "a": [f64::NAN] }).contains("NaN"));
        assert!(refused(doc! { "a": 1_i64 << 53 }).contains("64-bit"));
        assert!(
            refused(doc! { "a": mongodb::bson::oid::ObjectId::from_bytes([1; 12]) }).contains("ObjectId")
        );
        assert!(refused(doc! { "a": { "b.c": 1 } }).contains("b.c"));
    }

    #[test]
    fn array_keys_and_depth_are_checked() {
        let mut bytes = to_bson(br#"{"a":[true,false]}"#).unwrap().into_bytes();
        let at = bytes.windows(3).position(|w| w == [8, b'1', 0]).unwrap();
        bytes[at + 1] = b'2';
        let tampered = RawDocumentBuf::from_bytes(bytes).unwrap();
        assert!(to_json(&tampered).unwrap_err().to_string().contains("has the key \"2\""));
        let deep = (0..300).fold(doc! {}, |inner, _| doc! { "a": inner });
        assert!(refused(deep).contains("nested deeper"));
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for text in ["[]", "1", "{} {}", "{", ""] {
            assert!(to_bson(text.as_bytes()).is_err(), "{text}");
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let text =
            prop_oneof!["[a-z$.＄．＼0\\\\\"\u{1}€😀]{0,6}", ".{0,4}"].prop_map(|t| t.replace('\0', ""));
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(Into::into),
            (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            (any::<i32>(), 0_i32..300).prop_map(|(n, e)| (f64::from(n) * 10_f64.powi(e)).into()),
            text.clone().prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 40, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::hash_map(text.clone(), inner, 0..6)
                    .prop_map(|m| m.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn exact_bytes_come_back(members in proptest::collection::hash_map(".{0,6}".prop_map(|t| t.replace('\0', "")), json(), 0..8)) {
            let text = serde_json::to_vec(&members).unwrap();
            let document = Document::canonicalize(&text).unwrap();
            let bson = to_bson(document.bytes()).unwrap();
            prop_assert_eq!(&to_json(&bson).unwrap()[..], &document.bytes()[..]);
            // Through the driver's own document type too, as other tools would copy it.
            let copied = RawDocumentBuf::try_from(Bdoc::try_from(bson.clone()).unwrap()).unwrap();
            prop_assert_eq!(copied.as_bytes(), bson.as_bytes());
        }

        #[test]
        fn every_key_comes_back(key in "[$.＄．＼0a\u{0}é]{0,8}") {
            let escaped = escape_key(&key).unwrap().into_string();
            prop_assert!(!escaped.starts_with('$') && !escaped.contains('.'));
            prop_assert_eq!(unescape_key(&escaped).unwrap(), key);
        }

        #[test]
        fn arbitrary_bson_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut framed = u32::try_from(bytes.len() + 5).unwrap().to_le_bytes().to_vec();
            framed.extend_from_slice(&bytes);
            framed.push(0);
            drop(to_json(&RawDocumentBuf::from_bytes(framed).unwrap()));
        }
    }
}
