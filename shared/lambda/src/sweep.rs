//! The function `sweep`: what it is invoked with, and what it does.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    error::HandlerError,
    invocation::Invocation,
    report::{self, Swept},
};
use guard_core::{
    ids::{RegistryKey, RepositoryKey, RepositoryName},
    image::ListedImage,
    policy::Policy,
    registry::RegistrySettings,
    repository::posture::ListedRepository,
    text,
};
use guard_engine::{
    alert_budget::send_summaries,
    reconcile::{
        ReconcileError,
        registry::{DigestsWanted, last_sweep, reconcile_registry, record_sweep, send_digests, send_test_alerts},
    },
    sweep::{KnownSettings, Sweep, SweepError, enqueue_gone, enqueue_repositories, enqueue_these},
};
use guard_ports::{Clock as _, Listing, Page, PortError, Queue as _, Services};

/// The payload of the function: from the schedule, or by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SweepRequest {
    /// When the schedule meant it to be; now, if it is not said.
    pub time: Option<Timestamp>,
    /// Only these repositories; all, if it is not said.
    pub repositories: Option<Vec<RepositoryName>>,
    /// Send the daily digest now.
    pub digest: bool,
    /// Send one test alert to each route of the policy, and do nothing else.
    pub test_alert: bool,
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
            let error = text::line(&error.to_string(), 300);
            HandlerError::Unusable(format!(
                "{error}; a sweep takes {{}}, or any of {{\"time\": \"2026-11-24T12:00:00Z\", \"repositories\": [\"name\"], \"digest\": true, \"test_alert\": true}}"
            ))
        })
    }
}

/// A sweep is still under way while more items than this wait for the workers: a batch of them.
pub const UNDER_WAY: u64 = 20;

/// Begins a sweep, and writes its line.
///
/// # Errors
/// The payload is not what it should be, or a call failed. The next sweep does all of it again. A row that cannot be read is named and counted,
/// and is no error here: Lambda would try again, which makes no row readable and leaves all repositories to the workers once more. The same
/// holds for a repository that is asked for and not guarded, as long as another one was left to the workers.
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
    let mut beginning = Beginning::new(services, policy, invocation, &request);
    beginning.all(request).await;
    let Beginning { mut swept, errors, .. } = beginning;
    swept.errors = errors.iter().map(ToString::to_string).collect();
    let now = services.clock().now();
    for error in &errors {
        report::write_failure(invocation.function, error, now);
    }
    report::write_swept(invocation.function, &invocation.request_id, Ok(&swept), now);
    let fails = |error: &HandlerError| match error {
        // It is named in the answer; an error would leave the other repositories to the workers once more.
        HandlerError::NotGuarded(_) => swept.repositories == 0,
        other => !other.is_unreadable_row(),
    };
    match errors.into_iter().find(fails) {
        Some(error) => Err(error),
        None => Ok(swept),
    }
}

/// A sweep that begins: what goes wrong with one part of it keeps no other from being done.
struct Beginning<'a, S: Services> {
    services: &'a S,
    registry: ReadOnce<'a, S::Registry>,
    policy: &'a Policy,
    actor: &'a str,
    /// Only what the schedule begins is tried again, by Lambda.
    may_be_retry: bool,
    sweep: Sweep,
    swept: Swept,
    errors: Vec<HandlerError>,
}

impl<'a, S: Services> Beginning<'a, S> {
    fn new(services: &'a S, policy: &'a Policy, invocation: &'a Invocation, request: &SweepRequest) -> Self {
        let sweep = Sweep {
            registry: RegistryKey {
                account: invocation.account.clone(),
                region: invocation.region.clone(),
            },
            began: request.time.unwrap_or_else(|| services.clock().now()),
            since: None,
            hops: 0,
            until: invocation.until,
        };
        Self {
            services,
            registry: ReadOnce::new(services.registry()),
            policy,
            actor: &invocation.request_id,
            may_be_retry: request.time.is_some(),
            swept: Swept::of(sweep.began),
            sweep,
            errors: Vec::new(),
        }
    }

    async fn all(&mut self, request: SweepRequest) {
        if request.test_alert {
            let key = &self.sweep.registry;
            let sent = send_test_alerts(self.services, self.policy, key, self.actor).await;
            self.swept.test_alerts = self.or_note(sent).unwrap_or_default();
            return;
        }
        let is_whole = request.repositories.is_none();
        match request.repositories {
            Some(names) => {
                let (names, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| self.registry.guards(name));
                self.errors.extend(others.into_iter().map(HandlerError::NotGuarded));
                let enqueued = enqueue_these(self.services.queue(), &self.sweep, names).await;
                self.swept.repositories = self.or_note(enqueued).unwrap_or_default().repositories;
            }
            None => self.enqueue_all().await,
        }
        if is_whole && self.is_time_for("registry") {
            let key = &self.sweep.registry;
            let outcome = reconcile_registry(self.services, &self.registry, self.policy, key, self.actor).await;
            self.swept.registry = self.or_note(outcome);
        }
        if is_whole && self.is_time_for("summaries") {
            self.send_summaries().await;
        }
        if (is_whole || request.digest) && self.is_time_for("digest") {
            let wanted = if request.digest {
                DigestsWanted::Now(self.actor)
            } else {
                DigestsWanted::BySchedule(self.actor)
            };
            let key = &self.sweep.registry;
            let sent = send_digests(self.services, &self.registry, self.policy, key, wanted).await;
            self.swept.digests = self.or_note(sent).unwrap_or_default();
        }
        // The sweep that is under way has noticed them.
        if is_whole && self.swept.under_way.is_none() && self.is_time_for("gone") {
            let gone = enqueue_gone(self.services, &self.registry, &self.sweep).await;
            self.swept.gone = self.or_note(gone).unwrap_or_default();
        }
    }

    /// The result of a part; its failure is recorded.
    fn or_note<T>(&mut self, result: Result<T, impl Into<HandlerError>>) -> Option<T> {
        result.map_err(|error| self.errors.push(error.into())).ok()
    }

    /// Whether there is time for a part; if not, it is left out.
    fn is_time_for(&mut self, what: &'static str) -> bool {
        let is_time = self.services.clock().now() < self.sweep.until;
        if !is_time {
            self.swept.left_out.push(what);
        }
        is_time
    }

    async fn send_summaries(&mut self) {
        let key = &self.sweep.registry;
        let sent = send_summaries(self.services, self.policy, key, self.services.clock().now()).await;
        let sent = sent.map_err(|source| ReconcileError::port("summarize the alerts of", key, source));
        let sent = self.or_note(sent).unwrap_or_default();
        (self.swept.summaries, self.swept.summarized_alerts) = (sent.sent, sent.alerts);
    }

    /// Leaves all repositories to the workers; unless that was done for this sweep before something else in it failed, or an earlier sweep
    /// is still under way: then the workers are not given the same images once more. Whose turn it is meanwhile has it in the next sweep.
    async fn enqueue_all(&mut self) {
        match last_sweep(self.services.ledger(), &self.sweep.registry).await {
            Ok(Some(last)) if self.may_be_retry && last == self.sweep.began => return,
            Ok(last) => self.sweep.since = last.filter(|last| *last < self.sweep.began),
            // Rather once too often.
            Err(error) => self.errors.push(error.into()),
        }
        let waiting = self.services.queue().waiting().await;
        let waiting = waiting.map_err(|source| SweepError::port("ask how much work is waiting", source));
        if let Some(waiting) = self.or_note(waiting).filter(|waiting| *waiting > UNDER_WAY) {
            self.swept.under_way = Some(waiting);
            return;
        }
        let known = KnownSettings::read(&self.registry, self.policy).await;
        let enqueued = enqueue_repositories(self.services, &self.registry, &self.sweep, known.as_ref(), None).await;
        let Some((enqueued, unreadable)) = self.or_note(enqueued) else {
            return;
        };
        (self.swept.repositories, self.swept.continued) = (enqueued.repositories, enqueued.continued);
        self.errors.extend(unreadable.into_iter().map(HandlerError::from));
        let recorded = record_sweep(self.services.ledger(), &self.sweep.registry, self.sweep.began).await;
        self.or_note(recorded);
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
