//! The log about itself: its opening, jobs, keys, exports, reads and retractions.

use crate::domain::event::catalogue::bodies;
use crate::domain::event::*;
use crate::domain::id::*;
use crate::domain::time::Timestamp;
use crate::limits;

macro_rules! custody {
    ($then:ident) => {
        $then! {
            /// The first event: what this log is and for whom. GDPR 5(2).
            LogOpened {
                header {
                    origin: Option<Id> = required,
                    region: Option<Id> = required,
                    controller_group: Option<Id> = required,
                    format_version: Option<u64> = required,
                    law_data: List<LawData, { limits::LIST }>,
                }
            }
            /// A new origin after a lost tail or a migration. GDPR 5(2).
            LogContinued {
                header {
                    origin: Option<Id> = required,
                    old_origin: Option<Id> = required,
                    old_size: Option<u64> = required,
                    old_root: Option<Digest> = required,
                    /// First position that is missing.
                    missing_from: Option<u64>,
                    /// Last position that is missing.
                    missing_to: Option<u64>,
                    reason: Option<LossReason> = required,
                }
            }
            /// From here on a new record version or event type may be written. GDPR 5(2).
            FormatRaised {
                header {
                    format_version: Option<u64> = required,
                    /// Types that may be written from here on.
                    event_types: List<Id, { limits::LIST }>,
                }
            }
            /// A job of the clock ran, or was passed over. GDPR 5(2), 24.
            JobRan {
                header {
                    job: Option<Id> = required,
                    scheduled_for: Option<Timestamp> = required,
                    started_at: Option<Timestamp>,
                    ended_at: Option<Timestamp>,
                    outcome: Option<JobOutcome> = required,
                    counts: List<Tally, { limits::LIST }>,
                    /// Position up to which it had read.
                    computed_at: Option<u64>,
                }
            }
            /// The vault's generation: an older vault refuses to start. GDPR 5(2), 24.
            VaultMarked {
                header {
                    generation: Option<u64> = required,
                }
            }
            /// A new epoch of a key is in use. GDPR 32; PIPL 51.
            KeyRotated {
                header {
                    class: Option<KeyClass> = required,
                    old_epoch: Option<Id>,
                    new_epoch: Option<Id> = required,
                    reason: Option<Id>,
                }
            }
            /// A key does not exist any more. GDPR 32; PIPL 51.
            KeyDestroyed {
                header {
                    class: Option<KeyClass> = required,
                    old_epoch: Option<Id>,
                    new_epoch: Option<Id>,
                    reason: Option<Id>,
                    /// Of an erased person whose evidence key it was.
                    tomb: Option<Digest>,
                }
            }
            /// An export was made; the requester is named as staff. GDPR 15, 30(4), 58(1); PIPL 63.
            ExportProduced {
                header {
                    /// Names an export about many.
                    export_id: Option<Id>,
                    kind: Option<ExportKind> = required,
                    level: Option<ReadLevel>,
                    from_position: Option<u64>,
                    to_position: Option<u64>,
                    rows: Option<u64>,
                    /// Rows of retracted events.
                    retracted: Option<u64>,
                    manifest_sha256: Option<Digest> = required,
                    recipient_class: Option<Id>,
                }
                index {
                    /// Names an export about one person.
                    export_ref: Option<Id>,
                }
            }
            /// Sealed fields were opened for an export; the requester is named as staff. GDPR 15, 58(1); PIPL 63.
            ContentDisclosed {
                header {
                    /// Names an export about many.
                    export_id: Option<Id>,
                    kind: Option<ExportKind> = required,
                    level: Option<ReadLevel>,
                    /// Sealed fields opened.
                    opened: Option<u64>,
                    recipient_class: Option<Id>,
                }
                index {
                    /// Names an export about one person.
                    export_ref: Option<Id>,
                    event_ids: List<EventId, { limits::RETRACTED }>,
                }
            }
            /// Somebody read records; they are named as staff. Written before sealed fields open. GDPR 32; PIPL
            /// 51, 54.
            RecordsRead {
                header {
                    rpc: Option<Id> = required,
                    level: Option<ReadLevel> = required,
                    rows: Option<u64>,
                    subjects: Option<u64>,
                    reason: Option<Id>,
                }
                index {
                    ticket: Option<Id>,
                    case_id: Option<Id>,
                }
            }
            /// Events were wrong: views ignore them, the log keeps both. GDPR 5(1)(d), 5(2).
            EventsRetracted {
                header {
                    /// Whose events.
                    emitter: Option<Id> = required,
                    /// When they were recorded; where all of an emitter's are meant.
                    recorded_window: Option<Window>,
                    /// How many.
                    retracted_count: Option<u64>,
                    reason: Option<RetractionReason> = required,
                }
                index {
                    event_ids: List<EventId, { limits::RETRACTED }>,
                    replacement_ids: List<EventId, { limits::RETRACTED }>,
                }
            }
            /// A cluster's log holds something at this position that does not count: an event a second time, or
            /// what is no record. Every node makes the same of it. GDPR 5(2).
            RecordSetAside {
                header {
                    reason: Option<AsideReason> = required,
                    /// Where the same event stands that counts.
                    first_position: Option<u64>,
                    /// SHA-256(0x00 and what the log holds).
                    leaf: Option<Digest> = required,
                }
            }
        }
    };
}
pub(crate) use custody;

custody!(bodies);
