//! Whose records count as one person's: those merged as one, a linked device's for its time, and then not as its own.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::domain::id::SubjectId;
use crate::domain::time::Timestamp;
use crate::views::findings::persons::Pass;
use crate::views::findings::persons::life::{Sure, Unsure};
use crate::views::fold::split_key;
use crate::views::group::{Group, Resolver, Source, Span};
use crate::views::own::Side;
use crate::views::person::Person;
use crate::views::{Error, postings, store};

impl Pass<'_> {
    /// Whether nobody else's records count as the person's, nor the person's as somebody else's.
    pub(super) fn stands_alone(&self, row: &Person) -> Result<bool, Error> {
        for (key, _) in &row.entries {
            let own = match (key.shape, key.own.first()) {
                // Another person and a mark are the fourth and fifth bit of what an entry keeps.
                (1.., Some(bits)) if bits & 0b1_1000 == 0 => continue,
                (1.., None) => continue,
                _ => split_key(key)?.1,
            };
            if own.other.is_some() || own.mark.is_some() && self.named {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn resolver<T>(
        &self,
        ask: impl FnOnce(&Resolver<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let finder = self.finder;
        let shapes = finder.ask.shapes();
        ask(&Resolver { reading: &finder.ask.reading, shapes: &shapes, known_at: finder.known_at() })
    }

    /// Whom somebody's records may count as: those whose row stands for it after merges, and to whom it was linked.
    pub(super) fn counts_as(&self, subject: SubjectId, row: &Person) -> Result<BTreeSet<SubjectId>, Error> {
        let linked = lenders(row)?;
        self.resolver(|resolver| {
            std::iter::once(&subject).chain(&linked).map(|who| resolver.canonical(*who)).collect()
        })
    }

    /// Everything that counts as one person; `None` for who counts as somebody else.
    pub(super) fn group(&self, subject: SubjectId) -> Result<Option<Of>, Error> {
        self.resolver(|resolver| {
            let Some(group) = resolver.group(subject)?.filter(|group| group.canonical == subject) else {
                return Ok(None);
            };
            let mut lent = Vec::new();
            for member in &group.members {
                let Some(row) = self.finder.ask.reading.get(&store::person(*member))? else { continue };
                for other in lenders(&Person::decode(&row)?)?.difference(&group.members) {
                    let theirs = resolver.group(*other)?.filter(|theirs| !theirs.members.contains(member));
                    let sources = theirs.into_iter().flat_map(|theirs| theirs.sources);
                    lent.extend(
                        sources.filter(|source| source.subject == *member).map(|s| (*member, s.span)),
                    );
                }
            }
            Ok(Some(Of { group, lent }))
        })
    }

    /// Whether a record names two of a group and is no link of theirs: it must not count twice.
    pub(super) fn share_records(&self, of: &Of) -> Result<bool, Error> {
        let sources: BTreeSet<SubjectId> = of.group.sources.iter().map(|source| source.subject).collect();
        let (mut seen, mut links) = (BTreeSet::new(), BTreeSet::new());
        let mut twice = Vec::new();
        for source in sources {
            let Some(row) = self.finder.ask.reading.get(&store::person(source))? else { continue };
            for (key, _) in &Person::decode(&row)?.entries {
                let own = split_key(key)?.1;
                links.extend(own.act.filter(|_| own.other.is_some()).map(|(_, position)| position));
            }
            let all = postings::ascending(&self.finder.ask.reading, source)?;
            twice.extend(all.iter().map(|posting| posting.position).filter(|at| !seen.insert(*at)));
        }
        Ok(twice.iter().any(|position| !links.contains(position)))
    }
}

/// A group, and when members of it count as somebody else's: a device that others logged in on.
#[derive(Clone)]
pub struct Of {
    pub group: Group,
    lent: Vec<(SubjectId, Span)>,
}

impl Of {
    /// Those who were found, or the person alone.
    pub fn or_alone(of: Option<&Of>, subject: SubjectId) -> Cow<'_, Of> {
        of.map_or_else(|| Cow::Owned(Of::alone(subject)), Cow::Borrowed)
    }

    pub fn alone(subject: SubjectId) -> Of {
        let source = Source { subject, span: Span::ALWAYS };
        let group = Group {
            canonical: subject,
            members: BTreeSet::from([subject]),
            sources: vec![source],
            named: BTreeSet::new(),
            marks: Vec::new(),
            rows: BTreeMap::new(),
        };
        Of { group, lent: Vec::new() }
    }

    /// Whether others' records are among those of the group.
    pub fn lends(&self) -> bool {
        !self.lent.is_empty()
    }

    pub fn is_lent(&self, subject: SubjectId, at: Timestamp) -> bool {
        self.lent.iter().any(|(who, span)| *who == subject && span.holds(at))
    }

    /// Whether a tally of one of the sources counts, and if so whether as a linked device's.
    pub fn holds(&self, subject: SubjectId, first: Timestamp, last: Timestamp) -> Sure<Option<bool>> {
        if self.group.members.contains(&subject) {
            let mut lent = self.lent.iter().filter(|(who, _)| *who == subject).map(|(_, span)| span);
            return within(&mut lent, first, last).map(|lent| (!lent).then_some(false));
        }
        let mut spans = self.group.sources.iter().filter(|s| s.subject == subject).map(|s| &s.span);
        within(&mut spans, first, last).map(|in_one| in_one.then_some(true))
    }
}

/// Whether a stretch lies in one of some spans, or in none.
fn within(spans: &mut dyn Iterator<Item = &Span>, first: Timestamp, last: Timestamp) -> Sure<bool> {
    for span in spans {
        let (begins, ends) = (span.holds(first), span.holds(last));
        if begins && ends {
            return Ok(true);
        }
        let inside = span.from.is_some_and(|from| first < from && from <= last);
        if begins || ends || inside {
            return Err(Unsure);
        }
    }
    Ok(false)
}

/// To whom somebody was linked as a device or contact.
fn lenders(row: &Person) -> Result<BTreeSet<SubjectId>, Error> {
    let mut others = BTreeSet::new();
    for (key, _) in &row.entries {
        let own = split_key(key)?.1;
        others.extend(own.other.filter(|(side, _)| *side == Side::Second).map(|(_, other)| other));
    }
    Ok(others)
}
