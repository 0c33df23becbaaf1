//! Keys: what operators see of them and do with them. No key ever passes here.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::api::guard::Call;
use crate::api::terms::time;
use crate::app::keys::{Consequences, Listed};
use crate::app::{App, Error};
use crate::clock::Stopwatch;
use crate::limits;
use crate::pb;
use crate::pb::key_service_server::{KeyService, KeyServiceServer};
use crate::vault::keyring::{Class, Description};

/// Messages that wait for a client that does not read.
const WAITING: usize = 64;

pub struct Keys {
    app: Arc<App>,
}

impl Keys {
    pub fn new(app: Arc<App>) -> Self {
        Keys { app }
    }

    pub fn into_server(self) -> KeyServiceServer<Self> {
        KeyServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl KeyService for Keys {
    type RewrapKeysStream = Answers<pb::RewrapKeysResponse>;
    type PreviewDestroyKeyStream = Answers<pb::PreviewDestroyKeyResponse>;
    type DestroyKeyStream = Answers<pb::DestroyKeyResponse>;

    async fn list_keys(
        &self,
        request: Request<pb::ListKeysRequest>,
    ) -> Result<Response<pb::ListKeysResponse>, Status> {
        let call = Call::of(&request)?;
        let keys = self.app.list_keys().await.map_err(|e| call.status(e))?;
        let keys = keys.into_iter().map(listed).collect();
        Ok(Response::new(pb::ListKeysResponse { keys, writable: self.app.keyring_is_writable() }))
    }

    async fn add_key(
        &self,
        request: Request<pb::AddKeyRequest>,
    ) -> Result<Response<pb::AddKeyResponse>, Status> {
        let call = Call::of(&request)?;
        let added = async { self.app.add_key(class(request.into_inner().class)?).await };
        let key = added.await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::AddKeyResponse { key: Some(described(key)) }))
    }

    async fn activate_key(
        &self,
        request: Request<pb::ActivateKeyRequest>,
    ) -> Result<Response<pb::ActivateKeyResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let activated = async { self.app.activate_key(class(request.class)?, request.id).await };
        let key = activated.await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::ActivateKeyResponse { key: Some(described(key)) }))
    }

    async fn rewrap_keys(
        &self,
        request: Request<pb::RewrapKeysRequest>,
    ) -> Result<Response<Self::RewrapKeysStream>, Status> {
        let call = Call::of(&request)?;
        let (told, answers) = mpsc::channel(WAITING);
        let (app, telling) = (Arc::clone(&self.app), Telling::new(told.clone()));
        tokio::spawn(async move {
            let message = |progress| pb::RewrapKeysResponse { progress: Some(progress), finished: false };
            let done = app.rewrap_keys(move |done, total| telling.tell(done, total, message)).await;
            let last = done.map(|()| pb::RewrapKeysResponse { progress: None, finished: true });
            let _ = told.send(last.map_err(|e| call.status(e))).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn preview_destroy_key(
        &self,
        request: Request<pb::PreviewDestroyKeyRequest>,
    ) -> Result<Response<Self::PreviewDestroyKeyStream>, Status> {
        use pb::preview_destroy_key_response::Message;
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let class = class(request.class).map_err(|e| call.status(e))?;
        let (told, answers) = mpsc::channel(WAITING);
        let (app, telling) = (Arc::clone(&self.app), Telling::new(told.clone()));
        let message = |message| pb::PreviewDestroyKeyResponse { message: Some(message) };
        tokio::spawn(async move {
            let progress = move |done, total| telling.tell(done, total, |p| message(Message::Progress(p)));
            let seen = app.preview_destroy_key(class, request.id, progress).await;
            let last = seen.map(|seen| message(Message::Consequences(consequences(seen))));
            let _ = told.send(last.map_err(|e| call.status(e))).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn destroy_key(
        &self,
        request: Request<pb::DestroyKeyRequest>,
    ) -> Result<Response<Self::DestroyKeyStream>, Status> {
        use pb::destroy_key_response::Message;
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let class = class(request.class).map_err(|e| call.status(e))?;
        let (told, answers) = mpsc::channel(WAITING);
        let (app, telling) = (Arc::clone(&self.app), Telling::new(told.clone()));
        let message = |message| pb::DestroyKeyResponse { message: Some(message) };
        tokio::spawn(async move {
            let progress = move |done, total| telling.tell(done, total, |p| message(Message::Progress(p)));
            let gone = app.destroy_key(class, request.id, request.confirmed, progress).await;
            let last = gone.map(|gone| message(Message::Consequences(consequences(gone))));
            let _ = told.send(last.map_err(|e| call.status(e))).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

/// Passes progress on to a client, who misses a step if it reads slowly.
struct Telling<T> {
    told: mpsc::Sender<Result<T, Status>>,
    watch: Stopwatch,
}

impl<T> Telling<T> {
    fn new(told: mpsc::Sender<Result<T, Status>>) -> Self {
        Telling { told, watch: Stopwatch::start() }
    }

    fn tell(&self, done: u64, total: u64, message: impl Fn(pb::Progress) -> T) {
        let elapsed: Duration = self.watch.elapsed();
        let elapsed = prost_types::Duration::try_from(elapsed).ok();
        let _ = self.told.try_send(Ok(message(pb::Progress { done, total, elapsed })));
    }
}

fn class(number: i32) -> Result<Class, Error> {
    use pb::KeyringClass as Wire;
    Ok(match Wire::try_from(number).unwrap_or(Wire::Unspecified) {
        Wire::Unspecified => return Err(Error::invalid("class", "is required")),
        Wire::Kek => Class::Kek,
        Wire::Index => Class::Index,
        Wire::Lookup => Class::Lookup,
        Wire::Fingerprint => Class::Fingerprint,
        Wire::EvidenceLookup => Class::EvidenceLookup,
        Wire::Checkpoint => Class::Checkpoint,
        Wire::Manifest => Class::Manifest,
    })
}

/// The class as the API has it.
pub fn wire_class(class: Class) -> pb::KeyringClass {
    match class {
        Class::Kek => pb::KeyringClass::Kek,
        Class::Index => pb::KeyringClass::Index,
        Class::Lookup => pb::KeyringClass::Lookup,
        Class::Fingerprint => pb::KeyringClass::Fingerprint,
        Class::EvidenceLookup => pb::KeyringClass::EvidenceLookup,
        Class::Checkpoint => pb::KeyringClass::Checkpoint,
        Class::Manifest => pb::KeyringClass::Manifest,
    }
}

fn described(key: Description) -> pb::Key {
    pb::Key {
        class: wire_class(key.class) as i32,
        id: key.id,
        name: crate::app::keys::name(key.class, key.id),
        created: time(key.created),
        active: key.active,
        activated: key.activated.and_then(time),
        replaced: key.replaced.and_then(time),
        needed_by: None,
        destroyed: None,
    }
}

fn listed(listed: Listed) -> pb::Key {
    let destroyed = listed.destroyed.and_then(time);
    let key = described(listed.key);
    let created = key.created.filter(|_| destroyed.is_none());
    pb::Key { needed_by: listed.needed_by, created, destroyed, ..key }
}

fn consequences(seen: Consequences) -> pb::KeyConsequences {
    pb::KeyConsequences { refused: seen.refused.unwrap_or_default(), lost: seen.lost }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_goes_there_and_back() {
        for known in Class::ALL {
            assert_eq!(class(wire_class(known) as i32).unwrap(), known);
        }
        assert_eq!(class(0).unwrap_err().reason(), "invalid_request");
        assert_eq!(class(99).unwrap_err().reason(), "invalid_request");
    }
}
