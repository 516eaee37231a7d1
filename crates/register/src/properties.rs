//! Properties of what the register parses: whatever comes from the wire or a disk is refused or understood in one way.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index};
use prost::{Message as _, encoding};
use sorcha_proto::{REGISTER_ID, v1::SystemRegisterEntry};

use super::{
    canonical::Document,
    entry::{InvalidEntry, SealedEntry},
    integrity::{self, Record},
    lineage::Genesis,
    names::{BlueprintId, Checksum, Leaf, Version},
    testing::{entry, genesis},
};

/// Texts as they come: plain, empty, over every limit, and with any character.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-zA-Z0-9_-]{1,12}",
        2 => ".{0,20}",
        1 => Just(String::new()),
        1 => (200..300usize).prop_map(|length| "x".repeat(length)),
        1 => (4000..4200usize).prop_map(|length| "é".repeat(length / 2)),
    ]
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 1..1000i64, 1 => any::<i64>(), 1 => Just(0), 1 => Just(i64::MAX)]
}

fn checksum(document: &[u8]) -> impl Strategy<Value = String> + use<> {
    let right = Checksum::of(document).to_string();
    prop_oneof![4 => Just(right.clone()), 2 => Just(String::new()), 1 => Just(right.to_uppercase()), 1 => text()]
}

/// Messages of the right type with any content.
fn message() -> impl Strategy<Value = SystemRegisterEntry> {
    let register = prop_oneof![8 => Just(REGISTER_ID.to_owned()), 1 => text()];
    let document = vec(any::<u8>(), 0..60);
    let metadata = proptest::collection::btree_map(text(), text(), 0..3);
    let document = document.prop_flat_map(|bytes| (Just(bytes.clone()), checksum(&bytes)));
    let plain = (text(), register, number(), text(), number(), any::<bool>(), text(), text());
    (plain, document, metadata).prop_map(|(plain, (document, checksum), metadata)| {
        let (blueprint_id, register_id, published_at, published_by, version, is_active, transaction, trace) =
            plain;
        SystemRegisterEntry {
            blueprint_id,
            register_id,
            blueprint_document: document.into(),
            published_at,
            published_by,
            version,
            is_active,
            publication_transaction_id: transaction,
            checksum,
            metadata,
            trace_parent: trace,
        }
    })
}

/// What every accepted entry satisfies.
fn check_accepted(sealed: &SealedEntry) -> Result<(), TestCaseError> {
    let entry = sealed.whole().unwrap();
    prop_assert!(entry.validate().is_ok());
    prop_assert!(entry.version > Version::ZERO);
    prop_assert!(BlueprintId::new(entry.blueprint_id.as_str()).is_ok());
    let again = SealedEntry::decode(sealed.checked().unwrap());
    prop_assert!(again.is_ok_and(|again| *again == *sealed), "its own encoding is another entry");
    prop_assert_eq!(&*entry.seal(), sealed);
    Ok(())
}

/// The encoding of an entry, field by field.
fn fields(encoded: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = encoded;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let before = rest;
        let (tag, wire_type) = encoding::decode_key(&mut rest).unwrap();
        encoding::skip_field(wire_type, tag, &mut rest, encoding::DecodeContext::default()).unwrap();
        fields.push(before[..before.len() - rest.len()].to_vec());
    }
    fields
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_with_any_content_is_refused_or_has_one_encoding(message in message()) {
        if let Ok(sealed) = SealedEntry::decode(message.encode_to_vec().into()) {
            check_accepted(&sealed)?;
            prop_assert_eq!(sealed.entry().blueprint_id.as_str(), message.blueprint_id.as_str());
            prop_assert_eq!(sealed.document().read().unwrap(), message.blueprint_document.clone());
        }
    }

    #[test]
    fn the_order_of_fields_and_unknown_ones_change_nothing(
        keys in vec(any::<u64>(), 12), unknown in 200..100_000u32, content in vec(any::<u8>(), 0..20)
    ) {
        let sealed = entry("a", 7).seal();
        let mut parts = fields(&sealed.checked().unwrap());
        let mut extra = Vec::new();
        encoding::bytes::encode(unknown, &content, &mut extra);
        parts.push(extra);
        let mut parts: Vec<_> = keys.into_iter().zip(parts).collect();
        parts.sort();
        let foreign: Vec<u8> = parts.into_iter().flat_map(|(_, part)| part).collect();
        let decoded = SealedEntry::decode(foreign.into()).unwrap();
        prop_assert_eq!(decoded, sealed);
    }

    #[test]
    fn a_cut_or_lengthened_encoding_is_refused_or_another_entry(
        cut in any::<Index>(), tail in vec(any::<u8>(), 1..20)
    ) {
        let sealed = entry("a", 7).seal();
        let shorter = sealed.checked().unwrap().slice(..cut.index(sealed.length()));
        if let Ok(decoded) = SealedEntry::decode(shorter) {
            prop_assert_ne!(decoded.leaf(), sealed.leaf());
        }
        let longer = [&sealed.checked().unwrap()[..], &tail].concat();
        if let Ok(decoded) = SealedEntry::decode(longer.into()) {
            check_accepted(&decoded)?;
            let same = decoded.leaf() == sealed.leaf();
            prop_assert!(!same || decoded.checked().unwrap() == sealed.checked().unwrap(), "kept bytes that are not its encoding");
        }
    }

    #[test]
    fn of_changed_records_only_the_unchanged_ones_are_good(
        changes in vec((0..8usize, any::<Index>(), any::<u8>(), 0..4u8), 0..6)
    ) {
        let good: Vec<_> = (1..=8).map(|v| entry(&format!("b{v}"), v).seal()).collect();
        let mut records: Vec<_> = good
            .iter()
            .map(|s| Record { version: s.entry().version, encoded: s.checked().unwrap(), leaf: Some(s.leaf()) })
            .collect();
        for (record, index, value, what) in changes {
            let record = &mut records[record];
            match what {
                0 => record.version = Version::new("version", i64::from(value)).unwrap(),
                1 => record.leaf = Leaf::from_slice(&[value; 32]),
                2 => record.leaf = None,
                _ => {
                    let mut bytes = record.encoded.to_vec();
                    let at = index.index(bytes.len());
                    bytes[at] = value;
                    record.encoded = bytes.into();
                }
            }
        }
        let found = integrity::Examination::of(records.iter().map(integrity::check));
        prop_assert_eq!(found.entries.len() + found.findings.len(), records.len());
        for entry in found.entries {
            prop_assert!(good.contains(&entry));
        }
    }

    #[test]
    fn a_genesis_with_any_content_is_refused(
        text in ".{0,80}", key in any::<Index>(), value in any::<u8>(), tail in vec(any::<u8>(), 0..8)
    ) {
        prop_assert!(Genesis::verify(Bytes::from(text)).is_err());
        let good = genesis(3);
        let mut bytes = good.bytes().to_vec();
        let at = key.index(bytes.len());
        bytes[at] = value;
        bytes.extend_from_slice(&tail);
        let same = bytes == good.bytes()[..];
        prop_assert_eq!(Genesis::verify(bytes.into()).is_ok(), same);
    }

    #[test]
    fn a_stated_checksum_must_fit(document in vec(any::<u8>(), 1..60), stated in "sha256:[0-9a-f]{64}") {
        let sealed = entry("a", 1).seal();
        let mut message = SystemRegisterEntry::decode(sealed.checked().unwrap()).unwrap();
        (message.blueprint_document, message.checksum) = (document.into(), stated);
        let refused = SealedEntry::decode(message.encode_to_vec().into());
        prop_assert!(matches!(refused, Err(InvalidEntry::Checksum { .. })), "{:?}", refused);
    }
}

/// Any JSON value.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::hash_map(".{0,6}", inner, 0..6)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn canonical_json_is_the_standards_and_says_the_same(members in proptest::collection::btree_map(".{0,8}", json(), 0..6)) {
        let value = serde_json::to_value(&members).unwrap();
        let spellings = [serde_json::to_vec(&value).unwrap(), serde_json::to_vec_pretty(&value).unwrap()];
        let documents = spellings.map(|json| Document::canonicalize(&json));
        let [Ok(document), Ok(spaced)] = documents else {
            // An integer that would lose digits, or a key with NUL: both spellings are refused.
            prop_assert!(documents.iter().all(Result::is_err));
            return Ok(());
        };
        prop_assert_eq!(&document, &spaced);
        prop_assert_eq!(&document.bytes()[..], serde_json_canonicalizer::to_vec(&value).unwrap());
        prop_assert_eq!(&Document::canonicalize(document.bytes()).unwrap(), &document);
        prop_assert_eq!(Checksum::of(document.bytes()), document.checksum());
        let back: BTreeMap<String, serde_json::Value> = serde_json::from_slice(document.bytes()).unwrap();
        prop_assert_eq!(back.keys().collect::<Vec<_>>(), members.keys().collect::<Vec<_>>());
    }

    #[test]
    fn bytes_that_are_no_json_object_are_refused(bytes in vec(any::<u8>(), 0..80), text in "[\\[\\]{}:,\"0-9eE+.a-z \\\\-]{0,40}") {
        for json in [&bytes[..], text.as_bytes()] {
            if let Ok(document) = Document::canonicalize(json) {
                let value: serde_json::Value = serde_json::from_slice(json).unwrap();
                prop_assert!(value.is_object());
                prop_assert_eq!(&Document::canonicalize(document.bytes()).unwrap(), &document);
            }
        }
    }
}
