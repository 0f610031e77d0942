use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::alert::tests::assert_chat_fits;
use crate::{
    alert::{Contact, MAX_MESSAGE_BYTES},
    finding::Severity,
    ids::RepositoryKey,
    registry::survey::Problem,
    repository::route::RouteTag,
    summary::SummarySchema,
    testing::{now, registry_key},
};

fn topic(name: &str) -> TopicArn {
    format!("arn:aws:sns:us-west-2:123456789012:{name}").parse().unwrap()
}

fn policy(members: &str) -> Policy {
    let comma = if members.is_empty() { "" } else { "," };
    let json = format!(
        r#"{{"version": 1, "mode": "enforce", "routes": {{"default": "{}", "team": "{}"}},
        "repositories": [{{"match": "team-*", "route": "team"}}]{comma}{members}}}"#,
        topic("default"),
        topic("team"),
    );
    Policy::from_json(&json, now()).unwrap()
}

/// With one topic and these members.
fn policy_of(members: &str) -> Policy {
    let default = topic("default");
    let json = format!(r#"{{"version": 1, "mode": "enforce", "routes": {{"default": "{default}"}}, {members}}}"#);
    Policy::from_json(&json, now()).unwrap()
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

/// A repository without news.
fn summary(repository: &str) -> RepositorySummary {
    let registry = registry_key();
    serde_json::from_value(json!({
        "schema": SummarySchema::V1, "generation": 1, "images": 10, "bytes": 5_000_000, "states": {"Allowed": 10}, "day": "2026-11-24",
        "repository": RepositoryKey { account: registry.account, region: registry.region, repository: name(repository) }
    }))
    .unwrap()
}

fn case(number: u8, severity: Option<Severity>, since: &str, reason: &str) -> Case {
    Case {
        digest: format!("sha256:{number:064x}").parse().unwrap(),
        tag: Some(format!("v1.{number}").parse().unwrap()),
        severity,
        reason: reason.to_owned(),
        since: since.parse().unwrap(),
        fixes: severity.map(|_| "openssl 3.0.9".to_owned()).into_iter().collect(),
        more_fixes: u64::from(severity == Some(Severity::Critical)),
    }
}

fn cases(order: Order, cases: impl IntoIterator<Item = Case>) -> Cases {
    let mut all = Cases::default();
    cases.into_iter().for_each(|case| all.add(case, order));
    all
}

fn found(policy: &Policy) -> Found {
    Found {
        problems: Vec::new(),
        exceptions: vec![[topic("default")].into(); policy.exceptions.len()],
        signing: true,
    }
}

fn digests_of(
    policy: &Policy,
    found: &Found,
    names: &[&str],
    summaries: &[RepositorySummary],
) -> BTreeMap<TopicArn, Digest> {
    let names = names.iter().map(|text| name(text)).collect();
    let mut builder = DigestBuilder::new(policy, edition(&registry_key(), None, now()), names, found);
    summaries.iter().for_each(|summary| builder.summary(summary));
    builder.finish()
}

fn digest_of(policy: &Policy, names: &[&str], summaries: &[RepositorySummary]) -> Digest {
    digests_of(policy, &found(policy), names, summaries)
        .remove(&topic("default"))
        .unwrap()
}

/// A registry with an entry for every part of the digest.
fn busy() -> Digest {
    let policy = policy(
        r#""exceptions": [
        {"vulnerability": "CVE-2026-1", "package": "openssl", "repositories": ["*"], "owner": "team-a@example.com", "reason": "r",
         "ticket": "SEC-12", "expires": "2026-11-28"},
        {"vulnerability": "CVE-2026-2", "repositories": ["prod-*"], "owner": "team-b@example.com", "reason": "r", "expires": "2026-11-20"},
        {"vulnerability": "CVE-2026-3", "repositories": ["prod-*"], "owner": "team-b@example.com", "reason": "r", "expires": "2027-01-31"}]"#,
    );
    let change = Change {
        setting: "registry.scanning".into(),
        old: "enhanced scanning, and no rule of it scans 1 repository that `prod-*` matches: prod-api".into(),
        new: "a rule that scans them on push or continuously".into(),
    };
    let found = Found {
        problems: vec![Problem {
            about: "registry.scanning prod-*".into(),
            change,
        }],
        signing: false,
        ..found(&policy)
    };
    let mut api = summary("prod-api");
    let reason = "1 finding blocks: CVE-2026-7 CRITICAL in openssl";
    api.held = cases(
        Order::Oldest,
        (0..7).map(|n| case(n, Some(Severity::High), "2026-11-20T00:00:00Z", "pulled within 14 days")),
    );
    api.blocked = cases(
        Order::Newest,
        [case(9, Some(Severity::Critical), "2026-11-24T03:00:00Z", reason)],
    );
    api.states = BTreeMap::from([("Held".into(), 7), ("Blocked".into(), 1), ("Allowed".into(), 412)]);
    (api.unconfirmed, api.not_reached) = (12, 3);
    (api.images, api.bytes, api.archived, api.archived_bytes) = (420, 73_400_000_000, 1, 120_000_000);
    api.days = [
        (
            "2026-11-23",
            News {
                pushed: 12,
                held: 2,
                repaired: 1,
                ..News::default()
            },
        ),
        (
            "2026-11-24",
            News {
                pushed: 3,
                blocked: 1,
                ..News::default()
            },
        ),
    ]
    .map(|(day, news)| (day.parse().unwrap(), news))
    .into();
    api.surplus = Some(Surplus {
        images: 31,
        bytes: 4_000_000_000,
    });
    api.exceptions = BTreeMap::from([("exceptions[0] SEC-12".into(), 4)]);
    let mut web = summary("prod-web");
    web.held = cases(
        Order::Oldest,
        [case(1, Some(Severity::Critical), "2026-11-22T00:00:00Z", "report mode")],
    );
    web.review = cases(
        Order::Oldest,
        [case(
            2,
            Some(Severity::High),
            "2026-11-01T00:00:00Z",
            "2 findings need review before deployment",
        )],
    );
    web.overdue = cases(
        Order::Oldest,
        [case(
            3,
            None,
            "2026-11-24T11:00:00Z",
            "no scan result within 30 minutes",
        )],
    );
    web.drift = 2;
    web.opt_out = Some("ignore: belongs to another team".into());
    web.readiness = serde_json::from_value(
        json!([{"region": "us-east-1", "expected": 9, "present": 7, "late": 1, "failed": 1,
        "unprotected": 0, "unknown": 0}]),
    )
    .unwrap();
    let mut digests = digests_of(&policy, &found, &["prod-api", "prod-web"], &[api, web]);
    digests.remove(&topic("default")).unwrap()
}

#[test]
fn the_four_forms() {
    let message = busy().message(&Contact::default());
    let json: Value = serde_json::from_str(&message.default).unwrap();
    insta::assert_snapshot!(format!(
        "{}\n=== sms\n{}\n=== email\n{}",
        message.subject, message.sms, message.email
    ));
    assert_chat_fits(&message.https);
    insta::assert_snapshot!(message.https.replace("\\n", "\n"));
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
}

#[test]
fn no_news_is_one_line() {
    let policy = policy("");
    let mut calm = summary("prod-api");
    calm.days.insert(
        "2026-11-24".parse().unwrap(),
        News {
            pushed: 2,
            ..News::default()
        },
    );
    let digest = digest_of(&policy, &["prod-api"], &[calm]);
    assert!(digest.is_quiet());
    insta::assert_snapshot!(digest.message(&Contact::default()).email);
}

#[test]
fn any_news_is_sent() {
    type Change<'a> = &'a dyn Fn(&mut RepositorySummary);
    let policy = policy("");
    let one = || cases(Order::Oldest, [case(1, None, "2026-11-20T00:00:00Z", "")]);
    let today = |news| BTreeMap::from([("2026-11-24".parse().unwrap(), news)]);
    let changes: [(&str, Change); 9] = [
        ("blocked", &|summary| summary.blocked = one()),
        ("held", &|summary| summary.held = one()),
        ("review", &|summary| summary.review = one()),
        ("overdue", &|summary| summary.overdue = one()),
        ("released", &|summary| {
            summary.days = today(News {
                released: 1,
                ..News::default()
            })
        }),
        ("repaired", &|summary| {
            summary.days = today(News {
                repaired: 1,
                ..News::default()
            })
        }),
        ("drift", &|summary| summary.drift = 1),
        ("opted out", &|summary| summary.opt_out = Some("report".into())),
        ("surplus", &|summary| {
            summary.surplus = Some(Surplus { images: 1, bytes: 1 })
        }),
    ];
    for (what, change) in changes {
        let mut summary = summary("prod-api");
        change(&mut summary);
        assert!(!digest_of(&policy, &["prod-api"], &[summary]).is_quiet(), "{what}");
    }
    assert!(
        !digest_of(&policy, &["prod-api"], &[]).is_quiet(),
        "nothing is known of it"
    );
}

#[test]
fn each_topic_is_notified_of_its_own_repositories() {
    let policy = policy("");
    let mut api = summary("team-api");
    api.blocked = cases(Order::Newest, [case(1, None, "2026-11-20T00:00:00Z", "")]);
    let gone = summary("prod-gone");
    let digests = digests_of(
        &policy,
        &found(&policy),
        &["team-api", "team-new", "prod-api"],
        &[api, summary("prod-api"), gone],
    );
    let figures = |name: &str| {
        let digest = &digests[&topic(name)];
        (digest.repositories, digest.unknown, digest.images, digest.blocked.total)
    };
    assert_eq!(figures("team"), (2, 1, 10, 1));
    assert_eq!(figures("default"), (1, 0, 10, 0));
    assert_ne!(digests[&topic("team")].id, digests[&topic("default")].id);
}

#[test]
fn the_worst_of_all_repositories_are_named() {
    let digest = busy();
    let named: Vec<String> = digest
        .held
        .worst
        .iter()
        .map(|named| format!("{} {}", named.repository, named.case.tag.as_ref().unwrap()))
        .collect();
    assert_eq!(digest.held.total, 8);
    assert_eq!(
        named,
        [
            "prod-web v1.1",
            "prod-api v1.0",
            "prod-api v1.1",
            "prod-api v1.2",
            "prod-api v1.3"
        ]
    );
}

#[test]
fn an_exception_is_called_unused_only_if_every_repository_is_known() {
    let policy = policy(
        r#""exceptions": [{"vulnerability": "CVE-1", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2027-01-31"}]"#,
    );
    let mut uses = summary("prod-api");
    uses.exceptions.insert("exceptions[0]".into(), 1);
    for (names, summaries, unused, why) in [
        (&["prod-api"][..], &[summary("prod-api")][..], 1, "nobody uses it"),
        (&["prod-api"], &[uses.clone()], 0, "it is used"),
        (
            &["prod-api", "prod-web"],
            &[summary("prod-api")],
            0,
            "perhaps the other one uses it",
        ),
        (
            &["prod-web"],
            &[uses, summary("prod-web")],
            1,
            "what is gone uses nothing",
        ),
    ] {
        assert_eq!(digest_of(&policy, names, summaries).unused.total, unused, "{why}");
    }
}

#[test]
fn the_digest_follows_the_tag_and_says_which_tags_name_no_route() {
    let policy = policy(r#""route_by_tag": "owner""#);
    let tagged = |name: &str, value: Option<&str>| RepositorySummary {
        route: Some(RouteTag {
            tag: "owner".to_owned(),
            value: value.map(str::to_owned),
        }),
        ..summary(name)
    };
    let names = ["aa", "bb", "cc", "team-d", "team-e", "ff"];
    let all = [
        tagged("aa", Some("team")),
        tagged("bb", Some("x\u{202e}y")),
        tagged("cc", None),
        tagged("team-d", Some("nobody")),
        tagged("team-e", None),
        summary("ff"),
    ];
    let digests = digests_of(&policy, &found(&policy), &names, &all);
    let unrouted = |of: &str| {
        let list = &digests[&topic(of)].unrouted;
        let one = |one: &Unrouted| (one.repository.to_string(), one.value.clone());
        (list.total, list.worst.iter().map(one).collect::<Vec<_>>())
    };
    let repositories = |of: &str| digests[&topic(of)].repositories;
    assert_eq!((repositories("team"), repositories("default")), (3, 3));
    let named = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
    assert_eq!(unrouted("team"), (1, vec![named("team-d", Some("nobody"))]));
    assert_eq!(
        unrouted("default"),
        (2, vec![named("bb", Some("xy")), named("cc", None)])
    );
    let digest = &digests[&topic("default")];
    assert!(!digest.is_quiet());
    let message = digest.message(&Contact::default());
    let json: Value = serde_json::from_str(&message.default).unwrap();
    assert_eq!(
        json["figures"]["unrouted"],
        json!({"total": 2, "worst": [{"repository": "bb", "value": "xy"}, {"repository": "cc", "value": null}]})
    );
    for line in [
        "TO DO: 2",
        "  1. NO ROUTE: bb. Its tag for the route: \"xy\".",
        "  2. NO ROUTE: cc. Its tag for the route: no such tag.",
    ] {
        assert!(
            message.email.lines().any(|one| one.trim_end() == line),
            "{}",
            message.email
        );
    }
    assert!(message.https.contains("NO ROUTE: bb."), "{}", message.https);
}

/// Nobody has reconciled it since: its figures are out of date.
#[test]
fn a_summary_that_is_older_than_a_day_is_unknown_and_so_are_its_copies() {
    let ready = |expected| Readiness {
        expected,
        present: expected,
        ..Readiness::of("eu-west-1".parse().unwrap())
    };
    let of_day = |name: &str, day: Option<&str>| RepositorySummary {
        day: day.map(|day| day.parse().unwrap()),
        readiness: vec![ready(10)],
        ..summary(name)
    };
    let names = ["aa", "bb", "cc", "dd"];
    let all = [
        of_day("aa", Some("2026-11-24")),
        of_day("bb", Some("2026-11-23")),
        of_day("cc", Some("2026-11-22")),
        of_day("dd", None),
    ];
    let digest = digest_of(&policy(""), &names, &all);
    assert_eq!((digest.repositories, digest.unknown, digest.images), (4, 2, 40));
    let outdated: Vec<_> = digest
        .outdated
        .worst
        .iter()
        .map(|one| (one.repository.as_str(), one.day))
        .collect();
    assert_eq!(outdated, [("dd", None), ("cc", Some("2026-11-22".parse().unwrap()))]);
    let region = &digest.readiness[&"eu-west-1".parse().unwrap()];
    assert_eq!(
        (
            region.expected,
            region.present,
            region.unknown,
            region.unknown_repositories
        ),
        (40, 20, 20, 2)
    );
    assert!(!digest.is_quiet() && !region.is_ready());
    let message = digest.message(&Contact::default());
    let json: Value = serde_json::from_str(&message.default).unwrap();
    assert_eq!(json["figures"]["unknown_repositories"], 2);
    assert_eq!(json["figures"]["outdated_repositories"]["worst"][1]["repository"], "cc");
    assert!(
        message.email.contains("Its figures here are those of that day."),
        "{}",
        message.email
    );
    let named: Vec<&str> = message
        .email
        .lines()
        .filter(|line| line.contains("Last check"))
        .collect();
    assert_eq!(
        named,
        [
            "  3. NOT CHECKED FOR MORE THAN A DAY: dd. Last check: not known.",
            "  4. NOT CHECKED FOR MORE THAN A DAY: cc. Last check: 2026-11-22."
        ]
    );
    assert!(message.email.contains("eu-west-1 is NOT READY: "));
}

/// The policy wants copies of a repository of which nothing is known.
#[test]
fn a_region_of_which_nothing_is_known_is_not_ready() {
    let policy = policy_of(
        r#""repositories": [{"match": "*", "replication": {"regions": ["us-west-2", "eu-west-1"], "max_lag_minutes": 30}}]"#,
    );
    let digest = digest_of(&policy, &["aa", "bb"], &[summary("aa")]);
    let regions: Vec<_> = digest.readiness.keys().map(Region::as_str).collect();
    assert_eq!(regions, ["eu-west-1"], "not the region that it is of");
    let region = &digest.readiness[&"eu-west-1".parse().unwrap()];
    assert_eq!((region.unknown_repositories, region.is_ready()), (2, false));
    assert_eq!(digest.not_ready.total, 2);
}

#[test]
fn a_digest_has_one_id_for_a_region_a_topic_and_a_day() {
    let ids = |at: &str, asked_by: Option<&str>| {
        let (policy, at) = (policy(""), at.parse().unwrap());
        let found = found(&policy);
        let builder = DigestBuilder::new(&policy, edition(&registry_key(), asked_by, at), BTreeSet::new(), &found);
        builder
            .finish()
            .into_values()
            .map(|digest| digest.id)
            .collect::<Vec<_>>()
    };
    let morning = ids("2026-11-24T07:00:00Z", None);
    assert_eq!(ids("2026-11-24T20:00:00Z", None), morning);
    assert_ne!(ids("2026-11-25T07:00:00Z", None), morning);
    assert_ne!(
        ids("2026-11-24T07:00:00Z", Some("me")),
        morning,
        "who asks gets one of their own"
    );
}

fn row(day: &str, by: &str, sent: &[&str]) -> RegistryRow {
    RegistryRow {
        generation: 4,
        digest: Some(DigestRecord {
            day: day.parse().unwrap(),
            claimed_at: now() - SignedDuration::from_mins(1),
            claimed_by: by.to_owned(),
            sent: sent.iter().map(|name| topic(name)).collect(),
        }),
        ..RegistryRow::new(registry_key())
    }
}

#[test]
fn a_digest_is_due_once_a_day_from_its_hour_on() {
    let both = ["default", "team"];
    // It is 12:00 UTC.
    for (digest, row, expected, why) in [
        (r#"{"hour": 12}"#, None, Some(0), "the first one"),
        (r#"{"hour": 13}"#, None, None, "not yet"),
        (r#"{"enabled": false}"#, None, None, "nobody wants it"),
        (
            "{}",
            Some(row("2026-11-23", "x", &both)),
            Some(0),
            "yesterday's was sent",
        ),
        (
            "{}",
            Some(row("2026-11-23", "x", &["team"])),
            Some(0),
            "yesterday's is over",
        ),
        ("{}", Some(row("2026-11-24", "x", &both)), None, "today's was sent"),
        (
            "{}",
            Some(row("2026-11-24", "me", &["team"])),
            Some(1),
            "we have crashed",
        ),
        (
            "{}",
            Some(row("2026-11-24", "x", &["team"])),
            None,
            "another one is at it",
        ),
    ] {
        let policy = policy(&format!(r#""digest": {digest}"#));
        let plan = decide_digest(&policy, &registry_key(), row.as_ref(), "me", now());
        let sent = match plan {
            DigestPlan::Send(next) => {
                assert_eq!(next.generation, row.map_or(0, |row| row.generation) + 1);
                Some(next.digest.unwrap().sent.len())
            }
            DigestPlan::Leave => None,
        };
        assert_eq!(sent, expected, "{why}");
    }
    let owed = row("2026-11-24", "x", &[]);
    let later = now() + REGISTRY_LEASE;
    let plan = decide_digest(&policy(""), &registry_key(), Some(&owed), "me", later);
    assert!(matches!(plan, DigestPlan::Send(_)), "whoever was at it is not any more");
}

proptest! {
    #[test]
    fn whatever_a_reason_is_the_forms_are_what_they_must_be(reason in "\\PC{0,400}|[\\x00-\\x7f]{0,50}") {
        let mut digest = busy();
        let lists = [&mut digest.blocked, &mut digest.held, &mut digest.review, &mut digest.overdue];
        for list in lists {
            for named in &mut list.worst {
                named.case.reason.clone_from(&reason);
            }
        }
        digest.opted_out.worst[0].how.clone_from(&reason);
        digest.ending.worst[0].exception.owner.clone_from(&reason);
        digest.problems = vec![digest.problems[0].clone(); 40];
        let message = digest.message(&Contact::default());
        prop_assert!(message.subject.is_ascii() && message.subject.len() < 100);
        prop_assert!(message.sms.is_ascii() && message.sms.len() <= 140);
        let document: Value = serde_json::from_str(&message.default).unwrap();
        prop_assert_eq!(&document["schema"], "ecr-guard/alert/v2");
        prop_assert_eq!(&document["kind"], "digest");
        assert_chat_fits(&message.https);
        prop_assert!(message.email.lines().all(|line| !line.chars().any(char::is_control)));
        prop_assert!(message.body().len() < MAX_MESSAGE_BYTES);
    }
}

fn edition<'a>(key: &'a RegistryKey, asked_by: Option<&'a str>, now: Timestamp) -> DigestEdition<'a> {
    DigestEdition { key, asked_by, now }
}
