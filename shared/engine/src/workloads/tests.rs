use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::reconcile::registry::{DigestsWanted, reconcile_registry, send_digests};
use guard_core::{
    finding::Scan,
    ids::Digest,
    ledger::Block,
    policy::BlockMethod,
    state::State,
    uses::{LambdaVersions, Phase, SourceKind, UsedBy, Uses, Via, WhenUnknown, WorkloadAccount, WorkloadKind},
};
use guard_testkit::{Fault, Parts, World, image, image_key, now, policy, registry_key, run};

pub(crate) fn rules() -> WorkloadRules {
    WorkloadRules {
        sources: vec![SourceKind::Ecs, SourceKind::Lambda],
        max_age: SignedDuration::from_mins(120),
        when_unknown: WhenUnknown::Hold,
        accounts: Vec::new(),
        lambda_versions: LambdaVersions::All,
        task_definitions: true,
        clusters: BTreeMap::new(),
    }
}

pub(crate) fn source(kind: SourceKind) -> WorkloadSource {
    let RegistryKey { account, region } = registry_key();
    WorkloadSource { account, region, kind }
}

fn digest(n: u8) -> Digest {
    format!("sha256:{}", format!("{n:02x}").repeat(32)).parse().unwrap()
}

pub(crate) fn key(n: u8) -> ImageKey {
    ImageKey {
        digest: digest(n),
        ..image_key()
    }
}

pub(crate) fn reference(image: &str) -> ImageReference {
    let host = "123456789012.dkr.ecr.us-west-2.amazonaws.com";
    format!("{host}/{}{image}", image_key().repository).parse().unwrap()
}

fn seen(kind: SourceKind, name: &str, image: &str) -> Seen {
    Seen {
        workload: Workload {
            phase: Phase::Running,
            kind: match kind {
                SourceKind::Lambda => WorkloadKind::LambdaFunction,
                _ => WorkloadKind::EcsService,
            },
            name: name.to_owned(),
            within: None,
            version: Some("1".to_owned()),
            source: source(kind),
            via: Via::Digest,
        },
        image: reference(image),
    }
}

fn by_digest(kind: SourceKind, name: &str, n: u8) -> Seen {
    seen(kind, name, &format!("@{}", digest(n)))
}

pub(crate) fn index<'a>(services: &'a Parts<'a>, rules: &'a WorkloadRules) -> Index<'a, Parts<'a>> {
    Index {
        services,
        rules,
        registry: registry_key(),
    }
}

fn uses(world: &World, n: u8) -> Uses {
    let rows = world.use_rows();
    let RegistryKey { account, region } = registry_key();
    let state = world.index_state_of(&account, &region);
    Uses::of(&rules(), &[key(n)], &rows, state.as_ref(), world.now())
}

fn indexed(world: &World) -> Indexed {
    let policy = policy("");
    guard_testkit::run(index(&world.services(&policy), &rules()).run(world)).unwrap()
}

#[test]
fn a_second_run_writes_nothing_but_how_fresh_the_index_is() {
    let world = World::new();
    world.set_workloads(&source(SourceKind::Ecs), vec![by_digest(SourceKind::Ecs, "api", 1)]);
    world.set_workloads(
        &source(SourceKind::Lambda),
        vec![by_digest(SourceKind::Lambda, "thumbs", 2)],
    );
    let first = indexed(&world);
    assert_eq!((first.workloads, first.images, first.written, first.gone), (2, 2, 2, 0));
    assert!(matches!(uses(&world, 1), Uses::By(_)));
    assert_eq!(uses(&world, 3), Uses::Nobody);
    world.forget_calls();
    let second = indexed(&world);
    assert_eq!((second.written, second.gone), (0, 0));
    let writes = world
        .calls()
        .iter()
        .filter(|call| call.operation == "dynamodb:PutItem")
        .count();
    assert_eq!(writes, 1, "the state of the index");
}

#[test]
fn what_is_gone_is_gone_after_a_run_that_saw_all_and_a_day() {
    let world = World::new();
    world.set_workloads(
        &source(SourceKind::Lambda),
        vec![by_digest(SourceKind::Lambda, "thumbs", 1)],
    );
    indexed(&world);
    world.set_workloads(&source(SourceKind::Lambda), Vec::new());
    assert_eq!(indexed(&world).gone, 1);
    assert!(matches!(uses(&world, 1), Uses::By(used) if used.gone_at.is_some()));
    world.set_now(now() + SignedDuration::from_hours(25));
    indexed(&world);
    assert_eq!(uses(&world, 1), Uses::Nobody);
}

#[test]
fn a_list_that_fails_half_way_adds_what_it_saw_and_ends_nothing() {
    let world = World::new();
    let lambda = source(SourceKind::Lambda);
    let all: Vec<Seen> = (1..5).map(|n| by_digest(SourceKind::Lambda, "thumbs", n)).collect();
    world.set_workloads(&lambda, all[..2].to_vec());
    indexed(&world);
    world.set_now(now() + SignedDuration::from_mins(30));
    world.set_workloads(&lambda, all[2..].to_vec());
    world.fail_workloads(&lambda, Some("TooManyRequestsException"));
    let run = indexed(&world);
    assert_eq!(
        (run.written, run.gone),
        (1, 0),
        "it saw one of two, and two of before stay"
    );
    assert_eq!(run.incomplete, ["lambda of 123456789012 in us-west-2"]);
    for n in 1..4 {
        assert!(matches!(uses(&world, n), Uses::By(UsedBy { gone_at: None, .. })), "{n}");
    }
    assert_eq!(
        uses(&world, 4),
        Uses::Nobody,
        "the list of half an hour ago still counts"
    );
    world.set_now(now() + SignedDuration::from_hours(3));
    indexed(&world);
    assert!(matches!(uses(&world, 4), Uses::Unknown(why) if why.contains("TooManyRequestsException")));
}

#[test]
fn a_permission_that_is_missing_is_named() {
    let world = World::new();
    world.fail_workloads(&source(SourceKind::Lambda), Some("AccessDeniedException"));
    let run = indexed(&world);
    assert_eq!(run.missing, BTreeSet::from(["lambda:ListFunctions".to_owned()]));
    let Uses::Unknown(why) = uses(&world, 1) else {
        panic!("it is not known");
    };
    assert_eq!(
        why,
        "the functions of Lambda of account 123456789012 in us-west-2 have never been listed: lambda:ListFunctions is missing"
    );
}

#[test]
fn a_tag_is_resolved_to_its_image_and_trouble_with_it_makes_the_list_incomplete() {
    let world = World::with(&key(1), image(&key(1)), Scan::Absent);
    world.set_workloads(
        &source(SourceKind::Ecs),
        vec![
            seen(SourceKind::Ecs, "api", ":v1.2.3"),
            seen(SourceKind::Ecs, "old", ":gone"),
        ],
    );
    world.fail("ecr:DescribeImages", Fault::Before(Retry::Later));
    let run = indexed(&world);
    assert_eq!(run.incomplete, ["ecs of 123456789012 in us-west-2"]);
    let run = indexed(&world);
    assert_eq!(run.incomplete, [""; 0]);
    let rows = world.use_rows();
    assert_eq!(rows.len(), 1, "a tag that no image has leads nowhere");
    assert_eq!(rows[0].workloads[0].via, Via::Tag("v1.2.3".parse().unwrap()));
}

#[test]
fn images_of_other_registries_are_nobodys_here() {
    let world = World::new();
    let mut foreign = by_digest(SourceKind::Ecs, "api", 1);
    foreign.image.account = "999999999999".parse().unwrap();
    world.set_workloads(&source(SourceKind::Ecs), vec![foreign]);
    assert_eq!(indexed(&world).images, 0);
    assert_eq!(world.use_rows(), []);
}

#[test]
fn images_that_are_not_guarded_are_not_looked_up() {
    let world = World::new();
    world.guard_only(image_key().repository);
    let mut foreign = seen(SourceKind::Ecs, "api", ":v1.2.3");
    foreign.image.repository = "other".parse().unwrap();
    world.set_workloads(&source(SourceKind::Ecs), vec![foreign]);
    world.forget_calls();
    assert_eq!(indexed(&world).images, 0);
    assert!(world.calls().iter().all(|call| !call.operation.starts_with("ecr:")));
}

#[test]
fn an_event_is_in_its_row_after_two_round_trips() {
    let world = World::new();
    let policy = policy("");
    let rules = rules();
    let services = world.services(&policy);
    let seen = vec![by_digest(SourceKind::Ecs, "api", 1)];
    let first = run(index(&services, &rules).add(seen.clone())).unwrap();
    assert_eq!(first.written, 1);
    let calls = world.calls();
    let operations: Vec<&str> = calls.iter().map(|call| call.operation).collect();
    assert_eq!(operations[..2], ["dynamodb:BatchGetItem", "dynamodb:PutItem"]);
    world.forget_calls();
    assert_eq!(run(index(&services, &rules).add(seen)).unwrap().written, 0);
    assert_eq!(world.calls().len(), 1, "the same again is one read");
}

#[test]
fn a_workload_that_starts_on_a_blocked_image_has_it_reconciled() {
    let world = World::new();
    let policy = policy("");
    let rules = rules();
    let mut row = guard_core::ledger::Row::first(key(1), &policy, now());
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
    let seen = vec![
        by_digest(SourceKind::Ecs, "api", 1),
        by_digest(SourceKind::Ecs, "web", 2),
    ];
    let added = run(index(&world.services(&policy), &rules).add(seen)).unwrap();
    assert_eq!(added.looked, 1);
    let items = world.take_items(10);
    assert!(matches!(&items[0].work, Work::Images { digests, .. } if *digests == [digest(1)]));
}

#[test]
fn two_that_write_the_same_row_lose_nothing() {
    let world = World::new();
    let policy = policy("");
    let rules = rules();
    let services = world.services(&policy);
    let index = index(&services, &rules);
    run(index.add(vec![by_digest(SourceKind::Ecs, "api", 1)])).unwrap();
    // The rows that were read before somebody else wrote.
    let rows = Vec::new();
    let mut snapshot = Snapshot::default();
    snapshot.add(key(1), by_digest(SourceKind::Ecs, "web", 1).workload);
    let mut indexed = Indexed::default();
    run(index.bring_about(rows, &snapshot, &mut indexed));
    assert_eq!(indexed.failure, None);
    let names: Vec<String> = world.use_rows()[0]
        .workloads
        .iter()
        .map(|workload| workload.name.clone())
        .collect();
    assert_eq!(names, ["api", "web"]);
}

#[test]
fn what_cannot_be_written_is_not_complete() {
    let world = World::new();
    world.set_workloads(&source(SourceKind::Ecs), vec![by_digest(SourceKind::Ecs, "api", 1)]);
    world.fail("dynamodb:PutItem", Fault::Before(Retry::Later));
    let run = indexed(&world);
    assert!(run.failure.is_some());
    assert_eq!(run.incomplete.len(), 2);
    assert!(matches!(uses(&world, 2), Uses::Unknown(_)));
    assert_eq!(indexed(&world).incomplete, [""; 0]);
    assert!(matches!(uses(&world, 1), Uses::By(_)));
}

#[test]
fn a_cluster_that_reports_all_ends_what_it_does_not_run_any_more() {
    let world = World::new();
    let policy = policy("");
    let rules = rules();
    let report = |images: &[u8], complete: bool| {
        let images: Vec<_> = images
            .iter()
            .map(|n| {
                let image = format!(
                    "123456789012.dkr.ecr.us-west-2.amazonaws.com/{}@{}",
                    image_key().repository,
                    digest(*n)
                );
                json!({"namespace": "shop", "kind": "Deployment", "name": "api", "image": image, "image_id": image})
            })
            .collect();
        let report = json!({"schema": "ecr-guard/workloads/v1", "source": "kubernetes", "cluster": "prod", "complete": complete,
            "sent_at": world.now().to_string(), "images": images});
        let report = ClusterReport::parse(&report.to_string(), world.now()).unwrap();
        run(index(&world.services(&policy), &rules).report(&report)).unwrap()
    };
    assert_eq!(report(&[1, 2], true).written, 2);
    assert_eq!(report(&[3], false).gone, 0, "a part only adds");
    assert_eq!(report(&[], true).gone, 0, "what reports runs itself");
    assert_eq!(report(&[2, 3], true).gone, 1);
    let state = world
        .index_state_of(&registry_key().account, &registry_key().region)
        .unwrap();
    let listing = state
        .listing(&source(SourceKind::Kubernetes("prod".to_owned())))
        .unwrap();
    assert_eq!((listing.completed_at, listing.seen), (Some(now()), 2));
    // A run of the other lists leaves it alone.
    indexed(&world);
    assert!(matches!(uses(&world, 2), Uses::By(UsedBy { gone_at: None, .. })));
    let state = world
        .index_state_of(&registry_key().account, &registry_key().region)
        .unwrap();
    assert!(
        state
            .listing(&source(SourceKind::Kubernetes("prod".to_owned())))
            .is_some()
    );
}

#[test]
fn other_accounts_are_listed_and_clusters_are_named() {
    let world = World::new();
    world.set_clusters(&["prod"]);
    let rules = WorkloadRules {
        accounts: vec![WorkloadAccount {
            id: "222222222222".parse().unwrap(),
            role: "reader".to_owned(),
            repositories: Vec::new(),
            regions: BTreeSet::new(),
        }],
        ..rules()
    };
    let there = WorkloadSource {
        account: "222222222222".parse().unwrap(),
        ..source(SourceKind::Lambda)
    };
    let mut used = by_digest(SourceKind::Lambda, "thumbs", 1);
    used.workload.source = there.clone();
    world.set_workloads(&there, vec![used]);
    let policy = policy("");
    run(index(&world.services(&policy), &rules).run(&world)).unwrap();
    assert_eq!(world.use_rows()[0].workloads[0].source, there);
    let state = world
        .index_state_of(&registry_key().account, &registry_key().region)
        .unwrap();
    assert_eq!(state.silent_clusters(&rules, now()), ["222222222222/prod", "prod"]);
}

#[test]
fn the_digest_names_clusters_that_do_not_report_and_an_alert_says_once_a_day_what_is_missing() {
    let world = World::new();
    world.set_clusters(&["dev", "prod"]);
    let policy = policy(r#""block": {"workloads": {"sources": ["lambda"]}}"#);
    let rules = policy.workloads.as_ref().unwrap();
    run(index(&world.services(&policy), rules).run(&world)).unwrap();
    let digest = || {
        let wanted = DigestsWanted::Now("me");
        run(send_digests(
            &world.writing(true),
            &world,
            &policy,
            &registry_key(),
            wanted,
        ))
        .unwrap();
        world.sent().last().unwrap().message.default.clone()
    };
    assert!(digest().contains("EKS clusters that do not report what they run: dev, prod"));
    let look = || {
        run(reconcile_registry(
            &world.writing(true),
            &world,
            &policy,
            &registry_key(),
            "me",
        ))
        .unwrap()
    };
    assert_eq!(look().alerts, []);
    world.fail_workloads(&source(SourceKind::Lambda), Some("AccessDeniedException"));
    for (hours, alerts) in [(1, 0), (3, 1), (5, 0), (25, 1)] {
        world.set_now(now() + SignedDuration::from_hours(hours));
        run(index(&world.services(&policy), rules).run(&world)).unwrap();
        assert_eq!(look().alerts.len(), alerts, "after {hours} hours");
    }
    let said = world.sent().last().unwrap().message.default.clone();
    assert!(said.contains("lambda:ListFunctions is missing"), "{said}");
}

#[test]
fn a_list_that_the_policy_asks_for_no_more_ends_and_counts_for_a_day_more() {
    let world = World::new();
    let lambda = source(SourceKind::Lambda);
    world.set_workloads(&lambda, vec![by_digest(SourceKind::Lambda, "thumbs", 1)]);
    indexed(&world);
    let ecs_only = WorkloadRules {
        sources: vec![SourceKind::Ecs],
        ..rules()
    };
    let policy = policy("");
    let run_of_less = || run(index(&world.services(&policy), &ecs_only).run(&world)).unwrap();
    let ended = run_of_less();
    assert_eq!((ended.gone, ended.ended), (1, BTreeSet::from([lambda.to_string()])));
    assert!(matches!(uses(&world, 1), Uses::By(used) if used.gone_at.is_some()));
    assert_eq!(run_of_less().ended, BTreeSet::new(), "once");
    indexed(&world);
    assert!(
        matches!(uses(&world, 1), Uses::By(UsedBy { gone_at: None, .. })),
        "asked for again within the day"
    );
}

#[test]
fn clusters_of_two_accounts_with_one_name_are_two() {
    let world = World::new();
    world.set_clusters(&["prod"]);
    let other: guard_core::ids::AccountId = "222222222222".parse().unwrap();
    let rules = WorkloadRules {
        accounts: vec![WorkloadAccount {
            id: other.clone(),
            role: "reader".to_owned(),
            repositories: Vec::new(),
            regions: BTreeSet::new(),
        }],
        ..rules()
    };
    let policy = policy("");
    let report = |account: Option<&str>, n: u8| {
        let RegistryKey { account: own, .. } = registry_key();
        let image = format!(
            "{own}.dkr.ecr.us-west-2.amazonaws.com/{}@{}",
            image_key().repository,
            digest(n)
        );
        let mut report = json!({"schema": "ecr-guard/workloads/v1", "source": "kubernetes", "cluster": "prod", "complete": true,
            "sent_at": world.now().to_string(),
            "images": [{"namespace": "shop", "kind": "Deployment", "name": "api", "image": image, "image_id": image}]});
        if let Some(account) = account {
            report["account"] = json!(account);
        }
        let report = ClusterReport::parse(&report.to_string(), world.now()).unwrap();
        run(index(&world.services(&policy), &rules).report(&report)).unwrap()
    };
    let silent = || {
        run(index(&world.services(&policy), &rules).run(&world)).unwrap();
        let RegistryKey { account, region } = registry_key();
        let state = world.index_state_of(&account, &region).unwrap();
        state.silent_clusters(&rules, world.now()).join(" ")
    };
    assert_eq!(silent(), "222222222222/prod prod");
    assert_eq!(report(None, 1).gone, 0);
    assert_eq!(silent(), "222222222222/prod");
    assert_eq!(
        report(Some("222222222222"), 2).gone,
        0,
        "it ends nothing of the other one"
    );
    assert_eq!(silent(), "");
    for n in [1, 2] {
        assert!(matches!(uses(&world, n), Uses::By(UsedBy { gone_at: None, .. })), "{n}");
    }
}

#[test]
fn clusters_that_cannot_be_listed_are_named_by_the_permission_and_stay_known() {
    let world = World::new();
    world.set_clusters(&["prod"]);
    indexed(&world);
    world.refuse(
        "eks:ListClusters",
        "not authorized to perform: eks:ListClusters on resource: *",
    );
    let denied = indexed(&world);
    assert_eq!(denied.missing, BTreeSet::from(["eks:ListClusters".to_owned()]));
    let RegistryKey { account, region } = registry_key();
    let state = world.index_state_of(&account, &region).unwrap();
    assert_eq!(state.clusters, ["prod"]);
    let trouble = state.clusters_trouble.unwrap();
    assert_eq!(trouble.missing.as_deref(), Some("eks:ListClusters"));
    let policy = policy(r#""block": {"workloads": {"sources": ["lambda"]}}"#);
    let wanted = DigestsWanted::Now("me");
    run(send_digests(
        &world.writing(true),
        &world,
        &policy,
        &registry_key(),
        wanted,
    ))
    .unwrap();
    let digest = world.sent().last().unwrap().message.default.clone();
    assert!(
        digest.contains("EKS clusters could not be listed: eks:ListClusters is missing"),
        "{digest}"
    );
    world.permit("eks:ListClusters");
    indexed(&world);
    assert_eq!(world.index_state_of(&account, &region).unwrap().clusters_trouble, None);
}

/// The figures of docs/workloads.md: 2,000 images in use, of which one in twenty is another one every day, seen by a run in every two hours.
#[test]
fn a_day_writes_what_has_changed() {
    let world = World::new();
    let ecs = source(SourceKind::Ecs);
    let name = |n: usize, day: usize| {
        let name = format!("api-{n}");
        let digest: Digest = format!("sha256:{:064x}", if n < 50 { 10_000 * day + n } else { n })
            .parse()
            .unwrap();
        seen(SourceKind::Ecs, &name, &format!("@{digest}"))
    };
    world.set_workloads(&ecs, (0..2000).map(|n| name(n, 1)).collect());
    indexed(&world);
    let mut written = 0;
    for run in 0..12_i64 {
        world.set_now(now() + SignedDuration::from_hours(2 * run));
        // By and by, another image is deployed; that of before is in no list any more.
        let day = |n: usize| if (n as i64) < run * 50 / 11 { 2 } else { 1 };
        world.set_workloads(&ecs, (0..2000).map(|n| name(n, day(n))).collect());
        written += indexed(&world).written;
    }
    assert_eq!(written, 100, "50 images came, and 50 are gone");
}

fn failure(code: &str) -> PortError {
    let is_denied = code == "AccessDeniedException";
    PortError {
        retry: if is_denied { Retry::Never } else { Retry::Later },
        operation: "lambda:ListFunctions",
        code: code.to_owned(),
        message: String::new(),
        request_id: None,
    }
}

#[test]
fn of_all_that_fails_ten_are_named() {
    let mut indexed = Indexed::default();
    for number in 0..12 {
        indexed.error(&failure(&format!("Code{number}")));
    }
    assert_eq!(indexed.errors.len(), MAX_ERRORS);
    assert!(indexed.errors[0].contains("Code0") && indexed.errors[9].contains("Code9"));
}

#[test]
fn a_missing_permission_says_more_of_a_list_than_what_else_failed() {
    let (policy, world, rules) = (policy(""), World::new(), rules());
    let services = world.services(&policy);
    let (denied, first, second) = ("AccessDeniedException", "First", "Second");
    for (codes, kept) in [
        (vec![first], first),
        (vec![first, second], first),
        (vec![first, denied], denied),
        (vec![denied, first], denied),
        (vec![first, denied, second], denied),
    ] {
        let list = ListedWorkloads {
            failures: codes.iter().map(|code| failure(code)).collect(),
            ..ListedWorkloads::default()
        };
        let sources = [source(SourceKind::Lambda)];
        let mut indexed = Indexed::default();
        let gathered = index(&services, &rules).gather(&sources, vec![list], &mut indexed);
        assert_eq!(gathered.failed[&sources[0]].code, kept, "{codes:?}");
        assert_eq!(indexed.errors.len(), codes.len());
    }
}

#[test]
fn an_image_counts_where_its_repository_is_guarded_and_in_another_region_by_its_digest() {
    let (policy, world, rules) = (policy(""), World::new(), rules());
    world.guard_only("guarded".parse().unwrap());
    let services = world.services(&policy);
    let by_digest = format!("@{}", digest(1));
    for (repository, region, image, is_ours) in [
        ("guarded", "us-west-2", by_digest.as_str(), true),
        ("guarded", "us-west-2", ":v1", true),
        ("other", "us-west-2", &by_digest, false),
        ("other", "us-west-2", ":v1", false),
        ("other", "eu-west-1", &by_digest, true),
        ("other", "eu-west-1", ":v1", false),
        ("guarded", "eu-west-1", ":v1", true),
    ] {
        let named = ImageReference {
            repository: repository.parse().unwrap(),
            region: region.parse().unwrap(),
            ..reference(image)
        };
        assert_eq!(index(&services, &rules).is_ours(&named), is_ours, "{named:?}");
        let foreign = ImageReference {
            account: "999999999999".parse().unwrap(),
            ..named
        };
        assert!(!index(&services, &rules).is_ours(&foreign));
    }
}

#[test]
fn an_image_that_came_into_use_is_reconciled_if_it_is_blocked_or_has_a_block() {
    let (policy, rules) = (policy(""), rules());
    let block = Block {
        method: BlockMethod::Archive,
        at: now(),
        confirmed: false,
        tags: Vec::new(),
        returns: Vec::new(),
        undone_at: None,
        release_refused_at: None,
        told: true,
    };
    for (state, has_block, is_closed, looked) in [
        (State::Allowed, false, false, 0),
        (State::Allowed, true, false, 1),
        (State::Blocked, false, false, 1),
        (State::Blocked, true, false, 1),
        (State::Blocked, false, true, 0),
        (State::Allowed, true, true, 0),
    ] {
        let world = World::new();
        world.remember(guard_core::ledger::Row {
            state,
            block: has_block.then(|| block.clone()),
            closed_at: is_closed.then(now),
            ..guard_core::ledger::Row::first(key(1), &policy, now())
        });
        let mut indexed = Indexed::default();
        let services = world.services(&policy);
        let found = run(index(&services, &rules).look_at_blocked(&[key(1), key(2)], &mut indexed));
        assert_eq!(found, looked, "{state:?}, {has_block}, {is_closed}");
        assert_eq!(world.take_items(9).len() as u64, looked);
        assert_eq!(indexed, Indexed::default());
    }
}
