//! `list`: the images of a ledger, by what they are.

use std::{collections::BTreeMap, collections::BTreeSet, io::Write};

use clap::Args;
use guard_core::{
    finding::Severity,
    glob::Glob,
    ids::{ImageKey, RepositoryKey},
    ledger::{Row, fixes},
    repository::route::RouteTag,
    snapshot::SnapshotRecord,
    state::State,
    text::line,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    OK, Output, World,
    in_force::policy_of,
    judged::rule,
    ledgers::{Extent, LedgerArguments, NotRead},
    table::{count, name, table},
};

/// The arguments of `list`.
#[derive(Debug, Clone, Args)]
pub struct ListArguments {
    /// The ledgers.
    #[command(flatten)]
    pub ledger: LedgerArguments,
    /// Only images in this state, such as `Blocked`. Several may be given.
    #[arg(long = "state", value_name = "STATE", value_parser = state, value_delimiter = ',')]
    pub states: Vec<State>,
    /// Only repositories of this name, with `*` for any characters. Several may be given.
    #[arg(long = "repository", value_name = "GLOB")]
    pub repositories: Vec<Glob>,
    /// Only images whose worst remembered finding has this severity or a higher one.
    #[arg(long, value_parser = severity)]
    pub severity: Option<Severity>,
    /// Only images whose alerts go to this route of the policy.
    #[arg(long, value_name = "NAME")]
    pub route: Option<String>,
    /// Only images that came to their state since then: `24h`, `7d`, a day or a time.
    #[arg(long, value_parser = since)]
    pub since: Option<Since>,
}

/// A time, or how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So long ago.
    Ago(SignedDuration),
    /// Then.
    At(Timestamp),
}

const STATES: [State; 8] = [
    State::Pending,
    State::Allowed,
    State::Review,
    State::Blocked,
    State::BlockDeferred,
    State::Unscannable,
    State::Stale,
    State::NotAnImage,
];

fn state(word: &str) -> Result<State, String> {
    let plain = |word: &str| word.to_ascii_lowercase().replace(['-', '_', ' '], "");
    let found = STATES
        .into_iter()
        .find(|state| plain(state.as_str()) == plain(word) || plain(state.stored()) == plain(word));
    found.ok_or_else(|| {
        let words: Vec<&str> = STATES.iter().map(|state| state.as_str()).collect();
        format!("it is one of {}", words.join(", "))
    })
}

fn severity(word: &str) -> Result<Severity, String> {
    let found = Severity::ALL
        .into_iter()
        .find(|severity| severity.to_string().eq_ignore_ascii_case(word));
    found.ok_or_else(|| {
        let words: Vec<String> = Severity::ALL.iter().map(ToString::to_string).collect();
        format!("it is one of {}", words.join(", "))
    })
}

fn since(word: &str) -> Result<Since, String> {
    let problem = || {
        "it is a time span such as 24h or 7d, a day such as 2026-11-24, or a time such as 2026-11-24T12:00:00Z"
            .to_owned()
    };
    if let Ok(at) = word.parse::<Timestamp>() {
        return Ok(Since::At(at));
    }
    if let Ok(day) = word.parse::<jiff::civil::Date>() {
        let at = jiff::tz::TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0));
        return at.map(Since::At).map_err(|_| problem());
    }
    let hours = match word.split_at_checked(word.len().saturating_sub(1)) {
        Some((number, "h")) => number.parse::<u32>().ok().map(i64::from),
        Some((number, "d")) => number.parse::<u32>().ok().map(|days| i64::from(days) * 24),
        _ => None,
    };
    hours
        .map(|hours| Since::Ago(SignedDuration::from_hours(hours)))
        .ok_or_else(problem)
}

/// An image of the list.
struct Entry {
    key: ImageKey,
    tags: Vec<guard_core::ids::Tag>,
    state: State,
    since: Timestamp,
    severity: Option<Severity>,
    rule: Option<String>,
    fixes: Vec<String>,
    reason: String,
}

fn entry(row: Row) -> Entry {
    Entry {
        severity: row.findings.iter().map(|finding| finding.severity).max(),
        rule: rule(&row, None),
        fixes: fixes(&row.findings),
        reason: row.reason,
        key: row.image,
        tags: row.tags,
        state: row.state,
        since: row.since,
    }
}

/// Carries it out.
///
/// # Errors
/// A ledger cannot be read.
pub fn list(
    given: &ListArguments,
    output: Output,
    world: &impl World,
    out: &mut impl Write,
    trouble: &mut impl Write,
) -> Result<u8, NotRead> {
    let text = given.ledger.policy_text(world)?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut seen = BTreeSet::new();
    for mut snapshot in given.ledger.open(&Extent::default(), world, trouble)? {
        let now = snapshot.header.taken_at;
        let mut policies = Vec::new();
        let mut rows_under: BTreeMap<String, u64> = BTreeMap::new();
        let mut routes: BTreeMap<RepositoryKey, RouteTag> = BTreeMap::new();
        let mut found: Vec<Entry> = Vec::new();
        snapshot.each(|_, record| {
            match record {
                SnapshotRecord::Image(row) if row.closed_at.is_none() => {
                    *rows_under.entry(row.policy.clone()).or_default() += 1;
                    if given.wants(&row, now) {
                        found.push(entry(*row));
                    }
                }
                SnapshotRecord::Policy(policy) => policies.push(policy),
                SnapshotRecord::Summary(summary) => {
                    let summary = *summary;
                    routes.extend(summary.route.map(|route| (summary.repository, route)));
                }
                SnapshotRecord::Unreadable(gap) => writeln!(
                    trouble,
                    "{} could not be read: {}",
                    line(&gap.what, 300),
                    line(&gap.why, 300)
                )?,
                _ => {}
            }
            Ok(())
        })?;
        if let Some(route) = &given.route {
            let policy = policy_of(&policies, &rows_under, text.as_deref(), now)?.ok_or_else(|| {
                NotRead::new(format!(
                    "{}: it has no policy document, which names the routes.",
                    snapshot.name
                ))
            })?;
            let topics = policy.policy.topics();
            let known: Vec<&str> = topics.values().flatten().copied().collect();
            if !known.contains(&route.as_str()) {
                return Err(NotRead::new(format!(
                    "The policy has no route `{}`. It has {}.",
                    line(route, 60),
                    known.join(", ")
                )));
            }
            found.retain(|entry| {
                let tag = routes.get(&RepositoryKey::of(&entry.key));
                let topic = policy.policy.topic(&entry.key.repository, tag);
                topics.get(topic).is_some_and(|names| names.contains(&route.as_str()))
            });
        }
        found.retain(|entry| seen.insert(entry.key.clone()));
        entries.extend(found);
    }
    entries.sort_by(|a, b| (b.severity, &a.key).cmp(&(a.severity, &b.key)));
    match output {
        Output::Json => writeln!(out, "{:#}", document(&entries))?,
        Output::Text => {
            let rows: Vec<Vec<String>> = entries.iter().map(Entry::cells).collect();
            let head = [
                "Account", "Region", "Image", "State", "Since", "Severity", "Rule", "Fix",
            ];
            if !rows.is_empty() {
                out.write_all(table(&head, &rows).as_bytes())?;
            }
            writeln!(out, "{}", count(entries.len() as u64, "image"))?;
        }
    }
    Ok(OK)
}

fn document(entries: &[Entry]) -> serde_json::Value {
    let images = entries.iter().map(|entry| {
        json!({"image": entry.key, "tags": entry.tags, "state": entry.state.as_str(), "since": entry.since, "severity": entry.severity,
            "rule": entry.rule, "fixes": entry.fixes, "reason": entry.reason})
    });
    json!({"schema": "ecr-guard/list/v1", "images": images.collect::<Vec<_>>()})
}

impl Entry {
    fn cells(&self) -> Vec<String> {
        let dash = || "-".to_owned();
        vec![
            self.key.account.to_string(),
            self.key.region.to_string(),
            name(self.key.repository.as_str(), &self.tags, &self.key.digest),
            self.state.as_str().to_owned(),
            guard_core::calendar::date(self.since),
            self.severity.map_or_else(dash, |severity| severity.to_string()),
            self.rule.clone().unwrap_or_else(dash),
            self.fixes.first().map_or_else(dash, |fix| line(fix, 40)),
        ]
    }
}

impl ListArguments {
    fn wants(&self, row: &Row, now: Timestamp) -> bool {
        let from = self.since.map(|since| match since {
            Since::At(at) => at,
            Since::Ago(span) => now.checked_sub(span).unwrap_or(Timestamp::MIN),
        });
        let worst = row.findings.iter().map(|finding| finding.severity).max();
        (self.states.is_empty() || self.states.contains(&row.state))
            && (self.repositories.is_empty()
                || self
                    .repositories
                    .iter()
                    .any(|glob| glob.matches(row.image.repository.as_str())))
            && self
                .severity
                .is_none_or(|least| worst.is_some_and(|worst| worst >= least))
            && from.is_none_or(|from| row.since >= from)
    }
}
