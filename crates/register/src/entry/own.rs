//! Reads an entry's own encoding in place.
//!
//! Nodes exchange and store entries in one form: that of [`header::encode`](crate::header::encode), followed by the document.
//! Bytes of this form are read without a copy and need not be encoded again to see that they are. All others are left to the
//! general decoder, which also has the errors.

use bytes::Bytes;
use prost::encoding::{WireType, decode_varint, encoded_len_varint};
use sorcha_proto::REGISTER_ID;

use super::{
    super::{
        canonical::Fingerprint,
        names::{BlueprintId, Version},
    },
    DOCUMENT_FIELD, EntryHeader, Limited,
    texts::Texts,
};
use crate::clock::Timestamp;

/// The header of an entry, and the length of its encoding; `None` where the bytes are not the encoding of a valid entry.
pub(super) fn read(encoded: &Bytes) -> Option<(EntryHeader, usize)> {
    let mut rest = Fields(encoded);
    let blueprint_id = BlueprintId::new(rest.text(1)?).ok()?;
    let register_id = rest.text(2)?;
    let published_at = Timestamp::from_millis(rest.integer(4)?);
    let published_by = rest.text(5)?;
    let version = Version::new("version", rest.integer(6)?).ok()?;
    let is_active = match rest.integer(7)? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let transaction_id = rest.text(8)?;
    let checksum = rest.text(9)?;
    let pairs = rest.pairs(10)?;
    let trace_parent = rest.text(100)?;
    let header = encoded.len() - rest.0.len();
    let document = rest.value(DOCUMENT_FIELD)?;
    let metadata = || Pairs(pairs).flat_map(|(key, value)| [key, value]);
    let limited = Limited {
        version,
        document: document.len(),
        published_by,
        transaction_id,
        trace_parent,
        metadata: metadata().map(str::len).sum(),
    };
    let is_whole = rest.0.is_empty() && register_id == REGISTER_ID && !checksum.is_empty();
    if !is_whole || limited.check().is_err() {
        return None;
    }
    // Last: the general decoder would hash the document once more.
    let document = Fingerprint::of(document);
    if checksum != document.checksum().text().as_str() {
        return None;
    }
    let texts = Texts::of([published_by, transaction_id, trace_parent].into_iter().chain(metadata()));
    Some((EntryHeader { blueprint_id, version, document, published_at, is_active, texts }, header))
}

/// Fields of a message that have not been read yet, in the order of their encoding.
struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    /// A number in its shortest form.
    fn varint(&mut self) -> Option<u64> {
        let before = self.0.len();
        let value = decode_varint(&mut self.0).ok()?;
        (before - self.0.len() == encoded_len_varint(value)).then_some(value)
    }

    /// Whether the next field is this one; its key is read then.
    fn is_next(&mut self, field: u32, wire_type: WireType) -> bool {
        let mut rest = Fields(self.0);
        let is_next = rest.varint() == Some(u64::from(field) << 3 | wire_type as u64);
        if is_next {
            self.0 = rest.0;
        }
        is_next
    }

    /// Bytes behind their length: the value of a field whose key was read.
    fn delimited(&mut self) -> Option<&'b [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }

    /// The bytes of a field that must be there.
    fn value(&mut self, field: u32) -> Option<&'b [u8]> {
        if self.is_next(field, WireType::LengthDelimited) { self.delimited() } else { None }
    }

    /// A text, which is left out where it is empty.
    fn text(&mut self, field: u32) -> Option<&'b str> {
        if !self.is_next(field, WireType::LengthDelimited) {
            return Some("");
        }
        let text = std::str::from_utf8(self.delimited()?).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// A number, which is left out where it is 0.
    fn integer(&mut self, field: u32) -> Option<i64> {
        if !self.is_next(field, WireType::Varint) {
            return Some(0);
        }
        let value = self.varint()?;
        (value != 0).then_some(value.cast_signed())
    }

    /// The encoding of all pairs of a map, whose keys must ascend.
    fn pairs(&mut self, field: u32) -> Option<&'b [u8]> {
        let (start, mut last) = (self.0, None);
        while self.is_next(field, WireType::LengthDelimited) {
            let (key, _) = pair(self.delimited()?)?;
            if last.is_some_and(|last| last >= key) {
                return None;
            }
            last = Some(key);
        }
        start.get(..start.len() - self.0.len())
    }
}

fn pair(encoded: &[u8]) -> Option<(&str, &str)> {
    let mut pair = Fields(encoded);
    let (key, value) = (pair.text(1)?, pair.text(2)?);
    pair.0.is_empty().then_some((key, value))
}

/// Pairs of a map that have been read once.
#[derive(Clone, Copy)]
struct Pairs<'b>(&'b [u8]);

impl<'b> Iterator for Pairs<'b> {
    type Item = (&'b str, &'b str);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = Fields(self.0);
        let _key = rest.varint()?;
        let encoded = rest.delimited()?;
        self.0 = rest.0;
        pair(encoded)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::Index};

    use super::{super::SealedEntry, *};
    use crate::testing::entry;

    /// What the general decoder makes of bytes that it takes as they are.
    fn decoded(encoded: &Bytes) -> Option<(EntryHeader, usize)> {
        let sealed = SealedEntry::decode_any(encoded.clone()).ok()?;
        let is_own = sealed.encoded().held() == Some(encoded);
        let document = sealed.document().len();
        let tail = 1 + encoded_len_varint(document as u64) + document;
        is_own.then(|| (sealed.entry().clone(), encoded.len() - tail))
    }

    fn any_entry() -> impl Strategy<Value = Bytes> {
        let metadata = proptest::collection::btree_map(".{0,6}", ".{0,200}", 0..6);
        let texts = proptest::array::uniform3(".{0,60}");
        let numbers = (any::<i64>(), 1..i64::MAX, any::<bool>());
        (texts, metadata, numbers).prop_map(|(texts, metadata, (published_at, version, is_active))| {
            let mut whole = entry("a", 7);
            [whole.published_by, whole.transaction_id, whole.trace_parent] = texts;
            (whole.metadata, whole.is_active) = (metadata, is_active);
            whole.published_at = Timestamp::from_millis(published_at);
            whole.version = Version::new("version", version).unwrap();
            whole.seal().checked().unwrap()
        })
    }

    proptest! {
        #[test]
        fn what_is_read_in_place_is_what_the_general_decoder_reads(
            encoded in any_entry(),
            changes in proptest::collection::vec((any::<Index>(), any::<u8>(), 0..3_u8), 0..3),
        ) {
            prop_assert_eq!(read(&encoded), decoded(&encoded), "as it was sealed");
            let mut changed = encoded.to_vec();
            for (at, value, how) in changes {
                let at = at.index(changed.len());
                match how {
                    0 => changed[at] = value,
                    1 => changed.insert(at, value),
                    _ => drop(changed.remove(at)),
                }
            }
            let changed = Bytes::from(changed);
            prop_assert_eq!(read(&changed), decoded(&changed), "changed");
        }
    }

    #[test]
    fn an_entry_of_a_usual_form_is_read_in_place() {
        assert!(read(&entry("a", 1).seal().checked().unwrap()).is_some());
    }
}
