//! Records of processing, the register of SDKs, the public lists of an app.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::api::convert::{Field, Value, Violations};
use crate::api::events::{done, instant, known_before, page_size};
use crate::api::guard::Call;
use crate::api::page::Token;
use crate::api::terms::{country, maybe, number, sources, term, terms, time};
use crate::api::transfers::{assessment, outcome};
use crate::app::findings::Basis;
use crate::app::processing::{Answered, Asked};
use crate::app::{App, Error};
use crate::domain::event::RecipientRole;
use crate::domain::id::Id;
use crate::domain::vocabulary::Kind;
use crate::limits;
use crate::pb;
use crate::pb::processing_service_server::{ProcessingService, ProcessingServiceServer};
use crate::views::ropa::{Abroad, Controller, Limit, Processing as Processed, Recipient, Record};
use crate::views::sdks::{Collected, Sdk, Shared, Use};

pub struct Processing {
    app: Arc<App>,
}

impl Processing {
    pub fn new(app: Arc<App>) -> Self {
        Processing { app }
    }

    pub fn into_server(self) -> ProcessingServiceServer<Self> {
        ProcessingServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl ProcessingService for Processing {
    async fn list_processing_records(
        &self,
        request: Request<pb::ListProcessingRecordsRequest>,
    ) -> Result<Response<pb::ListProcessingRecordsResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.records(request.into_inner()).await.map_err(|e| call.status(e))?))
    }

    async fn list_processor_records(
        &self,
        request: Request<pb::ListProcessorRecordsRequest>,
    ) -> Result<Response<pb::ListProcessorRecordsResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.processors(request.into_inner()).await.map_err(|e| call.status(e))?))
    }

    async fn list_sdks(
        &self,
        request: Request<pb::ListSdksRequest>,
    ) -> Result<Response<pb::ListSdksResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.sdks(request.into_inner()).await.map_err(|e| call.status(e))?))
    }

    async fn get_app_lists(
        &self,
        request: Request<pb::GetAppListsRequest>,
    ) -> Result<Response<pb::GetAppListsResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.app_lists(request.into_inner()).await.map_err(|e| call.status(e))?))
    }
}

impl Processing {
    async fn records(
        &self,
        request: pb::ListProcessingRecordsRequest,
    ) -> Result<pb::ListProcessingRecordsResponse, Error> {
        let question = format!("processing records {:?} {}", request.moment, request.count_people);
        let page = Page::read(&request.page_token, request.page_size, question)?;
        let found = self.app.processing_records(asked(request.moment)?, request.count_people).await?;
        let (records, next_page_token) = page.of(&found.answer, |one| record(one, &found.from));
        Ok(pb::ListProcessingRecordsResponse { records, next_page_token, computed_from: basis(&found) })
    }

    async fn processors(
        &self,
        request: pb::ListProcessorRecordsRequest,
    ) -> Result<pb::ListProcessorRecordsResponse, Error> {
        let question = format!("processor records {:?}", request.moment);
        let page = Page::read(&request.page_token, request.page_size, question)?;
        let found = self.app.processor_records(asked(request.moment)?).await?;
        let (records, next_page_token) = page.of(&found.answer, |one| processed(one, &found.from));
        Ok(pb::ListProcessorRecordsResponse { records, next_page_token, computed_from: basis(&found) })
    }

    async fn sdks(&self, request: pb::ListSdksRequest) -> Result<pb::ListSdksResponse, Error> {
        let page = Page::read(&request.page_token, request.page_size, format!("sdks {:?}", request.moment))?;
        let found = self.app.sdks(asked(request.moment)?).await?;
        let (sdks, next_page_token) = page.of(&found.answer, sdk);
        Ok(pb::ListSdksResponse { sdks, next_page_token, computed_from: basis(&found) })
    }

    async fn app_lists(&self, request: pb::GetAppListsRequest) -> Result<pb::GetAppListsResponse, Error> {
        let service: Id = request.service.parse().map_err(|why| Error::invalid("service", why))?;
        let found = self.app.app_lists(asked(request.moment)?, service).await?;
        Ok(pb::GetAppListsResponse {
            collected: found.answer.collected.iter().map(collected).collect(),
            shared: found.answer.shared.iter().map(shared).collect(),
            computed_from: basis(&found),
        })
    }
}

fn asked(moment: Option<pb::ProcessingMoment>) -> Result<Asked, Error> {
    let moment = moment.unwrap_or_default();
    let mut violations = Violations::new();
    let as_of = instant(moment.as_of, "moment.as_of", &mut violations);
    done(violations)?;
    Ok(Asked { as_of, known_at: known_before(moment.known_at), at_least: moment.at_least })
}

/// Which part of a list is asked for.
struct Page {
    start: usize,
    limit: usize,
    question: String,
}

impl Page {
    fn read(token: &str, size: u32, question: String) -> Result<Page, Error> {
        let start = Token::read(token, &question)?.unwrap_or(0) as usize;
        Ok(Page { start, limit: page_size(size), question })
    }

    /// The lines of the page, and the token of the next.
    fn of<T, W>(&self, all: &[T], write: impl Fn(&T) -> W) -> (Vec<W>, String) {
        let end = self.start.saturating_add(self.limit).min(all.len());
        let next = (end < all.len()).then(|| Token::write(end as u64, &self.question));
        let lines = all.get(self.start..end).unwrap_or_default();
        (lines.iter().map(write).collect(), next.unwrap_or_default())
    }
}

fn basis<T>(found: &Answered<T>) -> Option<pb::ProcessingBasis> {
    Some(pb::ProcessingBasis {
        computed_at: found.from.applied,
        as_of: time(found.as_of),
        law: format!("{} {}", found.from.law.name(), found.from.law.version()),
        unjudged: found.from.unjudged,
    })
}

fn record(one: &Record, from: &Basis) -> pb::ProcessingRecord {
    let body = &one.revision.entry.body;
    let joint = one.recipients.iter().filter_map(|recipient| recipient.registered.as_ref());
    let joint = joint.filter(|body| body.role == Some(RecipientRole::JointController));
    let service = one.service.as_ref();
    pb::ProcessingRecord {
        activity: one.activity.to_string(),
        revision: one.revision.number,
        service: maybe(&body.service),
        controller: one.controller.as_ref().map(controller),
        joint_controllers: joint.map(|body| body.legal_name.write()).collect(),
        purposes: body
            .purposes
            .iter()
            .map(|purpose| pb::RecordPurpose {
                purpose: Some(term(Kind::Purpose, purpose.id.as_str())),
                basis: Some(term(Kind::Basis, purpose.basis.as_str())),
            })
            .collect(),
        directed_at_children: service.and_then(|service| service.directed_at_children) == Some(true),
        categories: terms(Kind::Category, &*body.cats),
        record_kind: maybe(&body.record_kind),
        sensitive_categories: terms(Kind::Category, &one.sensitive_cats),
        sensitive: one.sensitive,
        source: number(body.source),
        regimes: body.regimes.iter().map(ToString::to_string).collect(),
        recipients: one.recipients.iter().map(recipient).collect(),
        transfers: one.abroad.iter().map(|abroad| transfer(abroad, from)).collect(),
        storage_country: country(&service.and_then(|service| service.storage_country)),
        limits: one.limits.iter().map(limit).collect(),
        unlimited: terms(Kind::Purpose, &one.unlimited),
        safeguards: body.safeguards.write(),
        roles: body.roles.write(),
        assessments: one
            .assessments
            .iter()
            .map(|made| assessment(&made.of, made.at, made.kind, made.result, made.valid_until))
            .collect(),
        assessment_ref: maybe(&body.assessment_ref),
        effective_from: time(one.revision.entry.from),
        last_review: time(one.last_review),
        last_event: one.last_event.and_then(time),
        people: one.people,
    }
}

fn controller(one: &Controller) -> pb::RecordController {
    pb::RecordController {
        controller: one.id.to_string(),
        registered: one.registered.as_ref().map(Value::write),
        has_contact: one.has_contact,
    }
}

fn recipient(one: &Recipient) -> pb::RecordRecipient {
    pb::RecordRecipient {
        recipient: one.id.to_string(),
        registered: one.registered.as_ref().map(Value::write),
    }
}

fn transfer(one: &Abroad, from: &Basis) -> pb::RecordTransfer {
    let (outcome, allowed_by, _) = outcome(&one.verdict);
    let importer = from.registers.recipients.get(&one.importer).and_then(|history| history.last());
    pb::RecordTransfer {
        importer: one.importer.to_string(),
        importer_name: importer.map(|entry| entry.body.legal_name.write()).unwrap_or_default(),
        from_country: one.from.to_string(),
        to_country: one.to.to_string(),
        regime: one.regime.number(),
        outcome: outcome.into(),
        allowed_by,
        observed: one.observed,
    }
}

fn limit(one: &Limit) -> pb::RecordLimit {
    pb::RecordLimit { rule: Some(Value::write(&one.rule)), purposes: terms(Kind::Purpose, &one.purposes) }
}

fn processed(one: &Processed, from: &Basis) -> pb::ProcessorRecord {
    pb::ProcessorRecord {
        processor: one.processor.to_string(),
        registered: Some(Value::write(&one.registered)),
        in_group: one.in_group,
        controller: Some(controller(&one.controller)),
        activities: one.activities.iter().map(ToString::to_string).collect(),
        purposes: terms(Kind::Purpose, &one.purposes),
        categories: terms(Kind::Category, &one.cats),
        safeguards: one.safeguards.iter().map(|safeguard| safeguard.number()).collect(),
        transfers: one.abroad.iter().map(|abroad| transfer(abroad, from)).collect(),
    }
}

fn sdk(one: &Sdk) -> pb::Sdk {
    let registered = one.recipient.as_ref().map(|(_, body)| body);
    pb::Sdk {
        sdk_name: one.name.to_string(),
        recipient: one.recipient.as_ref().map(|(id, _)| id.to_string()).unwrap_or_default(),
        registered: registered.map(Value::write),
        categories: terms(Kind::Category, registered.iter().flat_map(|body| body.cats.iter())),
        purposes: terms(Kind::Purpose, registered.iter().flat_map(|body| body.purposes.iter())),
        unused: terms(Kind::Category, &one.unused),
        uses: one.uses.iter().map(sdk_use).collect(),
    }
}

fn sdk_use(one: &Use) -> pb::SdkUse {
    pb::SdkUse {
        sdk_version: maybe(&one.sdk_version),
        app_version: maybe(&one.app_version),
        services: one.services.iter().map(ToString::to_string).collect(),
        read: terms(Kind::Category, &one.read),
        given: terms(Kind::Category, &one.given),
        undeclared: terms(Kind::Category, &one.undeclared),
        version_declared: one.version_declared,
        added: terms(Kind::Category, &one.added),
        removed: terms(Kind::Category, &one.removed),
        before_consent: one.before_consent,
        in_background: one.in_background,
        count: one.count,
        first: time(one.first),
        last: time(one.last),
        positions: one.samples.clone(),
    }
}

fn collected(one: &Collected) -> pb::CollectedInformation {
    pb::CollectedInformation {
        category: Some(term(Kind::Category, one.category.as_str())),
        purpose: one.purpose.as_ref().map(|purpose| term(Kind::Purpose, purpose.as_str())),
        activity: maybe(&one.activity),
        sdk_name: maybe(&one.sdk),
        sensitive: one.sensitive,
        required: one.required,
        sources: sources(&one.sources),
        registered: one.registered,
        observed: one.observed,
    }
}

fn shared(one: &Shared) -> pb::SharedInformation {
    pb::SharedInformation {
        recipient: one.recipient.to_string(),
        registered: one.registered.as_ref().map(Value::write),
        categories: terms(Kind::Category, &one.cats),
        purposes: terms(Kind::Purpose, &one.purposes),
        activities: one.activities.iter().map(ToString::to_string).collect(),
        methods: one.methods.iter().map(|method| method.number()).collect(),
        sdk_versions: one.sdk_versions.iter().map(ToString::to_string).collect(),
        app_versions: one.app_versions.iter().map(ToString::to_string).collect(),
        observed: one.observed,
    }
}
