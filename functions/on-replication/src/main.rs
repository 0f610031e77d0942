//! `on-replication`: see README.md beside this crate.

mod select;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    shared::function::run_replication("on-replication", select::select).await
}
