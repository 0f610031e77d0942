//! Keys.

use serde_json::{Value, json};
use shared::{
    core::repository::keys::{KeyArn, KeyHealth, KeyRotation, KeyState},
    ports::{Keys as _, PortError, Retry},
};

use super::*;
use crate::canned::{FakeAws, Reply};

const KEY: &str = "arn:aws:kms:us-west-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

fn arn() -> KeyArn {
    KEY.parse().unwrap()
}

fn metadata(more: Value) -> Reply {
    let metadata = json!({"KeyId": "1234abcd-12ab-34cd-56ef-1234567890ab", "KeyManager": "CUSTOMER", "KeyState": "Enabled",
        "KeySpec": "SYMMETRIC_DEFAULT", "Origin": "AWS_KMS"});
    Reply::Ok(json!({"KeyMetadata": with(metadata, more)}))
}

fn look(described: Reply, rotation: Reply) -> (FakeAws, Result<KeyHealth, PortError>) {
    let world = FakeAws::scripted([("kms:DescribeKey", described), ("kms:GetKeyRotationStatus", rotation)]);
    let result = world.run(world.aws().kms_keys().key(&arn()));
    (world, result)
}

fn rotates(on: bool) -> Reply {
    Reply::Ok(json!({"KeyRotationEnabled": on}))
}

#[test]
fn a_key_is_what_kms_says() {
    let known = |state, customer_managed, rotation| KeyHealth::Known {
        state,
        customer_managed,
        rotation,
    };
    for (described, rotation, expected) in [
        (
            json!({}),
            rotates(true),
            known(KeyState::Enabled, true, KeyRotation::On),
        ),
        (
            json!({}),
            rotates(false),
            known(KeyState::Enabled, true, KeyRotation::Off),
        ),
        (
            json!({}),
            Reply::error("UnsupportedOperationException"),
            known(KeyState::Enabled, true, KeyRotation::NotPossible),
        ),
        (
            json!({"KeyState": "Disabled"}),
            rotates(true),
            known(KeyState::Disabled, true, KeyRotation::On),
        ),
    ] {
        let (world, result) = look(metadata(described), rotation);
        assert_eq!(result.unwrap(), expected);
        assert_eq!(world.only_body("kms:DescribeKey"), json!({"KeyId": KEY}));
    }
    // Without a second call.
    for (described, expected) in [
        (
            json!({"KeyManager": "AWS"}),
            known(KeyState::Enabled, false, KeyRotation::On),
        ),
        (
            json!({"KeySpec": "RSA_2048"}),
            known(KeyState::Enabled, true, KeyRotation::NotPossible),
        ),
        (
            json!({"Origin": "EXTERNAL"}),
            known(KeyState::Enabled, true, KeyRotation::NotPossible),
        ),
        (
            json!({"KeyState": "PendingDeletion", "DeletionDate": 1_764_000_000}),
            known(
                KeyState::PendingDeletion(Some("2025-11-24T16:00:00Z".parse().unwrap())),
                true,
                KeyRotation::NotPossible,
            ),
        ),
        (
            json!({"KeyState": "Unavailable"}),
            known(KeyState::Unavailable, true, KeyRotation::NotPossible),
        ),
        (
            json!({"KeyState": "PendingReplicaDeletion"}),
            known(KeyState::PendingReplicaDeletion, true, KeyRotation::NotPossible),
        ),
        (
            json!({"KeyState": "Melted"}),
            known(KeyState::Other("Melted".to_owned()), true, KeyRotation::NotPossible),
        ),
    ] {
        let world = FakeAws::scripted([("kms:DescribeKey", metadata(described))]);
        assert_eq!(world.run(world.aws().kms_keys().key(&arn())).unwrap(), expected);
    }
}

#[test]
fn what_kms_refuses_to_answer_is_not_known_and_what_fails_is_tried_again() {
    let (_, result) = look(Reply::error("AccessDeniedException"), rotates(true));
    // Compared from look to look: no text of KMS is in it, in which stand who asked and the id of the request.
    assert!(
        matches!(result.unwrap(), KeyHealth::NotTold(refusal) if refusal.code == "kms:DescribeKey answers AccessDeniedException")
    );
    // That there is no such key is an answer.
    let (_, result) = look(Reply::error("NotFoundException"), rotates(true));
    assert_eq!(result.unwrap(), KeyHealth::Gone);
    // The first answer is remembered.
    let (_, result) = look(
        metadata(json!({"KeyState": "Disabled"})),
        Reply::error("AccessDeniedException"),
    );
    let KeyHealth::Known { state, rotation, .. } = result.unwrap() else {
        panic!("the state is known")
    };
    assert_eq!(state, KeyState::Disabled);
    assert!(
        matches!(rotation, KeyRotation::NotTold(refusal) if refusal.code == "kms:GetKeyRotationStatus answers AccessDeniedException")
    );
    let world = FakeAws::new(|_| Reply::error("ThrottlingException"));
    let result = world.run(world.aws().kms_keys().key(&arn()));
    assert_failed(result, "kms:DescribeKey", Retry::Later, "ThrottlingException");
    let (_, result) = look(Reply::Ok(json!({})), rotates(true));
    assert_failed(result, "kms:DescribeKey", Retry::Later, "MalformedResponse");
}

#[test]
fn a_key_is_asked_for_once() {
    let world = FakeAws::new(|request| match request.operation.as_str() {
        "kms:DescribeKey" => metadata(json!({})),
        _ => rotates(true),
    });
    let keys = world.aws().kms_keys();
    world.run(async {
        keys.key(&arn()).await.unwrap();
        keys.key(&arn()).await.unwrap();
    });
    assert_eq!(world.calls().len(), 2);
}
