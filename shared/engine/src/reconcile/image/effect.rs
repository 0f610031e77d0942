//! The change that a plan makes in the registry, and whether it holds.

use super::image_run::ImageRun;
use crate::{
    reconcile::ReconcileError,
    tag_removal::{Claims, Taken},
};
use guard_core::{
    decide::Effect,
    ids::{ImageRef, Tag},
    image::{Image, ImageStatus},
    state::State,
};
use guard_ports::{Clock as _, Ledger as _, PortError, Registry as _, RegistryWriter as _, Retry, Services};

impl<S: Services> ImageRun<'_, S> {
    /// Makes the change. For a release, the result is why our own tag stays, if the registry refuses nothing else: the image
    /// can be pulled as before.
    pub(super) async fn bring_about(&self, effect: &Effect) -> Result<Option<PortError>, ReconcileError> {
        let Some(writer) = self.writer() else {
            // `decide` plans no effect in report mode; if it ever did, this is where it ends.
            return Err(self.not_verified("nothing can be changed in report mode"));
        };
        let key = &self.key;
        let change = |source| self.failed("change", source);
        match effect {
            Effect::Archive => match writer.archive(key).await.map_err(change)? {
                ImageStatus::Archived => Ok(None),
                other => Err(self.not_verified(&format!("asked to archive it, the registry answered {other:?}"))),
            },
            Effect::Restore => match writer.restore(key).await.map_err(change)? {
                ImageStatus::Active | ImageStatus::Activating => Ok(None),
                other => Err(self.not_verified(&format!("asked to restore it, the registry answered {other:?}"))),
            },
            Effect::Quarantine { mark, remove } => {
                // Boxed, because it is seldom done and would make every look larger.
                let taken = Box::pin(self.quarantine(writer, mark, remove)).await?;
                match taken.refused {
                    Some(source) => Err(change(source)),
                    None => Ok(None),
                }
            }
            Effect::Unquarantine { mark, restore } => {
                let removal = self.removal(writer);
                Box::pin(removal.give(key, restore)).await.map_err(change)?;
                let refused = match Box::pin(removal.take_mark(key, mark)).await {
                    Ok(taken) => taken.refused,
                    Err(source) => Some(source),
                };
                match refused {
                    Some(source) if !source.is_denied() => Err(change(source)),
                    denied => Ok(denied),
                }
            }
        }
    }

    /// Takes the tags from the image. If another invocation has released the image meanwhile, the tags are given back.
    ///
    /// # Errors
    /// A call failed, or the image is released.
    async fn quarantine(&self, writer: &S::Writer, mark: &Tag, remove: &[Tag]) -> Result<Taken, ReconcileError> {
        let (key, removal) = (&self.key, self.removal(writer));
        let at = self.services.clock().now();
        let taken = removal.take(key, remove, mark, Claims::Write(self.actor)).await;
        let gone: Vec<Tag> = match &taken {
            Ok(taken) => taken.removed.iter().chain(&taken.unanswered).cloned().collect(),
            Err(error) if error.retry == Retry::Later => remove.to_vec(),
            Err(_) => Vec::new(),
        };
        // A release writes the row before it restores tags: where the row is still blocked, a release restores these as well.
        if !gone.is_empty() {
            let row = self
                .services
                .ledger()
                .row(key)
                .await
                .map_err(|source| self.failed("read the row of", source))?;
            if !row.is_some_and(|row| row.restores_at_release(&gone)) {
                let failed = |source| self.failed("give tags back to", source);
                let is_there = removal.return_tags(key, &gone, at).await.map_err(failed)?;
                // Where the removal had an answer, its alert is sent.
                if !is_there && taken.is_err() {
                    removal.is_lost(key, at).await.map_err(failed)?;
                }
                return Err(ReconcileError::Contended(key.into()));
            }
        }
        taken.map_err(|source| self.failed("change", source))
    }

    /// Restores the image if its row says by now that it is not blocked: the call to archive it took effect after another invocation had released it.
    ///
    /// # Errors
    /// A call failed.
    pub(super) async fn undo_late_archiving(&self) -> Result<(), ReconcileError> {
        let Some(writer) = self.writer() else { return Ok(()) };
        let row = self.services.ledger().row(&self.key).await;
        let row = row.map_err(|source| self.failed("read the row of", source))?;
        if row.is_some_and(|row| row.state != State::Blocked && row.block.is_none()) {
            let restored = writer.restore(&self.key).await;
            restored.map_err(|source| self.failed("restore", source))?;
        }
        Ok(())
    }

    /// The image after an effect, read from the registry; an error if a block is not in force.
    pub(super) async fn read_back(&self, effect: Option<&Effect>) -> Result<Option<Image>, ReconcileError> {
        let Some(effect) = effect else { return Ok(None) };
        let image = self
            .services
            .registry()
            .image(&self.key.repository, &ImageRef::Digest(self.key.digest.clone()))
            .await;
        let image = image.map_err(|source| self.failed("read back", source))?;
        // An image that is gone cannot be pulled.
        let holds = image.as_ref().is_none_or(|image| match effect {
            // A word that is not known here may mean that it is on its way there; `decide` takes it in the same way.
            Effect::Archive => image.status != ImageStatus::Active,
            Effect::Quarantine { mark, remove } => {
                image.tags.contains(mark) && !image.tags.iter().any(|tag| remove.contains(tag))
            }
            Effect::Restore | Effect::Unquarantine { .. } => true,
        });
        if holds {
            Ok(image)
        } else {
            Err(self.not_verified("the registry still shows it as it was before"))
        }
    }
}
