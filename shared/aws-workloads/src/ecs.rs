//! Tasks, services and task definitions of ECS.

use std::collections::BTreeMap;

use aws_sdk_ecs::{
    Client,
    operation::{list_services::ListServicesError, list_tasks::ListTasksError},
    types::{Failure, Service, ServiceDeployment, ServiceRevision, Task, TaskDefinitionStatus},
};
use aws_types::SdkConfig;
use futures_util::{StreamExt as _, future::join, stream};

use guard_aws::{
    answer::next_page,
    error::{found, port_error, refusal},
};
use guard_core::uses::{Phase, Via, Workload, WorkloadKind, WorkloadSource, aws};
use guard_ports::{ListedWorkloads, PortError, Retry, Seen};

use crate::{pages::pages, remembered::Remembered, run::Time};

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

/// The result for a cluster.
#[derive(Default)]
struct Cluster {
    tasks: Vec<Task>,
    services: Vec<Service>,
    failures: Vec<PortError>,
}

/// Running tasks; services with the revisions that they are at and may go back to; the newest active task definition of each family.
pub(crate) async fn list(
    config: &SdkConfig,
    time: &Time,
    source: &WorkloadSource,
    mut known: Remembered<'_>,
    task_definitions: bool,
) -> ListedWorkloads {
    let client = Client::new(config);
    let mut listed = ListedWorkloads::default();
    let (clusters, definitions) = join(clusters(time, &client), async {
        if task_definitions {
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
    let reads = clusters.into_iter().map(|cluster| read_cluster(time, &client, cluster));
    let read: Vec<Cluster> = stream::iter(reads).buffer_unordered(AT_ONCE).collect().await;
    let (mut services, mut of_tasks) = (Vec::new(), BTreeMap::new());
    for cluster in read {
        of_tasks.extend(cluster.tasks.iter().filter_map(definition_of));
        listed.failures.extend(cluster.failures);
        listed
            .seen
            .extend(cluster.tasks.iter().flat_map(|task| seen_task(source, task)));
        services.extend(cluster.services);
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
    listed.known = known.keep(listed.failures.is_empty());
    listed
}

/// A task, as long as it is there: what runs in each of its containers.
fn seen_task(source: &WorkloadSource, task: &Task) -> Vec<Seen> {
    let definition = task.task_definition_arn().unwrap_or_default();
    let workload = Workload {
        // A task that waits, such as for an image that cannot be pulled, does not run.
        phase: if task.last_status() == Some("RUNNING") {
            Phase::Running
        } else {
            Phase::Desired
        },
        ..aws::task(source, task.cluster_arn(), task.group(), definition)
    };
    let images = task.containers().iter();
    let images = images.filter_map(|container| aws::image_of(container.image(), container.image_digest()));
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
    let definition = task.task_definition_arn()?;
    if task.last_status() != Some("RUNNING") || task.containers().is_empty() {
        return None;
    }
    let images = task.containers().iter().map(|container| container.image());
    let images: Option<Vec<&str>> = images.map(|image| image.filter(|image| !image.contains('@'))).collect();
    Some((definition.to_owned(), images?.into_iter().map(str::to_owned).collect()))
}

async fn clusters(time: &Time, client: &Client) -> (Vec<String>, Option<PortError>) {
    const OPERATION: &str = "ecs:ListClusters";
    pages(time, OPERATION, |next| async move {
        let page = client
            .list_clusters()
            .max_results(100)
            .set_next_token(next)
            .send()
            .await;
        match page {
            Ok(page) => (page.cluster_arns.unwrap_or_default(), Ok(page.next_token)),
            Err(error) => (Vec::new(), Err(port_error(OPERATION, &error))),
        }
    })
    .await
}

async fn read_cluster(time: &Time, client: &Client, cluster: String) -> Cluster {
    let mut read = Cluster::default();
    let (tasks, services) = join(
        read_tasks(time, client, &cluster),
        read_services(time, client, &cluster),
    )
    .await;
    let (tasks, failure) = tasks;
    read.tasks = tasks;
    read.failures.extend(failure);
    let (services, failure) = services;
    read.services = services;
    read.failures.extend(failure);
    read
}

async fn read_tasks(time: &Time, client: &Client, cluster: &str) -> (Vec<Task>, Option<PortError>) {
    pages(time, LIST_TASKS, |next| async move {
        let page = client
            .list_tasks()
            .cluster(cluster)
            .max_results(100)
            .set_next_token(next)
            .send()
            .await;
        let page = match found(LIST_TASKS, page, ListTasksError::is_cluster_not_found_exception) {
            Ok(Some(page)) => page,
            Ok(None) => return (Vec::new(), Ok(None)),
            Err(error) => return (Vec::new(), Err(error)),
        };
        let mut tasks = Vec::new();
        for arns in page.task_arns.unwrap_or_default().chunks(TASKS) {
            let described = client
                .describe_tasks()
                .cluster(cluster)
                .set_tasks(Some(arns.to_vec()))
                .send()
                .await;
            let described = match described {
                Ok(described) => described,
                Err(error) => return (tasks, Err(port_error(DESCRIBE_TASKS, &error))),
            };
            // A task that is `MISSING` has ended since it was listed.
            let failure = described
                .failures()
                .iter()
                .find_map(|failure| failed(DESCRIBE_TASKS, failure));
            tasks.extend(described.tasks.unwrap_or_default());
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
        let page = client
            .list_services()
            .cluster(cluster)
            .max_results(100)
            .set_next_token(next)
            .send()
            .await;
        let page = match found(LIST_SERVICES, page, ListServicesError::is_cluster_not_found_exception) {
            Ok(Some(page)) => page,
            Ok(None) => return (Vec::new(), Ok(None)),
            Err(error) => return (Vec::new(), Err(error)),
        };
        let mut services = Vec::new();
        for arns in page.service_arns.unwrap_or_default().chunks(SERVICES) {
            let described = client
                .describe_services()
                .cluster(cluster)
                .set_services(Some(arns.to_vec()))
                .send()
                .await;
            let described = match described {
                Ok(described) => described,
                Err(error) => return (services, Err(port_error(DESCRIBE_SERVICES, &error))),
            };
            let failure = described
                .failures()
                .iter()
                .find_map(|failure| failed(DESCRIBE_SERVICES, failure));
            services.extend(described.services.unwrap_or_default());
            if let Some(failure) = failure {
                return (services, Err(failure));
            }
        }
        (services, Ok(page.next_token))
    })
    .await
}

/// A failure inside of an answer; `None`: there is no such thing any more.
fn failed(operation: &'static str, failure: &Failure) -> Option<PortError> {
    let reason = failure.reason().unwrap_or("Unknown");
    let message = format!(
        "{}: {}",
        failure.arn().unwrap_or_default(),
        failure.detail().unwrap_or_default()
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
        let page = client
            .list_task_definitions()
            .status(TaskDefinitionStatus::Active)
            .max_results(100)
            .set_next_token(next.clone())
            .send()
            .await;
        let page = match page {
            Ok(page) => page,
            Err(error) => break Some(port_error(OPERATION, &error)),
        };
        for arn in page.task_definition_arns.unwrap_or_default() {
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
        let Some(arn) = service.service_arn() else { continue };
        let of = OfService {
            name: service.service_name().unwrap_or(aws::name_of(arn)).to_owned(),
            cluster: service.cluster_arn().map(|cluster| aws::name_of(cluster).to_owned()),
        };
        let mut current: Vec<String> = service
            .current_service_revisions()
            .iter()
            .filter_map(|revision| revision.arn().map(str::to_owned))
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
            let of_sets = service.task_sets().iter().filter_map(|set| set.task_definition());
            let of_deployments = service
                .deployments()
                .iter()
                .filter_map(|deployment| deployment.task_definition());
            let definitions = service
                .task_definition()
                .into_iter()
                .chain(of_sets)
                .chain(of_deployments);
            wanted
                .definitions
                .extend(definitions.map(|definition| (definition.to_owned(), Some(of.clone()))));
        }
        if let Some(deployment) = service.current_service_deployment() {
            deployments.insert(deployment.to_owned(), of);
        }
    }
    wanted.of_deployments(time, client, &deployments, known, listed).await;
    wanted
}

/// The revisions that a deployment began with, and goes back to.
fn sources_of(deployment: &ServiceDeployment) -> Vec<String> {
    let sources = deployment
        .source_service_revisions()
        .iter()
        .filter_map(|source| source.arn());
    let rollback = deployment
        .rollback()
        .and_then(|rollback| rollback.service_revision_arn());
    sources.chain(rollback).map(str::to_owned).collect()
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
            let answer = client
                .describe_service_deployments()
                .set_service_deployment_arns(Some(arns.to_vec()))
                .send()
                .await;
            match answer {
                Ok(answer) => {
                    for deployment in answer.service_deployments() {
                        let Some(arn) = deployment.service_deployment_arn() else {
                            continue;
                        };
                        let Some(of) = deployments.get(arn) else { continue };
                        let revisions = sources_of(deployment);
                        if deployment.finished_at().is_some() {
                            known.put(arn, revisions.clone());
                        }
                        self.goes_back(revisions, of);
                    }
                    let failures = answer.failures().iter();
                    listed
                        .failures
                        .extend(failures.filter_map(|failure| failed(DESCRIBE_DEPLOYMENTS, failure)));
                }
                Err(error) => listed.failures.push(port_error(DESCRIBE_DEPLOYMENTS, &error)),
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
            let answer = client
                .describe_service_revisions()
                .set_service_revision_arns(Some(arns.to_vec()))
                .send()
                .await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    listed.failures.push(port_error(OPERATION, &error));
                    continue;
                }
            };
            for revision in answer.service_revisions() {
                let (Some(arn), Some(definition)) = (revision.service_revision_arn(), revision.task_definition())
                else {
                    continue;
                };
                let Some((of, phase)) = self.revisions.get(arn) else {
                    continue;
                };
                let (entry, is_resolved) = entry_of(definition, revision);
                if entry.len() == 1 {
                    // It does not say what its images are.
                    self.definitions.insert(definition.to_owned(), Some(of.clone()));
                    continue;
                }
                listed.seen.extend(seen_revision(source, of, *phase, &entry));
                if is_resolved {
                    known.put(arn, entry);
                }
            }
            let failures = answer.failures().iter();
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
    for container in revision.container_images() {
        let Some(image) = container.image() else { continue };
        let is_of_ecr = aws::image_of(Some(image), None).is_some();
        match container.image_digest() {
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
    let answer = client.describe_task_definition().task_definition(arn).send().await;
    let answer = answer.map_err(|error| port_error(DESCRIBE_DEFINITION, &error))?;
    let containers = answer
        .task_definition()
        .map(|definition| definition.container_definitions());
    let images = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container.image());
    Ok(images.map(str::to_owned).collect())
}
