//! The way into other accounts: a role that they give to the function.

use std::collections::BTreeMap;

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_types::SdkConfig;
use tokio::sync::OnceCell;

use guard_aws::error::{malformed, refusal};
use guard_core::ids::{AccountId, Region, partition};
use guard_ports::{PortError, Retry};

use crate::client::{Client, Service};

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
        let client = Client::new(&self.config, Service::Sts);
        let arn = format!("arn:{}:iam::{account}:role/{role}", partition(&self.region));
        let mut asked = vec![
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", &arn),
            ("RoleSessionName", "ecr-guard-workloads"),
        ];
        asked.extend(self.external_id.as_deref().map(|id| ("ExternalId", id)));
        let answer = client.form(OPERATION, &asked).await?;
        let [key, secret, token] = answer.texts(["AccessKeyId", "SecretAccessKey", "SessionToken"]);
        let (Some(key), Some(secret), Some(token)) = (key, secret, token) else {
            return Err(malformed(OPERATION, "the answer holds no credentials"));
        };
        let credentials = Credentials::builder()
            .access_key_id(key)
            .secret_access_key(secret)
            .session_token(token)
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
