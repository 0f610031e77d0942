//! The failures of a sweep.

use crate::reconcile::ReconcileError;
use guard_core::{ids::RepositoryName, work::MAX_HOPS};
use guard_ports::{PortError, Retry};

/// The failures; they do not keep the rest from being done.
pub type Failures = Vec<SweepError>;

/// Why a sweep, or a part of it, did not succeed. It can be done again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SweepError {
    /// A call failed.
    #[error("could not {doing}: {source}")]
    Port {
        /// The action that failed.
        doing: String,
        /// The call that failed.
        source: Box<PortError>,
    },
    /// A repository, an image or copies could not be reconciled.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    /// Work was put back too often. It stays in the queue.
    #[error("work on `{0}` was put back {MAX_HOPS} times")]
    TooManyHops(RepositoryName),
}

impl SweepError {
    /// A call failed while this was being done.
    pub fn port(doing: impl Into<String>, source: PortError) -> Self {
        Self::Port {
            doing: doing.into(),
            source: Box::new(source),
        }
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Port { source, .. } => source.retry,
            Self::Reconcile(error) => error.retry(),
            Self::TooManyHops(_) => Retry::Later,
        }
    }

    /// Whether AWS is in trouble, or has had enough of us: then whatever else is to be done waits as well.
    pub fn is_trouble(&self) -> bool {
        self.retry() == Retry::Later && self.code() == CALL_FAILED
    }

    /// Whether a row of the ledger is there and cannot be read: no second attempt can, until somebody has seen to it.
    pub fn is_unreadable_row(&self) -> bool {
        match self {
            Self::Port { source, .. } => source.is_unreadable_row(),
            Self::Reconcile(error) => error.is_unreadable_row(),
            Self::TooManyHops(_) => false,
        }
    }

    /// The scanner's refusal to let us read findings.
    pub(super) fn denied_findings(&self) -> Option<&PortError> {
        match self {
            Self::Reconcile(error) => error.denied_findings(),
            _ => None,
        }
    }

    /// A stable word for alarms.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Port { source, .. } => match source.retry {
                Retry::Later => CALL_FAILED,
                Retry::Never => "CallRefused",
            },
            Self::Reconcile(error) => error.code(),
            Self::TooManyHops(_) => "TooManyHops",
        }
    }
}

/// The word of all errors for a call that may succeed later.
const CALL_FAILED: &str = "CallFailed";
