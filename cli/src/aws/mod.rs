//! The AWS edge: who the caller is, and what is read of a ledger and of registries. No call here writes.

mod gate;
mod identity;
mod invoke;
mod ledger;
mod operate;
mod registry;

use std::io;

use guard_core::{
    ids::{AccountId, Region},
    snapshot::{SNAPSHOT_SCHEMA, SnapshotHeader, SnapshotLine, SnapshotRecord},
};
use jiff::Timestamp;

use self::{gate::AwsGatekeeper, identity::Identity, ledger::LedgerReader, operate::AwsOperator, registry::Registries};
use crate::{
    gate::Gatekeeper,
    ledgers::{Extent, NotRead, Place},
    release::Operator,
};

/// The way to the function `operate`.
///
/// # Errors
/// The caller has no identity.
pub fn operator(place: &Place) -> Result<Box<dyn Operator>, NotRead> {
    Ok(Box::new(AwsOperator::new(place)?))
}

/// The way to the function `gate`.
///
/// # Errors
/// The caller has no region.
pub fn gatekeeper(place: &Place) -> Result<Box<dyn Gatekeeper>, NotRead> {
    Ok(Box::new(AwsGatekeeper::new(place)?))
}

/// Gives each line of a snapshot of a ledger to `each`, but for the last one.
///
/// # Errors
/// The caller has no identity, a call failed, or `each` did.
pub fn take(
    place: &Place,
    extent: &Extent,
    now: Timestamp,
    each: &mut dyn FnMut(SnapshotLine) -> io::Result<()>,
) -> Result<(), NotRead> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let identity = Identity::load(place).await?;
        each(SnapshotLine::Snapshot(SnapshotHeader {
            schema: SNAPSHOT_SCHEMA.to_owned(),
            taken_at: now,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            table: place.table.clone(),
            region: identity.region.clone(),
            repository: extent.repository.as_ref().map(|(_, name)| name.clone()),
        }))?;
        let mut registries = Registries::default();
        let mut record = |record: SnapshotRecord| {
            registries.note(&record);
            each(SnapshotLine::Record(record))
        };
        let ledger = LedgerReader::new(&identity, place);
        match &extent.repository {
            None => ledger.all(&mut record).await?,
            Some((account, name)) => {
                let account = match account {
                    Some(account) => account.clone(),
                    None => identity.account().await?,
                };
                ledger.repository(&account, name, &mut record).await?;
            }
        }
        if extent.registries {
            registries
                .list(&identity, &mut |record| each(SnapshotLine::Record(record)))
                .await?;
        }
        Ok(())
    })
}

/// An image that a tag names now: `ecr:DescribeImages`, never a pull.
///
/// # Errors
/// The caller has no identity, or the call failed.
pub fn account(place: &Place) -> Result<(AccountId, Region), NotRead> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let identity = Identity::load(place).await?;
        Ok((identity.account().await?, identity.region))
    })
}
