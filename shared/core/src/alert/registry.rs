//! Alerts about a registry as a whole.

use jiff::Timestamp;

pub use crate::alert::exception::ExceptionNotice;
use crate::{
    alert::{
        contact::Contact,
        model::{About, Alert, Changes, MAX_NAME, Message, Sms, headline},
        step::NextStep,
    },
    ids::RegistryKey,
    notice::{Change, RegistryAlertKind},
    text,
};

/// The `kind` of the daily digest.
pub const DIGEST: &str = "digest";

/// One alert about a registry.
#[derive(Debug, Clone, PartialEq)]
pub struct RegistryAlert {
    /// The same for the same facts, however often it is delivered.
    pub id: String,
    /// The kind of the alert.
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
    /// The steps for the reader, in order.
    pub next_steps: Vec<NextStep>,
}

/// The most settings that are listed.
const MAX_CHANGES: usize = 20;
/// The longest value of a setting, in characters.
const MAX_VALUE: usize = 600;

impl RegistryAlert {
    /// All forms.
    pub fn message(&self, contact: &Contact) -> Message {
        self.alert(contact).message()
    }

    /// The alert.
    pub fn alert(&self, contact: &Contact) -> Alert {
        let about = About::registry(&self.registry);
        Alert {
            headline: self.headline(),
            title: self.title.clone(),
            reason: self.reason.clone(),
            steps: self.next_steps.clone(),
            changes: Changes {
                list: self.changes.clone(),
                most: MAX_CHANGES,
                longest: MAX_VALUE,
                columns: ("is", "should be"),
            },
            exception: self.exception.clone(),
            sms: Sms {
                name: self.registry.account.to_string(),
                causes: vec![self.title.clone()],
                ..Sms::default()
            },
            contact: contact.clone(),
            ..Alert::new(&self.id, self.kind.as_str(), self.kind.word(), self.time, about)
        }
    }

    fn headline(&self) -> String {
        let name = match &self.exception {
            Some(exception) => text::ascii(&format!("{} on {}", exception.name, exception.last_day), MAX_NAME),
            None => self.registry.account.to_string(),
        };
        let settings = self
            .changes
            .first()
            .map(|change| text::ascii(&change.setting, MAX_NAME));
        let settings: Vec<String> = settings.into_iter().collect();
        headline(self.kind.word(), &name, &settings, self.registry.region.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::alert::tests::{assert_chat_fits, forms};

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
    fn each_kind_in_all_forms() {
        for kind in RegistryAlertKind::ALL {
            let message = alert(kind, "nothing scans 3 repositories").message(&Contact::default());
            assert_chat_fits(&message.https);
            insta::assert_snapshot!(kind.as_str(), forms(&message));
        }
    }

    proptest! {
        #[test]
        fn whatever_a_text_is_the_forms_are_what_they_must_be(value in "\\PC{0,700}|[\\x00-\\x7f]{0,50}") {
            for kind in RegistryAlertKind::ALL {
                let message = alert(kind, &value).message(&Contact::default());
                prop_assert!(message.subject.is_ascii() && message.subject.len() < 100);
                prop_assert!(message.sms.is_ascii() && message.sms.len() <= 140);
                let document: Value = serde_json::from_str(&message.default).unwrap();
                prop_assert_eq!(&document["schema"], "ecr-guard/alert/v2");
                prop_assert_eq!(&document["kind"], kind.as_str());
                assert_chat_fits(&message.https);
                prop_assert!(message.email.lines().all(|line| !line.chars().any(char::is_control)));
                prop_assert!(message.body().len() < crate::alert::model::MAX_MESSAGE_BYTES);
            }
        }
    }
}
