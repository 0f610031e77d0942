//! `on-scan`: see README.md of this crate.

use std::process::ExitCode;

use shared::{function::run_events, lambda::entry::image_event};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run_events("on-scan", on_scan::select, image_event).await
}
