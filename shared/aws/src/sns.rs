//! Alerts through SNS.

use aws_sdk_sns::Client;

use crate::error::{malformed, port_error};
use guard_core::{alert::Message, ids::TopicArn};
use guard_ports::{Notifier, PortError};

/// The way to topics. See [`Aws::sns_notifier`](super::Aws::sns_notifier).
#[derive(Debug, Clone)]
pub struct SnsNotifier {
    client: Client,
}

impl SnsNotifier {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }
}

impl Notifier for SnsNotifier {
    /// `sns:Publish`. Every error that it models means that the alert was not sent, and is passed on: those that name a missing
    /// topic, key or right (`NotFound`, `AuthorizationError`, `KMSAccessDenied`, `KMSDisabled`, `KMSInvalidState`,
    /// `KMSNotFound`, `KMSOptInRequired`, `EndpointDisabled`, `PlatformApplicationDisabled`, `InvalidSecurity`) or a bad
    /// message (`InvalidParameter`, `ParameterValueInvalid`, `ValidationException`) are permanent, `InternalError` and
    /// `KMSThrottling` pass.
    async fn publish(&self, topic: &TopicArn, message: &Message) -> Result<String, PortError> {
        const OPERATION: &str = "sns:Publish";
        self.client
            .publish()
            .topic_arn(topic.as_str())
            .subject(&message.subject)
            .message_structure("json")
            .message(message.body())
            .send()
            .await
            .map_err(|error| port_error(OPERATION, &error))?
            .message_id
            .ok_or_else(|| malformed(OPERATION, "the answer names no message id"))
    }
}
