//! The interfaces that the rules need, in their own words.
//!
//! Traits only; `guard_aws` implements them with the AWS SDK, `guard_testkit` with a world in memory. Pagination,
//! batching and partial failures (`failures[]` in an answer that says 200) stay inside the implementation.

mod callers;
mod services;
mod workloads;

use std::{collections::BTreeMap, fmt, future::Future, time::Duration};

use jiff::Timestamp;

use guard_core::{
    alert::{
        Message,
        brief::BriefAlert,
        budget::{Budget, Slot},
    },
    finding::{Scan, ScanMode, ScanStart, ScanTrigger},
    ids::{Digest, ImageKey, ImageRef, Region, RegistryKey, RepositoryKey, RepositoryName, Tag, TopicArn},
    image::{Image, ImageStatus, ListedImage},
    ledger::{Counter, Row},
    registry::{RegistryRow, RegistrySettings},
    replication::{
        backfill::{Backfill, BackfillStart},
        ledger::{BackfillFailure, BackfillRow, ReplicaRow, ReplicationRow},
        replica::CopyState,
    },
    repository::{
        decide::Preview,
        keys::{KeyArn, KeyHealth},
        ledger::{RepositoryRow, TagRow},
        posture::{ListedRepository, Repository, TagMutability},
    },
    summary::RepositorySummary,
    told::ToldFindings,
    work::WorkItem,
};

pub use self::{
    callers::{Callers, ReleaseLedger, StsAnswer, request_key},
    services::Services,
    workloads::{FamilyRows, ListedWorkloads, Revisions, Seen, UseLedger, Workloads},
};

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Throttling, timeouts, server errors: the same call may succeed later.
    Later,
    /// Denied, refused, malformed: the same call will fail again until somebody changes something.
    Never,
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortError {
    /// Whether trying again can help.
    pub retry: Retry,
    /// The operation, as IAM names it: `ecr:UpdateImageStorageClass`.
    pub operation: &'static str,
    /// The service's error code, or a word for what happened before a service answered (`Timeout`, `Dispatch`).
    pub code: String,
    /// The service's message.
    pub message: String,
    /// The request id, for AWS support.
    pub request_id: Option<String>,
}

/// The code of the error for a row whose document cannot be read.
pub const UNREADABLE_ROW: &str = "UnreadableRow";

/// ECR's code for an image that is not there.
pub const NO_IMAGE: &str = "ImageNotFoundException";

impl PortError {
    /// Whether a row exists and cannot be read. It is not "no row": a person has to read it.
    pub fn is_unreadable_row(&self) -> bool {
        self.code == UNREADABLE_ROW
    }

    /// Whether the caller lacks a permission.
    pub fn is_denied(&self) -> bool {
        self.retry == Retry::Never && (self.code.starts_with("AccessDenied") || self.code.starts_with("Unauthorized"))
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed with `{}`", self.operation, self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PortError {}

/// Images that were pulled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulled {
    /// The images.
    pub images: Vec<Image>,
    /// Where the next page begins; `None`: this was the last page of the repository.
    pub next: Option<String>,
}

/// The registry, read only.
pub trait Registry {
    /// The image, whatever its status; `None` if there is no such image or repository.
    fn image(
        &self,
        repository: &RepositoryName,
        image: &ImageRef,
    ) -> impl Future<Output = Result<Option<Image>, PortError>> + Send;

    /// Any number of images of a repository, in the order of their digests, as [`image`](Self::image) gives each.
    fn images_of(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
    ) -> impl Future<Output = Result<Vec<Option<Image>>, PortError>> + Send
    where
        Self: Sync,
    {
        async move {
            let mut images = Vec::new();
            for digest in digests {
                images.push(self.image(repository, &ImageRef::Digest(digest.clone())).await?);
            }
            Ok(images)
        }
    }

    /// The manifest of an image, as it was pushed; `None`: it cannot be had, because the image is deleted or in the archive.
    fn manifest(&self, image: &ImageKey) -> impl Future<Output = Result<Option<String>, PortError>> + Send;

    /// The images of a repository that can be pulled and were pulled since a time, from one page of a thousand images. `after` is the `next`
    /// of the page before. No images if there is no such repository.
    fn pulled_since(
        &self,
        repository: &RepositoryName,
        since: Timestamp,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Pulled, PortError>> + Send;

    /// The text of a repository's policy; `None` if it has none.
    fn repository_policy(&self, key: &RepositoryKey) -> impl Future<Output = Result<Option<String>, PortError>> + Send;

    /// The entries of a repository that may reference others and are not in the archive, from one page of a thousand images.
    /// `after` is the `next` of the page before. None if there is no such repository.
    fn indexes(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Page<Digest>, PortError>> + Send;

    /// Whether a repository's images are scanned without anybody asking; `None` if there is no such repository.
    fn scan_trigger(
        &self,
        repository: &RepositoryName,
    ) -> impl Future<Output = Result<Option<ScanTrigger>, PortError>> + Send;
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// The entries that cannot be read, each as the error that it would be alone, naming the place. It must not hide the
    /// others: the caller handles the items of the page, and then fails with these.
    pub unreadable: Vec<PortError>,
    /// Where the next page begins; `None`: this is the last one.
    pub next: Option<String>,
}

/// The lists of a registry, page by page. `after` is the `next` of the page before; a place that the registry no longer knows is an
/// error that trying again does not help.
pub trait Listing {
    /// Whether a repository is guarded.
    fn guards(&self, _repository: &RepositoryName) -> bool {
        true
    }

    /// Its guarded repositories, from a thousand on a page.
    fn repositories(
        &self,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Page<ListedRepository>, PortError>> + Send;

    /// The images of a repository, whatever their status, a thousand to a page; `None`: there is no such repository.
    fn images(
        &self,
        key: &RepositoryKey,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Option<Page<ListedImage>>, PortError>> + Send;

    /// The settings that hold for all repositories.
    fn settings(&self) -> impl Future<Output = Result<RegistrySettings, PortError>> + Send;
}

/// The queues of the workers: one of work that sweeps leave, and one of what Inspector finds.
pub trait Queue {
    /// Puts items into their queues ([`Work::is_of_findings`](guard_core::work::Work::is_of_findings)), where they are hidden for so long (whole seconds, 15 minutes at most). After an error, some of them
    /// may be in it: to send them all again does no harm.
    fn send(&self, items: &[WorkItem], hidden_for: Duration) -> impl Future<Output = Result<(), PortError>> + Send;

    /// About how many items of sweeps nobody has taken yet, those that are hidden after they were put in included; not those that are
    /// being worked on, or have failed and wait to be delivered again.
    fn waiting(&self) -> impl Future<Output = Result<u64, PortError>> + Send;
}

/// The most tags that one call takes. Source: ECR API reference, `BatchDeleteImage`, `imageIds`.
pub const MAX_TAGS_AT_ONCE: usize = 100;

/// A manifest, as it was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Byte for byte: its digest is the image's.
    pub text: String,
    /// The media type of the manifest.
    pub media_type: Option<String>,
}

/// The registry's answer about a tag that was to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagAnswer {
    /// This image has lost it.
    From(Digest),
    /// It is removed, or it may be; from which image is not said.
    Unknown,
    /// No image has it.
    Gone,
    /// It stays: an index references the image, which would have lost its last tag.
    Referenced,
    /// It stays, for this reason.
    Failed(PortError),
}

/// The changes in the registry. It does not exist in report mode.
pub trait RegistryWriter {
    /// Moves an image to the archive: it can no longer be pulled. The status is the one that the registry answers.
    fn archive(&self, image: &ImageKey) -> impl Future<Output = Result<ImageStatus, PortError>> + Send;

    /// Brings an image back from the archive, which takes up to about 20 minutes.
    fn restore(&self, image: &ImageKey) -> impl Future<Output = Result<ImageStatus, PortError>> + Send;

    /// The manifest of an image, to put it under another tag; `None`: it cannot be had, because the image is deleted or in the archive.
    fn manifest_to_put(&self, image: &ImageKey) -> impl Future<Output = Result<Option<Manifest>, PortError>> + Send;

    /// Puts a manifest under a tag. The image has the tag then, whatever image had it before; an image that is gone is there again. A tag
    /// that it already has is a success.
    fn put(
        &self,
        image: &ImageKey,
        manifest: &Manifest,
        tag: &Tag,
    ) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Takes tags, [`MAX_TAGS_AT_ONCE`] at most, from whichever images have them at that moment, and gives what the registry answers about
    /// each. **An image that loses its last tag is deleted.** Only `guard_engine::tag_removal` may call it.
    ///
    /// It is sent once: a second attempt after a lost answer could take a tag that somebody has just pushed again.
    fn remove_tags(
        &self,
        key: &RepositoryKey,
        tags: &[Tag],
    ) -> impl Future<Output = Result<Vec<(Tag, TagAnswer)>, PortError>> + Send;

    /// Asks for a scan.
    fn start_scan(&self, image: &ImageKey) -> impl Future<Output = Result<ScanStart, PortError>> + Send;
}

/// Repositories and their settings, read only.
pub trait Repositories {
    /// The repository; `None` if there is none.
    fn repository(&self, key: &RepositoryKey) -> impl Future<Output = Result<Option<Repository>, PortError>> + Send;

    /// Its tags; none if there is no such repository.
    fn repository_tags(
        &self,
        key: &RepositoryKey,
    ) -> impl Future<Output = Result<BTreeMap<String, String>, PortError>> + Send;

    /// The text of its lifecycle policy; `None` if it has none.
    fn lifecycle_policy(&self, key: &RepositoryKey) -> impl Future<Output = Result<Option<String>, PortError>> + Send;

    /// How the registry scans.
    fn scan_mode(&self) -> impl Future<Output = Result<ScanMode, PortError>> + Send;
}

/// The changes of repositories. It does not exist in report mode.
pub trait RepositoryWriter {
    /// Sets whether tags can be moved.
    fn set_tag_mutability(
        &self,
        key: &RepositoryKey,
        mutability: &TagMutability,
    ) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Sets the repository's own flag for scanning.
    fn set_scan_on_push(&self, key: &RepositoryKey) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Replaces the policy; with `None`, removes it.
    fn set_repository_policy(
        &self,
        key: &RepositoryKey,
        text: Option<&str>,
    ) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Sets the lifecycle policy.
    fn set_lifecycle_policy(
        &self,
        key: &RepositoryKey,
        text: &str,
    ) -> impl Future<Output = Result<(), PortError>> + Send;

    /// The effect of a lifecycle policy; `None`: the registry does not know yet, which may take minutes. `begun`: it was asked
    /// for lately, so that its present state is read before it is asked for again. It changes nothing, but IAM counts it among
    /// the calls that write.
    fn preview_lifecycle_policy(
        &self,
        key: &RepositoryKey,
        text: &str,
        begun: bool,
    ) -> impl Future<Output = Result<Option<Preview>, PortError>> + Send;
}

/// Keys of KMS.
pub trait Keys {
    /// The health of a key. A refusal of KMS is an answer, [`KeyHealth::NotTold`].
    fn key(&self, key: &KeyArn) -> impl Future<Output = Result<KeyHealth, PortError>> + Send;
}

/// The scanner, basic or enhanced.
pub trait Scanner {
    /// Its answer about an image, all findings included.
    fn scan(&self, image: &ImageKey) -> impl Future<Output = Result<Scan, PortError>> + Send;
}

/// The result of writing a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is in the ledger.
    Yes,
    /// Somebody else wrote the row since it was read; nothing was changed.
    Conflict,
}

/// The memory of every image's state.
pub trait Ledger {
    /// The row of an image.
    fn row(&self, image: &ImageKey) -> impl Future<Output = Result<Option<Row>, PortError>> + Send;

    /// The rows of any number of images, in their order, each `None` if there is none.
    fn rows_of(&self, images: &[ImageKey]) -> impl Future<Output = Result<Vec<Option<Row>>, PortError>> + Send;

    /// Writes a row, if the stored one has the version before it (0: there is none).
    fn write(&self, row: &Row) -> impl Future<Output = Result<Written, PortError>> + Send;

    /// The rows of the same image in other regions. Only asked where copies arrive and no event said from where.
    fn rows_elsewhere(&self, image: &ImageKey) -> impl Future<Output = Result<Vec<Row>, PortError>> + Send;

    /// Counts one more in an hour, and gives the count with it. Counting is atomic, and an attempt whose answer got lost may have
    /// counted: the count is never too low.
    fn count(
        &self,
        image: &ImageKey,
        counter: Counter,
        hour: Timestamp,
    ) -> impl Future<Output = Result<u64, PortError>> + Send;

    /// Claims for an image the alert that the limit of blocks of an hour is reached. The first image that asks has the claim,
    /// and has it whenever it asks again: a count would be lost with the answer, and nobody would be first.
    fn claim_limit(&self, image: &ImageKey, hour: Timestamp) -> impl Future<Output = Result<bool, PortError>> + Send;

    /// The findings that the people of a repository were notified of; a new row if there was none yet.
    fn told(&self, key: &RepositoryKey) -> impl Future<Output = Result<ToldFindings, PortError>> + Send;

    /// Writes it, if the stored row has the version before it.
    fn write_told(&self, told: &ToldFindings) -> impl Future<Output = Result<Written, PortError>> + Send;
}

/// The memory of repositories and of their tags.
pub trait RepositoryLedger {
    /// The row of a repository.
    fn repository_row(
        &self,
        key: &RepositoryKey,
    ) -> impl Future<Output = Result<Option<RepositoryRow>, PortError>> + Send;

    /// Writes the row of a repository, if the stored one has the version before it.
    fn write_repository_row(&self, row: &RepositoryRow) -> impl Future<Output = Result<Written, PortError>> + Send;

    /// The row of a tag.
    fn tag_row(&self, key: &RepositoryKey, tag: &Tag)
    -> impl Future<Output = Result<Option<TagRow>, PortError>> + Send;

    /// Writes the row of a tag, if the stored one has the version before it.
    fn write_tag_row(&self, row: &TagRow) -> impl Future<Output = Result<Written, PortError>> + Send;
}

/// The part of the ledger that the sweep reads and keeps.
pub trait SweepLedger {
    /// The rows of a repository's images, in this region and in others, page by page.
    fn rows(
        &self,
        key: &RepositoryKey,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Page<Row>, PortError>> + Send;

    /// The summary of a repository.
    fn summary(&self, key: &RepositoryKey)
    -> impl Future<Output = Result<Option<RepositorySummary>, PortError>> + Send;

    /// Writes the summary of a repository, if the stored one has the version before it.
    fn write_summary(&self, summary: &RepositorySummary) -> impl Future<Output = Result<Written, PortError>> + Send;

    /// The summaries of a registry's repositories, page by page.
    fn summaries(
        &self,
        key: &RegistryKey,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Page<RepositorySummary>, PortError>> + Send;

    /// The row of a registry.
    fn registry_row(&self, key: &RegistryKey) -> impl Future<Output = Result<Option<RegistryRow>, PortError>> + Send;

    /// Writes the row of a registry, if the stored one has the version before it.
    fn write_registry_row(&self, row: &RegistryRow) -> impl Future<Output = Result<Written, PortError>> + Send;
}

/// The policy documents that the ledger holds, each under the SHA-256 of its text, in lower-case hexadecimal digits.
pub trait PolicyLedger {
    /// A document; `None`: the ledger does not have it.
    fn policy_document(&self, sha256: &str) -> impl Future<Output = Result<Option<String>, PortError>> + Send;

    /// Keeps a document until then, whatever the deployment does that has written it.
    fn keep_policy_document(
        &self,
        sha256: &str,
        document: &str,
        until: Timestamp,
    ) -> impl Future<Output = Result<(), PortError>> + Send;
}

/// The way to people.
pub trait Notifier: Sync {
    /// Publishes a message to a topic; gives the message id.
    fn publish(&self, topic: &TopicArn, message: &Message) -> impl Future<Output = Result<String, PortError>> + Send;

    /// The form in which an alert is sent: counts it against the budget of its topic, where there is one.
    fn slot(&self, _alert: &BriefAlert) -> impl Future<Output = Slot> + Send {
        async { Slot::Single }
    }

    /// Sends an alert in a slot: publishes its message, or keeps its short form for the next summary.
    fn tell<'a>(
        &'a self,
        _slot: Slot,
        alert: &'a BriefAlert,
        message: &'a Message,
    ) -> impl Future<Output = Result<(), PortError>> + Send + 'a {
        // Without a budget, every alert is a message of its own.
        async move { self.publish(&alert.topic, message).await.map(|_| ()) }
    }

    /// Sends an alert in the slot that it gets now.
    fn tell_now<'a>(
        &'a self,
        alert: &'a BriefAlert,
        message: &'a Message,
    ) -> impl Future<Output = Result<(), PortError>> + Send + 'a {
        async move {
            let slot = self.slot(alert).await;
            self.tell(slot, alert, message).await
        }
    }
}

/// The counted and kept alerts, for the budgets of topics.
pub trait AlertLedger {
    /// Takes a single alert out of the budget of a topic, if there is one left. This is atomic; an attempt whose answer got lost may have
    /// taken one for nothing.
    fn take_slot(
        &self,
        registry: &RegistryKey,
        topic: &TopicArn,
        budget: Budget,
        now: Timestamp,
    ) -> impl Future<Output = Result<Slot, PortError>> + Send;

    /// Keeps an alert for the next summary. The same alert is kept once.
    fn keep_alert(&self, alert: &BriefAlert) -> impl Future<Output = Result<(), PortError>> + Send;

    /// The kept alerts of a registry, page by page.
    fn kept_alerts(
        &self,
        registry: &RegistryKey,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Page<BriefAlert>, PortError>> + Send;

    /// Forgets kept alerts: a summary has named them. One that is gone already is a success.
    fn forget_alerts(&self, alerts: &[BriefAlert]) -> impl Future<Output = Result<(), PortError>> + Send;
}

/// The time.
pub trait Clock {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Lets time pass.
    fn pause(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// Copies of images in other regions, and how ECR makes them: read only.
pub trait Replication {
    /// How far ECR is with the copies of an image, by destination region, as the registry of `image` says: the one it is copied
    /// from. `None`: there is no such image. Copies in other accounts are left out.
    fn copies(
        &self,
        image: &ImageKey,
    ) -> impl Future<Output = Result<Option<BTreeMap<Region, CopyState>>, PortError>> + Send;

    /// An image of a repository in whichever region `key` names, whatever its status; `None` if there is no such image or repository.
    fn image_in(
        &self,
        key: &RepositoryKey,
        image: &ImageRef,
    ) -> impl Future<Output = Result<Option<Image>, PortError>> + Send;

    /// The backfills of the registry here, the latest first, as far as ECR keeps them: 90 days.
    fn backfills(&self) -> impl Future<Output = Result<Vec<Backfill>, PortError>> + Send;

    /// The images that a finished backfill could not copy, up to a limit.
    fn backfill_failures(
        &self,
        id: &str,
        most: usize,
    ) -> impl Future<Output = Result<Vec<BackfillFailure>, PortError>> + Send;
}

/// The calls that start replication. It does not exist in report mode.
pub trait ReplicationWriter {
    /// Asks ECR to copy what is missing in a region, of all repositories that a rule is for.
    fn start_backfill(
        &self,
        from: &RegistryKey,
        to: &Region,
    ) -> impl Future<Output = Result<BackfillStart, PortError>> + Send;
}

/// The memory of copies.
pub trait ReplicationLedger {
    /// The row of a copy.
    fn replica_row(&self, image: &ImageKey) -> impl Future<Output = Result<Option<ReplicaRow>, PortError>> + Send;

    /// Writes the row of a copy, if the stored one has the version before it.
    fn write_replica_row(&self, row: &ReplicaRow) -> impl Future<Output = Result<Written, PortError>> + Send;

    /// The rows of all copies of a repository's images, in all regions, page by page.
    fn replica_rows(
        &self,
        key: &RepositoryKey,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Page<ReplicaRow>, PortError>> + Send;

    /// The row of a repository's copies in a region.
    fn replication_row(
        &self,
        key: &RepositoryKey,
        to: &Region,
    ) -> impl Future<Output = Result<Option<ReplicationRow>, PortError>> + Send;

    /// Writes it, if the stored one has the version before it.
    fn write_replication_row(&self, row: &ReplicationRow) -> impl Future<Output = Result<Written, PortError>> + Send;

    /// The row of the last backfill from one region to another.
    fn backfill_row(
        &self,
        from: &RegistryKey,
        to: &Region,
    ) -> impl Future<Output = Result<Option<BackfillRow>, PortError>> + Send;

    /// Writes it, if the stored one has the version before it.
    fn write_backfill_row(&self, row: &BackfillRow) -> impl Future<Output = Result<Written, PortError>> + Send;
}
