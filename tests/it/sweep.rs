//! A large registry of which every event was lost: what sweeps make of it, and what they cost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use jiff::{SignedDuration, Timestamp};
use shared::core::{
    decide::{TURN_HOURS, Turns},
    finding::{Findings, NoScan, Scan, ScanMode, Severity},
    ids::ImageKey,
    image::{Image, ImageStatus},
    policy::Policy,
    repository::posture::{Encryption, Repository, TagMutability},
    state::State,
};
use shared::{
    lambda::{
        entry::{Invocation, Selection},
        worker::{SqsMessage, Worked, work},
    },
    ports::Clock as _,
    testing::{
        StoredRepository, World, batch, finding, image, image_key, message, policy, registry_key, run, run_and_crash,
        scan,
        sweep::{enqueue, enqueue_known},
    },
};

use crate::support;

const REPOSITORIES: usize = 200;
const IMAGES: usize = 500;

fn key_of(repository: usize, number: usize) -> ImageKey {
    ImageKey {
        repository: format!("team/app-{repository}").parse().unwrap(),
        digest: format!("sha256:{number:012x}{repository:052x}").parse().unwrap(),
        ..image_key()
    }
}

/// Every 250th image has a CRITICAL finding, every 20th of the others a HIGH one.
fn severity_of(number: usize) -> Severity {
    if number.is_multiple_of(250) {
        Severity::Critical
    } else if number.is_multiple_of(20) {
        Severity::High
    } else {
        Severity::Low
    }
}

fn silent_world(repositories: usize, images: usize) -> World {
    let world = World::new();
    world.list_scans();
    for repository in 0..repositories {
        for number in 0..images {
            let key = key_of(repository, number);
            let pushed = Image {
                tags: vec![format!("v{number}").parse().unwrap()],
                ..image(&key)
            };
            world.push(&key, pushed);
            let found = finding("CVE-2026-1", severity_of(number));
            world.set_scan(&key, Scan::Complete(scan(vec![found])));
        }
    }
    world
}

fn rules() -> Policy {
    policy(r#""block": {"max_blocks_per_hour": 1000}"#)
}

/// Invokes the worker with the next items of the queue, as Lambda does; a failed item comes again. `polls`: the worker is
/// killed after this number of steps.
fn invoke(
    world: &World,
    policy: &Policy,
    redelivered: &mut Vec<SqsMessage>,
    number: usize,
    polls: usize,
) -> Option<Worked> {
    let mut messages = std::mem::take(redelivered);
    for item in world.take_items(10_usize.saturating_sub(messages.len())) {
        let id = format!("message-{number}-{}", messages.len());
        messages.push(message(&id, serde_json::to_string(&item).unwrap()));
    }
    if messages.is_empty() {
        return None;
    }
    let invocation = Invocation {
        function: "worker",
        request_id: format!("invocation-{number}"),
        account: registry_key().account,
        region: registry_key().region,
        until: Timestamp::MAX,
    };
    let batch = batch(messages.clone());
    let select = |_: &_| Selection::Ignore("no event");
    let services = world.services(policy);
    let working = work(&services, policy, select, &invocation, batch);
    let Some((answer, worked)) = run_and_crash(working, polls) else {
        // SQS delivers all of it again when its time is over.
        *redelivered = messages;
        return Some(Worked::default());
    };
    let failed = answer.batch_item_failures.into_iter();
    let failed: BTreeSet<_> = failed.map(|failure| Some(failure.item_identifier)).collect();
    messages.retain(|message| failed.contains(&message.message_id));
    *redelivered = messages;
    Some(worked)
}

/// A whole sweep; its result, and the number of invocations of the worker.
fn sweep(world: &World, policy: &Policy, polls: impl Fn(usize) -> usize) -> (Worked, usize) {
    enqueue_in_spite_of_trouble(world, policy);
    let mut redelivered = Vec::new();
    let mut all = Worked::default();
    for number in 0..200_000 {
        // Time passes, so that what a killed worker had undertaken is free again.
        world.set_now(world.now() + SignedDuration::from_secs(1));
        let Some(worked) = invoke(world, policy, &mut redelivered, number, polls(number)) else {
            return (all, number);
        };
        all.looks.add(&worked.looks);
        all.failed += worked.failed;
    }
    panic!("the queue does not become empty: {all:?}");
}

fn enqueue_in_spite_of_trouble(world: &World, policy: &Policy) {
    let sweep = shared::testing::sweep::a_sweep(world);
    for _ in 0..20 {
        let enqueued = run(enqueue_known(world, policy, &sweep));
        if enqueued.is_ok() {
            return;
        }
    }
    enqueue(world, policy);
}

#[track_caller]
fn assert_handled(world: &World, repositories: usize, images: usize) {
    let mut no_news = 0;
    for repository in 0..repositories {
        for number in 0..images {
            let key = key_of(repository, number);
            let (state, status) = match severity_of(number) {
                Severity::Critical => (State::Blocked, ImageStatus::Archived),
                Severity::High => (State::Review, ImageStatus::Active),
                _ => (State::Allowed, ImageStatus::Active),
            };
            let row = world.row_of(&key).unwrap();
            assert_eq!(
                (row.state, world.image_of(&key).unwrap().status),
                (state, status),
                "{key}"
            );
            assert_eq!(row.alert.is_some(), severity_of(number) != Severity::Low, "{key}");
            assert!(row.alert.as_ref().is_none_or(|alert| alert.sent_at.is_some()), "{key}");
            // A second reconcile after an alert about the same finding in the repository brings no news.
            no_news += usize::from(row.alert.is_some_and(|alert| alert.no_news));
        }
    }
    let id =
        |text: &str| -> serde_json::Value { serde_json::from_str::<serde_json::Value>(text).unwrap()["id"].clone() };
    let told: BTreeSet<String> = world
        .sent()
        .iter()
        .map(|sent| id(&sent.message.default).to_string())
        .collect();
    let owed = (0..images)
        .filter(|number| severity_of(*number) != Severity::Low)
        .count()
        * repositories;
    assert_eq!(
        told.len() + no_news,
        owed,
        "one alert for each image that needs one, whatever happened on the way"
    );
}

#[test]
fn a_hundred_thousand_images_of_which_every_event_was_lost() {
    let world = silent_world(REPOSITORIES, IMAGES);
    let rules = rules();
    let (first, _) = sweep(&world, &rules, |_| usize::MAX);
    assert_eq!((first.looks.looked, first.failed), ((REPOSITORIES * IMAGES) as u64, 0));
    assert_eq!(first.looks.blocks, 2 * REPOSITORIES as u64);
    assert_handled(&world, REPOSITORIES, IMAGES);
    world.set_now(world.now() + SignedDuration::from_hours(1));
    world.forget_calls();
    let (second, _) = sweep(&world, &rules, |_| usize::MAX);
    assert_eq!((second.looks.looked, second.looks.due.len()), (0, 0), "{second:?}");
    assert_eq!((world.writes(), world.sent().len()), (0, 26 * REPOSITORIES));
}

#[test]
fn throttling_lost_answers_and_killed_workers_lose_nothing() {
    let (repositories, images) = (10, 500);
    let world = silent_world(repositories, images);
    let rules = rules();
    // Every 97th call fails, with or without effect; every third worker is killed on its way.
    world.trouble_every(97);
    let polls = |number: usize| {
        if number.is_multiple_of(3) {
            40 + number * 7 % 900
        } else {
            usize::MAX
        }
    };
    let (first, _) = sweep(&world, &rules, polls);
    assert!(first.looks.looked > (repositories * images) as u64, "{first:?}");
    world.set_now(world.now() + SignedDuration::from_hours(1));
    sweep(&world, &rules, polls);
    assert_handled(&world, repositories, images);
    world.heal();
    world.set_now(world.now() + SignedDuration::from_hours(1));
    sweep(&world, &rules, |_| usize::MAX);
    world.forget_calls();
    let (last, _) = sweep(&world, &rules, |_| usize::MAX);
    assert_eq!((last.looks.looked, world.writes()), (0, 0), "{last:?}");
    assert_handled(&world, repositories, images);
}

/// The cost of a sweep.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Cost {
    ecr: usize,
    ecr_writes: usize,
    ledger_reads: usize,
    ledger_writes: usize,
    queue: usize,
    topics: usize,
    keys: usize,
}

fn cost(world: &World) -> Cost {
    let mut cost = Cost::default();
    for call in world.calls() {
        match call.operation {
            "dynamodb:BatchGetItem" | "dynamodb:GetItem" | "dynamodb:Query" => cost.ledger_reads += 1,
            operation if operation.starts_with("dynamodb:") => cost.ledger_writes += 1,
            operation if operation.starts_with("sqs:") => cost.queue += 1,
            operation if operation.starts_with("sns:") => cost.topics += 1,
            operation if operation.starts_with("kms:") => cost.keys += 1,
            _ if call.mutates => cost.ecr_writes += 1,
            _ => cost.ecr += 1,
        }
    }
    cost
}

/// The number of repositories that a sweep at that time reconciles in full: each is once a day.
fn in_full(repositories: usize, sweep: Timestamp) -> usize {
    (0..repositories)
        .filter(|number| Turns::new(None, sweep).has(&key_of(*number, 0).repository, TURN_HOURS))
        .count()
}

/// A thousand images under enhanced scanning, which the registry's list does not show.
fn watched_by_inspector(repositories: usize, scan_of: impl Fn(usize) -> Scan) -> World {
    let world = World::new();
    for repository in 0..repositories {
        for number in 0..1000 / repositories {
            let key = key_of(repository, number);
            world.push(&key, image(&key));
            world.set_scan(&key, scan_of(number));
        }
    }
    world
}

/// A number of sweeps, an hour between them; their cost together, and the number of images that each reconciled.
fn sweeps(world: &World, policy: &Policy, number: usize) -> (Cost, Vec<u64>) {
    world.forget_calls();
    let looked = (0..number).map(|_| {
        world.set_now(world.now() + SignedDuration::from_hours(1));
        let began = world.now();
        let (worked, _) = sweep(world, policy, |_| usize::MAX);
        // The seconds that it took are not to add up.
        world.set_now(began);
        worked.looks.looked
    });
    let looked = looked.collect();
    (cost(world), looked)
}

/// Repositories as their rules want them.
fn well_kept(repositories: usize, images: usize) -> World {
    let world = silent_world(repositories, images);
    for repository in 0..repositories {
        let stored = StoredRepository {
            repository: Repository {
                arn: format!("arn:aws:ecr:us-west-2:123456789012:repository/team/app-{repository}"),
                tag_mutability: TagMutability::Immutable,
                scan_on_push: true,
                encryption: Encryption {
                    kind: "AES256".to_owned(),
                    key: None,
                },
            },
            tags: BTreeMap::new(),
            policy: None,
            lifecycle: None,
        };
        world.create_repository(&key_of(repository, 0).repository, stored);
    }
    world
}

#[test]
fn a_sweep_costs_what_the_table_says_and_no_more_for_what_has_not_changed() {
    let mut table = String::from(
        "| repositories × images | situation | ECR reads | ECR writes | ledger reads | ledger writes | queue | topics |\n\
         |---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    let posture = r#""block": {"max_blocks_per_hour": 1000}, "repositories": [{"match": "*",
        "posture": {"tag_mutability": "IMMUTABLE", "scan_on_push": true}, "lifecycle": {"keep_count": 1000, "tag_prefixes": ["v"]}}]"#;
    for (repositories, images) in [(1, 1000), (10, 100), (100, 10), (10, 1000)] {
        let mut row = |situation: &str, cost: Cost| {
            writeln!(
                table,
                "| {repositories} × {images} | {situation} | {} | {} | {} | {} | {} | {} |",
                cost.ecr, cost.ecr_writes, cost.ledger_reads, cost.ledger_writes, cost.queue, cost.topics
            )
            .unwrap();
        };
        let world = well_kept(repositories, images);
        let rules = rules();
        let mut next = |situation: &str, rules: &Policy| {
            world.forget_calls();
            sweep(&world, rules, |_| usize::MAX);
            let cost = cost(&world);
            row(situation, cost);
            world.set_now(world.now() + SignedDuration::from_hours(1));
            cost
        };
        next("nothing is known yet: all events were lost", &rules);
        let unchanged = next("nothing has changed", &rules);
        // One page of images and one of rows, and what the figures need; the list of repositories, and a message for each.
        let expected = Cost {
            ecr: repositories + 1,
            ledger_reads: 3 * repositories,
            queue: 1,
            ..Cost::default()
        };
        assert_eq!(unchanged, expected, "{repositories} × {images}");
        let with_rules = policy(posture);
        next("another policy, with rules for repositories", &with_rules);
        let in_full = in_full(repositories, world.now());
        let unchanged = next("nothing has changed, with rules for repositories", &with_rules);
        // The policies of each repository as well, and the registry's settings; of those whose turn it is, three more.
        let expected = Cost {
            ecr: 3 * repositories + 2 + 3 * in_full,
            ledger_reads: 4 * repositories,
            queue: 1,
            ..Cost::default()
        };
        assert_eq!(unchanged, expected, "{repositories} × {images}");
    }
    let mut row = |size: &str, situation: &str, cost: Cost| {
        writeln!(
            table,
            "| {size} | {situation} | {} | {} | {} | {} | {} | {} |",
            cost.ecr, cost.ecr_writes, cost.ledger_reads, cost.ledger_writes, cost.queue, cost.topics
        )
        .unwrap();
    };
    // An image that Inspector watches is reconciled once a day, in one of the 24 sweeps.
    let clean = |number: usize| Findings {
        mode: ScanMode::Enhanced,
        ..scan(vec![finding(&format!("CVE-2026-{number}"), Severity::Low)])
    };
    let world = watched_by_inspector(1, |number| Scan::Complete(clean(number)));
    sweep(&world, &rules(), |_| usize::MAX);
    let (cost, looked) = sweeps(&world, &rules(), 24);
    row("1 × 1000", "24 sweeps, enhanced scanning, nothing has changed", cost);
    assert_eq!(looked.iter().sum::<u64>(), 1000);
    assert!(cost.ecr <= 24 * 45, "{cost:?}");
    let world = watched_by_inspector(10, |number| Scan::Complete(clean(number)));
    sweep(&world, &rules(), |_| usize::MAX);
    let (cost, looked) = sweeps(&world, &rules(), 24);
    row("10 × 100", "24 sweeps, enhanced scanning, nothing has changed", cost);
    assert_eq!(looked.iter().sum::<u64>(), 1000);
    assert!(
        looked.iter().all(|number| (20..=70).contains(number)),
        "not spread: {looked:?}"
    );
    // An image that it no longer watches is reconciled once a week.
    let monitor = policy(r#""scan": {"on_stale": "monitor"}"#);
    let world = watched_by_inspector(10, |_| Scan::Unavailable(NoScan::EligibilityExpired));
    sweep(&world, &monitor, |_| usize::MAX);
    let (cost, looked) = sweeps(&world, &monitor, 7 * 24);
    row(
        "10 × 100",
        "168 sweeps, enhanced scanning, Inspector has let them go",
        cost,
    );
    assert_eq!(looked.iter().sum::<u64>(), 1000);
    assert!(looked.iter().all(|number| *number <= 20), "not spread: {looked:?}");
    support::assert_part_is("docs/call-budget.md", "sweeps", &table);
}

/// The cost of thirty days of hourly sweeps over repositories of a hundred images, of which nothing changes.
fn quiet_month(repositories: usize, mode: ScanMode) -> Cost {
    let world = match mode {
        ScanMode::Basic => silent_world(repositories, 100),
        ScanMode::Enhanced => {
            let world = World::new();
            for (repository, number) in (0..repositories).flat_map(|r| (0..100).map(move |n| (r, n))) {
                let key = key_of(repository, number);
                world.push(&key, image(&key));
                let found = vec![finding(&format!("CVE-2026-{number}"), Severity::Low)];
                world.set_scan(&key, Scan::Complete(Findings { mode, ..scan(found) }));
            }
            world
        }
    };
    let rules = rules();
    for _ in 0..2 {
        sweep(&world, &rules, |_| usize::MAX);
        world.set_now(world.now() + SignedDuration::from_hours(1));
    }
    sweeps(&world, &rules, 30 * 24).0
}

/// A month of 300 repositories of 100 images: sweeps in which nothing has changed, 20 pushes and 10 alerts for each repository. The cost of
/// sweeps grows with the repositories in a straight line, so that it is counted for one and for three of them.
#[test]
fn a_month_costs_what_the_table_says() {
    const REPOSITORIES: usize = 300;
    const PUSHES: usize = 20;
    const ALERTS: usize = 10;
    let mut table = String::from(
        "| scanning | calls to ECR by sweeps | calls to ECR by events | ledger reads | ledger writes | messages to workers | messages on a topic |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    let push = crate::calls::a_push_and_its_scan();
    let count = |is: &dyn Fn(&str) -> bool| {
        let calls = push.iter().filter(|call| is(&call.request.operation));
        REPOSITORIES * PUSHES * calls.count()
    };
    let is_write = |operation: &str| matches!(operation, "dynamodb:PutItem" | "dynamodb:UpdateItem");
    let budget = rules().alerts;
    // A topic gets its budget of single alerts, and a summary an hour.
    let single = usize::try_from(30 * budget.per_day).unwrap();
    let messages = (REPOSITORIES * ALERTS).min(single + 30 * 24);
    for (mode, name, most_of_sweeps) in [
        (ScanMode::Basic, "basic", 220_000),
        (ScanMode::Enhanced, "enhanced", 1_400_000),
    ] {
        let (one, three) = (quiet_month(1, mode), quiet_month(3, mode));
        let all = |cost: fn(&Cost) -> usize| {
            let (one, three) = (cost(&one), cost(&three));
            one + (three - one) * (REPOSITORIES - 1) / 2
        };
        let of_sweeps = all(|cost| cost.ecr + cost.ecr_writes);
        let of_events = count(&|operation| operation.starts_with("ecr:"));
        let reads = all(|cost| cost.ledger_reads)
            + count(&|operation| operation.starts_with("dynamodb:") && !is_write(operation));
        let writes = all(|cost| cost.ledger_writes) + count(&is_write);
        let queue = all(|cost| cost.queue);
        assert!(of_sweeps <= most_of_sweeps, "{name}: {of_sweeps}");
        assert!(
            of_events <= 40_000 && writes <= 21_500 && messages <= 3_000,
            "{name}: {of_events}, {writes}, {messages}"
        );
        writeln!(
            table,
            "| {name} | {of_sweeps} | {of_events} | {reads} | {writes} | {queue} | {messages} |"
        )
        .unwrap();
    }
    support::assert_part_is("docs/call-budget.md", "month", &table);
}
