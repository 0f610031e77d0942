use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::*;
use crate::{
    reconcile::{
        image::{Hints, Request, reconcile},
        registry::reconcile_registry,
        repository::reconcile_repository,
    },
    testing::sweep,
};
use guard_core::{
    finding::{Scan, Severity},
    ids::{ImageKey, ImageRef},
    notice::LEASE_SECONDS,
    repository::posture::{Encryption, Repository, TagMutability},
};
use guard_ports::Retry;
use guard_testkit::{
    Fault, StoredRepository, World, finding, image, image_key, now, registry_key, run, run_and_crash, scan,
};

fn policy(members: &str) -> Policy {
    let topic = |name: &str| format!(r#""{name}": "arn:aws:sns:us-west-2:123456789012:{name}""#);
    let json = format!(
        r#"{{"version": 1, "mode": "enforce", "routes": {{{}, {}, {}}}, {members}}}"#,
        topic("default"),
        topic("payments"),
        topic("platform"),
    );
    Policy::from_json(&json, now()).unwrap()
}

const BY_TEAM: &str = r#""route_by_tag": "team", "repositories": [{"match": "prod/*", "route": "platform"}]"#;

fn key(repository: &str) -> ImageKey {
    ImageKey {
        repository: repository.parse().unwrap(),
        ..image_key()
    }
}

fn tag(world: &World, repository: &str, team: Option<&str>) {
    let stored = StoredRepository {
        repository: Repository {
            arn: String::new(),
            tag_mutability: TagMutability::Mutable,
            scan_on_push: false,
            encryption: Encryption {
                kind: "AES256".to_owned(),
                key: None,
            },
        },
        tags: team
            .map(|team| ("team".to_owned(), team.to_owned()))
            .into_iter()
            .collect(),
        policy: None,
        lifecycle: None,
    };
    world.create_repository(&repository.parse().unwrap(), stored);
}

/// A repository with an image that is to be blocked.
fn push(world: &World, repository: &str, team: Option<&str>) {
    tag(world, repository, team);
    let key = key(repository);
    world.push(&key, image(&key));
    world.complete_scan(&key, scan(vec![finding("CVE-2026-1", Severity::Critical)]));
}

/// The topics of the alerts that were sent, by repository.
fn told(world: &World) -> BTreeMap<String, Vec<String>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for sent in world.sent() {
        let document: serde_json::Value = serde_json::from_str(&sent.message.default).unwrap();
        let repository = document["repository"].as_str().unwrap().to_owned();
        let topic = sent.topic.as_str().rsplit(':').next().unwrap().to_owned();
        told.entry(repository).or_default().push(topic);
    }
    told
}

fn asked_for_tags(world: &World) -> usize {
    let calls = world.calls();
    calls
        .iter()
        .filter(|call| call.operation == "ecr:ListTagsForResource")
        .count()
}

#[test]
fn alerts_follow_the_tag_and_without_a_route_by_it_go_the_way_they_went() {
    let world = World::new();
    for (repository, team) in [
        ("api", Some("payments")),
        ("prod/web", Some("payments")),
        ("prod/api", Some("nobody")),
        ("prod/job", None),
        ("other", Some("nobody")),
        ("bare", None),
    ] {
        push(&world, repository, team);
    }
    sweep(&world, &policy(BY_TEAM));
    let expected = [
        ("api", "payments"),
        ("prod/web", "payments"),
        ("prod/api", "platform"),
        ("prod/job", "platform"),
        ("other", "default"),
        ("bare", "default"),
    ];
    let told = told(&world);
    for (repository, topic) in expected {
        assert_eq!(told[repository], [topic], "{repository}");
    }
    assert_eq!(told.len(), expected.len());
}

#[test]
fn alerts_about_the_repository_itself_follow_the_tag_as_well() {
    let world = World::new();
    tag(&world, "api", Some("payments"));
    sweep(
        &world,
        &policy(r#""route_by_tag": "team", "repositories": [{"match": "*", "posture": {"encryption": "KMS"}}]"#),
    );
    assert_eq!(told(&world)["api"], ["payments"]);
}

#[test]
fn tags_are_read_once_a_day_and_where_the_policy_asks_for_it() {
    let world = World::new();
    push(&world, "api", Some("payments"));
    sweep(&world, &policy(r#""digest": {"enabled": false}"#));
    assert_eq!(asked_for_tags(&world), 0);
    let policy = policy(BY_TEAM);
    sweep(&world, &policy);
    assert_eq!(asked_for_tags(&world), 1);
    world.forget_calls();
    for _ in 0..24 {
        world.set_now(world.now() + SignedDuration::from_hours(1));
        sweep(&world, &policy);
    }
    assert_eq!(asked_for_tags(&world), 1);
}

#[test]
fn another_value_counts_after_the_next_push_or_within_a_day() {
    let repository = RepositoryKey::of(&key("api"));
    let route = |world: &World| {
        let row = world.repository_row_of(&repository).unwrap();
        row.route.unwrap().value
    };
    let policy = policy(BY_TEAM);
    for by_push in [false, true] {
        let world = World::new();
        push(&world, "api", Some("payments"));
        sweep(&world, &policy);
        assert_eq!(route(&world).as_deref(), Some("payments"));
        tag(&world, "api", Some("platform"));
        if by_push {
            remember(&world, &policy, &repository);
        } else {
            for _ in 0..24 {
                world.set_now(world.now() + SignedDuration::from_hours(1));
                sweep(&world, &policy);
            }
        }
        assert_eq!(route(&world).as_deref(), Some("platform"), "by push: {by_push}");
    }
}

/// The value of another tag is no value of this one.
#[test]
fn the_policy_can_name_another_tag() {
    let world = World::new();
    push(&world, "api", Some("payments"));
    sweep(&world, &policy(BY_TEAM));
    let by_owner = policy(r#""route_by_tag": "owner""#);
    let row = world.repository_row_of(&RepositoryKey::of(&key("api"))).unwrap();
    let topic = by_owner.topic(&key("api").repository, row.route.as_ref());
    assert_eq!(topic, by_owner.default_topic());
    sweep(&world, &by_owner);
    let row = world.repository_row_of(&RepositoryKey::of(&key("api"))).unwrap();
    let read = RouteTag {
        tag: "owner".to_owned(),
        value: None,
    };
    assert_eq!(row.route, Some(read));
}

#[test]
fn tags_that_cannot_be_read_keep_nothing_from_being_reconciled() {
    let world = World::new();
    push(&world, "api", Some("payments"));
    let policy = policy(BY_TEAM);
    world.fail("ecr:ListTagsForResource", Fault::Before(Retry::Never));
    crate::testing::enqueue(&world, &policy);
    let (mut looks, mut failures) = (0, Vec::new());
    while let [item] = world.take_items(1).as_slice() {
        let (more, failed) = crate::testing::work(&world, &policy, item);
        looks += more.looked;
        failures.extend(failed);
    }
    assert_eq!((looks, failures.len()), (1, 1), "{failures:?}");
    assert!(failures[0].to_string().contains("look up the route of"), "{failures:?}");
    assert_eq!(told(&world)["api"], ["default"]);
}

fn look(world: &World, policy: &Policy) {
    let key = key("api");
    let request = Request {
        account: key.account.clone(),
        region: key.region.clone(),
        repository: key.repository.clone(),
        image: ImageRef::Digest(key.digest.clone()),
        hints: Hints::default(),
        actor: "an-event".to_owned(),
    };
    run(reconcile(&world.services(policy), policy, &request)).unwrap();
}

/// A block and its alert wait for nothing: the row is read while the step is claimed.
#[test]
fn the_route_costs_the_block_no_round_trip() {
    let world = World::new();
    push(&world, "api", Some("payments"));
    let policy = policy(BY_TEAM);
    let repository = RepositoryKey::of(&key("api"));
    remember(&world, &policy, &repository);
    world.forget_calls();
    look(&world, &policy);
    assert_eq!(told(&world)["api"], ["payments"]);
    let calls = world.calls();
    let of = |operation: &str| {
        calls
            .iter()
            .filter(|call| call.operation == operation)
            .collect::<Vec<_>>()
    };
    let (reads, claim) = (of("dynamodb:GetItem"), of("dynamodb:PutItem")[0]);
    let [_image, repository] = reads.as_slice() else {
        panic!("{reads:?}");
    };
    assert!(
        repository.began < claim.ended.unwrap() && claim.began < repository.ended.unwrap(),
        "{calls:#?}"
    );
}

fn remember(world: &World, policy: &Policy, repository: &RepositoryKey) {
    let services = world.services(policy);
    run(remember_route(&services, policy, repository, ReadTag::Now)).unwrap();
}

/// A push reads another value of the tag while a sweep changes or alerts something about the same repository.
#[test]
fn reading_the_tag_never_comes_between_an_alert_and_its_record() {
    let policy = policy(
        r#""route_by_tag": "team", "repositories": [{"match": "*", "posture": {"encryption": "KMS", "tag_mutability": "IMMUTABLE"}}]"#,
    );
    let repository = RepositoryKey::of(&key("api"));
    for polls in 0..60 {
        let world = World::new();
        tag(&world, "api", Some("payments"));
        remember(&world, &policy, &repository);
        tag(&world, "api", Some("platform"));
        let services = world.services(&policy);
        let mut look = Box::pin(reconcile_repository(&services, &policy, &repository, None, "a-sweep"));
        let ended = run_and_crash(&mut look, polls);
        remember(&world, &policy, &repository);
        ended
            .unwrap_or_else(|| run(look))
            .unwrap_or_else(|error| panic!("{polls}: {error}"));
        let row = world.repository_row_of(&repository).unwrap();
        assert!(row.notes.iter().all(|note| note.sent_at.is_some()), "{polls}: {row:?}");
        assert_eq!(told(&world)["api"].len(), row.notes.len(), "{polls}: each alert once");
        remember(&world, &policy, &repository);
        let route = world.repository_row_of(&repository).unwrap().route;
        assert_eq!(route.unwrap().value.as_deref(), Some("platform"), "{polls}");
    }
}

/// An invocation that ended before it sent its alert keeps the tag from being read no longer than its lease.
#[test]
fn an_alert_that_is_pending_for_long_does_not_keep_the_tag_from_being_read() {
    let world = World::new();
    tag(&world, "api", Some("payments"));
    let policy =
        policy(r#""route_by_tag": "team", "repositories": [{"match": "*", "posture": {"encryption": "KMS"}}]"#);
    let repository = RepositoryKey::of(&key("api"));
    remember(&world, &policy, &repository);
    world.fail("sns:Publish", Fault::Before(Retry::Later));
    run(reconcile_repository(
        &world.services(&policy),
        &policy,
        &repository,
        None,
        "a-sweep",
    ))
    .unwrap_err();
    tag(&world, "api", Some("platform"));
    let route = |world: &World| world.repository_row_of(&repository).unwrap().route.unwrap().value;
    for (later, expected) in [
        (0, "payments"),
        (LEASE_SECONDS - 1, "payments"),
        (LEASE_SECONDS, "platform"),
    ] {
        world.set_now(now() + SignedDuration::from_secs(later));
        remember(&world, &policy, &repository);
        assert_eq!(route(&world).as_deref(), Some(expected), "after {later} seconds");
    }
}

/// Somebody gets the alert, whatever is wrong with the row.
#[test]
fn where_the_row_cannot_be_read_the_alert_goes_the_way_without_the_tag() {
    let world = World::new();
    let policy = policy(BY_TEAM);
    push(&world, "api", Some("payments"));
    let repository = RepositoryKey::of(&key("api"));
    remember(&world, &policy, &repository);
    let topic_of = |world: &World| run(topic(&world.services(&policy), &policy, &repository)).to_string();
    assert!(topic_of(&world).ends_with(":payments"));
    world.fail("dynamodb:GetItem", Fault::Before(Retry::Later));
    assert!(topic_of(&world).ends_with(":default"));
}

#[test]
fn images_without_a_finding_say_nothing_of_routes() {
    let world = World::new();
    tag(&world, "api", Some("payments"));
    let key = key("api");
    world.push(&key, image(&key));
    world.set_scan(&key, Scan::Complete(scan(Vec::new())));
    let policy = policy(BY_TEAM);
    look(&world, &policy);
    let rows = world.calls();
    let reads = rows.iter().filter(|call| call.operation == "dynamodb:GetItem").count();
    assert_eq!(reads, 1, "the image's own row");
}

/// An exception that ends is alerted to the routes of its repositories: by their tags as well.
#[test]
fn exceptions_that_end_are_alerted_by_the_routes_of_the_tags() {
    let world = World::new();
    push(&world, "api", Some("payments"));
    push(&world, "web", None);
    let soon = (now() + SignedDuration::from_hours(48)).to_string();
    let day = soon.split('T').next().unwrap();
    let of = |repository: &str| {
        format!(
            r#"{{"vulnerability": "CVE-{repository}", "repositories": ["{repository}"], "owner": "o", "reason": "r", "expires": "{day}"}}"#
        )
    };
    let policy = policy(&format!(
        r#""route_by_tag": "team", "exceptions": [{}, {}, {}]"#,
        of("api"),
        of("web"),
        of("*")
    ));
    sweep(&world, &policy);
    let before = world.sent().len();
    run(reconcile_registry(
        &world.services(&policy),
        &world,
        &policy,
        &registry_key(),
        "a-sweep",
    ))
    .unwrap();
    let mut told: Vec<(String, String)> = world.sent()[before..]
        .iter()
        .map(|sent| {
            let document: serde_json::Value = serde_json::from_str(&sent.message.default).unwrap();
            let topic = sent.topic.as_str().rsplit(':').next().unwrap().to_owned();
            (
                document["exception"]["vulnerability"].as_str().unwrap().to_owned(),
                topic,
            )
        })
        .collect();
    told.sort();
    let expected = [
        ("CVE-*", "default"),
        ("CVE-*", "payments"),
        ("CVE-api", "payments"),
        ("CVE-web", "default"),
    ];
    assert_eq!(told, expected.map(|(what, topic)| (what.to_owned(), topic.to_owned())));
}
