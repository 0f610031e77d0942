//! The ledger.

use std::time::Duration;

use serde_json::{Value, json};
use shared::{
    core::{
        ids::ImageKey,
        ledger::{Counter, Row},
        uses::{IndexState, UseRow, UseRowSchema},
    },
    ports::{FamilyRows, Ledger as _, PortError, Retry, UseLedger as _, Written},
    testing::registry_key,
};

use super::*;
use crate::canned::{Call, FakeAws, Reply};

const GET: &str = "dynamodb:GetItem";
const BATCH: &str = "dynamodb:BatchGetItem";
const PUT: &str = "dynamodb:PutItem";
const TABLE: &str = "ecr-guard-ledger";

pub(super) fn row(generation: u64, more: Value) -> Row {
    let row = json!({
        "schema": "ecr-guard/row/v1",
        "image": key(),
        "state": "Blocked",
        "reason": "CVE-2026-1234",
        "since": "2026-11-23T21:00:00Z",
        "generation": generation,
        "policy": "abc",
    });
    serde_json::from_value(with(row, more)).unwrap()
}

fn keys() -> (String, String) {
    (format!("{ACCOUNT}#{REPOSITORY}"), format!("image#{DIGEST}#us-west-2"))
}

fn item(row: &Row) -> Value {
    json!({"row": {"S": serde_json::to_string(row).unwrap()}})
}

fn read(reply: Reply) -> (FakeAws, Result<Option<Row>, PortError>) {
    let world = FakeAws::scripted([(GET, reply)]);
    let ledger = world.aws().dynamo_ledger(TABLE);
    let result = world.run(ledger.row(&key()));
    (world, result)
}

fn write(row: &Row, reply: Reply) -> (FakeAws, Result<Written, PortError>) {
    let world = FakeAws::scripted([(PUT, reply)]);
    let ledger = world.aws().dynamo_ledger(TABLE);
    let result = world.run(ledger.write(row));
    (world, result)
}

#[test]
fn a_row_is_read_with_all_writes_before_it() {
    let row = row(3, json!({}));
    let (world, result) = read(Reply::Ok(json!({"Item": item(&row)})));
    assert_eq!(result, Ok(Some(row)));
    let (pk, sk) = keys();
    assert_eq!(
        world.only_body(GET),
        json!({
            "TableName": TABLE,
            "Key": {"pk": {"S": pk}, "sk": {"S": sk}},
            "ConsistentRead": true,
            "ProjectionExpression": "#row",
            "ExpressionAttributeNames": {"#row": "row"},
        })
    );
}

#[test]
fn an_item_that_is_not_there_is_no_row() {
    assert_eq!(read(Reply::Ok(json!({}))).1, Ok(None));
}

#[test]
fn a_row_that_cannot_be_read_is_an_error_that_names_its_key() {
    let other = {
        let mut other = row(1, json!({}));
        other.image.digest = "sha256:bb".parse().unwrap();
        item(&other)
    };
    for (item, why) in [
        (json!({}), "it has no string `row`"),
        (json!({"row": {"N": "1"}}), "it has no string `row`"),
        (json!({"row": {"S": ""}}), "EOF"),
        (
            json!({"row": {"S": "{\"schema\":\"ecr-guard/row/v2\"}"}}),
            "unknown variant",
        ),
        (other, "it is the row of another image"),
    ] {
        let (_, result) = read(Reply::Ok(json!({"Item": item})));
        let error = assert_failed(result, GET, Retry::Never, "UnreadableRow");
        let (pk, sk) = keys();
        assert!(
            error.message.starts_with(&format!("row `{pk}`, `{sk}`: {why}")),
            "{error}"
        );
    }
}

fn of_digest(number: usize) -> Row {
    let mut row = row(1, json!({}));
    row.image.digest = format!("sha256:{number:064x}").parse().unwrap();
    row
}

fn batch(rows: &[Row], unprocessed: &[Row]) -> Reply {
    let key = |row: &Row| (Row::partition_key(&row.image), Row::sort_key(&row.image));
    let item = |row: &Row| {
        let (pk, sk) = key(row);
        json!({"pk": {"S": pk}, "sk": {"S": sk}, "row": {"S": serde_json::to_string(row).unwrap()}})
    };
    let left = |row: &Row| {
        let (pk, sk) = key(row);
        json!({"pk": {"S": pk}, "sk": {"S": sk}})
    };
    let items: Vec<Value> = rows.iter().map(item).collect();
    let left: Vec<Value> = unprocessed.iter().map(left).collect();
    let unprocessed = if left.is_empty() {
        json!({})
    } else {
        json!({TABLE: {"Keys": left}})
    };
    Reply::Ok(json!({"Responses": {TABLE: items}, "UnprocessedKeys": unprocessed}))
}

fn read_of(numbers: &[usize], replies: Vec<Reply>) -> (FakeAws, Result<Vec<Option<Row>>, PortError>) {
    let world = FakeAws::scripted(replies.into_iter().map(|reply| (BATCH, reply)));
    let ledger = world.aws().dynamo_ledger(TABLE);
    let keys: Vec<ImageKey> = numbers.iter().map(|number| of_digest(*number).image).collect();
    let result = world.run(ledger.rows_of(&keys));
    (world, result)
}

#[test]
fn many_rows_are_read_with_all_writes_before_them_and_come_in_the_order_that_was_asked() {
    let (world, result) = read_of(&[3, 1, 2], vec![batch(&[of_digest(1), of_digest(3)], &[])]);
    assert_eq!(result, Ok(vec![Some(of_digest(3)), Some(of_digest(1)), None]));
    let body = world.only_body(BATCH);
    let asked = &body["RequestItems"][TABLE];
    assert_eq!(
        (asked["Keys"].as_array().unwrap().len(), &asked["ConsistentRead"]),
        (3, &json!(true))
    );
    assert_eq!(read_of(&[], vec![]).1, Ok(vec![]), "nothing is asked for without a key");
}

#[test]
fn rows_that_an_answer_leaves_out_are_asked_for_again_as_long_as_it_has_some() {
    let replies = vec![batch(&[of_digest(1)], &[of_digest(2)]), batch(&[of_digest(2)], &[])];
    let (world, result) = read_of(&[1, 2], replies);
    assert_eq!(result, Ok(vec![Some(of_digest(1)), Some(of_digest(2))]));
    let calls = world.take_calls();
    assert_eq!(calls.len(), 2);
    let waits = |calls: &[Call]| -> Vec<Duration> {
        let pairs = calls.windows(2);
        pairs.map(|pair| pair[1].start - pair[0].end.unwrap()).collect()
    };
    assert_eq!(waits(&calls), [Duration::from_millis(25)]);
    // Without a row in it, an answer is what throttling looks like: a few times.
    let none = || batch(&[], &[of_digest(1), of_digest(2)]);
    let all = || batch(&[of_digest(1), of_digest(2)], &[]);
    let (world, late) = read_of(&[1, 2], vec![none(), none(), all()]);
    assert_eq!(late, Ok(vec![Some(of_digest(1)), Some(of_digest(2))]));
    assert_eq!(
        waits(&world.calls()),
        [Duration::from_millis(25), Duration::from_millis(50)]
    );
    let (world, stuck) = read_of(&[1, 2], vec![none(), none(), none()]);
    assert_failed(stuck, BATCH, Retry::Later, "UnprocessedKeys");
    assert_eq!(world.calls().len(), 3);
}

/// An item of the table with this row.
fn item_of(pk: &str, sk: &str, row: &impl serde::Serialize) -> Value {
    json!({"pk": {"S": pk}, "sk": {"S": sk}, "row": {"S": serde_json::to_string(row).unwrap()}})
}

#[test]
fn the_rows_and_the_uses_of_a_family_are_one_call() {
    let (first, second) = (of_digest(1), of_digest(2));
    let registry = registry_key();
    let used = UseRow {
        schema: UseRowSchema::V1,
        image: first.image.clone(),
        workloads: Vec::new(),
        more: Vec::new(),
        changed_at: first.since,
        since: first.since,
        gone_at: None,
        generation: 3,
    };
    let state = IndexState::new(registry.account.clone(), registry.region.clone());
    let of_row = |row: &Row| item_of(&Row::partition_key(&row.image), &Row::sort_key(&row.image), row);
    let use_key = (UseRow::partition_key(&registry.account), UseRow::sort_key(&first.image));
    let of_use = |row: &UseRow| item_of(&use_key.0, &use_key.1, row);
    let state_key = (
        IndexState::partition_key(&registry.account),
        IndexState::sort_key(&registry.region),
    );
    let of_state = |state: &Value| item_of(&state_key.0, &state_key.1, state);
    let good = json!(state);
    let images = [second.image.clone(), first.image.clone()];
    let read = |items: Vec<Value>| {
        let reply = Reply::Ok(json!({"Responses": {TABLE: items}, "UnprocessedKeys": {}}));
        let world = FakeAws::scripted([(BATCH, reply)]);
        let ledger = world.aws().dynamo_ledger(TABLE);
        let result = world.run(ledger.rows_and_uses(&images, &images, &registry));
        (world, result)
    };
    let (world, result) = read(vec![of_use(&used), of_state(&good), of_row(&first)]);
    let expected = FamilyRows {
        rows: vec![None, Some(first.clone())],
        uses: vec![used.clone()],
        state: Some(state),
    };
    assert_eq!(result, Ok(expected));
    let asked = &world.only_body(BATCH)["RequestItems"][TABLE];
    assert_eq!(
        (asked["Keys"].as_array().unwrap().len(), &asked["ConsistentRead"]),
        (5, &json!(true))
    );
    let nothing = FamilyRows {
        rows: vec![None, None],
        ..FamilyRows::default()
    };
    assert_eq!(read(vec![]).1, Ok(nothing));
    // The row of another image is none of this one, and an odd row is neither "no row" nor "nobody uses it".
    let other = UseRow {
        image: second.image.clone(),
        ..used
    };
    let odd_row = item_of(&Row::partition_key(&first.image), &Row::sort_key(&first.image), &second);
    for odd in [of_use(&other), of_state(&json!({})), odd_row] {
        assert_failed(read(vec![odd]).1, BATCH, Retry::Never, "UnreadableRow");
    }
    let without = Reply::Ok(json!({"Responses": {}, "UnprocessedKeys": {}}));
    let world = FakeAws::scripted([(BATCH, without)]);
    let result = world.run(
        world
            .aws()
            .dynamo_ledger(TABLE)
            .rows_and_uses(&images, &images, &registry),
    );
    assert_failed(result, BATCH, Retry::Later, "MalformedResponse");
}

#[test]
fn one_of_many_rows_that_cannot_be_read_is_an_error_and_not_no_row() {
    let (pk, sk) = keys();
    for item in [
        json!({"pk": {"S": pk}, "sk": {"S": sk}, "row": {"S": "{}"}}),
        json!({"pk": {"S": pk}, "sk": {"S": sk}}),
        json!({"pk": {"S": pk}, "sk": {"S": sk}, "row": {"S": serde_json::to_string(&of_digest(7)).unwrap()}}),
    ] {
        let reply = Reply::Ok(json!({"Responses": {TABLE: [item]}, "UnprocessedKeys": {}}));
        assert_failed(read_of(&[1], vec![reply]).1, BATCH, Retry::Never, "UnreadableRow");
    }
}

#[test]
fn the_first_version_is_written_where_nothing_is() {
    let row = row(1, json!({}));
    let (world, result) = write(&row, Reply::Ok(json!({})));
    assert_eq!(result, Ok(Written::Yes));
    let (pk, sk) = keys();
    assert_eq!(
        world.only_body(PUT),
        json!({
            "TableName": TABLE,
            "Item": {
                "pk": {"S": pk},
                "sk": {"S": sk},
                "state": {"S": "Blocked"},
                "generation": {"N": "1"},
                "row": {"S": serde_json::to_string(&row).unwrap()},
            },
            "ConditionExpression": "attribute_not_exists(#pk)",
            "ExpressionAttributeNames": {"#pk": "pk"},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        })
    );
}

#[test]
fn a_later_version_is_written_over_the_one_before_it() {
    let (world, result) = write(&row(8, json!({})), Reply::Ok(json!({})));
    assert_eq!(result, Ok(Written::Yes));
    let body = world.only_body(PUT);
    assert_eq!(body["Item"]["generation"], json!({"N": "8"}));
    assert_eq!(body["ConditionExpression"], "#generation = :previous");
    assert_eq!(body["ExpressionAttributeNames"], json!({"#generation": "generation"}));
    assert_eq!(body["ExpressionAttributeValues"], json!({":previous": {"N": "7"}}));
}

#[test]
fn only_the_row_of_a_deleted_image_expires() {
    let (world, _) = write(&row(2, json!({})), Reply::Ok(json!({})));
    assert_eq!(world.only_body(PUT)["Item"]["expires_at"], json!(null));
    let closed = row(2, json!({"closed_at": "2026-11-23T21:00:00Z"}));
    let (world, _) = write(&closed, Reply::Ok(json!({})));
    let expires_at = closed.expires_at().unwrap().as_second();
    assert_eq!(
        world.only_body(PUT)["Item"]["expires_at"],
        json!({"N": expires_at.to_string()})
    );
}

fn refused(item: &Value) -> Reply {
    Reply::Error {
        status: 400,
        code: "ConditionalCheckFailedException".to_owned(),
        extra: json!({"Item": item}),
    }
}

#[test]
fn a_row_that_somebody_else_wrote_is_a_conflict() {
    let mine = row(2, json!({}));
    let theirs = item(&row(2, json!({"reason": "something else"})));
    for there in [json!(null), json!({}), theirs] {
        assert_eq!(write(&mine, refused(&there)).1, Ok(Written::Conflict));
    }
}

#[test]
fn a_write_whose_answer_got_lost_is_recognised() {
    let mine = row(2, json!({}));
    let world = FakeAws::scripted([(PUT, Reply::Broken), (PUT, refused(&item(&mine)))]);
    let ledger = world.aws().dynamo_ledger(TABLE);
    assert_eq!(world.run(ledger.write(&mine)), Ok(Written::Yes));
}

#[test]
fn a_row_has_a_version_from_one_on() {
    let world = FakeAws::scripted([]);
    let ledger = world.aws().dynamo_ledger(TABLE);
    assert_failed(
        world.run(ledger.write(&row(0, json!({})))),
        PUT,
        Retry::Never,
        "InvalidRow",
    );
}

#[test]
fn every_error_of_the_table_is_passed_on() {
    for (code, retry, calls) in [
        ("InvalidEndpointException", Retry::Never, 1),
        ("ResourceNotFoundException", Retry::Never, 1),
        ("ProvisionedThroughputExceededException", Retry::Later, 3),
        ("RequestLimitExceeded", Retry::Later, 3),
        ("ThrottlingException", Retry::Later, 3),
        ("InternalServerError", Retry::Later, 3),
        // For a write only.
        ("ItemCollectionSizeLimitExceededException", Retry::Never, 1),
        ("TransactionConflictException", Retry::Later, 1),
        ("ReplicatedWriteConflictException", Retry::Later, 3),
    ] {
        let world = FakeAws::new(move |_| Reply::error(code));
        let ledger = world.aws().dynamo_ledger(TABLE);
        assert_failed(world.run(ledger.write(&row(2, json!({})))), PUT, retry, code);
        assert_eq!(world.take_calls().len(), calls, "{code}");
        assert_failed(world.run(ledger.row(&key())), GET, retry, code);
    }
}

#[test]
fn a_count_is_added_to_and_comes_back() {
    let hour = "2026-11-23T21:00:00Z".parse().unwrap();
    let count = |reply| {
        let world = FakeAws::scripted([("dynamodb:UpdateItem", reply)]);
        let ledger = world.aws().dynamo_ledger(TABLE);
        let result = world.run(ledger.count(&key(), Counter::Blocks, hour));
        (world, result)
    };
    let (world, result) = count(Reply::Ok(json!({"Attributes": {"count": {"N": "21"}}})));
    assert_eq!(result, Ok(21));
    assert_eq!(
        world.only_body("dynamodb:UpdateItem"),
        json!({
            "TableName": TABLE,
            "Key": {"pk": {"S": ACCOUNT}, "sk": {"S": "blocks#us-west-2#2026-11-23T21:00:00Z"}},
            "UpdateExpression": "ADD #count :one SET #expires_at = :expires_at",
            "ExpressionAttributeNames": {"#count": "count", "#expires_at": "expires_at"},
            "ExpressionAttributeValues": {":one": {"N": "1"}, ":expires_at": {"N": "1795640400"}},
            "ReturnValues": "UPDATED_NEW",
        })
    );
    let (_, result) = count(Reply::Ok(json!({})));
    assert_failed(result, "dynamodb:UpdateItem", Retry::Later, "MalformedResponse");
    let (_, result) = count(Reply::error("ResourceNotFoundException"));
    assert_failed(result, "dynamodb:UpdateItem", Retry::Never, "ResourceNotFoundException");
}
