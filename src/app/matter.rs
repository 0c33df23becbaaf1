//! Which matter an event's narrative belongs to: the hold, breach, complaint or case whose key
//! seals it (`domain.md` 2.3).

use crate::domain::event::catalogue::Fields;
use crate::domain::event::{Event, Place, Sealed, Unset, Visit};

/// The name of the matter, if the event has a narrative. Events of one hold, breach, complaint
/// or case share its key; any other narrative has a matter of its own.
pub fn named_by(event: &Event) -> Option<String> {
    let mut fields = Narrative { present: false, reference: None };
    event.body.visit(&mut fields);
    fields.present.then(|| fields.reference.unwrap_or_else(|| format!("event:{}", event.envelope.event_id)))
}

/// Fields that name a matter, in the order in which one is preferred.
const REFERENCES: [&str; 5] = ["breach_id", "hold_id", "complaint_id", "order_id", "case_id"];

struct Narrative {
    present: bool,
    reference: Option<String>,
}

impl Visit for Narrative {
    fn open<T: serde::Serialize + Unset>(&mut self, _: Place, name: &'static str, value: &T) {
        if self.reference.is_none()
            && REFERENCES.contains(&name)
            && !value.is_unset()
            && let Ok(serde_json::Value::String(id)) = serde_json::to_value(value)
        {
            self.reference = Some(format!("{name}:{id}"));
        }
    }

    fn sealed(&mut self, place: Place, _: &'static str, value: &Sealed) {
        self.present |= place == Place::Matter && value.is_some();
    }
}
