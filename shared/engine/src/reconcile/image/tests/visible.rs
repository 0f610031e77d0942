//! When an answer of the scanner is a result: shapes that were recorded of clean images, and of images whose findings were not there yet.

use super::*;
use crate::testing::sweep;
use guard_core::{
    decide::RESULT_AWAITED,
    finding::{Findings, ScanMode, UNLISTED},
};
use guard_ports::Clock as _;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// `ACTIVE` or `COMPLETE`, nothing listed, nothing counted.
fn empty(completed_at: Option<jiff::Timestamp>) -> Scan {
    Scan::Complete(Findings {
        mode: ScanMode::Enhanced,
        completed_at,
        has_result: false,
        ..scan(vec![])
    })
}

/// A world with an image that was pushed so long ago, and this answer.
fn pushed(ago: SignedDuration, scan: Scan) -> World {
    let mut pushed = image(&image_key());
    pushed.pushed_at = Some(now() - ago);
    World::with(&image_key(), pushed, scan)
}

fn event_of(world: &World, event: ScanEvent) -> Result<Outcome, ReconcileError> {
    let hints = Hints {
        announced: Some(event),
        ..Hints::default()
    };
    run(look(
        world,
        &policy(""),
        &Request {
            hints,
            ..request("an event")
        },
    ))
}

fn event(ago: SignedDuration, total: Option<u64>) -> ScanEvent {
    ScanEvent {
        at: now() - ago,
        counts: SeverityCounts::new(),
        total,
    }
}

#[test]
fn an_empty_answer_is_no_result_until_the_wait_is_over_and_then_it_is_clean_without_a_time() {
    for completed in [None, Some(MINUTE)] {
        let world = pushed(MINUTE * 2, empty(completed.map(|ago| now() - ago)));
        let outcome = settle(&world, &policy(""));
        assert_eq!(outcome.state, Some(State::Pending));
        assert_eq!(
            outcome.reason.as_deref(),
            Some("A scan has ended; its result is not visible yet.")
        );
        world.set_now(now() + RESULT_AWAITED - MINUTE * 2);
        assert_eq!(settle(&world, &policy("")).state, Some(State::Pending), "{completed:?}");
        world.set_now(now() + RESULT_AWAITED + MINUTE);
        assert_eq!(settle(&world, &policy("")).state, Some(State::Allowed), "{completed:?}");
        let row = world.row_of(&image_key()).unwrap();
        assert_eq!(row.scan.unwrap().completed_at, None, "nobody has confirmed it");
        assert_eq!(told(&world), [] as [&str; 0]);
        world.forget_calls();
        assert_eq!(settle(&world, &policy("")).outcome, OutcomeKind::Unchanged);
        assert_eq!(world.writes(), 0);
    }
}

#[test]
fn findings_that_come_late_are_found() {
    let world = pushed(MINUTE * 2, empty(Some(now() - MINUTE)));
    assert_eq!(settle(&world, &policy("")).state, Some(State::Pending));
    world.set_scan(&image_key(), critical());
    assert_eq!(settle(&world, &policy("")).state, Some(State::Blocked));
}

#[test]
fn an_image_that_has_been_there_for_longer_is_evaluated_at_once() {
    // A first sweep over clean images reconciles each of them once.
    let world = pushed(SignedDuration::from_hours(48), empty(None));
    assert_eq!(settle(&world, &policy("")).state, Some(State::Allowed));
    // Its scan ended a minute ago: then it waits, from then on.
    let world = pushed(SignedDuration::from_hours(48), empty(Some(now() - MINUTE)));
    assert_eq!(settle(&world, &policy("")).state, Some(State::Pending));
    // So does one that came back from the archive.
    let world = pushed(SignedDuration::from_hours(48), empty(None));
    let mut restored = world.image_of(&image_key()).unwrap();
    restored.last_activated_at = Some(now() - MINUTE);
    world.push(&image_key(), restored);
    assert_eq!(settle(&world, &policy("")).state, Some(State::Pending));
}

#[test]
fn waiting_for_a_result_to_show_is_not_waiting_too_long_for_a_scan() {
    // The scan ended late: by now the time is over that the policy grants for one.
    let late = SignedDuration::from_hours(20);
    assert!(late > policy("").scan.grace);
    let world = pushed(late, empty(Some(now() - MINUTE)));
    assert_eq!(settle(&world, &policy("")).state, Some(State::Pending));
    assert_eq!(told(&world), [] as [&str; 0]);
}

#[test]
fn an_event_that_counts_nothing_ends_the_wait_and_an_older_one_does_not() {
    let world = pushed(MINUTE * 2, empty(Some(now() - MINUTE)));
    let outcome = event_of(&world, event(MINUTE, Some(0))).unwrap();
    assert_eq!(outcome.state, Some(State::Allowed));
    assert_eq!(
        settle(&world, &policy("")).outcome,
        OutcomeKind::Unchanged,
        "without the event too"
    );

    for (ago, total) in [(MINUTE * 3, Some(0)), (MINUTE, None)] {
        let world = pushed(MINUTE * 2, empty(Some(now() - MINUTE)));
        let error = event_of(&world, event(ago, total)).unwrap_err();
        assert_eq!(error.code(), "ResultNotVisible", "{ago} {total:?}");
        assert_eq!(
            settle(&world, &policy("")).state,
            Some(State::Pending),
            "{ago} {total:?}"
        );
    }
}

#[test]
fn what_an_event_counts_and_nobody_lists_is_reviewed_and_never_blocks() {
    let counting = ScanEvent {
        counts: [(Severity::Critical, 2)].into(),
        ..event(MINUTE, Some(5))
    };
    // Whether the answer says when it was complete, and even if it says that there are none.
    for answer in [empty(None), empty(Some(now() - MINUTE)), clean()] {
        let world = pushed(MINUTE * 2, answer.clone());
        assert_eq!(
            event_of(&world, counting.clone()).unwrap_err().code(),
            "ResultNotVisible"
        );
        // The sweeps look every hour, without the event.
        sweep(&world, &policy(""));
        assert_eq!(world.row_of(&image_key()).unwrap().state, State::Pending);
        world.set_now(now() + SignedDuration::from_hours(1));
        sweep(&world, &policy(""));
        let row = world.row_of(&image_key()).unwrap();
        assert_eq!(row.state, State::Review, "{answer:?}");
        assert_eq!(row.scan.as_ref().unwrap().completed_at, None);
        let found: Vec<_> = row
            .findings
            .iter()
            .map(|found| (found.id.as_str(), found.severity, found.stands_for))
            .collect();
        // Three of five it does not name.
        assert_eq!(
            found,
            [(UNLISTED, Severity::Critical, 2), (UNLISTED, Severity::Undefined, 3)]
        );
        assert_eq!(status(&world), ImageStatus::Active);
        assert_eq!(told(&world), ["image-review"]);
        for day in 1..8 {
            world.set_now(now() + SignedDuration::from_hours(24 * day));
            for hour in 0..24 {
                world.set_now(now() + SignedDuration::from_hours(24 * day + hour));
                sweep(&world, &policy(""));
            }
        }
        assert_eq!(told(&world), ["image-review"], "it is told once");
        // Nor does it block by what is remembered, while the next scan is under way.
        world.set_scan(&image_key(), Scan::InProgress);
        settle(&world, &policy(""));
        assert_eq!(world.row_of(&image_key()).unwrap().state, State::Review, "{answer:?}");
        assert_eq!(status(&world), ImageStatus::Active);
        // When they are listed, they count as what they are.
        world.set_scan(&image_key(), critical());
        settle(&world, &policy(""));
        let row = world.row_of(&image_key()).unwrap();
        assert_eq!((row.state, row.scan_event), (State::Blocked, None));
    }
}

#[test]
fn what_is_listed_without_a_time_blocks_at_once_and_makes_nothing_clean() {
    let listed = |severity| {
        Scan::Complete(Findings {
            completed_at: None,
            has_result: false,
            ..scan(vec![finding("CVE-2026-1", severity)])
        })
    };
    let world = pushed(MINUTE, listed(Severity::Critical));
    assert_eq!(settle(&world, &policy("")).state, Some(State::Blocked));
    let world = pushed(MINUTE, listed(Severity::Low));
    assert_eq!(settle(&world, &policy("")).state, Some(State::Pending));
    world.set_now(now() + RESULT_AWAITED);
    assert_eq!(settle(&world, &policy("")).state, Some(State::Allowed));
}

#[test]
fn a_verdict_stands_as_long_as_the_next_result_does_not_show() {
    let world = pushed(
        MINUTE * 90,
        Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::High)])),
    );
    assert_eq!(settle(&world, &policy("")).state, Some(State::Review));
    world.set_scan(&image_key(), empty(Some(now() - MINUTE)));
    assert_eq!(settle(&world, &policy("")).outcome, OutcomeKind::Unchanged);
    assert_eq!(
        event_of(&world, event(MINUTE, Some(3))).unwrap_err().code(),
        "ResultNotVisible"
    );
    let row = world.row_of(&image_key()).unwrap();
    assert_eq!(
        (row.state, row.scan_event),
        (State::Review, Some(event(MINUTE, Some(3))))
    );
}

#[test]
fn an_empty_answer_without_a_time_releases_no_blocked_or_deferred_image() {
    for (members, state) in [
        (r#""block": {"method": "flag"}"#, State::Blocked),
        ("", State::BlockDeferred),
    ] {
        let world = pushed(MINUTE * 90, critical());
        if state == State::BlockDeferred {
            let mut used = world.image_of(&image_key()).unwrap();
            used.last_pulled_at = Some(now());
            world.push(&image_key(), used);
        }
        assert_eq!(settle(&world, &policy(members)).state, Some(state));
        world.set_scan(&image_key(), empty(None));
        settle(&world, &policy(members));
        let row = world.row_of(&image_key()).unwrap();
        assert_eq!((row.state, row.findings.len()), (state, 1));
    }
}

#[test]
fn what_others_archived_is_left_alone_whatever_the_scanner_says_of_it() {
    #[derive(Debug)]
    struct Says<'a> {
        world: &'a World,
        scan: &'a Scan,
    }
    impl guard_ports::Scanner for Says<'_> {
        async fn scan(&self, _: &guard_core::ids::ImageKey) -> Result<Scan, PortError> {
            Ok(self.scan.clone())
        }
    }
    guard_testkit::as_its_world!(Says<'_>: Registry, Repositories, Listing);
    for scan in [Scan::Archived, Scan::Absent, Scan::InProgress, Scan::NotVisible] {
        let mut archived = image(&image_key());
        archived.status = ImageStatus::Archived;
        let world = World::with(&image_key(), archived, Scan::Absent);
        let services = Parts {
            world: &world,
            registry: &Says {
                world: &world,
                scan: &scan,
            },
            writer: Some(&world),
            notifier: &world,
        };
        let outcome = run(reconcile(&services, &policy(""), &request("one"))).unwrap();
        assert_eq!(outcome.outcome, OutcomeKind::ArchivedByOthers, "{scan:?}");
        assert_eq!((told(&world).len(), world.writes()), (0, 0), "{scan:?}");
    }
}

/// The registry goes from basic to enhanced scanning and back. ECR's user guide, "Scan images for software vulnerabilities": scans of the
/// other type are not available; back again, they are. Enhanced scanning takes up what was pushed within the last days only.
#[test]
fn a_change_of_the_scan_type_frees_nothing_and_makes_nothing_clean() {
    let names = ["blocked", "flagged", "held", "reviewed", "allowed", "stale", "pending"];
    let key = |n: usize| guard_core::ids::ImageKey {
        digest: format!("sha256:{n:064}").parse().unwrap(),
        ..image_key()
    };
    let found = |severity| Scan::Complete(scan(vec![finding("CVE-2026-1", severity)]));
    let scans = [
        critical(),
        critical(),
        critical(),
        found(Severity::High),
        found(Severity::Low),
        Scan::Unavailable(NoScan::EligibilityExpired),
        Scan::Absent,
    ];
    let policies = policy(r#""scan": {"on_stale": "monitor"}"#);
    let flag = policy(r#""block": {"method": "flag"}, "scan": {"on_stale": "monitor"}"#);
    let world = World::new();
    for (n, scan) in scans.iter().enumerate() {
        let mut pushed = image(&key(n));
        pushed.tags = vec![format!("{}-1", names[n]).parse().unwrap()];
        pushed.last_pulled_at = (names[n] == "held").then(now);
        world.push(&key(n), pushed);
        world.set_scan(&key(n), scan.clone());
    }
    let look_at = |n: usize| {
        let asked = Request {
            image: ImageRef::Digest(key(n).digest),
            ..request("one")
        };
        let policy = if names[n] == "flagged" { &flag } else { &policies };
        run(look(&world, policy, &asked)).unwrap();
    };
    let states = || -> Vec<State> { (0..names.len()).map(|n| world.row_of(&key(n)).unwrap().state).collect() };
    let blocked = || -> Vec<ImageStatus> { (0..2).map(|n| world.image_of(&key(n)).unwrap().status).collect() };
    (0..names.len()).for_each(look_at);
    let (before, pullable, told_before) = (states(), blocked(), told(&world).len());
    use State::{Allowed, BlockDeferred, Blocked, Pending, Review, Stale};
    assert_eq!(
        before,
        [Blocked, Blocked, BlockDeferred, Review, Allowed, Stale, Pending]
    );

    // Enhanced: at first there is nothing; then the scans are pending; then they have ended, and show nothing; then some are let go.
    let ends = Some(world.now() + SignedDuration::from_hours(3));
    for (hours, answer) in [
        (1, Scan::Absent),
        (2, Scan::InProgress),
        (3, empty(ends)),
        (4, Scan::Unavailable(NoScan::EligibilityExpired)),
        (5, Scan::Absent),
    ] {
        world.set_now(now() + SignedDuration::from_hours(hours));
        for n in 0..names.len() {
            world.set_scan(&key(n), answer.clone());
            look_at(n);
        }
        let now_are = states();
        assert_eq!(
            (&now_are[..3], blocked()),
            (&before[..3], pullable.clone()),
            "hour {hours}: nothing is free"
        );
        for n in [3, 5, 6] {
            assert_ne!(now_are[n], Allowed, "hour {hours}: {} is not clean", names[n]);
        }
    }
    // Back: what basic scanning had found is there again.
    world.set_now(now() + SignedDuration::from_hours(6));
    for (n, scan) in scans.iter().enumerate() {
        world.set_scan(&key(n), scan.clone());
        look_at(n);
    }
    // An image that Inspector no longer watches stays so until there is a scan again.
    assert_eq!(states()[..6], before[..6]);
    assert_eq!((states()[6], blocked()), (Stale, pullable));
    assert!(told(&world).len() <= told_before + 1, "{:?}", told(&world));
}
