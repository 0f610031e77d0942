//! The image is no worse than the one that it replaces, which runs.

use super::{
    rule::{Hold, HoldRule, Undo},
    source,
};
use crate::{
    calendar::date,
    decide::{blocking::Blocking, facts::Replaced, plan::Question},
    predecessor::Predecessor,
};

pub(super) const RULE: HoldRule = HoldRule {
    cause: "no-worse",
    docs: &[(
        "it is no worse than an image that it replaces",
        "a finding appears that the running image does not have, or the running image is no longer used",
    )],
    setting: Some("block.not_worse_than_running"),
    check,
};

fn check(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    let case = block.case;
    let rules = case.policy.block(&case.facts.key.repository);
    let decides_alone = !block.led_to && !block.follows && !source::holds(block);
    let Some(evaluation) = block
        .evaluation
        .filter(|_| rules.not_worse_than_running && block.is_open() && decides_alone)
    else {
        return Ok(None);
    };
    match &case.facts.replaced {
        Replaced::NotAsked => Err(Question::Replaced),
        Replaced::Image(predecessor) if predecessor.has_all(evaluation) => Ok(Some(hold(predecessor))),
        Replaced::Image(_) | Replaced::Nothing => Ok(None),
    }
}

fn hold(predecessor: &Predecessor) -> Hold {
    let name = match predecessor.tags.first() {
        Some(tag) => format!("`{tag}` ({})", predecessor.digest.short()),
        None => format!("`{}`", predecessor.digest.short()),
    };
    let reason = format!(
        "it is no worse than {name}, which it replaces and which was last pulled on {}: all that blocks it is in that one too.",
        date(predecessor.pulled_at)
    );
    Hold::because(reason).told().undoing(Undo::Begun).with_step(
        "It may be deployed: that makes nothing worse. The finding runs already, so fix it in the next image.",
    )
}
