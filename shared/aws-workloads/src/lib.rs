//! What lists workloads, with the AWS SDK.
//!
//! A crate of its own, so that only the function `workloads` has these clients in it. All calls read. One of them can do more than it needs:
//! `GetFunction` also answers where the code of a function of a zip lies, so it is only asked about functions of images, and roles name
//! the functions that it may be asked about.
//!
//! | module | service |
//! |---|---|
//! | `ecs` | ECS: tasks, services and their revisions, task definitions |
//! | `lambda` | Lambda: versions of functions of images |
//! | `batch` | Batch: active job definitions |
//! | `accounts` | STS: roles of other accounts |

mod accounts;
mod batch;
mod ecs;
mod lambda;

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use aws_smithy_async::rt::sleep::{AsyncSleep as _, default_async_sleep};
use aws_types::SdkConfig;
use jiff::Timestamp;

use guard_aws::{Aws, answer::next_page, error::port_error};
use guard_core::{
    ids::{AccountId, Region},
    uses::{KnownImages, LambdaVersions, SourceKind, WorkloadRules, WorkloadSource},
};
use guard_ports::{ListedWorkloads, PortError, Workloads};

use accounts::Accounts;

/// What lists the workloads of one region, for one run.
pub struct AwsWorkloads {
    accounts: Accounts,
    clock: Clock,
    until: Timestamp,
    began: Timestamp,
    lambda_versions: LambdaVersions,
    task_definitions: bool,
}

impl fmt::Debug for AwsWorkloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsWorkloads").finish_non_exhaustive()
    }
}

impl AwsWorkloads {
    /// `own`: the account whose role the function has. `external_id`: what the roles of other accounts ask for. After `until` nothing new is
    /// asked for: the list is then incomplete, and the next run goes on where this one stopped.
    pub fn new(
        aws: &Aws,
        own: AccountId,
        rules: &WorkloadRules,
        external_id: Option<String>,
        until: Timestamp,
    ) -> Self {
        let roles: BTreeMap<AccountId, String> = rules
            .accounts
            .iter()
            .map(|account| (account.id.clone(), account.role.clone()))
            .collect();
        let clock = Clock::of(aws.sdk_config());
        Self {
            accounts: Accounts::new(aws.sdk_config().clone(), aws.region().clone(), own, roles, external_id),
            began: clock.now(),
            clock,
            until,
            lambda_versions: rules.lambda_versions,
            task_definitions: rules.task_definitions,
        }
    }
}

impl Workloads for AwsWorkloads {
    async fn list(&self, source: &WorkloadSource, known: &KnownImages) -> ListedWorkloads {
        let config = match self.accounts.config(&source.account).await {
            Ok(config) => config,
            // What is known stays known: the account is there again some day.
            Err(failure) => {
                return ListedWorkloads {
                    seen: Vec::new(),
                    known: known.only(&[prefix(source)]),
                    failures: vec![failure],
                };
            }
        };
        let known = Remembered::new(known, prefix(source));
        match &source.kind {
            SourceKind::Ecs => ecs::list(&config, source, known, self.task_definitions).await,
            SourceKind::Lambda => lambda::list(self, &config, source, known).await,
            SourceKind::Batch => batch::list(&config, source).await,
            SourceKind::Kubernetes(_) => ListedWorkloads::default(),
        }
    }

    async fn clusters(&self, account: &AccountId) -> Result<Vec<String>, PortError> {
        const OPERATION: &str = "eks:ListClusters";
        let config = self.accounts.config(account).await?;
        let client = &aws_sdk_eks::Client::new(&config);
        let (names, failure) = pages(OPERATION, |next| async move {
            let page = client
                .list_clusters()
                .max_results(100)
                .set_next_token(next)
                .send()
                .await;
            match page {
                Ok(page) => (page.clusters.unwrap_or_default(), Ok(page.next_token)),
                Err(error) => (Vec::new(), Err(port_error(OPERATION, &error))),
            }
        })
        .await;
        failure.map_or(Ok(names), Err)
    }
}

/// What the names of everything begin with that is known of a list.
fn prefix(source: &WorkloadSource) -> String {
    format!("{}/{}/", source.kind, source.account)
}

/// A page of a list, and where the next one begins.
type Page<T> = (Vec<T>, Result<Option<String>, PortError>);

/// Reads a list to its end. Beside a failure stands what was read before.
async fn pages<T, F: Future<Output = Page<T>>>(
    operation: &'static str,
    read: impl Fn(Option<String>) -> F,
) -> (Vec<T>, Option<PortError>) {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (items, next) = read(after.clone()).await;
        all.extend(items);
        match next.and_then(|next| next_page(operation, after.as_deref(), next)) {
            Ok(None) => return (all, None),
            Ok(next) => after = next,
            Err(failure) => return (all, Some(failure)),
        }
    }
}

/// What was known of a list, and what of that is still of use.
struct Remembered<'a> {
    before: &'a KnownImages,
    prefix: String,
    now: KnownImages,
}

impl<'a> Remembered<'a> {
    fn new(before: &'a KnownImages, prefix: String) -> Self {
        Self {
            before,
            prefix,
            now: KnownImages::default(),
        }
    }

    /// What was known of something before. It is kept.
    fn take(&mut self, name: &str) -> Option<Vec<String>> {
        let name = format!("{}{name}", self.prefix);
        let images = self.before.get(&name).or_else(|| self.now.get(&name))?.to_vec();
        self.now.insert(name, images.clone());
        Some(images)
    }

    /// Something has this from now on.
    fn put(&mut self, name: &str, images: Vec<String>) {
        self.now.insert(format!("{}{name}", self.prefix), images);
    }

    /// All that is to be kept. Of a list that was not seen to its end, all that was known: the rest of it is of use as well.
    fn keep(self, complete: bool) -> KnownImages {
        if complete {
            return self.now;
        }
        let mut known = self.before.only(&[self.prefix]);
        known.extend(self.now);
        known
    }
}

/// The time, and how to let it pass, as the SDK has them.
#[derive(Debug, Clone)]
struct Clock(SdkConfig);

impl Clock {
    fn of(config: &SdkConfig) -> Self {
        Self(config.clone())
    }

    fn now(&self) -> Timestamp {
        let time = self.0.time_source().unwrap_or_default().now();
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
    }

    async fn pause(&self, time: Duration) {
        if let Some(sleep) = self.0.sleep_impl().or_else(default_async_sleep) {
            sleep.sleep(time).await;
        }
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
