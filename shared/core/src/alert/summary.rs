//! The hourly summary: one message that names the alerts that were over a topic's budget.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    alert::{
        brief::BriefAlert,
        contact::Contact,
        model::{About, Alert, HELD, Item, List, MAX_MESSAGE_BYTES, MAX_NAME, Message, Sms, details, headline},
        step::NextStep,
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

/// The members of the JSON form that only a summary has.
#[derive(Serialize)]
struct Details<'a> {
    /// By repository, then by kind: what the alerts are about.
    alerts: BTreeMap<&'a str, BTreeMap<&'a str, Vec<Named<'a>>>>,
    kept_back: usize,
}

/// The word for people.
const WORD: &str = "SUMMARY";

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
    /// The summary of the alerts of one topic and registry, in any order; `None` if there are none.
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
    pub fn message(mut self, contact: &Contact) -> (Message, Vec<BriefAlert>) {
        loop {
            let message = self.alert(contact).message();
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

    /// The alert.
    fn alert(&self, contact: &Contact) -> Alert {
        let about = About::registry(&self.registry);
        Alert {
            severity: self.alerts.iter().filter_map(|alert| alert.severity).max(),
            headline: headline(WORD, &self.line(), &[], self.registry.region.as_str()),
            title: self.title(),
            reason: self.reason(),
            is_lead: true,
            steps: Self::steps(),
            lists: vec![self.named(), self.by_repository()],
            details: details(&Details {
                alerts: self.by_kind(),
                kept_back: self.kept_back,
            }),
            sms: Sms {
                name: self.registry.account.to_string(),
                causes: vec![self.line()],
                ..Sms::default()
            },
            contact: contact.clone(),
            ..Alert::new(&self.id(), SUMMARY, WORD, self.time, about)
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
            match kinds.iter_mut().find(|(kind, _)| *kind == alert.kind()) {
                Some((_, count)) => *count += 1,
                None => kinds.push((alert.kind(), 1)),
            }
        }
        kinds
    }

    fn line(&self) -> String {
        let kinds = self.kinds();
        let kinds = kinds.iter().map(|(kind, count)| format!("{count} {}", words(kind)));
        kinds.collect::<Vec<_>>().join("; ")
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

    fn steps() -> Vec<NextStep> {
        vec![
            "Begin with the first repository. The daily digest has the reason for each image.".into(),
            "If most images share a finding, fix their base image and rebuild.".into(),
        ]
    }

    /// The alerts by repository, then by kind.
    fn by_kind(&self) -> BTreeMap<&str, BTreeMap<&str, Vec<Named<'_>>>> {
        let mut alerts: BTreeMap<&str, BTreeMap<&str, Vec<Named<'_>>>> = BTreeMap::new();
        for alert in &self.alerts {
            let repository = alert.repository.as_ref().map_or("", |repository| repository.as_str());
            alerts
                .entry(repository)
                .or_default()
                .entry(alert.kind())
                .or_default()
                .push(Named {
                    image: alert.name(),
                    severity: alert.severity,
                    id: &alert.id,
                });
        }
        alerts
    }

    fn named(&self) -> List {
        let items = self.alerts.iter().take(LISTED).map(|alert| {
            let repository = alert
                .repository
                .as_ref()
                .map_or("registry", |repository| repository.as_str());
            let severity = alert.severity.map(|severity| format!(" {severity}"));
            let severity = severity.unwrap_or_default();
            let text = format!("{}: {repository} {}{severity}", words(alert.kind()), alert.name());
            Item::with(text, alert.title.clone())
        });
        List {
            more: self.alerts.len().saturating_sub(LISTED) as u64,
            in_chat: LISTED_IN_CHAT,
            ..List::new("ALERTS, WORST FIRST (the JSON form names all of them)", items.collect())
        }
    }

    fn by_repository(&self) -> List {
        let repositories = self.repositories();
        let items = repositories.iter().take(LISTED_REPOSITORIES);
        let items = items.map(|(repository, count)| Item::new(format!("{count} in {repository}")));
        List {
            more: repositories.len().saturating_sub(LISTED_REPOSITORIES) as u64,
            ..List::new("BY REPOSITORY", items.collect())
        }
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
}

/// A kind of alert, for a person, in the words of its own subject. A kind that this version does not know is named by its own word.
fn words(kind: &str) -> String {
    match kind {
        "image-blocked" => "BLOCKED".to_owned(),
        "block-deferred" => HELD.to_owned(),
        "image-review" => "REVIEW".to_owned(),
        "image-released" => "RELEASED".to_owned(),
        "image-bypass" => "BLOCKED AGAIN".to_owned(),
        "scan-failed" => "NOT SCANNED".to_owned(),
        "scan-overdue" => "SCAN OVERDUE".to_owned(),
        other => text::line(&other.replace('-', " ").to_uppercase(), MAX_NAME),
    }
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
        let (message, named) = AlertSummary::of(alerts.collect(), now())
            .unwrap()
            .message(&Contact::default());
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
                let kind = if worst { "block-deferred" } else { "image-review" };
                alert(
                    number,
                    kind,
                    Some(if worst { Severity::Critical } else { Severity::High }),
                )
            })
            .collect();
        let (mut left, mut messages) = (alerts, 0);
        while let Some(summary) = AlertSummary::of(left.clone(), now()) {
            let (message, named) = summary.message(&Contact::default());
            assert!(message.body().len() <= MAX_MESSAGE_BYTES);
            assert!(!named.is_empty());
            if messages == 0 {
                assert_eq!(named.iter().filter(|alert| alert.kind == "block-deferred").count(), 5);
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
            alert(3, "block-deferred", Some(Severity::Critical)),
            alert(3, "block-deferred", Some(Severity::Critical)),
            alert(4, "a-kind-of-tomorrow", None),
        ];
        let (message, named) = AlertSummary::of(alerts, now()).unwrap().message(&Contact::default());
        let order: Vec<&str> = named.iter().map(|alert| alert.kind.as_str()).collect();
        assert_eq!(
            order,
            ["block-deferred", "image-review", "scan-failed", "a-kind-of-tomorrow"]
        );
        insta::assert_snapshot!(message.email);
        insta::assert_snapshot!("the_worst_come_first.sms", message.sms);
        crate::alert::tests::assert_chat_fits(&message.https);
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
