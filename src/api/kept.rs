//! How long data are kept, in the API's words: what a person may hear, and reasons in both languages.

use crate::api::terms::time;
use crate::domain::id::Id;
use crate::domain::retention::Reason;
use crate::domain::vocabulary::Locale;
use crate::pb;
use crate::views::retention::Told;

/// How long a datum is kept, as its person may hear it.
pub fn kept(told: &Told) -> pb::Kept {
    if told.kept {
        return pb::Kept { state: "kept".to_owned(), because: vec![beyond_its_time()], ..Default::default() };
    }
    let decision = &told.decision;
    let cited = |id: &Id| {
        let found = told.citations.iter().find(|(cited, _)| cited == id);
        found.map(|(_, title)| title.to_string())
    };
    pb::Kept {
        state: decision.state.to_string(),
        due_at: decision.due_at.and_then(time),
        due: decision.due.map(|due| due.to_string()).unwrap_or_default(),
        because: decision.because.iter().map(|because| reason(because, cited)).collect(),
    }
}

/// The one sentence for whatever keeps data beyond their time and is not the person's (`domain.md` 6.7).
fn beyond_its_time() -> pb::RetentionReason {
    pb::RetentionReason {
        code: "kept".to_owned(),
        en: "it is kept for now because the law requires or allows it".to_owned(),
        zh: "依照法律规定或者允许，暂时继续保存".to_owned(),
        legal: "GDPR 17(3)(b), (e), 18(2); PIPL 35, 47".to_owned(),
    }
}

/// A rule is told with its own citation.
pub fn reason(reason: &Reason, cited: impl Fn(&Id) -> Option<String>) -> pb::RetentionReason {
    let legal = match reason {
        Reason::Rule(id) | Reason::Pending(id) => cited(id),
        other => other.legal().map(str::to_owned),
    };
    pb::RetentionReason {
        code: reason.to_string(),
        en: reason.say(Locale::En),
        zh: reason.say(Locale::Zh),
        legal: legal.unwrap_or_default(),
    }
}
