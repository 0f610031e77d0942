//! The known parent indexes of the image are blocked, and it may be a child of an index that nobody has read yet.

use super::{
    only_index,
    rule::{Hold, HoldRule},
    source,
};
use crate::decide::{blocking::Blocking, family::LeadingIndex, plan::Question};

pub(super) const RULE: HoldRule = HoldRule {
    cause: "more-indexes-not-read",
    docs: &[(
        "it has no tag, and indexes that may reference it have not been read yet",
        "the next sweep has read them. The block stays deferred while one of them cannot be read, or the repository has more than 20,000 images",
    )],
    setting: None,
    check,
};

fn check(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    let case = block.case;
    let is_new = !block.stands || block.came_back;
    let may_be_led_to = block.led_to || case.facts.indexes.iter().any(LeadingIndex::is_without_row);
    let matters = is_new
        && may_be_led_to
        && block.needed.is_some()
        && case.policy.enforces(&case.facts.key.repository)
        && !source::holds(block)
        && !only_index::is_refused(block);
    if !matters {
        return Ok(None);
    }
    let known = case.facts.indexes_known.ok_or(Question::Indexes)?;
    // An image that came back, or has a tag that people may pull, does not wait for an index that nobody can read.
    let holds = !known && !block.came_back && case.image.tags.is_empty();
    // The next sweep notifies of the result.
    Ok(holds.then(|| {
        Hold::because(
            "it has no tag, and indexes that may reference it have not been read yet; the next sweep checks again.",
        )
    }))
}
