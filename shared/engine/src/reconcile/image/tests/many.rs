//! Many indexes that reference one image, as nightly builds make them.

use super::*;
use crate::testing::sweep;
use guard_core::ledger::MAX_INDEXES;

const GENEROUS: &str = r#""block": {"max_blocks_per_hour": 1000, "not_worse_than_running": false}"#;
const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn child() -> ImageKey {
    key("sha256:c0")
}

/// The indexes, the oldest first.
fn index(number: usize) -> ImageKey {
    key(&format!("sha256:{number:05}d"))
}

fn request_of(key: &ImageKey) -> Request {
    Request {
        image: ImageRef::Digest(key.digest.clone()),
        ..request("one")
    }
}

#[track_caller]
fn settle(world: &World, policy: &Policy, key: &ImageKey) -> Outcome {
    run(look(world, policy, &request_of(key))).unwrap()
}

fn state(world: &World, key: &ImageKey) -> State {
    world.row_of(key).unwrap().state
}

fn is_archived(world: &World, key: &ImageKey) -> bool {
    world.image_of(key).unwrap().status == ImageStatus::Archived
}

fn push_index(world: &World, number: usize, tags: &[String]) {
    let key = index(number);
    let minutes = SignedDuration::from_mins(i64::try_from(number).unwrap());
    let entry = Image {
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        pushed_at: Some(now() - SignedDuration::from_hours(24) + minutes),
        manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
        artifact_media_type: None,
        ..image(&key)
    };
    world.push(&key, entry);
    let manifest = format!(
        r#"{{"manifests": [{{"digest": "{}", "platform": {{"os": "linux", "architecture": "amd64"}}}}]}}"#,
        child().digest
    );
    world.set_manifest(&key, &manifest);
}

/// A clean image with this number of indexes, each of which was reconciled when it was pushed.
fn world(indexes: usize, policy: &Policy) -> World {
    let world = World::new();
    let entry = Image {
        tags: Vec::new(),
        pushed_at: Some(now() - SignedDuration::from_hours(24)),
        ..image(&child())
    };
    world.push(&child(), entry);
    world.complete_scan(&child(), scan(vec![]));
    for number in 1..=indexes {
        push_index(&world, number, &[format!("v{number}")]);
        settle(&world, policy, &index(number));
    }
    world
}

fn becomes_critical(world: &World) {
    world.complete_scan(&child(), scan(vec![finding("CVE-2026-1", Severity::Critical)]));
}

fn pull(world: &World, key: &ImageKey) {
    let mut used = world.image_of(key).unwrap();
    used.last_pulled_at = Some(now());
    world.push(key, used);
}

#[test]
fn an_image_stays_as_long_as_one_of_its_indexes_is_not_blocked_however_many_there_are() {
    for indexes in [20, 21, 60] {
        let policy = policy(GENEROUS);
        let world = world(indexes, &policy);
        // Whether ECR records the pull for the index, the image or both is not documented.
        pull(&world, &index(1));
        becomes_critical(&world);
        settle(&world, &policy, &child());
        assert!(!is_archived(&world, &child()), "{indexes}");
        for hour in 1..=3 {
            world.set_now(now() + HOUR * hour);
            sweep(&world, &policy);
            assert!(!is_archived(&world, &child()), "{indexes}, hour {hour}");
        }
        assert_eq!(state(&world, &index(1)), State::BlockDeferred, "{indexes}");
        assert_eq!(told(&world).iter().filter(|kind| *kind == "block-deferred").count(), 1);
        let blocked = (2..=indexes).filter(|number| is_archived(&world, &index(*number)));
        assert_eq!(blocked.count(), indexes - 1, "each of the others is blocked");
        world.forget_calls();
        world.set_now(now() + HOUR * 4);
        sweep(&world, &policy);
        assert_eq!(looks(&world), 0, "{indexes}: nothing is left to do");
    }
}

/// The number of images that were reconciled.
fn looks(world: &World) -> usize {
    let calls = world.calls();
    let looks = calls
        .iter()
        .filter(|call| call.operation == "ecr:DescribeImageScanFindings");
    looks.count()
}

#[test]
fn an_image_follows_the_last_of_many_indexes_and_comes_back_with_them() {
    let indexes = 12;
    let policy = policy(GENEROUS);
    let world = world(indexes, &policy);
    becomes_critical(&world);
    settle(&world, &policy, &child());
    assert!(
        is_archived(&world, &index(indexes)),
        "the newest one is blocked at once"
    );
    assert!(!is_archived(&world, &child()));
    sweep(&world, &policy);
    world.set_now(now() + HOUR);
    sweep(&world, &policy);
    let left = (1..=indexes).filter(|number| !is_archived(&world, &index(*number)));
    assert_eq!((left.count(), is_archived(&world, &child())), (0, true));
    world.forget_calls();
    world.set_now(now() + HOUR * 2);
    sweep(&world, &policy);
    assert_eq!(looks(&world), 0, "nobody is looked at again");
}

#[test]
fn a_second_reconcile_of_many_indexes_of_one_image_writes_nothing() {
    let policy = policy(GENEROUS);
    let world = world(60, &policy);
    world.forget_calls();
    for number in 1..=60 {
        settle(&world, &policy, &index(number));
    }
    settle(&world, &policy, &child());
    assert_eq!(world.writes(), 0);
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are for the reader of the output")]
fn an_event_of_an_image_under_500_indexes_costs_little() {
    let policy = policy("");
    let world = world(500, &policy);
    let cost = |case: &str, key: &ImageKey| {
        world.forget_calls();
        settle(&world, &policy, key);
        let (calls, round_trips) = (world.calls().len(), longest_chain(&world));
        println!("{case}: {calls} calls, {round_trips} round trips");
        assert!(
            calls <= 40 && round_trips <= 12,
            "{case}: {calls} calls, {round_trips} round trips"
        );
    };
    cost("nothing changed", &child());
    becomes_critical(&world);
    cost("it becomes critical", &child());
    assert!(is_archived(&world, &index(500)));
    cost("and again", &child());
    push_index(&world, 501, &["v501".to_owned()]);
    cost("another index", &index(501));
    pull(&world, &index(499));
    push_index(&world, 499, &[]);
    cost("an index that lost its tag", &index(499));
    world.delete(&index(3));
    cost("an index that is gone", &index(3));
    cost("the image after that", &child());
}

#[test]
fn an_index_that_is_gone_or_superseded_is_not_reconciled_with_its_image() {
    let policy = policy(GENEROUS);
    let world = world(5, &policy);
    for number in 1..=4 {
        push_index(&world, number, &[]);
        settle(&world, &policy, &index(number));
    }
    world.forget_calls();
    settle(&world, &policy, &child());
    assert_eq!(looks(&world), 2, "the image, and the index that has a tag");
    world.delete(&index(5));
    settle(&world, &policy, &index(5));
    world.forget_calls();
    settle(&world, &policy, &child());
    assert_eq!(looks(&world), 5, "without one that has a tag, all that are there");
    // An image that must change is reconciled all the same.
    push_index(&world, 6, &["v6".to_owned()]);
    settle(&world, &policy, &index(6));
    becomes_critical(&world);
    settle(&world, &policy, &child());
    // Without a tag they may be part of another one, which the sweep knows.
    sweep(&world, &policy);
    assert!(
        [1, 2, 3, 4, 6]
            .iter()
            .all(|number| is_archived(&world, &index(*number)))
    );
    assert!(is_archived(&world, &child()));
}

#[test]
fn indexes_beyond_those_that_are_remembered_count_as_one_that_is_not_blocked() {
    let policy = policy(GENEROUS);
    let world = world(2, &policy);
    let row = world.row_of(&child()).unwrap();
    let many = (1..=MAX_INDEXES).map(|number| index(number).digest);
    world.remember(Row {
        indexes: many.collect(),
        ..row
    });
    let another = MAX_INDEXES + 1;
    push_index(&world, another, &["another".to_owned()]);
    settle(&world, &policy, &index(another));
    let row = world.row_of(&child()).unwrap();
    assert_eq!((row.indexes.len(), row.more_indexes), (MAX_INDEXES, true));
    assert_eq!(row.indexes[0], index(1).digest, "none is forgotten");
    world.forget_calls();
    settle(&world, &policy, &index(another));
    assert_eq!(world.writes(), 0);
    // Even if all that are known are gone or blocked.
    world.remember(Row {
        indexes: vec![index(1).digest],
        generation: row.generation,
        ..row
    });
    becomes_critical(&world);
    settle(&world, &policy, &child());
    assert!(is_archived(&world, &index(1)));
    assert_eq!(
        (state(&world, &child()), is_archived(&world, &child())),
        (State::BlockDeferred, false)
    );
    let text = serde_json::to_string(&world.row_of(&child()).unwrap()).unwrap();
    assert!(text.contains(r#""more_indexes":true"#), "{text}");
}

#[test]
fn when_no_more_indexes_are_there_than_are_remembered_a_sweep_says_so() {
    let policy = policy(GENEROUS);
    let world = world(3, &policy);
    let row = world.row_of(&child()).unwrap();
    // It had more than that once, and remembers one of those that are left.
    world.remember(Row {
        indexes: vec![index(1).digest],
        more_indexes: true,
        ..row
    });
    becomes_critical(&world);
    settle(&world, &policy, &child());
    assert_eq!(
        (state(&world, &child()), is_archived(&world, &child())),
        (State::BlockDeferred, false)
    );
    // The statement of a sweep about indexes is not enough: too many were pushed since then for all to be read.
    for number in 5..=16 {
        push_index(&world, number, &[]);
    }
    let by_sweep = Request {
        hints: Hints {
            indexes_read: true,
            found: true,
            ..Hints::default()
        },
        ..request_of(&child())
    };
    run(look(&world, &policy, &by_sweep)).unwrap();
    let row = world.row_of(&child()).unwrap();
    assert_eq!((row.more_indexes, is_archived(&world, &child())), (true, false));
    for number in 5..=16 {
        world.delete(&index(number));
    }
    // One of them cannot be read: nothing is said before it can.
    push_index(&world, 4, &[]);
    world.set_manifest(&index(4), "?");
    world.set_now(now() + HOUR);
    sweep(&world, &policy);
    assert!(world.row_of(&child()).unwrap().more_indexes);
    world.delete(&index(4));
    for hour in 2..=4 {
        world.set_now(now() + HOUR * hour);
        sweep(&world, &policy);
    }
    let row = world.row_of(&child()).unwrap();
    let expected: Vec<_> = (1..=3).map(|number| index(number).digest).collect();
    assert_eq!((row.indexes, row.more_indexes), (expected, false));
    assert!((1..=3).all(|number| is_archived(&world, &index(number))));
    assert!(is_archived(&world, &child()));
    world.forget_calls();
    world.set_now(now() + HOUR * 5);
    assert_eq!(sweep(&world, &policy).looked, 0);
    assert_eq!(world.writes(), 0);
}
