//! The image may be a child of an index that nobody has read yet: children have no tag.

use super::rule::{Hold, HoldRule};
use crate::decide::{blocking::Blocking, plan::Question};

pub(super) const RULE: HoldRule = HoldRule {
    cause: "indexes-not-read",
    docs: &[(
        "it has no tag, and no sweep has checked yet whether an index references it",
        "the next sweep has checked: images of an index have no tag, and may be in use by it",
    )],
    setting: None,
    check,
};

fn check(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    let case = block.case;
    let holds = !block.stands && case.facts.awaits_indexes(case.image, case.now);
    // The next sweep notifies of the result.
    let hold = || {
        Hold::because("it has no tag, and no sweep has checked yet whether an index references it; the next one does.")
    };
    Ok(holds.then(hold))
}
