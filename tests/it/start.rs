//! The start of the gate, over real connections on this machine: the first question finds them open.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use guard_aws_workloads::EcsRevisions;
use serde_json::{Value, json};
use shared::{
    aws::{Aws, dynamodb::DynamoLedger},
    function::connect_to_registry,
    lambda::{
        SystemClock,
        config::Config,
        gate::{Ready, gate},
    },
    ports::Clock as _,
    services::{Lasting, NoQueue, NoWriter},
    testing,
};

use crate::{
    calls::invocation,
    canned::{FakeAws, Reply},
    gate::request,
};

/// The requests to a service, and the number of connections.
#[derive(Debug, Default)]
struct Asked {
    connections: usize,
    operations: Vec<String>,
}

/// A service that keeps its connections open, and counts them.
struct Service {
    port: u16,
    asked: Arc<Mutex<Asked>>,
}

impl Service {
    fn start(answer: fn(&str, &Value) -> (u16, Value)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, asked) = (listener.local_addr().unwrap().port(), Arc::default());
        let counted: Arc<Mutex<Asked>> = Arc::clone(&asked);
        thread::spawn(move || {
            for connection in listener.incoming() {
                counted.lock().unwrap().connections += 1;
                let counted = Arc::clone(&counted);
                thread::spawn(move || serve(connection.unwrap(), &counted, answer));
            }
        });
        Self { port, asked }
    }

    /// The connections so far, and what was asked since the last time, in alphabetical order.
    fn take(&self) -> (usize, Vec<String>) {
        let mut asked = self.asked.lock().unwrap();
        let mut operations = std::mem::take(&mut asked.operations);
        operations.sort();
        (asked.connections, operations)
    }
}

/// Answers the requests of a connection until its other end closes it.
fn serve(stream: TcpStream, asked: &Mutex<Asked>, answer: fn(&str, &Value) -> (u16, Value)) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let (mut operation, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(target) = line.strip_prefix("x-amz-target: ") {
                target.rsplit('.').next()?.clone_into(&mut operation);
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (status, document) = answer(&operation, &serde_json::from_slice(&body).ok()?);
        asked.lock().unwrap().operations.push(operation);
        let document = document.to_string();
        let head = format!(
            "HTTP/1.1 {status} -\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
            document.len()
        );
        writer.write_all(format!("{head}{document}").as_bytes()).ok()?;
    }
}

/// A registry with one image, whose scan is done.
fn registry(operation: &str, asked: &Value) -> (u16, Value) {
    let key = testing::image_key();
    let digest = asked
        .pointer("/imageIds/0/imageDigest")
        .or_else(|| asked.pointer("/imageId/imageDigest"));
    if digest != Some(&json!(key.digest)) {
        return (
            400,
            json!({"__type": "ImageNotFoundException", "message": "no such image"}),
        );
    }
    let pushed = testing::now().as_second() - 3600;
    let answer = match operation {
        "describeimages" => {
            json!({"imageDetails": [{"registryId": key.account, "repositoryName": key.repository, "imageDigest": key.digest,
            "imageTags": ["v1.2.3"], "imageStatus": "ACTIVE", "imagePushedAt": pushed, "imageSizeInBytes": 1,
            "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactMediaType": "application/vnd.oci.image.config.v1+json"}]})
        }
        "describeimagescanfindings" => json!({"registryId": key.account, "repositoryName": key.repository,
            "imageId": {"imageDigest": key.digest}, "imageScanStatus": {"status": "COMPLETE"},
            "imageScanFindings": {"imageScanCompletedAt": pushed, "findingSeverityCounts": {}, "findings": []}}),
        other => panic!("the gate does not ask for {other} here"),
    };
    (200, answer)
}

fn nothing_kept(_: &str, _: &Value) -> (u16, Value) {
    (200, json!({}))
}

fn aws(ecr: u16, dynamodb: u16) -> Aws {
    let lookup = move |name: &str| {
        let value = match name {
            "AWS_REGION" => testing::image_key().region.to_string(),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "test".to_owned(),
            "AWS_ENDPOINT_URL_ECR" => format!("http://127.0.0.1:{ecr}"),
            "AWS_ENDPOINT_URL_DYNAMODB" => format!("http://127.0.0.1:{dynamodb}"),
            _ => return None,
        };
        Some(value)
    };
    Aws::from_env(&lookup).unwrap()
}

/// The start of the function before it is asked; its policy is not there.
async fn start(aws: &Aws, ledger: &DynamoLedger) {
    let lookup = |name: &str| (name == "ECR_GUARD_POLICY").then(|| format!("sha256:{}", "0".repeat(64)));
    let loading = Config::load(lookup, ledger, SystemClock.now());
    let (loaded, ()) = tokio::join!(loading, connect_to_registry(aws, &[]));
    assert!(loaded.is_err(), "the ledger has no policy");
}

#[test]
fn the_first_question_opens_no_connection_and_asks_no_more_than_the_next() {
    let (ecr, dynamodb) = (Service::start(registry), Service::start(nothing_kept));
    let aws = aws(ecr.port, dynamodb.port);
    let (ledger, topics, policy) = (aws.dynamo_ledger("ledger"), aws.sns_notifier(), testing::policy(""));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(start(&aws, &ledger));
    let opened = (ecr.take().0, dynamodb.take().0);
    assert_eq!(opened, (2, 1));
    let lasting = Lasting {
        aws: &aws,
        ledger: &ledger,
        topics: &topics,
        policy: &policy,
        clock: &SystemClock,
    };
    let services = lasting.services(testing::image_key().account, None::<NoWriter>, &NoQueue);
    let ask = || {
        let ready = Ready::Yes {
            services: &services,
            policy: &policy,
        };
        let payload = request(&[&format!("@{}", testing::image_key().digest)]);
        let (revisions, invocation) = (EcsRevisions::new(&aws), invocation());
        let answering = gate(ready, &revisions, &SystemClock, &invocation, &payload);
        let answer = runtime.block_on(answering);
        assert_eq!(answer["decision"], "allow", "{answer}");
        (ecr.take(), dynamodb.take())
    };
    let (first, next) = (ask(), ask());
    assert_eq!(first, next);
    assert_eq!((first.0.0, first.1.0), opened, "no connection is opened for a question");
    assert_eq!(first.0.1, ["describeimages", "describeimagescanfindings"]);
}

#[test]
fn whatever_the_registry_answers_the_gate_starts() {
    let refused = Reply::error("AccessDeniedException");
    for (reply, at_most) in [
        (Reply::error("RepositoryNotFoundException"), 0),
        (refused, 0),
        (Reply::error("ServerException"), 0),
        (Reply::Raw(200, "no JSON".to_owned()), 0),
        (Reply::Broken, 0),
        (Reply::Silence, 2),
    ] {
        let fake = FakeAws::new(move |_| reply.clone());
        let aws = fake.aws();
        fake.run(connect_to_registry(&aws, &["team/*".parse().unwrap()]));
        // Each once, and both at the same time.
        assert_eq!(
            fake.operations(),
            ["ecr:DescribeImages", "ecr:DescribeImageScanFindings"]
        );
        assert_eq!(fake.calls()[0].request.body["repositoryName"], "team/ecr-guard");
        let took = fake.clock().elapsed().as_secs();
        assert!(took <= at_most, "{took} s: {:?}", fake.calls());
    }
}
