//! Work that an invocation did not begin, or could not do for trouble at AWS, goes back into its queue.

use std::{collections::BTreeMap, time::Duration};

use super::jobs::{Job, Task};
use guard_core::{
    ids::RepositoryName,
    work::{MAX_HOPS, MAX_IMAGES, WorkItem},
};
use guard_engine::sweep::{ImageLook, Sweep, again};
use guard_ports::Queue;

/// The result of putting back.
#[derive(Default)]
pub(super) struct PutBack {
    /// How many messages were put back.
    pub(super) messages: u64,
    /// Those that stay in the queue as they are.
    pub(super) failed: Vec<String>,
}

/// Leaves work that was not begun to a later invocation. It is put into its queue anew, so that it does not count as a failure;
/// work of Inspector's events is put together first. Work that cannot be put back, or was put back too often, stays in the
/// queue as it is.
pub(super) async fn put_back(
    queue: &impl Queue,
    sweep_of: impl Fn(&Job) -> Sweep,
    jobs: Vec<Job>,
    hidden_for: Duration,
) -> PutBack {
    let mut put_back = PutBack::default();
    let mut messages: Vec<(WorkItem, Vec<String>)> = Vec::new();
    let mut found: BTreeMap<RepositoryName, Vec<Job>> = BTreeMap::new();
    for job in jobs {
        if job.hops >= MAX_HOPS {
            put_back.failed.extend(job.messages);
            continue;
        }
        let sweep = sweep_of(&job);
        match &job.task {
            Task::Work(work) => messages.push((sweep.item(work.clone()), job.messages)),
            Task::Look { key, .. } => found.entry(key.repository.clone()).or_default().push(job),
        }
    }
    for (repository, jobs) in found {
        for jobs in jobs.chunks(MAX_IMAGES) {
            let images: Vec<ImageLook> = jobs
                .iter()
                .filter_map(|job| match &job.task {
                    Task::Look { image, .. } => Some(image.clone()),
                    Task::Work(_) => None,
                })
                .collect();
            let Some(most) = jobs.iter().max_by_key(|job| job.hops) else {
                continue;
            };
            let item = sweep_of(most).item(again(repository.clone(), &images));
            messages.push((item, jobs.iter().flat_map(|job| job.messages.clone()).collect()));
        }
    }
    let items: Vec<WorkItem> = messages.iter().map(|(item, _)| item.clone()).collect();
    if items.is_empty() {
        return put_back;
    }
    let messages = messages.into_iter().flat_map(|(_, messages)| messages);
    match queue.send(&items, hidden_for).await {
        Ok(()) => put_back.messages = messages.count() as u64,
        Err(_) => put_back.failed.extend(messages),
    }
    put_back
}
