//! TLS towards PostgreSQL.
//!
//! Promises: a server is spoken with only if an authority vouches for the name it was called by; the cryptography
//! is that of *ring*, named here, whatever another library of the process would like better. Keeps nothing.

use std::path::Path;
use std::sync::Arc;

use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Error;

pub type Connector = MakeRustlsConnect;

/// With the authorities of a file, or those of the machine.
pub fn connector(authorities: Option<&Path>) -> Result<Connector, Error> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(file) => {
            let wrong = |why: String| Error::Options(format!("{}: {why}", file.display()));
            let pem = std::fs::read(file).map_err(|why| wrong(why.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|why| wrong(why.to_string()))?;
                roots.add(certificate).map_err(|why| wrong(why.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("no certificate in it".to_owned()));
            }
        }
        // None at all is no error yet: with `sslmode=prefer` the server may speak no TLS.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| Error::Options(why.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
