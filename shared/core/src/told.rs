//! The findings that the people of a repository were notified of, so that tonight's build with yesterday's findings is no news.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{finding::is_named, ids::RepositoryKey, ledger::RecordedFinding, text::hex};

/// The days for which a finding is no news in the same repository after an alert named it.
pub const NEWS_DAYS: i64 = 30;

/// The most findings that are remembered of a repository, the latest ones: about 50 KB, far below the 400 KB of an item.
pub const MAX_TOLD: usize = 2000;

/// The form of a [`ToldFindings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToldSchema {
    /// First form.
    #[serde(rename = "ecr-guard/told/v1")]
    V1,
}

/// The findings that review alerts about a repository's images have named, in one region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldFindings {
    /// Form of this document.
    pub schema: ToldSchema,
    /// The repository.
    pub repository: RepositoryKey,
    /// Number of the write that made this row; a write must name the one before.
    pub generation: u64,
    /// When an alert last named each finding, in days since 1970, by a hash of vulnerability and package.
    pub days: BTreeMap<String, i64>,
}

impl ToldFindings {
    /// No finding was alerted yet.
    pub fn none(repository: RepositoryKey) -> Self {
        Self {
            schema: ToldSchema::V1,
            repository,
            generation: 0,
            days: BTreeMap::new(),
        }
    }

    /// The sort key of the row: `told#<region>`. The partition key is that of the repository.
    pub fn sort_key(repository: &RepositoryKey) -> String {
        format!("told#{}", repository.region)
    }

    /// Whether an alert named a finding within [`NEWS_DAYS`].
    pub fn knows(&self, finding: &RecordedFinding, now: Timestamp) -> bool {
        // A finding that was not listed could be any.
        is_named(&finding.id) && self.days.get(&key(finding)).is_some_and(|day| is_recent(*day, now))
    }

    /// The row to write after an alert named these findings; `None` if that changes nothing.
    pub fn with<'a>(&self, findings: impl IntoIterator<Item = &'a RecordedFinding>, now: Timestamp) -> Option<Self> {
        let mut days = self.days.clone();
        days.retain(|_, day| is_recent(*day, now));
        let remembered = days.len();
        for finding in findings {
            // A finding that is known keeps its day: nightly builds would make it old news for ever otherwise.
            days.entry(key(finding)).or_insert_with(|| day(now));
        }
        if days.len() == remembered {
            return None;
        }
        if days.len() > MAX_TOLD {
            let mut latest: Vec<(String, i64)> = days.into_iter().collect();
            latest.sort_by(|(one_key, one), (other_key, other)| other.cmp(one).then_with(|| one_key.cmp(other_key)));
            latest.truncate(MAX_TOLD);
            days = latest.into_iter().collect();
        }
        Some(Self {
            generation: self.generation + 1,
            days,
            ..self.clone()
        })
    }
}

fn day(at: Timestamp) -> i64 {
    at.as_second().div_euclid(24 * 3600)
}

fn is_recent(told: i64, now: Timestamp) -> bool {
    day(now).saturating_sub(told) < NEWS_DAYS
}

/// 16 hexadecimal digits: among 2,000 findings, two have the same with a probability of 1 in 10^13.
fn key(finding: &RecordedFinding) -> String {
    let (vulnerability, package) = finding.identity();
    let mut hash = Sha256::new();
    hash.update(vulnerability);
    hash.update([0]);
    hash.update(package.unwrap_or_default());
    hex(&hash.finalize()).chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{
        finding::Severity,
        testing::{image_key, now, recorded},
    };

    fn nothing() -> ToldFindings {
        ToldFindings::none(RepositoryKey::of(&image_key()))
    }

    #[test]
    fn a_finding_is_news_again_after_thirty_days_however_often_it_is_seen() {
        let finding = recorded("CVE-2026-1", Severity::High);
        let told = nothing().with([&finding], now()).unwrap();
        assert_eq!(told.generation, 1);
        let day = |days: i64| now() + SignedDuration::from_hours(24 * days);
        assert!(told.knows(&finding, day(29)));
        assert_eq!(told.with([&finding], day(29)), None);
        assert!(!told.knows(&finding, day(30)));
        assert_eq!(told.with([&finding], day(30)).unwrap().generation, 2);
    }

    #[test]
    fn the_same_vulnerability_in_another_package_is_news() {
        let finding = recorded("CVE-2026-1", Severity::High);
        let told = nothing().with([&finding], now()).unwrap();
        let elsewhere = RecordedFinding {
            package: Some("zlib".to_owned()),
            ..finding
        };
        assert!(!told.knows(&elsewhere, now()));
    }

    #[test]
    fn what_the_scanner_counted_and_did_not_list_is_always_news() {
        let finding = recorded(crate::finding::UNLISTED, Severity::High);
        let told = nothing().with([&finding], now()).unwrap();
        assert!(!told.knows(&finding, now()));
    }

    #[test]
    fn the_row_of_a_repository_with_many_findings_stays_small() {
        let findings: Vec<RecordedFinding> = (0..3 * MAX_TOLD)
            .map(|number| recorded(&format!("CVE-2026-{number}"), Severity::High))
            .collect();
        let mut told = nothing();
        for (number, some) in findings.chunks(300).enumerate() {
            let day = now() + SignedDuration::from_hours(24 * i64::try_from(number).unwrap());
            told = told.with(some, day).unwrap();
        }
        assert_eq!(told.days.len(), MAX_TOLD);
        assert!(serde_json::to_string(&told).unwrap().len() < 60_000);
        let last = now() + SignedDuration::from_hours(24 * 19);
        assert!(told.knows(findings.last().unwrap(), last));
    }
}
