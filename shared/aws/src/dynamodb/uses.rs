//! Who uses images, in the ledger's table.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::{DynamoLedger, EXPIRES_AT, Item, Key, MAX_KEYS, read_batched};
use guard_core::{
    ids::{AccountId, ImageKey, Region, RegistryKey, RepositoryKey},
    ledger::Row,
    uses::{IndexState, KnownPart, RefusedPull, UseRow},
};
use guard_ports::{FamilyRows, Page, PortError, UseLedger, Written};

fn keys(row: &UseRow) -> (String, String) {
    (UseRow::partition_key(&row.image.account), UseRow::sort_key(&row.image))
}

impl UseLedger for DynamoLedger {
    /// `dynamodb:BatchGetItem`, strongly consistent, a hundred rows to a call and all calls at the same time.
    async fn uses_of(&self, images: &[ImageKey]) -> Result<Vec<UseRow>, PortError> {
        let calls = images.chunks(MAX_KEYS).map(|some| {
            let of = some
                .iter()
                .map(|image| (UseRow::partition_key(&image.account), UseRow::sort_key(image)));
            self.batch(of.collect(), "image", keys)
        });
        let found = try_join_all(calls).await?;
        Ok(found.into_iter().flat_map(HashMap::into_values).collect())
    }

    /// `dynamodb:BatchGetItem`, strongly consistent, a hundred items to a call and all calls at the same time.
    async fn rows_and_uses(
        &self,
        rows: &[ImageKey],
        uses: &[ImageKey],
        registry: &RegistryKey,
    ) -> Result<FamilyRows, PortError> {
        let of_state = |account: &AccountId, region: &Region| -> Key {
            (IndexState::partition_key(account), IndexState::sort_key(region))
        };
        let of_use = |image: &ImageKey| -> Key { (UseRow::partition_key(&image.account), UseRow::sort_key(image)) };
        let of_row = |image: &ImageKey| -> Key { (Row::partition_key(image), Row::sort_key(image)) };
        let state = of_state(&registry.account, &registry.region);
        let all = std::iter::once(state.clone()).chain(uses.iter().map(of_use));
        let all: Vec<Key> = all.chain(rows.iter().map(of_row)).collect();
        let calls = all.chunks(MAX_KEYS).map(|some| self.items(some.to_vec()));
        let found: HashMap<Key, Item> = try_join_all(calls).await?.into_iter().flatten().collect();
        let rows = rows.iter().map(|image| {
            let key = of_row(image);
            let item = found.get(&key);
            item.map(|item| read_batched(&key, item, "image", |row: &Row| of_row(&row.image)))
                .transpose()
        });
        let uses = uses.iter().filter_map(|image| {
            let key = of_use(image);
            let item = found.get(&key)?;
            Some(read_batched(&key, item, "image", |row: &UseRow| of_use(&row.image)))
        });
        let of_region = |state: &IndexState| of_state(&state.account, &state.region);
        let index = found.get(&state);
        let index = index.map(|item| read_batched(&state, item, "region", of_region));
        Ok(FamilyRows {
            rows: rows.collect::<Result<_, _>>()?,
            uses: uses.collect::<Result<_, _>>()?,
            state: index.transpose()?,
        })
    }

    async fn uses(&self, account: &AccountId, after: Option<&str>) -> Result<Page<UseRow>, PortError> {
        let pk = UseRow::partition_key(account);
        self.query(&pk, UseRow::SORT_KEY_PREFIX, after, "image", keys).await
    }

    async fn uses_in(&self, key: &RepositoryKey, after: Option<&str>) -> Result<Page<UseRow>, PortError> {
        let pk = UseRow::partition_key(&key.account);
        let prefix = UseRow::repository_prefix(&key.region, &key.repository);
        self.query(&pk, &prefix, after, "image", keys).await
    }

    async fn write_use(&self, row: &UseRow) -> Result<Written, PortError> {
        let (pk, sk) = keys(row);
        let expires_at = row
            .expires_at()
            .map(|at| (EXPIRES_AT, AttributeValue::N(at.as_second().to_string())));
        self.put(&pk, &sk, row.generation, row, expires_at.into_iter()).await
    }

    async fn index_state(&self, account: &AccountId, region: &Region) -> Result<Option<IndexState>, PortError> {
        let (pk, sk) = (IndexState::partition_key(account), IndexState::sort_key(region));
        self.get(&pk, &sk, "region", |state: &IndexState| {
            state.account == *account && state.region == *region
        })
        .await
    }

    /// `dynamodb:Query` of the states of all regions, all pages or a failure: an index whose state cannot be read is not complete.
    async fn index_states(&self, account: &AccountId) -> Result<Vec<IndexState>, PortError> {
        let pk = IndexState::partition_key(account);
        let mut states = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let prefix = IndexState::SORT_KEY_PREFIX;
            let page = self.query(&pk, prefix, after.as_deref(), "region", |state: &IndexState| {
                (
                    IndexState::partition_key(&state.account),
                    IndexState::sort_key(&state.region),
                )
            });
            let page = page.await?;
            if let Some(error) = page.unreadable.into_iter().next() {
                return Err(error);
            }
            states.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(states);
            }
        }
    }

    async fn write_index_state(&self, state: &IndexState, now: Timestamp) -> Result<Written, PortError> {
        let (pk, sk) = (
            IndexState::partition_key(&state.account),
            IndexState::sort_key(&state.region),
        );
        let expires_at =
            IndexState::expires_at(now).map(|at| (EXPIRES_AT, AttributeValue::N(at.as_second().to_string())));
        self.put(&pk, &sk, state.generation, state, expires_at.into_iter())
            .await
    }

    /// `dynamodb:Query`. A part that cannot be read is asked for anew from AWS, and written over never.
    async fn known(&self, account: &AccountId, region: &Region) -> Result<Vec<KnownPart>, PortError> {
        let pk = KnownPart::partition_key(account);
        let mut parts = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let prefix = KnownPart::prefix(region);
            let page = self.query(&pk, &prefix, after.as_deref(), "part", |part: &KnownPart| {
                (
                    KnownPart::partition_key(&part.account),
                    KnownPart::sort_key(&part.region, part.part),
                )
            });
            let page = page.await?;
            parts.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(parts);
            }
        }
    }

    async fn write_known(&self, part: &KnownPart) -> Result<Written, PortError> {
        let (pk, sk) = (
            KnownPart::partition_key(&part.account),
            KnownPart::sort_key(&part.region, part.part),
        );
        self.put(&pk, &sk, part.generation, part, std::iter::empty()).await
    }

    async fn refused_pull(&self, image: &ImageKey, who: &str) -> Result<Option<RefusedPull>, PortError> {
        let (pk, sk) = (
            RefusedPull::partition_key(&image.account),
            RefusedPull::sort_key(image, who),
        );
        self.get(&pk, &sk, "image", |refused: &RefusedPull| {
            refused.image == *image && refused.who == who
        })
        .await
    }

    async fn write_refused_pull(&self, refused: &RefusedPull) -> Result<Written, PortError> {
        let (pk, sk) = (
            RefusedPull::partition_key(&refused.image.account),
            RefusedPull::sort_key(&refused.image, &refused.who),
        );
        let expires_at = refused
            .expires_at()
            .map(|at| (EXPIRES_AT, AttributeValue::N(at.as_second().to_string())));
        self.put(&pk, &sk, refused.generation, refused, expires_at.into_iter())
            .await
    }
}
