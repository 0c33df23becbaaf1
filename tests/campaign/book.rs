//! What the emitters and the officer know, and what must therefore hold.

use std::collections::{BTreeMap, HashSet};

use custody::cli::client::Client;
use custody::pb;

use crate::support::events::{account, assert_kept, receipt, send_all};

pub type Acknowledged = (pb::Event, pb::Receipt);

/// What is known about one name.
#[derive(Debug, Default, Clone)]
pub struct Known {
    /// Events of the person that the name means now.
    pub events: u64,
    /// Somebody of this name was erased, and nobody came since.
    pub erased: bool,
    /// Erased while events were on their way: how many are whose cannot be told.
    pub blurred: bool,
    /// An erasure was asked for and not answered: everything is there, or nothing.
    pub asked: bool,
}

/// Kept by those outside the house.
#[derive(Default)]
pub struct Book {
    /// Events of the living and of the erased, with their receipts.
    pub acknowledged: Vec<Acknowledged>,
    /// Ids of events about people who were erased since.
    pub former: HashSet<String>,
    /// Batches whose answers never came.
    pub open: Vec<Vec<pb::Event>>,
    pub names: BTreeMap<String, Known>,
    /// The newest checkpoints that somebody was given.
    pub published: Vec<pb::Checkpoint>,
    /// Handles of the erased, as the officer saw them, with their tombs.
    pub gone: Vec<(String, Vec<u8>)>,
}

pub fn name_of(event: &pb::Event) -> &str {
    &event.people[0].identifiers[0].value
}

pub fn subject_name(name: &str) -> pb::SubjectName {
    pb::SubjectName { name: Some(pb::subject_name::Name::Identifier(account(name))) }
}

fn recorded(outcome: &pb::Outcome) -> bool {
    matches!(outcome.result, Some(pb::outcome::Result::Receipt(_)))
}

impl Book {
    pub fn took(&mut self, event: pb::Event, receipt: pb::Receipt) {
        let known = self.names.entry(name_of(&event).to_owned()).or_default();
        known.events += 1;
        known.erased = false;
        self.acknowledged.push((event, receipt));
    }

    /// Whoever had this name is no more.
    pub fn erased(&mut self, name: &str) {
        let theirs = self.acknowledged.iter().filter(|(event, _)| name_of(event) == name);
        self.former.extend(theirs.map(|(event, _)| event.event_id.clone()));
        self.names.insert(name.to_owned(), Known { erased: true, ..Known::default() });
    }

    /// After an older copy was put back: what lies beyond its end is to be sent again.
    pub fn cut(&mut self, head: u64) -> Vec<pb::Event> {
        let (kept, lost): (Vec<_>, Vec<_>) =
            self.acknowledged.drain(..).partition(|(_, receipt)| receipt.position < head);
        self.acknowledged = kept;
        self.published.retain(|checkpoint| checkpoint.tree_size <= head);
        for (event, _) in &lost {
            if self.former.remove(&event.event_id) {
                continue;
            }
            let known = self.names.entry(name_of(event).to_owned()).or_default();
            known.events -= 1;
            // Whoever is erased stays so; of somebody erased and come back nobody is left.
            known.erased |= known.events == 0;
        }
        lost.into_iter().map(|(event, _)| event).collect()
    }

    /// Sends again what was not answered: of a batch everything is there, or nothing.
    pub async fn settle(&mut self, client: &Client) {
        for batch in std::mem::take(&mut self.open) {
            let outcomes = send_all(client, &batch).await.unwrap();
            if let Some(refused) = outcomes.iter().find(|outcome| !recorded(outcome)) {
                let status = client.admin().get_status(pb::GetStatusRequest {}).await.unwrap().into_inner();
                panic!("{refused:?}; {:?}; {:?}; {:?}", status.alarms, status.log, status.ledger);
            }
            let there = outcomes.iter().filter(|outcome| receipt(outcome).duplicate).count();
            assert!(there == 0 || there == batch.len(), "half a batch: {there} of {}", batch.len());
            for (event, outcome) in batch.into_iter().zip(&outcomes) {
                // Whose it is depends on whether it came before or after an erasure.
                let known = self.names.entry(name_of(&event).to_owned()).or_default();
                known.blurred |= known.asked || known.erased;
                self.took(event, receipt(outcome).clone());
            }
        }
    }

    /// Everything acknowledged is where its receipt says.
    pub async fn check_receipts(&self, client: &Client) {
        let of_the_living = |(event, _): &&Acknowledged| !self.former.contains(&event.event_id);
        // Of the erased only that their records are there; that nobody has them is looked at by name.
        let (living, erased): (Vec<_>, Vec<_>) = self.acknowledged.iter().partition(of_the_living);
        let living: Vec<Acknowledged> = living.into_iter().cloned().collect();
        assert_kept(client, &living).await;
        for part in erased.chunks(200) {
            let events: Vec<pb::Event> = part.iter().map(|(event, _)| event.clone()).collect();
            let outcomes = send_all(client, &events).await.unwrap();
            for ((event, first), outcome) in part.iter().zip(&outcomes) {
                let again = receipt(outcome);
                assert!(again.duplicate && again.position == first.position, "{} is gone", event.event_id);
                assert_eq!(again.leaf_hash, first.leaf_hash, "{}", event.event_id);
            }
        }
    }

    /// Every name means whom it should, with the events it should.
    pub async fn check_people(&mut self, client: &Client, head: u64) {
        for name in self.names.keys().cloned().collect::<Vec<_>>() {
            let found = self::found(client, &name).await;
            let known = self.names[&name].clone();
            if known.asked || known.blurred {
                // Erased, or not at all; whose the events since are, nobody outside can tell.
                if found.is_none() {
                    self.erased(&name);
                }
                continue;
            }
            assert_eq!(found.is_none(), known.events == 0, "{name}: {known:?}, found {found:?}");
            let request = pb::ListSubjectEventsRequest {
                subject: Some(subject_name(&name)),
                at_least: Some(head - 1),
                page_size: 1_000,
                ..Default::default()
            };
            let listed = client.subjects().list_subject_events(request).await;
            match listed {
                Ok(listed) => {
                    assert_eq!(listed.into_inner().events.len() as u64, known.events, "events of {name}");
                }
                Err(status) => {
                    assert!(known.events == 0 && status.code() == tonic::Code::NotFound, "{name}: {status:?}")
                }
            }
        }
        for (handle, _) in &self.gone {
            let name = pb::subject_name::Name::Subject(handle.clone());
            let request = pb::GetSubjectReportRequest {
                subject: Some(pb::SubjectName { name: Some(name) }),
                at_least: Some(head - 1),
                ..Default::default()
            };
            let answer = client.subjects().get_subject_report(request).await;
            assert_eq!(answer.unwrap_err().code(), tonic::Code::NotFound, "somebody erased is told of");
        }
    }

    /// The log begins with everything that was published under its name.
    pub async fn check_published(&self, client: &Client) {
        let present = client.ledger().get_checkpoint(pb::GetCheckpointRequest::default()).await.unwrap();
        let present = present.into_inner().checkpoint.unwrap_or_default().origin;
        for given in &self.published {
            // Those of a name that has ended are handed out no more; the log bears them out still.
            if given.origin == present {
                let request = pb::GetCheckpointRequest { tree_size: Some(given.tree_size) };
                let kept = client.ledger().get_checkpoint(request).await.unwrap().into_inner();
                assert_eq!(kept.checkpoint.unwrap().root, given.root, "two roots over {}", given.tree_size);
            }
            let request = pb::GetConsistencyProofRequest { old_size: given.tree_size, new_size: None };
            let growth = client.ledger().get_consistency_proof(request).await.unwrap().into_inner();
            assert_eq!(growth.old_root, given.root, "the log does not begin with what was published");
        }
    }
}

/// The handle that a name means.
pub async fn found(client: &Client, name: &str) -> Option<String> {
    let request = pb::FindSubjectRequest { identifier: Some(account(name)) };
    let found = client.subjects().find_subject(request).await.unwrap().into_inner();
    found.candidates.first().map(|candidate| candidate.subject.clone())
}
