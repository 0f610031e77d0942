//! A work item for every repository.

use std::collections::BTreeSet;

use serde::Serialize;
use tracing::debug;

use super::{
    cycle::{NOT_HIDDEN, Sweep},
    error::{Failures, SweepError},
};
use guard_core::{
    decide::TURN_HOURS,
    ids::RepositoryName,
    policy::{Policy, RepositoryRules},
    registry::RegistrySettings,
    repository::posture::{ListedRepository, ListedSettings},
    summary::RepositorySummary,
    work::{Work, WorkItem},
};
use guard_ports::{Clock as _, Listing, Queue, Services, SweepLedger as _};

/// How many repositories were left to the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Enqueued {
    /// Their number.
    pub repositories: u64,
    /// The time was over before the list was: an item says where to go on.
    pub continued: bool,
}

/// The known settings of all repositories, apart from those on the list: workers need not ask for them one by one.
#[derive(Debug)]
pub struct KnownSettings<'a> {
    policy: &'a Policy,
    settings: RegistrySettings,
}

impl<'a> KnownSettings<'a> {
    /// Reads it, if the policy asks anything of settings. `None` as well if it cannot be read: the registry's own check alerts
    /// that, and here workers only ask for more.
    pub async fn read(registry: &impl Listing, policy: &'a Policy) -> Option<Self> {
        if !policy.has_settings() {
            return None;
        }
        let settings = registry.settings().await.ok()?;
        Some(Self { policy, settings })
    }

    /// The settings for a repository's item; none, if none is asked of it, or if it is due for a full reconcile.
    fn of(&self, listed: &ListedRepository, sweep: &Sweep) -> Option<ListedSettings> {
        let asked = self.policy.repository(&listed.name);
        let asked = asked.is_some_and(RepositoryRules::has_settings);
        let in_full = sweep.turns().has(&listed.name, TURN_HOURS);
        (asked && !in_full).then(|| self.settings.of(listed))
    }
}

/// Leaves an item for every repository of the registry, from `after` on, with its `known` settings. Entries of the list that
/// could not be read are named next to them. `registry`: its lists, as the rest of the sweep reads them.
///
/// # Errors
/// A call failed. Items for a part of the repositories may be in the queue.
pub async fn enqueue_repositories(
    services: &impl Services,
    registry: &impl Listing,
    sweep: &Sweep,
    known: Option<&KnownSettings<'_>>,
    mut after: Option<String>,
) -> Result<(Enqueued, Failures), SweepError> {
    let mut enqueued = Enqueued::default();
    let mut unreadable = Failures::new();
    let item = |listed: ListedRepository| {
        let known = known.and_then(|known| known.of(&listed, sweep));
        sweep.repository(listed.name, known)
    };
    loop {
        let page = registry.repositories(after.as_deref()).await;
        let page = page.map_err(|source| SweepError::port("list the repositories", source))?;
        let mut items: Vec<WorkItem> = page.items.into_iter().map(item).collect();
        enqueued.repositories += items.len() as u64;
        let failed = |source| SweepError::port("read the whole list of repositories", source);
        unreadable.extend(page.unreadable.into_iter().map(failed));
        debug!(of = %sweep.registry, repositories = items.len(), "repositories listed and queued");
        let time_is_over = services.clock().now() >= sweep.until;
        if time_is_over && let Some(after) = page.next.clone() {
            items.push(sweep.item(Work::Repositories { after }));
            enqueued.continued = true;
        }
        let sent = services.queue().send(&items, NOT_HIDDEN).await;
        sent.map_err(|source| SweepError::port("leave the repositories to the workers", source))?;
        if page.next.is_none() || enqueued.continued {
            return Ok((enqueued, unreadable));
        }
        after = page.next;
    }
}

/// Leaves an item for each of these repositories. One that does not exist is one without images.
///
/// # Errors
/// A call failed. Items for a part of the repositories may be in the queue.
pub async fn enqueue_these(
    queue: &impl Queue,
    sweep: &Sweep,
    names: Vec<RepositoryName>,
) -> Result<Enqueued, SweepError> {
    let items: Vec<WorkItem> = names.into_iter().map(|name| sweep.repository(name, None)).collect();
    let sent = queue.send(&items, NOT_HIDDEN).await;
    sent.map_err(|source| SweepError::port("leave the repositories to the workers", source))?;
    Ok(Enqueued {
        repositories: items.len() as u64,
        continued: false,
    })
}

/// Leaves an item for each repository that is gone and of which the ledger still has something: its rows are closed by that. Their
/// number. When the time is over, the rest is for the next sweep.
///
/// # Errors
/// A call failed.
pub async fn enqueue_gone(services: &impl Services, registry: &impl Listing, sweep: &Sweep) -> Result<u64, SweepError> {
    let failed = |source| SweepError::port("look for repositories that are gone", source);
    let mut there = BTreeSet::new();
    let mut after = None;
    loop {
        if services.clock().now() >= sweep.until {
            return Ok(0);
        }
        let page = registry.repositories(after.as_deref()).await.map_err(failed)?;
        // A repository that cannot be read still exists.
        if let Some(unreadable) = page.unreadable.into_iter().next() {
            return Err(failed(unreadable));
        }
        there.extend(page.items.into_iter().map(|listed| listed.name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut gone = Vec::new();
    loop {
        let page = services
            .ledger()
            .summaries(&sweep.registry, after.as_deref())
            .await
            .map_err(failed)?;
        let of_nothing = |summary: &RepositorySummary| summary.images == 0 && summary.states.is_empty();
        let gone_of_page = page
            .items
            .into_iter()
            .filter(|summary| !of_nothing(summary) && !there.contains(&summary.repository.repository))
            .filter(|summary| registry.guards(&summary.repository.repository));
        gone.extend(gone_of_page.map(|summary| summary.repository.repository));
        after = page.next;
        if after.is_none() || services.clock().now() >= sweep.until {
            break;
        }
    }
    Ok(enqueue_these(services.queue(), sweep, gone).await?.repositories)
}
