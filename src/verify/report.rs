//! What the verifier found: one verdict per claim, and the exit code they add up to.

use super::manifest::Manifest;

macro_rules! claims {
    ($($(#[$doc:meta])* $name:ident $text:literal,)*) => {
        /// What can be claimed of a bundle, each judged on its own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Claim { $($(#[$doc])* $name,)* }

        impl Claim {
            pub const ALL: &'static [Claim] = &[$(Claim::$name,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Claim::$name => $text,)* }
            }
        }
    };
}
claims! {
    /// The checkpoint is signed by a log that the verifier trusts.
    Signature "signature",
    /// Enough witnesses have cosigned it, lately enough.
    Witnesses "witnesses",
    /// The manifest is signed by a key that the verifier brought.
    Manifest "manifest",
    /// The files are those of the manifest, no more and no less.
    Files "files",
    /// Every event stands in the log, unchanged.
    Inclusion "inclusion",
    /// The log only grew since the checkpoint that the verifier kept.
    AppendOnly "append-only",
    /// No event of the range is missing.
    RangeComplete "range complete",
    /// No event that fits the filter is missing.
    SelectionComplete "selection complete",
    /// No event of the person is missing, and none is somebody else's.
    SubjectComplete "subject complete",
    /// Sealed parts are those that were sealed then, and opened ones open.
    Contents "contents",
    /// The registers are those that follow from the events.
    Registers "registers",
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Proven(String),
    /// Asked for, and neither proven nor refuted.
    Unproven(String),
    /// Nobody asked, or the bundle does not claim it; how to ask.
    NotAsked(String),
    Failed(String),
    /// Two signed checkpoints of one log that cannot both be true: evidence against the operator.
    Contradicts {
        why: String,
        kept: String,
        shown: String,
    },
}

impl Verdict {
    pub fn as_str(&self) -> &'static str {
        match self {
            Verdict::Proven(_) => "proven",
            Verdict::Unproven(_) => "UNPROVEN",
            Verdict::NotAsked(_) => "not asked",
            Verdict::Failed(_) => "FAILED",
            Verdict::Contradicts { .. } => "CONTRADICTS",
        }
    }

    pub fn why(&self) -> &str {
        match self {
            Verdict::Proven(why)
            | Verdict::Unproven(why)
            | Verdict::NotAsked(why)
            | Verdict::Failed(why)
            | Verdict::Contradicts { why, .. } => why,
        }
    }
}

/// The verdicts so far. What was not reached is unproven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub manifest: Manifest,
    /// Size of the tree that the checkpoint speaks of.
    pub size: Option<u64>,
    verdicts: Vec<(Claim, Verdict)>,
    /// What only the operator says.
    pub attested: Vec<String>,
}

impl Report {
    pub(super) fn new(manifest: Manifest) -> Report {
        let verdict = || Verdict::Unproven("not reached, because of what failed".to_owned());
        let verdicts = Claim::ALL.iter().map(|claim| (*claim, verdict())).collect();
        Report { manifest, size: None, verdicts, attested: Vec::new() }
    }

    pub(super) fn set(&mut self, claim: Claim, verdict: Verdict) {
        self.verdicts[claim as usize].1 = verdict;
    }

    pub fn verdict(&self, claim: Claim) -> &Verdict {
        &self.verdicts[claim as usize].1
    }

    pub fn verdicts(&self) -> &[(Claim, Verdict)] {
        &self.verdicts
    }

    /// 0: all that was asked is proven. 10: something is unproven. 20: it contradicts a kept
    /// checkpoint. 30: something is wrong. (40, malformed, is an error and has no report.)
    pub fn exit(&self) -> u8 {
        let code = |verdict: &Verdict| match verdict {
            Verdict::Contradicts { .. } => 3,
            Verdict::Failed(_) => 2,
            Verdict::Unproven(_) => 1,
            Verdict::Proven(_) | Verdict::NotAsked(_) => 0,
        };
        let worst = self.verdicts.iter().map(|(_, verdict)| code(verdict)).max().unwrap_or(1);
        [0, 10, 30, 20][worst]
    }
}
