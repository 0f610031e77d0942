//! The one line that a function writes for an event: log and metrics at once.
//!
//! CloudWatch reads metrics out of a JSON line in the embedded metric format (user guide of CloudWatch Logs, "Specification:
//! Embedded metric format"), so that no call is needed. Names of repositories and outcomes are properties of the line and never
//! dimensions, of which every combination is billed.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{entry::Handled, error::HandlerError, sweep::Swept, worker::Worked};
use guard_core::finding::Severity;
use guard_engine::reconcile::image::Outcome;

/// Namespace of all our metrics.
pub const NAMESPACE: &str = "ecr-guard";

/// The metrics that a line carries.
pub const METRICS: [&str; 17] = [
    "Events",
    "Errors",
    "PoisonEvents",
    "Blocks",
    BLOCKS_REFUSED,
    CALLS_REFUSED,
    "Alerts",
    "FindingsMonitored",
    IMAGES_LOOKED,
    ITEMS_FAILED,
    ITEMS_PUT_BACK,
    REPOSITORIES,
    SWEEPS_CONTINUED,
    SWEEP_AGE,
    ITEM_HOPS,
    ITEM_RECEIVES,
    REPLICATION_LAG,
];

/// The metrics that are of all functions together, without a dimension: whoever looks at them looks into the log anyway, and each combination
/// of a metric and its dimensions is billed.
pub const WHOLE: [&str; 4] = ["PoisonEvents", "Blocks", BLOCKS_REFUSED, CALLS_REFUSED];

/// Blocks that ECR refused for good.
const BLOCKS_REFUSED: &str = "BlocksRefused";
/// Other calls that AWS refused for good.
const CALLS_REFUSED: &str = "CallsRefused";
/// Images that a worker looked at.
const IMAGES_LOOKED: &str = "ImagesLooked";
/// Messages that a worker left in the queue.
const ITEMS_FAILED: &str = "ItemsFailed";
/// Repositories that a sweep left to the workers.
const REPOSITORIES: &str = "Repositories";
/// Sweeps that could not list all repositories in one go.
const SWEEPS_CONTINUED: &str = "SweepsContinued";
/// How old the sweep is of which there was a part, done or put back, in seconds: putting back does not make it younger.
const SWEEP_AGE: &str = "sweep_age_seconds";

/// Messages that a worker put into the queue anew.
const ITEMS_PUT_BACK: &str = "ItemsPutBack";
/// How many invocations led to an item, one after the other: each time that it is put back is one more.
const ITEM_HOPS: &str = "item_hops";
/// How often a message was delivered.
const ITEM_RECEIVES: &str = "item_receives";

/// Seconds from the push of an image in its source to the arrival of its copy.
const REPLICATION_LAG: &str = "replication_lag_seconds";

/// Writes the line of an event to standard output.
#[expect(
    clippy::print_stdout,
    reason = "standard output is where Lambda takes log lines and metrics from"
)]
pub fn write(function: &str, event_id: &str, result: &Result<Handled, HandlerError>, now: Timestamp) {
    println!("{}", line(function, event_id, result, now));
}

fn line(function: &str, event_id: &str, result: &Result<Handled, HandlerError>, now: Timestamp) -> Value {
    let mut line = Map::new();
    let mut metrics: Vec<(&str, u64)> = vec![("Events", 1)];
    let outcome = match result {
        Ok(Handled::Looked(outcome)) => {
            line.extend(fields(outcome));
            let monitored = [Severity::Medium, Severity::Low, Severity::Informational];
            let monitored = monitored
                .iter()
                .filter_map(|severity| outcome.counts.get(severity))
                .sum();
            metrics.push(("FindingsMonitored", monitored));
            let all = || std::iter::once(outcome).chain(&outcome.also);
            let number = |those: fn(&Outcome) -> bool| -> u64 { all().map(|one| u64::from(those(one))).sum() };
            metrics.push(("Blocks", number(|one| one.counted)));
            let about_repository = outcome.repository_rules.as_ref().map_or(0, |rules| rules.alerts.len());
            let about_copy = outcome.replica.as_ref().map_or(0, |replica| replica.alerts.len());
            let about_repository = u64::try_from(about_repository + about_copy).unwrap_or(u64::MAX);
            if let Some(lag) = outcome.replica.as_ref().and_then(|replica| replica.lag_seconds) {
                metrics.push((REPLICATION_LAG, lag));
            }
            metrics.push((
                "Alerts",
                number(|one| one.alert.is_some()).saturating_add(about_repository),
            ));
            line.get("outcome")
                .and_then(Value::as_str)
                .unwrap_or("applied")
                .to_owned()
        }
        Ok(Handled::Ignored { why }) => {
            line.insert("reason".to_owned(), json!(why));
            "ignored".to_owned()
        }
        Err(error) => {
            metrics.push(("Errors", 1));
            metrics.push(("PoisonEvents", u64::from(matches!(error, HandlerError::Poison(_)))));
            line.insert("error".to_owned(), json!(error.to_string()));
            error.code().to_owned()
        }
    };
    line.insert("event_id".to_owned(), json!(event_id));
    finish(line, function, &outcome, result.is_ok(), &metrics, now)
}

/// Adds to a line what makes metrics of it.
fn finish(
    mut line: Map<String, Value>,
    function: &str,
    outcome: &str,
    is_well: bool,
    metrics: &[(&str, u64)],
    now: Timestamp,
) -> Value {
    let refused = [(BLOCKS_REFUSED, "BlockRefused"), (CALLS_REFUSED, "CallRefused")];
    let refused = refused
        .iter()
        .map(|(metric, code)| (*metric, u64::from(outcome == *code)));
    let is_duration = |name: &str| matches!(name, SWEEP_AGE | REPLICATION_LAG);
    // A metric is billed for every hour in which there is a value, also if that is nothing. An age of no seconds is something.
    let metrics: Vec<(&str, u64)> = metrics.iter().copied().chain(refused).collect();
    let metrics = metrics.iter().filter(|(name, value)| *value > 0 || is_duration(name));
    let (whole, by_function): (Vec<_>, Vec<_>) = metrics.partition(|(name, _)| WHOLE.contains(name));
    let directive = |dimensions: Value, metrics: &[&(&str, u64)]| {
        let definitions: Vec<Value> = metrics
            .iter()
            .map(|(name, _)| json!({"Name": name, "Unit": if is_duration(name) { "Seconds" } else { "Count" }}))
            .collect();
        (!definitions.is_empty())
            .then(|| json!({"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": definitions}))
    };
    let directives: Vec<Value> = [
        directive(json!([["Function"]]), &by_function),
        directive(json!([[]]), &whole),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !directives.is_empty() {
        line.insert(
            "_aws".to_owned(),
            json!({"Timestamp": now.as_millisecond(), "CloudWatchMetrics": directives}),
        );
    }
    line.insert("level".to_owned(), json!(if is_well { "INFO" } else { "ERROR" }));
    line.insert("Function".to_owned(), json!(function));
    line.insert("Outcome".to_owned(), json!(outcome));
    for (name, value) in by_function.into_iter().chain(whole) {
        line.insert((*name).to_owned(), json!(value));
    }
    Value::Object(line)
}

/// Writes the line of a batch of the workers' queue.
#[expect(
    clippy::print_stdout,
    reason = "standard output is where Lambda takes log lines and metrics from"
)]
pub fn write_worked(function: &str, request_id: &str, worked: &Worked, now: Timestamp) {
    println!("{}", worked_line(function, request_id, worked, now));
}

fn worked_line(function: &str, request_id: &str, worked: &Worked, now: Timestamp) -> Value {
    let mut line = fields(worked);
    line.insert("event_id".to_owned(), json!(request_id));
    let mut metrics = vec![
        ("Events", worked.messages),
        ("Errors", worked.failed),
        ("PoisonEvents", worked.poison),
        ("Blocks", worked.looks.blocks),
        ("Alerts", worked.looks.alerts),
        (IMAGES_LOOKED, worked.looks.looked),
        (ITEMS_FAILED, worked.failed),
        (ITEMS_PUT_BACK, worked.put_back),
    ];
    metrics.extend(worked.sweep_age_seconds.map(|age| (SWEEP_AGE, age)));
    metrics.extend(worked.item_hops.map(|hops| (ITEM_HOPS, hops.into())));
    metrics.extend(worked.item_receives.map(|receives| (ITEM_RECEIVES, receives.into())));
    let outcome = if worked.failed == 0 { "worked" } else { "failed-in-part" };
    finish(line, function, outcome, worked.failed == 0, &metrics, now)
}

/// Writes the line of a sweep.
#[expect(
    clippy::print_stdout,
    reason = "standard output is where Lambda takes log lines and metrics from"
)]
pub fn write_swept(function: &str, request_id: &str, result: Result<&Swept, &HandlerError>, now: Timestamp) {
    println!("{}", swept_line(function, request_id, result, now));
}

fn swept_line(function: &str, request_id: &str, result: Result<&Swept, &HandlerError>, now: Timestamp) -> Value {
    let mut metrics = vec![("Events", 1)];
    let (mut line, outcome) = match result {
        Ok(swept) => {
            metrics.push((REPOSITORIES, swept.repositories));
            metrics.push((SWEEPS_CONTINUED, u64::from(swept.continued)));
            if !swept.continued && (swept.errors.is_empty() || swept.repositories > 0 || swept.under_way.is_some()) {
                let age = now.duration_since(swept.sweep).as_secs();
                metrics.push((SWEEP_AGE, u64::try_from(age).unwrap_or_default()));
            }
            let outcome = if swept.errors.is_empty() {
                "swept"
            } else {
                "failed-in-part"
            };
            (fields(swept), outcome)
        }
        Err(error) => {
            metrics.push(("Errors", 1));
            metrics.push(("PoisonEvents", u64::from(matches!(error, HandlerError::Unusable(_)))));
            let error_field = ("error".to_owned(), json!(error.to_string()));
            (Map::from_iter([error_field]), error.code())
        }
    };
    line.insert("event_id".to_owned(), json!(request_id));
    let is_well = result.is_ok_and(|swept| swept.errors.is_empty());
    finish(line, function, outcome, is_well, &metrics, now)
}

/// Writes that a message of the workers' queue could not be dealt with: the line names the error, by the word that alarms hang on.
#[expect(
    clippy::print_stdout,
    reason = "standard output is where Lambda takes log lines and metrics from"
)]
pub fn write_failure(function: &str, error: &HandlerError, now: Timestamp) {
    let mut line = Map::new();
    line.insert("error".to_owned(), json!(error.to_string()));
    println!("{}", finish(line, function, error.code(), false, &[("Errors", 1)], now));
}

fn fields(outcome: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(outcome) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guard_core::{finding::Severity, replication::ledger::ReplicaState};
    use guard_engine::{
        reconcile::{image::OutcomeKind, replication::ReplicaOutcome},
        sweep::Looks,
    };
    use guard_testkit::{image_key, now};

    fn looked() -> Result<Handled, HandlerError> {
        let key = image_key();
        Ok(Handled::Looked(Outcome {
            outcome: OutcomeKind::Applied,
            repository: key.repository,
            digest: Some(key.digest),
            state: None,
            reason: None,
            effect: Some("archive"),
            counted: true,
            alert: None,
            alert_id: None,
            counts: [(Severity::Medium, 3), (Severity::Low, 2), (Severity::Critical, 1)].into(),
            exceptions_used: Vec::new(),
            exceptions_unused: Vec::new(),
            not_read: None,
            lacks: None,
            also: Vec::new(),
            repository_rules: None,
            replica: Some(Box::new(ReplicaOutcome {
                state: ReplicaState::Complete,
                source: "us-east-1".parse().unwrap(),
                missing: Vec::new(),
                lag_seconds: Some(90),
                alerts: Vec::new(),
            })),
        }))
    }

    #[test]
    fn every_metric_has_a_value_and_a_definition() {
        let poison = guard_events::parse("").unwrap_err();
        let continued = Swept {
            continued: true,
            ..swept()
        };
        let lines = [
            line("on-scan", "id", &looked(), now()),
            line("on-scan", "id", &Ok(Handled::Ignored { why: "nothing" }), now()),
            line("on-scan", "id", &Err(HandlerError::Poison(poison)), now()),
            worked_line("worker", "id", &worked(), now()),
            swept_line("sweep", "id", Ok(&continued), now()),
            swept_line("sweep", "id", Ok(&swept()), now()),
            finish(Map::new(), "worker", "BlockRefused", false, &[("Errors", 1)], now()),
            finish(Map::new(), "worker", "CallRefused", false, &[("Errors", 1)], now()),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for line in &lines {
            for (whole, name) in defined(line) {
                assert!(line[&name].is_u64(), "{name}");
                assert_eq!(whole, WHOLE.contains(&name.as_str()), "{name}");
                seen.insert(name);
            }
            for dimension in ["Function", "Outcome"] {
                assert!(line[dimension].is_string(), "{dimension}");
            }
        }
        assert_eq!(seen, METRICS.map(str::to_owned).into(), "alarms hang on these names");
        assert_eq!(
            (&lines[0]["FindingsMonitored"], &lines[0]["Blocks"]),
            (&json!(5), &json!(1))
        );
        assert_eq!(
            (&lines[2]["Outcome"], &lines[2]["PoisonEvents"]),
            (&json!("PoisonEvent"), &json!(1))
        );
    }

    /// The metrics of a line, and whether each is one of all functions together.
    fn defined(line: &Value) -> Vec<(bool, String)> {
        let directives = line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten();
        directives
            .flat_map(|directive| {
                let whole = directive["Dimensions"] == json!([[]]);
                assert!(whole || directive["Dimensions"] == json!([["Function"]]), "{directive}");
                let metrics = directive["Metrics"].as_array().unwrap();
                metrics
                    .iter()
                    .map(move |metric| (whole, metric["Name"].as_str().unwrap().to_owned()))
            })
            .collect()
    }

    #[test]
    fn what_did_not_happen_is_no_metric() {
        let ignored = line("on-scan", "id", &Ok(Handled::Ignored { why: "nothing" }), now());
        assert_eq!(defined(&ignored), [(false, "Events".to_owned())]);
        let nothing = worked_line("worker", "id", &Worked::default(), now());
        assert_eq!(nothing["_aws"], Value::Null, "a line without metrics is a line");
        let at_once = Swept {
            sweep: now(),
            ..swept()
        };
        let line = swept_line("sweep", "id", Ok(&at_once), now());
        assert_eq!(
            line["sweep_age_seconds"], 0,
            "no age is an age: without it, an alarm rings"
        );
    }

    #[test]
    fn what_was_refused_is_counted_by_what_it_was() {
        let counted = |code: &str| defined(&finish(Map::new(), "worker", code, false, &[("Errors", 1)], now()));
        let errors = || (false, "Errors".to_owned());
        assert_eq!(counted("BlockRefused"), [errors(), (true, "BlocksRefused".to_owned())]);
        assert_eq!(counted("CallRefused"), [errors(), (true, "CallsRefused".to_owned())]);
        assert_eq!(counted("CallFailed"), [errors()]);
    }

    fn worked() -> Worked {
        Worked {
            messages: 3,
            failed: 1,
            looks: Looks {
                looked: 2,
                alerts: 1,
                ..Looks::default()
            },
            sweep_age_seconds: Some(90),
            put_back: 1,
            item_hops: Some(2),
            item_receives: Some(3),
            ..Worked::default()
        }
    }

    fn swept() -> Swept {
        Swept {
            sweep: now() - jiff::SignedDuration::from_secs(7),
            repositories: 3,
            continued: false,
            under_way: None,
            registry: None,
            digests: 0,
            summaries: 0,
            summarized_alerts: 0,
            gone: 0,
            left_out: Vec::new(),
            errors: Vec::new(),
        }
    }

    #[test]
    fn a_sweep_says_how_old_it_is_when_all_of_it_is_left_to_workers() {
        let line = swept_line("sweep", "id", Ok(&swept()), now());
        assert_eq!(
            (&line["sweep_age_seconds"], &line["level"]),
            (&json!(7), &json!("INFO"))
        );
        let continued = Swept {
            continued: true,
            ..swept()
        };
        let line = swept_line("sweep", "id", Ok(&continued), now());
        assert_eq!(
            (&line["sweep_age_seconds"], &line["SweepsContinued"]),
            (&Value::Null, &json!(1))
        );
        let line = worked_line("worker", "id", &worked(), now());
        assert_eq!(
            (&line["sweep_age_seconds"], &line["Outcome"]),
            (&json!(90), &json!("failed-in-part"))
        );
    }
}
