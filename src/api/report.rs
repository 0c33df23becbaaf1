//! A report in the API's words: labels in both languages beside every term.

use crate::api::convert;
use crate::api::events::evidence_event;
use crate::api::kept::kept;
use crate::api::terms::*;
use crate::app::locators::Located;
use crate::app::subjects::Answer;
use crate::domain::event::Body;
use crate::domain::id::{Id, Regime};
use crate::domain::vocabulary::Kind;
use crate::pb;
use crate::vault::Candidate;
use crate::views::report::{
    Account, Consent, ConsentState, Datum, Line, PermissionLine, PurposeUse, Recipient, SourceLine, Transfer,
};

pub fn subject_report(answer: Answer) -> pb::SubjectReport {
    let report = &answer.report;
    pb::SubjectReport {
        subject: report.subject.to_string(),
        computed_at: report.applied,
        leaf_hash: Default::default(),
        stale: report.stale.is_some(),
        as_of: report.as_of.and_then(time),
        merged: report.merged.iter().chain(&report.linked).map(ToString::to_string).collect(),
        categories: report.data.iter().map(|held| datum(held, &answer.locators)).collect(),
        purposes: report.purposes.iter().map(purpose).collect(),
        sources: report.sources.iter().map(source).collect(),
        recipients: report.recipients.iter().map(recipient).collect(),
        transfers: report.transfers.iter().map(transfer).collect(),
        consents: report.consents.iter().map(consent).collect(),
        permissions: report.permissions.iter().map(permission).collect(),
        accounts: report.accounts.iter().map(account).collect(),
        messages: report.messages.iter().filter_map(message).collect(),
        accesses: report.staff_accesses.iter().filter_map(access).collect(),
        notices: report.notices.iter().filter_map(notice).collect(),
        identifiers: answer
            .identifiers
            .iter()
            .map(|(identifier, binding)| identifier_line(identifier, binding))
            .collect(),
        event_count: report.events,
        retracted_count: report.retracted,
        services: report.services.iter().map(service).collect(),
        evidence: answer.evidence.into_iter().map(evidence_event).collect(),
    }
}

/// Services are named by their register ids, which are nobody's vocabulary.
fn service(id: &Id) -> pb::Term {
    pb::Term { id: id.to_string(), label_en: id.to_string(), label_zh: id.to_string(), known: true }
}

fn datum(datum: &Datum, locators: &[Located]) -> pb::HeldCategory {
    let mine = locators.iter().filter(|(key, _)| *key == datum.key);
    pb::HeldCategory {
        service: maybe(&datum.key.service),
        record_kind: datum.key.record_kind.as_ref().map(|kind| term(Kind::RecordKind, kind.as_str())),
        category: Some(term(Kind::Category, datum.key.category.as_str())),
        slot: maybe(&datum.key.slot),
        collected: span(&datum.collected),
        sources: sources(&datum.sources),
        collection_countries: countries(&datum.collection_countries),
        storage_countries: countries(&datum.storage_countries),
        required: datum.required,
        sensitive: datum.sensitive,
        encrypted_at_rest: datum.encrypted_at_rest,
        purposes: terms(Kind::Purpose, datum.purposes.iter().map(|(purpose, _, _)| purpose)),
        origin: origins(&datum.origins),
        locators: mine.map(|(_, locator)| locator.expose().clone()).collect(),
        regimes: datum.regimes.iter().map(Regime::to_string).collect(),
        safeguards: datum.safeguards.iter().map(|safeguard| safeguard.number()).collect(),
        kept: datum.retention.as_ref().map(kept),
    }
}

fn purpose(purpose: &PurposeUse) -> pb::PurposeUse {
    let id = purpose.purpose.as_ref().map_or("unmapped", Id::as_str);
    pb::PurposeUse {
        purpose: Some(term(Kind::Purpose, id)),
        basis: number(purpose.basis),
        basis_term: purpose.basis.map(|basis| term(Kind::Basis, basis.as_str())),
        services: purpose.services.iter().map(Id::to_string).collect(),
        collected: purpose.collected.as_ref().and_then(span),
        used: purpose.used.as_ref().and_then(span),
        origin: Some(origin(&purpose.origin)),
    }
}

fn source(line: &SourceLine) -> pb::ReportedSource {
    pb::ReportedSource {
        source: number(line.source),
        emitter: line.emitter.to_string(),
        service: maybe(&line.service),
        collected: span(&line.collected),
    }
}

fn recipient(recipient: &Recipient) -> pb::ReportedRecipient {
    let registered = recipient.registered.as_ref().map(|entry| &entry.body);
    let role = registered.and_then(|body| body.role);
    let sdks = recipient.sdks.iter().map(|(name, sdk)| pb::ReportedSdk {
        name: name.to_string(),
        versions: sdk.versions.iter().map(Id::to_string).collect(),
        categories: terms(Kind::Category, &sdk.categories),
        before_consent: sdk.before_consent,
        observed: sdk.observed.as_ref().and_then(span),
    });
    pb::ReportedRecipient {
        recipient_id: recipient.recipient_id.to_string(),
        legal_name: registered
            .and_then(|body| body.legal_name.as_ref())
            .map(ToString::to_string)
            .unwrap_or_default(),
        role: number(role),
        role_term: role.map(|role| term(Kind::Role, role.as_str())),
        country: country(&registered.and_then(|body| body.country)),
        categories: terms(Kind::Category, &recipient.categories),
        purposes: terms(Kind::Purpose, recipient.purposes.iter().map(|(purpose, _)| purpose)),
        sdks: sdks.collect(),
        safeguards: recipient.safeguards.iter().map(|safeguard| safeguard.number()).collect(),
        shared: recipient.shared.as_ref().and_then(span),
        privacy_url: registered
            .and_then(|body| body.privacy_url.as_ref())
            .map(ToString::to_string)
            .unwrap_or_default(),
        registered: registered.is_some(),
        origin: origins(&recipient.origins),
    }
}

fn transfer(transfer: &Transfer) -> pb::ReportedTransfer {
    let registered = transfer.importer.as_ref().and_then(|entry| entry.body.legal_name.as_ref());
    pb::ReportedTransfer {
        from_country: country(&transfer.key.from_country),
        to_country: country(&transfer.key.to_country),
        exporter: maybe(&transfer.key.exporter),
        importer: maybe(&transfer.key.importer),
        importer_name: registered.map(ToString::to_string).unwrap_or_default(),
        mode: number(transfer.key.mode),
        categories: terms(Kind::Category, &transfer.categories),
        purposes: terms(Kind::Purpose, &transfer.purposes),
        claimed_mechanisms: transfer.claimed_mechanisms.iter().map(Id::to_string).collect(),
        transferred: span(&transfer.transferred),
        regimes: transfer.regimes.iter().map(Regime::to_string).collect(),
        safeguards: transfer.safeguards.iter().map(|safeguard| safeguard.number()).collect(),
        origin: origins(&transfer.origins),
    }
}

fn state(state: ConsentState) -> i32 {
    match state {
        ConsentState::Given => pb::ConsentState::Given,
        ConsentState::Expired => pb::ConsentState::Expired,
        ConsentState::Refused => pb::ConsentState::Refused,
        ConsentState::Withdrawn => pb::ConsentState::Withdrawn,
    }
    .into()
}

fn consent(consent: &Consent) -> pb::ReportedConsent {
    let history = consent.history.iter().map(|step| pb::ConsentStep {
        position: step.position,
        at: time(step.at),
        state: state(step.state),
        kind: number(step.kind),
        method: number(step.method),
        policy_version: maybe(&step.policy_version),
        categories: terms(Kind::Category, &step.cats),
        expires_at: step.expires_at.and_then(time),
    });
    pb::ReportedConsent {
        purpose: consent.purpose.as_ref().map(|purpose| term(Kind::Purpose, purpose.as_str())),
        recipient: maybe(&consent.recipient),
        country: country(&consent.country),
        state: state(consent.state),
        history: history.collect(),
    }
}

fn permission(line: &PermissionLine) -> pb::ReportedPermission {
    pb::ReportedPermission {
        permission: number(line.permission),
        service: maybe(&line.service),
        state: number(line.state),
        since: time(line.since),
        changes: line.changes,
    }
}

fn account(account: &Account) -> pb::ReportedAccount {
    pb::ReportedAccount {
        service: maybe(&account.service),
        account_kind: maybe(&account.account_kind),
        registered_at: account.registered_at.and_then(time),
        cancelled_at: account.cancelled_at.and_then(time),
    }
}

fn message(line: &Line) -> Option<pb::ReportedMessage> {
    let Body::MessageSent(body) = &line.body else { return None };
    Some(pb::ReportedMessage {
        channel: number(body.channel),
        nature: number(body.nature),
        template: maybe(&body.template),
        sent: span(&line.tally),
    })
}

fn access(line: &Line) -> Option<pb::ReportedAccess> {
    let Body::StaffAccessed(body) = &line.body else { return None };
    Some(pb::ReportedAccess {
        role: maybe(&body.role),
        reason: maybe(&body.reason),
        from_country: country(&body.from_country),
        accessed: span(&line.tally),
    })
}

fn notice(line: &Line) -> Option<pb::ReportedNotice> {
    let Body::NoticeShown(body) = &line.body else { return None };
    Some(pb::ReportedNotice {
        policy_version: maybe(&line.shape.policy_version),
        locale: maybe(&body.locale),
        channel: number(body.channel),
        layer: number(body.layer),
        shown: span(&line.tally),
    })
}

pub(crate) fn identifier_line(
    identifier: &crate::domain::identity::Identifier,
    binding: &Candidate,
) -> pb::ReportedIdentifier {
    use crate::domain::identity::Class;
    pb::ReportedIdentifier {
        kind: convert::kind_to_wire(identifier.kind).into(),
        realm: maybe(&identifier.realm),
        value: identifier.value.expose().clone(),
        from: time(binding.from),
        to: binding.to.and_then(time),
        associated_only: identifier.kind.class() == Class::Shared,
    }
}
