//! Lists workloads with the AWS SDK.
//!
//! A crate of its own, so that only the functions `workloads` and `gate` have these clients in them. All calls read. One of them can do more than it needs:
//! `GetFunction` also answers where the code of a function of a zip lies, so it is only asked about functions of images, and roles name
//! the functions that it may be asked about.
//!
//! | module | service |
//! |---|---|
//! | `ecs` | ECS: tasks, services and their revisions, task definitions |
//! | `revisions` | ECS: the images of one revision, for the function `gate` |
//! | `lambda` | Lambda: versions of functions of images |
//! | `batch` | Batch: active job definitions |
//! | `accounts` | STS: roles of other accounts |

mod accounts;
mod batch;
mod ecs;
mod lambda;
mod pages;
mod remembered;
mod revisions;
mod run;

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;

use guard_aws::{Aws, error::port_error};
use guard_core::{
    ids::AccountId,
    uses::{KnownImages, SourceKind, WorkloadRules, WorkloadSource},
};
use guard_ports::{ListedWorkloads, PortError, Workloads};

use accounts::Accounts;
use pages::pages;
use remembered::{Remembered, prefix};
pub use revisions::EcsRevisions;
use run::{Clock, Run, Time};

/// Lists the workloads of one region, for one run.
pub struct AwsWorkloads {
    accounts: Accounts,
    run: Run,
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
            run: Run {
                began: clock.now(),
                time: Time { clock, until },
                lambda_versions: rules.lambda_versions,
                task_definitions: rules.task_definitions,
            },
        }
    }
}

impl Workloads for AwsWorkloads {
    async fn list(&self, source: &WorkloadSource, known: &KnownImages) -> ListedWorkloads {
        let config = match self.accounts.config(&source.account).await {
            Ok(config) => config,
            // Known facts stay known: the account may be there again some day.
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
            SourceKind::Ecs => ecs::list(&config, &self.run.time, source, known, self.run.task_definitions).await,
            SourceKind::Lambda => lambda::list(&self.run, &config, source, known).await,
            SourceKind::Batch => batch::list(&config, &self.run.time, source).await,
            SourceKind::Kubernetes(_) => ListedWorkloads::default(),
        }
    }

    async fn clusters(&self, account: &AccountId) -> Result<Vec<String>, PortError> {
        const OPERATION: &str = "eks:ListClusters";
        let config = self.accounts.config(account).await?;
        let client = &aws_sdk_eks::Client::new(&config);
        let (names, failure) = pages(&self.run.time, OPERATION, |next| async move {
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
