//! An alert about an image as data, the forms that it is rendered to, and what all forms have in common.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    alert::exception::ExceptionEntry,
    finding::{Fix, Severity},
    ids::{ImageKey, Tag},
    ledger::RecordedFinding,
    notice::{AlertKind, Change},
    policy::BlockMethod,
    text,
};

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
    /// Entries to propose for the policy, if the findings do no harm: for the worst, at most [`MAX_EXCEPTIONS`].
    pub exceptions: Vec<ExceptionEntry>,
}

/// The most exceptions that an alert proposes: whoever needs more should rather fix the image.
pub const MAX_EXCEPTIONS: usize = 5;

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

/// The most tags that the JSON form lists; the rest are counted in `omitted_tags`. ECR allows 1,000 for an image.
pub const MAX_LISTED_TAGS: usize = 100;

/// The most bytes that [`Message::body`] has. SNS takes 256 KiB; what is left is for its own envelope on the way to subscribers.
///
/// Source: API reference of SNS, "Publish" (`Message`).
pub const MAX_MESSAGE_BYTES: usize = 200 * 1024;

/// SNS wants fewer than 100 characters. Source: API reference of SNS, "Publish" (`Subject`).
pub(super) const MAX_SUBJECT: usize = 99;

// Limits of the parts, in characters. Real values are far shorter; these only keep a message within its size.
pub(super) const MAX_ID: usize = 100;
pub(super) const MAX_TITLE: usize = 200;
pub(super) const MAX_REASON: usize = 1000;
pub(super) const MAX_NAME: usize = 100;
pub(super) const MAX_VERSION: usize = 60;
/// Room for an AWS command with the longest repository name and digest.
pub(super) const MAX_STEP: usize = 800;
pub(super) const MAX_STEPS: usize = 8;

impl Alert {
    /// How many findings decided that a list of the first `listed` does not have.
    pub(super) fn beyond(&self, listed: usize) -> u64 {
        let unlisted = u64::try_from(self.findings.len().saturating_sub(listed)).unwrap_or(u64::MAX);
        self.omitted_findings.saturating_add(unlisted)
    }

    /// What a reader must know from two words. The state is called `Held`; to a reader that would sound like "held back".
    pub(super) fn word(&self) -> &'static str {
        match self.kind {
            AlertKind::ImageBlocked | AlertKind::ImageBypass => match &self.action {
                Some(AlertAction { done: false, .. }) => "NOT BLOCKED",
                Some(AlertAction {
                    method: BlockMethod::Flag,
                    ..
                })
                | None => "DO NOT DEPLOY",
                Some(_) if self.kind == AlertKind::ImageBypass => "BLOCKED AGAIN",
                Some(_) => "BLOCKED",
            },
            AlertKind::ImageHeld => "NOT BLOCKED",
            AlertKind::BlockLimit => "BLOCK LIMIT REACHED",
            AlertKind::ImageReview => "REVIEW",
            AlertKind::ImageReleased => "RELEASED",
            AlertKind::ScanFailed => "NOT SCANNED",
            AlertKind::ScanOverdue => "SCAN OVERDUE",
        }
    }

    /// What was done in the registry, and what that means to whoever pulls.
    pub(super) fn effect(&self) -> &'static str {
        let Some(action) = &self.action else {
            return "Nothing was changed in the registry.";
        };
        // In a release, the method is the one that is over: `done` says nothing about it.
        match (self.kind, action.method, action.done) {
            (AlertKind::ImageReleased, BlockMethod::Archive, _) => {
                "The image was taken out of the archive. Pulls by tag and by digest work again."
            }
            (AlertKind::ImageReleased, BlockMethod::QuarantineTag, _) => {
                "The image has its tags back. Pulls by tag work again."
            }
            (AlertKind::ImageReleased, BlockMethod::Flag, _) => {
                "The image is no longer flagged. Nothing was changed in the registry."
            }
            (_, BlockMethod::Archive, true) => {
                "The image was moved to the archive. Pulls by tag and by digest answer \"not found\" (404). Nothing that already \
                 runs is stopped; what has to pull the image again, such as a new task, will not start. The image and its tags are \
                 kept, and it can be restored."
            }
            (_, BlockMethod::QuarantineTag, true) => {
                "The image lost its tags and got one that begins with \"blocked-\". Pulls by tag fail; pulls by digest still work. \
                 Nothing that already runs is stopped. The image is kept, and its tags can be restored."
            }
            (_, BlockMethod::Flag, true) => {
                "Nothing was changed in the registry. The image can still be pulled: do not deploy it."
            }
            (_, BlockMethod::Archive, false) => {
                "NOT DONE: the image was not moved to the archive. It can still be pulled and deployed."
            }
            (_, BlockMethod::QuarantineTag, false) => {
                "NOT DONE: the image did not lose its tags. It can still be pulled and deployed."
            }
            (_, BlockMethod::Flag, false) => {
                "NOT DONE: nothing was changed in the registry. The image can still be pulled and deployed."
            }
        }
    }
}

impl Message {
    /// What is given to `Publish` as the message, with `MessageStructure=json`: one object with a string for each protocol.
    pub fn body(&self) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            default: &'a str,
            email: &'a str,
            https: &'a str,
            sms: &'a str,
        }
        to_json(&Body {
            default: &self.default,
            email: &self.email,
            https: &self.https,
            sms: &self.sms,
        })
    }
}

/// The steps that an alert lists.
pub(super) fn listed_steps(steps: &[String]) -> impl Iterator<Item = String> {
    steps.iter().take(MAX_STEPS).map(|step| text::line(step, MAX_STEP))
}

/// The settings that an alert lists: at most `most`, none of whose values is longer than `longest`.
pub(super) fn listed_changes(changes: &[Change], most: usize, longest: usize) -> impl Iterator<Item = Change> {
    let line = move |value: &String| text::line(value, longest);
    changes.iter().take(most).map(move |change| Change {
        setting: line(&change.setting),
        old: line(&change.old),
        new: line(&change.new),
    })
}

/// Why there is no version to go to.
pub(super) fn without_version(fix: Fix) -> &'static str {
    match fix {
        Fix::Available => "fix available",
        Fix::Unavailable => "no fix yet",
        Fix::Unknown => "fix not known",
    }
}

/// RFC 3339 in UTC, to the second.
pub(super) fn time(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

pub(super) fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// Serializes one of the structs of this module. They have neither maps with keys that are not strings nor serializers that can
/// fail, so there is always a document.
pub(super) fn to_json(document: &impl Serialize) -> String {
    serde_json::to_string(document).unwrap_or_default()
}
