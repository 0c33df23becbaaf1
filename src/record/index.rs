//! The index block: what ties a part to its person. Encrypted under the index key of its epoch,
//! and the first piece to be purged when the person is erased.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::event::References;
use crate::domain::id::{Id, Mark, SubjectId};
use crate::domain::identity::Kind;
use crate::record::fingerprint::Fingerprint;

/// An identifier of the part, keyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexMark {
    #[serde(rename = "k", with = "kind")]
    pub kind: Kind,
    #[serde(rename = "m")]
    pub mark: Mark,
    #[serde(rename = "u")]
    pub usage: MarkUse,
}

/// Why a mark stands in the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkUse {
    /// Bound to the subject from `occurred_at` on.
    Bind,
    /// A shared kind, seen with the subject for the first time.
    Seen,
    /// Names nobody yet; a later binding that covers `occurred_at` attributes the part.
    Named,
}

/// An index block, opened.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexBlock {
    /// Absent while the part is attributed to nobody.
    pub subject: Option<SubjectId>,
    pub fp: Fingerprint,
    pub actor_ref: Option<Id>,
    pub correlation_id: Option<Id>,
    pub causation_id: Option<Id>,
    #[serde(default)]
    pub ids: Vec<IndexMark>,
    b: Option<Box<RawValue>>,
}

impl IndexBlock {
    /// The body's fields that exist because of one person, as one JSON object.
    pub fn body_json(&self) -> Option<&str> {
        self.b.as_deref().map(RawValue::get)
    }

    pub fn references(&self) -> References {
        References {
            actor_ref: self.actor_ref.clone(),
            correlation_id: self.correlation_id.clone(),
            causation_id: self.causation_id.clone(),
        }
    }
}

mod kind {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(kind.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}
