//! The answer of the function `operate`: `ecr-guard/operate-answer/v1`.
//!
//! Members may be added; none is ever renamed, removed or given another meaning under the same `schema`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    release::{Requester, identity::Unidentified, moment},
    text,
};

/// The name and version of an answer.
pub const ANSWER_SCHEMA: &str = "ecr-guard/operate-answer/v1";

/// The result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseOutcome {
    /// The release is in force.
    Released,
    /// The release has ended.
    Ended,
    /// Nothing was done: `code` says why.
    Refused,
    /// It is not known whether it was done: `ecr-guard explain` says so, and asking again does no harm.
    Unavailable,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseRefusal {
    /// It is no request.
    Invalid(String),
    /// Who asks is not known.
    Unidentified(Unidentified),
    /// The policy does not let this requester release this image; the text says which part of it.
    NotAllowed(String),
    /// The release would be longer than the policy allows, which is for this number of hours.
    TooLong(i64),
    /// The policy wants a ticket.
    NoTicket,
    /// There is no such image.
    NotFound,
    /// It is not blocked: it is in this state, for this reason.
    NotBlocked(&'static str, String),
    /// There is no release to end.
    NotReleased,
    /// The same request was made before.
    Replayed,
    /// Others work on the image.
    Busy,
}

impl ReleaseRefusal {
    /// The word for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::Unidentified(Unidentified::Expired) => "expired-identity",
            Self::Unidentified(Unidentified::Invalid(_) | Unidentified::Refused(_)) => "unidentified",
            Self::NotAllowed(_) => "not-allowed",
            Self::TooLong(_) => "too-long",
            Self::NoTicket => "no-ticket",
            Self::NotFound => "not-found",
            Self::NotBlocked(..) => "not-blocked",
            Self::NotReleased => "not-released",
            Self::Replayed => "replayed",
            Self::Busy => "busy",
        }
    }

    /// Why, in a sentence.
    pub fn reason(&self) -> String {
        match self {
            Self::Invalid(why) => format!("The request is not valid: {why}."),
            Self::Unidentified(why) => format!("Who asks is not known: {why}."),
            Self::NotAllowed(why) => format!("The policy does not allow it: {why}."),
            Self::TooLong(1) => "The policy allows releases of 1 hour at most.".to_owned(),
            Self::TooLong(hours) => format!("The policy allows releases of {hours} hours at most."),
            Self::NoTicket => "The policy wants a ticket for each release.".to_owned(),
            Self::NotFound => "The ledger has no such image.".to_owned(),
            Self::NotBlocked(state, reason) => {
                format!("The image is not blocked: it is `{state}`. {}", text::line(reason, 500))
            }
            Self::NotReleased => "No release of the image is in force.".to_owned(),
            Self::Replayed => "This very request was made before.".to_owned(),
            Self::Busy => "ecr-guard works on the image at this moment.".to_owned(),
        }
    }

    /// The way out, in a sentence.
    pub fn next(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "Use `ecr-guard release`: it makes valid requests.",
            Self::Unidentified(Unidentified::Expired) => {
                "Ask again. If it stays, set the clock of this machine, and log in again."
            }
            Self::Unidentified(_) => "Log in as a role or a user, and use `ecr-guard release`.",
            Self::NotAllowed(_) => "Ask the owners of the policy about its member `release`, or propose an exception.",
            Self::TooLong(_) => "Ask for fewer hours. A longer time needs an exception.",
            Self::NoTicket => "Name it with --ticket.",
            Self::NotFound => "Check account, region, repository and digest.",
            Self::NotBlocked(..) => "It needs no release. If it cannot be pulled, `ecr-guard explain` says why.",
            Self::NotReleased => "There is nothing to end.",
            Self::Replayed => "`ecr-guard release` makes a new request each time.",
            Self::Busy => "Ask again in a minute.",
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseAnswer {
    /// `ecr-guard/operate-answer/v1`.
    pub schema: String,
    /// The result.
    pub outcome: ReleaseOutcome,
    /// Why not, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// A sentence.
    pub reason: String,
    /// The next step, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Requester>,
    /// When the release ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The image is on its way back from the archive, which takes up to about 20 minutes.
    #[serde(default)]
    pub restoring: bool,
    /// It is recorded, and could not be carried out yet, because of this. A sweep does so within the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
}

impl ReleaseAnswer {
    fn new(outcome: ReleaseOutcome, reason: impl Into<String>) -> Self {
        Self {
            schema: ANSWER_SCHEMA.to_owned(),
            outcome,
            code: None,
            reason: reason.into(),
            next: None,
            image: None,
            by: None,
            until: None,
            restoring: false,
            pending: None,
        }
    }

    /// Nothing was done.
    pub fn refused(why: &ReleaseRefusal) -> Self {
        Self {
            code: Some(why.code().to_owned()),
            next: Some(why.next().to_owned()),
            ..Self::new(ReleaseOutcome::Refused, why.reason())
        }
    }

    /// It is not known whether it was done.
    pub fn unavailable(why: &str) -> Self {
        Self {
            next: Some("Read the state with `ecr-guard explain`, and ask again.".to_owned()),
            ..Self::new(
                ReleaseOutcome::Unavailable,
                format!("It could not be done now: {}.", text::line(why, 500)),
            )
        }
    }

    /// The release is in force.
    pub fn released(until: Timestamp) -> Self {
        Self {
            until: Some(until),
            next: Some("Deploy a fixed image before that. The team and the default route were alerted.".to_owned()),
            ..Self::new(
                ReleaseOutcome::Released,
                format!(
                    "The image is released until {}. Then it is blocked again, also where it runs.",
                    moment(until)
                ),
            )
        }
    }

    /// The release has ended.
    pub fn ended() -> Self {
        Self::new(
            ReleaseOutcome::Ended,
            "The release has ended, and the image is blocked again.",
        )
    }
}
