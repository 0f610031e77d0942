//! From what was seen to what is to be written.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{MAX_WORKLOADS, MAX_WORKLOADS_BYTES, UseRow, UseRowSchema, Workload, WorkloadSource};
use crate::ids::ImageKey;

/// The uses that one run, one event or one report of a cluster has seen. Their order plays no role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The workloads of each image.
    pub uses: BTreeMap<ImageKey, BTreeSet<Workload>>,
    /// The lists that were read to their end: a use that stood in one of them before and was not seen now has ended. Uses of
    /// all other lists are added, and none is taken away.
    pub complete: BTreeSet<WorkloadSource>,
}

impl Snapshot {
    /// Takes a workload into account.
    pub fn add(&mut self, image: ImageKey, workload: Workload) {
        self.uses.entry(image).or_default().insert(workload);
    }
}

/// The rows to write: those that say something else than before. `old`: the rows of all images that the snapshot may change.
///
/// To merge the same once more changes nothing.
pub fn merge(old: &[UseRow], seen: &Snapshot, now: Timestamp) -> Vec<UseRow> {
    let known: BTreeMap<&ImageKey, &UseRow> = old.iter().map(|row| (&row.image, row)).collect();
    let images: BTreeSet<&ImageKey> = known.keys().copied().chain(seen.uses.keys()).collect();
    let none = BTreeSet::new();
    let changes = images.into_iter().filter_map(|image| {
        let uses = seen.uses.get(image).unwrap_or(&none);
        merge_one(image, known.get(image).copied(), uses, &seen.complete, now)
    });
    changes.collect()
}

/// The row of one image; `None`: nothing changes.
fn merge_one(
    image: &ImageKey,
    old: Option<&UseRow>,
    seen: &BTreeSet<Workload>,
    complete: &BTreeSet<WorkloadSource>,
    now: Timestamp,
) -> Option<UseRow> {
    let standing = old.filter(|row| row.gone_at.is_none());
    let before = standing.map_or(&[][..], |row| &row.workloads);
    let kept = before.iter().filter(|workload| !complete.contains(&workload.source));
    let mut workloads: BTreeSet<Workload> = seen.iter().cloned().collect();
    workloads.extend(kept.cloned());
    let mut more: BTreeMap<WorkloadSource, u64> = standing
        .iter()
        .flat_map(|row| row.more.iter().cloned())
        .filter(|(source, _)| !complete.contains(source))
        .collect();
    if workloads.is_empty() && more.is_empty() {
        // The last workloads stay in the row, for the words.
        return standing.map(|row| UseRow {
            changed_at: now,
            gone_at: Some(now),
            generation: row.generation.saturating_add(1),
            ..row.clone()
        });
    }
    let mut listed: Vec<Workload> = workloads.into_iter().collect();
    let mut omitted: BTreeMap<WorkloadSource, u64> = BTreeMap::new();
    for workload in listed.split_off(fitting(&listed)) {
        let number = omitted.entry(workload.source).or_default();
        *number = number.saturating_add(1);
    }
    for (source, number) in omitted {
        // For a list that was not read to its end, these may be among those that were counted before.
        let counted = more.entry(source).or_default();
        *counted = number.max(*counted);
    }
    let more: Vec<(WorkloadSource, u64)> = more.into_iter().collect();
    if standing.is_some_and(|row| row.workloads == listed && row.more == more) {
        return None;
    }
    Some(UseRow {
        schema: UseRowSchema::V1,
        image: image.clone(),
        workloads: listed,
        more,
        changed_at: now,
        since: standing.map_or(now, |row| row.since),
        gone_at: None,
        generation: old.map_or(0, |row| row.generation).saturating_add(1),
    })
}

/// How many of these workloads a row has room for.
fn fitting(workloads: &[Workload]) -> usize {
    let mut bytes = 0;
    let fits = workloads.iter().take(MAX_WORKLOADS).take_while(|workload| {
        bytes += serde_json::to_vec(workload).map_or(usize::MAX / 2, |json| json.len());
        bytes <= MAX_WORKLOADS_BYTES
    });
    fits.count()
}
