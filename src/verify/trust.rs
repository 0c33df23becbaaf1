//! Whose log it is, who saw it, and whether it only grew: all judged by what the verifier brought.

use super::files::Files;
use super::manifest::{CHECKPOINT, Manifest};
use super::report::{Claim, Report, Verdict};
use super::{Options, Stop, Trust, malformed};
use crate::ledger::tlog::policy::Judgement;
use crate::ledger::tlog::{ConsistencyFile, Hash, KeyKind, Note, Policy, SignedCheckpoint, VerifierKey};

/// A clock may differ from a witness's by this much, in milliseconds.
const SKEW_MS: i64 = 5 * 60 * 1000;

/// Whether the manifest is signed by a key that the verifier brought, and by nobody else.
pub(super) fn manifest(manifest: &Manifest, note: &Note, trust: &Trust) -> Verdict {
    let name = Manifest::key_name(&manifest.origin);
    let logs = trust.policy.iter().flat_map(|policy| &policy.logs).map(|log| &log.key);
    let fits = |key: &&VerifierKey| key.name() == name && key.kind() == KeyKind::Text;
    let brought: Vec<VerifierKey> = logs.filter(fits).chain(&trust.manifest_key).cloned().collect();
    if note.signatures.len() != 1 {
        return Verdict::Failed("the manifest has not exactly one signature".to_owned());
    }
    if brought.is_empty() {
        return Verdict::Unproven(format!(
            "no key of {name} was given: what the manifest says of filter, counts and reasons is nobody's word"
        ));
    }
    if let Some(other) = brought.iter().find(|key| !fits(key)) {
        return Verdict::Failed(format!(
            "the key given is of {}, the manifest is signed as {name}",
            other.name()
        ));
    }
    match note.verify(&brought) {
        Ok(_) => Verdict::Proven(format!("signed by {name}")),
        Err(why) => Verdict::Failed(why.to_string()),
    }
}

pub(super) fn checkpoint(files: &mut Files<'_>, manifest: &Manifest) -> Result<SignedCheckpoint, Stop> {
    let bytes = files.small(CHECKPOINT)?.ok_or_else(|| malformed(CHECKPOINT, "is missing"))?;
    let parsed = SignedCheckpoint::parse(&bytes).map_err(|why| malformed(CHECKPOINT, &why.to_string()))?;
    if parsed.checkpoint.origin != manifest.origin {
        let why = format!("the manifest speaks of {}, the checkpoint is another log's", manifest.origin);
        return Err(Stop::Failed(Claim::Signature, why));
    }
    Ok(parsed)
}

/// Signature and witnesses of the checkpoint. One that nobody trusted has signed ends everything.
pub(super) fn signature(
    checkpoint: &SignedCheckpoint,
    trust: &Trust,
    options: &Options,
    report: &mut Report,
) -> Result<(), Stop> {
    let Some(policy) = &trust.policy else {
        report.set(Claim::Signature, Verdict::Unproven("no policy and no key were given".to_owned()));
        let unknown = "no policy names a witness".to_owned();
        let asked = options.max_age.is_some();
        let verdict = if asked { Verdict::Unproven(unknown) } else { Verdict::NotAsked(unknown) };
        report.set(Claim::Witnesses, verdict);
        return Ok(());
    };
    let head = &checkpoint.checkpoint;
    let judged = policy.judge(checkpoint).map_err(|why| {
        Stop::Failed(Claim::Signature, format!("{why}; the checkpoint speaks for {}", head.origin))
    })?;
    let signed = format!("{} with {} events, signed by its key", head.origin, head.size);
    report.set(Claim::Signature, Verdict::Proven(signed));
    report.set(Claim::Witnesses, witnesses(policy, &judged, options));
    Ok(())
}

fn witnesses(policy: &Policy, judged: &Judgement, options: &Options) -> Verdict {
    let now = options.now.ms();
    let age =
        |seconds: u64| now.saturating_sub(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000));
    let fresh = |seconds: u64| {
        let age = age(seconds);
        age >= -SKEW_MS && options.max_age.is_none_or(|most| age <= most)
    };
    let enough: Vec<usize> = judged.witnesses.iter().filter(|(_, at)| fresh(*at)).map(|(w, _)| *w).collect();
    let newest = judged.witnesses.iter().map(|(_, at)| age(*at)).min();
    let newest = newest.map_or(String::new(), |ms| format!(", the newest {} minutes old", ms / 60_000));
    let said = format!("{} of {} have cosigned{newest}", judged.witnesses.len(), policy.witnesses.len());
    if !policy.asks_for_witnesses() && options.max_age.is_none() {
        return Verdict::NotAsked(format!("the policy asks for none; {said}"));
    }
    if !policy.is_quorum(&enough) || enough.is_empty() {
        let counted = enough.len();
        return Verdict::Unproven(format!("{said}; {counted} of them count, which are not enough"));
    }
    Verdict::Proven(said)
}

/// Whether the tree began with the one that the verifier kept. `then` is the root that the events
/// of the bundle lead to at that size, where they reach it. A contradiction accuses the operator, so
/// it takes two checkpoints that the log signed, and either the events themselves or a proof that the
/// manifest's signature vouches for: a stranger could put a broken proof into a bundle.
pub(super) fn append_only(
    files: &mut Files<'_>,
    shown: &SignedCheckpoint,
    trust: &Trust,
    then: Option<Hash>,
    vouched: bool,
) -> Result<Verdict, Stop> {
    let Some(kept) = &trust.since else {
        return Ok(Verdict::NotAsked(
            "no earlier checkpoint was given; keep this one for the next time".to_owned(),
        ));
    };
    let (old, new) = (&kept.checkpoint, &shown.checkpoint);
    if let Some(why) = not_comparable(kept, shown, trust) {
        return Ok(Verdict::Unproven(why));
    }
    let direct = Some(new.root).filter(|_| old.size == new.size).or(then);
    let agrees = match direct {
        Some(root) => root == old.root,
        None => {
            let name = format!("consistency/{}-{}", old.size, new.size);
            match consistency(files, &name, old.size, shown)? {
                Some(file) => file.check(&old.root).is_ok(),
                None => return Ok(Verdict::Unproven(format!("the bundle has no {name}: ask for it"))),
            }
        }
    };
    if agrees {
        let said = format!("grown from {} to {} events, nothing before changed", old.size, new.size);
        return Ok(Verdict::Proven(said));
    }
    if trust.policy.is_none() || !(direct.is_some() || vouched) {
        let why = "the proof of growth does not hold, and whose it is was not proven: the bundle is damaged, or worse";
        return Ok(Verdict::Failed(why.to_owned()));
    }
    let why = format!("the first {} events are not those of the checkpoint you keep", old.size);
    Ok(Verdict::Contradicts { why, kept: kept.to_string(), shown: shown.to_string() })
}

/// Why a kept checkpoint says nothing about this bundle.
fn not_comparable(kept: &SignedCheckpoint, shown: &SignedCheckpoint, trust: &Trust) -> Option<String> {
    let (old, new) = (&kept.checkpoint, &shown.checkpoint);
    if old.origin != new.origin {
        return Some(format!("the checkpoint you keep is of {}, another log", old.origin));
    }
    if trust.policy.as_ref().is_some_and(|policy| policy.judge(kept).is_err()) {
        return Some("the checkpoint you keep is not signed by a log you trust".to_owned());
    }
    let (had, has) = (old.size, new.size);
    (had > has).then(|| format!("the bundle is older ({has} events) than the checkpoint you keep ({had})"))
}

/// A consistency file of the bundle. It has to carry the bundle's own checkpoint.
pub(super) fn consistency(
    files: &mut Files<'_>,
    name: &str,
    old: u64,
    shown: &SignedCheckpoint,
) -> Result<Option<ConsistencyFile>, Stop> {
    let Some(bytes) = files.small(name)? else { return Ok(None) };
    let file = ConsistencyFile::parse(&bytes).map_err(|why| malformed(name, &why.to_string()))?;
    if file.checkpoint != *shown || file.old != old {
        return Err(malformed(name, "is about other checkpoints").into());
    }
    Ok(Some(file))
}
