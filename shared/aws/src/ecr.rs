//! ECR: the registry, its scanner, and what we change in it.
//!
//! Rules are those of the API reference of ECR (version 2015-09-21) where nothing else is said.

mod findings;
mod listing;
pub mod replication;
mod repositories;

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_sdk_ecr::{
    Client, Config,
    config::{Builder, retry::RetryConfig},
    error::ProvideErrorMetadata,
    operation::{
        batch_delete_image::BatchDeleteImageOutput, batch_get_image::BatchGetImageError,
        batch_get_repository_scanning_configuration::BatchGetRepositoryScanningConfigurationError,
        describe_image_scan_findings::DescribeImageScanFindingsError, describe_images::DescribeImagesError,
        get_repository_policy::GetRepositoryPolicyError, put_image::PutImageError,
        start_image_scan::StartImageScanError, start_replication_backfill::StartReplicationBackfillError,
    },
    types::{
        DescribeImagesFilter, ImageDetail, ImageFailure, ImageFailureCode, ImageIdentifier,
        ImageStatus as EcrImageStatus, ImageStatusFilter, RepositoryScanningConfiguration, ScanFrequency,
        ScanningConfigurationFailureCode, TargetStorageClass,
    },
};
use aws_smithy_async::rt::sleep::SharedAsyncSleep;
use aws_smithy_runtime_api::client::{
    interceptors::context::{self, InterceptorContext},
    retries::classifiers::{ClassifyRetry, RetryAction},
};
use jiff::Timestamp;

use self::findings::Pages;
use super::{
    error::{malformed, plain, port_error, refusal},
    timestamp,
};
use guard_core::{
    finding::{Scan, ScanStart, ScanTrigger},
    ids::{AccountId, Digest, ImageKey, ImageRef, InvalidId, Region, RepositoryName, Tag},
    image::{Image, ImageStatus, leads_to_others},
    policy::Glob,
    repository::ledger::RepositoryKey,
};
use guard_ports::{Manifest, Page, PortError, Pulled, Registry, RegistryWriter, Retry, Scanner, TagAnswer};

const DESCRIBE_IMAGES: &str = "ecr:DescribeImages";

/// The most findings, or images, that ECR gives in one answer.
const PAGE_SIZE: i32 = 1000;

/// The most pages that are read. An image with more findings than fit is a failure: a part of the findings is no verdict.
const MAX_PAGES: usize = 200;

/// Every media type that a manifest has had, so that the manifest that comes back is the one that the digest names.
const MANIFEST_MEDIA_TYPES: [&str; 5] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
];

/// The client of ECR, for all adapters of this module.
pub(super) fn client(config: Builder) -> Client {
    Client::from_conf(config.retry_classifier(QuotasAreNoRates).build())
}

/// Keeps the SDK from trying again where ECR says `LimitExceededException`.
///
/// The SDK takes that code for throttling, as it is in some services. In ECR it is a quota: one scan per image and day, tags per
/// image, backfills. Two more attempts would cost seconds of waiting and change nothing.
#[derive(Debug)]
struct QuotasAreNoRates;

impl ClassifyRetry for QuotasAreNoRates {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let is_quota = context
            .output_or_error()
            .and_then(|result| result.err())
            .and_then(|error| error.as_operation_error())
            .is_some_and(|error| {
                let code = code::<StartImageScanError>(error)
                    .or_else(|| code::<PutImageError>(error))
                    .or_else(|| code::<BatchGetImageError>(error))
                    .or_else(|| code::<StartReplicationBackfillError>(error));
                code == Some("LimitExceededException")
            });
        if is_quota {
            RetryAction::RetryForbidden
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "quotas are no rates"
    }
}

/// The code of an operation's error, if it is of the operation whose errors are `E`.
fn code<E>(error: &context::Error) -> Option<&str>
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    error.downcast_ref::<E>()?.code()
}

/// One registry in one region.
#[derive(Debug, Clone)]
struct Ecr {
    client: Client,
    account: AccountId,
    region: Region,
}

impl Ecr {
    /// Refuses an image that is not in this registry: the call would go to another image of the same name.
    fn owns(&self, image: &ImageKey, operation: &'static str) -> Result<(), PortError> {
        self.is_of("image", &image.account, &image.region, operation)
    }

    /// Refuses what is of another account or region.
    fn is_of(
        &self,
        what: &str,
        account: &AccountId,
        region: &Region,
        operation: &'static str,
    ) -> Result<(), PortError> {
        if *account == self.account && *region == self.region {
            return Ok(());
        }
        let message = format!(
            "the {what} is in `{account}`, `{region}`; this is the registry of `{}`, `{}`",
            self.account, self.region
        );
        Err(refusal(operation, Retry::Never, "OtherRegistry", &message))
    }

    /// `ecr:DescribeImages` of one image, archived ones included. `None`: there is no such image or repository.
    async fn describe(&self, repository: &RepositoryName, image: &ImageRef) -> Result<Option<ImageDetail>, PortError> {
        let result = self
            .client
            .describe_images()
            .registry_id(self.account.as_str())
            .repository_name(repository.as_str())
            .image_ids(identifier(image))
            // Without a filter an archived image is not there.
            .filter(
                DescribeImagesFilter::builder()
                    .image_status(ImageStatusFilter::Any)
                    .build(),
            )
            .send()
            .await;
        match result {
            Ok(output) => output
                .image_details
                .unwrap_or_default()
                .into_iter()
                .find(|detail| match image {
                    ImageRef::Digest(digest) => detail.image_digest() == Some(digest.as_str()),
                    ImageRef::Tag(_) => true,
                })
                .map(Some)
                // An unknown image is an error of its own. Not to find it in a success is not to know.
                .ok_or_else(|| malformed(DESCRIBE_IMAGES, "the answer does not hold the image")),
            Err(error) => match error.as_service_error() {
                Some(
                    DescribeImagesError::ImageNotFoundException(_)
                    | DescribeImagesError::RepositoryNotFoundException(_),
                ) => Ok(None),
                // An event is a hint, and may name anything. What the registry does not take for a digest names no image in it.
                // With a real digest the same refusal means something else, and must not pass for "no such image".
                Some(DescribeImagesError::InvalidParameterException(_)) if is_no_sha256(image) => Ok(None),
                // `InvalidParameterException`, `ServerException`, and what is not modelled: access denied, throttling.
                _ => Err(port_error(DESCRIBE_IMAGES, &error)),
            },
        }
    }

    /// A page of a thousand images of a repository, and where the next one begins. No images if there is no such repository.
    async fn page_of_images(
        &self,
        repository: &RepositoryName,
        status: ImageStatusFilter,
        after: Option<String>,
    ) -> Result<(Vec<ImageDetail>, Option<String>), PortError> {
        let result = self
            .client
            .describe_images()
            .registry_id(self.account.as_str())
            .repository_name(repository.as_str())
            .filter(DescribeImagesFilter::builder().image_status(status).build())
            .max_results(PAGE_SIZE)
            .set_next_token(after)
            .send()
            .await;
        match result {
            Ok(output) => Ok((
                output.image_details.unwrap_or_default(),
                output.next_token.filter(|token| !token.is_empty()),
            )),
            Err(error) => match error.as_service_error() {
                Some(DescribeImagesError::RepositoryNotFoundException(_)) => Ok((Vec::new(), None)),
                // `ImageNotFoundException` (no image was named), `InvalidParameterException`, `ServerException`, and what is not
                // modelled.
                _ => Err(port_error(DESCRIBE_IMAGES, &error)),
            },
        }
    }

    /// The manifest of an image and its media type: `ecr:BatchGetImage`.
    async fn manifest(&self, image: &ImageKey) -> Result<(String, Option<String>), PortError> {
        const OPERATION: &str = "ecr:BatchGetImage";
        self.owns(image, OPERATION)?;
        let output = self
            .client
            .batch_get_image()
            .registry_id(self.account.as_str())
            .repository_name(image.repository.as_str())
            .image_ids(ImageIdentifier::builder().image_digest(image.digest.as_str()).build())
            .set_accepted_media_types(Some(MANIFEST_MEDIA_TYPES.map(str::to_owned).to_vec()))
            .send()
            .await
            // `InvalidParameterException`, `LimitExceededException`, `RepositoryNotFoundException`, `ServerException`,
            // `UnableToGetUpstreamImageException`: without the manifest there is no tag to give.
            .map_err(|error| port_error(OPERATION, &error))?;
        if let Some(failure) = output.failures().first() {
            return Err(image_failure(OPERATION, failure));
        }
        output
            .images
            .unwrap_or_default()
            .into_iter()
            .find(|found| found.image_id().and_then(ImageIdentifier::image_digest) == Some(image.digest.as_str()))
            .and_then(|found| Some((found.image_manifest?, found.image_manifest_media_type)))
            .ok_or_else(|| malformed(OPERATION, "the answer does not hold the manifest"))
    }
}

/// The registry of one account in one region, to read. See [`Aws::ecr_registry`](super::Aws::ecr_registry).
#[derive(Debug, Clone)]
pub struct EcrRegistry {
    ecr: Ecr,
    triggers: Arc<TriggerCache>,
    /// The names of the repositories that are on its list; none: all.
    only: Arc<[Glob]>,
}

impl EcrRegistry {
    pub(super) fn new(client: Client, account: AccountId, region: Region, triggers: Arc<TriggerCache>) -> Self {
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
        match result {
            Ok(output) => output
                .policy_text
                .map(Some)
                .ok_or_else(|| malformed(OPERATION, "the answer does not hold the policy")),
            Err(error) => match error.as_service_error() {
                Some(
                    GetRepositoryPolicyError::RepositoryPolicyNotFoundException(_)
                    | GetRepositoryPolicyError::RepositoryNotFoundException(_),
                ) => Ok(None),
                _ => Err(port_error(OPERATION, &error)),
            },
        }
    }

    /// `ecr:BatchGetImage`. What is deleted or archived is not found.
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

    /// `ecr:DescribeImages` of a whole repository, active images only. The order of ECR's answer is documented nowhere.
    async fn pulled_since(
        &self,
        repository: &RepositoryName,
        since: Timestamp,
        after: Option<&str>,
    ) -> Result<Pulled, PortError> {
        let after = after.map(str::to_owned);
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
        let after = after.map(str::to_owned);
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
        let output = match result {
            Ok(output) => output,
            Err(error) => {
                return match error.as_service_error() {
                    Some(BatchGetRepositoryScanningConfigurationError::RepositoryNotFoundException(_)) => Ok(None),
                    // `InvalidParameterException`, `ServerException`, `ValidationException`, and what is not modelled.
                    _ => Err(port_error(OPERATION, &error)),
                };
            }
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

impl Scanner for EcrRegistry {
    /// `ecr:DescribeImageScanFindings`, all pages or a failure.
    ///
    /// A token that comes twice would lead round in circles, and is a failure too.
    async fn scan(&self, image: &ImageKey) -> Result<Scan, PortError> {
        const OPERATION: &str = "ecr:DescribeImageScanFindings";
        self.ecr.owns(image, OPERATION)?;
        let mut pages = Pages::default();
        let mut tokens = HashSet::new();
        let mut token = None;
        for _ in 0..MAX_PAGES {
            let result = self
                .ecr
                .client
                .describe_image_scan_findings()
                .registry_id(self.ecr.account.as_str())
                .repository_name(image.repository.as_str())
                .image_id(ImageIdentifier::builder().image_digest(image.digest.as_str()).build())
                .max_results(PAGE_SIZE)
                .set_next_token(token)
                .send()
                .await;
            let output = match result {
                Ok(output) => output,
                Err(error) => {
                    return match error.as_service_error() {
                        Some(
                            DescribeImageScanFindingsError::ScanNotFoundException(_)
                            | DescribeImageScanFindingsError::ImageNotFoundException(_)
                            | DescribeImageScanFindingsError::RepositoryNotFoundException(_),
                        ) => Ok(Scan::Absent),
                        // `InvalidParameterException`, `ServerException`, `ValidationException`, and what is not modelled.
                        _ => Err(port_error(OPERATION, &error)),
                    };
                }
            };
            let next = output.next_token.clone().filter(|token| !token.is_empty());
            if let Some(scan) = pages.add(output) {
                return Ok(scan);
            }
            let Some(next) = next else {
                return pages.complete().map_err(|why| malformed(OPERATION, why));
            };
            if !tokens.insert(next.clone()) {
                return Err(refusal(
                    OPERATION,
                    Retry::Later,
                    "RepeatedToken",
                    "the pages lead round in circles",
                ));
            }
            token = Some(next);
        }
        let message = format!("the image has more than {MAX_PAGES} pages of findings");
        Err(refusal(OPERATION, Retry::Never, "TooManyPages", &message))
    }
}

/// The registry of one account in one region, to change. See [`Aws::ecr_writer`](super::Aws::ecr_writer).
#[derive(Debug, Clone)]
pub struct EcrWriter {
    ecr: Ecr,
    sleep: Option<SharedAsyncSleep>,
}

impl EcrWriter {
    pub(super) fn new(client: Client, account: AccountId, region: Region, sleep: Option<SharedAsyncSleep>) -> Self {
        Self {
            sleep,
            ecr: Ecr {
                client,
                account,
                region,
            },
        }
    }

    /// `ecr:UpdateImageStorageClass`. All of its errors (`ImageNotFoundException`, `RepositoryNotFoundException`,
    /// `ImageStorageClassUpdateNotSupportedException`, `InvalidParameterException`, `ValidationException`, `ServerException`)
    /// mean that the image is not where it should be, and are passed on with their code.
    async fn store(&self, image: &ImageKey, class: TargetStorageClass) -> Result<ImageStatus, PortError> {
        const OPERATION: &str = "ecr:UpdateImageStorageClass";
        self.ecr.owns(image, OPERATION)?;
        let output = self
            .ecr
            .client
            .update_image_storage_class()
            .registry_id(self.ecr.account.as_str())
            .repository_name(image.repository.as_str())
            .image_id(ImageIdentifier::builder().image_digest(image.digest.as_str()).build())
            .target_storage_class(class)
            .send()
            .await
            .map_err(|error| port_error(OPERATION, &error))?;
        output
            .image_status()
            .map(status)
            .ok_or_else(|| malformed(OPERATION, "the answer names no status"))
    }
}

impl RegistryWriter for EcrWriter {
    async fn archive(&self, image: &ImageKey) -> Result<ImageStatus, PortError> {
        self.store(image, TargetStorageClass::Archive).await
    }

    async fn restore(&self, image: &ImageKey) -> Result<ImageStatus, PortError> {
        self.store(image, TargetStorageClass::Standard).await
    }

    /// `ecr:BatchGetImage`. What is deleted or archived is not found.
    async fn manifest_to_put(&self, image: &ImageKey) -> Result<Option<Manifest>, PortError> {
        match self.ecr.manifest(image).await {
            Ok((text, media_type)) => Ok(Some(Manifest { text, media_type })),
            Err(error) if error.code == "ImageNotFound" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `ecr:PutImage`.
    ///
    /// The digest goes with it, so that ECR refuses a manifest that was changed on the way. In a repository with immutable tags
    /// a tag of another image is refused (`ImageTagAlreadyExistsException`); elsewhere it moves, as with any push.
    async fn put(&self, image: &ImageKey, manifest: &Manifest, tag: &Tag) -> Result<(), PortError> {
        const OPERATION: &str = "ecr:PutImage";
        self.ecr.owns(image, OPERATION)?;
        let result = self
            .ecr
            .client
            .put_image()
            .registry_id(self.ecr.account.as_str())
            .repository_name(image.repository.as_str())
            .image_manifest(&manifest.text)
            .set_image_manifest_media_type(manifest.media_type.clone())
            .image_tag(tag.as_str())
            .image_digest(image.digest.as_str())
            .send()
            .await;
        let Err(error) = result else {
            return Ok(());
        };
        match error.as_service_error() {
            // The same manifest under the same tag.
            Some(PutImageError::ImageAlreadyExistsException(_)) => Ok(()),
            // `ImageDigestDoesNotMatchException`, `ImageTagAlreadyExistsException`, `InvalidParameterException`,
            // `KmsException`, `LayersNotFoundException`, `LimitExceededException`, `ReferencedImagesNotFoundException`,
            // `RepositoryNotFoundException`, `ServerException`: the image does not have the tag.
            _ => Err(port_error(OPERATION, &error)),
        }
    }

    /// `ecr:BatchDeleteImage` by tag, one attempt.
    ///
    /// A digest in the request is documented to delete "the image and all of its tags", and what a digest and a tag together delete
    /// is documented nowhere. So only tags are sent. The answer names tag and digest of what was removed (AWS CLI reference,
    /// `batch-delete-image`, example). For the last tag of an image that an index leads to, it is `ImageReferencedByManifestList`
    /// (aws/containers-roadmap#1567).
    async fn remove_tags(&self, key: &RepositoryKey, tags: &[Tag]) -> Result<Vec<(Tag, TagAnswer)>, PortError> {
        const OPERATION: &str = "ecr:BatchDeleteImage";
        self.ecr.is_of("repository", &key.account, &key.region, OPERATION)?;
        if tags.is_empty() {
            return Ok(Vec::new());
        }
        let identifiers = tags
            .iter()
            .map(|tag| ImageIdentifier::builder().image_tag(tag.as_str()).build())
            .collect();
        let once = Config::builder().retry_config(RetryConfig::disabled());
        let output = self
            .ecr
            .client
            .batch_delete_image()
            .registry_id(self.ecr.account.as_str())
            .repository_name(key.repository.as_str())
            .set_image_ids(Some(identifiers))
            .customize()
            .config_override(once)
            .send()
            .await
            // `InvalidParameterException`, `RepositoryNotFoundException`, `ServerException`: tags may be left.
            .map_err(|error| port_error(OPERATION, &error))?;
        Ok(tags.iter().map(|tag| (tag.clone(), answer(&output, tag))).collect())
    }

    async fn start_scan(&self, image: &ImageKey) -> Result<ScanStart, PortError> {
        const OPERATION: &str = "ecr:StartImageScan";
        self.ecr.owns(image, OPERATION)?;
        let result = self
            .ecr
            .client
            .start_image_scan()
            .registry_id(self.ecr.account.as_str())
            .repository_name(image.repository.as_str())
            .image_id(ImageIdentifier::builder().image_digest(image.digest.as_str()).build())
            .send()
            .await;
        let Err(error) = result else {
            return Ok(ScanStart::Started);
        };
        match error.as_service_error() {
            Some(StartImageScanError::LimitExceededException(_)) => Ok(ScanStart::LimitExceeded),
            Some(StartImageScanError::UnsupportedImageTypeException(_)) => Ok(ScanStart::Unsupported),
            Some(StartImageScanError::ImageArchivedException(_)) => Ok(ScanStart::Archived),
            Some(
                StartImageScanError::ImageNotFoundException(_) | StartImageScanError::RepositoryNotFoundException(_),
            ) => Ok(ScanStart::ImageGone),
            // What a registry with enhanced scanning says.
            Some(StartImageScanError::ValidationException(_)) => {
                Ok(ScanStart::NotOffered(port_error(OPERATION, &error).message))
            }
            // `InvalidParameterException`, `ServerException`, and what is not modelled.
            _ => Err(port_error(OPERATION, &error)),
        }
    }
}

/// What an answer says of a tag.
fn answer(output: &BatchDeleteImageOutput, tag: &Tag) -> TagAnswer {
    let is_it = |id: Option<&ImageIdentifier>| id.and_then(ImageIdentifier::image_tag) == Some(tag.as_str());
    if let Some(id) = output.image_ids().iter().find(|id| is_it(Some(id))) {
        let digest = id.image_digest().and_then(|digest| digest.parse().ok());
        return digest.map_or(TagAnswer::Unknown, TagAnswer::From);
    }
    let Some(failure) = output.failures().iter().find(|failure| is_it(failure.image_id())) else {
        return TagAnswer::Unknown;
    };
    match failure.failure_code() {
        // `ImageTagDoesNotMatchDigest` cannot be the answer where no digest is sent.
        Some(ImageFailureCode::ImageNotFound | ImageFailureCode::ImageTagDoesNotMatchDigest) => TagAnswer::Gone,
        Some(ImageFailureCode::ImageReferencedByManifestList) => TagAnswer::Referenced,
        _ => TagAnswer::Failed(image_failure("ecr:BatchDeleteImage", failure)),
    }
}

fn identifier(image: &ImageRef) -> ImageIdentifier {
    match image {
        ImageRef::Digest(digest) => ImageIdentifier::builder().image_digest(digest.as_str()).build(),
        ImageRef::Tag(tag) => ImageIdentifier::builder().image_tag(tag.as_str()).build(),
    }
}

/// What ECR says of an image, in our words; or why it does not even say which image.
fn described(detail: ImageDetail) -> Result<Image, String> {
    let digest = detail.image_digest().ok_or("it has no digest")?;
    Ok(Image {
        digest: digest.parse().map_err(|error: InvalidId| error.to_string())?,
        // The API takes longer tags than the registry protocol. One of those must not keep an image from being judged.
        tags: detail.image_tags().iter().filter_map(|tag| tag.parse().ok()).collect(),
        status: detail
            .image_status
            .as_ref()
            .map_or_else(|| ImageStatus::Other("missing".to_owned()), status),
        pushed_at: detail.image_pushed_at.as_ref().and_then(timestamp),
        last_pulled_at: detail.last_recorded_pull_time.as_ref().and_then(timestamp),
        last_activated_at: detail.last_activated_at.as_ref().and_then(timestamp),
        // An unreadable subject is none: without one an entry is an image, and is judged.
        subject: detail.subject_manifest_digest().and_then(|digest| digest.parse().ok()),
        manifest_media_type: detail.image_manifest_media_type,
        artifact_media_type: detail.artifact_media_type,
    })
}

fn status(status: &EcrImageStatus) -> ImageStatus {
    match status {
        EcrImageStatus::Active => ImageStatus::Active,
        EcrImageStatus::Archived => ImageStatus::Archived,
        EcrImageStatus::Activating => ImageStatus::Activating,
        other => ImageStatus::Other(plain(other.as_str(), 64)),
    }
}

/// Whether it is a digest, but not one that a SHA-256 can be.
fn is_no_sha256(image: &ImageRef) -> bool {
    match image {
        ImageRef::Digest(digest) => !digest
            .as_str()
            .strip_prefix("sha256:")
            .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))),
        ImageRef::Tag(_) => false,
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

/// One of an answer's `failures[]`.
fn image_failure(operation: &'static str, failure: &ImageFailure) -> PortError {
    let retry = match failure.failure_code() {
        Some(
            ImageFailureCode::KmsError
            | ImageFailureCode::UpstreamTooManyRequests
            | ImageFailureCode::UpstreamUnavailable,
        ) => Retry::Later,
        // `ImageInaccessible`, `ImageNotFound`, `ImageReferencedByManifestList`, `ImageTagDoesNotMatchDigest`,
        // `InvalidImageDigest`, `InvalidImageTag`, `MissingDigestAndTag`, `UpstreamAccessDenied`, and what is new.
        _ => Retry::Never,
    };
    let code = failure.failure_code().map_or("Unknown", ImageFailureCode::as_str);
    refusal(operation, retry, code, failure.failure_reason().unwrap_or_default())
}

/// What is known of repositories' [`ScanTrigger`]s, each for ten minutes, by the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct TriggerCache(Mutex<HashMap<RepositoryName, (ScanTrigger, Instant)>>);

/// For how long a trigger is taken for granted.
const TRIGGER_AGE: Duration = Duration::from_mins(10);

/// The most repositories that are remembered, so that a warm function does not grow without end.
const MAX_TRIGGERS: usize = 512;

impl TriggerCache {
    fn get(&self, repository: &RepositoryName, now: Instant) -> Option<ScanTrigger> {
        let triggers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (trigger, since) = triggers.get(repository)?;
        (now.saturating_duration_since(*since) < TRIGGER_AGE).then_some(*trigger)
    }

    fn put(&self, repository: &RepositoryName, trigger: ScanTrigger, now: Instant) {
        let mut triggers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if triggers.len() >= MAX_TRIGGERS {
            triggers.retain(|_, (_, since)| now.saturating_duration_since(*since) < TRIGGER_AGE);
        }
        if triggers.len() >= MAX_TRIGGERS {
            triggers.clear();
        }
        triggers.insert(repository.clone(), (trigger, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_is_known_for_ten_minutes() {
        let (cache, start) = (TriggerCache::default(), Instant::now());
        let repository: RepositoryName = "team/api".parse().unwrap();
        assert_eq!(cache.get(&repository, start), None);
        cache.put(&repository, ScanTrigger::Manual, start);
        assert_eq!(
            cache.get(&repository, start + TRIGGER_AGE - Duration::from_secs(1)),
            Some(ScanTrigger::Manual)
        );
        assert_eq!(cache.get(&repository, start + TRIGGER_AGE), None);
        assert_eq!(cache.get(&"team/web".parse().unwrap(), start), None);
    }

    #[test]
    fn the_cache_of_triggers_is_bounded_and_drops_the_old_ones_first() {
        let (cache, start) = (TriggerCache::default(), Instant::now());
        let repository = |n: usize| format!("r{n}").parse::<RepositoryName>().unwrap();
        for n in 0..MAX_TRIGGERS {
            let at = if n == 0 { start } else { start + TRIGGER_AGE };
            cache.put(&repository(n), ScanTrigger::Automatic, at);
        }
        let now = start + TRIGGER_AGE;
        cache.put(&repository(MAX_TRIGGERS), ScanTrigger::Automatic, now);
        assert_eq!(cache.get(&repository(0), now), None);
        assert!(cache.get(&repository(1), now).is_some());
        for n in 0..10 * MAX_TRIGGERS {
            cache.put(&repository(n), ScanTrigger::Automatic, now);
        }
        assert!(cache.0.lock().unwrap().len() <= MAX_TRIGGERS);
    }

    #[test]
    fn a_sha256_has_64_small_hexadecimal_digits() {
        let digest = |text: String| ImageRef::Digest(text.parse().unwrap());
        assert!(!is_no_sha256(&digest(format!("sha256:{}", "0f".repeat(32)))));
        assert!(is_no_sha256(&digest(format!("sha256:{}", "0g".repeat(32)))));
        assert!(is_no_sha256(&digest(format!("sha256:{}", "0F".repeat(32)))));
        assert!(is_no_sha256(&digest("sha256:0f".to_owned())));
        assert!(is_no_sha256(&digest(format!("sha512:{}", "0f".repeat(32)))));
        assert!(!is_no_sha256(&ImageRef::Tag("v1".parse().unwrap())));
    }
}
