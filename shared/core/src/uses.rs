//! Who uses an image: what the function `workloads` has seen run, and what of it is remembered.
//!
//! No image that is known to run, to be about to run, or to be rolled back to, is taken away; and if that is not known, nothing is taken
//! away either. A [`UseRow`] has the workloads of one image, the [`IndexState`] of a region how complete that is, and [`Uses::of`] is the
//! answer from both.

pub mod aws;
mod cluster;
mod index;
mod known;
mod merge;
mod reference;
mod refused;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    glob::Glob,
    ids::{AccountId, ImageKey, Region, RepositoryKey, RepositoryName, Tag},
};

pub use cluster::{ClusterReport, ClusterReportError, MAX_REPORTED_IMAGES, Reported};
pub use index::{Incomplete, IndexState, IndexStateSchema, Listing, Trouble, cluster_of, unknown};
pub use known::{KNOWN_PARTS, KnownImages, KnownPart, KnownSchema, MAX_KNOWN_BYTES};
pub use merge::{Snapshot, merge};
pub use reference::ImageReference;
pub use refused::{RefusedPull, RefusedPullSchema};

/// For so long after its last workload is gone an image still counts as in use: a restart, a scaling to zero for a night and a
/// rollback are all shorter.
pub const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// For how many days the row of an image is kept that nothing uses any more.
pub const GONE_ROW_DAYS: i64 = 30;

/// The most workloads that are kept of an image; the others are counted.
pub const MAX_WORKLOADS: usize = 1000;

/// The workloads of a row have less than this as JSON, so that the row fits into an item of `DynamoDB`: 400 KB.
pub const MAX_WORKLOADS_BYTES: usize = 300_000;

/// Where workloads are listed. Each is listed as a whole, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SourceKind {
    /// Amazon ECS: running tasks, services with the revisions that they may go back to, the newest task definition of each family.
    Ecs,
    /// AWS Lambda: functions of images, their versions and aliases.
    Lambda,
    /// AWS Batch: active job definitions.
    Batch,
    /// A Kubernetes cluster that says what it runs, by its name.
    Kubernetes(String),
}

impl SourceKind {
    const KUBERNETES: &str = "kubernetes/";
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ecs => f.write_str("ecs"),
            Self::Lambda => f.write_str("lambda"),
            Self::Batch => f.write_str("batch"),
            Self::Kubernetes(name) => write!(f, "{}{name}", Self::KUBERNETES),
        }
    }
}

impl From<SourceKind> for String {
    fn from(kind: SourceKind) -> Self {
        kind.to_string()
    }
}

/// A word that names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is `ecs`, `lambda`, `batch`, or `kubernetes/` and the name of a cluster")]
pub struct UnknownSource;

impl TryFrom<String> for SourceKind {
    type Error = UnknownSource;

    fn try_from(word: String) -> Result<Self, UnknownSource> {
        match word.as_str() {
            "ecs" => Ok(Self::Ecs),
            "lambda" => Ok(Self::Lambda),
            "batch" => Ok(Self::Batch),
            other => match other.strip_prefix(Self::KUBERNETES) {
                Some(name) if !name.is_empty() => Ok(Self::Kubernetes(name.to_owned())),
                Some(_) | None => Err(UnknownSource),
            },
        }
    }
}

/// One list of workloads: of which kind, in which account and region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkloadSource {
    /// The account that the workloads are in.
    pub account: AccountId,
    /// Their region.
    pub region: Region,
    /// Their kind.
    pub kind: SourceKind,
}

impl fmt::Display for WorkloadSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} in {}", self.kind, self.account, self.region)
    }
}

/// Why a workload counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It runs.
    Running,
    /// It does not run now and will: a service that is scaled to nothing, a task or job that something starts by its definition.
    Desired,
    /// The workload goes back to it when the present version fails.
    Rollback,
}

/// How it is known which image a workload uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// Its digest was named.
    Digest,
    /// A tag was named, which was on the image when it was resolved.
    Tag(Tag),
}

/// The kind of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadKind {
    /// A service of ECS.
    EcsService,
    /// A task of ECS that no service has started, by the family of its definition.
    EcsTask,
    /// The newest active definition of a family of ECS tasks.
    EcsTaskDefinition,
    /// A version of a Lambda function.
    LambdaFunction,
    /// An active job definition of AWS Batch.
    BatchJobDefinition,
    /// A workload of a Kubernetes cluster.
    Kubernetes,
}

/// Something that uses an image.
///
/// The order is that in which people want to hear of them: what runs first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Workload {
    /// Why it counts.
    pub phase: Phase,
    /// The kind.
    pub kind: WorkloadKind,
    /// Its name; in Kubernetes `kind/name`, such as `deployment/api`.
    pub name: String,
    /// Its place: the cluster of ECS, the namespace of Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// Which version of it: the revision of a task or job definition, the version of a function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The list that it stands in.
    pub source: WorkloadSource,
    /// How its image is known.
    pub via: Via,
}

/// The only form of a use row that exists so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UseRowSchema {
    /// First form.
    #[serde(rename = "ecr-guard/use/v1")]
    V1,
}

/// The workloads of one image. Only the function `workloads` writes it, and only if something changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseRow {
    /// Form of this document.
    pub schema: UseRowSchema,
    /// The image.
    pub image: ImageKey,
    /// The workloads, at most [`MAX_WORKLOADS`]; where [`UseRow::gone_at`] is set, the last ones that there were.
    pub workloads: Vec<Workload>,
    /// How many more there are, by the list that they stand in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<(WorkloadSource, u64)>,
    /// When the workloads last changed.
    pub changed_at: Timestamp,
    /// When the first of those began that are here without a break: an image that is blocked was in use before its block, or since.
    pub since: Timestamp,
    /// When the last workload was gone; `None`: it is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_at: Option<Timestamp>,
    /// Number of the write that made this row; a write must name the one before (optimistic lock).
    pub generation: u64,
}

impl UseRow {
    /// The prefix of the sort keys of use rows.
    pub const SORT_KEY_PREFIX: &'static str = "use#";

    /// The partition key of all use rows of an account's registry, and of the states of its index: `uses#<account>`.
    ///
    /// All of them are in one partition, so that a run reads them with one query, and so that the role of `workloads` can be kept
    /// to it.
    pub fn partition_key(account: &AccountId) -> String {
        format!("uses#{account}")
    }

    /// The sort key: `use#<region>#<repository>#<digest>`.
    pub fn sort_key(image: &ImageKey) -> String {
        format!(
            "{}{}#{}#{}",
            Self::SORT_KEY_PREFIX,
            image.region,
            image.repository,
            image.digest
        )
    }

    /// The prefix of the sort keys of a repository's use rows.
    pub fn repository_prefix(region: &Region, repository: &RepositoryName) -> String {
        format!("{}{region}#{repository}#", Self::SORT_KEY_PREFIX)
    }

    /// Whether a workload uses the image, or did so within the [`GRACE`].
    pub fn counts(&self, now: Timestamp) -> bool {
        self.gone_at.is_none_or(|at| now.duration_since(at) < GRACE)
    }

    /// How many workloads there are.
    pub fn number(&self) -> u64 {
        let more = self.more.iter().map(|(_, more)| *more).fold(0, u64::saturating_add);
        (self.workloads.len() as u64).saturating_add(more)
    }

    /// When the row may be forgotten (the table's time to live).
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.gone_at?
            .checked_add(SignedDuration::from_hours(24 * GONE_ROW_DAYS))
            .ok()
    }
}

/// Who uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uses {
    /// These workloads.
    By(UsedBy),
    /// Nothing that the index knows of, and it is complete.
    Nobody,
    /// That is not known; why, in words that stay the same for as long as it lasts.
    Unknown(String),
}

/// The workloads that use an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedBy {
    /// Some of them, those that run first.
    pub workloads: Vec<Workload>,
    /// How many there are, those included.
    pub number: u64,
    /// When the first of them began.
    pub since: Timestamp,
    /// They are gone, since then; for [`GRACE`] the image counts as in use all the same.
    pub gone_at: Option<Timestamp>,
}

impl Uses {
    /// The answer. `images`: the image, its parent indexes and its children. `rows`: their use rows, as far as there are any.
    /// `state`: that of the index of their region.
    ///
    /// A known use of an image counts, whatever else is not known.
    pub fn of(
        rules: &WorkloadRules,
        images: &[ImageKey],
        rows: &[UseRow],
        state: Option<&IndexState>,
        now: Timestamp,
    ) -> Self {
        let counting: Vec<&UseRow> = rows
            .iter()
            .filter(|row| images.contains(&row.image) && row.counts(now))
            .collect();
        let standing: Vec<&&UseRow> = counting.iter().filter(|row| row.gone_at.is_none()).collect();
        let rows: Vec<&UseRow> = if standing.is_empty() {
            counting
        } else {
            standing.into_iter().copied().collect()
        };
        if let Some(since) = rows.iter().map(|row| row.since).min() {
            let mut workloads: Vec<Workload> = rows.iter().flat_map(|row| row.workloads.iter().cloned()).collect();
            workloads.sort();
            // One that runs an index runs one of its images too.
            let listed = workloads.len() as u64;
            workloads.dedup();
            let twice = listed.saturating_sub(workloads.len() as u64);
            let number = rows.iter().map(|row| row.number()).fold(0, u64::saturating_add);
            return Self::By(UsedBy {
                workloads,
                number: number.saturating_sub(twice),
                since,
                gone_at: rows.iter().filter_map(|row| row.gone_at).max(),
            });
        }
        let Some(image) = images.first() else {
            return Self::Nobody;
        };
        match unknown(rules, &RepositoryKey::of(image), state, now) {
            Some(why) => Self::Unknown(why),
            None => Self::Nobody,
        }
    }
}

/// Whether an image that should be blocked is blocked while it is not known who uses it.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenUnknown {
    /// The block is deferred; an alert says which lists are missing.
    Hold,
    /// It counts as if no workload used it.
    Ignore,
}

/// Which versions of a Lambda function count.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LambdaVersions {
    /// All that are published, and the unpublished one.
    All,
    /// The unpublished one, and those that an alias points to.
    LatestAndAliased,
}

/// An account whose workloads are listed as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadAccount {
    /// The account.
    pub id: AccountId,
    /// The name of the role that reads there.
    pub role: String,
    /// Its images are of these repositories only: of all others nothing is unknown when it cannot be read.
    pub repositories: Vec<Glob>,
    /// The regions in which its workloads are listed. None: all.
    pub regions: BTreeSet<Region>,
}

impl WorkloadAccount {
    /// Whether its workloads are listed in a region.
    pub fn is_listed_in(&self, region: &Region) -> bool {
        self.regions.is_empty() || self.regions.contains(region)
    }

    fn concerns(&self, repository: &RepositoryName) -> bool {
        self.repositories.is_empty() || self.repositories.iter().any(|glob| glob.matches(repository.as_str()))
    }
}

/// The lists of workloads, and the reaction if one cannot be read: `block.workloads` of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadRules {
    /// The services to list in each account.
    pub sources: Vec<SourceKind>,
    /// For how long a list counts as complete.
    pub max_age: SignedDuration,
    /// Whether an image is blocked when it is not known who uses it.
    pub when_unknown: WhenUnknown,
    /// Further accounts.
    pub accounts: Vec<WorkloadAccount>,
    /// Which versions of a function count.
    pub lambda_versions: LambdaVersions,
    /// The newest active definition of a family of ECS tasks counts, whether or not a service has it.
    pub task_definitions: bool,
    /// Clusters that must have said what they run, with the repositories that their images are of.
    pub clusters: BTreeMap<String, Vec<Glob>>,
}

#[cfg(test)]
mod tests;
