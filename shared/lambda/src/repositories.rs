//! After an image, its repository: what a push leads to besides the image's own state.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use guard_core::{
    ids::{RepositoryName, Tag},
    ledger::State,
    policy::Policy,
    repository::{ledger::RepositoryKey, removal::Pushed},
};
use guard_engine::reconcile::{
    image::Ports,
    repository::{RepositoryError, RepositoryOutcome, RepositoryPorts, reconcile_repository, reconcile_tag},
};
use guard_ports::{Clock, Keys, Notifier, Registry, RegistryWriter, Repositories, RepositoryLedger, RepositoryWriter};

/// What is looked at after an image that was pushed or restored.
pub trait AfterPush {
    /// Looks at the repository, and at the tags that the event names; `pushed`: the image that has them, by what the event says.
    fn look(
        &self,
        key: &RepositoryKey,
        tags: &[Tag],
        state: Option<State>,
        pushed: Option<&Pushed>,
        actor: &str,
    ) -> impl Future<Output = Result<RepositoryOutcome, RepositoryError>> + Send;
}

/// Nothing.
#[derive(Debug, Clone, Copy)]
pub struct NothingMore;

impl AfterPush for NothingMore {
    async fn look(
        &self,
        _: &RepositoryKey,
        _: &[Tag],
        _: Option<State>,
        _: Option<&Pushed>,
        _: &str,
    ) -> Result<RepositoryOutcome, RepositoryError> {
        Ok(RepositoryOutcome::default())
    }
}

/// Its repository, under the policy's rules for repositories.
#[derive(Debug)]
pub struct ItsRepository<'a, R, W, K, L, N, C> {
    ports: RepositoryPorts<'a, R, W, K, L, N, C>,
    policy: &'a Policy,
    recent: &'a RecentLooks,
}

impl<'a, R, W, K, L, N, C> ItsRepository<'a, R, W, K, L, N, C> {
    /// With the ports that the image is looked at with, and the keys.
    pub fn new<S>(
        ports: &Ports<'a, R, W, S, L, N, C>,
        keys: &'a K,
        policy: &'a Policy,
        recent: &'a RecentLooks,
    ) -> Self {
        let ports = RepositoryPorts {
            registry: ports.registry,
            writer: ports.writer,
            keys,
            ledger: ports.ledger,
            notifier: ports.notifier,
            clock: ports.clock,
        };
        Self { ports, policy, recent }
    }
}

impl<R, W, K, L, N, C> AfterPush for ItsRepository<'_, R, W, K, L, N, C>
where
    R: Registry + Repositories + Sync,
    W: RegistryWriter + RepositoryWriter + Sync,
    K: Keys + Sync,
    L: RepositoryLedger + Sync,
    N: Notifier + Sync,
    C: Clock + Sync,
{
    async fn look(
        &self,
        key: &RepositoryKey,
        tags: &[Tag],
        state: Option<State>,
        pushed: Option<&Pushed>,
        actor: &str,
    ) -> Result<RepositoryOutcome, RepositoryError> {
        let (ports, policy) = (&self.ports, self.policy);
        let mut outcome = RepositoryOutcome::default();
        for tag in tags {
            outcome = outcome.and(reconcile_tag(ports, policy, key, tag, state, pushed, actor).await?);
        }
        let now = ports.clock.now();
        if !self.recent.contains(&key.repository, now) {
            outcome = outcome.and(reconcile_repository(ports, policy, key, None, actor).await?);
            self.recent.insert(&key.repository, now);
        }
        Ok(outcome)
    }
}

/// The repositories that this process has just looked at: a build that pushes ten images needs one look at its repository.
///
/// It is keyed by name, so that one of them is for one account and region, and for one policy.
#[derive(Debug, Default)]
pub struct RecentLooks(Mutex<HashMap<RepositoryName, Timestamp>>);

/// For how many minutes a repository is not looked at again.
pub const RECENT_MINUTES: i64 = 10;

/// The most repositories that are remembered, so that a warm function does not grow without end.
const MAX_REMEMBERED: usize = 512;

impl RecentLooks {
    fn contains(&self, repository: &RepositoryName, now: Timestamp) -> bool {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.get(repository).is_some_and(|at| is_recent(*at, now))
    }

    fn insert(&self, repository: &RepositoryName, now: Timestamp) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.len() >= MAX_REMEMBERED {
            looks.retain(|_, at| is_recent(*at, now));
        }
        if looks.len() >= MAX_REMEMBERED {
            looks.clear();
        }
        looks.insert(repository.clone(), now);
    }
}

/// A time that is ahead, as after the clock was set, is not recent.
fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    let age = now.duration_since(at);
    !age.is_negative() && age < SignedDuration::from_mins(RECENT_MINUTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use guard_testkit::now;

    #[test]
    fn a_look_is_recent_for_ten_minutes_and_the_memory_is_bounded() {
        let looks = RecentLooks::default();
        let name = |n: usize| format!("r{n}").parse::<RepositoryName>().unwrap();
        assert!(!looks.contains(&name(0), now()));
        looks.insert(&name(0), now());
        assert!(looks.contains(&name(0), now() + SignedDuration::from_mins(RECENT_MINUTES - 1)));
        assert!(!looks.contains(&name(0), now() + SignedDuration::from_mins(RECENT_MINUTES)));
        assert!(!looks.contains(&name(0), now() - SignedDuration::from_mins(1)));
        for n in 0..3 * MAX_REMEMBERED {
            looks.insert(&name(n), now());
        }
        assert!(looks.0.lock().unwrap().len() <= MAX_REMEMBERED);
    }
}
