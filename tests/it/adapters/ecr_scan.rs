//! Reading what the scanner says.

use serde_json::{Value, json};
use shared::core::{
    evaluate::{Names, evaluate},
    finding::{Finding, Findings, Fix, MAX_RELATED, NoScan, Scan, ScanMode, Severity, UNLISTED},
};
use shared::ports::{PortError, Retry, Scanner as _};

use super::*;
use crate::canned::{FakeAws, Reply};

const OPERATION: &str = "ecr:DescribeImageScanFindings";

fn scan(replies: impl IntoIterator<Item = Reply>) -> (FakeAws, Result<Scan, PortError>) {
    let world = FakeAws::scripted(replies.into_iter().map(|reply| (OPERATION, reply)));
    let registry = world.aws().ecr_registry(account());
    let result = world.run(registry.scan(&key()));
    (world, result)
}

fn page(status: &str, findings: &Value, token: Option<&str>) -> Reply {
    Reply::Ok(json!({
        "registryId": ACCOUNT,
        "repositoryName": REPOSITORY,
        "imageId": {"imageDigest": DIGEST},
        "imageScanStatus": {"status": status, "description": "as it says"},
        "imageScanFindings": findings,
        "nextToken": token,
    }))
}

#[track_caller]
fn complete(replies: impl IntoIterator<Item = Reply>) -> Findings {
    match scan(replies).1 {
        Ok(Scan::Complete(findings)) => findings,
        other => panic!("not a complete scan: {other:?}"),
    }
}

fn basic(name: &str, severity: &str, attributes: &[(&str, &str)]) -> Value {
    let attributes: Vec<Value> = attributes
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect();
    json!({"name": name, "severity": severity, "uri": format!("https://example.com/{name}"), "attributes": attributes})
}

fn enhanced(id: &str, severity: &str, packages: &Value, more: Value) -> Value {
    let finding = json!({
        "awsAccountId": ACCOUNT,
        "findingArn": format!("arn:aws:inspector2:us-west-2:{ACCOUNT}:finding/f-{id}"),
        "severity": severity,
        "status": "ACTIVE",
        "type": "PACKAGE_VULNERABILITY",
        "title": format!("{id} - somewhere"),
        "packageVulnerabilityDetails": {
            "vulnerabilityId": id,
            "sourceUrl": format!("https://example.com/{id}"),
            "vulnerablePackages": packages,
        },
    });
    with(finding, more)
}

fn ids(findings: &Findings) -> Vec<(&str, Option<&str>)> {
    findings
        .findings
        .iter()
        .map(|finding| (finding.id.as_str(), finding.package.as_deref()))
        .collect()
}

#[test]
fn findings_are_asked_for_by_digest_in_the_largest_pages() {
    let (world, result) = scan([page("COMPLETE", &json!({"findings": []}), None)]);
    assert!(result.is_ok());
    assert_eq!(
        world.only_body(OPERATION),
        json!({
            "registryId": ACCOUNT,
            "repositoryName": REPOSITORY,
            "imageId": {"imageDigest": DIGEST},
            "maxResults": 1000,
        })
    );
}

#[test]
fn a_basic_scan() {
    let findings = complete([page(
        "COMPLETE",
        &json!({
            "imageScanCompletedAt": 1_764_000_000.0,
            "vulnerabilitySourceUpdatedAt": 1_763_000_000.0,
            "findingSeverityCounts": {"CRITICAL": 1, "UNTRIAGED": 2, "UNDEFINED": 1, "TOTAL": 7},
            "findings": [
                basic("CVE-1", "CRITICAL", &[
                    ("package_name", "openssl"), ("package_version", "3.0.1"), ("CVSS2_SCORE", "7.5"),
                    ("CVSS3_SCORE", "9.8"), ("patched_version", "3.0.9"),
                ]),
                basic("CVE-2", "NEW_WORD", &[("package_name", "zlib"), ("CVSS2_SCORE", "x"), ("patched_version", "")]),
            ],
        }),
        None,
    )]);
    assert_eq!(
        findings,
        Findings {
            mode: ScanMode::Basic,
            completed_at: Some("2025-11-24T16:00:00Z".parse().unwrap()),
            findings: vec![
                Finding {
                    id: "CVE-1".to_owned(),
                    related: Vec::new(),
                    severity: Severity::Critical,
                    package: Some("openssl".to_owned()),
                    package_type: Some("OS".to_owned()),
                    installed: Some("3.0.1".to_owned()),
                    fixed_in: Some("3.0.9".to_owned()),
                    fix: Fix::Available,
                    exploit: None,
                    score: Some(9.8),
                    epss: None,
                    url: Some("https://example.com/CVE-1".to_owned()),
                },
                Finding {
                    id: "CVE-2".to_owned(),
                    related: Vec::new(),
                    severity: Severity::Undefined,
                    package: Some("zlib".to_owned()),
                    package_type: Some("OS".to_owned()),
                    installed: None,
                    fixed_in: None,
                    fix: Fix::Unknown,
                    exploit: None,
                    score: None,
                    epss: None,
                    url: Some("https://example.com/CVE-2".to_owned()),
                },
            ],
            counts: [(Severity::Critical, 1), (Severity::Undefined, 3)].into(),
            // One of two that it does not rate is not listed, and one whose word we do not know.
            unlisted: [(Severity::Undefined, 2)].into(),
            counted_by_event: [].into(),
            hidden: 0,
            has_result: true,
            in_use_count: None,
            last_in_use_at: None,
        }
    );
}

#[test]
fn an_enhanced_scan_has_a_finding_for_each_package() {
    // Every finding has the images that it is in; what is true of any of them is true.
    let image = |count: i64, at: i64| {
        let resource = |count: i64, at: i64| {
            json!({"type": "AWS_ECR_CONTAINER_IMAGE", "details": {
                "awsEcrContainerImage": {"imageHash": DIGEST, "inUseCount": count, "lastInUseAt": at}
            }})
        };
        json!([resource(0, at - 10), resource(count, at)])
    };
    let findings = complete([page(
        "ACTIVE",
        &json!({
            "imageScanCompletedAt": 1_764_000_000,
            "findingSeverityCounts": {"CRITICAL": 1, "HIGH": 1},
            "enhancedFindings": [
                enhanced("CVE-1", "CRITICAL", &json!([
                    {"name": "openssl", "version": "3.0.1", "release": "4.el9", "epoch": 1, "fixedInVersion": "3.0.9", "packageManager": "OS"},
                    {"name": "openssl-libs", "version": "3.0.1", "epoch": 0, "fixedInVersion": "NotAvailable"},
                    {"name": "openssl", "version": "3.0.2", "filePath": "elsewhere", "packageManager": "OS"},
                ]), json!({"fixAvailable": "PARTIAL", "exploitAvailable": "YES", "score": 9.8, "resources": image(5, 1_764_000_100)})),
                enhanced("CVE-2", "HIGH", &json!([]), json!({"fixAvailable": "NO", "exploitAvailable": "NO", "resources": image(2, 1_764_000_050)})),
            ],
        }),
        None,
    )]);
    assert_eq!(findings.mode, ScanMode::Enhanced);
    assert_eq!(findings.counts, [(Severity::Critical, 1), (Severity::High, 1)].into());
    assert_eq!(findings.in_use_count, Some(5));
    assert_eq!(findings.last_in_use_at, Some("2025-11-24T16:01:40Z".parse().unwrap()));
    assert_eq!(
        findings.findings,
        [
            Finding {
                id: "CVE-1".to_owned(),
                related: Vec::new(),
                severity: Severity::Critical,
                package: Some("openssl".to_owned()),
                package_type: Some("OS".to_owned()),
                installed: Some("1:3.0.1-4.el9".to_owned()),
                fixed_in: Some("3.0.9".to_owned()),
                fix: Fix::Available,
                exploit: Some(true),
                score: Some(9.8),
                epss: None,
                url: Some("https://example.com/CVE-1".to_owned()),
            },
            Finding {
                id: "CVE-1".to_owned(),
                related: Vec::new(),
                severity: Severity::Critical,
                package: Some("openssl-libs".to_owned()),
                package_type: None,
                installed: Some("3.0.1".to_owned()),
                fixed_in: None,
                // There is a fix for some of the packages, and not for this one.
                fix: Fix::Unavailable,
                exploit: Some(true),
                score: Some(9.8),
                epss: None,
                url: Some("https://example.com/CVE-1".to_owned()),
            },
            Finding {
                id: "CVE-2".to_owned(),
                related: Vec::new(),
                severity: Severity::High,
                package: None,
                package_type: None,
                installed: None,
                fixed_in: None,
                fix: Fix::Unavailable,
                exploit: Some(false),
                score: None,
                epss: None,
                url: Some("https://example.com/CVE-2".to_owned()),
            },
        ]
    );
}

#[test]
fn packages_of_one_name_and_of_different_kinds_are_different_packages() {
    let package = |kind: &str| json!({"name": "requests", "version": "2.0", "packageManager": kind});
    let findings = complete([page(
        "ACTIVE",
        &json!({"enhancedFindings": [
            enhanced("CVE-1", "HIGH", &json!([package("OS"), package("PIP"), package("PIP"), package("")]), json!({})),
        ]}),
        None,
    )]);
    let kinds: Vec<_> = findings
        .findings
        .into_iter()
        .map(|finding| finding.package_type)
        .collect();
    assert_eq!(kinds, [Some("OS".to_owned()), Some("PIP".to_owned()), None]);
}

#[test]
fn a_finding_that_was_suppressed_or_closed_does_not_count() {
    let with = |status: &str| enhanced("CVE-1", "CRITICAL", &json!([{"name": "p"}]), json!({"status": status}));
    for (status, counts) in [
        ("ACTIVE", true),
        ("SUPPRESSED", false),
        ("CLOSED", false),
        ("NEW_WORD", true),
    ] {
        // Whether the scanner's own count holds it or not.
        for counted in [json!({"CRITICAL": 1}), json!({"CRITICAL": 0}), json!({}), json!(null)] {
            let findings = complete([page(
                "ACTIVE",
                &json!({"enhancedFindings": [with(status)], "findingSeverityCounts": counted}),
                None,
            )]);
            assert_eq!(findings.findings.len(), usize::from(counts), "{status}");
            if !counts {
                assert_eq!(
                    findings.counts.get(&Severity::Critical).copied().unwrap_or(0),
                    0,
                    "{status} {counted}"
                );
            }
        }
    }
}

#[test]
fn findings_that_were_suppressed_explain_a_larger_count_and_no_more() {
    let finding = |n: usize, status: &str| enhanced(&format!("CVE-{n}"), "HIGH", &json!([]), json!({"status": status}));
    for (counted, expected) in [(4, 2), (3, 1), (2, 1), (1, 1), (0, 0)] {
        let list = [finding(1, "ACTIVE"), finding(2, "SUPPRESSED"), finding(3, "CLOSED")];
        let counts = json!({"HIGH": counted});
        let findings = complete([page(
            "ACTIVE",
            &json!({"enhancedFindings": list, "findingSeverityCounts": counts}),
            None,
        )]);
        assert_eq!(findings.counts, [(Severity::High, expected)].into(), "{counted}");
        let unlisted = findings.unlisted.get(&Severity::High).copied().unwrap_or(0);
        assert_eq!(unlisted, u64::from(expected > 1), "{counted}");
    }
}

#[test]
fn the_scanners_count_stands_where_it_is_larger_and_ours_where_there_is_none() {
    let list = json!([
        basic("CVE-1", "HIGH", &[]),
        basic("CVE-2", "HIGH", &[]),
        basic("CVE-3", "LOW", &[])
    ]);
    let counted = |counts: Value| {
        complete([page(
            "COMPLETE",
            &json!({"findings": list, "findingSeverityCounts": counts}),
            None,
        )])
        .counts
    };
    assert_eq!(counted(json!({"HIGH": 5})), [(Severity::High, 5)].into());
    assert_eq!(counted(json!({"HIGH": -5})), [(Severity::High, 0)].into());
    assert_eq!(counted(json!(null)), [(Severity::High, 2), (Severity::Low, 1)].into());
}

#[test]
fn a_finding_without_an_id_is_called_by_what_it_has() {
    let no_id = json!({"packageVulnerabilityDetails": null});
    let no_arn = json!({"packageVulnerabilityDetails": null, "findingArn": null});
    let nothing = json!({"packageVulnerabilityDetails": null, "findingArn": null, "title": null});
    for (more, id) in [
        (no_id, "f-CVE-1"),
        (no_arn, "CVE-1 - somewhere"),
        (nothing, "unnamed finding"),
    ] {
        let findings = complete([page(
            "ACTIVE",
            &json!({"enhancedFindings": [enhanced("CVE-1", "HIGH", &json!([]), more)]}),
            None,
        )]);
        assert_eq!(ids(&findings), [(id, None)]);
    }
    let findings = complete([page("COMPLETE", &json!({"findings": [{}]}), None)]);
    assert_eq!(ids(&findings), [("unnamed finding", None)]);
    assert_eq!(findings.findings[0].severity, Severity::Undefined);
}

#[test]
fn the_same_vulnerability_in_the_same_package_is_one_finding_and_the_worse_one() {
    let package = json!([{"name": "p", "version": "1"}]);
    let findings = complete([page(
        "ACTIVE",
        &json!({"enhancedFindings": [
            enhanced("CVE-1", "LOW", &package, json!({"fixAvailable": "NO", "score": 3.0})),
            enhanced("CVE-1", "CRITICAL", &json!([{"name": "p", "version": "2", "fixedInVersion": "3"}]),
                json!({"fixAvailable": "YES", "exploitAvailable": "YES", "score": 2.0})),
            enhanced("CVE-1", "MEDIUM", &package, json!({"exploitAvailable": "NO"})),
        ]}),
        None,
    )]);
    assert_eq!(ids(&findings), [("CVE-1", Some("p"))]);
    let finding = &findings.findings[0];
    assert_eq!(
        (finding.severity, finding.fix, finding.exploit),
        (Severity::Critical, Fix::Available, Some(true))
    );
    assert_eq!((finding.score, finding.fixed_in.as_deref()), (Some(3.0), Some("3")));
}

#[test]
fn an_empty_list_of_inspector_is_enhanced_and_an_empty_list_of_ecr_is_basic() {
    for (status, findings, mode) in [
        ("ACTIVE", json!({}), ScanMode::Enhanced),
        ("COMPLETE", json!({"enhancedFindings": []}), ScanMode::Enhanced),
        ("COMPLETE", json!({"findings": []}), ScanMode::Basic),
        (
            "COMPLETE",
            json!({"findings": [], "enhancedFindings": []}),
            ScanMode::Basic,
        ),
        ("COMPLETE", json!({}), ScanMode::Basic),
    ] {
        let found = complete([page(status, &findings, None)]);
        assert_eq!((found.mode, found.findings.len()), (mode, 0), "{status} {findings}");
    }
}

/// The shapes that were recorded of clean images, and of images whose findings were not there yet. Sources: a recorded sequence of answers
/// under enhanced scanning (`COMPLETE`, `findings: []`, `imageScanCompletedAt`; the six findings came 12 seconds later), aws/aws-sdk#289 and
/// aws/aws-cli#6759 (no `imageScanCompletedAt`), and the answer of a clean basic scan (counts `{}`).
#[test]
fn an_answer_without_end_or_without_counts_and_findings_shows_no_result() {
    let listed = json!([basic("CVE-1", "HIGH", &[])]);
    let suppressed = json!([enhanced("CVE-1", "HIGH", &json!([]), json!({"status": "SUPPRESSED"}))]);
    for (has_result, findings) in [
        (false, json!({"findings": []})),
        (false, json!({"findings": [], "enhancedFindings": []})),
        (
            false,
            json!({"enhancedFindings": null, "findings": null, "findingSeverityCounts": null}),
        ),
        (false, json!({"findings": [], "imageScanCompletedAt": 1_764_000_000})),
        (
            false,
            json!({"enhancedFindings": [], "imageScanCompletedAt": 1_764_000_000}),
        ),
        (false, json!({"findings": [], "findingSeverityCounts": {}})),
        (false, json!({"findings": listed, "findingSeverityCounts": {"HIGH": 1}})),
        (
            true,
            json!({"findings": [], "findingSeverityCounts": {}, "imageScanCompletedAt": 1_764_000_000}),
        ),
        (true, json!({"findings": listed, "imageScanCompletedAt": 1_764_000_000})),
        (
            true,
            json!({"enhancedFindings": suppressed, "imageScanCompletedAt": 1_764_000_000}),
        ),
        (
            true,
            json!({"findings": null, "findingSeverityCounts": {"HIGH": 1}, "imageScanCompletedAt": 1_764_000_000}),
        ),
    ] {
        for status in ["COMPLETE", "ACTIVE"] {
            let found = complete([page(status, &findings, None)]);
            assert_eq!(found.has_result, has_result, "{status} {findings}");
        }
    }
}

#[test]
fn both_lists_are_read_and_neither_hides_the_other() {
    let (ours, theirs) = (
        basic("CVE-1", "HIGH", &[]),
        enhanced("CVE-2", "CRITICAL", &json!([]), json!({})),
    );
    for (ecr, inspector, expected) in [
        (json!([]), json!([theirs]), vec!["CVE-2"]),
        (json!([ours]), json!([]), vec!["CVE-1"]),
        (json!([ours]), json!([theirs]), vec!["CVE-1", "CVE-2"]),
        (json!(null), json!([theirs]), vec!["CVE-2"]),
        (json!([ours]), json!(null), vec!["CVE-1"]),
    ] {
        for status in ["COMPLETE", "ACTIVE"] {
            let found = complete([page(
                status,
                &json!({"findings": ecr, "enhancedFindings": inspector}),
                None,
            )]);
            let found: Vec<_> = ids(&found).into_iter().map(|(id, _)| id).collect();
            assert_eq!(found, expected, "{status} {ecr} {inspector}");
        }
    }
}

/// The findings left to decide on, with an exception for this vulnerability.
fn left_after_exception(findings: &Findings, vulnerability: &str) -> Vec<String> {
    let policy = shared::testing::policy(&format!(
        r#""exceptions": [{{"vulnerability": "{vulnerability}", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"}}]"#
    ));
    let (key, now) = (key(), shared::testing::now());
    let evaluation = evaluate(&policy, &Names::of(&key, &[]), findings, now);
    evaluation
        .findings
        .into_iter()
        .map(|judged| judged.finding.id)
        .collect()
}

#[test]
fn a_vulnerability_that_is_listed_for_two_versions_of_a_package_is_not_one_that_was_not_shown() {
    let of = |version: &str| {
        basic(
            "CVE-1",
            "CRITICAL",
            &[("package_name", "kernel"), ("package_version", version)],
        )
    };
    let findings = complete([page(
        "COMPLETE",
        &json!({"findings": [of("5.10.1"), of("5.10.2")], "findingSeverityCounts": {"CRITICAL": 2}}),
        None,
    )]);
    assert_eq!(findings.unlisted, [].into());
    assert_eq!(left_after_exception(&findings, "CVE-1"), [] as [&str; 0]);
}

#[test]
fn the_packages_of_a_finding_do_not_hide_what_is_counted_and_not_listed() {
    let packages = json!([{"name": "a", "version": "1"}, {"name": "b", "version": "1"}, {"name": "c", "version": "1"}]);
    let findings = complete([page(
        "ACTIVE",
        &json!({"enhancedFindings": [enhanced("CVE-1", "CRITICAL", &packages, json!({}))], "findingSeverityCounts": {"CRITICAL": 3}}),
        None,
    )]);
    assert_eq!(findings.unlisted, [(Severity::Critical, 2)].into());
    assert_eq!(left_after_exception(&findings, "CVE-1"), [UNLISTED]);
}

#[test]
fn an_advisory_goes_by_the_ids_that_it_is_related_to() {
    let related = json!(["CVE-2021-44228", "", "GHSA-jfh8-c2jp-5v3q", "CVE-2021-44228"]);
    let details = |related: Value| {
        json!({"packageVulnerabilityDetails": {"vulnerabilityId": "GHSA-jfh8-c2jp-5v3q", "relatedVulnerabilities": related,
            "vulnerablePackages": [{"name": "org.apache.logging.log4j:log4j-core", "version": "2.14.1", "packageManager": "JAR"}]}})
    };
    let read = |related| {
        let finding = enhanced("GHSA", "CRITICAL", &json!([]), details(related));
        complete([page("ACTIVE", &json!({"enhancedFindings": [finding]}), None)])
    };
    let findings = read(related);
    assert_eq!(findings.findings[0].id, "GHSA-jfh8-c2jp-5v3q");
    assert_eq!(findings.findings[0].related, ["CVE-2021-44228"]);
    for (vulnerability, left) in [("CVE-2021-44228", 0), ("GHSA-jfh8-c2jp-5v3q", 0), ("CVE-2021-4422", 1)] {
        assert_eq!(
            left_after_exception(&findings, vulnerability).len(),
            left,
            "{vulnerability}"
        );
    }
    // A row has to fit into an item.
    let many: Vec<String> = (0..50).map(|n| format!("CVE-2026-{n}")).collect();
    assert_eq!(read(json!(many)).findings[0].related.len(), MAX_RELATED);
}

#[test]
fn whether_there_is_a_fix_is_said_of_each_package() {
    let packages =
        json!([{"name": "a", "fixedInVersion": "2"}, {"name": "b", "fixedInVersion": "NotAvailable"}, {"name": "c"}]);
    use Fix::{Available, Unavailable, Unknown};
    for (word, expected) in [
        (json!("YES"), [Available, Available, Available]),
        (json!("NO"), [Unavailable, Unavailable, Unavailable]),
        (json!("PARTIAL"), [Available, Unavailable, Unknown]),
        (json!(null), [Available, Unavailable, Unknown]),
    ] {
        let finding = enhanced("CVE-1", "HIGH", &packages, json!({"fixAvailable": word}));
        let found = complete([page("ACTIVE", &json!({"enhancedFindings": [finding]}), None)]);
        let fixes: Vec<Fix> = found.findings.iter().map(|finding| finding.fix).collect();
        assert_eq!(fixes, expected, "{word}");
    }
}

#[test]
fn a_failure_that_says_unsupported_is_unsupported() {
    for (description, why) in [
        (
            "UnsupportedImageError: The operating system and/or package manager are not supported.",
            NoScan::Unsupported,
        ),
        ("The operating system 'x' is not supported", NoScan::Unsupported),
        ("UNSUPPORTED_IMAGE", NoScan::Unsupported),
        ("The scan failed for an internal reason", NoScan::Failed),
        ("", NoScan::Failed),
    ] {
        let (_, result) = scan([Reply::Ok(
            json!({"imageScanStatus": {"status": "FAILED", "description": description}}),
        )]);
        let scan = match description {
            "" => Scan::Unavailable(why),
            words => Scan::Explained(why, words.to_owned()),
        };
        assert_eq!(result, Ok(scan), "{description}");
    }
}

#[test]
fn a_result_without_a_status_is_a_result() {
    let (_, result) = scan([Reply::Ok(json!({
        "imageScanStatus": null,
        "imageScanFindings": {"findings": [basic("CVE-1", "HIGH", &[])], "imageScanCompletedAt": 1_764_000_000},
    }))]);
    let Ok(Scan::Complete(findings)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(ids(&findings), [("CVE-1", None)]);
}

#[test]
fn complete_without_a_result_is_not_clean() {
    let (_, result) = scan([page("COMPLETE", &json!(null), None)]);
    assert_failed(result, OPERATION, Retry::Later, "MalformedResponse");
    // Continuous scanning that has not looked yet.
    let (_, result) = scan([page("ACTIVE", &json!(null), None)]);
    assert_eq!(result.unwrap(), Scan::InProgress);
}

#[test]
fn every_status_without_findings_is_distinguished() {
    for (status, expected) in [
        ("IN_PROGRESS", Scan::InProgress),
        ("PENDING", Scan::InProgress),
        ("IMAGE_ARCHIVED", Scan::Archived),
        ("FAILED", Scan::Unavailable(NoScan::Failed)),
        ("UNSUPPORTED_IMAGE", Scan::Unavailable(NoScan::Unsupported)),
        ("IMAGE_SIZE_EXCEEDED", Scan::Unavailable(NoScan::TooLarge)),
        ("LIMIT_EXCEEDED", Scan::Unavailable(NoScan::LimitExceeded)),
        (
            "SCAN_ELIGIBILITY_EXPIRED",
            Scan::Unavailable(NoScan::EligibilityExpired),
        ),
        ("FINDINGS_UNAVAILABLE", Scan::Unavailable(NoScan::FindingsUnavailable)),
        (
            "ON_FIRE",
            Scan::Unavailable(NoScan::UnknownStatus("ON_FIRE".to_owned())),
        ),
    ] {
        // Old findings next to such a status say nothing.
        let old = json!({"findings": [basic("CVE-1", "CRITICAL", &[])]});
        let (world, result) = scan([page(status, &old, Some("more"))]);
        let expected = match expected {
            Scan::Unavailable(why) => Scan::Explained(why, "as it says".to_owned()),
            other => other,
        };
        assert_eq!(result, Ok(expected), "{status}");
        assert_eq!(world.count(OPERATION), 1);
    }
    for reply in [json!({}), json!({"imageScanStatus": {}})] {
        let (_, result) = scan([Reply::Ok(reply)]);
        assert_eq!(
            result,
            Ok(Scan::Unavailable(NoScan::UnknownStatus("missing".to_owned())))
        );
    }
}

#[test]
fn no_scan_no_image_and_no_repository_are_no_scan() {
    for code in [
        "ScanNotFoundException",
        "ImageNotFoundException",
        "RepositoryNotFoundException",
    ] {
        assert_eq!(scan([Reply::error(code)]).1, Ok(Scan::Absent), "{code}");
    }
    for code in ["InvalidParameterException", "ValidationException"] {
        assert_failed(scan([Reply::error(code)]).1, OPERATION, Retry::Never, code);
    }
}

#[test]
fn all_pages_are_read() {
    let one = |n: usize| {
        json!({
            "findings": [basic(&format!("CVE-{n}"), "HIGH", &[("package_name", "p")])],
            "findingSeverityCounts": {"HIGH": 3},
        })
    };
    let (world, result) = scan([
        page("COMPLETE", &one(1), Some("a")),
        // Later pages may leave out what the first has said.
        Reply::Ok(json!({"imageScanFindings": one(2), "nextToken": "b"})),
        page("COMPLETE", &one(3), Some("")),
    ]);
    let Ok(Scan::Complete(findings)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(
        ids(&findings),
        [("CVE-1", Some("p")), ("CVE-2", Some("p")), ("CVE-3", Some("p"))]
    );
    assert_eq!(findings.counts, [(Severity::High, 3)].into());
    let tokens: Vec<Value> = world
        .calls()
        .iter()
        .map(|call| call.request.body["nextToken"].clone())
        .collect();
    assert_eq!(tokens, [json!(null), json!("a"), json!("b")]);
}

#[test]
fn a_page_that_fails_fails_the_scan() {
    let first = || {
        page(
            "COMPLETE",
            &json!({"findings": [basic("CVE-1", "LOW", &[])]}),
            Some("a"),
        )
    };
    let (_, result) = scan([first(), Reply::error("ValidationException")]);
    assert_failed(result, OPERATION, Retry::Never, "ValidationException");
    let (_, result) = scan([first(), page("IN_PROGRESS", &json!(null), None)]);
    assert_eq!(result, Ok(Scan::InProgress));
}

#[test]
fn pages_that_lead_round_in_circles_are_a_failure() {
    let next = |token| page("COMPLETE", &json!({"findings": []}), Some(token));
    for tokens in [vec!["a", "a"], vec!["a", "b", "a"]] {
        let (world, result) = scan(tokens.iter().map(|token| next(token)));
        assert_failed(result, OPERATION, Retry::Later, "RepeatedToken");
        assert_eq!(world.count(OPERATION), tokens.len());
    }
}

#[test]
fn pages_without_end_are_a_failure() {
    let (world, result) = scan((0..250).map(|n| page("COMPLETE", &json!({"findings": []}), Some(&n.to_string()))));
    let error = assert_failed(result, OPERATION, Retry::Never, "TooManyPages");
    assert_eq!(error.message, "the image has more than 200 pages of findings");
    assert_eq!(world.count(OPERATION), 200);
}

#[test]
fn an_image_of_another_registry_is_not_asked_for() {
    let world = FakeAws::scripted([]);
    let registry = world.aws().ecr_registry(account());
    for image in [
        ImageKey {
            account: "210987654321".parse().unwrap(),
            ..key()
        },
        ImageKey {
            region: "us-east-1".parse().unwrap(),
            ..key()
        },
    ] {
        assert_failed(
            world.run(registry.scan(&image)),
            OPERATION,
            Retry::Never,
            "OtherRegistry",
        );
    }
}
