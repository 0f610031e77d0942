//! All that is known of one repository at one moment.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    finding::{ScanMode, ScanTrigger},
    ids::{Digest, RepositoryKey, Tag},
    repository::{
        keys::KeyHealth,
        ledger::{Losing, RepositoryRow},
        posture::Repository,
    },
};

/// An image that a lifecycle policy would delete or archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiring {
    /// The image.
    pub digest: Digest,
    /// A tag of it.
    pub tag: Option<Tag>,
    /// When it was pushed.
    pub pushed_at: Option<Timestamp>,
    /// When it was last pulled, as far as recorded.
    pub last_pulled_at: Option<Timestamp>,
    /// Its size in bytes.
    pub bytes: u64,
    /// It references other images, or may: those share its fate.
    pub is_index: bool,
    /// Not all of its children could be checked for use.
    pub unknown: bool,
}

/// The registry's preview of a lifecycle policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The images, as far as they were read.
    pub images: Vec<Expiring>,
    /// How many there are.
    pub total: u64,
    /// The workloads that would lose an image by it. `None`: none, or nobody checks.
    pub used: Option<Lost>,
}

/// The workloads that would lose an image by a lifecycle policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// An image that they use.
    Image(Losing),
    /// That is not known; why, in words.
    Unknown(String),
}

impl Lost {
    /// In words.
    pub fn words(&self) -> &str {
        match self {
            Self::Image(losing) => &losing.words,
            Self::Unknown(why) => why,
        }
    }
}

/// The result of a request for a preview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Previewed {
    /// It is there.
    Ready(Preview),
    /// It is not there yet: ECR may need minutes.
    NotYet,
}

/// All that is known of one repository at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct RepositoryFacts {
    /// Which.
    pub key: RepositoryKey,
    /// The repository, as the registry describes it; `None`: there is none.
    pub repository: Option<Repository>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Whether the registry's configuration has it scanned without anybody asking.
    pub trigger: Option<ScanTrigger>,
    /// How the registry scans; only asked where it matters.
    pub scan_mode: Option<ScanMode>,
    /// Its policy.
    pub access: Option<String>,
    /// Its lifecycle policy.
    pub lifecycle: Option<String>,
    /// Its key; only asked where there is one.
    pub kms: Option<KeyHealth>,
    /// The preview of the lifecycle policy that is to be set; only asked where one is.
    pub preview: Option<Previewed>,
    /// The row in the ledger.
    pub row: Option<RepositoryRow>,
    /// Settings that were to be changed just now, and what the registry said when it refused.
    pub refused: BTreeMap<&'static str, String>,
    /// The invocation that asks.
    pub actor: String,
}

impl RepositoryFacts {
    /// Nothing is known yet.
    pub fn about(key: RepositoryKey, actor: &str) -> Self {
        Self {
            key,
            repository: None,
            tags: BTreeMap::new(),
            trigger: None,
            scan_mode: None,
            access: None,
            lifecycle: None,
            kms: None,
            preview: None,
            row: None,
            refused: BTreeMap::new(),
            actor: actor.to_owned(),
        }
    }

    /// Whether the registry's configuration does not have the repository scanned: then it matters how the registry scans, since with basic
    /// scanning alone the repository's own flag counts.
    pub fn is_not_covered(&self) -> bool {
        self.trigger == Some(ScanTrigger::Manual) && self.repository.is_some()
    }
}
