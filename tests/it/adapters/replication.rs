//! Copies in other regions, and backfills.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::core::{
    ids::{Region, RegistryKey, RepositoryKey},
    ledger::Row,
    replication::{
        backfill::{Backfill, BackfillStart},
        ledger::{BackfillFailure, BackfillStatus, Missing, ReplicaRow},
        replica::CopyState,
    },
};
use shared::ports::{
    Ledger as _, PortError, Replication as _, ReplicationLedger as _, ReplicationWriter as _, Retry, Written,
};

use super::*;
use crate::canned::{FakeAws, Reply};

const STATUS: &str = "ecr:DescribeImageReplicationStatus";
const LIST: &str = "ecr:ListReplicationBackfills";
const RESULTS: &str = "ecr:DescribeReplicationBackfillResults";
const START: &str = "ecr:StartReplicationBackfill";
const IMAGES: &str = "ecr:DescribeImages";

fn region(name: &str) -> Region {
    name.parse().unwrap()
}

fn copies(key: &shared::core::ids::ImageKey, reply: Reply) -> (FakeAws, CopiesResult) {
    let world = FakeAws::scripted([(STATUS, reply)]);
    let aws = world.aws();
    let result = world.run(aws.ecr_elsewhere(account()).copies(key));
    (world, result)
}

type CopiesResult = Result<Option<BTreeMap<Region, CopyState>>, PortError>;

#[test]
fn how_far_ecr_is_with_each_copy_of_this_account() {
    let statuses = json!({"replicationStatuses": [
        {"region": "us-east-1", "registryId": ACCOUNT, "status": "COMPLETE"},
        {"region": "eu-west-1", "registryId": ACCOUNT, "status": "IN_PROGRESS"},
        {"region": "eu-west-2", "registryId": ACCOUNT, "status": "FAILED", "failureCode": "KmsError"},
        {"region": "eu-west-3", "registryId": ACCOUNT, "status": "FAILED"},
        {"region": "ap-east-1", "registryId": ACCOUNT, "status": "SOMETHING_NEW"},
        {"region": "sa-east-1", "registryId": "210987654321", "status": "COMPLETE"},
        {"status": "COMPLETE"}]});
    let (world, found) = copies(&key(), Reply::Ok(statuses));
    let expected = [
        ("us-east-1", CopyState::Complete),
        ("eu-west-1", CopyState::Missing(Missing::InProgress)),
        (
            "eu-west-2",
            CopyState::Missing(Missing::Failed(Some("KmsError".to_owned()))),
        ),
        ("eu-west-3", CopyState::Missing(Missing::Failed(None))),
        ("ap-east-1", CopyState::Missing(Missing::InProgress)),
    ];
    let expected = expected
        .into_iter()
        .map(|(name, state)| (region(name), state))
        .collect();
    assert_eq!(found.unwrap(), Some(expected));
    assert_eq!(
        world.only_body(STATUS),
        json!({"registryId": ACCOUNT, "repositoryName": REPOSITORY, "imageId": {"imageDigest": DIGEST}})
    );
    let (_, none) = copies(&key(), Reply::Ok(json!({"replicationStatuses": []})));
    assert_eq!(none.unwrap(), Some(BTreeMap::new()));
}

#[test]
fn the_source_is_asked_in_its_own_region() {
    let source = shared::core::ids::ImageKey {
        region: region("us-east-1"),
        ..key()
    };
    let (world, _) = copies(&source, Reply::Ok(json!({"replicationStatuses": []})));
    assert!(
        world.calls()[0].request.uri.contains("us-east-1"),
        "{}",
        world.calls()[0].request.uri
    );
    let world = FakeAws::scripted([(
        IMAGES,
        Reply::Ok(json!({"imageDetails": [{"imageDigest": DIGEST, "imageTags": ["v1"]}]})),
    )]);
    let there = RepositoryKey {
        region: region("us-east-1"),
        ..repository_key()
    };
    let aws = world.aws();
    let found = world.run(aws.ecr_elsewhere(account()).image_in(&there, &by_tag()));
    assert_eq!(found.unwrap().unwrap().digest.as_str(), DIGEST);
    assert!(world.calls()[0].request.uri.contains("us-east-1"));
}

#[test]
fn what_is_not_there_is_no_failure_and_all_else_is() {
    for code in ["ImageNotFoundException", "RepositoryNotFoundException"] {
        assert_eq!(copies(&key(), Reply::error(code)).1.unwrap(), None);
    }
    for (code, retry) in [
        ("InvalidParameterException", Retry::Never),
        ("ValidationException", Retry::Never),
        ("AccessDeniedException", Retry::Never),
    ] {
        assert_failed(copies(&key(), Reply::error(code)).1, STATUS, retry, code);
    }
    let (_, unsaid) = copies(&key(), Reply::Ok(json!({})));
    assert_failed(unsaid, STATUS, Retry::Later, "MalformedResponse");
}

fn summary(id: &str, region: &str, status: &str, started: u64) -> Value {
    json!({"replicationBackfillId": id, "destination": {"region": region, "registryId": ACCOUNT}, "status": status,
        "startedAt": started})
}

#[test]
fn backfills_come_from_all_pages_the_latest_first() {
    let mut other = summary("b-9", "us-east-1", "COMPLETE", 9);
    other["destination"]["registryId"] = json!("210987654321");
    let mut failed = summary("b-2", "us-east-1", "FAILED", 2);
    failed["failureCode"] = json!("TooManyFailures");
    let pages = [
        json!({"backfills": [summary("b-1", "us-east-1", "STOPPED", 1), other], "nextToken": "t-2"}),
        json!({"backfills": [failed, summary("b-3", "eu-west-1", "PREPARING", 3), summary("b-4", "eu-west-1", "NEW", 4)]}),
    ];
    let world = FakeAws::scripted(pages.map(|page| (LIST, Reply::Ok(page))));
    let aws = world.aws();
    let found = world.run(aws.ecr_elsewhere(account()).backfills()).unwrap();
    let brief: Vec<(&str, &BackfillStatus)> = found.iter().map(|one| (one.id.as_str(), &one.status)).collect();
    assert_eq!(
        brief,
        [
            ("b-4", &BackfillStatus::Running),
            ("b-3", &BackfillStatus::Running),
            ("b-2", &BackfillStatus::Failed),
            ("b-1", &BackfillStatus::Stopped),
        ]
    );
    let Backfill { to, failure, .. } = &found[2];
    assert_eq!(
        (to, failure.as_deref()),
        (&region("us-east-1"), Some("TooManyFailures"))
    );
    let bodies: Vec<Value> = world.calls().into_iter().map(|call| call.request.body).collect();
    assert_eq!(bodies[0], json!({"registryId": ACCOUNT, "maxResults": 50}));
    assert_eq!(bodies[1]["nextToken"], "t-2");

    let round = json!({"backfills": [], "nextToken": "t"});
    let world = FakeAws::scripted([(LIST, Reply::Ok(round.clone())), (LIST, Reply::Ok(round))]);
    let aws = world.aws();
    let result = world.run(aws.ecr_elsewhere(account()).backfills());
    assert_failed(result, LIST, Retry::Later, "MalformedResponse");
}

#[test]
fn what_a_backfill_could_not_copy_is_named_with_its_codes() {
    let results = json!({"replicationBackfillId": "b-1", "status": "COMPLETE", "results": [
        {"repositoryName": REPOSITORY, "imageId": {"imageDigest": DIGEST}, "status": "FAILED", "failureCode": "KmsError",
            "subImageFailureCodes": ["ImageNotFound"]},
        {"repositoryName": REPOSITORY, "imageId": {"imageDigest": DIGEST}, "status": "FAILED"},
        {"repositoryName": REPOSITORY, "status": "FAILED"}]});
    let world = FakeAws::scripted([(RESULTS, Reply::Ok(results))]);
    let aws = world.aws();
    let found = world
        .run(aws.ecr_elsewhere(account()).backfill_failures("b-1", 10))
        .unwrap();
    let failure = |code: &str| BackfillFailure {
        repository: repository(),
        digest: DIGEST.parse().unwrap(),
        code: code.to_owned(),
    };
    assert_eq!(found, [failure("KmsError, ImageNotFound"), failure("FAILED")]);
    assert_eq!(
        world.only_body(RESULTS),
        json!({"registryId": ACCOUNT, "replicationBackfillId": "b-1", "resultStatusFilter": "FAILED", "maxResults": 1000})
    );
}

fn start(reply: Reply) -> (FakeAws, Result<BackfillStart, PortError>) {
    let world = FakeAws::scripted([(START, reply)]);
    let aws = world.aws();
    let from = RegistryKey {
        account: account(),
        region: region("us-west-2"),
    };
    let result = world.run(aws.ecr_backfills(account()).start_backfill(&from, &region("us-east-1")));
    (world, result)
}

#[test]
fn a_backfill_begins_or_ecr_says_why_not() {
    let (world, started) = start(Reply::Ok(
        json!({"replicationBackfillId": "b-1", "status": "PREPARING"}),
    ));
    assert_eq!(started.unwrap(), BackfillStart::Started("b-1".to_owned()));
    assert_eq!(
        world.only_body(START),
        json!({"registryId": ACCOUNT, "destination": {"region": "us-east-1", "registryId": ACCOUNT}})
    );
    let (_, started) = start(Reply::error("ReplicationBackfillInProgressException"));
    assert_eq!(started.unwrap(), BackfillStart::AnotherRuns);
    for code in [
        "InvalidParameterException",
        "LimitExceededException",
        "ValidationException",
    ] {
        let (world, started) = start(Reply::error(code));
        let Ok(BackfillStart::Refused(why)) = started else {
            panic!("{code}: {started:?}")
        };
        assert!(why.contains(code), "{why}");
        assert_eq!(world.calls().len(), 1, "{code} is no rate: it is not tried again");
    }
    let (_, unsaid) = start(Reply::Ok(json!({})));
    assert_failed(unsaid, START, Retry::Later, "MalformedResponse");
    let (_, denied) = start(Reply::error("AccessDeniedException"));
    assert_failed(denied, START, Retry::Never, "AccessDeniedException");
}

fn replica_row() -> ReplicaRow {
    let row = json!({"schema": "ecr-guard/replica/v1", "generation": 1, "state": "gone", "since": "2026-11-24T12:00:00Z",
        "image": {"account": ACCOUNT, "region": "us-west-2", "repository": REPOSITORY, "digest": DIGEST},
        "source": {"account": ACCOUNT, "region": "us-east-1"}});
    serde_json::from_value(row).unwrap()
}

#[test]
fn rows_of_copies_are_kept_next_to_those_of_images_and_go_some_time_after_the_copy() {
    let world = FakeAws::scripted([("dynamodb:PutItem", Reply::Ok(json!({})))]);
    let ledger = world.aws().dynamo_ledger("ledger");
    assert_eq!(
        world.run(ledger.write_replica_row(&replica_row())).unwrap(),
        Written::Yes
    );
    let item = &world.only_body("dynamodb:PutItem")["Item"];
    assert_eq!(item["pk"]["S"], "123456789012#team/api");
    assert_eq!(item["sk"]["S"], format!("replica#{DIGEST}#us-west-2"));
    // 90 days later.
    assert_eq!(item["expires_at"]["N"], "1803297600");
}

#[test]
fn the_rows_of_an_image_in_other_regions_are_found_by_its_digest() {
    let row = |region_name: &str| {
        let row = Row {
            image: shared::core::ids::ImageKey {
                region: region(region_name),
                ..key()
            },
            ..dynamodb::row(1, json!({}))
        };
        json!({"sk": {"S": format!("image#{DIGEST}#{region_name}")}, "row": {"S": json!(row).to_string()}})
    };
    let items = json!({"Items": [row("us-east-1"), row("us-west-2")]});
    let world = FakeAws::scripted([("dynamodb:Query", Reply::Ok(items))]);
    let ledger = world.aws().dynamo_ledger("ledger");
    let rows = world.run(ledger.rows_elsewhere(&key())).unwrap();
    let regions: Vec<&str> = rows.iter().map(|row| row.image.region.as_str()).collect();
    assert_eq!(regions, ["us-east-1"]);
    let values = &world.only_body("dynamodb:Query")["ExpressionAttributeValues"];
    assert_eq!(values[":prefix"]["S"], format!("image#{DIGEST}#"));
}
