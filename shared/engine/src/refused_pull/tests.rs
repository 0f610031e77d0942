use jiff::SignedDuration;

use super::*;
use crate::{
    alert_budget::BudgetedNotifier,
    workloads::tests::{index, key, reference, rules, source},
};
use guard_core::{
    finding::Severity,
    ledger::{Block, Row},
    policy::BlockMethod,
    state::State,
    testing::recorded,
    uses::{Phase, SourceKind, Via, WorkloadKind},
};
use guard_ports::Retry;
use guard_testkit::{Fault, Parts, World, image, now, policy, registry_key, run};

const SAYS: &str = "CannotPullContainerError: failed to resolve ref pipeops:v1.2.3: not found";

fn row(method: BlockMethod) -> Row {
    let mut row = Row::first(key(1), &policy(""), now());
    row.state = State::Blocked;
    row.reason = "1 finding blocks deployment.".to_owned();
    row.findings = vec![recorded("CVE-2026-1", Severity::Critical)];
    row.block = Some(Block {
        method,
        at: now(),
        confirmed: true,
        tags: Vec::new(),
        returns: Vec::new(),
        undone_at: None,
        release_refused_at: None,
        told: true,
    });
    row
}

/// A world in which the image is blocked.
fn blocked(method: BlockMethod) -> World {
    let world = World::new();
    world.push(&key(1), image(&key(1)));
    world.remember(row(method));
    world
}

fn by_digest() -> String {
    format!("@{}", key(1).digest)
}

fn task(name: &str, image: &str) -> Refused {
    Refused {
        workload: Workload {
            phase: Phase::Running,
            kind: WorkloadKind::EcsService,
            name: name.to_owned(),
            within: Some("prod".to_owned()),
            version: Some("41".to_owned()),
            source: source(SourceKind::Ecs),
            via: Via::Digest,
        },
        images: vec![reference(image)],
        says: SAYS.to_owned(),
    }
}

fn tell_as(world: &World, refused: &Refused, actor: &str) -> Result<u64, PortError> {
    let (policy, rules) = (policy(""), rules());
    run(index(&world.services(&policy), &rules).refused(&policy, refused, actor))
}

fn tell(world: &World, refused: &Refused) -> u64 {
    tell_as(world, refused, "me").unwrap()
}

#[test]
fn a_team_that_cannot_pull_a_blocked_image_reads_why_and_what_to_do() {
    let world = blocked(BlockMethod::Archive);
    for (image, number) in [(by_digest(), 1), (format!(":{}", image(&key(1)).tags[0]), 0)] {
        assert_eq!(tell(&world, &task("api", &image)), number, "{image}");
    }
    let [sent] = &world.sent()[..] else { panic!("one alert") };
    assert_eq!(sent.topic, *policy("").default_topic());
    let said: serde_json::Value = serde_json::from_str(&sent.message.default).unwrap();
    assert_eq!(said["kind"], "pull-refused");
    let reason = said["reason"].as_str().unwrap();
    for part in [
        "service api in cluster prod, task definition 41",
        "CannotPullContainerError",
        "1 finding blocks deployment.",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    let all = said.to_string();
    for part in [
        "CVE-2026-1",
        "Propose an exception",
        "under a new tag",
        "go back to one",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert!(
        sent.message.subject.contains("PULL REFUSED"),
        "{}",
        sent.message.subject
    );
}

#[test]
fn it_counts_against_the_budget_of_its_topic_like_any_alert() {
    let world = blocked(BlockMethod::Archive);
    let policy = policy(r#""alerts": {"max_single_per_hour": 1}"#);
    let budgeted = BudgetedNotifier::new(&world, &world, &world, &policy);
    let parts = Parts {
        world: &world,
        registry: &world,
        writer: Some(&world),
        notifier: &budgeted,
    };
    let rules = rules();
    for name in ["api", "jobs"] {
        let index = Index {
            services: &parts,
            rules: &rules,
            registry: registry_key(),
        };
        assert_eq!(run(index.refused(&policy, &task(name, &by_digest()), "me")), Ok(1));
    }
    assert_eq!(world.sent().len(), 1, "the second one is told by the summary");
}

#[test]
fn the_same_service_hears_it_once_a_day_and_another_one_too() {
    let world = blocked(BlockMethod::Archive);
    let refused = task("api", &by_digest());
    assert_eq!(tell(&world, &refused), 1);
    let mut newer = refused.clone();
    newer.workload.version = Some("42".to_owned());
    assert_eq!(tell(&world, &newer), 0, "a new revision is the same service");
    assert_eq!(tell(&world, &task("jobs", &by_digest())), 1);
    world.set_now(now() + SignedDuration::from_hours(23));
    assert_eq!(tell(&world, &refused), 0);
    world.set_now(now() + SignedDuration::from_hours(25));
    assert_eq!(tell(&world, &refused), 1);
    let ids: std::collections::BTreeSet<_> = world.refused_pulls().into_iter().map(|told| told.id).collect();
    assert_eq!((ids.len(), world.sent().len()), (2, 3));
    let sent = world.sent();
    assert_ne!(
        sent[0].message.default, sent[2].message.default,
        "another day is another alert"
    );
}

#[test]
fn of_what_is_not_blocked_or_not_known_nobody_hears() {
    let world = World::new();
    world.push(&key(1), image(&key(1)));
    let others = ["999999999999.dkr.ecr.us-west-2.amazonaws.com/api:1"];
    for refused in [by_digest(), ":v1.2.3".to_owned(), ":gone".to_owned()] {
        assert_eq!(tell(&world, &task("api", &refused)), 0, "{refused}");
    }
    let mut elsewhere = task("api", ":v1.2.3");
    elsewhere.images = others.iter().map(|image| image.parse().unwrap()).collect();
    assert_eq!(tell(&world, &elsewhere), 0);
    let changes: [fn(&mut Row); 3] = [
        |row| row.state = State::BlockDeferred,
        |row| row.closed_at = Some(now()),
        |row| row.block = None,
    ];
    for change in changes {
        let mut changed = row(BlockMethod::Archive);
        change(&mut changed);
        world.remember(changed);
        assert_eq!(tell(&world, &task("api", &by_digest())), 0);
    }
    assert!(world.sent().is_empty() && world.refused_pulls().is_empty());
}

#[test]
fn a_block_that_lets_pulls_through_is_not_blamed() {
    let flagged = blocked(BlockMethod::Flag);
    let quarantined = blocked(BlockMethod::QuarantineTag);
    for world in [&flagged, &quarantined] {
        assert_eq!(tell(world, &task("api", &by_digest())), 0, "pulls by digest work");
    }
    assert_eq!(tell(&flagged, &task("api", &format!(":{}", image(&key(1)).tags[0]))), 0);
    assert_eq!(
        tell(&quarantined, &task("api", &format!(":{}", image(&key(1)).tags[0]))),
        1
    );
}

#[test]
fn what_could_not_be_sent_is_sent_by_the_next_attempt_under_the_same_id() {
    for fault in [Fault::Before(Retry::Later), Fault::After(Retry::Later)] {
        let world = blocked(BlockMethod::Archive);
        let refused = task("api", &by_digest());
        world.fail("sns:Publish", fault);
        tell_as(&world, &refused, "first").unwrap_err();
        let owed = world.refused_pulls();
        assert_eq!(owed[0].sent_at, None);
        world.heal();
        assert_eq!(
            tell_as(&world, &refused, "second").unwrap(),
            0,
            "the first may be at it"
        );
        assert_eq!(tell_as(&world, &refused, "first").unwrap(), 1);
        assert_eq!(world.refused_pulls()[0].id, owed[0].id);
    }
    // The first one never comes back.
    let world = blocked(BlockMethod::Archive);
    let refused = task("api", &by_digest());
    world.fail("sns:Publish", Fault::Before(Retry::Later));
    tell_as(&world, &refused, "first").unwrap_err();
    world.heal();
    world.set_now(now() + SignedDuration::from_mins(1));
    assert_eq!(tell_as(&world, &refused, "second").unwrap(), 1);
}
