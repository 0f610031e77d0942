use std::{fs, path::Path};

use guard_core::{policy::Policy, testing::now};

use super::{check::check, checked_text};

fn tried() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/policies/tried");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut all: Vec<_> = entries
        .map(|path| (name(&path), fs::read_to_string(&path).unwrap()))
        .collect();
    all.sort();
    assert_eq!(all.len(), 61);
    all
}

/// What people wrote when they tried it, and what each of them reads.
#[test]
fn every_tried_file_gets_its_answer() {
    let answers = tried()
        .into_iter()
        .map(|(name, text)| checked_text(&name, &check(&text, None, now())));
    insta::assert_snapshot!(answers.collect::<Vec<_>>().join("\n"));
}

/// The check is what is deployed by: what it lets through is read, and what the functions' own reader refuses it refuses.
#[test]
fn the_check_and_the_reader_of_the_functions_agree() {
    for (name, text) in tried() {
        let text = text.trim_start_matches('\u{feff}');
        let has_routes = text.contains("\"routes\"");
        let read = Policy::from_json(text, now());
        let checked = check(text, None, now());
        if has_routes {
            assert_eq!(checked.valid, read.is_ok(), "{name}: {read:?}");
        }
        assert_eq!(checked.valid, checked.problems.is_empty(), "{name}");
    }
}

/// Every mistake of a document is told at once, and what follows from one is not.
#[test]
fn all_mistakes_are_told_at_once() {
    let text = r#"{
  "version": "1",
  "mod": "enforce",
  "severities": {"CRITICAL": "deny", "HIHG": "block"},
  "rules": [{"min_epss": 7, "min_score": 11, "action": "block"}, {"action": "block"}],
  "block": {"in_use_days": 900, "max_blocks_per_hour": 0},
  "exceptions": [
    {"vulnerability": "^CVE$", "repositories": ["A", "b c"], "owner": "", "reason": "", "expires": "2028-01-01", "digest": "x"},
    {"repositories": "a", "owner": "o", "reason": "r", "expiry": "1.2.2027"}
  ],
  "repositories": [{"match": "*", "tags": {}}, {"match": "a", "route": "nobody", "replication": {"regions": []}}],
  "routes": {"default": "alerts", "x": "arn:aws:sns:us-west-2:123456789012:a.fifo"}
}"#;
    insta::assert_snapshot!(checked_text("acme.json", &check(text, None, now())));
}

#[test]
fn routes_that_the_deployment_adds_can_be_named() {
    let text = r#"{"version": 1, "mode": "report", "repositories": [{"match": "a", "route": "pay"}, {"match": "b", "route": "wbe"}]}"#;
    assert!(check(text, None, now()).valid);
    let routes = ["pay".to_owned(), "web".to_owned()];
    insta::assert_snapshot!(checked_text("p", &check(text, Some(&routes), now())), @r"
    p:1:107: repositories[1].route: There is no route `wbe` in `routes`.
    1 problem
    ");
}

/// Whatever is written, there is an answer and a place.
#[test]
fn no_text_is_too_odd() {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for text in [
        "",
        "\u{feff}",
        "null",
        "\"x\"",
        "{",
        "{}",
        "[{}]",
        "{\"a\":",
        "{\"exceptions\": [null, 1, {}]}",
        "\u{1f600}",
        "{\"\u{e9}\": 1, \"version\": 01}",
        &deep,
        "{\"exceptions\": [{}, {\"expires\": null}], \"rules\": {}, \"routes\": {\"default\": null, \"a.b[0]\": 1}}",
    ] {
        let checked = check(text, None, now());
        assert!(!checked.valid && !checked.problems.is_empty(), "{text:.40}");
        assert!(checked.problems.iter().all(|said| said.line > 0 && said.column > 0));
    }
}
