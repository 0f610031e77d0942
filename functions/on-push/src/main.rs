//! `on-push`: see README.md of this crate.

use std::process::ExitCode;

use shared::{function::run_events, lambda::entry::push_event};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run_events("on-push", on_push::select, push_event).await
}
