//! The remembered facts on how repositories are scanned.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use guard_core::{finding::ScanTrigger, ids::RepositoryName};

/// The known [`ScanTrigger`]s of repositories, each for ten minutes, by the monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct TriggerCache(Mutex<HashMap<RepositoryName, (ScanTrigger, Instant)>>);

/// For how long a trigger is taken for granted.
const TRIGGER_AGE: Duration = Duration::from_mins(10);

/// The most repositories that are remembered, so that a warm function does not grow without end.
const MAX_TRIGGERS: usize = 512;

impl TriggerCache {
    pub(super) fn get(&self, repository: &RepositoryName, now: Instant) -> Option<ScanTrigger> {
        let triggers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (trigger, since) = triggers.get(repository)?;
        (now.saturating_duration_since(*since) < TRIGGER_AGE).then_some(*trigger)
    }

    pub(super) fn put(&self, repository: &RepositoryName, trigger: ScanTrigger, now: Instant) {
        let mut triggers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if triggers.len() >= MAX_TRIGGERS {
            triggers.retain(|_, (_, since)| now.saturating_duration_since(*since) < TRIGGER_AGE);
        }
        if triggers.len() >= MAX_TRIGGERS {
            triggers.clear();
        }
        triggers.insert(repository.clone(), (trigger, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_is_known_for_ten_minutes() {
        let (cache, start) = (TriggerCache::default(), Instant::now());
        let repository: RepositoryName = "team/api".parse().unwrap();
        assert_eq!(cache.get(&repository, start), None);
        cache.put(&repository, ScanTrigger::Manual, start);
        assert_eq!(
            cache.get(&repository, start + TRIGGER_AGE - Duration::from_secs(1)),
            Some(ScanTrigger::Manual)
        );
        assert_eq!(cache.get(&repository, start + TRIGGER_AGE), None);
        assert_eq!(cache.get(&"team/web".parse().unwrap(), start), None);
    }

    #[test]
    fn the_cache_of_triggers_is_bounded_and_drops_the_old_ones_first() {
        let (cache, start) = (TriggerCache::default(), Instant::now());
        let repository = |n: usize| format!("r{n}").parse::<RepositoryName>().unwrap();
        for n in 0..MAX_TRIGGERS {
            let at = if n == 0 { start } else { start + TRIGGER_AGE };
            cache.put(&repository(n), ScanTrigger::Automatic, at);
        }
        let now = start + TRIGGER_AGE;
        cache.put(&repository(MAX_TRIGGERS), ScanTrigger::Automatic, now);
        assert_eq!(cache.get(&repository(0), now), None);
        assert!(cache.get(&repository(1), now).is_some());
        for n in 0..10 * MAX_TRIGGERS {
            cache.put(&repository(n), ScanTrigger::Automatic, now);
        }
        assert!(cache.0.lock().unwrap().len() <= MAX_TRIGGERS);
    }
}
