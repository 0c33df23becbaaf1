//! TLS and mutual TLS with real certificates: who gets in, who does not, and the command line over it.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use custody::cli::client::Remote;
use custody::pb;
use rcgen::ExtendedKeyUsagePurpose;
use support::authority::{Authority, Identity};
use support::events::{collected, runtime, send, workplace};
use support::server::Served;

/// A token of a role, in a file of its own.
fn token(below: &Path, name: &str, role: &str) -> PathBuf {
    let made = Command::new(env!("CARGO_BIN_EXE_custody"))
        .args(["token", "new", "--name", name, "--role", role, "--tokens-file"])
        .arg(below.join("tokens"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let path = below.join(format!("{name}.token"));
    let text = String::from_utf8(made.stdout).unwrap();
    std::fs::write(&path, text.lines().next().unwrap()).unwrap();
    path
}

/// Serves with a certificate and tokens; with `clients`, mutually.
fn serve(below: &Path, identity: &Identity, clients: Option<&Authority>) -> Served {
    let mut command = Served::command(&below.join("data"));
    let mut set = |key: &str, path: &Path| {
        command.arg("--set").arg(format!("{key}={}", path.display()));
    };
    set("tls.certificate", &identity.certificate);
    set("tls.key", &identity.key);
    set("access.tokens", &below.join("tokens"));
    if let Some(clients) = clients {
        set("tls.client_ca", &clients.certificate);
    }
    Served::spawn(&mut command)
}

fn remote(served: &Served, authority: &Authority, token: &Path, identity: Option<&Identity>) -> Remote {
    Remote {
        server: format!("https://{}", served.address()),
        token_file: Some(token.to_owned()),
        ca: Some(authority.certificate.clone()),
        cert: identity.map(|identity| identity.certificate.clone()),
        key: identity.map(|identity| identity.key.clone()),
    }
}

/// Records an event; why not, if not.
async fn record(remote: &Remote) -> Result<pb::Receipt, String> {
    let client = remote.connect().await.map_err(|failure| failure.message)?;
    let mut event = collected("person-1");
    event.emitter = "solar-app".to_owned();
    send(&client, &event).await.map_err(|status| format!("{status:?}"))
}

/// `custody status` over TLS: its exit code, and what it said.
fn status(remote: &Remote) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    command.args(["status", "--server", &remote.server]);
    let files = [
        ("--token-file", &remote.token_file),
        ("--ca", &remote.ca),
        ("--cert", &remote.cert),
        ("--key", &remote.key),
    ];
    for (flag, path) in files {
        path.iter().for_each(|path| {
            command.arg(flag).arg(path);
        });
    }
    let ended = command.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
    (ended.status.code(), said.into_owned())
}

#[test]
fn a_client_is_served_that_knows_the_authority_and_has_a_token() {
    let below = workplace();
    let [ours, others] = ["ours", "others"].map(|name| Authority::new(below.path(), name));
    let emitter = token(below.path(), "solar-app", "emitter");
    let operator = token(below.path(), "root", "operator");
    let guessed = below.path().join("guessed");
    std::fs::write(&guessed, "guessed").unwrap();
    let served = serve(below.path(), &ours.issue("server", ExtendedKeyUsagePurpose::ServerAuth), None);
    runtime().block_on(async {
        record(&remote(&served, &ours, &emitter, None)).await.unwrap();
        let refused = record(&remote(&served, &others, &emitter, None)).await.unwrap_err();
        assert!(refused.contains("UnknownIssuer"), "{refused}");
        let refused = record(&remote(&served, &ours, &guessed, None)).await.unwrap_err();
        assert!(refused.contains("Unauthenticated") || refused.contains("UNAUTHENTICATED"), "{refused}");
        let plain = Remote::local(format!("http://{}", served.address()));
        assert!(record(&plain).await.is_err(), "nothing is answered without TLS");
    });
    let (code, said) = status(&remote(&served, &ours, &operator, None));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = status(&remote(&served, &others, &operator, None));
    assert!(code == Some(3) && said.contains("UnknownIssuer"), "{code:?} {said}");
    let (code, said) = status(&remote(&served, &ours, &emitter, None));
    assert!(code == Some(2) && said.contains("ROLE_FORBIDDEN"), "{code:?} {said}");
    served.stop();
}

#[test]
fn with_mutual_tls_a_token_alone_does_not_get_in() {
    let below = workplace();
    let [ours, others] = ["ours", "others"].map(|name| Authority::new(below.path(), name));
    let emitter = token(below.path(), "solar-app", "emitter");
    let operator = token(below.path(), "root", "operator");
    let known = ours.issue("known", ExtendedKeyUsagePurpose::ClientAuth);
    let stranger = others.issue("stranger", ExtendedKeyUsagePurpose::ClientAuth);
    let identity = ours.issue("server", ExtendedKeyUsagePurpose::ServerAuth);
    let served = serve(below.path(), &identity, Some(&ours));
    runtime().block_on(async {
        record(&remote(&served, &ours, &emitter, Some(&known))).await.unwrap();
        for unfit in [None, Some(&stranger)] {
            let refused = record(&remote(&served, &ours, &emitter, unfit)).await.unwrap_err();
            assert!(!refused.contains("TOKEN_UNKNOWN"), "it came as far as the gate: {refused}");
        }
    });
    let (code, said) = status(&remote(&served, &ours, &operator, Some(&known)));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = status(&remote(&served, &ours, &operator, None));
    assert_eq!(code, Some(3), "{said}");
    served.stop();
}
