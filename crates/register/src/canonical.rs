//! Blueprint documents in canonical JSON (RFC 8785), the form in which they travel and are hashed
//! (ADR 29, protocol D10, D11, U8).

mod form;
mod numbers;
mod place;

use std::fmt;

use bytes::Bytes;
use sorcha_os::read;

use super::{limits, names::Checksum};

pub(crate) use numbers::Inexact;

/// What identifies a document without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    checksum: Checksum,
    /// Four bytes rather than eight: a register has one for each entry, and documents of 4 GB are refused.
    length: u32,
}

impl Fingerprint {
    /// Hashes the bytes of a document.
    pub(crate) fn of(document: &[u8]) -> Self {
        let length = u32::try_from(document.len()).unwrap_or(u32::MAX);
        Self { checksum: Checksum::of(document), length }
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub const fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// Length of the document, bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length as usize
    }
}

/// A blueprint document: its exact bytes and their checksum.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    bytes: Bytes,
    fingerprint: Fingerprint,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes, {})", self.bytes.len(), self.checksum())
    }
}

impl Document {
    /// Brings a JSON text into canonical form.
    ///
    /// # Errors
    /// [`InvalidDocument`] when it is not one JSON object, has a key twice, holds a number that would change its value, or is
    /// over the limit of 16 MB. A byte order mark at the beginning is skipped.
    pub fn canonicalize(json: &[u8]) -> Result<Self, InvalidDocument> {
        // White space may only shrink; a text far over the limit is refused before it is parsed.
        if json.len() > 2 * limits::DOCUMENT_BYTES {
            return Err(InvalidDocument::TooLarge { actual: json.len() });
        }
        let json = read::unmarked(json).map_err(|error| InvalidDocument::Encoding(error.to_string()))?;
        let form = form::write(json, limits::DOCUMENT_BYTES);
        check_numbers(json, &form)?;
        let is_json = !matches!(form, Err(InvalidDocument::Syntax(_)));
        if is_json && json.trim_ascii_start().first() != Some(&b'{') {
            return Err(InvalidDocument::NotAnObject);
        }
        Ok(Self::from_received(form?.into()))
    }

    /// Bytes from another node or a store: hashed, not parsed.
    #[must_use]
    pub fn from_received(bytes: Bytes) -> Self {
        let fingerprint = Fingerprint::of(&bytes);
        Self { bytes, fingerprint }
    }

    /// What identifies it.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The bytes, exactly.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub const fn checksum(&self) -> Checksum {
        self.fingerprint.checksum
    }
}

/// Why a text is not a blueprint document.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message names each field")]
pub enum InvalidDocument {
    /// Not UTF-8.
    #[error("the document is no JSON text: {0}")]
    Encoding(String),
    /// A number that canonical JSON would change.
    #[error("{0}")]
    Number(Inexact),
    /// Not JSON, or JSON with two readings (a duplicate key).
    #[error("the document is not unambiguous JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    /// JSON, but not an object.
    #[error("the document is not a JSON object")]
    NotAnObject,
    /// Over the contract's limit.
    #[error("the document has {actual} bytes; the limit is {} (16 MB)", limits::DOCUMENT_BYTES)]
    TooLarge { actual: usize },
}

/// Of two faults the first one counts. The parser refuses numbers that no double holds, too, but names no remedy.
fn check_numbers(json: &[u8], form: &Result<Vec<u8>, InvalidDocument>) -> Result<(), InvalidDocument> {
    match (form, numbers::check(json)) {
        (_, Ok(())) => Ok(()),
        (Err(InvalidDocument::Syntax(error)), Err(inexact)) if offset_of(json, error) < inexact.offset() => {
            Ok(())
        }
        (_, Err(inexact)) => Err(InvalidDocument::Number(inexact)),
    }
}

/// Where the parser stopped.
fn offset_of(json: &[u8], error: &serde_json::Error) -> usize {
    let lines = json.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
    lines.map(<[u8]>::len).sum::<usize>() + error.column()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> String {
        String::from_utf8(Document::canonicalize(json.as_bytes()).unwrap().bytes().to_vec()).unwrap()
    }

    fn refusal(json: &str) -> String {
        Document::canonicalize(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn follows_rfc_8785() {
        assert_eq!(
            canonical(r#" { "b" : 1.0, "a" : [ true , null ], "€": 1e2 } "#),
            r#"{"a":[true,null],"b":1,"€":100}"#
        );
        // Keys sort by UTF-16 code units: U+1F600 (a surrogate pair) before U+FB33.
        assert_eq!(canonical("{\"\u{fb33}\":1,\"\u{1F600}\":2}"), "{\"\u{1F600}\":2,\"\u{fb33}\":1}");
        assert_eq!(canonical(r#"{"n":333333333.33333329,"z":-0.0}"#), r#"{"n":333333333.3333333,"z":0}"#);
    }

    #[test]
    fn same_value_same_checksum() {
        let a = Document::canonicalize(br#"{"x":1,"y":2}"#).unwrap();
        let b = Document::canonicalize(b"{ \"y\" : 2, \"x\" : 1 }").unwrap();
        assert_eq!(a.checksum(), b.checksum());
    }

    #[test]
    fn refuses_what_has_two_readings() {
        assert!(refusal(r#"{"a":1,"a":2}"#).contains("\"a\" appears twice"));
        assert!(refusal(r#"{"a":{"b":1,"b":1}}"#).contains("appears twice"));
        assert!(refusal(r#"{"n":9007199254740993}"#).contains("write it as a string"));
        assert!(refusal(r#"{"n":-9007199254740993}"#).contains("write it as a string"));
        assert!(refusal("[]").contains("not a JSON object"));
        assert!(refusal(r#"{"a":1} {"#).contains("trailing"));
        assert!(refusal("{\"a\\u0000\":1}").contains("NUL"));
        assert!(refusal("").contains("EOF"));
        assert!(refusal(&format!("{}{}", "[".repeat(500), "]".repeat(500))).contains("recursion"));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_document_and_other_encodings_are_named() {
        assert_eq!(canonical("\u{feff}{\"a\":\"\u{feff}\"}"), "{\"a\":\"\u{feff}\"}");
        let utf_16: Vec<u8> =
            [0xfeff].into_iter().chain("{}".encode_utf16()).flat_map(u16::to_be_bytes).collect();
        let error = Document::canonicalize(&utf_16).unwrap_err().to_string();
        assert!(error.contains("UTF-16 text; save it as UTF-8"), "{error}");
        assert!(refusal("{\"a\":\u{feff}1}").contains("expected value"), "only at the beginning");
    }

    #[test]
    fn a_number_is_named_before_what_is_wrong_behind_it_and_not_after() {
        assert!(refusal(r#"{"a":1e400,"b":}"#).contains("1e400 at /a (line 1, column 6)"));
        assert!(refusal(r#"{"a":18446744073709551617,"b":}"#).contains("18446744073709551617 at /a"));
        assert!(refusal(r#"{"a":,"b":1e400}"#).contains("line 1 column 6"));
        assert!(refusal("{\"a\":\"\\ud800\"}").contains("hex escape"));
        assert!(refusal("{\"\\u0061\":1,\"a\":2}").contains("appears twice"));
    }

    #[test]
    fn refuses_a_document_over_the_limit_by_its_canonical_size() {
        let text = |size: usize| format!("{{\"d\":\"{}\"}}", "x".repeat(size));
        let overhead = text(0).len();
        assert!(Document::canonicalize(text(limits::DOCUMENT_BYTES - overhead).as_bytes()).is_ok());
        let over =
            Document::canonicalize(text(limits::DOCUMENT_BYTES - overhead + 1).as_bytes()).unwrap_err();
        assert!(over.to_string().contains("16777217"), "{over}");
    }

    proptest::proptest! {
        #[test]
        fn canonical_form_is_a_fixed_point(map in proptest::collection::btree_map(".{0,8}", proptest::num::f64::NORMAL, 0..8)) {
            let json = serde_json::to_vec(&map).unwrap();
            if let Ok(first) = Document::canonicalize(&json) {
                let second = Document::canonicalize(first.bytes()).unwrap();
                proptest::prop_assert_eq!(first, second);
            }
        }
    }
}
