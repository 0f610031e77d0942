//! Configuration of a function: five variables of ours and Lambda's own, and the policy.
//!
//! Everything that can be wrong is found at start, before the first event.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use guard_core::{
    glob::{Glob, InvalidGlob},
    ids::RepositoryName,
    policy::{Policy, PolicyError},
    text::hex,
};
use guard_ports::{PolicyLedger, PortError};

/// Variable that says where the policy document is: `sha256:` and the SHA-256 under which the ledger has it, or, for local runs, the path
/// of a file.
pub const POLICY_VARIABLE: &str = "ECR_GUARD_POLICY";
/// The prefix of a value of [`POLICY_VARIABLE`] that names an item of the ledger.
const OF_LEDGER: &str = "sha256:";
/// How long a policy document is kept after the last sweep under it: a function can be taken back to a version of that time, and what was
/// decided under that policy can be understood.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);
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

/// Variable that holds the URL of the queue of what Inspector has found.
pub const FINDINGS_QUEUE_VARIABLE: &str = "ECR_GUARD_FINDINGS_QUEUE_URL";

/// The URL of the queue of findings, for the function that puts something back into it.
///
/// # Errors
/// The variable is missing.
pub fn findings_queue_url(lookup: impl Fn(&str) -> Option<String>) -> Result<String, ConfigError> {
    let given = lookup(FINDINGS_QUEUE_VARIABLE).filter(|value| !value.trim().is_empty());
    given.ok_or(ConfigError::Missing(FINDINGS_QUEUE_VARIABLE))
}

/// Variable with the repositories that sweeps reconcile: their names, with `*` for any characters, between spaces. Without it
/// they reconcile all. It must match the functions' permissions.
pub const REPOSITORIES_VARIABLE: &str = "ECR_GUARD_REPOSITORIES";

/// The repositories that sweeps reconcile; none: all.
///
/// # Errors
/// One of the names is not one.
pub fn guarded(lookup: impl Fn(&str) -> Option<String>) -> Result<Vec<Glob>, ConfigError> {
    let names = lookup(REPOSITORIES_VARIABLE).unwrap_or_default();
    let globs = names.split_whitespace().map(str::parse).collect::<Result<_, _>>();
    globs.map_err(ConfigError::Repositories)
}

/// A name that a guarded repository may have, for a call that is to find nothing: the permissions of a function depend on
/// names.
pub fn any_guarded(guarded: &[Glob]) -> Option<RepositoryName> {
    let all = guarded.is_empty().then_some("*");
    let mut names = guarded.iter().map(Glob::as_str).chain(all);
    names.find_map(|name| name.replace('*', "ecr-guard").parse().ok())
}

/// The name of the ledger's table.
///
/// # Errors
/// The variable is missing.
pub fn table(lookup: impl Fn(&str) -> Option<String>) -> Result<String, ConfigError> {
    let given = lookup(TABLE_VARIABLE).filter(|value| !value.trim().is_empty());
    given.ok_or(ConfigError::Missing(TABLE_VARIABLE))
}

/// The configuration of a function that reconciles images.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The policy.
    pub policy: Policy,
    /// The item of the ledger that it was read from; `None`: it was read from a file.
    pub item: Option<PolicyItem>,
}

/// A policy document in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyItem {
    /// SHA-256 of the text, in lower-case hexadecimal digits.
    pub sha256: String,
    /// The text.
    pub document: String,
}

/// Why a function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable is not set, or empty.
    #[error("the environment variable `{0}` is not set")]
    Missing(&'static str),
    /// The repositories to reconcile are not names.
    #[error("the environment variable `{REPOSITORIES_VARIABLE}`: {0}")]
    Repositories(InvalidGlob),
    /// The policy cannot be read.
    #[error("cannot read the policy `{path}`: {source}")]
    Unreadable {
        /// Its path.
        path: String,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The ledger cannot be asked for the policy.
    #[error("cannot read the policy `{OF_LEDGER}{sha256}` from the ledger: {source}")]
    Ledger {
        /// The name of the policy.
        sha256: String,
        /// The answer in place of it.
        source: Box<PortError>,
    },
    /// The ledger does not have the policy.
    #[error(
        "the ledger has no policy `{OF_LEDGER}{sha256}`: neither the one that is deployed, nor one that a sweep was made under in the last 90 days"
    )]
    NoSuchPolicy {
        /// The name of the policy.
        sha256: String,
    },
    /// The item holds another text than its name says.
    #[error("the ledger's item for the policy `{OF_LEDGER}{sha256}` holds another text: somebody has changed it")]
    Changed {
        /// The name of the policy.
        sha256: String,
    },
    /// The policy is not one.
    #[error("policy `{path}`: {source}")]
    Policy {
        /// Its path, or its place in the ledger.
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
    pub async fn load(
        lookup: impl Fn(&str) -> Option<String>,
        ledger: &impl PolicyLedger,
        now: Timestamp,
    ) -> Result<Self, ConfigError> {
        let given = lookup(POLICY_VARIABLE).filter(|value| !value.trim().is_empty());
        let path = given.ok_or(ConfigError::Missing(POLICY_VARIABLE))?;
        let item = match path.strip_prefix(OF_LEDGER) {
            Some(sha256) => Some(PolicyItem::read(ledger, sha256).await?),
            None => None,
        };
        let policy = match &item {
            Some(item) => Policy::from_deployed_json(&item.document, now),
            None => {
                let json = std::fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable {
                    path: path.clone(),
                    source,
                })?;
                Policy::from_deployed_json(&json, now)
            }
        };
        let policy = policy.map_err(|source| ConfigError::Policy { path, source })?;
        for remark in policy.remarks(now) {
            tracing::warn!("{remark}");
        }
        Ok(Self { policy, item })
    }

    /// Has the ledger keep the policy for 90 days from now, if it is the ledger's. Trouble with that is a line in the log: the next
    /// sweep does it.
    pub async fn keep(&self, ledger: &impl PolicyLedger, now: Timestamp) {
        let Some(PolicyItem { sha256, document }) = &self.item else {
            return;
        };
        if let Err(error) = ledger.keep_policy_document(sha256, document, now + KEPT_FOR).await {
            tracing::warn!("the policy `{OF_LEDGER}{sha256}` is not kept: {error}");
        }
    }
}

impl PolicyItem {
    async fn read(ledger: &impl PolicyLedger, sha256: &str) -> Result<Self, ConfigError> {
        let sha256 = sha256.to_owned();
        let document = match ledger.policy_document(&sha256).await {
            Ok(document) => document,
            Err(source) => {
                let source = Box::new(source);
                return Err(ConfigError::Ledger { sha256, source });
            }
        };
        match document {
            Some(document) if hex(&Sha256::digest(&document)) == sha256 => Ok(Self { sha256, document }),
            Some(_) => Err(ConfigError::Changed { sha256 }),
            None => Err(ConfigError::NoSuchPolicy { sha256 }),
        }
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
    fn repositories_to_reconcile_are_names_between_spaces() {
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
    fn a_look_that_finds_nothing_is_at_a_name_that_is_guarded() {
        let name = |text: &str| {
            let guarded = guarded(|name| (name == REPOSITORIES_VARIABLE).then(|| text.to_owned())).unwrap();
            any_guarded(&guarded).map(|name| name.to_string())
        };
        for (text, expected) in [
            ("", Some("ecr-guard")),
            ("*", Some("ecr-guard")),
            ("team/*", Some("team/ecr-guard")),
            ("web other", Some("web")),
            ("/ web", Some("web")),
            ("UPPER", None),
        ] {
            assert_eq!(name(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_queue_must_be_named() {
        let of = |text: &'static str| queue_url(move |_| Some(text.to_owned()));
        assert_eq!(of("https://sqs").unwrap(), "https://sqs");
        assert!(matches!(of(" "), Err(ConfigError::Missing(QUEUE_VARIABLE))));
        let findings = findings_queue_url(|name| (name == QUEUE_VARIABLE).then(String::new));
        assert!(matches!(findings, Err(ConfigError::Missing(FINDINGS_QUEUE_VARIABLE))));
    }
}
