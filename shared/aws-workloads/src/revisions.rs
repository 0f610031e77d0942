//! The images of a revision of a service of ECS.

use std::sync::OnceLock;

use aws_types::SdkConfig;
use serde_json::json;

use guard_aws::{
    Aws,
    error::{malformed, refusal},
};
use guard_ports::{PortError, Retry, Revisions};

use crate::{
    client::{Client, Service},
    ecs::Described,
};

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
        let client = self.client.get_or_init(|| Client::new(&self.config, Service::Ecs));
        let asked = json!({"serviceRevisionArns": [revision]});
        let answer: Described = client.json(OPERATION, asked).await?;
        if let Some(failure) = answer.failures.first() {
            let code = failure.reason.as_deref().unwrap_or("Unknown");
            let message = failure.detail.as_deref().unwrap_or_default();
            return Err(refusal(OPERATION, Retry::Later, code, message));
        }
        let Some(revision) = answer.service_revisions.first() else {
            return Err(malformed(OPERATION, "the answer has no revision"));
        };
        let images = revision.container_images.iter();
        let named = images.filter_map(|container| {
            let image = container.image.as_deref()?;
            // A resolved image is the running one, whichever image the tag is on by now.
            let name = |image: &str| {
                let path = image.rfind('/').map_or(0, |slash| slash + 1);
                let end = image
                    .get(path..)
                    .and_then(|last| last.find(':'))
                    .map(|colon| path + colon);
                end.and_then(|end| image.get(..end)).unwrap_or(image).to_owned()
            };
            Some(match &container.image_digest {
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
