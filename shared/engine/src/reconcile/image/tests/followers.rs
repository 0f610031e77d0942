//! An image that is blocked together with its index, and what is in the way of that.

use super::*;
use guard_core::decide::leased;

fn of(key: &ImageKey, actor: &str) -> Request {
    Request {
        image: ImageRef::Digest(key.digest.clone()),
        ..request(actor)
    }
}

/// Pushed a minute ago.
fn fresh(key: &ImageKey) -> Image {
    Image {
        tags: Vec::new(),
        pushed_at: Some(now() - SignedDuration::from_mins(1)),
        ..image(key)
    }
}

/// An index of two images, of which nothing is known but that they are its children.
fn pending(policy: &Policy) -> World {
    let world = World::new();
    let mut entries = Vec::new();
    for child in [bad(), other()] {
        world.push(&child, fresh(&child));
        entries.push(format!(r#"{{"digest": "{}"}}"#, child.digest));
    }
    let entry = Image {
        tags: vec!["v1.2.3".parse().unwrap()],
        manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
        artifact_media_type: None,
        ..fresh(&index())
    };
    world.push(&index(), entry);
    world.set_manifest(&index(), &format!(r#"{{"manifests": [{}]}}"#, entries.join(",")));
    run(look(&world, policy, &of(&index(), "first"))).unwrap();
    world
}

/// The same, with a CRITICAL finding in one of the images.
fn found(policy: &Policy) -> World {
    let world = pending(policy);
    world.complete_scan(&other(), scan(vec![]));
    run(look(&world, policy, &of(&other(), "second"))).unwrap();
    world.complete_scan(&bad(), scan(vec![finding("CVE-2026-1", Severity::Critical)]));
    world
}

fn state(world: &World, key: &ImageKey) -> State {
    world.row_of(key).unwrap().state
}

fn is_archived(world: &World, key: &ImageKey) -> bool {
    world.image_of(key).unwrap().status == ImageStatus::Archived
}

/// Both are blocked, the ledger says so, and nothing is left to do.
#[track_caller]
fn assert_both_blocked(world: &World, policy: &Policy, case: &str) {
    for key in [index(), bad()] {
        let row = world.row_of(&key).unwrap();
        assert_eq!(row.state, State::Blocked, "{case}: {key}");
        assert!(row.block.is_some_and(|block| block.confirmed), "{case}: {key}");
        assert_eq!(row.undertaken, None, "{case}: {key}");
        assert!(is_archived(world, &key), "{case}: {key}");
    }
    assert!(!is_archived(world, &other()), "{case}");
    for key in [index(), bad(), other()] {
        world.forget_calls();
        let outcome = run(look(world, policy, &of(&key, "last"))).unwrap();
        assert_eq!(
            (outcome.outcome, world.writes()),
            (OutcomeKind::Unchanged, 0),
            "{case}: {key}"
        );
    }
}

/// Waits for a number of polls, then does it.
async fn later<T>(polls: usize, doing: impl Future<Output = T>) -> T {
    for _ in 0..polls {
        let mut waited = false;
        std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            if std::mem::replace(&mut waited, true) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }
    doing.await
}

#[test]
fn the_image_is_archived_after_its_index_was_read_back_and_with_one_alert() {
    let policy = policy("");
    let world = found(&policy);
    world.forget_calls();
    let outcome = run(look(&world, &policy, &of(&bad(), "one"))).unwrap();
    let also: Vec<_> = outcome
        .also
        .iter()
        .map(|one| (one.digest.clone(), one.effect))
        .collect();
    let archived = |key: ImageKey| (Some(key.digest), Some("archive"));
    assert_eq!(also, [archived(index()), archived(bad())]);
    let calls = world.calls();
    let archives: Vec<_> = calls
        .iter()
        .filter(|call| call.operation == "ecr:UpdateImageStorageClass")
        .collect();
    assert_eq!(archives.len(), 2);
    let read_back = calls
        .iter()
        .filter(|call| call.operation == "ecr:DescribeImages" && call.began > archives[0].began);
    let read_back = read_back.filter_map(|call| call.ended).min().unwrap();
    assert!(
        archives[1].began > read_back,
        "the second before the first was read back"
    );
    assert_eq!(told(&world), ["image-blocked"]);
    assert_both_blocked(&world, &policy, "undisturbed");
}

#[test]
fn an_invocation_that_ends_anywhere_leaves_nothing_that_its_retry_does_not_do() {
    let policy = policy("");
    for polls in 0..400 {
        let world = found(&policy);
        let done = run_and_crash(look(&world, &policy, &of(&bad(), "one")), polls);
        if let Some(row) = world.row_of(&bad()).filter(|_| is_archived(&world, &bad())) {
            assert!(row.block.is_some(), "{polls}: the ledger does not know who archived it");
            assert!(is_archived(&world, &index()), "{polls}: before its index");
        }
        if done.is_some() {
            assert_both_blocked(&world, &policy, "to its end");
            return;
        }
        // Lambda delivers the event again; or another invocation comes, when the lease is over.
        let actor = if polls % 2 == 0 {
            "one"
        } else {
            world.set_now(now() + SignedDuration::from_secs(60));
            "two"
        };
        run(look(&world, &policy, &of(&bad(), actor))).unwrap();
        assert_both_blocked(&world, &policy, &format!("cut off after {polls} polls"));
    }
    panic!("it does not come to an end");
}

#[test]
fn an_index_that_the_registry_does_not_archive_leaves_no_claim_on_its_image() {
    let policy = policy("");
    let world = found(&policy);
    world.fail("ecr:UpdateImageStorageClass", Fault::Before(Retry::Never));
    let refused = run(look(&world, &policy, &of(&bad(), "one")));
    assert!(
        matches!(refused, Err(ReconcileError::BlockRefused { .. })),
        "{refused:?}"
    );
    assert!(!is_archived(&world, &index()) && !is_archived(&world, &bad()));
    assert_eq!(state(&world, &index()), State::BlockDeferred);
    // The error ends the invocation; the next one finds the claim, and it is over with it.
    drop(run(look(&world, &policy, &of(&bad(), "one"))));
    let row = world.row_of(&bad()).unwrap();
    assert_eq!(row.undertaken, None);
    if row.state == State::BlockDeferred {
        assert_eq!(row.block, None);
    } else {
        assert_both_blocked(&world, &policy, "archived at the second attempt");
    }
}

#[test]
fn whatever_fails_once_is_done_by_the_next_attempt() {
    let policy = policy("");
    for fault in [Fault::Before(Retry::Later), Fault::After(Retry::Later)] {
        for number in 0..30 {
            let world = found(&policy);
            world.fail_after(Some((number, fault.clone())));
            drop(run(look(&world, &policy, &of(&bad(), "one"))));
            world.heal();
            drop(run(look(&world, &policy, &of(&bad(), "one"))));
            assert_both_blocked(&world, &policy, &format!("call {number}: {fault:?}"));
        }
    }
}

/// Another invocation of the same event takes nothing back, and does nothing twice, whenever it comes.
#[test]
fn what_one_invocation_has_undertaken_another_leaves_to_it() {
    let policy = policy("");
    for polls in 0..200 {
        let world = found(&policy);
        let (first, second) = (of(&bad(), "one"), of(&bad(), "two"));
        let both = join(
            look(&world, &policy, &first),
            later(polls, look(&world, &policy, &second)),
        );
        let (first, second) = run(both);
        let is_fine = |result: &Result<Outcome, ReconcileError>| {
            matches!(
                result,
                Ok(_) | Err(ReconcileError::Busy(_) | ReconcileError::Contended(_))
            )
        };
        assert!(is_fine(&first) && is_fine(&second), "{polls}: {first:?}, {second:?}");
        if first.is_err() || second.is_err() {
            world.set_now(world.now() + SignedDuration::from_secs(60));
            run(look(&world, &policy, &of(&bad(), "three"))).unwrap();
        }
        assert_both_blocked(&world, &policy, &format!("{polls} polls later"));
        assert_eq!(told_ids(&world).len(), 1, "{polls}");
    }
}

#[test]
fn a_lease_of_an_image_ends() {
    let policy = policy("");
    let world = found(&policy);
    let row = (0..400).find_map(|polls| {
        let world = found(&policy);
        let done = run_and_crash(look(&world, &policy, &of(&bad(), "one")), polls);
        let row = world.row_of(&bad()).filter(|row| row.undertaken.is_some());
        row.filter(|_| done.is_none())
    });
    let row = row.expect("it is claimed at some time");
    assert!(leased(&row, "two", world.now()), "{row:?}");
    assert!(!leased(&row, "one", world.now()));
    assert!(!leased(&row, "two", world.now() + SignedDuration::from_secs(45)));
    let text = serde_json::to_string(&row).unwrap();
    assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), row);
}

/// Two images of an index are scanned in the same second. Each invocation writes its own row before it reads the other's, and however long a write
/// takes, the row of the index names both.
#[test]
fn of_two_images_that_are_scanned_at_once_one_invocation_sees_both() {
    let policy = policy("");
    let severities = [
        None,
        Some(Severity::Low),
        Some(Severity::High),
        Some(Severity::Critical),
    ];
    let pairs: Vec<_> = severities
        .iter()
        .flat_map(|one| severities.map(|two| [*one, two]))
        .collect();
    let scanned = |world: &World, severities: [Option<Severity>; 2]| {
        for (key, severity) in [bad(), other()].iter().zip(severities) {
            let findings = severity.map(|severity| finding("CVE-2026-1", severity));
            world.complete_scan(key, scan(findings.into_iter().collect()));
        }
    };
    let changes = pairs
        .iter()
        .flat_map(|before| pairs.iter().map(move |after| (*before, *after)));
    for (before, after) in changes.filter(|(before, after)| before[0] != after[0] && before[1] != after[1]) {
        for (polls, delay) in [(0, 3), (4, 3), (0, 6), (8, 6)] {
            let case = format!("{before:?}, then {after:?}; {polls} polls later, and a write takes {delay} more");
            let world = pending(&policy);
            scanned(&world, before);
            for key in [bad(), other()] {
                run(look(&world, &policy, &of(&key, "earlier"))).unwrap();
            }
            scanned(&world, after);
            world.delay("dynamodb:PutItem", delay);
            let (one, two) = (of(&bad(), "one"), of(&other(), "two"));
            let both = join(look(&world, &policy, &one), later(polls, look(&world, &policy, &two)));
            let (one, two) = run(both);
            assert!(one.is_ok() && two.is_ok(), "{case}: {one:?}, {two:?}");
            world.forget_calls();
            let outcome = run(look(&world, &policy, &of(&index(), "last"))).unwrap();
            assert_eq!((outcome.outcome, world.writes()), (OutcomeKind::Unchanged, 0), "{case}");
        }
    }
}

/// An index of the same image that nobody has read yet: the image is left to its own reconcile, which reads that index.
#[test]
fn an_image_with_an_index_that_nobody_has_read_is_not_blocked_ahead() {
    let policy = policy("");
    let world = found(&policy);
    let second = key("sha256:2d");
    let entry = Image {
        tags: vec!["v2".parse().unwrap()],
        last_pulled_at: Some(now()),
        manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
        artifact_media_type: None,
        ..fresh(&second)
    };
    world.push(&second, entry);
    world.set_manifest(
        &second,
        &format!(r#"{{"manifests": [{{"digest": "{}"}}]}}"#, bad().digest),
    );
    run(look(&world, &policy, &of(&bad(), "one"))).unwrap();
    assert!(is_archived(&world, &index()));
    assert!(!is_archived(&world, &bad()), "its second index is in use");
    run(look(&world, &policy, &of(&second, "two"))).unwrap();
    assert_eq!(state(&world, &second), State::BlockDeferred);
    assert!(!is_archived(&world, &bad()));
}
