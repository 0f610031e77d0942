//! `workloads`: see README.md of this crate.

use std::process::ExitCode;

use guard_aws_workloads::AwsWorkloads;
use shared::{function::run_workloads, lambda::config::environment};

/// The id that the roles of other accounts ask for: see the Terraform module `workload-reader`.
const EXTERNAL_ID: &str = "ECR_GUARD_EXTERNAL_ID";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run_workloads("workloads", |aws, account, rules, until| {
        AwsWorkloads::new(aws, account, rules, environment(EXTERNAL_ID), until)
    })
    .await
}
