use mongodb::bson::{Bson, Document as Bdoc, doc};

use super::*;
use crate::contract::{draft, id, version};
use sorcha_register::testing::entry;

fn raw(entry: Entry, supersedes: &[Version]) -> RawDocumentBuf {
    let json = encode_document(&entry.blueprint_id, &entry.document).unwrap();
    encode(&entry.seal(), supersedes, &json).unwrap()
}

fn full() -> Bdoc {
    let entry = draft("a", r#"{"$id":"a","n":1,"list":[1,{"x":null}]}"#).at(version(3));
    Bdoc::try_from(raw(entry, &[version(1), version(2)])).unwrap()
}

fn fault(document: Bdoc) -> Finding {
    decode(&RawDocumentBuf::try_from(document).unwrap()).unwrap_err()
}

#[test]
fn has_the_contracts_keys_and_types() {
    let document = full();
    let keys: Vec<_> = document.keys().map(String::as_str).collect();
    let contract = [
        "_id",
        "registerId",
        "document",
        "publishedAt",
        "publishedBy",
        "version",
        "isActive",
        "publicationTransactionId",
        "checksum",
        "metadata",
    ];
    assert_eq!(keys[..10], contract);
    assert_eq!(keys[10..], ["traceParent", "versions", "entryHash"]);
    assert_eq!(document.get_i64("version").unwrap(), 3);
    assert_eq!(document.get_datetime("publishedAt").unwrap().timestamp_millis(), 1_700_000_000_123);
    assert_eq!(document.get_document("metadata").unwrap(), &doc! {"a．b$c": "é", "category": "test"});
    let mut bare = entry("a", 1);
    bare.transaction_id = String::new();
    bare.metadata.clear();
    let bare = Bdoc::try_from(raw(bare, &[])).unwrap();
    for absent in ["publicationTransactionId", "metadata", "traceParent"] {
        assert!(!bare.contains_key(absent), "{absent}");
    }
}

#[test]
fn comes_back_the_same_in_any_order_of_fields() {
    let original = draft("a", r#"{"x":1}"#).at(version(2));
    let bytes = raw(original.clone(), &[version(1)]);
    let stored = decode(&bytes).unwrap();
    assert_eq!(stored, Stored { sealed: original.seal(), supersedes: vec![version(1)] });
    // Fields that an update adds come last.
    let mut fields: Vec<_> = Bdoc::try_from(bytes).unwrap().into_iter().collect();
    fields.reverse();
    let backwards: Bdoc = fields.into_iter().collect();
    assert_eq!(decode(&RawDocumentBuf::try_from(backwards).unwrap()).unwrap(), stored);
}

#[test]
fn no_changed_field_goes_unnoticed() {
    let changes: Vec<(&str, Bson)> = vec![
        ("_id", "b".into()),
        ("registerId", "00000000-0000-0000-0000-000000000001".into()),
        ("document", doc! {"n": 1}.into()),
        ("document", doc! {"\u{ff04}id": "a", "n": 1_i64, "list": [1, {"x": null}]}.into()),
        ("document", doc! {"\u{ff04}id": "a", "list": [1, {"x": null}], "n": 2}.into()),
        ("publishedAt", DateTime::from_millis(1_700_000_000_124).into()),
        ("publishedAt", 1_700_000_000_123_i64.into()),
        ("publishedBy", "mallory".into()),
        ("version", 4_i64.into()),
        ("version", 3_i32.into()),
        ("isActive", false.into()),
        ("publicationTransactionId", "tx-b".into()),
        ("checksum", "sha256:00".into()),
        ("metadata", doc! {"category": "test", "a．b$c": "é"}.into()),
        ("metadata", doc! {"category": "test"}.into()),
        ("traceParent", "".into()),
        ("versions", vec![1_i64, 3].into()),
        ("versions", vec![2_i64, 1, 3].into()),
        ("versions", vec![1_i64, 2].into()),
        ("versions", Bson::Array(vec![])),
        ("entryHash", binary(&[0; 32]).into()),
        ("extra", 1.into()),
    ];
    for (key, value) in changes {
        let mut document = full();
        document.insert(key, value.clone());
        let finding = fault(document);
        assert_eq!(finding.version.is_some(), value != Bson::Int32(3), "{key}");
        assert_eq!(finding.blueprint_id, Some(id(if key == "_id" { "b" } else { "a" })));
    }
    for key in full().keys() {
        let mut document = full();
        document.remove(key);
        fault(document);
    }
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    let good = raw(draft("a", r#"{"n":1,"list":[1.5,{"x":null}]}"#).at(version(3)), &[version(1)]);
    let stored = decode(&good).unwrap();
    for bit in 0..good.as_bytes().len() * 8 {
        let mut bytes = good.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(flipped) = RawDocumentBuf::from_bytes(bytes) else { continue };
        assert_ne!(decode(&flipped).ok(), Some(stored.clone()), "bit {bit} flipped unnoticed");
        assert!(decode(&flipped).is_err(), "bit {bit} gives another valid entry");
    }
}

#[test]
fn what_mongodb_cannot_keep_is_refused_with_the_reason() {
    let not_canonical = Document::from_received(bytes::Bytes::from_static(b"{ }"));
    let refused = encode_document(&id("a"), &not_canonical).unwrap_err().to_string();
    assert!(refused.contains("blueprint a") && refused.contains("not canonical"), "{refused}");
    let json = format!(r#"{{"x":"{}"}}"#, "x".repeat(MAX_DOCUMENT_BYTES - STATE_CHANGE_BYTES));
    let large = draft("a", &json).at(version(1));
    let bson = encode_document(&large.blueprint_id, &large.document).unwrap();
    let refused = encode(&large.seal(), &[], &bson).unwrap_err().to_string();
    assert!(refused.contains("limit is 16777216 bytes"), "{refused}");
}
