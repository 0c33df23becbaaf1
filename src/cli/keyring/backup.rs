//! `custody keyring backup`: a copy of the keyring, recorded in the log.

use std::path::Path;
use std::sync::Arc;

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::disk::FileSystem;
use crate::server::Node;
use crate::vault::keyring;

/// A copy of the keyring is a copy of every key, so the log has to say that there is one. A service
/// that runs holds the directory's lock: it is stopped for this, because no RPC hands out keys, not
/// even to a file of the operator's choice.
pub(super) async fn backup(config: &Config, file: &Path, output: Output) -> Outcome {
    let (offline, clock) = (config.clone(), Arc::new(SystemClock) as Arc<dyn Clock>);
    let node = tokio::task::spawn_blocking(move || {
        let probe = Arc::new(FileSystem(offline.data.directory.clone()));
        Node::open(&offline, &clock, probe)
    });
    let node = node.await.map_err(|e| Failure::new(Exit::Internal, e))?.map_err(Failure::configuration)?;
    let outcome = copy(&node, file, output).await;
    let closed = tokio::task::spawn_blocking(move || node.close()).await;
    closed.map_err(|e| Failure::new(Exit::Internal, e))?.map_err(Failure::configuration)?;
    outcome
}

/// The copy first: what is recorded is there. Where it cannot be recorded there is no copy.
async fn copy(node: &Node, file: &Path, output: Output) -> Outcome {
    let digest = node.app.copy_keyring(file).map_err(refused)?;
    let expires_at = match node.app.note_keyring_copy().await {
        Ok(expires_at) => expires_at,
        Err(error) => {
            crate::durable::forget(file)?;
            let cause = error.chain().map_or(String::new(), |chain| format!(": {chain}"));
            let why = format!("the copy cannot be recorded in the log, so none was made: {error}{cause}");
            return Err(Failure::new(Exit::Refused, why));
        }
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let vault = hex(&node.app.vault_id());
    if output.json {
        let value = serde_json::json!({
            "file": file, "vault": vault, "sha256": hex(&digest.0), "replace_by": expires_at,
        });
        return Ok(output.line(&value.to_string())?);
    }
    Ok(output.facts(&[
        ("copy", file.display().to_string()),
        ("vault", vault),
        ("SHA-256", hex(&digest.0)),
        ("destroy and replace by", expires_at.to_string()),
    ])?)
}

fn refused(error: keyring::Error) -> Failure {
    Failure::new(Exit::Refused, format_args!("{:#}", anyhow::Error::new(error)))
}
