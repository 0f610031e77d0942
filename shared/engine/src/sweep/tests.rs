mod gone;
mod memory;
mod parts;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::{
    reconcile::{
        ReconcileError,
        image::{Hints, Outcome, OutcomeKind, Request, reconcile},
    },
    testing::{a_sweep, enqueue, sweep, work, work_in, work_off},
};
use guard_core::{
    finding::{Findings, NoScan, Scan, ScanMode, ScanTrigger, Severity},
    ids::{Digest, ImageKey, ImageRef, RepositoryKey, Tag},
    image::{Image, ImageStatus},
    ledger::Row,
    policy::Policy,
    repository::posture::{Encryption, ListedSettings, Repository, TagMutability},
    state::State,
    summary::RepositorySummary,
    told::ToldFindings,
    work::{MAX_HOPS, Work, WorkItem},
};
use guard_ports::{Clock as _, Retry};
use guard_testkit::{Fault, StoredRepository, World, finding, image, image_key, now, policy, policy_in, run, scan};

/// The image of a number, in a repository.
fn key_of(repository: &str, number: usize) -> ImageKey {
    ImageKey {
        repository: repository.parse().unwrap(),
        // The first characters differ: they make the tag of a quarantine.
        digest: format!("sha256:{number:012x}{:052x}", 0).parse().unwrap(),
        ..image_key()
    }
}

fn push(world: &World, key: &ImageKey, tag: &str) {
    let tagged = Image {
        tags: vec![tag.parse().unwrap()],
        pushed_at: Some(world.now() - SignedDuration::from_mins(5)),
        ..image(key)
    };
    world.push(key, tagged);
}

fn found(severity: Severity) -> Findings {
    Findings {
        completed_at: Some(now()),
        ..scan(vec![finding("CVE-2026-1", severity)])
    }
}

fn after(world: &World, hours: i64) {
    world.set_now(world.now() + SignedDuration::from_hours(hours));
}

fn operations(world: &World) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for call in world.calls() {
        *counts.entry(call.operation).or_default() += 1;
    }
    counts
}

/// A world of 30 images in 3 repositories without any event: every fifth has a CRITICAL finding.
fn silent_world() -> World {
    let world = World::new();
    world.list_scans();
    for repository in ["api", "backend", "team/c"] {
        for number in 0..10 {
            let key = key_of(repository, number);
            push(&world, &key, &format!("v{number}"));
            let severity = if number % 5 == 0 {
                Severity::Critical
            } else {
                Severity::Low
            };
            world.complete_scan(&key, found(severity));
        }
    }
    world
}

#[test]
fn a_silent_registry_is_found_in_full_and_the_next_sweep_finds_nothing() {
    let world = silent_world();
    let looks = sweep(&world, &policy(""));
    assert_eq!((looks.listed, looks.looked, looks.blocks, looks.alerts), (60, 30, 6, 6));
    assert_eq!(looks.due, [("new", 30)].into());
    world.forget_calls();
    let again = sweep(&world, &policy(""));
    assert_eq!((again.listed, again.looked, again.items), (30, 0, 0));
    assert_eq!((world.writes(), world.sent().len()), (0, 6));
    // For a repository: one call for its images, one for their rows, two for the figures.
    let calls = operations(&world);
    let expected = [
        ("dynamodb:GetItem", 6),
        ("dynamodb:Query", 3),
        ("ecr:DescribeImages", 3),
        ("ecr:DescribeRepositories", 1),
        ("sqs:SendMessage", 1),
    ];
    assert_eq!(calls, expected.into());
}

#[test]
fn a_thousand_unchanged_images_cost_one_call_to_the_registry() {
    let world = World::new();
    world.list_scans();
    for number in 0..1000 {
        let key = key_of("api", number);
        push(&world, &key, &format!("v{number}"));
        world.complete_scan(&key, found(Severity::Medium));
    }
    let looks = sweep(&world, &policy(""));
    assert_eq!((looks.looked, looks.items), (1000, 51));
    world.forget_calls();
    after(&world, 1);
    let item = a_sweep(&world).item(Work::Repository {
        repository: "api".parse().unwrap(),
        after: None,
        again: false,
        copies: false,
        listed: None,
        waited: 0,
    });
    let (looks, failures) = work(&world, &policy(""), &item);
    assert_eq!((looks.listed, looks.looked, failures), (1000, 0, vec![]));
    assert_eq!(
        operations(&world),
        [
            ("dynamodb:GetItem", 2),
            ("dynamodb:Query", 1),
            ("ecr:DescribeImages", 1)
        ]
        .into()
    );
}

#[test]
fn a_blocked_image_that_can_be_pulled_again_is_blocked_again() {
    let world = silent_world();
    sweep(&world, &policy(""));
    let key = key_of("api", 0);
    assert_eq!(world.image_of(&key).unwrap().status, ImageStatus::Archived);
    world.push_again(&key, world.now());
    let looks = sweep(&world, &policy(""));
    assert_eq!(looks.due, [("not-blocked", 1)].into());
    assert_eq!(world.image_of(&key).unwrap().status, ImageStatus::Archived);
}

#[test]
fn another_policy_evaluates_everything_anew_and_a_release_is_followed_to_its_end() {
    let world = silent_world();
    sweep(&world, &policy(""));
    let milder = policy(r#""severities": {"CRITICAL": "monitor"}"#);
    let looks = sweep(&world, &milder);
    assert_eq!(looks.due["another-policy"], 30);
    let key = key_of("backend", 5);
    assert_eq!(world.image_of(&key).unwrap().status, ImageStatus::Activating);
    assert_eq!(world.sent().len(), 6, "not released before it can be pulled");
    for repository in ["api", "backend", "team/c"] {
        for number in [0, 5] {
            world.finish_restore(&key_of(repository, number));
        }
    }
    let looks = sweep(&world, &milder);
    assert_eq!((looks.due["waiting"], looks.alerts), (6, 6));
    assert!(world.row_of(&key).unwrap().block.is_none());
    assert_eq!(sweep(&world, &milder).looked, 0);
}

#[test]
fn an_exception_that_ends_is_noticed_without_an_event() {
    let world = silent_world();
    let excepted = policy(
        r#""exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["api"], "owner": "o", "reason": "r", "expires": "2026-11-30"}]"#,
    );
    sweep(&world, &excepted);
    let key = key_of("api", 0);
    assert_eq!(world.row_of(&key).unwrap().state, State::Allowed);
    world.set_now("2026-11-30T23:00:00Z".parse().unwrap());
    assert!(!sweep(&world, &excepted).due.contains_key("exception-ended"));
    world.set_now("2026-12-01T00:00:00Z".parse().unwrap());
    let looks = sweep(&world, &excepted);
    assert_eq!(looks.due["exception-ended"], 2);
    assert_eq!(world.row_of(&key).unwrap().state, State::Blocked);
}

#[test]
fn a_scan_that_never_comes_is_alerted_once() {
    let world = World::new();
    let key = key_of("api", 1);
    push(&world, &key, "v1");
    sweep(&world, &policy(""));
    assert_eq!(world.row_of(&key).unwrap().state, State::Pending);
    after(&world, 1);
    let looks = sweep(&world, &policy(""));
    assert_eq!((looks.due.clone(), looks.alerts), ([("overdue", 2)].into(), 1));
    for _ in 0..60 {
        after(&world, 1);
        assert_eq!(sweep(&world, &policy("")).alerts, 0);
    }
    world.complete_scan(&key, found(Severity::Critical));
    for _ in 0..24 {
        after(&world, 1);
        sweep(&world, &policy(""));
    }
    assert_eq!(
        world.row_of(&key).unwrap().state,
        State::Blocked,
        "within a day, if nothing shows it"
    );
}

#[test]
fn a_repository_that_nothing_scans_by_itself_is_scanned_on_request() {
    let world = World::new();
    let key = key_of("api", 1);
    push(&world, &key, "v1");
    world.set_trigger(&key.repository, guard_core::finding::ScanTrigger::Manual);
    sweep(&world, &policy(""));
    assert!(world.calls().iter().any(|call| call.operation == "ecr:StartImageScan"));
}

#[test]
fn a_newer_result_is_noticed_where_the_list_shows_it_and_within_a_week_where_it_does_not() {
    for shows in [true, false] {
        let world = World::new();
        if shows {
            world.list_scans();
        }
        let key = key_of("api", 1);
        push(&world, &key, "v1");
        world.complete_scan(&key, found(Severity::Low));
        sweep(&world, &policy(""));
        let newer = Findings {
            completed_at: Some(now() + SignedDuration::from_hours(1)),
            ..found(Severity::High)
        };
        world.complete_scan(&key, newer);
        let sweeps = if shows { 1 } else { 7 * 24 };
        for _ in 0..sweeps {
            after(&world, 1);
            sweep(&world, &policy(""));
        }
        assert_eq!(world.row_of(&key).unwrap().state, State::Review, "{shows}");
    }
}

#[test]
fn rows_of_images_that_are_gone_are_closed_unless_the_list_was_not_read_to_its_end() {
    let world = silent_world();
    sweep(&world, &policy(""));
    let (gone, there) = (key_of("api", 3), key_of("api", 4));
    world.delete(&gone);
    // The rows are on one page, the list is on two.
    for number in 10..15 {
        push(&world, &key_of("api", number), "v1");
        world.complete_scan(&key_of("api", number), found(Severity::Low));
    }
    world.set_page_size(10);
    let in_a_hurry = Sweep {
        until: world.now(),
        ..a_sweep(&world)
    };
    let first = Work::Repository {
        repository: "api".parse().unwrap(),
        after: None,
        again: false,
        copies: false,
        listed: None,
        waited: 0,
    };
    let (looks, failures) = run(work_in(&world, &policy(""), &in_a_hurry, &first, "one"));
    assert_eq!((looks.listed, looks.looked, failures), (10, 0, vec![]));
    assert!(world.row_of(&gone).unwrap().closed_at.is_none());
    let goes_on = |item: &WorkItem| matches!(&item.work, Work::Repository { after: Some(_), .. });
    assert_eq!(world.take_items(9).iter().filter(|item| goes_on(item)).count(), 1);
    let looks = sweep(&world, &policy(""));
    assert_eq!((looks.due["gone"], looks.due["new"]), (1, 5));
    assert!(world.row_of(&gone).unwrap().closed_at.is_some());
    assert!(world.row_of(&there).unwrap().closed_at.is_none());
    assert_eq!(sweep(&world, &policy("")).looked, 0);
}

#[test]
fn a_large_repository_is_reconciled_in_parts() {
    let world = silent_world();
    world.set_page_size(3);
    let in_a_hurry = Sweep {
        until: world.now(),
        ..a_sweep(&world)
    };
    let mut parts = 0;
    let mut next = vec![in_a_hurry.item(Work::Repository {
        repository: "api".parse().unwrap(),
        after: None,
        again: false,
        copies: false,
        listed: None,
        waited: 0,
    })];
    while let Some(item) = next.pop() {
        let (_, failures) = run(work_in(&world, &policy(""), &in_a_hurry, &item.work, "one"));
        assert_eq!(failures, []);
        parts += 1;
        next = world.take_items(9);
        next.retain(|item| matches!(&item.work, Work::Repository { again: false, .. }));
    }
    assert_eq!(parts, 4);
}

#[test]
fn a_list_of_repositories_that_takes_too_long_goes_on_where_it_stopped() {
    let world = silent_world();
    world.set_page_size(1);
    let in_a_hurry = Sweep {
        until: world.now(),
        ..a_sweep(&world)
    };
    let (enqueued, _) = run(enqueue_repositories(
        &world.writing(true),
        &world,
        &in_a_hurry,
        None,
        None,
    ))
    .unwrap();
    assert_eq!((enqueued.repositories, enqueued.continued), (1, true));
    let looks = work_off(&world, &policy(""));
    assert_eq!((looks.repositories, looks.looked, looks.blocks), (2, 30, 6));
}

fn with_rules() -> Policy {
    policy(r#""repositories": [{"match": "api", "posture": {"tag_mutability": "MUTABLE"}}, {"match": "*"}]"#)
}

/// The known settings, by repository.
fn listed_of(items: Vec<WorkItem>) -> BTreeMap<String, Option<ListedSettings>> {
    let listed = items.into_iter().map(|item| match item.work {
        Work::Repository { repository, listed, .. } => (repository.to_string(), listed.map(|listed| *listed)),
        work => panic!("{work:?}"),
    });
    listed.collect()
}

#[test]
fn what_the_list_says_of_settings_goes_with_the_item_where_the_policy_asks_for_settings() {
    let world = silent_world();
    enqueue(&world, &policy(""));
    assert!(listed_of(world.take_items(9)).values().all(Option::is_none));
    assert!(!operations(&world).contains_key("ecr:DescribeRegistry"));
    // Each repository is reconciled in full once in 24 hours.
    let mut in_full = 0;
    for _ in 0..24 {
        enqueue(&world, &with_rules());
        let listed = listed_of(world.take_items(9));
        assert_eq!((listed.len(), &listed["backend"], &listed["team/c"]), (3, &None, &None));
        match &listed["api"] {
            Some(listed) => assert_eq!(
                (&listed.repository.tag_mutability, listed.trigger, listed.scan_mode),
                (&TagMutability::Mutable, ScanTrigger::Manual, ScanMode::Basic)
            ),
            None => in_full += 1,
        }
        after(&world, 1);
    }
    assert_eq!(in_full, 1);
}

#[test]
fn what_cannot_be_done_does_not_keep_the_rest_from_being_done() {
    let world = silent_world();
    world.set_page_size(1000);
    enqueue(&world, &policy(""));
    // The refused image is alerted as deferred, and is an error.
    world.refuse_to_archive(&key_of("api", 0));
    let items = world.take_items(9);
    let (looks, failures) = work(&world, &policy(""), &items[0]);
    assert_eq!((looks.looked, looks.blocks), (9, 1));
    let errors = looks.handed_on;
    assert!(
        matches!(
            errors.as_slice(),
            [SweepError::Reconcile(ReconcileError::BlockRefused { .. })]
        ),
        "{errors:?}"
    );
    assert_eq!((errors[0].code(), errors[0].is_trouble()), ("BlockRefused", false));
    // The repository was reconciled, and is not again: only that image is.
    assert_eq!(failures, []);
    let images = |item: &WorkItem| match &item.work {
        Work::Images { digests, .. } => digests.clone(),
        _ => Vec::new(),
    };
    let left: Vec<Digest> = world.take_items(9).iter().flat_map(images).collect();
    assert_eq!(left, [key_of("api", 0).digest]);
    // An item that achieves nothing comes again as it is, so that it is counted how often it failed.
    let alone = a_sweep(&world).item(Work::Images {
        repository: "api".parse().unwrap(),
        digests: left,
        indexes_read: false,
        indexes_read_at: None,
    });
    let (looks, failures) = work(&world, &policy(""), &alone);
    assert_eq!((failures.len(), looks.items, looks.handed_on.len()), (1, 0, 0));
}

#[test]
fn trouble_stops_an_item_and_nothing_is_lost_nor_done_twice() {
    for (faults, looked) in [(1, 9), (2, 8), (4, 6), (5, 0), (6, 0)] {
        let world = silent_world();
        enqueue(&world, &policy(""));
        let items = world.take_items(9);
        for _ in 0..faults {
            world.fail("ecr:DescribeImageScanFindings", Fault::Before(Retry::Later));
        }
        let (looks, failures) = work(&world, &policy(""), &items[0]);
        assert_eq!((looks.looked, failures), (looked, vec![]), "{faults}");
        assert_eq!(looks.handed_on.len(), faults.min(MAX_TROUBLE), "{:?}", looks.handed_on);
        assert!(looks.handed_on.iter().all(SweepError::is_trouble));
        assert_eq!(looks.in_trouble, faults >= MAX_TROUBLE);
        world.heal();
        // The rest is reconciled five minutes later, the repository ten.
        let mut rest = world.take_items(9);
        rest.sort_by_key(|item| matches!(item.work, Work::Repository { .. }));
        let looked_at = rest.iter().map(|item| work(&world, &policy(""), item).0.looked);
        assert_eq!(looked_at.sum::<u64>(), 10 - looked, "{faults}");
    }
}

#[test]
fn an_image_that_no_sweep_can_reconcile_has_a_record_that_is_written_once() {
    let world = World::new();
    // One that was evaluated before, and two that nobody has seen: one of them may be an attestation.
    push(&world, &key_of("api", 0), "v0");
    world.complete_scan(&key_of("api", 0), found(Severity::Low));
    sweep(&world, &policy(""));
    push(&world, &key_of("api", 1), "v1");
    world.complete_scan(&key_of("api", 1), found(Severity::Critical));
    let attestation = Image {
        tags: Vec::new(),
        pushed_at: Some(world.now() - SignedDuration::from_mins(5)),
        ..image(&key_of("api", 2))
    };
    world.push(&key_of("api", 2), attestation);
    world.set_manifest(&key_of("api", 2), ATTESTATION);
    let rows = || [0, 1, 2].map(|number| world.row_of(&key_of("api", number)));
    for hour in 1..=2 {
        after(&world, 1);
        for _ in 0..2 {
            world.fail("ecr:DescribeImageScanFindings", Fault::Before(Retry::Later));
        }
        enqueue(&world, &policy(""));
        world.forget_calls();
        let (looks, failures) = work(&world, &policy(""), &world.take_items(1)[0]);
        assert_eq!((looks.not_reached, failures.len()), (2, 0), "{looks:?}");
        let known = rows().map(|row| row.map(|row| (row.state, row.not_reached, row.generation)));
        let unseen = Some((State::Pending, true, 1));
        assert_eq!(known[1..], [unseen, unseen], "hour {hour}");
        assert_eq!(known[0].map(|(state, ..)| state), Some(State::Allowed));
        world.take_items(9);
    }
    insta::assert_snapshot!(world.row_of(&key_of("api", 1)).unwrap().reason, @"It could not be reconciled yet: ecr:DescribeImageScanFindings failed with `Injected`. Every sweep tries again.");
    after(&world, 1);
    let looks = sweep(&world, &policy(""));
    assert_eq!((looks.due["new"], looks.not_reached), (2, 0));
    let states = rows().map(|row| row.map(|row| (row.state, row.not_reached)));
    let expected = [State::Allowed, State::Blocked, State::NotAnImage];
    assert_eq!(states, expected.map(|state| Some((state, false))));
}

#[test]
fn work_that_was_put_back_too_often_stays_in_the_queue_and_says_so() {
    let world = silent_world();
    let at = |hops| Sweep {
        hops,
        until: world.now(),
        ..a_sweep(&world)
    };
    let digests = vec![key_of("api", 0).digest];
    let work = Work::Images {
        repository: "api".parse().unwrap(),
        digests,
        indexes_read: false,
        indexes_read_at: None,
    };
    let look = |sweep| run(work_in(&world, &policy(""), &sweep, &work, "one"));
    let (looks, failures) = look(at(MAX_HOPS - 1));
    assert_eq!((looks.items, failures), (1, vec![]));
    assert_eq!(world.take_items(9)[0].hops, MAX_HOPS);
    let (looks, failures) = look(at(MAX_HOPS));
    assert_eq!((looks.items, world.take_items(9).len()), (0, 0));
    assert_eq!(failures[0].code(), "TooManyHops");
}

#[test]
fn an_alert_that_was_never_sent_is_found_and_sent() {
    let world = silent_world();
    world.fail("sns:Publish", Fault::Before(Retry::Later));
    enqueue(&world, &policy(""));
    let (_, failures) = work(&world, &policy(""), &world.take_items(9)[0]);
    // One did not come through; that of the other image did.
    assert_eq!((failures.len(), world.sent().len()), (0, 1));
    // The item that was left for it is lost as well.
    world.take_items(9);
    after(&world, 1);
    let looks = sweep(&world, &policy(""));
    assert_eq!((looks.due["alert-owed"], world.sent().len()), (1, 6));
}

#[test]
fn a_block_that_was_never_confirmed_is_checked() {
    let world = silent_world();
    sweep(&world, &policy(""));
    let mut row = world.row_of(&key_of("api", 0)).unwrap();
    row.block.as_mut().unwrap().confirmed = false;
    world.remember(row);
    // Once in the sweep, and not again ten minutes later.
    assert_eq!(sweep(&world, &policy("")).due, [("not-blocked", 1)].into());
    assert!(world.row_of(&key_of("api", 0)).unwrap().block.unwrap().confirmed);
}

#[test]
fn what_others_archived_before_it_was_evaluated_is_left_alone_until_it_can_be_pulled() {
    let world = World::new();
    let key = key_of("api", 1);
    let archived = Image {
        status: ImageStatus::Archived,
        ..image(&key)
    };
    world.push(&key, archived);
    assert_eq!(sweep(&world, &policy("")).looked, 0);
    world.push_again(&key, world.now());
    assert_eq!(sweep(&world, &policy("")).due["new"], 1);
}

#[test]
fn tags_that_change_and_a_push_of_the_same_image_are_noticed() {
    let world = silent_world();
    sweep(&world, &policy(""));
    let key = key_of("api", 3);
    let mut image = world.image_of(&key).unwrap();
    image.tags.push("latest".parse().unwrap());
    world.push(&key, image);
    assert_eq!(sweep(&world, &policy("")).due, [("changed", 1)].into());
    assert_eq!(world.row_of(&key).unwrap().tags.len(), 2);
    let mut image = world.image_of(&key).unwrap();
    image.tags.reverse();
    world.push(&key, image.clone());
    assert_eq!(sweep(&world, &policy("")).looked, 0, "the order of tags means nothing");
    image.pushed_at = Some(world.now());
    world.push(&key, image);
    assert_eq!(sweep(&world, &policy("")).due, [("changed", 1)].into());
}

#[test]
fn a_scan_that_is_under_way_for_too_long_is_alerted_once() {
    let world = World::new();
    world.list_scans();
    let key = key_of("api", 1);
    push(&world, &key, "v1");
    world.set_scan(&key, Scan::InProgress);
    sweep(&world, &policy(""));
    assert_eq!(sweep(&world, &policy("")).looked, 0, "it is under way");
    after(&world, 1);
    let looks = sweep(&world, &policy(""));
    assert_eq!((looks.due, looks.alerts), ([("overdue", 1)].into(), 1));
    assert_eq!(sweep(&world, &policy("")).looked, 0);
}

#[test]
fn a_block_deferred_for_a_pull_is_made_when_the_pull_is_long_ago() {
    // A pull counts for 90 days, and for 14 where the scanner counts workloads.
    for (days, in_use_count) in [(89, None), (13, Some(0))] {
        let world = World::new();
        world.list_scans();
        let key = key_of("api", 1);
        push(&world, &key, "v1");
        let mut image = world.image_of(&key).unwrap();
        image.last_pulled_at = Some(world.now() - SignedDuration::from_hours(days * 24));
        world.push(&key, image);
        let counted = Findings {
            in_use_count,
            ..found(Severity::Critical)
        };
        world.complete_scan(&key, counted);
        sweep(&world, &policy(""));
        assert_eq!(world.row_of(&key).unwrap().state, State::BlockDeferred);
        after(&world, 25);
        let looks = sweep(&world, &policy(""));
        assert_eq!((looks.due, looks.blocks), ([("waiting", 1)].into(), 1));
    }
}

#[test]
fn an_image_that_nothing_ever_scans_is_reconciled_once_a_day() {
    let world = World::new();
    push(&world, &key_of("api", 1), "v1");
    for _ in 0..30 {
        sweep(&world, &policy(""));
        after(&world, 1);
    }
    let mut looked = 0;
    for _ in 0..48 {
        // Each look comes with a second one ten minutes later.
        looked += sweep(&world, &policy("")).due.values().sum::<u64>().div_ceil(2);
        after(&world, 1);
    }
    assert_eq!(looked, 2);
}

#[test]
fn figures_are_taken_when_what_was_due_has_been_reconciled() {
    let world = silent_world();
    sweep(&world, &policy(""));
    let image = key_of("api", 0);
    let key = RepositoryKey {
        account: image.account,
        region: image.region,
        repository: image.repository,
    };
    let summary = world.summary_of(&key).unwrap();
    assert_eq!((summary.generation, summary.images, summary.blocked.total), (1, 10, 2));
}

#[test]
fn an_index_that_waits_although_all_its_images_are_known_is_reconciled() {
    let world = World::new();
    world.list_scans();
    for number in [0, 1] {
        world.push(&key_of("api", number), entry(&world, number));
    }
    let child = key_of("api", 1);
    let manifest = format!(
        r#"{{"manifests": [{{"digest": "{}", "platform": {{"os": "linux", "architecture": "amd64"}}}}]}}"#,
        child.digest
    );
    world.set_manifest(&key_of("api", 0), &manifest);
    sweep(&world, &policy(""));
    // The image was reconciled, and the reconcile of the index that should have followed was lost.
    let mut row = world.row_of(&child).unwrap();
    row.state = State::Allowed;
    world.remember(row);
    assert_eq!(sweep(&world, &policy("")).due["family"], 1);
}

#[test]
fn settings_of_a_repository_are_reconciled_once_in_a_sweep() {
    let world = silent_world();
    let rules = policy(r#""repositories": [{"match": "*", "lifecycle": {"keep_count": 30, "tag_prefixes": ["v"]}}]"#);
    let looks = sweep(&world, &rules);
    assert_eq!(looks.listed, 60, "each repository was listed twice");
    assert_eq!(operations(&world)["ecr:ListTagsForResource"], 3);
}

/// A preview that takes minutes is read within the sweep: the settings are reconciled after one, two, four and eight minutes,
/// and not more often. Nothing else of the repository is.
#[test]
fn a_lifecycle_preview_that_is_not_there_yet_is_read_within_minutes() {
    let rules = policy(
        r#""repositories": [{"match": "*", "lifecycle": {"keep_count": 30, "tag_prefixes": ["v"], "expire_untagged_days": 7}}]"#,
    );
    for (looks_without, set, expected) in [
        (0, true, vec![]),
        (1, true, vec![60]),
        (3, true, vec![60, 120, 240]),
        (30, false, vec![60, 120, 240, 480]),
    ] {
        let world = World::new();
        let of = RepositoryKey::of(&key_of("api", 0));
        let stored = StoredRepository {
            repository: Repository {
                arn: "arn:aws:ecr:us-west-2:123456789012:repository/api".to_owned(),
                tag_mutability: TagMutability::Mutable,
                scan_on_push: true,
                encryption: Encryption {
                    kind: "AES256".to_owned(),
                    key: None,
                },
            },
            tags: BTreeMap::new(),
            policy: None,
            lifecycle: None,
        };
        world.create_repository(&of.repository, stored);
        world.slow_down_previews(&of.repository, looks_without);
        enqueue(&world, &rules);
        let listed = work_off(&world, &rules).listed;
        let waits = world.items_hidden();
        let waits: Vec<u64> = waits.iter().map(|(_, wait)| wait.as_secs()).collect();
        assert_eq!(waits, expected, "{looks_without}");
        let is_set = world.repository_of(&of.repository).unwrap().lifecycle.is_some();
        assert_eq!(is_set, set, "{looks_without}");
        assert_eq!(
            (listed, operations(&world)["ecr:DescribeImages"]),
            (0, 1),
            "{looks_without}"
        );
    }
}

#[test]
fn what_others_archived_while_it_was_pending_is_left_alone_under_any_policy() {
    let world = World::new();
    let key = key_of("api", 1);
    push(&world, &key, "v1");
    sweep(&world, &policy(""));
    let mut image = world.image_of(&key).unwrap();
    image.status = ImageStatus::Archived;
    world.push(&key, image);
    let another = policy(r#""severities": {"HIGH": "block"}"#);
    assert_eq!(sweep(&world, &another).looked, 0);
}

#[test]
fn a_block_deferred_by_the_limit_of_an_hour_is_made_in_the_next() {
    let world = silent_world();
    let limited = policy(r#""block": {"max_blocks_per_hour": 4}"#);
    assert_eq!(sweep(&world, &limited).blocks, 4);
    assert_eq!(sweep(&world, &limited).blocks, 0);
    after(&world, 1);
    let looks = sweep(&world, &limited);
    assert_eq!((looks.due["waiting"], looks.blocks), (2, 2));
}

#[test]
fn tags_of_what_is_due_are_evaluated() {
    let world = silent_world();
    let strict = policy(r#""repositories": [{"match": "api", "tags": {"forbidden": ["v3"]}}]"#);
    let looks = sweep(&world, &strict);
    assert_eq!((looks.blocks, looks.alerts), (6, 7), "six blocked, one tag");
    assert_eq!(sweep(&world, &strict).alerts, 0);
}

#[test]
fn the_time_that_is_over_leaves_the_rest_to_another_worker() {
    let world = silent_world();
    let in_a_hurry = Sweep {
        until: world.now(),
        ..a_sweep(&world)
    };
    let images = Work::Images {
        repository: "api".parse().unwrap(),
        digests: (0..10).map(|number| key_of("api", number).digest).collect(),
        indexes_read: true,
        indexes_read_at: Some(world.now()),
    };
    let (looks, failures) = run(work_in(&world, &policy(""), &in_a_hurry, &images, "one"));
    assert_eq!((looks.looked, failures), (0, vec![]));
    assert_eq!(world.take_items(9), [in_a_hurry.item(images)]);
}

#[test]
fn that_all_indexes_were_read_is_believed_for_an_hour_and_not_without_a_time() {
    let in_minutes = |minutes| Some(guard_testkit::now() - SignedDuration::from_mins(minutes));
    for (indexes_read_at, state) in [
        (in_minutes(0), State::Blocked),
        (in_minutes(59), State::Blocked),
        (in_minutes(60), State::BlockDeferred),
        (in_minutes(16 * 60), State::BlockDeferred),
        // An item of an earlier version.
        (None, State::BlockDeferred),
    ] {
        let world = World::new();
        let key = key_of("api", 0);
        let bare = Image {
            tags: Vec::new(),
            ..guard_testkit::image(&key)
        };
        world.push(&key, bare);
        world.complete_scan(&key, found(Severity::Critical));
        let item = a_sweep(&world).item(Work::Images {
            repository: "api".parse().unwrap(),
            digests: vec![key.digest.clone()],
            indexes_read: true,
            indexes_read_at,
        });
        let (_, failures) = work(&world, &policy(""), &item);
        assert_eq!(failures, []);
        assert_eq!(world.row_of(&key).unwrap().state, state, "{indexes_read_at:?}");
    }
}

#[test]
fn a_copy_follows_its_source_although_no_event_says_so() {
    let rules =
        policy(r#""repositories": [{"match": "*", "replication": {"regions": ["us-west-2"], "max_lag_minutes": 30}}]"#);
    let (world, key) = (silent_world(), key_of("api", 1));
    sweep(&world, &rules);
    let row = world.row_of(&key).unwrap();
    let source = ImageKey {
        region: "us-east-1".parse().unwrap(),
        ..key.clone()
    };
    for (state, is_blocked) in [(State::Allowed, false), (State::Blocked, true), (State::Allowed, false)] {
        world.remember(Row {
            image: source.clone(),
            state,
            block: None,
            findings: Vec::new(),
            source: None,
            ..row.clone()
        });
        let looks = sweep(&world, &rules);
        assert_eq!(looks.due.get("source"), Some(&1), "{looks:?}");
        world.finish_restore(&key);
        sweep(&world, &rules);
        let is = world.row_of(&key).unwrap();
        assert_eq!(
            (is.state == State::Blocked, is.block.is_some()),
            (is_blocked, is_blocked),
            "{is:?}"
        );
        assert_eq!(sweep(&world, &rules).looked, 0);
    }
}

#[test]
fn what_a_quarantine_did_is_not_taken_for_a_change() {
    let world = silent_world();
    let quarantine = policy(r#""block": {"method": "quarantine-tag"}"#);
    let looks = sweep(&world, &quarantine);
    assert_eq!(looks.blocks, 6, "{looks:?}");
    assert_eq!(sweep(&world, &quarantine).looked, 0);
    // Somebody gives it its tag back.
    let key = key_of("api", 0);
    let mut image = world.image_of(&key).unwrap();
    image.tags.push("v0".parse::<Tag>().unwrap());
    world.push(&key, image);
    assert_eq!(sweep(&world, &quarantine).due, [("not-blocked", 1)].into());
    assert_eq!(world.image_of(&key).unwrap().tags.len(), 1);
}

/// The events of an image, or of the world.
#[derive(Debug, Clone)]
enum Happening {
    Pushed(usize),
    PushedAgain(usize),
    Tagged(usize, usize),
    Deleted(usize),
    Scanned(usize, Scan),
    Pulled(usize),
    RestoreEnded,
    Policy(usize),
    Hours(i64),
}

/// Number 0 is an index of 1 and 2, and of the attestation 3; 4 and 5 are images of their own.
const IMAGES: usize = 6;

const POLICIES: [(&str, &str); 6] = [
    ("enforce", ""),
    ("enforce", r#""severities": {"CRITICAL": "review"}"#),
    ("report", ""),
    ("enforce", r#""block": {"when_in_use": "block"}"#),
    (
        "enforce",
        r#""exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-11-26"}]"#,
    ),
    ("enforce", r#""scan": {"on_failure": "block"}"#),
];

fn any_happening() -> impl Strategy<Value = Happening> {
    let image = 0..IMAGES;
    let any_scan = prop_oneof![
        Just(Scan::InProgress),
        Just(Scan::Unavailable(NoScan::Failed)),
        Just(Scan::Unavailable(NoScan::Unsupported)),
        (
            1..3_usize,
            prop_oneof![Just(Severity::Critical), Just(Severity::High), Just(Severity::Low)]
        )
            .prop_map(|(number, severity)| Scan::Complete(scan(vec![finding(
                &format!("CVE-2026-{number}"),
                severity
            )]))),
    ];
    prop_oneof![
        3 => image.clone().prop_map(Happening::Pushed),
        1 => image.clone().prop_map(Happening::PushedAgain),
        1 => (image.clone(), 0..3_usize).prop_map(|(image, tag)| Happening::Tagged(image, tag)),
        1 => image.clone().prop_map(Happening::Deleted),
        4 => (image.clone(), any_scan).prop_map(|(image, scan)| Happening::Scanned(image, scan)),
        1 => image.prop_map(Happening::Pulled),
        1 => Just(Happening::RestoreEnded),
        2 => (0..POLICIES.len()).prop_map(Happening::Policy),
        2 => (1..40_i64).prop_map(Happening::Hours),
    ]
}

const ATTESTATION: &str = r#"{"config": {"mediaType": "application/vnd.oci.image.config.v1+json"},
    "layers": [{"mediaType": "application/vnd.in-toto+json"}]}"#;

fn entry(world: &World, number: usize) -> Image {
    let key = key_of("api", number);
    let tags = match number {
        1..=3 => Vec::new(),
        _ => vec![format!("v{number}").parse().unwrap()],
    };
    let entry = Image {
        tags,
        pushed_at: Some(world.now()),
        ..image(&key)
    };
    match number {
        0 => Image {
            manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
            artifact_media_type: None,
            ..entry
        },
        _ => entry,
    }
}

fn happen(world: &World, happening: &Happening, rules: &mut Policy) {
    match happening {
        Happening::Pushed(number) => {
            let key = key_of("api", *number);
            if world.image_of(&key).is_none() {
                world.push(&key, entry(world, *number));
            }
        }
        Happening::PushedAgain(number) => world.push_again(&key_of("api", *number), world.now()),
        Happening::Tagged(number, tag) => {
            let key = key_of("api", *number);
            if let Some(mut image) = world.image_of(&key) {
                image.tags.push(format!("t{tag}").parse().unwrap());
                image.tags.sort();
                image.tags.dedup();
                world.push(&key, image);
            }
        }
        Happening::Deleted(number) => world.delete(&key_of("api", *number)),
        Happening::Scanned(number, scan) => {
            let key = key_of("api", *number);
            // An index is never scanned, and what is archived is not either.
            if *number != 0
                && world
                    .image_of(&key)
                    .is_some_and(|image| image.status == ImageStatus::Active)
            {
                let scan = match scan {
                    Scan::Complete(findings) => Scan::Complete(Findings {
                        completed_at: Some(world.now()),
                        ..findings.clone()
                    }),
                    other => other.clone(),
                };
                world.set_scan(&key, scan);
            }
        }
        Happening::Pulled(number) => {
            let key = key_of("api", *number);
            if let Some(mut image) = world.image_of(&key).filter(|image| image.status == ImageStatus::Active) {
                image.last_pulled_at = Some(world.now());
                world.push(&key, image);
            }
        }
        Happening::RestoreEnded => (0..IMAGES).for_each(|number| world.finish_restore(&key_of("api", number))),
        Happening::Policy(number) => *rules = policy_in(POLICIES[*number].0, POLICIES[*number].1),
        Happening::Hours(hours) => after(world, *hours),
    }
}

/// A reconcile of an image, as an event would cause it.
fn look(world: &World, rules: &Policy, number: usize) -> Outcome {
    let key = key_of("api", number);
    let request = Request {
        account: key.account,
        region: key.region,
        repository: key.repository,
        image: ImageRef::Digest(key.digest),
        hints: Hints::default(),
        actor: "an-event".to_owned(),
    };
    run(reconcile(&world.services(rules), rules, &request)).unwrap()
}

/// Whether nothing need show of a change, so that the image's turn is awaited.
fn waits_for_its_turn(row: &Row, rules: &Policy) -> bool {
    let cannot_be_undone = !rules.enforces_anywhere() && row.block.is_some();
    cannot_be_undone
        || matches!(
            row.state,
            State::BlockDeferred | State::Unscannable | State::Stale | State::Pending
        )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn without_a_single_event_a_sweep_leaves_nothing_to_find(happenings in proptest::collection::vec(any_happening(), 1..14)) {
        let world = World::new();
        world.list_scans();
        world.set_manifest(&key_of("api", 3), ATTESTATION);
        let child = |number: usize, architecture: &str| {
            format!(r#"{{"digest": "{}", "platform": {{"os": "linux", "architecture": "{architecture}"}}}}"#, key_of("api", number).digest)
        };
        world.set_manifest(&key_of("api", 0), &format!(r#"{{"manifests": [{}, {}]}}"#, child(1, "amd64"), child(2, "arm64")));
        let mut rules = policy("");
        // Something that stays, so that the repository does.
        push(&world, &key_of("api", IMAGES), "stays");
        world.complete_scan(&key_of("api", IMAGES), found(Severity::Low));
        for happening in happenings {
            world.set_now(world.now() + SignedDuration::from_mins(1));
            happen(&world, &happening, &mut rules);
            world.set_now(world.now() + SignedDuration::from_mins(1));
            let looks = sweep(&world, &rules);
            if !rules.enforces_anywhere() {
                prop_assert_eq!(looks.blocks, 0);
            }
            // The reconcile that an event would cause now has been done, for every image that is there.
            let mut waiting = 0;
            for number in 0..IMAGES {
                let row = world.row_of(&key_of("api", number));
                if row.is_some_and(|row| waits_for_its_turn(&row, &rules)) {
                    waiting += 1;
                    continue;
                }
                let outcome = look(&world, &rules, number);
                prop_assert!(
                    !matches!(outcome.outcome, OutcomeKind::Applied | OutcomeKind::Closed),
                    "{:?} after {:?}, {:?}", outcome, happening, looks
                );
            }
            // And the next sweep has nothing to do but for those.
            world.forget_calls();
            let again = sweep(&world, &rules);
            prop_assert!(again.looked <= 2 * waiting, "{:?} after {:?}", again, happening);
            if waiting == 0 {
                prop_assert_eq!(world.writes(), 0);
            }
        }
    }
}

/// Policies under which time alone changes a verdict within days: the end of a use, of an hour's limit, of the time for a scan, of an exception.
const SHORT: [&str; 4] = [
    r#""block": {"in_use_days": 1}"#,
    r#""block": {"in_use_days": 1, "max_blocks_per_hour": 1}"#,
    r#""block": {"in_use_days": 2}, "scan": {"grace_minutes": 120}"#,
    r#""exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-11-26"}]"#,
];

/// The scan of an image, and whether it was pulled. Much is to be blocked, so that limits and uses matter.
fn any_beginning() -> impl Strategy<Value = (Scan, bool)> {
    let found = |number: usize, severity| Scan::Complete(scan(vec![finding(&format!("CVE-2026-{number}"), severity)]));
    let any_scan = prop_oneof![
        4 => (1..3_usize).prop_map(move |number| found(number, Severity::Critical)),
        1 => (1..3_usize).prop_map(move |number| found(number, Severity::High)),
        1 => Just(Scan::InProgress),
        1 => Just(Scan::Unavailable(NoScan::Failed)),
    ];
    (any_scan, proptest::bool::weighted(0.3))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 96, ..ProptestConfig::default() })]

    /// When an image is reconciled next is derived from the lists (`decide/due.rs`). Until then no verdict changes by itself: whatever has
    /// happened, and however much is deferred, pending or without a scan, after a sweep a reconcile of any image finds nothing.
    #[test]
    fn no_verdict_changes_before_its_image_is_due_unless_something_happens(
        images in proptest::collection::vec(any_beginning(), IMAGES),
        happenings in proptest::collection::vec(any_happening(), 0..4),
        policy in 0..SHORT.len(),
        hours in proptest::collection::vec(1..6_i64, 24),
    ) {
        let world = World::new();
        world.list_scans();
        world.set_manifest(&key_of("api", 3), ATTESTATION);
        let mut rules = policy_in("enforce", SHORT[policy]);
        push(&world, &key_of("api", IMAGES), "stays");
        world.complete_scan(&key_of("api", IMAGES), found(Severity::Low));
        let beginnings = images.iter().enumerate().flat_map(|(number, (scan, is_pulled))| {
            let pulled = is_pulled.then_some(Happening::Pulled(number));
            [Happening::Pushed(number), Happening::Scanned(number, scan.clone())].into_iter().chain(pulled)
        });
        beginnings.for_each(|beginning| happen(&world, &beginning, &mut rules));
        for happening in happenings.iter().filter(|happening| !matches!(happening, Happening::Policy(_))) {
            world.set_now(world.now() + SignedDuration::from_mins(1));
            happen(&world, happening, &mut rules);
            sweep(&world, &rules);
        }
        // A change that neither list shows, such as a scan without a result, is known by events.
        for _ in 0..4 {
            (0..IMAGES).for_each(|number| drop(look(&world, &rules, number)));
        }
        for passed in hours {
            after(&world, passed);
            let looks = sweep(&world, &rules);
            for number in 0..IMAGES {
                let outcome = look(&world, &rules, number);
                prop_assert!(
                    !matches!(outcome.outcome, OutcomeKind::Applied | OutcomeKind::Closed),
                    "{:?} after {:?}, {:?} and {} hours, {:?}", outcome, images, happenings, passed, looks
                );
            }
        }
    }
}

const DENIED: &str = "User: arn:aws:sts::123456789012:assumed-role/ecr-guard-worker/ecr-guard-worker is not authorized to perform: \
                      inspector2:ListFindings on resource: arn:aws:inspector2:us-west-2:123456789012:/findings/list";

#[test]
fn what_is_refused_for_one_repository_says_nothing_of_the_others() {
    const FINDINGS: &str = "ecr:DescribeImageScanFindings";
    let of = "is not authorized to perform: ecr:DescribeImageScanFindings on resource: arn:aws:ecr:us-west-2:123456789012:repository/api";
    for because in [
        "with an explicit deny in a resource-based policy",
        "because no identity-based policy allows the ecr:DescribeImageScanFindings action",
    ] {
        let world = World::new();
        for number in 0..6 {
            for repository in ["api", "backend", "web"] {
                let key = key_of(repository, number);
                push(&world, &key, "v1");
                world.complete_scan(&key, found(Severity::High));
            }
        }
        let denied = format!("User: arn:aws:sts::123456789012:assumed-role/ecr-guard-worker/one {of} {because}");
        world.refuse_scans_of(&"api".parse().unwrap(), &denied);
        let asked = |world: &World| world.calls().iter().filter(|call| call.operation == FINDINGS).count();
        let states = |world: &World, repository| {
            let states = (0..6).map(|number| world.row_of(&key_of(repository, number)).unwrap().state);
            states.collect::<Vec<State>>()
        };
        sweep_in_trouble(&world, &policy(""));
        assert_eq!(states(&world, "api"), [State::Pending; 6], "{because}");
        for repository in ["backend", "web"] {
            assert_eq!(
                states(&world, repository),
                [State::Review; 6],
                "{because}: {repository}"
            );
        }
        // Each of the two reconciles of the repository asked for one of its images; all of the others were asked for.
        assert_eq!(asked(&world), 14, "{because}");
        // A day later it is alerted again: a permission for other images does not end it.
        for (hours, number) in [(0, 1), (24, 1)] {
            after(&world, hours);
            sweep_in_trouble(&world, &policy(""));
            let told = told_of_registry(&world);
            assert_eq!(told.len(), number, "{because}, after {hours} hours: {told:?}");
        }
        let row = world.registry_row_of(&guard_testkit::registry_key()).unwrap();
        assert_eq!(row.refused.len(), 1, "{because}");
        assert!(
            row.refused[0].first.iter().all(|image| image.starts_with("api@")),
            "{because}"
        );
    }
}

#[test]
fn what_is_met_hours_into_a_long_sweep_is_alerted_when_the_next_one_begins() {
    let world = World::new();
    push(&world, &key_of("api", 1), "v1");
    world.refuse("ecr:DescribeImageScanFindings", DENIED);
    enqueue(&world, &policy(""));
    after(&world, 5);
    while let [item] = world.take_items(1).as_slice() {
        work(&world, &policy(""), item);
    }
    after(&world, 1);
    assert_eq!(told_of_registry(&world).len(), 1);
}

#[test]
fn blocks_are_counted_as_the_limit_counts_them() {
    let world = World::new();
    world.list_scans();
    for number in 0..3 {
        world.push(&key_of("api", number), entry(&world, number));
    }
    let listed = [1, 2].map(|number| {
        format!(
            r#"{{"digest": "{}", "platform": {{"os": "linux", "architecture": "a{number}"}}}}"#,
            key_of("api", number).digest
        )
    });
    world.set_manifest(
        &key_of("api", 0),
        &format!(r#"{{"manifests": [{}]}}"#, listed.join(",")),
    );
    for number in [1, 2] {
        world.complete_scan(&key_of("api", number), found(Severity::Critical));
    }
    after(&world, 1);
    let looks = sweep(&world, &policy(""));
    let archived = (0..3).filter(|n| world.image_of(&key_of("api", *n)).unwrap().status == ImageStatus::Archived);
    assert_eq!(
        (archived.count(), looks.blocks),
        (3, 1),
        "an index and its two images are one block"
    );
    world.push_again(&key_of("api", 1), world.now());
    after(&world, 1);
    let looks = sweep(&world, &policy(""));
    assert_eq!(world.image_of(&key_of("api", 1)).unwrap().status, ImageStatus::Archived);
    assert_eq!(looks.blocks, 0, "what comes back was counted");
}

/// A sweep in which calls may fail; how many failed.
fn sweep_in_trouble(world: &World, policy: &Policy) -> (Looks, Failures) {
    enqueue(world, policy);
    let (mut looks, mut failures) = (Looks::default(), Failures::new());
    while let [item] = world.take_items(1).as_slice() {
        let (more, failed) = work(world, policy, item);
        looks.add(&more);
        failures.extend(failed);
    }
    (looks, failures)
}

/// The alerts of the function `sweep` about the registry.
fn told_of_registry(world: &World) -> Vec<serde_json::Value> {
    let before = world.sent().len();
    let key = guard_testkit::registry_key();
    run(crate::reconcile::registry::reconcile_registry(
        &world.writing(true),
        world,
        &policy(""),
        &key,
        "me",
    ))
    .unwrap();
    let sent = world.sent().split_off(before);
    sent.iter()
        .map(|sent| serde_json::from_str(&sent.message.default).unwrap())
        .collect()
}

#[test]
fn findings_that_may_not_be_read_are_asked_for_once_and_alerted_once_a_day() {
    const FINDINGS: &str = "ecr:DescribeImageScanFindings";
    let world = World::new();
    let keys: Vec<ImageKey> = (0..40).map(|n| key_of(["api", "web"][n % 2], n)).collect();
    for key in &keys {
        push(&world, key, "v1");
        world.complete_scan(key, found(Severity::High));
    }
    world.refuse(FINDINGS, DENIED);
    let asked = |world: &World| world.calls().iter().filter(|call| call.operation == FINDINGS).count();

    // One image is asked for; all of them have a record.
    let (looks, failures) = sweep_in_trouble(&world, &policy(""));
    assert_eq!((asked(&world), failures.len()), (1, 1), "{failures:?}");
    assert_eq!(failures[0].code(), "CallRefused");
    for key in &keys {
        let row = world.row_of(key).unwrap();
        assert_eq!(row.state, State::Pending);
        assert_eq!(
            row.reason,
            "Its findings may not be read: inspector2:ListFindings is missing."
        );
        assert_eq!(row.generation, 1);
    }
    assert!(looks.unreadable >= 40, "{looks:?}");
    assert_eq!(world.sent().len(), 0, "no image has an alert of its own");

    // Records are written once; each sweep asks for one image again.
    after(&world, 1);
    world.forget_calls();
    assert_eq!(sweep_in_trouble(&world, &policy("")).1.len(), 1);
    assert_eq!(asked(&world), 1);
    assert!(keys.iter().all(|key| world.row_of(key).unwrap().generation == 1));

    // It is alerted once, and again every day while it lasts.
    for (hours, number) in [(0, 1), (1, 0), (23, 1), (1, 0)] {
        after(&world, hours);
        sweep_in_trouble(&world, &policy(""));
        let told = told_of_registry(&world);
        assert_eq!(told.len(), number, "after {hours} hours: {told:?}");
        for alert in told {
            assert_eq!(alert["kind"], "access-missing");
            let reason = alert["reason"].as_str().unwrap();
            assert!(
                reason.contains("ecr-guard-worker may not call inspector2:ListFindings"),
                "{reason}"
            );
            assert!(reason.contains(" images wait. The first: "), "{reason}");
            let statement = r#"{"Effect": "Allow", "Action": ["inspector2:ListCoverage", "inspector2:ListFindings"], "Resource": "*"}"#;
            assert!(
                alert["steps"][0]["text"].as_str().unwrap().contains(statement),
                "{alert}"
            );
        }
    }

    // Nothing of it is left when it is over.
    world.permit(FINDINGS);
    for _ in 0..24 {
        after(&world, 1);
        sweep(&world, &policy(""));
    }
    assert!(keys.iter().all(|key| world.row_of(key).unwrap().state == State::Review));
    let row = world.registry_row_of(&guard_testkit::registry_key()).unwrap();
    assert_eq!(row.refused, []);
    assert_eq!(told_of_registry(&world).len(), 0);
}

/// A world in which the scanner's answers cannot be had, for as long as `hours` sweeps.
fn fail_in_sweeps(world: &World, hours: usize) -> Vec<usize> {
    let told = |hour: usize| {
        after(world, i64::from(hour > 0));
        let told = told_of_registry(world).len();
        for _ in 0..200 {
            world.fail("ecr:DescribeImageScanFindings", Fault::Before(Retry::Later));
        }
        enqueue(world, &policy(""));
        for item in world.take_items(9) {
            work(world, &policy(""), &item);
        }
        world.heal();
        world.take_items(99);
        told
    };
    (0..hours).map(told).collect()
}

#[test]
fn calls_that_fail_in_two_sweeps_in_a_row_are_alerted_once_a_day_and_end_in_silence() {
    let world = silent_world();
    // One sweep alone is no news.
    assert_eq!(fail_in_sweeps(&world, 1), [0]);
    after(&world, 1);
    sweep(&world, &policy(""));
    after(&world, 1);
    assert_eq!(told_of_registry(&world).len(), 0);
    let row = |world: &World| world.registry_row_of(&guard_testkit::registry_key()).unwrap();
    let world = silent_world();
    assert_eq!(fail_in_sweeps(&world, 2), [0, 0]);
    assert!(row(&world).notes.is_empty());
    after(&world, 1);
    let told = told_of_registry(&world);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["kind"], "calls-failing");
    let reason = told[0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("ecr:DescribeImageScanFindings has failed with Injected in sweeps since 2026-11-24 12:00 UTC")
            && reason.contains(" images wait. The first: api@sha256:"),
        "{reason}"
    );
    // Every day once, as long as it lasts.
    let told: usize = fail_in_sweeps(&world, 48).into_iter().sum();
    assert_eq!(told, 2);
    // Over: there is no alert, and only the record of today's alert is left.
    sweep(&world, &policy(""));
    after(&world, 3);
    assert_eq!(told_of_registry(&world).len(), 0);
    assert_eq!((row(&world).failing.len(), row(&world).notes.len()), (0, 0));
    after(&world, 24);
    assert_eq!(told_of_registry(&world).len(), 0);
    assert!(row(&world).notes_of_failing.is_empty());
}

const MAY_NOT: &str =
    "User: arn:aws:sts::123456789012:assumed-role/ecr-guard-worker/ecr-guard-worker is not authorized to perform: ";

/// A method was left, and the role with it what releases by that method need: each gives back what it can.
#[test]
fn a_release_that_may_not_be_done_is_alerted_once_a_day_and_is_no_error() {
    const EXCEPTED: &str = r#""exceptions": [{"vulnerability": "*", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-11-30"}]"#;
    for (method, operation, state, tags, released) in [
        ("archive", "ecr:UpdateImageStorageClass", State::Blocked, vec!["v1"], 0),
        ("quarantine-tag", "ecr:PutImage", State::Blocked, vec!["mark"], 0),
        (
            "quarantine-tag",
            "ecr:BatchDeleteImage",
            State::Allowed,
            vec!["mark", "v1"],
            2,
        ),
    ] {
        let world = World::new();
        world.list_scans();
        let keys = [0, 1].map(|n| key_of(["api", "web"][n], n));
        for key in &keys {
            push(&world, key, "v1");
            world.complete_scan(key, found(Severity::Critical));
        }
        sweep(&world, &policy(&format!(r#""block": {{"method": "{method}"}}"#)));
        world.refuse(operation, &format!("{MAY_NOT}{operation}"));
        let excepted = policy(&format!(r#""block": {{"method": "flag"}}, {EXCEPTED}"#));
        let kinds = |world: &World| -> Vec<String> {
            let sent = world.sent();
            let kind = |message: &str| serde_json::from_str::<serde_json::Value>(message).unwrap()["kind"].to_string();
            sent.iter().map(|sent| kind(&sent.message.default)).collect()
        };
        let mut told = Vec::new();
        for hour in 0..5 {
            after(&world, 1);
            let (_, failures) = sweep_in_trouble(&world, &excepted);
            assert_eq!(
                failures,
                vec![],
                "{operation}, hour {hour}: no error, and so no loop of errors"
            );
            told.extend(told_of_registry(&world));
        }
        for key in &keys {
            let (image, row) = (world.image_of(key).unwrap(), world.row_of(key).unwrap());
            let mut has: Vec<&str> = image.tags.iter().map(Tag::as_str).collect();
            has.iter_mut()
                .filter(|tag| tag.starts_with("blocked-"))
                .for_each(|tag| *tag = "mark");
            has.sort_unstable();
            assert_eq!((row.state, has), (state, tags.clone()), "{operation}: {}", row.reason);
            let says = row.reason.contains("is not: the registry refused") || row.reason.contains("is missing");
            assert!(says && row.reason.contains(operation), "{}", row.reason);
        }
        let alerts = kinds(&world);
        let number = |kind: &str| alerts.iter().filter(|found| found.contains(kind)).count();
        assert_eq!(number("image-released"), released, "{operation}: {alerts:?}");
        assert_eq!(told.len(), 1, "{operation}: {told:?}");
        assert_eq!(told[0]["kind"], "access-missing");
        let reason = told[0]["reason"].as_str().unwrap();
        assert!(reason.contains("2 images wait. The first: api@sha256:0000"), "{reason}");
        let step = told[0]["steps"][0]["text"].as_str().unwrap();
        let statement = format!(
            r#"{{"Effect": "Allow", "Action": ["{operation}"], "Resource": "arn:aws:ecr:us-west-2:123456789012:repository/*"}}"#
        );
        assert!(step.contains(&statement), "{step}");
        assert!(
            step.contains(&format!("Name `{method}` in `block.keep_release_of`")),
            "{step}"
        );

        // Once it is permitted, it is done, and nothing is alerted twice.
        world.permit(operation);
        for _ in 0..3 {
            after(&world, 1);
            sweep(&world, &excepted);
            assert_eq!(told_of_registry(&world).len(), 0);
            keys.iter().for_each(|key| world.finish_restore(key));
        }
        for key in &keys {
            let (image, row) = (world.image_of(key).unwrap(), world.row_of(key).unwrap());
            let tags: Vec<&str> = image.tags.iter().map(Tag::as_str).collect();
            assert_eq!((image.status, tags), (ImageStatus::Active, vec!["v1"]), "{operation}");
            assert_eq!((row.state, row.block), (State::Allowed, None), "{operation}");
            assert!(
                !row.reason.contains("refused") && !row.reason.contains("missing"),
                "{}",
                row.reason
            );
        }
        let alerts = kinds(&world);
        assert_eq!(alerts.iter().filter(|kind| kind.contains("image-released")).count(), 2);
    }
}

/// A sweep, with what went wrong in it; how many items there were.
fn sweep_with_failures(world: &World, policy: &Policy) -> (Looks, Failures, usize) {
    enqueue(world, policy);
    let (mut looks, mut failures, mut items) = (Looks::default(), Failures::new(), 0);
    while let [item] = world.take_items(1).as_slice() {
        items += 1;
        assert!(items < 100, "it goes on for ever");
        let (more, failed) = work(world, policy, item);
        looks.add(&more);
        failures.extend(failed);
    }
    (looks, failures, items)
}

fn repository_of(repository: &str) -> RepositoryKey {
    RepositoryKey::of(&key_of(repository, 0))
}

/// A row that exists and cannot be read is not "no row": the image may be one that we blocked. It is named and counted, it
/// costs no further items, and everything else is reconciled.
#[test]
fn an_image_whose_row_cannot_be_read_is_counted_and_left_alone() {
    let world = silent_world();
    let policy = policy("");
    let (_, failures, items) = sweep_with_failures(&world, &policy);
    assert_eq!(failures, []);
    // In the one repository a blocked image, in the other one that is allowed.
    let spoiled = [key_of("api", 0), key_of("backend", 1)];
    let before: Vec<_> = spoiled
        .iter()
        .map(|key| (world.row_of(key), world.image_of(key)))
        .collect();
    for key in &spoiled {
        world.spoil(guard_testkit::keys_of(key));
        // There is something new to find out.
        world.complete_scan(key, found(Severity::Critical));
    }
    push(&world, &key_of("api", 77), "new");
    world.complete_scan(&key_of("api", 77), found(Severity::Critical));
    after(&world, 1);
    world.forget_calls();
    let sent = world.sent().len();
    let (looks, failures, again) = sweep_with_failures(&world, &policy);
    assert_eq!(failures, [], "what cannot succeed is not tried again");
    assert!(again <= items, "{again} items");
    assert_eq!((looks.looked, looks.blocks), (1, 1), "{looks:?}");
    // Named by the key of the row: in the list, and in the look.
    for key in &spoiled {
        let sort_key = Row::sort_key(key);
        let named: Vec<_> = looks.handed_on.iter().map(ToString::to_string).collect();
        assert!(named.iter().any(|error| error.contains(&sort_key)), "{named:?}");
    }
    assert!(looks.handed_on.iter().all(|error| error.code() == "CallRefused"));
    // They were not changed, and no alert says that they are in order.
    let now: Vec<_> = spoiled
        .iter()
        .map(|key| (world.row_of(key), world.image_of(key)))
        .collect();
    assert_eq!(now, before);
    assert_eq!(world.sent().len(), sent + 1, "only of the new image");
    for (repository, known) in [("api", 10), ("backend", 9)] {
        let summary = world.summary_of(&repository_of(repository)).unwrap();
        let counted: u64 = summary.states.values().sum();
        assert_eq!((summary.unreadable, counted), (1, known), "{repository}");
    }
    assert_eq!(world.summary_of(&repository_of("team/c")).unwrap().unreadable, 0);
}

/// The children of the index are not known: none of them is blocked for want of an index.
#[test]
fn an_index_whose_row_cannot_be_read_may_reference_any_image() {
    let world = World::new();
    world.list_scans();
    let (index, child) = (key_of("api", 0), key_of("api", 1));
    world.push(&index, entry(&world, 0));
    let manifest = format!(
        r#"{{"manifests": [{{"digest": "{}", "platform": {{"os": "linux", "architecture": "amd64"}}}}]}}"#,
        child.digest
    );
    world.set_manifest(&index, &manifest);
    let policy = policy("");
    sweep(&world, &policy);
    world.spoil(guard_testkit::keys_of(&index));
    let untagged = Image {
        tags: Vec::new(),
        pushed_at: Some(world.now() - SignedDuration::from_hours(1)),
        ..image(&child)
    };
    world.push(&child, untagged);
    world.complete_scan(&child, found(Severity::Critical));
    for _ in 0..3 {
        after(&world, 1);
        let (_, failures, _) = sweep_with_failures(&world, &policy);
        assert_eq!(failures, []);
    }
    assert_eq!(world.image_of(&child).unwrap().status, ImageStatus::Active);
    let archived = world.calls().iter().filter(|call| call.mutates).count();
    assert_eq!(archived, 0, "{:?}", world.calls());
}

#[test]
fn a_repository_that_there_never_was_leaves_nothing_behind() {
    let (world, policy) = (World::new(), policy(""));
    let sweep = a_sweep(&world);
    let names = vec![repository_of("misspelled").repository];
    run(enqueue_these(&world, &sweep, names)).unwrap();
    work_off(&world, &policy);
    assert_eq!(world.summary_of(&repository_of("misspelled")), None);
}

#[test]
fn a_record_of_earlier_alerts_that_cannot_be_read_is_named_and_costs_no_alert() {
    let (world, policy) = (World::new(), policy(""));
    world.list_scans();
    let (key, of) = (key_of("api", 0), repository_of("api"));
    push(&world, &key, "one");
    world.complete_scan(&key, found(Severity::High));
    world.spoil((of.partition_key(), ToldFindings::sort_key(&of)));
    let (looks, failures, _) = sweep_with_failures(&world, &policy);
    assert_eq!((failures, looks.alerts, world.sent().len()), (Vec::new(), 1, 1));
    let named: Vec<_> = looks.handed_on.iter().map(ToString::to_string).collect();
    assert!(
        named.iter().any(|error| error.contains(&ToldFindings::sort_key(&of))),
        "{named:?}"
    );
    let (looks, failures, _) = sweep_with_failures(&world, &policy);
    assert_eq!((failures, looks.alerts, world.sent().len()), (Vec::new(), 0, 1));
}

/// Other unreadable rows of a repository or of the registry end no sweep either.
#[test]
fn rows_of_the_repository_and_the_registry_that_cannot_be_read_end_no_sweep() {
    let registry = guard_testkit::registry_key();
    let key = repository_of("api");
    let summary = (
        RepositorySummary::partition_key(&key),
        RepositorySummary::sort_key(&key),
    );
    for (spoiled, names) in [
        ((registry.partition_key(), registry.sort_key()), registry.sort_key()),
        ((key.partition_key(), key.sort_key()), key.sort_key()),
        (summary.clone(), summary.1),
    ] {
        let world = silent_world();
        let rules = policy(r#""repositories": [{"match": "*", "posture": {"encryption": "KMS"}}]"#);
        world.spoil(spoiled);
        let (looks, failures, items) = sweep_with_failures(&world, &rules);
        assert_eq!(failures, [], "{names}");
        assert_eq!((looks.looked, looks.blocks), (30, 6), "{names}");
        let named = looks
            .handed_on
            .iter()
            .filter(|error| error.to_string().contains(&names));
        assert!(named.count() > 0, "{names}: {:?}", looks.handed_on);
        assert!(items <= 9, "{names}: {items} items");
        let summary = world.summary_of(&key);
        if !names.starts_with("registry") {
            // Nobody writes over it, and the digest says that nothing is known of the repository.
            assert_eq!(summary, None, "{names}");
        }
    }
}
