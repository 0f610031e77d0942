//! The registry's row remembers for all workers what may not be read or undone, and which calls keep failing.

use super::*;
use guard_core::registry::{
    RegistryRow,
    access::{MAX_CAUSES, RefusedAccess},
    failing::FailingCall,
};
use guard_ports::{PortError, SweepLedger as _};
use guard_testkit::{Parts, registry_key};

/// The refusal of a call to a role.
fn refused(operation: &'static str, role: &str, missing: &str) -> PortError {
    PortError {
        retry: Retry::Never,
        operation,
        code: "AccessDeniedException".to_owned(),
        message: format!(
            "User: arn:aws:sts::123456789012:assumed-role/{role}/one is not authorized to perform: {missing} on resource: any"
        ),
        request_id: None,
    }
}

fn of_findings(role: &str) -> PortError {
    refused("ecr:DescribeImageScanFindings", role, "inspector2:ListFindings")
}

fn of_restore() -> PortError {
    refused("ecr:UpdateImageStorageClass", "worker", "ecr:UpdateImageStorageClass")
}

fn images(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn row(world: &World) -> RegistryRow {
    world.registry_row_of(&registry_key()).unwrap()
}

/// Does something in the name of a worker of a sweep that began now.
fn by_worker<T>(world: &World, act: impl AsyncFnOnce(Worker<'_, Parts<'_>>) -> T) -> T {
    let (policy, sweep) = (policy(""), a_sweep(world));
    let worker = Worker {
        services: &world.services(&policy),
        policy: &policy,
        sweep: &sweep,
        actor: "one",
    };
    run(act(worker))
}

#[test]
fn each_refusal_is_counted_once_and_the_most_that_are_remembered_are_ten() {
    let world = World::new();
    by_worker(&world, async |worker| {
        worker.note_refused(&of_findings("worker"), Vec::new()).await.unwrap();
    });
    assert_eq!(world.calls(), [], "nothing waits for it");
    for number in 0..MAX_CAUSES + 2 {
        let error = of_findings(&format!("worker-{number}"));
        by_worker(&world, async |worker| {
            worker
                .note_refused(&error, images(&["api@sha256:1", "api@sha256:2"]))
                .await
                .unwrap();
        });
    }
    // One that is known has more images.
    by_worker(&world, async |worker| {
        let more = images(&["api@sha256:3"]);
        worker.note_refused(&of_findings("worker-0"), more).await.unwrap();
    });
    let causes: Vec<(Option<String>, u64)> = row(&world)
        .refused
        .into_iter()
        .map(|known| (known.role, known.images))
        .collect();
    let expected = (0..MAX_CAUSES).map(|number| (Some(format!("worker-{number}")), if number == 0 { 3 } else { 2 }));
    assert_eq!(causes, expected.collect::<Vec<_>>());
    assert_eq!(
        row(&world).refused[0].first,
        images(&["api@sha256:1", "api@sha256:2", "api@sha256:3"])
    );
}

#[test]
fn each_failing_call_is_counted_once_and_the_most_that_are_remembered_are_ten() {
    let world = World::new();
    let found = |number: usize, images: &[&str]| {
        let images = images.iter().map(|name| (*name).to_owned()).collect();
        FailingCall::new("ecr:DescribeImages", &format!("Code{number}"), world.now(), images)
    };
    by_worker(&world, async |worker| worker.note_failing(Vec::new()).await);
    assert_eq!(world.calls(), []);
    let all = (0..MAX_CAUSES + 2).map(|number| found(number, &["api@sha256:1"]));
    by_worker(&world, async |worker| worker.note_failing(all.collect()).await);
    by_worker(&world, async |worker| {
        worker.note_failing(vec![found(3, &["api@sha256:2"])]).await
    });
    let causes: Vec<(String, u64)> = row(&world)
        .failing
        .into_iter()
        .map(|known| (known.code, known.images))
        .collect();
    let expected = (0..MAX_CAUSES).map(|number| (format!("Code{number}"), if number == 3 { 2 } else { 1 }));
    assert_eq!(causes, expected.collect::<Vec<_>>());
}

#[test]
fn a_row_that_others_write_at_the_same_time_loses_nothing() {
    let world = World::new();
    let noted = by_worker(&world, async |worker| {
        let (one, two) = (of_findings("one"), of_findings("two"));
        let first = worker.note_refused(&one, images(&["api@sha256:1"]));
        let second = worker.note_refused(&two, images(&["api@sha256:2"]));
        futures_util::future::join(first, second).await
    });
    assert_eq!(noted, (Ok(()), Ok(())));
    let known: Vec<(Option<String>, u64)> = row(&world)
        .refused
        .into_iter()
        .map(|known| (known.role, known.images))
        .collect();
    assert_eq!(known, [(Some("one".to_owned()), 1), (Some("two".to_owned()), 1)]);
    assert_eq!(row(&world).generation, 2);
}

#[test]
fn images_that_lack_one_permission_are_counted_together() {
    let world = World::new();
    let lacking = [
        ("api@sha256:1".to_owned(), of_restore()),
        (
            "api@sha256:2".to_owned(),
            refused("ecr:PutImage", "worker", "ecr:PutImage"),
        ),
        ("backend@sha256:3".to_owned(), of_restore()),
    ];
    by_worker(&world, async |worker| worker.note_lacking(&lacking).await.unwrap());
    let causes: Vec<(String, u64, Vec<String>)> = row(&world)
        .refused
        .into_iter()
        .map(|known| (known.missing, known.images, known.first))
        .collect();
    let expected = [
        (
            "ecr:UpdateImageStorageClass".to_owned(),
            2,
            images(&["api@sha256:1", "backend@sha256:3"]),
        ),
        ("ecr:PutImage".to_owned(), 1, images(&["api@sha256:2"])),
    ];
    assert_eq!(causes, expected);
    // The row was read and written once for each.
    assert_eq!(
        operations(&world),
        [("dynamodb:GetItem", 2), ("dynamodb:PutItem", 2)].into()
    );
}

/// Findings that can be read end what earlier sweeps have met: for any repository, or for this one.
#[test]
fn a_refusal_is_forgotten_when_the_findings_that_it_was_about_can_be_read() {
    let earlier = now() - SignedDuration::from_hours(1);
    let known = |error: &PortError, sweep, first: &str| RefusedAccess {
        images: 1,
        first: images(&[first]),
        ..RefusedAccess::read(error.operation, &error.message, sweep)
    };
    let of_ecr = refused(
        "ecr:DescribeImageScanFindings",
        "worker",
        "ecr:DescribeImageScanFindings",
    );
    for (case, known, stays_for_api) in [
        ("of all", known(&of_findings("a"), earlier, "backend@sha256:1"), false),
        ("of this sweep", known(&of_findings("b"), now(), "api@sha256:1"), true),
        ("of this repository", known(&of_ecr, earlier, "api@sha256:1"), false),
        ("of another one", known(&of_ecr, earlier, "backend@sha256:1"), true),
        ("of a restore", known(&of_restore(), earlier, "api@sha256:1"), true),
    ] {
        let world = World::new();
        let before = RegistryRow {
            generation: 1,
            refused: vec![known.clone()],
            ..RegistryRow::new(registry_key())
        };
        run(world.write_registry_row(&before)).unwrap();
        world.forget_calls();
        by_worker(&world, async |worker| {
            worker.forget_refused(&"api".parse().unwrap()).await.unwrap()
        });
        let expected = if stays_for_api { vec![known] } else { Vec::new() };
        assert_eq!(row(&world).refused, expected, "{case}");
        assert_eq!(world.writes(), usize::from(!stays_for_api), "{case}");
    }
}
