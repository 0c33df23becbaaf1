//! Under which name the log stands: its first event says, and one that continues it under another.

use super::Error;
use super::point::Naming;
use crate::domain::event::Body;
use crate::log::StoredRecord;
use crate::record::Header;

/// The name that a record gives the log. Cheap for all the others.
pub fn naming(record: &StoredRecord) -> Result<Option<Naming>, Error> {
    if !matches!(Header::type_name(&record.header), Some("LogOpened" | "LogContinued")) {
        return Ok(None);
    }
    let failed = |source| Error::Record { position: record.position, source };
    let header = Header::parse(&record.header).map_err(failed)?;
    let origin = match header.body(None).map_err(failed)? {
        Body::LogOpened(body) => body.origin,
        Body::LogContinued(body) => body.origin,
        _ => None,
    };
    Ok(origin.map(|origin| Naming { from: record.position, origin: origin.to_string() }))
}

/// The name after this one: `-1` becomes `-2`, and what has no number gets `-2`.
pub fn next(origin: &str) -> String {
    if let Some((name, number)) = origin.rsplit_once('-')
        && let Some(number) = super::tlog::decimal(number).and_then(|number| number.checked_add(1))
    {
        return format!("{name}-{number}");
    }
    format!("{origin}-2")
}
