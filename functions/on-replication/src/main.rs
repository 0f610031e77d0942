//! `on-replication`: see README.md beside this crate.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    shared::function::run_copy_events("on-replication", on_replication::select).await
}
