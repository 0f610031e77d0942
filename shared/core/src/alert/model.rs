//! An alert as data, the forms that it is rendered to, and what all forms have in common.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    alert::{
        contact::Contact,
        exception::{ExceptionEntry, ExceptionNotice},
        step::NextStep,
    },
    finding::{Fix, Severity, SeverityCounts},
    ids::{Digest, ImageKey, RegistryKey, RepositoryName, Tag, registry_host},
    ledger::RecordedFinding,
    notice::Change,
    policy::{Action, BlockMethod},
    state::State,
    text,
};

/// The block or release that an alert reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertAction {
    /// How deployment is prevented (or was, for a release).
    pub method: BlockMethod,
    /// Whether it was done.
    pub done: bool,
}

/// Why a block is deferred, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldNote {
    /// A word for machines, such as `in-use`.
    pub cause: &'static str,
    /// A sentence.
    pub reason: String,
    /// Under which condition it ends: completes *It is blocked when*.
    pub ends: &'static str,
    /// When the cause ends by itself at the earliest, where that is known.
    pub until: Option<Timestamp>,
}

/// One alert, as all forms show it. The renderers decide on the order.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// The same for the same facts, however often it is delivered: subscribers drop what they have seen.
    pub(super) id: String,
    /// The word for machines.
    pub(super) kind: &'static str,
    /// The word for people, in capitals.
    pub(super) word: &'static str,
    /// The state of the image.
    pub(super) state: Option<State>,
    /// The worst finding that decided; `None` where findings did not decide.
    pub(super) severity: Option<Severity>,
    /// When it was decided.
    pub(super) time: Timestamp,
    /// The subject of the alert.
    pub(super) about: About,
    /// Subject of the e-mail and title in a chat, without the name of this program: ASCII.
    pub(super) headline: String,
    /// One line.
    pub(super) title: String,
    /// The consequence for somebody who deploys the image: a sentence of ours, or none.
    pub(super) meaning: &'static str,
    /// Why, in one or two sentences.
    pub(super) reason: String,
    /// The reason stands under the title, without a heading: it is a sentence of ours.
    pub(super) is_lead: bool,
    /// Why the block is deferred.
    pub(super) hold: Option<HoldNote>,
    /// The block or release.
    pub(super) action: Option<AlertAction>,
    /// The findings that decided, worst first.
    pub(super) findings: Vec<RecordedFinding>,
    /// How many more decided than `findings` holds.
    pub(super) omitted_findings: u64,
    /// The other findings of the image, worst first.
    pub(super) other_findings: Vec<RecordedFinding>,
    /// How many more there are than `other_findings` holds.
    pub(super) omitted_other_findings: u64,
    /// All findings of the image by severity.
    pub(super) counts: Option<SeverityCounts>,
    /// The steps for the reader, in order.
    pub(super) steps: Vec<NextStep>,
    /// Entries to propose for the policy.
    pub(super) exceptions: Vec<ExceptionEntry>,
    /// Settings.
    pub(super) changes: Changes,
    /// The exception that it is about.
    pub(super) exception: Option<ExceptionNotice>,
    /// Lists of the digest and of the summary.
    pub(super) lists: Vec<List>,
    /// Members of the JSON form that only this kind has.
    pub(super) details: Map<String, Value>,
    /// The parts of the SMS.
    pub(super) sms: Sms,
    /// Whom to ask.
    pub(super) contact: Contact,
}

/// The subject of an alert.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct About {
    pub(super) registry: RegistryKey,
    pub(super) repository: Option<RepositoryName>,
    pub(super) digest: Option<Digest>,
    pub(super) tags: Vec<Tag>,
    /// The tags may be on another image by now.
    pub(super) tags_may_have_moved: bool,
}

/// Settings, and what their two values are called.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Changes {
    pub(super) list: Vec<Change>,
    /// The longest list that is shown.
    pub(super) most: usize,
    /// The longest value, in characters.
    pub(super) longest: usize,
    pub(super) columns: (&'static str, &'static str),
}

/// A list with a heading.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct List {
    /// In capitals.
    pub(super) heading: String,
    pub(super) items: Vec<Item>,
    /// How many there are that `items` does not have.
    pub(super) more: u64,
    /// The items have numbers.
    pub(super) is_numbered: bool,
    /// How many items a chat shows: 0 for a list that it leaves out.
    pub(super) in_chat: usize,
}

/// An entry of a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) text: String,
    pub(super) detail: Option<String>,
    /// Who answers for it, as the policy says: an address can be used.
    pub(super) owner: Option<String>,
}

/// The most exceptions that an alert proposes. Somebody who needs more should fix the image instead.
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

/// The most findings that each list of the JSON form has; the rest are counted.
pub const MAX_LISTED_FINDINGS: usize = 50;

/// The most tags that the JSON form lists; the rest are counted in `omitted_tags`. ECR allows 1,000 for an image.
pub const MAX_LISTED_TAGS: usize = 100;

/// The most bytes that [`Message::body`] has. SNS takes 256 KiB; what is left is for its own envelope on the way to subscribers.
///
/// Source: API reference of SNS, "Publish" (`Message`).
pub const MAX_MESSAGE_BYTES: usize = 200 * 1024;

/// SNS wants fewer than 100 characters. Source: API reference of SNS, "Publish" (`Subject`).
pub(super) const MAX_SUBJECT: usize = 99;

/// The prefix of the subject of each alert.
pub(super) const SENDER: &str = "[ecr-guard] ";

// Limits of the parts, in characters. Real values are far shorter; these only keep a message within its size.
pub(super) const MAX_ID: usize = 100;
pub(super) const MAX_TITLE: usize = 200;
pub(super) const MAX_REASON: usize = 1000;
pub(super) const MAX_NAME: usize = 100;
pub(super) const MAX_VERSION: usize = 60;
pub(super) const MAX_STEP: usize = 800;
pub(super) const MAX_STEPS: usize = 8;

impl HoldNote {
    /// When the image is blocked after all.
    pub(super) fn ends(&self) -> String {
        let condition = if self.ends.is_empty() {
            String::new()
        } else {
            format!("It is blocked when {}.", self.ends)
        };
        match self.until {
            Some(until) => format!("{condition} Not before {}.", moment(until))
                .trim_start()
                .to_owned(),
            None => condition,
        }
    }
}

impl Alert {
    /// An alert with what every kind has.
    pub(super) fn new(id: &str, kind: &'static str, word: &'static str, time: Timestamp, about: About) -> Self {
        Self {
            id: id.to_owned(),
            kind,
            word,
            state: None,
            severity: None,
            time,
            about,
            headline: String::new(),
            title: String::new(),
            meaning: "",
            reason: String::new(),
            is_lead: false,
            hold: None,
            action: None,
            findings: Vec::new(),
            omitted_findings: 0,
            other_findings: Vec::new(),
            omitted_other_findings: 0,
            counts: None,
            steps: Vec::new(),
            exceptions: Vec::new(),
            changes: Changes::default(),
            exception: None,
            lists: Vec::new(),
            details: Map::new(),
            sms: Sms::default(),
            contact: Contact::default(),
        }
    }

    /// The settings that are listed.
    pub(super) fn changes(&self) -> impl Iterator<Item = Change> {
        let longest = self.changes.longest;
        let line = move |value: &String| text::line(value, longest);
        self.changes
            .list
            .iter()
            .take(self.changes.most)
            .map(move |change| Change {
                setting: line(&change.setting),
                old: line(&change.old),
                new: line(&change.new),
            })
    }

    /// How many findings decided that a list of the first `listed` does not have.
    pub(super) fn beyond(&self, listed: usize) -> u64 {
        beyond(self.omitted_findings, self.findings.len().saturating_sub(listed))
    }

    /// Why, without what holds the image: that has its own place.
    pub(super) fn why(&self) -> &str {
        let held = self
            .hold
            .as_ref()
            .map(|hold| format!(" It is not blocked: {}", hold.reason));
        held.and_then(|held| self.reason.strip_suffix(&held))
            .unwrap_or(&self.reason)
    }

    /// The other findings of the image, in one sentence; `None`: there are no others, or they are not known.
    pub(super) fn also(&self) -> Option<String> {
        let counts = self.counts.as_ref()?;
        let total = counts.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
        let stand_for =
            |findings: &[RecordedFinding]| -> u64 { findings.iter().map(|finding| finding.stands_for).sum() };
        let deciding = stand_for(&self.findings).saturating_add(self.omitted_findings);
        let others = &self.other_findings;
        let of = |action| {
            others
                .iter()
                .filter(move |one| one.action == action && one.exception.is_none())
        };
        let (block, review) = (of(Action::Block).count(), of(Action::Review).count());
        let excepted = others.iter().filter(|one| one.exception.is_some()).count();
        let named = stand_for(others).saturating_add(self.omitted_other_findings);
        let rest = total.saturating_sub(deciding).saturating_sub(named);
        let mut parts = Vec::new();
        for (number, what) in [
            (block, "that would block"),
            (review, "to review"),
            (excepted, "excepted by the policy"),
        ] {
            if number > 0 {
                parts.push(format!("{number} {what}"));
            }
        }
        if self.omitted_other_findings > 0 {
            parts.push(format!("{} more to review", self.omitted_other_findings));
        }
        if rest > 0 {
            parts.push(format!("{rest} below review"));
        }
        (!parts.is_empty()).then(|| format!("{}.", parts.join(", ")))
    }
}

impl About {
    /// About an image.
    pub(super) fn image(image: &ImageKey, tags: &[Tag]) -> Self {
        Self {
            registry: RegistryKey {
                account: image.account.clone(),
                region: image.region.clone(),
            },
            repository: Some(image.repository.clone()),
            digest: Some(image.digest.clone()),
            tags: tags.to_vec(),
            tags_may_have_moved: false,
        }
    }

    /// About a registry.
    pub(super) fn registry(registry: &RegistryKey) -> Self {
        Self {
            registry: registry.clone(),
            repository: None,
            digest: None,
            tags: Vec::new(),
            tags_may_have_moved: false,
        }
    }

    /// The name of the image for a container runtime: by its first tag if the tag is on that image, or else by digest.
    pub(super) fn uri(&self) -> Option<String> {
        let (repository, digest) = (self.repository.as_ref()?, self.digest.as_ref()?);
        let host = registry_host(&self.registry.account, &self.registry.region);
        let tag = self.tags.first().filter(|_| !self.tags_may_have_moved);
        Some(match tag {
            Some(tag) => format!("{host}/{repository}:{tag}"),
            None => format!("{host}/{repository}@{digest}"),
        })
    }
}

impl List {
    /// A list that shows all its items.
    pub(super) fn new(heading: impl Into<String>, items: Vec<Item>) -> Self {
        Self {
            heading: heading.into(),
            items,
            more: 0,
            is_numbered: false,
            in_chat: 0,
        }
    }
}

impl Item {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            detail: None,
            owner: None,
        }
    }

    pub(super) fn with(text: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            detail: Some(detail.into()),
            owner: None,
        }
    }

    pub(super) fn owned_by(self, owner: &str) -> Self {
        Self {
            owner: Some(owner.to_owned()),
            ..self
        }
    }
}

impl Message {
    /// The message for `Publish` with `MessageStructure=json`: one object with a string for each protocol.
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

/// A headline: the word, the name, the reasons, and the region. Without enough room, the last of `why` is left out first, and
/// the name is cut last. `why` must be short and harmless.
pub(super) fn headline(word: &str, name: &str, why: &[String], region: &str) -> String {
    let room = MAX_SUBJECT - SENDER.len();
    for kept in (0..=why.len()).rev() {
        let why = why.get(..kept).unwrap_or_default().join(", ");
        let dash = if why.is_empty() { "" } else { " - " };
        let line = format!("{word} {name}{dash}{why} ({region})");
        if line.len() <= room {
            return line;
        }
    }
    text::ascii(&format!("{word} {name}"), room)
}

/// The id of a vulnerability, if it is one that can stand in a subject: `CVE-2026-1234`, `GHSA-jfh8-c2jp-5v3q`, `RHSA-2026:1234`.
pub(super) fn plain_id(id: &str) -> Option<&str> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == ':';
    let is_id = id.len() <= 24
        && id.starts_with(|c: char| c.is_ascii_alphabetic())
        && id.ends_with(|c: char| c.is_ascii_alphanumeric())
        && id.contains('-')
        && id.contains(|c: char| c.is_ascii_digit())
        && id.chars().all(is_known);
    is_id.then_some(id)
}

/// A version, if it is one that can stand in a subject.
pub(super) fn plain_version(version: &str) -> Option<&str> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || "-.+~:_".contains(c);
    let is_version =
        version.len() <= 24 && version.contains(|c: char| c.is_ascii_digit()) && version.chars().all(is_known);
    is_version.then_some(version)
}

/// Why there is no version to go to.
pub(super) fn without_version(fix: Fix) -> &'static str {
    match fix {
        Fix::Available => "fix available",
        Fix::Unavailable => "no fix yet",
        Fix::Unknown => "the scanner does not say which version fixes it",
    }
}

/// RFC 3339 in UTC, to the second.
pub(super) fn time(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// For people: `2026-11-24 12:00:00 UTC`.
pub(super) fn moment(at: Timestamp) -> String {
    time(at).replace('T', " ").replace('Z', " UTC")
}

pub(super) fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// Serializes one of the structs of this module. They have neither maps with keys that are not strings nor serializers that can
/// fail, so there is always a document.
pub(super) fn to_json(document: &impl Serialize) -> String {
    serde_json::to_string(document).unwrap_or_default()
}

/// Members of the JSON form that only one kind of alert has.
pub(super) fn details(document: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(document) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// How many findings there are that a list does not have.
pub(super) fn beyond(omitted: u64, unlisted: usize) -> u64 {
    omitted.saturating_add(u64::try_from(unlisted).unwrap_or(u64::MAX))
}

/// The word for a deferred block. The image can be deployed.
pub(super) const HELD: &str = "BLOCK DEFERRED";

/// The parts of an SMS, without the region and the word for the kind.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Sms {
    /// The name of the subject. It is cut where the others need its room.
    pub(super) name: String,
    /// Added to the name, never cut: a tag that was cut would be another tag.
    pub(super) suffix: String,
    /// The reasons, most important first. Those that do not fit are left out.
    pub(super) causes: Vec<String>,
    /// The consequence that a reader must know. It always fits.
    pub(super) end: &'static str,
    /// The step to take, if it fits.
    pub(super) then: String,
}
