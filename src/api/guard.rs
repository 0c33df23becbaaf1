//! What stands in front of every service of ours: a request id, a span, the caller, the access
//! table, and a count of the answer. A handler runs only for a caller that may call it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::sync::{Notify, watch};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::{Code, Request, Status};
use tracing::Instrument;

use crate::api::auth::Authenticator;
use crate::api::{access, status};
use crate::app::{Caller, Error};
use crate::clock::Stopwatch;
use crate::telemetry::metrics;
use crate::telemetry::request::{self, RequestId, RequestIds};

/// Who asks, and under which id: what handlers get to know about a call besides its message.
#[derive(Debug, Clone)]
pub struct Call {
    pub caller: Arc<Caller>,
    pub request_id: RequestId,
}

impl Call {
    /// The call of a request that came through the guard. One that did not is a fault of the
    /// server's wiring, and is refused.
    pub fn of<T>(request: &Request<T>) -> Result<Call, Status> {
        request.extensions().get::<Call>().cloned().ok_or_else(|| Status::internal("UNGUARDED"))
    }

    /// A status for an error of this call.
    pub fn status(&self, error: impl Into<Error>) -> Status {
        status::of(&error.into(), &self.request_id)
    }
}

/// What all guards share.
pub struct Gate {
    authenticator: Authenticator,
    request_ids: RequestIds,
    /// Turns true when the service stops: new calls are told so, those that run go on.
    stopping: watch::Receiver<bool>,
    pub calls: Arc<Calls>,
}

/// How many calls are being answered: received, and their answers not begun.
#[derive(Debug, Default)]
pub struct Calls {
    running: AtomicUsize,
    none: Notify,
}

impl Calls {
    pub fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// Returns when no call is being answered.
    pub async fn ended(&self) {
        loop {
            let none = self.none.notified();
            if self.running() == 0 {
                return;
            }
            none.await;
        }
    }
}

/// A service behind the gate.
#[derive(Clone)]
pub struct Guarded<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S> Guarded<S> {
    pub fn new(inner: S, gate: &Arc<Gate>) -> Self {
        Guarded { inner, gate: Arc::clone(gate) }
    }
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<http::Response<Body>, E>> + Send>>;

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        // The instance that was polled ready is the one to call; its clone waits for the next.
        let next = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, next);
        let request_id = self.gate.request_ids.of(text(&request, request::HEADER));
        // Only a path of the table may become a label or a field: callers choose the others.
        let known = access::rpc(request.uri().path());
        let rpc = known.map_or("unknown", |rpc| rpc.path);
        let admitted = match known {
            Some(rpc) => self.gate.admit(&request, rpc).map_err(|error| refuse(&error, &request_id)),
            // Also a method that exists but was left out of the table: nobody may call it.
            None => Err(Status::unimplemented("custody has no such method")),
        };
        let caller = admitted.as_ref().map_or("", |caller| caller.name.as_str());
        let (since, begun) = (Stopwatch::start(), Begun::new(&self.gate.calls));
        let span = tracing::info_span!("rpc", rpc, %request_id, caller);
        let answering = async move {
            let running = Running { rpc, since, _begun: begun };
            let mut response = match admitted {
                Ok(caller) => {
                    let call = Call { caller, request_id: request_id.clone() };
                    request.extensions_mut().insert(call);
                    ready.call(request).await?
                }
                Err(status) => status.into_http(),
            };
            if let Ok(value) = http::HeaderValue::from_str(request_id.as_str()) {
                response.headers_mut().insert(request::HEADER, value);
            }
            running.end(&response);
            Ok(response)
        };
        Box::pin(answering.instrument(span))
    }
}

impl Gate {
    pub fn new(
        authenticator: Authenticator,
        request_ids: RequestIds,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Gate { authenticator, request_ids, stopping, calls: Arc::default() }
    }

    fn admit(&self, request: &http::Request<Body>, rpc: &access::Rpc) -> Result<Arc<Caller>, Error> {
        if *self.stopping.borrow() {
            return Err(Error::stopping());
        }
        let caller = self.authenticator.caller(text(request, "authorization"))?;
        rpc.admit(&caller)?;
        Ok(caller)
    }
}

fn refuse(error: &Error, request_id: &RequestId) -> Status {
    ::metrics::counter!(metrics::AUTH_REFUSED, "reason" => error.reason()).increment(1);
    status::of(error, request_id)
}

fn text<'a>(request: &'a http::Request<Body>, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// Counts a call from its first byte until its answer begins, also if the caller goes away.
struct Running {
    rpc: &'static str,
    since: Stopwatch,
    _begun: Begun,
}

impl Running {
    fn end(self, response: &http::Response<Body>) {
        // A call that succeeded, or fails after its headers, has no status here yet.
        let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
        ::metrics::counter!(metrics::RPC_CALLS, "rpc" => self.rpc, "code" => name(code)).increment(1);
        ::metrics::histogram!(metrics::RPC_SECONDS, "rpc" => self.rpc)
            .record(self.since.elapsed().as_secs_f64());
    }
}

/// One of the calls that are being answered.
struct Begun(Arc<Calls>);

impl Begun {
    fn new(calls: &Arc<Calls>) -> Self {
        calls.running.fetch_add(1, Ordering::SeqCst);
        ::metrics::gauge!(metrics::RPC_RUNNING).increment(1.0);
        Begun(Arc::clone(calls))
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        ::metrics::gauge!(metrics::RPC_RUNNING).decrement(1.0);
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
