//! How reconciling fails: one error for every kind of thing.

use std::fmt;

use jiff::Timestamp;

use guard_core::{
    ids::{ImageKey, RegistryKey, RepositoryKey},
    registry::access::RefusedAccess,
};
use guard_ports::{PortError, Retry};

/// The call that reads findings.
pub(crate) const FINDINGS: &str = "ecr:DescribeImageScanFindings";

/// Why the scanner says nothing, in words that are the same each time.
pub(crate) fn refusal_of(source: &PortError) -> String {
    if source.is_denied() {
        let refused = RefusedAccess::read(source.operation, &source.message, Timestamp::UNIX_EPOCH);
        format!("{} is missing", refused.missing)
    } else {
        format!("{} failed with `{}`", source.operation, source.code)
    }
}

/// The subject of a reconcile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An image, by its digest or by a tag.
    Image(String),
    /// A repository, or a tag of it.
    Repository(RepositoryKey),
    /// A registry.
    Registry(RegistryKey),
    /// A copy of an image, the copies of a repository, or those to a region.
    Copies(String),
}

impl From<&ImageKey> for Subject {
    fn from(image: &ImageKey) -> Self {
        Self::Image(image.to_string())
    }
}

impl From<&RepositoryKey> for Subject {
    fn from(repository: &RepositoryKey) -> Self {
        Self::Repository(repository.clone())
    }
}

impl From<&RegistryKey> for Subject {
    fn from(registry: &RegistryKey) -> Self {
        Self::Registry(registry.clone())
    }
}

impl Subject {
    /// The subject of its row in the ledger.
    fn row(&self) -> String {
        match self {
            Self::Copies(_) => format!("the copy of {self}"),
            Self::Image(_) | Self::Repository(_) | Self::Registry(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(name) | Self::Copies(name) => write!(f, "`{name}`"),
            Self::Repository(key) => write!(f, "`{key}`"),
            Self::Registry(key) => write!(f, "the registry {key}"),
        }
    }
}

/// Why it did not succeed. Nothing is lost: it can be done again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileError {
    /// A call failed.
    #[error("could not {doing} {of}: {source}")]
    Port {
        /// The action that failed.
        doing: &'static str,
        /// With what.
        of: Subject,
        /// The call that failed.
        source: Box<PortError>,
    },
    /// The registry refused the block. An alert says that the image is not blocked.
    #[error("could not block `{image}`, and sent an alert: {source}")]
    BlockRefused {
        /// The image.
        image: String,
        /// The call that failed.
        source: Box<PortError>,
    },
    /// The registry refused to undo a block. The image stays blocked, and the ledger says why.
    #[error("could not release `{image}`: {source}")]
    ReleaseRefused {
        /// The image.
        image: String,
        /// The call that failed.
        source: Box<PortError>,
    },
    /// The registry said yes, and shows that it did not happen.
    #[error("`{image}` is not as it was made: {found}")]
    NotVerified {
        /// The image.
        image: String,
        /// The registry's answer.
        found: String,
    },
    /// Others changed the row again and again.
    #[error("others are changing the ledger's row of {}", .0.row())]
    Contended(Subject),
    /// Another invocation is at work on this image, with another plan.
    #[error("another invocation is at work on `{0}`")]
    Busy(String),
    /// An event announced a scan result that the scanner does not show yet.
    #[error("the scan result of `{0}` is announced, and not visible yet")]
    ResultNotVisible(String),
    /// The image was deleted, or moved to or from the archive, between two reads of one reconcile.
    #[error("`{0}` was changed while it was read")]
    Changed(String),
    /// Report mode has no way to change anything, and was asked to.
    #[error("nothing of `{0}` can be changed in report mode")]
    ReportMode(RepositoryKey),
}

impl ReconcileError {
    /// A call failed while this was being done.
    pub fn port(doing: &'static str, of: impl Into<Subject>, source: PortError) -> Self {
        Self::Port {
            doing,
            of: of.into(),
            source: Box::new(source),
        }
    }

    /// The scanner's refusal to let us read findings: of one image, and so of all.
    pub fn denied_findings(&self) -> Option<&PortError> {
        match self {
            Self::Port { source, .. } if source.operation == FINDINGS && source.is_denied() => Some(source),
            _ => None,
        }
    }

    /// Whether a row of the ledger is there and cannot be read: no second attempt can, until somebody has seen to it.
    pub fn is_unreadable_row(&self) -> bool {
        matches!(self, Self::Port { source, .. } if source.is_unreadable_row())
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Port { source, .. } | Self::BlockRefused { source, .. } | Self::ReleaseRefused { source, .. } => {
                source.retry
            }
            Self::NotVerified { .. }
            | Self::Contended(_)
            | Self::Busy(_)
            | Self::ResultNotVisible(_)
            | Self::Changed(_) => Retry::Later,
            Self::ReportMode(_) => Retry::Never,
        }
    }

    /// A stable word for alarms.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Port { source, .. } => match source.retry {
                Retry::Later => "CallFailed",
                Retry::Never => "CallRefused",
            },
            Self::BlockRefused { .. } => "BlockRefused",
            Self::ReleaseRefused { .. } => "CallRefused",
            Self::NotVerified { .. } => "NotVerified",
            Self::Contended(_) => "Contended",
            Self::Busy(_) => "Busy",
            Self::ResultNotVisible(_) => "ResultNotVisible",
            Self::Changed(_) => "Changed",
            Self::ReportMode(_) => "ReportMode",
        }
    }
}
