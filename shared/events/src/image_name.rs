//! How events name images.

use guard_core::ids::{AccountId, Digest, ImageRef, Region, RepositoryName, Tag};

/// Tags kept of one event: as many as one image can have (Amazon ECR User Guide, "Amazon ECR service quotas").
pub const MAX_TAGS: usize = 1_000;

/// How an event names an image, or a repository if it has neither digest nor tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    /// The registry's account, if the body says it.
    pub account: Option<AccountId>,
    /// The registry's region, if the body says it.
    pub region: Option<Region>,
    /// The repository.
    pub repository: RepositoryName,
    /// The digest, if there is a valid one.
    pub digest: Option<Digest>,
    /// The valid ones of its tags, in the event's order, [`MAX_TAGS`] at most.
    pub tags: Vec<Tag>,
}

impl ImageName {
    /// The digest, otherwise the first tag. `None`: the name is that of a repository only.
    pub fn image(&self) -> Option<ImageRef> {
        let by_digest = self.digest.clone().map(ImageRef::Digest);
        by_digest.or_else(|| self.tags.first().cloned().map(ImageRef::Tag))
    }
}
