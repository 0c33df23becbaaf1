//! Exports through the real binary: asked for, recorded, fetched in pieces, checked by `custody verify`
//! from an empty directory, kept over a restart, and removed.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use custody::cli::client::Client;
use custody::pb;
use custody::pb::create_export_request::Scope;
use custody::verify::manifest::{EVENTS, MANIFEST};
use support::events::{account, collected, connect, runtime, send, workplace};
use support::server::Served;
use tonic::Code;
use tonic_types::StatusExt;

/// A command of the program, as it ends.
fn custody(arguments: &[&str], in_directory: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    command.args(arguments).current_dir(in_directory).env_clear().output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A served log of photos of two people, whose places are sealed.
struct House {
    below: tempfile::TempDir,
    served: Option<Served>,
}

impl House {
    fn new() -> House {
        let below = workplace();
        let served = Some(Served::start(&below.path().join("data")));
        let house = House { below, served };
        let photo = |name: &str, n: u64| {
            let mut event = collected(name);
            if let Some(pb::event::Body::DataCollected(body)) = &mut event.body {
                (body.record_kind, body.locator) = ("photo".to_owned(), format!("photos/{n}.jpg"));
            }
            event
        };
        runtime().block_on(async {
            let client = house.connect().await;
            for n in 0..12 {
                let name = if n % 3 == 0 { "wang" } else { "li" };
                send(&client, &photo(name, n)).await.unwrap();
            }
        });
        house
    }

    async fn connect(&self) -> Client {
        connect(self.served.as_ref().unwrap()).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.below.path().join(name)
    }

    fn restart(&mut self) {
        self.served.take().unwrap().stop();
        self.served = Some(Served::start(&self.path("data")));
    }

    fn server(&self) -> String {
        format!("http://{}", self.served.as_ref().unwrap().address())
    }

    fn export(&self, arguments: &[&str]) -> Output {
        let server = self.server();
        custody(&[&["export"], arguments, &["--server", &server]].concat(), self.below.path())
    }

    /// The keys that a stranger has from elsewhere.
    fn keys(&self) -> (String, String) {
        let keys = custody(&["ledger", "key", "--server", &self.server()], self.below.path());
        let keys = String::from_utf8(keys.stdout).unwrap();
        let (log, manifest) = keys.trim().split_once('\n').unwrap();
        (log.to_owned(), manifest.to_owned())
    }

    /// Checks a bundle with nothing else of ours in reach.
    fn verify(&self, bundle: &str, more: &[&str]) -> Output {
        let (log, manifest) = self.keys();
        let empty = tempfile::tempdir().unwrap();
        let bundle = self.path(bundle);
        let trusted = ["verify", bundle.to_str().unwrap(), "--vkey", &log, "--manifest-vkey", &manifest];
        let output = custody(&[&trusted[..], more].concat(), empty.path());
        assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0, "it writes nothing");
        output
    }

    fn events(&self, of: &str) -> Vec<serde_json::Value> {
        let server = self.server();
        let status = custody(&["--json", "status", "--server", &server], self.below.path());
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        // Answers may come before the views have read what was recorded last.
        let last = (status["log"]["head"].as_u64().unwrap() - 1).to_string();
        let list = ["--json", "events", "list", "--oldest-first", "--type", of, "--at-least", &last];
        let list = [&list[..], &["--server", &server]].concat();
        let list = custody(&list, self.below.path());
        let lines = String::from_utf8(list.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn a_range_is_proven_in_both_forms_and_is_an_event() {
    let house = House::new();
    for bundle in ["range", "range.tar"] {
        let cover =
            ["--authority", "国家网信办", "--legal-power", "PIPL 63", "--to", "9", "--level", "sealed"];
        let made = house.export(&[&["--out", bundle][..], &cover].concat());
        assert!(made.status.success(), "{}", said(&made));
        let checked = house.verify(bundle, &[]);
        assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
        assert!(
            said(&checked).contains("国家网信办") && said(&checked).contains("positions 0 to 9"),
            "{}",
            said(&checked)
        );
    }
    let manifest = std::fs::read(house.path("range").join(MANIFEST)).unwrap();
    let events = house.events("ExportProduced");
    assert_eq!(events.len(), 2);
    let body = &events[0]["event"]["export_produced"];
    use base64::Engine as _;
    let digest = base64::engine::general_purpose::STANDARD.decode(body["manifest_sha256"].as_str().unwrap());
    use sha2::Digest as _;
    assert_eq!(digest.unwrap(), sha2::Sha256::digest(&manifest).to_vec());
    assert_eq!((body["to_position"].as_u64(), body["rows"].as_u64()), (Some(9), Some(9)));
    assert_eq!(body["kind"], "EXPORT_KIND_REGULATOR");

    let earlier = house.path("kept");
    let checkpoint = custody(&["ledger", "checkpoint", "--server", &house.server()], house.below.path());
    std::fs::write(&earlier, &checkpoint.stdout).unwrap();
    let later = house.export(&["--out", "later.tar", "--since", earlier.to_str().unwrap()]);
    assert!(later.status.success(), "{}", said(&later));
    let checked = house.verify("later.tar", &["--since", earlier.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
    assert!(said(&checked).contains("append-only         proven"), "{}", said(&checked));
}

#[test]
fn a_selection_says_that_its_completeness_is_unproven() {
    let house = House::new();
    let made = house.export(&[
        "--out",
        "chosen",
        "--type",
        "DataCollected",
        "--service",
        "solar",
        "--from",
        "3",
        "--to",
        "8",
    ]);
    assert!(made.status.success(), "{}", said(&made));
    let checked = house.verify("chosen", &[]);
    assert_eq!(checked.status.code(), Some(10), "{}", said(&checked));
    assert!(said(&checked).contains("types: DataCollected; services: solar"), "{}", said(&checked));
    assert_eq!(std::fs::read_dir(house.path("chosen/proofs")).unwrap().count(), 5);
    let none = house.export(&["--out", "none", "--type", "ConsentGiven"]);
    assert!(none.status.success(), "{}", said(&none));
}

#[test]
fn one_persons_parts_open_and_nobody_elses_and_the_log_said_so_before() {
    let house = House::new();
    std::fs::write(house.path("wang"), "account@solar:wang").unwrap();
    let person =
        ["--out", "wang.tar", "--person-file", "wang", "--tag-keys", "wang.keys", "--level", "opened"];
    let refused = house.export(&person);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("REASON_REQUIRED"), "{}", said(&refused));
    let made = house.export(&[&person[..], &["--open", "access_request", "--ticket", "T-7"]].concat());
    assert!(made.status.success(), "{}", said(&made));
    let keys = house.path("wang.keys");
    let checked = house.verify("wang.tar", &["--tag-keys", keys.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
    assert!(
        said(&checked).contains("0 sealed parts as they were sealed then, 4 opened"),
        "{}",
        said(&checked)
    );
    assert!(said(&checked).contains("subject complete    proven"), "{}", said(&checked));

    let (reads, disclosed) = (house.events("RecordsRead"), house.events("ContentDisclosed"));
    let position = |event: &serde_json::Value| event["position"].as_u64().unwrap();
    let produced = position(&house.events("ExportProduced")[0]);
    assert!(reads.iter().chain(&disclosed).all(|event| position(event) < produced));
    assert_eq!(disclosed.len(), 1);
    assert_eq!(disclosed[0]["event"]["content_disclosed"]["opened"].as_u64(), Some(4));
    assert!(reads.iter().any(|read| read["event"]["records_read"]["ticket"] == "T-7"));
    let header = serde_json::to_string(&disclosed[0]["event"]).unwrap();
    assert!(!header.contains("wang"), "{header}");

    std::fs::write(house.path("people"), "account@solar:li\n").unwrap();
    let opened =
        ["--out", "li", "--level", "opened", "--people", "people", "--open", "audit", "--ticket", "T-8"];
    let made = house.export(&opened);
    assert!(made.status.success(), "{}", said(&made));
    let checked = house.verify("li", &[]);
    assert!(said(&checked).contains("8 opened"), "{}", said(&checked));
}

#[test]
fn a_download_goes_on_where_it_was_cut_off_also_after_a_restart() {
    let mut house = House::new();
    let made = house.export(&["--id", "first", "--out", "whole.tar"]);
    assert!(made.status.success(), "{}", said(&made));
    let whole = std::fs::read(house.path("whole.tar")).unwrap();
    house.restart();
    std::fs::write(house.path("again.tar.part"), &whole[..whole.len() / 3]).unwrap();
    let fetched = house.export(&["fetch", "first", "--out", "again.tar"]);
    assert!(fetched.status.success(), "{}", said(&fetched));
    assert_eq!(std::fs::read(house.path("again.tar")).unwrap(), whole);
    let there = house.export(&["fetch", "first", "--out", "again.tar"]);
    assert_eq!(there.status.code(), Some(64), "{}", said(&there));

    let same = house.export(&["--id", "first", "--out", "same.tar"]);
    assert!(same.status.success(), "{}", said(&same));
    assert_eq!(std::fs::read(house.path("same.tar")).unwrap(), whole, "the same name, the same export");
    let other = house.export(&["--id", "first", "--out", "other.tar", "--level", "sealed"]);
    assert!(said(&other).contains("EXPORT_ID_CONFLICT"), "{}", said(&other));

    let listed = house.export(&["list"]);
    assert!(said(&listed).contains("first") && said(&listed).contains("ready"), "{}", said(&listed));
    assert!(house.export(&["delete", "first"]).status.success());
    assert!(said(&house.export(&["fetch", "first", "--out", "x"])).contains("EXPORT_NOT_FOUND"));
    assert_eq!(std::fs::read_dir(house.path("data/exports")).unwrap().count(), 0);
}

#[test]
fn what_is_wrong_with_a_request_is_named_and_nothing_is_made() {
    let house = House::new();
    runtime().block_on(async {
        let client = house.connect().await;
        let request = pb::CreateExportRequest {
            export_id: "../x".to_owned(),
            opened: vec![pb::SubjectName::default()],
            cover: Some(pb::ExportCover { authority: "a\nb".to_owned(), ..Default::default() }),
            since: vec![1; 17],
            ..Default::default()
        };
        let refused = client.exports().create_export(request).await.unwrap_err();
        let details = refused.get_error_details();
        let fields: Vec<_> =
            details.bad_request().unwrap().field_violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["level", "opened[0]", "scope", "cover.authority", "since", "export_id"]);

        let ask = |range: pb::ExportRange, level: pb::ExportLevel, opened: Vec<pb::SubjectName>| {
            let request = pb::CreateExportRequest {
                scope: Some(Scope::Range(range)),
                level: level.into(),
                opened,
                opening: Some(pb::Opening { reason: "test".to_owned(), ticket: "T".to_owned() }),
                ..Default::default()
            };
            let client = client.clone();
            async move { client.exports().create_export(request).await.map(drop).unwrap_err() }
        };
        let wang = pb::subject_name::Name::Identifier(account("wang"));
        let nobody = pb::subject_name::Name::Identifier(account("nobody"));
        let (wang, nobody) = (pb::SubjectName { name: Some(wang) }, pb::SubjectName { name: Some(nobody) });
        let of = |from, to| pb::ExportRange { position_from: from, position_to: to, ..Default::default() };
        let (headers, opened) = (pb::ExportLevel::Headers, pb::ExportLevel::Opened);
        for (range, level, people, code, word) in [
            (of(None, Some(1_000)), headers, vec![], Code::InvalidArgument, "goes beyond"),
            (of(Some(4), Some(4)), headers, vec![], Code::InvalidArgument, "holds no event"),
            (of(None, None), headers, vec![wang.clone()], Code::InvalidArgument, "at the level opened only"),
            (of(None, None), opened, vec![], Code::InvalidArgument, "whose parts are opened"),
            (of(None, None), opened, vec![wang; 33], Code::InvalidArgument, "more than 32"),
            (of(None, None), opened, vec![nobody], Code::NotFound, "nobody is known"),
        ] {
            let refused = ask(range, level, people).await;
            assert_eq!(refused.code(), code, "{refused:?}");
            assert!(refused.message().contains(word), "{refused:?}");
        }
        let list = client.exports().list_exports(pb::ListExportsRequest::default()).await.unwrap();
        assert!(list.into_inner().exports.is_empty());
    });
    let by_time = house.export(&["--out", "none", "--recorded-to", "2020-01-01T00:00:00Z"]);
    assert!(said(&by_time).contains("holds no event"), "{}", said(&by_time));
    let all = house.export(&["--out", "all", "--recorded-from", "2020-01-01T00:00:00Z"]);
    assert!(all.status.success(), "{}", said(&all));
    let lines = std::fs::read_to_string(house.path("all").join(EVENTS)).unwrap();
    assert!(lines.lines().count() >= 13);
}
