//! Forged bundles, for the tests and the benches: what an operator does who lies and signs again, and
//! archives that no honest program makes.
//!
//! Promises: a forged manifest lists its files as they are, so that nothing but what was forged can
//! give it away. Nothing that is shipped knows this module; what a crash leaves is a test's.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::ledger::tlog::{Note, Signer};
use crate::verify::manifest::{FileEntry, MANIFEST, Manifest};
use crate::verify::{source, ustar};

/// Lists the files of a directory as they are now, alters what else the manifest says, and signs it.
pub fn sign_again(bundle: &Path, signer: &Signer, alter: impl FnOnce(&mut Manifest)) {
    let note = Note::parse(&fs::read(bundle.join(MANIFEST)).unwrap()).unwrap();
    let mut manifest = Manifest::parse(&note.text).unwrap();
    let source = source::open(bundle).unwrap();
    let files = source.files().into_iter().filter(|(name, _)| *name != MANIFEST);
    manifest.files = files.map(|(name, _)| entry(bundle, name)).collect();
    alter(&mut manifest);
    let note = Note::new(manifest.text()).unwrap().signed([signer]);
    // Another file under its name: the old one may be an honest bundle's, too.
    fs::remove_file(bundle.join(MANIFEST)).unwrap();
    fs::write(bundle.join(MANIFEST), note.to_string()).unwrap();
}

fn entry(bundle: &Path, name: &str) -> FileEntry {
    let mut file = BufReader::with_capacity(1 << 20, File::open(bundle.join(name)).unwrap());
    let (mut hash, mut length) = (Sha256::new(), 0);
    loop {
        let bytes = file.fill_buf().unwrap();
        if bytes.is_empty() {
            return FileEntry { sha256: hash.finalize().into(), length, path: name.to_owned() };
        }
        hash.update(bytes);
        let read = bytes.len();
        length += read as u64;
        file.consume(read);
    }
}

/// An archive's entry with its padding.
pub fn packed(name: &str, length: u64, bytes: &[u8]) -> Vec<u8> {
    let mut block = ustar::header(name, length).unwrap().to_vec();
    block.extend(bytes);
    block.resize(block.len().next_multiple_of(ustar::BLOCK), 0);
    block
}

/// The entry of an empty file whose header says something else at one place, under its right sum.
fn altered(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut block = packed("positions", 0, b"");
    block[at..at + bytes.len()].copy_from_slice(bytes);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// What has no place behind the entries of an archive, and why.
pub fn hostile_entries() -> Vec<(&'static str, Vec<u8>)> {
    let empty = |name: &str| packed(name, 0, b"");
    vec![
        ("a path that leads out", empty("../positions")),
        ("an absolute path", empty("/etc/passwd")),
        ("a path that leads out of a directory of the bundle", empty("proofs/../../x")),
        ("another spelling of a path", empty("./positions")),
        ("another spelling of a number", empty("proofs/01.tlog-proof")),
        ("a second manifest", empty("manifest")),
        ("a length beyond the archive's", packed("positions", ustar::MAX_FILE, b"")),
        ("a hard link", altered(156, b"1")),
        ("a symbolic link", altered(156, b"2")),
        ("a device", altered(156, b"3")),
        ("a directory", altered(156, b"5")),
        ("a long name", altered(156, b"L")),
        ("an extended header", altered(156, b"x")),
        ("another mode", altered(100, b"0000777")),
        ("a time", altered(136, b"00000000001")),
        ("a length of 2^64 - 1", altered(124, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff")),
        ("the longest length in octal", altered(124, b"77777777777")),
        ("a prefix", altered(345, b"prefix")),
        ("an owner", altered(265, b"root")),
        ("two files out of order", [empty("positions"), empty("edge")].concat()),
        ("a file twice", [empty("positions"), empty("positions")].concat()),
    ]
}
