//! Modules for Python, generated from `proto/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::python;

/// Generates them below a directory, and says where they are.
pub fn stubs(below: &Path) -> PathBuf {
    let root = env!("CARGO_MANIFEST_DIR");
    let stubs = below.join("stubs");
    std::fs::create_dir(&stubs).unwrap();
    let protos: Vec<_> = std::fs::read_dir(format!("{root}/proto/custody/v1"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "proto"))
        .collect();
    let generated = Command::new(python())
        .args(["-m", "grpc_tools.protoc", "-I", &format!("{root}/proto")])
        .arg(format!("--python_out={}", stubs.display()))
        .arg(format!("--grpc_python_out={}", stubs.display()))
        .args(protos)
        .output()
        .expect("Python starts: run the tests by tests/run");
    assert!(generated.status.success(), "{}", String::from_utf8_lossy(&generated.stderr));
    stubs
}
