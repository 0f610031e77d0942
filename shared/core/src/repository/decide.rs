//! From facts about a repository to a plan: the changes, the alerts, the record.
//!
//! As for images: the same facts, policy and time give the same plan, and carrying a plan out makes the next plan empty.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

pub use super::{
    checks::RepositoryEffect,
    facts::{Expiring, Lost, Preview, Previewed, RepositoryFacts},
};
use crate::{
    alert::{NextStep, repository::RepositoryAlert},
    finding::Severity,
    ids::RepositoryKey,
    notice::{Change, Note, RepositoryAlertKind as Kind, Settle, settle},
    policy::{BlockRules, Policy, WhenInUse},
    repository::{
        checks::{self, Deviation, LIFECYCLE, POSTURE_CHECKS, PostureCase},
        keys::{KeyHealth, KeyTrouble, Loss},
        ledger::{Checked, FIGHT_HOURS, Held, Losing, MAX_REPAIRS, Previewing, RepositoryRow},
        lifecycle::Lifecycle,
        posture::Repository,
    },
    text,
};

/// The tag by which a repository opts out: `ignore` or `report`.
pub const OPT_OUT_TAG: &str = "ecr-guard";
/// The tag that says why; without it, `ignore` counts as `report`.
pub const OPT_OUT_REASON_TAG: &str = "ecr-guard-reason";

/// For how long a lifecycle policy that was not set is not checked again.
const HELD_HOURS: i64 = 24;

/// A lifecycle policy that is set is asked about again after this number of hours: images grow old, and workloads come.
const CHECKED_HOURS: i64 = 24;

/// The same while it is not known who uses the images.
const UNKNOWN_HOURS: i64 = 3;

/// The settings of a repository itself that can be asked for: the places in the policy, and the tag by which it opts out.
/// `docs/repository-rules.md` has them all.
pub fn settings() -> impl Iterator<Item = &'static str> {
    let checked = POSTURE_CHECKS.iter().flat_map(|check| check.settings);
    checked.copied().chain([LIFECYCLE, OPT_OUT])
}

const OPT_OUT: &str = "ecr-guard";

/// For how long a preview that was asked for is read before a new one is. Sweeps are at most a day apart.
const PREVIEW_HOURS: i64 = 26;

/// Whether the preview of this policy was asked for, and not long ago.
pub fn is_previewing(row: Option<&RepositoryRow>, text: &str, now: Timestamp) -> bool {
    let asked = row.and_then(|row| row.previewing.as_ref());
    asked.is_some_and(|asked| {
        asked.text == text && now.duration_since(asked.since) <= SignedDuration::from_hours(PREVIEW_HOURS)
    })
}

/// How a repository has opted out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptOut {
    /// It has not.
    No,
    /// It is left alone altogether; why.
    Ignore(String),
    /// Its settings are checked and alerted, and not changed; why, if it says so.
    Report(Option<String>),
    /// The tag says something that we do not know, which counts for nothing.
    Unknown(String),
}

/// How a repository has opted out, by its tags.
pub fn opt_out(tags: &BTreeMap<String, String>) -> OptOut {
    let reason = tags.get(OPT_OUT_REASON_TAG).map(|reason| text::line(reason, 200));
    let reason = reason.filter(|reason| !reason.is_empty());
    match (tags.get(OPT_OUT_TAG).map(String::as_str), reason) {
        (None, _) => OptOut::No,
        (Some("ignore"), Some(reason)) => OptOut::Ignore(reason),
        (Some("ignore"), None) => OptOut::Report(None),
        (Some("report"), reason) => OptOut::Report(reason),
        (Some(word), _) => OptOut::Unknown(text::line(word, 60)),
    }
}

/// The changes, in this order: write `row`, make `effects`, send `alerts`, write [`RepositoryStep::completed`].
#[derive(Debug, Clone, PartialEq)]
pub struct RepositoryStep {
    /// The row.
    pub row: RepositoryRow,
    /// The changes.
    pub effects: Vec<RepositoryEffect>,
    /// The alerts.
    pub alerts: Vec<RepositoryAlert>,
    /// The alerts about settings that `effects` change: they end when the settings are changed, and stay if they cannot be.
    over: BTreeSet<Kind>,
}

impl RepositoryStep {
    /// The row to write when all changes are made and all alerts are sent.
    pub fn completed(&self, now: Timestamp) -> RepositoryRow {
        let mut row = self.row.clone();
        row.generation += 1;
        row.notes.retain(|note| !self.over.contains(&note.kind));
        Note::all_sent(&mut row.notes, now);
        row
    }
}

/// The plan.
#[derive(Debug, Clone, PartialEq)]
pub enum RepositoryPlan {
    /// Nothing.
    Leave(RepositoryLeave),
    /// Ask what this lifecycle policy would do, then decide again with the answer in [`RepositoryFacts::preview`].
    Preview(String),
    /// The same of the policy that is set: whether it takes what workloads use.
    Recheck(String),
    /// Carry out a step.
    Apply(Box<RepositoryStep>),
}

/// Why nothing is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepositoryLeave {
    /// The policy asks nothing of it.
    NoRules,
    /// There is no such repository.
    NoSuchRepository,
    /// It has opted out.
    OptedOut,
    /// The observed state is the desired state, or was alerted.
    Unchanged,
    /// Another invocation holds the lease.
    InProgress,
}

/// Decides.
pub fn decide(policy: &Policy, facts: &RepositoryFacts, now: Timestamp) -> RepositoryPlan {
    let rules = policy.repository(&facts.key.repository);
    let Some(rules) = rules.filter(|rules| rules.has_settings()) else {
        return RepositoryPlan::Leave(RepositoryLeave::NoRules);
    };
    let Some(repository) = &facts.repository else {
        return RepositoryPlan::Leave(RepositoryLeave::NoSuchRepository);
    };
    let opt_out = opt_out(&facts.tags);
    let mut draft = Draft::new(policy, facts, &opt_out, now);
    if matches!(opt_out, OptOut::Ignore(_)) {
        return draft.plan(RepositoryLeave::OptedOut);
    }
    let mut deviations = Vec::new();
    if let OptOut::Unknown(word) = &opt_out {
        deviations.push(Deviation::new(
            OPT_OUT,
            word.as_str(),
            "`ignore` with a reason, or `report`",
        ));
    }
    if facts.tags.get(OPT_OUT_TAG).is_some_and(|word| word == "ignore") {
        let wanted = format!("a reason in the tag `{OPT_OUT_REASON_TAG}`; without it, the repository is not ignored");
        deviations.push(Deviation::new(OPT_OUT, "ignore", wanted));
    }
    if let Some(posture) = &rules.posture {
        deviations.extend(checks::deviations(&PostureCase {
            rules: posture,
            facts,
            repository,
        }));
        draft.posture(posture.repair, deviations);
        draft.key(facts, repository);
    } else {
        draft.posture(false, deviations);
    }
    if let Some(lifecycle) = rules.lifecycle_in(&facts.key.region)
        && let Some(plan) = draft.lifecycle(policy, lifecycle)
    {
        return plan;
    }
    draft.plan(RepositoryLeave::Unchanged)
}

/// Whether the tags of a repository may matter although none of its other settings is alerted or changed: the policy asks for
/// tags, it has opted out, or it had an alert from which it can opt out. Otherwise they could only say how it has opted out, of
/// nothing.
pub fn tags_may_matter(policy: &Policy, key: &RepositoryKey, row: Option<&RepositoryRow>) -> bool {
    let rules = policy.repository(&key.repository);
    let posture = rules.and_then(|rules| rules.posture.as_ref());
    posture.is_some_and(|posture| !posture.required_tags.is_empty())
        || row.is_some_and(|row| row.opt_out.is_some() || row.notes.iter().any(|note| note.kind.lasts()))
}

/// The alerts of this reconcile.
struct Told {
    kind: Kind,
    severity: Option<Severity>,
    changes: Vec<Change>,
    reason: String,
}

struct Draft<'a> {
    facts: &'a RepositoryFacts,
    now: Timestamp,
    may_change: bool,
    why_not: Option<String>,
    row: RepositoryRow,
    effects: Vec<RepositoryEffect>,
    told: Vec<Told>,
    /// Settings that are not as they should be and are not being repaired.
    open: BTreeSet<String>,
}

impl<'a> Draft<'a> {
    fn new(policy: &Policy, facts: &'a RepositoryFacts, opt_out: &OptOut, now: Timestamp) -> Self {
        let prior = facts.row.as_ref();
        let (remembered, why_not) = match opt_out {
            OptOut::No | OptOut::Unknown(_) => (None, None),
            OptOut::Ignore(reason) => (Some(format!("ignore: {reason}")), None),
            OptOut::Report(reason) => {
                let remembered = reason
                    .as_ref()
                    .map_or_else(|| "report".to_owned(), |reason| format!("report: {reason}"));
                (
                    Some(remembered),
                    Some(format!("the repository has the tag `{OPT_OUT_TAG}`")),
                )
            }
        };
        let report_mode = policy.report_mode(&facts.key.repository).map(str::to_owned);
        let why_not = report_mode.or(why_not);
        Self {
            facts,
            now,
            may_change: why_not.is_none(),
            why_not,
            row: RepositoryRow {
                generation: prior.map_or(0, |row| row.generation) + 1,
                opt_out: remembered,
                notes: prior.map(|row| row.notes.clone()).unwrap_or_default(),
                repairs: prior.map(|row| row.repairs.clone()).unwrap_or_default(),
                route: prior.and_then(|row| row.route.clone()),
                ..RepositoryRow::new(facts.key.clone(), &policy.sha256)
            },
            effects: Vec::new(),
            told: Vec::new(),
            open: BTreeSet::new(),
        }
    }

    /// Why a setting that could be repaired is not, if it is not.
    fn obstacle(&self, setting: &'static str) -> Option<String> {
        if let Some(why) = &self.why_not {
            return Some(format!("{why}, so that nothing is changed"));
        }
        if let Some(answer) = self.facts.refused.get(setting) {
            return Some(format!("the registry refused ({})", text::line(answer, 200)));
        }
        let recent = self
            .row
            .repairs
            .get(setting)
            .into_iter()
            .flatten()
            .filter(|at| self.is_recent(**at));
        (recent.count() >= MAX_REPAIRS).then(|| {
            format!("it was repaired {MAX_REPAIRS} times in {FIGHT_HOURS} hours, and somebody changes it back: we do not fight")
        })
    }

    fn is_recent(&self, at: Timestamp) -> bool {
        self.now.duration_since(at) < SignedDuration::from_hours(FIGHT_HOURS)
    }

    fn repair(&mut self, effect: RepositoryEffect) {
        let (setting, now) = (effect.setting(), self.now);
        let recent: Vec<Timestamp> = self
            .row
            .repairs
            .get(setting)
            .into_iter()
            .flatten()
            .copied()
            .filter(|at| self.is_recent(*at))
            .chain([now])
            .collect();
        self.row.repairs.insert(setting.to_owned(), recent);
        self.effects.push(effect);
    }

    fn posture(&mut self, repair: bool, deviations: Vec<Deviation>) {
        let (mut repaired, mut drift) = (Vec::new(), Vec::new());
        let mut obstacles = BTreeSet::new();
        let mut severity = None;
        let mut said = BTreeSet::new();
        for deviation in deviations {
            let change = deviation.change();
            let rated = deviation.severity;
            let before = drift.len();
            said.extend(deviation.said.clone());
            match deviation.repair {
                Some(effect) if repair => match self.obstacle(deviation.setting) {
                    Some(obstacle) => {
                        obstacles.insert(format!("{}: {obstacle}", deviation.setting));
                        drift.push(change);
                    }
                    None => {
                        // Several statements are taken out by one change.
                        if !self.effects.contains(&effect) {
                            self.repair(effect);
                        }
                        repaired.push(change);
                    }
                },
                Some(_) | None => drift.push(change),
            }
            if drift.len() > before {
                severity = severity.max(rated);
            }
        }
        self.open.extend(drift.iter().map(|change| change.setting.clone()));
        if !repaired.is_empty() {
            self.told.push(Told {
                kind: Kind::PostureRepaired,
                severity: None,
                reason: format!("{} not as the policy says.", settings_are(&repaired, "was", "were")),
                changes: repaired,
            });
        }
        if !drift.is_empty() {
            let mut reason = format!("{} not as the policy says.", settings_are(&drift, "is", "are"));
            for obstacle in obstacles {
                reason.push_str(&format!(" Not repaired, {obstacle}."));
            }
            for said in said {
                reason.push_str(&format!(" KMS: {}.", said.trim_end_matches('.')));
            }
            if severity >= Some(Severity::High) {
                reason.push_str(" \"Everybody\" means every AWS principal whose own account lets it.");
            }
            self.told.push(Told {
                kind: Kind::PostureDrift,
                severity,
                reason,
                changes: drift,
            });
        }
    }

    fn key(&mut self, facts: &RepositoryFacts, repository: &Repository) {
        let (Some(health), Some(key)) = (&facts.kms, &repository.encryption.key) else {
            return;
        };
        let Some(trouble) = health.trouble() else {
            // An earlier problem lasts until it is known to have ended.
            let known = facts.row.iter().flat_map(|row| &row.notes);
            let known = known.filter(|note| note.kind == Kind::KeyUnhealthy && matches!(health, KeyHealth::NotTold(_)));
            self.told.extend(known.map(|note| Told {
                kind: note.kind,
                severity: Some(Severity::Critical),
                changes: note.changes.clone(),
                reason: note.reason.clone(),
            }));
            return;
        };
        let KeyTrouble { state, loss, may_pass } = trouble;
        let cannot = "Pushes to this repository fail, pulls fail as soon as ECR has to decrypt, and so do scans and replication of its images.";
        let reason = match (loss, may_pass) {
            (Loss::Done, _) => {
                "The key does not exist any more. Nothing that it encrypted can be read again: the images of this repository are lost, but for \
                 what is copied elsewhere."
                    .to_owned()
            }
            (Loss::Coming, _) => {
                format!("The key is {state}. {cannot} When the key is deleted, the images can never be read again.")
            }
            (Loss::None, false) => {
                format!("The key is {state}. {cannot} If the key is deleted, the images can never be read again.")
            }
            (Loss::None, true) => {
                format!("The key is {state}. This may pass by itself; until then, pushes and pulls of this repository may fail.")
            }
        };
        self.told.push(Told {
            kind: Kind::KeyUnhealthy,
            severity: Some(if may_pass { Severity::High } else { Severity::Critical }),
            reason,
            changes: vec![Change {
                setting: "kms_key".to_owned(),
                old: format!("{key}: {state}"),
                new: "Enabled".to_owned(),
            }],
        });
    }

    /// Sets the lifecycle policy if it differs; what must be asked first, if anything.
    fn lifecycle(&mut self, policy: &Policy, wanted: &Lifecycle) -> Option<RepositoryPlan> {
        let is = self.facts.lifecycle.as_deref();
        let asks = self.may_change && asks_for_uses(policy, &self.facts.key);
        if is.is_some_and(|text| wanted.means_the_same_as(text)) {
            return if asks { self.recheck(wanted) } else { None };
        }
        let change = Change {
            setting: LIFECYCLE.to_owned(),
            old: is.map_or_else(|| "none".to_owned(), |text| text::line(text, 300)),
            new: text::line(wanted.text(), 300),
        };
        self.open.insert(LIFECYCLE.to_owned());
        let hold = |draft: &mut Self, reason: String| {
            draft.told.push(Told {
                kind: Kind::LifecycleHeld,
                severity: None,
                changes: vec![change.clone()],
                reason: format!(
                    "The lifecycle policy is not as the policy says, and is not set: {}.",
                    reason.trim_end_matches('.')
                ),
            });
        };
        if let Some(obstacle) = self.obstacle(LIFECYCLE) {
            hold(self, obstacle);
            return None;
        }
        let held = self.facts.row.as_ref().and_then(|row| row.held.as_ref());
        if let Some(held) = held.filter(|held| held.text == wanted.text() && self.now < held.until) {
            self.row.held = Some(held.clone());
            let reason = held.reason.clone();
            hold(self, reason);
            return None;
        }
        let preview = match &self.facts.preview {
            None => return Some(RepositoryPlan::Preview(wanted.text().to_owned())),
            Some(Previewed::Ready(preview)) => preview,
            Some(Previewed::NotYet) => {
                self.wait_for_preview(wanted, &change);
                return None;
            }
        };
        if let Some(reason) = in_use(policy.block(&self.facts.key.repository), preview, self.now) {
            // The reason in the ledger stays the same while the policy is not set, or there would be an alert every day.
            let reason = held
                .filter(|held| held.text == wanted.text())
                .map_or(reason, |held| held.reason.clone());
            self.row.held = Some(Held {
                text: wanted.text().to_owned(),
                reason: reason.clone(),
                until: self.now + SignedDuration::from_hours(HELD_HOURS),
            });
            hold(self, reason);
            return None;
        }
        self.open.remove(LIFECYCLE);
        self.row.checked = asks.then(|| Checked {
            text: wanted.text().to_owned(),
            until: self.now + SignedDuration::from_hours(CHECKED_HOURS),
            loses: None,
        });
        self.repair(RepositoryEffect::Lifecycle(wanted.text().to_owned()));
        self.told.push(Told {
            kind: Kind::LifecycleRepaired,
            severity: None,
            changes: vec![change],
            reason: format!("The lifecycle policy was not as the policy says. {}", extent(preview)),
        });
        None
    }

    /// ECR goes on applying a policy that is set. Whether it takes an image that workloads use by now is asked once in
    /// [`CHECKED_HOURS`], and alerted.
    fn recheck(&mut self, wanted: &Lifecycle) -> Option<RepositoryPlan> {
        let row = self.facts.row.as_ref();
        let before = row.and_then(|row| row.checked.as_ref());
        let before = before.filter(|checked| checked.text == wanted.text());
        let known = before.and_then(|checked| checked.loses.clone());
        let again = |hours, loses| Checked {
            text: wanted.text().to_owned(),
            until: self.now + SignedDuration::from_hours(hours),
            loses,
        };
        let checked = match &self.facts.preview {
            None => match before.filter(|checked| self.now < checked.until) {
                Some(checked) => checked.clone(),
                None => return Some(RepositoryPlan::Recheck(wanted.text().to_owned())),
            },
            Some(Previewed::NotYet) => {
                let previewing = self.previewing(wanted);
                let checked = Checked {
                    until: previewing.since,
                    ..again(0, known)
                };
                self.row.previewing = Some(previewing);
                checked
            }
            Some(Previewed::Ready(preview)) => match &preview.used {
                None => again(CHECKED_HOURS, None),
                Some(Lost::Image(losing)) => again(CHECKED_HOURS, Some(losing.clone())),
                // An earlier loss does not end by that. `access-missing` names the missing permission, once a day for all.
                Some(Lost::Unknown(_)) => again(UNKNOWN_HOURS, known),
            },
        };
        if let Some(Losing { image, words }) = &checked.loses {
            self.told.push(Told {
                kind: Kind::LifecycleInUse,
                severity: Some(Severity::High),
                changes: vec![Change {
                    setting: LIFECYCLE.to_owned(),
                    old: text::line(wanted.text(), 300),
                    new: format!("keeps {image}"),
                }],
                reason: format!(
                    "The lifecycle policy is as the policy says, and {}. ECR applies it within 24 hours.",
                    words.trim_end_matches('.')
                ),
            });
        }
        self.row.checked = Some(checked);
        None
    }

    /// The preview that was asked for, by this look or one before.
    fn previewing(&self, wanted: &Lifecycle) -> Previewing {
        let row = self.facts.row.as_ref();
        let asked = row.and_then(|row| row.previewing.clone());
        let asked = asked.filter(|_| is_previewing(row, wanted.text(), self.now));
        asked.unwrap_or_else(|| Previewing {
            text: wanted.text().to_owned(),
            since: self.now,
        })
    }

    /// Remembers which preview was asked for. Earlier alerts about the policy stay.
    fn wait_for_preview(&mut self, wanted: &Lifecycle, change: &Change) {
        let row = self.facts.row.as_ref();
        self.row.previewing = Some(self.previewing(wanted));
        let told = row.iter().flat_map(|row| &row.notes);
        let told = told.filter(|note| note.kind == Kind::LifecycleHeld && note.changes.contains(change));
        self.told.extend(told.map(|note| Told {
            kind: note.kind,
            severity: None,
            changes: note.changes.clone(),
            reason: note.reason.clone(),
        }));
        self.row.held = row.and_then(|row| row.held.clone());
    }

    fn plan(mut self, otherwise: RepositoryLeave) -> RepositoryPlan {
        let prior = self.facts.row.as_ref();
        let leased = |note: &Note| note.is_undertaken_by_another(&self.facts.actor, self.now);
        if prior.is_some_and(|row| row.notes.iter().any(leased)) {
            return RepositoryPlan::Leave(RepositoryLeave::InProgress);
        }
        let told = std::mem::take(&mut self.told);
        let severities: BTreeMap<Kind, Option<Severity>> = told.iter().map(|told| (told.kind, told.severity)).collect();
        let told = told
            .into_iter()
            .map(|told| (told.kind, told.changes, told.reason))
            .collect();
        let (notes, owed) = settle(Settle {
            prior: prior.map_or(&[], |row| row.notes.as_slice()),
            told,
            open: &self.open,
            subject: &format!("{}{}", self.facts.key.partition_key(), self.facts.key.sort_key()),
            generation: self.row.generation,
            actor: &self.facts.actor,
            now: self.now,
        });
        self.row.notes = notes;
        let mut over = BTreeSet::new();
        if !self.effects.is_empty() {
            for note in prior.iter().flat_map(|row| &row.notes) {
                if note.kind.lasts() && !self.row.notes.iter().any(|other| other.kind == note.kind) {
                    self.row.notes.push(note.clone());
                    over.insert(note.kind);
                }
            }
            self.row.notes.sort_by_key(|note| note.kind);
        }
        let unchanged = self.effects.is_empty()
            && owed.is_empty()
            && self.facts.refused.is_empty()
            && match prior {
                Some(row) => {
                    RepositoryRow {
                        generation: row.generation,
                        policy: row.policy.clone(),
                        ..self.row.clone()
                    } == *row
                }
                // Nothing to remember.
                None => self.row.notes.is_empty() && self.row.opt_out.is_none() && self.row.previewing.is_none(),
            };
        if unchanged {
            return RepositoryPlan::Leave(otherwise);
        }
        debug_assert!(self.may_change || self.effects.is_empty());
        let alerts = owed
            .iter()
            .map(|note| alert(&self.facts.key, note, severities.get(&note.kind).copied().flatten()));
        RepositoryPlan::Apply(Box::new(RepositoryStep {
            alerts: alerts.collect(),
            row: self.row,
            effects: self.effects,
            over,
        }))
    }
}

fn settings_are(changes: &[Change], one: &str, many: &str) -> String {
    match changes {
        [change] => format!("{} {one}", change.setting),
        changes => format!("{} settings {many}", changes.len()),
    }
}

fn alert(key: &RepositoryKey, note: &Note, severity: Option<Severity>) -> RepositoryAlert {
    let name = &key.repository;
    let region = &key.region;
    let describe =
        format!("See its settings: aws ecr describe-repositories --region {region} --repository-names {name}");
    let lifecycle =
        format!("See its lifecycle policy: aws ecr get-lifecycle-policy --region {region} --repository-name {name}");
    let opt_out = format!(
        "If it must be so, give the repository the tag {OPT_OUT_TAG}=report, or {OPT_OUT_TAG}=ignore with {OPT_OUT_REASON_TAG}; both \
         are shown in reports."
    );
    let (title, next_steps) = match note.kind {
        Kind::PostureDrift => (
            format!("{name}: settings are not as the policy says"),
            vec![
                "Change them where they come from, such as Terraform, or change the policy.".to_owned(),
                describe,
                opt_out,
            ],
        ),
        Kind::PostureRepaired => (
            format!("{name}: settings were repaired"),
            vec![
                "Change them where they come from, such as Terraform, or they come back.".to_owned(),
                describe,
                opt_out,
            ],
        ),
        Kind::LifecycleRepaired => (
            format!("{name}: the lifecycle policy was set"),
            vec![
                "ECR applies it within 24 hours: what must be kept needs a tag that it keeps.".to_owned(),
                lifecycle,
            ],
        ),
        Kind::LifecycleHeld => (
            format!("{name}: the lifecycle policy is not as the policy says, and is not set"),
            vec![
                "Change the rules so that they keep what is in use, or deploy newer images.".to_owned(),
                lifecycle,
                opt_out,
            ],
        ),
        Kind::LifecycleInUse => (
            format!("{name}: the lifecycle policy takes an image that is in use"),
            vec![
                "Change the rules so that they keep it (`protect_patterns`), or deploy a newer image, within 24 hours."
                    .to_owned(),
                lifecycle,
                opt_out,
            ],
        ),
        Kind::KeyUnhealthy => of_key(key, note),
        // Others send these alerts.
        Kind::TagViolation
        | Kind::TagMoved
        | Kind::TagTaken
        | Kind::ImageLost
        | Kind::ReplicationFailed
        | Kind::ReplicationLate
        | Kind::ReplicaIncomplete
        | Kind::DeploymentRefused => (format!("{name}: a tag"), Vec::new()),
    };
    RepositoryAlert {
        copies_in: None,
        id: note.id.clone(),
        kind: note.kind,
        severity,
        time: note.claimed_at,
        repository: key.clone(),
        digest: None,
        tag: None,
        title,
        reason: note.reason.clone(),
        changes: note.changes.clone(),
        next_steps: next_steps.into_iter().map(NextStep::from).collect(),
    }
}

/// Title and steps for a key that cannot be used.
fn of_key(repository: &RepositoryKey, note: &Note) -> (String, Vec<String>) {
    let (name, region) = (&repository.repository, &repository.region);
    let first = note.changes.first().and_then(|change| change.old.split_once(": "));
    let (key, state) = first.unwrap_or_default();
    let of_key = |verb: &str| format!("aws kms {verb} --region {region} --key-id {key}");
    let steps = match state {
        "it does not exist" => vec![
            "Find copies: other regions, other registries, the nodes that run the images.".to_owned(),
            format!(
                "Make a new repository with a key that exists, and push the images to it: {name} cannot be used any more."
            ),
        ],
        state if state.starts_with("pending deletion") => vec![
            format!("Keep it from being deleted: {}", of_key("cancel-key-deletion")),
            format!("Enable it: {}", of_key("enable-key")),
        ],
        "disabled" => vec![format!("Enable it: {}", of_key("enable-key"))],
        _ => vec![format!("See its state: {}", of_key("describe-key"))],
    };
    let title = match state {
        "it does not exist" => format!("{name}: its key does not exist"),
        state if state.starts_with("in a state") || state == "being made" => {
            format!("{name}: its key may not be usable")
        }
        _ => format!("{name}: its key cannot be used"),
    };
    (title, steps)
}

impl Expiring {
    /// Whether it, or a child of it, was pulled lately. `rules`: of its repository. The author of a lifecycle policy has said
    /// which images it may take: this only stops one that is surely wrong.
    pub fn is_in_use(&self, rules: &BlockRules, now: Timestamp) -> bool {
        self.last_pulled_at
            .is_some_and(|at| now.duration_since(at) <= rules.in_use(true))
    }
}

/// Whether a lifecycle policy may take nothing that workloads use.
pub fn asks_for_uses(policy: &Policy, key: &RepositoryKey) -> bool {
    policy.workloads.is_some() && policy.block(&key.repository).when_in_use == WhenInUse::Hold
}

/// Why a lifecycle policy must not be set, by what it would do.
fn in_use(rules: &BlockRules, preview: &Preview, now: Timestamp) -> Option<String> {
    if let Some(lost) = &preview.used {
        return Some(format!("{}. {}", lost.words(), extent(preview)));
    }
    let used = |image: &&Expiring| image.is_in_use(rules, now);
    if let Some(image) = preview.images.iter().find(used) {
        let name = image
            .tag
            .as_ref()
            .map_or_else(|| image.digest.short().to_owned(), ToString::to_string);
        let used = preview.images.iter().filter(used).count();
        return Some(format!(
            "it would delete or archive images that are in use ({used}, one is {name}). {}",
            extent(preview)
        ));
    }
    if let Some(index) = preview.images.iter().find(|image| image.unknown) {
        return Some(format!(
            "it would delete or archive an index ({}), and it is not known whether the images that it references are in use. Set it by \
             hand once",
            index.digest.short()
        ));
    }
    let read = u64::try_from(preview.images.len()).unwrap_or(u64::MAX);
    (read < preview.total).then(|| {
        format!(
            "it would delete or archive {} images, more than can be checked for use ({read}). Set it by hand once",
            preview.total
        )
    })
}

/// How many images, how old, how large.
fn extent(preview: &Preview) -> String {
    if preview.total == 0 {
        return "No image is affected now.".to_owned();
    }
    let bytes: u64 = preview
        .images
        .iter()
        .map(|image| image.bytes)
        .fold(0, u64::saturating_add);
    let oldest = preview.images.iter().filter_map(|image| image.pushed_at).min();
    let oldest = oldest.map_or_else(String::new, |at| format!(", the oldest of {}", at.strftime("%Y-%m-%d")));
    format!(
        "It affects {} now{oldest}, {} in all.",
        match preview.total {
            1 => "1 image".to_owned(),
            total => format!("{total} images"),
        },
        text::size(bytes)
    )
}
