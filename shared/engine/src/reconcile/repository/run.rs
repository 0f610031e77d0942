//! The common part of settings and tags.

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
    /// The writer for this repository; `None`: the policy only reports on it.
    pub(super) fn writer(&self) -> Option<&S::Writer> {
        self.services
            .writer()
            .filter(|_| self.policy.enforces(&self.key.repository))
    }

    pub(super) fn failed(&self, doing: &'static str, source: PortError) -> ReconcileError {
        ReconcileError::port(doing, self.key, source)
    }

    pub(super) async fn tell(&self, alerts: &[RepositoryAlert]) -> Result<Vec<RepositoryAlertKind>, ReconcileError> {
        let told = tell(self.services, self.policy, self.key, alerts).await;
        told.map_err(|source| self.failed("send the alert about", source))
    }
}

/// Notifies people of a problem with a repository, a tag or its copies. The result is the kinds of the alerts.
pub(in crate::reconcile) async fn tell(
    services: &impl Services,
    policy: &Policy,
    key: &RepositoryKey,
    alerts: &[RepositoryAlert],
) -> Result<Vec<RepositoryAlertKind>, PortError> {
    if alerts.is_empty() {
        return Ok(Vec::new());
    }
    let topic = topic(services, policy, key).await;
    for alert in alerts {
        let alert = alert.alert(policy.contact(&key.repository));
        services
            .notifier()
            .tell_now(&alert.brief(topic), &alert.message())
            .await?;
    }
    Ok(alerts.iter().map(|alert| alert.kind).collect())
}
