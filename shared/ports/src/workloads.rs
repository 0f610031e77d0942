//! Who uses images: what lists workloads, and the memory of what was seen.

use std::future::Future;

use jiff::Timestamp;

use guard_core::{
    ids::{AccountId, ImageKey, Region, RegistryKey, RepositoryKey},
    ledger::Row,
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

/// The result of listing workloads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListedWorkloads {
    /// The uses. They count, whatever else fails.
    pub seen: Vec<Seen>,
    /// The facts that need not be asked for again: all of this list that are still of use, old and new.
    pub known: KnownImages,
    /// Why the list was not seen to its end.
    pub failures: Vec<PortError>,
    /// When the oldest of what was seen was read, if an earlier run has read a part of it.
    pub as_of: Option<Timestamp>,
}

/// Lists the workloads of accounts in one region, read only.
pub trait Workloads {
    /// The workloads of one list. Facts that were `known` before are not asked for again.
    fn list(&self, source: &WorkloadSource, known: &KnownImages) -> impl Future<Output = ListedWorkloads> + Send;

    /// The EKS clusters of an account, by name.
    fn clusters(&self, account: &AccountId) -> impl Future<Output = Result<Vec<String>, PortError>> + Send;
}

/// Reads the revisions of ECS services.
pub trait Revisions {
    /// The images of a revision, each as a deployment names it; with its digest where ECS knows that already. None if it has none.
    fn images(&self, revision: &str) -> impl Future<Output = Result<Vec<String>, PortError>> + Send;
}

/// The rows of images that share their fate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FamilyRows {
    /// Their rows, in the order that was asked, each `None` if there is none.
    pub rows: Vec<Option<Row>>,
    /// Their use rows, as far as there are any, in any order.
    pub uses: Vec<UseRow>,
    /// How complete the index of their region is; `None`: nobody keeps one.
    pub state: Option<IndexState>,
}

/// The memory of who uses images.
pub trait UseLedger {
    /// The use rows of these images, as far as there are any, in any order.
    fn uses_of(&self, images: &[ImageKey]) -> impl Future<Output = Result<Vec<UseRow>, PortError>> + Send;

    /// The rows of any number of images and the use rows of others, with how complete the index of a registry's region is: one
    /// round trip. A row that cannot be read is an error for all of them.
    fn rows_and_uses(
        &self,
        rows: &[ImageKey],
        uses: &[ImageKey],
        registry: &RegistryKey,
    ) -> impl Future<Output = Result<FamilyRows, PortError>> + Send;

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

    /// Writes a use row, if the stored one has the version before it.
    fn write_use(&self, row: &UseRow) -> impl Future<Output = Result<Written, PortError>> + Send;

    /// How complete the index of a region is; `None`: nobody keeps one.
    fn index_state(
        &self,
        account: &AccountId,
        region: &Region,
    ) -> impl Future<Output = Result<Option<IndexState>, PortError>> + Send;

    /// The same of all regions.
    fn index_states(&self, account: &AccountId) -> impl Future<Output = Result<Vec<IndexState>, PortError>> + Send;

    /// Writes the state of a region's index, if the stored one has the version before it.
    fn write_index_state(
        &self,
        state: &IndexState,
        now: Timestamp,
    ) -> impl Future<Output = Result<Written, PortError>> + Send;

    /// The facts that never change, as far as the function of a region knows them.
    fn known(
        &self,
        account: &AccountId,
        region: &Region,
    ) -> impl Future<Output = Result<Vec<KnownPart>, PortError>> + Send;

    /// Writes a part of it, if the stored one has the version before it.
    fn write_known(&self, part: &KnownPart) -> impl Future<Output = Result<Written, PortError>> + Send;

    /// The record that a workload, by [`RefusedPull::who`], could not pull an image, and that its alert was sent.
    fn refused_pull(
        &self,
        image: &ImageKey,
        who: &str,
    ) -> impl Future<Output = Result<Option<RefusedPull>, PortError>> + Send;

    /// Writes it, if the stored one has the version before it.
    fn write_refused_pull(&self, refused: &RefusedPull) -> impl Future<Output = Result<Written, PortError>> + Send;
}
