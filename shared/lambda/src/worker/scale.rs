//! Registries of up to a million images, with the workers' own code on a model of SQS and Lambda, in virtual time: nothing is lost, and
//! `docs/work-at-scale.md` says how long it takes.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    pin::Pin,
    sync::{Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use futures_util::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::{sweep::sweep, testing};
use guard_core::{
    alert::{
        brief::BriefAlert,
        budget::{Budget, Slot},
    },
    finding::{Findings, Scan, ScanMode, ScanTrigger},
    ids::{AccountId, Digest, ImageKey, ImageRef, Region, RepositoryKey, RepositoryName, Tag, TopicArn},
    image::{Image, ListedImage},
    ledger::{Counter, Row},
    registry::{RegistryRow, RegistrySettings},
    replication::ledger::{BackfillRow, ReplicaRow, ReplicationRow},
    repository::{
        ledger::{RepositoryRow, TagRow},
        posture::{Encryption, ListedRepository, Repository, TagMutability},
    },
    summary::RepositorySummary,
    told::ToldFindings,
    uses::{IndexState, KnownPart, RefusedPull, UseRow},
    work::{Work, WorkItem},
};
use guard_ports::{
    AlertLedger, Clock, FamilyRows, Ledger, Listing, Page, PortError, Pulled, Queue, Registry, ReleaseLedger,
    ReplicationLedger, Repositories, RepositoryLedger, Retry, Scanner, SweepLedger, UseLedger, Written,
};
use guard_testkit::{World, image, image_key, now, policy_in};

/// A registry, how it answers, and how its queue is set up.
#[derive(Debug, Clone, Copy)]
struct Case {
    repositories: usize,
    images: usize,
    /// The time of a reconcile of an image: of each of the two calls to ECR, which are made at the same time.
    look_ms: u64,
    /// The calls that ECR takes in a second, all together; the SDK waits and tries three times.
    most_calls: Option<u64>,
    /// One call in this number loses its answer after it took effect.
    lost: Option<u64>,
    queue: QueueCase,
}

#[derive(Debug, Clone, Copy)]
struct QueueCase {
    batch: usize,
    max_receives: u32,
    /// Lambda drops what has gone round more often; the longest chain of a batch counts for all that is sent in it.
    cut: Option<u32>,
    back: Back,
}

/// The fate of work that was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Back {
    /// It is put back as a new message.
    New,
    /// It stays in the queue, and shows again after this number of milliseconds: the visibility timeout, or less with
    /// `ChangeMessageVisibility`.
    Stays(u64),
}

const OURS: QueueCase = QueueCase {
    batch: 20,
    max_receives: 20,
    cut: None,
    back: Back::New,
};

/// The mapping's share of Lambda, in milliseconds.
const VISIBILITY: u64 = 1_802_000;
const WINDOW: u64 = 2_000;
const TIMEOUT: u64 = 300_000;
const INVOCATIONS: usize = 2;
/// A page of a list, of a thousand images or of five hundred rows of 2 KB (a megabyte: DynamoDB's limit).
const PAGE_MS: u64 = 200;
const ROWS: usize = 500;
const SWEEP_EVERY: u64 = 3_600_000;

#[derive(Debug)]
struct Waiting {
    item: WorkItem,
    receives: u32,
    chain: u32,
}

#[derive(Debug, Default)]
struct State {
    now: u64,
    timers: BinaryHeap<Reverse<(u64, u64)>>,
    wakers: BTreeMap<u64, Waker>,
    seq: u64,
    /// By when they show and in which order they were sent.
    queue: BTreeMap<(u64, u64), Waiting>,
    /// For each running invocation: the longest chain among its items.
    chains: BTreeMap<usize, u32>,
    taken: BTreeMap<usize, Vec<Work>>,
    looked: Vec<bool>,
    left: usize,
    looks: u64,
    template: Option<Row>,
    swept: Option<RegistryRow>,
    calls: u64,
    tokens: u64,
    second: u64,
    given_up: u64,
    dropped: u64,
    longest: u32,
    receives: u32,
    done_at: u64,
}

#[derive(Debug)]
struct Sim {
    case: Case,
    world: World,
    state: Mutex<State>,
}

impl Sim {
    fn new(case: Case) -> Self {
        let images = case.repositories * case.images;
        let state = State {
            looked: vec![false; images],
            left: images,
            ..State::default()
        };
        Self {
            case,
            world: World::new(),
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn sleep(&self, time: u64) {
        let mut until = None;
        std::future::poll_fn(|context| {
            let mut state = self.lock();
            let deadline = *until.get_or_insert(state.now + time);
            if state.now >= deadline {
                return Poll::Ready(());
            }
            state.seq += 1;
            let seq = state.seq;
            state.timers.push(Reverse((deadline, seq)));
            state.wakers.insert(seq, context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// A call: it takes its time, has its effect, and its answer may be lost.
    async fn call<T>(&self, time: u64, effect: impl FnOnce(&mut State) -> T) -> Result<T, PortError> {
        if time > 0 {
            self.sleep(time).await;
        }
        let mut state = self.lock();
        state.calls += 1;
        let value = effect(&mut state);
        match self.case.lost {
            // Spread without a pattern, and the same in each run.
            Some(every) if (state.calls.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33).is_multiple_of(every) => {
                Err(error("Timeout"))
            }
            _ => Ok(value),
        }
    }

    /// A page of a list: as the SDK does, it is asked for again, twice more. All pages of a repository must be read at once, and one of 200,000
    /// images has six hundred.
    async fn page<T, F: Future<Output = Result<T, PortError>>>(&self, ask: impl Fn() -> F) -> Result<T, PortError> {
        for _ in 0..2 {
            if let Ok(page) = ask().await {
                return Ok(page);
            }
        }
        ask().await
    }

    /// A call to ECR, which may have had enough.
    async fn ecr<T>(&self, time: u64, effect: impl FnOnce(&mut State) -> T) -> Result<T, PortError> {
        for attempt in 0..3_u64 {
            let Some(most) = self.case.most_calls else { break };
            let is_taken = {
                let mut state = self.lock();
                if state.now / 1000 > state.second {
                    (state.second, state.tokens) = (state.now / 1000, most);
                }
                let is_taken = state.tokens > 0;
                state.tokens = state.tokens.saturating_sub(1);
                is_taken
            };
            if is_taken {
                break;
            }
            if attempt == 2 {
                return Err(error("ThrottlingException"));
            }
            self.sleep(1000 << attempt).await;
        }
        self.call(time, effect).await
    }

    fn name(&self, repository: usize) -> RepositoryName {
        format!("team/r{repository}").parse().unwrap()
    }

    fn key(&self, index: usize) -> ImageKey {
        ImageKey {
            repository: self.name(index / self.case.images),
            digest: format!("sha256:{index:064x}").parse().unwrap(),
            ..image_key()
        }
    }

    fn index(digest: &Digest) -> usize {
        usize::from_str_radix(digest.as_str().get(55..).unwrap(), 16).unwrap()
    }

    /// The images of a repository, from here on.
    fn range(&self, key: &RepositoryKey, after: Option<&str>) -> std::ops::Range<usize> {
        let number: usize = key.repository.as_str().trim_start_matches("team/r").parse().unwrap();
        let first = number * self.case.images;
        let from = after.map_or(first, |after| after.parse().unwrap());
        from..first + self.case.images
    }

    fn send_as(&self, items: &[WorkItem], hidden_for: Duration, chain: u32) {
        let mut state = self.lock();
        for item in items {
            let shows = state.now + u64::try_from(hidden_for.as_millis()).unwrap();
            state.seq += 1;
            let seq = state.seq;
            let waiting = Waiting {
                item: item.clone(),
                receives: 0,
                chain,
            };
            state.queue.insert((shows, seq), waiting);
        }
    }
}

fn error(code: &str) -> PortError {
    PortError {
        retry: Retry::Later,
        operation: "ecr:DescribeImages",
        code: code.to_owned(),
        message: String::new(),
        request_id: None,
    }
}

impl Clock for Sim {
    fn now(&self) -> Timestamp {
        now() + SignedDuration::from_millis(i64::try_from(self.lock().now).unwrap())
    }

    async fn pause(&self, time: Duration) {
        self.sleep(u64::try_from(time.as_millis()).unwrap()).await;
    }
}

impl Registry for Sim {
    async fn repository_policy(&self, _: &RepositoryKey) -> Result<Option<String>, PortError> {
        Ok(None)
    }

    async fn image(&self, _: &RepositoryName, by: &ImageRef) -> Result<Option<Image>, PortError> {
        let ImageRef::Digest(digest) = by else { return Ok(None) };
        let key = self.key(Self::index(digest));
        self.ecr(self.case.look_ms, |_| Some(image(&key))).await
    }

    async fn manifest(&self, _: &ImageKey) -> Result<Option<String>, PortError> {
        Ok(None)
    }

    async fn pulled_since(&self, _: &RepositoryName, _: Timestamp, _: Option<&str>) -> Result<Pulled, PortError> {
        Ok(Pulled::default())
    }

    async fn indexes(&self, _: &RepositoryName, _: Option<&str>) -> Result<Page<Digest>, PortError> {
        // A sweep has read the indexes itself: an error would show in the figures.
        Err(error("NotToBeAsked"))
    }

    async fn scan_trigger(&self, _: &RepositoryName) -> Result<Option<ScanTrigger>, PortError> {
        Ok(Some(ScanTrigger::Automatic))
    }
}

impl Scanner for Sim {
    async fn scan(&self, _: &ImageKey) -> Result<Scan, PortError> {
        let scan: Findings = guard_testkit::scan(Vec::new());
        self.ecr(self.case.look_ms, |_| Scan::Complete(scan)).await
    }
}

impl Listing for Sim {
    async fn repositories(&self, after: Option<&str>) -> Result<Page<ListedRepository>, PortError> {
        let from: usize = after.map_or(0, |after| after.parse().unwrap());
        let end = self.case.repositories.min(from + 1000);
        let listed = |number| ListedRepository {
            name: self.name(number),
            repository: Repository {
                arn: String::new(),
                tag_mutability: TagMutability::Mutable,
                scan_on_push: true,
                encryption: Encryption {
                    kind: "AES256".to_owned(),
                    key: None,
                },
            },
        };
        let page = Page {
            items: (from..end).map(listed).collect(),
            unreadable: Vec::new(),
            next: (end < self.case.repositories).then(|| end.to_string()),
        };
        self.ecr(PAGE_MS, |_| page).await
    }

    async fn images(&self, key: &RepositoryKey, after: Option<&str>) -> Result<Option<Page<ListedImage>>, PortError> {
        let all = &self.range(key, after);
        let end = all.end.min(all.start + 1000);
        self.page(|| {
            self.ecr(PAGE_MS, move |_| {
                let template = image(&image_key());
                let listed = |index| ListedImage {
                    image: Image {
                        digest: self.key(index).digest,
                        ..template.clone()
                    },
                    bytes: 1,
                    scan_status: Some("COMPLETE".to_owned()),
                    scanned_at: Some(now()),
                };
                Some(Page {
                    items: (all.start..end).map(listed).collect(),
                    unreadable: Vec::new(),
                    next: (end < all.end).then(|| end.to_string()),
                })
            })
        })
        .await
    }

    async fn settings(&self) -> Result<RegistrySettings, PortError> {
        Ok(RegistrySettings {
            scanning: ScanMode::Basic,
            scan_rules: Vec::new(),
            replication: Vec::new(),
            signing_rules: 0,
        })
    }
}

impl Repositories for Sim {
    async fn repository(&self, _: &RepositoryKey) -> Result<Option<Repository>, PortError> {
        Ok(None)
    }

    async fn repository_tags(&self, _: &RepositoryKey) -> Result<BTreeMap<String, String>, PortError> {
        Ok(BTreeMap::new())
    }

    async fn lifecycle_policy(&self, _: &RepositoryKey) -> Result<Option<String>, PortError> {
        Ok(None)
    }

    async fn scan_mode(&self) -> Result<ScanMode, PortError> {
        Ok(ScanMode::Basic)
    }
}

/// The row of an image that was reconciled: all are alike.
fn row_of(state: &State, image: ImageKey) -> Option<Row> {
    let row = state.template.as_ref()?;
    Some(Row { image, ..row.clone() })
}

impl Ledger for Sim {
    async fn row(&self, image: &ImageKey) -> Result<Option<Row>, PortError> {
        let index = Self::index(&image.digest);
        self.call(0, |state| {
            if state.looked[index] {
                row_of(state, image.clone())
            } else {
                None
            }
        })
        .await
    }

    async fn write(&self, row: &Row) -> Result<Written, PortError> {
        let index = Self::index(&row.image.digest);
        self.call(0, |state| {
            state.template.get_or_insert_with(|| row.clone());
            if !state.looked[index] {
                state.looked[index] = true;
                state.left -= 1;
                state.done_at = state.now;
            }
            Written::Yes
        })
        .await
    }

    async fn rows_of(&self, images: &[ImageKey]) -> Result<Vec<Option<Row>>, PortError> {
        self.call(0, |_| images.iter().map(|_| None).collect()).await
    }

    async fn told(&self, key: &RepositoryKey) -> Result<ToldFindings, PortError> {
        self.world.told(key).await
    }

    async fn write_told(&self, told: &ToldFindings) -> Result<Written, PortError> {
        self.world.write_told(told).await
    }

    async fn rows_elsewhere(&self, _: &ImageKey) -> Result<Vec<Row>, PortError> {
        Ok(Vec::new())
    }

    async fn claim_limit(&self, _: &ImageKey, _: Timestamp) -> Result<bool, PortError> {
        Ok(false)
    }

    async fn count(&self, _: &ImageKey, _: Counter, _: Timestamp) -> Result<u64, PortError> {
        Ok(1)
    }
}

// The policy of these registries asks for no index.
impl ReleaseLedger for Sim {
    async fn claim_request(&self, _: &RegistryKey, _: &str, _: &str, _: Timestamp) -> Result<bool, PortError> {
        Ok(true)
    }
}

impl UseLedger for Sim {
    async fn uses_of(&self, images: &[ImageKey]) -> Result<Vec<UseRow>, PortError> {
        self.world.uses_of(images).await
    }

    async fn rows_and_uses(
        &self,
        rows: &[ImageKey],
        uses: &[ImageKey],
        registry: &RegistryKey,
    ) -> Result<FamilyRows, PortError> {
        self.world.rows_and_uses(rows, uses, registry).await
    }

    async fn uses(&self, account: &AccountId, after: Option<&str>) -> Result<Page<UseRow>, PortError> {
        self.world.uses(account, after).await
    }

    async fn uses_in(&self, key: &RepositoryKey, after: Option<&str>) -> Result<Page<UseRow>, PortError> {
        self.world.uses_in(key, after).await
    }

    async fn write_use(&self, row: &UseRow) -> Result<Written, PortError> {
        self.world.write_use(row).await
    }

    async fn index_state(&self, account: &AccountId, region: &Region) -> Result<Option<IndexState>, PortError> {
        self.world.index_state(account, region).await
    }

    async fn index_states(&self, account: &AccountId) -> Result<Vec<IndexState>, PortError> {
        self.world.index_states(account).await
    }

    async fn write_index_state(&self, state: &IndexState, now: Timestamp) -> Result<Written, PortError> {
        self.world.write_index_state(state, now).await
    }

    async fn known(&self, account: &AccountId, region: &Region) -> Result<Vec<KnownPart>, PortError> {
        self.world.known(account, region).await
    }

    async fn write_known(&self, part: &KnownPart) -> Result<Written, PortError> {
        self.world.write_known(part).await
    }

    async fn refused_pull(&self, image: &ImageKey, who: &str) -> Result<Option<RefusedPull>, PortError> {
        self.world.refused_pull(image, who).await
    }

    async fn write_refused_pull(&self, refused: &RefusedPull) -> Result<Written, PortError> {
        self.world.write_refused_pull(refused).await
    }
}

impl AlertLedger for Sim {
    async fn take_slot(
        &self,
        registry: &RegistryKey,
        topic: &TopicArn,
        budget: Budget,
        now: Timestamp,
    ) -> Result<Slot, PortError> {
        self.world.take_slot(registry, topic, budget, now).await
    }

    async fn keep_alert(&self, alert: &BriefAlert) -> Result<(), PortError> {
        self.world.keep_alert(alert).await
    }

    async fn kept_alerts(&self, registry: &RegistryKey, after: Option<&str>) -> Result<Page<BriefAlert>, PortError> {
        self.world.kept_alerts(registry, after).await
    }

    async fn forget_alerts(&self, alerts: &[BriefAlert]) -> Result<(), PortError> {
        self.world.forget_alerts(alerts).await
    }
}

impl SweepLedger for Sim {
    async fn rows(&self, key: &RepositoryKey, after: Option<&str>) -> Result<Page<Row>, PortError> {
        let all = &self.range(key, after);
        let time = if self.lock().template.is_none() {
            10
        } else {
            PAGE_MS / 4
        };
        self.page(|| {
            self.call(time, move |state| {
                let mut looked = all.clone().filter(|index| state.looked[*index]);
                let page: Vec<usize> = looked.by_ref().take(ROWS).collect();
                let next = looked.next().map(|index| index.to_string());
                Page {
                    items: page
                        .into_iter()
                        .filter_map(|index| row_of(state, self.key(index)))
                        .collect(),
                    unreadable: Vec::new(),
                    next,
                }
            })
        })
        .await
    }

    async fn summary(&self, _: &RepositoryKey) -> Result<Option<RepositorySummary>, PortError> {
        self.call(0, |_| None).await
    }

    async fn write_summary(&self, _: &RepositorySummary) -> Result<Written, PortError> {
        self.call(0, |_| Written::Yes).await
    }

    async fn summaries(&self, _: &RegistryKey, _: Option<&str>) -> Result<Page<RepositorySummary>, PortError> {
        Ok(Page {
            items: Vec::new(),
            unreadable: Vec::new(),
            next: None,
        })
    }

    async fn registry_row(&self, _: &RegistryKey) -> Result<Option<RegistryRow>, PortError> {
        self.call(0, |state| state.swept.clone()).await
    }

    async fn write_registry_row(&self, row: &RegistryRow) -> Result<Written, PortError> {
        self.call(0, |state| state.swept = Some(row.clone())).await?;
        Ok(Written::Yes)
    }
}

impl RepositoryLedger for Sim {
    async fn repository_row(&self, _: &RepositoryKey) -> Result<Option<RepositoryRow>, PortError> {
        Ok(None)
    }

    async fn write_repository_row(&self, _: &RepositoryRow) -> Result<Written, PortError> {
        Ok(Written::Yes)
    }

    async fn tag_row(&self, _: &RepositoryKey, _: &Tag) -> Result<Option<TagRow>, PortError> {
        Ok(None)
    }

    async fn write_tag_row(&self, _: &TagRow) -> Result<Written, PortError> {
        Ok(Written::Yes)
    }
}

impl ReplicationLedger for Sim {
    async fn replica_row(&self, _: &ImageKey) -> Result<Option<ReplicaRow>, PortError> {
        Ok(None)
    }

    async fn write_replica_row(&self, _: &ReplicaRow) -> Result<Written, PortError> {
        Ok(Written::Yes)
    }

    async fn replica_rows(&self, _: &RepositoryKey, _: Option<&str>) -> Result<Page<ReplicaRow>, PortError> {
        Ok(Page {
            items: Vec::new(),
            unreadable: Vec::new(),
            next: None,
        })
    }

    async fn replication_row(
        &self,
        _: &RepositoryKey,
        _: &guard_core::ids::Region,
    ) -> Result<Option<ReplicationRow>, PortError> {
        Ok(None)
    }

    async fn write_replication_row(&self, _: &ReplicationRow) -> Result<Written, PortError> {
        Ok(Written::Yes)
    }

    async fn backfill_row(
        &self,
        _: &RegistryKey,
        _: &guard_core::ids::Region,
    ) -> Result<Option<BackfillRow>, PortError> {
        Ok(None)
    }

    async fn write_backfill_row(&self, _: &BackfillRow) -> Result<Written, PortError> {
        Ok(Written::Yes)
    }
}

/// Whether work is what is left of this work.
fn is_part(left: &Work, of: &Work) -> bool {
    match (left, of) {
        (
            Work::Images {
                repository, digests, ..
            },
            Work::Images {
                repository: of,
                digests: all,
                ..
            },
        ) => repository == of && digests.iter().all(|digest| all.contains(digest)),
        (left, of) => left == of,
    }
}

/// The queue, as one invocation sees it.
#[derive(Debug)]
struct Sender<'a> {
    sim: &'a Sim,
    invocation: usize,
}

impl Queue for Sender<'_> {
    async fn send(&self, items: &[WorkItem], hidden_for: Duration) -> Result<(), PortError> {
        let chain = self.sim.lock().chains.get(&self.invocation).copied().unwrap_or(0) + 1;
        if self.sim.case.queue.back != Back::New {
            let state = self.sim.lock();
            let taken = state.taken.get(&self.invocation).map_or(&[][..], Vec::as_slice);
            if items
                .iter()
                .any(|item| taken.iter().any(|work| is_part(&item.work, work)))
            {
                return Err(error("NotPutBack"));
            }
        }
        self.sim.send_as(items, hidden_for, chain);
        self.sim.call(0, |_| ()).await
    }

    async fn waiting(&self) -> Result<u64, PortError> {
        self.sim
            .call(0, |state| {
                let taken = |waiting: &&Waiting| waiting.receives == 0;
                state.queue.values().filter(taken).count() as u64
            })
            .await
    }
}

impl Services for Sender<'_> {
    type Registry = Sim;
    type Elsewhere = World;
    type Writer = World;
    type Backfills = World;
    type Keys = World;
    type Ledger = Sim;
    type Notifier = World;
    type Queue = Self;
    type Clock = Sim;

    fn registry(&self) -> &Sim {
        self.sim
    }

    fn elsewhere(&self) -> &World {
        &self.sim.world
    }

    fn writer(&self) -> Option<&World> {
        None
    }

    fn backfills(&self) -> Option<&World> {
        None
    }

    fn keys(&self) -> &World {
        &self.sim.world
    }

    fn ledger(&self) -> &Sim {
        self.sim
    }

    fn notifier(&self) -> &World {
        &self.sim.world
    }

    fn queue(&self) -> &Self {
        self
    }

    fn clock(&self) -> &Sim {
        self.sim
    }
}

/// The result of a case.
#[derive(Debug)]
struct Figures {
    never_looked_at: usize,
    lost: u64,
    looks: u64,
    calls: u64,
    seconds: u64,
    longest: u32,
    receives: u32,
}

type Running<'a> = Pin<Box<dyn Future<Output = (usize, BTreeSet<String>)> + 'a>>;

#[expect(clippy::too_many_lines, reason = "one loop: what Lambda does")]
fn play(case: Case) -> Figures {
    let sim = &Sim::new(case);
    let policy = &policy_in("report", r#""digest": {"enabled": false}"#);
    let invocation_of = |function, number: usize| Invocation {
        function,
        request_id: format!("invocation-{number}"),
        account: image_key().account,
        region: image_key().region,
        until: Clock::now(sim) + SignedDuration::from_millis(240_000),
    };
    let (mut invocations, mut next_sweep, mut looks) = (0, 0, 0);
    let mut running: FuturesUnordered<Running<'_>> = FuturesUnordered::new();
    let mut in_flight: BTreeMap<usize, BTreeMap<String, Waiting>> = BTreeMap::new();
    let mut taking_since = None;
    loop {
        let clock = sim.lock().now;
        assert!(
            clock < 40 * 24 * 3_600_000,
            "it never ends: {:?}",
            sim.lock().queue.len()
        );
        // The schedule, until all was reconciled.
        if clock >= next_sweep && sim.lock().left > 0 {
            next_sweep += SWEEP_EVERY;
            invocations += 1;
            let number = invocations;
            running.push(Box::pin(async move {
                let services = Sender {
                    sim,
                    invocation: number,
                };
                drop(sweep(&services, policy, &invocation_of("sweep", number), "{}").await);
                (number, BTreeSet::new())
            }));
        }
        // The mapping: a batch when it is full, or when the window is over.
        let workers = in_flight.len();
        let visible = sim
            .lock()
            .queue
            .range(..=(clock, u64::MAX))
            .take(case.queue.batch)
            .count();
        if visible > 0 && workers < INVOCATIONS {
            let since = *taking_since.get_or_insert(clock);
            if visible == case.queue.batch || clock >= since + WINDOW {
                taking_since = None;
                invocations += 1;
                let number = invocations;
                let mut taken = BTreeMap::new();
                let mut state = sim.lock();
                let mut chain = 0;
                for _ in 0..visible {
                    let ((_, seq), mut waiting) = state.queue.pop_first().unwrap();
                    waiting.receives += 1;
                    state.receives = state.receives.max(waiting.receives);
                    if waiting.receives > case.queue.max_receives {
                        state.given_up += 1;
                    } else if case.queue.cut.is_some_and(|cut| waiting.chain > cut) {
                        state.dropped += 1;
                    } else {
                        chain = chain.max(waiting.chain);
                        state.longest = state.longest.max(waiting.chain);
                        taken.insert(format!("{seq}"), waiting);
                    }
                }
                state.chains.insert(number, chain);
                if case.queue.back != Back::New {
                    let works = taken.values().map(|waiting: &Waiting| waiting.item.work.clone());
                    state.taken.insert(number, works.collect());
                }
                drop(state);
                let messages = taken.iter().map(|(id, waiting)| {
                    let mut message = testing::message(id, serde_json::to_string(&waiting.item).unwrap());
                    let receives = waiting.receives.to_string();
                    message
                        .attributes
                        .insert("ApproximateReceiveCount".to_owned(), receives);
                    message
                });
                let batch = testing::batch(messages.collect());
                in_flight.insert(number, taken);
                let worked = async move {
                    let services = Sender {
                        sim,
                        invocation: number,
                    };
                    let began = sim.lock().now;
                    let nothing = |_: &Event| Selection::Ignore("no events here");
                    let (answer, worked) =
                        work(&services, policy, nothing, &invocation_of("worker", number), batch).await;
                    assert!(sim.lock().now < began + TIMEOUT, "Lambda would have ended it");
                    sim.lock().looks += worked.looks.looked;
                    let failed = answer.batch_item_failures.into_iter();
                    (number, failed.map(|failure| failure.item_identifier).collect())
                };
                running.push(Box::pin(worked));
            }
        }
        // Running invocations go on as far as they can at this moment.
        let mut ended = false;
        while let Poll::Ready(Some((number, failed))) = running.poll_next_unpin(&mut Context::from_waker(Waker::noop()))
        {
            ended = true;
            let mut state = sim.lock();
            state.chains.remove(&number);
            state.taken.remove(&number);
            let hidden = match case.queue.back {
                Back::New => VISIBILITY,
                Back::Stays(hidden) => hidden,
            };
            for (id, waiting) in in_flight.remove(&number).unwrap_or_default() {
                if failed.contains(&id) {
                    let shows = state.now + hidden;
                    state.queue.insert((shows, id.parse().unwrap()), waiting);
                }
            }
        }
        if ended {
            continue;
        }
        let mut state = sim.lock();
        if running.is_empty() && state.queue.is_empty() && (state.left == 0 || looks == state.looks && clock > 0) {
            return Figures {
                never_looked_at: state.left,
                lost: state.given_up + state.dropped,
                looks: state.looks,
                calls: state.calls,
                seconds: state.done_at / 1000,
                longest: state.longest,
                receives: state.receives,
            };
        }
        looks = state.looks;
        // Then time passes until something happens.
        let timer = state.timers.peek().map(|Reverse((at, _))| *at);
        let shows = state
            .queue
            .keys()
            .next()
            .map(|(at, _)| *at)
            .filter(|_| in_flight.len() < INVOCATIONS);
        let window = taking_since.map(|since| since + WINDOW);
        let shows = shows.map(|at| if at <= clock { window.unwrap_or(at) } else { at });
        let sweep_at = (state.left > 0).then_some(next_sweep);
        let at = [timer, shows, sweep_at].into_iter().flatten().min().unwrap();
        state.now = at.max(clock);
        while let Some(Reverse((due, seq))) = state.timers.peek().copied() {
            if due > state.now {
                break;
            }
            state.timers.pop();
            if let Some(waker) = state.wakers.remove(&seq) {
                waker.wake();
            }
        }
    }
}

/// As it was: batches of a thousand, eight deliveries.
const LARGE: QueueCase = QueueCase {
    batch: 1000,
    max_receives: 8,
    cut: Some(16),
    back: Back::New,
};

/// As it is, and Lambda cuts chains all the same.
const CUT: QueueCase = QueueCase { cut: Some(16), ..OURS };

/// Work that was not begun shows again when the visibility timeout is over.
const STAYS: QueueCase = QueueCase {
    back: Back::Stays(VISIBILITY),
    ..OURS
};

/// As much as `ChangeMessageVisibility` can do: it shows again after the five minutes for which worker waits in trouble.
const SHOWN_AGAIN: QueueCase = QueueCase {
    back: Back::Stays(300_000),
    ..OURS
};

const fn case(repositories: usize, images: usize, look_ms: u64, most_calls: Option<u64>) -> Case {
    Case {
        repositories,
        images,
        look_ms,
        most_calls,
        lost: Some(20),
        queue: OURS,
    }
}

/// Those that every run of the tests plays.
const SMALL: [Case; 3] = [
    case(300, 100, 50, None),
    case(300, 100, 500, None),
    case(300, 100, 200, Some(20)),
];

/// Those that only `make update` plays: they take minutes.
const GREAT: [Case; 6] = [
    case(300, 100, 500, Some(8)),
    case(1000, 100, 200, None),
    case(1000, 100, 500, Some(8)),
    case(1, 200_000, 200, None),
    case(100, 10_000, 50, None),
    case(100, 10_000, 100, Some(40)),
];

/// Ways to give work back, on a registry in which all goes well and on one that refuses most calls.
const QUEUES: [(&str, QueueCase); 5] = [
    ("new message; 1,000 items, 8 deliveries, cut at 16 (before)", LARGE),
    ("new message; 20 items, 20 deliveries, cut at 16", CUT),
    ("stays in the queue for 30 minutes; 20 items, 20 deliveries", STAYS),
    ("stays in the queue for 5 minutes; 20 items, 20 deliveries", SHOWN_AGAIN),
    ("new message; 20 items, 20 deliveries, not cut (now)", OURS),
];

/// The cases that they are played on.
const QUEUES_ON: [Case; 2] = [case(1000, 100, 200, None), case(300, 100, 500, Some(8))];

impl Case {
    /// The least time in seconds: eight reconciles at a time, or as fast as ECR takes two calls for each.
    fn bound(&self) -> u64 {
        let images = (self.repositories * self.images) as u64;
        let by_looks = images * self.look_ms / 8000;
        self.most_calls.map_or(by_looks, |most| by_looks.max(2 * images / most))
    }

    fn ecr_takes(&self) -> String {
        self.most_calls
            .map_or_else(|| "all".to_owned(), |most| format!("{most} calls/s"))
    }

    fn row(&self) -> String {
        let figures = play(*self);
        assert_eq!((figures.lost, figures.never_looked_at), (0, 0), "{self:?} {figures:?}");
        assert!(
            figures.seconds >= self.bound(),
            "the bound is none: {self:?} {figures:?}"
        );
        let images = self.repositories * self.images;
        format!(
            "| {} × {} | {} s | {} | {} | {:.1} h | {:.1} h | {:.1} | {} thousand | {:.2} | {} | {} | {} |\n",
            self.repositories,
            self.images,
            Decimal(self.look_ms),
            self.ecr_takes(),
            figures.lost,
            hours(figures.seconds),
            hours(self.bound()),
            ratio(figures.seconds, self.bound()),
            figures.calls / 1000,
            ratio(figures.looks, images as u64),
            figures.longest,
            figures.receives,
            self.images * self.repositories.min(4),
        )
    }
}

struct Decimal(u64);

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", format!("{:.2}", ratio(self.0, 1000)).trim_end_matches('0'))
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn ratio(one: u64, of: u64) -> f64 {
    one as f64 / of as f64
}

fn hours(seconds: u64) -> f64 {
    ratio(seconds, 3600)
}

fn row_of_queue((name, queue): (&str, QueueCase), on: Case) -> String {
    let figures = play(Case { queue, ..on });
    // Until the last image was reconciled: of images that never were, there is none.
    let time = match figures.never_looked_at {
        0 => format!("{:.1} h", hours(figures.seconds)),
        _ => "–".to_owned(),
    };
    format!(
        "| {name} | {} × {}, {} | {} | {} | {time} | {:.1} h | {} | {} |\n",
        on.repositories,
        on.images,
        on.ecr_takes(),
        figures.lost,
        figures.never_looked_at,
        hours(on.bound()),
        figures.longest,
        figures.receives,
    )
}

const HEAD: &str = "| repositories × images | a reconcile takes | ECR takes | items lost | time | at least | ratio | calls | reconciles of an image | \
                    longest chain | most deliveries | images in memory |\n|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";

const QUEUES_HEAD: &str = "| work that was not begun | repositories × images, ECR takes | items lost | images not reconciled | time | at least | longest chain | \
                           most deliveries |\n|---|---|---:|---:|---:|---:|---:|---:|\n";

/// Puts a row into a table of the page, in place of the one whose first columns are the same.
fn put(page: &mut String, table: &str, head: &str, columns: usize, row: &str) {
    let (before, rest) = page.split_once(&format!("<!-- {table} -->\n")).unwrap();
    let (rows, after) = rest.split_once("<!-- end -->").unwrap();
    let name: String = row.split_inclusive('|').take(columns + 1).collect();
    let mut rows = if rows.is_empty() {
        head.to_owned()
    } else {
        rows.to_owned()
    };
    match rows.lines().find(|line| line.starts_with(&name)).map(str::to_owned) {
        Some(line) => rows = rows.replacen(&line, row.trim_end(), 1),
        None => rows.push_str(row),
    }
    *page = format!("{before}<!-- {table} -->\n{rows}<!-- end -->{after}");
}

#[test]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a switch of the tests, not configuration of the product; the figures are for the reader of the output"
)]
fn nothing_is_lost_at_any_scale() {
    let update = std::env::var("ECR_GUARD_UPDATE").unwrap_or_default();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/work-at-scale.md");
    let played = std::thread::scope(|scope| {
        let halves: Vec<Vec<Case>> = (0..2)
            .map(|half| SMALL.into_iter().skip(half).step_by(2).collect())
            .collect();
        let rows = |cases: Vec<Case>| cases.iter().map(Case::row).collect::<Vec<_>>();
        let threads: Vec<_> = halves.into_iter().map(|half| scope.spawn(move || rows(half))).collect();
        let mut rows: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap().into_iter())
            .collect();
        (0..SMALL.len())
            .filter_map(|number| rows[number % 2].next())
            .collect::<Vec<_>>()
    });
    let mut page = std::fs::read_to_string(file).unwrap();
    if update != "scale" {
        for row in &played {
            // The registry, the time of a reconcile, and the rate of ECR.
            let name: String = row.split_inclusive('|').take(4).collect();
            let line = page.lines().find(|line| line.starts_with(&name));
            let line = line.unwrap_or("<!-- end -->").to_owned();
            if update == "1" {
                let end = if line.starts_with('|') { "" } else { "\n<!-- end -->" };
                page = page.replacen(&line, &format!("{}{end}", row.trim_end()), 1);
            } else {
                assert_eq!(line, row.trim_end(), "run `make update-scale`");
            }
        }
        if update == "1" {
            std::fs::write(file, page).unwrap();
        }
        return;
    }
    // Each row is written when it is there: who has no time for all of them keeps those that were played.
    for row in played.into_iter().chain(GREAT.iter().map(Case::row)) {
        put(&mut page, "registries", HEAD, 3, &row);
        std::fs::write(file, &page).unwrap();
        println!("{row}most memory, with the model: {}", most_memory());
    }
    for row in QUEUES
        .into_iter()
        .flat_map(|queue| QUEUES_ON.map(|on| row_of_queue(queue, on)))
    {
        put(&mut page, "queues", QUEUES_HEAD, 2, &row);
        std::fs::write(file, &page).unwrap();
        println!("{row}");
    }
}

/// The most memory that this process had since this was last asked, as Linux says it.
fn most_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    // Counting begins anew; where it cannot, the figure is of all that was played so far.
    drop(std::fs::write("/proc/self/clear_refs", "5"));
    line.unwrap_or("not known").to_owned()
}
