//! What findings add up to: the only evaluator of the policy, used by every path.

use std::cmp::Reverse;

use jiff::Timestamp;

use super::{
    finding::{Finding, Findings, Fix, Severity, SeverityCounts},
    ids::{ImageKey, Tag},
    ledger::Row,
    policy::{Action, Consequence, Policy},
};

/// What findings add up to, before anything else is considered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing at or above review.
    Pass,
    /// A person must look.
    Review,
    /// Must not be deployed.
    Block,
}

/// A finding and what it leads to.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The finding.
    pub finding: Finding,
    /// What it leads to, exceptions aside.
    pub consequence: Consequence,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The verdict.
    pub verdict: Verdict,
    /// The findings at or above review, worst first.
    pub findings: Vec<Judged>,
    /// Findings that would stand there, but for an exception.
    pub excepted: Vec<Judged>,
    /// All findings by severity.
    pub counts: SeverityCounts,
}

/// Id of the finding that stands for findings which the scanner counted and did not list.
pub const UNLISTED: &str = "not listed by the scanner";

/// Judges the findings of a finished scan.
///
/// If the scanner counts more findings of a severity than it lists, the difference counts as one finding more: what we were not
/// shown is not clean.
pub fn evaluate(policy: &Policy, image: &ImageKey, tags: &[Tag], scan: &Findings, now: Timestamp) -> Evaluation {
    let mut listed = SeverityCounts::new();
    for finding in &scan.findings {
        *listed.entry(finding.severity).or_default() += 1;
    }
    let unlisted: Vec<Finding> = scan
        .counts
        .iter()
        .filter(|(severity, count)| **count > listed.get(severity).copied().unwrap_or_default())
        .map(|(severity, _)| unlisted(*severity))
        .collect();
    let mut counts = listed;
    for (severity, count) in &scan.counts {
        let entry = counts.entry(*severity).or_default();
        *entry = (*entry).max(*count);
    }
    judge(policy, image, tags, scan.findings.iter().chain(&unlisted), counts, now)
}

/// Judges again what the ledger remembers of an image that the scanner cannot look at now.
pub fn evaluate_remembered(policy: &Policy, row: &Row, tags: &[Tag], now: Timestamp) -> Evaluation {
    let remembered: Vec<Finding> = row
        .findings
        .iter()
        .chain(&row.excepted)
        .map(|recorded| recorded.finding())
        .collect();
    let mut evaluation = judge(policy, &row.image, tags, remembered.iter(), row.counts.clone(), now);
    // The ledger keeps the worst; what it left out is no worse than the last that it kept, but there.
    if row.omitted_findings > 0
        && let Some(last) = row.findings.last()
    {
        let least = match policy.consequence(&last.finding()).action {
            Action::Block => Verdict::Block,
            Action::Inform | Action::Monitor | Action::Review => Verdict::Review,
        };
        evaluation.verdict = evaluation.verdict.max(least);
    }
    evaluation
}

fn judge<'a>(
    policy: &Policy,
    image: &ImageKey,
    tags: &[Tag],
    findings: impl Iterator<Item = &'a Finding>,
    counts: SeverityCounts,
    now: Timestamp,
) -> Evaluation {
    let mut evaluation = Evaluation {
        verdict: Verdict::Pass,
        findings: Vec::new(),
        excepted: Vec::new(),
        counts,
    };
    for finding in findings {
        let consequence = policy.consequence(finding);
        let verdict = match consequence.action {
            Action::Inform | Action::Monitor => continue,
            Action::Review => Verdict::Review,
            Action::Block => Verdict::Block,
        };
        let judged = Judged {
            finding: finding.clone(),
            consequence,
        };
        let excepted = policy.exceptions.iter().any(|exception| {
            exception.covers(
                &finding.id,
                finding.package.as_deref(),
                &image.repository,
                &image.digest,
                tags,
                now,
            )
        });
        if excepted {
            evaluation.excepted.push(judged);
        } else {
            evaluation.verdict = evaluation.verdict.max(verdict);
            evaluation.findings.push(judged);
        }
    }
    evaluation.findings.sort_by(worst_first);
    evaluation.excepted.sort_by(worst_first);
    evaluation
}

fn worst_first(a: &Judged, b: &Judged) -> std::cmp::Ordering {
    let rank = |judged: &Judged| {
        (
            Reverse(judged.consequence.action),
            Reverse(judged.finding.severity),
            Reverse(judged.finding.exploit == Some(true)),
        )
    };
    let score = |judged: &Judged| judged.finding.score.unwrap_or_default();
    let name = |judged: &Judged| (judged.finding.id.clone(), judged.finding.package.clone());
    rank(a)
        .cmp(&rank(b))
        .then_with(|| score(b).total_cmp(&score(a)))
        .then_with(|| name(a).cmp(&name(b)))
}

fn unlisted(severity: Severity) -> Finding {
    Finding {
        id: UNLISTED.to_owned(),
        severity,
        package: None,
        installed: None,
        fixed_in: None,
        fix: Fix::Unknown,
        exploit: None,
        score: None,
        url: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, finding, scan};

    const EXCEPTION: &str = r#""exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["*"], "owner": "o", "reason": "r",
        "expires": "2026-12-31"}]"#;

    #[test]
    fn the_worst_finding_that_no_exception_covers_gives_the_verdict() {
        for (policy, findings, verdict, counted, excepted) in [
            ("", vec![], Verdict::Pass, 0, 0),
            ("", vec![finding("CVE-2026-1", Severity::Medium)], Verdict::Pass, 0, 0),
            ("", vec![finding("CVE-2026-1", Severity::High)], Verdict::Review, 1, 0),
            (
                "",
                vec![finding("CVE-2026-1", Severity::Undefined)],
                Verdict::Review,
                1,
                0,
            ),
            (
                "",
                vec![finding("CVE-2026-1", Severity::Critical)],
                Verdict::Block,
                1,
                0,
            ),
            (
                EXCEPTION,
                vec![finding("CVE-2026-1", Severity::Critical)],
                Verdict::Pass,
                0,
                1,
            ),
            (
                EXCEPTION,
                vec![
                    finding("CVE-2026-1", Severity::Critical),
                    finding("CVE-2026-2", Severity::High),
                ],
                Verdict::Review,
                1,
                1,
            ),
        ] {
            let policy = testing::policy(policy);
            let evaluation = evaluate(&policy, &testing::image_key(), &[], &scan(findings), testing::now());
            assert_eq!(evaluation.verdict, verdict);
            assert_eq!(
                (evaluation.findings.len(), evaluation.excepted.len()),
                (counted, excepted)
            );
        }
    }

    #[test]
    fn what_is_counted_but_not_listed_is_not_clean() {
        let mut scan = scan(vec![finding("CVE-2026-1", Severity::Low)]);
        scan.counts = [(Severity::Low, 1), (Severity::Critical, 2)].into();
        let evaluation = evaluate(&testing::policy(""), &testing::image_key(), &[], &scan, testing::now());
        assert_eq!(evaluation.verdict, Verdict::Block);
        assert_eq!(evaluation.findings[0].finding.id, UNLISTED);
        assert_eq!(evaluation.counts[&Severity::Critical], 2);
    }

    #[test]
    fn the_worst_comes_first_and_the_order_does_not_depend_on_the_scanner() {
        let mut findings = vec![
            finding("CVE-2026-3", Severity::High),
            finding("CVE-2026-2", Severity::Critical),
            finding("CVE-2026-1", Severity::Critical),
            finding("CVE-2026-4", Severity::Critical),
        ];
        findings[3].score = Some(9.9);
        let ids = |findings: Vec<Finding>| {
            let evaluation = evaluate(
                &testing::policy(""),
                &testing::image_key(),
                &[],
                &scan(findings),
                testing::now(),
            );
            evaluation
                .findings
                .into_iter()
                .map(|judged| judged.finding.id)
                .collect::<Vec<_>>()
        };
        let expected = ["CVE-2026-4", "CVE-2026-1", "CVE-2026-2", "CVE-2026-3"];
        assert_eq!(ids(findings.clone()), expected);
        findings.reverse();
        assert_eq!(ids(findings), expected);
    }
}
