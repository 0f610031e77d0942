//! Blocks that were only begun, came back, are to be stronger, or cannot be undone.

use std::{pin::pin, sync::Mutex};

use super::*;
use crate::testing::sweep;
use guard_core::{alert::Message, finding::ScanTrigger, ids::TopicArn};
use guard_ports::{Notifier, Page, Pulled, Registry};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn of(key: &ImageKey, actor: &str) -> Request {
    Request {
        image: ImageRef::Digest(key.digest.clone()),
        ..request(actor)
    }
}

fn change(world: &World, change: impl FnOnce(&mut Image)) {
    let mut entry = world.image_of(&image_key()).unwrap();
    change(&mut entry);
    world.push(&image_key(), entry);
}

fn pulled_now(world: &World) {
    change(world, |entry| entry.last_pulled_at = Some(world.now()));
}

fn one_critical() -> Vec<Finding> {
    vec![finding("CVE-2026-1", Severity::Critical)]
}

/// An index `v1.2.3`, and its only image, which has this tag, if any, and a finding that blocks.
fn index_with(tag: Option<&str>) -> (World, ImageKey, ImageKey) {
    let (child, index) = (key("sha256:c0"), key("sha256:1d"));
    let world = World::new();
    let minute_ago = Some(now() - SignedDuration::from_mins(1));
    world.push(
        &child,
        Image {
            tags: tag.into_iter().map(|tag| tag.parse().unwrap()).collect(),
            pushed_at: minute_ago,
            ..image(&child)
        },
    );
    world.complete_scan(&child, scan(one_critical()));
    world.push(
        &index,
        Image {
            manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
            artifact_media_type: None,
            pushed_at: minute_ago,
            ..image(&index)
        },
    );
    let manifest = format!(
        r#"{{"manifests": [{{"digest": "{}", "platform": {{"os": "linux", "architecture": "arm64"}}}}]}}"#,
        child.digest
    );
    world.set_manifest(&index, &manifest);
    (world, index, child)
}

fn names_of(world: &World, key: &ImageKey) -> Vec<String> {
    world
        .image_of(key)
        .unwrap()
        .tags
        .into_iter()
        .map(String::from)
        .collect()
}

#[test]
fn a_block_only_begun_is_no_block_and_is_deferred_once_the_image_is_in_use() {
    for method in ["archive", "quarantine-tag"] {
        let policy = policy(&format!(r#""block": {{"method": "{method}"}}"#));
        let world = world(critical());
        for operation in ["ecr:UpdateImageStorageClass", "ecr:PutImage"] {
            world.fail(operation, Fault::Before(Retry::Later));
        }
        run(look(&world, &policy, &request("one"))).unwrap_err();
        world.heal();
        assert_eq!(status(&world), ImageStatus::Active);
        // It can be pulled for an hour, and is.
        world.set_now(now() + HOUR);
        pulled_now(&world);
        let outcome = run(look(&world, &policy, &request("two"))).unwrap();
        assert_eq!(outcome.state, Some(State::BlockDeferred), "{method}");
        assert_eq!(
            tags(&world),
            ["v1.2.3".to_owned()].into(),
            "{method}: what was half done is undone"
        );
        assert_eq!(world.row_of(&image_key()).unwrap().block, None, "{method}");
    }
}

#[test]
fn a_stronger_method_is_applied_to_what_was_blocked_by_a_weaker_one() {
    for earlier in ["flag", "quarantine-tag"] {
        for by_sweep in [false, true] {
            let case = format!("{earlier}, by sweep: {by_sweep}");
            let world = world(critical());
            settle(&world, &policy(&format!(r#""block": {{"method": "{earlier}"}}"#)));
            let archive = policy("");
            if by_sweep {
                sweep(&world, &archive);
            } else {
                assert!(settle(&world, &archive).counted, "{case}");
            }
            assert_eq!(status(&world), ImageStatus::Archived, "{case}");
            assert_eq!(
                told(&world),
                ["image-blocked", "image-blocked"],
                "{case}: it cannot be pulled now"
            );
            world.forget_calls();
            settle(&world, &archive);
            assert_eq!(world.writes(), 0, "{case}");
            // With the release everything comes back, tags too.
            let excepted = policy(EXCEPTED);
            settle(&world, &excepted);
            world.finish_restore(&image_key());
            settle(&world, &excepted);
            assert_eq!(
                (status(&world), tags(&world)),
                (ImageStatus::Active, ["v1.2.3".to_owned()].into()),
                "{case}"
            );
            assert_eq!(told(&world).last().unwrap(), "image-released", "{case}");
            assert_eq!(world.row_of(&image_key()).unwrap().block, None, "{case}");
        }
    }
}

/// After a change of method the roles may only undo what the method before has done.
#[test]
fn what_is_brought_back_after_a_change_of_method_is_blocked_by_the_method_of_now() {
    for (earlier, now_is, effect) in [
        ("archive", "quarantine-tag", Some("quarantine")),
        ("archive", "flag", None),
        ("quarantine-tag", "flag", None),
    ] {
        let case = format!("{earlier}, then {now_is}");
        let world = world(critical());
        settle(&world, &policy(&format!(r#""block": {{"method": "{earlier}"}}"#)));
        let later = policy(&format!(r#""block": {{"method": "{now_is}"}}"#));
        let stays = settle(&world, &later);
        assert_eq!(
            (stays.state, stays.effect),
            (Some(State::Blocked), None),
            "{case}: what was done stays"
        );
        world.set_now(now() + HOUR);
        change(&world, |entry| {
            entry.status = ImageStatus::Active;
            entry.last_activated_at = Some(now() + HOUR);
            entry.tags.push("again".parse().unwrap());
        });
        let outcome = settle(&world, &later);
        assert_eq!(
            (outcome.state, outcome.effect),
            (Some(State::Blocked), effect),
            "{case}"
        );
        assert!(!outcome.counted, "{case}: it was counted");
        assert_eq!(status(&world), ImageStatus::Active, "{case}");
        assert_eq!(told(&world), ["image-blocked", "image-bypass"], "{case}");
        let row = world.row_of(&image_key()).unwrap();
        assert_eq!(serde_json::json!(row.block.unwrap().method), now_is, "{case}");
        world.forget_calls();
        settle(&world, &later);
        sweep(&world, &later);
        assert_eq!(told(&world).len(), 2, "{case}: told once");
        let excepted = policy(&format!(r#""block": {{"method": "{now_is}"}}, {EXCEPTED}"#));
        settle(&world, &excepted);
        let all = ["again".to_owned(), "v1.2.3".to_owned()];
        assert_eq!(tags(&world), all.into(), "{case}: the release gives all tags back");
        assert_eq!(world.row_of(&image_key()).unwrap().block, None, "{case}");
    }
}

/// A block that an earlier method has begun, and not made, is begun again by the present method.
#[test]
fn a_block_that_was_only_begun_before_a_change_of_method_is_made_by_the_method_of_now() {
    let world = world(critical());
    world.fail("ecr:UpdateImageStorageClass", Fault::Before(Retry::Later));
    run(look(&world, &policy(""), &request("one"))).unwrap_err();
    world.heal();
    let outcome = run(look(
        &world,
        &policy(r#""block": {"method": "quarantine-tag"}"#),
        &request("one"),
    ))
    .unwrap();
    assert_eq!(outcome.effect, Some("quarantine"));
    assert_eq!(told(&world), ["image-blocked"]);
}

#[test]
fn a_stronger_method_is_not_applied_to_what_is_in_use_and_what_was_done_stays() {
    for (earlier, state) in [("flag", State::BlockDeferred), ("quarantine-tag", State::Blocked)] {
        let world = world(critical());
        settle(&world, &policy(&format!(r#""block": {{"method": "{earlier}"}}"#)));
        pulled_now(&world);
        let before = tags(&world);
        assert_eq!(settle(&world, &policy("")).state, Some(state), "{earlier}");
        assert_eq!(
            (status(&world), tags(&world)),
            (ImageStatus::Active, before),
            "{earlier}"
        );
        world.forget_calls();
        settle(&world, &policy(""));
        assert_eq!(world.writes(), 0, "{earlier}");
        // When it is not used any more, the sweep of its turn archives it.
        world.set_now(now() + SignedDuration::from_hours(24 * 91));
        for hour in 0..24 {
            world.set_now(now() + SignedDuration::from_hours(24 * 91 + hour));
            sweep(&world, &policy(""));
        }
        assert_eq!(status(&world), ImageStatus::Archived, "{earlier}");
    }
}

#[test]
fn blocks_that_become_stronger_count_for_the_limit_and_wait_for_the_next_hour() {
    let world = World::new();
    // Marks are made of the first twelve characters of a digest.
    let image_of = |n: usize| key(&format!("sha256:c{n}"));
    let quarantine = policy(r#""block": {"method": "quarantine-tag"}"#);
    for n in 0..2 {
        let tags = vec![format!("v{n}").parse().unwrap()];
        world.push(
            &image_of(n),
            Image {
                tags,
                ..image(&image_of(n))
            },
        );
        world.set_scan(&image_of(n), critical());
        run(look(&world, &quarantine, &of(&image_of(n), "one"))).unwrap();
    }
    world.set_now(now() + HOUR);
    let archive = policy(r#""block": {"max_blocks_per_hour": 1}"#);
    sweep(&world, &archive);
    let archived = || {
        (0..2)
            .filter(|n| world.image_of(&image_of(*n)).unwrap().status == ImageStatus::Archived)
            .count()
    };
    assert_eq!(archived(), 1);
    assert!(
        (0..2).all(|n| world.row_of(&image_of(n)).unwrap().state == State::Blocked),
        "both stay blocked"
    );
    world.set_now(now() + HOUR * 2);
    sweep(&world, &archive);
    assert_eq!(archived(), 2);
}

#[test]
fn a_quarantine_takes_the_tags_of_the_images_of_an_index_too() {
    let quarantine = policy(r#""block": {"method": "quarantine-tag"}"#);
    for tag in [Some("v1.2.3-arm64"), None] {
        let (world, index, child) = index_with(tag);
        run(look(&world, &quarantine, &of(&index, "one"))).unwrap();
        for key in [&index, &child] {
            assert_eq!(world.row_of(key).unwrap().state, State::Blocked);
            assert!(
                !names_of(&world, key).iter().any(|tag| tag.starts_with('v')),
                "{tag:?} {key}"
            );
        }
        world.forget_calls();
        sweep(&world, &quarantine);
        assert!(world.calls().iter().all(|call| !call.mutates), "{tag:?}");
        let excepted = policy(&format!(r#""block": {{"method": "quarantine-tag"}}, {EXCEPTED}"#));
        run(look(&world, &excepted, &of(&index, "one"))).unwrap();
        assert_eq!(names_of(&world, &index), ["v1.2.3"]);
        assert_eq!(names_of(&world, &child), tag.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn what_only_its_index_kept_from_the_archive_is_evaluated_by_itself_once_the_index_is_gone() {
    let (world, index, child) = index_with(Some("arm64-1"));
    world.refuse_to_archive(&child);
    run(look(&world, &policy(""), &of(&index, "one"))).unwrap();
    assert_eq!(world.row_of(&child).unwrap().state, State::BlockDeferred);
    world.delete(&index);
    run(look(&world, &policy(""), &of(&index, "one"))).unwrap();
    let error = run(look(&world, &policy(""), &of(&child, "one"))).unwrap_err();
    assert_eq!(error.code(), "BlockRefused");
    let row = world.row_of(&child).unwrap();
    assert!(row.reason.contains("the registry refused"), "{}", row.reason);
    assert_eq!(
        told(&world),
        ["image-blocked", "block-deferred"],
        "people know that it can be pulled"
    );
}

/// A registry whose first answer for an image is an older one.
#[derive(Debug)]
struct Late<'a> {
    world: &'a World,
    first: Mutex<Option<Option<Image>>>,
}

impl<'a> Late<'a> {
    fn new(world: &'a World, first: Option<Image>) -> Self {
        Self {
            world,
            first: Mutex::new(Some(first)),
        }
    }

    fn look(&self, policy: &Policy) -> Result<Outcome, ReconcileError> {
        let services = Parts {
            world: self.world,
            registry: self,
            writer: Some(self.world),
            notifier: self.world,
        };
        run(reconcile(&services, policy, &request("two")))
    }
}

guard_testkit::as_its_world!(Late<'_>: Scanner, Repositories, Listing);

impl Registry for Late<'_> {
    async fn image(&self, repository: &RepositoryName, image: &ImageRef) -> Result<Option<Image>, PortError> {
        let first = self.first.lock().unwrap().take();
        match first {
            Some(first) => Ok(first),
            None => self.world.image(repository, image).await,
        }
    }

    async fn manifest(&self, image: &ImageKey) -> Result<Option<String>, PortError> {
        self.world.manifest(image).await
    }

    async fn pulled_since(
        &self,
        name: &RepositoryName,
        since: Timestamp,
        after: Option<&str>,
    ) -> Result<Pulled, PortError> {
        self.world.pulled_since(name, since, after).await
    }

    async fn repository_policy(&self, key: &RepositoryKey) -> Result<Option<String>, PortError> {
        self.world.repository_policy(key).await
    }

    async fn indexes(&self, name: &RepositoryName, after: Option<&str>) -> Result<Page<Digest>, PortError> {
        self.world.indexes(name, after).await
    }

    async fn scan_trigger(&self, repository: &RepositoryName) -> Result<Option<ScanTrigger>, PortError> {
        self.world.scan_trigger(repository).await
    }
}

#[test]
fn a_block_that_was_just_made_is_no_bypass_for_an_invocation_that_read_the_image_before() {
    let world = world(critical());
    let before = world.image_of(&image_key());
    settle(&world, &policy(""));
    world.forget_calls();
    let outcome = Late::new(&world, before).look(&policy("")).unwrap();
    assert_eq!((outcome.outcome, world.writes()), (OutcomeKind::Unchanged, 0));
    assert_eq!(told(&world), ["image-blocked"]);
}

#[test]
fn a_block_survives_one_answer_that_there_is_no_such_image() {
    let world = world(critical());
    settle(&world, &policy(""));
    Late::new(&world, None).look(&policy("")).unwrap();
    assert!(world.row_of(&image_key()).unwrap().closed_at.is_some());
    settle(&world, &policy(""));
    assert!(world.row_of(&image_key()).unwrap().block.is_some(), "it is still ours");
    settle(&world, &policy(EXCEPTED));
    assert_eq!(status(&world), ImageStatus::Activating);
}

#[test]
fn an_image_that_somebody_deletes_before_the_block_is_closed_without_an_alert() {
    let world = world(critical());
    let before = world.image_of(&image_key());
    world.delete(&image_key());
    // Its findings were read before.
    world.complete_scan(&image_key(), scan(one_critical()));
    let outcome = Late::new(&world, before).look(&policy("")).unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::Closed);
    let row = world.row_of(&image_key()).unwrap();
    assert!(row.closed_at.is_some());
    assert_eq!(row.alert, None, "an alert that nobody sends is not pending");
    settle(&world, &policy(""));
    assert_eq!(told(&world), [] as [&str; 0]);
}

#[test]
fn what_others_archive_after_a_deletion_is_not_taken_for_our_block() {
    let world = world(critical());
    settle(&world, &policy(""));
    world.delete(&image_key());
    settle(&world, &policy(""));
    let archived_by_others = Image {
        pushed_at: Some(now() + HOUR),
        status: ImageStatus::Archived,
        ..image(&image_key())
    };
    world.push(&image_key(), archived_by_others);
    world.set_now(now() + HOUR * 2);
    for policy in [policy(""), policy(EXCEPTED)] {
        settle(&world, &policy);
        assert_eq!(world.row_of(&image_key()).unwrap().block, None);
        assert_eq!(
            status(&world),
            ImageStatus::Archived,
            "only what we blocked is released"
        );
    }
}

#[test]
fn a_status_that_nobody_knows_is_no_bypass_after_a_block_and_blocked_before_one() {
    let odd = || ImageStatus::Other("ARCHIVING".to_owned());
    let world = world(critical());
    settle(&world, &policy(""));
    change(&world, |entry| entry.status = odd());
    world.forget_calls();
    settle(&world, &policy(""));
    assert_eq!((world.writes(), told(&world).len()), (0, 1));
    let world = self::world(critical());
    change(&world, |entry| entry.status = odd());
    assert_eq!(settle(&world, &policy("")).effect, Some("archive"));
}

/// Sends while somebody pushes the image again.
#[derive(Debug)]
struct PushedMeanwhile<'a>(&'a World, &'a Policy, Mutex<Option<Result<Outcome, ReconcileError>>>);

impl Notifier for PushedMeanwhile<'_> {
    async fn publish(&self, topic: &TopicArn, message: &Message) -> Result<String, PortError> {
        if self.2.lock().unwrap().is_none() {
            // The registry has been read back by now.
            for _ in 0..10 {
                self.0.pause(Duration::from_millis(300)).await;
            }
            self.0.push_again(&image_key(), self.0.now());
            let pushed = Request {
                hints: arrived(Way::Pushed("v1.2.3".parse().ok())),
                ..request("the push")
            };
            *self.2.lock().unwrap() = Some(run(look(self.0, self.1, &pushed)));
        }
        self.0.publish(topic, message).await
    }
}

#[test]
fn a_push_that_arrives_while_the_block_is_alerted_is_tried_again() {
    let (world, policy) = (world(critical()), policy(""));
    let notifier = PushedMeanwhile(&world, &policy, Mutex::new(None));
    let services = Parts {
        world: &world,
        registry: &world,
        writer: Some(&world),
        notifier: &notifier,
    };
    run(reconcile(&services, &policy, &request("the scan"))).unwrap();
    let second = notifier.2.lock().unwrap().take().unwrap();
    assert_eq!(second.unwrap_err().code(), "Busy", "its event is not used up");
}

#[test]
fn a_push_of_the_same_image_at_any_point_of_a_reconcile_is_not_lost() {
    let policy = policy("");
    let polled = |future: &mut std::pin::Pin<&mut dyn Future<Output = Result<Outcome, ReconcileError>>>,
                  polls: usize| {
        for _ in 0..polls {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Some(output);
            }
        }
        None
    };
    for a in (0..45).step_by(2) {
        for b in (0..45).step_by(2) {
            let world = world(critical());
            let scanned = request("the scan");
            let pushed = Request {
                hints: arrived(Way::Pushed("v1.2.3".parse().ok())),
                ..request("the push")
            };
            let mut first: std::pin::Pin<&mut dyn Future<Output = _>> = pin!(look(&world, &policy, &scanned));
            let done = polled(&mut first, a);
            world.push_again(&image_key(), now() + SignedDuration::from_secs(1));
            world.set_now(now() + SignedDuration::from_secs(1));
            let mut second: std::pin::Pin<&mut dyn Future<Output = _>> = pin!(look(&world, &policy, &pushed));
            let also_done = polled(&mut second, b);
            let first = done.or_else(|| polled(&mut first, 10_000)).unwrap();
            let second = also_done.or_else(|| polled(&mut second, 10_000)).unwrap();
            world.set_now(now() + SignedDuration::from_secs(61));
            for (result, request) in [(first, &scanned), (second, &pushed)] {
                if result.is_err() {
                    let _ = run(look(&world, &policy, request));
                }
            }
            let blocked = world
                .row_of(&image_key())
                .is_some_and(|row| row.state == State::Blocked);
            assert!(!blocked || status(&world) == ImageStatus::Archived, "{a} {b}");
        }
    }
}

#[test]
fn an_exception_for_a_tag_releases_what_a_quarantine_has_taken_that_tag_from() {
    let tagged = policy(
        r#""block": {"method": "quarantine-tag"}, "exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["*"], "tag": "v1.*",
            "owner": "o", "reason": "r", "expires": "2026-12-31"}]"#,
    );
    let world = world(critical());
    settle(&world, &policy(r#""block": {"method": "quarantine-tag"}"#));
    assert_eq!(settle(&world, &tagged).state, Some(State::Allowed));
    assert_eq!(tags(&world), ["v1.2.3".to_owned()].into());
    assert_eq!(settle(&world, &tagged).outcome, OutcomeKind::Unchanged);
    let (world, index, child) = index_with(Some("latest-arm64"));
    run(look(
        &world,
        &policy(r#""block": {"method": "quarantine-tag"}"#),
        &of(&index, "one"),
    ))
    .unwrap();
    run(look(&world, &tagged, &of(&index, "one"))).unwrap();
    assert_eq!(
        world.row_of(&child).unwrap().state,
        State::Allowed,
        "its index has the tag"
    );
    assert_eq!(names_of(&world, &child), ["latest-arm64"]);
}

#[test]
fn a_release_gives_the_tags_back_even_if_somebody_took_our_mark_away() {
    let world = world(critical());
    settle(&world, &policy(r#""block": {"method": "quarantine-tag"}"#));
    change(&world, |entry| entry.tags = vec!["keep".parse().unwrap()]);
    let excepted = policy(&format!(r#""block": {{"method": "quarantine-tag"}}, {EXCEPTED}"#));
    settle(&world, &excepted);
    assert_eq!(tags(&world), ["keep".to_owned(), "v1.2.3".to_owned()].into());
}

#[test]
fn an_image_whose_release_is_refused_stays_blocked_says_why_and_is_tried_by_the_next_sweep() {
    let (world, excepted) = (world(critical()), policy(EXCEPTED));
    settle(&world, &policy(""));
    world.fail("ecr:UpdateImageStorageClass", Fault::Before(Retry::Never));
    let error = run(look(&world, &excepted, &request("one"))).unwrap_err();
    assert_eq!((error.code(), error.retry()), ("CallRefused", Retry::Never));
    let row = world.row_of(&image_key()).unwrap();
    assert_eq!(row.state, State::Blocked);
    insta::assert_snapshot!(row.reason, @"It should be released, and is not: the registry refused (ecr:UpdateImageStorageClass failed with `Injected`). Findings: 1 CRITICAL. None needs review, 1 is excepted by the policy (exceptions[0] of o, until 2026-11-30).");
    assert_eq!(told(&world), ["image-blocked"]);
    world.set_now(now() + HOUR);
    sweep(&world, &excepted);
    assert_eq!(status(&world), ImageStatus::Activating);
    assert_eq!(world.row_of(&image_key()).unwrap().state, State::Allowed);
}

/// In the reconcile of the second image, any one call goes wrong, without effect or with its answer lost; the event comes again
/// a minute later.
#[test]
fn the_limit_is_alerted_whatever_call_goes_wrong() {
    let limited = policy(r#""block": {"max_blocks_per_hour": 1}"#);
    let image_of = |n: usize| key(&format!("sha256:c{n}"));
    for lost in [Fault::Before(Retry::Later), Fault::After(Retry::Later)] {
        for call in 0..20 {
            let world = World::new();
            for n in 0..2 {
                world.push(&image_of(n), image(&image_of(n)));
                world.set_scan(&image_of(n), critical());
            }
            run(look(&world, &limited, &of(&image_of(0), "one"))).unwrap();
            let second = of(&image_of(1), "two");
            world.fail_after(Some((call, lost.clone())));
            let _ = run(look(&world, &limited, &second));
            world.heal();
            world.set_now(now() + SignedDuration::from_mins(1));
            let outcome = run(look(&world, &limited, &second)).unwrap();
            assert_eq!(outcome.state, Some(State::BlockDeferred), "call {call}, {lost:?}");
            let mut told = told(&world);
            told.dedup();
            assert_eq!(told, ["image-blocked", "block-limit"], "call {call}, {lost:?}");
        }
    }
}

#[test]
fn tags_that_a_quarantine_took_before_it_was_refused_are_given_back_with_the_release() {
    let quarantine = policy(r#""block": {"method": "quarantine-tag"}"#);
    let mut refused = 0;
    for call in 0..40 {
        let world = world(clean());
        change(&world, |entry| {
            entry.tags = ["latest", "v1", "v1.2", "v1.2.3"]
                .map(|tag| tag.parse().unwrap())
                .to_vec();
        });
        let before = tags(&world);
        settle(&world, &quarantine);
        assert_eq!(world.row_of(&image_key()).unwrap().state, State::Allowed);
        world.complete_scan(&image_key(), scan(one_critical()));
        world.fail_after(Some((call, Fault::Before(Retry::Never))));
        let looked = run(look(&world, &quarantine, &request("one")));
        refused += usize::from(matches!(looked, Err(ReconcileError::BlockRefused { .. })));
        world.fail_after(None);
        world.complete_scan(&image_key(), scan(vec![]));
        for hour in 1..3 {
            world.set_now(now() + SignedDuration::from_hours(hour));
            settle(&world, &quarantine);
        }
        assert_eq!(tags(&world), before, "refused at call {call}");
        let row = world.row_of(&image_key()).unwrap();
        assert_eq!((row.state, row.block), (State::Allowed, None), "refused at call {call}");
    }
    assert!(refused > 3, "{refused}");
}

#[test]
fn an_image_that_somebody_archives_needs_no_quarantine_before_it_is_restored() {
    let quarantine = policy(r#""block": {"method": "quarantine-tag"}"#);
    let excepted = policy(&format!(r#""block": {{"method": "quarantine-tag"}}, {EXCEPTED}"#));
    let is = |world: &World, status: ImageStatus| change(world, |entry| entry.status = status);
    for is_blocked_before in [false, true] {
        let world = world(critical());
        if !is_blocked_before {
            pulled_now(&world);
        }
        settle(&world, &quarantine);
        let (had, sent) = (tags(&world), told(&world).len());
        change(&world, |entry| {
            (entry.status, entry.last_pulled_at) = (ImageStatus::Archived, None);
        });
        settle(&world, &quarantine);
        assert_eq!(
            (world.row_of(&image_key()).unwrap().state, tags(&world)),
            (State::Blocked, had)
        );
        assert!(!told(&world)[sent..].contains(&"block-deferred".to_owned()));
        world.set_now(world.now() + HOUR);
        assert!(sweep(&world, &quarantine).handed_on.is_empty());
        let generation = world.row_of(&image_key()).unwrap().generation;
        world.set_now(world.now() + HOUR);
        let looks = sweep(&world, &quarantine);
        assert!(looks.handed_on.is_empty() && !looks.due.contains_key("not-blocked"));
        assert_eq!(
            world.row_of(&image_key()).unwrap().generation,
            generation,
            "nothing is left to do"
        );
        // It comes back, and is quarantined.
        is(&world, ImageStatus::Active);
        settle(&world, &quarantine);
        let marks: Vec<String> = tags(&world).into_iter().collect();
        assert!(marks.len() == 1 && marks[0].starts_with("blocked-"), "{marks:?}");
        // It is archived, and an exception ends its quarantine there.
        is(&world, ImageStatus::Archived);
        let sent = told(&world).len();
        settle(&world, &excepted);
        let row = world.row_of(&image_key()).unwrap();
        assert_eq!((row.state, told(&world).len()), (State::Allowed, sent));
        assert!(row.reason.contains("Somebody has archived it"), "{}", row.reason);
        is(&world, ImageStatus::Active);
        settle(&world, &excepted);
        assert_eq!(tags(&world), ["v1.2.3".to_owned()].into());
        assert_eq!(told(&world).last().map(String::as_str), Some("image-released"));
        assert_eq!(world.row_of(&image_key()).unwrap().block, None);
    }
}
