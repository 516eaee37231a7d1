//! A file that is read as a bundle is refused, or is written again as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sorcha_register::bundle;

fuzz_target!(|data: &[u8]| {
    // Behind the first bytes, which chance would not find.
    let after_magic = [&bundle::MAGIC[..], &bundle::UNSIGNED.to_be_bytes(), data].concat();
    for bytes in [data, &after_magic] {
        if let Ok(read) = bundle::read(bytes) {
            assert_eq!(read.entries.len() as u64, read.header.count);
        }
    }
});
