//! Findings about how long data are kept that the registers alone tell: services that ended without notice (PIPL 47;
//! policy 6.3), and holds on many that nobody reviewed (GDPR 17(3); policy 6.2).

use std::sync::Arc;

use crate::domain::event::{Body, RegisterKind};
use crate::domain::finding::Value;
use crate::domain::register::Version;
use crate::domain::time::Timestamp;
use crate::views::findings::persons::{hold_key, stale_since};
use crate::views::findings::{Finder, maybe};
use crate::views::lock;

/// What is wrong: its key, since when, and where it stands in the log.
type Wrong = (Vec<Option<Value>>, Timestamp, u64);

impl Finder<'_> {
    /// By the tick, like everything that has a clock.
    pub(super) fn keeping(&mut self) {
        let Some(now) = self.tick else { return };
        let (mut unannounced, mut stale) = (Vec::new(), Vec::new());
        {
            let book = lock::read(&self.ask.generation.shared.book);
            let known = |versions: &[Arc<Version>]| -> Vec<Arc<Version>> {
                let past = |version: &&Arc<Version>| version.is_known(self.known_at()) && version.at <= now;
                versions.iter().filter(past).cloned().collect()
            };
            for (_, versions) in book.of(RegisterKind::Service) {
                unannounced.extend(ended_without_notice(&known(versions), now));
            }
            for (_, versions) in book.of(RegisterKind::Hold) {
                stale.extend(unreviewed(&known(versions), now));
            }
        }
        for (code, found) in [("F-TERMINATION-NOTICE", unannounced), ("F-HOLD-STALE", stale)] {
            found.into_iter().for_each(|(key, at, position)| self.note(code, key, at, Some(position)));
        }
    }
}

/// Ends of a service before which no notice was given (`domain.md` 4.2 step 6).
fn ended_without_notice(versions: &[Arc<Version>], now: Timestamp) -> Vec<Wrong> {
    let notices = versions.iter().filter_map(|version| match &version.body {
        Body::ServiceTerminationNotified(body) => Some(body.notice_at.unwrap_or(version.at)),
        _ => None,
    });
    let first = notices.min();
    let ends = versions.iter().filter_map(|version| match &version.body {
        Body::ServiceTerminated(body) => {
            let at = body.end_at.unwrap_or(version.at);
            Some((vec![maybe(body.service.as_ref())], at, version.position))
        }
        _ => None,
    });
    ends.filter(|(_, at, _)| *at <= now && first.is_none_or(|first| first > *at)).collect()
}

/// The last placing of a hold that stands, where it lacks its ground or its review.
fn unreviewed(versions: &[Arc<Version>], now: Timestamp) -> Option<Wrong> {
    let last = versions.iter().max_by_key(|version| (version.at, version.position))?;
    match &last.body {
        Body::LegalHoldPlaced(body) => {
            Some((hold_key(body), stale_since(body, last.at, now)?, last.position))
        }
        _ => None,
    }
}
