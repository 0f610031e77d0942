//! Configuration of a function: five variables of ours and Lambda's own.
//!
//! Everything that can be wrong is found at start, before the first event.

use jiff::Timestamp;

use crate::domain::policy::{Glob, InvalidGlob, Policy, PolicyError};

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

/// Variable that says which repositories sweeps look at: their names, with `*` for any characters, between spaces. Without it they look at
/// all. It has to say what the functions' permissions say.
pub const REPOSITORIES_VARIABLE: &str = "ECR_GUARD_REPOSITORIES";

/// The repositories that sweeps look at; none: all.
///
/// # Errors
/// One of the names is not one.
pub fn guarded(lookup: impl Fn(&str) -> Option<String>) -> Result<Vec<Glob>, ConfigError> {
    let names = lookup(REPOSITORIES_VARIABLE).unwrap_or_default();
    let globs = names.split_whitespace().map(str::parse).collect::<Result<_, _>>();
    globs.map_err(ConfigError::Repositories)
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
    /// The repositories to look at are not names.
    #[error("the environment variable `{REPOSITORIES_VARIABLE}`: {0}")]
    Repositories(InvalidGlob),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_to_look_at_are_names_between_spaces() {
        let of = |text: &str| guarded(|name| (name == REPOSITORIES_VARIABLE).then(|| text.to_owned()));
        assert_eq!(guarded(|_| None).unwrap(), []);
        assert_eq!(of("  ").unwrap(), []);
        let names: Vec<String> = of("team/* web")
            .unwrap()
            .iter()
            .map(|glob| glob.as_str().to_owned())
            .collect();
        assert_eq!(names, ["team/*", "web"]);
        let error = of("team/* w\u{e9}b").unwrap_err().to_string();
        assert!(
            error.contains("ECR_GUARD_REPOSITORIES") && error.contains("characters"),
            "{error}"
        );
    }

    #[test]
    fn the_queue_must_be_named() {
        let of = |text: &'static str| queue_url(move |_| Some(text.to_owned()));
        assert_eq!(of("https://sqs").unwrap(), "https://sqs");
        assert!(matches!(of(" "), Err(ConfigError::Missing(QUEUE_VARIABLE))));
    }
}
