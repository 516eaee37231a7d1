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
    assert!(refused(doc! { "a": mongodb::bson::oid::ObjectId::from_bytes([1; 12]) }).contains("ObjectId"));
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
    let text = prop_oneof!["[a-z$.＄．＼0\\\\\"\u{1}€😀]{0,6}", ".{0,4}"].prop_map(|t| t.replace('\0', ""));
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
