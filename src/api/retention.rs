//! How long data may be kept, and what falls due.

use std::collections::BTreeMap;
use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::api::convert::{Field, Path, Value, Violations};
use crate::api::events::{done, instant, known_before};
use crate::api::guard::Call;
use crate::api::kept::reason;
use crate::api::subjects;
use crate::api::terms::{maybe, time};
use crate::app::questions::When;
use crate::app::retention::{Changes, Forecast, Line, LineKey};
use crate::app::{App, Error};
use crate::domain::event::RetentionRule;
use crate::domain::id::Id;
use crate::domain::retention::{Candidate, PurposeStanding};
use crate::limits;
use crate::pb;
use crate::pb::retention_service_server::{RetentionService, RetentionServiceServer};
use crate::views::retention::{Change, Explained};

pub struct Retention {
    app: Arc<App>,
}

impl Retention {
    pub fn new(app: Arc<App>) -> Self {
        Retention { app }
    }

    pub fn into_server(self) -> RetentionServiceServer<Self> {
        RetentionServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl RetentionService for Retention {
    async fn explain_retention(
        &self,
        request: Request<pb::ExplainRetentionRequest>,
    ) -> Result<Response<pb::ExplainRetentionResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.explain(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }

    async fn forecast_retention(
        &self,
        request: Request<pb::ForecastRetentionRequest>,
    ) -> Result<Response<pb::ForecastRetentionResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.forecast(request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }
}

impl Retention {
    async fn explain(
        &self,
        call: &Call,
        request: pb::ExplainRetentionRequest,
    ) -> Result<pb::ExplainRetentionResponse, Error> {
        let mut violations = Violations::new();
        let home = self.app.home_country(&call.caller);
        let name = subjects::name(request.subject, &Path::ROOT.field("subject"), home, &mut violations);
        let as_of = instant(request.as_of, "as_of", &mut violations);
        done(violations)?;
        let Some(name) = name else { return Err(Error::invalid("subject", "is required")) };
        let known_at = known_before(request.known_at);
        let when = When { as_of, known_at, at_least: request.at_least };
        let explained = self.app.explain_retention(&name, when).await?;
        Ok(pb::ExplainRetentionResponse {
            data: explained.data.iter().map(datum).collect(),
            as_of: time(explained.as_of),
            computed_at: explained.known_at,
        })
    }

    async fn forecast(
        &self,
        request: pb::ForecastRetentionRequest,
    ) -> Result<pb::ForecastRetentionResponse, Error> {
        let mut violations = Violations::new();
        let by = instant(request.by, "by", &mut violations);
        let published = rules(request.publish, &mut violations);
        let annulled = ids(&request.annul, &mut violations);
        done(violations)?;
        let change = Change { published, annulled };
        let tried = !(change.published.is_empty() && change.annulled.is_empty());
        let known_at = known_before(request.known_at);
        let when = When { as_of: by, known_at, at_least: request.at_least };
        Ok(forecast(&self.app.forecast_retention(when, tried.then_some(change)).await?))
    }
}

fn ids(wire: &[String], violations: &mut Violations) -> Vec<Id> {
    let annul = Path::ROOT.field("annul");
    let mut ids = Vec::with_capacity(wire.len());
    for (n, text) in wire.iter().enumerate() {
        match text.parse::<Id>() {
            Ok(id) => ids.push(id),
            Err(why) => violations.add(&annul.index(n), why.to_string()),
        }
    }
    ids
}

/// Formed as they would have to be to be published.
fn rules(wire: Vec<pb::RetentionRule>, violations: &mut Violations) -> Vec<RetentionRule> {
    let publish = Path::ROOT.field("publish");
    let mut rules = Vec::with_capacity(wire.len());
    for (n, rule) in wire.into_iter().enumerate() {
        let at = publish.index(n);
        let Some(rule) = <RetentionRule as Value<pb::RetentionRule>>::read(rule, &at, violations) else {
            continue;
        };
        rule.check(&mut |field, why| violations.add(&at, format!("{field} {why}")));
        rules.push(rule);
    }
    rules
}

fn datum(explained: &Explained) -> pb::RetainedDatum {
    let (key, explanation) = (&explained.key, &explained.explanation);
    let decision = &explanation.decision;
    let cited = |id: &Id| {
        let rule =
            explanation.candidates.iter().map(|candidate| &candidate.rule).find(|rule| rule.id == *id)?;
        rule.legal.as_ref().map(ToString::to_string)
    };
    pb::RetainedDatum {
        service: maybe(&key.service),
        record_kind: maybe(&key.record_kind),
        category: key.category.to_string(),
        slot: maybe(&key.slot),
        state: decision.state.to_string(),
        action: decision.action.to_string(),
        due_at: decision.due_at.and_then(time),
        due: decision.due.map(|due| due.to_string()).unwrap_or_default(),
        usable_for: decision.usable_for.iter().map(ToString::to_string).collect(),
        because: decision.because.iter().map(|because| reason(because, cited)).collect(),
        findings: decision.findings.iter().map(ToString::to_string).collect(),
        plan: decision.plan.to_string(),
        owed_since: decision.owed.and_then(time),
        purposes: explanation.purposes.iter().map(purpose).collect(),
        candidates: explanation.candidates.iter().map(candidate).collect(),
        needed_until: explanation.needed_until.and_then(time),
        capped_at: explanation.capped_at.and_then(time),
    }
}

fn purpose(standing: &PurposeStanding) -> pb::RetainedPurpose {
    pb::RetainedPurpose {
        purpose: standing.purpose.to_string(),
        basis: standing.basis.number(),
        opened_at: time(standing.opened),
        ended_by: standing.ended.map(|(_, ended)| ended.as_str().to_owned()).unwrap_or_default(),
        ended_at: standing.ended.and_then(|(at, _)| time(at)),
        until: standing.until.and_then(time),
        undefined: standing.undefined,
        usable: standing.usable,
    }
}

fn candidate(candidate: &Candidate) -> pb::RetentionCandidate {
    pb::RetentionCandidate {
        rule: Some(candidate.rule.clone()).write(),
        purpose: maybe(&candidate.purpose),
        runs_from: candidate.runs_from.and_then(time),
        until: candidate.until.and_then(time),
        cut_by: candidate.cut_by.map(|ended| ended.as_str().to_owned()).unwrap_or_default(),
        binds: candidate.binds,
    }
}

fn forecast(forecast: &Forecast) -> pb::ForecastRetentionResponse {
    pb::ForecastRetentionResponse {
        lines: lines(&forecast.lines),
        by: time(forecast.by),
        computed_at: forecast.known_at,
        data: forecast.data,
        people: forecast.people,
        change: forecast.change.as_ref().map(change),
    }
}

fn change(changes: &Changes) -> pb::ForecastChange {
    pb::ForecastChange {
        newly_due: changes.newly_due,
        no_longer_due: changes.no_longer_due,
        earlier: changes.earlier,
        later: changes.later,
        into_review: changes.into_review,
        out_of_review: changes.out_of_review,
        newly_due_lines: lines(&changes.newly_due_lines),
    }
}

fn lines(lines: &BTreeMap<LineKey, Line>) -> Vec<pb::ForecastLine> {
    let one = |(key, line): (&LineKey, &Line)| pb::ForecastLine {
        service: maybe(&key.service),
        record_kind: maybe(&key.record_kind),
        category: key.category.to_string(),
        state: key.state.to_string(),
        action: key.action.to_string(),
        plan: key.plan.to_string(),
        data: line.data,
        people: line.people,
        first_due_at: line.first_due.and_then(time),
        last_due_at: line.last_due.and_then(time),
        recipients: line
            .recipients
            .iter()
            .map(|(recipient, data)| pb::ForecastRecipient { recipient: recipient.to_string(), data: *data })
            .collect(),
    };
    lines.iter().map(one).collect()
}
