//! The register of transfers.

use std::collections::BTreeSet;
use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::api::convert::{Value, Violations};
use crate::api::events::{done, instant, known_before, page_size};
use crate::api::guard::Call;
use crate::api::page::Token;
use crate::api::terms::{number, term, terms, time};
use crate::app::findings::{Basis, TransferLine, Wanted};
use crate::app::{App, Error};
use crate::domain::event::{AssessmentKind, AssessmentResult, TransferRegime};
use crate::domain::id::Id;
use crate::domain::law;
use crate::domain::time::Timestamp;
use crate::domain::transfer::{By, Short, Verdict};
use crate::domain::vocabulary::Kind;
use crate::limits;
use crate::pb;
use crate::pb::transfer_service_server::{TransferService, TransferServiceServer};
use crate::views::counter::{Counter, People, year_begins};
use crate::views::findings::Separate;
use crate::views::registers::Assessment;
use crate::views::stretch::Scope;

pub struct Transfers {
    app: Arc<App>,
}

impl Transfers {
    pub fn new(app: Arc<App>) -> Self {
        Transfers { app }
    }

    pub fn into_server(self) -> TransferServiceServer<Self> {
        TransferServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl TransferService for Transfers {
    async fn list_transfers(
        &self,
        request: Request<pb::ListTransfersRequest>,
    ) -> Result<Response<pb::ListTransfersResponse>, Status> {
        let call = Call::of(&request)?;
        let page = self.list(request.into_inner(), false).await.map_err(|e| call.status(e))?;
        Ok(Response::new(page))
    }

    async fn list_uncovered_transfers(
        &self,
        request: Request<pb::ListUncoveredTransfersRequest>,
    ) -> Result<Response<pb::ListUncoveredTransfersResponse>, Status> {
        let call = Call::of(&request)?;
        let pb::ListUncoveredTransfersRequest { filter, page_size, page_token, at_least } =
            request.into_inner();
        let all = pb::ListTransfersRequest { filter, page_size, page_token, at_least };
        let page = self.list(all, true).await.map_err(|e| call.status(e))?;
        let pb::ListTransfersResponse { lines, next_page_token, computed_from } = page;
        Ok(Response::new(pb::ListUncoveredTransfersResponse { lines, next_page_token, computed_from }))
    }

    async fn list_export_counters(
        &self,
        request: Request<pb::ListExportCountersRequest>,
    ) -> Result<Response<pb::ListExportCountersResponse>, Status> {
        let call = Call::of(&request)?;
        let at_least = request.into_inner().at_least;
        let (counters, from) = self.app.export_counters(at_least).await.map_err(|e| call.status(e))?;
        let counters = counters
            .0
            .iter()
            .map(|((exporter, year), numbers)| counter(exporter.as_str(), *year, numbers, from.law));
        Ok(Response::new(pb::ListExportCountersResponse {
            counters: counters.collect(),
            computed_from: Some(basis(&from)),
        }))
    }
}

impl Transfers {
    async fn list(
        &self,
        request: pb::ListTransfersRequest,
        uncovered: bool,
    ) -> Result<pb::ListTransfersResponse, Error> {
        let filter = request.filter.unwrap_or_default();
        let question = format!("transfers {filter:?} {uncovered}");
        let mut violations = Violations::new();
        let scope = Scope {
            known_at: known_before(filter.known_at).unwrap_or(u64::MAX),
            from: instant(filter.occurred_from, "filter.occurred_from", &mut violations),
            to: instant(filter.occurred_to, "filter.occurred_to", &mut violations),
            ripe: None,
        };
        done(violations)?;
        let wanted = Wanted {
            scope,
            uncovered,
            exporters: filter.exporters,
            importers: filter.importers,
            regime: TransferRegime::from_number(filter.regime),
            start: Token::read(&request.page_token, &question)?.unwrap_or(0) as usize,
            limit: page_size(request.page_size),
        };
        let end = (wanted.start + wanted.limit) as u64;
        let found = self.app.transfers(wanted, request.at_least).await?;
        let next = found.more.then(|| Token::write(end, &question));
        Ok(pb::ListTransfersResponse {
            lines: found.lines.iter().map(|line| transfer_line(line, &found.from)).collect(),
            next_page_token: next.unwrap_or_default(),
            computed_from: Some(basis(&found.from)),
        })
    }
}

fn basis(from: &Basis) -> pb::TransferBasis {
    pb::TransferBasis {
        computed_at: from.applied,
        law: format!("{} {}", from.law.name(), from.law.version()),
        unjudged: from.unjudged,
    }
}

fn transfer_line(of: &TransferLine, from: &Basis) -> pb::TransferLine {
    let TransferLine { flow: line, people, consents, has_contact } = of;
    let key = &line.key;
    let (outcome, allowed_by, shortfalls) = outcome(&key.verdict);
    let importer = from.registers.recipient_at(&key.importer, line.last, u64::MAX);
    let name = importer.and_then(|entry| entry.body.legal_name.as_ref()).map(|name| name.as_str().to_owned());
    let privacy =
        importer.and_then(|entry| entry.body.privacy_url.as_ref()).map(|url| url.as_str().to_owned());
    let mechanism = key.verdict.mechanism().and_then(|id| from.registers.mechanisms.get(id)?.last());
    pb::TransferLine {
        exporter: key.exporter.to_string(),
        importer: key.importer.to_string(),
        importer_name: name.unwrap_or_default(),
        from_country: key.from.to_string(),
        to_country: key.to.to_string(),
        purpose: key.purpose.as_ref().map(|purpose| term(Kind::Purpose, purpose.as_str())),
        regime: number(line.regime),
        outcome: outcome.into(),
        allowed_by,
        shortfalls,
        categories: terms(Kind::Category, &line.cats),
        sensitive: line.sensitive,
        modes: line.modes.iter().map(|mode| mode.number()).collect(),
        claims: line.claims.iter().map(ToString::to_string).collect(),
        count: line.count,
        people: *people,
        first: time(line.first),
        last: time(line.last),
        positions: line.samples.clone(),
        mechanism: mechanism.map(|entry| Value::write(&*entry.body)),
        assessments: key.verdict.mechanism().map(|id| assessments(id, from)).unwrap_or_default(),
        separate_consent: consents
            .map(|Separate { asked, consented }| pb::SeparateConsent { asked, consented }),
        importer_has_contact: *has_contact,
        importer_privacy_url: privacy.unwrap_or_default(),
    }
}

/// What a mechanism rests on, oldest first.
fn assessments(mechanism: &Id, from: &Basis) -> Vec<pb::AssessmentMade> {
    let of: BTreeSet<&Id> = from.registers.assessed_for(mechanism).into_iter().collect();
    let made = of.into_iter().flat_map(|of| {
        let history = from.registers.assessments.get(of).into_iter().flatten();
        history.map(move |entry| (entry.from, of, &entry.body))
    });
    let mut made: Vec<_> = made.collect();
    made.sort_by_key(|(at, of, _)| (*at, *of));
    let one = |(at, of, body): (Timestamp, &Id, &Arc<Assessment>)| {
        assessment(of, at, body.kind, body.result, body.valid_until)
    };
    made.into_iter().map(one).collect()
}

pub(crate) fn assessment(
    of: &Id,
    at: Timestamp,
    kind: AssessmentKind,
    result: AssessmentResult,
    valid_until: Option<Timestamp>,
) -> pb::AssessmentMade {
    pb::AssessmentMade {
        subject_matter: of.to_string(),
        kind: kind.number(),
        result: result.number(),
        at: time(at),
        valid_until: valid_until.and_then(time),
    }
}

pub(crate) fn outcome(verdict: &Verdict) -> (pb::TransferOutcome, String, Vec<i32>) {
    use pb::TransferOutcome as Outcome;
    let none = Vec::new();
    match verdict {
        Verdict::Allowed(By::Domestic) => (Outcome::Domestic, String::new(), none),
        Verdict::Allowed(By::Adequacy(country)) => (Outcome::Adequacy, country.to_string(), none),
        Verdict::Allowed(By::Mechanism(id)) => (Outcome::Mechanism, id.to_string(), none),
        Verdict::Allowed(By::Exemption(id)) => (Outcome::Exemption, id.to_string(), none),
        Verdict::Allowed(By::BelowThreshold) => (Outcome::BelowThreshold, String::new(), none),
        Verdict::Expired(id) => {
            (Outcome::Expired, id.as_ref().map(ToString::to_string).unwrap_or_default(), none)
        }
        Verdict::Scope(id, short) => {
            let short = short.iter().map(|short| match short {
                Short::Categories => pb::Shortfall::Categories,
                Short::Purposes => pb::Shortfall::Purposes,
                Short::Country => pb::Shortfall::Country,
                Short::Sensitive => pb::Shortfall::Sensitive,
            });
            (Outcome::OutOfScope, id.to_string(), short.map(i32::from).collect())
        }
        Verdict::Nothing => (Outcome::None, String::new(), none),
    }
}

fn counter(exporter: &str, year: u16, numbers: &Counter, law: &law::Law) -> pb::ExportCounter {
    let people = |people: &People| {
        let (count, erased, collective) = (people.count(), people.erased, people.collective);
        Some(pb::ExportedPeople { count, erased, collective })
    };
    let day = year_begins(year + 1).plus_ms(-1).local_date(chrono_tz::Asia::Shanghai);
    let (general, sensitive) = (numbers.general.count(), numbers.sensitive.count());
    let tier = law.cn_tier(day, general, sensitive);
    let next = law.cn_tiers(day).find(|tier| !tier.is_reached(general, sensitive));
    pb::ExportCounter {
        exporter: exporter.to_owned(),
        year: year.into(),
        general: people(&numbers.general),
        sensitive: people(&numbers.sensitive),
        tier: tier.map(|tier| tier.id.to_string()).unwrap_or_default(),
        tier_label_en: tier.map(|tier| tier.en.clone()).unwrap_or_default(),
        tier_label_zh: tier.map(|tier| tier.zh.clone()).unwrap_or_default(),
        article: tier.map(|tier| tier.article.clone()).unwrap_or_default(),
        kinds: tier.map(|tier| tier.kinds.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        next_tier: next.map(|tier| tier.id.to_string()).unwrap_or_default(),
        next_general: next.map_or(0, |tier| tier.general.saturating_sub(general)),
        next_sensitive: next.map_or(0, |tier| tier.sensitive.saturating_sub(sensitive)),
    }
}
