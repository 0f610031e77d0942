//! A batch of the workers' queue: what is in it, each thing once, and what must be delivered again.

mod jobs;
mod put_back;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

pub use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::{StreamExt as _, stream};

use self::{
    jobs::{Job, Jobs, Task},
    put_back::put_back,
};
use crate::{entry::Selection, error::HandlerError, invocation::Invocation, report};
use guard_core::{ids::RegistryKey, policy::Policy};
use guard_engine::sweep::{Failures, Looks, MAX_TROUBLE, Progress, Sweep, SweepError, TROUBLE_WAIT, Worker};
use guard_events::Event;
use guard_ports::{Clock as _, Services};

pub use crate::report::{MAX_ERRORS, Worked};

/// The number of jobs at the same time. ECR publishes no rates for the calls of a sweep (its quotas page names those of pushes
/// and pulls only): a few at a time leave room for everybody else.
const CONCURRENCY: usize = 4;

/// Work that failed for trouble at AWS is put back, and tried again five minutes later, until it has made this number of hops;
/// then it stays in the queue, half an hour each time, and each delivery counts.
const MAX_HOPS_OF_TROUBLE: u32 = 20;

/// Handles a batch, and writes its line.
pub async fn work(
    services: &impl Services,
    policy: &Policy,
    select: impl Fn(&Event) -> Selection,
    invocation: &Invocation,
    batch: SqsEvent,
) -> (SqsBatchResponse, Worked) {
    let mut worked = Worked {
        messages: batch.records.len() as u64,
        ..Worked::default()
    };
    let batch_of = Batch {
        services,
        policy,
        invocation,
        registry: RegistryKey {
            account: invocation.account.clone(),
            region: invocation.region.clone(),
        },
        trouble: AtomicUsize::new(0),
    };
    let mut jobs = Jobs::read(select, &batch_of.registry, batch);
    let (failed, mut errors): (Vec<_>, Vec<_>) = std::mem::take(&mut jobs.unusable).into_iter().unzip();
    let mut failed: BTreeSet<String> = failed.into_iter().collect();
    worked.poison = errors.len() as u64;
    (worked.ignored, worked.item_receives) = (jobs.ignored, jobs.receives);
    let jobs = jobs.into_list();
    worked.jobs = jobs.len() as u64;
    worked.item_hops = jobs.iter().map(|job| job.hops).max();
    let now = services.clock().now();
    let parts = jobs.iter().filter_map(|job| job.of);
    let age = parts.map(|part| now.duration_since(part.began).as_secs()).max();
    worked.sweep_age_seconds = age.map(|age| u64::try_from(age).unwrap_or_default());

    let run = async |job: Job| {
        let done = batch_of.run(&job).await;
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
    let hidden_for = if batch_of.is_in_trouble() {
        TROUBLE_WAIT
    } else {
        Duration::ZERO
    };
    for (jobs, hidden_for) in [(not_begun, hidden_for), (later, TROUBLE_WAIT)] {
        let back = put_back(services.queue(), |job| batch_of.sweep_of(job), jobs, hidden_for).await;
        worked.put_back += back.messages;
        failed.extend(back.failed);
    }
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

#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each event or message, and it is moved once"
)]
enum Done {
    NotBegun,
    Tried(Looks, Failures),
}

/// The batch of an invocation.
struct Batch<'a, S> {
    services: &'a S,
    policy: &'a Policy,
    invocation: &'a Invocation,
    registry: RegistryKey,
    /// How many things failed in a row for trouble at AWS.
    trouble: AtomicUsize,
}

impl<S: Services> Batch<'_, S> {
    fn sweep_of(&self, job: &Job) -> Sweep {
        Sweep {
            registry: self.registry.clone(),
            began: job.of.map_or_else(|| self.services.clock().now(), |part| part.began),
            since: job.of.and_then(|part| part.since),
            hops: job.hops,
            until: self.invocation.until,
        }
    }

    fn is_in_trouble(&self) -> bool {
        self.trouble.load(Ordering::Relaxed) >= MAX_TROUBLE
    }

    /// Does what a job asks for, unless the time is over or AWS is in trouble.
    async fn run(&self, job: &Job) -> Done {
        if self.is_in_trouble() || self.services.clock().now() >= self.invocation.until {
            return Done::NotBegun;
        }
        let worker = Worker {
            services: self.services,
            policy: self.policy,
            sweep: &self.sweep_of(job),
            actor: job.messages.first().map_or("", String::as_str),
        };
        let (looks, failures) = match &job.task {
            Task::Look { key, image } => worker.look_at_images(key, vec![image.clone()], Progress::None).await,
            Task::Work(work) => worker.work(work).await,
        };
        let mut all = failures.iter().chain(&looks.handed_on);
        if looks.in_trouble {
            self.trouble.store(MAX_TROUBLE, Ordering::Relaxed);
        } else if all.any(SweepError::is_trouble) && looks.looked == 0 {
            self.trouble.fetch_add(1, Ordering::Relaxed);
        } else {
            self.trouble.store(0, Ordering::Relaxed);
        }
        Done::Tried(looks, failures)
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod scale;
