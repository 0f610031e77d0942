//! A rule of the registry copies what the policy wants to be copied.

use super::check::{Failed, RegistryCase, RegistryCheck};
use crate::ids::{Region, RepositoryName};

pub(super) const CHECK: RegistryCheck = RegistryCheck {
    setting: "registry.replication",
    asked_by: "replication.regions",
    permission: "ecr:DescribeRegistry",
    see: "See what is copied: aws ecr describe-registry",
    fails,
    words,
};

fn fails<'a>(case: &RegistryCase<'a>, name: &RepositoryName) -> Vec<Option<&'a Region>> {
    let regions = case
        .rules
        .replication
        .iter()
        .flat_map(|rules| rules.destinations(&case.key.region));
    regions
        .filter(|region| !case.settings.copies(name, case.key, region))
        .map(Some)
        .collect()
}

fn words(failed: &Failed<'_>) -> (String, String) {
    let region = failed.region.map_or("another region", Region::as_str);
    (
        format!("no rule copies {} to {region}", failed.repositories),
        format!("a replication rule for them to {region}, in the same account"),
    )
}
