// What the fuzzers feed, one function per parser. The tests run the same functions over a bounded
// list of inputs, so that they hold on every machine (`src/export/tests/hostile.rs`).

use custody::ledger::tlog::{ConsistencyFile, InclusionFile, Note, Policy, SignedCheckpoint, VerifierKey};
use custody::record::Header;
use custody::verify::pieces::Opening;
use custody::verify::source::Archive;
use custody::verify::{Manifest, Options, TagKeys, Trust, verify};

/// A record's header line.
pub fn header(data: &[u8]) {
    if let Ok(header) = Header::parse(data) {
        let _ = header.body(None);
        for piece in 0..=header.pieces() {
            let _ = header.check_piece(piece, data);
        }
    }
}

/// A checkpoint, a note, a key, a policy.
pub fn checkpoint(data: &[u8]) {
    if let Ok(note) = Note::parse(data) {
        assert_eq!(Note::parse(note.to_string().as_bytes()), Ok(note));
    }
    if let Ok(read) = SignedCheckpoint::parse(data) {
        assert_eq!(read.to_string().as_bytes(), data);
    }
    let _ = Policy::parse(data);
    let _ = std::str::from_utf8(data).map(str::parse::<VerifierKey>);
}

/// Files that carry a proof.
pub fn proof(data: &[u8]) {
    if let Ok(file) = InclusionFile::parse(data) {
        assert_eq!(file.to_string().as_bytes(), data);
        let _ = file.check(&[7; 32]);
    }
    if let Ok(file) = ConsistencyFile::parse(data) {
        assert_eq!(file.to_string().as_bytes(), data);
        let _ = file.check(&[7; 32]);
    }
}

/// A manifest's text, a line of a disclosed key, a file of tag keys.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(manifest) = Manifest::parse(text) {
        assert_eq!(manifest.text(), text);
    }
    if let Some(opening) = Opening::parse(data) {
        assert_eq!(opening.line(), text);
    }
    let _ = TagKeys::parse(text);
}

/// A whole archive, judged by somebody who brought nothing: never proven.
pub fn archive(data: &[u8]) {
    let Ok(archive) = Archive::open(data.to_vec()) else { return };
    if let Ok(report) = verify(&archive, &Trust::default(), &Options::default()) {
        assert_ne!(report.exit(), 0);
    }
}
