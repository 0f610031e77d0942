//! The result of a reconcile that is not made: its state, the rule that keeps an image from being blocked, and whether a result is still to show.

use super::*;
use guard_core::{
    decide::Judgement,
    finding::{Findings, ScanMode},
    gate::What,
};

/// Nothing is excused because it runs already.
const PLAIN: &str = r#""block": {"not_worse_than_running": false}"#;

fn child() -> ImageKey {
    key("sha256:c0")
}

fn push(world: &World, key: &ImageKey) {
    let entry = Image {
        tags: Vec::new(),
        pushed_at: Some(now() - SignedDuration::from_mins(2)),
        ..image(key)
    };
    world.push(key, entry);
}

fn push_index(world: &World, index: &ImageKey, children: &[ImageKey], pulled: Option<Timestamp>) {
    let entry = Image {
        tags: vec![format!("v-{}", index.digest.short()).parse().unwrap()],
        pushed_at: Some(now() - SignedDuration::from_mins(2)),
        last_pulled_at: pulled,
        manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
        artifact_media_type: None,
        ..image(index)
    };
    world.push(index, entry);
    let entries = children.iter().map(|key| {
        format!(
            r#"{{"digest": "{}", "platform": {{"os": "linux", "architecture": "amd64"}}}}"#,
            key.digest
        )
    });
    let entries: Vec<String> = entries.collect();
    world.set_manifest(index, &format!(r#"{{"manifests": [{}]}}"#, entries.join(",")));
}

fn of(key: &ImageKey) -> Request {
    Request {
        image: ImageRef::Digest(key.digest.clone()),
        ..request("one")
    }
}

#[track_caller]
fn previewed(world: &World, policy: &Policy, key: &ImageKey) -> What {
    world.forget_calls();
    let seen = run(preview(&world.writing(false), policy, &of(key))).unwrap().unwrap();
    assert_eq!((&seen.key, world.writes()), (key, 0));
    seen.what
}

#[track_caller]
fn judged(world: &World, policy: &Policy, key: &ImageKey) -> Judgement {
    match previewed(world, policy, key) {
        What::Image(judgement) => *judgement,
        what => panic!("{what:?}"),
    }
}

/// The scan is over, and nothing of it shows.
fn not_visible() -> Scan {
    Scan::Complete(Findings {
        mode: ScanMode::Enhanced,
        completed_at: None,
        has_result: false,
        ..scan(vec![])
    })
}

#[test]
fn a_result_that_does_not_show_yet_is_said_of_the_image_and_of_its_index() {
    let policy = policy(PLAIN);
    let children = [key("sha256:c0"), key("sha256:c1"), key("sha256:c2")];
    let index = key("sha256:1d");
    for unseen in [None, Some(0), Some(1), Some(2)] {
        let world = World::new();
        for (place, child) in children.iter().enumerate() {
            push(&world, child);
            let is_unseen = unseen == Some(place);
            world.set_scan(child, if is_unseen { not_visible() } else { clean() });
        }
        push_index(&world, &index, &children, None);
        for (place, child) in children.iter().enumerate() {
            let judgement = judged(&world, &policy, child);
            assert_eq!(judgement.not_visible, unseen == Some(place), "{unseen:?}, {child}");
        }
        let judgement = judged(&world, &policy, &index);
        let state = if unseen.is_some() {
            State::Pending
        } else {
            State::Allowed
        };
        assert_eq!(
            (judgement.not_visible, judgement.row.state),
            (unseen.is_some(), state),
            "{unseen:?}"
        );
    }
}

#[test]
fn what_is_not_there_has_no_preview_and_what_cannot_be_read_is_an_error() {
    let policy = policy(PLAIN);
    let world = world(clean());
    assert_eq!(run(preview(&world.writing(false), &policy, &of(&child()))), Ok(None));
    let untagged = Request {
        image: ImageRef::Tag("v9".parse().unwrap()),
        ..request("one")
    };
    assert_eq!(run(preview(&world.writing(false), &policy, &untagged)), Ok(None));
    world.fail("ecr:DescribeImageScanFindings", Fault::Before(Retry::Later));
    let error = run(preview(&world.writing(false), &policy, &of(&image_key()))).unwrap_err();
    assert_eq!(error.code(), "CallFailed");
    let judgement = judged(&world, &policy, &image_key());
    assert_eq!((judgement.row.state, judgement.hold), (State::Allowed, None));
}

/// A critical image under two indexes, each in use or not, that were allowed before.
fn under_two(policy: &Policy, used: [bool; 2]) -> World {
    let world = World::new();
    push(&world, &child());
    world.set_scan(&child(), clean());
    for (digest, is_used) in ["sha256:1d", "sha256:2d"].into_iter().zip(used) {
        let pulled = is_used.then(|| now() - SignedDuration::from_hours(1));
        push_index(&world, &key(digest), &[child()], pulled);
        run(look(&world, policy, &of(&key(digest)))).unwrap();
    }
    world.set_scan(&child(), critical());
    world
}

#[test]
fn an_image_is_held_by_what_holds_each_of_its_indexes() {
    let policy = policy(PLAIN);
    for (used, hold) in [
        ([true, true], Some("in-use")),
        ([true, false], None),
        ([false, true], None),
        ([false, false], None),
    ] {
        let world = under_two(&policy, used);
        let row = world.row_of(&child()).unwrap();
        assert_eq!(row.indexes.len(), 2);
        let judgement = judged(&world, &policy, &child());
        assert_eq!(
            (judgement.row.state, judgement.hold),
            (State::BlockDeferred, hold),
            "{used:?}"
        );
        for (digest, is_used) in ["sha256:1d", "sha256:2d"].into_iter().zip(used) {
            let judgement = judged(&world, &policy, &key(digest));
            let expected = if is_used {
                (State::BlockDeferred, Some("in-use"))
            } else {
                (State::Blocked, None)
            };
            assert_eq!((judgement.row.state, judgement.hold), expected, "{used:?}, {digest}");
        }
    }
}

/// The limit of the hour says nothing for an index, and so nothing for its images.
#[test]
fn a_hold_that_does_not_speak_for_an_index_does_not_speak_for_its_image() {
    let policy = policy(PLAIN);
    let world = under_two(&policy, [false, false]);
    for digest in ["sha256:1d", "sha256:2d"] {
        let row = world.row_of(&key(digest)).unwrap();
        let limited_until = Some(now() + SignedDuration::from_mins(30));
        world.remember(Row { limited_until, ..row });
        let judgement = judged(&world, &policy, &key(digest));
        assert_eq!(judgement.row.state, State::BlockDeferred);
        assert!(
            judgement.hold.is_some_and(|hold| hold != "in-use"),
            "{:?}",
            judgement.hold
        );
    }
    let judgement = judged(&world, &policy, &child());
    assert_eq!((judgement.row.state, judgement.hold), (State::BlockDeferred, None));
}

#[test]
fn an_entry_that_is_no_image_does_not_count_in_the_preview_of_its_index() {
    let policy = policy(PLAIN);
    let (attestation, index) = (key("sha256:a7"), key("sha256:1d"));
    let world = World::new();
    for entry in [child(), attestation.clone()] {
        push(&world, &entry);
    }
    world.set_scan(&child(), clean());
    world.set_manifest(&attestation, ATTESTATION);
    push_index(&world, &index, &[child(), attestation.clone()], None);
    assert_eq!(previewed(&world, &policy, &attestation), What::NotAnImage);
    let before = judged(&world, &policy, &index);
    assert_eq!(before.row.state, State::Allowed);
    run(look(&world, &policy, &of(&index))).unwrap();
    assert_eq!(judged(&world, &policy, &index).row.state, State::Allowed);
    // It was deleted, and is back.
    world.delete(&attestation);
    run(look(&world, &policy, &of(&attestation))).unwrap();
    assert!(world.row_of(&attestation).unwrap().closed_at.is_some());
    push(&world, &attestation);
    assert_eq!(previewed(&world, &policy, &attestation), What::NotAnImage);
    assert_eq!(judged(&world, &policy, &index).row.state, State::Allowed);
}
