//! What is remembered of a repository and of its tags: rows of the ledger.

use std::{collections::BTreeMap, fmt};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::super::{
    alert::{
        repository::{Change, RepositoryAlertKind},
        repository_arn,
    },
    ids::{AccountId, Digest, ImageKey, Region, RepositoryName, Tag},
    ledger::LEASE_SECONDS,
};
use super::removal::Removal;

/// One repository in one registry and region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RepositoryKey {
    /// The registry.
    pub account: AccountId,
    /// The region.
    pub region: Region,
    /// The repository.
    pub repository: RepositoryName,
}

impl fmt::Display for RepositoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)
    }
}

impl RepositoryKey {
    /// The repository of an image.
    pub fn of(image: &ImageKey) -> Self {
        Self {
            account: image.account.clone(),
            region: image.region.clone(),
            repository: image.repository.clone(),
        }
    }

    /// One of its images.
    pub fn image(&self, digest: &Digest) -> ImageKey {
        ImageKey {
            account: self.account.clone(),
            region: self.region.clone(),
            repository: self.repository.clone(),
            digest: digest.clone(),
        }
    }

    /// The partition key of all its rows: `<account>#<repository>`.
    pub fn partition_key(&self) -> String {
        format!("{}#{}", self.account, self.repository)
    }

    /// Its ARN.
    pub fn arn(&self) -> String {
        repository_arn(&self.account, &self.region, &self.repository)
    }

    /// The sort key of its own row: `repository#<region>`.
    pub fn sort_key(&self) -> String {
        format!("repository#{}", self.region)
    }

    /// The sort key of a tag's row: `tag#<tag>#<region>`.
    pub fn tag_sort_key(&self, tag: &Tag) -> String {
        format!("tag#{tag}#{}", self.region)
    }
}

/// What was told, or is owed to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The kind of the alert.
    pub kind: RepositoryAlertKind,
    /// Its id, the same however often it is delivered.
    pub id: String,
    /// What it is about: the same kind about the same is not told again while it lasts.
    pub changes: Vec<Change>,
    /// The reason that it gives.
    pub reason: String,
    /// When an invocation undertook to act and to send it.
    pub claimed_at: Timestamp,
    /// That invocation.
    pub claimed_by: String,
    /// When the topic accepted it. `None`: still owed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

impl Note {
    /// Whether another invocation has undertaken to send it, and may still be at it.
    pub fn is_undertaken_by_another(&self, actor: &str, now: Timestamp) -> bool {
        self.sent_at.is_none()
            && self.claimed_by != actor
            && now.duration_since(self.claimed_at) < SignedDuration::from_secs(LEASE_SECONDS)
    }

    /// Records of those that were owed that they are sent.
    pub fn all_sent(notes: &mut [Self], now: Timestamp) {
        for note in notes {
            note.sent_at = note.sent_at.or(Some(now));
        }
    }
}

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
    /// What was told, at most one for each kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// When each setting was repaired, in the last [`FIGHT_HOURS`] hours before it was last repaired.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub repairs: BTreeMap<String, Vec<Timestamp>>,
    /// The lifecycle policy was held: it is not looked into again before this time, unless something changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// The preview that ECR was asked for and has not given yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previewing: Option<Previewing>,
}

/// A preview of a lifecycle policy that ECR was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previewing {
    /// The policy.
    pub text: String,
    /// When it was asked for.
    pub since: Timestamp,
}

/// A lifecycle policy that was held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The policy that was to be set.
    pub text: String,
    /// Why it was not.
    pub reason: String,
    /// When to look again.
    pub until: Timestamp,
}

/// In so many hours a setting is repaired [`MAX_REPAIRS`] times at most: who changes it back has a reason, or a tool.
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
    /// What was told, at most one for each kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// It is being removed, and no answer is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<Removal>,
}

/// The only form of a tag's row that exists so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TagRowSchema {
    /// First form.
    #[serde(rename = "ecr-guard/tag/v1")]
    V1,
}
