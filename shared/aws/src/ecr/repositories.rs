//! Repositories and their settings.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_ecr::{
    operation::{
        delete_repository_policy::DeleteRepositoryPolicyError,
        describe_images::DescribeImagesError,
        describe_repositories::DescribeRepositoriesError,
        get_lifecycle_policy_preview::GetLifecyclePolicyPreviewOutput,
        list_tags_for_resource::{ListTagsForResourceError, ListTagsForResourceOutput},
        start_lifecycle_policy_preview::StartLifecyclePolicyPreviewError,
    },
    types::{
        DescribeImagesFilter, ImageIdentifier, ImageScanningConfiguration, ImageStatusFilter,
        ImageTagMutability as EcrMutability, ImageTagMutabilityExclusionFilter, ImageTagMutabilityExclusionFilterType,
        LifecyclePolicyPreviewStatus, Repository as EcrRepository,
    },
};
use aws_smithy_async::rt::sleep::AsyncSleep as _;
use serde_json::Value;

use super::{client::DESCRIBE_IMAGES, registry::EcrRegistry, writer::EcrWriter};
use crate::{
    answer::timestamp,
    error::{found, malformed, plain, port_error, present, refusal},
};
use guard_core::{
    finding::ScanMode,
    ids::RepositoryKey,
    image::leads_to_others,
    repository::{
        decide::{Expiring, Preview},
        posture::{Encryption, Repository, TagMutability},
    },
};
use guard_ports::{PortError, Repositories, RepositoryWriter, Retry};

/// How often a preview is asked for, and how long between: a function has 30 seconds. A preview that takes longer (AWS's own
/// waiter waits for 100 seconds) is there at a later reconcile, which reads it before it asks for a new one.
const PREVIEW_LOOKS: usize = 5;
const PREVIEW_WAIT: Duration = Duration::from_secs(2);

/// The most images of one answer, of a preview and of a description.
const PAGE: i32 = 100;

/// The most pages of a preview that are read, each with a description of its images: 2,000 images.
const PAGES: usize = 20;

impl Repositories for EcrRegistry {
    /// `ecr:DescribeRepositories` of one repository.
    async fn repository(&self, key: &RepositoryKey) -> Result<Option<Repository>, PortError> {
        const OPERATION: &str = "ecr:DescribeRepositories";
        let result = self
            .ecr
            .client
            .describe_repositories()
            .registry_id(self.ecr.account.as_str())
            .repository_names(key.repository.as_str())
            .send()
            .await;
        let is_absent = DescribeRepositoriesError::is_repository_not_found_exception;
        let Some(output) = found(OPERATION, result, is_absent)? else {
            return Ok(None);
        };
        let mut all = output.repositories().iter();
        let asked = all.find(|found| found.repository_name() == Some(key.repository.as_str()));
        Ok(Some(repository(present(OPERATION, asked, "the repository")?, key)))
    }

    /// `ecr:ListTagsForResource`.
    async fn repository_tags(&self, key: &RepositoryKey) -> Result<BTreeMap<String, String>, PortError> {
        const OPERATION: &str = "ecr:ListTagsForResource";
        let result = self
            .ecr
            .client
            .list_tags_for_resource()
            .resource_arn(key.arn())
            .send()
            .await;
        let output = found(
            OPERATION,
            result,
            ListTagsForResourceError::is_repository_not_found_exception,
        )?;
        let tags = output.iter().flat_map(ListTagsForResourceOutput::tags);
        Ok(tags.map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect())
    }

    /// `ecr:GetLifecyclePolicy`.
    async fn lifecycle_policy(&self, key: &RepositoryKey) -> Result<Option<String>, PortError> {
        const OPERATION: &str = "ecr:GetLifecyclePolicy";
        let result = self
            .ecr
            .client
            .get_lifecycle_policy()
            .registry_id(self.ecr.account.as_str())
            .repository_name(key.repository.as_str())
            .send()
            .await;
        let output = found(OPERATION, result, |error| {
            error.is_lifecycle_policy_not_found_exception() || error.is_repository_not_found_exception()
        })?;
        let text = output.map(|output| present(OPERATION, output.lifecycle_policy_text, "the policy"));
        text.transpose()
    }

    /// `ecr:GetRegistryScanningConfiguration`.
    async fn scan_mode(&self) -> Result<ScanMode, PortError> {
        let (mode, _) = self.scanning().await?;
        Ok(mode)
    }
}

/// A repository of ECR in our words.
pub(super) fn repository(found: &EcrRepository, key: &RepositoryKey) -> Repository {
    let filters = || {
        let filters = found.image_tag_mutability_exclusion_filters().iter();
        filters.map(|filter| filter.filter().to_owned()).collect()
    };
    let encryption = found.encryption_configuration();
    Repository {
        arn: found.repository_arn().map_or_else(|| key.arn(), str::to_owned),
        tag_mutability: match found.image_tag_mutability() {
            Some(EcrMutability::Mutable) => TagMutability::Mutable,
            Some(EcrMutability::Immutable) => TagMutability::Immutable,
            Some(EcrMutability::ImmutableWithExclusion) => TagMutability::ImmutableWithExclusion(filters()),
            Some(EcrMutability::MutableWithExclusion) => TagMutability::MutableWithExclusion(filters()),
            Some(other) => TagMutability::Other(plain(other.as_str(), 64)),
            None => TagMutability::Other("missing".to_owned()),
        },
        scan_on_push: found
            .image_scanning_configuration()
            .is_some_and(ImageScanningConfiguration::scan_on_push),
        encryption: Encryption {
            kind: encryption.map_or_else(|| "missing".to_owned(), |e| plain(e.encryption_type().as_str(), 64)),
            key: encryption.and_then(|e| e.kms_key()).and_then(|key| key.parse().ok()),
        },
    }
}

impl RepositoryWriter for EcrWriter {
    /// `ecr:PutImageTagMutability`; the answer must say so.
    async fn set_tag_mutability(&self, key: &RepositoryKey, mutability: &TagMutability) -> Result<(), PortError> {
        const OPERATION: &str = "ecr:PutImageTagMutability";
        let mut filters = Vec::new();
        for filter in mutability.filters() {
            let filter = ImageTagMutabilityExclusionFilter::builder()
                .filter_type(ImageTagMutabilityExclusionFilterType::Wildcard)
                .filter(filter)
                .build();
            let invalid = |error: aws_smithy_types::error::operation::BuildError| error.to_string();
            filters.push(filter.map_err(|error| refusal(OPERATION, Retry::Never, "InvalidFilter", &invalid(error)))?);
        }
        let output = self
            .ecr
            .client
            .put_image_tag_mutability()
            .registry_id(self.ecr.account.as_str())
            .repository_name(key.repository.as_str())
            .image_tag_mutability(EcrMutability::from(mutability.as_str()))
            .set_image_tag_mutability_exclusion_filters((!filters.is_empty()).then_some(filters))
            .send()
            .await
            .map_err(|error| port_error(OPERATION, &error))?;
        if output.image_tag_mutability().map(EcrMutability::as_str) == Some(mutability.as_str()) {
            Ok(())
        } else {
            Err(malformed(OPERATION, "the answer does not say what was asked for"))
        }
    }

    /// `ecr:PutImageScanningConfiguration`; the answer must say so.
    async fn set_scan_on_push(&self, key: &RepositoryKey) -> Result<(), PortError> {
        const OPERATION: &str = "ecr:PutImageScanningConfiguration";
        let output = self
            .ecr
            .client
            .put_image_scanning_configuration()
            .registry_id(self.ecr.account.as_str())
            .repository_name(key.repository.as_str())
            .image_scanning_configuration(ImageScanningConfiguration::builder().scan_on_push(true).build())
            .send()
            .await
            .map_err(|error| port_error(OPERATION, &error))?;
        let on = output
            .image_scanning_configuration()
            .is_some_and(ImageScanningConfiguration::scan_on_push);
        on.then_some(())
            .ok_or_else(|| malformed(OPERATION, "the answer does not say what was asked for"))
    }

    /// `ecr:SetRepositoryPolicy`, or `ecr:DeleteRepositoryPolicy`. ECR refuses a policy that would lock us out.
    async fn set_repository_policy(&self, key: &RepositoryKey, text: Option<&str>) -> Result<(), PortError> {
        const SET: &str = "ecr:SetRepositoryPolicy";
        const DELETE: &str = "ecr:DeleteRepositoryPolicy";
        let (account, name) = (self.ecr.account.as_str(), key.repository.as_str());
        match text {
            Some(text) => {
                let call = self.ecr.client.set_repository_policy().registry_id(account);
                let result = call.repository_name(name).policy_text(text).send().await;
                result.map(|_| ()).map_err(|error| port_error(SET, &error))
            }
            None => {
                let call = self.ecr.client.delete_repository_policy().registry_id(account);
                let result = call.repository_name(name).send().await;
                let is_absent = DeleteRepositoryPolicyError::is_repository_policy_not_found_exception;
                found(DELETE, result, is_absent).map(|_| ())
            }
        }
    }

    /// `ecr:PutLifecyclePolicy`.
    async fn set_lifecycle_policy(&self, key: &RepositoryKey, text: &str) -> Result<(), PortError> {
        const OPERATION: &str = "ecr:PutLifecyclePolicy";
        let call = self
            .ecr
            .client
            .put_lifecycle_policy()
            .registry_id(self.ecr.account.as_str());
        let result = call
            .repository_name(key.repository.as_str())
            .lifecycle_policy_text(text)
            .send()
            .await;
        result.map(|_| ()).map_err(|error| port_error(OPERATION, &error))
    }

    /// `ecr:StartLifecyclePolicyPreview`, then `ecr:GetLifecyclePolicyPreview` until it is there, and `ecr:DescribeImages` of what
    /// it names. If it was begun, it is read first: to start a new one discards it.
    async fn preview_lifecycle_policy(
        &self,
        key: &RepositoryKey,
        text: &str,
        begun: bool,
    ) -> Result<Option<Preview>, PortError> {
        if begun {
            match self.finished_preview(key, text).await {
                Ok(Looked::Complete(page)) => return self.read_preview(key, *page).await.map(Some),
                Ok(Looked::InProgress) => return Ok(None),
                // There is none that is ours any more.
                Ok(Looked::Other(_)) => {}
                Err(error) if error.retry == Retry::Never => {}
                Err(error) => return Err(error),
            }
        }
        self.start_preview(key, text).await?;
        match self.finished_preview(key, text).await? {
            Looked::Complete(page) => self.read_preview(key, *page).await.map(Some),
            Looked::InProgress => Ok(None),
            Looked::Other(None) => Ok(None),
            Looked::Other(Some(status)) => {
                let message = format!("the preview has the status `{status}`");
                Err(refusal(GET_PREVIEW, Retry::Later, "NoPreview", &message))
            }
        }
    }
}

/// The state of a preview.
enum Looked {
    /// It is there: its first page.
    Complete(Box<GetLifecyclePolicyPreviewOutput>),
    /// Not yet.
    InProgress,
    /// It has another status, or (`None`) it is of another policy: somebody else has asked for one as well.
    Other(Option<String>),
}

impl EcrWriter {
    async fn start_preview(&self, key: &RepositoryKey, text: &str) -> Result<(), PortError> {
        const OPERATION: &str = "ecr:StartLifecyclePolicyPreview";
        let call = self.ecr.client.start_lifecycle_policy_preview();
        let result = call
            .registry_id(self.ecr.account.as_str())
            .repository_name(key.repository.as_str())
            .lifecycle_policy_text(text)
            .send()
            .await;
        if let Err(error) = result {
            match error.as_service_error() {
                // Ours, from an attempt before this one, or somebody else's: its text says which.
                Some(StartLifecyclePolicyPreviewError::LifecyclePolicyPreviewInProgressException(_)) => {}
                _ => return Err(port_error(OPERATION, &error)),
            }
        }
        Ok(())
    }

    async fn read_preview(
        &self,
        key: &RepositoryKey,
        mut page: GetLifecyclePolicyPreviewOutput,
    ) -> Result<Preview, PortError> {
        let total = total(&page);
        let mut images = Vec::new();
        for _ in 0..PAGES {
            self.describe_expiring(key, &page, &mut images).await?;
            match page.next_token.take().filter(|token| !token.is_empty()) {
                Some(token) => page = self.preview_page(key, Some(token)).await?,
                None => break,
            }
        }
        let read = u64::try_from(images.len()).unwrap_or(u64::MAX);
        Ok(Preview {
            images,
            total: total.unwrap_or(read).max(read),
            used: None,
        })
    }

    async fn preview_page(
        &self,
        key: &RepositoryKey,
        token: Option<String>,
    ) -> Result<GetLifecyclePolicyPreviewOutput, PortError> {
        let call = self.ecr.client.get_lifecycle_policy_preview();
        call.registry_id(self.ecr.account.as_str())
            .repository_name(key.repository.as_str())
            .max_results(PAGE)
            .set_next_token(token)
            .send()
            .await
            .map_err(|error| port_error(GET_PREVIEW, &error))
    }

    /// The state of the preview of this policy, once it is no longer in progress, or after some reads.
    async fn finished_preview(&self, key: &RepositoryKey, text: &str) -> Result<Looked, PortError> {
        for look in 0..PREVIEW_LOOKS {
            if let Some(sleep) = self.sleep.as_ref().filter(|_| look > 0) {
                sleep.sleep(PREVIEW_WAIT).await;
            }
            let page = self.preview_page(key, None).await?;
            match page.status() {
                Some(LifecyclePolicyPreviewStatus::InProgress) => {}
                Some(LifecyclePolicyPreviewStatus::Complete) => {
                    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
                    if page.lifecycle_policy_text().and_then(json) == json(text) {
                        return Ok(Looked::Complete(Box::new(page)));
                    }
                    return Ok(Looked::Other(None));
                }
                other => {
                    let status = other.map_or("missing", LifecyclePolicyPreviewStatus::as_str);
                    return Ok(Looked::Other(Some(plain(status, 64))));
                }
            }
        }
        Ok(Looked::InProgress)
    }

    /// `ecr:DescribeImages` of the images of one page. If one is gone by now, the preview is out of date.
    async fn describe_expiring(
        &self,
        key: &RepositoryKey,
        page: &GetLifecyclePolicyPreviewOutput,
        images: &mut Vec<Expiring>,
    ) -> Result<(), PortError> {
        let digests = page.preview_results().iter().filter_map(|result| result.image_digest());
        let ids: Vec<ImageIdentifier> = digests
            .map(|digest| ImageIdentifier::builder().image_digest(digest).build())
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let filter = DescribeImagesFilter::builder()
            .image_status(ImageStatusFilter::Any)
            .build();
        let call = self.ecr.client.describe_images().registry_id(self.ecr.account.as_str());
        let output = call
            .repository_name(key.repository.as_str())
            .set_image_ids(Some(ids))
            .filter(filter)
            .send()
            .await
            .map_err(|error| match error.as_service_error() {
                Some(DescribeImagesError::ImageNotFoundException(_)) => refusal(
                    DESCRIBE_IMAGES,
                    Retry::Later,
                    "ImageNotFound",
                    "an image of the preview is gone",
                ),
                _ => port_error(DESCRIBE_IMAGES, &error),
            })?;
        images.extend(output.image_details().iter().filter_map(|detail| {
            Some(Expiring {
                digest: detail.image_digest()?.parse().ok()?,
                tag: detail.image_tags().iter().find_map(|tag| tag.parse().ok()),
                pushed_at: detail.image_pushed_at().and_then(timestamp),
                last_pulled_at: detail.last_recorded_pull_time().and_then(timestamp),
                bytes: detail
                    .image_size_in_bytes()
                    .and_then(|bytes| u64::try_from(bytes).ok())
                    .unwrap_or(0),
                is_index: leads_to_others(detail.image_manifest_media_type()),
                unknown: false,
            })
        }));
        Ok(())
    }
}

const GET_PREVIEW: &str = "ecr:GetLifecyclePolicyPreview";

/// How many images a preview says that it names.
fn total(page: &GetLifecyclePolicyPreviewOutput) -> Option<u64> {
    let summary = page.summary()?;
    let moved = summary.transitioning_image_total_counts().iter();
    let moved: i64 = moved.filter_map(|count| count.image_total_count()).map(i64::from).sum();
    u64::try_from(moved + i64::from(summary.expiring_image_total_count()?)).ok()
}
