//! The calls of a reconcile. Nothing is read again that was read ahead or is known already, and nothing is checked again that was not changed.

use std::fmt::Write as _;

use super::*;
use crate::workloads::{Index, tests::source as list_of};
use guard_core::uses::SourceKind;

const PLAIN: &str = r#""block": {"not_worse_than_running": false}"#;
const WORKLOADS: &str = r#""block": {"workloads": {"sources": ["ecs", "lambda"]}}"#;
const NO_HOLD: &str = r#""block": {"when_in_use": "block", "workloads": {"sources": ["ecs", "lambda"]}}"#;

fn push(world: &World, key: &ImageKey, tags: &[&str]) {
    let entry = Image {
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        pushed_at: Some(now() - SignedDuration::from_mins(1)),
        ..image(key)
    };
    world.push(key, entry);
}

fn push_index(world: &World, index: &ImageKey, tags: &[&str], children: &[ImageKey]) {
    push(world, index, tags);
    let entry = Image {
        manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
        artifact_media_type: None,
        ..world.image_of(index).unwrap()
    };
    world.push(index, entry);
    let entries: Vec<String> = children
        .iter()
        .map(|key| format!(r#"{{"digest": "{}"}}"#, key.digest))
        .collect();
    world.set_manifest(index, &format!(r#"{{"manifests": [{}]}}"#, entries.join(",")));
}

fn of(key: &ImageKey, hints: Hints) -> Request {
    Request {
        image: ImageRef::Digest(key.digest.clone()),
        hints,
        ..request("one")
    }
}

fn none() -> Hints {
    Hints::default()
}

fn found() -> Hints {
    Hints {
        found: true,
        indexes_read: true,
        ..none()
    }
}

fn announces(critical: u64) -> Hints {
    Hints {
        announced: Some(announced(critical)),
        ..none()
    }
}

#[track_caller]
fn settle(world: &World, policy: &Policy, key: &ImageKey) {
    run(look(world, policy, &of(key, none()))).unwrap();
}

/// An index with the tag `v1` of two images, of which nothing is known but that they are its children.
fn pending(policy: &Policy) -> World {
    let world = World::new();
    push(&world, &bad(), &[]);
    push(&world, &other(), &[]);
    push_index(&world, &index(), &["v1"], &[bad(), other()]);
    settle(&world, policy, &index());
    if policy.workloads.is_some() {
        list_workloads(&world, policy);
    }
    world
}

/// The same, when the other image is known to be clean, and this one has a CRITICAL finding.
fn found_in(policy: &Policy) -> World {
    let world = pending(policy);
    world.set_scan(&other(), clean());
    settle(&world, policy, &other());
    world.set_scan(&bad(), critical());
    world
}

fn list_workloads(world: &World, policy: &Policy) {
    for kind in [SourceKind::Ecs, SourceKind::Lambda] {
        world.set_workloads(&list_of(kind), Vec::new());
    }
    let workloads = Index {
        services: &world.services(policy),
        rules: policy.workloads.as_ref().unwrap(),
        registry: guard_testkit::registry_key(),
    };
    run(workloads.run(world)).unwrap();
}

/// The calls by operation, and how many of them come one after the other.
struct Costs(String);

impl Costs {
    fn add(&mut self, case: &str, world: &World, policy: &Policy, key: &ImageKey, hints: Hints) {
        world.forget_calls();
        let outcome = run(look(world, policy, &of(key, hints)));
        let ended = match &outcome {
            Ok(outcome) => format!("{:?} {:?}", outcome.outcome, outcome.state),
            Err(error) => error.code().to_owned(),
        };
        let mut counts = std::collections::BTreeMap::<_, usize>::new();
        for call in world.calls() {
            *counts.entry(call.operation).or_default() += 1;
        }
        let counts: Vec<String> = counts
            .iter()
            .map(|(operation, number)| format!("{operation} {number}"))
            .collect();
        let chain = longest_chain(world);
        writeln!(self.0, "{case}: {ended}, {chain} round trips\n  {}", counts.join(", ")).unwrap();
    }
}

#[test]
fn an_image_alone_costs_these_calls() {
    let mut costs = Costs(String::new());
    let (plain, with, no_hold) = (policy(PLAIN), policy(WORKLOADS), policy(NO_HOLD));
    let alone = |scan: Scan, policy: &Policy| {
        let world = world(scan);
        if policy.workloads.is_some() {
            list_workloads(&world, policy);
        }
        world
    };
    let key = image_key();
    costs.add("waits for a scan", &alone(Scan::Absent, &plain), &plain, &key, none());
    costs.add(
        "a sweep finds it without a scan",
        &alone(Scan::Absent, &plain),
        &plain,
        &key,
        found(),
    );
    costs.add(
        "a sweep finds it scanned",
        &alone(clean(), &plain),
        &plain,
        &key,
        found(),
    );
    costs.add(
        "is pushed",
        &alone(Scan::Absent, &plain),
        &plain,
        &key,
        arrived(Way::Pushed(None)),
    );
    costs.add("is gone", &World::new(), &plain, &key, none());
    for (name, policy) in [
        ("plain", &plain),
        ("default", &super::policy("")),
        ("workloads", &with),
        ("no hold", &no_hold),
    ] {
        costs.add(
            &format!("critical, {name}"),
            &alone(critical(), policy),
            policy,
            &key,
            none(),
        );
        costs.add(
            &format!("announced, {name}"),
            &alone(critical(), policy),
            policy,
            &key,
            announces(1),
        );
        costs.add(
            &format!("announced without a block, {name}"),
            &alone(clean(), policy),
            policy,
            &key,
            announces(0),
        );
    }
    let blocked = alone(critical(), &plain);
    settle(&blocked, &plain, &key);
    costs.add("comes to be excepted", &blocked, &policy(EXCEPTED), &key, none());
    blocked.finish_restore(&key);
    costs.add("can be pulled again", &blocked, &policy(EXCEPTED), &key, none());
    insta::assert_snapshot!(costs.0);
}

#[test]
fn an_image_with_its_index_costs_these_calls() {
    let mut costs = Costs(String::new());
    for (name, members) in [
        ("plain", PLAIN),
        ("default", ""),
        ("workloads", WORKLOADS),
        ("no hold", NO_HOLD),
    ] {
        let policy = policy(members);
        let fresh = pending(&policy);
        fresh.set_scan(&other(), clean());
        costs.add(&format!("clean, {name}"), &fresh, &policy, &other(), none());
        costs.add(&format!("again, {name}"), &fresh, &policy, &other(), none());
        let world = found_in(&policy);
        costs.add(&format!("critical, {name}"), &world, &policy, &bad(), none());
        costs.add(&format!("its index again, {name}"), &world, &policy, &index(), none());
        costs.add(
            &format!("announced, {name}"),
            &found_in(&policy),
            &policy,
            &bad(),
            announces(1),
        );
        costs.add(
            &format!("a sweep finds it, {name}"),
            &found_in(&policy),
            &policy,
            &bad(),
            found(),
        );
        costs.add(
            &format!("a sweep finds the index, {name}"),
            &found_in(&policy),
            &policy,
            &index(),
            found(),
        );
        for key in [index(), bad()] {
            world.push_again(&key, world.now());
        }
        costs.add(&format!("comes back, {name}"), &world, &policy, &bad(), none());
    }
    insta::assert_snapshot!(costs.0);
}

#[test]
fn what_happens_to_an_image_of_an_index_costs_these_calls() {
    let mut costs = Costs(String::new());
    let policy = policy(PLAIN);
    let high = || Scan::Complete(scan(vec![finding("CVE-2026-2", Severity::High)]));
    let world = found_in(&policy);
    world.set_scan(&bad(), high());
    costs.add("it must be reviewed", &world, &policy, &bad(), none());
    let world = found_in(&policy);
    world.set_scan(&bad(), high());
    let mut tagged = world.image_of(&bad()).unwrap();
    tagged.tags = vec!["of-its-own".parse().unwrap()];
    world.push(&bad(), tagged);
    costs.add("it has a tag and must be reviewed", &world, &policy, &bad(), none());
    world.set_scan(&bad(), critical());
    costs.add("it has a tag and is critical", &world, &policy, &bad(), none());
    let world = found_in(&policy);
    world.delete(&bad());
    costs.add("it is deleted", &world, &policy, &bad(), none());
    let world = found_in(&policy);
    settle(&world, &policy, &bad());
    let excepted = super::policy(EXCEPTED);
    costs.add("the policy excepts its finding", &world, &excepted, &bad(), none());
    for key in [index(), bad()] {
        world.finish_restore(&key);
    }
    costs.add("it can be pulled again", &world, &excepted, &bad(), none());
    let world = found_in(&policy);
    settle(&world, &policy, &bad());
    costs.add(
        "the policy excepts a finding of the index",
        &world,
        &excepted,
        &index(),
        none(),
    );
    let world = found_in(&policy);
    world.delete(&index());
    costs.add("its index is deleted", &world, &policy, &index(), none());
    costs.add("after its index", &world, &policy, &bad(), none());
    let world = found_in(&policy);
    push_index(&world, &key("sha256:2d"), &["v2"], &[bad()]);
    settle(&world, &policy, &key("sha256:2d"));
    costs.add("of two indexes", &world, &policy, &bad(), none());
    insta::assert_snapshot!(costs.0);
}

/// An index of indexes, with the same image in two of them.
fn nested(policy: &Policy) -> World {
    let world = World::new();
    for child in [bad(), other()] {
        push(&world, &child, &[]);
    }
    push_index(&world, &key("sha256:2d"), &[], &[bad()]);
    push_index(&world, &key("sha256:3d"), &[], &[bad(), other()]);
    push_index(&world, &index(), &["v1"], &[key("sha256:2d"), key("sha256:3d")]);
    if policy.workloads.is_some() {
        list_workloads(&world, policy);
    }
    world
}

#[test]
fn an_index_of_many_images_or_of_indexes_costs_these_calls() {
    let mut costs = Costs(String::new());
    let policy = policy(PLAIN);
    let many = World::new();
    let children: Vec<ImageKey> = (0..25).map(|number| key(&format!("sha256:c{number:02}"))).collect();
    for child in &children {
        push(&many, child, &[]);
        many.set_scan(child, clean());
    }
    push_index(&many, &index(), &["v1"], &children);
    costs.add("25 new images", &many, &policy, &index(), none());
    costs.add("25 known images", &many, &policy, &index(), none());
    let world = nested(&policy);
    costs.add("new indexes", &world, &policy, &index(), none());
    costs.add("known indexes", &world, &policy, &index(), none());
    world.set_scan(&other(), clean());
    costs.add(
        "an image of an index of an index is clean",
        &world,
        &policy,
        &other(),
        none(),
    );
    costs.add("again", &world, &policy, &other(), none());
    world.set_scan(&bad(), critical());
    costs.add("an image of both is critical", &world, &policy, &bad(), none());
    let refused = Hints {
        refused: Some(PortError {
            retry: Retry::Never,
            operation: "ecr:DescribeImageScanFindings",
            code: "AccessDeniedException".to_owned(),
            message: "no".to_owned(),
            request_id: None,
        }),
        ..none()
    };
    costs.add("the scanner is not asked", &nested(&policy), &policy, &index(), refused);
    insta::assert_snapshot!(costs.0);
}

/// A call that fails is no answer: the reconcile fails with it, and says which call that was.
#[test]
fn no_call_fails_in_silence() {
    let policy = policy("");
    let high = || Scan::Complete(scan(vec![finding("CVE-2026-2", Severity::High)]));
    let whole = world(high());
    super::settle(&whole, &policy);
    let calls = whole.calls_made();
    assert!(calls > 6, "{calls}");
    for number in 0..calls {
        let world = world(high());
        world.fail_after(Some((number, Fault::Before(Retry::Later))));
        let error = run(look(&world, &policy, &request("one"))).unwrap_err();
        assert_eq!(error.code(), "CallFailed", "call {number}");
    }
}

/// An index of the image that nobody has read: its manifest must be read before the image is blocked.
#[test]
fn an_image_is_not_blocked_when_the_manifest_of_another_index_cannot_be_read() {
    let policy = policy(PLAIN);
    for (retry, is_error) in [(Retry::Later, true), (Retry::Never, false)] {
        let world = found_in(&policy);
        push_index(&world, &key("sha256:2d"), &["v2"], &[other()]);
        match retry {
            Retry::Later => world.fail("ecr:BatchGetImage", Fault::Before(retry)),
            Retry::Never => world.refuse("ecr:BatchGetImage", "no"),
        }
        let result = run(look(&world, &policy, &of(&bad(), none())));
        let status = |key: ImageKey| world.image_of(&key).unwrap().status;
        assert_eq!(
            (status(bad()), status(index())),
            (ImageStatus::Active, ImageStatus::Archived)
        );
        match result {
            Err(error) => {
                assert!(is_error);
                assert!(
                    error.to_string().starts_with("could not look for more indexes of"),
                    "{error}"
                );
            }
            Ok(_) => {
                assert!(!is_error);
                assert_eq!(world.row_of(&bad()).unwrap().state, State::BlockDeferred);
            }
        }
    }
}

/// The row of an image that was deleted says nothing of the one that was pushed again.
#[test]
fn an_image_of_an_index_that_is_back_is_reconciled_before_its_index() {
    let policy = policy(PLAIN);
    let world = found_in(&policy);
    world.set_scan(&bad(), clean());
    settle(&world, &policy, &bad());
    world.delete(&bad());
    settle(&world, &policy, &bad());
    assert!(world.row_of(&bad()).unwrap().closed_at.is_some());
    push(&world, &bad(), &[]);
    world.set_scan(&bad(), critical());
    settle(&world, &policy, &index());
    assert_eq!(world.row_of(&index()).unwrap().state, State::Blocked);
    assert_eq!(world.row_of(&bad()).unwrap().closed_at, None);
}
