//! The registry does not archive the image, and every parent index of it is blocked.

use super::rule::{Hold, HoldRule};
use crate::decide::{blocking::Blocking, facts::remembered_refusal, plan::Question};

pub(super) const RULE: HoldRule = HoldRule {
    cause: "only-index",
    docs: &[(
        "the registry does not archive it, and every index that references it is blocked",
        "the registry takes it: every hourly sweep tries again",
    )],
    setting: None,
    check,
};

/// Whether the registry has refused, now or a while ago, to block an image to which indexes lead.
pub(super) fn is_refused(block: &Blocking<'_>) -> bool {
    let facts = block.case.facts;
    block.led_to && (facts.block_failure.is_some() || remembered_refusal(facts, block.case.now).is_some())
}

fn check(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    let holds = is_refused(block) && block.needed.is_some();
    // The alert is about the index.
    Ok(holds.then(|| Hold {
        refused: true,
        ..Hold::because("the registry does not archive it, as an index references it; every such index is blocked.")
    }))
}
