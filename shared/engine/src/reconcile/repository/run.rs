//! What settings and tags have in common.

use crate::{reconcile::ReconcileError, route::topic};
use guard_core::{alert::repository::RepositoryAlert, ids::RepositoryKey, notice::RepositoryAlertKind, policy::Policy};
use guard_ports::{Notifier as _, PortError, Services};

/// How often it is started over: somebody else wrote the row in between, or the registry refused a change.
pub(super) const MAX_ATTEMPTS: usize = 6;

pub(super) struct RepositoryRun<'a, S> {
    pub(super) services: &'a S,
    pub(super) policy: &'a Policy,
    pub(super) key: &'a RepositoryKey,
}

impl<S: Services> RepositoryRun<'_, S> {
    /// What changes this repository; `None`: the policy only reports on it.
    pub(super) fn writer(&self) -> Option<&S::Writer> {
        self.services
            .writer()
            .filter(|_| self.policy.enforces(&self.key.repository))
    }

    pub(super) fn failed(&self, doing: &'static str, source: PortError) -> ReconcileError {
        ReconcileError::port(doing, self.key, source)
    }

    pub(super) async fn tell(&self, alerts: &[RepositoryAlert]) -> Result<Vec<RepositoryAlertKind>, ReconcileError> {
        if alerts.is_empty() {
            return Ok(Vec::new());
        }
        let topic = topic(self.services, self.policy, self.key).await;
        for alert in alerts {
            let brief = alert.brief(topic);
            let message = alert.message(self.policy.contact(&self.key.repository));
            let told = self.services.notifier().tell_now(&brief, &message).await;
            told.map_err(|source| self.failed("tell of", source))?;
        }
        Ok(alerts.iter().map(|alert| alert.kind).collect())
    }
}
