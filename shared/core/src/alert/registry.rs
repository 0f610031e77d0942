//! Alerts about a registry as a whole, in the same forms and the same contract as those about images.

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    alert::{
        chat, email,
        model::{
            MAX_ID, MAX_NAME, MAX_REASON, MAX_SUBJECT, MAX_TITLE, Message, listed_changes, listed_steps, time, to_json,
        },
    },
    ids::RegistryKey,
    notice::{Change, RegistryAlertKind},
    policy::Exception,
    text,
};

/// The `kind` of the daily digest.
pub const DIGEST: &str = "digest";

/// An exception of the policy, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExceptionNotice {
    /// Its place in the policy, and its ticket if it has one.
    pub name: String,
    /// Which vulnerabilities.
    pub vulnerability: String,
    /// In which packages.
    pub package: Option<String>,
    /// In which repositories, the first [`MAX_GLOBS`].
    pub repositories: Vec<String>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// The last day on which it holds, in UTC.
    pub last_day: String,
}

/// How many globs of repositories are shown of an exception.
pub const MAX_GLOBS: usize = 5;

impl ExceptionNotice {
    /// Of an exception.
    pub fn of(exception: &Exception) -> Self {
        let line = |value: &str| text::line(value, MAX_NAME);
        Self {
            name: line(&exception.name),
            vulnerability: line(exception.vulnerability.as_str()),
            package: exception.package.as_ref().map(|glob| line(glob.as_str())),
            repositories: exception
                .repositories
                .iter()
                .take(MAX_GLOBS)
                .map(|glob| line(glob.as_str()))
                .collect(),
            owner: line(&exception.owner),
            reason: text::line(&exception.reason, 2 * MAX_NAME),
            last_day: exception.last_day(),
        }
    }

    /// What it is for, on one line.
    pub fn scope(&self) -> String {
        let package = self.package.as_ref().map(|package| format!(" in {package}"));
        format!(
            "{}{} of {}",
            self.vulnerability,
            package.unwrap_or_default(),
            self.repositories.join(", ")
        )
    }
}

/// One alert.
#[derive(Debug, Clone, PartialEq)]
pub struct RegistryAlert {
    /// The same for the same facts, however often it is delivered.
    pub id: String,
    /// What it is about.
    pub kind: RegistryAlertKind,
    /// When it was decided.
    pub time: Timestamp,
    /// The registry.
    pub registry: RegistryKey,
    /// One line.
    pub title: String,
    /// A few sentences: why.
    pub reason: String,
    /// The settings: as they are, and as they should be.
    pub changes: Vec<Change>,
    /// The exception that ends.
    pub exception: Option<ExceptionNotice>,
    /// What the reader can do, in order.
    pub next_steps: Vec<String>,
}

/// The most settings that are listed.
const MAX_CHANGES: usize = 20;
/// The longest value of a setting, in characters.
const MAX_VALUE: usize = 600;

/// `ecr-guard/alert/v1`: the members that every alert has, with `changes` and `exception`.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    id: String,
    kind: RegistryAlertKind,
    severity: Option<()>,
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
    changes: Vec<Change>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exception: Option<&'a ExceptionNotice>,
    next_steps: Vec<String>,
}

impl RegistryAlert {
    /// Renders all forms.
    pub fn message(&self) -> Message {
        Message {
            subject: text::ascii(
                &format!("[ecr-guard] {} {}", self.kind.word(), self.about()),
                MAX_SUBJECT,
            ),
            default: self.json(),
            email: self.email(),
            https: self.chat(),
            sms: text::ascii(&format!("ecr-guard {}: {}", self.kind.word(), self.title), 140),
        }
    }

    fn about(&self) -> String {
        match &self.exception {
            Some(exception) => format!("{} on {}", exception.name, exception.last_day),
            None => self.registry.to_string(),
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
            severity: None,
            time: time(self.time),
            account: self.registry.account.as_str(),
            region: self.registry.region.as_str(),
            repository: None,
            digest: None,
            tags: [],
            title: text::line(&self.title, MAX_TITLE),
            reason: text::line(&self.reason, MAX_REASON),
            findings: [],
            omitted_findings: 0,
            action: None,
            changes: self.changes().collect(),
            exception: self.exception.as_ref(),
            next_steps: self.steps().collect(),
        })
    }

    fn email(&self) -> String {
        let mut lines = vec![text::plain(&self.title, MAX_TITLE)];
        email::heading(&mut lines, "REGISTRY");
        for (name, value) in [
            ("Account", self.registry.account.to_string()),
            ("Region", self.registry.region.to_string()),
            ("Decided", time(self.time).replace('T', " ").replace('Z', " UTC")),
        ] {
            lines.push(format!("  {name:<11} {value}"));
        }
        email::heading(&mut lines, "WHY");
        email::wrap(&mut lines, "  ", &text::plain(&self.reason, MAX_REASON));
        if let Some(exception) = &self.exception {
            email::heading(&mut lines, "EXCEPTION");
            for (name, value) in [
                ("Place", &exception.name),
                ("Covers", &exception.scope()),
                ("Owner", &exception.owner),
                ("Reason", &exception.reason),
                ("Last day", &exception.last_day),
            ] {
                email::wrap(&mut lines, &format!("  {name:<11} "), &text::plain(value, MAX_REASON));
            }
        }
        if !self.changes.is_empty() {
            email::heading(&mut lines, "SETTINGS");
            for change in self.changes() {
                lines.push(format!("  {}", change.setting));
                email::wrap(
                    &mut lines,
                    &format!("    {:<10} ", "is"),
                    &text::plain(&change.old, MAX_VALUE),
                );
                email::wrap(
                    &mut lines,
                    &format!("    {:<10} ", "should be"),
                    &text::plain(&change.new, MAX_VALUE),
                );
            }
        }
        email::steps(&mut lines, &self.next_steps);
        email::end(&mut lines, &self.id);
        lines.join("\n")
    }

    fn chat(&self) -> String {
        let mut lines = vec![
            text::markdown(&text::line(&self.reason, MAX_REASON)),
            String::new(),
            format!("*Account:* {}, region {}", self.registry.account, self.registry.region),
        ];
        if let Some(exception) = &self.exception {
            lines.push(format!("*Covers:* {}", text::markdown(&exception.scope())));
            lines.push(format!("*Owner:* {}", text::code(&exception.owner)));
        }
        lines.extend(self.changes().take(10).map(|change| {
            let [setting, is, wanted] = [&change.setting, &change.old, &change.new].map(|value| text::markdown(value));
            format!("• {setting}: is {is}, should be {wanted}")
        }));
        let about = chat::AboutRegistry {
            key: &self.registry,
            id: &self.id,
            kind: self.kind.as_str(),
            title: &self.title,
        };
        chat::registry(&about, lines.join("\n"), self.steps())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn alert(kind: RegistryAlertKind, text: &str) -> RegistryAlert {
        let exception = ExceptionNotice {
            name: "exceptions[3] SEC-12".into(),
            vulnerability: "CVE-2026-1234".into(),
            package: Some("openssl".into()),
            repositories: vec!["pipeops-prod-*".into()],
            owner: text::line(text, MAX_NAME),
            reason: "not reachable".into(),
            last_day: "2026-11-30".into(),
        };
        let change = Change {
            setting: "registry.scanning".into(),
            old: text.into(),
            new: "a rule that scans them".into(),
        };
        RegistryAlert {
            id: "5d41402abc4b2a76b9719d911017c592".into(),
            kind,
            time: "2026-11-24T12:00:00Z".parse().unwrap(),
            registry: RegistryKey {
                account: "123456789012".parse().unwrap(),
                region: "us-west-2".parse().unwrap(),
            },
            title: "exceptions[3] SEC-12 ends on 2026-11-30".into(),
            reason: text.into(),
            changes: (kind == RegistryAlertKind::RegistryDrift)
                .then_some(change)
                .into_iter()
                .collect(),
            exception: (kind == RegistryAlertKind::ExceptionExpiring).then_some(exception),
            next_steps: vec!["Fix the images, or renew the exception in the policy.".into()],
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
        } = alert(RegistryAlertKind::ExceptionExpiring, "team-a@example.com").message();
        let lines = |json: &str| json.replace(",\"", ",\n\"");
        insta::assert_snapshot!(format!(
            "{subject}\n=== sms\n{sms}\n=== email\n{email}=== https\n{}\n=== default\n{}",
            lines(&https),
            lines(&default)
        ), @r#"
        [ecr-guard] EXCEPTION ENDS exceptions[3] SEC-12 on 2026-11-30
        === sms
        ecr-guard EXCEPTION ENDS: exceptions[3] SEC-12 ends on 2026-11-30
        === email
        exceptions[3] SEC-12 ends on 2026-11-30

        REGISTRY
          Account     123456789012
          Region      us-west-2
          Decided     2026-11-24 12:00:00 UTC

        WHY
          team-a@example.com

        EXCEPTION
          Place       exceptions[3] SEC-12
          Covers      CVE-2026-1234 in openssl of pipeops-prod-*
          Owner       team-a@example.com
          Reason      not reachable
          Last day    2026-11-30

        NEXT STEPS
          1. Fix the images, or renew the exception in the policy.

        Alert 5d41402abc4b2a76b9719d911017c592
        If this arrives again with the same id, it is the same alert.
        === https
        {"version":"1.0",
        "source":"custom",
        "id":"5d41402abc4b2a76b9719d911017c592",
        "content":{"textType":"client-markdown",
        "title":"`exceptions[3]` SEC-12 ends on 2026-11-30",
        "description":"`team-a@example.com`\n\n*Account:* 123456789012, region us-west-2\n*Covers:* CVE-2026-1234 in openssl of `pipeops-prod-*`\n*Owner:* `team-a@example.com`",
        "nextSteps":["Fix the images, or renew the exception in the policy."],
        "keywords":["exception-expiring"]},
        "metadata":{"threadId":"123456789012/us-west-2/exception-expiring",
        "summary":"`exceptions[3]` SEC-12 ends on 2026-11-30",
        "eventType":"exception-expiring",
        "relatedResources":[],
        "additionalContext":{"account":"123456789012",
        "alertId":"5d41402abc4b2a76b9719d911017c592",
        "region":"us-west-2"}}}
        === default
        {"schema":"ecr-guard/alert/v1",
        "id":"5d41402abc4b2a76b9719d911017c592",
        "kind":"exception-expiring",
        "severity":null,
        "time":"2026-11-24T12:00:00Z",
        "account":"123456789012",
        "region":"us-west-2",
        "repository":null,
        "digest":null,
        "tags":[],
        "title":"exceptions[3] SEC-12 ends on 2026-11-30",
        "reason":"team-a@example.com",
        "findings":[],
        "omitted_findings":0,
        "action":null,
        "changes":[],
        "exception":{"name":"exceptions[3] SEC-12",
        "vulnerability":"CVE-2026-1234",
        "package":"openssl",
        "repositories":["pipeops-prod-*"],
        "owner":"team-a@example.com",
        "reason":"not reachable",
        "last_day":"2026-11-30"},
        "next_steps":["Fix the images, or renew the exception in the policy."]}
        "#);
        insta::assert_snapshot!(
            alert(RegistryAlertKind::RegistryDrift, "nothing scans 3 repositories")
                .message()
                .email, @"
        exceptions[3] SEC-12 ends on 2026-11-30

        REGISTRY
          Account     123456789012
          Region      us-west-2
          Decided     2026-11-24 12:00:00 UTC

        WHY
          nothing scans 3 repositories

        SETTINGS
          registry.scanning
            is         nothing scans 3 repositories
            should be  a rule that scans them

        NEXT STEPS
          1. Fix the images, or renew the exception in the policy.

        Alert 5d41402abc4b2a76b9719d911017c592
        If this arrives again with the same id, it is the same alert.
        ");
    }

    proptest! {
        #[test]
        fn whatever_a_text_is_the_forms_are_what_they_must_be(value in "\\PC{0,700}|[\\x00-\\x7f]{0,50}") {
            for kind in RegistryAlertKind::ALL {
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
