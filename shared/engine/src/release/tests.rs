//! Requests for releases, from the proof of who asks to the image.

use std::sync::Mutex;

use futures_util::future::join;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::testing::sweep;
use guard_core::{
    finding::{Scan, Severity},
    ids::registry_host,
    image::ImageStatus,
    release::{
        answer::ReleaseOutcome,
        identity::StsRequest,
        request::{AskedRelease, REQUEST_SCHEMA},
    },
    state::State,
};
use guard_ports::{Retry, StsAnswer};
use guard_testkit::{Fault, World, finding, image, image_key, now, policy, run, run_and_crash, scan, signed_identity};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const FUNCTION: &str = "arn:aws:lambda:us-west-2:123456789012:function:guard-operate";

const ALLOWED: &str = r#""release": {"allow": true, "max_hours": 72, "principals": ["arn:aws:iam::123456789012:role/oncall-*"], "repositories": ["pipeops-*"]}"#;

/// AWS STS, which says that it was this role.
struct Sts {
    role: &'static str,
    asked: Mutex<Vec<StsRequest>>,
}

impl Sts {
    fn says(role: &'static str) -> Self {
        Self {
            role,
            asked: Mutex::default(),
        }
    }
}

impl Callers for Sts {
    async fn caller(&self, request: &StsRequest) -> Result<StsAnswer, PortError> {
        self.asked.lock().unwrap().push(request.clone());
        let body = format!(
            "<Arn>arn:aws:sts::123456789012:assumed-role/{}/alice</Arn><Account>123456789012</Account>",
            self.role
        );
        Ok(StsAnswer { status: 200, body })
    }
}

fn asked(id: u32, hours: u32) -> AskedRelease {
    let key = image_key();
    AskedRelease {
        schema: REQUEST_SCHEMA.to_owned(),
        id: format!("{id:032x}"),
        action: Verb::Release,
        image: format!("{}/{key}", registry_host(&key.account, &key.region)),
        hours: Some(hours),
        reason: Some("checkout is down".to_owned()),
        ticket: Some("SEC-77".to_owned()),
    }
}

fn end(id: u32) -> AskedRelease {
    AskedRelease {
        action: Verb::End,
        hours: None,
        reason: None,
        ticket: None,
        ..asked(id, 1)
    }
}

fn payload(world: &World, asked: &AskedRelease) -> String {
    ReleaseRequest::json(asked, &signed_identity(asked, FUNCTION, world.now())).to_string()
}

async fn operate(world: &World, policy: &Policy, sts: &Sts, actor: &str, payload: &str) -> Operated {
    let key = image_key();
    let operator = Operator {
        services: &world.services(policy),
        policy,
        account: &key.account,
        region: &key.region,
        function: FUNCTION,
        actor,
    };
    operator.answer(payload, sts).await
}

fn answered(world: &World, policy: &Policy, asked: &AskedRelease) -> ReleaseAnswer {
    let sts = Sts::says("oncall-pay");
    let actor = format!("request-{}", asked.id);
    run(operate(world, policy, &sts, &actor, &payload(world, asked))).answer
}

#[track_caller]
fn refused(answer: &ReleaseAnswer, code: &str) {
    assert_eq!(
        (answer.outcome, answer.code.as_deref()),
        (ReleaseOutcome::Refused, Some(code)),
        "{answer:?}"
    );
    assert!(answer.next.is_some(), "{answer:?}");
}

fn blocked(members: &str) -> (World, Policy) {
    let critical = Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Critical)]));
    let (world, policy) = (
        World::with(&image_key(), image(&image_key()), critical),
        policy(members),
    );
    sweep(&world, &policy);
    assert_eq!(status(&world), ImageStatus::Archived);
    (world, policy)
}

fn status(world: &World) -> ImageStatus {
    world.image_of(&image_key()).unwrap().status
}

fn alerts(world: &World) -> Vec<Value> {
    let sent = world.sent();
    let json = sent
        .iter()
        .map(|sent| serde_json::from_str(&sent.message.default).unwrap());
    json.collect()
}

fn kinds(world: &World) -> Vec<String> {
    alerts(world)
        .iter()
        .map(|alert| alert["kind"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_release_is_given_alerted_and_ended_by_people() {
    let (world, policy) = blocked(ALLOWED);
    let answer = answered(&world, &policy, &asked(1, 24));
    assert_eq!((answer.outcome, answer.restoring), (ReleaseOutcome::Released, true));
    assert_eq!(answer.until, Some(now() + HOUR * 24));
    assert_eq!(
        answer.by.unwrap().to_string(),
        "role/oncall-pay of 123456789012, session `alice`"
    );
    assert_eq!(status(&world), ImageStatus::Activating);
    assert_eq!(kinds(&world), ["image-blocked", "image-released"]);
    world.finish_restore(&image_key());
    sweep(&world, &policy);
    world.set_now(now() + HOUR);
    let answer = answered(&world, &policy, &end(2));
    assert_eq!(answer.outcome, ReleaseOutcome::Ended, "{answer:?}");
    assert_eq!(status(&world), ImageStatus::Archived);
    assert_eq!(kinds(&world), ["image-blocked", "image-released", "image-blocked"]);
    refused(&answered(&world, &policy, &end(3)), "not-released");
}

#[test]
fn what_the_policy_does_not_allow_is_refused_with_the_way_out() {
    let section = |members: &str| {
        format!(r#""release": {{"allow": true, "principals": ["arn:aws:iam::123456789012:role/oncall-*"], {members}}}"#)
    };
    let without_ticket = AskedRelease {
        ticket: None,
        ..asked(1, 24)
    };
    for (members, asked, code) in [
        (String::new(), asked(1, 24), "not-allowed"),
        (
            ALLOWED.replace("\"allow\": true", "\"allow\": false"),
            asked(1, 24),
            "not-allowed",
        ),
        (ALLOWED.replace("oncall-*", "admin"), asked(1, 24), "not-allowed"),
        (
            ALLOWED.replace("123456789012:role", "210987654321:role"),
            asked(1, 24),
            "not-allowed",
        ),
        (ALLOWED.replace("pipeops-*", "other-*"), asked(1, 24), "not-allowed"),
        (ALLOWED.to_owned(), asked(1, 73), "too-long"),
        (section(r#""max_hours": 1"#), asked(1, 2), "too-long"),
        (ALLOWED.to_owned(), asked(1, u32::MAX), "too-long"),
        (ALLOWED.to_owned(), without_ticket.clone(), "no-ticket"),
        (ALLOWED.to_owned(), end(1), "not-released"),
    ] {
        let (world, policy) = blocked(&members);
        world.forget_calls();
        refused(&answered(&world, &policy, &asked), code);
        assert_eq!(status(&world), ImageStatus::Archived, "{members}");
        assert_eq!(world.row_of(&image_key()).unwrap().release, None, "{members}");
    }
    let (world, policy) = blocked(&section(r#""require_ticket": false"#));
    assert_eq!(
        answered(&world, &policy, &without_ticket).outcome,
        ReleaseOutcome::Released
    );
}

#[test]
fn what_is_not_blocked_or_not_there_is_not_released() {
    let clean = World::with(&image_key(), image(&image_key()), Scan::Complete(scan(vec![])));
    let policy = policy(ALLOWED);
    refused(&answered(&clean, &policy, &asked(1, 24)), "not-found");
    sweep(&clean, &policy);
    refused(&answered(&clean, &policy, &asked(2, 24)), "not-blocked");
    let elsewhere = asked(3, 24);
    let elsewhere = AskedRelease {
        image: elsewhere.image.replace("123456789012", "210987654321"),
        ..elsewhere
    };
    refused(&answered(&clean, &policy, &elsewhere), "invalid");
}

#[test]
fn a_request_that_is_repeated_is_refused() {
    let (world, policy) = blocked(ALLOWED);
    let (sts, text) = (Sts::says("oncall-pay"), payload(&world, &asked(1, 24)));
    assert_eq!(
        run(operate(&world, &policy, &sts, "one", &text)).answer.outcome,
        ReleaseOutcome::Released
    );
    refused(&run(operate(&world, &policy, &sts, "two", &text)).answer, "replayed");
    assert_eq!(kinds(&world), ["image-blocked", "image-released"]);
}

#[test]
fn a_request_that_was_changed_is_refused_before_aws_is_asked() {
    let (world, policy) = blocked(ALLOWED);
    let change = |member: &str, value: Value| {
        let mut request: Value = serde_json::from_str(&payload(&world, &asked(1, 24))).unwrap();
        request[member] = value;
        request.to_string()
    };
    let other = asked(1, 24).image.replace("ab12ab", "cd34cd");
    let header = payload(&world, &asked(1, 24)).replace("function:guard-operate", "function:other");
    for text in [
        change("hours", 72.into()),
        change("reason", "none".into()),
        change("ticket", "SEC-78".into()),
        change("ticket", Value::Null),
        change("image", other.into()),
        change("id", "f".repeat(32).into()),
        header,
    ] {
        let sts = Sts::says("oncall-pay");
        refused(
            &run(operate(&world, &policy, &sts, "one", &text)).answer,
            "unidentified",
        );
        assert_eq!(sts.asked.lock().unwrap().len(), 0, "{text}");
    }
    let late = payload(&world, &asked(1, 24));
    world.set_now(now() + SignedDuration::from_secs(60));
    refused(
        &run(operate(&world, &policy, &Sts::says("oncall-pay"), "one", &late)).answer,
        "expired-identity",
    );
    assert_eq!(status(&world), ImageStatus::Archived);
}

#[test]
fn whom_aws_does_not_know_releases_nothing() {
    struct Refuses;
    impl Callers for Refuses {
        async fn caller(&self, _: &StsRequest) -> Result<StsAnswer, PortError> {
            let body = "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>".to_owned();
            Ok(StsAnswer { status: 403, body })
        }
    }
    let (world, policy) = blocked(ALLOWED);
    let key = image_key();
    let operator = Operator {
        services: &world.services(&policy),
        policy: &policy,
        account: &key.account,
        region: &key.region,
        function: FUNCTION,
        actor: "one",
    };
    let answer = run(operator.answer(&payload(&world, &asked(1, 24)), &Refuses)).answer;
    refused(&answer, "unidentified");
    assert!(answer.reason.contains("SignatureDoesNotMatch"), "{}", answer.reason);
}

#[test]
fn what_cannot_be_carried_out_now_is_said_and_done_by_a_sweep() {
    let (world, policy) = blocked(ALLOWED);
    world.fail("ecr:UpdateImageStorageClass", Fault::Before(Retry::Later));
    let answer = answered(&world, &policy, &asked(1, 24));
    assert_eq!(answer.outcome, ReleaseOutcome::Released);
    assert!(answer.pending.is_some(), "{answer:?}");
    world.set_now(now() + HOUR);
    sweep(&world, &policy);
    assert_eq!(status(&world), ImageStatus::Activating);
    assert_eq!(kinds(&world), ["image-blocked", "image-released"]);
}

#[test]
fn two_people_at_once_are_both_answered_and_each_release_is_alerted() {
    let (world, policy) = blocked(ALLOWED);
    let (one, two) = (Sts::says("oncall-pay"), Sts::says("oncall-web"));
    let texts = [payload(&world, &asked(1, 24)), payload(&world, &asked(2, 48))];
    let [first, second] = &texts;
    let (first, second) = run(join(
        operate(&world, &policy, &one, "one", first),
        operate(&world, &policy, &two, "two", second),
    ));
    for operated in [&first, &second] {
        assert_eq!(operated.answer.outcome, ReleaseOutcome::Released, "{operated:?}");
    }
    sweep(&world, &policy);
    let release = world.row_of(&image_key()).unwrap().release.unwrap();
    // The release that is in force is the one that people were alerted of last.
    let alerts = alerts(&world);
    let told = alerts.last().unwrap()["release"]["until"].as_str().unwrap().to_owned();
    assert_eq!(told.parse::<Timestamp>().unwrap(), release.until);
    assert!(release.told_at.is_some());
}

#[test]
fn a_crash_at_any_point_leaves_no_release_without_an_alert() {
    for polls in 1..80 {
        let (world, policy) = blocked(ALLOWED);
        let (sts, text) = (Sts::says("oncall-pay"), payload(&world, &asked(1, 24)));
        let operated = run_and_crash(operate(&world, &policy, &sts, "one", &text), polls);
        let is_released = world.row_of(&image_key()).unwrap().release.is_some();
        world.set_now(now() + HOUR);
        sweep(&world, &policy);
        world.finish_restore(&image_key());
        sweep(&world, &policy);
        let row = world.row_of(&image_key()).unwrap();
        let state = if is_released {
            State::BlockDeferred
        } else {
            State::Blocked
        };
        assert_eq!(row.state, state, "after {polls} polls");
        let released = kinds(&world).iter().filter(|kind| *kind == "image-released").count();
        assert_eq!(released > 0, is_released, "after {polls} polls");
        assert_eq!(
            status(&world) == ImageStatus::Active,
            is_released,
            "after {polls} polls"
        );
        world.set_now(now() + HOUR * 25);
        sweep(&world, &policy);
        assert_eq!(status(&world), ImageStatus::Archived, "after {polls} polls");
        if operated.is_some() {
            return;
        }
    }
    panic!("it never ended");
}

/// The events of an image.
#[derive(Debug, Clone, Copy)]
enum Event {
    Release { hours: u32 },
    End,
    Pull,
    Found,
    Hours(i64),
    Crash(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1_u32..6).prop_map(|hours| Event::Release { hours }),
        1 => Just(Event::End),
        2 => Just(Event::Pull),
        1 => Just(Event::Found),
        3 => (1_i64..4).prop_map(Event::Hours),
        2 => (1_usize..40).prop_map(Event::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_released_can_be_pulled_and_what_is_not_any_more_cannot(events in prop::collection::vec(event(), 1..12)) {
        let (world, policy) = blocked(ALLOWED);
        let mut number = 0_u32;
        for event in events {
            number += 1;
            match event {
                Event::Release { hours } => {
                    let answer = answered(&world, &policy, &asked(number, hours));
                    prop_assert_eq!(answer.outcome, ReleaseOutcome::Released, "{:?}", answer);
                }
                Event::End => drop(answered(&world, &policy, &end(number))),
                Event::Crash(polls) => {
                    let text = payload(&world, &asked(number, 2));
                    let actor = format!("crash-{number}");
                    drop(run_and_crash(operate(&world, &policy, &Sts::says("oncall-pay"), &actor, &text), polls));
                }
                Event::Pull => {
                    let mut image = world.image_of(&image_key()).unwrap();
                    if image.status == ImageStatus::Active {
                        image.last_pulled_at = Some(world.now());
                        world.push(&image_key(), image);
                    }
                }
                Event::Found => {
                    let id = format!("CVE-2026-{number}");
                    let found = vec![finding("CVE-2026-1", Severity::Critical), finding(&id, Severity::Critical)];
                    world.set_scan(&image_key(), Scan::Complete(scan(found)));
                }
                Event::Hours(hours) => world.set_now(world.now() + HOUR * i32::try_from(hours).unwrap()),
            }
            // A lease ends.
            world.set_now(world.now() + SignedDuration::from_mins(2));
            sweep(&world, &policy);
            world.finish_restore(&image_key());
            sweep(&world, &policy);
            let row = world.row_of(&image_key()).unwrap();
            let release = row.release.as_ref().filter(|release| release.is_in_force(world.now()));
            let wanted = if release.is_some() { ImageStatus::Active } else { ImageStatus::Archived };
            prop_assert_eq!(status(&world), wanted, "{:?}", row);
            prop_assert!(release.is_none_or(|release| release.told_at.is_some()), "{:?}", row);
            let told = alerts(&world);
            if let Some(release) = release {
                let until = release.until.to_string();
                let says = |alert: &Value| alert["kind"] == "image-released" && alert["release"]["until"] == until.as_str();
                prop_assert!(told.iter().any(says), "no alert says {}", until);
            }
        }
    }
}
