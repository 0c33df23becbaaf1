//! What was proven stays so: headers, proofs, bundles and answers from before an erasure, new keys of every
//! kind, a restore and a rebuild are the same after each, and what is proven then follows from them.

use std::path::PathBuf;

use super::backup::{back_up, lose, quiet, restored};
use super::erasure::{find, record, report};
use super::*;
use crate::app::Caller;
use crate::app::erase::Reason;
use crate::app::keys::name;
use crate::app::ledger::Which;
use crate::app::subjects::Name;
use crate::domain::event::IdentityErasureCause;
use crate::domain::id::SubjectId;
use crate::ledger::tlog::{Policy, SignedCheckpoint, VerifierKey};
use crate::vault::keyring::Class;
use crate::verify::{Claim, Options, TagKeys, Trust, Verdict, source, verify};
use pb::create_export_request::Scope;

const STAY: [u8; 2] = [2, 3];

/// A bundle that somebody was handed, and what it is checked with.
struct Bundle {
    path: PathBuf,
    keys: (VerifierKey, VerifierKey),
    tag_keys: String,
}

/// Everything that was told before.
struct Handed {
    kept: SignedCheckpoint,
    bundles: Vec<Bundle>,
    subjects: [SubjectId; 2],
    told: Told,
}

#[derive(PartialEq, Debug)]
struct Told {
    headers: Vec<bytes::Bytes>,
    inclusions: Vec<String>,
    growth: String,
    reports: Vec<pb::SubjectReport>,
}

async fn start(place: &Place) -> Running {
    Server::start(quiet(place), Arc::new(place.clock.clone())).await.unwrap()
}

fn keys(running: &Running) -> (VerifierKey, VerifierKey) {
    let app = running.app();
    (app.verifier_keys().unwrap().last().unwrap().clone(), app.manifest_key().unwrap())
}

async fn export(running: &Running, place: &Place, id: &str, scope: Scope, since: &[u64]) -> Bundle {
    let request = pb::CreateExportRequest {
        export_id: id.to_owned(),
        scope: Some(scope),
        level: pb::ExportLevel::Sealed as i32,
        since: since.to_vec(),
        opening: Some(pb::Opening { reason: "access_request".to_owned(), ticket: "case-1".to_owned() }),
        ..Default::default()
    };
    let client = client(running).await;
    let tag_keys = client.exports().create_export(request).await.unwrap().into_inner().tag_keys;
    let mut watch = running.app().watch_export(&id.parse().unwrap()).unwrap();
    let made = watch.wait_for(|kept| kept.state.is_final()).await.unwrap().clone();
    assert!(matches!(made.state, crate::export::shelf::State::Ready(_)), "{made:?}");
    let request = pb::DownloadExportRequest { export_id: id.to_owned(), offset: 0 };
    let mut pieces = client.exports().download_export(request).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        bytes.extend_from_slice(&piece.data);
    }
    let path = place.root.path().join(format!("{id}.tar"));
    std::fs::write(&path, bytes).unwrap();
    Bundle { path, keys: keys(running), tag_keys }
}

/// As a stranger judges it, who has the keys of the day, and those of the day on which a checkpoint was kept.
fn assert_proven(bundle: &Bundle, since: Option<(&SignedCheckpoint, &VerifierKey)>, after: &str) {
    let (now, then) = (&bundle.keys.0, since.map(|(_, key)| key));
    let logs: std::collections::BTreeSet<String> =
        [Some(now), then].into_iter().flatten().map(|key| format!("log {key}\n")).collect();
    let policy = logs.into_iter().collect::<String>() + "quorum none\n";
    let since = since.map(|(kept, _)| kept);
    let trust = Trust {
        policy: Some(Policy::parse(policy.as_bytes()).unwrap()),
        manifest_key: Some(bundle.keys.1.clone()),
        since: since.map(|kept| SignedCheckpoint::parse(kept.to_string().as_bytes()).unwrap()),
    };
    let tag_keys = (!bundle.tag_keys.is_empty()).then(|| TagKeys::parse(&bundle.tag_keys).unwrap());
    let person = tag_keys.is_some();
    let options = Options { tag_keys, ..Options::default() };
    let report = verify(&*source::open(&bundle.path).unwrap(), &trust, &options).unwrap();
    assert_eq!(report.exit(), 0, "{after}, {}: {:?}", bundle.path.display(), report.verdicts());
    let asked = |claim| matches!(report.verdict(claim), Verdict::Proven(_));
    assert!(
        asked(Claim::Inclusion)
            && asked(Claim::AppendOnly) == since.is_some()
            && (!person || asked(Claim::SubjectComplete))
    );
}

impl Handed {
    async fn of(running: &Running, place: &Place) -> Handed {
        let last = record(running, place, [1, 2, 3, 2, 1, 2], 0x10).await;
        let kept = running.app().publish().await.unwrap().checkpoint;
        let mut subjects = Vec::new();
        for person in STAY {
            subjects.push(find(running, person).await.unwrap());
        }
        let subjects: [SubjectId; 2] = subjects.try_into().unwrap();
        let range = Scope::Range(pb::ExportRange::default());
        let person = Scope::Person(pb::ExportPerson {
            subject: Some(pb::SubjectName {
                name: Some(pb::subject_name::Name::Subject(subjects[0].to_string())),
            }),
            range: Some(pb::ExportRange::default()),
        });
        let bundles = vec![
            export(running, place, "of-all", range, &[]).await,
            export(running, place, "of-one", person, &[]).await,
        ];
        assert!(!bundles[1].tag_keys.is_empty());
        let kept = SignedCheckpoint::parse(kept.to_string().as_bytes()).unwrap();
        let told = told(running, &kept, subjects, last).await;
        Handed { kept, bundles, subjects, told }
    }

    /// Nothing of it has changed, before and after the views are made anew; and what is exported now grows
    /// from the checkpoint that was kept.
    async fn assert_holds(&self, running: &Running, place: &Place, after: &str) {
        let last = running.app().log.head() - 1;
        assert_eq!(told(running, &self.kept, self.subjects, last).await, self.told, "{after}");
        running.app().rebuild_views(|_, _| {}).await.unwrap();
        assert_eq!(told(running, &self.kept, self.subjects, last).await, self.told, "{after}, rebuilt");
        for bundle in &self.bundles {
            assert_proven(bundle, None, after);
        }
        running.app().publish().await.unwrap();
        let id = format!("after-{}", after.replace([' ', '_'], "-"));
        let range = Scope::Range(pb::ExportRange::default());
        let newer = export(running, place, &id, range, &[self.kept.checkpoint.size]).await;
        assert_proven(&newer, Some((&self.kept, &self.bundles[0].keys.0)), after);
    }
}

async fn told(running: &Running, kept: &SignedCheckpoint, subjects: [SubjectId; 2], last: u64) -> Told {
    let (app, size) = (running.app(), kept.checkpoint.size);
    let records = app.log.read(0, size as usize, 1 << 22).await.unwrap();
    let headers: Vec<_> = records.iter().map(|record| record.header.clone()).collect();
    assert_eq!(headers.len() as u64, size);
    let mut inclusions = Vec::new();
    for (position, header) in (0..).zip(&headers) {
        let proof = app.inclusion(Which::Position(position), Some(size)).await.unwrap();
        proof.file.check(&crate::ledger::tlog::leaf_hash(header)).unwrap();
        inclusions.push(proof.file.to_string());
    }
    let growth = format!("{:?}", app.growth(1, Some(size)).await.unwrap().path);
    let mut reports = Vec::new();
    for subject in subjects {
        reports.push(report(running, subject, last).await.unwrap());
    }
    Told { headers, inclusions, growth, reports }
}

async fn rotate(running: &Running, class: Class) {
    running.app().add_key(class).await.unwrap();
    running.app().activate_key(class, 2).await.unwrap();
    running.app().rewrap_keys(|_, _| {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_handed_out_holds_after_everything_that_comes() {
    let place = Place::new();
    let running = start(&place).await;
    let handed = Handed::of(&running, &place).await;
    assert_eq!(handed.told.reports[0].event_count, 3);
    handed.assert_holds(&running, &place, "nothing").await;

    let gone = Name::Subject(find(&running, 1).await.unwrap());
    let reason = Reason { cause: IdentityErasureCause::Operator, case_id: None, evidence_too: true };
    running.app().erase(&Caller::local(), &[gone], reason).await.unwrap();
    handed.assert_holds(&running, &place, "an erasure").await;

    for class in [Class::Kek, Class::Lookup, Class::EvidenceLookup, Class::Manifest, Class::Checkpoint] {
        rotate(&running, class).await;
        handed.assert_holds(&running, &place, &format!("new {}", name(class, 2))).await;
    }
    for class in [Class::Kek, Class::Manifest, Class::Checkpoint] {
        running.app().destroy_key(class, 1, true, |_, _| {}).await.unwrap();
        handed.assert_holds(&running, &place, &format!("end of {}", name(class, 1))).await;
    }
    let (made, _) = back_up(&running).await;
    running.stop().await.unwrap();
    lose(&place);
    restored(&place, &made).unwrap();
    let running = start(&place).await;
    handed.assert_holds(&running, &place, "a restore").await;

    let quarter = |running: &Running| running.node.keyring.active_index(place.clock.now()).unwrap().0;
    let before = quarter(&running);
    place.clock.advance_ms(92 * MS_PER_DAY);
    running.node.tend(place.clock.now()).await.unwrap();
    assert_ne!(quarter(&running), before);
    record(&running, &place, [4], 0x40).await;
    handed.assert_holds(&running, &place, "a new quarter").await;
    running.stop().await.unwrap();
}
