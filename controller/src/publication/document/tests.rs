use sorcha_register::canonical;

use super::*;

#[test]
fn the_checksum_is_the_nodes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../blueprints");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut texts: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    assert!(texts.len() > 5, "the samples are there");
    texts.push(r#"{"z": 1.0, "a": [1e21, "\u00e9\ud83d\ude00", null, -0.0, 0.1], "\u20ac": {}}"#.to_owned());
    // Keys are sorted by UTF-16: U+1F600 comes before U+FB33, though not in UTF-8.
    texts.push(
        r#"{"\ufb33": 1, "\ud83d\ude00": {"b": [], "a\n\u0001": {"d": [{}, [[]]], "c": true}}, "": -7}"#
            .to_owned(),
    );
    texts.push("{}".to_owned());
    for text in texts {
        let node = canonical::Document::canonicalize(text.as_bytes()).unwrap();
        assert_eq!(Document::parse(&text, "x").unwrap().checksum, node.checksum().to_string());
    }
}

#[test]
fn a_number_that_the_api_server_may_have_rounded_is_refused_with_its_place() {
    // As it comes from the API server for 18446744073709551617, 9007199254740993.0 and 1e300.
    for number in
        ["18446744073709552000", "1.8446744073709552e19", "9007199254740992", "-9007199254740992", "1e300"]
    {
        let text = format!(r#"{{"a/b": [0.1, {{"m": [7], "n": {number}, "o": 1}}, 2], "c": 3}}"#);
        let error = Document::inline(&text, "spec.document").unwrap_err();
        let told = error.to_string();
        assert!(told.starts_with("spec.document/a~1b/1/n is "), "{told}");
        assert!(told.contains("write it as a string") && told.contains("configMapRef"), "{told}");
        assert_eq!(error.reason(), "InvalidDocument");
    }
    // What a node refuses is left to it, and what cannot have lost anything is taken.
    for number in ["9007199254740993", "9007199254740991", "0.1", "-1", "1e15"] {
        let text = format!(r#"{{"n": {number}}}"#);
        assert!(Document::inline(&text, "spec.document").is_ok(), "{number}");
    }
}

#[test]
fn a_byte_order_mark_in_a_config_map_is_no_part_of_the_document() {
    let plain = Document::parse("{\"a\":1}", "x").unwrap();
    let marked = Document::parse("\u{feff}{\"a\":1}", "x").unwrap();
    assert_eq!((marked.text.get(), &marked.checksum), (plain.text.get(), &plain.checksum));
}

#[test]
fn what_is_no_object_is_named() {
    for (text, problem) in [
        ("[1]", "it is a list"),
        ("null", "it is null"),
        ("\"{}\"", "it is a string"),
        ("7", "it is a number"),
        ("true", "it is a boolean"),
        ("{\"a\": }", "line 1 column 7"),
        ("{} {}", "it is not JSON"),
        ("", "it ends too early"),
    ] {
        let error = Document::parse(text, "key a of ConfigMap b").unwrap_err();
        let told = error.to_string();
        assert!(told.starts_with("key a of ConfigMap b is not a JSON object: "), "{told}");
        assert!(told.contains(problem), "{told}");
    }
}

#[test]
fn a_document_that_is_too_deep_is_refused_without_its_text() {
    for (levels, well) in [(100, true), (127, true), (128, false), (1_000, false), (100_000, false)] {
        let text = format!("{}\"MARKER\"{}", "{\"MARKER\":".repeat(levels), "}".repeat(levels));
        match Document::parse(&text, "spec.document") {
            Ok(document) => {
                assert!(well, "{levels}");
                assert!(!format!("{document:?}").contains("MARKER"));
            }
            Err(error) => {
                let told = error.to_string();
                assert!(!well && told.contains("is nested deeper than 127 levels"), "{levels}: {told}");
                assert!(!told.contains("MARKER"), "{told}");
            }
        }
    }
    let told = Document::parse("{\"a\": MARKER}", "here").unwrap_err().to_string();
    assert!(!told.contains("MARKER"), "{told}");
}
