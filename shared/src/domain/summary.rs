//! What a sweep found in a repository, in figures: the parts of the daily digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::repository::ledger::RepositoryKey;

/// The row of one repository's summary. It is written when something in it changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepositorySummary {
    /// Form of this document.
    pub schema: SummarySchema,
    /// The repository.
    pub repository: RepositoryKey,
    /// Number of the write that made this row; a write must name the one before.
    pub generation: u64,
    /// Images that can be pulled, and those in the archive.
    pub images: u64,
    /// Sum of their sizes. Layers that images share are counted for each, so that this is more than what is billed.
    pub bytes: u64,
    /// How many images are in each state.
    pub states: BTreeMap<String, u64>,
}

impl RepositorySummary {
    /// The partition key: the account.
    pub fn partition_key(key: &RepositoryKey) -> String {
        key.account.to_string()
    }

    /// The sort key: `summary#<region>#<repository>`.
    pub fn sort_key(key: &RepositoryKey) -> String {
        format!("summary#{}#{}", key.region, key.repository)
    }
}

/// The only form of a summary that exists so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SummarySchema {
    /// First form.
    #[serde(rename = "ecr-guard/summary/v1")]
    V1,
}
