//! The way to AWS: environment, endpoints, connector.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use aws_smithy_async::{rt::sleep::SharedAsyncSleep, time::SharedTimeSource};
use serde_json::json;
use shared::{
    aws::{Aws, InvalidEnvironment, http::shared_client},
    ports::{Ledger as _, Notifier as _, Queue as _, Registry as _},
};

use super::*;
use crate::canned::{FakeAws, Reply, environment};

/// Asks services; the answers do not matter.
async fn ask_everybody(aws: &Aws) {
    let _ = aws.ecr_registry(account()).image(&repository(), &by_tag()).await;
    let _ = aws.dynamo_ledger("table").row(&key()).await;
    let _ = aws
        .sns_notifier()
        .publish(&sns::TOPIC.parse().unwrap(), &sns::alert())
        .await;
    let _ = aws
        .sqs_queue(sqs::URL)
        .send(&[sqs::item(1)], std::time::Duration::ZERO)
        .await;
}

fn uris(variables: &[(&str, &str)]) -> Vec<String> {
    let world = FakeAws::new(|_| Reply::Ok(json!({})));
    let aws = world.aws_with(variables);
    world.run(ask_everybody(&aws));
    world.calls().into_iter().map(|call| call.request.uri).collect()
}

#[test]
fn endpoints_are_those_of_the_region_unless_the_environment_says_otherwise() {
    let regional = [
        "https://api.ecr.us-west-2.amazonaws.com/",
        "https://dynamodb.us-west-2.amazonaws.com/",
        "https://sns.us-west-2.amazonaws.com/",
        "https://sqs.us-west-2.amazonaws.com/",
    ];
    assert_eq!(uris(&[]), regional);
    assert_eq!(uris(&[("AWS_ENDPOINT_URL", " ")]), regional);
    let all = ("AWS_ENDPOINT_URL", "http://localhost:4566");
    assert_eq!(uris(&[all]), ["http://localhost:4566/"; 4]);
    let ecr = ("AWS_ENDPOINT_URL_ECR", "http://localhost:1");
    assert_eq!(
        uris(&[all, ecr, ("AWS_ENDPOINT_URL_DYNAMODB", "http://localhost:2")]),
        [
            "http://localhost:1/",
            "http://localhost:2/",
            "http://localhost:4566/",
            "http://localhost:4566/"
        ]
    );
    assert_eq!(
        uris(&[
            ecr,
            ("AWS_ENDPOINT_URL_SNS", "http://localhost:3"),
            ("AWS_ENDPOINT_URL_SQS", "http://localhost:4")
        ]),
        [
            "http://localhost:1/",
            regional[1],
            "http://localhost:3/",
            "http://localhost:4/"
        ]
    );
    assert_eq!(
        uris(&[all, ecr, ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")]),
        regional
    );
}

#[test]
fn requests_are_signed_with_what_the_environment_holds() {
    let world = FakeAws::new(|_| Reply::Ok(json!({})));
    world.run(ask_everybody(&world.aws()));
    for (call, service) in world.calls().iter().zip(["ecr", "dynamodb", "sns", "sqs"]) {
        let headers = &call.request.headers;
        let scope = format!("Credential=AKIDEXAMPLE/20261123/us-west-2/{service}/aws4_request");
        assert!(headers["authorization"].contains(&scope), "{headers:?}");
        assert_eq!(headers["x-amz-security-token"], "not-a-token");
        assert!(headers["user-agent"].contains("app/ecr-guard"), "{headers:?}");
    }
}

#[test]
fn an_environment_that_is_not_lambdas_is_refused_by_name() {
    for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        for value in [None, Some(""), Some(" ")] {
            let lookup = |asked: &str| {
                if asked == name {
                    value.map(str::to_owned)
                } else {
                    environment(asked, &[])
                }
            };
            assert_eq!(Aws::from_env(&lookup).unwrap_err(), InvalidEnvironment::Missing(name));
        }
    }
    let error = Aws::from_env(&|name| environment(name, &[("AWS_REGION", "nowhere")])).unwrap_err();
    insta::assert_snapshot!(error, @"`AWS_REGION`: `nowhere` is not an AWS region: it looks like `us-west-2`");
    assert_eq!(
        InvalidEnvironment::Missing("AWS_REGION").to_string(),
        "`AWS_REGION` is not set"
    );
}

#[test]
fn the_connector_is_built_once_and_not_before_the_first_request() {
    let world = FakeAws::new(|_| Reply::Ok(json!({})));
    let built = Arc::new(AtomicUsize::new(0));
    let client = shared_client({
        let (world, built) = (world.clone(), Arc::clone(&built));
        move || {
            built.fetch_add(1, Ordering::SeqCst);
            world.connector()
        }
    });
    let aws = Aws::from_env(&|name| environment(name, &[]))
        .unwrap()
        .with_http_client(client)
        .with_time(
            SharedAsyncSleep::new(world.clock().clone()),
            SharedTimeSource::new(world.clock().clone()),
        );
    let _built_clients = (
        aws.ecr_registry(account()),
        aws.ecr_writer(account()),
        aws.dynamo_ledger("t"),
        aws.sns_notifier(),
        aws.sqs_queue(sqs::URL),
    );
    assert_eq!(built.load(Ordering::SeqCst), 0);
    world.run(ask_everybody(&aws));
    assert_eq!(world.calls().len(), 4);
    assert_eq!(built.load(Ordering::SeqCst), 1);
}

/// A server that answers everything with `{}` and counts connections.
fn server() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    thread::spawn({
        let connections = Arc::clone(&connections);
        move || {
            for stream in listener.incoming() {
                connections.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let mut stream = BufReader::new(stream.unwrap());
                    loop {
                        let mut length = 0;
                        loop {
                            let mut line = String::new();
                            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                                return;
                            }
                            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                                length = value.trim().parse().unwrap();
                            }
                            if line == "\r\n" {
                                break;
                            }
                        }
                        let mut body = vec![0; length];
                        stream.read_exact(&mut body).unwrap();
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                        stream.get_mut().write_all(answer).unwrap();
                    }
                });
            }
        }
    });
    (url, connections)
}

#[tokio::test]
async fn all_services_share_the_connections_of_the_real_connector() {
    let (url, connections) = server();
    for _ in 0..2 {
        let aws = Aws::from_env(&|name| environment(name, &[("AWS_ENDPOINT_URL", &url)])).unwrap();
        ask_everybody(&aws).await;
        ask_everybody(&aws).await;
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}
