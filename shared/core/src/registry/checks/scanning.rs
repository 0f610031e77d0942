//! A rule of the registry scans what the policy wants to be scanned on push.

use super::check::{Failed, RegistryCase, RegistryCheck};
use crate::{
    finding::ScanMode,
    ids::{Region, RepositoryName},
};

pub(super) const CHECK: RegistryCheck = RegistryCheck {
    setting: "registry.scanning",
    asked_by: "posture.scan_on_push",
    permission: "ecr:GetRegistryScanningConfiguration",
    see: "See what is scanned: aws ecr get-registry-scanning-configuration",
    fails,
    words,
};

/// With basic scanning the flag of the repository is enough. Each reconcile of a repository checks it and may repair it.
fn fails<'a>(case: &RegistryCase<'a>, name: &RepositoryName) -> Vec<Option<&'a Region>> {
    let wanted = case.rules.posture.as_ref().is_some_and(|posture| posture.scan_on_push);
    if wanted && case.settings.scanning == ScanMode::Enhanced && !case.settings.scans(name) {
        vec![None]
    } else {
        Vec::new()
    }
}

fn words(failed: &Failed<'_>) -> (String, String) {
    (
        format!("enhanced scanning, and no rule of it scans {}", failed.repositories),
        "a rule that scans them on push or continuously".to_owned(),
    )
}
