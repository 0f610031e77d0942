//! The way into other accounts: a role that they give to the function.

use std::collections::BTreeMap;

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_types::SdkConfig;
use tokio::sync::OnceCell;

use guard_aws::error::{malformed, port_error, refusal};
use guard_core::ids::{AccountId, Region};
use guard_ports::{PortError, Retry};

/// Credentials of other accounts, each taken once in a run.
pub(crate) struct Accounts {
    config: SdkConfig,
    region: Region,
    own: AccountId,
    external_id: Option<String>,
    others: BTreeMap<AccountId, (String, OnceCell<SdkConfig>)>,
}

impl Accounts {
    pub(crate) fn new(
        config: SdkConfig,
        region: Region,
        own: AccountId,
        roles: BTreeMap<AccountId, String>,
        external_id: Option<String>,
    ) -> Self {
        let others = roles
            .into_iter()
            .map(|(account, role)| (account, (role, OnceCell::new())));
        Self {
            config,
            region,
            own,
            external_id,
            others: others.collect(),
        }
    }

    /// How an account is called.
    pub(crate) async fn config(&self, account: &AccountId) -> Result<SdkConfig, PortError> {
        match self.others.get(account) {
            Some((role, config)) => {
                let taken = config.get_or_try_init(|| self.assume(account, role)).await;
                Ok(taken?.clone())
            }
            None if *account == self.own => Ok(self.config.clone()),
            None => {
                let message = format!("the policy names no role in {account}");
                Err(refusal("sts:AssumeRole", Retry::Never, "NoRole", &message))
            }
        }
    }

    /// `sts:AssumeRole`, for an hour, which is the shortest that every role allows by default. Its refusal is `AccessDenied`, whether there is no
    /// such role, it does not trust us, or the external id is wrong.
    async fn assume(&self, account: &AccountId, role: &str) -> Result<SdkConfig, PortError> {
        const OPERATION: &str = "sts:AssumeRole";
        let client = aws_sdk_sts::Client::new(&self.config);
        let arn = format!("arn:{}:iam::{account}:role/{role}", partition(&self.region));
        let answer = client
            .assume_role()
            .role_arn(arn)
            .role_session_name("ecr-guard-workloads")
            .set_external_id(self.external_id.clone())
            .send()
            .await
            .map_err(|error| port_error(OPERATION, &error))?;
        let given = answer.credentials.as_ref();
        let given = given.ok_or_else(|| malformed(OPERATION, "the answer holds no credentials"))?;
        let credentials = Credentials::builder()
            .access_key_id(given.access_key_id())
            .secret_access_key(given.secret_access_key())
            .session_token(given.session_token())
            .provider_name("AssumeRole")
            .build();
        let provider = SharedCredentialsProvider::new(credentials);
        Ok(self
            .config
            .clone()
            .into_builder()
            .credentials_provider(provider)
            .build())
    }
}

/// The partition that a region is in. Source: AWS reference guide to ARNs, "Partitions".
fn partition(region: &Region) -> &'static str {
    let region = region.as_str();
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}
