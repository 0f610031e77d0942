//! Multi-platform indexes, and their children.

use super::*;
use crate::testing::sweep;

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn amd64() -> ImageKey {
    key("sha256:a6")
}

fn arm64() -> ImageKey {
    key("sha256:a4")
}

/// Pushed a minute ago.
fn fresh(key: &ImageKey, tags: &[&str]) -> Image {
    Image {
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        pushed_at: Some(now() - SignedDuration::from_mins(1)),
        ..image(key)
    }
}

fn push_index(world: &World, index: &ImageKey, tags: &[&str], children: &[(&ImageKey, &str)]) {
    let manifests: Vec<String> = children
        .iter()
        .map(|(key, architecture)| {
            format!(
                r#"{{"digest": "{}", "platform": {{"os": "linux", "architecture": "{architecture}"}}}}"#,
                key.digest
            )
        })
        .collect();
    let entry = Image {
        manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
        artifact_media_type: None,
        ..fresh(index, tags)
    };
    world.push(index, entry);
    world.set_manifest(index, &format!(r#"{{"manifests": [{}]}}"#, manifests.join(",")));
}

/// An index for two platforms, tagged `v1.2.3`; nothing has been reconciled yet.
fn world() -> World {
    let world = World::new();
    world.push(&amd64(), fresh(&amd64(), &[]));
    world.push(&arm64(), fresh(&arm64(), &[]));
    push_index(
        &world,
        &index(),
        &["v1.2.3"],
        &[(&amd64(), "amd64"), (&arm64(), "arm64")],
    );
    world
}

fn scanned(amd64_findings: Vec<Finding>, arm64_findings: Vec<Finding>) -> World {
    let world = world();
    world.complete_scan(&amd64(), scan(amd64_findings));
    world.complete_scan(&arm64(), scan(arm64_findings));
    world
}

fn of(key: &ImageKey) -> Request {
    Request {
        image: ImageRef::Digest(key.digest.clone()),
        ..request("one")
    }
}

#[track_caller]
fn settle(world: &World, policy: &Policy, key: &ImageKey) -> Outcome {
    run(look(world, policy, &of(key))).unwrap()
}

fn state(world: &World, key: &ImageKey) -> State {
    world.row_of(key).unwrap().state
}

/// Where there is no index.
fn archived_images(world: &World) -> Vec<&'static str> {
    [("amd64", amd64()), ("arm64", arm64())]
        .into_iter()
        .filter(|(_, key)| world.image_of(key).unwrap().status == ImageStatus::Archived)
        .map(|(name, _)| name)
        .collect()
}

fn archived(world: &World) -> Vec<&'static str> {
    [("index", index()), ("amd64", amd64()), ("arm64", arm64())]
        .into_iter()
        .filter(|(_, key)| world.image_of(key).unwrap().status == ImageStatus::Archived)
        .map(|(name, _)| name)
        .collect()
}

fn one_critical() -> Vec<Finding> {
    vec![finding("CVE-2026-1", Severity::Critical)]
}

/// Whichever image is reconciled next, nothing is left to do.
#[track_caller]
fn assert_nothing_left(world: &World, policy: &Policy, case: &str) {
    for key in [index(), amd64(), arm64()] {
        world.forget_calls();
        let outcome = settle(world, policy, &key);
        assert_eq!(
            (outcome.outcome, outcome.also.len()),
            (OutcomeKind::Unchanged, 0),
            "{case}: {key}"
        );
        assert_eq!(world.writes(), 0, "{case}: {key}");
    }
}

#[test]
fn the_worst_image_decides_and_one_alert_covers_all() {
    let world = world();
    for pushed in [amd64(), arm64(), index()] {
        settle(&world, &policy(""), &pushed);
    }
    assert_eq!(state(&world, &index()), State::Pending);

    world.complete_scan(&amd64(), scan(vec![]));
    settle(&world, &policy(""), &amd64());
    assert_eq!(
        (state(&world, &amd64()), state(&world, &index())),
        (State::Allowed, State::Pending)
    );
    insta::assert_snapshot!(world.row_of(&index()).unwrap().reason, @"On linux/arm64: No scan result yet.");

    world.complete_scan(&arm64(), scan(one_critical()));
    let outcome = settle(&world, &policy(""), &arm64());
    let also: Vec<_> = outcome
        .also
        .iter()
        .map(|one| (one.state.unwrap(), one.effect))
        .collect();
    assert_eq!(outcome.state, Some(State::BlockDeferred), "it waits for its index");
    assert_eq!(
        also,
        [(State::Blocked, Some("archive")), (State::Blocked, Some("archive"))]
    );
    assert_eq!(archived(&world), ["index", "arm64"]);
    assert_eq!(told(&world), ["image-blocked"]);
    let alert: serde_json::Value = serde_json::from_str(&world.sent()[0].message.default).unwrap();
    assert_eq!(
        (&alert["digest"], &alert["tags"]),
        (&"sha256:1d".into(), &serde_json::json!(["v1.2.3"]))
    );
    insta::assert_snapshot!(alert["reason"].as_str().unwrap(), @"On linux/arm64: 1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL).");
    assert_nothing_left(&world, &policy(""), "blocked");
}

#[test]
fn it_does_not_matter_what_is_reconciled_and_in_which_order() {
    let orders = [
        vec![index()],
        vec![index(), amd64(), arm64()],
        vec![arm64(), index()],
        vec![amd64(), arm64(), index()],
        vec![arm64(), amd64(), index(), arm64()],
    ];
    for order in orders {
        let world = scanned(vec![], one_critical());
        for key in &order {
            settle(&world, &policy(""), key);
        }
        assert_eq!(archived(&world), ["index", "arm64"], "{order:?}");
        assert!(told(&world).iter().all(|kind| kind == "image-blocked"), "{order:?}");
        assert_nothing_left(&world, &policy(""), &format!("{order:?}"));
    }
}

#[test]
fn every_verdict_of_an_image_reaches_its_index() {
    let high = vec![finding("CVE-2026-2", Severity::High)];
    for (members, amd64_findings, arm64_findings, expected, alerts) in [
        ("", vec![], vec![], State::Allowed, vec![]),
        ("", high.clone(), vec![], State::Review, vec!["image-review"]),
        ("", high.clone(), one_critical(), State::Blocked, vec!["image-blocked"]),
        (EXCEPTED, high, one_critical(), State::Review, vec!["image-review"]),
        (EXCEPTED, vec![], one_critical(), State::Allowed, vec![]),
    ] {
        let world = scanned(amd64_findings, arm64_findings);
        let policy = policy(members);
        settle(&world, &policy, &index());
        assert_eq!(state(&world, &index()), expected);
        assert_eq!(told(&world), alerts);
        assert_nothing_left(&world, &policy, &format!("{expected:?}"));
    }
    let world = scanned(vec![], vec![finding("CVE-2026-2", Severity::High)]);
    settle(&world, &policy(""), &index());
    let told_of = &world.sent()[0].message.default;
    assert!(
        told_of.contains("imageDigest=sha256:a4"),
        "the index has no scan to look at: {told_of}"
    );

    let world = scanned(vec![], vec![]);
    world.set_scan(&arm64(), Scan::Unavailable(NoScan::Failed));
    settle(&world, &policy(""), &index());
    assert_eq!(
        (state(&world, &index()), told(&world)),
        (State::Unscannable, vec!["scan-failed".to_owned()])
    );
    let strict = policy(r#""scan": {"on_failure": "block"}"#);
    settle(&world, &strict, &index());
    assert_eq!(archived(&world), ["index", "arm64"]);

    // An unknown image that blocks is worse than one that needs review.
    let world = scanned(vec![finding("CVE-2026-2", Severity::High)], vec![]);
    world.set_scan(&arm64(), Scan::Unavailable(NoScan::Failed));
    settle(&world, &strict, &index());
    assert_eq!(archived(&world), ["index", "arm64"]);
}

#[test]
fn the_alert_of_an_index_quotes_the_scanner_for_its_children() {
    let failed = |words: &str| Scan::Explained(NoScan::Failed, words.to_owned());
    let clean = Scan::Complete(scan(vec![]));
    for (amd64_scan, arm64_scan, expected) in [
        (
            clean,
            failed("no package database"),
            "On linux/arm64: The scan failed, so nothing is known about this image. The scanner says: \"no package database\"",
        ),
        (
            failed("no package database"),
            failed("no package database"),
            "On linux/amd64, linux/arm64: The scan failed, so nothing is known about this image. The scanner says: \"no package database\"",
        ),
        (
            failed("no package database"),
            failed("layer 3: <!channel>"),
            "On linux/amd64, linux/arm64: The scan failed, so nothing is known about this image. The scanner says of linux/amd64: \
             \"no package database\" The scanner says of linux/arm64: \"layer 3: <!channel>\"",
        ),
        (
            Scan::Unavailable(NoScan::Failed),
            failed("no package database"),
            "On linux/amd64, linux/arm64: The scan failed, so nothing is known about this image. The scanner says: \"no package database\"",
        ),
    ] {
        let world = world();
        world.set_scan(&amd64(), amd64_scan);
        world.set_scan(&arm64(), arm64_scan);
        settle(&world, &policy(""), &index());
        let sent = world.sent();
        assert_eq!(sent.len(), 1, "{expected}");
        let json: serde_json::Value = serde_json::from_str(&sent[0].message.default).unwrap();
        assert_eq!(
            (&json["kind"], &json["reason"]),
            (&"scan-failed".into(), &expected.into())
        );
        assert!(
            !sent[0].message.https.contains("<!channel>"),
            "{}",
            sent[0].message.https
        );
        // The scanner is asked no more, and the reason stays what it was.
        settle(&world, &policy(""), &index());
        assert_eq!(world.sent().len(), 1, "{expected}");
        assert!(world.row_of(&index()).unwrap().reason == expected);
    }
}

#[test]
fn an_image_that_is_not_there_is_unknown_and_not_clean() {
    let world = world();
    world.complete_scan(&amd64(), scan(vec![]));
    world.delete(&arm64());
    settle(&world, &policy(""), &index());
    assert_eq!((state(&world, &index()), told(&world).len()), (State::Pending, 0));
    world.set_now(now() + SignedDuration::from_hours(1));
    settle(&world, &policy(""), &index());
    assert_eq!(
        (state(&world, &index()), told(&world)),
        (State::Pending, vec!["scan-overdue".to_owned()])
    );
    insta::assert_snapshot!(world.row_of(&index()).unwrap().reason, @"On linux/arm64: No scan result came within the time that the policy grants.");
}

#[test]
fn one_use_defers_the_block_of_the_index_and_all_its_children() {
    let pulled = |key: ImageKey| {
        let world = scanned(vec![], one_critical());
        let mut entry = world.image_of(&key).unwrap();
        entry.last_pulled_at = Some(now() - DAY);
        world.push(&key, entry);
        world
    };
    let running = || {
        let world = scanned(vec![], vec![]);
        let mut findings = scan(vec![finding("CVE-2026-9", Severity::Low)]);
        findings.in_use_count = Some(2);
        world.complete_scan(&amd64(), findings);
        world.complete_scan(&arm64(), scan(one_critical()));
        world
    };
    for (case, world) in [
        ("the index", pulled(index())),
        ("the other image", pulled(amd64())),
        ("the image itself", pulled(arm64())),
        ("a workload runs the other image", running()),
    ] {
        settle(&world, &policy(""), &index());
        assert_eq!(
            (state(&world, &index()), state(&world, &arm64())),
            (State::BlockDeferred, State::BlockDeferred),
            "{case}"
        );
        assert!(archived(&world).is_empty(), "{case}");
        assert_eq!(told(&world), ["block-deferred"], "{case}");
        assert_nothing_left(&world, &policy(""), case);
        let all_the_same = policy(r#""block": {"when_in_use": "block"}"#);
        settle(&world, &all_the_same, &index());
        assert_eq!(archived(&world), ["index", "arm64"], "{case}");
    }
}

#[test]
fn an_exception_for_the_tag_of_the_index_releases_it_and_its_images_and_is_alerted_when_all_can_be_pulled() {
    let tagged = policy(
        r#""exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["*"], "tag": "v1.*", "owner": "o", "reason": "r", "expires": "2026-12-31"}]"#,
    );
    for restored_last in [arm64(), index()] {
        let world = scanned(vec![], one_critical());
        settle(&world, &policy(""), &index());
        assert_eq!(archived(&world), ["index", "arm64"]);
        settle(&world, &tagged, &index());
        assert!(archived(&world).is_empty());
        let first = if restored_last == index() { arm64() } else { index() };
        for (key, told_so_far) in [(first, 1), (restored_last, 2)] {
            world.finish_restore(&key);
            settle(&world, &tagged, &key);
            assert_eq!(told(&world).len(), told_so_far, "{key}");
            let reason = world.row_of(&index()).unwrap().reason;
            assert_eq!(
                reason.contains("is being restored"),
                told_so_far == 1,
                "{key}: {reason}"
            );
        }
        assert_eq!(told(&world), ["image-blocked", "image-released"]);
        assert_eq!(world.row_of(&index()).unwrap().block, None);
        assert_nothing_left(&world, &tagged, "released");
    }
}

#[test]
fn what_comes_back_is_blocked_again_and_alerted() {
    for (key, digest) in [(index(), "sha256:1d"), (arm64(), "sha256:a4")] {
        let world = scanned(vec![], one_critical());
        settle(&world, &policy(""), &index());
        world.push_again(&key, now());
        settle(&world, &policy(""), &key);
        assert_eq!(archived(&world), ["index", "arm64"]);
        assert_eq!(told(&world), ["image-blocked", "image-bypass"]);
        assert!(
            world.sent()[1]
                .message
                .default
                .contains(&format!(r#""digest":"{digest}""#))
        );
        assert_nothing_left(&world, &policy(""), digest);
    }
}

#[test]
fn an_image_reaches_every_parent_index() {
    let world = scanned(vec![], vec![]);
    let other = key("sha256:2d");
    push_index(&world, &other, &["v1.2.4"], &[(&arm64(), "arm64")]);
    settle(&world, &policy(""), &index());
    settle(&world, &policy(""), &other);
    world.complete_scan(&arm64(), scan(one_critical()));
    settle(&world, &policy(""), &arm64());
    assert_eq!(
        (state(&world, &index()), state(&world, &other)),
        (State::Blocked, State::Blocked)
    );
    assert_eq!(archived(&world), ["index", "arm64"]);
    assert_eq!(told(&world), ["image-blocked", "image-blocked"]);
    assert_nothing_left(&world, &policy(""), "both");
}

#[test]
fn an_index_of_indexes_is_reached_as_well() {
    let outer = key("sha256:3d");
    for first in [vec![index(), outer.clone()], vec![outer.clone()]] {
        let world = scanned(vec![], vec![]);
        push_index(&world, &outer, &["v1.2.3-all"], &[(&index(), "any")]);
        for pushed in &first {
            settle(&world, &policy(""), pushed);
        }
        assert_eq!(
            (state(&world, &index()), state(&world, &outer)),
            (State::Allowed, State::Allowed)
        );
        world.complete_scan(&arm64(), scan(one_critical()));
        settle(&world, &policy(""), &arm64());
        assert_eq!(
            (state(&world, &index()), state(&world, &outer)),
            (State::Blocked, State::Blocked)
        );
        assert_eq!(archived(&world), ["index", "arm64"]);
        assert_eq!(world.image_of(&outer).unwrap().status, ImageStatus::Archived);
        assert_eq!(told(&world), ["image-blocked"]);
        assert!(world.sent()[0].message.default.contains(r#""digest":"sha256:3d""#));
        settle(&world, &policy(""), &outer);
        assert_nothing_left(&world, &policy(""), "nested");
    }
}

#[test]
fn an_image_stays_while_the_block_of_one_of_its_indexes_is_deferred() {
    let world = scanned(vec![], one_critical());
    let other = key("sha256:2d");
    push_index(&world, &other, &["v1.2.4"], &[(&arm64(), "arm64")]);
    let mut used = world.image_of(&other).unwrap();
    used.last_pulled_at = Some(now());
    world.push(&other, used);
    settle(&world, &policy(""), &other);
    settle(&world, &policy(""), &index());
    assert_eq!(
        (state(&world, &other), state(&world, &index())),
        (State::BlockDeferred, State::Blocked)
    );
    assert_eq!(archived(&world), ["index"], "the other index needs the image");
    assert_nothing_left(&world, &policy(""), "one held");
}

#[test]
fn a_registry_that_does_not_archive_what_an_index_references_is_no_error() {
    let world = scanned(vec![], one_critical());
    world.refuse_to_archive(&arm64());
    settle(&world, &policy(""), &index());
    assert_eq!(archived(&world), ["index"]);
    assert_eq!(state(&world, &arm64()), State::BlockDeferred);
    assert_eq!(told(&world), ["image-blocked"]);
    insta::assert_snapshot!(world.row_of(&arm64()).unwrap().reason, @"1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL). It is not blocked: the registry does not archive it, as an index references it; every such index is blocked.");
    assert_nothing_left(&world, &policy(""), "refused");
}

#[test]
fn one_index_is_one_block() {
    let world = scanned(one_critical(), one_critical());
    let two = policy(r#""block": {"max_blocks_per_hour": 1}"#);
    settle(&world, &two, &index());
    assert_eq!(archived(&world), ["index", "amd64", "arm64"]);
    assert_eq!(told(&world), ["image-blocked"]);
}

#[test]
fn nothing_changes_in_report_mode() {
    let world = scanned(vec![], one_critical());
    let report = policy_in("report", "");
    settle(&world, &report, &index());
    assert!(world.calls().iter().all(|call| !call.mutates));
    assert_eq!(
        (state(&world, &index()), state(&world, &arm64())),
        (State::BlockDeferred, State::BlockDeferred)
    );
    assert_eq!(told(&world), ["block-deferred"]);
    assert_nothing_left(&world, &report, "report");
}

#[test]
fn an_index_of_nothing_that_runs_is_left_alone_and_one_that_cannot_be_read_is_unknown() {
    let world = world();
    world.set_manifest(&index(), r#"{"manifests": []}"#);
    assert_eq!(settle(&world, &policy(""), &index()).outcome, OutcomeKind::NotAnImage);
    assert_eq!(world.writes(), 1, "that it is one is remembered");
    world.forget_calls();
    assert_eq!(settle(&world, &policy(""), &index()).outcome, OutcomeKind::NotAnImage);
    assert_eq!(world.writes(), 0);
    let world = self::world();
    world.set_manifest(&index(), "{}");
    assert_eq!(settle(&world, &policy(""), &index()).state, Some(State::Unscannable));
    world.fail("ecr:BatchGetImage", Fault::Before(Retry::Later));
    assert!(run(look(&world, &policy(""), &of(&index()))).is_err());
    let world = self::world();
    world.fail("ecr:BatchGetImage", Fault::Before(Retry::Never));
    let outcome = run(look(&world, &policy(""), &of(&index()))).unwrap();
    assert_eq!(
        (outcome.state, outcome.not_read.is_some()),
        (Some(State::Unscannable), true)
    );
}

#[test]
fn an_index_that_was_blocked_for_a_tag_before_any_scan_is_not_known_to_be_clean_without_it() {
    let world = world();
    let rules = policy(r#""repositories": [{"match": "*", "tags": {"forbidden": ["v1.*"], "on_violation": "block"}}]"#);
    assert_eq!(settle(&world, &rules, &index()).state, Some(State::Blocked));
    let mut untagged = world.image_of(&index()).unwrap();
    untagged.tags = vec!["v2".parse().unwrap()];
    world.push(&index(), untagged);
    assert_eq!(
        settle(&world, &rules, &index()).state,
        Some(State::Pending),
        "nobody has scanned its images"
    );
    world.complete_scan(&amd64(), scan(one_critical()));
    world.complete_scan(&arm64(), scan(vec![]));
    settle(&world, &rules, &amd64());
    assert_eq!(world.row_of(&index()).unwrap().state, State::Blocked);
}

#[test]
fn an_index_that_is_deleted_no_longer_covers_its_images() {
    let world = scanned(vec![], vec![]);
    settle(&world, &policy(""), &index());
    world.delete(&index());
    assert_eq!(settle(&world, &policy(""), &index()).outcome, OutcomeKind::Closed);
    world.complete_scan(&arm64(), scan(one_critical()));
    let outcome = settle(&world, &policy(""), &arm64());
    assert_eq!(
        (outcome.state, outcome.alert),
        (Some(State::BlockDeferred), None),
        "another index may lead to it"
    );
    assert_eq!(world.row_of(&arm64()).unwrap().indexes, []);
    world.set_now(now() + SignedDuration::from_hours(1));
    sweep(&world, &policy(""));
    assert_eq!(
        (archived_images(&world), told(&world)),
        (vec!["arm64"], vec!["image-blocked".to_owned()])
    );
}

#[test]
fn the_block_of_an_index_no_worse_than_the_running_one_is_deferred() {
    let world = scanned(vec![], one_critical());
    let running = key("sha256:0d");
    let before = key("sha256:b4");
    world.push(&before, fresh(&before, &[]));
    world.complete_scan(&before, scan(one_critical()));
    push_index(&world, &running, &["v1.2.2"], &[(&before, "arm64")]);
    let mut used = world.image_of(&running).unwrap();
    used.pushed_at = Some(now() - 3 * DAY);
    used.last_pulled_at = Some(now() - DAY);
    world.push(&running, used);
    settle(&world, &policy(""), &running);
    settle(&world, &policy(""), &index());
    assert_eq!(
        (state(&world, &running), state(&world, &index())),
        (State::BlockDeferred, State::BlockDeferred)
    );
    insta::assert_snapshot!(world.row_of(&index()).unwrap().reason, @"On linux/arm64: 1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL). It is not blocked: it is no worse than `v1.2.2` (0d), which it replaces and which was last pulled on 2026-11-23: all that blocks it is in that one too.");
    assert!(archived(&world).is_empty());
}

#[test]
fn an_index_that_another_invocation_holds_the_lease_of_is_reconciled_when_that_is_done() {
    let world = scanned(vec![], vec![]);
    settle(&world, &policy(""), &index());
    world.complete_scan(&arm64(), scan(one_critical()));
    // The first invocation has claimed the index and hangs; the second finds something else.
    let mut polls = 1;
    let claimed = |world: &World| world.row_of(&index()).unwrap().state == State::Blocked;
    while !claimed(&world) {
        run_and_crash(look(&world, &policy(""), &of(&arm64())), polls);
        polls += 1;
    }
    world.complete_scan(&amd64(), scan(vec![finding("CVE-2026-7", Severity::Critical)]));
    let second = Request {
        actor: "two".to_owned(),
        ..of(&amd64())
    };
    let busy = run(look(&world, &policy(""), &second)).unwrap_err();
    assert_eq!((busy.code(), busy.retry()), ("Busy", Retry::Later));
    assert!(
        world.now() > now() + SignedDuration::from_secs(7),
        "it has waited for its turn"
    );
    world.set_now(now() + SignedDuration::from_secs(60));
    run(look(&world, &policy(""), &second)).unwrap();
    assert_eq!(archived(&world), ["index", "amd64", "arm64"]);
    assert_nothing_left(&world, &policy(""), "in turn");
}

#[test]
fn a_crash_at_any_point_loses_nothing() {
    let policy = policy("");
    for looked_at in [index(), arm64()] {
        for first in (0..70).step_by(2) {
            let world = scanned(vec![], vec![]);
            settle(&world, &policy, &index());
            world.complete_scan(&arm64(), scan(one_critical()));
            run_and_crash(look(&world, &policy, &of(&looked_at)), first);
            world.set_now(now() + SignedDuration::from_secs(60));
            run_and_crash(look(&world, &policy, &of(&looked_at)), first / 2);
            world.set_now(now() + SignedDuration::from_secs(120));
            // The event of the image is delivered again.
            settle(&world, &policy, &arm64());
            let case = format!("{looked_at}, crash after {first} polls");
            assert_eq!(archived(&world), ["index", "arm64"], "{case}");
            assert!((1..=3).contains(&told(&world).len()), "{case}");
            assert_eq!(told_ids(&world).len(), 1, "{case}");
            assert_nothing_left(&world, &policy, &case);
        }
    }
}

fn in_use(world: &World, key: &ImageKey) {
    let mut entry = world.image_of(key).unwrap();
    entry.last_pulled_at = Some(now());
    world.push(key, entry);
}

/// 1 where the image of [`shared`] is in the archive.
fn archivals(world: &World) -> usize {
    usize::from(world.image_of(&amd64()).unwrap().status == ImageStatus::Archived)
}

fn second() -> ImageKey {
    key("sha256:2d")
}

/// Two indexes that share an image with a finding that blocks, and the second one is in use; nothing has been reconciled yet.
fn shared(tags_of_image: &[&str]) -> World {
    let world = World::new();
    world.push(&amd64(), fresh(&amd64(), tags_of_image));
    world.complete_scan(&amd64(), scan(one_critical()));
    push_index(&world, &index(), &["v1"], &[(&amd64(), "amd64")]);
    push_index(&world, &second(), &["v2"], &[(&amd64(), "amd64")]);
    in_use(&world, &second());
    world
}

#[test]
fn an_image_is_not_blocked_with_one_index_while_another_was_not_reconciled() {
    for tags in [&[][..], &["v1-amd64"]] {
        let world = shared(tags);
        settle(&world, &policy(""), &index());
        assert_eq!(world.archived_under(&amd64()), [], "{tags:?}");
        assert_eq!((state(&world, &index()), archivals(&world)), (State::Blocked, 0));
        // The next event of the image reconciles the other index, too.
        settle(&world, &policy(""), &amd64());
        assert_eq!(
            (state(&world, &second()), state(&world, &amd64())),
            (State::BlockDeferred, State::BlockDeferred)
        );
        sweep(&world, &policy(""));
        assert_eq!(world.archived_under(&amd64()), [], "{tags:?}");
        assert_eq!(told(&world), ["image-blocked", "block-deferred"], "{tags:?}");
    }
}

#[test]
fn an_image_that_comes_back_with_another_index_is_evaluated_with_it() {
    for used in [false, true] {
        let world = World::new();
        world.push(&amd64(), fresh(&amd64(), &[]));
        world.complete_scan(&amd64(), scan(one_critical()));
        push_index(&world, &index(), &["v1"], &[(&amd64(), "amd64")]);
        settle(&world, &policy(""), &index());
        assert_eq!(archivals(&world), 1);
        // A client pushes what it cannot find, and then the index.
        world.push_again(&amd64(), now() + SignedDuration::from_secs(5));
        push_index(&world, &second(), &["v2"], &[(&amd64(), "amd64")]);
        if used {
            in_use(&world, &second());
        }
        // The event of the image comes before that of the index.
        settle(&world, &policy(""), &amd64());
        let (expected, images) = if used {
            (State::BlockDeferred, 0)
        } else {
            (State::Blocked, 1)
        };
        assert_eq!(
            (state(&world, &second()), archivals(&world)),
            (expected, images),
            "{used}"
        );
        let again = world
            .archived_under(&amd64())
            .iter()
            .filter(|under| under.index == second().digest)
            .count();
        assert_eq!(again, images, "{used}");
        settle(&world, &policy(""), &second());
        assert_eq!(archivals(&world), images, "{used}");
    }
}

#[test]
fn an_index_that_cannot_be_read_holds_images_without_a_tag_and_no_others() {
    for (tags, images) in [(&[][..], 0), (&["v1-amd64"][..], 1)] {
        let world = shared(tags);
        world.set_manifest(&second(), "?");
        for _ in 0..2 {
            settle(&world, &policy(""), &index());
            assert_eq!(
                (state(&world, &index()), archivals(&world)),
                (State::Blocked, images),
                "{tags:?}"
            );
        }
        sweep(&world, &policy(""));
        assert_eq!(archivals(&world), images, "{tags:?}");
        if images == 0 {
            insta::assert_snapshot!(world.row_of(&amd64()).unwrap().reason, @"1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL). It is not blocked: it has no tag, and indexes that may reference it have not been read yet; the next sweep checks again.");
        }
        // It is gone: the next sweep blocks what waited for it.
        world.delete(&second());
        for hour in 1..3 {
            world.set_now(now() + SignedDuration::from_hours(hour));
            sweep(&world, &policy(""));
        }
        assert_eq!(archivals(&world), 1, "{tags:?}");
    }
}

#[test]
fn an_index_that_went_before_anybody_had_evaluated_it_holds_nothing() {
    let world = shared(&[]);
    // The link is recorded, and the reconcile of the index was cut off.
    settle(&world, &policy(""), &amd64());
    let linked = Row {
        indexes: vec![second().digest],
        ..world.row_of(&amd64()).unwrap()
    };
    world.delete(&second());
    world.remember(linked);
    settle(&world, &policy(""), &index());
    assert_eq!(archivals(&world), 1);
    assert_eq!(world.row_of(&amd64()).unwrap().indexes, [index().digest]);
}

#[test]
fn to_look_for_more_indexes_delays_neither_the_block_of_the_index_nor_its_alert() {
    let world = scanned(vec![], one_critical());
    settle(&world, &policy(""), &index());
    let calls = world.calls();
    let lists = calls.iter().position(|call| call.operation == "sns:Publish").unwrap();
    let archived: Vec<usize> = (0..calls.len())
        .filter(|place| calls[*place].operation == "ecr:UpdateImageStorageClass")
        .collect();
    // The index; then the alert; then its child.
    assert!(archived[0] < lists && lists < archived[1], "{calls:?}");
    let between = calls[lists..archived[1]]
        .iter()
        .filter(|call| call.operation == "ecr:DescribeImages")
        .count();
    assert!(between >= 2, "the image itself, and the list: {calls:?}");
}

#[test]
fn an_exception_for_one_index_hides_nothing_from_another_whatever_got_lost() {
    let excepted = policy(
        r#""exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["*"], "tag": "v1", "owner": "o", "reason": "r", "expires": "2026-12-31"}]"#,
    );
    for polls in 0..60 {
        let world = World::new();
        world.push(&amd64(), fresh(&amd64(), &[]));
        world.push(&arm64(), fresh(&arm64(), &[]));
        push_index(&world, &index(), &["v1"], &[(&amd64(), "amd64")]);
        push_index(&world, &second(), &["v2"], &[(&amd64(), "amd64"), (&arm64(), "arm64")]);
        world.complete_scan(&arm64(), scan(vec![finding("CVE-2026-2", Severity::High)]));
        settle(&world, &excepted, &index());
        settle(&world, &excepted, &second());
        world.complete_scan(&amd64(), scan(one_critical()));
        run_and_crash(look(&world, &excepted, &of(&amd64())), polls);
        for hour in 1..=2 {
            world.set_now(now() + SignedDuration::from_hours(hour));
            sweep(&world, &excepted);
        }
        let states = [&index(), &second(), &amd64()].map(|key| state(&world, key));
        assert_eq!(
            states,
            [State::Allowed, State::Blocked, State::Allowed],
            "crash after {polls} polls"
        );
        world.set_now(now() + SignedDuration::from_hours(3));
        let due = sweep(&world, &excepted).due;
        assert_eq!(due.get("family"), None, "crash after {polls} polls");
    }
}

#[test]
fn a_pushed_index_asks_for_scans_of_its_images_where_none_starts_by_itself() {
    let world = world();
    for key in [amd64(), arm64()] {
        world.set_scan(&key, Scan::Absent);
    }
    world.set_trigger(&index().repository, ScanTrigger::Manual);
    let pushed = Request {
        hints: arrived(Way::Pushed(None)),
        ..of(&index())
    };
    run(look(&world, &policy(""), &pushed)).unwrap();
    let calls = world.calls();
    let asked = calls
        .iter()
        .filter(|call| call.operation == "ecr:StartImageScan")
        .count();
    assert_eq!(asked, 2);
}

#[test]
fn an_index_is_in_use_on_the_day_that_the_scanner_last_knew_of_whatever_it_says_now() {
    let world = world();
    world.complete_scan(&arm64(), scan(vec![]));
    let mut used = scan(vec![]);
    used.last_in_use_at = Some(now() - DAY);
    world.complete_scan(&amd64(), used);
    settle(&world, &policy(""), &index());
    assert_eq!(state(&world, &index()), State::Allowed);
    // Later answers do not say it.
    for findings in [vec![], one_critical()] {
        world.complete_scan(&amd64(), scan(findings));
        settle(&world, &policy(""), &amd64());
    }
    assert_eq!(
        (state(&world, &index()), archived(&world)),
        (State::BlockDeferred, vec![])
    );
}

#[test]
fn an_image_that_runs_by_now_is_left_alone_though_its_index_was_blocked_before() {
    let world = scanned(vec![], one_critical());
    settle(&world, &policy(""), &index());
    assert_eq!(archived(&world), ["index", "arm64"]);
    // Weeks later it is deployed by its digest, and something is found in it.
    let later = now() + 21 * DAY;
    world.set_now(later);
    let mut image = world.image_of(&amd64()).unwrap();
    image.last_pulled_at = Some(later - SignedDuration::from_hours(1));
    world.push(&amd64(), image);
    world.complete_scan(&amd64(), scan(one_critical()));
    let mut looked = 0;
    for hours in 0..26 {
        world.set_now(later + SignedDuration::from_hours(hours));
        if hours < 2 {
            settle(&world, &policy(""), &amd64());
        }
        looked += sweep(&world, &policy("")).looked;
        assert_eq!(archived(&world), ["index", "arm64"]);
        assert_eq!(state(&world, &amd64()), State::BlockDeferred);
    }
    // The index does not speak for it: it is blocked, and this one can be pulled.
    assert_eq!(told(&world), ["image-blocked", "block-deferred"]);
    assert!(looked <= 4, "once a day, and not in every sweep: {looked} looks");
    // When it is not used any more, it goes with its index, within a day.
    for hours in 0..24 {
        world.set_now(later + 200 * DAY + SignedDuration::from_hours(hours));
        sweep(&world, &policy(""));
    }
    assert_eq!(archived_images(&world), ["amd64", "arm64"]);
}

#[test]
fn an_image_of_which_only_the_tag_was_evaluated_makes_no_index_clean() {
    let rules =
        policy(r#""repositories": [{"match": "*", "tags": {"allowed": ["v1", "semver:v"], "on_violation": "block"}}]"#);
    let world = World::new();
    world.push(&amd64(), fresh(&amd64(), &["amd64-only"]));
    world.push(&arm64(), fresh(&arm64(), &[]));
    push_index(&world, &index(), &["v1"], &[(&amd64(), "amd64"), (&arm64(), "arm64")]);
    world.complete_scan(&arm64(), scan(vec![]));
    for key in [index(), amd64(), arm64(), index()] {
        settle(&world, &rules, &key);
    }
    assert_eq!(state(&world, &index()), State::Pending);
    // With its scan the index is clean, whatever the tag of its image; and then there is nothing left to do.
    world.complete_scan(&amd64(), scan(vec![]));
    settle(&world, &rules, &amd64());
    for hour in 1..=3 {
        world.set_now(now() + SignedDuration::from_hours(hour));
        let due = sweep(&world, &rules).due;
        assert!(hour == 1 || !due.contains_key("family"), "{due:?}");
    }
    assert_eq!(state(&world, &index()), State::Allowed);
}

#[test]
fn an_index_that_a_sweep_reaches_through_a_child_is_deferred_with_its_source() {
    let world = scanned(vec![], vec![]);
    settle(&world, &policy(""), &index());
    let row = world.row_of(&index()).unwrap();
    assert_eq!((row.state, &row.source), (State::Allowed, &None));
    // Copies arrive here now, and the index in the other region is in use.
    let replicated =
        policy(r#""repositories": [{"match": "*", "replication": {"regions": ["us-west-2"], "max_lag_minutes": 30}}]"#);
    let region: guard_core::ids::Region = "us-east-1".parse().unwrap();
    let mut source = row;
    source.image.region = region.clone();
    source.state = State::BlockDeferred;
    world.remember(source);
    world.complete_scan(&amd64(), scan(vec![finding("CVE-2026-1", Severity::Critical)]));
    let found = Request {
        image: ImageRef::Digest(amd64().digest),
        hints: Hints {
            found: true,
            ..Hints::default()
        },
        ..request("sweep")
    };
    run(look(&world, &replicated, &found)).unwrap();
    let row = world.row_of(&index()).unwrap();
    assert_eq!(row.state, State::BlockDeferred, "{}", row.reason);
    assert_eq!(row.source.unwrap().region, region);
    assert_eq!(world.row_of(&amd64()).unwrap().state, State::BlockDeferred);
}
