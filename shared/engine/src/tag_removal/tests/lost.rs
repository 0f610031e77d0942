//! Somebody takes away what was to keep an image, our removal deletes it, and its invocation ends before the answer comes. The next
//! invocation finds no image, and an alert must name it.

use jiff::SignedDuration;

use super::{people::on_scan, *};
use crate::reconcile::repository::{TagRequest, reconcile_tag};
use guard_core::{
    finding::{Scan, Severity},
    state::State,
};
use guard_ports::Clock as _;
use guard_testkit::{explore::Running, finding, scan};

/// How an image gets there: its tags are those that a person leaves it, and the calls that remove one are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A quarantine takes its tags.
    Quarantine,
    /// A rule for tags takes one.
    Untag,
    /// The end of a quarantine takes our mark.
    Release,
}

impl Way {
    fn policy(self) -> Policy {
        guard_testkit::policy(match self {
            Self::Quarantine | Self::Release => r#""block": {"method": "quarantine-tag"}"#,
            Self::Untag => {
                r#""repositories": [{"match": "*", "tags": {"allowed": ["semver:v"], "on_violation": "untag"}}]"#
            }
        })
    }

    fn world(self, policy: &Policy) -> World {
        let world = world(&["main", "v1"]);
        let critical = Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Critical)]));
        world.set_scan(&image_key(), critical);
        if self == Self::Release {
            run(look(&world, policy, "before")).unwrap();
        }
        if self != Self::Quarantine {
            world.set_scan(&image_key(), Scan::Complete(scan(vec![])));
        }
        world
    }

    fn is_kept_by(self, tag: &Tag) -> bool {
        let is_mark = guard_core::marker::is_mark(tag, &image_key().digest);
        match self {
            Self::Quarantine => is_mark || tag.as_str() == "v1",
            Self::Untag => tag.as_str() != "main",
            Self::Release => !is_mark,
        }
    }

    fn invocation<'a>(self, world: &'a World, policy: &'a Policy, actor: &'static str) -> Running<'a> {
        match self {
            Self::Quarantine | Self::Release => look(world, policy, actor),
            Self::Untag => Box::pin(async move {
                let main = tag("main");
                let request = TagRequest {
                    tag: &main,
                    state: Some(State::Allowed),
                    pushed: None,
                    actor,
                };
                let key = RepositoryKey::of(&image_key());
                let judged = reconcile_tag(&world.writing(true), policy, &key, &request).await;
                judged.map(drop).map_err(|error| error.to_string())
            }),
        }
    }
}

fn look<'a>(world: &'a World, policy: &'a Policy, actor: &str) -> Running<'a> {
    on_scan(world, policy, image_key(), actor.to_owned())
}

/// The alerts about the image that is lost, and their ids.
fn lost(world: &World) -> Vec<String> {
    let documents = world.sent().into_iter().map(|sent| {
        let document: serde_json::Value = serde_json::from_str(&sent.message.default).unwrap();
        document
    });
    let of_kind = documents.filter(|document| document["kind"] == Kind::ImageLost.as_str());
    of_kind.map(|document| document["id"].to_string()).collect()
}

#[test]
fn an_image_that_our_call_deleted_is_named_though_nobody_heard_the_answer() {
    for way in [Way::Quarantine, Way::Untag, Way::Release] {
        let policy = way.policy();
        let mut deleted = 0;
        for before in 0..80 {
            for after in 1..8 {
                let world = way.world(&policy);
                let mut context = Context::from_waker(Waker::noop());
                let mut first = way.invocation(&world, &policy, "first");
                let mut go_on = |polls: usize| (0..polls).any(|_| first.as_mut().poll(&mut context).is_ready());
                if go_on(before) {
                    break;
                }
                let there = world.image_of(&image_key()).unwrap();
                let kept: Vec<Tag> = there.tags.iter().filter(|tag| !way.is_kept_by(tag)).cloned().collect();
                if kept.is_empty() {
                    continue;
                }
                world.push(&image_key(), Image { tags: kept, ..there });
                let ended = go_on(after);
                drop(first);
                // An image that was put back is there.
                if ended || world.image_of(&image_key()).is_some() {
                    continue;
                }
                deleted += 1;
                let case = format!("{way:?}, after {before} and {after} polls");
                assert!(lost(&world).is_empty(), "{case}: nobody knows yet");
                // Another invocation leaves it to the first one, which Lambda starts again after a minute.
                let _ = run(way.invocation(&world, &policy, "other"));
                assert!(lost(&world).is_empty(), "{case}: the first one may still be at it");
                world.set_now(world.now() + SignedDuration::from_mins(1));
                run(way.invocation(&world, &policy, "first")).unwrap();
                assert_eq!(lost(&world).len(), 1, "{case}");
                world.set_now(world.now() + SignedDuration::from_mins(5));
                run(way.invocation(&world, &policy, "other")).unwrap();
                assert_eq!(lost(&world).len(), 1, "{case}: it is told once");
            }
        }
        assert!(deleted > 0, "{way:?}");
    }
}

/// A removal without an answer hit another image, which is gone; the tag was given back to the first one, by its release.
#[test]
fn an_image_that_lost_its_only_tag_is_named_though_the_tag_is_on_another_one_by_now() {
    let policy = policy();
    let (main, key) = (tag("main"), RepositoryKey::of(&image_key()));
    let look_into = |world: &World, holder: &ImageKey, pushed: &Digest| {
        let services = world.writing(true);
        let row = run(world.tag_row(&key, &main)).unwrap();
        let pushed = Pushed {
            digest: pushed.clone(),
            at: world.now(),
        };
        let holder = world.image_of(holder);
        let looking = removal(&services, &policy);
        run(looking.look_into(row.as_ref(), holder.as_ref(), Some(&pushed), "two")).unwrap()
    };
    for (of_other, is_lost) in [(None, true), (Some(&["v9"][..]), false)] {
        let world = world(&["main", "v1"]);
        world.fail("ecr:BatchDeleteImage", Fault::After(Retry::Later));
        let services = world.writing(true);
        let first = removal(&services, &policy);
        run(first.take(&image_key(), &tags(&["main"]), &mark(), Claims::Write("one"))).unwrap();
        run(first.give(&image_key(), &tags(&["main"]))).unwrap();
        if let Some(of_other) = of_other {
            push(&world, &other(), of_other);
        }
        let damage = look_into(&world, &image_key(), &other().digest);
        let expected = is_lost.then(|| Damage::Lost {
            tag: main.clone(),
            digest: other().digest,
        });
        assert_eq!(damage, expected);
        assert_eq!(lost(&world).len(), usize::from(is_lost));
        assert_eq!(
            look_into(&world, &image_key(), &image_key().digest),
            None,
            "it has the tag"
        );
    }
}

/// Two images got the tag one after the other, before a removal took it without an answer. The events of their pushes come in any order.
#[test]
fn of_two_images_that_got_the_tag_the_later_one_is_named_or_has_it() {
    let policy = policy();
    let (main, key) = (tag("main"), RepositoryKey::of(&image_key()));
    let third = ImageKey {
        digest: format!("sha256:{}", "ef".repeat(32)).parse().unwrap(),
        ..image_key()
    };
    for (first_is_first, later, is_taken_again) in
        [(true, 2, false), (false, 2, false), (true, 1, false), (true, 1, true)]
    {
        let world = world(&["main", "v1"]);
        world.fail("ecr:BatchDeleteImage", Fault::After(Retry::Later));
        let services = world.writing(true);
        run(removal(&services, &policy).take(&image_key(), &tags(&["main"]), &mark(), Claims::Write("one"))).unwrap();
        push(&world, &other(), &["v8"]);
        push(&world, &third, &["v9"]);
        let mut pushes = [(other(), 1), (third.clone(), later)];
        let removed_at = world.now();
        world.set_now(removed_at + SignedDuration::from_mins(1));
        if !first_is_first {
            pushes.reverse();
        }
        for (image, seconds) in pushes {
            let row = run(world.tag_row(&key, &main)).unwrap();
            let by_tag = run(world.image(&key.repository, &ImageRef::Tag(main.clone()))).unwrap();
            let pushed = Pushed {
                digest: image.digest,
                at: removed_at + SignedDuration::from_secs(seconds),
            };
            run(removal(&services, &policy).look_into(row.as_ref(), by_tag.as_ref(), Some(&pushed), "two")).unwrap();
            if is_taken_again {
                let again = removal(&services, &policy);
                let key = key.image(&pushed.digest);
                let mark = untagged_mark(&key.digest).unwrap();
                run(again.take(&key, &tags(&["main"]), &mark, Claims::Write("three"))).unwrap();
            }
        }
        let names_third = |(_, digest): &(String, String)| *digest == third.digest.to_string();
        assert!(told(&world).iter().any(names_third), "{:?}", told(&world));
        let has_it = tags_of(&world, &third).contains(&"main".to_owned());
        assert_eq!(
            has_it, !first_is_first,
            "the first check could not know of the later push"
        );
        // The tag goes again: a person has deleted it, and that is left alone.
        world.untag(&key.repository, &main);
        let row = run(world.tag_row(&key, &main)).unwrap();
        let looked = run(removal(&services, &policy).look_into(row.as_ref(), None, None, "two")).unwrap();
        assert_eq!(looked, None);
    }
}

/// Without rules for tags, only a quarantine may be removing one. Then the row says which image has the tag by now.
#[test]
fn a_tag_without_rules_is_remembered_while_a_quarantine_removes_it() {
    let (main, key) = (tag("main"), RepositoryKey::of(&image_key()));
    let judge = |world: &World, policy: &Policy| {
        world.forget_calls();
        let request = TagRequest {
            tag: &main,
            state: Some(State::Allowed),
            pushed: None,
            actor: "two",
        };
        run(reconcile_tag(&world.writing(true), policy, &key, &request)).unwrap();
        (world.calls_made(), world.writes())
    };
    let quarantine = Way::Quarantine.policy();
    assert_eq!(judge(&world(&["main"]), &policy()), (0, 0), "nobody removes a tag");
    assert_eq!(judge(&world(&["main"]), &quarantine), (2, 0), "nobody has begun");
    let world = world(&["main", "v1"]);
    world.fail("ecr:BatchDeleteImage", Fault::After(Retry::Later));
    let services = world.writing(true);
    run(removal(&services, &quarantine).take(&image_key(), &tags(&["main"]), &mark(), Claims::Write("one"))).unwrap();
    let before = run(world.tag_row(&key, &main)).unwrap().unwrap();
    assert_eq!(judge(&world, &quarantine).1, 0, "no image has the tag");
    let later = world.now() + SignedDuration::from_hours(1);
    world.set_now(later);
    push(&world, &other(), &["main"]);
    assert_eq!(judge(&world, &quarantine).1, 1);
    let row = run(world.tag_row(&key, &main)).unwrap().unwrap();
    let expected = TagRow {
        digest: other().digest,
        since: later,
        generation: before.generation + 1,
        ..before
    };
    assert_eq!(row, expected);
    assert_eq!(judge(&world, &quarantine).1, 0, "the row says so");
}
