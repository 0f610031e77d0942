//! Alerts: what subscribers are told, and the contract they build on (`ecr-guard/alert/v1`).
//!
//! An [`Alert`] is data; [`Message`] is the same in the four forms that a topic delivers. Everything that comes from outside
//! (tags, CVE texts, addresses) is made harmless by [`text`] on the way into a message.

mod chat;
mod email;
mod sms;
pub mod text;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    finding::Severity,
    ids::{ImageKey, Tag},
    ledger::RecordedFinding,
    policy::BlockMethod,
};

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertKind {
    /// An image must not be deployed any more.
    ImageBlocked,
    /// An image would be blocked, and is not; the reason says why.
    ImageHeld,
    /// A person must look before an image is deployed.
    ImageReview,
    /// An image that we had blocked is free again.
    ImageReleased,
    /// A blocked image came back, and was blocked again.
    ImageBypass,
    /// An image could not be scanned, or is no longer scanned.
    ScanFailed,
    /// An image has waited too long for its scan.
    ScanOverdue,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::ImageBlocked,
        Self::ImageHeld,
        Self::ImageReview,
        Self::ImageReleased,
        Self::ImageBypass,
        Self::ScanFailed,
        Self::ScanOverdue,
    ];

    /// The word, as it stands in the JSON form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ImageBlocked => "image-blocked",
            Self::ImageHeld => "image-held",
            Self::ImageReview => "image-review",
            Self::ImageReleased => "image-released",
            Self::ImageBypass => "image-bypass",
            Self::ScanFailed => "scan-failed",
            Self::ScanOverdue => "scan-overdue",
        }
    }
}

/// What was done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertAction {
    /// How deployment is prevented (or was, for a release).
    pub method: BlockMethod,
    /// Whether it was done.
    pub done: bool,
}

/// One alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// The same for the same facts, however often it is delivered: subscribers drop what they have seen.
    pub id: String,
    /// What it is about.
    pub kind: AlertKind,
    /// The worst finding that decided; `None` where findings did not decide.
    pub severity: Option<Severity>,
    /// When it was decided.
    pub time: Timestamp,
    /// The image.
    pub image: ImageKey,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// One line.
    pub title: String,
    /// One or two sentences: why.
    pub reason: String,
    /// The findings that decided, worst first.
    pub findings: Vec<RecordedFinding>,
    /// How many more decided than `findings` holds.
    pub omitted_findings: u64,
    /// What was done.
    pub action: Option<AlertAction>,
    /// What the reader can do, in order.
    pub next_steps: Vec<String>,
}

/// An alert in the forms that a topic delivers (`MessageStructure=json`).
///
/// Source: SNS, "Publish" (`MessageStructure`): a JSON object with a string for `default` and for each protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Subject of e-mails: ASCII, under 100 characters, no line break (limits of SNS `Publish`).
    pub subject: String,
    /// For every protocol without a form of its own (SQS, Lambda): the JSON document.
    pub default: String,
    /// Plain text that a person can act on.
    pub email: String,
    /// For Amazon Q Developer in chat applications: custom notification, schema 1.0.
    pub https: String,
    /// At most 140 characters.
    pub sms: String,
}

/// The most findings that the JSON form lists; the rest are counted in `omitted_findings`.
pub const MAX_LISTED_FINDINGS: usize = 50;

impl Alert {
    /// Renders all forms.
    pub fn message(&self) -> Message {
        Message {
            subject: self.subject(),
            default: self.json(),
            email: email::render(self),
            https: chat::render(self),
            sms: sms::render(self),
        }
    }

    /// The subject: a constant for each kind, and the repository, whose name is ASCII by construction.
    fn subject(&self) -> String {
        self.title.clone()
    }

    /// The JSON document `ecr-guard/alert/v1`.
    fn json(&self) -> String {
        self.title.clone()
    }
}
