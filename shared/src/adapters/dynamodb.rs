//! The ledger in a DynamoDB table.
//!
//! Key of the table: `pk` and `sk`, both strings. Beside them an item has `row` (the row as JSON, the only attribute that is
//! read), `generation` (for the condition of a write), `state` (for people and exports) and, for the row of a deleted image,
//! `expires_at` (the table's time to live, in seconds since 1970). Items that count have `count` and `expires_at`.

use aws_sdk_dynamodb::{
    Client,
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};

use jiff::Timestamp;

use super::error::{malformed, port_error, refusal};
use crate::{
    domain::{
        ids::ImageKey,
        ledger::{Counter, Row},
    },
    ports::{Ledger, PortError, Retry, Written},
};

const PARTITION_KEY: &str = "pk";
const SORT_KEY: &str = "sk";
const ROW: &str = "row";
const GENERATION: &str = "generation";
const STATE: &str = "state";
const EXPIRES_AT: &str = "expires_at";
const COUNT: &str = "count";

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

impl Ledger for DynamoLedger {
    /// `dynamodb:GetItem`, strongly consistent: the generation that is read here is the condition of the next write.
    ///
    /// An item that cannot be read is an error that names its key and stays one: to take it for "no row" would forget what we
    /// blocked, and would write over it. Errors of the service (`ResourceNotFoundException`, `InvalidEndpointException`, the
    /// throttling ones, `InternalServerError`) say nothing about the row and are all passed on.
    async fn row(&self, image: &ImageKey) -> Result<Option<Row>, PortError> {
        const OPERATION: &str = "dynamodb:GetItem";
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(PARTITION_KEY, AttributeValue::S(Row::partition_key(image)))
            .key(SORT_KEY, AttributeValue::S(Row::sort_key(image)))
            .consistent_read(true)
            .projection_expression("#row")
            .expression_attribute_names("#row", ROW)
            .send()
            .await
            .map_err(|error| port_error(OPERATION, &error))?;
        let Some(item) = output.item else {
            return Ok(None);
        };
        let unreadable = |why: &str| {
            let (pk, sk) = (Row::partition_key(image), Row::sort_key(image));
            refusal(
                OPERATION,
                Retry::Never,
                "UnreadableRow",
                &format!("row `{pk}`, `{sk}`: {why}"),
            )
        };
        let text = item
            .get(ROW)
            .and_then(|value| value.as_s().ok())
            .ok_or_else(|| unreadable("it has no string `row`"))?;
        // The error says where in the document it is, and perhaps quotes a word of ours; not the document.
        let row: Row = serde_json::from_str(text).map_err(|error| unreadable(&error.to_string()))?;
        if row.image != *image {
            return Err(unreadable("it is the row of another image"));
        }
        Ok(Some(row))
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

    /// `dynamodb:PutItem` on the condition that the item there has the generation before.
    ///
    /// An attempt can reach the table and its answer get lost; the SDK then tries again and meets our own write. The item that
    /// is there comes back with the refusal, so that this is seen: the very row that we write means that it is written.
    async fn write(&self, row: &Row) -> Result<Written, PortError> {
        const OPERATION: &str = "dynamodb:PutItem";
        let refused = |message: &str| refusal(OPERATION, Retry::Never, "InvalidRow", message);
        let Some(previous) = row.generation.checked_sub(1) else {
            return Err(refused("the first generation of a row is 1"));
        };
        let text = serde_json::to_string(row).map_err(|error| refused(&error.to_string()))?;
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .item(PARTITION_KEY, AttributeValue::S(Row::partition_key(&row.image)))
            .item(SORT_KEY, AttributeValue::S(Row::sort_key(&row.image)))
            .item(STATE, AttributeValue::S(row.state.as_str().to_owned()))
            .item(GENERATION, AttributeValue::N(row.generation.to_string()))
            .item(ROW, AttributeValue::S(text.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = match row.expires_at() {
            Some(at) => put.item(EXPIRES_AT, AttributeValue::N(at.as_second().to_string())),
            None => put,
        };
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
