//! Libraries that are loaded in front of libc, compiled from C when a test needs them.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

/// Name and text of a file in C.
type Source = (&'static str, &'static str);

/// A library of these sources. Compiled once per content of them, with the C compiler that every
/// machine that links Rust programs has.
pub fn compiled(name: &str, sources: &[Source]) -> PathBuf {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut hasher = DefaultHasher::new();
    sources.hash(&mut hasher);
    let library = cache.join(format!("{name}-{:016x}.so", hasher.finish()));
    if library.exists() {
        return library;
    }
    // Other test binaries may be doing the same: work apart, then rename, which is atomic.
    let bench = tempfile::tempdir_in(cache).expect("a directory in the target's tmp directory");
    for (name, text) in sources {
        fs::write(bench.path().join(name), text).expect("a source file in the target's tmp directory");
    }
    let units = sources.iter().map(|(name, _)| name).filter(|name| name.ends_with(".c"));
    let output = Command::new("cc")
        .current_dir(bench.path())
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden", "-o", "library.so"])
        .args(units)
        .arg("-lpthread")
        .output()
        .expect("`cc` on the path");
    assert!(output.status.success(), "cc failed:\n{}", String::from_utf8_lossy(&output.stderr));
    fs::rename(bench.path().join("library.so"), &library).expect("a rename inside one directory");
    library
}
