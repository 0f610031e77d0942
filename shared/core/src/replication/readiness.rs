//! How ready another region is to take over, in figures: for each repository and region.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    super::{
        decide::may_be_source,
        ids::{Digest, Region, Tag},
        image::{Image, ImageStatus},
        ledger::{Row, State},
        policy::Policy,
        repository::ledger::RepositoryKey,
    },
    ReplicationRules, rules,
};

/// How ready a region is to take over the images of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// The region.
    pub region: Region,
    /// Images that should be there: those that can be pulled in the source. Blocked ones are not expected.
    pub expected: u64,
    /// Of those, the ones that are there: seen there, or ECR says so.
    pub present: u64,
    /// Not there, and pushed longer ago than the policy grants.
    pub late: u64,
    /// Not there, and ECR gave up on them.
    pub failed: u64,
    /// There, and not as protected as in the source: it is blocked in the source and not in this region, or the repository there is
    /// not as the policy says, which counts for all its images.
    pub unprotected: u64,
    /// Not looked into yet: the next sweeps do.
    pub unknown: u64,
}

impl Readiness {
    /// Whether every image is there, in time and protected; those that were pushed just now may still be on their way.
    pub fn is_ready(&self) -> bool {
        self.late == 0 && self.failed == 0 && self.unprotected == 0 && self.unknown == 0
    }
}

/// An image whose copies are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedImage {
    /// When it became pullable in the source.
    pub since: Option<Timestamp>,
    /// One of its tags, for people.
    pub tag: Option<Tag>,
}

/// What is there in the source, gathered page by page: first the ledger's rows, then the registry's list.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// The repository, in the region that is looked at.
    pub key: RepositoryKey,
    policy: &'a Policy,
    rules: Option<&'a ReplicationRules>,
    images: BTreeMap<Digest, ExpectedImage>,
    listed: BTreeSet<Digest>,
    blocked: BTreeSet<Digest>,
    blocked_there: BTreeSet<(Region, Digest)>,
    sources: BTreeMap<Digest, SourceOfCopy>,
    copies: BTreeSet<Digest>,
}

/// The image in another region that one here is a copy of, if it is there.
#[derive(Debug, Clone)]
pub struct SourceOfCopy {
    /// The region.
    pub region: Region,
    /// Its tags.
    pub tags: Vec<Tag>,
    both_ways: bool,
    since: Option<Timestamp>,
}

impl<'a> Expected<'a> {
    /// Nothing is known yet. Where the policy does not speak of copies, nothing is gathered either.
    pub fn new(policy: &'a Policy, key: &RepositoryKey) -> Self {
        Self {
            key: key.clone(),
            policy,
            rules: rules(policy, &key.repository),
            images: BTreeMap::new(),
            listed: BTreeSet::new(),
            blocked: BTreeSet::new(),
            blocked_there: BTreeSet::new(),
            sources: BTreeMap::new(),
            copies: BTreeSet::new(),
        }
    }

    /// What the policy says of copies; `None`: nothing.
    pub fn rules(&self) -> Option<&'a ReplicationRules> {
        self.rules
    }

    /// Takes a row of the ledger into account, of this region or of another.
    pub fn remember(&mut self, row: &Row) {
        let Some(rules) = self.rules.filter(|_| row.closed_at.is_none()) else {
            return;
        };
        let (region, digest) = (&row.image.region, &row.image.digest);
        if may_be_source(self.policy, row, &self.key.region, Some(Timestamp::MAX)) {
            let source = SourceOfCopy {
                region: region.clone(),
                tags: row.tags.clone(),
                both_ways: rules.regions.contains(region),
                since: row.available_since,
            };
            self.sources.insert(digest.clone(), source);
        }
        if row.state != State::Blocked {
            return;
        }
        if *region == self.key.region {
            self.blocked.insert(digest.clone());
        } else {
            self.blocked_there.insert((region.clone(), digest.clone()));
        }
    }

    /// Takes an image of the registry's list into account.
    pub fn see(&mut self, image: &Image) {
        let Some(rules) = self.rules else { return };
        if rules.regions.contains(&self.key.region) {
            self.listed.insert(image.digest.clone());
            let is_older = |source: &SourceOfCopy| !source.both_ways || source.since < image.available_since();
            if self.sources.get(&image.digest).is_some_and(is_older) {
                self.copies.insert(image.digest.clone());
            }
        }
        if image.belongs_to_another() || !matches!(image.status, ImageStatus::Active | ImageStatus::Other(_)) {
            return;
        }
        let expected = ExpectedImage {
            since: image.available_since(),
            tag: image.tags.first().cloned(),
        };
        self.images.insert(image.digest.clone(), expected);
    }

    /// The images that must be in the other regions as well: those that can be pulled and that we do not keep from being deployed.
    pub fn images(&self) -> impl Iterator<Item = (&Digest, &ExpectedImage)> {
        self.images.iter().filter(|(digest, _)| !self.blocked.contains(*digest))
    }

    /// Whether the list has an image. Only kept where copies arrive.
    pub fn is_listed(&self, digest: &Digest) -> bool {
        self.listed.contains(digest)
    }

    /// The images on the list that are copies, by what the ledger has of other regions.
    pub fn copies(&self) -> impl Iterator<Item = (&Digest, &SourceOfCopy)> {
        self.copies
            .iter()
            .filter_map(|digest| Some((digest, self.sources.get(digest)?)))
    }

    /// Images that are blocked here and not in a region.
    pub fn not_blocked_in<'b>(&'b self, region: &'b Region) -> impl Iterator<Item = &'b Digest> {
        self.blocked
            .iter()
            .filter(move |digest| !self.blocked_there.contains(&(region.clone(), (*digest).clone())))
    }
}
