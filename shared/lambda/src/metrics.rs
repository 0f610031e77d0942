//! Metrics, as lines of the log have them.
//!
//! CloudWatch reads metrics out of a JSON line in the embedded metric format (user guide of CloudWatch Logs, "Specification:
//! Embedded metric format"), so that no call is needed. Names of repositories and outcomes are properties of the line and never
//! dimensions, of which every combination is billed.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Namespace of all our metrics.
pub const NAMESPACE: &str = "ecr-guard";

/// The metrics that a line carries.
pub const METRICS: [&str; 19] = [
    "Events",
    "Errors",
    "PoisonEvents",
    "Blocks",
    BLOCKS_REFUSED,
    CALLS_REFUSED,
    "Alerts",
    "FindingsMonitored",
    IMAGES_RECONCILED,
    ITEMS_FAILED,
    ITEMS_PUT_BACK,
    REPOSITORIES,
    SWEEPS_CONTINUED,
    SWEEP_AGE,
    ITEM_HOPS,
    ITEM_RECEIVES,
    REPLICATION_LAG,
    WORKLOAD_RUNS,
    LISTS_DENIED,
];

/// The metrics of all functions together, without a dimension: somebody who reads them reads the log anyway, and each
/// combination of a metric and its dimensions is billed.
pub const WHOLE: [&str; 4] = ["PoisonEvents", "Blocks", BLOCKS_REFUSED, CALLS_REFUSED];

/// Blocks that ECR refused for good.
pub(crate) const BLOCKS_REFUSED: &str = "BlocksRefused";
/// Other calls that AWS refused for good.
pub(crate) const CALLS_REFUSED: &str = "CallsRefused";
/// Images that a worker reconciled.
pub(crate) const IMAGES_RECONCILED: &str = "ImagesReconciled";
/// Messages that a worker left in the queue.
pub(crate) const ITEMS_FAILED: &str = "ItemsFailed";
/// Repositories that a sweep left to the workers.
pub(crate) const REPOSITORIES: &str = "Repositories";
/// Sweeps that could not list all repositories in one go.
pub(crate) const SWEEPS_CONTINUED: &str = "SweepsContinued";
/// How old the sweep is of which there was a part, done or put back, in seconds: putting back does not make it younger.
pub(crate) const SWEEP_AGE: &str = "SweepAge";

/// Messages that a worker put into the queue anew.
pub(crate) const ITEMS_PUT_BACK: &str = "ItemsPutBack";
/// The number of invocations before that of an item, one after the other: each time that it is put back is one more.
pub(crate) const ITEM_HOPS: &str = "ItemHops";
/// How often a message was delivered.
pub(crate) const ITEM_RECEIVES: &str = "ItemReceives";

/// Seconds from the push of an image in its source to the arrival of its copy.
pub(crate) const REPLICATION_LAG: &str = "ReplicationLag";

/// Runs that have seen all lists of workloads to their end.
pub(crate) const WORKLOAD_RUNS: &str = "WorkloadRuns";
/// Permissions that a run lacked to list workloads.
pub(crate) const LISTS_DENIED: &str = "ListsDenied";

/// Fields of results whose metric has another name. The others have the name of their metric but for case: `sweep_age_seconds` has a unit.
const FIELDS: [(&str, &str); 7] = [
    ("messages", "Events"),
    ("failed", ITEMS_FAILED),
    ("poison", "PoisonEvents"),
    ("looked", IMAGES_RECONCILED),
    ("put_back", ITEMS_PUT_BACK),
    ("sweep_age_seconds", SWEEP_AGE),
    ("continued", SWEEPS_CONTINUED),
];

/// Whether a field of a result says the same as a metric. The line has the metric alone: one key for one fact.
fn is_of(field: &str, metric: &str) -> bool {
    FIELDS.contains(&(field, metric)) || field.replace('_', "").eq_ignore_ascii_case(metric)
}

/// A line of the log before it is written.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// The function's name.
    pub(crate) function: &'a str,
    /// The result, in a word that alarms use.
    pub(crate) outcome: Cow<'static, str>,
    /// Whether nothing went wrong.
    pub(crate) is_well: bool,
    /// Further fields.
    pub(crate) fields: Map<String, Value>,
    /// The counts.
    pub(crate) metrics: Vec<(&'static str, u64)>,
}

impl Line<'_> {
    /// Writes the line to standard output.
    #[expect(
        clippy::print_stdout,
        reason = "standard output is where Lambda takes log lines and metrics from"
    )]
    pub(crate) fn write(self, now: Timestamp) {
        println!("{}", self.json(now));
    }

    /// The line with what makes metrics of it.
    pub(crate) fn json(self, now: Timestamp) -> Value {
        let Self {
            function,
            outcome,
            is_well,
            fields: mut line,
            metrics,
        } = self;
        let counted = |field: &str| metrics.iter().any(|(name, _)| is_of(field, name));
        line.retain(|field, _| !counted(field));
        let refused = [(BLOCKS_REFUSED, "BlockRefused"), (CALLS_REFUSED, "CallRefused")];
        let refused = refused
            .iter()
            .map(|(metric, code)| (*metric, u64::from(outcome == *code)));
        let is_duration = |name: &str| matches!(name, SWEEP_AGE | REPLICATION_LAG);
        // A metric is billed for every hour in which there is a value, also if that is nothing. An age of no seconds is something.
        let metrics: Vec<(&str, u64)> = metrics.into_iter().chain(refused).collect();
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
        line.insert("outcome".to_owned(), json!(outcome));
        for (name, value) in by_function.into_iter().chain(whole) {
            line.insert((*name).to_owned(), json!(value));
        }
        Value::Object(line)
    }
}
