//! Lists workloads, over the AWS SDK's runtime.
//!
//! A crate of its own, so that only the functions `workloads` and `gate` have these calls in them. All of them read. One of them can do more than it needs:
//! `GetFunction` also answers where the code of a function of a zip lies, so it is only asked about functions of images, and roles name
//! the functions that it may be asked about.
//!
//! | module | service |
//! |---|---|
//! | `ecs` | ECS: tasks, services and their revisions, task definitions |
//! | `revisions` | ECS: the images of one revision, for the function `gate` |
//! | `lambda` | Lambda: versions of functions of images |
//! | `batch` | Batch: active job definitions |
//! | `client` | the client that all of them share |
//! | `accounts` | STS: roles of other accounts |

mod accounts;
mod batch;
mod client;
mod ecs;
mod lambda;
mod pages;
mod remembered;
mod revisions;
mod run;

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::Deserialize;

use guard_aws::Aws;
use guard_core::{
    ids::AccountId,
    uses::{KnownImages, SourceKind, WorkloadRules, WorkloadSource},
};
use guard_ports::{ListedWorkloads, PortError, Workloads};

use accounts::Accounts;
use client::{Client, Service, list as nullable};
use pages::pages;
use remembered::{Remembered, prefix};
pub use revisions::EcsRevisions;
use run::{Clock, Run, Time};

/// A page of `eks:ListClusters`. Source: EKS API reference.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Clusters {
    #[serde(deserialize_with = "nullable")]
    clusters: Vec<String>,
    next_token: Option<String>,
}

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
                max_age: rules.max_age,
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
                    as_of: None,
                };
            }
        };
        let known = Remembered::new(known, prefix(source));
        match &source.kind {
            SourceKind::Ecs => ecs::list(&self.run, &config, source, known).await,
            SourceKind::Lambda => lambda::list(&self.run, &config, source, known).await,
            SourceKind::Batch => batch::list(&config, &self.run.time, source).await,
            SourceKind::Kubernetes(_) => ListedWorkloads::default(),
        }
    }

    async fn clusters(&self, account: &AccountId) -> Result<Vec<String>, PortError> {
        const OPERATION: &str = "eks:ListClusters";
        let config = self.accounts.config(account).await?;
        let client = &Client::new(&config, Service::Eks);
        let (names, failure) = pages(&self.run.time, OPERATION, |next| async move {
            let members = [("maxResults", Some("100")), ("nextToken", next.as_deref())];
            match client.get::<Clusters>(OPERATION, "/clusters", &members).await {
                Ok(page) => (page.clusters, Ok(page.next_token)),
                Err(error) => (Vec::new(), Err(error)),
            }
        })
        .await;
        failure.map_or(Ok(names), Err)
    }
}
