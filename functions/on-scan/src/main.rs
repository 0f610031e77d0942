//! `on-scan`: see README.md beside this crate.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    shared::function::run_image_events("on-scan", on_scan::select).await
}
