//! The alert about a workload that could not pull an image, because the image is blocked.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    alert::{AlertAction, image::ImageAlert},
    decide::{
        next_steps::{Situation, next_steps},
        step::proposed_exceptions,
        words,
    },
    ids::ImageRef,
    ledger::{RecordedFinding, Row},
    notice::AlertKind,
    policy::{Action, BlockMethod},
    state::State,
    text,
    uses::{RefusedPull, Workload},
};

/// The longest text of ECS that is quoted, in characters.
const MAX_QUOTE: usize = 200;

/// Whether the block is what refuses a pull of the image by this tag or digest.
pub fn refuses_pull(row: &Row, by: &ImageRef) -> bool {
    let method = row.block.as_ref().map(|block| block.method);
    row.closed_at.is_none()
        && row.state == State::Blocked
        && match (method, by) {
            (Some(BlockMethod::Archive), _) => true,
            (Some(BlockMethod::QuarantineTag), ImageRef::Tag(_)) => true,
            (Some(BlockMethod::QuarantineTag), ImageRef::Digest(_)) | (Some(BlockMethod::Flag) | None, _) => false,
        }
}

/// The alert: who could not pull the image, in the words of whatever starts it, why the image is blocked, and the ways out.
pub fn pull_refused(row: &Row, refused: &RefusedPull, by: &Workload, says: &str, now: Timestamp) -> ImageAlert {
    let kind = AlertKind::PullRefused;
    let deciding = |finding: &&RecordedFinding| finding.action == Action::Block;
    let findings: Vec<RecordedFinding> = row.findings.iter().filter(deciding).cloned().collect();
    let others = row.findings.iter().filter(|finding| !deciding(finding));
    let all_decide = findings.len() == row.findings.len();
    ImageAlert {
        id: refused.id.clone(),
        kind,
        state: row.state,
        severity: findings.iter().map(|finding| finding.severity).max(),
        time: now,
        image: row.image.clone(),
        tags: row.tags.clone(),
        title: words::title(kind, row, None),
        reason: format!(
            "Not started: {}. Amazon ECS says: \"{}\". {}",
            by.words(&row.image),
            text::line(says, MAX_QUOTE),
            row.reason
        ),
        release: None,
        hold: None,
        next_steps: next_steps(&Situation {
            kind,
            row,
            findings: &findings,
            hold: None,
            arrival: None,
            scanned: row.children.first().map_or(&row.image.digest, |child| &child.digest),
            policy: None,
        }),
        exceptions: proposed_exceptions(kind, &row.image.repository, &findings, now),
        omitted_findings: if all_decide { row.omitted_findings } else { 0 },
        other_findings: others.chain(&row.excepted).cloned().collect(),
        omitted_other_findings: if all_decide { 0 } else { row.omitted_findings },
        counts: match row.no_scan {
            None => row.counts.clone(),
            Some(_) => BTreeMap::new(),
        },
        action: row.block.as_ref().map(|block| AlertAction {
            method: block.method,
            done: true,
        }),
        findings,
    }
}
