//! The repository is encrypted with the key that the policy names. It cannot be changed.

use super::check::{Deviation, PostureCase, PostureCheck};
use crate::repository::keys::KeyArn;

pub(in crate::repository) const SETTING: &str = "posture.kms_key_arn";

pub(super) const CHECK: PostureCheck = PostureCheck {
    settings: &[SETTING],
    permissions: &[],
    check,
};

fn check(case: &PostureCase<'_>) -> Vec<Deviation> {
    let key = case.repository.encryption.key.as_ref();
    let is_same = |wanted: &&_| key.is_some_and(|key| KeyArn::is_same_key(wanted, key));
    let wanted = case.rules.kms_key.as_ref().filter(|wanted| !is_same(wanted));
    let is = key.map_or("no key of KMS", |key| key.as_str());
    let deviation = wanted.map(|wanted| Deviation::new(SETTING, is, wanted.as_str()));
    deviation.into_iter().collect()
}
