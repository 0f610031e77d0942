//! "Ready" means: complete, and pullable now. An unknown copy is not ready.

use super::*;
use crate::testing as sweeps;
use guard_core::{finding::Severity, ledger::Block, policy::BlockMethod, replication::ledger::NotPullable};
use guard_testkit as testing;

fn numbered(number: usize) -> ImageKey {
    other(&format!("sha256:{number:064x}"))
}

fn in_source_of(key: &ImageKey) -> ImageKey {
    ImageKey {
        region: source().region,
        ..key.clone()
    }
}

/// A copy here, with the tags that it has, and its source with the tag that it should have.
fn copied(world: &World, number: usize, tags: &[&str], tag: &str) {
    let (here, there) = (numbered(number), in_source_of(&numbered(number)));
    world.push(&here, pushed(&here, tags, 1));
    world.push_elsewhere(&there, pushed(&there, &[tag], 3));
    world.set_copy(&there, &here.region, CopyState::Complete);
}

/// Copies with the tags `v<number>` here, by the ledger's rows of their sources.
fn expect<'a>(world: &World, policy: &'a Policy, numbers: impl IntoIterator<Item = usize>) -> Expected<'a> {
    let mut expected = Expected::new(policy, &key());
    let row = row_in_source(State::Allowed, Some(now() - minutes(3)));
    for number in numbers {
        expected.remember(&Row {
            image: in_source_of(&numbered(number)),
            tags: vec![format!("v{number}").parse().unwrap()],
            ..row.clone()
        });
        if let Some(image) = world.image_of(&numbered(number)) {
            expected.see(&image);
        }
    }
    expected
}

fn look_until(world: &World, expected: &Expected<'_>, until: Timestamp, is_rest: bool) -> ReplicationOutcome {
    let look = CopyLook {
        turns: Turns::new(None, guard_ports::Clock::now(world)),
        until,
        is_rest,
    };
    let policy = policy(POLICY);
    run(reconcile_replication(
        &world.writing(true),
        &policy,
        expected,
        look,
        "sweep",
    ))
}

fn readiness(world: &World, images: &[Image]) -> Readiness {
    sweep(world, images).readiness.remove(0)
}

#[test]
fn a_deleted_copy_is_missing() {
    // Where the copy was: it arrived, and is gone. ECR's status of the replication stays COMPLETE.
    let world = world();
    look(&world, arrived());
    world.delete(&image_key());
    assert_eq!(look(&world, None).alerts, [Kind::ReplicaIncomplete]);
    let row = world.replica_row_of(&image_key()).unwrap();
    assert_eq!(
        (row.state, row.not_pullable),
        (ReplicaState::Incomplete, Some(NotPullable::Missing))
    );
    let reason = told(&world)[0]["reason"].to_string();
    assert!(reason.contains("is gone (image: not there)"), "{reason}");
    // Where it comes from.
    let world = World::new();
    let images = listed(&world, &[("sha256:01", 100, Some(CopyState::Complete))]);
    world.remember_replica(ReplicaRow {
        not_pullable: row.not_pullable,
        ..replica_row("sha256:01", "eu-west-1", row.state)
    });
    let readiness = readiness(&world, &images);
    assert_eq!(
        (
            readiness.expected,
            readiness.present,
            readiness.missing,
            readiness.is_ready()
        ),
        (1, 0, 1, false)
    );
}

#[test]
fn an_incomplete_copy_is_not_present() {
    let world = World::new();
    let images = listed(&world, &[("sha256:01", 100, Some(CopyState::Complete))]);
    world.remember_replica(replica_row("sha256:01", "eu-west-1", ReplicaState::Incomplete));
    let readiness = readiness(&world, &images);
    assert_eq!(
        (readiness.present, readiness.incomplete, readiness.is_ready()),
        (0, 1, false)
    );
}

/// Nobody pulls copies, so that a rule for what nobody pulls takes all of them. Who fails over gets 404.
#[test]
fn a_copy_in_the_archive_cannot_be_pulled_and_is_alerted() {
    let world = world();
    let archived = Image {
        status: ImageStatus::Archived,
        ..pushed(&image_key(), &["v1.2.3"], 10)
    };
    world.push(&image_key(), archived);
    let outcome = look(&world, arrived());
    assert_eq!(
        (outcome.state, outcome.missing.as_slice()),
        (ReplicaState::Incomplete, ["image".to_owned()].as_slice())
    );
    let alert = told(&world).remove(0);
    assert_eq!(alert["changes"][0]["old"], "in the archive");
    assert!(
        alert["steps"][0]["command"]
            .as_str()
            .unwrap()
            .contains("update-image-storage-class --region us-west-2"),
        "{alert}"
    );
    assert_nothing_left(&world);
    let row = world.replica_row_of(&image_key()).unwrap();
    assert_eq!(row.not_pullable, Some(NotPullable::Archived));

    let world = World::new();
    let images = listed(&world, &[("sha256:01", 100, Some(CopyState::Complete))]);
    world.remember_replica(ReplicaRow {
        not_pullable: Some(NotPullable::Archived),
        ..replica_row("sha256:01", "eu-west-1", ReplicaState::Incomplete)
    });
    let readiness = readiness(&world, &images);
    assert_eq!(
        (readiness.present, readiness.archived, readiness.is_ready()),
        (0, 1, false)
    );
}

#[test]
fn the_sweep_sees_a_copy_go_to_the_archive_and_come_back() {
    let world = world();
    look(&world, arrived());
    let image = pushed(&image_key(), &["v1.2.3"], 10);
    let row = [row_in_source(State::Allowed, Some(now() - minutes(22)))];
    let mut alerts = Vec::new();
    for (status, state) in [
        (ImageStatus::Archived, ReplicaState::Incomplete),
        (ImageStatus::Activating, ReplicaState::Incomplete),
        (ImageStatus::Active, ReplicaState::Complete),
        (ImageStatus::Activating, ReplicaState::Incomplete),
    ] {
        let image = Image {
            status,
            ..image.clone()
        };
        world.push(&image_key(), image.clone());
        alerts.extend(sweep_as(&world, POLICY, &[image], &row, true).alerts);
        assert_eq!(world.replica_row_of(&image_key()).unwrap().state, state);
    }
    assert_eq!(alerts, [Kind::ReplicaIncomplete], "what is on its way back is no news");
}

/// An index whose image is in the archive cannot be pulled on that platform.
#[test]
fn an_index_is_not_there_without_the_images_that_it_references() {
    let world = index();
    world.push(&other("sha256:a4"), pushed(&other("sha256:a4"), &[], 1));
    assert_eq!(look(&world, arrived()).state, ReplicaState::Complete);
    let archived = Image {
        status: ImageStatus::Archived,
        ..pushed(&other("sha256:a4"), &[], 1)
    };
    world.push(&other("sha256:a4"), archived.clone());
    let images = [
        world.image_of(&image_key()).unwrap(),
        world.image_of(&other("sha256:a6")).unwrap(),
        archived,
    ];
    assert_eq!(sweep(&world, &images).alerts, [Kind::ReplicaIncomplete]);
    let row = world.replica_row_of(&image_key()).unwrap();
    assert_eq!(row.not_pullable, Some(NotPullable::Archived));
    assert_eq!(row.notes[0].changes[0].setting, "image sha256:a4 of the index");
    // By a block of ours it is where it should be.
    world.remember(Row {
        image: other("sha256:a4"),
        ..row_in_source(State::Blocked, None)
    });
    assert_eq!(look(&world, None).state, ReplicaState::Complete);
}

#[test]
fn what_is_blocked_only_there_cannot_be_deployed_there() {
    let world = World::new();
    let images = listed(&world, &[("sha256:01", 100, None), ("sha256:02", 100, None)]);
    for digest in ["sha256:01", "sha256:02"] {
        world.remember_replica(replica_row(digest, "eu-west-1", ReplicaState::Complete));
    }
    let blocked_there = Row {
        image: ImageKey {
            region: eu(),
            ..other("sha256:01")
        },
        ..row_in_source(State::Blocked, None)
    };
    let readiness = sweep_as(&world, POLICY, &images, &[blocked_there], true)
        .readiness
        .remove(0);
    assert_eq!(
        (readiness.present, readiness.blocked, readiness.is_ready()),
        (1, 1, false)
    );
}

/// ECR keeps saying COMPLETE of what was deleted. Only who has looked there knows.
#[test]
fn a_copy_that_nobody_has_seen_is_unknown_and_missing_once_all_that_is_there_was_seen() {
    let world = World::new();
    let images = listed(
        &world,
        &[
            ("sha256:01", 60 * 48, Some(CopyState::Complete)),
            ("sha256:02", 60, Some(CopyState::Complete)),
        ],
    );
    let first = readiness(&world, &images);
    assert_eq!((first.unknown, first.missing, first.is_ready()), (2, 0, false));
    let there = RepositoryKey { region: eu(), ..key() };
    let policy = policy(POLICY);
    for (copies_seen, expected) in [(false, (2, 0)), (true, (1, 1))] {
        let mut builder = SummaryBuilder::new(&policy, &there, now());
        builder.copies(&[], copies_seen);
        let old = world.summary_of(&there);
        run(world.write_summary(&builder.finish(old.as_ref()))).unwrap();
        let found = readiness(&world, &images);
        assert_eq!(
            (found.unknown, found.missing),
            expected,
            "pushed today, it may have come since"
        );
    }
    // A copy that was seen there days ago says nothing about today.
    world.set_now(now() + SignedDuration::from_hours(72));
    assert_eq!(readiness(&world, &images).unknown, 2);
}

/// A copy of whatever kind is seen: a chart has a row that calls it no image.
#[test]
fn a_chart_is_a_copy_too() {
    let world = World::new();
    copied(&world, 1, &["v1"], "v1");
    let policy = policy(POLICY);
    let mut expected = Expected::new(&policy, &key());
    expected.remember(&Row {
        image: in_source_of(&numbered(1)),
        ..row_in_source(State::NotAnImage, Some(now() - minutes(3)))
    });
    expected.see(&world.image_of(&numbered(1)).unwrap());
    let outcome = look_until(&world, &expected, Timestamp::MAX, false);
    assert_eq!((outcome.looked, outcome.all_seen), (1, true));
}

#[test]
fn what_ecr_does_not_answer_is_unknown_and_hides_no_region() {
    for retry in [Retry::Never, Retry::Later] {
        for operation in ["ecr:DescribeImageReplicationStatus", "dynamodb:Query"] {
            let rules = policy(POLICY);
            let world = World::new();
            let images = listed(&world, &[("sha256:01", 600, Some(CopyState::Complete))]);
            let mut expected = Expected::new(&rules, &key());
            images.iter().for_each(|image| expected.see(image));
            world.fail(operation, Fault::Before(retry));
            let outcome = run_sweep(&world, &rules, &expected, true);
            let expected = Readiness {
                expected: 1,
                unknown: 1,
                ..Readiness::of(eu())
            };
            assert_eq!(outcome.readiness, [expected], "{operation}");
            assert_eq!(outcome.errors.len(), 1);
            assert_eq!(outcome.alerts, []);
        }
    }
}

/// From the worker's item to the summary that the digest is made of.
#[test]
fn a_region_without_an_answer_stays_in_the_summary() {
    let rules =
        policy(r#""repositories": [{"match": "*", "replication": {"regions": ["eu-west-1"], "max_lag_minutes": 30}}]"#);
    let world = World::new();
    world.list_scans();
    let key = image_key();
    world.push(&key, pushed(&key, &["v1"], 600));
    world.complete_scan(&key, testing::scan(vec![testing::finding("CVE-1", Severity::Low)]));
    let mut errors = 0;
    for _ in 0..2 {
        sweeps::enqueue(&world, &rules);
        while let [item] = world.take_items(1).as_slice() {
            world.fail("ecr:DescribeImageReplicationStatus", Fault::Before(Retry::Never));
            let (looks, failures) = sweeps::work(&world, &rules, item);
            assert_eq!(failures, [], "the next sweep looks again");
            errors += looks.handed_on.len();
        }
    }
    assert!(errors > 0, "it is told in the log and counted");
    let summary = world.summary_of(&RepositoryKey::of(&key)).unwrap();
    assert_eq!(
        (summary.readiness[0].unknown, summary.readiness[0].is_ready()),
        (1, false)
    );
}

#[test]
fn a_copy_that_cannot_be_reconciled_does_not_hide_the_others() {
    let world = World::new();
    (0..5).for_each(|number| copied(&world, number, &[&format!("v{number}")], &format!("v{number}")));
    let rules = policy(POLICY);
    let expected = expect(&world, &rules, 0..5);
    world.fail("dynamodb:PutItem", Fault::Before(Retry::Never));
    let outcome = look_until(&world, &expected, Timestamp::MAX, false);
    assert_eq!((outcome.looked, outcome.errors.len(), outcome.all_seen), (4, 1, false));
    let again = look_until(&world, &expected, Timestamp::MAX, false);
    assert_eq!((again.looked, again.errors.len(), again.all_seen), (1, 0, true));
}

/// Among many copies that stay as they are, each is reconciled once a day, and none keeps another from it.
#[test]
fn copies_that_stay_incomplete_do_not_keep_others_from_being_reconciled() {
    let world = World::new();
    (0..150).for_each(|number| copied(&world, number, &[], &format!("v{number}")));
    let rules = policy(POLICY);
    let first = look_until(&world, &expect(&world, &rules, 0..150), Timestamp::MAX, false);
    assert_eq!((first.looked, first.all_seen), (150, true));
    copied(&world, 150, &["v150"], "v150");
    let expected = expect(&world, &rules, 0..151);
    let outcome = look_until(&world, &expected, Timestamp::MAX, false);
    assert!(world.replica_row_of(&numbered(150)).is_some());
    assert!(outcome.looked < 50, "{}", outcome.looked);
    // They get their tags without an event.
    for number in 0..150 {
        copied(&world, number, &[&format!("v{number}")], &format!("v{number}"));
    }
    let expected = expect(&world, &rules, 0..151);
    for hour in 1..=24 {
        world.set_now(now() + SignedDuration::from_hours(hour));
        look_until(&world, &expected, Timestamp::MAX, false);
    }
    let is_complete =
        |number: &usize| world.replica_row_of(&numbered(*number)).unwrap().state == ReplicaState::Complete;
    assert_eq!((0..151).filter(is_complete).count(), 151);
}

/// The bound that docs/disaster-recovery.md names: all copies are reconciled by the sweep that first lists them, invocation
/// after invocation.
#[test]
fn a_repository_of_any_size_is_known_after_one_sweep() {
    let world = World::new();
    (0..1200).for_each(|number| copied(&world, number, &[&format!("v{number}")], &format!("v{number}")));
    let rules = policy(POLICY);
    let outcome = look_until(&world, &expect(&world, &rules, 0..1200), Timestamp::MAX, false);
    assert_eq!((outcome.looked, outcome.all_seen, outcome.is_cut), (1200, true, false));
    // In the source.
    let images: Vec<Image> = (0..1200)
        .map(|number| pushed(&numbered(number), &["v1"], 100))
        .collect();
    let world = World::new();
    guarded(&world);
    for image in &images {
        world.remember_replica(replica_row(image.digest.as_str(), "eu-west-1", ReplicaState::Complete));
    }
    assert!(readiness(&world, &images).is_ready());
}

#[test]
fn a_region_whose_guard_has_stopped_is_unknown() {
    let world = World::new();
    let images = listed(&world, &[("sha256:01", 100, None)]);
    world.remember_replica(replica_row("sha256:01", "eu-west-1", ReplicaState::Complete));
    assert!(readiness(&world, &images).is_ready());
    for (hours, expected) in [(24, (1, 0)), (72, (0, 1))] {
        world.set_now(now() + SignedDuration::from_hours(hours));
        let found = readiness(&world, &images);
        assert_eq!((found.present, found.unknown), expected, "after {hours} hours");
    }
    // There is no alert about late copies: nothing says that they are late.
    assert_eq!(sweep(&world, &images).alerts, []);
    guarded(&world);
    assert!(readiness(&world, &images).is_ready());
}

/// A mark that a release could not remove keeps nobody from pulling: what is archived then was archived by somebody else.
#[test]
fn what_is_left_of_a_block_does_not_make_an_archived_copy_present() {
    let world = world();
    look(&world, arrived());
    let archived = Image {
        status: ImageStatus::Archived,
        ..pushed(&image_key(), &["v1.2.3"], 10)
    };
    world.push(&image_key(), archived);
    world.remember(Row {
        image: image_key(),
        block: Some(Block {
            method: BlockMethod::QuarantineTag,
            at: now(),
            confirmed: true,
            tags: Vec::new(),
            returns: Vec::new(),
            undone_at: Some(now()),
            release_refused_at: None,
            told: false,
        }),
        ..row_in_source(State::Allowed, None)
    });
    assert_eq!(look(&world, None).state, ReplicaState::Incomplete);
}

#[test]
fn nothing_is_reconciled_when_the_time_is_over_and_the_rest_is_for_another() {
    let world = World::new();
    (0..20).for_each(|number| copied(&world, number, &[&format!("v{number}")], &format!("v{number}")));
    let rules = policy(POLICY);
    let expected = expect(&world, &rules, 0..20);
    world.forget_calls();
    let outcome = look_until(&world, &expected, now(), false);
    assert_eq!((outcome.is_cut, outcome.looked, world.calls().len()), (true, 0, 1));
    let rest = look_until(&world, &expected, Timestamp::MAX, true);
    assert_eq!((rest.is_cut, rest.looked, rest.all_seen), (false, 20, true));
}

/// A backfill copies what is months old: that is no delay, and nobody can do anything about it.
#[test]
fn a_backfill_of_old_images_is_no_flood_of_late_copies() {
    let world = World::new();
    let mut alerts = 0;
    for number in 0..200 {
        let (here, there) = (numbered(number), in_source_of(&numbered(number)));
        let tag = format!("v1.0.{number}");
        world.push(&here, pushed(&here, &[&tag], 1));
        world.push_elsewhere(&there, pushed(&there, &[&tag], 60 * 24 * 150));
        let request = ReplicaRequest {
            image: here,
            event: event(true, Some(&tag)),
            ..request(None)
        };
        let outcome = run(reconcile_replica(&world.writing(true), &policy(POLICY), &request)).unwrap();
        assert_eq!(outcome.lag_seconds, Some((60 * 24 * 150 - 1) * 60));
        alerts += outcome.alerts.len();
    }
    assert_eq!(alerts, 0);
}

#[test]
fn a_copy_is_late_if_it_was_pushed_lately_and_came_just_now_and_no_backfill_brought_it() {
    // Minutes since the arrival, and from push to arrival.
    for (arrived_ago, lag, is_told) in [
        (10, 31, true),
        (10, 30, false),
        (10, 24 * 60 + 30, true),
        (10, 24 * 60 + 31, false),
        (24 * 60, 31, true),
        (24 * 60 + 1, 31, false),
    ] {
        let world = world();
        world.push(&image_key(), pushed(&image_key(), &["v1.2.3"], arrived_ago));
        world.push_elsewhere(&source_key(), pushed(&source_key(), &["v1.2.3"], arrived_ago + lag));
        let told = !look(&world, arrived()).alerts.is_empty();
        assert_eq!(told, is_told, "{arrived_ago}, {lag}");
    }
    let backfill = POLICY.replace("\"max_lag_minutes\": 30", "\"max_lag_minutes\": 30, \"backfill\": true");
    for (begun, alerts) in [(None, 1), (Some(50), 1), (Some(2), 0)] {
        let world = world();
        world.push_elsewhere(&source_key(), pushed(&source_key(), &["v1.2.3"], 60));
        if let Some(hours) = begun {
            let row = BackfillRow {
                schema: replication::ledger::BackfillRowSchema::V1,
                from: source(),
                to: image_key().region,
                generation: 1,
                repeated: 0,
                claimed_at: now() - SignedDuration::from_hours(hours),
                claimed_by: "sweep".to_owned(),
                id: None,
                status: BackfillStatus::Complete,
                looked_at: now(),
                failure: None,
                failures: Vec::new(),
            };
            run(world.write_backfill_row(&row)).unwrap();
        }
        let looked = run(reconcile_replica(
            &world.writing(true),
            &policy(&backfill),
            &request(arrived()),
        ));
        assert_eq!(looked.unwrap().alerts.len(), alerts, "{begun:?}");
    }
}

/// The answer of a source in another account names each request.
#[test]
fn a_failed_copy_of_another_account_is_alerted_once() {
    let mut facts = ReplicaFacts::about(image_key(), source(), event(false, Some("v1")), "one");
    let mut alerts = 0;
    for number in 0..24 {
        facts.status = match number {
            // Once it gives an answer; and then not any more.
            0..12 => Told::Refuses(format!("RepositoryNotFoundException (request {number})")),
            12 => Told::Says(CopyState::Missing(Missing::Failed(Some("KmsError".to_owned())))),
            _ => Told::Refuses(format!("AccessDenied (request {number})")),
        };
        if let ReplicaPlan::Apply(step) = replica::decide(&policy(POLICY), &facts, now()) {
            alerts += step.alerts.len();
            facts.row = Some(step.completed(now()));
        }
        facts.event = None;
    }
    assert_eq!(alerts, 2, "that it failed, and why");
}

/// The days on which a backfill is begun in 40 days, if `images` gives what is missing on a day. It copies nothing.
fn backfills(images: impl Fn(i64) -> Vec<Image>, status: &BackfillStatus) -> Vec<i64> {
    let world = World::new();
    let mut days = Vec::new();
    for hour in 0..24 * 40 {
        world.set_now(now() + SignedDuration::from_hours(hour));
        let missing = images(hour / 24);
        if !sweep_as(&world, BACKFILL, &missing, &[], true).backfills.is_empty() {
            days.push(hour / 24);
        }
        let failures: Vec<BackfillFailure> = missing
            .into_iter()
            .map(|image| BackfillFailure {
                repository: image_key().repository,
                digest: image.digest,
                code: "KmsError".to_owned(),
            })
            .collect();
        world.end_backfills(status, &failures);
    }
    days
}

/// "Each image and tag counts as a replication, and is billed."
#[test]
fn what_cannot_be_copied_is_tried_again_after_waits_that_double() {
    let old = pushed(&other("sha256:01"), &["v1"], 100);
    let one = |_| vec![old.clone()];
    assert_eq!(backfills(one, &BackfillStatus::Complete), [0, 1, 3, 7, 15, 31]);
    // One that is new is not made to wait for that.
    let two = |day| {
        let new = (day >= 20).then(|| Image {
            pushed_at: Some(now() + SignedDuration::from_hours(24 * 20)),
            ..pushed(&other("sha256:02"), &["v2"], 0)
        });
        std::iter::once(old.clone()).chain(new).collect()
    };
    assert_eq!(backfills(two, &BackfillStatus::Complete), [0, 1, 3, 7, 15, 20, 36]);
    // Where most of it fails, what is new every day would fail as well.
    let many = |day| {
        vec![Image {
            pushed_at: Some(now() + SignedDuration::from_hours(24 * day - 2)),
            ..pushed(&other(&format!("sha256:{:02x}", day + 1)), &["v"], 0)
        }]
    };
    assert_eq!(backfills(many, &BackfillStatus::Failed), [0, 1, 3, 7, 15, 31]);
}
