//! The client of `tlog-witness`: every new checkpoint is shown to the configured witnesses, and what
//! they cosign is carried in it.
//!
//! Promises: a witness that is down, slow or refuses changes nothing but what is said of it;
//! recording and signing go on. What it refused with is kept as evidence, beside the outside copy's
//! checkpoints, because it may be the first to notice that this log contradicts itself. A crash
//! loses cosignatures that were not yet kept; the next checkpoint asks again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::http::{Answer, Client};
use super::tlog::{ConsistencyFile, Policy, SignedCheckpoint, VerifierKey, decimal, proof};
use super::{Error, Ledger};
use crate::telemetry::metrics;

/// Files of evidence that are kept; a witness that refuses for ever must not fill the disk.
const EVIDENCE: usize = 1_000;

/// Who is asked to cosign.
#[derive(Debug, Clone)]
pub struct Witnesses {
    policy: Arc<Policy>,
    client: Client,
    /// The size of the tree that each has cosigned last, as far as is known.
    seen: Arc<Mutex<BTreeMap<usize, u64>>>,
    /// One round at a time; a slow witness delays its own next question only.
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// What one witness answered that is no cosignature.
struct Refusal {
    why: String,
    /// The whole exchange, where it may show that the log contradicts itself.
    evidence: Option<String>,
    outcome: &'static str,
}

impl Refusal {
    fn of(outcome: &'static str, why: impl ToString) -> Refusal {
        Refusal { why: why.to_string(), evidence: None, outcome }
    }
}

impl Witnesses {
    /// The witnesses of a policy; those without an address cannot be asked.
    pub fn new(policy: Policy, client: Client) -> Result<Witnesses, String> {
        let urls = policy.witnesses.iter().filter_map(|witness| witness.url.as_deref());
        urls.map(|url| client.can_reach(url)).collect::<Result<Vec<_>, _>>()?;
        Ok(Witnesses { policy: Arc::new(policy), client, seen: Arc::default(), asking: Arc::default() })
    }

    /// Whether those who have cosigned are a quorum.
    pub fn are_enough(&self, checkpoint: &SignedCheckpoint) -> bool {
        let cosigned = |number: &usize| self.has_cosigned(*number, checkpoint);
        let cosigned: Vec<usize> = (0..self.policy.witnesses.len()).filter(cosigned).collect();
        self.policy.is_quorum(&cosigned)
    }

    fn has_cosigned(&self, number: usize, checkpoint: &SignedCheckpoint) -> bool {
        let key = &self.policy.witnesses[number].key;
        checkpoint.note.verify(std::slice::from_ref(key)).is_ok()
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, u64>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// Shows the newest checkpoint to all witnesses that have not cosigned it, and keeps what they
    /// answer. Never fails: what went wrong is said in the status and in the log.
    pub async fn ask_witnesses(self: &Arc<Self>) {
        let Some(witnesses) = self.options.witnesses.clone() else { return };
        let _asking = witnesses.asking.lock().await;
        let Some(latest) = self.latest() else { return };
        let wanted = |number: &usize| {
            witnesses.policy.witnesses[*number].url.is_some() && !witnesses.has_cosigned(*number, &latest)
        };
        let wanted: Vec<usize> = (0..witnesses.policy.witnesses.len()).filter(wanted).collect();
        let asked = wanted.iter().map(|number| self.ask(&witnesses, *number, &latest));
        let answers = futures_util::future::join_all(asked).await;
        let mut cosigned = SignedCheckpoint::clone(&latest);
        let mut adopted = 0;
        for (number, answer) in wanted.into_iter().zip(answers) {
            let key = &witnesses.policy.witnesses[number].key;
            let outcome = answer.and_then(|lines| adopt(&mut cosigned, &lines, key));
            adopted += usize::from(outcome.is_ok());
            self.note_answer(key.name(), latest.checkpoint.size, outcome);
        }
        if adopted > 0 {
            let (ledger, cosigned) = (Arc::clone(self), Arc::new(cosigned));
            let kept = tokio::task::spawn_blocking(move || ledger.keep(&cosigned)).await;
            if let Ok(Err(error)) = kept {
                tracing::warn!(%error, "cosignatures could not be kept");
            }
        }
    }

    /// One witness. What it has cosigned last it tells when asked with another size.
    async fn ask(
        &self,
        witnesses: &Witnesses,
        number: usize,
        latest: &SignedCheckpoint,
    ) -> Result<String, Refusal> {
        let url = witnesses.policy.witnesses[number].url.as_deref().unwrap_or_default();
        let url = format!("{}/add-checkpoint", url.trim_end_matches('/'));
        let size = latest.checkpoint.size;
        let mut old = witnesses.seen().get(&number).copied().unwrap_or(0);
        for attempt in 0..2 {
            let request = self.request(old, latest).map_err(|why| Refusal::of("no_proof", why))?;
            let answer = witnesses.client.post(&url, request.clone()).await;
            let answer = answer.map_err(|why| Refusal::of("unreachable", why))?;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            match (answer.status, decimal(text.trim_end())) {
                (200, _) => {
                    witnesses.seen().insert(number, size);
                    return Ok(text);
                }
                (409, Some(theirs)) if theirs != old && theirs <= size && attempt == 0 => old = theirs,
                _ => return Err(refused(&answer, &text, &request, size)),
            }
        }
        Err(Refusal::of("refused", "it names another size each time"))
    }

    fn request(&self, old: u64, latest: &SignedCheckpoint) -> Result<String, Error> {
        let path = proof::consistency(old, latest.checkpoint.size, &self.hashes)?;
        Ok(ConsistencyFile { old, path, checkpoint: latest.clone() }.to_string())
    }

    fn note_answer(&self, name: &str, size: u64, answer: Result<(), Refusal>) {
        let outcome = answer.as_ref().err().map_or("cosigned", |refusal| refusal.outcome);
        ::metrics::counter!(metrics::WITNESS_ANSWERS, "outcome" => outcome).increment(1);
        let Err(refusal) = answer else {
            self.change_standing(|standing| standing.refusals.remove(name));
            return;
        };
        tracing::warn!(witness = name, size, why = refusal.why, "a witness has not cosigned");
        if let Some(evidence) = &refusal.evidence
            && let Err(error) = keep_evidence(&self.options.outside.join("evidence"), name, size, evidence)
        {
            tracing::error!(%error, "evidence could not be kept");
        }
        self.change_standing(|standing| standing.refusals.insert(name.to_owned(), refusal.why));
    }
}

/// 409 and 422 may mean that this log contradicts what the witness has seen of it.
fn refused(answer: &Answer, text: &str, request: &str, size: u64) -> Refusal {
    let said: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    let (outcome, why) = match answer.status {
        409 => {
            ("conflict", format!("409: it has seen another tree than ours of {size} records; it says {said}"))
        }
        422 => ("inconsistent", "422: our tree is not a continuation of what it has seen".to_owned()),
        status => ("refused", format!("{status} {said}")),
    };
    let exchange = || format!("request:\n{request}\nanswer {}:\n{text}\n", answer.status);
    let evidence = matches!(answer.status, 409 | 422).then(exchange);
    Refusal { why, evidence, outcome }
}

fn adopt(cosigned: &mut SignedCheckpoint, lines: &str, key: &VerifierKey) -> Result<(), Refusal> {
    match cosigned.note.adopt(lines, std::slice::from_ref(key)) {
        Ok(0) => Err(Refusal::of("bad_signature", "its answer holds no signature of its key")),
        Ok(_) => Ok(()),
        Err(why) => Err(Refusal::of("bad_signature", why)),
    }
}

fn keep_evidence(dir: &Path, name: &str, size: u64, text: &str) -> Result<(), Error> {
    let kept = std::fs::read_dir(dir).map_or(0, Iterator::count);
    if kept >= EVIDENCE {
        return Ok(());
    }
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
    let name: String = name.chars().map(safe).take(100).collect();
    super::keep_file(&dir.join(format!("{size:020}-{name}.refusal")), text.as_bytes())
}
