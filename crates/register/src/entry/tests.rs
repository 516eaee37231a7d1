use bytes::Bytes;
use prost::Message as _;
use sorcha_proto::v1::SystemRegisterEntry;

use super::*;
use crate::testing::entry;

#[test]
fn a_document_is_held_once_and_nothing_of_what_it_came_in() {
    let is_within = |sealed: &SealedEntry| {
        let (encoded, document) = (sealed.checked().unwrap(), sealed.document().read().unwrap());
        encoded.as_ptr_range().contains(&document.as_ptr())
    };
    let sealed = entry("a", 1).seal();
    assert!(is_within(&sealed));
    // An unknown field, 4 bytes: the entry is encoded again without it.
    let received = [&[0xfa, 0x7f, 0x01, 0x00][..], &sealed.checked().unwrap()].concat();
    let decoded = SealedEntry::decode(received.into()).unwrap();
    assert!(decoded == sealed && is_within(&decoded));
}

#[test]
fn a_state_change_has_its_own_time() {
    let mut entry = entry("a", 1);
    assert_eq!(entry.header().changed_at(), entry.published_at);
    let later = entry.published_at.as_millis() + 86_400_000;
    let id = uuid::Builder::from_unix_timestamp_millis(later.unsigned_abs(), &[7; 10]).into_uuid();
    entry.transaction_id = id.to_string();
    assert_eq!(entry.header().changed_at(), Timestamp::from_millis(later));
}

#[test]
fn sealed_and_decoded_are_the_same_without_a_copy() {
    let sealed = entry("a", 1).seal();
    let decoded = SealedEntry::decode(sealed.checked().unwrap()).unwrap();
    assert_eq!(decoded, sealed);
    assert_eq!(decoded.checked().unwrap().as_ptr(), sealed.checked().unwrap().as_ptr());
}

#[test]
fn another_encoder_gives_the_same_leaf() {
    let sealed = entry("a", 1).seal();
    let mut message = SystemRegisterEntry::decode(sealed.checked().unwrap()).unwrap();
    message.checksum = String::new();
    let mut foreign = message.encode_to_vec();
    foreign.extend_from_slice(&[0xfa, 0x3e, 0x01, b'x']); // an unknown field, number 1007
    let decoded = SealedEntry::decode(foreign.into()).unwrap();
    assert_eq!(decoded.leaf(), sealed.leaf());
    assert_eq!(decoded.checked().unwrap(), sealed.checked().unwrap());
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    let sealed = entry("a", 1).seal();
    for bit in 0..sealed.length() * 8 {
        let mut bytes = sealed.checked().unwrap().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let bytes = Bytes::from(bytes);
        if let Ok(decoded) = SealedEntry::decode(bytes.clone()) {
            let noticed = decoded.leaf() != sealed.leaf() || decoded.checked().unwrap() != bytes;
            assert!(noticed, "bit {bit} flipped unnoticed");
        }
    }
}

#[test]
fn limits_are_enforced_with_the_field_named() {
    type Breaks = fn(&mut Entry);
    let broken: [(&str, Breaks); 5] = [
        ("published_by", |e| e.published_by = String::new()),
        ("published_by", |e| e.published_by = "x".repeat(256)),
        ("metadata", |e| _ = e.metadata.insert("k".into(), "v".repeat(4096))),
        ("version", |e| e.version = Version::ZERO),
        ("publication_transaction_id", |e| e.transaction_id = "x".repeat(256)),
    ];
    for (field, break_it) in broken {
        let mut entry = entry("a", 1);
        break_it(&mut entry);
        let message = SealedEntry::decode(entry.seal().checked().unwrap()).unwrap_err().to_string();
        assert!(message.contains(field), "{field}: {message}");
    }
}

proptest::proptest! {
    #[test]
    fn a_header_is_the_protobuf_of_all_fields_but_the_document(
        (text, published_by, trace_parent) in (".{0,300}", ".{0,40}", ".{0,60}"),
        metadata in proptest::collection::btree_map(".{0,20}", ".{0,40}", 0..4),
        (published_at, version, is_active) in (proptest::num::i64::ANY, 1i64..60_000_000, proptest::bool::ANY),
    ) {
        let mut entry = entry("a", version);
        (entry.transaction_id, entry.published_by, entry.trace_parent) = (text, published_by, trace_parent);
        (entry.metadata, entry.is_active) = (metadata, is_active);
        entry.published_at = Timestamp::from_millis(published_at);
        let message = SystemRegisterEntry {
            blueprint_id: entry.blueprint_id.to_string(),
            register_id: REGISTER_ID.to_owned(),
            blueprint_document: Bytes::new(),
            published_at,
            published_by: entry.published_by.clone(),
            version,
            is_active,
            publication_transaction_id: entry.transaction_id.clone(),
            checksum: entry.document.checksum().to_string(),
            metadata: entry.metadata.clone(),
            trace_parent: entry.trace_parent.clone(),
        };
        proptest::prop_assert_eq!(crate::header::encode(&entry), message.encode_to_vec());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        drop(SealedEntry::decode(bytes.into()));
    }
}
