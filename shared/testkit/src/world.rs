//! A registry, a scanner, a ledger and a topic in memory.

#[cfg(test)]
mod contract;
mod planted;
mod replication;
mod ways;
mod workloads;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::poll_fn,
    ops::Bound,
    sync::{Mutex, MutexGuard},
    task::Poll,
    time::Duration,
};

use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use guard_core::{
    alert::{
        Message,
        brief::{BriefAlert, counter_key, hour_attribute},
        budget::{AlertCounts, Budget, Slot},
    },
    finding::{Findings, NoScan, Scan, ScanMode, ScanStart, ScanTrigger},
    ids::{Digest, ImageKey, ImageRef, RegistryKey, RepositoryKey, RepositoryName, Tag, TopicArn},
    image::{Image, ImageStatus, ListedImage, leads_to_others},
    ledger::{Counter, Row, limit_key},
    marker::is_mark,
    registry::{RegistryRow, RegistrySettings},
    repository::{
        decide::Preview,
        keys::{KeyArn, KeyHealth, Refusal},
        ledger::{RepositoryRow, TagRow},
        posture::{Encryption, ListedRepository, Repository, TagMutability},
    },
    summary::RepositorySummary,
    told::ToldFindings,
    work::WorkItem,
};
use guard_ports::{
    AlertLedger, Clock, Keys, Ledger, Listing, Manifest, NO_IMAGE, Notifier, Page, PortError, Pulled, Queue, Registry,
    RegistryWriter, ReleaseLedger, Repositories, RepositoryLedger, RepositoryWriter, Retry, Scanner, SweepLedger,
    TagAnswer, UNREADABLE_ROW, Written, request_key,
};

pub use planted::Planted;
pub use ways::PulledOf;
pub use workloads::Taken;

/// The fault of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It fails and has no effect.
    Before(Retry),
    /// It takes effect, and the answer is lost.
    After(Retry),
}

/// A call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The operation, as IAM names it.
    pub operation: &'static str,
    /// Whether it changes the registry.
    pub mutates: bool,
    /// Tick at which it began.
    pub began: u64,
    /// Tick at which it ended; `None`: it was dropped.
    pub ended: Option<u64>,
}

/// An alert that a topic accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The topic.
    pub topic: TopicArn,
    /// The message.
    pub message: Message,
}

/// The registry's treatment of the last tag of an image, and its answer: the documentation leaves some of it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemovalReading {
    /// The image is deleted, and the answer names it.
    #[default]
    Documented,
    /// The image is deleted, and the answer names no image.
    NamesNoImage,
    /// The image stays without a tag.
    KeepsUntagged,
    /// An index references every image: the last tag stays.
    Referenced,
}

/// An index that existed and referenced an image when that was archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedUnder {
    /// The index.
    pub index: Digest,
    /// The ledger knew that it references the image.
    pub known: bool,
    /// The ledger knew of at least one index that references the image.
    pub any_known: bool,
    /// It came after this attempt had listed the indexes of the repository; after anybody had, if this one needs no list.
    pub came_late: bool,
}

/// A tag that we had removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The tag.
    pub tag: Tag,
    /// The image that lost it.
    pub digest: Digest,
    /// That image had a mark of ours.
    pub marked: bool,
    /// It was to lose it: the row of the tag says so, or it is a mark of ours on this image.
    pub was_meant: bool,
    /// It was its last tag, and the image is deleted.
    pub deleted: bool,
    /// When.
    pub at: Timestamp,
}

#[derive(Debug, Default)]
struct State {
    removals: RemovalReading,
    removed: Vec<Removed>,
    images: BTreeMap<(RepositoryName, Digest), Image>,
    scans: BTreeMap<(RepositoryName, Digest), Scan>,
    triggers: BTreeMap<RepositoryName, ScanTrigger>,
    scan_start: Option<ScanStart>,
    rows: BTreeMap<ImageKey, Row>,
    counts: BTreeMap<String, u64>,
    manifests: BTreeMap<ImageKey, String>,
    unarchivable: BTreeSet<ImageKey>,
    archived: BTreeMap<ImageKey, Vec<ArchivedUnder>>,
    /// The ticks at which entries came, and at which each attempt last listed the indexes.
    pushed: BTreeMap<(RepositoryName, Digest), u64>,
    listed: BTreeMap<Option<Timestamp>, u64>,
    /// When the attempt began that goes on now.
    attempt: Option<Timestamp>,
    repositories: BTreeMap<RepositoryName, StoredRepository>,
    keys: BTreeMap<KeyArn, KeyHealth>,
    previews: BTreeMap<RepositoryName, Preview>,
    slow_previews: BTreeMap<RepositoryName, usize>,
    meanwhile: BTreeMap<RepositoryName, StoredRepository>,
    scan_mode: Option<ScanMode>,
    repository_rows: BTreeMap<RepositoryKey, RepositoryRow>,
    tag_rows: BTreeMap<(RepositoryKey, Tag), TagRow>,
    elsewhere: replication::Elsewhere,
    ways: ways::Ways,
    page_size: Option<usize>,
    /// The repositories that are guarded; all, if there is none.
    only: BTreeSet<RepositoryName>,
    scans_are_listed: bool,
    settings: Option<RegistrySettings>,
    queue: VecDeque<WorkItem>,
    hidden: VecDeque<WorkItem>,
    waits: Vec<(WorkItem, Duration)>,
    summaries: BTreeMap<RepositoryKey, RepositorySummary>,
    registry_rows: BTreeMap<RegistryKey, RegistryRow>,
    sent: Vec<Sent>,
    limits: BTreeMap<String, ImageKey>,
    /// Who claimed a request for a release.
    requests: BTreeMap<String, String>,
    told: BTreeMap<RepositoryKey, ToldFindings>,
    kept_alerts: BTreeMap<String, BriefAlert>,
    /// The keys of rows whose document cannot be read.
    unreadable: BTreeSet<(String, String)>,
    index: workloads::Index,
    faults: Vec<(&'static str, Fault)>,
    trouble: Option<u64>,
    delays: BTreeMap<&'static str, usize>,
    planned: Option<(usize, Fault)>,
    left_out: Option<Planted>,
    /// The marks that count as put, where putting them is left out.
    unput: BTreeSet<(Digest, Tag)>,
    calls: Vec<Call>,
    /// More calls than this are a panic.
    most_calls: Option<usize>,
    ticks: u64,
    now: Option<Timestamp>,
}

impl State {
    /// The present.
    fn time(&self) -> Timestamp {
        self.now.unwrap_or_else(super::now)
    }

    /// Changes the status of an image, which may show late.
    fn set_status(&mut self, key: &ImageKey, status: ImageStatus) {
        let now = self.time();
        let Some(image) = entry(self, key) else { return };
        let from = std::mem::replace(&mut image.status, status);
        self.ways.changes(&key.repository, &key.digest, &from, now);
    }

    /// An image is pushed again: that restores it, and its findings are gone.
    fn comes_back(&mut self, key: &ImageKey, at: Timestamp) {
        self.set_status(key, ImageStatus::Active);
        if let Some(image) = entry(self, key) {
            image.last_activated_at = Some(at);
        }
        self.scans.remove(&(key.repository.clone(), key.digest.clone()));
    }

    /// The existing indexes that reference an image, by their manifests.
    fn indexes_over(&self, image: &ImageKey) -> Vec<ArchivedUnder> {
        let row = self.rows.get(image).filter(|row| row.closed_at.is_none());
        let leads = |(key, manifest): &(&ImageKey, &String)| {
            let is_there = self.images.contains_key(&(key.repository.clone(), key.digest.clone()));
            key.repository == image.repository
                && is_there
                && guard_core::image::children(manifest)
                    .is_some_and(|listed| listed.children.iter().any(|child| child.digest == image.digest))
        };
        let under = self.manifests.iter().filter(leads).map(|(key, _)| {
            let by_image = row.is_some_and(|row| row.indexes.contains(&key.digest));
            let index = self.rows.get(key).filter(|row| row.closed_at.is_none());
            let by_index = index.is_some_and(|row| row.children.iter().any(|child| child.digest == image.digest));
            ArchivedUnder {
                index: key.digest.clone(),
                known: by_image || by_index,
                any_known: false,
                came_late: {
                    let pushed = self.pushed.get(&(key.repository.clone(), key.digest.clone()));
                    let own = self.listed.get(&self.attempt);
                    let listed = own.or_else(|| self.listed.values().max());
                    listed.is_some() && pushed >= listed
                },
            }
        });
        let mut under: Vec<ArchivedUnder> = under.collect();
        let any_known = under.iter().any(|under| under.known);
        under.iter_mut().for_each(|under| under.any_known = any_known);
        under
    }

    /// The error of reading this row, if it cannot be read.
    fn unreadable(&self, operation: &'static str, (pk, sk): (String, String)) -> Option<PortError> {
        let message = format!("row `{pk}`, `{sk}`: it has no string `row`");
        self.unreadable.contains(&(pk, sk)).then(|| PortError {
            retry: Retry::Never,
            operation,
            code: UNREADABLE_ROW.to_owned(),
            message,
            request_id: None,
        })
    }

    /// The rows of these images in their order, or the error of reading one of them.
    fn rows_of(&self, operation: &'static str, images: &[ImageKey]) -> Result<Vec<Option<Row>>, PortError> {
        let read = |image: &ImageKey| match self.unreadable(operation, keys_of(image)) {
            Some(error) => Err(error),
            None => Ok(self.row_as_read(image)),
        };
        images.iter().map(read).collect()
    }

    /// The row of an image, as those who read it see it.
    fn row_as_read(&self, image: &ImageKey) -> Option<Row> {
        let row = self.rows.get(image).cloned()?;
        Some(match self.left_out {
            Some(planted) => planted.read(row),
            None => row,
        })
    }

    /// An image, as those who ask see it.
    fn show(&mut self, repository: &RepositoryName, image: &Image) -> Image {
        let now = self.time();
        let shown = self.ways.show(repository, image, now);
        match self.left_out {
            Some(planted) => planted.shown(shown, &self.unput),
            None => shown,
        }
    }

    /// A row, or the error of reading it.
    fn read<T>(&self, key: (String, String), row: Option<T>) -> Result<Option<T>, PortError> {
        match self.unreadable("dynamodb:GetItem", key) {
            Some(error) => Err(error),
            None => Ok(row),
        }
    }

    /// Takes the rows that cannot be read out of a page.
    fn sort_out<T>(&self, mut page: Page<T>, key_of: impl Fn(&T) -> (String, String)) -> Page<T> {
        let mut items = Vec::new();
        for row in page.items {
            match self.unreadable("dynamodb:Query", key_of(&row)) {
                Some(error) => page.unreadable.push(error),
                None => items.push(row),
            }
        }
        page.items = items;
        page
    }

    /// The fault of this call, if it is the one that was counted down to.
    fn count_down(&mut self) -> Option<Fault> {
        let (calls, fault) = self.planned.take()?;
        if calls == 0 {
            return Some(fault);
        }
        self.planned = Some((calls - 1, fault));
        None
    }
}

/// A repository's settings, as the world stores them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRepository {
    /// The repository.
    pub repository: Repository,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its policy.
    pub policy: Option<String>,
    /// Its lifecycle policy.
    pub lifecycle: Option<String>,
}

/// The world. Every call takes a few polls, so that calls which run at the same time overlap, and a crash can fall between any two.
#[derive(Debug, Default)]
pub struct World {
    state: Mutex<State>,
}

impl World {
    /// An empty world.
    pub fn new() -> Self {
        Self::default()
    }

    /// A world with one image, which has this scan.
    pub fn with(key: &ImageKey, image: Image, scan: Scan) -> Self {
        let world = Self::new();
        world.push(key, image);
        world.set_scan(key, scan);
        world
    }

    /// Puts an image into the registry as it is, or replaces it.
    pub fn push(&self, key: &ImageKey, image: Image) {
        let mut state = self.lock();
        let (of, tick) = ((key.repository.clone(), key.digest.clone()), state.ticks);
        state.pushed.entry(of.clone()).or_insert(tick);
        state.images.insert(of, image);
    }

    /// Sets the manifest of an image.
    pub fn set_manifest(&self, key: &ImageKey, manifest: &str) {
        self.lock().manifests.insert(key.clone(), manifest.to_owned());
    }

    /// Deletes an image, and what the scanner knows of it.
    pub fn delete(&self, key: &ImageKey) {
        let mut state = self.lock();
        state.images.remove(&(key.repository.clone(), key.digest.clone()));
        state.scans.remove(&(key.repository.clone(), key.digest.clone()));
    }

    /// Pushes the image again, as a pipeline that runs twice does: it is restored, and its findings are gone.
    pub fn push_again(&self, key: &ImageKey, at: Timestamp) {
        self.lock().comes_back(key, at);
    }

    /// A person archives an image; whether it could be pulled before.
    pub fn archive_by_hand(&self, key: &ImageKey) -> bool {
        let mut state = self.lock();
        let is_active = entry(&mut state, key).is_some_and(|image| image.status == ImageStatus::Active);
        if is_active {
            state.scans.remove(&(key.repository.clone(), key.digest.clone()));
            state.set_status(key, ImageStatus::Archived);
        }
        is_active
    }

    /// Ends a restore: the image can be pulled again.
    pub fn finish_restore(&self, key: &ImageKey) {
        if let Some(image) = entry(&mut self.lock(), key)
            && image.status == ImageStatus::Activating
        {
            image.status = ImageStatus::Active;
        }
    }

    /// Sets what removing a tag does.
    pub fn set_removals(&self, reading: RemovalReading) {
        self.lock().removals = reading;
    }

    /// The tags that we had removed.
    pub fn removed(&self) -> Vec<Removed> {
        self.lock().removed.clone()
    }

    /// Removes a tag as a person does, by the documented reading. The image that is deleted by it, if one is. The last tag of an image
    /// stays that an index references.
    pub fn untag(&self, repository: &RepositoryName, tag: &Tag) -> Option<Digest> {
        let mut state = self.lock();
        let holder = find(&state, repository, &ImageRef::Tag(tag.clone()))?.digest.clone();
        let key = (repository.clone(), holder.clone());
        let is_led_to = state.is_led_to(repository, &holder);
        let image = state.images.get_mut(&key)?;
        if is_led_to && image.tags.len() == 1 {
            return None;
        }
        image.tags.retain(|other| other != tag);
        if !image.tags.is_empty() {
            return None;
        }
        state.images.remove(&key);
        Some(holder)
    }

    /// Sets what the scanner says.
    pub fn set_scan(&self, key: &ImageKey, scan: Scan) {
        self.lock()
            .scans
            .insert((key.repository.clone(), key.digest.clone()), scan);
    }

    /// Sets the findings of a finished scan.
    pub fn complete_scan(&self, key: &ImageKey, findings: Findings) {
        self.set_scan(key, Scan::Complete(findings));
    }

    /// Sets how the repository is scanned; automatically, if this is never called.
    pub fn set_trigger(&self, repository: &RepositoryName, trigger: ScanTrigger) {
        self.lock().triggers.insert(repository.clone(), trigger);
    }

    /// Makes the registry refuse to archive an image, for good.
    pub fn refuse_to_archive(&self, key: &ImageKey) {
        self.lock().unarchivable.insert(key.clone());
    }

    /// Sets the answer to the next requests for a scan.
    pub fn set_scan_start(&self, answer: ScanStart) {
        self.lock().scan_start = Some(answer);
    }

    /// Puts a repository into the registry, or replaces its settings.
    pub fn create_repository(&self, name: &RepositoryName, repository: StoredRepository) {
        self.lock().repositories.insert(name.clone(), repository);
    }

    /// A repository's settings.
    pub fn repository_of(&self, name: &RepositoryName) -> Option<StoredRepository> {
        self.lock().repositories.get(name).cloned()
    }

    /// Sets what KMS says of a key.
    pub fn set_key(&self, key: &KeyArn, health: KeyHealth) {
        self.lock().keys.insert(key.clone(), health);
    }

    /// Sets what any lifecycle policy would do in a repository; nothing, if this is never called.
    pub fn set_preview(&self, name: &RepositoryName, preview: Preview) {
        self.lock().previews.insert(name.clone(), preview);
    }

    /// Lets somebody change a repository while its next preview is made.
    pub fn change_meanwhile(&self, name: &RepositoryName, stored: StoredRepository) {
        self.lock().meanwhile.insert(name.clone(), stored);
    }

    /// Makes previews of a repository be there only after this number of reads.
    pub fn slow_down_previews(&self, name: &RepositoryName, looks: usize) {
        self.lock().slow_previews.insert(name.clone(), looks);
    }

    /// Sets how the registry scans; basic, if this is never called.
    pub fn set_scan_mode(&self, mode: ScanMode) {
        self.lock().scan_mode = Some(mode);
    }

    /// Lets only this repository be guarded, and those that this was called with before.
    pub fn guard_only(&self, repository: RepositoryName) {
        self.lock().only.insert(repository);
    }

    /// Sets how much is on a page of a list; a thousand, if this is never called.
    pub fn set_page_size(&self, size: usize) {
        self.lock().page_size = Some(size);
    }

    /// Makes the registry's list of images show their scans, as with enhanced scanning.
    pub fn list_scans(&self) {
        self.lock().scans_are_listed = true;
    }

    /// Sets what holds for all repositories of the registry.
    pub fn set_settings(&self, settings: RegistrySettings) {
        self.lock().settings = Some(settings);
    }

    /// The items that were hidden for a time when they were left, and for how long.
    pub fn items_hidden(&self) -> Vec<(WorkItem, Duration)> {
        self.lock().waits.clone()
    }

    /// Takes the first items out of the queue. Those that are hidden show when nothing else is left.
    pub fn take_items(&self, number: usize) -> Vec<WorkItem> {
        let mut state = self.lock();
        if state.queue.is_empty() {
            state.queue = std::mem::take(&mut state.hidden);
        }
        let number = number.min(state.queue.len());
        state.queue.drain(..number).collect()
    }

    /// The summary of a repository.
    pub fn summary_of(&self, key: &RepositoryKey) -> Option<RepositorySummary> {
        self.lock().summaries.get(key).cloned()
    }

    /// The row of a registry.
    pub fn registry_row_of(&self, key: &RegistryKey) -> Option<RegistryRow> {
        self.lock().registry_rows.get(key).cloned()
    }

    /// The row of a repository.
    pub fn repository_row_of(&self, key: &RepositoryKey) -> Option<RepositoryRow> {
        self.lock().repository_rows.get(key).cloned()
    }

    /// Makes the next call of an operation go wrong.
    pub fn fail(&self, operation: &'static str, fault: Fault) {
        self.lock().faults.push((operation, fault));
    }

    /// Makes one in every `calls` calls go wrong, as throttling and lost answers do: without effect and with effect,
    /// alternately.
    pub fn trouble_every(&self, calls: u64) {
        self.lock().trouble = Some(calls);
    }

    /// Makes one call go wrong, whatever it is: the one after this number. `None`: none, even if one was to.
    pub fn fail_after(&self, fault: Option<(usize, Fault)>) {
        self.lock().planned = fault;
    }

    /// From now on, each call of this operation takes `polls` more polls before it has its effect.
    pub fn delay(&self, operation: &'static str, polls: usize) {
        self.lock().delays.insert(operation, polls);
    }

    /// Forgets the faults that have not come true.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.faults.clear();
        state.trouble = None;
        state.planned = None;
    }

    /// Sets the time.
    pub fn set_now(&self, now: Timestamp) {
        self.lock().now = Some(now);
    }

    /// From now on the row with these keys, partition and sort key, holds no document that can be read.
    pub fn spoil(&self, (pk, sk): (String, String)) {
        self.lock().unreadable.insert((pk, sk));
    }

    /// Writes a row as it is.
    pub fn remember(&self, row: Row) {
        self.lock().rows.insert(row.image.clone(), row);
    }

    /// Takes the row of an image out: its time to live is over.
    pub fn forget_row(&self, key: &ImageKey) {
        self.lock().rows.remove(key);
    }

    /// The row of an image.
    pub fn row_of(&self, key: &ImageKey) -> Option<Row> {
        self.lock().rows.get(key).cloned()
    }

    /// The image.
    pub fn image_of(&self, key: &ImageKey) -> Option<Image> {
        self.lock()
            .images
            .get(&(key.repository.clone(), key.digest.clone()))
            .cloned()
    }

    /// All alerts that topics accepted.
    pub fn sent(&self) -> Vec<Sent> {
        self.lock().sent.clone()
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// How many calls there were so far.
    pub fn calls_made(&self) -> usize {
        self.lock().calls.len()
    }

    /// The indexes that referenced an image each time that it was archived.
    pub fn archived_under(&self, key: &ImageKey) -> Vec<ArchivedUnder> {
        self.lock().archived.get(key).cloned().unwrap_or_default()
    }

    /// From now on more calls than this are a panic: what makes them does not end by itself.
    pub fn allow_calls(&self, most: usize) {
        self.lock().most_calls = Some(most);
    }

    /// The attempt that began then goes on: the calls from now on are its own.
    pub fn go_on_with(&self, began: Timestamp) {
        self.lock().attempt = Some(began);
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        self.lock().calls.clear();
    }

    /// The number of calls that changed anything: the registry, the ledger, a topic.
    pub fn writes(&self) -> usize {
        let state = self.lock();
        state
            .calls
            .iter()
            .filter(|call| call.mutates || matches!(call.operation, PUT | PUBLISH | "dynamodb:UpdateItem"))
            .count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the lock")
    }

    async fn call<T>(
        &self,
        operation: &'static str,
        mutates: bool,
        effect: impl FnOnce(&mut State) -> T,
    ) -> Result<T, PortError> {
        let (index, is_too_many) = {
            let mut state = self.lock();
            state.ticks += 1;
            let began = state.ticks;
            state.calls.push(Call {
                operation,
                mutates,
                began,
                ended: None,
            });
            let index = state.calls.len() - 1;
            (index, state.most_calls.is_some_and(|most| index >= most))
        };
        assert!(!is_too_many, "it does not end: {operation} after {index} calls");
        let delay = self.lock().delays.get(operation).copied().unwrap_or_default();
        for _ in 0..=delay {
            pause().await;
        }
        let fault = {
            let mut state = self.lock();
            let position = state.faults.iter().position(|(name, _)| *name == operation);
            let named = position.map(|position| state.faults.remove(position).1);
            let counted = state.count_down();
            named.or(counted).or_else(|| {
                let number = state.calls.len() as u64;
                let every = state.trouble.filter(|every| number.is_multiple_of(*every))?;
                Some(if (number / every).is_multiple_of(2) {
                    Fault::Before(Retry::Later)
                } else {
                    Fault::After(Retry::Later)
                })
            })
        };
        let error = |retry| PortError {
            retry,
            operation,
            code: "Injected".to_owned(),
            message: String::new(),
            request_id: None,
        };
        let refusal = self.lock().ways.refusal(operation);
        let result = match fault {
            _ if refusal.is_some() => Err(refusal.expect("it is there")),
            Some(Fault::Before(retry)) => Err(error(retry)),
            Some(Fault::After(retry)) => {
                effect(&mut self.lock());
                Err(error(retry))
            }
            None => Ok(effect(&mut self.lock())),
        };
        pause().await;
        let mut state = self.lock();
        state.ticks += 1;
        let ended = state.ticks;
        if let Some(call) = state.calls.get_mut(index) {
            call.ended = Some(ended);
        }
        result
    }
}

const PUT: &str = "dynamodb:PutItem";
const PUBLISH: &str = "sns:Publish";
const SEND: &str = "sqs:SendMessage";

async fn pause() {
    let mut waited = false;
    poll_fn(|context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn find<'a>(state: &'a State, repository: &RepositoryName, image: &ImageRef) -> Option<&'a Image> {
    match image {
        ImageRef::Digest(digest) => state.images.get(&(repository.clone(), digest.clone())),
        ImageRef::Tag(tag) => images_of(state, repository, None).find(|image| image.tags.contains(tag)),
    }
}

/// The images of a repository, in the order of their digests, after this one.
fn images_of<'a>(
    state: &'a State,
    repository: &RepositoryName,
    after: Option<&Digest>,
) -> impl Iterator<Item = &'a Image> {
    // No digest is less than this one.
    let least: Digest = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
    let repository = repository.clone();
    let from = match after {
        Some(after) => Bound::Excluded((repository.clone(), after.clone())),
        None => Bound::Included((repository.clone(), least)),
    };
    let images = state.images.range((from, Bound::Unbounded));
    images
        .take_while(move |((name, _), _)| *name == repository)
        .map(|(_, image)| image)
}

/// The first of what is left of a list, and where the rest begins.
fn page<T>(state: &State, mut rest: impl Iterator<Item = T>, name: impl Fn(&T) -> String) -> Page<T> {
    let size = state.page_size.unwrap_or(1000);
    let items: Vec<T> = rest.by_ref().take(size).collect();
    let next = items.last().filter(|_| rest.next().is_some()).map(name);
    Page {
        items,
        unreadable: Vec::new(),
        next,
    }
}

/// Removes a tag from whichever image has it, by one of the readings of the API. In any case, the last tag of an image stays
/// that an index references.
fn remove_tag(state: &mut State, of: &RepositoryKey, tag: &Tag) -> TagAnswer {
    let repository = &of.repository;
    let reading = state.removals;
    let mut of_repository = state.images.iter().filter(|((name, _), _)| name == repository);
    let Some((key, image)) = of_repository.find(|(_, image)| image.tags.contains(tag)) else {
        return TagAnswer::Gone;
    };
    let key = key.clone();
    let is_last = image.tags.len() == 1;
    let marked = image.tags.iter().any(|tag| is_mark(tag, &key.1));
    let of_row = state.tag_rows.get(&(of.clone(), tag.clone()));
    let from = of_row.and_then(|row| row.removal.as_ref()).map(|removal| &removal.from);
    let was_meant = from == Some(&key.1) || is_mark(tag, &key.1);
    if is_last && (reading == RemovalReading::Referenced || state.is_led_to(repository, &key.1)) {
        return TagAnswer::Referenced;
    }
    let deleted = is_last && reading != RemovalReading::KeepsUntagged;
    if deleted {
        state.images.remove(&key);
    } else if let Some(image) = state.images.get_mut(&key) {
        image.tags.retain(|other| other != tag);
    }
    state.removed.push(Removed {
        tag: tag.clone(),
        digest: key.1.clone(),
        marked,
        was_meant,
        deleted,
        at: state.now.unwrap_or_else(super::now),
    });
    match reading {
        RemovalReading::NamesNoImage => TagAnswer::Unknown,
        _ => TagAnswer::From(key.1),
    }
}

fn entry<'a>(state: &'a mut State, key: &ImageKey) -> Option<&'a mut Image> {
    state.images.get_mut(&(key.repository.clone(), key.digest.clone()))
}

impl Registry for World {
    async fn repository_policy(&self, key: &RepositoryKey) -> Result<Option<String>, PortError> {
        self.call("ecr:GetRepositoryPolicy", false, |state| {
            state
                .repositories
                .get(&key.repository)
                .and_then(|stored| stored.policy.clone())
        })
        .await
    }

    async fn image(&self, repository: &RepositoryName, image: &ImageRef) -> Result<Option<Image>, PortError> {
        self.call("ecr:DescribeImages", false, |state| {
            let found = if state.left_out == Some(Planted::AnyTag) && matches!(image, ImageRef::Tag(_)) {
                images_of(state, repository, None).next()
            } else {
                find(state, repository, image)
            };
            let found = found.cloned()?;
            Some(state.show(repository, &found))
        })
        .await
    }

    /// As ECR: one image that is not there is an error for all, and then each is asked for alone.
    async fn images_of(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
    ) -> Result<Vec<Option<Image>>, PortError> {
        let mut images = Vec::new();
        for some in digests.chunks(100) {
            let refs: Vec<ImageRef> = some.iter().cloned().map(ImageRef::Digest).collect();
            let all = self.call("ecr:DescribeImages", false, |state| {
                let mut shown = |image: &ImageRef| {
                    let found = find(state, repository, image)?.clone();
                    Some(state.show(repository, &found))
                };
                refs.iter().map(&mut shown).collect::<Option<Vec<Image>>>()
            });
            match all.await? {
                Some(all) => images.extend(all.into_iter().map(Some)),
                None => images.extend(try_join_all(refs.iter().map(|image| self.image(repository, image))).await?),
            }
        }
        Ok(images)
    }

    async fn manifest(&self, image: &ImageKey) -> Result<Option<String>, PortError> {
        self.call("ecr:BatchGetImage", false, |state| {
            let pullable = entry(state, image).is_some_and(|image| image.status == ImageStatus::Active);
            let manifest = state.manifests.get(image).cloned();
            if pullable {
                state.looked_into(image, state.time());
            }
            let manifest = manifest.filter(|_| state.left_out != Some(Planted::NoChildren));
            pullable.then(|| manifest.unwrap_or_else(|| "{}".to_owned()))
        })
        .await
    }

    async fn pulled_since(
        &self,
        repository: &RepositoryName,
        since: Timestamp,
        _after: Option<&str>,
    ) -> Result<Pulled, PortError> {
        self.call("ecr:DescribeImages", false, |state| {
            let found = images_of(state, repository, None).filter(|image| {
                image.status == ImageStatus::Active && image.last_pulled_at.is_some_and(|at| at >= since)
            });
            let mut images: Vec<Image> = found.cloned().collect();
            images.sort_by_key(|image| state.ways.rank(image.digest.as_str()).0);
            Pulled {
                images: images.iter().map(|image| state.show(repository, image)).collect(),
                next: None,
            }
        })
        .await
    }

    async fn indexes(&self, repository: &RepositoryName, after: Option<&str>) -> Result<Page<Digest>, PortError> {
        self.call("ecr:DescribeImages", false, |state| {
            state.listed.insert(state.attempt, state.ticks);
            let after = after.map(|after| after.parse().expect("a page begins after a digest"));
            let found = images_of(state, repository, after.as_ref()).cloned();
            let found = page(state, found, |image: &Image| image.digest.to_string());
            let indexes = found.items.into_iter().filter(|image| {
                image.status != ImageStatus::Archived && leads_to_others(image.manifest_media_type.as_deref())
            });
            let is_left_out = state.left_out == Some(Planted::NoIndexes);
            Page {
                items: indexes.map(|image| image.digest).filter(|_| !is_left_out).collect(),
                unreadable: Vec::new(),
                next: found.next,
            }
        })
        .await
    }

    async fn scan_trigger(&self, repository: &RepositoryName) -> Result<Option<ScanTrigger>, PortError> {
        self.call("ecr:BatchGetRepositoryScanningConfiguration", false, |state| {
            Some(
                state
                    .triggers
                    .get(repository)
                    .copied()
                    .unwrap_or(ScanTrigger::Automatic),
            )
        })
        .await
    }
}

impl Listing for World {
    fn guards(&self, repository: &RepositoryName) -> bool {
        let only = &self.lock().only;
        only.is_empty() || only.contains(repository)
    }

    async fn repositories(&self, after: Option<&str>) -> Result<Page<ListedRepository>, PortError> {
        self.call("ecr:DescribeRepositories", false, |state| {
            let of_images = state.images.keys().map(|(name, _)| name);
            let names: BTreeSet<&RepositoryName> = of_images.chain(state.repositories.keys()).collect();
            let mut names: Vec<&RepositoryName> = names.into_iter().collect();
            names.sort_by_key(|name| state.ways.rank(name.as_str()));
            let after = after.map(|after| state.ways.rank(after));
            let rest = names
                .into_iter()
                .filter(|name| after.is_none_or(|after| state.ways.rank(name.as_str()) > after));
            let listed = rest.map(|name| ListedRepository {
                name: name.clone(),
                repository: match state.repositories.get(name) {
                    Some(stored) => stored.repository.clone(),
                    None => undescribed(name),
                },
            });
            page(state, listed, |listed| listed.name.to_string())
        })
        .await
    }

    async fn images(&self, key: &RepositoryKey, after: Option<&str>) -> Result<Option<Page<ListedImage>>, PortError> {
        self.call("ecr:DescribeImages", false, |state| {
            let exists = state.repositories.contains_key(&key.repository)
                || images_of(state, &key.repository, None).next().is_some();
            let page = if state.ways.is_mixed() {
                let mut images: Vec<&Image> = images_of(state, &key.repository, None).collect();
                images.sort_by_key(|image| state.ways.rank(image.digest.as_str()));
                let after = after.map(|after| state.ways.rank(after));
                let rest = images.into_iter().cloned();
                let rest =
                    rest.filter(|image| after.is_none_or(|after| state.ways.rank(image.digest.as_str()) > after));
                page(state, rest, |image| image.digest.to_string())
            } else {
                let after = after.map(|after| after.parse().expect("a page begins after a digest"));
                let rest = images_of(state, &key.repository, after.as_ref()).cloned();
                page(state, rest, |image| image.digest.to_string())
            };
            let now = state.time();
            state.settle_scans(now);
            let list = |image: Image| {
                let scan = state.scans.get(&(key.repository.clone(), image.digest.clone()));
                let scan = scan.filter(|_| state.scans_are_listed && image.status == ImageStatus::Active);
                let scan = scan.cloned();
                let scan = scan.as_ref();
                ListedImage {
                    scan_status: scan.and_then(listed_status).map(str::to_owned),
                    scanned_at: scan.and_then(|scan| match scan {
                        Scan::Complete(findings) => findings.completed_at,
                        _ => None,
                    }),
                    image: state.show(&key.repository, &image),
                    bytes: 1_000_000,
                }
            };
            exists.then(|| Page {
                items: page.items.into_iter().map(list).collect(),
                unreadable: page.unreadable,
                next: page.next,
            })
        })
        .await
    }

    async fn settings(&self) -> Result<RegistrySettings, PortError> {
        self.call("ecr:DescribeRegistry", false, |state| {
            let scanning = state.scan_mode.unwrap_or(ScanMode::Basic);
            state.settings.clone().unwrap_or(RegistrySettings {
                scanning,
                scan_rules: Vec::new(),
                replication: Vec::new(),
                signing_rules: 0,
            })
        })
        .await
    }
}

fn listed_status(scan: &Scan) -> Option<&'static str> {
    match scan {
        Scan::Complete(_) => Some("ACTIVE"),
        Scan::InProgress | Scan::NotVisible => Some("IN_PROGRESS"),
        Scan::Refused(_) => None,
        Scan::Unavailable(NoScan::Failed) | Scan::Explained(NoScan::Failed, _) => Some("FAILED"),
        Scan::Unavailable(_) | Scan::Explained(..) => Some("UNSUPPORTED_IMAGE"),
        Scan::Absent | Scan::Archived => None,
    }
}

/// A repository of which a test has only said that it has images.
fn undescribed(name: &RepositoryName) -> Repository {
    Repository {
        arn: format!("arn:aws:ecr:us-west-2:123456789012:repository/{name}"),
        tag_mutability: TagMutability::Mutable,
        scan_on_push: false,
        encryption: Encryption {
            kind: "AES256".to_owned(),
            key: None,
        },
    }
}

impl Queue for World {
    async fn send(&self, items: &[WorkItem], hidden_for: Duration) -> Result<(), PortError> {
        self.call(SEND, false, |state| {
            let queue = if hidden_for.is_zero() {
                &mut state.queue
            } else {
                &mut state.hidden
            };
            queue.extend(items.iter().map(through_json));
            if !hidden_for.is_zero() {
                state.waits.extend(items.iter().map(|item| (item.clone(), hidden_for)));
            }
        })
        .await
    }

    async fn waiting(&self) -> Result<u64, PortError> {
        self.call("sqs:GetQueueAttributes", false, |state| {
            (state.queue.len() + state.hidden.len()) as u64
        })
        .await
    }
}

impl Repositories for World {
    async fn repository(&self, key: &RepositoryKey) -> Result<Option<Repository>, PortError> {
        self.call("ecr:DescribeRepositories", false, |state| {
            let stored = state.repositories.get(&key.repository);
            stored.map(|stored| stored.repository.clone())
        })
        .await
    }

    async fn repository_tags(&self, key: &RepositoryKey) -> Result<BTreeMap<String, String>, PortError> {
        self.call("ecr:ListTagsForResource", false, |state| {
            let stored = state.repositories.get(&key.repository);
            stored.map(|stored| stored.tags.clone()).unwrap_or_default()
        })
        .await
    }

    async fn lifecycle_policy(&self, key: &RepositoryKey) -> Result<Option<String>, PortError> {
        self.call("ecr:GetLifecyclePolicy", false, |state| {
            state
                .repositories
                .get(&key.repository)
                .and_then(|stored| stored.lifecycle.clone())
        })
        .await
    }

    async fn scan_mode(&self) -> Result<ScanMode, PortError> {
        self.call("ecr:GetRegistryScanningConfiguration", false, |state| {
            state.scan_mode.unwrap_or(ScanMode::Basic)
        })
        .await
    }
}

impl RepositoryWriter for World {
    async fn set_tag_mutability(&self, key: &RepositoryKey, mutability: &TagMutability) -> Result<(), PortError> {
        self.call("ecr:PutImageTagMutability", true, |state| {
            if let Some(stored) = state.repositories.get_mut(&key.repository) {
                stored.repository.tag_mutability = mutability.clone();
            }
        })
        .await
    }

    async fn set_scan_on_push(&self, key: &RepositoryKey) -> Result<(), PortError> {
        self.call("ecr:PutImageScanningConfiguration", true, |state| {
            if let Some(stored) = state.repositories.get_mut(&key.repository) {
                stored.repository.scan_on_push = true;
            }
        })
        .await
    }

    async fn set_repository_policy(&self, key: &RepositoryKey, text: Option<&str>) -> Result<(), PortError> {
        let operation = if text.is_some() {
            "ecr:SetRepositoryPolicy"
        } else {
            "ecr:DeleteRepositoryPolicy"
        };
        self.call(operation, true, |state| {
            if let Some(stored) = state.repositories.get_mut(&key.repository) {
                stored.policy = text.map(str::to_owned);
            }
        })
        .await
    }

    async fn set_lifecycle_policy(&self, key: &RepositoryKey, text: &str) -> Result<(), PortError> {
        self.call("ecr:PutLifecyclePolicy", true, |state| {
            if let Some(stored) = state.repositories.get_mut(&key.repository) {
                stored.lifecycle = Some(text.to_owned());
            }
        })
        .await
    }

    async fn preview_lifecycle_policy(
        &self,
        key: &RepositoryKey,
        _text: &str,
        begun: bool,
    ) -> Result<Option<Preview>, PortError> {
        let operation = if begun {
            "ecr:GetLifecyclePolicyPreview"
        } else {
            "ecr:StartLifecyclePolicyPreview"
        };
        self.call(operation, true, |state| {
            if let Some(stored) = state.meanwhile.remove(&key.repository) {
                state.repositories.insert(key.repository.clone(), stored);
            }
            if let Some(looks) = state.slow_previews.get_mut(&key.repository).filter(|looks| **looks > 0) {
                *looks -= 1;
                return None;
            }
            let preview = state.previews.get(&key.repository).cloned();
            Some(preview.unwrap_or(Preview {
                images: Vec::new(),
                total: 0,
                used: None,
            }))
        })
        .await
    }
}

impl Keys for World {
    async fn key(&self, key: &KeyArn) -> Result<KeyHealth, PortError> {
        self.call("kms:DescribeKey", false, |state| {
            let health = state.keys.get(key).cloned();
            health.unwrap_or_else(|| {
                KeyHealth::NotTold(Refusal {
                    code: "kms:DescribeKey answers NoSuchKey".to_owned(),
                    said: "no such key".to_owned(),
                })
            })
        })
        .await
    }
}

impl RepositoryLedger for World {
    async fn repository_row(&self, key: &RepositoryKey) -> Result<Option<RepositoryRow>, PortError> {
        self.call("dynamodb:GetItem", false, |state| {
            let row = state.repository_rows.get(key).cloned();
            state.read((key.partition_key(), key.sort_key()), row)
        })
        .await?
    }

    async fn write_repository_row(&self, row: &RepositoryRow) -> Result<Written, PortError> {
        self.call(PUT, false, |state| {
            put(&mut state.repository_rows, row.repository.clone(), row, |row| {
                row.generation
            })
        })
        .await
    }

    async fn tag_row(&self, key: &RepositoryKey, tag: &Tag) -> Result<Option<TagRow>, PortError> {
        let of = (key.clone(), tag.clone());
        self.call("dynamodb:GetItem", false, |state| state.tag_rows.get(&of).cloned())
            .await
    }

    async fn write_tag_row(&self, row: &TagRow) -> Result<Written, PortError> {
        let of = (row.repository.clone(), row.tag.clone());
        self.call(PUT, false, |state| {
            put(&mut state.tag_rows, of, row, |row| row.generation)
        })
        .await
    }
}

/// The partition and sort key of an image's row.
pub fn keys_of(image: &ImageKey) -> (String, String) {
    (Row::partition_key(image), Row::sort_key(image))
}

fn keys_of_summary(key: &RepositoryKey) -> (String, String) {
    (RepositorySummary::partition_key(key), RepositorySummary::sort_key(key))
}

/// Writes a row, if the stored one has the version before it.
fn put<K: Ord, T: Clone + Serialize + DeserializeOwned>(
    rows: &mut BTreeMap<K, T>,
    key: K,
    row: &T,
    generation: impl Fn(&T) -> u64,
) -> Written {
    if generation(row) != rows.get(&key).map_or(0, &generation) + 1 {
        return Written::Conflict;
    }
    rows.insert(key, through_json(row));
    Written::Yes
}

/// As the real ledger keeps it.
fn through_json<T: Clone + Serialize + DeserializeOwned>(row: &T) -> T {
    if crate::stored::are_rows_as_they_are() {
        return row.clone();
    }
    let json = serde_json::to_string(row).expect("a row is JSON");
    crate::stored::keep::<T>(&json);
    serde_json::from_str(&json).expect("and comes back from it")
}

impl Scanner for World {
    async fn scan(&self, image: &ImageKey) -> Result<Scan, PortError> {
        let scan = self
            .call("ecr:DescribeImageScanFindings", false, |state| {
                if find(state, &image.repository, &ImageRef::Digest(image.digest.clone()))
                    .is_some_and(|image| image.status == ImageStatus::Archived)
                {
                    return Scan::Archived;
                }
                state.settle_scans(state.time());
                state
                    .scans
                    .get(&(image.repository.clone(), image.digest.clone()))
                    .cloned()
                    .unwrap_or(Scan::Absent)
            })
            .await?;
        let (refused, left_out) = {
            let state = self.lock();
            (state.ways.refusal_of_scans(&image.repository), state.left_out)
        };
        let scan = match left_out {
            Some(planted) => planted.scanned(scan),
            None => scan,
        };
        refused.map_or(Ok(scan), Err)
    }
}

impl RegistryWriter for World {
    async fn archive(&self, image: &ImageKey) -> Result<ImageStatus, PortError> {
        if self.lock().unarchivable.contains(image) {
            self.fail("ecr:UpdateImageStorageClass", Fault::Before(Retry::Never));
        }
        let archived = self.call("ecr:UpdateImageStorageClass", true, |state| {
            entry(state, image)?;
            // The scanner forgets an image that is archived.
            state.scans.remove(&(image.repository.clone(), image.digest.clone()));
            let under = state.indexes_over(image);
            state.archived.entry(image.clone()).or_default().extend(under);
            let now = state.time();
            state.index.takes(image, None, now);
            state.set_status(image, ImageStatus::Archived);
            Some(ImageStatus::Archived)
        });
        // API reference of ECR, `UpdateImageStorageClass`.
        archived.await?.ok_or_else(|| PortError {
            retry: Retry::Never,
            operation: "ecr:UpdateImageStorageClass",
            code: NO_IMAGE.to_owned(),
            message: "The image does not exist.".to_owned(),
            request_id: None,
        })
    }

    async fn restore(&self, image: &ImageKey) -> Result<ImageStatus, PortError> {
        self.call("ecr:UpdateImageStorageClass", true, |state| {
            let status = entry(state, image).map(|image| image.status.clone());
            if let Some(status) = status.filter(|status| *status != ImageStatus::Archived) {
                // There is nothing to restore.
                return status;
            }
            if state.left_out == Some(Planted::NoRestore) {
                return ImageStatus::Activating;
            }
            let now = state.now;
            state.scans.remove(&(image.repository.clone(), image.digest.clone()));
            state.set_status(image, ImageStatus::Activating);
            if let Some(image) = entry(state, image) {
                image.last_activated_at = now;
            }
            ImageStatus::Activating
        })
        .await
    }

    async fn manifest_to_put(&self, image: &ImageKey) -> Result<Option<Manifest>, PortError> {
        self.call("ecr:BatchGetImage", false, |state| {
            let found = find(state, &image.repository, &ImageRef::Digest(image.digest.clone()));
            found
                .filter(|found| found.status == ImageStatus::Active)
                .map(|found| Manifest {
                    text: state.manifests.get(image).cloned().unwrap_or_else(|| "{}".to_owned()),
                    media_type: found.manifest_media_type.clone(),
                })
        })
        .await
    }

    async fn put(&self, image: &ImageKey, manifest: &Manifest, tag: &Tag) -> Result<(), PortError> {
        self.call("ecr:PutImage", true, |state| {
            if state.left_out == Some(Planted::NoMark) && is_mark(tag, &image.digest) {
                state.unput.insert((image.digest.clone(), tag.clone()));
                return;
            }
            let now = state.now.unwrap_or_else(super::now);
            let of_repository = state
                .images
                .iter_mut()
                .filter(|((name, _), _)| *name == image.repository);
            for (_, other) in of_repository {
                other.tags.retain(|existing| existing != tag);
            }
            let key = (image.repository.clone(), image.digest.clone());
            let entry = state.images.entry(key).or_insert_with(|| Image {
                pushed_at: Some(now),
                tags: Vec::new(),
                manifest_media_type: manifest.media_type.clone(),
                ..super::image(image)
            });
            entry.tags.push(tag.clone());
            if entry.status != ImageStatus::Active {
                state.comes_back(image, now);
            }
        })
        .await
    }

    async fn remove_tags(&self, key: &RepositoryKey, tags: &[Tag]) -> Result<Vec<(Tag, TagAnswer)>, PortError> {
        self.call("ecr:BatchDeleteImage", true, |state| {
            for tag in tags {
                let holder =
                    find(state, &key.repository, &ImageRef::Tag(tag.clone())).map(|image| image.digest.clone());
                // A tag that breaks the rules goes without a block: the image can be pulled by its digest, or by its other tags.
                let is_quarantined = |digest: &Digest| {
                    let block = state.rows.get(&key.image(digest)).and_then(|row| row.block.as_ref());
                    block.is_some_and(|block| block.tags.contains(tag) && !block.confirmed)
                };
                let taken = holder.filter(|digest| !is_mark(tag, digest) && is_quarantined(digest));
                if let Some(digest) = taken {
                    let now = state.time();
                    state.index.takes(&key.image(&digest), Some(tag), now);
                }
            }
            let is_read = state.left_out != Some(Planted::NoAnswer);
            let answer = |tag: &Tag| {
                let answer = remove_tag(state, key, tag);
                (tag.clone(), if is_read { answer } else { TagAnswer::Gone })
            };
            tags.iter().map(answer).collect()
        })
        .await
    }

    async fn start_scan(&self, image: &ImageKey) -> Result<ScanStart, PortError> {
        self.call("ecr:StartImageScan", true, |state| {
            let answer = state.scan_start.clone().unwrap_or_else(|| state.may_scan(image));
            if answer == ScanStart::Started {
                state
                    .scans
                    .insert((image.repository.clone(), image.digest.clone()), Scan::InProgress);
            }
            answer
        })
        .await
    }
}

impl Ledger for World {
    async fn row(&self, image: &ImageKey) -> Result<Option<Row>, PortError> {
        self.call("dynamodb:GetItem", false, |state| {
            state.read(keys_of(image), state.row_as_read(image))
        })
        .await?
    }

    async fn rows_of(&self, images: &[ImageKey]) -> Result<Vec<Option<Row>>, PortError> {
        let some = images.chunks(100).map(|some| {
            self.call("dynamodb:BatchGetItem", false, move |state| {
                state.rows_of("dynamodb:BatchGetItem", some)
            })
        });
        let rows: Result<Vec<_>, PortError> = try_join_all(some).await?.into_iter().collect();
        Ok(rows?.concat())
    }

    async fn rows_elsewhere(&self, image: &ImageKey) -> Result<Vec<Row>, PortError> {
        self.call("dynamodb:Query", false, |state| {
            let same = |other: &&Row| {
                let of = &other.image;
                of.digest == image.digest && of.repository == image.repository && of.region != image.region
            };
            let rows = state.rows.values().filter(same);
            if let Some(error) = rows
                .clone()
                .find_map(|row| state.unreadable("dynamodb:Query", keys_of(&row.image)))
            {
                return Err(error);
            }
            Ok(rows.cloned().collect())
        })
        .await?
    }

    async fn count(&self, image: &ImageKey, counter: Counter, hour: Timestamp) -> Result<u64, PortError> {
        self.call("dynamodb:UpdateItem", false, |state| {
            let count = state.counts.entry(counter.sort_key(&image.region, hour)).or_default();
            *count += 1;
            *count
        })
        .await
    }

    async fn write(&self, row: &Row) -> Result<Written, PortError> {
        self.call(PUT, false, |state| {
            let row = &*match state.left_out {
                Some(planted) => planted.written(row),
                None => Cow::Borrowed(row),
            };
            let is_claim = row.block.as_ref().is_some_and(|block| !block.confirmed);
            let written = match state.left_out {
                Some(Planted::AnyWrite) => {
                    state.rows.insert(row.image.clone(), through_json(row));
                    Written::Yes
                }
                Some(Planted::NoClaim) if is_claim => return Written::Yes,
                _ => put(&mut state.rows, row.image.clone(), row, |row| row.generation),
            };
            if written == Written::Yes {
                let tick = state.ticks;
                state.index.claims(&row.image, tick);
            }
            written
        })
        .await
    }

    async fn claim_limit(&self, image: &ImageKey, hour: Timestamp) -> Result<bool, PortError> {
        self.call("dynamodb:UpdateItem", false, |state| {
            let claim = state.limits.entry(limit_key(&image.region, hour));
            claim.or_insert_with(|| image.clone()) == image
        })
        .await
    }

    async fn told(&self, key: &RepositoryKey) -> Result<ToldFindings, PortError> {
        self.call("dynamodb:GetItem", false, |state| {
            let told = state.told.get(key).cloned();
            let told = state.read((key.partition_key(), ToldFindings::sort_key(key)), told)?;
            Ok(told.unwrap_or_else(|| ToldFindings::none(key.clone())))
        })
        .await?
    }

    async fn write_told(&self, told: &ToldFindings) -> Result<Written, PortError> {
        self.call(PUT, false, |state| {
            put(&mut state.told, told.repository.clone(), told, |told| told.generation)
        })
        .await
    }
}

impl ReleaseLedger for World {
    async fn claim_request(
        &self,
        registry: &RegistryKey,
        id: &str,
        actor: &str,
        _until: Timestamp,
    ) -> Result<bool, PortError> {
        self.call("dynamodb:UpdateItem", false, |state| {
            let claim = state.requests.entry(request_key(registry, id));
            claim.or_insert_with(|| actor.to_owned()) == actor
        })
        .await
    }
}

impl AlertLedger for World {
    async fn take_slot(
        &self,
        registry: &RegistryKey,
        topic: &TopicArn,
        budget: Budget,
        now: Timestamp,
    ) -> Result<Slot, PortError> {
        self.call("dynamodb:UpdateItem", false, |state| {
            let day = counter_key(registry, topic, now);
            let hour = format!("{day}#{}", hour_attribute(now));
            let had = |key: &String| state.counts.get(key).copied().unwrap_or_default();
            let slot = budget.slot(AlertCounts {
                hour: had(&hour),
                day: had(&day),
            });
            if slot == Slot::Single {
                for key in [hour, day] {
                    *state.counts.entry(key).or_default() += 1;
                }
            }
            slot
        })
        .await
    }

    async fn keep_alert(&self, alert: &BriefAlert) -> Result<(), PortError> {
        self.call(PUT, false, |state| {
            state.kept_alerts.insert(alert.sort_key(), through_json(alert));
        })
        .await
    }

    async fn kept_alerts(&self, registry: &RegistryKey, after: Option<&str>) -> Result<Page<BriefAlert>, PortError> {
        self.call("dynamodb:Query", false, |state| {
            let kept = state.kept_alerts.values().filter(|alert| alert.registry == *registry);
            let rest = kept.filter(|alert| after.is_none_or(|after| alert.sort_key().as_str() > after));
            page(state, rest.cloned(), BriefAlert::sort_key)
        })
        .await
    }

    async fn forget_alerts(&self, alerts: &[BriefAlert]) -> Result<(), PortError> {
        self.call("dynamodb:DeleteItem", false, |state| {
            for alert in alerts {
                state.kept_alerts.remove(&alert.sort_key());
            }
        })
        .await
    }
}

impl SweepLedger for World {
    async fn rows(&self, key: &RepositoryKey, after: Option<&str>) -> Result<Page<Row>, PortError> {
        self.call("dynamodb:Query", false, |state| {
            let after: Option<Digest> = after.map(|after| after.parse().expect("a page begins after a digest"));
            let from = ImageKey {
                account: key.account.clone(),
                region: key.region.clone(),
                repository: key.repository.clone(),
                digest: format!("sha256:{}", "0".repeat(64)).parse().expect("a digest"),
            };
            let rows = state.rows.range(from..).map(|(_, row)| row);
            let rows = rows.take_while(|row| row.image.repository == key.repository);
            let rest = rows.filter(|row| after.as_ref().is_none_or(|after| row.image.digest > *after));
            let mut page = page(state, rest.cloned(), |row| row.image.digest.to_string());
            if after.is_none() {
                // Those of other regions come with the first page.
                let elsewhere = state
                    .rows
                    .values()
                    .filter(|row| row.image.repository == key.repository && row.image.region != key.region);
                page.items.extend(elsewhere.cloned());
            }
            state.sort_out(page, |row| keys_of(&row.image))
        })
        .await
    }

    async fn summary(&self, key: &RepositoryKey) -> Result<Option<RepositorySummary>, PortError> {
        self.call("dynamodb:GetItem", false, |state| {
            state.read(keys_of_summary(key), state.summaries.get(key).cloned())
        })
        .await?
    }

    async fn write_summary(&self, summary: &RepositorySummary) -> Result<Written, PortError> {
        self.call(PUT, false, |state| {
            put(&mut state.summaries, summary.repository.clone(), summary, |row| {
                row.generation
            })
        })
        .await
    }

    async fn summaries(&self, key: &RegistryKey, after: Option<&str>) -> Result<Page<RepositorySummary>, PortError> {
        self.call("dynamodb:Query", false, |state| {
            let of_registry = state
                .summaries
                .values()
                .filter(|summary| summary.repository.account == key.account && summary.repository.region == key.region);
            let name = |summary: &RepositorySummary| summary.repository.repository.to_string();
            let rest = of_registry.filter(|summary| after.is_none_or(|after| name(summary).as_str() > after));
            let page = page(state, rest.cloned(), name);
            state.sort_out(page, |summary| keys_of_summary(&summary.repository))
        })
        .await
    }

    async fn registry_row(&self, key: &RegistryKey) -> Result<Option<RegistryRow>, PortError> {
        self.call("dynamodb:GetItem", false, |state| {
            let row = state.registry_rows.get(key).cloned();
            state.read((key.partition_key(), key.sort_key()), row)
        })
        .await?
    }

    async fn write_registry_row(&self, row: &RegistryRow) -> Result<Written, PortError> {
        self.call(PUT, false, |state| {
            put(&mut state.registry_rows, row.registry.clone(), row, |row| {
                row.generation
            })
        })
        .await
    }
}

impl Notifier for World {
    async fn publish(&self, topic: &TopicArn, message: &Message) -> Result<String, PortError> {
        self.call(PUBLISH, false, |state| {
            state.sent.push(Sent {
                topic: topic.clone(),
                message: message.clone(),
            });
            format!("message-{}", state.sent.len())
        })
        .await
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        self.lock().now.unwrap_or_else(super::now)
    }

    async fn pause(&self, time: Duration) {
        pause().await;
        let later = Clock::now(self) + time;
        self.set_now(later);
    }
}
