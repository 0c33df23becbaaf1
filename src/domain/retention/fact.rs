//! What a decision rests on: what happened to a person's data, account and consents, to the service, and to the
//! rules.

use crate::domain::datum::{DatumKey, Selector};
use crate::domain::event::{PurposeBasis, RestrictionGround};
use crate::domain::id::{Id, Regime};
use crate::domain::time::Timestamp;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// When it happened.
    pub at: Timestamp,
    /// By which a retraction names it.
    pub id: Option<Id>,
    /// Recorded long after it happened.
    pub backfill: bool,
    pub act: Act,
}

/// What it was. A selector narrows to the data that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Collected {
        key: DatumKey,
        regimes: Vec<Regime>,
        purposes: Vec<PurposeBasis>,
    },
    PurposeAdded {
        of: Selector,
        purpose: PurposeBasis,
    },
    PurposeFulfilled {
        of: Selector,
        purpose: Id,
    },
    Used {
        of: Selector,
        purpose: Id,
    },
    /// An `expires_at` that passes is a withdrawal at that instant, unless consent was given again before
    /// (`domain.md` 3.9).
    ConsentGiven {
        purpose: Id,
        expires_at: Option<Timestamp>,
    },
    ConsentWithdrawn {
        purpose: Id,
    },
    /// Services whose contracts hang on the account; all if empty.
    AccountRegistered {
        services: Vec<Id>,
    },
    AccountCancelled {
        services: Vec<Id>,
    },
    /// Of the data of one slot, never of all: an order without a name is not that with one.
    TransactionCompleted {
        of: Selector,
    },
    TransactionAborted {
        of: Selector,
    },
    /// `None`: to every purpose.
    ObjectionUpheld {
        of: Selector,
        purpose: Option<Id>,
    },
    /// `None`: for every purpose.
    UnlawfulProcessingFound {
        of: Selector,
        purpose: Option<Id>,
    },
    ErasureAccepted {
        of: Selector,
    },
    RestrictionApplied {
        of: Selector,
        ground: Option<RestrictionGround>,
    },
    /// `None`: whatever the ground was.
    RestrictionLifted {
        of: Selector,
        ground: Option<RestrictionGround>,
    },
    HoldPlaced {
        of: Selector,
        hold: Id,
    },
    HoldReleased {
        hold: Id,
    },
    DeletionOrdered {
        of: Selector,
        order: Id,
        authority: Option<Id>,
    },
    Deferred {
        of: Selector,
        technical: bool,
    },
    /// Erased, or made anonymous. With `collected_before`, only what was collected before that instant.
    Executed {
        of: Selector,
        collected_before: Option<Timestamp>,
        anonymised: bool,
    },
    /// `None`: the evidence of the service begins with its registration.
    ServiceRegistered {
        service: Id,
        evidence_from: Option<Timestamp>,
    },
    TerminationNotified {
        service: Id,
    },
    ServiceTerminated {
        service: Id,
    },
    RuleAnnulled {
        version: Id,
    },
    Retracted {
        ids: Vec<Id>,
    },
}

impl Act {
    /// In which order what is told of one instant counts where nobody knows in which it happened: what allows before
    /// what it allows, what ends after it, and destruction last.
    pub fn rank(&self) -> u8 {
        match self {
            Act::ServiceRegistered { .. }
            | Act::TerminationNotified { .. }
            | Act::RuleAnnulled { .. }
            | Act::Retracted { .. } => 0,
            Act::ConsentGiven { .. }
            | Act::AccountRegistered { .. }
            | Act::HoldPlaced { .. }
            | Act::RestrictionApplied { .. } => 1,
            Act::Collected { .. } => 2,
            Act::PurposeAdded { .. } => 3,
            Act::Used { .. } | Act::TransactionCompleted { .. } | Act::TransactionAborted { .. } => 4,
            Act::PurposeFulfilled { .. }
            | Act::ConsentWithdrawn { .. }
            | Act::AccountCancelled { .. }
            | Act::ServiceTerminated { .. }
            | Act::ObjectionUpheld { .. }
            | Act::UnlawfulProcessingFound { .. }
            | Act::ErasureAccepted { .. }
            | Act::RestrictionLifted { .. }
            | Act::HoldReleased { .. }
            | Act::DeletionOrdered { .. }
            | Act::Deferred { .. } => 5,
            Act::Executed { .. } => 6,
        }
    }

    /// Whether it ends something, or what kept it.
    pub fn ends(&self) -> bool {
        self.rank() > 4
    }

    /// Whether it is about this datum. What happened to the person as a whole is about all of the person's data.
    pub fn is_about(&self, key: &DatumKey) -> bool {
        let of_service = |service: &Id| key.service.as_ref() == Some(service);
        let of_services = |services: &[Id]| services.is_empty() || services.iter().any(of_service);
        match self {
            Act::Collected { key: collected, .. } => collected == key,
            Act::PurposeAdded { of, .. }
            | Act::PurposeFulfilled { of, .. }
            | Act::Used { of, .. }
            | Act::ObjectionUpheld { of, .. }
            | Act::UnlawfulProcessingFound { of, .. }
            | Act::ErasureAccepted { of }
            | Act::RestrictionApplied { of, .. }
            | Act::RestrictionLifted { of, .. }
            | Act::HoldPlaced { of, .. }
            | Act::DeletionOrdered { of, .. }
            | Act::Deferred { of, .. }
            | Act::Executed { of, .. }
            | Act::TransactionCompleted { of }
            | Act::TransactionAborted { of } => of.holds(key),
            Act::AccountRegistered { services } | Act::AccountCancelled { services } => of_services(services),
            Act::ServiceRegistered { service, .. }
            | Act::TerminationNotified { service }
            | Act::ServiceTerminated { service } => of_service(service),
            Act::ConsentGiven { .. }
            | Act::ConsentWithdrawn { .. }
            | Act::HoldReleased { .. }
            | Act::RuleAnnulled { .. }
            | Act::Retracted { .. } => true,
        }
    }
}
