//! Settings of a repository: as they are, and as the policy wants them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    finding::{ScanMode, ScanTrigger},
    glob::Glob,
    ids::{AccountId, RepositoryName},
    repository::keys::KeyArn,
};

/// Whether tags can be moved, in ECR's words, with the filters that name exceptions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TagMutability {
    /// They can.
    Mutable,
    /// They cannot.
    Immutable,
    /// They cannot, but for those that a filter matches.
    ImmutableWithExclusion(BTreeSet<String>),
    /// They can, but for those that a filter matches.
    MutableWithExclusion(BTreeSet<String>),
    /// A word that this version does not know.
    Other(String),
}

impl TagMutability {
    /// The word for `imageTagMutability`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Mutable => "MUTABLE",
            Self::Immutable => "IMMUTABLE",
            Self::ImmutableWithExclusion(_) => "IMMUTABLE_WITH_EXCLUSION",
            Self::MutableWithExclusion(_) => "MUTABLE_WITH_EXCLUSION",
            Self::Other(word) => word,
        }
    }

    /// The filters, if there are any.
    pub fn filters(&self) -> impl Iterator<Item = &str> {
        let filters = match self {
            Self::ImmutableWithExclusion(filters) | Self::MutableWithExclusion(filters) => Some(filters),
            Self::Mutable | Self::Immutable | Self::Other(_) => None,
        };
        filters.into_iter().flatten().map(String::as_str)
    }
}

impl fmt::Display for TagMutability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        let filters: Vec<&str> = self.filters().collect();
        if filters.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", filters.join(", "))
    }
}

/// The most filters that ECR takes for exceptions from mutability. Source: API reference of ECR,
/// `imageTagMutabilityExclusionFilters`.
pub const MAX_FILTERS: usize = 5;

/// The most `*` of a filter. Source: user guide of ECR, "Preventing image tags from being overwritten": "up to two wildcards".
const MAX_FILTER_WILDCARDS: usize = 2;

/// Whether ECR takes a filter: 1 to 128 characters of `0-9 a-z A-Z . _ * -` (API reference, `ImageTagMutabilityExclusionFilter`), two of them
/// `*` at most.
pub fn is_filter(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.matches('*').count() <= MAX_FILTER_WILDCARDS
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'*' | b'-'))
}

/// How a repository is encrypted. It cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// `AES256`, `KMS`, `KMS_DSSE`, or a word that is new.
    pub kind: String,
    /// The key; with `AES256`, there is none to see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyArn>,
}

/// A repository as the registry describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Its ARN.
    pub arn: String,
    /// Whether tags can be moved.
    pub tag_mutability: TagMutability,
    /// Its own flag for scanning. Where the registry's configuration covers it, that counts instead.
    pub scan_on_push: bool,
    /// How it is encrypted.
    pub encryption: Encryption,
}

/// A repository on the registry's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRepository {
    /// Its name.
    pub name: RepositoryName,
    /// The repository on the list.
    pub repository: Repository,
}

/// The settings of a repository that the registry's list and its configuration show, for all repositories at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedSettings {
    /// The repository on the list.
    pub repository: Repository,
    /// Whether the registry's configuration has it scanned without anybody asking.
    pub trigger: ScanTrigger,
    /// How the registry scans.
    pub scan_mode: ScanMode,
}

/// Settings that a repository must have. A setting that is `None` or empty is not asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PostureRules {
    /// Whether tags can be moved.
    pub tag_mutability: Option<TagMutability>,
    /// A push must cause a scan.
    pub scan_on_push: bool,
    /// `AES256`, `KMS` or `KMS_DSSE`.
    pub encryption: Option<String>,
    /// The key that must encrypt it.
    pub kms_key: Option<KeyArn>,
    /// The key must be ours to manage.
    pub customer_managed_key: bool,
    /// The key must rotate, where it can.
    pub key_rotation: bool,
    /// Tags that the repository must have, by key.
    pub required_tags: BTreeMap<String, Glob>,
    /// The accounts that its policy may let in, in addition to its own; `None`: any, but not the world.
    pub allowed_accounts: Option<BTreeSet<AccountId>>,
    /// The organizations that its policy may let in, by id; `None`: any, as long as any account may.
    pub allowed_organizations: Option<BTreeSet<String>>,
    /// A setting that can be repaired is repaired.
    pub repair: bool,
}
