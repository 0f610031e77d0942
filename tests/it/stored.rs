//! Rows and messages of earlier versions: they are read, nothing of them gets lost, and what they block can be released.

use std::{any::type_name, collections::BTreeMap, fs, path::PathBuf};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use shared::core::{
    alert::brief::BriefAlert,
    image::{Image, ImageStatus},
    ledger::Row,
    marker::quarantine_tag,
    policy::BlockMethod,
    registry::RegistryRow,
    replication::ledger::{BackfillRow, ReplicaRow, ReplicationRow},
    repository::ledger::{RepositoryRow, TagRow},
    state::State,
    summary::RepositorySummary,
    told::ToldFindings,
    uses::{IndexState, KnownPart, UseRow},
    work::WorkItem,
};
use shared::testing::{World, image, policy, policy_in, sweep::sweep};

use crate::support;

/// The documents of a type, of all versions, and where each is from.
fn documents(of_type: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for version in fs::read_dir(support::root().join("tests/fixtures/stored")).unwrap() {
        let folder: PathBuf = version.unwrap().path();
        let file = folder.join(format!("{of_type}.json"));
        if !folder.is_dir() || !file.is_file() {
            continue;
        }
        let list: Vec<Value> = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let place = |number| format!("{}, document {number}", file.display());
        found.extend(
            list.into_iter()
                .enumerate()
                .map(|(number, document)| (place(number), document)),
        );
    }
    assert_ne!(found, [], "{of_type}");
    found
}

/// The differences of the new document from the old one. Members may be added.
fn lost(old: &Value, new: &Value, path: &str, differences: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in old {
                lost(
                    value,
                    new.get(name).unwrap_or(&Value::Null),
                    &format!("{path}.{name}"),
                    differences,
                );
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (old, new) in old.iter().zip(new) {
                lost(old, new, &format!("{path}[]"), differences);
            }
        }
        _ if old == new => {}
        _ => differences.push(format!("{path}: {old} was read as {new}")),
    }
}

/// Adds a member that no version knows to each object.
fn add_unknown(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(add_unknown);
            object.insert("of_a_later_version".to_owned(), json!({"x": 1}));
        }
        Value::Array(list) => list.iter_mut().for_each(add_unknown),
        _ => {}
    }
}

fn read<T: Serialize + DeserializeOwned>(of_type: &str) {
    for (place, document) in documents(of_type) {
        let row: T = serde_json::from_value(document.clone()).unwrap_or_else(|error| panic!("{place}: {error}"));
        let again = serde_json::to_value(row).unwrap();
        let mut differences = Vec::new();
        lost(&document, &again, type_name::<T>(), &mut differences);
        assert_eq!(differences, [""; 0], "{place}");
    }
}

#[test]
fn what_earlier_versions_stored_is_read_and_nothing_of_it_is_lost() {
    read::<BackfillRow>("backfill-row");
    read::<BriefAlert>("brief-alert");
    read::<RegistryRow>("registry-row");
    read::<ReplicaRow>("replica-row");
    read::<ReplicationRow>("replication-row");
    read::<RepositoryRow>("repository-row");
    read::<RepositorySummary>("repository-summary");
    read::<Row>("row");
    read::<TagRow>("tag-row");
    read::<ToldFindings>("told-findings");
    read::<WorkItem>("work-item");
    read::<UseRow>("use-row");
    read::<IndexState>("index-state");
    read::<KnownPart>("known-part");
}

#[test]
fn a_message_of_a_later_version_is_no_error() {
    for (place, document) in documents("work-item") {
        let mut later = document.clone();
        add_unknown(&mut later["work"]);
        later["of_a_later_version"] = json!(true);
        let item: WorkItem = serde_json::from_value(later).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(item, serde_json::from_value(document).unwrap(), "{place}");
    }
}

/// Version 0.1 called a deferred block `Held`, and its alert `image-held`.
#[test]
fn an_alert_that_an_earlier_version_left_unsent_is_sent_under_its_new_kind() {
    let mut sent = 0;
    for (place, document) in documents("row") {
        let pending = document["alert"]["sent_at"].is_null() && document["alert"]["kind"] == "image-held";
        if !pending || document["state"] != "Held" || document["block"]["method"] != "flag" {
            continue;
        }
        let row: Row = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(row.state, State::BlockDeferred, "{place}");
        let world = World::new();
        world.set_now(row.since + jiff::SignedDuration::from_hours(2));
        world.push(
            &row.image,
            Image {
                tags: row.tags.clone(),
                pushed_at: Some(row.since),
                ..image(&row.image)
            },
        );
        world.remember(row);
        sweep(&world, &policy_in("report", ""));
        let documents = world
            .sent()
            .into_iter()
            .map(|sent| serde_json::from_str(&sent.message.default).unwrap());
        let alerts: Vec<Value> = documents.collect();
        assert_eq!(alerts.len(), 1, "{place}: {alerts:?}");
        assert_eq!(alerts[0]["kind"], "block-deferred", "{place}");
        assert_eq!(alerts[0]["state"], "BlockDeferred", "{place}");
        assert_eq!(alerts[0]["id"], document["alert"]["id"], "{place}");
        sent += 1;
    }
    assert_eq!(sent, 1);
    for (place, document) in documents("brief-alert") {
        let brief: BriefAlert = serde_json::from_value(document.clone()).unwrap();
        assert_ne!(brief.kind(), "image-held", "{place}");
    }
}

#[test]
fn what_an_earlier_version_blocked_is_released() {
    let mut released = BTreeMap::new();
    for (place, document) in documents("row") {
        let row: Row = serde_json::from_value(document).unwrap();
        let Some(block) = row.block.clone().filter(|block| block.undone_at.is_none()) else {
            continue;
        };
        // Images of an index, and copies, follow others; a half-done block is not one.
        let alone = row.indexes.is_empty() && row.children.is_empty() && row.source.is_none();
        if row.state != State::Blocked || row.closed_at.is_some() || !block.confirmed || !alone || row.more_children > 0
        {
            continue;
        }
        let world = World::new();
        let now = row.since + jiff::SignedDuration::from_hours(24 * 30);
        world.set_now(now);
        let mark = quarantine_tag(&row.image.digest).unwrap();
        let stored = Image {
            tags: match block.method {
                BlockMethod::QuarantineTag => vec![mark.clone()],
                BlockMethod::Archive | BlockMethod::Flag => row.tags.clone(),
            },
            status: match block.method {
                BlockMethod::Archive => ImageStatus::Archived,
                BlockMethod::QuarantineTag | BlockMethod::Flag => ImageStatus::Active,
            },
            pushed_at: Some(row.since),
            ..image(&row.image)
        };
        world.push(&row.image, stored);
        world.remember(row.clone());
        // Nothing is blocked any more.
        let milder = policy(
            r#""severities": {"CRITICAL": "monitor", "HIGH": "monitor", "MEDIUM": "monitor", "LOW": "monitor", "UNDEFINED": "monitor"},
            "scan": {"on_failure": "monitor", "on_unsupported": "monitor", "on_stale": "monitor"}"#,
        );
        sweep(&world, &milder);
        world.finish_restore(&row.image);
        world.set_now(now + jiff::SignedDuration::from_hours(25));
        sweep(&world, &milder);
        let after = world.row_of(&row.image).unwrap();
        assert_ne!(after.state, State::Blocked, "{place}: {}", after.reason);
        assert_eq!(after.block, None, "{place}: {}", after.reason);
        let image = world.image_of(&row.image).unwrap();
        assert_eq!(image.status, ImageStatus::Active, "{place}");
        assert!(
            block.tags.iter().all(|tag| image.tags.contains(tag)),
            "{place}: {:?}",
            image.tags
        );
        *released.entry(format!("{:?}", block.method)).or_insert(0) += 1;
    }
    let methods: Vec<&str> = released.keys().map(String::as_str).collect();
    assert_eq!(methods, ["Archive", "Flag", "QuarantineTag"]);
}
