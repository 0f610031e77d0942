//! An invocation stands at a call for longer than its lease. Another one blocks the image, and a third one releases it. Then the first one goes on.

use jiff::SignedDuration;

use super::{
    people::{on_scan, worker},
    *,
};
use guard_core::{
    finding::{Scan, Severity},
    image::ImageStatus,
};
use guard_ports::Clock as _;
use guard_testkit::{explore::Running, finding, scan};

fn look<'a>(world: &'a World, policy: &'a Policy, actor: &str) -> Running<'a> {
    on_scan(world, policy, image_key(), actor.to_owned())
}

fn clean() -> Scan {
    Scan::Complete(scan(vec![]))
}

/// How the first invocation goes on, after another one has released the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    GoesOn,
    /// The answer to its removal is lost.
    LosesTheAnswer,
    /// Its next read of the image fails.
    CannotRead,
}

#[test]
fn an_image_that_is_released_gets_back_the_tags_that_a_late_call_takes() {
    let policy = guard_testkit::policy(r#""block": {"method": "quarantine-tag"}"#);
    for end in [End::GoesOn, End::LosesTheAnswer, End::CannotRead] {
        for is_blocked_before in [false, true] {
            let (mut taken, mut lost) = (0, 0);
            for polls in 0..80 {
                let world = world(&["main", "v1"]);
                let critical = Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Critical)]));
                world.set_scan(&image_key(), critical);
                let mut context = Context::from_waker(Waker::noop());
                let mut first = look(&world, &policy, "first");
                if (0..polls).any(|_| first.as_mut().poll(&mut context).is_ready()) {
                    break;
                }
                world.set_now(world.now() + SignedDuration::from_mins(1));
                if is_blocked_before {
                    run(look(&world, &policy, "second")).unwrap();
                }
                world.set_scan(&image_key(), clean());
                run(look(&world, &policy, "third")).unwrap();
                assert!(tags_of(&world, &image_key()).starts_with(&["main".to_owned()]));
                match end {
                    End::GoesOn => {}
                    End::LosesTheAnswer => world.fail("ecr:BatchDeleteImage", Fault::After(Retry::Later)),
                    End::CannotRead => world.fail("ecr:DescribeImages", Fault::Before(Retry::Later)),
                }
                let before = world.removed().len();
                let _ = run(first);
                world.heal();
                let is_tag = |hit: &&guard_testkit::Removed| ["main", "v1"].contains(&hit.tag.as_str());
                let late = world.removed()[before..].iter().filter(is_tag).count();
                run(look(&world, &policy, "first")).unwrap();
                run(worker(&world, &policy, image_key(), "sweep".to_owned())).unwrap();
                taken += late;
                if world.image_of(&image_key()).is_none() {
                    lost += 1;
                    let alert = ("image-lost".to_owned(), image_key().digest.to_string());
                    assert!(told(&world).contains(&alert), "{end:?}, after {polls} polls");
                    continue;
                }
                let tags = tags_of(&world, &image_key());
                let has = |tag: &str| tags.iter().any(|other| other == tag);
                assert!(has("main") && has("v1"), "{end:?}, after {polls} polls: {tags:?}");
                let of_tags = told(&world)
                    .into_iter()
                    .filter(|(kind, _)| kind == Kind::TagTaken.as_str());
                assert_eq!(of_tags.count(), late, "{end:?}, after {polls} polls");
            }
            assert!(taken > 0, "{end:?}");
            // Its mark was gone with the release, and the read that puts it back fails.
            assert_eq!(lost > 0, end == End::CannotRead);
        }
    }
}

#[test]
fn an_image_that_is_released_comes_back_from_a_late_archiving() {
    let policy = guard_testkit::policy(r#""block": {"method": "archive"}"#);
    // The scanner says nothing of an image in the archive, so that an exception releases it.
    let excepting = guard_testkit::policy(
        r#""block": {"method": "archive"}, "exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-11-26"}]"#,
    );
    for is_blocked_before in [false, true] {
        for is_answered in [true, false] {
            let mut archived = 0;
            for polls in 0..80 {
                let world = world(&["main", "v1"]);
                let critical = Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Critical)]));
                world.set_scan(&image_key(), critical);
                let mut context = Context::from_waker(Waker::noop());
                let mut first = look(&world, &policy, "first");
                if (0..polls).any(|_| first.as_mut().poll(&mut context).is_ready()) {
                    break;
                }
                world.set_now(world.now() + SignedDuration::from_mins(1));
                if is_blocked_before {
                    run(look(&world, &policy, "second")).unwrap();
                }
                let status = |world: &World| world.image_of(&image_key()).unwrap().status;
                for _ in 0..2 {
                    run(look(&world, &excepting, "third")).unwrap();
                    world.finish_restore(&image_key());
                }
                if status(&world) != ImageStatus::Active {
                    continue;
                }
                if !is_answered {
                    world.fail("ecr:UpdateImageStorageClass", Fault::After(Retry::Later));
                }
                let _ = run(first);
                world.heal();
                archived += usize::from(status(&world) != ImageStatus::Active);
                let _ = run(look(&world, &excepting, "first"));
                run(worker(&world, &excepting, image_key(), "sweep".to_owned())).unwrap();
                let row = world.row_of(&image_key());
                assert_ne!(status(&world), ImageStatus::Archived, "after {polls} polls: {row:?}");
            }
            assert!(archived > 0, "{is_blocked_before} {is_answered}");
        }
    }
}

/// A person pushes a tag again right after the quarantine has taken it.
#[test]
fn a_quarantine_whose_tag_is_back_is_not_confirmed() {
    let policy = guard_testkit::policy(r#""block": {"method": "quarantine-tag"}"#);
    let mut unconfirmed = 0;
    for polls in 0..80 {
        let world = world(&["main", "v1"]);
        let critical = Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Critical)]));
        world.set_scan(&image_key(), critical);
        let mut context = Context::from_waker(Waker::noop());
        let mut first = look(&world, &policy, "first");
        if (0..polls).any(|_| first.as_mut().poll(&mut context).is_ready()) {
            break;
        }
        let quarantined = world.image_of(&image_key()).unwrap();
        let [_] = quarantined.tags.as_slice() else { continue };
        world.push(
            &image_key(),
            Image {
                tags: [quarantined.tags.clone(), tags(&["main"])].concat(),
                ..quarantined
            },
        );
        let is_confirmed = |world: &World| {
            world
                .row_of(&image_key())
                .is_some_and(|row| row.block.is_some_and(|block| block.confirmed))
        };
        match run(first) {
            Err(error) => {
                assert!(error.contains("is not as it was made"), "{error}");
                assert!(!is_confirmed(&world), "after {polls} polls");
                unconfirmed += 1;
            }
            // It had read the image before.
            Ok(()) => assert!(is_confirmed(&world), "after {polls} polls"),
        }
    }
    assert!(unconfirmed > 0);
}
