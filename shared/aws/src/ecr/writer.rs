//! Changes images of a registry.

use aws_sdk_ecr::{
    Client, Config,
    config::retry::RetryConfig,
    operation::{
        batch_delete_image::BatchDeleteImageOutput, put_image::PutImageError, start_image_scan::StartImageScanError,
    },
    types::{ImageFailureCode, ImageIdentifier, TargetStorageClass},
};
use aws_smithy_async::rt::sleep::SharedAsyncSleep;

use super::{
    client::{Ecr, image_failure},
    image::status,
};
use crate::error::{malformed, port_error};
use guard_core::{
    finding::ScanStart,
    ids::{AccountId, ImageKey, Region, RepositoryKey, Tag},
    image::ImageStatus,
};
use guard_ports::{Manifest, PortError, RegistryWriter, TagAnswer};

/// The registry of one account in one region, to change. See [`Aws::ecr_writer`](crate::Aws::ecr_writer).
#[derive(Debug, Clone)]
pub struct EcrWriter {
    pub(super) ecr: Ecr,
    pub(super) sleep: Option<SharedAsyncSleep>,
}

impl EcrWriter {
    pub(crate) fn new(client: Client, account: AccountId, region: Region, sleep: Option<SharedAsyncSleep>) -> Self {
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

    /// `ecr:BatchGetImage`. A deleted or archived image is not found.
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
    /// A digest in the request is documented to delete "the image and all of its tags". The effect of a digest and a tag
    /// together is documented nowhere. So only tags are sent. The answer names tag and digest of each removal (AWS CLI
    /// reference, `batch-delete-image`, example). For the last tag of an image that an index references, it is
    /// `ImageReferencedByManifestList` (aws/containers-roadmap#1567).
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
            // The answer of a registry with enhanced scanning.
            Some(StartImageScanError::ValidationException(_)) => {
                Ok(ScanStart::NotOffered(port_error(OPERATION, &error).message))
            }
            // `InvalidParameterException`, `ServerException`, and what is not modelled.
            _ => Err(port_error(OPERATION, &error)),
        }
    }
}

/// The part of an answer about a tag.
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
