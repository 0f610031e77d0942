use serde_json::{Value, json};

use super::*;
use guard_core::{
    ledger::{Block, Row},
    policy::BlockMethod,
    state::State,
};
use guard_testkit::{World, image, image_key, now, policy, policy_in, run};

const TASK: &str = include_str!("../../../../tests/fixtures/events/ecs/task-running.json");

fn invocation() -> Invocation {
    let key = image_key();
    Invocation {
        function: "workloads",
        request_id: "request".to_owned(),
        account: key.account,
        region: key.region,
        until: jiff::Timestamp::MAX,
    }
}

fn invoke(world: &World, policy: &Policy, payload: &str) -> Result<Kept, HandlerError> {
    run(keep_index(
        &world.services(policy),
        policy,
        Some(world),
        &invocation(),
        payload,
    ))
}

/// The documented event, of our account.
fn task(change: impl FnOnce(&mut Value)) -> String {
    let ours = TASK.replace("111122223333", "123456789012");
    let mut event: Value = serde_json::from_str(&ours).unwrap();
    change(&mut event["detail"]);
    event.to_string()
}

fn with_index() -> Policy {
    policy(r#""block": {"workloads": {}}"#)
}

#[test]
fn the_documented_event_says_which_image_runs_and_where() {
    let world = World::new();
    let kept = invoke(&world, &with_index(), &task(|_| {})).unwrap();
    assert!(matches!(kept, Kept::Task(indexed) if indexed.written == 1));
    let rows = world.use_rows();
    assert_eq!(
        rows[0].image.to_string(),
        "hello-repository@sha256:74b2c688c700ec95a93e478cdb959737c148df3fbf5ea706abe0318726e885e6"
    );
    assert_eq!(
        rows[0].workloads[0].words(&rows[0].image),
        "task of sample-fargate in cluster FargateCluster, task definition 1"
    );
}

#[test]
fn an_event_of_what_the_policy_does_not_list_is_no_use() {
    let world = World::new();
    let policy = policy(r#""block": {"workloads": {"sources": ["lambda"]}}"#);
    assert!(matches!(
        invoke(&world, &policy, &task(|_| {})),
        Ok(Kept::Nothing { .. })
    ));
    assert_eq!(world.use_rows(), []);
}

#[test]
fn a_task_of_a_service_is_the_service() {
    let world = World::new();
    invoke(
        &world,
        &with_index(),
        &task(|detail| detail["group"] = json!("service:api")),
    )
    .unwrap();
    let rows = world.use_rows();
    assert_eq!(
        rows[0].workloads[0].words(&rows[0].image),
        "service api in cluster FargateCluster, task definition 1"
    );
}

#[test]
fn what_does_not_run_or_is_of_another_registry_is_no_use() {
    for change in [
        (|detail: &mut Value| detail["lastStatus"] = json!("PENDING")) as fn(&mut Value),
        |detail| detail["lastStatus"] = json!("STOPPED"),
        |detail| detail["containers"] = json!([]),
        |detail| detail["containers"][0]["image"] = json!("nginx:latest"),
        |detail| {
            let image = "999999999999.dkr.ecr.us-west-2.amazonaws.com/api:1";
            detail["containers"][0]["image"] = json!(image);
        },
    ] {
        let world = World::new();
        invoke(&world, &with_index(), &task(change)).unwrap();
        assert_eq!(world.use_rows(), []);
    }
}

#[test]
fn an_event_that_does_not_say_what_the_task_is_is_put_aside() {
    let world = World::new();
    let without = task(|detail| {
        detail.as_object_mut().unwrap().remove("taskDefinitionArn");
    });
    let error = invoke(&world, &with_index(), &without).unwrap_err();
    assert_eq!(error.code(), "PoisonEvent");
    for payload in ["", "7", "[]", "{\"schema\": \"ecr-guard/workloads/v2\"}"] {
        let error = invoke(&world, &with_index(), payload).unwrap_err();
        assert_eq!(error.code(), "PoisonEvent", "{payload}");
    }
}

#[test]
fn a_schedule_has_all_workloads_listed_and_a_cluster_reports_its_own() {
    let world = World::new();
    assert!(matches!(invoke(&world, &with_index(), "{}"), Ok(Kept::Run(_))));
    let report = json!({"schema": "ecr-guard/workloads/v1", "source": "kubernetes", "cluster": "prod", "complete": true,
        "sent_at": now().to_string(), "images": []});
    assert!(matches!(
        invoke(&world, &with_index(), &report.to_string()),
        Ok(Kept::Report { .. })
    ));
    let other = TASK.replace("Task State Change", "Service Action");
    assert!(matches!(
        invoke(&world, &with_index(), &other),
        Ok(Kept::Nothing { .. })
    ));
}

#[test]
fn without_the_policy_nothing_is_listed_or_kept() {
    let world = World::new();
    for payload in ["{}", &task(|_| {})] {
        assert!(matches!(
            invoke(&world, &policy_in("enforce", ""), payload),
            Ok(Kept::Nothing { .. })
        ));
    }
    assert_eq!(world.calls(), []);
}

const CANNOT_PULL: &str = include_str!("../../../../tests/fixtures/events/ecs/task-cannot-pull.json");

#[test]
fn a_task_that_cannot_pull_a_blocked_image_is_alerted_once() {
    let ours = CANNOT_PULL
        .replace("111122223333", "123456789012")
        .replace("hello-repository:latest", &format!("{}:v1.2.3", image_key().repository));
    let world = World::new();
    world.push(&image_key(), image(&image_key()));
    let policy = with_index();
    let refused = |payload: &str| match invoke(&world, &policy, payload).unwrap() {
        Kept::Refused { told } => told,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&ours), 0, "nothing is known of the image");
    let mut row = Row::first(image_key(), &policy, now());
    row.state = State::Blocked;
    row.block = Some(Block {
        method: BlockMethod::Archive,
        at: now(),
        confirmed: true,
        tags: Vec::new(),
        returns: Vec::new(),
        undone_at: None,
        release_refused_at: None,
        told: true,
    });
    world.remember(row);
    assert_eq!((refused(&ours), refused(&ours)), (1, 0));
    assert_eq!(world.sent().len(), 1);
    // Whatever else stops a task is nobody's.
    let other = ours.replace("CannotPullContainerError", "ResourceInitializationError");
    assert!(matches!(invoke(&world, &policy, &other), Ok(Kept::Nothing { .. })));
}
