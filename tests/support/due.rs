//! People whose data are over their time.

use custody::cli::client::Client;
use custody::cli::record::timestamp;
use custody::clock::{Clock, SystemClock};
use custody::domain::time::MS_PER_DAY;
use custody::pb;

use super::events::{collected, receipt, send, send_all};

/// A service, a rule by which data go after a day, and people of whom it has data that are ten days old.
pub async fn record(client: &Client, names: &[String]) {
    let now = SystemClock.now();
    let own = |body: pb::event::Body| pb::Event {
        people: Vec::new(),
        activity: String::new(),
        body: Some(body),
        ..collected("nobody")
    };
    let registered = [
        pb::event::Body::ControllerRegistered(Box::new(pb::ControllerRegistered {
            controller: "sunny".to_owned(),
            legal_name: "Sunny Ltd".to_owned(),
            country: "DE".to_owned(),
            ..Default::default()
        })),
        pb::event::Body::ServiceRegistered(pb::ServiceRegistered {
            service: "solar".to_owned(),
            owner: "sunny".to_owned(),
            storage_country: "DE".to_owned(),
            tz: "UTC".to_owned(),
            emitters: vec!["solar-app".to_owned()],
            ..Default::default()
        }),
        pb::event::Body::RetentionRulePublished(Box::new(pb::RetentionRulePublished {
            rule: Some(pb::RetentionRule {
                id: "keep.security".to_owned(),
                kind: pb::RuleKind::Keep.into(),
                matches: Some(pb::RuleMatch { purposes: vec!["security".to_owned()], ..Default::default() }),
                anchor: pb::Anchor::Collected.into(),
                period: "P1D".to_owned(),
                tz: "UTC".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        })),
    ];
    for body in registered {
        send(client, &own(body)).await.unwrap();
    }
    let purpose =
        pb::PurposeBasis { id: "security".to_owned(), basis: pb::LegalBasis::LegitimateInterest.into() };
    let events: Vec<pb::Event> = names
        .iter()
        .map(|name| pb::Event {
            occurred_at: Some(timestamp(now.plus_ms(-10 * MS_PER_DAY))),
            activity: String::new(),
            body: Some(pb::event::Body::DataCollected(pb::DataCollected {
                cats: vec!["pd:EmailAddress".to_owned()],
                record_kind: "profile".to_owned(),
                purposes: vec![purpose.clone()],
                ..Default::default()
            })),
            ..collected(name)
        })
        .collect();
    for outcome in send_all(client, &events).await.unwrap() {
        receipt(&outcome);
    }
}
