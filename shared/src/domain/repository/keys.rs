//! The KMS key of a repository, and what is wrong with it.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::alert::text;

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

/// Whether a key can be used: KMS's `KeyState`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// It can.
    Enabled,
    /// Somebody turned it off.
    Disabled,
    /// It will be deleted, at this time if it is known; until then it cannot be used either.
    PendingDeletion(Option<Timestamp>),
    /// Any other state (`Creating`, `PendingImport`, `Unavailable`, `Updating`), by its name.
    Other(String),
}

/// Whether a key's material is replaced every year or so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRotation {
    /// It is.
    On,
    /// It could be, and is not.
    Off,
    /// It cannot be for this kind of key (asymmetric, HMAC, imported material, custom key store).
    NotPossible,
}

/// What KMS says about a key.
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
    /// KMS does not tell us; what it said. Nothing is known about the key then.
    NotTold(String),
}

impl KeyHealth {
    /// Why the key cannot be used; `None`: as far as is known, it can.
    pub fn trouble(&self) -> Option<String> {
        let Self::Known { state, .. } = self else { return None };
        match state {
            KeyState::Enabled => None,
            KeyState::Disabled => Some("disabled".to_owned()),
            KeyState::PendingDeletion(None) => Some("pending deletion".to_owned()),
            KeyState::PendingDeletion(Some(at)) => {
                Some(format!("pending deletion on {}", at.strftime("%Y-%m-%d %H:%M UTC")))
            }
            KeyState::Other(state) => Some(text::line(state, 40)),
        }
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
        assert_eq!(trouble(KeyState::Disabled).unwrap(), "disabled");
        let at = "2026-12-01T10:00:00Z".parse().unwrap();
        assert_eq!(
            trouble(KeyState::PendingDeletion(Some(at))).unwrap(),
            "pending deletion on 2026-12-01 10:00 UTC"
        );
        assert_eq!(trouble(KeyState::Other("Unavailable".into())).unwrap(), "Unavailable");
        assert_eq!(KeyHealth::NotTold("denied".into()).trouble(), None);
    }
}
