//! How and when images are blocked.

use jiff::SignedDuration;

use crate::policy::{
    document::{BlockMethod, BlockSection, WhenInUse, WhenLambdaMayPull},
    reading::{PolicyError, between},
};

/// The days after a pull for which an image counts as in use, where nobody counts the workloads that run it: absence of
/// evidence is no evidence. Tasks, pods and hosts that run for longer without a pull are rare.
const IN_USE_DAYS: i64 = 90;

/// The same where Amazon Inspector counts them. By default Inspector watches an image for this time after its last use
/// (Inspector user guide, "Configuring the Amazon ECR re-scan duration").
const IN_USE_DAYS_COUNTED: i64 = 14;

/// How and when images are blocked.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockRules {
    /// How.
    pub method: BlockMethod,
    /// Whether an image in use is blocked.
    pub when_in_use: WhenInUse,
    /// Whether an image counts as in use that was pulled at any time, and that Lambda may pull.
    pub when_lambda_may_pull: WhenLambdaMayPull,
    /// As the policy says it.
    pub(super) in_use: Option<SignedDuration>,
    /// An image that is no worse than the one it replaces is not blocked yet.
    pub not_worse_than_running: bool,
}

impl BlockRules {
    /// How long after a pull an image counts as in use. `counted`: the scanner counts the workloads that run it, so that a pull is not the only
    /// evidence.
    pub fn in_use(&self, counted: bool) -> SignedDuration {
        let days = if counted { IN_USE_DAYS_COUNTED } else { IN_USE_DAYS };
        self.in_use.unwrap_or(SignedDuration::from_hours(24 * days))
    }
}

/// Reads the member `block`.
pub(super) fn read(section: &BlockSection) -> Result<BlockRules, PolicyError> {
    let rules = BlockRules {
        method: section.method,
        when_in_use: section.when_in_use,
        when_lambda_may_pull: section.when_lambda_may_pull,
        in_use: in_use("block.in_use_days", section.in_use_days)?,
        not_worse_than_running: section.not_worse_than_running,
    };
    // The permissions of the roles follow from it, and from nothing else: infra/modules/guard reads it.
    let mut kept = section.keep_release_of.iter().flatten();
    match kept.position(|method| *method == BlockMethod::Flag) {
        Some(n) => Err(PolicyError::at(
            format!("block.keep_release_of[{n}]"),
            "what was only flagged has nothing to undo: `archive` and `quarantine-tag` have",
        )),
        None => Ok(rules),
    }
}

/// How long an image counts as in use after a pull, where the policy says so.
pub(super) fn in_use(path: &str, days: Option<u32>) -> Result<Option<SignedDuration>, PolicyError> {
    let days = days.map(|days| between(path, days, 1, 365)).transpose()?;
    Ok(days.map(|days| SignedDuration::from_hours(24 * i64::from(days))))
}
