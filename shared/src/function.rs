//! Wires a function that EventBridge invokes: configuration, adapters, handler. The only place that knows both AWS and Lambda.

use std::process::ExitCode;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;

use crate::{
    adapters::Aws,
    events::Event,
    ports::Clock as _,
    reconcile::Ports,
    runtime::{
        SystemClock,
        config::{Config, environment},
        entry::{self, Invocation, Selection},
    },
};

/// Runs the function `name` until Lambda ends it.
///
/// Whatever can be wrong with configuration or policy ends it here, before the first event, with one line that says what.
pub async fn run(name: &'static str, select: fn(&Event) -> Selection) -> ExitCode {
    lambda_runtime::tracing::init_default_subscriber();
    match serve(name, select).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("`{name}` cannot run: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(name: &'static str, select: fn(&Event) -> Selection) -> Result<(), Error> {
    let config = &Config::load(environment, SystemClock.now())?;
    let aws = &Aws::from_env(&environment)?;
    // Clients are built now, while Lambda gives a whole processor, and not in the first invocation.
    let (ledger, notifier) = (&aws.dynamo_ledger(&config.table), &aws.sns_notifier());
    aws.build_ecr_client();
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let invocation = Invocation::new(name, &event.context)?;
        let registry = aws.ecr_registry(invocation.account.clone());
        // In report mode, what changes the registry does not exist.
        let writer = config
            .policy
            .enforces()
            .then(|| aws.ecr_writer(invocation.account.clone()));
        let ports = Ports {
            registry: &registry,
            writer: writer.as_ref(),
            scanner: &registry,
            ledger,
            notifier,
            clock: &SystemClock,
        };
        // Boxed: the type of the whole chain of futures is too deep for the compiler otherwise.
        Box::pin(entry::handle(
            &ports,
            &config.policy,
            select,
            &invocation,
            event.payload.get(),
        ))
        .await
    }))
    .await
}
