//! The header of an entry: its `SystemRegisterEntry` without the document, byte for byte as the generated code encodes it, but
//! straight from the entry. Every entry that is received, or read at start, is encoded here.

use prost::encoding::{self, WireType, encode_key, encode_varint};
use sorcha_proto::REGISTER_ID;

use super::entry::Entry;

/// Usual size of a header without metadata, bytes.
const USUAL: usize = 384;

/// The header: fields of `SystemRegisterEntry` in the order of their numbers, without those that have their default value.
pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    let mut header = Vec::with_capacity(USUAL);
    text(1, entry.blueprint_id.as_str(), &mut header);
    text(2, REGISTER_ID, &mut header);
    integer(4, entry.published_at.as_millis(), &mut header);
    text(5, &entry.published_by, &mut header);
    integer(6, entry.version.get(), &mut header);
    integer(7, i64::from(entry.is_active), &mut header);
    text(8, &entry.transaction_id, &mut header);
    text(9, entry.document.checksum().text().as_str(), &mut header);
    encoding::btree_map::encode(
        encoding::string::encode,
        encoding::string::encoded_len,
        encoding::string::encode,
        encoding::string::encoded_len,
        10,
        &entry.metadata,
        &mut header,
    );
    text(100, &entry.trace_parent, &mut header);
    header
}

fn text(field: u32, value: &str, header: &mut Vec<u8>) {
    if !value.is_empty() {
        encode_key(field, WireType::LengthDelimited, header);
        encode_varint(value.len() as u64, header);
        header.extend_from_slice(value.as_bytes());
    }
}

fn integer(field: u32, value: i64, header: &mut Vec<u8>) {
    if value != 0 {
        encoding::int64::encode(field, &value, header);
    }
}
