//! The registry has just refused to block the image.

use super::rule::{Hold, HoldRule};
use crate::{
    decide::{blocking::Blocking, plan::Question},
    text,
};

pub(super) const RULE: HoldRule = HoldRule {
    cause: "refused",
    docs: &[("the registry refused", "the function gets the right to block it")],
    setting: None,
    check,
};

fn check(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    let failure = block.case.facts.block_failure.as_deref();
    Ok(failure.map(|failure| {
        Hold::because(format!("the registry refused ({}).", text::line(failure, 200)))
            .told()
            .with_step("Give the function the right to block it, or remove the reason: the next reconcile tries again.")
    }))
}
