//! A person has released the image for a time.

use super::rule::{Hold, HoldRule, Undo};
use crate::{
    decide::{blocking::Blocking, plan::Question},
    notice::AlertKind,
};

/// The word for it.
pub const CAUSE: &str = "released";

pub(super) const RULE: HoldRule = HoldRule {
    cause: CAUSE,
    docs: &[(
        "a person released it until a time",
        "that time is reached, or `ecr-guard release --end` ends the release",
    )],
    setting: Some("release"),
    check,
};

fn check(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    let release = block.release().filter(|release| release.is_in_force(block.case.now));
    Ok(release.map(|release| {
        let hold = Hold::because(release.because())
            .undoing(Undo::All)
            .not_before(Some(release.until))
            .with_step(
                "Deploy a fixed image before the release ends: then this one is blocked again, also where it runs.",
            );
        Hold {
            // The release is alerted once. A finding that appears later is alerted as for any other image that is not blocked.
            alert: Some(match release.told_at {
                None => AlertKind::ImageReleased,
                Some(_) => AlertKind::BlockDeferred,
            }),
            tells_release: release.told_at.is_none(),
            ..hold
        }
    }))
}
