//! The lists of a registry, and its settings.

use serde_json::{Value, json};
use shared::core::{
    finding::ScanMode,
    ids::{RegistryKey, RepositoryKey},
    image::{ImageStatus, ListedImage},
    registry::{RegistrySettings, ReplicationRule, ScanRule},
};
use shared::ports::{Listing as _, Page, PortError, Repositories as _, Retry};

use super::*;
use crate::canned::{FakeAws, LATENCY, Reply};

const REPOSITORIES: &str = "ecr:DescribeRepositories";
const IMAGES: &str = "ecr:DescribeImages";
const SCANNING: &str = "ecr:GetRegistryScanningConfiguration";
const REGISTRY: &str = "ecr:DescribeRegistry";
const SIGNING: &str = "ecr:GetSigningConfiguration";

fn names(after: Option<&str>, reply: Reply) -> (FakeAws, Result<Page<String>, PortError>) {
    let world = FakeAws::scripted([(REPOSITORIES, reply)]);
    let result = world.run(world.aws().ecr_registry(account()).repositories(after));
    let result = result.map(|page| Page {
        items: page.items.into_iter().map(|listed| listed.name.into()).collect(),
        unreadable: page.unreadable,
        next: page.next,
    });
    (world, result)
}

#[test]
fn repositories_are_listed_a_thousand_to_a_page() {
    let list = json!({"repositories": [{"repositoryName": "team/api"}, {"repositoryName": "web"}], "nextToken": "t-2"});
    let (world, page) = names(None, Reply::Ok(list));
    let page = page.unwrap();
    assert_eq!(page.items, ["team/api", "web"]);
    assert_eq!((page.unreadable, page.next.as_deref()), (vec![], Some("t-2")));
    assert_eq!(
        world.only_body(REPOSITORIES),
        json!({"registryId": ACCOUNT, "maxResults": 1000})
    );

    for end in [
        json!({"repositories": []}),
        json!({"repositories": [], "nextToken": ""}),
    ] {
        let (world, page) = names(Some("t-2"), Reply::Ok(end));
        assert_eq!(page.unwrap().next, None);
        assert_eq!(
            world.only_body(REPOSITORIES),
            json!({"registryId": ACCOUNT, "maxResults": 1000, "nextToken": "t-2"})
        );
    }
}

#[test]
fn the_list_says_of_a_repository_what_is_said_of_it_alone() {
    let described = json!({"repositories": [{
        "repositoryName": "team/api",
        "repositoryArn": "arn:aws:ecr:us-west-2:123456789012:repository/team/api",
        "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "sha256-*"}],
        "imageScanningConfiguration": {"scanOnPush": true},
        "encryptionConfiguration": {"encryptionType": "KMS", "kmsKey": "arn:aws:kms:us-west-2:123456789012:key/1234abcd"}
    }]});
    for answer in [described, json!({"repositories": [{"repositoryName": "team/api"}]})] {
        let world = FakeAws::scripted([
            (REPOSITORIES, Reply::Ok(answer.clone())),
            (REPOSITORIES, Reply::Ok(answer)),
        ]);
        let registry = world.aws().ecr_registry(account());
        let page = world.run(registry.repositories(None)).unwrap();
        let [listed] = page.items.as_slice() else {
            panic!("{page:?}")
        };
        let key = RepositoryKey {
            account: account(),
            region: "us-west-2".parse().unwrap(),
            repository: listed.name.clone(),
        };
        let alone = world.run(registry.repository(&key)).unwrap();
        assert_eq!(Some(&listed.repository), alone.as_ref());
    }
}

#[test]
fn only_the_repositories_that_are_guarded_are_on_the_list() {
    let list = json!({"repositories": [{"repositoryName": "team/api"}, {"repositoryName": "web"}, {"repositoryName": "team-b"}]});
    for (only, expected) in [
        (vec![], vec!["team/api", "web", "team-b"]),
        (vec!["team/*"], vec!["team/api"]),
        (vec!["web", "team*"], vec!["team/api", "web", "team-b"]),
        (vec!["nothing"], vec![]),
    ] {
        let world = FakeAws::scripted([(REPOSITORIES, Reply::Ok(list.clone()))]);
        let only: Vec<_> = only.into_iter().map(|name| name.parse().unwrap()).collect();
        let registry = world.aws().ecr_registry(account()).only(&only);
        let page = world.run(registry.repositories(None)).unwrap();
        let names: Vec<String> = page.items.into_iter().map(|listed| listed.name.into()).collect();
        assert_eq!(names, expected);
    }
}

#[test]
fn a_name_that_cannot_be_read_does_not_hide_the_others() {
    let list = json!({"repositories": [{"repositoryName": "a b"}, {"repositoryName": "web"}, {}], "nextToken": "t-2"});
    let (_, page) = names(None, Reply::Ok(list));
    let page = page.unwrap();
    assert_eq!(
        (page.items, page.next.as_deref()),
        (vec!["web".to_owned()], Some("t-2"))
    );
    let errors = page.unreadable.iter().map(|error| {
        assert_eq!((error.operation, error.retry), (REPOSITORIES, Retry::Never));
        assert_eq!(error.code, "UnreadableRepository");
        error.message.as_str()
    });
    let errors: Vec<_> = errors.collect();
    assert!(
        errors[0].starts_with("repository 1 of the page: `a b` is not a repository name"),
        "{errors:?}"
    );
    assert_eq!(errors[1..], ["repository 3 of the page: it has no name"]);
}

fn list(after: Option<&str>, reply: Reply) -> (FakeAws, Result<Option<Page<ListedImage>>, PortError>) {
    let world = FakeAws::scripted([(IMAGES, reply)]);
    let registry = world.aws().ecr_registry(account());
    let result = world.run(registry.images(&repository_key(), after));
    (world, result)
}

#[test]
fn images_are_listed_whatever_their_status() {
    let reply = json!({"imageDetails": [
        {"imageDigest": DIGEST, "imageTags": ["v1", "a b"], "imageStatus": "ARCHIVED", "imageSizeInBytes": 1234,
            "imagePushedAt": 1_764_000_000, "imageScanStatus": {"status": "ACTIVE"},
            "imageScanFindingsSummary": {"imageScanCompletedAt": 1_764_000_060}},
        {"imageDigest": "sha256:bb", "imageStatus": "ACTIVE", "imageSizeInBytes": -1},
    ], "nextToken": "t-2"});
    let (world, page) = list(None, Reply::Ok(reply));
    let page = page.unwrap().unwrap();
    assert_eq!((page.unreadable, page.next.as_deref()), (vec![], Some("t-2")));
    let [full, bare] = page.items.try_into().unwrap();
    assert_eq!(full.image.digest.as_str(), DIGEST);
    assert_eq!(full.image.status, ImageStatus::Archived);
    assert_eq!(
        full.image.tags,
        ["v1".parse().unwrap()],
        "what nobody can push is left out"
    );
    assert_eq!(full.image.pushed_at, Some("2025-11-24T16:00:00Z".parse().unwrap()));
    assert_eq!((full.bytes, full.scan_status.as_deref()), (1234, Some("ACTIVE")));
    assert_eq!(full.scanned_at, Some("2025-11-24T16:01:00Z".parse().unwrap()));
    assert_eq!((bare.bytes, bare.scan_status, bare.scanned_at), (0, None, None));
    assert_eq!(
        world.only_body(IMAGES),
        json!({
            "registryId": ACCOUNT,
            "repositoryName": REPOSITORY,
            "filter": {"imageStatus": "ANY"},
            "maxResults": 1000,
        })
    );

    let (world, page) = list(Some("t-2"), Reply::Ok(json!({"imageDetails": []})));
    assert_eq!(
        page.unwrap(),
        Some(Page {
            items: vec![],
            unreadable: vec![],
            next: None
        })
    );
    assert_eq!(world.only_body(IMAGES)["nextToken"], "t-2");
}

#[test]
fn an_image_that_cannot_be_read_does_not_hide_the_others() {
    let reply = json!({"imageDetails": [{"imageDigest": "sha256:"}, {"imageTags": ["v1"]}, {"imageDigest": DIGEST}]});
    let (_, page) = list(None, Reply::Ok(reply));
    let page = page.unwrap().unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0].image.digest.as_str(), DIGEST);
    for (error, message) in page.unreadable.iter().zip([
        "repository `team/api`, image 1 of the page: `sha256:` is not an image digest",
        "repository `team/api`, image 2 of the page: it has no digest",
    ]) {
        assert_eq!((error.operation, error.retry), (IMAGES, Retry::Never));
        assert_eq!(error.code, "UnreadableImage");
        assert!(error.message.starts_with(message), "{error}");
    }
    assert_eq!(page.unreadable.len(), 2);
}

#[test]
fn a_repository_that_is_not_there_is_no_list_and_one_of_another_registry_is_refused() {
    let (_, page) = list(None, Reply::error("RepositoryNotFoundException"));
    assert_eq!(page, Ok(None));

    let world = FakeAws::scripted([]);
    let registry = world.aws().ecr_registry(account());
    for other in [
        RepositoryKey {
            account: "999999999999".parse().unwrap(),
            ..repository_key()
        },
        RepositoryKey {
            region: "eu-west-1".parse().unwrap(),
            ..repository_key()
        },
    ] {
        let error = assert_failed(
            world.run(registry.images(&other, None)),
            IMAGES,
            Retry::Never,
            "OtherRegistry",
        );
        assert!(error.message.starts_with("the repository is in `"), "{error}");
    }
}

#[test]
fn every_error_of_a_list_is_passed_on() {
    for (code, retry, calls) in [
        // Also for a place in the list that ECR no longer knows.
        ("InvalidParameterException", Retry::Never, 1),
        ("ServerException", Retry::Later, 3),
        ("ThrottlingException", Retry::Later, 3),
        ("AccessDeniedException", Retry::Never, 1),
    ] {
        let world = FakeAws::new(move |_| Reply::error(code));
        let registry = world.aws().ecr_registry(account());
        assert_failed(world.run(registry.repositories(Some("t-2"))), REPOSITORIES, retry, code);
        assert_failed(
            world.run(registry.images(&repository_key(), Some("t-2"))),
            IMAGES,
            retry,
            code,
        );
        assert_eq!(world.calls().len(), 2 * calls, "{code}");
    }
    for (operation, code) in [
        (REPOSITORIES, "RepositoryNotFoundException"),
        (IMAGES, "ImageNotFoundException"),
    ] {
        let result = if operation == REPOSITORIES {
            names(None, Reply::error(code)).1.map(drop)
        } else {
            list(None, Reply::error(code)).1.map(drop)
        };
        assert_failed(result, operation, Retry::Never, code);
    }
}

#[test]
fn an_answer_without_a_list_is_not_an_empty_list() {
    let none = || Reply::Ok(json!({"nextToken": "t-2"}));
    let code = "MalformedResponse";
    assert_failed(names(None, none()).1, REPOSITORIES, Retry::Later, code);
    assert_failed(list(None, none()).1, IMAGES, Retry::Later, code);
}

#[test]
fn a_page_that_repeats_its_token_ends_the_list() {
    let circle = || Reply::Ok(json!({"repositories": [], "imageDetails": [], "nextToken": "t-2"}));
    let code = "RepeatedToken";
    assert_failed(names(Some("t-2"), circle()).1, REPOSITORIES, Retry::Later, code);
    assert_failed(list(Some("t-2"), circle()).1, IMAGES, Retry::Later, code);
}

fn settings(replies: [Reply; 3]) -> (FakeAws, Result<RegistrySettings, PortError>) {
    let world = FakeAws::scripted([SCANNING, REGISTRY, SIGNING].into_iter().zip(replies));
    let result = world.run(world.aws().ecr_registry(account()).settings());
    (world, result)
}

fn scanning(rules: &Value) -> Reply {
    Reply::Ok(json!({"scanningConfiguration": {"scanType": "ENHANCED", "rules": rules}}))
}

fn replication(rules: &Value) -> Reply {
    Reply::Ok(json!({"registryId": ACCOUNT, "replicationConfiguration": {"rules": rules}}))
}

fn signing(rules: usize) -> Reply {
    let rule = json!({"signingProfileArn": "arn:aws:signer:us-west-2:123456789012:/signing-profiles/p"});
    Reply::Ok(json!({"signingConfiguration": {"rules": vec![rule; rules]}}))
}

#[test]
fn the_settings_of_a_registry_are_asked_for_at_the_same_time() {
    let (world, result) = settings([
        scanning(&json!([
            {"scanFrequency": "CONTINUOUS_SCAN", "repositoryFilters": [{"filter": "prod-*", "filterType": "WILDCARD"}]},
            {"scanFrequency": "SOMETIMES", "repositoryFilters": []},
        ])),
        replication(&json!([
            {"destinations": [{"region": "eu-west-1", "registryId": ACCOUNT}],
                "repositoryFilters": [{"filter": "team/", "filterType": "PREFIX_MATCH"}]},
            {"destinations": [{"region": "us-east-1", "registryId": "999999999999"}]},
        ])),
        signing(2),
    ]);
    let to = |account: &str, region: &str| RegistryKey {
        account: account.parse().unwrap(),
        region: region.parse().unwrap(),
    };
    let rule = |frequency: &str, filters: &[&str]| ScanRule {
        frequency: frequency.to_owned(),
        filters: filters.iter().map(|&filter| filter.to_owned()).collect(),
    };
    assert_eq!(
        result.unwrap(),
        RegistrySettings {
            scanning: ScanMode::Enhanced,
            scan_rules: vec![rule("CONTINUOUS_SCAN", &["prod-*"]), rule("SOMETIMES", &[])],
            replication: vec![
                ReplicationRule {
                    destinations: vec![to(ACCOUNT, "eu-west-1")],
                    prefixes: vec!["team/".to_owned()],
                },
                ReplicationRule {
                    destinations: vec![to("999999999999", "us-east-1")],
                    prefixes: vec![],
                },
            ],
            signing_rules: 2,
        }
    );
    assert_eq!(world.clock().elapsed(), LATENCY);
    for operation in [SCANNING, REGISTRY, SIGNING] {
        assert_eq!(world.only_body(operation), json!({}));
    }
}

#[test]
fn a_setting_that_was_never_made_is_not_there() {
    let bare = Reply::Ok(json!({"scanningConfiguration": {"scanType": "BASIC"}}));
    for absent in [
        "SigningConfigurationNotFoundException",
        "UnknownOperationException",
        "InvalidAction",
    ] {
        for unconfigured in [Reply::Ok(json!({"registryId": ACCOUNT})), replication(&json!([]))] {
            let (_, result) = settings([bare.clone(), unconfigured, Reply::error(absent)]);
            let expected = RegistrySettings {
                scanning: ScanMode::Basic,
                scan_rules: vec![],
                replication: vec![],
                signing_rules: 0,
            };
            assert_eq!(result.unwrap(), expected, "{absent}");
        }
    }
}

#[test]
fn settings_that_cannot_be_read_are_errors_that_name_the_place() {
    let never = Retry::Never;
    let filter =
        |filter: Value| json!([{}, {"repositoryFilters": [{"filter": "*", "filterType": "WILDCARD"}, filter]}]);
    let prefix = |filter: Value| json!([{"repositoryFilters": [filter]}]);
    let to = |destination: Value| replication(&json!([{"destinations": [destination]}]));
    let (fine, none, some) = (|| scanning(&json!([])), || replication(&json!([])), || signing(1));
    let empty = || Reply::Ok(json!({}));
    for (replies, operation, retry, message) in [
        (
            [empty(), none(), some()],
            SCANNING,
            Retry::Later,
            "the answer does not say how the registry scans",
        ),
        (
            [
                scanning(&filter(json!({"filter": "a", "filterType": "REGEX"}))),
                none(),
                some(),
            ],
            SCANNING,
            never,
            "`rules[1].repositoryFilters[1].filterType` is `REGEX`, which this version does not know",
        ),
        (
            [scanning(&filter(json!({"filterType": "WILDCARD"}))), none(), some()],
            SCANNING,
            never,
            "`rules[1].repositoryFilters[1].filter` is empty",
        ),
        (
            [fine(), empty(), some()],
            REGISTRY,
            Retry::Later,
            "the answer does not describe the registry",
        ),
        (
            [fine(), to(json!({"region": "nowhere", "registryId": ACCOUNT})), some()],
            REGISTRY,
            never,
            "`rules[0].destinations[0]`: `nowhere` is not an AWS region: it looks like `us-west-2`",
        ),
        (
            [fine(), to(json!({"region": "eu-west-1"})), some()],
            REGISTRY,
            never,
            "`rules[0].destinations[0]`: `` is not an AWS account id: it has 12 digits",
        ),
        (
            [
                fine(),
                replication(&prefix(json!({"filterType": "PREFIX_MATCH"}))),
                some(),
            ],
            REGISTRY,
            never,
            "`rules[0].repositoryFilters[0].filter` is empty",
        ),
        (
            [
                fine(),
                replication(&prefix(json!({"filter": "a", "filterType": "GLOB"}))),
                some(),
            ],
            REGISTRY,
            never,
            "`rules[0].repositoryFilters[0].filterType` is `GLOB`, which this version does not know",
        ),
        (
            [fine(), none(), empty()],
            SIGNING,
            Retry::Later,
            "the answer does not hold the configuration",
        ),
    ] {
        let (_, result) = settings(replies);
        let error = result.expect_err(message);
        assert_eq!(
            (error.operation, error.retry, error.message.as_str()),
            (operation, retry, message)
        );
    }
}

#[test]
fn a_setting_that_is_refused_fails_them_all() {
    for operation in [SCANNING, REGISTRY, SIGNING] {
        for (code, retry) in [
            ("AccessDeniedException", Retry::Never),
            ("InvalidParameterException", Retry::Never),
            ("ValidationException", Retry::Never),
            ("ServerException", Retry::Later),
        ] {
            let world = FakeAws::new(move |request| match request.operation.as_str() {
                asked if asked == operation => Reply::error(code),
                SCANNING => scanning(&json!([])),
                REGISTRY => replication(&json!([])),
                _ => signing(0),
            });
            let result = world.run(world.aws().ecr_registry(account()).settings());
            assert_failed(result, operation, retry, code);
        }
    }
}
