//! Reads keys of KMS. Rules are those of the API reference of KMS (version 2014-11-01).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use aws_sdk_kms::{
    Client,
    operation::{describe_key::DescribeKeyError, get_key_rotation_status::GetKeyRotationStatusError},
    types::{KeyManagerType, KeyMetadata, KeySpec, KeyState as KmsKeyState, OriginType},
};

use crate::{
    answer::timestamp,
    error::{found, plain, port_error, present},
};
use guard_core::repository::keys::{KeyArn, KeyHealth, KeyRotation, KeyState, Refusal};
use guard_ports::{Keys, PortError, Retry};

/// Keys, each asked for once. See [`Aws::kms_keys`](super::Aws::kms_keys).
#[derive(Debug)]
pub struct KmsKeys {
    client: Client,
    known: Mutex<HashMap<KeyArn, KeyHealth>>,
}

impl KmsKeys {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            known: Mutex::default(),
        }
    }

    async fn look(&self, key: &KeyArn) -> Result<KeyHealth, PortError> {
        const OPERATION: &str = "kms:DescribeKey";
        let result = self.client.describe_key().key_id(key.as_str()).send().await;
        // `InvalidArnException`, access denied: KMS gives no answer. `DependencyTimeoutException`, `KMSInternalException`,
        // throttling: later. Somebody else's key may be hidden from us behind access denied, and never behind "not found".
        let Some(output) = found(OPERATION, result, DescribeKeyError::is_not_found_exception)? else {
            return Ok(KeyHealth::Gone);
        };
        let metadata = present(OPERATION, output.key_metadata, "the key")?;
        let customer_managed = metadata.key_manager() != Some(&KeyManagerType::Aws);
        Ok(KeyHealth::Known {
            state: state(&metadata),
            customer_managed,
            rotation: self.rotation(key, &metadata, customer_managed).await?,
        })
    }

    /// `kms:GetKeyRotationStatus`, for keys that can rotate: symmetric ones with material of KMS. Those of AWS always do.
    async fn rotation(
        &self,
        key: &KeyArn,
        metadata: &KeyMetadata,
        customer_managed: bool,
    ) -> Result<KeyRotation, PortError> {
        const OPERATION: &str = "kms:GetKeyRotationStatus";
        if !customer_managed {
            return Ok(KeyRotation::On);
        }
        let usable = matches!(
            metadata.key_state(),
            Some(KmsKeyState::Enabled | KmsKeyState::Disabled | KmsKeyState::Updating)
        );
        let can =
            metadata.key_spec() == Some(&KeySpec::SymmetricDefault) && metadata.origin() == Some(&OriginType::AwsKms);
        if !usable || !can {
            return Ok(KeyRotation::NotPossible);
        }
        match self.client.get_key_rotation_status().key_id(key.as_str()).send().await {
            Ok(output) if output.key_rotation_enabled() => Ok(KeyRotation::On),
            Ok(_) => Ok(KeyRotation::Off),
            Err(error) => match error.as_service_error() {
                Some(
                    GetKeyRotationStatusError::UnsupportedOperationException(_)
                    | GetKeyRotationStatusError::KmsInvalidStateException(_),
                ) => Ok(KeyRotation::NotPossible),
                _ => match port_error(OPERATION, &error) {
                    // The state of the key is known all the same.
                    error if error.retry == Retry::Never => Ok(KeyRotation::NotTold(refusal(&error))),
                    error => Err(error),
                },
            },
        }
    }
}

impl Keys for KmsKeys {
    async fn key(&self, key: &KeyArn) -> Result<KeyHealth, PortError> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned();
        if let Some(health) = known {
            return Ok(health);
        }
        let health = match self.look(key).await {
            Ok(health) => health,
            Err(error) if error.retry == Retry::Never => KeyHealth::NotTold(refusal(&error)),
            Err(error) => return Err(error),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key.clone(), health.clone());
        Ok(health)
    }
}

fn refusal(error: &PortError) -> Refusal {
    Refusal {
        code: format!("{} answers {}", error.operation, error.code),
        said: error.to_string(),
    }
}

/// A state that is missing is not taken for a usable one.
fn state(metadata: &KeyMetadata) -> KeyState {
    match metadata.key_state() {
        Some(KmsKeyState::Enabled) => KeyState::Enabled,
        Some(KmsKeyState::Disabled) => KeyState::Disabled,
        Some(KmsKeyState::PendingDeletion) => KeyState::PendingDeletion(metadata.deletion_date().and_then(timestamp)),
        Some(KmsKeyState::PendingReplicaDeletion) => KeyState::PendingReplicaDeletion,
        Some(KmsKeyState::PendingImport) => KeyState::PendingImport,
        Some(KmsKeyState::Unavailable) => KeyState::Unavailable,
        Some(KmsKeyState::Updating) => KeyState::Updating,
        Some(KmsKeyState::Creating) => KeyState::Creating,
        Some(other) => KeyState::Other(plain(other.as_str(), 64)),
        None => KeyState::Other("missing".to_owned()),
    }
}
