//! Job definitions of AWS Batch.

use aws_types::SdkConfig;
use serde::Deserialize;
use serde_json::json;

use guard_core::uses::{Phase, Workload, WorkloadKind, WorkloadSource, aws};
use guard_ports::{ListedWorkloads, Seen};

use crate::{
    client::{Client, Service, list as nullable},
    pages::pages,
    run::Time,
};

/// Source of this and all that follow: Batch API reference, "Data types".
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Page {
    #[serde(deserialize_with = "nullable")]
    job_definitions: Vec<JobDefinition>,
    next_token: Option<String>,
}

/// A job definition, or what one says of some of its nodes: one container, tasks of ECS, or a pod of EKS; or nodes.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct JobDefinition {
    job_definition_name: Option<String>,
    revision: Option<i64>,
    #[serde(alias = "container")]
    container_properties: Option<Container>,
    ecs_properties: Option<Tasks>,
    eks_properties: Option<Pods>,
    node_properties: Option<Nodes>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Nodes {
    #[serde(deserialize_with = "nullable")]
    node_range_properties: Vec<JobDefinition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    image: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Tasks {
    #[serde(deserialize_with = "nullable")]
    task_properties: Vec<Containers>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Pods {
    pod_properties: Option<Containers>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Containers {
    #[serde(deserialize_with = "nullable")]
    containers: Vec<Container>,
    #[serde(deserialize_with = "nullable")]
    init_containers: Vec<Container>,
}

/// All active job definitions: each can be submitted at any time. Jobs that run are tasks of ECS.
pub(crate) async fn list(config: &SdkConfig, time: &Time, source: &WorkloadSource) -> ListedWorkloads {
    const OPERATION: &str = "batch:DescribeJobDefinitions";
    let client = &Client::new(config, Service::Batch);
    let (seen, failure) = pages(time, OPERATION, |next| async move {
        let asked = json!({"status": "ACTIVE", "maxResults": 100, "nextToken": next});
        match client
            .post::<Page>(OPERATION, "/v1/describejobdefinitions", asked)
            .await
        {
            Ok(page) => {
                let definitions = page.job_definitions.iter();
                let seen = definitions.flat_map(|definition| seen(source, definition)).collect();
                (seen, Ok(page.next_token))
            }
            Err(error) => (Vec::new(), Err(error)),
        }
    })
    .await;
    ListedWorkloads {
        seen,
        failures: failure.into_iter().collect(),
        ..ListedWorkloads::default()
    }
}

fn seen(source: &WorkloadSource, definition: &JobDefinition) -> impl Iterator<Item = Seen> {
    let workload = |image| Seen {
        workload: Workload {
            phase: Phase::Desired,
            kind: WorkloadKind::BatchJobDefinition,
            name: definition.job_definition_name.clone().unwrap_or_default(),
            within: None,
            version: definition.revision.map(|revision| revision.to_string()),
            source: source.clone(),
            via: aws::via(&image),
        },
        image,
    };
    images(definition)
        .filter_map(|image| aws::image_of(Some(&image), None))
        .map(workload)
}

/// The images of all containers that a job of the definition has, and those of its nodes.
fn images(definition: &JobDefinition) -> impl Iterator<Item = String> {
    let nodes = definition.node_properties.iter();
    let nodes = nodes.flat_map(|nodes| &nodes.node_range_properties);
    let containers = std::iter::once(definition).chain(nodes).flat_map(containers);
    containers.filter_map(|container| container.image.clone())
}

fn containers(of: &JobDefinition) -> impl Iterator<Item = &Container> {
    let tasks = of.ecs_properties.iter().flat_map(|tasks| &tasks.task_properties);
    let pod = of.eks_properties.iter().filter_map(|pods| pods.pod_properties.as_ref());
    let groups = tasks.chain(pod);
    let in_groups = groups.flat_map(|group| group.containers.iter().chain(&group.init_containers));
    of.container_properties.iter().chain(in_groups)
}
