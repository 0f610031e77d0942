//! The image came back more often than it is blocked again in an hour.

use jiff::Timestamp;

use super::rule::{Hold, HoldRule};
use crate::{
    decide::{
        blocking::{Blocking, RETURN_WINDOW},
        plan::Question,
    },
    ledger::MAX_RETURNS,
    notice::AlertKind,
};

pub(super) const RULE: HoldRule = HoldRule {
    cause: "keeps-coming-back",
    docs: &[(
        "it keeps coming back",
        "an hour has passed since the first of its last five returns",
    )],
    setting: None,
    check,
};

/// The first of its last returns, if there were too many of them.
pub(super) fn too_often(block: &Blocking<'_>) -> Option<Timestamp> {
    let oldest = block.returns.first().copied();
    oldest.filter(|_| block.came_back && block.returns.len() >= MAX_RETURNS)
}

fn check(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    Ok(too_often(block).map(|oldest| Hold {
        alert: Some(AlertKind::ImageBypass),
        until: Some(oldest + RETURN_WINDOW),
        ..Hold::because(format!(
            "it keeps coming back, and was blocked again {MAX_RETURNS} times within an hour; after {} it can be.",
            (oldest + RETURN_WINDOW).strftime("%H:%M UTC")
        ))
    }))
}
