//! Notifies the team of a blocked image that a workload could not pull it.

use futures_util::future::join;
use tracing::debug;

use crate::{route::topic, workloads::Index};
use guard_core::{
    decide::{pull_refused, refuses_pull, release_step},
    ids::{ImageKey, ImageRef, RepositoryKey},
    policy::Policy,
    uses::{ImageReference, RefusedPull, Workload},
};
use guard_ports::{
    Clock as _, Ledger as _, Notifier as _, PortError, RepositoryLedger as _, Services, UseLedger as _, Written,
};

/// A workload that could not pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The workload.
    pub workload: Workload,
    /// The images, as it names them: one of them, or all, could not be pulled.
    pub images: Vec<ImageReference>,
    /// Why, in the words of what starts it.
    pub says: String,
}

impl<S: Services> Index<'_, S> {
    /// Alerts those images that are blocked, and therefore refused: once a day for each image and service or family. The result
    /// is the number of alerts. `actor`: this invocation.
    ///
    /// # Errors A call failed: the pending alert is sent when the event is delivered again.
    pub async fn refused(&self, policy: &Policy, refused: &Refused, actor: &str) -> Result<u64, PortError> {
        let (mut told, mut failure) = (0_u64, None);
        let mut images = refused.images.clone();
        images.sort();
        images.dedup();
        for image in images.iter().filter(|image| self.is_ours(image)) {
            match self.refused_image(policy, refused, image, actor).await {
                Ok(is_told) => told = told.saturating_add(u64::from(is_told)),
                // The others may be all right.
                Err(failed) => failure = failure.or(Some(failed)),
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None => Ok(told),
        }
    }

    /// Whether its alert was sent now.
    async fn refused_image(
        &self,
        policy: &Policy,
        refused: &Refused,
        image: &ImageReference,
        actor: &str,
    ) -> Result<bool, PortError> {
        let Some(key) = self.refused_key(image).await? else {
            return Ok(false);
        };
        let ledger = self.services.ledger();
        let who = RefusedPull::who(&refused.workload);
        let (row, before) = join(ledger.row(&key), ledger.refused_pull(&key, &who)).await;
        let Some(row) = row?.filter(|row| refuses_pull(row, &image.image)) else {
            return Ok(false);
        };
        let now = self.services.clock().now();
        let Some(claim) = RefusedPull::claim(before?.as_ref(), &key, &who, actor, now) else {
            return Ok(false);
        };
        let mut alert = pull_refused(&row, &claim, &refused.workload, &refused.says, now);
        alert.next_steps.extend(release_step(policy, &key.repository));
        let alert = alert.alert(policy.contact(&key.repository));
        let brief = alert.brief(topic(self.services, policy, &RepositoryKey::of(&key)).await);
        let notifier = self.services.notifier();
        let (written, slot) = join(ledger.write_refused_pull(&claim), notifier.slot(&brief)).await;
        if written? == Written::Conflict {
            // The invocation that wrote the row sends the alert of another event about the same.
            return Ok(false);
        }
        notifier.tell(slot, &brief, &alert.message()).await?;
        debug!(of = %key, %who, "decided: an alert is sent");
        // If that is not written, the alert is sent once more, under the same id.
        ledger
            .write_refused_pull(&claim.told(self.services.clock().now()))
            .await?;
        Ok(true)
    }

    /// The image. A tag that a quarantine took is resolved to the image that had it.
    async fn refused_key(&self, image: &ImageReference) -> Result<Option<ImageKey>, PortError> {
        if let Some(key) = image.key() {
            return Ok(Some(key));
        }
        if let Some(key) = self.look_up(image).await? {
            return Ok(Some(key));
        }
        let ImageRef::Tag(tag) = &image.image else {
            return Ok(None);
        };
        let repository = RepositoryKey {
            account: image.account.clone(),
            region: image.region.clone(),
            repository: image.repository.clone(),
        };
        let known = self.services.ledger().tag_row(&repository, tag).await?;
        Ok(known.map(|known| repository.image(&known.digest)))
    }
}

#[cfg(test)]
mod tests;
