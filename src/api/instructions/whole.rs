//! A whole service that is to be emptied, as whoever empties it asks and answers.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::api::convert::{self, Field, Path, Violations};
use crate::api::events::{done, instant, read};
use crate::api::guard::Call;
use crate::api::instructions::Instructions;
use crate::api::instructions::answer::how;
use crate::api::terms::{maybe, time};
use crate::app::instructions::{AcknowledgedSome, BegunSome, Kept, Whole};
use crate::app::{App, Error, Role};
use crate::domain::event::InstructionKind;
use crate::domain::id::Id;
use crate::pb;

pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Messages that wait for a caller.
const WAITING: usize = 64;
/// Instructions that may be excepted.
const EXCEPTED: usize = 10_000;

type Told<T> = mpsc::Sender<Result<T, Status>>;

fn whole(addressee: &str, service: &str, kind: i32) -> Result<Whole, Error> {
    let (addressee, service) = (read("addressee", addressee)?, read("service", service)?);
    let mut violations = Violations::new();
    let kind = Option::<InstructionKind>::read(kind, &Path::ROOT.field("kind"), &mut violations);
    done(violations)?;
    let kind = kind.unwrap_or(InstructionKind::Erase);
    if !matches!(kind, InstructionKind::Erase | InstructionKind::Anonymise) {
        return Err(Error::invalid("kind", "is neither erase nor anonymise"));
    }
    Ok(Whole { addressee, service, kind })
}

impl Instructions {
    pub(super) async fn begin_all(
        &self,
        call: Call,
        request: pb::BeginServiceRequest,
    ) -> Result<Answers<pb::BeginServiceResponse>, Error> {
        let whole = whole(&request.addressee, &request.service, request.kind)?;
        self.app.may_empty(&call.caller, &whole)?;
        let app = Arc::clone(&self.app);
        Ok(answers(call, move |call, told| async move { begin(&app, &call, &whole, &told).await }))
    }

    pub(super) async fn acknowledge_all(
        &self,
        call: Call,
        request: pb::AcknowledgeServiceRequest,
    ) -> Result<Answers<pb::AcknowledgeServiceResponse>, Error> {
        let whole = whole(&request.addressee, &request.service, request.kind)?;
        self.app.may_empty(&call.caller, &whole)?;
        let mut violations = Violations::new();
        let begun_by = instant(request.begun_by, "begun_by", &mut violations);
        done(violations)?;
        let begun_by = begun_by.ok_or_else(|| Error::invalid("begun_by", "is required"))?;
        let answer =
            request.acknowledgement.ok_or_else(|| Error::invalid("acknowledgement", "is required"))?;
        if !answer.instruction_id.is_empty() {
            return Err(Error::invalid("acknowledgement.instruction_id", "is not for a whole service"));
        }
        if request.except_instruction_ids.len() > EXCEPTED {
            return Err(Error::invalid("except_instruction_ids", "has more than 10,000"));
        }
        // What is no id was given to nobody, and need not be excepted.
        let except: HashSet<Id> =
            request.except_instruction_ids.iter().filter_map(|id| id.parse().ok()).collect();
        // Each is answered by its own id.
        let answer = how(whole.service.clone(), answer)?;
        let app = Arc::clone(&self.app);
        Ok(answers(call, move |call, told| async move {
            let (mut behind, mut total) = (None, AcknowledgedSome::default());
            loop {
                let (some, next) = app
                    .acknowledge_some(&call.caller, (&whole, begun_by), (&answer, &except), behind)
                    .await?;
                total.acknowledged += some.acknowledged;
                total.after_recall += some.after_recall;
                total.excepted += some.excepted;
                let AcknowledgedSome { acknowledged, after_recall, excepted } = total;
                let message = pb::AcknowledgeServiceResponse { acknowledged, after_recall, excepted };
                if !say(&told, message).await || next.is_none() {
                    return Ok(());
                }
                behind = next;
            }
        }))
    }
}

/// Begins all there is, then names what stays, then says that this was all.
async fn begin(
    app: &App,
    call: &Call,
    whole: &Whole,
    told: &Told<pb::BeginServiceResponse>,
) -> Result<(), Error> {
    use pb::begin_service_response::Item;
    let (mut behind, mut total) = (None, BegunSome::default());
    loop {
        let (some, next) = app.begin_some(&call.caller, whole, behind).await?;
        total.begun += some.begun;
        total.revoked += some.revoked;
        behind = next;
        if behind.is_none() {
            break;
        }
        // Whoever left begins no more.
        if told.is_closed() {
            return Ok(());
        }
    }
    let begun_by = app.now();
    app.know_who_holds().await?;
    let (mut behind, mut count) = (None, 0);
    loop {
        let (kept, next) = app.kept_by_service(&call.caller, whole, behind).await?;
        count += kept.len() as u64;
        for one in kept {
            let item = Some(Item::Kept(datum(call, one)));
            if !say(told, pb::BeginServiceResponse { item }).await {
                return Ok(());
            }
        }
        behind = next;
        if behind.is_none() {
            break;
        }
    }
    let begun = pb::BegunService {
        begun: total.begun,
        revoked: total.revoked,
        kept: count,
        begun_by: time(begun_by),
    };
    say(told, pb::BeginServiceResponse { item: Some(Item::Begun(begun)) }).await;
    Ok(())
}

/// As the caller may see it.
fn datum(call: &Call, kept: Kept) -> pb::KeptDatum {
    let Kept { subject, identifiers, key, collected_from } = kept;
    let (officer, auditor) = (call.caller.has(Role::Officer), call.caller.has(Role::Auditor));
    let named = officer || !auditor;
    pb::KeptDatum {
        identifiers: identifiers.iter().filter(|_| named).map(convert::identifier_to_wire).collect(),
        subject: if officer || auditor { subject.to_string() } else { String::new() },
        record_kind: maybe(&key.record_kind),
        category: key.category.to_string(),
        slot: maybe(&key.slot),
        collected_from: collected_from.and_then(time),
    }
}

/// Answers as they come; an error ends them.
fn answers<T, F>(call: Call, work: impl FnOnce(Call, Told<T>) -> F) -> Answers<T>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (told, answers) = mpsc::channel(WAITING);
    let (failing, failed) = (call.clone(), told.clone());
    let work = work(call, told);
    tokio::spawn(async move {
        if let Err(error) = work.await {
            // Whoever left needs no error.
            let _ = failed.send(Err(failing.status(error))).await;
        }
    });
    Box::pin(ReceiverStream::new(answers))
}

/// Whether anybody still listens.
async fn say<T>(told: &Told<T>, message: T) -> bool {
    told.send(Ok(message)).await.is_ok()
}
