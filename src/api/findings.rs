//! Findings, their rules, and what officers do about them.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::api::events::{known_before, page_size, read};
use crate::api::guard::Call;
use crate::api::page::Token;
use crate::api::terms::{maybe, time};
use crate::app::findings::Decision;
use crate::app::{App, Error};
use crate::domain::finding::{self, Key, Severity};
use crate::domain::id::Id;
use crate::limits;
use crate::pb;
use crate::pb::finding_service_server::{FindingService, FindingServiceServer};
use crate::views::findings::{Act, Finding, Findings as Found, JUDGED, State};

pub struct Findings {
    app: Arc<App>,
}

impl Findings {
    pub fn new(app: Arc<App>) -> Self {
        Findings { app }
    }

    pub fn into_server(self) -> FindingServiceServer<Self> {
        FindingServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl FindingService for Findings {
    async fn list_findings(
        &self,
        request: Request<pb::ListFindingsRequest>,
    ) -> Result<Response<pb::ListFindingsResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.list(request.into_inner()).await.map_err(|e| call.status(e))?))
    }

    async fn get_finding(
        &self,
        request: Request<pb::GetFindingRequest>,
    ) -> Result<Response<pb::GetFindingResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let found = async {
            let key = read::<Key>("key", &request.key)?;
            self.app.finding(key, known_before(request.known_at)).await
        };
        let (found, all) = found.await.map_err(|e| call.status(e))?;
        let computed_from = Some(basis(&all));
        Ok(Response::new(pb::GetFindingResponse { finding: Some(finding(found)), computed_from }))
    }

    async fn list_rules(
        &self,
        request: Request<pb::ListRulesRequest>,
    ) -> Result<Response<pb::ListRulesResponse>, Status> {
        Call::of(&request)?;
        let rules = finding::rules().iter().map(rule).collect();
        Ok(Response::new(pb::ListRulesResponse { rules, version: finding::version().to_owned() }))
    }

    async fn acknowledge_finding(
        &self,
        request: Request<pb::AcknowledgeFindingRequest>,
    ) -> Result<Response<pb::AcknowledgeFindingResponse>, Status> {
        let call = Call::of(&request)?;
        let pb::AcknowledgeFindingRequest { key, reason, note } = request.into_inner();
        let decided = self.decide(&call, State::Acknowledged, &key, &reason, note).await;
        let position = decided.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::AcknowledgeFindingResponse { position }))
    }

    async fn close_finding(
        &self,
        request: Request<pb::CloseFindingRequest>,
    ) -> Result<Response<pb::CloseFindingResponse>, Status> {
        let call = Call::of(&request)?;
        let pb::CloseFindingRequest { key, reason, note } = request.into_inner();
        let decided = self.decide(&call, State::Closed, &key, &reason, note).await;
        let position = decided.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::CloseFindingResponse { position }))
    }

    async fn reopen_finding(
        &self,
        request: Request<pb::ReopenFindingRequest>,
    ) -> Result<Response<pb::ReopenFindingResponse>, Status> {
        let call = Call::of(&request)?;
        let pb::ReopenFindingRequest { key, reason, note } = request.into_inner();
        let decided = self.decide(&call, State::Reopened, &key, &reason, note).await;
        let position = decided.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::ReopenFindingResponse { position }))
    }
}

impl Findings {
    async fn list(&self, request: pb::ListFindingsRequest) -> Result<pb::ListFindingsResponse, Error> {
        let (codes, states) = (request.codes.clone(), request.states.clone());
        let (least, known_at) = (request.least(), request.known_at);
        let question = format!("findings {codes:?} {states:?} {least:?} {known_at:?}");
        for (n, code) in codes.iter().enumerate() {
            if finding::rule(code).is_none() {
                return Err(Error::invalid(format!("codes[{n}]"), "is no code of a finding"));
            }
        }
        let start = Token::read(&request.page_token, &question)?.unwrap_or(0) as usize;
        let all = self.app.findings(known_before(known_at), request.at_least).await?;
        let wanted = all.findings.iter().filter(|found| {
            (codes.is_empty() || codes.iter().any(|code| code == found.key.code()))
                && (states.is_empty() || states.contains(&(state(found.state) as i32)))
                && severity(found.severity) as i32 >= least as i32
        });
        let mut wanted: Vec<&Finding> = wanted.collect();
        // The gravest first, then by key: the same order every time.
        wanted.sort_by(|a, b| (b.severity, &a.key).cmp(&(a.severity, &b.key)));
        let computed_from = Some(basis(&all));
        let end = (start + page_size(request.page_size)).min(wanted.len());
        let next = (end < wanted.len()).then(|| Token::write(end as u64, &question));
        let page = wanted.into_iter().skip(start).take(end.saturating_sub(start)).cloned();
        Ok(pb::ListFindingsResponse {
            findings: page.map(finding).collect(),
            next_page_token: next.unwrap_or_default(),
            computed_from,
        })
    }

    async fn decide(
        &self,
        call: &Call,
        state: State,
        key: &str,
        reason: &str,
        note: String,
    ) -> Result<u64, Error> {
        let reason = match reason {
            "" if state == State::Acknowledged => None,
            text => Some(read::<Id>("reason", text)?),
        };
        if note.chars().count() > limits::TEXT_CHARS {
            return Err(Error::invalid("note", "is longer than 2,000 characters"));
        }
        let decision = Decision { key: read("key", key)?, state, reason, note: Some(note) };
        self.app.decide_finding(&call.caller, decision).await
    }
}

fn basis(all: &Found) -> pb::FindingBasis {
    pb::FindingBasis {
        computed_at: all.known_at,
        tick: all.tick.and_then(time),
        law: format!("{} {}", all.law.0, all.law.1),
        rules: finding::version().to_owned(),
        unjudged: all.unjudged,
    }
}

fn finding(found: Finding) -> pb::Finding {
    let fields = found.key.fields();
    let fields = fields
        .filter_map(|(name, value)| Some((name.to_owned(), value?.items().collect::<Vec<_>>().join(", "))));
    pb::Finding {
        key: found.key.to_string(),
        code: found.key.code().to_owned(),
        fields: fields.collect(),
        severity: severity(found.severity).into(),
        count: found.count,
        people: found.people,
        erased_people: found.erased,
        cured_count: found.cured.map_or(0, |cured| cured.count),
        raised_at: found.cured.and_then(|cured| time(cured.raised_at)),
        cured_at: found.cured.and_then(|cured| time(cured.cured_at)),
        first: time(found.first),
        last: time(found.last),
        positions: found.samples,
        state: state(found.state).into(),
        acts: found.acts.into_iter().map(act).collect(),
        rule: finding::rule(found.key.code()).map(rule),
    }
}

fn act(act: Act) -> pb::FindingAct {
    pb::FindingAct {
        state: state(act.state).into(),
        at: time(act.at),
        position: act.position,
        reason: maybe(&act.reason),
    }
}

fn severity(severity: Severity) -> pb::Severity {
    match severity {
        Severity::Medium => pb::Severity::Medium,
        Severity::High => pb::Severity::High,
        Severity::Critical => pb::Severity::Critical,
    }
}

fn state(state: State) -> pb::FindingState {
    match state {
        State::Open => pb::FindingState::Open,
        State::Acknowledged => pb::FindingState::Acknowledged,
        State::Closed => pb::FindingState::Closed,
        State::Reopened => pb::FindingState::Reopened,
        State::Cured => pb::FindingState::Cured,
    }
}

fn rule(rule: &finding::Rule) -> pb::Rule {
    let text = |text: &finding::Text| {
        Some(pb::RuleText {
            title: text.title.clone(),
            explanation: text.explanation.clone(),
            way_out: text.way_out.clone(),
        })
    };
    pb::Rule {
        code: rule.code.clone(),
        severity: severity(rule.severity).into(),
        absence: rule.absence,
        wait_minutes: rule.wait_minutes,
        key: rule.key.clone(),
        legal: rule.legal.clone(),
        clauses: rule.clauses.clone(),
        en: text(&rule.en),
        zh: text(&rule.zh),
        judged: JUDGED.contains(&rule.code.as_str()),
    }
}
