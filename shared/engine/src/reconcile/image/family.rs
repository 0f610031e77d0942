//! An image and its relatives: its parent indexes and its children.

use std::time::Duration;

use super::{
    find,
    image_run::ImageRun,
    outcome::{Outcome, OutcomeKind},
    pages::Spent,
    request::{Hints, Request},
    run::{Looked, MAX_ATTEMPTS},
};
use crate::reconcile::ReconcileError;
use guard_core::{
    decide::{ChildFacts, LeadingIndex, to_look_at},
    ids::{Digest, ImageKey, Tag},
    ledger::Row,
    policy::Policy,
};
use guard_ports::{Clock as _, Services};

/// How often, and after how much time, an index is tried again while another invocation holds its lease. A step takes about a
/// second.
const MAX_TURNS: usize = 5;
const TURN: Duration = Duration::from_millis(1500);

/// Brings one image, and what shares its fate, to the state that the policy gives it.
///
/// # Errors
/// A call failed, the registry did not do what it said, or others are at work on the same image.
pub async fn reconcile(
    services: &impl Services,
    policy: &Policy,
    request: &Request,
) -> Result<Outcome, ReconcileError> {
    let Some(digest) = find::digest(services, &request.repository, &request.image).await? else {
        return Ok(Outcome::of(OutcomeKind::NoSuchImage, &request.repository, None));
    };
    let run = ImageRun {
        services,
        policy,
        key: request.key(digest),
        hints: request.hints.clone(),
        actor: &request.actor,
        spent: &Spent::default(),
        index: None,
    };
    let Looked {
        mut outcome,
        row,
        children,
        indexes,
    } = run.one().await?;
    if let Some(row) = row {
        run.reach(row, children, &indexes, &mut outcome.also).await?;
    }
    Ok(outcome)
}

impl<S: Services> ImageRun<'_, S> {
    /// Reconciles the parent indexes of the image, however far up; then its children. With many indexes, the sweep reconciles
    /// the rest.
    async fn reach(
        &self,
        row: Row,
        children: Vec<ChildFacts>,
        indexes: &[LeadingIndex],
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), ReconcileError> {
        for index in to_look_at(&row, indexes) {
            let run = self.of(&index.digest, None);
            let looked = run.in_turn().await?;
            if looked.is_news() {
                outcomes.push(looked.outcome);
            }
            if let Some(row) = looked.row {
                // Boxed, because an index may reference an index.
                Box::pin(run.reach(row, looked.children, &looked.indexes, outcomes)).await?;
            }
        }
        self.settle(row, children, outcomes).await
    }

    /// Reconciles the children of an index, and then the index with them.
    async fn settle(
        &self,
        mut row: Row,
        mut children: Vec<ChildFacts>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), ReconcileError> {
        for _ in 0..MAX_ATTEMPTS {
            let mut changed = false;
            for child in children.iter().filter(|child| !child.is_in_accord(&row)) {
                let run = self.of(&child.child.digest, None);
                let looked = run.one().await?;
                if looked.is_news() {
                    changed |= looked.changed();
                    outcomes.push(looked.outcome);
                    if let Some(row) = looked.row {
                        Box::pin(run.settle(row, looked.children, outcomes)).await?;
                    }
                }
            }
            if !changed {
                break;
            }
            // An index follows from what its images are now. That this look is made is held by the table of calls (docs/calls.md).
            let looked = self.one().await?;
            if looked.is_news() {
                outcomes.push(looked.outcome);
            }
            let Some(now) = looked.row else { break };
            (row, children) = (now, looked.children);
        }
        Ok(())
    }

    /// The same for another image of the repository; `index`: the parent index that it was reached through.
    pub(super) fn of(&self, digest: &Digest, index: Option<(Digest, Vec<Tag>)>) -> Self {
        let arrival = self.hints.arrival.clone().filter(|_| index.is_some());
        Self {
            services: self.services,
            policy: self.policy,
            key: ImageKey {
                digest: digest.clone(),
                ..self.key.clone()
            },
            hints: Hints {
                arrival,
                refused: self.hints.refused.clone(),
                found: self.hints.found && index.is_some(),
                indexes_read: self.hints.indexes_read,
                source: self.hints.source.clone().filter(|_| index.is_some()),
                ..Hints::default()
            },
            actor: self.actor,
            spent: self.spent,
            index,
        }
    }

    /// Reconciles a parent index of an image after others that do so: images of one index are often scanned in the same second.
    async fn in_turn(&self) -> Result<Looked, ReconcileError> {
        for _ in 0..MAX_TURNS {
            match self.one().await {
                Err(ReconcileError::Busy(_) | ReconcileError::Contended(_)) => self.services.clock().pause(TURN).await,
                looked => return looked,
            }
        }
        self.one().await
    }
}
