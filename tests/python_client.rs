//! A client that was generated from `proto/` in another language records, streams, retries, and
//! asks for the report, against the real binary.

mod support;

use std::process::Command;

use support::server::{Served, python};

#[test]
fn a_python_client_records_streams_retries_and_asks() {
    let root = env!("CARGO_MANIFEST_DIR");
    let folder = tempfile::tempdir().unwrap();
    let stubs = folder.path().join("stubs");
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

    let served = Served::start(&folder.path().join("data"));
    let ran = Command::new(python())
        .arg(format!("{root}/tests/client.py"))
        .arg(&stubs)
        .arg(served.address())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{printed}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(printed.contains("listed 1003 events"), "{printed}");
    served.stop();
}
