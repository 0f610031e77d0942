use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use guard_core::{
    finding::ScanMode,
    ids::RepositoryKey,
    registry::{RegistrySettings, ScanRule},
    summary::SummaryBuilder,
};
use guard_ports::Retry;
use guard_testkit::{Fault, World, image, image_key, now, policy, registry_key, run, run_and_crash};

const PUBLISH: &str = "sns:Publish";

/// Scanning leaves a repository out, and an exception ends in a few days.
fn troubled() -> (World, Policy) {
    let world = World::new();
    world.push(&image_key(), image(&image_key()));
    world.set_settings(settings(&[]));
    let policy = policy(
        r#""repositories": [{"match": "pipeops-*", "posture": {"scan_on_push": true}}],
        "exceptions": [{"vulnerability": "CVE-1", "repositories": ["pipeops-*"], "owner": "o", "reason": "r", "expires": "2026-11-28"}]"#,
    );
    (world, policy)
}

fn settings(filters: &[&str]) -> RegistrySettings {
    RegistrySettings {
        scanning: ScanMode::Enhanced,
        scan_rules: vec![ScanRule {
            frequency: "CONTINUOUS_SCAN".to_owned(),
            filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
        }],
        replication: Vec::new(),
        signing_rules: 0,
    }
}

fn look(world: &World, policy: &Policy) -> Result<RegistryOutcome, ReconcileError> {
    run(reconcile_registry(
        &world.writing(true),
        world,
        policy,
        &registry_key(),
        "me",
    ))
}

fn digest(world: &World, policy: &Policy, asked: bool) -> Result<u64, ReconcileError> {
    let wanted = if asked {
        DigestsWanted::Now("me")
    } else {
        DigestsWanted::BySchedule("me")
    };
    run(send_digests(
        &world.writing(true),
        world,
        policy,
        &registry_key(),
        wanted,
    ))
}

/// The members of what was sent.
fn sent(world: &World, member: &str) -> Vec<String> {
    let value = |text: &str| {
        serde_json::from_str::<Value>(text).unwrap()[member]
            .as_str()
            .unwrap()
            .to_owned()
    };
    world.sent().iter().map(|sent| value(&sent.message.default)).collect()
}

#[test]
fn trouble_is_alerted_once_and_a_second_reconcile_writes_nothing() {
    let (world, policy) = troubled();
    let outcome = look(&world, &policy).unwrap();
    assert_eq!(outcome.problems, 1);
    let mut kinds = sent(&world, "kind");
    kinds.sort();
    assert_eq!(kinds, ["exception-expiring", "registry-drift"]);
    world.forget_calls();
    let second = look(&world, &policy).unwrap();
    assert_eq!((second.problems, second.alerts), (1, vec![]));
    assert_eq!(world.writes(), 0);

    world.set_settings(settings(&["*"]));
    assert_eq!(look(&world, &policy).unwrap(), RegistryOutcome::default());
    assert_eq!(world.sent().len(), 2, "that it is over is told to nobody");
    world.forget_calls();
    look(&world, &policy).unwrap();
    assert_eq!(world.writes(), 0);
}

#[test]
fn a_calm_registry_leaves_no_trace() {
    let (world, policy) = (World::new(), policy(""));
    assert_eq!(look(&world, &policy).unwrap(), RegistryOutcome::default());
    assert_eq!((world.writes(), world.registry_row_of(&registry_key())), (0, None));
}

#[test]
fn all_pages_of_repositories_are_reconciled() {
    let (world, policy) = troubled();
    for n in 0..5 {
        let key = guard_core::ids::ImageKey {
            repository: format!("pipeops-{n}").parse().unwrap(),
            ..image_key()
        };
        world.push(&key, image(&key));
    }
    world.set_page_size(2);
    look(&world, &policy).unwrap();
    let alert = world
        .sent()
        .into_iter()
        .find(|sent| sent.message.default.contains("registry-drift"));
    assert!(alert.unwrap().message.email.contains("6 repositories"));
}

#[test]
fn a_topic_that_does_not_accept_an_alert_gets_it_at_the_next_reconcile() {
    let (world, policy) = troubled();
    world.fail(PUBLISH, Fault::Before(Retry::Later));
    let error = look(&world, &policy).unwrap_err();
    assert_eq!((error.retry(), error.code()), (Retry::Later, "CallFailed"));
    assert_eq!(world.sent().len(), 1);
    look(&world, &policy).unwrap();
    let mut kinds = sent(&world, "kind");
    kinds.sort();
    assert_eq!(kinds, ["exception-expiring", "registry-drift"]);
}

/// Carries out an action that crashes after `polls`, and then again in an hour; nothing is lost, and an alert that comes twice
/// comes under the same id.
fn nothing_is_lost(polls: usize, expected: usize, act: &impl AsyncFn(&World, &Policy, &str)) {
    let (world, policy) = troubled();
    run_and_crash(act(&world, &policy, "crashed"), polls);
    world.set_now(now() + SignedDuration::from_hours(1));
    run(act(&world, &policy, "next"));
    let ids: BTreeSet<String> = sent(&world, "id").into_iter().collect();
    assert_eq!(ids.len(), expected, "after {polls} polls");
    assert!(
        world.sent().len() <= 2 * expected,
        "at most what it crashed at comes twice"
    );
    world.forget_calls();
    run(act(&world, &policy, "last"));
    assert_eq!(world.writes(), 0);
}

proptest! {
    #[test]
    fn a_crash_at_any_point_loses_nothing(polls in 0..40_usize) {
        nothing_is_lost(polls, 2, &async |world, policy, actor| {
            reconcile_registry(&world.writing(true), world, policy, &registry_key(), actor).await.unwrap();
        });
        nothing_is_lost(polls, 1, &async |world, policy, actor| {
            send_digests(&world.writing(true), world, policy, &registry_key(), DigestsWanted::BySchedule(actor)).await.unwrap();
        });
    }
}

#[test]
fn a_digest_is_sent_once_a_day() {
    let (world, policy) = troubled();
    let at = |hours| now() + SignedDuration::from_hours(hours);
    // It is 12:00; the digest is due at 7:00.
    let mut days = Vec::new();
    for hours in -6..40 {
        world.set_now(at(hours));
        if digest(&world, &policy, false).unwrap() > 0 {
            days.push(hours);
        }
    }
    assert_eq!(days, [-5, 19]);
    let ids: BTreeSet<String> = sent(&world, "id").into_iter().collect();
    assert_eq!(ids.len(), 2);
}

#[test]
fn a_digest_has_what_the_workers_found() {
    let (world, policy) = troubled();
    world.set_now(now());
    let key = RepositoryKey {
        account: image_key().account,
        region: image_key().region,
        repository: image_key().repository,
    };
    let mut builder = SummaryBuilder::new(&policy, &key, now());
    let listed = guard_core::image::ListedImage {
        image: image(&image_key()),
        bytes: 7_000_000,
        scan_status: None,
        scanned_at: None,
    };
    builder.image(&listed);
    run(world.write_summary(&builder.finish(None))).unwrap();
    assert_eq!(digest(&world, &policy, false).unwrap(), 1);
    let document: Value = serde_json::from_str(&world.sent()[0].message.default).unwrap();
    let figures = &document["figures"];
    assert_eq!(
        (&figures["images"], &figures["unknown_repositories"]),
        (&1.into(), &0.into())
    );
    assert_eq!(figures["new"]["today"]["pushed"], 1);
    assert_eq!(figures["registry"][0]["setting"], "registry.scanning");
    assert_eq!(figures["exceptions_ending"]["total"], 1);
}

#[test]
fn a_topic_that_does_not_accept_the_digest_gets_it_from_the_next_sweep_and_the_others_do_not() {
    let json = r#"{"version": 1, "mode": "enforce", "routes": {"default": "arn:aws:sns:us-west-2:123456789012:a",
        "b": "arn:aws:sns:us-west-2:123456789012:b", "c": "arn:aws:sns:us-west-2:123456789012:c"}}"#;
    let (world, policy) = (World::new(), Policy::from_json(json, now()).unwrap());
    world.fail(PUBLISH, Fault::Before(Retry::Never));
    let error = digest(&world, &policy, false).unwrap_err();
    assert_eq!((error.retry(), error.code()), (Retry::Never, "CallRefused"));
    assert_eq!(world.sent().len(), 2);
    assert_eq!(digest(&world, &policy, false).unwrap(), 1);
    let topics: BTreeSet<TopicArn> = world.sent().into_iter().map(|sent| sent.topic).collect();
    assert_eq!((world.sent().len(), topics.len()), (3, 3));
    assert_eq!(digest(&world, &policy, false).unwrap(), 0);
}

#[test]
fn a_digest_that_is_asked_for_is_sent_whatever_was_sent() {
    let (world, policy) = troubled();
    world.set_now(now());
    assert_eq!(digest(&world, &policy, true).unwrap(), 1);
    assert_eq!(
        digest(&world, &policy, false).unwrap(),
        1,
        "the day's own is sent all the same"
    );
    assert_eq!(digest(&world, &policy, true).unwrap(), 1);
    let ids = sent(&world, "id");
    assert_eq!(ids[0], ids[2], "asked again by the same invocation, it is the same one");
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn what_others_record_meanwhile_is_kept() {
    let (world, policy) = troubled();
    world.set_now(now());
    let (services, key) = (world.writing(true), registry_key());
    let both = futures_util::future::join(
        send_digests(&services, &world, &policy, &key, DigestsWanted::BySchedule("one")),
        reconcile_registry(&services, &world, &policy, &key, "two"),
    );
    let (digests, looked) = run(both);
    assert_eq!(digests.unwrap(), 1);
    // The invocation that lost the race for the row says so, and the next reconcile finds the pending alert.
    if looked.is_err() {
        world.set_now(now() + SignedDuration::from_hours(1));
        look(&world, &policy).unwrap();
    }
    world.forget_calls();
    look(&world, &policy).unwrap();
    assert_eq!(digest(&world, &policy, false).unwrap(), 0);
    assert_eq!(world.writes(), 0);
    let kinds: BTreeSet<String> = sent(&world, "kind").into_iter().collect();
    assert_eq!(kinds.len(), 3);
}

#[test]
fn a_sweep_is_recorded_unless_a_later_one_is() {
    let world = World::new();
    let key = registry_key();
    let at = |minutes: i64| now() + SignedDuration::from_mins(minutes);
    let record = |began| run(record_sweep(&world, &key, began)).unwrap();
    let swept = || run(last_sweep(&world, &key)).unwrap();
    assert_eq!(swept(), None);
    for (began, expected, writes) in [(0, 0, 1), (10, 10, 2), (10, 10, 2), (5, 10, 2), (11, 11, 3)] {
        record(at(began));
        assert_eq!((swept(), world.writes()), (Some(at(expected)), writes), "{began}");
    }
    let row = run(guard_ports::SweepLedger::registry_row(&world, &key))
        .unwrap()
        .unwrap();
    assert_eq!(row.generation, 3);
}

#[test]
fn each_topic_gets_one_test_alert() {
    let one = policy("");
    let json = r#"{"version": 1, "mode": "enforce", "routes": {"default": "arn:aws:sns:us-west-2:123456789012:default",
        "team": "arn:aws:sns:us-west-2:123456789012:team"}, "repositories": [{"match": "a", "route": "team"}]}"#;
    let two = Policy::from_json(json, now()).unwrap();
    for (policy, number) in [(one, 1), (two, 2)] {
        let world = World::new();
        let services = world.services(&policy);
        assert_eq!(
            run(send_test_alerts(&services, &policy, &registry_key(), "7")),
            Ok(number)
        );
        assert_eq!(world.sent().len() as u64, number);
        world.fail(PUBLISH, Fault::Before(Retry::Later));
        let error = run(send_test_alerts(&services, &policy, &registry_key(), "8")).unwrap_err();
        assert_eq!(error.code(), "CallFailed");
        assert_eq!(world.sent().len() as u64, 2 * number - 1, "the others get it");
    }
}

#[test]
fn a_sweep_is_recorded_by_one_read_and_one_write() {
    let world = World::new();
    run(record_sweep(&world, &registry_key(), now())).unwrap();
    let calls: Vec<&str> = world.calls().iter().map(|call| call.operation).collect();
    assert_eq!(calls, ["dynamodb:GetItem", "dynamodb:PutItem"]);
}
