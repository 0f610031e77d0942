//! docs/operations.md has a heading for every alarm, docs/alerts.md one for every kind of alert, and neither for what there is not.

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use shared::core::{
    alert::{registry, summary, test},
    notice::{AlertKind, RegistryAlertKind, RepositoryAlertKind},
};

use crate::support;

fn read(path: &str) -> String {
    fs::read_to_string(support::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The alarms, as the module names them after the name of the deployment.
fn alarms() -> impl Iterator<Item = String> {
    let metrics: Value = serde_json::from_str(&read("infra/modules/guard/metrics.json")).unwrap();
    let alarms = metrics["alarms"].as_object().unwrap().clone();
    alarms.into_iter().flat_map(|(scope, alarms)| {
        let alarms: Vec<String> = alarms.as_object().unwrap().keys().cloned().collect();
        alarms.into_iter().map(move |alarm| {
            let of = match (scope.as_str(), alarm.as_str()) {
                ("whole", _) => return alarm,
                ("functions_by_callers", _) => "gate",
                ("functions_by_index", _) => "workloads",
                ("functions_by_people", _) => "operate",
                (_, "errors") => "worker",
                (_, "overdue") => "sweep",
                (_, "late" | "hops" | "redelivered" | "dropped") => "worker",
                ("rules", _) => "<function>",
                (scope, _) if scope.starts_with("functions") => "<function>",
                ("work_queues", _) => "<work queue>",
                ("queues", _) => "<queue>",
                ("topics", _) => "route-<route>",
                (scope, _) => scope,
            };
            format!("{of}-{alarm}")
        })
    })
}

/// The kinds of alerts.
fn kinds() -> impl Iterator<Item = &'static str> {
    let images = AlertKind::ALL.iter().map(|kind| kind.as_str());
    let repositories = RepositoryAlertKind::ALL.iter().map(|kind| kind.as_str());
    let registries = RegistryAlertKind::ALL.iter().map(|kind| kind.as_str());
    images
        .chain(repositories)
        .chain(registries)
        .chain([registry::DIGEST, summary::SUMMARY, test::TEST])
}

fn headings(page: &str) -> BTreeSet<String> {
    let text = read(page);
    let headings = text
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    headings.map(str::to_owned).collect()
}

#[test]
fn every_alarm_and_every_kind_of_alert_has_a_heading() {
    assert_eq!(headings("docs/operations.md"), alarms().collect());
    assert_eq!(headings("docs/alerts.md"), kinds().map(str::to_owned).collect());
}

/// The formula for the price of a region gives no less than the table, and not much more.
#[test]
fn the_formula_of_costs_fits_the_table() {
    let text = read("docs/operations.md");
    let (_, formula) = text.split_once("repositories:** ").unwrap();
    let mut numbers = formula.split(' ').filter_map(|word| word.parse::<f64>().ok());
    let (fixed, each) = (numbers.next().unwrap(), numbers.next().unwrap());
    let (_, row) = text.split_once("\n| **together** |").unwrap();
    let sums: Vec<f64> = row
        .lines()
        .next()
        .unwrap()
        .split('|')
        .filter_map(|cell| cell.trim_matches([' ', '*']).parse().ok())
        .collect();
    assert_eq!(sums.len(), 3, "{sums:?}");
    for (repositories, sum) in [10.0, 100.0, 1000.0].into_iter().zip(sums) {
        let price = fixed + each * repositories;
        assert!(
            (sum - 0.001..sum * 1.05).contains(&price),
            "{repositories}: {price}, {sum}"
        );
    }
}

#[test]
fn what_it_says_to_do_can_be_done() {
    let text = read("docs/operations.md");
    let (makefile, variables) = (read("Makefile"), read("infra/variables.tf"));
    let commands = text.split("`make ").skip(1).chain(text.split("\nmake ").skip(1));
    for target in commands.filter_map(|rest| rest.split([' ', '`', '\n']).next()) {
        assert!(
            makefile.contains(&format!("\n{target}:")),
            "there is no `make {target}`"
        );
    }
    for variable in [
        "sweep_interval_minutes",
        "memory_size",
        "reserved_concurrency",
        "alarm_subscriptions",
        "log_retention_days",
    ] {
        assert!(
            text.contains(&format!("`{variable}`")) && variables.contains(&format!("variable \"{variable}\"")),
            "{variable}"
        );
    }
}
