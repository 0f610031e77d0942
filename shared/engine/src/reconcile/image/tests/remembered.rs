//! The row remembers enough for the evaluation, and fits into an item.

use super::*;
use crate::testing::sweep;

fn excepted(entries: &[(&str, Option<&str>, &str)]) -> Policy {
    let entries: Vec<String> = entries
        .iter()
        .map(|(id, package, expires)| {
            let package = package.map_or(String::new(), |package| format!(r#""package": "{package}", "#));
            format!(
                r#"{{"vulnerability": "{id}", {package}"repositories": ["*"], "owner": "o", "reason": "r", "expires": "{expires}"}}"#
            )
        })
        .collect();
    policy(&format!(r#""exceptions": [{}]"#, entries.join(",")))
}

fn in_package(id: &str, package: &str, score: f64) -> Finding {
    Finding {
        package: Some(package.to_owned()),
        score: Some(score),
        ..finding(id, Severity::Critical)
    }
}

#[test]
fn an_exception_ends_for_every_finding_and_not_only_for_the_first_300() {
    let policy = excepted(&[
        ("*", Some("linux-libc-dev"), "2027-03-01"),
        ("CVE-2026-9", Some("zlib"), "2026-11-30"),
    ]);
    let mut findings: Vec<Finding> = (0..400)
        .map(|n| in_package(&format!("CVE-2025-{n:04}"), "linux-libc-dev", 8.0))
        .collect();
    findings.push(in_package("CVE-2026-9", "zlib", 7.0));
    let world = world(Scan::Complete(scan(findings)));
    world.list_scans();
    assert_eq!(settle(&world, &policy).state, Some(State::Allowed));
    let row = world.row_of(&image_key()).unwrap();
    let omitted: Vec<(&str, u64)> = row
        .omitted_excepted
        .iter()
        .map(|one| (one.scope.as_str(), one.number))
        .collect();
    assert_eq!(omitted, [("* linux-libc-dev", 100), ("CVE-2026-9 zlib", 1)]);
    world.set_now("2026-12-01T00:30:00Z".parse().unwrap());
    sweep(&world, &policy);
    assert_ne!(
        world.row_of(&image_key()).unwrap().state,
        State::Allowed,
        "the exception for zlib has ended"
    );
}

#[test]
fn what_was_excepted_beyond_the_first_300_counts_when_the_exception_goes_and_is_covered_while_it_stays() {
    let both = excepted(&[("CVE-2025-*", None, "2026-12-31"), ("CVE-2026-*", None, "2026-12-31")]);
    let swapped = excepted(&[("CVE-2026-*", None, "2026-12-31"), ("CVE-2025-*", None, "2026-12-31")]);
    let one = excepted(&[("CVE-2025-*", None, "2026-12-31")]);
    let only_the_worst = excepted(&[
        ("CVE-2025-*", None, "2026-12-31"),
        ("CVE-2026-0000", None, "2026-12-31"),
    ]);
    for (later, expected) in [
        (&swapped, State::Allowed),
        (&one, State::Blocked),
        (&only_the_worst, State::Blocked),
    ] {
        let mut findings: Vec<Finding> = (0..300)
            .map(|n| finding(&format!("CVE-2025-{n:04}"), Severity::Critical))
            .collect();
        findings.extend((0..100).map(|n| finding(&format!("CVE-2026-{n:04}"), Severity::Critical)));
        let world = world(Scan::Complete(scan(findings)));
        assert_eq!(settle(&world, &both).state, Some(State::Allowed));
        world.set_scan(&image_key(), Scan::InProgress);
        assert_eq!(settle(&world, later).state, Some(expected));
        world.forget_calls();
        settle(&world, later);
        assert_eq!(world.writes(), 0, "{expected:?}");
    }
}

#[test]
fn of_more_than_300_findings_one_that_goes_is_no_news_and_one_that_comes_is() {
    let high = |n: usize| finding(&format!("CVE-2026-{n:04}"), Severity::High);
    let world = world(Scan::Complete(scan((0..400).map(high).collect())));
    settle(&world, &policy(""));
    for gone in 1..=5 {
        world.complete_scan(&image_key(), scan((gone..400).map(high).collect()));
        settle(&world, &policy(""));
    }
    assert_eq!(told(&world), ["image-review"], "nothing new was found");
    // A second reconcile of the same findings: those that are left out are not added up.
    let omitted = world.row_of(&image_key()).unwrap().omitted_findings;
    settle(&world, &policy(""));
    assert_eq!(
        (omitted, world.row_of(&image_key()).unwrap().omitted_findings),
        (95, 95)
    );
    let mut more: Vec<Finding> = (5..400).map(high).collect();
    more.push(finding("CVE-2025-0001", Severity::High));
    world.complete_scan(&image_key(), scan(more));
    settle(&world, &policy(""));
    assert_eq!(told(&world), ["image-review", "image-review"]);
}

#[test]
fn a_row_fits_into_an_item_whatever_is_in_the_image() {
    let long = |n: usize, c: char| format!("{n}{}", c.to_string().repeat(1020));
    for (letter, method) in [
        ('p', "archive"),
        ('ß', "archive"),
        ('"', "quarantine-tag"),
        ('\u{1}', "quarantine-tag"),
    ] {
        let findings = (0..700)
            .map(|n| Finding {
                package: Some(long(n, letter)),
                installed: Some(long(n, letter)),
                fixed_in: Some(long(n, letter)),
                url: Some(long(n, letter)),
                ..finding(&format!("CVE-2026-{n:04}"), Severity::Critical)
            })
            .collect();
        let mut entry = image(&image_key());
        entry.tags = (0..999).map(|n| format!("{n:0>128}").parse().unwrap()).collect();
        let world = World::with(&image_key(), entry, Scan::Complete(scan(findings)));
        let policy = policy(&format!(
            r#""block": {{"method": "{method}"}}, "exceptions": [{{"vulnerability": "CVE-2026-00*", "repositories": ["*"], "owner": "o",
                "reason": "r", "expires": "2026-12-31"}}, {{"vulnerability": "CVE-2026-01*", "repositories": ["*"], "owner": "o",
                "reason": "r", "expires": "2026-12-31"}}]"#
        ));
        assert_eq!(settle(&world, &policy).state, Some(State::Blocked));
        let row = world.row_of(&image_key()).unwrap();
        let bytes = serde_json::to_string(&row).unwrap().len();
        assert!(bytes < 400 * 1024, "{letter:?}: {bytes} bytes");
        let remembered = row.findings.len() as u64 + row.omitted_findings;
        assert_eq!(remembered, 500, "what is left out is counted");
    }
}

#[test]
fn a_key_that_stands_twice_in_the_policy_is_refused() {
    let of = |members: &str| {
        let json = format!(
            r#"{{"version": 1, "mode": "enforce", "routes": {{"default": "arn:aws:sns:us-west-2:123456789012:a"}}, {members}}}"#
        );
        Policy::from_json(&json, now()).unwrap_err().to_string()
    };
    insta::assert_snapshot!(of(r#""severities": {"CRITICAL": "block", "CRITICAL": "inform"}"#), @"the policy is not valid at `severities.CRITICAL`: `CRITICAL` stands there twice at line 1 column 154");
    insta::assert_snapshot!(of(r#""unfixable": {"HIGH": "block", "HIGH": "inform"}"#), @"the policy is not valid at `unfixable.HIGH`: `HIGH` stands there twice at line 1 column 145");
}

/// An image with one MEDIUM finding, evaluated by the default rules, and a new scan is under way.
fn rescanned(severity: Severity) -> World {
    let world = world(Scan::Complete(scan(vec![finding("CVE-2026-1", severity)])));
    settle(&world, &policy(""));
    world.set_scan(&image_key(), Scan::InProgress);
    world
}

#[test]
fn a_stricter_policy_does_not_take_what_was_not_remembered_for_clean() {
    for (members, expected) in [
        (r#""severities": {"MEDIUM": "block"}"#, State::Review),
        (r#""severities": {"MEDIUM": "review"}"#, State::Review),
        // Which vulnerability it is, nobody remembers.
        (
            r#""rules": [{"vulnerabilities": ["CVE-2026-1"], "action": "block"}]"#,
            State::Review,
        ),
        (
            r#""rules": [{"severities": ["MEDIUM"], "packages": ["openssl"], "action": "review"}]"#,
            State::Review,
        ),
        (
            r#""rules": [{"severities": ["MEDIUM"], "more_than": 0, "action": "block"}]"#,
            State::Review,
        ),
        (
            r#""rules": [{"severities": ["LOW"], "packages": ["openssl"], "action": "block"}]"#,
            State::Allowed,
        ),
        (
            r#""rules": [{"repositories": ["other"], "severities": ["MEDIUM"], "action": "block"}]"#,
            State::Allowed,
        ),
        (r#""severities": {"LOW": "block"}"#, State::Allowed),
    ] {
        let world = rescanned(Severity::Medium);
        let outcome = settle(&world, &policy(members));
        assert_eq!(outcome.state, Some(expected), "{members}: {}", outcome.reason.unwrap());
        assert_eq!(
            settle(&world, &policy(members)).outcome,
            OutcomeKind::Unchanged,
            "{members}"
        );
    }
}

#[test]
fn what_was_not_remembered_is_blocked_when_the_scanner_names_it_and_forgotten_under_milder_rules() {
    let stricter = policy(r#""severities": {"MEDIUM": "block"}"#);
    let world = rescanned(Severity::Medium);
    settle(&world, &stricter);
    world.complete_scan(&image_key(), scan(vec![finding("CVE-2026-1", Severity::Medium)]));
    assert_eq!(settle(&world, &stricter).state, Some(State::Blocked));

    let world = rescanned(Severity::Medium);
    settle(&world, &stricter);
    assert_eq!(settle(&world, &policy("")).state, Some(State::Allowed));
    assert_eq!(
        settle(&world, &stricter).state,
        Some(State::Review),
        "it is still there"
    );
}

#[test]
fn other_changes_of_the_policy_do_not_question_what_was_not_remembered() {
    // By its package it is below review, and by its severity it would not be.
    let rules = r#""rules": [{"packages": ["openssl"], "action": "inform"}]"#;
    let world = world(Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Critical)])));
    settle(&world, &policy(rules));
    world.set_scan(&image_key(), Scan::InProgress);
    let other = format!("{rules}, {EXCEPTED}, \"digest\": {{\"hour\": 9}}");
    assert_eq!(settle(&world, &policy(&other)).state, Some(State::Allowed));
    assert_eq!(
        settle(&world, &policy("")).state,
        Some(State::Review),
        "without the rule it counts"
    );
}

#[test]
fn a_row_says_why_the_image_is_blocked() {
    use guard_core::ledger::Cause;
    let tags = r#""repositories": [{"match": "*", "tags": {"forbidden": ["v1.*"], "on_violation": "block"}}]"#;
    for (scan, members, expected) in [
        (critical(), "", Some((Cause::Findings, false))),
        (
            critical(),
            r#""block": {"method": "flag"}"#,
            Some((Cause::Findings, false)),
        ),
        (critical(), tags, Some((Cause::Findings, false))),
        (clean(), tags, Some((Cause::Tag, false))),
        (Scan::InProgress, tags, Some((Cause::Tag, true))),
        (
            Scan::Unavailable(NoScan::Failed),
            r#""scan": {"on_failure": "block"}"#,
            Some((Cause::NoScan, false)),
        ),
        (clean(), "", None),
    ] {
        let world = world(scan);
        settle(&world, &policy(members));
        let row = world.row_of(&image_key()).unwrap();
        assert_eq!(row.cause.map(|cause| (cause, row.unjudged)), expected, "{members}");
    }
    let report = policy_in("report", "");
    let held = world(critical());
    settle(&held, &report);
    assert_eq!(
        held.row_of(&image_key()).unwrap().cause,
        Some(Cause::Findings),
        "held for the same"
    );
}

#[test]
fn what_was_evaluated_clean_and_blocked_for_a_tag_is_clean_without_it() {
    let rules = policy(r#""repositories": [{"match": "*", "tags": {"forbidden": ["v1.*"], "on_violation": "block"}}]"#);
    for (scan, expected) in [(clean(), State::Allowed), (Scan::InProgress, State::Pending)] {
        let world = world(scan);
        settle(&world, &rules);
        let mut row = world.row_of(&image_key()).unwrap();
        for is_old in [false, true] {
            if is_old {
                (row.cause, row.unjudged, row.generation) = (None, false, 1000);
                world.remember(row.clone());
            }
            assert_eq!(settle(&world, &policy("")).state, Some(expected), "{is_old}");
            settle(&world, &rules);
            row = world.row_of(&image_key()).unwrap();
        }
    }
}
