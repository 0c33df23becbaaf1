//! What the process says about itself: log lines on standard error, metrics on a port of their
//! own, and one request id through both. Nothing here, and nothing that uses it, names a person.

pub mod exporter;
pub mod metrics;
pub mod request;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("log.filter {filter:?} is neither a level nor a list of directives")]
    Filter {
        filter: String,
        #[source]
        source: ParseError,
    },
    #[error("the metrics address {address} cannot be used")]
    Listen {
        address: std::net::SocketAddr,
        #[source]
        source: std::io::Error,
    },
}

/// Starts logging to standard error: readable on a terminal, one JSON object a line elsewhere. The
/// first call of a process decides; later ones (servers of one test process) only check the filter.
pub fn init(filter: &str) -> Result<(), Error> {
    let parsed =
        EnvFilter::try_new(filter).map_err(|source| Error::Filter { filter: filter.to_owned(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(std::io::stderr);
    let terminal = std::io::stderr().is_terminal();
    // An error means that a subscriber is set already, which is what the first caller wanted.
    let _already = if terminal {
        lines.with_ansi(std::env::var_os("NO_COLOR").is_none()).try_init()
    } else {
        lines.json().flatten_event(true).try_init()
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        let error = super::init("info,=,=").unwrap_err();
        assert!(error.to_string().contains("log.filter"), "{error}");
    }
}
