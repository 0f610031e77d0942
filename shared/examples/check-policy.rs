//! Says whether policy documents are valid, with the code that the functions read them with: `check-policy FILE…`.
//!
//! `make plan` has the documents checked like this that Terraform renders, before anything is deployed.

use std::process::ExitCode;

use jiff::Timestamp;
use shared::core::policy::Policy;

#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a command: it reads the clock, and its output is what it is for"
)]
fn main() -> ExitCode {
    let now = Timestamp::now();
    let paths: Vec<String> = std::env::args().skip(1).collect();
    if paths.is_empty() {
        println!("usage: check-policy FILE…");
        return ExitCode::FAILURE;
    }
    let mut all_valid = true;
    for path in paths {
        let checked = std::fs::read_to_string(&path)
            .map_err(|error| error.to_string())
            .and_then(|json| Policy::from_json(&json, now).map_err(|error| error.to_string()));
        match checked {
            Ok(policy) => {
                println!("{path}: valid");
                for remark in policy.remarks(now) {
                    println!("{path}: note: {remark}");
                }
            }
            Err(error) => {
                println!("{path}: {error}");
                all_valid = false;
            }
        }
    }
    if all_valid {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
