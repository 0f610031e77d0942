//! The image is a copy, and its source is not blocked.

use super::rule::{Hold, HoldRule, Undo};
use crate::decide::{blocking::Blocking, plan::Question};

pub(super) const RULE: HoldRule = HoldRule {
    cause: "source-not-blocked",
    docs: &[(
        "its source in another region is not blocked",
        "the source is blocked; read its reason there",
    )],
    setting: None,
    check,
};

pub(super) fn holds(block: &Blocking<'_>) -> bool {
    !block.stands && block.case.facts.is_deferred_by_source(block.case.image)
}

fn check(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    let source = block.case.facts.source.as_ref().filter(|_| holds(block));
    // The alert is about the source.
    Ok(source.map(|source| {
        let reason = format!("its source in {} is not blocked; that one says why.", source.region);
        Hold::because(reason).undoing(Undo::Begun)
    }))
}
