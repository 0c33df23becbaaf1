//! What addressees say became of instructions. One that is malformed is refused by itself, with every field that is
//! wrong.

use crate::api::convert::{Field, Path, Value, Violations};
use crate::api::events::{done, read};
use crate::api::guard::Call;
use crate::api::instructions::{Instructions, refusal, several};
use crate::api::terms::maybe;
use crate::app::Error;
use crate::app::instructions::{Acknowledged, Acknowledgement, Done};
use crate::domain::event::catalogue::InstructionAcknowledged;
use crate::domain::event::{Closed, ErasureMethod, InstructionOutcome, Verification};
use crate::domain::id::{Digest, Id};
use crate::domain::time::Timestamp;
use crate::limits;
use crate::pb;

impl Instructions {
    pub(super) async fn acknowledge(
        &self,
        call: &Call,
        request: pb::AcknowledgeInstructionRequest,
    ) -> Result<pb::AcknowledgeInstructionResponse, Error> {
        let addressee = read("addressee", &request.addressee)?;
        several("acknowledgements", request.acknowledgements.len())?;
        let ids: Vec<String> =
            request.acknowledgements.iter().map(|one| one.instruction_id.clone()).collect();
        let answers: Vec<Result<Acknowledgement, Error>> =
            request.acknowledgements.into_iter().map(acknowledgement).collect();
        let well_formed = answers.iter().filter_map(|answer| answer.as_ref().ok()).cloned().collect();
        let mut taken =
            self.app.acknowledge_instructions(&call.caller, &addressee, well_formed).await?.into_iter();
        let results = ids.into_iter().zip(answers).map(|(id, answer)| {
            let result = match answer {
                Ok(_) => taken.next().unwrap_or_else(|| Err(Error::internal("no_answer"))),
                Err(error) => Err(error),
            };
            told(id, result)
        });
        Ok(pb::AcknowledgeInstructionResponse { results: results.collect() })
    }
}

fn acknowledgement(wire: pb::InstructionAcknowledgement) -> Result<Acknowledgement, Error> {
    // An id that is none was given to nobody.
    let id = wire.instruction_id.parse().map_err(|_| Error::InstructionNotFound)?;
    how(id, wire)
}

/// What became of it, and how.
pub(super) fn how(id: Id, wire: pb::InstructionAcknowledgement) -> Result<Acknowledgement, Error> {
    let root = Path::ROOT;
    let mut violations = Violations::new();
    if wire.outcome == 0 {
        violations.add(&root.field("outcome"), "is required");
    }
    let outcome = Option::<InstructionOutcome>::read(wire.outcome, &root.field("outcome"), &mut violations);
    let ground = Option::<Id>::read(wire.ground, &root.field("ground"), &mut violations);
    let mut at = |field, at: Option<prost_types::Timestamp>| {
        Option::<Timestamp>::read(at, &root.field(field), &mut violations)
    };
    let (executed_at, review_at) = (at("executed_at", wire.executed_at), at("review_at", wire.review_at));
    let backups_expire_at = at("backups_expire_at", wire.backups_expire_at);
    let done_by = Done {
        at: executed_at,
        method: Option::<ErasureMethod>::read(wire.method, &root.field("method"), &mut violations),
        stores: stores(wire.stores, &root, &mut violations),
        backups_expire_at,
        verification: Option::<Verification>::read(
            wire.verification,
            &root.field("verification"),
            &mut violations,
        ),
        reid_test_ref: Option::<Id>::read(wire.reid_test_ref, &root.field("reid_test_ref"), &mut violations),
    };
    let evidence = root.field("evidence_sha256");
    let evidence_sha256 = Option::<Digest>::read(wire.evidence_sha256, &evidence, &mut violations);
    done(violations)?;
    let outcome = outcome.ok_or_else(|| Error::internal("acknowledgement"))?;
    Ok(Acknowledgement { id, outcome, ground, done: done_by, review_at, evidence_sha256 })
}

fn stores(wire: Vec<String>, root: &Path<'_>, violations: &mut Violations) -> Vec<Id> {
    let at = root.field("stores");
    if wire.len() > limits::LIST {
        violations.add(&at, "has more than 64 values");
        return Vec::new();
    }
    let ids = wire.into_iter().enumerate().filter_map(|(n, text)| Id::read(text, &at.index(n), violations));
    ids.collect()
}

fn told(instruction_id: String, result: Result<Acknowledged, Error>) -> pb::AcknowledgeInstructionResult {
    use pb::acknowledge_instruction_result::Result as Told;
    match result {
        Ok(Acknowledged { body, duplicate, after_recall }) => pb::AcknowledgeInstructionResult {
            instruction_id,
            result: Some(Told::Acknowledged(wire(body))),
            duplicate,
            after_recall,
        },
        Err(error) => pb::AcknowledgeInstructionResult {
            instruction_id,
            result: Some(Told::Refusal(refusal(&error))),
            duplicate: false,
            after_recall: false,
        },
    }
}

fn wire(body: InstructionAcknowledged) -> pb::InstructionAcknowledged {
    pb::InstructionAcknowledged {
        addressee: maybe(&body.addressee),
        outcome: body.outcome.map_or(0, Closed::number),
        ground: maybe(&body.ground),
        instruction_id: maybe(&body.instruction_id),
        plan_ref: maybe(&body.plan_ref),
        case_id: maybe(&body.case_id),
        evidence_sha256: body.evidence_sha256.map(|digest| digest.0.to_vec().into()).unwrap_or_default(),
        plan_id: maybe(&body.plan_id),
    }
}
