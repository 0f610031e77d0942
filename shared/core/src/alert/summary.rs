//! The hourly summary: one message that names the alerts that were over a topic's budget.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    alert::{
        brief::BriefAlert,
        chat, email,
        model::{MAX_ID, MAX_MESSAGE_BYTES, MAX_NAME, MAX_SUBJECT, MAX_TITLE, Message, time, to_json},
    },
    finding::Severity,
    ids::RegistryKey,
    text::{self, hex},
};

/// The `kind` of the hourly summary.
pub const SUMMARY: &str = "alert-summary";

/// How many alerts the e-mail form lists; the JSON form names all of them.
const LISTED: usize = 50;

/// How many repositories the e-mail form counts.
const LISTED_REPOSITORIES: usize = 50;

/// How many alerts the chat form lists.
const LISTED_IN_CHAT: usize = 10;

/// The alerts of one topic that nobody got one by one.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertSummary {
    /// The registry.
    registry: RegistryKey,
    /// When it was made.
    time: Timestamp,
    /// The alerts, worst first.
    alerts: Vec<BriefAlert>,
    /// How many more are kept for the next summary.
    kept_back: usize,
}

/// `ecr-guard/alert/v1`: the members that every alert has, with `alerts`.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    id: String,
    kind: &'static str,
    severity: Option<Severity>,
    time: String,
    account: &'a str,
    region: &'a str,
    repository: Option<()>,
    digest: Option<()>,
    tags: [(); 0],
    title: String,
    reason: String,
    findings: [(); 0],
    omitted_findings: u64,
    action: Option<()>,
    /// By repository, then by kind: what the alerts are about.
    alerts: BTreeMap<&'a str, BTreeMap<&'a str, Vec<Named<'a>>>>,
    kept_back: usize,
    next_steps: Vec<String>,
}

/// One alert, in as few characters as say what it is about.
#[derive(Serialize)]
struct Named<'a> {
    #[serde(skip_serializing_if = "String::is_empty")]
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<Severity>,
    id: &'a str,
}

impl AlertSummary {
    /// Of alerts of one topic and registry, in any order; `None` if there are none.
    pub fn of(mut alerts: Vec<BriefAlert>, now: Timestamp) -> Option<Self> {
        let registry = alerts.first()?.registry.clone();
        alerts.sort_by(|one, other| one.order().cmp(&other.order()));
        alerts.dedup_by(|one, other| one.id == other.id);
        Some(Self {
            registry,
            time: now,
            alerts,
            kept_back: 0,
        })
    }

    /// All forms, and the alerts that they name. Alerts that do not fit into a message are left for the next one: the mildest.
    pub fn message(mut self) -> (Message, Vec<BriefAlert>) {
        loop {
            let message = self.render();
            let size = message.body().len();
            if size <= MAX_MESSAGE_BYTES || self.alerts.len() <= 1 {
                return (message, self.alerts);
            }
            // A share in proportion, and a little less, so that a few attempts do.
            let fit = self.alerts.len().saturating_mul(MAX_MESSAGE_BYTES) / size;
            let keep = fit.saturating_sub(fit / 20).clamp(1, self.alerts.len() - 1);
            self.kept_back += self.alerts.len() - keep;
            self.alerts.truncate(keep);
        }
    }

    fn render(&self) -> Message {
        Message {
            subject: text::ascii(
                &format!("[ecr-guard] SUMMARY {}: {}", self.registry.region, self.line()),
                MAX_SUBJECT,
            ),
            default: self.json(),
            email: self.email(),
            https: self.chat(),
            sms: text::ascii(
                &format!("ecr-guard SUMMARY {}: {}", self.registry.region, self.line()),
                140,
            ),
        }
    }

    /// The same for the same alerts.
    fn id(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(SUMMARY);
        for alert in &self.alerts {
            hash.update([0]);
            hash.update(&alert.id);
        }
        hex(&hash.finalize()).chars().take(32).collect()
    }

    /// How many alerts of each kind, worst first.
    fn kinds(&self) -> Vec<(&str, usize)> {
        let mut kinds: Vec<(&str, usize)> = Vec::new();
        for alert in &self.alerts {
            match kinds.iter_mut().find(|(kind, _)| *kind == alert.kind) {
                Some((_, count)) => *count += 1,
                None => kinds.push((&alert.kind, 1)),
            }
        }
        kinds
    }

    fn line(&self) -> String {
        let kinds = self.kinds();
        let kinds = kinds.iter().map(|(kind, count)| format!("{count} {}", words(kind)));
        kinds.collect::<Vec<_>>().join(", ")
    }

    fn title(&self) -> String {
        let count = self.alerts.len();
        let alerts = if count == 1 { "alert" } else { "alerts" };
        format!("{count} more {alerts} in {}: {}", self.registry.region, self.line())
    }

    fn reason(&self) -> String {
        let kept = match self.kept_back {
            0 => String::new(),
            more => format!(" {more} milder alerts did not fit; the next summary names them."),
        };
        format!(
            "This topic had more alerts than the policy sends one by one (`alerts`). This message names all of them, worst first.{kept}"
        )
    }

    fn steps() -> Vec<String> {
        vec![
            "Begin with the first repository. The rows of the ledger and the daily digest have the reason for each image.".to_owned(),
            "If most images share a finding, fix their base image and rebuild.".to_owned(),
        ]
    }

    fn json(&self) -> String {
        let mut alerts: BTreeMap<&str, BTreeMap<&str, Vec<Named<'_>>>> = BTreeMap::new();
        for alert in &self.alerts {
            let repository = alert.repository.as_ref().map_or("", |repository| repository.as_str());
            alerts
                .entry(repository)
                .or_default()
                .entry(&alert.kind)
                .or_default()
                .push(Named {
                    image: alert.name(),
                    severity: alert.severity,
                    id: &alert.id,
                });
        }
        to_json(&Document {
            schema: "ecr-guard/alert/v1",
            id: text::line(&self.id(), MAX_ID),
            kind: SUMMARY,
            severity: self.alerts.iter().filter_map(|alert| alert.severity).max(),
            time: time(self.time),
            account: self.registry.account.as_str(),
            region: self.registry.region.as_str(),
            repository: None,
            digest: None,
            tags: [],
            title: text::line(&self.title(), MAX_TITLE),
            reason: self.reason(),
            findings: [],
            omitted_findings: 0,
            action: None,
            alerts,
            kept_back: self.kept_back,
            next_steps: Self::steps(),
        })
    }

    /// How many alerts there are in each repository, most first.
    fn repositories(&self) -> Vec<(&str, usize)> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for repository in self.alerts.iter().filter_map(|alert| alert.repository.as_ref()) {
            *counts.entry(repository.as_str()).or_default() += 1;
        }
        let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
        counts.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
        counts
    }

    fn email(&self) -> String {
        let mut lines = vec![text::plain(&self.title(), MAX_TITLE), String::new()];
        email::wrap(&mut lines, "", &self.reason());
        email::heading(&mut lines, "REPOSITORIES");
        let repositories = self.repositories();
        for (repository, count) in repositories.iter().take(LISTED_REPOSITORIES) {
            lines.push(format!("  {count:>6}  {repository}"));
        }
        if let Some(more) = beyond(repositories.len(), LISTED_REPOSITORIES) {
            lines.push(format!("  and {more} more repositories"));
        }
        email::heading(&mut lines, "ALERTS, WORST FIRST");
        for alert in self.alerts.iter().take(LISTED) {
            let repository = alert
                .repository
                .as_ref()
                .map_or("registry", |repository| repository.as_str());
            let severity = alert.severity.map(|severity| format!("  {severity}"));
            lines.push(format!(
                "  {repository}  {}{}",
                alert.name(),
                severity.unwrap_or_default()
            ));
            email::wrap(&mut lines, "    ", &text::plain(&alert.title, MAX_TITLE));
        }
        if let Some(more) = beyond(self.alerts.len(), LISTED) {
            lines.push(format!("  and {more} more: the JSON form names all of them"));
        }
        email::steps(&mut lines, &Self::steps());
        email::end(&mut lines, &self.id());
        lines.join("\n")
    }

    fn chat(&self) -> String {
        let mut lines = vec![
            text::markdown(&self.reason()),
            String::new(),
            format!("*Account:* {}, region {}", self.registry.account, self.registry.region),
        ];
        lines.extend(self.alerts.iter().take(LISTED_IN_CHAT).map(|alert| {
            let repository = alert
                .repository
                .as_ref()
                .map_or("registry", |repository| repository.as_str());
            let repository = text::code(&text::line(repository, MAX_NAME));
            format!("• {repository} {}: {}", text::code(&alert.name()), words(&alert.kind))
        }));
        if let Some(more) = beyond(self.alerts.len(), LISTED_IN_CHAT) {
            lines.push(format!("and {more} more"));
        }
        let about = chat::AboutRegistry {
            key: &self.registry,
            id: &self.id(),
            kind: SUMMARY,
            title: &self.title(),
        };
        chat::registry(&about, lines.join("\n"), Self::steps().into_iter())
    }
}

/// A kind of alert, for a person. A kind that this version does not know is named by its own word.
fn words(kind: &str) -> String {
    match kind {
        "image-blocked" => "blocked".to_owned(),
        "image-held" => "NOT blocked".to_owned(),
        "image-review" => "to review".to_owned(),
        "image-released" => "released".to_owned(),
        "image-bypass" => "blocked again".to_owned(),
        "scan-failed" => "not scanned".to_owned(),
        "scan-overdue" => "scan overdue".to_owned(),
        other => text::line(&other.replace('-', " "), MAX_NAME),
    }
}

fn beyond(count: usize, listed: usize) -> Option<usize> {
    count.checked_sub(listed).filter(|more| *more > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::alert::brief::BriefSchema;

    fn alert(number: usize, kind: &str, severity: Option<Severity>) -> BriefAlert {
        BriefAlert {
            schema: BriefSchema::V1,
            topic: "arn:aws:sns:us-west-2:123456789012:alerts".parse().unwrap(),
            id: format!("{number:032x}"),
            kind: kind.to_owned(),
            severity,
            time: "2026-11-24T11:30:00Z".parse().unwrap(),
            registry: RegistryKey {
                account: "123456789012".parse().unwrap(),
                region: "us-west-2".parse().unwrap(),
            },
            repository: Some(format!("team-{}/api", number % 40).parse().unwrap()),
            digest: Some(format!("sha256:{number:064x}").parse().unwrap()),
            tag: Some(format!("v1.0.{number}").parse().unwrap()),
            title: format!("team-{}/api v1.0.{number} needs a review", number % 40),
        }
    }

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn one_message_names_a_thousand_alerts() {
        let alerts = (0..1000).map(|number| alert(number, "image-review", Some(Severity::High)));
        let (message, named) = AlertSummary::of(alerts.collect(), now()).unwrap().message();
        assert_eq!(named.len(), 1000);
        assert!(message.body().len() <= MAX_MESSAGE_BYTES);
        let document: Value = serde_json::from_str(&message.default).unwrap();
        let images: Vec<&Value> = document["alerts"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|kinds| kinds["image-review"].as_array().unwrap())
            .collect();
        assert_eq!(images.len(), 1000);
        assert_eq!(
            document["alerts"]["team-7/api"]["image-review"][0]["image"],
            "v1.0.7@000000000000"
        );
    }

    #[test]
    fn what_does_not_fit_is_left_for_the_next_summary_and_said_so() {
        let alerts: Vec<BriefAlert> = (0..5000)
            .map(|number| {
                let worst = number % 1000 == 0;
                let kind = if worst { "image-held" } else { "image-review" };
                alert(
                    number,
                    kind,
                    Some(if worst { Severity::Critical } else { Severity::High }),
                )
            })
            .collect();
        let (mut left, mut messages) = (alerts, 0);
        while let Some(summary) = AlertSummary::of(left.clone(), now()) {
            let (message, named) = summary.message();
            assert!(message.body().len() <= MAX_MESSAGE_BYTES);
            assert!(!named.is_empty());
            if messages == 0 {
                assert_eq!(named.iter().filter(|alert| alert.kind == "image-held").count(), 5);
                let document: Value = serde_json::from_str(&message.default).unwrap();
                assert_eq!(document["kept_back"], left.len() - named.len());
            }
            left.retain(|alert| !named.contains(alert));
            messages += 1;
        }
        assert!(messages <= 5, "{messages} messages");
    }

    #[test]
    fn the_worst_come_first_and_an_alert_is_named_once() {
        let alerts = vec![
            alert(1, "scan-failed", None),
            alert(2, "image-review", Some(Severity::High)),
            alert(3, "image-held", Some(Severity::Critical)),
            alert(3, "image-held", Some(Severity::Critical)),
            alert(4, "a-kind-of-tomorrow", None),
        ];
        let (message, named) = AlertSummary::of(alerts, now()).unwrap().message();
        let order: Vec<&str> = named.iter().map(|alert| alert.kind.as_str()).collect();
        assert_eq!(
            order,
            ["image-held", "image-review", "scan-failed", "a-kind-of-tomorrow"]
        );
        insta::assert_snapshot!(message.email);
        insta::assert_snapshot!(message.sms, @"ecr-guard SUMMARY us-west-2: 1 NOT blocked, 1 to review, 1 not scanned, 1 a kind of tomorrow");
    }

    #[test]
    fn the_same_alerts_make_the_same_id() {
        let id = |numbers: &[usize]| {
            let alerts = numbers.iter().map(|number| alert(*number, "image-review", None));
            AlertSummary::of(alerts.collect(), now()).unwrap().id()
        };
        assert_eq!(id(&[1, 2, 3]), id(&[3, 1, 2, 2]));
        assert_ne!(id(&[1, 2, 3]), id(&[1, 2]));
    }

    #[test]
    fn no_alerts_make_no_summary() {
        assert_eq!(AlertSummary::of(Vec::new(), now()), None);
    }
}
