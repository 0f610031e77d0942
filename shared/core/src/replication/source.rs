//! From facts about a repository's images in their source to a plan: the copies that are missing in another region, the alert,
//! and how ready that region is.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use jiff::Timestamp;

use crate::{
    alert::{NextStep, repository::RepositoryAlert},
    ids::{Digest, Region, RepositoryKey},
    notice::{Change, Note, RepositoryAlertKind as Kind, Settle, settle},
    policy::ReplicationRules,
    replication::{
        backfill::BackfillWish,
        ledger::{
            BackfillRow, BackfillStatus, MAX_REMEMBERED, Missing, NotPullable, ReplicaRow, ReplicaState,
            ReplicationRow, ReplicationRowSchema,
        },
        readiness::{Expected, ExpectedImage, Readiness},
        replica::CopyState,
    },
    text,
};

/// The most images of a repository that one reconcile asks about; the next one asks about the next ones.
pub const MAX_ASKED: usize = 50;

/// The most images in an alert, the oldest ones.
const MAX_LISTED: usize = 50;

/// The state of a repository's images by the rows of their copies, gathered row by row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copies {
    there: BTreeMap<Region, BTreeMap<Digest, (ReplicaState, Option<NotPullable>)>>,
    covered: BTreeMap<Region, BTreeSet<Digest>>,
    here: BTreeSet<Digest>,
}

impl Copies {
    /// Takes a row into account. `region`: the region of this reconcile.
    pub fn remember(&mut self, row: &ReplicaRow, region: &Region) {
        if row.image.region == *region {
            if row.state != ReplicaState::Gone {
                self.here.insert(row.image.digest.clone());
            }
            return;
        }
        let to = &row.image.region;
        if row.state == ReplicaState::Complete {
            let covered = self.covered.entry(to.clone()).or_default();
            covered.extend(row.children.iter().cloned());
        }
        let there = self.there.entry(to.clone()).or_default();
        there.insert(row.image.digest.clone(), (row.state, row.not_pullable));
    }

    /// Whether a row of that region is about this image.
    pub fn has_seen(&self, digest: &Digest) -> bool {
        self.here.contains(digest)
    }

    /// How a copy stands, as far as it was seen there.
    fn seen(&self, to: &Region, digest: &Digest) -> Option<Seen> {
        let row = self.there.get(to).and_then(|there| there.get(digest)).copied();
        let covered = || self.covered.get(to).is_some_and(|covered| covered.contains(digest));
        match row {
            Some((ReplicaState::Complete, _)) => Some(Seen::Complete),
            Some((ReplicaState::Incomplete, Some(NotPullable::Missing))) => Some(Seen::Missing),
            Some((ReplicaState::Incomplete, Some(NotPullable::Archived))) => Some(Seen::Archived),
            Some((ReplicaState::Incomplete, None)) => Some(Seen::Incomplete),
            Some((ReplicaState::Failed, _)) => Some(Seen::Failed),
            // With an index, all its children were seen.
            Some((ReplicaState::Gone, _)) | None => covered().then_some(Seen::Complete),
        }
    }
}

/// The state of a copy at the last reconcile in its region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Complete,
    Incomplete,
    Missing,
    Archived,
    Failed,
}

/// All that is known of a repository's copies in one region at one moment.
#[derive(Debug)]
pub struct SourceFacts<'a> {
    /// The images in the source.
    pub expected: &'a Expected<'a>,
    /// The rules of the policy.
    pub rules: &'a ReplicationRules,
    /// The region.
    pub to: &'a Region,
    /// The copies in the other region.
    pub copies: &'a Copies,
    /// ECR's answers, for the images that it was asked about.
    pub asked: BTreeMap<Digest, CopyState>,
    /// Before this time, everything on the list there had been reconciled: an image that was to be there by then, and was not
    /// seen, is not there. `None`: that is not known.
    pub all_seen_at: Option<Timestamp>,
    /// Whether the guard there has reconciled the repository today or yesterday. If not, its rows are out of date.
    pub is_looked_at: bool,
    /// Whether the repository there is not as the policy says.
    pub has_drift: bool,
    /// The row in the ledger.
    pub row: Option<&'a ReplicationRow>,
    /// The backfill that we started last.
    pub backfill: Option<&'a BackfillRow>,
    /// The invocation that asks.
    pub actor: &'a str,
}

/// The changes, in this order: write `row`, send `alerts`, write [`SourceStep::completed`]. Without alerts, writing `row` is
/// all.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceStep {
    /// The row.
    pub row: ReplicationRow,
    /// The alerts.
    pub alerts: Vec<RepositoryAlert>,
}

impl SourceStep {
    /// The row to write when all alerts are sent.
    pub fn completed(&self, now: Timestamp) -> ReplicationRow {
        let mut row = self.row.clone();
        row.generation += 1;
        Note::all_sent(&mut row.notes, now);
        row
    }
}

/// The result, and the plan for it.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePlan {
    /// How ready the region is.
    pub readiness: Readiness,
    /// The record and the alerts, if there are any.
    pub step: Option<Box<SourceStep>>,
    /// The purpose of a backfill.
    pub wish: BackfillWish,
}

/// An image that is not there.
struct Absent<'a> {
    digest: &'a Digest,
    image: &'a ExpectedImage,
    why: Missing,
    /// An alert of the region that it was to be copied to names it.
    told_there: bool,
}

impl<'a> Absent<'a> {
    fn new(
        facts: &SourceFacts<'_>,
        digest: &'a Digest,
        image: &'a ExpectedImage,
        why: Missing,
        told_there: bool,
    ) -> Self {
        Self {
            digest,
            image,
            why: in_backfill(facts, digest).unwrap_or(why),
            told_there,
        }
    }

    fn change(&self, to: &Region, rules: &ReplicationRules) -> Change {
        let name = match &self.image.tag {
            Some(tag) => format!("{tag} ({})", self.digest.short()),
            None => self.digest.short().to_owned(),
        };
        let pushed = self.image.since.map_or_else(String::new, |at| {
            format!(", pushed on {}", at.strftime("%Y-%m-%d %H:%M UTC"))
        });
        let state = match &self.why {
            Missing::InProgress => "ECR still copies it".to_owned(),
            Missing::NotBegun => "ECR has not begun".to_owned(),
            Missing::Failed(Some(code)) => format!("ECR gave up: {}", text::line(code, 100)),
            Missing::Failed(None) => "ECR gave up".to_owned(),
        };
        Change {
            setting: name,
            old: format!("not in {to}{pushed}; {state}"),
            new: format!("there {} minutes after its push", rules.max_lag.as_mins()),
        }
    }
}

/// The images to ask ECR about before anything is decided: those of which it has said nothing first; of more than are asked about in one
/// look, others in each hour.
pub fn questions(facts: &SourceFacts<'_>, now: Timestamp) -> Vec<Digest> {
    let known = |digest: &Digest| facts.row.is_some_and(|row| row.missing.contains_key(digest));
    let hour = now.as_second().div_euclid(3600);
    let place = |digest: &Digest| {
        let mut hasher = DefaultHasher::new();
        (hour, digest).hash(&mut hasher);
        hasher.finish()
    };
    let said = |digest: &Digest| facts.row.is_some_and(|row| row.complete.contains(digest));
    let mut open: Vec<(bool, u64, &Digest)> = unseen(facts, now)
        .filter(|(digest, _)| !said(digest))
        .map(|(digest, _)| (known(digest), place(digest), digest))
        .collect();
    open.sort();
    open.into_iter()
        .take(MAX_ASKED)
        .map(|(_, _, digest)| digest.clone())
        .collect()
}

fn unseen<'a>(facts: &'a SourceFacts<'_>, now: Timestamp) -> impl Iterator<Item = (&'a Digest, &'a ExpectedImage)> {
    expected(facts)
        .filter(move |(digest, image)| is_old(facts, image, now) && facts.copies.seen(facts.to, digest).is_none())
}

/// Whether it was pushed longer ago than a copy may take.
fn is_old(facts: &SourceFacts<'_>, image: &ExpectedImage, now: Timestamp) -> bool {
    image
        .since
        .is_none_or(|at| now.duration_since(at) > facts.rules.max_lag)
}

/// How many images should be in the other regions.
pub fn number_expected(expected: &Expected<'_>, copies: &Copies) -> u64 {
    expected
        .images()
        .filter(|(digest, _)| !copies.here.contains(*digest))
        .count() as u64
}

fn expected<'a>(facts: &'a SourceFacts<'_>) -> impl Iterator<Item = (&'a Digest, &'a ExpectedImage)> {
    // A copy is not copied on: ECR does not chain (ECR user guide, "Private image replication").
    facts
        .expected
        .images()
        .filter(|(digest, _)| !facts.copies.here.contains(*digest))
}

/// Decides. Whatever [`questions`] asks for should have been answered in [`SourceFacts::asked`].
pub fn decide(facts: &SourceFacts<'_>, may_backfill: bool, now: Timestamp) -> SourcePlan {
    let prior = facts.row;
    let mut complete = BTreeSet::new();
    let mut missing = BTreeMap::new();
    let mut absent = Vec::new();
    let mut readiness = Readiness::of(facts.to.clone());
    for (digest, image) in expected(facts) {
        readiness.expected += 1;
        let seen = facts.copies.seen(facts.to, digest);
        let figure = match seen {
            Some(Seen::Complete) if facts.expected.is_blocked_in(facts.to, digest) => &mut readiness.blocked,
            Some(Seen::Complete) if !facts.is_looked_at => &mut readiness.unknown,
            Some(Seen::Complete) => &mut readiness.present,
            Some(Seen::Incomplete) => &mut readiness.incomplete,
            Some(Seen::Missing) => &mut readiness.missing,
            Some(Seen::Archived) => &mut readiness.archived,
            Some(Seen::Failed) => {
                absent.push(Absent::new(facts, digest, image, Missing::Failed(None), true));
                continue;
            }
            None if !is_old(facts, image, now) => continue,
            None => {
                let remembered = |row: &ReplicationRow| {
                    let said = row.complete.contains(digest).then_some(CopyState::Complete);
                    said.or_else(|| row.missing.get(digest).cloned().map(CopyState::Missing))
                };
                let said = facts.asked.get(digest).cloned();
                match said.or_else(|| prior.and_then(remembered)) {
                    Some(CopyState::NoSuchImage) => {
                        readiness.expected -= 1;
                        continue;
                    }
                    Some(CopyState::Missing(why)) => {
                        missing.insert(digest.clone(), why.clone());
                        absent.push(Absent::new(facts, digest, image, why, false));
                        continue;
                    }
                    // That it was copied does not mean that it is there.
                    Some(CopyState::Complete) => {
                        complete.insert(digest.clone());
                    }
                    None => {}
                }
                let was_due = image.since.is_none_or(|at| Some(at) < facts.all_seen_at);
                if facts.all_seen_at.is_some() && was_due {
                    &mut readiness.missing
                } else {
                    &mut readiness.unknown
                }
            }
        };
        *figure += 1;
    }
    absent.sort_by_key(|absent| absent.image.since);
    let failed = |absent: &&Absent<'_>| matches!(absent.why, Missing::Failed(_));
    readiness.failed = absent.iter().filter(failed).count() as u64;
    readiness.late = absent.len() as u64 - readiness.failed;
    readiness.unprotected = unprotected(facts, readiness.present);
    let wish = if facts.rules.backfill && may_backfill {
        BackfillWish::of(facts.backfill, absent.iter().map(|absent| absent.image.since))
    } else {
        BackfillWish::None
    };
    let step = step(facts, complete, missing, &absent, now);
    SourcePlan { readiness, step, wish }
}

/// The answer of the last backfill about an image that is not there.
fn in_backfill(facts: &SourceFacts<'_>, digest: &Digest) -> Option<Missing> {
    let failures = &facts.backfill?.failures;
    let of = |failure: &&crate::replication::ledger::BackfillFailure| {
        failure.digest == *digest && failure.repository == facts.expected.key.repository
    };
    failures
        .iter()
        .find(of)
        .map(|failure| Missing::Failed(Some(format!("{} (backfill)", failure.code))))
}

fn unprotected(facts: &SourceFacts<'_>, present: u64) -> u64 {
    let is_copy = |digest: &&Digest| {
        let seen = facts.copies.seen(facts.to, digest);
        matches!(seen, Some(Seen::Complete | Seen::Incomplete)) && !facts.copies.here.contains(*digest)
    };
    let not_blocked = facts.expected.not_blocked_in(facts.to).filter(is_copy).count() as u64;
    if facts.has_drift {
        not_blocked + present
    } else {
        not_blocked
    }
}

fn step(
    facts: &SourceFacts<'_>,
    complete: BTreeSet<Digest>,
    missing: BTreeMap<Digest, Missing>,
    absent: &[Absent<'_>],
    now: Timestamp,
) -> Option<Box<SourceStep>> {
    let prior = facts.row;
    let leased = |note: &Note| note.is_undertaken_by_another(facts.actor, now);
    if prior.is_some_and(|row| row.notes.iter().any(leased)) {
        return None;
    }
    let key = &facts.expected.key;
    let mut told = Vec::new();
    for kind in [Kind::ReplicationFailed, Kind::ReplicationLate] {
        let is_failed = |absent: &&Absent<'_>| matches!(absent.why, Missing::Failed(_));
        let of_kind = absent
            .iter()
            .filter(|absent| !absent.told_there && is_failed(absent) == (kind == Kind::ReplicationFailed));
        told.extend(tell(facts, kind, &of_kind.collect::<Vec<_>>()));
    }
    let generation = prior.map_or(0, |row| row.generation) + 1;
    let (notes, owed) = settle(Settle {
        prior: prior.map_or(&[], |row| row.notes.as_slice()),
        told,
        open: &BTreeSet::new(),
        subject: &format!("{}{}", key.partition_key(), ReplicationRow::sort_key(key, facts.to)),
        generation,
        actor: facts.actor,
        now,
    });
    let row = ReplicationRow {
        schema: ReplicationRowSchema::V1,
        repository: key.clone(),
        to: facts.to.clone(),
        generation,
        complete: complete.into_iter().take(MAX_REMEMBERED).collect(),
        missing: missing.into_iter().take(MAX_REMEMBERED).collect(),
        notes,
    };
    let unchanged = owed.is_empty()
        && match prior {
            Some(prior) => {
                ReplicationRow {
                    generation: prior.generation,
                    ..row.clone()
                } == *prior
            }
            None => row.complete.is_empty() && row.missing.is_empty(),
        };
    if unchanged {
        return None;
    }
    let alerts = owed.iter().map(|note| alert(key, facts.to, note)).collect();
    Some(Box::new(SourceStep { row, alerts }))
}

/// The alerts about images that are not there. An alert stays as it is as long as no other image is added to it.
fn tell(facts: &SourceFacts<'_>, kind: Kind, absent: &[&Absent<'_>]) -> Option<(Kind, Vec<Change>, String)> {
    if absent.is_empty() {
        return None;
    }
    let listed = absent.iter().take(MAX_LISTED);
    let changes: Vec<Change> = listed.map(|absent| absent.change(facts.to, facts.rules)).collect();
    let prior = facts
        .row
        .and_then(|row| row.notes.iter().find(|note| note.kind == kind));
    let told = |change: &Change| {
        let mut told = prior.into_iter().flat_map(|note| &note.changes);
        told.any(|other| other.setting == change.setting)
    };
    if let Some(note) = prior.filter(|_| changes.iter().all(told)) {
        return Some((kind, note.changes.clone(), note.reason.clone()));
    }
    let number = match absent.len() {
        1 => "1 image".to_owned(),
        n => format!("{n} images"),
    };
    let what = if kind == Kind::ReplicationFailed {
        format!("ECR gave up on copying {number} to {}.", facts.to)
    } else {
        format!(
            "{number} should be in {} by now, {} minutes after the push, and ECR does not say so.",
            facts.to,
            facts.rules.max_lag.as_mins()
        )
    };
    let backfill = match facts.backfill {
        Some(row) if row.status.is_open() => " A backfill is under way.".to_owned(),
        Some(row) => {
            let why = row
                .failure
                .as_ref()
                .map_or_else(String::new, |why| format!(" ({})", text::line(why, 100)));
            let number = row.failures.len();
            let copies = match (&row.status, number) {
                (BackfillStatus::Refused | BackfillStatus::Claimed | BackfillStatus::Running, _) | (_, 0) => {
                    String::new()
                }
                (_, number) => format!(", and could not copy {number} images of all repositories"),
            };
            format!(
                " The last backfill of {} is {}{why}{copies}.",
                row.claimed_at.strftime("%Y-%m-%d %H:%M UTC"),
                row.status.as_str()
            )
        }
        None if facts.rules.backfill => " A backfill is begun.".to_owned(),
        None => String::new(),
    };
    Some((kind, changes, format!("{what}{backfill}")))
}

fn alert(key: &RepositoryKey, to: &Region, note: &Note) -> RepositoryAlert {
    let (name, from, account) = (&key.repository, &key.region, &key.account);
    let rules = format!(
        "Check that a rule copies {name} to {to}: aws ecr describe-registry --region {from} --query replicationConfiguration"
    );
    let ask = "Ask ECR how far it is with an image: describe-image-replication-status in the source region.".to_owned();
    let backfill = format!(
        "Copy what is missing, of all repositories: aws ecr start-replication-backfill --region {from} --destination \
         region={to},registryId={account}"
    );
    let failed = note.kind == Kind::ReplicationFailed;
    RepositoryAlert {
        copies_in: Some(to.clone()),
        id: note.id.clone(),
        kind: note.kind,
        severity: None,
        time: note.claimed_at,
        repository: key.clone(),
        digest: None,
        tag: None,
        title: if failed {
            format!("{name}: images were not copied to {to}")
        } else {
            format!("{name}: images are late in {to}")
        },
        reason: note.reason.clone(),
        changes: note.changes.clone(),
        next_steps: if failed {
            [ask, rules, backfill]
        } else {
            [rules, ask, backfill]
        }
        .map(NextStep::from)
        .to_vec(),
    }
}
