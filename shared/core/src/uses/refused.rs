//! The workloads that could not pull a blocked image, and whose alert was sent.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{UseRow, Workload};
use crate::{
    ids::{AccountId, ImageKey},
    notice::{AlertKind, LEASE_SECONDS},
    text::hex,
};

/// For this time the same alert is not sent again: the scheduler of a task tries again and again.
const TOLD_FOR: SignedDuration = SignedDuration::from_hours(24);

/// The only form of this row that exists so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusedPullSchema {
    /// First form.
    #[serde(rename = "ecr-guard/refused-pull/v1")]
    V1,
}

/// That a service, or a family of tasks, could not pull a blocked image. Only the function `workloads` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedPull {
    /// Form of this document.
    pub schema: RefusedPullSchema,
    /// The image.
    pub image: ImageKey,
    /// Who could not pull it, as [`RefusedPull::who`] says it.
    pub who: String,
    /// The id of the alert, the same however often it is delivered.
    pub id: String,
    /// When an invocation claimed the alert.
    pub claimed_at: Timestamp,
    /// That invocation.
    pub claimed_by: String,
    /// When the topic accepted it. `None`: still pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// Number of the write that made this row; a write must name the one before (optimistic lock).
    pub generation: u64,
}

impl RefusedPull {
    /// The service or family, whatever its revision: `222222222222/prod/ecs-service/api`.
    pub fn who(workload: &Workload) -> String {
        let kind = serde_json::to_value(workload.kind).ok();
        let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or_default();
        let within = workload.within.as_deref().unwrap_or_default();
        format!("{}/{within}/{kind}/{}", workload.source.account, workload.name)
    }

    /// The partition key: that of use rows, to which the role of `workloads` is kept.
    pub fn partition_key(account: &AccountId) -> String {
        UseRow::partition_key(account)
    }

    /// The sort key: `refused#<region>#<repository>#<digest>#<hash of who>`.
    pub fn sort_key(image: &ImageKey, who: &str) -> String {
        let who: String = hex(&Sha256::digest(who)).chars().take(16).collect();
        format!("refused#{}#{}#{}#{who}", image.region, image.repository, image.digest)
    }

    /// The row to claim the alert with; `None`: it was sent within a day, or another invocation is sending it.
    pub fn claim(before: Option<&Self>, image: &ImageKey, who: &str, actor: &str, now: Timestamp) -> Option<Self> {
        let since = |at: Timestamp| now.duration_since(at);
        if let Some(before) = before {
            let is_told = before.sent_at.is_some_and(|at| since(at) < TOLD_FOR);
            let is_being_told = before.sent_at.is_none()
                && before.claimed_by != actor
                && since(before.claimed_at) < SignedDuration::from_secs(LEASE_SECONDS);
            if is_told || is_being_told {
                return None;
            }
        }
        let generation = before.map_or(0, |before| before.generation).saturating_add(1);
        let owed = before.filter(|before| before.sent_at.is_none());
        Some(Self {
            schema: RefusedPullSchema::V1,
            image: image.clone(),
            who: who.to_owned(),
            // An alert that is pending since an earlier attempt is the same alert.
            id: owed.map_or_else(|| id(image, who, now), |owed| owed.id.clone()),
            claimed_at: now,
            claimed_by: actor.to_owned(),
            sent_at: None,
            generation,
        })
    }

    /// The row once the alert is sent.
    #[must_use]
    pub fn told(self, now: Timestamp) -> Self {
        Self {
            sent_at: Some(now),
            generation: self.generation.saturating_add(1),
            ..self
        }
    }

    /// When the row may be forgotten (the table's time to live): a day after the same alert may be sent again.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.claimed_at.checked_add(TOLD_FOR + TOLD_FOR).ok()
    }
}

/// An alert of another day has another id, also when the row was forgotten in between.
fn id(image: &ImageKey, who: &str, now: Timestamp) -> String {
    let text = format!(
        "{}\0{}\0{who}\0{now}",
        AlertKind::PullRefused.as_str(),
        RefusedPull::sort_key(image, who)
    );
    hex(&Sha256::digest(text)).chars().take(32).collect()
}
