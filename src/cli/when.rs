//! Of what time an answer is, as flags that are the same for every question.

use clap::Args;

use crate::cli::record::timestamp;
use crate::domain::time::Timestamp;
use crate::pb;

/// By what was known.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Known {
    /// What was known at this position
    #[arg(long, value_name = "POSITION")]
    pub known_at: Option<u64>,
    /// Wait until the views have reached this position, such as a receipt's
    #[arg(long, value_name = "POSITION")]
    pub at_least: Option<u64>,
}

/// By how things stood, and what was known.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct When {
    /// As things stood then; now without this
    #[arg(long, value_name = "TIME")]
    as_of: Option<Timestamp>,
    #[command(flatten)]
    pub known: Known,
}

impl When {
    pub fn as_of(&self) -> Option<prost_types::Timestamp> {
        self.as_of.map(timestamp)
    }

    pub fn moment(&self) -> pb::ProcessingMoment {
        let Known { known_at, at_least } = self.known;
        pb::ProcessingMoment { as_of: self.as_of(), known_at, at_least }
    }
}
