//! Alerts: their kinds, those that were sent or are pending, and the lease of the invocation that sends them.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::text::hex;

/// The kind of an alert about an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertKind {
    /// An image must not be deployed any more.
    ImageBlocked,
    /// An image should be blocked, and a rule defers the block; the reason names the rule. Rows keep the name of version 0.1.
    #[serde(rename = "image-held", alias = "block-deferred")]
    BlockDeferred,
    /// A person must look before an image is deployed.
    ImageReview,
    /// An image that we had blocked is free again.
    ImageReleased,
    /// A blocked image came back, and was blocked again.
    ImageBypass,
    /// The number of blocks in an hour has reached its limit: the blocks of this image and of all further ones are deferred.
    BlockLimit,
    /// An image could not be scanned, or is no longer scanned.
    ScanFailed,
    /// An image has waited too long for its scan.
    ScanOverdue,
    /// A workload could not pull an image, because it is blocked.
    PullRefused,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::ImageBlocked,
        Self::BlockDeferred,
        Self::ImageReview,
        Self::ImageReleased,
        Self::ImageBypass,
        Self::BlockLimit,
        Self::ScanFailed,
        Self::ScanOverdue,
        Self::PullRefused,
    ];

    /// The word, as it stands in the JSON form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ImageBlocked => "image-blocked",
            Self::BlockDeferred => "block-deferred",
            Self::ImageReview => "image-review",
            Self::ImageReleased => "image-released",
            Self::ImageBypass => "image-bypass",
            Self::BlockLimit => "block-limit",
            Self::ScanFailed => "scan-failed",
            Self::ScanOverdue => "scan-overdue",
            Self::PullRefused => "pull-refused",
        }
    }

    /// The word of the JSON form, from a stored word: version 0.1 said `image-held`. A word of a later version stays as it is.
    pub fn shown_of(stored: &str) -> &str {
        match stored {
            "image-held" => Self::BlockDeferred.as_str(),
            other => other,
        }
    }
}

/// The kind of an alert about a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepositoryAlertKind {
    /// A tag breaks the rules for tags.
    TagViolation,
    /// A tag was moved to another image.
    TagMoved,
    /// A tag that we removed was another image's by then.
    TagTaken,
    /// An image was deleted when we removed a tag.
    ImageLost,
    /// A setting is not as the policy says, and was not repaired.
    PostureDrift,
    /// A setting was not as the policy says, and was repaired.
    PostureRepaired,
    /// The lifecycle policy was set.
    LifecycleRepaired,
    /// The lifecycle policy is not as the policy says, and was not set.
    LifecycleHeld,
    /// The lifecycle policy that is set takes images that workloads use.
    LifecycleInUse,
    /// The key cannot be used.
    KeyUnhealthy,
    /// ECR gave up on copying an image to another region.
    ReplicationFailed,
    /// Images are not in another region yet, or came late.
    ReplicationLate,
    /// A copy from another region is here, and something of it is missing.
    ReplicaIncomplete,
    /// The gate has refused a deployment.
    DeploymentRefused,
}

impl RepositoryAlertKind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::TagViolation,
        Self::TagMoved,
        Self::TagTaken,
        Self::ImageLost,
        Self::PostureDrift,
        Self::PostureRepaired,
        Self::LifecycleRepaired,
        Self::LifecycleHeld,
        Self::LifecycleInUse,
        Self::KeyUnhealthy,
        Self::ReplicationFailed,
        Self::ReplicationLate,
        Self::ReplicaIncomplete,
        Self::DeploymentRefused,
    ];

    /// The word, as it stands in the JSON form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TagViolation => "tag-violation",
            Self::TagMoved => "tag-moved",
            Self::TagTaken => "tag-taken",
            Self::ImageLost => "image-lost",
            Self::PostureDrift => "posture-drift",
            Self::PostureRepaired => "posture-repaired",
            Self::LifecycleRepaired => "lifecycle-repaired",
            Self::LifecycleHeld => "lifecycle-held",
            Self::LifecycleInUse => "lifecycle-in-use",
            Self::KeyUnhealthy => "key-unhealthy",
            Self::ReplicationFailed => "replication-failed",
            Self::ReplicationLate => "replication-late",
            Self::ReplicaIncomplete => "replica-incomplete",
            Self::DeploymentRefused => "deployment-refused",
        }
    }

    /// Whether it is about a condition that lasts, and not about an event: then one alert is sent for as long as it lasts.
    pub fn lasts(self) -> bool {
        match self {
            Self::TagViolation
            | Self::PostureDrift
            | Self::LifecycleHeld
            | Self::LifecycleInUse
            | Self::KeyUnhealthy
            | Self::ReplicationFailed
            | Self::ReplicationLate
            | Self::ReplicaIncomplete => true,
            Self::TagMoved
            | Self::TagTaken
            | Self::ImageLost
            | Self::PostureRepaired
            | Self::LifecycleRepaired
            | Self::DeploymentRefused => false,
        }
    }

    /// The state in two words, for a reader who reads no further.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::TagViolation => "TAG BREAKS RULES",
            Self::TagMoved => "TAG MOVED",
            Self::TagTaken => "TAG TAKEN",
            Self::ImageLost => "IMAGE LOST",
            Self::PostureDrift => "SETTINGS WRONG",
            Self::PostureRepaired => "SETTINGS REPAIRED",
            Self::LifecycleRepaired => "LIFECYCLE POLICY SET",
            Self::LifecycleHeld => "LIFECYCLE POLICY NOT SET",
            Self::LifecycleInUse => "IMAGE IN USE EXPIRES",
            Self::KeyUnhealthy => "KEY UNUSABLE",
            Self::ReplicationFailed => "COPY FAILED",
            Self::ReplicationLate => "COPY LATE",
            Self::ReplicaIncomplete => "COPY INCOMPLETE",
            Self::DeploymentRefused => "DEPLOYMENT REFUSED",
        }
    }

    /// The consequence that an SMS always names.
    pub(crate) fn sms_end(self) -> &'static str {
        match self {
            Self::KeyUnhealthy => "Pushes fail, soon pulls too.",
            Self::ReplicationFailed | Self::ReplicaIncomplete => "A failover would miss it.",
            Self::DeploymentRefused => "Rolled back.",
            Self::LifecycleInUse => "ECR takes it within 24 hours.",
            Self::TagViolation
            | Self::TagMoved
            | Self::TagTaken
            | Self::ImageLost
            | Self::PostureDrift
            | Self::PostureRepaired
            | Self::LifecycleRepaired
            | Self::LifecycleHeld
            | Self::ReplicationLate => "",
        }
    }
}

/// The kind of an alert about a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistryAlertKind {
    /// A setting of the registry is not what the policy needs.
    RegistryDrift,
    /// An exception ends soon.
    ExceptionExpiring,
    /// Findings may not be read for want of a permission.
    AccessMissing,
    /// A call has failed in sweep after sweep, so that images could not be reconciled.
    CallsFailing,
}

impl RegistryAlertKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [
        Self::RegistryDrift,
        Self::ExceptionExpiring,
        Self::AccessMissing,
        Self::CallsFailing,
    ];

    /// The word, as it stands in the JSON form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RegistryDrift => "registry-drift",
            Self::ExceptionExpiring => "exception-expiring",
            Self::AccessMissing => "access-missing",
            Self::CallsFailing => "calls-failing",
        }
    }

    /// The state in two words, for a reader who reads no further.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::RegistryDrift => "REGISTRY SETTINGS",
            Self::ExceptionExpiring => "EXCEPTION ENDS",
            Self::AccessMissing => "ACCESS MISSING",
            Self::CallsFailing => "CALLS FAIL",
        }
    }
}

/// A setting: as it was or is, and as the policy wants it or as it was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Change {
    /// Its name in the policy, such as `posture.tag_mutability`; for a tag that moved, the tag.
    pub setting: String,
    /// As it was found.
    pub old: String,
    /// The desired value; after a repair or a move, the value now.
    pub new: String,
}

/// For how long an invocation that undertook something is trusted to be at it. Longer than a function may run (30 seconds),
/// shorter than the minute after which Lambda retries a failed asynchronous invocation.
pub const LEASE_SECONDS: i64 = 45;

/// An alert that was sent or is pending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The kind of the alert.
    pub kind: RepositoryAlertKind,
    /// Its id, the same however often it is delivered.
    pub id: String,
    /// Its subject: the same kind with the same subject is not alerted again while it lasts.
    pub changes: Vec<Change>,
    /// The reason that it gives.
    pub reason: String,
    /// When an invocation undertook to act and to send it.
    pub claimed_at: Timestamp,
    /// That invocation.
    pub claimed_by: String,
    /// When the topic accepted it. `None`: still pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

impl Note {
    /// Whether another invocation has undertaken to send it, and may still be at it.
    pub fn is_undertaken_by_another(&self, actor: &str, now: Timestamp) -> bool {
        self.is_undertaken(now) && self.claimed_by != actor
    }

    /// Whether an invocation has undertaken to send it, and may still be at it.
    pub fn is_undertaken(&self, now: Timestamp) -> bool {
        let lease = SignedDuration::from_secs(LEASE_SECONDS);
        self.sent_at.is_none() && now.duration_since(self.claimed_at) < lease
    }

    /// Records that the pending ones are sent.
    pub fn all_sent(notes: &mut [Self], now: Timestamp) {
        for note in notes {
            note.sent_at = note.sent_at.or(Some(now));
        }
    }
}

/// The input of [`settle`].
pub(crate) struct Settle<'a> {
    pub(crate) prior: &'a [Note],
    pub(crate) told: Vec<(RepositoryAlertKind, Vec<Change>, String)>,
    /// Settings whose change no alert may report.
    pub(crate) open: &'a BTreeSet<String>,
    /// The subject, for the ids of alerts.
    pub(crate) subject: &'a str,
    pub(crate) generation: u64,
    pub(crate) actor: &'a str,
    pub(crate) now: Timestamp,
}

/// The notes of the next row, and the pending ones among them.
///
/// A condition that lasts is alerted once for as long as it is the same. An event is alerted each time that it happens; an
/// alert that was not sent stays pending, except for parts that turned out not to have happened.
pub(crate) fn settle(settle: Settle<'_>) -> (Vec<Note>, Vec<Note>) {
    let Settle {
        prior,
        told,
        open,
        subject,
        generation,
        actor,
        now,
    } = settle;
    let claim = |note: &Note| Note {
        claimed_at: now,
        claimed_by: actor.to_owned(),
        ..note.clone()
    };
    let (mut notes, mut owed): (Vec<Note>, Vec<Note>) = (Vec::new(), Vec::new());
    for (kind, changes, reason) in told {
        let same = prior.iter().find(|note| note.kind == kind && note.changes == changes);
        let note = match same {
            Some(note) if note.sent_at.is_some() && kind.lasts() => {
                notes.push(note.clone());
                continue;
            }
            Some(note) if note.sent_at.is_none() => Note { reason, ..claim(note) },
            _ => Note {
                kind,
                id: alert_id(subject, kind, generation),
                changes,
                reason,
                claimed_at: now,
                claimed_by: actor.to_owned(),
                sent_at: None,
            },
        };
        owed.push(note.clone());
        notes.push(note);
    }
    for note in prior.iter().filter(|note| !note.kind.lasts()) {
        if notes.iter().any(|other| other.kind == note.kind) {
            continue;
        }
        if note.sent_at.is_some() {
            notes.push(note.clone());
        } else {
            let mut note = claim(note);
            note.changes.retain(|change| !open.contains(&change.setting));
            if !note.changes.is_empty() {
                owed.push(note.clone());
                notes.push(note);
            }
        }
    }
    notes.sort_by_key(|note| note.kind);
    (notes, owed)
}

pub(crate) fn alert_id(subject: &str, kind: RepositoryAlertKind, generation: u64) -> String {
    let text = format!("{subject}\0{}\0{generation}", kind.as_str());
    hex(&Sha256::digest(text)).chars().take(32).collect()
}
