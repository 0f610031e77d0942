//! The ports, with the AWS SDK.
//!
//! [`Aws`] is the way in: it reads the environment once and hands out adapters. Nothing of the SDK comes out of them: answers
//! are domain values, failures are [`PortError`](crate::ports::PortError)s that `error` makes, in one place.
//!
//! | module | port | service |
//! |---|---|---|
//! | [`ecr`] | `Registry`, `Scanner`, `RegistryWriter`, `Repositories`, `RepositoryWriter` | ECR |
//! | [`kms`] | `Keys` | KMS |
//! | [`dynamodb`] | `Ledger`, `RepositoryLedger` | DynamoDB |
//! | [`sns`] | `Notifier` | SNS |

pub mod dynamodb;
pub mod ecr;
mod error;
pub mod http;
pub mod kms;
mod sdk;
pub mod sns;

use std::sync::{Arc, OnceLock};

use aws_smithy_async::{
    rt::sleep::{SharedAsyncSleep, default_async_sleep},
    time::SharedTimeSource,
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::DateTime;
use aws_types::SdkConfig;
use jiff::Timestamp;

use self::{
    dynamodb::DynamoLedger,
    ecr::{EcrRegistry, EcrWriter, TriggerCache},
    kms::KmsKeys,
    sns::SnsNotifier,
};
use crate::domain::ids::{AccountId, Region};

pub use self::sdk::InvalidEnvironment;

/// Everything that a function needs of AWS.
///
/// A client is built when the first adapter that needs it is asked for, and shared by all later ones: a function that never
/// publishes never pays for SNS. To pay in Lambda's init phase, which has a whole processor, ask for the adapters there.
#[derive(Debug)]
pub struct Aws {
    config: SdkConfig,
    region: Region,
    ecr: OnceLock<aws_sdk_ecr::Client>,
    dynamodb: OnceLock<aws_sdk_dynamodb::Client>,
    kms: OnceLock<aws_sdk_kms::Client>,
    sns: OnceLock<aws_sdk_sns::Client>,
    triggers: Arc<TriggerCache>,
}

impl Aws {
    /// Reads region, credentials and endpoints through `lookup`, which answers for the environment. No file is read and no
    /// network is used: on Lambda everything is in the environment.
    ///
    /// # Errors
    /// A variable is missing or not what it should be.
    pub fn from_env(lookup: &impl Fn(&str) -> Option<String>) -> Result<Self, InvalidEnvironment> {
        let (config, region) = sdk::config(lookup)?;
        Ok(Self::new(config, region))
    }

    /// The same with another way to send requests, such as a fake AWS in memory.
    #[must_use]
    pub fn with_http_client(self, client: SharedHttpClient) -> Self {
        Self::new(self.config.into_builder().http_client(client).build(), self.region)
    }

    /// The same with another clock: `sleep` for waits between attempts and for timeouts, `time` for signatures.
    #[must_use]
    pub fn with_time(self, sleep: SharedAsyncSleep, time: SharedTimeSource) -> Self {
        let config = self.config.into_builder().sleep_impl(sleep).time_source(time).build();
        Self::new(config, self.region)
    }

    fn new(config: SdkConfig, region: Region) -> Self {
        Self {
            config,
            region,
            ecr: OnceLock::new(),
            dynamodb: OnceLock::new(),
            kms: OnceLock::new(),
            sns: OnceLock::new(),
            triggers: Arc::default(),
        }
    }

    /// The region that everything is in.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The registry of an account, to read.
    ///
    /// All of them share one memory of [`ScanTrigger`](crate::domain::finding::ScanTrigger)s; it is keyed by repository, so one
    /// `Aws` is for one account.
    pub fn ecr_registry(&self, account: AccountId) -> EcrRegistry {
        EcrRegistry::new(
            self.ecr_client(),
            account,
            self.region.clone(),
            Arc::clone(&self.triggers),
        )
    }

    /// The registry of an account, to change. In report mode nobody asks for it.
    pub fn ecr_writer(&self, account: AccountId) -> EcrWriter {
        let sleep = self.config.sleep_impl().or_else(default_async_sleep);
        EcrWriter::new(self.ecr_client(), account, self.region.clone(), sleep)
    }

    /// The ledger in a table.
    pub fn dynamo_ledger(&self, table: impl Into<String>) -> DynamoLedger {
        let client = self
            .dynamodb
            .get_or_init(|| aws_sdk_dynamodb::Client::new(&self.config));
        DynamoLedger::new(client.clone(), table.into())
    }

    /// Keys. What it learns of a key it remembers for as long as it lives: one of them is for one invocation.
    pub fn kms_keys(&self) -> KmsKeys {
        let client = self.kms.get_or_init(|| aws_sdk_kms::Client::new(&self.config));
        KmsKeys::new(client.clone())
    }

    /// The way to topics.
    pub fn sns_notifier(&self) -> SnsNotifier {
        let client = self.sns.get_or_init(|| aws_sdk_sns::Client::new(&self.config));
        SnsNotifier::new(client.clone())
    }

    /// Builds the ECR client now, and not when the first adapter needs it.
    pub fn build_ecr_client(&self) {
        self.ecr_client();
    }

    fn ecr_client(&self) -> aws_sdk_ecr::Client {
        self.ecr.get_or_init(|| ecr::client(&self.config)).clone()
    }
}

/// A time of the SDK as ours; `None` outside the years that we can write.
fn timestamp(time: &DateTime) -> Option<Timestamp> {
    let nanoseconds = i32::try_from(time.subsec_nanos()).ok()?;
    Timestamp::new(time.secs(), nanoseconds).ok()
}
