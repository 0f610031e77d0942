//! How a handler fails.

use lambda_runtime::Diagnostic;

use guard_core::ids::RepositoryName;
use guard_engine::{reconcile::ReconcileError, sweep::SweepError};
use guard_events::Poison;
use guard_ports::{PortError, Retry};

/// Why an event could not be handled. Lambda delivers it again, at most twice, and then to the function's failure destination:
/// nothing is lost, and what can never succeed ends where people look.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The event does not say what it is about.
    #[error("cannot use this event: {0}")]
    Poison(#[from] Poison),
    /// A message of the workers' queue, or what a function was invoked with by hand, is not what it should be.
    #[error("cannot use this: {0}")]
    Unusable(String),
    /// A sweep was asked for a repository that the deployment does not guard.
    #[error("the deployment does not guard the repository `{0}`")]
    NotGuarded(RepositoryName),
    /// A part of a sweep could not be done.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// Lambda did not say where the function runs.
    #[error("`{0}` is not the ARN of a function")]
    Context(String),
    /// The index of workloads could not be read or written.
    #[error("cannot keep the index of workloads: {0}")]
    Index(Box<PortError>),
    /// An image or a repository could not be reconciled.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
}

impl HandlerError {
    /// A stable word: alarms and dashboards hang on it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Poison(_) | Self::Unusable(_) | Self::NotGuarded(_) => "PoisonEvent",
            Self::Sweep(error) => error.code(),
            Self::Context(_) => "NoContext",
            Self::Index(error) if error.retry == Retry::Never => "CallRefused",
            Self::Index(_) => "CallFailed",
            Self::Reconcile(error) => error.code(),
        }
    }

    /// Whether a row of the ledger is there and cannot be read: no second attempt can, until somebody has seen to it.
    pub(crate) fn is_unreadable_row(&self) -> bool {
        match self {
            Self::Sweep(error) => error.is_unreadable_row(),
            Self::Reconcile(error) => error.is_unreadable_row(),
            Self::Index(error) => error.is_unreadable_row(),
            Self::Poison(_) | Self::Unusable(_) | Self::NotGuarded(_) | Self::Context(_) => false,
        }
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Poison(_) | Self::Unusable(_) | Self::NotGuarded(_) | Self::Context(_) => Retry::Never,
            Self::Sweep(error) => error.retry(),
            Self::Index(error) => error.retry,
            Self::Reconcile(error) => error.retry(),
        }
    }
}

impl From<HandlerError> for Diagnostic {
    fn from(error: HandlerError) -> Self {
        Self {
            error_type: error.code().to_owned(),
            error_message: error.to_string(),
        }
    }
}
