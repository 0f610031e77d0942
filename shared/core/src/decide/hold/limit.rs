//! As many images were blocked in this hour as the policy allows.

use jiff::Timestamp;

use super::rule::{Hold, HoldRule};
use crate::{
    decide::{
        blocking::Blocking,
        facts::{limit_is_to_be_told, remembered_limit},
        plan::Question,
    },
    notice::AlertKind,
};

pub(super) const RULE: HoldRule = HoldRule {
    cause: "block-limit",
    docs: &[(
        "the policy's number of blocks in an hour is reached",
        "the hour is over",
    )],
    setting: Some("block.max_blocks_per_hour"),
    check,
};

/// Until when the hourly limit keeps the image from being blocked.
pub(super) fn until(block: &Blocking<'_>) -> Option<Timestamp> {
    let facts = block.case.facts;
    let until = || {
        facts
            .limit
            .map(|limit| limit.until)
            .or(remembered_limit(facts, block.case.now))
    };
    block.counts.then(until).flatten()
}

fn check(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    Ok(until(block).map(|until| Hold {
        limited_until: Some(until),
        until: Some(until),
        // The alert of the hour's first image covers all: a hundred alerts would say no more.
        alert: limit_is_to_be_told(block.case.facts).then_some(AlertKind::BlockLimit),
        ..Hold::because(format!(
            "as many images as the policy allows were blocked in this hour; after {} it can be.",
            until.strftime("%H:%M UTC")
        ))
    }))
}
