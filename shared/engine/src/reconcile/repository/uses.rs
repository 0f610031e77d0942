//! Who uses what a lifecycle policy would take.

use super::run::RepositoryRun;
use crate::reconcile::ReconcileError;
use guard_core::{
    ids::ImageKey,
    repository::{
        decide::{Lost, Preview, asks_for_uses},
        ledger::Losing,
    },
    uses::{IndexState, UseRow, Uses, WhenUnknown, WorkloadRules, unknown},
};
use guard_ports::{Clock as _, Ledger as _, Services, UseLedger as _};

impl<S: Services> RepositoryRun<'_, S> {
    /// The images that a lifecycle policy would take, with their known uses.
    pub(super) async fn with_uses(&self, preview: Preview, text: &str) -> Result<Preview, ReconcileError> {
        let preview = self.with_workloads(preview, text).await?;
        self.with_what_they_lead_to(preview).await
    }

    /// The same with the workloads that use it alone.
    pub(super) async fn with_workloads(&self, preview: Preview, text: &str) -> Result<Preview, ReconcileError> {
        let used = self.used(&preview, text).await?;
        Ok(Preview { used, ..preview })
    }

    /// The workloads that a lifecycle policy takes images from, if none uses an image of the repository: none, unless that is
    /// not known. `None`: some use one, so that a preview must say which.
    pub(super) async fn without_uses(&self) -> Result<Option<Preview>, ReconcileError> {
        let Some(rules) = &self.policy.workloads else {
            return Ok(None);
        };
        let (rows, state) = self.index().await?;
        Ok(rows.is_empty().then(|| Preview {
            images: Vec::new(),
            total: 0,
            used: self.not_known(rules, state.as_ref()),
        }))
    }

    /// The use rows of the repository that count, and how complete the index is.
    async fn index(&self) -> Result<(Vec<UseRow>, Option<IndexState>), ReconcileError> {
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
        let state = ledger.index_state(&self.key.account, &self.key.region).await;
        Ok((rows, state.map_err(failed)?))
    }

    /// Why it is not known who uses images of the repository; `None`: it is, or that does not matter.
    fn not_known(&self, rules: &WorkloadRules, state: Option<&IndexState>) -> Option<Lost> {
        if rules.when_unknown == WhenUnknown::Ignore {
            return None;
        }
        let why = unknown(rules, self.key, state, self.services.clock().now());
        why.map(|why| Lost::Unknown(format!("it is not known who uses the images that it would take: {why}")))
    }

    /// The workloads that would lose an image by a lifecycle policy, or why that is not known; `None`: none, or nobody checks.
    async fn used(&self, preview: &Preview, text: &str) -> Result<Option<Lost>, ReconcileError> {
        let rules = self.policy.workloads.as_ref();
        let Some(rules) = rules.filter(|_| asks_for_uses(self.policy, self.key)) else {
            return Ok(None);
        };
        // An image that nobody pulls for this time may run all the same: nobody asks ECR before it archives it.
        let archives_unpulled = text.contains("sinceImagePulled");
        if preview.total == 0 && !archives_unpulled {
            return Ok(None);
        }
        let (rows, state) = self.index().await?;
        // An index shares the fate of its children.
        let of_preview: Vec<ImageKey> = preview
            .images
            .iter()
            .map(|image| self.key.image(&image.digest))
            .collect();
        let failed = |source| self.failed("look up who uses the images of", source);
        let known = self.services.ledger().rows_of(&of_preview).await.map_err(failed)?;
        let below = known.into_iter().flatten().flat_map(|row| row.children);
        let mut taken = of_preview;
        taken.extend(below.map(|child| self.key.image(&child.digest)));
        let is_taken = |row: &&UseRow| archives_unpulled || taken.contains(&row.image);
        let mut lost: Vec<&UseRow> = rows.iter().filter(is_taken).collect();
        // Always the same one of them is named.
        lost.sort_by(|one, other| one.image.cmp(&other.image));
        let Some(first) = lost.first() else {
            // Also where nothing would be taken yet.
            return Ok(self.not_known(rules, state.as_ref()));
        };
        let now = self.services.clock().now();
        let only = std::slice::from_ref(&first.image);
        let Uses::By(used) = Uses::of(rules, only, &rows, state.as_ref(), now) else {
            return Ok(self.not_known(rules, state.as_ref()));
        };
        let mut images = preview.images.iter();
        let tag = images.find(|image| image.digest == first.image.digest);
        let tag = tag.and_then(|image| image.tag.as_ref().map(ToString::to_string));
        let image = tag.unwrap_or_else(|| first.image.digest.short().to_owned());
        let does = if archives_unpulled {
            "archive, now or later,"
        } else {
            "delete or archive"
        };
        let (number, names) = (lost.len(), used.names(&first.image));
        Ok(Some(Lost::Image(Losing {
            words: format!("it would {does} images that are in use ({number}, one is {image}): {names}"),
            image,
        })))
    }
}
