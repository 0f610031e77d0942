//! Alerts about an image.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    alert::{
        contact::Contact,
        exception::ExceptionEntry,
        model::{
            About, Alert, AlertAction, HELD, HoldNote, MAX_NAME, MAX_REASON, Message, Sms, headline, plain_id,
            plain_version, time,
        },
        step::NextStep,
    },
    finding::{Severity, SeverityCounts},
    ids::{ImageKey, Tag},
    ledger::RecordedFinding,
    notice::AlertKind,
    policy::BlockMethod,
    release::TimedRelease,
    state::State,
    text,
};

/// One alert about an image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageAlert {
    /// The same for the same facts, however often it is delivered.
    pub id: String,
    /// The kind of the alert.
    pub kind: AlertKind,
    /// The state of the image.
    pub state: State,
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
    /// Why its block is deferred, if it is.
    pub hold: Option<HoldNote>,
    /// The release that it is about, where a person gave one.
    pub release: Option<TimedRelease>,
    /// The findings that decided, worst first.
    pub findings: Vec<RecordedFinding>,
    /// How many more decided than `findings` holds.
    pub omitted_findings: u64,
    /// The other findings of the image, worst first.
    pub other_findings: Vec<RecordedFinding>,
    /// How many more there are than `other_findings` holds.
    pub omitted_other_findings: u64,
    /// All its findings by severity; empty where nothing is known.
    pub counts: SeverityCounts,
    /// The block or release.
    pub action: Option<AlertAction>,
    /// The steps for the reader, in order.
    pub next_steps: Vec<NextStep>,
    /// Entries to propose for the policy, if the findings do no harm: for the worst, at most `MAX_EXCEPTIONS`.
    pub exceptions: Vec<ExceptionEntry>,
}

/// The release that a person gave, in the JSON form.
fn release_member(release: &TimedRelease) -> (String, Value) {
    let value = json!({
        "until": time(release.until),
        "by": {
            "account": release.by.account,
            "name": text::line(&release.by.name, MAX_NAME),
            "session": release.by.session.as_deref().map(|session| text::line(session, MAX_NAME)),
        },
        "reason": text::line(&release.reason, MAX_REASON),
        "ticket": release.ticket.as_deref().map(|ticket| text::line(ticket, MAX_NAME)),
    });
    ("release".to_owned(), value)
}

/// The longest name of a package in a subject.
const MAX_PACKAGE: usize = 30;

/// A tag that is longer is not shown in an SMS: one that was cut would be another tag.
const MAX_TAG: usize = 24;

impl ImageAlert {
    /// All forms.
    pub fn message(&self, contact: &Contact) -> Message {
        self.alert(contact).message()
    }

    /// The alert.
    pub fn alert(&self, contact: &Contact) -> Alert {
        let about = About::image(&self.image, &self.tags);
        Alert {
            state: Some(self.state),
            severity: self.severity,
            headline: self.headline(),
            title: self.title.clone(),
            meaning: self.meaning(),
            reason: self.reason.clone(),
            hold: self.hold.clone(),
            action: self.action.clone(),
            findings: self.findings.clone(),
            omitted_findings: self.omitted_findings,
            other_findings: self.other_findings.clone(),
            omitted_other_findings: self.omitted_other_findings,
            counts: (!self.counts.is_empty()).then(|| self.counts.clone()),
            steps: self.next_steps.clone(),
            exceptions: self.exceptions.clone(),
            sms: self.sms(),
            details: self.release.iter().map(release_member).collect(),
            contact: contact.clone(),
            ..Alert::new(&self.id, self.kind.as_str(), self.word(), self.time, about)
        }
    }

    /// The state in two words, for a reader who reads no further. All forms, the digest and the summary use the same words.
    pub(super) fn word(&self) -> &'static str {
        match self.kind {
            AlertKind::ImageBlocked | AlertKind::ImageBypass => match &self.action {
                Some(AlertAction { done: false, .. }) => HELD,
                Some(AlertAction {
                    method: BlockMethod::Flag,
                    ..
                })
                | None => "DO NOT DEPLOY",
                Some(_) if self.kind == AlertKind::ImageBypass => "BLOCKED AGAIN",
                Some(_) => "BLOCKED",
            },
            AlertKind::BlockDeferred => HELD,
            AlertKind::BlockLimit => "BLOCK LIMIT REACHED",
            AlertKind::ImageReview => "REVIEW",
            AlertKind::ImageReleased if self.release.is_some() => "RELEASED BY A PERSON",
            AlertKind::ImageReleased => "RELEASED",
            AlertKind::ScanFailed => "NOT SCANNED",
            AlertKind::ScanOverdue => "SCAN OVERDUE",
            AlertKind::PullRefused => "PULL REFUSED",
        }
    }

    /// `pay/api:2.0.0`, or `pay/api@0f3a9b1c2d4e` without a tag.
    fn name(&self) -> String {
        format!("{}{}", self.image.repository, self.suffix(usize::MAX))
    }

    fn suffix(&self, longest_tag: usize) -> String {
        match self.tags.first().filter(|tag| tag.as_str().len() <= longest_tag) {
            Some(tag) => format!(":{tag}"),
            None => format!("@{}", self.image.digest.short()),
        }
    }

    /// The finding that decided, and its fix, as far as both can stand in a subject.
    fn headline(&self) -> String {
        let first = self.findings.first();
        let id = first.and_then(|finding| Some((plain_id(&finding.id)?, finding)));
        let why: Vec<String> = match id {
            Some((id, finding)) => {
                let fix = finding.fixed_in.as_deref().and_then(plain_version);
                let fix = fix.map(|version| format!("fix in {version}"));
                [format!("{id} {}", finding.severity)].into_iter().chain(fix).collect()
            }
            None => Vec::new(),
        };
        headline(self.word(), &self.name(), &why, self.image.region.as_str())
    }

    /// The consequence for somebody who pulls the image.
    pub(super) fn meaning(&self) -> &'static str {
        let Some(action) = &self.action else {
            return match self.kind {
                AlertKind::ScanFailed | AlertKind::ScanOverdue => {
                    "Nobody knows whether it is safe. It can still be pulled. Treat it as unknown, not as clean."
                }
                _ => "Nothing is blocked, and nothing was changed.",
            };
        };
        // In a release, the method is the one that is over: `done` says nothing about it.
        match (self.kind, action.method, action.done) {
            (AlertKind::ImageReleased, BlockMethod::Archive, _) if self.release.is_some() => {
                "Pulls work again when ECR has restored it, which takes up to about 20 minutes. It still has the findings below. It is blocked \
                 again when the release ends, also where it runs."
            }
            (AlertKind::ImageReleased, _, _) if self.release.is_some() => {
                "Pulls work again. It still has the findings below. It is blocked again when the release ends, also where it runs."
            }
            (AlertKind::ImageReleased, BlockMethod::Archive, _) => {
                "It was restored from the archive. Pulls by tag and by digest work again."
            }
            (AlertKind::ImageReleased, BlockMethod::QuarantineTag, _) => {
                "It has its tags back. Pulls by tag work again."
            }
            (AlertKind::ImageReleased, BlockMethod::Flag, _) => {
                "It is no longer flagged. Nothing was changed in the registry."
            }
            (_, BlockMethod::Archive, true) => {
                "It cannot be pulled: the registry answers \"not found\" (404). Running workloads keep running, but a new task or \
                 pod that must pull it will not start. The image and its tags are kept in the archive; nothing is deleted."
            }
            (_, BlockMethod::QuarantineTag, true) => {
                "It cannot be pulled by its tags, which were replaced by one that begins with \"blocked-\". Pulls by digest still \
                 work. Running workloads keep running. The image is kept, and its tags can be restored."
            }
            (_, BlockMethod::Flag, true) => {
                "It can still be pulled: do not deploy it. Nothing was changed in the registry."
            }
            (_, _, false) => "It is not blocked: it can still be pulled and deployed.",
        }
    }

    fn sms(&self) -> Sms {
        let first = self.findings.first();
        let finding = first.map(|finding| format!("{} {}", finding.id, finding.severity));
        let package = first.and_then(|finding| finding.package.as_deref());
        let cause = self.hold.as_ref().map(|hold| hold.cause.replace('-', " "));
        let fix = first.and_then(|finding| finding.fixed_in.as_deref());
        let fix = match (fix, package) {
            (Some(version), Some(package)) => format!("Fix: {} {version}", text::line(package, MAX_PACKAGE)),
            _ => String::new(),
        };
        Sms {
            name: self.image.repository.to_string(),
            suffix: self.suffix(MAX_TAG),
            causes: finding
                .into_iter()
                .chain(cause)
                .chain(package.filter(|_| fix.is_empty()).map(str::to_owned))
                .collect(),
            end: self.sms_end(),
            then: fix,
        }
    }

    /// The consequence that an SMS always names.
    pub(super) fn sms_end(&self) -> &'static str {
        let Some(action) = &self.action else {
            return match self.kind {
                AlertKind::ScanFailed | AlertKind::ScanOverdue => "Unknown, not clean.",
                _ => "Not blocked.",
            };
        };
        match (self.kind, action.method, action.done) {
            (AlertKind::ImageReleased, _, _) if self.release.is_some() => "Deployable until the release ends.",
            (AlertKind::ImageReleased, BlockMethod::Archive | BlockMethod::QuarantineTag, _) => "Pulls work again.",
            (AlertKind::ImageReleased, BlockMethod::Flag, _) => "No longer flagged.",
            (_, BlockMethod::Archive, true) => "Pulls fail, running tasks go on.",
            (_, BlockMethod::QuarantineTag, true) => "Pulls by tag fail.",
            (_, BlockMethod::Flag, true) => "Flagged only: pulls work.",
            (_, _, false) => "STILL DEPLOYABLE.",
        }
    }
}
