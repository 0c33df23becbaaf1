//! Backups: made, watched, listed.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::api::guard::Call;
use crate::api::terms::time;
use crate::app::App;
use crate::backup::Manifest;
use crate::clock::Stopwatch;
use crate::limits;
use crate::pb;
use crate::pb::backup_service_server::{BackupService, BackupServiceServer};
use crate::pb::create_backup_response::Message;

/// Messages that wait for a client that does not read.
const WAITING: usize = 64;

pub struct Backups {
    app: Arc<App>,
}

impl Backups {
    pub fn new(app: Arc<App>) -> Self {
        Backups { app }
    }

    pub fn into_server(self) -> BackupServiceServer<Self> {
        BackupServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl BackupService for Backups {
    type CreateBackupStream = Pin<Box<dyn Stream<Item = Result<pb::CreateBackupResponse, Status>> + Send>>;

    async fn create_backup(
        &self,
        request: Request<pb::CreateBackupRequest>,
    ) -> Result<Response<Self::CreateBackupStream>, Status> {
        let call = Call::of(&request)?;
        let (told, answers) = mpsc::channel(WAITING);
        let (app, telling, watch) = (Arc::clone(&self.app), told.clone(), Stopwatch::start());
        tokio::spawn(async move {
            let made = app.create_backup(Arc::new(move |done, total| {
                let elapsed = prost_types::Duration::try_from(watch.elapsed()).ok();
                let progress = Message::Progress(pb::Progress { done, total, elapsed });
                // Whether or not anybody hears it: the backup goes on.
                let _ = telling.try_send(Ok(pb::CreateBackupResponse { message: Some(progress) }));
            }));
            let last = match made.await {
                Ok(made) => Ok(pb::CreateBackupResponse { message: Some(Message::Backup(backup(made))) }),
                Err(error) => Err(call.status(error)),
            };
            let _ = told.send(last).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn list_backups(
        &self,
        request: Request<pb::ListBackupsRequest>,
    ) -> Result<Response<pb::ListBackupsResponse>, Status> {
        let call = Call::of(&request)?;
        let backups = self.app.backups().await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::ListBackupsResponse { backups: backups.into_iter().map(backup).collect() }))
    }
}

fn backup((directory, manifest): (PathBuf, Manifest)) -> pb::Backup {
    let (bytes, reused_bytes) = manifest.sizes();
    pb::Backup {
        directory: directory.display().to_string(),
        head: manifest.head,
        kek_epoch: manifest.kek_epoch,
        created_at: time(manifest.created_at),
        expires_at: time(manifest.expires_at),
        origin: manifest.origin,
        bytes,
        reused_bytes,
    }
}
