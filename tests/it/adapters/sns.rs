//! Alerts.

use serde_json::{Value, json};
use shared::{
    core::alert::Message,
    ports::{Notifier as _, PortError, Retry},
};

use super::*;
use crate::canned::{FakeAws, Reply};

const OPERATION: &str = "sns:Publish";
pub(super) const TOPIC: &str = "arn:aws:sns:us-west-2:123456789012:alerts";

pub(super) fn alert() -> Message {
    Message {
        subject: "ecr-guard: image blocked in team/api".to_owned(),
        default: "{\"schema\":\"ecr-guard/alert/v2\"}".to_owned(),
        email: "line one\nline \"two\" & more: 100%".to_owned(),
        https: "{\"version\":\"1.0\"}".to_owned(),
        sms: "blocked: team/api".to_owned(),
    }
}

fn publish(reply: Reply) -> (FakeAws, Result<String, PortError>) {
    let world = FakeAws::new(move |_| reply.clone());
    let notifier = world.aws().sns_notifier();
    let result = world.run(notifier.publish(&TOPIC.parse().unwrap(), &alert()));
    (world, result)
}

#[test]
fn an_alert_is_published_in_the_form_of_every_protocol() {
    let (world, result) = publish(Reply::Ok(json!({"MessageId": "m-1"})));
    assert_eq!(result, Ok("m-1".to_owned()));
    let mut body = world.only_body(OPERATION);
    let forms: Value = serde_json::from_str(body["Message"].take().as_str().unwrap()).unwrap();
    assert_eq!(
        body,
        json!({
            "Action": "Publish",
            "Version": "2010-03-31",
            "TopicArn": TOPIC,
            "Subject": "ecr-guard: image blocked in team/api",
            "MessageStructure": "json",
            "Message": null,
        })
    );
    // The alert decides the text of each form; this test checks that each arrives where it belongs.
    let Message {
        default,
        email,
        https,
        sms,
        ..
    } = alert();
    for (protocol, form) in [("default", default), ("email", email), ("https", https), ("sms", sms)] {
        assert_eq!(forms[protocol], form, "{protocol}");
    }
}

#[test]
fn every_error_of_a_topic_is_passed_on() {
    for (code, retry, calls) in [
        ("AuthorizationError", Retry::Never, 1),
        ("EndpointDisabled", Retry::Never, 1),
        ("InternalError", Retry::Later, 3),
        ("InvalidParameter", Retry::Never, 1),
        ("ParameterValueInvalid", Retry::Never, 1),
        ("InvalidSecurity", Retry::Never, 1),
        ("KMSAccessDenied", Retry::Never, 1),
        ("KMSDisabled", Retry::Never, 1),
        ("KMSInvalidState", Retry::Never, 1),
        ("KMSNotFound", Retry::Never, 1),
        ("KMSOptInRequired", Retry::Never, 1),
        ("KMSThrottling", Retry::Later, 1),
        ("NotFound", Retry::Never, 1),
        ("PlatformApplicationDisabled", Retry::Never, 1),
        ("ValidationException", Retry::Never, 1),
        ("Throttled", Retry::Later, 1),
        ("Throttling", Retry::Later, 3),
    ] {
        let (world, result) = publish(Reply::error(code));
        assert_failed(result, OPERATION, retry, code);
        assert_eq!(world.count(OPERATION), calls, "{code}");
    }
}

#[test]
fn without_a_message_id_an_alert_is_not_known_to_be_sent() {
    let (_, result) = publish(Reply::Ok(json!({})));
    assert_failed(result, OPERATION, Retry::Later, "MalformedResponse");
}
