//! The results of an event, of a batch and of a sweep, and the one line that reports them: log and metrics at once.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    error::HandlerError,
    metrics::{
        IMAGES_RECONCILED, ITEM_HOPS, ITEM_RECEIVES, ITEMS_FAILED, ITEMS_PUT_BACK, LISTS_DENIED, Line, REPLICATION_LAG,
        REPOSITORIES, SWEEP_AGE, SWEEPS_CONTINUED, WORKLOAD_RUNS,
    },
};
use guard_core::{
    finding::Severity,
    gate::{Answer, Decision, GateRequest, ImageAnswer, hook::HookRequest},
    release::answer::ReleaseOutcome,
    text,
};
use guard_engine::{
    gate::Hooked,
    reconcile::{image::Outcome, registry::RegistryOutcome},
    release::Operated,
    sweep::{Looks, SweepError},
    workloads::Indexed,
};

/// The result of an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "there is one of them for an event")]
pub enum Handled {
    /// An image was reconciled.
    Looked(Outcome),
    /// There was nothing to reconcile.
    Ignored {
        /// Why.
        why: &'static str,
    },
}

/// The result of a sweep, as far as this function goes: the workers do the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// When it began.
    pub sweep: Timestamp,
    /// Repositories that were left to the workers.
    pub repositories: u64,
    /// The number of items of an earlier sweep that still wait for the workers: that one is continued, and nothing was added to
    /// it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under_way: Option<u64>,
    /// The list goes on: a worker reads the rest of it.
    pub continued: bool,
    /// The result of the reconcile of the registry as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryOutcome>,
    /// Digests that were sent.
    pub digests: u64,
    /// Test alerts that were sent.
    #[serde(skip_serializing_if = "is_zero")]
    pub test_alerts: u64,
    /// Summaries of alerts that were sent.
    pub summaries: u64,
    /// How many alerts those name.
    pub summarized_alerts: u64,
    /// Repositories that are gone, of which rows were left: a worker closes them.
    pub gone: u64,
    /// The parts without time: the next sweep does them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<&'static str>,
    /// The failures, all of them; they kept nothing else from being done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Swept {
    /// A sweep that began then, of which nothing is done yet.
    pub(crate) fn of(sweep: Timestamp) -> Self {
        Self {
            sweep,
            repositories: 0,
            under_way: None,
            continued: false,
            registry: None,
            digests: 0,
            test_alerts: 0,
            summaries: 0,
            summarized_alerts: 0,
            gone: 0,
            left_out: Vec::new(),
            errors: Vec::new(),
        }
    }
}

/// The result of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Worked {
    /// How many messages there were.
    pub messages: u64,
    /// How many different things they asked for.
    pub jobs: u64,
    /// How many messages stay in the queue.
    pub failed: u64,
    /// How many of those do not say what they are about.
    pub poison: u64,
    /// How many messages are not for this registry.
    pub ignored: u64,
    /// The results of the reconciles.
    #[serde(flatten)]
    pub looks: Looks,
    /// How many messages were put into the queue anew, because the time was over or AWS is in trouble.
    pub put_back: u64,
    /// The most hops that an item has made; `None`: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_hops: Option<u32>,
    /// How often the message was delivered that was delivered most; `None`: SQS does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_receives: Option<u32>,
    /// How old the oldest sweep is of which there was a part, whatever became of it; `None`: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sweep_age_seconds: Option<u64>,
    /// The first errors, at most [`MAX_ERRORS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// The result of an invocation of the function that keeps the index of workloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "asked", rename_all = "kebab-case")]
pub enum Kept {
    /// All workloads were listed.
    Run(Indexed),
    /// A task of ECS was taken into account.
    Task(Indexed),
    /// A task could not pull an image.
    Refused {
        /// The number of its images that are blocked, and alerted.
        told: u64,
    },
    /// The report of a cluster was taken into account.
    Report {
        /// The cluster.
        cluster: String,
        /// The result.
        #[serde(flatten)]
        indexed: Indexed,
    },
    /// There was nothing to do.
    Nothing {
        /// Why.
        why: &'static str,
    },
}

/// The most errors that a line of the log names; the rest are counted.
pub const MAX_ERRORS: usize = 5;

/// Writes the line of an event to standard output.
pub fn write(function: &str, event_id: &str, result: &Result<Handled, HandlerError>, now: Timestamp) {
    line(function, event_id, result).write(now);
    if let Ok(Handled::Looked(outcome)) = result {
        let all = std::iter::once(outcome).chain(&outcome.also);
        for error in all.filter_map(told_not_read) {
            write_failure(function, &error, now);
        }
    }
}

/// The image was evaluated and the alert sent; a row that cannot be read is an error all the same.
fn told_not_read(outcome: &Outcome) -> Option<HandlerError> {
    let source = outcome.told_not_read.clone()?;
    let doing = format!("read the findings of earlier alerts of `{}`", outcome.repository);
    Some(SweepError::port(doing, source).into())
}

fn line<'a>(function: &'a str, event_id: &str, result: &Result<Handled, HandlerError>) -> Line<'a> {
    let mut metrics = vec![("Events", 1)];
    let mut line = Map::new();
    let outcome = match result {
        Ok(Handled::Looked(outcome)) => {
            line = fields(outcome);
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
    Line {
        function,
        outcome: outcome.into(),
        is_well: result.is_ok(),
        fields: line,
        metrics,
    }
}

/// Writes the line of a batch of the workers' queue.
pub fn write_worked(function: &str, request_id: &str, worked: &Worked, now: Timestamp) {
    worked_line(function, request_id, worked).write(now);
}

fn worked_line<'a>(function: &'a str, request_id: &str, worked: &Worked) -> Line<'a> {
    let mut line = fields(worked);
    line.insert("event_id".to_owned(), json!(request_id));
    let mut metrics = vec![
        ("Events", worked.messages),
        ("Errors", worked.failed),
        ("PoisonEvents", worked.poison),
        ("Blocks", worked.looks.blocks),
        ("Alerts", worked.looks.alerts),
        (IMAGES_RECONCILED, worked.looks.looked),
        (ITEMS_FAILED, worked.failed),
        (ITEMS_PUT_BACK, worked.put_back),
    ];
    metrics.extend(worked.sweep_age_seconds.map(|age| (SWEEP_AGE, age)));
    metrics.extend(worked.item_hops.map(|hops| (ITEM_HOPS, hops.into())));
    metrics.extend(worked.item_receives.map(|receives| (ITEM_RECEIVES, receives.into())));
    let outcome = if worked.failed == 0 { "worked" } else { "failed-in-part" };
    Line {
        function,
        outcome: outcome.into(),
        is_well: worked.failed == 0,
        fields: line,
        metrics,
    }
}

/// Writes the line of a sweep.
pub fn write_swept(function: &str, request_id: &str, result: Result<&Swept, &HandlerError>, now: Timestamp) {
    swept_line(function, request_id, result, now).write(now);
}

fn swept_line<'a>(
    function: &'a str,
    request_id: &str,
    result: Result<&Swept, &HandlerError>,
    now: Timestamp,
) -> Line<'a> {
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
    Line {
        function,
        outcome: outcome.into(),
        is_well: result.is_ok_and(|swept| swept.errors.is_empty()),
        fields: line,
        metrics,
    }
}

/// Writes the line of the function that keeps the index of workloads.
pub fn write_kept(function: &str, request_id: &str, result: Result<&Kept, &HandlerError>, now: Timestamp) {
    kept_line(function, request_id, result).write(now);
}

fn kept_line<'a>(function: &'a str, request_id: &str, result: Result<&Kept, &HandlerError>) -> Line<'a> {
    let mut metrics = vec![("Events", 1)];
    let (mut line, outcome, is_well) = match result {
        Ok(kept) => {
            let mut is_well = true;
            if let Kept::Run(indexed) = kept {
                is_well = indexed.incomplete.is_empty();
                metrics.push((WORKLOAD_RUNS, u64::from(is_well)));
                metrics.push((LISTS_DENIED, u64::try_from(indexed.missing.len()).unwrap_or(u64::MAX)));
            }
            let outcome = match kept {
                Kept::Nothing { .. } => "ignored",
                Kept::Refused { .. } => "refused",
                Kept::Run(_) if !is_well => "incomplete",
                Kept::Run(_) | Kept::Task(_) | Kept::Report { .. } => "indexed",
            };
            (fields(kept), outcome, is_well)
        }
        Err(error) => {
            metrics.push(("Errors", 1));
            let is_poison = matches!(error, HandlerError::Unusable(_) | HandlerError::Poison(_));
            metrics.push(("PoisonEvents", u64::from(is_poison)));
            let error_field = ("error".to_owned(), json!(error.to_string()));
            (Map::from_iter([error_field]), error.code(), false)
        }
    };
    line.insert("event_id".to_owned(), json!(request_id));
    Line {
        function,
        outcome: outcome.into(),
        is_well,
        fields: line,
        metrics,
    }
}

/// The answer of the gate.
#[derive(Debug)]
pub struct Gated {
    fields: Map<String, Value>,
    outcome: &'static str,
    is_well: bool,
    alerts: u64,
}

impl Gated {
    /// To a request.
    pub fn of_request(request: &GateRequest, answer: &Answer) -> Self {
        let mut gated = Self::of_answer(answer);
        let context = request.context.iter().take(20);
        let context: Map<String, Value> = context
            .map(|(name, value)| (text::line(name, 50), json!(text::line(value, 200))))
            .collect();
        gated.fields.insert("context".to_owned(), Value::Object(context));
        gated
    }

    /// To a request that is none.
    pub fn invalid(answer: &Answer) -> Self {
        let mut gated = Self::of_answer(answer);
        gated.fields.insert("error".to_owned(), json!(answer.error));
        gated
    }

    /// To a hook.
    pub fn of_hook(hook: &HookRequest, hooked: &Hooked) -> Self {
        let mut gated = hooked.images.as_ref().map_or_else(
            || Self {
                fields: Map::new(),
                outcome: "hook",
                is_well: true,
                alerts: 0,
            },
            Self::of_answer,
        );
        // Without a check there is an error, or none was needed.
        gated.is_well &= hooked.not_told.is_none() && (hooked.images.is_some() || hook.passes().is_some());
        if !gated.is_well && hooked.images.is_none() {
            gated.outcome = UNAVAILABLE;
        }
        gated.alerts = hooked.alerts;
        let not_told = hooked.not_told.as_ref().map(ToString::to_string);
        for (name, value) in [
            ("stage", Some(hook.stage.clone())),
            ("service", hook.service.clone()),
            ("revision", hook.target.clone()),
            ("why", hooked.why.clone()),
            ("error", not_told),
        ] {
            if let Some(value) = value {
                gated.fields.insert(name.to_owned(), json!(text::line(&value, 500)));
            }
        }
        gated
            .fields
            .insert("hook_status".to_owned(), json!(hooked.answer.hook_status));
        gated
    }

    fn of_answer(answer: &Answer) -> Self {
        let outcome = match answer.decision {
            Decision::Allow => "allow",
            Decision::Wait => "wait",
            Decision::Unavailable => UNAVAILABLE,
            Decision::Deny => "deny",
        };
        let image = |image: &ImageAnswer| {
            json!({
                "image": image.image, "digest": image.digest, "decision": image.decision, "state": image.state,
                "reason": image.reason, "would": image.would
            })
        };
        let images: Vec<Value> = answer.images.iter().map(image).collect();
        Self {
            fields: Map::from_iter([("images".to_owned(), Value::Array(images))]),
            outcome,
            is_well: answer.decision != Decision::Unavailable,
            alerts: 0,
        }
    }
}

/// The gate's answer where it could not find out.
const UNAVAILABLE: &str = "unavailable";

/// Writes the line of an invocation of the gate. That it could not find out counts as an error: an alarm watches it.
pub fn write_gated(function: &str, request_id: &str, gated: &Gated, now: Timestamp) {
    let mut fields = gated.fields.clone();
    fields.insert("event_id".to_owned(), json!(request_id));
    let line = Line {
        function,
        outcome: gated.outcome.into(),
        is_well: gated.is_well,
        fields,
        metrics: vec![
            ("Events", 1),
            ("Errors", u64::from(!gated.is_well)),
            ("Alerts", gated.alerts),
        ],
    };
    line.write(now);
}

/// The answer of `operate`.
#[derive(Debug)]
pub struct ReportedCall {
    fields: Map<String, Value>,
    outcome: &'static str,
    is_well: bool,
    alerts: u64,
}

impl ReportedCall {
    /// To a request. Who asks, about which image, and the result: an audit reads it. The proof of who asks is not in it.
    pub fn of_release(operated: &Operated) -> Self {
        let answer = &operated.answer;
        let outcome = match answer.outcome {
            ReleaseOutcome::Released => "released",
            ReleaseOutcome::Ended => "ended",
            ReleaseOutcome::Refused => "refused",
            ReleaseOutcome::Unavailable => UNAVAILABLE,
        };
        let mut fields = Map::from_iter([
            ("reason".to_owned(), json!(text::line(&answer.reason, 500))),
            ("action".to_owned(), json!(operated.action)),
            ("by".to_owned(), json!(answer.by)),
        ]);
        for (name, value) in [
            ("code", answer.code.clone()),
            ("image", answer.image.clone()),
            ("until", answer.until.map(|until| until.to_string())),
            ("error", answer.pending.clone()),
        ] {
            if let Some(value) = value {
                fields.insert(name.to_owned(), json!(text::line(&value, 500)));
            }
        }
        Self {
            fields,
            outcome,
            is_well: answer.outcome != ReleaseOutcome::Unavailable && answer.pending.is_none(),
            alerts: operated.alerts,
        }
    }
}

/// Writes the line of an invocation of `operate`.
pub fn write_reported(function: &str, request_id: &str, reported: &ReportedCall, now: Timestamp) {
    let mut fields = reported.fields.clone();
    fields.insert("event_id".to_owned(), json!(request_id));
    let line = Line {
        function,
        outcome: reported.outcome.into(),
        is_well: reported.is_well,
        fields,
        metrics: vec![
            ("Events", 1),
            ("Errors", u64::from(!reported.is_well)),
            ("Alerts", reported.alerts),
        ],
    };
    line.write(now);
}

/// Writes that a message of the workers' queue could not be dealt with: the line names the error, by the word that alarms hang on.
pub fn write_failure(function: &str, error: &HandlerError, now: Timestamp) {
    let mut line = Map::new();
    line.insert("error".to_owned(), json!(error.to_string()));
    failure(function, error.code(), line).write(now);
}

fn failure<'a>(function: &'a str, code: &'static str, fields: Map<String, Value>) -> Line<'a> {
    Line {
        function,
        outcome: code.into(),
        is_well: false,
        fields,
        metrics: vec![("Errors", 1)],
    }
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
    use crate::metrics::{METRICS, WHOLE};
    use guard_core::{finding::Severity, replication::ledger::ReplicaState};
    use guard_engine::{
        reconcile::{image::OutcomeKind, replication::ReplicaOutcome},
        sweep::Looks,
        workloads::Indexed,
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
            told_not_read: None,
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

    fn indexed(missing: &[&str]) -> Kept {
        Kept::Run(Indexed {
            workloads: 3,
            incomplete: missing.iter().map(|_| "ecs".to_owned()).collect(),
            missing: missing.iter().map(|name| (*name).to_owned()).collect(),
            ..Indexed::default()
        })
    }

    #[test]
    fn every_metric_has_a_value_and_a_definition() {
        let poison = guard_events::parse("").unwrap_err();
        let continued = Swept {
            continued: true,
            ..swept()
        };
        let lines = [
            written(&line("on-scan", "id", &looked())),
            written(&line("on-scan", "id", &Ok(Handled::Ignored { why: "nothing" }))),
            written(&line("on-scan", "id", &Err(HandlerError::Poison(poison)))),
            written(&worked_line("worker", "id", &worked())),
            written(&swept_line("sweep", "id", Ok(&continued), now())),
            written(&swept_line("sweep", "id", Ok(&swept()), now())),
            written(&kept_line("workloads", "id", Ok(&indexed(&[])))),
            written(&kept_line("workloads", "id", Ok(&indexed(&["ecs:ListTasks"])))),
            written(&failure("worker", "BlockRefused", Map::new())),
            written(&failure("worker", "CallRefused", Map::new())),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for line in &lines {
            for (whole, name) in defined(line) {
                assert!(line[&name].is_u64(), "{name}");
                assert_eq!(whole, WHOLE.contains(&name.as_str()), "{name}");
                seen.insert(name);
            }
            for key in ["Function", "outcome"] {
                assert!(line[key].is_string(), "{key}");
            }
            let keys = line.as_object().unwrap().keys();
            let mut flat: Vec<String> = keys.map(|key| key.replace('_', "").to_lowercase()).collect();
            flat.sort();
            let number = flat.len();
            flat.dedup();
            assert_eq!(flat.len(), number, "keys that differ by case only: {line}");
        }
        assert_eq!(seen, METRICS.map(str::to_owned).into(), "alarms hang on these names");
        assert_eq!(
            (&lines[0]["FindingsMonitored"], &lines[0]["Blocks"]),
            (&json!(5), &json!(1))
        );
        assert_eq!(
            (&lines[2]["outcome"], &lines[2]["PoisonEvents"]),
            (&json!("PoisonEvent"), &json!(1))
        );
    }

    /// A line as it is written.
    fn written(line: &Line<'_>) -> Value {
        let text = serde_json::to_string(&line.at(now())).unwrap();
        let line: Value = serde_json::from_str(&text).unwrap();
        for key in line.as_object().unwrap().keys() {
            assert_eq!(text.matches(&format!("\"{key}\":")).count(), 1, "{key}: {text}");
        }
        line
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
        let ignored = written(&line("on-scan", "id", &Ok(Handled::Ignored { why: "nothing" })));
        assert_eq!(defined(&ignored), [(false, "Events".to_owned())]);
        let nothing = written(&worked_line("worker", "id", &Worked::default()));
        assert_eq!(nothing["_aws"], Value::Null, "a line without metrics is a line");
        let at_once = Swept {
            sweep: now(),
            ..swept()
        };
        let line = written(&swept_line("sweep", "id", Ok(&at_once), now()));
        assert_eq!(line["SweepAge"], 0, "no age is an age: without it, an alarm rings");
    }

    #[test]
    fn what_was_refused_is_counted_by_what_it_was() {
        let counted = |code: &'static str| defined(&written(&failure("worker", code, Map::new())));
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
            repositories: 3,
            ..Swept::of(now() - jiff::SignedDuration::from_secs(7))
        }
    }

    #[test]
    fn a_sweep_says_how_old_it_is_when_all_of_it_is_left_to_workers() {
        let line = written(&swept_line("sweep", "id", Ok(&swept()), now()));
        assert_eq!((&line["SweepAge"], &line["level"]), (&json!(7), &json!("INFO")));
        let continued = Swept {
            continued: true,
            ..swept()
        };
        let line = written(&swept_line("sweep", "id", Ok(&continued), now()));
        assert_eq!((&line["SweepAge"], &line["SweepsContinued"]), (&Value::Null, &json!(1)));
        let line = written(&worked_line("worker", "id", &worked()));
        assert_eq!(
            (&line["SweepAge"], &line["outcome"]),
            (&json!(90), &json!("failed-in-part"))
        );
    }
}
