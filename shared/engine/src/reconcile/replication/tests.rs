use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use guard_core::{
    image::ImageStatus,
    ledger::Row,
    notice::RepositoryAlertKind as Kind,
    replication::ledger::{BackfillFailure, BackfillStatus, Missing},
    state::State,
    summary::SummaryBuilder,
};
use guard_ports::SweepLedger;
use guard_testkit::{Fault, World, image_key, now, policy, run, run_and_crash};

const POLICY: &str = r#""repositories": [{"match": "*", "replication": {"regions": ["us-west-2", "eu-west-1"], "max_lag_minutes": 30}}]"#;

const BACKFILL: &str = r#""repositories": [{"match": "*", "replication": {"regions": ["eu-west-1"], "max_lag_minutes": 30, "backfill": true}}]"#;

fn minutes(number: i64) -> SignedDuration {
    SignedDuration::from_mins(number)
}

/// Copies arrive in the region of [`image_key`], from here.
fn source() -> RegistryKey {
    RegistryKey {
        account: image_key().account,
        region: "us-east-1".parse().unwrap(),
    }
}

fn source_key() -> ImageKey {
    ImageKey {
        region: source().region,
        ..image_key()
    }
}

fn event(arrived: bool, tag: Option<&str>) -> Option<ReplicaEvent> {
    Some(ReplicaEvent {
        arrived,
        tags: tag.into_iter().map(|tag| tag.parse().unwrap()).collect(),
    })
}

fn request(event: Option<ReplicaEvent>) -> ReplicaRequest {
    ReplicaRequest {
        image: image_key(),
        source: source(),
        event,
        source_tags: Vec::new(),
        actor: "one".to_owned(),
    }
}

fn pushed(key: &ImageKey, tags: &[&str], ago: i64) -> Image {
    Image {
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        pushed_at: Some(now() - minutes(ago)),
        ..guard_testkit::image(key)
    }
}

/// A copy that arrived ten minutes ago, twelve after the push, with its tag.
fn world() -> World {
    let world = World::new();
    world.push(&image_key(), pushed(&image_key(), &["v1.2.3"], 10));
    world.push_elsewhere(&source_key(), pushed(&source_key(), &["v1.2.3"], 22));
    world.set_copy(&source_key(), &image_key().region, CopyState::Complete);
    world
}

#[track_caller]
fn look(world: &World, event: Option<ReplicaEvent>) -> ReplicaOutcome {
    run(reconcile_replica(
        &world.writing(true),
        &policy(POLICY),
        &request(event),
    ))
    .unwrap()
}

fn arrived() -> Option<ReplicaEvent> {
    event(true, Some("v1.2.3"))
}

fn other(digest: &str) -> ImageKey {
    ImageKey {
        digest: digest.parse().unwrap(),
        ..image_key()
    }
}

fn told(world: &World) -> Vec<serde_json::Value> {
    let sent = world.sent();
    sent.iter()
        .map(|sent| serde_json::from_str(&sent.message.default).unwrap())
        .collect()
}

fn ids(world: &World) -> BTreeSet<String> {
    told(world).iter().map(|alert| alert["id"].to_string()).collect()
}

#[track_caller]
fn assert_nothing_left(world: &World) {
    for event in [arrived(), None] {
        world.forget_calls();
        look(world, event);
        assert_eq!(world.writes(), 0);
    }
}

#[test]
fn a_copy_that_is_there_with_its_tag_and_in_time_is_proved_in_silence() {
    let world = world();
    let outcome = look(&world, arrived());
    assert_eq!(
        (outcome.state, outcome.lag_seconds, outcome.alerts.as_slice()),
        (ReplicaState::Complete, Some(720), [].as_slice())
    );
    assert_eq!(world.writes(), 1, "the claim says all");
    assert_nothing_left(&world);
    let row = world.replica_row_of(&image_key()).unwrap();
    assert_eq!((row.lag_seconds, row.source), (Some(720), source()));
}

#[test]
fn the_lag_is_taken_from_the_ledger_where_that_knows_the_push() {
    let world = world();
    world.remember(row_in_source(State::Allowed, Some(now() - minutes(11))));
    assert_eq!(look(&world, arrived()).lag_seconds, Some(60));
    // Nothing is known of a push that came after the copy, such as that of a second tag.
    let world = self::world();
    world.remember(row_in_source(State::Allowed, Some(now())));
    assert_eq!(look(&world, arrived()).lag_seconds, None);
    assert_nothing_left(&world);
}

fn row_in_source(state: State, available_since: Option<Timestamp>) -> Row {
    let world = World::with(
        &image_key(),
        guard_testkit::image(&image_key()),
        guard_core::finding::Scan::Absent,
    );
    let key = image_key();
    let request = crate::reconcile::image::Request {
        account: key.account,
        region: key.region,
        repository: key.repository,
        image: ImageRef::Digest(key.digest),
        hints: crate::reconcile::image::Hints::default(),
        actor: "one".to_owned(),
    };
    run(crate::reconcile::image::reconcile(
        &world.writing(true),
        &policy(""),
        &request,
    ))
    .unwrap();
    Row {
        image: source_key(),
        state,
        available_since,
        ..world.row_of(&image_key()).unwrap()
    }
}

#[test]
fn a_late_copy_is_alerted_once() {
    let world = world();
    world.push_elsewhere(&source_key(), pushed(&source_key(), &["v1.2.3"], 10 + 47));
    let outcome = look(&world, arrived());
    assert_eq!(outcome.alerts, [Kind::ReplicationLate]);
    let reason = told(&world)[0]["reason"].clone();
    assert_eq!(
        reason,
        "This image arrived in us-west-2 47 minutes after its push in us-east-1. The policy grants 30."
    );
    assert_nothing_left(&world);
}

#[test]
fn a_late_copy_that_the_source_has_alerted_is_not_alerted_again() {
    let world = world();
    world.push_elsewhere(&source_key(), pushed(&source_key(), &["v1.2.3"], 10 + 47));
    let mut row = replication::ledger::ReplicationRow {
        schema: replication::ledger::ReplicationRowSchema::V1,
        repository: RepositoryKey::of(&source_key()),
        to: image_key().region,
        generation: 1,
        complete: BTreeSet::new(),
        missing: BTreeMap::new(),
        notes: Vec::new(),
    };
    row.missing.insert(image_key().digest, Missing::InProgress);
    run(world.write_replication_row(&row)).unwrap();
    let outcome = look(&world, arrived());
    assert_eq!((outcome.lag_seconds, outcome.alerts.len()), (Some(2820), 0));
    assert_nothing_left(&world);
}

/// A world in which the tag is on another image here.
fn tag_taken(by_pushed_ago: i64) -> World {
    let world = world();
    world.push(&image_key(), pushed(&image_key(), &[], 10));
    let holder = other("sha256:0d");
    world.push(&holder, pushed(&holder, &["v1.2.3"], by_pushed_ago));
    world
}

#[test]
fn a_tag_that_an_immutable_destination_kept_is_missing_until_it_leads_here() {
    let world = tag_taken(600);
    let outcome = look(&world, arrived());
    assert_eq!(outcome.state, ReplicaState::Incomplete);
    assert_eq!(outcome.missing, ["tag v1.2.3"]);
    assert_eq!(outcome.alerts, [Kind::ReplicaIncomplete]);
    let alert = told(&world).remove(0);
    assert_eq!(alert["changes"][0]["old"], "on 0d");
    let steps = alert["steps"].to_string();
    assert!(
        steps.contains("A tag that cannot be moved") && !steps.contains("missing altogether"),
        "{steps}"
    );
    assert_eq!(alert["tags"][0], "v1.2.3");
    assert_nothing_left(&world);
    // The right image got it: that is recorded without an alert.
    world.push(&image_key(), pushed(&image_key(), &["v1.2.3"], 10));
    world.push(&other("sha256:0d"), pushed(&other("sha256:0d"), &[], 600));
    assert_eq!(look(&world, None).state, ReplicaState::Complete);
    assert_eq!(world.replica_row_of(&image_key()).unwrap().notes, []);
    assert_eq!(world.sent().len(), 1);
    assert_nothing_left(&world);
}

#[test]
fn a_tag_that_has_moved_on_in_the_source_is_not_missing() {
    let world = tag_taken(5);
    world.push_elsewhere(&source_key(), pushed(&source_key(), &[], 22));
    let moved_on = ImageKey {
        region: source().region,
        ..other("sha256:0d")
    };
    world.push_elsewhere(&moved_on, pushed(&moved_on, &["v1.2.3"], 7));
    let outcome = look(&world, arrived());
    assert_eq!((outcome.state, outcome.alerts.len()), (ReplicaState::Complete, 0));
    assert_eq!(world.replica_row_of(&image_key()).unwrap().tags, []);
}

#[test]
fn where_the_source_gives_no_answer_the_newer_image_has_the_tag() {
    for (holder_pushed_ago, state) in [(5, ReplicaState::Complete), (600, ReplicaState::Incomplete)] {
        let world = tag_taken(holder_pushed_ago);
        // The first call is for the tag; the second, for the push, is refused as well.
        world.fail("ecr:DescribeImages", Fault::Before(Retry::Later));
        world.heal();
        let facts = run(gather(&world.writing(true), &policy(POLICY), &request(arrived()))).unwrap();
        let places = facts.tags.into_iter().map(|(tag, place)| {
            let in_source = Told::Refuses("AccessDenied".to_owned());
            (tag, TagPlace { in_source, ..place })
        });
        let facts = ReplicaFacts {
            tags: places.collect(),
            ..facts
        };
        let ReplicaPlan::Apply(step) = replica::decide(&policy(POLICY), &facts, now()) else {
            panic!("it is new")
        };
        assert_eq!(step.row.state, state);
    }
}

fn index() -> World {
    let world = world();
    let entry = Image {
        manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
        artifact_media_type: None,
        ..pushed(&image_key(), &["v1.2.3"], 10)
    };
    world.push(&image_key(), entry);
    world.set_manifest(
        &image_key(),
        r#"{"manifests": [{"digest": "sha256:a6"}, {"digest": "sha256:a4"}]}"#,
    );
    world.push(&other("sha256:a6"), pushed(&other("sha256:a6"), &[], 10));
    world
}

#[test]
fn an_index_is_complete_with_all_that_it_references() {
    let world = index();
    let outcome = look(&world, arrived());
    assert_eq!(outcome.state, ReplicaState::Incomplete);
    assert_eq!(outcome.missing, ["image sha256:a4 of the index"]);
    assert_nothing_left(&world);
    world.push(&other("sha256:a4"), pushed(&other("sha256:a4"), &[], 1));
    assert_eq!(look(&world, None).state, ReplicaState::Complete);
    assert_eq!(world.replica_row_of(&image_key()).unwrap().children.len(), 2);
    // An image that we have blocked cannot be read, and is no less complete for that.
    world.remember(Row {
        image: image_key(),
        ..row_in_source(State::Blocked, None)
    });
    let mut image = world.image_of(&image_key()).unwrap();
    image.status = ImageStatus::Archived;
    world.push(&image_key(), image);
    assert_eq!(look(&world, None).state, ReplicaState::Complete);
    assert_nothing_left(&world);

    let world = index();
    world.set_manifest(&image_key(), "nonsense");
    assert_eq!(look(&world, arrived()).missing, ["manifest of the index"]);

    // A refused read says as little as nonsense does, and one that failed is made again.
    let world = index();
    world.fail("ecr:BatchGetImage", Fault::Before(Retry::Later));
    let failed = run(reconcile_replica(
        &world.writing(true),
        &policy(POLICY),
        &request(arrived()),
    ));
    assert_eq!(failed.unwrap_err().code(), "CallFailed");
    world.fail("ecr:BatchGetImage", Fault::Before(Retry::Never));
    assert_eq!(look(&world, arrived()).missing, ["manifest of the index"]);
}

#[test]
fn a_failure_is_alerted_with_the_code_that_the_source_knows() {
    let failed = |code: Option<&str>| CopyState::Missing(Missing::Failed(code.map(str::to_owned)));
    let cases = [
        (
            Some(failed(Some("KmsError"))),
            "ECR did not copy this image from us-east-1 to us-west-2: KmsError.",
        ),
        (
            Some(failed(None)),
            "ECR did not copy this image from us-east-1 to us-west-2: FAILED, without a code.",
        ),
        (
            Some(CopyState::Missing(Missing::InProgress)),
            "ECR did not copy this image from us-east-1 to us-west-2: FAILED; by now it is tried again.",
        ),
        (None, "ECR did not copy this image from us-east-1 to us-west-2: FAILED."),
    ];
    for (copy, reason) in cases {
        let world = World::new();
        if let Some(copy) = copy {
            world.set_copy(&source_key(), &image_key().region, copy);
        }
        let outcome = look(&world, event(false, Some("v1.2.3")));
        assert_eq!(outcome.alerts, [Kind::ReplicationFailed]);
        let alert = told(&world).remove(0);
        assert_eq!(alert["reason"], reason);
        assert_eq!(alert["digest"], image_key().digest.as_str());
        // The alert stays sent, whichever event comes next.
        for again in [event(false, Some("v1.2.3")), None] {
            world.forget_calls();
            assert_eq!(look(&world, again).state, ReplicaState::Failed);
            assert_eq!(world.writes(), 0);
        }
        // It came after all.
        world.push(&image_key(), pushed(&image_key(), &["v1.2.3"], 1));
        world.set_copy(&source_key(), &image_key().region, CopyState::Complete);
        assert_eq!(look(&world, None).state, ReplicaState::Complete);
        assert_eq!(world.sent().len(), 1);
        assert_nothing_left(&world);
    }
}

#[test]
fn a_failure_is_alerted_even_if_the_source_refuses_the_reason() {
    let world = World::new();
    world.fail("ecr:DescribeImageReplicationStatus", Fault::Before(Retry::Never));
    look(&world, event(false, None));
    let reason = told(&world)[0]["reason"].to_string();
    assert!(
        reason.contains("the source does not say why (ecr:DescribeImageReplicationStatus failed"),
        "{reason}"
    );
    // Trouble that passes is an error: the event comes again.
    let world = World::new();
    world.fail("ecr:DescribeImageReplicationStatus", Fault::Before(Retry::Later));
    let looked = run(reconcile_replica(
        &world.writing(true),
        &policy(POLICY),
        &request(event(false, None)),
    ));
    assert_eq!(looked.unwrap_err().retry(), Retry::Later);
    assert_eq!(world.sent().len(), 0);
}

#[test]
fn what_is_gone_in_the_source_is_not_expected_here() {
    let world = World::new();
    world.set_copy(&source_key(), &image_key().region, CopyState::NoSuchImage);
    for event in [arrived(), event(false, None)] {
        assert_eq!(look(&world, event).state, ReplicaState::Gone);
    }
    assert_eq!(world.writes(), 0);
    // A copy that ECR reported as arrived, and that is not here, is missing as long as the source has it.
    let world = self::world();
    world.delete(&image_key());
    assert_eq!(look(&world, arrived()).missing, ["image"]);
    world.set_copy(&source_key(), &image_key().region, CopyState::NoSuchImage);
    assert_eq!(look(&world, None).state, ReplicaState::Gone);
    let row = world.replica_row_of(&image_key()).unwrap();
    assert!(row.notes.is_empty() && row.expires_at().is_some());
}

#[test]
fn a_crash_at_any_point_loses_nothing() {
    let steps = 60;
    for first in 0..steps {
        for second in [3, 9, 15, 21, steps] {
            let world = tag_taken(600);
            for polls in [first, second] {
                let (services, policy, request) = (world.writing(true), policy(POLICY), request(arrived()));
                let looked = reconcile_replica(&services, &policy, &request);
                let _ = run_and_crash(looked, polls);
            }
            look(&world, arrived());
            assert!(!world.sent().is_empty(), "{first}, {second}");
            assert!(world.sent().len() <= 3, "{first}, {second}");
            assert_eq!(ids(&world).len(), 1, "{first}, {second}");
            assert_nothing_left(&world);
        }
    }
}

#[test]
fn of_two_that_reconcile_at_the_same_time_one_sends_the_alert() {
    let world = tag_taken(600);
    let policy = policy(POLICY);
    let (services, one) = (world.writing(true), request(arrived()));
    let two = ReplicaRequest {
        actor: "two".to_owned(),
        ..one.clone()
    };
    let both = futures_util::future::join(
        reconcile_replica(&services, &policy, &one),
        reconcile_replica(&services, &policy, &two),
    );
    let (one, two) = run(both);
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(world.sent().len(), 1);
}

// Where they come from.

fn eu() -> Region {
    "eu-west-1".parse().unwrap()
}

fn key() -> RepositoryKey {
    RepositoryKey::of(&image_key())
}

/// The guard of the other region reconciles the repository now.
fn guarded(world: &World) {
    let there = RepositoryKey { region: eu(), ..key() };
    let policy = policy(POLICY);
    let builder = SummaryBuilder::new(&policy, &there, guard_ports::Clock::now(world));
    let summary = builder.finish(world.summary_of(&there).as_ref());
    run(SweepLedger::write_summary(world, &summary)).unwrap();
}

/// The images of the repository, by digest, tag and the minutes since their push; and how ECR says that it stands with their copies.
type Listed<'a> = &'a [(&'a str, i64, Option<CopyState>)];

fn listed(world: &World, images: Listed<'_>) -> Vec<Image> {
    guarded(world);
    let list = images.iter().map(|(digest, ago, copy)| {
        let key = other(digest);
        if let Some(copy) = copy {
            world.set_copy(&key, &eu(), copy.clone());
        }
        pushed(&key, &["v1"], *ago)
    });
    list.collect()
}

fn sweep_as(world: &World, members: &str, images: &[Image], rows: &[Row], writes: bool) -> ReplicationOutcome {
    let policy = policy(members);
    let mut expected = Expected::new(&policy, &key());
    rows.iter().for_each(|row| expected.remember(row));
    images.iter().for_each(|image| expected.see(image));
    let outcome = run_sweep(world, &policy, &expected, writes);
    assert_eq!(outcome.errors, []);
    outcome
}

fn run_sweep(world: &World, policy: &Policy, expected: &Expected<'_>, writes: bool) -> ReplicationOutcome {
    let look = CopyLook {
        turns: Turns::new(None, guard_ports::Clock::now(world)),
        until: Timestamp::MAX,
        is_rest: false,
    };
    run(reconcile_replication(
        &world.writing(writes),
        policy,
        expected,
        look,
        "sweep",
    ))
}

fn sweep(world: &World, images: &[Image]) -> ReplicationOutcome {
    sweep_as(world, POLICY, images, &[], true)
}

fn replica_row(digest: &str, region: &str, state: ReplicaState) -> ReplicaRow {
    ReplicaRow {
        schema: replication::ledger::ReplicaRowSchema::V1,
        image: ImageKey {
            region: region.parse().unwrap(),
            ..other(digest)
        },
        source: RegistryKey {
            account: image_key().account,
            region: image_key().region,
        },
        generation: 1,
        state,
        not_pullable: None,
        since: now(),
        tags: Vec::new(),
        awaited: BTreeMap::new(),
        children: Vec::new(),
        lag_seconds: None,
        notes: Vec::new(),
    }
}

#[test]
fn where_every_copy_was_seen_no_image_costs_a_call() {
    let world = World::new();
    let digests: Vec<String> = (0..500).map(|n| format!("sha256:{n:04x}")).collect();
    let images: Vec<(&str, i64, Option<CopyState>)> =
        digests.iter().map(|digest| (digest.as_str(), 100, None)).collect();
    let images = listed(&world, &images);
    for digest in &digests {
        world.remember_replica(replica_row(digest, "eu-west-1", ReplicaState::Complete));
    }
    world.forget_calls();
    let outcome = sweep(&world, &images);
    assert_eq!(outcome.readiness.len(), 1, "there is one other region");
    let readiness = &outcome.readiness[0];
    assert_eq!((readiness.expected, readiness.present), (500, 500));
    assert!(readiness.is_ready());
    let calls = world.calls();
    assert!(
        calls.iter().all(|call| call.operation.starts_with("dynamodb:")),
        "{calls:?}"
    );
    assert_eq!((calls.len(), world.writes()), (4, 0));
}

#[test]
fn what_nobody_has_seen_is_asked_for_and_alerted_once() {
    let world = World::new();
    let failed = CopyState::Missing(Missing::Failed(Some("KmsError".to_owned())));
    let images = listed(
        &world,
        &[
            ("sha256:01", 100, Some(CopyState::Complete)),
            ("sha256:02", 100, Some(CopyState::Missing(Missing::InProgress))),
            ("sha256:03", 90, None),
            ("sha256:04", 80, Some(failed)),
            ("sha256:05", 20, None),
        ],
    );
    let outcome = sweep(&world, &images);
    let expected = Readiness {
        expected: 5,
        late: 2,
        failed: 1,
        // That ECR has copied it does not mean that it is there.
        unknown: 1,
        ..Readiness::of(eu())
    };
    assert_eq!(outcome.readiness, [expected]);
    assert_eq!(outcome.alerts, [Kind::ReplicationFailed, Kind::ReplicationLate]);
    let alerts = told(&world);
    insta::assert_snapshot!(format!("{}\n{}", alerts[0]["reason"], alerts[1]["reason"]), @r#"
    "ECR gave up on copying 1 image to eu-west-1."
    "2 images should be in eu-west-1 by now, 30 minutes after the push, and ECR does not say so."
    "#);
    insta::assert_snapshot!(alerts[0]["changes"][0]["old"], @r#""not in eu-west-1, pushed on 2026-11-24 10:40 UTC; ECR gave up: KmsError""#);
    world.forget_calls();
    sweep(&world, &images);
    assert_eq!(world.writes(), 0, "told once for as long as it is the same");
    // One of them came; there is no alert. Then one more is late: there is one.
    world.remember_replica(replica_row("sha256:02", "eu-west-1", ReplicaState::Complete));
    assert_eq!(sweep(&world, &images).alerts, []);
    world.set_now(now() + minutes(20));
    let outcome = sweep(&world, &images);
    assert_eq!(outcome.alerts, [Kind::ReplicationLate]);
    assert_eq!(told(&world)[2]["changes"].as_array().unwrap().len(), 2);
    // All came.
    for digest in ["sha256:01", "sha256:03", "sha256:04", "sha256:05"] {
        world.remember_replica(replica_row(digest, "eu-west-1", ReplicaState::Complete));
    }
    let outcome = sweep(&world, &images);
    assert!(outcome.readiness[0].is_ready() && outcome.alerts.is_empty());
    let row = world.replication_row_of(&key(), &eu()).unwrap();
    assert_eq!((row.notes.len(), row.missing.len(), row.complete.len()), (0, 0, 0));
}

#[test]
fn a_limited_number_is_asked_about_in_one_reconcile_and_the_others_in_the_next_ones() {
    let world = World::new();
    let digests: Vec<String> = (0..120).map(|n| format!("sha256:{n:04x}")).collect();
    let images: Vec<(&str, i64, Option<CopyState>)> = digests
        .iter()
        .map(|digest| (digest.as_str(), 100, Some(CopyState::Complete)))
        .collect();
    let images = listed(&world, &images);
    for said in [50, 100, 120] {
        let outcome = sweep(&world, &images);
        let row = world.replication_row_of(&key(), &eu()).unwrap();
        assert_eq!((row.complete.len(), outcome.readiness[0].unknown), (said, 120));
        assert_eq!(outcome.alerts, [], "what nobody has asked about is not late");
    }
    world.forget_calls();
    sweep(&world, &images);
    assert!(!world.calls().iter().any(|call| call.operation.starts_with("ecr:")));
}

#[test]
fn only_what_can_be_pulled_is_expected_and_nothing_that_was_copied_here() {
    let world = World::new();
    let mut images = listed(
        &world,
        &[
            ("sha256:01", 100, None),
            ("sha256:02", 100, None),
            ("sha256:03", 100, None),
        ],
    );
    images[0].status = ImageStatus::Archived;
    images[1].artifact_media_type = Some("application/vnd.dev.sigstore.bundle.v0.3+json".to_owned());
    images[1].subject = Some("sha256:03".parse().unwrap());
    world.remember_replica(replica_row("sha256:03", "us-west-2", ReplicaState::Complete));
    let outcome = sweep(&world, &images);
    assert_eq!((outcome.readiness[0].expected, outcome.alerts.len()), (0, 0));
}

#[test]
fn what_an_index_references_is_seen_with_it() {
    let world = World::new();
    let images = listed(&world, &[("sha256:1d", 100, None), ("sha256:a6", 100, None)]);
    world.remember_replica(ReplicaRow {
        children: vec!["sha256:a6".parse().unwrap()],
        ..replica_row("sha256:1d", "eu-west-1", ReplicaState::Complete)
    });
    assert_eq!(sweep(&world, &images).readiness[0].present, 2);
}

#[test]
fn a_copy_that_is_not_as_protected_is_counted() {
    let world = World::new();
    let images = listed(&world, &[("sha256:01", 100, None), ("sha256:02", 100, None)]);
    for digest in ["sha256:01", "sha256:02"] {
        world.remember_replica(replica_row(digest, "eu-west-1", ReplicaState::Complete));
    }
    let row = |digest: &str, region: &str, state| Row {
        image: ImageKey {
            region: region.parse().unwrap(),
            ..other(digest)
        },
        ..row_in_source(state, None)
    };
    let blocked = row("sha256:01", "us-west-2", State::Blocked);
    let held_there = row("sha256:01", "eu-west-1", State::BlockDeferred);
    let unprotected = |rows: &[Row]| sweep_as(&world, POLICY, &images, rows, true).readiness[0].unprotected;
    assert_eq!(unprotected(&[blocked.clone(), held_there]), 1);
    let blocked_there = row("sha256:01", "eu-west-1", State::Blocked);
    assert_eq!(unprotected(&[blocked, blocked_there]), 0);
}

#[test]
fn copies_here_that_were_not_right_are_reconciled_again() {
    let world = tag_taken(600);
    look(&world, arrived());
    let images = [pushed(&image_key(), &[], 10)];
    assert_eq!(sweep(&world, &images).looked, 1);
    let images = [pushed(&image_key(), &["v1.2.3"], 10)];
    world.push(&image_key(), images[0].clone());
    world.push(&other("sha256:0d"), pushed(&other("sha256:0d"), &[], 600));
    assert_eq!(sweep(&world, &images).looked, 1);
    assert_eq!(
        world.replica_row_of(&image_key()).unwrap().state,
        ReplicaState::Complete
    );
    assert_eq!(sweep(&world, &images).looked, 0);
    // It is not on the list any more, nor in the source.
    world.delete(&image_key());
    world.set_copy(&source_key(), &image_key().region, CopyState::NoSuchImage);
    assert_eq!(sweep(&world, &[]).looked, 1);
    assert_eq!(world.replica_row_of(&image_key()).unwrap().state, ReplicaState::Gone);
    assert_eq!(sweep(&world, &[]).looked, 0);
}

#[test]
fn a_copy_of_which_the_event_was_lost_is_reconciled_with_the_tags_of_its_source() {
    let world = tag_taken(600);
    let images = [pushed(&image_key(), &[], 10)];
    let row = Row {
        tags: vec!["v1.2.3".parse().unwrap()],
        ..row_in_source(State::Allowed, Some(now() - minutes(22)))
    };
    let outcome = sweep_as(&world, POLICY, &images, std::slice::from_ref(&row), true);
    assert_eq!(
        (outcome.looked, outcome.alerts.as_slice()),
        (1, [Kind::ReplicaIncomplete].as_slice())
    );
    assert_eq!(world.replica_row_of(&image_key()).unwrap().lag_seconds, Some(720));
    world.forget_calls();
    let again = sweep_as(&world, POLICY, &images, std::slice::from_ref(&row), true);
    assert_eq!((again.looked, world.writes()), (1, 0));
    // Where no copies arrive, and for an image without a source, nothing is reconciled.
    let world = tag_taken(600);
    assert_eq!(
        sweep_as(&world, BACKFILL, &images, std::slice::from_ref(&row), true).looked,
        0
    );
    assert_eq!(sweep_as(&world, POLICY, &images, &[], true).looked, 0);
}

/// ECR copies no copies: of two regions that have the image, the one where it was pushed is the source, wherever it stands in the list.
#[test]
fn of_three_regions_the_source_is_where_the_image_was_pushed() {
    let pushed_at = |region: &str, policy: &str, rows: &[(&str, Option<&str>, i64)]| {
        let policy = self::policy(policy);
        let rows = rows.iter().map(|(region, copied_from, ago)| Row {
            image: ImageKey {
                region: region.parse().unwrap(),
                ..source_key()
            },
            source: copied_from.map(|region| guard_core::ledger::Source {
                region: region.parse().unwrap(),
                verdict: None,
                blocked: false,
                judged: false,
            }),
            ..row_in_source(State::Allowed, Some(now() - minutes(*ago)))
        });
        let rows: Vec<Row> = rows.collect();
        let mut found = BTreeSet::new();
        for turned in 0..rows.len() {
            let mut expected = Expected::new(
                &policy,
                &RepositoryKey {
                    region: region.parse().unwrap(),
                    ..key()
                },
            );
            let mut rows = rows.clone();
            rows.rotate_left(turned);
            rows.iter().for_each(|row| expected.remember(row));
            expected.see(&pushed(&image_key(), &["v1"], 10));
            found.insert(
                expected
                    .copies()
                    .map(|(_, source)| source.region.to_string())
                    .collect::<Vec<_>>(),
            );
        }
        let [found] = Vec::from_iter(found).try_into().unwrap();
        found
    };
    // The other copy is known as one, or is in a region where copies arrive, or is the younger of two such.
    for rows in [
        [("us-east-1", None, 22), ("eu-west-1", Some("us-east-1"), 12)],
        [("us-east-1", None, 22), ("eu-west-1", None, 12)],
        // The other copy came after the one here: it has hidden the source, if it was the last in the list.
        [("us-east-1", None, 22), ("eu-west-1", None, 8)],
    ] {
        assert_eq!(pushed_at("us-west-2", POLICY, &rows), ["us-east-1"], "{rows:?}");
    }
    let all = POLICY.replace(r#""us-west-2""#, r#""us-west-2", "us-east-1""#);
    for rows in [
        [("us-east-1", None, 22), ("eu-west-1", None, 12)],
        [("us-east-1", None, 22), ("eu-west-1", None, 8)],
        [("us-east-1", None, 12), ("eu-west-1", Some("us-east-1"), 22)],
    ] {
        assert_eq!(pushed_at("us-west-2", &all, &rows), ["us-east-1"], "{rows:?}");
    }
    // The one here is the oldest: it is no copy.
    let rows = [("us-east-1", None, 8), ("eu-west-1", None, 8)];
    assert!(pushed_at("us-west-2", &all, &rows).is_empty());
}

/// A sweep, where the ledger has this row of the source.
fn sweep_with_source(world: &World, image: &Image, tags: &[&str]) -> ReplicationOutcome {
    let row = Row {
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        ..row_in_source(State::Allowed, Some(now() - minutes(22)))
    };
    sweep_as(world, POLICY, std::slice::from_ref(image), &[row], true)
}

#[test]
fn a_complete_copy_that_loses_its_tag_is_incomplete_until_it_has_it_again() {
    let world = world();
    assert_eq!(look(&world, arrived()).state, ReplicaState::Complete);
    let image = pushed(&image_key(), &[], 10);
    world.push(&image_key(), image.clone());
    let outcome = sweep_with_source(&world, &image, &["v1.2.3"]);
    assert_eq!(
        (outcome.looked, outcome.alerts.as_slice()),
        (1, [Kind::ReplicaIncomplete].as_slice())
    );
    let missing = &told(&world)[0]["changes"];
    assert_eq!(
        (missing[0]["setting"].as_str(), missing[0]["old"].as_str()),
        (Some("tag v1.2.3"), Some("not there"))
    );
    world.forget_calls();
    assert_eq!(sweep_with_source(&world, &image, &["v1.2.3"]).alerts, []);
    assert_eq!(world.writes(), 0);
    let image = pushed(&image_key(), &["v1.2.3"], 10);
    world.push(&image_key(), image.clone());
    sweep_with_source(&world, &image, &["v1.2.3"]);
    let state = |world: &World| world.replica_row_of(&image_key()).unwrap().state;
    assert_eq!(state(&world), ReplicaState::Complete);
    assert_eq!(sweep_with_source(&world, &image, &["v1.2.3"]).looked, 0);
    // A tag that has moved on in the source is checked once, and expected no more.
    let image = pushed(&image_key(), &[], 10);
    world.push(&image_key(), image.clone());
    world.push_elsewhere(&source_key(), pushed(&source_key(), &[], 22));
    assert_eq!(sweep_with_source(&world, &image, &[]).looked, 1);
    assert_eq!((state(&world), world.sent().len()), (ReplicaState::Complete, 1));
    assert_eq!(sweep_with_source(&world, &image, &[]).looked, 0);
}

#[test]
fn a_tag_that_the_source_got_later_is_missing_when_its_time_is_over() {
    let world = world();
    look(&world, arrived());
    let image = pushed(&image_key(), &["v1.2.3"], 10);
    world.push_elsewhere(&source_key(), pushed(&source_key(), &["v1.2.3", "stable"], 22));
    let both = ["stable", "v1.2.3"];
    // ECR has as much time for it as for an image; when it was pushed nobody says (aws/containers-roadmap#2746).
    for minute in [0, 29] {
        world.set_now(now() + minutes(minute));
        let outcome = sweep_with_source(&world, &image, &both);
        assert_eq!((outcome.looked, outcome.alerts.len()), (1, 0), "after {minute} minutes");
        let row = world.replica_row_of(&image_key()).unwrap();
        assert_eq!((row.state, row.awaited.len()), (ReplicaState::Complete, 1));
    }
    world.set_now(now() + minutes(30));
    let outcome = sweep_with_source(&world, &image, &both);
    assert_eq!(outcome.alerts, [Kind::ReplicaIncomplete]);
    assert_eq!(told(&world)[0]["changes"][0]["setting"], "tag stable");
    let row = world.replica_row_of(&image_key()).unwrap();
    assert_eq!((row.state, row.awaited.len()), (ReplicaState::Incomplete, 0));
    world.forget_calls();
    assert_eq!(sweep_with_source(&world, &image, &both).alerts, []);
    assert_eq!(world.writes(), 0);
    // It came.
    let image = pushed(&image_key(), &both, 10);
    world.push(&image_key(), image.clone());
    sweep_with_source(&world, &image, &both);
    let row = world.replica_row_of(&image_key()).unwrap();
    assert_eq!((row.state, row.notes.len()), (ReplicaState::Complete, 0));
    assert_eq!(sweep_with_source(&world, &image, &both).looked, 0);
}

#[test]
fn a_tag_that_comes_in_time_is_no_news_and_neither_is_one_that_the_source_lost() {
    for (here, there) in [
        (&["v1.2.3", "stable"][..], &["v1.2.3", "stable"][..]),
        (&["v1.2.3"], &["v1.2.3"]),
    ] {
        let world = world();
        look(&world, arrived());
        let image = pushed(&image_key(), &["v1.2.3"], 10);
        world.push_elsewhere(&source_key(), pushed(&source_key(), &["v1.2.3", "stable"], 22));
        sweep_with_source(&world, &image, &["v1.2.3", "stable"]);
        world.set_now(now() + minutes(60));
        let image = pushed(&image_key(), here, 10);
        world.push(&image_key(), image.clone());
        world.push_elsewhere(&source_key(), pushed(&source_key(), there, 22));
        for _ in 0..2 {
            assert_eq!(sweep_with_source(&world, &image, there).alerts, []);
        }
        let row = world.replica_row_of(&image_key()).unwrap();
        assert_eq!((row.state, row.awaited.len()), (ReplicaState::Complete, 0));
        assert_eq!(sweep_with_source(&world, &image, there).looked, 0);
    }
}

#[test]
fn tags_that_a_quarantine_took_and_our_own_are_not_missing() {
    let world = world();
    look(&world, arrived());
    let mark = guard_core::marker::quarantine_tag(&image_key().digest).unwrap();
    let image = pushed(&image_key(), &[mark.as_str()], 10);
    world.push(&image_key(), image.clone());
    let source = Row {
        tags: vec!["stable".parse().unwrap(), "v1.2.3".parse().unwrap()],
        ..row_in_source(State::Allowed, Some(now() - minutes(22)))
    };
    let here = Row {
        image: image_key(),
        state: State::Blocked,
        ..source.clone()
    };
    let images = std::slice::from_ref(&image);
    assert_eq!(sweep_as(&world, POLICY, images, &[source, here], true).looked, 0);
    // The source has our tag, and the copy does not.
    let image = pushed(&image_key(), &["v1.2.3"], 10);
    world.push(&image_key(), image.clone());
    assert_eq!(sweep_with_source(&world, &image, &["v1.2.3", mark.as_str()]).looked, 0);
}

#[test]
fn a_backfill_is_begun_only_if_the_policy_says_so_and_followed_to_its_end() {
    let world = World::new();
    let images = listed(&world, &[("sha256:01", 100, None), ("sha256:02", 100, None)]);
    sweep(&world, &images);
    assert_eq!(world.number_of_backfills(), 0);
    sweep_as(&world, BACKFILL, &images, &[], false);
    assert_eq!(world.number_of_backfills(), 0, "nothing is begun in report mode");
    assert_eq!(sweep_as(&world, BACKFILL, &images, &[], true).backfills, [eu()]);
    for _ in 0..3 {
        world.set_now(world.now() + minutes(11));
        assert_eq!(sweep_as(&world, BACKFILL, &images, &[], true).backfills, []);
    }
    assert_eq!(world.number_of_backfills(), 1);
    let failure = BackfillFailure {
        repository: image_key().repository,
        digest: "sha256:02".parse().unwrap(),
        code: "ImageArchived".to_owned(),
    };
    world.end_backfills(&BackfillStatus::Complete, &[failure]);
    world.set_copy(&other("sha256:01"), &eu(), CopyState::Complete);
    world.set_now(world.now() + minutes(11));
    sweep_as(&world, BACKFILL, &images, &[], true);
    let outcome = sweep_as(&world, BACKFILL, &images, &[], true);
    // The other one was copied, ECR says; nobody has seen it there.
    assert_eq!((outcome.readiness[0].unknown, outcome.readiness[0].failed), (1, 1));
    assert_eq!(outcome.alerts, [Kind::ReplicationFailed]);
    let reason = told(&world).pop().unwrap()["reason"].to_string();
    assert!(
        reason.contains("The last backfill of 2026-11-24 12:00 UTC is complete"),
        "{reason}"
    );
    // Not again within a day, and then once more.
    assert_eq!(world.number_of_backfills(), 1);
    world.set_now(now() + SignedDuration::from_hours(25));
    assert_eq!(sweep_as(&world, BACKFILL, &images, &[], true).backfills, [eu()]);
}

#[test]
fn whatever_becomes_of_the_call_that_begins_a_backfill_one_is_begun() {
    for fault in [Fault::Before(Retry::Later), Fault::After(Retry::Later)] {
        let world = World::new();
        let images = listed(&world, &[("sha256:01", 100, None)]);
        let policy = policy(BACKFILL);
        let mut expected = Expected::new(&policy, &key());
        images.iter().for_each(|image| expected.see(image));
        world.fail("ecr:StartReplicationBackfill", fault);
        let failed = run_sweep(&world, &policy, &expected, true);
        assert_eq!(failed.errors[0].code(), "CallFailed");
        for _ in 0..3 {
            world.set_now(world.now() + minutes(11));
            sweep_as(&world, BACKFILL, &images, &[], true);
        }
        assert_eq!(world.number_of_backfills(), 1);
        let from = RegistryKey {
            account: key().account,
            region: key().region,
        };
        let row = world.backfill_row_of(&from, &eu()).unwrap();
        assert_eq!(
            (row.status, row.id.as_deref()),
            (BackfillStatus::Running, Some("backfill-1"))
        );
    }
}

#[test]
fn a_backfill_that_ecr_refuses_is_alerted_with_its_answer() {
    let world = World::new();
    let images = listed(&world, &[("sha256:01", 100, None)]);
    world.set_backfill_start(BackfillStart::Refused("no rule for eu-west-1".to_owned()));
    sweep_as(&world, BACKFILL, &images, &[], true);
    let images = [images, listed(&world, &[("sha256:02", 100, None)])].concat();
    sweep_as(&world, BACKFILL, &images, &[], true);
    let reason = told(&world).pop().unwrap()["reason"].to_string();
    assert!(reason.contains("is not begun (no rule for eu-west-1)"), "{reason}");
}

#[test]
fn a_backfill_that_we_may_not_begin_is_an_error_once_and_alerted_when_copies_are_late() {
    let world = World::new();
    let images = listed(&world, &[("sha256:01", 100, None)]);
    let policy = policy(BACKFILL);
    let mut expected = Expected::new(&policy, &key());
    images.iter().for_each(|image| expected.see(image));
    world.fail("ecr:StartReplicationBackfill", Fault::Before(Retry::Never));
    let denied = run_sweep(&world, &policy, &expected, true).errors.remove(0);
    assert_eq!(denied.code(), "CallRefused");
    assert!(
        denied
            .to_string()
            .starts_with("could not begin a backfill to `eu-west-1`"),
        "{denied}"
    );
    assert_eq!(told(&world).len(), 1, "that copies are late is told all the same");
    let images = [images, listed(&world, &[("sha256:02", 100, None)])].concat();
    sweep_as(&world, BACKFILL, &images, &[], true);
    let reason = told(&world).pop().unwrap()["reason"].to_string();
    assert!(
        reason.contains("is not begun (ecr:StartReplicationBackfill failed with"),
        "{reason}"
    );
}

fn copy_state() -> impl Strategy<Value = Option<CopyState>> {
    prop_oneof![
        Just(None),
        Just(Some(CopyState::Complete)),
        Just(Some(CopyState::NoSuchImage)),
        Just(Some(CopyState::Missing(Missing::InProgress))),
        Just(Some(CopyState::Missing(Missing::Failed(Some("Code".to_owned()))))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_ecr_says_the_figures_add_up_and_a_second_reconcile_finds_nothing_to_do(
        images in proptest::collection::vec((0..90i64, copy_state(), proptest::option::of(0..4usize)), 0..12),
    ) {
        let world = World::new();
        let digests: Vec<String> = (0..images.len()).map(|n| format!("sha256:{n:02x}")).collect();
        let of: Vec<(&str, i64, Option<CopyState>)> =
            digests.iter().zip(&images).map(|(digest, (ago, copy, _))| (digest.as_str(), *ago, copy.clone())).collect();
        let list = listed(&world, &of);
        for (digest, (_, _, state)) in digests.iter().zip(&images) {
            let states = [ReplicaState::Complete, ReplicaState::Incomplete, ReplicaState::Failed, ReplicaState::Gone];
            if let Some(state) = state {
                world.remember_replica(replica_row(digest, "eu-west-1", states[*state]));
            }
        }
        let first = sweep(&world, &list);
        let readiness = &first.readiness[0];
        let figures = readiness.present + readiness.not_ready() - readiness.unprotected;
        prop_assert!(figures <= readiness.expected, "{readiness:?}");
        prop_assert!(readiness.expected <= list.len() as u64);
        world.forget_calls();
        let second = sweep(&world, &list);
        prop_assert_eq!(&second.readiness, &first.readiness);
        prop_assert_eq!(world.writes(), 0);
    }

    #[test]
    fn whatever_happens_to_a_copy_a_second_reconcile_finds_nothing_to_do(
        events in proptest::collection::vec((any::<bool>(), any::<bool>(), copy_state(), any::<bool>(), any::<bool>()), 1..6),
    ) {
        let world = World::new();
        for (arrived, there, copy, tagged, looked) in events {
            if let Some(copy) = copy {
                world.set_copy(&source_key(), &image_key().region, copy);
            }
            if there {
                world.push(&image_key(), pushed(&image_key(), if tagged { &["v1.2.3"] } else { &[] }, 10));
            } else {
                world.delete(&image_key());
            }
            let said = event(arrived, Some("v1.2.3")).filter(|_| looked);
            look(&world, said.clone());
            world.forget_calls();
            look(&world, said);
            prop_assert_eq!(world.writes(), 0);
        }
    }
}

mod readiness;
