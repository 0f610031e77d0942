//! The parts of its work that an item leaves to other items, and the calls that each costs.

use super::*;
use crate::reconcile::Subject;
use guard_core::{finding::Epss, work::FoundImage};

fn part(again: bool, copies: bool, after: Option<&str>) -> Work {
    Work::Repository {
        repository: "api".parse().unwrap(),
        after: after.map(str::to_owned),
        again,
        copies,
        listed: None,
        waited: 0,
    }
}

/// Does the part in no time; what it leaves.
fn left(world: &World, part: &Work) -> Vec<WorkItem> {
    let in_a_hurry = Sweep {
        until: world.now(),
        ..a_sweep(world)
    };
    let (_, failures) = run(work_in(world, &policy(""), &in_a_hurry, part, "one"));
    assert_eq!(failures, []);
    world.take_items(99)
}

#[test]
fn the_rest_of_a_part_is_for_the_same_purpose() {
    let world = silent_world();
    sweep(&world, &policy(""));
    let item = |work| a_sweep(&world).item(work);
    for again in [false, true] {
        // Copies and figures are left.
        assert_eq!(left(&world, &part(again, false, None)), [item(part(again, true, None))]);
    }
    // The rest of the list is left, and nothing can be said of copies before it is read.
    world.set_page_size(10);
    push(&world, &key_of("api", 11), "v11");
    let last = key_of("api", 9).digest;
    for again in [false, true] {
        for copies in [false, true] {
            let items = left(&world, &part(again, copies, None));
            let rest = item(part(again, copies, Some(last.as_str())));
            assert_eq!(items.first(), Some(&rest), "{again}, {copies}");
        }
    }
}

#[test]
fn an_image_that_is_not_on_the_first_part_of_a_list_is_not_gone() {
    let world = silent_world();
    sweep(&world, &policy(""));
    let rows_on_one_page = 10;
    world.set_page_size(rows_on_one_page);
    world.delete(&key_of("api", 3));
    for number in 10..12 {
        push(&world, &key_of("api", number), "v1");
    }
    let in_a_hurry = Sweep {
        until: world.now(),
        ..a_sweep(&world)
    };
    let (looks, failures) = run(work_in(
        &world,
        &policy(""),
        &in_a_hurry,
        &part(false, false, None),
        "one",
    ));
    assert_eq!((looks.listed, looks.due, failures), (10, [("new", 1)].into(), vec![]));
    // The last part has not seen the images of the first one either.
    let last = key_of("api", 9).digest;
    let rest = part(false, false, Some(last.as_str()));
    let (looks, failures) = run(work_in(&world, &policy(""), &in_a_hurry, &rest, "one"));
    assert_eq!((looks.listed, looks.due, failures), (2, [("new", 2)].into(), vec![]));
}

/// Where a list does not show scans, each image has its turn once a week. The list has shown it, and all rows of the item are read at once.
#[test]
fn an_image_whose_turn_it_is_costs_one_call() {
    let world = World::new();
    for number in 0..30 {
        let key = key_of("api", number);
        push(&world, &key, &format!("v{number}"));
        world.complete_scan(&key, found(Severity::Low));
    }
    sweep(&world, &policy(""));
    let mut looked = 0;
    for _ in 0..7 * 24 {
        after(&world, 1);
        world.forget_calls();
        let looks = sweep(&world, &policy(""));
        assert!(looks.due.keys().all(|why| *why == "turn"), "{:?}", looks.due);
        let calls = operations(&world);
        let of = |operation| calls.get(operation).copied().unwrap_or_default() as u64;
        assert_eq!(of("ecr:DescribeImageScanFindings"), looks.looked);
        assert_eq!(of("ecr:DescribeImages"), looks.listed / 30, "only the lists");
        looked += looks.looked;
    }
    assert_eq!(looked, 30);
}

#[test]
fn an_event_that_waits_as_an_item_keeps_the_probability_that_it_named() {
    let world = World::new();
    let key = key_of("api", 1);
    push(&world, &key, "v1");
    world.complete_scan(&key, found(Severity::High));
    let item = a_sweep(&world).item(Work::Findings {
        repository: "api".parse().unwrap(),
        images: vec![FoundImage {
            digest: key.digest.clone(),
            epss: vec![Epss {
                vulnerability: "CVE-2026-1".to_owned(),
                score: 0.25,
            }],
        }],
    });
    let (looks, failures) = work(&world, &policy(""), &item);
    assert_eq!((looks.looked, failures), (1, vec![]));
    assert_eq!(world.row_of(&key).unwrap().findings[0].epss, Some(0.25));
}

/// Only a call that AWS did not answer, or throttled, is a reason to leave the rest alone.
#[test]
fn an_error_is_trouble_if_a_call_failed_that_may_succeed_later() {
    let error = |retry| guard_ports::PortError {
        retry,
        operation: "ecr:DescribeImages",
        code: "Throttled".to_owned(),
        message: String::new(),
        request_id: None,
    };
    let of = |retry| ReconcileError::port("read", &key_of("api", 1), error(retry));
    for (error, code, is_trouble) in [
        (SweepError::port("list", error(Retry::Later)), "CallFailed", true),
        (SweepError::port("list", error(Retry::Never)), "CallRefused", false),
        (of(Retry::Later).into(), "CallFailed", true),
        (of(Retry::Never).into(), "CallRefused", false),
        (ReconcileError::Busy("an image".to_owned()).into(), "Busy", false),
        (SweepError::TooManyHops("api".parse().unwrap()), "TooManyHops", false),
    ] {
        assert_eq!((error.code(), error.is_trouble()), (code, is_trouble), "{error}");
    }
}

#[test]
fn an_error_of_a_row_names_whose_row_it_is() {
    let image = key_of("api", 1);
    for (subject, words) in [
        (Subject::Copies("api".to_owned()), "the copy of `api`".to_owned()),
        (Subject::from(&image), format!("`{image}`")),
        (
            Subject::from(&repository_of("api")),
            format!("`{}`", repository_of("api")),
        ),
    ] {
        let expected = format!("others are changing the ledger's row of {words}");
        assert_eq!(ReconcileError::Contended(subject).to_string(), expected);
    }
}
