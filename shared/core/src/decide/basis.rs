//! The basis of the verdict on an image: its findings, the lack of a scan, or nothing yet.

use crate::{
    decide::{facts::ImageCase, family::Children, words},
    evaluate::{Evaluation, Verdict, evaluate, evaluate_remembered, together},
    finding::{NoScan, Scan, ScanStart},
    ledger::{Row, ScanRecord},
    policy::{Action, NoScanAction},
    state::State,
};

/// The basis of a verdict.
pub(super) enum Basis {
    /// On findings: those of the scanner, or those that the ledger remembers.
    Findings(Evaluation, Option<ScanRecord>),
    /// There is no usable scan.
    NoScan(NoScan),
    /// On nothing yet: the scan will come.
    Waiting,
}

impl Basis {
    /// Whether it asks for a block.
    pub(super) fn blocks(&self) -> bool {
        matches!(self, Self::Findings(evaluation, _) if evaluation.verdict == Verdict::Block)
    }
}

/// The basis of the verdict on an image; for an index, also the names of the children that are the reason.
pub(super) fn basis(case: ImageCase<'_>) -> (Basis, Vec<String>) {
    if case.is_index() {
        of_index(case)
    } else {
        (of_image(case), Vec::new())
    }
}

/// The basis for an index: its children; and its own row, as long as one of the children is not known again yet.
fn of_index(case: ImageCase<'_>) -> (Basis, Vec<String>) {
    let ImageCase {
        policy,
        facts,
        image,
        now,
    } = case;
    let sum = sum(case);
    let known = facts
        .row
        .as_ref()
        .filter(|row| row.closed_at.is_none() && row.state != State::Pending && row.no_scan.is_none())
        .filter(|row| !row.is_not_an_image())
        // An image that was blocked for a tag or with its source, before its children were evaluated, says nothing about
        // findings.
        .filter(|row| !row.is_unjudged());
    let Some(row) = known.filter(|_| sum.incomplete) else {
        return (sum.basis, sum.of);
    };
    let names = facts
        .children()
        .iter()
        .fold(facts.names(image), |names, child| child.names(names));
    let remembered = evaluate_remembered(policy, row, &names, now);
    let waits = matches!(sum.basis, Basis::Waiting) || facts.children().is_empty();
    // As with an image: what is not known any more does not make a blocked index better, and a verdict stands until the next one.
    if waits || remembered.verdict == Verdict::Block && !sum.basis.blocks() {
        return (Basis::Findings(remembered, None), Vec::new());
    }
    (sum.basis, sum.of)
}

fn of_image(case: ImageCase<'_>) -> Basis {
    let ImageCase {
        policy,
        facts,
        image,
        now,
    } = case;
    let names = facts.names(image);
    // A blocked or reviewed image that was deleted and pushed again is what it was; of any other, nothing is remembered.
    let prior = facts
        .row
        .as_ref()
        .filter(|row| {
            row.closed_at.is_none() || matches!(row.state, State::Blocked | State::BlockDeferred | State::Review)
        })
        // An entry that was no image was not evaluated.
        .filter(|row| !row.is_not_an_image());
    let remembered = |row: &Row| match &row.no_scan {
        Some(why) => Basis::NoScan(why.clone()),
        None => {
            let row = facts.row_with_epss(row);
            Basis::Findings(evaluate_remembered(policy, &row, &names, now), row.scan.clone())
        }
    };
    if let Some(source) = facts.judging_source(image) {
        return remembered(source);
    }
    match (&facts.scan, &facts.scan_start, prior) {
        // An empty answer that does not even say when it was complete does not free what is known to be bad.
        (Scan::Complete(findings), _, Some(row))
            if findings.completed_at.is_none() && findings.shows_none() && is_known_bad(row) =>
        {
            remembered(row)
        }
        (Scan::Complete(findings), _, _) => {
            let scan = ScanRecord {
                mode: findings.mode,
                completed_at: findings.completed_at,
                counts_use: findings.counts_use(),
            };
            let findings = facts.with_epss(findings);
            Basis::Findings(evaluate(policy, &names, &findings, now), Some(scan))
        }
        // A result that is missing now does not make a blocked image better. Without the finding that blocked it, the image is
        // only unknown.
        (Scan::Unavailable(why) | Scan::Explained(why, _), _, Some(row))
            if matches!(row.state, State::Blocked | State::BlockDeferred) =>
        {
            match remembered(row) {
                Basis::Findings(evaluation, scan) if evaluation.verdict == Verdict::Block => {
                    Basis::Findings(evaluation, scan)
                }
                Basis::Findings(..) | Basis::NoScan(_) | Basis::Waiting => Basis::NoScan(why.clone()),
            }
        }
        (Scan::Unavailable(why) | Scan::Explained(why, _), _, _) => Basis::NoScan(why.clone()),
        (
            Scan::Absent | Scan::InProgress | Scan::NotVisible | Scan::Refused(_) | Scan::Archived,
            Some(ScanStart::Unsupported),
            _,
        ) => Basis::NoScan(NoScan::Unsupported),
        (
            Scan::Absent | Scan::InProgress | Scan::NotVisible | Scan::Refused(_) | Scan::Archived,
            Some(ScanStart::NotOffered(_)),
            _,
        ) => Basis::NoScan(NoScan::NotCovered),
        // A verdict stands until the next result is there.
        (Scan::Absent | Scan::InProgress | Scan::NotVisible | Scan::Refused(_) | Scan::Archived, _, Some(row))
            if row.state != State::Pending && !row.is_unjudged() =>
        {
            remembered(row)
        }
        (Scan::Absent | Scan::InProgress | Scan::NotVisible | Scan::Refused(_) | Scan::Archived, _, _) => {
            Basis::Waiting
        }
    }
}

/// Whether an image is blocked, or its block deferred, for findings.
fn is_known_bad(row: &Row) -> bool {
    matches!(row.state, State::Blocked | State::BlockDeferred)
        && row.findings.iter().any(|finding| finding.action == Action::Block)
}

/// The sum of the children of an index.
struct Sum {
    /// The basis of the verdict.
    basis: Basis,
    /// The images that are the reason, by name.
    of: Vec<String>,
    /// Not all of them are known.
    incomplete: bool,
}

/// Adds up the children of an index: the worst decides. A child that still waits comes before one that may be deployed, and
/// after one that must not.
fn sum(case: ImageCase<'_>) -> Sum {
    let ImageCase {
        policy,
        facts,
        image,
        now,
    } = case;
    let Children::Known(children) = &facts.children else {
        return Sum {
            basis: Basis::NoScan(NoScan::Unsupported),
            of: Vec::new(),
            incomplete: true,
        };
    };
    let mut judged: Vec<(String, Evaluation)> = Vec::new();
    let mut unknown: Vec<(String, NoScan)> = Vec::new();
    let mut waiting = Vec::new();
    for child in children.iter().filter(|child| !child.is_not_an_image()) {
        // A child that was only evaluated by its tag so far waits for its scan like any other.
        let row = child
            .open_row()
            .filter(|row| row.state != State::Pending && !row.waits_behind_its_tag());
        match row {
            None => waiting.push(child.name()),
            Some(Row { no_scan: Some(why), .. }) => unknown.push((child.name(), why.clone())),
            Some(row) => {
                let names = child.names(facts.names(image));
                judged.push((child.name(), evaluate_remembered(policy, row, &names, now)));
            }
        }
    }
    if facts.more_children > 0 {
        unknown.push((words::more_children(facts.more_children), NoScan::Unsupported));
    }
    let incomplete = !(waiting.is_empty() && unknown.is_empty());
    let verdict = judged.iter().map(|(_, evaluation)| evaluation.verdict).max();
    let absence = unknown.iter().map(|(_, why)| policy.without_scan(why)).max();
    let by_findings = match (verdict, absence) {
        (Some(Verdict::Block), _) => true,
        (_, Some(NoScanAction::Block)) => false,
        (Some(Verdict::Review), _) => true,
        (_, Some(NoScanAction::Review)) => false,
        _ if !waiting.is_empty() => {
            return Sum {
                basis: Basis::Waiting,
                of: waiting,
                incomplete,
            };
        }
        (_, absence) => absence.is_none(),
    };
    let (basis, of) = if by_findings {
        let worst = judged
            .iter()
            .filter(|(_, evaluation)| Some(evaluation.verdict) == verdict);
        let of = match verdict {
            // It is the same on all of them.
            None | Some(Verdict::Pass) => Vec::new(),
            Some(Verdict::Review | Verdict::Block) => worst.map(|(name, _)| name.clone()).collect(),
        };
        let evaluations = judged.into_iter().map(|(_, evaluation)| evaluation);
        (Basis::Findings(together(evaluations), None), of)
    } else {
        unknown.retain(|(_, why)| Some(policy.without_scan(why)) == absence);
        let why = unknown.first().map_or(NoScan::Unsupported, |(_, why)| why.clone());
        unknown.retain(|(_, other)| *other == why);
        let of = unknown.into_iter().map(|(name, _)| name).collect();
        (Basis::NoScan(why), of)
    };
    Sum { basis, of, incomplete }
}
