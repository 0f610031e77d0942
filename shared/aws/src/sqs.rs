//! The workers' queues in SQS. Rules are those of the API reference of SQS (version 2012-11-05).

use std::time::Duration;

use aws_sdk_sqs::{
    Client,
    types::{QueueAttributeName, SendMessageBatchRequestEntry},
};
use aws_smithy_async::rt::sleep::{AsyncSleep as _, SharedAsyncSleep};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::error::{malformed, passes, port_error, refusal};
use guard_core::work::WorkItem;
use guard_ports::{PortError, Queue, Retry};

/// `SendMessageBatch`, as IAM names it.
const OPERATION: &str = "sqs:SendMessage";

/// The call for the number of messages.
const GET_ATTRIBUTES: &str = "sqs:GetQueueAttributes";

/// The most messages that one call takes.
const MAX_MESSAGES: usize = 10;

/// The most bytes that the messages of one call have together. SQS takes 1 MiB since August 2025, and took 256 KiB before; a queue
/// can be set to less for one message, and items have about 7 KiB. An item that is larger goes alone, and SQS says what it thinks
/// of it.
const MAX_BYTES: usize = 256 * 1024;

/// The most seconds that a message can be hidden for (`DelaySeconds`).
const MAX_DELAY: i32 = 900;

/// The most calls at a time.
const MAX_CALLS: usize = 4;

/// How often a message is sent that SQS failed to take for a reason that may pass, the first time included. The attempts of the
/// SDK come in addition; it only sees calls that failed as a whole.
const MAX_SENDS: u32 = 3;

/// The wait before the second time; before the third it is twice that.
const WAIT: Duration = Duration::from_millis(250);

/// The queues. See [`Aws::sqs_queue`](super::Aws::sqs_queue).
#[derive(Debug, Clone)]
pub struct SqsQueue {
    client: Client,
    url: String,
    findings_url: String,
    sleep: Option<SharedAsyncSleep>,
}

impl SqsQueue {
    pub(super) fn new(client: Client, url: String, sleep: Option<SharedAsyncSleep>) -> Self {
        Self {
            client,
            findings_url: url.clone(),
            url,
            sleep,
        }
    }

    /// Puts what Inspector has found into this queue, instead of the same one.
    #[must_use]
    pub fn with_findings(self, findings_url: impl Into<String>) -> Self {
        Self {
            findings_url: findings_url.into(),
            ..self
        }
    }

    async fn send_all(&self, url: &str, texts: Vec<String>, hidden_for: i32) -> Result<(), PortError> {
        stream::iter(batches(texts))
            .map(Ok)
            .try_for_each_concurrent(MAX_CALLS, |batch| self.send_batch(url, batch, hidden_for))
            .await
    }

    /// Sends messages that fit into one call, and those again that SQS failed to take. One that it refuses keeps none of the
    /// others from being sent.
    async fn send_batch(&self, url: &str, mut texts: Vec<String>, hidden_for: i32) -> Result<(), PortError> {
        let mut refused = None;
        let mut failed = None;
        for n in 0..MAX_SENDS {
            if let Some(sleep) = self.sleep.as_ref().filter(|_| n > 0) {
                sleep.sleep(WAIT.saturating_mul(n)).await;
            }
            (texts, failed) = self.send_once(url, texts, hidden_for, &mut refused).await?;
            if texts.is_empty() {
                break;
            }
        }
        refused.or(failed).map_or(Ok(()), Err)
    }

    /// `sqs:SendMessage`. Gives the messages that SQS failed to take, and the last reason; the first refusal goes to `refused`.
    ///
    /// The errors of the call as a whole are passed on: those that name a missing queue, key or right (`QueueDoesNotExist`,
    /// `InvalidAddress`, `InvalidSecurity`, `KmsAccessDenied`, `KmsDisabled`, `KmsInvalidKeyUsage`, `KmsInvalidState`,
    /// `KmsNotFound`, `KmsOptInRequired`, `UnsupportedOperation`) or a bad batch (`BatchEntryIdsNotDistinct`,
    /// `BatchRequestTooLong`, `EmptyBatchRequest`, `InvalidBatchEntryId`, `TooManyEntriesInBatchRequest`) stay, `KmsThrottled`
    /// and `RequestThrottled` pass.
    async fn send_once(
        &self,
        url: &str,
        texts: Vec<String>,
        hidden_for: i32,
        refused: &mut Option<PortError>,
    ) -> Result<(Vec<String>, Option<PortError>), PortError> {
        let mut entries = Vec::with_capacity(texts.len());
        for (n, text) in texts.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder();
            let entry = entry.id(n.to_string()).message_body(text);
            let entry = entry.delay_seconds(hidden_for).build();
            entries
                .push(entry.map_err(|error| refusal(OPERATION, Retry::Never, "InvalidMessage", &error.to_string()))?);
        }
        let output = self
            .client
            .send_message_batch()
            .queue_url(url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| port_error(OPERATION, &error))?;
        let (mut left, mut failed) = (Vec::new(), None);
        for (n, text) in texts.into_iter().enumerate() {
            let id = n.to_string();
            if output.successful().iter().any(|entry| entry.id() == id) {
                continue;
            }
            let Some(failure) = output.failed().iter().find(|entry| entry.id() == id) else {
                return Err(malformed(OPERATION, "the answer does not name every message"));
            };
            let error = |retry| refusal(OPERATION, retry, failure.code(), failure.message().unwrap_or_default());
            // A key that is throttled counts as the sender's fault too.
            if failure.sender_fault() && !passes(failure.code()) {
                refused.get_or_insert(error(Retry::Never));
            } else {
                failed = Some(error(Retry::Later));
                left.push(text);
            }
        }
        Ok((left, failed))
    }
}

impl Queue for SqsQueue {
    /// `sqs:SendMessage`, ten messages to a call and four calls at a time.
    async fn send(&self, items: &[WorkItem], hidden_for: Duration) -> Result<(), PortError> {
        let hidden_for = i32::try_from(hidden_for.as_secs()).unwrap_or(i32::MAX).min(MAX_DELAY);
        let (mut work, mut findings) = (Vec::new(), Vec::new());
        for item in items {
            let text = serde_json::to_string(item);
            let text = text.map_err(|error| refusal(OPERATION, Retry::Never, "InvalidItem", &error.to_string()))?;
            if item.work.is_of_findings() {
                findings.push(text);
            } else {
                work.push(text);
            }
        }
        self.send_all(&self.url, work, hidden_for).await?;
        self.send_all(&self.findings_url, findings, hidden_for).await
    }

    /// `sqs:GetQueueAttributes`.
    ///
    /// The errors of the call are passed on: those that name a missing queue or right (`QueueDoesNotExist`, `InvalidAddress`,
    /// `InvalidSecurity`, `InvalidAttributeName`, `UnsupportedOperation`) stay, `RequestThrottled` passes.
    async fn waiting(&self) -> Result<u64, PortError> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let output = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .set_attribute_names(Some(names.to_vec()))
            .send()
            .await
            .map_err(|error| port_error(GET_ATTRIBUTES, &error))?;
        let number = |name| {
            let text = output.attributes().and_then(|attributes| attributes.get(name));
            let number = text.and_then(|text| text.parse::<u64>().ok());
            number.ok_or_else(|| malformed(GET_ATTRIBUTES, "the answer does not say how many messages there are"))
        };
        names.iter().map(number).sum()
    }
}

/// The messages, as many to a call as fit.
fn batches(texts: Vec<String>) -> Vec<Vec<String>> {
    let mut batches: Vec<Vec<String>> = Vec::new();
    let mut room = 0;
    for text in texts {
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_MESSAGES && text.len() <= room => {
                room -= text.len();
                batch.push(text);
            }
            _ => {
                room = MAX_BYTES.saturating_sub(text.len());
                batches.push(vec![text]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_ten_messages_and_256_kib_at_most() {
        for (lengths, expected) in [
            (vec![], vec![]),
            (vec![1; 10], vec![10]),
            (vec![1; 21], vec![10, 10, 1]),
            (vec![MAX_BYTES / 2; 3], vec![2, 1]),
            (vec![MAX_BYTES, 1, MAX_BYTES - 1, 1], vec![1, 2, 1]),
            // Too large for one: alone.
            (vec![1, MAX_BYTES + 1, 0, 1], vec![1, 2, 1]),
        ] {
            let texts: Vec<String> = lengths.iter().map(|length| "x".repeat(*length)).collect();
            let batches = batches(texts.clone());
            assert_eq!(batches.concat(), texts, "none is lost, and their order is kept");
            assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), expected);
        }
    }
}
