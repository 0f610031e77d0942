//! The key rotates, where it can.

use super::check::{Deviation, PostureCase, PostureCheck};
use crate::repository::keys::{KeyHealth, KeyRotation};

pub(in crate::repository) const SETTING: &str = "posture.key_rotation";

pub(super) const CHECK: PostureCheck = PostureCheck {
    settings: &[SETTING],
    permissions: &["kms:DescribeKey", "kms:GetKeyRotationStatus"],
    check,
};

fn check(case: &PostureCase<'_>) -> Vec<Deviation> {
    if !case.rules.key_rotation {
        return Vec::new();
    }
    match &case.facts.kms {
        // A missing key has an alert of its own.
        None | Some(KeyHealth::Gone) => Vec::new(),
        Some(KeyHealth::NotTold(refusal)) => vec![Deviation::not_told(SETTING, refusal)],
        Some(KeyHealth::Known { rotation, .. }) => match rotation {
            KeyRotation::Off => vec![Deviation::new(SETTING, "off", "on")],
            KeyRotation::NotTold(refusal) => vec![Deviation::not_told(SETTING, refusal)],
            KeyRotation::On | KeyRotation::NotPossible => Vec::new(),
        },
    }
}
