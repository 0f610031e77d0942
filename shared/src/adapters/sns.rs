//! Alerts through SNS.

use aws_sdk_sns::Client;
use serde::Serialize;

use super::error::{malformed, port_error, refusal};
use crate::{
    domain::{alert::Message, policy::TopicArn},
    ports::{Notifier, PortError, Retry},
};

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

/// The message for each protocol. Those without one of their own (`email-json`, `sqs`, `lambda`, `firehose`, `application`) get
/// `default`.
///
/// Source: SNS, "Publish", `MessageStructure`: the values must be strings, and `default` must be there.
#[derive(Serialize)]
struct Forms<'a> {
    default: &'a str,
    email: &'a str,
    http: &'a str,
    https: &'a str,
    sms: &'a str,
}

impl Notifier for SnsNotifier {
    /// `sns:Publish`. Every error that it models is a failure to tell, and passed on: those that name a missing topic, key or
    /// right (`NotFound`, `AuthorizationError`, `KMSAccessDenied`, `KMSDisabled`, `KMSInvalidState`, `KMSNotFound`,
    /// `KMSOptInRequired`, `EndpointDisabled`, `PlatformApplicationDisabled`, `InvalidSecurity`) or a bad message
    /// (`InvalidParameter`, `ParameterValueInvalid`, `ValidationException`) stay, `InternalError` and `KMSThrottling` pass.
    async fn publish(&self, topic: &TopicArn, message: &Message) -> Result<String, PortError> {
        const OPERATION: &str = "sns:Publish";
        let forms = serde_json::to_string(&Forms {
            default: &message.default,
            email: &message.email,
            http: &message.https,
            https: &message.https,
            sms: &message.sms,
        })
        .map_err(|error| refusal(OPERATION, Retry::Never, "InvalidMessage", &error.to_string()))?;
        self.client
            .publish()
            .topic_arn(topic.as_str())
            .subject(&message.subject)
            .message_structure("json")
            .message(forms)
            .send()
            .await
            .map_err(|error| port_error(OPERATION, &error))?
            .message_id
            .ok_or_else(|| malformed(OPERATION, "the answer names no message id"))
    }
}
