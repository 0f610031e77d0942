//! The facts of one attempt, and how a refusal or a limit changes them.

use super::ahead::Answers;
use guard_core::{
    decide::{Effect, Facts, Limit, Step},
    ledger::{Block, Row},
    state::State,
    uses::Uses,
};
use guard_ports::{PortError, Pulled};

/// The facts about an image in one attempt.
pub(super) struct Attempt {
    pub(super) facts: Facts,
    /// The pulled images that the first round has found.
    pub(super) pulled: Option<Pulled>,
    /// Answers that were read before anything was asked.
    pub(super) answers: Option<Answers>,
    pub(super) not_read: NotRead,
    /// The scanner's refusal to say anything.
    pub(super) unscanned: Option<PortError>,
    /// The registry's refusal of what was planned first.
    pub(super) refused: Option<PortError>,
}

/// The reads that failed, and did not prevent the evaluation of an image.
#[derive(Debug, Default)]
pub(super) struct NotRead {
    /// Its manifest.
    pub(super) manifest: Option<PortError>,
    /// The findings of earlier alerts.
    pub(super) told: Option<PortError>,
}

impl Attempt {
    /// The registry has refused the change of a step. The facts are those of before, in a row that was claimed.
    pub(super) fn refuse(&mut self, step: Step, error: PortError) {
        let failure = Some(error.to_string());
        if step.effect.as_ref().is_some_and(Effect::blocks) {
            self.facts.block_failure = failure;
        } else {
            self.facts.release_failure = failure;
        }
        self.facts.row = Some(match self.facts.row.take() {
            Some(row) => before_refusal(row, &step.row),
            None => step.row,
        });
        self.refused = Some(error);
    }

    /// A step would have been one block too many in this hour. Nothing was done.
    pub(super) fn limit(&mut self, step: Step, limit: Limit) {
        self.facts.row = Some(unclaimed(self.facts.row.take(), step.row));
        self.facts.limit = Some(limit);
    }

    /// Workloads use the image by now. Nothing was done.
    pub(super) fn used(&mut self, step: Step, uses: Uses) {
        self.facts.row = Some(unclaimed(self.facts.row.take(), step.row));
        self.facts.uses = Some(uses);
    }
}

/// The facts before a step that the registry refused, in the version of the row that the ledger has now. Tags that a quarantine
/// may have taken already are remembered: the release gives them back.
fn before_refusal(row: Row, begun: &Row) -> Row {
    let begun_block = begun.block.as_ref().filter(|block| !block.tags.is_empty());
    let block = match (row.block, begun_block) {
        (Some(known), Some(begun)) => Some(Block {
            tags: begun.tags.clone(),
            ..known
        }),
        (known, begun) => known.or_else(|| begun.cloned()),
    };
    Row {
        generation: begun.generation,
        block,
        ..row
    }
}

/// The facts before a claimed step of which nothing was done, in the version of the row that the ledger has now: as if the row
/// had never been claimed.
fn unclaimed(row: Option<Row>, claimed: Row) -> Row {
    let generation = claimed.generation;
    let first = Row {
        state: State::Pending,
        block: None,
        alert: None,
        findings: Vec::new(),
        ..claimed
    };
    Row {
        generation,
        ..row.unwrap_or(first)
    }
}
