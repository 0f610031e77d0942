//! The function `sweep`: what it is invoked with, and what it does.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{entry::Invocation, error::HandlerError, report};
use crate::{
    alert_budget::send_summaries,
    domain::{
        ids::RepositoryName,
        image::ListedImage,
        policy::Policy,
        registry::{RegistryKey, RegistrySettings},
        repository::{ledger::RepositoryKey, posture::ListedRepository},
    },
    ports::{AlertLedger, Clock, Listing, Notifier, Page, PortError, Queue, SweepLedger},
    reconcile_registry::{RegistryError, RegistryOutcome, RegistryPorts, reconcile_registry, send_digests},
    sweep::{Known, Sweep, enqueue_gone, enqueue_repositories, enqueue_these},
};

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
}

/// What the sweep needs.
#[derive(Debug)]
pub struct SweepPorts<'a, R, L, N, Q, C> {
    /// The registry.
    pub registry: &'a R,
    /// The ledger.
    pub ledger: &'a L,
    /// The topics.
    pub notifier: &'a N,
    /// The queue of the workers.
    pub queue: &'a Q,
    /// The time.
    pub clock: &'a C,
}

/// Begins a sweep, and writes its line. `until`: when nothing new is begun any more.
///
/// # Errors
/// The payload is not what it should be, or a call failed. The next sweep does all of it again.
pub async fn sweep<R, L, N, Q, C>(
    ports: &SweepPorts<'_, R, L, N, Q, C>,
    policy: &Policy,
    invocation: &Invocation,
    payload: &str,
    until: Timestamp,
) -> Result<Swept, HandlerError>
where
    R: Listing + Sync,
    L: SweepLedger + AlertLedger,
    N: Notifier,
    Q: Queue,
    C: Clock,
{
    let result = begin(ports, policy, invocation, payload, until).await;
    report::write_swept(invocation.function, &invocation.request_id, &result, ports.clock.now());
    result
}

async fn begin<R, L, N, Q, C>(
    ports: &SweepPorts<'_, R, L, N, Q, C>,
    policy: &Policy,
    invocation: &Invocation,
    payload: &str,
    until: Timestamp,
) -> Result<Swept, HandlerError>
where
    R: Listing + Sync,
    L: SweepLedger + AlertLedger,
    N: Notifier,
    Q: Queue,
    C: Clock,
{
    let request = SweepRequest::parse(payload)?;
    let registry = &ReadOnce::new(ports.registry);
    let sweep = Sweep {
        registry: RegistryKey {
            account: invocation.account.clone(),
            region: invocation.region.clone(),
        },
        began: request.time.unwrap_or_else(|| ports.clock.now()),
        until,
    };
    let mut swept = Swept {
        sweep: sweep.began,
        repositories: 0,
        continued: false,
        registry: None,
        digests: 0,
        summaries: 0,
        summarized_alerts: 0,
        gone: 0,
    };
    let actor = invocation.request_id.as_str();
    let of_registry = RegistryPorts {
        registry,
        ledger: ports.ledger,
        notifier: ports.notifier,
        clock: ports.clock,
    };
    // What fails keeps nothing else from being done.
    let mut errors: Vec<HandlerError> = Vec::new();
    let is_whole = request.repositories.is_none();
    let enqueued = match request.repositories {
        Some(names) => enqueue_these(ports.queue, &sweep, names).await,
        None => {
            let known = Known::read(registry, policy).await;
            enqueue_repositories(registry, ports.queue, ports.clock, &sweep, known.as_ref(), None).await
        }
    };
    match enqueued {
        Ok(enqueued) => (swept.repositories, swept.continued) = (enqueued.repositories, enqueued.continued),
        Err(error) => errors.push(error.into()),
    }
    if is_whole {
        match reconcile_registry(&of_registry, policy, &sweep.registry, actor).await {
            Ok(outcome) => swept.registry = Some(outcome),
            Err(error) => errors.push(error.into()),
        }
    }
    if is_whole {
        let now = ports.clock.now();
        match send_summaries(ports.ledger, ports.notifier, policy, &sweep.registry, now).await {
            Ok(sent) => (swept.summaries, swept.summarized_alerts) = (sent.sent, sent.alerts),
            Err(source) => errors.push(
                RegistryError::Port {
                    doing: "summarize the alerts of",
                    registry: sweep.registry.clone(),
                    source: Box::new(source),
                }
                .into(),
            ),
        }
    }
    if is_whole || request.digest {
        match send_digests(&of_registry, policy, &sweep.registry, actor, request.digest).await {
            Ok(sent) => swept.digests = sent,
            Err(error) => errors.push(error.into()),
        }
    }
    // Once a day is enough for what nobody can pull any more.
    if is_whole && swept.digests > 0 {
        match enqueue_gone(registry, ports.ledger, ports.queue, &sweep).await {
            Ok(gone) => swept.gone = gone,
            Err(error) => errors.push(error.into()),
        }
    }
    match errors.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(swept),
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
