//! Sweeps in the world: from the list of repositories until the queue is empty.
#![expect(clippy::unwrap_used, reason = "a test that is wrong in itself should stop at once")]

use jiff::{SignedDuration, Timestamp};

use crate::sweep::{Enqueued, Failures, KnownSettings, Looks, Sweep, SweepError, Worker, enqueue_repositories};
use guard_core::{
    policy::Policy,
    work::{Work, WorkItem},
};
use guard_ports::Clock as _;
use guard_testkit::{World, registry_key, run};

/// A sweep that begins now and has all the time that it needs.
pub fn a_sweep(world: &World) -> Sweep {
    Sweep {
        registry: registry_key(),
        began: world.now(),
        since: None,
        hops: 0,
        until: Timestamp::MAX,
    }
}

/// Leaves an item for every repository.
///
/// # Panics
/// A call fails.
pub fn enqueue(world: &World, policy: &Policy) {
    let sweep = Sweep {
        until: world.now() + SignedDuration::from_hours(1),
        ..a_sweep(world)
    };
    run(enqueue_known(world, policy, &sweep)).unwrap();
}

/// Leaves an item for every repository, with what is known of its settings.
///
/// # Errors
/// A call fails.
pub async fn enqueue_known(world: &World, policy: &Policy, sweep: &Sweep) -> Result<Enqueued, SweepError> {
    let known = KnownSettings::read(world, policy).await;
    let services = world.services(policy);
    let (enqueued, unreadable) = enqueue_repositories(&services, world, sweep, known.as_ref(), None).await?;
    unreadable.into_iter().next().map_or(Ok(enqueued), Err)
}

/// Does what an item says.
pub fn work(world: &World, policy: &Policy, item: &WorkItem) -> (Looks, Failures) {
    let sweep = Sweep {
        began: item.sweep,
        since: item.since,
        hops: item.hops,
        ..a_sweep(world)
    };
    run(work_in(world, policy, &sweep, &item.work, "an-item"))
}

/// Does what an item of a sweep says, in the name of `actor`.
pub async fn work_in(world: &World, policy: &Policy, sweep: &Sweep, work: &Work, actor: &str) -> (Looks, Failures) {
    let worker = Worker {
        services: &world.services(policy),
        policy,
        sweep,
        actor,
    };
    worker.work(work).await
}

/// Does what a worker does until the queue is empty.
///
/// # Panics
/// Something cannot be done.
pub fn work_off(world: &World, policy: &Policy) -> Looks {
    let mut looks = Looks::default();
    while let [item] = world.take_items(1).as_slice() {
        let (more, failures) = work(world, policy, item);
        assert_eq!(failures, []);
        looks.add(&more);
    }
    looks
}

/// A whole sweep.
///
/// # Panics
/// Something cannot be done.
pub fn sweep(world: &World, policy: &Policy) -> Looks {
    enqueue(world, policy);
    work_off(world, policy)
}
