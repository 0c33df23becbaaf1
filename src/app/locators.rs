//! Where the records lie in the source systems: the sealed locators of a person's collections,
//! opened and gathered by the datum they belong to, so that an officer can go and look.
//!
//! Only for a caller that may open, after the read was recorded.

use std::collections::BTreeSet;

use crate::app::App;
use crate::app::error::Error;
use crate::app::subjects::{Evidence, has_box};
use crate::domain::event::{Body, EventType};
use crate::domain::id::SubjectId;
use crate::domain::personal::Personal;
use crate::limits;
use crate::views::EventView;
use crate::views::report::{DatumKey, ReportOptions, datum_keys};

/// A locator, and what it locates.
pub type Located = (DatumKey, Personal<String>);

impl App {
    /// Collections with something sealed, among the newest events of a person.
    pub(crate) async fn sealed_collections(
        &self,
        subject: SubjectId,
        options: ReportOptions,
    ) -> Result<Vec<EventView>, Error> {
        let newest =
            self.ask(move |ask| Ok(ask.subject_events(subject, None, options.known_at, limits::PAGE)?));
        let mut found = newest.await?;
        found.retain(|view| {
            view.event_type == EventType::DataCollected
                && view.retracted_by.is_none()
                && options.as_of.is_none_or(|as_of| view.at() <= as_of)
                && has_box(view)
        });
        Ok(found)
    }

    /// The locators of opened collections, each once.
    pub(crate) fn locators(&self, collections: Vec<Evidence>) -> Vec<Located> {
        let (mut seen, mut located) = (BTreeSet::new(), Vec::new());
        for Evidence { view, opened, .. } in collections {
            let Some(Body::DataCollected(body)) = opened else { continue };
            let Some(locator) = &body.locator else { continue };
            let activity = view.envelope.activity.as_ref();
            let registered = activity.and_then(|activity| self.views.activity_at(activity, view.at()));
            let registered = registered.as_ref().map(|(_, body)| &**body);
            for key in datum_keys(view.envelope.service.as_ref(), &body, registered) {
                if seen.insert((key.clone(), locator.expose().clone())) {
                    located.push((key, locator.clone()));
                }
            }
        }
        located
    }
}
