//! Configuration of the SDK from the environment alone.
//!
//! The default chains of `aws-config` look for profiles, containers and instance metadata. On Lambda region and credentials are
//! environment variables, so none of that is compiled in, and nothing can hang looking for it.

use std::{collections::BTreeMap, time::Duration};

use aws_credential_types::{
    Credentials, credential_feature::AwsCredentialFeature, provider::SharedCredentialsProvider,
};
use aws_smithy_runtime_api::client::{
    behavior_version::BehaviorVersion, stalled_stream_protection::StalledStreamProtectionConfig,
};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_types::{
    SdkConfig,
    app_name::AppName,
    region::Region as SdkRegion,
    service_config::{LoadServiceConfig, ServiceConfigKey},
};

use super::http::{CONNECT_TIMEOUT, https_client};
use guard_core::ids::Region;

/// Attempts of one call, the first included. There is no second loop around it: redelivery of the event is the outer one.
const MAX_ATTEMPTS: u32 = 3;

/// For how long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// For how long a call may take, attempts and waits together. A function has 30 seconds, so that two calls in a row may run
/// into it before Lambda stops the function without a word.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(12);

/// The longest wait between two attempts. (The SDK's own limit of 20 seconds is longer than the call may take.)
const MAX_BACKOFF: Duration = Duration::from_secs(3);

/// Attempts of one call in a sweep, as far as its time allows. Nobody waits for it, and where a service's rate is the limit, it is
/// better waited for here than begun anew by the next delivery of the work item.
const SWEEP_MAX_ATTEMPTS: u32 = 8;

/// For how long one attempt may take that asks for a list: a thousand images are about a megabyte.
const LIST_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// For how long a list may take, attempts and waits together: all attempts, with the longest wait after each.
const LIST_OPERATION_TIMEOUT: Duration = Duration::from_secs(25);

/// The services that have clients, as they stand in the names of variables: `AWS_ENDPOINT_URL_ECR`.
const SERVICES: [&str; 10] = [
    "BATCH", "DYNAMODB", "ECR", "ECS", "EKS", "KMS", "LAMBDA", "SNS", "SQS", "STS",
];

/// The environment does not say how to reach AWS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEnvironment {
    /// A variable that Lambda always sets is missing or empty.
    #[error("`{0}` is not set")]
    Missing(&'static str),
    /// `AWS_REGION` is no region.
    #[error("`AWS_REGION`: {0}")]
    Region(#[from] guard_core::ids::InvalidId),
}

/// The configuration that all clients share, and the region in it.
///
/// Credentials are read once: Lambda ends an execution environment before those of its environment expire.
pub(super) fn config(lookup: &impl Fn(&str) -> Option<String>) -> Result<(SdkConfig, Region), InvalidEnvironment> {
    let optional = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
    let required = |name| optional(name).ok_or(InvalidEnvironment::Missing(name));
    let on = |name| optional(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));

    let region: Region = required("AWS_REGION")?.parse()?;
    let mut credentials = Credentials::builder()
        .access_key_id(required("AWS_ACCESS_KEY_ID")?)
        .secret_access_key(required("AWS_SECRET_ACCESS_KEY")?)
        .provider_name("Environment");
    credentials.set_session_token(optional("AWS_SESSION_TOKEN"));
    let mut credentials = credentials.build();
    credentials
        .get_property_mut_or_default::<Vec<AwsCredentialFeature>>()
        .push(AwsCredentialFeature::CredentialsEnvVars);

    // The variable that the SDKs call `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` turns all the others off.
    let endpoint = |name: &str| optional(name).filter(|_| !on("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"));
    let endpoints = SERVICES
        .iter()
        .filter_map(|service| Some((*service, endpoint(&format!("AWS_ENDPOINT_URL_{service}"))?)))
        .collect();

    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(SdkRegion::new(region.as_str().to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(https_client())
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(MAX_ATTEMPTS)
                .with_max_backoff(MAX_BACKOFF),
        )
        .timeout_config(timeouts(ATTEMPT_TIMEOUT, OPERATION_TIMEOUT))
        // A connection that stalls is what the timeout of an attempt ends: the SDK's own watch over each body would notice it no earlier.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .service_config(Endpoints(endpoints));
    config.set_app_name(AppName::new("ecr-guard").ok());
    config.set_endpoint_url(endpoint("AWS_ENDPOINT_URL"));
    if on("AWS_USE_FIPS_ENDPOINT") {
        config.set_use_fips(Some(true));
    }
    if on("AWS_USE_DUALSTACK_ENDPOINT") {
        config.set_use_dual_stack(Some(true));
    }
    Ok((config.build(), region))
}

/// The configuration of a sweep: more attempts, and the SDK's adaptive mode, in which all calls to a service slow down once it throttles
/// one of them. (Where somebody waits, that would let one call pay for the others.) A call has no more time than elsewhere: a worker
/// too is trusted with what it claimed for so long and no longer.
///
/// Source of the mode: "Retry behavior" in the AWS SDKs and Tools Reference Guide.
pub(super) fn for_sweeps(config: SdkConfig) -> SdkConfig {
    config
        .into_builder()
        .retry_config(
            RetryConfig::adaptive()
                .with_max_attempts(SWEEP_MAX_ATTEMPTS)
                .with_max_backoff(MAX_BACKOFF),
        )
        .build()
}

/// The time for lists, which nothing waits for that was claimed.
pub(super) fn list_timeouts() -> TimeoutConfig {
    timeouts(LIST_ATTEMPT_TIMEOUT, LIST_OPERATION_TIMEOUT)
}

fn timeouts(attempt: Duration, operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

/// The endpoints that are set for single services: what a client asks for before it takes the one for all.
#[derive(Debug)]
struct Endpoints(BTreeMap<&'static str, String>);

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        if key.env() != "AWS_ENDPOINT_URL" {
            return None;
        }
        let service = key.service_id().to_uppercase().replace(' ', "_");
        self.0.get(service.as_str()).cloned()
    }
}
