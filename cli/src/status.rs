//! `status`: how many images are in which state, what is overdue, and how fresh that is.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use clap::Args;
use guard_core::{
    ids::{AccountId, ImageKey, Region, RepositoryName},
    ledger::Row,
    snapshot::SnapshotRecord,
    state::State,
    summary::overdue_since,
    text,
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;

use crate::{
    OK, Output, World,
    in_force::policy_of,
    ledgers::{Extent, LedgerArguments, NotRead},
    snapshot::Snapshot,
    table::{ago, count, moment, name as image_name, table},
};

/// The arguments of `status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArguments {
    /// The ledgers.
    #[command(flatten)]
    pub ledger: LedgerArguments,
    /// All repositories, and not only those with something to do.
    #[arg(long)]
    pub all: bool,
}

/// The states, in the order of the columns.
const STATES: [State; 8] = [
    State::Blocked,
    State::BlockDeferred,
    State::Review,
    State::Pending,
    State::Unscannable,
    State::Stale,
    State::Allowed,
    State::NotAnImage,
];

/// The most repositories for people, if they do not ask for all.
const NAMED: usize = 20;

/// An exception is named that ends within this time.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// A sweep that is older is late: they run every hour.
const LATE: SignedDuration = SignedDuration::from_hours(3);

type Place = (AccountId, Region);

/// The figures of a repository.
#[derive(Debug, Default, Clone)]
struct Figures {
    states: BTreeMap<State, u64>,
    overdue: u64,
    not_reached: u64,
}

/// Something that was done at a time.
#[derive(Debug, Clone, Serialize)]
struct Freshness {
    what: String,
    at: Option<Timestamp>,
    /// Its problem.
    trouble: Option<String>,
}

/// A release that a person gave, and that is in force.
#[derive(Debug, Clone, Serialize)]
struct Open {
    image: ImageKey,
    name: String,
    until: Timestamp,
    because: String,
}

#[derive(Debug, Clone, Serialize)]
struct Ending {
    name: String,
    owner: String,
    last_day: String,
    ledger: String,
}

/// The result over all ledgers.
#[derive(Debug, Default)]
struct Found {
    repositories: BTreeMap<(AccountId, Region, RepositoryName), Figures>,
    fresh: Vec<Freshness>,
    ending: Vec<Ending>,
    releases: Vec<Open>,
    unreadable: Vec<String>,
    read: Vec<(String, Timestamp)>,
    seen: BTreeSet<ImageKey>,
}

/// Carries it out.
///
/// # Errors
/// A ledger cannot be read.
pub fn status(
    given: &StatusArguments,
    output: Output,
    world: &impl World,
    out: &mut impl Write,
    trouble: &mut impl Write,
) -> Result<u8, NotRead> {
    let mut found = Found::default();
    let several = given.ledger.are_several();
    for mut snapshot in given.ledger.open(&Extent::default(), world, trouble)? {
        found.read_ledger(&mut snapshot, several, given.ledger.policy_text(world)?.as_deref())?;
    }
    match output {
        Output::Json => writeln!(out, "{:#}", found.json())?,
        Output::Text => out.write_all(found.text(given.all).as_bytes())?,
    }
    Ok(OK)
}

impl Found {
    fn read_ledger(&mut self, snapshot: &mut Snapshot, several: bool, given: Option<&str>) -> Result<(), NotRead> {
        let now = snapshot.header.taken_at;
        let name = snapshot.name.clone();
        self.read.push((name.clone(), now));
        let mut waiting = Vec::new();
        let mut policies = Vec::new();
        let mut rows_under: BTreeMap<String, u64> = BTreeMap::new();
        let mut states = Vec::new();
        snapshot.each(|_, record| {
            match record {
                SnapshotRecord::Image(row) if row.closed_at.is_none() => {
                    if several && !self.seen.insert(row.image.clone()) {
                        return Ok(());
                    }
                    *rows_under.entry(row.policy.clone()).or_default() += 1;
                    if let Some(release) = row.release.as_ref().filter(|release| release.is_in_force(now)) {
                        self.releases.push(Open {
                            image: row.image.clone(),
                            name: image_name(row.image.repository.as_str(), &row.tags, &row.image.digest),
                            until: release.until,
                            because: release.because(),
                        });
                    }
                    let key = &row.image;
                    let place = (key.account.clone(), key.region.clone(), key.repository.clone());
                    let figures = self.repositories.entry(place).or_default();
                    *figures.states.entry(row.state).or_default() += 1;
                    figures.not_reached += u64::from(row.not_reached);
                    let is_restored = row.block.as_ref().is_some_and(|block| block.undone_at.is_some());
                    if row.state == State::Pending || is_restored {
                        // Its findings say nothing of how long it waits.
                        waiting.push(Row {
                            findings: Vec::new(),
                            excepted: Vec::new(),
                            ..*row
                        });
                    }
                }
                SnapshotRecord::Registry(row) => {
                    let late = row.swept.is_none_or(|at| now.duration_since(at) > LATE);
                    self.fresh.push(Freshness {
                        what: format!("last sweep of {}", row.registry),
                        at: row.swept,
                        trouble: late
                            .then(|| "sweeps run every hour: see the alarms of the function `sweep`".to_owned()),
                    });
                }
                SnapshotRecord::Uses(state) => states.push(state),
                SnapshotRecord::Policy(policy) => policies.push(policy),
                SnapshotRecord::Unreadable(gap) => self
                    .unreadable
                    .push(text::line(&format!("{}: {}", gap.what, gap.why), 600)),
                _ => {}
            }
            Ok(())
        })?;
        let policy = policy_of(&policies, &rows_under, given, now)?;
        for state in &states {
            for listing in &state.listings {
                let stale = policy.as_ref().and_then(|policy| policy.policy.workloads.as_ref());
                let stale = stale.is_some_and(|rules| {
                    listing
                        .completed_at
                        .is_none_or(|at| now.duration_since(at) > rules.max_age)
                });
                let why = listing.trouble.as_ref().map(|trouble| text::line(&trouble.error, 200));
                self.fresh.push(Freshness {
                    what: text::line(&format!("workloads: {}", listing.source), 200),
                    at: listing.completed_at,
                    trouble: why.or_else(|| {
                        stale.then(|| "the list is older than `block.workloads.max_age_minutes`".to_owned())
                    }),
                });
            }
        }
        let Some(policy) = policy else {
            self.unreadable.push(format!(
                "{name}: it has no policy document that can be read, so that nothing is known of what is overdue"
            ));
            return Ok(());
        };
        for row in &waiting {
            if overdue_since(row, &policy.policy, now).is_some() {
                let key = &row.image;
                let place = (key.account.clone(), key.region.clone(), key.repository.clone());
                self.repositories.entry(place).or_default().overdue += 1;
            }
        }
        for exception in &policy.policy.exceptions {
            if now < exception.ends && exception.ends.duration_since(now) < SOON {
                self.ending.push(Ending {
                    name: exception.name.clone(),
                    owner: text::line(&exception.owner, 60),
                    last_day: exception.last_day(),
                    ledger: name.clone(),
                });
            }
        }
        Ok(())
    }

    fn sum(&self) -> BTreeMap<Place, Figures> {
        let mut sum: BTreeMap<Place, Figures> = BTreeMap::new();
        for ((account, region, _), figures) in &self.repositories {
            let all = sum.entry((account.clone(), region.clone())).or_default();
            for (state, number) in &figures.states {
                *all.states.entry(*state).or_default() += number;
            }
            all.overdue += figures.overdue;
            all.not_reached += figures.not_reached;
        }
        sum
    }

    fn json(&self) -> serde_json::Value {
        let figures = |figures: &Figures| {
            let states: BTreeMap<&str, u64> = figures
                .states
                .iter()
                .map(|(state, number)| (state.as_str(), *number))
                .collect();
            json!({"images": figures.images(), "states": states, "overdue": figures.overdue, "not_reached": figures.not_reached})
        };
        let registries = self
            .sum()
            .into_iter()
            .map(|((account, region), of)| json!({"account": account, "region": region, "figures": figures(&of)}));
        let repositories = self.repositories.iter().map(|((account, region, repository), of)| {
            json!({"account": account, "region": region, "repository": repository, "figures": figures(of)})
        });
        let read = self.read.iter().map(|(name, at)| json!({"ledger": name, "at": at}));
        json!({"schema": "ecr-guard/status/v1", "read": read.collect::<Vec<_>>(), "registries": registries.collect::<Vec<_>>(),
            "repositories": repositories.collect::<Vec<_>>(), "freshness": self.fresh, "exceptions_ending": self.ending, "releases": self.releases,
            "unreadable": self.unreadable})
    }

    fn text(&self, all: bool) -> String {
        let mut said = String::new();
        for (name, at) in &self.read {
            said.push_str(&format!("{name}, read at {}\n", moment(*at)));
        }
        let states: Vec<State> = STATES.into_iter().filter(|state| self.has(*state)).collect();
        let cells = |figures: &Figures| {
            let of_states = states.iter().map(|state| figures.of(*state).to_string());
            let mut cells: Vec<String> = std::iter::once(figures.images().to_string()).chain(of_states).collect();
            cells.push(figures.overdue.to_string());
            cells
        };
        let head = |before: &[&'static str]| {
            let names = states.iter().map(|state| state.as_str());
            before
                .iter()
                .copied()
                .chain(["Images"])
                .chain(names)
                .chain(["Overdue"])
                .collect::<Vec<&str>>()
        };
        let registries: Vec<Vec<String>> = self
            .sum()
            .iter()
            .map(|((account, region), figures)| {
                [vec![account.to_string(), region.to_string()], cells(figures)].concat()
            })
            .collect();
        if registries.is_empty() {
            said.push_str("\nThere are no images in the ledger.\n");
        } else {
            said.push_str(&format!("\n{}", table(&head(&["Account", "Region"]), &registries)));
        }
        let of_interest = |figures: &&Figures| all || figures.asks() > 0;
        let mut repositories: Vec<_> = self
            .repositories
            .iter()
            .filter(|(_, figures)| of_interest(figures))
            .collect();
        repositories.sort_by_key(|(_, figures)| std::cmp::Reverse(figures.asks()));
        let most = if all { usize::MAX } else { NAMED };
        let rows: Vec<Vec<String>> = repositories
            .iter()
            .take(most)
            .map(|((account, region, name), figures)| {
                [
                    vec![account.to_string(), region.to_string(), name.to_string()],
                    cells(figures),
                ]
                .concat()
            })
            .collect();
        if !rows.is_empty() {
            said.push_str(&format!(
                "\n{}",
                table(&head(&["Account", "Region", "Repository"]), &rows)
            ));
        }
        if repositories.len() > most {
            said.push_str(&format!(
                "and {} more; --all has all.\n",
                repositories.len().saturating_sub(most)
            ));
        }
        said.push('\n');
        for fresh in &self.fresh {
            let now = self.read.iter().map(|(_, at)| *at).max();
            let when = match (fresh.at, now) {
                (Some(at), Some(now)) => format!("{}, {}", moment(at), ago(at, now)),
                _ => "never".to_owned(),
            };
            let trouble = fresh.trouble.as_ref().map_or(String::new(), |why| format!(" ({why})"));
            said.push_str(&format!("{}: {when}{trouble}\n", fresh.what));
        }
        for ending in &self.ending {
            said.push_str(&format!(
                "{} of {} ends: its last day is {}.\n",
                ending.name, ending.owner, ending.last_day
            ));
        }
        for open in &self.releases {
            said.push_str(&format!("{} in {} is {}\n", open.name, open.image.region, open.because));
        }
        for gap in &self.unreadable {
            said.push_str(&format!("Unknown: {gap}\n"));
        }
        let not_reached: u64 = self.repositories.values().map(|figures| figures.not_reached).sum();
        if not_reached > 0 {
            said.push_str(&format!(
                "{} could not be reconciled yet; every sweep tries again.\n",
                count(not_reached, "image")
            ));
        }
        said
    }

    fn has(&self, state: State) -> bool {
        let always = [
            State::Blocked,
            State::BlockDeferred,
            State::Review,
            State::Pending,
            State::Allowed,
        ];
        always.contains(&state) || self.repositories.values().any(|figures| figures.of(state) > 0)
    }
}

impl Figures {
    fn of(&self, state: State) -> u64 {
        self.states.get(&state).copied().unwrap_or_default()
    }

    fn images(&self) -> u64 {
        self.states.values().sum()
    }

    /// How many images somebody should do something about.
    fn asks(&self) -> u64 {
        self.of(State::Blocked) + self.of(State::BlockDeferred) + self.of(State::Review) + self.overdue
    }
}
