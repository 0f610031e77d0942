//! Workloads of AWS, by what AWS calls them.

use super::{Phase, Via, Workload, WorkloadKind, WorkloadSource};
use crate::ids::ImageRef;

use super::ImageReference;

/// The revision of a family of task definitions, or of job definitions: `…:task-definition/api:41`, `…:job-definition/train:3`.
pub fn revision_of(arn: &str) -> Option<(&str, u64)> {
    let (_, name) = arn.rsplit_once('/')?;
    let (family, revision) = name.rsplit_once(':')?;
    Some((family, revision.parse().ok()?))
}

/// The name at the end of an ARN such as `…:cluster/prod` or `…:service/prod/api`.
pub fn name_of(arn: &str) -> &str {
    arn.rsplit_once('/').map_or(arn, |(_, name)| name)
}

/// How a reference names its image.
pub fn via(image: &ImageReference) -> Via {
    match &image.image {
        ImageRef::Digest(_) => Via::Digest,
        ImageRef::Tag(tag) => Via::Tag(tag.clone()),
    }
}

/// The image of a container: what it is called, by the digest if that is known.
///
/// Source: ECS API reference, `Container` (`image`, `imageDigest`) and `ContainerImage`.
pub fn image_of(image: Option<&str>, digest: Option<&str>) -> Option<ImageReference> {
    let named: ImageReference = image?.parse().ok()?;
    Some(match digest.and_then(|digest| named.at(digest)) {
        Some(key) => ImageReference {
            image: ImageRef::Digest(key.digest),
            ..named
        },
        None => named,
    })
}

/// The workload of a task of ECS: its service, or its family. All tasks of one revision are one workload, so that a restart
/// changes nothing.
///
/// Source of `group`: ECS API reference, `Task`: "The default value for a task that is started by a service is `service:` and the
/// service's name".
pub fn task(source: &WorkloadSource, cluster: Option<&str>, group: Option<&str>, definition: &str) -> Workload {
    let (family, revision) = match revision_of(definition) {
        Some((family, revision)) => (family, Some(revision.to_string())),
        None => (name_of(definition), None),
    };
    let service = group.and_then(|group| group.strip_prefix("service:"));
    Workload {
        phase: Phase::Running,
        kind: if service.is_some() {
            WorkloadKind::EcsService
        } else {
            WorkloadKind::EcsTask
        },
        name: service.unwrap_or(family).to_owned(),
        within: cluster.map(|cluster| name_of(cluster).to_owned()),
        version: revision,
        source: source.clone(),
        via: Via::Digest,
    }
}
