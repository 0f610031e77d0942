//! Reading the registry.

use serde_json::{Value, json};
use shared::{
    core::{
        finding::ScanTrigger,
        ids::{Digest, ImageRef},
        image::{Image, ImageStatus},
    },
    ports::{PortError, Pulled, Registry as _, Retry},
};

use super::*;
use crate::canned::{FakeAws, Reply};

const OPERATION: &str = "ecr:DescribeImages";
const CONFIGURATION: &str = "ecr:BatchGetRepositoryScanningConfiguration";

fn describe(image: &ImageRef, reply: Reply) -> (FakeAws, Result<Option<Image>, PortError>) {
    let world = FakeAws::scripted([(OPERATION, reply)]);
    let registry = world.aws().ecr_registry(account());
    let result = world.run(registry.image(&repository(), image));
    (world, result)
}

fn detail(more: Value) -> Reply {
    let detail = with(json!({"imageDigest": DIGEST, "imageStatus": "ACTIVE"}), more);
    Reply::Ok(json!({"imageDetails": [detail]}))
}

#[test]
fn an_image_is_asked_for_by_digest_or_tag_whatever_its_status() {
    for (image, id) in [
        (by_digest(), json!({"imageDigest": DIGEST})),
        (by_tag(), json!({"imageTag": "v1"})),
    ] {
        let (world, result) = describe(&image, detail(json!({})));
        assert!(result.unwrap().is_some());
        assert_eq!(
            world.only_body(OPERATION),
            json!({
                "registryId": ACCOUNT,
                "repositoryName": REPOSITORY,
                "imageIds": [id],
                "filter": {"imageStatus": "ANY"},
            })
        );
    }
}

#[test]
fn an_image_comes_with_all_that_is_known_of_it() {
    let (_, result) = describe(
        &by_tag(),
        detail(json!({
            "registryId": ACCOUNT,
            "repositoryName": REPOSITORY,
            "imageTags": ["v1", "latest"],
            "imageSizeInBytes": 1024,
            "imagePushedAt": 1_764_000_000.5,
            "lastRecordedPullTime": 1_764_000_001.0,
            "lastActivatedAt": 1_764_000_002,
            "lastArchivedAt": 1_764_000_003,
            "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactMediaType": "application/vnd.oci.image.config.v1+json",
            "subjectManifestDigest": "sha256:bb",
        })),
    );
    assert_eq!(
        result.unwrap().unwrap(),
        Image {
            digest: DIGEST.parse().unwrap(),
            tags: vec!["v1".parse().unwrap(), "latest".parse().unwrap()],
            status: ImageStatus::Active,
            pushed_at: Some("2025-11-24T16:00:00.5Z".parse().unwrap()),
            last_pulled_at: Some("2025-11-24T16:00:01Z".parse().unwrap()),
            last_activated_at: Some("2025-11-24T16:00:02Z".parse().unwrap()),
            manifest_media_type: Some("application/vnd.oci.image.manifest.v1+json".to_owned()),
            artifact_media_type: Some("application/vnd.oci.image.config.v1+json".to_owned()),
            subject: Some("sha256:bb".parse().unwrap()),
        }
    );
}

#[test]
fn every_status_is_distinguished() {
    for (word, status) in [
        (json!("ACTIVE"), ImageStatus::Active),
        (json!("ARCHIVED"), ImageStatus::Archived),
        (json!("ACTIVATING"), ImageStatus::Activating),
        (json!("FROZEN"), ImageStatus::Other("FROZEN".to_owned())),
        (json!(null), ImageStatus::Other("missing".to_owned())),
    ] {
        let (_, result) = describe(&by_digest(), detail(json!({"imageStatus": word})));
        assert_eq!(result.unwrap().unwrap().status, status);
    }
}

#[test]
fn what_is_unreadable_about_an_image_does_not_hide_it() {
    let odd = json!({"imageTags": ["v1", "a".repeat(200), "no tag"], "subjectManifestDigest": "?"});
    let (_, result) = describe(&by_digest(), detail(odd));
    let image = result.unwrap().unwrap();
    assert_eq!(image.tags, ["v1".parse().unwrap()]);
    assert_eq!(image.subject, None);
}

#[test]
fn there_is_no_image_where_the_registry_says_so() {
    for code in ["ImageNotFoundException", "RepositoryNotFoundException"] {
        let (_, result) = describe(&by_digest(), Reply::error(code));
        assert_eq!(result, Ok(None), "{code}");
    }
}

#[test]
fn a_digest_that_the_registry_refuses_names_no_image_unless_it_is_a_real_one() {
    let refused = || Reply::error("InvalidParameterException");
    for odd in [
        "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234",
        "sha512:aa",
    ] {
        let (_, result) = describe(&ImageRef::Digest(odd.parse().unwrap()), refused());
        assert_eq!(result, Ok(None), "{odd}");
    }
    for image in [by_digest(), by_tag()] {
        let (_, result) = describe(&image, refused());
        assert_failed(result, OPERATION, Retry::Never, "InvalidParameterException");
    }
}

const OTHER: &str = "sha256:1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Asks for two images at once, and then for each alone.
fn describe_both(replies: Vec<Reply>) -> (FakeAws, Result<Vec<Option<Image>>, PortError>) {
    let world = FakeAws::scripted(replies.into_iter().map(|reply| (OPERATION, reply)));
    let registry = world.aws().ecr_registry(account());
    let digests = [DIGEST.parse().unwrap(), OTHER.parse().unwrap()];
    let result = world.run(registry.images_of(&repository(), &digests));
    (world, result)
}

fn detail_of(digest: &str) -> Value {
    json!({"imageDigest": digest, "imageStatus": "ACTIVE"})
}

fn digests(found: &[Option<Image>]) -> Vec<Option<&str>> {
    let digests = found
        .iter()
        .map(|image| image.as_ref().map(|image| image.digest.as_str()));
    digests.collect()
}

#[test]
fn many_images_are_one_call_and_come_in_the_order_that_was_asked() {
    let reply = Reply::Ok(json!({"imageDetails": [detail_of(OTHER), detail_of(DIGEST)]}));
    let (world, result) = describe_both(vec![reply]);
    assert_eq!(digests(&result.unwrap()), [Some(DIGEST), Some(OTHER)]);
    assert_eq!(
        world.only_body(OPERATION),
        json!({
            "registryId": ACCOUNT,
            "repositoryName": REPOSITORY,
            "imageIds": [{"imageDigest": DIGEST}, {"imageDigest": OTHER}],
            "filter": {"imageStatus": "ANY"},
        })
    );
    let world = FakeAws::new(|request| {
        let asked = request.body["imageIds"].as_array().unwrap();
        assert!(asked.len() <= 100, "{}", asked.len());
        let details = asked.iter().map(|id| detail_of(id["imageDigest"].as_str().unwrap()));
        Reply::Ok(json!({"imageDetails": details.collect::<Vec<_>>()}))
    });
    let all: Vec<Digest> = (0..250).map(|n| format!("sha256:{n:064x}").parse().unwrap()).collect();
    let registry = world.aws().ecr_registry(account());
    let found = world.run(registry.images_of(&repository(), &all)).unwrap();
    assert_eq!((found.len(), world.calls().len()), (250, 3));
    assert_eq!(world.run(registry.images_of(&repository(), &[])), Ok(vec![]));
}

#[test]
fn one_image_that_is_not_there_is_no_reason_to_take_the_others_for_gone() {
    for code in ["ImageNotFoundException", "InvalidParameterException"] {
        let replies = vec![
            Reply::error(code),
            Reply::Ok(json!({"imageDetails": [detail_of(DIGEST)]})),
            Reply::error("ImageNotFoundException"),
        ];
        let (world, result) = describe_both(replies);
        assert_eq!(digests(&result.unwrap()), [Some(DIGEST), None], "{code}");
        assert_eq!(world.calls().len(), 3);
    }
}

#[test]
fn what_an_answer_about_many_images_does_not_say_is_asked_for_alone() {
    for odd in [
        json!({}),
        json!({"imageDetails": [detail_of(DIGEST)]}),
        json!({"imageDetails": [detail_of(DIGEST), {"imageStatus": "ACTIVE"}]}),
        json!({"imageDetails": [detail_of(DIGEST), detail_of("sha256:bb")]}),
    ] {
        let world = FakeAws::new(
            move |request| match request.body["imageIds"].as_array().unwrap().as_slice() {
                [one] => Reply::Ok(json!({"imageDetails": [detail_of(one["imageDigest"].as_str().unwrap())]})),
                _ => Reply::Ok(odd.clone()),
            },
        );
        let registry = world.aws().ecr_registry(account());
        let both = [DIGEST.parse().unwrap(), OTHER.parse().unwrap()];
        let found = world.run(registry.images_of(&repository(), &both)).unwrap();
        assert_eq!(digests(&found), [Some(DIGEST), Some(OTHER)]);
    }
}

#[test]
fn trouble_with_many_images_is_not_their_absence() {
    for (code, retry) in [
        ("ThrottlingException", Retry::Later),
        ("ServerException", Retry::Later),
        ("AccessDeniedException", Retry::Never),
    ] {
        let world = FakeAws::new(move |_| Reply::error(code));
        let registry = world.aws().ecr_registry(account());
        let both = [DIGEST.parse().unwrap(), OTHER.parse().unwrap()];
        assert_failed(
            world.run(registry.images_of(&repository(), &both)),
            OPERATION,
            retry,
            code,
        );
    }
}

#[test]
fn an_answer_without_the_image_is_not_the_absence_of_the_image() {
    for reply in [
        json!({}),
        json!({"imageDetails": []}),
        json!({"imageDetails": [{"imageTags": ["v1"]}]}),
        json!({"imageDetails": [{"imageDigest": "sha256:bb"}]}),
    ] {
        let (_, result) = describe(&by_digest(), Reply::Ok(reply));
        assert_failed(result, OPERATION, Retry::Later, "MalformedResponse");
    }
    for digest in [json!(null), json!(""), json!("latest")] {
        let (_, result) = describe(&by_tag(), detail(json!({"imageDigest": digest})));
        assert_failed(result, OPERATION, Retry::Later, "MalformedResponse");
    }
}

fn scan_trigger(reply: Reply) -> (FakeAws, Result<Option<ScanTrigger>, PortError>) {
    let world = FakeAws::scripted([(CONFIGURATION, reply)]);
    let registry = world.aws().ecr_registry(account());
    let result = world.run(registry.scan_trigger(&repository()));
    (world, result)
}

fn configuration(frequency: &Value) -> Reply {
    Reply::Ok(json!({
        "scanningConfigurations": [
            {"repositoryName": "team/web", "scanFrequency": "MANUAL"},
            {"repositoryName": REPOSITORY, "scanOnPush": false, "scanFrequency": frequency, "appliedScanFilters": []},
        ],
        "failures": [],
    }))
}

#[test]
fn a_repository_is_scanned_by_itself_unless_it_says_manual() {
    for (frequency, trigger) in [
        (json!("SCAN_ON_PUSH"), ScanTrigger::Automatic),
        (json!("CONTINUOUS_SCAN"), ScanTrigger::Automatic),
        (json!("MANUAL"), ScanTrigger::Manual),
        (json!("HOURLY"), ScanTrigger::Automatic),
        (json!(null), ScanTrigger::Automatic),
    ] {
        let (world, result) = scan_trigger(configuration(&frequency));
        assert_eq!(result, Ok(Some(trigger)), "{frequency}");
        assert_eq!(world.only_body(CONFIGURATION), json!({"repositoryNames": [REPOSITORY]}));
    }
}

#[test]
fn a_repository_that_is_not_there_has_no_trigger() {
    let failure = |code: &str| {
        Reply::Ok(json!({"failures": [
            {"repositoryName": REPOSITORY, "failureCode": code, "failureReason": "because"}
        ]}))
    };
    assert_eq!(scan_trigger(failure("REPOSITORY_NOT_FOUND")).1, Ok(None));
    assert_eq!(scan_trigger(Reply::error("RepositoryNotFoundException")).1, Ok(None));

    let error = assert_failed(
        scan_trigger(failure("ON_FIRE")).1,
        CONFIGURATION,
        Retry::Never,
        "ON_FIRE",
    );
    assert_eq!(error.message, "because");
    for code in ["InvalidParameterException", "ValidationException"] {
        assert_failed(scan_trigger(Reply::error(code)).1, CONFIGURATION, Retry::Never, code);
    }
    let other = json!({"scanningConfigurations": [{"repositoryName": "team/web", "scanFrequency": "MANUAL"}]});
    for reply in [json!({}), other] {
        assert_failed(
            scan_trigger(Reply::Ok(reply)).1,
            CONFIGURATION,
            Retry::Later,
            "MalformedResponse",
        );
    }
}

#[test]
fn a_trigger_is_asked_for_once_and_its_absence_every_time() {
    let world = FakeAws::scripted([
        (CONFIGURATION, Reply::error("RepositoryNotFoundException")),
        (CONFIGURATION, configuration(&json!("MANUAL"))),
    ]);
    let aws = world.aws();
    for expected in [
        None,
        Some(ScanTrigger::Manual),
        Some(ScanTrigger::Manual),
        Some(ScanTrigger::Manual),
    ] {
        // A new adapter of the same `Aws` knows what the one before knew.
        let registry = aws.ecr_registry(account());
        assert_eq!(world.run(registry.scan_trigger(&repository())), Ok(expected));
    }
    assert_eq!(world.count(CONFIGURATION), 2);
}

#[test]
fn a_manifest_comes_as_it_was_pushed_or_is_not_there() {
    const OPERATION: &str = "ecr:BatchGetImage";
    let ask = |reply| {
        let world = FakeAws::scripted([(OPERATION, reply)]);
        let registry = world.aws().ecr_registry(account());
        world.run(registry.manifest(&key()))
    };
    let found = |manifest: &str| {
        Reply::Ok(json!({"images": [{"imageId": {"imageDigest": DIGEST}, "imageManifest": manifest}], "failures": []}))
    };
    let failed = |code: &str| {
        Reply::Ok(json!({"images": [], "failures": [{"imageId": {"imageDigest": DIGEST}, "failureCode": code}]}))
    };
    assert_eq!(
        ask(found("{ \"layers\": [] }")),
        Ok(Some("{ \"layers\": [] }".to_owned()))
    );
    assert_eq!(ask(failed("ImageNotFound")), Ok(None));
    assert_failed(ask(failed("KmsError")), OPERATION, Retry::Later, "KmsError");
    assert_failed(
        ask(failed("ImageInaccessible")),
        OPERATION,
        Retry::Never,
        "ImageInaccessible",
    );
    assert_failed(
        ask(Reply::error("RepositoryNotFoundException")),
        OPERATION,
        Retry::Never,
        "RepositoryNotFoundException",
    );
}

fn pulled(replies: Vec<Reply>, after: Option<&str>) -> (FakeAws, Result<Pulled, PortError>) {
    let world = FakeAws::scripted(replies.into_iter().map(|reply| (OPERATION, reply)));
    let registry = world.aws().ecr_registry(account());
    let since = "2026-11-10T00:00:00Z".parse().unwrap();
    let result = world.run(registry.pulled_since(&repository(), since, after));
    (world, result)
}

#[test]
fn what_was_pulled_is_found_page_by_page() {
    let page = |digest: &str, pulled: Value, token: Value| {
        Reply::Ok(json!({"imageDetails": [
            {"imageDigest": digest, "imageStatus": "ACTIVE", "lastRecordedPullTime": pulled},
            {"imageDigest": "sha256:00", "imageStatus": "ACTIVE", "lastRecordedPullTime": 1_700_000_000},
            {"imageDigest": "sha256:0f", "imageStatus": "ACTIVE"},
            {"imageStatus": "ACTIVE", "lastRecordedPullTime": 1_795_467_000},
        ], "nextToken": token}))
    };
    for (after, token, next) in [
        (None, json!("2"), Some("2")),
        (Some("2"), json!(null), None),
        (Some("2"), json!(""), None),
    ] {
        let (world, result) = pulled(vec![page("sha256:aa", json!(1_795_467_000), token)], after);
        let found = result.unwrap();
        let named: Vec<_> = found.images.iter().map(|image| image.digest.as_str()).collect();
        assert_eq!((named, found.next.as_deref()), (vec!["sha256:aa"], next));
        let asked = &world.calls()[0].request.body;
        assert_eq!(asked["nextToken"], json!(after));
        assert_eq!(asked["filter"], json!({"imageStatus": "ACTIVE"}));
        assert_eq!(asked["imageIds"], Value::Null);
    }
}

#[test]
fn a_page_of_indexes_names_what_may_reference_others_and_what_cannot_be_read() {
    let index = "application/vnd.oci.image.index.v1+json";
    let image = "application/vnd.oci.image.manifest.v1+json";
    let entry = |digest: &str, media_type: Value, status: &str| json!({"imageDigest": digest, "imageStatus": status, "imageManifestMediaType": media_type});
    let entries = json!([
        entry("sha256:aa", json!(index), "ACTIVE"),
        entry("sha256:bb", json!(image), "ACTIVE"),
        entry("sha256:cc", json!(index), "ARCHIVED"),
        // On its way back, and one whose type is not said.
        entry("sha256:dd", json!(index), "ACTIVATING"),
        entry("sha256:ee", json!(null), "ACTIVE"),
        {"imageStatus": "ACTIVE"},
    ]);
    for (reply, after, expected) in [
        (
            Reply::Ok(json!({"imageDetails": entries, "nextToken": "2"})),
            None,
            (vec!["sha256:aa", "sha256:dd", "sha256:ee"], 1, Some("2")),
        ),
        (
            Reply::Ok(json!({"imageDetails": [], "nextToken": null})),
            Some("2"),
            (vec![], 0, None),
        ),
        (Reply::error("RepositoryNotFoundException"), None, (vec![], 0, None)),
    ] {
        let world = FakeAws::scripted([(OPERATION, reply)]);
        let registry = world.aws().ecr_registry(account());
        let found = world.run(registry.indexes(&repository(), after)).unwrap();
        let named: Vec<&str> = found.items.iter().map(|digest| digest.as_str()).collect();
        assert_eq!((named, found.unreadable.len(), found.next.as_deref()), expected);
        let asked = &world.calls()[0].request.body;
        assert_eq!(asked["filter"], json!({"imageStatus": "ANY"}));
        assert_eq!(asked["nextToken"], json!(after));
    }
}

#[test]
fn nothing_was_pulled_from_a_repository_that_is_not_there() {
    let (_, result) = pulled(vec![Reply::error("RepositoryNotFoundException")], None);
    assert_eq!(
        result,
        Ok(Pulled {
            images: vec![],
            next: None
        })
    );
    let (_, result) = pulled(vec![Reply::error("AccessDeniedException")], None);
    assert_failed(result, OPERATION, Retry::Never, "AccessDeniedException");
}

/// An image under an index that is not known would be blocked; one that runs and is not known excuses nothing.
#[test]
fn an_answer_without_a_list_is_no_list_of_nothing_and_a_page_that_repeats_its_token_ends_it() {
    for (answer, code) in [
        (json!({"imageDetails": null}), "MalformedResponse"),
        (json!({"nextToken": "3"}), "MalformedResponse"),
        (json!({"imageDetails": [], "nextToken": "2"}), "RepeatedToken"),
    ] {
        let (_, result) = pulled(vec![Reply::Ok(answer.clone())], Some("2"));
        assert_failed(result, OPERATION, Retry::Later, code);
        let world = FakeAws::scripted([(OPERATION, Reply::Ok(answer))]);
        let indexes = world.run(world.aws().ecr_registry(account()).indexes(&repository(), Some("2")));
        assert_failed(indexes, OPERATION, Retry::Later, code);
    }
}
