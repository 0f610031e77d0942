//! The state of an image.

use serde::{Deserialize, Serialize};

/// The state of an image. Exactly one is true at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// Pushed; no scan result yet.
    Pending,
    /// Nothing at or above review.
    Allowed,
    /// A person decides before it is deployed.
    Review,
    /// Must not be deployed, and cannot be pulled where the block method says so.
    Blocked,
    /// It should be blocked, and a rule defers the block: it can be deployed. The reason names the rule.
    #[serde(rename = "Held")]
    BlockDeferred,
    /// The scanner cannot scan it.
    Unscannable,
    /// The scanner no longer watches it.
    Stale,
    /// No container image, by its manifest: an attestation, a Helm chart, a cache, an index of such.
    NotAnImage,
}

impl State {
    /// The word that people and their programs read: in alerts, logs, and answers of the gate.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Allowed => "Allowed",
            Self::Review => "Review",
            Self::Blocked => "Blocked",
            Self::BlockDeferred => "BlockDeferred",
            Self::Unscannable => "Unscannable",
            Self::Stale => "Stale",
            Self::NotAnImage => "NotAnImage",
        }
    }

    /// The word in the ledger, as its serde form has it. Rows of version 0.1 say `Held`, so the ledger keeps that word.
    pub fn stored(self) -> &'static str {
        match self {
            Self::BlockDeferred => "Held",
            other => other.as_str(),
        }
    }

    /// The word that people read, from a word of the ledger. A word of a later version stays as it is.
    pub fn shown_of(stored: &str) -> &str {
        if stored == Self::BlockDeferred.stored() {
            Self::BlockDeferred.as_str()
        } else {
            stored
        }
    }
}
