//! The ledger in a DynamoDB table. Rules are those of the API reference of DynamoDB (version 2012-08-10).
//!
//! Key of the table: `pk` and `sk`, both strings. In addition an item has `row` (the row as JSON, the only attribute that is
//! read), `generation` (for the condition of a write), `state` (for people and exports) and, for the row of a deleted image,
//! `expires_at` (the table's time to live, in seconds since 1970). Items that count have `count` and `expires_at`.
//!
//! A policy document is an item with `document`, its text: `policy#<SHA-256 of the text>` and `deployed` where the deployment has
//! written it (`infra/modules/guard/policy.tf`), the same and `kept` where a sweep keeps it, with `expires_at`.

mod uses;

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    operation::{put_item::PutItemError, update_item::UpdateItemError},
    types::{AttributeValue, KeysAndAttributes, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use aws_smithy_async::rt::sleep::AsyncSleep as _;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    answer::next_page,
    error::{malformed, port_error, present, refusal},
};
use guard_core::{
    alert::{
        brief::{BriefAlert, counter_key, hour_attribute},
        budget::{Budget, Slot},
    },
    calendar::day_of,
    ids::{ImageKey, Region, RegistryKey, RepositoryKey, Tag, TopicArn},
    ledger::{Counter, Row, limit_key},
    registry::RegistryRow,
    replication::ledger::{BackfillRow, ReplicaRow, ReplicationRow},
    repository::ledger::{RepositoryRow, TagRow},
    summary::RepositorySummary,
    told::ToldFindings,
};
use guard_ports::{
    AlertLedger, Ledger, Page, PolicyLedger, PortError, ReleaseLedger, ReplicationLedger, RepositoryLedger, Retry,
    SweepLedger, UNREADABLE_ROW, Written, request_key,
};

/// The most keys that `BatchGetItem` takes.
const MAX_KEYS: usize = 100;

const BATCH_GET_ITEM: &str = "dynamodb:BatchGetItem";

/// The most answers in a row of `BatchGetItem` that leave out every key.
const MAX_EMPTY_ANSWERS: usize = 3;

/// The wait before the keys that an answer leaves out are asked for again: the first one, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(25);
const LONGEST_WAIT: Duration = Duration::from_millis(400);

/// The partition key and the sort key of an item.
type Key = (String, String);

/// An item, or the key of one.
type Item = HashMap<String, AttributeValue>;

const PARTITION_KEY: &str = "pk";
const SORT_KEY: &str = "sk";
const ROW: &str = "row";
const GENERATION: &str = "generation";
const STATE: &str = "state";
const EXPIRES_AT: &str = "expires_at";
const COUNT: &str = "count";
const TOLD_BY: &str = "told_by";
const CLAIMED_BY: &str = "claimed_by";
const DOCUMENT: &str = "document";
/// Sort key of a policy document as the deployment has written it.
const DEPLOYED: &str = "deployed";
/// Sort key of a policy document that is kept for when the deployment has another one.
const KEPT: &str = "kept";

/// The ledger in one table. See [`Aws::dynamo_ledger`](super::Aws::dynamo_ledger).
#[derive(Debug, Clone)]
pub struct DynamoLedger {
    client: Client,
    table: String,
}

impl DynamoLedger {
    pub(super) fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }
}

impl DynamoLedger {
    /// The row of a key, which must be about what was asked for.
    async fn get<T: DeserializeOwned>(
        &self,
        pk: &str,
        sk: &str,
        another: &'static str,
        is_about_it: impl FnOnce(&T) -> bool,
    ) -> Result<Option<T>, PortError> {
        const OPERATION: &str = "dynamodb:GetItem";
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(PARTITION_KEY, AttributeValue::S(pk.to_owned()))
            .key(SORT_KEY, AttributeValue::S(sk.to_owned()))
            .consistent_read(true)
            .projection_expression("#row")
            .expression_attribute_names("#row", ROW)
            .send()
            .await
            .map_err(|error| port_error(OPERATION, &error))?;
        let item = output.item.as_ref();
        item.map(|item| read(OPERATION, Place { pk, sk }, item, another, is_about_it))
            .transpose()
    }

    /// A page of the rows of a partition whose sort keys begin with `prefix`: `dynamodb:Query`, eventually consistent. A caller
    /// that acts on a row of it reads the row again before it writes.
    ///
    /// A row that cannot be read is an error next to the others: the same error that [`get`](Self::get) gives for it.
    async fn query<T: DeserializeOwned>(
        &self,
        pk: &str,
        prefix: &str,
        after: Option<&str>,
        another: &'static str,
        key_of: impl Fn(&T) -> (String, String),
    ) -> Result<Page<T>, PortError> {
        const OPERATION: &str = "dynamodb:Query";
        let start = after.map(|sk| {
            HashMap::from([
                (PARTITION_KEY.to_owned(), AttributeValue::S(pk.to_owned())),
                (SORT_KEY.to_owned(), AttributeValue::S(sk.to_owned())),
            ])
        });
        let output = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("#pk = :pk AND begins_with(#sk, :prefix)")
            // The sort key as well, since a row that cannot be read does not say whose it is.
            .projection_expression("#sk, #row")
            .expression_attribute_names("#pk", PARTITION_KEY)
            .expression_attribute_names("#sk", SORT_KEY)
            .expression_attribute_names("#row", ROW)
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()))
            .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()))
            .set_exclusive_start_key(start)
            .send()
            .await
            // `InternalServerError` and the throttling ones: later. `InvalidEndpointException`, `ResourceNotFoundException`, a place
            // that is not in this list (`ValidationException`): never.
            .map_err(|error| port_error(OPERATION, &error))?;
        let mut page = Page {
            items: Vec::new(),
            unreadable: Vec::new(),
            next: None,
        };
        let items = output.items.as_ref();
        for item in present(OPERATION, items, "the list")? {
            let sk = sort_key(item).ok_or_else(|| malformed(OPERATION, "an item has no string `sk`"))?;
            let is_about_it = |row: &T| {
                let (row_pk, row_sk) = key_of(row);
                row_pk == pk && row_sk == *sk
            };
            match read(OPERATION, Place { pk, sk }, item, another, is_about_it) {
                Ok(row) => page.items.push(row),
                Err(error) => page.unreadable.push(error),
            }
        }
        let last = output.last_evaluated_key().filter(|key| !key.is_empty());
        let next = last.map(|key| {
            let place = sort_key(key).cloned();
            place.ok_or_else(|| malformed(OPERATION, "the answer does not say where the next page begins"))
        });
        page.next = next_page(OPERATION, after, next.transpose()?)?;
        Ok(page)
    }

    /// The rows of at most [`MAX_KEYS`] keys of one kind, each named once, by their keys.
    async fn batch<T: DeserializeOwned>(
        &self,
        keys: Vec<Key>,
        another: &'static str,
        key_of: impl Fn(&T) -> Key,
    ) -> Result<HashMap<Key, T>, PortError> {
        let items = self.items(keys).await?.into_iter();
        let rows = items.map(|(key, item)| {
            let row = read_batched(&key, &item, another, &key_of)?;
            Ok((key, row))
        });
        rows.collect()
    }

    /// The items of at most [`MAX_KEYS`] keys, each named once, by their keys: `dynamodb:BatchGetItem`, strongly consistent.
    ///
    /// An answer has at most 16 MB and says which keys it leaves out. These are asked for again after a wait that doubles, as the API reference
    /// recommends. An answer that has none of them is what throttling looks like here: after [`MAX_EMPTY_ANSWERS`] in a row it is a failure.
    async fn items(&self, keys: Vec<Key>) -> Result<HashMap<Key, Item>, PortError> {
        const OPERATION: &str = BATCH_GET_ITEM;
        let keys = keys.into_iter().map(|(pk, sk)| {
            HashMap::from([
                (PARTITION_KEY.to_owned(), AttributeValue::S(pk)),
                (SORT_KEY.to_owned(), AttributeValue::S(sk)),
            ])
        });
        let mut left: Vec<Item> = keys.collect();
        let mut found: HashMap<Key, Item> = HashMap::new();
        let (mut wait, mut empty_answers) = (FIRST_WAIT, 0);
        while !left.is_empty() {
            let asked = left.len();
            let keys = KeysAndAttributes::builder()
                .set_keys(Some(std::mem::take(&mut left)))
                .consistent_read(true)
                .projection_expression("#pk, #sk, #row")
                .expression_attribute_names("#pk", PARTITION_KEY)
                .expression_attribute_names("#sk", SORT_KEY)
                .expression_attribute_names("#row", ROW)
                .build()
                .map_err(|error| refusal(OPERATION, Retry::Never, "InvalidKeys", &error.to_string()))?;
            let output = self
                .client
                .batch_get_item()
                .request_items(&self.table, keys)
                .send()
                .await
                // The throttling ones and `InternalServerError`: later. `ResourceNotFoundException`, `InvalidEndpointException`,
                // `ValidationException`: never.
                .map_err(|error| port_error(OPERATION, &error))?;
            let items = output.responses.and_then(|mut tables| tables.remove(&self.table));
            // An answer without a list does not say that there are no rows.
            for item in present(OPERATION, items, "the list")? {
                let key = |name: &str| item.get(name)?.as_s().ok().cloned();
                let (Some(pk), Some(sk)) = (key(PARTITION_KEY), key(SORT_KEY)) else {
                    return Err(malformed(OPERATION, "an item has no strings `pk` and `sk`"));
                };
                found.insert((pk, sk), item);
            }
            let rest = output
                .unprocessed_keys
                .and_then(|mut tables| tables.remove(&self.table));
            left = rest.map(|rest| rest.keys).unwrap_or_default();
            empty_answers = if left.len() < asked { 0 } else { empty_answers + 1 };
            if empty_answers == MAX_EMPTY_ANSWERS {
                return Err(refusal(OPERATION, Retry::Later, "UnprocessedKeys", "no row was read"));
            }
            if let Some(sleep) = self.client.config().sleep_impl().filter(|_| !left.is_empty()) {
                sleep.sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
        Ok(found)
    }

    /// The rows of at most [`MAX_KEYS`] images, each named once.
    async fn some_rows(&self, images: &[ImageKey]) -> Result<Vec<Option<Row>>, PortError> {
        let key = |image: &ImageKey| (Row::partition_key(image), Row::sort_key(image));
        let keys = images.iter().map(key).collect();
        let mut found = self.batch(keys, "image", |row: &Row| key(&row.image)).await?;
        Ok(images.iter().map(|image| found.remove(&key(image))).collect())
    }

    /// Writes a row if the stored one has the version before; see [`Ledger::write`].
    async fn put(
        &self,
        pk: &str,
        sk: &str,
        generation: u64,
        row: &impl Serialize,
        more: impl Iterator<Item = (&'static str, AttributeValue)>,
    ) -> Result<Written, PortError> {
        const OPERATION: &str = "dynamodb:PutItem";
        let refused = |message: &str| refusal(OPERATION, Retry::Never, "InvalidRow", message);
        let Some(previous) = generation.checked_sub(1) else {
            return Err(refused("the first version of a row is 1"));
        };
        let text = serde_json::to_string(row).map_err(|error| refused(&error.to_string()))?;
        let mut put = self
            .client
            .put_item()
            .table_name(&self.table)
            .item(PARTITION_KEY, AttributeValue::S(pk.to_owned()))
            .item(SORT_KEY, AttributeValue::S(sk.to_owned()))
            .item(GENERATION, AttributeValue::N(generation.to_string()))
            .item(ROW, AttributeValue::S(text.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        for (name, value) in more {
            put = put.item(name, value);
        }
        let put = if previous == 0 {
            put.condition_expression("attribute_not_exists(#pk)")
                .expression_attribute_names("#pk", PARTITION_KEY)
        } else {
            put.condition_expression("#generation = :previous")
                .expression_attribute_names("#generation", GENERATION)
                .expression_attribute_values(":previous", AttributeValue::N(previous.to_string()))
        };
        let Err(error) = put.send().await else {
            return Ok(Written::Yes);
        };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(failure)) => {
                let there = failure.item().and_then(|item| item.get(ROW)?.as_s().ok());
                Ok(if there == Some(&text) {
                    Written::Yes
                } else {
                    Written::Conflict
                })
            }
            // Throttled, in trouble, or in a race that the condition does not see (`InternalServerError`,
            // `ProvisionedThroughputExceededException`, `ReplicatedWriteConflictException`, `RequestLimitExceeded`,
            // `ThrottlingException`, `TransactionConflictException`): later. No such table, or no room in it
            // (`ResourceNotFoundException`, `InvalidEndpointException`, `ItemCollectionSizeLimitExceededException`): never.
            _ => Err(port_error(OPERATION, &error)),
        }
    }
}

/// The row of an item that [`DynamoLedger::items`] has found under this key.
fn read_batched<T: DeserializeOwned>(
    key: &Key,
    item: &Item,
    another: &'static str,
    key_of: impl Fn(&T) -> Key,
) -> Result<T, PortError> {
    let (pk, sk) = key;
    read(BATCH_GET_ITEM, Place { pk, sk }, item, another, |row: &T| {
        key_of(row) == *key
    })
}

fn sort_key(item: &HashMap<String, AttributeValue>) -> Option<&String> {
    item.get(SORT_KEY)?.as_s().ok()
}

/// Where an item is in the table.
#[derive(Clone, Copy)]
struct Place<'a> {
    pk: &'a str,
    sk: &'a str,
}

/// The row of an item, which must be about what was asked for.
fn read<T: DeserializeOwned>(
    operation: &'static str,
    place: Place<'_>,
    item: &HashMap<String, AttributeValue>,
    another: &'static str,
    is_about_it: impl FnOnce(&T) -> bool,
) -> Result<T, PortError> {
    let unreadable = |why: &str| {
        let Place { pk, sk } = place;
        let message = format!("row `{pk}`, `{sk}`: {why}");
        refusal(operation, Retry::Never, UNREADABLE_ROW, &message)
    };
    let text = item
        .get(ROW)
        .and_then(|value| value.as_s().ok())
        .ok_or_else(|| unreadable("it has no string `row`"))?;
    // The error says where in the document it is, and perhaps quotes a word of ours; not the document.
    let row: T = serde_json::from_str(text).map_err(|error| unreadable(&error.to_string()))?;
    if !is_about_it(&row) {
        return Err(unreadable(&format!("it is the row of another {another}")));
    }
    Ok(row)
}

impl RepositoryLedger for DynamoLedger {
    async fn repository_row(&self, key: &RepositoryKey) -> Result<Option<RepositoryRow>, PortError> {
        let (pk, sk) = (key.partition_key(), key.sort_key());
        self.get(&pk, &sk, "repository", |row: &RepositoryRow| row.repository == *key)
            .await
    }

    async fn write_repository_row(&self, row: &RepositoryRow) -> Result<Written, PortError> {
        let (pk, sk) = (row.repository.partition_key(), row.repository.sort_key());
        self.put(&pk, &sk, row.generation, row, std::iter::empty()).await
    }

    async fn tag_row(&self, key: &RepositoryKey, tag: &Tag) -> Result<Option<TagRow>, PortError> {
        let (pk, sk) = (key.partition_key(), key.tag_sort_key(tag));
        self.get(&pk, &sk, "tag", |row: &TagRow| {
            row.repository == *key && row.tag == *tag
        })
        .await
    }

    async fn write_tag_row(&self, row: &TagRow) -> Result<Written, PortError> {
        let (pk, sk) = (row.repository.partition_key(), row.repository.tag_sort_key(&row.tag));
        self.put(&pk, &sk, row.generation, row, std::iter::empty()).await
    }
}

impl Ledger for DynamoLedger {
    /// `dynamodb:GetItem`, strongly consistent: the version that is read here is the condition of the next write.
    ///
    /// An item that cannot be read is an error that names its key and stays one: to take it for "no row" would forget what we
    /// blocked, and would write over it. Errors of the service (`ResourceNotFoundException`, `InvalidEndpointException`, the
    /// throttling ones, `InternalServerError`) say nothing about the row and are all passed on.
    async fn row(&self, image: &ImageKey) -> Result<Option<Row>, PortError> {
        let (pk, sk) = (Row::partition_key(image), Row::sort_key(image));
        self.get(&pk, &sk, "image", |row: &Row| row.image == *image).await
    }

    /// `dynamodb:BatchGetItem`, strongly consistent, a hundred rows to a call and all calls at the same time.
    async fn rows_of(&self, images: &[ImageKey]) -> Result<Vec<Option<Row>>, PortError> {
        let some = images.chunks(MAX_KEYS).map(|some| self.some_rows(some));
        Ok(try_join_all(some).await?.concat())
    }

    /// `dynamodb:Query` of the rows of the image's digest, all pages or a failure.
    async fn rows_elsewhere(&self, image: &ImageKey) -> Result<Vec<Row>, PortError> {
        let (pk, prefix) = (Row::partition_key(image), Row::regions_prefix(image));
        let mut rows = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.query(&pk, &prefix, after.as_deref(), "image", |row: &Row| {
                (Row::partition_key(&row.image), Row::sort_key(&row.image))
            });
            let page = page.await?;
            if let Some(error) = page.unreadable.into_iter().next() {
                return Err(error);
            }
            rows.extend(page.items.into_iter().filter(|row| row.image.region != image.region));
            after = page.next;
            if after.is_none() {
                return Ok(rows);
            }
        }
    }

    /// `dynamodb:UpdateItem` with `ADD`, which counts from nothing too. An attempt whose answer got lost has counted, and the next
    /// one counts again. The item goes two days after its hour.
    async fn count(&self, image: &ImageKey, counter: Counter, hour: Timestamp) -> Result<u64, PortError> {
        const OPERATION: &str = "dynamodb:UpdateItem";
        let expires_at = hour.as_second().saturating_add(2 * 24 * 3600);
        let output = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(PARTITION_KEY, AttributeValue::S(image.account.to_string()))
            .key(SORT_KEY, AttributeValue::S(counter.sort_key(&image.region, hour)))
            .update_expression("ADD #count :one SET #expires_at = :expires_at")
            .expression_attribute_names("#count", COUNT)
            .expression_attribute_names("#expires_at", EXPIRES_AT)
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .expression_attribute_values(":expires_at", AttributeValue::N(expires_at.to_string()))
            .return_values(ReturnValue::UpdatedNew)
            .send()
            .await
            // There is no condition that could be refused: whatever the error (as for the others), nothing is known of the count.
            .map_err(|error| port_error(OPERATION, &error))?;
        output
            .attributes
            .as_ref()
            .and_then(|attributes| attributes.get(COUNT)?.as_n().ok()?.parse().ok())
            .ok_or_else(|| malformed(OPERATION, "the answer holds no count"))
    }

    /// `dynamodb:PutItem` on the condition that the stored item has the version before.
    ///
    /// An attempt can reach the table and its answer get lost; the SDK then tries again and meets our own write. The item that
    /// is there comes back with the refusal, so that this is seen: the very row that we write means that it is written.
    async fn write(&self, row: &Row) -> Result<Written, PortError> {
        let (pk, sk) = (Row::partition_key(&row.image), Row::sort_key(&row.image));
        let more = [
            Some((STATE, AttributeValue::S(row.state.stored().to_owned()))),
            row.expires_at()
                .map(|at| (EXPIRES_AT, AttributeValue::N(at.as_second().to_string()))),
        ];
        self.put(&pk, &sk, row.generation, row, more.into_iter().flatten())
            .await
    }

    /// `dynamodb:UpdateItem` with `if_not_exists`: who is named there first stays. The item goes two days after its hour.
    async fn claim_limit(&self, image: &ImageKey, hour: Timestamp) -> Result<bool, PortError> {
        const OPERATION: &str = "dynamodb:UpdateItem";
        let expires_at = hour.as_second().saturating_add(2 * 24 * 3600);
        let claim = format!("{}@{}", image.repository, image.digest);
        let output = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(PARTITION_KEY, AttributeValue::S(image.account.to_string()))
            .key(SORT_KEY, AttributeValue::S(limit_key(&image.region, hour)))
            .update_expression("SET #told_by = if_not_exists(#told_by, :image), #expires_at = :expires_at")
            .expression_attribute_names("#told_by", TOLD_BY)
            .expression_attribute_names("#expires_at", EXPIRES_AT)
            .expression_attribute_values(":image", AttributeValue::S(claim.clone()))
            .expression_attribute_values(":expires_at", AttributeValue::N(expires_at.to_string()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await
            .map_err(|error| port_error(OPERATION, &error))?;
        let told_by = output
            .attributes
            .as_ref()
            .and_then(|item| item.get(TOLD_BY)?.as_s().ok());
        let told_by = told_by.ok_or_else(|| {
            malformed(
                OPERATION,
                "the answer does not name the image with the alert about the limit",
            )
        })?;
        Ok(*told_by == claim)
    }

    async fn told(&self, key: &RepositoryKey) -> Result<ToldFindings, PortError> {
        let (pk, sk) = (key.partition_key(), ToldFindings::sort_key(key));
        let told = self.get(&pk, &sk, "repository", |told: &ToldFindings| told.repository == *key);
        Ok(told.await?.unwrap_or_else(|| ToldFindings::none(key.clone())))
    }

    async fn write_told(&self, told: &ToldFindings) -> Result<Written, PortError> {
        let key = &told.repository;
        let (pk, sk) = (key.partition_key(), ToldFindings::sort_key(key));
        self.put(&pk, &sk, told.generation, told, std::iter::empty()).await
    }
}

impl AlertLedger for DynamoLedger {
    /// `dynamodb:UpdateItem` with `ADD` on two attributes of the topic's item of the day, on the condition that both have room. The item
    /// goes two days after its day.
    async fn take_slot(
        &self,
        registry: &RegistryKey,
        topic: &TopicArn,
        budget: Budget,
        now: Timestamp,
    ) -> Result<Slot, PortError> {
        const OPERATION: &str = "dynamodb:UpdateItem";
        const HAS_ROOM: &str = "(attribute_not_exists(#count) OR #count < :per_day) \
                                AND (attribute_not_exists(#hour) OR #hour < :per_hour)";
        let number = |number: &dyn ToString| AttributeValue::N(number.to_string());
        let expires_at = day_of(now).as_second().saturating_add(3 * 24 * 3600);
        let updated = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(PARTITION_KEY, AttributeValue::S(registry.partition_key()))
            .key(SORT_KEY, AttributeValue::S(counter_key(registry, topic, now)))
            .update_expression("ADD #count :one, #hour :one SET #expires_at = :expires_at")
            .condition_expression(HAS_ROOM)
            .expression_attribute_names("#count", COUNT)
            .expression_attribute_names("#hour", hour_attribute(now))
            .expression_attribute_names("#expires_at", EXPIRES_AT)
            .expression_attribute_values(":one", number(&1))
            .expression_attribute_values(":per_day", number(&budget.per_day))
            .expression_attribute_values(":per_hour", number(&budget.per_hour))
            .expression_attribute_values(":expires_at", number(&expires_at))
            .send()
            .await;
        match updated {
            Ok(_) => Ok(Slot::Single),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(Slot::Summary),
                _ => Err(port_error(OPERATION, &error)),
            },
        }
    }

    /// `dynamodb:PutItem` without a condition: the same alert is the same item.
    async fn keep_alert(&self, alert: &BriefAlert) -> Result<(), PortError> {
        const OPERATION: &str = "dynamodb:PutItem";
        let text = serde_json::to_string(alert)
            .map_err(|error| refusal(OPERATION, Retry::Never, "InvalidRow", &error.to_string()))?;
        self.client
            .put_item()
            .table_name(&self.table)
            .item(PARTITION_KEY, AttributeValue::S(alert.registry.partition_key()))
            .item(SORT_KEY, AttributeValue::S(alert.sort_key()))
            .item(ROW, AttributeValue::S(text))
            .item(EXPIRES_AT, AttributeValue::N(alert.expires_at().to_string()))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| port_error(OPERATION, &error))
    }

    async fn kept_alerts(&self, registry: &RegistryKey, after: Option<&str>) -> Result<Page<BriefAlert>, PortError> {
        self.query(
            &registry.partition_key(),
            &BriefAlert::prefix(registry),
            after,
            "alert",
            |alert: &BriefAlert| (alert.registry.partition_key(), alert.sort_key()),
        )
        .await
    }

    /// `dynamodb:DeleteItem` for each, some at a time. An item that is not there is a success (API reference, "`DeleteItem`": idempotent).
    async fn forget_alerts(&self, alerts: &[BriefAlert]) -> Result<(), PortError> {
        const OPERATION: &str = "dynamodb:DeleteItem";
        for some in alerts.chunks(DELETES_AT_A_TIME) {
            let deletes = some.iter().map(|alert| async {
                let delete = self
                    .client
                    .delete_item()
                    .table_name(&self.table)
                    .key(PARTITION_KEY, AttributeValue::S(alert.registry.partition_key()))
                    .key(SORT_KEY, AttributeValue::S(alert.sort_key()));
                delete.send().await.map_err(|error| port_error(OPERATION, &error))
            });
            try_join_all(deletes).await?;
        }
        Ok(())
    }
}

/// A thousand alerts are forgotten in some 40 round trips, over as many connections as this.
const DELETES_AT_A_TIME: usize = 25;

impl ReplicationLedger for DynamoLedger {
    async fn replica_row(&self, image: &ImageKey) -> Result<Option<ReplicaRow>, PortError> {
        let (pk, sk) = (ReplicaRow::partition_key(image), ReplicaRow::sort_key(image));
        self.get(&pk, &sk, "copy", |row: &ReplicaRow| row.image == *image).await
    }

    async fn write_replica_row(&self, row: &ReplicaRow) -> Result<Written, PortError> {
        let (pk, sk) = (ReplicaRow::partition_key(&row.image), ReplicaRow::sort_key(&row.image));
        let expires_at = row
            .expires_at()
            .map(|at| (EXPIRES_AT, AttributeValue::N(at.as_second().to_string())));
        self.put(&pk, &sk, row.generation, row, expires_at.into_iter()).await
    }

    async fn replica_rows(&self, key: &RepositoryKey, after: Option<&str>) -> Result<Page<ReplicaRow>, PortError> {
        self.query(
            &key.partition_key(),
            ReplicaRow::PREFIX,
            after,
            "copy",
            |row: &ReplicaRow| (ReplicaRow::partition_key(&row.image), ReplicaRow::sort_key(&row.image)),
        )
        .await
    }

    async fn replication_row(&self, key: &RepositoryKey, to: &Region) -> Result<Option<ReplicationRow>, PortError> {
        let (pk, sk) = (key.partition_key(), ReplicationRow::sort_key(key, to));
        self.get(&pk, &sk, "repository", |row: &ReplicationRow| {
            row.repository == *key && row.to == *to
        })
        .await
    }

    async fn write_replication_row(&self, row: &ReplicationRow) -> Result<Written, PortError> {
        let key = &row.repository;
        let (pk, sk) = (key.partition_key(), ReplicationRow::sort_key(key, &row.to));
        self.put(&pk, &sk, row.generation, row, std::iter::empty()).await
    }

    async fn backfill_row(&self, from: &RegistryKey, to: &Region) -> Result<Option<BackfillRow>, PortError> {
        let (pk, sk) = (from.partition_key(), BackfillRow::sort_key(from, to));
        self.get(&pk, &sk, "registry", |row: &BackfillRow| {
            row.from == *from && row.to == *to
        })
        .await
    }

    async fn write_backfill_row(&self, row: &BackfillRow) -> Result<Written, PortError> {
        let (pk, sk) = (row.from.partition_key(), BackfillRow::sort_key(&row.from, &row.to));
        self.put(&pk, &sk, row.generation, row, std::iter::empty()).await
    }
}

impl SweepLedger for DynamoLedger {
    async fn rows(&self, key: &RepositoryKey, after: Option<&str>) -> Result<Page<Row>, PortError> {
        self.query(
            &key.partition_key(),
            Row::SORT_KEY_PREFIX,
            after,
            "image",
            |row: &Row| (Row::partition_key(&row.image), Row::sort_key(&row.image)),
        )
        .await
    }

    async fn summary(&self, key: &RepositoryKey) -> Result<Option<RepositorySummary>, PortError> {
        let (pk, sk) = (RepositorySummary::partition_key(key), RepositorySummary::sort_key(key));
        self.get(&pk, &sk, "repository", |summary: &RepositorySummary| {
            summary.repository == *key
        })
        .await
    }

    async fn write_summary(&self, summary: &RepositorySummary) -> Result<Written, PortError> {
        let key = &summary.repository;
        let (pk, sk) = (RepositorySummary::partition_key(key), RepositorySummary::sort_key(key));
        self.put(&pk, &sk, summary.generation, summary, std::iter::empty())
            .await
    }

    async fn summaries(&self, key: &RegistryKey, after: Option<&str>) -> Result<Page<RepositorySummary>, PortError> {
        self.query(
            &key.partition_key(),
            &key.summaries_prefix(),
            after,
            "repository",
            |summary: &RepositorySummary| {
                let key = &summary.repository;
                (RepositorySummary::partition_key(key), RepositorySummary::sort_key(key))
            },
        )
        .await
    }

    async fn registry_row(&self, key: &RegistryKey) -> Result<Option<RegistryRow>, PortError> {
        let (pk, sk) = (key.partition_key(), key.sort_key());
        self.get(&pk, &sk, "registry", |row: &RegistryRow| row.registry == *key)
            .await
    }

    async fn write_registry_row(&self, row: &RegistryRow) -> Result<Written, PortError> {
        let (pk, sk) = (row.registry.partition_key(), row.registry.sort_key());
        self.put(&pk, &sk, row.generation, row, std::iter::empty()).await
    }
}

impl ReleaseLedger for DynamoLedger {
    async fn claim_request(
        &self,
        registry: &RegistryKey,
        id: &str,
        actor: &str,
        until: Timestamp,
    ) -> Result<bool, PortError> {
        const OPERATION: &str = "dynamodb:UpdateItem";
        let output = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(PARTITION_KEY, AttributeValue::S(registry.account.to_string()))
            .key(SORT_KEY, AttributeValue::S(request_key(registry, id)))
            .update_expression("SET #claimed_by = if_not_exists(#claimed_by, :actor), #expires_at = :expires_at")
            .expression_attribute_names("#claimed_by", CLAIMED_BY)
            .expression_attribute_names("#expires_at", EXPIRES_AT)
            .expression_attribute_values(":actor", AttributeValue::S(actor.to_owned()))
            .expression_attribute_values(":expires_at", AttributeValue::N(until.as_second().to_string()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await
            .map_err(|error| port_error(OPERATION, &error))?;
        let claimed_by = output
            .attributes
            .as_ref()
            .and_then(|item| item.get(CLAIMED_BY)?.as_s().ok());
        let claimed_by =
            claimed_by.ok_or_else(|| malformed(OPERATION, "the answer does not say who made the request"))?;
        Ok(claimed_by == actor)
    }
}

impl PolicyLedger for DynamoLedger {
    async fn policy_document(&self, sha256: &str) -> Result<Option<String>, PortError> {
        const OPERATION: &str = "dynamodb:GetItem";
        let pk = policy_key(sha256);
        for sk in [DEPLOYED, KEPT] {
            let output = self
                .client
                .get_item()
                .table_name(&self.table)
                .key(PARTITION_KEY, AttributeValue::S(pk.clone()))
                .key(SORT_KEY, AttributeValue::S(sk.to_owned()))
                .consistent_read(true)
                .projection_expression("#document")
                .expression_attribute_names("#document", DOCUMENT)
                .send()
                .await
                .map_err(|error| port_error(OPERATION, &error))?;
            if let Some(mut item) = output.item {
                let Some(AttributeValue::S(document)) = item.remove(DOCUMENT) else {
                    let message = format!("item `{pk}`, `{sk}`: it has no string `{DOCUMENT}`");
                    return Err(refusal(OPERATION, Retry::Never, UNREADABLE_ROW, &message));
                };
                return Ok(Some(document));
            }
        }
        Ok(None)
    }

    async fn keep_policy_document(&self, sha256: &str, document: &str, until: Timestamp) -> Result<(), PortError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .item(PARTITION_KEY, AttributeValue::S(policy_key(sha256)))
            .item(SORT_KEY, AttributeValue::S(KEPT.to_owned()))
            .item(DOCUMENT, AttributeValue::S(document.to_owned()))
            .item(EXPIRES_AT, AttributeValue::N(until.as_second().to_string()))
            .send()
            .await
            .map_err(|error| port_error("dynamodb:PutItem", &error))?;
        Ok(())
    }
}

fn policy_key(sha256: &str) -> String {
    format!("policy#{sha256}")
}
