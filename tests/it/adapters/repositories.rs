//! Repositories: settings, policies, previews, and their rows in the ledger.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::{
    core::{
        finding::ScanMode,
        repository::{
            ledger::{RepositoryRow, RepositoryRowSchema, TagRow, TagRowSchema},
            posture::{Encryption, Repository, TagMutability},
        },
    },
    ports::{
        PortError, Registry as _, Repositories as _, RepositoryLedger as _, RepositoryWriter as _, Retry, Written,
    },
    testing,
};

use super::*;
use crate::canned::{FakeAws, Reply};

const KMS: &str = "arn:aws:kms:us-west-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

fn of() -> RepositoryKey {
    repository_key()
}

fn names(more: Value) -> Value {
    with(json!({"registryId": ACCOUNT, "repositoryName": REPOSITORY}), more)
}

fn described(more: Value) -> Result<Option<Repository>, PortError> {
    let found = with(
        json!({"repositoryArn": "arn:aws:ecr:us-west-2:123456789012:repository/team/api", "repositoryName": REPOSITORY,
            "imageTagMutability": "MUTABLE"}),
        more,
    );
    let reply = Reply::Ok(json!({"repositories": [found]}));
    let world = FakeAws::scripted([("ecr:DescribeRepositories", reply)]);
    let result = world.run(world.aws().ecr_registry(account()).repository(&of()));
    let body = json!({"registryId": ACCOUNT, "repositoryNames": [REPOSITORY]});
    assert_eq!(world.only_body("ecr:DescribeRepositories"), body);
    result
}

#[test]
fn a_repository_comes_with_its_settings() {
    let full = json!({
        "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "sha256-*"}],
        "imageScanningConfiguration": {"scanOnPush": true},
        "encryptionConfiguration": {"encryptionType": "KMS", "kmsKey": KMS},
    });
    assert_eq!(
        described(full).unwrap().unwrap(),
        Repository {
            arn: "arn:aws:ecr:us-west-2:123456789012:repository/team/api".to_owned(),
            tag_mutability: TagMutability::ImmutableWithExclusion(["sha256-*".to_owned()].into()),
            scan_on_push: true,
            encryption: Encryption {
                kind: "KMS".to_owned(),
                key: Some(KMS.parse().unwrap())
            },
        }
    );
    let bare = described(json!({})).unwrap().unwrap();
    assert_eq!(
        (bare.tag_mutability, bare.scan_on_push),
        (TagMutability::Mutable, false)
    );
    assert_eq!(
        bare.encryption.kind, "missing",
        "what is not said is not taken for anything"
    );
    for (word, mutability) in [
        ("IMMUTABLE", TagMutability::Immutable),
        ("MUTABLE_WITH_EXCLUSION", TagMutability::MutableWithExclusion([].into())),
        ("SOMETIMES", TagMutability::Other("SOMETIMES".to_owned())),
    ] {
        let found = described(json!({"imageTagMutability": word})).unwrap().unwrap();
        assert_eq!(found.tag_mutability, mutability);
    }
}

#[test]
fn what_a_repository_does_not_have_is_no_error() {
    let world = |operation, code| FakeAws::scripted([(operation, Reply::error(code))]);
    let missing = "RepositoryNotFoundException";
    let w = world("ecr:DescribeRepositories", missing);
    assert_eq!(w.run(w.aws().ecr_registry(account()).repository(&of())).unwrap(), None);
    let w = world("ecr:ListTagsForResource", missing);
    assert_eq!(
        w.run(w.aws().ecr_registry(account()).repository_tags(&of())).unwrap(),
        BTreeMap::new()
    );
    for code in [missing, "RepositoryPolicyNotFoundException"] {
        let w = world("ecr:GetRepositoryPolicy", code);
        assert_eq!(
            w.run(w.aws().ecr_registry(account()).repository_policy(&of())).unwrap(),
            None
        );
    }
    for code in [missing, "LifecyclePolicyNotFoundException"] {
        let w = world("ecr:GetLifecyclePolicy", code);
        assert_eq!(
            w.run(w.aws().ecr_registry(account()).lifecycle_policy(&of())).unwrap(),
            None
        );
    }
}

#[test]
fn what_is_refused_is_passed_on() {
    let code = "AccessDeniedException";
    let world = FakeAws::new(move |_| Reply::error(code));
    let aws = world.aws();
    let (registry, writer) = (aws.ecr_registry(account()), aws.ecr_writer(account()));
    let immutable = TagMutability::Immutable;
    let never = Retry::Never;
    assert_failed(
        world.run(registry.repository(&of())),
        "ecr:DescribeRepositories",
        never,
        code,
    );
    assert_failed(
        world.run(registry.repository_tags(&of())),
        "ecr:ListTagsForResource",
        never,
        code,
    );
    assert_failed(
        world.run(registry.repository_policy(&of())),
        "ecr:GetRepositoryPolicy",
        never,
        code,
    );
    assert_failed(
        world.run(registry.lifecycle_policy(&of())),
        "ecr:GetLifecyclePolicy",
        never,
        code,
    );
    assert_failed(
        world.run(registry.scan_mode()),
        "ecr:GetRegistryScanningConfiguration",
        never,
        code,
    );
    assert_failed(
        world.run(writer.set_tag_mutability(&of(), &immutable)),
        "ecr:PutImageTagMutability",
        never,
        code,
    );
    assert_failed(
        world.run(writer.set_scan_on_push(&of())),
        "ecr:PutImageScanningConfiguration",
        never,
        code,
    );
    assert_failed(
        world.run(writer.set_repository_policy(&of(), Some("{}"))),
        "ecr:SetRepositoryPolicy",
        never,
        code,
    );
    assert_failed(
        world.run(writer.set_repository_policy(&of(), None)),
        "ecr:DeleteRepositoryPolicy",
        never,
        code,
    );
    assert_failed(
        world.run(writer.set_lifecycle_policy(&of(), "{}")),
        "ecr:PutLifecyclePolicy",
        never,
        code,
    );
    let preview = world.run(writer.preview_lifecycle_policy(&of(), "{}", false));
    assert_failed(preview, "ecr:StartLifecyclePolicyPreview", never, code);
}

#[test]
fn texts_and_tags_are_read_as_they_are() {
    let world = FakeAws::scripted([
        (
            "ecr:ListTagsForResource",
            Reply::Ok(json!({"tags": [{"Key": "team", "Value": "a b"}]})),
        ),
        (
            "ecr:GetRepositoryPolicy",
            Reply::Ok(json!({"policyText": "{ \"Version\" : 1 }"})),
        ),
        (
            "ecr:GetLifecyclePolicy",
            Reply::Ok(json!({"lifecyclePolicyText": "{\"rules\":[]}"})),
        ),
        (
            "ecr:GetRegistryScanningConfiguration",
            Reply::Ok(json!({"scanningConfiguration": {"scanType": "ENHANCED"}})),
        ),
    ]);
    let registry = world.aws().ecr_registry(account());
    let tags = world.run(registry.repository_tags(&of())).unwrap();
    assert_eq!(tags, [("team".to_owned(), "a b".to_owned())].into());
    let arn = json!({"resourceArn": "arn:aws:ecr:us-west-2:123456789012:repository/team/api"});
    assert_eq!(world.only_body("ecr:ListTagsForResource"), arn);
    assert_eq!(
        world.run(registry.repository_policy(&of())).unwrap().unwrap(),
        "{ \"Version\" : 1 }"
    );
    assert_eq!(
        world.run(registry.lifecycle_policy(&of())).unwrap().unwrap(),
        "{\"rules\":[]}"
    );
    assert_eq!(world.run(registry.scan_mode()).unwrap(), ScanMode::Enhanced);
}

#[test]
fn a_change_asks_for_one_setting_and_the_answer_must_say_so() {
    let exclusion = TagMutability::ImmutableWithExclusion(["sha256-*".to_owned()].into());
    let set = |answer: &'static str| {
        let reply = Reply::Ok(json!({"imageTagMutability": answer}));
        let world = FakeAws::scripted([("ecr:PutImageTagMutability", reply)]);
        let result = world.run(world.aws().ecr_writer(account()).set_tag_mutability(&of(), &exclusion));
        (world, result)
    };
    let (world, result) = set("IMMUTABLE_WITH_EXCLUSION");
    result.unwrap();
    assert_eq!(
        world.only_body("ecr:PutImageTagMutability"),
        names(json!({"imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
            "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "sha256-*"}]}))
    );
    assert_failed(
        set("MUTABLE").1,
        "ecr:PutImageTagMutability",
        Retry::Later,
        "MalformedResponse",
    );

    for (on, fine) in [(true, true), (false, false)] {
        let reply = Reply::Ok(json!({"imageScanningConfiguration": {"scanOnPush": on}}));
        let world = FakeAws::scripted([("ecr:PutImageScanningConfiguration", reply)]);
        let result = world.run(world.aws().ecr_writer(account()).set_scan_on_push(&of()));
        assert_eq!(result.is_ok(), fine);
        let body = names(json!({"imageScanningConfiguration": {"scanOnPush": true}}));
        assert_eq!(world.only_body("ecr:PutImageScanningConfiguration"), body);
    }

    let world = FakeAws::scripted([
        ("ecr:SetRepositoryPolicy", Reply::Ok(json!({}))),
        (
            "ecr:DeleteRepositoryPolicy",
            Reply::error("RepositoryPolicyNotFoundException"),
        ),
        ("ecr:PutLifecyclePolicy", Reply::Ok(json!({}))),
    ]);
    let writer = world.aws().ecr_writer(account());
    world.run(writer.set_repository_policy(&of(), Some("{ }"))).unwrap();
    assert_eq!(
        world.only_body("ecr:SetRepositoryPolicy"),
        names(json!({"policyText": "{ }"})),
        "never by force"
    );
    world.run(writer.set_repository_policy(&of(), None)).unwrap();
    world.run(writer.set_lifecycle_policy(&of(), "{}")).unwrap();
    assert_eq!(
        world.only_body("ecr:PutLifecyclePolicy"),
        names(json!({"lifecyclePolicyText": "{}"}))
    );
}

fn preview_of(text: &str, status: &str, more: Value) -> Reply {
    Reply::Ok(with(json!({"lifecyclePolicyText": text, "status": status}), more))
}

#[test]
fn a_preview_is_waited_for_and_its_images_are_described() {
    let looks = std::sync::Mutex::new(0);
    let world = FakeAws::new(move |request| match request.operation.as_str() {
        "ecr:StartLifecyclePolicyPreview" => Reply::error("LifecyclePolicyPreviewInProgressException"),
        "ecr:GetLifecyclePolicyPreview" if request.body["nextToken"] == "2" => preview_of(
            "{}",
            "COMPLETE",
            json!({"previewResults": [{"imageDigest": "sha256:02"}]}),
        ),
        "ecr:GetLifecyclePolicyPreview" => {
            let mut looks = looks.lock().unwrap();
            *looks += 1;
            if *looks < 3 {
                return preview_of("{}", "IN_PROGRESS", json!({}));
            }
            preview_of(
                "{ }",
                "COMPLETE",
                json!({"previewResults": [{"imageDigest": "sha256:01"}], "nextToken": "2",
                    "summary": {"expiringImageTotalCount": 1,
                        "transitioningImageTotalCounts": [{"targetStorageClass": "ARCHIVE", "imageTotalCount": 1}]}}),
            )
        }
        "ecr:DescribeImages" => {
            let digest = request.body["imageIds"][0]["imageDigest"].clone();
            Reply::Ok(
                json!({"imageDetails": [{"imageDigest": digest, "imageTags": ["v1"], "imageSizeInBytes": 7,
                "imagePushedAt": 1_764_000_000, "lastRecordedPullTime": 1_764_000_001}]}),
            )
        }
        other => panic!("a call that nobody planned: {other}"),
    });
    let preview = world
        .run(
            world
                .aws()
                .ecr_writer(account())
                .preview_lifecycle_policy(&of(), "{}", false),
        )
        .unwrap()
        .unwrap();
    assert_eq!((preview.total, preview.images.len()), (2, 2));
    assert_eq!(preview.images[0].tag.as_ref().unwrap().as_str(), "v1");
    assert_eq!(
        (preview.images[1].digest.as_str(), preview.images[1].bytes),
        ("sha256:02", 7)
    );
    assert!(preview.images[0].last_pulled_at.is_some());
}

#[test]
fn a_preview_that_is_not_there_or_not_ours_is_no_failure() {
    for (status, text, code) in [
        ("IN_PROGRESS", "{}", None),
        ("COMPLETE", "{\"rules\":[]}", None),
        ("FAILED", "{}", Some("NoPreview")),
    ] {
        let world = FakeAws::new(move |request| match request.operation.as_str() {
            "ecr:StartLifecyclePolicyPreview" => Reply::Ok(json!({})),
            _ => preview_of(text, status, json!({})),
        });
        let result = world.run(
            world
                .aws()
                .ecr_writer(account())
                .preview_lifecycle_policy(&of(), "{}", false),
        );
        match code {
            None => assert_eq!(result, Ok(None), "{status}"),
            Some(code) => {
                assert_failed(result, "ecr:GetLifecyclePolicyPreview", Retry::Later, code);
            }
        }
    }
}

/// ECR's own waiter looks twenty times, five seconds apart. To start a new preview discards the one that is there.
#[test]
fn a_preview_that_takes_minutes_is_read_before_a_new_one_is_started() {
    let started: std::sync::Arc<std::sync::Mutex<Vec<std::time::Duration>>> = std::sync::Arc::default();
    let clock: std::sync::Arc<std::sync::Mutex<Option<crate::canned::VirtualClock>>> = std::sync::Arc::default();
    let (starts, at) = (std::sync::Arc::clone(&started), std::sync::Arc::clone(&clock));
    let world = FakeAws::new(move |request| {
        let now = at.lock().unwrap().as_ref().unwrap().elapsed();
        let mut starts = starts.lock().unwrap();
        let done = starts
            .last()
            .is_some_and(|began| now >= *began + std::time::Duration::from_secs(300));
        match request.operation.as_str() {
            "ecr:StartLifecyclePolicyPreview" => {
                starts.push(now);
                Reply::Ok(json!({"lifecyclePolicyText": "{}", "status": "IN_PROGRESS"}))
            }
            "ecr:GetLifecyclePolicyPreview" => preview_of(
                "{}",
                if done { "COMPLETE" } else { "IN_PROGRESS" },
                json!({"previewResults": []}),
            ),
            other => panic!("a call that nobody planned: {other}"),
        }
    });
    *clock.lock().unwrap() = Some(world.clock().clone());
    let writer = world.aws().ecr_writer(account());
    let look = |begun| world.run(writer.preview_lifecycle_policy(&of(), "{}", begun)).unwrap();
    assert_eq!(look(false), None);
    assert_eq!(look(true), None, "a second later it is not there yet");
    world.run(world.clock().wait(std::time::Duration::from_secs(1820)));
    assert!(look(true).is_some());
    assert_eq!(started.lock().unwrap().len(), 1);
}

fn row() -> RepositoryRow {
    RepositoryRow {
        schema: RepositoryRowSchema::V1,
        repository: of(),
        generation: 2,
        policy: "p".to_owned(),
        opt_out: Some("report".to_owned()),
        notes: Vec::new(),
        repairs: BTreeMap::new(),
        held: None,
        previewing: None,
        checked: None,
        route: None,
    }
}

fn tag_row() -> TagRow {
    TagRow {
        schema: TagRowSchema::V1,
        repository: of(),
        tag: "v1".parse().unwrap(),
        digest: DIGEST.parse().unwrap(),
        since: testing::now(),
        generation: 1,
        notes: Vec::new(),
        removal: None,
        earlier: Vec::new(),
    }
}

#[test]
fn rows_of_repositories_and_tags_are_written_under_a_condition_and_come_back() {
    let world = FakeAws::scripted([("dynamodb:PutItem", Reply::Ok(json!({})))]);
    let ledger = world.aws().dynamo_ledger("ledger");
    assert_eq!(world.run(ledger.write_repository_row(&row())).unwrap(), Written::Yes);
    let body = world.only_body("dynamodb:PutItem");
    assert_eq!(body["Item"]["pk"], json!({"S": "123456789012#team/api"}));
    assert_eq!(body["Item"]["sk"], json!({"S": "repository#us-west-2"}));
    assert_eq!(body["ConditionExpression"], "#generation = :previous");
    let item = body["Item"].clone();
    let world = FakeAws::scripted([("dynamodb:GetItem", Reply::Ok(json!({"Item": item})))]);
    let ledger = world.aws().dynamo_ledger("ledger");
    assert_eq!(world.run(ledger.repository_row(&of())).unwrap(), Some(row()));

    let world = FakeAws::scripted([("dynamodb:PutItem", Reply::Ok(json!({})))]);
    let ledger = world.aws().dynamo_ledger("ledger");
    assert_eq!(world.run(ledger.write_tag_row(&tag_row())).unwrap(), Written::Yes);
    let body = world.only_body("dynamodb:PutItem");
    assert_eq!(body["Item"]["sk"], json!({"S": "tag#v1#us-west-2"}));
    assert_eq!(body["ConditionExpression"], "attribute_not_exists(#pk)");
    let item = body["Item"].clone();
    let world = FakeAws::new(move |_| Reply::Ok(json!({"Item": item})));
    let ledger = world.aws().dynamo_ledger("ledger");
    assert_eq!(
        world.run(ledger.tag_row(&of(), &"v1".parse().unwrap())).unwrap(),
        Some(tag_row())
    );
    let other = world.run(ledger.tag_row(&of(), &"v2".parse().unwrap()));
    assert_failed(other, "dynamodb:GetItem", Retry::Never, "UnreadableRow");
}
