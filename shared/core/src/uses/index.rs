//! How complete the index of a region is.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{SourceKind, UseRow, WorkloadRules, WorkloadSource, cluster::MAX_AHEAD};
use crate::{
    ids::{AccountId, Region, RepositoryKey},
    text,
};

/// The only form of an index state that exists so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexStateSchema {
    /// First form.
    #[serde(rename = "ecr-guard/uses/v1")]
    V1,
}

/// Why a list was not seen to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Since when.
    pub since: Timestamp,
    /// The error, in one line.
    pub error: String,
    /// The permission that is missing, as IAM names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// The state of one list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The list.
    pub source: WorkloadSource,
    /// When the last run began that saw it to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// How many workloads it had then that use images of this registry.
    #[serde(default)]
    pub seen: u64,
    /// Why the latest run did not see it to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

/// How complete the index is that the function of one region keeps. One write of every run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexState {
    /// Form of this document.
    pub schema: IndexStateSchema,
    /// The account of the registry.
    pub account: AccountId,
    /// The region whose workloads are listed.
    pub region: Region,
    /// The lists.
    pub listings: Vec<Listing>,
    /// The EKS clusters that the accounts have in the region, as [`cluster_of`] has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// Why the latest run could not list all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters_trouble: Option<Trouble>,
    /// The lists of other regions, as the latest run has read them: workloads there may run images of this region. So a
    /// question about an image reads one state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Listing>,
    /// Number of the write that made this row; a write must name the one before (optimistic lock).
    pub generation: u64,
}

/// For how many days the state of a region is kept in which no function runs any more. For so long it counts as incomplete.
const STATE_DAYS: i64 = 30;

impl IndexState {
    /// Nothing was listed yet.
    pub fn new(account: AccountId, region: Region) -> Self {
        Self {
            schema: IndexStateSchema::V1,
            account,
            region,
            listings: Vec::new(),
            clusters: Vec::new(),
            clusters_trouble: None,
            elsewhere: Vec::new(),
            generation: 0,
        }
    }

    /// The prefix of the sort keys of states. The partition key is that of [`UseRow`]s.
    pub const SORT_KEY_PREFIX: &'static str = "index#";

    /// The partition key: that of the use rows.
    pub fn partition_key(account: &AccountId) -> String {
        UseRow::partition_key(account)
    }

    /// The sort key: `index#<region>`.
    pub fn sort_key(region: &Region) -> String {
        format!("{}{region}", Self::SORT_KEY_PREFIX)
    }

    /// When the row may be forgotten (the table's time to live), if it is written at `now`.
    pub fn expires_at(now: Timestamp) -> Option<Timestamp> {
        now.checked_add(SignedDuration::from_hours(24 * STATE_DAYS)).ok()
    }

    /// The state of a list.
    pub fn listing(&self, source: &WorkloadSource) -> Option<&Listing> {
        self.listings.iter().find(|listing| listing.source == *source)
    }

    /// A list was seen to its end, by a run that began at `began`.
    pub fn completed(&mut self, source: &WorkloadSource, seen: u64, began: Timestamp) {
        let listing = self.entry(source);
        listing.completed_at = listing.completed_at.max(Some(began));
        listing.seen = seen;
        listing.trouble = None;
    }

    /// A list was not seen to its end.
    pub fn failed(&mut self, source: &WorkloadSource, error: &str, missing: Option<String>, now: Timestamp) {
        let listing = self.entry(source);
        let since = listing.trouble.as_ref().map_or(now, |trouble| trouble.since);
        listing.trouble = Some(Trouble {
            since,
            error: text::line(error, 300),
            missing,
        });
    }

    /// Keeps the lists that these rules still ask for, and those of clusters.
    pub fn retain(&mut self, rules: &WorkloadRules) {
        let asked = rules.listed(&self.account, &self.region);
        self.listings
            .retain(|listing| is_cluster(&listing.source) || asked.contains(&listing.source));
    }

    /// The EKS clusters that have not said within `max_age` what they run.
    pub fn silent_clusters(&self, rules: &WorkloadRules, now: Timestamp) -> Vec<&str> {
        let speaks = |cluster: &str| {
            let source = cluster_source(&self.account, &self.region, cluster);
            is_complete(Some(self), &source, rules, now)
        };
        self.clusters
            .iter()
            .map(String::as_str)
            .filter(|cluster| !speaks(cluster))
            .collect()
    }

    /// The EKS clusters that the accounts have, as far as they could be listed.
    pub fn clusters_listed(
        &mut self,
        clusters: Vec<String>,
        trouble: Option<(String, Option<String>)>,
        now: Timestamp,
    ) {
        self.clusters = clusters;
        let since = self.clusters_trouble.as_ref().map_or(now, |trouble| trouble.since);
        self.clusters_trouble = trouble.map(|(error, missing)| Trouble {
            since,
            error: text::line(&error, 300),
            missing,
        });
    }

    fn entry(&mut self, source: &WorkloadSource) -> &mut Listing {
        let place = self.listings.iter().position(|listing| listing.source == *source);
        let place = place.unwrap_or(self.listings.len());
        if place == self.listings.len() {
            self.listings.push(Listing {
                source: source.clone(),
                completed_at: None,
                seen: 0,
                trouble: None,
            });
        }
        #[expect(clippy::indexing_slicing, reason = "it was found there, or put there")]
        &mut self.listings[place]
    }
}

impl WorkloadRules {
    /// The lists that the function of a region makes, in all accounts.
    pub fn listed(&self, account: &AccountId, region: &Region) -> Vec<WorkloadSource> {
        let others = self.accounts.iter().filter(|other| other.is_listed_in(region));
        let accounts = std::iter::once(account).chain(others.map(|other| &other.id));
        let sources = accounts.flat_map(|account| {
            self.sources.iter().map(|kind| WorkloadSource {
                account: account.clone(),
                region: region.clone(),
                kind: kind.clone(),
            })
        });
        sources.collect()
    }

    /// The lists that must be complete before an image of a repository counts as used by nobody.
    fn needed(&self, key: &RepositoryKey) -> Vec<WorkloadSource> {
        let is_needed = |source: &WorkloadSource| {
            let mut others = self.accounts.iter();
            let other = others.find(|other| other.id == source.account && other.id != key.account);
            other.is_none_or(|other| other.concerns(&key.repository))
        };
        let mut needed = self.listed(&key.account, &key.region);
        needed.retain(is_needed);
        let clusters = self.clusters.iter();
        let clusters = clusters.filter(|(_, globs)| globs.iter().any(|glob| glob.matches(key.repository.as_str())));
        needed.extend(clusters.map(|(cluster, _)| cluster_source(&key.account, &key.region, cluster)));
        needed
    }
}

/// The name of a cluster among those of several accounts: its own name, behind its account where that is not the registry's:
/// `222222222222/prod`.
pub fn cluster_of(own: &AccountId, account: &AccountId, name: &str) -> String {
    if account == own {
        name.to_owned()
    } else {
        format!("{account}/{name}")
    }
}

/// The list of a cluster, by its name.
fn cluster_source(own: &AccountId, region: &Region, called: &str) -> WorkloadSource {
    let other = called.split_once('/');
    let other = other.and_then(|(account, name)| Some((account.parse().ok()?, name)));
    let (account, name) = other.unwrap_or_else(|| (own.clone(), called));
    WorkloadSource {
        account,
        region: region.clone(),
        kind: SourceKind::Kubernetes(name.to_owned()),
    }
}

/// Whether a list that was complete then still counts as complete. One of the future is not believed.
fn is_fresh(completed_at: Option<Timestamp>, rules: &WorkloadRules, now: Timestamp) -> bool {
    completed_at.is_some_and(|at| now.duration_since(at) <= rules.max_age && at.duration_since(now) <= MAX_AHEAD)
}

fn is_cluster(source: &WorkloadSource) -> bool {
    matches!(source.kind, SourceKind::Kubernetes(_))
}

/// Whether a list that is needed here is complete. A cluster reports to the function of one region, whichever that is.
fn is_complete(state: Option<&IndexState>, source: &WorkloadSource, rules: &WorkloadRules, now: Timestamp) -> bool {
    let is_it = |listing: &Listing| {
        let other = &listing.source;
        *other == *source || is_cluster(source) && other.kind == source.kind && other.account == source.account
    };
    state.is_some_and(|state| {
        let mut listings = state.listings.iter().chain(&state.elsewhere);
        listings.any(|listing| is_it(listing) && is_fresh(listing.completed_at, rules, now))
    })
}

/// Why it is not known who uses the images of a repository; `None`: the index is complete. `state`: that of its region.
///
/// Workloads of another region may run the image too. So wherever the index is kept, it must be complete: a region that has a state has
/// a function.
pub fn unknown(
    rules: &WorkloadRules,
    key: &RepositoryKey,
    state: Option<&IndexState>,
    now: Timestamp,
) -> Option<String> {
    let needed = rules.needed(key);
    for source in &needed {
        let listing = state.and_then(|state| state.listing(source));
        if !is_complete(state, source, rules, now) {
            return Some(words(source, listing));
        }
    }
    let elsewhere = state.map(|state| state.elsewhere.as_slice()).unwrap_or_default();
    let regions: BTreeSet<&Region> = elsewhere.iter().map(|listing| &listing.source.region).collect();
    for region in regions {
        // A list that is needed there, whether or not it was ever read. A cluster reports to one region.
        let needed = rules.needed(&RepositoryKey {
            region: region.clone(),
            ..key.clone()
        });
        for there in needed.into_iter().filter(|source| !is_cluster(source)) {
            let listing = elsewhere.iter().find(|listing| listing.source == there);
            if !is_fresh(listing.and_then(|listing| listing.completed_at), rules, now) {
                return Some(words(&there, listing));
            }
        }
    }
    None
}

/// Why a list is not complete, in words that stay the same for as long as it lasts.
fn words(source: &WorkloadSource, listing: Option<&Listing>) -> String {
    let what = match &source.kind {
        SourceKind::Ecs => "the workloads of ECS".to_owned(),
        SourceKind::Lambda => "the functions of Lambda".to_owned(),
        SourceKind::Batch => "the job definitions of Batch".to_owned(),
        SourceKind::Kubernetes(cluster) => format!("what runs in the cluster {}", text::line(cluster, 100)),
    };
    let place = format!("account {} in {}", source.account, source.region);
    let since = match listing.and_then(|listing| listing.completed_at) {
        Some(at) => format!("have not been known since {}", at.strftime("%Y-%m-%d %H:%M UTC")),
        None => "have never been listed".to_owned(),
    };
    let since = match source.kind {
        SourceKind::Kubernetes(_) => since.replacen("have", "has", 1),
        SourceKind::Ecs | SourceKind::Lambda | SourceKind::Batch => since,
    };
    let why = listing
        .and_then(|listing| listing.trouble.as_ref())
        .map(|trouble| match &trouble.missing {
            Some(missing) => format!(": {missing} is missing"),
            None => format!(": {}", text::line(&trouble.error, 200)),
        });
    format!("{what} of {place} {since}{}", why.unwrap_or_default())
}

/// Lists that the policy asks for and that are not complete, all for one cause: what is missing in an account and region, or one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete {
    /// The first of the lists.
    pub source: WorkloadSource,
    /// The others.
    pub also: Vec<SourceKind>,
    /// Since when, and why, in words that stay the same for as long as it lasts.
    pub why: String,
    /// The permission that is missing, as IAM names it.
    pub missing: Option<String>,
}

impl IndexState {
    /// The lists that the policy asks for and that are not complete, here or in another region that has an index: one for each cause.
    pub fn incomplete(&self, rules: &WorkloadRules, now: Timestamp) -> Vec<Incomplete> {
        let mut needed = rules.listed(&self.account, &self.region);
        let elsewhere: BTreeSet<&Region> = self.elsewhere.iter().map(|listing| &listing.source.region).collect();
        needed.extend(
            elsewhere
                .into_iter()
                .flat_map(|region| rules.listed(&self.account, region)),
        );
        let clusters = rules.clusters.keys();
        needed.extend(clusters.map(|cluster| cluster_source(&self.account, &self.region, cluster)));
        let mut incomplete: Vec<Incomplete> = Vec::new();
        for source in needed {
            if is_complete(Some(self), &source, rules, now) {
                continue;
            }
            let mut listings = self.listings.iter().chain(&self.elsewhere);
            let listing = listings.find(|listing| listing.source == source);
            let trouble = listing.and_then(|listing| listing.trouble.as_ref());
            let missing = trouble.and_then(|trouble| trouble.missing.clone());
            let is_same = |other: &&mut Incomplete| {
                let (other, missing_there) = (&other.source, &other.missing);
                (&other.account, &other.region, missing_there) == (&source.account, &source.region, &missing)
                    && !is_cluster(other)
                    && !is_cluster(&source)
            };
            match incomplete.iter_mut().find(is_same) {
                Some(first) => first.also.push(source.kind),
                None => incomplete.push(Incomplete {
                    why: words(&source, listing),
                    also: Vec::new(),
                    missing,
                    source,
                }),
            }
        }
        incomplete
    }
}

impl IndexState {
    /// How many workloads were seen, by what lists them: `ecs`, `kubernetes/prod`.
    pub fn seen(&self) -> BTreeMap<String, u64> {
        let mut seen = BTreeMap::new();
        for listing in &self.listings {
            let number: &mut u64 = seen.entry(listing.source.kind.to_string()).or_default();
            *number = number.saturating_add(listing.seen);
        }
        seen
    }
}
