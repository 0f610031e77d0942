//! Gather facts, decide, notify, record: for a registry as a whole, and for the daily digest.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use futures_util::future::try_join;
use jiff::Timestamp;
use serde::Serialize;
use tracing::debug;

use crate::{
    execute::{Action, Claim, Executed, execute},
    reconcile::{ReconcileError, Subject},
};
use guard_core::{
    alert::test::TestAlert,
    digest::{Digest, DigestBuilder, DigestEdition, DigestPlan, decide_digest},
    ids::{RegistryKey, RepositoryName, TopicArn},
    notice::{Change, RegistryAlertKind},
    policy::{Exception, Policy},
    registry::{
        RegistryRow,
        decide::{RegistryFacts, RegistryPlan, RegistryStep, decide_registry},
        survey::{Found, Problem, RegistrySurvey},
    },
    repository::route::RouteTag,
    summary::RepositorySummary,
    text,
    uses::{Incomplete, IndexState, WorkloadRules},
};
use guard_ports::{Clock as _, Listing, Notifier as _, PortError, Services, SweepLedger, UseLedger as _, Written};

/// The result.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RegistryOutcome {
    /// Settings that are not what the policy needs.
    pub problems: u64,
    /// The kinds of the alerts that were sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<RegistryAlertKind>,
}

/// How often it is started over when somebody else wrote the row in between.
const MAX_ATTEMPTS: usize = 6;

/// When the last sweep began of which every repository was left to the workers; `None`: there was none, as far as is known.
///
/// # Errors
/// A call failed.
pub async fn last_sweep(ledger: &impl SweepLedger, key: &RegistryKey) -> Result<Option<Timestamp>, ReconcileError> {
    let row = ledger.registry_row(key).await;
    let row = row.map_err(|source| ReconcileError::port("look up the last sweep of", key, source))?;
    Ok(row.and_then(|row| row.swept))
}

/// Records that every repository was left to the workers by a sweep that began then.
///
/// # Errors
/// A call failed, or others are at work on the same row.
pub async fn record_sweep(
    ledger: &impl SweepLedger,
    key: &RegistryKey,
    began: Timestamp,
) -> Result<(), ReconcileError> {
    for _ in 0..MAX_ATTEMPTS {
        let row = ledger.registry_row(key).await;
        let row = row.map_err(|source| ReconcileError::port("look up the last sweep of", key, source))?;
        if row.as_ref().and_then(|row| row.swept) >= Some(began) {
            return Ok(());
        }
        let generation = row.as_ref().map_or(0, |row| row.generation) + 1;
        let row = row.unwrap_or_else(|| RegistryRow::new(key.clone()));
        let row = RegistryRow {
            generation,
            swept: Some(began),
            ..row
        };
        let written = ledger.write_registry_row(&row).await;
        if written.map_err(|source| ReconcileError::port("record the sweep of", key, source))? == Written::Yes {
            return Ok(());
        }
    }
    Err(ReconcileError::Contended(key.into()))
}

/// The statement about EKS clusters: those that do not report, and that they could not be listed.
fn clusters(rules: &WorkloadRules, state: &IndexState, now: Timestamp) -> Vec<Problem> {
    let unlisted = state.clusters_trouble.as_ref().map(|trouble| Problem {
        about: "workloads.kubernetes clusters".to_owned(),
        change: Change {
            setting: "workloads.kubernetes".to_owned(),
            old: match &trouble.missing {
                Some(missing) => format!("EKS clusters could not be listed: {missing} is missing"),
                None => format!("EKS clusters could not be listed: {}", text::line(&trouble.error, 200)),
            },
            new: "all EKS clusters are listed, so that those are named that do not report".to_owned(),
        },
    });
    silent_clusters(rules, state, now).into_iter().chain(unlisted).collect()
}

/// The statement about EKS clusters that do not report: their workloads are not known.
fn silent_clusters(rules: &WorkloadRules, state: &IndexState, now: Timestamp) -> Option<Problem> {
    let silent = state.silent_clusters(rules, now);
    let names: Vec<String> = silent
        .iter()
        .take(MAX_CLUSTERS)
        .map(|name| text::line(name, 100))
        .collect();
    let more = silent.len().saturating_sub(names.len());
    (!silent.is_empty()).then(|| Problem {
        about: "workloads.kubernetes".to_owned(),
        change: Change {
            setting: "workloads.kubernetes".to_owned(),
            old: match more {
                0 => format!("EKS clusters that do not report what they run: {}", names.join(", ")),
                more => format!(
                    "EKS clusters that do not report what they run: {} and {more} more",
                    names.join(", ")
                ),
            },
            new: format!("a report every {} minutes or more often", rules.max_age.as_mins()),
        },
    })
}

/// The most clusters that are named.
const MAX_CLUSTERS: usize = 10;

struct Run<'a, S, R> {
    services: &'a S,
    /// A sweep reads the lists of its registry once, for all its parts.
    registry: &'a R,
    policy: &'a Policy,
    key: &'a RegistryKey,
}

/// Notifies of settings of a registry that differ from what the policy needs, and of exceptions of the policy that end soon.
/// Nothing is changed. `registry`: its lists, as the rest of the sweep reads them.
///
/// # Errors
/// A call failed, or others are at work on the same registry.
pub async fn reconcile_registry(
    services: &impl Services,
    registry: &impl Listing,
    policy: &Policy,
    key: &RegistryKey,
    actor: &str,
) -> Result<RegistryOutcome, ReconcileError> {
    let run = Run {
        services,
        registry,
        policy,
        key,
    };
    let ((found, _), incomplete) = try_join(run.look(), run.incomplete()).await?;
    let mut facts = RegistryFacts {
        key: key.clone(),
        found,
        incomplete,
        row: None,
        actor: actor.to_owned(),
    };
    let mut outcome = RegistryOutcome {
        problems: facts.found.problems.len() as u64,
        alerts: Vec::new(),
    };
    for _ in 0..MAX_ATTEMPTS {
        facts.row = run.row().await?;
        debug!(of = %key, problems = outcome.problems, recorded = facts.row.is_some(), "facts gathered");
        let RegistryPlan::Apply(step) = decide_registry(policy, &facts, services.clock().now()) else {
            debug!(of = %key, "decided: nothing is to be done");
            return Ok(outcome);
        };
        let action = RegistryAction {
            run: &run,
            step: &step,
            sent: BTreeSet::new(),
            kinds: Vec::new(),
            error: None,
        };
        match execute(action).await? {
            Executed::Conflict => {}
            Executed::Stopped(never) => match never {},
            Executed::Done(told) => {
                outcome.alerts = told.map_err(|source| run.failed("send the alert about", source))?;
                return Ok(outcome);
            }
        }
    }
    Err(ReconcileError::Contended(key.into()))
}

/// A step for a registry: nothing is changed, and alerts are sent, as far as topics accept them.
struct RegistryAction<'a, 'b, S, R> {
    run: &'a Run<'b, S, R>,
    step: &'a RegistryStep,
    sent: BTreeSet<&'a str>,
    kinds: Vec<RegistryAlertKind>,
    /// The first error of a topic.
    error: Option<PortError>,
}

impl<S: Services, R: Listing> Action for RegistryAction<'_, '_, S, R> {
    type Done = Result<Vec<RegistryAlertKind>, PortError>;
    type Stop = Infallible;

    fn subject(&self) -> Subject {
        self.run.key.into()
    }

    fn is_only_a_record(&self) -> bool {
        self.step.alerts.is_empty()
    }

    async fn claim(&mut self) -> Result<Claim<Infallible>, ReconcileError> {
        Ok(match self.run.write(&self.step.row).await? {
            Written::Yes => Claim::Holds,
            Written::Conflict => Claim::Conflict,
        })
    }

    async fn effect(&mut self) -> Result<Option<Infallible>, ReconcileError> {
        Ok(None)
    }

    async fn tell(&mut self) -> Result<(), ReconcileError> {
        for (topic, alert) in &self.step.alerts {
            let forms = alert.alert(&self.run.policy.contact);
            let notifier = self.run.services.notifier();
            match notifier.tell_now(&forms.brief(topic), &forms.message()).await {
                Ok(()) => {
                    self.sent.insert(&alert.id);
                    self.kinds.push(alert.kind);
                }
                // The other topics may be all right.
                Err(source) => {
                    self.error.get_or_insert(source);
                }
            }
        }
        Ok(())
    }

    /// The alerts that topics have accepted are recorded, also where others have not.
    async fn record(&mut self) -> Result<Written, ReconcileError> {
        if !self.sent.is_empty() {
            self.run.record_told(self.step.clone(), &self.sent).await?;
        }
        Ok(Written::Yes)
    }

    fn done(self) -> Self::Done {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.kinds),
        }
    }
}

/// Who wants digests, by the id of an invocation that a retry of it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestsWanted<'a> {
    /// The schedule: once a day, if the policy says so.
    BySchedule(&'a str),
    /// Somebody who asks for them: now, to all topics, whatever was sent before, and whatever the policy says of digests.
    Now(&'a str),
}

/// Sends the digest of the day to each topic that does not have it, if it is time; gives the number of digests sent. `registry`: its
/// lists, as the rest of the sweep reads them.
///
/// # Errors
/// A call failed, or others are at work on the same registry. Those topics that accepted it have it, and do not get it again.
pub async fn send_digests(
    services: &impl Services,
    registry: &impl Listing,
    policy: &Policy,
    key: &RegistryKey,
    wanted: DigestsWanted<'_>,
) -> Result<u64, ReconcileError> {
    let run = Run {
        services,
        registry,
        policy,
        key,
    };
    match wanted {
        DigestsWanted::Now(actor) => run.send(&run.digests(Some(actor)).await?, None).await,
        DigestsWanted::BySchedule(actor) => match run.claim_day(actor).await? {
            Some(claimed) => run.send(&run.digests(None).await?, Some(claimed)).await,
            None => Ok(0),
        },
    }
}

/// Sends one test alert to each topic of the policy. Gives their number. `request`: what makes the ids of the alerts different from those of
/// other requests.
///
/// # Errors
/// A topic did not take it. The others got it all the same.
pub async fn send_test_alerts(
    services: &impl Services,
    policy: &Policy,
    key: &RegistryKey,
    request: &str,
) -> Result<u64, ReconcileError> {
    let (mut sent, mut error) = (0, None);
    for (topic, routes) in policy.topics() {
        let alert = TestAlert {
            id: format!("test-{request}"),
            time: services.clock().now(),
            registry: key.clone(),
            routes: routes.into_iter().map(str::to_owned).collect(),
        };
        match services
            .notifier()
            .publish(topic, &alert.message(&policy.contact))
            .await
        {
            Ok(_) => sent += 1,
            Err(source) => error = error.or(Some(source)),
        }
    }
    match error {
        Some(source) => Err(ReconcileError::port("send the test alerts of", key, source)),
        None => Ok(sent),
    }
}

impl<S: Services, R: Listing> Run<'_, S, R> {
    fn failed(&self, doing: &'static str, source: PortError) -> ReconcileError {
        ReconcileError::port(doing, self.key, source)
    }

    /// The lists of workloads that the policy asks for and that are not complete.
    async fn incomplete(&self) -> Result<Vec<Incomplete>, ReconcileError> {
        let index = self.index().await?;
        let now = self.services.clock().now();
        Ok(index.map_or_else(Vec::new, |(rules, state)| state.incomplete(rules, now)))
    }

    /// How complete the index of workloads is; `None`: the policy asks for none.
    async fn index(&self) -> Result<Option<(&WorkloadRules, IndexState)>, ReconcileError> {
        let Some(rules) = &self.policy.workloads else {
            return Ok(None);
        };
        let RegistryKey { account, region } = self.key;
        let state = self.services.ledger().index_state(account, region).await;
        let state = state.map_err(|source| self.failed("look up the workloads of", source))?;
        let state = state.unwrap_or_else(|| IndexState::new(account.clone(), region.clone()));
        Ok(Some((rules, state)))
    }

    async fn row(&self) -> Result<Option<RegistryRow>, ReconcileError> {
        let row = self.services.ledger().registry_row(self.key).await;
        row.map_err(|source| self.failed("look up", source))
    }

    async fn write(&self, row: &RegistryRow) -> Result<Written, ReconcileError> {
        let written = self.services.ledger().write_registry_row(row).await;
        written.map_err(|source| self.failed("record the alerts about", source))
    }

    /// Surveys the registry: its problems, and its repositories.
    async fn look(&self) -> Result<(Found, BTreeSet<RepositoryName>), ReconcileError> {
        let failed = |source| self.failed("reconcile", source);
        let registry = self.registry;
        let (settings, mut page) = try_join(registry.settings(), registry.repositories(None))
            .await
            .map_err(failed)?;
        let routes = self.routes().await?;
        let mut survey = RegistrySurvey::new(self.policy, self.key, &settings);
        let mut names = BTreeSet::new();
        loop {
            for listed in page.items {
                survey.repository(&listed.name, routes.get(&listed.name));
                names.insert(listed.name);
            }
            let Some(after) = page.next else { break };
            page = registry.repositories(Some(&after)).await.map_err(failed)?;
        }
        Ok((survey.finish(), names))
    }

    /// The routes that the tags of repositories name, as far as they are needed: an exception that ends is alerted to the
    /// routes of its repositories.
    async fn routes(&self) -> Result<BTreeMap<RepositoryName, RouteTag>, ReconcileError> {
        let now = self.services.clock().now();
        let mut routes = BTreeMap::new();
        let may_end = |exception: &Exception| exception.has_ended(now) || exception.ends_soon(now);
        if self.policy.route_by_tag().is_none() || !self.policy.exceptions.iter().any(may_end) {
            return Ok(routes);
        }
        let mut after = None;
        loop {
            let page = self.services.ledger().summaries(self.key, after.as_deref()).await;
            let page = page.map_err(|source| self.failed("read the summaries of", source))?;
            let route = |summary: RepositorySummary| Some((summary.repository.repository, summary.route?));
            routes.extend(page.items.into_iter().filter_map(route));
            after = page.next;
            if after.is_none() {
                return Ok(routes);
            }
        }
    }

    /// Records that alerts were sent. Workers write the same row where findings may not be read.
    async fn record_told(&self, mut step: RegistryStep, sent: &BTreeSet<&str>) -> Result<(), ReconcileError> {
        for _ in 0..MAX_ATTEMPTS {
            let completed = step.completed(sent, self.services.clock().now());
            if self.write(&completed).await? == Written::Yes {
                return Ok(());
            }
            let Some(row) = self.row().await? else { break };
            step.row = row;
        }
        Err(ReconcileError::Contended(self.key.into()))
    }

    /// Undertakes to send the digest of the day; `None`: there is nothing to do.
    async fn claim_day(&self, actor: &str) -> Result<Option<RegistryRow>, ReconcileError> {
        for _ in 0..MAX_ATTEMPTS {
            let row = self.row().await?;
            let now = self.services.clock().now();
            let DigestPlan::Send(row) = decide_digest(self.policy, self.key, row.as_ref(), actor, now) else {
                return Ok(None);
            };
            if self.write(&row).await? == Written::Yes {
                return Ok(Some(*row));
            }
        }
        Err(ReconcileError::Contended(self.key.into()))
    }

    /// The digests of all topics.
    async fn digests(&self, asked_by: Option<&str>) -> Result<BTreeMap<TopicArn, Digest>, ReconcileError> {
        let ((mut found, names), index) = try_join(self.look(), self.index()).await?;
        let now = self.services.clock().now();
        found.problems.extend(
            index
                .into_iter()
                .flat_map(|(rules, state)| clusters(rules, &state, now)),
        );
        let edition = DigestEdition {
            key: self.key,
            asked_by,
            now,
        };
        let mut builder = DigestBuilder::new(self.policy, edition, names, &found);
        let mut after = None;
        loop {
            let page = self.services.ledger().summaries(self.key, after.as_deref()).await;
            let page = page.map_err(|source| self.failed("read the summaries of", source))?;
            page.items.iter().for_each(|summary| builder.summary(summary));
            after = page.next;
            if after.is_none() {
                return Ok(builder.finish());
            }
        }
    }

    /// Sends digests to the topics that do not have them. `claimed` is the row in which the day was claimed, if it was.
    async fn send(
        &self,
        digests: &BTreeMap<TopicArn, Digest>,
        mut claimed: Option<RegistryRow>,
    ) -> Result<u64, ReconcileError> {
        let (mut sent, mut error) = (0, None);
        for (topic, digest) in digests {
            let record = claimed.as_ref().and_then(|row| row.digest.as_ref());
            if record.is_some_and(|record| record.sent.contains(topic)) {
                continue;
            }
            match self
                .services
                .notifier()
                .publish(topic, &digest.message(&self.policy.contact))
                .await
            {
                Ok(_) => sent += 1,
                // The other topics may be all right.
                Err(source) => {
                    error = error.or(Some(source));
                    continue;
                }
            }
            if let Some(row) = claimed {
                claimed = Some(self.record_sent(row, topic).await?);
            }
        }
        match error {
            Some(source) => Err(self.failed("send the digest of", source)),
            None => Ok(sent),
        }
    }

    /// Records that a topic has the digest. Gives the row that was written.
    async fn record_sent(&self, mut row: RegistryRow, topic: &TopicArn) -> Result<RegistryRow, ReconcileError> {
        for _ in 0..MAX_ATTEMPTS {
            row.generation += 1;
            let before = row.digest.as_mut().map(|record| {
                record.sent.insert(topic.clone());
                record.clone()
            });
            if self.write(&row).await? == Written::Yes {
                return Ok(row);
            }
            // Somebody sent another alert in between. Alerts that were sent stay sent.
            let Some(current) = self.row().await? else { break };
            row = current;
            let same_day = row.digest.as_mut().zip(before).filter(|(is, was)| is.day == was.day);
            let Some((is, was)) = same_day else { break };
            is.sent.extend(was.sent);
        }
        Err(ReconcileError::Contended(self.key.into()))
    }
}

#[cfg(test)]
mod tests;
