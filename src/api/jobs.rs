//! The clock's jobs: when they are due, how they ended, and a run at once. The only service that asks another
//! driver, because only the driver of jobs knows what is due.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::api::convert::Violations;
use crate::api::events::{done, instant, page_size};
use crate::api::guard::Call;
use crate::api::page::Token;
use crate::api::terms::{maybe, number, time};
use crate::app::jobs::{Counts, Run};
use crate::app::{App, Error};
use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::jobs::{Driver, Standing};
use crate::limits;
use crate::pb;
use crate::pb::job_service_server::{JobService, JobServiceServer};

pub struct Jobs {
    app: Arc<App>,
    driver: Arc<Driver>,
}

impl Jobs {
    pub fn new(app: Arc<App>, driver: Arc<Driver>) -> Self {
        Jobs { app, driver }
    }

    pub fn into_server(self) -> JobServiceServer<Self> {
        JobServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl JobService for Jobs {
    async fn list_jobs(
        &self,
        request: Request<pb::ListJobsRequest>,
    ) -> Result<Response<pb::ListJobsResponse>, Status> {
        let call = Call::of(&request)?;
        let standing = self.driver.standing().await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::ListJobsResponse { jobs: standing.into_iter().map(job).collect() }))
    }

    async fn run_job(
        &self,
        request: Request<pb::RunJobRequest>,
    ) -> Result<Response<pb::RunJobResponse>, Status> {
        let call = Call::of(&request)?;
        let run = self.run(request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::RunJobResponse { run: Some(run) }))
    }

    async fn list_job_runs(
        &self,
        request: Request<pb::ListJobRunsRequest>,
    ) -> Result<Response<pb::ListJobRunsResponse>, Status> {
        let call = Call::of(&request)?;
        let page = self.runs(request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(page))
    }
}

impl Jobs {
    async fn run(&self, request: pb::RunJobRequest) -> Result<pb::JobRun, Error> {
        let mut violations = Violations::new();
        let as_of = instant(request.as_of, "as_of", &mut violations);
        done(violations)?;
        let (driver, name) = (Arc::clone(&self.driver), request.name);
        // A task of its own: a caller who leaves ends no run half-way.
        let running = tokio::spawn(async move {
            match as_of {
                None => driver.run_by_hand(&name).await.map(run),
                Some(as_of) => {
                    let counts = driver.dry_run(&name, as_of).await?;
                    Ok(dry(name, as_of, driver.head(), counts))
                }
            }
        });
        running.await.unwrap_or_else(|died| Err(Error::fault("job_died", died)))
    }

    async fn runs(&self, request: pb::ListJobRunsRequest) -> Result<pb::ListJobRunsResponse, Error> {
        let question = format!("job runs {}", request.job);
        let job = match request.job.as_str() {
            "" => None,
            name => Some(name.parse::<Id>().map_err(|why| Error::invalid("job", why))?),
        };
        let before = Token::read(&request.page_token, &question)?;
        let size = page_size(request.page_size);
        let (runs, next, computed_at) = self.app.job_runs(job, before, size, request.at_least).await?;
        Ok(pb::ListJobRunsResponse {
            runs: runs.into_iter().map(run).collect(),
            next_page_token: next.map(|at| Token::write(at, &question)).unwrap_or_default(),
            computed_at,
        })
    }
}

fn job(standing: Standing) -> pb::Job {
    let schedule = standing.schedule.as_ref();
    pb::Job {
        name: standing.name.to_owned(),
        schedule: schedule.map_or("off", |schedule| schedule.text()).to_owned(),
        tz: schedule.map(|schedule| schedule.zone().to_string()).unwrap_or_default(),
        next_run: standing.next.and_then(time),
        last_run: standing.last.map(run),
    }
}

fn run(run: Run) -> pb::JobRun {
    let Run { position, ran } = run;
    let count =
        |tally: &crate::domain::event::Tally| pb::Tally { name: tally.name.to_string(), count: tally.count };
    pb::JobRun {
        job: maybe(&ran.job),
        scheduled_for: ran.scheduled_for.and_then(time),
        started_at: ran.started_at.and_then(time),
        ended_at: ran.ended_at.and_then(time),
        outcome: number(ran.outcome),
        counts: ran.counts.iter().map(count).collect(),
        computed_at: ran.computed_at.unwrap_or_default(),
        position,
    }
}

fn dry(job: String, as_of: Timestamp, computed_at: u64, counts: Counts) -> pb::JobRun {
    let count = |(name, count): (&str, u64)| pb::Tally { name: name.to_owned(), count };
    pb::JobRun {
        job,
        scheduled_for: time(as_of),
        counts: counts.into_iter().map(count).collect(),
        computed_at,
        ..Default::default()
    }
}
