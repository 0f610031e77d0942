//! The lists of the ledger, summaries and the row of a registry.

use serde_json::{Value, json};
use shared::core::{
    ids::{ImageKey, RegistryKey},
    ledger::Row,
    registry::RegistryRow,
    summary::RepositorySummary,
};
use shared::ports::{Page, PortError, Retry, SweepLedger as _, Written};

use super::{dynamodb::row, *};
use crate::canned::{FakeAws, Reply};

const QUERY: &str = "dynamodb:Query";
const GET: &str = "dynamodb:GetItem";
const PUT: &str = "dynamodb:PutItem";
const TABLE: &str = "ecr-guard-ledger";

fn registry() -> RegistryKey {
    RegistryKey {
        account: account(),
        region: "us-west-2".parse().unwrap(),
    }
}

fn summary(repository: &str, region: &str) -> RepositorySummary {
    let summary = json!({"schema": "ecr-guard/summary/v1", "generation": 1, "images": 3, "bytes": 1234,
        "repository": {"account": ACCOUNT, "region": region, "repository": repository}, "states": {"Allowed": 2, "Blocked": 1}});
    serde_json::from_value(summary).unwrap()
}

fn item(sk: &str, row: &Value) -> Value {
    json!({"sk": {"S": sk}, "row": {"S": row.to_string()}})
}

fn row_of(digest: &str, region: &str) -> (Row, Value) {
    let mut row = row(1, json!({}));
    row.image = ImageKey {
        digest: digest.parse().unwrap(),
        region: region.parse().unwrap(),
        ..key()
    };
    let item = item(&format!("image#{digest}#{region}"), &json!(row));
    (row, item)
}

fn rows(after: Option<&str>, reply: Reply) -> (FakeAws, Result<Page<Row>, PortError>) {
    let world = FakeAws::scripted([(QUERY, reply)]);
    let ledger = world.aws().dynamo_ledger(TABLE);
    let result = world.run(ledger.rows(&repository_key(), after));
    (world, result)
}

fn summaries(after: Option<&str>, reply: Reply) -> (FakeAws, Result<Page<RepositorySummary>, PortError>) {
    let world = FakeAws::scripted([(QUERY, reply)]);
    let ledger = world.aws().dynamo_ledger(TABLE);
    let result = world.run(ledger.summaries(&registry(), after));
    (world, result)
}

#[test]
fn the_rows_of_a_repository_come_from_all_regions_page_by_page() {
    let ((here, item_here), (there, item_there)) = (row_of("sha256:aa", "us-west-2"), row_of("sha256:aa", "us-east-1"));
    let last = json!({"pk": {"S": "123456789012#team/api"}, "sk": {"S": "image#sha256:aa#us-west-2"}});
    let (world, page) = rows(
        None,
        Reply::Ok(json!({"Items": [item_there, item_here], "LastEvaluatedKey": last})),
    );
    let next = "image#sha256:aa#us-west-2";
    assert_eq!(
        page.unwrap(),
        Page {
            items: vec![there, here],
            unreadable: vec![],
            next: Some(next.to_owned()),
        }
    );
    let asked = json!({
        "TableName": TABLE,
        "KeyConditionExpression": "#pk = :pk AND begins_with(#sk, :prefix)",
        "ProjectionExpression": "#sk, #row",
        "ExpressionAttributeNames": {"#pk": "pk", "#sk": "sk", "#row": "row"},
        "ExpressionAttributeValues": {":pk": {"S": "123456789012#team/api"}, ":prefix": {"S": "image#"}},
    });
    assert_eq!(world.only_body(QUERY), asked);

    for end in [json!({"Items": []}), json!({"Items": [], "LastEvaluatedKey": {}})] {
        let (world, page) = rows(Some(next), Reply::Ok(end));
        assert_eq!(page.unwrap().next, None);
        assert_eq!(
            world.only_body(QUERY),
            with(asked.clone(), json!({"ExclusiveStartKey": last}))
        );
    }
}

#[test]
fn the_summaries_of_a_registry_are_those_of_its_region() {
    let (api, web) = (summary("team/api", "us-west-2"), summary("web", "us-west-2"));
    let items = [
        item("summary#us-west-2#team/api", &json!(api)),
        item("summary#us-west-2#web", &json!(web)),
    ];
    let (world, page) = summaries(Some("summary#us-west-2#a"), Reply::Ok(json!({"Items": items})));
    assert_eq!(page.unwrap().items, [api, web]);
    let body = world.only_body(QUERY);
    assert_eq!(
        body["ExpressionAttributeValues"],
        json!({":pk": {"S": ACCOUNT}, ":prefix": {"S": "summary#us-west-2#"}})
    );
    assert_eq!(
        body["ExclusiveStartKey"],
        json!({"pk": {"S": ACCOUNT}, "sk": {"S": "summary#us-west-2#a"}})
    );
}

#[test]
fn a_row_that_cannot_be_read_does_not_hide_the_others() {
    let (good, item_good) = row_of("sha256:aa", "us-west-2");
    let bad = |sk: &str, row: Value| json!({"sk": {"S": sk}, "row": row});
    let items = [
        bad("image#sha256:01#us-west-2", json!(null)),
        bad(
            "image#sha256:02#us-west-2",
            json!({"S": "{\"schema\":\"ecr-guard/row/v2\"}"}),
        ),
        item_good.clone(),
        bad("image#sha256:03#us-west-2", item_good["row"].clone()),
    ];
    let items: Vec<Value> = items
        .into_iter()
        .map(|mut item| {
            item.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            item
        })
        .collect();
    let (_, page) = rows(
        None,
        Reply::Ok(json!({"Items": items, "LastEvaluatedKey": {"sk": {"S": "image#sha256:03#us-west-2"}}})),
    );
    let page = page.unwrap();
    assert_eq!(page.items, [good]);
    assert_eq!(
        page.next.as_deref(),
        Some("image#sha256:03#us-west-2"),
        "the list goes on"
    );
    assert_eq!(page.unreadable.len(), 3);
    for (error, (n, why)) in page.unreadable.iter().zip([
        (1, "it has no string `row`"),
        (2, "unknown variant"),
        (3, "it is the row of another image"),
    ]) {
        assert_eq!((error.operation, error.retry), (QUERY, Retry::Never));
        assert_eq!(error.code, "UnreadableRow");
        let place = format!("row `123456789012#team/api`, `image#sha256:0{n}#us-west-2`: {why}");
        assert!(error.message.starts_with(&place), "{error}");
    }
}

#[test]
fn a_summary_that_cannot_be_read_does_not_hide_the_others() {
    let (api, web) = (summary("team/api", "us-west-2"), summary("web", "us-west-2"));
    let items = [
        item("summary#us-west-2#team/ap", &json!(api)),
        item("summary#us-west-2#web", &json!(web)),
    ];
    let page = summaries(None, Reply::Ok(json!({"Items": items}))).1.unwrap();
    assert_eq!(page.items, [web]);
    let [error] = page.unreadable.try_into().unwrap();
    assert_eq!(
        error.message,
        "row `123456789012`, `summary#us-west-2#team/ap`: it is the row of another repository"
    );
}

#[test]
fn a_page_without_its_list_or_keys_or_that_repeats_its_token_is_an_error() {
    let (_, item) = row_of("sha256:aa", "us-west-2");
    for reply in [
        json!({}),
        json!({"Items": [{"row": item["row"]}]}),
        json!({"Items": [], "LastEvaluatedKey": {"pk": {"S": "p"}}}),
    ] {
        let (_, page) = rows(None, Reply::Ok(reply));
        assert_failed(page, QUERY, Retry::Later, "MalformedResponse");
    }
    let circle = json!({"Items": [], "LastEvaluatedKey": {"sk": {"S": "image#a"}}});
    let (_, page) = rows(Some("image#a"), Reply::Ok(circle));
    assert_failed(page, QUERY, Retry::Later, "RepeatedToken");
}

#[test]
fn every_error_of_a_query_is_passed_on() {
    for (code, retry, calls) in [
        ("InvalidEndpointException", Retry::Never, 1),
        ("ResourceNotFoundException", Retry::Never, 1),
        // A place that is not in the list.
        ("ValidationException", Retry::Never, 1),
        ("ProvisionedThroughputExceededException", Retry::Later, 3),
        ("RequestLimitExceeded", Retry::Later, 3),
        ("ThrottlingException", Retry::Later, 3),
        ("InternalServerError", Retry::Later, 3),
    ] {
        let world = FakeAws::new(move |_| Reply::error(code));
        let ledger = world.aws().dynamo_ledger(TABLE);
        assert_failed(world.run(ledger.rows(&repository_key(), None)), QUERY, retry, code);
        assert_eq!(world.calls().len(), calls, "{code}");
        assert_failed(world.run(ledger.summaries(&registry(), None)), QUERY, retry, code);
    }
}

/// Writes with `write`, gives what was asked and what `read` makes of the item that was written.
fn round_trip<T, W, R>(world: &FakeAws, write: W, read: impl FnOnce(FakeAws) -> R) -> (Value, R)
where
    W: Future<Output = Result<T, PortError>>,
    T: PartialEq<Written> + std::fmt::Debug,
{
    assert_eq!(world.run(write).unwrap(), Written::Yes);
    let body = world.only_body(PUT);
    let item = body["Item"].clone();
    (body, read(FakeAws::new(move |_| Reply::Ok(json!({"Item": item})))))
}

#[test]
fn summaries_and_registry_rows_are_written_under_a_condition_and_come_back() {
    let world = FakeAws::scripted([(PUT, Reply::Ok(json!({})))]);
    let ledger = world.aws().dynamo_ledger(TABLE);
    let of_api = summary(REPOSITORY, "us-west-2");
    let (body, back) = round_trip(&world, ledger.write_summary(&of_api), |world| {
        let ledger = world.aws().dynamo_ledger(TABLE);
        let other = RepositoryKey {
            repository: "web".parse().unwrap(),
            ..repository_key()
        };
        assert_failed(world.run(ledger.summary(&other)), GET, Retry::Never, "UnreadableRow");
        world.run(ledger.summary(&repository_key()))
    });
    assert_eq!(back.unwrap(), Some(of_api));
    assert_eq!(
        (&body["Item"]["pk"], &body["Item"]["sk"]),
        (&json!({"S": ACCOUNT}), &json!({"S": "summary#us-west-2#team/api"}))
    );
    assert_eq!(body["ConditionExpression"], "attribute_not_exists(#pk)");

    let world = FakeAws::scripted([(PUT, Reply::Ok(json!({})))]);
    let ledger = world.aws().dynamo_ledger(TABLE);
    let row: RegistryRow = serde_json::from_value(json!({"schema": "ecr-guard/registry/v1", "generation": 4,
        "registry": registry(), "digest_on": "2026-11-24"}))
    .unwrap();
    let (body, back) = round_trip(&world, ledger.write_registry_row(&row), |world| {
        let ledger = world.aws().dynamo_ledger(TABLE);
        let other = RegistryKey {
            region: "eu-west-1".parse().unwrap(),
            ..registry()
        };
        assert_failed(
            world.run(ledger.registry_row(&other)),
            GET,
            Retry::Never,
            "UnreadableRow",
        );
        world.run(ledger.registry_row(&registry()))
    });
    assert_eq!(back.unwrap(), Some(row));
    assert_eq!(body["Item"]["sk"], json!({"S": "registry#us-west-2"}));
    assert_eq!(body["ConditionExpression"], "#generation = :previous");
    assert_eq!(body["ExpressionAttributeValues"], json!({":previous": {"N": "3"}}));
}

#[test]
fn what_is_not_there_is_no_row() {
    let world = FakeAws::new(|_| Reply::Ok(json!({})));
    let ledger = world.aws().dynamo_ledger(TABLE);
    assert_eq!(world.run(ledger.summary(&repository_key())), Ok(None));
    assert_eq!(world.run(ledger.registry_row(&registry())), Ok(None));
}

#[test]
fn a_summary_that_somebody_else_wrote_is_a_conflict() {
    let refused = Reply::Error {
        status: 400,
        code: "ConditionalCheckFailedException".to_owned(),
        extra: json!({}),
    };
    let world = FakeAws::new(move |_| refused.clone());
    let ledger = world.aws().dynamo_ledger(TABLE);
    let written = world.run(ledger.write_summary(&summary(REPOSITORY, "us-west-2")));
    assert_eq!(written, Ok(Written::Conflict));
}
