//! Who somebody is, by the word of AWS STS.

use std::future::Future;

use guard_core::release::identity::StsRequest;
use jiff::Timestamp;

use crate::PortError;
use guard_core::ids::RegistryKey;

/// The answer of AWS STS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsAnswer {
    /// The status of HTTP.
    pub status: u16,
    /// The document, at most 64 KB.
    pub body: String,
}

/// The way to AWS STS with a request that somebody else has signed.
pub trait Callers {
    /// Sends it. A redirect is an answer like any other, and is not followed.
    fn caller(&self, request: &StsRequest) -> impl Future<Output = Result<StsAnswer, PortError>> + Send;
}

/// The memory of requests for releases.
pub trait ReleaseLedger {
    /// Claims the id of a request, until a time. The first who asks has it, and has it whenever the same `actor` asks again; everybody else
    /// repeats a request.
    fn claim_request(
        &self,
        registry: &RegistryKey,
        id: &str,
        actor: &str,
        until: Timestamp,
    ) -> impl Future<Output = Result<bool, PortError>> + Send;
}

/// The sort key of the item that claims a request; its partition key is the account.
pub fn request_key(registry: &RegistryKey, id: &str) -> String {
    format!("operate#{}#{id}", registry.region)
}
