//! What is kept act by act: consents, permissions, accounts.

use std::collections::BTreeMap;

use crate::domain::event::{Body, ConsentKind, ConsentMethod, Permission, PermissionState};
use crate::domain::id::{Country, Id};
use crate::domain::time::Timestamp;
use crate::views::report::Line;

/// What a consent has come to. In the order in which acts of one instant count: the last decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConsentState {
    Given,
    Expired,
    Refused,
    Withdrawn,
}

/// Consent to one purpose, with its history.
#[derive(Debug, Clone, PartialEq)]
pub struct Consent {
    pub purpose: Option<Id>,
    pub recipient: Option<Id>,
    pub country: Option<Country>,
    /// After the last step, not looking at the clock: `expires_at` of that step may have passed.
    pub state: ConsentState,
    /// Oldest first.
    pub history: Vec<ConsentStep>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ConsentStep {
    pub at: Timestamp,
    pub state: ConsentState,
    pub position: u64,
    pub service: Option<Id>,
    pub kind: Option<ConsentKind>,
    pub method: Option<ConsentMethod>,
    pub policy_version: Option<Id>,
    pub cats: Vec<Id>,
    pub expires_at: Option<Timestamp>,
    pub consent_id: Option<Id>,
}

/// State of a permission of the operating system.
#[derive(Debug, Clone, PartialEq)]
pub struct PermissionLine {
    pub permission: Option<Permission>,
    pub service: Option<Id>,
    /// The last one seen; of several at one instant the most restrictive.
    pub state: Option<PermissionState>,
    pub since: Timestamp,
    pub changes: u64,
}

/// State of an account.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    pub service: Option<Id>,
    pub account_kind: Option<Id>,
    pub registered_at: Option<Timestamp>,
    /// `None` while it is open.
    pub cancelled_at: Option<Timestamp>,
}

type PermissionKey = (Option<Permission>, Option<Id>);
/// Since when, the state, and how many changes.
type PermissionSeen = (Timestamp, Option<PermissionState>, u64);
type ConsentKey = (Option<Id>, Option<Id>, Option<Country>);

/// Gathers acts.
#[derive(Default)]
pub struct ActSection {
    consents: BTreeMap<ConsentKey, Vec<ConsentStep>>,
    permissions: BTreeMap<PermissionKey, PermissionSeen>,
    /// With the last registration seen.
    accounts: BTreeMap<Option<Id>, (Account, Option<Timestamp>)>,
}

/// The fields that the three consent events share.
macro_rules! step {
    ($line:ident, $body:ident, $state:expr, $expires:expr) => {
        (
            ($body.purpose.clone(), $body.recipient.clone(), $body.country),
            ConsentStep {
                at: $line.at(),
                state: $state,
                position: $line.own.act.map_or(0, |(_, position)| position),
                service: $line.shape.service.clone(),
                kind: $body.kind,
                method: $body.method,
                policy_version: $line.shape.policy_version.clone(),
                cats: $body.cats.to_vec(),
                expires_at: $expires,
                consent_id: $body.consent_id.clone(),
            },
        )
    };
}

impl ActSection {
    pub fn add(&mut self, line: &Line) {
        let (key, step) = match &line.body {
            Body::ConsentGiven(b) => step!(line, b, ConsentState::Given, b.expires_at),
            Body::ConsentRefused(b) => step!(line, b, ConsentState::Refused, None),
            Body::ConsentWithdrawn(b) => step!(line, b, ConsentState::Withdrawn, None),
            Body::DevicePermissionChanged(body) => {
                let key = (body.permission, line.shape.service.clone());
                let seen = (line.tally.last, body.state, 0);
                let last = self.permissions.entry(key).or_insert(seen);
                last.2 += line.tally.count;
                if (seen.0, seen.1) > (last.0, last.1) {
                    (last.0, last.1) = (seen.0, seen.1);
                }
                return;
            }
            Body::AccountRegistered(body) => {
                let (account, last) = self.account(line);
                *last = (*last).max(Some(line.tally.last));
                let first = line.tally.first;
                if account.registered_at.is_none_or(|known| first < known) {
                    account.registered_at = Some(first);
                    account.account_kind = body.account_kind.clone();
                }
                return;
            }
            Body::AccountCancelled(_) => {
                let (account, _) = self.account(line);
                account.cancelled_at = account.cancelled_at.max(Some(line.at()));
                return;
            }
            _ => return,
        };
        self.consents.entry(key).or_default().push(step);
    }

    fn account(&mut self, line: &Line) -> &mut (Account, Option<Timestamp>) {
        self.accounts.entry(line.shape.service.clone()).or_insert_with_key(|service| {
            let service = service.clone();
            (Account { service, account_kind: None, registered_at: None, cancelled_at: None }, None)
        })
    }

    /// `as_of` decides whether a consent has expired; without it nothing has.
    pub fn finish(self, as_of: Option<Timestamp>) -> (Vec<Consent>, Vec<PermissionLine>, Vec<Account>) {
        let consents = self.consents.into_iter().map(|((purpose, recipient, country), mut history)| {
            history.sort_by_key(|step| (step.at, step.state, step.position));
            let state = history.last().map_or(ConsentState::Refused, |last| {
                let over = last.expires_at.zip(as_of).is_some_and(|(end, now)| end <= now);
                if over && last.state == ConsentState::Given { ConsentState::Expired } else { last.state }
            });
            Consent { purpose, recipient, country, state, history }
        });
        let permissions =
            self.permissions.into_iter().map(|((permission, service), (since, state, changes))| {
                PermissionLine { permission, service, state, since, changes }
            });
        let accounts = self.accounts.into_values().map(|(mut account, last)| {
            if last > account.cancelled_at {
                account.cancelled_at = None;
            }
            account
        });
        (consents.collect(), permissions.collect(), accounts.collect())
    }
}
