//! Export bundles: asked for, watched, fetched, removed.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::api::convert::{Path, Value, Violations};
use crate::api::guard::Call;
use crate::api::page::Token;
use crate::api::terms::time;
use crate::api::{events, subjects};
use crate::app::exports::{Scope, Span, Wanted};
use crate::app::{App, Error};
use crate::export::Cover;
use crate::export::archive::Archive;
use crate::export::shelf::{Kept, State};
use crate::limits;
use crate::pb;
use crate::pb::export_service_server::{ExportService, ExportServiceServer};
use crate::verify::Level;
use crate::verify::manifest::is_text;

/// Bytes of one piece of a download.
const PIECE: usize = 256 * 1024;
/// Pieces that wait for a client that does not read.
const WAITING: usize = 4;
/// Checkpoints from which one bundle shows growth, at most.
const MAX_SINCE: usize = 16;

pub struct Exports {
    app: Arc<App>,
}

impl Exports {
    pub fn new(app: Arc<App>) -> Self {
        Exports { app }
    }

    pub fn into_server(self) -> ExportServiceServer<Self> {
        ExportServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ExportService for Exports {
    type WatchExportStream = Answers<pb::WatchExportResponse>;
    type DownloadExportStream = Answers<pb::DownloadExportResponse>;

    async fn create_export(
        &self,
        request: Request<pb::CreateExportRequest>,
    ) -> Result<Response<pb::CreateExportResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.create(&call, request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }

    async fn get_export(
        &self,
        request: Request<pb::GetExportRequest>,
    ) -> Result<Response<pb::GetExportResponse>, Status> {
        let call = Call::of(&request)?;
        let id = id(&request.into_inner().export_id).map_err(|e| call.status(e))?;
        let kept = self.app.export(&id).map_err(|e| call.status(e))?;
        Ok(Response::new(pb::GetExportResponse { export: Some(export(kept)) }))
    }

    async fn list_exports(
        &self,
        request: Request<pb::ListExportsRequest>,
    ) -> Result<Response<pb::ListExportsResponse>, Status> {
        let call = Call::of(&request)?;
        let page = self.list(request.into_inner()).map_err(|e| call.status(e))?;
        Ok(Response::new(page))
    }

    async fn watch_export(
        &self,
        request: Request<pb::WatchExportRequest>,
    ) -> Result<Response<Self::WatchExportStream>, Status> {
        let call = Call::of(&request)?;
        let id = id(&request.into_inner().export_id).map_err(|e| call.status(e))?;
        let mut news = self.app.watch_export(&id).map_err(|e| call.status(e))?;
        let (told, answers) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            loop {
                let kept = news.borrow_and_update().clone();
                let last = kept.state.is_final();
                let answer = pb::WatchExportResponse { export: Some(export(kept)) };
                if told.send(Ok(answer)).await.is_err() || last {
                    return;
                }
                if news.changed().await.is_err() {
                    let _ = told.send(Err(call.status(Error::ExportNotFound))).await;
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn download_export(
        &self,
        request: Request<pb::DownloadExportRequest>,
    ) -> Result<Response<Self::DownloadExportStream>, Status> {
        let call = Call::of(&request)?;
        let pb::DownloadExportRequest { export_id, offset } = request.into_inner();
        let id = id(&export_id).map_err(|e| call.status(e))?;
        let archive = self.app.fetch_export(&call.caller, &id).await.map_err(|e| call.status(e))?;
        if offset > archive.size() {
            let beyond = format!("goes beyond the {} bytes of the archive", archive.size());
            return Err(call.status(Error::invalid("offset", beyond)));
        }
        let (told, answers) = mpsc::channel(WAITING);
        let archive = Arc::new(archive);
        tokio::spawn(async move {
            let mut at = offset;
            while at < archive.size() {
                let piece = piece(&archive, at).await.map_err(|error| call.status(error));
                let read = piece.as_ref().map_or(0, |piece| piece.data.len() as u64);
                // A client that went away needs no more of it.
                if told.send(piece).await.is_err() || read == 0 {
                    return;
                }
                at += read;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn delete_export(
        &self,
        request: Request<pb::DeleteExportRequest>,
    ) -> Result<Response<pb::DeleteExportResponse>, Status> {
        let call = Call::of(&request)?;
        let id = id(&request.into_inner().export_id).map_err(|e| call.status(e))?;
        self.app.delete_export(&id).await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::DeleteExportResponse {}))
    }
}

impl Exports {
    async fn create(
        &self,
        call: &Call,
        request: pb::CreateExportRequest,
    ) -> Result<pb::CreateExportResponse, Error> {
        let home = self.app.home_country(&call.caller);
        let root = Path::ROOT;
        let mut violations = Violations::new();
        let level = level(request.level(), &mut violations);
        let mut opened = Vec::new();
        for (n, name) in request.opened.into_iter().enumerate() {
            opened.extend(subjects::name(Some(name), &root.field("opened").index(n), home, &mut violations));
        }
        let person = |wire: pb::ExportPerson, violations: &mut Violations| {
            let at = root.field("person");
            let span = span(wire.range.unwrap_or_default(), &at.field("range"), violations);
            Some(Scope::Person(subjects::name(wire.subject, &at.field("subject"), home, violations)?, span))
        };
        let scope = match request.scope {
            None => {
                violations.add(&root.field("scope"), "is required: a range, a filter or a person");
                None
            }
            Some(pb::create_export_request::Scope::Range(wire)) => {
                Some(Scope::Range(span(wire, &root.field("range"), &mut violations)))
            }
            Some(pb::create_export_request::Scope::Person(wire)) => person(wire, &mut violations),
            Some(pb::create_export_request::Scope::Filter(wire)) => {
                let without_retracted = wire.without_retracted;
                let filter = Box::new(events::filter(wire, pb::Order::OldestFirst, &mut violations));
                Some(Scope::Filter { filter, without_retracted })
            }
        };
        let opening = subjects::opening(request.opening, &mut violations);
        let cover = cover(request.cover.unwrap_or_default(), &mut violations);
        if request.since.len() > MAX_SINCE {
            violations.add(&root.field("since"), "has more than 16 tree sizes");
        }
        let id = match request.export_id.as_str() {
            "" => None,
            text => Value::read(text.to_owned(), &root.field("export_id"), &mut violations),
        };
        events::done(violations)?;
        // What is missing here was said above.
        let (Some(scope), Some(level)) = (scope, level) else {
            return Err(Error::internal("export_request"));
        };
        let wanted = Wanted { id, scope, level, opened, opening, cover, since: request.since };
        let begun = self.app.create_export(&call.caller, wanted).await?;
        Ok(pb::CreateExportResponse {
            export: Some(export(begun.export)),
            tag_keys: begun.tag_keys.map(|keys| keys.to_string()).unwrap_or_default(),
        })
    }

    fn list(&self, request: pb::ListExportsRequest) -> Result<pb::ListExportsResponse, Error> {
        let question = "exports";
        let skip = Token::read(&request.page_token, question)?.unwrap_or(0);
        let size = events::page_size(request.page_size);
        let all = self.app.exports();
        let left = all.len().saturating_sub(skip as usize);
        let next = if left > size { Token::write(skip + size as u64, question) } else { String::new() };
        let page = all.into_iter().skip(skip as usize).take(size).map(export);
        Ok(pb::ListExportsResponse { exports: page.collect(), next_page_token: next })
    }
}

/// A slow client holds no thread: each piece is read when there is room for it.
async fn piece(archive: &Arc<Archive>, offset: u64) -> Result<pb::DownloadExportResponse, Error> {
    let archive = Arc::clone(archive);
    let read = tokio::task::spawn_blocking(move || archive.read(offset, PIECE)).await;
    let data = read.map_err(|died| Error::fault("download_died", died))??;
    Ok(pb::DownloadExportResponse { offset, data: data.into() })
}

fn id(text: &str) -> Result<crate::domain::id::Id, Error> {
    text.parse().map_err(|why| Error::invalid("export_id", why))
}

fn level(wire: pb::ExportLevel, violations: &mut Violations) -> Option<Level> {
    match wire {
        pb::ExportLevel::Headers => Some(Level::Headers),
        pb::ExportLevel::Sealed => Some(Level::Sealed),
        pb::ExportLevel::Opened => Some(Level::Opened),
        pb::ExportLevel::Unspecified => {
            violations.add(&Path::ROOT.field("level"), "is required: headers, sealed or opened");
            None
        }
    }
}

/// By place, unless a time is stated.
fn span(wire: pb::ExportRange, at: &Path<'_>, violations: &mut Violations) -> Span {
    let by_time = wire.recorded_from.is_some() || wire.recorded_to.is_some();
    if by_time && (wire.position_from.is_some() || wire.position_to.is_some()) {
        violations.add(at, "is stated by positions and by times: one of both");
    }
    if !by_time {
        return Span::Positions(wire.position_from.unwrap_or(0), wire.position_to);
    }
    let mut instant = |wire: Option<prost_types::Timestamp>, name| {
        wire.and_then(|wire| Value::read(wire, &at.field(name), violations))
    };
    let from = instant(wire.recorded_from, "recorded_from");
    Span::Recorded(from, instant(wire.recorded_to, "recorded_to"))
}

fn cover(wire: pb::ExportCover, violations: &mut Violations) -> Cover {
    let root = Path::ROOT;
    let at = root.field("cover");
    let mut line = |text: String, name| {
        if !text.is_empty() && (!is_text(&text) || text == "-") {
            violations
                .add(&at.field(name), "is not one line of at most 4,000 bytes without control characters");
        }
        Some(text).filter(|text| !text.is_empty())
    };
    Cover {
        authority: line(wire.authority, "authority"),
        legal_power: line(wire.legal_power, "legal_power"),
        controller: line(wire.controller, "controller"),
        representative: line(wire.representative, "representative"),
        responsible: line(wire.responsible, "responsible"),
        period: line(wire.period, "period"),
    }
}

fn export(kept: Kept) -> pb::Export {
    let mut answer = pb::Export {
        export_id: kept.id.to_string(),
        kind: kept.kind.as_str().to_owned(),
        level: match kept.level {
            Level::Headers => pb::ExportLevel::Headers,
            Level::Sealed => pb::ExportLevel::Sealed,
            Level::Opened => pb::ExportLevel::Opened,
        }
        .into(),
        position_from: kept.from,
        position_to: kept.to,
        requester: kept.requester.to_string(),
        created_at: time(kept.created_at),
        events_done: kept.progress.map_or(0, |progress| progress.done),
        events_total: kept.progress.map_or(0, |progress| progress.total),
        ..Default::default()
    };
    let state = match kept.state {
        State::Pending => pb::ExportState::Pending,
        State::Running => pb::ExportState::Running,
        State::Failed { reason, message } => {
            (answer.failure_reason, answer.failure) = (reason.to_ascii_uppercase(), message);
            pb::ExportState::Failed
        }
        State::Ready(made) => {
            (answer.events_done, answer.events_total) = (made.events, made.events);
            answer.result = Some(pb::ExportResult {
                size_bytes: made.size_bytes,
                manifest_sha256: made.manifest_sha256.0.to_vec().into(),
                events: made.events,
                parts_opened: made.opened,
                position: made.position,
                tree_size: made.tree_size,
                witnessed: made.witnessed,
                expires_at: time(made.expires_at),
            });
            pb::ExportState::Ready
        }
    };
    answer.state = state.into();
    answer
}
