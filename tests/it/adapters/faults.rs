//! The faults that any call can have, tried with every operation.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use serde_json::json;
use shared::core::ids::RegistryKey;
use shared::ports::{
    Ledger as _, Listing as _, Notifier as _, PortError, Queue as _, Registry as _, RegistryWriter as _,
    Replication as _, ReplicationWriter as _, Retry, Scanner as _, SweepLedger as _,
};

use super::*;
use crate::canned::{FakeAws, Reply};

/// Every operation that an adapter calls.
const OPERATIONS: [&str; 23] = [
    "ecr:DescribeImages",
    "ecr:BatchGetRepositoryScanningConfiguration",
    "ecr:DescribeImageScanFindings",
    "ecr:UpdateImageStorageClass",
    "ecr:BatchGetImage",
    "ecr:PutImage",
    "ecr:BatchDeleteImage",
    "ecr:StartImageScan",
    "ecr:DescribeRepositories",
    "ecr:GetRegistryScanningConfiguration",
    "ecr:DescribeRegistry",
    "ecr:GetSigningConfiguration",
    "ecr:DescribeImageReplicationStatus",
    "ecr:ListReplicationBackfills",
    "ecr:DescribeReplicationBackfillResults",
    "ecr:StartReplicationBackfill",
    "dynamodb:BatchGetItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "sns:Publish",
    "sqs:GetQueueAttributes",
    "sqs:SendMessage",
];

fn good(operation: &str) -> Reply {
    Reply::Ok(match operation {
        "ecr:DescribeRepositories" => json!({"repositories": []}),
        "dynamodb:Query" => json!({"Items": []}),
        "dynamodb:BatchGetItem" => json!({"Responses": {"table": []}, "UnprocessedKeys": {}}),
        "ecr:DescribeImages" => json!({"imageDetails": [{"imageDigest": DIGEST, "imageTags": ["v1", "v2"]}]}),
        "ecr:BatchGetRepositoryScanningConfiguration" => {
            json!({"scanningConfigurations": [{"repositoryName": REPOSITORY, "scanFrequency": "MANUAL"}]})
        }
        "ecr:DescribeImageScanFindings" => {
            json!({"imageScanStatus": {"status": "COMPLETE"}, "imageScanFindings": {"findings": []}})
        }
        "ecr:UpdateImageStorageClass" => json!({"imageStatus": "ARCHIVED"}),
        "ecr:BatchGetImage" => json!({"images": [{"imageId": {"imageDigest": DIGEST}, "imageManifest": "{}"}]}),
        "ecr:GetRegistryScanningConfiguration" => json!({"scanningConfiguration": {"scanType": "BASIC"}}),
        "ecr:DescribeRegistry" => json!({"replicationConfiguration": {"rules": []}}),
        "ecr:GetSigningConfiguration" => json!({"signingConfiguration": {"rules": []}}),
        "ecr:DescribeImageReplicationStatus" => json!({"replicationStatuses": []}),
        "ecr:ListReplicationBackfills" => json!({"backfills": []}),
        "ecr:StartReplicationBackfill" => json!({"replicationBackfillId": "b-1"}),
        "sns:Publish" => json!({"MessageId": "m-1"}),
        "sqs:SendMessage" => {
            json!({"Successful": [{"Id": "0", "MessageId": "m-1", "MD5OfMessageBody": "0"}], "Failed": []})
        }
        "sqs:GetQueueAttributes" => {
            json!({"Attributes": {"ApproximateNumberOfMessages": "1", "ApproximateNumberOfMessagesDelayed": "2"}})
        }
        "ecr:DescribeReplicationBackfillResults" => json!({"results": []}),
        _ => json!({}),
    })
}

/// Makes the port call that causes the operation.
fn call(world: &FakeAws, operation: &str) -> Result<(), PortError> {
    let aws = world.aws();
    let (registry, writer) = (aws.ecr_registry(account()), aws.ecr_writer(account()));
    let ledger = aws.dynamo_ledger("table");
    world.run(async {
        match operation {
            "ecr:DescribeImages" => registry.image(&repository(), &by_digest()).await.map(drop),
            "ecr:BatchGetRepositoryScanningConfiguration" => registry.scan_trigger(&repository()).await.map(drop),
            "ecr:DescribeImageScanFindings" => registry.scan(&key()).await.map(drop),
            "ecr:UpdateImageStorageClass" => writer.archive(&key()).await.map(drop),
            "ecr:BatchGetImage" => writer.manifest_to_put(&key()).await.map(drop),
            "ecr:PutImage" => writer.put(&key(), &ecr_write::whole(), &"b".parse().unwrap()).await,
            "ecr:BatchDeleteImage" => {
                let tags = ["v1".parse().unwrap()];
                writer.remove_tags(&repository_key(), &tags).await.map(drop)
            }
            "ecr:StartImageScan" => writer.start_scan(&key()).await.map(drop),
            "ecr:DescribeRepositories" => registry.repositories(None).await.map(drop),
            "ecr:GetRegistryScanningConfiguration" | "ecr:DescribeRegistry" | "ecr:GetSigningConfiguration" => {
                registry.settings().await.map(drop)
            }
            "ecr:DescribeImageReplicationStatus" => aws.ecr_elsewhere(account()).copies(&key()).await.map(drop),
            "ecr:ListReplicationBackfills" => aws.ecr_elsewhere(account()).backfills().await.map(drop),
            "ecr:DescribeReplicationBackfillResults" => {
                aws.ecr_elsewhere(account()).backfill_failures("b-1", 1).await.map(drop)
            }
            "ecr:StartReplicationBackfill" => {
                let from = RegistryKey {
                    account: account(),
                    region: "us-west-2".parse().unwrap(),
                };
                let to = "us-east-1".parse().unwrap();
                aws.ecr_backfills(account()).start_backfill(&from, &to).await.map(drop)
            }
            "dynamodb:Query" => ledger.rows(&repository_key(), None).await.map(drop),
            "sqs:GetQueueAttributes" => aws.sqs_queue(sqs::URL).waiting().await.map(drop),
            "sqs:SendMessage" => {
                aws.sqs_queue(sqs::URL)
                    .send(&[sqs::item(1)], std::time::Duration::ZERO)
                    .await
            }
            "dynamodb:BatchGetItem" => ledger.rows_of(&[key()]).await.map(drop),
            "dynamodb:GetItem" => ledger.row(&key()).await.map(drop),
            "dynamodb:PutItem" => ledger.write(&dynamodb::row(1, json!({}))).await.map(drop),
            "sns:Publish" => {
                let topic = sns::TOPIC.parse().unwrap();
                aws.sns_notifier().publish(&topic, &sns::alert()).await.map(drop)
            }
            other => panic!("nobody calls `{other}`"),
        }
    })
}

/// A world in which an operation meets these faults first, and all goes well otherwise.
fn faulty(operation: &'static str, faults: Vec<Reply>) -> FakeAws {
    let faults = Mutex::new(VecDeque::from(faults));
    FakeAws::new(move |request| {
        let fault = (request.operation == operation)
            .then(|| faults.lock().unwrap().pop_front())
            .flatten();
        fault.unwrap_or_else(|| good(&request.operation))
    })
}

fn throttled(operation: &str) -> Reply {
    Reply::error(if operation.starts_with("sns:") {
        "Throttling"
    } else {
        "ThrottlingException"
    })
}

#[test]
fn all_goes_well() {
    for operation in OPERATIONS {
        let world = faulty(operation, vec![]);
        assert_eq!(call(&world, operation), Ok(()), "{operation}");
        assert_eq!(world.count(operation), 1, "{operation}");
    }
}

/// The operation that is sent once: after a lost answer, a tag may be another image's.
const ONCE: &str = "ecr:BatchDeleteImage";

fn tried_again() -> impl Iterator<Item = &'static str> {
    OPERATIONS.into_iter().filter(|operation| *operation != ONCE)
}

#[test]
fn a_removal_of_tags_is_sent_once() {
    for (fault, code) in [
        (throttled(ONCE), "ThrottlingException"),
        (Reply::error("ServiceUnavailable"), "ServiceUnavailable"),
        (Reply::Broken, "Dispatch"),
        (Reply::Silence, "Timeout"),
    ] {
        let world = faulty(ONCE, vec![fault]);
        assert_failed(call(&world, ONCE), ONCE, Retry::Later, code);
        assert_eq!(world.count(ONCE), 1, "{code}");
    }
}

#[test]
fn what_passes_is_tried_again() {
    for operation in tried_again() {
        for fault in [
            throttled(operation),
            Reply::error("ServiceUnavailable"),
            Reply::Raw(502, "<html>bad gateway</html>".to_owned()),
            Reply::Broken,
            Reply::Silence,
        ] {
            let world = faulty(operation, vec![fault.clone()]);
            assert_eq!(call(&world, operation), Ok(()), "{operation} {fault:?}");
            assert_eq!(world.count(operation), 2, "{operation} {fault:?}");
        }
    }
}

#[test]
fn what_does_not_pass_is_tried_three_times_and_left_for_later() {
    for operation in tried_again() {
        let throttling = if operation.starts_with("sns:") {
            "Throttling"
        } else {
            "ThrottlingException"
        };
        for (fault, code) in [
            (throttled(operation), throttling),
            (Reply::error("ServiceUnavailable"), "ServiceUnavailable"),
            (Reply::Raw(503, String::new()), "Http503"),
            (Reply::Broken, "Dispatch"),
        ] {
            let world = faulty(operation, vec![fault; 3]);
            assert_failed(call(&world, operation), operation, Retry::Later, code);
            assert_eq!(world.count(operation), 3, "{operation} {code}");
        }
    }
}

/// The list, which has more time than the others.
const LIST: &str = "ecr:DescribeRepositories";

#[test]
fn an_attempt_has_five_seconds_and_one_for_a_list_ten() {
    for operation in tried_again() {
        let world = faulty(operation, vec![Reply::Silence]);
        assert_eq!(call(&world, operation), Ok(()), "{operation}");
        let starts: Vec<Duration> = world
            .calls()
            .iter()
            .filter(|call| call.request.operation == operation)
            .map(|call| call.start)
            .collect();
        let between = starts[1] - starts[0];
        let time = if operation == LIST { 10.0 } else { 5.0 };
        // And up to a second of backoff after it.
        assert!(
            (time..=time + 1.0).contains(&between.as_secs_f64()),
            "{operation}: {between:?}"
        );
    }
}

#[test]
fn silence_ends_before_the_function_does() {
    for operation in OPERATIONS {
        let world = faulty(operation, vec![Reply::Silence; 3]);
        let error = assert_failed(call(&world, operation), operation, Retry::Later, "Timeout");
        assert!(error.message.contains("timed out"), "{error}");
        let time = if operation == LIST { 26 } else { 13 };
        assert!(
            world.clock().elapsed() <= Duration::from_secs(time),
            "{operation}: {:?}",
            world.clock()
        );
    }
}

#[test]
fn an_answer_that_cannot_be_read_is_a_failure() {
    for operation in OPERATIONS {
        // No part of the answers of these four is read.
        let ignored = [
            "ecr:PutImage",
            "ecr:StartImageScan",
            "dynamodb:PutItem",
            "ecr:BatchDeleteImage",
        ];
        for body in ["", "{\"imageDetails\": [", "<html>", "[1, 2]"] {
            let world = faulty(operation, vec![Reply::Raw(200, body.to_owned())]);
            let result = call(&world, operation);
            // An empty body is an empty document in the JSON protocol.
            if body.is_empty() && (ignored.contains(&operation) || operation == "dynamodb:GetItem") {
                assert_eq!(result, Ok(()), "{operation}");
            } else if body.is_empty() && operation == "ecr:DescribeImageScanFindings" {
                assert_eq!(result, Ok(()), "a status that is missing is an answer: {operation}");
            } else {
                assert_failed(result, operation, Retry::Later, "MalformedResponse");
                assert_eq!(world.count(operation), 1, "{operation} `{body}`");
            }
        }
    }
}

#[test]
fn what_is_denied_is_denied_once() {
    for operation in OPERATIONS {
        let code = if operation.starts_with("sns:") {
            "AuthorizationError"
        } else {
            "AccessDeniedException"
        };
        let world = faulty(operation, vec![Reply::error(code)]);
        assert_failed(call(&world, operation), operation, Retry::Never, code);
        assert_eq!(world.count(operation), 1, "{operation}");

        let world = faulty(operation, vec![Reply::Raw(403, "{}".to_owned())]);
        let error = call(&world, operation).unwrap_err();
        assert_eq!((error.retry, error.operation), (Retry::Never, operation));
    }
}

#[test]
fn credentials_that_have_expired_are_somebody_elses_to_try_with() {
    for operation in OPERATIONS {
        for code in ["ExpiredTokenException", "ExpiredToken", "RequestExpired"] {
            let world = faulty(operation, vec![Reply::error(code); 3]);
            assert_failed(call(&world, operation), operation, Retry::Later, code);
        }
    }
}

#[test]
fn a_failure_names_the_request_and_nothing_else_of_the_answer() {
    for operation in OPERATIONS {
        let world = faulty(operation, vec![Reply::error("AccessDeniedException")]);
        let error = call(&world, operation).unwrap_err();
        assert_eq!(error.request_id.as_deref(), Some(crate::canned::REQUEST_ID));
        assert_eq!(
            error.to_string(),
            format!(
                "{operation} failed with `AccessDeniedException`: the service says AccessDeniedException (request {})",
                crate::canned::REQUEST_ID
            )
        );
    }
}
