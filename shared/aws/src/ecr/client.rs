//! The client of ECR, and the calls that several adapters make.

use std::error::Error;

use aws_sdk_ecr::{
    Client,
    config::Builder,
    error::ProvideErrorMetadata,
    operation::{
        batch_get_image::BatchGetImageError, describe_images::DescribeImagesError, put_image::PutImageError,
        start_image_scan::StartImageScanError, start_replication_backfill::StartReplicationBackfillError,
    },
    types::{DescribeImagesFilter, ImageDetail, ImageFailure, ImageFailureCode, ImageIdentifier, ImageStatusFilter},
};
use aws_smithy_runtime_api::client::{
    interceptors::context::{self, InterceptorContext},
    retries::classifiers::{ClassifyRetry, RetryAction},
};

use crate::{
    answer::next_page,
    error::{found, port_error, present, refusal},
};
use guard_core::ids::{AccountId, Digest, ImageKey, ImageRef, Region, RepositoryName};
use guard_ports::{PortError, Retry};

pub(super) const DESCRIBE_IMAGES: &str = "ecr:DescribeImages";

/// The most images that one call describes. Source: ECR API reference, `DescribeImages`, `imageIds`.
pub(super) const MAX_IMAGES: usize = 100;

/// The most findings, or images, that ECR gives in one answer.
pub(super) const PAGE_SIZE: i32 = 1000;

/// The most pages that are read. An image with more findings than fit is a failure: a part of the findings is no verdict.
pub(super) const MAX_PAGES: usize = 200;

/// Every media type that a manifest has had, so that the manifest that comes back is the one that the digest names.
const MANIFEST_MEDIA_TYPES: [&str; 5] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
];

/// The client of ECR, for all adapters of this module.
pub(crate) fn client(config: Builder) -> Client {
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
pub(super) struct Ecr {
    pub(super) client: Client,
    pub(super) account: AccountId,
    pub(super) region: Region,
}

impl Ecr {
    /// Refuses an image that is not in this registry: the call would go to another image of the same name.
    pub(super) fn owns(&self, image: &ImageKey, operation: &'static str) -> Result<(), PortError> {
        self.is_of("image", &image.account, &image.region, operation)
    }

    /// Refuses what is of another account or region.
    pub(super) fn is_of(
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
    pub(super) async fn describe(
        &self,
        repository: &RepositoryName,
        image: &ImageRef,
    ) -> Result<Option<ImageDetail>, PortError> {
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
        let output = found(DESCRIBE_IMAGES, result, |error| match error {
            DescribeImagesError::ImageNotFoundException(_) | DescribeImagesError::RepositoryNotFoundException(_) => {
                true
            }
            // An event is a hint, and may name anything. A text that the registry does not take for a digest names no image in
            // it. With a real digest the same refusal means something else, and must not pass for "no such image".
            DescribeImagesError::InvalidParameterException(_) => is_no_sha256(image),
            // `ServerException`, and what is not modelled: access denied, throttling.
            _ => false,
        })?;
        let Some(output) = output else { return Ok(None) };
        let mut details = output.image_details.unwrap_or_default().into_iter();
        let detail = details.find(|detail| match image {
            ImageRef::Digest(digest) => detail.image_digest() == Some(digest.as_str()),
            ImageRef::Tag(_) => true,
        });
        // An unknown image is an error of its own. Not to find it in a success is not to know.
        present(DESCRIBE_IMAGES, detail, "the image").map(Some)
    }

    /// `ecr:DescribeImages` of at most [`MAX_IMAGES`] digests, archived images included; those that the answer has, in any order. `None`: the
    /// registry refuses them all because of one, and does not say which.
    ///
    /// This operation has no list of failures: one image that is not there is `ImageNotFoundException` for all of them.
    pub(super) async fn describe_some(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
    ) -> Result<Option<Vec<ImageDetail>>, PortError> {
        let ids = digests
            .iter()
            .cloned()
            .map(|digest| identifier(&ImageRef::Digest(digest)));
        let result = self
            .client
            .describe_images()
            .registry_id(self.account.as_str())
            .repository_name(repository.as_str())
            .set_image_ids(Some(ids.collect()))
            .filter(
                DescribeImagesFilter::builder()
                    .image_status(ImageStatusFilter::Any)
                    .build(),
            )
            .send()
            .await;
        let output = found(DESCRIBE_IMAGES, result, |error| {
            error.is_image_not_found_exception()
                || error.is_repository_not_found_exception()
                || error.is_invalid_parameter_exception()
        })?;
        Ok(output.map(|output| output.image_details.unwrap_or_default()))
    }

    /// A page of a thousand images of a repository, and where the next one begins. No images if there is no such repository.
    pub(super) async fn page_of_images(
        &self,
        repository: &RepositoryName,
        status: ImageStatusFilter,
        after: Option<&str>,
    ) -> Result<(Vec<ImageDetail>, Option<String>), PortError> {
        let result = self
            .client
            .describe_images()
            .registry_id(self.account.as_str())
            .repository_name(repository.as_str())
            .filter(DescribeImagesFilter::builder().image_status(status).build())
            .max_results(PAGE_SIZE)
            .set_next_token(after.map(str::to_owned))
            .send()
            .await;
        // `ImageNotFoundException` (no image was named), `InvalidParameterException`, `ServerException` are failures.
        let is_absent = DescribeImagesError::is_repository_not_found_exception;
        let Some(output) = found(DESCRIBE_IMAGES, result, is_absent)? else {
            return Ok((Vec::new(), None));
        };
        let details = present(DESCRIBE_IMAGES, output.image_details, "the list")?;
        Ok((details, next_page(DESCRIBE_IMAGES, after, output.next_token)?))
    }

    /// The manifest of an image and its media type: `ecr:BatchGetImage`.
    pub(super) async fn manifest(&self, image: &ImageKey) -> Result<(String, Option<String>), PortError> {
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
        let mut images = output.images.unwrap_or_default().into_iter();
        let manifest = images
            .find(|found| found.image_id().and_then(ImageIdentifier::image_digest) == Some(image.digest.as_str()))
            .and_then(|found| Some((found.image_manifest?, found.image_manifest_media_type)));
        present(OPERATION, manifest, "the manifest")
    }
}

fn identifier(image: &ImageRef) -> ImageIdentifier {
    match image {
        ImageRef::Digest(digest) => ImageIdentifier::builder().image_digest(digest.as_str()).build(),
        ImageRef::Tag(tag) => ImageIdentifier::builder().image_tag(tag.as_str()).build(),
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

/// One of an answer's `failures[]`.
pub(super) fn image_failure(operation: &'static str, failure: &ImageFailure) -> PortError {
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

#[cfg(test)]
mod tests {
    use super::*;

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
