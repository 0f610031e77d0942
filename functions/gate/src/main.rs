//! `gate`: see README.md of this crate.

use std::process::ExitCode;

use guard_aws_workloads::EcsRevisions;
use shared::function::run_gate;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run_gate("gate", EcsRevisions::new).await
}
