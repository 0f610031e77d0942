//! The services of a function on AWS.

use std::{sync::OnceLock, time::Duration};

use guard_aws::{
    Aws,
    dynamodb::DynamoLedger,
    ecr::{
        EcrRegistry, EcrWriter,
        replication::{EcrBackfills, EcrElsewhere},
    },
    kms::KmsKeys,
    sns::SnsNotifier,
};
use guard_core::{
    finding::ScanStart,
    glob::Glob,
    ids::{AccountId, ImageKey, RepositoryKey, Tag},
    image::ImageStatus,
    policy::Policy,
    repository::{decide::Preview, posture::TagMutability},
    work::WorkItem,
};
use guard_engine::alert_budget::BudgetedNotifier;
use guard_ports::{Clock, Manifest, PortError, Queue, RegistryWriter, RepositoryWriter, Retry, Services, TagAnswer};

/// The state of a function for as long as its process lives.
#[derive(Debug, Clone, Copy)]
pub struct Lasting<'a, C> {
    /// The way to AWS.
    pub aws: &'a Aws,
    /// The ledger.
    pub ledger: &'a DynamoLedger,
    /// The topics.
    pub topics: &'a SnsNotifier,
    /// The policy.
    pub policy: &'a Policy,
    /// The time.
    pub clock: &'a C,
}

impl<'a, C> Lasting<'a, C> {
    /// The writer of an account's registry; `None` where the policy enforces nowhere.
    pub fn writer(&self, account: &AccountId) -> Option<EcrWriter> {
        let enforces = self.policy.enforces_anywhere();
        enforces.then(|| self.aws.ecr_writer(account.clone()))
    }

    /// The services of one invocation. `writer`: changes the registry; `queue`: takes the work items, or [`NoQueue`].
    pub fn services<W, Q>(&self, account: AccountId, writer: Option<W>, queue: &'a Q) -> AwsServices<'a, W, Q, C> {
        AwsServices {
            lasting: Lasting { ..*self },
            registry: self.aws.ecr_registry(account.clone()),
            writer,
            elsewhere: OnceLock::new(),
            backfills: OnceLock::new(),
            keys: OnceLock::new(),
            notifier: BudgetedNotifier::new(self.topics, self.ledger, self.clock, self.policy),
            queue,
            account,
        }
    }
}

/// The services of an invocation: the registry of its account, with the answers that it remembers.
///
/// Services that only some functions need are built when they are asked for.
#[derive(Debug)]
pub struct AwsServices<'a, W, Q, C> {
    lasting: Lasting<'a, C>,
    account: AccountId,
    registry: EcrRegistry,
    writer: Option<W>,
    elsewhere: OnceLock<EcrElsewhere<'a>>,
    backfills: OnceLock<EcrBackfills>,
    /// A key is asked for once in an invocation.
    keys: OnceLock<KmsKeys>,
    notifier: BudgetedNotifier<'a, SnsNotifier, DynamoLedger, C>,
    queue: &'a Q,
}

impl<W, Q, C> AwsServices<'_, W, Q, C> {
    /// The same with these repositories only on the registry's list; with none, all are.
    #[must_use]
    pub fn only(self, names: &[Glob]) -> Self {
        Self {
            registry: self.registry.only(names),
            ..self
        }
    }
}

impl<'a, W, Q, C> Services for AwsServices<'a, W, Q, C>
where
    W: RegistryWriter + RepositoryWriter + Sync,
    Q: Queue + Sync,
    C: Clock + Sync,
{
    type Registry = EcrRegistry;
    type Elsewhere = EcrElsewhere<'a>;
    type Writer = W;
    type Backfills = EcrBackfills;
    type Keys = KmsKeys;
    type Ledger = DynamoLedger;
    type Notifier = BudgetedNotifier<'a, SnsNotifier, DynamoLedger, C>;
    type Queue = Q;
    type Clock = C;

    fn registry(&self) -> &EcrRegistry {
        &self.registry
    }

    fn elsewhere(&self) -> &EcrElsewhere<'a> {
        let build = || self.lasting.aws.ecr_elsewhere(self.account.clone());
        self.elsewhere.get_or_init(build)
    }

    fn writer(&self) -> Option<&W> {
        self.writer.as_ref()
    }

    fn backfills(&self) -> Option<&EcrBackfills> {
        let build = || self.lasting.aws.ecr_backfills(self.account.clone());
        let enforces = self.lasting.policy.enforces_anywhere();
        enforces.then(|| self.backfills.get_or_init(build))
    }

    fn keys(&self) -> &KmsKeys {
        self.keys.get_or_init(|| self.lasting.aws.kms_keys())
    }

    fn ledger(&self) -> &DynamoLedger {
        self.lasting.ledger
    }

    fn notifier(&self) -> &Self::Notifier {
        &self.notifier
    }

    fn queue(&self) -> &Q {
        self.queue
    }

    fn clock(&self) -> &C {
        self.lasting.clock
    }
}

/// The writer of a function that has none: no value of it can exist.
#[derive(Debug, Clone, Copy)]
pub enum NoWriter {}

impl RegistryWriter for NoWriter {
    async fn archive(&self, _: &ImageKey) -> Result<ImageStatus, PortError> {
        match *self {}
    }

    async fn restore(&self, _: &ImageKey) -> Result<ImageStatus, PortError> {
        match *self {}
    }

    async fn manifest_to_put(&self, _: &ImageKey) -> Result<Option<Manifest>, PortError> {
        match *self {}
    }

    async fn put(&self, _: &ImageKey, _: &Manifest, _: &Tag) -> Result<(), PortError> {
        match *self {}
    }

    async fn remove_tags(&self, _: &RepositoryKey, _: &[Tag]) -> Result<Vec<(Tag, TagAnswer)>, PortError> {
        match *self {}
    }

    async fn start_scan(&self, _: &ImageKey) -> Result<ScanStart, PortError> {
        match *self {}
    }
}

impl RepositoryWriter for NoWriter {
    async fn set_tag_mutability(&self, _: &RepositoryKey, _: &TagMutability) -> Result<(), PortError> {
        match *self {}
    }

    async fn set_scan_on_push(&self, _: &RepositoryKey) -> Result<(), PortError> {
        match *self {}
    }

    async fn set_repository_policy(&self, _: &RepositoryKey, _: Option<&str>) -> Result<(), PortError> {
        match *self {}
    }

    async fn set_lifecycle_policy(&self, _: &RepositoryKey, _: &str) -> Result<(), PortError> {
        match *self {}
    }

    async fn preview_lifecycle_policy(
        &self,
        _: &RepositoryKey,
        _: &str,
        _: bool,
    ) -> Result<Option<Preview>, PortError> {
        match *self {}
    }
}

/// The queue of a function that leaves no work to others.
#[derive(Debug, Clone, Copy)]
pub struct NoQueue;

impl NoQueue {
    fn refusal() -> PortError {
        PortError {
            retry: Retry::Never,
            operation: "sqs:SendMessage",
            code: "NoQueue".to_owned(),
            message: "this function has no queue".to_owned(),
            request_id: None,
        }
    }
}

impl Queue for NoQueue {
    async fn send(&self, _: &[WorkItem], _: Duration) -> Result<(), PortError> {
        Err(Self::refusal())
    }

    async fn waiting(&self) -> Result<u64, PortError> {
        Err(Self::refusal())
    }
}
