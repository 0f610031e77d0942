//! Wires a function: configuration, adapters, handler. The only place that knows both AWS and Lambda.

use std::process::ExitCode;

use jiff::Timestamp;
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;

use guard_aws::{
    Aws,
    dynamodb::DynamoLedger,
    ecr::{EcrRegistry, EcrWriter},
    sns::SnsNotifier,
};
use guard_core::policy::Policy;
use guard_engine::{alert_budget::BudgetedNotifier, reconcile::image::Ports, sweep::WorkerPorts};
use guard_events::Event;
use guard_lambda::{
    SystemClock,
    config::{Config, environment, findings_queue_url, guarded, queue_url, table},
    entry::{self, Handled, Invocation, Selection},
    error::HandlerError,
    pace::{PUT_IMAGE_EVERY, Pace, Paced},
    replication::{self, CopySelection},
    repositories::{ItsRepository, RecentLooks},
    sweep::{self, SweepPorts},
    worker::{self, SqsEvent},
};
use guard_ports::Clock as _;

/// Runs the function `name` until Lambda ends it.
///
/// Whatever can be wrong with configuration or policy ends it here, before the first event, with one line that says what.
pub async fn run(name: &'static str, select: fn(&Event) -> Selection) -> ExitCode {
    report(name, serve::<Images>(name, select)).await
}

/// Runs a function that looks at the repository of an image after the image.
pub async fn run_with_repositories(name: &'static str, select: fn(&Event) -> Selection) -> ExitCode {
    report(name, serve::<ImagesAndRepositories>(name, select)).await
}

/// Runs a function that looks at copies from other regions. `select`: what an event says of one.
pub async fn run_replication(name: &'static str, select: fn(&Event) -> CopySelection) -> ExitCode {
    report(name, serve_replication(name, select)).await
}

/// Runs a function that works off the workers' queue. `select`: what an event in it asks for.
pub async fn run_worker(name: &'static str, select: fn(&Event) -> Selection) -> ExitCode {
    report(name, serve_worker(name, select)).await
}

/// Runs a function that begins sweeps.
pub async fn run_sweep(name: &'static str) -> ExitCode {
    report(name, serve_sweep(name)).await
}

async fn report(name: &'static str, serving: impl Future<Output = Result<(), Error>>) -> ExitCode {
    lambda_runtime::tracing::init_default_subscriber();
    match serving.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("`{name}` cannot run: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve<M: Mode>(name: &'static str, select: fn(&Event) -> Selection) -> Result<(), Error> {
    let aws = &Aws::from_env(&environment)?;
    // Clients are built now, while Lambda gives a whole processor, and not in the first invocation.
    let (ledger, topics) = (&aws.dynamo_ledger(&table(environment)?), &aws.sns_notifier());
    aws.build_ecr_client();
    // The first call to the ledger: the connection that it opens is there for the events.
    let config = &Config::load(environment, ledger, SystemClock.now()).await?;
    let notifier = &BudgetedNotifier::new(topics, ledger, &SystemClock, &config.policy);
    let memory = &M::Memory::default();
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let invocation = Invocation::new(name, &event.context)?;
        let registry = aws.ecr_registry(invocation.account.clone());
        let writer = writer(aws, config, &invocation);
        let ports = Ports {
            registry: &registry,
            writer: writer.as_ref(),
            scanner: &registry,
            ledger,
            notifier,
            clock: &SystemClock,
        };
        // Boxed: the type of the whole chain of futures is too deep for the compiler otherwise.
        Box::pin(M::handle(
            aws,
            memory,
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

async fn serve_replication(name: &'static str, select: fn(&Event) -> CopySelection) -> Result<(), Error> {
    let aws = &Aws::from_env(&environment)?;
    let (ledger, topics) = (&aws.dynamo_ledger(&table(environment)?), &aws.sns_notifier());
    aws.build_ecr_client();
    let config = &Config::load(environment, ledger, SystemClock.now()).await?;
    let notifier = &BudgetedNotifier::new(topics, ledger, &SystemClock, &config.policy);
    let recent = &RecentLooks::default();
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let invocation = Invocation::new(name, &event.context)?;
        let registry = aws.ecr_registry(invocation.account.clone());
        let elsewhere = aws.ecr_elsewhere(invocation.account.clone());
        let writer = writer(aws, config, &invocation);
        let ports = Ports {
            registry: &registry,
            writer: writer.as_ref(),
            scanner: &registry,
            ledger,
            notifier,
            clock: &SystemClock,
        };
        let keys = aws.kms_keys();
        let repository = ItsRepository::new(&ports, &keys, &config.policy, recent);
        // Boxed, as above.
        Box::pin(replication::handle(
            &ports,
            &elsewhere,
            &config.policy,
            select,
            &invocation,
            event.payload.get(),
            &repository,
        ))
        .await
    }))
    .await
}

async fn serve_worker(name: &'static str, select: fn(&Event) -> Selection) -> Result<(), Error> {
    let (queue_url, findings_url) = (queue_url(environment)?, findings_queue_url(environment)?);
    let guarded = &guarded(environment)?;
    let aws = &Aws::from_env(&environment)?.for_sweeps();
    let (ledger, topics, queue) = (
        &aws.dynamo_ledger(&table(environment)?),
        &aws.sns_notifier(),
        &aws.sqs_queue(queue_url).with_findings(findings_url),
    );
    aws.build_ecr_client();
    let config = &Config::load(environment, ledger, SystemClock.now()).await?;
    let notifier = &BudgetedNotifier::new(topics, ledger, &SystemClock, &config.policy);
    let pace = &Pace::new(PUT_IMAGE_EVERY);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| async move {
        let invocation = Invocation::new(name, &event.context)?;
        let registry = aws.ecr_registry(invocation.account.clone()).only(guarded);
        let writer = writer(aws, config, &invocation);
        let writer = writer.as_ref().map(|writer| Paced::new(writer, pace, &SystemClock));
        let backfills = config
            .policy
            .enforces_anywhere()
            .then(|| aws.ecr_backfills(invocation.account.clone()));
        let keys = aws.kms_keys();
        let elsewhere = aws.ecr_elsewhere(invocation.account.clone());
        let ports = WorkerPorts {
            registry: &registry,
            elsewhere: &elsewhere,
            writer: writer.as_ref(),
            backfills: backfills.as_ref(),
            keys: &keys,
            ledger,
            notifier,
            queue,
            clock: &SystemClock,
        };
        let until = until(&event.context);
        let working = worker::work(&ports, &config.policy, select, &invocation, event.payload, until);
        // Boxed: the type of the whole chain of futures is too deep for the compiler otherwise.
        let (answer, _) = Box::pin(working).await;
        Ok::<_, Error>(answer)
    }))
    .await
}

async fn serve_sweep(name: &'static str) -> Result<(), Error> {
    let queue_url = queue_url(environment)?;
    let guarded = &guarded(environment)?;
    let aws = &Aws::from_env(&environment)?.for_sweeps();
    let (ledger, topics, queue) = (
        &aws.dynamo_ledger(&table(environment)?),
        &aws.sns_notifier(),
        &aws.sqs_queue(queue_url),
    );
    aws.build_ecr_client();
    let config = &Config::load(environment, ledger, SystemClock.now()).await?;
    let notifier = &BudgetedNotifier::new(topics, ledger, &SystemClock, &config.policy);
    // The deployment takes its item away when it has another one.
    config.keep(ledger, SystemClock.now()).await;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let invocation = Invocation::new(name, &event.context)?;
        let registry = aws.ecr_registry(invocation.account.clone()).only(guarded);
        let ports = SweepPorts {
            registry: &registry,
            ledger,
            notifier,
            queue,
            clock: &SystemClock,
        };
        let until = until(&event.context);
        // Boxed, as above.
        Box::pin(sweep::sweep(
            &ports,
            &config.policy,
            &invocation,
            event.payload.get(),
            until,
        ))
        .await
    }))
    .await
}

/// Where the policy enforces nowhere, what changes the registry does not exist.
fn writer(aws: &Aws, config: &Config, invocation: &Invocation) -> Option<EcrWriter> {
    let enforces = config.policy.enforces_anywhere();
    enforces.then(|| aws.ecr_writer(invocation.account.clone()))
}

/// When nothing new is begun any more in an invocation.
fn until(context: &Context) -> Timestamp {
    let deadline = i64::try_from(context.deadline).ok();
    let deadline = deadline.and_then(|deadline| Timestamp::from_millisecond(deadline).ok());
    deadline.map_or(Timestamp::MAX, |deadline| deadline - worker::RESERVE)
}

/// The ports as they are on Lambda.
type AwsPorts<'a> = Ports<'a, EcrRegistry, EcrWriter, EcrRegistry, DynamoLedger, AwsNotifier<'a>, SystemClock>;

/// Alerts through SNS, within the budget of the policy.
type AwsNotifier<'a> = BudgetedNotifier<'a, SnsNotifier, DynamoLedger, SystemClock>;

/// What a function looks at. A type and not a value, so that a function has no code in it that it never runs.
trait Mode {
    /// What is kept from event to event.
    type Memory: Default;

    async fn handle(
        aws: &Aws,
        memory: &Self::Memory,
        ports: &AwsPorts<'_>,
        policy: &Policy,
        select: fn(&Event) -> Selection,
        invocation: &Invocation,
        payload: &str,
    ) -> Result<Handled, HandlerError>;
}

/// Images only.
struct Images;

impl Mode for Images {
    type Memory = ();

    async fn handle(
        _: &Aws,
        (): &(),
        ports: &AwsPorts<'_>,
        policy: &Policy,
        select: fn(&Event) -> Selection,
        invocation: &Invocation,
        payload: &str,
    ) -> Result<Handled, HandlerError> {
        entry::handle(ports, policy, select, invocation, payload).await
    }
}

/// Images and their repositories.
struct ImagesAndRepositories;

impl Mode for ImagesAndRepositories {
    type Memory = RecentLooks;

    async fn handle(
        aws: &Aws,
        recent: &RecentLooks,
        ports: &AwsPorts<'_>,
        policy: &Policy,
        select: fn(&Event) -> Selection,
        invocation: &Invocation,
        payload: &str,
    ) -> Result<Handled, HandlerError> {
        // A key is asked for once in an invocation.
        let keys = aws.kms_keys();
        let repository = ItsRepository::new(ports, &keys, policy, recent);
        entry::handle_and(ports, policy, select, invocation, payload, &repository).await
    }
}
