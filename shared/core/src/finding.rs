//! The findings of scanners.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How bad a finding is, mildest first, in the words of ECR's `FindingSeverity`.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// Informational.
    Informational,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// Not rated, or rated with a word that this version does not know. Ranked above MEDIUM: it may turn out to be anything.
    Undefined,
    /// High.
    High,
    /// Critical.
    Critical,
}

impl Severity {
    /// Every severity, worst first.
    pub const ALL: [Self; 6] = [
        Self::Critical,
        Self::High,
        Self::Undefined,
        Self::Medium,
        Self::Low,
        Self::Informational,
    ];

    /// Reads a severity of ECR (`UNDEFINED`) or Inspector (`UNTRIAGED`). A word that is unknown is `Undefined`, never nothing.
    pub fn from_word(word: &str) -> Self {
        let is = |severity: &Self| word.eq_ignore_ascii_case(severity.as_str());
        Self::ALL.into_iter().find(is).unwrap_or(Self::Undefined)
    }

    /// The word, as ECR writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "CRITICAL",
            Self::High => "HIGH",
            Self::Medium => "MEDIUM",
            Self::Low => "LOW",
            Self::Informational => "INFORMATIONAL",
            Self::Undefined => "UNDEFINED",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Number of findings by severity.
pub type SeverityCounts = BTreeMap<Severity, u64>;

/// Whether a newer package without the vulnerability exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fix {
    /// There is one for this package.
    Available,
    /// The scanner says that there is none.
    Unavailable,
    /// The scanner does not say: basic scanning never does.
    Unknown,
}

/// One vulnerability in one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// CVE or advisory id, such as `CVE-2026-1234`.
    pub id: String,
    /// Other ids of the same vulnerability (Inspector's `relatedVulnerabilities`), at most [`MAX_RELATED`]: an advisory names
    /// its CVE there. A rule for one of them covers this finding.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<String>,
    /// How bad it is.
    pub severity: Severity,
    /// Name of the vulnerable package, if the scanner says it.
    pub package: Option<String>,
    /// The kind of that package, in Inspector's word (`packageManager`): `OS`, `NPM`, `JAR` and others; `None`: the scanner
    /// does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_type: Option<String>,
    /// Installed version.
    pub installed: Option<String>,
    /// Version that has the fix.
    pub fixed_in: Option<String>,
    /// Whether there is a fix.
    pub fix: Fix,
    /// Whether an exploit is known (Inspector's `exploitAvailable`); `None`: the scanner does not say.
    pub exploit: Option<bool>,
    /// Inspector's score, 0.0 to 10.0.
    pub score: Option<f64>,
    /// How likely it is that it is exploited within 30 days, 0.0 to 1.0: its score in the Exploit Prediction Scoring System.
    /// ECR's answers do not have it; it comes from Inspector's events ([`Epss`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epss: Option<f64>,
    /// Where it is described.
    pub url: Option<String>,
}

/// The most related ids that are kept of a finding. Advisories name one or two.
pub const MAX_RELATED: usize = 10;

impl Finding {
    /// All ids that the vulnerability goes by.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.id).chain(&self.related).map(String::as_str)
    }
}

/// The probability that a vulnerability is exploited, from an event of Inspector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epss {
    /// CVE or advisory id.
    pub vulnerability: String,
    /// Its score in the Exploit Prediction Scoring System, 0.0 to 1.0.
    pub score: f64,
}

impl Epss {
    /// `None`: the score is not one.
    ///
    /// It is rounded to six decimals: a number that short is the same after it was written to the ledger and read again, so that
    /// it does not pass for a change. FIRST, who publish the scores, give five.
    pub fn new(vulnerability: impl Into<String>, score: f64) -> Option<Self> {
        (0.0..=1.0).contains(&score).then(|| Self {
            vulnerability: vulnerability.into(),
            score: (score * 1e6).round() / 1e6,
        })
    }
}

/// Which scanner spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScanMode {
    /// ECR's own scanner: operating system packages, at push or on request.
    Basic,
    /// Amazon Inspector: continuous, with fix, exploit and use.
    Enhanced,
}

/// Why there is no usable scan of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoScan {
    /// The scan failed.
    Failed,
    /// The scanner does not support this kind of image (`UNSUPPORTED_IMAGE`).
    Unsupported,
    /// The image is larger than the scanner takes (`IMAGE_SIZE_EXCEEDED`).
    TooLarge,
    /// The daily limit of scans is reached (`LIMIT_EXCEEDED`).
    LimitExceeded,
    /// The scanner no longer watches this image (`SCAN_ELIGIBILITY_EXPIRED`): its last findings say nothing about today.
    EligibilityExpired,
    /// Its findings are gone (`FINDINGS_UNAVAILABLE`).
    FindingsUnavailable,
    /// Nothing scans the repository: it is not covered by enhanced scanning, which takes no requests.
    NotCovered,
    /// The scanner gave a status that this version does not know.
    UnknownStatus(String),
}

/// The scanner's answer about one image now.
#[derive(Debug, Clone, PartialEq)]
pub enum Scan {
    /// No scan is known.
    Absent,
    /// A scan is under way or queued.
    InProgress,
    /// A scan has ended, and its result does not show yet.
    NotVisible,
    /// The scanner refuses to say anything, until somebody changes something: why, in a few words.
    Refused(String),
    /// The image is in the archive, where scanners cannot look.
    Archived,
    /// There is no usable result, and waiting does not help.
    Unavailable(NoScan),
    /// The same, with the words of the scanner. They are data from outside.
    Explained(NoScan, String),
    /// These are the findings.
    Complete(Findings),
}

/// The findings of a finished scan.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// Which scanner.
    pub mode: ScanMode,
    /// When it finished; for continuous scanning, the time of the last check.
    pub completed_at: Option<Timestamp>,
    /// All findings, of all pages.
    pub findings: Vec<Finding>,
    /// The scanner's own count by severity; ours, where it gives none.
    pub counts: SeverityCounts,
    /// How many it counts and does not list, by its own numbers: before packages of one finding become several of ours, and before
    /// two that are the same become one.
    pub unlisted: SeverityCounts,
    /// The number that the last event about the scan counted, where the answer has had nothing for so long that it counts as
    /// the result. It causes a review at most: no deployment is blocked by a finding that is listed nowhere.
    pub counted_by_event: SeverityCounts,
    /// How many findings it lists that do not count: suppressed, closed.
    pub hidden: u64,
    /// Whether the answer shows a result: it says when the scan ended, and it counts or lists something, if only nothing. Under enhanced
    /// scanning an answer without that is what a clean image gives, and what an image gives whose findings are not there yet.
    pub has_result: bool,
    /// Number of running workloads or clusters that use the image (`inUseCount`); `None`: the scanner does not say.
    pub in_use_count: Option<u64>,
    /// When a workload last used it (`lastInUseAt`).
    pub last_in_use_at: Option<Timestamp>,
}

impl Findings {
    /// Whether the scanner says how the image is used, if only that it is not.
    pub fn counts_use(&self) -> bool {
        self.in_use_count.is_some() || self.last_in_use_at.is_some()
    }

    /// Whether the answer neither lists nor counts any finding.
    pub fn shows_none(&self) -> bool {
        self.findings.is_empty() && self.hidden == 0 && self.counts.values().all(|count| *count == 0)
    }
}

/// The scan result of an event. Two parts of it are believed: that there is a result, and the number of findings. Only the
/// scanner's answer says which they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanEvent {
    /// When the event was.
    pub at: Timestamp,
    /// Findings by severity. Inspector leaves out some of those that there are.
    #[serde(default, skip_serializing_if = "SeverityCounts::is_empty")]
    pub counts: SeverityCounts,
    /// All findings (Inspector's `TOTAL`); `None`: the event does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

impl ScanEvent {
    fn listed(&self) -> u64 {
        self.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How many findings it counts.
    pub fn counted(&self) -> u64 {
        self.listed().max(self.total.unwrap_or(0))
    }

    /// Whether it says that there are none.
    pub fn found_nothing(&self) -> bool {
        self.total == Some(0) && self.listed() == 0
    }

    /// The numbers by severity. The severity of findings that it leaves out is not known.
    pub fn by_severity(&self) -> SeverityCounts {
        let mut counts = self.counts.clone();
        let rest = self.counted().saturating_sub(self.listed());
        if rest > 0 {
            let unknown = counts.entry(Severity::Undefined).or_default();
            *unknown = unknown.saturating_add(rest);
        }
        counts.retain(|_, count| *count > 0);
        counts
    }
}

/// Whether images of a repository are scanned without anybody asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScanTrigger {
    /// On push or continuously.
    Automatic,
    /// Only when asked.
    Manual,
}

/// The result of a request for a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanStart {
    /// It runs.
    Started,
    /// Not now: the limit of scans per image or registry and day is reached.
    LimitExceeded,
    /// Never: the scanner does not support this kind of image.
    Unsupported,
    /// There is no such image any more.
    ImageGone,
    /// The image is in the archive.
    Archived,
    /// This registry's scanning takes no requests (enhanced scanning), with the service's words.
    NotOffered(String),
}

/// Id of the finding that stands for findings which the scanner counted and did not list.
pub const UNLISTED: &str = "not listed by the scanner";

/// Id of the finding that stands for findings which a row does not remember, because they were below review when they were
/// evaluated. Under other rules they may not be.
pub const NOT_REMEMBERED: &str = "not remembered from the scan";

/// Whether an id is that of a vulnerability, and does not stand for findings of which only the number is known.
pub fn is_named(id: &str) -> bool {
    id != UNLISTED && id != NOT_REMEMBERED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_unknown_is_undefined_and_never_mild() {
        for (word, severity) in [
            ("CRITICAL", Severity::Critical),
            ("high", Severity::High),
            ("Medium", Severity::Medium),
            ("LOW", Severity::Low),
            ("INFORMATIONAL", Severity::Informational),
            ("UNDEFINED", Severity::Undefined),
            ("UNTRIAGED", Severity::Undefined),
            ("CATASTROPHIC", Severity::Undefined),
            ("", Severity::Undefined),
        ] {
            assert_eq!(Severity::from_word(word), severity, "{word}");
        }
        assert!(Severity::Undefined > Severity::Medium);
    }

    #[test]
    fn all_is_worst_first_and_complete() {
        assert!(Severity::ALL.is_sorted_by(|a, b| a > b));
        for severity in Severity::ALL {
            assert_eq!(Severity::from_word(severity.as_str()), severity);
        }
    }
}
