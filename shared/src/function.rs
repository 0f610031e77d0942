//! Wires a function: configuration, adapters, handler. The only place that knows both AWS and Lambda.

use std::{process::ExitCode, sync::OnceLock};

use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;

use guard_aws::{Aws, dynamodb::DynamoLedger, ecr::EcrWriter, sns::SnsNotifier, sts::StsCallers};
use guard_core::{glob::Glob, ids::AccountId, uses::WorkloadRules};
use guard_events::Event;
use guard_lambda::{
    SystemClock,
    config::{Config, any_guarded, environment, findings_queue_url, guarded, queue_url, table},
    entry::{EventContext, Handled, Received, Selection},
    error::HandlerError,
    gate::{ANSWER_RESERVE, Ready, TOO_SLOW, gate},
    invocation::Invocation,
    log,
    operate::operate,
    pace::{PUT_IMAGE_EVERY, Pace, Paced},
    repositories::RecentLooks,
    sweep::sweep,
    worker::{self, SqsEvent},
    workloads::keep_index,
};
use guard_ports::{Clock as _, Revisions, Workloads};

use crate::services::{AwsServices, Lasting, NoQueue, NoWriter};

/// The services of a function that EventBridge invokes.
pub type EventServices = AwsServices<'static, EcrWriter, NoQueue, SystemClock>;

/// The services of the gate: none that could change a registry.
pub type GateServices<'a> = AwsServices<'a, NoWriter, NoQueue, SystemClock>;

/// Runs the function `name` until Lambda ends it: `select` says what an event asks for, and `handle` does it.
///
/// Whatever can be wrong with configuration or policy ends it here, before the first event, with one line that says what.
pub async fn run_events<T>(
    name: &'static str,
    select: fn(&Event) -> T,
    handle: impl AsyncFn(EventContext<'_, EventServices, T>, Received<'_>) -> Result<Handled, HandlerError>,
) -> ExitCode {
    log::start(environment);
    let running = async {
        let guarded = &guarded(environment)?;
        let process = Process::start_connected(Aws::from_env(&environment)?, guarded).await?;
        let (recent, handle) = (&RecentLooks::default(), &handle);
        lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
            let invocation = &Invocation::new(name, &event.context)?;
            let payload = event.payload.get();
            let writer = process.writer(&invocation.account);
            let context = EventContext {
                services: &process.services(invocation, writer, &NoQueue),
                policy: &process.config.policy,
                select,
                recent,
            };
            // Boxed: the type of the whole chain of futures is too deep for the compiler otherwise.
            Box::pin(handle(context, Received { invocation, payload })).await
        }))
        .await
    };
    exit_code(name, running.await)
}

/// Runs a function that handles the workers' queue. `select`: the request of an event in it.
pub async fn run_worker(name: &'static str, select: fn(&Event) -> Selection) -> ExitCode {
    log::start(environment);
    let running = async {
        let (queue_url, findings_url) = (queue_url(environment)?, findings_queue_url(environment)?);
        let guarded = &guarded(environment)?;
        let process = Process::start(Aws::from_env(&environment)?.for_sweeps()).await?;
        let queue = &process.aws.sqs_queue(queue_url).with_findings(findings_url);
        let pace = &Pace::new(PUT_IMAGE_EVERY);
        lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| async move {
            let invocation = &Invocation::new(name, &event.context)?;
            let writer = process.writer(&invocation.account);
            let writer = writer.as_ref().map(|writer| Paced::new(writer, pace, &SystemClock));
            let services = process.services(invocation, writer, queue).only(guarded);
            let working = worker::work(&services, &process.config.policy, select, invocation, event.payload);
            // Boxed, as above.
            let (answer, _) = Box::pin(working).await;
            Ok::<_, Error>(answer)
        }))
        .await
    };
    exit_code(name, running.await)
}

/// Runs a function that begins sweeps.
pub async fn run_sweep(name: &'static str) -> ExitCode {
    log::start(environment);
    let running = async {
        let queue_url = queue_url(environment)?;
        let guarded = &guarded(environment)?;
        let process = Process::start(Aws::from_env(&environment)?.for_sweeps()).await?;
        let queue = &process.aws.sqs_queue(queue_url);
        // The deployment takes its item away when it has another one.
        process.config.keep(&process.ledger, SystemClock.now()).await;
        lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
            let invocation = &Invocation::new(name, &event.context)?;
            // Workers change what is to be changed.
            let services = process.services(invocation, None::<EcrWriter>, queue).only(guarded);
            let payload = event.payload.get();
            // Boxed, as above.
            Box::pin(sweep(&services, &process.config.policy, invocation, payload)).await
        }))
        .await
    };
    exit_code(name, running.await)
}

/// Runs the function that keeps the index of workloads. `workloads`: what lists them, in an invocation that has time until then.
pub async fn run_workloads<W: Workloads + Sync>(
    name: &'static str,
    workloads: impl Fn(&Aws, AccountId, &WorkloadRules, Timestamp) -> W,
) -> ExitCode {
    log::start(environment);
    let running = async {
        let queue_url = queue_url(environment)?;
        let guarded = &guarded(environment)?;
        let process = Process::start(Aws::from_env(&environment)?.for_sweeps()).await?;
        let (queue, workloads) = (&process.aws.sqs_queue(queue_url), &workloads);
        lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
            let invocation = &Invocation::new(name, &event.context)?;
            let services = process.services(invocation, None::<EcrWriter>, queue).only(guarded);
            let (policy, account) = (&process.config.policy, invocation.account.clone());
            let rules = policy.workloads.as_ref();
            let listed = rules.map(|rules| workloads(&process.aws, account, rules, invocation.until));
            // Boxed, as above.
            Box::pin(keep_index(
                &services,
                policy,
                listed.as_ref(),
                invocation,
                event.payload.get(),
            ))
            .await
        }))
        .await
    };
    exit_code(name, running.await)
}

/// Runs the gate. `revisions`: reads revisions of ECS services. It starts without a policy that it can read, and then answers
/// that it is unavailable, and tries again: an error would roll deployments back.
pub async fn run_gate<R: Revisions>(name: &'static str, revisions: impl Fn(&Aws) -> R) -> ExitCode {
    log::start(environment);
    let running = async {
        let guarded = &guarded(environment)?;
        let aws = Aws::from_env(&environment)?;
        let revisions = &revisions(&aws);
        let (ledger, topics) = (aws.dynamo_ledger(table(environment)?), aws.sns_notifier());
        let (aws, ledger, topics) = (&aws, &ledger, &topics);
        let known: &OnceLock<Config> = &OnceLock::new();
        let config = async || match known.get() {
            Some(config) => Ok(config),
            None => {
                let config = Config::load(environment, ledger, SystemClock.now()).await;
                config.map(|config| known.get_or_init(|| config))
            }
        };
        let (loaded, ()) = tokio::join!(config(), connect_to_registry(aws, guarded));
        if let Err(error) = loaded {
            tracing::error!("`{name}` cannot answer yet: {error}");
        }
        let config = &config;
        lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
            let invocation = &Invocation::new(name, &event.context)?;
            let payload = event.payload.get();
            let reading = invocation.within(ANSWER_RESERVE, SystemClock.now(), config());
            let answer = match reading.await {
                Some(Ok(config)) => {
                    let lasting = Lasting {
                        aws,
                        ledger,
                        topics,
                        policy: &config.policy,
                        clock: &SystemClock,
                    };
                    let services = lasting.services(invocation.account.clone(), None::<NoWriter>, &NoQueue);
                    let services = &services.only(guarded);
                    let policy = &config.policy;
                    let answering = gate(
                        Ready::Yes { services, policy },
                        revisions,
                        &SystemClock,
                        invocation,
                        payload,
                    );
                    // Boxed, as above.
                    Box::pin(answering).await
                }
                failed => {
                    let why = failed.and_then(Result::err).map(|error| error.to_string());
                    let ready = Ready::<GateServices<'_>>::No(why.unwrap_or_else(|| TOO_SLOW.to_owned()));
                    gate(ready, revisions, &SystemClock, invocation, payload).await
                }
            };
            Ok::<_, Error>(answer)
        }))
        .await
    };
    exit_code(name, running.await)
}

/// Runs `operate`, which releases images for people.
pub async fn run_operate(name: &'static str) -> ExitCode {
    log::start(environment);
    let running = async {
        let guarded = &guarded(environment)?;
        let process = Process::start(Aws::from_env(&environment)?).await?;
        let sts = &StsCallers::from_env(&environment);
        lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
            let invocation = &Invocation::new(name, &event.context)?;
            let writer = process.writer(&invocation.account);
            let services = &process.services(invocation, writer, &NoQueue).only(guarded);
            let asked = (event.context.invoked_function_arn.as_str(), event.payload.get());
            // Boxed, as above.
            let answering = Box::pin(operate(services, &process.config.policy, sts, invocation, asked));
            Ok::<_, Error>(answering.await)
        }))
        .await
    };
    exit_code(name, running.await)
}

/// Opens the connections to the registry that a first question takes. Trouble with that is no trouble of the start: the question has it as well.
pub async fn connect_to_registry(aws: &Aws, guarded: &[Glob]) {
    if let Some(repository) = any_guarded(guarded) {
        aws.connect_to_ecr(&repository).await;
    }
}

fn exit_code(name: &str, result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("`{name}` cannot run: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The state of a function for as long as its process lives.
struct Process {
    aws: Aws,
    ledger: DynamoLedger,
    topics: SnsNotifier,
    config: Config,
}

impl Process {
    /// Starts it. It is never freed: whatever an invocation has may borrow from it.
    async fn start(aws: Aws) -> Result<&'static Self, Error> {
        aws.build_ecr_client();
        Self::start_with(aws, async |_| ()).await
    }

    /// The same for a function whose first event is waited for: it finds the connections open that its facts take.
    async fn start_connected(aws: Aws, guarded: &[Glob]) -> Result<&'static Self, Error> {
        Self::start_with(aws, async |aws| connect_to_registry(aws, guarded).await).await
    }

    async fn start_with(aws: Aws, connect: impl AsyncFnOnce(&Aws)) -> Result<&'static Self, Error> {
        // Clients are built now, while Lambda gives a whole processor, and not in the first invocation.
        let (ledger, topics) = (aws.dynamo_ledger(table(environment)?), aws.sns_notifier());
        // The first call to the ledger: the connection that it opens is there for the events.
        let loading = Config::load(environment, &ledger, SystemClock.now());
        let (config, ()) = tokio::join!(loading, connect(&aws));
        let config = config?;
        Ok(Box::leak(Box::new(Self {
            aws,
            ledger,
            topics,
            config,
        })))
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

    /// The writer of an account's registry; `None` where the policy enforces nowhere.
    fn writer(&self, account: &AccountId) -> Option<EcrWriter> {
        self.lasting().writer(account)
    }

    /// The services of one invocation.
    fn services<'a, W, Q>(
        &'a self,
        invocation: &Invocation,
        writer: Option<W>,
        queue: &'a Q,
    ) -> AwsServices<'a, W, Q, SystemClock> {
        self.lasting().services(invocation.account.clone(), writer, queue)
    }
}
