//! The sweep: what makes it certain that every image is looked at, whatever events get lost.
//!
//! It lists the registry's repositories and leaves a work item for each. A work item compares the registry's list of a repository's
//! images with the ledger's rows, which takes a call for a thousand of each, and looks at those images where the two do not agree
//! (`domain/decide/due.rs` says when). Everything ends in [`reconcile`], as after an event.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::future::join;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    reconcile::{
        FINDINGS, ReconcileError, Subject,
        image::{Hints, Outcome, OutcomeKind, Request, reconcile},
        replication::{CopyLook, ReplicationOutcome, reconcile_replication},
        repository::{RepositoryOutcome, TagRequest, reconcile_repository, reconcile_tag},
    },
    route::{ReadTag, remember_route},
};
use guard_core::{
    decide::{Due, Survey, TURN_HOURS, Turns},
    ids::{Digest, ImageKey, ImageRef, RegistryKey, RepositoryKey, RepositoryName},
    image::ListedImage,
    ledger::Row,
    policy::{Policy, RepositoryRules, WhenInUse},
    registry::{
        RegistryRow, RegistrySettings,
        access::{MAX_CAUSES, MAX_NAMED, RefusedAccess},
        failing::FailingCall,
    },
    replication::readiness::Expected,
    repository::posture::{ListedRepository, ListedSettings},
    summary::{RepositorySummary, SummaryBuilder, differs},
    work::{FoundImage, INDEXES_KNOWN_FOR, MAX_HOPS, MAX_IMAGES, Work, WorkItem, WorkSchema},
};
use guard_ports::{
    Clock as _, Ledger as _, Listing, PortError, Queue, Registry as _, RepositoryLedger as _, Retry, Services,
    SweepLedger as _, UseLedger as _, Written,
};

/// A sweep that is going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// The registry.
    pub registry: RegistryKey,
    /// When it began.
    pub began: Timestamp,
    /// When the sweep before it began, whose turns are done; `None`: only the turns of its own hour are due.
    pub since: Option<Timestamp>,
    /// How many invocations led to this one, one after the other.
    pub hops: u32,
    /// When this invocation must be through: nothing new is begun after that.
    pub until: Timestamp,
}

impl Sweep {
    /// Whose turn it is.
    fn turns(&self) -> Turns {
        Turns::new(self.since, self.began)
    }

    /// Something to look at, one hop further.
    pub fn item(&self, work: Work) -> WorkItem {
        WorkItem {
            schema: WorkSchema::V1,
            sweep: self.began,
            since: self.since,
            hops: self.hops.saturating_add(1),
            account: self.registry.account.clone(),
            region: self.registry.region.clone(),
            work,
        }
    }

    fn repository(&self, repository: RepositoryName, listed: Option<ListedSettings>) -> WorkItem {
        self.item(Work::Repository {
            repository,
            after: None,
            again: false,
            copies: false,
            listed: listed.map(Box::new),
            waited: 0,
        })
    }
}

/// How many repositories were left to the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Enqueued {
    /// Their number.
    pub repositories: u64,
    /// The time was over before the list was: an item says where to go on.
    pub continued: bool,
}

/// Why a sweep, or a part of it, did not succeed. It can be done again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SweepError {
    /// A call failed.
    #[error("could not {doing}: {source}")]
    Port {
        /// What was being done.
        doing: String,
        /// The call that failed.
        source: Box<PortError>,
    },
    /// A repository, an image or copies could not be looked at.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    /// Work was put back too often. It stays in the queue.
    #[error("work on `{0}` was put back {MAX_HOPS} times")]
    TooManyHops(RepositoryName),
}

impl SweepError {
    /// A call failed while this was being done.
    pub fn port(doing: impl Into<String>, source: PortError) -> Self {
        Self::Port {
            doing: doing.into(),
            source: Box::new(source),
        }
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Port { source, .. } => source.retry,
            Self::Reconcile(error) => error.retry(),
            Self::TooManyHops(_) => Retry::Later,
        }
    }

    /// Whether AWS is in trouble, or has had enough of us: then whatever else is to be done waits as well.
    pub fn is_trouble(&self) -> bool {
        self.retry() == Retry::Later && self.code() == CALL_FAILED
    }

    /// Whether a row of the ledger is there and cannot be read: no second attempt can, until somebody has seen to it.
    pub fn is_unreadable_row(&self) -> bool {
        match self {
            Self::Port { source, .. } => source.is_unreadable_row(),
            Self::Reconcile(error) => error.is_unreadable_row(),
            Self::TooManyHops(_) => false,
        }
    }

    /// The scanner's refusal to let us read findings.
    fn denied_findings(&self) -> Option<&PortError> {
        match self {
            Self::Reconcile(error) => error.denied_findings(),
            _ => None,
        }
    }

    /// A stable word for alarms.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Port { source, .. } => match source.retry {
                Retry::Later => CALL_FAILED,
                Retry::Never => "CallRefused",
            },
            Self::Reconcile(error) => error.code(),
            Self::TooManyHops(_) => "TooManyHops",
        }
    }
}

/// The word of all errors for a call that may succeed later.
const CALL_FAILED: &str = "CallFailed";

const NOT_HIDDEN: Duration = Duration::ZERO;

/// How often the registry's row is written anew if others wrote it in between.
const MAX_ATTEMPTS: usize = 6;

/// The error that another worker met, as far as it is known.
fn denied(known: &RefusedAccess) -> PortError {
    PortError {
        retry: Retry::Never,
        operation: FINDINGS,
        code: "AccessDeniedException".to_owned(),
        message: known.message(),
        request_id: None,
    }
}

/// For so long work is left alone that waits because AWS is in trouble, or has had enough of us.
pub const TROUBLE_WAIT: Duration = Duration::from_secs(5 * 60);

/// After so many looks in a row that failed nothing new is begun: AWS is in trouble, or has had enough of us. A call that fails now and
/// then is no trouble.
pub const MAX_TROUBLE: usize = 5;

/// So long after images were due a repository is looked at again: by then they have been looked at, and what became of them is
/// counted.
const SECOND_LOOK: Duration = Duration::from_secs(10 * 60);

/// So long after a look at the settings, another one reads the preview of a lifecycle policy that was not there yet, by how often it was
/// not. AWS's own waiter gives up after 100 seconds, and a preview of a large repository may take longer: after the last one, the next sweep
/// looks.
const PREVIEW_WAITS: [Duration; 4] = [
    Duration::from_secs(60),
    Duration::from_secs(2 * 60),
    Duration::from_secs(4 * 60),
    Duration::from_secs(8 * 60),
];

/// Images that are due are looked at at once if they are no more than this; more of them are left to other workers.
const LOOKED_AT_ONCE: usize = 10;

/// What is known of the settings of all repositories, but for what the list says: it saves workers from asking again, one by one.
#[derive(Debug)]
pub struct Known<'a> {
    policy: &'a Policy,
    settings: RegistrySettings,
}

impl<'a> Known<'a> {
    /// Reads it, if the policy asks anything of settings. `None` as well if it cannot be read: that the registry's own check tells, and
    /// here it only means that workers ask for more.
    pub async fn read(registry: &impl Listing, policy: &'a Policy) -> Option<Self> {
        if !policy.has_settings() {
            return None;
        }
        let settings = registry.settings().await.ok()?;
        Some(Self { policy, settings })
    }

    /// What goes with a repository's item; nothing, if nothing is asked of it, or if it is its turn to be looked at in full.
    fn of(&self, listed: &ListedRepository, sweep: &Sweep) -> Option<ListedSettings> {
        let asked = self.policy.repository(&listed.name);
        let asked = asked.is_some_and(RepositoryRules::has_settings);
        let in_full = sweep.turns().has(&listed.name, TURN_HOURS);
        (asked && !in_full).then(|| self.settings.of(listed))
    }
}

/// Leaves an item for every repository of the registry, from `after` on, with what is `known` of its settings. What of the list could
/// not be read is named beside. `registry`: its lists, as the rest of the sweep reads them.
///
/// # Errors
/// A call failed. Items for a part of the repositories may be in the queue.
pub async fn enqueue_repositories(
    services: &impl Services,
    registry: &impl Listing,
    sweep: &Sweep,
    known: Option<&Known<'_>>,
    mut after: Option<String>,
) -> Result<(Enqueued, Failures), SweepError> {
    let mut enqueued = Enqueued::default();
    let mut unreadable = Failures::new();
    let item = |listed: ListedRepository| {
        let known = known.and_then(|known| known.of(&listed, sweep));
        sweep.repository(listed.name, known)
    };
    loop {
        let page = registry.repositories(after.as_deref()).await;
        let page = page.map_err(|source| SweepError::port("list the repositories", source))?;
        let mut items: Vec<WorkItem> = page.items.into_iter().map(item).collect();
        enqueued.repositories += items.len() as u64;
        let failed = |source| SweepError::port("read the whole list of repositories", source);
        unreadable.extend(page.unreadable.into_iter().map(failed));
        let time_is_over = services.clock().now() >= sweep.until;
        if time_is_over && let Some(after) = page.next.clone() {
            items.push(sweep.item(Work::Repositories { after }));
            enqueued.continued = true;
        }
        let sent = services.queue().send(&items, NOT_HIDDEN).await;
        sent.map_err(|source| SweepError::port("leave the repositories to the workers", source))?;
        if page.next.is_none() || enqueued.continued {
            return Ok((enqueued, unreadable));
        }
        after = page.next;
    }
}

/// Leaves an item for each of these repositories. One that does not exist is one without images.
///
/// # Errors
/// A call failed. Items for a part of the repositories may be in the queue.
pub async fn enqueue_these(
    queue: &impl Queue,
    sweep: &Sweep,
    names: Vec<RepositoryName>,
) -> Result<Enqueued, SweepError> {
    let items: Vec<WorkItem> = names.into_iter().map(|name| sweep.repository(name, None)).collect();
    let sent = queue.send(&items, NOT_HIDDEN).await;
    sent.map_err(|source| SweepError::port("leave the repositories to the workers", source))?;
    Ok(Enqueued {
        repositories: items.len() as u64,
        continued: false,
    })
}

/// Leaves an item for each repository that is gone and of which the ledger still has something: its rows are closed by that. Their
/// number. When the time is over, the rest is for the next sweep.
///
/// # Errors
/// A call failed.
pub async fn enqueue_gone(services: &impl Services, registry: &impl Listing, sweep: &Sweep) -> Result<u64, SweepError> {
    let failed = |source| SweepError::port("look for repositories that are gone", source);
    let mut there = BTreeSet::new();
    let mut after = None;
    loop {
        if services.clock().now() >= sweep.until {
            return Ok(0);
        }
        let page = registry.repositories(after.as_deref()).await.map_err(failed)?;
        // What cannot be read is not gone.
        if let Some(unreadable) = page.unreadable.into_iter().next() {
            return Err(failed(unreadable));
        }
        there.extend(page.items.into_iter().map(|listed| listed.name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut gone = Vec::new();
    loop {
        let page = services
            .ledger()
            .summaries(&sweep.registry, after.as_deref())
            .await
            .map_err(failed)?;
        let of_nothing = |summary: &RepositorySummary| summary.images == 0 && summary.states.is_empty();
        let gone_of_page = page
            .items
            .into_iter()
            .filter(|summary| !of_nothing(summary) && !there.contains(&summary.repository.repository))
            .filter(|summary| registry.guards(&summary.repository.repository));
        gone.extend(gone_of_page.map(|summary| summary.repository.repository));
        after = page.next;
        if after.is_none() || services.clock().now() >= sweep.until {
            break;
        }
    }
    Ok(enqueue_these(services.queue(), sweep, gone).await?.repositories)
}

/// What came of looking at repositories and images.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Looks {
    /// Repositories that were left to other workers.
    pub repositories: u64,
    /// Images on the registry's list.
    pub listed: u64,
    /// Those that were due, by why.
    pub due: BTreeMap<&'static str, u64>,
    /// Images that were looked at.
    pub looked: u64,
    /// Images, counted with those that share their fate, for which something was recorded, done or told.
    pub changed: u64,
    /// Images, counted in the same way, whose manifest could not be read; see [`Outcome::not_read`].
    pub not_read: u64,
    /// Entries, counted in the same way, that are no container images.
    pub not_images: u64,
    /// Blocks, as the policy limits them by the hour: an index is one, with the images that it leads to, and what comes back is not counted
    /// again.
    pub blocks: u64,
    /// Alerts that were sent, about images and repositories.
    pub alerts: u64,
    /// Settings of repositories, and tags, that were changed.
    pub repaired: u64,
    /// Copies here that were looked at again.
    pub copies: u64,
    /// Backfills of other regions that were begun.
    pub backfills: u64,
    /// Images that were looked at and whose findings may not be read.
    #[serde(skip_serializing_if = "is_zero")]
    pub unreadable: u64,
    /// Looks at images that failed because calls did, and may succeed later.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_reached: u64,
    /// Further items that were left to other workers.
    pub items: u64,
    /// What went wrong with images that were left to another item: their own item does not come again for them.
    #[serde(skip)]
    pub handed_on: Failures,
    /// Images whose blocks could not be undone for want of a permission, and which it is.
    #[serde(skip)]
    pub lacking: Vec<(String, PortError)>,
    /// [`MAX_TROUBLE`] was reached.
    #[serde(skip)]
    pub in_trouble: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Looks {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.repositories += other.repositories;
        self.listed += other.listed;
        for (why, number) in &other.due {
            *self.due.entry(why).or_default() += number;
        }
        self.looked += other.looked;
        self.changed += other.changed;
        self.not_read += other.not_read;
        self.not_images += other.not_images;
        self.blocks += other.blocks;
        self.alerts += other.alerts;
        self.repaired += other.repaired;
        self.copies += other.copies;
        self.backfills += other.backfills;
        self.unreadable += other.unreadable;
        self.not_reached += other.not_reached;
        self.items += other.items;
        self.handed_on.extend(other.handed_on.iter().cloned());
        self.lacking.extend(other.lacking.iter().cloned());
        self.in_trouble |= other.in_trouble;
    }

    fn count_image(&mut self, outcome: &Outcome) {
        self.looked += 1;
        for one in std::iter::once(outcome).chain(&outcome.also) {
            let changed = matches!(one.outcome, OutcomeKind::Applied | OutcomeKind::Closed);
            self.changed += u64::from(changed);
            self.not_read += u64::from(one.not_read.is_some());
            if let Some(source) = &one.told_not_read {
                let doing = format!("look up what people were told of `{}`", one.repository);
                self.handed_on.push(SweepError::port(doing, source.clone()));
            }
            self.not_images += u64::from(one.outcome == OutcomeKind::NotAnImage);
            self.blocks += u64::from(one.counted);
            self.alerts += u64::from(one.alert.is_some());
            if let (Some(lacks), Some(digest)) = (&one.lacks, &one.digest) {
                self.lacking
                    .push((format!("{}@{digest}", one.repository), lacks.clone()));
            }
        }
    }

    fn count_copies(&mut self, outcome: &ReplicationOutcome) {
        self.copies += outcome.looked;
        self.alerts += outcome.alerts.len() as u64;
        self.backfills += outcome.backfills.len() as u64;
    }

    fn count_repository(&mut self, outcome: &RepositoryOutcome) {
        self.alerts += outcome.alerts.len() as u64;
        self.repaired += outcome.changed.len() as u64;
    }
}

/// What went wrong; it does not keep the rest from being done.
pub type Failures = Vec<SweepError>;

/// An image to look at, and what is known of why.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageLook {
    /// Its digest.
    pub digest: Digest,
    /// What led to it.
    pub hints: Hints,
    /// When a sweep read all indexes of the repository, if it could. [`Hints::indexes_read`] follows from it when the image's turn comes.
    pub indexes_read_at: Option<Timestamp>,
}

impl From<FoundImage> for ImageLook {
    fn from(image: FoundImage) -> Self {
        Self {
            digest: image.digest,
            hints: Hints {
                epss: image.epss,
                ..Hints::default()
            },
            indexes_read_at: None,
        }
    }
}

/// Work for what was not done of these images.
pub fn again(repository: RepositoryName, images: &[ImageLook]) -> Work {
    // A sweep found them all, or none of them.
    if images.iter().all(|image| image.hints.found) {
        let all_read: Option<Vec<Timestamp>> = images.iter().map(|image| image.indexes_read_at).collect();
        let indexes_read_at = all_read.and_then(|read| read.into_iter().min());
        return Work::Images {
            repository,
            digests: images.iter().map(|image| image.digest.clone()).collect(),
            indexes_read: indexes_read_at.is_some(),
            indexes_read_at,
        };
    }
    let found = |image: &ImageLook| FoundImage {
        digest: image.digest.clone(),
        epss: image.hints.epss.clone(),
    };
    Work::Findings {
        repository,
        images: images.iter().map(found).collect(),
    }
}

/// Whether an item has achieved anything: what is left of it then goes on as another item, and otherwise the item comes again as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing yet.
    None,
    /// Something.
    Made,
}

impl ImageLook {
    /// No event led to it. `indexes_read_at`: when a sweep read all indexes of the repository.
    pub fn found(digest: Digest, indexes_read_at: Option<Timestamp>) -> Self {
        Self {
            digest,
            hints: Hints {
                found: true,
                ..Hints::default()
            },
            indexes_read_at,
        }
    }
}

/// Which part of a repository is looked at.
struct Part {
    /// Its images from here on; `None`: all of it.
    after: Option<String>,
    /// For the second time.
    again: bool,
    /// For its copies and figures only.
    copies: bool,
    /// What of its settings is known.
    listed: Option<ListedSettings>,
    /// Only its settings, after so many looks that found no preview of a lifecycle policy; 0: all of it.
    waited: u32,
}

impl Part {
    fn is_first(&self) -> bool {
        self.after.is_none() && !self.again && !self.copies
    }
}

/// What is read of a repository, page by page: all of the ledger's rows first.
struct Reading<'a> {
    survey: Survey<'a>,
    figures: SummaryBuilder<'a>,
    expected: Expected<'a>,
    images: u64,
    /// Some images could not be read.
    in_part: bool,
    /// There is no such repository.
    is_gone: bool,
    unreadable: Failures,
}

impl<'a> Reading<'a> {
    fn new(policy: &'a Policy, sweep: &Sweep, key: &RepositoryKey, now: Timestamp) -> Self {
        Self {
            survey: Survey::new(policy, &key.repository, sweep.turns(), now),
            figures: SummaryBuilder::new(policy, key, now),
            expected: Expected::new(policy, key),
            images: 0,
            in_part: false,
            is_gone: false,
            unreadable: Failures::new(),
        }
    }

    fn row(&mut self, key: &RepositoryKey, row: &Row) {
        self.expected.remember(row);
        if row.image.region == key.region {
            self.survey.remember(row);
            self.figures.row(row);
        } else {
            self.survey.remember_elsewhere(row, &key.region);
        }
    }

    fn image(&mut self, listed: &ListedImage) {
        self.images += 1;
        self.survey.see(listed);
        self.figures.image(listed);
        self.expected.see(&listed.image);
    }
}

/// Whoever does what an item of the queue says.
#[derive(Debug)]
pub struct Worker<'a, S> {
    /// What it reads and changes.
    pub services: &'a S,
    /// The policy.
    pub policy: &'a Policy,
    /// The sweep that the item is of.
    pub sweep: &'a Sweep,
    /// The item, by an id that another delivery of it keeps.
    pub actor: &'a str,
}

impl<S: Services> Worker<'_, S> {
    /// Does what an item says.
    ///
    /// What cannot be done is in the failures; the rest is done. Where a row cannot be read, nothing is left in the queue: the next sweep finds it
    /// again.
    pub async fn work(&self, work: &Work) -> (Looks, Failures) {
        let (mut looks, mut failures) = self.carry_out(work).await;
        if matches!(work, Work::Repository { .. } | Work::Images { .. }) {
            let hopeless = failures.extract_if(.., |error| error.is_unreadable_row());
            looks.handed_on.extend(hopeless);
        }
        (looks, failures)
    }

    async fn carry_out(&self, work: &Work) -> (Looks, Failures) {
        let sweep = self.sweep;
        let of = |repository: &RepositoryName| RepositoryKey {
            account: sweep.registry.account.clone(),
            region: sweep.registry.region.clone(),
            repository: repository.clone(),
        };
        match work {
            Work::Repositories { after } => {
                let after = Some(after.clone());
                // Few registries have so many repositories: the rest of them is looked at in full.
                match enqueue_repositories(self.services, self.services.registry(), sweep, None, after).await {
                    Ok((enqueued, handed_on)) => {
                        let looks = Looks {
                            repositories: enqueued.repositories,
                            // Reading the list again would not make it readable; the next sweep tries.
                            handed_on,
                            ..Looks::default()
                        };
                        (looks, Failures::new())
                    }
                    Err(error) => (Looks::default(), vec![error]),
                }
            }
            Work::Repository {
                repository,
                after,
                again,
                copies,
                listed,
                waited,
            } => {
                let part = Part {
                    after: after.clone(),
                    again: *again,
                    copies: *copies,
                    listed: listed.as_deref().cloned(),
                    waited: *waited,
                };
                self.look_at_repository(&of(repository), part).await
            }
            Work::Images {
                repository,
                digests,
                indexes_read: _,
                indexes_read_at,
            } => {
                let look = |digest: &Digest| ImageLook::found(digest.clone(), *indexes_read_at);
                let images = digests.iter().map(look).collect();
                self.look_at_images(&of(repository), images, Progress::None).await
            }
            Work::Findings { repository, images } => {
                let images = images.iter().cloned().map(ImageLook::from).collect();
                self.look_at_images(&of(repository), images, Progress::None).await
            }
        }
    }

    /// Looks at the settings of a repository. Where ECR does not know yet what a lifecycle policy would do, an item looks again in minutes.
    async fn look_at_settings(&self, key: &RepositoryKey, part: &Part) -> (Looks, Failures) {
        let mut looks = Looks::default();
        let listed = part.listed.as_ref();
        // First, so that what is found in the repository is told to whom it concerns.
        let when = if self.sweep.turns().has(&key.repository, TURN_HOURS) {
            ReadTag::Now
        } else {
            ReadTag::IfUnknown
        };
        let remembered = remember_route(self.services, self.policy, key, when).await;
        let mut failures: Failures = remembered.err().map(SweepError::from).into_iter().collect();
        let outcome = reconcile_repository(self.services, self.policy, key, listed, self.actor).await;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                failures.push(error.into());
                return (looks, failures);
            }
        };
        looks.count_repository(&outcome);
        let wait = usize::try_from(part.waited)
            .ok()
            .and_then(|waited| PREVIEW_WAITS.get(waited));
        let Some(wait) = wait.filter(|_| outcome.waits) else {
            return (looks, failures);
        };
        let item = self.sweep.item(Work::Repository {
            repository: key.repository.clone(),
            after: None,
            again: false,
            copies: false,
            listed: None,
            waited: part.waited.saturating_add(1),
        });
        failures.extend(self.send(&[item], *wait, &mut looks).await.err());
        (looks, failures)
    }

    /// Looks at a repository, and at those of its images that are due.
    async fn look_at_repository(&self, key: &RepositoryKey, part: Part) -> (Looks, Failures) {
        // Its settings are looked at once in a sweep, and again while they wait for a preview.
        let (mut looks, mut failures) = if part.is_first() {
            self.look_at_settings(key, &part).await
        } else {
            (Looks::default(), Failures::new())
        };
        if part.waited > 0 {
            return (looks, failures);
        }
        let due = match self.survey(key, part, &mut looks).await {
            Ok(due) => due,
            Err(error) => {
                failures.push(error);
                return (looks, failures);
            }
        };
        let (looked, failed) = self.look_at_images(key, due, Progress::Made).await;
        looks.add(&looked);
        failures.extend(failed);
        (looks, failures)
    }

    /// Compares list and ledger, and leaves to others what is due, if it is much; otherwise gives it.
    async fn survey(&self, key: &RepositoryKey, part: Part, looks: &mut Looks) -> Result<Vec<ImageLook>, SweepError> {
        let Self {
            services,
            policy,
            sweep,
            actor,
        } = *self;
        let began = self.services.clock().now();
        let mut reading = Reading::new(policy, sweep, key, began);
        let repository = |after, again, copies, listed| {
            sweep.item(Work::Repository {
                repository: key.repository.clone(),
                after,
                again,
                copies,
                listed,
                waited: 0,
            })
        };
        if !self.read_rows(key, &mut reading).await? {
            // Without all rows nothing can be said of any image. Its settings were looked at.
            let item = repository(part.after, part.again, part.copies, part.listed.map(Box::new));
            self.send(&[item], NOT_HIDDEN, looks).await?;
            return Ok(Vec::new());
        }
        self.read_uses(key, &mut reading).await?;
        let is_whole = part.after.is_none();
        let next = self.read_list(key, part.after, &mut reading).await?;
        let Reading {
            survey,
            figures,
            expected,
            images,
            in_part,
            is_gone,
            unreadable,
        } = reading;
        looks.listed += images;
        // Reading the list again would not make it readable; the next sweep tries.
        looks.handed_on.extend(unreadable);
        let is_whole = is_whole && next.is_none() && !in_part;
        let indexes_read_at = (is_whole && survey.knows_all_indexes()).then_some(began);
        let mut due = survey.finish(is_whole);
        if part.copies {
            due.clear();
        }
        if part.again {
            // Whose turn it is has had it a few minutes ago.
            due.retain(|(_, why)| *why != Due::Turn);
        }
        for (_, why) in &due {
            *looks.due.entry(why.as_str()).or_default() += 1;
        }
        let mut items = Vec::new();
        if next.is_some() {
            items.push(repository(next, part.again, part.copies, None));
        }
        let due: Vec<Digest> = due.into_iter().map(|(digest, _)| digest).collect();
        let nothing_is_due = due.is_empty();
        let now = if due.len() > LOOKED_AT_ONCE {
            items.extend(due.chunks(MAX_IMAGES).map(|digests| {
                sweep.item(Work::Images {
                    repository: key.repository.clone(),
                    digests: digests.to_vec(),
                    indexes_read: indexes_read_at.is_some(),
                    indexes_read_at,
                })
            }));
            Vec::new()
        } else {
            due
        };
        self.send(&items, NOT_HIDDEN, looks).await?;
        if !nothing_is_due && !part.again {
            let second = repository(None, true, false, None);
            self.send(&[second], SECOND_LOOK, looks).await?;
        }
        // What is due changes copies and figures; they are looked into when it has been looked at.
        if is_whole && (nothing_is_due || part.again) {
            let rest = repository(None, part.again, true, None);
            if self.services.clock().now() >= sweep.until {
                self.send(&[rest], NOT_HIDDEN, looks).await?;
                return Ok(Vec::new());
            }
            let look = CopyLook {
                turns: sweep.turns(),
                until: sweep.until,
                is_rest: part.copies,
            };
            let mut outcome = reconcile_replication(services, policy, &expected, look, actor).await;
            looks.count_copies(&outcome);
            // The next sweep looks at them again; this item has done what it could.
            looks.handed_on.extend(outcome.errors.drain(..).map(SweepError::from));
            if outcome.is_cut {
                self.send(&[rest], NOT_HIDDEN, looks).await?;
                return Ok(Vec::new());
            }
            self.write_summary(key, figures, is_gone, &outcome).await?;
        }
        let look = |digest| ImageLook::found(digest, indexes_read_at);
        Ok(now.into_iter().map(look).collect())
    }

    async fn write_summary(
        &self,
        key: &RepositoryKey,
        mut figures: SummaryBuilder<'_>,
        is_gone: bool,
        copies: &ReplicationOutcome,
    ) -> Result<(), SweepError> {
        let failed = |source| SweepError::port(format!("keep the figures of `{key}`"), source);
        let (row, old) = join(
            self.services.ledger().repository_row(key),
            self.services.ledger().summary(key),
        )
        .await;
        if let Some(row) = row.map_err(failed)? {
            figures.repository(&row);
        }
        figures.copies(&copies.readiness, copies.all_seen);
        let old = old.map_err(failed)?;
        if is_gone && old.is_none() {
            // Somebody has asked for a repository that there never was.
            return Ok(());
        }
        let new = figures.finish(old.as_ref());
        if differs(old.as_ref(), &new) {
            // Who wrote it in between has counted the same images at the same time.
            self.services.ledger().write_summary(&new).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Looks at these images, one after the other. What is left when the time is over or AWS is in trouble, and what failed, is left to
    /// another item, so that nothing is done twice for it; but if nothing at all was achieved, this item fails.
    pub async fn look_at_images(
        &self,
        key: &RepositoryKey,
        images: Vec<ImageLook>,
        mut progress: Progress,
    ) -> (Looks, Failures) {
        let sweep = self.sweep;
        let (mut looks, mut failures) = (Looks::default(), Failures::new());
        let is_sweep = images.iter().any(|image| image.hints.found);
        // One image is asked for before all others are: what was refused in this sweep is not asked again.
        let known = match self.refused_access(is_sweep).await {
            Ok(known) => known,
            // The images have nothing to do with that: what may not be read is asked for.
            Err(error) if error.is_unreadable_row() => {
                looks.handed_on.push(error);
                Vec::new()
            }
            Err(error) => return (looks, vec![error]),
        };
        let known: Vec<RefusedAccess> = known.into_iter().filter(RefusedAccess::is_of_findings).collect();
        let is_of_now = |known: &&RefusedAccess| known.sweep == sweep.began && !known.is_of_one_repository();
        let mut refused = known.iter().find(is_of_now).map(denied);
        let mut waiting = Vec::new();
        let mut failing: Vec<FailingCall> = Vec::new();
        let (mut left, mut trouble) = (Vec::new(), 0);
        for image in images {
            if trouble >= MAX_TROUBLE {
                left.push(image);
                continue;
            }
            if self.services.clock().now() >= sweep.until {
                left.push(image);
                // Nothing has gone wrong: it goes on in another invocation.
                progress = Progress::Made;
                continue;
            }
            let now = self.services.clock().now();
            let is_known = |read_at| now.duration_since(read_at) < INDEXES_KNOWN_FOR;
            let asked = ImageLook {
                hints: Hints {
                    refused: refused.clone(),
                    indexes_read: image.indexes_read_at.is_some_and(is_known),
                    ..image.hints.clone()
                },
                ..image.clone()
            };
            match self.look_at_image(key, asked, &mut looks).await {
                Ok(()) => (progress, trouble) = (Progress::Made, 0),
                Err(error) => {
                    if let Some(denied) = error.denied_findings().filter(|_| is_sweep).cloned() {
                        waiting.push(format!("{}@{}", key.repository, image.digest));
                        if refused.is_none() {
                            refused = Some(denied);
                            failures.push(error);
                        }
                        continue;
                    }
                    if error.is_trouble() {
                        trouble += 1;
                        looks.not_reached += 1;
                        if is_sweep {
                            self.note_not_reached(key, &image.digest, &error).await;
                            failing.extend(self.failing(key, &image.digest, &error));
                        }
                    }
                    if is_sweep && error.is_unreadable_row() {
                        // No later item could read it; the next sweep finds it again.
                        looks.handed_on.push(error);
                    } else {
                        failures.push(error);
                        left.push(image);
                    }
                }
            }
        }
        looks.unreadable += waiting.len() as u64;
        let noted = match refused {
            Some(refused) => self.note_refused(&refused, waiting).await,
            None if !known.is_empty() && looks.looked > 0 => self.forget_refused(&key.repository).await,
            None => Ok(()),
        };
        failures.extend(noted.err());
        if is_sweep {
            failures.extend(self.note_lacking(&looks.lacking).await.err());
        }
        self.note_failing(failing).await;
        looks.in_trouble = trouble >= MAX_TROUBLE;
        if left.is_empty() || matches!(progress, Progress::None) {
            return (looks, failures);
        }
        let hidden_for = if failures.is_empty() { NOT_HIDDEN } else { TROUBLE_WAIT };
        let items: Vec<WorkItem> = left
            .chunks(MAX_IMAGES)
            .map(|images| sweep.item(again(key.repository.clone(), images)))
            .collect();
        match self.send(&items, hidden_for, &mut looks).await {
            Ok(()) => looks.handed_on.append(&mut failures),
            Err(error) => failures.push(error),
        }
        (looks, failures)
    }

    /// Gives an image that could not be looked at a row that says so, if it has none. What is known of one that has a row still holds. If that
    /// fails as well, the next look that fails writes it.
    async fn note_not_reached(&self, key: &RepositoryKey, digest: &Digest, error: &SweepError) {
        let SweepError::Reconcile(ReconcileError::Port {
            of: Subject::Image(_),
            source,
            ..
        }) = error
        else {
            return;
        };
        let image = ImageKey {
            account: key.account.clone(),
            region: key.region.clone(),
            repository: key.repository.clone(),
            digest: digest.clone(),
        };
        let why = format!("{} failed with `{}`", source.operation, source.code);
        let row = Row::not_reached(image, self.policy, &why, self.services.clock().now());
        drop(self.services.ledger().write(&row).await);
    }

    /// The call that has kept an image from being looked at.
    fn failing(&self, key: &RepositoryKey, digest: &Digest, error: &SweepError) -> Option<FailingCall> {
        let (SweepError::Reconcile(ReconcileError::Port { source, .. }) | SweepError::Port { source, .. }) = error
        else {
            return None;
        };
        let image = format!("{}@{digest}", key.repository);
        Some(FailingCall::new(
            source.operation,
            &source.code,
            self.sweep.began,
            vec![image],
        ))
    }

    /// Remembers which calls fail, and how many images wait for them. If that fails as well, the next look that fails writes it.
    async fn note_failing(&self, found: Vec<FailingCall>) {
        if found.is_empty() {
            return;
        }
        let noted = self.change_registry(|row| {
            for found in &found {
                let has_room = row.failing.len() < MAX_CAUSES;
                match row.failing.iter_mut().find(|known| known.is_same(found)) {
                    Some(known) => known.add(found.clone()),
                    None if has_room => row.failing.push(found.clone()),
                    None => {}
                }
            }
        });
        drop(noted.await);
    }

    /// What may not be read, as far as other workers have found out. Only sweeps ask: an event is about one image.
    async fn refused_access(&self, is_sweep: bool) -> Result<Vec<RefusedAccess>, SweepError> {
        if !is_sweep {
            return Ok(Vec::new());
        }
        let row = self.services.ledger().registry_row(&self.sweep.registry).await;
        let row = row.map_err(|source| SweepError::port("look up what may not be read", source))?;
        Ok(row.map(|row| row.refused).unwrap_or_default())
    }

    /// Remembers that findings may not be read, and how many images wait for it.
    async fn note_refused(&self, refused: &PortError, waiting: Vec<String>) -> Result<(), SweepError> {
        let images = waiting.len() as u64;
        if images == 0 {
            return Ok(());
        }
        let found = RefusedAccess {
            images,
            first: waiting.into_iter().take(MAX_NAMED).collect(),
            ..RefusedAccess::read(refused.operation, &refused.message, self.sweep.began)
        };
        self.change_refused(|known| {
            let has_room = known.len() < MAX_CAUSES;
            match known.iter_mut().find(|known| known.is_same(&found)) {
                Some(known) => known.add(found.clone()),
                None if has_room => known.push(found.clone()),
                None => {}
            }
        })
        .await
    }

    /// Remembers what could not be undone, by the permission that was lacking.
    async fn note_lacking(&self, lacking: &[(String, PortError)]) -> Result<(), SweepError> {
        let mut causes: Vec<(&PortError, Vec<String>)> = Vec::new();
        for (image, lacks) in lacking {
            let is_same = |known: &PortError| {
                let read = |error: &PortError| RefusedAccess::read(error.operation, &error.message, self.sweep.began);
                read(known).is_same(&read(lacks))
            };
            match causes.iter_mut().find(|(known, _)| is_same(known)) {
                Some((_, images)) => images.push(image.clone()),
                None => causes.push((lacks, vec![image.clone()])),
            }
        }
        for (lacks, images) in causes {
            self.note_refused(lacks, images).await?;
        }
        Ok(())
    }

    /// Findings can be read again, at least those of this repository.
    async fn forget_refused(&self, repository: &RepositoryName) -> Result<(), SweepError> {
        let is_over = |known: &RefusedAccess| !known.is_of_one_repository() || known.is_about(repository);
        self.change_refused(|known| {
            known.retain(|known| known.sweep >= self.sweep.began || !known.is_of_findings() || !is_over(known));
        })
        .await
    }

    async fn change_refused(&self, change: impl Fn(&mut Vec<RefusedAccess>)) -> Result<(), SweepError> {
        self.change_registry(|row| change(&mut row.refused)).await
    }

    async fn change_registry(&self, change: impl Fn(&mut RegistryRow)) -> Result<(), SweepError> {
        let sweep = self.sweep;
        let failed = |source| SweepError::port("remember what cannot be read", source);
        for _ in 0..MAX_ATTEMPTS {
            let row = self
                .services
                .ledger()
                .registry_row(&sweep.registry)
                .await
                .map_err(failed)?;
            let mut row = row.unwrap_or_else(|| RegistryRow::new(sweep.registry.clone()));
            let before = row.clone();
            change(&mut row);
            if row == before {
                return Ok(());
            }
            row.generation += 1;
            if self.services.ledger().write_registry_row(&row).await.map_err(failed)? == Written::Yes {
                return Ok(());
            }
        }
        // Others write at the same time: then some images are not counted. What is missing is known all the same.
        Ok(())
    }

    async fn look_at_image(&self, key: &RepositoryKey, image: ImageLook, looks: &mut Looks) -> Result<(), SweepError> {
        let Self {
            services,
            policy,
            actor,
            ..
        } = *self;
        let by_digest = ImageRef::Digest(image.digest.clone());
        let request = Request {
            account: key.account.clone(),
            region: key.region.clone(),
            repository: key.repository.clone(),
            image: by_digest.clone(),
            hints: image.hints,
            // Images of one item must not take each other's work for their own.
            actor: format!("{actor}/{}", image.digest.short()),
        };
        let outcome = reconcile(services, policy, &request).await?;
        looks.count_image(&outcome);
        let rules = policy.repository(&key.repository);
        if rules.is_none_or(|rules| rules.tags.is_none()) {
            return Ok(());
        }
        let found = self.services.registry().image(&key.repository, &by_digest).await;
        let found = found.map_err(|source| SweepError::port(format!("look at the tags of `{key}`"), source))?;
        for tag in found.map(|image| image.tags).unwrap_or_default() {
            let request = TagRequest {
                tag: &tag,
                state: outcome.state,
                pushed: None,
                actor,
            };
            let judged = reconcile_tag(services, policy, key, &request).await?;
            looks.count_repository(&judged);
        }
        Ok(())
    }

    /// Reads all rows; whether the time was enough for that.
    async fn read_rows(&self, key: &RepositoryKey, reading: &mut Reading<'_>) -> Result<bool, SweepError> {
        let failed = |source| SweepError::port(format!("read the ledger's rows of `{key}`"), source);
        let mut after = None;
        loop {
            let page = self
                .services
                .ledger()
                .rows(key, after.as_deref())
                .await
                .map_err(failed)?;
            page.items.iter().for_each(|row| reading.row(key, row));
            reading.figures.unreadable_rows(page.unreadable.len());
            reading.unreadable.extend(page.unreadable.into_iter().map(failed));
            if page.next.is_none() || self.services.clock().now() >= self.sweep.until {
                return Ok(page.next.is_none());
            }
            after = page.next;
        }
    }

    /// Reads what workloads do with the images, where that holds them. What cannot be read, or for which there is no time, shows when the
    /// image has its turn.
    async fn read_uses(&self, key: &RepositoryKey, reading: &mut Reading<'_>) -> Result<(), SweepError> {
        let holds = self.policy.block(&key.repository).when_in_use == WhenInUse::Hold;
        if self.policy.workloads.is_none() || !holds {
            return Ok(());
        }
        let failed = |source| SweepError::port(format!("read who uses the images of `{key}`"), source);
        let mut after = None;
        loop {
            let page = self
                .services
                .ledger()
                .uses_in(key, after.as_deref())
                .await
                .map_err(failed)?;
            page.items.iter().for_each(|row| reading.survey.remember_use(row));
            reading.unreadable.extend(page.unreadable.into_iter().map(failed));
            if page.next.is_none() || self.services.clock().now() >= self.sweep.until {
                return Ok(());
            }
            after = page.next;
        }
    }

    /// Reads the list until it or the time is over; where the rest begins.
    async fn read_list(
        &self,
        key: &RepositoryKey,
        mut after: Option<String>,
        reading: &mut Reading<'_>,
    ) -> Result<Option<String>, SweepError> {
        let failed = |source| SweepError::port(format!("list the images of `{key}`"), source);
        loop {
            let page = self
                .services
                .registry()
                .images(key, after.as_deref())
                .await
                .map_err(failed)?;
            // A repository that is gone has no images.
            let Some(page) = page else {
                reading.is_gone = true;
                return Ok(None);
            };
            page.items.iter().for_each(|image| reading.image(image));
            reading.in_part |= !page.unreadable.is_empty();
            reading.unreadable.extend(page.unreadable.into_iter().map(failed));
            if page.next.is_none() || self.services.clock().now() >= self.sweep.until {
                return Ok(page.next);
            }
            after = page.next;
        }
    }

    async fn send(&self, items: &[WorkItem], hidden_for: Duration, looks: &mut Looks) -> Result<(), SweepError> {
        let Some(first) = items.first() else { return Ok(()) };
        if self.sweep.hops >= MAX_HOPS
            && let Some(repository) = first.work.repository()
        {
            return Err(SweepError::TooManyHops(repository.clone()));
        }
        let sent = self.services.queue().send(items, hidden_for).await;
        sent.map_err(|source| SweepError::port("leave work to other workers", source))?;
        looks.items += items.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
