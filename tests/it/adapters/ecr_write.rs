//! Changing the registry.

use serde_json::{Value, json};
use shared::core::{
    finding::ScanStart,
    ids::{RepositoryKey, Tag},
    image::ImageStatus,
};
use shared::{
    aws::ecr::EcrWriter,
    lambda::pace::{PUT_IMAGE_EVERY, Pace, Paced},
    ports::{Manifest, RegistryWriter as _, Retry, TagAnswer},
};

use super::*;
use crate::canned::{FakeAws, Reply, message};

const STORE: &str = "ecr:UpdateImageStorageClass";
const GET: &str = "ecr:BatchGetImage";
const PUT: &str = "ecr:PutImage";
const DELETE: &str = "ecr:BatchDeleteImage";
const START: &str = "ecr:StartImageScan";

const MANIFEST: &str = "{\"schemaVersion\": 2}\n";
const MEDIA_TYPE: &str = "application/vnd.oci.image.index.v1+json";

fn world<const N: usize>(replies: [(&'static str, Reply); N]) -> (FakeAws, EcrWriter) {
    let world = FakeAws::scripted(replies);
    let writer = world.aws().ecr_writer(account());
    (world, writer)
}

fn tags<const N: usize>(tags: [&str; N]) -> Vec<Tag> {
    tags.iter().map(|tag| tag.parse().unwrap()).collect()
}

#[test]
fn an_image_is_archived_and_restored_by_digest() {
    for (archive, class, word, status) in [
        (true, "ARCHIVE", "ARCHIVED", ImageStatus::Archived),
        (false, "STANDARD", "ACTIVATING", ImageStatus::Activating),
        (false, "STANDARD", "ACTIVE", ImageStatus::Active),
        (true, "ARCHIVE", "FREEZING", ImageStatus::Other("FREEZING".to_owned())),
    ] {
        let (world, writer) = world([(STORE, Reply::Ok(json!({"imageStatus": word})))]);
        let answer = world.run(async {
            if archive {
                writer.archive(&key()).await
            } else {
                writer.restore(&key()).await
            }
        });
        assert_eq!(answer, Ok(status));
        assert_eq!(
            world.only_body(STORE),
            json!({
                "registryId": ACCOUNT,
                "repositoryName": REPOSITORY,
                "imageId": {"imageDigest": DIGEST},
                "targetStorageClass": class,
            })
        );
    }
}

#[test]
fn an_image_that_could_not_be_archived_is_never_said_to_be() {
    for code in [
        "ImageNotFoundException",
        "ImageStorageClassUpdateNotSupportedException",
        "InvalidParameterException",
        "RepositoryNotFoundException",
        "ValidationException",
    ] {
        let (world, writer) = world([(STORE, Reply::error(code))]);
        assert_failed(world.run(writer.archive(&key())), STORE, Retry::Never, code);
    }
    let (world, writer) = world([(STORE, Reply::Ok(json!({})))]);
    assert_failed(
        world.run(writer.archive(&key())),
        STORE,
        Retry::Later,
        "MalformedResponse",
    );
}

fn manifest() -> Reply {
    Reply::Ok(json!({
        "images": [{
            "registryId": ACCOUNT,
            "repositoryName": REPOSITORY,
            "imageId": {"imageDigest": DIGEST, "imageTag": "v1"},
            "imageManifest": MANIFEST,
            "imageManifestMediaType": MEDIA_TYPE,
        }],
        "failures": [],
    }))
}

/// A manifest, as the adapter gives it.
pub(super) fn whole() -> Manifest {
    Manifest {
        text: MANIFEST.to_owned(),
        media_type: Some(MEDIA_TYPE.to_owned()),
    }
}

#[test]
fn a_tag_is_added_by_putting_the_same_manifest_under_it() {
    let (world, writer) = world([(GET, manifest())]);
    assert_eq!(world.run(writer.manifest_to_put(&key())), Ok(Some(whole())));
    assert_eq!(
        world.only_body(GET),
        json!({
            "registryId": ACCOUNT,
            "repositoryName": REPOSITORY,
            "imageIds": [{"imageDigest": DIGEST}],
            "acceptedMediaTypes": [
                "application/vnd.docker.distribution.manifest.v1+json",
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.distribution.manifest.list.v2+json",
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.oci.image.index.v1+json",
            ],
        })
    );
    for reply in [
        Reply::Ok(json!({"image": {}})),
        Reply::error("ImageAlreadyExistsException"),
    ] {
        let (world, writer) = self::world([(PUT, reply)]);
        let tag = "blocked-0123".parse().unwrap();
        assert_eq!(world.run(writer.put(&key(), &whole(), &tag)), Ok(()));
        assert_eq!(
            world.only_body(PUT),
            json!({
                "registryId": ACCOUNT,
                "repositoryName": REPOSITORY,
                "imageManifest": MANIFEST,
                "imageManifestMediaType": MEDIA_TYPE,
                "imageTag": "blocked-0123",
                "imageDigest": DIGEST,
            })
        );
    }
}

#[test]
fn a_tag_that_could_not_be_added_is_a_failure() {
    for (code, retry) in [
        ("ImageDigestDoesNotMatchException", Retry::Never),
        ("ImageTagAlreadyExistsException", Retry::Never),
        ("InvalidParameterException", Retry::Never),
        ("KmsException", Retry::Later),
        ("LayersNotFoundException", Retry::Never),
        ("LimitExceededException", Retry::Never),
        ("ReferencedImagesNotFoundException", Retry::Never),
        ("RepositoryNotFoundException", Retry::Never),
    ] {
        let (world, writer) = world([(PUT, Reply::error(code))]);
        let tag = "b".parse().unwrap();
        assert_failed(world.run(writer.put(&key(), &whole(), &tag)), PUT, retry, code);
    }
}

#[test]
fn a_manifest_is_there_or_not_or_not_known() {
    for code in [
        "InvalidParameterException",
        "LimitExceededException",
        "RepositoryNotFoundException",
        "UnableToGetUpstreamImageException",
    ] {
        let (world, writer) = world([(GET, Reply::error(code))]);
        let manifest = world.run(writer.manifest_to_put(&key()));
        assert_failed(manifest, GET, Retry::Never, code);
    }
    let failure = |code: &str| {
        Reply::Ok(json!({"failures": [
            {"imageId": {"imageDigest": DIGEST}, "failureCode": code, "failureReason": "because"}
        ]}))
    };
    // Deleted, or in the archive.
    let (gone, writer) = world([(GET, failure("ImageNotFound"))]);
    assert_eq!(gone.run(writer.manifest_to_put(&key())), Ok(None));
    for (code, retry) in [
        ("ImageInaccessible", Retry::Never),
        ("KmsError", Retry::Later),
        ("UpstreamTooManyRequests", Retry::Later),
        ("NewWord", Retry::Never),
    ] {
        let (world, writer) = world([(GET, failure(code))]);
        let error = assert_failed(world.run(writer.manifest_to_put(&key())), GET, retry, code);
        assert_eq!(error.message, "because");
    }
    let other = json!({"images": [{"imageId": {"imageDigest": "sha256:bb"}, "imageManifest": MANIFEST}]});
    let empty = json!({"images": [{"imageId": {"imageDigest": DIGEST}}]});
    for reply in [json!({}), other, empty] {
        let (world, writer) = world([(GET, Reply::Ok(reply))]);
        let manifest = world.run(writer.manifest_to_put(&key()));
        assert_failed(manifest, GET, Retry::Later, "MalformedResponse");
    }
}

#[test]
fn tags_are_removed_by_tag_alone_and_the_answer_says_from_which_image() {
    let digest = |digest: &str| digest.parse().unwrap();
    let failure =
        |tag: &str, code: &str| json!({"imageId": {"imageTag": tag}, "failureCode": code, "failureReason": "because"});
    let (world, writer) = world([(
        DELETE,
        Reply::Ok(json!({
            "imageIds": [
                {"imageTag": "moved", "imageDigest": "sha256:bb"},
                {"imageTag": "v1", "imageDigest": DIGEST},
                {"imageTag": "nameless"},
            ],
            "failures": [
                failure("gone", "ImageNotFound"),
                failure("led-to", "ImageReferencedByManifestList"),
                failure("later", "KmsError"),
                failure("never", "NewWord"),
            ],
        })),
    )]);
    let asked = tags([
        "v1",
        "moved",
        "nameless",
        "gone",
        "led-to",
        "later",
        "never",
        "forgotten",
    ]);
    let answers = world.run(writer.remove_tags(&repository_key(), &asked)).unwrap();
    let failed = |answer: &TagAnswer| match answer {
        TagAnswer::Failed(error) => (error.operation, error.retry, error.code.clone(), error.message.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(answers.iter().map(|(tag, _)| tag.clone()).collect::<Vec<_>>(), asked);
    let answers: Vec<TagAnswer> = answers.into_iter().map(|(_, answer)| answer).collect();
    assert_eq!(
        answers[..5],
        [
            TagAnswer::From(digest(DIGEST)),
            TagAnswer::From(digest("sha256:bb")),
            TagAnswer::Unknown,
            TagAnswer::Gone,
            TagAnswer::Referenced,
        ]
    );
    assert_eq!(
        failed(&answers[5]),
        (DELETE, Retry::Later, "KmsError".into(), "because".into())
    );
    assert_eq!(
        failed(&answers[6]),
        (DELETE, Retry::Never, "NewWord".into(), "because".into())
    );
    assert_eq!(answers[7], TagAnswer::Unknown);
    let ids: Vec<Value> = asked.iter().map(|tag| json!({"imageTag": tag.as_str()})).collect();
    assert_eq!(
        world.only_body(DELETE),
        json!({"registryId": ACCOUNT, "repositoryName": REPOSITORY, "imageIds": ids})
    );
    for code in ["InvalidParameterException", "RepositoryNotFoundException"] {
        let (world, writer) = self::world([(DELETE, Reply::error(code))]);
        let result = world.run(writer.remove_tags(&repository_key(), &tags(["v1"])));
        assert_failed(result, DELETE, Retry::Never, code);
    }
    let (none, writer) = self::world([]);
    assert_eq!(none.run(writer.remove_tags(&repository_key(), &[])), Ok(Vec::new()));
}

#[test]
fn a_scan_is_asked_for_by_digest() {
    let (world, writer) = world([(START, Reply::Ok(json!({"imageScanStatus": {"status": "IN_PROGRESS"}})))]);
    assert_eq!(world.run(writer.start_scan(&key())), Ok(ScanStart::Started));
    assert_eq!(
        world.only_body(START),
        json!({"registryId": ACCOUNT, "repositoryName": REPOSITORY, "imageId": {"imageDigest": DIGEST}})
    );
}

#[test]
fn what_comes_of_asking_for_a_scan() {
    for (code, start) in [
        ("LimitExceededException", ScanStart::LimitExceeded),
        ("UnsupportedImageTypeException", ScanStart::Unsupported),
        ("ImageArchivedException", ScanStart::Archived),
        ("ImageNotFoundException", ScanStart::ImageGone),
        ("RepositoryNotFoundException", ScanStart::ImageGone),
        (
            "ValidationException",
            ScanStart::NotOffered(message("ValidationException")),
        ),
    ] {
        // Each is asked once: a limit of one scan a day is no rate, whatever the SDK takes it for.
        let (world, writer) = world([(START, Reply::error(code))]);
        assert_eq!(world.run(writer.start_scan(&key())), Ok(start), "{code}");
    }
    let (world, writer) = world([(START, Reply::error("InvalidParameterException"))]);
    assert_failed(
        world.run(writer.start_scan(&key())),
        START,
        Retry::Never,
        "InvalidParameterException",
    );
}

#[test]
fn an_image_of_another_registry_is_not_touched() {
    let (world, writer) = world([]);
    let image = ImageKey {
        account: "210987654321".parse().unwrap(),
        ..key()
    };
    let tag = "v1".parse().unwrap();
    assert_failed(world.run(writer.archive(&image)), STORE, Retry::Never, "OtherRegistry");
    assert_failed(world.run(writer.restore(&image)), STORE, Retry::Never, "OtherRegistry");
    assert_failed(
        world.run(writer.put(&image, &whole(), &tag)),
        PUT,
        Retry::Never,
        "OtherRegistry",
    );
    assert_failed(
        world.run(writer.remove_tags(&RepositoryKey::of(&image), &[tag])),
        DELETE,
        Retry::Never,
        "OtherRegistry",
    );
    assert_failed(
        world.run(writer.start_scan(&image)),
        START,
        Retry::Never,
        "OtherRegistry",
    );
}

#[test]
fn tags_that_are_given_at_the_same_time_are_put_one_after_the_other() {
    let world = FakeAws::new(|_| Reply::Ok(json!({})));
    let (writer, pace) = (world.aws().ecr_writer(account()), Pace::new(PUT_IMAGE_EVERY));
    let writer = Paced::new(&writer, &pace, world.clock());
    let key = key();
    world.run(async {
        let give = |tag: &'static str| {
            let (writer, key) = (&writer, &key);
            async move { writer.put(key, &whole(), &tag.parse().unwrap()).await }
        };
        assert_eq!(tokio::join!(give("a"), give("b"), give("c")), (Ok(()), Ok(()), Ok(())));
    });
    let puts: Vec<_> = world
        .calls()
        .into_iter()
        .filter(|call| call.request.operation == PUT)
        .collect();
    let between: Vec<_> = puts.windows(2).map(|puts| puts[1].start - puts[0].start).collect();
    assert_eq!(between, [PUT_IMAGE_EVERY; 2]);
}
