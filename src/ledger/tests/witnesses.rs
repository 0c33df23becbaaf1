//! Witnesses that cosign, are down, are slow, or refuse; over TLS those that an authority vouches for.

use std::net::SocketAddr;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;
use crate::ledger::http::Client;
use crate::ledger::tlog::{ConsistencyFile, decimal};

const NAME: &str = "w.example/w1";

/// How a witness of the tests behaves.
#[derive(Debug, Clone)]
enum Manner {
    /// As the protocol asks for, from this size and root on.
    Honest,
    Says(u16, &'static str),
    Silent,
    /// Hangs up in the middle of its answer.
    Cut,
}

/// Listens and answers every request in this manner.
async fn witness(manner: Manner) -> SocketAddr {
    serve(manner, None).await
}

async fn serve(manner: Manner, tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut seen = (0, tree(0).root());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            match &tls {
                None => answer(stream, &manner, &mut seen).await,
                // A client that does not trust us ends the handshake.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        answer(stream, &manner, &mut seen).await;
                    }
                }
            }
        }
    });
    address
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    manner: &Manner,
    seen: &mut (u64, [u8; 32]),
) {
    let request = read(&mut stream).await;
    let (status, body) = match manner {
        Manner::Silent => {
            // Until the client goes away.
            let _ = stream.read(&mut [0]).await;
            return;
        }
        Manner::Says(status, body) => (*status, (*body).to_owned()),
        Manner::Honest | Manner::Cut => judge(&request, seen),
    };
    let length = body.len() + usize::from(matches!(manner, Manner::Cut));
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let end = text.find("\r\n\r\n").map(|end| end + 4);
        if let (Some(end), Some(length)) = (end, length.and_then(decimal))
            && bytes.len() >= end + length as usize
        {
            return bytes[end..].to_vec();
        }
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
    }
}

fn judge(request: &[u8], seen: &mut (u64, [u8; 32])) -> (u16, String) {
    let file = ConsistencyFile::parse(request).unwrap();
    assert!(trusting(1).judge(&file.checkpoint).is_ok());
    if file.old != seen.0 {
        return (409, format!("{}\n", seen.0));
    }
    if file.check(&seen.1).is_err() {
        return (422, String::new());
    }
    *seen = (file.checkpoint.checkpoint.size, file.checkpoint.checkpoint.root);
    (200, cosigner().sign(&file.checkpoint.note.text, 1_772_000_000).to_string())
}

fn cosigner() -> Signer {
    Signer::from_seed(NAME, KeyKind::Cosignature, &[9; 32]).unwrap()
}

fn asking(address: SocketAddr, patience: Duration) -> Option<Witnesses> {
    Some(asking_by("http", address, Client::new(None, patience).unwrap()))
}

fn asking_by(scheme: &str, address: SocketAddr, client: Client) -> Witnesses {
    let policy = format!("witness W {} {scheme}://{address}/w/\nquorum W\n", cosigner().verifier());
    Witnesses::new(Policy::parse(policy.as_bytes()).unwrap(), client).unwrap()
}

/// An authority of the tests: its certificate as PEM, and what it signs with.
fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, Issuer::new(params, key))
}

/// A witness with a certificate for this name.
async fn witness_over_tls(manner: Manner, issuer: &Issuer<'static, KeyPair>, name: &str) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key);
    serve(manner, Some(TlsAcceptor::from(Arc::new(config.unwrap())))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cosignatures_are_carried_and_kept() {
    let mut place = Place::new();
    place.witnesses = asking(witness(Manner::Honest).await, Duration::from_secs(10));
    let mut open = place.open().await.unwrap();
    for size in [10, 25] {
        open.grow(size).await;
        let signed = open.publish().await;
        assert!(!open.ledger.is_witnessed(&signed));
        open.ledger.ask_witnesses().await;
        let latest = open.ledger.latest().unwrap();
        assert!(latest.checkpoint.size == size && open.ledger.is_witnessed(&latest));
        assert_eq!(open.publish().await, latest, "it stays cosigned");
    }
    open.close();
    // What the witness has seen last is not remembered; it says so itself.
    let mut open = place.open().await.unwrap();
    assert!(open.ledger.is_witnessed(&open.ledger.latest().unwrap()), "kept");
    open.grow(40).await;
    open.publish().await;
    open.ledger.ask_witnesses().await;
    assert!(open.ledger.status().witnessed && open.ledger.status().refusals.is_empty());
    open.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_does_not_cosign_is_told_and_harms_nothing() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let manners = [
        (gone, "", 0),
        (witness(Manner::Silent).await, "no answer", 0),
        (witness(Manner::Cut).await, "reading a body", 0),
        (witness(Manner::Says(409, "4000\n")).await, "409", 1),
        (witness(Manner::Says(422, "")).await, "422", 1),
        (witness(Manner::Says(404, "unknown log")).await, "404 unknown log", 0),
        (witness(Manner::Says(200, "\u{2014} somebody else AAAAAAAA\n")).await, "malformed", 0),
        (witness(Manner::Says(200, "")).await, "no signature", 0),
    ];
    for (address, said, evidence) in manners {
        let mut place = Place::new();
        place.witnesses = asking(address, Duration::from_millis(300));
        let mut open = place.open().await.unwrap();
        open.grow(10).await;
        let signed = open.publish().await;
        open.ledger.ask_witnesses().await;
        let status = open.ledger.status();
        assert_eq!(status.refusals.len(), 1, "{address} {said}");
        assert!(status.refusals[0].0 == NAME && status.refusals[0].1.contains(said), "{status:?}");
        let kept = std::fs::read_dir(place.outside().join("evidence")).map_or(0, Iterator::count);
        assert_eq!(kept, evidence, "{said}");
        assert!(!status.witnessed && status.diverged.is_none());
        assert_eq!(open.ledger.latest().unwrap(), signed);
        open.grow(11).await;
        assert_eq!(open.publish().await.checkpoint.size, 11, "signing goes on");
        open.close();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_a_witness_is_asked_that_our_authority_vouches_for() {
    let (pem, issuer) = authority();
    let client = Client::new(Some(pem.as_bytes()), Duration::from_secs(10)).unwrap();
    let mut place = Place::new();
    let address = witness_over_tls(Manner::Honest, &issuer, "127.0.0.1").await;
    place.witnesses = Some(asking_by("https", address, client));
    let mut open = place.open().await.unwrap();
    for size in [10, 25] {
        open.grow(size).await;
        open.publish().await;
        open.ledger.ask_witnesses().await;
        let status = open.ledger.status();
        assert!(status.witnessed && status.refusals.is_empty(), "{status:?}");
    }
    open.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_nobody_else_is_believed_and_recording_goes_on() {
    let ((ours, issuer), (_, stranger)) = (authority(), authority());
    for (address, said) in [
        (witness_over_tls(Manner::Honest, &stranger, "127.0.0.1").await, "invalid peer certificate"),
        (witness_over_tls(Manner::Honest, &issuer, "w.example").await, "not valid for name"),
        (witness_over_tls(Manner::Cut, &issuer, "127.0.0.1").await, "reading a body"),
    ] {
        let client = Client::new(Some(ours.as_bytes()), Duration::from_secs(10)).unwrap();
        let mut place = Place::new();
        place.witnesses = Some(asking_by("https", address, client));
        let mut open = place.open().await.unwrap();
        open.grow(10).await;
        let signed = open.publish().await;
        open.ledger.ask_witnesses().await;
        let status = open.ledger.status();
        assert!(!status.witnessed && status.diverged.is_none(), "{status:?}");
        assert!(status.refusals.len() == 1 && status.refusals[0].1.contains(said), "{said}: {status:?}");
        assert!(!place.outside().join("evidence").exists(), "it saw nothing that it could refuse");
        assert_eq!(open.ledger.latest().unwrap(), signed);
        open.grow(1_000).await;
        assert_eq!(open.publish().await.checkpoint.size, 1_000, "recording and signing go on");
        open.close();
    }
}

#[test]
fn an_address_that_cannot_be_reached_is_refused_at_once() {
    let client = || Client::new(None, Duration::from_secs(1)).unwrap();
    for url in ["ftp://w.example", "https://w.example", "nonsense"] {
        assert!(client().can_reach(url).is_err(), "{url}");
    }
    assert!(Client::new(Some(b"no certificate"), Duration::from_secs(1)).is_err());
}
