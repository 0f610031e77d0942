//! Workloads, and the memory of who uses images.

use std::collections::BTreeMap;

use jiff::Timestamp;

use guard_core::{
    ids::{AccountId, ImageKey, Region, RegistryKey, RepositoryKey, Tag},
    uses::{IndexState, KnownImages, KnownPart, RefusedPull, SourceKind, UseRow, WorkloadRules, WorkloadSource},
};
use guard_ports::{FamilyRows, ListedWorkloads, Page, PortError, Retry, Seen, UseLedger, Workloads, Written};

use super::{PUT, Planted, World, put};

/// The state of workloads in the world.
#[derive(Debug, Default)]
pub(super) struct Index {
    uses: BTreeMap<ImageKey, UseRow>,
    states: BTreeMap<(AccountId, Region), IndexState>,
    known: BTreeMap<(AccountId, Region, u8), KnownPart>,
    refused: BTreeMap<(ImageKey, String), RefusedPull>,
    /// The running workloads.
    running: BTreeMap<WorkloadSource, Vec<Seen>>,
    /// Lists that fail after half of their workloads, and how.
    failing: BTreeMap<WorkloadSource, PortError>,
    clusters: Vec<String>,
    /// Who acts now, and what each of them has read and written.
    acting: usize,
    attempts: BTreeMap<usize, Attempt>,
    taken: Vec<Taken>,
}

/// The index and the claim of one attempt.
#[derive(Debug, Default)]
struct Attempt {
    asked: BTreeMap<ImageKey, (u64, Vec<UseRow>)>,
    state: Option<(Timestamp, Option<IndexState>)>,
    claimed: BTreeMap<ImageKey, u64>,
}

/// An image that was taken away, and the workloads that the function knew of.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The image: it was archived, or lost a tag that is no mark.
    pub image: ImageKey,
    /// The tag that it lost, if it was not archived.
    pub tag: Option<Tag>,
    /// When.
    pub at: Timestamp,
    /// The tick at which its use rows were last asked for, and all use rows as they were then.
    pub asked: Option<(u64, Vec<UseRow>)>,
    /// When the state of the index was last asked for, and what it was.
    pub state: Option<(Timestamp, Option<IndexState>)>,
    /// The tick at which its row was last written.
    pub claimed: Option<u64>,
}

impl Index {
    fn attempt(&mut self) -> &mut Attempt {
        self.attempts.entry(self.acting).or_default()
    }

    /// The use rows of these images are asked for.
    fn asked(&mut self, images: &[ImageKey], tick: u64) -> Vec<UseRow> {
        let all: Vec<UseRow> = self.uses.values().cloned().collect();
        let asked = images.iter().map(|image| (image.clone(), (tick, all.clone())));
        self.attempt().asked.extend(asked);
        let rows = images.iter().filter_map(|image| self.uses.get(image));
        rows.cloned().collect()
    }

    /// The row of an image was written.
    pub(super) fn claims(&mut self, image: &ImageKey, tick: u64) {
        self.attempt().claimed.insert(image.clone(), tick);
    }

    /// An image is taken away.
    pub(super) fn takes(&mut self, image: &ImageKey, tag: Option<&Tag>, at: Timestamp) {
        let attempt = self.attempt();
        let taken = Taken {
            image: image.clone(),
            tag: tag.cloned(),
            at,
            asked: attempt.asked.get(image).cloned(),
            state: attempt.state.clone(),
            claimed: attempt.claimed.get(image).copied(),
        };
        self.taken.push(taken);
    }
}

impl super::State {
    fn asked_uses(&mut self, images: &[ImageKey]) -> Vec<UseRow> {
        let tick = self.ticks;
        let mut rows = self.index.asked(images, tick);
        rows.retain(|_| self.left_out != Some(Planted::NoUses));
        rows
    }
}

impl World {
    /// From now on this is who acts: what is read and written is noted for the number.
    pub fn acts(&self, number: usize) {
        self.lock().index.acting = number;
    }

    /// The images that were taken away, and what was known of their workloads.
    pub fn taken(&self) -> Vec<Taken> {
        self.lock().index.taken.clone()
    }

    /// The present, in the ticks of calls.
    pub fn ticks(&self) -> u64 {
        self.lock().ticks
    }

    /// From now on these workloads are there, of what a source lists.
    pub fn set_workloads(&self, source: &WorkloadSource, seen: Vec<Seen>) {
        self.lock().index.running.insert(source.clone(), seen);
    }

    /// From now on a list ends half way with this code; `None`: it does not.
    pub fn fail_workloads(&self, source: &WorkloadSource, code: Option<&str>) {
        let mut state = self.lock();
        match code {
            Some(code) => {
                let error = PortError {
                    retry: if code.starts_with("AccessDenied") {
                        Retry::Never
                    } else {
                        Retry::Later
                    },
                    operation: operation(&source.kind),
                    code: code.to_owned(),
                    message: String::new(),
                    request_id: None,
                };
                state.index.failing.insert(source.clone(), error);
            }
            None => {
                state.index.failing.remove(source);
            }
        }
    }

    /// The account has these EKS clusters.
    pub fn set_clusters(&self, names: &[&str]) {
        self.lock().index.clusters = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// The use rows, as they are.
    pub fn use_rows(&self) -> Vec<UseRow> {
        self.lock().index.uses.values().cloned().collect()
    }

    /// The remembered pulls that were refused.
    pub fn refused_pulls(&self) -> Vec<RefusedPull> {
        self.lock().index.refused.values().cloned().collect()
    }

    /// Puts a use row there, whatever is there.
    pub fn set_use_row(&self, row: UseRow) {
        self.lock().index.uses.insert(row.image.clone(), row);
    }

    /// The state of a region's index.
    pub fn index_state_of(&self, account: &AccountId, region: &Region) -> Option<IndexState> {
        self.lock()
            .index
            .states
            .get(&(account.clone(), region.clone()))
            .cloned()
    }

    /// The index of a region is complete since this time, by these rules.
    pub fn complete_index(&self, rules: &WorkloadRules, account: &AccountId, region: &Region, at: Timestamp) {
        let mut state = self.lock();
        let of = (account.clone(), region.clone());
        let index = state.index.states.entry(of);
        let index = index.or_insert_with(|| IndexState::new(account.clone(), region.clone()));
        for source in rules.listed(account, region) {
            index.completed(&source, 0, at);
        }
        index.generation += 1;
    }
}

fn operation(kind: &SourceKind) -> &'static str {
    match kind {
        SourceKind::Ecs => "ecs:ListTasks",
        SourceKind::Lambda => "lambda:ListFunctions",
        SourceKind::Batch => "batch:DescribeJobDefinitions",
        SourceKind::Kubernetes(_) => "lambda:InvokeFunction",
    }
}

impl Workloads for World {
    async fn list(&self, source: &WorkloadSource, known: &KnownImages) -> ListedWorkloads {
        let listed = self.call(operation(&source.kind), false, |state| {
            let mut seen = state.index.running.get(source).cloned().unwrap_or_default();
            let failures: Vec<PortError> = state.index.failing.get(source).cloned().into_iter().collect();
            if !failures.is_empty() {
                seen.truncate(seen.len() / 2);
            }
            let is_told = state.left_out != Some(Planted::HalfAList);
            ListedWorkloads {
                seen,
                known: known.clone(),
                failures: failures.into_iter().filter(|_| is_told).collect(),
                as_of: None,
            }
        });
        listed.await.unwrap_or_else(|failure| ListedWorkloads {
            seen: Vec::new(),
            known: known.clone(),
            failures: vec![failure],
            as_of: None,
        })
    }

    async fn clusters(&self, _: &AccountId) -> Result<Vec<String>, PortError> {
        self.call("eks:ListClusters", false, |state| state.index.clusters.clone())
            .await
    }
}

fn page(rows: impl Iterator<Item = UseRow>, after: Option<&str>, size: usize) -> Page<UseRow> {
    let mut items: Vec<UseRow> = rows.collect();
    items.sort_by_key(|row| UseRow::sort_key(&row.image));
    items.retain(|row| after.is_none_or(|after| UseRow::sort_key(&row.image).as_str() > after));
    let more = items.len() > size;
    items.truncate(size);
    let last = items.last().map(|row| UseRow::sort_key(&row.image));
    Page {
        items,
        unreadable: Vec::new(),
        next: last.filter(|_| more),
    }
}

impl UseLedger for World {
    async fn uses_of(&self, images: &[ImageKey]) -> Result<Vec<UseRow>, PortError> {
        self.call("dynamodb:BatchGetItem", false, |state| state.asked_uses(images))
            .await
    }

    async fn rows_and_uses(
        &self,
        rows: &[ImageKey],
        uses: &[ImageKey],
        registry: &RegistryKey,
    ) -> Result<FamilyRows, PortError> {
        let of = (registry.account.clone(), registry.region.clone());
        self.call("dynamodb:BatchGetItem", false, |state| {
            let rows = state.rows_of("dynamodb:BatchGetItem", rows)?;
            let found = state.index.states.get(&of).cloned();
            state.index.attempt().state = Some((state.time(), found.clone()));
            Ok(FamilyRows {
                rows,
                uses: state.asked_uses(uses),
                state: found,
            })
        })
        .await?
    }

    async fn uses(&self, account: &AccountId, after: Option<&str>) -> Result<Page<UseRow>, PortError> {
        self.call("dynamodb:Query", false, |state| {
            let size = state.page_size.unwrap_or(1000);
            let rows = state.index.uses.values().filter(|row| row.image.account == *account);
            page(rows.cloned(), after, size)
        })
        .await
    }

    async fn uses_in(&self, key: &RepositoryKey, after: Option<&str>) -> Result<Page<UseRow>, PortError> {
        self.call("dynamodb:Query", false, |state| {
            let size = state.page_size.unwrap_or(1000);
            let rows = state.index.uses.values();
            let rows = rows.filter(|row| RepositoryKey::of(&row.image) == *key);
            page(rows.cloned(), after, size)
        })
        .await
    }

    async fn write_use(&self, row: &UseRow) -> Result<Written, PortError> {
        self.call(PUT, false, |state| {
            put(&mut state.index.uses, row.image.clone(), row, |row| row.generation)
        })
        .await
    }

    async fn index_state(&self, account: &AccountId, region: &Region) -> Result<Option<IndexState>, PortError> {
        let of = (account.clone(), region.clone());
        self.call("dynamodb:GetItem", false, |state| {
            let found = state.index.states.get(&of).cloned();
            state.index.attempt().state = Some((state.time(), found.clone()));
            found
        })
        .await
    }

    async fn index_states(&self, account: &AccountId) -> Result<Vec<IndexState>, PortError> {
        self.call("dynamodb:Query", false, |state| {
            let states = state.index.states.values();
            states.filter(|state| state.account == *account).cloned().collect()
        })
        .await
    }

    async fn write_index_state(&self, index: &IndexState, _: Timestamp) -> Result<Written, PortError> {
        let of = (index.account.clone(), index.region.clone());
        self.call(PUT, false, |state| {
            put(&mut state.index.states, of, index, |index| index.generation)
        })
        .await
    }

    async fn known(&self, account: &AccountId, region: &Region) -> Result<Vec<KnownPart>, PortError> {
        self.call("dynamodb:Query", false, |state| {
            let parts = state.index.known.values();
            let of = |part: &&KnownPart| part.account == *account && part.region == *region;
            parts.filter(of).cloned().collect()
        })
        .await
    }

    async fn write_known(&self, part: &KnownPart) -> Result<Written, PortError> {
        let of = (part.account.clone(), part.region.clone(), part.part);
        self.call(PUT, false, |state| {
            put(&mut state.index.known, of, part, |part| part.generation)
        })
        .await
    }

    async fn refused_pull(&self, image: &ImageKey, who: &str) -> Result<Option<RefusedPull>, PortError> {
        let of = (image.clone(), who.to_owned());
        self.call("dynamodb:GetItem", false, |state| state.index.refused.get(&of).cloned())
            .await
    }

    async fn write_refused_pull(&self, refused: &RefusedPull) -> Result<Written, PortError> {
        let of = (refused.image.clone(), refused.who.clone());
        self.call(PUT, false, |state| {
            put(&mut state.index.refused, of, refused, |refused| refused.generation)
        })
        .await
    }
}
