//! Copies: what other regions have, what ECR says of it, and what the ledger remembers.

use std::collections::BTreeMap;

use super::{PUT, State, World, put};
use guard_core::{
    ids::{Digest, ImageKey, ImageRef, Region, RegistryKey, RepositoryKey},
    image::Image,
    replication::{
        backfill::{Backfill, BackfillStart},
        ledger::{BackfillFailure, BackfillRow, BackfillStatus, ReplicaRow, ReplicationRow},
        replica::CopyState,
    },
};
use guard_ports::{Clock as _, Page, PortError, Replication, ReplicationLedger, ReplicationWriter, Written};

/// The state of the world in addition to its registry.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    images: BTreeMap<(RepositoryKey, Digest), Image>,
    copies: BTreeMap<ImageKey, BTreeMap<Region, CopyState>>,
    backfills: Vec<Backfill>,
    backfill_failures: BTreeMap<String, Vec<BackfillFailure>>,
    backfill_start: Option<BackfillStart>,
    replica_rows: BTreeMap<ImageKey, ReplicaRow>,
    replication_rows: BTreeMap<(RepositoryKey, Region), ReplicationRow>,
    backfill_rows: BTreeMap<(RegistryKey, Region), BackfillRow>,
}

impl World {
    /// Puts an image into the registry of another region.
    pub fn push_elsewhere(&self, key: &ImageKey, image: Image) {
        let of = (RepositoryKey::of(key), key.digest.clone());
        self.lock().elsewhere.images.insert(of, image);
    }

    /// Sets how far ECR is with a copy of an image, by the registry that it is copied from.
    pub fn set_copy(&self, image: &ImageKey, to: &Region, state: CopyState) {
        let mut state_of = self.lock();
        let copies = state_of.elsewhere.copies.entry(image.clone()).or_default();
        copies.insert(to.clone(), state);
    }

    /// Sets the answer to the next requests for a backfill.
    pub fn set_backfill_start(&self, answer: BackfillStart) {
        self.lock().elsewhere.backfill_start = Some(answer);
    }

    /// Ends the backfills that run.
    pub fn end_backfills(&self, status: &BackfillStatus, failures: &[BackfillFailure]) {
        let mut state = self.lock();
        let elsewhere = &mut state.elsewhere;
        for backfill in elsewhere
            .backfills
            .iter_mut()
            .filter(|backfill| backfill.status.is_open())
        {
            backfill.status = status.clone();
            let failed = elsewhere.backfill_failures.entry(backfill.id.clone()).or_default();
            failed.extend(failures.iter().cloned());
        }
    }

    /// How many backfills there are.
    pub fn number_of_backfills(&self) -> usize {
        self.lock().elsewhere.backfills.len()
    }

    /// Writes the row of a copy as it is.
    pub fn remember_replica(&self, row: ReplicaRow) {
        self.lock().elsewhere.replica_rows.insert(row.image.clone(), row);
    }

    /// The row of a copy.
    pub fn replica_row_of(&self, image: &ImageKey) -> Option<ReplicaRow> {
        self.lock().elsewhere.replica_rows.get(image).cloned()
    }

    /// The row of a repository's copies in a region.
    pub fn replication_row_of(&self, key: &RepositoryKey, to: &Region) -> Option<ReplicationRow> {
        let of = (key.clone(), to.clone());
        self.lock().elsewhere.replication_rows.get(&of).cloned()
    }

    /// The row of the last backfill.
    pub fn backfill_row_of(&self, from: &RegistryKey, to: &Region) -> Option<BackfillRow> {
        let of = (from.clone(), to.clone());
        self.lock().elsewhere.backfill_rows.get(&of).cloned()
    }
}

fn found(state: &State, key: &RepositoryKey, image: &ImageRef) -> Option<Image> {
    let mut images = state.elsewhere.images.iter().filter(|((of, _), _)| of == key);
    let found = images.find(|((_, digest), entry)| match image {
        ImageRef::Digest(wanted) => digest == wanted,
        ImageRef::Tag(tag) => entry.tags.contains(tag),
    });
    found.map(|(_, image)| image.clone())
}

impl Replication for World {
    async fn copies(&self, image: &ImageKey) -> Result<Option<BTreeMap<Region, CopyState>>, PortError> {
        self.call("ecr:DescribeImageReplicationStatus", false, |state| {
            let copies = state.elsewhere.copies.get(image).cloned();
            let is_gone = copies
                .as_ref()
                .is_some_and(|copies| copies.values().any(|state| *state == CopyState::NoSuchImage));
            if is_gone {
                None
            } else {
                Some(copies.unwrap_or_default())
            }
        })
        .await
    }

    async fn image_in(&self, key: &RepositoryKey, image: &ImageRef) -> Result<Option<Image>, PortError> {
        self.call("ecr:DescribeImages", false, |state| found(state, key, image))
            .await
    }

    async fn backfills(&self) -> Result<Vec<Backfill>, PortError> {
        self.call("ecr:ListReplicationBackfills", false, |state| {
            state.elsewhere.backfills.clone()
        })
        .await
    }

    async fn backfill_failures(&self, id: &str, most: usize) -> Result<Vec<BackfillFailure>, PortError> {
        self.call("ecr:DescribeReplicationBackfillResults", false, |state| {
            let failures = state.elsewhere.backfill_failures.get(id).cloned().unwrap_or_default();
            failures.into_iter().take(most).collect()
        })
        .await
    }
}

impl ReplicationWriter for World {
    async fn start_backfill(&self, _: &RegistryKey, to: &Region) -> Result<BackfillStart, PortError> {
        let now = self.now();
        self.call("ecr:StartReplicationBackfill", true, |state| {
            if let Some(answer) = state.elsewhere.backfill_start.take() {
                return answer;
            }
            let runs = |backfill: &Backfill| backfill.to == *to && backfill.status.is_open();
            if state.elsewhere.backfills.iter().any(runs) {
                return BackfillStart::AnotherRuns;
            }
            let id = format!("backfill-{}", state.elsewhere.backfills.len() + 1);
            state.elsewhere.backfills.push(Backfill {
                id: id.clone(),
                to: to.clone(),
                status: BackfillStatus::Running,
                started_at: Some(now),
                failure: None,
            });
            BackfillStart::Started(id)
        })
        .await
    }
}

impl ReplicationLedger for World {
    async fn replica_row(&self, image: &ImageKey) -> Result<Option<ReplicaRow>, PortError> {
        self.call("dynamodb:GetItem", false, |state| {
            let row = state.elsewhere.replica_rows.get(image).cloned();
            state.read(keys_of_copy(image), row)
        })
        .await?
    }

    async fn write_replica_row(&self, row: &ReplicaRow) -> Result<Written, PortError> {
        self.call(PUT, false, |state| {
            put(&mut state.elsewhere.replica_rows, row.image.clone(), row, |row| {
                row.generation
            })
        })
        .await
    }

    async fn replica_rows(&self, key: &RepositoryKey, after: Option<&str>) -> Result<Page<ReplicaRow>, PortError> {
        self.call("dynamodb:Query", false, |state| {
            let rows = state.elsewhere.replica_rows.values();
            let of = rows.filter(|row| row.image.repository == key.repository && row.image.account == key.account);
            let size = state.page_size.unwrap_or(1000);
            let mut items: Vec<ReplicaRow> = of.cloned().collect();
            items.sort_by_key(|row| ReplicaRow::sort_key(&row.image));
            items.retain(|row| after.is_none_or(|after| ReplicaRow::sort_key(&row.image).as_str() > after));
            let more = items.len() > size;
            items.truncate(size);
            let last = items.last().map(|row| ReplicaRow::sort_key(&row.image));
            let page = Page {
                items,
                unreadable: Vec::new(),
                next: last.filter(|_| more),
            };
            state.sort_out(page, |row| keys_of_copy(&row.image))
        })
        .await
    }

    async fn replication_row(&self, key: &RepositoryKey, to: &Region) -> Result<Option<ReplicationRow>, PortError> {
        let of = (key.clone(), to.clone());
        self.call("dynamodb:GetItem", false, |state| {
            state.elsewhere.replication_rows.get(&of).cloned()
        })
        .await
    }

    async fn write_replication_row(&self, row: &ReplicationRow) -> Result<Written, PortError> {
        let of = (row.repository.clone(), row.to.clone());
        self.call(PUT, false, |state| {
            put(&mut state.elsewhere.replication_rows, of, row, |row| row.generation)
        })
        .await
    }

    async fn backfill_row(&self, from: &RegistryKey, to: &Region) -> Result<Option<BackfillRow>, PortError> {
        let of = (from.clone(), to.clone());
        self.call("dynamodb:GetItem", false, |state| {
            state.elsewhere.backfill_rows.get(&of).cloned()
        })
        .await
    }

    async fn write_backfill_row(&self, row: &BackfillRow) -> Result<Written, PortError> {
        let of = (row.from.clone(), row.to.clone());
        self.call(PUT, false, |state| {
            put(&mut state.elsewhere.backfill_rows, of, row, |row| row.generation)
        })
        .await
    }
}

fn keys_of_copy(image: &ImageKey) -> (String, String) {
    (ReplicaRow::partition_key(image), ReplicaRow::sort_key(image))
}
