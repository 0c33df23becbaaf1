//! Finds one person's events by their tags, and compares them with the bundle's own list.

use std::collections::BTreeSet;

use super::files::Files;
use super::manifest::{Kind, Manifest};
use super::pass::Positions;
use super::report::{Claim, Report, Verdict};
use super::{Stop, TagKeys};
use crate::record::header::Header;

pub(super) struct Person<'a, 'k> {
    keys: Option<&'k TagKeys>,
    /// In a subject's bundle: the events that it says are this person's.
    listed: Option<Positions<'a>>,
    next: Option<u64>,
    found: u64,
    /// Years of events for which no key was given.
    uncovered: BTreeSet<i32>,
}

impl<'a, 'k> Person<'a, 'k> {
    pub fn open(files: &mut Files<'a>, manifest: &Manifest, keys: Option<&'k TagKeys>) -> Result<Self, Stop> {
        let subject = manifest.kind == Kind::Subject;
        let listed = subject.then(|| Positions::open(files, manifest)).transpose()?;
        let mut person = Person { keys, listed, next: None, found: 0, uncovered: BTreeSet::new() };
        person.advance()?;
        Ok(person)
    }

    fn advance(&mut self) -> Result<(), Stop> {
        self.next = self.listed.as_mut().map_or(Ok(None), Positions::next)?;
        Ok(())
    }

    /// Whether the bundle lists an event.
    fn is_listed(&mut self, position: u64) -> Result<bool, Stop> {
        let listed = self.next == Some(position);
        if listed {
            self.advance()?;
        }
        Ok(listed)
    }

    /// Passes over an event that cannot be read.
    pub fn skip(&mut self, position: u64) -> Result<(), Stop> {
        self.is_listed(position).map(|_| ())
    }

    /// Which parts are theirs; `None` where that is not asked or cannot be said.
    pub fn look_at(&mut self, position: u64, header: &Header<'_>) -> Result<Option<Vec<usize>>, Stop> {
        let listed = self.is_listed(position)?;
        let Some(keys) = self.keys else { return Ok(None) };
        let year = header.recorded_at.year();
        if !keys.covers(year) {
            self.uncovered.insert(year);
            return Ok(None);
        }
        let theirs: Vec<usize> = (0..header.parts.len()).filter(|i| keys.is_theirs(header, *i)).collect();
        self.found += u64::from(!theirs.is_empty());
        if self.listed.is_none() {
            return Ok(None);
        }
        let failed = |why: String| Err(Stop::Failed(Claim::SubjectComplete, why));
        match (listed, theirs.is_empty()) {
            (false, false) => {
                failed(format!("event {position} is this person's, and the bundle does not list it"))
            }
            (true, true) => failed(format!("event {position} is listed, and is not this person's")),
            _ => Ok(Some(theirs)),
        }
    }

    /// `unread` events are newer than this program, so that nobody can say whose they are.
    pub fn finish(self, manifest: &Manifest, unread: u64, report: &mut Report) -> Result<(), Stop> {
        if let Some(listed) = self.listed {
            listed.finish()?;
        }
        let verdict = match (self.keys, manifest.kind) {
            (None, Kind::Subject) => Verdict::Unproven(
                "no tag keys of the person were given: whose events are listed is nobody's word".to_owned(),
            ),
            (None, _) => Verdict::NotAsked("no tag keys of a person were given".to_owned()),
            (Some(_), Kind::Selection) => Verdict::Unproven(format!(
                "{} events here are this person's; what was not selected cannot be seen",
                self.found
            )),
            (Some(_), _) if !self.uncovered.is_empty() => {
                let years: Vec<String> = self.uncovered.iter().map(i32::to_string).collect();
                Verdict::Unproven(format!("there is no tag key for {}", years.join(", ")))
            }
            (Some(_), _) if unread > 0 => Verdict::Unproven(format!(
                "{unread} events are newer than this program: whose they are is unknown"
            )),
            (Some(_), _) => {
                Verdict::Proven(format!("{} events are this person's, and no others", self.found))
            }
        };
        report.set(Claim::SubjectComplete, verdict);
        Ok(())
    }
}
