//! Copies of images in other regions: whether they are there, complete, in time, and treated as their source is.
//!
//! ECR copies images and tags. It copies neither settings nor deletions nor the archive, and has no event for a copy that never
//! began (ECR user guide, "Private image replication").

pub mod backfill;
pub mod ledger;
pub mod readiness;
pub mod replica;
pub mod source;

use super::{
    ids::{Region, RepositoryName},
    policy::Policy,
};

use crate::policy::ReplicationRules;

/// The rules of the policy for a repository's copies.
pub fn rules<'a>(policy: &'a Policy, repository: &RepositoryName) -> Option<&'a ReplicationRules> {
    policy.repository(repository)?.replication.as_ref()
}

/// Whether copies of a repository's images arrive in `region`.
pub fn is_destination(policy: &Policy, repository: &RepositoryName, region: &Region) -> bool {
    rules(policy, repository).is_some_and(|rules| rules.regions.contains(region))
}
