//! Compiles the part of etcd's API that is used, with a pure-Rust compiler: its client crates need `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = "proto/etcd.proto";
    println!("cargo:rerun-if-changed={file}");
    let compiled = protox::compile([file], ["proto"])?;
    tonic_prost_build::configure().bytes(".").build_server(false).compile_fds(compiled)?;
    Ok(())
}
