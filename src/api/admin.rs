//! What operators ask: status, rebuild, check, gaps.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::api::guard::Call;
use crate::api::page::Token;
use crate::api::terms::time;
use crate::app::alarms::Alarm;
use crate::app::fsck::{Finding, Watch};
use crate::app::{App, Error};
use crate::clock::Stopwatch;
use crate::limits;
use crate::pb;
use crate::pb::admin_service_server::{AdminService, AdminServiceServer};

/// Messages that wait for a client that does not read.
const WAITING: usize = 64;

pub struct Admin {
    app: Arc<App>,
}

impl Admin {
    pub fn new(app: Arc<App>) -> Self {
        Admin { app }
    }

    pub fn into_server(self) -> AdminServiceServer<Self> {
        AdminServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AdminService for Admin {
    type RebuildViewsStream = Answers<pb::RebuildViewsResponse>;
    type CheckStorageStream = Answers<pb::CheckStorageResponse>;

    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        let call = Call::of(&request)?;
        let status = self.app.status().await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_string(),
            origin: status.origin,
            region: status.region,
            started_at: time(status.started_at),
            log: Some(pb::LogStatus {
                head: status.log.head,
                bytes_on_disk: status.log.bytes_on_disk,
                bytes_waiting: status.log.bytes_waiting,
                read_only: status.log.read_only.unwrap_or_default(),
                disk_free_bytes: status.disk.map(|disk| disk.free),
                disk_reserve_bytes: status.disk.map_or(0, |disk| disk.reserve),
            }),
            views: Some(pb::ViewsStatus {
                position: status.views.applied,
                generation: status.views.generation,
                stopped: status.views.stale.unwrap_or_default(),
                bytes_on_disk: status.views.bytes_on_disk,
                lag: status.views_lag_ms.and_then(duration),
            }),
            vault: Some(pb::VaultStatus {
                people: status.vault.people,
                pending: status.vault.pending,
                generation: status.vault.generation,
            }),
            alarms: status.alarms.into_iter().map(alarm).collect(),
            mirror: status.mirror.map(|mirror| pb::MirrorStatus {
                directory: mirror.directory.display().to_string(),
                failing: mirror.failing.unwrap_or_default(),
            }),
            ledger: Some(pb::LedgerStatus {
                origin: status.ledger.origin,
                tree_size: status.ledger.size,
                root: status.ledger.root.to_vec().into(),
                published_size: status.ledger.published.map(|(size, _)| size),
                signatures: status.ledger.published.map_or(0, |(_, count)| count as u32),
                witnessed: status.ledger.witnessed,
                diverged: status.ledger.diverged.unwrap_or_default(),
                bytes_on_disk: status.ledger.bytes_on_disk,
            }),
        }))
    }

    async fn rebuild_views(
        &self,
        request: Request<pb::RebuildViewsRequest>,
    ) -> Result<Response<Self::RebuildViewsStream>, Status> {
        let call = Call::of(&request)?;
        let (told, answers) = mpsc::channel(WAITING);
        let (app, watch) = (Arc::clone(&self.app), Stopwatch::start());
        tokio::spawn(async move {
            let telling = told.clone();
            let done = app.rebuild_views(move |done, total| {
                let progress = Some(progress(done, total, watch.elapsed()));
                // Whether or not anybody hears it: the rebuild goes on.
                let _ = telling.try_send(Ok(pb::RebuildViewsResponse { progress, finished: false }));
            });
            let last = match done.await {
                Ok(head) => Ok(pb::RebuildViewsResponse {
                    progress: Some(progress(head, head, watch.elapsed())),
                    finished: true,
                }),
                Err(error) => Err(call.status(error)),
            };
            let _ = told.send(last).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn check_storage(
        &self,
        request: Request<pb::CheckStorageRequest>,
    ) -> Result<Response<Self::CheckStorageStream>, Status> {
        let call = Call::of(&request)?;
        let compare_views = request.into_inner().compare_views;
        let (told, answers) = mpsc::channel(WAITING);
        let app = Arc::clone(&self.app);
        tokio::spawn(async move {
            let mut telling = Telling { told: told.clone(), watch: Stopwatch::start() };
            let last = match app.check_storage(compare_views, &mut telling).await {
                Ok(summary) => Ok(message(pb::check_storage_response::Message::Summary(pb::CheckSummary {
                    records: summary.records,
                    bytes: summary.bytes,
                    findings: summary.findings,
                    root: summary.root.map(|root| root.to_vec().into()).unwrap_or_default(),
                }))),
                Err(error) => Err(call.status(error)),
            };
            let _ = told.send(last).await;
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
        let question = format!("gaps {}", request.emitter);
        let skip = Token::read(&request.page_token, &question)?.unwrap_or(0);
        let size = crate::api::events::page_size(request.page_size);
        let (gaps, applied) = self.app.emitter_gaps().await?;
        let wanted = gaps
            .into_iter()
            .filter(|gap| request.emitter.is_empty() || gap.emitter.as_str() == request.emitter)
            .skip(skip as usize);
        let mut page: Vec<pb::EmitterGap> = wanted
            .take(size + 1)
            .map(|gap| pb::EmitterGap {
                emitter: gap.emitter.to_string(),
                first: gap.first,
                last: gap.last,
                noticed_at: time(gap.noticed_at),
            })
            .collect();
        let more = page.len() > size;
        page.truncate(size);
        let next = if more { Token::write(skip + size as u64, &question) } else { String::new() };
        Ok(pb::GetEmitterGapsResponse { gaps: page, next_page_token: next, computed_at: applied })
    }
}

fn alarm(alarm: Alarm) -> pb::Alarm {
    pb::Alarm {
        code: alarm.code.to_string(),
        message: alarm.message,
        way_out: alarm.way_out.to_string(),
        since: time(alarm.since),
    }
}

fn duration(ms: u64) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(Duration::from_millis(ms)).ok()
}

fn progress(done: u64, total: u64, elapsed: Duration) -> pb::Progress {
    pb::Progress { done, total, elapsed: prost_types::Duration::try_from(elapsed).ok() }
}

fn message(message: pb::check_storage_response::Message) -> pb::CheckStorageResponse {
    pb::CheckStorageResponse { message: Some(message) }
}

/// Passes a check's news on to the client.
struct Telling {
    told: mpsc::Sender<Result<pb::CheckStorageResponse, Status>>,
    watch: Stopwatch,
}

#[tonic::async_trait]
impl Watch for Telling {
    fn progress(&mut self, done: u64, total: u64) {
        let progress = progress(done, total, self.watch.elapsed());
        // A client that reads slowly misses a step.
        let _ = self.told.try_send(Ok(message(pb::check_storage_response::Message::Progress(progress))));
    }

    /// Waits for a client that reads slowly, because it must not miss one; not for one that is gone.
    async fn finding(&mut self, finding: Finding) {
        let finding = pb::StorageFinding {
            position: finding.position,
            code: finding.code.as_str().to_owned(),
            message: finding.message,
            place: finding.place,
            way_out: finding.code.way_out().to_owned(),
        };
        let _ = self.told.send(Ok(message(pb::check_storage_response::Message::Finding(finding)))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::fsck::Code;

    /// More news than may wait, for a client that reads when it likes.
    #[tokio::test]
    async fn a_slow_client_gets_every_finding_and_one_that_left_holds_nothing_up() {
        let (told, mut answers) = mpsc::channel(2);
        let mut telling = Telling { told, watch: Stopwatch::start() };
        let found = |n: u64| Finding::new(Code::LogDamage, "").at(n);
        let checking = tokio::spawn(async move {
            for n in 0..50 {
                telling.progress(n, 50);
                telling.finding(found(n)).await;
            }
            telling
        });
        let mut positions = Vec::new();
        while positions.len() < 50 {
            let answer: Result<pb::CheckStorageResponse, Status> = answers.recv().await.unwrap();
            if let Some(pb::check_storage_response::Message::Finding(finding)) = answer.unwrap().message {
                positions.extend(finding.position);
            }
            assert!(answers.len() <= 2, "no more waits than fits");
        }
        assert!(positions.iter().copied().eq(0..50));
        let mut telling = checking.await.unwrap();
        drop(answers);
        for n in 0..50 {
            telling.finding(found(n)).await;
        }
    }
}
