mod explore;
mod late;
mod lost;
pub(crate) mod people;

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::*;
use guard_core::{marker::untagged_mark, notice::RepositoryAlertKind as Kind};
use guard_testkit::{Fault, Parts, World, image, image_key, run};

fn policy() -> Policy {
    guard_testkit::policy("")
}

fn removal<'a>(services: &'a Parts<'a>, policy: &'a Policy) -> TagRemoval<'a, Parts<'a>> {
    TagRemoval {
        services,
        writer: services.world,
        policy,
    }
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn tags(texts: &[&str]) -> Vec<Tag> {
    texts.iter().map(|text| tag(text)).collect()
}

fn mark() -> Tag {
    untagged_mark(&image_key().digest).unwrap()
}

fn other() -> ImageKey {
    ImageKey {
        digest: format!("sha256:{}", "cd".repeat(32)).parse().unwrap(),
        ..image_key()
    }
}

fn world(of_image: &[&str]) -> World {
    let world = World::new();
    push(&world, &image_key(), of_image);
    world
}

/// Pushes an image with these tags, which move from whatever image has them.
fn push(world: &World, key: &ImageKey, texts: &[&str]) {
    let given = tags(texts);
    for holder in [image_key(), other()] {
        if let Some(mut image) = world.image_of(&holder) {
            image.tags.retain(|tag| !given.contains(tag));
            world.push(&holder, image);
        }
    }
    world.push(
        key,
        Image {
            tags: given,
            ..image(key)
        },
    );
}

fn tags_of(world: &World, key: &ImageKey) -> Vec<String> {
    let mut tags: Vec<String> = match world.image_of(key) {
        Some(image) => image.tags.iter().map(ToString::to_string).collect(),
        None => return vec!["deleted".to_owned()],
    };
    tags.sort();
    tags
}

fn told(world: &World) -> Vec<(String, String)> {
    let sent = world.sent();
    let documents = sent
        .iter()
        .map(|sent| serde_json::from_str::<serde_json::Value>(&sent.message.default).unwrap());
    documents
        .map(|document| {
            let text = |member: &str| document[member].as_str().unwrap_or_default().to_owned();
            (text("kind"), text("digest"))
        })
        .collect()
}

/// Runs a future; after `polls`, somebody acts. The result says whether it came to that.
fn interrupted<F: Future>(future: F, polls: usize, act: impl FnOnce()) -> (F::Output, bool) {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return (output, false);
        }
    }
    act();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return (output, true);
        }
    }
}

/// Both digests begin with the same 12 characters.
#[test]
fn a_mark_that_another_image_has_stays_with_it_and_nothing_is_removed() {
    let policy = policy();
    let world = world(&["main"]);
    let twin = ImageKey {
        digest: format!("sha256:ab12ab12ab12{}", "0".repeat(52)).parse().unwrap(),
        ..image_key()
    };
    let mark = mark();
    assert_eq!(untagged_mark(&twin.digest).as_ref(), Some(&mark));
    world.push(
        &twin,
        Image {
            tags: vec![mark.clone()],
            ..image(&twin)
        },
    );
    world.forget_calls();
    let services = world.writing(true);
    let taken = run(removal(&services, &policy).take(&image_key(), &tags(&["main"]), &mark, Claims::Write("one")));
    let error = taken.unwrap_err();
    assert_eq!(
        (error.retry, error.code.as_str()),
        (Retry::Never, "ImageTagAlreadyExists")
    );
    assert!(error.message.contains(twin.digest.as_str()), "{error}");
    assert_eq!(tags_of(&world, &image_key()), ["main"]);
    assert_eq!(tags_of(&world, &twin), [mark.to_string()]);
    let changes = world
        .calls()
        .iter()
        .filter(|call| call.mutates && call.operation.starts_with("ecr:"))
        .count();
    assert_eq!(changes, 0);
    // The row of the tag says nothing of a removal any more.
    let row = run(world.tag_row(&RepositoryKey::of(&image_key()), &tag("main"))).unwrap();
    assert!(row.is_some_and(|row| row.removal.is_none()));
}

#[test]
fn the_mark_is_there_first_whatever_other_tags_there_are() {
    let policy = policy();
    for (before, after) in [
        (vec!["main"], vec!["quarantine-ab12ab12ab12"]),
        (vec!["main", "v1"], vec!["quarantine-ab12ab12ab12", "v1"]),
        (vec!["main", "quarantine-ab12ab12ab12"], vec!["quarantine-ab12ab12ab12"]),
    ] {
        let world = world(&before);
        let taken = run(removal(&world.writing(true), &policy).take(
            &image_key(),
            &tags(&["main"]),
            &mark(),
            Claims::Write("one"),
        ))
        .unwrap();
        assert_eq!(tags_of(&world, &image_key()), after);
        assert_eq!(taken.image, world.image_of(&image_key()));
        assert_eq!((taken.refused, taken.unanswered, taken.damage), (None, vec![], vec![]));
        let calls: Vec<&str> = world
            .calls()
            .iter()
            .filter(|call| call.mutates)
            .map(|call| call.operation)
            .collect();
        let marked = before.len() == 2 && before[1].starts_with("quarantine-");
        let expected: &[&str] = if marked {
            &["ecr:BatchDeleteImage"]
        } else {
            &["ecr:PutImage", "ecr:BatchDeleteImage"]
        };
        assert_eq!(calls, expected);
        let row = run(world.tag_row(&RepositoryKey::of(&image_key()), &tag("main")))
            .unwrap()
            .unwrap();
        assert_eq!((row.removal, row.generation), (None, 2), "the answer is there");
        let of_ledger = |operation| world.calls().iter().filter(|call| call.operation == operation).count();
        assert_eq!(
            (of_ledger("dynamodb:GetItem"), of_ledger("dynamodb:PutItem")),
            (2, 2),
            "one read is this test's"
        );
        assert!(told(&world).is_empty());
    }
}

/// A person takes our mark between any two calls.
#[test]
fn a_mark_that_somebody_takes_away_is_there_again_before_the_tags_go() {
    let policy = policy();
    let mut put_again = 0;
    for polls in 0.. {
        let world = world(&["main", "v1"]);
        let (key, main, mark) = (image_key(), tags(&["main"]), mark());
        let services = world.writing(true);
        let one = removal(&services, &policy);
        let act = || drop(world.untag(&RepositoryKey::of(&key).repository, &mark));
        let (taken, interrupted) = interrupted(one.take(&key, &main, &mark, Claims::Write("one")), polls, act);
        if !interrupted {
            break;
        }
        assert_eq!(taken.unwrap().damage, []);
        let calls = world.calls();
        let puts = calls.iter().filter(|call| call.operation == "ecr:PutImage").count();
        if puts == 2 {
            put_again += 1;
            assert_eq!(tags_of(&world, &key), tags_and_mark(&["v1"]), "after {polls} polls");
        }
    }
    assert!(put_again > 0);
}

#[test]
fn nothing_is_done_where_the_tag_is_gone_or_the_image() {
    let policy = policy();
    let moved = world(&["v1"]);
    push(&moved, &other(), &["main"]);
    let deleted = World::new();
    for world in [moved, deleted] {
        let before = tags_of(&world, &other());
        let taken = run(removal(&world.writing(true), &policy).take(
            &image_key(),
            &tags(&["main"]),
            &mark(),
            Claims::Write("one"),
        ));
        assert_eq!(taken.unwrap().image, world.image_of(&image_key()));
        assert!(
            !world
                .calls()
                .iter()
                .any(|call| call.operation == "ecr:BatchDeleteImage")
        );
        assert_eq!(tags_of(&world, &other()), before);
    }
}

#[test]
fn an_image_that_cannot_be_marked_loses_no_tag() {
    let policy = policy();
    let archived = world(&["main", "v1"]);
    archived.push(
        &image_key(),
        Image {
            status: guard_core::image::ImageStatus::Archived,
            ..archived.image_of(&image_key()).unwrap()
        },
    );
    let refused = world(&["main", "v1"]);
    refused.fail("ecr:PutImage", Fault::Before(Retry::Never));
    for world in [archived, refused] {
        let error = run(removal(&world.writing(true), &policy).take(
            &image_key(),
            &tags(&["main"]),
            &mark(),
            Claims::Write("one"),
        ));
        assert_eq!(error.unwrap_err().retry, Retry::Never);
        assert_eq!(tags_of(&world, &image_key()), ["main", "v1"]);
    }
}

/// Two invocations take different tags from one image. Between any two steps of the one, the other does all of its work.
#[test]
fn two_removals_at_the_same_time_leave_the_image() {
    let policy = policy();
    let mut reached = 0;
    for polls in 0.. {
        let world = world(&["main", "dev"]);
        let (main, dev) = (tags(&["main"]), tags(&["dev"]));
        let services = world.writing(true);
        let (one, two) = (removal(&services, &policy), removal(&services, &policy));
        let (key, mark) = (image_key(), mark());
        let first = one.take(&key, &main, &mark, Claims::Write("one"));
        let second = || drop(run(two.take(&key, &dev, &mark, Claims::Write("one"))).unwrap());
        let (taken, interrupted) = interrupted(first, polls, second);
        assert_eq!(taken.unwrap().damage, []);
        if !interrupted {
            break;
        }
        reached += 1;
        assert_eq!(
            tags_of(&world, &image_key()),
            ["quarantine-ab12ab12ab12"],
            "after {polls} polls"
        );
        assert!(told(&world).is_empty());
    }
    assert!(reached > 10, "{reached}");
}

/// A person moves the tag at any moment, to a new image or to one with other tags.
#[test]
fn a_tag_that_is_moved_meanwhile_is_given_back_or_its_image_is_named() {
    let policy = policy();
    for (of_other, expected) in [(vec!["main"], Kind::ImageLost), (vec!["main", "v9"], Kind::TagTaken)] {
        let (mut hit, mut missed) = (0, 0);
        for polls in 0.. {
            let world = world(&["main", "v1"]);
            let (key, main, mark) = (image_key(), tags(&["main"]), mark());
            let services = world.writing(true);
            let one = removal(&services, &policy);
            let first = one.take(&key, &main, &mark, Claims::Write("one"));
            let (taken, interrupted) = interrupted(first, polls, || push(&world, &other(), &of_other));
            if !interrupted {
                break;
            }
            let taken = taken.unwrap();
            assert!(world.image_of(&image_key()).is_some());
            if taken.damage.is_empty() {
                missed += 1;
                assert_eq!(tags_of(&world, &other()), of_other, "after {polls} polls");
                assert!(told(&world).is_empty());
                continue;
            }
            hit += 1;
            assert_eq!(
                told(&world),
                [(expected.as_str().to_owned(), other().digest.to_string())]
            );
            if expected == Kind::TagTaken {
                assert_eq!(tags_of(&world, &other()), of_other, "given back");
            }
        }
        assert!(hit > 0 && missed > 10, "{hit} {missed}");
    }
}

/// A person takes away all other tags, our mark too, between the last read and the call: the image is deleted, and put back.
#[test]
fn an_image_that_goes_meanwhile_is_put_back_and_that_is_alerted_as_damage() {
    let policy = policy();
    let mut put_back = 0;
    for polls in 0.. {
        let world = world(&["main", "v1"]);
        let (key, main, mark) = (image_key(), tags(&["main"]), mark());
        let strip = || {
            let image = world.image_of(&key).unwrap();
            let kept = image
                .tags
                .iter()
                .filter(|tag| tag.as_str() == "main")
                .cloned()
                .collect();
            world.push(&key, Image { tags: kept, ..image });
        };
        let services = world.writing(true);
        let one = removal(&services, &policy);
        let (taken, interrupted) = interrupted(one.take(&key, &main, &mark, Claims::Write("one")), polls, strip);
        if !interrupted {
            break;
        }
        let taken = taken.unwrap();
        let there = tags_of(&world, &image_key());
        assert!(
            there.is_empty() || there == [mark.as_str()],
            "after {polls} polls: {there:?}"
        );
        if taken.damage.is_empty() {
            assert!(told(&world).is_empty());
        } else {
            put_back += 1;
            assert_eq!(told(&world), [("image-lost".to_owned(), key.digest.to_string())]);
        }
    }
    assert!(put_back > 0);
}

#[test]
fn an_image_that_somebody_deletes_before_we_took_anything_stays_deleted() {
    let policy = policy();
    for polls in 0..4 {
        let world = world(&["main", "v1"]);
        let (key, main, mark) = (image_key(), tags(&["main"]), mark());
        let services = world.writing(true);
        let one = removal(&services, &policy);
        let first = one.take(&key, &main, &mark, Claims::Write("one"));
        let (_, interrupted) = interrupted(first, polls, || world.delete(&key));
        assert!(interrupted);
        assert!(world.image_of(&key).is_none() || world.calls().iter().any(|call| call.operation == "ecr:PutImage"));
        assert!(
            !world
                .calls()
                .iter()
                .any(|call| call.operation == "ecr:BatchDeleteImage")
        );
    }
}

#[test]
fn a_lost_answer_is_checked_and_not_sent_again_blindly() {
    let policy = policy();
    // It had no effect: after another look it is sent again.
    let world = self::world(&["main", "v1"]);
    world.fail("ecr:BatchDeleteImage", Fault::Before(Retry::Later));
    let taken =
        run(removal(&world.writing(true), &policy).take(&image_key(), &tags(&["main"]), &mark(), Claims::Write("one")))
            .unwrap();
    assert_eq!(
        (taken.unanswered, tags_of(&world, &image_key())),
        (vec![], tags_and_mark(&["v1"]))
    );
    // It had one: nothing is left to send, and the row says that an answer is missing.
    let world = self::world(&["main", "v1"]);
    world.fail("ecr:BatchDeleteImage", Fault::After(Retry::Later));
    let taken =
        run(removal(&world.writing(true), &policy).take(&image_key(), &tags(&["main"]), &mark(), Claims::Write("one")))
            .unwrap();
    assert_eq!(
        (taken.unanswered, tags_of(&world, &image_key())),
        (tags(&["main"]), tags_and_mark(&["v1"]))
    );
    let row = run(world.tag_row(&RepositoryKey::of(&image_key()), &tag("main")))
        .unwrap()
        .unwrap();
    assert_eq!(row.removal.map(|removal| removal.from), Some(image_key().digest));
    // It never succeeds.
    let world = self::world(&["main", "v1"]);
    for _ in 0..MAX_LOOKS + 1 {
        world.fail("ecr:BatchDeleteImage", Fault::Before(Retry::Later));
    }
    let error =
        run(removal(&world.writing(true), &policy).take(&image_key(), &tags(&["main"]), &mark(), Claims::Write("one")));
    assert_eq!(error.unwrap_err().retry, Retry::Later);
    let row = run(world.tag_row(&RepositoryKey::of(&image_key()), &tag("main")))
        .unwrap()
        .unwrap();
    assert!(row.removal.is_some(), "a call may still take effect");
    // While another invocation removes the tag, nobody else begins.
    let other =
        run(removal(&world.writing(true), &policy).take(&image_key(), &tags(&["main"]), &mark(), Claims::Write("two")));
    assert_eq!(other.unwrap_err().retry, Retry::Later);
}

/// An image that is there lost nothing, whatever answers are missing.
#[test]
fn a_missing_answer_about_an_image_that_is_there_brings_no_alert() {
    let policy = policy();
    let world = self::world(&["main", "v1"]);
    world.fail("ecr:BatchDeleteImage", Fault::After(Retry::Later));
    let services = world.writing(true);
    let one = removal(&services, &policy);
    run(one.take(&image_key(), &tags(&["main"]), &mark(), Claims::Write("one"))).unwrap();
    world.set_now(world.now() + jiff::SignedDuration::from_mins(5));
    run(one.look_into_all(&image_key(), &tags(&["main"]), false, "two")).unwrap();
    assert!(told(&world).is_empty());
    run(one.look_into_all(&image_key(), &tags(&["main"]), true, "two")).unwrap();
    assert_eq!(
        told(&world),
        [("image-lost".to_owned(), image_key().digest.to_string())]
    );
}

fn tags_and_mark(texts: &[&str]) -> Vec<String> {
    let mut all = vec![mark().to_string()];
    all.extend(texts.iter().map(|text| (*text).to_owned()));
    all
}

#[test]
fn our_own_mark_goes_only_where_other_tags_are() {
    let policy = policy();
    for (before, after, calls) in [
        (vec!["quarantine-ab12ab12ab12", "v1"], vec!["v1"], 5),
        (vec!["quarantine-ab12ab12ab12"], vec!["quarantine-ab12ab12ab12"], 2),
        (vec!["v1"], vec!["v1"], 2),
    ] {
        let world = world(&before);
        world.forget_calls();
        let taken = run(removal(&world.writing(true), &policy).take_mark(&image_key(), &mark())).unwrap();
        assert_eq!(taken.image, world.image_of(&image_key()));
        assert_eq!(
            (tags_of(&world, &image_key()), world.calls().len()),
            (after.iter().map(ToString::to_string).collect(), calls)
        );
    }
}

/// A person deletes the last other tag while our mark goes.
#[test]
fn an_image_whose_mark_goes_while_somebody_deletes_its_last_tag_is_kept_or_put_back() {
    let policy = policy();
    let mut put_back = 0;
    for polls in 0.. {
        let world = world(&["quarantine-ab12ab12ab12", "v1"]);
        let (key, mark) = (image_key(), mark());
        let mut before = 0;
        let delete = || {
            before = world.calls_made();
            world.untag(&key.repository, &tag("v1"));
        };
        let services = world.writing(true);
        let one = removal(&services, &policy);
        let (taken, interrupted) = interrupted(one.take_mark(&key, &mark), polls, delete);
        if !interrupted {
            break;
        }
        // A read after the deletion shows that the mark is all that the image has.
        let calls = world.calls();
        let read = calls[before..]
            .iter()
            .position(|call| call.operation == "ecr:DescribeImages");
        let sent = calls[before..]
            .iter()
            .rposition(|call| call.operation == "ecr:BatchDeleteImage");
        assert!(
            sent.is_none() || read.is_none_or(|read| sent < Some(read)),
            "after {polls} polls"
        );
        if taken.unwrap().damage.is_empty() {
            // Where somebody deletes the last tag after ours is gone, that deletes the image, and is not our doing.
            continue;
        }
        put_back += 1;
        assert_eq!(tags_of(&world, &image_key()), [mark.as_str()]);
        assert_eq!(told(&world), [("image-lost".to_owned(), key.digest.to_string())]);
    }
    assert!(put_back > 0);
}

#[test]
fn many_tags_go_a_hundred_at_a_time_each_after_a_read() {
    let policy = policy();
    let names: Vec<String> = (0..250).map(|n| format!("v{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = world(&names);
    run(removal(&world.writing(true), &policy).take(&image_key(), &tags(&names), &mark(), Claims::Write("one")))
        .unwrap();
    assert_eq!(tags_of(&world, &image_key()), [mark().as_str()]);
    let calls = world.calls();
    let removals = calls
        .iter()
        .enumerate()
        .filter(|(_, call)| call.operation == "ecr:BatchDeleteImage");
    let removals: Vec<usize> = removals.map(|(n, _)| n).collect();
    assert_eq!(removals.len(), 3);
    assert!(removals.iter().all(|n| calls[n - 1].operation == "ecr:DescribeImages"));
}

/// The row of a tag is written by others while the tag is removed: what they wrote stays, and only this removal is over.
#[test]
fn a_row_that_others_write_during_the_removal_says_in_the_end_that_the_answer_is_there() {
    let policy = policy();
    let key = RepositoryKey::of(&image_key());
    for is_claimed_by_another in [false, true] {
        let mut written = 0;
        for polls in 0.. {
            let world = world(&["main", "v1"]);
            let services = world.writing(true);
            let (image, tags, mark) = (image_key(), tags(&["main"]), mark());
            let one = removal(&services, &policy);
            let row = || run(world.tag_row(&key, &tag("main"))).unwrap();
            let by_another = |removal: Removal| Removal {
                by: "two".to_owned(),
                ..removal
            };
            let act = || {
                let Some(row) = row().filter(|row| row.removal.is_some()) else {
                    return;
                };
                let removal = row.removal.clone();
                let next = TagRow {
                    generation: row.generation + 1,
                    since: at(1),
                    removal: if is_claimed_by_another {
                        removal.map(by_another)
                    } else {
                        removal
                    },
                    ..row
                };
                written += usize::from(run(world.write_tag_row(&next)).unwrap() == Written::Yes);
            };
            let (taken, interrupted) = interrupted(one.take(&image, &tags, &mark, Claims::Write("one")), polls, act);
            taken.unwrap();
            if !interrupted {
                break;
            }
            let row = row().unwrap();
            let is_changed = row.since == at(1);
            let by = row.removal.map(|removal| removal.by);
            let expected = (is_changed && is_claimed_by_another).then(|| "two".to_owned());
            assert_eq!(by, expected, "after {polls} polls");
        }
        assert!(written > 3, "{written}");
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn the_image_is_read_back_also_where_nothing_was_to_be_done() {
    let policy = policy();
    let mark = mark();
    let world = world(&["v1", mark.as_str()]);
    let services = world.writing(true);
    let taken = run(removal(&services, &policy).take(&image_key(), &tags(&["main"]), &mark, Claims::Write("one")));
    let taken = taken.unwrap();
    assert_eq!((taken.image, taken.removed), (world.image_of(&image_key()), vec![]));
    assert!(world.calls().iter().all(|call| !call.mutates));
}
