//! An entry's header in protobuf: `SystemRegisterEntry` without the document, byte for byte as the generated code would
//! encode it, but straight from the entry. Every entry that is received or read at start passes here.

use prost::encoding::{self, WireType, encode_key, encode_varint};
use sorcha_proto::REGISTER_ID;

use super::entry::Entry;

/// Bytes that a header has at the most without metadata, in the usual case.
const USUAL: usize = 384;

/// Fields of `SystemRegisterEntry` by their numbers.
mod field {
    pub(super) const BLUEPRINT_ID: u32 = 1;
    pub(super) const REGISTER_ID: u32 = 2;
    pub(super) const PUBLISHED_AT: u32 = 4;
    pub(super) const PUBLISHED_BY: u32 = 5;
    pub(super) const VERSION: u32 = 6;
    pub(super) const IS_ACTIVE: u32 = 7;
    pub(super) const TRANSACTION_ID: u32 = 8;
    pub(super) const CHECKSUM: u32 = 9;
    pub(super) const METADATA: u32 = 10;
    pub(super) const TRACE_PARENT: u32 = 100;
}

/// The header, its fields in the order of their numbers, those with their default value left out.
pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    let mut header = Vec::with_capacity(USUAL);
    text(field::BLUEPRINT_ID, entry.blueprint_id.as_str(), &mut header);
    text(field::REGISTER_ID, REGISTER_ID, &mut header);
    integer(field::PUBLISHED_AT, entry.published_at.as_millis(), &mut header);
    text(field::PUBLISHED_BY, &entry.published_by, &mut header);
    integer(field::VERSION, entry.version.get(), &mut header);
    integer(field::IS_ACTIVE, i64::from(entry.is_active), &mut header);
    text(field::TRANSACTION_ID, &entry.transaction_id, &mut header);
    text(field::CHECKSUM, entry.document.checksum().text().as_str(), &mut header);
    encoding::btree_map::encode(
        encoding::string::encode,
        encoding::string::encoded_len,
        encoding::string::encode,
        encoding::string::encoded_len,
        field::METADATA,
        &entry.metadata,
        &mut header,
    );
    text(field::TRACE_PARENT, &entry.trace_parent, &mut header);
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
