//! The entries that are images, and those that are none.

use super::*;
use crate::testing::sweep;

const SOCI: &str = "application/vnd.amazon.soci.index.v2+json";
const CONTAINER: &str = "application/vnd.oci.image.config.v1+json";
const STRICT: &str = r#""scan": {"on_failure": "block", "on_unsupported": "block", "on_stale": "block"}"#;

fn amd64() -> ImageKey {
    key("sha256:a6")
}

fn soci() -> ImageKey {
    key("sha256:5c")
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

fn is_archived(world: &World, key: &ImageKey) -> bool {
    world.image_of(key).unwrap().status == ImageStatus::Archived
}

fn reads(world: &World) -> usize {
    let calls = world.calls();
    calls
        .iter()
        .filter(|call| call.operation == "ecr:BatchGetImage")
        .count()
}

/// Something of this type, pushed a minute ago, with a manifest that says the same.
fn push(world: &World, key: &ImageKey, config: &str, tags: &[&str]) {
    push_as(world, key, config, config, tags);
}

/// An entry with the type `says` in the registry's description, and `config` in its manifest.
fn push_as(world: &World, key: &ImageKey, says: &str, config: &str, tags: &[&str]) {
    let entry = Image {
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        pushed_at: Some(now() - SignedDuration::from_mins(1)),
        artifact_media_type: Some(says.to_owned()),
        ..image(key)
    };
    world.push(key, entry);
    let layer = r#"{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}"#;
    world.set_manifest(
        key,
        &format!(r#"{{"artifactType": "{says}", "config": {{"mediaType": "{config}"}}, "layers": [{layer}]}}"#),
    );
}

fn push_index(world: &World, key: &ImageKey, tags: &[&str], manifests: &[String]) {
    let entry = Image {
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        pushed_at: Some(now() - SignedDuration::from_mins(1)),
        manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
        artifact_media_type: None,
        ..image(key)
    };
    world.push(key, entry);
    world.set_manifest(key, &format!(r#"{{"manifests": [{}]}}"#, manifests.join(",")));
}

fn listed(key: &ImageKey, members: &str) -> String {
    format!(
        r#"{{"digest": "{}", "platform": {{"os": "linux", "architecture": "amd64"}}{members}}}"#,
        key.digest
    )
}

/// An index as `soci convert` pushes it: the image, and an entry for the same platform.
fn soci_world(scan_of_soci: Scan) -> World {
    let world = World::new();
    push(&world, &amd64(), CONTAINER, &[]);
    push(&world, &soci(), SOCI, &[]);
    world.set_scan(&soci(), scan_of_soci);
    let entry = listed(&soci(), &format!(r#", "artifactType": "{SOCI}""#));
    push_index(&world, &index(), &["v1"], &[listed(&amd64(), ""), entry]);
    world
}

fn no_results() -> [Scan; 4] {
    [
        Scan::Absent,
        Scan::InProgress,
        Scan::Unavailable(NoScan::Unsupported),
        Scan::Unavailable(NoScan::Failed),
    ]
}

#[test]
fn what_is_no_container_image_is_recorded_and_otherwise_left_alone() {
    for (config, tag) in [
        ("application/vnd.cncf.helm.config.v1+json", "1.4.0"),
        ("application/vnd.buildkit.cacheconfig.v0", "buildcache"),
        ("application/vnd.wasm.config.v0+json", "v1.0.0"),
        ("application/vnd.cncf.flux.config.v1+json", "main"),
        ("application/vnd.oci.empty.v1+json", "v1"),
        (SOCI, "soci"),
    ] {
        for scan in no_results() {
            let world = World::new();
            world.set_scan(&image_key(), scan.clone());
            push(&world, &image_key(), config, &[tag]);
            for (round, expected) in [(0, 1), (1, 0), (2, 0)] {
                world.forget_calls();
                world.set_now(now() + SignedDuration::from_hours(round));
                let outcome = settle(&world, &policy(STRICT), &image_key());
                assert_eq!(
                    (outcome.outcome, outcome.state),
                    (OutcomeKind::NotAnImage, Some(State::NotAnImage)),
                    "{config}, {scan:?}"
                );
                assert_eq!(
                    (reads(&world), world.writes()),
                    (expected, expected),
                    "{config}, {scan:?}"
                );
                world.forget_calls();
                sweep(&world, &policy(STRICT));
                assert_eq!(reads(&world), 0, "{config}, {scan:?}");
            }
            assert!(!is_archived(&world, &image_key()), "{config}, {scan:?}");
            assert_eq!(told(&world), [] as [&str; 0], "{config}, {scan:?}");
        }
    }
    let world = World::new();
    push(
        &world,
        &image_key(),
        "application/vnd.cncf.helm.config.v1+json",
        &["1.4.0"],
    );
    sweep(&world, &policy(STRICT));
    assert_eq!(
        state(&world, &image_key()),
        State::NotAnImage,
        "a sweep finds it as well"
    );
    insta::assert_snapshot!(world.row_of(&image_key()).unwrap().reason, @"It is no container image: its manifest says `application/vnd.cncf.helm.config.v1+json`. Nobody runs it, and it is not evaluated.");
}

#[test]
fn a_policy_may_ask_to_evaluate_artifacts_and_still_leaves_what_belongs_to_an_image() {
    let judge = policy(r#""scan": {"on_unsupported": "block", "artifacts": "judge"}"#);
    let leave = policy(r#""scan": {"on_unsupported": "block"}"#);
    let world = World::new();
    push(
        &world,
        &image_key(),
        "application/vnd.cncf.helm.config.v1+json",
        &["1.4.0"],
    );
    world.set_scan(&image_key(), Scan::Unavailable(NoScan::Unsupported));
    settle(&world, &leave, &image_key());
    assert_eq!(state(&world, &image_key()), State::NotAnImage);
    sweep(&world, &judge);
    assert_eq!(
        state(&world, &image_key()),
        State::Blocked,
        "the sweep sees that the policy changed"
    );
    world.forget_calls();
    settle(&world, &judge, &image_key());
    assert_eq!((world.writes(), reads(&world)), (0, 0));

    let waiting = World::new();
    push(
        &waiting,
        &image_key(),
        "application/vnd.cncf.helm.config.v1+json",
        &["1.4.0"],
    );
    settle(&waiting, &leave, &image_key());
    settle(&waiting, &judge, &image_key());
    assert_eq!(
        state(&waiting, &image_key()),
        State::Pending,
        "nothing is known of it yet"
    );

    let world = World::new();
    push(
        &world,
        &image_key(),
        "application/vnd.dev.sigstore.bundle.v0.3+json",
        &[],
    );
    let mut signature = world.image_of(&image_key()).unwrap();
    signature.subject = Some("sha256:bb".parse().unwrap());
    world.push(&image_key(), signature);
    settle(&world, &judge, &image_key());
    assert_eq!(state(&world, &image_key()), State::NotAnImage);
}

#[test]
fn the_configuration_in_the_manifest_makes_an_image_whatever_else_is_said_of_it() {
    let entries = |says: &str, tags: &[&str]| {
        let world = World::new();
        push_as(&world, &image_key(), says, CONTAINER, tags);
        let mut entry = world.image_of(&image_key()).unwrap();
        entry.subject = Some("sha256:bb".parse().unwrap());
        entry.pushed_at = Some(now() - SignedDuration::from_hours(1));
        world.push(&image_key(), entry);
        world
    };
    let look_alike = format!("sha256-{}.my-app", "a".repeat(64));
    for (says, tags) in [
        ("application/vnd.acme.thing", &["v1"][..]),
        ("application/vnd.acme.thing", &[]),
        (CONTAINER, &["v1"]),
        (CONTAINER, &[&look_alike]),
        (CONTAINER, &[]),
    ] {
        let world = entries(says, tags);
        world.set_scan(&image_key(), Scan::Unavailable(NoScan::Failed));
        let strict = policy(STRICT);
        assert_eq!(
            settle_alone(&world, &strict).state,
            Some(State::Blocked),
            "{says}, {tags:?}"
        );
        assert_eq!(told(&world), ["image-blocked"], "{says}, {tags:?}");
        // Its manifest was read once at most, also after a push that brings it back.
        world.forget_calls();
        world.push_again(&image_key(), now());
        assert_eq!(
            settle(&world, &strict, &image_key()).state,
            Some(State::Blocked),
            "{says}, {tags:?}"
        );
        assert_eq!(
            (is_archived(&world, &image_key()), reads(&world)),
            (true, 0),
            "{says}, {tags:?}"
        );
    }
    // An entry whose manifest cannot be read is not known to be harmless.
    let world = entries("application/vnd.acme.thing", &["v1"]);
    world.set_scan(&image_key(), Scan::Unavailable(NoScan::Unsupported));
    world.fail("ecr:BatchGetImage", Fault::Before(Retry::Never));
    let outcome = settle(&world, &policy(""), &image_key());
    assert_eq!(
        (outcome.state, outcome.not_read.is_some()),
        (Some(State::Unscannable), true)
    );
}

#[test]
fn what_a_scanner_could_scan_stays_an_image_when_its_scan_is_gone() {
    let world = World::new();
    push(&world, &image_key(), "application/vnd.acme.thing", &["v1"]);
    world.set_scan(&image_key(), critical());
    settle(&world, &policy(""), &image_key());
    assert!(is_archived(&world, &image_key()));
    world.push_again(&image_key(), now());
    settle(&world, &policy(""), &image_key());
    assert!(is_archived(&world, &image_key()));
}

#[test]
fn a_blocked_image_does_not_escape_by_a_tag_that_looks_like_a_signature() {
    for suffix in ["", ".sig", ".my-app"] {
        let world = world(critical());
        settle(&world, &policy(""), &image_key());
        world.push_again(&image_key(), now());
        let mut back = world.image_of(&image_key()).unwrap();
        back.tags = vec![format!("sha256-{}{suffix}", "a".repeat(64)).parse().unwrap()];
        world.push(&image_key(), back);
        let pushed = Request {
            hints: arrived(Way::Pushed(None)),
            ..request("one")
        };
        run(look(&world, &policy(""), &pushed)).unwrap();
        assert!(is_archived(&world, &image_key()), "{suffix}");
        assert_eq!(told(&world), ["image-blocked", "image-bypass"], "{suffix}");
    }
}

#[test]
fn a_signature_of_cosign_that_looks_like_an_image_is_recorded_as_none() {
    for layer in [
        "application/vnd.dev.cosign.simplesigning.v1+json",
        "application/vnd.dsse.envelope.v1+json",
        "application/vnd.in-toto+json",
    ] {
        let world = World::new();
        let tag = format!("sha256-{}.sig", "a".repeat(64));
        push(&world, &image_key(), CONTAINER, &[&tag]);
        let manifest =
            format!(r#"{{"config": {{"mediaType": "{CONTAINER}"}}, "layers": [{{"mediaType": "{layer}"}}]}}"#);
        world.set_manifest(&image_key(), &manifest);
        settle(&world, &policy(STRICT), &image_key());
        assert_eq!(state(&world, &image_key()), State::NotAnImage, "{layer}");
        // Under a tag that people deploy it is evaluated.
        push(&world, &amd64(), CONTAINER, &["v1"]);
        world.set_manifest(&amd64(), &manifest);
        world.set_scan(&amd64(), Scan::Unavailable(NoScan::Failed));
        settle(&world, &policy(STRICT), &amd64());
        assert_eq!(state(&world, &amd64()), State::Blocked, "{layer}");
    }
}

#[test]
fn an_entry_of_an_index_that_is_no_image_does_not_count_for_it() {
    for nothing in no_results() {
        for order in [vec![index()], vec![soci(), index()], vec![amd64(), soci(), index()]] {
            let world = soci_world(nothing.clone());
            world.complete_scan(&amd64(), scan(vec![]));
            for key in &order {
                settle(&world, &policy(STRICT), key);
            }
            let states = [index(), amd64(), soci()].map(|key| state(&world, &key));
            let expected = [State::Allowed, State::Allowed, State::NotAnImage];
            assert_eq!(states, expected, "{nothing:?}, {order:?}");
            assert_eq!(told(&world), [] as [&str; 0], "{nothing:?}, {order:?}");
            world.set_now(now() + SignedDuration::from_hours(2));
            world.forget_calls();
            sweep(&world, &policy(STRICT));
            for key in [index(), amd64(), soci()] {
                settle(&world, &policy(STRICT), &key);
            }
            assert_eq!((reads(&world), told(&world).len()), (0, 0), "{nothing:?}, {order:?}");
        }
        let world = soci_world(nothing.clone());
        world.complete_scan(&amd64(), scan(vec![finding("CVE-2026-1", Severity::Critical)]));
        settle(&world, &policy(""), &index());
        let archived = [index(), amd64(), soci()].map(|key| is_archived(&world, &key));
        assert_eq!(archived, [true, true, false], "{nothing:?}");
        assert_eq!(told(&world), ["image-blocked"], "{nothing:?}");
    }
}

#[test]
fn an_entry_counts_until_its_manifest_was_read() {
    let world = soci_world(Scan::Unavailable(NoScan::Unsupported));
    world.complete_scan(&amd64(), scan(vec![]));
    settle(&world, &policy(""), &amd64());
    world.fail("ecr:BatchGetImage", Fault::Before(Retry::Never));
    settle(&world, &policy(""), &soci());
    assert_eq!(state(&world, &soci()), State::Unscannable);
    world.heal();
    settle(&world, &policy(""), &soci());
    assert_eq!(state(&world, &soci()), State::NotAnImage);
    // By its entry it is a SOCI index, and by its manifest an image: it is one.
    let world = soci_world(Scan::Absent);
    world.complete_scan(&amd64(), scan(vec![]));
    push_as(&world, &soci(), SOCI, CONTAINER, &[]);
    settle(&world, &policy(""), &index());
    assert_eq!(state(&world, &index()), State::Pending);
    world.complete_scan(&soci(), scan(vec![finding("CVE-2026-1", Severity::Critical)]));
    settle(&world, &policy(""), &soci());
    assert_eq!(state(&world, &index()), State::Blocked);
}

#[test]
fn what_an_index_calls_no_artifact_is_reconciled_first() {
    let world = soci_world(Scan::Absent);
    let entry = listed(&soci(), &format!(r#", "artifactType": "{SOCI}""#));
    push_index(&world, &index(), &["v1"], &[entry, listed(&amd64(), "")]);
    world.complete_scan(&amd64(), scan(vec![finding("CVE-2026-1", Severity::Critical)]));
    settle(&world, &policy(""), &index());
    let operations: Vec<&str> = world.calls().iter().map(|call| call.operation).collect();
    let reads: Vec<usize> = (0..operations.len())
        .filter(|place| operations[*place] == "ecr:BatchGetImage")
        .collect();
    // That of the index, and that of the artifact, after the image has its row.
    assert_eq!(reads.len(), 2, "{operations:?}");
    let between = &operations[reads[0]..reads[1]];
    let writes = between
        .iter()
        .filter(|operation| **operation == "dynamodb:PutItem")
        .count();
    assert_eq!(writes, 1, "{operations:?}");
    assert_eq!(
        (state(&world, &index()), state(&world, &soci())),
        (State::Blocked, State::NotAnImage)
    );
}

#[test]
fn a_manifest_that_was_refused_once_is_read_by_the_next_sweep() {
    // The manifest of the index.
    let world = World::new();
    push(&world, &amd64(), CONTAINER, &[]);
    world.complete_scan(&amd64(), scan(vec![]));
    push_index(&world, &index(), &["v1"], &[listed(&amd64(), "")]);
    world.fail("ecr:BatchGetImage", Fault::Before(Retry::Never));
    settle(&world, &policy(""), &index());
    assert_eq!(state(&world, &index()), State::Unscannable);
    // And that of an artifact.
    let chart = key("sha256:c4");
    push(&world, &chart, "application/vnd.cncf.helm.config.v1+json", &["1.0.0"]);
    world.set_scan(&chart, Scan::Unavailable(NoScan::Unsupported));
    world.fail("ecr:BatchGetImage", Fault::Before(Retry::Never));
    settle(&world, &policy(""), &chart);
    assert_eq!(state(&world, &chart), State::Unscannable);
    world.set_now(now() + SignedDuration::from_hours(1));
    sweep(&world, &policy(""));
    assert_eq!(
        (state(&world, &index()), state(&world, &chart)),
        (State::Allowed, State::NotAnImage)
    );
    world.forget_calls();
    world.set_now(now() + SignedDuration::from_hours(2));
    assert_eq!(sweep(&world, &policy("")).looked, 0);
    assert_eq!((reads(&world), world.writes()), (0, 0));
}

#[test]
fn a_sweep_reads_ten_manifests_again_and_the_rest_in_turn() {
    let world = World::new();
    let indexes: Vec<ImageKey> = (0..30).map(|n| key(&format!("sha256:{n:04}d"))).collect();
    for index in &indexes {
        push_index(&world, index, &[], &[]);
        world.set_manifest(index, "?");
        settle(&world, &policy(""), index);
    }
    let mut asked = 0;
    for hour in 1..=24 {
        world.forget_calls();
        world.set_now(now() + SignedDuration::from_hours(hour));
        sweep(&world, &policy(""));
        assert!((10..20).contains(&reads(&world)), "hour {hour}: {}", reads(&world));
        asked += reads(&world);
    }
    assert!(asked >= 24 * 10 + 20 - 10, "each has its turn as well: {asked}");
}

#[test]
fn an_index_of_nothing_but_artifacts_is_no_image() {
    let world = World::new();
    push(&world, &soci(), "application/vnd.cncf.helm.config.v1+json", &["1.0.0"]);
    push_index(&world, &index(), &["v1"], &[listed(&soci(), "")]);
    settle(&world, &policy(STRICT), &index());
    assert_eq!(state(&world, &index()), State::NotAnImage);
    world.set_now(now() + SignedDuration::from_hours(2));
    world.forget_calls();
    sweep(&world, &policy(STRICT));
    assert_eq!((reads(&world), told(&world).len()), (0, 0));
}

#[test]
fn what_was_evaluated_as_an_image_before_its_manifest_was_read_is_let_go() {
    for (method, entry) in [("flag", "1.4.0"), ("quarantine-tag", "1.4.0")] {
        let block = format!(r#""block": {{"method": "{method}"}}, {STRICT}"#);
        let world = World::new();
        push(
            &world,
            &image_key(),
            "application/vnd.cncf.helm.config.v1+json",
            &[entry],
        );
        world.set_scan(&image_key(), Scan::Unavailable(NoScan::Unsupported));
        world.fail("ecr:BatchGetImage", Fault::Before(Retry::Never));
        settle(&world, &policy(&block), &image_key());
        assert_eq!(state(&world, &image_key()), State::Blocked, "{method}");
        settle(&world, &policy(&block), &image_key());
        let row = world.row_of(&image_key()).unwrap();
        assert_eq!((row.state, row.block), (State::NotAnImage, None), "{method}");
        assert_eq!(tags(&world), [entry.to_owned()].into(), "{method}");
        assert_eq!(told(&world), ["image-blocked", "image-released"], "{method}");
    }
    // As earlier versions wrote it of an attestation.
    let world = World::new();
    push(&world, &image_key(), CONTAINER, &[]);
    world.set_manifest(&image_key(), ATTESTATION);
    settle(&world, &policy(""), &image_key());
    let row = world.row_of(&image_key()).unwrap();
    let earlier = Row {
        state: State::Allowed,
        referrer: true,
        ..row
    };
    let text = serde_json::to_string(&earlier).unwrap();
    world.remember(serde_json::from_str(&text).unwrap());
    world.forget_calls();
    assert_eq!(
        settle(&world, &policy(""), &image_key()).outcome,
        OutcomeKind::NotAnImage
    );
    sweep(&world, &policy(""));
    assert_eq!(reads(&world), 0);
}

#[test]
fn an_index_of_more_than_fifty_images_is_evaluated_by_all_and_protects_all() {
    let world = World::new();
    let children: Vec<ImageKey> = (0..60).map(|n| key(&format!("sha256:{n:04}c"))).collect();
    for child in &children {
        push(&world, child, CONTAINER, &[]);
        world.complete_scan(child, scan(vec![]));
    }
    let entries: Vec<String> = children.iter().map(|child| listed(child, "")).collect();
    push_index(&world, &index(), &["v1"], &entries);
    settle(&world, &policy(""), &index());
    assert_eq!(state(&world, &index()), State::Allowed);
    let mut used = world.image_of(&index()).unwrap();
    used.last_pulled_at = Some(now());
    world.push(&index(), used);
    let worst = &children[57];
    world.complete_scan(worst, scan(vec![finding("CVE-2026-1", Severity::Critical)]));
    settle(&world, &policy(""), worst);
    assert!(!is_archived(&world, worst));
    assert_eq!(
        (state(&world, &index()), state(&world, worst)),
        (State::BlockDeferred, State::BlockDeferred)
    );
    assert_eq!(told(&world), ["block-deferred"]);
}

#[test]
fn entries_beyond_those_that_are_remembered_are_unknown_and_not_clean() {
    let world = World::new();
    push(&world, &amd64(), CONTAINER, &[]);
    world.complete_scan(&amd64(), scan(vec![]));
    push_index(
        &world,
        &index(),
        &["v1"],
        &[listed(&amd64(), ""), r#"{"digest": "?"}"#.to_owned()],
    );
    settle(&world, &policy(""), &index());
    assert_eq!(state(&world, &index()), State::Unscannable);
    insta::assert_snapshot!(world.row_of(&index()).unwrap().reason, @"On 1 entry that cannot be checked: The scanner does not support this kind of image, so nothing is known about it.");
    world.forget_calls();
    settle(&world, &policy(""), &index());
    assert_eq!((world.writes(), reads(&world)), (0, 0));
    world.complete_scan(&amd64(), scan(vec![finding("CVE-2026-1", Severity::Critical)]));
    settle(&world, &policy(""), &amd64());
    assert_eq!(
        state(&world, &index()),
        State::Blocked,
        "what is known of the others is enough"
    );
}

fn push_old(world: &World, key: &ImageKey) {
    push(world, key, CONTAINER, &[]);
    let mut old = world.image_of(key).unwrap();
    old.pushed_at = Some(now() - SignedDuration::from_hours(48));
    world.push(key, old);
    world.complete_scan(key, scan(vec![finding("CVE-2026-1", Severity::Critical)]));
}

#[test]
fn an_image_without_a_tag_is_not_blocked_before_a_sweep_has_read_the_indexes() {
    // The first event over an existing registry is that of an image; its index is in use, and nobody has reconciled it.
    let world = World::new();
    push_old(&world, &amd64());
    push_index(&world, &index(), &["v1"], &[listed(&amd64(), "")]);
    let mut used = world.image_of(&index()).unwrap();
    used.last_pulled_at = Some(now());
    world.push(&index(), used);
    settle(&world, &policy(""), &amd64());
    assert_eq!((state(&world, &amd64()), told(&world).len()), (State::BlockDeferred, 0));
    insta::assert_snapshot!(world.row_of(&amd64()).unwrap().reason, @"1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL). It is not blocked: it has no tag, and no sweep has checked yet whether an index references it; the next one does.");
    for hour in 0..3 {
        world.set_now(now() + SignedDuration::from_hours(hour));
        sweep(&world, &policy(""));
        assert!(!is_archived(&world, &amd64()));
    }
    assert_eq!(
        (state(&world, &index()), told(&world)),
        (State::BlockDeferred, vec!["block-deferred".to_owned()])
    );

    // An image without a parent index is blocked by the first sweep, and from then on by events.
    let world = World::new();
    push_old(&world, &amd64());
    settle(&world, &policy(""), &amd64());
    assert!(!is_archived(&world, &amd64()));
    sweep(&world, &policy(""));
    assert!(is_archived(&world, &amd64()));
    assert_eq!(told(&world), ["image-blocked"]);
    let world = World::new();
    push_old(&world, &amd64());
    world.complete_scan(&amd64(), scan(vec![]));
    sweep(&world, &policy(""));
    world.complete_scan(&amd64(), scan(vec![finding("CVE-2026-1", Severity::Critical)]));
    settle(&world, &policy(""), &amd64());
    assert!(is_archived(&world, &amd64()));

    // An index that cannot be read may reference it.
    let world = World::new();
    push_old(&world, &amd64());
    push_index(&world, &index(), &["v1"], &[]);
    world.set_manifest(&index(), "?");
    for hour in 0..3 {
        world.set_now(now() + SignedDuration::from_hours(hour));
        sweep(&world, &policy(""));
    }
    assert_eq!(
        (state(&world, &amd64()), is_archived(&world, &amd64())),
        (State::BlockDeferred, false)
    );
    world.set_manifest(&index(), &format!(r#"{{"manifests": [{}]}}"#, listed(&soci(), "")));
    settle(&world, &policy(""), &index());
    sweep(&world, &policy(""));
    assert!(is_archived(&world, &amd64()));

    // One that was pushed just now waits for the next sweep: its index may be on the way.
    let world = World::new();
    push(&world, &amd64(), CONTAINER, &[]);
    world.complete_scan(&amd64(), scan(vec![finding("CVE-2026-1", Severity::Critical)]));
    sweep(&world, &policy(""));
    assert!(!is_archived(&world, &amd64()));
    world.set_now(now() + SignedDuration::from_hours(1));
    sweep(&world, &policy(""));
    assert!(is_archived(&world, &amd64()));
}

#[test]
fn an_index_of_artifacts_is_evaluated_when_one_of_them_turns_out_to_be_an_image() {
    // The image was reconciled before its index was there, or with it.
    for order in [vec![soci(), index()], vec![index()]] {
        for by_sweep in [false, true] {
            let world = World::new();
            push(&world, &soci(), "application/vnd.acme.thing", &[]);
            push_index(&world, &index(), &["v1"], &[listed(&soci(), "")]);
            for key in &order {
                settle(&world, &policy(""), key);
            }
            assert_eq!(state(&world, &index()), State::NotAnImage);
            assert_eq!(world.row_of(&soci()).unwrap().indexes, [index().digest], "{order:?}");
            // A scanner could scan it all the same.
            world.complete_scan(&soci(), scan(vec![finding("CVE-2026-1", Severity::Critical)]));
            if by_sweep {
                // Its own look came before that of the index, which was lost.
                let mut row = world.row_of(&index()).unwrap();
                settle(&world, &policy(""), &soci());
                row.generation = world.row_of(&index()).unwrap().generation + 1;
                world.remember(row);
                let held = Row {
                    state: State::BlockDeferred,
                    block: None,
                    ..world.row_of(&soci()).unwrap()
                };
                world.remember(held);
                let back = Image {
                    status: ImageStatus::Active,
                    ..world.image_of(&soci()).unwrap()
                };
                world.push(&soci(), back);
                let back = Image {
                    status: ImageStatus::Active,
                    ..world.image_of(&index()).unwrap()
                };
                world.push(&index(), back);
                let due = sweep(&world, &policy("")).due;
                assert!(due.contains_key("family"), "{due:?}");
            } else {
                settle(&world, &policy(""), &soci());
            }
            let states = [index(), soci()].map(|key| (state(&world, &key), is_archived(&world, &key)));
            assert_eq!(states, [(State::Blocked, true); 2], "{order:?}, by a sweep: {by_sweep}");
        }
    }
}

#[test]
fn what_is_let_go_is_followed_to_its_end_by_sweeps() {
    let world = World::new();
    push(
        &world,
        &image_key(),
        "application/vnd.cncf.helm.config.v1+json",
        &["1.4.0"],
    );
    world.set_scan(&image_key(), Scan::Unavailable(NoScan::Unsupported));
    world.fail("ecr:BatchGetImage", Fault::Before(Retry::Never));
    settle(&world, &policy(STRICT), &image_key());
    assert!(is_archived(&world, &image_key()));
    // As it is once somebody could read its manifest: the restore takes its time, and the event of its end is lost.
    let mut row = world.row_of(&image_key()).unwrap();
    row.state = State::NotAnImage;
    row.block.as_mut().unwrap().undone_at = Some(now());
    world.remember(row);
    let back = Image {
        status: ImageStatus::Active,
        ..world.image_of(&image_key()).unwrap()
    };
    world.push(&image_key(), back);
    world.set_now(now() + SignedDuration::from_hours(1));
    sweep(&world, &policy(STRICT));
    let row = world.row_of(&image_key()).unwrap();
    assert_eq!((row.state, row.block), (State::NotAnImage, None));
    assert_eq!(told(&world), ["image-blocked", "image-released"]);
}
