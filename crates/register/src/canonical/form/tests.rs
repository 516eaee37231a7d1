use super::*;

/// What another implementation makes of it.
fn expected(json: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    serde_json_canonicalizer::to_string(&value).unwrap()
}

fn written(json: &str) -> String {
    String::from_utf8(write(json.as_bytes(), 1 << 20).unwrap()).unwrap()
}

#[test]
fn it_is_what_another_implementation_writes() {
    for json in [
        r#" { "b" : 1.0, "a" : [ true , null, {"z":{},"y":[]} ], "€": 1e2 } "#,
        "{\"\u{fb33}\":1,\"\u{1F600}\":2,\"a\\\"b\":3,\"a\\nb\":4,\"a\":5,\"aa\":6,\"\":7,\"a!\":8}",
        r#"{"n":[333333333.33333329,-0.0,1e30,4.5e-7,9007199254740991,1152921504606846976]}"#,
        r#"{"s":"\u0001\u007f\/é\ud83d\ude00\b\f\n\r\t"}"#,
        r#"[{"b":{"d":1,"c":{"f":[],"e":0}},"a":{}},[],"x"]"#,
        r#"{"\u0061":1,"A":2,"\\":3,"[":4}"#,
    ] {
        assert_eq!(written(json), expected(json));
    }
}

#[test]
fn a_key_that_is_there_twice_is_refused_wherever_it_stands() {
    for json in [r#"{"a":1,"b":2,"a":3}"#, r#"{"b":1,"a":{"x":1,"\u0078":2}}"#, r#"{"a":1,"a":1}"#] {
        assert!(write(json.as_bytes(), 100).unwrap_err().to_string().contains("appears twice"), "{json}");
    }
    let long = "k".repeat(100_000);
    let told = write(format!(r#"{{"{long}":1,"{long}":2}}"#).as_bytes(), 1 << 20).unwrap_err().to_string();
    assert!(told.len() < 300, "{} bytes", told.len());
}

#[test]
fn what_is_too_large_is_counted_and_not_kept() {
    let json = format!(r#"{{"b":[{}0],"a":"{}"}}"#, "0,".repeat(5000), "x".repeat(3000));
    let size = expected(&json).len();
    assert_eq!(write(json.as_bytes(), size).unwrap().len(), size);
    match write(json.as_bytes(), size - 1).unwrap_err() {
        InvalidDocument::TooLarge { actual } => assert_eq!(actual, size),
        other => panic!("{other}"),
    }
    match write(json.as_bytes(), 10).unwrap_err() {
        InvalidDocument::TooLarge { actual } => assert_eq!(actual, size),
        other => panic!("{other}"),
    }
}

proptest::proptest! {
    #[test]
    fn any_object_is_what_another_implementation_writes(
        members in proptest::collection::hash_map("[a-c\"\\\\\u{1}\u{fb33}\u{1F600}]{0,3}", "\\PC{0,4}", 0..8),
        numbers in proptest::collection::vec(proptest::num::f64::NORMAL, 0..4),
    ) {
        let json = serde_json::json!({ "members": members, "numbers": numbers }).to_string();
        proptest::prop_assert_eq!(written(&json), expected(&json));
    }
}
