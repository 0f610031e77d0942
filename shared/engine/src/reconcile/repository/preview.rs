//! The effect of a lifecycle policy.

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;

use super::run::RepositoryRun;
use crate::reconcile::ReconcileError;
use guard_core::{
    ids::{Digest, ImageRef},
    image::{children, leads_to_others},
    repository::decide::{Preview, RepositoryEffect, RepositoryFacts, RepositoryStep},
};
use guard_ports::{Clock as _, Registry as _, Repositories as _, Services};

/// The most indexes of a preview that are read, the most at once, and the most children of one.
const MAX_INDEXES: usize = 500;
const INDEXES_AT_ONCE: usize = 8;
const MAX_CHILDREN_LOOKED_AT: usize = 200;

/// When something was last pulled.
#[derive(Default)]
struct LastPull {
    at: Option<Timestamp>,
    /// Not all of it could be read.
    unknown: bool,
}

impl<S: Services> RepositoryRun<'_, S> {
    /// Who pulls a multi-platform image pulls the index and one of its images, and for which of them ECR records it is not documented: a pull of
    /// any of them counts for the index, which takes them along.
    pub(super) async fn with_what_they_lead_to(&self, mut preview: Preview) -> Result<Preview, ReconcileError> {
        let now = self.services.clock().now();
        // One that is in use is enough to hold the policy.
        if preview
            .images
            .iter()
            .any(|image| image.is_in_use(self.policy.block(&self.key.repository), now))
        {
            return Ok(preview);
        }
        let indexes = preview.images.iter().enumerate().filter(|(_, image)| image.is_index);
        let indexes: Vec<(usize, Digest)> = indexes.map(|(place, image)| (place, image.digest.clone())).collect();
        let looks = indexes.into_iter().enumerate().map(|(n, (place, index))| async move {
            let found = if n < MAX_INDEXES {
                self.last_pull(index).await?
            } else {
                LastPull {
                    at: None,
                    unknown: true,
                }
            };
            Ok::<_, ReconcileError>((place, found))
        });
        let looked: Vec<_> = stream::iter(looks).buffer_unordered(INDEXES_AT_ONCE).collect().await;
        for found in looked {
            let (place, found) = found?;
            if let Some(image) = preview.images.get_mut(place) {
                image.last_pulled_at = image.last_pulled_at.max(found.at);
                image.unknown = found.unknown;
            }
        }
        Ok(preview)
    }

    /// When a child of an index was last pulled, at any depth.
    async fn last_pull(&self, index: Digest) -> Result<LastPull, ReconcileError> {
        let failed = |source| self.failed("read an index of", source);
        let (mut found, mut next) = (LastPull::default(), vec![index]);
        let mut looked = 0;
        while let Some(digest) = next.pop() {
            let manifest = self
                .services
                .registry()
                .manifest(&self.key.image(&digest))
                .await
                .map_err(failed)?;
            // Without a manifest it is deleted or in the archive, from where nothing is pulled.
            let Some(listed) = manifest.as_deref().and_then(children) else {
                continue;
            };
            found.unknown |= listed.more > 0;
            for child in listed.children {
                looked += 1;
                if looked > MAX_CHILDREN_LOOKED_AT {
                    found.unknown = true;
                    return Ok(found);
                }
                let by_digest = ImageRef::Digest(child.digest.clone());
                let image = self
                    .services
                    .registry()
                    .image(&self.key.repository, &by_digest)
                    .await
                    .map_err(failed)?;
                let Some(image) = image else { continue };
                found.at = found.at.max(image.last_pulled_at);
                if leads_to_others(image.manifest_media_type.as_deref()) {
                    next.push(child.digest);
                }
            }
        }
        Ok(found)
    }

    /// Whether the documents that are to be written are still those that were read: a preview takes its time, and what others change meanwhile
    /// must not be undone.
    pub(super) async fn is_as_read(
        &self,
        facts: &RepositoryFacts,
        step: &RepositoryStep,
    ) -> Result<bool, ReconcileError> {
        let failed = |source| self.failed("reconcile", source);
        for effect in &step.effects {
            let is_same = match effect {
                RepositoryEffect::Access(_) => {
                    self.services
                        .registry()
                        .repository_policy(self.key)
                        .await
                        .map_err(failed)?
                        == facts.access
                }
                RepositoryEffect::Lifecycle(_) => {
                    self.services
                        .registry()
                        .lifecycle_policy(self.key)
                        .await
                        .map_err(failed)?
                        == facts.lifecycle
                }
                RepositoryEffect::TagMutability(_) | RepositoryEffect::ScanOnPush => true,
            };
            if !is_same {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
