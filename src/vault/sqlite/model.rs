//! A naive vault, lists in memory without a cache, a file or a thread, compared with the real one
//! on random histories.

use std::collections::HashMap;

use proptest::prelude::*;

use super::tests::Place;
use super::*;
use crate::domain::id::SubjectId;
use crate::domain::identity::resolve::{self, Binding, Change, Fact, Owner, Question, Who};
use crate::domain::identity::{Class, Identifier, Kind};
use crate::vault::contract::{at, named, using};
use crate::vault::{Act, Entry, Use, Vault as _};

#[derive(Default)]
struct Model {
    bindings: Vec<(Identifier, Binding)>,
    owners: HashMap<SubjectId, Owner>,
    seen: Vec<(SubjectId, Identifier)>,
}

impl Model {
    fn known(&self, identifier: &Identifier) -> Vec<Binding> {
        let of = self.bindings.iter().filter(|(other, _)| other == identifier);
        of.map(|(_, b)| Binding { owner: self.owners[&b.subject], ..*b }).collect()
    }

    fn resolve(&mut self, entry: &Entry) -> (Option<SubjectId>, Vec<Use>, usize) {
        let known: Vec<_> = entry.identifiers.iter().map(|i| self.known(i)).collect();
        let facts: Vec<_> = entry
            .identifiers
            .iter()
            .zip(&known)
            .map(|(i, bindings)| Fact { kind: i.kind, realm: i.realm.as_ref(), bindings, erased: &[] })
            .collect();
        let decision = resolve::decide(&Question {
            facts: &facts,
            home_realm: entry.home_realm.as_ref(),
            at: entry.occurred_at,
            opens: entry.opens,
            act: entry.act,
        });
        let who = match decision.who {
            Who::Nobody => return (None, decision.uses, decision.conflicts.len()),
            Who::Existing(subject) => subject,
            Who::New(kind) => {
                let subject = SubjectId([self.owners.len() as u8 + 1; 16]);
                let owner = Owner { canonical: subject, kind, account: false, cancelled_at: None };
                self.owners.insert(subject, owner);
                subject
            }
        };
        let mut uses = decision.uses;
        for change in decision.changes {
            if let Some(identifier) = self.apply(who, entry, &known, change) {
                uses[identifier] = Use::Known;
            }
        }
        (Some(who), uses, decision.conflicts.len())
    }

    /// Gives back an association that was there already.
    fn apply(
        &mut self,
        who: SubjectId,
        entry: &Entry,
        known: &[Vec<Binding>],
        change: Change,
    ) -> Option<usize> {
        match change {
            Change::Bind { identifier, from, to, reaches } => {
                let binding = Binding { subject: who, owner: self.owners[&who], from, to, reaches };
                self.bindings.push((entry.identifiers[identifier].clone(), binding));
            }
            Change::SetFrom { identifier, binding, from } => {
                self.stored(entry, known, identifier, binding).from = from;
            }
            Change::SetTo { identifier, binding, to } => {
                self.stored(entry, known, identifier, binding).to = to;
                self.bindings.retain(|(_, b)| b.to.is_none_or(|to| to > b.from));
            }
            Change::Account => {
                let owner = self.owners.get_mut(&who).unwrap();
                (owner.account, owner.cancelled_at) = (true, None);
            }
            Change::Cancel { at } => {
                self.owners.get_mut(&who).unwrap().cancelled_at = Some(at);
                for (identifier, binding) in &mut self.bindings {
                    if binding.subject == who
                        && identifier.kind.class() == Class::Contact
                        && binding.covers(at)
                    {
                        binding.to = Some(at);
                    }
                }
                self.bindings.retain(|(_, b)| b.to.is_none_or(|to| to > b.from));
            }
            Change::Associate { identifier } => {
                let pair = (who, entry.identifiers[identifier].clone());
                if self.seen.contains(&pair) {
                    return Some(identifier);
                }
                self.seen.push(pair);
            }
        }
        None
    }

    fn stored(&mut self, entry: &Entry, known: &[Vec<Binding>], i: usize, b: usize) -> &mut Binding {
        let old = &known[i][b];
        let same = |(other, binding): &&mut (Identifier, Binding)| {
            *other == entry.identifiers[i] && binding.subject == old.subject && binding.from == old.from
        };
        &mut self.bindings.iter_mut().find(same).unwrap().1
    }
}

fn show(entry: &Entry) -> String {
    let named = entry.identifiers.iter().map(|i| format!("{}:{}", i.kind, i.value.expose()));
    let named: Vec<_> = named.collect();
    format!("{named:?} at {} {:?} opens {}", entry.occurred_at, entry.act, entry.opens)
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let kinds = vec![Kind::Account, Kind::Openid, Kind::Phone, Kind::Email, Kind::DeviceSerial, Kind::Ip];
    let identifier = (prop::sample::select(kinds), 0u8..3).prop_map(|(kind, n)| named(kind, &n.to_string()));
    let act = prop_oneof![
        6 => Just(Act::None), 1 => Just(Act::RegisterAccount), 1 => Just(Act::CancelAccount)
    ];
    let entry = (prop::collection::vec(identifier, 0..4), 0i64..30, any::<bool>(), act).prop_map(
        |(mut identifiers, when, opens, act)| {
            identifiers.sort_by_key(|i| (i.kind, i.value.expose().clone()));
            identifiers.dedup();
            Entry { opens, act, occurred_at: at(when), ..using(&identifiers, when) }
        },
    );
    prop::collection::vec(entry, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the batches, the cache and the restarts: the same people, the same marks.
    #[test]
    fn agrees_with_the_real_one(history in entries(), batch in 2usize..12, cache in prop::sample::select(vec![1usize, 4_096]), restart in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let place = Place::new();
        let options = Options { cache_entries: cache, ..Options::default() };
        let mut vault = place.open_with(options.clone()).unwrap();
        let (mut model, mut same) = (Model::default(), HashMap::new());
        for batch in history.chunks(batch) {
            let answers = runtime.block_on(vault.resolve(batch.to_vec())).unwrap();
            for (entry, answer) in batch.iter().zip(answers) {
                let (who, uses, conflicts) = model.resolve(entry);
                let real = answer.holder.as_ref().map(|holder| holder.subject);
                prop_assert_eq!(who.is_some(), real.is_some(), "{}", show(entry));
                if let (Some(who), Some(real)) = (who, real) {
                    prop_assert_eq!(*same.entry(who).or_insert(real), real, "{}", show(entry));
                    prop_assert_eq!(answer.holder.as_ref().unwrap().kind, model.owners[&who].kind);
                }
                let real: Vec<_> = answer.marks.iter().map(|marked| marked.usage).collect();
                prop_assert_eq!(real, uses, "{}", show(entry));
                prop_assert_eq!(answer.conflicts.len(), conflicts);
            }
            if restart {
                drop(vault);
                vault = place.open_with(options.clone()).unwrap();
            }
        }
        let distinct: std::collections::HashSet<_> = same.values().collect();
        prop_assert_eq!(distinct.len(), same.len(), "two people of the model are two people");
        prop_assert_eq!(runtime.block_on(vault.status()).unwrap().people, model.owners.len() as u64);
    }
}
