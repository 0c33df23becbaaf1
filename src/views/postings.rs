//! Posting lists: the positions of the records that name a person.

use crate::domain::id::SubjectId;
use crate::views::Error;
use crate::views::codec::Reader;
use crate::views::person::{Person, Posting, take_postings};
use crate::views::store::{self, Reading};

/// All postings of one person, in order.
pub fn ascending(reading: &Reading, subject: SubjectId) -> Result<Vec<Posting>, Error> {
    let Some(row) = reading.get(&store::person(subject))? else { return Ok(Vec::new()) };
    let person = Person::decode(&row)?;
    let mut all = Vec::new();
    if person.blocks > 0 {
        for row in reading.prefix(&store::postings_of(subject)) {
            all.extend(block(&row?.1)?);
        }
    }
    all.extend(person.tail);
    Ok(all)
}

/// At most `limit` postings before a position, newest first.
pub fn newest(
    reading: &Reading,
    subject: SubjectId,
    before: u64,
    limit: usize,
) -> Result<Vec<Posting>, Error> {
    let Some(row) = reading.get(&store::person(subject))? else { return Ok(Vec::new()) };
    let person = Person::decode(&row)?;
    let mut found: Vec<Posting> =
        person.tail.into_iter().rev().filter(|posting| posting.position < before).take(limit).collect();
    if found.len() < limit && person.blocks > 0 {
        let from = store::postings(subject, 0);
        let to = store::postings(subject, before);
        for row in reading.range(&from..&to).rev() {
            let postings = block(&row?.1)?;
            found.extend(postings.into_iter().rev().filter(|posting| posting.position < before));
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
    }
    Ok(found)
}

/// At most `limit` postings from a position on, oldest first.
pub fn oldest(reading: &Reading, subject: SubjectId, from: u64, limit: usize) -> Result<Vec<Posting>, Error> {
    let Some(row) = reading.get(&store::person(subject))? else { return Ok(Vec::new()) };
    let person = Person::decode(&row)?;
    let mut found = Vec::new();
    if person.blocks > 0 {
        // A block is named after its first posting: the one that holds `from` may begin before it.
        let (least, next) = (store::postings(subject, 0), store::postings(subject, from.saturating_add(1)));
        let holding = reading.range(&least..&next).next_back().transpose()?;
        let begin = holding.map_or(least.to_vec(), |(key, _)| key.to_vec());
        for row in reading.range(&begin..&store::postings(subject, u64::MAX)) {
            found.extend(block(&row?.1)?.into_iter().filter(|posting| posting.position >= from));
            if found.len() >= limit {
                break;
            }
        }
    }
    found.extend(person.tail.into_iter().filter(|posting| posting.position >= from));
    found.truncate(limit);
    Ok(found)
}

fn block(row: &[u8]) -> Result<Vec<Posting>, Error> {
    let mut reader = Reader::new(row, "postings");
    let n = reader.len()?;
    let postings = take_postings(&mut reader, n)?;
    reader.end()?;
    Ok(postings)
}
