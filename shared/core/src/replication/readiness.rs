//! How ready another region is to take over, in figures: for each repository and region.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{SourceRank, may_be_copied_from},
    ids::{Digest, Region, RepositoryKey, Tag},
    image::{Image, ImageStatus},
    ledger::Row,
    marker::is_mark,
    policy::{Policy, ReplicationRules},
    replication::{
        ledger::{MAX_TAGS, ReplicaRow},
        rules,
    },
    state::State,
};

/// How ready a region is to take over the images of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// The region.
    pub region: Region,
    /// Images that should be there: those that can be pulled in the source. Blocked ones are not expected.
    pub expected: u64,
    /// The number of those that are there, complete, and could be pulled at the last reconcile.
    pub present: u64,
    /// Not there, and pushed longer ago than the policy grants.
    pub late: u64,
    /// Not there, and ECR gave up on them.
    pub failed: u64,
    /// Not there although ECR says that they were copied, or says nothing: deleted in that region, or never seen on its list.
    #[serde(default)]
    pub missing: u64,
    /// In the archive there, or on the way back from it, and not by a block of ours.
    #[serde(default)]
    pub archived: u64,
    /// There, and not with all tags or all children.
    #[serde(default)]
    pub incomplete: u64,
    /// Blocked there and not in the source: what is found there by itself decides, too.
    #[serde(default)]
    pub blocked: u64,
    /// There, and not as protected as in the source: it is blocked in the source and not in this region, or the repository there is
    /// not as the policy says, which counts for all its images.
    pub unprotected: u64,
    /// Nobody has seen them there, or nobody could look.
    pub unknown: u64,
    /// Repositories of which nothing is known, or nothing newer than a day: only in the digest.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_repositories: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Readiness {
    /// Nothing is expected there.
    pub fn of(region: Region) -> Self {
        Self {
            region,
            expected: 0,
            present: 0,
            late: 0,
            failed: 0,
            missing: 0,
            archived: 0,
            incomplete: 0,
            blocked: 0,
            unprotected: 0,
            unknown: 0,
            unknown_repositories: 0,
        }
    }

    /// The same, of which nobody knows how it stands now.
    #[must_use]
    pub fn unknown(&self) -> Self {
        Self {
            expected: self.expected,
            unknown: self.expected,
            unknown_repositories: 1,
            ..Self::of(self.region.clone())
        }
    }

    /// Whether every image is there, complete, pullable now and protected; those that were pushed just now may still be on their way.
    pub fn is_ready(&self) -> bool {
        self.not_ready() == 0
    }

    /// How many images keep the region from being ready, and repositories of which nothing is known.
    pub fn not_ready(&self) -> u64 {
        let Self {
            region: _,
            expected: _,
            present: _,
            late,
            failed,
            missing,
            archived,
            incomplete,
            blocked,
            unprotected,
            unknown,
            unknown_repositories,
        } = self;
        late + failed + missing + archived + incomplete + blocked + unprotected + unknown + unknown_repositories
    }

    /// Adds the figures of another repository.
    pub fn add(&mut self, other: &Self) {
        let Self {
            region: _,
            expected,
            present,
            late,
            failed,
            missing,
            archived,
            incomplete,
            blocked,
            unprotected,
            unknown,
            unknown_repositories,
        } = other;
        self.expected += expected;
        self.present += present;
        self.late += late;
        self.failed += failed;
        self.missing += missing;
        self.archived += archived;
        self.incomplete += incomplete;
        self.blocked += blocked;
        self.unprotected += unprotected;
        self.unknown += unknown;
        self.unknown_repositories += unknown_repositories;
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

/// The images in the source, gathered page by page: first the ledger's rows, then the registry's list.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// The repository, in the region of this reconcile.
    pub key: RepositoryKey,
    policy: &'a Policy,
    rules: Option<&'a ReplicationRules>,
    images: BTreeMap<Digest, ExpectedImage>,
    /// The images on the list here.
    listed: BTreeMap<Digest, ListedCopy>,
    blocked: BTreeSet<Digest>,
    blocked_there: BTreeSet<(Region, Digest)>,
    /// By digest, those of each region.
    sources: BTreeMap<Digest, Vec<SourceOfCopy>>,
    /// The copies here, each with its source.
    copies: BTreeMap<Digest, usize>,
}

/// An image on the registry's list, where copies arrive.
#[derive(Debug, Clone)]
struct ListedCopy {
    is_pullable: bool,
    tags: Vec<Tag>,
}

/// The image in another region that one here is a copy of, if it is there.
#[derive(Debug, Clone)]
pub struct SourceOfCopy {
    /// The region.
    pub region: Region,
    /// Its tags, at most [`MAX_TAGS`], the last ones; without those that we have given to it.
    pub tags: Vec<Tag>,
    rank: SourceRank,
}

impl<'a> Expected<'a> {
    /// Nothing is known yet. Where the policy does not speak of copies, nothing is gathered either.
    pub fn new(policy: &'a Policy, key: &RepositoryKey) -> Self {
        Self {
            key: key.clone(),
            policy,
            rules: rules(policy, &key.repository),
            images: BTreeMap::new(),
            listed: BTreeMap::new(),
            blocked: BTreeSet::new(),
            blocked_there: BTreeSet::new(),
            sources: BTreeMap::new(),
            copies: BTreeMap::new(),
        }
    }

    /// The rules of the policy for copies; `None`: there are none.
    pub fn rules(&self) -> Option<&'a ReplicationRules> {
        self.rules
    }

    /// Takes a row of the ledger into account, of this region or of another.
    pub fn remember(&mut self, row: &Row) {
        if self.rules.is_none() || row.closed_at.is_some() {
            return;
        }
        let (region, digest) = (&row.image.region, &row.image.digest);
        if may_be_copied_from(self.policy, row, &self.key.region) {
            let tags = row.tags.iter().filter(|tag| !is_mark(tag, digest));
            let mut tags: Vec<Tag> = tags.cloned().collect();
            tags.drain(..tags.len().saturating_sub(MAX_TAGS));
            let source = SourceOfCopy {
                region: region.clone(),
                tags,
                rank: SourceRank::of(self.policy, row),
            };
            self.sources.entry(digest.clone()).or_default().push(source);
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
            let is_pullable = matches!(image.status, ImageStatus::Active | ImageStatus::Other(_));
            let listed = ListedCopy {
                is_pullable,
                tags: image.tags.clone(),
            };
            self.listed.insert(image.digest.clone(), listed);
            if let Some(source) = self.source_of(image).filter(|_| !image.belongs_to_another()) {
                self.copies.insert(image.digest.clone(), source);
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

    /// Whether the list has an image that can be pulled, or that we have blocked. Only kept where copies arrive.
    pub fn is_as_it_should_be(&self, digest: &Digest) -> bool {
        self.listed
            .get(digest)
            .is_some_and(|listed| listed.is_pullable || self.blocked.contains(digest))
    }

    /// Whether a copy on the list has lost a tag that it should have. An image that we have blocked may have no tags for that
    /// reason.
    pub fn lacks_a_tag_of(&self, row: &ReplicaRow) -> bool {
        let digest = &row.image.digest;
        let lacks = |listed: &ListedCopy| row.tags.iter().any(|tag| !listed.tags.contains(tag));
        !self.blocked.contains(digest) && self.listed.get(digest).is_some_and(lacks)
    }

    /// The tags that the source of a copy has by the ledger, that the copy on the list does not have, and that are not remembered as its own.
    pub fn tags_to_come(&self, row: &ReplicaRow) -> Vec<Tag> {
        let digest = &row.image.digest;
        let Some(listed) = self.listed.get(digest).filter(|_| !self.blocked.contains(digest)) else {
            return Vec::new();
        };
        let sources = self.sources.get(digest).into_iter().flatten();
        let of_region = sources.filter(|source| source.region == row.source.region);
        let is_missing = |tag: &&Tag| !listed.tags.contains(tag) && !row.tags.contains(tag);
        of_region
            .flat_map(|source| source.tags.iter().filter(is_missing).cloned())
            .collect()
    }

    /// The image in another region that one here is a copy of. With three regions, two may have a copy of the third.
    fn source_of(&self, image: &Image) -> Option<usize> {
        let sources = self.sources.get(&image.digest)?.iter().enumerate();
        let sources = sources.filter(|(_, source)| source.rank.may_be_source_of(image.available_since()));
        sources.min_by_key(|(_, source)| source.rank).map(|(n, _)| n)
    }

    /// Whether an image is blocked in another region.
    pub fn is_blocked_in(&self, region: &Region, digest: &Digest) -> bool {
        self.blocked_there.contains(&(region.clone(), digest.clone()))
    }

    /// The images on the list that are copies, by what the ledger has of other regions.
    pub fn copies(&self) -> impl Iterator<Item = (&Digest, &SourceOfCopy)> {
        self.copies
            .iter()
            .filter_map(|(digest, n)| Some((digest, self.sources.get(digest)?.get(*n)?)))
    }

    /// Images that are blocked here and not in a region.
    pub fn not_blocked_in<'b>(&'b self, region: &'b Region) -> impl Iterator<Item = &'b Digest> {
        self.blocked
            .iter()
            .filter(move |digest| !self.blocked_there.contains(&(region.clone(), (*digest).clone())))
    }
}
