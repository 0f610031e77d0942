//! The guard module (`infra/modules/guard`) describes the functions as they are: permissions, metrics, policies.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::{Value, json};
use shared::{
    core::{policy::Policy, release::request::Verb},
    engine::reconcile::{ReconcileError, Subject},
    events::Event,
    lambda::{
        entry::Selection,
        error::HandlerError,
        metrics::{METRICS, NAMESPACE, WHOLE},
        replication::CopySelection,
    },
    ports::{PortError, Retry},
    testing,
};

use crate::{
    calls::{INDEX, LONG_AGO, Trial, page},
    support,
};

const MODULE: &str = "infra/modules/guard";

fn read(path: &str) -> Value {
    let text = fs::read_to_string(support::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A function: what invokes it, and what it is invoked with.
struct Function {
    invoked_by: InvokedBy,
    payloads: Vec<String>,
}

/// The invoker of a function, as the module's `local.functions` names it.
#[derive(Clone, Copy)]
enum InvokedBy {
    /// A rule, with events of which this one selects.
    Events(fn(&Event) -> Selection),
    /// A rule, with events about copies.
    Copies(fn(&Event) -> CopySelection),
    /// A schedule, or a person.
    Schedule,
    /// A schedule, a rule with events of tasks, or a cluster of Kubernetes.
    Workloads,
    /// The deploying role, and ECS.
    Gate,
    /// A person who releases an image, and ends that.
    Operate,
    /// The work queue, with items, and with events of which this one selects.
    Queue(fn(&Event) -> Selection),
}

impl Function {
    /// The function with one of its payloads each.
    fn by_payload(&self) -> impl Iterator<Item = Self> {
        self.payloads.iter().map(|payload| Self {
            invoked_by: self.invoked_by,
            payloads: vec![payload.clone()],
        })
    }

    /// Invokes it, and gives the calls that it made.
    fn invoke(&self, trial: &Trial, policy: &Policy, payload: &str) -> impl Iterator<Item = String> {
        let calls = match self.invoked_by {
            InvokedBy::Events(select) => trial.attempt(select, policy, payload).1,
            InvokedBy::Copies(select) => trial.copy(select, policy, payload),
            InvokedBy::Schedule => {
                trial.keep_alert(policy);
                trial.sweep(policy, payload)
            }
            InvokedBy::Workloads => trial.workloads(&with_index(), payload),
            InvokedBy::Queue(select) => trial.work(select, policy, payload),
            InvokedBy::Gate => trial.gate(policy, payload).1,
            InvokedBy::Operate => [Verb::Release, Verb::End]
                .into_iter()
                .flat_map(|action| trial.operate(policy, action).1)
                .collect(),
        };
        calls.into_iter().map(|call| call.request.operation)
    }
}

/// A work item about this.
fn item(work: Value) -> String {
    let key = testing::image_key();
    let mut work = work;
    if work["kind"] != "repositories" {
        work["repository"] = json!(key.repository.as_str());
    }
    json!({"schema": "ecr-guard/work/v1", "sweep": testing::now().to_string(), "account": key.account.as_str(),
        "region": key.region.as_str(), "work": work})
    .to_string()
}

/// The policy that the function `workloads` is there for. No other function depends on it for what it may do.
fn with_index() -> Policy {
    testing::policy(
        r#""block": {"workloads": {"lambda": {"versions": "latest-and-aliased"}, "accounts": [{"id": "222222222222", "role": "reader"}]}}"#,
    )
}

/// An event of a task that runs the image.
pub(crate) fn task() -> String {
    let key = testing::image_key();
    let image = format!(
        "{}.dkr.ecr.{}.amazonaws.com/{}:v1.2.3",
        key.account, key.region, key.repository
    );
    let detail = json!({"lastStatus": "RUNNING", "taskDefinitionArn": "arn:aws:ecs:us-west-2:123456789012:task-definition/api:41",
        "containers": [{"image": image, "imageDigest": key.digest.as_str()}]});
    let event = testing::event("ECS Task State Change", &json!({}));
    let mut event: Value = serde_json::from_str(&event).unwrap();
    event["detail"] = detail;
    event.to_string()
}

/// An event of a task that could not pull the image.
pub(crate) fn refused_task() -> String {
    let mut event: Value = serde_json::from_str(&task()).unwrap();
    let detail = &mut event["detail"];
    detail["lastStatus"] = json!("STOPPED");
    detail["stoppedReason"] = json!("CannotPullContainerError: not found");
    event.to_string()
}

/// The report of a cluster about its workloads.
fn report() -> String {
    json!({"schema": "ecr-guard/workloads/v1", "source": "kubernetes", "cluster": "prod", "complete": true,
        "sent_at": "2026-11-23T21:00:00Z", "images": []})
    .to_string()
}

/// All functions of `functions/`.
fn functions() -> BTreeMap<String, Function> {
    let action = |members: Value| testing::event("ECR Image Action", &members);
    let scan = |members: Value| testing::event("ECR Image Scan", &members);
    let copy = |result: &str| {
        testing::event(
            "ECR Replication Action",
            &json!({"action-type": "REPLICATE", "result": result, "image-tag": "v1.2.3", "source-account": "123456789012",
                "source-region": "us-east-1"}),
        )
    };
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
        "gate" => Function {
            invoked_by: InvokedBy::Gate,
            payloads: vec![
                crate::gate::request(&[":v1.2.3"]),
                crate::gate::request(&["@sha256:1d"]),
                crate::gate::hook("PRE_SCALE_UP", &json!({})),
            ],
        },
        "operate" => Function {
            invoked_by: InvokedBy::Operate,
            payloads: vec![String::new()],
        },
        "on-push" => Function {
            invoked_by: InvokedBy::Events(on_push::select),
            payloads: vec![
                action(json!({"action-type": "PUSH", "image-tag": "v1.2.3"})),
                action(json!({"action-type": "DELETE"})),
                action(json!({"action-type": "UPDATE_STORAGE_CLASS", "target-storage-class": "STANDARD"})),
            ],
        },
        "on-replication" => Function {
            invoked_by: InvokedBy::Copies(on_replication::select),
            payloads: vec![copy("SUCCESS"), copy("FAILED"), {
                let restored =
                    action(json!({"action-type": "UPDATE_STORAGE_CLASS", "target-storage-class": "STANDARD"}));
                restored.replace("us-west-2", "us-east-1")
            }],
        },
        "on-scan" => Function {
            invoked_by: InvokedBy::Events(on_scan::select),
            payloads: vec![
                scan(json!({"scan-status": "COMPLETE", "image-tags": []})),
                scan(json!({"scan-status": "FAILED", "image-tags": []})),
            ],
        },
        "sweep" => Function {
            invoked_by: InvokedBy::Schedule,
            payloads: vec![
                "{}".to_owned(),
                json!({"repositories": [testing::image_key().repository.as_str()], "digest": true}).to_string(),
            ],
        },
        "worker" => Function {
            invoked_by: InvokedBy::Queue(worker::select),
            payloads: vec![
                item(json!({"kind": "repositories", "after": "token"})),
                item(json!({"kind": "repository"})),
                item(json!({"kind": "repository", "again": true})),
                item(json!({"kind": "images", "digests": [testing::image_key().digest.as_str()]})),
                finding(),
            ],
        },
        "workloads" => Function {
            invoked_by: InvokedBy::Workloads,
            payloads: vec!["{}".to_owned(), task(), refused_task(), report()],
        },
        other => panic!("add `{other}` here, and its permissions to {MODULE}/permissions/{other}.json"),
    };
    fs::read_dir(support::root().join("functions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| (name.clone(), known(&name)))
        .collect()
}

/// A policy document, and what the module says that it has the functions change (`tests/changes.json`).
struct Document {
    says: String,
    document: Value,
    changes: BTreeSet<String>,
}

impl Document {
    /// The policy, with these further members.
    fn with(&self, more: &Value) -> Policy {
        let mut document = self.document.clone();
        for (member, value) in more.as_object().unwrap() {
            document[member] = value.clone();
        }
        Policy::from_json(&document.to_string(), testing::now()).unwrap()
    }

    /// The part of it about blocking alone.
    fn blocking(&self) -> Self {
        let mut document = self.document.clone();
        let entries = document["repositories"].as_array().into_iter().flatten();
        let entries = entries.filter(|entry| entry.get("mode").or(entry.get("block")).is_some());
        let said = |entry: &Value| {
            let members = entry.as_object().unwrap().iter();
            let members = members.filter(|(member, _)| ["match", "mode", "block"].contains(&member.as_str()));
            members
                .map(|(member, value)| (member.clone(), value.clone()))
                .collect::<Value>()
        };
        document["repositories"] = entries.map(said).collect();
        Self {
            says: self.says.clone(),
            document,
            changes: self.changes.clone(),
        }
    }

    fn policy(&self) -> Policy {
        self.with(&json!({}))
    }

    /// The policies by which an image may have been blocked before: this one, and any other whose releases it keeps.
    fn earlier(&self) -> Vec<(&'static str, Policy)> {
        let kept = self.document["block"]["keep_release_of"].as_array();
        let methods = ["archive", "quarantine-tag"].into_iter();
        let methods = methods.filter(|method| kept.is_none_or(|kept| kept.contains(&json!(method))));
        // The last one is its own, or that of an entry.
        let entries = self.document["repositories"].as_array().into_iter().flatten();
        let blocks = entries.map(|entry| &entry["block"]).chain([&self.document["block"]]);
        let own = blocks.filter_map(|block| block["method"].as_str());
        let own = ["archive", "quarantine-tag", "flag"]
            .into_iter()
            .filter(|method| own.clone().any(|own| own == *method));
        let enforces = self.document["mode"] == "enforce";
        let default = (enforces && self.document["block"]["method"].is_null()).then_some("archive");
        let all: BTreeSet<&str> = methods.chain(own).chain(default).collect();
        all.into_iter()
            .map(|method| {
                (
                    method,
                    testing::policy(&format!(r#""block": {{"method": "{method}"}}"#)),
                )
            })
            .collect()
    }

    /// Whether the permission to remove the mark of a quarantine is left out: then it stays, and an alert says so.
    fn leaves_marks(&self, earlier: &str) -> bool {
        earlier == "quarantine-tag"
            && ["quarantine", "remove-marks", "untag"]
                .iter()
                .all(|word| !self.changes.contains(*word))
    }
}

fn documents() -> Vec<Document> {
    let rows = read(&format!("{MODULE}/tests/changes.json"));
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let mut document = row["document"].clone();
            document["version"] = json!(1);
            document["release"] = crate::operate::allowed();
            document["routes"] = json!({"default": "arn:aws:sns:us-west-2:123456789012:alerts"});
            Document {
                says: row["says"].as_str().unwrap().to_owned(),
                document,
                changes: lists(&row["changes"]).into_iter().collect(),
            }
        })
        .collect()
}

fn lists(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(text).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The permissions of a function's file, whatever the policy is.
fn granted_to_look(function: &str) -> BTreeSet<String> {
    let file = read(&format!("{MODULE}/permissions/{function}.json"));
    let lists = file.as_object().unwrap().values().filter_map(Value::as_array);
    lists.flatten().map(text).collect()
}

/// The further permissions of a function's file, under a policy that has the functions make these changes.
fn granted_to_change(function: &str, changes: &BTreeSet<String>) -> BTreeSet<String> {
    let file = read(&format!("{MODULE}/permissions/{function}.json"));
    let by_change = file
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_object)
        .flatten();
    by_change
        .filter(|(change, _)| changes.contains(*change))
        .flat_map(|(_, actions)| actions.as_array().unwrap())
        .map(text)
        .collect()
}

/// All that the file of a function may grant.
fn granted(function: &str) -> BTreeSet<String> {
    let all = documents().into_iter().flat_map(|document| document.changes).collect();
    &granted_to_look(function) | &granted_to_change(function, &all)
}

/// The calls of a function under a policy. `known`: the calls by the document's part about one thing.
fn called(
    function: &Function,
    document: &Document,
    known: &mut BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<String> {
    let blocking = document.blocking();
    let to_block = known
        .entry(blocking.document.to_string())
        .or_insert_with(|| called_to_block(function, &blocking));
    let mut called = to_block.clone();
    let repositories = json!([
        "repositories",
        document.document["mode"],
        document.document["repositories"]
    ]);
    let of_repositories = known.entry(repositories.to_string()).or_insert_with(|| {
        let policy = document.policy();
        let mut called = called_for_repositories(function, &policy);
        called.extend(called_for_copies(function, &policy));
        called.extend(called_for_indexes(function, &policy));
        called
    });
    called.extend(of_repositories.iter().cloned());
    called
}

/// The calls of a function to block and release: with each of its payloads, on an image that is blocked already (by this policy
/// or an earlier one) or not, scanned or not, tagged or not, and once more after an exception was made.
fn called_to_block(function: &Function, document: &Document) -> BTreeSet<String> {
    let excepted = json!({"exceptions": [{"vulnerability": "*", "repositories": ["*"], "owner": "o", "reason": "r",
        "expires": "2026-12-31"}]});
    let critical = || Some(vec![page("CRITICAL", 1)]);
    let before = testing::event("ECR Image Scan", &json!({"scan-status": "COMPLETE", "image-tags": []}));
    let mut called = BTreeSet::new();
    let (policy, excepting) = (document.policy(), document.with(&excepted));
    for (n, (method, enforcing)) in document.earlier().into_iter().enumerate() {
        let mut here = BTreeSet::new();
        let (v1, none) = (|| vec!["v1.2.3".to_owned()], Vec::new);
        let mut worlds = vec![(critical(), None, v1()), (critical(), critical(), v1())];
        if n == 0 {
            // An image that was never evaluated is not blocked, and one without a tag loses none: it is the same whatever the
            // policy was before.
            worlds.extend([
                (None, None, v1()),
                (None, critical(), v1()),
                (None, critical(), none()),
                (critical(), critical(), none()),
            ]);
        }
        for (earlier, now, tags) in worlds {
            for payload in &function.payloads {
                let trial = Trial::new(earlier.clone());
                trial.change(|image| image.tags.clone_from(&tags));
                if !tags.is_empty() {
                    trial.scanned_on_request();
                }
                // The world before: where there was a scan, the image was evaluated, perhaps in enforce mode.
                if earlier.is_some() {
                    drop(trial.attempt(on_scan::select, &enforcing, &before));
                }
                let mut handle = |policy: &Policy| here.extend(function.invoke(&trial, policy, payload));
                trial.change(|image| image.scan.clone_from(&now));
                handle(&policy);
                // It came back, by a push or a restore.
                trial.change(|image| image.status = Some("ACTIVE"));
                handle(&policy);
                handle(&excepting);
                // A release from the archive takes its time; tags are given back after it.
                trial.change(|image| image.status = Some("ACTIVE"));
                handle(&excepting);
                trial.change(|image| image.status = None);
                handle(&policy);
            }
        }
        // The block of an earlier method is undone where nobody has brought the image back: an image that comes back is blocked
        // by the present method.
        for payload in &function.payloads {
            let trial = Trial::new(critical());
            drop(trial.attempt(on_scan::select, &enforcing, &before));
            here.extend(function.invoke(&trial, &excepting, payload));
        }
        if document.leaves_marks(method) {
            here.remove("ecr:BatchDeleteImage");
        }
        called.append(&mut here);
    }
    called.extend(called_for_old_images(function, &policy));
    called
}

/// The calls of a function for an image that should be blocked and was pulled long ago.
fn called_for_old_images(function: &Function, policy: &Policy) -> BTreeSet<String> {
    let mut called = BTreeSet::new();
    for payload in &function.payloads {
        let trial = Trial::new(Some(vec![page("CRITICAL", 1)]));
        trial.change(|image| image.pulled_at = Some(LONG_AGO));
        called.extend(function.invoke(&trial, policy, payload));
    }
    called
}

/// The calls of a function for an image that an index references.
fn called_for_indexes(function: &Function, policy: &Policy) -> BTreeSet<String> {
    let pushed = json!({"action-type": "PUSH", "image-tag": "v1.2.3", "image-digest": INDEX});
    let pushed = testing::event("ECR Image Action", &pushed);
    let mut called = BTreeSet::new();
    for payload in &function.payloads {
        // A released image was blocked.
        let is_release = matches!(function.invoked_by, InvokedBy::Operate);
        let severity = if is_release { "CRITICAL" } else { "LOW" };
        // How does not matter here: what undoes a block is counted with the blocks.
        let flagged = testing::policy(&format!(
            r#""block": {{"method": "flag"}}, "release": {}"#,
            crate::operate::allowed()
        ));
        let policy = if is_release { &flagged } else { policy };
        let trial = Trial::new(Some(vec![page(severity, 1)])).with_index();
        if matches!(function.invoked_by, InvokedBy::Gate) {
            // It may be asked about an index before anybody has read it.
            called.extend(function.invoke(&trial, policy, payload));
        }
        drop(trial.attempt(on_push::select, policy, &pushed));
        called.extend(function.invoke(&trial, policy, payload));
    }
    called
}

/// The calls of a function where there are copies: for an image that was not copied to another region, with a backfill that
/// begins and ends; and for a copy here that no longer exists, from another region.
fn called_for_copies(function: &Function, policy: &Policy) -> BTreeSet<String> {
    let arrived = testing::event(
        "ECR Replication Action",
        &json!({"action-type": "REPLICATE", "result": "FAILED", "image-tag": "v1.2.3", "source-account": "123456789012",
            "source-region": "us-east-1"}),
    );
    let mut called = BTreeSet::new();
    for is_copy in [false, true] {
        for payload in &function.payloads {
            let trial = Trial::new(None);
            if is_copy {
                drop(trial.copy(on_replication::select, policy, &arrived));
            }
            for _ in 0..3 {
                called.extend(function.invoke(&trial, policy, payload));
                trial.wait(std::time::Duration::from_secs(3600));
            }
        }
    }
    called
}

/// The calls of a function for a repository: each setting as a rule may want it or not, and a policy that lets in the world
/// with others or alone.
fn called_for_repositories(function: &Function, policy: &Policy) -> BTreeSet<String> {
    let (everybody, own) = (
        json!({"Effect": "Allow", "Principal": "*"}),
        json!({"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}}),
    );
    let mut called = BTreeSet::new();
    for flag in [true, false] {
        for statements in [vec![&everybody], vec![&everybody, &own]] {
            for payload in &function.payloads {
                let trial = Trial::new(None);
                trial.scanned_on_request();
                trial.repository(flag, &json!({"Statement": statements}).to_string());
                called.extend(function.invoke(&trial, policy, payload));
            }
        }
    }
    called
}

/// A call that needs more than its own action, as `further-actions.json` has it. The local ECR reads it too.
struct Further {
    actions: BTreeSet<String>,
    further: BTreeSet<String>,
}

/// The calls that need actions of other services, and those that were checked and do not.
fn further() -> Vec<Further> {
    let names = |value: &Value| {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    let rows = read(&format!("{MODULE}/further-actions.json"));
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| {
            for said in ["when", "source"] {
                assert!(!row[said].as_str().unwrap().is_empty(), "{row}: say {said}");
            }
            Further {
                actions: names(&row["actions"]),
                further: names(&row["further"]),
            }
        })
        .collect()
}

/// The permissions of every role for the keys of table, topics and queues: the module spells them out, `permissions/` has none
/// of them.
fn with_keys() -> BTreeSet<String> {
    let text = fs::read_to_string(support::root().join(MODULE).join("functions.tf")).unwrap();
    let (_, statement) = text
        .split_once(r#"Sid       = "Keys""#)
        .expect("a statement about keys");
    let actions = statement
        .split_once("Action    = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .unwrap()
        .0;
    actions
        .split(", ")
        .map(|action| action.trim_matches('"').to_owned())
        .collect()
}

#[test]
fn who_may_make_a_call_may_do_what_aws_does_for_it() {
    let rows = further();
    for name in functions().keys() {
        for document in documents() {
            let granted = &granted_to_look(name) | &granted_to_change(name, &document.changes);
            let all: BTreeSet<_> = granted.union(&with_keys()).cloned().collect();
            for row in &rows {
                if let Some(action) = row.actions.intersection(&granted).next() {
                    let missing: Vec<_> = row.further.difference(&all).collect();
                    let says = &document.says;
                    assert!(
                        missing.is_empty(),
                        "`{name}`, {says}: {action} needs {missing:?} as well"
                    );
                }
            }
        }
    }
}

#[test]
fn every_action_was_checked_for_what_else_it_needs() {
    let rows = further();
    let listed: BTreeSet<_> = rows.iter().flat_map(|row| &row.actions).cloned().collect();
    let needed: BTreeSet<_> = rows.iter().flat_map(|row| &row.further).cloned().collect();
    assert_eq!(
        listed.len(),
        rows.iter().map(|row| row.actions.len()).sum::<usize>(),
        "an action stands in two rows"
    );
    let granted: BTreeSet<_> = functions().keys().flat_map(|name| granted(name)).collect();
    assert_eq!(listed, &granted - &needed);
}

#[test]
fn a_role_may_do_what_its_function_calls_and_nothing_else() {
    let (functions, documents, rows) = (functions(), documents(), further());
    // No payload's calls depend on another payload: each is tried by itself, so that no processor waits for the function with the most of them.
    std::thread::scope(|threads| {
        let documents = &documents;
        let trials = functions.iter().map(|(name, function)| {
            let trials = function
                .by_payload()
                .map(|function| threads.spawn(move || called_by_document(&function, documents)));
            (name, trials.collect::<Vec<_>>())
        });
        let trials: Vec<_> = trials.collect();
        for (name, trials) in trials {
            let mut called = vec![BTreeSet::new(); documents.len()];
            for trial in trials {
                for (all, called) in called.iter_mut().zip(trial.join().unwrap()) {
                    all.extend(called);
                }
            }
            holds_role_to_calls(name, documents, called, &rows);
        }
    });
}

/// The same for the function whose calls depend on no document: in a moment.
#[test]
fn what_keeps_the_index_may_do_what_it_calls_and_nothing_else() {
    let function = &functions()["workloads"];
    let (rows, policy) = (further(), with_index());
    let mut called = BTreeSet::new();
    let before = testing::event("ECR Image Scan", &json!({"scan-status": "COMPLETE", "image-tags": []}));
    for payload in &function.payloads {
        let trial = Trial::new(Some(vec![page("CRITICAL", 1)]));
        drop(trial.attempt(on_scan::select, &testing::policy(""), &before));
        called.extend(function.invoke(&trial, &policy, payload));
    }
    let further = rows
        .iter()
        .filter(|row| !row.actions.is_disjoint(&called))
        .flat_map(|row| &row.further);
    let further: Vec<_> = further
        .filter(|action| !with_keys().contains(*action))
        .cloned()
        .collect();
    called.extend(further);
    assert_eq!(called, granted_to_look("workloads"));
}

/// The calls of a function under each document.
fn called_by_document(function: &Function, documents: &[Document]) -> Vec<BTreeSet<String>> {
    let mut known = BTreeMap::new();
    documents
        .iter()
        .map(|document| called(function, document, &mut known))
        .collect()
}

fn holds_role_to_calls(name: &str, documents: &[Document], called: Vec<BTreeSet<String>>, rows: &[Further]) {
    let to_look = granted_to_look(name);
    let mut called_at_all = BTreeSet::new();
    for (document, mut called) in documents.iter().zip(called) {
        let further = rows
            .iter()
            .filter(|row| !row.actions.is_disjoint(&called))
            .flat_map(|row| &row.further);
        let further: Vec<_> = further
            .filter(|action| !with_keys().contains(*action))
            .cloned()
            .collect();
        called.extend(further);
        let (to_change, says) = (granted_to_change(name, &document.changes), &document.says);
        let missing: Vec<_> = called.difference(&(&to_look | &to_change)).cloned().collect();
        let unused: Vec<_> = to_change.difference(&called).collect();
        assert!(
            missing.is_empty() && unused.is_empty(),
            "`{name}`, {says}: missing {missing:?}, never called {unused:?}"
        );
        called_at_all.append(&mut called);
    }
    let unused: Vec<_> = to_look.difference(&called_at_all).collect();
    assert!(unused.is_empty(), "`{name}`: never called {unused:?}");
}

/// A permission to change a registry is granted where a policy has the change made, and in report mode never.
#[test]
fn what_changes_the_registry_is_never_granted_to_look() {
    let looks = ["BatchGet", "Describe", "Get", "List"];
    let mut report = documents()
        .into_iter()
        .filter(|row| !row.policy().enforces_anywhere())
        .peekable();
    assert!(report.peek().is_some() && report.all(|row| row.changes.is_empty()));
    for name in functions().keys() {
        for action in granted_to_look(name) {
            let Some(operation) = action.strip_prefix("ecr:") else {
                continue;
            };
            assert!(looks.iter().any(|look| operation.starts_with(look)), "{name}: {action}");
        }
    }
}

/// `docs/repository-rules.md` has a row for each word, with the permissions that the files give it, and with none that they do not.
#[test]
fn every_change_is_documented_with_its_permissions() {
    let mut granted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in functions().keys() {
        let file = read(&format!("{MODULE}/permissions/{name}.json"));
        for (change, actions) in file
            .as_object()
            .unwrap()
            .values()
            .filter_map(Value::as_object)
            .flatten()
        {
            granted.entry(change.clone()).or_default().extend(lists(actions));
        }
    }
    let text = fs::read_to_string(support::root().join("docs/repository-rules.md")).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with("| word |")).skip(2);
    let rows = rows.map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let documented = rows.map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let actions = cells[2]
            .split('`')
            .filter(|text| text.starts_with("ecr:"))
            .map(str::to_owned);
        (cells[0].trim_matches('`').to_owned(), actions.collect())
    });
    assert_eq!(documented.collect::<BTreeMap<String, BTreeSet<String>>>(), granted);
    let used: BTreeSet<String> = documents().into_iter().flat_map(|row| row.changes).collect();
    assert_eq!(
        used,
        granted.into_keys().collect(),
        "tests/changes.json has a row for each"
    );
}

#[test]
fn each_permission_stands_under_the_resource_that_it_is_for() {
    for name in functions().keys() {
        let file = read(&format!("{MODULE}/permissions/{name}.json"));
        for (resource, actions) in file.as_object().unwrap() {
            let (resource, actions) = match resource.strip_suffix("_when") {
                Some(resource) => (
                    resource,
                    actions.as_object().unwrap().values().flat_map(lists).collect(),
                ),
                None => (resource.as_str(), lists(actions)),
            };
            let service = match resource {
                "workloads" => "",
                "lambda_functions" => "lambda:",
                "reader_roles" => "sts:",
                "repositories" | "replicas" | "registry" => "ecr:",
                "scanner" => "inspector2:",
                "repository_keys" => "kms:",
                "ledger" | "ledger_index" | "ledger_alerts" => "dynamodb:",
                "queue" => "sqs:",
                "topics" => "sns:",
                other => panic!("{name}: the module has no statement for `{other}`"),
            };
            for action in actions {
                assert!(action.starts_with(service), "{name}: {action} in `{resource}`");
            }
        }
    }
}

#[test]
fn every_call_of_the_adapters_is_somebodys_permission() {
    let mut operations = BTreeSet::new();
    let mut folders = ["aws", "aws-workloads"]
        .map(|folder| support::root().join(format!("shared/{folder}/src")))
        .to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            // `const OPERATION: &str = "ecr:DescribeImages";` is how an adapter names what it calls.
            operations.extend(
                text.lines()
                    .filter_map(|line| line.split_once("const ")?.1.split_once(": &str = \""))
                    .filter_map(|(_, value)| value.strip_suffix("\";"))
                    .filter(|value| value.contains(':') && !value.starts_with("sha256:"))
                    .map(str::to_owned),
            );
        }
    }
    // The caller has signed it: nobody needs a permission (API reference of AWS STS, `GetCallerIdentity`).
    assert!(operations.remove("sts:GetCallerIdentity"));
    let granted: BTreeSet<String> = functions().keys().flat_map(|name| granted(name)).collect();
    let needed: BTreeSet<String> = further().into_iter().flat_map(|row| row.further).collect();
    assert_eq!(operations, &granted - &needed);
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
    assert_eq!(metrics["whole"], json!(WHOLE), "what has no dimension");
    for metric in metrics["dashboard_maximum"].as_array().unwrap() {
        assert!(METRICS.contains(&metric.as_str().unwrap()), "nobody writes {metric}");
    }
    for (metric, writers) in metrics["written_by"].as_object().unwrap() {
        let metric = metric.as_str();
        assert!(METRICS.contains(&metric) && !WHOLE.contains(&metric), "{metric}");
        for writer in writers.as_array().unwrap() {
            assert!(functions().contains_key(writer.as_str().unwrap()), "{metric}: {writer}");
        }
    }

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
            doing: "reconcile",
            of: Subject::Image(image),
            source: port,
        }),
    ]
    .map(|error| error.code());

    assert_eq!(
        outcomes,
        ["BlockRefused", "CallRefused"],
        "by these, refusals are counted"
    );

    let mut ours = 0;
    for (scope, alarms) in metrics["alarms"].as_object().unwrap() {
        for (name, alarm) in alarms.as_object().unwrap() {
            if alarm["namespace"] != NAMESPACE {
                continue;
            }
            ours += 1;
            let metric = alarm["metric"].as_str().unwrap();
            assert!(METRICS.contains(&metric), "{name}: nobody writes `{metric}`");
            assert_eq!(
                scope == "whole",
                WHOLE.contains(&metric),
                "{name}: `{metric}` has a dimension, or has none"
            );
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
