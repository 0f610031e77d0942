//! The form for Amazon Q Developer in chat applications: a custom notification.
//!
//! Source: Amazon Q Developer in chat applications, "Custom notifications" (event schema 1.0). It documents no lengths. Amazon
//! Q drops a notification with unknown members without an error, so nothing is added to the schema.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    alert::{
        contact::is_address,
        model::{
            Alert, List, MAX_ID, MAX_NAME, MAX_REASON, MAX_STEP, MAX_STEPS, MAX_TITLE, MAX_VERSION, beyond, date,
            to_json, without_version,
        },
    },
    ids::repository_arn,
    ledger::RecordedFinding,
    text,
};

/// How many findings are listed; the JSON form has more.
const LISTED_FINDINGS: usize = 5;

/// How many settings are listed.
const LISTED_CHANGES: usize = 10;

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
    /// Notifications with the same id make a thread: later news of an image stand below the first alert about it.
    thread_id: String,
    summary: String,
    event_type: &'static str,
    related_resources: Vec<String>,
    additional_context: BTreeMap<&'static str, String>,
}

pub(super) fn render(alert: &Alert) -> String {
    let id = text::token(&alert.id, MAX_ID);
    let steps = alert.steps.iter().take(MAX_STEPS).map(|step| {
        let text = text::markdown(&text::line(&step.text, MAX_STEP));
        match &step.command {
            // One piece of code, so that it can be copied: marks in it would be run by a shell.
            Some(command) => format!("{text} {}", text::code(command)),
            None => text,
        }
    });
    to_json(&Notification {
        version: "1.0",
        source: "custom",
        id: id.clone(),
        content: Content {
            text_type: "client-markdown",
            title: text::markdown(&alert.headline),
            description: description(alert),
            next_steps: steps.collect(),
            keywords: keywords(alert),
        },
        metadata: metadata(alert, id),
    })
}

fn metadata(alert: &Alert, id: String) -> Metadata {
    let about = &alert.about;
    let registry = &about.registry;
    let mut thread = vec![registry.account.to_string(), registry.region.to_string()];
    match &about.repository {
        Some(repository) => thread.push(repository.to_string()),
        // Those of a kind make a thread.
        None => thread.push(alert.kind.to_owned()),
    }
    // A tag that moves, or a copy that is late, belongs to the repository.
    let image = about.digest.as_ref().filter(|_| alert.state.is_some());
    thread.extend(image.map(|digest| digest.short().to_owned()));
    let resource = about.repository.as_ref();
    let resource = resource.map(|name| repository_arn(&registry.account, &registry.region, name));
    Metadata {
        thread_id: thread.join("/"),
        summary: text::markdown(&text::line(&alert.title, MAX_TITLE)),
        event_type: alert.kind,
        related_resources: resource.into_iter().collect(),
        additional_context: context(alert, id),
    }
}

fn description(alert: &Alert) -> String {
    let mut lines = Vec::new();
    if !alert.meaning.is_empty() {
        lines.push(alert.meaning.to_owned());
    }
    if !alert.reason.is_empty() {
        lines.push(text::markdown(&text::line(alert.why(), MAX_REASON)));
    }
    lines.extend(alert.findings.iter().take(LISTED_FINDINGS).map(finding_line));
    more(&mut lines, alert.beyond(LISTED_FINDINGS));
    if let Some(hold) = &alert.hold {
        lines.push(format!(
            "*Block deferred:* {} {}",
            text::markdown(&text::line(&hold.reason, MAX_REASON)),
            text::markdown(&hold.ends())
        ));
    }
    if let Some(also) = alert.also() {
        lines.push(format!("*Also in this image:* {also}"));
    }
    if let Some(exception) = &alert.exception {
        lines.push(format!("*Covers:* {}", text::markdown(&exception.scope())));
        lines.push(format!("*Owner:* {}", text::code(&exception.owner)));
    }
    let (old, new) = alert.changes.columns;
    lines.extend(alert.changes().take(LISTED_CHANGES).map(|change| {
        let [setting, was, is] = [&change.setting, &change.old, &change.new].map(|value| text::code(value));
        format!("• {setting}: {old} {was}, {new} {is}")
    }));
    for list in alert.lists.iter().filter(|list| list.in_chat > 0) {
        items(&mut lines, list);
    }
    about(&mut lines, alert);
    lines.join("\n")
}

fn items(lines: &mut Vec<String>, list: &List) {
    let mut heading = list.heading.to_lowercase();
    if let Some(first) = heading.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    lines.push(format!("*{heading}:*"));
    let shown = list.items.iter().take(list.in_chat);
    lines.extend(shown.map(|item| format!("• {}", text::markdown(&text::line(&item.text, MAX_REASON)))));
    let left = list.items.len().saturating_sub(list.in_chat);
    more(lines, beyond(list.more, left));
}

fn more(lines: &mut Vec<String>, number: u64) {
    if number > 0 {
        lines.push(format!("and {number} more"));
    }
}

/// Identifiers, and whom to ask.
fn about(lines: &mut Vec<String>, alert: &Alert) {
    let about = &alert.about;
    lines.push(String::new());
    if let Some(uri) = about.uri() {
        lines.push(format!("*Image:* {}", text::code(&uri)));
        if about.tags.len() > 1 {
            lines.push(format!("*Tags:* {}", tags(alert)));
        }
        if let Some(digest) = about.digest.as_ref().filter(|_| !about.tags.is_empty()) {
            lines.push(format!("*Digest:* {}", text::code(digest.as_str())));
        }
    } else {
        if let Some(repository) = &about.repository {
            lines.push(format!("*Repository:* {}", text::code(repository.as_str())));
        }
        lines.push(format!(
            "*Account:* {}, region {}",
            about.registry.account, about.registry.region
        ));
    }
    let contact = &alert.contact;
    for (name, value) in [
        ("Help", &contact.help),
        ("Guide", &contact.guide),
        ("Policy", &contact.policy),
    ] {
        if let Some(value) = value {
            // Both chats make a link of an address. It is an operator's, and was checked when the policy was read.
            let shown = if is_address(value) {
                value.replace('&', "&amp;")
            } else {
                text::markdown(value)
            };
            lines.push(format!("*{name}:* {shown}"));
        }
    }
}

fn tags(alert: &Alert) -> String {
    let tags = &alert.about.tags;
    let listed: Vec<String> = tags
        .iter()
        .take(LISTED_TAGS)
        .map(|tag| text::code(tag.as_str()))
        .collect();
    let more = tags.len().saturating_sub(LISTED_TAGS);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{more}", listed.join(", "))
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
    let severity = alert.severity.filter(|_| alert.state.is_some());
    let repository = alert.about.repository.as_ref();
    std::iter::once(alert.kind.to_owned())
        .chain(repository.map(|name| text::markdown(name.as_str())))
        .chain(severity.map(|severity| severity.to_string()))
        .collect()
}

/// Values that custom actions can take out of a notification: no spaces, at most 1,024 characters.
///
/// Source: API reference of Amazon Q Developer in chat applications, `CustomActionAttachment` (`Variables`).
fn context(alert: &Alert, alert_id: String) -> BTreeMap<&'static str, String> {
    let about = &alert.about;
    let registry = &about.registry;
    let repository = about.repository.as_ref().map(|name| ("repository", name.to_string()));
    let digest = about.digest.as_ref().filter(|_| alert.state.is_some());
    [
        ("alertId", alert_id),
        ("account", registry.account.to_string()),
        ("region", registry.region.to_string()),
    ]
    .into_iter()
    .chain(repository)
    .chain(digest.map(|digest| ("digest", digest.to_string())))
    .collect()
}
