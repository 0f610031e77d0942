use super::*;
use crate::{ids::Tag, testing::image_key};

const NOW: &str = "2026-11-24T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn policy(body: &str) -> Result<Policy, PolicyError> {
    let separator = if body.is_empty() { "" } else { "," };
    let json = format!(
        r#"{{"version": 1, "mode": "enforce", "routes": {{"default": "arn:aws:sns:us-west-2:123456789012:alerts",
        "platform": "arn:aws:sns:us-west-2:123456789012:platform"}}{separator}{body}}}"#
    );
    Policy::from_json(&json, now())
}

#[track_caller]
fn refused(body: &str) -> String {
    policy(body).unwrap_err().to_string()
}

fn finding(severity: Severity, fix: Fix, exploit: Option<bool>) -> Finding {
    Finding {
        id: "CVE-2026-1".into(),
        related: Vec::new(),
        severity,
        package: None,
        package_type: None,
        installed: None,
        fixed_in: None,
        fix,
        exploit,
        score: None,
        epss: None,
        url: None,
    }
}

#[test]
fn the_least_policy_has_the_documented_defaults() {
    let policy = policy("").unwrap();
    for (severity, action) in [
        (Severity::Critical, Action::Block),
        (Severity::High, Action::Review),
        (Severity::Undefined, Action::Review),
        (Severity::Medium, Action::Monitor),
        (Severity::Low, Action::Inform),
        (Severity::Informational, Action::Inform),
    ] {
        assert_eq!(
            policy
                .consequence(&finding(severity, Fix::Unknown, None), &image_key().repository)
                .action,
            action,
            "{severity}"
        );
    }
    assert_eq!(policy.block(&image_key().repository).method, BlockMethod::Archive);
    assert_eq!(policy.block(&image_key().repository).when_in_use, WhenInUse::Hold);
    let block = policy.block(&image_key().repository);
    let days = [true, false].map(|counted| block.in_use(counted).as_hours() / 24);
    assert_eq!((days, block.when_lambda_may_pull), ([14, 90], WhenLambdaMayPull::Hold));
    assert_eq!(policy.scan.grace, SignedDuration::from_mins(30));
    assert_eq!((policy.digest.enabled, policy.digest.hour), (true, 7));
}

#[test]
fn a_finding_has_the_action_that_the_most_specific_rule_says() {
    let policy =
        policy(r#""severities": {"HIGH": "block"}, "unfixable": {"CRITICAL": "review"}, "exploitable": "block""#)
            .unwrap();
    for (severity, fix, exploit, action, rule) in [
        (
            Severity::Critical,
            Fix::Available,
            None,
            Action::Block,
            "severities.CRITICAL",
        ),
        (
            Severity::Critical,
            Fix::Unknown,
            None,
            Action::Block,
            "severities.CRITICAL",
        ),
        (
            Severity::Critical,
            Fix::Unavailable,
            None,
            Action::Review,
            "unfixable.CRITICAL",
        ),
        (
            Severity::Critical,
            Fix::Unavailable,
            Some(true),
            Action::Block,
            "exploitable",
        ),
        (
            Severity::High,
            Fix::Unavailable,
            Some(false),
            Action::Block,
            "severities.HIGH",
        ),
        (Severity::Low, Fix::Available, Some(true), Action::Block, "exploitable"),
        (
            Severity::Critical,
            Fix::Available,
            Some(true),
            Action::Block,
            "severities.CRITICAL",
        ),
        (
            Severity::Medium,
            Fix::Available,
            None,
            Action::Monitor,
            "severities.MEDIUM",
        ),
    ] {
        let consequence = policy.consequence(&finding(severity, fix, exploit), &image_key().repository);
        assert_eq!(
            (consequence.action, consequence.rule.to_string().as_str()),
            (action, rule),
            "{severity} {fix:?} {exploit:?}"
        );
    }
}

#[test]
fn the_first_repository_that_matches_gives_the_route() {
    let policy =
        policy(r#""repositories": [{"match": "prod-*", "route": "platform"}, {"match": "*-web"}, {"match": "*"}]"#)
            .unwrap();
    for (repository, topic) in [
        ("prod-web", "platform"),
        ("prod-api", "platform"),
        ("dev-api", "alerts"),
    ] {
        assert!(
            policy
                .topic(&repository.parse().unwrap(), None)
                .as_str()
                .ends_with(topic),
            "{repository}"
        );
    }
}

#[test]
fn the_tag_of_a_repository_goes_before_its_entry() {
    let policy =
        policy(r#""route_by_tag": "team", "repositories": [{"match": "prod-*", "route": "platform"}]"#).unwrap();
    let tag = |key: &str, value: Option<&str>| RouteTag {
        tag: key.to_owned(),
        value: value.map(str::to_owned),
    };
    for (repository, read, topic, is_unrouted) in [
        ("dev", None, "alerts", false),
        ("dev", Some(tag("team", Some("platform"))), "platform", false),
        ("dev", Some(tag("team", Some("Platform"))), "alerts", true),
        ("dev", Some(tag("team", Some(""))), "alerts", true),
        ("dev", Some(tag("team", None)), "alerts", true),
        ("dev", Some(tag("owner", Some("platform"))), "alerts", false),
        ("prod-a", None, "platform", false),
        ("prod-a", Some(tag("team", Some("default"))), "alerts", false),
        ("prod-a", Some(tag("team", Some("nobody"))), "platform", true),
        // Its entry says where.
        ("prod-a", Some(tag("team", None)), "platform", false),
    ] {
        let name = repository.parse().unwrap();
        assert!(policy.topic(&name, read.as_ref()).as_str().ends_with(topic), "{read:?}");
        let unrouted = read.as_ref().is_some_and(|read| policy.is_unrouted(&name, read));
        assert_eq!(unrouted, is_unrouted, "{repository} {read:?}");
    }
}

#[test]
fn without_the_member_no_tag_counts_and_its_key_must_be_one() {
    let read = RouteTag {
        tag: "team".to_owned(),
        value: Some("platform".to_owned()),
    };
    let name = image_key().repository;
    let policy_without = policy("").unwrap();
    assert!(policy_without.topic(&name, Some(&read)).as_str().ends_with("alerts"));
    assert!(!policy_without.is_unrouted(&name, &read));
    for key in [String::new(), "k".repeat(129)] {
        let error = policy(&format!(r#""route_by_tag": "{key}""#)).unwrap_err();
        assert_eq!(error.path, "route_by_tag");
    }
}

#[test]
fn routes_of_the_same_topic_are_one_topic() {
    let policy = Policy::from_json(
        r#"{"version": 1, "mode": "report", "routes": {"default": "arn:aws:sns:us-west-2:123456789012:a",
        "b": "arn:aws:sns:us-west-2:123456789012:b", "c": "arn:aws:sns:us-west-2:123456789012:a"}}"#,
        now(),
    )
    .unwrap();
    let topics: Vec<_> = policy.topics().into_values().collect();
    assert_eq!(topics, [vec!["c", "default"], vec!["b"]]);
}

#[test]
fn an_error_names_the_place() {
    insta::assert_snapshot!(refused(r#""digest": {"hour": 24}"#), @"the policy is not valid at `digest.hour`: 24 is not between 0 and 23");
    insta::assert_snapshot!(refused(r#""severities": {"CRITICAL": "explode"}"#), @"the policy is not valid at `severities.CRITICAL`: unknown variant `explode`, expected one of `inform`, `monitor`, `review`, `block` at line 2 column 103");
    insta::assert_snapshot!(refused(r#""severities": {"SEVERE": "block"}"#), @"the policy is not valid at `severities.SEVERE`: a severity is one of CRITICAL, HIGH, UNDEFINED, MEDIUM, LOW, INFORMATIONAL");
    insta::assert_snapshot!(refused(r#""scan": {"grace": 5}"#), @"the policy is not valid at `scan.grace`: unknown field `grace`, expected one of `grace_minutes`, `on_failure`, `on_unsupported`, `on_stale`, `artifacts` at line 2 column 83");
    insta::assert_snapshot!(refused(r#""scan": {"on_failure": "allow"}"#), @"the policy is not valid at `scan.on_failure`: unknown variant `allow`, expected one of `monitor`, `review`, `block` at line 2 column 97");
    insta::assert_snapshot!(refused(r#""scan": {"grace_minutes": 0}"#), @"the policy is not valid at `scan.grace_minutes`: 0 is not between 1 and 1440");
    insta::assert_snapshot!(refused(r#""block": {"max_blocks_per_hour": 0}"#), @"the policy is not valid at `block.max_blocks_per_hour`: 0 is not between 1 and 1000");
    insta::assert_snapshot!(refused(r#""block": {"in_use_days": 900}"#), @"the policy is not valid at `block.in_use_days`: 900 is not between 1 and 365");
    insta::assert_snapshot!(refused(r#""repositories": [{"match": "a*"}, {"match": "b*", "route": "nobody"}]"#), @"the policy is not valid at `repositories[1].route`: there is no route `nobody` in `routes`");
    insta::assert_snapshot!(refused(r#""repositories": [{"match": "a*"}, {"match": "a*"}]"#), @"the policy is not valid at `repositories[1].match`: `a*` stands already in `repositories[0]`, which wins");
    insta::assert_snapshot!(refused(r#""exceptions": [{"vulnerability": "CVE-1", "repositories": ["*"], "owner": "a", "reason": "b"}]"#), @"the policy is not valid at `exceptions[0]`: missing field `expires` at line 2 column 160");
    insta::assert_snapshot!(Policy::from_json("{", now()).unwrap_err(), @"the policy is not valid at `.`: EOF while parsing an object at line 1 column 1");
    insta::assert_snapshot!(Policy::from_json(r#"{"version": 1, "mode": "enforce", "routes": {}}"#, now()).unwrap_err(), @"the policy is not valid at `routes`: `default` is missing: alerts would have nowhere to go");
    insta::assert_snapshot!(Policy::from_json(r#"{"version": 2, "mode": "report", "routes": {}}"#, now()).unwrap_err(), @"the policy is not valid at `version`: version 2 is not known, only 1 is");
    insta::assert_snapshot!(Policy::from_json(r#"{"version": 1, "routes": {}}"#, now()).unwrap_err(), @"the policy is not valid at `.`: missing field `mode` at line 1 column 28");
    insta::assert_snapshot!(
        Policy::from_json(r#"{"version": 1, "mode": "report", "routes": {"default": "arn:aws:sns:us-west-2:123456789012:a.fifo"}}"#, now()).unwrap_err(),
        @"the policy is not valid at `routes.default`: a FIFO topic delivers neither e-mail nor chat: use a standard topic"
    );
    insta::assert_snapshot!(
        Policy::from_json(r#"{"version": 1, "mode": "report", "routes": {"default": "${topic}"}}"#, now()).unwrap_err(),
        @"the policy is not valid at `routes.default`: a topic's ARN looks like `arn:aws:sns:us-west-2:123456789012:alerts`"
    );
}

fn exception_policy(expires: &str, more: &str) -> Result<Policy, PolicyError> {
    policy(&format!(
        r#""exceptions": [{{"vulnerability": "CVE-2026-*", "repositories": ["prod-*"], "owner": "a@example.com",
        "reason": "not reachable", "expires": "{expires}"{more}}}]"#
    ))
}

#[test]
fn an_exception_ends_within_180_days_and_names_who_and_why() {
    assert!(exception_policy("2027-05-23", "").is_ok());
    insta::assert_snapshot!(exception_policy("2027-05-24", "").unwrap_err(), @"the policy is not valid at `exceptions[0].expires`: an exception ends within 180 days; renew it when the time comes. Today the latest day is 2027-05-23");
    insta::assert_snapshot!(exception_policy("2027-02-30", "").unwrap_err(), @"the policy is not valid at `exceptions[0].expires`: parsed date is not valid: parameter 'day' for `2027-02` is invalid, must be in range `1..=28` at line 3 column 58");
    insta::assert_snapshot!(exception_policy("2027-01-01", r#", "package": """#).unwrap_err(), @"the policy is not valid at `exceptions[0].package`: an empty pattern matches nothing");
    insta::assert_snapshot!(refused(r#""exceptions": [{"vulnerability": "CVE-1", "repositories": [], "owner": "a", "reason": "b", "expires": "2027-01-01"}]"#), @"the policy is not valid at `exceptions[0].repositories`: an exception names its repositories; `*` is all of them");
    insta::assert_snapshot!(refused(r#""exceptions": [{"vulnerability": "CVE-1", "repositories": ["*"], "owner": " ", "reason": "b", "expires": "2027-01-01"}]"#), @"the policy is not valid at `exceptions[0].owner`: it is empty: somebody must answer for an exception, and say why");
    assert!(
        exception_policy("2020-01-01", "").is_ok(),
        "an exception that has ended must not keep a function from starting"
    );
}

#[test]
fn an_exception_covers_what_it_names_until_the_end_of_its_last_day() {
    let covers = |expires, more: &str, package: Option<&str>, repository: &str, tags: &[&str], at: &str| {
        let policy = exception_policy(expires, more).unwrap();
        let tags: Vec<Tag> = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        let exception = &policy.exceptions[0];
        let (repository, digest) = (
            repository.parse().unwrap(),
            format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
        );
        exception.names("CVE-2026-7", package) && exception.applies(&repository, &digest, &tags, at.parse().unwrap())
    };
    let last = "2027-01-31";
    assert!(covers(last, "", None, "prod-api", &[], NOW));
    assert!(
        covers(last, "", None, "prod-api", &[], "2027-01-31T23:59:59Z"),
        "its last day counts"
    );
    assert!(
        !covers(last, "", None, "prod-api", &[], "2027-02-01T00:00:00Z"),
        "the next does not"
    );
    assert!(!covers("2026-11-23", "", None, "prod-api", &[], NOW));
    assert!(!covers(last, "", None, "dev-api", &[], NOW));
    let package = r#", "package": "open*""#;
    assert!(covers(last, package, Some("openssl"), "prod-api", &[], NOW));
    assert!(!covers(last, package, Some("zlib"), "prod-api", &[], NOW));
    assert!(
        !covers(last, package, None, "prod-api", &[], NOW),
        "a package that is not known is not the one that is named"
    );
    for named in ["Microsoft Visual C++", "Microsoft *", "équipe-*"] {
        let package = format!(r#", "package": "{named}""#);
        let found = named.replace('*', "2026");
        assert!(covers(last, &package, Some(&found), "prod-api", &[], NOW), "{named}");
        assert!(
            !covers(last, &package, Some("Microsoft"), "prod-api", &[], NOW),
            "{named}"
        );
    }
    let hidden = exception_policy(last, ", \"package\": \"a\u{202e}b\"").unwrap_err();
    assert_eq!(hidden.path, "exceptions[0].package");
    let tag = r#", "tag": "v1.*""#;
    assert!(covers(last, tag, None, "prod-api", &["latest", "v1.2"], NOW));
    assert!(!covers(last, tag, None, "prod-api", &["v2.0"], NOW));
    assert!(!covers(last, tag, None, "prod-api", &[], NOW));
    let only = |letter: &str| format!(r#", "digest": "sha256:{}""#, letter.repeat(64));
    assert!(covers(last, &only("a"), None, "prod-api", &[], NOW));
    assert!(!covers(last, &only("b"), None, "prod-api", &[], NOW));
}

#[test]
fn the_hash_of_a_policy_does_not_depend_on_its_layout() {
    let routes = r#""routes": {"default": "arn:aws:sns:us-west-2:123456789012:alerts"}"#;
    let one = Policy::from_json(&format!(r#"{{"version": 1, "mode": "report", {routes}}}"#), now()).unwrap();
    let two = Policy::from_json(&format!("{{{routes},\n \"mode\": \"report\", \"version\": 1}}"), now()).unwrap();
    let other = Policy::from_json(&format!(r#"{{"version": 1, "mode": "enforce", {routes}}}"#), now()).unwrap();
    assert_eq!(one.sha256, two.sha256);
    assert_ne!(one.sha256, other.sha256);
    assert_eq!(one.sha256.len(), 64);
}

#[test]
fn the_first_entry_that_matches_chooses_the_mode_and_how_to_block() {
    let policy = Policy::from_json(
        r#"{"version": 1, "mode": "report", "routes": {"default": "arn:aws:sns:us-west-2:123456789012:a"},
        "block": {"method": "quarantine-tag", "in_use_days": 7},
        "repositories": [
            {"match": "prod-api", "mode": "enforce", "block": {"method": "flag"}},
            {"match": "prod-web", "mode": "report"},
            {"match": "prod-*", "mode": "enforce", "block": {"when_in_use": "block", "in_use_days": 30, "not_worse_than_running": false}}]}"#,
        now(),
    )
    .unwrap();
    let days = |n: i64| SignedDuration::from_hours(24 * n);
    let of = |name: &str| {
        let repository = name.parse().unwrap();
        let block = policy.block(&repository);
        (
            policy.report_mode(&repository),
            block.method,
            block.when_in_use,
            block.in_use(false),
            block.not_worse_than_running,
        )
    };
    let (flag, tag) = (BlockMethod::Flag, BlockMethod::QuarantineTag);
    let here = Some("the policy is in report mode for this repository");
    let everywhere = Some("the policy is in report mode");
    assert_eq!(of("prod-api"), (None, flag, WhenInUse::Hold, days(7), true));
    assert_eq!(of("prod-web"), (here, tag, WhenInUse::Hold, days(7), true));
    assert_eq!(of("prod-other"), (None, tag, WhenInUse::Block, days(30), false));
    assert_eq!(of("dev"), (everywhere, tag, WhenInUse::Hold, days(7), true));
}

#[test]
fn what_enforces_anywhere_needs_the_means_to() {
    for (mode, entries, expected) in [
        ("report", "[]", false),
        ("enforce", "[]", true),
        ("report", r#"[{"match": "a"}, {"match": "b", "mode": "report"}]"#, false),
        ("report", r#"[{"match": "a"}, {"match": "b", "mode": "enforce"}]"#, true),
        ("enforce", r#"[{"match": "*", "mode": "report"}]"#, true),
    ] {
        let json = format!(
            r#"{{"version": 1, "mode": "{mode}", "routes": {{"default": "arn:aws:sns:us-west-2:123456789012:a"}}, "repositories": {entries}}}"#
        );
        let policy = Policy::from_json(&json, now()).unwrap();
        assert_eq!(policy.enforces_anywhere(), expected, "{mode} {entries}");
    }
}

#[test]
fn a_mode_that_can_never_count_is_refused() {
    insta::assert_snapshot!(refused(r#""repositories": [{"match": "team/*"}, {"match": "team/api", "mode": "enforce"}]"#), @"the policy is not valid at `repositories[1].match`: `repositories[0]` comes first and matches all that `team/api` does, so that `mode`, `block` and `gate` here never count: put this entry before it");
    insta::assert_snapshot!(refused(r#""repositories": [{"match": "*"}, {"match": "team/*", "block": {"method": "flag"}}]"#), @"the policy is not valid at `repositories[1].match`: `repositories[0]` comes first and matches all that `team/*` does, so that `mode`, `block` and `gate` here never count: put this entry before it");
    insta::assert_snapshot!(refused(r#""repositories": [{"match": "a", "block": {"in_use_days": 0}}]"#), @"the policy is not valid at `repositories[0].block.in_use_days`: 0 is not between 1 and 365");
    insta::assert_snapshot!(refused(r#""repositories": [{"match": "a", "block": {"max_blocks_per_hour": 3}}]"#), @"the policy is not valid at `repositories[0].block.max_blocks_per_hour`: unknown field `max_blocks_per_hour`, expected one of `method`, `when_in_use`, `in_use_days`, `when_lambda_may_pull`, `not_worse_than_running` at line 2 column 130");
    insta::assert_snapshot!(refused(r#""repositories": [{"match": "a", "mode": "Enforce"}]"#), @"the policy is not valid at `repositories[0].mode`: unknown variant `Enforce`, expected `enforce` or `report` at line 2 column 116");
    // Without them, an entry that never counts is refused too, but read where it is deployed: see `never`.
    insta::assert_snapshot!(refused(r#""repositories": [{"match": "*"}, {"match": "team/*", "route": "platform"}]"#), @"the policy is not valid at `repositories[1].match`: `repositories[0]` comes first and matches all that `team/*` does, so that this entry never counts: put it before that one");
}

#[test]
fn a_number_of_days_in_the_policy_counts_whatever_the_scanner_says_of_use() {
    let days = |members: &str| {
        let policy = policy(members).unwrap();
        let block = policy.block(&"prod-api".parse().unwrap()).clone();
        [true, false].map(|counted| block.in_use(counted).as_hours() / 24)
    };
    assert_eq!(days(r#""block": {"in_use_days": 30}"#), [30, 30]);
    assert_eq!(
        days(r#""repositories": [{"match": "prod-*", "block": {"in_use_days": 7}}]"#),
        [7, 7]
    );
    assert_eq!(
        days(r#""repositories": [{"match": "prod-*", "block": {"method": "flag"}}]"#),
        [14, 90]
    );
    assert_eq!(
        days(r#""block": {"in_use_days": 30}, "repositories": [{"match": "prod-*", "block": {"method": "flag"}}]"#),
        [30, 30]
    );
}

/// Version 0.1 called the answer about a deferred block `held`.
#[test]
fn the_gate_reads_the_earlier_name_of_its_answer_about_a_deferred_block() {
    for member in ["deferred", "held"] {
        let policy = policy(&format!(
            r#""gate": {{"{member}": "deny"}}, "repositories": [{{"match": "team/a", "gate": {{"{member}": "warn"}}}}]"#
        ))
        .unwrap();
        let answers = ["team/a", "team/b"].map(|name| policy.gate(&name.parse().unwrap()).deferred);
        assert_eq!(answers, [GateAnswer::Warn, GateAnswer::Deny], "{member}");
    }
}

#[test]
fn what_is_wrong_is_one_short_line_whatever_the_document_says() {
    let long = "x".repeat(50_000);
    for json in [
        format!(r#"{{"version": 1, "mode": "{long}"}}"#),
        format!(r#"{{"version": 1, "routes": "{long}"}}"#),
        format!(r#"{{"{long}": 1}}"#),
        r#"{"version": 1, "a\nb": 1}"#.to_owned(),
    ] {
        let line = Policy::from_json(&json, now()).unwrap_err().to_string();
        let characters = line.chars().count();
        assert!(characters < 1_300 && !line.contains('\n'), "{characters}: {line}");
    }
}

/// On each side of every limit of the document: what is read, and the words of what is refused.
#[test]
fn each_limit_of_the_document() {
    let long = |number: usize| "a".repeat(number);
    let accounts = |number: u64| {
        let one = |at: u64| format!(r#"{{"id": "{:012}", "role": "guard"}}"#, at + 1);
        (0..number).map(one).collect::<Vec<_>>().join(", ")
    };
    let workloads = |member: &str| format!(r#""block": {{"workloads": {{{member}}}}}"#);
    let cluster = |name: &str, repositories: &str| {
        workloads(&format!(
            r#""kubernetes": {{"repositories": {{"{name}": {repositories}}}}}"#
        ))
    };
    let account = |id: &str, role: &str, more: &str| {
        workloads(&format!(r#""accounts": [{{"id": "{id}", "role": "{role}"{more}}}]"#))
    };
    let mut bodies: Vec<String> = vec![
        workloads(r#""sources": []"#),
        workloads(r#""sources": ["ecs", "lambda", "batch"]"#),
        workloads(&format!(r#""accounts": [{}]"#, accounts(50))),
        workloads(&format!(r#""accounts": [{}]"#, accounts(51))),
        account("12345678901", "guard", ""),
        account("123456789012", "", ""),
        account("123456789012", &long(64), ""),
        account("123456789012", &long(65), ""),
        account("123456789012", "path/guard", ""),
        account("123456789012", "gu+=,.@_-ard", ""),
        account(
            "123456789012",
            "guard",
            r#", "repositories": ["a*"], "regions": ["us-west-2"]"#,
        ),
        account("123456789012", "guard", r#", "repositories": ["A B"]"#),
        account("123456789012", "guard", r#", "regions": ["west"]"#),
        workloads(r#""accounts": [{"id": "123456789012", "role": "a"}, {"id": "123456789012", "role": "b"}]"#),
        cluster("prod", r#"["*"]"#),
        cluster("prod", "[]"),
        cluster("prod", r#"["A B"]"#),
        cluster("", r#"["*"]"#),
        cluster(&long(100), r#"["*"]"#),
        cluster(&long(101), r#"["*"]"#),
        cluster("a_b.c-d", r#"["*"]"#),
        cluster("a b", r#"["*"]"#),
        cluster("123456789012/prod", r#"["*"]"#),
        cluster("123456789012/", r#"["*"]"#),
        cluster("team/prod", r#"["*"]"#),
        r#""contact": {"help": "", "guide": "https://example.com", "policy": "x"}"#.to_owned(),
        r#""contact": {"help": "http://example.com"}"#.to_owned(),
        format!(r#""contact": {{"help": "{}"}}"#, long(300)),
        r#""release": {"principals": ["arn:aws:iam::123456789012:role/oncall"]}"#.to_owned(),
        r#""release": {"principals": ["arn:aws:iam::123456789012:group/oncall"]}"#.to_owned(),
        r#""release": {"principals": []}"#.to_owned(),
        r#""release": {"allow": false, "principals": []}"#.to_owned(),
        r#""rules": [{"action": "block"}]"#.to_owned(),
        r#""rules": [{"action": "block", "severities": []}]"#.to_owned(),
        r#""route_by_tag": """#.to_owned(),
        format!(r#""route_by_tag": "{}""#, long(128)),
        format!(r#""route_by_tag": "{}""#, long(129)),
        r#""repositories": [{"match": "*", "tags": {"on_violation": "flag"}}]"#.to_owned(),
        r#""repositories": [{"match": "*", "replication": {"regions": [], "max_lag_minutes": 60}}]"#.to_owned(),
        r#""repositories": [{"match": "*", "posture": {"encryption": "AES256", "customer_managed_key": true}}]"#
            .to_owned(),
        r#""repositories": [{"match": "*", "lifecycle": {"keep_count": 0}}]"#.to_owned(),
        r#""repositories": [{"match": "*", "lifecycle": {"keep_count": 1}}]"#.to_owned(),
        r#""repositories": [{"match": "a"}, {"match": "a"}]"#.to_owned(),
    ];
    let numbers: [(&str, &str, &[i64]); 12] = [
        ("block", "max_blocks_per_hour", &[-1, 0, 1, 1000, 1001, 10_000, 10_001]),
        ("block", "in_use_days", &[0, 1, 365, 366, 3650, 3651]),
        ("alerts", "max_single_per_hour", &[-1, 0, 1, 100, 101, 1000, 1001]),
        (
            "alerts",
            "max_single_per_day",
            &[-1, 0, 1, 19, 20, 1000, 1001, 10_000, 10_001],
        ),
        ("scan", "grace_minutes", &[-1, 0, 1, 4, 5, 1440, 1441, 10_080, 10_081]),
        ("digest", "hour", &[-1, 0, 23, 24]),
        ("release", "max_hours", &[0, 1, 72, 73, 168, 169, 720, 721]),
        ("rules[]", "min_score", &[-1, 0, 10, 11]),
        ("rules[]", "min_epss", &[-1, 0, 1, 2]),
        ("rules[]", "more_than", &[-1, 0, 1, 1000, 1001, 100_000, 1_000_000]),
        ("workloads", "max_age_minutes", &[44, 45, 1440, 1441]),
        (
            "replication",
            "max_lag_minutes",
            &[-1, 0, 1, 4, 5, 14, 15, 1440, 1441, 10_080, 10_081],
        ),
    ];
    for (section, member, values) in numbers {
        for value in values {
            bodies.push(match section {
                "rules[]" => format!(r#""rules": [{{"action": "review", "{member}": {value}}}]"#),
                "workloads" => workloads(&format!(r#""{member}": {value}"#)),
                "release" => format!(r#""release": {{"principals": ["arn:aws:iam::123456789012:role/oncall"], "{member}": {value}}}"#),
                "replication" => format!(
                    r#""repositories": [{{"match": "*", "replication": {{"regions": ["us-west-2"], "{member}": {value}}}}}]"#
                ),
                _ => format!(r#""{section}": {{"{member}": {value}}}"#),
            });
        }
    }
    let lines: Vec<String> = bodies
        .iter()
        .map(|body| {
            let short: String = body.chars().take(110).collect();
            let blocks = |read: &Policy, severity| read.may_block(&[(severity, 1)].into());
            match policy(body) {
                Ok(read) => format!(
                    "{short}\n    is read: {} rules, may block HIGH: {}, MEDIUM: {}",
                    read.rules.len(),
                    blocks(&read, Severity::High),
                    blocks(&read, Severity::Medium)
                ),
                Err(error) => format!("{short}\n    {error}"),
            }
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn an_image_may_be_blocked_by_a_severity_that_was_counted_and_blocks() {
    let default = policy("").unwrap();
    let high = policy(r#""severities": {"HIGH": "block", "CRITICAL": "review"}"#).unwrap();
    for (counts, by_default, by_high) in [
        (&[][..], false, false),
        (&[(Severity::Critical, 0)], false, false),
        (&[(Severity::Critical, 1)], true, false),
        (&[(Severity::Critical, 2)], true, false),
        (&[(Severity::High, 0)], false, false),
        (&[(Severity::High, 1)], false, true),
        (&[(Severity::Low, 9), (Severity::Critical, 0)], false, false),
        (&[(Severity::Low, 9), (Severity::Critical, 3)], true, false),
    ] {
        let counts = counts.iter().copied().collect();
        assert_eq!(
            (default.may_block(&counts), high.may_block(&counts)),
            (by_default, by_high),
            "{counts:?}"
        );
    }
}

#[test]
fn settings_are_asked_by_a_posture_or_a_lifecycle_policy() {
    for (entries, asked) in [
        ("", false),
        (r#"{"match": "a"}"#, false),
        (r#"{"match": "a", "route": "platform"}"#, false),
        (r#"{"match": "a", "posture": {"scan_on_push": true}}"#, true),
        (r#"{"match": "a", "lifecycle": {"expire_untagged_days": 7}}"#, true),
        (
            r#"{"match": "a"}, {"match": "b", "posture": {"scan_on_push": true}, "lifecycle": {"expire_untagged_days": 7}}"#,
            true,
        ),
    ] {
        let policy = policy(&format!(r#""repositories": [{entries}]"#)).unwrap();
        assert_eq!(policy.has_settings(), asked, "{entries}");
    }
}

#[test]
fn an_entry_names_whom_to_ask() {
    let policy = policy(
        r##""contact": {"help": "#security"}, "repositories": [{"match": "team/*", "contact": {"help": "#team", "guide": "https://example.com/a"}}]"##,
    )
    .unwrap();
    let contact = |name: &str| policy.contact(&name.parse().unwrap()).clone();
    let (team, other) = (contact("team/api"), contact("other"));
    assert_eq!(
        (team.help.as_deref(), team.guide.as_deref(), team.policy),
        (Some("#team"), Some("https://example.com/a"), None)
    );
    assert_eq!((other.help.as_deref(), other.guide), (Some("#security"), None));
}

#[test]
fn a_route_that_no_repository_takes_is_remarked_unless_tags_name_routes() {
    let remarks = |body: &str| -> Vec<String> {
        let remarks = policy(body).unwrap().remarks(now());
        remarks.iter().map(ToString::to_string).collect()
    };
    let unused = ["`routes.platform`: no entry of `repositories` names this route"];
    assert_eq!(remarks(""), unused);
    assert_eq!(
        remarks(r#""repositories": [{"match": "a", "route": "default"}, {"match": "b"}]"#),
        unused
    );
    assert_eq!(
        remarks(r#""repositories": [{"match": "a"}, {"match": "b", "route": "platform"}]"#),
        [""; 0]
    );
    assert_eq!(remarks(r#""route_by_tag": "team""#), [""; 0]);
}

#[test]
fn what_nobody_pulls_is_remarked_only_where_copies_and_the_archive_meet() {
    let archives = r#""lifecycle": {"archive_unpulled_days": 30}"#;
    let expires = r#""lifecycle": {"expire_untagged_days": 7}"#;
    let copies = r#""replication": {"regions": ["us-east-1"], "max_lag_minutes": 30}"#;
    for (members, remarked) in [
        (format!("{archives}, {copies}"), true),
        (archives.to_owned(), false),
        (copies.to_owned(), false),
        (format!("{expires}, {copies}"), false),
    ] {
        let json = format!(
            r#"{{"version": 1, "mode": "enforce", "routes": {{"default": "arn:aws:sns:us-west-2:123456789012:alerts"}},
            "repositories": [{{"match": "*", {members}}}]}}"#
        );
        let remarks = Policy::from_deployed_json(&json, now()).unwrap().remarks(now());
        let about_copies = |remark: &Remark| remark.to_string().contains("nobody pulls copies");
        assert_eq!(remarks.iter().any(about_copies), remarked, "{members}");
    }
}

#[test]
fn a_policy_is_written_out_with_its_defaults() {
    let json = r#"{"version": 1, "mode": "report", "routes": {"default": "x"}, "severities": {"LOW": "block"}}"#;
    let value = Policy::written_out(json).unwrap();
    for (pointer, word) in [
        ("/mode", "report"),
        ("/routes/default", "x"),
        ("/severities/LOW", "block"),
        ("/severities/CRITICAL", "block"),
        ("/severities/HIGH", "review"),
        ("/severities/MEDIUM", "monitor"),
        ("/block/method", "archive"),
    ] {
        assert_eq!(
            value.pointer(pointer).and_then(|value| value.as_str()),
            Some(word),
            "{pointer}"
        );
    }
    assert_eq!(Policy::written_out("[1]").unwrap_err().path, ".");
}

#[test]
fn a_release_of_what_was_only_flagged_is_not_kept() {
    let section = |methods: &str| policy(&format!(r#""block": {{"keep_release_of": [{methods}]}}"#));
    assert!(section(r#""archive", "quarantine-tag""#).is_ok());
    assert_eq!(
        section(r#""archive", "flag""#).unwrap_err().path,
        "block.keep_release_of[1]"
    );
}

#[test]
fn in_the_place_of_a_map_a_map_is_expected() {
    for body in [r#""severities": "x""#, r#""unfixable": 1"#] {
        assert!(refused(body).contains("expected a map"), "{}", refused(body));
    }
}

/// Both kinds of entries are counted.
#[test]
fn rules_are_counted_with_and_without_more_than() {
    let rules = r#"{"severities": ["HIGH"], "action": "review"}"#;
    let maxima = r#"{"severities": ["LOW"], "more_than": 5, "action": "review"}"#;
    for (entries, number) in [
        (String::new(), 0),
        (rules.to_owned(), 1),
        (maxima.to_owned(), 1),
        (format!("{rules}, {maxima}"), 2),
    ] {
        let policy = policy(&format!(r#""rules": [{entries}]"#)).unwrap();
        assert_eq!(policy.rules.len(), number, "{entries}");
    }
}

/// The tests of the workspace write the file.
#[cfg(feature = "schema")]
#[test]
fn the_schema_is_the_one_of_the_documentation() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy.schema.json");
    let written: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(Document::schema(), written);
}
