//! An image that is blocked together with the only index that references it.
//!
//! An image follows its index: it is not blocked before that one is. Two things are done earlier, while the index is being blocked: the
//! repository's indexes are read, and the image's row is claimed. The claim names the invocation, so that others leave the image to it. The image
//! goes to the archive after the index was read back there. If anything is in the way, the image is left, and reconciled by itself afterwards.

use tracing::debug;

use super::{ahead::ReadIndex, image_run::ImageRun, outcome::Outcome};
use guard_core::{
    decide::{Effect, Facts, Plan, Step, decide},
    ledger::{Row, Undertaken},
};
use guard_ports::{Clock as _, Ledger as _, Services, Written};

/// An image that follows the only index that references it.
pub(super) struct Follower<'a, S> {
    run: ImageRun<'a, S>,
    facts: Facts,
    stage: Stage,
}

/// How far it is.
enum Stage {
    /// Nothing was done.
    Waits,
    /// All indexes of the repository are known.
    Known,
    /// Its row is claimed.
    Claimed(Box<Step>),
    /// No workload has come to use it since.
    Free(Box<Step>),
    /// The registry has answered that it is in the archive.
    Archived(Box<Step>),
    /// It is blocked, by this row.
    Blocked(Box<Step>, Box<Row>),
    /// It is reconciled by itself. Its row may have been claimed.
    Left(Option<Box<Step>>),
}

/// The end of it.
pub(super) enum Followed {
    /// It is blocked, by this row.
    Blocked(Box<Outcome>, Box<Row>),
    /// It is to be reconciled by itself; its row may say this.
    Begun(Box<Row>),
    /// Nothing was done.
    Nothing,
}

impl<'a, S: Services> Follower<'a, S> {
    /// The image of `run`, which has this row since; `None`: it has other relatives than this index, or a source, and is reconciled by itself.
    pub(super) fn new(run: ImageRun<'a, S>, read: &ReadIndex, row: &Row) -> Option<Self> {
        let facts = &read.facts;
        let is_only_one = facts.indexes.iter().filter(|index| index.is_open()).count() == 1 && !row.more_indexes;
        let is_by_itself = facts.source.is_none() && row.source.is_none() && row.children.is_empty();
        (is_only_one && is_by_itself).then(|| Self {
            facts: Facts {
                image: read.image.clone(),
                scan: facts.scan.clone(),
                row: Some(row.clone()),
                indexes: facts.indexes.clone(),
                indexes_read: facts.indexes_read,
                uses: read.uses_of(&run, &facts.pulled_together()),
                ..Facts::about(run.key.clone(), run.actor)
            },
            run,
            stage: Stage::Waits,
        })
    }

    fn leave(&mut self) -> Stage {
        std::mem::replace(&mut self.stage, Stage::Left(None))
    }

    /// Reads whether all indexes of the repository are known.
    pub(super) async fn read_indexes(&mut self) {
        if matches!(self.stage, Stage::Waits) {
            let known = self.run.indexes_known_at_once(&self.facts).await;
            self.stage = if known { Stage::Known } else { Stage::Left(None) };
        }
    }

    /// Claims the image's row. `index`: the row that its index will have.
    pub(super) async fn claim(&mut self, index: &Row) {
        if !matches!(self.stage, Stage::Known) {
            return;
        }
        self.leave();
        self.facts.indexes_known = Some(true);
        for known in self.facts.indexes.iter_mut().filter(|known| known.is_open()) {
            known.row = Some(index.clone());
        }
        let now = self.run.services.clock().now();
        let Plan::Apply(mut step) = decide(self.run.policy, &self.facts, now) else {
            return;
        };
        let is_only_a_block = step.effect == Some(Effect::Archive)
            && step.alert.is_none()
            && step.told.is_none()
            && !step.counts_as_block;
        if !is_only_a_block {
            return;
        }
        step.row.undertaken = Some(Undertaken {
            by: self.run.actor.to_owned(),
            at: now,
            with_index: true,
        });
        self.stage = match self.run.services.ledger().write(&step.row).await {
            Ok(Written::Yes) => Stage::Claimed(step),
            Ok(Written::Conflict) => Stage::Left(None),
            // Nobody knows whether it was written.
            Err(_) => Stage::Left(Some(step)),
        };
    }

    /// Looks once more who uses it, after the claim.
    pub(super) async fn look_for_uses(&mut self) {
        match self.leave() {
            Stage::Claimed(step) => {
                let used = self.run.used_meanwhile(&Effect::Archive, &self.facts).await;
                self.stage = match used {
                    Ok(None) => Stage::Free(step),
                    _ => Stage::Left(Some(step)),
                };
            }
            stage => self.stage = stage,
        }
    }

    /// Archives it: its index was read back.
    pub(super) async fn archive(&mut self) {
        match self.leave() {
            Stage::Free(step) => {
                self.stage = match self.run.bring_about(&Effect::Archive).await {
                    Ok(_) => Stage::Archived(step),
                    Err(error) => {
                        debug!(of = %self.run.key, %error, "the image is not archived with its index");
                        Stage::Left(Some(step))
                    }
                };
            }
            stage => self.stage = stage,
        }
    }

    /// Reads it back, and records the block.
    pub(super) async fn complete(&mut self) {
        let step = match self.leave() {
            Stage::Archived(step) => step,
            stage => {
                self.stage = stage;
                return;
            }
        };
        let written = match self.run.read_back(Some(&Effect::Archive)).await {
            Ok(image) => {
                let row = step.completed(image.as_ref(), None, self.run.services.clock().now());
                let written = self.run.services.ledger().write(&row).await;
                if written == Ok(Written::Conflict)
                    && let Err(error) = self.run.undo_late_archiving().await
                {
                    debug!(of = %self.run.key, %error, "an image that was released is not restored");
                }
                (written == Ok(Written::Yes)).then_some(row)
            }
            Err(_) => None,
        };
        self.stage = match written {
            Some(row) => Stage::Blocked(step, Box::new(row)),
            None => Stage::Left(Some(step)),
        };
    }

    /// The end of it.
    pub(super) fn end(self) -> Followed {
        match self.stage {
            Stage::Blocked(step, row) => Followed::Blocked(Box::new(self.run.applied_outcome(&step, false)), row),
            Stage::Claimed(step) | Stage::Free(step) | Stage::Archived(step) | Stage::Left(Some(step)) => {
                Followed::Begun(Box::new(step.row))
            }
            Stage::Waits | Stage::Known | Stage::Left(None) => Followed::Nothing,
        }
    }
}
