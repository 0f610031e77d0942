//! Which workloads use an image.

use super::{ahead::Answers, image_run::ImageRun};
use crate::reconcile::{ReconcileError, refusal_of};
use guard_core::{
    decide::{Effect, Facts, workloads_that_hold},
    ids::ImageKey,
    uses::{Uses, WorkloadRules},
};
use guard_ports::{Clock as _, FamilyRows, Retry, Services, UseLedger as _};

impl<S: Services> ImageRun<'_, S> {
    /// The workloads that use the image, or a relative that is pulled with it: one round trip. A use that cannot be read is not
    /// known.
    pub(super) async fn uses(&self, facts: &Facts, answers: Option<&Answers>) -> Result<Uses, ReconcileError> {
        let Some(rules) = self.policy.workloads.as_ref() else {
            return Ok(Uses::Nobody);
        };
        let images = facts.pulled_together();
        match answers.and_then(|answers| answers.uses_of(self, &images)) {
            Some(uses) => Ok(uses),
            None => self.uses_of(rules, &images).await,
        }
    }

    /// The rules by which workloads hold the image, if an event announces a blocking finding: the decision will need to know who uses it.
    pub(super) fn rules_ahead(&self) -> Option<&WorkloadRules> {
        let announced = self.hints.announced.as_ref();
        let may_block = announced.is_some_and(|event| self.policy.may_block(&event.counts));
        workloads_that_hold(self.policy, &self.key).filter(|_| may_block)
    }

    async fn uses_of(&self, rules: &WorkloadRules, images: &[ImageKey]) -> Result<Uses, ReconcileError> {
        let ledger = self.services.ledger();
        match ledger.rows_and_uses(&[], images, &self.registry()).await {
            Ok(FamilyRows { uses, state, .. }) => {
                let now = self.services.clock().now();
                Ok(Uses::of(rules, images, &uses, state.as_ref(), now))
            }
            Err(source) if source.retry == Retry::Never => Ok(Uses::Unknown(refusal_of(&source))),
            Err(source) => Err(self.failed("look up who uses", source)),
        }
    }

    /// The workloads that came while an image was being blocked; `None`: none. It is looked up between claim and effect.
    pub(super) async fn used_meanwhile(&self, effect: &Effect, facts: &Facts) -> Result<Option<Uses>, ReconcileError> {
        let Some(rules) = workloads_that_hold(self.policy, &self.key).filter(|_| effect.blocks()) else {
            return Ok(None);
        };
        let images = facts.pulled_together();
        let rows = self.services.ledger().uses_of(&images).await;
        let rows = rows.map_err(|source| self.failed("look up who uses", source))?;
        let uses = Uses::of(rules, &images, &rows, None, self.services.clock().now());
        Ok(Some(uses).filter(|uses| matches!(uses, Uses::By(_))))
    }
}
