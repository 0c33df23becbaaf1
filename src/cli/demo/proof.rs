//! The demo's end: a bundle of the whole month, checked as a stranger would, and how to check it
//! without any program of ours.

use std::path::Path;

use crate::cli::client::Client;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::{export, verify};
use crate::clock::{Clock, SystemClock};
use crate::ledger::tlog::{Policy, VerifierKey};
use crate::pb;
use crate::verify::{Options, Trust};

/// The keys come from the service here; a stranger has them from elsewhere.
pub async fn show(client: &Client, data_dir: &Path, output: Output) -> Outcome {
    let bundle = data_dir.with_extension("bundle");
    if bundle.exists() {
        // Of the demo's last run.
        std::fs::remove_dir_all(&bundle)?;
    }
    let cover = pb::ExportCover {
        authority: "国家互联网信息办公室 (a demonstration)".to_owned(),
        legal_power: "PIPL 63; GDPR 58(1)(a)".to_owned(),
        ..Default::default()
    };
    export::whole(client, cover, &bundle, output).await?;

    let request = pb::GetCheckpointRequest::default();
    let keys = client.ledger().get_checkpoint(request).await?.into_inner();
    let of_log = keys.verifier_keys.first().cloned().unwrap_or_default();
    let wrong = |why| Failure::new(Exit::Internal, format_args!("a key of the service: {why}"));
    let trust = Trust {
        policy: Some(Policy::of_log(of_log.parse::<VerifierKey>().map_err(wrong)?)),
        manifest_key: Some(keys.manifest_key.parse().map_err(wrong)?),
        since: None,
    };
    if !output.json {
        output.heading("What a stranger can check / 供外部核验")?;
    }
    verify::judge(&bundle, &trust, &Options { now: SystemClock.now(), ..Options::default() }, output)?;
    if !output.json {
        output.heading("The same with openssl alone: some minutes for the tree / 仅用 openssl 核验")?;
        output.line(&format!("cd {} &&", bundle.display()))?;
        output.line(&format!("  export KEY='{of_log}' EXPORTKEY='{}' &&", keys.manifest_key))?;
        output.line("  sed -n 's/^    //p' README.txt | sh")?;
    }
    Ok(())
}
