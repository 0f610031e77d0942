//! Configuration of a function: four variables of ours and Lambda's own.
//!
//! Everything that can be wrong is found at start, before the first event.

use jiff::Timestamp;

use crate::domain::policy::{Policy, PolicyError};

/// Variable that holds the path of the policy document.
pub const POLICY_VARIABLE: &str = "ECR_GUARD_POLICY";
/// Where the policy document is without it: in the Lambda layer that Terraform makes of it.
pub const DEFAULT_POLICY_PATH: &str = "/opt/ecr-guard/policy.json";
/// Variable that holds the name of the DynamoDB table.
pub const TABLE_VARIABLE: &str = "ECR_GUARD_TABLE";

/// Variable that holds the URL of the workers' queue.
pub const QUEUE_VARIABLE: &str = "ECR_GUARD_QUEUE_URL";

/// The URL of the workers' queue, for the functions that put something into it.
///
/// # Errors
/// The variable is missing.
pub fn queue_url(lookup: impl Fn(&str) -> Option<String>) -> Result<String, ConfigError> {
    let given = lookup(QUEUE_VARIABLE).filter(|value| !value.trim().is_empty());
    given.ok_or(ConfigError::Missing(QUEUE_VARIABLE))
}

/// What a function that reconciles images is configured with.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The policy.
    pub policy: Policy,
    /// Name of the ledger's table.
    pub table: String,
}

/// Why a function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable is not set, or empty.
    #[error("the environment variable `{0}` is not set")]
    Missing(&'static str),
    /// The policy cannot be read.
    #[error("cannot read the policy `{path}`: {source}")]
    Unreadable {
        /// Its path.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The policy is not one.
    #[error("policy `{path}`: {source}")]
    Policy {
        /// Its path.
        path: String,
        /// Where and why.
        source: PolicyError,
    },
}

impl Config {
    /// Reads the configuration; `lookup` gives a variable of the environment.
    ///
    /// # Errors
    /// A variable is missing, or the policy cannot be read or is not valid.
    pub fn load(lookup: impl Fn(&str) -> Option<String>, now: Timestamp) -> Result<Self, ConfigError> {
        let given = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let table = given(TABLE_VARIABLE).ok_or(ConfigError::Missing(TABLE_VARIABLE))?;
        let path = given(POLICY_VARIABLE).unwrap_or_else(|| DEFAULT_POLICY_PATH.to_owned());
        let json = std::fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable {
            path: path.clone(),
            source,
        })?;
        let policy = Policy::from_json(&json, now).map_err(|source| ConfigError::Policy { path, source })?;
        for remark in policy.remarks(now) {
            tracing::warn!("{remark}");
        }
        Ok(Self { policy, table })
    }
}

/// A variable of this process.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place where the environment is read"
)]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
