//! A stand-in for a node of KurrentDB (EventStoreDB): it speaks a part of the public gRPC protocol
//! `event_store.client.*` over a real socket, so that an adapter written on a public client can be tested
//! against processes that are killed, hang, forget to answer and change leaders.
//!
//! It is no database. It keeps everything in memory and in one file that all nodes of a "cluster" share;
//! there is no replication, no scavenging, no access lists, no projections, no persistent subscriptions,
//! and leadership is a file lock. What it does, with the semantics of the public protocol: which methods
//! there are, gossip, Append and BatchAppend with expected revisions and idempotency, reads and
//! subscriptions of a stream and of `$all` with prefix filters and checkpoints. Everything else it refuses
//! with `UNIMPLEMENTED`, deletion included. The code follows this picture:
//!
//! ```text
//! service -> append, batch -> keeper (decide) -> frame (the file) -> log -> read, subscribe -> client
//! ```
//!
//! Promises: what was acknowledged survives the death of any process; all nodes give events the same order
//! and positions. Does not: survive the loss of its disk, nor prove anything about a real node.

mod append;
mod batch;
mod cluster;
mod commands;
mod connection;
mod decide;
mod faults;
mod frame;
mod info;
mod keeper;
mod log;
mod node;
mod read;
mod service;
mod subscribe;
mod wire;
mod wire_read;

use base64::Engine;
use clap::Parser;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tonic::transport::{Identity, Server, ServerTlsConfig};

/// A stand-in for a node of KurrentDB, for tests. Not a database.
#[derive(Parser)]
struct Arguments {
    /// Directory that all nodes of the cluster share.
    #[arg(long)]
    shared: PathBuf,
    /// Where to listen, which is also what clients are told; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:2113")]
    listen: String,
    /// The other nodes, as they listen.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Certificate chain; with --key, TLS.
    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,
    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
    /// The one user, as NAME:PASSWORD; without it nobody is asked.
    #[arg(long)]
    user: Option<String>,
    /// Data, metadata and twice the type of all events of an append.
    #[arg(long, default_value_t = 1 << 20)]
    max_append_bytes: usize,
    /// Stop when standard input ends, so that a test leaves no process behind.
    #[arg(long)]
    stop_with_stdin: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let mut server = Server::builder();
    if let (Some(certificate), Some(key)) = (&arguments.certificate, &arguments.key) {
        // The public client, where it is built along, brings a second provider, and then one must be named.
        let provider = tokio_rustls::rustls::crypto::ring::default_provider();
        provider.install_default().map_err(|_| "a provider is installed already")?;
        let identity = Identity::from_pem(std::fs::read(certificate)?, std::fs::read(key)?);
        server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
    }
    let listener = TcpListener::bind(&arguments.listen).await?;
    let (host, _) = node::split(&arguments.listen).ok_or("--listen needs host:port")?;
    let own = format!("{host}:{}", listener.local_addr()?.port());
    let cluster = Arc::new(cluster::Cluster::join(&arguments.shared, &own, &arguments.peers)?);
    let node = start(&arguments, cluster)?;
    node.role.clone().wait_for(|role| *role != keeper::Role::Starting).await?;
    // Nobody may be listening to us, which is no reason not to serve.
    let _ = writeln!(io::stdout(), "listening on {own}");

    let incoming = connection::accept(listener, Arc::clone(&node));
    let serving = server.serve_with_incoming_shutdown(
        service::NodeService(Arc::clone(&node)),
        incoming,
        stopped(Arc::clone(&node)),
    );
    Ok(serving.await?)
}

/// The node with its two threads: the one that keeps the file and the one that listens to the test.
fn start(
    arguments: &Arguments,
    cluster: Arc<cluster::Cluster>,
) -> Result<Arc<node::Node>, Box<dyn std::error::Error>> {
    let log = Arc::new(log::Log::new());
    let (role, role_seen) = watch::channel(keeper::Role::Starting);
    let (commands, commands_seen) = mpsc::channel();
    let keeper = keeper::Keeper::open(Arc::clone(&cluster), Arc::clone(&log), role, commands_seen)?;
    let base64 = base64::engine::general_purpose::STANDARD;
    let authorization = arguments.user.as_ref().map(|user| format!("Basic {}", base64.encode(user)));
    let node = Arc::new(node::Node {
        cluster,
        log,
        role: role_seen,
        commands,
        faults: faults::Faults::none(),
        append_bytes_max: arguments.max_append_bytes,
        authorization,
    });
    std::thread::spawn(|| {
        // Also when it panics: a node that cannot write must not go on.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| keeper.run()));
        eprintln!("the log cannot be kept: {ended:?}");
        std::process::exit(1);
    });
    let (listening, stop_with_stdin) = (Arc::clone(&node), arguments.stop_with_stdin);
    std::thread::spawn(move || {
        commands::run(&listening);
        if stop_with_stdin {
            std::process::exit(0);
        }
    });
    Ok(node)
}

/// Returns when the process is asked to stop, with subscriptions told so; what stays open is cut soon after.
async fn stopped(node: Arc<node::Node>) {
    // Cannot fail: the signal is one that may be handled.
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
    terminate.recv().await;
    node.faults.end_subscriptions(faults::End::Unavailable);
    tokio::spawn(async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        std::process::exit(0);
    });
}
