//! A push causes a scan.

use super::check::{Deviation, PostureCase, PostureCheck, RepositoryEffect};
use crate::finding::{ScanMode, ScanTrigger};

pub(in crate::repository) const SETTING: &str = "posture.scan_on_push";

pub(super) const CHECK: PostureCheck = PostureCheck {
    settings: &[SETTING],
    permissions: &[
        "ecr:BatchGetRepositoryScanningConfiguration",
        "ecr:GetRegistryScanningConfiguration",
        "ecr:PutImageScanningConfiguration",
    ],
    check,
};

fn check(case: &PostureCase<'_>) -> Vec<Deviation> {
    if !case.rules.scan_on_push || case.facts.trigger == Some(ScanTrigger::Automatic) {
        return Vec::new();
    }
    let deviation = |is: &str| Deviation::new(SETTING, is, "a push causes a scan");
    match (case.repository.scan_on_push, case.facts.scan_mode) {
        // With basic scanning, the repository's own flag is enough.
        (true, Some(ScanMode::Basic)) => Vec::new(),
        (true, _) => vec![deviation(
            "only the repository's own flag is set, which enhanced scanning ignores",
        )],
        (false, Some(ScanMode::Basic)) => {
            vec![deviation("nothing scans a pushed image").repaired_by(RepositoryEffect::ScanOnPush)]
        }
        // The flag would be no repair.
        (false, Some(ScanMode::Enhanced)) => vec![deviation(
            "nothing scans a pushed image: no rule of enhanced scanning covers the repository",
        )],
        (false, None) => vec![deviation("nothing scans a pushed image")],
    }
}
