//! Tags can be moved, or cannot, as the policy says.

use super::check::{Deviation, PostureCase, PostureCheck, RepositoryEffect};

pub(in crate::repository) const SETTING: &str = "posture.tag_mutability";

pub(super) const CHECK: PostureCheck = PostureCheck {
    settings: &[SETTING],
    permissions: &["ecr:PutImageTagMutability"],
    check,
};

fn check(case: &PostureCase<'_>) -> Vec<Deviation> {
    let is = &case.repository.tag_mutability;
    let wanted = case.rules.tag_mutability.as_ref().filter(|wanted| *wanted != is);
    let deviation = wanted.map(|wanted| {
        let effect = RepositoryEffect::TagMutability(wanted.clone());
        Deviation::new(SETTING, is.to_string(), wanted.to_string()).repaired_by(effect)
    });
    deviation.into_iter().collect()
}
