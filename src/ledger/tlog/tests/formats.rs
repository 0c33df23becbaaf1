//! The texts: one form each, read back as they were written, altered ones refused.

use super::super::policy::Judgement;
use super::super::tile::{Resource, bundle, hashes_on, unbundle};
use super::super::*;
use super::Memory;

const ORIGIN: &str = "example.org/custody/events-1";

fn signer(name: &str, kind: KeyKind, seed: u8) -> Signer {
    Signer::from_seed(name, kind, &[seed; 32]).unwrap()
}

fn log_key() -> Signer {
    signer(ORIGIN, KeyKind::Text, 1)
}

fn checkpoint(size: u64, signers: &[&Signer]) -> SignedCheckpoint {
    let head = Checkpoint { origin: ORIGIN.to_owned(), size, root: Memory::of(size).edge.root() };
    head.signed(signers.iter().copied()).unwrap()
}

#[test]
fn a_checkpoint_reads_back_and_no_byte_of_it_can_change() {
    let key = log_key();
    let signed = checkpoint(7, &[&key]);
    let text = signed.to_string();
    assert_eq!(SignedCheckpoint::parse(text.as_bytes()).unwrap(), signed);
    let policy = Policy::of_log(key.verifier().clone());
    let judged = policy.judge(&signed).unwrap();
    assert_eq!(judged, Judgement { logs: vec![0], witnesses: vec![], quorum: true });
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let accepted = SignedCheckpoint::parse(&bytes).and_then(|changed| policy.judge(&changed));
            assert!(accepted.is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn a_checkpoint_has_one_form() {
    let root = base64(&[9; 32]);
    assert!(Checkpoint::parse(&format!("o\n5\n{root}\n")).is_ok());
    for text in [
        format!("o\n05\n{root}\n"),
        format!("o\n+5\n{root}\n"),
        format!("o\n5\n{root}"),
        format!("o\r\n5\r\n{root}\r\n"),
        format!("\n5\n{root}\n"),
        format!("o\n18446744073709551616\n{root}\n"),
        format!("o\n5\n{root}\nextension\n"),
        format!("o\n5\n{}\n", base64(&[9; 31])),
        format!("o\n5\n{}\n", root.trim_end_matches('=')),
        "o\n5\n".to_owned(),
    ] {
        assert!(Checkpoint::parse(&text).is_err(), "{text:?}");
    }
}

#[test]
fn old_and_new_key_sign_together_and_either_is_enough() {
    let (old, new) = (log_key(), signer(ORIGIN, KeyKind::Text, 2));
    let both = checkpoint(3, &[&old, &new]);
    for key in [&old, &new] {
        assert!(Policy::of_log(key.verifier().clone()).judge(&both).is_ok());
    }
    let stranger = signer(ORIGIN, KeyKind::Text, 3);
    assert_eq!(Policy::of_log(stranger.verifier().clone()).judge(&both), Err(Invalid::Unsigned));
}

#[test]
fn a_key_of_another_name_or_two_signatures_of_one_are_refused() {
    let other = signer("example.org/other", KeyKind::Text, 4);
    let foreign = checkpoint(3, &[&other]);
    assert_eq!(Policy::of_log(other.verifier().clone()).judge(&foreign), Err(Invalid::Unsigned));
    let key = log_key();
    let twice = checkpoint(3, &[&key, &key]);
    let refused = Policy::of_log(key.verifier().clone()).judge(&twice);
    assert_eq!(refused, Err(Invalid::TwoSignatures(ORIGIN.to_owned())));
}

#[test]
fn verifier_keys_read_back_and_weak_or_mislabelled_ones_are_refused() {
    for kind in [KeyKind::Text, KeyKind::Cosignature] {
        let key = signer("w.example/w1", kind, 5).verifier().clone();
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        let other_name = key.to_string().replacen("w1", "w2", 1);
        assert!(other_name.parse::<VerifierKey>().is_err());
    }
    let mut weak = vec![1u8];
    weak.extend_from_slice(&[0; 32]);
    weak[1] = 1;
    for id in ["00000000", "ffffffff"] {
        assert!(format!("n+{id}+{}", base64(&weak)).parse::<VerifierKey>().is_err());
    }
    assert!(Signer::from_seed("two words", KeyKind::Text, &[1; 32]).is_err());
    assert!(Signer::from_seed("a+b", KeyKind::Text, &[1; 32]).is_err());
}

/// The example of the specification, which somebody else signed.
#[test]
fn a_note_that_others_signed_is_read() {
    let text = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned \u{e8} subito sera.\n\n\
        \u{2014} quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
    let note = Note::parse(text.as_bytes()).unwrap();
    assert!(note.text.ends_with("sera.\n") && note.signatures.len() == 1);
    assert_eq!(note.signatures[0].bytes.len(), 64);
    assert_eq!(note.to_string(), text);
}

#[test]
fn witnesses_count_as_the_policy_says() {
    let key = log_key();
    let witnesses: Vec<Signer> =
        (0..4).map(|n| signer(&format!("w.example/{n}"), KeyKind::Cosignature, 10 + n)).collect();
    let mut text = format!("# whom we trust\nlog {}\n", key.verifier());
    for (n, witness) in witnesses.iter().enumerate() {
        text.push_str(&format!("  witness W{n}\t{} http://127.0.0.1/{n}\n", witness.verifier()));
    }
    text.push_str("group two 2 W0 W1 W2\ngroup both all two W3\nquorum both\n");
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert!(policy.asks_for_witnesses());
    assert_eq!(policy.witnesses[2].url.as_deref(), Some("http://127.0.0.1/2"));
    let mut signed = checkpoint(5, &[&key]);
    let keys: Vec<VerifierKey> = policy.witnesses.iter().map(|w| w.key.clone()).collect();
    assert!(!policy.judge(&signed).unwrap().quorum);
    for (n, enough) in [(0, false), (3, false), (2, true)] {
        let line = witnesses[n].sign(&signed.note.text, 1_700_000_000 + n as u64).to_string();
        assert_eq!(signed.note.adopt(&line, &keys), Ok(1));
        assert_eq!(policy.judge(&signed).unwrap().quorum, enough, "with {n}");
    }
    let judged = policy.judge(&signed).unwrap();
    assert_eq!(judged.witnesses, [(0, 1_700_000_000), (3, 1_700_000_003), (2, 1_700_000_002)]);
    let other = checkpoint(6, &[&key]);
    let line = witnesses[1].sign(&other.note.text, 1).to_string();
    assert!(signed.note.adopt(&line, &keys).is_err(), "a cosignature of another tree");
}

#[test]
fn a_policy_that_could_be_read_in_two_ways_is_refused() {
    let (key, other) = (log_key(), signer("b", KeyKind::Text, 9));
    let witness = signer("w", KeyKind::Cosignature, 8);
    let (log, w) = (format!("log {}\n", key.verifier()), format!("witness W {}\n", witness.verifier()));
    assert!(Policy::parse(format!("{log}quorum none\n").as_bytes()).is_ok());
    for text in [
        log.clone(),
        format!("{log}{log}quorum none\n"),
        format!("{log}quorum none\nquorum none\n"),
        format!("{log}quorum W\n{w}"),
        format!("{w}{w}quorum W\n"),
        format!("{w}group W any W\nquorum W\n"),
        format!("{w}group g 2 W\nquorum g\n"),
        format!("{w}group g 0 W\nquorum g\n"),
        format!("{w}group g any\nquorum g\n"),
        format!("{w}group g any W W\nquorum g\n"),
        format!("{w}group g any W\ngroup h any W\nquorum g\n"),
        format!("witness none {}\nquorum none\n", witness.verifier()),
        format!("witness X {}\nquorum X\n", other.verifier()),
        format!("log {}\nquorum none\n", witness.verifier()),
        format!("{log}quorum none\rquorum W\n"),
        format!("{log}frobnicate\nquorum none\n"),
    ] {
        assert!(Policy::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn proof_files_read_back_and_prove_one_thing() {
    let (tree, key) = (Memory::of(300), log_key());
    let file = InclusionFile {
        extra: Some(b"receipt".to_vec()),
        index: 299,
        path: proof::inclusion(299, 300, &tree).unwrap(),
        checkpoint: checkpoint(300, &[&key]),
    };
    let text = file.to_string();
    assert_eq!(InclusionFile::parse(text.as_bytes()).unwrap(), file);
    file.check(&leaf_hash(b"leaf 299")).unwrap();
    assert!(file.check(&leaf_hash(b"leaf 298")).is_err());
    let at = text.find("\n\n").unwrap() + 1;
    let crowded = [&text[..at], &format!("{}\n", base64(&[0; 32])).repeat(65), &text[at..]].concat();
    assert!(InclusionFile::parse(crowded.as_bytes()).is_err());
    assert!(InclusionFile::parse(text.replace("index 299", "index 0299").as_bytes()).is_err());

    let grown = ConsistencyFile {
        old: 77,
        path: proof::consistency(77, 300, &tree).unwrap(),
        checkpoint: checkpoint(300, &[&key]),
    };
    assert_eq!(ConsistencyFile::parse(grown.to_string().as_bytes()).unwrap(), grown);
    grown.check(&Memory::of(77).edge.root()).unwrap();
    assert!(grown.check(&Memory::of(78).edge.root()).is_err());
}

#[test]
fn tiles_have_one_path_each() {
    for (path, resource) in [
        ("checkpoint", Resource::Checkpoint),
        ("tile/0/000", Resource::Hashes { level: 0, index: 0, width: 256 }),
        ("tile/2/x001/x234/067", Resource::Hashes { level: 2, index: 1_234_067, width: 256 }),
        ("tile/0/x273/000.p/112", Resource::Hashes { level: 0, index: 273_000, width: 112 }),
        ("tile/entries/999.p/1", Resource::Entries { index: 999, width: 1 }),
    ] {
        assert_eq!(path.parse(), Ok(resource));
        assert_eq!(resource.to_string(), path);
    }
    for path in [
        "",
        "tile/0/0",
        "tile/0/x000/001",
        "tile/00/000",
        "tile/64/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/../000",
        "tile/data/000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
    ] {
        assert!(path.parse::<Resource>().is_err(), "{path}");
    }
    assert_eq!([0, 1, 2, 3].map(|level| hashes_on(level, 70_000)), [70_000, 273, 1, 0]);
    assert_eq!(hashes_on(63, u64::MAX), 0);
}

#[test]
fn bundles_read_back() {
    let mut bytes = Vec::new();
    for entry in [&b"a"[..], b"", b"line"] {
        bundle(&mut bytes, entry).unwrap();
    }
    assert_eq!(unbundle(&bytes).unwrap(), [&b"a"[..], b"", b"line"]);
    assert!(unbundle(&bytes[..bytes.len() - 1]).is_err());
    assert!(bundle(&mut bytes, &vec![0; 65_536]).is_err());
    assert!(unbundle(&[0; 2 * 257]).is_err());
}
