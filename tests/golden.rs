//! A stranger's decoder reads every golden record: no code of ours is involved.

use std::process::Command;

#[test]
fn a_decoder_without_our_code_reads_every_golden_record() {
    let root = env!("CARGO_MANIFEST_DIR");
    let python = std::env::var("CUSTODY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_string());
    let mut files: Vec<_> = std::fs::read_dir(format!("{root}/tests/golden/v1"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 4);
    let output = Command::new(&python)
        .arg(format!("{root}/tests/decode_record.py"))
        .args(&files)
        .output()
        .unwrap_or_else(|why| panic!("{python} does not start ({why}): run the tests by tests/run"));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(printed.matches(".json ").count(), files.len());
    assert!(printed.contains("电站/7/照片.jpg"), "the sealed locator was not opened: {printed}");
}
