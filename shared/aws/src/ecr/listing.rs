//! The lists of a registry.

use aws_sdk_ecr::{
    config::{Builder, StalledStreamProtectionConfig},
    operation::describe_images::DescribeImagesError,
    types::{DescribeImagesFilter, ImageDetail, ImageStatusFilter, ScanStatus},
};
use futures_util::future::try_join3;

use super::{
    client::{DESCRIBE_IMAGES, PAGE_SIZE},
    image::described,
    registry::EcrRegistry,
    repositories::repository,
};
use crate::{
    answer::{next_page, timestamp},
    error::{found, plain, port_error, present, refusal},
    sdk::list_timeouts,
};
use guard_core::{
    ids::{InvalidId, RepositoryKey, RepositoryName},
    image::ListedImage,
    registry::RegistrySettings,
    repository::posture::ListedRepository,
};
use guard_ports::{Listing, Page, PortError, Retry};

impl Listing for EcrRegistry {
    fn guards(&self, repository: &RepositoryName) -> bool {
        self.only.is_empty() || self.only.iter().any(|glob| glob.matches(repository.as_str()))
    }

    /// `ecr:DescribeRepositories` of all repositories. Their order is documented nowhere.
    async fn repositories(&self, after: Option<&str>) -> Result<Page<ListedRepository>, PortError> {
        const OPERATION: &str = "ecr:DescribeRepositories";
        let output = self
            .ecr
            .client
            .describe_repositories()
            .registry_id(self.ecr.account.as_str())
            .max_results(PAGE_SIZE)
            .set_next_token(after.map(str::to_owned))
            .customize()
            .config_override(time_for_a_list())
            .send()
            .await
            // `InvalidParameterException` (of a token that ECR does not know, too), `RepositoryNotFoundException` (none was named),
            // `ServerException`, and what is not modelled.
            .map_err(|error| port_error(OPERATION, &error))?;
        let found = present(OPERATION, output.repositories, "the list")?;
        let listed = found.iter().map(|found| {
            let name = found.repository_name().ok_or("it has no name")?;
            let key = RepositoryKey {
                account: self.ecr.account.clone(),
                region: self.ecr.region.clone(),
                repository: name.parse().map_err(|error: InvalidId| error.to_string())?,
            };
            Ok(ListedRepository {
                repository: repository(found, &key),
                name: key.repository,
            })
        });
        let (mut items, unreadable) = read(OPERATION, "UnreadableRepository", "repository", listed);
        items.retain(|listed| self.guards(&listed.name));
        Ok(Page {
            items,
            unreadable,
            next: next_page(OPERATION, after, output.next_token)?,
        })
    }

    /// `ecr:DescribeImages` of a whole repository, archived images included, which without a filter are not there.
    ///
    /// An image without a valid digest cannot be reconciled by anybody. It is an error next to the others.
    async fn images(&self, key: &RepositoryKey, after: Option<&str>) -> Result<Option<Page<ListedImage>>, PortError> {
        self.ecr
            .is_of("repository", &key.account, &key.region, DESCRIBE_IMAGES)?;
        let result = self
            .ecr
            .client
            .describe_images()
            .registry_id(self.ecr.account.as_str())
            .repository_name(key.repository.as_str())
            .filter(
                DescribeImagesFilter::builder()
                    .image_status(ImageStatusFilter::Any)
                    .build(),
            )
            .max_results(PAGE_SIZE)
            .set_next_token(after.map(str::to_owned))
            .customize()
            .config_override(time_for_a_list())
            .send()
            .await;
        // `ImageNotFoundException` (no image was named), `InvalidParameterException` (of a token that ECR does not know, too),
        // `ServerException` are failures.
        let is_absent = DescribeImagesError::is_repository_not_found_exception;
        let Some(output) = found(DESCRIBE_IMAGES, result, is_absent)? else {
            return Ok(None);
        };
        let what = format!("repository `{}`, image", key.repository);
        let details = present(DESCRIBE_IMAGES, output.image_details, "the list")?;
        let (items, unreadable) = read(
            DESCRIBE_IMAGES,
            "UnreadableImage",
            &what,
            details.into_iter().map(listed),
        );
        Ok(Some(Page {
            items,
            unreadable,
            next: next_page(DESCRIBE_IMAGES, after, output.next_token)?,
        }))
    }

    /// `ecr:GetRegistryScanningConfiguration`, `ecr:DescribeRegistry` and `ecr:GetSigningConfiguration`, at the same time. All of
    /// them or a failure: a setting that is not known must not pass for one that is not set. None of them takes a registry id:
    /// they answer for the caller's own registry.
    async fn settings(&self) -> Result<RegistrySettings, PortError> {
        let ((scanning, scan_rules), replication, signing_rules) =
            try_join3(self.scanning(), self.replication(), self.signing_rules()).await?;
        Ok(RegistrySettings {
            scanning,
            scan_rules,
            replication,
            signing_rules,
        })
    }
}

/// A longer timeout, for which the SDK's own against connections that stall has to go: it would end an attempt after five seconds.
fn time_for_a_list() -> Builder {
    Builder::new()
        .timeout_config(list_timeouts())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

/// The readable entries of a page, and an error for each of the others: `what` names the list.
fn read<T>(
    operation: &'static str,
    code: &str,
    what: &str,
    found: impl Iterator<Item = Result<T, String>>,
) -> (Vec<T>, Vec<PortError>) {
    let (mut items, mut unreadable) = (Vec::new(), Vec::new());
    for (n, found) in found.enumerate() {
        match found {
            Ok(item) => items.push(item),
            Err(why) => {
                let message = format!("{what} {} of the page: {why}", n.saturating_add(1));
                unreadable.push(refusal(operation, Retry::Never, code, &message));
            }
        }
    }
    (items, unreadable)
}

fn listed(detail: ImageDetail) -> Result<ListedImage, String> {
    let scan = detail.image_scan_status().and_then(|scan| scan.status());
    let scan_status = scan.map(ScanStatus::as_str).map(|status| plain(status, 64));
    let summary = detail.image_scan_findings_summary();
    let scanned_at = summary.and_then(|summary| summary.image_scan_completed_at());
    Ok(ListedImage {
        bytes: detail
            .image_size_in_bytes()
            .and_then(|bytes| u64::try_from(bytes).ok())
            .unwrap_or(0),
        scan_status,
        scanned_at: scanned_at.and_then(timestamp),
        image: described(detail)?,
    })
}
