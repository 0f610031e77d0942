//! Answers of AWS, through the SDK and the adapters.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep, Sleep};
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
        orchestrator::HttpRequest,
    },
    http::{Response, StatusCode},
};
use aws_smithy_types::body::SdkBody;
use shared::{
    aws::Aws,
    core::{
        finding::Scan,
        ids::{ImageRef, RepositoryKey},
        policy::Policy,
    },
    ports::{
        Keys as _, Ledger as _, Listing as _, PortError, Queue as _, Registry as _, RegistryWriter as _,
        Replication as _, Repositories as _, RepositoryLedger as _, Scanner as _, SweepLedger as _, UseLedger as _,
    },
    testing::{self, World, handle_event},
};

use crate::payloads::check_world;

/// AWS that answers every call with this.
#[derive(Debug, Clone)]
struct Answering(u16, String);

impl HttpConnector for Answering {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let status = StatusCode::try_from(self.0).expect("a status");
        HttpConnectorFuture::ready(Ok(Response::new(status, SdkBody::from(self.1.clone()))))
    }
}

/// Waits take no time. The answer is there before any wait is over.
#[derive(Debug)]
struct NoTime;

impl AsyncSleep for NoTime {
    fn sleep(&self, _: Duration) -> Sleep {
        Sleep::new(std::future::ready(()))
    }
}

fn aws(status: u16, body: &str) -> Aws {
    let connector = SharedHttpConnector::new(Answering(status, body.to_owned()));
    let client: SharedHttpClient = http_client_fn(move |_, _| connector.clone());
    let environment = |name: &str| {
        let value = match name {
            "AWS_REGION" => "us-west-2",
            "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY" => "not-a-secret",
            _ => return None,
        };
        Some(value.to_owned())
    };
    Aws::from_env(&environment)
        .expect("the environment is complete")
        .with_http_client(client)
        .with_time(
            SharedAsyncSleep::new(NoTime),
            SharedTimeSource::new(SystemTimeSource::new()),
        )
}

/// Runs a future that never waits for anything but [`NoTime`].
fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

fn check_error(error: &PortError) {
    let line = error.to_string();
    assert!(line.len() <= 2_000, "{} bytes: {line}", line.len());
    assert!(!line.contains(char::is_control), "more than a line: {line:?}");
}

/// The findings of an image, and what follows from them.
pub(crate) fn findings(body: &str) {
    let key = testing::image_key();
    let registry = aws(200, body).ecr_registry(key.account.clone());
    let scan = match run(registry.scan(&key)) {
        Ok(scan) => scan,
        Err(error) => return check_error(&error),
    };
    // An answer that says neither that a scan is done nor which findings there are is no result.
    if let Scan::Complete(_) = &scan {
        let says = ["imageScanFindings", "COMPLETE", "ACTIVE"];
        assert!(says.iter().any(|word| body.contains(word)), "a result out of nothing");
    }
    let policy: Policy = testing::policy("");
    let world = World::with(&key, testing::image(&key), scan);
    let scanned = testing::event(
        "ECR Image Scan",
        &serde_json::json!({"scan-status": "COMPLETE", "image-tags": []}),
    );
    // Whatever becomes of the image: the row and the alerts are within their limits.
    drop(handle_event(&world, &policy, on_scan::select, &scanned));
    check_world(&world, &key);
}

/// The same body as the answer to every question.
pub(crate) fn any(body: &str) {
    ask(200, body, check_error);
}

/// The same body as the error of every call.
pub(crate) fn error(body: &str) {
    for status in [400, 500] {
        ask(status, body, check_error);
    }
}

fn ask(status: u16, body: &str, on_error: impl Fn(&PortError)) {
    let key = testing::image_key();
    let repository = RepositoryKey {
        account: key.account.clone(),
        region: key.region.clone(),
        repository: key.repository.clone(),
    };
    let aws = aws(status, body);
    let registry = aws.ecr_registry(key.account.clone());
    let writer = aws.ecr_writer(key.account.clone());
    let ledger = aws.dynamo_ledger("table");
    let elsewhere = aws.ecr_elsewhere(key.account.clone());
    let queue = aws.sqs_queue("https://sqs.us-west-2.amazonaws.com/123456789012/work");
    let tag = "v1".parse().expect("a tag");
    let image = ImageRef::Digest(key.digest.clone());
    let failed = run(async {
        let mut failed = Vec::new();
        let mut take = |result: Result<(), PortError>| failed.extend(result.err());
        take(registry.image(&key.repository, &image).await.map(drop));
        take(registry.manifest(&key).await.map(drop));
        take(registry.repository_policy(&repository).await.map(drop));
        take(registry.indexes(&key.repository, None).await.map(drop));
        take(registry.scan_trigger(&key.repository).await.map(drop));
        take(
            registry
                .pulled_since(&key.repository, testing::now(), None)
                .await
                .map(drop),
        );
        take(registry.repositories(None).await.map(drop));
        take(registry.images(&repository, None).await.map(drop));
        take(registry.settings().await.map(drop));
        take(registry.repository(&repository).await.map(drop));
        take(registry.repository_tags(&repository).await.map(drop));
        take(registry.lifecycle_policy(&repository).await.map(drop));
        take(writer.archive(&key).await.map(drop));
        take(writer.start_scan(&key).await.map(drop));
        take(writer.manifest_to_put(&key).await.map(drop));
        take(writer.remove_tags(&repository, &[tag]).await.map(drop));
        take(elsewhere.copies(&key).await.map(drop));
        take(elsewhere.backfills().await.map(drop));
        take(ledger.row(&key).await.map(drop));
        take(ledger.rows_of(std::slice::from_ref(&key)).await.map(drop));
        take(ledger.rows(&repository, None).await.map(drop));
        take(ledger.told(&repository).await.map(drop));
        take(ledger.repository_row(&repository).await.map(drop));
        take(ledger.uses_of(std::slice::from_ref(&key)).await.map(drop));
        take(queue.waiting().await.map(drop));
        let arn = "arn:aws:kms:us-west-2:123456789012:key/0f3a".parse().expect("a key");
        take(aws.kms_keys().key(&arn).await.map(drop));
        failed
    });
    failed.iter().for_each(on_error);
}
