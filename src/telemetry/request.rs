//! The request id: the caller's if it is well-formed, else one of ours.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::id::Id;
use crate::domain::time::Timestamp;

/// The metadata key in which it comes and goes.
pub const HEADER: &str = "x-request-id";

/// What ties an answer, its log lines and the caller's own log together. An `Id`, so that neither
/// an address nor running text can be smuggled into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Id);

impl RequestId {
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Makes ids that are unique among the runs of one machine: the start of the process and a count.
#[derive(Debug)]
pub struct RequestIds {
    started_ms: i64,
    next: AtomicU64,
}

impl RequestIds {
    pub fn new(started: Timestamp) -> Self {
        RequestIds { started_ms: started.ms(), next: AtomicU64::new(1) }
    }

    /// The caller's id if it can be used.
    pub fn of(&self, stated: Option<&str>) -> RequestId {
        match stated.and_then(|text| text.parse().ok()) {
            Some(id) => RequestId(id),
            None => self.make(),
        }
    }

    fn make(&self) -> RequestId {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let text = format!("r{:x}-{count:x}", self.started_ms.unsigned_abs());
        RequestId(text.parse().expect("letters, digits and a hyphen are an id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stated_id_is_kept_only_if_it_is_one() {
        let ids = RequestIds::new(Timestamp::EPOCH.plus_ms(255));
        assert_eq!(ids.of(Some("trace/7")).as_str(), "trace/7");
        assert_eq!(ids.of(Some("me@kstar.com.cn")).as_str(), "rff-1");
        assert_eq!(ids.of(None).as_str(), "rff-2");
    }
}
