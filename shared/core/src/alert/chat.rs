//! The form for Amazon Q Developer in chat applications: a custom notification.
//!
//! Source: Amazon Q Developer in chat applications, "Custom notifications" (event schema 1.0). It documents no lengths. What does
//! not fit the schema is dropped without a word, so nothing is added to it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    alert::model::{
        Alert, MAX_ID, MAX_NAME, MAX_REASON, MAX_TITLE, MAX_VERSION, date, listed_steps, to_json, without_version,
    },
    ids::{ImageKey, RegistryKey, RepositoryKey, repository_arn},
    ledger::RecordedFinding,
    text,
};

/// How many findings are listed; the JSON form has more.
const LISTED_FINDINGS: usize = 5;

/// How many tags are listed.
const LISTED_TAGS: usize = 5;

#[derive(Serialize)]
struct Notification {
    version: &'static str,
    source: &'static str,
    id: String,
    content: Content,
    metadata: Metadata,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    text_type: &'static str,
    title: String,
    description: String,
    next_steps: Vec<String>,
    keywords: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    /// Notifications with the same one make a thread: what becomes of an image is told below what happened to it first.
    thread_id: String,
    summary: String,
    event_type: &'static str,
    related_resources: Vec<String>,
    additional_context: BTreeMap<&'static str, String>,
}

pub(super) fn render(alert: &Alert) -> String {
    let image = &alert.image;
    let title = text::markdown(&text::line(&alert.title, MAX_TITLE));
    let id = text::token(&alert.id, MAX_ID);
    to_json(&Notification {
        version: "1.0",
        source: "custom",
        id: id.clone(),
        content: Content {
            text_type: "client-markdown",
            title: title.clone(),
            description: description(alert),
            next_steps: listed_steps(&alert.next_steps)
                .map(|step| text::markdown(&step))
                .collect(),
            keywords: keywords(alert),
        },
        metadata: Metadata {
            thread_id: format!(
                "{}/{}/{}/{}",
                image.account,
                image.region,
                image.repository,
                image.digest.short()
            ),
            summary: title,
            event_type: alert.kind.as_str(),
            related_resources: vec![repository_arn(&image.account, &image.region, &image.repository)],
            additional_context: context(image, id),
        },
    })
}

/// What a notification about a repository says of it.
pub(super) struct AboutRepository<'a> {
    pub(super) key: &'a RepositoryKey,
    pub(super) id: &'a str,
    pub(super) kind: &'static str,
    pub(super) title: &'a str,
}

/// The notification of an alert about a repository, whose thread is the repository's.
pub(super) fn repository(
    about: &AboutRepository<'_>,
    description: String,
    steps: impl Iterator<Item = String>,
) -> String {
    let (key, id) = (about.key, text::token(about.id, MAX_ID));
    let title = text::markdown(&text::line(about.title, MAX_TITLE));
    to_json(&Notification {
        version: "1.0",
        source: "custom",
        id: id.clone(),
        content: Content {
            text_type: "client-markdown",
            title: title.clone(),
            description,
            next_steps: steps.map(|step| text::markdown(&step)).collect(),
            keywords: vec![about.kind.to_owned(), text::markdown(key.repository.as_str())],
        },
        metadata: Metadata {
            thread_id: format!("{}/{}/{}", key.account, key.region, key.repository),
            summary: title,
            event_type: about.kind,
            related_resources: vec![repository_arn(&key.account, &key.region, &key.repository)],
            additional_context: BTreeMap::from([
                ("alertId", id),
                ("account", key.account.to_string()),
                ("region", key.region.to_string()),
                ("repository", key.repository.to_string()),
            ]),
        },
    })
}

/// The notification of an alert about a registry: those of a kind make a thread.
pub(super) fn registry(about: &AboutRegistry<'_>, description: String, steps: impl Iterator<Item = String>) -> String {
    let (key, id) = (about.key, text::token(about.id, MAX_ID));
    let title = text::markdown(&text::line(about.title, MAX_TITLE));
    to_json(&Notification {
        version: "1.0",
        source: "custom",
        id: id.clone(),
        content: Content {
            text_type: "client-markdown",
            title: title.clone(),
            description,
            next_steps: steps.map(|step| text::markdown(&step)).collect(),
            keywords: vec![about.kind.to_owned()],
        },
        metadata: Metadata {
            thread_id: format!("{}/{}/{}", key.account, key.region, about.kind),
            summary: title,
            event_type: about.kind,
            related_resources: Vec::new(),
            additional_context: BTreeMap::from([
                ("alertId", id),
                ("account", key.account.to_string()),
                ("region", key.region.to_string()),
            ]),
        },
    })
}

/// What a notification about a registry says of it.
pub(super) struct AboutRegistry<'a> {
    pub(super) key: &'a RegistryKey,
    pub(super) id: &'a str,
    pub(super) kind: &'static str,
    pub(super) title: &'a str,
}

fn description(alert: &Alert) -> String {
    let image = &alert.image;
    let mut lines = vec![
        text::markdown(&text::line(&alert.reason, MAX_REASON)),
        String::new(),
        format!("*What was done:* {}", alert.effect()),
        format!(
            "*Image:* {}, tags {}",
            text::code(image.repository.as_str()),
            tags(alert)
        ),
        format!("*Digest:* {}", text::code(image.digest.as_str())),
        format!("*Account:* {}, region {}", image.account, image.region),
    ];
    if !alert.findings.is_empty() {
        lines.push(String::new());
        lines.extend(alert.findings.iter().take(LISTED_FINDINGS).map(finding_line));
        match alert.beyond(LISTED_FINDINGS) {
            0 => {}
            more => lines.push(format!("and {more} more")),
        }
    }
    lines.join("\n")
}

fn tags(alert: &Alert) -> String {
    if alert.tags.is_empty() {
        return "none".to_owned();
    }
    let listed = alert.tags.iter().take(LISTED_TAGS).map(|tag| text::code(tag.as_str()));
    let mut tags = listed.collect::<Vec<_>>().join(", ");
    let more = alert.tags.len().saturating_sub(LISTED_TAGS);
    if more > 0 {
        tags.push_str(&format!(" and {more} more"));
    }
    tags
}

fn finding_line(finding: &RecordedFinding) -> String {
    let code = |value: &str, limit| text::code(&text::line(value, limit));
    let mut line = format!("• {} {}", code(&finding.id, MAX_NAME), finding.severity);
    if let Some(package) = &finding.package {
        line.push_str(&format!(" in {}", code(package, MAX_NAME)));
    }
    if let Some(installed) = &finding.installed {
        line.push_str(&format!(" {}", code(installed, MAX_VERSION)));
    }
    match &finding.fixed_in {
        Some(version) => line.push_str(&format!(", fixed in {}", code(version, MAX_VERSION))),
        None => line.push_str(&format!(", {}", without_version(finding.fix))),
    }
    if finding.exploit == Some(true) {
        line.push_str(", exploit known");
    }
    line.push_str(&format!(", first seen {}", date(finding.first_seen)));
    if let Some(url) = finding.url.as_deref().and_then(text::url) {
        line.push_str(&format!(" {}", text::markdown(url)));
    }
    line
}

fn keywords(alert: &Alert) -> Vec<String> {
    let severity = alert.severity.map(|severity| severity.to_string());
    let repository = text::markdown(alert.image.repository.as_str());
    [alert.kind.as_str().to_owned(), repository]
        .into_iter()
        .chain(severity)
        .collect()
}

/// Values that custom actions can take out of a notification: no spaces, at most 1,024 characters.
///
/// Source: API reference of Amazon Q Developer in chat applications, `CustomActionAttachment` (`Variables`).
fn context(image: &ImageKey, alert_id: String) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("alertId", alert_id),
        ("account", image.account.to_string()),
        ("region", image.region.to_string()),
        ("repository", image.repository.to_string()),
        ("digest", image.digest.to_string()),
    ])
}
