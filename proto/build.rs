//! Compiles the .proto files with a pure-Rust compiler, so that no `protoc` is needed.
//!
//! Two passes: the first generates every message and the typed services; the second generates
//! `SystemRegisterSync` once more with `SystemRegisterEntry` replaced by `EncodedEntry`, so that a stored,
//! already encoded entry goes to the wire without being decoded.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 3] = [
    "sorcha/peer/v1/CentralNodeConnection.proto",
    "sorcha/peer/v1/Heartbeat.proto",
    "sorcha/peer/v1/SystemRegisterSync.proto",
];

#[expect(clippy::disallowed_methods, reason = "cargo tells build scripts where to write by the environment")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let all = protox::compile(FILES, ["."])?;
    fs::write(out.join("descriptors.bin"), all.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").btree_map(".").compile_fds(all)?;

    let raw = out.join("raw");
    fs::create_dir_all(&raw)?;
    tonic_prost_build::configure()
        .out_dir(&raw)
        .extern_path(".sorcha.peer.v1", "crate::v1")
        .extern_path(".sorcha.peer.v1.SystemRegisterEntry", "crate::EncodedEntry")
        .compile_fds(protox::compile([FILES[2]], ["."])?)?;
    Ok(())
}
