//! The kinds of plans and steps that the engine's log names, counted while a scenario runs.
//!
//! The log is the one place that has all of them: what `decide` said, and which part of claim, effect, notify, record came to which end.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::Interest,
};

/// The subjects of plans, by the module that logs them; and the order of effects, which all of them share.
const SUBJECTS: [(&str, &str); 5] = [
    ("guard_engine::reconcile::image::run", "image"),
    ("guard_engine::reconcile::repository::tag", "tag"),
    ("guard_engine::reconcile::repository::settings", "settings"),
    ("guard_engine::refused_pull", "refused pull"),
    ("guard_engine::execute", "step"),
];

/// All kinds, and the explorers that are there to reach them. A kind without any is reached by tests of its own.
pub(super) const KINDS: &[(&str, &[&str])] = &[
    ("image alerts: BlockDeferred", &["families", "workloads", "mixed"]),
    ("image alerts: BlockLimit", &["mixed"]),
    (
        "image alerts: ImageBlocked",
        &["families", "tags", "workloads", "gate", "mixed"],
    ),
    ("image alerts: ImageBypass", &["families", "tags", "mixed"]),
    ("image alerts: ImageReleased", &["families", "tags", "mixed"]),
    ("image alerts: ImageReview", &["families"]),
    ("image alerts: ScanFailed", &["families"]),
    ("image alerts: ScanOverdue", &["families", "gate", "mixed"]),
    ("image asks: Again", &["tags"]),
    ("image asks: Children", &["families", "workloads", "gate", "mixed"]),
    (
        "image asks: ChildrenPulled",
        &["families", "workloads", "gate", "mixed"],
    ),
    ("image asks: Indexes", &["families", "workloads", "mixed"]),
    ("image asks: Lambda", &["families"]),
    (
        "image asks: Replaced",
        &["families", "tags", "workloads", "gate", "mixed"],
    ),
    ("image asks: Scan", &["mixed"]),
    ("image asks: Told", &["families"]),
    ("image asks: Uses", &["workloads", "mixed"]),
    (
        "image changes: archive",
        &["families", "tags", "workloads", "gate", "mixed"],
    ),
    (
        "image changes: its row",
        &["families", "tags", "workloads", "gate", "mixed"],
    ),
    ("image changes: quarantine", &["tags", "workloads", "gate", "mixed"]),
    ("image changes: restore", &["families", "workloads", "mixed"]),
    ("image changes: unquarantine", &["tags", "workloads", "mixed"]),
    ("image is left: ArchivedByOthers", &["mixed"]),
    ("image is left: Busy", &["families"]),
    ("image is left: InProgress", &["families", "tags", "workloads", "mixed"]),
    ("image is left: NoSuchImage", &["tags", "mixed"]),
    ("image is left: NotAnImage", &["mixed"]),
    ("image is left: ResultNotVisible", &["mixed"]),
    (
        "image is left: Unchanged",
        &["families", "tags", "workloads", "gate", "mixed"],
    ),
    ("refused pull: an alert is sent", &["mixed"]),
    (
        "step: claim: another invocation wrote the record, so the reconcile begins anew",
        &["families", "tags", "workloads", "mixed"],
    ),
    (
        "step: claim: the record is written",
        &["families", "tags", "workloads", "gate", "mixed"],
    ),
    (
        "step: claim: the record is written, and the step stops before its effect",
        &["mixed"],
    ),
    (
        "step: effect: done, if the step has one",
        &["families", "tags", "workloads", "gate", "mixed"],
    ),
    ("step: effect: the step stops, and nothing more is changed", &["mixed"]),
    (
        "step: notify: the alerts of the step are sent, if it has any",
        &["families", "tags", "workloads", "gate", "mixed"],
    ),
    (
        "step: record: another invocation wrote the record after the claim",
        &["mixed"],
    ),
    (
        "step: record: the claim is all that the step has to do",
        &["families", "tags", "workloads", "gate", "mixed"],
    ),
    (
        "step: record: the step is complete",
        &["families", "tags", "workloads", "gate", "mixed"],
    ),
    ("tag is left: InProgress", &["tags"]),
    ("tag is left: Later", &["tags"]),
    ("tag is left: Leave", &["tags", "mixed"]),
    ("tag: a step is carried out", &["tags", "mixed"]),
];

/// How often each kind came.
pub type Coverage = BTreeMap<String, u64>;

/// Counts for one thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Counter {
    counts: Arc<Mutex<Coverage>>,
}

impl Counter {
    /// Runs a piece of work, all of whose plans and steps are counted.
    pub(super) fn count<T>(&self, work: impl FnOnce() -> T) -> T {
        tracing::subscriber::with_default(self.clone(), work)
    }

    pub(super) fn counts(&self) -> Coverage {
        self.counts.lock().expect("nobody panics here").clone()
    }
}

fn subject(metadata: &Metadata<'_>) -> Option<&'static str> {
    let of = SUBJECTS.iter().find(|(target, _)| *target == metadata.target());
    of.map(|(_, subject)| *subject)
}

impl Subscriber for Counter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_event() && subject(metadata).is_some() {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && subject(metadata).is_some()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let Some(subject) = subject(event.metadata()) else {
            return;
        };
        let mut words = Words::default();
        event.record(&mut words);
        let mut counts = self.counts.lock().expect("nobody panics here");
        for kind in words.kinds(subject) {
            *counts.entry(kind).or_default() += 1;
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The words of a line of the log that say which kind it is.
#[derive(Default)]
struct Words {
    message: String,
    question: Option<String>,
    why: Option<String>,
    effect: Option<String>,
    alert: Option<String>,
}

impl Words {
    fn kinds(self, subject: &str) -> Vec<String> {
        let Some(decided) = self.message.strip_prefix("decided: ") else {
            let is_step = subject == "step";
            return is_step.then(|| format!("step: {}", self.message)).into_iter().collect();
        };
        let plan = match (&self.question, &self.why) {
            (Some(question), _) => format!("{subject} asks: {question}"),
            (None, Some(why)) => format!("{subject} is left: {why}"),
            (None, None) if subject == "image" => {
                format!("image changes: {}", self.effect.as_deref().unwrap_or("its row"))
            }
            (None, None) => format!("{subject}: {decided}"),
        };
        let alert = self.alert.map(|kind| format!("{subject} alerts: {kind}"));
        [Some(plan), alert].into_iter().flatten().collect()
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "effect" {
            self.effect = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let place = match field.name() {
            "message" => {
                self.message = format!("{value:?}");
                return;
            }
            "question" => &mut self.question,
            "why" => &mut self.why,
            "alert" => &mut self.alert,
            _ => return,
        };
        let text = format!("{value:?}");
        let text = text
            .strip_prefix("Some(")
            .and_then(|rest| rest.strip_suffix(')'))
            .unwrap_or(&text);
        *place = (text != "None").then(|| text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(subject: &str, words: Words) -> Vec<String> {
        words.kinds(subject)
    }

    #[test]
    fn a_line_of_the_log_is_a_kind_of_plan_or_step() {
        let decided = |text: &str| Words {
            message: format!("decided: {text}"),
            ..Words::default()
        };
        let asks = Words {
            question: Some("Uses".to_owned()),
            ..decided("something must be asked first")
        };
        assert_eq!(kinds("image", asks), ["image asks: Uses"]);
        let archives = Words {
            effect: Some("archive".to_owned()),
            alert: Some("ImageBlocked".to_owned()),
            ..decided("a step is carried out")
        };
        assert_eq!(
            kinds("image", archives),
            ["image changes: archive", "image alerts: ImageBlocked"]
        );
        assert_eq!(
            kinds("image", decided("a step is carried out")),
            ["image changes: its row"]
        );
        assert_eq!(
            kinds("tag", decided("a step is carried out")),
            ["tag: a step is carried out"]
        );
        let claimed = || Words {
            message: "claim: the record is written".to_owned(),
            ..Words::default()
        };
        assert_eq!(kinds("step", claimed()), ["step: claim: the record is written"]);
        assert!(kinds("image", claimed()).is_empty(), "it is no plan");
    }
}
