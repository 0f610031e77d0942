//! A batch of the workers' queue: what is in it, each thing once, and what must be delivered again.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    entry::{Invocation, Selection},
    error::HandlerError,
    report,
};
use crate::{
    domain::{
        alert::text,
        finding::Epss,
        ids::{Digest, ImageRef},
        policy::Policy,
        registry::RegistryKey,
        repository::ledger::RepositoryKey,
        work::{Work, WorkItem},
    },
    events::{self, Event},
    ports::{
        Clock, Keys, Ledger, Listing, Notifier, Queue, Registry, RegistryWriter, Replication, ReplicationLedger,
        ReplicationWriter, Repositories, RepositoryLedger, RepositoryWriter, Scanner, SweepLedger,
    },
    reconcile::Hints,
    sweep::{Failures, ImageLook, Looks, Sweep, WorkerPorts},
};

/// What Lambda hands over from SQS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Batch {
    /// The messages.
    #[serde(rename = "Records")]
    pub messages: Vec<Message>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Its id, the same whenever it is delivered.
    pub message_id: String,
    /// A work item, or an event of EventBridge.
    pub body: String,
}

/// What Lambda is answered: which messages stay in the queue. Source: Lambda's developer guide, "Implementing partial batch responses".
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchAnswer {
    /// These.
    pub batch_item_failures: Vec<ItemFailure>,
}

/// A message that stays in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFailure {
    /// Its id.
    pub item_identifier: String,
}

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
    /// How old the oldest sweep is of which a part was finished; `None`: none was.
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

/// After so many failed calls nothing new is begun in this invocation: AWS is in trouble, or has had enough of us.
const MAX_TROUBLE: usize = 3;

/// So long before Lambda ends the invocation nothing new is begun: an image takes up to three calls of 12 seconds after its claim.
pub const RESERVE: SignedDuration = SignedDuration::from_secs(60);

/// Something to do, and the messages that asked for it.
struct Job {
    messages: Vec<String>,
    task: Task,
    sweep: Option<Timestamp>,
}

enum Task {
    Work(Work),
    Look { key: RepositoryKey, image: ImageLook },
}

/// Works off a batch, and writes its line. `until`: when nothing new is begun any more.
pub async fn work<R, E, W, B, K, L, N, Q, C>(
    ports: &WorkerPorts<'_, R, E, W, B, K, L, N, Q, C>,
    policy: &Policy,
    select: impl Fn(&Event) -> Selection,
    invocation: &Invocation,
    batch: Batch,
    until: Timestamp,
) -> (BatchAnswer, Worked)
where
    R: Registry + Scanner + Repositories + Listing,
    E: Replication,
    W: RegistryWriter + RepositoryWriter,
    B: ReplicationWriter,
    K: Keys,
    L: Ledger + RepositoryLedger + SweepLedger + ReplicationLedger,
    N: Notifier,
    Q: Queue,
    C: Clock,
{
    let registry = RegistryKey {
        account: invocation.account.clone(),
        region: invocation.region.clone(),
    };
    let mut worked = Worked {
        messages: batch.messages.len() as u64,
        ..Worked::default()
    };
    let mut failed = Vec::new();
    let mut errors = Vec::new();
    let jobs = jobs(select, &registry, batch, &mut worked, &mut failed, &mut errors);
    worked.jobs = jobs.len() as u64;
    worked.poison = errors.len() as u64;

    let trouble = AtomicUsize::new(0);
    let run = async |job: Job| {
        let sweep = Sweep {
            registry: registry.clone(),
            began: job.sweep.unwrap_or_else(|| ports.clock.now()),
            until,
        };
        let done = if trouble.load(Ordering::Relaxed) >= MAX_TROUBLE {
            Done::NotBegun
        } else if ports.clock.now() >= until {
            put_back(ports, &sweep, &job.task).await
        } else {
            let actor = job.messages.first().map_or("", String::as_str);
            carry_out(ports, policy, &sweep, &job.task, actor).await
        };
        if let Done::Tried(_, failures) = &done {
            let troubles = failures.iter().filter(|failure| failure.is_trouble()).count();
            trouble.fetch_add(troubles, Ordering::Relaxed);
        }
        (job, done)
    };
    let mut done = stream::iter(jobs).map(run).buffer_unordered(CONCURRENCY);
    while let Some((job, done)) = done.next().await {
        let succeeded = match done {
            Done::NotBegun => false,
            Done::PutBack => true,
            Done::Tried(looks, failures) => {
                worked.looks.add(&looks);
                let succeeded = failures.is_empty();
                errors.extend(failures.into_iter().map(HandlerError::Sweep));
                if succeeded && let Some(began) = job.sweep {
                    let age = ports.clock.now().duration_since(began).as_secs();
                    worked.sweep_age_seconds = worked.sweep_age_seconds.max(u64::try_from(age).ok());
                }
                succeeded
            }
        };
        if !succeeded {
            failed.extend(job.messages);
        }
    }
    worked.failed = failed.len() as u64;
    let now = ports.clock.now();
    for error in &errors {
        report::write_failure(invocation.function, error, now);
    }
    worked.errors = errors.iter().take(MAX_ERRORS).map(ToString::to_string).collect();
    report::write_worked(invocation.function, &invocation.request_id, &worked, now);
    let failures = failed
        .into_iter()
        .map(|item_identifier| ItemFailure { item_identifier });
    let answer = BatchAnswer {
        batch_item_failures: failures.collect(),
    };
    (answer, worked)
}

/// What the messages ask for, each thing once. What cannot be understood is failed.
fn jobs(
    select: impl Fn(&Event) -> Selection,
    registry: &RegistryKey,
    batch: Batch,
    worked: &mut Worked,
    failed: &mut Vec<String>,
    errors: &mut Vec<HandlerError>,
) -> Vec<Job> {
    let mut work: Vec<Job> = Vec::new();
    let mut looks: BTreeMap<(RepositoryKey, Digest), (Vec<String>, Hints)> = BTreeMap::new();
    for message in batch.messages {
        match read(&message.body, registry, &select) {
            Ok(Asked::Work(item)) => {
                let same = work.iter_mut().find(|job| match &job.task {
                    Task::Work(work) => *work == item.work,
                    Task::Look { .. } => false,
                });
                match same {
                    Some(job) => {
                        job.messages.push(message.message_id);
                        job.sweep = job.sweep.min(Some(item.sweep));
                    }
                    None => work.push(Job {
                        messages: vec![message.message_id],
                        sweep: Some(item.sweep),
                        task: Task::Work(item.work),
                    }),
                }
            }
            Ok(Asked::Look(key, digest, hints)) => {
                let (messages, known) = looks.entry((key, digest)).or_default();
                messages.push(message.message_id);
                merge(known, hints);
            }
            Ok(Asked::Nothing) => worked.ignored += 1,
            Err(error) => {
                let text = format!("message {}: {error}", text::line(&message.message_id, 100));
                errors.push(HandlerError::Unusable(text));
                failed.push(message.message_id);
            }
        }
    }
    let looks = looks.into_iter().map(|((key, digest), (messages, hints))| Job {
        messages,
        sweep: None,
        task: Task::Look {
            key,
            image: ImageLook { digest, hints },
        },
    });
    looks.chain(work).collect()
}

/// What a message asks for.
enum Asked {
    Work(WorkItem),
    Look(RepositoryKey, Digest, Hints),
    Nothing,
}

fn read(body: &str, registry: &RegistryKey, select: impl Fn(&Event) -> Selection) -> Result<Asked, HandlerError> {
    #[derive(Deserialize)]
    struct Form {
        #[serde(default)]
        schema: Option<serde::de::IgnoredAny>,
    }
    let is_item = serde_json::from_str::<Form>(body).is_ok_and(|form| form.schema.is_some());
    if is_item {
        let item = serde_json::from_str::<WorkItem>(body);
        let item = item.map_err(|error| HandlerError::Unusable(format!("a work item: {error}")))?;
        let ours = item.account == registry.account && item.region == registry.region;
        return Ok(if ours { Asked::Work(item) } else { Asked::Nothing });
    }
    let event = events::parse(body)?;
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

enum Done {
    NotBegun,
    PutBack,
    Tried(Looks, Failures),
}

/// Leaves something to a later invocation. An event stays in the queue as it is; an item is put into it anew, so that it does not count as
/// one that failed.
async fn put_back<R, E, W, B, K, L, N, Q: Queue, C>(
    ports: &WorkerPorts<'_, R, E, W, B, K, L, N, Q, C>,
    sweep: &Sweep,
    task: &Task,
) -> Done {
    let Task::Work(work) = task else { return Done::NotBegun };
    let item = sweep.item(work.clone());
    match ports.queue.send(&[item], std::time::Duration::ZERO).await {
        Ok(()) => Done::PutBack,
        Err(_) => Done::NotBegun,
    }
}

async fn carry_out<R, E, W, B, K, L, N, Q, C>(
    ports: &WorkerPorts<'_, R, E, W, B, K, L, N, Q, C>,
    policy: &Policy,
    sweep: &Sweep,
    task: &Task,
    actor: &str,
) -> Done
where
    R: Registry + Scanner + Repositories + Listing,
    E: Replication,
    W: RegistryWriter + RepositoryWriter,
    B: ReplicationWriter,
    K: Keys,
    L: Ledger + RepositoryLedger + SweepLedger + ReplicationLedger,
    N: Notifier,
    Q: Queue,
    C: Clock,
{
    let (looks, failures) = match task {
        Task::Look { key, image } => {
            let images = vec![image.clone()];
            ports.look_at_images(policy, sweep, key, images, actor).await
        }
        Task::Work(work) => ports.work(policy, sweep, work, actor).await,
    };
    Done::Tried(looks, failures)
}

#[cfg(test)]
mod tests;
