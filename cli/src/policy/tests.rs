use std::{fs, path::Path};

use guard_core::{policy::Policy, testing::now};

use super::{
    check::{check, written_out},
    checked_text, diff,
};

fn tried() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/policies/tried");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut all: Vec<_> = entries
        .map(|path| (name(&path), fs::read_to_string(&path).unwrap()))
        .collect();
    all.sort();
    assert_eq!(all.len(), 62);
    all
}

/// Texts that people wrote when they tried it, and the answer to each.
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

/// Every mistake of a document is reported at once, and a consequence of one is not.
#[test]
fn all_mistakes_are_reported_at_once() {
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

const OLD: &str = r#"{"version": 1, "mode": "report", "severities": {"HIGH": "review"}, "unfixable": {"CRITICAL": "review"},
    "rules": [{"min_score": 9.0, "action": "block"}, {"fix": "available", "repositories": ["dev-*"], "action": "monitor"}],
    "exceptions": [
        {"vulnerability": "CVE-2026-1", "repositories": ["pay-*"], "owner": "o", "reason": "r", "expires": "2027-01-31"},
        {"vulnerability": "CVE-2026-2", "repositories": ["web"], "owner": "o", "reason": "r", "expires": "2027-01-31"}],
    "repositories": [{"match": "pay-*", "route": "pay", "block": {"method": "flag"}}, {"match": "web"}]}"#;

const NEW: &str = r#"{"version": 1, "mode": "enforce", "block": {"method": "archive", "in_use_days": 30},
    "rules": [{"fix": "available", "repositories": ["dev-*"], "action": "inform"}, {"min_score": 9.0, "action": "block"},
        {"exploit": true, "action": "block"}],
    "exceptions": [{"vulnerability": "cve-2026-1", "repositories": ["pay-*"], "owner": "p", "reason": "r", "expires": "2027-02-28"}],
    "repositories": [{"match": "pay-*", "route": "pay", "block": {"method": "archive"}}, {"match": "app", "mode": "report"}]}"#;

fn compared(old: &str, new: &str) -> Vec<diff::Change> {
    diff::changes(&written_out(old).unwrap(), &written_out(new).unwrap())
}

#[test]
fn a_diff_says_what_another_policy_says_otherwise() {
    assert!(check(OLD, None, now()).valid && check(NEW, None, now()).valid);
    insta::assert_snapshot!(diff::text(&compared(OLD, NEW)));
}

/// Layout, order of members and defaults that are written out are no difference.
#[test]
fn policies_that_say_the_same_have_no_difference() {
    let short = r#"{"version": 1, "mode": "report"}"#;
    let long = r#"{"mode": "report", "severities": {"LOW": "inform", "CRITICAL": "block"}, "block": {"max_blocks_per_hour": 20},
        "digest": {"hour": 7}, "rules": [], "exceptions": [], "version": 1, "$comment": "the same"}"#;
    assert_eq!(compared(short, long), []);
    insta::assert_snapshot!(diff::text(&[]), @"The policies say the same.");
    for (_, text) in tried() {
        if check(&text, None, now()).valid {
            assert_eq!(compared(&text, &text), []);
        }
    }
}

/// Only the first entry of `repositories` that matches counts, and rules and exceptions only where they are for it.
#[test]
fn a_diff_for_a_repository_leaves_out_what_is_for_others() {
    let (old, new) = (written_out(OLD).unwrap(), written_out(NEW).unwrap());
    let all = diff::changes(&old, &new);
    let of = |name: &str| diff::text(&diff::for_repository(&all, &old, &new, &name.parse().unwrap()));
    insta::assert_snapshot!(format!("pay-api\n{}\nelsewhere\n{}", of("pay-api"), of("elsewhere")));
}

fn run(arguments: &[&str]) -> (u8, String, String) {
    let desk = crate::testing::Desk::default();
    for (name, text) in [("old", OLD), ("new", NEW), ("bad", "[]")] {
        desk.put(name, text);
    }
    desk.run(&format!("ecr-guard {}", arguments.join(" ")))
}

#[test]
fn exit_codes_are_those_of_the_help() {
    let code = |arguments: &[&str]| run(arguments).0;
    assert_eq!(code(&["policy", "check", "old"]), 0);
    assert_eq!(code(&["policy", "check", "old", "bad"]), 1);
    assert_eq!(code(&["policy", "check", "old", "bad", "nowhere"]), 2);
    assert_eq!(code(&["policy", "diff", "old", "old"]), 0);
    assert_eq!(code(&["policy", "diff", "old", "new"]), 1);
    assert_eq!(code(&["policy", "diff", "old", "bad"]), 2);
    assert_eq!(code(&["policy", "diff", "--repository", "none", "old", "old"]), 0);
    let (_, said, trouble) = run(&["policy", "check", "nowhere"]);
    assert_eq!(
        (said.as_str(), trouble.as_str()),
        ("", "nowhere: there is no such file.\n")
    );
}

#[test]
fn machines_get_one_document() {
    let (_, said, _) = run(&["--output", "json", "policy", "check", "old", "bad"]);
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(document["schema"], "ecr-guard/policy-check/v1");
    assert_eq!(document["files"][0]["valid"], true);
    assert_eq!(
        document["files"][1]["problems"][0]["text"],
        "A policy is one JSON object { … }."
    );
    let (_, said, _) = run(&["policy", "diff", "old", "new", "--output", "json"]);
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(document["schema"], "ecr-guard/policy-diff/v1");
    assert!(
        document["changes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|change| change["path"] == "mode")
    );
}

#[test]
fn the_help_of_each_command_has_examples() {
    use clap::CommandFactory as _;
    let mut command = crate::Arguments::command();
    command.build();
    let mut help = Vec::new();
    for command in command
        .get_subcommands_mut()
        .filter(|command| command.get_name() != "help")
    {
        if command.has_subcommands() {
            let below = command
                .get_subcommands_mut()
                .filter(|command| command.get_name() != "help");
            help.extend(below.map(|command| command.render_long_help().to_string()));
        } else {
            help.push(command.render_long_help().to_string());
        }
    }
    assert!(
        help.iter()
            .all(|help| help.contains("Examples:") && help.contains("Exit codes:"))
    );
    insta::assert_snapshot!(help.join("\n---\n"));
}

/// One entry that moves is one change, wherever it goes; and the order of exceptions is none.
#[test]
fn what_moves_is_named_and_not_what_it_passes() {
    let policy = |names: &[&str]| {
        let entries: Vec<String> = names.iter().map(|name| format!(r#"{{"match": "{name}"}}"#)).collect();
        format!(
            r#"{{"version": 1, "mode": "report", "repositories": [{}]}}"#,
            entries.join(", ")
        )
    };
    let moved = |to: &[&str]| {
        let changes = compared(&policy(&["a", "b", "c", "d"]), &policy(to));
        let names = changes
            .into_iter()
            .map(|change| format!("{:?} {} {}", change.what, change.path, change.repositories.join(",")));
        names.collect::<Vec<_>>()
    };
    assert_eq!(moved(&["a", "b", "c", "d"]), [] as [&str; 0]);
    assert_eq!(moved(&["d", "a", "b", "c"]), ["Moved repositories[0] d"]);
    assert_eq!(moved(&["b", "c", "d", "a"]), ["Moved repositories[3] a"]);
    assert_eq!(moved(&["b", "c", "d"]), ["Removed repositories[0] a"]);
    assert_eq!(moved(&["x", "a", "b", "c", "d"]), ["Added repositories[0] x"]);
}

/// A ledger and a policy, to try the commands with. With `ECR_GUARD_UPDATE`, they are written.
#[test]
#[expect(clippy::disallowed_methods, reason = "whether the files are to be written")]
fn the_ledger_of_the_page_can_be_tried_without_aws() {
    let desk = crate::testing::desk();
    for name in ["ledger.jsonl", "stricter.json"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../docs/examples")
            .join(name);
        let right = String::from_utf8(desk.files.lock().unwrap().get(name).unwrap().clone()).unwrap();
        if std::env::var("ECR_GUARD_UPDATE").is_ok() {
            fs::write(&path, &right).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), right, "{name}");
    }
}

/// The tried files, at the time of the tests.
/// With `ECR_GUARD_UPDATE`, the page is written.
#[test]
#[expect(clippy::disallowed_methods, reason = "whether the page is to be written")]
fn the_page_shows_what_the_commands_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let page = fs::read_to_string(&path).unwrap();
    let mut parts = page.split("```text\n$ ");
    let mut right = parts.next().unwrap().to_owned();
    let mut number = 0;
    for part in parts {
        let (example, rest) = part.split_once("```").unwrap();
        let (command, _) = example.split_once('\n').unwrap();
        let (_, out, _) = crate::testing::desk()
            .with_gate(crate::gate::tests::denied())
            .run(command);
        right.push_str(&format!("```text\n$ {command}\n{out}```{rest}"));
        number += 1;
    }
    assert_eq!(number, 10);
    if std::env::var("ECR_GUARD_UPDATE").is_ok() {
        fs::write(&path, &right).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), right);
}
