//! What is decided about: a datum, and what selects one (`domain.md` 2.2). Everything that is decided is decided
//! per datum, so two things that must not share a fate need two slots.

use crate::domain::id::Id;

/// (service, record kind, category, slot) of one person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatumKey {
    pub service: Option<Id>,
    pub record_kind: Option<Id>,
    pub category: Id,
    /// `None`: the one without a name.
    pub slot: Option<Id>,
}

/// Which data an act is about; what is not named is not narrowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    pub service: Option<Id>,
    pub record_kind: Option<Id>,
    pub category: Option<Id>,
    pub slot: SlotSelector,
    /// What is not named selects only what has none.
    pub exact: bool,
}

/// Which slots an act is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SlotSelector {
    #[default]
    All,
    /// The one without a name.
    Unnamed,
    Named(Id),
}

/// As events state it: what is not named is not narrowed.
impl From<Option<Id>> for SlotSelector {
    fn from(slot: Option<Id>) -> SlotSelector {
        slot.map_or(SlotSelector::All, SlotSelector::Named)
    }
}

impl SlotSelector {
    pub fn holds(&self, slot: Option<&Id>) -> bool {
        match self {
            SlotSelector::All => true,
            SlotSelector::Unnamed => slot.is_none(),
            SlotSelector::Named(named) => slot == Some(named),
        }
    }
}

impl Selector {
    /// Exactly one datum.
    pub fn one(key: &DatumKey) -> Selector {
        Selector {
            service: key.service.clone(),
            record_kind: key.record_kind.clone(),
            category: Some(key.category.clone()),
            slot: key.slot.clone().map_or(SlotSelector::Unnamed, SlotSelector::Named),
            exact: true,
        }
    }

    /// The datum that it means, if it means exactly one.
    pub fn datum(&self) -> Option<DatumKey> {
        let slot = match &self.slot {
            SlotSelector::All => return None,
            SlotSelector::Unnamed => None,
            SlotSelector::Named(slot) => Some(slot.clone()),
        };
        let category = self.category.clone().filter(|_| self.exact)?;
        Some(DatumKey {
            service: self.service.clone(),
            record_kind: self.record_kind.clone(),
            category,
            slot,
        })
    }

    /// As an event states it that means what it does not name to be none, not all.
    pub fn exactly(self) -> Selector {
        let slot = match self.slot {
            SlotSelector::All => SlotSelector::Unnamed,
            named => named,
        };
        Selector { slot, exact: true, ..self }
    }

    pub fn holds(&self, key: &DatumKey) -> bool {
        let fits =
            |wanted: &Option<Id>, has: Option<&Id>| wanted.as_ref() == has || wanted.is_none() && !self.exact;
        fits(&self.service, key.service.as_ref())
            && fits(&self.record_kind, key.record_kind.as_ref())
            && fits(&self.category, Some(&key.category))
            && self.slot.holds(key.slot.as_ref())
    }
}
