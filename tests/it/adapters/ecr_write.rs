//! Changing the registry.

use serde_json::{Value, json};
use shared::{
    adapters::ecr::EcrWriter,
    domain::{finding::ScanStart, ids::Tag, image::ImageStatus},
    ports::{RegistryWriter as _, Retry},
    runtime::pace::{PUT_IMAGE_EVERY, Pace, Paced},
};

use super::*;
use crate::canned::{FakeAws, Reply, message};

const STORE: &str = "ecr:UpdateImageStorageClass";
const GET: &str = "ecr:BatchGetImage";
const PUT: &str = "ecr:PutImage";
const DESCRIBE: &str = "ecr:DescribeImages";
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

#[test]
fn a_tag_is_added_by_putting_the_same_manifest_under_it() {
    for reply in [
        Reply::Ok(json!({"image": {}})),
        Reply::error("ImageAlreadyExistsException"),
    ] {
        let (world, writer) = world([(GET, manifest()), (PUT, reply)]);
        assert_eq!(
            world.run(writer.add_tag(&key(), &"blocked-0123".parse().unwrap())),
            Ok(())
        );
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
fn a_tag_that_could_not_be_added_is_never_said_to_be() {
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
        let (world, writer) = world([(GET, manifest()), (PUT, Reply::error(code))]);
        assert_failed(
            world.run(writer.add_tag(&key(), &"b".parse().unwrap())),
            PUT,
            retry,
            code,
        );
    }
}

#[test]
fn without_its_manifest_an_image_gets_no_tag() {
    for code in [
        "InvalidParameterException",
        "LimitExceededException",
        "RepositoryNotFoundException",
        "UnableToGetUpstreamImageException",
    ] {
        let (world, writer) = world([(GET, Reply::error(code))]);
        assert_failed(
            world.run(writer.add_tag(&key(), &"b".parse().unwrap())),
            GET,
            Retry::Never,
            code,
        );
    }
    for (code, retry) in [
        ("ImageNotFound", Retry::Never),
        ("ImageInaccessible", Retry::Never),
        ("KmsError", Retry::Later),
        ("UpstreamTooManyRequests", Retry::Later),
        ("NewWord", Retry::Never),
    ] {
        let failure = json!({"failures": [
            {"imageId": {"imageDigest": DIGEST}, "failureCode": code, "failureReason": "because"}
        ]});
        let (world, writer) = world([(GET, Reply::Ok(failure))]);
        let error = assert_failed(
            world.run(writer.add_tag(&key(), &"b".parse().unwrap())),
            GET,
            retry,
            code,
        );
        assert_eq!(error.message, "because");
    }
    let other = json!({"images": [{"imageId": {"imageDigest": "sha256:bb"}, "imageManifest": MANIFEST}]});
    let empty = json!({"images": [{"imageId": {"imageDigest": DIGEST}}]});
    for reply in [json!({}), other, empty] {
        let (world, writer) = world([(GET, Reply::Ok(reply))]);
        assert_failed(
            world.run(writer.add_tag(&key(), &"b".parse().unwrap())),
            GET,
            Retry::Later,
            "MalformedResponse",
        );
    }
}

fn with_tags(tags: &[String]) -> Reply {
    Reply::Ok(json!({"imageDetails": [{"imageDigest": DIGEST, "imageTags": tags}]}))
}

fn has<const N: usize>(tags: [&str; N]) -> Reply {
    with_tags(&tags.map(str::to_owned))
}

#[test]
fn tags_are_removed_by_tag_alone_and_only_those_that_the_image_has() {
    let (world, writer) = world([
        (DESCRIBE, has(["v1", "latest", "blocked-0123"])),
        (DELETE, Reply::Ok(json!({"imageIds": [], "failures": []}))),
    ]);
    // `moved` is by now a tag of another image.
    assert_eq!(
        world.run(writer.remove_tags(&key(), &tags(["v1", "moved", "latest"]))),
        Ok(())
    );
    assert_eq!(
        world.only_body(DELETE),
        json!({
            "registryId": ACCOUNT,
            "repositoryName": REPOSITORY,
            "imageIds": [{"imageTag": "v1"}, {"imageTag": "latest"}],
        })
    );
}

#[test]
fn the_last_tag_is_never_removed() {
    for there in [&["v1"][..], &["v1", "v2"]] {
        let there: Vec<String> = there.iter().map(|&tag| tag.to_owned()).collect();
        let (world, writer) = world([(DESCRIBE, with_tags(&there))]);
        let result = world.run(writer.remove_tags(&key(), &tags(["v1", "v2", "v3"])));
        assert_failed(result, DELETE, Retry::Never, "LastTag");
        assert_eq!(world.count(DELETE), 0);
    }
}

#[test]
fn a_tag_that_is_gone_is_a_success_without_a_write() {
    let gone = [
        has(["blocked-0123"]),
        Reply::Ok(json!({"imageDetails": [{"imageDigest": DIGEST}]})),
        Reply::error("ImageNotFoundException"),
        Reply::error("RepositoryNotFoundException"),
    ];
    for reply in gone {
        let (world, writer) = world([(DESCRIBE, reply)]);
        assert_eq!(world.run(writer.remove_tags(&key(), &tags(["v1"]))), Ok(()));
        assert_eq!(world.count(DELETE), 0);
    }
    let (world, writer) = world([]);
    assert_eq!(world.run(writer.remove_tags(&key(), &[])), Ok(()));
}

#[test]
fn many_tags_are_removed_a_hundred_at_a_time() {
    let all: Vec<String> = (0..250).map(|n| format!("v{n}")).collect();
    let mut there = all.clone();
    there.push("blocked-0123".to_owned());
    let done = || (DELETE, Reply::Ok(json!({})));
    let (world, writer) = world([(DESCRIBE, with_tags(&there)), done(), done(), done()]);
    let all: Vec<Tag> = all.iter().map(|tag| tag.parse().unwrap()).collect();
    assert_eq!(world.run(writer.remove_tags(&key(), &all)), Ok(()));
    let sizes: Vec<usize> = world
        .calls()
        .iter()
        .skip(1)
        .map(|call| call.request.body["imageIds"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [100, 100, 50]);
}

#[test]
fn a_failure_inside_of_a_success_is_a_failure_unless_the_tag_is_gone() {
    let failures = |codes: &[&str]| {
        let failures: Vec<Value> = codes
            .iter()
            .map(|code| json!({"imageId": {"imageTag": "v1"}, "failureCode": code, "failureReason": "because"}))
            .collect();
        Reply::Ok(json!({"imageIds": [], "failures": failures}))
    };
    let remove = |reply: Reply| {
        let (world, writer) = world([(DESCRIBE, has(["v1", "blocked-0123"])), (DELETE, reply)]);
        world.run(writer.remove_tags(&key(), &tags(["v1"])))
    };
    assert_eq!(
        remove(failures(&["ImageNotFound", "ImageTagDoesNotMatchDigest"])),
        Ok(())
    );
    for (code, retry) in [
        ("ImageReferencedByManifestList", Retry::Never),
        ("InvalidImageTag", Retry::Never),
        ("InvalidImageDigest", Retry::Never),
        ("MissingDigestAndTag", Retry::Never),
        ("KmsError", Retry::Later),
        ("NewWord", Retry::Never),
    ] {
        let error = assert_failed(remove(failures(&["ImageNotFound", code])), DELETE, retry, code);
        assert_eq!(error.message, "because");
    }
    for code in ["InvalidParameterException", "RepositoryNotFoundException"] {
        assert_failed(remove(Reply::error(code)), DELETE, Retry::Never, code);
    }
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
        world.run(writer.add_tag(&image, &tag)),
        PUT,
        Retry::Never,
        "OtherRegistry",
    );
    assert_failed(
        world.run(writer.remove_tags(&image, &[tag])),
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
    let world = FakeAws::new(|request| match request.operation.as_str() {
        GET => Reply::Ok(json!({"images": [{"imageId": {"imageDigest": DIGEST}, "imageManifest": MANIFEST}]})),
        _ => Reply::Ok(json!({})),
    });
    let (writer, pace) = (world.aws().ecr_writer(account()), Pace::new(PUT_IMAGE_EVERY));
    let writer = Paced::new(&writer, &pace, world.clock());
    let key = key();
    world.run(async {
        let give = |tag: &'static str| {
            let (writer, key) = (&writer, &key);
            async move { writer.add_tag(key, &tag.parse().unwrap()).await }
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
