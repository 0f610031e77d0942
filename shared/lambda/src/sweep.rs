//! The function `sweep`: what it is invoked with, and what it does.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{entry::Invocation, error::HandlerError, report};
use guard_core::{
    ids::{RegistryKey, RepositoryKey, RepositoryName},
    image::ListedImage,
    policy::Policy,
    registry::RegistrySettings,
    repository::posture::ListedRepository,
};
use guard_engine::{
    alert_budget::send_summaries,
    reconcile::{
        ReconcileError,
        registry::{DigestsWanted, RegistryOutcome, last_sweep, reconcile_registry, record_sweep, send_digests},
    },
    sweep::{Known, Sweep, SweepError, enqueue_gone, enqueue_repositories, enqueue_these},
};
use guard_ports::{Clock as _, Listing, Page, PortError, Queue as _, Services};

/// What the function is invoked with: by the schedule, or by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SweepRequest {
    /// When the schedule meant it to be; now, if it is not said.
    pub time: Option<Timestamp>,
    /// Only these repositories; all, if it is not said.
    pub repositories: Option<Vec<RepositoryName>>,
    /// Send the daily digest now.
    pub digest: bool,
}

impl SweepRequest {
    /// Reads it.
    ///
    /// # Errors
    /// It is not JSON, or has a member that is not known or not what it should be.
    pub fn parse(payload: &str) -> Result<Self, HandlerError> {
        // By way of an object: a list would be taken for the members in their order.
        let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(payload);
        let request = object.and_then(|object| serde_json::from_value(object.into()));
        request.map_err(|error| {
            HandlerError::Unusable(format!(
                "{error}; a sweep takes {{}}, or any of {{\"time\": \"2026-11-24T12:00:00Z\", \"repositories\": [\"name\"], \"digest\": true}}"
            ))
        })
    }
}

/// What came of a sweep, as far as this function goes: the workers do the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// When it began.
    pub sweep: Timestamp,
    /// Repositories that were left to the workers.
    pub repositories: u64,
    /// So much of an earlier sweep is still waiting for the workers: that one is continued, and nothing was added to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under_way: Option<u64>,
    /// The list goes on: a worker reads the rest of it.
    pub continued: bool,
    /// What came of looking at the registry as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryOutcome>,
    /// Digests that were sent.
    pub digests: u64,
    /// Summaries of alerts that were sent.
    pub summaries: u64,
    /// How many alerts those name.
    pub summarized_alerts: u64,
    /// Repositories that are gone, of which rows were left: a worker closes them.
    pub gone: u64,
    /// What there was no time for: the next sweep does it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<&'static str>,
    /// What went wrong, all of it; it kept nothing else from being done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// A sweep is still under way while more items than this wait for the workers: a batch of them.
pub const UNDER_WAY: u64 = 20;

/// Begins a sweep, and writes its line.
///
/// # Errors
/// The payload is not what it should be, or a call failed. The next sweep does all of it again.
pub async fn sweep(
    services: &impl Services,
    policy: &Policy,
    invocation: &Invocation,
    payload: &str,
) -> Result<Swept, HandlerError> {
    let request = match SweepRequest::parse(payload) {
        Ok(request) => request,
        Err(error) => {
            let now = services.clock().now();
            report::write_swept(invocation.function, &invocation.request_id, Err(&error), now);
            return Err(error);
        }
    };
    let (mut swept, errors) = begin(services, policy, invocation, request).await;
    swept.errors = errors.iter().map(ToString::to_string).collect();
    let now = services.clock().now();
    for error in &errors {
        report::write_failure(invocation.function, error, now);
    }
    report::write_swept(invocation.function, &invocation.request_id, Ok(&swept), now);
    match errors.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(swept),
    }
}

/// Does what is to be done; what goes wrong keeps nothing else from it.
async fn begin(
    services: &impl Services,
    policy: &Policy,
    invocation: &Invocation,
    request: SweepRequest,
) -> (Swept, Vec<HandlerError>) {
    let registry = &ReadOnce::new(services.registry());
    let mut sweep = Sweep {
        registry: RegistryKey {
            account: invocation.account.clone(),
            region: invocation.region.clone(),
        },
        began: request.time.unwrap_or_else(|| services.clock().now()),
        since: None,
        hops: 0,
        until: invocation.until,
    };
    let mut swept = Swept {
        sweep: sweep.began,
        repositories: 0,
        under_way: None,
        continued: false,
        registry: None,
        digests: 0,
        summaries: 0,
        summarized_alerts: 0,
        gone: 0,
        left_out: Vec::new(),
        errors: Vec::new(),
    };
    let actor = invocation.request_id.as_str();
    let mut errors: Vec<HandlerError> = Vec::new();
    let is_whole = request.repositories.is_none();
    // Only what the schedule begins is tried again, by Lambda.
    let may_be_retry = request.time.is_some();
    match request.repositories {
        Some(names) => match enqueue_these(services.queue(), &sweep, names).await {
            Ok(enqueued) => swept.repositories = enqueued.repositories,
            Err(error) => errors.push(error.into()),
        },
        None => {
            let begun = Beginning {
                services,
                registry,
                policy,
                may_be_retry,
            };
            begun.enqueue_all(&mut sweep, &mut swept, &mut errors).await;
        }
    }
    let mut is_time_for = |what| {
        let is_time = services.clock().now() < invocation.until;
        if !is_time {
            swept.left_out.push(what);
        }
        is_time
    };
    if is_whole && is_time_for("registry") {
        match reconcile_registry(services, registry, policy, &sweep.registry, actor).await {
            Ok(outcome) => swept.registry = Some(outcome),
            Err(error) => errors.push(error.into()),
        }
    }
    if is_whole && is_time_for("summaries") {
        let now = services.clock().now();
        match send_summaries(services, policy, &sweep.registry, now).await {
            Ok(sent) => (swept.summaries, swept.summarized_alerts) = (sent.sent, sent.alerts),
            Err(source) => errors.push(ReconcileError::port("summarize the alerts of", &sweep.registry, source).into()),
        }
    }
    if (is_whole || request.digest) && is_time_for("digest") {
        let wanted = if request.digest {
            DigestsWanted::Now(actor)
        } else {
            DigestsWanted::BySchedule(actor)
        };
        match send_digests(services, registry, policy, &sweep.registry, wanted).await {
            Ok(sent) => swept.digests = sent,
            Err(error) => errors.push(error.into()),
        }
    }
    // What is under way has noticed them.
    if is_whole && swept.under_way.is_none() && is_time_for("gone") {
        match enqueue_gone(services, registry, &sweep).await {
            Ok(gone) => swept.gone = gone,
            Err(error) => errors.push(error.into()),
        }
    }
    (swept, errors)
}

/// A sweep of the whole registry that begins.
struct Beginning<'a, S: Services> {
    services: &'a S,
    registry: &'a ReadOnce<'a, S::Registry>,
    policy: &'a Policy,
    may_be_retry: bool,
}

impl<S: Services> Beginning<'_, S> {
    /// Leaves all repositories to the workers; unless that was done for this sweep before something else in it failed, or an earlier sweep
    /// is still under way: then the workers are not given the same images once more. Whose turn it is meanwhile has it in the next sweep.
    async fn enqueue_all(&self, sweep: &mut Sweep, swept: &mut Swept, errors: &mut Vec<HandlerError>) {
        match last_sweep(self.services.ledger(), &sweep.registry).await {
            Ok(Some(last)) if self.may_be_retry && last == sweep.began => return,
            Ok(last) => sweep.since = last.filter(|last| *last < sweep.began),
            // Rather once too often.
            Err(error) => errors.push(error.into()),
        }
        match self.services.queue().waiting().await {
            Ok(waiting) if waiting > UNDER_WAY => {
                swept.under_way = Some(waiting);
                return;
            }
            Ok(_) => {}
            Err(source) => errors.push(SweepError::port("ask how much work is waiting", source).into()),
        }
        let known = Known::read(self.registry, self.policy).await;
        match enqueue_repositories(self.services, self.registry, sweep, known.as_ref(), None).await {
            Ok((enqueued, unreadable)) => {
                (swept.repositories, swept.continued) = (enqueued.repositories, enqueued.continued);
                errors.extend(unreadable.into_iter().map(HandlerError::from));
                if let Err(error) = record_sweep(self.services.ledger(), &sweep.registry, sweep.began).await {
                    errors.push(error.into());
                }
            }
            Err(error) => errors.push(error.into()),
        }
    }
}

/// A registry whose list of repositories, and whose settings, are read once in a sweep: its parts all need them.
#[derive(Debug)]
struct ReadOnce<'a, R> {
    registry: &'a R,
    /// The pages, by where they begin.
    repositories: Mutex<BTreeMap<Option<String>, Page<ListedRepository>>>,
    settings: Mutex<Option<RegistrySettings>>,
}

impl<'a, R> ReadOnce<'a, R> {
    fn new(registry: &'a R) -> Self {
        Self {
            registry,
            repositories: Mutex::default(),
            settings: Mutex::default(),
        }
    }
}

impl<R: Listing + Sync> Listing for ReadOnce<'_, R> {
    fn guards(&self, repository: &RepositoryName) -> bool {
        self.registry.guards(repository)
    }

    async fn repositories(&self, after: Option<&str>) -> Result<Page<ListedRepository>, PortError> {
        let begins = after.map(str::to_owned);
        if let Some(page) = locked(&self.repositories).get(&begins) {
            return Ok(page.clone());
        }
        let page = self.registry.repositories(after).await?;
        locked(&self.repositories).insert(begins, page.clone());
        Ok(page)
    }

    async fn images(&self, key: &RepositoryKey, after: Option<&str>) -> Result<Option<Page<ListedImage>>, PortError> {
        self.registry.images(key, after).await
    }

    async fn settings(&self) -> Result<RegistrySettings, PortError> {
        if let Some(settings) = locked(&self.settings).as_ref() {
            return Ok(settings.clone());
        }
        let settings = self.registry.settings().await?;
        *locked(&self.settings) = Some(settings.clone());
        Ok(settings)
    }
}

fn locked<T>(memory: &Mutex<T>) -> MutexGuard<'_, T> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
