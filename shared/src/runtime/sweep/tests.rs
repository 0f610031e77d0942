use super::*;
use crate::{
    domain::{
        finding::{Scan, Severity},
        ids::ImageKey,
        work::Work,
    },
    ports::Retry,
    testing::{
        Fault, World, finding, image, image_key, policy, run, scan,
        sweep::{registry_key, work_off},
    },
};

fn sweep_with(world: &World, policy: &Policy, payload: &str) -> Result<Swept, HandlerError> {
    let ports = SweepPorts {
        registry: world,
        ledger: world,
        notifier: world,
        queue: world,
        clock: world,
    };
    let invocation = Invocation {
        function: "sweep",
        request_id: "8a6e4b50-4f4c-4a3b-9a3e-3f1d0d9a0001".to_owned(),
        account: registry_key().account,
        region: registry_key().region,
    };
    run(sweep(&ports, policy, &invocation, payload, Timestamp::MAX))
}

fn key_of(repository: &str) -> ImageKey {
    ImageKey {
        repository: repository.parse().unwrap(),
        ..image_key()
    }
}

fn world() -> World {
    let world = World::new();
    world.list_scans();
    for repository in ["api", "backend"] {
        let key = key_of(repository);
        world.push(&key, image(&key));
        world.set_scan(
            &key,
            Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Critical)])),
        );
    }
    world
}

fn kinds(world: &World) -> Vec<String> {
    let kind = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["kind"].clone();
    let sent = world.sent();
    sent.iter()
        .map(|sent| kind(&sent.message.default).as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn what_it_is_invoked_with() {
    for (payload, expected) in [
        ("{}", SweepRequest::default()),
        (
            r#"{"time": "2026-11-24T12:00:00Z"}"#,
            SweepRequest {
                time: Some("2026-11-24T12:00:00Z".parse().unwrap()),
                ..SweepRequest::default()
            },
        ),
        (
            r#"{"repositories": ["team/api"], "digest": true}"#,
            SweepRequest {
                repositories: Some(vec!["team/api".parse().unwrap()]),
                digest: true,
                ..SweepRequest::default()
            },
        ),
    ] {
        assert_eq!(SweepRequest::parse(payload).unwrap(), expected);
    }
    for (payload, names) in [
        ("", "EOF"),
        ("[]", "sweep takes"),
        (r#"{"repository": "api"}"#, "repository"),
        (r#"{"repositories": ["A"]}"#, "repository name"),
        (r#"{"time": "noon"}"#, "failed to parse"),
    ] {
        let error = SweepRequest::parse(payload).unwrap_err();
        assert_eq!((error.code(), error.retry()), ("PoisonEvent", Retry::Never));
        assert!(error.to_string().contains(names), "{payload}: {error}");
    }
}

#[test]
fn all_repositories_are_left_to_workers_and_the_day_has_its_digest() {
    let world = world();
    let swept = sweep_with(&world, &policy(""), r#"{"time": "2026-11-24T11:59:00Z"}"#).unwrap();
    assert_eq!((swept.repositories, swept.continued, swept.digests), (2, false, 1));
    assert_eq!(swept.sweep, "2026-11-24T11:59:00Z".parse().unwrap());
    assert_eq!(kinds(&world), ["digest"]);
    work_off(&world, &policy(""));
    assert_eq!(kinds(&world), ["digest", "image-blocked", "image-blocked"]);
    let again = sweep_with(&world, &policy(""), "{}").unwrap();
    assert_eq!((again.repositories, again.digests), (2, 0), "once a day");
    let asked = sweep_with(&world, &policy(""), r#"{"repositories": ["api"], "digest": true}"#).unwrap();
    assert_eq!((asked.repositories, asked.digests, asked.registry), (1, 1, None));
}

#[test]
fn the_list_of_repositories_and_the_settings_are_read_once_for_all_parts() {
    let world = world();
    world.set_page_size(1);
    assert_eq!(sweep_with(&world, &policy(""), "{}").unwrap().digests, 1);
    let calls = world.calls();
    let number = |operation: &str| calls.iter().filter(|call| call.operation == operation).count();
    assert_eq!(
        (number("ecr:DescribeRepositories"), number("ecr:DescribeRegistry")),
        (2, 1),
        "two pages"
    );
}

#[test]
fn workers_are_told_what_is_known_of_settings_and_ask_for_the_rest() {
    let rules = policy(r#""repositories": [{"match": "*", "posture": {"tag_mutability": "MUTABLE"}}]"#);
    let listed = |world: &World| {
        let items = world.take_items(9).into_iter();
        let listed = items.map(|item| match item.work {
            Work::Repository { listed, .. } => listed.is_some(),
            work => panic!("{work:?}"),
        });
        listed.collect::<Vec<bool>>()
    };
    let asked = |world: &World| {
        let calls = world.calls().into_iter().map(|call| call.operation);
        calls.filter(|operation| *operation == "ecr:DescribeRegistry").count()
    };
    // The hour of neither repository's turn.
    let payload = r#"{"time": "2026-11-24T12:00:00Z"}"#;
    let world = world();
    sweep_with(&world, &rules, payload).unwrap();
    assert_eq!((listed(&world), asked(&world)), (vec![true, true], 1));
    sweep_with(&world, &rules, r#"{"repositories": ["api"]}"#).unwrap();
    assert_eq!(listed(&world), [false]);
    // Once it cannot be read, and then it can: nobody needs to know.
    world.fail("ecr:DescribeRegistry", Fault::Before(Retry::Later));
    sweep_with(&world, &rules, payload).unwrap();
    assert_eq!(listed(&world), [false, false]);
}

#[test]
fn rows_of_a_repository_that_is_gone_are_closed() {
    let world = world();
    sweep_with(&world, &policy(r#""digest": {"enabled": false}"#), "{}").unwrap();
    work_off(&world, &policy(""));
    let key = key_of("api");
    world.delete(&key);
    let swept = sweep_with(&world, &policy(""), "{}").unwrap();
    assert_eq!((swept.repositories, swept.gone), (1, 1));
    work_off(&world, &policy(""));
    assert!(world.row_of(&key).unwrap().closed_at.is_some());
    world.set_now(world.row_of(&key).unwrap().closed_at.unwrap() + jiff::SignedDuration::from_hours(24));
    let swept = sweep_with(&world, &policy(""), "{}").unwrap();
    assert_eq!((swept.digests, swept.gone), (1, 0));
}

#[test]
fn what_fails_keeps_nothing_else_from_being_done() {
    for (operation, done) in [
        ("ecr:DescribeRegistry", (2, 0)),
        ("sns:Publish", (2, 0)),
        ("sqs:SendMessage", (0, 1)),
    ] {
        let world = world();
        world.fail(operation, Fault::Before(Retry::Later));
        let error = sweep_with(&world, &policy(""), "{}").unwrap_err();
        assert_eq!(
            (error.code(), error.retry()),
            ("CallFailed", Retry::Later),
            "{operation}"
        );
        let items = world.take_items(9).len();
        let digests = kinds(&world).len();
        assert!(items >= done.0 && digests >= done.1, "{operation}: {items}, {digests}");
        // The next one does all of it.
        let swept = sweep_with(&world, &policy(""), "{}").unwrap();
        assert_eq!((swept.repositories, kinds(&world).len()), (2, 1), "{operation}");
    }
}
