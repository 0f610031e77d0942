//! The evaluation of findings: the only evaluator of the policy, used by every path.

use std::{cmp::Reverse, collections::BTreeSet};

use jiff::Timestamp;

use super::{
    finding::{Finding, Findings, Fix, Severity, SeverityCounts},
    ids::{Digest, ImageKey, RepositoryName, Tag},
    ledger::{OmittedExcepted, Row},
    policy::{Action, Consequence, Exception, Maximum, Policy},
};

use crate::finding::{NOT_REMEMBERED, UNLISTED};

/// The verdict of the findings alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing at or above review.
    Pass,
    /// A person must look.
    Review,
    /// Must not be deployed.
    Block,
}

/// A finding and its action.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The finding.
    pub finding: Finding,
    /// How many findings it stands for: more than one only if the scanner counted them and did not list them.
    pub stands_for: u64,
    /// Its action, exceptions aside.
    pub consequence: Consequence,
    /// The exception that covers it.
    pub exception: Option<CoveredBy>,
}

/// The exception that takes a finding out of the decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoveredBy {
    /// Its [name](super::policy::Exception::name).
    pub name: String,
    /// Who answers for it.
    pub owner: String,
    /// The last day on which it does, in UTC.
    pub until: String,
    /// Its [scope](super::policy::Exception::scope).
    pub scope: String,
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
    /// The part of those that a row has left out, where it was evaluated again and is still excepted.
    pub omitted_excepted: Vec<OmittedExcepted>,
    /// All findings by severity.
    pub counts: SeverityCounts,
}

/// Findings that only an event counted cause a review at most, from the row as in [`evaluate`], and so do those that are not
/// remembered: a block needs a finding that people can look up. The row of an index has no scan of its own.
fn cap_what_nobody_can_name(evaluation: &mut Evaluation, row: &Row) {
    let has_time = row.scan.as_ref().is_some_and(|scan| scan.completed_at.is_some());
    let recorded = || row.findings.iter().chain(&row.excepted);
    let is_capped = |judged: &Judged| {
        if judged.finding.id == NOT_REMEMBERED {
            return true;
        }
        judged.finding.id == UNLISTED
            && !has_time
            && recorded().any(|one| {
                one.id == UNLISTED && one.severity == judged.finding.severity && one.action <= Action::Review
            })
    };
    if !evaluation.findings.iter().chain(&evaluation.excepted).any(is_capped) {
        return;
    }
    for judged in evaluation.findings.iter_mut().chain(&mut evaluation.excepted) {
        if is_capped(judged) {
            judged.consequence.action = judged.consequence.action.min(Action::Review);
        }
    }
    evaluation.findings.sort_by(worst_first);
    let verdicts = evaluation
        .findings
        .iter()
        .filter_map(|one| verdict_of(one.consequence.action));
    evaluation.verdict = verdicts.max().unwrap_or(Verdict::Pass);
}

/// The names that an exception can match: repository, digests, tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names<'a> {
    /// Its repository.
    pub repository: &'a RepositoryName,
    /// Its digest, and those of its parent indexes.
    pub digests: Vec<&'a Digest>,
    /// Its tags, and those of its parent indexes.
    pub tags: Vec<Tag>,
}

impl<'a> Names<'a> {
    /// For an image without a parent index.
    pub fn of(image: &'a ImageKey, tags: &[Tag]) -> Self {
        Self {
            repository: &image.repository,
            digests: vec![&image.digest],
            tags: tags.to_vec(),
        }
    }

    /// With what another one goes by too.
    #[must_use]
    pub fn and(mut self, digest: &'a Digest, tags: &[Tag]) -> Self {
        self.digests.push(digest);
        self.tags.extend(tags.iter().cloned());
        self
    }
}

/// Evaluates the findings of a finished scan.
///
/// The number that the scanner counts and does not list is one finding more of its severity: a finding that we were not shown
/// is not clean.
pub fn evaluate(policy: &Policy, names: &Names<'_>, scan: &Findings, now: Timestamp) -> Evaluation {
    let mut counts = SeverityCounts::new();
    for finding in &scan.findings {
        *counts.entry(finding.severity).or_default() += 1;
    }
    let unlisted = not_listed(scan);
    for (severity, count) in &scan.counts {
        let entry = counts.entry(*severity).or_default();
        *entry = (*entry).max(*count);
    }
    for (severity, count) in &scan.counted_by_event {
        let entry = counts.entry(*severity).or_default();
        *entry = (*entry).max(*count);
    }
    let listed = scan.findings.iter().map(|finding| (finding, 1));
    let unlisted = unlisted.iter().map(|(finding, count)| (finding, *count));
    let mut evaluation = judge(policy, names, listed.chain(unlisted), None, now);
    evaluation.counts = counts;
    if !scan.counted_by_event.is_empty() {
        // There is nothing else: the answer lists and counts nothing. A block needs a finding that the scanner lists.
        evaluation.verdict = evaluation.verdict.min(Verdict::Review);
        for judged in evaluation.findings.iter_mut().chain(&mut evaluation.excepted) {
            judged.consequence.action = judged.consequence.action.min(Action::Review);
        }
    }
    evaluation
}

/// Evaluates again the findings that the ledger remembers of an image that the scanner cannot scan now.
pub fn evaluate_remembered(policy: &Policy, row: &Row, names: &Names<'_>, now: Timestamp) -> Evaluation {
    // Only the worst of the findings that were left out is known. So no other exception than the one that covered all of them
    // can cover them.
    let scopes: BTreeSet<String> = applying(policy, names, now).map(Exception::scope).collect();
    let (omitted_excepted, no_longer_excepted): (Vec<OmittedExcepted>, Vec<OmittedExcepted>) = row
        .omitted_excepted
        .iter()
        .cloned()
        .partition(|omitted| scopes.contains(&omitted.scope));
    let remembered: Vec<(Finding, u64)> = row
        .findings
        .iter()
        .chain(&row.excepted)
        .map(|recorded| (recorded.finding(), recorded.stands_for))
        .chain(
            no_longer_excepted
                .iter()
                .map(|omitted| (unlisted(omitted.worst.severity), omitted.number)),
        )
        .chain(below_review(policy, row))
        .collect();
    // A row of an earlier version does not say which was the worst of those that it left out. They are no worse than the last
    // that it kept.
    let worst = row.worst_omitted.as_ref().or(row.findings.last());
    let omitted = worst.filter(|_| row.omitted_findings > 0).map(|worst| Omitted {
        number: row.omitted_findings,
        action: worst.action,
    });
    let mut evaluation = judge(
        policy,
        names,
        remembered.iter().map(|(finding, count)| (finding, *count)),
        omitted,
        now,
    );
    evaluation.counts.clone_from(&row.counts);
    cap_what_nobody_can_name(&mut evaluation, row);
    for omitted in &no_longer_excepted {
        let action = policy
            .consequence(&omitted.worst.finding(), &row.image.repository)
            .action;
        // The worst of them may have an exception of its own by now; the others do not.
        evaluation.verdict = evaluation
            .verdict
            .max(verdict_of(action).unwrap_or(Verdict::Pass).min(Verdict::Review));
    }
    evaluation.omitted_excepted = omitted_excepted;
    if let (Some(omitted), Some(worst)) = (omitted, worst) {
        let together = policy
            .maxima()
            .iter()
            .filter(|maximum| omitted.of(maximum) > maximum.more_than);
        let least = together
            .map(|maximum| maximum.consequence.action)
            .chain([policy.consequence(&worst.finding(), &row.image.repository).action])
            .max();
        // A finding that was kept out of the row needed review at least.
        let least = least.and_then(verdict_of).unwrap_or(Verdict::Review);
        evaluation.verdict = evaluation.verdict.max(least);
    }
    evaluation
}

/// The sum of the children of an index: each finding once, with its worst action.
pub fn together(evaluations: impl IntoIterator<Item = Evaluation>) -> Evaluation {
    let mut sum = Evaluation {
        verdict: Verdict::Pass,
        findings: Vec::new(),
        excepted: Vec::new(),
        omitted_excepted: Vec::new(),
        counts: SeverityCounts::new(),
    };
    for evaluation in evaluations {
        sum.verdict = sum.verdict.max(evaluation.verdict);
        sum.findings.extend(evaluation.findings);
        sum.excepted.extend(evaluation.excepted);
        sum.omitted_excepted.extend(evaluation.omitted_excepted);
        for (severity, count) in evaluation.counts {
            // The same package is in most of them: a sum would count it as often.
            let most = sum.counts.entry(severity).or_default();
            *most = (*most).max(count);
        }
    }
    for list in [&mut sum.findings, &mut sum.excepted] {
        list.sort_by(worst_first);
        let mut known = BTreeSet::new();
        list.retain(|judged| known.insert((judged.finding.id.clone(), judged.finding.package.clone())));
    }
    sum
}

/// Which exceptions are of use for an image, by their [names](super::policy::Exception::name), in the order of the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExceptionUse {
    /// They cover findings of its scan, whatever action those would have.
    pub used: Vec<String>,
    /// They hold for the image, and cover none.
    pub unused: Vec<String>,
}

/// Which exceptions are of use for an image whose scan is finished. Those that have ended are neither used nor unused.
pub fn exception_use(policy: &Policy, names: &Names<'_>, scan: &Findings, now: Timestamp) -> ExceptionUse {
    let unlisted = not_listed(scan);
    let findings = || scan.findings.iter().chain(unlisted.iter().map(|(finding, _)| finding));
    let mut exceptions = ExceptionUse::default();
    for exception in applying(policy, names, now) {
        let covers = findings().any(|finding| exception.is_about(finding));
        let those = if covers {
            &mut exceptions.used
        } else {
            &mut exceptions.unused
        };
        those.push(exception.name.clone());
    }
    exceptions
}

/// The exceptions that hold for an image now.
fn applying<'a>(policy: &'a Policy, names: &'a Names<'_>, now: Timestamp) -> impl Iterator<Item = &'a Exception> {
    policy.exceptions.iter().filter(move |exception| {
        let applies = |digest: &&Digest| exception.applies(names.repository, digest, &names.tags, now);
        names.digests.iter().any(applies)
    })
}

/// Findings that were recorded by their number only.
#[derive(Debug, Clone, Copy)]
struct Omitted {
    number: u64,
    /// The action of the worst of them.
    action: Action,
}

impl Omitted {
    /// The number of them that a maximum may have counted. If one of them had exceeded it, that one would have its action.
    fn of(self, maximum: &Maximum) -> u64 {
        if self.action >= maximum.consequence.action {
            self.number
        } else {
            0
        }
    }
}

/// A finding on the way to its verdict.
struct Considered<'a> {
    finding: &'a Finding,
    stands_for: u64,
    consequence: Consequence,
    exception: Option<&'a Exception>,
}

fn judge<'a>(
    policy: &'a Policy,
    names: &'a Names<'_>,
    findings: impl Iterator<Item = (&'a Finding, u64)>,
    omitted: Option<Omitted>,
    now: Timestamp,
) -> Evaluation {
    let exceptions: Vec<&Exception> = applying(policy, names, now).collect();
    let mut considered: Vec<Considered<'_>> = findings
        .map(|(finding, stands_for)| Considered {
            finding,
            stands_for,
            consequence: policy.consequence(finding, names.repository),
            exception: exceptions.iter().find(|exception| exception.is_about(finding)).copied(),
        })
        .collect();
    for maximum in policy.maxima() {
        apply(maximum, &mut considered, omitted, names.repository);
    }

    let mut evaluation = Evaluation {
        verdict: Verdict::Pass,
        findings: Vec::new(),
        excepted: Vec::new(),
        omitted_excepted: Vec::new(),
        counts: SeverityCounts::new(),
    };
    for one in considered {
        let Some(verdict) = verdict_of(one.consequence.action) else {
            continue;
        };
        let judged = Judged {
            finding: one.finding.clone(),
            stands_for: one.stands_for,
            consequence: one.consequence,
            exception: one.exception.map(|exception| CoveredBy {
                name: exception.name.clone(),
                owner: exception.owner.clone(),
                until: exception.last_day(),
                scope: exception.scope(),
            }),
        };
        if one.exception.is_some() {
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

/// Makes the findings that a maximum counts worse, if there are too many of them. Excepted ones are not counted; their action
/// is the one that they would have if they were.
fn apply(maximum: &Maximum, considered: &mut [Considered<'_>], omitted: Option<Omitted>, repository: &RepositoryName) {
    let mut counted: Vec<&mut Considered<'_>> = considered
        .iter_mut()
        .filter(|one| maximum.counts(one.finding, repository))
        .collect();
    let omitted = omitted.map_or(0, |omitted| omitted.of(maximum));
    let number = |excepted_too: bool, counted: &[&mut Considered<'_>]| {
        counted
            .iter()
            .filter(|one| excepted_too || one.exception.is_none())
            .fold(omitted, |sum, one| sum.saturating_add(one.stands_for))
    };
    let (without, with) = (number(false, &counted), number(true, &counted));
    for one in &mut counted {
        let number = if one.exception.is_some() { with } else { without };
        if number > maximum.more_than {
            one.consequence = one.consequence.at_least(maximum.consequence);
        }
    }
}

/// The verdict that an action alone would give; `None`: the finding is only counted.
fn verdict_of(action: Action) -> Option<Verdict> {
    match action {
        Action::Inform | Action::Monitor => None,
        Action::Review => Some(Verdict::Review),
        Action::Block => Some(Verdict::Block),
    }
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
    let name = |judged: &Judged| {
        let Finding {
            id,
            package,
            package_type,
            ..
        } = &judged.finding;
        (id.clone(), package.clone(), package_type.clone())
    };
    rank(a)
        .cmp(&rank(b))
        .then_with(|| score(b).total_cmp(&score(a)))
        .then_with(|| name(a).cmp(&name(b)))
}

/// The findings that stand for those which the scanner counted and did not list, and how many those are.
fn not_listed(scan: &Findings) -> Vec<(Finding, u64)> {
    let counted = scan.unlisted.iter().chain(&scan.counted_by_event);
    let counted = counted.filter(|(_, count)| **count > 0);
    counted.map(|(severity, count)| (unlisted(*severity), *count)).collect()
}

/// The findings that a row does not remember, if others rules than the policy's have said that they are below review.
fn below_review(policy: &Policy, row: &Row) -> Vec<(Finding, u64)> {
    let same_rules = match &row.judged_by {
        Some(rules) => *rules == policy.judging,
        None => row.policy == policy.sha256,
    };
    if same_rules {
        return Vec::new();
    }
    let not_remembered = row.not_remembered().into_iter();
    not_remembered
        .map(|(severity, count)| (standing_for(NOT_REMEMBERED, severity), count))
        .collect()
}

pub(super) fn unlisted(severity: Severity) -> Finding {
    standing_for(UNLISTED, severity)
}

fn standing_for(id: &str, severity: Severity) -> Finding {
    Finding {
        id: id.to_owned(),
        related: Vec::new(),
        severity,
        package: None,
        package_type: None,
        installed: None,
        fixed_in: None,
        fix: Fix::Unknown,
        exploit: None,
        score: None,
        epss: None,
        url: None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        decide::{Facts, Plan, decide},
        finding::Scan,
        testing::{self, finding, scan},
    };

    const EXCEPTION: &str = r#""exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["*"], "owner": "o", "reason": "r",
        "expires": "2026-12-31"}]"#;

    fn key() -> &'static ImageKey {
        static KEY: std::sync::LazyLock<ImageKey> = std::sync::LazyLock::new(testing::image_key);
        &KEY
    }

    fn names() -> Names<'static> {
        Names::of(key(), &[])
    }

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
            let evaluation = evaluate(&policy, &names(), &scan(findings), testing::now());
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
        scan.unlisted = [(Severity::Critical, 2)].into();
        let evaluation = evaluate(&testing::policy(""), &names(), &scan, testing::now());
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
            let evaluation = evaluate(&testing::policy(""), &names(), &scan(findings), testing::now());
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

    #[test]
    fn of_two_that_are_equally_bad_the_one_that_is_exploited_comes_first() {
        let known = |id: &str, exploit| Finding {
            exploit,
            ..finding(id, Severity::Critical)
        };
        let findings = vec![
            known("CVE-1", None),
            known("CVE-2", Some(false)),
            known("CVE-3", Some(true)),
        ];
        let evaluation = evaluate(&testing::policy(""), &names(), &scan(findings), testing::now());
        let order: Vec<&str> = evaluation
            .findings
            .iter()
            .map(|judged| judged.finding.id.as_str())
            .collect();
        assert_eq!(order, ["CVE-3", "CVE-1", "CVE-2"]);
    }

    #[test]
    fn an_index_counts_a_finding_once_however_many_of_its_images_have_it() {
        let of = |ids: &[&str]| {
            let findings = ids.iter().map(|id| finding(id, Severity::Critical)).collect();
            evaluate(&testing::policy(""), &names(), &scan(findings), testing::now())
        };
        let sum = together([of(&["CVE-1", "CVE-2"]), of(&["CVE-1"]), of(&["CVE-1"])]);
        assert_eq!(sum.counts.get(&Severity::Critical), Some(&2));
        assert_eq!(sum.findings.len(), 2);
    }

    fn judged(rules: &str, findings: Vec<Finding>) -> (Verdict, Vec<(String, String)>) {
        let policy = testing::policy(rules);
        let evaluation = evaluate(&policy, &names(), &scan(findings), testing::now());
        let rules = evaluation.findings.into_iter();
        let rules = rules.map(|judged| (judged.finding.id, judged.consequence.rule.to_string()));
        (evaluation.verdict, rules.collect())
    }

    #[test]
    fn more_findings_than_a_maximum_allows_are_made_worse_together() {
        let rules = r#""rules": [{"severities": ["MEDIUM"], "more_than": 2, "action": "block"},
            {"severities": ["MEDIUM", "LOW"], "more_than": 1, "action": "review"}], "#;
        let rules = format!("{rules}{EXCEPTION}");
        let medium = |n: u32| finding(&format!("CVE-2026-{n}"), Severity::Medium);
        assert_eq!(judged(&rules, vec![medium(2)]), (Verdict::Pass, vec![]));
        let by = |n: u32, rule: &str| (format!("CVE-2026-{n}"), rule.to_owned());
        assert_eq!(
            judged(&rules, vec![medium(2), medium(3)]),
            (Verdict::Review, vec![by(2, "rules[1]"), by(3, "rules[1]")])
        );
        // CVE-2026-1 is excepted, and does not count.
        let (verdict, _) = judged(&rules, vec![medium(1), medium(2), medium(3)]);
        assert_eq!(verdict, Verdict::Review);
        let four = vec![medium(2), medium(3), medium(4), finding("CVE-2026-5", Severity::Low)];
        let expected = vec![
            by(2, "rules[0]"),
            by(3, "rules[0]"),
            by(4, "rules[0]"),
            by(5, "rules[1]"),
        ];
        assert_eq!(judged(&rules, four), (Verdict::Block, expected));
    }

    #[test]
    fn what_is_counted_but_not_listed_counts_for_a_maximum_as_often_as_it_was_counted() {
        let policy = testing::policy(
            r#""rules": [{"severities": ["LOW"], "fix": "available", "more_than": 9, "action": "block"}]"#,
        );
        for (count, verdict) in [(10, Verdict::Pass), (11, Verdict::Block)] {
            let mut scan = scan(vec![Finding {
                fix: Fix::Unavailable,
                ..finding("CVE-2026-1", Severity::Low)
            }]);
            scan.counts = [(Severity::Low, count)].into();
            scan.unlisted = [(Severity::Low, count - 1)].into();
            let evaluation = evaluate(&policy, &names(), &scan, testing::now());
            assert_eq!(evaluation.verdict, verdict, "{count}");
        }
    }

    #[test]
    fn which_exceptions_are_of_use() {
        let entry = |vulnerability: &str, more: &str| {
            format!(r#"{{"vulnerability": "{vulnerability}", "owner": "o", "reason": "r", {more}}}"#)
        };
        let all = r#""repositories": ["*"], "expires": "2026-12-31""#;
        let entries = [
            entry("CVE-2026-1", all),
            entry("CVE-2026-1", &format!(r#"{all}, "ticket": "SEC-7""#)),
            entry("CVE-2025-*", &format!(r#"{all}, "ticket": "SEC-\u202e8""#)),
            entry("CVE-2025-*", r#""repositories": ["dev-*"], "expires": "2026-12-31""#),
            entry("CVE-2025-*", r#""repositories": ["*"], "expires": "2026-11-23""#),
            entry("CVE-2026-1", &format!(r#"{all}, "package": "zlib""#)),
            entry("CVE-2026-1", &format!(r#"{all}, "tag": "v9""#)),
        ];
        let policy = testing::policy(&format!(r#""exceptions": [{}]"#, entries.join(", ")));
        // Whatever action the finding would have.
        let scan = scan(vec![finding("CVE-2026-1", Severity::Low)]);
        let exceptions = exception_use(&policy, &names(), &scan, testing::now());
        assert_eq!(exceptions.used, ["exceptions[0]", "exceptions[1] SEC-7"]);
        assert_eq!(exceptions.unused, ["exceptions[2] SEC-8", "exceptions[5]"]);
    }

    fn any_finding() -> impl Strategy<Value = Finding> {
        let severity = prop::sample::select(Severity::ALL.to_vec());
        let fix = prop::sample::select(vec![Fix::Available, Fix::Unavailable, Fix::Unknown]);
        let package = prop::sample::select(vec![None, Some("OS"), Some("NPM")]);
        let score = prop::option::of(0..=10_u8);
        let exploit = any::<Option<bool>>();
        (0..20_u8, severity, fix, package, score, exploit).prop_map(|(n, severity, fix, package, score, exploit)| {
            Finding {
                package_type: package.map(str::to_owned),
                fix,
                exploit,
                score: score.map(f64::from),
                epss: score.map(|score| f64::from(score) / 10.0),
                ..finding(&format!("CVE-2026-{n}"), severity)
            }
        })
    }

    /// Members of a policy: rules that make it better and worse, maxima, and an exception.
    fn any_rules() -> impl Strategy<Value = String> {
        let condition = prop::sample::select(vec![
            r#""severities": ["HIGH", "CRITICAL"]"#,
            r#""severities": ["MEDIUM", "UNDEFINED"]"#,
            r#""fix": "available""#,
            r#""fix": "unavailable""#,
            r#""exploit": true"#,
            r#""min_score": 5"#,
            r#""package_types": ["OS"]"#,
            r#""vulnerabilities": ["CVE-2026-1*"]"#,
        ]);
        let action = prop::sample::select(vec!["inform", "monitor", "review", "block"]);
        let first = (condition.clone(), action)
            .prop_map(|(condition, action)| (condition, format!(r#"{{{condition}, "action": "{action}"}}"#)));
        let maximum = (condition, 0..6_u8, prop::sample::select(vec!["review", "block"])).prop_map(
            |(condition, most, action)| format!(r#"{{{condition}, "more_than": {most}, "action": "{action}"}}"#),
        );
        (prop::collection::vec(first, 0..3), prop::collection::vec(maximum, 0..3)).prop_map(|(mut firsts, maxima)| {
            // An entry that never decides would be refused.
            firsts.sort();
            firsts.dedup_by(|one, other| one.0 == other.0);
            let entries: Vec<String> = firsts.into_iter().map(|(_, entry)| entry).chain(maxima).collect();
            format!(
                r#""unfixable": {{"CRITICAL": "review"}}, "rules": [{}], {EXCEPTION}"#,
                entries.join(", ")
            )
        })
    }

    /// The row that is written of an image with these findings, and one that has room for the worst `kept` findings only.
    fn rows(policy: &Policy, scan: &Findings, kept: usize) -> Option<(Row, Row)> {
        let facts = Facts {
            image: Some(testing::image(&testing::image_key())),
            scan: Scan::Complete(scan.clone()),
            ..Facts::about(testing::image_key(), "one")
        };
        let Plan::Apply(step) = decide(policy, &facts, testing::now()) else {
            return None;
        };
        let full = step.row;
        let mut cut = full.clone();
        let omitted = cut.findings.split_off(kept.min(cut.findings.len()));
        cut.omitted_findings = u64::try_from(omitted.len()).unwrap();
        cut.worst_omitted = omitted.into_iter().next();
        Some((full, cut))
    }

    proptest! {
        #[test]
        fn one_more_finding_never_makes_it_better(
            rules in any_rules(),
            findings in prop::collection::vec(any_finding(), 0..10),
            more in any_finding(),
            unlisted in prop::option::of((prop::sample::select(Severity::ALL.to_vec()), 1..20_u64)),
        ) {
            let policy = testing::policy(&rules);
            let verdict = |scan: &Findings| evaluate(&policy, &names(), scan, testing::now()).verdict;
            let mut scan = scan(findings);
            let before = verdict(&scan);
            scan.findings.push(more);
            prop_assert!(verdict(&scan) >= before);
            if let Some((severity, count)) = unlisted {
                let before = verdict(&scan);
                let listed = scan.findings.iter().filter(|finding| finding.severity == severity).count();
                scan.counts = [(severity, count + u64::try_from(listed).unwrap())].into();
                scan.unlisted = [(severity, count)].into();
                prop_assert!(verdict(&scan) >= before);
            }
        }

        #[test]
        fn what_is_remembered_is_as_bad_as_what_was_found_whatever_did_not_fit(
            rules in any_rules(),
            findings in prop::collection::vec(any_finding(), 1..12),
            counts in prop::collection::btree_map(prop::sample::select(Severity::ALL.to_vec()), 0..20_u64, 0..3),
            kept in 1..12_usize,
        ) {
            let policy = testing::policy(&rules);
            let mut scan = scan(findings);
            scan.unlisted = counts;
            let found = evaluate(&policy, &names(), &scan, testing::now()).verdict;
            if let Some((full, cut)) = rows(&policy, &scan, kept) {
                for row in [full, cut] {
                    // Through JSON, as the ledger keeps it.
                    let row: Row = serde_json::from_str(&serde_json::to_string(&row).unwrap()).unwrap();
                    let remembered = evaluate_remembered(&policy, &row, &names(), testing::now());
                    prop_assert_eq!(remembered.verdict, found, "{:?}", row);
                }
            }
        }
    }
}
