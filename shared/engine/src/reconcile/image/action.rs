//! How a plan for an image is carried out.

use futures_util::future::{join, join3, join4};
use jiff::SignedDuration;

use super::{ahead::Answers, boxed::boxed, follower::Follower, image_run::ImageRun};
use crate::{
    execute::{Action, Claim},
    reconcile::{ReconcileError, Subject, refusal_of},
    route::topic,
};
use guard_core::{
    alert::{brief::BriefAlert, budget::Slot},
    calendar::hour_of,
    decide::{Effect, Facts, Limit, Step},
    ids::RepositoryKey,
    image::Image,
    ledger::{Counter, Row},
    uses::Uses,
};
use guard_ports::{Clock as _, Ledger as _, Notifier as _, PortError, Retry, Services, Written};

/// The reason to end a step before it is done. Its row was written.
pub(super) enum Stop {
    /// The registry refused the effect for good.
    Refused(PortError),
    /// It would have been one block too many in this hour.
    Limited(Limit),
    /// Workloads use the image by now.
    Used(Uses),
}

/// A step that was carried out.
pub(super) struct Carried {
    /// The row that records it.
    pub(super) row: Row,
    /// Whether its alert was sent.
    pub(super) told: bool,
    /// Why our own tag could not be removed, which is all that is left.
    pub(super) mark_stays: Option<PortError>,
}

/// A step for an image.
pub(super) struct ImageExecution<'a, 'b, S> {
    run: &'a ImageRun<'b, S>,
    step: &'a Step,
    /// The facts of the decision.
    facts: &'a Facts,
    /// Its alert in short, with the topic that it goes to.
    brief: Option<BriefAlert>,
    /// The slot of the alert, as far as it was asked for.
    slot: Option<Slot>,
    /// The registry's answer after the effect.
    image: Option<Image>,
    mark_stays: Option<PortError>,
    completed: Option<Row>,
    /// An image that is blocked with it.
    follower: Option<&'a mut Follower<'b, S>>,
    /// The answers that the decision rests on, if they were read while the row of the image that led here was written.
    answers: Option<&'a Answers>,
}

impl<'a, 'b, S: Services> ImageExecution<'a, 'b, S> {
    pub(super) fn new(
        run: &'a ImageRun<'b, S>,
        step: &'a Step,
        facts: &'a Facts,
        follower: Option<&'a mut Follower<'b, S>>,
    ) -> Self {
        Self {
            run,
            step,
            facts,
            follower: follower.filter(|_| step.effect == Some(Effect::Archive)),
            answers: None,
            brief: None,
            slot: None,
            image: None,
            mark_stays: None,
            completed: None,
        }
    }

    /// The same, if these answers still hold.
    pub(super) fn expecting(self, answers: Option<&'a Answers>) -> Self {
        Self { answers, ..self }
    }

    /// The slot of the alert of a step.
    async fn slot_of(&self, brief: &BriefAlert) -> Slot {
        if self.step.tells_release {
            return Slot::Single;
        }
        if self.step.waits_for_summary {
            return Slot::Summary;
        }
        self.run.services.notifier().slot(brief).await
    }

    /// The slot of an alert that is sent with the effect, and not when the image can be pulled again.
    async fn slot_now(&self, brief: Option<&BriefAlert>) -> Option<Slot> {
        match brief.filter(|_| !self.step.is_release()) {
            Some(brief) => Some(self.slot_of(brief).await),
            None => None,
        }
    }

    /// Counts one more block in this hour; the limit, if that is one too many.
    async fn limit(&self) -> Result<Option<Limit>, ReconcileError> {
        let hour = hour_of(self.run.services.clock().now());
        let ledger = self.run.services.ledger();
        let failed = |source| self.run.failed("count the block of", source);
        let count = ledger.count(&self.run.key, Counter::Blocks, hour).await;
        if count.map_err(failed)? <= self.run.policy.max_blocks_per_hour {
            return Ok(None);
        }
        Ok(Some(Limit {
            until: hour + SignedDuration::from_hours(1),
            first: ledger.claim_limit(&self.run.key, hour).await.map_err(failed)?,
        }))
    }
}

impl<S: Services> Action for ImageExecution<'_, '_, S> {
    type Done = Carried;
    type Stop = Stop;

    fn subject(&self) -> Subject {
        (&self.run.key).into()
    }

    fn is_only_a_record(&self) -> bool {
        self.step.effect.is_none() && self.step.alert.is_none()
    }

    async fn claim(&mut self) -> Result<Claim<Stop>, ReconcileError> {
        let Self { run, step, answers, .. } = *self;
        let mut follower = self.follower.take();
        // The indexes, which are to be known before the follower is blocked, cost no round trip of their own.
        let indexes = async {
            if let Some(follower) = follower.as_deref_mut() {
                // Boxed, as all that a follower does: few images have one, and all looks would be larger.
                boxed(|| follower.read_indexes()).await;
            }
        };
        let count = async {
            if step.counts_as_block {
                self.limit().await
            } else {
                Ok(None)
            }
        };
        // The topic and the slot of the alert cost no round trip of their own: the topic is read with the claim, and the slot
        // with the effect, or with the claim as well.
        let telling = async {
            let Some(alert) = &step.alert else { return (None, None) };
            let topic = topic(run.services, run.policy, &RepositoryKey::of(&run.key)).await;
            let alert = alert.alert(run.policy.contact(&run.key.repository));
            let brief = alert.brief(topic);
            let slot = if step.effect.is_none() {
                self.slot_now(Some(&brief)).await
            } else {
                None
            };
            (Some(brief), slot)
        };
        let writing = join(run.services.ledger().write(&step.row), run.is_as_read(answers, None));
        let ((written, is_as_read), limit, (brief, slot), ()) = join4(writing, count, telling, indexes).await;
        self.follower = follower;
        if written.map_err(|source| run.failed("record", source))? == Written::Conflict {
            return Ok(Claim::Conflict);
        }
        if !is_as_read? {
            // The row is claimed, and decided about anew.
            return Ok(Claim::Conflict);
        }
        if let Some(limit) = limit? {
            return Ok(Claim::Stopped(Stop::Limited(limit)));
        }
        (self.brief, self.slot) = (brief, slot);
        Ok(Claim::Holds)
    }

    async fn effect(&mut self) -> Result<Option<Stop>, ReconcileError> {
        let Some(effect) = &self.step.effect else {
            return Ok(None);
        };
        if let Some(uses) = self.run.used_meanwhile(effect, self.facts).await? {
            return Ok(Some(Stop::Used(uses)));
        }
        // Not before the claim holds and the limit has room: a slot that nobody uses is lost.
        let mut follower = self.follower.take();
        let following = async {
            if let Some(follower) = follower.as_deref_mut() {
                let now = self.run.services.clock().now();
                let archived = self.step.completed(self.facts.image.as_ref(), None, now);
                boxed(|| follower.claim(&archived)).await;
            }
        };
        let changing = join(self.run.bring_about(effect), self.slot_now(self.brief.as_ref()));
        let ((done, slot), ()) = join(changing, following).await;
        (self.slot, self.follower) = (slot, follower);
        match done {
            Ok(mark_stays) => {
                self.mark_stays = mark_stays;
                Ok(None)
            }
            Err(ReconcileError::Port { source, .. }) if source.retry == Retry::Never => {
                Ok(Some(Stop::Refused(*source)))
            }
            Err(error) => {
                // A call without an answer may have taken effect.
                if *effect == Effect::Archive {
                    boxed(|| self.run.undo_late_archiving()).await?;
                }
                Err(error)
            }
        }
    }

    async fn tell(&mut self) -> Result<(), ReconcileError> {
        let (run, step) = (self.run, self.step);
        let mut follower = self.follower.take();
        let image = {
            let following = async {
                if let Some(follower) = follower.as_deref_mut() {
                    boxed(|| follower.look_for_uses()).await;
                }
            };
            let notifier = run.services.notifier();
            let tell = async {
                let (Some(alert), Some(brief)) = (&step.alert, &self.brief) else {
                    return Ok(());
                };
                let slot = match self.slot {
                    Some(slot) => slot,
                    None => self.slot_of(brief).await,
                };
                let message = alert.message(run.policy.contact(&run.key.repository));
                let failed = |source| run.failed("send the alert about", source);
                notifier.tell(slot, brief, &message).await.map_err(failed)?;
                let default = run.policy.default_topic();
                if step.tells_release && *default != brief.topic {
                    notifier.publish(default, &message).await.map_err(failed)?;
                }
                Ok(())
            };
            match &step.effect {
                // The registry's answer decides whether there is an alert: it is sent when the image can be pulled.
                Some(effect @ (Effect::Restore | Effect::Unquarantine { .. })) => {
                    let image = self.run.read_back(Some(effect)).await?;
                    if step.tells(image.as_ref()) {
                        tell.await?;
                    }
                    image
                }
                // The registry has answered that it is done. A read checks that while the alert is sent: it must not delay the
                // alert.
                effect => {
                    let (told, image, ()) = join3(tell, self.run.read_back(effect.as_ref()), following).await;
                    told?;
                    image?
                }
            }
        };
        (self.image, self.follower) = (image, follower);
        Ok(())
    }

    async fn record(&mut self) -> Result<Written, ReconcileError> {
        let (run, step) = (self.run, self.step);
        let why = self.mark_stays.as_ref().map(refusal_of);
        let now = run.services.clock().now();
        let completed = step.completed(self.image.as_ref(), why.as_deref(), now);
        let remember = async {
            match &step.told {
                // An alert about another image of the repository may have been sent at the same time. Then this one's findings
                // are alerted once more.
                Some(told) => run.services.ledger().write_told(told).await.map(|_| ()),
                None => Ok(()),
            }
        };
        let follower = self.follower.as_deref_mut();
        let following = async {
            if let Some(follower) = follower {
                boxed(|| follower.archive()).await;
            }
        };
        let (written, remembered, ()) = join3(run.services.ledger().write(&completed), remember, following).await;
        let record = |source| run.failed("record", source);
        remembered.map_err(record)?;
        self.completed = Some(completed);
        if let (Ok(Written::Yes), Some(follower)) = (&written, self.follower.as_deref_mut()) {
            boxed(|| follower.complete()).await;
        }
        if written == Ok(Written::Conflict) && step.effect == Some(Effect::Archive) {
            boxed(|| run.undo_late_archiving()).await?;
        }
        written.map_err(record)
    }

    fn done(self) -> Carried {
        Carried {
            told: self.completed.is_some() && self.step.tells(self.image.as_ref()),
            row: self.completed.unwrap_or_else(|| self.step.row.clone()),
            mark_stays: self.mark_stays,
        }
    }
}
