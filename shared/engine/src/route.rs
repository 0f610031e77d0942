//! Where the alerts about a repository go, where the policy lets that follow a tag of the repository.
//!
//! Sweeps and pushes read the tag and keep it in the repository's row; an alert takes it from there.

use guard_core::{
    ids::{RepositoryKey, TopicArn},
    policy::Policy,
    repository::{ledger::RepositoryRow, route::RouteTag},
};
use guard_ports::{Clock as _, Repositories as _, RepositoryLedger as _, Services, Written};

use crate::reconcile::ReconcileError;

/// How often it is started over: somebody else wrote the row in between.
const MAX_ATTEMPTS: usize = 6;

/// The topic of a repository's alerts. Where the row cannot be read, it is the one without the tag: the alert does not wait for that.
pub(crate) async fn topic<'a>(services: &impl Services, policy: &'a Policy, key: &RepositoryKey) -> &'a TopicArn {
    let row = match policy.route_by_tag() {
        Some(_) => services.ledger().repository_row(key).await.ok().flatten(),
        None => None,
    };
    policy.topic(&key.repository, row.and_then(|row| row.route).as_ref())
}

/// When a repository's tag is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadTag {
    /// Now.
    Now,
    /// If it was never read.
    IfUnknown,
}

/// Reads the tag that the route of a repository's alerts follows, if the policy has one, and keeps it in the repository's row. While an
/// invocation sends an alert that the row owes, the row is left as it is: that invocation could not record what it has sent. The next
/// reconcile of the repository reads the tag.
///
/// # Errors
/// A call failed, or others are at work on the same repository.
pub async fn remember_route(
    services: &impl Services,
    policy: &Policy,
    key: &RepositoryKey,
    when: ReadTag,
) -> Result<(), ReconcileError> {
    let Some(tag) = policy.route_by_tag() else {
        return Ok(());
    };
    let failed = |source| ReconcileError::port("look up the route of", key, source);
    for _ in 0..MAX_ATTEMPTS {
        let row = services.ledger().repository_row(key).await.map_err(failed)?;
        let known = row.as_ref().and_then(|row| row.route.as_ref());
        if when == ReadTag::IfUnknown && known.is_some_and(|known| known.tag == tag) {
            return Ok(());
        }
        let tags = services.registry().repository_tags(key).await.map_err(failed)?;
        let read = RouteTag::of(tag, &tags);
        if known == Some(&read) {
            return Ok(());
        }
        let now = services.clock().now();
        if row
            .iter()
            .flat_map(|row| &row.notes)
            .any(|note| note.is_undertaken(now))
        {
            return Ok(());
        }
        let mut row = row.unwrap_or_else(|| RepositoryRow::new(key.clone(), &policy.sha256));
        row.generation += 1;
        row.route = Some(read);
        let written = services.ledger().write_repository_row(&row).await;
        if written.map_err(failed)? == Written::Yes {
            return Ok(());
        }
    }
    Err(ReconcileError::Contended(key.into()))
}

#[cfg(test)]
mod tests;
