//! How clients of a sweep differ from those of functions that an event invokes: attempts, time, rate, budget.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::json;
use shared::{
    aws::Aws,
    ports::{Keys as _, Ledger as _, Listing as _, Notifier as _, PortError, Queue as _, Retry},
};

use super::*;
use crate::canned::{FakeAws, LATENCY, Reply};

const LIST: &str = "ecr:DescribeRepositories";

/// One call to each service.
const OPERATIONS: [&str; 5] = [
    LIST,
    "dynamodb:GetItem",
    "kms:DescribeKey",
    "sns:Publish",
    "sqs:SendMessage",
];

fn call(world: &FakeAws, aws: &Aws, operation: &str) -> Result<(), PortError> {
    world.run(async {
        match operation {
            LIST => aws.ecr_registry(account()).repositories(None).await.map(drop),
            "dynamodb:GetItem" => aws.dynamo_ledger("table").row(&key()).await.map(drop),
            "kms:DescribeKey" => {
                let key = "arn:aws:kms:us-west-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
                aws.kms_keys().key(&key.parse().unwrap()).await.map(drop)
            }
            "sns:Publish" => {
                let topic = sns::TOPIC.parse().unwrap();
                aws.sns_notifier().publish(&topic, &sns::alert()).await.map(drop)
            }
            "sqs:SendMessage" => {
                aws.sqs_queue(sqs::URL)
                    .send(&[sqs::item(1)], std::time::Duration::ZERO)
                    .await
            }
            other => panic!("nobody calls `{other}`"),
        }
    })
}

fn throttled(operation: &str) -> Reply {
    Reply::error(if operation.starts_with("sns:") {
        "Throttling"
    } else {
        "ThrottlingException"
    })
}

fn good(operation: &str) -> Reply {
    Reply::Ok(match operation {
        LIST => json!({"repositories": []}),
        "kms:DescribeKey" => json!({"KeyMetadata": {"KeyId": "k", "KeyManager": "AWS", "KeyState": "Enabled"}}),
        "sns:Publish" => json!({"MessageId": "m-1"}),
        "sqs:SendMessage" => json!({"Successful": [{"Id": "0", "MessageId": "m", "MD5OfMessageBody": "0"}]}),
        _ => json!({}),
    })
}

/// A world in which the first `faults` calls are throttled.
fn throttling(faults: usize) -> FakeAws {
    let calls = AtomicUsize::new(0);
    FakeAws::new(move |request| {
        if calls.fetch_add(1, Ordering::SeqCst) < faults {
            throttled(&request.operation)
        } else {
            good(&request.operation)
        }
    })
}

#[test]
fn a_sweep_tries_more_often() {
    for operation in OPERATIONS {
        let world = throttling(3);
        assert!(call(&world, &world.aws(), operation).is_err(), "{operation}");
        assert_eq!(world.count(operation), 3, "{operation}");

        let world = throttling(3);
        let aws = world.aws().for_sweeps();
        assert_eq!(call(&world, &aws, operation), Ok(()), "{operation}");
        assert_eq!(world.count(operation), 4, "{operation}");
    }
}

#[test]
fn a_list_has_time_for_eight_attempts() {
    let world = throttling(7);
    let aws = world.aws().for_sweeps();
    assert_eq!(call(&world, &aws, LIST), Ok(()));
    assert_eq!(world.count(LIST), 8);

    let world = throttling(8);
    let aws = world.aws().for_sweeps();
    assert_failed(call(&world, &aws, LIST), LIST, Retry::Later, "ThrottlingException");
    assert_eq!(world.count(LIST), 8);
}

#[test]
fn silence_ends_before_a_claim_does() {
    let world = FakeAws::new(|_| Reply::Silence);
    let aws = world.aws().for_sweeps();
    for operation in OPERATIONS {
        let before = world.clock().elapsed();
        assert_failed(call(&world, &aws, operation), operation, Retry::Later, "Timeout");
        let seconds = (world.clock().elapsed() - before).as_secs();
        // A claim is trusted for 45 seconds; up to three calls follow it, and none of them is a list.
        assert_eq!(seconds, if operation == LIST { 25 } else { 12 }, "{operation}");
    }
}

#[test]
fn after_a_throttled_call_the_others_of_a_sweep_slow_down() {
    let ten_more = |aws: fn(Aws) -> Aws| {
        let world = throttling(2);
        let aws = aws(world.aws());
        for _ in 0..3 {
            assert_eq!(call(&world, &aws, LIST), Ok(()));
        }
        let before = world.clock().elapsed();
        for _ in 0..10 {
            assert_eq!(call(&world, &aws, LIST), Ok(()));
        }
        world.clock().elapsed() - before
    };
    assert_eq!(ten_more(|aws| aws), 10 * LATENCY);
    let slow = ten_more(Aws::for_sweeps);
    assert!(slow > Duration::from_secs(1), "{slow:?}");
}

#[test]
fn a_sweep_has_a_budget_of_its_own() {
    // A call that is throttled long enough is not tried again any more.
    let world = FakeAws::new(|request| throttled(&request.operation));
    let aws = world.aws().for_sweeps();
    let mut calls = 0;
    while call(&world, &aws, "dynamodb:GetItem").is_err() && world.take_calls().len() > 1 {
        calls += 1;
        assert!(calls < 1000, "the budget has no end");
    }
    // Nobody else notices.
    for aws in [|aws: Aws| aws, Aws::for_sweeps] {
        let world = throttling(2);
        assert_eq!(call(&world, &aws(world.aws()), "dynamodb:GetItem"), Ok(()));
    }
}

#[test]
fn a_sweep_stays_one_whatever_is_set_after() {
    let world = throttling(7);
    let (sleep, time) = (world.clock().clone(), world.clock().clone());
    let aws = Aws::from_env(&|name| crate::canned::environment(name, &[]))
        .unwrap()
        .for_sweeps()
        .with_http_client(world.http_client())
        .with_time(
            aws_smithy_async::rt::sleep::SharedAsyncSleep::new(sleep),
            aws_smithy_async::time::SharedTimeSource::new(time),
        );
    assert_eq!(call(&world, &aws, LIST), Ok(()));
    assert_eq!(world.calls().len(), 8);
}
