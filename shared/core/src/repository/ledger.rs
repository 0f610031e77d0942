//! The records of a repository and of its tags: rows of the ledger.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{Digest, RepositoryKey, Tag},
    notice::Note,
    repository::route::RouteTag,
};

/// The row of one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryRow {
    /// Form of this document.
    pub schema: RepositoryRowSchema,
    /// The repository.
    pub repository: RepositoryKey,
    /// Number of the write that made this row; a write must name the one before.
    pub generation: u64,
    /// SHA-256 of the policy it was decided under.
    pub policy: String,
    /// How the repository opted out, with its reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opt_out: Option<String>,
    /// Alerts that were sent or are pending, at most one for each kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// When each setting was repaired, in the last [`FIGHT_HOURS`] hours before it was last repaired.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub repairs: BTreeMap<String, Vec<Timestamp>>,
    /// The lifecycle policy was not set: it is not checked again before this time, unless something changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// The preview that ECR was asked for and has not given yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previewing: Option<Previewing>,
    /// Whether the lifecycle policy that is set takes what workloads use was last asked then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<Checked>,
    /// The value of the tag that names the route of its alerts; `None`: it was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteTag>,
}

impl RepositoryRow {
    /// A row that says nothing yet.
    pub fn new(repository: RepositoryKey, policy: &str) -> Self {
        Self {
            schema: RepositoryRowSchema::V1,
            repository,
            generation: 0,
            policy: policy.to_owned(),
            opt_out: None,
            notes: Vec::new(),
            repairs: BTreeMap::new(),
            held: None,
            previewing: None,
            checked: None,
            route: None,
        }
    }
}

/// A preview of a lifecycle policy that ECR was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previewing {
    /// The policy.
    pub text: String,
    /// When it was asked for.
    pub since: Timestamp,
}

/// A lifecycle policy that is set, and was asked about again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The policy.
    pub text: String,
    /// When to ask again.
    pub until: Timestamp,
    /// The workloads that lose an image by it, as far as known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loses: Option<Losing>,
}

/// An image that a lifecycle policy takes from workloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losing {
    /// The image, by a tag or its digest.
    pub image: String,
    /// The images and their workloads, in words.
    pub words: String,
}

/// A lifecycle policy that was not set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The policy that was to be set.
    pub text: String,
    /// Why it was not.
    pub reason: String,
    /// When to look again.
    pub until: Timestamp,
}

/// The hours within which a setting is repaired [`MAX_REPAIRS`] times at most: somebody who changes it back has a reason, or a
/// tool.
pub const FIGHT_HOURS: i64 = 24;

/// How often a setting is repaired in [`FIGHT_HOURS`] hours.
pub const MAX_REPAIRS: usize = 2;

/// The only form of a repository's row that exists so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RepositoryRowSchema {
    /// First form.
    #[serde(rename = "ecr-guard/repository/v1")]
    V1,
}

/// The row of one tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRow {
    /// Form of this document.
    pub schema: TagRowSchema,
    /// The repository.
    pub repository: RepositoryKey,
    /// The tag.
    pub tag: Tag,
    /// The image that it was last seen on.
    pub digest: Digest,
    /// Since when.
    pub since: Timestamp,
    /// Number of the write that made this row.
    pub generation: u64,
    /// Alerts that were sent or are pending, at most one for each kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// It is being removed, and no answer is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<Removal>,
    /// Removals before that one of which no answer is known either, oldest first, at most [`MAX_EARLIER`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Removal>,
}

/// The most removals without an answer that are remembered with the last one. Each was one call of which the answer got lost, in a day.
pub const MAX_EARLIER: usize = 3;

impl TagRow {
    /// All removals of which no answer is known, oldest first.
    pub fn removals(&self) -> impl Iterator<Item = &Removal> {
        self.earlier.iter().chain(&self.removal)
    }

    /// The removals to remember when another one begins.
    pub fn still_open(&self, now: Timestamp) -> Vec<Removal> {
        let open: Vec<Removal> = self
            .removals()
            .filter(|removal| removal.is_open(now))
            .cloned()
            .collect();
        let too_many = open.len().saturating_sub(MAX_EARLIER);
        open.into_iter().skip(too_many).collect()
    }

    /// The row with another removal in the place of this one.
    #[must_use]
    pub fn with_removal(&self, of: &Removal, found: &Removal) -> Self {
        let replaced = |removal: &Removal| if removal == of { found.clone() } else { removal.clone() };
        Self {
            removal: self.removal.as_ref().map(replaced),
            earlier: self.earlier.iter().map(replaced).collect(),
            ..self.clone()
        }
    }
}

/// The only form of a tag's row that exists so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TagRowSchema {
    /// First form.
    #[serde(rename = "ecr-guard/tag/v1")]
    V1,
}
/// A removal of a tag of which no answer is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The image that was to lose it.
    pub from: Digest,
    /// When it was undertaken.
    pub at: Timestamp,
    /// By which invocation.
    pub by: String,
    /// Images that got the tag up to this time are checked: whether they lost it again by this removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<Timestamp>,
    /// An alert says that the image which was to lose the tag no longer exists.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}
