//! Any call of any function is throttled, refused, answered too late, or cut off with the function. The same rules hold afterwards for all.
//!
//! An answer that is malformed or empty is an error of the adapters before it gets here (`adapters/faults.rs`, and the targets
//! `aws-answer` and `aws-error` of `tests/fuzz`): for the engine it is a call that is refused.

use std::{collections::BTreeSet, pin::Pin};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::{
    core::{
        finding::{Scan, Severity},
        image::ImageStatus,
        policy::Policy,
        release::request::Verb,
        state::State,
        uses::{Phase, SourceKind, Via, Workload, WorkloadKind, WorkloadSource},
    },
    lambda::{
        entry::{EventContext, Invocation, Received, image_event, push_event},
        gate::{Ready, gate},
        operate::operate,
        replication::copy_event,
        repositories::RecentLooks,
        sweep::sweep,
        worker::work,
        workloads::keep_index,
    },
    ports::{Clock as _, PortError, Retry, Revisions, Seen},
    testing::{self, Fault, World, finding, run, run_and_crash, scan},
};

use crate::operate::{FUNCTION, Sts, allowed, request as release_request};

/// An invocation of a function.
type Running<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + 'a>>;

/// A function with what it is invoked with.
struct Kind {
    name: &'static str,
    policy: fn() -> Policy,
    /// Makes the world that it finds.
    world: fn(&Policy) -> World,
    begin: for<'a> fn(&'a World, &'a Policy) -> Running<'a>,
    /// Who begins it again: Lambda, whatever became of it, or a person, if the answer says that it was not done. Each request of a person has an
    /// alert of its own.
    by_person: bool,
    /// The image and its state at the end.
    ends: (ImageStatus, Option<State>),
}

fn invocation() -> Invocation {
    let key = testing::image_key();
    Invocation {
        function: "trial",
        request_id: "one".to_owned(),
        account: key.account,
        region: key.region,
        until: Timestamp::MAX,
    }
}

fn said<T, E: ToString>(result: Result<T, E>) -> Result<(), String> {
    result.map(drop).map_err(|error| error.to_string())
}

fn critical(_: &Policy) -> World {
    let key = testing::image_key();
    let found = scan(vec![finding("CVE-2026-1", Severity::Critical)]);
    World::with(&key, testing::image(&key), Scan::Complete(found))
}

fn blocked(policy: &Policy) -> World {
    let world = critical(policy);
    run(scanned(&world, policy)).unwrap();
    world
}

fn pushed<'a>(world: &'a World, policy: &'a Policy) -> Running<'a> {
    Box::pin(async move {
        let payload = testing::event(
            "ECR Image Action",
            &json!({"action-type": "PUSH", "result": "SUCCESS", "image-tag": "v1.2.3"}),
        );
        let (recent, invocation) = (RecentLooks::default(), invocation());
        let context = EventContext {
            services: &world.services(policy),
            policy,
            select: on_push::select,
            recent: &recent,
        };
        let received = Received {
            invocation: &invocation,
            payload: &payload,
        };
        said(push_event(context, received).await)
    })
}

fn scanned<'a>(world: &'a World, policy: &'a Policy) -> Running<'a> {
    Box::pin(async move {
        let payload = testing::event("ECR Image Scan", &json!({"scan-status": "COMPLETE", "image-tags": []}));
        let (recent, invocation) = (RecentLooks::default(), invocation());
        let context = EventContext {
            services: &world.services(policy),
            policy,
            select: on_scan::select,
            recent: &recent,
        };
        let received = Received {
            invocation: &invocation,
            payload: &payload,
        };
        said(image_event(context, received).await)
    })
}

fn swept<'a>(world: &'a World, policy: &'a Policy) -> Running<'a> {
    Box::pin(async move { said(sweep(&world.services(policy), policy, &invocation(), "{}").await) })
}

/// Works through what a sweep has left, as Lambda hands it over: what fails is delivered again.
fn worked<'a>(world: &'a World, policy: &'a Policy) -> Running<'a> {
    Box::pin(async move {
        let item = json!({"schema": "ecr-guard/work/v1", "account": testing::image_key().account, "region": testing::image_key().region,
            "sweep": world.now(), "hops": 0, "work": {"kind": "repository", "repository": testing::image_key().repository}});
        let batch = testing::batch(vec![testing::message("m", item.to_string())]);
        let services = world.services(policy);
        let (_, worked) = work(&services, policy, worker::select, &invocation(), batch).await;
        if worked.failed == 0 {
            Ok(())
        } else {
            Err(worked.errors.join("; "))
        }
    })
}

struct NoRevisions;

impl Revisions for NoRevisions {
    async fn images(&self, _: &str) -> Result<Vec<String>, PortError> {
        Ok(Vec::new())
    }
}

/// The gate about an image with a CRITICAL finding. Whatever happens: it does not allow it.
fn asked<'a>(world: &'a World, policy: &'a Policy) -> Running<'a> {
    Box::pin(async move {
        let ready = Ready::Yes {
            services: &world.services(policy),
            policy,
        };
        let payload = crate::gate::request(&[":v1.2.3"]);
        let answer = gate(ready, &NoRevisions, world, &invocation(), &payload).await;
        assert_eq!(answer["allowed"], json!(false), "{answer}");
        Ok(())
    })
}

fn released<'a>(world: &'a World, policy: &'a Policy) -> Running<'a> {
    Box::pin(async move {
        let payload = release_request(Verb::Release, world.now());
        let answer = operate(
            &world.services(policy),
            policy,
            &Sts,
            &invocation(),
            (FUNCTION, &payload),
        )
        .await;
        // A second request finds the release of the first.
        if answer["outcome"] == "unavailable" {
            Err(answer.to_string())
        } else {
            Ok(())
        }
    })
}

/// Handles the event that a copy of the image has arrived from another region.
fn copied<'a>(world: &'a World, policy: &'a Policy) -> Running<'a> {
    Box::pin(async move {
        let payload = testing::event(
            "ECR Replication Action",
            &json!({"action-type": "REPLICATE", "result": "SUCCESS", "image-tag": "v1.2.3", "source-account": "123456789012",
                "source-region": "us-east-1"}),
        );
        let (recent, invocation) = (RecentLooks::default(), invocation());
        let context = EventContext {
            services: &world.services(policy),
            policy,
            select: on_replication::select,
            recent: &recent,
        };
        let received = Received {
            invocation: &invocation,
            payload: &payload,
        };
        said(copy_event(context, received).await)
    })
}

/// A service of ECS runs the image.
fn running(policy: &Policy) -> World {
    let world = critical(policy);
    let key = testing::image_key();
    let source = WorkloadSource {
        account: key.account.clone(),
        region: key.region.clone(),
        kind: SourceKind::Ecs,
    };
    let seen = Seen {
        workload: Workload {
            phase: Phase::Running,
            kind: WorkloadKind::EcsService,
            name: "shop".to_owned(),
            within: None,
            version: None,
            source: source.clone(),
            via: Via::Digest,
        },
        image: format!("{}.dkr.ecr.{}.amazonaws.com/{key}", key.account, key.region)
            .parse()
            .unwrap(),
    };
    world.set_workloads(&source, vec![seen]);
    world
}

/// Lists all workloads. A list that fails is no error of the function: it begins again with the next hour.
fn listed<'a>(world: &'a World, policy: &'a Policy) -> Running<'a> {
    Box::pin(async move { said(keep_index(&world.services(policy), policy, Some(world), &invocation(), "{}").await) })
}

fn releasing() -> Policy {
    testing::policy(&format!(r#""release": {}"#, allowed()))
}

fn copying() -> Policy {
    testing::policy(
        r#""repositories": [{"match": "*", "replication": {"regions": ["us-west-2"], "max_lag_minutes": 30}}]"#,
    )
}

fn indexing() -> Policy {
    testing::policy(r#""block": {"workloads": {"sources": ["ecs"]}}"#)
}

/// The functions that act, each where it has something to do.
const KINDS: [Kind; 8] = [
    Kind {
        name: "on-push",
        policy: releasing,
        world: critical,
        begin: pushed,
        by_person: false,
        ends: (ImageStatus::Archived, Some(State::Blocked)),
    },
    Kind {
        name: "on-scan",
        policy: releasing,
        world: critical,
        begin: scanned,
        by_person: false,
        ends: (ImageStatus::Archived, Some(State::Blocked)),
    },
    Kind {
        name: "sweep",
        policy: releasing,
        world: critical,
        begin: swept,
        by_person: false,
        ends: (ImageStatus::Archived, Some(State::Blocked)),
    },
    Kind {
        name: "worker",
        policy: releasing,
        world: critical,
        begin: worked,
        by_person: false,
        ends: (ImageStatus::Archived, Some(State::Blocked)),
    },
    Kind {
        name: "gate",
        policy: releasing,
        world: critical,
        begin: asked,
        by_person: false,
        ends: (ImageStatus::Archived, Some(State::Blocked)),
    },
    Kind {
        name: "operate",
        policy: releasing,
        world: blocked,
        begin: released,
        by_person: true,
        ends: (ImageStatus::Active, Some(State::BlockDeferred)),
    },
    Kind {
        name: "on-replication",
        policy: copying,
        world: critical,
        begin: copied,
        by_person: false,
        ends: (ImageStatus::Archived, Some(State::Blocked)),
    },
    Kind {
        name: "workloads",
        policy: indexing,
        world: running,
        begin: listed,
        by_person: false,
        ends: (ImageStatus::Active, Some(State::BlockDeferred)),
    },
];

/// The faults of one call.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Throttled,
    Refused,
    /// It takes effect, and the answer is lost or too late.
    AnswerLost,
    /// Lambda ends the function at this call: it was slow.
    CutOff,
}

/// The kinds and ids of the alerts that were sent.
fn alerts(world: &World) -> Vec<(String, String)> {
    let of = |text: &str| -> (String, String) {
        let document: Value = serde_json::from_str(text).unwrap();
        let member = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
        (member("kind"), member("id"))
    };
    world.sent().iter().map(|sent| of(&sent.message.default)).collect()
}

/// Lambda delivers again, or a person asks again, and the hourly sweeps come. Restores are finished meanwhile.
fn afterwards(kind: &Kind, world: &World, policy: &Policy, mut is_done: bool) {
    world.heal();
    for minutes in [1, 2] {
        world.set_now(world.now() + SignedDuration::from_mins(minutes));
        if !(kind.by_person && is_done) {
            is_done = run((kind.begin)(world, policy)).is_ok();
        }
    }
    for _ in 0..2 {
        world.set_now(world.now() + SignedDuration::from_mins(60));
        world.finish_restore(&testing::image_key());
        testing::sweep::sweep(world, policy);
    }
}

/// The rules that hold, whatever has failed: the image is what it would be without the fault, nothing is left to do, every alert was sent, under one
/// id, and at most once more for each attempt.
fn check(kind: &Kind, world: &World, policy: &Policy, usual: &BTreeSet<String>, what: &str) {
    let key = testing::image_key();
    let (status, state) = &kind.ends;
    assert_eq!(
        world.image_of(&key).map(|image| image.status),
        Some(status.clone()),
        "{what}"
    );
    let row = world.row_of(&key).expect("the image is known");
    assert_eq!(Some(row.state), *state, "{what}");
    let pending: Vec<_> = row.alert.iter().filter(|alert| alert.sent_at.is_none()).collect();
    assert_eq!(pending.len(), 0, "{what}: {pending:?}");
    let sent = alerts(world);
    let kinds: BTreeSet<String> = sent.iter().map(|(kind, _)| kind.clone()).collect();
    assert!(usual.is_subset(&kinds), "{what}: {kinds:?}, and not {usual:?}");
    for alert in &kinds {
        let ids: Vec<&String> = sent
            .iter()
            .filter(|(kind, _)| kind == alert)
            .map(|(_, id)| id)
            .collect();
        let different: BTreeSet<&&String> = ids.iter().collect();
        let most = if kind.by_person { 3 } else { 1 };
        let is_bounded = different.len() <= most && ids.len() <= 3;
        assert!(is_bounded, "{what}: {alert} was sent as {ids:?}");
    }
    testing::sweep::sweep(world, policy);
    assert_eq!(alerts(world).len(), sent.len(), "{what}: a further sweep sends alerts");
}

#[test]
fn whatever_call_of_a_function_fails_the_end_is_the_same() {
    let mut table = String::new();
    for kind in &KINDS {
        let policy = (kind.policy)();
        let world = (kind.world)(&policy);
        let before = world.calls_made();
        run((kind.begin)(&world, &policy)).unwrap();
        let calls = world.calls_made() - before;
        afterwards(kind, &world, &policy, true);
        let usual: BTreeSet<String> = alerts(&world).into_iter().map(|(kind, _)| kind).collect();
        check(kind, &world, &policy, &usual, &format!("{} without a fault", kind.name));
        let mut scenarios = 0;
        for call in 0..calls {
            for trouble in [
                Trouble::Throttled,
                Trouble::Refused,
                Trouble::AnswerLost,
                Trouble::CutOff,
            ] {
                let world = (kind.world)(&policy);
                let fault = match trouble {
                    Trouble::Throttled => Some(Fault::Before(Retry::Later)),
                    Trouble::Refused => Some(Fault::Before(Retry::Never)),
                    Trouble::AnswerLost => Some(Fault::After(Retry::Later)),
                    Trouble::CutOff => None,
                };
                let is_done = match fault {
                    Some(fault) => {
                        world.fail_after(Some((call, fault)));
                        run((kind.begin)(&world, &policy)).is_ok()
                    }
                    None => run_and_crash((kind.begin)(&world, &policy), 2 * call + 1).is_some(),
                };
                afterwards(kind, &world, &policy, is_done);
                let what = format!("{}: call {call} of {calls} is {trouble:?}", kind.name);
                check(kind, &world, &policy, &usual, &what);
                scenarios += 1;
            }
        }
        table += &format!("{}: {calls} calls, {scenarios} scenarios\n", kind.name);
    }
    insta::assert_snapshot!(table);
}
