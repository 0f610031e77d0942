//! After an image, its repository: the reaction to a push apart from the image's own state.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use guard_core::{
    ids::{ImageRef, RepositoryKey, RepositoryName, Tag},
    policy::Policy,
    repository::removal::Pushed,
    state::State,
};
use guard_engine::{
    reconcile::{
        ReconcileError,
        image::Request,
        repository::{RepositoryOutcome, TagRequest, reconcile_repository, reconcile_tag},
    },
    route::{ReadTag, remember_route},
};
use guard_ports::{Clock as _, Services};

/// An image that was pushed or restored.
#[derive(Debug, Clone)]
pub(crate) struct Push {
    /// The tags that the event names.
    pub(crate) tags: Vec<Tag>,
    /// The state that the image has now.
    pub(crate) state: Option<State>,
    /// The image that has the tags, by what the event says.
    pub(crate) pushed: Option<Pushed>,
    /// The invocation, by an id that a retry of the same event keeps.
    pub(crate) actor: String,
}

/// The image that has just got the tags of an event, by what the event says.
pub(crate) fn pushed(request: &Request, now: Timestamp) -> Option<Pushed> {
    match (&request.image, &request.hints.arrival) {
        (ImageRef::Digest(digest), Some(arrival)) => Some(Pushed {
            digest: digest.clone(),
            at: arrival.at.unwrap_or(now),
        }),
        _ => None,
    }
}

/// Reconciles the repository of an image, and the tags that the event names, under the policy's rules for repositories.
pub(crate) async fn look_after_push(
    services: &impl Services,
    policy: &Policy,
    recent: &RecentLooks,
    key: &RepositoryKey,
    push: &Push,
) -> Result<RepositoryOutcome, ReconcileError> {
    let mut outcome = RepositoryOutcome::default();
    let now = services.clock().now();
    let is_due = !recent.contains(&key.repository, now);
    if is_due {
        // Before the tags: what is wrong with them goes to the route of the repository's own tag.
        remember_route(services, policy, key, ReadTag::Now).await?;
    }
    for tag in &push.tags {
        let request = TagRequest {
            tag,
            state: push.state,
            pushed: push.pushed.as_ref(),
            actor: &push.actor,
        };
        outcome = outcome.and(reconcile_tag(services, policy, key, &request).await?);
    }
    if is_due {
        outcome = outcome.and(reconcile_repository(services, policy, key, None, &push.actor).await?);
        recent.insert(&key.repository, now);
    }
    Ok(outcome)
}

/// The repositories that this process has just reconciled: a build that pushes ten images needs one reconcile of its
/// repository.
///
/// It is keyed by name, so that one of them is for one account and region, and for one policy.
#[derive(Debug, Default)]
pub struct RecentLooks(Mutex<HashMap<RepositoryName, Timestamp>>);

/// The minutes for which a repository is not reconciled again.
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
    fn a_reconcile_is_recent_for_ten_minutes_and_the_memory_is_bounded() {
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
