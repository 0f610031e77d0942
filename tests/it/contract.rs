//! Our assumptions about ECR (`tests/contract`): each case names a line of the code that rests on it, and the emulator's README
//! lists those that AWS has not answered.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use serde_json::Value;

use crate::support;

const README: &str = "tests/emulator/README.md";
const BEGIN: &str = "<!-- waiting for an answer of AWS: begin -->\n";
const END: &str = "<!-- waiting for an answer of AWS: end -->";

fn cases() -> Vec<Value> {
    let file = fs::read_to_string(support::root().join("tests/contract/cases.json")).unwrap();
    let document: Value = serde_json::from_str(&file).unwrap();
    document["cases"].as_array().unwrap().clone()
}

#[test]
fn every_case_names_a_line_of_code_that_rests_on_it() {
    let cases = cases();
    assert!(cases.len() >= 40, "{}", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|case| case["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), cases.len(), "a name is used twice");
    let mut gone = Vec::new();
    for case in &cases {
        let (file, line) = (
            case["rests"]["file"].as_str().unwrap(),
            case["rests"]["line"].as_str().unwrap(),
        );
        let text = fs::read_to_string(support::root().join(file)).unwrap_or_default();
        if !text.contains(line) {
            gone.push(format!("{}: `{line}` is not in {file} any more", case["name"]));
        }
    }
    assert_eq!(
        gone, [""; 0],
        "tests/contract/cases.json: name the line that the case rests on now"
    );
}

#[test]
fn the_readme_lists_what_aws_has_not_answered() {
    let readme = fs::read_to_string(support::root().join(README)).unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let mut wanted = format!("{before}{BEGIN}| case | question | rests on it |\n|---|---|---|\n");
    for case in cases().iter().filter(|case| case["answered"].is_null()) {
        let text = |member: &Value| member.as_str().unwrap().to_owned();
        let rests = &case["rests"];
        writeln!(
            wanted,
            "| `{}` | {} | `{}`, `{}` |",
            text(&case["name"]),
            text(&case["question"]),
            text(&rests["file"]),
            text(&rests["line"])
        )
        .unwrap();
    }
    support::assert_file_is(README, &(wanted + END + after));
}
