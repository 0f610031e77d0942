//! The ledger's table, to read: a whole one with `Scan`, one repository with `Query`.
//!
//! This is an adapter of its own: those of the functions can write.

use std::{
    collections::{BTreeSet, HashMap},
    io,
};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use guard_aws::error::port_error;
use guard_core::{
    ids::{AccountId, RegistryKey, RepositoryKey, RepositoryName},
    snapshot::{SnapshotRecord, record_of_item},
    uses::{IndexState, UseRow},
};

use super::identity::Identity;
use crate::ledgers::{NotRead, Place};

/// The number of parts of the table that are read at the same time. A page is a megabyte, some 300 rows: 100,000 images are 330
/// pages.
const SEGMENTS: i32 = 8;

type Item = HashMap<String, AttributeValue>;

/// Gets each record.
pub(super) type Each<'a> = dyn FnMut(SnapshotRecord) -> io::Result<()> + 'a;

pub(super) struct LedgerReader<'a> {
    identity: &'a Identity,
    client: Client,
    table: &'a str,
}

impl<'a> LedgerReader<'a> {
    pub(super) fn new(identity: &'a Identity, place: &'a Place) -> Self {
        Self {
            identity,
            client: Client::new(&identity.config),
            table: &place.table,
        }
    }

    /// All that the table has: `dynamodb:Scan`, eventually consistent.
    pub(super) async fn all(&self, each: &mut Each<'_>) -> Result<(), NotRead> {
        let mut pages: FuturesUnordered<_> = (0..SEGMENTS).map(|segment| self.page(segment, None)).collect();
        while let Some(page) = pages.next().await {
            let (segment, items, next) = page?;
            for item in &items {
                give(item, each)?;
            }
            if let Some(next) = next {
                pages.push(self.page(segment, Some(next)));
            }
        }
        Ok(())
    }

    async fn page(&self, segment: i32, start: Option<Item>) -> Result<(i32, Vec<Item>, Option<Item>), NotRead> {
        let output = self
            .client
            .scan()
            .table_name(self.table)
            .segment(segment)
            .total_segments(SEGMENTS)
            .projection_expression("#pk, #sk, #row, #document")
            .expression_attribute_names("#pk", "pk")
            .expression_attribute_names("#sk", "sk")
            .expression_attribute_names("#row", "row")
            .expression_attribute_names("#document", "document")
            .set_exclusive_start_key(start)
            .send()
            .await;
        let output = output.map_err(|error| self.failed(&port_error("dynamodb:Scan", &error)))?;
        let next = output.last_evaluated_key.filter(|key| !key.is_empty());
        Ok((segment, output.items.unwrap_or_default(), next))
    }

    /// All that is remembered of a repository, and what its images' states hang on.
    pub(super) async fn repository(
        &self,
        account: &AccountId,
        name: &RepositoryName,
        each: &mut Each<'_>,
    ) -> Result<(), NotRead> {
        let mut policies = BTreeSet::new();
        let mut registries = BTreeSet::new();
        let mut note = |record: SnapshotRecord| {
            if let SnapshotRecord::Image(row) = &record {
                policies.insert(row.policy.clone());
                registries.insert(RepositoryKey::of(&row.image));
            }
            each(record)
        };
        self.query(&format!("{account}#{name}"), "", &mut note).await?;
        for key in &registries {
            let prefix = UseRow::repository_prefix(&key.region, name);
            self.query(&UseRow::partition_key(account), &prefix, each).await?;
            let registry = RegistryKey {
                account: account.clone(),
                region: key.region.clone(),
            };
            self.query(&registry.partition_key(), &registry.sort_key(), each)
                .await?;
        }
        self.query(&IndexState::partition_key(account), IndexState::SORT_KEY_PREFIX, each)
            .await?;
        for sha256 in policies {
            self.query(&format!("policy#{sha256}"), "", each).await?;
        }
        Ok(())
    }

    /// The items of a partition whose sort keys begin with `prefix`: `dynamodb:Query`.
    async fn query(&self, pk: &str, prefix: &str, each: &mut Each<'_>) -> Result<(), NotRead> {
        let condition = if prefix.is_empty() {
            "#pk = :pk"
        } else {
            "#pk = :pk AND begins_with(#sk, :prefix)"
        };
        let prefix =
            (!prefix.is_empty()).then(|| HashMap::from([(":prefix".to_owned(), AttributeValue::S(prefix.to_owned()))]));
        let mut values = prefix.unwrap_or_default();
        values.insert(":pk".to_owned(), AttributeValue::S(pk.to_owned()));
        let mut start = None;
        loop {
            let output = self
                .client
                .query()
                .table_name(self.table)
                .key_condition_expression(condition)
                .projection_expression("#pk, #sk, #row, #document")
                .expression_attribute_names("#pk", "pk")
                .expression_attribute_names("#sk", "sk")
                .expression_attribute_names("#row", "row")
                .expression_attribute_names("#document", "document")
                .set_expression_attribute_values(Some(values.clone()))
                .set_exclusive_start_key(start)
                .send()
                .await;
            let output = output.map_err(|error| self.failed(&port_error("dynamodb:Query", &error)))?;
            for item in output.items() {
                give(item, each)?;
            }
            start = output.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                return Ok(());
            }
        }
    }

    fn failed(&self, error: &guard_ports::PortError) -> NotRead {
        if error.code == "ResourceNotFoundException" {
            let (table, region) = (self.table, &self.identity.region);
            return NotRead::new(format!(
                "There is no table `{table}` in {region}. Give --table, --region or --profile."
            ));
        }
        self.identity.failed(error)
    }
}

fn give(item: &Item, each: &mut Each<'_>) -> Result<(), NotRead> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str);
    let (pk, sk) = (text("pk").unwrap_or_default(), text("sk").unwrap_or_default());
    if let Some(record) = record_of_item(pk, sk, text("row"), text("document")) {
        each(record)?;
    }
    Ok(())
}
