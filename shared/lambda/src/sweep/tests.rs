use super::*;
use guard_core::{
    finding::{Scan, Severity},
    ids::ImageKey,
    work::{MAX_IMAGES, Work},
};
use guard_engine::testing::work_off;
use guard_ports::{Clock, Queue, Retry};
use guard_testkit::{Fault, World, finding, image, image_key, policy, registry_key, run, scan};

fn sweep_with(world: &World, policy: &Policy, payload: &str) -> Result<Swept, HandlerError> {
    let invocation = Invocation {
        function: "sweep",
        request_id: "8a6e4b50-4f4c-4a3b-9a3e-3f1d0d9a0001".to_owned(),
        account: registry_key().account,
        region: registry_key().region,
        until: Timestamp::MAX,
    };
    run(sweep(&world.services(policy), policy, &invocation, payload))
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
fn a_test_alert_goes_to_each_route_and_nothing_else_happens() {
    let world = world();
    let two = r#"{"version": 1, "mode": "enforce", "routes": {"default": "arn:aws:sns:us-west-2:123456789012:all",
        "web": "arn:aws:sns:us-west-2:123456789012:web", "site": "arn:aws:sns:us-west-2:123456789012:web"}}"#;
    let two = Policy::from_json(two, guard_core::testing::now()).unwrap();
    let swept = sweep_with(&world, &two, r#"{"test_alert": true}"#).unwrap();
    assert_eq!(
        (swept.test_alerts, swept.repositories, swept.digests, swept.registry),
        (2, 0, 0, None)
    );
    assert_eq!(kinds(&world), ["test", "test"]);
    let sent = world.sent();
    let to: Vec<(&str, &str)> = sent
        .iter()
        .map(|one| (one.topic.as_str(), one.message.subject.as_str()))
        .collect();
    assert_eq!(
        to,
        [
            (
                "arn:aws:sns:us-west-2:123456789012:all",
                "[ecr-guard] TEST of the alerts - route default (us-west-2)"
            ),
            (
                "arn:aws:sns:us-west-2:123456789012:web",
                "[ecr-guard] TEST of the alerts - route site, web (us-west-2)"
            ),
        ]
    );
}

/// A repository at which no worker can look is not one that stands as it did.
#[test]
fn what_no_worker_could_reconcile_for_days_is_unknown_in_the_digest() {
    let world = World::new();
    world.list_scans();
    let key = key_of("api");
    world.push(&key, image(&key));
    world.set_scan(&key, Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Low)])));
    let rules = policy("");
    let unknown = |world: &World| {
        let sent = world.sent();
        let last: serde_json::Value = serde_json::from_str(&sent.last().unwrap().message.default).unwrap();
        last["figures"]["unknown_repositories"].clone()
    };
    let hour = |world: &World, is_listed: bool| {
        world.set_now(Clock::now(world) + jiff::SignedDuration::from_hours(1));
        sweep_with(world, &rules, "{}").unwrap();
        while let [item] = world.take_items(1).as_slice() {
            if !is_listed {
                world.fail("ecr:DescribeImages", Fault::Before(Retry::Never));
            }
            let _ = guard_engine::testing::work(world, &rules, item);
            world.heal();
        }
    };
    (0..48).for_each(|_| hour(&world, true));
    assert_eq!(unknown(&world), 0, "unchanged for two days, and looked at every hour");
    (0..72).for_each(|_| hour(&world, false));
    assert_eq!(unknown(&world), 1);
    (0..24).for_each(|_| hour(&world, true));
    assert_eq!(unknown(&world), 0);
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
fn workers_get_what_is_known_of_settings_and_ask_for_the_rest() {
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
    sweep_with(&world, &rules, r#"{"time": "2026-11-24T12:15:00Z"}"#).unwrap();
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
fn repositories_that_are_gone_are_noticed_by_every_sweep() {
    // Without a digest, and while a topic refuses it.
    for (members, refused) in [(r#""digest": {"enabled": false}"#, false), ("", true)] {
        let (world, policy) = (world(), policy(members));
        let quiet = guard_testkit::policy(r#""digest": {"enabled": false}"#);
        sweep_with(&world, &quiet, "{}").unwrap();
        work_off(&world, &quiet);
        world.delete(&key_of("api"));
        if refused {
            world.fail("sns:Publish", Fault::Before(Retry::Never));
        }
        assert_eq!(sweep_with(&world, &policy, "{}").is_err(), refused, "{members}");
        work_off(&world, &policy);
        assert!(world.row_of(&key_of("api")).unwrap().closed_at.is_some(), "{members}");
    }
}

#[test]
fn a_sweep_that_is_under_way_is_continued_and_not_begun_again() {
    let (world, policy) = (World::new(), policy(""));
    for number in 0..=UNDER_WAY {
        let key = key_of(&format!("api-{number}"));
        world.push(&key, image(&key));
    }
    let hour = |number: i64| world.set_now(guard_testkit::now() + jiff::SignedDuration::from_hours(number));
    hour(0);
    let first = sweep_with(&world, &policy, "{}").unwrap();
    assert_eq!((first.repositories, first.under_way), (UNDER_WAY + 1, None));
    for number in 1..4 {
        hour(number);
        let next = sweep_with(&world, &policy, "{}").unwrap();
        assert_eq!(
            (next.repositories, next.under_way),
            (0, Some(UNDER_WAY + 1)),
            "{number}"
        );
    }
    // A repository that somebody asks for is not made to wait.
    let asked = sweep_with(&world, &policy, r#"{"repositories": ["api-0"]}"#).unwrap();
    assert_eq!((asked.repositories, asked.under_way), (1, None));
    assert_eq!(world.take_items(999).len() as u64, UNDER_WAY + 2);
    // The one after it has the turns of all the hours between.
    hour(4);
    let next = sweep_with(&world, &policy, "{}").unwrap();
    let items = world.take_items(999);
    assert_eq!((next.repositories, items.len() as u64), (UNDER_WAY + 1, UNDER_WAY + 1));
    assert!(
        items
            .iter()
            .all(|item| item.since == Some(first.sweep) && item.sweep == next.sweep)
    );
    // How much is waiting cannot be asked: rather too much work than none.
    hour(5);
    world.fail("sqs:GetQueueAttributes", Fault::Before(Retry::Never));
    assert_eq!(sweep_with(&world, &policy, "{}").unwrap_err().code(), "CallRefused");
    assert_eq!(world.take_items(999).len() as u64, UNDER_WAY + 1);
}

/// Workers that take as many hours for a sweep as they like: no image is reconciled more than twice for it.
#[test]
fn work_grows_with_what_is_due_and_not_with_the_backlog() {
    for hours in [5_usize, 20] {
        let (world, policy) = (World::new(), policy(""));
        world.list_scans();
        let images = 2000;
        for number in 0..images {
            let key = ImageKey {
                digest: format!("sha256:{number:064x}").parse().unwrap(),
                ..key_of("api")
            };
            world.push(&key, image(&key));
            world.complete_scan(&key, scan(vec![finding("CVE-2026-1", Severity::Low)]));
        }
        // The number of items that can be done in an hour.
        let rate = images / MAX_IMAGES / hours;
        let (mut waiting, mut looked, mut hour) = (Vec::new(), 0, 0);
        loop {
            world.set_now(guard_testkit::now() + jiff::SignedDuration::from_hours(hour));
            // Waiting items are in the queue when the sweep asks.
            run(Queue::send(&world, &waiting, std::time::Duration::ZERO)).unwrap();
            sweep_with(&world, &policy, "{}").unwrap();
            let mut left = rate;
            waiting = Vec::new();
            while let [item] = world.take_items(1).as_slice() {
                let is_images = matches!(item.work, Work::Images { .. });
                if is_images && left == 0 {
                    waiting.push(item.clone());
                    continue;
                }
                left -= usize::from(is_images);
                looked += guard_engine::testing::work(&world, &policy, item).0.looked;
            }
            hour += 1;
            if waiting.is_empty() {
                break;
            }
            assert!(hour < 99, "{hours}: {} items are left", waiting.len());
        }
        assert!(
            looked <= 2 * images as u64,
            "{hours}: {looked} looks at {images} images"
        );
        assert!(
            hour <= 2 * i64::try_from(hours).unwrap(),
            "{hour} hours instead of {hours}"
        );
    }
}

#[test]
fn a_retry_after_a_digest_that_failed_does_not_repeat_the_listing() {
    let (world, policy) = (world(), policy(""));
    let payload = r#"{"time": "2026-11-24T11:59:00Z"}"#;
    world.fail("sns:Publish", Fault::Before(Retry::Never));
    assert_eq!(sweep_with(&world, &policy, payload).unwrap_err().code(), "CallRefused");
    assert_eq!(world.take_items(9).len(), 2);
    // Lambda tries again.
    let again = sweep_with(&world, &policy, payload).unwrap();
    assert_eq!(
        (again.repositories, again.digests, world.take_items(9).len()),
        (0, 1, 0)
    );
}

#[test]
fn after_the_deadline_nothing_is_called() {
    let (world, policy) = (world(), policy(""));
    let invocation = Invocation {
        function: "sweep",
        request_id: "8a6e4b50-4f4c-4a3b-9a3e-3f1d0d9a0001".to_owned(),
        account: registry_key().account,
        region: registry_key().region,
        until: Clock::now(&world),
    };
    let swept = run(sweep(&world.services(&policy), &policy, &invocation, "{}")).unwrap();
    assert_eq!(swept.left_out, ["registry", "summaries", "digest", "gone"]);
    let after = |operation: &str| world.calls().iter().filter(|call| call.operation == operation).count();
    assert_eq!((after("sns:Publish"), after("dynamodb:Query")), (0, 0));
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

#[test]
fn a_repository_that_is_not_guarded_is_not_swept_because_somebody_asks_for_it() {
    let (world, policy) = (world(), policy(""));
    world.guard_only("api".parse().unwrap());
    // The other one is queued, once: an error would make Lambda try all of it again.
    for payload in [
        r#"{"repositories": ["backend", "api"]}"#,
        r#"{"repositories": ["api", "backend"]}"#,
    ] {
        let swept = sweep_with(&world, &policy, payload).unwrap();
        assert_eq!(swept.repositories, 1);
        assert_eq!(swept.errors, ["the deployment does not guard the repository `backend`"]);
        let items = world.take_items(9);
        let [item] = items.as_slice() else { panic!("{items:?}") };
        assert_eq!(item.work.repository(), Some(&"api".parse().unwrap()));
    }
    // Nothing that was asked for was done.
    let error = sweep_with(&world, &policy, r#"{"repositories": ["backend"]}"#).unwrap_err();
    assert_eq!((error.code(), error.retry()), ("PoisonEvent", Retry::Never));
    assert!(error.to_string().contains("`backend`"), "{error}");
    assert_eq!(world.take_items(9), []);
    // A call that fails is an error as before.
    world.fail("sqs:SendMessage", Fault::Before(Retry::Later));
    let error = sweep_with(&world, &policy, r#"{"repositories": ["backend", "api"]}"#).unwrap_err();
    assert!(world.take_items(9).is_empty(), "{error}");
}

/// Lambda would try it again, and leave all repositories to the workers once more: the row is not readable by that.
#[test]
fn a_row_of_the_registry_that_cannot_be_read_is_named_and_ends_no_sweep() {
    let (world, policy) = (world(), policy(""));
    let registry = registry_key();
    world.spoil((registry.partition_key(), registry.sort_key()));
    let swept = sweep_with(&world, &policy, r#"{"time": "2026-11-24T11:59:00Z"}"#).unwrap();
    assert_eq!((swept.repositories, world.take_items(9).len()), (2, 2));
    assert!(!swept.errors.is_empty());
    for error in &swept.errors {
        assert!(error.contains(&registry.sort_key()), "{error}");
    }
    // Another failure is an error as before.
    world.fail("ecr:DescribeRegistry", Fault::Before(Retry::Later));
    let error = sweep_with(&world, &policy, "{}").unwrap_err();
    assert!(error.to_string().contains("ecr:DescribeRegistry"), "{error}");
}

#[test]
fn every_error_is_counted_and_named() {
    let (world, policy) = (world(), policy(r#""digest": {"enabled": false}"#));
    for operation in [
        "sqs:GetQueueAttributes",
        "sqs:SendMessage",
        "ecr:DescribeRegistry",
        "dynamodb:Query",
    ] {
        world.fail(operation, Fault::Before(Retry::Later));
    }
    let invocation = Invocation {
        function: "sweep",
        request_id: "one".to_owned(),
        account: registry_key().account,
        region: registry_key().region,
        until: Timestamp::MAX,
    };
    let (services, request) = (world.services(&policy), SweepRequest::default());
    let mut beginning = Beginning::new(&services, &policy, &invocation, &request);
    run(beginning.all(request));
    let names: Vec<String> = beginning.errors.iter().map(ToString::to_string).collect();
    let named = |operation: &str| names.iter().filter(|name| name.contains(operation)).count();
    let all = [
        "sqs:GetQueueAttributes",
        "sqs:SendMessage",
        "ecr:DescribeRegistry",
        "dynamodb:Query",
    ];
    assert_eq!(all.map(named), [1; 4], "{names:?}");
}
