//! The verdict on an image without a change: the same decision without its effects.

use jiff::Timestamp;

use crate::{
    decide::{
        drafted,
        facts::{Facts, ImageCase},
        plan::{Leave, Plan, Question},
    },
    finding::{Scan, ScanStart},
    ledger::Row,
    policy::Policy,
    state::State,
};

/// The verdict of the facts on an image.
#[derive(Debug, Clone, PartialEq)]
pub enum Opinion {
    /// A fact must be gathered first; then evaluate again.
    Ask(Question),
    /// There is no such image.
    Gone,
    /// It is no image, by its manifest.
    NotAnImage,
    /// Somebody else archived it before it was ever evaluated.
    ArchivedByOthers,
    /// This.
    Opinion(Box<Judgement>),
}

/// The record that a reconcile of the image would write now.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The row that would be written, as far as the state and its reasons go.
    pub row: Row,
    /// The rule that keeps it from being blocked, by its word ([`HoldRule::cause`](super::HoldRule::cause)).
    pub hold: Option<&'static str>,
    /// The scanner says that it is done, and shows no result yet.
    pub not_visible: bool,
}

/// Evaluates these facts as [`decide`](super::decide) does, and asks the same questions, except for the findings that people
/// were notified of. The lease of another invocation does not matter.
pub fn judge(policy: &Policy, facts: &Facts, now: Timestamp) -> Opinion {
    let is_gone = facts.scan_start == Some(ScanStart::ImageGone);
    let Some(image) = facts.image.as_ref().filter(|_| !is_gone) else {
        return Opinion::Gone;
    };
    if facts.may_have_fewer_indexes() {
        return Opinion::Ask(Question::Indexes);
    }
    let facts = &*facts.with_visible_scan(policy, image, now);
    let not_visible = facts.scan == Scan::NotVisible;
    let case = ImageCase {
        policy,
        facts,
        image,
        now,
    };
    match drafted(case) {
        Ok(draft) => {
            let (row, hold) = draft.judgement();
            Opinion::Opinion(Box::new(Judgement { row, hold, not_visible }))
        }
        Err(Plan::Ask(question)) => Opinion::Ask(question),
        Err(Plan::Leave(Leave::ArchivedByOthers)) => Opinion::ArchivedByOthers,
        Err(Plan::Leave(Leave::NoSuchImage)) => Opinion::Gone,
        Err(Plan::Leave(Leave::NotAnImage)) => Opinion::NotAnImage,
        Err(Plan::Apply(step)) if step.row.state == State::NotAnImage => Opinion::NotAnImage,
        Err(Plan::Apply(step)) => Opinion::Opinion(Box::new(Judgement {
            row: step.row,
            hold: None,
            not_visible,
        })),
        // A result that was announced does not show.
        Err(Plan::Leave(Leave::Unchanged | Leave::InProgress | Leave::Busy | Leave::ResultNotVisible)) => {
            let row = facts.row.clone();
            let row = row.unwrap_or_else(|| Row::first(facts.key.clone(), policy, now));
            Opinion::Opinion(Box::new(Judgement {
                row,
                hold: None,
                not_visible: true,
            }))
        }
    }
}
