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
    /// The word that people and their programs read. `Held` would sound like "held back", and the image can be deployed.
    pub fn shown(self) -> &'static str {
        match self {
            Self::Held => "BlockDeferred",
            other => other.as_str(),
        }
    }

    /// The word that people read, of a word of the ledger.
    pub fn shown_of(word: &str) -> &str {
        if word == Self::Held.as_str() {
            Self::Held.shown()
        } else {
            word
        }
    }

    /// The word, as it stands in the ledger.
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
