//! The surroundings of a handler in a Lambda function: configuration, the line that it writes, errors, the way from an event to
//! `reconcile`.

pub mod config;
pub mod entry;
pub mod error;
pub mod gate;
pub mod invocation;
pub mod log;
pub mod metrics;
pub mod operate;
pub mod pace;
pub mod replication;
pub mod report;
pub mod repositories;
pub mod sweep;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod worker;
pub mod workloads;

use std::time::Duration;

use jiff::Timestamp;

use guard_ports::Clock;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place where the time is read")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn pause(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
