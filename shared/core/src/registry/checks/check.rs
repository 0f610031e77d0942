//! The form of a check of a registry's settings.

use crate::{
    ids::{Region, RegistryKey, RepositoryName},
    policy::RepositoryRules,
    registry::RegistrySettings,
};

/// A check of one setting of a registry, for one repository after the other.
#[derive(Debug)]
pub struct RegistryCheck {
    /// The setting, as alerts name it.
    pub setting: &'static str,
    /// The member of an entry of `repositories` in the policy that asks for the check.
    pub asked_by: &'static str,
    /// The permission that `sweep` needs for it: the column of the table in `docs/repository-rules.md`.
    pub permission: &'static str,
    /// The command of AWS CLI that shows the setting, without its region, behind what it shows.
    pub(in crate::registry) see: &'static str,
    /// The repositories and regions that the setting fails: none, the repository itself (`None`), or regions.
    pub(in crate::registry) fails: for<'a> fn(&RegistryCase<'a>, &RepositoryName) -> Vec<Option<&'a Region>>,
    /// The observed and the desired setting, for the repositories of one entry.
    pub(in crate::registry) words: fn(&Failed<'_>) -> (String, String),
}

/// A registry, and what the policy wants of it for the repositories of one entry.
pub(in crate::registry) struct RegistryCase<'a> {
    pub(in crate::registry) key: &'a RegistryKey,
    pub(in crate::registry) settings: &'a RegistrySettings,
    pub(in crate::registry) rules: &'a RepositoryRules,
}

/// The repositories that a setting fails.
pub(in crate::registry) struct Failed<'a> {
    /// How many, by which entry of the policy, and the first of their names.
    pub(in crate::registry) repositories: String,
    /// The region that it is about.
    pub(in crate::registry) region: Option<&'a Region>,
}
