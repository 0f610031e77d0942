//! What the sweep leaves for the workers: work items, as they stand in the queue.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    ids::{AccountId, Digest, Region, RepositoryName},
    repository::posture::ListedSettings,
};

/// One piece of work. Like an event it only says *look at this*: done twice it does no harm, and it may be done late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkItem {
    /// Form of this document.
    pub schema: WorkSchema,
    /// When the sweep began that it belongs to.
    pub sweep: Timestamp,
    /// The registry.
    pub account: AccountId,
    /// The region.
    pub region: Region,
    /// What is to be looked at.
    pub work: Work,
}

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
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
        /// It is looked at for the second time in this sweep, because images of it were due in the first.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
        /// What of its settings is known; `None`: all of them are to be looked at.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        listed: Option<Box<ListedSettings>>,
    },
    /// These images of a repository.
    Images {
        /// The repository.
        repository: RepositoryName,
        /// The images, at most [`MAX_IMAGES`].
        digests: Vec<Digest>,
        /// All indexes of the repository were known with all that they lead to, when this was left.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        indexes_read: bool,
    },
}

/// The most images that one item names: 7 KiB of text, about a minute of work if every one of them is to be blocked.
pub const MAX_IMAGES: usize = 50;

/// The only form of a work item that exists so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkSchema {
    /// First form.
    #[serde(rename = "ecr-guard/work/v1")]
    V1,
}
