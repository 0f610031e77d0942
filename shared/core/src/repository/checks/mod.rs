//! The checks of a repository's settings.
//!
//! To add one, copy a file, add it to [`POSTURE_CHECKS`], and a row to the table in `docs/repository-rules.md`. Its members of
//! the policy are read in `policy/document.rs` and `policy/repository.rs`; the facts that it needs are in
//! [`RepositoryFacts`](super::facts::RepositoryFacts).

mod allowed_accounts;
mod check;
mod customer_managed_key;
mod encryption;
mod key_rotation;
mod kms_key_arn;
mod required_tags;
mod scan_on_push;
mod tag_mutability;

pub(super) use check::{Deviation, PostureCase};
pub use check::{PostureCheck, RepositoryEffect};

/// All checks, in the order in which alerts name their results.
pub const POSTURE_CHECKS: [PostureCheck; 8] = [
    tag_mutability::CHECK,
    scan_on_push::CHECK,
    encryption::CHECK,
    kms_key_arn::CHECK,
    customer_managed_key::CHECK,
    key_rotation::CHECK,
    required_tags::CHECK,
    allowed_accounts::CHECK,
];

/// The setting of a lifecycle policy, which is decided by what it would do.
pub(super) const LIFECYCLE: &str = "lifecycle";

impl RepositoryEffect {
    /// The setting that it changes.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::TagMutability(_) => tag_mutability::SETTING,
            Self::ScanOnPush => scan_on_push::SETTING,
            Self::Access(_) => allowed_accounts::SETTING,
            Self::Lifecycle(_) => LIFECYCLE,
        }
    }
}

/// The deviations from the policy.
pub(super) fn deviations(case: &PostureCase<'_>) -> impl Iterator<Item = Deviation> {
    POSTURE_CHECKS.into_iter().flat_map(|check| (check.check)(case))
}
