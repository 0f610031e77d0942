//! Connections that are there before they are needed.

use std::time::Duration;

use aws_sdk_ecr::{
    Client,
    config::{Builder, retry::RetryConfig, timeout::TimeoutConfig},
    types::ImageIdentifier,
};
use futures_util::future::join;
use guard_core::ids::RepositoryName;

/// A digest that no image has.
const NOWHERE: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// For how long the two calls may take: the start of a function waits for them, and Lambda gives it ten seconds.
const CONNECTING: Duration = Duration::from_secs(2);

/// Makes two calls side by side that change nothing and find nothing: HTTP/1.1 takes a connection for each, and so does the first question
/// about an image.
pub(crate) async fn connect(client: &Client, repository: &RepositoryName) {
    let image = ImageIdentifier::builder().image_digest(NOWHERE).build();
    let described = client
        .describe_images()
        .repository_name(repository.as_str())
        .image_ids(image.clone());
    let scanned = client
        .describe_image_scan_findings()
        .repository_name(repository.as_str())
        .image_id(image);
    let timeout = TimeoutConfig::builder().operation_timeout(CONNECTING).build();
    let once = || {
        Builder::new()
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeout.clone())
    };
    let described = described.customize().config_override(once()).send();
    let scanned = scanned.customize().config_override(once()).send();
    let (described, scanned) = join(described, scanned).await;
    // That there is no such image, or that something failed, says nothing.
    drop((described, scanned));
}
