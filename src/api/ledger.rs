//! Checkpoints and proofs.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::api::events::page_size;
use crate::api::guard::Call;
use crate::api::page::Token;
use crate::app::ledger::{Kept, Which};
use crate::app::{App, Error};
use crate::domain::id::Digest;
use crate::ledger::tlog::{ConsistencyFile, Hash, SignedCheckpoint};
use crate::limits;
use crate::pb;
use crate::pb::ledger_service_server::{LedgerService, LedgerServiceServer};

pub struct Ledger {
    app: Arc<App>,
}

impl Ledger {
    pub fn new(app: Arc<App>) -> Self {
        Ledger { app }
    }

    pub fn into_server(self) -> LedgerServiceServer<Self> {
        LedgerServiceServer::new(self).max_decoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl LedgerService for Ledger {
    async fn get_checkpoint(
        &self,
        request: Request<pb::GetCheckpointRequest>,
    ) -> Result<Response<pb::GetCheckpointResponse>, Status> {
        let call = Call::of(&request)?;
        let kept = self.app.checkpoint(request.into_inner().tree_size).await;
        let kept = kept.map_err(|e| call.status(e))?;
        let keys = self.app.verifier_keys().map_err(|e| call.status(e))?;
        Ok(Response::new(pb::GetCheckpointResponse {
            checkpoint: Some(checkpoint(&kept)),
            verifier_keys: keys.iter().map(ToString::to_string).collect(),
            manifest_key: self.app.manifest_key().map(|key| key.to_string()).unwrap_or_default(),
        }))
    }

    async fn publish_checkpoint(
        &self,
        request: Request<pb::PublishCheckpointRequest>,
    ) -> Result<Response<pb::PublishCheckpointResponse>, Status> {
        let call = Call::of(&request)?;
        let kept = self.app.publish().await.map_err(|e| call.status(e))?;
        Ok(Response::new(pb::PublishCheckpointResponse { checkpoint: Some(checkpoint(&kept)) }))
    }

    async fn list_checkpoints(
        &self,
        request: Request<pb::ListCheckpointsRequest>,
    ) -> Result<Response<pb::ListCheckpointsResponse>, Status> {
        let call = Call::of(&request)?;
        let page = self.list(request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(page))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<pb::GetInclusionProofRequest>,
    ) -> Result<Response<pb::GetInclusionProofResponse>, Status> {
        let call = Call::of(&request)?;
        let proof = self.inclusion(request.into_inner()).await.map_err(|e| call.status(e))?;
        Ok(Response::new(proof))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<pb::GetConsistencyProofRequest>,
    ) -> Result<Response<pb::GetConsistencyProofResponse>, Status> {
        let call = Call::of(&request)?;
        let pb::GetConsistencyProofRequest { old_size, new_size } = request.into_inner();
        let growth = self.app.growth(old_size, new_size).await.map_err(|e| call.status(e))?;
        let file = growth.checkpoint.clone().map(|checkpoint| {
            ConsistencyFile { old: growth.old, path: growth.path.clone(), checkpoint }.to_string()
        });
        Ok(Response::new(pb::GetConsistencyProofResponse {
            old_size: growth.old,
            old_root: bytes(&growth.old_root),
            new_size: growth.new,
            new_root: bytes(&growth.new_root),
            hashes: growth.path.iter().map(bytes).collect(),
            checkpoint: growth.checkpoint.map(|found| checkpoint(&self.kept(found))),
            consistency_file: file.unwrap_or_default(),
        }))
    }
}

impl Ledger {
    fn kept(&self, checkpoint: SignedCheckpoint) -> Kept {
        self.app.judged(checkpoint)
    }

    async fn list(&self, request: pb::ListCheckpointsRequest) -> Result<pb::ListCheckpointsResponse, Error> {
        let question = "checkpoints";
        let below = Token::read(&request.page_token, question)?.unwrap_or(u64::MAX);
        let size = page_size(request.page_size);
        let page = self.app.checkpoints(below, size).await?;
        let last = page.last().filter(|_| page.len() == size).map(|kept| kept.checkpoint.checkpoint.size);
        Ok(pb::ListCheckpointsResponse {
            checkpoints: page.iter().map(checkpoint).collect(),
            next_page_token: last.map(|last| Token::write(last, question)).unwrap_or_default(),
        })
    }

    async fn inclusion(
        &self,
        request: pb::GetInclusionProofRequest,
    ) -> Result<pb::GetInclusionProofResponse, Error> {
        let proof = self.app.inclusion(which(request.event)?, request.tree_size).await?;
        Ok(pb::GetInclusionProofResponse {
            tlog_proof: proof.file.to_string(),
            position: proof.file.index,
            leaf_hash: bytes(&proof.leaf),
            hashes: proof.file.path.iter().map(bytes).collect(),
            checkpoint: Some(checkpoint(&self.kept(proof.file.checkpoint))),
        })
    }
}

fn which(event: Option<pb::get_inclusion_proof_request::Event>) -> Result<Which, Error> {
    use pb::get_inclusion_proof_request::Event;
    match event {
        Some(Event::Position(position)) => Ok(Which::Position(position)),
        Some(Event::EventName(name)) => {
            let emitter = name.emitter.parse().map_err(|why| Error::invalid("event_name.emitter", why))?;
            let id = name.event_id.parse().map_err(|why| Error::invalid("event_name.event_id", why))?;
            Ok(Which::Name(emitter, id))
        }
        Some(Event::Receipt(receipt)) => {
            let hash: Hash = receipt.leaf_hash[..]
                .try_into()
                .map_err(|_| Error::invalid("receipt.leaf_hash", "is not 32 bytes"))?;
            Ok(Which::Receipt { position: receipt.position, leaf_hash: Digest(hash) })
        }
        None => Err(Error::invalid("event", "is required")),
    }
}

fn checkpoint(kept: &Kept) -> pb::Checkpoint {
    let head = &kept.checkpoint.checkpoint;
    pb::Checkpoint {
        origin: head.origin.clone(),
        tree_size: head.size,
        root: bytes(&head.root),
        note: kept.checkpoint.to_string(),
        witnessed: kept.witnessed,
    }
}

fn bytes(hash: &Hash) -> prost::bytes::Bytes {
    prost::bytes::Bytes::copy_from_slice(hash)
}
