//! ECR's replication backfill: copies what was there before replication was configured, and what was missed.
//!
//! It is for a whole registry and one destination, and at most one of them runs for a destination (API reference of ECR,
//! `StartReplicationBackfill`).

use jiff::{SignedDuration, Timestamp};

use crate::{
    ids::{Region, RegistryKey},
    replication::ledger::{BackfillFailure, BackfillRow, BackfillRowSchema, BackfillStatus},
};

impl BackfillStatus {
    /// Whether something of it is still to come.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Claimed | Self::Running)
    }

    /// The word for people.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Claimed => "about to begin",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Refused => "not begun",
        }
    }
}

/// A backfill as the registry describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// ECR's id of it.
    pub id: String,
    /// The region that is copied to.
    pub to: Region,
    /// How it stands.
    pub status: BackfillStatus,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// Why it failed as a whole.
    pub failure: Option<String>,
}

/// The result of a request for a backfill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackfillStart {
    /// It has begun, under this id.
    Started(String),
    /// Another one to this destination runs.
    AnotherRuns,
    /// ECR does not begin it: there is no rule for the destination, or too many run.
    Refused(String),
}

/// The hours within which a backfill is not begun again: most take less than one, large ones days (ECR user guide, "Replication
/// backfill").
pub const AGAIN_HOURS: i64 = 24;

/// For images that the last backfill did not copy, the wait doubles with each one that is begun for them: what failed is likely to fail
/// again, and each image and tag is billed. At most so often: 1, 2, 4, 8, 16 days.
const MAX_DOUBLINGS: u32 = 4;

/// The least time between two checks of a running backfill, whichever repository waits for it.
const LOOK: SignedDuration = SignedDuration::from_mins(10);

/// The purpose of a backfill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackfillWish {
    /// Nothing.
    None,
    /// Only for images that were there when the last one began, which did not copy them.
    Again,
    /// For images among which some are that no backfill could copy yet.
    New,
}

impl BackfillWish {
    /// The purpose of a backfill for images that are missing and became pullable at these times, as far as known.
    pub fn of(row: Option<&BackfillRow>, missing: impl IntoIterator<Item = Option<Timestamp>>) -> Self {
        let mut wish = Self::None;
        for since in missing {
            let is_new = match (row, since) {
                (None, _) => true,
                // Where half of the last one failed, so would the next one.
                (Some(row), Some(since)) => row.status != BackfillStatus::Failed && since > row.claimed_at,
                (Some(_), None) => false,
            };
            if is_new {
                return Self::New;
            }
            wish = Self::Again;
        }
        wish
    }
}

/// How long after it began another backfill is not begun for what this one did not copy.
pub fn wait(row: &BackfillRow) -> SignedDuration {
    SignedDuration::from_hours(AGAIN_HOURS << row.repeated.min(MAX_DOUBLINGS))
}

/// The plan for a backfill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackfillPlan {
    /// Nothing.
    Leave,
    /// Write this row, then start one.
    Start(Box<BackfillRow>),
    /// Look how it stands.
    Look,
}

/// From where to where images are copied.
#[derive(Debug, Clone, Copy)]
pub struct Lane<'a> {
    /// The registry that is copied from.
    pub from: &'a RegistryKey,
    /// The region that is copied to.
    pub to: &'a Region,
}

/// Decides whether a backfill is begun or checked.
pub fn decide(
    row: Option<&BackfillRow>,
    lane: Lane<'_>,
    wish: BackfillWish,
    actor: &str,
    now: Timestamp,
) -> BackfillPlan {
    let mut repeated = 0;
    if let Some(row) = row {
        let looked = now.duration_since(row.looked_at);
        if row.status.is_open() {
            return if looked >= LOOK || row.claimed_by == actor && row.id.is_none() {
                BackfillPlan::Look
            } else {
                BackfillPlan::Leave
            };
        }
        let never_begun = row.status == BackfillStatus::Refused && row.failure.is_none();
        let ago = now.duration_since(row.claimed_at);
        let is_again = wish == BackfillWish::Again;
        let at_least = if is_again {
            wait(row)
        } else {
            SignedDuration::from_hours(AGAIN_HOURS)
        };
        if !never_begun && ago < at_least {
            return BackfillPlan::Leave;
        }
        // After a long time in which nobody wanted one, what was in its way may be gone.
        let is_forgotten = ago > wait(row).saturating_mul(2);
        repeated = match (never_begun, is_forgotten) {
            (false, true) => 0,
            (false, false) if is_again => (row.repeated + 1).min(MAX_DOUBLINGS),
            _ => row.repeated,
        };
    }
    if wish == BackfillWish::None {
        return BackfillPlan::Leave;
    }
    BackfillPlan::Start(Box::new(BackfillRow {
        schema: BackfillRowSchema::V1,
        from: lane.from.clone(),
        to: lane.to.clone(),
        generation: row.map_or(0, |row| row.generation) + 1,
        repeated,
        claimed_at: now,
        claimed_by: actor.to_owned(),
        id: None,
        status: BackfillStatus::Claimed,
        looked_at: now,
        failure: None,
        failures: Vec::new(),
    }))
}

/// The row after ECR was asked to begin.
pub fn begun(row: &BackfillRow, start: BackfillStart, now: Timestamp) -> BackfillRow {
    let mut row = BackfillRow {
        generation: row.generation + 1,
        looked_at: now,
        ..row.clone()
    };
    match start {
        BackfillStart::Started(id) => {
            row.id = Some(id);
            row.status = BackfillStatus::Running;
        }
        // A backfill of somebody else serves as well. The next check finds which one it is.
        BackfillStart::AnotherRuns => row.status = BackfillStatus::Running,
        BackfillStart::Refused(why) => {
            row.status = BackfillStatus::Refused;
            row.failure = Some(why);
        }
    }
    row
}

/// The backfill that a row speaks of, among those of the registry: by its id, or else the latest one that began since.
pub fn find<'a>(row: &BackfillRow, all: &'a [Backfill]) -> Option<&'a Backfill> {
    let there = all.iter().filter(|backfill| backfill.to == row.to);
    match &row.id {
        Some(id) => there.into_iter().find(|backfill| backfill.id == *id),
        None => there
            .filter(|backfill| backfill.status.is_open() || backfill.started_at >= Some(row.claimed_at))
            .max_by_key(|backfill| backfill.started_at),
    }
}

/// The row after a check: `found` is the backfill, `failures` the images that it could not copy, if it has ended.
pub fn looked(
    row: &BackfillRow,
    found: Option<&Backfill>,
    failures: Vec<BackfillFailure>,
    now: Timestamp,
) -> BackfillRow {
    let (status, id, failure) = match found {
        Some(found) => (found.status.clone(), Some(found.id.clone()), found.failure.clone()),
        None => {
            // ECR forgets a backfill after 90 days. Without an id, it was claimed and never begun.
            let forgotten = row.id.as_ref().map(|_| "ECR does not know it any more".to_owned());
            (BackfillStatus::Refused, row.id.clone(), forgotten)
        }
    };
    BackfillRow {
        generation: row.generation + 1,
        id,
        status,
        failure,
        failures,
        looked_at: now,
        ..row.clone()
    }
}
