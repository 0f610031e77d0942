use serde_json::{Value, json};
use shared::core::{
    finding::{Scan, Severity},
    ids::{ImageKey, Region},
    image::{Image, ImageStatus},
    replication::{
        ledger::{Missing, ReplicaState},
        replica::CopyState,
    },
    repository::posture::{Encryption, Repository, TagMutability},
    state::State,
};
use shared::{
    engine::reconcile::image::{Hints, Outcome, OutcomeKind, Request, reconcile},
    lambda::{entry::Handled, error::HandlerError},
    ports::Retry,
    testing::{
        Fault, StoredRepository, World, event, finding, handle_copy_event, image, image_key, now, policy, run, scan,
    },
};

use crate::select;

const POLICY: &str =
    r#""repositories": [{"match": "*", "replication": {"regions": ["us-west-2"], "max_lag_minutes": 30}}]"#;

fn source_region() -> Region {
    "us-east-1".parse().unwrap()
}

fn source_key() -> ImageKey {
    ImageKey {
        region: source_region(),
        ..image_key()
    }
}

fn replicated(result: &str) -> String {
    let key = image_key();
    event(
        "ECR Replication Action",
        &json!({"action-type": "REPLICATE", "result": result, "image-tag": "v1.2.3",
            "source-account": key.account.as_str(), "source-region": "us-east-1"}),
    )
}

/// Something that was done with the source, in its region.
fn in_source(members: &Value) -> String {
    event("ECR Image Action", members).replace("\"us-west-2\"", "\"us-east-1\"")
}

fn pushed(minutes_ago: i64) -> Image {
    Image {
        pushed_at: Some(now() - std::time::Duration::from_secs(60 * u64::try_from(minutes_ago).unwrap())),
        ..image(&image_key())
    }
}

/// The source was pushed ten minutes ago and has this scan, in a region that has its own functions; its copy is here since a minute.
fn world(source_scan: Scan) -> World {
    let there = World::with(&source_key(), pushed(10), source_scan);
    look_at(&there);
    let world = World::with(&image_key(), pushed(1), Scan::Absent);
    world.push_elsewhere(&source_key(), pushed(10));
    world.set_copy(&source_key(), &image_key().region, CopyState::Complete);
    world.remember(there.row_of(&source_key()).unwrap());
    world
}

fn look_at(there: &World) {
    let key = source_key();
    let request = Request {
        account: key.account,
        region: key.region,
        repository: key.repository,
        image: shared::core::ids::ImageRef::Digest(key.digest),
        hints: Hints::default(),
        actor: "there".to_owned(),
    };
    run(reconcile(&there.writing(true), &policy(POLICY), &request)).unwrap();
}

fn clean() -> Scan {
    Scan::Complete(scan(vec![]))
}

fn critical() -> Scan {
    Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Critical)]))
}

fn handle(world: &World, members: &str, payload: &str) -> Result<Handled, HandlerError> {
    handle_copy_event(world, &policy(members), select, payload)
}

#[track_caller]
fn look(world: &World, payload: &str) -> Outcome {
    match handle(world, POLICY, payload) {
        Ok(Handled::Looked(outcome)) => outcome,
        other => panic!("an image should be reconciled: {other:?}"),
    }
}

fn kinds(world: &World) -> Vec<String> {
    let kind = |text: &str| {
        serde_json::from_str::<Value>(text).unwrap()["kind"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    world.sent().iter().map(|sent| kind(&sent.message.default)).collect()
}

#[test]
fn a_copy_is_proved_and_its_lag_is_measured_once() {
    let world = world(clean());
    let outcome = look(&world, &replicated("SUCCESS"));
    let replica = outcome.replica.unwrap();
    assert_eq!(
        (replica.state, replica.lag_seconds),
        (ReplicaState::Complete, Some(540))
    );
    assert_eq!((outcome.state, world.sent().len()), (Some(State::Allowed), 0));
    world.forget_calls();
    let again = look(&world, &replicated("SUCCESS")).replica.unwrap();
    assert_eq!((again.lag_seconds, world.writes()), (None, 0));
}

#[test]
fn a_copy_of_what_is_blocked_is_blocked_on_arrival() {
    let world = world(critical());
    let outcome = look(&world, &replicated("SUCCESS"));
    assert_eq!((outcome.state, outcome.effect), (Some(State::Blocked), Some("archive")));
    assert_eq!(world.image_of(&image_key()).unwrap().status, ImageStatus::Archived);
    assert_eq!(kinds(&world), [] as [&str; 0], "people were told in the source");
}

#[test]
fn a_tag_that_was_dropped_is_alerted() {
    let world = world(clean());
    let without = Image {
        tags: Vec::new(),
        ..pushed(1)
    };
    world.push(&image_key(), without);
    let outcome = look(&world, &replicated("SUCCESS"));
    assert_eq!(outcome.replica.unwrap().missing, ["tag v1.2.3"]);
    assert_eq!(kinds(&world), ["replica-incomplete"]);
}

#[test]
fn a_failure_is_alerted_with_its_code() {
    let world = world(clean());
    world.delete(&image_key());
    let failed = CopyState::Missing(Missing::Failed(Some("KmsError".to_owned())));
    world.set_copy(&source_key(), &image_key().region, failed);
    let outcome = look(&world, &replicated("FAILED"));
    assert_eq!(outcome.outcome, OutcomeKind::Applied);
    assert_eq!(kinds(&world), ["replication-failed"]);
    assert!(world.sent()[0].message.email.contains("KmsError"));
    look(&world, &replicated("FAILED"));
    assert_eq!(kinds(&world).len(), 1);
}

#[test]
fn the_repository_here_is_reconciled_as_at_home() {
    let world = world(clean());
    world.create_repository(
        &image_key().repository,
        StoredRepository {
            repository: Repository {
                arn: "arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-api".to_owned(),
                tag_mutability: TagMutability::Mutable,
                scan_on_push: true,
                encryption: Encryption {
                    kind: "AES256".to_owned(),
                    key: None,
                },
            },
            tags: std::collections::BTreeMap::new(),
            policy: None,
            lifecycle: None,
        },
    );
    let members = r#""repositories": [{"match": "*", "replication": {"regions": ["us-west-2"], "max_lag_minutes": 30},
        "tags": {"forbidden": ["v1.*"]}, "posture": {"tag_mutability": "IMMUTABLE", "repair": true}}]"#;
    let Ok(Handled::Looked(outcome)) = handle(&world, members, &replicated("SUCCESS")) else {
        panic!("an image should be looked at")
    };
    assert_eq!(outcome.repository_rules.unwrap().changed, ["posture.tag_mutability"]);
    assert_eq!(kinds(&world), ["tag-violation", "posture-repaired"]);
    let repository = world.repository_of(&image_key().repository).unwrap().repository;
    assert_eq!(repository.tag_mutability, TagMutability::Immutable);
}

#[test]
fn what_is_done_with_the_source_is_done_with_the_copy_at_once() {
    let world = world(clean());
    look(&world, &replicated("SUCCESS"));
    // Its scan ends there, and it is blocked.
    let there = World::with(&source_key(), pushed(10), critical());
    look_at(&there);
    let archived = in_source(&json!({"action-type": "UPDATE_STORAGE_CLASS", "target-storage-class": "ARCHIVE"}));
    world.remember(there.row_of(&source_key()).unwrap());
    assert_eq!(look(&world, &archived).state, Some(State::Blocked));
    // It is released there.
    let mut row = there.row_of(&source_key()).unwrap();
    (row.state, row.block) = (State::Allowed, None);
    row.findings.clear();
    world.remember(row);
    let restored = in_source(&json!({"action-type": "UPDATE_STORAGE_CLASS", "target-storage-class": "STANDARD"}));
    assert_eq!(look(&world, &restored).effect, Some("restore"));
}

#[test]
fn somebody_elses_archive_in_the_source_does_nothing_here() {
    let world = world(clean());
    look(&world, &replicated("SUCCESS"));
    let archived = in_source(&json!({"action-type": "UPDATE_STORAGE_CLASS", "target-storage-class": "ARCHIVE"}));
    assert_eq!(look(&world, &archived).outcome, OutcomeKind::Unchanged);
    assert_eq!(world.image_of(&image_key()).unwrap().status, ImageStatus::Active);
}

#[test]
fn what_is_not_about_copies_is_ignored_without_a_call() {
    let world = world(clean());
    world.forget_calls();
    for payload in [
        event("ECR Image Scan", &json!({"scan-status": "COMPLETE", "image-tags": []})),
        event("ECR Image Action", &json!({"action-type": "PUSH", "image-tag": "v1"})),
        in_source(&json!({"action-type": "PUSH", "image-tag": "v1"})),
        in_source(&json!({"action-type": "DELETE", "result": "FAILED"})),
        event(
            "ECR Image Action",
            &json!({"action-type": "UPDATE_STORAGE_CLASS", "target-storage-class": "ARCHIVE"}),
        ),
        replicated("SUCCESS").replace("\"region\":\"us-west-2\"", "\"region\":\"eu-west-1\""),
        replicated("SUCCESS").replace("\"account\":\"123456789012\"", "\"account\":\"210987654321\""),
        replicated("SUCCESS").replace("us-east-1", "nowhere"),
    ] {
        let handled = handle(&world, POLICY, &payload);
        assert!(matches!(handled, Ok(Handled::Ignored { .. })), "{payload}: {handled:?}");
    }
    assert_eq!(world.calls(), []);
}

#[test]
fn a_source_in_another_account_is_not_looked_for_in_the_ledger() {
    let world = world(critical());
    let payload = replicated("SUCCESS").replace(
        "\"source-account\":\"123456789012\"",
        "\"source-account\":\"210987654321\"",
    );
    let outcome = look(&world, &payload);
    assert_eq!(outcome.state, Some(State::Pending));
    assert_eq!(outcome.replica.unwrap().state, ReplicaState::Complete);
}

#[test]
fn trouble_with_one_thing_does_not_keep_the_other_from_being_done() {
    let world = world(critical());
    world.fail("dynamodb:PutItem", Fault::Before(Retry::Later));
    let failed = handle(&world, POLICY, &replicated("SUCCESS")).unwrap_err();
    assert_eq!((failed.retry(), failed.code()), (Retry::Later, "CallFailed"));
    assert_eq!(
        world.replica_row_of(&image_key()).unwrap().state,
        ReplicaState::Complete,
        "the image could not be recorded, its copy could"
    );
    assert_eq!(look(&world, &replicated("SUCCESS")).state, Some(State::Blocked));
}
