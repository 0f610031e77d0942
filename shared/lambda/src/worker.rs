//! A batch of the workers' queue: what is in it, each thing once, and what must be delivered again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

pub use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    entry::{Invocation, Selection},
    error::HandlerError,
    report,
};
use guard_core::{
    finding::Epss,
    ids::{Digest, ImageRef, RegistryKey, RepositoryKey, RepositoryName},
    policy::Policy,
    text,
    work::{MAX_HOPS, MAX_IMAGES, Work, WorkItem},
};
use guard_engine::{
    reconcile::image::Hints,
    sweep::{Failures, ImageLook, Looks, MAX_TROUBLE, Progress, Sweep, SweepError, TROUBLE_WAIT, Worker, again},
};
use guard_events::Event;
use guard_ports::{Clock as _, Queue, Services};

/// What came of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Worked {
    /// How many messages there were.
    pub messages: u64,
    /// How many different things they asked for.
    pub jobs: u64,
    /// How many messages stay in the queue.
    pub failed: u64,
    /// How many of those do not say what they are about.
    pub poison: u64,
    /// How many messages are not for this registry.
    pub ignored: u64,
    /// What was looked at.
    #[serde(flatten)]
    pub looks: Looks,
    /// How many messages were put into the queue anew, because the time was over or AWS is in trouble.
    pub put_back: u64,
    /// The most hops that an item has made; `None`: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_hops: Option<u32>,
    /// How often the message was delivered that was delivered most; `None`: SQS does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_receives: Option<u32>,
    /// How old the oldest sweep is of which there was a part, whatever became of it; `None`: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sweep_age_seconds: Option<u64>,
    /// The first errors, at most [`MAX_ERRORS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// The most errors that a line of the log tells of; the rest are counted.
pub const MAX_ERRORS: usize = 5;

/// So many things are done at the same time. ECR publishes no rates for what a sweep calls (its quotas page names those of pushes and
/// pulls only): a few at a time leave room for everybody else.
const CONCURRENCY: usize = 4;

/// What failed for trouble at AWS is put back, and tried again five minutes later, until it has made so many hops; then it stays in the
/// queue, half an hour each time, and each delivery counts.
const MAX_HOPS_OF_TROUBLE: u32 = 20;

/// Something to do, and the messages that asked for it.
struct Job {
    messages: Vec<String>,
    task: Task,
    /// The sweep that it is of, and whose turns are due in it; an event has none.
    of: Option<PartOfSweep>,
    /// How many invocations led to it.
    hops: u32,
}

#[derive(Debug, Clone, Copy)]
struct PartOfSweep {
    began: Timestamp,
    since: Option<Timestamp>,
}

impl PartOfSweep {
    fn of(item: &WorkItem) -> Self {
        Self {
            began: item.sweep,
            since: item.since,
        }
    }

    /// The last sweep before it. Where that is not known, the turns of its own hour are due.
    fn before(self) -> Option<Timestamp> {
        let hour = SignedDuration::from_hours(1);
        self.since.or_else(|| self.began.checked_sub(hour).ok())
    }

    /// Both in one: the turns of all hours of both.
    fn and(self, other: Self) -> Self {
        Self {
            began: self.began.max(other.began),
            since: self.before().min(other.before()),
        }
    }
}

#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each event or message, and it is moved once"
)]
enum Task {
    Work(Work),
    Look { key: RepositoryKey, image: ImageLook },
}

impl Task {
    /// Takes a further item into itself, if it asks for the same.
    fn merge(&mut self, other: &Work) -> bool {
        let Self::Work(work) = self else { return false };
        if let (
            Work::Repository {
                repository,
                after,
                again,
                copies,
                listed,
                waited,
            },
            Work::Repository {
                repository: other_repository,
                after: other_after,
                again: other_again,
                copies: other_copies,
                listed: other_listed,
                waited: other_waited,
            },
        ) = (&mut *work, other)
        {
            let same = (&*repository, &*after, *again, *copies, *waited)
                == (
                    other_repository,
                    other_after,
                    *other_again,
                    *other_copies,
                    *other_waited,
                );
            if same && listed != other_listed {
                // What was known of the settings was known at different times: they are looked at.
                *listed = None;
            }
            return same;
        }
        work == other
    }
}

/// Works off a batch, and writes its line.
pub async fn work(
    services: &impl Services,
    policy: &Policy,
    select: impl Fn(&Event) -> Selection,
    invocation: &Invocation,
    batch: SqsEvent,
) -> (SqsBatchResponse, Worked) {
    let registry = RegistryKey {
        account: invocation.account.clone(),
        region: invocation.region.clone(),
    };
    let mut worked = Worked {
        messages: batch.records.len() as u64,
        ..Worked::default()
    };
    let mut failed = BTreeSet::new();
    let mut errors = Vec::new();
    let jobs = jobs(select, &registry, batch, &mut worked, &mut failed, &mut errors);
    worked.jobs = jobs.len() as u64;
    worked.poison = errors.len() as u64;

    let now = services.clock().now();
    let parts = || jobs.iter().filter_map(|job| job.of);
    let age = parts().map(|part| now.duration_since(part.began).as_secs()).max();
    worked.sweep_age_seconds = age.map(|age| u64::try_from(age).unwrap_or_default());
    worked.item_hops = jobs.iter().map(|job| job.hops).max();

    let trouble = AtomicUsize::new(0);
    let sweep_of = &|job: &Job| Sweep {
        registry: registry.clone(),
        began: job.of.map_or_else(|| services.clock().now(), |part| part.began),
        since: job.of.and_then(|part| part.since),
        hops: job.hops,
        until: invocation.until,
    };
    let run = async |job: Job| {
        let done = if trouble.load(Ordering::Relaxed) >= MAX_TROUBLE || services.clock().now() >= invocation.until {
            Done::NotBegun
        } else {
            let actor = job.messages.first().map_or("", String::as_str);
            let worker = Worker {
                services,
                policy,
                sweep: &sweep_of(&job),
                actor,
            };
            carry_out(&worker, &job.task).await
        };
        if let Done::Tried(looks, failures) = &done {
            let mut all = failures.iter().chain(&looks.handed_on);
            if looks.in_trouble {
                trouble.store(MAX_TROUBLE, Ordering::Relaxed);
            } else if all.any(SweepError::is_trouble) && looks.looked == 0 {
                trouble.fetch_add(1, Ordering::Relaxed);
            } else {
                trouble.store(0, Ordering::Relaxed);
            }
        }
        (job, done)
    };
    let mut done = stream::iter(jobs).map(run).buffer_unordered(CONCURRENCY);
    let (mut not_begun, mut later) = (Vec::new(), Vec::new());
    while let Some((job, done)) = done.next().await {
        match done {
            Done::NotBegun => not_begun.push(job),
            Done::Tried(mut looks, failures) => {
                let is_trouble = failures.iter().all(SweepError::is_trouble);
                if !failures.is_empty() && is_trouble && job.hops < MAX_HOPS_OF_TROUBLE {
                    later.push(job);
                } else if !failures.is_empty() {
                    failed.extend(job.messages);
                }
                let all = failures.into_iter().chain(looks.handed_on.drain(..));
                errors.extend(all.map(HandlerError::Sweep));
                worked.looks.add(&looks);
            }
        }
    }
    let hidden_for = if trouble.load(Ordering::Relaxed) >= MAX_TROUBLE {
        TROUBLE_WAIT
    } else {
        Duration::ZERO
    };
    put_back(
        services.queue(),
        sweep_of,
        not_begun,
        hidden_for,
        &mut worked,
        &mut failed,
    )
    .await;
    put_back(
        services.queue(),
        sweep_of,
        later,
        TROUBLE_WAIT,
        &mut worked,
        &mut failed,
    )
    .await;
    worked.failed = failed.len() as u64;
    let now = services.clock().now();
    for error in &errors {
        report::write_failure(invocation.function, error, now);
    }
    worked.errors = errors.iter().take(MAX_ERRORS).map(ToString::to_string).collect();
    report::write_worked(invocation.function, &invocation.request_id, &worked, now);
    let mut answer = SqsBatchResponse::default();
    answer.set_failures(failed);
    (answer, worked)
}

/// What the messages ask for, each thing once. What cannot be understood is failed.
fn jobs(
    select: impl Fn(&Event) -> Selection,
    registry: &RegistryKey,
    batch: SqsEvent,
    worked: &mut Worked,
    failed: &mut BTreeSet<String>,
    errors: &mut Vec<HandlerError>,
) -> Vec<Job> {
    let mut work: Vec<Job> = Vec::new();
    let mut looks: BTreeMap<(RepositoryKey, Digest), Found> = BTreeMap::new();
    for message in batch.records {
        // An answer with an empty identifier fails the whole batch (developer guide of Lambda, "Implementing partial batch responses"): that
        // is what becomes of a message that cannot be named, and does not happen.
        let id = message.message_id.unwrap_or_default();
        let receives = message.attributes.get("ApproximateReceiveCount");
        worked.item_receives = worked
            .item_receives
            .max(receives.and_then(|number| number.parse::<u32>().ok()));
        match read(message.body.as_deref(), registry, &select) {
            Ok(Asked::Work(WorkItem {
                work: Work::Findings { repository, images },
                hops,
                ..
            })) => {
                for image in images.into_iter().map(ImageLook::from) {
                    let key = RepositoryKey {
                        account: registry.account.clone(),
                        region: registry.region.clone(),
                        repository: repository.clone(),
                    };
                    let found = looks.entry((key, image.digest)).or_default();
                    found.messages.push(id.clone());
                    found.hops = found.hops.max(hops);
                    merge(&mut found.hints, image.hints);
                }
            }
            Ok(Asked::Work(item)) => {
                let part = PartOfSweep::of(&item);
                let same = work.iter_mut().position(|job| job.task.merge(&item.work));
                match same.and_then(|same| work.get_mut(same)) {
                    Some(job) => {
                        job.messages.push(id);
                        job.of = job.of.map(|of| of.and(part));
                        job.hops = job.hops.max(item.hops);
                    }
                    None => work.push(Job {
                        messages: vec![id],
                        of: Some(part),
                        hops: item.hops,
                        task: Task::Work(item.work),
                    }),
                }
            }
            Ok(Asked::Look(key, digest, hints)) => {
                let found = looks.entry((key, digest)).or_default();
                found.messages.push(id);
                merge(&mut found.hints, hints);
            }
            Ok(Asked::Nothing) => worked.ignored += 1,
            Err(error) => {
                let text = format!("message {}: {error}", text::line(&id, 100));
                errors.push(HandlerError::Unusable(text));
                failed.insert(id);
            }
        }
    }
    let looks = looks.into_iter().map(|((key, digest), found)| Job {
        messages: found.messages,
        of: None,
        hops: found.hops,
        task: Task::Look {
            key,
            image: ImageLook {
                digest,
                hints: found.hints,
                indexes_read_at: None,
            },
        },
    });
    looks.chain(work).collect()
}

/// What several messages say of one image.
#[derive(Default)]
struct Found {
    messages: Vec<String>,
    hints: Hints,
    hops: u32,
}

/// What a message asks for.
enum Asked {
    Work(WorkItem),
    Look(RepositoryKey, Digest, Hints),
    Nothing,
}

fn read(
    body: Option<&str>,
    registry: &RegistryKey,
    select: impl Fn(&Event) -> Selection,
) -> Result<Asked, HandlerError> {
    #[derive(Deserialize)]
    struct Form {
        #[serde(default)]
        schema: Option<serde::de::IgnoredAny>,
    }
    let body = body.ok_or_else(|| HandlerError::Unusable("a message without a body".to_owned()))?;
    let is_item = serde_json::from_str::<Form>(body).is_ok_and(|form| form.schema.is_some());
    if is_item {
        let item = serde_json::from_str::<WorkItem>(body);
        let item = item.map_err(|error| HandlerError::Unusable(format!("a work item: {error}")))?;
        let ours = item.account == registry.account && item.region == registry.region;
        return Ok(if ours { Asked::Work(item) } else { Asked::Nothing });
    }
    let event = guard_events::parse(body)?;
    let (account, region) = event.registry();
    if (account, region) != (&registry.account, &registry.region) {
        return Ok(Asked::Nothing);
    }
    Ok(match select(&event) {
        Selection::Look {
            repository,
            image: ImageRef::Digest(digest),
            hints,
        } => {
            let key = RepositoryKey {
                account: account.clone(),
                region: region.clone(),
                repository,
            };
            Asked::Look(key, digest, hints)
        }
        // A tag may be another image's by now.
        Selection::Look {
            image: ImageRef::Tag(_),
            ..
        }
        | Selection::Ignore(_) => Asked::Nothing,
    })
}

/// What several events say of one image.
fn merge(known: &mut Hints, more: Hints) {
    for epss in more.epss {
        let same = |other: &&mut Epss| other.vulnerability == epss.vulnerability;
        match known.epss.iter_mut().find(same) {
            Some(other) => *other = epss,
            None => known.epss.push(epss),
        }
    }
    known.announced = more.announced.or(known.announced.take());
    known.arrival = more.arrival.or(known.arrival.take());
    known.found |= more.found;
}

#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each event or message, and it is moved once"
)]
enum Done {
    NotBegun,
    Tried(Looks, Failures),
}

/// Leaves what was not begun to a later invocation. It is put into its queue anew, so that it does not count as something that failed;
/// what Inspector's events were about is put together first. What cannot be put back, or was too often, stays in the queue as it is.
async fn put_back(
    queue: &impl Queue,
    sweep_of: impl Fn(&Job) -> Sweep,
    jobs: Vec<Job>,
    hidden_for: Duration,
    worked: &mut Worked,
    failed: &mut BTreeSet<String>,
) {
    let mut messages: Vec<(WorkItem, Vec<String>)> = Vec::new();
    let mut found: BTreeMap<RepositoryName, Vec<Job>> = BTreeMap::new();
    for job in jobs {
        if job.hops >= MAX_HOPS {
            failed.extend(job.messages);
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
        return;
    }
    let messages = messages.into_iter().flat_map(|(_, messages)| messages);
    match queue.send(&items, hidden_for).await {
        Ok(()) => worked.put_back += messages.count() as u64,
        Err(_) => failed.extend(messages),
    }
}

async fn carry_out(worker: &Worker<'_, impl Services>, task: &Task) -> Done {
    let (looks, failures) = match task {
        Task::Look { key, image } => worker.look_at_images(key, vec![image.clone()], Progress::None).await,
        Task::Work(work) => worker.work(work).await,
    };
    Done::Tried(looks, failures)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod scale;
