//! Scans of images.

use std::collections::HashSet;

use aws_sdk_ecr::types::ImageIdentifier;

use super::{
    client::{MAX_PAGES, PAGE_SIZE},
    findings::Pages,
    registry::EcrRegistry,
};
use crate::error::{found, malformed, refusal};
use guard_core::{finding::Scan, ids::ImageKey};
use guard_ports::{PortError, Retry, Scanner};

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
            // `InvalidParameterException`, `ServerException`, `ValidationException` are failures.
            let output = found(OPERATION, result, |error| {
                error.is_scan_not_found_exception()
                    || error.is_image_not_found_exception()
                    || error.is_repository_not_found_exception()
            })?;
            let Some(output) = output else { return Ok(Scan::Absent) };
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
