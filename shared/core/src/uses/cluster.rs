//! The report of a Kubernetes cluster about its workloads: the payload of a direct invocation, `ecr-guard/workloads/v1`.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{ImageReference, Phase, Snapshot, SourceKind, Via, Workload, WorkloadKind, WorkloadSource};
use crate::{
    ids::{AccountId, Digest, ImageKey, ImageRef, Region},
    place, text,
};

/// The most images in one report: Lambda takes 6 MB (Lambda quotas, "Invocation payload", synchronous).
pub const MAX_REPORTED_IMAGES: usize = 20_000;

/// A report that says it was sent later than this after now is refused: its clock is wrong, and it would count as complete for too long.
pub(super) const MAX_AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// A list of what a cluster runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterReport {
    /// Form of this document: `ecr-guard/workloads/v1`.
    schema: String,
    /// Who says it: `kubernetes`.
    source: String,
    /// The cluster's name, as the policy and EKS have it.
    pub cluster: String,
    /// The account that the cluster is in, if that is not the registry's: clusters of two accounts may have one name.
    #[serde(default)]
    account: Option<AccountId>,
    /// Whether that is all that the cluster runs. If not, what it runs is added, and nothing is taken away.
    pub complete: bool,
    /// When the cluster was asked.
    pub sent_at: Timestamp,
    /// The images. Other members of an entry are not read.
    images: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Entry {
    namespace: String,
    kind: String,
    name: String,
    /// As the workload names it.
    #[serde(default)]
    image: String,
    /// As the node has resolved it: `status.containerStatuses[].imageID`.
    #[serde(default)]
    image_id: String,
}

/// The result of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    /// The images with a digest.
    pub snapshot: Snapshot,
    /// The images without a digest yet, such as that of a pod that could not pull: by the tag, which must be resolved.
    pub by_tag: BTreeSet<(ImageReference, Workload)>,
    /// How many entries name images of other registries.
    pub elsewhere: u64,
}

/// A report that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterReportError {
    /// It is no JSON of that form.
    #[error("the report is not valid at `{path}`: {problem}")]
    Form {
        /// The place.
        path: String,
        /// The problem.
        problem: String,
    },
    /// Its form has another name.
    #[error("`schema` is `{0}`, only `ecr-guard/workloads/v1` is known")]
    Schema(String),
    /// It is not from Kubernetes.
    #[error("`source` is `{0}`, only `kubernetes` is known")]
    Source(String),
    /// The cluster has no name, or one that is none.
    #[error("`cluster` has 1 to 100 characters of `A-Z a-z 0-9 _ . -`")]
    Cluster,
    /// It is of the future.
    #[error("`sent_at` is {0}, which is in the future: the clock that it comes from is wrong")]
    Future(Timestamp),
    /// It has too many images.
    #[error("`images` has {0} entries, more than {MAX_REPORTED_IMAGES}: leave out those that say the same")]
    TooMany(usize),
}

impl ClusterReport {
    /// Reads a report.
    ///
    /// # Errors
    /// It is not a list that a cluster may send; the error names the place.
    pub fn parse(json: &str, now: Timestamp) -> Result<Self, ClusterReportError> {
        let report: Self = place::read(json).map_err(|misread| ClusterReportError::Form {
            path: text::line(&misread.path, 100),
            problem: text::line(&misread.problem.to_string(), 200),
        })?;
        if report.schema != "ecr-guard/workloads/v1" {
            return Err(ClusterReportError::Schema(text::line(&report.schema, 60)));
        }
        if report.source != "kubernetes" {
            return Err(ClusterReportError::Source(text::line(&report.source, 60)));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if report.cluster.is_empty() || report.cluster.len() > 100 || !report.cluster.chars().all(plain) {
            return Err(ClusterReportError::Cluster);
        }
        if report.sent_at.duration_since(now) > MAX_AHEAD {
            return Err(ClusterReportError::Future(report.sent_at));
        }
        if report.images.len() > MAX_REPORTED_IMAGES {
            return Err(ClusterReportError::TooMany(report.images.len()));
        }
        Ok(report)
    }

    /// Whether it says that nothing runs.
    pub const fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// The list that it is, as the function of an account and region keeps it.
    pub fn source(&self, account: &AccountId, region: &Region) -> WorkloadSource {
        WorkloadSource {
            account: self.account.as_ref().unwrap_or(account).clone(),
            region: region.clone(),
            kind: SourceKind::Kubernetes(self.cluster.clone()),
        }
    }

    /// The part of the report about the images of an account's registry. Whether it is complete depends on the tags, which
    /// others resolve.
    pub fn report(&self, account: &AccountId, region: &Region) -> Reported {
        let source = self.source(account, region);
        let mut report = Reported::default();
        for entry in &self.images {
            let named: Option<ImageReference> = entry.image.parse().ok();
            let resolved: Option<ImageReference> = entry.image_id.parse().ok();
            // containerd may give the digest alone; and where a node has the image by another name, that name comes first.
            let digest = entry
                .image_id
                .rsplit_once('@')
                .map_or(entry.image_id.as_str(), |(_, digest)| digest);
            let keys: BTreeSet<ImageKey> = [
                resolved.as_ref().and_then(ImageReference::key),
                named.as_ref().and_then(|named| named.at(digest)),
                named.as_ref().and_then(ImageReference::key),
            ]
            .into_iter()
            .flatten()
            .filter(|key| key.account == *account)
            .collect();
            // An image that was never pulled does not run: a deployment of a blocked image must not lift its block.
            let phase = if digest.parse::<Digest>().is_ok() {
                Phase::Running
            } else {
                Phase::Desired
            };
            let workload = |via| Workload {
                phase,
                kind: WorkloadKind::Kubernetes,
                name: format!("{}/{}", entry.kind.to_lowercase(), entry.name),
                within: Some(entry.namespace.clone()),
                version: None,
                source: source.clone(),
                via,
            };
            if keys.is_empty() {
                match named.filter(|named| named.account == *account) {
                    Some(named) => {
                        let via = match &named.image {
                            ImageRef::Tag(tag) => Via::Tag(tag.clone()),
                            ImageRef::Digest(_) => Via::Digest,
                        };
                        report.by_tag.insert((named, workload(via)));
                    }
                    None => report.elsewhere = report.elsewhere.saturating_add(1),
                }
            }
            for key in keys {
                report.snapshot.add(key, workload(Via::Digest));
            }
        }
        report
    }
}
