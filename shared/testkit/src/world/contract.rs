//! The cases of `tests/contract`, as far as the ports can express them: what the local ECR answers, and AWS, the world answers too.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::*;
use crate::{image as plain, image_key, run};
use guard_ports::Replication as _;

const CASES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/contract/cases.json"));

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A case that the ports cannot ask, or the world cannot produce.
struct Inexpressible;

type Answer = Result<Value, Inexpressible>;

struct Play<'a> {
    world: World,
    case: &'a Value,
}

fn text<'a>(of: &'a Value, member: &str) -> Option<&'a str> {
    of[member].as_str()
}

/// Answers with an error's code.
fn code(code: &str) -> Answer {
    Ok(json!(code))
}

impl Play<'_> {
    /// Each name has a digest of its own.
    fn key(&self, name: &str) -> ImageKey {
        let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:{hex:0<64}").parse().unwrap();
        ImageKey { digest, ..image_key() }
    }

    fn name(&self, digest: &Digest) -> String {
        let hex = digest.as_str().trim_start_matches("sha256:");
        let bytes = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(hex.get(at..at + 2).unwrap(), 16).unwrap());
        bytes.take_while(|byte| *byte != 0).map(char::from).collect()
    }

    fn reference(&self, of: &Value) -> ImageRef {
        match (text(of, "image"), text(of, "tag")) {
            (Some(name), _) => ImageRef::Digest(self.key(name).digest),
            (None, tag) => ImageRef::Tag(tag.unwrap().parse().unwrap()),
        }
    }

    fn find(&self, of: &Value) -> Option<ImageKey> {
        let found = run(self.world.image(&image_key().repository, &self.reference(of))).unwrap()?;
        Some(ImageKey {
            digest: found.digest,
            ..image_key()
        })
    }

    fn push(&self, step: &Value) -> Answer {
        let name = text(step, "image").unwrap();
        let key = self.key(name);
        let kind = &self.case["images"][name];
        let mut pushed = Image {
            artifact_media_type: Some(OCI_CONFIG.to_owned()),
            ..plain(&key)
        };
        let mut manifest = json!({"mediaType": OCI_MANIFEST, "config": {"mediaType": OCI_CONFIG}});
        if let Some(images) = kind["index"].as_array() {
            let entries = images
                .iter()
                .map(|image| json!({"digest": self.key(image.as_str().unwrap()).digest.as_str()}));
            manifest = json!({"mediaType": OCI_INDEX, "manifests": entries.collect::<Vec<_>>()});
            pushed.manifest_media_type = Some(OCI_INDEX.to_owned());
            pushed.artifact_media_type = None;
        } else if let Some(subject) = text(kind, "referrer") {
            pushed.subject = Some(self.key(subject).digest);
        } else if !kind.is_null() && !matches!(kind.as_str(), Some("distribution")) {
            // The adapter, not a port, reads ECR's treatment of other kinds.
            return Err(Inexpressible);
        } else if !step["without"].is_null() {
            // The world has no layers.
            return Err(Inexpressible);
        }
        let tag: Option<Tag> = text(step, "tag").map(|tag| tag.parse().unwrap());
        match self.world.put_image(&key, pushed, &manifest.to_string(), tag.as_ref()) {
            Ok(()) => code("ok"),
            Err(refused) => code(refused),
        }
    }

    fn show(&self, image: &Image, show: &Value) -> Answer {
        let usual = json!(["status", "tags"]);
        let members = show.as_array().or(usual.as_array()).unwrap();
        let mut shown = Map::new();
        for member in members {
            let member = member.as_str().unwrap();
            let value = match member {
                "status" => json!(match &image.status {
                    ImageStatus::Active => "ACTIVE",
                    ImageStatus::Archived => "ARCHIVED",
                    ImageStatus::Activating => "ACTIVATING",
                    ImageStatus::Other(word) => word,
                }),
                "tags" => {
                    let mut tags: Vec<&str> = image.tags.iter().map(Tag::as_str).collect();
                    tags.sort_unstable();
                    json!(tags)
                }
                "pulled" => json!(image.last_pulled_at.is_some()),
                "activated" => json!(image.last_activated_at.is_some()),
                "kind" => json!(image.manifest_media_type),
                "artifact" => json!(image.artifact_media_type),
                "subject" => json!(image.subject.as_ref().map(|subject| self.name(subject))),
                _ => return Err(Inexpressible),
            };
            shown.insert(member.to_owned(), value);
        }
        Ok(Value::Object(shown))
    }

    fn status(&self, status: Result<ImageStatus, PortError>) -> Answer {
        match status {
            Ok(ImageStatus::Active) => code("ACTIVE"),
            Ok(ImageStatus::Archived) => code("ARCHIVED"),
            Ok(ImageStatus::Activating) => code("ACTIVATING"),
            Ok(ImageStatus::Other(word)) => code(&word),
            Err(error) => code(&error.code),
        }
    }

    fn describe(&self, step: &Value) -> Answer {
        if step["status"].is_null() && step.get("status").is_some() {
            // Our adapter always asks for all statuses.
            return Err(Inexpressible);
        }
        let mut all = Map::new();
        for of in step["of"].as_array().unwrap() {
            match run(self.world.image(&image_key().repository, &self.reference(of))).unwrap() {
                Some(image) => all.insert(self.name(&image.digest), self.show(&image, &step["show"])?),
                None => return code("ImageNotFoundException"),
            };
        }
        Ok(Value::Object(all))
    }

    /// By tag alone: that is all that the port does.
    fn delete(&self, step: &Value) -> Answer {
        let mut tags: Vec<Tag> = Vec::new();
        for of in step["of"].as_array().unwrap() {
            match (text(of, "image"), text(of, "tag")) {
                (None, Some(tag)) => tags.push(tag.parse().unwrap()),
                _ => return Err(Inexpressible),
            }
        }
        let (mut deleted, mut failed) = (Vec::new(), Vec::new());
        for (tag, answer) in run(self.world.remove_tags(&RepositoryKey::of(&image_key()), &tags)).unwrap() {
            match answer {
                TagAnswer::From(digest) => deleted.push(format!("{}:{tag}", self.name(&digest))),
                TagAnswer::Gone => failed.push("ImageNotFound"),
                TagAnswer::Referenced => failed.push("ImageReferencedByManifestList"),
                TagAnswer::Unknown | TagAnswer::Failed(_) => return Err(Inexpressible),
            }
        }
        deleted.sort();
        let mut answer = json!({ "deleted": deleted });
        if !failed.is_empty() {
            answer["failed"] = json!(failed);
        }
        Ok(answer)
    }

    fn step(&self, step: &Value) -> Answer {
        let repository = RepositoryKey::of(&image_key());
        let named = text(step, "image").map(|name| self.key(name));
        match text(step, "do").unwrap() {
            "push" => self.push(step),
            "describe" => self.describe(step),
            "delete" => self.delete(step),
            "pull" => {
                let manifest = self.find(step).map(|key| run(self.world.manifest(&key)).unwrap());
                code(if manifest.flatten().is_some() {
                    "ok"
                } else {
                    "ImageNotFound"
                })
            }
            "runtime" => {
                let pulled = self.find(step).is_some_and(|key| self.world.pull(&key));
                Ok(json!(if pulled { 200 } else { 404 }))
            }
            "archive" => self.status(run(self.world.archive(&named.unwrap()))),
            "restore" => self.status(run(self.world.restore(&named.unwrap()))),
            "mutability" => {
                let mut stored = self.world.repository_of(&repository.repository).unwrap();
                stored.repository.tag_mutability = TagMutability::Immutable;
                self.world.create_repository(&repository.repository, stored);
                code("ok")
            }
            "scan-on-push" => {
                self.world.set_trigger(&repository.repository, ScanTrigger::Automatic);
                code("ok")
            }
            "scan" => match run(self.world.start_scan(&named.unwrap())).unwrap() {
                ScanStart::Started => code("ok"),
                ScanStart::LimitExceeded => code("LimitExceededException"),
                ScanStart::Unsupported => code("UnsupportedImageTypeException"),
                ScanStart::Archived => code("ImageArchivedException"),
                ScanStart::ImageGone => code("ImageNotFoundException"),
                ScanStart::NotOffered(_) => code("ValidationException"),
            },
            "findings" => match run(self.world.scan(&named.unwrap())).unwrap() {
                Scan::Absent => code("ScanNotFoundException"),
                Scan::InProgress => Ok(json!({"status": "IN_PROGRESS", "members": []})),
                Scan::Archived => Ok(json!({"status": "IMAGE_ARCHIVED", "members": []})),
                // How it is put is the adapter's.
                Scan::NotVisible
                | Scan::Refused(_)
                | Scan::Unavailable(_)
                | Scan::Explained(..)
                | Scan::Complete(_) => Err(Inexpressible),
            },
            "copies" => {
                let copies = run(self.world.copies(&named.unwrap())).unwrap().unwrap_or_default();
                Ok(json!(vec!["copy"; copies.len()]))
            }
            "repository-policy" => match run(self.world.repository_policy(&repository)).unwrap() {
                Some(_) => code("ok"),
                None => code("RepositoryPolicyNotFoundException"),
            },
            "lifecycle-policy" => match run(self.world.lifecycle_policy(&repository)).unwrap() {
                Some(_) => code("ok"),
                None => code("LifecyclePolicyNotFoundException"),
            },
            "elsewhere" => {
                let none = RepositoryKey {
                    repository: "none".parse().unwrap(),
                    ..repository
                };
                match run(self.world.images(&none, None)).unwrap() {
                    Some(_) => code("ok"),
                    None => code("RepositoryNotFoundException"),
                }
            }
            _ => Err(Inexpressible),
        }
    }
}

/// Lets the world be as a reading of the local ECR; false: it cannot.
fn play_as(world: &World, name: &str, value: &Value) -> bool {
    match (name, value.as_str()) {
        ("restoreSeconds", None) => value != 0,
        ("pulls", Some("all")) => {
            world.count_looks();
            true
        }
        ("pulls", Some("runtime")) => true,
        ("pulledOf", Some(of)) => {
            world.record_pulls(match of {
                "both" => PulledOf::Both,
                "index" => PulledOf::Index,
                _ => PulledOf::Image,
            });
            true
        }
        _ => false,
    }
}

fn world() -> World {
    let world = World::new();
    let repository = image_key().repository;
    let stored = StoredRepository {
        repository: undescribed(&repository),
        tags: BTreeMap::new(),
        policy: None,
        lifecycle: None,
    };
    world.create_repository(&repository, stored);
    world
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are for the reader of the output")]
fn the_world_answers_as_the_cases_say() {
    let document: Value = serde_json::from_str(CASES).unwrap();
    let cases = document["cases"].as_array().unwrap();
    let (mut played, mut left) = (0, Vec::new());
    for case in cases {
        let none = Map::from_iter([(String::new(), Value::Null)]);
        let readings = case["setting"]["values"].as_object().unwrap_or(&none);
        let mut whole = false;
        'readings: for (reading, value) in readings {
            let play = Play { world: world(), case };
            let setting = text(&case["setting"], "name");
            if case["needs"]["scanning"] == "ENHANCED" || setting.is_some_and(|name| !play_as(&play.world, name, value))
            {
                continue;
            }
            for step in case["steps"].as_array().unwrap() {
                let ok = json!("ok");
                let expected = step.get("expect").unwrap_or(&ok);
                let expected = expected.get("either").map_or(expected, |either| &either[reading]);
                match play.step(step) {
                    Ok(answer) => assert_eq!(answer, *expected, "{} {reading}: {step}", case["name"]),
                    Err(Inexpressible) => continue 'readings,
                }
            }
            whole = true;
        }
        if whole {
            played += 1;
        } else {
            left.push(case["name"].as_str().unwrap());
        }
    }
    println!(
        "{played} of {} cases; what the ports cannot express: {}",
        cases.len(),
        left.join(", ")
    );
    assert!(played >= 45, "{played} of {}; left: {}", cases.len(), left.join(", "));
}
