//! The result of the reconcile of a repository or a tag.

use serde::Serialize;

use guard_core::notice::RepositoryAlertKind;

/// The result.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RepositoryOutcome {
    /// How the repository has opted out: shown each time, so that it cannot hide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt_out: Option<String>,
    /// The settings that were changed, and `untag`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<&'static str>,
    /// The kinds of the alerts that were sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<RepositoryAlertKind>,
    /// ECR does not know yet what a lifecycle policy would do, which is neither a failure nor trouble: a later look asks again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
}

impl RepositoryOutcome {
    /// Both in one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.opt_out = self.opt_out.or(other.opt_out);
        self.changed.extend(other.changed);
        self.alerts.extend(other.alerts);
        self.waits |= other.waits;
        self
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
