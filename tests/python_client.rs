//! A client that was generated from `proto/` in another language records, streams, retries, and
//! asks for the report, against the real binary.

mod support;

use std::process::Command;

use support::python::stubs;
use support::server::{Served, python};

#[test]
fn a_python_client_records_streams_retries_and_asks() {
    let root = env!("CARGO_MANIFEST_DIR");
    let folder = tempfile::tempdir().unwrap();
    let stubs = stubs(folder.path());
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
