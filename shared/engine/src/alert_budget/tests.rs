//! How many messages people get: on the first day, and on every other.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::Value;

use super::*;
use crate::reconcile::image::{Hints, Outcome, Request, reconcile};
use guard_core::{
    finding::{NoScan, Scan, Severity},
    ids::{Digest, ImageKey, ImageRef, RepositoryKey},
    image::{Arrival, Image, Way},
    told::ToldFindings,
};
use guard_ports::Ledger as _;
use guard_testkit::{Fault, Parts, World, finding, image, image_key, now, policy, policy_in, registry_key, run, scan};

fn high(id: &str) -> Scan {
    Scan::Complete(scan(vec![finding(id, Severity::High)]))
}

/// Reconciles an image as a function does: alerts keep to the budget.
fn look(world: &World, policy: &Policy, key: &ImageKey, hints: Hints) -> Outcome {
    let notifier = BudgetedNotifier::new(world, world, world, policy);
    let services = Parts {
        world,
        registry: world,
        writer: policy.enforces_anywhere().then_some(world),
        notifier: &notifier,
    };
    let request = Request {
        account: key.account.clone(),
        region: key.region.clone(),
        repository: key.repository.clone(),
        image: ImageRef::Digest(key.digest.clone()),
        hints,
        actor: format!("{}-{}", key, world.now()),
    };
    run(reconcile(&services, policy, &request)).unwrap()
}

fn found() -> Hints {
    Hints {
        found: true,
        ..Hints::default()
    }
}

fn pushed(world: &World) -> Hints {
    Hints {
        arrival: Some(Arrival {
            way: Way::Pushed(None),
            at: Some(world.now()),
        }),
        ..Hints::default()
    }
}

fn summaries(world: &World, policy: &Policy) -> Summaries {
    run(send_summaries(
        &world.services(policy),
        policy,
        &registry_key(),
        world.now(),
    ))
    .unwrap()
}

fn documents(world: &World) -> Vec<Value> {
    let sent = world.sent();
    sent.iter()
        .map(|sent| serde_json::from_str(&sent.message.default).unwrap())
        .collect()
}

fn kinds(world: &World) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for document in documents(world) {
        *kinds.entry(document["kind"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    kinds
}

/// The digests that messages name, by their first 12 digits.
fn named(world: &World) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for document in documents(world) {
        if let Some(digest) = document["digest"].as_str() {
            let digest: Digest = digest.parse().unwrap();
            named.insert(digest.short().to_owned());
        }
        for kinds in document["alerts"]
            .as_object()
            .into_iter()
            .flat_map(|alerts| alerts.values())
        {
            for alert in kinds
                .as_object()
                .unwrap()
                .values()
                .flat_map(|alerts| alerts.as_array().unwrap())
            {
                let (_, digest) = alert["image"].as_str().unwrap().rsplit_once('@').unwrap();
                named.insert(digest.to_owned());
            }
        }
    }
    named
}

/// An image of a repository, by number: its digest begins with it.
fn key(repository: &str, number: usize) -> ImageKey {
    ImageKey {
        repository: repository.parse().unwrap(),
        digest: format!("sha256:{number:012x}{}", "0".repeat(52)).parse().unwrap(),
        ..image_key()
    }
}

#[test]
fn the_first_sweep_of_a_thousand_images_is_no_flood_of_mail() {
    for mode in ["enforce", "report"] {
        let policy = policy_in(mode, r#""block": {"max_blocks_per_hour": 1000}"#);
        let world = World::new();
        let mut due = BTreeSet::new();
        let scans = [
            Scan::Complete(scan(vec![])),
            high("CVE-2026-1"),
            Scan::Complete(scan(vec![finding("CVE-2026-2", Severity::Critical)])),
            Scan::Unavailable(NoScan::Failed),
            Scan::Unavailable(NoScan::Unsupported),
            Scan::Absent,
        ];
        for number in 0..1000 {
            let key = key(&format!("team-{}/api", number % 30), number);
            let pulled = (number % 7 == 0).then(|| now() - SignedDuration::from_hours(30));
            let entry = Image {
                last_pulled_at: pulled,
                ..image(&key)
            };
            world.push(&key, entry);
            world.set_scan(&key, scans[number % scans.len()].clone());
            if number % scans.len() != 0 {
                due.insert(key.clone());
            }
            look(&world, &policy, &key, found());
        }
        let sent = summaries(&world, &policy);
        assert_eq!(sent.sent, 1, "{mode}");
        let messages = world.sent().len();
        assert!(messages <= 21, "{mode}: {messages} messages: {:?}", kinds(&world));
        let named = named(&world);
        for key in due {
            assert!(named.contains(key.digest.short()), "{mode}: nobody was told of {key}");
        }
        assert_eq!(
            summaries(&world, &policy),
            Summaries::default(),
            "what was named is not named again"
        );
    }
}

#[test]
fn a_block_is_alerted_by_itself_as_long_as_the_hour_has_room() {
    let policy = policy(r#""alerts": {"max_single_per_hour": 2, "max_single_per_day": 3}"#);
    let world = World::new();
    let block = |number: usize| {
        let key = key("pipeops-prod-api", number);
        world.push(&key, image(&key));
        world.set_scan(
            &key,
            Scan::Complete(scan(vec![finding("CVE-2026-2", Severity::Critical)])),
        );
        look(&world, &policy, &key, found());
    };
    (0..3).for_each(block);
    assert_eq!(kinds(&world), BTreeMap::from([("image-blocked".to_owned(), 2)]));
    world.set_now(now() + SignedDuration::from_hours(1));
    (3..6).for_each(block);
    assert_eq!(
        kinds(&world),
        BTreeMap::from([("image-blocked".to_owned(), 3)]),
        "the day is used up"
    );
    assert_eq!(summaries(&world, &policy), Summaries { sent: 1, alerts: 3 });
    assert_eq!(named(&world).len(), 6);
    world.set_now(now() + SignedDuration::from_hours(24));
    (6..8).for_each(block);
    assert_eq!(
        kinds(&world)["image-blocked"],
        5,
        "only single alerts count against a day"
    );
}

#[test]
fn an_alert_whose_count_fails_is_sent_by_itself() {
    let policy = policy(r#""alerts": {"max_single_per_hour": 1}"#);
    let world = World::new();
    for number in 0..3 {
        let key = key("pipeops-prod-api", number);
        world.push(&key, image(&key));
        world.set_scan(&key, high(&format!("CVE-2026-{number}")));
        world.fail("dynamodb:UpdateItem", Fault::Before(Retry::Later));
        look(&world, &policy, &key, Hints::default());
    }
    assert_eq!(kinds(&world), BTreeMap::from([("image-review".to_owned(), 3)]));
}

#[test]
fn a_topic_that_is_gone_has_its_alerts_named_to_the_default_topic() {
    let members = r#""alerts": {"max_single_per_hour": 1}"#;
    let policy = policy(members);
    let world = World::new();
    let registry = registry_key();
    let mut brief = {
        let key = image_key();
        world.push(&key, image(&key));
        world.set_scan(&key, high("CVE-2026-1"));
        look(&world, &policy, &key, found());
        run(world.kept_alerts(&registry, None)).unwrap().items.remove(0)
    };
    run(world.forget_alerts(std::slice::from_ref(&brief))).unwrap();
    brief.topic = "arn:aws:sns:us-west-2:123456789012:gone".parse().unwrap();
    run(world.keep_alert(&brief)).unwrap();
    world.fail("sns:Publish", Fault::Before(Retry::Never));
    assert_eq!(summaries(&world, &policy), Summaries { sent: 1, alerts: 1 });
    assert_eq!(world.sent().last().unwrap().topic, *policy.default_topic());
}

#[test]
fn a_summary_that_no_topic_accepts_is_sent_by_the_next_sweep() {
    let policy = policy("");
    let world = World::new();
    let key = image_key();
    world.push(&key, image(&key));
    world.set_scan(&key, high("CVE-2026-1"));
    look(&world, &policy, &key, found());
    world.fail("sns:Publish", Fault::Before(Retry::Later));
    assert!(
        run(send_summaries(
            &world.services(&policy),
            &policy,
            &registry_key(),
            now()
        ))
        .is_err()
    );
    assert_eq!(summaries(&world, &policy), Summaries { sent: 1, alerts: 1 });
}

#[test]
fn a_build_with_the_findings_of_the_one_before_is_no_news() {
    let policy = policy("");
    let world = World::new();
    let build = |number: usize, ids: &[&str]| {
        let key = key("pipeops-prod-api", number);
        world.push(&key, image(&key));
        let findings = ids.iter().map(|id| finding(id, Severity::High)).collect();
        world.set_scan(&key, Scan::Complete(scan(findings)));
        look(&world, &policy, &key, pushed(&world));
        world.sent().len()
    };
    assert_eq!(build(1, &["CVE-2026-1", "CVE-2026-2"]), 1);
    assert_eq!(build(2, &["CVE-2026-2"]), 1, "people know of it");
    assert_eq!(build(3, &["CVE-2026-1", "CVE-2026-3"]), 2, "one finding is new");
    let writes = world.calls().len();
    look(&world, &policy, &key("pipeops-prod-api", 2), Hints::default());
    let calls = world.calls();
    assert!(
        calls
            .iter()
            .skip(writes)
            .all(|call| call.operation != "dynamodb:PutItem"),
        "a second look writes nothing"
    );
    world.set_now(now() + SignedDuration::from_hours(24 * 30));
    assert_eq!(build(4, &["CVE-2026-1"]), 3, "after thirty days it is news again");
}

/// The findings of earlier alerts cannot be read: the alert is sent, and the row stays for a person to read.
#[test]
fn a_record_of_earlier_alerts_that_cannot_be_read_keeps_no_alert() {
    let policy = policy("");
    let world = World::new();
    let repository = RepositoryKey::of(&key("team/api", 1));
    let sort_key = ToldFindings::sort_key(&repository);
    world.spoil((repository.partition_key(), sort_key.clone()));
    for number in 1..=2 {
        let key = key("team/api", number);
        world.push(&key, image(&key));
        world.set_scan(&key, high("CVE-2026-1"));
        let outcome = look(&world, &policy, &key, pushed(&world));
        let named = outcome.told_not_read.as_ref().map(ToString::to_string).unwrap();
        assert!(named.contains(&sort_key), "{named}");
        let line = serde_json::to_value(&outcome).unwrap();
        assert_eq!(line["told_not_read"], named);
        assert_eq!(world.sent().len(), number, "told as if of the first image");
        // The alert is sent once all the same.
        let again = look(&world, &policy, &key, Hints::default());
        assert_eq!((again.told_not_read, world.sent().len()), (None, number));
    }
    let is_told = run(world.told(&repository));
    assert!(is_told.unwrap_err().is_unreadable_row(), "nobody writes over it");
}

#[test]
fn another_repository_is_notified_of_its_own() {
    let policy = policy("");
    let world = World::new();
    for repository in ["team-a/api", "team-b/api"] {
        let key = key(repository, 1);
        world.push(&key, image(&key));
        world.set_scan(&key, high("CVE-2026-1"));
        look(&world, &policy, &key, pushed(&world));
    }
    assert_eq!(world.sent().len(), 2);
}

/// 300 repositories with 5 pushes a day each; 7 of 10 images have the findings of the image before them; once a week a base image gets a
/// new finding, and every repository has it by the evening.
#[test]
#[expect(
    clippy::print_stdout,
    clippy::use_debug,
    reason = "the figures are for the reader of the output"
)]
fn a_month_of_a_steady_team_is_a_month_of_few_messages() {
    const REPOSITORIES: usize = 300;
    const PUSHES: usize = 5;
    let policy = policy("");
    let world = World::new();
    let begin = now();
    let mut number = 0;
    // Weeks before the month that is counted, alerts named the findings of that time.
    let mut per_day: Vec<usize> = Vec::new();
    let mut news: Vec<(String, ImageKey)> = Vec::new();
    for day in 0..35 {
        let before = world.sent().len();
        for hour in 0..24 {
            world.set_now(begin + SignedDuration::from_hours(24 * day + hour));
            // Pushes are spread over the working hours.
            if (8..18).contains(&hour) {
                let first = usize::try_from(hour - 8).unwrap() * REPOSITORIES * PUSHES / 10;
                for push in first..first + REPOSITORIES * PUSHES / 10 {
                    let repository = push % REPOSITORIES;
                    number += 1;
                    let key = key(&format!("team-{repository}/api"), number);
                    world.push(
                        &key,
                        Image {
                            pushed_at: Some(world.now()),
                            ..image(&key)
                        },
                    );
                    let week = usize::try_from(day / 7).unwrap();
                    let of_base = format!("CVE-2026-{week}");
                    let scan_of = if number % 10 < 7 {
                        high(&of_base)
                    } else {
                        Scan::Complete(scan(vec![]))
                    };
                    world.set_scan(&key, scan_of);
                    if number % 10 < 7 {
                        news.push((of_base, key.clone()));
                    }
                    look(&world, &policy, &key, pushed(&world));
                }
            }
            summaries(&world, &policy);
            let kept = run(world.kept_alerts(&registry_key(), None)).unwrap();
            assert_eq!(kept.items, [], "day {day}: named within the hour");
        }
        per_day.push(world.sent().len() - before);
    }
    for (day, messages) in per_day.iter().enumerate() {
        let most = if day % 7 < 2 { 84 } else { 30 };
        assert!(*messages <= most, "day {day}: {messages} messages; all: {per_day:?}");
    }
    // The people of each repository are notified of each finding, by an alert of its own or in a summary.
    let named = named(&world);
    let mut told: BTreeSet<(String, String)> = BTreeSet::new();
    for (finding, key) in &news {
        if named.contains(key.digest.short()) {
            told.insert((finding.clone(), key.repository.to_string()));
        }
    }
    for (finding, key) in &news {
        assert!(
            told.contains(&(finding.clone(), key.repository.to_string())),
            "{finding} in {}",
            key.repository
        );
    }
    println!("messages a day: {per_day:?}");
}

#[test]
fn an_image_that_inspector_lets_go_is_alerted_only_if_it_is_used() {
    let policy = policy("");
    let world = World::new();
    for number in 0..50 {
        let key = key("pipeops-prod-api", number);
        let pulled_at = (number == 7).then(|| now() - SignedDuration::from_hours(24));
        world.push(
            &key,
            Image {
                last_pulled_at: pulled_at,
                ..image(&key)
            },
        );
        world.set_scan(&key, Scan::Unavailable(NoScan::EligibilityExpired));
        look(&world, &policy, &key, Hints::default());
    }
    let sent = documents(&world);
    let titles: Vec<&str> = sent
        .iter()
        .map(|document| document["title"].as_str().unwrap())
        .collect();
    assert_eq!(titles, ["pipeops-prod-api:v1.2.3 is in use, and is no longer scanned"]);
}

#[test]
fn each_cause_of_a_missing_scan_has_a_title_and_steps_of_its_own() {
    let causes = [
        NoScan::Failed,
        NoScan::Unsupported,
        NoScan::TooLarge,
        NoScan::LimitExceeded,
        NoScan::NotCovered,
        NoScan::FindingsUnavailable,
        NoScan::EligibilityExpired,
    ];
    let mut said = BTreeSet::new();
    for (number, cause) in causes.iter().enumerate() {
        let (policy, world) = (policy(""), World::new());
        let key = key("pipeops-prod-api", number);
        let used = Image {
            last_pulled_at: Some(now()),
            ..image(&key)
        };
        world.push(&key, used);
        world.set_scan(&key, Scan::Unavailable(cause.clone()));
        look(&world, &policy, &key, Hints::default());
        let document = documents(&world).remove(0);
        assert!(
            said.insert(document["title"].to_string()),
            "{cause:?} has the title of another cause"
        );
        let steps = document["steps"].to_string();
        assert!(!steps.contains("Push it again"), "{cause:?}: {steps}");
    }
}

/// Five blocks an hour, and thirty images that should be blocked: an alert that was not sent took nothing from the budget.
#[test]
fn what_the_limit_of_blocks_holds_takes_no_slot() {
    let policy = policy(r#""block": {"max_blocks_per_hour": 5}, "alerts": {"max_single_per_hour": 7}"#);
    let world = World::new();
    for number in 0..30 {
        let key = key("pipeops-prod-api", number);
        world.push(&key, image(&key));
        world.set_scan(
            &key,
            Scan::Complete(scan(vec![finding("CVE-2026-2", Severity::Critical)])),
        );
        look(&world, &policy, &key, Hints::default());
    }
    let one_more = key("pipeops-prod-web", 99);
    world.push(&one_more, image(&one_more));
    world.set_scan(&one_more, high("CVE-2026-1"));
    look(&world, &policy, &one_more, Hints::default());
    let expected = [("block-limit", 1), ("image-blocked", 5), ("image-review", 1)];
    assert_eq!(
        kinds(&world),
        expected.map(|(kind, count)| (kind.to_owned(), count)).into()
    );
}
