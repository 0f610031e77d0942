//! `on-scan`: see README.md beside this crate.

mod select;

use std::process::ExitCode;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use shared::{
    adapters::Aws,
    ports::Clock as _,
    reconcile::Ports,
    runtime::{
        self, SystemClock,
        config::{Config, environment},
        entry::{self, Invocation},
    },
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    runtime::init_telemetry();
    runtime::exit(serve().await)
}

async fn serve() -> Result<(), Error> {
    let config = Config::load(environment, SystemClock.now())?;
    let aws = Aws::from_environment(environment)?;
    let (registry, ledger, notifier) = (aws.ecr_registry(), aws.dynamo_ledger(&config.table), aws.sns_notifier());
    // In report mode, what changes the registry does not exist.
    let writer = config.policy.enforces().then(|| aws.ecr_writer());
    let ports = &Ports {
        registry: &registry,
        writer: writer.as_ref(),
        scanner: &registry,
        ledger: &ledger,
        notifier: &notifier,
        clock: &SystemClock,
    };
    let policy = &config.policy;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let invocation = Invocation::new("on-scan", &event.context);
        entry::handle(ports, policy, select::select, &invocation, event.payload.get()).await
    }))
    .await
}
