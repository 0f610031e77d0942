//! The JSON forms of request and answer: `ecr-guard/gate/v1` and `ecr-guard/gate-answer/v1`.
//!
//! Members may be added; none is ever renamed, removed or given another meaning under the same `schema`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    finding::Severity,
    ids::{Digest, Tag},
    text,
    uses::ImageReference,
};

/// The name and version of a request.
pub const REQUEST_SCHEMA: &str = "ecr-guard/gate/v1";

/// The name and version of an answer.
pub const ANSWER_SCHEMA: &str = "ecr-guard/gate-answer/v1";

/// The most images in one request: a task definition has at most ten containers.
pub const MAX_IMAGES: usize = 50;

/// A request.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(title = "ecr-guard gate request"))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateRequest {
    /// `ecr-guard/gate/v1`.
    pub schema: String,
    /// The images, 1 to 50, as they stand in a deployment: `ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY:TAG`, with `@sha256:…` in place of
    /// the tag or behind it.
    pub images: Vec<String>,
    /// Who asks, for the log. It changes no answer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, String>,
}

/// The request does not say what is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// It is not JSON of this form.
    #[error("the request is not valid: {0}")]
    Form(String),
    /// It has another schema.
    #[error("`schema` is not `{REQUEST_SCHEMA}`")]
    Schema,
    /// It names no image, or too many.
    #[error("`images` has {0} entries: 1 to {MAX_IMAGES} are answered at once")]
    Number(usize),
}

impl GateRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// It is none, or asks about too many images.
    pub fn parse(json: &str) -> Result<Self, InvalidRequest> {
        let request: Self =
            serde_json::from_str(json).map_err(|error| InvalidRequest::Form(text::line(&error.to_string(), 300)))?;
        if request.schema != REQUEST_SCHEMA {
            return Err(InvalidRequest::Schema);
        }
        match request.images.len() {
            1..=MAX_IMAGES => Ok(request),
            number => Err(InvalidRequest::Number(number)),
        }
    }
}

/// An image that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// As it was written.
    pub text: String,
    /// The image; `None`: no image of a private registry of ECR.
    pub image: Option<ImageReference>,
    /// Its tag, also where a digest stands next to it.
    pub tag: Option<Tag>,
    /// It has the form of an image of ECR, and cannot be one.
    pub is_malformed: bool,
}

impl Asked {
    /// Reads the name of an image.
    pub fn new(text: &str) -> Self {
        let image: Option<ImageReference> = text.parse().ok();
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let path = name.rsplit('/').next().unwrap_or_default();
        let tag = path.split_once(':').map(|(_, tag)| tag);
        let tag: Option<Tag> = match (tag, digest) {
            (Some(tag), _) => tag.parse().ok(),
            // The tag that a client takes by default.
            (None, None) => "latest".parse().ok(),
            (None, Some(_)) => None,
        };
        let host = text.split_once("://").map_or(text, |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or_default().to_ascii_lowercase();
        let is_of_ecr = host.contains(".dkr.ecr") || host.contains(".dkr-ecr");
        let is_name = !text.is_empty() && text.len() <= 1000 && text.chars().all(|c| c.is_ascii_graphic());
        Self {
            text: self::text::line(text, 500),
            is_malformed: !is_name || image.is_none() && is_of_ecr,
            image,
            tag,
        }
    }

    /// Reads the name of an image that a deployment pulls: by its digest, if that is named, whichever image has the tag by now.
    pub fn deployed(text: &str) -> Self {
        let asked = Self::new(text);
        Self {
            tag: asked.tag.clone().filter(|_| asked.digest().is_none()),
            ..asked
        }
    }

    /// The digest, if it is named.
    pub fn digest(&self) -> Option<Digest> {
        Some(self.image.as_ref()?.key()?.digest)
    }
}

/// Whether images may be deployed.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It may be deployed.
    Allow,
    /// The gate could not find out.
    Unavailable,
    /// There is no result yet: to be asked again.
    // Above `Unavailable`: a caller that goes on without an answer of the gate must not go on while the gate waits.
    Wait,
    /// It may not be deployed.
    Deny,
}

/// An answer.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(title = "ecr-guard gate answer"))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// `ecr-guard/gate-answer/v1`.
    pub schema: String,
    /// About all images together: the worst of them, in the order `deny`, `wait`, `unavailable`, `allow`.
    pub decision: Decision,
    /// Whether all of them may be deployed.
    pub allowed: bool,
    /// The exit code of a command line: 0 allowed, 1 denied, 2 no such image or no valid request, 3 to be asked again, 4
    /// unavailable.
    pub exit_code: u8,
    /// When it was answered.
    pub time: String,
    /// Why the request could not be answered at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// In how many seconds to ask again, where the decision is `wait` or `unavailable`.
    pub retry_after_seconds: Option<u64>,
    /// The images, in the order of the request.
    pub images: Vec<ImageAnswer>,
}

/// The answer about one image.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageAnswer {
    /// As it was asked for.
    pub image: String,
    /// Its repository.
    pub repository: Option<String>,
    /// The tag that was asked for.
    pub tag: Option<String>,
    /// The digest that the answer is about.
    pub digest: Option<String>,
    /// The image by its digest: the one to deploy. The tag may be on another image by then.
    pub pinned: Option<String>,
    /// The decision.
    pub decision: Decision,
    /// The state of the image (`Allowed`, `Review`, `Blocked`, `BlockDeferred`, `Pending`, `Unscannable`, `Stale`, `NotAnImage`), or `NotFound`,
    /// `NotGuarded`, `Invalid`, `Moved`, `Archived`, `Unavailable`.
    pub state: String,
    /// `report` where the policy only reports on the repository, otherwise `enforce`.
    pub mode: Option<String>,
    /// Why.
    pub reason: String,
    /// The decision that the policy would give if it did more than report; `null` where it is the same.
    pub would: Option<Decision>,
    /// The findings that decided, worst first, ten at most.
    pub findings: Vec<FindingEntry>,
    /// How many more decided.
    pub more: u64,
    /// When the scan was complete that it was evaluated by.
    pub scanned_at: Option<String>,
    /// SHA-256 of the policy.
    pub policy: Option<String>,
    /// Warnings for the person who deploys it.
    pub warnings: Vec<String>,
    /// The steps to take, in order.
    pub next: Vec<String>,
    /// In how many seconds to ask again.
    pub retry_after_seconds: Option<u64>,
}

/// A finding.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingEntry {
    /// Its CVE or advisory.
    pub id: String,
    /// Its severity.
    pub severity: Severity,
    /// The package and its version.
    pub package: Option<String>,
    /// The version that has the fix.
    pub fixed_in: Option<String>,
}

impl Answer {
    /// About these images together.
    pub fn of(images: Vec<ImageAnswer>, now: Timestamp) -> Self {
        let decision = images.iter().map(|image| image.decision).max();
        let decision = decision.unwrap_or(Decision::Deny);
        let retry = images.iter().filter_map(|image| image.retry_after_seconds).max();
        let is_unknown = |image: &ImageAnswer| matches!(image.state.as_str(), "NotFound" | "Invalid");
        let mut denied = images.iter().filter(|image| image.decision == Decision::Deny);
        let exit_code = match decision {
            Decision::Allow => 0,
            Decision::Deny if denied.all(is_unknown) => 2,
            Decision::Deny => 1,
            Decision::Wait => 3,
            Decision::Unavailable => 4,
        };
        Self {
            schema: ANSWER_SCHEMA.to_owned(),
            decision,
            allowed: decision == Decision::Allow,
            exit_code,
            time: now.to_string(),
            error: None,
            retry_after_seconds: retry.filter(|_| matches!(decision, Decision::Wait | Decision::Unavailable)),
            images,
        }
    }

    /// The request cannot be answered, now or later.
    pub fn invalid(why: &InvalidRequest, now: Timestamp) -> Self {
        Self {
            error: Some(why.to_string()),
            ..Self::of(Vec::new(), now)
        }
    }

    /// Nothing can be found out now.
    pub fn unavailable(asked: &[Asked], why: &str, now: Timestamp) -> Self {
        let images = asked.iter().map(|asked| ImageAnswer::unavailable(asked, why)).collect();
        Self::of(images, now)
    }
}

/// When to ask again after trouble.
const RETRY_UNAVAILABLE: u64 = 15;

impl ImageAnswer {
    /// An answer with what the request says.
    pub(super) fn new(asked: &Asked, decision: Decision, state: &str, reason: String) -> Self {
        Self {
            image: asked.text.clone(),
            repository: asked.image.as_ref().map(|image| image.repository.to_string()),
            tag: asked.tag.as_ref().map(ToString::to_string),
            digest: asked.digest().map(|digest| digest.to_string()),
            pinned: None,
            decision,
            state: state.to_owned(),
            mode: None,
            reason,
            would: None,
            findings: Vec::new(),
            more: 0,
            scanned_at: None,
            policy: None,
            warnings: Vec::new(),
            next: Vec::new(),
            retry_after_seconds: None,
        }
    }

    /// The gate could not find out.
    pub(super) fn unavailable(asked: &Asked, why: &str) -> Self {
        let reason = format!(
            "The gate cannot answer now: {}.",
            text::line(why, 500).trim_end_matches('.')
        );
        Self {
            retry_after_seconds: Some(RETRY_UNAVAILABLE),
            ..Self::new(asked, Decision::Unavailable, "Unavailable", reason)
        }
    }
}
