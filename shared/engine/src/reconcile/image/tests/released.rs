//! Releases that a person gave: in force, over, and ended before their time.

use super::*;
use crate::testing::sweep;
use guard_core::{
    ledger::Block,
    release::{Ended, Requester, TimedRelease},
};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

const ROUTES: &str = r#""repositories": [{"match": "pipeops-*", "route": "team"}]"#;

/// A policy in which the repository's alerts have a route of their own.
fn routed() -> Policy {
    let json = format!(
        r#"{{"version": 1, "mode": "enforce", "routes": {{"default": "arn:aws:sns:us-west-2:123456789012:default", "team": "arn:aws:sns:us-west-2:123456789012:team"}}, {ROUTES}}}"#
    );
    Policy::from_json(&json, now()).unwrap()
}

pub(super) fn requester(session: &str) -> Requester {
    Requester {
        account: "123456789012".parse().unwrap(),
        name: "role/oncall".to_owned(),
        session: Some(session.to_owned()),
    }
}

fn release(until: Timestamp) -> TimedRelease {
    TimedRelease {
        until,
        by: requester("alice"),
        reason: "checkout is down".to_owned(),
        ticket: Some("SEC-77".to_owned()),
        given_at: now(),
        ended: None,
        told_at: None,
        end_told_at: None,
    }
}

/// The row as the function `operate` leaves it.
fn give(world: &World, key: &ImageKey, release: TimedRelease) {
    let row = world.row_of(key).unwrap();
    world.remember(Row {
        generation: row.generation + 1,
        release: Some(release),
        ..row
    });
}

fn row(world: &World) -> Row {
    world.row_of(&image_key()).unwrap()
}

fn blocked() -> (World, Policy) {
    let (world, policy) = (world(critical()), policy(""));
    settle(&world, &policy);
    assert_eq!(status(&world), ImageStatus::Archived);
    (world, policy)
}

/// It was blocked, a person has released it, and it can be pulled again.
fn released() -> (World, Policy) {
    let (world, policy) = blocked();
    give(&world, &image_key(), release(now() + HOUR * 4));
    settle(&world, &policy);
    world.finish_restore(&image_key());
    settle(&world, &policy);
    assert_eq!(
        (status(&world), row(&world).state),
        (ImageStatus::Active, State::BlockDeferred)
    );
    (world, policy)
}

#[test]
fn the_alert_about_a_block_names_the_release_where_the_policy_has_one() {
    let rules = |repositories: &str| {
        format!(
            r#""release": {{"allow": true, "max_hours": 12, "principals": ["arn:aws:iam::123456789012:role/oncall"], "repositories": ["{repositories}"]}}"#
        )
    };
    for (members, named) in [
        (rules("pipeops-*"), true),
        (rules("pay/*"), false),
        (String::new(), false),
    ] {
        let (world, policy) = (world(critical()), policy(&members));
        settle(&world, &policy);
        assert_eq!(told(&world), ["image-blocked"]);
        let step = "Must it run before it is fixed? On-call can release this image for up to 12 hours, with the command ecr-guard release.";
        assert_eq!(world.sent()[0].message.default.contains(step), named, "{members}");
    }
}

fn pull(world: &World, at: Timestamp) {
    let mut image = world.image_of(&image_key()).unwrap();
    image.last_pulled_at = Some(at);
    world.push(&image_key(), image);
}

#[test]
fn a_release_restores_the_image_and_is_alerted_at_once() {
    let (world, policy) = blocked();
    give(&world, &image_key(), release(now() + HOUR * 4));
    let outcome = settle(&world, &policy);
    assert_eq!(
        (outcome.state, outcome.effect, outcome.alert),
        (
            Some(State::BlockDeferred),
            Some("restore"),
            Some(AlertKind::ImageReleased)
        )
    );
    // It is on its way back: people know of it already.
    assert_eq!(status(&world), ImageStatus::Activating);
    assert_eq!(told(&world), ["image-blocked", "image-released"]);
    assert_eq!(row(&world).release.unwrap().told_at, Some(world.now()));
    world.finish_restore(&image_key());
    settle(&world, &policy);
    assert_eq!((row(&world).block, row(&world).state), (None, State::BlockDeferred));
    assert_eq!(told(&world), ["image-blocked", "image-released"]);
    world.forget_calls();
    assert_eq!(settle(&world, &policy).outcome, OutcomeKind::Unchanged);
    assert_eq!(world.writes(), 0);
    insta::assert_snapshot!(row(&world).reason, @"1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL). It is not blocked: released by role/oncall of 123456789012, session `alice` until 2026-11-24 16:00 UTC (SEC-77): checkout is down.");
}

#[test]
fn the_alert_about_a_release_goes_to_the_route_and_to_the_default_route() {
    let (world, policy) = (world(critical()), routed());
    settle(&world, &policy);
    give(&world, &image_key(), release(now() + HOUR * 4));
    settle(&world, &policy);
    let topics: Vec<String> = world.sent().iter().map(|sent| sent.topic.as_str().to_owned()).collect();
    let of = |name: &str| format!("arn:aws:sns:us-west-2:123456789012:{name}");
    assert_eq!(topics, [of("team"), of("team"), of("default")]);
    let sent = world.sent();
    assert_eq!(sent[1].message, sent[2].message);
    let json: serde_json::Value = serde_json::from_str(&sent[1].message.default).unwrap();
    insta::assert_snapshot!(json["release"].to_string(), @r#"{"by":{"account":"123456789012","name":"role/oncall","session":"alice"},"reason":"checkout is down","ticket":"SEC-77","until":"2026-11-24T16:00:00Z"}"#);
    insta::assert_snapshot!("the_email_about_a_release", sent[1].message.email);
}

#[test]
fn a_release_that_nobody_was_alerted_about_is_found_by_a_sweep() {
    let (world, policy) = blocked();
    give(&world, &image_key(), release(now() + HOUR * 4));
    // The invocation that wrote it did not live to reconcile the image.
    sweep(&world, &policy);
    assert_eq!(status(&world), ImageStatus::Activating);
    assert_eq!(told(&world), ["image-blocked", "image-released"]);
}

#[test]
fn a_release_ends_by_itself_although_the_image_was_pulled_meanwhile() {
    let (world, policy) = released();
    pull(&world, now() + HOUR);
    for hours in [1, 2, 3] {
        world.set_now(now() + HOUR * hours);
        sweep(&world, &policy);
        assert_eq!(status(&world), ImageStatus::Active, "after {hours} hours");
    }
    world.set_now(now() + HOUR * 4);
    sweep(&world, &policy);
    assert_eq!(
        (status(&world), row(&world).state),
        (ImageStatus::Archived, State::Blocked)
    );
    assert_eq!(row(&world).release, None);
    assert_eq!(told(&world), ["image-blocked", "image-released", "image-blocked"]);
    let alert: serde_json::Value = serde_json::from_str(&world.sent()[2].message.default).unwrap();
    insta::assert_snapshot!(alert["reason"].as_str().unwrap(), @"Its release by role/oncall of 123456789012, session `alice` has ended at 2026-11-24 16:00 UTC. 1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL).");
}

#[test]
fn a_release_that_is_ended_blocks_at_once() {
    let (world, policy) = released();
    pull(&world, now() + HOUR);
    world.set_now(now() + HOUR * 2);
    let ended = Ended {
        by: requester("bob"),
        at: world.now(),
    };
    let release = row(&world).release.unwrap();
    give(
        &world,
        &image_key(),
        TimedRelease {
            ended: Some(ended),
            ..release
        },
    );
    settle(&world, &policy);
    assert_eq!(status(&world), ImageStatus::Archived);
    let alert: serde_json::Value = serde_json::from_str(&world.sent()[2].message.default).unwrap();
    let reason = alert["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("role/oncall of 123456789012, session `bob` ended its release at 2026-11-24 14:00 UTC."),
        "{reason}"
    );
}

#[test]
fn the_limit_of_an_hour_does_not_make_a_release_last() {
    let (world, policy) = (world(critical()), policy(r#""block": {"max_blocks_per_hour": 1}"#));
    settle(&world, &policy);
    give(&world, &image_key(), release(now() + HOUR * 4));
    settle(&world, &policy);
    world.finish_restore(&image_key());
    settle(&world, &policy);
    pull(&world, now() + HOUR);
    world.set_now(now() + HOUR * 4);
    // Another image has taken the hour's only block.
    let other = ImageKey {
        digest: "sha256:0b".parse().unwrap(),
        ..image_key()
    };
    world.push(&other, image(&other));
    world.set_scan(&other, critical());
    run(look(
        &world,
        &policy,
        &Request {
            image: ImageRef::Digest(other.digest.clone()),
            ..request("two")
        },
    ))
    .unwrap();
    sweep(&world, &policy);
    assert_eq!(
        (status(&world), row(&world).state),
        (ImageStatus::Active, State::BlockDeferred)
    );
    assert!(row(&world).release.is_some());
    world.set_now(now() + HOUR * 5);
    sweep(&world, &policy);
    assert_eq!((status(&world), row(&world).release), (ImageStatus::Archived, None));
}

#[test]
fn a_second_release_is_alerted_too() {
    let (world, policy) = released();
    world.set_now(now() + HOUR);
    let longer = TimedRelease {
        given_at: world.now(),
        until: now() + HOUR * 8,
        by: requester("bob"),
        ..release(now())
    };
    give(&world, &image_key(), longer);
    settle(&world, &policy);
    assert_eq!(told(&world), ["image-blocked", "image-released", "image-released"]);
    assert_eq!(told_ids(&world).len(), 3);
}

#[test]
fn a_second_release_that_nobody_was_alerted_about_is_found_by_a_sweep() {
    let (world, policy) = released();
    world.set_now(now() + HOUR);
    let longer = TimedRelease {
        given_at: world.now(),
        ..release(now() + HOUR * 8)
    };
    give(&world, &image_key(), longer);
    sweep(&world, &policy);
    assert_eq!(told(&world), ["image-blocked", "image-released", "image-released"]);
}

#[test]
fn a_finding_that_appears_during_a_release_is_alerted_and_does_not_end_it() {
    let (world, policy) = released();
    let more = vec![
        finding("CVE-2026-1", Severity::Critical),
        finding("CVE-2026-2", Severity::Critical),
    ];
    world.complete_scan(&image_key(), scan(more));
    settle(&world, &policy);
    assert_eq!(status(&world), ImageStatus::Active);
    assert_eq!(told(&world), ["image-blocked", "image-released", "block-deferred"]);
}

#[test]
fn a_release_is_bound_to_the_digest() {
    let (world, policy) = released();
    let rebuilt = ImageKey {
        digest: "sha256:0b".parse().unwrap(),
        ..image_key()
    };
    world.push(&rebuilt, image(&rebuilt));
    world.set_scan(&rebuilt, critical());
    sweep(&world, &policy);
    assert_eq!(world.row_of(&rebuilt).unwrap().state, State::Blocked);
    assert_eq!(status(&world), ImageStatus::Active);
}

#[test]
fn every_method_is_released_and_every_tag_comes_back() {
    for method in ["archive", "quarantine-tag", "flag"] {
        let (world, policy) = (
            world(critical()),
            policy(&format!(r#""block": {{"method": "{method}"}}"#)),
        );
        let before = tags(&world);
        settle(&world, &policy);
        assert_eq!(row(&world).state, State::Blocked, "{method}");
        give(&world, &image_key(), release(now() + HOUR * 4));
        settle(&world, &policy);
        world.finish_restore(&image_key());
        settle(&world, &policy);
        assert_eq!(
            (status(&world), tags(&world)),
            (ImageStatus::Active, before),
            "{method}"
        );
        assert_eq!(told(&world), ["image-blocked", "image-released"], "{method}");
        world.set_now(now() + HOUR * 4);
        sweep(&world, &policy);
        assert_eq!(
            (row(&world).state, row(&world).release),
            (State::Blocked, None),
            "{method}"
        );
    }
}

#[test]
fn what_blocks_for_another_reason_than_findings_is_released_too() {
    let tag = r#""repositories": [{"match": "*", "tags": {"forbidden": ["v*"], "on_violation": "block"}}]"#;
    for (scan, members) in [
        (Scan::Unavailable(NoScan::Failed), r#""scan": {"on_failure": "block"}"#),
        (clean(), tag),
    ] {
        let (world, policy) = (world(scan), policy(members));
        settle(&world, &policy);
        assert_eq!(row(&world).state, State::Blocked, "{members}");
        give(&world, &image_key(), release(now() + HOUR * 4));
        settle(&world, &policy);
        assert_eq!(status(&world), ImageStatus::Activating, "{members}");
        assert_eq!(told(&world).last().unwrap(), "image-released", "{members}");
    }
}

#[test]
fn a_release_of_what_is_no_longer_bad_ends_in_silence() {
    let (world, policy) = released();
    world.complete_scan(&image_key(), scan(vec![]));
    settle(&world, &policy);
    assert_eq!(row(&world).state, State::Allowed);
    world.set_now(now() + HOUR * 4);
    sweep(&world, &policy);
    assert_eq!((row(&world).state, row(&world).release), (State::Allowed, None));
    assert_eq!(status(&world), ImageStatus::Active);
    assert_eq!(told(&world), ["image-blocked", "image-released"]);
}

#[test]
fn a_release_that_the_registry_refuses_stays_pending_and_is_tried_again() {
    let (world, policy) = blocked();
    give(&world, &image_key(), release(now() + HOUR * 4));
    world.fail("ecr:UpdateImageStorageClass", Fault::Before(Retry::Never));
    run(look(&world, &policy, &request("one"))).unwrap_err();
    assert_eq!((row(&world).state, told(&world).len()), (State::Blocked, 1));
    assert_eq!(row(&world).release.unwrap().told_at, None);
    world.heal();
    world.set_now(now() + HOUR);
    sweep(&world, &policy);
    assert_eq!(status(&world), ImageStatus::Activating);
    assert_eq!(told(&world), ["image-blocked", "image-released"]);
}

#[test]
fn a_crash_at_any_point_loses_neither_the_release_nor_its_alert_nor_its_end() {
    for polls in 1..60 {
        let (world, policy) = blocked();
        give(&world, &image_key(), release(now() + HOUR * 4));
        run_and_crash(look(&world, &policy, &request("one")), polls);
        world.set_now(now() + HOUR);
        sweep(&world, &policy);
        world.finish_restore(&image_key());
        sweep(&world, &policy);
        assert_eq!(status(&world), ImageStatus::Active, "after {polls} polls");
        let ids = told_ids(&world);
        assert_eq!(ids.len(), 2, "after {polls} polls: {:?}", told(&world));
        pull(&world, now() + HOUR * 2);
        world.set_now(now() + HOUR * 5);
        run_and_crash(look(&world, &policy, &request("two")), polls);
        world.set_now(now() + HOUR * 6);
        sweep(&world, &policy);
        assert_eq!(status(&world), ImageStatus::Archived, "after {polls} polls");
        let sent = world.sent();
        let last: serde_json::Value = serde_json::from_str(&sent.last().unwrap().message.default).unwrap();
        let says = last["reason"].as_str().unwrap().contains("has ended");
        assert!(says, "after {polls} polls: {last}");
        assert_eq!(told_ids(&world).len(), 3, "after {polls} polls: {:?}", told(&world));
    }
}

/// An index with one image, both blocked.
fn family() -> (World, Policy, ImageKey, ImageKey) {
    let key = |digest: &str| ImageKey {
        digest: digest.parse().unwrap(),
        ..image_key()
    };
    let (index, child) = (key("sha256:1d"), key("sha256:c0"));
    let world = World::new();
    let fresh = |key: &ImageKey, tags: &[&str]| Image {
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        ..image(key)
    };
    world.push(&child, fresh(&child, &[]));
    world.push(
        &index,
        Image {
            manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
            artifact_media_type: None,
            ..fresh(&index, &["v1"])
        },
    );
    let platform = r#"{"os": "linux", "architecture": "amd64"}"#;
    world.set_manifest(
        &index,
        &format!(
            r#"{{"manifests": [{{"digest": "{}", "platform": {platform}}}]}}"#,
            child.digest
        ),
    );
    world.set_scan(&child, critical());
    let policy = policy("");
    sweep(&world, &policy);
    for key in [&index, &child] {
        assert_eq!(world.row_of(key).unwrap().state, State::Blocked);
        assert_eq!(world.image_of(key).unwrap().status, ImageStatus::Archived);
    }
    (world, policy, index, child)
}

fn settle_of(world: &World, policy: &Policy, key: &ImageKey) {
    let request = Request {
        image: ImageRef::Digest(key.digest.clone()),
        ..request("one")
    };
    run(look(world, policy, &request)).unwrap();
}

#[test]
fn a_released_index_can_be_pulled_with_its_images_and_is_blocked_with_them_again() {
    let (world, policy, index, child) = family();
    give(&world, &index, release(now() + HOUR * 4));
    settle_of(&world, &policy, &index);
    for key in [&index, &child] {
        assert_eq!(world.image_of(key).unwrap().status, ImageStatus::Activating, "{key}");
        world.finish_restore(key);
    }
    sweep(&world, &policy);
    sweep(&world, &policy);
    for key in [&index, &child] {
        let row = world.row_of(key).unwrap();
        assert_eq!((row.state, row.block), (State::BlockDeferred, None), "{key}");
    }
    world.forget_calls();
    sweep(&world, &policy);
    assert_eq!(told(&world), ["image-blocked", "image-released"]);
    world.set_now(now() + HOUR * 4);
    sweep(&world, &policy);
    for key in [&index, &child] {
        assert_eq!(world.image_of(key).unwrap().status, ImageStatus::Archived, "{key}");
    }
    assert_eq!(told(&world), ["image-blocked", "image-released", "image-blocked"]);
}

#[test]
fn an_image_of_a_blocked_index_is_released_alone_and_stays_so() {
    let (world, policy, index, child) = family();
    give(&world, &child, release(now() + HOUR * 4));
    settle_of(&world, &policy, &child);
    world.finish_restore(&child);
    for _ in 0..2 {
        sweep(&world, &policy);
        assert_eq!(world.image_of(&child).unwrap().status, ImageStatus::Active);
        assert_eq!(world.image_of(&index).unwrap().status, ImageStatus::Archived);
    }
    assert_eq!(told(&world), ["image-blocked", "image-released"]);
    // Nothing is left to do, sweep after sweep.
    world.forget_calls();
    sweep(&world, &policy);
    let looked = world
        .calls()
        .iter()
        .filter(|call| call.operation == "ecr:DescribeImageScanFindings")
        .count();
    assert_eq!(looked, 0);
    world.set_now(now() + HOUR * 4);
    sweep(&world, &policy);
    assert_eq!(world.image_of(&child).unwrap().status, ImageStatus::Archived);
}

#[test]
fn a_row_of_an_earlier_version_has_no_release_and_a_release_is_read_back() {
    let (world, _) = blocked();
    let mut json = serde_json::to_value(row(&world)).unwrap();
    assert_eq!(json.get("release"), None);
    json["release"] = serde_json::json!({
        "until": "2026-11-24T16:00:00Z", "by": {"account": "123456789012", "name": "user/alice"},
        "reason": "r", "given_at": "2026-11-24T12:00:00Z", "of_a_later_version": 1
    });
    let row: Row = serde_json::from_value(json).unwrap();
    assert_eq!(row.release.unwrap().by.session, None);
    assert!(matches!(row.block, Some(Block { .. })));
}
