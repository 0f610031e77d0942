//! One image: facts, a plan, and the plan carried out.

use std::ops::Range;

use futures_util::future::join;
use tracing::debug;

use super::{
    action::{Carried, ImageExecution, Stop},
    ahead::{Ahead, ReadIndex},
    attempt::{Attempt, NotRead},
    boxed::boxed,
    follower::Follower,
    image_run::ImageRun,
    outcome::{Outcome, OutcomeKind},
};
use crate::{
    execute::{Executed, execute},
    reconcile::ReconcileError,
    tag_removal::REFERENCED,
};
use guard_core::{
    decide::{ChildFacts, Effect, Facts, LeadingIndex, Leave, Plan, Step, decide, leased},
    evaluate::{ExceptionUse, exception_use},
    finding::Scan,
    ids::ImageRef,
    image::{Image, ImageStatus, content},
    ledger::Row,
};
use guard_ports::{Clock as _, NO_IMAGE, Registry as _, Retry, Services};

/// How often a request starts over because somebody else wrote the row in between.
pub(super) const MAX_ATTEMPTS: usize = 3;

/// The most plans by the facts of one attempt: each question is asked once, and a step stops once for each reason. A step that is planned again after
/// it stopped would go on until Lambda ends the function, with a write for each time.
pub(super) const MAX_PLANS: usize = 16;

/// An image that was reconciled.
pub(super) struct Looked {
    pub(super) outcome: Outcome,
    /// Its row in the ledger now.
    pub(super) row: Option<Row>,
    /// For an index: its children, as they were before.
    pub(super) children: Vec<ChildFacts>,
    /// Its parent indexes, as they were before.
    pub(super) indexes: Vec<LeadingIndex>,
    /// The only one of them, if it was read already.
    pub(super) read: Option<Box<ReadIndex>>,
}

/// The beginning of the reconcile of an image.
pub(super) struct Start<'f, 'a, S> {
    /// Facts that were read already: for the first attempt.
    pub(super) ahead: Option<Ahead>,
    /// An image that is blocked with it.
    pub(super) follower: Option<&'f mut Follower<'a, S>>,
    /// Its parent indexes are reconciled next.
    pub(super) leads_on: bool,
}

impl<S> Start<'_, '_, S> {
    pub(super) const fn nothing() -> Self {
        Self {
            ahead: None,
            follower: None,
            leads_on: false,
        }
    }

    pub(super) fn with(ahead: Ahead) -> Self {
        Self {
            ahead: Some(ahead),
            ..Self::nothing()
        }
    }
}

impl Looked {
    /// Whether a record, a change or an alert was made.
    pub(super) fn is_news(&self) -> bool {
        self.outcome.outcome == OutcomeKind::Applied
    }

    /// Whether its relatives may have to follow. A release that failed for want of a permission changes nothing.
    pub(super) fn changed(&self) -> bool {
        self.is_news() && self.outcome.lacks.is_none()
    }
}

impl<'a, S: Services> ImageRun<'a, S> {
    /// Reconciles this one image; again, if somebody else wrote its row in between.
    pub(super) async fn one(&self) -> Result<Looked, ReconcileError> {
        self.one_with(Start::nothing()).await
    }

    /// The same, from this start.
    pub(super) async fn one_with(&self, mut start: Start<'_, 'a, S>) -> Result<Looked, ReconcileError> {
        for _ in 0..MAX_ATTEMPTS {
            let mut attempt = match boxed(|| self.begin(start.ahead.take())).await {
                Err(ReconcileError::Changed(_)) => continue,
                begun => begun?,
            };
            let ExceptionUse { used, unused } = self.exception_use(&attempt.facts);
            let mut read = None;
            let mut plans = 0..MAX_PLANS;
            let looked = loop {
                match self.next_plan(&attempt.facts, &mut plans)? {
                    Plan::Ask(question) => match boxed(|| self.ask(question, &mut attempt)).await {
                        Err(ReconcileError::Changed(_)) => break None,
                        asked => asked?,
                    },
                    Plan::Leave(leave) => {
                        let row = attempt.facts.row.as_ref();
                        if !self.is_as_read(attempt.answers.as_ref(), row).await? {
                            break None;
                        }
                        let outcome = self.left(leave, row)?;
                        break Some((outcome, attempt.facts.row.take()));
                    }
                    Plan::Apply(mut step) => {
                        if attempt.not_read.told.is_some() {
                            // A row that cannot be read is not overwritten either.
                            step.told = None;
                        }
                        let leads_on = start.leads_on;
                        let follower = start.follower.as_deref_mut();
                        let execution = ImageExecution::new(self, &step, &attempt.facts, follower);
                        let executed = boxed(|| execute(execution.expecting(attempt.answers.as_ref())));
                        let reading = boxed(|| self.read_index(leads_on, &step, &attempt));
                        let (executed, found) = join(executed, reading).await;
                        // They held when the row was claimed; since then it is ours.
                        (read, attempt.answers) = (found, None);
                        match executed? {
                            Executed::Conflict => break None,
                            Executed::Done(carried) => break Some(self.applied(&step, carried, &mut attempt)?),
                            Executed::Stopped(Stop::Refused(error)) if attempt.refused.is_some() => {
                                return Err(self.failed("change", error));
                            }
                            // Somebody has deleted it in between: there is nothing to block, and nothing to alert.
                            Executed::Stopped(Stop::Refused(error))
                                if error.code == NO_IMAGE && self.image_now().await?.is_none() =>
                            {
                                break None;
                            }
                            Executed::Stopped(Stop::Refused(error)) => attempt.refuse(*step, error),
                            Executed::Stopped(Stop::Limited(limit)) => attempt.limit(*step, limit),
                            Executed::Stopped(Stop::Used(uses)) => attempt.used(*step, uses),
                        }
                    }
                }
            };
            let Some((outcome, row)) = looked else { continue };
            if let Some(source) = attempt.unscanned {
                // It has a record now, and what was known before still holds.
                return Err(self.failed("reconcile", source));
            }
            return Ok(Looked {
                outcome: Outcome {
                    not_read: attempt.not_read.manifest.map(|source| source.to_string()),
                    told_not_read: attempt.not_read.told,
                    exceptions_used: used,
                    exceptions_unused: unused,
                    ..outcome
                },
                row,
                read,
                children: attempt.facts.children().to_vec(),
                indexes: attempt.facts.indexes,
            });
        }
        Err(ReconcileError::Contended((&self.key).into()))
    }

    /// The image, as the registry has it by now.
    async fn image_now(&self) -> Result<Option<Image>, ReconcileError> {
        let named = ImageRef::Digest(self.key.digest.clone());
        let found = self.services.registry().image(&self.key.repository, &named).await;
        found.map_err(|source| self.failed("read", source))
    }

    /// The facts of an attempt, and what they ask for at once.
    async fn begin(&self, ahead: Option<Ahead>) -> Result<Attempt, ReconcileError> {
        let mut attempt = boxed(|| self.gather(ahead)).await?;
        log_facts(&attempt.facts);
        self.resume(&attempt.facts).await?;
        if attempt.facts.needs_manifest(self.policy) {
            // An entry whose manifest cannot be read is evaluated as an image.
            let Attempt { facts, not_read, .. } = &mut attempt;
            let manifest = boxed(|| self.manifest(facts, not_read)).await?;
            attempt.facts.content = manifest.map(|manifest| content(&manifest));
        }
        Ok(attempt)
    }

    /// The result, if by these facts there is nothing to do.
    pub(super) async fn left_with(&self, ahead: Ahead) -> Option<Outcome> {
        let Attempt { facts, unscanned, .. } = self.gather(Some(ahead)).await.ok()?;
        if unscanned.is_some() || facts.needs_manifest(self.policy) {
            return None;
        }
        let ExceptionUse { used, unused } = self.exception_use(&facts);
        match decide(self.policy, &facts, self.services.clock().now()) {
            Plan::Leave(Leave::Unchanged) => Some(Outcome {
                exceptions_used: used,
                exceptions_unused: unused,
                ..self.left(Leave::Unchanged, facts.row.as_ref()).ok()?
            }),
            Plan::Leave(_) | Plan::Ask(_) | Plan::Apply(_) => None,
        }
    }

    /// Checks the tags that an invocation was taking, if it did not live to see the answer: those of a quarantine, or our mark.
    async fn resume(&self, facts: &Facts) -> Result<(), ReconcileError> {
        let row = facts.row.as_ref().filter(|row| row.closed_at.is_none());
        let (Some(row), Some(writer)) = (row, self.writer()) else {
            return Ok(());
        };
        let removal = self.removal(writer);
        let is_gone = facts.image.is_none();
        let looked = match &row.block {
            Some(block) if block.is_taking_tags() => {
                let looking = removal.look_into_all(&self.key, &block.tags, is_gone, self.actor);
                Box::pin(looking).await
            }
            Some(block) if is_gone && row.is_taking_mark() && !leased(row, self.actor, self.services.clock().now()) => {
                Box::pin(removal.is_lost(&self.key, block.at)).await.map(drop)
            }
            _ => Ok(()),
        };
        looked.map_err(|source| self.failed("read the tags of", source))
    }

    /// The plan by these facts. `left`: one number for each plan that may still be made.
    fn next_plan(&self, facts: &Facts, left: &mut Range<usize>) -> Result<Plan, ReconcileError> {
        let endless = || self.not_verified("the same question or step again and again");
        left.next().ok_or_else(endless)?;
        let plan = decide(self.policy, facts, self.services.clock().now());
        self.log_plan(&plan);
        Ok(plan)
    }

    fn log_plan(&self, plan: &Plan) {
        let of = &self.key;
        match plan {
            Plan::Ask(question) => debug!(%of, ?question, "decided: something must be asked first"),
            Plan::Leave(why) => debug!(%of, ?why, "decided: nothing is to be done"),
            Plan::Apply(step) => debug!(
                %of,
                state = ?step.row.state,
                effect = step.effect.as_ref().map(Effect::as_str),
                alert = ?step.alert.as_ref().map(|alert| alert.kind),
                "decided: a step is carried out"
            ),
        }
    }

    /// The exceptions that the image needs, so that an owner can find those that nothing needs. Without a finished scan nobody
    /// knows.
    fn exception_use(&self, facts: &Facts) -> ExceptionUse {
        match (&facts.image, &facts.scan) {
            (Some(image), Scan::Complete(scan)) if scan.has_result => {
                let now = self.services.clock().now();
                exception_use(self.policy, &facts.names(image), scan, now)
            }
            _ => ExceptionUse::default(),
        }
    }

    /// The manifest; `None` if there is none to be had, and if the registry refuses it for good.
    ///
    /// # Errors
    /// A call failed; or by the facts the image can be pulled, and it was changed since. An index that was archived in between would be evaluated as one
    /// whose images are not known.
    pub(super) async fn manifest(
        &self,
        facts: &Facts,
        not_read: &mut NotRead,
    ) -> Result<Option<String>, ReconcileError> {
        let is_active = |image: &Image| image.status == ImageStatus::Active;
        match self.services.registry().manifest(&self.key).await {
            Ok(None) if facts.image.as_ref().is_some_and(is_active) && self.image_now().await? != facts.image => {
                Err(ReconcileError::Changed(self.key.to_string()))
            }
            Ok(manifest) => Ok(manifest),
            Err(source) if source.retry == Retry::Later => Err(self.failed("read", source)),
            Err(source) => {
                not_read.manifest = Some(source);
                Ok(None)
            }
        }
    }

    /// The result of a step that was carried out, and the row that says so.
    fn applied(
        &self,
        step: &Step,
        carried: Carried,
        attempt: &mut Attempt,
    ) -> Result<(Outcome, Option<Row>), ReconcileError> {
        if step.awaits_result {
            return Err(ReconcileError::ResultNotVisible(self.key.to_string()));
        }
        // The registry may refuse it for a child: people pull its indexes.
        let released = attempt.facts.release_failure.is_some();
        let is_led_to = attempt.facts.is_led_to();
        let mut refused = attempt.refused.take();
        let denied = refused.take_if(|error| released && error.is_denied());
        let image = self.key.to_string();
        match refused.filter(|error| released || !is_led_to && error.code != REFERENCED) {
            Some(source) if released => Err(ReconcileError::ReleaseRefused {
                image,
                source: Box::new(source),
            }),
            Some(source) => Err(ReconcileError::BlockRefused {
                image,
                source: Box::new(source),
            }),
            None => {
                let outcome = Outcome {
                    lacks: denied.or(carried.mark_stays),
                    ..self.applied_outcome(step, carried.told)
                };
                Ok((outcome, Some(carried.row)))
            }
        }
    }

    pub(super) fn applied_outcome(&self, step: &Step, told: bool) -> Outcome {
        let row = &step.row;
        let alert = step.alert.as_ref().filter(|_| told);
        let kind = if row.closed_at.is_some() {
            OutcomeKind::Closed
        } else if row.is_not_an_image() && step.effect.is_none() {
            OutcomeKind::NotAnImage
        } else {
            OutcomeKind::Applied
        };
        Outcome {
            state: Some(row.state),
            reason: Some(row.reason.clone()),
            effect: step.effect.as_ref().map(Effect::as_str),
            counted: step.counts_as_block,
            alert: alert.map(|alert| alert.kind),
            alert_id: alert.map(|alert| alert.id.clone()),
            counts: row.counts.clone(),
            ..Outcome::of(kind, &self.key.repository, Some(&self.key.digest))
        }
    }

    fn left(&self, leave: Leave, row: Option<&Row>) -> Result<Outcome, ReconcileError> {
        let kind = match leave {
            Leave::NoSuchImage => OutcomeKind::NoSuchImage,
            Leave::NotAnImage => OutcomeKind::NotAnImage,
            Leave::ArchivedByOthers => OutcomeKind::ArchivedByOthers,
            Leave::Unchanged => OutcomeKind::Unchanged,
            Leave::InProgress => OutcomeKind::InProgress,
            Leave::Busy => return Err(ReconcileError::Busy(self.key.to_string())),
            Leave::ResultNotVisible => return Err(ReconcileError::ResultNotVisible(self.key.to_string())),
        };
        let mut outcome = Outcome::of(kind, &self.key.repository, Some(&self.key.digest));
        if let Some(row) = row.filter(|row| row.closed_at.is_none()) {
            outcome.state = Some(row.state);
            outcome.reason = Some(row.reason.clone());
            outcome.counts.clone_from(&row.counts);
        }
        Ok(outcome)
    }
}

/// Identifiers, states and numbers only: texts of findings and alerts are in no line of the log.
fn log_facts(facts: &Facts) {
    debug!(
        of = %facts.key,
        image = ?facts.image.as_ref().map(|image| &image.status),
        scan = scan_word(&facts.scan),
        recorded = ?facts.row.as_ref().map(|row| row.state),
        version = facts.row.as_ref().map(|row| row.generation),
        "facts gathered"
    );
}

/// The kind of a scan's answer, without its texts.
fn scan_word(scan: &Scan) -> &'static str {
    match scan {
        Scan::Absent => "absent",
        Scan::InProgress => "in-progress",
        Scan::NotVisible => "not-visible",
        Scan::Refused(_) => "refused",
        Scan::Archived => "archived",
        Scan::Unavailable(_) | Scan::Explained(..) => "unavailable",
        Scan::Complete(_) => "complete",
    }
}
