//! How the command line reaches a service: address, token, certificates.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use crate::cli::exit::{Exit, Failure};
use crate::limits;
use crate::pb::admin_service_client::AdminServiceClient;
use crate::pb::backup_service_client::BackupServiceClient;
use crate::pb::erasure_service_client::ErasureServiceClient;
use crate::pb::event_service_client::EventServiceClient;
use crate::pb::export_service_client::ExportServiceClient;
use crate::pb::finding_service_client::FindingServiceClient;
use crate::pb::ingest_service_client::IngestServiceClient;
use crate::pb::instruction_service_client::InstructionServiceClient;
use crate::pb::job_service_client::JobServiceClient;
use crate::pb::key_service_client::KeyServiceClient;
use crate::pb::law_service_client::LawServiceClient;
use crate::pb::ledger_service_client::LedgerServiceClient;
use crate::pb::plan_service_client::PlanServiceClient;
use crate::pb::processing_service_client::ProcessingServiceClient;
use crate::pb::question_service_client::QuestionServiceClient;
use crate::pb::register_service_client::RegisterServiceClient;
use crate::pb::retention_service_client::RetentionServiceClient;
use crate::pb::subject_service_client::SubjectServiceClient;
use crate::pb::term_service_client::TermServiceClient;
use crate::pb::transfer_service_client::TransferServiceClient;

/// Answers may be as large as a page of events with their headers.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Where the service is and who asks.
#[derive(Debug, Clone, Args)]
pub struct Remote {
    /// Address of the service
    #[arg(long, env = "CUSTODY_SERVER", default_value = "http://127.0.0.1:7317", value_name = "URL")]
    pub server: String,
    /// File that holds the token
    #[arg(long, env = "CUSTODY_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificate authority of the service, PEM
    #[arg(long, env = "CUSTODY_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Certificate to show to the service, PEM
    #[arg(long, env = "CUSTODY_CERT", value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, env = "CUSTODY_KEY", value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

/// Adds the token to every call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

pub type Transport = InterceptedService<Channel, Bearer>;

/// An open connection.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
}

impl Remote {
    /// A service on this machine without tokens, as the demo starts it.
    pub fn local(server: String) -> Self {
        Remote { server, token_file: None, ca: None, cert: None, key: None }
    }

    pub async fn connect(&self) -> Result<Client, Failure> {
        let channel = self.endpoint()?.connect().await.map_err(|error| self.unreachable(&error))?;
        Ok(Client { transport: InterceptedService::new(channel, self.bearer()?) })
    }

    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let endpoint = Endpoint::from_shared(self.server.clone())
            .map_err(|e| Failure::usage(format_args!("--server {} is not an address: {e}", self.server)))?
            .connect_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            .initial_stream_window_size(4 * 1024 * 1024)
            .initial_connection_window_size(8 * 1024 * 1024);
        if !self.server.starts_with("https://") {
            return Ok(endpoint);
        }
        let mut tls = ClientTlsConfig::new();
        if let Some(path) = &self.ca {
            tls = tls.ca_certificate(Certificate::from_pem(read(path)?));
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        endpoint.tls_config(tls).map_err(|e| Failure::configuration(anyhow::Error::new(e).context("TLS")))
    }

    fn bearer(&self) -> Result<Bearer, Failure> {
        let Some(path) = &self.token_file else { return Ok(Bearer(None)) };
        let text = String::from_utf8_lossy(&read(path)?).trim().to_owned();
        let mut value: MetadataValue<Ascii> = format!("Bearer {text}").parse().map_err(|_| {
            Failure::new(Exit::Configuration, format_args!("{} holds no token", path.display()))
        })?;
        value.set_sensitive(true);
        Ok(Bearer(Some(value)))
    }

    fn unreachable(&self, error: &tonic::transport::Error) -> Failure {
        let mut text = format!("{} cannot be reached", self.server);
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            text.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        text.push_str(
            "\n  is it running? `custody serve` starts it; --server or CUSTODY_SERVER names another",
        );
        Failure::new(Exit::Unavailable, text)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|e| Failure::new(Exit::Configuration, format_args!("{}: {e}", path.display())))
}

impl Client {
    pub fn ingest(&self) -> IngestServiceClient<Transport> {
        IngestServiceClient::new(self.transport.clone()).max_encoding_message_size(limits::MESSAGE_BYTES)
    }

    pub fn subjects(&self) -> SubjectServiceClient<Transport> {
        SubjectServiceClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub fn events(&self) -> EventServiceClient<Transport> {
        EventServiceClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub fn ledger(&self) -> LedgerServiceClient<Transport> {
        LedgerServiceClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub fn backups(&self) -> BackupServiceClient<Transport> {
        BackupServiceClient::new(self.transport.clone())
    }

    pub fn erasures(&self) -> ErasureServiceClient<Transport> {
        ErasureServiceClient::new(self.transport.clone())
    }

    pub fn keys(&self) -> KeyServiceClient<Transport> {
        KeyServiceClient::new(self.transport.clone())
    }

    pub fn exports(&self) -> ExportServiceClient<Transport> {
        ExportServiceClient::new(self.transport.clone())
    }

    pub fn findings(&self) -> FindingServiceClient<Transport> {
        FindingServiceClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub fn transfers(&self) -> TransferServiceClient<Transport> {
        TransferServiceClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub fn questions(&self) -> QuestionServiceClient<Transport> {
        QuestionServiceClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub fn plans(&self) -> PlanServiceClient<Transport> {
        PlanServiceClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub fn instructions(&self) -> InstructionServiceClient<Transport> {
        InstructionServiceClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub fn retention(&self) -> RetentionServiceClient<Transport> {
        RetentionServiceClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub fn terms(&self) -> TermServiceClient<Transport> {
        TermServiceClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub fn laws(&self) -> LawServiceClient<Transport> {
        LawServiceClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub fn registers(&self) -> RegisterServiceClient<Transport> {
        RegisterServiceClient::new(self.transport.clone())
            .max_encoding_message_size(limits::MESSAGE_BYTES)
            .max_decoding_message_size(ANSWER_BYTES)
    }

    pub fn processing(&self) -> ProcessingServiceClient<Transport> {
        ProcessingServiceClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub fn jobs(&self) -> JobServiceClient<Transport> {
        JobServiceClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub fn admin(&self) -> AdminServiceClient<Transport> {
        AdminServiceClient::new(self.transport.clone())
    }
}
