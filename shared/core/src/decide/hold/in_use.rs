//! The image is in use, or may be.

use jiff::Timestamp;

use super::rule::{Hold, HoldRule, Undo};
use crate::{
    calendar::date,
    decide::{blocking::Blocking, plan::Question},
    finding::{Findings, Scan},
    policy::WhenInUse,
};

pub(super) const RULE: HoldRule = HoldRule {
    cause: "in-use",
    docs: &[
        (
            "it is in use",
            "nobody has pulled it, and the scanner knows of no workload, for the time in the policy: 90 days, or 14 where Inspector counts workloads",
        ),
        NO_PULL_RECORDED,
    ],
    setting: Some("block.when_in_use"),
    check,
};

const NO_PULL_RECORDED: (&str, &str) = (
    "it may be in use, and no pull is recorded",
    "somebody pulls it, so that there is a date; or it is replaced and deleted",
);

/// Defers the block of an image that somebody uses.
pub(super) fn hold(evidence: String) -> Hold {
    let hold = Hold::because(evidence)
        .told()
        .undoing(Undo::Begun)
        .with_step("Deploy the new image, so that this one is no longer used.");
    Hold { is_use: true, ..hold }
}

fn check(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    let case = block.case;
    let rules = case.policy.block(&case.facts.key.repository);
    if rules.when_in_use != WhenInUse::Hold || !block.is_open() {
        return Ok(None);
    }
    evidence(block)
}

/// The evidence that somebody uses the image; `None`: there is none.
///
/// No recorded pull means "never pulled" only for a young image: for an older one nobody can know who started it. For a copy
/// whose source is blocked, only a known use counts: in a region where nobody runs anything, no image has a pull. The pulls of
/// a child were asked for with its indexes; a child that is known to run by now is left alone all the same.
///
/// Somebody who pulls a multi-platform image pulls the index and one of its children. For which of them
/// ECR records the pull is documented nowhere, so all of them count.
fn evidence(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    let case = block.case;
    let facts = case.facts;
    let window = case.policy.block(&facts.key.repository).in_use(facts.counts_use());
    let recent = |at: Timestamp| case.now.duration_since(at) <= window;
    // It is no longer in use when the window is over, if nobody uses it again.
    let until = |at: Timestamp| at.checked_add(window).ok();
    if let Scan::Complete(Findings {
        in_use_count,
        last_in_use_at,
        ..
    }) = &facts.scan
    {
        if let Some(count) = in_use_count.filter(|count| *count > 0) {
            return Ok(Some(hold(by_scanner(count))));
        }
        if let Some(at) = last_in_use_at.filter(|at| recent(*at)) {
            return Ok(Some(hold(ran(at)).not_before(until(at))));
        }
    }
    let by_children = facts.children().iter().filter_map(|child| child.row.as_ref()?.used_on);
    if let Some(at) = by_children.max().filter(|at| recent(*at)) {
        return Ok(Some(hold(ran(at)).not_before(until(at))));
    }
    let mut pulled_at = case.image.last_pulled_at;
    if !facts.children().is_empty() {
        let pulled = facts.children_pulled.as_ref().ok_or(Question::ChildrenPulled)?;
        pulled_at = pulled_at.max(pulled.iter().max().copied());
    }
    let follows = block.follows || block.led_to;
    Ok(match (pulled_at, case.image.available_since()) {
        (Some(at), _) => {
            recent(at).then(|| hold(format!("it is in use: it was last pulled on {}.", date(at))).not_before(until(at)))
        }
        (None, _) if follows => None,
        (None, Some(since)) if recent(since) => None,
        (None, since) => Some(hold(unknown(since)).ending(NO_PULL_RECORDED)),
    })
}

fn by_scanner(count: u64) -> String {
    match count {
        1 => "it is in use, by 1 workload that Inspector knows of.".to_owned(),
        n => format!("it is in use, by {n} workloads that Inspector knows of."),
    }
}

fn ran(at: Timestamp) -> String {
    format!("it is in use: a workload ran it on {}.", date(at))
}

fn unknown(since: Option<Timestamp>) -> String {
    match since {
        Some(at) => format!(
            "it may be in use: it has existed since {}, and no pull is recorded.",
            date(at)
        ),
        None => "it may be in use: neither push nor pull is recorded.".to_owned(),
    }
}
