//! Alerts: what subscribers are told, and the contract they build on (`ecr-guard/alert/v1`).
//!
//! An [`Alert`] is data; [`Message`] is the same in the four forms that a topic delivers. Everything that comes from outside
//! (tags, CVE texts, addresses) is made harmless by [`text`] on the way into a message.

pub mod brief;
pub mod budget;
mod chat;
mod digest;
mod email;
mod exception;
pub mod registry;
pub mod repository;
mod sms;
pub mod summary;

pub use exception::ExceptionEntry;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
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
const MAX_SUBJECT: usize = 99;

// Limits of the parts, in characters. Real values are far shorter; these only keep a message within its size.
const MAX_ID: usize = 100;
const MAX_TITLE: usize = 200;
const MAX_REASON: usize = 1000;
const MAX_NAME: usize = 100;
const MAX_VERSION: usize = 60;
/// Room for an AWS command with the longest repository name and digest.
const MAX_STEP: usize = 800;
const MAX_STEPS: usize = 8;

/// The JSON form. Members may be added; none is ever renamed, removed or given another meaning under the same `schema`.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    id: String,
    kind: AlertKind,
    severity: Option<Severity>,
    time: String,
    account: &'a str,
    region: &'a str,
    repository: &'a str,
    digest: &'a str,
    tags: Vec<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    omitted_tags: usize,
    title: String,
    reason: String,
    findings: Vec<DocumentFinding<'a>>,
    omitted_findings: u64,
    action: Option<&'a AlertAction>,
    next_steps: Vec<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    exceptions: &'a [ExceptionEntry],
}

#[derive(Serialize)]
struct DocumentFinding<'a> {
    id: String,
    severity: Severity,
    package: Option<String>,
    package_type: Option<String>,
    installed: Option<String>,
    fixed_in: Option<String>,
    url: Option<&'a str>,
    first_seen: String,
    rule: String,
    exploit: Option<bool>,
    score: Option<f64>,
    epss: Option<f64>,
}

impl<'a> From<&'a RecordedFinding> for DocumentFinding<'a> {
    fn from(finding: &'a RecordedFinding) -> Self {
        let line = |value: &Option<String>, limit| value.as_deref().map(|value| text::line(value, limit));
        Self {
            id: text::line(&finding.id, MAX_NAME),
            severity: finding.severity,
            package: line(&finding.package, MAX_NAME),
            package_type: line(&finding.package_type, MAX_VERSION),
            installed: line(&finding.installed, MAX_VERSION),
            fixed_in: line(&finding.fixed_in, MAX_VERSION),
            url: finding.url.as_deref().and_then(text::url),
            first_seen: time(finding.first_seen),
            rule: text::line(&finding.rule, MAX_NAME),
            exploit: finding.exploit,
            score: finding.score,
            epss: finding.epss,
        }
    }
}

/// The steps that an alert lists.
fn listed_steps(steps: &[String]) -> impl Iterator<Item = String> {
    steps.iter().take(MAX_STEPS).map(|step| text::line(step, MAX_STEP))
}

/// The settings that an alert lists: at most `most`, none of whose values is longer than `longest`.
fn listed_changes(changes: &[Change], most: usize, longest: usize) -> impl Iterator<Item = Change> {
    let line = move |value: &String| text::line(value, longest);
    changes.iter().take(most).map(move |change| Change {
        setting: line(&change.setting),
        old: line(&change.old),
        new: line(&change.new),
    })
}

impl Alert {
    /// Renders all forms.
    pub fn message(&self) -> Message {
        let mut listed = MAX_LISTED_FINDINGS;
        let mut message = Message {
            subject: self.subject(),
            default: self.json(listed),
            email: email::render(self),
            https: chat::render(self),
            sms: sms::render(self),
        };
        // Text from outside can be made to grow when it is escaped. It then costs findings in the list, never the alert.
        while listed > 0 && message.body().len() > MAX_MESSAGE_BYTES {
            listed /= 2;
            message.default = self.json(listed);
        }
        message
    }

    /// The subject: a constant for each kind, and the repository, whose name is ASCII by construction.
    fn subject(&self) -> String {
        text::ascii(
            &format!("[ecr-guard] {} {}", self.word(), self.image.repository),
            MAX_SUBJECT,
        )
    }

    /// The JSON document `ecr-guard/alert/v1`, with at most so many findings.
    fn json(&self, listed: usize) -> String {
        to_json(&Document {
            schema: "ecr-guard/alert/v1",
            id: text::line(&self.id, MAX_ID),
            kind: self.kind,
            severity: self.severity,
            time: time(self.time),
            account: self.image.account.as_str(),
            region: self.image.region.as_str(),
            repository: self.image.repository.as_str(),
            digest: self.image.digest.as_str(),
            tags: self.tags.iter().take(MAX_LISTED_TAGS).map(Tag::as_str).collect(),
            omitted_tags: self.tags.len().saturating_sub(MAX_LISTED_TAGS),
            title: text::line(&self.title, MAX_TITLE),
            reason: text::line(&self.reason, MAX_REASON),
            findings: self.findings.iter().take(listed).map(DocumentFinding::from).collect(),
            omitted_findings: self.beyond(listed),
            action: self.action.as_ref(),
            next_steps: listed_steps(&self.next_steps).collect(),
            exceptions: self.exceptions.get(..MAX_EXCEPTIONS).unwrap_or(&self.exceptions),
        })
    }

    /// How many findings decided that a list of the first `listed` does not have.
    fn beyond(&self, listed: usize) -> u64 {
        let unlisted = u64::try_from(self.findings.len().saturating_sub(listed)).unwrap_or(u64::MAX);
        self.omitted_findings.saturating_add(unlisted)
    }

    /// What a reader must know from two words. The state is called `Held`; to a reader that would sound like "held back".
    fn word(&self) -> &'static str {
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
    fn effect(&self) -> &'static str {
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

/// Why there is no version to go to.
fn without_version(fix: Fix) -> &'static str {
    match fix {
        Fix::Available => "fix available",
        Fix::Unavailable => "no fix yet",
        Fix::Unknown => "fix not known",
    }
}

/// RFC 3339 in UTC, to the second.
fn time(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// Serializes one of the structs of this module. They have neither maps with keys that are not strings nor serializers that can
/// fail, so there is always a document.
fn to_json(document: &impl Serialize) -> String {
    serde_json::to_string(document).unwrap_or_default()
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests;
