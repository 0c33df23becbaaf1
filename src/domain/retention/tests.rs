//! The acceptance vectors, and cases that are not among them but follow from the same text.

use crate::domain::retention::vector::{Vector, read};

/// All of a file's cases hold.
fn hold(text: &str) -> usize {
    let vectors = read(text).unwrap_or_else(|wrong| panic!("{wrong:#?}"));
    let differs: Vec<String> = vectors.iter().filter_map(differs).collect();
    assert!(differs.is_empty(), "{}", differs.join("\n"));
    vectors.len()
}

fn differs(vector: &Vector) -> Option<String> {
    let differences = vector.differences();
    (!differences.is_empty()).then(|| format!("{}: {differences:#?}", vector.name))
}

#[test]
fn every_acceptance_vector_holds() {
    assert_eq!(hold(include_str!("../../../tests/retention/vectors.json")), 59);
}

#[test]
fn so_does_what_is_not_among_them_but_follows_from_the_text() {
    assert!(hold(include_str!("../../../tests/retention/more.json")) > 50);
}
