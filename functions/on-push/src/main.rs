//! `on-push`: see README.md beside this crate.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    shared::function::run_push_events("on-push", on_push::select).await
}
