//! The function that is running, and its time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::error::HandlerError;
use guard_core::{
    ids::{AccountId, Region},
    text,
};

/// The function that is running, where, and for which event.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation {
    /// The function's name, as it stands in this repository: `on-push`.
    pub function: &'static str,
    /// Lambda's request id: the same when Lambda delivers an event again.
    pub request_id: String,
    /// The account that it works in.
    pub account: AccountId,
    /// The region that it works in.
    pub region: Region,
    /// When nothing new is begun any more in it.
    pub until: Timestamp,
}

/// So long before Lambda ends an invocation nothing new is begun: an image takes up to three calls of 12 seconds after its claim.
pub const RESERVE: SignedDuration = SignedDuration::from_secs(60);

impl Invocation {
    /// The result of a future, if it is done `reserve` before Lambda ends the invocation; `None`: it was not, and is dropped.
    /// Without a deadline it is awaited.
    pub async fn within<F: Future>(&self, reserve: SignedDuration, now: Timestamp, future: F) -> Option<F::Output> {
        if self.until == Timestamp::MAX {
            return Some(future.await);
        }
        let left = self
            .until
            .duration_since(now)
            .saturating_add(RESERVE)
            .saturating_sub(reserve);
        let left = Duration::try_from(left).unwrap_or_default();
        tokio::time::timeout(left, future).await.ok()
    }

    /// From the context that Lambda gives, whose ARN says where the function is: `arn:aws:lambda:REGION:ACCOUNT:function:NAME`.
    ///
    /// # Errors
    /// The ARN is not one.
    pub fn new(function: &'static str, context: &lambda_runtime::Context) -> Result<Self, HandlerError> {
        let arn = &context.invoked_function_arn;
        let mut parts = arn.split(':').skip(3);
        let (region, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match (region.parse(), account.parse()) {
            (Ok(region), Ok(account)) => Ok(Self {
                function,
                request_id: context.request_id.clone(),
                account,
                region,
                until: until(context),
            }),
            _ => Err(HandlerError::Context(text::line(arn, 200))),
        }
    }
}

fn until(context: &lambda_runtime::Context) -> Timestamp {
    let deadline = i64::try_from(context.deadline).ok();
    let deadline = deadline.and_then(|deadline| Timestamp::from_millisecond(deadline).ok());
    deadline.map_or(Timestamp::MAX, |deadline| deadline - RESERVE)
}
