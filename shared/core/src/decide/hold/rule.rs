//! A hold rule, and its answer.

use jiff::Timestamp;

use crate::{
    decide::{blocking::Blocking, plan::Question},
    notice::AlertKind,
};

/// A reason not to block an image that must not be deployed.
#[derive(Debug)]
pub struct HoldRule {
    /// The word for it in the JSON form of alerts (`hold.cause`).
    pub cause: &'static str,
    /// The reason, and when the image is blocked after all: rows of the table in `docs/blocked-image.md`.
    pub docs: &'static [(&'static str, &'static str)],
    /// The member of the policy that switches it off or sets its bounds, if there is one.
    pub setting: Option<&'static str>,
    /// Whether it holds the image, or what must be asked to know.
    pub(in crate::decide) check: fn(&Blocking<'_>) -> Result<Option<Hold>, Question>,
}

/// Why an image that should be blocked is not, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::decide) struct Hold {
    /// The word for it in the JSON form of alerts: that of its rule.
    pub(in crate::decide) cause: &'static str,
    /// When it ends by itself at the earliest, if that is known.
    pub(in crate::decide) until: Option<Timestamp>,
    /// Under which condition it ends: completes *It is blocked when*. `None`: as the first row of the rule's `docs` says.
    pub(in crate::decide) ends: Option<&'static str>,
    /// Completes the sentence *It is not blocked:*.
    pub(in crate::decide) reason: String,
    /// The kind of the alert; `None`: none, since another alert covers it.
    pub(in crate::decide) alert: Option<AlertKind>,
    /// Whether what was done to the image before is undone.
    pub(in crate::decide) undo: Undo,
    /// The step for the reader of the alert about the reason.
    pub(in crate::decide) next_step: Option<&'static str>,
    /// The hourly limit is reached: it is not tried again before this time.
    pub(in crate::decide) limited_until: Option<Timestamp>,
    /// Somebody uses it.
    pub(in crate::decide) is_use: bool,
    /// It is not known whether workloads use it.
    pub(in crate::decide) uses_unknown: bool,
    /// The registry refuses it, and a parent index is blocked: the block is not tried again for a while.
    pub(in crate::decide) refused: bool,
    /// It is a release that nobody was alerted about yet: that is done at once, and not only when the image can be pulled.
    pub(in crate::decide) tells_release: bool,
}

/// Whether what was done to an image before is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decide) enum Undo {
    /// It stays.
    No,
    /// It is undone, unless the policy only asks for more than was done: then that stays.
    Begun,
    /// It is undone, whatever it is.
    All,
}

impl Hold {
    /// No alert is sent, and an earlier block stays.
    pub(in crate::decide) fn because(reason: impl Into<String>) -> Self {
        Self {
            cause: "",
            until: None,
            ends: None,
            reason: reason.into(),
            alert: None,
            undo: Undo::No,
            next_step: None,
            limited_until: None,
            is_use: false,
            uses_unknown: false,
            refused: false,
            tells_release: false,
        }
    }

    /// An alert says that the block is deferred.
    pub(in crate::decide) fn told(self) -> Self {
        Self {
            alert: Some(AlertKind::BlockDeferred),
            ..self
        }
    }

    /// It does not end before this time, if that is known.
    pub(in crate::decide) fn not_before(self, until: Option<Timestamp>) -> Self {
        Self { until, ..self }
    }

    /// It ends as a row of the rule's `docs` says that is not the first.
    pub(in crate::decide) fn ending(self, docs: (&'static str, &'static str)) -> Self {
        Self {
            ends: Some(docs.1),
            ..self
        }
    }

    pub(in crate::decide) fn undoing(self, undo: Undo) -> Self {
        Self { undo, ..self }
    }

    pub(in crate::decide) fn with_step(self, step: &'static str) -> Self {
        Self {
            next_step: Some(step),
            ..self
        }
    }
}
