//! A registry as a whole: its settings, and what is remembered of it.

pub mod access;
pub mod checks;
pub mod decide;
pub mod failing;
pub mod survey;

use std::collections::BTreeSet;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use access::RefusedAccess;
use failing::FailingCall;

use crate::{
    finding::{ScanMode, ScanTrigger},
    ids::{RegistryKey, TopicArn},
    notice::RegistryAlertKind,
    repository::posture::{ListedRepository, ListedSettings},
};

/// Settings that hold for all repositories of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySettings {
    /// How it scans.
    pub scanning: ScanMode,
    /// The images that it scans by itself.
    pub scan_rules: Vec<ScanRule>,
    /// Where its images are copied to.
    pub replication: Vec<ReplicationRule>,
    /// How many rules there are for signing images on push; 0: none are signed by ECR.
    pub signing_rules: usize,
}

impl RegistrySettings {
    /// The settings of a repository that are known without a call for it.
    pub fn of(&self, listed: &ListedRepository) -> ListedSettings {
        ListedSettings {
            repository: listed.repository.clone(),
            trigger: if self.scans(&listed.name) {
                ScanTrigger::Automatic
            } else {
                ScanTrigger::Manual
            },
            scan_mode: self.scanning,
        }
    }
}

/// A rule of the scanning configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRule {
    /// ECR's word: `SCAN_ON_PUSH`, `CONTINUOUS_SCAN`, `MANUAL`.
    pub frequency: String,
    /// Patterns of repository names, with `*` for anything.
    pub filters: Vec<String>,
}

/// A rule of the replication configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationRule {
    /// Where to: account and region.
    pub destinations: Vec<RegistryKey>,
    /// Prefixes of names of repositories; none: all repositories.
    pub prefixes: Vec<String>,
}

/// The row of one registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryRow {
    /// Form of this document.
    pub schema: RegistryRowSchema,
    /// The registry.
    pub registry: RegistryKey,
    /// Number of the write that made this row; a write must name the one before.
    pub generation: u64,
    /// Alerts that were sent or are pending; sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<RegistryNote>,
    /// The last digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<DigestRecord>,
    /// Findings that workers may not read, by cause.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedAccess>,
    /// Calls that fail with errors that pass by themselves, by cause.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<FailingCall>,
    /// Alerts about those, sent or pending. Not among [`notes`](Self::notes): the version before does not know the kind, and
    /// must be able to read the row after a rollback.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes_of_failing: Vec<RegistryNote>,
    /// When the last sweep began of which every repository was left to the workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swept: Option<Timestamp>,
}

impl RegistryRow {
    /// Nothing is remembered yet.
    pub fn new(registry: RegistryKey) -> Self {
        Self {
            schema: RegistryRowSchema::V1,
            registry,
            generation: 0,
            notes: Vec::new(),
            digest: None,
            refused: Vec::new(),
            failing: Vec::new(),
            notes_of_failing: Vec::new(),
            swept: None,
        }
    }
}

/// A condition that lasts, and of which a topic is notified once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RegistryNote {
    /// The kind of the alert.
    pub kind: RegistryAlertKind,
    /// The subject.
    pub about: String,
    /// The topic.
    pub topic: TopicArn,
    /// The id of the alert, the same however often it is delivered.
    pub id: String,
    /// When an invocation undertook to send it.
    pub claimed_at: Timestamp,
    /// That invocation.
    pub claimed_by: String,
    /// When the topic accepted it. `None`: still pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

/// The digest of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestRecord {
    /// The day, in UTC.
    pub day: Date,
    /// When an invocation undertook to send it.
    pub claimed_at: Timestamp,
    /// That invocation.
    pub claimed_by: String,
    /// The topics that accepted it.
    pub sent: BTreeSet<TopicArn>,
}

/// The only form of a registry's row that exists so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistryRowSchema {
    /// First form.
    #[serde(rename = "ecr-guard/registry/v1")]
    V1,
}
