//! AWS in memory, below the SDK: real clients, no network, no real time.
//!
//! A [`FakeAws`] answers every request with a closure, writes down every call, and has a clock of its own. A call takes
//! [`LATENCY`] on that clock, a wait of the SDK (backoff, timeout) as long as it says, and the clock only moves when everybody
//! waits: calls that are made at the same time overlap exactly, and a timeout of 12 seconds takes none.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_smithy_async::{
    rt::sleep::{AsyncSleep, SharedAsyncSleep, Sleep},
    time::{SharedTimeSource, TimeSource},
};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
        orchestrator::HttpRequest,
        result::ConnectorError,
    },
    http::{Response, StatusCode},
};
use aws_smithy_types::body::SdkBody;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::aws::Aws;

/// How long every call takes.
pub(crate) const LATENCY: Duration = Duration::from_millis(10);

/// Seconds since 1970 at which every fake world begins: 2026-11-23T21:00:00Z.
pub(crate) const START: u64 = 1_795_467_600;

/// The request id in every answer.
pub(crate) const REQUEST_ID: &str = "5d1f0d5c-2c2b-4e2f-8c9e-9f3f9b3c1d2a";

/// A call, as it arrives.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// As IAM names it: `ecr:DescribeImages`.
    pub(crate) operation: String,
    /// The body; for SNS the form's fields as an object.
    pub(crate) body: Value,
    /// The whole address.
    pub(crate) uri: String,
    /// Header names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

/// The answer.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// 200 and a document: JSON, or for SNS the fields of the result as an object.
    Ok(Value),
    /// An error in the service's own form.
    Error {
        status: u16,
        code: String,
        /// Further fields of the error (JSON services only), such as DynamoDB's `Item`.
        extra: Value,
    },
    /// A status and a body as they are.
    Raw(u16, String),
    /// The connection breaks.
    Broken,
    /// Nothing ever comes.
    Silence,
}

impl Reply {
    /// An error with the status that its kind has.
    pub(crate) fn error(code: &str) -> Self {
        let status = match code {
            "ServerException" | "InternalServerError" | "InternalError" => 500,
            "ServiceUnavailable" => 503,
            _ => 400,
        };
        Self::Error {
            status,
            code: code.to_owned(),
            extra: json!({}),
        }
    }
}

/// A call that was made.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The request.
    pub(crate) request: Request,
    /// When, since the world began.
    pub(crate) start: Duration,
    /// When the answer was there; `None`: never.
    pub(crate) end: Option<Duration>,
}

/// A clock that moves when everybody waits.
#[derive(Clone, Default)]
pub(crate) struct VirtualClock(Arc<Mutex<Timers>>);

#[derive(Default)]
struct Timers {
    now: Duration,
    next: u64,
    waiting: BTreeMap<(Duration, u64), Waker>,
}

impl fmt::Debug for VirtualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtualClock({:?})", self.elapsed())
    }
}

impl VirtualClock {
    /// Since the world began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().now
    }

    /// Moves to the next time that somebody waits for.
    fn advance_to_next(&self) -> bool {
        let due: Vec<Waker> = {
            let mut timers = self.0.lock().unwrap();
            let Some(&(at, _)) = timers.waiting.keys().next() else {
                return false;
            };
            timers.now = timers.now.max(at);
            let later = timers.waiting.split_off(&(at + Duration::from_nanos(1), 0));
            std::mem::replace(&mut timers.waiting, later).into_values().collect()
        };
        due.iter().for_each(Waker::wake_by_ref);
        true
    }

    /// Waits, on this clock. To let time pass between two things: `world.run(world.clock().wait(…))`.
    pub(crate) fn wait(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        let mut timers = self.0.lock().unwrap();
        timers.next += 1;
        Timer {
            clock: self.clone(),
            key: (timers.now + duration, timers.next),
        }
    }
}

struct Timer {
    clock: VirtualClock,
    key: (Duration, u64),
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut timers = self.clock.0.lock().unwrap();
        if timers.now >= self.key.0 {
            return Poll::Ready(());
        }
        timers.waiting.insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.clock.0.lock().unwrap().waiting.remove(&self.key);
    }
}

impl AsyncSleep for VirtualClock {
    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(self.wait(duration))
    }
}

impl TimeSource for VirtualClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(START) + self.elapsed()
    }
}

impl shared::ports::Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::try_from(TimeSource::now(self)).unwrap()
    }

    async fn pause(&self, time: Duration) {
        self.wait(time).await;
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

/// AWS in memory.
#[derive(Clone)]
pub(crate) struct FakeAws {
    answer: Arc<Answer>,
    calls: Arc<Mutex<Vec<Call>>>,
    clock: VirtualClock,
}

impl fmt::Debug for FakeAws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeAws")
    }
}

impl FakeAws {
    /// One that asks `answer` when a request arrives: what it does is done from then on, even if the answer gets lost.
    pub(crate) fn new(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            answer: Arc::new(answer),
            calls: Arc::default(),
            clock: VirtualClock::default(),
        }
    }

    /// One that gives for each operation the replies that stand here, in this order, and none twice.
    pub(crate) fn scripted(replies: impl IntoIterator<Item = (&'static str, Reply)>) -> Self {
        let mut queues: HashMap<&'static str, VecDeque<Reply>> = HashMap::new();
        for (operation, reply) in replies {
            queues.entry(operation).or_default().push_back(reply);
        }
        let queues = Mutex::new(queues);
        Self::new(move |request| {
            let mut queues = queues.lock().unwrap();
            let queue = queues.get_mut(request.operation.as_str());
            queue.and_then(VecDeque::pop_front).unwrap_or_else(|| {
                panic!(
                    "no (more) replies to `{}` in the script: {}",
                    request.operation, request.body
                )
            })
        })
    }

    /// The adapters' way in, leading here, in `us-west-2`.
    pub(crate) fn aws(&self) -> Aws {
        self.aws_with(&[])
    }

    /// The same with more variables in the environment.
    pub(crate) fn aws_with(&self, variables: &[(&str, &str)]) -> Aws {
        Aws::from_env(&|name| environment(name, variables))
            .unwrap()
            .with_http_client(self.http_client())
            .with_time(
                SharedAsyncSleep::new(self.clock.clone()),
                SharedTimeSource::new(self.clock.clone()),
            )
    }

    /// A client of the SDK that leads here.
    pub(crate) fn http_client(&self) -> SharedHttpClient {
        let connector = self.connector();
        http_client_fn(move |_, _| connector.clone())
    }

    /// The connector under it.
    pub(crate) fn connector(&self) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }

    /// The clock, also a [`Clock`](shared::ports::Clock).
    pub(crate) fn clock(&self) -> &VirtualClock {
        &self.clock
    }

    /// Runs a future on this world's clock.
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            while woken.0.swap(false, Ordering::SeqCst) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                    return output;
                }
            }
            assert!(
                self.clock.advance_to_next(),
                "the future waits for something that is not of this world"
            );
        }
    }

    /// All calls so far, in the order in which they were made.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Forgets the calls so far, and gives them.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// The operations called, in order.
    pub(crate) fn operations(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.request.operation).collect()
    }

    /// How often an operation was called.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.calls()
            .iter()
            .filter(|call| call.request.operation == operation)
            .count()
    }

    /// The body of the only call of an operation.
    #[track_caller]
    pub(crate) fn only_body(&self, operation: &str) -> Value {
        let calls = self.calls();
        let mut calls = calls.into_iter().filter(|call| call.request.operation == operation);
        match (calls.next(), calls.next()) {
            (Some(call), None) => call.request.body,
            _ => panic!("`{operation}` was not called once: {:?}", self.operations()),
        }
    }
}

/// The longest chain of calls of which each began when the one before had ended: the round trips that somebody waited for.
pub(crate) fn longest_chain(calls: &[Call]) -> usize {
    let mut chains: Vec<usize> = Vec::new();
    for (n, call) in calls.iter().enumerate() {
        let before = calls[..n]
            .iter()
            .zip(&chains)
            .filter(|(earlier, _)| earlier.end.is_some_and(|end| end <= call.start))
            .map(|(_, chain)| *chain)
            .max();
        chains.push(before.unwrap_or(0) + 1);
    }
    chains.into_iter().max().unwrap_or(0)
}

/// The environment of a function on Lambda.
pub(crate) fn environment(name: &str, more: &[(&str, &str)]) -> Option<String> {
    let lambda = [
        ("AWS_REGION", "us-west-2"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "not-a-secret"),
        ("AWS_SESSION_TOKEN", "not-a-token"),
    ];
    let found = more.iter().chain(&lambda).find(|(key, _)| *key == name)?;
    Some(found.1.to_owned())
}

impl HttpConnector for FakeAws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = read(&request);
        let (number, reply) = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(Call {
                request: request.clone(),
                start: self.clock.elapsed(),
                end: None,
            });
            (calls.len() - 1, (self.answer)(&request))
        };
        let world = self.clone();
        HttpConnectorFuture::new(async move {
            world.clock.wait(LATENCY).await;
            if matches!(reply, Reply::Silence) {
                std::future::pending::<()>().await;
            }
            if let Some(call) = world.calls.lock().unwrap().get_mut(number) {
                call.end = Some(world.clock.elapsed());
            }
            let (status, body) = write(&request, reply)?;
            let mut response = Response::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
            response.headers_mut().insert("x-amzn-requestid", REQUEST_ID);
            Ok(response)
        })
    }
}

/// The meaning of a request of the SDK.
fn read(request: &HttpRequest) -> Request {
    let headers: BTreeMap<String, String> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let bytes = request.body().bytes().expect("a body in memory");
    let (operation, body) = match headers.get("x-amz-target").and_then(|target| target.split_once('.')) {
        Some((api, operation)) => {
            let service = match api {
                "AmazonEC2ContainerRegistry_V20150921" => "ecr",
                "AmazonEC2ContainerServiceV20141113" => "ecs",
                "DynamoDB_20120810" => "dynamodb",
                "TrentService" => "kms",
                "AmazonSQS" => "sqs",
                other => panic!("an API that nobody calls: `{other}`"),
            };
            // For IAM it is the same whether one message is sent or ten.
            let operation = match operation {
                "SendMessageBatch" => "SendMessage",
                other => other,
            };
            (format!("{service}:{operation}"), serde_json::from_slice(bytes).unwrap())
        }
        None if !by_path(request).is_empty() => {
            let body = serde_json::from_slice(bytes).unwrap_or_default();
            (by_path(request), body)
        }
        None => {
            let service = if host(request).starts_with("sts.") {
                "sts"
            } else {
                "sns"
            };
            let form: BTreeMap<String, String> = std::str::from_utf8(bytes)
                .unwrap()
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect();
            (format!("{service}:{}", form["Action"]), json!(form))
        }
    };
    Request {
        operation,
        body,
        uri: request.uri().to_owned(),
        headers,
    }
}

fn host(request: &HttpRequest) -> &str {
    let (_, rest) = request.uri().split_once("://").unwrap_or_default();
    rest.split('/').next().unwrap_or_default()
}

/// The operation of a service that says it by its path; empty: it is another service.
fn by_path(request: &HttpRequest) -> String {
    let path = request.uri().split_once("://").map_or("", |(_, rest)| rest);
    let path = path.split_once('/').map_or("", |(_, path)| path);
    let path = path.split('?').next().unwrap_or_default().trim_end_matches('/');
    let operation = match (host(request).split('.').next(), path) {
        (Some("lambda"), "2015-03-31/functions") => "lambda:ListFunctions",
        (Some("lambda"), path) if path.ends_with("/aliases") => "lambda:ListAliases",
        (Some("lambda"), _) => "lambda:GetFunction",
        (Some("batch"), "v1/describejobdefinitions") => "batch:DescribeJobDefinitions",
        (Some("eks"), "clusters") => "eks:ListClusters",
        _ => "",
    };
    operation.to_owned()
}

/// The members of an object as elements of XML.
fn elements(body: &Value) -> String {
    let members = body.as_object().unwrap().iter();
    let elements = members.map(|(name, value)| match value {
        Value::Object(_) => format!("<{name}>{}</{name}>", elements(value)),
        value => format!("<{name}>{}</{name}>", value.as_str().unwrap()),
    });
    elements.collect()
}

/// Status and body of a reply in the protocol that the request is in.
fn write(request: &Request, reply: Reply) -> Result<(u16, String), ConnectorError> {
    let sns = request.operation.strip_prefix("sns:");
    let action = sns.or_else(|| request.operation.strip_prefix("sts:"));
    Ok(match (reply, action) {
        (Reply::Ok(body), None) => (200, body.to_string()),
        (Reply::Ok(body), Some(action)) => {
            let fields = elements(&body);
            let xmlns = match sns {
                Some(_) => "http://sns.amazonaws.com/doc/2010-03-31/",
                None => "https://sts.amazonaws.com/doc/2011-06-15/",
            };
            (
                200,
                format!(
                    "<{action}Response xmlns=\"{xmlns}\"><{action}Result>{fields}</{action}Result></{action}Response>"
                ),
            )
        }
        (Reply::Error { status, code, extra }, None) => {
            let mut body = json!({"__type": code, "message": message(&code)});
            body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            (status, body.to_string())
        }
        (Reply::Error { status, code, .. }, Some(_)) => {
            let message = message(&code);
            (
                status,
                format!(
                    "<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
                ),
            )
        }
        (Reply::Raw(status, body), _) => (status, body),
        (Reply::Broken, _) => return Err(ConnectorError::io("connection reset".into())),
        (Reply::Silence, _) => panic!("nothing is written for silence"),
    })
}

/// The message of an error.
pub(crate) fn message(code: &str) -> String {
    format!("the service says {code}")
}

fn decode(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    String::from_utf8(decoded).unwrap()
}

#[test]
fn calls_at_the_same_time_are_one_link_of_the_chain() {
    let world = FakeAws::new(|_| Reply::Ok(json!({"imageDetails": []})));
    let aws = world.aws();
    let registry = aws.ecr_registry("123456789012".parse().unwrap());
    let (repository, image) = (
        "team/api".parse().unwrap(),
        shared::core::ids::ImageRef::Tag("v1".parse().unwrap()),
    );
    let image = || shared::ports::Registry::image(&registry, &repository, &image);
    world.run(async {
        let _ = tokio::join!(image(), image());
        let _ = image().await;
    });
    assert_eq!(world.calls().len(), 3);
    assert_eq!(longest_chain(&world.calls()), 2);
    assert_eq!(world.clock().elapsed(), 2 * LATENCY);
}
