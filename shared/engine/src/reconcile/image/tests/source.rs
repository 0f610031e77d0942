//! Copies, and the images in another region that they come from. Two worlds, one for each region; the ledger is one.

use super::*;
use guard_core::ids::Region;

const POLICY: &str =
    r#""repositories": [{"match": "*", "replication": {"regions": ["us-west-2"], "max_lag_minutes": 30}}]"#;

fn source_region() -> Region {
    "us-east-1".parse().unwrap()
}

/// The same image where it comes from.
fn source_key() -> ImageKey {
    ImageKey {
        region: source_region(),
        ..image_key()
    }
}

struct Regions {
    policy: Policy,
    source: World,
    here: World,
}

impl Regions {
    /// An image that was pushed in the source just now and has arrived here; nothing has been scanned.
    fn new(members: &str) -> Self {
        let comma = if members.is_empty() { "" } else { ", " };
        let fresh = |key: &ImageKey| Image {
            pushed_at: Some(now() - SignedDuration::from_mins(1)),
            ..image(key)
        };
        let regions = Self {
            policy: policy(&format!("{POLICY}{comma}{members}")),
            source: World::new(),
            here: World::new(),
        };
        regions.source.push(&source_key(), fresh(&source_key()));
        regions.here.push(&image_key(), fresh(&image_key()));
        regions
    }

    fn with_source_scan(scan: Scan) -> Self {
        let regions = Self::new("");
        regions.source.set_scan(&source_key(), scan);
        regions.look_at_source();
        regions
    }

    /// Reconciles the source, and lets the other region see its row.
    fn look_at_source(&self) -> Outcome {
        let request = Request {
            region: source_region(),
            ..request("source")
        };
        let outcome = run(look(&self.source, &self.policy, &request)).unwrap();
        if let Some(row) = self.source.row_of(&source_key()) {
            self.here.remember(row);
        }
        outcome
    }

    /// As after the event of the copy.
    fn copied(&self) -> Outcome {
        self.look_here(Hints {
            source: Some(source_region()),
            ..arrived(Way::Replicated(source_region()))
        })
    }

    /// As a sweep does.
    fn found(&self) -> Outcome {
        self.look_here(Hints {
            found: true,
            ..Hints::default()
        })
    }

    fn look_here(&self, hints: Hints) -> Outcome {
        let request = Request {
            hints,
            ..request("here")
        };
        run(look(&self.here, &self.policy, &request)).unwrap()
    }

    fn row(&self) -> Row {
        self.here.row_of(&image_key()).unwrap()
    }

    #[track_caller]
    fn assert_nothing_left(&self) {
        for outcome in [Self::found as fn(&Self) -> Outcome, Self::copied, |regions| {
            regions.look_here(Hints::default())
        }] {
            self.here.forget_calls();
            let outcome = outcome(self);
            assert_eq!(outcome.outcome, OutcomeKind::Unchanged, "{outcome:?}");
            assert_eq!(self.here.writes(), 0);
        }
    }
}

#[test]
fn a_copy_is_blocked_with_its_source_and_released_with_it_and_the_source_covers_it() {
    let regions = Regions::with_source_scan(critical());
    assert_eq!(status(&regions.source), ImageStatus::Archived);
    let outcome = regions.copied();
    assert_eq!((outcome.state, outcome.effect), (Some(State::Blocked), Some("archive")));
    assert_eq!(status(&regions.here), ImageStatus::Archived);
    let source = regions.row().source.unwrap();
    assert_eq!(
        (source.region, source.blocked, source.judged),
        (source_region(), true, true)
    );
    regions.assert_nothing_left();

    let excepting = policy(&format!("{POLICY}, {EXCEPTED}"));
    let regions = Regions {
        policy: excepting,
        ..regions
    };
    assert_eq!(regions.look_at_source().state, Some(State::Allowed));
    let outcome = regions.found();
    assert_eq!((outcome.state, outcome.effect), (Some(State::Allowed), Some("restore")));
    regions.here.finish_restore(&image_key());
    regions.found();
    assert_eq!(
        (status(&regions.here), regions.row().block),
        (ImageStatus::Active, None)
    );
    regions.assert_nothing_left();
    assert_eq!(told(&regions.here), [] as [&str; 0], "people were told of the source");
    assert_eq!(told(&regions.source)[0], "image-blocked");
}

#[test]
fn a_copy_that_arrives_again_is_blocked_again() {
    let regions = Regions::with_source_scan(critical());
    regions.copied();
    regions.here.push_again(&image_key(), now());
    let outcome = regions.copied();
    assert_eq!(outcome.alert, Some(AlertKind::ImageBypass));
    assert_eq!(status(&regions.here), ImageStatus::Archived);
    let alert = regions.here.sent().pop().unwrap().message.default;
    assert!(alert.contains("It was replicated again from us-east-1"), "{alert}");
    assert!(alert.contains("lookup-events --region us-east-1"), "{alert}");
    regions.assert_nothing_left();
}

#[test]
fn where_nothing_scans_the_source_is_the_evidence() {
    for (scan, state) in [
        (clean(), State::Allowed),
        (
            Scan::Complete(scan(vec![finding("CVE-2026-2", Severity::High)])),
            State::Review,
        ),
    ] {
        let regions = Regions::with_source_scan(scan);
        regions.here.set_trigger(&image_key().repository, ScanTrigger::Manual);
        let outcome = regions.copied();
        assert_eq!(outcome.state, Some(state));
        assert!(
            !regions
                .here
                .calls()
                .iter()
                .any(|call| call.operation == "ecr:StartImageScan"),
            "no scan is asked for what is known"
        );
        assert_eq!(told(&regions.here), [] as [&str; 0]);
        regions.assert_nothing_left();
    }
    // As long as nothing is known there, nothing is here; and then a scan is asked for, as after a push.
    let regions = Regions::new("");
    regions.look_at_source();
    regions.here.set_trigger(&image_key().repository, ScanTrigger::Manual);
    assert_eq!(regions.copied().state, Some(State::Pending));
    assert!(
        regions
            .here
            .calls()
            .iter()
            .any(|call| call.operation == "ecr:StartImageScan")
    );
}

#[test]
fn a_scan_here_decides_here_and_a_blocked_source_all_the_same() {
    // Only the scanner here finds it.
    let regions = Regions::with_source_scan(clean());
    regions.here.set_scan(&image_key(), critical());
    let outcome = regions.copied();
    assert_eq!(
        (outcome.state, outcome.alert),
        (Some(State::Blocked), Some(AlertKind::ImageBlocked))
    );
    regions.assert_nothing_left();

    // Only the scanner there finds it.
    let regions = Regions::with_source_scan(critical());
    regions.here.set_scan(&image_key(), clean());
    let outcome = regions.copied();
    assert_eq!((outcome.state, outcome.alert), (Some(State::Blocked), None));
    let reason = outcome.reason.unwrap();
    assert!(reason.starts_with("Its source in us-east-1 is blocked"), "{reason}");
    regions.assert_nothing_left();
}

#[test]
fn the_block_of_a_copy_is_deferred_with_that_of_its_source() {
    let regions = Regions::new("");
    regions.source.set_scan(&source_key(), critical());
    regions.source.push(
        &source_key(),
        Image {
            last_pulled_at: Some(now()),
            ..image(&source_key())
        },
    );
    assert_eq!(regions.look_at_source().state, Some(State::BlockDeferred));
    for scan in [Scan::Absent, critical()] {
        regions.here.set_scan(&image_key(), scan);
        let outcome = regions.copied();
        assert_eq!((outcome.state, outcome.alert), (Some(State::BlockDeferred), None));
        assert_eq!(status(&regions.here), ImageStatus::Active);
    }
    regions.assert_nothing_left();
}

#[test]
fn the_block_of_a_copy_that_runs_here_is_deferred_and_one_without_a_recorded_pull_is_blocked() {
    let regions = Regions::with_source_scan(critical());
    let old = Image {
        pushed_at: Some(now() - SignedDuration::from_hours(24 * 90)),
        ..image(&image_key())
    };
    regions.here.push(
        &image_key(),
        Image {
            last_pulled_at: Some(now()),
            ..old.clone()
        },
    );
    let outcome = regions.copied();
    assert_eq!(
        (outcome.state, outcome.alert),
        (Some(State::BlockDeferred), Some(AlertKind::BlockDeferred))
    );
    regions.assert_nothing_left();

    let regions = Regions::with_source_scan(critical());
    regions.here.push(&image_key(), old);
    assert_eq!(
        regions.copied().state,
        Some(State::Blocked),
        "nobody runs anything here"
    );
}

#[test]
fn a_lost_event_is_made_up_for_by_the_ledger() {
    let regions = Regions::with_source_scan(critical());
    let outcome = regions.found();
    assert_eq!(outcome.state, Some(State::Blocked));
    assert_eq!(regions.row().source.unwrap().region, source_region());
    regions.assert_nothing_left();

    // Where no copies arrive, a row of another region is no source.
    let here = World::new();
    here.push(&image_key(), image(&image_key()));
    here.remember(regions.source.row_of(&source_key()).unwrap());
    let lonely = Regions {
        here,
        policy: policy(""),
        ..regions
    };
    assert_eq!(lonely.found().state, Some(State::Pending));
    assert_eq!(lonely.row().source, None);
}

/// A third region has a copy too, which stands first in the ledger. A copy of a copy would take over what was decided there alone.
#[test]
fn of_two_regions_that_have_the_image_a_lost_event_is_made_up_for_by_the_one_where_it_was_pushed() {
    let regions = Regions::with_source_scan(critical());
    let in_source = regions.source.row_of(&source_key()).unwrap();
    regions.here.remember(Row {
        image: ImageKey {
            region: "eu-west-1".parse().unwrap(),
            ..image_key()
        },
        source: Some(guard_core::ledger::Source {
            region: source_region(),
            verdict: None,
            blocked: false,
            judged: false,
        }),
        state: State::BlockDeferred,
        ..in_source
    });
    regions.found();
    let row = regions.row();
    assert_eq!(
        (row.state, row.source.unwrap().region),
        (State::Blocked, source_region())
    );
}

#[test]
fn of_two_that_are_copies_of_each_other_none_follows() {
    let regions = Regions::with_source_scan(critical());
    regions.copied();
    // The copy was pushed there, too, and replicated back.
    let request = Request {
        region: source_region(),
        hints: Hints {
            source: Some(image_key().region),
            ..Hints::default()
        },
        ..request("source")
    };
    regions.source.remember(regions.row());
    run(look(&regions.source, &regions.policy, &request)).unwrap();
    let facts = Facts {
        source: Some(SourceImage {
            region: image_key().region,
            row: Some(regions.row()),
        }),
        ..Facts::about(source_key(), "one")
    };
    assert_eq!(facts.source_row(), None);
    // Without its copy, the source is released when it may be.
    let excepting = policy(&format!("{POLICY}, {EXCEPTED}"));
    let outcome = run(look(&regions.source, &excepting, &request)).unwrap();
    assert_eq!(outcome.effect, Some("restore"));
}

#[test]
fn what_follows_is_not_counted_as_a_block_of_its_own() {
    let regions = Regions::with_source_scan(critical());
    let limited = Regions {
        policy: policy(&format!(r#"{POLICY}, "block": {{"max_blocks_per_hour": 1}}"#)),
        ..regions
    };
    limited.copied();
    assert!(
        !limited
            .here
            .calls()
            .iter()
            .any(|call| call.operation == "dynamodb:UpdateItem")
    );
    assert_eq!(limited.row().state, State::Blocked);
}

#[test]
fn when_the_source_is_deleted_the_copy_stays_what_it_is() {
    let regions = Regions::with_source_scan(critical());
    regions.copied();
    regions.source.delete(&source_key());
    regions.look_at_source();
    assert_eq!(regions.found().state, Some(State::Blocked));
    assert_eq!(status(&regions.here), ImageStatus::Archived);
    regions.assert_nothing_left();
}

#[derive(Debug, Clone)]
enum Happening {
    SourceScan(u8),
    ScanHere(u8),
    Copy,
    CopyAgain,
    PulledHere,
    LookThere,
    Found,
    Excepted(bool),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0..3u8).prop_map(Happening::SourceScan),
        (0..4u8).prop_map(Happening::ScanHere),
        Just(Happening::Copy),
        Just(Happening::CopyAgain),
        Just(Happening::PulledHere),
        Just(Happening::LookThere),
        Just(Happening::Found),
        any::<bool>().prop_map(Happening::Excepted),
    ]
}

fn some_scan(n: u8) -> Scan {
    match n {
        0 => clean(),
        1 => critical(),
        2 => Scan::Complete(scan(vec![finding("CVE-2026-2", Severity::High)])),
        _ => Scan::Unavailable(NoScan::Failed),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_happens_in_two_regions_a_copy_of_what_is_blocked_is_blocked(happenings in proptest::collection::vec(happening(), 1..12)) {
        let mut regions = Regions::new("");
        let mut pulled = false;
        for happening in &happenings {
            match happening {
                Happening::SourceScan(n) if status(&regions.source) == ImageStatus::Active => {
                    regions.source.set_scan(&source_key(), some_scan(*n));
                }
                Happening::ScanHere(n) if status(&regions.here) == ImageStatus::Active => {
                    regions.here.set_scan(&image_key(), some_scan(*n));
                }
                Happening::SourceScan(_) | Happening::ScanHere(_) => {}
                Happening::Copy => drop(regions.copied()),
                Happening::CopyAgain => regions.here.push_again(&image_key(), now()),
                Happening::PulledHere => {
                    pulled = true;
                    let image = regions.here.image_of(&image_key()).unwrap();
                    regions.here.push(&image_key(), Image { last_pulled_at: Some(now()), ..image });
                }
                Happening::LookThere => drop(regions.look_at_source()),
                Happening::Found => drop(regions.found()),
                Happening::Excepted(yes) => {
                    regions.policy = policy(&if *yes { format!("{POLICY}, {EXCEPTED}") } else { POLICY.to_owned() });
                }
            }
        }
        // The sweeps of both regions, until nothing changes: a restore that ends is the only thing that takes time.
        for _ in 0..4 {
            regions.look_at_source();
            regions.source.finish_restore(&source_key());
            regions.found();
            regions.here.finish_restore(&image_key());
        }
        let source = regions.source.row_of(&source_key()).unwrap();
        let here = regions.row();
        if source.state == State::Blocked {
            let is_blocked = here.state == State::Blocked && status(&regions.here) != ImageStatus::Active;
            prop_assert!(is_blocked || (pulled && here.state == State::BlockDeferred), "{here:?}");
        }
        if source.state != State::Blocked && here.source.as_ref().is_some_and(|source| source.judged) {
            prop_assert!(here.block.is_none() && status(&regions.here) == ImageStatus::Active, "{here:?}");
        }
        regions.here.forget_calls();
        let outcome = regions.found();
        prop_assert_eq!(outcome.outcome, OutcomeKind::Unchanged);
        prop_assert_eq!(regions.here.writes(), 0);
    }
}
