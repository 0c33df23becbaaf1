//! What the erasure of a person leaves for a while, and until when (`domain.md` 2.3, 2.4).
//!
//! Erasing a person does not erase the proof that they consented or that they asked: GDPR 5(2), 7(1),
//! 17(3)(b) and (e); PIPL 47, 69. That proof is stored only, asked for only in a dispute, and ends with
//! its clock.

use chrono::{Days, Months, NaiveDate, NaiveTime, TimeZone};
use chrono_tz::Tz;

use crate::domain::event::EventType;
use crate::domain::id::Country;
use crate::domain::time::Timestamp;

/// What is left of an erased person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nothing: identity and evidence went together, or the evidence's time is over.
    Nothing,
    /// What proves consents and cases, until then.
    Evidence { until: Timestamp },
}

/// Whether events of a type prove a consent or the handling of a case, whatever they hold. Parts of
/// other types prove something where they have a box under the evidence key.
pub fn proves(event_type: EventType) -> bool {
    use EventType::*;
    matches!(
        event_type,
        ConsentGiven
            | ConsentRefused
            | ConsentWithdrawn
            | RequestReceived
            | RequestAcknowledged
            | IdentityRequested
            | IdentityChecked
            | RequestExtended
            | RequestFulfilled
            | RequestRefused
            | RequestWithdrawn
            | ErasureAccepted
            | ErasureRefused
            | ObjectionUpheld
            | ObjectionRejected
            | RestrictionApplied
            | RestrictionLifted
            | UnlawfulProcessingFound
            | RecipientNotified
            | RecipientAcknowledged
            | ComplaintLodged
            | ComplaintAnswered
            | IdentityErasureAccepted
    )
}

/// Years for which claims can be brought: PRC Civil Code 188; BGB 195. PIPL 56 asks as much of records of
/// processing.
const YEARS: u32 = 3;

/// When the evidence's time is over: three years after what was recorded last, which is the erasure
/// itself; in Germany they run from the end of that year (BGB 199). The last day counts whole, in the
/// zone of the place where a claim would be heard.
pub fn evidence_until(last: Timestamp, forum: Option<Country>) -> Timestamp {
    let german = forum.is_some_and(|forum| forum.as_str() == "DE");
    let zone = if german { chrono_tz::Europe::Berlin } else { chrono_tz::Asia::Shanghai };
    let day = last.local_date(zone);
    let from = if german {
        NaiveDate::from_ymd_opt(chrono::Datelike::year(&day), 12, 31).unwrap_or(day)
    } else {
        day
    };
    from.checked_add_months(Months::new(12 * YEARS))
        .and_then(|day| day.checked_add_days(Days::new(1)))
        .and_then(|day| midnight(day, zone))
        .unwrap_or(Timestamp::LAST)
}

/// The first instant of a day; the later one where the clocks are set back over it.
fn midnight(day: NaiveDate, zone: Tz) -> Option<Timestamp> {
    let local = zone.from_local_datetime(&day.and_time(NaiveTime::MIN)).latest()?;
    Timestamp::from_ms(local.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(last: &str, forum: &str) -> String {
        evidence_until(last.parse().unwrap(), forum.parse().ok()).to_string()
    }

    #[test]
    fn the_last_day_counts_whole() {
        // 24:00 of 22 November 2029 in Shanghai.
        assert_eq!(until("2026-11-22T03:00:00Z", "CN"), "2029-11-22T16:00:00.000Z");
        // It was the 23rd there already.
        assert_eq!(until("2026-11-22T16:00:00Z", "CN"), "2029-11-23T16:00:00.000Z");
        assert_eq!(until("2028-02-29T00:00:00Z", "CN"), "2031-02-28T16:00:00.000Z");
    }

    #[test]
    fn in_germany_from_the_end_of_the_year() {
        assert_eq!(until("2026-11-22T03:00:00Z", "DE"), "2029-12-31T23:00:00.000Z");
        assert_eq!(until("2026-12-31T23:30:00Z", "DE"), "2030-12-31T23:00:00.000Z");
    }

    #[test]
    fn every_request_type_proves_and_no_processing_does() {
        assert!(EventType::ALL.iter().filter(|t| (130..=148).contains(&t.number())).all(|t| proves(*t)));
        for not in [EventType::DataCollected, EventType::AccountRegistered, EventType::NoticeShown] {
            assert!(!proves(not));
        }
    }
}
