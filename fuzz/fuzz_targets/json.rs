//! A text is refused as a document, or has one canonical form, which is the standard's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sorcha_register::canonical::Document;

fuzz_target!(|data: &[u8]| {
    if let Ok(document) = Document::canonicalize(data) {
        let value: serde_json::Value = serde_json::from_slice(data).expect("JSON");
        assert!(value.is_object());
        assert_eq!(document.bytes()[..], serde_json_canonicalizer::to_vec(&value).expect("canonical"));
        assert_eq!(Document::canonicalize(document.bytes()).expect("its own form"), document);
    }
});
