//! An image and its relatives: its parent indexes and its children.

use std::time::Duration;

use super::{
    ahead::Ahead,
    boxed::boxed,
    find,
    follower::{Followed, Follower},
    image_run::ImageRun,
    outcome::{Outcome, OutcomeKind},
    pages::Spent,
    request::{Hints, Request},
    run::{Looked, MAX_ATTEMPTS, Start},
};
use crate::reconcile::ReconcileError;
use guard_core::{
    decide::{ChildFacts, to_look_at},
    ids::{Digest, ImageKey, Tag},
    ledger::Row,
    policy::Policy,
    state::State,
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
    let start = Start {
        leads_on: true,
        ..Start::nothing()
    };
    let mut looked = boxed(|| run.one_with(start)).await?;
    let mut outcome = looked.outcome.clone();
    if let Some(row) = looked.row.take() {
        boxed(|| run.reach(row, looked, &mut outcome.also)).await?;
    }
    Ok(outcome)
}

impl<'a, S: Services> ImageRun<'a, S> {
    /// Reconciles the parent indexes of the image, however far up; then its children. With many indexes, the sweep reconciles
    /// the rest.
    async fn reach(&self, mut row: Row, looked: Looked, outcomes: &mut Vec<Outcome>) -> Result<(), ReconcileError> {
        let Looked {
            children,
            indexes,
            mut read,
            ..
        } = looked;
        for index in to_look_at(&row, &indexes) {
            let run = self.of(&index.digest, None);
            let mut follower = read
                .as_ref()
                .and_then(|read| Follower::new(self.of(&self.key.digest, None), read, &row));
            let ahead = read.take().map(|read| read.ahead(&row));
            let mut looked = boxed(|| run.in_turn(ahead, follower.as_mut())).await?;
            if looked.is_news() {
                outcomes.push(looked.outcome.clone());
            }
            let followed = follower.map_or(Followed::Nothing, Follower::end);
            if let Some(now) = self.follow(followed, &mut looked, outcomes) {
                row = now;
            }
            if let Some(row) = looked.row.take() {
                // An index may reference an index.
                boxed(|| run.reach(row, looked, outcomes)).await?;
            }
        }
        boxed(|| self.settle(row, children, outcomes)).await
    }

    /// Takes over how the image has followed its index; its row, if that is known.
    fn follow(&self, followed: Followed, index: &mut Looked, outcomes: &mut Vec<Outcome>) -> Option<Row> {
        let is_blocked = index.row.as_ref().is_some_and(|row| row.state == State::Blocked);
        let known = index
            .children
            .iter_mut()
            .find(|child| child.child.digest == self.key.digest);
        match followed {
            Followed::Blocked(outcome, row) => {
                outcomes.push(*outcome);
                if let Some(child) = known {
                    child.row = Some((*row).clone());
                }
                Some(*row)
            }
            // Under an index that is blocked, the row from before is the one that is not in accord.
            Followed::Begun(row) if !is_blocked => {
                if let Some(child) = known {
                    child.row = Some(*row);
                }
                None
            }
            Followed::Begun(_) | Followed::Nothing => None,
        }
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
                let looked = boxed(|| run.one()).await?;
                if looked.is_news() {
                    changed |= looked.changed();
                    outcomes.push(looked.outcome);
                    if let Some(row) = looked.row {
                        boxed(|| run.settle(row, looked.children, outcomes)).await?;
                    }
                }
            }
            if !changed {
                break;
            }
            // An index follows from what its images are now. That this look is made is held by the table of calls (docs/calls.md).
            let looked = boxed(|| self.one()).await?;
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
                found: self.hints.found,
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
    async fn in_turn(
        &self,
        mut ahead: Option<Ahead>,
        mut follower: Option<&mut Follower<'a, S>>,
    ) -> Result<Looked, ReconcileError> {
        for _ in 0..MAX_TURNS {
            let start = Start {
                ahead: ahead.take(),
                follower: follower.take(),
                leads_on: false,
            };
            match boxed(|| self.one_with(start)).await {
                Err(ReconcileError::Busy(_) | ReconcileError::Contended(_)) => self.services.clock().pause(TURN).await,
                looked => return looked,
            }
        }
        self.one().await
    }
}
