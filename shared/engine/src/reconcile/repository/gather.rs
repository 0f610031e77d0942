//! The facts about a repository's settings.

use std::collections::BTreeMap;

use futures_util::future::{join, try_join5};

use super::run::RepositoryRun;
use crate::reconcile::ReconcileError;
use guard_core::repository::{decide::RepositoryFacts, ledger::RepositoryRow, posture::ListedSettings};
use guard_ports::{Keys as _, Registry as _, Repositories as _, RepositoryLedger as _, Services};

impl<S: Services> RepositoryRun<'_, S> {
    /// All facts for the decision: one round of concurrent calls, and a second one for those that the first one names. Settings
    /// in `known` are not asked for, and tags are not either then.
    pub(super) async fn gather(
        &self,
        known: Option<(&ListedSettings, Option<RepositoryRow>)>,
        actor: &str,
    ) -> Result<RepositoryFacts, ReconcileError> {
        let (key, services) = (self.key, self.services);
        let (listed, row) = known.unzip();
        let rules = self.policy.repository(&key.repository);
        let posture = rules.and_then(|rules| rules.posture.as_ref());
        let access = async {
            match posture {
                Some(_) => services.registry().repository_policy(key).await,
                None => Ok(None),
            }
        };
        let lifecycle = async {
            match rules.and_then(|rules| rules.lifecycle_in(&key.region)) {
                Some(_) => services.registry().lifecycle_policy(key).await,
                None => Ok(None),
            }
        };
        let trigger = async {
            match (posture.filter(|posture| posture.scan_on_push), listed) {
                (Some(_), Some(listed)) => Ok(Some(listed.trigger)),
                (Some(_), None) => services.registry().scan_trigger(&key.repository).await,
                (None, _) => Ok(None),
            }
        };
        let repository = async {
            match listed {
                Some(listed) => Ok(Some(listed.repository.clone())),
                None => services.registry().repository(key).await,
            }
        };
        let tags = async {
            match listed {
                Some(_) => Ok(BTreeMap::new()),
                None => services.registry().repository_tags(key).await,
            }
        };
        let looked = try_join5(repository, tags, access, lifecycle, trigger);
        let row = async {
            match row {
                Some(row) => Ok(row),
                None => services.ledger().repository_row(key).await,
            }
        };
        let (looked, row) = join(looked, row).await;
        let failed = |source| self.failed("reconcile", source);
        let (repository, tags, access, lifecycle, trigger) = looked.map_err(failed)?;
        let mut facts = RepositoryFacts {
            repository,
            tags,
            trigger,
            access,
            lifecycle,
            row: row.map_err(failed)?,
            ..RepositoryFacts::about(key.clone(), actor)
        };
        self.look_further(&mut facts, listed, posture.is_some()).await?;
        Ok(facts)
    }

    /// The facts that the first round names: the key that encrypts the repository, and how the registry scans.
    async fn look_further(
        &self,
        facts: &mut RepositoryFacts,
        listed: Option<&ListedSettings>,
        has_posture: bool,
    ) -> Result<(), ReconcileError> {
        let services = self.services;
        let failed = |source| self.failed("reconcile", source);
        let arn = facts
            .repository
            .as_ref()
            .and_then(|repository| repository.encryption.key.clone());
        let kms = async {
            match arn.filter(|_| has_posture) {
                Some(arn) => services.keys().key(&arn).await.map(Some),
                None => Ok(None),
            }
        };
        let mode = async {
            match listed {
                Some(listed) => Ok(Some(listed.scan_mode)),
                None if facts.is_not_covered() => services.registry().scan_mode().await.map(Some),
                None => Ok(None),
            }
        };
        let (kms, mode) = join(kms, mode).await;
        (facts.kms, facts.scan_mode) = (kms.map_err(failed)?, mode.map_err(failed)?);
        Ok(())
    }
}
