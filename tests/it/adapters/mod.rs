//! Every adapter against canned HTTP: what exactly is asked, and what becomes of every answer.

mod alert_budget;
mod dynamodb;
mod ecr_read;
mod ecr_scan;
mod ecr_write;
mod faults;
mod kms;
mod listing;
mod policies;
mod replication;
mod repositories;
mod shuffled;
mod sns;
mod sqs;
mod sweep_ledger;
mod sweeps;
mod tag_removal;
mod transport;
mod workloads;

use serde_json::Value;
use shared::core::ids::{AccountId, ImageKey, ImageRef, RepositoryKey, RepositoryName};
use shared::ports::{PortError, Retry};

use crate::canned::message;

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REPOSITORY: &str = "team/api";
pub(crate) const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(crate) fn account() -> AccountId {
    ACCOUNT.parse().unwrap()
}

pub(crate) fn repository() -> RepositoryName {
    REPOSITORY.parse().unwrap()
}

pub(crate) fn by_digest() -> ImageRef {
    ImageRef::Digest(DIGEST.parse().unwrap())
}

pub(crate) fn by_tag() -> ImageRef {
    ImageRef::Tag("v1".parse().unwrap())
}

pub(crate) fn key() -> ImageKey {
    ImageKey {
        account: account(),
        region: "us-west-2".parse().unwrap(),
        repository: repository(),
        digest: DIGEST.parse().unwrap(),
    }
}

pub(crate) fn repository_key() -> RepositoryKey {
    RepositoryKey {
        account: account(),
        region: "us-west-2".parse().unwrap(),
        repository: repository(),
    }
}

/// Asserts that it failed with this code, and with the words that came with it if they came from the service.
#[track_caller]
pub(crate) fn assert_failed<T: std::fmt::Debug>(
    result: Result<T, PortError>,
    operation: &str,
    retry: Retry,
    code: &str,
) -> PortError {
    let error = result.expect_err(code);
    assert_eq!(
        (error.operation, error.retry, error.code.as_str()),
        (operation, retry, code),
        "{error}"
    );
    if error.request_id.is_some() && error.code != "MalformedResponse" && !error.code.starts_with("Http") {
        assert_eq!(error.message, message(code));
    }
    error
}

/// The object with the members of another in or over its own.
pub(crate) fn with(mut object: Value, more: Value) -> Value {
    if let (Value::Object(members), Value::Object(more)) = (&mut object, more) {
        members.extend(more);
    }
    object
}
