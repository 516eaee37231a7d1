//! Bytes from the wire or a store are refused, or are an entry with one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sorcha_register::entry::SealedEntry;

fuzz_target!(|data: &[u8]| {
    if let Ok(sealed) = SealedEntry::decode(data.to_vec().into()) {
        assert!(sealed.entry().validate().is_ok());
        let again = SealedEntry::decode(sealed.checked().unwrap());
        assert!(again.is_ok_and(|again| *again == *sealed), "its own encoding is another entry");
        assert_eq!(*sealed.entry().clone().seal(), *sealed);
    }
});
