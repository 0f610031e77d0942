//! A short form of an alert for the hourly summary, and how the ledger keeps it until then.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    alert::model::{Alert, MAX_TITLE},
    calendar::day_of,
    finding::Severity,
    ids::{Digest, RegistryKey, RepositoryName, Tag, TopicArn},
    notice::AlertKind,
    text::{self, hex},
};

/// The form of a [`BriefAlert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BriefSchema {
    /// First form.
    #[serde(rename = "ecr-guard/brief-alert/v1")]
    V1,
}

/// The members of an alert that a summary names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BriefAlert {
    /// Form of this document.
    pub schema: BriefSchema,
    /// The topic that it is for.
    pub topic: TopicArn,
    /// The id of the alert. An alert that is kept twice is kept once.
    pub id: String,
    /// The word for its kind, as the version that stored it wrote it. [`BriefAlert::kind`] has the word of this version.
    pub kind: String,
    /// How bad it is, where that can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// When it was decided.
    pub time: Timestamp,
    /// The registry.
    pub registry: RegistryKey,
    /// The repository, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryName>,
    /// The image, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// A tag, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// One line, at most 200 characters.
    pub title: String,
}

/// For how many days an alert is kept that no topic accepts.
pub const KEPT_DAYS: i64 = 14;

impl BriefAlert {
    /// The prefix of the sort keys of a registry's kept alerts: `alert#<region>#`.
    pub fn prefix(registry: &RegistryKey) -> String {
        format!("alert#{}#", registry.region)
    }

    /// The sort key of the item: `alert#<region>#<topic>#<id>`, with a hash of the topic's ARN. The partition key is the account.
    pub fn sort_key(&self) -> String {
        format!("{}{}#{}", Self::prefix(&self.registry), topic_key(&self.topic), self.id)
    }

    /// When the item may be forgotten, in seconds since 1970 (the table's time to live).
    pub fn expires_at(&self) -> i64 {
        self.time.as_second().saturating_add(KEPT_DAYS * 24 * 3600)
    }

    /// The word for its kind, as in the JSON form of an alert. A word that this version does not know stays as it is.
    pub fn kind(&self) -> &str {
        AlertKind::shown_of(&self.kind)
    }

    /// The order of a summary: what is open comes first, then how bad it is, then what is older.
    pub fn order(&self) -> (u8, std::cmp::Reverse<Option<Severity>>, Timestamp, &str) {
        let urgency = match self.kind() {
            "image-bypass" | "key-unhealthy" => 0,
            "block-deferred" | "block-limit" | "access-missing" | "calls-failing" | "image-lost" => 1,
            "image-blocked" => 2,
            "image-review" | "tag-violation" | "tag-moved" | "posture-drift" | "registry-drift" => 3,
            _ => 4,
        };
        (urgency, std::cmp::Reverse(self.severity), self.time, &self.id)
    }

    /// The tag and digest, for a person: `v1.2.3@0f3a9b1c2d4e`.
    pub fn name(&self) -> String {
        match (&self.tag, &self.digest) {
            (Some(tag), Some(digest)) => format!("{tag}@{}", digest.short()),
            (Some(tag), None) => tag.to_string(),
            (None, Some(digest)) => digest.short().to_owned(),
            (None, None) => String::new(),
        }
    }
}

/// The first 16 hexadecimal digits of the SHA-256 of a topic's ARN: a part of a sort key without `#` or `:`.
pub fn topic_key(topic: &TopicArn) -> String {
    hex(&Sha256::digest(topic.as_str())).chars().take(16).collect()
}

/// The sort key of the item that counts the single alerts of a topic on a day: `alerts#<region>#<topic>#<day>`. The partition key is the
/// account.
pub fn counter_key(registry: &RegistryKey, topic: &TopicArn, now: Timestamp) -> String {
    format!("alerts#{}#{}#{}", registry.region, topic_key(topic), day_of(now))
}

/// The attribute of that item that counts an hour: `h00` to `h23`.
pub fn hour_attribute(now: Timestamp) -> String {
    format!("h{:02}", now.as_second().rem_euclid(24 * 3600) / 3600)
}

impl Alert {
    /// The short form for the summary of a topic.
    pub fn brief(&self, topic: &TopicArn) -> BriefAlert {
        BriefAlert {
            schema: BriefSchema::V1,
            topic: topic.clone(),
            id: self.id.clone(),
            kind: self.kind.to_owned(),
            severity: self.severity,
            time: self.time,
            registry: self.about.registry.clone(),
            repository: self.about.repository.clone(),
            digest: self.about.digest.clone(),
            tag: self.about.tags.first().cloned(),
            title: text::line(&self.title, MAX_TITLE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_of_a_day_are_counted_apart() {
        let hour = |at: &str| hour_attribute(at.parse().unwrap());
        assert_eq!(hour("2026-11-24T00:59:59Z"), "h00");
        assert_eq!(hour("2026-11-24T23:00:00Z"), "h23");
        assert_eq!(hour("1969-12-31T23:30:00Z"), "h23");
    }
}
