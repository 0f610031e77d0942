//! The findings as SARIF 2.1.0, within the limits of GitHub code scanning (GitHub's documentation, "SARIF support for code scanning").
//!
//! GitHub takes a location for a path in the checkout: an address with a scheme is refused there
//! (`SARIF URI scheme "docker" did not match the checkout URI scheme "file"`). So an image is named by a relative reference without one.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use guard_core::text;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::model::{Finding, Image, Report, words};

/// A run with more results is refused; 5,000 of them are shown.
pub const MAX_RESULTS: usize = 25_000;

/// Where the schema is.
const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Where the project is described.
const HELP: &str = "https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning.html";

/// The result for an image.
#[derive(Debug, Clone, Copy)]
struct Found<'a> {
    image: &'a Image,
    /// `None`: it is in its state for another reason than a finding.
    finding: Option<&'a Finding>,
}

/// How bad something is, in the form of GitHub: above 9.0 is critical, 7.0 high, 4.0 medium.
fn security_severity(severity: &str) -> f64 {
    match severity {
        "CRITICAL" => 9.5,
        "HIGH" => 8.0,
        "MEDIUM" | "UNDEFINED" => 5.5,
        _ => 2.0,
    }
}

impl<'a> Found<'a> {
    fn rule(&self) -> String {
        match self.finding {
            Some(finding) => finding.id.clone(),
            None => format!(
                "ecr-guard/{}",
                words(self.image.state).to_ascii_lowercase().replace(' ', "-")
            ),
        }
    }

    fn level(&self) -> &'static str {
        match (self.finding, self.image.state) {
            (Some(finding), _) if finding.action == "block" => "error",
            (None, "Blocked" | "BlockDeferred") => "error",
            _ => "warning",
        }
    }

    fn score(&self) -> f64 {
        match self.finding {
            Some(finding) => finding
                .score
                .filter(|score| (0.1..=10.0).contains(score))
                .unwrap_or_else(|| security_severity(finding.severity)),
            None => security_severity("UNDEFINED"),
        }
    }

    fn message(&self) -> String {
        let image = self.image;
        let more = match image.more_findings {
            0 => String::new(),
            number => format!(" {number} more findings of this image are not listed here."),
        };
        let Some(finding) = self.finding else {
            return format!("{} is {}: {}{more}", image.name(), words(image.state), image.reason);
        };
        let package = finding.package.as_deref().unwrap_or("an unnamed package");
        let installed = finding
            .installed
            .as_ref()
            .map_or(String::new(), |version| format!(" {version}"));
        let fix = match (&finding.fixed_in, finding.fix) {
            (Some(version), _) => format!("Fixed in {version}."),
            (None, "unavailable") => "There is no fix.".to_owned(),
            (None, _) => "Whether there is a fix is not known.".to_owned(),
        };
        format!(
            "{} {} in {package}{installed}. {fix} The image {} is {} (policy: {}).{more}",
            finding.severity,
            finding.id,
            image.name(),
            words(image.state),
            finding.rule
        )
    }

    /// The same for the same finding in the same image, whatever else changes.
    fn fingerprint(&self) -> String {
        let package = self
            .finding
            .and_then(|finding| finding.package.as_deref())
            .unwrap_or_default();
        let parts = [&self.image.uri(), &self.rule(), package];
        let hash = Sha256::digest(parts.join("\n").as_bytes());
        text::hex(hash.get(..16).unwrap_or_default())
    }

    fn result(&self, index: usize) -> Value {
        let image = self.image;
        // A colon would make a scheme of the first part of a path: there is none in it.
        let uri = encode(&image.uri());
        let fingerprint = self.fingerprint();
        json!({
            "ruleId": self.rule(),
            "ruleIndex": index,
            "level": self.level(),
            "message": {"text": self.message()},
            "locations": [{
                "physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}},
                "logicalLocations": [{"fullyQualifiedName": image.uri(), "kind": "resource"}],
            }],
            // GitHub compares results of two runs by the first.
            "partialFingerprints": {"primaryLocationLineHash": format!("{fingerprint}:1"), "ecrGuardFinding/v1": fingerprint},
            "properties": {"state": image.state, "team": image.team, "tags": image.tags},
        })
    }

    fn description(&self) -> Value {
        let rule = self.rule();
        let (short, full) = match self.finding {
            Some(finding) => {
                let package = finding.package.as_deref().unwrap_or("a package");
                (
                    format!("{rule} in {package}"),
                    format!(
                        "The vulnerability {rule}, severity {}, in an image of the registry.",
                        finding.severity
                    ),
                )
            }
            None => (
                format!("An image is {}", words(self.image.state)),
                format!(
                    "ecr-guard has the image in the state {} for another reason than a finding.",
                    words(self.image.state)
                ),
            ),
        };
        let help = match self.finding {
            Some(_) => {
                "Update the package to a version with the fix, build the image, and push it under a new tag. If the vulnerability \
                        cannot be exploited, propose an exception in the policy of ecr-guard."
            }
            None => "See the reason in the result. `ecr-guard explain IMAGE` says what happens next.",
        };
        let uri = self.finding.and_then(|finding| finding.url.as_deref()).unwrap_or(HELP);
        json!({
            "id": rule,
            "shortDescription": {"text": short},
            "fullDescription": {"text": full},
            "help": {"text": help},
            "helpUri": uri,
            "defaultConfiguration": {"level": self.level()},
            "properties": {"tags": ["security", "vulnerability", "container"], "precision": "very-high",
                "security-severity": format!("{:.1}", self.score())},
        })
    }
}

/// Writes it, and gives the number of results that were left out.
///
/// # Errors
/// It cannot be written.
pub fn write(report: &Report, to: &mut dyn Write) -> io::Result<u64> {
    let mut all = found(report);
    // GitHub keeps the most important ones; so do we.
    all.sort_by(|a, b| {
        (b.level() == "error", b.score())
            .partial_cmp(&(a.level() == "error", a.score()))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let left_out = all.len().saturating_sub(MAX_RESULTS) as u64;
    all.truncate(MAX_RESULTS);
    let mut indexes: BTreeMap<String, usize> = BTreeMap::new();
    let mut rules = Vec::new();
    let mut results = Vec::new();
    for one in &all {
        let next = rules.len();
        let index = *indexes.entry(one.rule()).or_insert(next);
        if index == next {
            rules.push(one.description());
        }
        results.push(one.result(index));
    }
    let notice = |text: String| json!({"level": "warning", "message": {"text": text}});
    let mut notices: Vec<Value> = report
        .unreadable
        .iter()
        .map(|gap| notice(format!("Unknown: {gap}")))
        .collect();
    if left_out > 0 {
        notices.push(notice(format!(
            "{left_out} results were left out: GitHub takes {MAX_RESULTS}. The CSV form has every image."
        )));
    }
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "ecr-guard", "version": report.version, "semanticVersion": report.version, "rules": rules}},
            "automationDetails": {"id": "ecr-guard/"},
            "invocations": [{"executionSuccessful": true, "endTimeUtc": report.made_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                "toolExecutionNotifications": notices}],
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    serde_json::to_writer_pretty(&mut *to, &document)?;
    to.write_all(b"\n")?;
    Ok(left_out)
}

/// Each finding of the images that must not be deployed as they are, and the images that are so for another reason.
fn found(report: &Report) -> Vec<Found<'_>> {
    let of_interest = |image: &&Image| {
        matches!(
            image.state,
            "Blocked" | "BlockDeferred" | "Review" | "Unscannable" | "Stale"
        )
    };
    let mut all = Vec::new();
    for image in report.images.iter().filter(of_interest) {
        if image.findings.is_empty() {
            all.push(Found { image, finding: None });
        }
        let mut known = BTreeSet::new();
        for finding in &image.findings {
            if known.insert((&finding.id, &finding.package)) {
                all.push(Found {
                    image,
                    finding: Some(finding),
                });
            }
        }
    }
    all
}

/// A reference without characters that RFC 3986 does not allow in a path.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/@:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
