//! The image came back more often than it is blocked again in an hour.

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
    docs: &[(
        "it keeps coming back",
        "one hour after the first of its last five returns",
    )],
    setting: None,
    check,
};

fn check(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    let oldest = block.returns.first();
    let too_often = oldest.filter(|_| block.came_back && block.returns.len() >= MAX_RETURNS);
    Ok(too_often.map(|oldest| Hold {
        alert: Some(AlertKind::ImageBypass),
        ..Hold::because(format!(
            "it keeps coming back, and was blocked again {MAX_RETURNS} times within an hour; after {} it can be.",
            (*oldest + RETURN_WINDOW).strftime("%H:%M UTC")
        ))
    }))
}
