//! The cost of every kind of event: the AWS calls that are made, and the longest chain of calls that wait for each other.
//!
//! Real handlers and real adapters, on an AWS in memory. The table is `docs/call-budget.md`; a change is a visible difference there.

use std::{
    backtrace::Backtrace,
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use guard_aws_workloads::{AwsWorkloads, EcsRevisions};
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::core::{alert::brief::BriefAlert, policy::Policy, release::request::Verb};
use shared::{
    aws::{ecr::EcrWriter, sqs::SqsQueue},
    events::Event,
    lambda::{
        entry::{EventContext, Handled, Invocation, Received, Selection, image_event, push_event},
        error::HandlerError,
        gate::{Ready, gate},
        operate::operate,
        replication::{CopySelection, copy_event},
        repositories::RecentLooks,
        sweep::sweep,
        worker,
        workloads::keep_index,
    },
    ports::{AlertLedger as _, Clock as _, PolicyLedger as _},
    services::{AwsServices, Lasting, NoQueue, NoWriter},
    testing,
};
use syn::{spanned::Spanned as _, visit::Visit};

use crate::{
    canned::{Call, FakeAws, Reply, Request, VirtualClock, longest_chain},
    support,
};

/// One image, and what the scanner knows of it.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// `imageStatus`; `None`: there is no image.
    pub(crate) status: Option<&'static str>,
    pub(crate) tags: Vec<String>,
    /// The pages of findings; `None`: no scan.
    pub(crate) scan: Option<Vec<Value>>,
    referrer: bool,
    /// When it was last pulled, in seconds since 1970.
    pub(crate) pulled_at: Option<i64>,
    /// Its children, if it is an index.
    children: Vec<String>,
}

/// A repository, and what the ledger has of it.
#[derive(Debug, Default)]
struct World {
    images: BTreeMap<String, Entry>,
    items: BTreeMap<String, Value>,
    frequency: &'static str,
    mutability: &'static str,
    scan_on_push: bool,
    access: Option<String>,
    lifecycle: Option<Value>,
    previewed: Value,
    /// The stack of the last alert.
    stack: Option<Backtrace>,
}

impl World {
    /// The image that the trials are about.
    fn image(&mut self) -> &mut Entry {
        self.images.entry(digest()).or_default()
    }

    fn describe(digest: &str, entry: &Entry) -> Value {
        let index = !entry.children.is_empty();
        json!({
            "imageDigest": digest,
            "imageTags": entry.tags,
            "imageStatus": entry.status,
            "imagePushedAt": 1_795_467_000,
            "lastRecordedPullTime": entry.pulled_at,
            "imageManifestMediaType": if index { "application/vnd.oci.image.index.v1+json" } else { "application/vnd.oci.image.manifest.v1+json" },
            "artifactMediaType": match (entry.referrer, index) {
                (true, _) => Some("application/vnd.dev.sigstore.bundle.v0.3+json"),
                (false, false) => Some("application/vnd.oci.image.config.v1+json"),
                (false, true) => None,
            },
            "subjectManifestDigest": entry.referrer.then_some("sha256:bb"),
        })
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let not_found = || Reply::error("ImageNotFoundException");
        let of = |id: &Value| id["imageDigest"].as_str().map_or_else(digest, str::to_owned);
        let asked = match request.operation.as_str() {
            "ecr:DescribeImages" | "ecr:BatchGetImage" => of(&request.body["imageIds"][0]),
            _ => of(&request.body["imageId"]),
        };
        // A tag that no image has leads nowhere.
        let tag = request.body["imageIds"][0]["imageTag"].as_str();
        let is_nowhere = tag.is_some_and(|tag| {
            !self
                .images
                .values()
                .any(|image| image.tags.iter().any(|has| has == tag))
        });
        let id = json!({"imageDigest": asked});
        let entry = self.images.entry(asked.clone()).or_default();
        match request.operation.as_str() {
            "ecr:DescribeImages" if request.body["imageIds"].is_null() => {
                let there = self.images.iter().filter(|(_, entry)| entry.status == Some("ACTIVE"));
                let details: Vec<Value> = there.map(|(digest, entry)| Self::describe(digest, entry)).collect();
                Reply::Ok(json!({"imageDetails": details}))
            }
            "ecr:DescribeImages" => {
                let ids = request.body["imageIds"].as_array().unwrap();
                let details = ids.iter().map(|id| {
                    let (digest, entry) = self.images.get_key_value(&of(id))?;
                    entry.status.filter(|_| !is_nowhere)?;
                    Some(Self::describe(digest, entry))
                });
                // One that is not there hides the others.
                let details: Option<Vec<Value>> = details.collect();
                details.map_or_else(not_found, |details| Reply::Ok(json!({"imageDetails": details})))
            }
            "ecr:DescribeImageScanFindings" => match (&entry.scan, entry.status) {
                (_, Some("ARCHIVED")) => {
                    Reply::Ok(json!({"imageId": id, "imageScanStatus": {"status": "IMAGE_ARCHIVED"}}))
                }
                (Some(pages), Some(_)) => {
                    let page = request.body["nextToken"]
                        .as_str()
                        .and_then(|token| token.parse().ok())
                        .unwrap_or(0_usize);
                    let mut answer = pages[page].clone();
                    if page + 1 < pages.len() {
                        answer["nextToken"] = json!((page + 1).to_string());
                    }
                    Reply::Ok(answer)
                }
                _ => Reply::error("ScanNotFoundException"),
            },
            "ecr:BatchGetRepositoryScanningConfiguration" => Reply::Ok(json!({
                "scanningConfigurations": [{"repositoryName": testing::image_key().repository.as_str(), "scanFrequency": self.frequency}],
                "failures": [],
            })),
            "ecr:StartImageScan" => Reply::Ok(json!({"imageId": id, "imageScanStatus": {"status": "IN_PROGRESS"}})),
            "ecr:UpdateImageStorageClass" => {
                let archive = request.body["targetStorageClass"] == "ARCHIVE";
                entry.status = Some(if archive { "ARCHIVED" } else { "ACTIVATING" });
                Reply::Ok(json!({"imageId": id, "imageStatus": entry.status}))
            }
            "ecr:BatchGetImage" => {
                let children: Vec<Value> = entry.children.iter().map(|digest| json!({"digest": digest})).collect();
                let config = if entry.referrer {
                    "application/vnd.oci.empty.v1+json"
                } else {
                    "application/vnd.oci.image.config.v1+json"
                };
                let manifest = if children.is_empty() {
                    json!({"config": {"mediaType": config}})
                } else {
                    json!({"manifests": children})
                };
                let manifest = manifest.to_string();
                Reply::Ok(json!({"images": [{"imageId": id, "imageManifest": manifest,
                    "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json"}], "failures": []}))
            }
            "ecr:PutImage" => {
                let tag = request.body["imageTag"].as_str().unwrap().to_owned();
                self.image().tags.push(tag);
                Reply::Ok(json!({"image": {"imageId": id}}))
            }
            "ecr:BatchDeleteImage" => {
                let removed: Vec<&str> = request.body["imageIds"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter_map(|id| id["imageTag"].as_str())
                    .collect();
                self.image().tags.retain(|tag| !removed.contains(&tag.as_str()));
                let named =
                    |tag: &&str| json!({"imageTag": tag, "imageDigest": testing::image_key().digest.to_string()});
                let removed: Vec<Value> = removed.iter().map(named).collect();
                Reply::Ok(json!({"imageIds": removed, "failures": []}))
            }
            "dynamodb:GetItem" => Reply::Ok(
                self.items
                    .get(&request.body["Key"].to_string())
                    .map_or_else(|| json!({}), |item| json!({"Item": item})),
            ),
            "dynamodb:BatchGetItem" => {
                let tables = request.body["RequestItems"].as_object().unwrap();
                let found = |asked: &Value| {
                    let keys = asked["Keys"].as_array().unwrap().iter();
                    let items: Vec<&Value> = keys.filter_map(|key| self.items.get(&key.to_string())).collect();
                    json!(items)
                };
                let found = tables.iter().map(|(table, asked)| (table.clone(), found(asked)));
                Reply::Ok(json!({"Responses": found.collect::<serde_json::Map<_, _>>(), "UnprocessedKeys": {}}))
            }
            "dynamodb:UpdateItem" if request.body["ExpressionAttributeNames"]["#claimed_by"].is_string() => {
                let actor = &request.body["ExpressionAttributeValues"][":actor"];
                Reply::Ok(json!({"Attributes": {"claimed_by": actor}}))
            }
            "dynamodb:UpdateItem" => Reply::Ok(json!({"Attributes": {"count": {"N": "1"}}})),
            "dynamodb:PutItem" => {
                let item = &request.body["Item"];
                let key = json!({"pk": item["pk"], "sk": item["sk"]});
                self.items.insert(key.to_string(), item.clone());
                Reply::Ok(json!({}))
            }
            "dynamodb:DeleteItem" => {
                self.items.remove(&request.body["Key"].to_string());
                Reply::Ok(json!({}))
            }
            "ecr:DescribeRepositories" => Reply::Ok(json!({"repositories": [{
                "repositoryName": testing::image_key().repository.as_str(),
                "imageTagMutability": self.mutability,
                "imageScanningConfiguration": {"scanOnPush": self.scan_on_push},
                "encryptionConfiguration": {"encryptionType": "KMS", "kmsKey": "arn:aws:kms:us-west-2:123456789012:key/1"},
            }]})),
            "dynamodb:Query" => {
                let asked = &request.body["ExpressionAttributeValues"];
                let prefix = asked[":prefix"]["S"].as_str().unwrap();
                let found = self.items.values().filter(|item| {
                    item["pk"] == asked[":pk"] && item["sk"]["S"].as_str().is_some_and(|sk| sk.starts_with(prefix))
                });
                Reply::Ok(json!({"Items": found.collect::<Vec<_>>()}))
            }
            "sqs:SendMessage" => {
                let entries = request.body["Entries"].as_array().unwrap();
                let taken = entries
                    .iter()
                    .map(|entry| json!({"Id": entry["Id"], "MessageId": entry["Id"], "MD5OfMessageBody": ""}));
                Reply::Ok(json!({"Successful": taken.collect::<Vec<_>>(), "Failed": []}))
            }
            "sqs:GetQueueAttributes" => Reply::Ok(
                json!({"Attributes": {"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesDelayed": "0"}}),
            ),
            "ecr:DescribeImageReplicationStatus" => {
                Reply::Ok(json!({"repositoryName": request.body["repositoryName"], "imageId": id,
                "replicationStatuses": [{"region": testing::image_key().region.as_str(), "status": "FAILED", "failureCode": "KmsError"}]}))
            }
            "ecr:StartReplicationBackfill" => Reply::Ok(json!({"replicationBackfillId": "b-1", "status": "PREPARING"})),
            "ecr:ListReplicationBackfills" => Reply::Ok(
                json!({"backfills": [{"replicationBackfillId": "b-1", "status": "COMPLETE",
                "destination": {"region": "eu-west-1", "registryId": testing::image_key().account.as_str()}, "startedAt": 1_795_521_600}]}),
            ),
            "ecr:DescribeReplicationBackfillResults" => Reply::Ok(json!({"results": []})),
            "ecr:DescribeRegistry" => Reply::Ok(json!({"registryId": testing::image_key().account.as_str(),
                "replicationConfiguration": {"rules": []}})),
            "ecr:GetSigningConfiguration" => Reply::Ok(json!({"signingConfiguration": {"rules": []}})),
            "ecr:ListTagsForResource" => Reply::Ok(json!({"tags": []})),
            "ecr:GetRepositoryPolicy" => match &self.access {
                Some(text) => Reply::Ok(json!({"policyText": text})),
                None => Reply::error("RepositoryPolicyNotFoundException"),
            },
            "ecr:SetRepositoryPolicy" => {
                self.access = request.body["policyText"].as_str().map(str::to_owned);
                Reply::Ok(json!({}))
            }
            "ecr:DeleteRepositoryPolicy" => {
                self.access = None;
                Reply::Ok(json!({}))
            }
            "ecr:PutImageScanningConfiguration" => {
                self.scan_on_push = true;
                Reply::Ok(json!({"imageScanningConfiguration": {"scanOnPush": true}}))
            }
            "ecr:GetRegistryScanningConfiguration" => {
                Reply::Ok(json!({"scanningConfiguration": {"scanType": "BASIC"}}))
            }
            "ecr:GetLifecyclePolicy" => match &self.lifecycle {
                Some(text) => Reply::Ok(json!({"lifecyclePolicyText": text})),
                None => Reply::error("LifecyclePolicyNotFoundException"),
            },
            "ecr:PutImageTagMutability" => {
                self.mutability = "IMMUTABLE";
                Reply::Ok(json!({"imageTagMutability": "IMMUTABLE"}))
            }
            "ecr:StartLifecyclePolicyPreview" => {
                self.previewed = request.body["lifecyclePolicyText"].clone();
                Reply::Ok(json!({}))
            }
            "ecr:GetLifecyclePolicyPreview" => {
                Reply::Ok(json!({"status": "COMPLETE", "lifecyclePolicyText": self.previewed,
                "previewResults": [], "summary": {"expiringImageTotalCount": 0}}))
            }
            "ecr:PutLifecyclePolicy" => {
                self.lifecycle = Some(request.body["lifecyclePolicyText"].clone());
                Reply::Ok(json!({}))
            }
            "kms:DescribeKey" => Reply::Ok(
                json!({"KeyMetadata": {"KeyId": "1", "KeyManager": "CUSTOMER", "KeyState": "Enabled",
                "KeySpec": "SYMMETRIC_DEFAULT", "Origin": "AWS_KMS"}}),
            ),
            "kms:GetKeyRotationStatus" => Reply::Ok(json!({"KeyRotationEnabled": true})),
            "sns:Publish" => {
                self.stack = Some(Backtrace::force_capture());
                Reply::Ok(json!({"MessageId": "94f20ce6-13c5-43a0-9a9e-ca52d816e90b"}))
            }
            other => workloads_of(other),
        }
    }
}

/// One workload of each kind, which uses the image.
fn workloads_of(operation: &str) -> Reply {
    let key = testing::image_key();
    let tagged = format!(
        "{}.dkr.ecr.{}.amazonaws.com/{}:v1.2.3",
        key.account, key.region, key.repository
    );
    let arn = |what: &str| format!("arn:aws:ecs:us-west-2:123456789012:{what}");
    let containers = json!([{"image": tagged, "imageDigest": key.digest.as_str()}]);
    Reply::Ok(match operation {
        "ecs:ListClusters" => json!({"clusterArns": [arn("cluster/prod")]}),
        "ecs:ListTasks" => json!({"taskArns": [arn("task/prod/1")]}),
        "ecs:DescribeTasks" => {
            json!({"tasks": [{"taskArn": arn("task/prod/1"), "clusterArn": arn("cluster/prod"), "group": "service:api",
            "lastStatus": "RUNNING", "taskDefinitionArn": arn("task-definition/api:41"), "containers": containers}], "failures": []})
        }
        "ecs:ListServices" => json!({"serviceArns": [arn("service/prod/api")]}),
        "ecs:DescribeServices" => json!({"services": [{"serviceArn": arn("service/prod/api"), "serviceName": "api",
            "clusterArn": arn("cluster/prod"), "taskDefinition": arn("task-definition/api:41"),
            "currentServiceRevisions": [{"arn": arn("service-revision/prod/api/1")}],
            "currentServiceDeployment": arn("service-deployment/prod/api/1")}], "failures": []}),
        "ecs:DescribeServiceDeployments" => json!({"serviceDeployments": [], "failures": []}),
        "ecs:DescribeServiceRevisions" => {
            json!({"serviceRevisions": [{"serviceRevisionArn": arn("service-revision/prod/api/1"),
            "taskDefinition": arn("task-definition/api:41"), "containerImages": containers}], "failures": []})
        }
        "ecs:ListTaskDefinitions" => json!({"taskDefinitionArns": [arn("task-definition/nightly:7")]}),
        "ecs:DescribeTaskDefinition" => json!({"taskDefinition": {"containerDefinitions": [{"image": tagged}]}}),
        "lambda:ListFunctions" => json!({"Functions": [
            {"FunctionName": "thumbs", "Version": "$LATEST", "PackageType": "Image", "CodeSha256": "1"},
            {"FunctionName": "thumbs", "Version": "12", "PackageType": "Image", "CodeSha256": "1"}]}),
        "lambda:ListAliases" => json!({"Aliases": [{"FunctionVersion": "12"}]}),
        "lambda:GetFunction" => {
            let digest = key.digest.as_str();
            json!({"Code": {"ResolvedImageUri": tagged.replace(":v1.2.3", &format!("@{digest}"))}})
        }
        "batch:DescribeJobDefinitions" => json!({"jobDefinitions": []}),
        "eks:ListClusters" => json!({"clusters": ["prod"]}),
        "sts:AssumeRole" => json!({"Credentials": {"AccessKeyId": "ASIA", "SecretAccessKey": "s", "SessionToken": "t",
            "Expiration": "2030-01-01T00:00:00Z"}}),
        other => panic!("a call that nobody planned: {other}"),
    })
}

/// A year before the time of the tests.
pub(crate) const LONG_AGO: i64 = 1_764_000_000;

fn digest() -> String {
    testing::image_key().digest.to_string()
}

pub(crate) fn page(severity: &str, count: usize) -> Value {
    let findings: Vec<Value> = (0..count)
        .map(|n| {
            json!({"name": format!("CVE-2026-{n}"), "severity": severity,
            "attributes": [{"key": "package_name", "value": "openssl"}, {"key": "package_version", "value": "3.0.1"}]})
        })
        .collect();
    json!({
        "imageScanStatus": {"status": "COMPLETE"},
        "imageScanFindings": {"findings": findings, "findingSeverityCounts": {severity: count}, "imageScanCompletedAt": 1_795_467_500},
    })
}

fn scan_of(severity: &str) -> Option<Vec<Value>> {
    Some(vec![page(severity, 1)])
}

fn failed() -> Option<Vec<Value>> {
    Some(vec![json!({"imageScanStatus": {"status": "FAILED"}})])
}

pub(crate) fn invocation() -> Invocation {
    let key = testing::image_key();
    Invocation {
        function: "trial",
        request_id: "one".to_owned(),
        account: key.account,
        region: key.region,
        until: Timestamp::MAX,
    }
}

/// The services of a function.
type TrialServices<'a> = AwsServices<'a, EcrWriter, SqsQueue, VirtualClock>;

/// A function with one image in front of it.
pub(crate) struct Trial {
    world: Arc<Mutex<World>>,
    aws: FakeAws,
    recent: RecentLooks,
}

impl Trial {
    pub(crate) fn new(scan: Option<Vec<Value>>) -> Self {
        let mut world = World {
            frequency: "SCAN_ON_PUSH",
            mutability: "MUTABLE",
            ..World::default()
        };
        *world.image() = Entry {
            status: Some("ACTIVE"),
            tags: vec!["v1.2.3".to_owned()],
            scan,
            ..Entry::default()
        };
        let world = Arc::new(Mutex::new(world));
        let shared = Arc::clone(&world);
        let aws = FakeAws::new(move |request| shared.lock().unwrap().answer(request));
        let recent = RecentLooks::default();
        Self { world, aws, recent }
    }

    /// Lets time pass.
    pub(crate) fn wait(&self, time: std::time::Duration) {
        self.aws.run(self.aws.clock().wait(time));
    }

    /// Nothing scans the repository by itself.
    pub(crate) fn scanned_on_request(&self) {
        self.world.lock().unwrap().frequency = "MANUAL";
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Entry)) -> &Self {
        change(self.world.lock().unwrap().image());
        self
    }

    /// Gives the repository this flag for scanning, and this policy.
    pub(crate) fn repository(&self, scan_on_push: bool, access: &str) {
        let mut world = self.world.lock().unwrap();
        (world.scan_on_push, world.access) = (scan_on_push, Some(access.to_owned()));
    }

    /// Pushes an index of the image and of another one, which is clean.
    pub(crate) fn with_index(self) -> Self {
        let active = Entry {
            status: Some("ACTIVE"),
            ..Entry::default()
        };
        let other = Entry {
            scan: scan_of("LOW"),
            ..active
        };
        let index = Entry {
            status: Some("ACTIVE"),
            tags: vec!["v1.2.3".to_owned()],
            children: vec![digest(), OTHER.to_owned()],
            ..Entry::default()
        };
        self.change(|image| image.tags.clear());
        let mut world = self.world.lock().unwrap();
        world.images.insert(OTHER.to_owned(), other);
        world.images.insert(INDEX.to_owned(), index);
        drop(world);
        self
    }

    /// Handles an event, and gives the calls that it took.
    fn handle(&self, select: fn(&Event) -> Selection, policy: &Policy, payload: &str) -> Vec<Call> {
        let (result, calls) = self.attempt(select, policy, payload);
        result.unwrap();
        calls
    }

    /// Handles an event, well or not, and gives the calls that it took.
    pub(crate) fn attempt(
        &self,
        select: fn(&Event) -> Selection,
        policy: &Policy,
        payload: &str,
    ) -> (Result<Handled, HandlerError>, Vec<Call>) {
        self.aws.take_calls();
        let received = Received {
            invocation: &invocation(),
            payload,
        };
        let result = self.with_services(policy, async |services| {
            push_event(self.context(&services, policy, select), received).await
        });
        (result, self.aws.take_calls())
    }

    fn context<'a, S, T>(
        &'a self,
        services: &'a S,
        policy: &'a Policy,
        select: fn(&Event) -> T,
    ) -> EventContext<'a, S, T> {
        EventContext {
            services,
            policy,
            select,
            recent: &self.recent,
        }
    }

    /// Does something with the services that a function has.
    fn with_services<T>(&self, policy: &Policy, doing: impl AsyncFnOnce(TrialServices<'_>) -> T) -> T {
        let aws = self.aws.aws();
        let lasting = Lasting {
            aws: &aws,
            ledger: &aws.dynamo_ledger("ledger"),
            topics: &aws.sns_notifier(),
            policy,
            clock: self.aws.clock(),
        };
        let account = testing::image_key().account;
        let writer = lasting.writer(&account);
        let queue = aws.sqs_queue("https://sqs.us-west-2.amazonaws.com/123456789012/work");
        self.aws.run(doing(lasting.services(account, writer, &queue)))
    }

    /// Hands a batch with this one message to the worker, well or not, and gives the calls that it took.
    pub(crate) fn work(&self, select: fn(&Event) -> Selection, policy: &Policy, message: &str) -> Vec<Call> {
        self.aws.take_calls();
        let batch = testing::batch(vec![testing::message("one", message.to_owned())]);
        self.with_services(policy, async |services| {
            worker::work(&services, policy, select, &invocation(), batch).await;
        });
        self.aws.take_calls()
    }

    /// Handles an event about a copy, well or not, and gives the calls that it took.
    pub(crate) fn copy(&self, select: fn(&Event) -> CopySelection, policy: &Policy, payload: &str) -> Vec<Call> {
        self.aws.take_calls();
        let received = Received {
            invocation: &invocation(),
            payload,
        };
        drop(self.with_services(policy, async |services| {
            copy_event(self.context(&services, policy, select), received).await
        }));
        self.aws.take_calls()
    }

    /// Keeps an alert for the next summary.
    pub(crate) fn keep_alert(&self, policy: &Policy) {
        let key = testing::image_key();
        let brief: BriefAlert = serde_json::from_value(json!({"schema": "ecr-guard/brief-alert/v1",
            "topic": policy.default_topic(), "id": "one", "kind": "image-review", "time": "2026-11-24T12:00:00Z",
            "registry": {"account": key.account, "region": key.region}, "title": "a title"}))
        .unwrap();
        let kept = self.aws.aws().dynamo_ledger("ledger");
        self.aws.run(kept.keep_alert(&brief)).unwrap();
    }

    /// Begins a sweep, well or not, and gives the calls that it took.
    pub(crate) fn sweep(&self, policy: &Policy, payload: &str) -> Vec<Call> {
        self.aws.take_calls();
        drop(self.with_services(policy, async |services| {
            sweep(&services, policy, &invocation(), payload).await
        }));
        self.aws.take_calls()
    }

    /// Invokes the function that keeps the index, well or not, and gives the calls that it took.
    pub(crate) fn workloads(&self, policy: &Policy, payload: &str) -> Vec<Call> {
        self.aws.take_calls();
        let aws = self.aws.aws();
        let account = testing::image_key().account;
        let rules = policy.workloads.as_ref().unwrap();
        let workloads = AwsWorkloads::new(&aws, account, rules, None, Timestamp::MAX);
        // As at its start, where it reads the policy. No other role is granted that for this alone.
        let ledger = aws.dynamo_ledger("ledger");
        if payload == "{}" {
            drop(self.aws.run(ledger.policy_document("none")));
        }
        drop(self.with_services(policy, async |services| {
            keep_index(&services, policy, Some(&workloads), &invocation(), payload).await
        }));
        self.aws.take_calls()
    }

    /// Asks the gate, which has no writer, and gives the calls that it took with its answer.
    pub(crate) fn gate(&self, policy: &Policy, payload: &str) -> (Value, Vec<Call>) {
        self.aws.take_calls();
        let aws = self.aws.aws();
        let lasting = Lasting {
            aws: &aws,
            ledger: &aws.dynamo_ledger("ledger"),
            topics: &aws.sns_notifier(),
            policy,
            clock: self.aws.clock(),
        };
        let services = lasting.services(testing::image_key().account, None::<NoWriter>, &NoQueue);
        let ready = Ready::Yes {
            services: &services,
            policy,
        };
        let revisions = EcsRevisions::new(&aws);
        let invocation = invocation();
        let answering = gate(ready, &revisions, self.aws.clock(), &invocation, payload);
        (self.aws.run(answering), self.aws.take_calls())
    }

    /// Asks for a release, or for its end, and gives the calls that it took with the answer.
    pub(crate) fn operate(&self, policy: &Policy, action: Verb) -> (Value, Vec<Call>) {
        // The second request is another one.
        self.wait(std::time::Duration::from_secs(1));
        let now = self.aws.clock().now();
        self.operate_with(policy, &crate::operate::request(action, now))
    }

    pub(crate) fn operate_with(&self, policy: &Policy, payload: &str) -> (Value, Vec<Call>) {
        self.aws.take_calls();
        let asked = (crate::operate::FUNCTION, payload);
        let answer = self.with_services(policy, async |services| {
            operate(&services, policy, &crate::operate::Sts, &invocation(), asked).await
        });
        (answer, self.aws.take_calls())
    }

    fn scanned(&self, policy: &Policy) -> Vec<Call> {
        self.handle(
            on_scan::select,
            policy,
            &testing::event(
                "ECR Image Scan",
                &json!({"scan-status": "COMPLETE", "image-tags": [], "finding-severity-counts": self.counts()}),
            ),
        )
    }

    /// The counts of the event's findings: the scanner's count, on every page the same.
    fn counts(&self) -> Value {
        let world = self.world.lock().unwrap();
        let image = &world.images[&digest()];
        let page = image.scan.iter().flatten().next();
        page.map_or(Value::Null, |page| {
            page["imageScanFindings"]["findingSeverityCounts"].clone()
        })
    }

    fn pushed(&self, policy: &Policy) -> Vec<Call> {
        self.action(policy, &json!({"action-type": "PUSH", "image-tag": "v1.2.3"}))
    }

    fn action(&self, policy: &Policy, members: &Value) -> Vec<Call> {
        self.handle(on_push::select, policy, &testing::event("ECR Image Action", members))
    }
}

pub(crate) const INDEX: &str = "sha256:1d";
const OTHER: &str = "sha256:aa";

const WRITES: [&str; 10] = [
    "ecr:PutImageTagMutability",
    "ecr:PutLifecyclePolicy",
    "ecr:StartLifecyclePolicyPreview",
    "ecr:UpdateImageStorageClass",
    "ecr:PutImage",
    "ecr:BatchDeleteImage",
    "ecr:StartImageScan",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "sns:Publish",
];

/// Our own functions on a stack, from the outermost to the innermost: each with its file, and once with the closures in it. The places in our
/// sources say which they are; the names of futures do not.
fn our_functions(stack: &Backtrace) -> Vec<String> {
    let text = stack.to_string();
    let places = text.lines().filter_map(|line| {
        let (_, path) = line.trim_start().strip_prefix("at ")?.rsplit_once("/shared/")?;
        let (file, place) = path.split_once(':')?;
        Some((
            format!("shared/{file}"),
            place.split(':').next()?.parse::<usize>().ok()?,
        ))
    });
    let function = |(file, line): (String, usize)| {
        let path = support::root().join(&file);
        let mut around = Around { line, name: None };
        around.visit_file(&syn::parse_file(&std::fs::read_to_string(path).unwrap()).unwrap());
        format!("{file}: {}", around.name.expect("a place in a function"))
    };
    let mut names: Vec<String> = places.map(function).collect();
    names.dedup();
    names.reverse();
    names
}

/// The function that a line is in.
struct Around {
    line: usize,
    name: Option<String>,
}

impl Around {
    fn function(&mut self, name: &syn::Ident, span: proc_macro2::Span) {
        if (span.start().line..=span.end().line).contains(&self.line) {
            self.name = Some(name.to_string());
        }
    }
}

impl<'ast> Visit<'ast> for Around {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.sig.ident, function.span());
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(&function.sig.ident, function.span());
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        self.function(&function.sig.ident, function.span());
    }
}

#[test]
fn a_scan_event_passes_nine_functions_at_most_from_main_to_sns() {
    let (trial, policy) = (Trial::new(scan_of("CRITICAL")), testing::policy(""));
    let received = Received {
        invocation: &invocation(),
        payload: &testing::event("ECR Image Scan", &json!({"scan-status": "COMPLETE", "image-tags": []})),
    };
    let handled = trial.with_services(&policy, async |services| {
        image_event(trial.context(&services, &policy, on_scan::select), received).await
    });
    assert!(matches!(handled, Ok(Handled::Looked(_))), "{handled:?}");
    let world = trial.world.lock().unwrap();
    let names = our_functions(world.stack.as_ref().expect("an alert was sent"));
    let (first, last) = (names.first().unwrap(), names.last().unwrap());
    assert!(
        first.ends_with(": image_event") && last.ends_with(": publish"),
        "{names:#?}"
    );
    // `main` and `run_events` call the handler: see `shared/src/function.rs`.
    let all = names.len() + 2;
    assert!(all <= 9, "{all} functions: {names:#?}");
}

fn writes(calls: &[Call]) -> usize {
    calls
        .iter()
        .filter(|call| WRITES.contains(&call.request.operation.as_str()))
        .count()
}

const GATE: &str = "question to the gate";

/// The calls for an image that is pushed, scanned, and allowed.
pub(crate) fn a_push_and_its_scan() -> Vec<Call> {
    let policy = testing::policy("");
    let trial = Trial::new(None);
    let mut calls = trial.pushed(&policy);
    trial.change(|image| image.scan = scan_of("MEDIUM"));
    calls.extend(trial.scanned(&policy));
    calls
}

/// All situations: the event, what is the case, the calls.
fn situations() -> Vec<(&'static str, &'static str, Vec<Call>)> {
    let policy = testing::policy("");
    let flag = testing::policy(r#""block": {"method": "flag"}"#);
    let quarantine = testing::policy(r#""block": {"method": "quarantine-tag"}"#);
    let report = testing::policy_in("report", "");
    let excepted = testing::policy(
        r#""exceptions": [{"vulnerability": "*", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"}]"#,
    );
    let three_pages = Some(vec![page("LOW", 1000), page("LOW", 1000), page("LOW", 500)]);
    let mut rows = Vec::new();

    let scan = "scan ended";
    let blocked = Trial::new(scan_of("CRITICAL"));
    rows.push((scan, "CRITICAL: archived", blocked.scanned(&policy)));
    rows.push((scan, "nothing changed: blocked", blocked.scanned(&policy)));
    rows.push((scan, "excepted now: restored", blocked.scanned(&excepted)));
    rows.push((
        scan,
        "CRITICAL: quarantined by tag",
        Trial::new(scan_of("CRITICAL")).scanned(&quarantine),
    ));
    rows.push((
        scan,
        "CRITICAL: flagged",
        Trial::new(scan_of("CRITICAL")).scanned(&flag),
    ));
    rows.push((
        scan,
        "CRITICAL in report mode",
        Trial::new(scan_of("CRITICAL")).scanned(&report),
    ));
    let pulled_once = Trial::new(scan_of("CRITICAL"));
    pulled_once.change(|image| image.pulled_at = Some(LONG_AGO));
    rows.push((
        scan,
        "CRITICAL, pulled a year ago: blocked",
        pulled_once.scanned(&policy),
    ));
    let empty = testing::policy(r#""block": {"workloads": {"sources": ["batch"]}}"#);
    let unused = Trial::new(scan_of("CRITICAL"));
    unused.workloads(&empty, "{}");
    rows.push((scan, "CRITICAL, no workload uses it: archived", unused.scanned(&empty)));
    rows.push((
        scan,
        "nothing changed: blocked, no workload uses it",
        unused.scanned(&empty),
    ));
    let indexed = testing::policy(r#""block": {"workloads": {}}"#);
    let used = Trial::new(scan_of("CRITICAL"));
    used.workloads(&indexed, "{}");
    rows.push((
        scan,
        "CRITICAL, a workload uses it: block deferred",
        used.scanned(&indexed),
    ));
    let task = "task of ECS";
    let running = Trial::new(None);
    rows.push((
        task,
        "of an image that nobody used",
        running.workloads(&indexed, &crate::infra::task()),
    ));
    rows.push((
        task,
        "the same event again",
        running.workloads(&indexed, &crate::infra::task()),
    ));
    let refused = Trial::new(scan_of("CRITICAL"));
    refused.scanned(&policy);
    rows.push((
        task,
        "cannot pull a blocked image: alert",
        refused.workloads(&indexed, &crate::infra::refused_task()),
    ));
    rows.push((scan, "HIGH: review", Trial::new(scan_of("HIGH")).scanned(&policy)));
    rows.push((scan, "scan failed", Trial::new(failed()).scanned(&policy)));
    let allowed = Trial::new(scan_of("MEDIUM"));
    rows.push((scan, "MEDIUM: allowed", allowed.scanned(&policy)));
    rows.push((scan, "nothing changed: allowed", allowed.scanned(&policy)));
    rows.push((scan, "2,500 findings, nothing changed", {
        let trial = Trial::new(three_pages);
        trial.scanned(&policy);
        trial.scanned(&policy)
    }));
    rows.push((scan, "image gone", {
        let trial = Trial::new(None);
        trial.change(|world| world.status = None).scanned(&policy)
    }));

    let push = "push";
    let rules = testing::policy(
        r#""repositories": [{"match": "*", "tags": {"allowed": ["semver:v"]},
        "posture": {"tag_mutability": "IMMUTABLE", "scan_on_push": true, "key_rotation": true, "repair": true},
        "lifecycle": {"keep_count": 30, "tag_prefixes": ["v"], "expire_untagged_days": 7}}]"#,
    );
    let governed = Trial::new(None);
    governed.pushed(&testing::policy(""));
    let governed = Trial {
        recent: RecentLooks::default(),
        ..governed
    };
    rows.push((push, "rules for the repository: repaired", governed.pushed(&rules)));
    rows.push((push, "the same within ten minutes", governed.pushed(&rules)));
    let later = Trial {
        recent: RecentLooks::default(),
        ..governed
    };
    rows.push((push, "the same later: nothing differs", later.pushed(&rules)));
    let pending = Trial::new(None);
    rows.push((push, "new image, scanned on push", pending.pushed(&policy)));
    rows.push((push, "the same event again", pending.pushed(&policy)));
    let manual = Trial::new(None);
    rows.push((push, "new image, scanned on request", {
        manual.scanned_on_request();
        manual.pushed(&policy)
    }));
    let again = Trial::new(scan_of("CRITICAL"));
    again.scanned(&policy);
    again.change(|world| {
        world.status = Some("ACTIVE");
        world.scan = None;
    });
    rows.push((push, "a blocked image again: archived again", again.pushed(&policy)));
    let referrer = Trial::new(None);
    rows.push((
        push,
        "a signature or an attestation",
        referrer.change(|world| world.referrer = true).pushed(&policy),
    ));
    let untagged = Trial::new(None);
    rows.push((
        push,
        "new image without a tag",
        untagged.change(|world| world.tags.clear()).pushed(&policy),
    ));
    let multi = Trial::new(scan_of("MEDIUM")).with_index();
    let of_index = json!({"action-type": "PUSH", "image-tag": "v1.2.3", "image-digest": INDEX});
    rows.push((
        push,
        "an index of two images, nothing known of them",
        multi.action(&policy, &of_index),
    ));
    rows.push((push, "the same index again", multi.action(&policy, &of_index)));
    multi.change(|image| image.scan = scan_of("CRITICAL"));
    rows.push((
        scan,
        "CRITICAL in an image of an index: both blocked",
        multi.scanned(&policy),
    ));
    rows.push((
        scan,
        "nothing changed: image of a blocked index",
        multi.scanned(&policy),
    ));
    let nobody = Trial::new(scan_of("MEDIUM")).with_index();
    nobody.workloads(&empty, "{}");
    nobody.action(&empty, &of_index);
    nobody.change(|image| image.scan = scan_of("CRITICAL"));
    rows.push((
        scan,
        "CRITICAL in an image of an index, no workload uses them: both blocked",
        nobody.scanned(&empty),
    ));
    let clean = Trial::new(None).with_index();
    clean.action(&policy, &of_index);
    clean.change(|image| image.scan = scan_of("MEDIUM"));
    rows.push((scan, "MEDIUM in an image of an index: allowed", clean.scanned(&policy)));
    let partly = Trial::new(scan_of("MEDIUM")).with_index();
    partly.change(|image| image.status = None);
    rows.push((
        push,
        "an index of two images, one of them is not there",
        partly.action(&policy, &of_index),
    ));
    let own = json!({"action-type": "PUSH", "image-tag": "blocked-ab12ab12ab12"});
    rows.push((
        push,
        "our own quarantine tag: new",
        Trial::new(None).action(&policy, &own),
    ));
    rows.push(("deletion", "of an image that is remembered", {
        pending.change(|world| world.status = None);
        pending.action(&policy, &json!({"action-type": "DELETE"}))
    }));
    let copied = testing::policy(
        r#""repositories": [{"match": "*", "replication": {"regions": ["us-west-2"], "max_lag_minutes": 30}}]"#,
    );
    let event = |result: &str| {
        testing::event(
            "ECR Replication Action",
            &json!({"action-type": "REPLICATE", "result": result, "image-tag": "v1.2.3", "source-account": "123456789012",
                "source-region": "us-east-1"}),
        )
    };
    let copy = Trial::new(None);
    let arrived = copy.copy(on_replication::select, &copied, &event("SUCCESS"));
    rows.push(("replication", "a copy arrived", arrived));
    let again = copy.copy(on_replication::select, &copied, &event("SUCCESS"));
    rows.push(("replication", "the same event again", again));
    let failed = Trial::new(None);
    failed.change(|image| image.status = None);
    let told = failed.copy(on_replication::select, &copied, &event("FAILED"));
    rows.push(("replication", "ECR gave up: alert", told));
    let archived = json!({"action-type": "UPDATE_STORAGE_CLASS", "target-storage-class": "ARCHIVE"});
    let source = testing::event("ECR Image Action", &archived).replace("\"us-west-2\"", "\"us-east-1\"");
    let looked = copy.copy(on_replication::select, &copied, &source);
    rows.push(("archive", "of an image with a copy here, not by us", looked));
    let index_of_four = Trial::new(scan_of("LOW")).with_index();
    let more = ["sha256:c3", "sha256:c4"];
    {
        let mut world = index_of_four.world.lock().unwrap();
        for digest in more {
            let child = Entry {
                status: Some("ACTIVE"),
                scan: scan_of("LOW"),
                ..Entry::default()
            };
            world.images.insert(digest.to_owned(), child);
            world.images.get_mut(INDEX).unwrap().children.push(digest.to_owned());
        }
    }
    let known = Trial::new(scan_of("LOW"));
    known.scanned(&policy);
    let asks = |image: &str| crate::gate::request(&[image]);
    rows.push((
        GATE,
        "digest: allowed",
        known.gate(&policy, &asks(&format!("@{}", digest()))).1,
    ));
    rows.push((GATE, "tag: allowed", known.gate(&policy, &asks(":v1.2.3")).1));
    let index = asks(&format!("@{INDEX}"));
    rows.push((
        GATE,
        "digest of an index with 4 images, not read yet",
        index_of_four.gate(&policy, &index).1,
    ));
    index_of_four.handle(
        on_scan::select,
        &policy,
        &testing::event(
            "ECR Image Scan",
            &json!({"scan-status": "COMPLETE",
        "image-digest": INDEX, "image-tags": []}),
        ),
    );
    rows.push((
        GATE,
        "digest of an index with 4 images",
        index_of_four.gate(&policy, &index).1,
    ));
    let hook = crate::gate::hook("PRE_SCALE_UP", &json!({}));
    rows.push(("hook of ECS", "one image: allowed", known.gate(&policy, &hook).1));
    rows.push(("archive", "any image", Trial::new(None).action(&policy, &archived)));
    rows
}

/// The most round trips and calls of what happens most, or matters most: in the worst case, with the budget of alerts.
const LIMITS: [(&str, &str, usize, usize); 7] = [
    ("scan ended", "CRITICAL: archived", 5, 11),
    ("scan ended", "CRITICAL, no workload uses it: archived", 6, 13),
    ("scan ended", "CRITICAL in an image of an index: both blocked", 9, 22),
    (
        "scan ended",
        "CRITICAL in an image of an index, no workload uses them: both blocked",
        10,
        24,
    ),
    ("scan ended", "MEDIUM in an image of an index: allowed", 5, 10),
    ("push", "an index of two images, nothing known of them", 5, 12),
    ("replication", "a copy arrived", 5, 10),
];

#[test]
fn every_kind_of_event_costs_what_the_table_says() {
    let mut limited = 0;
    let mut table =
        String::from("| event | situation | round trips | calls | writes | calls to |\n|---|---|---:|---:|---:|---|\n");
    for (event, situation, calls) in situations() {
        let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
        for call in &calls {
            *counted.entry(&call.request.operation).or_default() += 1;
        }
        let called: Vec<String> = counted
            .iter()
            .map(|(operation, count)| {
                if *count == 1 {
                    format!("`{operation}`")
                } else {
                    format!("`{operation}` × {count}")
                }
            })
            .collect();
        writeln!(
            table,
            "| {event} | {situation} | {} | {} | {} | {} |",
            longest_chain(&calls),
            calls.len(),
            writes(&calls),
            called.join(", ")
        )
        .unwrap();
        for (_, _, round_trips, most) in LIMITS.iter().filter(|limit| (limit.0, limit.1) == (event, situation)) {
            let cost = (longest_chain(&calls), calls.len());
            assert!(
                cost.0 <= *round_trips && cost.1 <= *most,
                "{event}, {situation}: {cost:?}"
            );
            limited += 1;
        }
        if situation.contains("archived") && event == "scan ended" {
            // Who uses it is looked up once more before the effect.
            let most = if situation.contains("workload") { 6 } else { 5 };
            assert!(longest_chain(&calls) <= most, "{situation}");
        }
        if event == GATE {
            let most = match situation {
                "digest: allowed" => 1,
                "tag: allowed" => 2,
                // Its manifest is read once, by the first reconcile.
                "digest of an index with 4 images, not read yet" => 4,
                _ => 3,
            };
            assert!(longest_chain(&calls) <= most, "{situation}: {}", longest_chain(&calls));
            assert_eq!(writes(&calls), 0, "{situation}");
        }
        if situation.contains("pulled a year ago") {
            assert!(longest_chain(&calls) <= 6, "{situation}");
        }
        if situation.starts_with("nothing changed: image of") {
            assert!(longest_chain(&calls) <= 4, "{situation}");
            assert_eq!(writes(&calls), 0, "{situation}");
        } else if situation.starts_with("the same") {
            assert_eq!(writes(&calls), 0, "{situation}");
        } else if situation.starts_with("nothing changed") || situation.contains("again") && event == "scan ended" {
            assert!(longest_chain(&calls) <= 2, "{situation}");
            assert_eq!(writes(&calls), 0, "{situation}");
        }
    }
    assert_eq!(limited, LIMITS.len());
    support::assert_part_is("docs/call-budget.md", "events", &table);
}
