//! The KMS key of a repository, and what is wrong with it.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::text;

/// ARN of a KMS key: `arn:aws:kms:REGION:ACCOUNT:key/ID`.
///
/// Source: API reference of KMS, "Key identifiers". An alias is none: it can come to name another key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyArn(String);

/// Why a string is not the ARN of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the ARN of a KMS key, which looks like `arn:aws:kms:us-west-2:123456789012:key/1234abcd-…`")]
pub struct InvalidKeyArn(String);

impl KeyArn {
    /// The ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key's id, without region and account.
    pub fn id(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, id)| id)
    }

    /// Whether it is the same key: in another region, only a multi-region key (`mrk-…`) is.
    pub fn is_same_key(&self, other: &Self) -> bool {
        self == other || (self.id().starts_with("mrk-") && self.id() == other.id())
    }
}

impl FromStr for KeyArn {
    type Err = InvalidKeyArn;

    fn from_str(arn: &str) -> Result<Self, InvalidKeyArn> {
        let parts: Vec<&str> = arn.split(':').collect();
        let id = |resource: &str| {
            resource.strip_prefix("key/").is_some_and(|id| {
                (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            })
        };
        match parts.as_slice() {
            ["arn", partition, "kms", region, account, resource]
                if partition.starts_with("aws")
                    && region.parse::<super::super::ids::Region>().is_ok()
                    && account.parse::<super::super::ids::AccountId>().is_ok()
                    && id(resource) =>
            {
                Ok(Self(arn.to_owned()))
            }
            _ => Err(InvalidKeyArn(text::line(arn, 120))),
        }
    }
}

impl TryFrom<String> for KeyArn {
    type Error = InvalidKeyArn;

    fn try_from(arn: String) -> Result<Self, InvalidKeyArn> {
        arn.parse()
    }
}

impl From<KeyArn> for String {
    fn from(arn: KeyArn) -> Self {
        arn.0
    }
}

impl fmt::Display for KeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a key can be used: KMS's `KeyState` (API reference, `KeyMetadata`; developer guide, "Key states of AWS KMS keys").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// It can.
    Enabled,
    /// It can, while its primary Region is changed.
    Updating,
    /// It is being made, and can be used in a while.
    Creating,
    /// Somebody turned it off.
    Disabled,
    /// It will be deleted, at this time if it is known; until then it cannot be used either.
    PendingDeletion(Option<Timestamp>),
    /// It will be deleted as soon as its replicas in other Regions are.
    PendingReplicaDeletion,
    /// Its material is not there: it was never imported, expired or was deleted.
    PendingImport,
    /// Its key store cannot be reached.
    Unavailable,
    /// A state that is new, by its name, or `missing`.
    Other(String),
}

/// Whether a key's material is replaced every year or so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRotation {
    /// It is.
    On,
    /// It could be, and is not.
    Off,
    /// It cannot be for this kind of key (asymmetric, HMAC, imported material, custom key store).
    NotPossible,
    /// KMS refuses the answer, although it gave the key's state.
    NotTold(Refusal),
}

/// The answer of KMS about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyHealth {
    /// The key.
    Known {
        /// Whether it can be used.
        state: KeyState,
        /// It is ours to manage (`KeyManager`), and not the one that AWS keeps for ECR.
        customer_managed: bool,
        /// Whether it rotates.
        rotation: KeyRotation,
    },
    /// There is no such key: KMS says so once the waiting period of a deletion is over (API reference, `NotFoundException`).
    /// The images that it encrypted can never be read again.
    Gone,
    /// KMS refuses the answer. Nothing is known about the key then.
    NotTold(Refusal),
}

/// A refusal of KMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The operation and the code, which are the same each time.
    pub code: String,
    /// The message of KMS, with its parts that are never the same: the caller, the id of the request.
    pub said: String,
}

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTrouble {
    /// Its state, in words that stay the same while it does.
    pub state: String,
    /// Whether the images are lost, or will be.
    pub loss: Loss,
    /// Whether it will pass by itself, or may: nobody has to do anything about it at once.
    pub may_pass: bool,
}

/// The effect on the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing, as long as the key is.
    None,
    /// They are lost with the key, unless its deletion is cancelled.
    Coming,
    /// They can never be read again.
    Done,
}

impl KeyHealth {
    /// Why the key cannot be used, or it is not known whether it can; `None`: it can, or KMS gives no answer at all.
    pub fn trouble(&self) -> Option<KeyTrouble> {
        let state = match self {
            Self::Known { state, .. } => state,
            Self::Gone => {
                return Some(KeyTrouble {
                    state: "it does not exist".to_owned(),
                    loss: Loss::Done,
                    may_pass: false,
                });
            }
            Self::NotTold(_) => return None,
        };
        let (text, loss, may_pass) = match state {
            KeyState::Enabled | KeyState::Updating => return None,
            KeyState::Creating => ("being made".to_owned(), Loss::None, true),
            KeyState::Disabled => ("disabled".to_owned(), Loss::None, false),
            KeyState::PendingDeletion(None) => ("pending deletion".to_owned(), Loss::Coming, false),
            KeyState::PendingDeletion(Some(at)) => {
                let text = format!("pending deletion on {}", at.strftime("%Y-%m-%d %H:%M UTC"));
                (text, Loss::Coming, false)
            }
            KeyState::PendingReplicaDeletion => (
                "pending deletion, once its replicas are deleted".to_owned(),
                Loss::Coming,
                false,
            ),
            KeyState::PendingImport => ("without its imported material".to_owned(), Loss::None, false),
            KeyState::Unavailable => (
                "unavailable: its key store cannot be reached".to_owned(),
                Loss::None,
                false,
            ),
            KeyState::Other(state) => (
                format!("in a state that is not known ({})", text::line(state, 40)),
                Loss::None,
                true,
            ),
        };
        Some(KeyTrouble {
            state: text,
            loss,
            may_pass,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "arn:aws:kms:us-west-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    #[test]
    fn a_key_has_an_arn_and_not_an_alias() {
        assert_eq!(
            KEY.parse::<KeyArn>().unwrap().id(),
            "1234abcd-12ab-34cd-56ef-1234567890ab"
        );
        for wrong in [
            "",
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws:kms:us-west-2:123456789012:alias/ecr",
            "arn:aws:kms:us-west-2:1234:key/1",
            "arn:aws:kms:us:123456789012:key/1",
            "arn:aws:sns:us-west-2:123456789012:key/1",
            "arn:aws:kms:us-west-2:123456789012:key/",
            "arn:aws:kms:…",
        ] {
            assert!(wrong.parse::<KeyArn>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_a_multi_region_key_is_the_same_in_another_region() {
        let key = |region: &str, id: &str| -> KeyArn {
            format!("arn:aws:kms:{region}:123456789012:key/{id}").parse().unwrap()
        };
        assert!(key("us-west-2", "1").is_same_key(&key("us-west-2", "1")));
        assert!(!key("us-west-2", "1").is_same_key(&key("us-east-1", "1")));
        assert!(key("us-west-2", "mrk-1").is_same_key(&key("us-east-1", "mrk-1")));
        assert!(!key("us-west-2", "mrk-1").is_same_key(&key("us-east-1", "mrk-2")));
    }

    #[test]
    fn a_key_that_cannot_be_used_says_why() {
        let trouble = |state| {
            KeyHealth::Known {
                state,
                customer_managed: true,
                rotation: KeyRotation::On,
            }
            .trouble()
        };
        assert_eq!(trouble(KeyState::Enabled), None);
        assert_eq!(trouble(KeyState::Updating), None, "it can be used");
        let at = "2026-12-01T10:00:00Z".parse().unwrap();
        for (state, text, loss, may_pass) in [
            (KeyState::Disabled, "disabled", Loss::None, false),
            (KeyState::Creating, "being made", Loss::None, true),
            (KeyState::PendingDeletion(None), "pending deletion", Loss::Coming, false),
            (
                KeyState::PendingDeletion(Some(at)),
                "pending deletion on 2026-12-01 10:00 UTC",
                Loss::Coming,
                false,
            ),
            (
                KeyState::PendingReplicaDeletion,
                "pending deletion, once its replicas are deleted",
                Loss::Coming,
                false,
            ),
            (
                KeyState::PendingImport,
                "without its imported material",
                Loss::None,
                false,
            ),
            (
                KeyState::Unavailable,
                "unavailable: its key store cannot be reached",
                Loss::None,
                false,
            ),
            (
                KeyState::Other("Melted".into()),
                "in a state that is not known (Melted)",
                Loss::None,
                true,
            ),
        ] {
            let expected = KeyTrouble {
                state: text.to_owned(),
                loss,
                may_pass,
            };
            assert_eq!(trouble(state), Some(expected));
        }
        assert_eq!(KeyHealth::Gone.trouble().unwrap().loss, Loss::Done);
        let denied = KeyHealth::NotTold(Refusal {
            code: "AccessDeniedException".into(),
            said: "who asked".into(),
        });
        assert_eq!(denied.trouble(), None);
    }
}
