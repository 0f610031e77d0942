//! Removing tags through the real adapter, in an ECR that deletes an image with its last tag.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use shared::core::{ids::Tag, marker::untagged_mark};
use shared::{
    engine::tag_removal::{Claims, REFERENCED, TagRemoval, Taken},
    testing::{self, Parts, World},
};

use super::*;
use crate::canned::{FakeAws, Reply};

const OTHER: &str = "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

/// Tags by image.
type Images = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

/// The behaviour that the API leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// The answer names the digest.
    Names,
    /// It does not.
    NamesNot,
    /// An index references the image: its last tag cannot be removed.
    LedTo,
}

const READINGS: [Reading; 3] = [Reading::Names, Reading::NamesNot, Reading::LedTo];

/// ECR with these images. `before` is what a person does just before a call arrives.
fn ecr(
    images: &Images,
    reading: Reading,
    before: impl Fn(&str, &mut BTreeMap<String, Vec<String>>) + Send + Sync + 'static,
) -> FakeAws {
    let images = Arc::clone(images);
    FakeAws::new(move |request| {
        let mut images = images.lock().unwrap();
        before(&request.operation, &mut images);
        let named = |id: &Value| -> Option<String> {
            let has = |tags: &Vec<String>| tags.iter().any(|tag| Some(tag.as_str()) == id["imageTag"].as_str());
            match id["imageDigest"].as_str() {
                Some(digest) => images.contains_key(digest).then(|| digest.to_owned()),
                None => images
                    .iter()
                    .find(|(_, tags)| has(tags))
                    .map(|(digest, _)| digest.clone()),
            }
        };
        let id = request.body["imageIds"][0].clone();
        match request.operation.as_str() {
            "ecr:DescribeImages" => match named(&id) {
                Some(digest) => Reply::Ok(json!({"imageDetails": [
                    {"imageDigest": digest, "imageTags": images[&digest], "imageStatus": "ACTIVE"}
                ]})),
                None => Reply::error("ImageNotFoundException"),
            },
            "ecr:BatchGetImage" => Reply::Ok(json!({"images": named(&id).map(|digest| {
                json!([{"imageId": {"imageDigest": digest}, "imageManifest": "{}"}])
            })})),
            "ecr:PutImage" => {
                let tag = request.body["imageTag"].as_str().unwrap().to_owned();
                images.values_mut().for_each(|tags| tags.retain(|other| *other != tag));
                images
                    .entry(request.body["imageDigest"].as_str().unwrap().to_owned())
                    .or_default()
                    .push(tag);
                Reply::Ok(json!({"image": {}}))
            }
            "ecr:BatchDeleteImage" => {
                assert_eq!(
                    id.get("imageDigest"),
                    None,
                    "what a digest and a tag together delete is documented nowhere"
                );
                let Some(digest) = named(&id) else {
                    let failure = json!({"imageId": id, "failureCode": "ImageNotFound", "failureReason": "x"});
                    return Reply::Ok(json!({"failures": [failure]}));
                };
                let tags = images.get_mut(&digest).unwrap();
                if reading == Reading::LedTo && tags.len() == 1 {
                    let failure = json!({"imageId": id, "failureCode": REFERENCED, "failureReason": "x"});
                    return Reply::Ok(json!({"failures": [failure]}));
                }
                tags.retain(|tag| Some(tag.as_str()) != id["imageTag"].as_str());
                if tags.is_empty() {
                    images.remove(&digest);
                }
                let mut removed = id.clone();
                if reading != Reading::NamesNot {
                    removed["imageDigest"] = json!(digest);
                }
                Reply::Ok(json!({"imageIds": [removed]}))
            }
            other => panic!("{other}"),
        }
    })
}

fn images(images: &[(&str, &[&str])]) -> Images {
    let of = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect();
    Arc::new(Mutex::new(
        images
            .iter()
            .map(|(digest, tags)| ((*digest).to_owned(), of(tags)))
            .collect(),
    ))
}

/// Takes a tag from the image, with the ledger and the topics of a world.
async fn take(aws: &FakeAws, world: &World, tag: &str) -> Taken {
    let (registry, writer) = (aws.aws().ecr_registry(account()), aws.aws().ecr_writer(account()));
    let policy = testing::policy("");
    let services = Parts {
        world,
        registry: &registry,
        writer: Some(&writer),
        notifier: world,
    };
    let removal = TagRemoval {
        services: &services,
        writer: &writer,
        policy: &policy,
    };
    let tag: Tag = tag.parse().unwrap();
    let mark = untagged_mark(&key().digest).unwrap();
    removal.take(&key(), &[tag], &mark, Claims::Write("one")).await.unwrap()
}

fn told(world: &World) -> Vec<(String, String)> {
    let text = |document: &Value, member: &str| document[member].as_str().unwrap_or_default().to_owned();
    let sent = world.sent();
    let documents = sent
        .iter()
        .map(|sent| serde_json::from_str::<Value>(&sent.message.default).unwrap());
    documents
        .map(|document| (text(&document, "kind"), text(&document, "digest")))
        .collect()
}

#[test]
fn two_removals_at_the_same_time_do_not_delete_an_image() {
    for reading in READINGS {
        let there = images(&[(DIGEST, &["main", "dev"])]);
        let (aws, world) = (ecr(&there, reading, |_, _| {}), World::new());
        aws.run(async { tokio::join!(take(&aws, &world, "main"), take(&aws, &world, "dev")) });
        let there = there.lock().unwrap();
        assert_eq!(there[DIGEST], ["quarantine-0123456789ab"], "{reading:?}");
        assert!(told(&world).is_empty());
    }
}

/// Before the last read, a person moves the tag: it is not taken from the new image.
#[test]
fn a_tag_that_was_moved_just_now_is_not_taken_from_the_new_image() {
    for reading in READINGS {
        let there = images(&[(DIGEST, &["latest", "v1"])]);
        let moved = |operation: &str, images: &mut BTreeMap<String, Vec<String>>| {
            if operation == "ecr:PutImage" {
                images.get_mut(DIGEST).unwrap().retain(|tag| tag != "latest");
                images.insert(OTHER.to_owned(), vec!["latest".to_owned()]);
            }
        };
        let (aws, world) = (ecr(&there, reading, moved), World::new());
        let taken = aws.run(take(&aws, &world, "latest"));
        assert_eq!(there.lock().unwrap()[OTHER], ["latest"], "{reading:?}");
        assert_eq!((taken.damage, aws.count("ecr:BatchDeleteImage")), (vec![], 0));
    }
}

/// After the last read, a person moves the tag to a new image: nothing can keep ECR from deleting it. An alert names it.
#[test]
fn an_image_that_is_hit_after_the_last_read_is_alerted_by_name() {
    for (reading, kept) in [(Reading::Names, false), (Reading::LedTo, true)] {
        let there = images(&[(DIGEST, &["latest", "v1"])]);
        let moved = |operation: &str, images: &mut BTreeMap<String, Vec<String>>| {
            if operation == "ecr:BatchDeleteImage" {
                images.get_mut(DIGEST).unwrap().retain(|tag| tag != "latest");
                images.insert(OTHER.to_owned(), vec!["latest".to_owned()]);
            }
        };
        let (aws, world) = (ecr(&there, reading, moved), World::new());
        let taken = aws.run(take(&aws, &world, "latest"));
        assert_eq!(there.lock().unwrap().contains_key(OTHER), kept);
        if kept {
            assert_eq!(taken.refused.unwrap().code, REFERENCED, "an answer, not an error");
            assert!(told(&world).is_empty());
        } else {
            assert_eq!(told(&world), [("image-lost".to_owned(), OTHER.to_owned())]);
        }
    }
}

/// The same with an image that has other tags: it gets the tag back.
#[test]
fn a_tag_that_is_taken_after_the_last_read_is_given_back() {
    let there = images(&[(DIGEST, &["latest", "v1"]), (OTHER, &["v2"])]);
    let moved = |operation: &str, images: &mut BTreeMap<String, Vec<String>>| {
        if operation == "ecr:BatchDeleteImage" {
            images.get_mut(DIGEST).unwrap().retain(|tag| tag != "latest");
            images.get_mut(OTHER).unwrap().push("latest".to_owned());
        }
    };
    let (aws, world) = (ecr(&there, Reading::Names, moved), World::new());
    aws.run(take(&aws, &world, "latest"));
    assert_eq!(there.lock().unwrap()[OTHER], ["v2", "latest"]);
    assert_eq!(told(&world), [("tag-taken".to_owned(), OTHER.to_owned())]);
}
