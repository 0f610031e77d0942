//! The worker that handles an item of the queue.

use std::time::Duration;

use super::{cycle::Sweep, error::SweepError, looks::Looks};
use guard_core::{
    policy::Policy,
    work::{MAX_HOPS, WorkItem},
};
use guard_ports::{Queue as _, Services};

/// The worker that handles an item of the queue.
#[derive(Debug)]
pub struct Worker<'a, S> {
    /// The services that it reads and changes.
    pub services: &'a S,
    /// The policy.
    pub policy: &'a Policy,
    /// The sweep that the item is of.
    pub sweep: &'a Sweep,
    /// The item, by an id that another delivery of it keeps.
    pub actor: &'a str,
}

impl<S: Services> Worker<'_, S> {
    pub(super) async fn send(
        &self,
        items: &[WorkItem],
        hidden_for: Duration,
        looks: &mut Looks,
    ) -> Result<(), SweepError> {
        let Some(first) = items.first() else { return Ok(()) };
        if self.sweep.hops >= MAX_HOPS
            && let Some(repository) = first.work.repository()
        {
            return Err(SweepError::TooManyHops(repository.clone()));
        }
        let sent = self.services.queue().send(items, hidden_for).await;
        sent.map_err(|source| SweepError::port("leave work to other workers", source))?;
        looks.items += items.len() as u64;
        Ok(())
    }
}
