use std::collections::BTreeMap;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use guard_core::{
    finding::{Scan, ScanMode, ScanTrigger},
    ids::{ImageKey, RepositoryKey, Tag},
    image::Image,
    notice::RepositoryAlertKind as Kind,
    policy::Policy,
    repository::{
        decide::{Expiring, Preview},
        keys::{KeyHealth, KeyRotation, KeyState, Refusal},
        posture::{Encryption, ListedSettings, Repository, TagMutability},
    },
    state::State,
    uses::{Phase, Snapshot, SourceKind, UseRow, Via, Workload, WorkloadKind, WorkloadSource, merge},
};
use guard_ports::{Clock as _, Listing as _, RepositoryLedger as _, RepositoryWriter as _, Retry};
use guard_testkit::{Fault, StoredRepository, World, image, image_key, now, policy, policy_in, run, run_and_crash};

const KEY: &str = "arn:aws:kms:us-west-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const PUBLIC: &str = r#"{"Version": "2012-10-17", "Statement": [ {"Sid":"ours",  "Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"ecr:*"},
  {"Sid": "world", "Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}]}"#;
const SEED: &str = r#""lifecycle": {"keep_count": 30, "tag_prefixes": ["v"], "expire_untagged_days": 7}"#;

fn key() -> RepositoryKey {
    let image = image_key();
    RepositoryKey {
        account: image.account,
        region: image.region,
        repository: image.repository,
    }
}

fn rules(sections: &str) -> String {
    format!(r#""repositories": [{{"match": "*", {sections}}}]"#)
}

fn repository() -> StoredRepository {
    StoredRepository {
        repository: Repository {
            arn: "arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-api".to_owned(),
            tag_mutability: TagMutability::Mutable,
            scan_on_push: false,
            encryption: Encryption {
                kind: "KMS".to_owned(),
                key: Some(KEY.parse().unwrap()),
            },
        },
        tags: BTreeMap::new(),
        policy: None,
        lifecycle: None,
    }
}

fn tagged(tags: &[(&str, &str)]) -> StoredRepository {
    StoredRepository {
        tags: tags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..repository()
    }
}

fn health(state: KeyState, rotation: KeyRotation) -> KeyHealth {
    KeyHealth::Known {
        state,
        customer_managed: true,
        rotation,
    }
}

fn refusal(code: &str) -> Refusal {
    Refusal {
        code: code.to_owned(),
        said: format!("{code} (request 1)"),
    }
}

fn world(stored: StoredRepository) -> World {
    let world = World::new();
    world.create_repository(&key().repository, stored);
    world.set_key(&KEY.parse().unwrap(), health(KeyState::Enabled, KeyRotation::On));
    world
}

fn look(world: &World, policy: &Policy) -> RepositoryOutcome {
    run(reconcile_repository(
        &world.services(policy),
        policy,
        &key(),
        None,
        "one",
    ))
    .unwrap()
}

/// Its entry in the registry's lists.
fn listed(world: &World) -> ListedSettings {
    let (settings, page) = (run(world.settings()).unwrap(), run(world.repositories(None)).unwrap());
    settings.of(&page.items[0])
}

fn look_by(listed: &ListedSettings, world: &World, policy: &Policy) -> RepositoryOutcome {
    run(reconcile_repository(
        &world.services(policy),
        policy,
        &key(),
        Some(listed),
        "one",
    ))
    .unwrap()
}

/// A reconcile, and a second one, which finds nothing to do.
#[track_caller]
fn look_twice(world: &World, policy: &Policy) -> RepositoryOutcome {
    let first = look(world, policy);
    world.forget_calls();
    let sent = world.sent().len();
    let second = look(world, policy);
    assert_eq!((second.changed, second.alerts), (vec![], vec![]));
    assert_eq!(
        (world.writes(), world.sent().len()),
        (0, sent),
        "a second look finds nothing to do"
    );
    first
}

fn default_of(world: &World, n: usize) -> serde_json::Value {
    serde_json::from_str(&world.sent()[n].message.default).unwrap()
}

#[test]
fn what_can_be_repaired_is_and_alerts_name_old_and_new() {
    let policy = policy(&rules(
        r#""posture": {"tag_mutability": "IMMUTABLE", "scan_on_push": true, "repair": true}"#,
    ));
    let world = world(repository());
    world.set_trigger(&key().repository, ScanTrigger::Manual);
    let outcome = look_twice(&world, &policy);
    assert_eq!(outcome.changed, ["posture.tag_mutability", "posture.scan_on_push"]);
    assert_eq!(outcome.alerts, [Kind::PostureRepaired]);
    let stored = world.repository_of(&key().repository).unwrap().repository;
    assert_eq!(
        (stored.tag_mutability, stored.scan_on_push),
        (TagMutability::Immutable, true)
    );
    let change = &default_of(&world, 0)["changes"][0];
    assert_eq!(
        (&change["old"], &change["new"]),
        (&"MUTABLE".into(), &"IMMUTABLE".into())
    );
}

#[test]
fn each_setting_is_as_the_policy_says_or_is_alerted() {
    let exclusion: TagMutability = TagMutability::ImmutableWithExclusion(["sha256-*".to_owned()].into());
    let with_tag = |key: &str, value: &str| StoredRepository {
        tags: [(key.to_owned(), value.to_owned())].into(),
        ..repository()
    };
    let with = |change: &dyn Fn(&mut Repository)| {
        let mut stored = repository();
        change(&mut stored.repository);
        stored
    };
    let exclusive = r#""tag_mutability": "IMMUTABLE_WITH_EXCLUSION", "tag_mutability_exclusions": ["sha256-*"]"#;
    for (posture, stored, drift) in [
        (r#""tag_mutability": "MUTABLE""#, repository(), None),
        (
            r#""tag_mutability": "IMMUTABLE""#,
            repository(),
            Some("posture.tag_mutability"),
        ),
        (exclusive, repository(), Some("posture.tag_mutability")),
        (exclusive, with(&|r| r.tag_mutability = exclusion.clone()), None),
        (
            exclusive,
            with(&|r| r.tag_mutability = TagMutability::Immutable),
            Some("posture.tag_mutability"),
        ),
        (r#""encryption": "KMS""#, repository(), None),
        (r#""encryption": "KMS_DSSE""#, repository(), Some("posture.encryption")),
        (&format!(r#""kms_key_arn": "{KEY}""#), repository(), None),
        (
            &format!(r#""kms_key_arn": "{KEY}0""#),
            repository(),
            Some("posture.kms_key_arn"),
        ),
        (
            &format!(r#""kms_key_arn": "{KEY}""#),
            with(&|r| r.encryption.key = None),
            Some("posture.kms_key_arn"),
        ),
        (r#""customer_managed_key": true"#, repository(), None),
        (
            r#""customer_managed_key": true"#,
            with(&|r| r.encryption.key = None),
            Some("posture.customer_managed_key"),
        ),
        (r#""key_rotation": true"#, repository(), None),
        (
            r#""required_tags": {"team": "*"}"#,
            repository(),
            Some("posture.required_tags.team"),
        ),
        (r#""required_tags": {"team": "*"}"#, with_tag("team", "a"), None),
        (
            r#""required_tags": {"team": ""}"#,
            with_tag("team", "a"),
            Some("posture.required_tags.team"),
        ),
        (
            r#""required_tags": {"team": ""}"#,
            repository(),
            Some("posture.required_tags.team"),
        ),
        (r#""required_tags": {"team": ""}"#, with_tag("team", ""), None),
        (
            r#""required_tags": {"team": "b*"}"#,
            with_tag("team", "a"),
            Some("posture.required_tags.team"),
        ),
        (
            r#""repair": false"#,
            StoredRepository {
                policy: Some(PUBLIC.to_owned()),
                ..repository()
            },
            Some("posture.allowed_accounts.world"),
        ),
        (
            r#""repair": false"#,
            StoredRepository {
                policy: Some("{".to_owned()),
                ..repository()
            },
            Some("posture.allowed_accounts"),
        ),
        (r#""repair": false"#, with_tag("ecr-guard", "off"), Some("ecr-guard")),
    ] {
        let policy = policy(&rules(&format!(r#""posture": {{{posture}}}"#)));
        let world = world(stored);
        let outcome = look_twice(&world, &policy);
        let told = drift.map(|_| Kind::PostureDrift);
        assert_eq!(outcome.alerts, told.into_iter().collect::<Vec<_>>(), "{posture}");
        if let Some(setting) = drift {
            assert_eq!(default_of(&world, 0)["changes"][0]["setting"], setting, "{posture}");
        }
        assert!(
            world.calls().iter().all(|call| !call.mutates),
            "without `repair` nothing is changed"
        );
    }
}

#[test]
fn a_repository_that_the_registry_covers_is_scanned() {
    for (trigger, flag, mode, scanned) in [
        (ScanTrigger::Automatic, false, ScanMode::Basic, true),
        (ScanTrigger::Automatic, false, ScanMode::Enhanced, true),
        (ScanTrigger::Manual, true, ScanMode::Basic, true),
        (ScanTrigger::Manual, true, ScanMode::Enhanced, false),
        (ScanTrigger::Manual, false, ScanMode::Basic, false),
        (ScanTrigger::Manual, false, ScanMode::Enhanced, false),
    ] {
        let mut stored = repository();
        stored.repository.scan_on_push = flag;
        let world = world(stored);
        world.set_trigger(&key().repository, trigger);
        world.set_scan_mode(mode);
        let outcome = look_twice(&world, &policy(&rules(r#""posture": {"scan_on_push": true}"#)));
        assert_eq!(outcome.alerts.is_empty(), scanned, "{trigger:?} {flag} {mode:?}");
    }
}

#[test]
fn a_statement_that_lets_in_the_world_is_taken_out_and_all_else_stays_byte_for_byte() {
    let policy = policy(&rules(r#""posture": {"repair": true}"#));
    let world = world(StoredRepository {
        policy: Some(PUBLIC.to_owned()),
        ..repository()
    });
    assert_eq!(look_twice(&world, &policy).changed, ["posture.allowed_accounts"]);
    let ours = r#"{"Sid":"ours",  "Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"ecr:*"}"#;
    let expected = format!(r#"{{"Version": "2012-10-17", "Statement": [{ours}]}}"#);
    assert_eq!(world.repository_of(&key().repository).unwrap().policy, Some(expected));
}

/// Among the openings of a policy, only one that is surely open to everybody is taken out; all are alerted.
#[test]
fn what_is_not_surely_open_to_everybody_is_alerted_and_left() {
    let statement = |rest: &str| {
        format!(
            r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"{rest}}}]}}"#
        )
    };
    let posture = r#""posture": {"allowed_accounts": ["222222222222"], "repair": true}"#;
    for (rest, severity, left) in [
        ("", None, false),
        (
            r#", "Condition": {"ForAllValues:StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}}"#,
            None,
            false,
        ),
        (
            r#", "Condition": {"StringEquals": {"aws:PrincipalTag/team": "x"}}"#,
            Some("MEDIUM"),
            true,
        ),
        (
            r#", "Condition": {"StringEquals": {"aws:PrincipalAccount": "333333333333"}}"#,
            None,
            true,
        ),
        (
            r#", "Condition": {"StringEquals": {"aws:VpceOrgID": "o-1234567890"}}"#,
            None,
            true,
        ),
    ] {
        let text = statement(rest);
        let world = world(StoredRepository {
            policy: Some(text.clone()),
            ..repository()
        });
        let outcome = look_twice(&world, &policy(&rules(posture)));
        let told = if left {
            Kind::PostureDrift
        } else {
            Kind::PostureRepaired
        };
        assert_eq!(outcome.alerts, [told], "{text}");
        assert_eq!(
            world.repository_of(&key().repository).unwrap().policy,
            left.then_some(text)
        );
        assert_eq!(default_of(&world, 0)["severity"].as_str(), severity, "{rest}");
    }
    let world = world(StoredRepository {
        policy: Some(statement("")),
        ..repository()
    });
    look_twice(&world, &policy(&rules(r#""posture": {"repair": false}"#)));
    let alert = default_of(&world, 0);
    assert_eq!(alert["severity"], "HIGH");
    let reason = alert["reason"].as_str().unwrap();
    assert!(
        reason.ends_with(r#""Everybody" means every AWS principal whose own account lets it."#),
        "{reason}"
    );
}

#[test]
fn in_report_mode_everything_is_alerted_and_nothing_changed() {
    let sections = rules(&format!(
        r#""posture": {{"tag_mutability": "IMMUTABLE", "scan_on_push": true, "repair": true}}, {SEED}"#
    ));
    let stored = StoredRepository {
        policy: Some(PUBLIC.to_owned()),
        ..repository()
    };
    let world = world(stored.clone());
    world.set_trigger(&key().repository, ScanTrigger::Manual);
    let policy = policy_in("report", &sections);
    assert_eq!(look(&world, &policy).alerts, [Kind::PostureDrift, Kind::LifecycleHeld]);
    assert!(world.calls().iter().all(|call| !call.mutates));
    assert_eq!(world.repository_of(&key().repository).unwrap(), stored);
    look_twice(&world, &policy);
    assert_eq!(default_of(&world, 0)["changes"].as_array().unwrap().len(), 3);
}

#[test]
fn a_repository_opts_out_and_cannot_hide() {
    let policy = policy(&rules(&format!(
        r#""posture": {{"tag_mutability": "IMMUTABLE", "repair": true}}, {SEED}"#
    )));
    for (tags, alerts, shown) in [
        (
            vec![("ecr-guard", "ignore"), ("ecr-guard-reason", "moved in May")],
            vec![],
            Some("ignore: moved in May"),
        ),
        (
            vec![("ecr-guard", "ignore")],
            vec![Kind::PostureDrift, Kind::LifecycleHeld],
            Some("report"),
        ),
        (
            vec![("ecr-guard", "report")],
            vec![Kind::PostureDrift, Kind::LifecycleHeld],
            Some("report"),
        ),
    ] {
        let world = world(tagged(&tags));
        let outcome = look_twice(&world, &policy);
        assert_eq!(
            (outcome.alerts, outcome.opt_out.as_deref()),
            (alerts, shown),
            "{tags:?}"
        );
        assert!(world.calls().iter().all(|call| !call.mutates));
        assert_eq!(look(&world, &policy).opt_out.as_deref(), shown, "each time");
        assert_eq!(world.repository_row_of(&key()).unwrap().opt_out.as_deref(), shown);
    }
}

fn preview(pulled_days_ago: &[Option<i64>]) -> Preview {
    let images = pulled_days_ago.iter().map(|days| Expiring {
        digest: image_key().digest,
        tag: Some("v0.9.0".parse().unwrap()),
        pushed_at: Some(now() - SignedDuration::from_hours(24 * 200)),
        last_pulled_at: days.map(|days| now() - SignedDuration::from_hours(24 * days)),
        bytes: 3 * 1024 * 1024,
        is_index: false,
        unknown: false,
    });
    Preview {
        images: images.collect(),
        total: u64::try_from(pulled_days_ago.len()).unwrap(),
        used: None,
    }
}

#[test]
fn a_missing_lifecycle_policy_is_set_with_what_it_affects() {
    let policy = policy(&rules(SEED));
    let world = world(repository());
    world.set_preview(&key().repository, preview(&[None, Some(90)]));
    assert_eq!(look_twice(&world, &policy).alerts, [Kind::LifecycleRepaired]);
    let lifecycle = world.repository_of(&key().repository).unwrap().lifecycle.unwrap();
    assert!(
        policy
            .repository(&key().repository)
            .unwrap()
            .lifecycle_in(&key().region)
            .unwrap()
            .means_the_same_as(&lifecycle)
    );
    insta::assert_snapshot!(default_of(&world, 0)["reason"].as_str().unwrap(), @"The lifecycle policy was not as the policy says. It affects 2 images now, the oldest of 2026-05-08, 6.2 MB in all.");
}

#[test]
fn a_lifecycle_policy_that_would_take_what_is_in_use_is_not_set_and_checked_again_in_a_day() {
    let policy = policy(&rules(SEED));
    let world = world(repository());
    world.set_preview(&key().repository, preview(&[None, Some(3)]));
    assert_eq!(look_twice(&world, &policy).alerts, [Kind::LifecycleHeld]);
    assert_eq!(world.repository_of(&key().repository).unwrap().lifecycle, None);
    insta::assert_snapshot!(default_of(&world, 0)["reason"].as_str().unwrap(), @"The lifecycle policy is not as the policy says, and is not set: it would delete or archive images that are in use (1, one is v0.9.0). It affects 2 images now, the oldest of 2026-05-08, 6.2 MB in all.");
    world.set_now(now() + SignedDuration::from_hours(25));
    assert_eq!(look_twice(&world, &policy).alerts, [], "it is held for the same reason");
    world.set_now(now() + SignedDuration::from_hours(24 * 20));
    assert_eq!(
        look_twice(&world, &policy).alerts,
        [Kind::LifecycleRepaired],
        "nobody uses it any more"
    );
}

/// Rules for a repository, with an index of functions.
fn with_index(sections: &str) -> Policy {
    let members = rules(sections);
    policy(&format!(
        r#"{members}, "block": {{"workloads": {{"sources": ["lambda"]}}}}"#
    ))
}

/// A function uses the image.
fn used_row() -> UseRow {
    let source = WorkloadSource {
        account: key().account,
        region: key().region,
        kind: SourceKind::Lambda,
    };
    let workload = Workload {
        phase: Phase::Running,
        kind: WorkloadKind::LambdaFunction,
        name: "thumbs".to_owned(),
        within: None,
        version: Some("12".to_owned()),
        source,
        via: Via::Digest,
    };
    let mut seen = Snapshot::default();
    seen.add(image_key(), workload);
    merge(&[], &seen, now()).remove(0)
}

#[test]
fn a_lifecycle_policy_that_is_set_is_asked_about_once_a_day_and_who_loses_by_it_is_told_once() {
    let policy = with_index(SEED);
    let world = world(repository());
    let at = |hours: i64| {
        world.set_now(now() + SignedDuration::from_hours(hours));
        let rules = policy.workloads.as_ref().unwrap();
        world.complete_index(rules, &key().account, &key().region, world.now());
    };
    let previews = || {
        let calls = world.calls();
        let asked = calls
            .iter()
            .filter(|call| call.operation == "ecr:StartLifecyclePolicyPreview");
        asked.count()
    };
    at(0);
    world.set_preview(&key().repository, preview(&[None]));
    assert_eq!(look_twice(&world, &policy).alerts, [Kind::LifecycleRepaired]);
    // Nobody uses any image: no preview could say otherwise.
    at(25);
    world.forget_calls();
    assert_eq!(look(&world, &policy).alerts, []);
    assert_eq!(previews(), 0);
    world.set_use_row(used_row());
    at(48);
    assert_eq!(look_twice(&world, &policy).alerts, [], "it was asked today");
    at(50);
    assert_eq!(look_twice(&world, &policy).alerts, [Kind::LifecycleInUse]);
    let alert = default_of(&world, 1);
    assert_eq!(alert["severity"], "HIGH");
    insta::assert_snapshot!(alert["reason"].as_str().unwrap(), @"The lifecycle policy is as the policy says, and it would delete or archive images that are in use (1, one is v0.9.0): function thumbs version 12. ECR applies it within 24 hours.");
    world.forget_calls();
    at(75);
    assert_eq!(look(&world, &policy).alerts, [], "it is told once");
    assert_eq!(previews(), 1);
    for hour in 76..98 {
        at(hour);
        look(&world, &policy);
    }
    assert_eq!(previews(), 1, "it is asked once a day");
    // While nobody knows which workloads use it, the alert stands.
    world.set_now(now() + SignedDuration::from_hours(120));
    world.set_preview(&key().repository, preview(&[]));
    world.set_use_row(UseRow {
        gone_at: Some(now()),
        generation: 2,
        ..used_row()
    });
    assert_eq!(look(&world, &policy).alerts, []);
    let loses = |world: &World| {
        let row = run(world.repository_row(&key())).unwrap().unwrap();
        row.checked.unwrap().loses.map(|losing| losing.image)
    };
    assert_eq!(loses(&world), Some("v0.9.0".to_owned()));
    at(124);
    assert_eq!(look(&world, &policy).alerts, []);
    assert_eq!(loses(&world), None);
    // And again: it is alerted again.
    world.set_preview(&key().repository, preview(&[None]));
    world.set_use_row(used_row());
    at(149);
    assert_eq!(look(&world, &policy).alerts, [Kind::LifecycleInUse]);
}

#[test]
fn a_lifecycle_policy_that_is_set_is_not_asked_about_where_nobody_asks_who_uses_images() {
    let plain = policy(&rules(SEED));
    let world = world(repository());
    look_twice(&world, &plain);
    let members = rules(SEED);
    let blocks = policy(&format!(
        r#"{members}, "block": {{"when_in_use": "block", "workloads": {{}}}}"#
    ));
    let reports = guard_testkit::policy_in("report", &format!(r#"{members}, "block": {{"workloads": {{}}}}"#));
    world.set_now(now() + SignedDuration::from_hours(48));
    for policy in [&plain, &blocks, &reports] {
        world.forget_calls();
        assert_eq!(look(&world, policy).alerts, []);
        assert_eq!(world.writes(), 0);
    }
}

#[test]
fn a_lifecycle_policy_takes_nothing_that_workloads_use_or_may_use() {
    let reason = |world: &World| default_of(world, 0)["reason"].as_str().unwrap().to_owned();
    for (sections, expected) in [
        (
            SEED,
            "it would delete or archive images that are in use (1, one is v0.9.0): function thumbs version 12.",
        ),
        (
            r#""lifecycle": {"archive_unpulled_days": 120}"#,
            "it would archive, now or later, images that are in use (1, one is v0.9.0): function thumbs version 12.",
        ),
    ] {
        let policy = with_index(sections);
        let complete = |world: &World| {
            let rules = policy.workloads.as_ref().unwrap();
            world.complete_index(rules, &key().account, &key().region, now());
        };
        let world_of = |total: &[Option<i64>]| {
            let world = world(repository());
            world.set_preview(&key().repository, preview(total));
            world
        };
        let world = world_of(&[None]);
        assert_eq!(look_twice(&world, &policy).alerts, [Kind::LifecycleHeld]);
        assert!(
            reason(&world).contains("it is not known who uses the images that it would take: the functions of Lambda"),
            "{}",
            reason(&world)
        );
        let world = world_of(&[None]);
        complete(&world);
        world.set_use_row(used_row());
        assert_eq!(look_twice(&world, &policy).alerts, [Kind::LifecycleHeld]);
        assert!(reason(&world).contains(expected), "{}", reason(&world));
        let world = world_of(&[None]);
        complete(&world);
        assert_eq!(look_twice(&world, &policy).alerts, [Kind::LifecycleRepaired]);
    }
    // A policy that only archives later asks now.
    let policy = with_index(r#""lifecycle": {"archive_unpulled_days": 120}"#);
    let world = world(repository());
    world.set_preview(&key().repository, preview(&[]));
    world.set_use_row(used_row());
    world.complete_index(policy.workloads.as_ref().unwrap(), &key().account, &key().region, now());
    assert_eq!(look_twice(&world, &policy).alerts, [Kind::LifecycleHeld]);
}

/// ECR may need minutes for a preview. That is neither a failure nor a reason to leave the rest undone, and what was asked for is read before it
/// is asked for again, which would discard it.
#[test]
fn a_preview_that_is_not_there_yet_is_read_by_a_later_look() {
    let sections = format!(r#""posture": {{"tag_mutability": "IMMUTABLE", "repair": true}}, {SEED}"#);
    let policy = policy(&rules(&sections));
    let world = world(repository());
    world.slow_down_previews(&key().repository, 3);
    let first = look(&world, &policy);
    assert_eq!(
        (first.changed, first.alerts),
        (vec!["posture.tag_mutability"], vec![Kind::PostureRepaired])
    );
    assert!(first.waits);
    for hours in 1..3 {
        world.set_now(now() + SignedDuration::from_hours(hours));
        let outcome = look(&world, &policy);
        assert_eq!((outcome.waits, outcome.alerts), (true, vec![]));
    }
    world.set_now(now() + SignedDuration::from_hours(3));
    let outcome = look_twice(&world, &policy);
    assert_eq!((outcome.waits, outcome.alerts), (false, vec![Kind::LifecycleRepaired]));
    assert_eq!(world.repository_row_of(&key()).unwrap().previewing, None);
}

#[test]
fn a_preview_is_asked_for_once_in_a_day() {
    let policy = policy(&rules(SEED));
    let world = world(repository());
    world.slow_down_previews(&key().repository, 30);
    let mut started = Vec::new();
    for hours in 0..30 {
        world.set_now(now() + SignedDuration::from_hours(hours));
        world.forget_calls();
        assert!(look(&world, &policy).waits);
        if world
            .calls()
            .iter()
            .any(|call| call.operation == "ecr:StartLifecyclePolicyPreview")
        {
            started.push(hours);
        }
    }
    assert_eq!(started, [0, 27], "what is older than a day is no news");
}

/// `docs/policy.md`: a pull of any image of an index counts for all of it. ECR's preview names the index only.
#[test]
fn a_lifecycle_policy_does_not_take_an_index_of_which_an_image_is_in_use() {
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    let of = |n: u8| ImageKey {
        digest: format!("sha256:{}", format!("{n:02}").repeat(32)).parse().unwrap(),
        ..image_key()
    };
    let manifest = |digest: &ImageKey| {
        let platform = r#"{"os": "linux", "architecture": "amd64"}"#;
        format!(
            r#"{{"manifests": [{{"digest": "{}", "platform": {platform}}}]}}"#,
            digest.digest
        )
    };
    let (outer, inner, child) = (of(11), of(22), of(33));
    for (days, alert) in [(1, Kind::LifecycleHeld), (90, Kind::LifecycleRepaired)] {
        let policy = policy(&rules(SEED));
        let world = world(repository());
        for (key, next) in [(&outer, &inner), (&inner, &child)] {
            world.push(
                key,
                Image {
                    manifest_media_type: Some(INDEX.to_owned()),
                    artifact_media_type: None,
                    last_pulled_at: None,
                    ..image(key)
                },
            );
            world.set_manifest(key, &manifest(next));
        }
        let pulled = Some(now() - SignedDuration::from_hours(24 * days));
        world.push(
            &child,
            Image {
                last_pulled_at: pulled,
                ..image(&child)
            },
        );
        let mut preview = preview(&[None]);
        preview.images[0].digest = outer.digest.clone();
        preview.images[0].is_index = true;
        world.set_preview(&key().repository, preview);
        assert_eq!(look_twice(&world, &policy).alerts, [alert], "pulled {days} days ago");
    }
}

/// A preview takes its time: what somebody else writes meanwhile is not undone by what was read before.
#[test]
fn what_others_change_during_a_preview_stays() {
    let sections = format!(r#""posture": {{"repair": true}}, {SEED}"#);
    let policy = policy(&rules(&sections));
    let world = world(StoredRepository {
        policy: Some(PUBLIC.to_owned()),
        ..repository()
    });
    let theirs = r#"{"Version": "2012-10-17", "Statement": [{"Sid": "new", "Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "ecr:*"}]}"#;
    world.change_meanwhile(
        &key().repository,
        StoredRepository {
            policy: Some(theirs.to_owned()),
            ..repository()
        },
    );
    assert_eq!(look_twice(&world, &policy).changed, ["lifecycle"]);
    assert_eq!(
        world.repository_of(&key().repository).unwrap().policy.as_deref(),
        Some(theirs)
    );
}

/// Under enhanced scanning the repository's own flag is no repair: it is alerted once.
#[test]
fn the_flag_is_set_only_where_it_causes_a_scan() {
    let policy = policy(&rules(r#""posture": {"scan_on_push": true, "repair": true}"#));
    for (mode, changed, alert) in [
        (ScanMode::Basic, vec!["posture.scan_on_push"], Kind::PostureRepaired),
        (ScanMode::Enhanced, vec![], Kind::PostureDrift),
    ] {
        let world = world(repository());
        world.set_trigger(&key().repository, ScanTrigger::Manual);
        world.set_scan_mode(mode);
        let outcome = look_twice(&world, &policy);
        assert_eq!((outcome.changed, outcome.alerts), (changed, vec![alert]), "{mode:?}");
        if mode == ScanMode::Enhanced {
            assert_eq!(
                default_of(&world, 0)["changes"][0]["old"],
                "nothing scans a pushed image: no rule of enhanced scanning covers the repository"
            );
        }
    }
}

#[test]
fn what_cannot_all_be_checked_is_not_set() {
    let world = world(repository());
    world.set_preview(
        &key().repository,
        Preview {
            total: 5000,
            used: None,
            ..preview(&[None])
        },
    );
    assert_eq!(look_twice(&world, &policy(&rules(SEED))).alerts, [Kind::LifecycleHeld]);
}

#[test]
fn a_key_that_cannot_be_used_is_critical_and_alerted_once() {
    let policy = policy(&rules(r#""posture": {"key_rotation": true}"#));
    let arn = KEY.parse().unwrap();
    for (health, alerts) in [
        (health(KeyState::Enabled, KeyRotation::On), vec![]),
        (health(KeyState::Enabled, KeyRotation::NotPossible), vec![]),
        (health(KeyState::Enabled, KeyRotation::Off), vec![Kind::PostureDrift]),
        (health(KeyState::Disabled, KeyRotation::On), vec![Kind::KeyUnhealthy]),
        (
            health(KeyState::PendingDeletion(None), KeyRotation::Off),
            vec![Kind::PostureDrift, Kind::KeyUnhealthy],
        ),
        (
            KeyHealth::NotTold(refusal("AccessDeniedException")),
            vec![Kind::PostureDrift],
        ),
        (
            health(
                KeyState::Disabled,
                KeyRotation::NotTold(refusal("AccessDeniedException")),
            ),
            vec![Kind::PostureDrift, Kind::KeyUnhealthy],
        ),
        (health(KeyState::Updating, KeyRotation::On), vec![]),
        (KeyHealth::Gone, vec![Kind::KeyUnhealthy]),
    ] {
        let world = world(repository());
        world.set_key(&arn, health.clone());
        assert_eq!(look_twice(&world, &policy).alerts, alerts, "{health:?}");
        if alerts == [Kind::KeyUnhealthy] {
            assert_eq!(default_of(&world, 0)["severity"], "CRITICAL");
        }
        world.set_key(&arn, self::health(KeyState::Enabled, KeyRotation::On));
        assert_eq!(look_twice(&world, &policy).alerts, []);
        world.set_key(&arn, health.clone());
        assert_eq!(
            look_twice(&world, &policy).alerts,
            alerts,
            "again, when it happens again: {health:?}"
        );
    }
}

/// The message of KMS has the id of the request in it, and the name of the calling role: that is no change of the repository.
#[test]
fn a_key_of_which_kms_gives_no_answer_is_alerted_once_whatever_role_asks() {
    let policy = policy(&rules(r#""posture": {"key_rotation": true}"#));
    let world = world(repository());
    let mut alerts = 0;
    for n in 0..24 {
        let role = if n % 2 == 0 { "worker" } else { "on-push" };
        let refusal = Refusal {
            code: "kms:DescribeKey answers AccessDeniedException".to_owned(),
            said: format!("role {role} is not authorized to perform: kms:DescribeKey (request {n})"),
        };
        world.set_key(&KEY.parse().unwrap(), KeyHealth::NotTold(refusal));
        alerts += look(&world, &policy).alerts.len();
    }
    assert_eq!(alerts, 1, "one alert for a day of looks");
    let alert = default_of(&world, 0);
    assert_eq!(
        alert["changes"][0]["old"],
        "not known: kms:DescribeKey answers AccessDeniedException"
    );
    assert!(
        alert["reason"]
            .as_str()
            .unwrap()
            .contains("role worker is not authorized"),
        "{alert}"
    );
}

/// A key that was pending deletion does not become healthy by its deletion, nor when KMS refuses an answer.
#[test]
fn a_key_that_is_deleted_is_worse_than_one_that_will_be() {
    let policy = policy(&rules(r#""posture": {"scan_on_push": false}"#));
    let world = world(repository());
    let arn = KEY.parse().unwrap();
    world.set_key(&arn, health(KeyState::PendingDeletion(None), KeyRotation::NotPossible));
    assert_eq!(look_twice(&world, &policy).alerts, [Kind::KeyUnhealthy]);
    world.set_key(&arn, KeyHealth::NotTold(refusal("AccessDeniedException")));
    assert_eq!(look_twice(&world, &policy).alerts, [], "nothing new");
    let noted = || world.repository_row_of(&key()).unwrap().notes;
    assert_eq!(noted()[0].kind, Kind::KeyUnhealthy, "and nothing is over");
    world.set_key(&arn, KeyHealth::Gone);
    assert_eq!(look_twice(&world, &policy).alerts, [Kind::KeyUnhealthy]);
    let alert = default_of(&world, 1);
    assert_eq!(alert["severity"], "CRITICAL");
    insta::assert_snapshot!(alert["reason"].as_str().unwrap(), @"The key does not exist any more. Nothing that it encrypted can be read again: the images of this repository are lost, but for what is copied elsewhere.");
    assert!(!alert["nextSteps"].to_string().contains("enable-key"), "{alert}");
    world.set_now(now() + SignedDuration::from_hours(24 * 30));
    assert_eq!(look_twice(&world, &policy).alerts, []);
    assert_eq!(noted()[0].kind, Kind::KeyUnhealthy, "it stays so");
    world.set_key(&arn, health(KeyState::Enabled, KeyRotation::On));
    assert_eq!(look_twice(&world, &policy).alerts, []);
    assert_eq!(noted(), []);
}

/// A state that passes, or that we do not know, is alerted as what it is.
#[test]
fn a_key_in_another_state_is_alerted_as_what_it_is() {
    let policy = policy(&rules(r#""posture": {"scan_on_push": false}"#));
    for (state, severity, title) in [
        (
            KeyState::Creating,
            "HIGH",
            "pipeops-prod-api: its key may not be usable",
        ),
        (
            KeyState::Other("Melted".into()),
            "HIGH",
            "pipeops-prod-api: its key may not be usable",
        ),
        (
            KeyState::Unavailable,
            "CRITICAL",
            "pipeops-prod-api: its key cannot be used",
        ),
        (
            KeyState::PendingImport,
            "CRITICAL",
            "pipeops-prod-api: its key cannot be used",
        ),
    ] {
        let world = world(repository());
        world.set_key(&KEY.parse().unwrap(), health(state, KeyRotation::NotPossible));
        assert_eq!(look_twice(&world, &policy).alerts, [Kind::KeyUnhealthy]);
        let alert = default_of(&world, 0);
        assert_eq!(
            (alert["severity"].as_str(), alert["title"].as_str()),
            (Some(severity), Some(title))
        );
    }
}

#[test]
fn what_somebody_changes_back_again_and_again_is_alerted_and_left() {
    let policy = policy(&rules(r#""posture": {"tag_mutability": "IMMUTABLE", "repair": true}"#));
    let world = world(repository());
    let mut alerts = Vec::new();
    for hour in 0..5 {
        world.create_repository(&key().repository, repository());
        world.set_now(now() + SignedDuration::from_hours(hour));
        alerts.extend(look_twice(&world, &policy).alerts);
    }
    assert_eq!(
        alerts,
        [Kind::PostureRepaired, Kind::PostureRepaired, Kind::PostureDrift]
    );
    world.set_now(now() + SignedDuration::from_hours(30));
    assert_eq!(
        look_twice(&world, &policy).alerts,
        [Kind::PostureRepaired],
        "after a day it is tried again"
    );
}

#[test]
fn what_the_registry_refuses_is_alerted_once_and_what_it_did_is_alerted_too() {
    let policy = policy(&rules(
        r#""posture": {"tag_mutability": "IMMUTABLE", "scan_on_push": true, "repair": true}"#,
    ));
    let world = world(repository());
    world.set_trigger(&key().repository, ScanTrigger::Manual);
    let mut alerts = Vec::new();
    for _ in 0..4 {
        world.fail("ecr:PutImageTagMutability", Fault::Before(Retry::Never));
        alerts.extend(look(&world, &policy).alerts);
        world.heal();
    }
    assert_eq!(alerts, [Kind::PostureDrift, Kind::PostureRepaired]);
    assert_eq!(default_of(&world, 1)["changes"][0]["setting"], "posture.scan_on_push");
    assert!(
        default_of(&world, 0)["reason"]
            .as_str()
            .unwrap()
            .contains("the registry refused")
    );
}

#[test]
fn a_repository_without_rules_and_one_that_is_not_there_cost_nothing() {
    let world = world(repository());
    assert!(look(&world, &policy("")).is_empty());
    assert!(world.calls().is_empty());
    let world = World::new();
    assert!(look(&world, &policy(&rules(SEED))).is_empty());
    assert_eq!(world.writes(), 0);
}

fn tag_world(tags: &[&str]) -> World {
    let world = world(repository());
    let tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
    let image = Image {
        tags,
        ..image(&image_key())
    };
    world.push(&image_key(), image);
    world.set_scan(&image_key(), Scan::Absent);
    world
}

fn tag_request(tag: &Tag, state: Option<State>) -> TagRequest<'_> {
    TagRequest {
        tag,
        state,
        pushed: None,
        actor: "one",
    }
}

fn look_at_tag(world: &World, policy: &Policy, tag: &str, state: Option<State>) -> RepositoryOutcome {
    run(reconcile_tag(
        &world.services(policy),
        policy,
        &key(),
        &tag_request(&tag.parse().unwrap(), state),
    ))
    .unwrap()
}

fn tags_of(world: &World) -> Vec<String> {
    let image = world.image_of(&image_key()).unwrap();
    let mut tags: Vec<String> = image.tags.iter().map(ToString::to_string).collect();
    tags.sort();
    tags
}

#[test]
fn a_tag_that_breaks_the_rules_is_alerted_once() {
    let policy = policy(&rules(
        r#""tags": {"allowed": ["semver:v"], "forbidden": ["latest"], "reserved": ["prod"]}"#,
    ));
    for (tag, state, told) in [
        ("v1.2.3", None, false),
        ("main", None, true),
        ("latest", Some(State::Allowed), true),
        ("prod", Some(State::Allowed), false),
        ("prod", Some(State::Review), true),
        ("quarantine-ab12ab12ab12", None, false),
    ] {
        let world = tag_world(&["v1.2.3", tag]);
        let alerts = look_at_tag(&world, &policy, tag, state).alerts;
        assert_eq!(alerts.contains(&Kind::TagViolation), told, "{tag}");
        let names_the_allowed = world
            .sent()
            .iter()
            .any(|sent| sent.message.email.contains("Allowed here: semver:v."));
        assert_eq!(names_the_allowed, tag == "main", "{tag}");
        world.forget_calls();
        assert!(look_at_tag(&world, &policy, tag, state).is_empty());
        assert_eq!(world.writes(), 0);
        assert!(world.calls().iter().all(|call| !call.mutates));
    }
}

#[test]
fn a_tag_is_removed_and_never_the_last_one() {
    let policy = policy(&rules(r#""tags": {"allowed": ["semver:v"], "on_violation": "untag"}"#));
    for (tags, kept) in [
        (vec!["v1.2.3", "main"], vec!["quarantine-ab12ab12ab12", "v1.2.3"]),
        (vec!["main"], vec!["quarantine-ab12ab12ab12"]),
        (vec!["main", "dev"], vec!["quarantine-ab12ab12ab12"]),
    ] {
        let world = tag_world(&tags);
        for tag in &tags {
            look_at_tag(&world, &policy, tag, None);
        }
        assert_eq!(tags_of(&world), kept, "{tags:?}");
        world.forget_calls();
        let sent = world.sent().len();
        for tag in &tags {
            look_at_tag(&world, &policy, tag, None);
        }
        assert_eq!((world.writes(), world.sent().len()), (0, sent));
    }
}

#[test]
fn a_tag_is_not_removed_where_that_would_do_harm_or_is_not_wanted() {
    let section = rules(r#""tags": {"allowed": ["semver:v"], "on_violation": "untag"}"#);
    let report = policy_in("report", &section);
    let enforce = policy(&section);
    let in_use = tag_world(&["main"]);
    let mut image = in_use.image_of(&image_key()).unwrap();
    image.last_pulled_at = Some(now() - SignedDuration::from_hours(24));
    in_use.push(&image_key(), image);
    let opted_out = tag_world(&["main"]);
    let tags = [("ecr-guard".to_owned(), "report".to_owned())].into();
    opted_out.create_repository(&key().repository, StoredRepository { tags, ..repository() });
    let refused = tag_world(&["main"]);
    refused.fail("ecr:PutImage", Fault::Before(Retry::Never));
    for (world, policy, why) in [
        (tag_world(&["main"]), &report, "report mode"),
        (in_use, &enforce, "in use"),
        (opted_out, &enforce, "opted out"),
        (refused, &enforce, "refused"),
    ] {
        assert_eq!(
            look_at_tag(&world, policy, "main", None).alerts,
            [Kind::TagViolation],
            "{why}"
        );
        assert_eq!(tags_of(&world), ["main"], "{why}");
        assert!(default_of(&world, 0)["reason"].as_str().unwrap().contains(why), "{why}");
    }
}

#[test]
fn a_tag_that_moves_is_alerted_with_both_images() {
    let policy = policy(&rules(r#""tags": {"forbidden": ["x"], "reserved": ["prod"]}"#));
    let other = ImageKey {
        digest: format!("sha256:{}", "cd".repeat(32)).parse().unwrap(),
        ..image_key()
    };
    for (tag, told) in [("v1.2.3", true), ("prod", false)] {
        let allowed = Some(State::Allowed);
        let world = tag_world(&[tag]);
        assert!(
            look_at_tag(&world, &policy, tag, allowed).alerts.is_empty(),
            "the first image"
        );
        world.delete(&image_key());
        let moved = Image {
            digest: other.digest.clone(),
            tags: vec![tag.parse().unwrap()],
            ..image(&other)
        };
        world.push(&other, moved);
        let alerts = look_at_tag(&world, &policy, tag, allowed).alerts;
        assert_eq!(alerts.contains(&Kind::TagMoved), told, "{tag}");
        assert!(look_at_tag(&world, &policy, tag, allowed).alerts.is_empty());
        if told {
            let change = &default_of(&world, 0)["changes"][0];
            let both = [image_key().digest.to_string(), other.digest.to_string()];
            assert_eq!(
                (change["old"].as_str().unwrap(), change["new"].as_str().unwrap()),
                (&*both[0], &*both[1])
            );
            let steps = default_of(&world, 0)["steps"].to_string();
            assert!(steps.contains("(tags.moving)"), "{steps}");
        }
    }
}

fn asked(world: &World) -> std::collections::BTreeSet<&'static str> {
    let calls = world.calls().into_iter().map(|call| call.operation);
    calls.filter(|operation| operation.starts_with("ecr:")).collect()
}

const IN_FULL: [&str; 5] = [
    "ecr:BatchGetRepositoryScanningConfiguration",
    "ecr:DescribeRepositories",
    "ecr:GetLifecyclePolicy",
    "ecr:GetRepositoryPolicy",
    "ecr:ListTagsForResource",
];
/// The settings that no list shows.
const NOT_LISTED: [&str; 2] = ["ecr:GetLifecyclePolicy", "ecr:GetRepositoryPolicy"];

#[test]
fn nothing_is_asked_for_that_the_lists_show_to_be_in_order() {
    let posture = r#""tag_mutability": "IMMUTABLE", "scan_on_push": true, "key_rotation": true, "repair": true"#;
    let policy = |more: &str| policy(&rules(&format!(r#""posture": {{{posture}{more}}}, {SEED}"#)));
    let rules = policy("");
    let world = world(repository());
    world.set_preview(&key().repository, preview(&[]));
    assert_eq!(
        look_by(&listed(&world), &world, &rules).changed.len(),
        2,
        "scans are found to run by a full look"
    );
    let (in_order, sent) = (listed(&world), world.sent().len());
    let by = |listed: &ListedSettings, policy: &Policy| {
        world.forget_calls();
        let outcome = look_by(listed, &world, policy);
        assert_eq!((world.writes(), world.sent().len()), (0, sent));
        (outcome, asked(&world))
    };
    let mut flagged = in_order.clone();
    flagged.repository.scan_on_push = true;
    assert_eq!(by(&flagged, &rules), (RepositoryOutcome::default(), NOT_LISTED.into()));
    flagged.scan_mode = ScanMode::Enhanced;
    assert_eq!(
        by(&flagged, &rules).1,
        IN_FULL.into(),
        "the flag is not enough with enhanced scanning"
    );
    let automatic = ListedSettings {
        trigger: ScanTrigger::Automatic,
        ..in_order.clone()
    };
    assert_eq!(by(&automatic, &rules).1, NOT_LISTED.into());
    // An old list changes nothing: the repository is reconciled, and is in order.
    let mut old = automatic.clone();
    old.repository.tag_mutability = TagMutability::Mutable;
    assert_eq!(by(&old, &rules), (RepositoryOutcome::default(), IN_FULL.into()));
    // Tags are on no list.
    let wants_tags = policy(r#", "required_tags": {"team": "*"}"#);
    let asks = world.writing(false);
    world.forget_calls();
    run(reconcile_repository(
        &asks,
        &wants_tags,
        &key(),
        Some(&automatic),
        "one",
    ))
    .unwrap();
    assert!(asked(&world).contains("ecr:ListTagsForResource"));
}

#[test]
fn where_tags_may_matter_everything_is_asked_for_once() {
    let drifted = r#""posture": {"tag_mutability": "IMMUTABLE"}"#;
    let asks_for_tags = r#""posture": {"tag_mutability": "MUTABLE", "required_tags": {"team": "*"}}"#;
    let in_order = r#""posture": {"tag_mutability": "MUTABLE"}"#;
    for (rule, before, after) in [
        (drifted, vec![], vec![]),
        (drifted, vec![], vec![("ecr-guard", "report")]),
        (asks_for_tags, vec![("team", "a")], vec![("team", "a")]),
        (in_order, vec![("ecr-guard", "report")], vec![("ecr-guard", "report")]),
        (in_order, vec![("ecr-guard", "report")], vec![]),
    ] {
        let policy = policy(&rules(rule));
        let world = world(tagged(&before));
        look(&world, &policy);
        world.create_repository(&key().repository, tagged(&after));
        world.forget_calls();
        let outcome = look_by(&listed(&world), &world, &policy);
        let opted_out = after.iter().any(|(key, _)| *key == "ecr-guard");
        assert_eq!(
            (outcome.opt_out.is_some(), outcome.alerts),
            (opted_out, vec![]),
            "{rule} {after:?}"
        );
        let times = |wanted: &str| world.calls().iter().filter(|call| call.operation == wanted).count();
        // One of the two descriptions is the list.
        let asked = [
            "ecr:ListTagsForResource",
            "ecr:GetRepositoryPolicy",
            "ecr:DescribeRepositories",
        ]
        .map(times);
        assert_eq!(asked, [1, 1, 2], "{rule} {after:?}");
    }
}

#[test]
fn what_no_list_shows_is_found_by_a_listed_look_as_well() {
    let policy = policy(&rules(&format!(
        r#""posture": {{"tag_mutability": "MUTABLE"}}, {SEED}"#
    )));
    let seeded = || {
        let world = world(repository());
        world.set_preview(&key().repository, preview(&[]));
        look(&world, &policy);
        world
    };
    type Happens = fn(&World);
    let happenings: [(Happens, Kind); 3] = [
        (
            |world| run(world.set_repository_policy(&key(), Some(PUBLIC))).unwrap(),
            Kind::PostureDrift,
        ),
        (
            |world| run(world.set_lifecycle_policy(&key(), r#"{"rules":[]}"#)).unwrap(),
            Kind::LifecycleRepaired,
        ),
        (
            |world| world.set_key(&KEY.parse().unwrap(), health(KeyState::Disabled, KeyRotation::On)),
            Kind::KeyUnhealthy,
        ),
    ];
    for (happens, kind) in happenings {
        let world = seeded();
        assert_eq!(look_by(&listed(&world), &world, &policy), RepositoryOutcome::default());
        happens(&world);
        assert_eq!(look_by(&listed(&world), &world, &policy).alerts, [kind]);
    }
}

#[test]
fn an_alert_is_over_when_a_listed_reconcile_finds_it_over() {
    let policy = policy(&rules(r#""posture": {"tag_mutability": "IMMUTABLE"}"#));
    let world = world(repository());
    assert_eq!(look_by(&listed(&world), &world, &policy).alerts, [Kind::PostureDrift]);
    let set = |mutability| run(world.set_tag_mutability(&key(), &mutability)).unwrap();
    set(TagMutability::Immutable);
    assert_eq!(look_by(&listed(&world), &world, &policy).alerts, []);
    set(TagMutability::Mutable);
    assert_eq!(
        look_by(&listed(&world), &world, &policy).alerts,
        [Kind::PostureDrift],
        "it is told again"
    );
}

fn any_repository() -> impl Strategy<Value = StoredRepository> {
    (
        prop_oneof![Just(TagMutability::Mutable), Just(TagMutability::Immutable)],
        any::<bool>(),
        prop::option::of(prop_oneof![Just(PUBLIC.to_owned()), Just("{".to_owned())]),
        prop::option::of(Just(r#"{"rules":[]}"#.to_owned())),
        prop::option::of(prop_oneof![Just("ignore"), Just("report"), Just("else")]),
        any::<bool>(),
    )
        .prop_map(|(mutability, scan_on_push, policy, lifecycle, opt_out, reason)| {
            let mut stored = StoredRepository {
                policy,
                lifecycle,
                ..repository()
            };
            stored.repository.tag_mutability = mutability;
            stored.repository.scan_on_push = scan_on_push;
            stored
                .tags
                .extend(opt_out.map(|word| ("ecr-guard".to_owned(), word.to_owned())));
            stored
                .tags
                .extend(reason.then(|| ("ecr-guard-reason".to_owned(), "why".to_owned())));
            stored
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn whatever_a_repository_is_like_a_second_reconcile_finds_nothing_to_do(
        stored in any_repository(), repair in any::<bool>(), used in any::<bool>(), manual in any::<bool>(), report in any::<bool>(),
        crash in prop::option::of(1_usize..60),
    ) {
        let sections = rules(&format!(
            r#""posture": {{"tag_mutability": "IMMUTABLE", "scan_on_push": true, "key_rotation": true, "repair": {repair}}}, {SEED}"#
        ));
        let policy = policy_in(if report { "report" } else { "enforce" }, &sections);
        let world = world(stored.clone());
        world.set_trigger(&key().repository, if manual { ScanTrigger::Manual } else { ScanTrigger::Automatic });
        world.set_preview(&key().repository, preview(&[used.then_some(1)]));
        if let Some(polls) = crash {
            let services = world.services(&policy);
            run_and_crash(reconcile_repository(&services, &policy, &key(), None, "one"), polls);
        }
        look(&world, &policy);
        let ids: Vec<String> = (0..world.sent().len()).map(|n| default_of(&world, n)["id"].as_str().unwrap().to_owned()).collect();
        let told: std::collections::BTreeSet<&String> = ids.iter().collect();
        prop_assert!(ids.len() <= told.len() + usize::from(crash.is_some()) * 3, "only what a crash cut off is told twice");
        world.forget_calls();
        look(&world, &policy);
        prop_assert_eq!(world.writes(), 0);
        prop_assert_eq!(world.sent().len(), ids.len());
        let after = world.repository_of(&key().repository).unwrap();
        if report || stored.tags.get("ecr-guard").is_some_and(|word| word != "else") {
            prop_assert_eq!(after, stored);
        } else {
            prop_assert!(told.len() >= usize::from(after != stored), "whatever is changed is told");
            if let Some(text) = &after.policy {
                prop_assert!(stored.policy.as_ref() == Some(text) || text.contains("\"ours\""));
            }
        }
    }

    #[test]
    fn a_listed_reconcile_does_what_a_full_reconcile_does(
        stored in any_repository(), repair in any::<bool>(), used in any::<bool>(), manual in any::<bool>(),
        earlier in prop::option::of(any_repository()), healthy in any::<bool>(),
    ) {
        let policy = policy(&rules(&format!(
            r#""posture": {{"tag_mutability": "IMMUTABLE", "scan_on_push": true, "key_rotation": true, "repair": {repair}}}, {SEED}"#
        )));
        let end = |listed_look: bool| {
            let world = world(earlier.clone().unwrap_or_else(|| stored.clone()));
            world.set_trigger(&key().repository, if manual { ScanTrigger::Manual } else { ScanTrigger::Automatic });
            world.set_preview(&key().repository, preview(&[used.then_some(1)]));
            if earlier.is_some() {
                look(&world, &policy);
                world.create_repository(&key().repository, stored.clone());
            }
            let state = if healthy { KeyState::Enabled } else { KeyState::Disabled };
            world.set_key(&KEY.parse().unwrap(), health(state, KeyRotation::On));
            if listed_look {
                look_by(&listed(&world), &world, &policy);
            } else {
                look(&world, &policy);
            }
            let told: Vec<String> = world.sent().into_iter().map(|sent| sent.message.default).collect();
            let row = run(world.repository_row(&key())).unwrap();
            (world.repository_of(&key().repository), told, row)
        };
        let (by_list, in_full) = (end(true), end(false));
        let only_opted_out = by_list.2.is_none() && in_full.2.as_ref().is_some_and(|row| row.notes.is_empty());
        if only_opted_out || by_list.2.as_ref().is_some_and(|row| row.opt_out.is_none()) && stored.tags.contains_key("ecr-guard") {
            // How it has opted out, of nothing, is found when it is its turn.
            prop_assert_eq!((by_list.0, by_list.1), (in_full.0, in_full.1));
        } else {
            prop_assert_eq!(by_list, in_full);
        }
    }

    #[test]
    fn an_image_never_loses_its_last_tag(
        tags in prop::collection::btree_set("[a-c]|v1\\.0\\.[0-3]", 1..6), crash in prop::option::of(1_usize..40),
    ) {
        let policy = policy(&rules(r#""tags": {"allowed": ["semver:v"], "on_violation": "untag"}"#));
        let names: Vec<&str> = tags.iter().map(String::as_str).collect();
        let world = tag_world(&names);
        for tag in &names {
            if let Some(polls) = crash {
                let tag = tag.parse().unwrap();
                run_and_crash(reconcile_tag(&world.services(&policy), &policy, &key(), &tag_request(&tag, None)), polls);
                prop_assert!(world.image_of(&image_key()).is_some_and(|image| !image.tags.is_empty()));
            }
            look_at_tag(&world, &policy, tag, None);
            prop_assert!(world.image_of(&image_key()).is_some_and(|image| !image.tags.is_empty()));
        }
        prop_assert!(tags_of(&world).iter().all(|tag| tag.starts_with('v') || tag.starts_with("quarantine-")));
        for tag in tags.iter().filter(|tag| tag.starts_with('v')) {
            prop_assert!(tags_of(&world).contains(tag));
        }
    }
}

#[test]
fn two_outcomes_in_one_have_all_that_either_says() {
    use guard_core::notice::RepositoryAlertKind as Kind;
    let one = RepositoryOutcome {
        opt_out: Some("ignore: one".to_owned()),
        changed: vec!["untag"],
        alerts: vec![Kind::TagTaken],
        waits: false,
    };
    let two = RepositoryOutcome {
        opt_out: Some("ignore: two".to_owned()),
        changed: vec!["scan_on_push"],
        alerts: vec![Kind::ImageLost],
        waits: true,
    };
    let both = RepositoryOutcome {
        opt_out: Some("ignore: one".to_owned()),
        changed: vec!["untag", "scan_on_push"],
        alerts: vec![Kind::TagTaken, Kind::ImageLost],
        waits: true,
    };
    assert_eq!(one.clone().and(two.clone()), both);
    let nothing = RepositoryOutcome::default();
    for outcome in [one, two] {
        assert_eq!(nothing.clone().and(outcome.clone()), outcome);
        assert_eq!(outcome.clone().and(nothing.clone()), outcome);
        assert!(!outcome.is_empty());
    }
    assert!(nothing.is_empty());
}
