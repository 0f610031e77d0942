//! The state of an image.

use serde::{Deserialize, Serialize};

/// The state of an image. Exactly one is true at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// Pushed; no scan result yet.
    Pending,
    /// Nothing at or above review.
    Allowed,
    /// A person must look before it is deployed.
    Review,
    /// Must not be deployed, and cannot be pulled where the block method says so.
    Blocked,
    /// Would be blocked, and is not; the reason says why.
    Held,
    /// The scanner cannot look at it.
    Unscannable,
    /// The scanner no longer looks at it.
    Stale,
    /// No container image, by its manifest: an attestation, a Helm chart, a cache, an index of such.
    NotAnImage,
}

impl State {
    /// The word, as it stands in the ledger and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Allowed => "Allowed",
            Self::Review => "Review",
            Self::Blocked => "Blocked",
            Self::Held => "Held",
            Self::Unscannable => "Unscannable",
            Self::Stale => "Stale",
            Self::NotAnImage => "NotAnImage",
        }
    }
}
