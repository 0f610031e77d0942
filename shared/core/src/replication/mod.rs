//! Copies of images in other regions: whether they are there, complete, in time, and treated as their source is.
//!
//! ECR copies images and tags. It copies neither settings nor deletions nor the archive, and tells nobody of a copy that never
//! began (ECR user guide, "Private image replication").

pub mod backfill;
pub mod ledger;
pub mod readiness;
pub mod replica;
pub mod source;

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::{
    ids::{Region, RepositoryName},
    policy::Policy,
};

/// The most regions that images are copied to. Source: ECR user guide, "Amazon ECR service quotas" (unique destinations across all
/// rules).
pub const MAX_REGIONS: usize = 25;

/// Where the images of a repository must be as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationRules {
    /// The regions that they are copied to.
    pub regions: BTreeSet<Region>,
    /// After that time a missing copy is late.
    pub max_lag: SignedDuration,
    /// Whether to start a backfill for what is late or failed.
    pub backfill: bool,
}

impl ReplicationRules {
    /// The regions that a repository's images are copied to from `region`. One policy may be for all regions: none is copied to
    /// where it is already.
    pub fn destinations(&self, region: &Region) -> impl Iterator<Item = &Region> {
        self.regions.iter().filter(move |other| *other != region)
    }
}

/// What the policy says of a repository's copies.
pub fn rules<'a>(policy: &'a Policy, repository: &RepositoryName) -> Option<&'a ReplicationRules> {
    policy.repository(repository)?.replication.as_ref()
}

/// Whether copies of a repository's images arrive in `region`.
pub fn is_destination(policy: &Policy, repository: &RepositoryName, region: &Region) -> bool {
    rules(policy, repository).is_some_and(|rules| rules.regions.contains(region))
}
