//! Who the caller is: by the SDK's usual chain of environment, profiles, SSO and what a machine is given.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region as SdkRegion, retry::RetryConfig, timeout::TimeoutConfig};
use aws_types::{SdkConfig, app_name::AppName};
use guard_aws::{Aws, error::port_error, http::https_client};
use guard_core::ids::{AccountId, Region};
use guard_ports::PortError;

use crate::ledgers::{NotRead, Place};

/// Attempts of one call. A person waits, and can begin anew.
const MAX_ATTEMPTS: u32 = 5;

/// For how long one attempt may take: a page of a table has a megabyte, over any line.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);

/// The caller.
pub(super) struct Identity {
    pub(super) config: SdkConfig,
    pub(super) region: Region,
}

impl Identity {
    pub(super) async fn load(place: &Place) -> Result<Self, NotRead> {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(https_client())
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS));
        if let Ok(name) = AppName::new("ecr-guard-cli") {
            loader = loader.app_name(name);
        }
        if let Some(profile) = &place.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &place.region {
            loader = loader.region(SdkRegion::new(region.as_str().to_owned()));
        }
        let config = loader.load().await;
        let region = config.region().map(|region| region.as_ref().parse());
        let region = region.ok_or_else(|| {
            NotRead::new("No region is known. Give --region, set AWS_REGION, or take a --profile that has one.")
        })?;
        let region =
            region.map_err(|error: guard_core::ids::InvalidId| NotRead::new(format!("The region: {error}")))?;
        Ok(Self { config, region })
    }

    /// The account of the caller: `sts:GetCallerIdentity`, which everybody may call.
    pub(super) async fn account(&self) -> Result<AccountId, NotRead> {
        let client = aws_sdk_sts::Client::new(&self.config);
        let answer = client.get_caller_identity().send().await;
        let answer = answer.map_err(|error| self.failed(&port_error("sts:GetCallerIdentity", &error)))?;
        let account = answer.account().unwrap_or_default();
        account
            .parse()
            .map_err(|error| NotRead::new(format!("sts:GetCallerIdentity: {error}")))
    }

    /// The caller's way to registries of a region.
    pub(super) fn registries(&self, region: &Region) -> Aws {
        let other = SdkRegion::new(region.as_str().to_owned());
        let config = self.config.clone().into_builder().region(other).build();
        Aws::with_config(config, region.clone())
    }

    /// The failure, and the remedy.
    pub(super) fn failed(&self, error: &PortError) -> NotRead {
        let help = match error.code.as_str() {
            "Dispatch" if error.message.contains("credential") => {
                " No credentials were found: log in (`aws sso login`), or give --profile."
            }
            "Dispatch" | "Timeout" => " AWS cannot be reached from here.",
            "ExpiredToken" | "ExpiredTokenException" => " Your credentials have expired: log in again.",
            _ if error.is_denied() => " Your identity may not do that: docs/cli.md lists the permissions.",
            _ => "",
        };
        NotRead::new(format!("{error}.{help}"))
    }
}
