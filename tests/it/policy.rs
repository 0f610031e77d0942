//! The policy documents that the project ships are valid, and the schema is that of the code.

use std::{fs, path::Path};

use shared::core::{
    alert::registry::DIGEST,
    decide::HOLD_RULES,
    notice::{AlertKind, RegistryAlertKind, RepositoryAlertKind},
    policy::{Document, Policy},
    registry::checks::{REGISTRY_CHECKS, RegistryCheck},
    repository::{checks::POSTURE_CHECKS, decide::settings, tag_checks::TAG_CHECKS},
};
use shared::testing;

use crate::support;

#[test]
fn the_checked_in_schema_is_the_schema_of_the_code() {
    let schema = serde_json::to_string_pretty(&Document::schema()).unwrap() + "\n";
    support::assert_file_is("docs/policy.schema.json", &schema);
}

#[test]
fn the_example_is_valid() {
    let example = fs::read_to_string(support::root().join("docs/policy.example.json")).unwrap();
    if let Err(error) = Policy::from_json(&example, testing::now()) {
        panic!("{error}");
    }
}

#[test]
fn every_valid_policy_is_accepted() {
    for path in documents("valid") {
        let json = fs::read_to_string(&path).unwrap();
        assert!(Policy::from_json(&json, testing::now()).is_ok(), "{}", path.display());
    }
}

fn documents(kind: &str) -> Vec<std::path::PathBuf> {
    let folder = support::root().join("tests/fixtures/policies").join(kind);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{}", Path::new(&folder).display());
    paths
}

#[test]
fn every_rule_for_repositories_is_documented_and_no_other() {
    let text = fs::read_to_string(support::root().join("docs/repository-rules.md")).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip_while(|line| !line.starts_with("| rule |"))
        .skip(2)
        .map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").map(|cell| cell.trim()).collect())
        .collect();
    for row in &rows {
        assert!(
            row.len() == 7 && row.iter().all(|cell| !cell.is_empty()),
            "rule, default, what, effect, permission, where not known, source: {row:?}"
        );
    }
    let documented: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    let tags = TAG_CHECKS.iter().map(|check| check.setting).chain(["tags.moving"]);
    let known: Vec<&str> = tags.chain(settings()).collect();
    assert_eq!(documented, known);
    for check in &POSTURE_CHECKS {
        let row = rows.iter().find(|row| row[0].trim_matches('`') == check.settings[0]);
        let words = row.unwrap()[4].split('`');
        let actions: Vec<&str> = words.filter(|word| word.contains(':')).collect();
        assert_eq!(actions, check.permissions, "{:?}", check.settings);
    }
    let roles = fs::read_to_string(support::root().join("infra/modules/guard/policy.tf")).unwrap();
    let granted = ["on-push", "worker"].map(|name| {
        let path = format!("infra/modules/guard/permissions/{name}.json");
        fs::read_to_string(support::root().join(path)).unwrap()
    });
    for action in POSTURE_CHECKS.iter().flat_map(|check| check.permissions) {
        let is_granted = |text: &String| text.contains(&format!("\"{action}\""));
        let keys = fs::read_to_string(support::root().join("infra/modules/guard/iam.tf")).unwrap_or_default();
        assert!(
            granted.iter().chain([&roles, &keys]).any(is_granted),
            "{action} is granted nowhere"
        );
    }
}

#[test]
fn every_check_of_a_registry_is_documented_and_permitted() {
    let text = fs::read_to_string(support::root().join("docs/repository-rules.md")).unwrap();
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| setting | asked by |"))
        .skip(2)
        .map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").map(|cell| cell.trim_matches('`')).collect::<Vec<_>>());
    let documented: Vec<[String; 3]> = rows.map(|row| [row[0], row[1], row[3]].map(str::to_owned)).collect();
    let known = |check: &RegistryCheck| [check.setting, check.asked_by, check.permission].map(str::to_owned);
    assert_eq!(documented, REGISTRY_CHECKS.iter().map(known).collect::<Vec<_>>());
    let role = fs::read_to_string(support::root().join("infra/modules/guard/permissions/sweep.json")).unwrap();
    for RegistryCheck { permission, .. } in &REGISTRY_CHECKS {
        assert!(role.contains(&format!("\"{permission}\"")), "{permission}");
    }
    let of_registries = REGISTRY_CHECKS.iter().map(|check| check.asked_by);
    for setting in of_registries.chain(TAG_CHECKS.iter().map(|check| check.setting)) {
        assert!(is_in_schema(&format!("repositories.{setting}")), "{setting}");
    }
}

/// Whether the policy has this member, named from the document down.
fn is_in_schema(setting: &str) -> bool {
    let schema = Document::schema();
    let mut place = &schema;
    for member in setting.split('.') {
        loop {
            let some = place["anyOf"]
                .as_array()
                .and_then(|all| all.iter().find(|one| one["type"] != "null"));
            let place_of_items = (!place["items"].is_null()).then(|| &place["items"]);
            if let Some(name) = place["$ref"].as_str() {
                place = &schema["$defs"][name.rsplit('/').next().unwrap()];
            } else if let Some(inner) = some.or(place_of_items) {
                place = inner;
            } else {
                break;
            }
        }
        place = &place["properties"][member];
    }
    place.is_object() || place.as_bool() == Some(true)
}

/// The table names each reason, in the order in which they are checked; and a member of the policy that a rule names is one.
#[test]
fn every_reason_to_hold_is_documented_and_no_other() {
    let text = fs::read_to_string(support::root().join("docs/blocked-image.md")).unwrap();
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| the reason says |"))
        .skip(2)
        .map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let known = HOLD_RULES.iter().flat_map(|rule| rule.docs).copied();
    assert_eq!(rows.collect::<Vec<_>>(), known.collect::<Vec<_>>());
    for setting in HOLD_RULES.iter().filter_map(|rule| rule.setting) {
        assert!(is_in_schema(setting), "`{setting}` is not in the schema");
    }
}

#[test]
fn every_kind_of_alert_is_documented() {
    let alerts = fs::read_to_string(support::root().join("docs/alerts.md")).unwrap();
    let of_images = AlertKind::ALL.map(AlertKind::as_str);
    let of_repositories = RepositoryAlertKind::ALL.map(RepositoryAlertKind::as_str);
    let of_registries = RegistryAlertKind::ALL.map(RegistryAlertKind::as_str);
    let kinds = of_images.into_iter().chain(of_repositories).chain(of_registries);
    for kind in kinds.chain([DIGEST]) {
        assert!(
            alerts.contains(&format!("| `{kind}` |")),
            "{kind} is not in docs/alerts.md"
        );
    }
}

#[test]
fn a_lifecycle_policy_is_byte_for_byte_that_of_the_terraform_module() {
    for (name, keep, untagged) in [("seed", 30, 7), ("keep-100-untagged-14", 100, 14)] {
        let section = format!(
            r#""repositories": [{{"match": "*", "lifecycle": {{"keep_count": {keep}, "tag_prefixes": ["v"], "expire_untagged_days": {untagged}}}}}]"#
        );
        let policy = testing::policy(&section);
        let rules = policy.repository(&testing::image_key().repository).unwrap();
        let path = format!("infra/modules/ecr/tests/fixtures/lifecycle/{name}.json");
        let text = fs::read_to_string(support::root().join(path)).unwrap();
        assert_eq!(
            rules.lifecycle_in(&"us-west-2".parse().unwrap()).unwrap().text(),
            text.trim()
        );
    }
}
