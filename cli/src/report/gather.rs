//! Makes the report of snapshots. Each is read twice: first what is few, such as policies and lists, then the rows of images.

use std::collections::{BTreeMap, BTreeSet};

use guard_core::{
    ids::{Digest, ImageKey, RegistryKey, RepositoryKey, Tag},
    image::ImageStatus,
    ledger::{Row, fixes},
    policy::{Action, Policy},
    registry::RegistryRow,
    repository::{ledger::RepositoryRow, route::RouteTag},
    snapshot::{SnapshotGap, SnapshotHeader, SnapshotListed, SnapshotPolicy, SnapshotRecord},
    state::State,
    summary::{RepositorySummary, overdue_since},
    text,
    uses::{IndexState, RefusedPull, UseRow, Uses},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    copies, exceptions,
    model::{
        Alert, Blocked, Figures, Finding, Freshness, Image, Ledger, MAX_FINDINGS, MAX_TAGS, MAX_WORKLOADS, Part,
        REPORT_SCHEMA, Registry, Release, Report, Repository, SOON_DAYS, Share, Team, UNKNOWN, UNPULLED_DAYS, asks,
    },
    tasks,
};
use crate::{
    in_force::policy_of,
    judged::{PolicyText, rule},
    ledgers::NotRead,
    snapshot::Snapshot,
};

/// A sweep that is older is late: they run every hour.
const LATE: SignedDuration = SignedDuration::from_hours(3);

/// An image on the list of a registry.
#[derive(Debug, Clone)]
struct Listed {
    bytes: u64,
    tags: Vec<Tag>,
    archived: bool,
    pushed_at: Option<Timestamp>,
    pulled_at: Option<Timestamp>,
}

/// The rows of a ledger that are not rows of images.
#[derive(Debug, Default)]
pub(super) struct Around {
    policies: Vec<SnapshotPolicy>,
    rows_under: BTreeMap<String, u64>,
    listed: BTreeMap<RepositoryKey, BTreeMap<Digest, Listed>>,
    listed_all: BTreeSet<RepositoryKey>,
    pub(super) summaries: BTreeMap<RepositoryKey, RepositorySummary>,
    rows: BTreeMap<RepositoryKey, RepositoryRow>,
    registries: BTreeMap<RegistryKey, RegistryRow>,
    uses: BTreeMap<ImageKey, UseRow>,
    states: Vec<IndexState>,
    refused: BTreeMap<ImageKey, Vec<String>>,
    gaps: Vec<SnapshotGap>,
}

/// A report in the making.
#[derive(Debug, Default)]
struct Gathering {
    seen: BTreeSet<(RepositoryKey, Digest)>,
    seen_repositories: BTreeSet<RepositoryKey>,
    ledgers: Vec<Ledger>,
    images: Vec<Image>,
    registries: BTreeMap<RegistryKey, Registry>,
    repositories: Vec<Repository>,
    contacts: BTreeMap<String, String>,
    copies: copies::All,
    exceptions: Vec<super::model::Exception>,
    freshness: Vec<Freshness>,
    unreadable: Vec<String>,
}

/// One ledger while its rows are read.
struct OfLedger<'a> {
    around: &'a Around,
    policy: Option<&'a PolicyText>,
    now: Timestamp,
    /// The children of indexes, for repositories whose list is known.
    referenced: BTreeMap<RepositoryKey, BTreeSet<Digest>>,
    /// Entries that are no image.
    others: BTreeMap<RepositoryKey, BTreeSet<Digest>>,
    /// The repositories that it speaks of.
    repositories: BTreeSet<RepositoryKey>,
}

/// Makes it. `given`: the text of the policy in force, in place of that of the ledgers.
///
/// # Errors
/// A snapshot cannot be read, or the policy that was given is none.
pub fn gather(snapshots: Vec<Snapshot>, given: Option<&str>, made_at: Timestamp) -> Result<Report, NotRead> {
    let mut all = Gathering::default();
    for snapshot in snapshots {
        all.ledger(snapshot, given)?;
    }
    Ok(all.finish(made_at))
}

impl Around {
    fn take(&mut self, record: SnapshotRecord) {
        match record {
            SnapshotRecord::Image(row) if row.closed_at.is_none() => {
                let number = self.rows_under.entry(row.policy).or_default();
                *number = number.saturating_add(1);
            }
            SnapshotRecord::Policy(policy) => self.policies.push(policy),
            SnapshotRecord::Listed(listed) => self.list(*listed),
            SnapshotRecord::ListedAll(key) => {
                self.listed_all.insert(key);
            }
            SnapshotRecord::Use(row) => {
                self.uses.insert(row.image.clone(), row);
            }
            SnapshotRecord::Uses(state) => self.states.push(state),
            SnapshotRecord::RefusedPull(refused) => self.refuse(refused),
            SnapshotRecord::Summary(summary) => {
                self.summaries.insert(summary.repository.clone(), *summary);
            }
            SnapshotRecord::Registry(row) => {
                self.registries.insert(row.registry.clone(), row);
            }
            SnapshotRecord::Repository(row) => {
                self.rows.insert(row.repository.clone(), *row);
            }
            SnapshotRecord::Unreadable(gap) => self.gaps.push(gap),
            SnapshotRecord::Image(_)
            | SnapshotRecord::Access(_)
            | SnapshotRecord::Tag(_)
            | SnapshotRecord::Copy(_)
            | SnapshotRecord::Copies(_)
            | SnapshotRecord::Backfill(_) => {}
        }
    }

    fn list(&mut self, listed: SnapshotListed) {
        let (image, bytes) = (listed.listed.image, listed.listed.bytes);
        let of = Listed {
            bytes,
            tags: image.tags,
            archived: image.status == ImageStatus::Archived,
            pushed_at: image.pushed_at,
            pulled_at: image.last_pulled_at,
        };
        self.listed
            .entry(listed.repository)
            .or_default()
            .insert(image.digest, of);
    }

    fn refuse(&mut self, refused: RefusedPull) {
        let who = text::line(&refused.who, 200);
        self.refused.entry(refused.image).or_default().push(who);
    }

    /// The tag that the route of a repository follows.
    fn route(&self, key: &RepositoryKey) -> Option<&RouteTag> {
        let of_row = self.rows.get(key).and_then(|row| row.route.as_ref());
        of_row.or_else(|| self.summaries.get(key).and_then(|summary| summary.route.as_ref()))
    }

    /// The names of the routes that alerts about a repository take.
    fn team(&self, key: &RepositoryKey, policy: Option<&Policy>) -> String {
        let Some(policy) = policy else {
            return "unknown".to_owned();
        };
        let topic = policy.topic(&key.repository, self.route(key));
        let names = policy.topics().remove(topic).unwrap_or_default();
        text::line(&names.join(", "), 60)
    }
}

impl Gathering {
    fn ledger(&mut self, mut snapshot: Snapshot, given: Option<&str>) -> Result<(), NotRead> {
        let mut around = Around::default();
        snapshot.each(|_, record| {
            around.take(record);
            Ok(())
        })?;
        let now = snapshot.header.taken_at;
        let policy = match policy_of(&around.policies, &around.rows_under, given, now) {
            Err(why) if given.is_some() => return Err(why),
            // That of the ledger cannot be read: what depends on it is not known.
            policy => policy.ok().flatten(),
        };
        let name = text::line(&snapshot.name, 200);
        self.describe(&snapshot.header, &name, policy.as_ref());
        let mut of = OfLedger {
            around: &around,
            policy: policy.as_ref(),
            now,
            referenced: BTreeMap::new(),
            others: BTreeMap::new(),
            repositories: around.listed.keys().chain(around.summaries.keys()).cloned().collect(),
        };
        let mut covered = exceptions::Covered::default();
        snapshot.each(|_, record| {
            if let SnapshotRecord::Image(row) = record
                && row.closed_at.is_none()
            {
                covered.row(&row, of.policy.map(|policy| &policy.policy));
                self.row(&row, &mut of);
            }
            Ok(())
        })?;
        self.not_evaluated(&of);
        self.repositories_of(&of);
        self.copies.ledger(&around, &of.repositories, policy.as_ref(), now);
        if let Some(policy) = &policy {
            self.exceptions
                .extend(exceptions::of(&policy.policy, &name, &covered, now));
        }
        self.freshness_of(&around, policy.as_ref(), now);
        let gaps = around.gaps.iter();
        let gaps = gaps.map(|gap| text::line(&format!("{name}: {}: {}", gap.what, gap.why), 400));
        self.unreadable.extend(gaps);
        Ok(())
    }

    fn describe(&mut self, header: &SnapshotHeader, name: &str, policy: Option<&PolicyText>) {
        if policy.is_none() {
            self.unreadable.push(format!(
                "{name}: it has no policy document that can be read: teams, exceptions and what is overdue are not known"
            ));
        }
        self.ledgers.push(Ledger {
            name: name.to_owned(),
            table: text::line(&header.table, 200),
            region: header.region.to_string(),
            read_at: header.taken_at,
            policy: policy.map(|policy| policy.policy.sha256.clone()),
            document: policy.map(|policy| shown(&policy.document())),
            repository: header.repository.as_ref().map(ToString::to_string),
        });
    }

    fn row(&mut self, row: &Row, of: &mut OfLedger<'_>) {
        let key = RepositoryKey::of(&row.image);
        let digest = &row.image.digest;
        of.repositories.insert(key.clone());
        if of.around.listed.contains_key(&key) {
            let children = row.children.iter().map(|child| child.digest.clone());
            of.referenced.entry(key.clone()).or_default().extend(children);
        }
        if row.is_not_an_image() {
            of.others.entry(key.clone()).or_default().insert(digest.clone());
        }
        let listed = of.around.listed.get(&key).and_then(|images| images.get(digest));
        let is_gone = listed.is_none() && of.around.listed_all.contains(&key);
        if is_gone || !self.seen.insert((key.clone(), digest.clone())) {
            return;
        }
        self.images.push(of.image(row, &key, listed));
    }

    /// Images that the registry lists, and that have no row.
    fn not_evaluated(&mut self, of: &OfLedger<'_>) {
        for (key, images) in &of.around.listed {
            let referenced = of.referenced.get(key);
            for (digest, listed) in images {
                // A child is evaluated with its index; an archived image without a row was archived by somebody else.
                let is_part = referenced.is_some_and(|all| all.contains(digest));
                if listed.archived || is_part || !self.seen.insert((key.clone(), digest.clone())) {
                    continue;
                }
                self.images.push(of.new_image(key, digest, listed));
            }
        }
    }

    fn repositories_of(&mut self, of: &OfLedger<'_>) {
        for key in &of.repositories {
            if !self.seen_repositories.insert(key.clone()) {
                continue;
            }
            let policy = of.policy.map(|policy| &policy.policy);
            let repository = of.repository(key);
            if let Some(help) = policy.and_then(|policy| policy.contact(&key.repository).help.as_ref()) {
                let contact = self.contacts.entry(repository.team.clone());
                contact.or_insert_with(|| text::line(help, 200));
            }
            let registry = RegistryKey {
                account: key.account.clone(),
                region: key.region.clone(),
            };
            let mode = policy.map(|policy| {
                if policy.enforces(&key.repository) {
                    "enforce"
                } else {
                    "report"
                }
            });
            let row = self.registries.entry(registry.clone()).or_insert_with(|| Registry {
                account: registry.account.to_string(),
                region: registry.region.to_string(),
                mode,
                swept: of.around.registries.get(&registry).and_then(|row| row.swept),
                images: 0,
                states: BTreeMap::new(),
            });
            if row.mode != mode {
                row.mode = row.mode.and(mode).map(|_| "mixed");
            }
            self.repositories.push(repository);
        }
    }

    fn freshness_of(&mut self, around: &Around, policy: Option<&PolicyText>, now: Timestamp) {
        for row in around.registries.values() {
            let late = row.swept.is_none_or(|at| now.duration_since(at) > LATE);
            self.freshness.push(Freshness {
                what: format!("sweep of {}", row.registry),
                at: row.swept,
                trouble: late.then(|| "Sweeps run every hour: see the alarms of the function `sweep`.".to_owned()),
            });
        }
        let rules = policy.and_then(|policy| policy.policy.workloads.as_ref());
        for listing in around.states.iter().flat_map(|state| &state.listings) {
            let is_old = |max: SignedDuration| listing.completed_at.is_none_or(|at| now.duration_since(at) > max);
            let stale = rules.is_some_and(|rules| is_old(rules.max_age));
            let failed = listing.trouble.as_ref().map(|trouble| text::line(&trouble.error, 200));
            self.freshness.push(Freshness {
                what: text::line(&format!("workloads: {}", listing.source), 200),
                at: listing.completed_at,
                trouble: failed
                    .or_else(|| stale.then(|| "The list is older than `block.workloads.max_age_minutes`.".to_owned())),
            });
        }
    }

    fn finish(mut self, made_at: Timestamp) -> Report {
        self.images.sort_by(|a, b| {
            let order = |image: &Image| (!image.needs_action, image.rank());
            let severity = |image: &Image| image.findings.first().map(|finding| rank_of(finding.severity));
            order(a)
                .cmp(&order(b))
                .then_with(|| severity(b).cmp(&severity(a)))
                .then_with(|| a.since.cmp(&b.since))
                .then_with(|| place(a).cmp(&place(b)))
        });
        let size = |one: &Repository| (std::cmp::Reverse(one.bytes), one.name.clone(), one.region.clone());
        self.repositories.sort_by_cached_key(size);
        self.exceptions
            .sort_by(|a, b| (a.days_left, &a.name).cmp(&(b.days_left, &b.name)));
        for image in &self.images {
            let key = match (image.account.parse(), image.region.parse()) {
                (Ok(account), Ok(region)) => RegistryKey { account, region },
                _ => continue,
            };
            if let Some(registry) = self.registries.get_mut(&key) {
                registry.images = registry.images.saturating_add(1);
                count(&mut registry.states, image.state);
            }
        }
        let copies = self.copies.finish();
        let teams = teams(&self.images, &self.repositories, &self.contacts);
        let mut figures = figures(&self.images, &self.repositories, &self.ledgers);
        let ends_soon = |one: &&super::model::Exception| one.days_left <= SOON_DAYS;
        figures.exceptions_ending = self.exceptions.iter().filter(ends_soon).count() as u64;
        figures.copies = share(&copies);
        let mut report = Report {
            schema: REPORT_SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            made_at,
            ledgers: self.ledgers,
            figures,
            tasks: Vec::new(),
            more_tasks: 0,
            registries: self.registries.into_values().collect(),
            images: self.images,
            exceptions: self.exceptions,
            teams,
            copies,
            repositories: self.repositories,
            freshness: self.freshness,
            unreadable: self.unreadable,
        };
        tasks::add(&mut report);
        report
    }
}

fn place(image: &Image) -> (&str, &str, &str, &str) {
    (&image.repository, &image.account, &image.region, &image.digest)
}

fn rank_of(severity: &str) -> guard_core::finding::Severity {
    guard_core::finding::Severity::from_word(severity)
}

pub(super) fn count(states: &mut BTreeMap<&'static str, u64>, state: &'static str) {
    let number = states.entry(state).or_default();
    *number = number.saturating_add(1);
}

fn share(copies: &[super::model::Copies]) -> Option<Share> {
    let mut share = Share {
        ready: 0,
        of: 0,
        unknown: 0,
    };
    for one in copies {
        share.ready = share.ready.saturating_add(one.present);
        share.of = share.of.saturating_add(one.expected);
        share.unknown = share.unknown.saturating_add(one.unknown);
    }
    (!copies.is_empty()).then_some(share)
}

fn figures(images: &[Image], repositories: &[Repository], ledgers: &[Ledger]) -> Figures {
    let mut figures = Figures {
        images: images.len() as u64,
        need_action: images.iter().filter(|image| image.needs_action).count() as u64,
        ..Figures::default()
    };
    for image in images {
        count(&mut figures.states, image.state);
    }
    let in_demand = images
        .iter()
        .filter(|image| image.state == State::Blocked.as_str() && !image.asked_for_by.is_empty());
    figures.blocked_in_demand = in_demand.count() as u64;
    let overdue = images.iter().filter(|image| image.overdue == Some(true)).count() as u64;
    figures.overdue = ledgers.iter().all(|ledger| ledger.policy.is_some()).then_some(overdue);
    figures.bytes = repositories
        .iter()
        .try_fold(0_u64, |sum, one| Some(sum.saturating_add(one.bytes?)));
    figures
}

fn teams(images: &[Image], repositories: &[Repository], contacts: &BTreeMap<String, String>) -> Vec<Team> {
    let mut teams: BTreeMap<&str, Team> = BTreeMap::new();
    for one in repositories {
        let team = teams.entry(&one.team).or_insert_with(|| Team {
            name: one.team.clone(),
            contact: contacts.get(&one.team).cloned(),
            drift: Some(0),
            ..Team::default()
        });
        team.repositories = team.repositories.saturating_add(1);
        team.drift = team
            .drift
            .and_then(|sum| one.drift.map(|drift| sum.saturating_add(drift)));
    }
    for image in images {
        if let Some(team) = teams.get_mut(image.team.as_str()) {
            team.images = team.images.saturating_add(1);
            count(&mut team.states, image.state);
            if image.needs_action {
                team.need_action = team.need_action.saturating_add(1);
                team.oldest = team.oldest.into_iter().chain(image.since).min();
            }
        }
    }
    let mut teams: Vec<Team> = teams.into_values().collect();
    teams.sort_by(|a, b| b.need_action.cmp(&a.need_action).then_with(|| a.name.cmp(&b.name)));
    teams
}

impl OfLedger<'_> {
    fn image(&self, row: &Row, key: &RepositoryKey, listed: Option<&Listed>) -> Image {
        let policy = self.policy.map(|policy| &policy.policy);
        let asked_for_by = self.around.refused.get(&row.image).cloned().unwrap_or_default();
        let is_demanded = row.state == State::Blocked && !asked_for_by.is_empty();
        let overdue = policy.map(|policy| overdue_since(row, policy, self.now).is_some());
        let mut tags: Vec<String> = row
            .taken_tags()
            .iter()
            .chain(&row.tags)
            .map(ToString::to_string)
            .collect();
        let more_tags = tags.len().saturating_sub(MAX_TAGS) as u64;
        tags.truncate(MAX_TAGS);
        let more_findings = row.findings.len().saturating_sub(MAX_FINDINGS) as u64;
        let mut fixes = fixes(&row.findings);
        fixes.truncate(3);
        let excepted = row.excepted.iter().filter_map(|finding| finding.exception.as_deref());
        let exceptions: BTreeSet<&str> = excepted.collect();
        let in_force = row.release.as_ref().filter(|release| release.is_in_force(self.now));
        let needs_action = asks(row.state) || is_demanded || overdue == Some(true) || row.not_reached;
        Image {
            account: key.account.to_string(),
            region: key.region.to_string(),
            repository: key.repository.to_string(),
            digest: row.image.digest.to_string(),
            tags,
            more_tags,
            team: self.around.team(key, policy),
            state: if row.not_reached { UNKNOWN } else { row.state.as_str() },
            needs_action,
            reason: text::line(&row.reason, 400),
            rule: rule(row, None).map(|rule| text::line(&rule, 100)),
            since: Some(row.since),
            until: row
                .limited_until
                .into_iter()
                .chain(row.refused_until)
                .chain(in_force.map(|release| release.until))
                .filter(|at| *at > self.now)
                .min(),
            overdue,
            severity: row
                .findings
                .iter()
                .map(|finding| finding.severity)
                .max()
                .map(|one| one.as_str()),
            findings: row.findings.iter().take(MAX_FINDINGS).map(finding).collect(),
            more_findings: more_findings.saturating_add(row.omitted_findings),
            counts: row
                .scan
                .as_ref()
                .map(|_| row.counts.iter().map(|(one, number)| (one.as_str(), *number)).collect()),
            fixes,
            exceptions: exceptions.into_iter().map(|name| text::line(name, 100)).collect(),
            blocked: row.block.as_ref().map(|block| Blocked {
                method: word(&block.method),
                at: block.at,
                confirmed: block.confirmed,
            }),
            release: in_force.map(|release| Release {
                until: release.until,
                by: text::line(&release.by.to_string(), 200),
                reason: text::line(&release.reason, 400),
                ticket: release.ticket.as_deref().map(|ticket| text::line(ticket, 100)),
            }),
            used_by: (row.state != State::Allowed && !row.is_not_an_image())
                .then(|| self.used_by(row))
                .flatten(),
            asked_for_by,
            alert: row.alert.as_ref().map(|alert| Alert {
                kind: alert.kind.as_str(),
                sent_at: alert.sent_at,
            }),
            bytes: listed.map(|listed| listed.bytes),
            pulled_at: listed.and_then(|listed| listed.pulled_at),
        }
    }

    fn new_image(&self, key: &RepositoryKey, digest: &Digest, listed: &Listed) -> Image {
        let policy = self.policy.map(|policy| &policy.policy);
        Image {
            account: key.account.to_string(),
            region: key.region.to_string(),
            repository: key.repository.to_string(),
            digest: digest.to_string(),
            tags: listed.tags.iter().take(MAX_TAGS).map(ToString::to_string).collect(),
            more_tags: listed.tags.len().saturating_sub(MAX_TAGS) as u64,
            team: self.around.team(key, policy),
            state: UNKNOWN,
            needs_action: true,
            reason: "The registry lists it, and nobody has evaluated it yet.".to_owned(),
            rule: None,
            since: listed.pushed_at,
            until: None,
            overdue: None,
            severity: None,
            findings: Vec::new(),
            more_findings: 0,
            counts: None,
            fixes: Vec::new(),
            exceptions: Vec::new(),
            blocked: None,
            release: None,
            used_by: None,
            asked_for_by: Vec::new(),
            alert: None,
            bytes: Some(listed.bytes),
            pulled_at: listed.pulled_at,
        }
    }

    /// The workloads that use an image or what is pulled with it; `None`: not known.
    fn used_by(&self, row: &Row) -> Option<Vec<String>> {
        let rules = self.policy?.policy.workloads.as_ref()?;
        let key = &row.image;
        let related = row.indexes.iter().chain(row.children.iter().map(|child| &child.digest));
        let related = related.map(|digest| ImageKey {
            digest: digest.clone(),
            ..key.clone()
        });
        let images: Vec<ImageKey> = std::iter::once(key.clone()).chain(related).collect();
        let rows: Vec<UseRow> = images
            .iter()
            .filter_map(|image| self.around.uses.get(image))
            .cloned()
            .collect();
        let of_region = |state: &&IndexState| state.account == key.account && state.region == key.region;
        let state = self.around.states.iter().find(of_region);
        match Uses::of(rules, &images, &rows, state, self.now) {
            Uses::By(used) => {
                let words = used.workloads.iter().take(MAX_WORKLOADS);
                Some(words.map(|workload| text::line(&workload.words(key), 300)).collect())
            }
            Uses::Nobody => Some(Vec::new()),
            Uses::Unknown(_) => None,
        }
    }

    fn repository(&self, key: &RepositoryKey) -> Repository {
        let policy = self.policy.map(|policy| &policy.policy);
        let summary = self.around.summaries.get(key);
        let list = self.around.listed.get(key);
        let is_listed = self.around.listed_all.contains(key);
        let empty = BTreeMap::new();
        let all = is_listed.then(|| list.unwrap_or(&empty));
        let sum = |wanted: &dyn Fn(&Digest, &Listed) -> bool| {
            all.map(|images| {
                images
                    .iter()
                    .filter(|(digest, one)| wanted(digest, one))
                    .fold(Part::default(), |part, (_, one)| Part {
                        images: part.images.saturating_add(1),
                        bytes: part.bytes.saturating_add(one.bytes),
                    })
            })
        };
        let whole = sum(&|_, _| true);
        let archived = sum(&|_, one| one.archived);
        let has = |sets: &BTreeMap<RepositoryKey, BTreeSet<Digest>>, digest: &Digest| {
            sets.get(key).is_some_and(|set| set.contains(digest))
        };
        let untagged = |digest: &Digest, one: &Listed| {
            one.tags.is_empty() && !has(&self.referenced, digest) && !has(&self.others, digest)
        };
        let before = self.now - SignedDuration::from_hours(24 * UNPULLED_DAYS);
        let unpulled =
            |_: &Digest, one: &Listed| !one.archived && one.pushed_at.max(one.pulled_at).is_some_and(|at| at < before);
        let from_summary = |of: fn(&RepositorySummary) -> u64| summary.map(of);
        Repository {
            account: key.account.to_string(),
            region: key.region.to_string(),
            name: key.repository.to_string(),
            team: self.around.team(key, policy),
            images: whole
                .map(|part| part.images)
                .or_else(|| from_summary(|summary| summary.images)),
            bytes: whole
                .map(|part| part.bytes)
                .or_else(|| from_summary(|summary| summary.bytes)),
            archived_bytes: archived
                .map(|part| part.bytes)
                .or_else(|| from_summary(|summary| summary.archived_bytes)),
            untagged: sum(&untagged),
            unpulled: sum(&unpulled),
            surplus: summary.and_then(|summary| summary.surplus).map(|surplus| Part {
                images: surplus.images,
                bytes: surplus.bytes,
            }),
            drift: summary.map(|summary| summary.drift),
            opt_out: summary
                .and_then(|summary| summary.opt_out.as_deref())
                .map(|how| text::line(how, 200)),
        }
    }
}

fn finding(of: &guard_core::ledger::RecordedFinding) -> Finding {
    let line = |text: &Option<String>, limit| text.as_deref().map(|text| text::line(text, limit));
    Finding {
        id: text::line(&of.id, 100),
        severity: of.severity.as_str(),
        action: match of.action {
            Action::Block => "block",
            Action::Review => "review",
            Action::Monitor => "monitor",
            Action::Inform => "inform",
        },
        score: of.score,
        epss: of.epss,
        exploit: of.exploit,
        package: line(&of.package, 100),
        installed: line(&of.installed, 60),
        fixed_in: line(&of.fixed_in, 60),
        fix: match of.fix {
            guard_core::finding::Fix::Available => "available",
            guard_core::finding::Fix::Unavailable => "unavailable",
            guard_core::finding::Fix::Unknown => "unknown",
        },
        rule: text::line(&of.rule, 100),
        url: of.url.as_deref().and_then(text::url).map(ToOwned::to_owned),
    }
}

/// The word that serde gives.
/// A document with its lines and their indents, and without characters that change how a text is read.
fn shown(document: &str) -> String {
    let line = |line: &str| {
        let rest = line.trim_start_matches(' ');
        let indent = line.len().saturating_sub(rest.len());
        format!("{:indent$}{}", "", text::line(rest, 2_000))
    };
    document.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn word(method: &guard_core::policy::BlockMethod) -> String {
    let value = serde_json::to_value(method).ok();
    value
        .and_then(|value| value.as_str().map(ToOwned::to_owned))
        .unwrap_or_default()
}
