//! From the pages of a scan's findings to a [`Scan`]. `docs/members.md` says which member is read for what, and why others are not.

use aws_sdk_ecr::{
    operation::describe_image_scan_findings::DescribeImageScanFindingsOutput,
    types::{
        EnhancedImageScanFinding, ImageScanFinding, ImageScanFindings, ImageScanStatus, PackageVulnerabilityDetails,
        VulnerablePackage,
    },
};
use jiff::Timestamp;

use crate::{answer::timestamp, error::plain};
use guard_core::finding::{Finding, Findings, Fix, MAX_RELATED, NoScan, Scan, ScanMode, Severity, SeverityCounts};

/// The pages read so far.
#[derive(Debug, Default)]
pub(super) struct Pages {
    status: Option<String>,
    /// Whether the scan's result itself was there, findings or not.
    answered: bool,
    enhanced: bool,
    completed_at: Option<Timestamp>,
    /// The scanner's own count; the same on every page.
    counted: Option<SeverityCounts>,
    /// Findings that count and that do not (suppressed, closed), as the scanner counts: one each, however many packages.
    active: SeverityCounts,
    inactive: SeverityCounts,
    /// As they were listed, so that there may be several of a vulnerability in a package.
    findings: Vec<Finding>,
    in_use_count: Option<u64>,
    last_in_use_at: Option<Timestamp>,
}

impl Pages {
    /// Takes one more page; gives the answer if there are no findings to wait for.
    pub(super) fn add(&mut self, page: DescribeImageScanFindingsOutput) -> Option<Scan> {
        let ImageScanStatus {
            status, description, ..
        } = page
            .image_scan_status
            .unwrap_or_else(|| ImageScanStatus::builder().build());
        // Later pages need not say it again. Without a status, a result says that there is one.
        let has_result = page.image_scan_findings.is_some();
        let status = status
            .map(|status| status.as_str().to_owned())
            .or_else(|| self.status.clone())
            .unwrap_or_else(|| if has_result { COMPLETE } else { "missing" }.to_owned());
        if let Some(scan) = without_findings(&status, description.as_deref().unwrap_or_default()) {
            return Some(scan);
        }
        // Continuous scanning is never done, and is enhanced scanning.
        self.enhanced |= status == ACTIVE;
        self.status = Some(status);
        if let Some(findings) = page.image_scan_findings {
            self.take(findings);
        }
        None
    }

    fn take(&mut self, page: ImageScanFindings) {
        self.answered = true;
        self.completed_at = self
            .completed_at
            .max(page.image_scan_completed_at.as_ref().and_then(timestamp));
        if let Some(counts) = page.finding_severity_counts {
            let mut counted = SeverityCounts::new();
            for (word, count) in counts {
                // Inspector's total is no severity.
                if word.as_str() != "TOTAL" {
                    *counted.entry(Severity::from_word(word.as_str())).or_default() +=
                        u64::try_from(count).unwrap_or(0);
                }
            }
            let all = self.counted.get_or_insert_default();
            for (severity, count) in counted {
                let most = all.entry(severity).or_default();
                *most = count.max(*most);
            }
        }
        self.enhanced |= match &page.enhanced_findings {
            Some(findings) => !findings.is_empty() || page.findings.is_none(),
            None => false,
        };
        let listed = page.findings.unwrap_or_default();
        self.findings.reserve(listed.len());
        for finding in listed {
            self.basic(finding);
        }
        for finding in page.enhanced_findings.unwrap_or_default() {
            self.enhanced(finding);
        }
    }

    /// A finding of ECR's own scanner. Its details are attributes without a documented list of keys; these are the ones seen.
    fn basic(&mut self, finding: ImageScanFinding) {
        let severity = Severity::from_word(finding.severity.as_ref().map_or("", |severity| severity.as_str()));
        *self.active.entry(severity).or_default() += 1;
        let mut attributes = finding.attributes.unwrap_or_default();
        let mut attribute = |key: &str| {
            let attribute = attributes.iter_mut().find(|attribute| attribute.key == key);
            attribute?.value.take().filter(|value| !value.is_empty())
        };
        let score = attribute("CVSS3_SCORE").or_else(|| attribute("CVSS2_SCORE"));
        let fixed_in = attribute("patched_version");
        self.findings.push(Finding {
            severity,
            package: attribute("package_name"),
            // Basic scanning finds vulnerabilities of the operating system only (user guide of ECR, "Scan images for software
            // vulnerabilities in Amazon ECR"); it does not name the kind of each.
            package_type: Some("OS".to_owned()),
            installed: attribute("package_version"),
            fix: if fixed_in.is_some() {
                Fix::Available
            } else {
                Fix::Unknown
            },
            fixed_in,
            exploit: None,
            score: score.and_then(|score| score.parse().ok()).and_then(usable_score),
            epss: None,
            id: finding.name.filter(|name| !name.is_empty()).unwrap_or_else(unnamed),
            related: Vec::new(),
            url: finding.uri,
        });
    }

    /// A finding of Inspector: one of ours for each vulnerable package.
    fn enhanced(&mut self, finding: EnhancedImageScanFinding) {
        // Whether the image is in use is true of a suppressed finding's image too.
        self.note_use(&finding);
        let severity = Severity::from_word(finding.severity.as_deref().unwrap_or_default());
        // A status that we do not know counts.
        if matches!(finding.status.as_deref(), Some("SUPPRESSED" | "CLOSED")) {
            *self.inactive.entry(severity).or_default() += 1;
            return;
        }
        *self.active.entry(severity).or_default() += 1;
        let (vulnerability, packages) = Vulnerability::of(finding, severity);
        if packages.is_empty() {
            self.findings.push(vulnerability.in_package(None));
        }
        let of_packages = packages
            .into_iter()
            .map(|package| vulnerability.in_package(Some(package)));
        self.findings.extend(of_packages);
    }

    /// How many workloads run the image, and when one did last.
    fn note_use(&mut self, finding: &EnhancedImageScanFinding) {
        let resources = finding.resources.iter().flatten();
        for image in resources.filter_map(|resource| resource.details.as_ref()?.aws_ecr_container_image.as_ref()) {
            let count = image.in_use_count.map(|count| u64::try_from(count).unwrap_or(0));
            self.in_use_count = self.in_use_count.max(count);
            self.last_in_use_at = self
                .last_in_use_at
                .max(image.last_in_use_at.as_ref().and_then(timestamp));
        }
    }

    /// The scan, after the last page. Continuous scanning (`ACTIVE`) that gives no result, not even an empty one, has none yet: no
    /// AWS page says that it means "no findings".
    ///
    /// # Errors
    /// The scan is said to be complete, but there is no result in the answer.
    pub(super) fn complete(self) -> Result<Scan, &'static str> {
        if !self.answered {
            return match self.status.as_deref() {
                Some(ACTIVE) => Ok(Scan::InProgress),
                _ => Err("the scan is complete, but the answer holds no result"),
            };
        }
        let lists = [&self.active, &self.inactive].iter().any(|counts| !counts.is_empty());
        let has_result = self.completed_at.is_some() && (lists || self.counted.is_some());
        let hidden = self.inactive.values().sum();
        let (counts, unlisted) = counts(self.counted, self.active, &self.inactive);
        Ok(Scan::Complete(Findings {
            mode: if self.enhanced {
                ScanMode::Enhanced
            } else {
                ScanMode::Basic
            },
            completed_at: self.completed_at,
            counts,
            unlisted,
            counted_by_event: SeverityCounts::new(),
            hidden,
            has_result,
            findings: each_once(self.findings),
            in_use_count: self.in_use_count,
            last_in_use_at: self.last_in_use_at,
        }))
    }
}

/// The part of a finding of Inspector that holds for all of its packages.
struct Vulnerability {
    id: String,
    related: Vec<String>,
    severity: Severity,
    /// Whether there is a fix; `None`: for some of the packages, and which they are only they say (`PARTIAL`).
    fix: Option<Fix>,
    exploit: Option<bool>,
    score: Option<f64>,
    url: Option<String>,
}

impl Vulnerability {
    /// The vulnerability, and the packages that have it: other types of findings (of code, of networks) have none.
    fn of(finding: EnhancedImageScanFinding, severity: Severity) -> (Self, Vec<VulnerablePackage>) {
        let is = |word: Option<&str>| match word {
            Some("YES") => Some(true),
            Some("NO") => Some(false),
            _ => None,
        };
        let fix = is(finding.fix_available.as_deref());
        let details = finding
            .package_vulnerability_details
            .unwrap_or_else(|| PackageVulnerabilityDetails::builder().build());
        let id = [
            details.vulnerability_id,
            finding.finding_arn.as_deref().and_then(last_part),
            finding.title,
        ]
        .into_iter()
        .flatten()
        .find(|id| !id.is_empty())
        .unwrap_or_else(unnamed);
        let related = details.related_vulnerabilities.iter().flatten();
        let related = few(related.map(|other| plain(other, MAX_ID)).filter(|other| *other != id));
        let url = details
            .source_url
            .or_else(|| details.reference_urls.and_then(|urls| urls.into_iter().next()));
        let vulnerability = Self {
            id,
            related,
            severity,
            fix: fix.map(|is_available| if is_available { Fix::Available } else { Fix::Unavailable }),
            exploit: is(finding.exploit_available.as_deref()),
            score: usable_score(finding.score),
            url,
        };
        (vulnerability, details.vulnerable_packages.unwrap_or_default())
    }

    fn in_package(&self, package: Option<VulnerablePackage>) -> Finding {
        let installed = package.as_ref().and_then(installed);
        let package_type = package.as_ref().and_then(|package| package.package_manager.as_deref());
        let package_type = package_type.filter(|word| !word.is_empty()).map(|word| plain(word, 64));
        let (package, fixed_in) = package.map_or((None, None), |package| (package.name, package.fixed_in_version));
        let of_package = match fixed_in.as_deref() {
            None | Some("") => Fix::Unknown,
            Some(NO_FIX) => Fix::Unavailable,
            Some(_) => Fix::Available,
        };
        Finding {
            id: self.id.clone(),
            related: self.related.clone(),
            severity: self.severity,
            package,
            package_type,
            installed,
            fix: self.fix.unwrap_or(of_package),
            fixed_in: fixed_in.filter(|_| of_package == Fix::Available),
            exploit: self.exploit,
            score: self.score,
            // ECR's answer has none: see `Epss`.
            epss: None,
            url: self.url.clone(),
        }
    }
}

/// Each vulnerability of a package once, where it was listed first. Packages of one name and of different kinds are different packages.
fn each_once(findings: Vec<Finding>) -> Vec<Finding> {
    let mut subjects: Vec<_> = findings.iter().map(subject).collect();
    subjects.sort_unstable();
    if subjects.is_sorted_by(|one, next| one < next) {
        return findings;
    }
    let mut placed: Vec<(usize, Finding)> = findings.into_iter().enumerate().collect();
    placed.sort_unstable_by(|(place, one), (other_place, other)| {
        let order = subject(one).cmp(&subject(other));
        order.then(place.cmp(other_place))
    });
    placed.dedup_by(|(_, finding), (_, known)| {
        let is_known = subject(finding) == subject(known);
        if is_known {
            merge(known, finding);
        }
        is_known
    });
    placed.sort_unstable_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, finding)| finding).collect()
}

/// The vulnerability, and the package that has it.
fn subject(finding: &Finding) -> (&str, Option<&str>, Option<&str>) {
    let (package, package_type) = (finding.package.as_deref(), finding.package_type.as_deref());
    (finding.id.as_str(), package, package_type)
}

/// Adds to a finding what another one of the same vulnerability in the same package says: the worse of the two, and what can be done about it if
/// anything can.
fn merge(known: &mut Finding, finding: &mut Finding) {
    known.severity = known.severity.max(finding.severity);
    known.fix = match (known.fix, finding.fix) {
        (Fix::Available, _) | (_, Fix::Available) => Fix::Available,
        (Fix::Unknown, _) | (_, Fix::Unknown) => Fix::Unknown,
        (Fix::Unavailable, Fix::Unavailable) => Fix::Unavailable,
    };
    known.exploit = known.exploit.max(finding.exploit);
    known.score = match (known.score, finding.score) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    };
    if known.fixed_in.is_none() {
        known.fixed_in = finding.fixed_in.take();
    }
    known.related = few(known.related.drain(..).chain(finding.related.drain(..)));
}

const COMPLETE: &str = "COMPLETE";
const ACTIVE: &str = "ACTIVE";

/// Inspector's word for "there is no fix" (`fixedInVersion`).
const NO_FIX: &str = "NotAvailable";

/// No id of a vulnerability is longer, in characters.
const MAX_ID: usize = 100;

/// The meaning of a status without usable findings; `None` if they are there.
fn without_findings(status: &str, description: &str) -> Option<Scan> {
    let why = match status {
        COMPLETE | ACTIVE => return None,
        "IN_PROGRESS" | "PENDING" => return Some(Scan::InProgress),
        "IMAGE_ARCHIVED" => return Some(Scan::Archived),
        "FAILED" if is_unsupported(description) => NoScan::Unsupported,
        "FAILED" => NoScan::Failed,
        "UNSUPPORTED_IMAGE" => NoScan::Unsupported,
        "IMAGE_SIZE_EXCEEDED" => NoScan::TooLarge,
        "LIMIT_EXCEEDED" => NoScan::LimitExceeded,
        "SCAN_ELIGIBILITY_EXPIRED" => NoScan::EligibilityExpired,
        "FINDINGS_UNAVAILABLE" => NoScan::FindingsUnavailable,
        other => NoScan::UnknownStatus(plain(other, 64)),
    };
    let words = plain(description, MAX_DESCRIPTION);
    Some(if words.is_empty() {
        Scan::Unavailable(why)
    } else {
        Scan::Explained(why, words)
    })
}

/// The most that is kept of the scanner's description, in characters. ECR documents no limit.
const MAX_DESCRIPTION: usize = 300;

/// Whether a failure is that the scanner does not take such an image. Basic scanning says it in the description only:
/// `UnsupportedImageError: The operating system and/or package manager are not supported.` Source: ECR user guide, "Troubleshooting image
/// scanning"; the words are those of github.com/aws-observability/aws-otel-collector/issues/2193.
fn is_unsupported(description: &str) -> bool {
    let description = description.to_ascii_lowercase();
    ["unsupported", "not supported"]
        .iter()
        .any(|words| description.contains(words))
}

/// The scanner's count by severity, without one ours; and how many of it are not listed.
///
/// It is not documented whether the scanner counts findings that somebody suppressed. If it counts more than there are, and
/// there are suppressed ones, then those are the difference; otherwise they would pass for findings that we were not shown.
fn counts(
    counted: Option<SeverityCounts>,
    active: SeverityCounts,
    inactive: &SeverityCounts,
) -> (SeverityCounts, SeverityCounts) {
    let Some(mut counted) = counted else {
        return (active, SeverityCounts::new());
    };
    let mut unlisted = SeverityCounts::new();
    for (severity, count) in &mut counted {
        let listed = active.get(severity).copied().unwrap_or(0);
        let hidden = inactive.get(severity).copied().unwrap_or(0);
        if *count > listed {
            *count = count.saturating_sub(hidden).max(listed);
        }
        if *count > listed {
            unlisted.insert(*severity, count.saturating_sub(listed));
        }
    }
    (counted, unlisted)
}

/// The SDK gives 0.0 where there is no score.
fn usable_score(score: f64) -> Option<f64> {
    (score.is_finite() && score > 0.0).then_some(score)
}

/// The installed version as package managers write it: `[epoch:]version[-release]`.
fn installed(package: &VulnerablePackage) -> Option<String> {
    let version = package.version.as_deref().filter(|version| !version.is_empty())?;
    let epoch = match package.epoch {
        Some(epoch) if epoch != 0 => format!("{epoch}:"),
        _ => String::new(),
    };
    let release = match package.release.as_deref() {
        Some(release) if !release.is_empty() => format!("-{release}"),
        _ => String::new(),
    };
    Some(format!("{epoch}{version}{release}"))
}

fn last_part(arn: &str) -> Option<String> {
    arn.rsplit(['/', ':'])
        .next()
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
}

fn unnamed() -> String {
    "unnamed finding".to_owned()
}

/// Each once, in an order that does not depend on the answer's: at most [`MAX_RELATED`].
fn few(ids: impl Iterator<Item = String>) -> Vec<String> {
    let ids: std::collections::BTreeSet<String> = ids.filter(|id| !id.is_empty()).collect();
    ids.into_iter().take(MAX_RELATED).collect()
}
