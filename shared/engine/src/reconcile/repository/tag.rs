//! A tag that was pushed.

use futures_util::future::join;
use jiff::Timestamp;
use tracing::debug;

use super::{
    outcome::RepositoryOutcome,
    run::{MAX_ATTEMPTS, RepositoryRun},
};
use crate::{
    execute::{Action, Claim, Executed, execute},
    reconcile::{ReconcileError, Subject},
    tag_removal::{Claims, TagRemoval, Taken},
};
use guard_core::{
    ids::{ImageRef, RepositoryKey, Tag},
    image::Image,
    notice::RepositoryAlertKind,
    policy::{BlockMethod, Policy},
    repository::{
        decide::{OptOut, opt_out},
        ledger::TagRow,
        removal::{Damage, Pushed},
        tag::{self, TagFacts, TagPlan, TagStep},
    },
    state::State,
};
use guard_ports::{
    Clock as _, PortError, Registry as _, Repositories as _, RepositoryLedger as _, Retry, Services, Written,
};

/// A tag to check, and the reason.
#[derive(Debug, Clone, Copy)]
pub struct TagRequest<'a> {
    /// The tag.
    pub tag: &'a Tag,
    /// The state of the image that was just reconciled.
    pub state: Option<State>,
    /// The image that has just got the tag, by what an event says.
    pub pushed: Option<&'a Pushed>,
    /// The invocation, by an id that a retry of the same event keeps.
    pub actor: &'a str,
}

/// Checks a tag that was pushed.
///
/// # Errors
/// A call failed, or others are at work on the same tag.
pub async fn reconcile_tag(
    services: &impl Services,
    policy: &Policy,
    key: &RepositoryKey,
    request: &TagRequest<'_>,
) -> Result<RepositoryOutcome, ReconcileError> {
    let run = RepositoryRun { services, policy, key };
    let mut facts = TagFacts {
        key: key.clone(),
        tag: request.tag.clone(),
        holder: None,
        state: request.state,
        opted_out: false,
        row: None,
        refused: None,
        actor: request.actor.to_owned(),
    };
    // Without rules, a tag matters only where a quarantine may be taking it.
    let has_rules = tag::rules(policy, &facts).is_some();
    if !has_rules && (run.writer().is_none() || policy.block(&key.repository).method != BlockMethod::QuarantineTag) {
        return Ok(RepositoryOutcome::default());
    }
    let mut done = RepositoryOutcome::default();
    for _ in 0..MAX_ATTEMPTS {
        run.look_at_tag(&mut facts).await?;
        let now = services.clock().now();
        if let Some(damage) = run.repair(&facts, request.pushed).await? {
            done.alerts.push(damage.kind());
            continue;
        }
        if !has_rules {
            let seen = seen_with(facts.row.as_ref(), facts.holder.as_ref(), now);
            match seen {
                Some(row) if run.write_tag(&row).await? == Written::Conflict => continue,
                _ => return Ok(done),
            }
        }
        if tag::may_be_removed(policy, &facts) {
            let tags = services.registry().repository_tags(key).await;
            let tags = tags.map_err(|source| run.failed("reconcile a tag of", source))?;
            facts.opted_out = matches!(opt_out(&tags), OptOut::Ignore(_) | OptOut::Report(_));
        }
        let step = match run.decided_on_tag(&facts) {
            TagPlan::Apply(step) => step,
            TagPlan::Leave | TagPlan::InProgress => return Ok(done),
            TagPlan::Later => return Err(ReconcileError::Contended(key.into())),
        };
        let action = TagAction {
            run: &run,
            step: &step,
            taken: None,
            alerts: Vec::new(),
        };
        match execute(action).await? {
            Executed::Conflict => {}
            Executed::Stopped(refused) if facts.refused.is_none() => facts.refused = Some(refused.to_string()),
            Executed::Stopped(refused) => return Err(run.failed("remove a tag of", refused)),
            Executed::Done((taken, alerts)) => {
                if let Some(taken) = taken {
                    done.changed.push("untag");
                    done.alerts.extend(taken.damage.iter().map(Damage::kind));
                }
                done.alerts.extend(alerts);
                return Ok(done);
            }
        }
    }
    Err(ReconcileError::Contended(key.into()))
}

/// A step for a tag.
struct TagAction<'a, S> {
    run: &'a RepositoryRun<'a, S>,
    step: &'a TagStep,
    taken: Option<Taken>,
    alerts: Vec<RepositoryAlertKind>,
}

impl<S: Services> Action for TagAction<'_, S> {
    type Done = (Option<Taken>, Vec<RepositoryAlertKind>);
    /// The registry refused to remove the tag.
    type Stop = PortError;

    fn subject(&self) -> Subject {
        self.run.key.into()
    }

    fn is_only_a_record(&self) -> bool {
        self.step.alerts.is_empty() && self.step.untag.is_none()
    }

    async fn claim(&mut self) -> Result<Claim<PortError>, ReconcileError> {
        Ok(match self.run.write_tag(&self.step.row).await? {
            Written::Yes => Claim::Holds,
            Written::Conflict => Claim::Conflict,
        })
    }

    async fn effect(&mut self) -> Result<Option<PortError>, ReconcileError> {
        let Some(untag) = &self.step.untag else { return Ok(None) };
        let Some(writer) = self.run.writer() else {
            return Err(ReconcileError::ReportMode(self.run.key.clone()));
        };
        let image = self.run.key.image(&self.step.row.digest);
        let tag = std::slice::from_ref(&self.step.row.tag);
        let removal = self.run.removal(writer);
        // Boxed, because it is seldom done and would make every look larger.
        let taken = Box::pin(removal.take(&image, tag, &untag.mark, Claims::Written)).await;
        match taken.map(|taken| (taken.refused.clone(), taken)) {
            Ok((None, taken)) => {
                self.taken = Some(taken);
                Ok(None)
            }
            Ok((Some(source), _)) | Err(source) if source.retry == Retry::Never => Ok(Some(source)),
            Ok((Some(source), _)) | Err(source) => Err(self.run.failed("remove a tag of", source)),
        }
    }

    async fn tell(&mut self) -> Result<(), ReconcileError> {
        self.alerts = self.run.tell(&self.step.alerts).await?;
        Ok(())
    }

    async fn record(&mut self) -> Result<Written, ReconcileError> {
        let answered = self.taken.as_ref().is_none_or(|taken| taken.unanswered.is_empty());
        let completed = self.step.completed(answered, self.run.services.clock().now());
        self.run.write_tag(&completed).await
    }

    fn done(self) -> Self::Done {
        (self.taken, self.alerts)
    }
}

impl<S: Services> RepositoryRun<'_, S> {
    /// Who has the tag, and what is remembered of it.
    async fn look_at_tag(&self, facts: &mut TagFacts) -> Result<(), ReconcileError> {
        let by_tag = ImageRef::Tag(facts.tag.clone());
        let (holder, row) = join(
            self.services.registry().image(&self.key.repository, &by_tag),
            self.services.ledger().tag_row(self.key, &facts.tag),
        )
        .await;
        let failed = |source| self.failed("reconcile a tag of", source);
        (facts.holder, facts.row) = (holder.map_err(failed)?, row.map_err(failed)?);
        Ok(())
    }

    fn decided_on_tag(&self, facts: &TagFacts) -> TagPlan {
        let (of, tag) = (self.key, &facts.tag);
        debug!(%of, %tag, recorded = facts.row.is_some(), "facts gathered");
        let plan = tag::decide(self.policy, facts, self.services.clock().now());
        match &plan {
            TagPlan::Apply(_) => debug!(%of, %tag, "decided: a step is carried out"),
            leave => debug!(%of, %tag, why = ?leave, "decided: nothing is to be done"),
        }
        plan
    }

    /// Makes good what a removal of the tag has done without an answer.
    async fn repair(&self, facts: &TagFacts, pushed: Option<&Pushed>) -> Result<Option<Damage>, ReconcileError> {
        let Some(writer) = self.writer() else { return Ok(None) };
        let removal = self.removal(writer);
        let damage = Box::pin(removal.look_into(facts.row.as_ref(), facts.holder.as_ref(), pushed, &facts.actor)).await;
        damage.map_err(|source| self.failed("give back a tag of", source))
    }

    async fn write_tag(&self, row: &TagRow) -> Result<Written, ReconcileError> {
        let written = self.services.ledger().write_tag_row(row).await;
        written.map_err(|source| self.failed("record a tag of", source))
    }

    fn removal<'a>(&'a self, writer: &'a S::Writer) -> TagRemoval<'a, S> {
        TagRemoval {
            services: self.services,
            writer,
            policy: self.policy,
        }
    }
}

/// The row of a tag that is being removed, when another image has the tag by now: it says which.
fn seen_with(row: Option<&TagRow>, holder: Option<&Image>, now: Timestamp) -> Option<TagRow> {
    let (row, holder) = (row?, holder?);
    (row.removals().next().is_some() && row.digest != holder.digest).then(|| TagRow {
        digest: holder.digest.clone(),
        since: now,
        generation: row.generation + 1,
        ..row.clone()
    })
}
