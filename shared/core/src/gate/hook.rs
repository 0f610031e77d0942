//! A deployment hook of ECS: what ECS asks, and what it is answered.
//!
//! Source: developer guide of ECS, "Lifecycle hooks for Amazon ECS service deployments". An answer without a status, or an error, rolls a
//! deployment back, so that every request is answered.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::gate::form::{Answer, Decision};

/// The payload of ECS.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HookRequest {
    /// The stage of the deployment.
    pub stage: String,
    /// The service.
    pub service: Option<String>,
    /// The deployment, or what else ECS says that it is about.
    pub deployment: Option<String>,
    /// The revision that is being deployed.
    pub target: Option<String>,
    production: BTreeMap<String, f64>,
    details: Map<String, Value>,
}

/// The answer to ECS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookAnswer {
    /// Whether the deployment goes on.
    pub hook_status: HookStatus,
    /// In how many seconds ECS asks again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_back_delay: Option<u64>,
    /// The details that ECS hands back when it asks again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook_details: Option<Map<String, Value>>,
}

/// Whether a deployment goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HookStatus {
    /// It goes on.
    Succeeded,
    /// It is rolled back.
    Failed,
    /// It waits.
    InProgress,
}

/// The stages before any traffic reaches the deployed images. Nothing is checked in later ones: ECS calls their hooks for
/// rollbacks as well.
const JUDGED_STAGES: [&str; 2] = ["PRE_SCALE_UP", "POST_SCALE_UP"];

/// For how many minutes a deployment waits, unless its hook says otherwise.
const GIVE_UP_MINUTES: f64 = 10.0;

/// The longest wait that a hook can ask for. Source: the timeout of a hook, API reference of ECS, 20160 minutes at most; by default it is a day.
const MAX_GIVE_UP_MINUTES: f64 = 1440.0;

/// The members that only a call of ECS has.
const MEMBERS: [&str; 5] = [
    "executionDetails",
    "hookDetails",
    "lifecycleStage",
    "resourceArn",
    "targetServiceRevisionArn",
];

const ON_UNAVAILABLE: &str = "on_unavailable";
const SINCE: &str = "since";
const STAGE: &str = "since_stage";
const TARGET: &str = "since_revision";

impl HookRequest {
    /// Reads the payload of ECS; `None`: it is no call of a hook. A missing member is no error.
    pub fn parse(json: &str) -> Option<Self> {
        let payload: Map<String, Value> = serde_json::from_str(json).ok()?;
        let details = payload.get("executionDetails").and_then(Value::as_object);
        // The samples of the developer guide have the members at the top, what ECS sends has them in `executionDetails`.
        let member = |name: &str| {
            details
                .and_then(|details| details.get(name))
                .or_else(|| payload.get(name))
        };
        let text = |name: &str| member(name).and_then(Value::as_str).map(str::to_owned);
        let stage = payload.get("lifecycleStage").and_then(Value::as_str);
        let target = text("targetServiceRevisionArn");
        // Whatever ECS leaves out, an answer of another form would roll the deployment back.
        let is_hook = MEMBERS.iter().any(|name| payload.contains_key(*name)) && !payload.contains_key("schema");
        if !is_hook {
            return None;
        }
        let weights = member("productionTrafficWeights").and_then(Value::as_object);
        let weights = weights.into_iter().flatten();
        Some(Self {
            stage: stage.unwrap_or_default().to_owned(),
            service: text("serviceArn"),
            deployment: payload.get("resourceArn").and_then(Value::as_str).map(str::to_owned),
            target,
            production: weights
                .filter_map(|(revision, weight)| Some((revision.clone(), weight.as_f64()?)))
                .collect(),
            details: payload.get("hookDetails").map(settings).unwrap_or_default(),
        })
    }

    /// Why nothing is checked; `None`: the images of the target are evaluated.
    pub fn passes(&self) -> Option<&'static str> {
        // A stage that is not named may be one of them.
        if !self.stage.is_empty() && !JUDGED_STAGES.contains(&self.stage.as_str()) {
            return Some("images are checked in PRE_SCALE_UP and POST_SCALE_UP only");
        }
        let runs = |target: &String| self.production.get(target).is_some_and(|weight| *weight > 0.0);
        // It goes back to what is in production: nobody stands in the way of that.
        self.target
            .as_ref()
            .filter(|target| runs(target))
            .map(|_| "the revision is in production already")
    }

    /// The answer for these images.
    pub fn answer(&self, answer: &Answer, now: Timestamp) -> HookAnswer {
        match answer.decision {
            Decision::Allow => HookAnswer::of(HookStatus::Succeeded),
            Decision::Deny => HookAnswer::of(HookStatus::Failed),
            Decision::Wait | Decision::Unavailable => self.waits(answer.retry_after_seconds, now),
        }
    }

    /// The deployment waits, until the time is over that its hook gives; then it goes on, unless the hook says otherwise.
    pub fn waits(&self, retry_after_seconds: Option<u64>, now: Timestamp) -> HookAnswer {
        let since = self.since().filter(|since| *since <= now).unwrap_or(now);
        let minutes = self.details.get("give_up_minutes").and_then(number);
        let minutes = minutes.unwrap_or(GIVE_UP_MINUTES).clamp(0.0, MAX_GIVE_UP_MINUTES);
        let end = SignedDuration::from_secs_f64(minutes * 60.0);
        if now.duration_since(since) >= end {
            return HookAnswer::of(if self.continues() {
                HookStatus::Succeeded
            } else {
                HookStatus::Failed
            });
        }
        let mut details = self.details.clone();
        details.insert(SINCE.to_owned(), Value::String(since.to_string()));
        details.insert(STAGE.to_owned(), Value::String(self.stage.clone()));
        details.insert(
            TARGET.to_owned(),
            self.target.clone().map_or(Value::Null, Value::String),
        );
        HookAnswer {
            call_back_delay: Some(retry_after_seconds.unwrap_or(30)),
            hook_details: Some(details),
            ..HookAnswer::of(HookStatus::InProgress)
        }
    }

    /// Whether the deployment goes on after a wait that is over. A word that is not known is none that lets it.
    fn continues(&self) -> bool {
        match self.details.get(ON_UNAVAILABLE) {
            None | Some(Value::Null) => true,
            Some(word) => word
                .as_str()
                .is_some_and(|word| word.trim().eq_ignore_ascii_case("CONTINUE")),
        }
    }

    /// Since when this stage waits for this revision, as we have handed it to ourselves.
    fn since(&self) -> Option<Timestamp> {
        let text = |name: &str| self.details.get(name).and_then(Value::as_str);
        text(STAGE).filter(|stage| *stage == self.stage)?;
        if text(TARGET) != self.target.as_deref() {
            return None;
        }
        text(SINCE)?.parse().ok()
    }
}

impl HookAnswer {
    /// With nothing but a status.
    pub fn of(hook_status: HookStatus) -> Self {
        Self {
            hook_status,
            call_back_delay: None,
            hook_details: None,
        }
    }
}

/// The settings of a hook: an object, or a string with one. Details that cannot be read may have asked for a rollback, so they
/// count as that.
fn settings(details: &Value) -> Map<String, Value> {
    let object = match details {
        Value::Null => Some(Map::new()),
        Value::String(text) if text.trim().is_empty() => Some(Map::new()),
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Object(object) => Some(object.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    };
    object.unwrap_or_else(|| Map::from_iter([(ON_UNAVAILABLE.to_owned(), Value::from("ROLLBACK"))]))
}

/// Terraform writes numbers of a JSON document as it likes, and ECS hands on what it has.
fn number(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    number.filter(|number| number.is_finite())
}
