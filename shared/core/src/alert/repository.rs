//! Alerts about a repository or one of its tags.

use jiff::Timestamp;

use crate::{
    alert::{
        contact::Contact,
        model::{About, Alert, Changes, Message, Sms, headline},
        step::NextStep,
    },
    finding::Severity,
    ids::{Digest, Region, RegistryKey, RepositoryKey, Tag},
    notice::{Change, RepositoryAlertKind},
    text,
};

/// One alert about a repository.
#[derive(Debug, Clone, PartialEq)]
pub struct RepositoryAlert {
    /// The same for the same facts, however often it is delivered.
    pub id: String,
    /// The kind of the alert.
    pub kind: RepositoryAlertKind,
    /// How bad it is, where that can be said.
    pub severity: Option<Severity>,
    /// When it was decided.
    pub time: Timestamp,
    /// The repository.
    pub repository: RepositoryKey,
    /// The region of the copies, where it is about copies.
    pub copies_in: Option<Region>,
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
    /// The steps for the reader, in order.
    pub next_steps: Vec<NextStep>,
}

/// The most settings that are listed.
const MAX_CHANGES: usize = 50;
/// The longest value of a setting, in characters.
const MAX_VALUE: usize = 300;
/// The longest name of a setting in a subject.
const MAX_SETTING: usize = 40;

impl RepositoryAlert {
    /// All forms.
    pub fn message(&self, contact: &Contact) -> Message {
        self.alert(contact).message()
    }

    /// The alert.
    pub fn alert(&self, contact: &Contact) -> Alert {
        let key = &self.repository;
        let about = About {
            registry: RegistryKey {
                account: key.account.clone(),
                region: key.region.clone(),
            },
            repository: Some(key.repository.clone()),
            digest: self.digest.clone(),
            tags: self.tag.iter().cloned().collect(),
            tags_may_have_moved: true,
        };
        Alert {
            severity: self.severity,
            headline: self.headline(),
            title: self.title.clone(),
            reason: self.reason.clone(),
            steps: self.next_steps.clone(),
            changes: Changes {
                list: self.changes.clone(),
                most: MAX_CHANGES,
                longest: MAX_VALUE,
                columns: self.columns(),
            },
            sms: self.sms(),
            contact: contact.clone(),
            ..Alert::new(&self.id, self.kind.as_str(), self.kind.word(), self.time, about)
        }
    }

    /// The part of the repository: a tag, or the region of its copies.
    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}"));
        let copies = self
            .copies_in
            .as_ref()
            .filter(|region| **region != self.repository.region);
        let copies = copies.map(|region| format!(" -> {region}"));
        format!("{}{}", tag.unwrap_or_default(), copies.unwrap_or_default())
    }

    fn headline(&self) -> String {
        let name = format!("{}{}", self.repository.repository, self.suffix());
        let setting = self
            .changes
            .first()
            .filter(|_| self.tag.is_none() && self.copies_in.is_none());
        let setting: Vec<String> = setting
            .map(|change| text::ascii(&change.setting, MAX_SETTING))
            .into_iter()
            .collect();
        headline(self.kind.word(), &name, &setting, self.repository.region.as_str())
    }

    fn sms(&self) -> Sms {
        let change = self.changes.first();
        let setting = change.filter(|_| self.tag.is_none());
        let is_now = change.map(|change| if self.kind.lasts() { &change.old } else { &change.new });
        let step = self.next_steps.first();
        Sms {
            name: self.repository.repository.to_string(),
            // A tag that is cut would be another tag.
            suffix: Some(self.suffix())
                .filter(|suffix| suffix.len() <= MAX_SETTING)
                .unwrap_or_default(),
            causes: setting
                .map(|change| change.setting.clone())
                .into_iter()
                .chain(is_now.map(|value| without_arn(value).to_owned()))
                .collect(),
            end: self.kind.sms_end(),
            then: step
                .map(|step| step.text.trim_end_matches(':').to_owned())
                .unwrap_or_default(),
        }
    }

    /// The headings of the two values of a change.
    fn columns(&self) -> (&'static str, &'static str) {
        if self.kind.lasts() {
            ("is", "should be")
        } else {
            ("was", "is now")
        }
    }
}

/// The state at the end of a value that begins with a name, as in `arn:aws:kms:…: disabled`: a telephone has no room for the name.
fn without_arn(value: &str) -> &str {
    let state = value.strip_prefix("arn:").and_then(|rest| rest.rsplit_once(": "));
    state.map_or(value, |(_, state)| state)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::alert::tests::{assert_chat_fits, forms};

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
            copies_in: None,
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
    fn an_sms_about_a_key_says_its_state() {
        let mut alert = alert(
            RepositoryAlertKind::KeyUnhealthy,
            "arn:aws:kms:us-west-2:123456789012:key/17649cb9-d122-4770-8b57-725a75134dff: disabled",
        );
        alert.changes[0].setting = "kms_key".to_owned();
        let sms = alert.message(&Contact::default()).sms;
        assert!(sms.contains("kms_key, disabled. Pushes fail"), "{sms}");
    }

    #[test]
    fn each_kind_in_all_forms() {
        for kind in RepositoryAlertKind::ALL {
            let message = alert(kind, "MUTABLE").message(&Contact::default());
            assert_chat_fits(&message.https);
            insta::assert_snapshot!(kind.as_str(), forms(&message));
        }
    }

    proptest! {
        #[test]
        fn whatever_a_value_is_the_forms_are_what_they_must_be(value in "\\PC{0,600}|[\\x00-\\x7f]{0,50}") {
            for kind in RepositoryAlertKind::ALL {
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
