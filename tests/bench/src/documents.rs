//! The documents that are published: JSON of 2 KB, each another, none compressible to nothing.

use sha2::{Digest as _, Sha256};

/// Size of a document, bytes.
pub(crate) const BYTES: usize = 2048;

/// Size of a checksum, bytes.
const CHECKSUM: usize = 32;
const PREFIX: &str = "bench-";
const DIGITS: usize = 8;
/// What stands before the digits of a document's id.
const HEAD: &str = r#"{"id":"bench-"#;
/// Letters that are themselves in JSON.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Makes documents.
#[derive(Debug)]
pub(crate) struct Documents {
    filler: String,
}

impl Documents {
    /// The same documents in every run.
    pub(crate) fn new() -> Self {
        // A linear congruential generator: what the text is does not matter, that it repeats from run to run does.
        let mut state = 0x5eed_u64;
        let letters = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(ALPHABET[(state >> 58) as usize])
        });
        Self { filler: letters.take(64 * BYTES).collect() }
    }

    /// The document of a number, in canonical form.
    pub(crate) fn document(&self, index: usize) -> String {
        self.sized(index, BYTES)
    }

    /// A document of another size, in canonical form.
    pub(crate) fn sized(&self, index: usize, bytes: usize) -> String {
        let mut document = String::with_capacity(bytes);
        document += &format!(r#"{{"id":"{}","text":""#, id(index));
        let tail = r#""}"#;
        let mut start = index.wrapping_mul(97) % self.filler.len();
        while document.len() + tail.len() < bytes {
            let length = bytes - tail.len() - document.len();
            document += &self.filler[start..self.filler.len().min(start + length)];
            start = 0;
        }
        document + tail
    }
}

/// A size of documents, bytes, for people.
pub(crate) fn size_name(bytes: usize) -> String {
    match bytes / 1024 {
        kilobytes if kilobytes >= 1024 => format!("{} MB", kilobytes / 1024),
        kilobytes => format!("{kilobytes} KB"),
    }
}

/// The blueprint id of a document.
pub(crate) fn id(index: usize) -> String {
    format!("{PREFIX}{index:0DIGITS$}")
}

/// A document with its SHA-256 behind it, for subscribers that verify it.
pub(crate) fn with_checksum(document: String) -> Vec<u8> {
    let checksum = Sha256::digest(&document);
    let mut bytes = document.into_bytes();
    bytes.extend_from_slice(&checksum);
    bytes
}

/// The document before a checksum; none when it is another one.
pub(crate) fn verify(payload: &[u8]) -> Option<&[u8]> {
    let (document, checksum) = payload.split_last_chunk::<CHECKSUM>()?;
    (Sha256::digest(document).as_slice() == checksum).then_some(document)
}

/// The number in a blueprint id; none for a blueprint that is not ours, such as the seed.
pub(crate) fn index_of_id(id: &str) -> Option<usize> {
    id.strip_prefix(PREFIX)?.parse().ok()
}

/// The number in a document.
pub(crate) fn index_of_document(document: &[u8]) -> Option<usize> {
    let digits = document.get(HEAD.len()..HEAD.len() + DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_json_of_the_stated_size_and_tell_their_number() {
        let documents = Documents::new();
        for index in [0, 1, 99_999_999] {
            let document = documents.document(index);
            assert_eq!(document.len(), BYTES);
            assert_eq!(index_of_document(document.as_bytes()), Some(index));
            assert_eq!(index_of_id(&id(index)), Some(index));
            let canonical = sorcha_register::canonical::Document::canonicalize(document.as_bytes());
            assert_eq!(canonical.unwrap().bytes(), document.as_bytes(), "it is canonical already");
        }
        let mut payload = with_checksum(documents.document(1));
        assert_eq!(verify(&payload), Some(documents.document(1).as_bytes()));
        payload[9] ^= 1;
        assert_eq!((verify(&payload), verify(b"short")), (None, None));
        let large = documents.sized(3, 1 << 20);
        assert_eq!((large.len(), index_of_document(large.as_bytes())), (1 << 20, Some(3)));
        assert_ne!(documents.document(1)[40..], documents.document(2)[40..]);
        assert_eq!(index_of_id("register-governance-v1"), None);
        assert_eq!(index_of_document(b"{}"), None);
    }
}
