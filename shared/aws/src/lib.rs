//! The ports, with the AWS SDK.
//!
//! [`Aws`] is the way in: it reads the environment once and hands out adapters. Nothing of the SDK comes out of them: answers
//! are domain values, failures are [`PortError`](guard_ports::PortError)s that `error` makes, in one place.
//!
//! | module | port | service |
//! |---|---|---|
//! | [`ecr`] | `Registry`, `Scanner`, `RegistryWriter`, `Repositories`, `RepositoryWriter`, `Listing`, `Replication`, `ReplicationWriter` | ECR |
//! | [`kms`] | `Keys` | KMS |
//! | [`dynamodb`] | `Ledger`, `RepositoryLedger`, `SweepLedger`, `ReplicationLedger`, `AlertLedger`, `PolicyLedger`, `ReleaseLedger` | DynamoDB |
//! | [`sns`] | `Notifier` | SNS |
//! | [`sqs`] | `Queue` | SQS |
//! | [`sts`] | `Callers` | AWS STS |

pub mod answer;
pub mod dynamodb;
pub mod ecr;
pub mod error;
pub mod http;
pub mod kms;
mod sdk;
pub mod sns;
pub mod sqs;
pub mod sts;

use std::sync::{Arc, OnceLock};

use aws_smithy_async::{
    rt::sleep::{SharedAsyncSleep, default_async_sleep},
    time::SharedTimeSource,
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::SdkConfig;

use self::{
    dynamodb::DynamoLedger,
    ecr::{
        EcrRegistry, EcrWriter, TriggerCache,
        replication::{Clients, EcrBackfills, EcrElsewhere},
    },
    kms::KmsKeys,
    sns::SnsNotifier,
    sqs::SqsQueue,
};
use guard_core::ids::{AccountId, Region, RepositoryName};

pub use self::sdk::InvalidEnvironment;

/// A client's configuration. Each client has a retry budget and a rate of its own; by default the clients of a service share them in a
/// process, so that trouble with one region would cost the calls to another.
macro_rules! builder {
    ($aws:expr, $sdk:ident) => {{
        let own = $sdk::config::retry::RetryPartition::custom("client").build();
        $sdk::config::Builder::from(&$aws.config).retry_partition(own)
    }};
}

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
    sqs: OnceLock<aws_sdk_sqs::Client>,
    triggers: Arc<TriggerCache>,
    elsewhere: Clients,
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

    /// With a configuration of somebody else: that of a person's own profile, for the command line.
    pub fn with_config(config: SdkConfig, region: Region) -> Self {
        Self::new(config, region)
    }

    /// The same with another way to send requests, such as a fake AWS in memory.
    #[must_use]
    pub fn with_http_client(self, client: SharedHttpClient) -> Self {
        let config = self.config.into_builder().http_client(client).build();
        Self::new(config, self.region)
    }

    /// The same for functions that work through lists and for which nobody waits, `sweep` and `worker`: a call has more attempts, and
    /// all calls to a service slow down when it throttles.
    #[must_use]
    pub fn for_sweeps(self) -> Self {
        Self::new(sdk::for_sweeps(self.config), self.region)
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
            sqs: OnceLock::new(),
            triggers: Arc::default(),
            elsewhere: Clients::default(),
        }
    }

    /// The configuration that all clients share: for clients that other crates build.
    pub fn sdk_config(&self) -> &SdkConfig {
        &self.config
    }

    /// The region that everything is in.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The registry of an account, to read.
    ///
    /// All of them share one memory of [`ScanTrigger`](guard_core::finding::ScanTrigger)s; it is keyed by repository, so one
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
        EcrWriter::new(self.ecr_client(), account, self.region.clone(), self.sleep())
    }

    /// The registries of an account in other regions, to read; also this one, for backfills.
    pub fn ecr_elsewhere(&self, account: AccountId) -> EcrElsewhere<'_> {
        EcrElsewhere::new(account, self.region.clone(), |region| {
            if *region == self.region {
                return self.ecr_client();
            }
            self.elsewhere.get(region, || {
                let region = aws_sdk_ecr::config::Region::new(region.as_str().to_owned());
                ecr::client(builder!(self, aws_sdk_ecr).region(region))
            })
        })
    }

    /// Starts backfills of an account's registry. In report mode nobody asks for it.
    pub fn ecr_backfills(&self, account: AccountId) -> EcrBackfills {
        EcrBackfills::new(self.ecr_client(), account, self.region.clone())
    }

    /// The ledger in a table.
    pub fn dynamo_ledger(&self, table: impl Into<String>) -> DynamoLedger {
        let client = self
            .dynamodb
            .get_or_init(|| aws_sdk_dynamodb::Client::from_conf(builder!(self, aws_sdk_dynamodb).build()));
        DynamoLedger::new(client.clone(), table.into())
    }

    /// Keys. It remembers their answers for as long as it lives: one of them is for one invocation.
    pub fn kms_keys(&self) -> KmsKeys {
        let client = self
            .kms
            .get_or_init(|| aws_sdk_kms::Client::from_conf(builder!(self, aws_sdk_kms).build()));
        KmsKeys::new(client.clone())
    }

    /// The way to topics.
    pub fn sns_notifier(&self) -> SnsNotifier {
        let client = self
            .sns
            .get_or_init(|| aws_sdk_sns::Client::from_conf(builder!(self, aws_sdk_sns).build()));
        SnsNotifier::new(client.clone())
    }

    /// The queue at a URL.
    pub fn sqs_queue(&self, url: impl Into<String>) -> SqsQueue {
        let client = self
            .sqs
            .get_or_init(|| aws_sdk_sqs::Client::from_conf(builder!(self, aws_sdk_sqs).build()));
        SqsQueue::new(client.clone(), url.into(), self.sleep())
    }

    /// Builds the ECR client now, and not when the first adapter needs it.
    pub fn build_ecr_client(&self) {
        self.ecr_client();
    }

    /// Opens the connections to the registry that a first question takes, by two looks side by side at an image that is nowhere. Whatever is
    /// answered, the connections are there: it has no result.
    pub async fn connect_to_ecr(&self, repository: &RepositoryName) {
        ecr::connect(&self.ecr_client(), repository).await;
    }

    fn ecr_client(&self) -> aws_sdk_ecr::Client {
        let client = self.ecr.get_or_init(|| ecr::client(builder!(self, aws_sdk_ecr)));
        client.clone()
    }

    fn sleep(&self) -> Option<SharedAsyncSleep> {
        self.config.sleep_impl().or_else(default_async_sleep)
    }
}
