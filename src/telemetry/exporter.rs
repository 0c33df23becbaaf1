//! Metrics for Prometheus: a listener of its own that answers `GET /metrics` and nothing else.
//!
//! It speaks as much HTTP/1.1 as a scrape needs: one request a connection, a bounded head, a time
//! limit. A scrape that fails costs one sample; nothing depends on it.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Error, metrics};

/// Longest request head, in bytes.
const HEAD_BYTES: usize = 8 * 1024;
/// A scrape takes milliseconds; whoever takes longer is not scraping.
const PATIENCE: Duration = Duration::from_secs(10);
/// Histograms gather samples until somebody drains them, scraped or not.
const UPKEEP: Duration = Duration::from_secs(5);

/// The recorder of this process. Several servers of one test process share it.
fn handle() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let mut builder = PrometheusBuilder::new();
            for (name, bounds) in metrics::bounds() {
                let matcher = Matcher::Full(name.to_owned());
                builder = builder.set_buckets_for_metric(matcher, bounds).expect("bounds are never empty");
            }
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            if ::metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another metrics recorder is installed; /metrics will be empty");
            }
            metrics::touch();
            handle
        })
        .clone()
}

/// The text of one scrape.
pub fn render() -> String {
    handle().render()
}

/// Installs the recorder and listens; the future serves until it is dropped.
pub async fn bind(address: SocketAddr) -> Result<(SocketAddr, impl Future<Output = ()>), Error> {
    let failed = |source| Error::Listen { address, source };
    let handle = handle();
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let real = listener.local_addr().map_err(failed)?;
    Ok((real, serve(listener, handle)))
}

async fn serve(listener: TcpListener, handle: PrometheusHandle) {
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            _ = upkeep.tick() => handle.run_upkeep(),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let handle = handle.clone();
                    tokio::spawn(async move {
                        // Neither a slow nor a broken scrape concerns anybody but the scraper.
                        let _outcome = tokio::time::timeout(PATIENCE, answer(stream, &handle)).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a scrape could not be accepted");
                    // Out of file descriptors: wait until somebody has closed one.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

async fn answer(mut stream: TcpStream, handle: &PrometheusHandle) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let request = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let mut words = request.split(|b| *b == b' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split(|b| *b == b'?').next().unwrap_or_default();
    let (status, body) = match (method, path) {
        (b"GET", b"/metrics") => ("200 OK", handle.render()),
        (b"GET", _) => ("404 Not Found", "metrics are at /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn a_scrape_finds_every_metric_before_anything_happened() {
        let (address, serving) = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let task = tokio::spawn(serving);
        let text = get(address, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("# TYPE custody_events_recorded_total counter"), "{text}");
        assert!(text.contains("# TYPE custody_log_head_position gauge"));
        assert!(get(address, "GET / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 404"));
        assert!(get(address, "POST /metrics HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 405"));
        task.abort();
    }
}
