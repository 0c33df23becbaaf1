//! Findings about who events are about: what the vault saw when they were recorded (`record::Noted`).

use std::sync::Arc;

use crate::domain::finding::Value;
use crate::views::Error;
use crate::views::findings::{Finder, Kind, maybe, value};

const CONFLICT: &str = "F-IDENTITY-CONFLICT";
const LATE: &str = "F-LATE-FOR-ERASED";

impl Finder<'_> {
    /// Identifiers that disagree (GDPR 5(1)(d)), and events that come after their person's erasure and are
    /// from before it (GDPR 17).
    pub(super) fn identities(&mut self) -> Result<(), Error> {
        let odd: Vec<Kind<()>> = {
            let shapes = self.ask.shapes();
            let odd = shapes.iter().filter(|(_, shape)| !shape.noted.is_nothing());
            odd.map(|(number, shape)| Kind { number, shape: Arc::clone(shape), body: () }).collect()
        };
        for kind in odd {
            let (shape, noted) = (&kind.shape, &kind.shape.noted);
            let service = maybe(shape.service.as_ref());
            if noted.late {
                for stretch in self.stretches(LATE, &kind, Vec::new())? {
                    self.raise(LATE, vec![value(&shape.emitter), service.clone()], &stretch);
                }
            }
            if let Ok(kinds) = Value::list(noted.kinds.iter().map(|kind| kind.as_str())) {
                let realms = Value::list(noted.realms.iter().map(|realm| realm.as_str())).ok();
                for stretch in self.stretches(CONFLICT, &kind, Vec::new())? {
                    let key = vec![service.clone(), Some(kinds.clone()), realms.clone()];
                    self.raise(CONFLICT, key, &stretch);
                }
            }
        }
        Ok(())
    }
}
