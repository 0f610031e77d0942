//! Parts of the reconcile of an image by themselves: what is read of a manifest and of a source, what is undone, and what a refusal leaves.

use super::{
    super::{
        attempt::{Attempt, NotRead},
        image_run::ImageRun,
        pages::Spent,
    },
    *,
};
use guard_core::{
    decide::{Limit, Plan, Step, decide},
    ids::Region,
    ledger::{Block, Source},
    policy::BlockMethod,
    uses::Uses,
};

fn run_of<'a>(services: &'a Parts<'a>, policy: &'a Policy, spent: &'a Spent, hints: Hints) -> ImageRun<'a, Parts<'a>> {
    ImageRun {
        services,
        policy,
        key: image_key(),
        hints,
        actor: "one",
        spent,
        index: None,
    }
}

fn block(confirmed: bool, tags: &[&str]) -> Block {
    Block {
        method: BlockMethod::Archive,
        at: now(),
        confirmed,
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        returns: Vec::new(),
        undone_at: None,
        release_refused_at: None,
        told: false,
    }
}

/// The row of an image that was allowed.
fn a_row(policy: &Policy) -> Row {
    let world = world(clean());
    settle(&world, policy);
    world.row_of(&image_key()).unwrap()
}

#[test]
fn a_manifest_of_an_image_that_was_changed_since_is_not_taken_for_none() {
    let policy = policy("");
    let (active, archived) = (ImageStatus::Active, ImageStatus::Archived);
    for (then, now, expected, reads) in [
        (&active, &active, "Ok(Some(\"{}\"))", 0),
        (&active, &archived, "Changed", 1),
        (&archived, &archived, "Ok(None)", 0),
        (&archived, &active, "Ok(Some(\"{}\"))", 0),
    ] {
        let world = world(Scan::Absent);
        let of = |status: &ImageStatus| Image {
            status: status.clone(),
            ..image(&image_key())
        };
        world.push(&image_key(), of(now));
        let (services, spent) = (world.services(&policy), Spent::default());
        let facts = Facts {
            image: Some(of(then)),
            ..Facts::about(image_key(), "one")
        };
        let mut not_read = NotRead::default();
        let manifest = run(run_of(&services, &policy, &spent, Hints::default()).manifest(&facts, &mut not_read));
        let answer = match manifest {
            Err(error) => error.code().to_owned(),
            ok => format!("{ok:?}"),
        };
        assert_eq!(answer, expected, "{then:?}, then {now:?}");
        let calls = world.calls();
        let looks = calls.iter().filter(|call| call.operation == "ecr:DescribeImages");
        assert_eq!(looks.count(), reads, "{then:?}, then {now:?}");
    }
}

#[test]
fn a_manifest_that_is_refused_is_none_and_one_that_fails_is_an_error() {
    let policy = policy("");
    for retry in [Retry::Never, Retry::Later] {
        let world = world(Scan::Absent);
        world.fail("ecr:BatchGetImage", Fault::Before(retry));
        let (services, spent) = (world.services(&policy), Spent::default());
        let mut not_read = NotRead::default();
        let facts = Facts::about(image_key(), "one");
        let manifest = run(run_of(&services, &policy, &spent, Hints::default()).manifest(&facts, &mut not_read));
        if retry == Retry::Never {
            assert_eq!(manifest, Ok(None));
            assert_eq!(not_read.manifest.unwrap().operation, "ecr:BatchGetImage");
        } else {
            assert_eq!(manifest.unwrap_err().code(), "CallFailed");
            assert_eq!(not_read.manifest, None);
        }
    }
}

/// A row that still has a block is that of an image that another invocation blocks, or brings back by itself.
#[test]
fn only_an_image_whose_row_has_no_block_any_more_is_restored_after_a_late_archiving() {
    let policy = policy("");
    for (state, has_block, restores) in [
        (State::Blocked, true, 0),
        (State::Blocked, false, 0),
        (State::BlockDeferred, true, 0),
        (State::Allowed, true, 0),
        (State::BlockDeferred, false, 1),
        (State::Allowed, false, 1),
    ] {
        let world = world(clean());
        let block = has_block.then(|| block(true, &[]));
        world.remember(Row {
            state,
            block,
            ..a_row(&policy)
        });
        let archived = Image {
            status: ImageStatus::Archived,
            ..image(&image_key())
        };
        world.push(&image_key(), archived);
        let (services, spent) = (world.services(&policy), Spent::default());
        run(run_of(&services, &policy, &spent, Hints::default()).undo_late_archiving()).unwrap();
        let calls = world.calls();
        let changes = calls.iter().filter(|call| call.mutates).count();
        assert_eq!(changes, restores, "{state:?}, {has_block}");
        let back = if restores == 1 {
            ImageStatus::Activating
        } else {
            ImageStatus::Archived
        };
        assert_eq!(status(&world), back, "{state:?}, {has_block}");
    }
    let world = world(clean());
    let (services, spent) = (world.services(&policy), Spent::default());
    run(run_of(&services, &policy, &spent, Hints::default()).undo_late_archiving()).unwrap();
    assert!(
        world.calls().iter().all(|call| !call.mutates),
        "without a row it is left"
    );
}

fn region(name: &str) -> Region {
    name.parse().unwrap()
}

/// The row of this image in another region, and where that one is a copy from.
fn elsewhere(policy: &Policy, at: &str, from: Option<&str>) -> Row {
    Row {
        image: ImageKey {
            region: region(at),
            ..image_key()
        },
        source: from.map(from_region),
        ..a_row(policy)
    }
}

fn from_region(name: &str) -> Source {
    Source {
        region: region(name),
        verdict: None,
        blocked: false,
        judged: false,
    }
}

/// `us-west-2` is here. Where each of two is a copy of the other, the one that the row remembers is taken, unless it is the same.
#[test]
fn the_source_of_a_copy_is_the_one_of_the_event_unless_that_is_a_copy_of_this() {
    let policy = policy("");
    for (case, said, said_is_from, known, source) in [
        ("an event says it", Some("us-east-1"), None, None, Some("us-east-1")),
        ("the row knows it", None, None, Some("eu-west-1"), Some("eu-west-1")),
        (
            "both say the same",
            Some("eu-west-1"),
            None,
            Some("eu-west-1"),
            Some("eu-west-1"),
        ),
        (
            "the event counts",
            Some("us-east-1"),
            None,
            Some("eu-west-1"),
            Some("us-east-1"),
        ),
        (
            "it is a copy of another",
            Some("us-east-1"),
            Some("eu-west-1"),
            Some("eu-west-1"),
            Some("us-east-1"),
        ),
        (
            "it is a copy of this",
            Some("us-east-1"),
            Some("us-west-2"),
            Some("eu-west-1"),
            Some("eu-west-1"),
        ),
        (
            "each of the other",
            Some("us-east-1"),
            Some("us-west-2"),
            Some("us-east-1"),
            Some("us-east-1"),
        ),
        (
            "and nothing is known",
            Some("us-east-1"),
            Some("us-west-2"),
            None,
            Some("us-east-1"),
        ),
        ("neither", None, None, None, None),
    ] {
        let world = world(clean());
        for (at, from) in [("us-east-1", said_is_from), ("eu-west-1", None)] {
            world.remember(elsewhere(&policy, at, from));
        }
        world.remember(Row {
            source: known.map(from_region),
            ..a_row(&policy)
        });
        let hints = Hints {
            source: said.map(region),
            ..Hints::default()
        };
        let (services, spent) = (world.services(&policy), Spent::default());
        let attempt = run(run_of(&services, &policy, &spent, hints).gather(None)).unwrap();
        let found = attempt.facts.source;
        assert_eq!(
            found.as_ref().map(|source| source.region.clone()),
            source.map(region),
            "{case}"
        );
        assert_eq!(
            found.and_then(|source| source.row).map(|row| row.image.region),
            source.map(region),
            "{case}"
        );
    }
}

/// An attempt about an image with this row, and a step that blocks it.
fn attempt(policy: &Policy, row: Option<Row>) -> (Attempt, Step) {
    let facts = Facts {
        image: Some(image(&image_key())),
        scan: critical(),
        indexes_known: Some(true),
        replaced: guard_core::decide::Replaced::Nothing,
        told: Some(guard_core::told::ToldFindings::none(RepositoryKey::of(&image_key()))),
        ..Facts::about(image_key(), "one")
    };
    let Plan::Apply(step) = decide(policy, &facts, now()) else {
        panic!("a CRITICAL finding blocks");
    };
    let attempt = Attempt {
        facts: Facts { row, ..facts },
        pulled: None,
        answers: None,
        not_read: NotRead::default(),
        unscanned: None,
        refused: None,
    };
    (attempt, *step)
}

#[test]
fn after_a_claim_of_which_nothing_was_done_the_row_is_as_before_in_the_version_of_the_ledger() {
    let policy = policy("");
    let before = Row {
        tags: vec!["before".parse().unwrap()],
        ..a_row(&policy)
    };
    for row in [None, Some(before)] {
        for is_limit in [true, false] {
            let (mut attempt, step) = attempt(&policy, row.clone());
            let claimed = step.row.clone();
            assert!(claimed.state == State::Blocked && claimed.block.is_some() && claimed.alert.is_some());
            assert!(!claimed.findings.is_empty());
            if is_limit {
                let limit = Limit {
                    until: now(),
                    first: true,
                };
                attempt.limit(step, limit);
                assert_eq!((attempt.facts.limit, attempt.facts.uses), (Some(limit), None));
            } else {
                attempt.used(step, Uses::Nobody);
                assert_eq!((attempt.facts.limit, attempt.facts.uses), (None, Some(Uses::Nobody)));
            }
            let expected = match &row {
                Some(row) => Row {
                    generation: claimed.generation,
                    ..row.clone()
                },
                None => Row {
                    state: State::Pending,
                    block: None,
                    alert: None,
                    findings: Vec::new(),
                    ..claimed
                },
            };
            assert_eq!(attempt.facts.row, Some(expected));
        }
    }
}

/// The release gives back the tags that a quarantine may have taken before it was refused.
#[test]
fn after_a_refusal_the_row_is_as_before_with_the_tags_that_may_be_gone() {
    let policy = policy("");
    let error = PortError {
        retry: Retry::Never,
        operation: "ecr:BatchDeleteImage",
        code: "Refused".to_owned(),
        message: "no".to_owned(),
        request_id: None,
    };
    let (known, begun) = (block(true, &["v1"]), block(false, &["v1", "v2"]));
    let with_tags_of_begun = Block {
        tags: begun.tags.clone(),
        ..known.clone()
    };
    for (case, known, begun, left) in [
        ("none", None, None, None),
        ("no tags were to go", None, Some(block(false, &[])), None),
        ("the first block", None, Some(begun.clone()), Some(begun.clone())),
        ("a block that stood", Some(known.clone()), None, Some(known.clone())),
        (
            "nothing new",
            Some(known.clone()),
            Some(block(false, &[])),
            Some(known.clone()),
        ),
        ("more tags", Some(known), Some(begun), Some(with_tags_of_begun)),
    ] {
        let row = Row {
            block: known,
            ..a_row(&policy)
        };
        let (mut attempt, mut step) = attempt(&policy, Some(row.clone()));
        (step.row.block, step.row.generation) = (begun, 7);
        attempt.refuse(step, error.clone());
        assert_eq!(
            attempt.facts.row,
            Some(Row {
                block: left,
                generation: 7,
                ..row
            }),
            "{case}"
        );
        assert_eq!(attempt.facts.block_failure, Some(error.to_string()));
        assert_eq!(
            (attempt.facts.release_failure, attempt.refused),
            (None, Some(error.clone()))
        );
    }
    // Without a row it is the claimed one.
    let (mut attempt, step) = attempt(&policy, None);
    let claimed = step.row.clone();
    attempt.refuse(step, error);
    assert_eq!(attempt.facts.row, Some(claimed));
}

#[test]
fn an_alert_without_a_change_is_applied_and_what_is_no_image_is_said_to_be_none() {
    let policy = policy("");
    let high = Scan::Complete(scan(vec![finding("CVE-2026-2", Severity::High)]));
    for (scan, applied, effect, alert) in [
        (clean(), State::Allowed, None, None),
        (high, State::Review, None, Some(AlertKind::ImageReview)),
        (
            critical(),
            State::Blocked,
            Some("archive"),
            Some(AlertKind::ImageBlocked),
        ),
    ] {
        let outcome = settle(&world(scan), &policy);
        assert_eq!(
            (outcome.outcome, outcome.state, outcome.effect, outcome.alert),
            (OutcomeKind::Applied, Some(applied), effect, alert)
        );
        assert_eq!(outcome.alert_id.is_some(), alert.is_some());
        assert_eq!(outcome.counted, effect.is_some());
    }
    let world = world(Scan::Absent);
    let bare = Image {
        tags: Vec::new(),
        ..image(&image_key())
    };
    world.push(&image_key(), bare);
    world.set_manifest(&image_key(), ATTESTATION);
    assert_eq!(settle(&world, &policy).outcome, OutcomeKind::NotAnImage);
    world.delete(&image_key());
    let outcome = settle(&world, &policy);
    assert_eq!((outcome.outcome, outcome.alert), (OutcomeKind::Closed, None));
}

#[test]
fn the_log_has_no_member_that_says_nothing() {
    let policy = policy("");
    let world = world(critical());
    let blocked = settle(&world, &policy);
    let id = blocked.alert_id.clone().unwrap();
    let outcomes = [settle(&World::new(), &policy), blocked, settle(&world, &policy)];
    let lines: Vec<String> = outcomes
        .iter()
        .map(|outcome| serde_json::to_string(outcome).unwrap())
        .collect();
    insta::assert_snapshot!(lines.join("\n").replace(&id, "ID"));
}

#[test]
fn who_uses_an_image_must_be_known_or_refused_for_good() {
    let policy = policy(r#""block": {"workloads": {"sources": ["ecs"]}}"#);
    for (retry, expected) in [(Retry::Never, Some(State::BlockDeferred)), (Retry::Later, None)] {
        let world = world(critical());
        world.fail("dynamodb:BatchGetItem", Fault::Before(retry));
        match run(look(&world, &policy, &request("one"))) {
            Ok(outcome) => {
                assert_eq!(outcome.state, expected);
                let reason = outcome.reason.unwrap();
                assert!(
                    reason.contains("dynamodb:BatchGetItem failed with `Injected`"),
                    "{reason}"
                );
            }
            Err(error) => {
                assert_eq!((error.code(), expected), ("CallFailed", None));
                assert!(error.to_string().starts_with("could not look up who uses"), "{error}");
            }
        }
        assert_eq!(status(&world), ImageStatus::Active);
    }
}

/// The registry refuses the change, and by then the image is gone: the refusal was of another kind, and is alerted.
#[test]
fn only_the_word_that_there_is_no_image_ends_a_block_in_silence() {
    let policy = policy("");
    let mut refused = 0;
    for polls in 0..60 {
        let world = world(critical());
        world.fail("ecr:UpdateImageStorageClass", Fault::Before(Retry::Never));
        let request = request("one");
        let mut looking = Box::pin(look(&world, &policy, &request));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let is_done = (0..polls).any(|_| looking.as_mut().poll(&mut context).is_ready());
        if is_done {
            break;
        }
        world.delete(&image_key());
        let result = run(looking);
        let calls = world.calls();
        if calls.iter().any(|call| call.operation == "ecr:UpdateImageStorageClass") {
            refused += 1;
            assert_eq!(result.unwrap_err().code(), "BlockRefused", "{polls}");
        }
    }
    assert!(refused > 2, "{refused}");
}
