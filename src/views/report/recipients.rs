//! Who was given data, and where they went.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::event::catalogue::{DataShared, DataTransferred, SdkObserved};
use crate::domain::event::{Body, LegalBasis, Safeguard, ShareMethod, TransferMode};
use crate::domain::id::{Country, Id, Regime};
use crate::views::person::Tally;
use crate::views::registers::{Entry, Registers};
use crate::views::report::{Line, Origin, categories, regimes, tally_up};

/// Somebody who was given data.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipient {
    pub recipient_id: Id,
    /// As registered when it was last given something.
    pub registered: Option<Entry<crate::domain::event::catalogue::RecipientRegistered>>,
    pub categories: BTreeSet<Id>,
    pub purposes: BTreeSet<(Id, Option<LegalBasis>)>,
    pub methods: BTreeSet<ShareMethod>,
    pub safeguards: BTreeSet<Safeguard>,
    /// By name of the SDK; the recipient's own where only a version was stated.
    pub sdks: BTreeMap<Id, Sdk>,
    pub shared: Option<Tally>,
    pub origins: BTreeSet<Origin>,
}

/// An SDK through which data were given, or that was seen reading them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sdk {
    pub versions: BTreeSet<Id>,
    pub app_versions: BTreeSet<Id>,
    pub categories: BTreeSet<Id>,
    pub before_consent: bool,
    pub observed: Option<Tally>,
}

/// A flow across a border.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    pub key: TransferKey,
    /// The importer as registered at the last transfer.
    pub importer: Option<Entry<crate::domain::event::catalogue::RecipientRegistered>>,
    pub categories: BTreeSet<Id>,
    pub purposes: BTreeSet<Id>,
    pub sensitive: Option<bool>,
    /// What emitters claim allows it.
    pub claimed_mechanisms: BTreeSet<Id>,
    pub claimed_exemptions: BTreeSet<Id>,
    /// Whose law applies, and what protects the data.
    pub regimes: BTreeSet<Regime>,
    pub safeguards: BTreeSet<Safeguard>,
    pub transferred: Tally,
    pub origins: BTreeSet<Origin>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransferKey {
    pub from_country: Option<Country>,
    pub to_country: Option<Country>,
    pub exporter: Option<Id>,
    pub importer: Option<Id>,
    pub mode: Option<TransferMode>,
}

/// Gathers shares, observations and transfers.
#[derive(Default)]
pub struct RecipientSection {
    recipients: BTreeMap<Id, Recipient>,
    transfers: BTreeMap<TransferKey, Transfer>,
}

impl RecipientSection {
    pub fn add(&mut self, line: &Line) {
        match &line.body {
            Body::DataShared(body) => self.shared(line, body),
            Body::SdkObserved(body) => self.observed(line, body),
            Body::DataTransferred(body) => self.transferred(line, body),
            _ => {}
        }
    }

    fn recipient(&mut self, id: &Id) -> &mut Recipient {
        self.recipients.entry(id.clone()).or_insert_with_key(|id| Recipient {
            recipient_id: id.clone(),
            registered: None,
            categories: BTreeSet::new(),
            purposes: BTreeSet::new(),
            methods: BTreeSet::new(),
            safeguards: BTreeSet::new(),
            sdks: BTreeMap::new(),
            shared: None,
            origins: BTreeSet::new(),
        })
    }

    fn shared(&mut self, line: &Line, body: &DataShared) {
        let Some(id) = &body.recipient_id else { return };
        let registered = line.revision.as_ref().map(|revision| &revision.entry.body);
        let (cats, origin) = categories(line, &body.cats);
        let recipient = self.recipient(id);
        recipient.categories.extend(cats);
        recipient.origins.insert(origin);
        match (&body.purpose, registered) {
            (Some(purpose), _) => {
                recipient.purposes.insert((purpose.clone(), body.basis));
            }
            (None, Some(activity)) => {
                recipient.purposes.extend(activity.purposes.iter().map(|p| (p.id.clone(), Some(p.basis))));
            }
            (None, None) => {}
        }
        recipient.methods.extend(body.method);
        match registered {
            Some(activity) if body.safeguards.is_empty() => {
                recipient.safeguards.extend(activity.safeguards.iter().copied());
            }
            _ => recipient.safeguards.extend(body.safeguards.iter().copied()),
        }
        if body.sdk_version.is_some() || body.app_version.is_some() {
            let sdk = recipient.sdks.entry(id.clone()).or_default();
            sdk.versions.extend(body.sdk_version.clone());
            sdk.app_versions.extend(body.app_version.clone());
        }
        tally_up(&mut recipient.shared, line.tally);
    }

    fn observed(&mut self, line: &Line, body: &SdkObserved) {
        let Some(name) = &body.sdk_name else { return };
        let recipient = self.recipient(body.recipient_id.as_ref().unwrap_or(name));
        let sdk = recipient.sdks.entry(name.clone()).or_default();
        sdk.versions.extend(body.sdk_version.clone());
        sdk.app_versions.extend(body.app_version.clone());
        sdk.categories.extend(body.cats.iter().cloned());
        sdk.before_consent |= body.before_consent == Some(true);
        tally_up(&mut sdk.observed, line.tally);
    }

    fn transferred(&mut self, line: &Line, body: &DataTransferred) {
        let key = TransferKey {
            from_country: body.from_country,
            to_country: body.to_country,
            exporter: body.exporter.clone(),
            importer: body.recipient_id.clone(),
            mode: body.mode,
        };
        let registered = line.revision.as_ref().map(|revision| &revision.entry.body);
        let (cats, origin) = categories(line, &body.cats);
        let transfer = self.transfers.entry(key).or_insert_with_key(|key| Transfer {
            key: key.clone(),
            importer: None,
            categories: BTreeSet::new(),
            purposes: BTreeSet::new(),
            sensitive: None,
            claimed_mechanisms: BTreeSet::new(),
            claimed_exemptions: BTreeSet::new(),
            regimes: BTreeSet::new(),
            safeguards: BTreeSet::new(),
            transferred: Tally { count: 0, ..line.tally },
            origins: BTreeSet::new(),
        });
        transfer.categories.extend(cats);
        transfer.origins.insert(origin);
        transfer.regimes.extend(regimes(line));
        transfer
            .safeguards
            .extend(registered.iter().flat_map(|activity| activity.safeguards.iter().copied()));
        match (&body.purpose, registered) {
            (Some(purpose), _) => {
                transfer.purposes.insert(purpose.clone());
            }
            (None, Some(activity)) => {
                transfer.purposes.extend(activity.purposes.iter().map(|p| p.id.clone()))
            }
            (None, None) => {}
        }
        let sensitive = body.sensitive.or_else(|| registered?.sensitive);
        transfer.sensitive = transfer.sensitive.max(sensitive);
        transfer.claimed_mechanisms.extend(body.mechanism_id.clone());
        transfer.claimed_exemptions.extend(body.exemption.clone());
        transfer.transferred.add(line.tally);
    }

    pub fn finish(mut self, registers: &Registers, known_at: u64) -> (Vec<Recipient>, Vec<Transfer>) {
        for recipient in self.recipients.values_mut() {
            let observed = recipient.sdks.values().filter_map(|sdk| sdk.observed);
            let last = recipient.shared.into_iter().chain(observed).map(|tally| tally.last).max();
            recipient.registered = last
                .and_then(|last| registers.recipient_at(&recipient.recipient_id, last, known_at))
                .cloned();
        }
        for transfer in self.transfers.values_mut() {
            let importer = transfer.key.importer.as_ref();
            let entry =
                importer.and_then(|id| registers.recipient_at(id, transfer.transferred.last, known_at));
            transfer.importer = entry.cloned();
        }
        (self.recipients.into_values().collect(), self.transfers.into_values().collect())
    }
}
