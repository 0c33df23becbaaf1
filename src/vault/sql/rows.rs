//! Reading: holders, bindings and what was erased, on any connection.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::cache::{Known, Slot, Versions};
use super::marks::{Marker, Marking, Place, place_of_pair, place_of_subject};
use super::seal::{self, DESTROYED, Wrapped, corrupt};
use super::{Row, Shared, Sql, Value, marks, values};
use crate::domain::id::SubjectId;
use crate::domain::identity::resolve::{Binding, Erased, HolderKind, Owner};
use crate::domain::identity::{Class, Identifier};
use crate::domain::time::Timestamp;
use crate::record::key::YearKey;
use crate::vault::{Error, Holder, Key};

/// Length of a holder's row. The schema checks it.
pub const BODY: usize = 220;
const NEVER: i64 = i64::MIN;

/// A holder as stored: version, kind, account, 0, kek epoch, created, cancelled, subject, three keys.
#[derive(Clone)]
pub struct Body {
    pub kind: HolderKind,
    pub account: bool,
    pub kek: u32,
    pub created_ms: i64,
    pub cancelled_at: Option<Timestamp>,
    pub subject: SubjectId,
    pub link: Wrapped,
    pub identity: Wrapped,
    pub evidence: Wrapped,
}

impl Body {
    pub fn encode(&self) -> [u8; BODY] {
        let mut out = [0; BODY];
        out[0] = 1;
        out[1] = self.kind as u8 + 1;
        out[2] = u8::from(self.account);
        out[4..8].copy_from_slice(&self.kek.to_le_bytes());
        out[8..16].copy_from_slice(&self.created_ms.to_le_bytes());
        let cancelled = self.cancelled_at.map_or(NEVER, Timestamp::ms);
        out[16..24].copy_from_slice(&cancelled.to_le_bytes());
        out[24..40].copy_from_slice(&self.subject.0);
        for (i, key) in [&self.link, &self.identity, &self.evidence].into_iter().enumerate() {
            out[40 + 60 * i..100 + 60 * i].copy_from_slice(key);
        }
        out
    }

    /// `None` for a destroyed holder.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let wrong = || corrupt("a holder's row cannot be read");
        let bytes: &[u8; BODY] = bytes.try_into().map_err(|_| wrong())?;
        if bytes.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let kind = match (bytes[0], bytes[1]) {
            (1, 1) => HolderKind::Person,
            (1, 2) => HolderKind::Device,
            (1, 3) => HolderKind::Organisation,
            (1, 4) => HolderKind::Matter,
            _ => return Err(wrong()),
        };
        let number = |at: usize| i64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let key = |at: usize| -> Wrapped { std::array::from_fn(|i| bytes[at + i]) };
        Ok(Some(Body {
            kind,
            account: bytes[2] == 1,
            kek: u32::from_le_bytes(std::array::from_fn(|i| bytes[4 + i])),
            created_ms: number(8),
            cancelled_at: Timestamp::from_ms(number(16)),
            subject: SubjectId(std::array::from_fn(|i| bytes[24 + i])),
            link: key(40),
            identity: key(100),
            evidence: key(160),
        }))
    }

    pub fn unwrap(&self, shared: &Shared) -> Result<Holder, Error> {
        let kek = seal::cipher(&shared.keyring.kek(self.kek)?);
        let key = |class, wrapped| -> Result<Option<Key>, Error> {
            seal::unwrap(&kek, self.subject, class, wrapped)
        };
        Ok(Holder {
            subject: self.subject,
            kind: self.kind,
            link: key("link", &self.link)?.ok_or_else(|| corrupt("a holder has no link key"))?,
            year: YearKey::default(),
            identity: key("identity", &self.identity)?,
            evidence: key("evidence", &self.evidence)?,
        })
    }

    /// Locks the keys of a holder under another key-encryption key.
    pub fn wrap(&mut self, holder: &Holder, epoch: u32, kek: &Key) -> Result<(), Error> {
        let kek = seal::cipher(kek);
        let wrap = |class, key: Option<&Key>| match key {
            Some(key) => seal::wrap(&kek, holder.subject, class, key),
            None => Ok(DESTROYED),
        };
        self.kek = epoch;
        self.link = wrap("link", Some(&holder.link))?;
        self.identity = wrap("identity", holder.identity.as_ref())?;
        self.evidence = wrap("evidence", holder.evidence.as_ref())?;
        Ok(())
    }
}

/// One identifier of an entry with its marks, and all that is known of it.
pub struct Facts {
    pub bindings: Arc<[Known]>,
    pub erased: Vec<Erased>,
    /// Where each binding stands, for who changes it.
    pub places: Vec<(Place, i64)>,
}

const BINDINGS_AT: &str = "SELECT b.n, b.from_ms, b.to_ms, b.reaches, h.body, m.kept FROM bindings b
    JOIN holders h ON h.n = b.n LEFT JOIN merges m ON m.gone = b.n WHERE b.place = ?1";
/// The same in two steps, for a database in which `holders` is of many parts: a join would look into each.
const BOUND_AT: &str =
    "SELECT b.n, b.from_ms, b.to_ms, b.reaches, CAST(NULL AS bytea), m.kept FROM bindings b
    LEFT JOIN merges m ON m.gone = b.n WHERE b.place = ?1";
const BODY_OF: &str = "SELECT body FROM holders WHERE n = ?1";
const ERASED_AT: &str = "SELECT from_ms, to_ms FROM erased WHERE place = ?1 AND until_ms > ?2";

/// A connection for the length of one transaction, with the holders met in it.
pub struct Db<'a> {
    pub sql: &'a dyn Sql,
    pub shared: &'a Shared,
    /// One for the whole transaction, whatever is activated meanwhile.
    pub marker: Arc<Marker>,
    /// One for the whole transaction.
    now: Timestamp,
    holders: HashMap<i64, Arc<Holder>>,
    /// What the cache may be told of what is read. A writer tells it nothing before its commit.
    versions: Option<Versions>,
}

impl<'a> Db<'a> {
    /// To be made before the transaction begins to read.
    pub fn reading(sql: &'a dyn Sql, shared: &'a Shared) -> Self {
        Db { versions: Some(shared.cache.versions()), ..Db::writing(sql, shared) }
    }

    pub fn writing(sql: &'a dyn Sql, shared: &'a Shared) -> Self {
        let (marker, now) = (shared.marker(), shared.clock.now());
        Db { sql, shared, marker, now, holders: HashMap::new(), versions: None }
    }

    fn fill(&self, place: Place, slot: Slot) {
        if let Some(versions) = &self.versions {
            self.shared.cache.fill(place, slot, versions);
        }
    }

    /// What `facts` will ask of these identifiers, at once. To be called where nothing is changed before.
    pub fn ahead(&self, markings: &[Marking]) -> Result<(), Error> {
        if !self.sql.is_far() {
            return Ok(());
        }
        let mut queries = Vec::with_capacity(2 * markings.len());
        for marking in markings {
            let place = Value::from(&marking.place);
            queries.push((BOUND_AT, [place, Value::Null]));
            queries.push((ERASED_AT, [place, self.now.ms().into()]));
        }
        self.sql.ahead(&queries)?;
        let mut bound = BTreeSet::new();
        for marking in markings {
            self.sql.query(BOUND_AT, values![&marking.place], &mut |row| {
                bound.insert(row.int(0)?);
                Ok(())
            })?;
        }
        let bodies: Vec<_> = bound.into_iter().map(|n| (BODY_OF, [Value::from(n), Value::Null])).collect();
        self.sql.ahead(&bodies)
    }

    /// All that is known of an identifier, under the active look-up key and the older ones.
    pub fn facts(&mut self, identifier: &Identifier, marking: &Marking) -> Result<Facts, Error> {
        let (mut known, mut places, mut erased) = (Vec::new(), Vec::new(), Vec::new());
        self.bindings_at(&marking.place, &mut known, &mut places)?;
        self.erased_at(&marking.place, &mut erased)?;
        let here = known.len();
        for marking in self.marker.older(identifier) {
            self.bindings_at(&marking.place, &mut known, &mut places)?;
            self.erased_at(&marking.place, &mut erased)?;
        }
        let bindings: Arc<[Known]> = known.into();
        // What stands under another key changes without the cache being told under this one.
        if here > 0 && here == bindings.len() && erased.is_empty() {
            self.fill(marking.place, Slot::Bindings(Arc::clone(&bindings)));
        }
        Ok(Facts { bindings, erased, places })
    }

    fn bindings_at(
        &mut self,
        place: &Place,
        known: &mut Vec<Known>,
        places: &mut Vec<(Place, i64)>,
    ) -> Result<(), Error> {
        let bound = if self.sql.is_far() { BOUND_AT } else { BINDINGS_AT };
        self.sql.query(bound, values![place], &mut |row| {
            let n = row.int(0)?;
            let body = match row.bytes_or_none(4)? {
                Some(body) => Body::decode(body)?,
                None => self.sql.first(BODY_OF, values![n], |row| Body::decode(row.bytes(0)?))?.flatten(),
            };
            let Some(body) = body else {
                return Err(corrupt("an identifier is bound to a destroyed holder"));
            };
            let canonical = match row.int_or_none(5)? {
                Some(kept) => self.canonical_from(kept)?,
                None => body.subject,
            };
            let owner =
                Owner { canonical, kind: body.kind, account: body.account, cancelled_at: body.cancelled_at };
            let binding = Binding {
                subject: body.subject,
                owner,
                from: time(row, 1)?,
                to: time_or_none(row, 2)?,
                reaches: row.truth(3)?,
            };
            known.push(Known { binding, holder: self.holder_of(n, &body)? });
            places.push((*place, n));
            Ok(())
        })
    }

    fn erased_at(&self, place: &Place, erased: &mut Vec<Erased>) -> Result<(), Error> {
        self.sql.query(ERASED_AT, values![place, self.now.ms()], &mut |row| {
            erased.push(Erased { from: time_or_none(row, 0)?, to: time(row, 1)? });
            Ok(())
        })
    }

    /// A holder that was made in this transaction.
    pub fn know(&mut self, n: i64, holder: &Arc<Holder>) {
        self.holders.insert(n, Arc::clone(holder));
    }

    /// The keys of a holder whose row is at hand.
    pub fn holder_of(&mut self, n: i64, body: &Body) -> Result<Arc<Holder>, Error> {
        if let Some(holder) = self.holders.get(&n) {
            return Ok(Arc::clone(holder));
        }
        let place = place_of_subject(body.subject);
        let holder = match self.shared.cache.get(&place) {
            // Another node may have destroyed a key since that was remembered.
            Some(Slot::Holder(holder)) if holder.identity.is_some() == (body.identity != DESTROYED) => holder,
            _ => {
                let holder = Arc::new(body.unwrap(self.shared)?);
                self.fill(place, Slot::Holder(Arc::clone(&holder)));
                holder
            }
        };
        self.holders.insert(n, Arc::clone(&holder));
        Ok(holder)
    }

    /// The row of a handle or a name.
    pub fn find(&self, place: &Place) -> Result<Option<i64>, Error> {
        self.sql.first("SELECT n FROM handles WHERE place = ?1", values![place], |row| row.int(0))
    }

    pub fn find_subject(&self, subject: SubjectId) -> Result<i64, Error> {
        self.find(&place_of_subject(subject))?.ok_or(Error::NotFound)
    }

    pub fn body(&self, n: i64) -> Result<Body, Error> {
        let body = self.sql.first(BODY_OF, values![n], |row| Body::decode(row.bytes(0)?))?;
        body.ok_or_else(|| corrupt("a number of a holder leads nowhere"))?
            .ok_or_else(|| corrupt("a handle leads to a destroyed holder"))
    }

    pub fn holder(&mut self, subject: SubjectId) -> Result<Arc<Holder>, Error> {
        let n = self.find_subject(subject)?;
        let body = self.body(n)?;
        self.holder_of(n, &body)
    }

    /// Hands over the row of every holder, some thousand at a time.
    pub fn bodies(&self, mut each: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let (mut last, mut more) = (i64::MIN, true);
        while std::mem::take(&mut more) {
            let sql = "SELECT n, body FROM holders WHERE n > ?1 ORDER BY n LIMIT 5000";
            self.sql.query(sql, values![last], &mut |row| {
                (last, more) = (row.int(0)?, true);
                each(row.bytes(1)?)
            })?;
        }
        Ok(())
    }

    pub fn is_pending(&self, n: i64) -> Result<bool, Error> {
        self.sql.exists("SELECT 1 FROM pending WHERE n = ?1", values![n])
    }

    /// Into what a holder was merged, if so.
    pub fn kept(&self, gone: i64) -> Result<Option<i64>, Error> {
        self.sql.first("SELECT kept FROM merges WHERE gone = ?1", values![gone], |row| row.int(0))
    }

    /// The end of a chain of merges. Chains have no circles, because only ends are merged.
    pub fn canonical_row(&self, mut n: i64) -> Result<i64, Error> {
        while let Some(kept) = self.kept(n)? {
            n = kept;
        }
        Ok(n)
    }

    fn canonical_from(&self, n: i64) -> Result<SubjectId, Error> {
        Ok(self.body(self.canonical_row(n)?)?.subject)
    }

    /// Whether an association is stored, under any living look-up key; `place` is where it would be.
    pub fn was_seen(&self, subject: SubjectId, identifier: &Identifier, place: Place) -> Result<bool, Error> {
        if self.shared.waits_or_cached(&place_of_pair(subject, &place)) {
            return Ok(true);
        }
        let n = self.find_subject(subject)?;
        let living = std::iter::once(self.marker.mark(identifier)).chain(self.marker.older(identifier));
        // The place may be one of a moment ago.
        let mut asked = None;
        for place in std::iter::once(place).chain(living.map(|marking| marking.place)) {
            if asked == Some(place) {
                continue;
            }
            if self.sql.exists("SELECT 1 FROM seen WHERE n = ?1 AND place = ?2", values![n, &place])? {
                return Ok(true);
            }
            asked = Some(place);
        }
        Ok(false)
    }

    /// The places of all bindings of a holder.
    pub fn places_of(&self, n: i64) -> Result<Vec<Place>, Error> {
        self.sql.all("SELECT DISTINCT place FROM bindings WHERE n = ?1", values![n], |row| row.place(0))
    }

    /// Those that a change of a holder's canonical end concerns: the holder and whoever merged into it.
    pub fn with_merged(&self, n: i64) -> Result<Vec<i64>, Error> {
        let mut all = vec![n];
        let mut next = 0;
        while let Some(n) = all.get(next).copied() {
            let sql = "SELECT gone FROM merges WHERE kept = ?1";
            all.extend(self.sql.all(sql, values![n], |row| row.int(0))?);
            next += 1;
        }
        Ok(all)
    }

    /// Fetches again what the cache may hold of a place, after a commit.
    pub fn refresh(&mut self, place: Place) -> Result<(), Error> {
        let (mut known, mut erased) = (Vec::new(), Vec::new());
        if self.marker.is_single() {
            self.bindings_at(&place, &mut known, &mut Vec::new())?;
            self.erased_at(&place, &mut erased)?;
        }
        let cached = !known.is_empty() && erased.is_empty();
        self.shared.cache.put(place, cached.then(|| Slot::Bindings(known.into())));
        Ok(())
    }
}

pub fn time(row: &dyn Row, column: usize) -> Result<Timestamp, Error> {
    Timestamp::from_ms(row.int(column)?).ok_or_else(|| corrupt("a row holds a time that is none"))
}

pub fn time_or_none(row: &dyn Row, column: usize) -> Result<Option<Timestamp>, Error> {
    match row.int_or_none(column)? {
        Some(_) => time(row, column).map(Some),
        None => Ok(None),
    }
}

/// Of a shared identifier that was seen with somebody: written with the next commit.
pub struct SeenRow {
    pub subject: SubjectId,
    pub place: Place,
    /// The look-up key that the place is under.
    pub lookup: u32,
    pub first_ms: i64,
    pub identifier: Identifier,
    pub sealed: Vec<u8>,
}

impl SeenRow {
    pub fn new(
        holder: &Holder,
        identifier: &Identifier,
        marking: &Marking,
        at: Timestamp,
    ) -> Result<Self, Error> {
        debug_assert_eq!(identifier.kind.class(), Class::Shared);
        let key = holder.identity.as_ref().ok_or_else(|| corrupt("a person has no identity key"))?;
        let sealed = seal::seal_value(key, holder.subject, identifier.value.expose())?;
        Ok(SeenRow {
            subject: holder.subject,
            place: marking.place,
            lookup: marking.lookup,
            first_ms: at.ms(),
            identifier: identifier.clone(),
            sealed,
        })
    }

    pub fn pair(&self) -> Place {
        marks::place_of_pair(self.subject, &self.place)
    }
}
