//! Payloads of the functions. Each is handed to the function itself, over a world in memory.

use jiff::Timestamp;
use serde_json::Value;
use shared::{
    core::{
        finding::{Scan, Severity},
        ids::ImageKey,
        policy::Policy,
        release::identity::{self, StsRequest},
        text,
        uses::{ClusterReport, MAX_REPORTED_IMAGES},
    },
    events::{self, Event, ecs::TaskEvent},
    lambda::{
        entry::{self, EventContext, Invocation, Received},
        error::HandlerError,
        gate::{self, Ready},
        operate,
        replication::copy_event,
        repositories::RecentLooks,
        sweep::{self, SweepRequest},
        worker::work,
    },
    ports::{Callers, PortError, Revisions, StsAnswer},
    testing::{self, World, finding, scan},
};

/// The longest line that a person reads about an input that cannot be used.
const MAX_WHY: usize = 2_000;

/// Lambda takes an answer of 6 MB from a synchronous invocation; 50 images with their findings need far less.
const MAX_ANSWER: usize = 1024 * 1024;

/// The image of the event in a registry where it has a CRITICAL finding, and an invocation there.
fn world_of(event: Option<&Event>) -> (World, Invocation, ImageKey) {
    let mut key = testing::image_key();
    let mut image = testing::image(&key);
    if let Some(event) = event {
        let (account, region) = event.registry();
        (key.account, key.region) = (account.clone(), region.clone());
        if let Some(name) = event.body.name() {
            key.repository = name.repository.clone();
            image.tags.clone_from(&name.tags);
            if let Some(digest) = &name.digest {
                key.digest = digest.clone();
            }
        }
        image.digest = key.digest.clone();
    }
    let found = Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Critical)]));
    let invocation = Invocation {
        function: "trial",
        request_id: "one".to_owned(),
        account: key.account.clone(),
        region: key.region.clone(),
        until: Timestamp::MAX,
    };
    (World::with(&key, image, found), invocation, key)
}

/// Every alert that was sent is within the limits of SNS, and every row within those of an item.
pub(crate) fn check_world(world: &World, key: &ImageKey) {
    for sent in world.sent() {
        check_message(&sent.message);
    }
    if let Some(row) = world.row_of(key) {
        let bytes = serde_json::to_string(&row).unwrap().len();
        assert!(bytes < 400 * 1024, "a row has {bytes} bytes");
    }
}

pub(crate) fn check_message(message: &shared::core::alert::Message) {
    let subject = &message.subject;
    let is_plain = subject.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    assert!(
        is_plain && (1..100).contains(&subject.len()),
        "the subject is `{subject}`"
    );
    assert!(message.sms.chars().count() <= 140, "the SMS is `{}`", message.sms);
    let bytes = message.body().len();
    assert!(bytes <= 256 * 1024, "a message has {bytes} bytes");
    for form in [&message.default, &message.https] {
        let read: Result<Value, _> = serde_json::from_str(form);
        assert!(read.is_ok(), "it is no document: {form}");
    }
    let is_hidden = |c: char| c.is_control() && c != '\n';
    assert!(!message.email.contains(is_hidden), "the mail has control characters");
}

fn check_error(world: &World, error: &HandlerError) {
    let why = error.to_string();
    assert!(why.len() <= MAX_WHY, "{} bytes of why: {why}", why.len());
    assert!(!why.contains(char::is_control), "more than a line: {why:?}");
    assert_eq!(world.writes(), 0, "an event that cannot be used has an effect: {why}");
}

/// An event through every function that takes events.
pub(crate) fn event(payload: &str) {
    let parsed = events::parse(payload);
    if let Err(poison) = &parsed {
        let why = poison.to_string();
        assert!(why.len() <= MAX_WHY && !why.contains(char::is_control), "{why:?}");
    }
    let parsed = parsed.ok();
    let policy = testing::policy("");
    let (recent, function) = (RecentLooks::default(), 0..4);
    for number in function {
        let (world, invocation, key) = world_of(parsed.as_ref());
        let services = &world.writing(true);
        let received = Received {
            invocation: &invocation,
            payload,
        };
        let context = |select| EventContext {
            services,
            policy: &policy,
            select,
            recent: &recent,
        };
        let result = match number {
            0 => testing::run(entry::push_event(context(on_push::select), received)),
            1 => testing::run(entry::image_event(context(on_scan::select), received)),
            2 => testing::run(entry::image_event(context(worker::select), received)),
            _ => testing::run(copy_event(
                EventContext {
                    services,
                    policy: &policy,
                    select: on_replication::select,
                    recent: &recent,
                },
                received,
            )),
        };
        if let (Err(error), None) = (&result, &parsed) {
            check_error(&world, error);
        }
        assert!(parsed.is_some() || result.is_err(), "what is no event was handled");
        check_world(&world, &key);
    }
}

/// An event of a task of ECS, or the report of a cluster.
pub(crate) fn workload_event(payload: &str) {
    if let Err(poison) = TaskEvent::parse(payload) {
        let why = poison.to_string();
        assert!(why.len() <= MAX_WHY && !why.contains(char::is_control), "{why:?}");
    }
    match ClusterReport::parse(payload, testing::now()) {
        Ok(report) => {
            let account = &testing::image_key().account;
            let reported = report.report(account, &testing::image_key().region);
            assert!(reported.by_tag.len() <= MAX_REPORTED_IMAGES);
        }
        Err(error) => {
            let why = error.to_string();
            assert!(why.len() <= MAX_WHY && !why.contains(char::is_control), "{why:?}");
        }
    }
}

/// A message of the workers' queue.
pub(crate) fn batch(body: &str) {
    let (world, invocation, key) = world_of(None);
    let policy = testing::policy("");
    let batch = testing::batch(vec![testing::message("m", body.to_owned())]);
    let services = world.services(&policy);
    let (_, worked) = testing::run(work(&services, &policy, worker::select, &invocation, batch));
    assert_eq!(worked.messages, 1);
    if worked.poison > 0 {
        assert_eq!(world.writes(), 0, "a message that cannot be used has an effect: {body}");
    }
    for error in &worked.errors {
        assert!(error.len() <= MAX_WHY && !error.contains(char::is_control), "{error:?}");
    }
    check_world(&world, &key);
}

/// The payload of a sweep.
pub(crate) fn sweep(payload: &str) {
    let (world, invocation, key) = world_of(None);
    let policy = testing::policy("");
    let swept = testing::run(sweep::sweep(&world.services(&policy), &policy, &invocation, payload));
    match (&swept, SweepRequest::parse(payload)) {
        (Err(error), Err(_)) => check_error(&world, error),
        (Ok(_), Err(error)) => assert_eq!(error.to_string(), "", "it was swept all the same"),
        _ => {}
    }
    check_world(&world, &key);
}

/// ECS that knows no revision.
struct NoRevisions;

impl Revisions for NoRevisions {
    async fn images(&self, _: &str) -> Result<Vec<String>, PortError> {
        Ok(vec!["nginx".to_owned()])
    }
}

/// A request of the gate, or a hook of ECS.
pub(crate) fn gate(payload: &str) {
    let (world, invocation, key) = world_of(None);
    let policy = testing::policy("");
    let services = &world.services(&policy);
    let ready = Ready::Yes {
        services,
        policy: &policy,
    };
    let answer = testing::run(gate::gate(ready, &NoRevisions, &world, &invocation, payload));
    let text = answer.to_string();
    assert!(text.len() <= MAX_ANSWER, "an answer of {} bytes", text.len());
    assert!(
        answer
            .get("decision")
            .or(answer.get("hookStatus"))
            .is_some_and(Value::is_string),
        "no answer: {text}"
    );
    // The payload of a hook may bring an alert about a refused deployment.
    assert!(world.image_of(&key).is_some_and(|image| image == testing::image(&key)));
    check_world(&world, &key);
}

/// STS that names a role of the account.
struct Sts;

impl Callers for Sts {
    async fn caller(&self, _: &StsRequest) -> Result<StsAnswer, PortError> {
        let body = "<Arn>arn:aws:sts::123456789012:assumed-role/oncall/alice</Arn><Account>123456789012</Account>";
        Ok(StsAnswer {
            status: 200,
            body: body.to_owned(),
        })
    }
}

/// The policy that lets [`Sts`]'s role release images.
fn releasing() -> Policy {
    testing::policy(
        r#""release": {"allow": true, "require_ticket": false, "principals": ["arn:aws:iam::123456789012:role/oncall"]}"#,
    )
}

/// A request for a release.
pub(crate) fn operate(payload: &str) {
    const FUNCTION: &str = "arn:aws:lambda:us-west-2:123456789012:function:guard-operate:live";
    let (world, invocation, key) = world_of(None);
    let policy = releasing();
    let asked = (FUNCTION, payload);
    let answer = testing::run(operate::operate(
        &world.services(&policy),
        &policy,
        &Sts,
        &invocation,
        asked,
    ));
    assert!(
        answer.get("outcome").is_some_and(Value::is_string),
        "no answer: {answer}"
    );
    assert!(answer.to_string().len() <= MAX_ANSWER);
    check_world(&world, &key);
}

/// An answer of AWS STS.
pub(crate) fn sts(body: &str) {
    for status in [200, 403] {
        match identity::requester(status, body) {
            Ok(requester) => {
                assert_eq!(status, 200, "a refusal names somebody: {requester:?}");
                assert_eq!(text::line(&requester.name, 4096), requester.name);
            }
            Err(why) => {
                let why = why.to_string();
                assert!(why.len() <= MAX_WHY && !why.contains(char::is_control), "{why:?}");
            }
        }
    }
}
