//! What the guard module (`infra/modules/guard`) says of the functions is what they do: permissions, metrics, policies.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::{Value, json};
use shared::{
    domain::policy::Policy,
    events::Event,
    ports::{PortError, Retry},
    reconcile::ReconcileError,
    runtime::{
        entry::Selection,
        error::HandlerError,
        report::{METRICS, NAMESPACE},
    },
    testing,
};

use crate::{
    calls::{Trial, page},
    on_push, on_scan, support,
};

const MODULE: &str = "infra/modules/guard";

fn read(path: &str) -> Value {
    let text = fs::read_to_string(support::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A function: its selection, and the events that the rule hands to it.
struct Function {
    select: fn(&Event) -> Selection,
    events: Vec<String>,
}

/// All functions of `functions/`.
fn functions() -> BTreeMap<String, Function> {
    let action = |members: Value| testing::event("ECR Image Action", &members);
    let scan = |members: Value| testing::event("ECR Image Scan", &members);
    let finding = || {
        let key = testing::image_key();
        let image = json!({"repositoryName": key.repository.as_str(), "imageHash": key.digest.as_str()});
        testing::event(
            "Inspector2 Finding",
            &json!({"status": "ACTIVE", "severity": "MEDIUM", "epss": {"score": 0.8},
                "packageVulnerabilityDetails": {"vulnerabilityId": "CVE-2026-1"},
                "resources": [{"type": "AWS_ECR_CONTAINER_IMAGE", "details": {"awsEcrContainerImage": image}}]}),
        )
    };
    let known = |name: &str| match name {
        "on-push" => Function {
            select: on_push::select,
            events: vec![
                action(json!({"action-type": "PUSH", "image-tag": "v1.2.3"})),
                action(json!({"action-type": "DELETE"})),
                action(json!({"action-type": "UPDATE_STORAGE_CLASS", "target-storage-class": "STANDARD"})),
            ],
        },
        "on-scan" => Function {
            select: on_scan::select,
            events: vec![
                scan(json!({"scan-status": "COMPLETE", "image-tags": []})),
                scan(json!({"scan-status": "FAILED", "image-tags": []})),
                finding(),
            ],
        },
        other => panic!("add `{other}` here, and its permissions to {MODULE}/permissions/{other}.json"),
    };
    fs::read_dir(support::root().join("functions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| (name.clone(), known(&name)))
        .collect()
}

/// What the file of a function grants, in a mode.
fn granted(function: &str, mode: &str) -> BTreeSet<String> {
    let file = read(&format!("{MODULE}/permissions/{function}.json"));
    let enforcing = mode == "enforce";
    file.as_object()
        .unwrap()
        .iter()
        .filter(|(key, _)| enforcing || !key.ends_with("_when_enforcing"))
        .flat_map(|(_, actions)| actions.as_array().unwrap())
        .map(|action| action.as_str().unwrap().to_owned())
        .collect()
}

/// What a function calls, in a mode: after each of its events, with both methods of blocking, on an image that is blocked already or
/// not, scanned or not, tagged or not, and once more when an exception was made.
fn called(function: &Function, mode: &str) -> BTreeSet<String> {
    const EXCEPTIONS: &str = r#", "exceptions": [{"vulnerability": "*", "repositories": ["*"], "owner": "o", "reason": "r",
        "expires": "2026-12-31"}]"#;
    let critical = || Some(vec![page("CRITICAL", 1)]);
    let before = testing::event("ECR Image Scan", &json!({"scan-status": "COMPLETE", "image-tags": []}));
    let mut called = BTreeSet::new();
    for method in ["archive", "quarantine-tag"] {
        let block = format!(r#""block": {{"method": "{method}"}}"#);
        let (policy, enforcing) = (testing::policy_in(mode, &block), testing::policy(&block));
        let excepting = testing::policy_in(mode, &(block + EXCEPTIONS));
        for earlier in [None, critical()] {
            for now in [None, critical()] {
                for (tags, on_request) in [(vec!["v1.2.3".to_owned()], true), (vec![], false)] {
                    for event in &function.events {
                        let trial = Trial::new(earlier.clone());
                        trial.change(|image| image.tags.clone_from(&tags));
                        if on_request {
                            trial.scanned_on_request();
                        }
                        // The world before: where there was a scan, the image was judged, perhaps in enforcing mode.
                        if earlier.is_some() {
                            drop(trial.attempt(on_scan::select, &enforcing, &before));
                        }
                        let mut handle = |policy: &Policy| {
                            let (_, calls) = trial.attempt(function.select, policy, event);
                            called.extend(calls.into_iter().map(|call| call.request.operation));
                        };
                        trial.change(|image| image.scan.clone_from(&now));
                        handle(&policy);
                        // It came back, by a push or a restore.
                        trial.change(|image| image.status = Some("ACTIVE"));
                        handle(&policy);
                        handle(&excepting);
                        trial.change(|image| image.status = None);
                        handle(&policy);
                    }
                }
            }
        }
    }
    called.extend(called_for_repositories(function, mode));
    called
}

/// What a function calls under rules for repositories, in a mode: each setting as it should be or not, a policy that lets in the
/// world with others or alone, and a tag that is forbidden.
fn called_for_repositories(function: &Function, mode: &str) -> BTreeSet<String> {
    let policy = testing::policy_in(
        mode,
        r#""repositories": [{"match": "*", "tags": {"forbidden": ["*"], "on_violation": "untag"},
        "posture": {"tag_mutability": "IMMUTABLE", "scan_on_push": true, "key_rotation": true, "repair": true},
        "lifecycle": {"keep_count": 30, "tag_prefixes": ["v"], "expire_untagged_days": 7}}]"#,
    );
    let (everybody, nobody) = (
        json!({"Effect": "Allow", "Principal": "*"}),
        json!({"Effect": "Deny", "Principal": "*"}),
    );
    let mut called = BTreeSet::new();
    for flag in [true, false] {
        for statements in [vec![&everybody], vec![&everybody, &nobody]] {
            for event in &function.events {
                let trial = Trial::new(None);
                trial.scanned_on_request();
                trial.repository(flag, &json!({"Statement": statements}).to_string());
                let (_, calls) = trial.attempt(function.select, &policy, event);
                called.extend(calls.into_iter().map(|call| call.request.operation));
            }
        }
    }
    called
}

#[test]
fn a_role_may_do_what_its_function_calls_and_nothing_else() {
    for (name, function) in functions() {
        for mode in ["report", "enforce"] {
            let (granted, called) = (granted(&name, mode), called(&function, mode));
            let missing: Vec<_> = called.difference(&granted).collect();
            let unused: Vec<_> = granted.difference(&called).collect();
            assert!(
                missing.is_empty() && unused.is_empty(),
                "`{name}` in {mode} mode: missing {missing:?}, never called {unused:?}"
            );
        }
    }
}

#[test]
fn each_permission_stands_under_the_resource_that_it_is_for() {
    for name in functions().keys() {
        let file = read(&format!("{MODULE}/permissions/{name}.json"));
        for (resource, actions) in file.as_object().unwrap() {
            let resource = resource.strip_suffix("_when_enforcing").unwrap_or(resource);
            let service = match resource {
                "repositories" | "registry" => "ecr:",
                "repository_keys" => "kms:",
                "ledger" => "dynamodb:",
                "topics" => "sns:",
                other => panic!("{name}: the module has no statement for `{other}`"),
            };
            for action in actions.as_array().unwrap() {
                assert!(
                    action.as_str().unwrap().starts_with(service),
                    "{name}: {action} in `{resource}`"
                );
            }
        }
    }
}

#[test]
fn every_call_of_the_adapters_is_somebodys_permission() {
    let mut operations = BTreeSet::new();
    let mut folders = vec![support::root().join("shared/src/adapters")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            // `const OPERATION: &str = "ecr:DescribeImages";` is how an adapter names what it calls.
            operations.extend(
                text.lines()
                    .filter_map(|line| line.trim().strip_prefix("const ")?.split_once(": &str = \""))
                    .filter_map(|(_, value)| value.strip_suffix("\";"))
                    .filter(|value| value.contains(':'))
                    .map(str::to_owned),
            );
        }
    }
    let granted: BTreeSet<String> = functions().keys().flat_map(|name| granted(name, "enforce")).collect();
    assert_eq!(operations, granted);
}

#[test]
fn alarms_and_dashboard_are_about_metrics_that_are_written() {
    let metrics = read(&format!("{MODULE}/metrics.json"));
    assert_eq!(metrics["namespace"], NAMESPACE);
    assert_eq!(
        metrics["dashboard"],
        json!(METRICS),
        "the dashboard shows all of our metrics"
    );

    let port = Box::new(PortError {
        retry: Retry::Never,
        operation: "ecr:UpdateImageStorageClass",
        code: "AccessDeniedException".to_owned(),
        message: String::new(),
        request_id: None,
    });
    let image = String::from("image");
    let outcomes = [
        HandlerError::Reconcile(ReconcileError::BlockRefused {
            image: image.clone(),
            source: port.clone(),
        }),
        HandlerError::Reconcile(ReconcileError::Port {
            doing: "look at",
            image,
            source: port,
        }),
    ]
    .map(|error| error.code());

    let mut ours = 0;
    for (scope, alarms) in metrics["alarms"].as_object().unwrap() {
        for (name, alarm) in alarms.as_object().unwrap() {
            if alarm["namespace"] != NAMESPACE {
                continue;
            }
            ours += 1;
            assert_eq!(scope, "functions", "{name}: our metrics have the dimension `Function`");
            let metric = alarm["metric"].as_str().unwrap();
            assert!(METRICS.contains(&metric), "{name}: nobody writes `{metric}`");
            if let Some(outcome) = alarm.get("outcome") {
                assert!(
                    outcomes.contains(&outcome.as_str().unwrap()),
                    "{name}: no outcome is {outcome}"
                );
            }
        }
    }
    assert!(ours > 0, "no alarm is about our metrics");
}

#[test]
fn every_policy_of_the_examples_is_valid() {
    let examples = support::root().join("infra/examples");
    let mut policies = 0;
    for example in fs::read_dir(&examples).unwrap() {
        let path = example.unwrap().path().join("policy.json");
        if let Ok(text) = fs::read_to_string(&path) {
            // As Terraform does, with a topic for every route.
            let mut document: Value = serde_json::from_str(&text).unwrap();
            let routes: BTreeMap<String, String> = document["repositories"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|entry| entry["route"].as_str())
                .chain(["default"])
                .map(|route| (route.to_owned(), format!("arn:aws:sns:us-west-2:123456789012:{route}")))
                .collect();
            document["routes"] = json!(routes);
            let policy = Policy::from_json(&document.to_string(), testing::now());
            assert!(policy.is_ok(), "{}: {policy:?}", path.display());
            policies += 1;
        }
    }
    assert!(policies > 0, "no example has a policy");
}
