//! The repository is encrypted as the policy says. It cannot be changed.

use super::check::{Deviation, PostureCase, PostureCheck};

pub(in crate::repository) const SETTING: &str = "posture.encryption";

pub(super) const CHECK: PostureCheck = PostureCheck {
    settings: &[SETTING],
    permissions: &[],
    check,
};

fn check(case: &PostureCase<'_>) -> Vec<Deviation> {
    let is = &case.repository.encryption.kind;
    let wanted = case.rules.encryption.as_ref().filter(|wanted| *wanted != is);
    let deviation = wanted.map(|wanted| Deviation::new(SETTING, is.as_str(), wanted.as_str()));
    deviation.into_iter().collect()
}
