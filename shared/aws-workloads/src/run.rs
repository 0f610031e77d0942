//! One run: how long it may take, and what the policy lets it list.

use std::time::{Duration, UNIX_EPOCH};

use aws_smithy_async::rt::sleep::{AsyncSleep as _, default_async_sleep};
use aws_types::SdkConfig;
use jiff::{SignedDuration, Timestamp};

use guard_aws::error::refusal;
use guard_core::uses::LambdaVersions;
use guard_ports::{PortError, Retry};

/// The common part of all lists of a run.
pub(crate) struct Run {
    pub(crate) time: Time,
    pub(crate) began: Timestamp,
    /// A result that is older than this is read again.
    pub(crate) max_age: SignedDuration,
    pub(crate) lambda_versions: LambdaVersions,
    pub(crate) task_definitions: bool,
}

/// How long a run may go on: what it has found out by then must still be written.
#[derive(Debug, Clone)]
pub(crate) struct Time {
    pub(crate) clock: Clock,
    /// After this nothing new is asked for.
    pub(crate) until: Timestamp,
}

impl Time {
    /// Whether something new may still be asked for.
    pub(crate) fn left(&self, operation: &'static str) -> Result<(), PortError> {
        if self.clock.now() < self.until {
            return Ok(());
        }
        let message = "there was no time to ask for all; the next run goes on";
        Err(refusal(operation, Retry::Later, "TimeOver", message))
    }
}

/// The time, and how to let it pass, as the SDK has them.
#[derive(Debug, Clone)]
pub(crate) struct Clock(SdkConfig);

impl Clock {
    pub(crate) fn of(config: &SdkConfig) -> Self {
        Self(config.clone())
    }

    pub(crate) fn now(&self) -> Timestamp {
        let time = self.0.time_source().unwrap_or_default().now();
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
    }

    pub(crate) async fn pause(&self, time: Duration) {
        if let Some(sleep) = self.0.sleep_impl().or_else(default_async_sleep) {
            sleep.sleep(time).await;
        }
    }
}
