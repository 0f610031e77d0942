//! Job definitions of AWS Batch.

use aws_sdk_batch::types::{ContainerProperties, EcsProperties, EksProperties, JobDefinition};
use aws_types::SdkConfig;

use guard_aws::error::port_error;
use guard_core::uses::{Phase, Workload, WorkloadKind, WorkloadSource, aws};
use guard_ports::{ListedWorkloads, Seen};

use crate::{pages::pages, run::Time};

/// All active job definitions: each can be submitted at any time. Jobs that run are tasks of ECS.
pub(crate) async fn list(config: &SdkConfig, time: &Time, source: &WorkloadSource) -> ListedWorkloads {
    const OPERATION: &str = "batch:DescribeJobDefinitions";
    let client = &aws_sdk_batch::Client::new(config);
    let (seen, failure) = pages(time, OPERATION, |next| async move {
        let page = client
            .describe_job_definitions()
            .status("ACTIVE")
            .max_results(100)
            .set_next_token(next)
            .send()
            .await;
        match page {
            Ok(page) => {
                let definitions = page.job_definitions().iter();
                let seen = definitions.flat_map(|definition| seen(source, definition)).collect();
                (seen, Ok(page.next_token))
            }
            Err(error) => (Vec::new(), Err(port_error(OPERATION, &error))),
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
            name: definition.job_definition_name().unwrap_or_default().to_owned(),
            within: None,
            version: definition.revision().map(|revision| revision.to_string()),
            source: source.clone(),
            via: aws::via(&image),
        },
        image,
    };
    images(definition)
        .filter_map(|image| aws::image_of(Some(&image), None))
        .map(workload)
}

/// The images of all containers that a job of the definition has: one container, nodes, tasks of ECS, or a pod of EKS.
fn images(definition: &JobDefinition) -> impl Iterator<Item = String> {
    let mut images: Vec<Option<String>> = Vec::new();
    images.extend(definition.container_properties().map(of_container));
    images.extend(definition.ecs_properties().into_iter().flat_map(of_tasks));
    images.extend(definition.eks_properties().into_iter().flat_map(of_pod));
    for node in definition
        .node_properties()
        .iter()
        .flat_map(|nodes| nodes.node_range_properties())
    {
        images.extend(node.container().map(of_container));
        images.extend(node.ecs_properties().into_iter().flat_map(of_tasks));
        images.extend(node.eks_properties().into_iter().flat_map(of_pod));
    }
    images.into_iter().flatten()
}

fn of_container(container: &ContainerProperties) -> Option<String> {
    container.image().map(str::to_owned)
}

fn of_tasks(properties: &EcsProperties) -> Vec<Option<String>> {
    let tasks = properties.task_properties().iter();
    tasks
        .flat_map(|task| task.containers())
        .map(|container| container.image().map(str::to_owned))
        .collect()
}

fn of_pod(properties: &EksProperties) -> Vec<Option<String>> {
    let pod = properties.pod_properties();
    pod.into_iter()
        .flat_map(|pod| pod.containers().iter().chain(pod.init_containers()))
        .map(|container| container.image().map(str::to_owned))
        .collect()
}
