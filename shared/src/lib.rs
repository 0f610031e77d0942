//! Everything that an ecr-guard function is made of, by one name: a facade over crates whose dependencies are the architecture.
//!
//! | module | crate | is | depends on |
//! |---|---|---|---|
//! | [`core`] | `shared/core` | the rules: pure | nothing of ours |
//! | [`events`] | `shared/events` | wire formats of EventBridge events; `aws_lambda_events` has their envelope | `core` |
//! | [`ports`] | `shared/ports` | what reconciling needs of the world, as traits; `Services` is all of them by one name | `core` |
//! | [`engine`] | `shared/engine` | gather facts, decide, act, record; sweeps | `core`, `ports` |
//! | [`aws`] | `shared/aws` | the ports, with the AWS SDK | `core`, `ports` |
//! | `guard_aws_workloads` | `shared/aws-workloads` | what lists workloads, with the AWS SDK: only in the function `workloads` | `aws`, `core`, `ports` |
//! | [`lambda`] | `shared/lambda` | configuration, logs, metrics, errors and handlers of a Lambda function | `core`, `events`, `ports`, `engine` |
//! | [`services`] | this one | `Services` on AWS | `aws`, `engine`, `ports` |
//! | [`function`] | this one | runs a function: for each binary one, with its handler | all of them |
//! | `testing` (feature `testing`) | `shared/testkit` | the ports, with a world in memory | `core`, `ports` |

pub mod function;
pub mod services;

pub use guard_aws as aws;
pub use guard_core as core;
pub use guard_engine as engine;
pub use guard_events as events;
pub use guard_lambda as lambda;
pub use guard_ports as ports;

/// For tests: the world in memory, with events, handlers and sweeps in it.
#[cfg(feature = "testing")]
pub mod testing {
    pub use guard_engine::testing as sweep;
    pub use guard_events::testing::event;
    pub use guard_lambda::testing::{batch, handle_copy_event, handle_event, look_at_event, message};
    pub use guard_testkit::*;
}
