//! Who uses images: what lists workloads, and the memory of what was seen.

use std::future::Future;

use jiff::Timestamp;

use guard_core::{
    ids::{AccountId, ImageKey, Region, RepositoryKey},
    uses::{ImageReference, IndexState, KnownImages, KnownPart, RefusedPull, UseRow, Workload, WorkloadSource},
};

use crate::{Page, PortError, Written};

/// A workload that was seen, and the image that it uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The workload.
    pub workload: Workload,
    /// The image. One that is named by a tag has yet to be looked up.
    pub image: ImageReference,
}

/// What came of listing workloads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListedWorkloads {
    /// What was seen. It counts, whatever else fails.
    pub seen: Vec<Seen>,
    /// What need not be asked again: all of this list that is still of use, old and new.
    pub known: KnownImages,
    /// Why the list was not seen to its end.
    pub failures: Vec<PortError>,
}

/// What lists the workloads of accounts in one region, read only.
pub trait Workloads {
    /// The workloads of one list. What was `known` before is not asked for again.
    fn list(&self, source: &WorkloadSource, known: &KnownImages) -> impl Future<Output = ListedWorkloads> + Send;

    /// The EKS clusters of an account, by name.
    fn clusters(&self, account: &AccountId) -> impl Future<Output = Result<Vec<String>, PortError>> + Send;
}

/// What reads the revisions of ECS services.
pub trait Revisions {
    /// The images of a revision, each as a deployment names it; with its digest where ECS knows that already. None if it has none.
    fn images(&self, revision: &str) -> impl Future<Output = Result<Vec<String>, PortError>> + Send;
}

/// The memory of who uses images.
pub trait UseLedger {
    /// The use rows of these images, as far as there are any, in any order.
    fn uses_of(&self, images: &[ImageKey]) -> impl Future<Output = Result<Vec<UseRow>, PortError>> + Send;

    /// The use rows of all images of an account's registry, in all regions, page by page.
    fn uses(
        &self,
        account: &AccountId,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Page<UseRow>, PortError>> + Send;

    /// The use rows of a repository's images, page by page.
    fn uses_in(
        &self,
        key: &RepositoryKey,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Page<UseRow>, PortError>> + Send;

    /// Writes a use row, if the one that is there has the generation before it.
    fn write_use(&self, row: &UseRow) -> impl Future<Output = Result<Written, PortError>> + Send;

    /// How complete the index of a region is; `None`: nobody keeps one.
    fn index_state(
        &self,
        account: &AccountId,
        region: &Region,
    ) -> impl Future<Output = Result<Option<IndexState>, PortError>> + Send;

    /// The same of all regions.
    fn index_states(&self, account: &AccountId) -> impl Future<Output = Result<Vec<IndexState>, PortError>> + Send;

    /// Writes the state of a region's index, if the one that is there has the generation before it.
    fn write_index_state(
        &self,
        state: &IndexState,
        now: Timestamp,
    ) -> impl Future<Output = Result<Written, PortError>> + Send;

    /// What the function of a region knows of what never changes.
    fn known(
        &self,
        account: &AccountId,
        region: &Region,
    ) -> impl Future<Output = Result<Vec<KnownPart>, PortError>> + Send;

    /// Writes a part of it, if the one that is there has the generation before it.
    fn write_known(&self, part: &KnownPart) -> impl Future<Output = Result<Written, PortError>> + Send;

    /// That somebody, by [`RefusedPull::who`], could not pull an image, and was told so.
    fn refused_pull(
        &self,
        image: &ImageKey,
        who: &str,
    ) -> impl Future<Output = Result<Option<RefusedPull>, PortError>> + Send;

    /// Writes it, if the one that is there has the generation before it.
    fn write_refused_pull(&self, refused: &RefusedPull) -> impl Future<Output = Result<Written, PortError>> + Send;
}
