//! The function `workloads`: what it is invoked with, and what it does.

use crate::{
    error::HandlerError,
    invocation::Invocation,
    report::{self, Kept},
};
use guard_core::{
    ids::RegistryKey,
    policy::Policy,
    text,
    uses::{ClusterReport, SourceKind, Workload, WorkloadSource, aws},
};
use guard_engine::{refused_pull::Refused, workloads::Index};
use guard_events::ecs::{TASK_STATE_CHANGE, TaskEvent};
use guard_ports::{Clock as _, Seen, Services, Workloads};

/// Keeps the index: lists all workloads if the schedule or a person asks with `{}`, and takes events of tasks and reports of clusters into
/// account. Writes the line of the invocation. `workloads`: what lists them; `None` where the policy asks for no index.
///
/// # Errors
/// The payload is none of these, or the ledger failed. A list that fails is not an error: it is in the line, and in the index.
pub async fn keep_index(
    services: &impl Services,
    policy: &Policy,
    workloads: Option<&(impl Workloads + Sync)>,
    invocation: &Invocation,
    payload: &str,
) -> Result<Kept, HandlerError> {
    let result = handle(services, policy, workloads, invocation, payload).await;
    let now = services.clock().now();
    report::write_kept(invocation.function, &invocation.request_id, result.as_ref(), now);
    result
}

async fn handle(
    services: &impl Services,
    policy: &Policy,
    workloads: Option<&(impl Workloads + Sync)>,
    invocation: &Invocation,
    payload: &str,
) -> Result<Kept, HandlerError> {
    // By way of an object: a list would be taken for the members in their order.
    let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(payload);
    let object = object.map_err(|error| HandlerError::Unusable(text::line(&error.to_string(), 300)))?;
    let said = |member: &str| object.get(member).and_then(serde_json::Value::as_str);
    let (Some(rules), Some(workloads)) = (&policy.workloads, workloads) else {
        let why = "the policy has no `block.workloads`";
        return Ok(Kept::Nothing { why });
    };
    let index = Index {
        services,
        rules,
        registry: RegistryKey {
            account: invocation.account.clone(),
            region: invocation.region.clone(),
        },
    };
    let now = services.clock().now();
    match (said("detail-type"), said("schema")) {
        (Some(TASK_STATE_CHANGE), _) => match TaskEvent::parse(payload)? {
            Some(task)
                if !rules
                    .listed(&invocation.account, &invocation.region)
                    .contains(&source(&task)) =>
            {
                // No list would ever end the use.
                Ok(Kept::Nothing {
                    why: "the policy does not list the tasks of that account",
                })
            }
            Some(task) if task.runs() => Ok(Kept::Task(index.add(seen(&task)).await.map_err(failed)?)),
            Some(task) if task.cannot_pull().is_some() => {
                let told = index.refused(policy, &refused(&task), &invocation.request_id).await;
                Ok(Kept::Refused {
                    told: told.map_err(failed)?,
                })
            }
            Some(_) | None => Ok(Kept::Nothing {
                why: "the task does not run",
            }),
        },
        (Some(_), _) => Ok(Kept::Nothing {
            why: "an event of another kind",
        }),
        (None, Some(_)) => {
            let report =
                ClusterReport::parse(payload, now).map_err(|error| HandlerError::Unusable(error.to_string()))?;
            Ok(Kept::Report {
                cluster: report.cluster.clone(),
                indexed: index.report(&report).await.map_err(failed)?,
            })
        }
        (None, None) => {
            let mut indexed = index.run(workloads).await.map_err(failed)?;
            match indexed.failure.take() {
                Some(failure) => Err(failed(failure)),
                None => Ok(Kept::Run(indexed)),
            }
        }
    }
}

fn failed(source: guard_ports::PortError) -> HandlerError {
    HandlerError::Index(Box::new(source))
}

/// The list that a task is in.
fn source(task: &TaskEvent) -> WorkloadSource {
    WorkloadSource {
        account: task.account.clone(),
        region: task.region.clone(),
        kind: SourceKind::Ecs,
    }
}

/// The workload of a task.
fn workload(task: &TaskEvent) -> Workload {
    aws::task(
        &source(task),
        task.cluster.as_deref(),
        task.group.as_deref(),
        &task.definition,
    )
}

/// The images that a task could not pull.
fn refused(task: &TaskEvent) -> Refused {
    let containers = task.not_pulled().into_iter();
    let images =
        containers.filter_map(|container| aws::image_of(container.image.as_deref(), container.digest.as_deref()));
    Refused {
        workload: workload(task),
        images: images.collect(),
        says: task.cannot_pull().unwrap_or_default().to_owned(),
    }
}

/// The images that a task uses.
fn seen(task: &TaskEvent) -> Vec<Seen> {
    let workload = workload(task);
    let containers = task.containers.iter();
    let images =
        containers.filter_map(|container| aws::image_of(container.image.as_deref(), container.digest.as_deref()));
    images
        .map(|image| Seen {
            workload: workload.clone(),
            image,
        })
        .collect()
}

#[cfg(test)]
mod tests;
