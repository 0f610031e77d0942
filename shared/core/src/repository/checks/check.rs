//! A check of a repository's settings, and its result.

use crate::{
    finding::Severity,
    notice::Change,
    repository::{
        facts::RepositoryFacts,
        keys::Refusal,
        posture::{PostureRules, Repository, TagMutability},
    },
    text,
};

/// A check of one setting of a repository.
#[derive(Debug)]
pub struct PostureCheck {
    /// The members of the policy that ask for it, such as `posture.encryption`. Its result is alerted under the first.
    pub settings: &'static [&'static str],
    /// The permissions of the functions for it and for its repair: the column of the table in `docs/repository-rules.md`.
    pub permissions: &'static [&'static str],
    /// The deviations from the policy.
    pub(in crate::repository) check: fn(&PostureCase<'_>) -> Vec<Deviation>,
}

/// A repository, and what the policy wants of its settings.
#[derive(Clone, Copy)]
pub(in crate::repository) struct PostureCase<'a> {
    pub(in crate::repository) rules: &'a PostureRules,
    pub(in crate::repository) facts: &'a RepositoryFacts,
    pub(in crate::repository) repository: &'a Repository,
}

/// A change of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepositoryEffect {
    /// Its tag mutability is set.
    TagMutability(TagMutability),
    /// Its own flag for scanning is set.
    ScanOnPush,
    /// Its policy is replaced; with `None`, removed.
    Access(Option<String>),
    /// Its lifecycle policy is set.
    Lifecycle(String),
}

/// A setting that is not as the policy wants it.
pub(in crate::repository) struct Deviation {
    pub(in crate::repository) setting: &'static str,
    /// The part of the setting: the key of a tag, the name of a statement.
    pub(in crate::repository) of: Option<String>,
    pub(in crate::repository) is: String,
    pub(in crate::repository) wanted: String,
    pub(in crate::repository) repair: Option<RepositoryEffect>,
    pub(in crate::repository) severity: Option<Severity>,
    /// A message that may be different each time: the alert quotes it, and it is not compared.
    pub(in crate::repository) said: Option<String>,
}

impl Deviation {
    pub(in crate::repository) fn new(setting: &'static str, is: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self {
            setting,
            of: None,
            is: is.into(),
            wanted: wanted.into(),
            repair: None,
            severity: None,
            said: None,
        }
    }

    /// An unknown setting, by a code that is the same each time.
    pub(in crate::repository) fn not_told(setting: &'static str, refusal: &Refusal) -> Self {
        let is = format!("not known: {}", text::line(&refusal.code, 100));
        let wanted = "a key that can be read (kms:DescribeKey, kms:GetKeyRotationStatus)";
        Self {
            said: Some(text::line(&refusal.said, 300)),
            ..Self::new(setting, is, wanted)
        }
    }

    pub(in crate::repository) fn rated(self, severity: Option<Severity>) -> Self {
        Self { severity, ..self }
    }

    pub(in crate::repository) fn of(self, what: &str) -> Self {
        Self {
            of: Some(text::line(what, 128)),
            ..self
        }
    }

    pub(in crate::repository) fn repaired_by(self, effect: RepositoryEffect) -> Self {
        Self {
            repair: Some(effect),
            ..self
        }
    }

    pub(in crate::repository) fn change(&self) -> Change {
        Change {
            setting: match &self.of {
                Some(of) => format!("{}.{of}", self.setting),
                None => self.setting.to_owned(),
            },
            old: self.is.clone(),
            new: self.wanted.clone(),
        }
    }
}
