//! Images whose periodic turn it is: only one that stands by itself and stays as it is has its result by few calls.

use super::*;
use guard_core::{
    image::Child,
    ledger::{Block, Source},
    policy::BlockMethod,
};

/// Ten scans are asked for at once: this number of images takes two rounds.
const TWO_ROUNDS: usize = 15;

fn numbered(number: usize) -> ImageKey {
    ImageKey {
        digest: format!("sha256:{number:03}a").parse().unwrap(),
        ..image_key()
    }
}

/// The image, as a list has shown it.
fn seen(world: &World, key: &ImageKey) -> (Request, Image) {
    let request = Request {
        image: ImageRef::Digest(key.digest.clone()),
        ..request("sweep")
    };
    (request, world.image_of(key).unwrap())
}

fn results(world: &World, policy: &Policy, seen: &[(Request, Image)]) -> Vec<Option<Outcome>> {
    world.forget_calls();
    let results = run(unchanged(&world.services(policy), policy, seen));
    assert_eq!(world.writes(), 0);
    results
}

/// How often the scanner was asked.
fn scans(world: &World) -> usize {
    let calls = world.calls();
    calls
        .iter()
        .filter(|call| call.operation == "ecr:DescribeImageScanFindings")
        .count()
}

#[test]
fn an_image_that_stays_as_it_is_has_the_outcome_of_its_reconcile() {
    for (scan, members) in [(clean(), ""), (critical(), EXCEPTED), (critical(), "")] {
        let (world, policy) = (world(scan), policy(members));
        settle(&world, &policy);
        let found = seen(&world, &image_key());
        let reconciled = settle(&world, &policy);
        assert_eq!(reconciled.outcome, OutcomeKind::Unchanged);
        assert_eq!(results(&world, &policy, &[found]), [Some(reconciled)], "{members}");
        assert_eq!((world.calls().len(), scans(&world)), (2, 1), "the row and the scan");
    }
}

#[test]
fn the_result_of_a_reconcile_names_the_exceptions_of_the_image() {
    let unneeded = EXCEPTED.replace("CVE-2026-1", "CVE-2026-7");
    for (members, used, unused) in [(EXCEPTED, 1, 0), (&unneeded, 0, 1)] {
        let policy = policy(members);
        let world = world(critical());
        settle(&world, &policy);
        world.set_scan(&image_key(), critical());
        let mut image = world.image_of(&image_key()).unwrap();
        image.status = ImageStatus::Active;
        world.push(&image_key(), image);
        let finished = settle(&world, &policy);
        assert_eq!(
            (finished.exceptions_used.len(), finished.exceptions_unused.len()),
            (used, unused)
        );
    }
}

#[test]
fn the_scanner_is_not_asked_about_an_image_with_relatives_or_with_something_begun() {
    let policy = policy("");
    let index: Digest = "sha256:1d".parse().unwrap();
    let child = Child {
        digest: "sha256:c0".parse().unwrap(),
        platform: None,
    };
    let source = Source {
        region: "eu-west-1".parse().unwrap(),
        verdict: None,
        blocked: false,
        judged: false,
    };
    let begun = Block {
        method: BlockMethod::Archive,
        at: now(),
        confirmed: false,
        tags: Vec::new(),
        returns: Vec::new(),
        undone_at: None,
        release_refused_at: None,
        told: false,
    };
    type Change<'a> = &'a dyn Fn(&mut Row);
    let changes: [(&str, Change<'_>, usize); 7] = [
        ("nothing", &|_| {}, 1),
        ("an index", &|row| row.indexes = vec![index.clone()], 0),
        ("more indexes", &|row| row.more_indexes = true, 0),
        ("a child", &|row| row.children = vec![child.clone()], 0),
        ("a source", &|row| row.source = Some(source.clone()), 0),
        ("a begun block", &|row| row.block = Some(begun.clone()), 0),
        ("deleted", &|row| row.closed_at = Some(now()), 0),
    ];
    for (case, change, asked) in changes {
        let world = world(clean());
        settle(&world, &policy);
        let mut row = world.row_of(&image_key()).unwrap();
        change(&mut row);
        world.remember(row);
        let found = results(&world, &policy, &[seen(&world, &image_key())]);
        assert_eq!(found[0].is_some(), asked == 1, "{case}");
        assert_eq!((scans(&world), world.calls().len()), (asked, 1 + asked), "{case}");
    }
    // One that nobody has reconciled has no row.
    let world = world(clean());
    assert_eq!(results(&world, &policy, &[seen(&world, &image_key())]), [None]);
    assert_eq!(scans(&world), 0);
}

#[test]
fn a_block_that_is_confirmed_is_left_as_it_is() {
    let (world, policy) = (world(critical()), policy(""));
    settle(&world, &policy);
    let found = results(&world, &policy, &[seen(&world, &image_key())]);
    let outcome = found[0].as_ref().unwrap();
    assert_eq!(
        (outcome.outcome, outcome.state),
        (OutcomeKind::Unchanged, Some(State::Blocked))
    );
}

#[test]
fn an_image_that_is_asked_for_by_another_name_than_its_digest_is_reconciled() {
    let (world, policy) = (world(clean()), policy(""));
    settle(&world, &policy);
    let (by_digest, image) = seen(&world, &image_key());
    let others = [
        ImageRef::Tag("v1.2.3".parse().unwrap()),
        ImageRef::Digest("sha256:0d".parse().unwrap()),
    ];
    for other in others {
        let request = Request {
            image: other,
            ..by_digest.clone()
        };
        assert_eq!(results(&world, &policy, &[(request, image.clone())]), [None]);
        assert_eq!(scans(&world), 0);
    }
}

#[test]
fn an_image_with_something_to_do_is_reconciled() {
    let (world, policy) = (world(clean()), policy(""));
    settle(&world, &policy);
    let found = seen(&world, &image_key());
    for scan in [
        critical(),
        Scan::Complete(guard_testkit::scan(vec![finding("CVE-2026-1", Severity::High)])),
    ] {
        world.set_scan(&image_key(), scan.clone());
        assert_eq!(
            results(&world, &policy, std::slice::from_ref(&found)),
            [None],
            "{scan:?}"
        );
    }
    // Its reconcile is an error, also where the row says so already.
    world.refuse("ecr:DescribeImageScanFindings", "no");
    for _ in 0..2 {
        assert_eq!(results(&world, &policy, std::slice::from_ref(&found)), [None]);
        run(look(&world, &policy, &request("one"))).unwrap_err();
    }
}

/// Nothing is asked for the images after those that were asked for together with the failed one.
#[test]
fn a_scanner_in_trouble_is_not_asked_about_the_rest() {
    let policy = policy("");
    let world = World::new();
    for number in 0..TWO_ROUNDS {
        let key = numbered(number);
        world.push(&key, image(&key));
        world.complete_scan(&key, scan(vec![]));
        let request = seen(&world, &key).0;
        run(look(&world, &policy, &request)).unwrap();
    }
    let all: Vec<_> = (0..TWO_ROUNDS).map(|number| seen(&world, &numbered(number))).collect();
    assert!(results(&world, &policy, &all).iter().all(Option::is_some));
    assert_eq!(scans(&world), TWO_ROUNDS);
    world.fail("ecr:DescribeImageScanFindings", Fault::Before(Retry::Later));
    let found = results(&world, &policy, &all);
    assert_eq!(
        (found.len(), found.iter().flatten().count(), scans(&world)),
        (TWO_ROUNDS, 9, 10)
    );
    assert_eq!(found[0], None);
    assert!(found[10..].iter().all(Option::is_none));
    // Without their rows nothing is said of any of them.
    world.fail("dynamodb:BatchGetItem", Fault::Before(Retry::Later));
    assert_eq!(results(&world, &policy, &all), vec![None; TWO_ROUNDS]);
    assert_eq!(scans(&world), 0);
}
