//! The lists of workloads, against an account in memory: ECS, Lambda, Batch, EKS and the roles of other accounts.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use guard_aws_workloads::AwsWorkloads;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::{
    core::{
        ids::AccountId,
        uses::{
            KnownImages, LambdaVersions, Phase, SourceKind, WhenUnknown, WorkloadAccount, WorkloadRules, WorkloadSource,
        },
    },
    ports::{Clock as _, ListedWorkloads, Retry, Workloads as _},
};

use super::{ACCOUNT, account};
use crate::canned::{FakeAws, Reply, Request};

const ARN: &str = "arn:aws:ecs:us-west-2:123456789012";

fn digest(n: usize) -> String {
    format!("sha256:{n:064x}")
}

fn uri(n: usize) -> String {
    format!("{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/team/api@{}", digest(n))
}

/// An account with workloads.
#[derive(Debug, Clone, Default)]
struct Account {
    /// The number of services, each with the same number of tasks.
    services: usize,
    tasks_of_each: usize,
    /// How many active revisions each family of task definitions has.
    revisions: usize,
    /// The number of functions of images, each with the same number of versions.
    functions: usize,
    versions: usize,
    /// Families of task definitions that no service has.
    jobs: usize,
    /// The revision that services are at.
    at: usize,
    denied: BTreeSet<&'static str>,
    /// The operation that fails after a number of calls.
    fails_after: Option<(&'static str, usize)>,
    pending: bool,
    without_revisions: bool,
}

/// Where a page begins, and where the next one does.
fn page(token: Option<&str>, size: usize, all: usize) -> (std::ops::Range<usize>, Option<String>) {
    let first: usize = token.and_then(|token| token.parse().ok()).unwrap_or(0);
    let last = (first + size).min(all);
    (first..last, (last < all).then(|| last.to_string()))
}

fn query<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let (_, query) = request.uri.split_once('?')?;
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

impl Account {
    fn revision_arn(&self, service: &str, at: usize) -> String {
        format!("{ARN}:service-revision/prod/{service}/{at}")
    }

    fn image(&self, service: usize, at: usize) -> usize {
        1000 * at + service
    }

    fn answer(&self, request: &Request, calls: usize) -> Reply {
        let operation = request.operation.as_str();
        if self.denied.contains(operation) {
            return Reply::error("AccessDeniedException");
        }
        if self
            .fails_after
            .is_some_and(|(name, after)| name == operation && calls >= after)
        {
            return Reply::error("InvalidParameterException");
        }
        let body = &request.body;
        let token = body["nextToken"].as_str();
        let named = |member: &str| -> Vec<String> {
            let arns = body[member].as_array().unwrap().iter();
            arns.map(|arn| arn.as_str().unwrap().to_owned()).collect()
        };
        match operation {
            "ecs:ListClusters" => Reply::Ok(json!({"clusterArns": [format!("{ARN}:cluster/prod")]})),
            "ecs:ListTasks" => {
                let (range, next) = page(token, 100, self.services * self.tasks_of_each);
                let arns: Vec<String> = range.map(|n| format!("{ARN}:task/prod/{n}")).collect();
                Reply::Ok(json!({"taskArns": arns, "nextToken": next}))
            }
            "ecs:DescribeTasks" => {
                let tasks: Vec<Value> = named("tasks")
                    .iter()
                    .map(|arn| {
                        let n: usize = arn.rsplit_once('/').unwrap().1.parse().unwrap();
                        let service = n % self.services;
                        json!({"taskArn": arn, "clusterArn": format!("{ARN}:cluster/prod"), "group": format!("service:s-{service}"),
                            "lastStatus": if self.pending { "PENDING" } else { "RUNNING" },
                            "taskDefinitionArn": format!("{ARN}:task-definition/s-{service}:{}", self.at),
                            "containers": [{"image": format!("{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/team/api:v{}", self.at),
                                "imageDigest": digest(self.image(service, self.at))},
                                {"image": "public.ecr.aws/datadog/agent:7"}]})
                    })
                    .collect();
                Reply::Ok(json!({"tasks": tasks, "failures": [{"arn": "gone", "reason": "MISSING"}]}))
            }
            "ecs:ListServices" => {
                let (range, next) = page(token, 100, self.services);
                let arns: Vec<String> = range.map(|n| format!("{ARN}:service/prod/s-{n}")).collect();
                Reply::Ok(json!({"serviceArns": arns, "nextToken": next}))
            }
            "ecs:DescribeServices" => {
                let services: Vec<Value> = named("services")
                    .iter()
                    .map(|arn| {
                        let name = arn.rsplit_once('/').unwrap().1;
                        let mut service = json!({"serviceArn": arn, "serviceName": name, "clusterArn": format!("{ARN}:cluster/prod"),
                            "taskDefinition": format!("{ARN}:task-definition/{name}:{}", self.at)});
                        if !self.without_revisions {
                            service["currentServiceRevisions"] = json!([{"arn": self.revision_arn(name, self.at)}]);
                            service["currentServiceDeployment"] = json!(format!("{ARN}:service-deployment/prod/{name}/{}", self.at));
                        }
                        service
                    })
                    .collect();
                Reply::Ok(json!({"services": services, "failures": []}))
            }
            "ecs:DescribeServiceDeployments" => {
                let deployments: Vec<Value> = named("serviceDeploymentArns")
                    .iter()
                    .map(|arn| {
                        let name = arn.split('/').nth(2).unwrap();
                        json!({"serviceDeploymentArn": arn, "finishedAt": 1_795_467_000, "status": "SUCCESSFUL",
                            "sourceServiceRevisions": [{"arn": self.revision_arn(name, self.at - 1)}]})
                    })
                    .collect();
                Reply::Ok(json!({"serviceDeployments": deployments, "failures": []}))
            }
            "ecs:DescribeServiceRevisions" => {
                let revisions: Vec<Value> = named("serviceRevisionArns")
                    .iter()
                    .map(|arn| {
                        let mut parts = arn.split('/').skip(2);
                        let name = parts.next().unwrap();
                        let at: usize = parts.next().unwrap().parse().unwrap();
                        let service: usize = name.trim_start_matches("s-").parse().unwrap();
                        json!({"serviceRevisionArn": arn, "taskDefinition": format!("{ARN}:task-definition/{name}:{at}"),
                            "containerImages": [{"image": format!("{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/team/api:v{at}"),
                                "imageDigest": digest(self.image(service, at))}]})
                    })
                    .collect();
                Reply::Ok(json!({"serviceRevisions": revisions, "failures": []}))
            }
            "ecs:ListTaskDefinitions" => {
                let of_services =
                    (0..self.services).flat_map(|n| (0..self.revisions).map(move |at| format!("s-{n}:{}", at + 1)));
                let of_jobs = (0..self.jobs).flat_map(|n| [format!("job-{n}:9"), format!("job-{n}:10")]);
                let all: Vec<String> = of_services
                    .chain(of_jobs)
                    .map(|name| format!("{ARN}:task-definition/{name}"))
                    .collect();
                let (range, next) = page(token, 100, all.len());
                Reply::Ok(json!({"taskDefinitionArns": all[range], "nextToken": next}))
            }
            "ecs:DescribeTaskDefinition" => {
                let arn = body["taskDefinition"].as_str().unwrap();
                let name = arn.rsplit_once('/').unwrap().1;
                let revision = name.strip_prefix("s-").and_then(|name| name.split_once(':'));
                let image = match revision {
                    Some((_, revision)) => format!("{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/team/api:v{revision}"),
                    None => format!("{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/team/{name}"),
                };
                Reply::Ok(
                    json!({"taskDefinition": {"taskDefinitionArn": arn, "containerDefinitions": [{"image": image}]}}),
                )
            }
            "lambda:ListFunctions" => {
                let marker = query(request, "Marker");
                let (range, next) = page(marker, 50, self.functions * self.versions + 1);
                let functions: Vec<Value> = range
                    .map(|n| {
                        if n == self.functions * self.versions {
                            return json!({"FunctionName": "zip", "Version": "$LATEST", "PackageType": "Zip"});
                        }
                        let (function, version) = (n / self.versions, n % self.versions);
                        let version = if version == 0 {
                            "$LATEST".to_owned()
                        } else {
                            version.to_string()
                        };
                        json!({"FunctionName": format!("f-{function}"), "Version": version, "PackageType": "Image",
                            "CodeSha256": format!("code-{n}"), "LastModified": "2026-01-01"})
                    })
                    .collect();
                Reply::Ok(json!({"Functions": functions, "NextMarker": next}))
            }
            "lambda:GetFunction" => {
                let version = query(request, "Qualifier").unwrap().to_owned();
                let path = request.uri.split('?').next().unwrap();
                let function: usize = path.rsplit_once("f-").unwrap().1.parse().unwrap();
                let version: usize = version.parse().unwrap_or(0);
                Reply::Ok(
                    json!({"Code": {"RepositoryType": "ECR", "ResolvedImageUri": uri(500_000 + 10 * function + version)}}),
                )
            }
            "lambda:ListAliases" => Reply::Ok(json!({"Aliases": [{"Name": "live", "FunctionVersion": "1",
                "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.1}}}]})),
            "batch:DescribeJobDefinitions" => Reply::Ok(json!({"jobDefinitions": [
                {"jobDefinitionName": "train", "jobDefinitionArn": "arn:aws:batch:us-west-2:123456789012:job-definition/train:3",
                    "revision": 3, "type": "container", "containerProperties": {"image": uri(1)}},
                {"jobDefinitionName": "many", "jobDefinitionArn": "arn:aws:batch:us-west-2:123456789012:job-definition/many:1",
                    "revision": 1, "type": "multinode", "nodeProperties": {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": [
                        {"targetNodes": "0:1", "ecsProperties": {"taskProperties": [{"containers": [{"image": uri(2)}]}]}}]}},
                {"jobDefinitionName": "pod", "jobDefinitionArn": "arn:aws:batch:us-west-2:123456789012:job-definition/pod:1",
                    "revision": 1, "type": "container", "eksProperties": {"podProperties": {"containers": [{"image": uri(3)}],
                        "initContainers": [{"image": uri(4)}]}}}]})),
            "eks:ListClusters" => Reply::Ok(json!({"clusters": ["prod"]})),
            "sts:AssumeRole" => Reply::Ok(
                json!({"Credentials": {"AccessKeyId": "ASIAOTHER", "SecretAccessKey": "s", "SessionToken": "t",
                "Expiration": "2030-01-01T00:00:00Z"}}),
            ),
            other => panic!("a call that nobody planned: {other}"),
        }
    }

    /// An AWS with this account in it.
    fn aws(&self) -> FakeAws {
        let account = self.clone();
        let made = Arc::new(Mutex::new(std::collections::BTreeMap::<String, usize>::new()));
        FakeAws::new(move |request| {
            let mut made = made.lock().unwrap();
            let calls = made.entry(request.operation.clone()).or_default();
            *calls += 1;
            account.answer(request, *calls - 1)
        })
    }
}

fn rules() -> WorkloadRules {
    WorkloadRules {
        sources: vec![SourceKind::Ecs, SourceKind::Lambda, SourceKind::Batch],
        max_age: SignedDuration::from_mins(120),
        when_unknown: WhenUnknown::Hold,
        accounts: Vec::new(),
        lambda_versions: LambdaVersions::All,
        task_definitions: true,
        clusters: std::collections::BTreeMap::new(),
    }
}

fn source(account: &str, kind: SourceKind) -> WorkloadSource {
    WorkloadSource {
        account: account.parse().unwrap(),
        region: "us-west-2".parse().unwrap(),
        kind,
    }
}

fn list_with(
    world: &FakeAws,
    rules: &WorkloadRules,
    source: &WorkloadSource,
    known: &KnownImages,
    until: Timestamp,
) -> ListedWorkloads {
    let aws = world.aws().for_sweeps();
    let workloads = AwsWorkloads::new(&aws, account(), rules, Some("external".to_owned()), until);
    world.run(workloads.list(source, known))
}

fn list(world: &FakeAws, kind: SourceKind, known: &KnownImages) -> ListedWorkloads {
    list_with(world, &rules(), &source(ACCOUNT, kind), known, Timestamp::MAX)
}

/// Who uses what, in words.
fn words(listed: &ListedWorkloads) -> BTreeSet<String> {
    let words = listed.seen.iter().map(|seen| {
        let key = super::key();
        format!(
            "{} -> {}{}",
            seen.workload.words(&key),
            seen.image.repository,
            seen.image.image
        )
    });
    words.collect()
}

#[test]
fn services_are_listed_with_what_runs_and_what_they_go_back_to() {
    let account = Account {
        services: 1,
        tasks_of_each: 2,
        revisions: 3,
        jobs: 1,
        at: 3,
        ..Account::default()
    };
    let listed = list(&account.aws(), SourceKind::Ecs, &KnownImages::default());
    assert_eq!(listed.failures, []);
    let expected = [
        format!(
            "service s-0 in cluster prod, task definition 3 -> team/api@{}",
            digest(3000)
        ),
        format!(
            "service s-0 in cluster prod, task definition 3 (not running now) -> team/api@{}",
            digest(3000)
        ),
        format!(
            "service s-0 in cluster prod, task definition 2 (to go back to) -> team/api@{}",
            digest(2000)
        ),
        // The newest definition of a job that something else starts.
        "task definition job-0:10 -> team/job-0:10".to_owned(),
        // Also of what a service is at: others may run it by its tag.
        "task definition s-0:3 -> team/api:v3".to_owned(),
    ];
    assert_eq!(words(&listed), expected.into());
}

#[test]
fn a_task_that_waits_does_not_run() {
    let account = Account {
        services: 1,
        tasks_of_each: 1,
        at: 1,
        pending: true,
        ..Account::default()
    };
    let listed = list(&account.aws(), SourceKind::Ecs, &KnownImages::default());
    assert!(listed.seen.iter().all(|seen| seen.workload.phase != Phase::Running));
}

#[test]
fn the_revision_before_stays_what_people_go_back_to() {
    let mut account = Account {
        services: 1,
        at: 3,
        ..Account::default()
    };
    let first = list(&account.aws(), SourceKind::Ecs, &KnownImages::default());
    account.at = 5;
    let second = list(&account.aws(), SourceKind::Ecs, &first.known);
    let words = words(&second);
    assert!(
        words.contains(&format!(
            "service s-0 in cluster prod, task definition 3 (to go back to) -> team/api@{}",
            digest(3000)
        )),
        "{words:?}"
    );
}

#[test]
fn a_service_without_revisions_is_read_by_its_definition() {
    let account = Account {
        services: 1,
        at: 3,
        without_revisions: true,
        ..Account::default()
    };
    let listed = list(&account.aws(), SourceKind::Ecs, &KnownImages::default());
    let expected = "service s-0 in cluster prod, task definition 3 (not running now) -> team/api:v3".to_owned();
    assert_eq!(words(&listed), BTreeSet::from([expected]));
}

#[test]
fn functions_of_images_are_listed_with_all_versions_or_those_that_aliases_name() {
    let account = Account {
        functions: 1,
        versions: 4,
        ..Account::default()
    };
    let world = account.aws();
    let all = list(&world, SourceKind::Lambda, &KnownImages::default());
    assert_eq!(all.seen.len(), 4);
    let phases: BTreeSet<Phase> = all.seen.iter().map(|seen| seen.workload.phase).collect();
    assert_eq!(
        phases,
        BTreeSet::from([Phase::Desired]),
        "a version that exists lifts no block"
    );
    assert!(all.seen.iter().all(|seen| seen.image.key().is_some()));
    assert_eq!(world.count("lambda:GetFunction"), 4, "nothing of what is made of a zip");
    let aliased = WorkloadRules {
        lambda_versions: LambdaVersions::LatestAndAliased,
        ..rules()
    };
    let listed = list_with(
        &account.aws(),
        &aliased,
        &source(ACCOUNT, SourceKind::Lambda),
        &KnownImages::default(),
        Timestamp::MAX,
    );
    let versions: BTreeSet<&str> = listed
        .seen
        .iter()
        .filter_map(|seen| seen.workload.version.as_deref())
        .collect();
    assert_eq!(versions, BTreeSet::from(["$LATEST", "1", "2"]));
}

#[test]
fn job_definitions_are_listed_with_all_their_containers() {
    let listed = list(&Account::default().aws(), SourceKind::Batch, &KnownImages::default());
    let expected = [("train:3", 1), ("many:1", 2), ("pod:1", 3), ("pod:1", 4)];
    let expected = expected.map(|(name, n)| format!("job definition {name} -> team/api@{}", digest(n)));
    assert_eq!(words(&listed), expected.into());
}

#[test]
fn what_fails_is_said_and_what_was_seen_counts() {
    for (operation, kind) in [
        ("ecs:ListTasks", SourceKind::Ecs),
        ("ecs:DescribeTasks", SourceKind::Ecs),
        ("ecs:ListServices", SourceKind::Ecs),
        ("ecs:DescribeServices", SourceKind::Ecs),
        ("ecs:DescribeServiceRevisions", SourceKind::Ecs),
        ("ecs:DescribeServiceDeployments", SourceKind::Ecs),
        ("ecs:ListTaskDefinitions", SourceKind::Ecs),
        ("ecs:DescribeTaskDefinition", SourceKind::Ecs),
        ("ecs:ListClusters", SourceKind::Ecs),
        ("lambda:ListFunctions", SourceKind::Lambda),
        ("lambda:GetFunction", SourceKind::Lambda),
        ("batch:DescribeJobDefinitions", SourceKind::Batch),
    ] {
        let account = Account {
            services: 2,
            tasks_of_each: 1,
            revisions: 1,
            jobs: 1,
            at: 1,
            functions: 1,
            versions: 2,
            denied: BTreeSet::from([operation]),
            ..Account::default()
        };
        let listed = list(&account.aws(), kind, &KnownImages::default());
        let failure = listed.failures.first().unwrap_or_else(|| panic!("{operation}"));
        assert_eq!(
            (failure.operation, failure.retry, failure.is_denied()),
            (operation, Retry::Never, true)
        );
    }
    let account = Account {
        services: 2,
        tasks_of_each: 150,
        at: 1,
        fails_after: Some(("ecs:ListTasks", 1)),
        ..Account::default()
    };
    let listed = list(&account.aws(), SourceKind::Ecs, &KnownImages::default());
    assert_eq!(listed.failures.len(), 1);
    assert!(
        listed.seen.iter().any(|seen| seen.workload.phase == Phase::Running),
        "the first page"
    );
}

#[test]
fn another_account_is_read_by_its_role_with_the_external_id() {
    let other = "222222222222";
    let rules = WorkloadRules {
        accounts: vec![WorkloadAccount {
            id: other.parse::<AccountId>().unwrap(),
            role: "ecr-guard-workload-reader".to_owned(),
            repositories: Vec::new(),
            regions: BTreeSet::new(),
        }],
        ..rules()
    };
    let account = Account {
        functions: 1,
        versions: 1,
        ..Account::default()
    };
    let world = account.aws();
    let listed = list_with(
        &world,
        &rules,
        &source(other, SourceKind::Lambda),
        &KnownImages::default(),
        Timestamp::MAX,
    );
    assert_eq!(listed.failures, []);
    let asked = world.only_body("sts:AssumeRole");
    assert_eq!(
        asked["RoleArn"],
        "arn:aws:iam::222222222222:role/ecr-guard-workload-reader"
    );
    assert_eq!(asked["ExternalId"], "external");
    let calls = world.calls();
    let signed = |call: &crate::canned::Call| call.request.headers["authorization"].contains("ASIAOTHER");
    assert!(calls.iter().skip(1).all(signed), "by the other account's credentials");
    let denied = Account {
        denied: BTreeSet::from(["sts:AssumeRole"]),
        ..account
    };
    let listed = list_with(
        &denied.aws(),
        &rules,
        &source(other, SourceKind::Lambda),
        &KnownImages::default(),
        Timestamp::MAX,
    );
    assert!(listed.failures[0].is_denied() && listed.failures[0].operation == "sts:AssumeRole");
}

#[test]
fn clusters_of_kubernetes_are_listed_by_name() {
    let world = Account::default().aws();
    let aws = world.aws();
    let workloads = AwsWorkloads::new(&aws, account(), &rules(), None, Timestamp::MAX);
    assert_eq!(world.run(workloads.clusters(&account())), Ok(vec!["prod".to_owned()]));
}

/// The figures of docs/workloads.md: 2,000 tasks of 200 services, and 300 functions of images with 3 versions each.
#[test]
fn a_first_run_asks_for_all_and_a_second_one_for_what_is_new() {
    let account = Account {
        services: 200,
        tasks_of_each: 10,
        revisions: 10,
        at: 10,
        functions: 300,
        versions: 3,
        ..Account::default()
    };
    let world = account.aws();
    let run = |known: &KnownImages| {
        let mut now = KnownImages::default();
        for kind in [SourceKind::Ecs, SourceKind::Lambda, SourceKind::Batch] {
            let listed = list(&world, kind, known);
            assert_eq!(listed.failures, []);
            now.extend(listed.known);
        }
        (now, world.take_calls().len())
    };
    let began = world.clock().now();
    let (known, first) = run(&KnownImages::default());
    let first_took = world.clock().now().duration_since(began);
    let (again, second) = run(&known);
    let second_took = world.clock().now().duration_since(began) - first_took;
    assert_eq!(known, again);
    assert!(first <= 1100, "{first} calls");
    assert!(second <= 120, "{second} calls");
    assert!(first_took <= SignedDuration::from_secs(60), "{first_took}");
    assert!(second_took <= SignedDuration::from_secs(5), "{second_took}");
    insta::assert_snapshot!(format!("first {first} calls, second {second} calls"));
}

#[test]
fn a_run_that_has_no_time_left_keeps_what_it_has_learnt() {
    let account = Account {
        functions: 100,
        versions: 1,
        ..Account::default()
    };
    let world = account.aws();
    let until = world.clock().now() + SignedDuration::from_secs(2);
    let first = list_with(
        &world,
        &rules(),
        &source(ACCOUNT, SourceKind::Lambda),
        &KnownImages::default(),
        until,
    );
    assert_eq!(first.failures[0].code, "TimeOver");
    assert!(first.seen.len() >= 20 && first.seen.len() < 100, "{}", first.seen.len());
    let second = list(&world, SourceKind::Lambda, &first.known);
    assert_eq!(second.seen.len(), 100);
    let asked = world.count("lambda:GetFunction");
    assert!(
        asked <= 100 + 100 / 12,
        "{asked}: what is known is asked about in its hour only"
    );
}

/// 20,000 tasks are more than the run has time for.
#[test]
fn tasks_that_one_run_has_no_time_for_are_read_on_by_the_next_ones() {
    let account = Account {
        services: 4,
        tasks_of_each: 5_000,
        at: 1,
        ..Account::default()
    };
    let pages = 200;
    let world = account.aws();
    let began = world.clock().now();
    let run = |world: &FakeAws, known: &KnownImages| {
        let until = world.clock().now() + SignedDuration::from_secs(2);
        list_with(world, &rules(), &source(ACCOUNT, SourceKind::Ecs), known, until)
    };
    let (mut known, mut runs) = (KnownImages::default(), 0);
    let complete = loop {
        let listed = run(&world, &known);
        runs += 1;
        if listed.failures.is_empty() {
            break listed;
        }
        assert!(listed.failures.iter().all(|failure| failure.code == "TimeOver"));
        assert!(runs < 6, "it does not come to an end");
        known = listed.known;
    };
    assert!(runs > 1);
    let running = |listed: &ListedWorkloads| {
        let running = listed.seen.iter().filter(|seen| seen.workload.phase == Phase::Running);
        running.map(|seen| seen.workload.name.clone()).collect::<BTreeSet<_>>()
    };
    assert_eq!(running(&complete).len(), 4, "also what an earlier run has read");
    assert_eq!(complete.as_of, Some(began), "it is as old as its first page");
    let asked = world.count("ecs:ListTasks");
    assert!(asked <= pages + runs, "{asked}: no page is read twice");
    // The next run begins anew: tasks have come and gone.
    world.take_calls();
    let next = run(&world, &complete.known);
    assert_eq!(next.failures[0].code, "TimeOver");
    assert!(next.as_of > Some(began));
    // A result that is too old by now is read again, and so is a list whose next page does not exist any more.
    let later = account.aws();
    later.run(later.clock().wait(std::time::Duration::from_secs(3 * 3600)));
    assert!(run(&later, &known).as_of > Some(began));
    let expired = FakeAws::new({
        let account = account.clone();
        move |request| match request.operation.as_str() {
            "ecs:ListTasks" if request.body["nextToken"].as_str().is_some_and(|token| token > "100") => {
                Reply::error("InvalidParameterException")
            }
            _ => account.answer(request, 0),
        }
    });
    let listed = run(&expired, &known);
    assert_eq!(
        expired.count("ecs:ListTasks"),
        4,
        "it begins anew once: {:?}",
        listed.failures
    );
    assert_eq!(listed.failures[0].code, "InvalidParameterException");
}

#[test]
fn lists_of_ecs_end_in_time_as_well() {
    let account = Account {
        services: 3,
        tasks_of_each: 1,
        at: 1,
        jobs: 40,
        ..Account::default()
    };
    let world = account.aws();
    let over = list_with(
        &world,
        &rules(),
        &source(ACCOUNT, SourceKind::Ecs),
        &KnownImages::default(),
        world.clock().now(),
    );
    assert!(
        over.failures.iter().all(|failure| failure.code == "TimeOver"),
        "{:?}",
        over.failures
    );
    assert_eq!((over.failures.is_empty(), world.calls().len()), (false, 0));
}
