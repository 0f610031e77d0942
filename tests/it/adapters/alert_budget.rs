//! The counts and kept alerts in the ledger.

use serde_json::{Value, json};
use shared::core::{
    alert::{
        brief::BriefAlert,
        budget::{Budget, Slot},
    },
    ids::{RegistryKey, TopicArn},
    told::ToldFindings,
};
use shared::{
    ports::{AlertLedger as _, Ledger as _, PortError, Retry, Written},
    testing,
};

use super::*;
use crate::canned::{FakeAws, Reply};

const UPDATE: &str = "dynamodb:UpdateItem";
const PUT: &str = "dynamodb:PutItem";
const GET: &str = "dynamodb:GetItem";
const DELETE: &str = "dynamodb:DeleteItem";
const TABLE: &str = "ecr-guard-ledger";
const TOPIC: &str = "arn:aws:sns:us-west-2:123456789012:alerts";

fn topic() -> TopicArn {
    TOPIC.parse().unwrap()
}

fn registry() -> RegistryKey {
    RegistryKey {
        account: account(),
        region: "us-west-2".parse().unwrap(),
    }
}

fn brief(id: &str) -> BriefAlert {
    let brief = json!({"schema": "ecr-guard/brief-alert/v1", "topic": TOPIC, "id": id, "kind": "image-review",
        "severity": "HIGH", "time": "2026-11-24T12:00:00Z", "registry": registry(), "repository": REPOSITORY,
        "digest": DIGEST, "tag": "v1.2.3", "title": "a title"});
    serde_json::from_value(brief).unwrap()
}

fn take(reply: Reply) -> (FakeAws, Result<Slot, PortError>) {
    let world = FakeAws::scripted([(UPDATE, reply)]);
    let ledger = world.aws().dynamo_ledger(TABLE);
    let budget = Budget {
        per_hour: 20,
        per_day: 60,
    };
    let result = world.run(ledger.take_slot(&registry(), &topic(), budget, testing::now()));
    (world, result)
}

#[test]
fn a_slot_is_taken_where_hour_and_day_have_room() {
    let (world, result) = take(Reply::Ok(json!({})));
    assert_eq!(result, Ok(Slot::Single));
    let body = world.only_body(UPDATE);
    let sk = body["Key"]["sk"]["S"].as_str().unwrap();
    assert!(
        sk.starts_with("alerts#us-west-2#") && sk.ends_with("#2026-11-24T00:00:00Z"),
        "{sk}"
    );
    assert_eq!(body["Key"]["pk"]["S"], ACCOUNT);
    assert_eq!(
        body["ConditionExpression"],
        "(attribute_not_exists(#count) OR #count < :per_day) AND (attribute_not_exists(#hour) OR #hour < :per_hour)"
    );
    assert_eq!(body["ExpressionAttributeNames"]["#hour"], "h12");
    assert_eq!(
        body["ExpressionAttributeValues"],
        json!({":one": {"N": "1"}, ":per_day": {"N": "60"}, ":per_hour": {"N": "20"}, ":expires_at": {"N": "1795737600"}})
    );
}

#[test]
fn a_budget_that_is_used_up_is_an_answer_and_no_error() {
    assert_eq!(
        take(Reply::error("ConditionalCheckFailedException")).1,
        Ok(Slot::Summary)
    );
    let (_, result) = take(Reply::error("ResourceNotFoundException"));
    assert_failed(result, UPDATE, Retry::Never, "ResourceNotFoundException");
}

#[test]
fn the_same_alert_is_kept_once() {
    let world = FakeAws::scripted([(PUT, Reply::Ok(json!({})))]);
    let ledger = world.aws().dynamo_ledger(TABLE);
    world.run(ledger.keep_alert(&brief("one"))).unwrap();
    let body = world.only_body(PUT);
    assert_eq!(
        body["ConditionExpression"],
        Value::Null,
        "its key is its id: to write it again changes nothing"
    );
    assert_eq!(body["Item"]["sk"]["S"], brief("one").sort_key());
    assert!(body["Item"]["sk"]["S"].as_str().unwrap().ends_with("#one"));
    assert_eq!(body["Item"]["expires_at"]["N"], "1796731200");
    let kept: BriefAlert = serde_json::from_str(body["Item"]["row"]["S"].as_str().unwrap()).unwrap();
    assert_eq!(kept, brief("one"));
}

#[test]
fn the_first_image_that_asks_has_the_alert_about_the_limit() {
    let claimed = |told_by: Value| {
        let world = FakeAws::scripted([(UPDATE, Reply::Ok(json!({"Attributes": {"told_by": told_by}})))]);
        let ledger = world.aws().dynamo_ledger(TABLE);
        let result = world.run(ledger.claim_limit(&key(), "2026-11-24T12:00:00Z".parse().unwrap()));
        (world.only_body(UPDATE), result)
    };
    let image = format!("{REPOSITORY}@{DIGEST}");
    let (body, first) = claimed(json!({"S": image}));
    assert_eq!(first, Ok(true), "and whenever it asks again");
    assert_eq!(
        body["UpdateExpression"],
        "SET #told_by = if_not_exists(#told_by, :image), #expires_at = :expires_at"
    );
    assert_eq!(body["Key"]["sk"]["S"], "blocks-refused#us-west-2#2026-11-24T12:00:00Z");
    assert_eq!(claimed(json!({"S": "another@sha256:00"})).1, Ok(false));
    assert_failed(claimed(json!({"N": "1"})).1, UPDATE, Retry::Later, "MalformedResponse");
}

#[test]
fn every_alert_that_was_named_is_forgotten() {
    let alerts: Vec<BriefAlert> = (0..30).map(|number| brief(&number.to_string())).collect();
    let world = FakeAws::scripted(alerts.iter().map(|_| (DELETE, Reply::Ok(json!({})))));
    let ledger = world.aws().dynamo_ledger(TABLE);
    world.run(ledger.forget_alerts(&alerts)).unwrap();
    let calls = world.calls();
    let deleted: std::collections::BTreeSet<String> = calls
        .iter()
        .map(|call| call.request.body["Key"]["sk"]["S"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(deleted, alerts.iter().map(BriefAlert::sort_key).collect());
}

#[test]
fn the_record_of_alerts_of_a_repository_is_a_row_of_its_own() {
    let world = FakeAws::scripted([(GET, Reply::Ok(json!({})))]);
    let ledger = world.aws().dynamo_ledger(TABLE);
    let told = world.run(ledger.told(&repository_key())).unwrap();
    assert_eq!(told, ToldFindings::none(repository_key()));
    assert_eq!(world.only_body(GET)["Key"]["sk"]["S"], "told#us-west-2");

    let finding = testing::recorded("CVE-2026-1", shared::core::finding::Severity::High);
    let told = told.with([&finding], testing::now()).unwrap();
    let world = FakeAws::scripted([(PUT, Reply::Ok(json!({})))]);
    let ledger = world.aws().dynamo_ledger(TABLE);
    assert_eq!(world.run(ledger.write_told(&told)), Ok(Written::Yes));
    assert_eq!(world.only_body(PUT)["Item"]["generation"]["N"], "1");
}
