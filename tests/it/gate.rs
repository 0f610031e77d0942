//! The gate, with real adapters on an AWS in memory: requests, hooks of ECS, and the forms that are documented.

use serde_json::{Value, json};
use shared::{core::gate, testing};

use crate::{
    calls::{Trial, page},
    support,
};

/// A request about images of the repository of the tests: `:TAG` or `@DIGEST`.
pub(crate) fn request(images: &[&str]) -> String {
    let key = testing::image_key();
    let host = format!(
        "{}.dkr.ecr.{}.amazonaws.com/{}",
        key.account, key.region, key.repository
    );
    let images: Vec<String> = images.iter().map(|image| format!("{host}{image}")).collect();
    json!({"schema": "ecr-guard/gate/v1", "images": images, "context": {"caller": "test"}}).to_string()
}

/// The payload of ECS, as the developer guide has it ("Lifecycle hooks for Amazon ECS service deployments").
pub(crate) fn hook(stage: &str, details: &Value) -> String {
    let arn = |what: &str| format!("arn:aws:ecs:us-west-2:123456789012:{what}");
    json!({"executionId": "0f3a", "lifecycleStage": stage, "resourceArn": arn("service-deployment/prod/api/1"),
        "executionDetails": {"serviceArn": arn("service/prod/api"), "targetServiceRevisionArn": arn("service-revision/prod/api/1"),
            "testTrafficWeights": {}, "productionTrafficWeights": {arn("service-revision/prod/api/0"): 100, arn("service-revision/prod/api/1"): 0}},
        "hookDetails": details})
    .to_string()
}

#[test]
fn the_checked_in_schemas_of_the_gate_are_those_of_the_code() {
    let text = |schema: schemars::Schema| serde_json::to_string_pretty(&schema).unwrap() + "\n";
    support::assert_file_is(
        "docs/gate-request.schema.json",
        &text(schemars::schema_for!(gate::GateRequest)),
    );
    support::assert_file_is(
        "docs/gate-answer.schema.json",
        &text(schemars::schema_for!(gate::Answer)),
    );
}

#[test]
fn a_request_is_answered_whatever_it_is() {
    let (trial, policy) = (Trial::new(Some(vec![page("CRITICAL", 1)])), testing::policy(""));
    let denied = trial.gate(&policy, &request(&[":v1.2.3"])).0;
    assert_eq!(denied["decision"], "deny");
    assert_eq!(denied["exit_code"], 1);
    let digest = testing::image_key().digest;
    assert!(
        denied["images"][0]["pinned"]
            .as_str()
            .unwrap()
            .ends_with(&format!("@{digest}"))
    );
    let many = vec![":v1.2.3"; 51];
    for payload in [
        "{}",
        "[]",
        "1",
        r#"{"schema": "other", "images": ["a"]}"#,
        &request(&[]),
        &request(&many),
    ] {
        let answer = trial.gate(&policy, payload).0;
        assert_eq!(
            (&answer["decision"], &answer["exit_code"]),
            (&json!("deny"), &json!(2)),
            "{payload}"
        );
        assert!(answer["error"].is_string(), "{payload}");
    }
}

#[test]
fn a_hook_lets_pass_what_is_allowed_and_gives_the_reason_of_a_refusal() {
    let policy = testing::policy("");
    let allowed = Trial::new(Some(vec![page("LOW", 1)]));
    assert_eq!(
        allowed.gate(&policy, &hook("PRE_SCALE_UP", &json!({}))).0,
        json!({"hookStatus": "SUCCEEDED"})
    );
    assert_eq!(
        allowed.gate(&policy, &hook("POST_SCALE_UP", &Value::Null)).0,
        json!({"hookStatus": "SUCCEEDED"})
    );

    let denied = Trial::new(Some(vec![page("CRITICAL", 1)]));
    let (answer, calls) = denied.gate(&policy, &hook("PRE_SCALE_UP", &json!({})));
    assert_eq!(answer, json!({"hookStatus": "FAILED"}));
    let published: Vec<_> = calls
        .iter()
        .filter(|call| call.request.operation == "sns:Publish")
        .collect();
    assert_eq!(published.len(), 1);
    let message = published[0].request.body.to_string();
    assert!(
        message.contains("deployment-refused") && message.contains("service-revision") || message.contains("api"),
        "{message}"
    );

    // Hooks of these stages run for rollbacks as well.
    for stage in ["PRODUCTION_TRAFFIC_SHIFT", "TEST_TRAFFIC_SHIFT", "A_STAGE_OF_TOMORROW"] {
        let (answer, calls) = denied.gate(&policy, &hook(stage, &json!({})));
        assert_eq!(answer, json!({"hookStatus": "SUCCEEDED"}), "{stage}");
        assert_eq!(calls.len(), 0, "{stage}");
    }
    // An image that is in production already is not refused.
    let back = hook("PRE_SCALE_UP", &json!({})).replace("api/1\":0", "api/1\":100");
    assert_eq!(denied.gate(&policy, &back).0, json!({"hookStatus": "SUCCEEDED"}));
}

#[test]
fn a_hook_waits_for_a_result_and_hands_itself_since_when() {
    let policy = testing::policy("");
    let waits = Trial::new(None);
    waits.change(|image| image.scan = None);
    let answer = waits
        .gate(
            &policy,
            &hook("PRE_SCALE_UP", &json!({"give_up_minutes": 10, "ours": true})),
        )
        .0;
    assert_eq!(answer["hookStatus"], "IN_PROGRESS");
    assert!(answer["callBackDelay"].as_u64().unwrap() >= 10);
    assert_eq!(answer["hookDetails"]["ours"], true);
    let details = answer["hookDetails"].clone();
    waits.wait(std::time::Duration::from_secs(601));
    assert_eq!(
        waits.gate(&policy, &hook("PRE_SCALE_UP", &details)).0["hookStatus"],
        "SUCCEEDED"
    );
    let mut rolls_back = details;
    rolls_back["on_unavailable"] = json!("ROLLBACK");
    assert_eq!(
        waits.gate(&policy, &hook("PRE_SCALE_UP", &rolls_back)).0["hookStatus"],
        "FAILED"
    );
    // The next stage has a wait of its own.
    assert_eq!(
        waits.gate(&policy, &hook("POST_SCALE_UP", &rolls_back)).0["hookStatus"],
        "IN_PROGRESS"
    );
}
