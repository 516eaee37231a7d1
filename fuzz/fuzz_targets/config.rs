//! A configuration file, and a file of central nodes, are refused with a message or give valid settings.
#![no_main]

use std::io::Write as _;

use libfuzzer_sys::fuzz_target;
use sorcha_config::{Config, Role, read_central_nodes};

fuzz_target!(|data: &[u8]| {
    for suffix in [".toml", ".json"] {
        let mut file = tempfile::NamedTempFile::with_suffix(suffix).expect("a file");
        file.write_all(data).expect("written");
        match Config::load(Some(file.path()), serde_json::json!({})) {
            Ok(config) => drop(config.with_identity("edge-0").validate(Role::Peer)),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        if let Ok(nodes) = read_central_nodes(file.path()) {
            assert!(nodes.iter().all(|node| node.validate().is_ok()));
        }
    }
});
