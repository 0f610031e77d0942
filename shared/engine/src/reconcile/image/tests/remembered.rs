//! What is remembered is enough to judge by, and fits into an item.

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
    // A second look at the same findings: what is left out is not added up.
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
    insta::assert_snapshot!(of(r#""severities": {"CRITICAL": "block", "CRITICAL": "inform"}"#), @"the policy is not valid at `severities`: `CRITICAL` stands there twice at line 1 column 154");
    insta::assert_snapshot!(of(r#""unfixable": {"HIGH": "block", "HIGH": "inform"}"#), @"the policy is not valid at `unfixable`: `HIGH` stands there twice at line 1 column 145");
}
