//! Keeps the index of who uses images: a whole run, what a task of ECS does, what a cluster reports.
//!
//! A run adds what it sees, whatever fails; it ends a use only by a list that it has seen to its end. Only what changes is written, and how
//! complete the index is comes last: who reads it in between knows less, and never too much.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{
    StreamExt as _,
    future::{join, join_all, join3},
    stream,
};
use jiff::Timestamp;
use serde::Serialize;

use guard_core::{
    ids::{ImageKey, RegistryKey, RepositoryKey},
    registry::access::RefusedAccess,
    state::State,
    uses::{
        ClusterReport, ImageReference, IndexState, KnownImages, KnownPart, Listing, Snapshot, SourceKind, UseRow,
        Workload, WorkloadRules, WorkloadSource, aws, cluster_of, merge,
    },
    work::{MAX_IMAGES, Work, WorkItem, WorkSchema},
};
use guard_ports::{
    Clock as _, Ledger as _, ListedWorkloads, Listing as _, PortError, Queue as _, Registry as _, Replication as _,
    Retry, Seen, Services, UseLedger as _, Workloads, Written,
};

/// The most calls at the same time to resolve tags, and to write rows.
const AT_ONCE: usize = 8;

/// How often a row is written anew because somebody else wrote it in between.
const MAX_ATTEMPTS: usize = 4;

/// The result of a run, of an event or of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Indexed {
    /// Workloads that were seen and use images of this registry.
    pub workloads: u64,
    /// Images that they use.
    pub images: u64,
    /// Use rows that were written, because they say something else than before.
    pub written: u64,
    /// Images that nothing uses any more, since now.
    pub gone: u64,
    /// Images that came into use and are blocked: they are reconciled again.
    pub looked: u64,
    /// The lists that were not seen to their end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub incomplete: Vec<String>,
    /// The lists that the policy asks for no more: what stood in them has ended.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ended: BTreeSet<String>,
    /// The permissions that were missing.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub missing: BTreeSet<String>,
    /// The failures, in one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// The first failure of the ledger, which must be reported.
    #[serde(skip)]
    pub failure: Option<PortError>,
}

/// The most errors that are kept of a run.
const MAX_ERRORS: usize = 10;

impl Indexed {
    fn error(&mut self, error: &PortError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error.to_string());
        }
    }

    fn fails(&mut self, error: PortError) {
        self.error(&error);
        self.failure = self.failure.take().or(Some(error));
    }
}

/// The permission that a refusal is for; `None`: it is none for want of a permission.
fn missing(error: &PortError) -> Option<String> {
    let denied = error
        .is_denied()
        .then(|| RefusedAccess::read(error.operation, &error.message, Timestamp::UNIX_EPOCH));
    denied.map(|refused| refused.missing)
}

/// The index of one registry, as the function of its region keeps it.
#[derive(Debug)]
pub struct Index<'a, S> {
    /// The world.
    pub services: &'a S,
    /// The rules of the policy.
    pub rules: &'a WorkloadRules,
    /// The registry, and the region of the workloads.
    pub registry: RegistryKey,
}

/// The facts before a run.
struct Before {
    rows: Vec<UseRow>,
    /// Rows that cannot be read.
    unreadable: Vec<PortError>,
    state: Option<IndexState>,
    /// The lists of other regions.
    elsewhere: Vec<Listing>,
    known: Vec<KnownPart>,
}

/// The result of the lists.
#[derive(Default)]
struct Gathered {
    /// Why a list was not seen to its end.
    failed: BTreeMap<WorkloadSource, PortError>,
    /// Facts that need not be asked for again.
    known: KnownImages,
    /// When the oldest of a list was read.
    as_of: BTreeMap<WorkloadSource, Timestamp>,
    /// The workloads that use images of this registry.
    seen: BTreeMap<WorkloadSource, Vec<(ImageReference, Workload)>>,
}

/// The EKS clusters of all accounts.
#[derive(Default)]
struct Clusters {
    found: BTreeSet<String>,
    /// Prefixes of the names of clusters that could not be listed: empty for those of the registry's account.
    unlisted: Vec<String>,
    failure: Option<PortError>,
}

impl Clusters {
    /// Those of before are there still where they could not be listed, as far as known.
    fn note(&self, state: &mut IndexState, now: Timestamp) {
        let is_unlisted = |called: &&String| {
            let of_other = called.split_once('/').map(|(account, _)| format!("{account}/"));
            self.unlisted.contains(&of_other.unwrap_or_default())
        };
        let before = state.clusters.iter().filter(is_unlisted).cloned();
        let clusters: BTreeSet<String> = self.found.iter().cloned().chain(before).collect();
        let failure = self.failure.as_ref();
        let trouble = failure.map(|failure| (failure.to_string(), missing(failure)));
        state.clusters_listed(clusters.into_iter().collect(), trouble, now);
    }
}

impl<S: Services> Index<'_, S> {
    /// Lists all workloads, and brings the index to what they are.
    ///
    /// # Errors
    /// The ledger cannot be read: nothing was done.
    pub async fn run(&self, workloads: &impl Workloads) -> Result<Indexed, PortError> {
        let began = self.services.clock().now();
        let before = self.before().await?;
        let known = KnownImages::from_parts(&before.known);
        let sources = self.rules.listed(&self.registry.account, &self.registry.region);
        let lists = join_all(sources.iter().map(|source| workloads.list(source, &known)));
        let (listed, clusters) = join(lists, self.clusters(workloads)).await;
        let mut indexed = Indexed::default();
        let Gathered {
            mut failed,
            known: now_known,
            as_of,
            seen,
        } = self.gather(&sources, listed, &mut indexed);
        let of_all: Vec<(ImageReference, Workload)> = seen.values().flatten().cloned().collect();
        let (mut snapshot, unresolved) = self.resolve(of_all).await;
        for (source, failure) in unresolved {
            indexed.error(&failure);
            failed.entry(source).or_insert(failure);
        }
        snapshot.complete = sources
            .iter()
            .filter(|source| !failed.contains_key(*source))
            .cloned()
            .collect();
        // A use that nothing asks for any more ends as well; for a day more it counts, so that a slip of the policy takes
        // nothing away.
        let ended = self.not_asked_for(&before.rows, &sources);
        indexed.ended = ended.iter().map(WorkloadSource::to_string).collect();
        snapshot.complete.extend(ended);
        for failure in before.unreadable {
            indexed.fails(failure);
        }
        self.bring_about(before.rows, &snapshot, &mut indexed).await;
        if indexed.failure.is_none() {
            self.keep_known(&now_known, &before.known, &mut indexed).await;
        } else {
            // A use that could not be written is not in the index.
            for source in &sources {
                if let Some(failure) = &indexed.failure {
                    failed.entry(source.clone()).or_insert_with(|| failure.clone());
                }
            }
        }
        indexed.missing = failed.values().filter_map(missing).collect();
        indexed.incomplete = failed.keys().map(WorkloadSource::to_string).collect();
        let seen = seen
            .into_iter()
            .map(|(source, seen)| {
                let read_at = as_of.get(&source).map_or(began, |at| began.min(*at));
                (source, (seen.len() as u64, read_at))
            })
            .collect();
        self.keep_state(before.state, &mut indexed, |state| {
            self.record(state, &seen, &failed, began);
            state.elsewhere.clone_from(&before.elsewhere);
            clusters.note(state, began);
        })
        .await;
        if let Some(failure) = &clusters.failure {
            indexed.missing.extend(missing(failure));
            indexed.error(failure);
        }
        Ok(indexed)
    }

    /// The lists of this region that uses stand in and that the policy asks for no more. Clusters report by themselves.
    fn not_asked_for(&self, rows: &[UseRow], sources: &[WorkloadSource]) -> BTreeSet<WorkloadSource> {
        let standing = rows.iter().filter(|row| row.gone_at.is_none());
        let named = standing.flat_map(|row| {
            let listed = row.workloads.iter().map(|workload| &workload.source);
            listed.chain(row.more.iter().map(|(source, _)| source))
        });
        let ended = named.filter(|source| {
            source.region == self.registry.region
                && !matches!(source.kind, SourceKind::Kubernetes(_))
                && !sources.contains(source)
        });
        ended.cloned().collect()
    }

    /// The uses of this registry on the lists, and the lists that were not read to their end.
    fn gather(&self, sources: &[WorkloadSource], listed: Vec<ListedWorkloads>, indexed: &mut Indexed) -> Gathered {
        let mut gathered = Gathered::default();
        for (source, list) in sources.iter().zip(listed) {
            let ListedWorkloads {
                seen,
                known,
                failures,
                as_of,
            } = list;
            gathered.as_of.extend(as_of.map(|at| (source.clone(), at)));
            gathered.known.extend(known);
            for failure in failures {
                indexed.error(&failure);
                // A missing permission says more than what else went wrong.
                let is_told = |told: &PortError| told.is_denied() || !failure.is_denied();
                if !gathered.failed.get(source).is_some_and(is_told) {
                    gathered.failed.insert(source.clone(), failure);
                }
            }
            let ours = seen.into_iter().filter(|seen| self.is_ours(&seen.image));
            let of_source = gathered.seen.entry(source.clone()).or_default();
            of_source.extend(ours.map(|seen| (seen.image, seen.workload)));
        }
        gathered
    }

    /// Takes the workloads of an event into account: two round trips, or only the first if it is known already.
    ///
    /// # Errors
    /// The ledger failed: the event must be delivered again.
    pub async fn add(&self, seen: Vec<Seen>) -> Result<Indexed, PortError> {
        let ours = seen.into_iter().filter(|seen| self.is_ours(&seen.image));
        let (snapshot, unresolved) = self
            .resolve(ours.map(|seen| (seen.image, seen.workload)).collect())
            .await;
        let mut indexed = Indexed::default();
        if let Some((_, failure)) = unresolved.into_iter().next() {
            return Err(failure);
        }
        let images: Vec<ImageKey> = snapshot.uses.keys().cloned().collect();
        if images.is_empty() {
            return Ok(indexed);
        }
        let rows = self.services.ledger().uses_of(&images).await?;
        self.bring_about(rows, &snapshot, &mut indexed).await;
        match indexed.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(indexed),
        }
    }

    /// Takes a report of a cluster into account.
    ///
    /// # Errors
    /// The ledger failed: the cluster must say it again.
    pub async fn report(&self, report: &ClusterReport) -> Result<Indexed, PortError> {
        let RegistryKey { account, region } = &self.registry;
        let source = report.source(account, region);
        let reported = report.report(account, region);
        let before = self.before().await?;
        let by_tag = reported.by_tag.into_iter().filter(|(image, _)| self.is_ours(image));
        let (by_tag, unresolved) = self.resolve(by_tag.collect()).await;
        let mut snapshot = reported.snapshot;
        for (image, uses) in by_tag.uses {
            snapshot.uses.entry(image).or_default().extend(uses);
        }
        let mut indexed = Indexed::default();
        let failure = unresolved.into_iter().next().map(|(_, failure)| failure);
        if let Some(failure) = &failure {
            indexed.error(failure);
        }
        // The reporter runs itself: an empty report comes from a failed listing.
        let is_empty = report.complete && report.is_empty();
        let is_complete = report.complete && !is_empty && failure.is_none();
        if is_complete {
            snapshot.complete.insert(source.clone());
        }
        for failure in before.unreadable {
            indexed.fails(failure);
        }
        self.bring_about(before.rows, &snapshot, &mut indexed).await;
        if indexed.failure.is_none() {
            let now = self.services.clock().now();
            let (seen, sent_at) = (indexed.workloads, report.sent_at.min(now));
            self.keep_state(before.state, &mut indexed, |state| {
                if is_complete {
                    state.completed(&source, seen, sent_at);
                } else if let Some(failure) = &failure {
                    state.failed(&source, &failure.to_string(), missing(failure), now);
                } else if is_empty {
                    state.failed(&source, "its report says that nothing runs in it", None, now);
                }
            })
            .await;
        }
        match indexed.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(indexed),
        }
    }

    /// Whether it is an image of this registry that may be blocked. Others are nobody's here: the function may not even look up their tags.
    /// Another region may guard other repositories: what is named by a digest counts for it.
    pub(crate) fn is_ours(&self, image: &ImageReference) -> bool {
        let for_another_region = || image.region != self.registry.region && image.key().is_some();
        image.account == self.registry.account
            && (self.services.registry().guards(&image.repository) || for_another_region())
    }

    async fn before(&self) -> Result<Before, PortError> {
        let RegistryKey { account, region } = &self.registry;
        let ledger = self.services.ledger();
        let rows = async {
            let (mut rows, mut unreadable) = (Vec::new(), Vec::new());
            let mut after: Option<String> = None;
            loop {
                let page = ledger.uses(account, after.as_deref()).await?;
                rows.extend(page.items);
                unreadable.extend(page.unreadable);
                after = page.next;
                if after.is_none() {
                    return Ok::<_, PortError>((rows, unreadable));
                }
            }
        };
        let (rows, states, known) = join3(rows, ledger.index_states(account), ledger.known(account, region)).await;
        let (rows, unreadable) = rows?;
        let (here, elsewhere): (Vec<_>, Vec<_>) = states?.into_iter().partition(|state| state.region == *region);
        let state = here.into_iter().next();
        Ok(Before {
            elsewhere: elsewhere.into_iter().flat_map(|state| state.listings).collect(),
            rows,
            unreadable,
            state,
            known: known?,
        })
    }

    /// The clusters of all accounts.
    async fn clusters(&self, workloads: &impl Workloads) -> Clusters {
        let own = &self.registry.account;
        let others = self.rules.accounts.iter();
        let others = others.filter(|account| account.is_listed_in(&self.registry.region));
        let accounts = std::iter::once(own).chain(others.map(|account| &account.id));
        let looks = accounts.map(|account| async move { (account, workloads.clusters(account).await) });
        let mut clusters = Clusters::default();
        for (account, found) in join_all(looks).await {
            match found {
                Ok(names) => {
                    let names = names.iter().map(|name| cluster_of(own, account, name));
                    clusters.found.extend(names);
                }
                Err(failure) => {
                    clusters.unlisted.push(cluster_of(own, account, ""));
                    // A missing permission says more than what else went wrong.
                    if !clusters.failure.as_ref().is_some_and(PortError::is_denied) {
                        clusters.failure = Some(failure);
                    }
                }
            }
        }
        clusters
    }

    /// The images that are named by a tag, by the image that has the tag now; and the lists for which that could not be found
    /// out. A tag that no image has names none.
    async fn resolve(&self, seen: Vec<(ImageReference, Workload)>) -> (Snapshot, Vec<(WorkloadSource, PortError)>) {
        let by_tag: BTreeSet<&ImageReference> = seen
            .iter()
            .map(|(image, _)| image)
            .filter(|image| image.key().is_none())
            .collect();
        let looks = by_tag
            .into_iter()
            .map(|image| async move { (image, self.look_up(image).await) });
        let found: BTreeMap<&ImageReference, Result<Option<ImageKey>, PortError>> =
            stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
        let mut snapshot = Snapshot::default();
        let mut unresolved = Vec::new();
        for (image, workload) in &seen {
            let key = match image.key() {
                Some(key) => Ok(Some(key)),
                None => found.get(image).cloned().unwrap_or(Ok(None)),
            };
            match key {
                Ok(Some(key)) => snapshot.add(
                    key,
                    Workload {
                        via: aws::via(image),
                        ..workload.clone()
                    },
                ),
                Ok(None) => {}
                Err(failure) => unresolved.push((workload.source.clone(), failure)),
            }
        }
        (snapshot, unresolved)
    }

    pub(crate) async fn look_up(&self, image: &ImageReference) -> Result<Option<ImageKey>, PortError> {
        let key = RepositoryKey {
            account: image.account.clone(),
            region: image.region.clone(),
            repository: image.repository.clone(),
        };
        let found = if image.region == self.registry.region {
            self.services.registry().image(&image.repository, &image.image).await?
        } else {
            self.services.elsewhere().image_in(&key, &image.image).await?
        };
        Ok(found.map(|found| key.image(&found.digest)))
    }

    /// Writes the changes. Has the images reconciled that came into use by them, or into another use, and that are blocked.
    async fn bring_about(&self, rows: Vec<UseRow>, seen: &Snapshot, indexed: &mut Indexed) {
        indexed.workloads = seen.uses.values().map(|uses| uses.len() as u64).sum();
        indexed.images = seen.uses.len() as u64;
        let now = self.services.clock().now();
        let changes = merge(&rows, seen, now);
        let gone = changes.iter().filter(|row| row.gone_at.is_some()).count() as u64;
        let writes = changes.into_iter().map(|row| async move {
            let image = row.image.clone();
            (image, self.write(row, seen).await)
        });
        let mut writes = stream::iter(writes).buffer_unordered(AT_ONCE);
        let mut added = Vec::new();
        indexed.gone = gone;
        while let Some((image, written)) = writes.next().await {
            match written {
                Ok(written) => {
                    indexed.written = indexed.written.saturating_add(written);
                    if seen.uses.contains_key(&image) {
                        added.push(image);
                    }
                }
                Err(failure) => indexed.fails(failure),
            }
        }
        indexed.looked = self.look_at_blocked(&added, indexed).await;
    }

    /// Writes a row; if somebody else wrote it in between, what was seen is merged with that. How often it was written: once or not at all.
    async fn write(&self, mut row: UseRow, seen: &Snapshot) -> Result<u64, PortError> {
        let ledger = self.services.ledger();
        for _ in 0..MAX_ATTEMPTS {
            if ledger.write_use(&row).await? == Written::Yes {
                return Ok(1);
            }
            let there = ledger.uses_of(std::slice::from_ref(&row.image)).await?;
            let of_image = Snapshot {
                uses: seen
                    .uses
                    .get_key_value(&row.image)
                    .map(|(image, uses)| (image.clone(), uses.clone()))
                    .into_iter()
                    .collect(),
                complete: seen.complete.clone(),
            };
            match merge(&there, &of_image, self.services.clock().now()).into_iter().next() {
                Some(next) => row = next,
                None => return Ok(0),
            }
        }
        Err(contended(&format!("the use row of {}", row.image)))
    }

    /// Has the images reconciled that came into use and are blocked, or are just being blocked: a workload that starts during a
    /// block gets its image back. The result is their number.
    async fn look_at_blocked(&self, added: &[ImageKey], indexed: &mut Indexed) -> u64 {
        let here: Vec<ImageKey> = added
            .iter()
            .filter(|image| image.region == self.registry.region)
            .cloned()
            .collect();
        if here.is_empty() {
            return 0;
        }
        let rows = match self.services.ledger().rows_of(&here).await {
            Ok(rows) => rows,
            Err(failure) => {
                indexed.fails(failure);
                return 0;
            }
        };
        let mut blocked: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for row in rows.into_iter().flatten() {
            if row.closed_at.is_none() && (row.block.is_some() || row.state == State::Blocked) {
                let digests = blocked.entry(row.image.repository).or_default();
                // An image without a tag is blocked by the tags of its indexes alone.
                digests.extend(row.indexes);
                digests.insert(row.image.digest);
            }
        }
        let now = self.services.clock().now();
        let mut items = Vec::new();
        let mut number: u64 = 0;
        for (repository, digests) in blocked {
            let digests: Vec<_> = digests.into_iter().collect();
            number = number.saturating_add(digests.len() as u64);
            items.extend(digests.chunks(MAX_IMAGES).map(|digests| WorkItem {
                schema: WorkSchema::V1,
                sweep: now,
                since: None,
                hops: 0,
                account: self.registry.account.clone(),
                region: self.registry.region.clone(),
                work: Work::Images {
                    repository: repository.clone(),
                    digests: digests.to_vec(),
                    indexes_read: false,
                    indexes_read_at: None,
                },
            }));
        }
        if items.is_empty() {
            return 0;
        }
        match self.services.queue().send(&items, Duration::ZERO).await {
            Ok(()) => number,
            Err(failure) => {
                indexed.fails(failure);
                0
            }
        }
    }

    /// The run's result on how complete the index is.
    fn record(
        &self,
        state: &mut IndexState,
        seen: &BTreeMap<WorkloadSource, (u64, Timestamp)>,
        failed: &BTreeMap<WorkloadSource, PortError>,
        began: Timestamp,
    ) {
        state.retain(self.rules);
        for (source, (number, read_at)) in seen {
            match failed.get(source) {
                None => state.completed(source, *number, *read_at),
                Some(failure) => state.failed(source, &failure.to_string(), missing(failure), began),
            }
        }
    }

    /// Writes how complete the index is; if somebody else wrote it in between, on top of that.
    async fn keep_state(&self, before: Option<IndexState>, indexed: &mut Indexed, change: impl Fn(&mut IndexState)) {
        let RegistryKey { account, region } = &self.registry;
        let ledger = self.services.ledger();
        let mut state = before.unwrap_or_else(|| IndexState::new(account.clone(), region.clone()));
        for _ in 0..MAX_ATTEMPTS {
            change(&mut state);
            state.generation = state.generation.saturating_add(1);
            match ledger.write_index_state(&state, self.services.clock().now()).await {
                Ok(Written::Yes) => return,
                Ok(Written::Conflict) => {}
                Err(failure) => return indexed.fails(failure),
            }
            match ledger.index_state(account, region).await {
                Ok(there) => state = there.unwrap_or_else(|| IndexState::new(account.clone(), region.clone())),
                Err(failure) => return indexed.fails(failure),
            }
        }
        indexed.fails(contended("the state of the index"));
    }

    /// Writes what need not be asked again. It only saves calls: what cannot be written is asked again.
    async fn keep_known(&self, known: &KnownImages, before: &[KnownPart], indexed: &mut Indexed) {
        let RegistryKey { account, region } = &self.registry;
        for part in known.changed_parts(account, region, before) {
            if let Err(failure) = self.services.ledger().write_known(&part).await {
                indexed.error(&failure);
            }
        }
    }
}

fn contended(what: &str) -> PortError {
    PortError {
        retry: Retry::Later,
        operation: "dynamodb:PutItem",
        code: "Contended".to_owned(),
        message: format!("others write {what} all the time"),
        request_id: None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
