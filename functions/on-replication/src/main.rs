//! `on-replication`: see README.md of this crate.

use std::process::ExitCode;

use shared::{function::run_events, lambda::replication::copy_event};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run_events("on-replication", on_replication::select, copy_event).await
}
