//! The present lists of registries, for the repositories that a ledger knows: `ecr:DescribeImages` and
//! `ecr:GetRepositoryPolicy`. Nothing is pulled.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use guard_aws::{Aws, ecr::EcrRegistry};
use guard_core::{
    ids::{Region, RepositoryKey},
    image::ListedImage,
    snapshot::{SnapshotAccess, SnapshotGap, SnapshotListed, SnapshotRecord},
};
use guard_ports::{Listing as _, Page, PortError, Registry as _};

use super::{identity::Identity, ledger::Each};
use crate::ledgers::NotRead;

/// The repositories that are listed at the same time.
const AT_A_TIME: usize = 8;

/// The repositories that were met in the ledger.
#[derive(Default)]
pub(super) struct Registries(BTreeSet<RepositoryKey>);

type Answer = (RepositoryKey, Result<Option<Page<ListedImage>>, PortError>);

impl Registries {
    pub(super) fn note(&mut self, record: &SnapshotRecord) {
        let key = match record {
            SnapshotRecord::Image(row) => RepositoryKey::of(&row.image),
            SnapshotRecord::Summary(summary) => summary.repository.clone(),
            _ => return,
        };
        if !self.0.contains(&key) {
            self.0.insert(key);
        }
    }

    /// Lists them. A repository that cannot be listed is a record that says so: what is known of the others stands.
    pub(super) async fn list(self, identity: &Identity, each: &mut Each<'_>) -> Result<(), NotRead> {
        let mut regions: BTreeMap<Region, Aws> = BTreeMap::new();
        let mut waiting: Vec<(RepositoryKey, EcrRegistry)> = Vec::new();
        for key in self.0 {
            let aws = regions
                .entry(key.region.clone())
                .or_insert_with(|| identity.registries(&key.region));
            let registry = aws.ecr_registry(key.account.clone());
            waiting.push((key, registry));
        }
        let mut pages = FuturesUnordered::new();
        loop {
            while pages.len() < AT_A_TIME {
                let Some((key, registry)) = waiting.pop() else { break };
                access(&key, &registry, each).await?;
                pages.push(page(key, registry, None));
            }
            let Some(((key, answer), registry)) = pages.next().await else {
                return Ok(());
            };
            if let Some(next) = give(&key, answer, each)? {
                pages.push(page(key, registry, Some(next)));
            }
        }
    }
}

async fn page(key: RepositoryKey, registry: EcrRegistry, after: Option<String>) -> (Answer, EcrRegistry) {
    let answer = registry.images(&key, after.as_deref()).await;
    ((key, answer), registry)
}

fn gap(key: &RepositoryKey, error: &PortError) -> SnapshotRecord {
    SnapshotRecord::Unreadable(SnapshotGap {
        what: format!("the list of `{}` in {}", key.repository, key.region),
        why: error.to_string(),
    })
}

/// Gives what a page has, and where the next one begins.
fn give(
    key: &RepositoryKey,
    answer: Result<Option<Page<ListedImage>>, PortError>,
    each: &mut Each<'_>,
) -> Result<Option<String>, NotRead> {
    let page = match answer {
        Ok(page) => page,
        Err(error) => {
            each(gap(key, &error))?;
            return Ok(None);
        }
    };
    // There is no such repository any more: its list has nothing.
    let page = page.unwrap_or(Page {
        items: Vec::new(),
        unreadable: Vec::new(),
        next: None,
    });
    for listed in page.items {
        let repository = key.clone();
        each(SnapshotRecord::Listed(Box::new(SnapshotListed { repository, listed })))?;
    }
    for error in &page.unreadable {
        each(gap(key, error))?;
    }
    if page.next.is_none() {
        each(SnapshotRecord::ListedAll(key.clone()))?;
    }
    Ok(page.next)
}

async fn access(key: &RepositoryKey, registry: &EcrRegistry, each: &mut Each<'_>) -> Result<(), NotRead> {
    each(match registry.repository_policy(key).await {
        Ok(document) => SnapshotRecord::Access(SnapshotAccess {
            repository: key.clone(),
            document,
        }),
        Err(error) => SnapshotRecord::Unreadable(SnapshotGap {
            what: format!("the policy of the repository `{}` in {}", key.repository, key.region),
            why: error.to_string(),
        }),
    })?;
    Ok(())
}
