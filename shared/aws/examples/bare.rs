//! A function with nothing but the SDK, for `make bench`: it makes the calls of `on-scan` for an image that nothing has to change for, with the same requests
//! over as many connections, and decides nothing. It shows how much of a function is the SDK, TLS and Lambda's runtime.

#![expect(
    clippy::disallowed_methods,
    reason = "it is a whole program, and reads its own environment"
)]

use std::{env, time::Duration};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ecr::types::{DescribeImagesFilter, ImageIdentifier, ImageStatusFilter};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_types::{
    SdkConfig,
    app_name::AppName,
    region::Region,
    service_config::{LoadServiceConfig, ServiceConfigKey},
};
use futures_util::future::join;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

/// The endpoints of single services, as the environment has them.
#[derive(Debug)]
struct Endpoints;

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_uppercase().replace(' ', "_");
        env::var(format!("{}_{service}", key.env())).ok()
    }
}

/// The clients and what the events are weighed with.
struct Bare {
    ecr: aws_sdk_ecr::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    table: String,
}

impl Bare {
    fn new() -> Result<Self, Error> {
        let credentials = Credentials::new(
            env::var("AWS_ACCESS_KEY_ID")?,
            env::var("AWS_SECRET_ACCESS_KEY")?,
            env::var("AWS_SESSION_TOKEN").ok(),
            None,
            "Environment",
        );
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(2))
            .operation_attempt_timeout(Duration::from_secs(5))
            .operation_timeout(Duration::from_secs(12))
            .build();
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(env::var("AWS_REGION")?))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(guard_aws::http::https_client())
            .retry_config(RetryConfig::standard())
            .timeout_config(timeouts)
            .service_config(Endpoints)
            .app_name(AppName::new("ecr-guard")?)
            .build();
        Ok(Self {
            ecr: aws_sdk_ecr::Client::new(&config),
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            table: env::var("ECR_GUARD_TABLE")?,
        })
    }

    async fn attribute(&self, pk: &str, sk: &str, name: &str) -> Result<Option<String>, Error> {
        let answer = self
            .dynamodb
            .get_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(pk.to_owned()))
            .key("sk", AttributeValue::S(sk.to_owned()))
            .consistent_read(true)
            .projection_expression(format!("#{name}"))
            .expression_attribute_names(format!("#{name}"), name)
            .send()
            .await?;
        let text = answer.item().and_then(|item| item.get(name)?.as_s().ok());
        Ok(text.cloned())
    }

    /// The number of findings of the worst severities of an image; 0 also where there is no such image.
    async fn look(&self, account: &str, repository: &str, digest: &str) -> Result<usize, Error> {
        let image = ImageIdentifier::builder().image_digest(digest).build();
        let described = self
            .ecr
            .describe_images()
            .registry_id(account)
            .repository_name(repository)
            .image_ids(image.clone())
            .filter(
                DescribeImagesFilter::builder()
                    .image_status(ImageStatusFilter::Any)
                    .build(),
            );
        let scanned = self
            .ecr
            .describe_image_scan_findings()
            .registry_id(account)
            .repository_name(repository)
            .image_id(image)
            .max_results(1000);
        let (described, scanned) = join(described.send(), scanned.send()).await;
        let (described, scanned) = (described?, scanned?);
        let findings = scanned.image_scan_findings().map_or(&[][..], |found| found.findings());
        let bad = findings.iter().filter(|finding| {
            finding
                .severity()
                .is_some_and(|severity| matches!(severity.as_str(), "CRITICAL" | "HIGH"))
        });
        Ok(bad.count() * described.image_details().len())
    }

    async fn handle(&self, event: LambdaEvent<Value>) -> Result<Value, Error> {
        let text = |pointer: &str| {
            event
                .payload
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (repository, digest) = (text("/detail/repository-name"), text("/detail/image-digest"));
        let (account, region) = (text("/account"), text("/region"));
        let (pk, sk) = (format!("{account}#{repository}"), format!("image#{digest}#{region}"));
        let (bad, row) = join(self.look(account, repository, digest), self.attribute(&pk, &sk, "row")).await;
        Ok(serde_json::json!({"bad": bad?, "known": row?.is_some()}))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let bare = Bare::new()?;
    let policy = env::var("ECR_GUARD_POLICY")?
        .replace(':', "#")
        .replace("sha256", "policy");
    // As many connections as `on-scan` opens in its start.
    let nowhere = format!("sha256:{}", "0".repeat(64));
    let (rules, nothing) = join(
        bare.attribute(&policy, "deployed", "document"),
        bare.look(&"0".repeat(12), "ecr-guard", &nowhere),
    )
    .await;
    drop(nothing);
    if rules?.is_none() {
        return Err("there is no policy".into());
    }
    let bare = &bare;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        bare.handle(event).await
    }))
    .await
}
