//! An image that workloads use is not taken away, and neither is one whose use is not known.

use std::{
    future::Future as _,
    pin::pin,
    task::{Context, Poll, Waker},
};

use guard_core::{
    ids::RegistryKey,
    uses::{ImageReference, IndexState, Phase, SourceKind, Uses, Via, Workload, WorkloadKind, WorkloadSource},
};
use guard_ports::{Clock as _, Seen};

use super::*;
use crate::{testing::sweep, workloads::Index};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const WITH_INDEX: &str = r#""block": {"workloads": {"sources": ["ecs", "lambda"]}}"#;

fn with_index() -> Policy {
    policy(WITH_INDEX)
}

fn registry() -> RegistryKey {
    let key = image_key();
    RegistryKey {
        account: key.account,
        region: key.region,
    }
}

fn source(kind: SourceKind) -> WorkloadSource {
    let RegistryKey { account, region } = registry();
    WorkloadSource { account, region, kind }
}

fn service(phase: Phase) -> Workload {
    Workload {
        phase,
        kind: WorkloadKind::EcsService,
        name: "api".to_owned(),
        within: Some("prod".to_owned()),
        version: Some("41".to_owned()),
        source: source(SourceKind::Ecs),
        via: Via::Digest,
    }
}

fn seen(key: &ImageKey, workload: Workload) -> Seen {
    let uri = format!("{}.dkr.ecr.{}.amazonaws.com/{key}", key.account, key.region);
    Seen {
        workload,
        image: uri.parse::<ImageReference>().unwrap(),
    }
}

/// Lists all workloads, and brings the index to what they are.
fn index(world: &World, policy: &Policy) {
    let services = world.services(policy);
    let index = Index {
        services: &services,
        rules: policy.workloads.as_ref().unwrap(),
        registry: registry(),
    };
    run(index.run(world)).unwrap();
}

/// An event says that a workload runs.
fn starts(world: &World, policy: &Policy, key: &ImageKey, workload: Workload) {
    let services = world.services(policy);
    let index = Index {
        services: &services,
        rules: policy.workloads.as_ref().unwrap(),
        registry: registry(),
    };
    run(index.add(vec![seen(key, workload)])).unwrap();
}

fn runs(world: &World, workloads: Vec<Workload>) {
    let seen = workloads
        .into_iter()
        .map(|workload| seen(&image_key(), workload))
        .collect();
    world.set_workloads(&source(SourceKind::Ecs), seen);
}

fn later(world: &World, time: SignedDuration) {
    world.set_now(world.now() + time);
}

/// An image with a finding that blocks, and an index that knows what runs it.
fn used_by(workloads: Vec<Workload>) -> (World, Policy) {
    let (world, policy) = (world(critical()), with_index());
    runs(&world, workloads);
    index(&world, &policy);
    (world, policy)
}

#[test]
fn without_the_policy_nobody_asks() {
    let world = world(critical());
    starts(&world, &with_index(), &image_key(), service(Phase::Running));
    world.forget_calls();
    assert_eq!(settle(&world, &policy("")).state, Some(State::Blocked));
    let reads = world
        .calls()
        .iter()
        .filter(|call| call.operation == "dynamodb:BatchGetItem")
        .count();
    assert_eq!(reads, 0);
}

#[test]
fn a_workload_defers_the_block_of_its_image_and_the_alert_names_it() {
    for phase in [Phase::Running, Phase::Desired, Phase::Rollback] {
        let (world, policy) = used_by(vec![service(phase)]);
        let outcome = settle(&world, &policy);
        assert_eq!(outcome.state, Some(State::BlockDeferred), "{phase:?}");
        let reason = outcome.reason.unwrap();
        assert!(
            reason.contains("it is in use: service api in cluster prod, task definition 41"),
            "{reason}"
        );
        assert_eq!(told(&world), ["block-deferred"]);
        world.forget_calls();
        assert_eq!(settle(&world, &policy).outcome, OutcomeKind::Unchanged);
        assert_eq!(world.writes(), 0);
    }
}

#[test]
fn an_image_without_a_tag_that_comes_back_stays_with_the_workload_that_runs_it() {
    let (world, policy) = used_by(Vec::new());
    assert_eq!(settle(&world, &policy).state, Some(State::Blocked));
    later(&world, HOUR);
    world.push_again(&image_key(), world.now());
    let image = world.image_of(&image_key()).unwrap();
    let bare = Image {
        tags: Vec::new(),
        ..image
    };
    world.push(&image_key(), bare);
    starts(&world, &policy, &image_key(), service(Phase::Running));
    world.allow_calls(1_000);
    assert_eq!(settle(&world, &policy).state, Some(State::BlockDeferred));
    assert_eq!(world.image_of(&image_key()).unwrap().status, ImageStatus::Active);
}

/// The first invocation ends between the archive and its record; a workload runs the image when the next one comes.
fn archived_and_not_recorded(late: SignedDuration) -> (World, Policy) {
    let (world, policy) = used_by(Vec::new());
    world.show_late(late);
    for polls in 1.. {
        let crashed = guard_testkit::run_and_crash(look(&world, &policy, &request("one")), polls);
        assert!(
            crashed.is_none(),
            "it ended before it was seen with a block that is not confirmed"
        );
        let is_begun = world
            .row_of(&image_key())
            .is_some_and(|row| row.block.is_some_and(|block| !block.confirmed));
        if is_begun && world.image_of(&image_key()).unwrap().status == ImageStatus::Archived {
            break;
        }
        world.heal();
    }
    starts(&world, &policy, &image_key(), service(Phase::Running));
    (world, policy)
}

#[test]
fn a_block_that_was_only_begun_and_is_undone_is_in_the_row_until_the_image_is_there() {
    let (world, policy) = archived_and_not_recorded(SignedDuration::ZERO);
    assert_eq!(settle(&world, &policy).state, Some(State::BlockDeferred));
    assert_eq!(world.image_of(&image_key()).unwrap().status, ImageStatus::Activating);
    let block = world.row_of(&image_key()).unwrap().block.unwrap();
    assert!(block.undone_at.is_some());
    // Nobody uses it any more when it has arrived.
    index(&world, &policy);
    later(&world, HOUR * 30);
    index(&world, &policy);
    settle(&world, &policy);
    world.finish_restore(&image_key());
    world.set_scan(&image_key(), critical());
    sweep(&world, &policy);
    assert_eq!(world.image_of(&image_key()).unwrap().status, ImageStatus::Archived);
    let row = world.row_of(&image_key()).unwrap();
    assert!(row.state == State::Blocked && row.block.is_some_and(|block| block.confirmed));
}

#[test]
fn a_block_that_shows_after_it_was_deferred_is_undone_by_a_sweep() {
    let (world, policy) = archived_and_not_recorded(SignedDuration::from_secs(20));
    assert_eq!(settle(&world, &policy).state, Some(State::BlockDeferred));
    assert_eq!(world.image_of(&image_key()).unwrap().status, ImageStatus::Archived);
    later(&world, HOUR);
    sweep(&world, &policy);
    assert_eq!(world.image_of(&image_key()).unwrap().status, ImageStatus::Activating);
}

#[test]
fn what_nobody_uses_is_blocked_with_one_read_more_and_that_before_the_effect() {
    let chain = |policy: &Policy| {
        let world = world(critical());
        if policy.workloads.is_some() {
            index(&world, policy);
        }
        world.forget_calls();
        assert_eq!(settle(&world, policy).state, Some(State::Blocked));
        longest_chain(&world)
    };
    assert_eq!(chain(&with_index()), chain(&policy("")) + 1);
}

#[test]
fn unknown_uses_defer_the_block_without_an_alert_for_the_image() {
    let (world, policy) = (world(critical()), with_index());
    let outcome = settle(&world, &policy);
    assert_eq!(outcome.state, Some(State::BlockDeferred));
    let reason = outcome.reason.unwrap();
    assert!(
        reason.contains("the workloads of ECS of account 123456789012 in us-west-2 have never been listed"),
        "{reason}"
    );
    assert_eq!(told(&world), [""; 0]);
    index(&world, &policy);
    assert_eq!(settle(&world, &policy).state, Some(State::Blocked));
    assert_eq!(told(&world), ["image-blocked"]);
}

#[test]
fn what_is_not_known_silences_neither_report_mode_nor_an_image_that_came_back() {
    let reporting = world(critical());
    let report = guard_testkit::policy_in("report", WITH_INDEX);
    let outcome = settle(&reporting, &report);
    assert!(outcome.reason.unwrap().contains("report mode"));
    assert_eq!(told(&reporting), ["block-deferred"]);

    let (world, policy) = used_by(Vec::new());
    assert_eq!(settle(&world, &policy).state, Some(State::Blocked));
    later(&world, HOUR * 3);
    world.push_again(&image_key(), world.now());
    let outcome = settle(&world, &policy);
    assert!(outcome.reason.unwrap().contains("it is not known whether it is in use"));
    assert_eq!(told(&world).len(), 2, "{:?}", told(&world));
}

#[test]
fn an_index_that_is_old_is_no_index() {
    let (world, policy) = used_by(Vec::new());
    later(&world, HOUR * 3);
    assert_eq!(settle(&world, &policy).state, Some(State::BlockDeferred));
    let ignore = super::policy(r#""block": {"workloads": {"when_unknown": "ignore"}}"#);
    assert_eq!(settle(&world, &ignore).state, Some(State::Blocked));
}

#[test]
fn who_blocks_what_is_in_use_does_so() {
    let (world, _) = used_by(vec![service(Phase::Running)]);
    let policy = policy(r#""block": {"when_in_use": "block", "workloads": {}}"#);
    assert_eq!(settle(&world, &policy).state, Some(State::Blocked));
}

#[test]
fn a_workload_that_starts_between_claim_and_effect_keeps_its_image() {
    let (world, policy) = used_by(Vec::new());
    let request = request("one");
    let mut looking = pin!(look(&world, &policy, &request));
    let mut context = Context::from_waker(Waker::noop());
    let outcome = loop {
        if let Poll::Ready(outcome) = looking.as_mut().poll(&mut context) {
            break outcome.unwrap();
        }
        let is_claimed = world.row_of(&image_key()).is_some_and(|row| row.block.is_some());
        if is_claimed && world.use_rows().is_empty() {
            starts(&world, &policy, &image_key(), service(Phase::Running));
        }
    };
    assert_eq!(outcome.state, Some(State::BlockDeferred));
    assert_eq!(status(&world), ImageStatus::Active);
    assert_eq!(world.row_of(&image_key()).unwrap().block, None);
    assert_eq!(told(&world), ["block-deferred"]);
    world.forget_calls();
    settle(&world, &policy);
    assert_eq!(world.writes(), 0);
}

#[test]
fn a_workload_that_starts_during_a_block_gets_its_image_back() {
    let (world, policy) = used_by(Vec::new());
    assert_eq!(settle(&world, &policy).state, Some(State::Blocked));
    starts(&world, &policy, &image_key(), service(Phase::Running));
    assert_eq!(world.take_items(10).len(), 1, "it is looked at at once");
    assert_eq!(settle(&world, &policy).state, Some(State::BlockDeferred));
    world.finish_restore(&image_key());
    settle(&world, &policy);
    assert_eq!(status(&world), ImageStatus::Active);
    assert_eq!(told(&world), ["image-blocked", "block-deferred"]);
    world.forget_calls();
    settle(&world, &policy);
    assert_eq!(world.writes(), 0);
}

/// Its mark is its last tag, and stays.
#[test]
fn an_image_without_a_tag_of_its_own_stays_released_while_a_workload_runs_it() {
    let (world, _) = used_by(Vec::new());
    let policy = policy(r#""block": {"method": "quarantine-tag", "workloads": {"sources": ["ecs"]}}"#);
    let untagged = Image {
        tags: Vec::new(),
        ..world.image_of(&image_key()).unwrap()
    };
    world.push(&image_key(), untagged);
    later(&world, HOUR);
    index(&world, &policy);
    sweep(&world, &policy);
    let block = |world: &World| world.row_of(&image_key()).unwrap().block;
    let state = |world: &World| world.row_of(&image_key()).unwrap().state;
    assert_eq!((state(&world), block(&world).is_some()), (State::Blocked, true));

    runs(&world, vec![service(Phase::Running)]);
    index(&world, &policy);
    assert_eq!(settle(&world, &policy).state, Some(State::BlockDeferred));
    assert_eq!(tags(&world), ["blocked-ab12ab12ab12".to_owned()].into());
    let reason = world.row_of(&image_key()).unwrap().reason;
    assert!(reason.contains("it is in use: service api"), "{reason}");
    assert!(reason.ends_with("It keeps the tag `blocked-ab12ab12ab12`: ECR deletes an image with its last tag."));
    for _ in 0..3 {
        world.forget_calls();
        assert_eq!(settle(&world, &policy).outcome, OutcomeKind::Unchanged);
        assert_eq!((state(&world), world.writes()), (State::BlockDeferred, 0));
        later(&world, HOUR);
        index(&world, &policy);
        sweep(&world, &policy);
    }
    assert_eq!(told(&world), ["image-blocked", "block-deferred"]);

    runs(&world, Vec::new());
    index(&world, &policy);
    later(&world, HOUR * 25);
    index(&world, &policy);
    sweep(&world, &policy);
    assert_eq!((state(&world), block(&world).is_some()), (State::Blocked, true));
    assert_eq!(told(&world), ["image-blocked", "block-deferred", "image-blocked"]);
}

#[test]
fn naming_a_blocked_image_does_not_lift_its_block() {
    let (world, policy) = used_by(Vec::new());
    assert_eq!(settle(&world, &policy).state, Some(State::Blocked));
    for phase in [Phase::Desired, Phase::Rollback] {
        starts(&world, &policy, &image_key(), service(phase));
        assert_eq!(settle(&world, &policy).state, Some(State::Blocked), "{phase:?}");
    }
    assert_eq!(status(&world), ImageStatus::Archived);
}

#[test]
fn an_event_that_got_lost_is_made_up_for_by_a_sweep() {
    let (world, policy) = used_by(Vec::new());
    assert_eq!(settle(&world, &policy).state, Some(State::Blocked));
    runs(&world, vec![service(Phase::Running)]);
    index(&world, &policy);
    world.take_items(10);
    sweep(&world, &policy);
    assert_eq!(world.row_of(&image_key()).unwrap().state, State::BlockDeferred);
}

#[test]
fn a_day_after_its_last_workload_an_image_is_blocked_by_a_sweep() {
    let (world, policy) = used_by(vec![service(Phase::Running)]);
    settle(&world, &policy);
    runs(&world, Vec::new());
    index(&world, &policy);
    for (hours, expected) in [(22, State::BlockDeferred), (3, State::Blocked)] {
        later(&world, HOUR * hours);
        index(&world, &policy);
        sweep(&world, &policy);
        assert_eq!(world.row_of(&image_key()).unwrap().state, expected);
    }
}

#[test]
fn an_index_and_its_images_are_used_together() {
    let child = ImageKey {
        digest: "sha256:c0".parse().unwrap(),
        ..image_key()
    };
    let parent = ImageKey {
        digest: "sha256:1d".parse().unwrap(),
        ..image_key()
    };
    for used in [&child, &parent] {
        let policy = with_index();
        let world = World::new();
        world.push(
            &child,
            Image {
                tags: Vec::new(),
                ..image(&child)
            },
        );
        world.set_scan(&child, critical());
        let media_type = "application/vnd.oci.image.index.v1+json";
        world.push(
            &parent,
            Image {
                manifest_media_type: Some(media_type.to_owned()),
                artifact_media_type: None,
                ..image(&parent)
            },
        );
        world.set_manifest(
            &parent,
            &format!(
                r#"{{"manifests": [{{"digest": "{}", "platform": {{"architecture": "arm64", "os": "linux"}}}}]}}"#,
                child.digest
            ),
        );
        index(&world, &policy);
        starts(&world, &policy, used, service(Phase::Running));
        sweep(&world, &policy);
        for key in [&child, &parent] {
            assert_eq!(
                world.row_of(key).unwrap().state,
                State::BlockDeferred,
                "{key}, where {used} is used"
            );
            assert_eq!(world.image_of(key).unwrap().status, ImageStatus::Active);
        }
    }
}

/// The events of the property below.
#[derive(Debug, Clone)]
enum Happening {
    Runs(Vec<Phase>),
    Event(Phase),
    Run { fails: bool },
    Look { crash: Option<usize> },
    Sweep,
    Restored,
    Hours(u8),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let phase = || prop_oneof![Just(Phase::Running), Just(Phase::Desired), Just(Phase::Rollback)];
    let one = prop_oneof![
        proptest::collection::vec(phase(), 0..3).prop_map(Happening::Runs),
        phase().prop_map(Happening::Event),
        any::<bool>().prop_map(|fails| Happening::Run { fails }),
        proptest::option::of(1..12_usize).prop_map(|crash| Happening::Look { crash }),
        Just(Happening::Sweep),
        Just(Happening::Restored),
        (1..30_u8).prop_map(Happening::Hours),
    ];
    proptest::collection::vec(one, 1..14)
}

/// The answer of the index about the image now.
fn uses(world: &World, policy: &Policy) -> Uses {
    let RegistryKey { account, region } = registry();
    let state: Option<IndexState> = world.index_state_of(&account, &region);
    let rules = policy.workloads.as_ref().unwrap();
    Uses::of(rules, &[image_key()], &world.use_rows(), state.as_ref(), world.now())
}

proptest! {
    #[test]
    fn nothing_that_is_used_or_not_known_to_be_free_is_taken_away(story in happenings()) {
        let (world, policy) = (world(critical()), with_index());
        let mut actor = 0;
        for happening in story {
            // The lease of an invocation that crashed has ended.
            later(&world, SignedDuration::from_mins(1));
            let (before, was) = (uses(&world, &policy), status(&world));
            match happening {
                Happening::Runs(phases) => runs(&world, phases.into_iter().map(service).collect()),
                Happening::Event(phase) => starts(&world, &policy, &image_key(), service(phase)),
                Happening::Run { fails } => {
                    world.fail_workloads(&source(SourceKind::Ecs), fails.then_some("AccessDeniedException"));
                    index(&world, &policy);
                }
                Happening::Look { crash } => {
                    actor += 1;
                    let request = request(&format!("actor-{actor}"));
                    match crash {
                        Some(polls) => drop(run_and_crash(look(&world, &policy, &request), polls)),
                        None => drop(run(look(&world, &policy, &request))),
                    }
                }
                Happening::Sweep => drop(sweep(&world, &policy)),
                Happening::Restored => world.finish_restore(&image_key()),
                Happening::Hours(hours) => later(&world, HOUR * i32::from(hours)),
            }
            let is_archived = status(&world) == ImageStatus::Archived && was != ImageStatus::Archived;
            if is_archived {
                prop_assert_eq!(&before, &Uses::Nobody);
            }
        }
    }
}
