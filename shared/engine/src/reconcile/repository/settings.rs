//! The settings of a repository.

use std::collections::BTreeMap;

use tracing::debug;

use super::{
    outcome::RepositoryOutcome,
    run::{MAX_ATTEMPTS, RepositoryRun},
};
use crate::{
    execute::{Action, Claim, Executed, execute},
    reconcile::{ReconcileError, Subject},
};
use guard_core::{
    ids::RepositoryKey,
    notice::RepositoryAlertKind,
    policy::{Policy, RepositoryRules},
    repository::{
        decide::{
            OptOut, Previewed, RepositoryEffect, RepositoryFacts, RepositoryLeave, RepositoryPlan, RepositoryStep,
            decide, is_previewing, opt_out, tags_may_matter,
        },
        posture::ListedSettings,
    },
};
use guard_ports::{Clock as _, RepositoryLedger as _, RepositoryWriter as _, Retry, Services, Written};

/// Brings a repository's settings to the desired state, or alerts that they differ. `listed`: the known settings; if these are
/// in order, the registry is asked for nothing that they cover.
///
/// # Errors
/// A call failed, or others are at work on the same repository.
pub async fn reconcile_repository(
    services: &impl Services,
    policy: &Policy,
    key: &RepositoryKey,
    listed: Option<&ListedSettings>,
    actor: &str,
) -> Result<RepositoryOutcome, ReconcileError> {
    let run = RepositoryRun { services, policy, key };
    let rules = policy.repository(&key.repository);
    if !rules.is_some_and(RepositoryRules::has_settings) {
        return Ok(RepositoryOutcome::default());
    }
    if let Some(listed) = listed
        && run.is_in_order(listed, actor).await?
    {
        return Ok(RepositoryOutcome::default());
    }
    let mut done = RepositoryOutcome::default();
    let mut refused = BTreeMap::new();
    for _ in 0..MAX_ATTEMPTS {
        let mut facts = run.gather(None, actor).await?;
        facts.refused.clone_from(&refused);
        let mut plan = run.decided(&facts);
        if let RepositoryPlan::Preview(text) | RepositoryPlan::Recheck(text) = &plan {
            let is_set = matches!(plan, RepositoryPlan::Recheck(_));
            let previewed = run.previewed(&facts, text, is_set).await?;
            done.waits = previewed == Previewed::NotYet;
            facts.preview = Some(previewed);
            plan = run.decided(&facts);
            if let RepositoryPlan::Apply(step) = &plan
                && !run.is_as_read(&facts, step).await?
            {
                continue;
            }
        }
        match plan {
            RepositoryPlan::Apply(step) => {
                let executed = execute(RepositoryAction::new(&run, &step)).await?;
                let (carried, is_done) = match executed {
                    Executed::Conflict => continue,
                    Executed::Done(carried) => (carried, true),
                    Executed::Stopped(carried) => (carried, false),
                };
                done.changed.extend(carried.changed);
                done.alerts.extend(carried.alerts);
                done.opt_out = step.row.opt_out;
                if is_done {
                    return Ok(done);
                }
                refused.extend(carried.refusals);
            }
            RepositoryPlan::Leave(leave) => {
                if leave == RepositoryLeave::OptedOut
                    && let OptOut::Ignore(reason) = opt_out(&facts.tags)
                {
                    done.opt_out = Some(format!("ignore: {reason}"));
                }
                done.opt_out = done.opt_out.or(facts.row.and_then(|row| row.opt_out));
                return Ok(done);
            }
            // It was answered already.
            RepositoryPlan::Preview(_) | RepositoryPlan::Recheck(_) => return Ok(done),
        }
    }
    Err(ReconcileError::Contended(key.into()))
}

impl<S: Services> RepositoryRun<'_, S> {
    /// The effect of a lifecycle policy; of one that `is_set`, only the workloads that lose an image by it.
    async fn previewed(&self, facts: &RepositoryFacts, text: &str, is_set: bool) -> Result<Previewed, ReconcileError> {
        let Some(writer) = self.writer() else {
            return Err(ReconcileError::ReportMode(self.key.clone()));
        };
        if is_set && let Some(preview) = self.without_uses().await? {
            return Ok(Previewed::Ready(preview));
        }
        let begun = is_previewing(facts.row.as_ref(), text, self.services.clock().now());
        let preview = writer.preview_lifecycle_policy(self.key, text, begun).await;
        let preview = preview.map_err(|source| self.failed("preview the lifecycle policy of", source))?;
        Ok(match preview {
            Some(preview) if is_set => Previewed::Ready(self.with_workloads(preview, text).await?),
            Some(preview) => Previewed::Ready(self.with_uses(preview, text).await?),
            None => Previewed::NotYet,
        })
    }

    fn decided(&self, facts: &RepositoryFacts) -> RepositoryPlan {
        let of = self.key;
        debug!(%of, recorded = facts.row.is_some(), "facts gathered");
        let plan = decide(self.policy, facts, self.services.clock().now());
        match &plan {
            RepositoryPlan::Preview(_) => debug!(%of, "decided: the effect of a lifecycle policy must be asked first"),
            RepositoryPlan::Recheck(_) => {
                debug!(%of, "decided: the effect of the lifecycle policy must be asked again")
            }
            RepositoryPlan::Apply(_) => debug!(%of, "decided: a step is carried out"),
            RepositoryPlan::Leave(why) => debug!(%of, ?why, "decided: nothing is to be done"),
        }
        plan
    }
}

/// The result of a step, as far as it could be done.
#[derive(Default)]
struct Carried {
    /// The settings that were changed.
    changed: Vec<&'static str>,
    /// The settings that the registry refused to change, and why. The alert depends on it: the plan is decided again on the
    /// present facts.
    refusals: Vec<(&'static str, String)>,
    /// The kinds of the alerts that were sent.
    alerts: Vec<RepositoryAlertKind>,
}

/// A step for the settings of a repository.
struct RepositoryAction<'a, S> {
    run: &'a RepositoryRun<'a, S>,
    step: &'a RepositoryStep,
    carried: Carried,
}

impl<'a, S: Services> RepositoryAction<'a, S> {
    fn new(run: &'a RepositoryRun<'a, S>, step: &'a RepositoryStep) -> Self {
        let carried = Carried::default();
        Self { run, step, carried }
    }
}

impl<S: Services> Action for RepositoryAction<'_, S> {
    type Done = Carried;
    type Stop = Carried;

    fn subject(&self) -> Subject {
        self.run.key.into()
    }

    fn is_only_a_record(&self) -> bool {
        self.step.alerts.is_empty() && self.step.effects.is_empty()
    }

    async fn claim(&mut self) -> Result<Claim<Carried>, ReconcileError> {
        let written = self.run.services.ledger().write_repository_row(&self.step.row).await;
        Ok(match written.map_err(|source| self.run.failed("record", source))? {
            Written::Yes => Claim::Holds,
            Written::Conflict => Claim::Conflict,
        })
    }

    async fn effect(&mut self) -> Result<Option<Carried>, ReconcileError> {
        for effect in &self.step.effects {
            match self.run.bring_about(effect).await {
                Ok(()) => self.carried.changed.push(effect.setting()),
                Err(ReconcileError::Port { source, .. }) if source.retry == Retry::Never => {
                    self.carried.refusals.push((effect.setting(), source.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        let is_refused = !self.carried.refusals.is_empty();
        Ok(is_refused.then(|| std::mem::take(&mut self.carried)))
    }

    async fn tell(&mut self) -> Result<(), ReconcileError> {
        self.carried.alerts = self.run.tell(&self.step.alerts).await?;
        Ok(())
    }

    async fn record(&mut self) -> Result<Written, ReconcileError> {
        let completed = self.step.completed(self.run.services.clock().now());
        let written = self.run.services.ledger().write_repository_row(&completed).await;
        written.map_err(|source| self.run.failed("record", source))
    }

    fn done(self) -> Carried {
        self.carried
    }
}

impl<S: Services> RepositoryRun<'_, S> {
    /// Whether nothing is to be done by what is listed, and by what no list shows. A list may be old: it saves calls where nothing is to be
    /// done, and nothing is done by it.
    async fn is_in_order(&self, listed: &ListedSettings, actor: &str) -> Result<bool, ReconcileError> {
        let row = self.services.ledger().repository_row(self.key).await;
        let row = row.map_err(|source| self.failed("reconcile", source))?;
        if tags_may_matter(self.policy, self.key, row.as_ref()) {
            return Ok(false);
        }
        let facts = self.gather(Some((listed, row)), actor).await?;
        let plan = decide(self.policy, &facts, self.services.clock().now());
        Ok(plan == RepositoryPlan::Leave(RepositoryLeave::Unchanged))
    }

    async fn bring_about(&self, effect: &RepositoryEffect) -> Result<(), ReconcileError> {
        let Some(writer) = self.writer() else {
            // `decide` plans no effect in report mode; if it ever did, this is where it ends.
            return Err(ReconcileError::ReportMode(self.key.clone()));
        };
        let key = self.key;
        let result = match effect {
            RepositoryEffect::TagMutability(mutability) => writer.set_tag_mutability(key, mutability).await,
            RepositoryEffect::ScanOnPush => writer.set_scan_on_push(key).await,
            RepositoryEffect::Access(text) => writer.set_repository_policy(key, text.as_deref()).await,
            RepositoryEffect::Lifecycle(text) => writer.set_lifecycle_policy(key, text).await,
        };
        result.map_err(|source| self.failed("change", source))
    }
}
