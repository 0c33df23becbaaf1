//! What is wrong with a request, each with the path of its field.
//!
//! Paths are linked frames on the stack and become text only when something is wrong, so that a
//! correct event costs nothing. Descriptions never repeat a value.

use std::borrow::Cow;
use std::fmt;

/// Violations kept of one request; the rest is counted.
const KEPT: usize = 1_000;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// In the API's naming, such as `events[7].people[0].identifiers[1].value`.
    pub field: String,
    pub description: Cow<'static, str>,
}

/// Every violation of a request, in the order in which fields are read.
#[derive(Debug, Default)]
pub struct Violations {
    found: Vec<Violation>,
    /// Found beyond what is kept.
    more: usize,
}

impl Violations {
    pub fn new() -> Self {
        Violations::default()
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many were found, kept or not.
    pub fn len(&self) -> usize {
        self.found.len() + self.more
    }

    pub fn add(&mut self, at: &Path<'_>, description: impl Into<Cow<'static, str>>) {
        self.push(|| at.to_string(), description.into());
    }

    /// What a rule between fields found, in a field below `at` that is known by a dotted path.
    /// Passed over if that field, or one inside it, is malformed: then it was not read.
    pub fn add_below(&mut self, at: &Path<'_>, field: &str, description: &'static str) {
        let below = match at.to_string() {
            path if path.is_empty() => field.to_owned(),
            path => format!("{path}.{field}"),
        };
        let inside =
            |found: &Violation| found.field.strip_prefix(&below).is_some_and(|rest| !rest.starts_with('_'));
        if !self.found.iter().any(inside) {
            self.push(|| below, Cow::Borrowed(description));
        }
    }

    fn push(&mut self, field: impl FnOnce() -> String, description: Cow<'static, str>) {
        if self.found.len() < KEPT {
            self.found.push(Violation { field: field(), description });
        } else {
            self.more += 1;
        }
    }

    /// All that were kept; a last one without a field says how many were not.
    pub fn into_vec(mut self) -> Vec<Violation> {
        if self.more > 0 {
            let description = Cow::Owned(format!("{} more violations are not listed", self.more));
            self.found.push(Violation { field: String::new(), description });
        }
        self.found
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Root,
    Field(&'static str),
    Index(usize),
}

/// Where in a request we are.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step,
}

impl Path<'static> {
    /// The request itself.
    pub const ROOT: Path<'static> = Path { parent: None, step: Step::Root };
}

impl<'a> Path<'a> {
    pub fn field(&'a self, name: &'static str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Field(name) }
    }

    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        let first = self.parent.is_none_or(|parent| matches!(parent.step, Step::Root));
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) if first => f.write_str(name),
            Step::Field(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_the_api_names_it() {
        let root = Path::ROOT;
        let events = root.field("events");
        let event = events.index(7);
        assert_eq!(event.field("body").to_string(), "events[7].body");
        let mut violations = Violations::new();
        violations.add_below(&event, "window.from", "is late");
        violations.add_below(&event, "window", "is wrong as a whole");
        violations.add_below(&root, "window.from", "is late");
        let fields: Vec<_> = violations.into_vec().into_iter().map(|v| v.field).collect();
        assert_eq!(fields, ["events[7].window.from", "window.from"]);
    }

    #[test]
    fn what_a_caller_can_grow_is_bounded() {
        let mut violations = Violations::new();
        for index in 0..KEPT + 5 {
            violations.add(&Path::ROOT.index(index), "is wrong");
        }
        assert_eq!(violations.len(), KEPT + 5);
        let listed = violations.into_vec();
        assert_eq!(
            (listed.len(), listed[KEPT].description.as_ref()),
            (KEPT + 1, "5 more violations are not listed")
        );
    }
}
