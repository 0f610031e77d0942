//! Tasks, services and task definitions of ECS.

use std::collections::{BTreeMap, BTreeSet};

use aws_types::SdkConfig;
use futures_util::{StreamExt as _, future::join, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::json;

use guard_aws::{answer::next_page, error::refusal};
use guard_core::uses::{Phase, Via, Workload, WorkloadKind, WorkloadSource, aws};
use guard_ports::{ListedWorkloads, PortError, Retry, Seen};

use crate::{
    client::{Client, Service as Aws, list as nullable},
    pages::{pages, pages_from},
    remembered::Remembered,
    run::{Run, Time},
};

const LIST_TASKS: &str = "ecs:ListTasks";
const DESCRIBE_TASKS: &str = "ecs:DescribeTasks";
const LIST_SERVICES: &str = "ecs:ListServices";
const DESCRIBE_SERVICES: &str = "ecs:DescribeServices";
const DESCRIBE_DEPLOYMENTS: &str = "ecs:DescribeServiceDeployments";
const DESCRIBE_DEFINITION: &str = "ecs:DescribeTaskDefinition";

/// The most that one call takes. Source: ECS API reference, `DescribeTasks`, `DescribeServices`, `DescribeServiceRevisions`,
/// `DescribeServiceDeployments`.
const TASKS: usize = 100;
const SERVICES: usize = 10;
const REVISIONS: usize = 20;

/// The clusters, or definitions, that are read at the same time.
const AT_ONCE: usize = 4;

/// A task, as far as it is read here. Source of this and all that follow: ECS API reference, "Data types".
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Task {
    cluster_arn: Option<String>,
    group: Option<String>,
    last_status: Option<String>,
    task_definition_arn: Option<String>,
    #[serde(deserialize_with = "nullable")]
    containers: Vec<Container>,
}

/// A container of a task, of a revision or of a task definition.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Container {
    pub(crate) image: Option<String>,
    pub(crate) image_digest: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Service {
    service_arn: Option<String>,
    service_name: Option<String>,
    cluster_arn: Option<String>,
    task_definition: Option<String>,
    #[serde(deserialize_with = "nullable")]
    task_sets: Vec<AtDefinition>,
    #[serde(deserialize_with = "nullable")]
    deployments: Vec<AtDefinition>,
    #[serde(deserialize_with = "nullable")]
    current_service_revisions: Vec<Named>,
    current_service_deployment: Option<String>,
}

/// An item with a task definition.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AtDefinition {
    task_definition: Option<String>,
}

/// An item with an ARN.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    arn: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ServiceDeployment {
    service_deployment_arn: Option<String>,
    /// A time: that there is one says that the deployment has ended.
    finished_at: Option<IgnoredAny>,
    #[serde(deserialize_with = "nullable")]
    source_service_revisions: Vec<Named>,
    rollback: Option<Rollback>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rollback {
    service_revision_arn: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ServiceRevision {
    service_revision_arn: Option<String>,
    task_definition: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) container_images: Vec<Container>,
}

/// The part of an answer about one subject of the request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Failure {
    arn: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) detail: Option<String>,
}

/// An answer of one of the operations that are called: each has some of these members.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Listed {
    #[serde(deserialize_with = "nullable")]
    cluster_arns: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    task_arns: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    service_arns: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    task_definition_arns: Vec<String>,
    next_token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Described {
    #[serde(deserialize_with = "nullable")]
    tasks: Vec<Task>,
    #[serde(deserialize_with = "nullable")]
    services: Vec<Service>,
    #[serde(deserialize_with = "nullable")]
    service_deployments: Vec<ServiceDeployment>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) service_revisions: Vec<ServiceRevision>,
    task_definition: Option<TaskDefinition>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) failures: Vec<Failure>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TaskDefinition {
    #[serde(deserialize_with = "nullable")]
    container_definitions: Vec<Container>,
}

/// The result for a cluster.
struct Cluster {
    arn: String,
    tasks: Tasks,
    services: Vec<Service>,
    failures: Vec<PortError>,
}

/// The tasks of a cluster, as far as they were read. The tasks of an account may be more than one run has time for: the next run goes on.
#[derive(Debug)]
struct Tasks {
    /// When the first of them was read.
    since: Timestamp,
    /// The page to go on from; `None`: from the first one.
    after: Option<String>,
    /// All were read.
    ended: bool,
    /// One of each kind: those of a service do not differ.
    tasks: BTreeSet<Task>,
}

impl Tasks {
    fn none(now: Timestamp) -> Self {
        Self {
            since: now,
            after: None,
            ended: false,
            tasks: BTreeSet::new(),
        }
    }

    /// The name under which the tasks of a cluster are remembered.
    fn name(cluster: &str) -> String {
        format!("tasks {cluster}")
    }

    /// As it is remembered.
    fn entry(&self) -> Vec<String> {
        let after = self.after.clone().unwrap_or_default();
        let mut entry = vec![self.since.to_string(), after, self.ended.to_string()];
        entry.extend(self.tasks.iter().filter_map(|task| serde_json::to_string(task).ok()));
        entry
    }

    /// The result of an earlier run, if that is not too old. A result that cannot be read is read anew.
    fn of(entry: &[String], run: &Run) -> Option<Self> {
        let [since, after, ended, tasks @ ..] = entry else {
            return None;
        };
        let tasks: Result<BTreeSet<Task>, _> = tasks.iter().map(|task| serde_json::from_str(task)).collect();
        let tasks = Self {
            since: since.parse().ok()?,
            after: Some(after.clone()).filter(|after| !after.is_empty()),
            ended: ended == "true",
            tasks: tasks.ok()?,
        };
        (run.began.duration_since(tasks.since) <= run.max_age).then_some(tasks)
    }
}

/// Running tasks; services with the revisions that they are at and may go back to; the newest active task definition of each family.
pub(crate) async fn list(
    run: &Run,
    config: &SdkConfig,
    source: &WorkloadSource,
    mut known: Remembered<'_>,
) -> ListedWorkloads {
    let time = &run.time;
    let client = Client::new(config, Aws::Ecs);
    let mut listed = ListedWorkloads::default();
    let (clusters, definitions) = join(clusters(time, &client), async {
        if run.task_definitions {
            newest_definitions(time, &client).await
        } else {
            (Vec::new(), None)
        }
    })
    .await;
    let (clusters, failure) = clusters;
    listed.failures.extend(failure);
    let (newest, failure) = definitions;
    listed.failures.extend(failure);
    let reads = clusters.into_iter().map(|cluster| {
        let before = known.look(&Tasks::name(&cluster));
        let before = before.and_then(|entry| Tasks::of(entry, run));
        read_cluster(run, &client, cluster, before)
    });
    // They read the known facts, which change later.
    let reads: Vec<_> = reads.collect();
    let read: Vec<Cluster> = stream::iter(reads).buffer_unordered(AT_ONCE).collect().await;
    let (mut services, mut of_tasks) = (Vec::new(), BTreeMap::new());
    let mut tasks = Vec::new();
    for cluster in read {
        of_tasks.extend(cluster.tasks.tasks.iter().filter_map(definition_of));
        listed.failures.extend(cluster.failures);
        listed
            .seen
            .extend(cluster.tasks.tasks.iter().flat_map(|task| seen_task(source, task)));
        listed.as_of = listed.as_of.into_iter().chain([cluster.tasks.since]).min();
        services.extend(cluster.services);
        tasks.push((Tasks::name(&cluster.arn), cluster.tasks));
    }
    let mut wanted = of_services(time, &client, &services, &mut known, &mut listed).await;
    wanted.resolve(time, &client, source, &mut known, &mut listed).await;
    // Also the definition that a service uses: a task of it without the service gets the image that its tag is on by now.
    let of_services = std::mem::take(&mut wanted.definitions);
    wanted
        .definitions
        .extend(newest.into_iter().map(|definition| (definition, None)));
    // One that a service is at is named by the service.
    wanted.definitions.extend(of_services);
    for (definition, images) in of_tasks {
        if wanted.definitions.contains_key(&definition) && known.take(&definition).is_none() {
            known.put(&definition, images);
        }
    }
    wanted
        .resolve_definitions(time, &client, source, &mut known, &mut listed)
        .await;
    let is_complete = listed.failures.is_empty();
    // As long as not all tasks are read, the next run goes on. Otherwise it begins anew, whatever else is missing.
    let goes_on = tasks.iter().any(|(_, tasks)| !tasks.ended);
    if !is_complete {
        let entry = |tasks: &Tasks| if goes_on { tasks.entry() } else { Vec::new() };
        tasks.iter().for_each(|(name, tasks)| known.put(name, entry(tasks)));
    }
    listed.known = known.keep(is_complete);
    listed
}

/// A task, as long as it is there: what runs in each of its containers.
fn seen_task(source: &WorkloadSource, task: &Task) -> Vec<Seen> {
    let definition = task.task_definition_arn.as_deref().unwrap_or_default();
    let workload = Workload {
        // A task that waits, such as for an image that cannot be pulled, does not run.
        phase: if task.last_status.as_deref() == Some("RUNNING") {
            Phase::Running
        } else {
            Phase::Desired
        },
        ..aws::task(source, task.cluster_arn.as_deref(), task.group.as_deref(), definition)
    };
    let images = task.containers.iter();
    let images =
        images.filter_map(|container| aws::image_of(container.image.as_deref(), container.image_digest.as_deref()));
    images
        .map(|image| Seen {
            workload: Workload {
                via: aws::via(&image),
                ..workload.clone()
            },
            image,
        })
        .collect()
}

/// The task definition of a running task, and the images of all of its containers, which need not be asked for then. `None`:
/// the task does not give them. Its digest may be that of the tag of the definition when the task began: whether ECS shows it
/// is not documented.
fn definition_of(task: &Task) -> Option<(String, Vec<String>)> {
    let definition = task.task_definition_arn.as_deref()?;
    if task.last_status.as_deref() != Some("RUNNING") || task.containers.is_empty() {
        return None;
    }
    let images = task.containers.iter().map(|container| container.image.as_deref());
    let images: Option<Vec<&str>> = images.map(|image| image.filter(|image| !image.contains('@'))).collect();
    Some((definition.to_owned(), images?.into_iter().map(str::to_owned).collect()))
}

async fn clusters(time: &Time, client: &Client) -> (Vec<String>, Option<PortError>) {
    const OPERATION: &str = "ecs:ListClusters";
    pages(time, OPERATION, |next| async move {
        let asked = json!({"maxResults": 100, "nextToken": next});
        match client.json::<Listed>(OPERATION, asked).await {
            Ok(page) => (page.cluster_arns, Ok(page.next_token)),
            Err(error) => (Vec::new(), Err(error)),
        }
    })
    .await
}

async fn read_cluster(run: &Run, client: &Client, cluster: String, before: Option<Tasks>) -> Cluster {
    let tasks = async {
        let before = before.unwrap_or_else(|| Tasks::none(run.began));
        let goes_on = before.after.is_some();
        match go_on(&run.time, client, &cluster, before).await {
            // How long a token of a page is good for is not documented.
            (_, Some(failure)) if goes_on && failure.retry == Retry::Never && !failure.is_denied() => {
                go_on(&run.time, client, &cluster, Tasks::none(run.began)).await
            }
            read => read,
        }
    };
    let (tasks, services) = join(tasks, read_services(&run.time, client, &cluster)).await;
    let ((tasks, of_tasks), (services, of_services)) = (tasks, services);
    Cluster {
        arn: cluster,
        tasks,
        services,
        failures: of_tasks.into_iter().chain(of_services).collect(),
    }
}

/// Reads on the tasks of a cluster.
async fn go_on(time: &Time, client: &Client, cluster: &str, mut tasks: Tasks) -> (Tasks, Option<PortError>) {
    if tasks.ended {
        return (tasks, None);
    }
    let (read, failure, after) = read_tasks(time, client, cluster, tasks.after.take()).await;
    tasks.tasks.extend(read);
    (tasks.ended, tasks.after) = (failure.is_none(), after);
    (tasks, failure)
}

async fn read_tasks(
    time: &Time,
    client: &Client,
    cluster: &str,
    after: Option<String>,
) -> (Vec<Task>, Option<PortError>, Option<String>) {
    pages_from(time, LIST_TASKS, after, |next| async move {
        let asked = json!({"cluster": cluster, "maxResults": 100, "nextToken": next});
        let page = match client.json::<Listed>(LIST_TASKS, asked).await {
            Ok(page) => page,
            Err(error) if is_gone(&error) => return (Vec::new(), Ok(None)),
            Err(error) => return (Vec::new(), Err(error)),
        };
        let mut tasks = Vec::new();
        for arns in page.task_arns.chunks(TASKS) {
            let asked = json!({"cluster": cluster, "tasks": arns});
            let described: Described = match client.json(DESCRIBE_TASKS, asked).await {
                Ok(described) => described,
                Err(error) => return (tasks, Err(error)),
            };
            // A task that is `MISSING` has ended since it was listed.
            let failures = described.failures.iter();
            let failure = failures.filter_map(|failure| failed(DESCRIBE_TASKS, failure)).next();
            tasks.extend(described.tasks);
            if let Some(failure) = failure {
                return (tasks, Err(failure));
            }
        }
        (tasks, Ok(page.next_token))
    })
    .await
}

async fn read_services(time: &Time, client: &Client, cluster: &str) -> (Vec<Service>, Option<PortError>) {
    pages(time, LIST_SERVICES, |next| async move {
        let asked = json!({"cluster": cluster, "maxResults": 100, "nextToken": next});
        let page = match client.json::<Listed>(LIST_SERVICES, asked).await {
            Ok(page) => page,
            Err(error) if is_gone(&error) => return (Vec::new(), Ok(None)),
            Err(error) => return (Vec::new(), Err(error)),
        };
        let mut services = Vec::new();
        for arns in page.service_arns.chunks(SERVICES) {
            let asked = json!({"cluster": cluster, "services": arns});
            let described: Described = match client.json(DESCRIBE_SERVICES, asked).await {
                Ok(described) => described,
                Err(error) => return (services, Err(error)),
            };
            let failures = described.failures.iter();
            let failure = failures.filter_map(|failure| failed(DESCRIBE_SERVICES, failure)).next();
            services.extend(described.services);
            if let Some(failure) = failure {
                return (services, Err(failure));
            }
        }
        (services, Ok(page.next_token))
    })
    .await
}

/// Whether the cluster was deleted since it was listed.
fn is_gone(error: &PortError) -> bool {
    error.code == "ClusterNotFoundException"
}

/// A failure inside of an answer; `None`: there is no such thing any more.
fn failed(operation: &'static str, failure: &Failure) -> Option<PortError> {
    let reason = failure.reason.as_deref().unwrap_or("Unknown");
    let message = format!(
        "{}: {}",
        failure.arn.as_deref().unwrap_or_default(),
        failure.detail.as_deref().unwrap_or_default()
    );
    (reason != "MISSING").then(|| refusal(operation, Retry::Later, reason, &message))
}

/// The newest active definition of each family: `ecs:ListTaskDefinitions`, a hundred to a call, all revisions.
async fn newest_definitions(time: &Time, client: &Client) -> (Vec<String>, Option<PortError>) {
    const OPERATION: &str = "ecs:ListTaskDefinitions";
    let mut newest: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let mut next = None;
    let failure = loop {
        if let Err(over) = time.left(OPERATION) {
            break Some(over);
        }
        let asked = json!({"status": "ACTIVE", "maxResults": 100, "nextToken": next});
        let page: Listed = match client.json(OPERATION, asked).await {
            Ok(page) => page,
            Err(error) => break Some(error),
        };
        for arn in page.task_definition_arns {
            let Some((family, revision)) = aws::revision_of(&arn) else {
                continue;
            };
            let known = newest
                .entry(family.to_owned())
                .or_insert_with(|| (revision, arn.clone()));
            if known.0 < revision {
                *known = (revision, arn);
            }
        }
        match next_page(OPERATION, next.as_deref(), page.next_token) {
            Ok(Some(token)) => next = Some(token),
            Ok(None) => break None,
            Err(failure) => break Some(failure),
        }
    };
    (newest.into_values().map(|(_, arn)| arn).collect(), failure)
}

/// The revisions and definitions that must be read.
#[derive(Default)]
struct Wanted {
    /// By the ARN of a service's revision: the service that it is of, and why it counts.
    revisions: BTreeMap<String, (OfService, Phase)>,
    /// By the ARN of a task definition: the service that uses it; `None`: it counts by itself.
    definitions: BTreeMap<String, Option<OfService>>,
}

/// A service, by its names.
#[derive(Debug, Clone)]
struct OfService {
    name: String,
    cluster: Option<String>,
}

impl OfService {
    fn workload(&self, source: &WorkloadSource, definition: &str, phase: Phase) -> Workload {
        let revision = aws::revision_of(definition).map(|(_, revision)| revision.to_string());
        Workload {
            phase,
            kind: WorkloadKind::EcsService,
            name: self.name.clone(),
            within: self.cluster.clone(),
            version: revision,
            source: source.clone(),
            via: Via::Digest,
        }
    }
}

/// The revisions that services are at, and those that they may go back to: by a deployment that is under way, or because they were at them
/// before the last one.
async fn of_services(
    time: &Time,
    client: &Client,
    services: &[Service],
    known: &mut Remembered<'_>,
    listed: &mut ListedWorkloads,
) -> Wanted {
    let mut wanted = Wanted::default();
    let mut deployments: BTreeMap<String, OfService> = BTreeMap::new();
    for service in services {
        let Some(arn) = service.service_arn.as_deref() else {
            continue;
        };
        let of = OfService {
            name: service.service_name.as_deref().unwrap_or(aws::name_of(arn)).to_owned(),
            cluster: service
                .cluster_arn
                .as_deref()
                .map(|cluster| aws::name_of(cluster).to_owned()),
        };
        let mut current: Vec<String> = service
            .current_service_revisions
            .iter()
            .filter_map(|revision| revision.arn.clone())
            .collect();
        current.sort();
        let before = known.take(arn).unwrap_or_default();
        let (was, previous) = before.split_at(before.len().min(1));
        let previous = match current.as_slice() {
            // The service has arrived at another revision: the one of before is what people go back to.
            [now] if was.first().is_some_and(|was| was != now) => was.to_vec(),
            _ => previous.to_vec(),
        };
        for revision in &previous {
            wanted.revisions.insert(revision.clone(), (of.clone(), Phase::Rollback));
        }
        for revision in &current {
            wanted.revisions.insert(revision.clone(), (of.clone(), Phase::Desired));
        }
        if let [now] = current.as_slice() {
            known.put(arn, std::iter::once(now.clone()).chain(previous).collect());
        }
        if current.is_empty() {
            // A service that was not deployed since October 2024, or has another controller, has no revisions.
            let others = service.task_sets.iter().chain(&service.deployments);
            let others = others.filter_map(|other| other.task_definition.as_ref());
            let definitions = service.task_definition.iter().chain(others);
            wanted
                .definitions
                .extend(definitions.map(|definition| (definition.clone(), Some(of.clone()))));
        }
        if let Some(deployment) = &service.current_service_deployment {
            deployments.insert(deployment.clone(), of);
        }
    }
    wanted.of_deployments(time, client, &deployments, known, listed).await;
    wanted
}

/// The revisions that a deployment began with, and goes back to.
fn sources_of(deployment: &ServiceDeployment) -> Vec<String> {
    let sources = deployment.source_service_revisions.iter();
    let sources = sources.filter_map(|source| source.arn.clone());
    let rollback = deployment.rollback.as_ref();
    let rollback = rollback.and_then(|rollback| rollback.service_revision_arn.clone());
    sources.chain(rollback).collect()
}

impl Wanted {
    /// `ecs:DescribeServiceDeployments`: the revisions that deployments go back to. One that has ended never changes.
    async fn of_deployments(
        &mut self,
        time: &Time,
        client: &Client,
        deployments: &BTreeMap<String, OfService>,
        known: &mut Remembered<'_>,
        listed: &mut ListedWorkloads,
    ) {
        let mut asked = Vec::new();
        for (arn, of) in deployments {
            match known.take(arn) {
                Some(revisions) => self.goes_back(revisions, of),
                None => asked.push(arn.clone()),
            }
        }
        for arns in asked.chunks(REVISIONS) {
            if let Err(over) = time.left(DESCRIBE_DEPLOYMENTS) {
                listed.failures.push(over);
                break;
            }
            let asked = json!({"serviceDeploymentArns": arns});
            match client.json::<Described>(DESCRIBE_DEPLOYMENTS, asked).await {
                Ok(answer) => {
                    for deployment in &answer.service_deployments {
                        let Some(arn) = &deployment.service_deployment_arn else {
                            continue;
                        };
                        let Some(of) = deployments.get(arn) else { continue };
                        let revisions = sources_of(deployment);
                        if deployment.finished_at.is_some() {
                            known.put(arn, revisions.clone());
                        }
                        self.goes_back(revisions, of);
                    }
                    let failures = answer.failures.iter();
                    listed
                        .failures
                        .extend(failures.filter_map(|failure| failed(DESCRIBE_DEPLOYMENTS, failure)));
                }
                Err(error) => listed.failures.push(error),
            }
        }
    }

    fn goes_back(&mut self, revisions: Vec<String>, of: &OfService) {
        for revision in revisions {
            self.revisions
                .entry(revision)
                .or_insert_with(|| (of.clone(), Phase::Rollback));
        }
    }

    /// `ecs:DescribeServiceRevisions`: the images of revisions, by their digests. A revision never changes.
    async fn resolve(
        &mut self,
        time: &Time,
        client: &Client,
        source: &WorkloadSource,
        known: &mut Remembered<'_>,
        listed: &mut ListedWorkloads,
    ) {
        const OPERATION: &str = "ecs:DescribeServiceRevisions";
        let mut asked = Vec::new();
        for (arn, (of, phase)) in &self.revisions {
            match known.take(arn) {
                Some(entry) => {
                    listed.seen.extend(seen_revision(source, of, *phase, &entry));
                }
                None => asked.push(arn.clone()),
            }
        }
        for arns in asked.chunks(REVISIONS) {
            if let Err(over) = time.left(OPERATION) {
                listed.failures.push(over);
                break;
            }
            let asked = json!({"serviceRevisionArns": arns});
            let answer: Described = match client.json(OPERATION, asked).await {
                Ok(answer) => answer,
                Err(error) => {
                    listed.failures.push(error);
                    continue;
                }
            };
            for revision in &answer.service_revisions {
                let (Some(arn), Some(definition)) = (&revision.service_revision_arn, &revision.task_definition) else {
                    continue;
                };
                let Some((of, phase)) = self.revisions.get(arn) else {
                    continue;
                };
                let (entry, is_resolved) = entry_of(definition, revision);
                if entry.len() == 1 {
                    // It does not say what its images are.
                    self.definitions.insert(definition.clone(), Some(of.clone()));
                    continue;
                }
                listed.seen.extend(seen_revision(source, of, *phase, &entry));
                if is_resolved {
                    known.put(arn, entry);
                }
            }
            let failures = answer.failures.iter();
            listed
                .failures
                .extend(failures.filter_map(|failure| failed(OPERATION, failure)));
        }
    }

    /// `ecs:DescribeTaskDefinition`: the images of definitions, as they are named there. A definition never changes; a tag may
    /// be on another image by now.
    async fn resolve_definitions(
        &self,
        time: &Time,
        client: &Client,
        source: &WorkloadSource,
        known: &mut Remembered<'_>,
        listed: &mut ListedWorkloads,
    ) {
        let mut asked = Vec::new();
        for (arn, of) in &self.definitions {
            match known.take(arn) {
                Some(images) => listed.seen.extend(seen_definition(source, arn, of.as_ref(), &images)),
                None => asked.push((arn.clone(), of.clone())),
            }
        }
        let reads = asked
            .into_iter()
            .map(|(arn, of)| read_definition(time, client, arn, of));
        let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
        while let Some((arn, of, read)) = reads.next().await {
            match read {
                Ok(images) => {
                    listed.seen.extend(seen_definition(source, &arn, of.as_ref(), &images));
                    known.put(&arn, images);
                }
                Err(failure) => listed.failures.push(failure),
            }
        }
    }
}

/// The known facts of a revision: its task definition, and its images. The result says whether all of these have digests.
fn entry_of(definition: &str, revision: &ServiceRevision) -> (Vec<String>, bool) {
    let mut entry = vec![definition.to_owned()];
    let mut is_resolved = true;
    for container in &revision.container_images {
        let Some(image) = container.image.as_deref() else {
            continue;
        };
        let is_of_ecr = aws::image_of(Some(image), None).is_some();
        match container.image_digest.as_deref() {
            Some(digest) if !image.contains('@') => entry.push(format!("{image}@{digest}")),
            Some(_) => entry.push(image.to_owned()),
            None => {
                is_resolved &= !is_of_ecr || image.contains('@');
                entry.push(image.to_owned());
            }
        }
    }
    (entry, is_resolved)
}

fn seen_revision(source: &WorkloadSource, of: &OfService, phase: Phase, entry: &[String]) -> Vec<Seen> {
    let Some((definition, images)) = entry.split_first() else {
        return Vec::new();
    };
    seen_images(&of.workload(source, definition, phase), images)
}

fn seen_definition(source: &WorkloadSource, arn: &str, of: Option<&OfService>, images: &[String]) -> Vec<Seen> {
    let workload = match of {
        Some(of) => of.workload(source, arn, Phase::Desired),
        None => Workload {
            kind: WorkloadKind::EcsTaskDefinition,
            phase: Phase::Desired,
            within: None,
            ..aws::task(source, None, None, arn)
        },
    };
    seen_images(&workload, images)
}

fn seen_images(workload: &Workload, images: &[String]) -> Vec<Seen> {
    let images = images.iter().filter_map(|image| aws::image_of(Some(image), None));
    images
        .map(|image| Seen {
            workload: Workload {
                via: aws::via(&image),
                ..workload.clone()
            },
            image,
        })
        .collect()
}

async fn read_definition(
    time: &Time,
    client: &Client,
    arn: String,
    of: Option<OfService>,
) -> (String, Option<OfService>, Result<Vec<String>, PortError>) {
    let images = match time.left(DESCRIBE_DEFINITION) {
        Ok(()) => definition(client, &arn).await,
        Err(over) => Err(over),
    };
    (arn, of, images)
}

/// The images of a task definition's containers.
async fn definition(client: &Client, arn: &str) -> Result<Vec<String>, PortError> {
    let asked = json!({"taskDefinition": arn});
    let answer: Described = client.json(DESCRIBE_DEFINITION, asked).await?;
    let containers = answer.task_definition.unwrap_or_default().container_definitions;
    Ok(containers.into_iter().filter_map(|container| container.image).collect())
}
