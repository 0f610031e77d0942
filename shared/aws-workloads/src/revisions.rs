//! The images of a revision of a service of ECS.

use std::sync::OnceLock;

use aws_sdk_ecs::Client;
use aws_types::SdkConfig;

use guard_aws::{
    Aws,
    error::{malformed, port_error, refusal},
};
use guard_ports::{PortError, Retry, Revisions};

const OPERATION: &str = "ecs:DescribeServiceRevisions";

/// Reads revisions, in the account and region of the function. A client is built with the first one.
#[derive(Debug)]
pub struct EcsRevisions {
    config: SdkConfig,
    client: OnceLock<Client>,
}

impl EcsRevisions {
    /// With the configuration of all clients.
    pub fn new(aws: &Aws) -> Self {
        Self {
            config: aws.sdk_config().clone(),
            client: OnceLock::new(),
        }
    }
}

impl Revisions for EcsRevisions {
    /// Source: ECS API reference, `ContainerImage`: `image` as the task definition has it, `imageDigest` once a task has resolved it.
    async fn images(&self, revision: &str) -> Result<Vec<String>, PortError> {
        let client = self.client.get_or_init(|| Client::new(&self.config));
        let answer = client
            .describe_service_revisions()
            .service_revision_arns(revision)
            .send()
            .await;
        let answer = answer.map_err(|error| port_error(OPERATION, &error))?;
        if let Some(failure) = answer.failures().first() {
            let code = failure.reason().unwrap_or("Unknown");
            let message = failure.detail().unwrap_or_default();
            return Err(refusal(OPERATION, Retry::Later, code, message));
        }
        let Some(revision) = answer.service_revisions().first() else {
            return Err(malformed(OPERATION, "the answer has no revision"));
        };
        let images = revision.container_images().iter();
        let named = images.filter_map(|container| {
            let image = container.image()?;
            // A resolved image is the running one, whichever image the tag is on by now.
            let name = |image: &str| {
                let path = image.rfind('/').map_or(0, |slash| slash + 1);
                let end = image
                    .get(path..)
                    .and_then(|last| last.find(':'))
                    .map(|colon| path + colon);
                end.and_then(|end| image.get(..end)).unwrap_or(image).to_owned()
            };
            Some(match container.image_digest() {
                Some(digest) if !image.contains('@') => format!("{}@{digest}", name(image)),
                _ => image.to_owned(),
            })
        });
        let mut images: Vec<String> = named.collect();
        images.sort();
        images.dedup();
        Ok(images)
    }
}
