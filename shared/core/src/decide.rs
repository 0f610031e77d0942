//! From facts to a plan: the state of an image, the change in the registry, and the alert.
//!
//! `decide` is a function: the same facts, policy and time give the same plan, and carrying a plan out makes the next plan empty.

mod basis;
mod block;
mod blocking;
mod due;
mod facts;
mod family;
mod hold;
mod index;
mod judge;
mod next_steps;
mod plan;
mod refused;
mod release;
mod source;
mod step;
mod visible;
mod words;

use jiff::{SignedDuration, Timestamp};

use self::{basis::Basis, block::blocked, facts::ImageCase, release::released, step::Draft, words::Said};
use crate::{
    evaluate::{Evaluation, Verdict},
    finding::{NoScan, Scan, ScanStart, ScanTrigger},
    image::{ImageKind, ImageStatus},
    ledger::{Cause, Row, ScanRecord},
    notice::AlertKind,
    policy::{NoScanAction, Policy},
    state::State,
};
pub use due::{Due, LONG_TURN_HOURS, Survey, TURN_HOURS, Turns};
pub use facts::{Facts, Limit, Replaced, SourceImage, leased};
pub use family::{ChildFacts, Children, INDEX_FOLLOWS, LeadingIndex, MAX_LOOKED_AT, to_look_at};
pub use hold::{HOLD_RULES, HoldRule, RELEASED, workloads_that_hold};
pub use judge::{Judgement, Opinion, judge};
pub use next_steps::{release_step, steps_for};
pub use plan::{Effect, Leave, Plan, Question, Step};
pub use refused::{pull_refused, refuses_pull};
pub use source::{SourceRank, may_be_copied_from, may_be_source, verdict};
pub use visible::RESULT_AWAITED;

/// ECR scans an image at most once in 24 hours (user guide, "Scan images for OS vulnerabilities").
const SCAN_REQUEST_INTERVAL: SignedDuration = SignedDuration::from_hours(24);

/// Plans what to do for these facts.
pub fn decide(policy: &Policy, facts: &Facts, now: Timestamp) -> Plan {
    let is_gone = facts.scan_start == Some(ScanStart::ImageGone);
    let Some(image) = facts.image.as_ref().filter(|_| !is_gone) else {
        return match &facts.row {
            // The invocation that is at work on it checks whether its own call deleted it.
            Some(row) if row.closed_at.is_none() && leased(row, &facts.actor, now) => Plan::Leave(Leave::InProgress),
            Some(row) if row.closed_at.is_none() => Plan::Apply(Box::new(Step::close(row, now))),
            _ => Plan::Leave(Leave::NoSuchImage),
        };
    };
    if facts.may_have_fewer_indexes() {
        return Plan::Ask(Question::Indexes);
    }
    let facts = &*facts.with_visible_scan(policy, image, now);
    let case = ImageCase {
        policy,
        facts,
        image,
        now,
    };
    drafted(case).map_or_else(|plan| plan, Draft::plan)
}

/// The step for an image that is there, before it is compared with what is remembered; or the plan where there is none: what is no image, what is not known yet, what blocks it whatever its findings are, and its findings,
/// in this order.
fn drafted(case: ImageCase<'_>) -> Result<Draft<'_>, Plan> {
    let ImageCase {
        policy, facts, image, ..
    } = case;
    if facts.is_not_an_image(policy, image) {
        return Err(not_an_image(case));
    }
    if case.is_index() && facts.children == Children::NotAsked {
        return Err(Plan::Ask(Question::Children));
    }
    let (basis, of) = basis::basis(case);
    if case.is_index() && facts.row.is_none() && image.status == ImageStatus::Archived {
        return Err(Plan::Leave(Leave::ArchivedByOthers));
    }
    if scan_should_be_requested(case, &basis) {
        return Err(Plan::Ask(Question::Scan));
    }
    let draft = match other_cause(case).filter(|_| !basis.blocks()) {
        Some((cause, reason)) => blocked(case, draft(case, &basis).because(cause), reason, None),
        None => match no_verdict_yet(case, &basis) {
            Some(plan) => return Err(plan),
            None => by_basis(case, basis, &of),
        },
    };
    draft.map_err(Plan::Ask)
}

/// A step in the making, with what the verdict rests on.
fn draft<'a>(case: ImageCase<'a>, basis: &Basis) -> Draft<'a> {
    let draft = Draft::new(case);
    match basis {
        Basis::Findings(evaluation, scan) => draft.judged(evaluation, scan.clone()),
        Basis::NoScan(why) => draft.without_scan(why, own_words(case, why)),
        Basis::Waiting => draft,
    }
}

/// The cause, apart from its findings, for which the image must not be deployed.
fn other_cause(case: ImageCase<'_>) -> Option<(Cause, String)> {
    let by_source = || Some((Cause::Source, words::source_blocked(case.facts.blocked_source()?)));
    tag_that_blocks(case)
        .map(|reason| (Cause::Tag, reason))
        .or_else(by_source)
}

/// The plan where a verdict from before stands, or none is to be expected.
fn no_verdict_yet(case: ImageCase<'_>, basis: &Basis) -> Option<Plan> {
    let facts = case.facts;
    if case.is_index() {
        return None;
    }
    let waits = matches!(basis, Basis::Waiting);
    let is_announced = facts.announced.is_some();
    if facts.scan == Scan::NotVisible && is_announced {
        return Some(not_visible(case));
    }
    // The registry's word for it: what the scanner says of an archived image, whether that it is archived or that there is no scan, is
    // not documented.
    let is_archived = facts.scan == Scan::Archived || case.image.status == ImageStatus::Archived;
    let was_blocked = facts.row.as_ref().is_some_and(|row| row.block.is_some());
    if waits && is_archived && !was_blocked {
        return Some(Plan::Leave(Leave::ArchivedByOthers));
    }
    (waits && is_announced && !matches!(facts.scan, Scan::Refused(_))).then(|| not_visible(case))
}

/// The words of the scanner for the lack of a scan of this image: those of its answer, or the recorded ones where it gives none now.
fn own_words<'a>(case: ImageCase<'a>, why: &NoScan) -> Option<&'a str> {
    let facts = case.facts;
    match &facts.scan {
        Scan::Explained(explained, words) => Some(words.as_str()).filter(|_| explained == why),
        Scan::Unavailable(_) | Scan::Complete(_) => None,
        Scan::Absent | Scan::InProgress | Scan::NotVisible | Scan::Refused(_) | Scan::Archived => facts
            .judging_source(case.image)
            .or(facts.row.as_ref())
            .filter(|row| row.no_scan.as_ref() == Some(why))
            .and_then(|row| row.scanner_says.as_deref()),
    }
}

/// The words of the scanner for the lack of a scan: of the image, or of those children of an index whose scans are missing for this.
fn scanner_says(case: ImageCase<'_>, why: &NoScan) -> Vec<Said> {
    if !case.is_index() {
        let words = own_words(case, why).into_iter();
        return words.map(Said::of_itself).collect();
    }
    let says = case.facts.children().iter().filter_map(|child| {
        let row = child.open_row().filter(|row| row.no_scan.as_ref() == Some(why))?;
        Some(Said::of_child(&child.name(), row.scanner_says.as_deref()?))
    });
    Said::merge(says.collect())
}

/// The step that the findings ask for, or that there are none. `of`: the images of an index that are the reason.
fn by_basis<'a>(case: ImageCase<'a>, basis: Basis, of: &[String]) -> Result<Draft<'a>, Question> {
    match basis {
        Basis::Waiting => Ok(released(waiting(case, of))),
        Basis::NoScan(why) => without_scan(case, &why, of),
        Basis::Findings(evaluation, scan) => by_findings(case, &evaluation, scan, of),
    }
}

fn without_scan<'a>(case: ImageCase<'a>, why: &NoScan, of: &[String]) -> Result<Draft<'a>, Question> {
    let draft = Draft::new(case).without_scan(why, own_words(case, why));
    let reason = words::on(of, words::no_scan(why, &scanner_says(case, why)));
    let action = case.policy.without_scan(why);
    if action == NoScanAction::Block {
        return blocked(case, draft.because(Cause::NoScan), reason, None);
    }
    let state = if *why == NoScan::EligibilityExpired {
        State::Stale
    } else {
        State::Unscannable
    };
    // Inspector lets go of every image that nobody uses: that is the normal end, and asks nobody to do anything.
    let asks = *why != NoScan::EligibilityExpired || is_known_to_be_used(case);
    let alert = (action == NoScanAction::Review && asks).then_some(AlertKind::ScanFailed);
    Ok(released(draft.state(state, reason).alert(alert)))
}

fn by_findings<'a>(
    case: ImageCase<'a>,
    evaluation: &Evaluation,
    scan: Option<ScanRecord>,
    of: &[String],
) -> Result<Draft<'a>, Question> {
    let is_unconfirmed = scan.as_ref().is_some_and(|scan| scan.completed_at.is_none());
    let draft = Draft::new(case).judged(evaluation, scan);
    match evaluation.verdict {
        Verdict::Pass => {
            let mut reason = words::allowed(evaluation);
            if is_unconfirmed {
                reason = format!("{reason} {}", words::NOT_CONFIRMED);
            }
            Ok(released(draft.state(State::Allowed, reason)))
        }
        Verdict::Review => {
            let draft = draft.state(State::Review, words::on(of, words::review(evaluation)));
            Ok(released(draft.alert(Some(AlertKind::ImageReview))))
        }
        Verdict::Block => {
            let reason = words::on(of, words::block(evaluation));
            blocked(case, draft.because(Cause::Findings), reason, Some(evaluation))
        }
    }
}

/// The entry is no image. The row records that, no alert is sent, and a block from before that was known is undone.
fn not_an_image(case: ImageCase<'_>) -> Plan {
    let facts = case.facts;
    let known = facts.row.as_ref().filter(|row| row.closed_at.is_none());
    // Once a scanner can scan it, it follows its parent indexes, so the row records them.
    let is_linked = |row: &Row| step::indexes(facts) == (row.indexes.clone(), row.more_indexes);
    if known.is_some_and(|row| row.is_not_an_image() && row.block.is_none() && is_linked(row)) {
        return Plan::Leave(Leave::NotAnImage);
    }
    let draft = Draft::new(case).state(State::NotAnImage, words::not_an_image(facts.content.as_ref()));
    released(draft).plan()
}

/// An event announced a result that does not show: what it said is remembered, and it is tried again.
fn not_visible(case: ImageCase<'_>) -> Plan {
    let facts = case.facts;
    let row = facts.row.as_ref();
    let known = row.and_then(|row| row.scan_event.as_ref());
    // A deleted image keeps no record, and an invocation that works on the row must not find it changed.
    let closed = row.is_some_and(|row| row.closed_at.is_some() || leased(row, &facts.actor, case.now));
    match facts.scan_event().filter(|event| known != Some(event) && !closed) {
        Some(event) => Plan::Apply(Box::new(Step::awaiting(case, event.clone()))),
        None => Plan::Leave(Leave::ResultNotVisible),
    }
}

/// Why a tag of the image keeps it from being deployed. A tag that a quarantine has taken from it counts: it would come back.
fn tag_that_blocks(case: ImageCase<'_>) -> Option<String> {
    let ImageCase {
        policy, facts, image, ..
    } = case;
    let rules = policy.repository(&facts.key.repository)?.tags.as_ref()?;
    let taken = facts
        .row
        .iter()
        .filter_map(|row| row.block.as_ref())
        .flat_map(|block| &block.tags);
    let (tag, violation) = rules.blocking(image.tags.iter().chain(taken), &image.digest)?;
    Some(words::tag(tag, &violation))
}

fn scan_should_be_requested(case: ImageCase<'_>, basis: &Basis) -> bool {
    let ImageCase {
        policy,
        facts,
        image,
        now,
    } = case;
    let requested = facts.row.as_ref().and_then(|row| row.scan_requested_at);
    policy.enforces(&facts.key.repository)
        && image.kind() != ImageKind::Index
        && facts.trigger == Some(ScanTrigger::Manual)
        && facts.scan == Scan::Absent
        && facts.scan_start.is_none()
        && facts.judging_source(image).is_none()
        && image.status == ImageStatus::Active
        && requested.is_none_or(|at| now.duration_since(at) >= SCAN_REQUEST_INTERVAL)
        && !basis.blocks()
}

/// No result yet: within the grace that is normal, after it somebody must know.
fn waiting<'a>(case: ImageCase<'a>, of: &[String]) -> Draft<'a> {
    let ImageCase {
        policy,
        facts,
        image,
        now,
    } = case;
    let draft = Draft::new(case);
    let since = image.available_since().unwrap_or(now);
    // The wait for a result that is not visible yet ends by itself. One alert for the region says that findings may not be
    // read.
    let by_itself = match &facts.scan {
        Scan::NotVisible => Some(words::NOT_VISIBLE.to_owned()),
        Scan::Refused(why) => Some(words::refused(why)),
        Scan::Absent
        | Scan::InProgress
        | Scan::Archived
        | Scan::Unavailable(_)
        | Scan::Explained(..)
        | Scan::Complete(_) => None,
    };
    let overdue = by_itself.is_none() && now.duration_since(since) > policy.scan.grace;
    // An index waits for other images now than it did before.
    let is_of_now = |row: &&Row| of.is_empty() && words::is_of_waiting(&row.reason);
    let prior = facts.row.as_ref().filter(is_of_now);
    let reason = by_itself.unwrap_or_else(|| words::pending(facts.scan_start.as_ref(), prior, overdue));
    draft
        .state(State::Pending, words::on(of, reason))
        .alert(overdue.then_some(AlertKind::ScanOverdue))
}

/// Whether a recent pull or workload is recorded for the image, or for a child of it.
fn is_known_to_be_used(case: ImageCase<'_>) -> bool {
    let ImageCase {
        policy,
        facts,
        image,
        now,
    } = case;
    let of_children = facts.children().iter().filter_map(|child| child.row.as_ref()?.used_on);
    let pulled = facts.children_pulled.iter().flatten().copied();
    let own = facts.row.as_ref().and_then(|row| row.used_on);
    let used = of_children.chain(pulled).chain(own).chain(image.last_pulled_at);
    let rules = policy.block(&facts.key.repository);
    // It was Inspector that has let it go, which counts workloads.
    used.max()
        .is_some_and(|at| now.duration_since(at) <= rules.in_use(true))
}

#[cfg(test)]
mod tests;
