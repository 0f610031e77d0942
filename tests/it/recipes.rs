//! `docs/policy-recipes.md`: each policy is valid, and decides as the examples below it say.

use std::fs;

use shared::{
    core::{
        evaluate::{Names, Verdict, evaluate},
        finding::{Finding, Fix, NoScan, Severity},
        ids::ImageKey,
        policy::{NoScanAction, Policy},
    },
    testing,
};

use crate::support;

/// The policy of a recipe, and its examples: repository, finding, outcome.
fn recipe(section: &str) -> (Policy, Vec<[String; 3]>) {
    let (_, json) = section.split_once("```json\n").unwrap();
    let (json, rest) = json.split_once("```").unwrap();
    let policy = Policy::from_json(json, testing::now()).unwrap_or_else(|error| panic!("{error}\n{json}"));
    let rows = rest
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let examples = rows.skip(1).map(|row| {
        let cells: Vec<String> = row.split(" | ").map(|cell| cell.replace('`', "")).collect();
        cells.try_into().unwrap()
    });
    (policy, examples.collect())
}

/// A finding of enhanced scanning, as an example describes it.
fn finding(said: &str) -> Finding {
    let mut words = said.split(", ");
    let severity = Severity::from_word(words.next().unwrap());
    let mut finding = testing::finding("CVE-2026-5555", severity);
    for word in words {
        match word.split_once(' ') {
            None if word == "fix" => finding.fix = Fix::Available,
            None if word == "exploit" => finding.exploit = Some(true),
            None if word.starts_with("CVE-") => word.clone_into(&mut finding.id),
            Some(("no", "fix")) => finding.fix = Fix::Unavailable,
            Some(("EPSS", epss)) => finding.epss = Some(epss.parse().unwrap()),
            Some(("score", score)) => finding.score = Some(score.parse().unwrap()),
            _ => panic!("{said}"),
        }
    }
    finding
}

fn outcome(policy: &Policy, repository: &str, said: &str) -> &'static str {
    let image = ImageKey {
        repository: repository.parse().unwrap(),
        ..testing::image_key()
    };
    let without = match said {
        "the scan failed" => Some(NoScan::Failed),
        "not supported" => Some(NoScan::Unsupported),
        "stale" => Some(NoScan::EligibilityExpired),
        _ => None,
    };
    let verdict = match without.map(|why| policy.without_scan(&why)) {
        Some(NoScanAction::Monitor) => Verdict::Pass,
        Some(NoScanAction::Review) => Verdict::Review,
        Some(NoScanAction::Block) => Verdict::Block,
        None => {
            let scan = testing::scan(vec![finding(said)]);
            evaluate(policy, &Names::of(&image, &[]), &scan, testing::now()).verdict
        }
    };
    match verdict {
        Verdict::Pass => "allowed",
        Verdict::Review => "review",
        Verdict::Block if policy.enforces(&image.repository) => "blocked",
        Verdict::Block => "deferred",
    }
}

#[test]
fn each_recipe_is_valid_and_decides_as_its_examples_say() {
    let page = fs::read_to_string(support::root().join("docs/policy-recipes.md")).unwrap();
    let sections: Vec<&str> = page.split("\n## ").skip(1).collect();
    assert_eq!(sections.len(), 11);
    for (number, section) in sections.into_iter().enumerate() {
        let title = section.lines().next().unwrap();
        assert!(title.starts_with(&format!("{}. ", number + 1)), "{title}");
        let (policy, examples) = recipe(section);
        assert!(!examples.is_empty(), "{title}");
        for [repository, said, expected] in examples {
            assert_eq!(
                outcome(&policy, &repository, &said),
                expected,
                "{title}: {repository}, {said}"
            );
        }
        // The first recipe is for report mode; what another says about the policy would surprise the reader.
        assert_eq!(policy.remarks(testing::now()), [], "{title}");
    }
}
