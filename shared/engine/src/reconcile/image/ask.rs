//! Further facts, when a decision needs them.

use futures_util::future::join;

use super::{attempt::Attempt, image_run::ImageRun, pages::MAX_PAGES_OF_IMAGES};
use crate::reconcile::{ReconcileError, refusal_of};
use guard_core::{
    decide::{Facts, Question, Replaced, workloads_that_hold},
    ids::{ImageKey, ImageRef, RepositoryKey},
    predecessor::{Predecessor, replaced_by},
    repository::access::{LambdaAccess, lambda_may_pull},
    told::ToldFindings,
};
use guard_ports::{Ledger as _, Pulled, Registry as _, RegistryWriter as _, Retry, Scanner as _, Services};

impl<S: Services> ImageRun<'_, S> {
    /// Asks what must be known before anything can be decided, and puts the answer to the facts.
    pub(super) async fn ask(&self, question: Question, attempt: &mut Attempt) -> Result<(), ReconcileError> {
        let Attempt {
            facts,
            pulled,
            not_read,
            answers,
            ..
        } = attempt;
        match question {
            Question::Scan => {
                let Some(writer) = self.writer() else {
                    // `decide` asks for no scan in report mode; if it ever did, this is where it ends.
                    return Err(self.not_verified("nothing can be changed in report mode"));
                };
                let answer = writer.start_scan(&self.key).await;
                facts.scan_start = Some(answer.map_err(|source| self.failed("start a scan of", source))?);
            }
            Question::Again => {
                let by_digest = ImageRef::Digest(self.key.digest.clone());
                let image = self.services.registry().image(&self.key.repository, &by_digest).await;
                facts.image = image.map_err(|source| self.failed("look again at", source))?;
                facts.looked_again = true;
            }
            // The next question is independent of this one, and does not cost another round trip.
            Question::Replaced if facts.uses.is_none() && workloads_that_hold(self.policy, &self.key).is_some() => {
                let uses = self.uses(facts, answers.as_ref());
                let (replaced, uses) = join(self.replaced(facts, pulled.as_ref()), uses).await;
                (facts.replaced, facts.uses) = (replaced?, Some(uses?));
            }
            Question::Uses => facts.uses = Some(self.uses(facts, answers.as_ref()).await?),
            Question::Replaced => facts.replaced = self.replaced(facts, pulled.as_ref()).await?,
            Question::Lambda => facts.lambda = Some(self.lambda_access().await?),
            Question::Children => {
                (facts.children, facts.more_children) = self.children(facts, not_read, answers.as_ref()).await?;
                // It is asked of these as well.
                facts.uses = None;
            }
            Question::ChildrenPulled => {
                facts.children_pulled = Some(self.children_pulled(facts, answers.as_ref()).await?);
            }
            Question::Indexes => {
                let (known, more) = self.indexes_known(facts).await?;
                // An image that is not on the list, and has no row, does not exist.
                facts.indexes_known = Some(known);
                facts.indexes.retain(|index| {
                    let is_among = more.iter().any(|other| other.digest == index.digest);
                    !is_among && (index.row.is_some() || index.is_open() || !known)
                });
                facts.indexes.extend(more);
                // It is asked of these as well.
                facts.uses = None;
            }
            Question::Told => {
                let repository = RepositoryKey::of(&self.key);
                facts.told = Some(match self.services.ledger().told(&repository).await {
                    Ok(told) => told,
                    // One alert too many is better than one too few.
                    Err(source) if source.is_unreadable_row() => {
                        not_read.told = Some(source);
                        ToldFindings::none(repository)
                    }
                    Err(source) => return Err(self.failed("read the findings of earlier alerts of", source)),
                });
            }
        }
        Ok(())
    }

    /// Which image this one replaces, and what that one's findings are.
    async fn replaced(&self, facts: &Facts, pulled: Option<&Pulled>) -> Result<Replaced, ReconcileError> {
        let failed = |source| self.failed("find the predecessor of", source);
        let since = self.in_use_since(facts.counts_use());
        let (registry, clock) = (self.services.registry(), self.services.clock());
        let mut pages = 1;
        let mut pulled = match pulled {
            Some(pulled) => pulled.clone(),
            None if self.spent.is_all() => return Ok(Replaced::Nothing),
            None => {
                let first = registry.pulled_since(&self.key.repository, since, None);
                self.spent.on(clock, first).await.map_err(failed)?
            }
        };
        while let Some(next) = pulled.next.take().filter(|_| pages < MAX_PAGES_OF_IMAGES) {
            if self.spent.is_all() {
                return Ok(Replaced::Nothing);
            }
            let more = registry.pulled_since(&self.key.repository, since, Some(&next));
            let more = self.spent.on(clock, more).await.map_err(failed)?;
            pulled.images.extend(more.images);
            pulled.next = more.next;
            pages += 1;
        }
        let pulled = pulled.images;
        let Some(image) = facts
            .image
            .as_ref()
            .and_then(|image| replaced_by(image, &pulled, since))
        else {
            return Ok(Replaced::Nothing);
        };
        let key = ImageKey {
            digest: image.digest.clone(),
            ..self.key.clone()
        };
        let (scan, row) = join(self.services.registry().scan(&key), self.services.ledger().row(&key)).await;
        let predecessor = Predecessor::new(image, &scan.map_err(failed)?, row.map_err(failed)?.as_ref());
        Ok(predecessor.map_or(Replaced::Nothing, Replaced::Image))
    }

    /// Whether Lambda may pull. An unknown answer is no reason to block.
    async fn lambda_access(&self) -> Result<LambdaAccess, ReconcileError> {
        match self
            .services
            .registry()
            .repository_policy(&RepositoryKey::of(&self.key))
            .await
        {
            Ok(document) => Ok(lambda_may_pull(document.as_deref())),
            Err(source) if source.retry == Retry::Never => Ok(LambdaAccess::Unknown(refusal_of(&source))),
            Err(source) => Err(self.failed("read the repository policy of", source)),
        }
    }
}
