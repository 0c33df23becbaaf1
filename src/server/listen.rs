//! The gRPC listener: TLS, limits, health, reflection, and how it stops.
//!
//! Promises: a port that is open answers; health says SERVING only while events can be recorded and
//! asked about; a stop says NOT_SERVING first, lets calls that run end within the deadline, ends
//! streams after what they have begun, and refuses the rest: while calls run with the reason
//! STOPPING, afterwards by closing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::api::guard::Calls;
use crate::config::{Config, Tls};
use crate::pb;
use crate::telemetry::metrics;

/// Flow-control windows, in bytes: a full message in flight per stream, two per connection.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// How often health looks at what it reports.
const WATCH: Duration = Duration::from_millis(250);
/// Services whose health can be asked for by name; the empty name is the whole.
const SERVICES: [&str; 6] = [
    "",
    "custody.v1.AdminService",
    "custody.v1.EventService",
    "custody.v1.IngestService",
    "custody.v1.LedgerService",
    "custody.v1.SubjectService",
];

/// Whether events can be recorded and asked about, and if not, why.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// A listener that serves.
pub struct Listener {
    pub address: SocketAddr,
    /// Ends with the listener.
    pub serving: JoinHandle<anyhow::Result<()>>,
}

/// Opens the port and serves until `stop` turns true. An error comes before anybody is served.
pub async fn open(
    config: &Config,
    routes: Routes,
    ready: Ready,
    calls: Arc<Calls>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<Listener> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("reflection")?;
    let routes = routes.add_service(health_service).add_service(reflection);
    let mut server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .concurrency_limit_per_connection(usize::try_from(config.limits.calls_per_connection)?)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)));
    if let Some(tls) = tls(&config.tls)? {
        server = server.tls_config(tls).context("tls.certificate and tls.key cannot be used")?;
    }
    let listen = config.server.listen;
    let incoming = TcpIncoming::bind(listen).with_context(|| {
        format!(
            "{listen} cannot be listened on; another process may have it: set server.listen, port 0 takes any"
        )
    })?;
    let incoming = incoming.with_nodelay(Some(true));
    let address = incoming.local_addr()?;

    // Before the first caller: whoever asks at once gets the truth.
    report(&health, &ready, false).await;
    let watching = tokio::spawn(watch_health(health.clone(), Arc::clone(&ready), stop.clone()));
    let deadline = Duration::from_millis(config.server.drain_ms);
    let serving = tokio::spawn(async move {
        let drained = drained(stop.clone(), calls);
        let served = server.add_routes(routes).serve_with_incoming_shutdown(incoming, drained);
        let outcome = within_deadline(served, stop, deadline).await;
        watching.abort();
        outcome
    });
    Ok(Listener { address, serving })
}

/// Returns when the process is to stop and no call is being answered any more. Until then
/// connections stay open, so that whoever calls meanwhile hears from the gate that and why not.
async fn drained(stop: watch::Receiver<bool>, calls: Arc<Calls>) {
    stopped(stop).await;
    calls.ended().await;
}

/// Serves; once stopped, waits no longer than `deadline` for calls that run.
async fn within_deadline(
    calls: impl Future<Output = Result<(), tonic::transport::Error>>,
    stop: watch::Receiver<bool>,
    deadline: Duration,
) -> anyhow::Result<()> {
    let expired = async {
        stopped(stop).await;
        tokio::time::sleep(deadline).await;
    };
    tokio::select! {
        ended = calls => ended.context("the listener failed"),
        () = expired => {
            tracing::warn!(deadline_ms = deadline.as_millis() as u64, "calls were still running and were cut off");
            Ok(())
        }
    }
}

/// Returns when the process is to stop; also when nobody is left who could say so.
pub async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _stopped = stop.wait_for(|stop| *stop).await;
}

async fn watch_health(health: HealthReporter, ready: Ready, stop: watch::Receiver<bool>) {
    let stopping = stopped(stop);
    tokio::pin!(stopping);
    let mut tick = tokio::time::interval(WATCH);
    loop {
        tokio::select! {
            () = &mut stopping => return report(&health, &ready, true).await,
            _ = tick.tick() => report(&health, &ready, false).await,
        }
    }
}

async fn report(health: &HealthReporter, ready: &Ready, stopping: bool) {
    let serving = !stopping && ready().is_ok();
    ::metrics::gauge!(metrics::SERVING).set(if serving { 1.0 } else { 0.0 });
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in SERVICES {
        health.set_service_status(service, status).await;
    }
}

fn tls(config: &Tls) -> anyhow::Result<Option<ServerTlsConfig>> {
    let read = |path: &std::path::Path| std::fs::read(path).with_context(|| format!("{}", path.display()));
    let (Some(certificate), Some(key)) = (&config.certificate, &config.key) else { return Ok(None) };
    // Two are compiled in, so the process has to name one. In a cluster its client has named the other already.
    if CryptoProvider::get_default().is_none() {
        let _other = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    }
    let mut tls = ServerTlsConfig::new().identity(Identity::from_pem(read(certificate)?, read(key)?));
    if let Some(authority) = &config.client_ca {
        // Required from everybody: a token alone does not get past it.
        tls = tls.client_ca_root(Certificate::from_pem(read(authority)?));
    }
    Ok(Some(tls))
}

#[cfg(test)]
mod tests;
