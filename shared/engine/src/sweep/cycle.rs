//! A sweep that is going on.

use std::time::Duration;

use jiff::Timestamp;

use guard_core::{
    decide::Turns,
    ids::{RegistryKey, RepositoryName},
    repository::posture::ListedSettings,
    work::{Work, WorkItem, WorkSchema},
};

pub(super) const NOT_HIDDEN: Duration = Duration::ZERO;

/// A sweep that is going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// The registry.
    pub registry: RegistryKey,
    /// When it began.
    pub began: Timestamp,
    /// When the sweep before it began, whose turns are done; `None`: only the turns of its own hour are due.
    pub since: Option<Timestamp>,
    /// The number of invocations before this one, one after the other.
    pub hops: u32,
    /// When this invocation must be through: nothing new is begun after that.
    pub until: Timestamp,
}

impl Sweep {
    /// Whose turn it is.
    pub(super) fn turns(&self) -> Turns {
        Turns::new(self.since, self.began)
    }

    /// A subject to reconcile, one hop further.
    pub fn item(&self, work: Work) -> WorkItem {
        WorkItem {
            schema: WorkSchema::V1,
            sweep: self.began,
            since: self.since,
            hops: self.hops.saturating_add(1),
            account: self.registry.account.clone(),
            region: self.registry.region.clone(),
            work,
        }
    }

    pub(super) fn repository(&self, repository: RepositoryName, listed: Option<ListedSettings>) -> WorkItem {
        self.item(Work::Repository {
            repository,
            after: None,
            again: false,
            copies: false,
            listed: listed.map(Box::new),
            waited: 0,
        })
    }
}
