//! From facts about a registry to a plan: the alerts, and the record.
//!
//! As for images and repositories: the same facts, policy and time give the same plan, and carrying a plan out makes the next
//! plan empty. A condition that lasts is alerted once; its end is recorded without an alert. Nothing is changed in the
//! registry: its settings hold for everybody in the account.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::{
    alert::{
        NextStep,
        registry::{ExceptionNotice, RegistryAlert},
    },
    calendar::date_of,
    ids::TopicArn,
    notice::RegistryAlertKind as Kind,
    policy::{Exception, Policy},
    text::{self, hex},
    uses::{Incomplete, SourceKind},
};
use crate::{
    ids::RegistryKey,
    registry::{
        RegistryNote, RegistryRow, RegistryRowSchema,
        access::RefusedAccess,
        checks::REGISTRY_CHECKS,
        failing::FailingCall,
        survey::{Found, Problem},
    },
};

/// The lease of an invocation that sends an alert about a registry: as long as a sweep may run.
pub const REGISTRY_LEASE: SignedDuration = SignedDuration::from_mins(5);

/// All that is known of a registry at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct RegistryFacts {
    /// Which.
    pub key: RegistryKey,
    /// The findings of the survey.
    pub found: Found,
    /// The lists of workloads that the policy asks for and that are not complete.
    pub incomplete: Vec<Incomplete>,
    /// The row in the ledger.
    pub row: Option<RegistryRow>,
    /// The invocation that asks.
    pub actor: String,
}

/// The changes, in this order: write `row`, send `alerts`, write [`RegistryStep::completed`].
#[derive(Debug, Clone, PartialEq)]
pub struct RegistryStep {
    /// The row.
    pub row: RegistryRow,
    /// The alerts, and where they go.
    pub alerts: Vec<(TopicArn, RegistryAlert)>,
}

impl RegistryStep {
    /// The row to write when the alerts with these ids were sent.
    pub fn completed(&self, sent: &BTreeSet<&str>, now: Timestamp) -> RegistryRow {
        let mut row = self.row.clone();
        row.generation += 1;
        for note in row.notes.iter_mut().chain(&mut row.notes_of_failing) {
            if sent.contains(note.id.as_str()) {
                note.sent_at = note.sent_at.or(Some(now));
            }
        }
        row
    }
}

/// The plan.
#[derive(Debug, Clone, PartialEq)]
pub enum RegistryPlan {
    /// Nothing: the observed state is the desired state, or was alerted.
    Unchanged,
    /// Nothing: another invocation holds the lease.
    InProgress,
    /// Carry out a step.
    Apply(Box<RegistryStep>),
}

/// An alert for a topic.
struct Told<'a> {
    topic: TopicArn,
    about: String,
    what: What<'a>,
}

#[derive(Clone, Copy)]
enum What<'a> {
    Problem(&'a Problem),
    Exception(&'a Exception),
    Access(&'a RefusedAccess),
    Failing(&'a FailingCall),
    Uses(&'a Incomplete),
}

impl What<'_> {
    fn kind(self) -> Kind {
        match self {
            Self::Problem(_) => Kind::RegistryDrift,
            Self::Exception(_) => Kind::ExceptionExpiring,
            Self::Access(_) | Self::Uses(_) => Kind::AccessMissing,
            Self::Failing(_) => Kind::CallsFailing,
        }
    }
}

/// Decides.
pub fn decide_registry(policy: &Policy, facts: &RegistryFacts, now: Timestamp) -> RegistryPlan {
    let prior = facts.row.as_ref();
    let remembered: Vec<RegistryNote> = prior
        .into_iter()
        .flat_map(|row| row.notes.iter().chain(&row.notes_of_failing))
        .cloned()
        .collect();
    let is_busy = |note: &RegistryNote| {
        note.sent_at.is_none() && note.claimed_by != facts.actor && now.duration_since(note.claimed_at) < REGISTRY_LEASE
    };
    if remembered.iter().any(is_busy) {
        return RegistryPlan::InProgress;
    }
    let generation = prior.map_or(0, |row| row.generation) + 1;
    let mut notes = Vec::new();
    // The pending ones, by the id of their alert.
    let mut owed: BTreeMap<String, Vec<Told<'_>>> = BTreeMap::new();
    let refused: Vec<RefusedAccess> = prior.map_or(&[][..], |row| &row.refused).to_vec();
    let failing: Vec<FailingCall> = prior.map_or(&[][..], |row| &row.failing).to_vec();
    for told in to_tell(policy, facts, &refused, &failing, now) {
        let kind = told.what.kind();
        let same = |note: &&RegistryNote| note.kind == kind && note.about == told.about && note.topic == told.topic;
        let before = remembered.iter().find(same);
        if let Some(note) = before.filter(|note| note.sent_at.is_some()) {
            notes.push(note.clone());
            continue;
        }
        // Conditions that one alert names have one id, and keep it until it is sent.
        let id = before.map_or_else(|| id(&facts.key, &told, generation), |note| note.id.clone());
        notes.push(RegistryNote {
            kind,
            about: told.about.clone(),
            topic: told.topic.clone(),
            id: id.clone(),
            claimed_at: now,
            claimed_by: facts.actor.clone(),
            sent_at: None,
        });
        owed.entry(id).or_default().push(told);
    }
    // A cause that ends and begins again on one day is alerted once.
    let today = date_of(now).to_string();
    let of_today = |note: &&RegistryNote| note.kind == Kind::CallsFailing && note.about.ends_with(&today);
    let told_today = remembered.iter().filter(of_today).filter(|note| note.sent_at.is_some());
    let over: Vec<RegistryNote> = told_today.filter(|note| !notes.contains(note)).cloned().collect();
    notes.extend(over);
    let (mut of_failing, mut notes): (Vec<RegistryNote>, Vec<RegistryNote>) =
        notes.into_iter().partition(|note| note.kind == Kind::CallsFailing);
    of_failing.sort();
    notes.sort();
    let is_same = prior.map_or(notes.is_empty() && of_failing.is_empty(), |row| {
        (&row.notes, &row.notes_of_failing) == (&notes, &of_failing)
            && row.failing.iter().all(|failing| failing.lasts(now))
    });
    if owed.is_empty() && is_same {
        return RegistryPlan::Unchanged;
    }
    let alerts = owed.into_iter().filter_map(|(id, told)| {
        let topic = told.first()?.topic.clone();
        Some((topic, alert(&facts.key, id, &told, now)))
    });
    let refused = refused.iter().filter(|refused| refused.lasts(now)).cloned().collect();
    RegistryPlan::Apply(Box::new(RegistryStep {
        alerts: alerts.collect(),
        row: RegistryRow {
            schema: RegistryRowSchema::V1,
            registry: facts.key.clone(),
            generation,
            notes,
            digest: prior.and_then(|row| row.digest.clone()),
            refused,
            failing: failing.into_iter().filter(|failing| failing.lasts(now)).collect(),
            notes_of_failing: of_failing,
            swept: prior.and_then(|row| row.swept),
        },
    }))
}

fn to_tell<'a>(
    policy: &'a Policy,
    facts: &'a RegistryFacts,
    refused: &'a [RefusedAccess],
    failing: &'a [FailingCall],
    now: Timestamp,
) -> Vec<Told<'a>> {
    let found = &facts.found;
    let problems = found.problems.iter().map(|problem| Told {
        // The settings hold for all repositories, whatever their routes.
        topic: policy.default_topic().clone(),
        about: problem.about.clone(),
        what: What::Problem(problem),
    });
    let ending = policy.exceptions.iter().zip(&found.exceptions);
    let ending = ending.filter(|(exception, _)| exception.ends_soon(now));
    let exceptions = ending.flat_map(|(exception, topics)| {
        topics.iter().map(move |topic| Told {
            topic: topic.clone(),
            about: identity(exception),
            what: What::Exception(exception),
        })
    });
    // Each cause once for the region, and again every day as long as it lasts.
    let lasting = refused.iter().filter(|refused| refused.lasts(now));
    let access = lasting.map(|refused| {
        let role = refused.role.as_deref().unwrap_or_default();
        let because = refused.because;
        Told {
            topic: policy.default_topic().clone(),
            about: format!("access {} {role} {because:?} on {}", refused.missing, date_of(now)),
            what: What::Access(refused),
        }
    });
    let failing = failing
        .iter()
        .filter(|failing| failing.is_told(now))
        .map(|failing| Told {
            topic: policy.default_topic().clone(),
            about: format!("failing {} {} on {}", failing.operation, failing.code, date_of(now)),
            what: What::Failing(failing),
        });
    // The same of lists of workloads: each of them defers blocks.
    let incomplete = facts.incomplete.iter().map(|incomplete| Told {
        topic: policy.default_topic().clone(),
        about: format!("uses {} on {}", incomplete.source, date_of(now)),
        what: What::Uses(incomplete),
    });
    let mut told: Vec<Told<'_>> = problems
        .chain(exceptions)
        .chain(access)
        .chain(failing)
        .chain(incomplete)
        .collect();
    // One of two exceptions that say the same is named.
    told.sort_by(|a, b| (&a.about, &a.topic).cmp(&(&b.about, &b.topic)));
    told.dedup_by(|a, b| a.about == b.about && a.topic == b.topic);
    told
}

/// The identity of an exception, wherever it stands in the list: its scope, and its last day. A renewed one is another one.
fn identity(exception: &Exception) -> String {
    let globs: Vec<&str> = exception.repositories.iter().map(|glob| glob.as_str()).collect();
    let text = format!(
        "{}\0{:?}\0{}\0{:?}\0{:?}\0{}",
        exception.vulnerability.as_str(),
        exception.package.as_ref().map(|glob| glob.as_str()),
        globs.join("\0"),
        exception.tag.as_ref().map(|glob| glob.as_str()),
        exception.digest.as_ref().map(|digest| digest.as_str()),
        exception.last_day(),
    );
    format!("exception {}", short_hash(&text))
}

fn short_hash(text: &str) -> String {
    hex(&Sha256::digest(text)).chars().take(32).collect()
}

/// An exception has an alert of its own; settings that were found at the same time share one, which may come again.
fn id(key: &RegistryKey, told: &Told<'_>, generation: u64) -> String {
    let what = match told.what {
        What::Problem(_) => format!("{generation}"),
        What::Exception(_) | What::Access(_) | What::Failing(_) | What::Uses(_) => told.about.clone(),
    };
    let kind = told.what.kind().as_str();
    short_hash(&format!("{key}\0{kind}\0{what}\0{}", told.topic))
}

fn alert(key: &RegistryKey, id: String, told: &[Told<'_>], now: Timestamp) -> RegistryAlert {
    let region = &key.region;
    let mut alert = RegistryAlert {
        id,
        kind: Kind::RegistryDrift,
        time: now,
        registry: key.clone(),
        title: String::new(),
        reason: String::new(),
        changes: Vec::new(),
        exception: None,
        next_steps: Vec::new(),
    };
    for told in told {
        match told.what {
            What::Problem(problem) => alert.changes.push(problem.change.clone()),
            What::Exception(exception) => alert.exception = Some(ExceptionNotice::of(exception)),
            What::Access(refused) => return access_missing(key, alert, refused),
            What::Failing(failing) => return calls_failing(key, alert, failing),
            What::Uses(incomplete) => return uses_unknown(key, alert, incomplete),
        }
    }
    if let Some(exception) = &alert.exception {
        alert.kind = Kind::ExceptionExpiring;
        alert.title = format!("{} ends on {}", exception.name, exception.last_day);
        alert.reason = format!(
            "After {} (UTC) the findings that it covers count again: images that have them and that only it kept allowed are evaluated \
             again, and may be blocked.",
            exception.last_day
        );
        alert.next_steps = vec![
            "Replace the images that have the findings, with the fix.".into(),
            "If it must go on, propose a later day in the policy; its owner answers for it.".into(),
        ];
        return alert;
    }
    let number = alert.changes.len();
    alert.title = match alert.changes.as_slice() {
        [change] => format!("{key}: {} is not what the policy needs", change.setting),
        _ => format!("{key}: {number} settings of the registry are not what the policy needs"),
    };
    alert.reason = "ecr-guard does not change settings that hold for all repositories of an account. Until they are changed, images of \
                    the repositories concerned are not scanned, or not copied."
        .to_owned();
    let concerns = |setting| alert.changes.iter().any(|change| change.setting == setting);
    let checks = REGISTRY_CHECKS.iter().filter(|check| concerns(check.setting));
    let see = checks.map(|check| format!("{} --region {region}", check.see));
    let change = "Change it where it comes from, such as Terraform; or change the policy.".to_owned();
    alert.next_steps = see.chain([change]).map(NextStep::from).collect();
    alert
}

fn calls_failing(key: &RegistryKey, alert: RegistryAlert, failing: &FailingCall) -> RegistryAlert {
    let (operation, code) = (&failing.operation, &failing.code);
    let images = match failing.images {
        1 => "1 image waits".to_owned(),
        number => format!("{number} images wait"),
    };
    RegistryAlert {
        kind: Kind::CallsFailing,
        title: format!("{key}: images cannot be reconciled, {operation} fails with {code}"),
        reason: format!(
            "{operation} has failed with {code} in sweeps since {}. Earlier verdicts of these images still hold; images that nobody has seen yet are \
             neither clean nor blocked until the call succeeds. {images}. The first: {}.",
            failing.since.strftime("%Y-%m-%d %H:%M UTC"),
            failing.first.join(", ")
        ),
        next_steps: failing.next_steps(key).into_iter().map(NextStep::from).collect(),
        ..alert
    }
}

fn uses_unknown(key: &RegistryKey, alert: RegistryAlert, incomplete: &Incomplete) -> RegistryAlert {
    let source = &incomplete.source;
    let what = source.kind.to_string();
    let title = match &incomplete.missing {
        Some(missing) => format!("{key}: it is not known who uses images, {missing} is missing"),
        None => format!(
            "{key}: it is not known who uses images, {what} of {} is not listed",
            source.account
        ),
    };
    let also = match incomplete.also.as_slice() {
        [] => String::new(),
        kinds => {
            let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
            format!("The same holds for {}. ", kinds.join(", "))
        }
    };
    let log = format!(
        "See why: the log of the function workloads in {} names the list and the error.",
        source.region
    );
    let first = match (&incomplete.missing, &source.kind) {
        (Some(missing), _) if source.account == key.account => {
            format!("Give the role of the function workloads the permission {missing}.")
        }
        (Some(missing), _) => format!(
            "Give the reader role in account {} the permission {missing}, or let the function workloads take it: see the Terraform module \
             workload-reader.",
            source.account
        ),
        (None, SourceKind::Kubernetes(cluster)) => {
            format!(
                "Have the cluster {} report what it runs: is its CronJob there, and may its role invoke the function workloads?",
                text::line(cluster, 100)
            )
        }
        (None, SourceKind::Ecs | SourceKind::Lambda | SourceKind::Batch) => {
            "Check that the function workloads is deployed (`workloads` of the Terraform module) and that its schedule is on.".to_owned()
        }
    };
    RegistryAlert {
        kind: Kind::AccessMissing,
        title,
        reason: format!(
            "It is not known who uses images: {}. {also}Until it is known again, blocks are deferred, and these images can be pulled.",
            incomplete.why
        ),
        next_steps: [first, log].map(NextStep::from).to_vec(),
        ..alert
    }
}

fn access_missing(key: &RegistryKey, alert: RegistryAlert, refused: &RefusedAccess) -> RegistryAlert {
    let role = refused.role.as_deref().unwrap_or("a function's role");
    let (missing, operation) = (&refused.missing, &refused.operation);
    let images = match refused.images {
        1 => "1 image waits".to_owned(),
        number => format!("{number} images wait"),
    };
    if !refused.is_of_findings() {
        let what = match refused.operation.as_str() {
            "ecr:BatchDeleteImage" => {
                "They have their tags again and can be pulled; the tag that the quarantine gave them stays until it may."
            }
            _ => "They stay blocked until it may.",
        };
        return RegistryAlert {
            kind: Kind::AccessMissing,
            title: format!("{key}: blocks cannot be undone, {missing} is missing"),
            reason: format!(
                "{role} may not call {missing}, and images were blocked by a method that this takes to undo. {what} {images}. The first: {}.",
                refused.first.join(", ")
            ),
            next_steps: refused.next_steps(key).into_iter().map(NextStep::from).collect(),
            ..alert
        };
    }
    RegistryAlert {
        kind: Kind::AccessMissing,
        title: format!("{key}: findings cannot be read, {missing} is missing"),
        reason: format!(
            "{role} may not call {missing}, so that ECR refuses {operation}: what was found in images is not known. They are neither clean \
             nor blocked until it may. {images}. The first: {}.",
            refused.first.join(", ")
        ),
        next_steps: refused.next_steps(key).into_iter().map(NextStep::from).collect(),
        ..alert
    }
}

#[cfg(test)]
mod tests;
