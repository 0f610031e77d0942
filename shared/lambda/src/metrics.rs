//! Metrics, as lines of the log have them.
//!
//! CloudWatch reads metrics out of a JSON line in the embedded metric format (user guide of CloudWatch Logs, "Specification:
//! Embedded metric format"), so that no call is needed. Names of repositories and outcomes are properties of the line and never
//! dimensions, of which every combination is billed.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::{Map, Value};

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
    let letters = field
        .bytes()
        .filter(|byte| *byte != b'_')
        .map(|byte| byte.to_ascii_lowercase());
    FIELDS.contains(&(field, metric)) || letters.eq(metric.bytes().map(|byte| byte.to_ascii_lowercase()))
}

/// Keys of every line. A field of a result cannot have them.
const KEYS: [&str; 4] = ["Function", "_aws", "level", "outcome"];

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
    pub(crate) fn write(&self, now: Timestamp) {
        // In one piece: standard output searches each piece for the end of a line.
        match serde_json::to_string(&self.at(now)) {
            Ok(line) => println!("{line}"),
            Err(error) => tracing::error!("a line of the log cannot be written: {error}"),
        }
    }

    /// The line with what makes metrics of it.
    pub(crate) const fn at(&self, now: Timestamp) -> LineAt<'_> {
        LineAt { line: self, now }
    }

    /// The metrics of the line with a value.
    fn counted(&self) -> Vec<(&'static str, u64)> {
        let refused = [(BLOCKS_REFUSED, "BlockRefused"), (CALLS_REFUSED, "CallRefused")];
        let refused = refused
            .iter()
            .map(|(metric, code)| (*metric, u64::from(self.outcome == *code)));
        let all = self.metrics.iter().copied().chain(refused);
        // A metric is billed for every hour in which there is a value, also if that is nothing. An age of no seconds is something.
        all.filter(|(name, value)| *value > 0 || is_duration(name)).collect()
    }
}

/// Whether a metric is a number of seconds.
fn is_duration(metric: &str) -> bool {
    matches!(metric, SWEEP_AGE | REPLICATION_LAG)
}

/// A line, written at that time.
pub(crate) struct LineAt<'a> {
    line: &'a Line<'a>,
    now: Timestamp,
}

impl Serialize for LineAt<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { line, now } = self;
        let metrics = line.counted();
        let (whole, by_function): (Vec<_>, Vec<_>) = metrics.iter().partition(|(name, _)| WHOLE.contains(name));
        let directives = [
            Directive::of(&[&["Function"]], &by_function),
            Directive::of(&[&[]], &whole),
        ];
        let directives: Vec<Directive<'_>> = directives.into_iter().flatten().collect();
        let mut keys = serializer.serialize_map(None)?;
        keys.serialize_entry("level", if line.is_well { "INFO" } else { "ERROR" })?;
        keys.serialize_entry("Function", line.function)?;
        keys.serialize_entry("outcome", &line.outcome)?;
        let is_counted = |field: &str, value: &Value| {
            // A text is no count.
            !value.is_string() && line.metrics.iter().any(|(name, _)| is_of(field, name))
        };
        for (field, value) in &line.fields {
            if !KEYS.contains(&field.as_str()) && !is_counted(field, value) {
                keys.serialize_entry(field, value)?;
            }
        }
        for (name, value) in &metrics {
            keys.serialize_entry(name, value)?;
        }
        if !directives.is_empty() {
            let timestamp = now.as_millisecond();
            keys.serialize_entry("_aws", &Metadata { timestamp, directives })?;
        }
        keys.end()
    }
}

/// The member of a line by which CloudWatch finds its metrics.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata<'a> {
    timestamp: i64,
    #[serde(rename = "CloudWatchMetrics")]
    directives: Vec<Directive<'a>>,
}

/// Metrics with the same dimensions.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'static str,
    dimensions: &'a [&'a [&'a str]],
    metrics: Vec<Definition>,
}

/// The name of a metric and its unit.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: &'static str,
    unit: &'static str,
}

impl<'a> Directive<'a> {
    /// `None`: there is no metric.
    fn of(dimensions: &'a [&'a [&'a str]], metrics: &[&(&'static str, u64)]) -> Option<Self> {
        let definitions = metrics.iter().map(|(name, _)| Definition {
            name,
            unit: if is_duration(name) { "Seconds" } else { "Count" },
        });
        (!metrics.is_empty()).then(|| Self {
            namespace: NAMESPACE,
            dimensions,
            metrics: definitions.collect(),
        })
    }
}
