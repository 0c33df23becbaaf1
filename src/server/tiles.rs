//! The log for monitors and witnesses over HTTP: `/checkpoint`, `/tile/<L>/<N>[.p/<W>]` and
//! `/tile/entries/<N>[.p/<W>]` as of c2sp.org/tlog-tiles, on a listener of its own.
//!
//! Promises: only what a published checkpoint covers is served; what is large is bounded by a tile.
//! It asks nobody who they are: headers name no person, but they name the organisation's doings.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ledger::Ledger;
use crate::ledger::tlog::tile::Resource;

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 256;
/// A request's head takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A tile never changes, a checkpoint soon.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const SOON: &str = "no-cache";

/// Opens the port. The future serves until it is dropped.
pub async fn bind(
    address: SocketAddr,
    ledger: Arc<Ledger>,
) -> anyhow::Result<(SocketAddr, impl Future<Output = ()> + Send + 'static)> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("{address} cannot be listened on: set ledger.tiles_listen, port 0 takes any")
    })?;
    let address = listener.local_addr()?;
    Ok((address, accept(listener, ledger)))
}

async fn accept(listener: TcpListener, ledger: Arc<Ledger>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // Dropped with this future, and every connection with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve(stream, Arc::clone(&ledger), place));
                while connections.try_join_next().is_some() {}
            }
            Err(error) => {
                tracing::warn!(%error, "a reader of tiles could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, ledger: Arc<Ledger>, _place: OwnedSemaphorePermit) {
    let answering = service_fn(move |request| {
        let ledger = Arc::clone(&ledger);
        async move { Ok::<_, Infallible>(answer(request, &ledger).await) }
    });
    // A broken connection concerns nobody but its reader.
    let _ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), answering)
        .await;
}

async fn answer(request: Request<Incoming>, ledger: &Arc<Ledger>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let path = request.uri().path();
    let Ok(resource) = path.strip_prefix('/').unwrap_or(path).parse::<Resource>() else {
        return plain(StatusCode::NOT_FOUND, "there are /checkpoint, /tile/L/N and /tile/entries/N\n");
    };
    match ledger.resource(resource).await {
        Ok(Some(bytes)) => found(resource, bytes),
        Ok(None) => plain(StatusCode::NOT_FOUND, "not in the published tree\n"),
        Err(error) => {
            tracing::error!(%error, %resource, "a tile could not be read");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the log's operator has to look\n")
        }
    }
}

fn found(resource: Resource, bytes: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(bytes)));
    let (kind, cache) = match resource {
        Resource::Checkpoint => ("text/plain; charset=utf-8", SOON),
        _ => ("application/octet-stream", FOR_EVER),
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
