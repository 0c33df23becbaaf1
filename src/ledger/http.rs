//! As much of an HTTP client as a witness needs: one request, one answer, bounded in size and time.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Longest answer that is read.
const ANSWER_BYTES: usize = 64 * 1024;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Speaks `http`, and `https` with servers that an authority given by the operator vouches for.
#[derive(Clone)]
pub struct Client {
    tls: Option<TlsConnector>,
    patience: Duration,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Client {
    /// `authorities` is PEM.
    pub fn new(authorities: Option<&[u8]>, patience: Duration) -> Result<Client, String> {
        let Some(pem) = authorities else { return Ok(Client { tls: None, patience }) };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(said)?).map_err(said)?;
        }
        if roots.is_empty() {
            return Err("no certificate in it".to_owned());
        }
        // Named, because the process may have been given another by a library.
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(said)?.with_root_certificates(roots).with_no_client_auth();
        Ok(Client { tls: Some(TlsConnector::from(Arc::new(config))), patience })
    }

    /// Whether this client could speak with an address; if not, why.
    pub fn can_reach(&self, url: &str) -> Result<(), String> {
        let uri: Uri = url.parse().map_err(|why| format!("{url} is not an address: {why}"))?;
        match (uri.scheme_str(), uri.host()) {
            (_, None) => Err(format!("{url} names no host")),
            (Some("http"), _) => Ok(()),
            (Some("https"), _) if self.tls.is_some() => Ok(()),
            (Some("https"), _) => {
                Err(format!("{url} needs ledger.witness_ca: the authority that vouches for its certificate"))
            }
            _ => Err(format!("{url} is neither http nor https")),
        }
    }

    /// Sends a text and waits for the answer, no longer than the client's patience.
    pub async fn post(&self, url: &str, body: String) -> Result<Answer, String> {
        match tokio::time::timeout(self.patience, self.talk(url, body)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer within {} s", self.patience.as_secs_f64())),
        }
    }

    async fn talk(&self, url: &str, body: String) -> Result<Answer, String> {
        self.can_reach(url)?;
        let uri: Uri = url.parse().map_err(said)?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let encrypted = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(said)?;
        match self.tls.as_ref().filter(|_| encrypted) {
            None => exchange(stream, &uri, body).await,
            Some(tls) => {
                let name = ServerName::try_from(host).map_err(said)?;
                let stream = tls.connect(name, stream).await.map_err(said)?;
                exchange(stream, &uri, body).await
            }
        }
    }
}

fn said(why: impl std::fmt::Display) -> String {
    why.to_string()
}

async fn exchange<S>(stream: S, uri: &Uri, body: String) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
    let host = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::post(path)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .body(Full::new(bytes::Bytes::from(body)))
        .map_err(said)?;
    let answered = async {
        let answer = sender.send_request(request).await.map_err(said)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        Ok(Answer { status, body: body.map_err(said)?.to_bytes().to_vec() })
    };
    tokio::pin!(connection, answered);
    // The connection has to be driven, and ends with its answer.
    tokio::select! {
        answer = &mut answered => answer,
        // Many servers hang up over TLS without saying so, right after an answer that is whole; what is
        // not whole is an error of the answer too.
        ended = &mut connection => answered.await.map_err(|why| ended.err().map_or(why, said)),
    }
}
