//! Copies of images: what registries of other regions have, how far ECR is, and backfills.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, PoisonError},
};

use aws_sdk_ecr::{
    Client,
    operation::start_replication_backfill::StartReplicationBackfillError,
    types::{
        ImageIdentifier, ImageReplicationStatus, ReplicationBackfillResult, ReplicationBackfillResultStatus,
        ReplicationBackfillStatus, ReplicationBackfillSummary, ReplicationDestination, ReplicationStatus,
    },
};

use super::{
    client::{DESCRIBE_IMAGES, Ecr, MAX_PAGES, PAGE_SIZE},
    image::described,
};
use crate::{
    answer::timestamp,
    error::{found, malformed, plain, port_error, present},
};
use guard_core::{
    ids::{AccountId, ImageKey, ImageRef, Region, RegistryKey, RepositoryKey},
    image::Image,
    replication::{
        backfill::{Backfill, BackfillStart},
        ledger::{BackfillFailure, BackfillStatus, Missing},
        replica::CopyState,
    },
};
use guard_ports::{PortError, Replication, ReplicationWriter};

/// The longest failure code that is kept, in characters. The codes are documented nowhere.
const MAX_CODE: usize = 128;

/// The most backfills in one answer (API reference of ECR, `ListReplicationBackfills`).
const BACKFILLS_PER_PAGE: i32 = 50;

/// Clients of ECR in other regions. They live as long as the process, with their connections.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<BTreeMap<Region, Client>>);

impl Clients {
    pub(crate) fn get(&self, region: &Region, make: impl FnOnce() -> Client) -> Client {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.entry(region.clone()).or_insert_with(make).clone()
    }
}

/// The registries of an account in other regions, to read, and what starts backfills here. See
/// [`Aws::ecr_elsewhere`](crate::Aws::ecr_elsewhere).
pub struct EcrElsewhere<'a> {
    here: Ecr,
    client_in: Box<dyn Fn(&Region) -> Client + Send + Sync + 'a>,
}

impl std::fmt::Debug for EcrElsewhere<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EcrElsewhere")
            .field("here", &self.here)
            .finish_non_exhaustive()
    }
}

impl<'a> EcrElsewhere<'a> {
    pub(crate) fn new(
        account: AccountId,
        region: Region,
        client_in: impl Fn(&Region) -> Client + Send + Sync + 'a,
    ) -> Self {
        Self {
            here: Ecr {
                client: client_in(&region),
                account,
                region,
            },
            client_in: Box::new(client_in),
        }
    }

    /// The registry of an account in a region.
    fn ecr_in(&self, account: &AccountId, region: &Region) -> Ecr {
        Ecr {
            client: (self.client_in)(region),
            account: account.clone(),
            region: region.clone(),
        }
    }
}

impl Replication for EcrElsewhere<'_> {
    /// `ecr:DescribeImageReplicationStatus`. An image that was never replicated has no statuses.
    async fn copies(&self, image: &ImageKey) -> Result<Option<BTreeMap<Region, CopyState>>, PortError> {
        const OPERATION: &str = "ecr:DescribeImageReplicationStatus";
        let ecr = self.ecr_in(&image.account, &image.region);
        let result = ecr
            .client
            .describe_image_replication_status()
            .registry_id(image.account.as_str())
            .repository_name(image.repository.as_str())
            .image_id(ImageIdentifier::builder().image_digest(image.digest.as_str()).build())
            .send()
            .await;
        // `InvalidParameterException`, `ServerException`, `ValidationException` are failures.
        let output = found(OPERATION, result, |error| {
            error.is_image_not_found_exception() || error.is_repository_not_found_exception()
        })?;
        let Some(output) = output else { return Ok(None) };
        let statuses = present(OPERATION, output.replication_statuses, "the list")?;
        let own = statuses
            .iter()
            .filter(|status| status.registry_id().is_none_or(|id| id == self.here.account.as_str()));
        Ok(Some(own.filter_map(copy).collect()))
    }

    /// `ecr:DescribeImages` of one image.
    async fn image_in(&self, key: &RepositoryKey, image: &ImageRef) -> Result<Option<Image>, PortError> {
        let ecr = self.ecr_in(&key.account, &key.region);
        match ecr.describe(&key.repository, image).await? {
            Some(detail) => described(detail)
                .map(Some)
                .map_err(|why| malformed(DESCRIBE_IMAGES, &why)),
            None => Ok(None),
        }
    }

    /// `ecr:ListReplicationBackfills`, all pages or a failure. Those to other accounts are left out.
    async fn backfills(&self) -> Result<Vec<Backfill>, PortError> {
        const OPERATION: &str = "ecr:ListReplicationBackfills";
        let mut backfills = Vec::new();
        let mut tokens = HashSet::new();
        let mut token = None;
        for _ in 0..MAX_PAGES {
            let output = self
                .here
                .client
                .list_replication_backfills()
                .registry_id(self.here.account.as_str())
                .max_results(BACKFILLS_PER_PAGE)
                .set_next_token(token)
                .send()
                .await
                // `InvalidParameterException`, `ServerException`, `ValidationException`, and what is not modelled.
                .map_err(|error| port_error(OPERATION, &error))?;
            let page = output
                .backfills
                .ok_or_else(|| malformed(OPERATION, "the answer does not hold the list"))?;
            backfills.extend(page.iter().filter_map(|summary| backfill(summary, &self.here.account)));
            token = output.next_token.filter(|token| !token.is_empty());
            match &token {
                None => {
                    backfills.sort_by_key(|backfill| std::cmp::Reverse(backfill.started_at));
                    return Ok(backfills);
                }
                Some(next) if !tokens.insert(next.clone()) => break,
                Some(_) => {}
            }
        }
        Err(malformed(OPERATION, "the pages lead round in circles, or are too many"))
    }

    /// `ecr:DescribeReplicationBackfillResults` of what failed, until there is enough.
    async fn backfill_failures(&self, id: &str, most: usize) -> Result<Vec<BackfillFailure>, PortError> {
        const OPERATION: &str = "ecr:DescribeReplicationBackfillResults";
        let mut failures: Vec<BackfillFailure> = Vec::new();
        let mut tokens = HashSet::new();
        let mut token = None;
        while failures.len() < most {
            let output = self
                .here
                .client
                .describe_replication_backfill_results()
                .registry_id(self.here.account.as_str())
                .replication_backfill_id(id)
                .result_status_filter(ReplicationBackfillResultStatus::Failed)
                .max_results(PAGE_SIZE)
                .set_next_token(token)
                .send()
                .await
                // `InvalidParameterException`, `ReplicationBackfillNotFoundException` (it was just listed), `ServerException`,
                // `ValidationException`, and what is not modelled.
                .map_err(|error| port_error(OPERATION, &error))?;
            let results = output.results.as_ref();
            let results = present(OPERATION, results, "the list")?;
            failures.extend(results.iter().filter_map(backfill_failure));
            token = output.next_token.filter(|token| !token.is_empty());
            match &token {
                None => break,
                Some(next) if !tokens.insert(next.clone()) => {
                    return Err(malformed(OPERATION, "the pages lead round in circles"));
                }
                Some(_) => {}
            }
        }
        failures.truncate(most);
        Ok(failures)
    }
}

/// Starts backfills in one registry. It does not exist in report mode.
#[derive(Debug, Clone)]
pub struct EcrBackfills {
    ecr: Ecr,
}

impl EcrBackfills {
    pub(crate) fn new(client: Client, account: AccountId, region: Region) -> Self {
        Self {
            ecr: Ecr {
                client,
                account,
                region,
            },
        }
    }
}

impl ReplicationWriter for EcrBackfills {
    /// `ecr:StartReplicationBackfill`. A second one to the same destination, while the first runs, is an error of its own.
    async fn start_backfill(&self, from: &RegistryKey, to: &Region) -> Result<BackfillStart, PortError> {
        const OPERATION: &str = "ecr:StartReplicationBackfill";
        self.ecr.is_of("registry", &from.account, &from.region, OPERATION)?;
        let destination = ReplicationDestination::builder()
            .region(to.as_str())
            .registry_id(from.account.as_str())
            .build()
            .map_err(|error| malformed(OPERATION, &error.to_string()))?;
        let result = self
            .ecr
            .client
            .start_replication_backfill()
            .registry_id(from.account.as_str())
            .destination(destination)
            .send()
            .await;
        match result {
            Ok(output) => match output.replication_backfill_id.filter(|id| !id.is_empty()) {
                Some(id) => Ok(BackfillStart::Started(plain(&id, MAX_CODE))),
                None => Err(malformed(OPERATION, "the answer does not hold the id")),
            },
            Err(error) => match error.as_service_error() {
                Some(StartReplicationBackfillError::ReplicationBackfillInProgressException(_)) => {
                    Ok(BackfillStart::AnotherRuns)
                }
                // No rule for the destination, or ten run already.
                Some(
                    StartReplicationBackfillError::InvalidParameterException(_)
                    | StartReplicationBackfillError::LimitExceededException(_)
                    | StartReplicationBackfillError::ValidationException(_),
                ) => Ok(BackfillStart::Refused(port_error(OPERATION, &error).to_string())),
                // `ServerException`, and what is not modelled.
                _ => Err(port_error(OPERATION, &error)),
            },
        }
    }
}

/// The state of a copy. One whose region cannot be read is left out; a status that we do not know is not an arrival.
fn copy(status: &ImageReplicationStatus) -> Option<(Region, CopyState)> {
    let region = status.region()?.parse().ok()?;
    let state = match status.status() {
        Some(ReplicationStatus::Complete) => CopyState::Complete,
        Some(ReplicationStatus::Failed) => {
            CopyState::Missing(Missing::Failed(status.failure_code().map(|code| plain(code, MAX_CODE))))
        }
        _ => CopyState::Missing(Missing::InProgress),
    };
    Some((region, state))
}

fn backfill(summary: &ReplicationBackfillSummary, account: &AccountId) -> Option<Backfill> {
    let destination = summary
        .destination()
        .filter(|destination| destination.registry_id() == account.as_str())?;
    Some(Backfill {
        id: plain(summary.replication_backfill_id(), MAX_CODE),
        to: destination.region().parse().ok()?,
        status: match summary.status() {
            ReplicationBackfillStatus::Complete => BackfillStatus::Complete,
            ReplicationBackfillStatus::Failed => BackfillStatus::Failed,
            ReplicationBackfillStatus::Stopped => BackfillStatus::Stopped,
            // `PREPARING`, `IN_PROGRESS`, `STOPPING`, and words that are new: it is checked again.
            _ => BackfillStatus::Running,
        },
        started_at: timestamp(summary.started_at()),
        failure: summary.failure_code().map(|code| plain(code, MAX_CODE)),
    })
}

/// An image that was not copied. One that cannot be named is left out: it is missing in the other region, which shows without this.
fn backfill_failure(result: &ReplicationBackfillResult) -> Option<BackfillFailure> {
    let codes = result.failure_code().into_iter();
    let codes = codes.chain(result.sub_image_failure_codes().iter().map(String::as_str));
    let codes: Vec<String> = codes.map(|code| plain(code, MAX_CODE)).collect();
    Some(BackfillFailure {
        repository: result.repository_name().parse().ok()?,
        digest: result.image_id()?.image_digest()?.parse().ok()?,
        code: if codes.is_empty() {
            "FAILED".to_owned()
        } else {
            codes.join(", ")
        },
    })
}
