//! Alerts about a repository or one of its tags, in the same forms and the same contract as those about images.

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    alert::{
        chat, email,
        model::{MAX_ID, MAX_REASON, MAX_SUBJECT, MAX_TITLE, Message, listed_changes, listed_steps, time, to_json},
    },
    finding::Severity,
    ids::{Digest, RepositoryKey, Tag},
    notice::{Change, RepositoryAlertKind},
    text,
};

/// One alert.
#[derive(Debug, Clone, PartialEq)]
pub struct RepositoryAlert {
    /// The same for the same facts, however often it is delivered.
    pub id: String,
    /// What it is about.
    pub kind: RepositoryAlertKind,
    /// How bad it is, where that can be said.
    pub severity: Option<Severity>,
    /// When it was decided.
    pub time: Timestamp,
    /// The repository.
    pub repository: RepositoryKey,
    /// The image, where it is about one.
    pub digest: Option<Digest>,
    /// The tag, where it is about one.
    pub tag: Option<Tag>,
    /// One line.
    pub title: String,
    /// A few sentences: why.
    pub reason: String,
    /// The settings.
    pub changes: Vec<Change>,
    /// What the reader can do, in order.
    pub next_steps: Vec<String>,
}

/// The most settings that are listed.
const MAX_CHANGES: usize = 50;
/// The longest value of a setting, in characters.
const MAX_VALUE: usize = 300;

/// `ecr-guard/alert/v1`: the members that every alert has, with `changes`.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    id: String,
    kind: RepositoryAlertKind,
    severity: Option<Severity>,
    time: String,
    account: &'a str,
    region: &'a str,
    repository: &'a str,
    digest: Option<&'a str>,
    tags: Vec<&'a str>,
    title: String,
    reason: String,
    findings: [(); 0],
    omitted_findings: u64,
    action: Option<()>,
    changes: Vec<Change>,
    next_steps: Vec<String>,
}

impl RepositoryAlert {
    /// Renders all forms.
    pub fn message(&self) -> Message {
        Message {
            subject: text::ascii(
                &format!("[ecr-guard] {} {}", self.kind.word(), self.repository.repository),
                MAX_SUBJECT,
            ),
            default: self.json(),
            email: self.email(),
            https: self.chat(),
            sms: self.sms(),
        }
    }

    fn changes(&self) -> impl Iterator<Item = Change> {
        listed_changes(&self.changes, MAX_CHANGES, MAX_VALUE)
    }

    fn steps(&self) -> impl Iterator<Item = String> {
        listed_steps(&self.next_steps)
    }

    fn json(&self) -> String {
        to_json(&Document {
            schema: "ecr-guard/alert/v1",
            id: text::line(&self.id, MAX_ID),
            kind: self.kind,
            severity: self.severity,
            time: time(self.time),
            account: self.repository.account.as_str(),
            region: self.repository.region.as_str(),
            repository: self.repository.repository.as_str(),
            digest: self.digest.as_ref().map(Digest::as_str),
            tags: self.tag.iter().map(Tag::as_str).collect(),
            title: text::line(&self.title, MAX_TITLE),
            reason: text::line(&self.reason, MAX_REASON),
            findings: [],
            omitted_findings: 0,
            action: None,
            changes: self.changes().collect(),
            next_steps: self.steps().collect(),
        })
    }

    fn email(&self) -> String {
        let mut lines = vec![text::plain(&self.title, MAX_TITLE)];
        email::heading(&mut lines, "REPOSITORY");
        let tag = self.tag.as_ref().map(ToString::to_string);
        let digest = self.digest.as_ref().map(ToString::to_string);
        for (name, value) in [
            ("Repository", Some(self.repository.repository.to_string())),
            ("Tag", tag),
            ("Digest", digest),
            ("Account", Some(self.repository.account.to_string())),
            ("Region", Some(self.repository.region.to_string())),
            ("Decided", Some(time(self.time).replace('T', " ").replace('Z', " UTC"))),
        ] {
            if let Some(value) = value {
                lines.push(format!("  {name:<11} {value}"));
            }
        }
        email::heading(&mut lines, "WHY");
        email::wrap(&mut lines, "  ", &text::plain(&self.reason, MAX_REASON));
        if !self.changes.is_empty() {
            let (old, new) = self.columns();
            email::heading(&mut lines, "SETTINGS");
            for change in self.changes() {
                lines.push(format!("  {}", change.setting));
                email::wrap(&mut lines, &format!("    {old:<10} "), &change.old);
                email::wrap(&mut lines, &format!("    {new:<10} "), &change.new);
            }
        }
        email::steps(&mut lines, &self.next_steps);
        email::end(&mut lines, &self.id);
        lines.join("\n")
    }

    fn chat(&self) -> String {
        let (old, new) = self.columns();
        let mut lines = vec![
            text::markdown(&text::line(&self.reason, MAX_REASON)),
            String::new(),
            format!("*Repository:* {}", text::code(self.repository.repository.as_str())),
            format!(
                "*Account:* {}, region {}",
                self.repository.account, self.repository.region
            ),
        ];
        lines.extend(self.changes().take(10).map(|change| {
            let [setting, was, is] = [&change.setting, &change.old, &change.new].map(|value| text::code(value));
            format!("• {setting}: {old} {was}, {new} {is}")
        }));
        let about = chat::AboutRepository {
            key: &self.repository,
            id: &self.id,
            kind: self.kind.as_str(),
            title: &self.title,
        };
        chat::repository(&about, lines.join("\n"), self.steps())
    }

    fn sms(&self) -> String {
        let name = text::ascii(self.repository.repository.as_str(), 60);
        let about = self.changes.first().map_or("", |change| change.setting.as_str());
        let about = text::ascii(about, 40);
        let colon = if about.is_empty() { "" } else { ", " };
        text::ascii(&format!("ecr-guard {}: {name}{colon}{about}", self.kind.word()), 140)
    }

    /// What the two values of a change are called.
    fn columns(&self) -> (&'static str, &'static str) {
        if self.kind.lasts() {
            ("is", "should be")
        } else {
            ("was", "is now")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn alert(kind: RepositoryAlertKind, value: &str) -> RepositoryAlert {
        RepositoryAlert {
            id: "5d41402abc4b2a76b9719d911017c592".into(),
            kind,
            severity: Some(Severity::Critical),
            time: "2026-11-23T21:00:00Z".parse().unwrap(),
            repository: RepositoryKey {
                account: "123456789012".parse().unwrap(),
                region: "us-west-2".parse().unwrap(),
                repository: "pipeops-prod-api".parse().unwrap(),
            },
            digest: None,
            tag: None,
            title: "pipeops-prod-api: 1 setting was repaired".into(),
            reason: value.into(),
            changes: vec![Change {
                setting: "posture.tag_mutability".into(),
                old: value.into(),
                new: "IMMUTABLE".into(),
            }],
            next_steps: vec![
                "Look at it: aws ecr describe-repositories --region us-west-2 --repository-names pipeops-prod-api"
                    .into(),
            ],
        }
    }

    #[test]
    fn the_four_forms() {
        let Message {
            subject,
            default,
            email,
            https,
            sms,
        } = alert(RepositoryAlertKind::PostureRepaired, "MUTABLE").message();
        let lines = |json: &str| json.replace(",\"", ",\n\"");
        insta::assert_snapshot!(format!("{subject}\n=== sms\n{sms}\n=== email\n{email}=== https\n{}\n=== default\n{}", lines(&https), lines(&default)), @r#"
        [ecr-guard] SETTINGS REPAIRED pipeops-prod-api
        === sms
        ecr-guard SETTINGS REPAIRED: pipeops-prod-api, posture.tag_mutability
        === email
        pipeops-prod-api: 1 setting was repaired

        REPOSITORY
          Repository  pipeops-prod-api
          Account     123456789012
          Region      us-west-2
          Decided     2026-11-23 21:00:00 UTC

        WHY
          MUTABLE

        SETTINGS
          posture.tag_mutability
            was        MUTABLE
            is now     IMMUTABLE

        NEXT STEPS
          1. Look at it:
             aws ecr describe-repositories --region us-west-2 --repository-names pipeops-prod-api

        Alert 5d41402abc4b2a76b9719d911017c592
        If this arrives again with the same id, it is the same alert.
        === https
        {"version":"1.0",
        "source":"custom",
        "id":"5d41402abc4b2a76b9719d911017c592",
        "content":{"textType":"client-markdown",
        "title":"pipeops-prod-api: 1 setting was repaired",
        "description":"MUTABLE\n\n*Repository:* `pipeops-prod-api`\n*Account:* 123456789012, region us-west-2\n• `posture.tag_mutability`: was `MUTABLE`, is now `IMMUTABLE`",
        "nextSteps":["Look at it: aws ecr describe-repositories --region us-west-2 --repository-names pipeops-prod-api"],
        "keywords":["posture-repaired",
        "pipeops-prod-api"]},
        "metadata":{"threadId":"123456789012/us-west-2/pipeops-prod-api",
        "summary":"pipeops-prod-api: 1 setting was repaired",
        "eventType":"posture-repaired",
        "relatedResources":["arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-api"],
        "additionalContext":{"account":"123456789012",
        "alertId":"5d41402abc4b2a76b9719d911017c592",
        "region":"us-west-2",
        "repository":"pipeops-prod-api"}}}
        === default
        {"schema":"ecr-guard/alert/v1",
        "id":"5d41402abc4b2a76b9719d911017c592",
        "kind":"posture-repaired",
        "severity":"CRITICAL",
        "time":"2026-11-23T21:00:00Z",
        "account":"123456789012",
        "region":"us-west-2",
        "repository":"pipeops-prod-api",
        "digest":null,
        "tags":[],
        "title":"pipeops-prod-api: 1 setting was repaired",
        "reason":"MUTABLE",
        "findings":[],
        "omitted_findings":0,
        "action":null,
        "changes":[{"setting":"posture.tag_mutability",
        "old":"MUTABLE",
        "new":"IMMUTABLE"}],
        "next_steps":["Look at it: aws ecr describe-repositories --region us-west-2 --repository-names pipeops-prod-api"]}
        "#);
    }

    proptest! {
        #[test]
        fn whatever_a_value_is_the_forms_are_what_they_must_be(value in "\\PC{0,600}|[\\x00-\\x7f]{0,50}") {
            for kind in RepositoryAlertKind::ALL {
                let message = alert(kind, &value).message();
                prop_assert!(message.subject.is_ascii() && message.subject.len() < 100);
                prop_assert!(message.sms.is_ascii() && message.sms.len() <= 140);
                let document: Value = serde_json::from_str(&message.default).unwrap();
                prop_assert_eq!(&document["schema"], "ecr-guard/alert/v1");
                prop_assert_eq!(&document["kind"], kind.as_str());
                prop_assert!(serde_json::from_str::<Value>(&message.https).is_ok());
                prop_assert!(message.email.lines().all(|line| !line.chars().any(char::is_control)));
                prop_assert!(message.body().len() < crate::alert::model::MAX_MESSAGE_BYTES);
            }
        }
    }
}
