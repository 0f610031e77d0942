//! Where the images of a repository must be as well.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use crate::ids::Region;

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
