//! The JSON form of an alert about an image: `ecr-guard/alert/v1`.

use serde::Serialize;

use crate::{
    alert::{
        exception::ExceptionEntry,
        model::{
            Alert, AlertAction, MAX_EXCEPTIONS, MAX_ID, MAX_LISTED_TAGS, MAX_NAME, MAX_REASON, MAX_TITLE, MAX_VERSION,
            listed_steps, time, to_json,
        },
    },
    finding::Severity,
    ids::Tag,
    ledger::RecordedFinding,
    notice::AlertKind,
    text,
};

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

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// The JSON document `ecr-guard/alert/v1`, with at most so many findings.
pub(super) fn render(alert: &Alert, listed: usize) -> String {
    to_json(&Document {
        schema: "ecr-guard/alert/v1",
        id: text::line(&alert.id, MAX_ID),
        kind: alert.kind,
        severity: alert.severity,
        time: time(alert.time),
        account: alert.image.account.as_str(),
        region: alert.image.region.as_str(),
        repository: alert.image.repository.as_str(),
        digest: alert.image.digest.as_str(),
        tags: alert.tags.iter().take(MAX_LISTED_TAGS).map(Tag::as_str).collect(),
        omitted_tags: alert.tags.len().saturating_sub(MAX_LISTED_TAGS),
        title: text::line(&alert.title, MAX_TITLE),
        reason: text::line(&alert.reason, MAX_REASON),
        findings: alert.findings.iter().take(listed).map(DocumentFinding::from).collect(),
        omitted_findings: alert.beyond(listed),
        action: alert.action.as_ref(),
        next_steps: listed_steps(&alert.next_steps).collect(),
        exceptions: alert.exceptions.get(..MAX_EXCEPTIONS).unwrap_or(&alert.exceptions),
    })
}
