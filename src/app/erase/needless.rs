//! People whom nothing asks to know any more: no datum, account, hold, open instruction or case (`domain.md` 2.4 and
//! 4.4 step 5). Their identity goes; what proves consents and cases stays for its own time.

use std::sync::Arc;

use crate::app::App;
use crate::app::access::Caller;
use crate::app::erase::Reason;
use crate::app::error::Error;
use crate::app::own::EMITTER;
use crate::app::subjects::Name;
use crate::domain::event::IdentityErasureCause;
use crate::domain::id::{Id, SubjectId};
use crate::domain::time::Timestamp;
use crate::views::retention::due::Deciding;

/// People looked at, and erased, in one step: their rows are written anew once for all of them.
const LOOKED_AT: usize = 2_000;
const AT_ONCE: usize = 500;

impl App {
    /// Those among the next people of whom nothing is held, and where the next of them stand.
    pub async fn needless_people(
        &self,
        behind: Option<SubjectId>,
        now: Timestamp,
    ) -> Result<(Vec<SubjectId>, Option<SubjectId>), Error> {
        self.settled().await?;
        self.ask(move |ask| {
            let people = ask.people_gone(behind, LOOKED_AT)?;
            let next = people.last().copied().filter(|_| people.len() == LOOKED_AT);
            if people.is_empty() {
                return Ok((people, next));
            }
            let deciding = Deciding::new(ask, now)?;
            let mut needless = Vec::new();
            for subject in people {
                if deciding.work(ask, subject)?.is_some_and(|work| work.is_needless(now)) {
                    needless.push(subject);
                }
            }
            Ok((needless, next))
        })
        .await
    }

    /// Erases them. Whoever got a reason meanwhile, or is under a hold, is left alone.
    pub async fn erase_needless(self: &Arc<Self>, people: &[SubjectId]) -> Result<u64, Error> {
        let custody: Id = EMITTER.parse().map_err(|_| Error::internal("own_emitter"))?;
        let mut erased = 0;
        for some in people.chunks(AT_ONCE) {
            let names: Vec<Name> = some.iter().copied().map(Name::Subject).collect();
            let reason =
                Reason { cause: IdentityErasureCause::Retention, case_id: None, evidence_too: false };
            match self.erase(&Caller::custody(custody.clone()), &names, reason).await {
                Ok(done) => erased += done.len() as u64,
                Err(Error::Precondition { reason: "held", .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(erased)
    }
}
