//! Images of a registry, to read.

use std::{collections::HashMap, sync::Arc, time::Instant};

use aws_sdk_ecr::{
    Client,
    operation::batch_get_repository_scanning_configuration::BatchGetRepositoryScanningConfigurationError,
    types::{ImageStatusFilter, RepositoryScanningConfiguration, ScanFrequency, ScanningConfigurationFailureCode},
};
use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::{
    client::{DESCRIBE_IMAGES, Ecr, MAX_IMAGES},
    image::described,
    triggers::TriggerCache,
};
use crate::error::{found, malformed, present, refusal};
use guard_core::{
    finding::ScanTrigger,
    glob::Glob,
    ids::{AccountId, Digest, ImageKey, ImageRef, Region, RepositoryKey, RepositoryName},
    image::{Image, ImageStatus, leads_to_others},
};
use guard_ports::{Page, PortError, Pulled, Registry, Retry};

/// The registry of one account in one region, to read. See [`Aws::ecr_registry`](crate::Aws::ecr_registry).
#[derive(Debug, Clone)]
pub struct EcrRegistry {
    pub(super) ecr: Ecr,
    triggers: Arc<TriggerCache>,
    /// The names of the repositories that are on its list; none: all.
    pub(super) only: Arc<[Glob]>,
}

impl EcrRegistry {
    pub(crate) fn new(client: Client, account: AccountId, region: Region, triggers: Arc<TriggerCache>) -> Self {
        Self {
            ecr: Ecr {
                client,
                account,
                region,
            },
            triggers,
            only: Arc::new([]),
        }
    }

    /// The same with these repositories only on its list; with none, all are.
    #[must_use]
    pub fn only(self, names: &[Glob]) -> Self {
        Self {
            only: names.into(),
            ..self
        }
    }
}

impl EcrRegistry {
    /// At most [`MAX_IMAGES`] images, in the order of their digests.
    async fn some_images(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
    ) -> Result<Vec<Option<Image>>, PortError> {
        let mut found: HashMap<Digest, Image> = HashMap::new();
        if digests.len() > 1 {
            let details = self.ecr.describe_some(repository, digests).await?;
            let readable = details
                .into_iter()
                .flatten()
                .filter_map(|detail| described(detail).ok());
            found.extend(readable.map(|image| (image.digest.clone(), image)));
        }
        let mut images = Vec::new();
        for some in digests.chunks(ALONE_AT_ONCE) {
            let each = some.iter().map(|digest| async {
                match found.get(digest) {
                    Some(image) => Ok(Some(image.clone())),
                    None => self.image(repository, &ImageRef::Digest(digest.clone())).await,
                }
            });
            images.extend(try_join_all(each).await?);
        }
        Ok(images)
    }
}

/// The most images that are asked for at the same time, one to a call.
const ALONE_AT_ONCE: usize = 50;

impl Registry for EcrRegistry {
    /// `ecr:GetRepositoryPolicy`.
    async fn repository_policy(&self, key: &RepositoryKey) -> Result<Option<String>, PortError> {
        const OPERATION: &str = "ecr:GetRepositoryPolicy";
        let result = self
            .ecr
            .client
            .get_repository_policy()
            .registry_id(self.ecr.account.as_str())
            .repository_name(key.repository.as_str())
            .send()
            .await;
        let output = found(OPERATION, result, |error| {
            error.is_repository_policy_not_found_exception() || error.is_repository_not_found_exception()
        })?;
        let text = output.map(|output| present(OPERATION, output.policy_text, "the policy"));
        text.transpose()
    }

    /// `ecr:BatchGetImage`. A deleted or archived image is not found.
    async fn manifest(&self, image: &ImageKey) -> Result<Option<String>, PortError> {
        match self.ecr.manifest(image).await {
            Ok((manifest, _)) => Ok(Some(manifest)),
            Err(error) if error.code == "ImageNotFound" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// See [`Registry::image`]. Tags that no client could push are left out; all others are there.
    async fn image(&self, repository: &RepositoryName, image: &ImageRef) -> Result<Option<Image>, PortError> {
        match self.ecr.describe(repository, image).await? {
            Some(detail) => described(detail)
                .map(Some)
                .map_err(|why| malformed(DESCRIBE_IMAGES, &format!("the image of the answer: {why}"))),
            None => Ok(None),
        }
    }

    /// `ecr:DescribeImages`, a hundred images to a call and all calls at the same time. An image that such an answer does not have is
    /// asked for alone: one that is not there makes the registry refuse the others with it.
    async fn images_of(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
    ) -> Result<Vec<Option<Image>>, PortError> {
        let some = digests
            .chunks(MAX_IMAGES)
            .map(|some| self.some_images(repository, some));
        Ok(try_join_all(some).await?.concat())
    }

    /// `ecr:DescribeImages` of a whole repository, active images only. The order of ECR's answer is documented nowhere.
    async fn pulled_since(
        &self,
        repository: &RepositoryName,
        since: Timestamp,
        after: Option<&str>,
    ) -> Result<Pulled, PortError> {
        let (details, next) = self
            .ecr
            .page_of_images(repository, ImageStatusFilter::Active, after)
            .await?;
        let pulled = details.into_iter().filter_map(|detail| described(detail).ok());
        Ok(Pulled {
            images: pulled
                .filter(|image| image.last_pulled_at.is_some_and(|at| at >= since))
                .collect(),
            next,
        })
    }

    /// `ecr:DescribeImages` of a whole repository, as for [`Registry::pulled_since`].
    async fn indexes(&self, repository: &RepositoryName, after: Option<&str>) -> Result<Page<Digest>, PortError> {
        let page = self.ecr.page_of_images(repository, ImageStatusFilter::Any, after);
        let (details, next) = page.await?;
        let (mut items, mut unreadable) = (Vec::new(), Vec::new());
        for detail in details {
            match described(detail) {
                Ok(image) if image.status == ImageStatus::Archived => {}
                Ok(image) if leads_to_others(image.manifest_media_type.as_deref()) => items.push(image.digest),
                Ok(_) => {}
                Err(why) => unreadable.push(malformed(
                    DESCRIBE_IMAGES,
                    &format!("an image of `{repository}`: {why}"),
                )),
            }
        }
        Ok(Page {
            items,
            unreadable,
            next,
        })
    }

    /// `ecr:BatchGetRepositoryScanningConfiguration`, remembered for ten minutes: it changes with Terraform, not with images.
    async fn scan_trigger(&self, repository: &RepositoryName) -> Result<Option<ScanTrigger>, PortError> {
        const OPERATION: &str = "ecr:BatchGetRepositoryScanningConfiguration";
        if let Some(trigger) = self.triggers.get(repository, Instant::now()) {
            return Ok(Some(trigger));
        }
        // This operation takes no registry id: it answers for the caller's own registry.
        let result = self
            .ecr
            .client
            .batch_get_repository_scanning_configuration()
            .repository_names(repository.as_str())
            .send()
            .await;
        // `InvalidParameterException`, `ServerException`, `ValidationException` are failures.
        let is_absent = BatchGetRepositoryScanningConfigurationError::is_repository_not_found_exception;
        let Some(output) = found(OPERATION, result, is_absent)? else {
            return Ok(None);
        };
        let found = output
            .scanning_configurations()
            .iter()
            .find(|configuration| configuration.repository_name() == Some(repository.as_str()));
        if let Some(configuration) = found {
            let trigger = trigger(configuration);
            self.triggers.put(repository, trigger, Instant::now());
            return Ok(Some(trigger));
        }
        match output.failures().first() {
            Some(failure) if failure.failure_code() == Some(&ScanningConfigurationFailureCode::RepositoryNotFound) => {
                Ok(None)
            }
            Some(failure) => Err(refusal(
                OPERATION,
                Retry::Never,
                failure
                    .failure_code()
                    .map_or("Unknown", ScanningConfigurationFailureCode::as_str),
                failure.failure_reason().unwrap_or_default(),
            )),
            None => Err(malformed(OPERATION, "the answer does not hold the repository")),
        }
    }
}

/// A frequency that we do not know counts as automatic. To ask for a scan that runs by itself would use up the image's one scan
/// of the day; not to ask for one that does not is found when the grace period ends.
fn trigger(configuration: &RepositoryScanningConfiguration) -> ScanTrigger {
    match configuration.scan_frequency() {
        Some(ScanFrequency::Manual) => ScanTrigger::Manual,
        Some(_) | None => ScanTrigger::Automatic,
    }
}
