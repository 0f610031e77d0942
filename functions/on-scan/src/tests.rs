use serde_json::json;
use shared::core::{
    finding::{Findings, NoScan, Scan, Severity},
    image::ImageStatus,
    state::State,
};
use shared::{
    engine::reconcile::image::{Outcome, OutcomeKind},
    lambda::{entry::Handled, error::HandlerError},
    ports::Retry,
    testing::{Fault, World, event, finding, handle_event, image, image_key, look_at_event, policy, scan},
};

use crate::select;

fn world(scan: Scan) -> World {
    World::with(&image_key(), image(&image_key()), scan)
}

fn findings(severity: Severity) -> Findings {
    scan(vec![finding("CVE-2026-1", severity)])
}

fn complete() -> String {
    event(
        "ECR Image Scan",
        &json!({"scan-status": "COMPLETE", "finding-severity-counts": {"CRITICAL": 1}, "image-tags": []}),
    )
}

#[track_caller]
fn look(world: &World, payload: &str) -> Outcome {
    look_at_event(world, &policy(""), select, payload)
}

#[test]
fn a_finished_scan_with_a_critical_finding_blocks_the_image() {
    let world = world(Scan::Complete(findings(Severity::Critical)));
    let outcome = look(&world, &complete());
    assert_eq!((outcome.state, outcome.effect), (Some(State::Blocked), Some("archive")));
    assert_eq!(world.image_of(&image_key()).unwrap().status, ImageStatus::Archived);
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn what_the_event_says_of_the_result_is_not_believed() {
    let world = world(Scan::Complete(findings(Severity::Low)));
    assert_eq!(look(&world, &complete()).state, Some(State::Allowed));
}

#[test]
fn inspector_names_the_repository_by_its_arn() {
    let world = world(Scan::Complete(findings(Severity::High)));
    let repository = "arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-api";
    let payload = event(
        "Inspector2 Scan",
        &json!({"scan-status": "INITIAL_SCAN_COMPLETE", "repository-name": repository, "image-tags": ["v1.2.3"], "version": "1.0"}),
    );
    assert_eq!(look(&world, &payload).state, Some(State::Review));
}

#[test]
fn findings_are_the_workers() {
    let world = world(Scan::Absent);
    let image = json!({"repositoryName": image_key().repository.as_str(), "imageHash": image_key().digest.as_str()});
    let payload = event(
        "Inspector2 Finding",
        &json!({"status": "ACTIVE", "severity": "CRITICAL",
            "resources": [{"type": "AWS_ECR_CONTAINER_IMAGE", "details": {"awsEcrContainerImage": image}}]}),
    );
    let handled = handle_event(&world, &policy(""), select, &payload);
    assert!(matches!(handled, Ok(Handled::Ignored { .. })));
    assert!(world.calls().is_empty());
}

#[test]
fn a_failed_scan_is_not_clean() {
    let world = world(Scan::Unavailable(NoScan::Failed));
    let outcome = look(
        &world,
        &event("ECR Image Scan", &json!({"scan-status": "FAILED", "image-tags": []})),
    );
    assert_eq!(outcome.state, Some(State::Unscannable));
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn the_same_event_again_changes_nothing() {
    let world = world(Scan::Complete(findings(Severity::Critical)));
    look(&world, &complete());
    world.forget_calls();
    for _ in 0..4 {
        assert_eq!(look(&world, &complete()).outcome, OutcomeKind::Unchanged);
    }
    assert_eq!((world.writes(), world.sent().len()), (0, 1));
}

#[test]
fn what_is_not_the_end_of_a_scan_is_ignored_without_a_call() {
    let world = world(Scan::Absent);
    for detail_type in ["ECR Image Action", "ECR Replication Action", "ECR Something New"] {
        let payload = event(detail_type, &json!({"action-type": "PUSH"}));
        assert!(matches!(
            handle_event(&world, &policy(""), select, &payload),
            Ok(Handled::Ignored { .. })
        ));
    }
    let elsewhere = complete().replace("us-west-2", "eu-west-1");
    assert!(matches!(
        handle_event(&world, &policy(""), select, &elsewhere),
        Ok(Handled::Ignored { .. })
    ));
    assert!(world.calls().is_empty());
}

#[test]
fn an_image_that_is_gone_is_no_error() {
    let world = World::new();
    assert_eq!(look(&world, &complete()).outcome, OutcomeKind::NoSuchImage);
}

#[test]
fn a_call_that_may_succeed_later_brings_the_event_back() {
    let world = world(Scan::Complete(findings(Severity::Critical)));
    world.fail("ecr:DescribeImageScanFindings", Fault::Before(Retry::Later));
    let error = handle_event(&world, &policy(""), select, &complete()).unwrap_err();
    assert_eq!((error.code(), error.retry()), ("CallFailed", Retry::Later));
    assert_eq!(world.writes(), 0);
    assert_eq!(look(&world, &complete()).state, Some(State::Blocked));
}

#[test]
fn a_call_that_is_refused_is_an_error_of_its_own() {
    let world = world(Scan::Complete(findings(Severity::Critical)));
    world.fail("ecr:DescribeImages", Fault::Before(Retry::Never));
    let error = handle_event(&world, &policy(""), select, &complete()).unwrap_err();
    assert_eq!((error.code(), error.retry()), ("CallRefused", Retry::Never));
}

#[test]
fn poison_is_an_error_and_not_swallowed() {
    let world = world(Scan::Absent);
    let nameless = event(
        "ECR Image Scan",
        &json!({"scan-status": "COMPLETE", "repository-name": 7}),
    );
    for payload in ["", "[]", "{}", nameless.as_str()] {
        let error = handle_event(&world, &policy(""), select, payload).unwrap_err();
        assert!(matches!(error, HandlerError::Poison(_)), "{payload}");
        assert_eq!((error.code(), error.retry()), ("PoisonEvent", Retry::Never));
    }
    assert!(world.calls().is_empty());
}
