//! Compiles the schemas in `proto/` with protox, so that no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let schemas = ["proto/client.proto", "proto/api.proto"];
    let mut descriptors = protox::compile(schemas, ["proto"])?;
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    // What gRPC reflection serves.
    std::fs::write(
        out.join("descriptors.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )?;
    // The types of the server API are written by hand, as they are read from JSON too; `api` tests them against this.
    descriptors.file.retain(|file| file.name() != "api.proto");
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    // Between nodes; neither served nor reflected.
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(protox::compile(["proto/control.proto"], ["proto"])?)?;
    // What engines keep; tags in one order, so that the same publication is always the same bytes.
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .compile_fds(protox::compile(["proto/stream.proto"], ["proto"])?)?;
    Ok(())
}
