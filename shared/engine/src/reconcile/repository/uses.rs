//! Who uses what a lifecycle policy would take.

use super::run::RepositoryRun;
use crate::reconcile::ReconcileError;
use guard_core::{
    ids::ImageKey,
    policy::WhenInUse,
    repository::decide::Preview,
    uses::{Uses, WhenUnknown, unknown},
};
use guard_ports::{Clock as _, Ledger as _, Services, UseLedger as _};

impl<S: Services> RepositoryRun<'_, S> {
    /// The images that a lifecycle policy would take, with their known uses.
    pub(super) async fn with_uses(&self, preview: Preview, text: &str) -> Result<Preview, ReconcileError> {
        let used = self.used(&preview, text).await?;
        self.with_what_they_lead_to(Preview { used, ..preview }).await
    }

    /// The workloads that would lose an image by a lifecycle policy, or why that is not known; `None`: none, or nobody checks.
    async fn used(&self, preview: &Preview, text: &str) -> Result<Option<String>, ReconcileError> {
        let Some(rules) = &self.policy.workloads else {
            return Ok(None);
        };
        if self.policy.block(&self.key.repository).when_in_use != WhenInUse::Hold {
            return Ok(None);
        }
        // An image that nobody pulls for this time may run all the same: nobody asks ECR before it archives it.
        let archives_unpulled = text.contains("sinceImagePulled");
        if preview.total == 0 && !archives_unpulled {
            return Ok(None);
        }
        let failed = |source| self.failed("look up who uses the images of", source);
        let (ledger, now) = (self.services.ledger(), self.services.clock().now());
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = ledger.uses_in(self.key, after.as_deref()).await.map_err(failed)?;
            if let Some(unreadable) = page.unreadable.into_iter().next() {
                return Err(failed(unreadable));
            }
            rows.extend(page.items.into_iter().filter(|row| row.counts(now)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let state = ledger
            .index_state(&self.key.account, &self.key.region)
            .await
            .map_err(failed)?;
        // An index shares the fate of its children.
        let of_preview: Vec<ImageKey> = preview
            .images
            .iter()
            .map(|image| self.key.image(&image.digest))
            .collect();
        let known = ledger.rows_of(&of_preview).await.map_err(failed)?;
        let below = known.into_iter().flatten().flat_map(|row| row.children);
        let mut taken = of_preview.clone();
        taken.extend(below.map(|child| self.key.image(&child.digest)));
        if archives_unpulled {
            taken.extend(rows.iter().map(|row| row.image.clone()));
        }
        Ok(match Uses::of(rules, &taken, &rows, state.as_ref(), now) {
            Uses::By(used) => {
                let names = taken.first().map(|image| used.names(image)).unwrap_or_default();
                Some(if archives_unpulled {
                    format!("it would archive, now or later, images that are in use: {names}")
                } else {
                    format!("it would delete or archive images that are in use: {names}")
                })
            }
            Uses::Nobody | Uses::Unknown(_) if rules.when_unknown == WhenUnknown::Ignore => None,
            // Also where nothing would be taken yet.
            Uses::Nobody | Uses::Unknown(_) => unknown(rules, self.key, state.as_ref(), now)
                .map(|why| format!("it is not known who uses the images that it would take: {why}")),
        })
    }
}
