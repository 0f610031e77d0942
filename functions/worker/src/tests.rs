use serde_json::json;
use shared::core::{
    finding::{Scan, Severity},
    state::State,
};
use shared::{
    lambda::entry::Handled,
    testing::{World, event, finding, handle_event, image, image_key, look_at_event, policy, scan},
};

use crate::select;

fn world(scan: Scan) -> World {
    World::with(&image_key(), image(&image_key()), scan)
}

fn inspector_finding(status: &str, image: &serde_json::Value) -> String {
    let repository = image_key().repository;
    let mut image = image.clone();
    image["repositoryName"] = json!(repository.as_str());
    event(
        "Inspector2 Finding",
        &json!({"status": status, "severity": "MEDIUM", "epss": {"score": 0.8},
            "packageVulnerabilityDetails": {"vulnerabilityId": "CVE-2026-1"},
            "resources": [{"type": "AWS_ECR_CONTAINER_IMAGE", "details": {"awsEcrContainerImage": image}}]}),
    )
}

#[test]
fn a_finding_that_is_likely_to_be_exploited_is_evaluated_by_that() {
    let world = world(Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Medium)])));
    let payload = inspector_finding("ACTIVE", &json!({"imageHash": image_key().digest.as_str()}));
    let likely = policy(r#""rules": [{"min_epss": 0.5, "action": "block"}]"#);
    assert_eq!(
        look_at_event(&world, &policy(""), select, &payload).state,
        Some(State::Allowed)
    );
    assert_eq!(
        look_at_event(&world, &likely, select, &payload).state,
        Some(State::Blocked)
    );
}

#[test]
fn a_finding_announces_no_result_that_would_be_waited_for() {
    let world = world(Scan::Absent);
    let payload = inspector_finding("ACTIVE", &json!({"imageHash": image_key().digest.as_str()}));
    assert_eq!(
        look_at_event(&world, &policy(""), select, &payload).state,
        Some(State::Pending)
    );
}

#[test]
fn a_finding_that_does_not_stand_any_more_releases_the_image() {
    let world = world(Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Critical)])));
    let flag = policy(r#""block": {"method": "flag"}"#);
    let image = json!({"imageHash": image_key().digest.as_str()});
    let active = inspector_finding("ACTIVE", &image);
    assert_eq!(
        look_at_event(&world, &flag, select, &active).state,
        Some(State::Blocked)
    );
    world.set_scan(&image_key(), Scan::Complete(scan(Vec::new())));
    for status in ["CLOSED", "SUPPRESSED"] {
        let outcome = look_at_event(&world, &flag, select, &inspector_finding(status, &image));
        assert_eq!(outcome.state, Some(State::Allowed), "{status}");
    }
}

#[test]
fn what_is_no_finding_or_names_no_digest_is_ignored_without_a_call() {
    let world = world(Scan::Absent);
    for payload in [
        inspector_finding("ACTIVE", &json!({"imageTags": ["v1.2.3"]})),
        event("ECR Image Scan", &json!({"scan-status": "COMPLETE", "image-tags": []})),
        event("ECR Image Action", &json!({"action-type": "PUSH"})),
    ] {
        let handled = handle_event(&world, &policy(""), select, &payload);
        assert!(matches!(handled, Ok(Handled::Ignored { .. })), "{payload}");
    }
    assert!(world.calls().is_empty());
}
