//! Resolving a batch: from the cache where all is known and nothing changes, else from one reading
//! transaction, else by the writer. Only the last waits for a sync.

use std::collections::HashSet;
use std::sync::Arc;

use super::cache::Slot;
use super::change::{decide, facts_of, holder_in, marked, nobody};
use super::marks::{Marking, Place, place_of_pair};
use super::rows::{Db, Facts, SeenRow};
use super::txn::Txn;
use super::{Shared, seal};
use crate::domain::identity::resolve::{Change, Decision, Use, Who};
use crate::domain::identity::{Class, Kind};
use crate::vault::{Act, Entry, Error, Resolution};

/// How far an entry has come.
pub enum Step {
    Done(Resolution, First),
    /// The cache does not hold all that is needed.
    Read,
    /// Something must be stored.
    Write,
}

/// Associations that were not known: the place of the identifier in its entry, and the row.
pub type First = Vec<(usize, SeenRow)>;

/// Without the database: one HMAC and one look-up per identifier.
pub fn from_cache(shared: &Shared, entry: &Entry) -> Result<Step, Error> {
    let (mut markings, mut facts) =
        (Vec::with_capacity(entry.identifiers.len()), Vec::with_capacity(entry.identifiers.len()));
    let marker = shared.marker();
    for identifier in &entry.identifiers {
        let marking = marker.mark(identifier);
        let bindings = if may_decide(entry, identifier.kind) {
            match shared.cache.get(&marking.place) {
                Some(Slot::Bindings(bindings)) => bindings,
                _ => return Ok(Step::Read),
            }
        } else {
            Arc::clone(&shared.no_bindings)
        };
        markings.push(marking);
        facts.push(Facts { bindings, erased: Vec::new(), places: Vec::new() });
    }
    let decision = decide(entry, &facts);
    if decision.must_be_stored() {
        return Ok(Step::Write);
    }
    let seen = |_: usize, pair: &Place| Ok(shared.waits_or_cached(pair).then_some(true));
    finish(entry, &markings, &facts, decision, seen)
}

/// With one reading transaction that the caller holds open.
pub fn from_reader(db: &mut Db<'_>, entry: &Entry) -> Result<Step, Error> {
    let (markings, facts) = facts_of(db, entry)?;
    let decision = decide(entry, &facts);
    if decision.must_be_stored() {
        return Ok(Step::Write);
    }
    let who = decision.who;
    let seen = |i: usize, pair: &Place| {
        let Who::Existing(subject) = who else { return Ok(Some(true)) };
        let seen = db.was_seen(subject, &entry.identifiers[i], markings[i].place)?;
        if seen {
            db.shared.cache.put(*pair, Some(Slot::Seen));
        }
        Ok(Some(seen))
    };
    finish(entry, &markings, &facts, decision, seen)
}

/// Whether what is known of an identifier can change the answer: a shared one only if the entry
/// names nothing else.
fn may_decide(entry: &Entry, kind: Kind) -> bool {
    if kind.class() != Class::Shared {
        return true;
    }
    kind.is_device() && entry.identifiers.iter().all(|other| other.kind.class() == Class::Shared)
}

/// The answer, with first sightings that `settle` has to note. `seen` says whether an association is
/// stored; `None` if it cannot tell.
fn finish(
    entry: &Entry,
    markings: &[Marking],
    facts: &[Facts],
    mut decision: Decision,
    mut seen: impl FnMut(usize, &Place) -> Result<Option<bool>, Error>,
) -> Result<Step, Error> {
    let Who::Existing(subject) = decision.who else {
        return Ok(Step::Done(nobody(decision, entry, markings), First::new()));
    };
    let holder = holder_in(facts, subject)?;
    let mut first = First::new();
    for change in &decision.changes {
        let Change::Associate { identifier: i } = *change else { continue };
        match seen(i, &place_of_pair(subject, &markings[i].place))? {
            None => return Ok(Step::Read),
            Some(true) => decision.uses[i] = Use::Known,
            Some(false) => {
                let row = SeenRow::new(&holder, &entry.identifiers[i], &markings[i], entry.occurred_at)?;
                first.push((i, row));
            }
        }
    }
    let resolution = Resolution {
        holder: Some(holder),
        created: false,
        marks: marked(entry, markings, &decision.uses),
        conflicts: decision.conflicts,
        late_for_erased: false,
    };
    Ok(Step::Done(resolution, first))
}

/// Leaves first sightings to be written, unless somebody before in the batch saw the same.
pub fn settle(shared: &Shared, resolution: &mut Resolution, first: &mut First) {
    for (i, row) in first.drain(..) {
        let pair = row.pair();
        if shared.waits_or_cached(&pair) {
            resolution.marks[i].usage = Use::Known;
        } else {
            shared.cache.put(pair, Some(Slot::Seen));
            shared.lazy().seen.insert(pair, row);
        }
    }
}

/// The same inside the writer's transaction, which may hold what the same entries brought before.
pub fn settle_in(txn: &Txn<'_>, resolution: &mut Resolution, first: &mut First) -> Result<(), Error> {
    for (i, row) in std::mem::take(first) {
        if txn.db.was_seen(row.subject, &row.identifier, row.place)? {
            resolution.marks[i].usage = Use::Known;
        } else {
            first.push((i, row));
        }
    }
    settle(txn.db.shared, resolution, first);
    Ok(())
}

impl Shared {
    /// Whether an association is known without asking the database.
    pub fn waits_or_cached(&self, pair: &Place) -> bool {
        self.cache.get(pair).is_some() || self.lazy().has_seen(pair)
    }
}

/// All entries that are not done by the cache, in one pass over one snapshot.
pub fn read_all(db: &mut Db<'_>, entries: &[Entry], steps: &mut [Step]) -> Result<(), Error> {
    if db.sql.is_far() {
        let asked = entries.iter().zip(&*steps).filter(|(_, step)| matches!(step, Step::Read));
        let identifiers = asked.flat_map(|(entry, _)| &entry.identifiers);
        let markings: Vec<Marking> = identifiers.map(|identifier| db.marker.mark(identifier)).collect();
        db.ahead(&markings)?;
    }
    for (entry, step) in entries.iter().zip(steps) {
        if matches!(step, Step::Read) {
            *step = from_reader(db, entry)?;
        }
    }
    Ok(())
}

/// Entries are resolved as if one after the other: whoever comes after one that must be stored and
/// may be answered differently because of it goes the same way.
pub fn follow_order(shared: &Shared, entries: &[Entry], steps: &mut [Step]) {
    let mut dirty: HashSet<Place> = HashSet::new();
    let mut all = false;
    let marker = shared.marker();
    for (entry, step) in entries.iter().zip(steps) {
        if dirty.is_empty() && !all && !matches!(step, Step::Write) {
            continue;
        }
        let deciding = entry.identifiers.iter().filter(|i| may_decide(entry, i.kind));
        let places: Vec<Place> = deciding.map(|i| marker.mark(i).place).collect();
        if all || places.iter().any(|place| dirty.contains(place)) {
            *step = Step::Write;
        }
        if matches!(step, Step::Write) {
            dirty.extend(places);
            // A cancellation ends bindings that its entry does not name.
            all |= entry.act == Act::CancelAccount;
        }
    }
}

/// Whether the keyring still has all that the stored rows need.
pub fn check_keys(shared: &Shared, counts: &[(String, i64)]) -> Result<(), Error> {
    for (name, count) in counts.iter().filter(|(_, count)| *count > 0) {
        if let Some(epoch) = name.strip_prefix("kek:") {
            let epoch = epoch.parse().map_err(|_| seal::corrupt("a count has a wrong name"))?;
            shared
                .keyring
                .kek(epoch)
                .map_err(|error| Error::Keyring(format!("{error} ({count} holders are locked with it)")))?;
        }
    }
    Ok(())
}
