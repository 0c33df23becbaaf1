//! What operators need: status, the views, a check of everything, gaps.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::api::guard::Call;
use crate::app::check::{Finding, News, Summary};
use crate::app::operate::{Alarm, Gap, Health};
use crate::app::{App, Error};
use crate::clock::Stopwatch;
use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::pb::admin_service_server::{AdminService, AdminServiceServer};
use crate::{limits, pb};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// News of a task that wait for its reader; more than that are skipped, never waited for.
const WAITING: usize = 256;
/// Gaps of a page where nobody says how many.
const PAGE: u32 = 100;

pub struct Admin {
    app: Arc<App>,
    started_at: Timestamp,
}

impl Admin {
    pub fn new(app: Arc<App>, started_at: Timestamp) -> Self {
        Admin { app, started_at }
    }

    pub fn into_server(self) -> AdminServiceServer<Self> {
        AdminServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl AdminService for Admin {
    type RebuildViewsStream = Answers<pb::RebuildViewsResponse>;
    type CheckStorageStream = Answers<pb::CheckStorageResponse>;

    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        let call = Call::of(&request)?;
        let health = self.app.health().await.map_err(|e| call.status(e))?;
        let house = self.app.house();
        Ok(Response::new(pb::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            origin: house.origin.clone(),
            region: house.region.to_string(),
            started_at: Some(timestamp(self.started_at)),
            ..told(health)
        }))
    }

    async fn rebuild_views(
        &self,
        request: Request<pb::RebuildViewsRequest>,
    ) -> Result<Response<Self::RebuildViewsStream>, Status> {
        let call = Call::of(&request)?;
        let (news, answers) = mpsc::channel(WAITING);
        let app = Arc::clone(&self.app);
        let watch = Stopwatch::start();
        tokio::spawn(async move {
            let listener = news.clone();
            let last = Arc::new(std::sync::Mutex::new(None));
            let seen = Arc::clone(&last);
            let rebuilt = app.rebuild_views(move |at| {
                let progress = progress(at.applied, at.head, watch);
                *seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(progress);
                // Whoever does not keep up misses steps; whoever left misses all.
                let _told = listener.try_send(Ok(pb::RebuildViewsResponse { progress: Some(progress), finished: false }));
            });
            let answer = match rebuilt.await {
                Ok(_) => {
                    let progress = *last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    Ok(pb::RebuildViewsResponse { progress, finished: true })
                }
                Err(error) => Err(call.status(error)),
            };
            // Nobody is left to tell: the log has it.
            let _told = news.send(answer).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn check_storage(
        &self,
        request: Request<pb::CheckStorageRequest>,
    ) -> Result<Response<Self::CheckStorageStream>, Status> {
        use pb::check_storage_response::Message;
        let call = Call::of(&request)?;
        let compare = request.into_inner().compare_views;
        // Findings must not be skipped, so there is room for all that are told.
        let (news, answers) = mpsc::channel(WAITING + 1_024);
        let app = Arc::clone(&self.app);
        let watch = Stopwatch::start();
        tokio::spawn(async move {
            let listener = news.clone();
            let checked = app.check_storage(compare, move |what| {
                let message = match what {
                    // Room is kept for findings.
                    News::Progress { .. } if listener.capacity() <= 1_024 => return,
                    News::Progress { done, total } => Message::Progress(progress(done, total, watch)),
                    News::Finding(finding) => {
                        tracing::error!(position = finding.position, code = finding.code, "stored data do not check");
                        Message::Finding(finding_told(finding))
                    }
                };
                let _told = listener.try_send(Ok(pb::CheckStorageResponse { message: Some(message) }));
            });
            let answer = match checked.await {
                Ok(summary) => Ok(pb::CheckStorageResponse { message: Some(Message::Summary(summary_told(&summary))) }),
                Err(error) => Err(call.status(error)),
            };
            let _told = news.send(answer).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn get_emitter_gaps(
        &self,
        request: Request<pb::GetEmitterGapsRequest>,
    ) -> Result<Response<pb::GetEmitterGapsResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.gaps(request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(answer))
    }
}

impl Admin {
    async fn gaps(&self, request: pb::GetEmitterGapsRequest) -> Result<pb::GetEmitterGapsResponse, Error> {
        let emitter = match request.emitter.as_str() {
            "" => None,
            name => Some(name.parse::<Id>().map_err(|e| Error::invalid("emitter", e))?),
        };
        let size = match request.page_size {
            0 => PAGE,
            n if n as usize <= limits::PAGE => n,
            _ => return Err(Error::invalid("page_size", format_args!("is more than {}", limits::PAGE))),
        };
        let after = gap_after(&request.page_token)?;
        let (mut gaps, applied) = self.app.gaps(emitter, after, size as usize + 1).await?;
        let more = gaps.len() > size as usize;
        gaps.truncate(size as usize);
        let token = gaps.last().filter(|_| more).map(|gap| format!("{} {} {}", gap.first, gap.last, gap.emitter));
        let told = |gap: &Gap| pb::EmitterGap {
            emitter: gap.emitter.to_string(),
            first: gap.first,
            last: gap.last,
            noticed_at: None,
        };
        Ok(pb::GetEmitterGapsResponse {
            gaps: gaps.iter().map(told).collect(),
            next_page_token: token.unwrap_or_default(),
            computed_at: applied,
        })
    }
}

/// The last gap of the page before. Names nothing that the caller has not just seen.
fn gap_after(token: &str) -> Result<Option<Gap>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let mut words = token.splitn(3, ' ');
    let gap = (|| {
        let (first, last) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Gap { first, last, emitter: words.next()?.parse().ok()? })
    })();
    gap.map(Some).ok_or(Error::PageToken)
}

fn told(health: Health) -> pb::GetStatusResponse {
    let alarm = |alarm: Alarm| pb::Alarm {
        code: alarm.code.to_owned(),
        message: alarm.message,
        way_out: alarm.way_out.to_owned(),
        since: None,
    };
    pb::GetStatusResponse {
        log: Some(pb::LogStatus {
            head: health.log.head,
            bytes_on_disk: health.log.bytes_on_disk,
            bytes_waiting: health.log.bytes_waiting,
            read_only: health.log.read_only.unwrap_or_default(),
            ..Default::default()
        }),
        views: Some(pb::ViewsStatus {
            position: health.views.applied,
            generation: health.views.generation,
            stopped: health.views.stale.unwrap_or_default(),
            bytes_on_disk: health.views.bytes_on_disk,
            ..Default::default()
        }),
        vault: Some(pb::VaultStatus {
            people: health.vault.people,
            pending: health.vault.pending,
            generation: health.vault.generation,
        }),
        alarms: health.alarms.into_iter().map(alarm).collect(),
        ..Default::default()
    }
}

fn progress(done: u64, total: u64, since: Stopwatch) -> pb::Progress {
    let elapsed = since.elapsed();
    let elapsed = prost_types::Duration {
        seconds: i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX),
        nanos: elapsed.subsec_nanos() as i32,
    };
    pb::Progress { done, total, elapsed: Some(elapsed) }
}

pub fn finding_told(finding: Finding) -> pb::StorageFinding {
    pb::StorageFinding { position: finding.position, code: finding.code.to_owned(), message: finding.message }
}

pub fn summary_told(summary: &Summary) -> pb::CheckSummary {
    pb::CheckSummary {
        records: summary.records,
        bytes: summary.bytes,
        findings: summary.findings,
        root: summary.root.map(|root| root.0.to_vec()).unwrap_or_default().into(),
    }
}

fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    crate::api::convert::Value::write(&at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_leads_to_the_next_gap() {
        assert_eq!(gap_after("").unwrap(), None);
        let gap = gap_after("3 7 solar-app").unwrap().unwrap();
        assert_eq!((gap.first, gap.last, gap.emitter.as_str()), (3, 7, "solar-app"));
        for wrong in ["3", "3 7", "x 7 a", "3 7 a b"] {
            assert_eq!(gap_after(wrong).unwrap_err().reason(), "page_token_invalid", "{wrong}");
        }
    }
}
