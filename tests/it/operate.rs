//! Releases by people, with real adapters on an AWS in memory.

use serde_json::{Value, json};
use shared::{
    core::{
        ids::registry_host,
        release::{
            identity::StsRequest,
            request::{AskedRelease, REQUEST_SCHEMA, ReleaseRequest, Verb},
        },
    },
    ports::{Callers, PortError, StsAnswer},
    testing,
};

use crate::{
    calls::{Trial, page},
    support,
};

/// The function, as Lambda names it where its alias is invoked.
pub(crate) const FUNCTION: &str = "arn:aws:lambda:us-west-2:123456789012:function:guard-operate:live";

/// The member of the policy that lets [`Sts`]'s role release images.
pub(crate) fn allowed() -> Value {
    json!({"allow": true, "require_ticket": false, "principals": ["arn:aws:iam::123456789012:role/oncall"]})
}

/// AWS STS.
pub(crate) struct Sts;

impl Callers for Sts {
    async fn caller(&self, _: &StsRequest) -> Result<StsAnswer, PortError> {
        let body = "<Arn>arn:aws:sts::123456789012:assumed-role/oncall/alice</Arn><Account>123456789012</Account>";
        Ok(StsAnswer {
            status: 200,
            body: body.to_owned(),
        })
    }
}

/// A request of the command line, made at this time.
pub(crate) fn request(action: Verb, at: jiff::Timestamp) -> String {
    let key = testing::image_key();
    let is_release = action == Verb::Release;
    let asked = AskedRelease {
        schema: REQUEST_SCHEMA.to_owned(),
        id: format!("{:032x}", at.as_nanosecond()),
        action,
        image: format!("{}/{key}", registry_host(&key.account, &key.region)),
        hours: is_release.then_some(4),
        reason: is_release.then(|| "checkout is down".to_owned()),
        ticket: None,
    };
    let function = FUNCTION.trim_end_matches(":live");
    ReleaseRequest::json(&asked, &testing::signed_identity(&asked, function, at)).to_string()
}

#[test]
fn a_person_releases_an_image_and_ends_that() {
    let trial = Trial::new(Some(vec![page("CRITICAL", 1)]));
    let policy = testing::policy(&format!(r#""release": {}"#, allowed()));
    let scanned = testing::event("ECR Image Scan", &json!({"scan-status": "COMPLETE", "image-tags": []}));
    drop(trial.attempt(on_scan::select, &policy, &scanned));
    let (released, calls) = trial.operate(&policy, Verb::Release);
    assert_eq!(
        (&released["outcome"], &released["restoring"]),
        (&json!("released"), &json!(true)),
        "{released}"
    );
    let operations: Vec<&str> = calls.iter().map(|call| call.request.operation.as_str()).collect();
    for operation in [
        "dynamodb:UpdateItem",
        "dynamodb:PutItem",
        "ecr:UpdateImageStorageClass",
        "sns:Publish",
    ] {
        assert!(operations.contains(&operation), "{operations:?}");
    }
    let (ended, _) = trial.operate(&policy, Verb::End);
    assert_eq!(ended["outcome"], "ended", "{ended}");
    let (again, _) = trial.operate(&policy, Verb::End);
    assert_eq!(
        (&again["outcome"], &again["code"]),
        (&json!("refused"), &json!("not-released"))
    );
}

#[test]
fn whatever_is_asked_is_answered() {
    let (trial, policy) = (Trial::new(None), testing::policy(""));
    for payload in ["{}", "[]", "null", r#"{"schema": "ecr-guard/operate/v1"}"#, "\"x\""] {
        let (answer, calls) = trial.operate_with(&policy, payload);
        assert_eq!(
            (&answer["outcome"], &answer["code"]),
            (&json!("refused"), &json!("invalid")),
            "{payload}"
        );
        assert_eq!(calls.len(), 0, "{payload}");
    }
}

/// The page says what each refusal means.
#[test]
fn every_refusal_is_documented() {
    let page = std::fs::read_to_string(support::root().join("docs/release.md")).unwrap();
    for code in [
        "invalid",
        "unidentified",
        "expired-identity",
        "not-allowed",
        "too-long",
        "no-ticket",
        "not-found",
        "not-blocked",
        "not-released",
        "replayed",
        "busy",
    ] {
        assert!(page.contains(&format!("| `{code}` |")), "{code}");
    }
}
