//! The workers' queue.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use shared::{
    core::work::{FoundImage, Work, WorkItem, WorkSchema},
    ports::{PortError, Queue as _, Retry},
};

use super::*;
use crate::canned::{FakeAws, LATENCY, Reply, Request};

const SEND: &str = "sqs:SendMessage";
pub(super) const URL: &str = "https://sqs.us-west-2.amazonaws.com/123456789012/ecr-guard-work";

pub(super) fn item(n: usize) -> WorkItem {
    WorkItem {
        schema: WorkSchema::V1,
        sweep: "2026-11-24T12:00:00Z".parse().unwrap(),
        since: None,
        hops: 0,
        account: account(),
        region: "us-west-2".parse().unwrap(),
        work: Work::Repository {
            repository: format!("team/r{n}").parse().unwrap(),
            after: None,
            again: false,
            copies: false,
            listed: None,
            waited: 0,
        },
    }
}

fn items(n: usize) -> Vec<WorkItem> {
    (0..n).map(item).collect()
}

fn entries(request: &Request) -> &Vec<Value> {
    request.body["Entries"].as_array().unwrap()
}

fn body(entry: &Value) -> &str {
    entry["MessageBody"].as_str().unwrap()
}

/// The answer in which every message was taken, but those that `fails` gives something for.
pub(super) fn answer(request: &Request, fails: impl Fn(&str) -> Option<Value>) -> Reply {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries(request) {
        match fails(body(entry)) {
            Some(failure) => failed.push(with(json!({"Id": entry["Id"]}), failure)),
            None => successful.push(json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "0"})),
        }
    }
    Reply::Ok(json!({"Successful": successful, "Failed": failed}))
}

fn send(world: &FakeAws, items: &[WorkItem]) -> Result<(), PortError> {
    world.run(world.aws().sqs_queue(URL).send(items, Duration::ZERO))
}

/// How often each item was sent.
fn sent(world: &FakeAws) -> BTreeMap<String, usize> {
    let mut sent = BTreeMap::new();
    for call in world.calls() {
        for entry in entries(&call.request) {
            let item: WorkItem = serde_json::from_str(body(entry)).unwrap();
            let Work::Repository { repository, .. } = item.work else {
                panic!("an item that nobody sent");
            };
            *sent.entry(repository.to_string()).or_default() += 1;
        }
    }
    sent
}

#[test]
fn an_item_is_a_message_of_its_own() {
    let world = FakeAws::new(|request| answer(request, |_| None));
    assert_eq!(send(&world, &items(2)), Ok(()));
    let mut sent = world.only_body(SEND);
    for (n, entry) in sent["Entries"].as_array_mut().unwrap().iter_mut().enumerate() {
        let text = entry["MessageBody"].take();
        assert_eq!(
            serde_json::from_str::<WorkItem>(text.as_str().unwrap()).unwrap(),
            item(n)
        );
    }
    let entry = |id: &str| json!({"Id": id, "MessageBody": null, "DelaySeconds": 0});
    assert_eq!(sent, json!({"QueueUrl": URL, "Entries": [entry("0"), entry("1")]}));
}

#[test]
fn an_item_can_be_hidden_for_a_quarter_of_an_hour_at_most() {
    for (hidden_for, seconds) in [
        (Duration::from_secs(600), 600),
        (Duration::from_secs(900), 900),
        (Duration::from_secs(901), 900),
        (Duration::MAX, 900),
    ] {
        let world = FakeAws::new(|request| answer(request, |_| None));
        world
            .run(world.aws().sqs_queue(URL).send(&items(1), hidden_for))
            .unwrap();
        assert_eq!(world.only_body(SEND)["Entries"][0]["DelaySeconds"], seconds);
    }
}

#[test]
fn without_items_nothing_is_sent() {
    let world = FakeAws::scripted([]);
    assert_eq!(send(&world, &[]), Ok(()));
}

#[test]
fn ten_messages_go_together_and_four_calls_at_a_time() {
    let world = FakeAws::new(|request| answer(request, |_| None));
    assert_eq!(send(&world, &items(95)), Ok(()));
    let calls = world.calls();
    let lengths: Vec<_> = calls.iter().map(|call| entries(&call.request).len()).collect();
    assert_eq!(lengths, [10, 10, 10, 10, 10, 10, 10, 10, 10, 5]);
    let starts: Vec<_> = calls.iter().map(|call| call.start).collect();
    let of = |n: u32| n * LATENCY;
    assert_eq!(
        starts,
        [0, 0, 0, 0, 1, 1, 1, 1, 2, 2].map(of),
        "the next four when the first four are done"
    );
    assert!(sent(&world).values().all(|times| *times == 1));
    assert_eq!(sent(&world).len(), 95);
}

#[test]
fn what_sqs_failed_to_take_is_sent_again_alone() {
    for code in ["InternalError", "KMS.ThrottlingException"] {
        let failures = Arc::new(Mutex::new(2));
        let world = FakeAws::new(move |request| {
            answer(request, |text| {
                let mut left = failures.lock().unwrap();
                let fails = text.contains("team/r3") && *left > 0;
                *left -= i32::from(fails);
                // SQS counts KMS's limits as the sender's fault.
                fails.then(|| json!({"Code": code, "SenderFault": code.starts_with("KMS"), "Message": "later"}))
            })
        });
        assert_eq!(send(&world, &items(5)), Ok(()), "{code}");
        let lengths: Vec<_> = world.calls().iter().map(|call| entries(&call.request).len()).collect();
        assert_eq!(lengths, [5, 1, 1]);
        assert_eq!(sent(&world)["team/r3"], 3);
        let pauses: Vec<_> = world
            .calls()
            .windows(2)
            .map(|calls| (calls[1].start - calls[0].start - LATENCY).as_millis())
            .collect();
        assert_eq!(pauses, [250, 500]);
    }
}

#[test]
fn a_message_is_sent_three_times_at_most() {
    let world = FakeAws::new(|request| {
        answer(request, |text| {
            text.contains("team/r1\"")
                .then(|| json!({"Code": "InternalError", "SenderFault": false, "Message": "not now"}))
        })
    });
    let error = send(&world, &items(2)).unwrap_err();
    assert_eq!(
        (error.operation, error.retry, error.to_string().as_str()),
        (
            SEND,
            Retry::Later,
            "sqs:SendMessage failed with `InternalError`: not now"
        )
    );
    assert_eq!((sent(&world)["team/r0"], sent(&world)["team/r1"]), (1, 3));
}

#[test]
fn what_is_refused_is_not_sent_again_and_keeps_no_other_from_being_sent() {
    let first = Arc::new(Mutex::new(true));
    let world = FakeAws::new(move |request| {
        let first = std::mem::take(&mut *first.lock().unwrap());
        answer(request, |text| {
            let refused = text.contains("team/r0\"");
            let failed = first && text.contains("team/r1\"");
            (refused || failed).then(|| {
                let code = if refused {
                    "InvalidMessageContents"
                } else {
                    "InternalError"
                };
                json!({"Code": code, "SenderFault": refused})
            })
        })
    });
    let error = send(&world, &items(3)).unwrap_err();
    assert_eq!(
        (error.retry, error.code.as_str()),
        (Retry::Never, "InvalidMessageContents")
    );
    let times: Vec<_> = sent(&world).into_values().collect();
    assert_eq!(times, [1, 2, 1]);
}

#[test]
fn a_message_that_the_answer_does_not_name_is_not_known_to_be_sent() {
    for reply in [
        json!({}),
        json!({"Successful": [{"Id": "0", "MessageId": "m", "MD5OfMessageBody": "0"}], "Failed": []}),
        json!({"Successful": [{"Id": "7", "MessageId": "m", "MD5OfMessageBody": "0"}], "Failed": []}),
    ] {
        let world = FakeAws::scripted([(SEND, Reply::Ok(reply))]);
        assert_failed(send(&world, &items(2)), SEND, Retry::Later, "MalformedResponse");
    }
}

#[test]
fn every_error_of_a_queue_is_passed_on() {
    for (code, retry, calls) in [
        ("AWS.SimpleQueueService.NonExistentQueue", Retry::Never, 1),
        ("AWS.SimpleQueueService.UnsupportedOperation", Retry::Never, 1),
        ("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", Retry::Never, 1),
        ("AWS.SimpleQueueService.BatchRequestTooLong", Retry::Never, 1),
        ("AWS.SimpleQueueService.EmptyBatchRequest", Retry::Never, 1),
        ("AWS.SimpleQueueService.InvalidBatchEntryId", Retry::Never, 1),
        ("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", Retry::Never, 1),
        ("AccessDeniedException", Retry::Never, 1),
        ("InvalidAddress", Retry::Never, 1),
        ("InvalidSecurity", Retry::Never, 1),
        ("KMS.AccessDeniedException", Retry::Never, 1),
        ("KMS.DisabledException", Retry::Never, 1),
        ("KMS.InvalidKeyUsageException", Retry::Never, 1),
        ("KMS.InvalidStateException", Retry::Never, 1),
        ("KMS.NotFoundException", Retry::Never, 1),
        ("KMS.OptInRequired", Retry::Never, 1),
        ("KMS.ThrottlingException", Retry::Later, 1),
        ("KmsThrottled", Retry::Later, 1),
        ("RequestThrottled", Retry::Later, 3),
        ("ThrottlingException", Retry::Later, 3),
        ("InternalError", Retry::Later, 3),
    ] {
        let world = FakeAws::new(move |_| Reply::error(code));
        assert_failed(send(&world, &items(1)), SEND, retry, code);
        assert_eq!(world.calls().len(), calls, "{code}");
    }
}

#[test]
fn what_inspector_found_goes_back_into_its_own_queue() {
    let findings = "https://sqs.us-west-2.amazonaws.com/123456789012/ecr-guard-findings";
    let world = FakeAws::new(|request| answer(request, |_| None));
    let found = WorkItem {
        work: Work::Findings {
            repository: repository(),
            images: vec![FoundImage {
                digest: key().digest,
                epss: Vec::new(),
            }],
        },
        ..item(1)
    };
    let queue = world.aws().sqs_queue(URL).with_findings(findings);
    world.run(queue.send(&[found, item(2)], Duration::ZERO)).unwrap();
    let calls = world.calls();
    let kinds = calls.iter().map(|call| {
        let item: Value = serde_json::from_str(body(&entries(&call.request)[0])).unwrap();
        (call.request.body["QueueUrl"].clone(), item["work"]["kind"].clone())
    });
    assert_eq!(
        kinds.collect::<Vec<_>>(),
        [(json!(URL), json!("repository")), (json!(findings), json!("findings"))]
    );
}

#[test]
fn what_waits_is_what_nobody_has_taken() {
    let attributes = |one: Value, two: Value| json!({"Attributes": {"ApproximateNumberOfMessages": one, "ApproximateNumberOfMessagesDelayed": two}});
    let ask = |reply: Value| {
        let world = FakeAws::new(move |_| Reply::Ok(reply.clone()));
        let waiting = world.run(world.aws().sqs_queue(URL).waiting());
        let asked = world.only_body("sqs:GetQueueAttributes");
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"];
        assert_eq!(asked, json!({"QueueUrl": URL, "AttributeNames": names}));
        waiting
    };
    assert_eq!(ask(attributes(json!("12"), json!("30"))), Ok(42));
    for reply in [json!({}), attributes(json!("12"), json!("many"))] {
        assert_eq!(ask(reply).unwrap_err().code, "MalformedResponse");
    }
}
