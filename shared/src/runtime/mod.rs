//! What surrounds a handler in a Lambda function: configuration, logs and metrics, errors, the way from an event to `reconcile`.

pub mod config;
pub mod entry;
pub mod error;
pub mod report;

use std::process::ExitCode;

use jiff::Timestamp;

use crate::ports::Clock;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place where the time is read")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Starts logging: JSON if `AWS_LAMBDA_LOG_FORMAT` is `JSON`, at the level of `AWS_LAMBDA_LOG_LEVEL`.
pub fn init_telemetry() {
    lambda_runtime::tracing::init_default_subscriber();
}

/// Ends a function that could not start, or whose runtime failed, with one line that says why.
pub fn exit(result: Result<(), lambda_runtime::Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the function cannot run: {error}");
            ExitCode::FAILURE
        }
    }
}
