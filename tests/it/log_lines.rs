//! The lines that a function writes: one at `INFO` for an event, and one at `DEBUG` for each step.

use std::process::Command;

use serde_json::{Value, json};
use shared::{
    core::finding::{Scan, Severity},
    lambda::{config::environment, entry::Handled, log},
    testing::{World, event, finding, handle_event, image, image_key, policy, scan},
};

/// Set in the process whose output is read.
const LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";

/// A text that alerts say of a finding: no line of the log may have it.
const TITLE_OF_FINDING: &str = "CVE-2026-1";

/// Handles an event that blocks an image. In the process of its own, the functions' own subscriber writes the lines.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a switch of the tests, not configuration of the product"
)]
fn a_process_of_its_own_blocks_an_image() {
    if std::env::var("ECR_GUARD_LINES").is_ok() {
        log::start(environment);
    }
    let findings = scan(vec![finding(TITLE_OF_FINDING, Severity::Critical)]);
    let world = World::with(&image_key(), image(&image_key()), Scan::Complete(findings));
    let payload = event(
        "ECR Image Scan",
        &json!({"scan-status": "COMPLETE", "finding-severity-counts": {"CRITICAL": 1}, "image-tags": []}),
    );
    let handled = handle_event(&world, &policy(""), on_scan::select, &payload).unwrap();
    assert!(matches!(handled, Handled::Looked(outcome) if outcome.effect == Some("archive")));
    assert_eq!(world.sent().len(), 1);
}

/// The output of that process, line by line.
fn lines(level: &str) -> Vec<Value> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "log_lines::a_process_of_its_own_blocks_an_image",
            "--nocapture",
        ])
        .env("ECR_GUARD_LINES", "1")
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .env(LEVEL, level)
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    let objects = text.lines().filter_map(|line| Some(line.split_at(line.find('{')?).1));
    objects.map(|object| serde_json::from_str(object).unwrap()).collect()
}

fn messages(lines: &[Value], level: &str) -> Vec<String> {
    let of_level = lines.iter().filter(|line| line["level"] == level);
    of_level
        .map(|line| {
            line["fields"]["message"]
                .as_str()
                .unwrap_or("the line of the event")
                .to_owned()
        })
        .collect()
}

#[test]
fn an_event_is_one_line_at_info() {
    let lines = lines("INFO");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!((&lines[0]["level"], &lines[0]["Blocks"]), (&json!("INFO"), &json!(1)));
}

#[test]
fn each_step_is_a_line_at_debug() {
    let lines = lines("DEBUG");
    assert_eq!(messages(&lines, "INFO"), ["the line of the event"]);
    assert_eq!(
        messages(&lines, "DEBUG"),
        [
            "facts gathered",
            "decided: something must be asked first",
            "decided: a step is carried out",
            "claim: the record is written",
            "effect: done, if the step has one",
            "notify: the alerts of the step are sent, if it has any",
            "record: the step is complete",
        ]
    );
    assert_eq!(lines.len(), 8, "{lines:#?}");
    for line in lines.iter().filter(|line| line["level"] == "DEBUG") {
        assert!(
            line["fields"]["of"]
                .as_str()
                .unwrap()
                .contains(image_key().digest.as_str()),
            "{line}"
        );
        assert!(!line.to_string().contains(TITLE_OF_FINDING), "{line}");
        // Nothing of an alert, and nothing that is as long as one.
        assert!(line.to_string().len() < 600, "{line}");
    }
}
