//! A parent index of the image is not blocked.

use super::rule::{Hold, HoldRule, Undo};
use crate::decide::{blocking::Blocking, family::LeadingIndex, plan::Question};

pub(super) const RULE: HoldRule = HoldRule {
    cause: "index-not-blocked",
    docs: &[(
        "an index that references it is not blocked",
        "the index is blocked; read its reason",
    )],
    setting: None,
    check,
};

fn check(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    let facts = block.case.facts;
    let holds = if block.stands {
        // An image that came back with an index that is being reconciled follows that index.
        let with_index = || block.came_back && facts.open_indexes().any(LeadingIndex::is_being_judged);
        facts.has_more_indexes() || facts.open_indexes().any(LeadingIndex::needs_its_images) || with_index()
    } else {
        block.led_to && !facts.are_indexes_blocked()
    };
    // The alert is about the index. It needs its children, whether or not they were blocked before.
    let hold = || Hold::because("an index that references it is not blocked; the index says why.").undoing(Undo::All);
    Ok(holds.then(hold))
}
