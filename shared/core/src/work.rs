//! The work items that the sweep leaves for the workers, in their form in the queue.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    finding::Epss,
    ids::{AccountId, Digest, Region, RepositoryName},
    repository::posture::ListedSettings,
};

/// One piece of work. Like an event it only names a subject to reconcile: done twice it does no harm, and it may be done late.
///
/// Members that this version does not know are those of a later one, which wrote the item before it was rolled back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkItem {
    /// Form of this document.
    pub schema: WorkSchema,
    /// When the sweep began that it belongs to.
    pub sweep: Timestamp,
    /// The sweep before it, whose turns are done; `None`: only those of its own hour are due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The number of invocations before this one, one after the other: a worker that puts an item into the queue that it is
    /// invoked by adds one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hops: u32,
    /// The registry.
    pub account: AccountId,
    /// The region.
    pub region: Region,
    /// The subject to reconcile.
    pub work: Work,
}

/// The subject to reconcile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Work {
    /// The registry's repositories, from where a sweep had to stop.
    Repositories {
        /// The place in the list, as the registry named it.
        after: String,
    },
    /// A repository and its images.
    Repository {
        /// Its name.
        repository: RepositoryName,
        /// The place in the list of its images, as the registry named it, where another item had to stop; `None`: from the beginning.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
        /// It is reconciled for the second time in this sweep, because images of it were due in the first.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
        /// Only copies and figures are left: another item had not the time for them.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        copies: bool,
        /// The known part of its settings; `None`: all of them are read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        listed: Option<Box<ListedSettings>>,
        /// The number of times in this sweep that ECR had no preview of a lifecycle policy yet. After the first, only the
        /// settings are reconciled. A version that does not know this member reconciles all of the repository, as it does with
        /// each sweep.
        #[serde(default, skip_serializing_if = "is_zero")]
        waited: u32,
    },
    /// These images of a repository.
    Images {
        /// The repository.
        repository: RepositoryName,
        /// The images, at most [`MAX_IMAGES`].
        digests: Vec<Digest>,
        /// All indexes of the repository were known with all their children, when this was left.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        indexes_read: bool,
        /// When that was; see [`INDEXES_KNOWN_FOR`]. An item of an earlier version does not say it: there they count as not read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        indexes_read_at: Option<Timestamp>,
    },
    /// Images that Inspector has found something in, which an invocation had no time for. They go back into the queue of findings.
    Findings {
        /// The repository.
        repository: RepositoryName,
        /// The images, at most [`MAX_IMAGES`].
        images: Vec<FoundImage>,
    },
}

/// An image that findings were about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundImage {
    /// The image.
    pub digest: Digest,
    /// The exploit probabilities of the findings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epss: Vec<Epss>,
}

impl Work {
    /// The repository that it is about; `None`: the list of all of them.
    pub fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Repositories { .. } => None,
            Self::Repository { repository, .. }
            | Self::Images { repository, .. }
            | Self::Findings { repository, .. } => Some(repository),
        }
    }

    /// Whether it goes into the queue of findings, and not into that of the sweeps.
    pub fn is_of_findings(&self) -> bool {
        matches!(self, Self::Findings { .. })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The most images that one item names: 3 KiB of text. A batch of twenty items is done in the time of one invocation at a second for
/// each image; what is left of an item, or fails in it, is little. docs/work-at-scale.md has the figures.
pub const MAX_IMAGES: usize = 20;

/// For this time a sweep's statement counts that it has read all indexes of a repository: until the next sweep reads them. An
/// item may wait for hours, and meanwhile an index may come that references an image without a tag.
pub const INDEXES_KNOWN_FOR: SignedDuration = SignedDuration::from_hours(1);

/// After this number of hops an item is not put back any more: it stays in the queue, where SQS counts its deliveries. An item
/// that was left for want of time or because AWS fails (five minutes later, each time) has more than sixteen hours until then.
pub const MAX_HOPS: u32 = 200;

/// The only form of a work item that exists so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkSchema {
    /// First form.
    #[serde(rename = "ecr-guard/work/v1")]
    V1,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{image_key, now, registry_key};

    fn item(hops: u32, work: Work) -> serde_json::Value {
        let registry = registry_key();
        let item = WorkItem {
            schema: WorkSchema::V1,
            sweep: now(),
            since: None,
            hops,
            account: registry.account,
            region: registry.region,
            work,
        };
        serde_json::to_value(&item).unwrap()
    }

    #[test]
    fn an_item_names_its_repository_and_its_queue() {
        let repository = image_key().repository;
        for (work, named, of_findings) in [
            (json!({"kind": "repositories", "after": "x"}), None, false),
            (
                json!({"kind": "repository", "repository": repository}),
                Some(&repository),
                false,
            ),
            (
                json!({"kind": "images", "repository": repository, "digests": []}),
                Some(&repository),
                false,
            ),
            (
                json!({"kind": "findings", "repository": repository, "images": []}),
                Some(&repository),
                true,
            ),
        ] {
            let read: Work = serde_json::from_value(work.clone()).unwrap();
            assert_eq!(
                (read.repository(), read.is_of_findings()),
                (named, of_findings),
                "{work}"
            );
        }
    }

    #[test]
    fn a_number_is_left_out_if_it_is_zero() {
        let work = |waited: u32| -> Work {
            serde_json::from_value(
                json!({"kind": "repository", "repository": image_key().repository, "waited": waited}),
            )
            .unwrap()
        };
        for number in [0, 1, 2] {
            let item = item(number, work(number));
            let written = (number > 0).then(|| json!(number));
            assert_eq!(
                (item.get("hops"), item["work"].get("waited")),
                (written.as_ref(), written.as_ref())
            );
        }
    }
}
