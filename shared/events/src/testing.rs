//! For tests: events as EventBridge would send them.

use guard_core::testing::image_key;
use serde_json::{Value, json};

/// An event about [`image_key`]: its detail type, and the members of its detail besides repository, digest and result.
pub fn event(detail_type: &str, members: &Value) -> String {
    let key = image_key();
    let mut detail = json!({
        "repository-name": key.repository.as_str(),
        "image-digest": key.digest.as_str(),
        "result": "SUCCESS",
    });
    if let (Some(detail), Some(members)) = (detail.as_object_mut(), members.as_object()) {
        detail.extend(members.clone());
    }
    json!({
        "version": "0",
        "id": "13cde686-328b-6117-af20-0e5566167482",
        "detail-type": detail_type,
        "source": "aws.ecr",
        "account": key.account.as_str(),
        "time": "2026-11-24T11:59:30Z",
        "region": key.region.as_str(),
        "resources": [],
        "detail": detail,
    })
    .to_string()
}
