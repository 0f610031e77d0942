//! The figures and worst cases of a repository, counted by a sweep: the parts of the daily digest.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{
    calendar::date_of,
    finding::Severity,
    ids::{Digest, RepositoryKey, Tag},
    image::{ImageKind, ImageStatus, ListedImage},
    ledger::{Row, ScanRecord, fixes},
    notice::AlertKind,
    policy::Policy,
    replication::readiness::Readiness,
    repository::{
        ledger::RepositoryRow,
        lifecycle::{Surplus, SurplusCounter},
        route::RouteTag,
    },
    state::State,
    text,
};

/// The row of one repository's summary. It is written when something in it changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepositorySummary {
    /// Form of this document.
    pub schema: SummarySchema,
    /// The repository.
    pub repository: RepositoryKey,
    /// Number of the write that made this row; a write must name the one before.
    pub generation: u64,
    /// The day (UTC) on which it was last made, changed or not; `None`: by a version that did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<Date>,
    /// Images that can be pulled, and those in the archive; with whatever else is listed as one: indexes, attestations.
    pub images: u64,
    /// How many of them are in the archive.
    #[serde(default)]
    pub archived: u64,
    /// Sum of their sizes. Layers that images share are counted for each, so that this is more than what is billed.
    pub bytes: u64,
    /// How many of these bytes are in the archive.
    #[serde(default)]
    pub archived_bytes: u64,
    /// An estimate of the images that the policy's lifecycle rules would delete now; `None`: it has none for this repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surplus: Option<Surplus>,
    /// How many images are in each state.
    pub states: BTreeMap<String, u64>,
    /// Images that must not be deployed.
    #[serde(default)]
    pub blocked: Cases,
    /// Images that should be blocked and are not.
    #[serde(default)]
    pub held: Cases,
    /// Images that a person has released for a time: they are not among `held`.
    #[serde(default, skip_serializing_if = "Cases::is_empty")]
    pub released: Cases,
    /// Images that a person must review.
    #[serde(default)]
    pub review: Cases,
    /// Images that have waited too long for a scan, or to come back from the archive.
    #[serde(default)]
    pub overdue: Cases,
    /// Allowed images of which the scanner lists nothing and does not say when it was done.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unconfirmed: u64,
    /// Images that nobody could reconcile yet, because calls failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_reached: u64,
    /// Rows of the ledger that cannot be read: of their images nothing is known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unreadable: u64,
    /// The news by day (UTC): of the day on which it was made, and of the day before.
    #[serde(default)]
    pub days: BTreeMap<Date, News>,
    /// The exceptions that take a finding out of a decision, by name, with the number of images.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exceptions: BTreeMap<String, u64>,
    /// The number of settings that differ from the policy, as alerted.
    #[serde(default)]
    pub drift: u64,
    /// How the repository has opted out, with its reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opt_out: Option<String>,
    /// The value of the tag that names the route of its alerts; `None`: it was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteTag>,
    /// How ready the regions are that its images are copied to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readiness: Vec<Readiness>,
    /// All copies on the list here had been reconciled: an image without a row is not here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub copies_seen: bool,
}

/// Images of which somebody should know: how many, and the worst.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cases {
    /// How many there are.
    pub total: u64,
    /// The worst of them, worst first, at most [`WORST`].
    pub worst: Vec<Case>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// The image.
    pub digest: Digest,
    /// One of its tags; one that it had, if it lost them to a quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The severity of its worst finding that counts; `None`: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// The fixes of the findings that decided, `openssl 3.0.9`, at most 3; empty where the scanner names no version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<String>,
    /// How many more fixes there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_fixes: u64,
}

/// How many fixes of a case are named.
const FIXES: usize = 3;

/// How many cases are named.
pub const WORST: usize = 5;

/// The longest reason of a case, in characters.
const MAX_REASON: usize = 300;

/// The order among cases that are equally bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The latest first: the old ones are known.
    Newest,
    /// The one that has waited longest first.
    Oldest,
}

impl Cases {
    fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// One more.
    pub fn add(&mut self, case: Case, order: Order) {
        self.total += 1;
        self.worst.push(case);
        self.sort(order);
    }

    fn sort(&mut self, order: Order) {
        self.worst.sort_by(|a, b| worse(a, b, order));
        self.worst.truncate(WORST);
    }
}

/// Less is worse.
pub(super) fn worse(a: &Case, b: &Case, order: Order) -> std::cmp::Ordering {
    let by_time = match order {
        Order::Newest => b.since.cmp(&a.since),
        Order::Oldest => a.since.cmp(&b.since),
    };
    b.severity
        .cmp(&a.severity)
        .then(by_time)
        .then_with(|| a.digest.cmp(&b.digest))
}

/// The news of one day. Images are counted by their present state: one that was blocked and released on the same day was
/// released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct News {
    /// Images that were pushed; attestations and the like not among them.
    pub pushed: u64,
    /// Images that were blocked.
    pub blocked: u64,
    /// Images that should have been blocked, and were not.
    pub held: u64,
    /// Images that a person must review.
    pub review: u64,
    /// Images that were blocked and are free again.
    pub released: u64,
    /// Settings that were not as the policy says, and were repaired.
    pub repaired: u64,
}

impl News {
    /// Both in one.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            pushed: self.pushed + other.pushed,
            blocked: self.blocked + other.blocked,
            held: self.held + other.held,
            review: self.review + other.review,
            released: self.released + other.released,
            repaired: self.repaired + other.repaired,
        }
    }
}

impl RepositorySummary {
    /// The partition key: the account.
    pub fn partition_key(key: &RepositoryKey) -> String {
        key.account.to_string()
    }

    /// The sort key: `summary#<region>#<repository>`.
    pub fn sort_key(key: &RepositoryKey) -> String {
        format!("summary#{}#{}", key.region, key.repository)
    }
}

/// The beginning of the day on which a summary was made, if that is today or was yesterday. An older one says nothing about
/// today.
pub fn day_of_summary(summary: &RepositorySummary, now: Timestamp) -> Option<Timestamp> {
    let today = date_of(now);
    let day = summary.day.filter(|day| *day >= today.yesterday().unwrap_or(today))?;
    TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok()
}

/// Whether a summary says anything that the one before does not: only then is it written, and once a day to show that somebody has looked.
/// That days are over is nothing new.
pub fn differs(old: Option<&RepositorySummary>, new: &RepositorySummary) -> bool {
    let Some(old) = old else { return true };
    let news = |day: &Date| old.days.get(day).copied().unwrap_or_default();
    let same_days = new.days.iter().all(|(day, is)| news(day) == *is);
    let same = RepositorySummary {
        generation: new.generation,
        days: new.days.clone(),
        ..old.clone()
    };
    !same_days || same != *new
}

/// How long an image may be on its way back from the archive before somebody should know: three times what ECR says it takes.
///
/// Source: user guide of ECR, "Archiving images": restoring takes up to 20 minutes.
const RESTORE_GRACE: SignedDuration = SignedDuration::from_mins(60);

/// Makes a summary of a repository, page by page: what it keeps is bounded by what the lifecycle rules keep and by the images
/// without a tag, not by findings. Images and rows may come in any order, each of them once.
#[derive(Debug)]
pub struct SummaryBuilder<'a> {
    policy: &'a Policy,
    now: Timestamp,
    counter: Option<SurplusCounter>,
    /// The children of indexes.
    led_to: BTreeSet<Digest>,
    summary: RepositorySummary,
}

impl<'a> SummaryBuilder<'a> {
    /// Nothing is known yet.
    pub fn new(policy: &'a Policy, key: &RepositoryKey, now: Timestamp) -> Self {
        let lifecycle = policy
            .repository(&key.repository)
            .and_then(|rules| rules.lifecycle_in(&key.region));
        let today = date_of(now);
        let days = [today.yesterday().ok(), Some(today)];
        Self {
            policy,
            now,
            counter: lifecycle.map(|lifecycle| SurplusCounter::new(lifecycle, now)),
            led_to: BTreeSet::new(),
            summary: RepositorySummary {
                schema: SummarySchema::V1,
                repository: key.clone(),
                generation: 0,
                day: Some(today),
                images: 0,
                archived: 0,
                bytes: 0,
                archived_bytes: 0,
                surplus: None,
                states: BTreeMap::new(),
                blocked: Cases::default(),
                held: Cases::default(),
                released: Cases::default(),
                review: Cases::default(),
                overdue: Cases::default(),
                unconfirmed: 0,
                not_reached: 0,
                unreadable: 0,
                days: days.into_iter().flatten().map(|day| (day, News::default())).collect(),
                exceptions: BTreeMap::new(),
                drift: 0,
                opt_out: None,
                route: None,
                readiness: Vec::new(),
                copies_seen: false,
            },
        }
    }

    /// An image of the registry's list.
    pub fn image(&mut self, listed: &ListedImage) {
        let summary = &mut self.summary;
        summary.images += 1;
        summary.bytes = summary.bytes.saturating_add(listed.bytes);
        if listed.image.status == ImageStatus::Archived {
            summary.archived += 1;
            summary.archived_bytes = summary.archived_bytes.saturating_add(listed.bytes);
        }
        if let Some(counter) = &mut self.counter {
            counter.image(listed);
        }
        if let Some(pushed_at) = listed.image.pushed_at
            && listed.image.kind() != ImageKind::Artifact
            && (listed.image.tags.is_empty() || listed.image.has_ordinary_tag())
        {
            self.new_on(pushed_at, |news| news.pushed += 1);
        }
    }

    /// A row of the ledger. Those of other repositories and regions, and of deleted images, do not count; of what is no image, only their number.
    pub fn row(&mut self, row: &Row) {
        let (key, image) = (&self.summary.repository, &row.image);
        let elsewhere =
            (&key.account, &key.region, &key.repository) != (&image.account, &image.region, &image.repository);
        if elsewhere || row.closed_at.is_some() {
            return;
        }
        if self.counter.is_some() {
            self.led_to
                .extend(row.children.iter().map(|child| child.digest.clone()));
        }
        if row.is_not_an_image() {
            *self
                .summary
                .states
                .entry(State::NotAnImage.stored().to_owned())
                .or_default() += 1;
            return;
        }
        *self.summary.states.entry(row.state.stored().to_owned()).or_default() += 1;
        match row.state {
            State::Blocked => {
                self.summary.blocked.add(case(row, row.since), Order::Newest);
                self.new_on(row.since, |news| news.blocked += 1);
            }
            State::BlockDeferred
                if row
                    .release
                    .as_ref()
                    .is_some_and(|release| release.is_in_force(self.now)) =>
            {
                self.summary.released.add(released(row), Order::Oldest);
            }
            State::BlockDeferred => {
                self.summary.held.add(case(row, row.since), Order::Oldest);
                self.new_on(row.since, |news| news.held += 1);
            }
            State::Review => {
                self.summary.review.add(case(row, row.since), Order::Oldest);
                self.new_on(row.since, |news| news.review += 1);
            }
            State::Pending | State::Allowed | State::Unscannable | State::Stale | State::NotAnImage => {}
        }
        let is_unconfirmed = |scan: &ScanRecord| scan.completed_at.is_none();
        self.summary.unconfirmed +=
            u64::from(row.state == State::Allowed && row.scan.as_ref().is_some_and(is_unconfirmed));
        self.summary.not_reached += u64::from(row.not_reached);
        if let Some(since) = overdue_since(row, self.policy, self.now) {
            self.summary.overdue.add(case(row, since), Order::Oldest);
        }
        if let Some(alert) = row
            .alert
            .as_ref()
            .filter(|alert| alert.kind == AlertKind::ImageReleased)
        {
            self.new_on(alert.claimed_at, |news| news.released += 1);
        }
        let names: BTreeSet<&String> = row
            .excepted
            .iter()
            .filter_map(|found| found.exception.as_ref())
            .collect();
        for name in names {
            *self.summary.exceptions.entry(name.clone()).or_default() += 1;
        }
    }

    /// Counts rows that cannot be read.
    pub fn unreadable_rows(&mut self, number: usize) {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        self.summary.unreadable = self.summary.unreadable.saturating_add(number);
    }

    /// The row of the repository.
    pub fn repository(&mut self, row: &RepositoryRow) {
        self.summary.opt_out.clone_from(&row.opt_out);
        self.summary.route.clone_from(&row.route);
        let open = row.notes.iter().filter(|note| note.kind.lasts());
        self.summary.drift = open
            .map(|note| u64::try_from(note.changes.len()).unwrap_or(u64::MAX))
            .sum();
        for at in row.repairs.values().flatten() {
            self.new_on(*at, |news| news.repaired += 1);
        }
    }

    /// How ready the regions are that its images are copied to, and whether all copies here were reconciled.
    pub fn copies(&mut self, readiness: &[Readiness], copies_seen: bool) {
        self.summary.readiness = readiness.to_vec();
        self.summary.copies_seen = copies_seen;
    }

    /// The summary, to be written over this one if it [`differs`].
    pub fn finish(self, old: Option<&RepositorySummary>) -> RepositorySummary {
        RepositorySummary {
            generation: old.map_or(0, |old| old.generation) + 1,
            surplus: self.counter.map(|counter| counter.finish(&self.led_to)),
            ..self.summary
        }
    }

    fn new_on(&mut self, at: Timestamp, count: impl FnOnce(&mut News)) {
        if let Some(news) = self.summary.days.get_mut(&date_of(at)) {
            count(news);
        }
    }
}

/// A release that is in force: who gave it, and until when.
fn released(row: &Row) -> Case {
    let Some(release) = &row.release else {
        return case(row, row.since);
    };
    let mut reason = release.because();
    if let Some(first) = reason.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Case {
        reason: text::line(&reason, MAX_REASON),
        ..case(row, release.given_at)
    }
}

/// Since when an image has waited too long: for its scan, or to come back from the archive. `None`: it does not wait, or not too long.
pub fn overdue_since(row: &Row, policy: &Policy, now: Timestamp) -> Option<Timestamp> {
    let longer = |since: Timestamp, than: SignedDuration| now.duration_since(since) > than;
    let scan = (row.state == State::Pending).then(|| row.available_since.unwrap_or(row.since));
    let scan = scan.filter(|since| longer(*since, policy.scan.grace));
    let restore = row.block.as_ref().and_then(|block| block.undone_at);
    scan.or(restore.filter(|since| longer(*since, RESTORE_GRACE)))
}

fn case(row: &Row, since: Timestamp) -> Case {
    let taken = row.block.iter().flat_map(|block| &block.tags);
    let level = row.findings.iter().map(|finding| finding.action).max();
    let deciding = row.findings.iter().filter(|finding| Some(finding.action) == level);
    let mut fixes = fixes(deciding);
    let more_fixes = fixes.len().saturating_sub(FIXES) as u64;
    fixes.truncate(FIXES);
    Case {
        digest: row.image.digest.clone(),
        tag: taken.chain(&row.tags).next().cloned(),
        severity: row.findings.iter().map(|finding| finding.severity).max(),
        reason: text::line(&row.reason, MAX_REASON),
        since,
        fixes,
        more_fixes,
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The only form of a summary that exists so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SummarySchema {
    /// First form.
    #[serde(rename = "ecr-guard/summary/v1")]
    V1,
}

#[cfg(test)]
mod tests;
