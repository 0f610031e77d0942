//! The daily digest: to each topic, what stands with the repositories whose alerts go there.
//!
//! It is built from the summaries that the workers keep of repositories. So it costs a query for a page of them, and no read of
//! an image.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp, civil::Date};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    alert::registry::ExceptionNotice,
    calendar::date_of,
    ids::{Region, RegistryKey, RepositoryName, TopicArn},
    notice::Change,
    policy::Policy,
    registry::{DigestRecord, RegistryRow, decide::REGISTRY_LEASE, survey::Found},
    replication::{readiness::Readiness, rules},
    repository::lifecycle::Surplus,
    state::State,
    summary::{Case, Cases, News, Order, RepositorySummary, WORST, day_of_summary, worse},
    text::{self, hex},
};

/// The digest of one topic for one day.
#[derive(Debug, Clone, PartialEq)]
pub struct Digest {
    /// The same for the same region, topic and day, however often it is delivered.
    pub id: String,
    /// When it was made.
    pub time: Timestamp,
    /// The registry.
    pub registry: RegistryKey,
    /// The routes of the topic.
    pub routes: Vec<String>,
    /// The day on which it is sent, in UTC.
    pub day: Date,
    /// How many repositories there are.
    pub repositories: u64,
    /// The number of those without figures, or without figures of the last day.
    pub unknown: u64,
    /// Those that nobody could reconcile for more than a day. Their last figures are in the others.
    pub outdated: Worst<Outdated>,
    /// Images, those in the archive included.
    pub images: u64,
    /// Those in the archive.
    pub archived: u64,
    /// The sum of their sizes; layers that images share are counted for each.
    pub bytes: u64,
    /// How many of these bytes are in the archive.
    pub archived_bytes: u64,
    /// How many images are in each state.
    pub states: BTreeMap<String, u64>,
    /// The news of the day before.
    pub yesterday: News,
    /// The news of the day so far.
    pub today: News,
    /// Images that must not be deployed.
    pub blocked: Worst<Named>,
    /// Images that should be blocked and are not.
    pub held: Worst<Named>,
    /// Images that a person has released for a time.
    pub released: Worst<Named>,
    /// Images that a person must review.
    pub review: Worst<Named>,
    /// Images that wait too long.
    pub overdue: Worst<Named>,
    /// Allowed images of which the scanner lists nothing and does not say when it was done.
    pub unconfirmed: u64,
    /// Images that nobody could reconcile yet, because calls failed.
    pub not_reached: u64,
    /// Repositories with rows of the ledger that cannot be read.
    pub unreadable: Worst<Unreadable>,
    /// An estimate of the images that the policy's lifecycle rules would delete.
    pub surplus: Surplus,
    /// The repositories that would lose most.
    pub surplus_in: Worst<Size>,
    /// The repositories that are largest.
    pub largest: Worst<Size>,
    /// Repositories with settings that are not as the policy says.
    pub drift: Worst<Drift>,
    /// Repositories that have opted out.
    pub opted_out: Worst<OptedOut>,
    /// Repositories whose tag names no route.
    pub unrouted: Worst<Unrouted>,
    /// How ready the other regions are, all repositories together.
    pub readiness: BTreeMap<Region, Readiness>,
    /// Repositories whose copies are not.
    pub not_ready: Worst<NotReady>,
    /// Exceptions that end soon, or have ended.
    pub ending: Worst<Ending>,
    /// Exceptions that no repository uses; empty if that is not known.
    pub unused: Worst<ExceptionNotice>,
    /// Settings of the registry that are not what the policy needs.
    pub problems: Vec<Change>,
    /// Whether ECR signs images on push.
    pub signing: bool,
}

/// The worst of something, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Worst<T> {
    /// How many there are.
    pub total: u64,
    /// The worst of them, worst first.
    pub worst: Vec<T>,
}

impl<T> Default for Worst<T> {
    fn default() -> Self {
        Self {
            total: 0,
            worst: Vec::new(),
        }
    }
}

impl<T> Worst<T> {
    fn add(&mut self, one: T, worse: impl FnMut(&T, &T) -> std::cmp::Ordering) {
        self.total += 1;
        self.name(one, worse);
    }

    fn name(&mut self, one: T, worse: impl FnMut(&T, &T) -> std::cmp::Ordering) {
        self.worst.push(one);
        self.worst.sort_by(worse);
        self.worst.truncate(WORST);
    }
}

/// An image of which somebody should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Its repository.
    pub repository: RepositoryName,
    /// The problem.
    #[serde(flatten)]
    pub case: Case,
}

/// A repository by its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Which.
    pub repository: RepositoryName,
    /// How many images.
    pub images: u64,
    /// The sum of their sizes.
    pub bytes: u64,
}

/// A repository that nobody could reconcile for more than a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outdated {
    /// Which.
    pub repository: RepositoryName,
    /// The day (UTC) on which it was last reconciled; `None`: not known, and before today.
    pub day: Option<Date>,
}

/// A repository with settings that are not as the policy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// Which.
    pub repository: RepositoryName,
    /// How many settings.
    pub settings: u64,
}

/// A repository that has opted out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OptedOut {
    /// Which.
    pub repository: RepositoryName,
    /// How, and why.
    pub how: String,
}

/// A repository with rows of the ledger that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Which.
    pub repository: RepositoryName,
    /// How many rows.
    pub rows: u64,
}

/// A repository whose tag names no route, so that its alerts come here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unrouted {
    /// Which.
    pub repository: RepositoryName,
    /// The value of its tag; `None`: it has no such tag.
    pub value: Option<String>,
}

/// A repository whose copies in another region are not as they should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotReady {
    /// Which.
    pub repository: RepositoryName,
    /// How it stands.
    #[serde(flatten)]
    pub readiness: Readiness,
}

/// An exception that ends soon or has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ending {
    /// Which.
    #[serde(flatten)]
    pub exception: ExceptionNotice,
    /// It has ended already.
    pub ended: bool,
    /// In how many images of the registry it takes a finding out of the decision.
    pub images: u64,
}

impl Digest {
    /// Whether nobody has to know anything of it.
    pub fn is_quiet(&self) -> bool {
        let news = self.yesterday.and(self.today);
        let cases = [&self.blocked, &self.held, &self.released, &self.review, &self.overdue];
        let totals = cases.map(|list| list.total).into_iter().chain([
            self.unknown,
            self.not_reached,
            self.unreadable.total,
            self.surplus.images,
            self.drift.total,
            self.opted_out.total,
            self.unrouted.total,
            self.not_ready.total,
            self.ending.total,
            self.unused.total,
        ]);
        let pushed_only = News {
            pushed: news.pushed,
            ..News::default()
        };
        totals.sum::<u64>() == 0 && self.problems.is_empty() && news == pushed_only
    }
}

/// Builds the digests of all topics from the summaries of a registry, page by page. The names of repositories, the topics and
/// the policy bound its memory.
#[derive(Debug)]
pub struct DigestBuilder<'a> {
    policy: &'a Policy,
    now: Timestamp,
    found: &'a Found,
    registry: RegistryKey,
    /// Repositories whose summary has not come yet.
    missing: BTreeSet<RepositoryName>,
    /// All summaries that came are of today or yesterday.
    all_fresh: bool,
    digests: BTreeMap<&'a TopicArn, Digest>,
    /// In how many images each exception is used.
    used: BTreeMap<String, u64>,
}

/// Which digest it is.
#[derive(Debug, Clone, Copy)]
pub struct DigestEdition<'a> {
    /// The registry.
    pub key: &'a RegistryKey,
    /// The invocation that asks for a digest out of turn, which has an id of its own.
    pub asked_by: Option<&'a str>,
    /// When it is made.
    pub now: Timestamp,
}

impl<'a> DigestBuilder<'a> {
    /// For the repositories that there are; `found` is what the checks of the registry found.
    pub fn new(
        policy: &'a Policy,
        edition: DigestEdition<'_>,
        repositories: BTreeSet<RepositoryName>,
        found: &'a Found,
    ) -> Self {
        let DigestEdition { key, asked_by, now } = edition;
        let day = date_of(now);
        let mut digests: BTreeMap<&TopicArn, Digest> = BTreeMap::new();
        for (topic, routes) in policy.topics() {
            let digest = Digest {
                id: id(key, topic, day, asked_by),
                time: now,
                registry: key.clone(),
                routes: routes.into_iter().map(str::to_owned).collect(),
                day,
                repositories: 0,
                unknown: 0,
                outdated: Worst::default(),
                images: 0,
                archived: 0,
                bytes: 0,
                archived_bytes: 0,
                states: BTreeMap::new(),
                yesterday: News::default(),
                today: News::default(),
                blocked: Worst::default(),
                held: Worst::default(),
                released: Worst::default(),
                review: Worst::default(),
                overdue: Worst::default(),
                unconfirmed: 0,
                not_reached: 0,
                unreadable: Worst::default(),
                surplus: Surplus::default(),
                surplus_in: Worst::default(),
                largest: Worst::default(),
                drift: Worst::default(),
                opted_out: Worst::default(),
                unrouted: Worst::default(),
                readiness: BTreeMap::new(),
                not_ready: Worst::default(),
                ending: Worst::default(),
                unused: Worst::default(),
                problems: Vec::new(),
                signing: found.signing,
            };
            digests.insert(topic, digest);
        }
        if let Some(digest) = digests.get_mut(policy.default_topic()) {
            digest.problems = found.problems.iter().map(|problem| problem.change.clone()).collect();
        }
        Self {
            policy,
            now,
            found,
            registry: key.clone(),
            missing: repositories,
            all_fresh: true,
            digests,
            used: BTreeMap::new(),
        }
    }

    /// The summary of a repository. That of one that is gone does not count.
    pub fn summary(&mut self, summary: &RepositorySummary) {
        let name = &summary.repository.repository;
        if !self.missing.remove(name) {
            return;
        }
        for (exception, images) in &summary.exceptions {
            *self.used.entry(exception.clone()).or_default() += images;
        }
        let is_fresh = day_of_summary(summary, self.now).is_some();
        self.all_fresh &= is_fresh;
        let route = summary.route.as_ref();
        if let Some(digest) = self.digests.get_mut(self.policy.topic(name, route)) {
            digest.add(summary, is_fresh);
            if let Some(tag) = route.filter(|tag| self.policy.is_unrouted(name, tag)) {
                let unrouted = Unrouted {
                    repository: name.clone(),
                    value: tag.value.as_ref().map(|value| text::line(value, 100)),
                };
                digest.unrouted.add(unrouted, |a, b| a.repository.cmp(&b.repository));
            }
            // A region that the policy has since then is one of which nothing is known.
            let known = |to: &Region| summary.readiness.iter().any(|readiness| readiness.region == *to);
            for to in destinations(self.policy, name, &self.registry.region).filter(|to| !known(to)) {
                digest.ready(name, &Readiness::of(to.clone()).unknown());
            }
        }
    }

    /// The digests, when all summaries are there.
    pub fn finish(mut self) -> BTreeMap<TopicArn, Digest> {
        // Exceptions that a repository uses are not known before it was reconciled.
        let all_known = self.missing.is_empty() && self.all_fresh;
        for name in &self.missing {
            if let Some(digest) = self.digests.get_mut(self.policy.topic(name, None)) {
                digest.repositories += 1;
                digest.unknown += 1;
                for to in destinations(self.policy, name, &self.registry.region) {
                    digest.ready(name, &Readiness::of(to.clone()).unknown());
                }
            }
        }
        for (exception, topics) in self.policy.exceptions.iter().zip(&self.found.exceptions) {
            let images = self.used.get(&exception.name).copied().unwrap_or_default();
            let ended = exception.has_ended(self.now);
            let ending = ended || exception.ends_soon(self.now);
            for topic in topics {
                let Some(digest) = self.digests.get_mut(topic) else {
                    continue;
                };
                let notice = ExceptionNotice::of(exception);
                if ending {
                    let one = Ending {
                        exception: notice,
                        ended,
                        images,
                    };
                    // An exception that still holds and is needed can still be renewed.
                    digest.ending.add(one, |a, b| {
                        let order = |one: &Ending| (one.ended, std::cmp::Reverse(one.images));
                        order(a)
                            .cmp(&order(b))
                            .then_with(|| a.exception.last_day.cmp(&b.exception.last_day))
                    });
                } else if images == 0 && all_known {
                    digest.unused.add(notice, |a, b| a.last_day.cmp(&b.last_day));
                }
            }
        }
        let digests = self.digests.into_iter();
        digests.map(|(topic, digest)| (topic.clone(), digest)).collect()
    }
}

/// The regions that the policy wants a repository's images in as well.
fn destinations<'a>(
    policy: &'a Policy,
    repository: &RepositoryName,
    from: &'a Region,
) -> impl Iterator<Item = &'a Region> {
    let rules = rules(policy, repository);
    rules.into_iter().flat_map(move |rules| rules.destinations(from))
}

impl Digest {
    fn add(&mut self, summary: &RepositorySummary, is_fresh: bool) {
        let name = &summary.repository.repository;
        self.repositories += 1;
        if !is_fresh {
            self.unknown += 1;
            let outdated = Outdated {
                repository: name.clone(),
                day: summary.day,
            };
            let order = |one: &Outdated| (one.day, one.repository.clone());
            self.outdated.add(outdated, |a, b| order(a).cmp(&order(b)));
        }
        self.images += summary.images;
        self.archived += summary.archived;
        self.bytes = self.bytes.saturating_add(summary.bytes);
        self.archived_bytes = self.archived_bytes.saturating_add(summary.archived_bytes);
        for (state, number) in &summary.states {
            *self.states.entry(State::shown_of(state).to_owned()).or_default() += number;
        }
        self.unconfirmed += summary.unconfirmed;
        self.not_reached += summary.not_reached;
        if summary.unreadable > 0 {
            let unreadable = Unreadable {
                repository: name.clone(),
                rows: summary.unreadable,
            };
            let order = |one: &Unreadable| (std::cmp::Reverse(one.rows), one.repository.clone());
            self.unreadable.add(unreadable, |a, b| order(a).cmp(&order(b)));
        }
        let on = |day: Option<Date>| day.and_then(|day| summary.days.get(&day).copied()).unwrap_or_default();
        self.yesterday = self.yesterday.and(on(self.day.yesterday().ok()));
        self.today = self.today.and(on(Some(self.day)));
        for (list, cases, order) in [
            (&mut self.blocked, &summary.blocked, Order::Newest),
            (&mut self.held, &summary.held, Order::Oldest),
            (&mut self.released, &summary.released, Order::Oldest),
            (&mut self.review, &summary.review, Order::Oldest),
            (&mut self.overdue, &summary.overdue, Order::Oldest),
        ] {
            list.take(name, cases, order);
        }
        let larger = |a: &Size, b: &Size| b.bytes.cmp(&a.bytes).then_with(|| a.repository.cmp(&b.repository));
        let size = |images, bytes| Size {
            repository: name.clone(),
            images,
            bytes,
        };
        self.largest.add(size(summary.images, summary.bytes), larger);
        if let Some(surplus) = summary.surplus.filter(|surplus| surplus.images > 0) {
            self.surplus.images += surplus.images;
            self.surplus.bytes = self.surplus.bytes.saturating_add(surplus.bytes);
            self.surplus_in.add(size(surplus.images, surplus.bytes), larger);
        }
        if summary.drift > 0 {
            let drift = Drift {
                repository: name.clone(),
                settings: summary.drift,
            };
            self.drift.add(drift, |a, b| {
                b.settings
                    .cmp(&a.settings)
                    .then_with(|| a.repository.cmp(&b.repository))
            });
        }
        if let Some(how) = &summary.opt_out {
            let opted_out = OptedOut {
                repository: name.clone(),
                how: text::line(how, 200),
            };
            self.opted_out.add(opted_out, |a, b| a.repository.cmp(&b.repository));
        }
        for readiness in &summary.readiness {
            if is_fresh {
                self.ready(name, readiness);
            } else {
                self.ready(name, &readiness.unknown());
            }
        }
    }

    fn ready(&mut self, name: &RepositoryName, readiness: &Readiness) {
        let region = self.readiness.entry(readiness.region.clone());
        region
            .and_modify(|all| all.add(readiness))
            .or_insert_with(|| readiness.clone());
        if !readiness.is_ready() {
            let not_ready = NotReady {
                repository: name.clone(),
                readiness: readiness.clone(),
            };
            self.not_ready.add(not_ready, |a, b| {
                let place = |one: &NotReady| (one.repository.clone(), one.readiness.region.clone());
                b.readiness
                    .not_ready()
                    .cmp(&a.readiness.not_ready())
                    .then_with(|| place(a).cmp(&place(b)))
            });
        }
    }
}

impl Worst<Named> {
    fn take(&mut self, repository: &RepositoryName, cases: &Cases, order: Order) {
        self.total += cases.total;
        for case in &cases.worst {
            let named = Named {
                repository: repository.clone(),
                case: case.clone(),
            };
            self.name(named, |a, b| {
                worse(&a.case, &b.case, order).then_with(|| a.repository.cmp(&b.repository))
            });
        }
    }
}

fn id(key: &RegistryKey, topic: &TopicArn, day: Date, asked_by: Option<&str>) -> String {
    let text = format!("{key}\0digest\0{topic}\0{day}\0{}", asked_by.unwrap_or_default());
    hex(&Sha256::digest(text)).chars().take(32).collect()
}

/// The plan for the digest of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DigestPlan {
    /// Nothing: it is not time, it was sent, or another invocation holds the lease.
    Leave,
    /// Write this row, then send it to all topics but those that have it already.
    Send(Box<RegistryRow>),
}

/// Decides whether the digest is to be sent.
///
/// A day's digest is sent once to each topic. A topic that did not accept it is tried again by the next sweep, as long as the day
/// lasts; a digest that no sweep sent on its day is not sent later: the next one is due.
pub fn decide_digest(
    policy: &Policy,
    key: &RegistryKey,
    row: Option<&RegistryRow>,
    actor: &str,
    now: Timestamp,
) -> DigestPlan {
    let (day, since) = (date_of(now), crate::calendar::day_of(now));
    let due = SignedDuration::from_hours(policy.digest.hour.into());
    if !policy.digest.enabled || now.duration_since(since) < due {
        return DigestPlan::Leave;
    }
    let before = row
        .and_then(|row| row.digest.as_ref())
        .filter(|record| record.day >= day);
    let mut sent = BTreeSet::new();
    if let Some(record) = before {
        let complete = policy.topics().keys().all(|topic| record.sent.contains(*topic));
        let at_it = record.claimed_by != actor && now.duration_since(record.claimed_at) < REGISTRY_LEASE;
        if complete || at_it {
            return DigestPlan::Leave;
        }
        sent.clone_from(&record.sent);
    }
    DigestPlan::Send(Box::new(RegistryRow {
        generation: row.map_or(0, |row| row.generation) + 1,
        digest: Some(DigestRecord {
            day,
            claimed_at: now,
            claimed_by: actor.to_owned(),
            sent,
        }),
        ..row.cloned().unwrap_or_else(|| RegistryRow::new(key.clone()))
    }))
}

#[cfg(test)]
mod tests;
