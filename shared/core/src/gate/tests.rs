//! The forms of the gate: what counts as which answer, and how ECS's words are read.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    form::{Answer, Asked, Decision, ImageAnswer},
    hook::{HookAnswer, HookRequest, HookStatus},
};

const IMAGE: &str = "123456789012.dkr.ecr.us-west-2.amazonaws.com/api:1";

fn now() -> Timestamp {
    "2026-11-30T08:00:00Z".parse().unwrap()
}

fn image(decision: Decision) -> ImageAnswer {
    ImageAnswer::new(&Asked::new(IMAGE), decision, "State", String::new())
}

#[test]
fn a_wait_outranks_what_could_not_be_found_out() {
    use Decision::{Allow, Deny, Unavailable, Wait};
    for (decisions, expected, exit_code) in [
        (&[Wait, Unavailable][..], Wait, 3),
        (&[Unavailable, Allow, Wait], Wait, 3),
        (&[Unavailable, Allow], Unavailable, 4),
        (&[Wait, Deny, Unavailable], Deny, 1),
        (&[Allow], Allow, 0),
    ] {
        let answer = Answer::of(decisions.iter().map(|decision| image(*decision)).collect(), now());
        assert_eq!(
            (answer.decision, answer.exit_code),
            (expected, exit_code),
            "{decisions:?}"
        );
    }
}

fn call(details: &Value) -> Value {
    json!({"lifecycleStage": "PRE_SCALE_UP", "executionDetails": {"targetServiceRevisionArn": "revision/1"}, "hookDetails": details})
}

fn hook(payload: &Value) -> HookRequest {
    HookRequest::parse(&payload.to_string()).unwrap_or_else(|| panic!("a hook: {payload}"))
}

/// The answers of a hook with these details that waits for `minutes` and a second.
fn after(details: &Value, minutes: i64) -> HookAnswer {
    let first = hook(&call(details)).waits(None, now());
    assert_eq!(first.hook_status, HookStatus::InProgress, "{details}");
    let later = now() + SignedDuration::from_secs(minutes * 60 + 1);
    hook(&call(&json!(first.hook_details))).waits(None, later)
}

#[test]
fn only_a_known_word_lets_a_deployment_go_on_after_a_wait() {
    for (details, expected) in [
        (json!({}), HookStatus::Succeeded),
        (Value::Null, HookStatus::Succeeded),
        (json!(""), HookStatus::Succeeded),
        (json!({"on_unavailable": null}), HookStatus::Succeeded),
        (json!({"on_unavailable": "CONTINUE"}), HookStatus::Succeeded),
        (json!({"on_unavailable": "continue"}), HookStatus::Succeeded),
        (json!({"on_unavailable": "ROLLBACK"}), HookStatus::Failed),
        (json!({"on_unavailable": "fail"}), HookStatus::Failed),
        (json!({"on_unavailable": "ROLBACK"}), HookStatus::Failed),
        (json!({"on_unavailable": ""}), HookStatus::Failed),
        (json!({"on_unavailable": true}), HookStatus::Failed),
        // As a document in a string, as Terraform's `jsonencode` writes it.
        (json!(r#"{"on_unavailable": "ROLLBACK"}"#), HookStatus::Failed),
        (json!(r#"{"on_unavailable": "CONTINUE"}"#), HookStatus::Succeeded),
        // Details that cannot be read.
        (json!("on_unavailable = ROLLBACK"), HookStatus::Failed),
        (json!(["ROLLBACK"]), HookStatus::Failed),
    ] {
        assert_eq!(after(&details, 10).hook_status, expected, "{details}");
    }
}

#[test]
fn the_minutes_of_a_wait_are_read_in_every_form_of_a_number() {
    for (minutes, ends_after) in [
        (json!(60), 60),
        (json!(60.0), 60),
        (json!("60"), 60),
        (json!("60.0"), 60),
        (json!(0.5), 1),
        (json!(1e9), 1440),
        (json!("NaN"), 10),
        (json!("ten"), 10),
        (json!(null), 10),
    ] {
        for details in [
            json!({"give_up_minutes": minutes}),
            json!(json!({"give_up_minutes": minutes}).to_string()),
        ] {
            let status = |after_minutes: i64| after(&details, after_minutes).hook_status;
            assert_eq!(status(ends_after), HookStatus::Succeeded, "{details}");
            assert_eq!(status(ends_after - 1), HookStatus::InProgress, "{details}");
        }
    }
    // No wait at all.
    let answer = hook(&call(&json!({"give_up_minutes": -5}))).waits(None, now());
    assert_eq!(answer.hook_status, HookStatus::Succeeded);
}

#[test]
fn a_wait_is_that_of_one_stage_and_one_revision() {
    let first = hook(&call(&json!({}))).waits(None, now());
    let later = now() + SignedDuration::from_mins(11);
    let mut again = call(&json!(first.hook_details));
    assert_eq!(hook(&again).waits(None, later).hook_status, HookStatus::Succeeded);
    again["executionDetails"]["targetServiceRevisionArn"] = json!("revision/2");
    assert_eq!(hook(&again).waits(None, later).hook_status, HookStatus::InProgress);
    again["executionDetails"] = json!({});
    let unnamed = hook(&again).waits(None, later);
    assert_eq!(unnamed.hook_status, HookStatus::InProgress);
    // A revision that nobody names waits no longer than any other.
    again["hookDetails"] = json!(unnamed.hook_details);
    let last = hook(&again).waits(None, later + SignedDuration::from_mins(11));
    assert_eq!(last.hook_status, HookStatus::Succeeded);
}

#[test]
fn a_call_of_ecs_is_known_by_any_of_its_members() {
    for payload in [
        json!({"executionDetails": {}}),
        json!({"hookDetails": {}}),
        json!({"resourceArn": "service-deployment/prod/api/1"}),
        json!({"lifecycleStage": "PRE_SCALE_UP"}),
        json!({"targetServiceRevisionArn": "revision/1"}),
    ] {
        // A stage that is not named is no reason to check nothing.
        assert_eq!(hook(&payload).passes(), None, "{payload}");
    }
    for payload in [
        json!({}),
        json!([]),
        json!({"schema": "ecr-guard/gate/v1", "images": [IMAGE], "resourceArn": "mine"}),
        json!({"images": [IMAGE]}),
    ] {
        assert_eq!(HookRequest::parse(&payload.to_string()), None, "{payload}");
    }
}
