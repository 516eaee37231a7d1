//! No bytes but the signed ones are a genesis.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sorcha_register::lineage::Genesis;

fuzz_target!(|data: &[u8]| {
    if let Ok(genesis) = Genesis::verify(data.to_vec().into()) {
        assert_eq!(genesis.bytes()[..], *data);
    }
});
