//! Wires a function: configuration, adapters, handler. The only place that knows both AWS and Lambda.

use std::process::ExitCode;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;

use guard_aws::{Aws, dynamodb::DynamoLedger, ecr::EcrWriter, sns::SnsNotifier};
use guard_core::policy::Policy;
use guard_events::Event;
use guard_lambda::{
    SystemClock,
    config::{Config, environment, findings_queue_url, guarded, queue_url, table},
    entry::{Handled, Invocation, Received, Selection, image_event, push_event},
    error::HandlerError,
    pace::{PUT_IMAGE_EVERY, Pace, Paced},
    replication::{CopySelection, copy_event},
    repositories::RecentLooks,
    sweep::sweep,
    worker::{self, SqsEvent},
};
use guard_ports::Clock as _;

use crate::services::{AwsServices, Lasting, NoQueue};

/// Runs the function `name` until Lambda ends it: it looks at the image of an event.
///
/// Whatever can be wrong with configuration or policy ends it here, before the first event, with one line that says what.
pub async fn run_image_events(name: &'static str, select: fn(&Event) -> Selection) -> ExitCode {
    let handle = async |services: &EventServices<'_>, policy: &Policy, received: Received<'_>| {
        image_event(services, policy, select, received).await
    };
    run_events(name, handle).await
}

/// Runs a function that looks at the repository of an image after the image.
pub async fn run_push_events(name: &'static str, select: fn(&Event) -> Selection) -> ExitCode {
    let recent = RecentLooks::default();
    let handle = async |services: &EventServices<'_>, policy: &Policy, received: Received<'_>| {
        push_event(services, policy, &recent, select, received).await
    };
    run_events(name, handle).await
}

/// Runs a function that looks at copies from other regions. `select`: what an event says of one.
pub async fn run_copy_events(name: &'static str, select: fn(&Event) -> CopySelection) -> ExitCode {
    let recent = RecentLooks::default();
    let handle = async |services: &EventServices<'_>, policy: &Policy, received: Received<'_>| {
        copy_event(services, policy, &recent, select, received).await
    };
    run_events(name, handle).await
}

/// What a function has that EventBridge invokes.
type EventServices<'a> = AwsServices<'a, EcrWriter, NoQueue, SystemClock>;

async fn run_events(
    name: &'static str,
    handle: impl AsyncFn(&EventServices<'_>, &Policy, Received<'_>) -> Result<Handled, HandlerError>,
) -> ExitCode {
    report(name, async {
        let process = &Process::start(Aws::from_env(&environment)?).await?;
        let handle = &handle;
        lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
            let invocation = &Invocation::new(name, &event.context)?;
            let payload = event.payload.get();
            let services = process.for_events(invocation);
            // Boxed: the type of the whole chain of futures is too deep for the compiler otherwise.
            Box::pin(handle(
                &services,
                &process.config.policy,
                Received { invocation, payload },
            ))
            .await
        }))
        .await
    })
    .await
}

/// Runs a function that works off the workers' queue. `select`: what an event in it asks for.
pub async fn run_worker(name: &'static str, select: fn(&Event) -> Selection) -> ExitCode {
    report(name, async {
        let (queue_url, findings_url) = (queue_url(environment)?, findings_queue_url(environment)?);
        let guarded = &guarded(environment)?;
        let aws = Aws::from_env(&environment)?.for_sweeps();
        let queue = &aws.sqs_queue(queue_url).with_findings(findings_url);
        let process = &Process::start(aws).await?;
        let pace = &Pace::new(PUT_IMAGE_EVERY);
        lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| async move {
            let invocation = &Invocation::new(name, &event.context)?;
            let (lasting, account) = (process.lasting(), invocation.account.clone());
            let writer = lasting.writer(&account);
            let writer = writer.as_ref().map(|writer| Paced::new(writer, pace, &SystemClock));
            let services = lasting.services(account, writer, queue).only(guarded);
            let working = worker::work(&services, lasting.policy, select, invocation, event.payload);
            // Boxed, as above.
            let (answer, _) = Box::pin(working).await;
            Ok::<_, Error>(answer)
        }))
        .await
    })
    .await
}

/// Runs a function that begins sweeps.
pub async fn run_sweep(name: &'static str) -> ExitCode {
    report(name, async {
        let queue_url = queue_url(environment)?;
        let guarded = &guarded(environment)?;
        let aws = Aws::from_env(&environment)?.for_sweeps();
        let queue = &aws.sqs_queue(queue_url);
        let process = &Process::start(aws).await?;
        // The deployment takes its item away when it has another one.
        process.config.keep(&process.ledger, SystemClock.now()).await;
        lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
            let invocation = &Invocation::new(name, &event.context)?;
            let (lasting, account) = (process.lasting(), invocation.account.clone());
            // Workers change what is to be changed.
            let services = lasting.services(account, None::<EcrWriter>, queue).only(guarded);
            // Boxed, as above.
            Box::pin(sweep(&services, lasting.policy, invocation, event.payload.get())).await
        }))
        .await
    })
    .await
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

/// What a function has for as long as its process lives.
struct Process {
    aws: Aws,
    ledger: DynamoLedger,
    topics: SnsNotifier,
    config: Config,
}

impl Process {
    async fn start(aws: Aws) -> Result<Self, Error> {
        // Clients are built now, while Lambda gives a whole processor, and not in the first invocation.
        let (ledger, topics) = (aws.dynamo_ledger(table(environment)?), aws.sns_notifier());
        aws.build_ecr_client();
        // The first call to the ledger: the connection that it opens is there for the events.
        let config = Config::load(environment, &ledger, SystemClock.now()).await?;
        Ok(Self {
            aws,
            ledger,
            topics,
            config,
        })
    }

    fn lasting(&self) -> Lasting<'_, SystemClock> {
        Lasting {
            aws: &self.aws,
            ledger: &self.ledger,
            topics: &self.topics,
            policy: &self.config.policy,
            clock: &SystemClock,
        }
    }

    /// What a function has that leaves no work to others.
    fn for_events(&self, invocation: &Invocation) -> EventServices<'_> {
        let (lasting, account) = (self.lasting(), invocation.account.clone());
        let writer = lasting.writer(&account);
        lasting.services(account, writer, &NoQueue)
    }
}
