//! The key is managed by the account, and not by AWS.

use super::check::{Deviation, PostureCase, PostureCheck};
use crate::repository::keys::KeyHealth;

pub(in crate::repository) const SETTING: &str = "posture.customer_managed_key";

pub(super) const CHECK: PostureCheck = PostureCheck {
    settings: &[SETTING],
    permissions: &["kms:DescribeKey"],
    check,
};

fn check(case: &PostureCase<'_>) -> Vec<Deviation> {
    if !case.rules.customer_managed_key {
        return Vec::new();
    }
    let deviation = |is: &str| Deviation::new(SETTING, is, "a key that is managed by the account");
    match &case.facts.kms {
        None => {
            let is = format!("{}, without a key of KMS", case.repository.encryption.kind);
            vec![deviation(&is)]
        }
        // Two checks ask KMS; the other one reports the refusal.
        Some(KeyHealth::NotTold(_)) if case.rules.key_rotation => Vec::new(),
        Some(KeyHealth::NotTold(refusal)) => vec![Deviation::not_told(SETTING, refusal)],
        // A missing key has an alert of its own.
        Some(KeyHealth::Gone) => Vec::new(),
        Some(KeyHealth::Known { customer_managed, .. }) if *customer_managed => Vec::new(),
        Some(KeyHealth::Known { .. }) => vec![deviation("a key that is managed by AWS")],
    }
}
