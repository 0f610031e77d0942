use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::testing;
use guard_core::{
    finding::{Scan, Severity},
    ids::ImageKey,
    state::State,
    work::{MAX_HOPS, Work, WorkItem, WorkSchema},
};
use guard_engine::reconcile::image::Hints;
use guard_events::Body;
use guard_ports::Retry;
use guard_testkit::{Fault, World, finding, image, image_key, policy, registry_key, run, scan};

fn invocation() -> Invocation {
    Invocation {
        function: "worker",
        request_id: "8a6e4b50-4f4c-4a3b-9a3e-3f1d0d9a0001".to_owned(),
        account: registry_key().account,
        region: registry_key().region,
        until: Timestamp::MAX,
    }
}

/// One in which nothing new is begun any more.
fn out_of_time() -> Invocation {
    Invocation {
        until: Timestamp::MIN,
        ..invocation()
    }
}

/// The selection of the function `worker`.
fn select(event: &Event) -> Selection {
    match &event.body {
        Body::InspectorFinding(finding) => {
            let hints = Hints {
                epss: finding.epss.clone().into_iter().collect(),
                ..Hints::default()
            };
            Selection::look(&finding.name, hints)
        }
        _ => Selection::Ignore("no finding"),
    }
}

fn batch(bodies: impl IntoIterator<Item = String>) -> SqsEvent {
    let messages = bodies.into_iter().enumerate();
    testing::batch(
        messages
            .map(|(number, body)| testing::message(&format!("message-{number}"), body))
            .collect(),
    )
}

fn work_on(world: &World, policy: &Policy, batch: SqsEvent) -> (Vec<String>, Worked) {
    let (answer, worked) = run(work(&world.services(policy), policy, select, &invocation(), batch));
    let failed = answer.batch_item_failures.into_iter();
    (failed.map(|failure| failure.item_identifier).collect(), worked)
}

fn key_of(number: usize) -> ImageKey {
    ImageKey {
        digest: format!("sha256:{number:012x}{:052x}", 0).parse().unwrap(),
        ..image_key()
    }
}

/// A world of this number of images with a critical finding.
fn world(images: usize) -> World {
    let world = World::new();
    world.list_scans();
    for number in 0..images {
        let key = key_of(number);
        world.push(&key, image(&key));
        world.set_scan(
            &key,
            Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Critical)])),
        );
    }
    world
}

fn finding_event(key: &ImageKey, vulnerability: &str, epss: f64) -> String {
    json!({
        "version": "0", "id": "13cde686-328b-6117-af20-0e5566167482", "detail-type": "Inspector2 Finding",
        "source": "aws.inspector2", "account": key.account.as_str(), "time": "2026-11-24T11:59:30Z",
        "region": key.region.as_str(), "resources": [],
        "detail": {
            "status": "ACTIVE", "severity": "CRITICAL", "epss": {"score": epss},
            "packageVulnerabilityDetails": {"vulnerabilityId": vulnerability},
            "resources": [{"type": "AWS_ECR_CONTAINER_IMAGE", "details": {"awsEcrContainerImage": {
                "repositoryName": key.repository.as_str(), "imageHash": key.digest.as_str(),
            }}}],
        },
    })
    .to_string()
}

fn item(work: Work) -> String {
    let item = WorkItem {
        schema: WorkSchema::V1,
        sweep: "2026-11-24T11:50:00Z".parse().unwrap(),
        since: None,
        hops: 0,
        account: registry_key().account,
        region: registry_key().region,
        work,
    };
    serde_json::to_string(&item).unwrap()
}

fn repository_item() -> String {
    item(Work::Repository {
        repository: image_key().repository,
        after: None,
        again: false,
        copies: false,
        listed: None,
        waited: 0,
    })
}

#[test]
fn a_flood_of_findings_is_one_look_and_one_alert_for_an_image() {
    let world = world(5);
    let flood = (0..500).map(|n| finding_event(&key_of(n % 5), &format!("CVE-2026-{}", n / 5), 0.2));
    let (failed, worked) = work_on(&world, &policy(""), batch(flood));
    assert_eq!((worked.messages, worked.jobs, worked.looks.looked), (500, 5, 5));
    assert_eq!((worked.looks.blocks, worked.looks.alerts, failed.len()), (5, 5, 0));
    assert_eq!(world.sent().len(), 5);
    // One look is one question to the scanner.
    let asked = world.calls().into_iter();
    assert_eq!(
        asked
            .filter(|call| call.operation == "ecr:DescribeImageScanFindings")
            .count(),
        5
    );
}

#[test]
fn what_events_say_of_the_probability_of_exploits_is_all_taken_into_account() {
    let world = world(1);
    let findings = (1..4)
        .map(|n| finding(&format!("CVE-2026-{n}"), Severity::Low))
        .collect();
    world.complete_scan(&key_of(0), scan(findings));
    let likely = policy(r#""rules": [{"min_epss": 0.5, "action": "block"}]"#);
    let events = [
        finding_event(&key_of(0), "CVE-2026-1", 0.1),
        finding_event(&key_of(0), "CVE-2026-2", 0.9),
        finding_event(&key_of(0), "CVE-2026-3", 0.1),
        finding_event(&key_of(0), "CVE-2026-1", 0.7),
    ];
    work_on(&world, &likely, batch(events));
    let row = world.row_of(&key_of(0)).unwrap();
    let decided: Vec<_> = row
        .findings
        .iter()
        .map(|finding| (finding.id.as_str(), finding.epss))
        .collect();
    assert_eq!(row.state, State::Blocked);
    assert_eq!(decided, [("CVE-2026-1", Some(0.7)), ("CVE-2026-2", Some(0.9))]);
}

#[test]
fn the_same_item_twice_is_worked_once_and_says_how_old_its_sweep_is() {
    let world = world(3);
    let (failed, worked) = work_on(&world, &policy(""), batch([repository_item(), repository_item()]));
    assert_eq!((failed.len(), worked.messages, worked.jobs), (0, 2, 1));
    assert_eq!((worked.looks.listed, worked.looks.blocks), (3, 3));
    assert_eq!(worked.sweep_age_seconds, Some(600));
}

/// A reconcile of the settings alone takes no item for the whole repository into itself.
#[test]
fn an_item_for_settings_that_wait_is_not_the_item_of_the_next_sweep() {
    let world = world(3);
    let waits = repository_item().replace("\"kind\"", "\"waited\":1,\"kind\"");
    for bodies in [[waits.clone(), repository_item()], [repository_item(), waits.clone()]] {
        world.forget_calls();
        let (failed, worked) = work_on(&world, &policy(""), batch(bodies));
        assert_eq!((failed.len(), worked.jobs, worked.looks.listed), (0, 2, 3));
    }
    let (failed, worked) = work_on(&world, &policy(""), batch([waits.clone(), waits]));
    assert_eq!((failed.len(), worked.jobs, worked.looks.listed), (0, 1, 0));
}

#[test]
fn poison_stays_in_the_queue_and_harms_nothing_else() {
    let world = world(1);
    let elsewhere = repository_item().replace("us-west-2", "eu-west-1");
    let bodies = [
        "nonsense".to_owned(),
        "{}".to_owned(),
        r#"{"schema": "ecr-guard/work/v2"}"#.to_owned(),
        repository_item().replace("\"kind\":\"repository\"", "\"kind\":\"surprise\""),
        repository_item(),
        elsewhere,
    ];
    let (failed, worked) = work_on(&world, &policy(""), batch(bodies));
    assert_eq!(failed, ["message-0", "message-1", "message-2", "message-3"]);
    assert_eq!((worked.poison, worked.ignored, worked.looks.blocks), (4, 1, 1));
    assert!(
        worked.errors[3].contains("message-3") && worked.errors[3].contains("surprise"),
        "{:?}",
        worked.errors
    );
}

#[test]
fn what_fails_comes_again_and_what_succeeds_does_not() {
    let world = world(2);
    let events = [
        finding_event(&key_of(0), "CVE-2026-1", 0.1),
        finding_event(&key_of(0), "CVE-2026-2", 0.1),
        finding_event(&key_of(1), "CVE-2026-1", 0.1),
    ];
    world.fail("sns:Publish", Fault::Before(Retry::Later));
    let (failed, worked) = work_on(&world, &policy(""), batch(events));
    assert_eq!((failed.len(), worked.errors.len(), world.sent().len()), (0, 1, 1));
    // It comes again by itself, as one message.
    let again = world.take_items(9);
    assert_eq!(again.len(), 1);
    let body = |hops| {
        let item = WorkItem {
            hops,
            ..again[0].clone()
        };
        batch([serde_json::to_string(&item).unwrap()])
    };
    world.fail("sns:Publish", Fault::Before(Retry::Later));
    let (failed, _) = work_on(&world, &policy(""), body(MAX_HOPS_OF_TROUBLE));
    assert_eq!(
        (failed.len(), world.sent().len()),
        (1, 1),
        "that is counted, in the end"
    );
    let (failed, _) = work_on(&world, &policy(""), body(MAX_HOPS_OF_TROUBLE));
    assert_eq!((failed.len(), world.sent().len()), (0, 2), "each is told once");
}

#[test]
fn trouble_at_aws_stops_the_batch_and_everything_comes_again() {
    let world = world(40);
    for _ in 0..40 {
        world.fail("ecr:DescribeImages", Fault::Before(Retry::Later));
    }
    let (failed, worked) = work_on(
        &world,
        &policy(""),
        batch((0..40).map(|n| finding_event(&key_of(n), "CVE-2026-1", 0.1))),
    );
    // Everything waits for some minutes, put together by repository: what was tried, and what was not begun.
    assert_eq!((failed.len(), worked.put_back, worked.looks.looked), (0, 40, 0));
    let put_back = world.take_items(9);
    let images = |item: &WorkItem| match &item.work {
        Work::Findings { images, .. } => images.len(),
        work => panic!("{work:?}"),
    };
    assert_eq!(put_back.iter().map(images).collect::<Vec<_>>(), [20, 12, 8]);
    let calls = world.calls();
    world.heal();
    let bodies = put_back.iter().map(|item| serde_json::to_string(item).unwrap());
    let (failed, worked) = work_on(&world, &policy(""), batch(bodies));
    assert_eq!((failed.len(), worked.looks.looked, worked.item_hops), (0, 40, Some(1)));
    // Those that were under way at the same time have failed; no others were begun.
    let asked = calls
        .iter()
        .filter(|call| call.operation == "ecr:DescribeImages")
        .count();
    assert!(asked <= MAX_TROUBLE + CONCURRENCY, "{asked}");
}

#[test]
fn when_the_time_is_over_everything_is_put_back_with_what_events_said() {
    let world = world(2);
    let (answer, worked) = run(work(
        &world.services(&policy("")),
        &policy(""),
        select,
        &out_of_time(),
        batch([
            repository_item(),
            finding_event(&key_of(0), "CVE-2026-1", 0.1),
            finding_event(&key_of(0), "CVE-2026-2", 0.2),
            finding_event(&key_of(1), "CVE-2026-1", 0.1),
        ]),
    ));
    let failed: Vec<&str> = answer
        .batch_item_failures
        .iter()
        .map(|f| f.item_identifier.as_str())
        .collect();
    assert_eq!(
        (failed, worked.failed, worked.sweep_age_seconds),
        (vec![], 0, Some(600)),
        "putting back does not make it younger"
    );
    let put_back = world.take_items(9);
    let text = |item: &WorkItem| serde_json::to_value(item).unwrap();
    let mut first: Value = serde_json::from_str(&repository_item()).unwrap();
    first["hops"] = json!(1);
    assert_eq!(text(&put_back[0]), first);
    assert_eq!(
        text(&put_back[1])["work"],
        json!({"kind": "findings", "repository": "pipeops-prod-api", "images": [
            {"digest": key_of(0).digest.as_str(), "epss": [{"vulnerability": "CVE-2026-1", "score": 0.1},
                {"vulnerability": "CVE-2026-2", "score": 0.2}]},
            {"digest": key_of(1).digest.as_str(), "epss": [{"vulnerability": "CVE-2026-1", "score": 0.1}]},
        ]})
    );
    assert_eq!((put_back.len(), worked.put_back), (2, 4));
}

#[test]
fn an_item_that_cannot_be_put_back_stays_in_the_queue() {
    let world = world(1);
    world.fail("sqs:SendMessage", Fault::Before(Retry::Later));
    let (answer, _) = run(work(
        &world.services(&policy("")),
        &policy(""),
        select,
        &out_of_time(),
        batch([repository_item()]),
    ));
    assert_eq!(answer.batch_item_failures.len(), 1);
}

#[test]
fn what_lambda_sends_and_wants_back() {
    let batch: SqsEvent = serde_json::from_value(json!({"Records": [{
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d", "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
        "body": "Test message.", "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183"},
        "messageAttributes": {}, "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3", "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-west-2:123456789012:work", "awsRegion": "us-west-2",
    }]}))
    .unwrap();
    assert_eq!(batch.records[0].body.as_deref(), Some("Test message."));
    let mut answer = SqsBatchResponse::default();
    answer.add_failure("1");
    let answer: Value = serde_json::to_value(answer).unwrap();
    assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "1"}]}));
}

#[test]
fn what_was_put_back_too_often_stays_in_the_queue() {
    let world = world(1);
    let mut often: Value = serde_json::from_str(&repository_item()).unwrap();
    often["hops"] = json!(MAX_HOPS);
    let (answer, worked) = run(work(
        &world.services(&policy("")),
        &policy(""),
        select,
        &out_of_time(),
        batch([often.to_string()]),
    ));
    assert_eq!((answer.batch_item_failures.len(), worked.put_back), (1, 0));
    assert_eq!((worked.item_hops, world.take_items(9).len()), (Some(MAX_HOPS), 0));
}

#[test]
fn a_message_without_a_body_is_poison_and_one_without_an_id_fails_the_batch() {
    let world = world(1);
    let mut batch = batch([repository_item(), repository_item(), "{".to_owned()]);
    batch.records[1].body = None;
    batch.records[2].message_id = None;
    let (failed, worked) = work_on(&world, &policy(""), batch);
    assert_eq!(
        (failed, worked.poison),
        (vec![String::new(), "message-1".to_owned()], 2)
    );
}

#[test]
fn how_often_a_message_was_delivered_is_a_figure() {
    let world = world(1);
    let mut batch = batch([repository_item(), finding_event(&key_of(0), "CVE-2026-1", 0.1)]);
    let attributes = &mut batch.records[1].attributes;
    attributes.insert("ApproximateReceiveCount".to_owned(), "7".to_owned());
    assert_eq!(work_on(&world, &policy(""), batch).1.item_receives, Some(7));
}

/// A backlog of more than an hour: items of two sweeps are in one batch.
#[test]
fn two_sweeps_in_a_batch_leave_out_no_turn() {
    let at = |hour: i64| "2026-11-25T00:10:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hour);
    let missed = (0..24).filter(|number| {
        let world = World::new();
        let key = key_of(*number);
        world.push(&key, image(&key));
        world.set_scan(&key, Scan::Unavailable(guard_core::finding::NoScan::Failed));
        world.list_scans();
        let policy = policy("");
        work_on(&world, &policy, batch([repository_item()]));
        let mut looked = 0;
        for hour in (0..48).step_by(2) {
            let body = |hour| repository_item().replace("2026-11-24T11:50:00Z", &at(hour).to_string());
            world.set_now(at(hour + 1));
            looked += work_on(&world, &policy, batch([body(hour), body(hour + 1)]))
                .1
                .looks
                .looked;
        }
        looked != 2
    });
    assert_eq!(missed.count(), 0, "not once a day in two days");
}
