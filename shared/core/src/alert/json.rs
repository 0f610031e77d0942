//! The form for machines: the JSON document `ecr-guard/alert/v2`.
//!
//! Members may be added; none is ever renamed, removed or given another meaning under the same `schema`.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    alert::{
        contact::Contact,
        exception::{ExceptionEntry, ExceptionNotice},
        model::{
            Alert, AlertAction, MAX_EXCEPTIONS, MAX_ID, MAX_LISTED_TAGS, MAX_NAME, MAX_REASON, MAX_STEP, MAX_STEPS,
            MAX_TITLE, MAX_VERSION, beyond, time, to_json,
        },
        step::{MAX_COMMAND, NextStep},
    },
    finding::{Severity, SeverityCounts},
    ids::Tag,
    ledger::RecordedFinding,
    notice::Change,
    policy::Action,
    state::State,
    text,
};

/// Its name and version.
pub(super) const SCHEMA: &str = "ecr-guard/alert/v2";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    id: String,
    kind: &'static str,
    state: Option<&'static str>,
    severity: Option<Severity>,
    time: String,
    account: &'a str,
    region: &'a str,
    repository: Option<&'a str>,
    digest: Option<&'a str>,
    tags: Vec<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    omitted_tags: usize,
    image: Option<String>,
    title: String,
    reason: String,
    action: Option<&'a AlertAction>,
    hold: Option<Hold<'a>>,
    findings: Vec<Finding<'a>>,
    omitted_findings: u64,
    other_findings: Vec<Finding<'a>>,
    omitted_other_findings: u64,
    counts: Option<&'a SeverityCounts>,
    steps: Vec<NextStep>,
    links: &'a Contact,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    exceptions: &'a [ExceptionEntry],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Change>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exception: Option<&'a ExceptionNotice>,
    #[serde(flatten)]
    details: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct Hold<'a> {
    cause: &'a str,
    reason: String,
    ends: &'a str,
    until: Option<String>,
}

#[derive(Serialize)]
struct Finding<'a> {
    id: String,
    severity: Severity,
    action: Action,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    exception: Option<String>,
}

impl<'a> From<&'a RecordedFinding> for Finding<'a> {
    fn from(finding: &'a RecordedFinding) -> Self {
        let line = |value: &Option<String>, limit| value.as_deref().map(|value| text::line(value, limit));
        Self {
            id: text::line(&finding.id, MAX_NAME),
            severity: finding.severity,
            action: finding.action,
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
            exception: line(&finding.exception, MAX_NAME),
        }
    }
}

/// The document, with at most `listed` findings in each list.
pub(super) fn render(alert: &Alert, listed: usize) -> String {
    let about = &alert.about;
    let list = |findings: &'_ [RecordedFinding]| findings.len().min(listed);
    let (deciding, others) = (list(&alert.findings), list(&alert.other_findings));
    to_json(&Document {
        schema: SCHEMA,
        id: text::line(&alert.id, MAX_ID),
        kind: alert.kind,
        state: alert.state.map(State::as_str),
        severity: alert.severity,
        time: time(alert.time),
        account: about.registry.account.as_str(),
        region: about.registry.region.as_str(),
        repository: about.repository.as_ref().map(|name| name.as_str()),
        digest: about.digest.as_ref().map(|digest| digest.as_str()),
        tags: about.tags.iter().take(MAX_LISTED_TAGS).map(Tag::as_str).collect(),
        omitted_tags: about.tags.len().saturating_sub(MAX_LISTED_TAGS),
        image: about.uri(),
        title: text::line(&alert.title, MAX_TITLE),
        reason: text::line(&alert.reason, MAX_REASON),
        action: alert.action.as_ref(),
        hold: alert.hold.as_ref().map(|hold| Hold {
            cause: hold.cause,
            reason: text::line(&hold.reason, MAX_REASON),
            ends: hold.ends,
            until: hold.until.map(time as fn(Timestamp) -> String),
        }),
        findings: alert.findings.iter().take(deciding).map(Finding::from).collect(),
        omitted_findings: beyond(alert.omitted_findings, alert.findings.len() - deciding),
        other_findings: alert.other_findings.iter().take(others).map(Finding::from).collect(),
        omitted_other_findings: beyond(alert.omitted_other_findings, alert.other_findings.len() - others),
        counts: alert.counts.as_ref(),
        steps: steps(&alert.steps),
        links: &alert.contact,
        exceptions: alert.exceptions.get(..MAX_EXCEPTIONS).unwrap_or(&alert.exceptions),
        changes: alert.changes().collect(),
        exception: alert.exception.as_ref(),
        details: &alert.details,
    })
}

fn steps(steps: &[NextStep]) -> Vec<NextStep> {
    let cut = |step: &NextStep| NextStep {
        text: text::line(&step.text, MAX_STEP),
        command: step.command.as_deref().map(|command| text::line(command, MAX_COMMAND)),
    };
    steps.iter().take(MAX_STEPS).map(cut).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
