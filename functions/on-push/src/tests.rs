use serde_json::{Value, json};
use shared::core::{
    finding::{Scan, ScanTrigger, Severity},
    image::{Image, ImageStatus},
    policy::BlockMethod,
    repository::posture::{Encryption, Repository, TagMutability},
    state::State,
};
use shared::{
    engine::reconcile::image::{Outcome, OutcomeKind},
    lambda::{entry::Handled, error::HandlerError},
    ports::Retry,
    testing::{
        Fault, Sent, StoredRepository, World, event, finding, handle_event, image, image_key, look_at_event, now,
        policy, policy_in, scan, sweep::sweep,
    },
};

use crate::select;

fn action(members: &Value) -> String {
    event("ECR Image Action", members)
}

fn push() -> String {
    action(&json!({"action-type": "PUSH", "image-tag": "v1.2.3"}))
}

fn just_pushed() -> Image {
    Image {
        pushed_at: Some(now()),
        ..image(&image_key())
    }
}

fn world(scan: Scan) -> World {
    World::with(&image_key(), just_pushed(), scan)
}

fn critical() -> Scan {
    Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Critical)]))
}

#[track_caller]
fn look(world: &World, payload: &str) -> Outcome {
    look_at_event(world, &policy(""), select, payload)
}

#[test]
fn a_pushed_image_is_pending() {
    let world = world(Scan::Absent);
    assert_eq!(look(&world, &push()).state, Some(State::Pending));
    assert!(
        world.calls().iter().all(|call| !call.mutates),
        "its repository is scanned on push"
    );
    world.forget_calls();
    assert_eq!(look(&world, &push()).outcome, OutcomeKind::Unchanged);
    assert_eq!((world.writes(), world.sent().len()), (0, 0));
}

#[test]
fn a_scan_is_asked_for_where_none_starts_by_itself() {
    let world = world(Scan::Absent);
    world.set_trigger(&image_key().repository, ScanTrigger::Manual);
    look(&world, &push());
    look(&world, &push());
    let asked: Vec<_> = world
        .calls()
        .into_iter()
        .filter(|call| call.mutates)
        .map(|call| call.operation)
        .collect();
    assert_eq!(asked, ["ecr:StartImageScan"]);
}

#[test]
fn a_push_that_arrives_after_its_scan_is_evaluated_by_it() {
    let world = world(critical());
    assert_eq!(look(&world, &push()).state, Some(State::Blocked));
}

#[test]
fn a_blocked_image_that_comes_back_is_blocked_again() {
    let world = world(critical());
    look(&world, &push());
    for (payload, minute) in [
        (push(), 1),
        (
            action(&json!({"action-type": "UPDATE_STORAGE_CLASS", "target-storage-class": "STANDARD"})),
            2,
        ),
    ] {
        world.push_again(&image_key(), now() + jiff::SignedDuration::from_mins(minute));
        assert_eq!(look(&world, &payload).effect, Some("archive"));
        assert_eq!(world.image_of(&image_key()).unwrap().status, ImageStatus::Archived);
    }
    assert_eq!(world.sent().len(), 3);
}

#[test]
fn the_row_of_a_deleted_image_is_closed_and_a_lost_tag_is_noticed() {
    let world = world(critical());
    look(&world, &push());
    let delete = action(&json!({"action-type": "DELETE", "image-tag": "v1.2.3"}));
    let mut untagged = world.image_of(&image_key()).unwrap();
    untagged.tags.clear();
    world.push(&image_key(), untagged);
    look(&world, &delete);
    assert_eq!(world.row_of(&image_key()).unwrap().tags, []);
    world.delete(&image_key());
    assert_eq!(look(&world, &delete).outcome, OutcomeKind::Closed);
    assert_eq!(look(&world, &delete).outcome, OutcomeKind::NoSuchImage);
}

#[test]
fn a_push_without_digest_is_found_by_its_tag() {
    let world = world(Scan::Absent);
    let mut event: Value = serde_json::from_str(&push()).unwrap();
    event["detail"].as_object_mut().unwrap().remove("image-digest");
    assert_eq!(look(&world, &event.to_string()).digest, Some(image_key().digest));
}

#[test]
fn what_changes_nothing_for_us_is_ignored_without_a_call() {
    let world = world(Scan::Absent);
    for payload in [
        action(&json!({"action-type": "UPDATE_STORAGE_CLASS", "target-storage-class": "ARCHIVE"})),
        action(&json!({"action-type": "PUSH", "image-tag": "v1", "result": "FAILED"})),
        event(
            "ECR Referrer Action",
            &json!({"action-type": "UPDATE_STORAGE_CLASS", "target-storage-class": "ARCHIVE"}),
        ),
        event("ECR Image Scan", &json!({"scan-status": "COMPLETE"})),
        event("ECR Something New", &json!({})),
        push().replace("123456789012", "999999999999"),
    ] {
        let handled = handle_event(&world, &policy(""), select, &payload).unwrap();
        assert!(matches!(handled, Handled::Ignored { .. }), "{payload}");
    }
    assert!(world.calls().is_empty());
}

#[test]
fn a_referrer_is_recorded_as_no_image_and_a_runnable_image_with_a_subject_is_evaluated() {
    let referrer = Image {
        subject: Some("sha256:bb".parse().unwrap()),
        artifact_media_type: Some("application/vnd.dev.sigstore.bundle.v0.3+json".into()),
        tags: vec![],
        ..just_pushed()
    };
    let world = World::with(&image_key(), referrer.clone(), Scan::Absent);
    let bundle = r#"{"config": {"mediaType": "application/vnd.oci.empty.v1+json"}}"#;
    world.set_manifest(&image_key(), bundle);
    let pushed = json!({"action-type": "PUSH"});
    for event in [action(&pushed), event("ECR Referrer Action", &pushed)] {
        assert_eq!(look(&world, &event).outcome, OutcomeKind::NotAnImage);
        assert_eq!(world.writes(), 1);
    }
    // ECR may call it a referrer: the manifest says that it is an image.
    let world = World::with(&image_key(), referrer, Scan::Absent);
    let container = r#"{"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}"#;
    world.set_manifest(&image_key(), container);
    let looked = look(&world, &event("ECR Referrer Action", &pushed));
    assert_eq!(looked.state, Some(State::Pending));
}

#[test]
fn an_archived_image_that_is_pushed_again_under_our_own_mark_is_blocked_again() {
    let world = world(critical());
    look(&world, &push());
    assert_eq!(world.image_of(&image_key()).unwrap().status, ImageStatus::Archived);
    world.push_again(&image_key(), now());
    let mark = action(&json!({"action-type": "PUSH", "image-tag": "blocked-ab12ab12ab12"}));
    look(&world, &mark);
    assert_eq!(world.image_of(&image_key()).unwrap().status, ImageStatus::Archived);
}

#[test]
fn a_call_that_may_succeed_later_brings_the_event_back() {
    let world = world(Scan::Absent);
    world.fail("dynamodb:PutItem", Fault::Before(Retry::Later));
    let error = handle_event(&world, &policy(""), select, &push()).unwrap_err();
    assert_eq!((error.code(), error.retry()), ("CallFailed", Retry::Later));
    assert_eq!(look(&world, &push()).state, Some(State::Pending));
}

#[test]
fn a_block_that_is_refused_is_alerted_and_is_an_error() {
    let world = world(critical());
    world.fail("ecr:UpdateImageStorageClass", Fault::Before(Retry::Never));
    let error = handle_event(&world, &policy(""), select, &push()).unwrap_err();
    assert_eq!((error.code(), error.retry()), ("BlockRefused", Retry::Never));
    assert_eq!(world.sent().len(), 1);
}

const RULES: &str = r#""repositories": [{"match": "*", "tags": {"allowed": ["semver:v"], "forbidden": ["latest"], "on_violation": "untag"},
    "posture": {"tag_mutability": "IMMUTABLE", "key_rotation": true, "repair": true},
    "lifecycle": {"keep_count": 30, "tag_prefixes": ["v"], "expire_untagged_days": 7}}]"#;

fn governed(tags: &[(&str, &str)]) -> World {
    let world = world(Scan::Absent);
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
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
            tags: tags.collect(),
            policy: None,
            lifecycle: None,
        },
    );
    world
}

#[test]
fn the_repository_of_a_pushed_image_is_brought_to_what_the_policy_says() {
    let world = governed(&[]);
    let outcome = look_at_event(&world, &policy(RULES), select, &push());
    let rules = outcome.repository_rules.unwrap();
    assert_eq!(rules.changed, ["posture.tag_mutability", "lifecycle"]);
    let stored = world.repository_of(&image_key().repository).unwrap();
    assert_eq!(stored.repository.tag_mutability, TagMutability::Immutable);
    assert!(stored.lifecycle.is_some());
    world.forget_calls();
    let again = look_at_event(&world, &policy(RULES), select, &push());
    assert_eq!((again.repository_rules, world.writes()), (None, 0));
}

#[test]
fn the_last_tag_is_not_removed_before_there_is_another_one() {
    let world = governed(&[]);
    let image = Image {
        tags: vec!["latest".parse().unwrap()],
        ..just_pushed()
    };
    world.push(&image_key(), image);
    let pushed = action(&json!({"action-type": "PUSH", "image-tag": "latest"}));
    let outcome = look_at_event(&world, &policy(RULES), select, &pushed);
    assert!(outcome.repository_rules.unwrap().changed.contains(&"untag"));
    let tags = world.image_of(&image_key()).unwrap().tags;
    assert_eq!(tags, ["quarantine-ab12ab12ab12".parse().unwrap()]);
}

#[test]
fn in_report_mode_no_event_causes_a_call_that_changes_anything() {
    let policy = policy_in("report", RULES);
    for payload in [
        push(),
        action(&json!({"action-type": "PUSH", "image-tag": "latest"})),
        action(&json!({"action-type": "UPDATE_STORAGE_CLASS", "target-storage-class": "STANDARD"})),
    ] {
        let world = governed(&[]);
        world.set_scan(&image_key(), critical());
        let image = Image {
            tags: vec!["latest".parse().unwrap()],
            ..just_pushed()
        };
        world.push(&image_key(), image);
        look_at_event(&world, &policy, select, &payload);
        assert!(world.sent().len() > 1, "what would change is told");
        assert!(world.calls().iter().all(|call| !call.mutates), "{payload}");
    }
}

#[test]
fn a_repository_that_opted_out_is_left_alone_and_shown() {
    let world = governed(&[("ecr-guard", "ignore"), ("ecr-guard-reason", "of another team")]);
    let outcome = look_at_event(&world, &policy(RULES), select, &push());
    assert_eq!(
        outcome.repository_rules.unwrap().opt_out.as_deref(),
        Some("ignore: of another team")
    );
    assert!(world.calls().iter().all(|call| !call.mutates));
}

#[test]
fn a_repository_that_cannot_be_reconciled_brings_the_event_back() {
    let world = governed(&[]);
    world.fail("ecr:DescribeRepositories", Fault::Before(Retry::Later));
    let error = handle_event(&world, &policy(RULES), select, &push()).unwrap_err();
    assert_eq!((error.code(), error.retry()), ("CallFailed", Retry::Later));
    let outcome = look_at_event(&world, &policy(RULES), select, &push());
    assert!(outcome.repository_rules.is_some());
}

#[test]
fn poison_is_an_error_and_not_swallowed() {
    let world = world(Scan::Absent);
    for payload in ["", "{}", "{\"detail-type\": \"ECR Image Action\"}"] {
        let error = handle_event(&world, &policy(""), select, payload).unwrap_err();
        assert!(matches!(error, HandlerError::Poison(_)), "{payload}");
    }
    assert!(world.calls().is_empty());
}

fn pulled_through(members: &Value) -> String {
    let mut detail = json!({"rule-version": "1", "sync-status": "SUCCESS", "ecr-repository-prefix": "docker-hub",
        "upstream-registry-url": "public.ecr.aws", "image-tag": "v1.2.3", "image-digest": image_key().digest.as_str()});
    let members = members.as_object().unwrap().clone();
    detail.as_object_mut().unwrap().extend(members);
    event("ECR Pull Through Cache Action", &detail)
}

/// The next pull of the tag would bring an archived image back: it would be archived and fetched again for ever.
#[test]
fn what_a_pull_through_cache_has_fetched_is_flagged_unless_its_repository_says_how() {
    let enforced = r#""block": {"method": "archive"}"#;
    let own = r#""repositories": [{"match": "*", "block": {"method": "archive"}}]"#;
    let other = r#""repositories": [{"match": "*", "block": {"in_use_days": 3}}]"#;
    for (members, archives) in [("", false), (enforced, false), (other, false), (own, true)] {
        let world = world(critical());
        let outcome = look_at_event(&world, &policy(members), select, &pulled_through(&json!({})));
        assert_eq!(outcome.state, Some(State::Blocked), "{members}");
        let is_archived = world.image_of(&image_key()).unwrap().status == ImageStatus::Archived;
        assert_eq!(is_archived, archives, "{members}");
        let row = world.row_of(&image_key()).unwrap();
        assert!(row.pulled_through);
        // Whichever reconcile comes next, with the event or without, it stays as it is, and is alerted once.
        world.forget_calls();
        for _ in 0..3 {
            look_at_event(&world, &policy(members), select, &push());
        }
        assert_eq!((world.writes(), world.sent().len()), (0, 1), "{members}");
    }
}

#[test]
fn what_was_archived_and_is_fetched_again_is_flagged_from_then_on() {
    let world = world(critical());
    look(&world, &push());
    assert_eq!(world.image_of(&image_key()).unwrap().status, ImageStatus::Archived);
    world.push_again(&image_key(), now());
    world.set_scan(&image_key(), critical());
    let kinds = || -> Vec<String> {
        let kind = |sent: &Sent| -> serde_json::Value { serde_json::from_str(&sent.message.default).unwrap() };
        let sent = world.sent();
        sent.iter()
            .map(|sent| kind(sent)["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    for _ in 0..3 {
        let outcome = look(&world, &pulled_through(&json!({})));
        assert_eq!(outcome.state, Some(State::Blocked));
        assert_eq!(world.image_of(&image_key()).unwrap().status, ImageStatus::Active);
        let block = world.row_of(&image_key()).unwrap().block.unwrap();
        assert_eq!((block.method, block.confirmed), (BlockMethod::Flag, true));
        assert_eq!(
            kinds(),
            ["image-blocked", "image-bypass"],
            "it can be pulled, and people are told so once"
        );
    }
    world.set_now(now() + jiff::SignedDuration::from_hours(1));
    assert_eq!(sweep(&world, &policy("")).due.get("not-blocked"), None);
}

#[test]
fn what_was_not_fetched_or_names_no_image_is_ignored() {
    let world = world(critical());
    for members in [
        json!({"sync-status": "FAILED"}),
        json!({"image-tag": null, "image-digest": null}),
    ] {
        let handled = handle_event(&world, &policy(""), select, &pulled_through(&members));
        assert!(matches!(handled, Ok(Handled::Ignored { .. })), "{members}");
    }
    assert!(world.calls().is_empty());
}
