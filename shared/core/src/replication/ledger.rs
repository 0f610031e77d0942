//! The records of copies: rows of the ledger.
//!
//! Each row is written in one region only, the one that it is of: conditional writes do not hold across the regions of a global
//! table, where the last writer wins (DynamoDB developer guide, "Global tables").

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    ids::{Digest, ImageKey, Region, RegistryKey, RepositoryKey, RepositoryName, Tag},
    ledger::CLOSED_ROW_DAYS,
    notice::Note,
};

/// How it stands with a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplicaState {
    /// It was there, with its tags and all its children.
    Complete,
    /// It is there, or should be, and something is missing.
    Incomplete,
    /// ECR gave up on it.
    Failed,
    /// It is gone, here or in its source: nothing is expected any more.
    Gone,
}

/// Why an incomplete copy cannot be pulled at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotPullable {
    /// It is not there: it was deleted, or never came.
    Missing,
    /// The copy, or a child of it, is in the archive or on the way back, and no block of ours put it there: a pull answers 404.
    Archived,
}

/// The row of one copy, written where the copy is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaRow {
    /// Form of this document.
    pub schema: ReplicaRowSchema,
    /// The copy.
    pub image: ImageKey,
    /// The registry that it was copied from.
    pub source: RegistryKey,
    /// Number of the write that made this row; a write must name the one before.
    pub generation: u64,
    /// How it stands.
    pub state: ReplicaState,
    /// For an incomplete copy: why it cannot be pulled. Next to the state, so that a function of the version before reads the
    /// row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_pullable: Option<NotPullable>,
    /// Since when.
    pub since: Timestamp,
    /// The tags that events named for it, at most [`MAX_TAGS`], the last ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Tags of its source that have not come yet, without an event about them; and since when a sweep has missed each. At most
    /// [`MAX_TAGS`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub awaited: BTreeMap<Tag, Timestamp>,
    /// For an index: its children, all of which are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Digest>,
    /// Seconds from the push in the source to the arrival of the copy; `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<u64>,
    /// Alerts that were sent or are pending, at most one for each kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

/// The most tags that are remembered of a copy.
pub const MAX_TAGS: usize = 50;

/// The only form of a copy's row that exists so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaRowSchema {
    /// First form.
    #[serde(rename = "ecr-guard/replica/v1")]
    V1,
}

impl ReplicaRow {
    /// The prefix of the sort keys of all rows of copies.
    pub const PREFIX: &'static str = "replica#";

    /// The partition key: `<account>#<repository>`.
    pub fn partition_key(image: &ImageKey) -> String {
        format!("{}#{}", image.account, image.repository)
    }

    /// The sort key: `replica#<digest>#<region>`.
    pub fn sort_key(image: &ImageKey) -> String {
        format!("{}{}#{}", Self::PREFIX, image.digest, image.region)
    }

    /// When the row may be forgotten (the table's time to live): some time after the copy is gone.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let gone = (self.state == ReplicaState::Gone).then_some(self.since)?;
        gone.checked_add(SignedDuration::from_hours(24 * CLOSED_ROW_DAYS)).ok()
    }
}

/// The row of a repository's copies in one other region, written in the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationRow {
    /// Form of this document.
    pub schema: ReplicationRowSchema,
    /// The repository, in the region that is copied from.
    pub repository: RepositoryKey,
    /// The region that is copied to.
    pub to: Region,
    /// Number of the write that made this row.
    pub generation: u64,
    /// Images of which ECR says that they were copied, while no row of the copy shows that it was seen there. At most
    /// [`MAX_REMEMBERED`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub complete: BTreeSet<Digest>,
    /// Images of which ECR does not say so, when it was last asked; with its failure code. At most [`MAX_REMEMBERED`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<Digest, Missing>,
    /// Alerts that were sent or are pending, at most one for each kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

/// A copy that ECR does not say to be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// ECR is copying it.
    InProgress,
    /// ECR knows of no replication of this image: it was pushed before replication was configured, or no rule is for it.
    NotBegun,
    /// ECR gave up; its failure code, if it gives one.
    Failed(Option<String>),
}

/// The most images in each list of a [`ReplicationRow`], so that it stays far below DynamoDB's 400 KB for an item.
pub const MAX_REMEMBERED: usize = 1000;

/// The only form of a repository's row of copies that exists so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicationRowSchema {
    /// First form.
    #[serde(rename = "ecr-guard/replication/v1")]
    V1,
}

impl ReplicationRow {
    /// The sort key: `replication#<from>#<to>`; the partition key is that of the repository.
    pub fn sort_key(repository: &RepositoryKey, to: &Region) -> String {
        format!("replication#{}#{to}", repository.region)
    }
}

/// The row of the backfill that we started last from one region to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillRow {
    /// Form of this document.
    pub schema: BackfillRowSchema,
    /// The registry that is copied from.
    pub from: RegistryKey,
    /// The region that is copied to.
    pub to: Region,
    /// Number of the write that made this row.
    pub generation: u64,
    /// How many backfills were begun, this one included, for images that the one before had not copied.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeated: u32,
    /// When it was undertaken to start it.
    pub claimed_at: Timestamp,
    /// By which invocation.
    pub claimed_by: String,
    /// ECR's id of it; `None`: it was not started, or the answer got lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its status at the last check.
    pub status: BackfillStatus,
    /// When that was.
    pub looked_at: Timestamp,
    /// Why it was not started, or failed as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The images that it could not copy, at most [`MAX_REMEMBERED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<BackfillFailure>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The only form of a backfill's row that exists so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackfillRowSchema {
    /// First form.
    #[serde(rename = "ecr-guard/backfill/v1")]
    V1,
}

impl BackfillRow {
    /// The sort key: `backfill#<from>#<to>`; the partition key is the account.
    pub fn sort_key(from: &RegistryKey, to: &Region) -> String {
        format!("backfill#{}#{to}", from.region)
    }
}
/// How a backfill stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackfillStatus {
    /// It is not begun: it was undertaken to begin it.
    Claimed,
    /// It runs (ECR: `PREPARING`, `IN_PROGRESS`, `STOPPING`).
    Running,
    /// It has ended.
    Complete,
    /// It has ended, and half or more of it failed.
    Failed,
    /// Somebody has stopped it.
    Stopped,
    /// ECR did not begin it.
    Refused,
}

/// An image that a backfill could not copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillFailure {
    /// Its repository.
    pub repository: RepositoryName,
    /// The image.
    pub digest: Digest,
    /// ECR's failure codes, with those of the children of an index.
    pub code: String,
}
