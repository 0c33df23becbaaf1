//! Compiles `proto/` without `protoc` and keeps the descriptor set for reflection and for the test
//! that compares it with the catalogue.

use std::path::{Path, PathBuf};

use prost::Message;

const PACKAGE: &str = "proto/custody/v1";

/// Rare bodies that would make every event in memory as large as they are.
const LARGE: [&str; 5] = [
    "activity_registered",
    "controller_registered",
    "recipient_registered",
    "retention_rule_published",
    "transfer_mechanism_registered",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(PACKAGE)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|ending| ending == "proto"));
    files.sort();

    // The folder too, so that a new file is noticed.
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={PACKAGE}");
    for file in &files {
        println!("cargo:rerun-if-changed={}", file.display());
    }

    let descriptors = protox::compile(&files, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    generate(&out, descriptors)
}

fn generate(
    out: &Path,
    descriptors: prost_types::FileDescriptorSet,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = tonic_prost_build::configure();
    for body in LARGE {
        builder = builder.boxed(format!(".custody.v1.Event.body.{body}"));
    }
    builder
        .out_dir(out)
        // Hashes and headers are handed on without copying.
        .bytes(".")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)?;
    Ok(())
}
